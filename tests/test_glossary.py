"""The glossary: one page as the only source of definitions, anchors and tooltips."""

from __future__ import annotations

import re

import pytest

from scripts import glossary, mentions, weave
from scripts.parse import LessonError
from tests.conftest import ENGINE, Scratch

PAGE = """\
# Glossary

What the words mean.

## E

entropy
:   The mean of −log *p*, in "nats": see [the `softmax`](../x.md). [](0-one/first.md)

    $$ H = -\\sum p \\log p $$

## L

leaf { .no-tooltip }
:   Where a gradient ends. [](0-one/second.md)

## Q

query
key
:   What attention compares,
    on two lines. [](1-two/third.md)

## R

rank-one matrix
:   A product of two vectors. [](0-one/first.md)
"""
LESSON = """\
## The entropy

`entropy` and $entropy$ and [entropy](second.md) and **bold entropy**, but then entropy, and entropy again.

| entropy |
| --- |

!!! note "A key"

    <p>A key.</p>

    Entropies of two keys, a keyhole, and a leaf. A rank-one
    matrix.

```python fold="A query"
query = "a query"
```

Queries, too.
"""


@pytest.fixture
def course(scratch: Scratch) -> Scratch:
    scratch.page("0-one/second", LESSON)
    (scratch.root / glossary.PATH).write_text(PAGE)
    return scratch


def linked(scratch: Scratch, slug: str = "0-one/second") -> str:
    course = scratch.load()
    return weave.Weaver(course, course.lessons[slug]).page()


def marked(page: str) -> list[str]:
    return re.findall(r"\[([^\]]*)\]\([^)]*glossary\.md#[^)]*\)\{ \.term \}", page)


def test_the_page_is_read_as_terms_with_plain_texts_and_lessons(course: Scratch):
    terms = course.load().glossary
    assert [term.term for term in terms] == ["entropy", "leaf", "query", "key", "rank-one matrix"]
    assert terms[0].text == "The mean of −log p, in &quot;nats&quot;: see the softmax."
    assert terms[2].text == terms[3].text == "What attention compares, on two lines."
    assert terms[2].lessons == ("1-two/third",) and [term.tooltip for term in terms].count(False) == 1


def test_a_term_is_marked_once_on_a_page_and_only_in_prose(course: Scratch):
    page = linked(course)
    assert marked(page) == ["entropy", "keys", "rank-one\n    matrix", "Queries"]
    assert "but then [entropy](../glossary.md#entropy " in page and "and entropy again" in page
    assert '(../glossary.md#key "What attention compares, on two lines."){ .term }' in page
    for left in (
        "`entropy`",
        "$entropy$",
        "[entropy](second.md)",
        "| entropy |",
        '"A key"',
        "<p>A key.</p>",
        "a query",
    ):
        assert left in page, left
    assert "## The entropy\n" in page and "a leaf." in page and "keyhole" in page


@pytest.mark.parametrize("change", ["its own lesson", "in italics", "in bold"])
def test_a_page_that_explains_a_term_has_no_tooltip_for_it(course: Scratch, change: str):
    if change == "its own lesson":
        path = course.root / glossary.PATH
        path.write_text(PAGE.replace("[](0-one/first.md)\n\n    $$", "[](0-one/second.md)\n\n    $$"))
    else:
        stars = "*" if change == "in italics" else "**"
        course.page("0-one/second", LESSON + f"\nThis is called {stars}entropy{stars}.\n")
    assert "entropy" not in marked(linked(course)) and "keys" in marked(linked(course))


@pytest.mark.parametrize(
    "term, plural", [("batch", "batches"), ("query", "queries"), ("key", "keys"), ("leaf", "leaves")]
)
def test_plurals_and_capitals_are_the_same_term(term: str, plural: str):
    pattern = glossary.Term(term, "", (), True).pattern
    for form in (term, plural, term.capitalize(), plural.capitalize()):
        assert re.fullmatch(pattern, form), form
    assert not re.fullmatch(pattern, term + "ing")
    assert not re.fullmatch(glossary.Term("HBM", "", (), True).pattern, "hbm")


@pytest.mark.parametrize(
    "before, after, line, message",
    [
        ("[](0-one/second.md)", "[](0-one/secnd.md)", 15, "no lesson `0-one/secnd` in curriculum.yml"),
        (" [](0-one/second.md)", "", 15, "no lesson; end the definition with a link"),
        ("Where a gradient", "Where $g$", 15, "a tooltip shows no formula"),
        ("rank-one matrix\n", "query\n", 26, "`query` stands here twice"),
        ("rank-one matrix\n", "a matrix\n", 26, "`a matrix` stands after `query`"),
    ],
)
def test_what_is_wrong_in_the_glossary_is_an_error_with_its_line(
    course, before: str, after: str, line: int, message: str
):
    text = (course.root / glossary.PATH).read_text()
    assert before in text
    (course.root / glossary.PATH).write_text(text.replace(before, after))
    with pytest.raises(LessonError) as error:
        course.load()
    assert str(error.value).startswith(f"docs/glossary.md:{line}: ") and message in str(error.value)


def test_tooltips_lead_to_entries_that_lead_to_lessons(course: Scratch):
    course.page("0-one/first", "Text.\n")
    course.record("0-one/first")
    course.record("0-one/second")
    text = (course.root / glossary.PATH).read_text().replace("[the `softmax`](../x.md)", "`x`")
    (course.root / glossary.PATH).write_text(text)
    done = course.with_engine().command("mkdocs", "build", "--strict")
    assert done.returncode == 0, done.stderr
    page = (course.root / "site/0-one/second/index.html").read_text()
    assert re.search(
        r'<a class="term" href="../../glossary/#key" title="What attention compares, on two lines.">keys</a>', page
    )
    assert "&quot;nats&quot;" in re.search(r'title="The mean[^>]*', page)[0]  # type: ignore[index]
    entries = (course.root / "site/glossary/index.html").read_text()
    assert '<dt id="key">key</dt>' in entries and '<dt id="leaf">leaf</dt>' in entries
    assert 'href="../0-one/first/">0.1 First</a>' in entries
    assert re.search(r'<span class="planned"[^>]*>1.1 Third</span>', entries)


def test_without_a_glossary_nothing_is_marked(scratch: Scratch):
    scratch.page("0-one/second", LESSON)
    page = linked(scratch)
    assert scratch.load().glossary == [] and "glossary.md" not in page


def test_every_term_of_the_course_has_a_definition_that_a_tooltip_can_hold():
    from scripts.course import load

    terms = load(ENGINE).glossary
    assert len(terms) >= 60
    for term in terms:
        assert 20 <= len(term.text) <= 320, f"{term.term}: {len(term.text)} characters"
        assert len(re.findall(r"[.:] ", term.text)) <= 3, term.term


def test_marking_leaves_every_other_character_as_it_was(course: Scratch):
    loaded = course.load()
    lesson = loaded.lessons["0-one/second"]
    woven = "".join(map(weave.Weaver(loaded, lesson).part, lesson.parts[1:]))
    back = re.sub(r"\[([^\]]*)\]\([^)]*\.md#[^)]*\)\{ \.(?:term|name) \}", r"\1", mentions.link(woven, loaded, lesson))
    assert back == woven
