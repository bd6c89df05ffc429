"""Labs: how they are read, run, kept and shown; and whether the grader of each tells right from wrong."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from scripts import check, course, export, lab, notebook, record, weave
from scripts.course import ROOT
from scripts.parse import LessonError
from scripts.run import Result
from tests.conftest import Scratch

COURSE = course.load()
SPAM = COURSE.labs["labs/spam-classification"]

# ---------------------------------------------------------------- the labs as committed


@pytest.mark.parametrize("slug", COURSE.labs)
def test_a_lab_runs_from_top_to_bottom_and_says_what_is_committed(slug: str):
    one = COURSE.labs[slug]
    assert lab.why(COURSE, one) == []
    kept = record.load(one, ROOT)
    book, results = lab.run(one, ROOT)
    assert [report for result in results if (report := record.drift(one, result, kept))] == []
    assert [cell["id"] for cell in book.cells if cell.get("outputs")] == [
        cell["id"] for cell in nbformat.read(ROOT / one.path, as_version=4).cells if cell.get("outputs")
    ]


@pytest.mark.parametrize("slug", COURSE.labs)
def test_a_lab_is_committed_with_outputs_and_without_traces_of_its_run(slug: str):
    one = COURSE.labs[slug]
    text = (ROOT / one.path).read_text()
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert book.metadata == {"kernelspec": export.KERNEL, "language_info": {"name": "python"}}
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell.metadata or "image/svg" in str(cell.outputs) for cell in code)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert {tag for cell in code for tag in cell.metadata.get("tags", [])} >= set(notebook.ROLES)
    assert "/tmp/" not in text and str(ROOT) not in text


def test_the_index_leads_to_every_lab():
    index = (ROOT / "docs/labs/index.md").read_text()
    for slug in COURSE.labs:
        if slug.startswith("labs/"):
            assert f"({Path(slug).name}.md)" in index


# ---------------------------------------------------------------- the grader of the spam lab


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a reader has after running the lab: the names of its cells, in a folder of her own."""
    torch.set_num_threads(1)
    names: dict[str, Any] = {}
    experiments = ("compare", "seeds", "calibration", "relabel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reader"))
        for block in SPAM.blocks:
            if "figure" not in block.keys and block.id not in experiments:
                exec(compile(block.code, block.id, "exec"), names)
        yield names


def learned(names: dict[str, Any], messages: list[str], labels: Any, keep: float | None, **how: Any) -> Any:
    """A filter trained on some messages; its threshold keeps this share of their ham, or is 0."""
    vocab = names["vocabulary"](messages, how.pop("least", 2))
    x = names["features"](messages, vocab)
    model = names["fit"](x, labels, **how)
    threshold = names["score"](model, x)[~labels].quantile(keep).item() if keep else 0.0
    return lambda others: (names["score"](model, names["features"](others, vocab)) > threshold).tolist()


def by_heart(names: dict[str, Any], otherwise: Callable) -> Callable:
    """A filter that has the test sets' labels in a table, and asks another for the rest."""
    pairs = [*zip(names["test"], names["test_labels"].tolist(), strict=True)]
    pairs += zip(names["shifted"], names["shifted_labels"].tolist(), strict=True)
    known = dict(pairs)

    def classify(messages: list[str]) -> list[bool]:
        return [known.get(message, guess) for message, guess in zip(messages, otherwise(messages), strict=True)]

    return classify


def loudest_quarter(names: dict[str, Any]) -> Callable:
    def classify(messages: list[str]) -> list[bool]:
        z = names["score"](names["model"], names["features"](messages, names["vocab"]))
        return (z > z.quantile(0.75)).tolist()

    return classify


HAM, SPAM_CAUGHT, BOOLS = "ham kept", "spam caught", "one bool for each message"
TRUE, TRUE_NEW = "the table is true of messages like the test set", "the table is true of new words"

