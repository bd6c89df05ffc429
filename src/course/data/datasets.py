# From docs/0-foundations/datasets.md, which is its source: edit there.  [9fc64317fa68]
# %% digits-1
"""The data sets of the course, and the tools that split them and catch leaks."""

import ast
import gc
import hashlib
import http.client
import importlib.util
import itertools
import os
import re
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor


def digits() -> tuple[Float[Tensor, "n 64"], Int[Tensor, "n"]]:
    """Load scikit-learn's 1797 handwritten digits of 8 × 8 pixels.

    Returns
    -------
    pixels : Tensor, shape (1797, 64), float32
        Grey values from 0 (paper) to 1 (ink), row by row.
    labels : Tensor, shape (1797,), int64
        The digit, 0 to 9.

    References
    ----------
    E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI, 1998.
    """
    from sklearn.datasets import load_digits  # slow to import: only who asks waits

    data = load_digits()
    pixels = torch.tensor(data.data, dtype=torch.float32) / 16
    return pixels, torch.tensor(data.target).long()


# %% digits-5
def split_indices(
    labels: Int[Tensor, "n"],
    test_fraction: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
) -> tuple[Int[Tensor, "train"], Int[Tensor, "test"]]:
    """Split `n` examples at random; the same seed gives the same split.

    Parameters
    ----------
    labels : Tensor, shape (n,)
        Class of each example.
    stratify : bool
        Take `test_fraction` of each class, rather than of the whole.

    Returns
    -------
    train, test : Tensor
        Indices into the examples, shuffled: disjoint, and together all of them.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    groups = [order]
    if stratify:
        groups = [order[labels[order] == c] for c in labels.unique()]
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    for group in groups:
        in_test[group[: round(test_fraction * len(group))]] = True
    # Select from `order`: joining the groups instead would sort the examples by class.
    return order[~in_test[order]], order[in_test[order]]


# %% statistics-belong-to-the-training-set-1
def standardize(
    train: Float[Tensor, "train d"], test: Float[Tensor, "test d"]
) -> tuple[Float[Tensor, "train d"], Float[Tensor, "test d"]]:
    """Shift and scale each feature to mean 0, deviation 1 *of the training set*.

    Features that are constant in training are only shifted.
    """
    mean, std = train.mean(0), train.std(0)
    # Rounding can give a constant a deviation of 1e-8: compare the values themselves.
    std[(train == train[0]).all(0)] = 1
    return (train - mean) / std, (test - mean) / std


# %% three-texts-1
def python_docs(unique: bool = True) -> str:
    """Load the reference topics of `pydoc`: about 460k characters, repeats included.

    Parameters
    ----------
    unique : bool
        Keep only the first of equal paragraphs: some topics contain others.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return "\n\n".join(dict.fromkeys(text.split("\n\n"))) if unique else text


# %% three-texts-2
class Docstring(NamedTuple):
    """The documentation of one public function or class."""

    name: str
    text: str


def docstrings(package: str) -> list[Docstring]:
    """Collect the docstrings of an installed package without importing it.

    Public functions, classes and methods in order of file and line. Folders of tests
    and private folders are skipped, except ``numpy/_core``, the heart of numpy. A name
    is the path of its file, without private parts, and what the file calls it.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"no package {package!r} is installed")
    root = Path(spec.submodule_search_locations[0])
    skip = re.compile(r"/(tests?|testing|_(?!core/)\w*)/")
    found: list[Docstring] = []
    collecting = gc.isenabled()
    gc.disable()  # trees have no cycles, and looking for some doubles the time
    try:
        for path in sorted(root.rglob("*.py")):
            file, source = path.relative_to(root), path.read_bytes()
            if b'"""' in source and not skip.search(f"/{file.as_posix()}"):
                parts = [p for p in file.with_suffix("").parts if p[0] != "_"]
                prefix = ".".join([package, *parts])
                found += _documented(ast.parse(source).body, prefix)
    finally:
        if collecting:
            gc.enable()
    return found


def _documented(body: list[ast.stmt], prefix: str) -> Iterator[Docstring]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
            name = f"{prefix}.{node.name}"
            if text := ast.get_docstring(node):
                yield Docstring(name, text)
            if isinstance(node, ast.ClassDef):
                yield from _documented(node.body, name)


def question_answers(docs: Iterable[Docstring]) -> list[tuple[str, str]]:
    """Make (question, answer) pairs from names and first lines that are sentences."""
    pairs: dict[str, str] = {}
    for name, text in docs:
        first = text.splitlines()[0]
        if first.endswith("."):
            pairs.setdefault(f"What does {name} do?", first)
    return list(pairs.items())


# %% three-texts-4
SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master"
    "/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def shakespeare() -> str:
    """Load tiny Shakespeare, 1,115,394 characters; see `fetch` for what it raises.

    Looks for ``tinyshakespeare.txt`` in the folder ``$COURSE_DATA``, then in
    ``~/.cache/course``, and downloads it there otherwise.

    References
    ----------
    A. Karpathy, *char-rnn*, 2015, https://github.com/karpathy/char-rnn.
    """
    folders = [Path.home() / ".cache" / "course"]
    if "COURSE_DATA" in os.environ:
        folders.insert(0, Path(os.environ["COURSE_DATA"]))
    paths = [folder / "tinyshakespeare.txt" for folder in folders]
    path = next((path for path in paths if path.exists()), paths[-1])
    return fetch(SHAKESPEARE_URL, path, SHAKESPEARE_SHA256).decode()


