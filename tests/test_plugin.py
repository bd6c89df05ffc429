"""The pytest plugin: an item for each block, at its Markdown line, however it is selected."""

from __future__ import annotations

import re

import pytest

from tests.conftest import FRONT, Scratch

LINES = FRONT.count("\n")
PAGE = """\
```python
x = 2
```

## Broken

```python
assert x + 1 == 4
```

```python
print("never")
```

## Needs

`{python} x`
"""
WHOLE = PAGE.replace("== 4", "== 3")


@pytest.fixture
def course(scratch: Scratch) -> Scratch:
    scratch.with_engine()
    scratch.page("0-one/first", PAGE)
    scratch.page("0-one/second", WHOLE + '\n```python needs="cuda"\n1\n```\n')
    return scratch


def outcome(done) -> dict[str, int]:
    last = done.stdout.strip().splitlines()[-1]
    return {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}


def test_each_block_is_an_item_that_fails_at_its_line_with_its_values(course: Scratch):
    done = course.command("pytest", "docs")
    assert outcome(done) == {"failed": 3, "passed": 5, "skipped": 1}, done.stdout
    assert f"docs/0-one/first.md:{LINES + 8}: AssertionError" in done.stdout
    assert "assert (2 + 1) == 4" in done.stdout
    assert "next: make lesson L=0-one/first shows the page while you mend it; " in done.stdout
    assert ".venv/bin/python -m pytest docs/0-one/first.md::broken-1 runs up to here" in done.stdout
    assert done.stdout.count(f"blocked by docs/0-one/first.md:{LINES + 8}") == 4  # in the body and in the summary
    assert "FAILED docs/0-one/first.md::broken-1" in done.stdout


def test_ids_are_heading_and_ordinal_and_do_not_move_with_the_lines(course: Scratch):
    def ids() -> list[str]:
        done = course.command("pytest", "docs/0-one/second.md", "--collect-only", "-q")
        return [line for line in done.stdout.splitlines() if "::" in line]

    before = ids()
    assert before == [
        f"docs/0-one/second.md::{name}" for name in ("top-1", "broken-1", "broken-2", "value-1", "needs-1")
    ]
    course.page("0-one/second", "One more line.\n\n" + WHOLE + '\n```python needs="cuda"\n1\n```\n')
    assert ids() == before


def test_one_block_selected_runs_those_before_it_and_none_after(course: Scratch):
    assert outcome(course.command("pytest", "docs", "-k", "second and broken-1")) == {"passed": 1}
    one = course.command("pytest", "docs/0-one/first.md::broken-2")
    assert outcome(one) == {"failed": 1} and "blocked by" in one.stdout
    assert outcome(course.command("pytest", "docs/0-one/first.md::top-1")) == {"passed": 1}


def test_last_failed_runs_the_failed_alone(course: Scratch):
    course.command("pytest", "docs")
    course.page("0-one/first", WHOLE)
    assert outcome(course.command("pytest", "docs", "--lf")) == {"passed": 3}


def test_two_workers_give_the_same(course: Scratch):
    done = course.command("pytest", "docs", "-n", "2")
    assert outcome(done) == {"failed": 3, "passed": 5, "skipped": 1}, done.stdout


def test_a_malformed_lesson_is_an_error_at_its_line_and_the_others_run(course: Scratch):
    course.page("0-one/first", "```py\n1\n```\n")
    done = course.command("pytest", "docs")
    assert outcome(done)["error"] == 1
    assert f"docs/0-one/first.md:{LINES + 1}: " in done.stdout
    again = course.command("pytest", "docs", "--continue-on-collection-errors")
    assert outcome(again)["passed"] == 4


def test_a_process_left_behind_fails_the_run(course: Scratch):
    course.page("0-one/first", "```python\nimport os, time\nif os.fork() == 0:\n    time.sleep(600)\n```\n")
    done = course.command("pytest", "docs/0-one/first.md")
    assert done.returncode == 1 and f"docs/0-one/first.md:{LINES + 1}: left a process running" in done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_drift_is_reported_and_is_no_failure(scratch: Scratch, workers):
    scratch.page("0-one/first", "```python\nprint('loss', 0.5, 'shape', 3)\n```\n")
    scratch.record()
    scratch.with_engine()
    path = scratch.root / "docs/records/0-one/first/record.json"
    path.write_text(path.read_text().replace("shape 3", "shape 4"))
    done = scratch.command("pytest", "docs", *workers)
    assert done.returncode == 0
    assert "1 outputs drifted from their record" in done.stdout
    assert f"docs/0-one/first.md:{LINES + 1}: prints 'loss 0.5 shape 3', the record says" in done.stdout
    assert 'next: if this run is right, make record L="0-one/first"; if not, mend it' in done.stdout


def test_shapes_in_signatures_are_checked_in_imported_modules_too(scratch: Scratch):
    scratch.with_engine()
    scratch.page(
        "0-one/first",
        '```python title="src/course/data/halves.py"\nfrom jaxtyping import Float\nfrom torch import Tensor\n\n\n'
        'def half(x: Float[Tensor, "n d"], by: float = 2.0) -> Float[Tensor, "n d"]:\n    return x / by\n```\n',
    )
    scratch.page(
        "0-one/second",
        "```python\nimport torch\nfrom course.data.halves import half\nhalf(torch.ones(2, 3), 2)\n```\n\n"
        "```python\nhalf(torch.ones(2))\n```\n",
    )
    scratch.command("scripts", "tangle")
    done = scratch.command("pytest", "docs/0-one/second.md")
    assert outcome(done) == {"passed": 1, "failed": 1}, done.stdout
    assert "TypeCheckError" in done.stdout
