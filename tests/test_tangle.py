"""Tangling: deterministic, one owner, nothing written by hand is lost, and the way back."""

from __future__ import annotations

import pytest

from scripts import check, tangle
from scripts.parse import LessonError
from tests.conftest import Scratch

PAGE = """\
```python title="src/course/data/lines.py"
\"\"\"Lines of text.\"\"\"


def count(text: str) -> int:
    return text.count("\\n")
```

Prose between.

## Words

!!! note

    ```python title="src/course/data/lines.py"
    def words(text: str) -> int:

        return len(text.split())
    ```

```python title="src/course/data/other.py"
ANSWER = 42
```
"""
LINES = """\
# From docs/0-one/first.md, which is its source: edit there.  [{digest}]
# %% top-1
\"\"\"Lines of text.\"\"\"


def count(text: str) -> int:
    return text.count("\\n")


# %% words-1
def words(text: str) -> int:

    return len(text.split())
"""


@pytest.fixture
def page(scratch: Scratch) -> Scratch:
    scratch.page("0-one/first", PAGE)
    tangle.tangle(scratch.load())
    return scratch


def module(scratch: Scratch, name: str = "data/lines"):
    return scratch.root / "src" / "course" / f"{name}.py"


def test_titled_blocks_become_modules_in_page_order(page: Scratch):
    text = module(page).read_text()
    digest = text.partition("[")[2].partition("]")[0]
    assert text == LINES.format(digest=digest)
    assert module(page, "data/other").read_text().endswith("# %% words-2\nANSWER = 42\n")
    assert module(page, "data/__init__").exists()


def test_tangling_again_changes_nothing_and_prose_changes_nothing(page: Scratch):
    before = module(page).stat().st_mtime_ns
    assert not tangle.tangle(page.load())
    page.page("0-one/first", "New prose.\n\n" + PAGE)
    assert not tangle.tangle(page.load())
    assert module(page).stat().st_mtime_ns == before


def test_an_edit_by_hand_is_not_overwritten_without_a_word(page: Scratch):
    edited = module(page).read_text().replace("return text.count", "return 1 + text.count")
    module(page).write_text(edited)
    page.page("0-one/first", PAGE.replace("42", "43"))
    changes = tangle.tangle(page.load())
    assert changes.edited == ["src/course/data/lines.py"]
    assert changes.written == ["src/course/data/other.py"]
    assert module(page).read_text() == edited
    assert "edited by hand" in "".join(check.in_step(page.load()))
    tangle.tangle(page.load(), force=True)
    assert "return text.count" in module(page).read_text()


def test_untangle_carries_an_edit_back_into_the_lesson(page: Scratch):
    text = module(page).read_text()
    text = text.replace("return text.count", "return 0 + text.count").replace("len(text", "len(text.strip()")
    module(page).write_text(text)
    assert tangle.untangle(page.load()) == ["docs/0-one/first.md"]
    lesson = (page.root / "docs/0-one/first.md").read_text()
    assert "    return 0 + text.count" in lesson
    tangle.tangle(page.load(), force=True)
    assert module(page).read_text().partition("\n")[2] == text.partition("\n")[2]


def test_untangle_refuses_pieces_that_are_not_the_lessons(page: Scratch):
    module(page).write_text(module(page).read_text().replace("# %% words-1\n", ""))
    with pytest.raises(LessonError, match=r"its pieces are top-1, those of docs/0-one/first.md are top-1, words-1"):
        tangle.untangle(page.load())


def test_modules_that_no_lesson_owns_are_removed_unless_edited(page: Scratch):
    page.page("0-one/first", PAGE.split('```python title="src/course/data/other.py"')[0])
    assert tangle.tangle(page.load()).removed == ["src/course/data/other.py"]
    assert not module(page, "data/other").exists()
    page.page("0-one/first", "Prose only.\n")
    module(page).write_text(module(page).read_text() + "# mine\n")
    changes = tangle.tangle(page.load())
    assert changes.unowned == ["src/course/data/lines.py"] and module(page).exists()


def test_a_module_written_by_hand_is_never_removed(page: Scratch):
    for name in ("data/mine", "data/lines"):  # no lesson's, and a lesson's, without the header of what is generated
        module(page, name).write_text("MINE = 1\n")
    changes = tangle.tangle(page.load())
    assert changes.unowned == ["src/course/data/mine.py"] and changes.edited == ["src/course/data/lines.py"]
    assert "put it into a titled block" in "".join(check.in_step(page.load()))
    tangle.tangle(page.load(), force=True)
    assert module(page, "data/mine").read_text() == "MINE = 1\n"
    assert "count" in module(page).read_text()


def test_check_says_what_differs(page: Scratch):
    page.page("0-one/first", PAGE.replace("42", "43"))
    assert list(check.in_step(page.load())) == ["src/course/data/other.py is not what its lesson says; make tangle"]


def test_findings_in_the_package_name_the_lessons_line(page: Scratch):
    course = page.load()
    number = module(page).read_text().splitlines().index("    return len(text.split())") + 1
    lesson = (page.root / "docs/0-one/first.md").read_text().splitlines()
    line = lesson.index("        return len(text.split())") + 1
    found = check.in_lesson(course, f"src/course/data/lines.py:{number}:5: error: wrong")
    assert found == f"docs/0-one/first.md:{line}:5: error: wrong"


def test_an_unknown_package_is_an_error_at_the_block(scratch: Scratch):
    scratch.page("0-one/first", '```python title="src/course/misc/x.py"\nx = 1\n```\n')
    with pytest.raises(LessonError, match=r"docs/0-one/first.md:8: no package `course.misc`"):
        tangle.tangle(scratch.load())
