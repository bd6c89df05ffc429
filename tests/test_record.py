"""Records: what makes them stale, and that nothing is ever lost or half-written."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import child, record, run, tangle
from tests.conftest import Scratch

OWNER = """\
```python title="src/course/data/lines.py"
def count(text: str) -> int:
    return text.count("\\n")  # a line ends
```

```python
print(count("a\\nb\\n"))
```
"""
BETWEEN = """\
```python title="src/course/training/use.py"
from course.data.lines import count


def twice(text: str) -> int:
    return 2 * count(text)
```
"""
USER = """\
```python
from course.training.use import twice
print(twice("a\\n"))
```
"""
ALONE = "```python\nprint(1.5)\n```\n"


@pytest.fixture
def four(scratch: Scratch) -> Scratch:
    """Owner ← between ← user, and one that stands alone; tangled and recorded."""
    for slug, body in {
        "0-one/first": OWNER,
        "0-one/second": BETWEEN,
        "1-two/third": USER,
        "1-two/fourth": ALONE,
    }.items():
        scratch.page(slug, body)
    tangle.tangle(scratch.load())
    for slug in scratch.load().lessons:
        scratch.record(slug)
    assert stale(scratch) == {}
    return scratch


def stale(scratch: Scratch) -> dict[str, list[str]]:
    course = scratch.load()
    found = {slug: record.why(course, lesson) for slug, lesson in course.lessons.items()}
    return {slug: reasons for slug, reasons in found.items() if reasons}


def edit(scratch: Scratch, slug: str, old: str, new: str) -> None:
    path = scratch.root / "docs" / f"{slug}.md"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    tangle.tangle(scratch.load())


def test_editing_a_function_makes_those_stale_that_import_it_and_why_names_it(four: Scratch):
    edit(four, "0-one/first", 'text.count("\\n")', 'len(text.split("\\n"))')
    reasons = stale(four)
    assert set(reasons) == {"0-one/first", "0-one/second", "1-two/third"}
    assert reasons["0-one/first"] == ["docs/0-one/first.md:8: `top-1` changed"]
    assert reasons["0-one/second"] == ["`course.data.lines` changed, lesson 0.1"]
    assert reasons["1-two/third"] == ["`course.data.lines` changed, lesson 0.1"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a line ends", "# the end of a line, said in other words"),
        ("def count(text: str) -> int:\n", "def count(text: str) -> int:\n    # a new line\n\n"),
        ('text.count("\\n")', "text.count('\\n')"),
        ("```python\nprint", '```python hl_lines="1" fold="Shown on request"\nprint'),
        ("description: A lesson of a test.", "description: Other words."),
        ("\n```python title", "\nNew prose.\n\n```python title"),
    ],
)
def test_comments_layout_and_prose_make_nothing_stale(four: Scratch, old, new):
    edit(four, "0-one/first", old, new)
    assert stale(four) == {}


def test_new_blocks_removed_blocks_and_missing_records_are_named(four: Scratch):
    edit(four, "1-two/fourth", "```python\nprint(1.5)\n```\n", "## Now\n\n```python\nprint(2)\n```\n")
    assert stale(four)["1-two/fourth"] == [
        "docs/1-two/fourth.md:10: `now-1` is new",
        "`top-1` is gone",
    ]
    (four.root / "docs/records/1-two/third/record.json").unlink()
    assert stale(four)["1-two/third"] == ["there is no record"]


def test_modules_named_in_strings_count_as_imports(four: Scratch):
    edit(four, "1-two/fourth", "print(1.5)", 'print("python -m course.training.use")')
    course = four.load()
    modules = record.closure(course.lessons["1-two/fourth"], four.root)
    assert set(modules) == {"course.training.use", "course.data.lines"}


def test_data_that_changed_makes_a_record_stale_and_absent_data_does_not(scratch: Scratch, monkeypatch, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "tinyshakespeare.txt").write_text("to be")
    monkeypatch.setenv("COURSE_DATA", str(data))
    scratch.page(
        "0-one/first",
        "```python\nimport os\nprint(open(os.environ['COURSE_DATA'] + '/tinyshakespeare.txt').read())\n```\n",
    )
    lesson = scratch.load().lessons["0-one/first"]
    options = run.Options(scratch.root)
    results = [result for _, result in run.run([lesson], options) if result]
    files = record.build(lesson, results, scratch.root, options.data[lesson.path])
    record.write(record.folder(lesson, scratch.root), files)
    assert stale(scratch) == {}
    (data / "tinyshakespeare.txt").write_text("or not")
    assert stale(scratch) == {"0-one/first": ["the data file tinyshakespeare.txt changed"]}
    (data / "tinyshakespeare.txt").unlink()
    assert stale(scratch) == {}


def test_a_record_holds_outputs_figures_and_where_they_come_from(scratch: Scratch):
    scratch.page(
        "0-one/first",
        "```python\nprint('a\\nb')\n```\n\nThe value `{python} 1 + 1`.\n\n"
        '```python figure="F."\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n```\n',
    )
    made = scratch.record()
    folder = scratch.root / "docs/records/0-one/first"
    assert sorted(path.name for path in folder.iterdir()) == ["figure-1.svg", "record.json"]
    assert [entry["outputs"] for entry in made["elements"]] == [
        [{"text": "a\nb\n"}],
        [{"value": "2"}],
        [{"figure": "figure-1.svg"}],
    ]
    assert set(made["run"]) == {"python", "torch", "device", "date"}
    assert all(entry["cpu"] >= 0 for entry in made["elements"])
    assert '"a\\n",\n' in (folder / "record.json").read_text()  # one line of output, one of the diff


def test_running_again_leaves_the_same_bytes(scratch: Scratch):
    scratch.page("0-one/first", "```python\nimport time\nprint(f'{time.time()} s')\n```\n")
    scratch.record()
    path = scratch.root / "docs/records/0-one/first/record.json"
    before = path.read_text()
    scratch.record()
    assert path.read_text() == before


def test_a_skipped_block_keeps_what_was_recorded_elsewhere(scratch: Scratch, monkeypatch):
    scratch.page(
        "0-one/first",
        '```python needs="cuda"\nprint("on a GPU")\n```\n\n```python\nprint("here")\n```\n',
    )
    monkeypatch.setattr(child, "available", lambda needs: True)
    monkeypatch.setattr(
        record, "provenance", lambda device="cpu": {"python": "", "torch": "", "device": device, "date": ""}
    )
    assert scratch.record()["elements"][0]["run"]["device"] == "cuda"
    monkeypatch.undo()
    kept = scratch.record()["elements"][0]
    assert kept["outputs"] == [{"text": "on a GPU\n"}] and kept["run"]["device"] == "cuda"
    edit(scratch, "0-one/first", 'print("here")', 'print("there")')
    kept = scratch.record()["elements"][0]
    assert kept["outputs"] == [{"text": "on a GPU\n"}]
    lesson = scratch.load().lessons["0-one/first"]
    assert kept["run"]["key"] != record.run_key(lesson, scratch.root)  # and the page says so


# ---------------------------------------------------------------- nothing is lost


def test_a_record_cut_in_half_counts_as_none_and_is_made_anew(four: Scratch):
    path = four.root / "docs/records/1-two/fourth/record.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert stale(four) == {"1-two/fourth": ["there is no record"]}
    four.record("1-two/fourth")
    assert path.read_text() == text


def test_a_full_disk_leaves_the_old_record(four: Scratch, monkeypatch):
    folder = four.root / "docs/records/1-two/fourth"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        record.write(folder, {"record.json": "{}", "figure-1.svg": "<svg/>"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir() if "fourth" in path.name] == ["fourth"]


def test_a_file_limit_stops_the_command_with_a_message_and_the_old_record(four: Scratch):
    """A real limit of the system, as a full disk would be: no file beyond 100 bytes."""
    four.with_engine()
    edit(four, "1-two/fourth", "print(1.5)", "print('y' * 2000)")
    path = four.root / "docs/records/1-two/fourth/record.json"
    before = path.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "scripts", "record", "1-two/fourth"],
        cwd=four.root,
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)),
        ),
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr and "nothing that was recorded before is lost" in done.stderr
    assert path.read_text() == before


@pytest.mark.parametrize("steps", range(14))
def test_a_kill_at_any_step_of_writing_leaves_the_old_record_or_the_new(tmp_path: Path, steps: int):
    """The process ends itself at the n-th change of the file system that `record.write` makes."""
    folder = tmp_path / "lesson"
    old = {"record.json": "old", "figure-1.svg": "old figure"}
    new = {"record.json": "new", "figure-1.svg": "new figure", "figure-2.svg": "another"}
    record.write(folder, old)
    code = f"""
