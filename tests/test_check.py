"""The checks find what they are there for, at its line, and say what to type next."""

from __future__ import annotations

import pytest

from scripts import check
from scripts.course import load
from scripts.parse import LessonError
from tests.conftest import FRONT, Scratch

LINES = FRONT.count("\n")
PAGE = """\
A [link](../0-one/nowhere.md), an [anchor](#nowhere) and a picture:

![a picture](missing.png)

```python title="src/course/data/lines.py"
import os


def count(text: str) -> int:
    return text.count("\\n")
```
"""


def test_links_that_lead_nowhere_fail_the_strict_build_at_their_line(scratch: Scratch):
    scratch.page("0-one/first", PAGE)
    scratch.record()
    faults = list(check.site(scratch.with_engine().load()))
    assert [fault.split(": contains")[0] for fault in faults] == [
        f"docs/0-one/first.md:{line}" for line in (LINES + 1, LINES + 3, LINES + 1)
    ]
    for fault, link in zip(faults, ("../0-one/nowhere.md", "missing.png", "#nowhere"), strict=True):
        assert f"'{link}'" in fault


def test_a_formula_that_katex_rejects_is_found_at_its_line(scratch: Scratch):
    scratch.page("0-one/first", "Text.\n\n$$\n\\frac{1\n$$\n")
    faults = "\n".join(check.site(scratch.with_engine().load()))
    assert f"docs/0-one/first.md:{LINES + 4}: Unexpected end of input" in faults


def test_every_failed_check_says_what_to_type_next(scratch: Scratch, monkeypatch, capsys):
    """All but the types, whose first run would cost as much as all other tests of this file."""
    scratch.page("0-one/first", PAGE.replace('\\n")\n```', '\\n")  # ' + "-" * 99 + "\n```"))
    monkeypatch.setattr(check, "types", lambda course: iter(["docs/0-one/first.md:1: error: …"]))
    course = scratch.with_engine().load()
    assert not check.check(course)
    printed = capsys.readouterr().out
    for expected in (
        "FAILED  src/course equals the lessons",
        "src/course/data/lines.py is not what its lesson says; make tangle",
        "FAILED  style (ruff)",
        f"docs/0-one/first.md:{LINES + 10}: ",
        "next: .venv/bin/ruff check --fix; ",
        "next: edit these lines; make check",
        "docs/0-one/first.md: there is no record; make record L=0-one/first",
    ):
        assert expected in printed, printed
    assert "its record is stale" not in printed  # a missing record is said once


def test_types_are_not_judged_on_old_modules(scratch: Scratch):
    scratch.page("0-one/first", PAGE)
    assert list(check.types(scratch.load())) == ["not looked at, since src/course is not what the lessons say"]


def test_a_finding_of_ruff_in_a_module_is_at_the_lessons_line(scratch: Scratch):
    scratch.page("0-one/first", PAGE)
    scratch.with_engine().command("scripts", "tangle")
    assert f"docs/0-one/first.md:{LINES + 6}:8: F401 [*] `os` imported but unused" in list(check.style(scratch.load()))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title: Two", "titel: Two", "curriculum.yml:2: a stage has a folder, a title and a list of lessons"),
        ("title: Two,", "title: Two", "curriculum.yml:2: "),
        ("- {folder: 1-two", "-\n  folder: 1-two\n- {folder: 1-two", "curriculum.yml:3: a stage has"),
    ],
)
def test_a_malformed_curriculum_is_an_error_at_its_line(scratch: Scratch, old: str, new: str, says: str):
    path = scratch.root / "curriculum.yml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LessonError) as error:
        load(scratch.root)
    assert says in str(error.value)


def test_a_prerequisite_that_is_misspelled_is_answered_with_the_near_ones(scratch: Scratch):
    path = scratch.page("0-one/second", "Text.\n")
    path.write_text(path.read_text().replace("prerequisites: []", "prerequisites: [0-one/frist]"))
    with pytest.raises(LessonError, match=r"second.md:5: the prerequisite 0-one/frist .*did you mean 0-one/first\?"):
        load(scratch.root)