WRONG: dict[str, tuple[Callable[[dict[str, Any]], Callable], set[str]]] = {
    "always ham": (lambda names: lambda messages: [False] * len(messages), {SPAM_CAUGHT}),
    "always spam": (lambda names: lambda messages: [True] * len(messages), {HAM}),
    "the rule, one trigger": (lambda names: lambda messages: [names["rule"](m, 1) for m in messages], {HAM}),
    "the rule": (lambda names: lambda messages: [names["rule"](m) for m in messages], {HAM, SPAM_CAUGHT}),
    "the rule, three triggers": (
        lambda names: lambda messages: [names["rule"](m, 3) for m in messages],
        {HAM, SPAM_CAUGHT},
    ),
    "the model of the lab, threshold 0": (
        lambda names: learned(names, names["train"], names["train_labels"], None),
        {HAM},
    ),
    "swapped labels": (
        lambda names: lambda messages: [not flag for flag in names["solution"](messages)],
        {HAM, SPAM_CAUGHT},
    ),
    "trained on swapped labels": (
        lambda names: learned(names, names["train"], ~names["train_labels"], None),
        {HAM, SPAM_CAUGHT},
    ),
    "trained on the test set, its threshold chosen there": (
        lambda names: learned(names, names["test"], names["test_labels"], 0.99),
        {HAM},
    ),
    "trained on the test set until it is nearly perfect": (
        lambda names: learned(names, names["test"], names["test_labels"], 0.999, lr=8.0, steps=1000, least=1),
        {TRUE},
    ),
    "the test set by heart, the rule otherwise": (
        lambda names: by_heart(names, lambda messages: [names["rule"](m) for m in messages]),
        {HAM, SPAM_CAUGHT, TRUE, TRUE_NEW},
    ),
    "the test set by heart, the solution otherwise": (
        lambda names: by_heart(names, names["solution"]),
        {TRUE, TRUE_NEW},
    ),
    "the loudest quarter of whatever comes": (loudest_quarter, {BOOLS}),
    "numbers for truth values": (
        lambda names: lambda messages: [int(flag) for flag in names["solution"](messages)],
        {BOOLS},
    ),
    "a tensor": (lambda names: lambda messages: torch.tensor(names["solution"](messages)), {BOOLS}),
    "an answer too few": (lambda names: lambda messages: names["solution"](messages)[:-1], {BOOLS}),
}


def graded(names: dict[str, Any], classify: Callable, capsys: Any, draw: int) -> tuple[bool, set[str]]:
    """Whether the grader passes the filter with the file that lies there, and what it names as missing.

    Spaces at the end of the file make it another file, and so another draw.
    """
    path = Path("submission.json")
    path.write_text(path.read_text().rstrip() + " " * draw)
    capsys.readouterr()
    passed = names["grade"](classify)
    missing = re.findall(r"^not yet  (.+?)(?::.*)?$", capsys.readouterr().out, re.MULTILINE)
    return passed, set(missing)


@pytest.mark.parametrize("name", WRONG)
def test_the_grader_rejects(name: str, reader: dict[str, Any], capsys):
    make, missing = WRONG[name]
    classify = make(reader)
    if missing == {BOOLS}:
        reader["hand_in"](reader["solution"])
    else:
        reader["hand_in"](classify)
    passed, found = graded(reader, classify, capsys, 0)
    assert not passed and missing <= found, found


@pytest.mark.parametrize("claims", [(1.0, 1.0), (0.999, 0.85), (0.995, 0.40)])
def test_the_grader_rejects_a_table_that_was_not_measured(claims, reader: dict[str, Any], capsys):
    rates = dict(zip((HAM, SPAM_CAUGHT), claims, strict=True))
    Path("submission.json").write_text(json.dumps({"test": rates, "new words": rates}))
    passed, found = graded(reader, reader["solution"], capsys, 0)
    assert not passed and {TRUE, TRUE_NEW} <= found


def test_the_grader_accepts_the_solution_on_every_draw(reader: dict[str, Any], capsys):
    reader["hand_in"](reader["solution"])
    for draw in range(6):
        assert graded(reader, reader["solution"], capsys, draw) == (True, set())


def test_the_starter_is_told_what_is_missing_and_what_to_do():
    kept = record.load(SPAM, ROOT)
    assert kept
    said = {entry["id"]: "".join(output.get("text", "") for output in entry["outputs"]) for entry in kept["elements"]}
    assert said["grader"].count("not yet  ") == 2 and "Next: change `classify`" in said["grader"]
    assert "not yet" not in said["solution"] and said["solution"].count("passed   ") == 5


# ---------------------------------------------------------------- a small lab, in a course of its own

MODULE = '## A module\n\n```python title="src/course/data/numbers.py"\ndef number() -> int:\n    return {}\n```\n'


def cells() -> list[Any]:
    figure = "# @title Plotting code\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    hidden = {"jupyter": {"source_hidden": True}, "cellView": "form"}
    made = [
        nbformat.v4.new_markdown_cell("# Tiny\n\nA lab of\na test.\n\nMore, with $x^2$.", id="intro"),
        nbformat.v4.new_code_cell("from course.data.numbers import number\nnumber()", id="first"),
        nbformat.v4.new_code_cell(figure, id="drawn", metadata=hidden),
        nbformat.v4.new_markdown_cell("**Figure.** A line that\nrises.\n\n## Second\n\nText.", id="below"),
        nbformat.v4.new_code_cell("print('begin')\n{'a': 1}", id="start", metadata={"tags": ["starter"]}),
        nbformat.v4.new_code_cell("assert number() == 7", id="check", metadata={"tags": ["grader"]}),
        nbformat.v4.new_code_cell(
            "# @title How\nopen('here.txt', 'w').write('x')", id="how", metadata={**hidden, "tags": ["solution"]}
        ),
    ]
    return list(made)


