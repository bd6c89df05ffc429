"""The map of the course: what its pages show, from the curriculum and the front matter alone."""

from __future__ import annotations

import re

import pytest

from scripts import export, stages
from scripts.course import load
from scripts.parse import LessonError
from tests.conftest import Scratch


@pytest.fixture
def two(scratch: Scratch) -> Scratch:
    """Four lessons, of which the first and the last two are written; the second is planned under a title."""
    text = (scratch.root / "curriculum.yml").read_text().replace("second", "second: Its PLANNED title")
    (scratch.root / "curriculum.yml").write_text(text.replace("[first, ", "[first, {").replace("title]", "title}]"))
    for slug, needed in {
        "0-one/first": "",
        "1-two/third": "0-one/first, 0-one/second",
        "1-two/fourth": "0-one/first, 1-two/third",
    }.items():
        path = scratch.page(slug, "Text.\n")
        path.write_text(path.read_text().replace("prerequisites: []", f"prerequisites: [{needed}]"))
    index = "---\ndescription: About two.\n---\n\n# Two\n\n<!-- lessons -->\n"
    (scratch.root / "docs/1-two/index.md").write_text(index)
    return scratch


def test_titles_come_from_the_lesson_else_from_the_curriculum(two: Scratch):
    course = two.load()
    assert course.titles["0-one/second"] == "Its PLANNED title"
    assert course.titles["1-two/third"] == "Third"
    assert course.numbers["1-two/fourth"] == "1.2"


@pytest.mark.parametrize(
    "text", ["- {folder: 0-one", "- {folder: 0-one, title: One}", "- 3", "- {folder: a, title: b, lessons: 3}"]
)
def test_a_malformed_curriculum_is_an_error_with_its_place(scratch: Scratch, text):
    (scratch.root / "curriculum.yml").write_text(f"{text}\n")
    with pytest.raises(LessonError, match=r"^curriculum.yml:\d+: "):
        load(scratch.root)


def test_a_link_without_a_text_gets_number_and_title(two: Scratch):
    course = two.load()
    text = "[](../0-one/first.md#top), [](../0-one/second.md), [](other.md), `[](x)`"
    assert stages.fill(text, course, "1-two/third") == (
        "[0.1 First](../0-one/first.md#top), "
        '<span class="planned" title="Not written yet">0.2 Its PLANNED title</span>, [](other.md), `[](x)`'
    )
    assert (
        stages.named("[](first.md) and [](second.md)", course, "0-one/first") == "0.1 First and 0.2 Its PLANNED title"
    )


def test_a_notebook_names_the_lesson_of_an_empty_link(two: Scratch):
    path = two.root / "docs/1-two/third.md"
    path.write_text(path.read_text() + "\nAfter [](../0-one/first.md).\n")
    course = two.load()
    cells = export.notebook(course, course.lessons["1-two/third"]).cells
    assert "After 0.1 First." in cells[-1].source


def test_a_prerequisite_that_another_one_implies_has_no_arc(two: Scratch):
    course = two.load()
    assert stages.direct(course, "1-two/third") == ["0-one/first", "0-one/second"]
    assert stages.direct(course, "1-two/fourth") == ["1-two/third"]


def test_a_stage_page_lists_its_lessons_what_they_need_and_the_arcs(two: Scratch):
    course = two.load()
    text = stages.fill((two.root / "docs/1-two/index.md").read_text(), course, "1-two/index")
    rows = re.findall(r"^- .*?(\d\.\d)", text.split("## What each")[0], re.MULTILINE)
    assert rows == ["0.1", "0.2", "1.1", "1.2"]  # what it stands on, then its own lessons
    assert re.findall(r'data-from="(\d)" data-to="(\d)"', text) == [("0", "2"), ("1", "2"), ("2", "3")]
    assert "### [1.1 Third](third.md)" in text and "- two" in text
    assert "After [0.1 First](../0-one/first.md), [1.1 Third](third.md)." in text


def test_the_climb_has_a_dot_for_every_lesson_and_marks_the_written_ones(two: Scratch):
    picture = stages.climb(two.load())
    assert picture.count("<circle") == 4
    assert re.findall(r'data-lesson="([^"]+)"', picture) == ["0-one/first", "1-two/third", "1-two/fourth"]
    assert "0.2 Its PLANNED title, not written yet" in picture


def test_the_home_page_says_how_much_of_a_stage_is_written(two: Scratch):
    text = stages.stage_list(two.load())
    assert "<b>0</b>One\n:    <small>2 lessons, 1 written</small>" in text
    assert "<b>1</b>[Two](1-two/index.md)\n:   About two. <small>2 lessons</small>" in text


def test_every_stage_of_the_course_has_a_page_with_a_description():
    course = load()
    for stage in course.stages:
        text = (course.root / "docs" / stage.folder / "index.md").read_text()
        assert re.search(r"^description: .{20,}$", text, re.MULTILINE) and "<!-- lessons -->" in text, stage.folder