def fetch(url: str, path: Path, sha256: str) -> bytes:
    """Read the file at `path`, downloading it from `url` if it is not there.

    Raises
    ------
    FileNotFoundError
        If the file is not there and cannot be downloaded.
    ValueError
        If the SHA-256 of the content is not `sha256`. Such a download is not saved.
    """
    saved = path.exists()
    if saved:
        content = path.read_bytes()
    else:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise FileNotFoundError(
                f"{path} is missing, and the download failed: {error}\n"
                f"On a machine with a network, get {url} and save it as {path}"
            ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        advice = "delete it to download it again" if saved else "it was not saved"
        raise ValueError(
            f"{path if saved else url} has SHA-256 {digest[:8]}…, "
            f"not {sha256[:8]}…: {advice}"
        )
    if not saved:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(path)  # one step: no other process ever sees half a file
    return content


# %% from-text-to-tensors-1
class CharTokenizer:
    """One id for each distinct character of `text`, in the order of code points."""

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._ids = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        """Size of the vocabulary."""
        return len(self.characters)

    def encode(self, text: str) -> Int[Tensor, "n"]:
        """Return the id of each character; ValueError for an unknown one."""
        try:
            return torch.tensor([self._ids[c] for c in text], dtype=torch.long)
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} is not among the {len(self)} known characters"
            ) from None

    def decode(self, ids: Int[Tensor, "n"]) -> str:
        """Return the text of `ids`; ValueError for an id outside 0 … len(self) - 1."""
        if ((ids < 0) | (ids >= len(self))).any():  # [-1] would be the last character
            raise ValueError(f"ids must lie in 0 … {len(self) - 1}")
        return "".join(self.characters[i] for i in ids.tolist())


# %% from-text-to-tensors-4
Text = TypeVar("Text", str, Tensor)


def contiguous_split(text: Text, test_fraction: float = 0.1) -> tuple[Text, Text]:
    """Cut off the last `test_fraction`, rounded up; return the rest and it."""
    cut = int((1 - test_fraction) * len(text))
    return text[:cut], text[cut:]


def windows(
    tokens: Int[Tensor, "n"], length: int, stride: int = 1
) -> tuple[Int[Tensor, "count length"], Int[Tensor, "count length"]]:
    """Cut all windows that start at a multiple of `stride`, as views without a copy.

    Returns
    -------
    inputs, targets : Tensor, shape ((n - length - 1) // stride + 1, length)
        ``targets[i, t]`` is the token after ``inputs[i, t]``.
    """
    pieces = tokens.unfold(0, length + 1, stride)
    return pieces[:, :-1], pieces[:, 1:]


def sample_batch(
    tokens: Int[Tensor, "n"], length: int, batch_size: int, generator: torch.Generator
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """Draw windows that start anywhere, as inputs and targets; see `windows`."""
    starts = torch.randint(len(tokens) - length, (batch_size, 1), generator=generator)
    pieces = tokens[starts + torch.arange(length + 1)]
    return pieces[:, :-1], pieces[:, 1:]


# %% copies-that-are-not-equal-1
def overlap(train: Iterable[Hashable], test: Iterable[Hashable]) -> float:
    """Return the share of test items that also occur in training, from 0 to 1.

    For shingles of two documents this is the *containment* of the second in the first.
    """
    seen = set(train)
    found = [item in seen for item in test]
    return sum(found) / len(found)


Items = TypeVar("Items", str, tuple[str, ...])


def shingles(items: Items, width: int) -> set[Items]:
    """Return all runs of `width` neighbours: characters, or the words of a tuple."""
    return {items[i : i + width] for i in range(len(items) - width + 1)}


def jaccard(a: set[Items], b: set[Items]) -> float:
    """Return |A ∩ B| / |A ∪ B|, or 0 for two empty sets."""
    return len(a & b) / max(len(a | b), 1)


# %% copies-that-are-not-equal-7
def near_duplicates(
    texts: Sequence[str], threshold: float = 0.8, width: int = 5
) -> list[tuple[int, int, float]]:
    """Find all pairs of texts whose Jaccard similarity is at least `threshold` > 0.

    Compares their sets of `width`-word shingles, exactly. Time and memory grow with the
    square of the number of texts that share a shingle.

    Returns
    -------
    list of (i, j, similarity) with i < j

    References
    ----------
    A. Broder, *On the Resemblance and Containment of Documents*, 1997.
    """
    bags = [shingles(tuple(text.split()), width) for text in texts]
    holders = defaultdict(list)
    for i, bag in enumerate(bags):
        for shingle in bag:
            holders[shingle].append(i)
    common: Counter[tuple[int, int]] = Counter()
    for ids in holders.values():
        common.update(itertools.combinations(ids, 2))
    found = []
    for (i, j), both in common.items():
        # |A ∪ B| = |A| + |B| - |A ∩ B|
        similarity = both / (len(bags[i]) + len(bags[j]) - both)
        if similarity >= threshold:
            found.append((i, j, similarity))
    return sorted(found)