@pytest.fixture
def tiny(scratch: Scratch) -> Scratch:
    scratch.page("0-one/first", MODULE.format(7))
    (scratch.root / "src/course/data").mkdir()
    (scratch.root / "src/course/data/__init__.py").touch()
    (scratch.root / "src/course/data/numbers.py").write_text("def number() -> int:\n    return 7\n")
    (scratch.root / "docs/labs").mkdir()
    (scratch.root / "docs/labs/index.md").write_text("# Labs\n\n[Tiny](tiny.md)\n")
    save(scratch, cells())
    return scratch


def save(scratch: Scratch, made: list[Any]) -> Path:
    path = scratch.root / "docs/labs/tiny.ipynb"
    lines = [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in made]
    book = {"cells": lines, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(book, indent=1, sort_keys=True) + "\n")
    return path


def edit(scratch: Scratch, cell_id: str, old: str, new: str) -> Path:
    path = scratch.root / "docs/labs/tiny.ipynb"
    book = nbformat.read(path, as_version=4)
    cell = next(cell for cell in book.cells if cell["id"] == cell_id)
    assert old in cell.source
    cell.source = cell.source.replace(old, new)
    path.write_text(nbformat.writes(book) + "\n")
    return path


def run(scratch: Scratch) -> bool:
    one = scratch.load().labs["labs/tiny"]
    book, results = lab.run(one, scratch.root)
    return lab.write(one, book, results, scratch.root)


def why(scratch: Scratch) -> list[str]:
    made = scratch.load()
    return lab.why(made, made.labs["labs/tiny"])


def test_a_lab_is_read_into_the_parts_of_a_lesson(tiny: Scratch):
    one = tiny.load().labs["labs/tiny"]
    assert one.front == {"title": "Tiny", "description": "A lab of a test."}
    keys = {block.id: block.keys for block in one.blocks}
    assert keys["drawn"] == {"fold": "Plotting code", "figure": "A line that rises."}
    assert keys["start"] == {"exercise": "start"} and keys["check"] == {"check": "check"}
    assert keys["how"] == {"fold": "How", "solution": "how"}
    lines = (tiny.root / one.path).read_text().splitlines()
    for block in one.blocks:
        assert block.code.splitlines()[0] in json.loads(lines[block.line].rstrip(","))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made.pop(0), "tiny.ipynb:1: begin the first cell"),
        (lambda made: made[2].update(source="plt.plot([1])"), r"tiny.ipynb:\d+: a hidden cell without a title"),
        (lambda made: made[2].pop("id"), "tiny.ipynb:1: not a notebook of format 4.5"),
        (lambda made: made[2].update(id="first"), r"tiny.ipynb:\d+: two cells have the id 'first'"),
    ],
)
def test_a_malformed_lab_is_an_error_with_its_line(spoil, message: str, tiny: Scratch):
    made = cells()
    spoil(made)
    save(tiny, made)
    with pytest.raises(LessonError, match=message):
        tiny.load()


