"""Running: what a block may do, and that whatever it does ends its own lesson only."""

from __future__ import annotations

import importlib.util
import time

import pytest

from scripts import run
from tests.conftest import FRONT, Scratch

LINES = FRONT.count("\n")


def statuses(results):
    return [result.status for result in results]


def texts(result):
    return "".join(output.get("text", "") for output in result.outputs)


def test_output_comes_in_the_order_written_child_processes_included(blocks):
    (result,) = blocks("""\
        ```python
        import os, sys, subprocess
        print("one")
        print("two", file=sys.stderr)
        os.write(1, b"three\\n")
        subprocess.run(["echo", "four"])
        print("five", end="")
        os.write(2, b" six\\n")
        7
        ```
        """)
    assert texts(result) == "one\ntwo\nthree\nfour\nfive six\n7\n"


def test_the_last_value_is_shown_as_a_notebook_shows_it(blocks):
    results = blocks("""\
        ```python
        [1, 2]
        ```

        ```python
        None
        ```

        ```python
        3;
        ```

        ```python
        class Table:
            def _repr_html_(self):
                return "<b>4</b>"

        Table()
        ```
        """)
    assert [result.outputs for result in results] == [
        [{"text": "[1, 2]\n"}],
        [],
        [],
        [{"html": "<b>4</b>"}],
    ]


def test_a_block_draws_what_its_caption_says(blocks):
    (result,) = blocks("""\
        ```python figure="A line."
        import matplotlib.pyplot as plt
        fig, ax = plt.subplots()
        ax.plot([1, 2, 3], label="a label")
        ax.legend()
        ```
        """)
    svg = result.outputs[0]["figure"]
    assert svg.startswith("<svg") and "a label" in svg and "var(--fig-0" in svg
    assert "DejaVu" not in svg and "Date" not in svg


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        ("", "plt.plot([1])", "has no caption"),
        (' figure="C."', "1", "draws no figure"),
        (' figure="C."', "plt.figure(); plt.figure()", "draws 2 figures"),
    ],
)
def test_a_figure_without_a_caption_is_an_error_and_the_other_way_round(blocks, key, code, message):
    (result,) = blocks(f"```python{key}\nimport matplotlib.pyplot as plt\n{code}\n```\n")
    assert result.status == "failed" and message in result.error
    assert f"docs/0-one/first.md:{LINES + 1}" in result.error


def test_figures_are_the_same_bytes_for_the_same_data(scratch: Scratch):
    scratch.page(
        "0-one/first",
        """\
        ```python figure="A map and a line."
        import matplotlib.pyplot as plt, numpy as np
        fig, (a, b) = plt.subplots(1, 2)
        a.imshow(np.arange(9).reshape(3, 3))
        b.fill_between([0, 1], [1, 2], alpha=0.3)
        b.scatter([0, 1], [1, 2])
        ```
        """,
    )
    first, second = scratch.run(), scratch.run()
    assert first[0].outputs == second[0].outputs


def test_a_failure_names_the_markdown_line_and_shows_the_values(blocks):
    results = blocks("""\
        ```python
        def f(x):
            assert x + 1 == 3
        ```

        ```python
        y = 5

        f(y)
        ```

        ```python
        print("never")
        ```

        `{python} y`
        """)
    assert statuses(results) == ["passed", "failed", "blocked", "blocked"]
    failed = results[1]
    assert failed.line == LINES + 3
    assert f'File "docs/0-one/first.md", line {LINES + 9}' in failed.error
    assert "f(y)" in failed.error and "assert (5 + 1) == 3" in failed.error
    assert results[2].error == f"blocked by docs/0-one/first.md:{LINES + 3}"


def test_raises_must_raise_that(blocks):
    (good,) = blocks('```python raises="ValueError"\nint("x")\n```\n')
    assert good.outputs == [{"error": "ValueError: invalid literal for int() with base 10: 'x'"}]
    (other,) = blocks('```python raises="ValueError"\n{}[1]\n```\n')
    assert other.status == "failed" and "KeyError" in other.error
    (nothing,) = blocks('```python raises="ValueError"\n1\n```\n')
    assert nothing.status == "failed" and "raised nothing" in nothing.error
    (base,) = blocks('```python raises="LookupError"\n{}[1]\n```\n')
    assert base.status == "passed"


EXERCISE = """\
```python
def known():
    return 1
```

```python exercise="add"
def add(a, b):
    {starter}
```

```python check="add"
assert add(known(), 2) == 3
```

```python solution="add"
def add(a, b):
    {solution}
print("solved")
```

```python wrong="add"
def add(a, b):
    {wrong}
```

```python
assert "add" not in globals()
```
"""
RIGHT = {"starter": "...", "solution": "return a + b", "wrong": "return a - b"}