import os, sys
from pathlib import Path
from scripts import record
left = [{steps}]
def hook(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & 3
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        left[0] -= 1
sys.addaudithook(hook)
record.write(Path({str(folder)!r}), {new!r})
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(record.__file__).parent.parent)
    record.recover(folder)
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found in (old, new)
    record.write(folder, new)
    assert {path.name: path.read_text() for path in folder.iterdir()} == new
    assert [path.name for path in tmp_path.iterdir()] == ["lesson"]


def test_killing_the_command_while_it_runs_loses_nothing(four: Scratch):
    four.with_engine()
    edit(four, "1-two/fourth", "print(1.5)", "import time; time.sleep(600)")
    path = four.root / "docs/records/1-two/fourth/record.json"
    before = path.read_text()
    command = subprocess.Popen(
        [sys.executable, "-m", "scripts", "record", "1-two/fourth"], cwd=four.root, stdout=subprocess.PIPE
    )
    assert command.stdout and command.stdout.readline()
    time.sleep(4)
    command.kill()
    command.wait()
    assert path.read_text() == before
    assert json.loads(before)


def test_interrupting_shows_where_the_block_is(four: Scratch):
    four.with_engine()
    begun = four.root / ".cache" / "begun"
    begun.parent.mkdir()
    edit(four, "1-two/fourth", "print(1.5)", f"import time\nopen({str(begun)!r}, 'w')\ntime.sleep(600)")
    command = subprocess.Popen(
        [sys.executable, "-m", "scripts", "record", "1-two/fourth"],
        cwd=four.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    while not begun.exists():
        time.sleep(0.1)
    time.sleep(0.3)
    os.killpg(command.pid, signal.SIGINT)
    _, errors = command.communicate(timeout=20)
    assert command.returncode == 130
    assert 'docs/1-two/fourth.md", line 11' in errors


# ---------------------------------------------------------------- drift


@pytest.mark.parametrize(
    ("now", "then", "same"),
    [
        ("loss 0.5000", "loss 0.5001", True),
        ("loss 0.5000", "loss 0.60", False),
        ("shape (3, 4)", "shape (3, 4)", True),
        ("shape (3, 4)", "shape (3, 5)", False),
        ("took 1.5 s", "took 9.7 s", True),
        ("1.3 GB/s, 2 steps", "9 GB/s, 2 steps", True),
        ("1.3 GB/s, 2 steps", "9 GB/s, 3 steps", False),
        ("error 1e-17", "error 3.5e-16", True),
        ("1.0 x", "1.0 y", False),
        ("-0.5", "0.5", False),
    ],
)
def test_integers_are_exact_floats_have_a_tolerance_and_times_are_free(now, then, same):
    assert record.same_text(now, then) is same


def test_drift_names_the_line_and_both_numbers(four: Scratch):
    path = four.root / "docs/records/1-two/fourth/record.json"
    path.write_text(path.read_text().replace("1.5", "2.5"))
    lesson = four.load().lessons["1-two/fourth"]
    (result,) = four.run("1-two/fourth")
    drift = record.drift(lesson, result, record.load(lesson, four.root))
    assert drift == "docs/1-two/fourth.md:8: prints '1.5', the record says '2.5'"