def test_a_lab_goes_stale_with_its_code_its_modules_and_its_outputs_alone(tiny: Scratch):
    assert why(tiny) == ["there is no record"]
    assert run(tiny) and why(tiny) == []
    path = tiny.root / "docs/labs/tiny.ipynb"
    before = path.read_bytes(), (tiny.root / "docs/records/labs/tiny/record.json").read_bytes()
    assert not run(tiny), "a second run yields the same bytes, so it writes nothing"
    assert before == (path.read_bytes(), (tiny.root / "docs/records/labs/tiny/record.json").read_bytes())
    assert not (tiny.root / "docs/labs/here.txt").exists() and not (tiny.root / "here.txt").exists()
    figure = (tiny.root / "docs/records/labs/tiny/figure-1.svg").read_text()
    assert "var(--fig-0" in figure and "#ffffff" not in figure
    outputs = {cell["id"]: cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells}
    assert outputs["first"][0].data == {"text/plain": "7"} and set(outputs["drawn"][0].data) == {
        "image/png",
        "text/plain",
    }

    again = nbformat.read(path, as_version=4)
    again.metadata.language_info.version = "3.12.0"
    (path.parent / ".ipynb_checkpoints").mkdir()
    for place in (path, path.parent / ".ipynb_checkpoints/tiny-checkpoint.ipynb"):  # as Jupyter saves
        place.write_text(nbformat.writes(again) + "\n")
    assert why(tiny) == ["docs/labs/tiny.ipynb:1: saved by another program, with its own marks"]
    path.write_bytes(before[0])

    edit(tiny, "intro", "More", "Much more")
    edit(tiny, "start", "print('begin')", "print('begin')  # a comment")
    assert why(tiny) == []
    edit(tiny, "start", "'a': 1", "'a': 2")
    line = line_of(tiny, "start")
    assert why(tiny) == [f"docs/labs/tiny.ipynb:{line}: `start` changed"]
    told = list(check.fresh(tiny.load()))
    assert f"docs/labs/tiny.ipynb: docs/labs/tiny.ipynb:{line}: `start` changed; make labs L=labs/tiny" in told
    edit(tiny, "start", "'a': 2", "'a': 1")

    module = tiny.root / "src/course/data/numbers.py"
    module.write_text(module.read_text().replace("return 7", "return 3 + 4"))
    assert why(tiny) == ["`course.data.numbers` changed, lesson 0.1"]
    module.write_text(module.read_text().replace("return 3 + 4", "return 7"))
    path.write_text(path.read_text().replace('"7"', '"8"'))
    assert why(tiny) == [
        f"docs/labs/tiny.ipynb:{line_of(tiny, 'first')}: the outputs of `first` are not those of its last run"
    ]


def line_of(scratch: Scratch, cell_id: str) -> int:
    return next(block.line for block in scratch.load().labs["labs/tiny"].blocks if block.id == cell_id)


def test_a_cell_that_fails_is_named_and_nothing_is_written(tiny: Scratch):
    path = edit(tiny, "check", "== 7", "== 8")
    before = path.read_bytes()
    with pytest.raises(LessonError, match=rf"tiny.ipynb:{line_of(tiny, 'check')}: the cell 'check' fails") as error:
        run(tiny)
    assert "assert number() == 8" in str(error.value) and "\x1b" not in str(error.value)
    assert path.read_bytes() == before and not (tiny.root / "docs/records/labs").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="UserWarning: old"), "standard error.*\n.*old"),
        (
            nbformat.v4.new_output("display_data", {"image/png": "aGk="}),
            "draws 1 figures, with 0 captions; each",
        ),
        (
            nbformat.v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
            "print text, or draw",
        ),
    ],
)
def test_an_output_that_no_page_can_show_is_an_error(output, message: str, tiny: Scratch):
    one = tiny.load().labs["labs/tiny"]
    block = next(block for block in one.blocks if block.id == "first")
    with pytest.raises(LessonError, match=rf"tiny.ipynb:{block.line}: [\s\S]*{message}"):
        lab.keep(nbformat.v4.new_code_cell("", outputs=[output]), block, one)


def test_the_download_installs_the_package_where_it_needs_it_and_the_address_is_known(tiny: Scratch, monkeypatch):
    made = tiny.load()
    one = made.labs["labs/tiny"]
    monkeypatch.delenv("COURSE_REPOSITORY", raising=False)
    assert export.exports(made, one) == {".ipynb": (tiny.root / one.path).read_text()}
    monkeypatch.setenv("COURSE_REPOSITORY", "https://github.com/owner/name")
    book = nbformat.reads(export.exports(made, one)[".ipynb"], as_version=4)
    nbformat.validate(book)
    assert "%pip install --quiet git+https://github.com/owner/name" in book.cells[1].source
    assert export.exports(COURSE, SPAM) == {".ipynb": (ROOT / SPAM.path).read_text()}


# ---------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of the labs alone, as they are committed. (What they link to is not there, so the build is not strict.)"""
    scratch = Scratch(tmp_path_factory.mktemp("course")).with_engine()
    for place in ("docs/labs", "docs/records/labs"):
        shutil.copytree(ROOT / place, scratch.root / place)
    done = scratch.command("mkdocs", "build", "--no-strict")
    assert done.returncode == 0 and "record is stale" not in done.stderr, done.stderr
    return scratch.root / "site"