def test_an_exercise_is_proven_in_both_directions_and_leaves_no_trace(blocks):
    results = blocks(EXERCISE.format(**RIGHT))
    assert statuses(results) == ["passed"] * 6
    assert texts(results[3]) == "solved\n"
    assert all(not texts(results[i]) for i in (1, 2, 4))


@pytest.mark.parametrize(
    ("part", "code", "at", "message"),
    [
        ("starter", "return a + b", 2, "the check passes with the starter"),
        ("solution", "return a * b", 3, "AssertionError"),
        ("wrong", "return b + a", 4, "the check passes with this wrong answer"),
        ("starter", "...\nraise KeyError(1)", 1, "KeyError"),
        ("wrong", "...\nraise KeyError(1)", 4, "KeyError"),
        ("solution", "import os; os._exit(3)", 3, "ended with status 3"),
    ],
)
def test_an_exercise_that_proves_nothing_is_an_error(blocks, part, code, at, message):
    results = blocks(EXERCISE.format(**(RIGHT | {part: code})))
    assert [i for i, result in enumerate(results) if result.status == "failed"] == [at]
    assert message in results[at].error and "docs/0-one/first.md:" in results[at].error


def test_the_namespace_is_a_module_that_pickle_and_inspect_know(blocks):
    results = blocks("""\
        ```python
        import dataclasses, inspect, multiprocessing, pickle

        @dataclasses.dataclass
        class Point:
            x: int = 1

        def double(n):
            return 2 * n
        ```

        - In a list:

            ```python
            def inner():
                return "inner"

            print(inspect.getsource(double), inspect.getsource(inner))
            ```

        ```python
        assert pickle.loads(pickle.dumps(Point(3))) == Point(3)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(double, [1, 2, 3]))
        ```
        """)
    assert statuses(results) == ["passed"] * 3
    assert texts(results[1]).startswith("def double(n):\n    return 2 * n\n def inner():")
    assert texts(results[2]) == "[2, 4, 6]\n"


def test_needs_that_are_not_here_are_skipped_and_said(blocks, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    body = '```python needs="shakespeare"\n1 / 0\n```\n\n`{python needs="shakespeare"} nothing`\n'
    skipped = blocks(body)
    assert statuses(skipped) == ["skipped", "skipped"]
    assert skipped[0].error == "needs shakespeare"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "tinyshakespeare.txt").write_text("text")
    assert statuses(blocks(body)) == ["failed", "blocked"]


def test_triton_is_needed_only_where_it_is_not_installed(blocks, monkeypatch):
    body = '```python needs="triton"\nprint("here")\n```\n'
    here = importlib.util.find_spec("triton") is not None
    assert statuses(blocks(body)) == ["passed" if here else "skipped"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert statuses(blocks(body)) == ["skipped"]


AFTER = "\n```python\n1\n```\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(3)", "exited with status 3 before the block ended"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL (out of memory? use less)"),
        ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("raise SystemExit", "SystemExit"),
        ("while True: print('x' * 100_000)", "printed more than 1,000,000 bytes"),
    ],
)
def test_a_block_that_ends_its_process_or_floods_ends_its_lesson(blocks, code, message):
    results = blocks(f"```python\n{code}\n```\n{AFTER}")
    assert statuses(results) == ["failed", "blocked"]
    assert message in results[0].error
    assert f"docs/0-one/first.md:{results[0].line}: " in results[0].error
    assert LINES + 1 <= results[0].line <= LINES + 2


@pytest.mark.parametrize(
    "code",
    [
        "import time\nwhile True: time.sleep(1)",
        "while True: pass",
        "import os, time\npid = os.fork()\nif pid == 0: time.sleep(600)\nos.waitpid(pid, 0)",
    ],
)
def test_a_block_that_hangs_is_ended_and_its_place_shown(blocks, code):
    start = time.monotonic()
    results = blocks(f"```python timeout=1\n{code}\n```\n{AFTER}")
    assert time.monotonic() - start < 60  # not for ever
    assert statuses(results) == ["failed", "blocked"]
    assert "timeout of 1 CPU seconds" in results[0].error
    last = LINES + 1 + code.count("\n") + 1
    assert f'"docs/0-one/first.md", line {last}' in results[0].error


