"""The API pages, and the links between them and the lessons, on a built site."""

from __future__ import annotations

import ast
import re
from html import unescape
from pathlib import Path

import pytest

from scripts import api, check, tangle, weave
from tests.conftest import Scratch

PAGE = """\
## Words

```python title="src/course/data/words.py"
\"\"\"Words and their ids.\"\"\"

from typing import TypeVar

from jaxtyping import Float, Int
from torch import Tensor

SPACE = " "
T = TypeVar("T")


def words(text: str) -> list[str]:
    \"\"\"Split a text.\"\"\"
    return text.split(SPACE)


def _hidden(text: str) -> str:
    return text
```

## Ids

Text with `words` and `words`, and `Vocabulary`, and `_hidden`.

## Ids

!!! note

    ```python title="src/course/data/words.py" fold="The class"
    class Vocabulary:
        \"\"\"The ids of words.

        Parameters
        ----------
        first, second : Tensor, shape (n,)
            Any two, as :func:`words` makes them.
        kind : str, optional

        Raises
        ------
        KeyError
            For an unknown word.

        References
        ----------
        A. Author, "A paper", 2001.
        \"\"\"

        def __init__(self, first: Int[Tensor, "n"], second: Float[Tensor, "n 64"], kind: str = "a") -> None:
            self.first = first

        def ids(self, other: "Vocabulary") -> Int[Tensor, "... #n"]:
            \"\"\"Return the ids, unlike `course.data.words.words` and `Vocabulary.none`.

            Returns
            -------
            A tensor, said in a sentence.
            \"\"\"
            return self.first

        def plain(self) -> int:
            return 0
    ```

```python title="src/course/data/words.py"
_COUNT = 1
```
"""
USER = """\
`words` stands here, and `course.data.words`, and `course.data.nothing`.

```python
from course.data.words import words as split

split("a b")
```

```python title="src/course/foundations/none.py"
\"\"\"A module without a name.\"\"\"
```
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Scratch:
    scratch = Scratch(tmp_path_factory.mktemp("api")).with_engine()
    scratch.page("0-one/first", PAGE)
    scratch.page("1-two/third", USER)
    tangle.tangle(scratch.load())
    done = scratch.command("mkdocs", "build", "--no-strict")
    assert done.returncode == 0 and "not found" not in done.stderr and "no such anchor" not in done.stderr, done.stderr
    return scratch


def html(scratch: Scratch, page: str) -> str:
    return (scratch.root / "site" / page / "index.html").read_text()


def links(scratch: Scratch, page: str, pattern: str) -> list[str]:
    """The text of the links in each match of a pattern, once every one of them leads to what is there."""
    texts = []
    for part in re.findall(pattern, html(scratch, page), re.DOTALL):
        for href, text in re.findall(r'<a [^>]*?href="([^"]+)"[^>]*>(.*?)</a>', part, re.DOTALL):
            path, _, anchor = href.partition("#")
            target = (scratch.root / "site" / page / path).resolve()
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), href
            assert not anchor or f'id="{anchor}"' in target.read_text(), href
            texts.append(re.sub(r"<.*?>", "", text))
    return texts


def text(part: str) -> str:
    return " ".join(unescape(re.sub(r"<.*?>", "", part)).split())


def signature(page: str, name: str) -> str:
    entry = page.partition(f'id="course.data.words.{name}"')[2]
    return text(entry[: entry.index("</pre>")].partition("<pre>")[2])


def test_every_public_name_of_the_package_has_an_entry_that_leads_to_its_section(built: Scratch):
    page = html(built, "api/data/words")
    module = ast.parse((built.root / "src/course/data/words.py").read_text())
    names = [node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert {"words", "Vocabulary", "_hidden"} <= set(names)
    for name in names:
        assert (f'id="course.data.words.{name}"' in page) == (not name.startswith("_")), name
    assert 'id="course.data.words.SPACE"' in page and 'id="course.data.words.T"' not in page
    assert 'id="course.data.words.Vocabulary.ids"' in page and "Also <code>plain</code>." in page
    sections = links(built, "api/data/words", r'<p class="doc-lessons">.*?</p>')
    assert sections == ["Words", "Words", "1.1", "Ids"]
    assert "0-one/first/#ids_1" in page  # the second of two equal headings


def test_a_module_page_leads_to_its_lesson_and_to_its_file(built: Scratch):
    assert links(built, "api/data/words", r'<p class="doc-meta">.*?</p>') == ["0.1 First", "words.py"]
    assert "def words" in (built.root / "site/api/data/words.py").read_text()
    assert "A module without a name." in html(built, "api/foundations/none")


def test_the_list_has_the_packages_in_their_order_and_every_name(built: Scratch):
    page = html(built, "api")
    assert page.index(">course.data<") < page.index(">course.foundations<")
    assert "Words and their ids." in page
    names = links(built, "api", r'<div class="modules".*?</div>')
    assert names == ["words", "SPACE", "words", "Vocabulary", "0.1 First", "none", "1.1 Third"]


def test_signatures_keep_shapes_and_defaults_readable(built: Scratch):
    page = html(built, "api/data/words")
    assert signature(page, "words") == "words(text: str) -> list[str]"
    assert signature(page, "Vocabulary") == (
        'Vocabulary( first: Int[Tensor, "n"], second: Float[Tensor, "n 64"], kind: str = "a" )'
    )
    assert signature(page, "Vocabulary.ids") == 'ids(other: Vocabulary) -> Int[Tensor, "... #n"]'
    assert "typing.Literal" not in page and "<span title" not in page


def test_docstrings_are_set_as_numpy_means_them(built: Scratch):
    entry = html(built, "api/data/words").partition('id="course.data.words.Vocabulary"')[2]
    assert text(entry[entry.index("<dl") : entry.index("</dl>")]) == (
        "first, second Tensor, shape (n,) Any two, as words makes them. kind str, optional"
    )
    assert re.search(r'as <a [^>]*href="#course.data.words.words"[^>]*><code>words</code></a> makes', entry)
    assert '<p class="doc-section-title">Returns</p>\n<p>A tensor, said in a sentence.</p>' in entry
    assert "<code>course.data.words.words</code></a> and <code>Vocabulary.none</code>" in entry
    for title in ("Parameters", "Raises", "References"):
        assert f'<p class="doc-section-title">{title}</p>' in entry
    assert "data-search-exclude" in entry and "def plain" in text(entry)


def test_a_title_bar_leads_to_the_first_name_of_its_block(built: Scratch):
    bars = re.findall(r'<p class="filename">.*?</p>', html(built, "0-one/first"))
    assert links(built, "0-one/first", r'<p class="filename">.*?</p>') == ["course/data/words.py"] * 3
    targets = [re.search(r'href="([^"]+)"', bar)[1] for bar in bars]  # type: ignore[index]
    assert targets == [
        "../../api/data/words/#course.data.words.SPACE",
        "../../api/data/words/#course.data.words.Vocabulary",
        "../../api/data/words/",
    ]


def test_a_title_bar_leads_to_the_repository_where_there_is_one(built: Scratch, monkeypatch):
    course = built.load()
    assert "source" not in weave.Weaver(course, course.lessons["1-two/third"]).page()
    monkeypatch.setenv("COURSE_REPOSITORY", "https://github.com/owner/name/")
    page = weave.Weaver(course, course.lessons["1-two/third"]).page()
    assert "[source](https://github.com/owner/name/blob/main/src/course/foundations/none.py)" in page
    assert (
        "(https://github.com/owner/name/blob/main/src/course/data/words.py)" in api.pages(course)["api/data/words.md"]
    )


def test_names_in_prose_lead_to_their_entries_once_in_a_section(built: Scratch):
    def prose(page: str, words: str) -> str:
        (found,) = (part for part in re.findall(r"<p>.*?</p>", html(built, page)) if words in part)
        return found

    assert links(built, "0-one/first", r'<p class="lesson-meta">.*?</p>')[:1] == ["course.data.words"]
    found = prose("0-one/first", "Text with")
    assert re.findall(r'class="name"[^>]*><code>(\w+)', found) == ["words", "Vocabulary"]
    assert text(found) == "Text with words and words, and Vocabulary, and _hidden."
    found = prose("1-two/third", "stands here")
    assert re.findall(r'class="name"[^>]*><code>([\w.]+)', found) == ["words", "course.data.words"]


def test_the_pages_for_a_disk_lead_to_files(built: Scratch, monkeypatch):
    monkeypatch.setenv("OFFLINE", "true")
    done = built.command("mkdocs", "build", "--no-strict", "--site-dir", "disk")
    assert done.returncode == 0, done.stderr
    page = (built.root / "disk/0-one/first.html").read_text()
    assert 'href="../api/data/words.html#course.data.words.SPACE"' in page
    assert 'href="../../0-one/first.html#words"' in (built.root / "disk/api/data/words.html").read_text()


def test_the_preview_of_a_lesson_makes_no_api_pages(built: Scratch, monkeypatch):
    monkeypatch.setenv("COURSE_LESSON", "0-one/first")
    done = built.command("mkdocs", "build", "--no-strict", "--quiet", "--site-dir", "preview")
    assert done.returncode == 0, done.stderr
    assert "course/data/words.py" in (built.root / "preview/0-one/first/index.html").read_text()
    assert not (built.root / "preview/api").exists()


def findings(scratch: Scratch, body: str) -> list[str]:
    """What the checks of style and site say of a course of one lesson."""
    scratch.with_engine().page("0-one/first", body)
    scratch.record()
    tangle.tangle(scratch.load())
    return [finding for finder in (check.style, check.site) for finding in finder(scratch.load())]


def place(scratch: Scratch, text: str) -> str:
    """Where a text stands in the lesson, as a finding names it."""
    source = (scratch.root / "docs/0-one/first.md").read_text()
    return f"docs/0-one/first.md:{source[: source.index(text)].count(chr(10)) + 1}:"


def test_what_is_public_and_undocumented_fails_the_check_at_the_lesson_s_line(scratch: Scratch):
    found = findings(scratch, PAGE.replace('    """Split a text."""\n', ""))
    assert any(place(scratch, "def words") in finding and "D103" in finding for finding in found), found


def test_a_parameter_that_does_not_exist_fails_the_build_at_the_lesson_s_line(scratch: Scratch):
    found = findings(scratch, PAGE.replace("kind : str", "kinds : str"))
    message = f"{place(scratch, chr(34) * 3 + 'The ids')} Vocabulary has no parameter `kinds`"
    assert any(message in finding for finding in found), found


def test_a_broken_cross_reference_fails_the_strict_build(scratch: Scratch):
    body = PAGE.replace("Return the ids", "Return [the ids][course.data.words.gone]")
    found = findings(scratch, body + "\nTo [nowhere](../api/data/words.md#course.data.words.lost).\n")
    assert any("course.data.words.gone" in finding for finding in found), found
    assert any("course.data.words.lost" in finding for finding in found), found


def test_the_names_of_the_list_are_those_that_the_pages_have(built: Scratch):
    course = built.load()
    pages = api.pages(course)
    for symbol in course.symbols.values():
        assert f"::: {symbol.path}\n" in pages[f"{api.slug(symbol.module)}.md"]
    assert Path(built.root / "site/objects.inv").exists()