def test_the_page_is_one_like_those_of_lessons(site: Path):
    html = (site / "labs/spam-classification/index.html").read_text()
    assert "<h1" in html and "Spam classification</h1>" in re.sub(r"<a class=\"headerlink.*?</a>", "", html)
    assert (
        re.search(r"<title>Spam classification - ", html) and '<meta name="description" content="Draw messages' in html
    )
    assert 'href="../spam-classification.ipynb"' in html and "CPU seconds on" in html
    assert (site / "labs/spam-classification.ipynb").read_text() == (ROOT / SPAM.path).read_text()
    contents = html[html.index('aria-label="Table of contents"') :]
    assert 'href="#hand-in"' in contents and 'href="#a-rule-by-hand"' in contents
    assert html.count("output highlight") == sum(
        "text" in output for entry in record.load(SPAM, ROOT)["elements"] for output in entry["outputs"]
    )
    assert len(re.findall(r'<figure class="plot"[^>]*>\s*<p><svg [^>]*role="img"', html)) == 4
    assert "**Figure.**" not in html and "@title" not in html
    solution = re.search(r'<details class="solution">.*?</details>', html, re.DOTALL)
    assert solution and "quantile" in solution[0] and html.count("quantile") == solution[0].count("quantile")


def test_the_page_is_light_and_asks_nobody_else(site: Path):
    html = (site / "labs/spam-classification/index.html").read_text()
    without = re.sub(r"<svg [^>]*role=\"img\".*?</svg>", "", html, flags=re.DOTALL)
    assert len(gzip.compress(without.encode())) < 100_000
    assert not re.search(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//', html)
    assert not re.search(r"import\(|requirejs|mathjax|cdn\.|cdnjs|unpkg|jsdelivr", html, re.IGNORECASE)


def test_formulas_are_rendered_when_the_page_is_built(site: Path):
    html = (site / "labs/spam-classification/index.html").read_text()
    text = "".join(part for part in SPAM.parts if isinstance(part, str))
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", text, re.DOTALL)
    assert len(formulas) > 10 and html.count('class="katex"') == len(formulas)
    assert "\\(" not in html and "\\[" not in html


@pytest.fixture
def built(tiny: Scratch) -> Scratch:
    """The small lab, with a record of a run that is written here and not run."""
    made = tiny.load()
    one = made.labs["labs/tiny"]
    svg = '<svg width="1" height="1"></svg>\n'
    results = [
        Result(block, "passed", 0.0, [{"figure": svg}] if "figure" in block.keys else []) for block in one.blocks
    ]
    record.write(record.folder(one, tiny.root), record.build(one, results, tiny.root, {}))
    tiny.record()
    return tiny.with_engine()


def test_a_strict_build_shows_a_lab_in_its_place_and_checks_its_links(built: Scratch):
    done = built.command("mkdocs", "build", "--strict")
    assert done.returncode == 0, done.stderr
    html = (built.root / "site/labs/tiny/index.html").read_text()
    navigation = html[html.index("md-nav--primary") : html.index("md-nav--secondary")]
    assert re.search(r"Labs\s.*\sTiny\s", navigation, re.DOTALL)
    assert "Your turn" in html and 'class="katex"' in html
    path = edit(built, "below", "Text.", "A [lesson](../0-one/none.md) that is not there.")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "none.md" in text)
    (fault,) = check.site(built.load())
    assert fault.startswith(f"docs/labs/tiny.ipynb:{line}: ") and "'../0-one/none.md'" in fault


def test_a_formula_of_a_lab_that_katex_rejects_is_an_error_at_its_line(built: Scratch):
    path = edit(built, "below", "Text.", "Here $\\frac{a}{b$ is cut off.")
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "cut off" in text)
    done = built.command("mkdocs", "build")
    assert done.returncode == 1 and f"labs/tiny.ipynb:{line}: " in done.stderr


def test_a_stale_lab_fails_the_strict_build_and_says_what_to_type(built: Scratch):
    edit(built, "start", "'a': 1", "'a': 2")
    done = built.command("mkdocs", "build", "--strict")
    assert done.returncode == 1 and "run: make labs L=labs/tiny" in done.stderr
    made = built.load()
    assert "Run `make labs L=labs/tiny`" in weave.Weaver(made, made.labs["labs/tiny"]).page()


def test_the_preview_of_a_lesson_leaves_labs_out(built: Scratch, monkeypatch):
    monkeypatch.setenv("COURSE_LESSON", "0-one/first")
    done = built.command(
        "mkdocs", "build", "--no-strict"
    )  # as the preview does: a link leads to a page that it leaves out
    assert done.returncode == 0, done.stderr
    assert not (built.root / "site/labs/tiny/index.html").exists()


def test_zensical_builds_the_page_of_a_lab(built: Scratch, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("woven") / "site"
    weave.weave_to(built.load(), folder)
    done = subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A line that rises." in (folder / "site/labs/tiny/index.html").read_text()
    assert (folder / "site/labs/tiny.ipynb").exists()