def test_a_process_left_behind_is_an_error_of_the_block_that_started_it(blocks):
    hanging = "import os, time\nif os.fork() == 0:\n    time.sleep(600)"
    results = blocks(f"```python\n1\n```\n\n```python\n{hanging}\n```\n{AFTER}")
    failed = [result for result in results if result.status == "failed"]
    assert len(failed) == 1
    assert f"docs/0-one/first.md:{LINES + 5}: left a process running" in failed[0].error


WRITES = [
    "open(root + '/docs/0-one/first.md', 'w')",
    "open(root + '/docs/new.txt', 'a')",
    "import os; os.remove(root + '/docs/0-one/first.md')",
    "import os; os.rename(root + '/docs/0-one/first.md', '/tmp/gone')",
    "import shutil; shutil.rmtree(root + '/docs')",
    "import subprocess; subprocess.run(['touch', root + '/docs/new.txt'])",
    "import os\nif os.fork() == 0:\n    open(root + '/src/x', 'w')\nos.wait()\n"
    "import subprocess; subprocess.run(['touch', root + '/src/y'])",
]


@pytest.mark.parametrize("code", WRITES)
def test_a_block_must_not_write_to_the_repository(scratch: Scratch, code):
    page = scratch.page("0-one/first", f"```python\nroot = {str(scratch.root)!r}\n{code}\n```\n")
    before = page.read_text()
    (result,) = scratch.run()
    assert result.status == "failed" and "PermissionError" in result.error
    assert "the repository" in result.error and "docs/0-one/first.md:" in result.error
    assert page.read_text() == before


def test_a_block_may_write_beside_itself(blocks):
    (result,) = blocks("```python\nopen('x', 'w').write('y')\nprint(open('x').read())\n```\n")
    assert texts(result) == "y\n"


def test_lessons_run_side_by_side_and_a_bad_one_stops_no_other(scratch: Scratch, tmp_path_factory):
    sign = str(tmp_path_factory.mktemp("sign") / "here")
    scratch.page("0-one/first", "```python\nimport os; os._exit(1)\n```\n")
    scratch.page(
        "0-one/second",
        f"```python timeout=20\nimport os, time\nwhile not os.path.exists({sign!r}): time.sleep(0.1)\n```\n",
    )
    scratch.page("1-two/third", f"```python\nopen({sign!r}, 'w').close()\n```\n")
    course = scratch.load()
    run.preload(scratch.root)
    results = list(run.run(course.lessons.values(), run.Options(scratch.root), jobs=3))
    assert {(lesson.slug, result.status) for lesson, result in results if result} == {
        ("0-one/first", "failed"),
        ("0-one/second", "passed"),
        ("1-two/third", "passed"),
    }
    assert sorted(lesson.slug for lesson, result in results if result is None) == sorted(course.lessons)


def test_each_lesson_starts_from_the_same_seeds_and_nothing_else(scratch: Scratch):
    body = "```python\nimport random, numpy, torch\n"
    body += "print(random.random(), numpy.random.rand(), torch.rand(1), torch.get_num_threads())\n```\n"
    scratch.page("0-one/first", body)
    scratch.page("0-one/second", body)
    outputs = [
        result.outputs for _, result in run.run(scratch.load().lessons.values(), run.Options(scratch.root)) if result
    ]
    assert outputs[0] == outputs[1]


TYPED = """\
```python title="src/course/data/halves.py"
from jaxtyping import Float
from torch import Tensor


def half(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return x / 2
```

```python
import torch
half(torch.ones({shape}))
```
"""


def test_written_shapes_are_checked_where_tests_ask_for_it(blocks):
    assert statuses(blocks(TYPED.format(shape="2, 3"), typecheck=True)) == ["passed", "passed"]
    assert statuses(blocks(TYPED.format(shape="2"), typecheck=True)) == ["passed", "failed"]
    assert statuses(blocks(TYPED.format(shape="2"))) == ["passed", "passed"]


def test_a_checked_function_keeps_its_source(blocks):
    show = "\n```python\nimport inspect\nprint(inspect.getsource(inspect.unwrap(half)))\n```\n"
    body = TYPED.format(shape="2, 3") + show
    assert texts(blocks(body, typecheck=True)[-1]).startswith("def half(")


def test_a_course_is_run_with_its_own_package_after_another_was(tmp_path):
    show = "```python\nimport course\nprint(course.__file__)\n```\n"
    courses = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        courses[name] = Scratch(tmp_path / name)
        courses[name].page("0-one/first", show)
    for name in ("one", "two", "one"):
        assert texts(courses[name].run()[0]).startswith("src/course/__init__.py")
