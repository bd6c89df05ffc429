"""The road of a contributor: CONTRIBUTING's own commands, one after the other, in a scratch clone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from pytest_codeblocks.main import extract_from_file

from scripts import check, new, record, tangle
from scripts.course import ROOT, load
from tests.conftest import Scratch

DOCUMENTS = ("README.md", "CONTRIBUTING.md")
EXAMPLE = "1-training/dropout"  # the lesson of which CONTRIBUTING speaks
LESSON = "1-training/written-by-a-test"  # stands in for it here: the example itself will one day be written
MODULE = '''
```python title="src/course/training/written_by_a_test.py"
"""What the author adds."""


def twice(x: float) -> float:
    """Return x, doubled."""
    return 2 * x
```

```python
assert twice(3.0) == 6.0
```
'''


def commands(document: str) -> list[str]:
    """The lines of the console blocks. A block that is not to be typed is fenced as `text`."""
    blocks = [block.code for block in extract_from_file(ROOT / document) if block.syntax == "console"]
    return [line.partition(" # ")[0].strip() for code in blocks for line in code.splitlines()]


def test_every_command_that_the_documents_name_is_one():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    help_text = subprocess.run([sys.executable, "-m", "scripts", "--help"], cwd=ROOT, capture_output=True, text=True)
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        assert set(re.findall(r"`make ([a-z]+)", text)) <= targets, document
        assert {words[1] for line in commands(document) if (words := line.split())[0] == "make"} <= targets
        for verb in re.findall(r"-m scripts ([a-z]+)", text):
            assert f"    {verb} " in help_text.stdout, (document, verb)


@pytest.mark.parametrize("document", [*DOCUMENTS, "CODE_OF_CONDUCT.md", "CHANGELOG.md"])
def test_what_a_document_links_to_is_there(document: str):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / document).read_text())
    assert [link for link in links if not link.startswith("https:") and not (ROOT / link).exists()] == []


# ---------------------------------------------------------------- a new lesson


def test_a_new_lesson_passes_everything_also_in_a_stage_that_has_no_folder_yet(scratch: Scratch):
    path = new.new(scratch.load(), "third")
    assert path == scratch.root / "docs" / "1-two" / "third.md"
    with pytest.raises(SystemExit, match="is there already; go on with it: make lesson L=1-two/third"):
        new.new(scratch.load(), "1-two/third")
    scratch.record("1-two/third")
    course = scratch.with_engine().load()
    for finder in (check.in_step, check.style, check.fresh, check.site):
        assert list(finder(course)) == []
    done = scratch.command("pytest", "docs", "-q")
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "which lesson? Say L=…"),
        ("thrid", "did you mean 1-two/third?"),
        ("0-one/thrid", "did you mean 1-two/third?"),
        ("zzz", "a new lesson is added there first, in its place"),
        ("1-two/third", "1-two/third is not written yet; begin it: make new L=1-two/third"),
    ],
)
def test_a_name_that_is_no_lesson_is_answered_with_what_to_type(scratch: Scratch, name: str, says: str):
    scratch.page("0-one/first", "Text.\n")
    course = scratch.load()
    assert course.named("first") is course.named("docs/0-one/first.md") is course.lessons["0-one/first"]
    with pytest.raises(SystemExit) as error:
        course.named(name)
    assert says in str(error.value)


# ---------------------------------------------------------------- the walk


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This working tree as a repository of its own, with the packages that are installed here.

    Its `.venv` and `node_modules` hold links, so that `make` finds its set-up done.
    """
    root = tmp_path / "clone"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    for link, source in [(".venv", Path(sys.prefix)), ("node_modules", ROOT / "node_modules")]:
        (root / link).mkdir()
        for path in source.iterdir():
            (root / link / path.name).symlink_to(path)
    (root / ".venv" / "ready").unlink(missing_ok=True)
    (root / ".venv" / "ready").touch()  # newer than the pins
    for cache in (".mypy_cache", ".cache/katex"):  # what has been checked and rendered need not be again
        if (ROOT / cache).exists():
            shutil.copytree(ROOT / cache, root / cache)
    curriculum = root / "curriculum.yml"
    stages = yaml.safe_load(curriculum.read_text())
    next(stage for stage in stages if stage["folder"] == "1-training")["lessons"].append("written-by-a-test")
    curriculum.write_text(yaml.safe_dump(stages, default_flow_style=None, width=10_000))
    for command in ("init --quiet", "add --all", "commit --quiet --message All"):
        subprocess.run(["git", *command.split()], cwd=root, env=environment(root), check=True)
    return root


def environment(root: Path) -> dict[str, str]:
    person = {f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    own = {"PRE_COMMIT_HOME": str(root.parent / "pre-commit"), "OMP_NUM_THREADS": "1"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GIT_", "MAKE"))}
    return inherited | person | own


def sh(root: Path, command: str) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def preview(root: Path, command: str) -> None:
    """Type the command, save an edit, look at the page, end with Ctrl-C: as CONTRIBUTING tells it."""
    process = subprocess.Popen(
        command.split(),
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    try:
        address = next(line.split()[0] for line in process.stdout if line.startswith("http://"))
        shows(address, "Written by a test")
        page = root / "docs" / f"{LESSON}.md"
        page.write_text(page.read_text().replace("\n## Exercises\n", f"{MODULE}\n## Exercises\n"))
        shows(address, "What the author adds")
    finally:
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=180)
        _, alive = psutil.wait_procs(started, timeout=120)
    assert alive == []


def shows(address: str, text: str) -> None:
    deadline = time.monotonic() + 240  # of a machine that may be busy
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address) as page:
                if text in page.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{address} does not show {text!r}")


def plan(root: Path, command: str) -> None:
    """`make test` runs this very test, and every lesson: here it only says what it would run, the parts are walked."""
    assert "pytest" in sh(root, command.replace("make", "make --dry-run"))


def untangle(root: Path, command: str) -> None:
    module = root / "src/course/training/written_by_a_test.py"
    module.write_text(module.read_text().replace("return 2 * x", "return 2 * x  # by hand"))  # runs the same: no record
    sh(root, command)
    assert "return 2 * x  # by hand" in (root / "docs" / f"{LESSON}.md").read_text()


OTHERWISE: dict[str, Callable[[Path, str], None]] = {
    "make lesson": preview,
    "make test": plan,
    "make untangle": untangle,
}


@pytest.fixture
def steps() -> Iterator[list[str]]:
    lines = commands("CONTRIBUTING.md")
    assert lines[:2] == [f"make new L={EXAMPLE}", f"make lesson L={EXAMPLE}"] and lines[-1].startswith("git commit")
    yield [line.replace(EXAMPLE, LESSON) for line in lines]


def test_the_steps_of_contributing_lead_to_a_commit(clone: Path, steps: list[str]):
    for command in steps:
        special = next((name for name in OTHERWISE if command.startswith(name)), None)
        OTHERWISE.get(special or "", sh)(clone, command)
    assert sh(clone, "git status --porcelain --untracked-files=all") == ""
    changed = sh(clone, "git show --name-only --format=").split()
    stem = LESSON.partition("/")[2]
    assert changed == [
        f"docs/{LESSON}.md",
        f"docs/records/{LESSON}/record.json",
        f"src/course/training/{stem.replace('-', '_')}.py",
    ]
    assert not tangle.tangle(load(clone), write=False)
    assert record.why(load(clone), load(clone).lessons[LESSON]) == []
    sh(clone, ".venv/bin/pre-commit run --all-files")
