"""Measure the engine against what it must not be slower than, in CPU seconds, each pair in one run.

``python -m tests.benchmark`` prints a table: engine overhead over the same blocks run plainly; a site build
from records against MkDocs alone on the same woven pages; a full run against mkdocs-jupyter executing the
same lessons; and the time from a saved edit to the visible page.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat

from scripts import child, export, live, run
from scripts.course import ROOT, Course, load
from scripts.parse import Block, Lesson
from tests.conftest import FRONT, Scratch

QUIET = os.environ | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        row("", "ours", "theirs", "ratio", "limit")
        lessons = copy_of_course(work / "lessons")
        light = light_course(work / "light", 40)
        overhead("engine over plain blocks, the lessons", lessons)
        overhead(f"engine over plain blocks, {len(light.lessons)} light lessons", light)
        build("site from records over MkDocs alone, the lessons", lessons, work / "woven")
        build(f"the same, {len(light.lessons)} light lessons", light, work / "woven-light")
        jupyter("full run over mkdocs-jupyter, light lessons", light, work / "jupyter-light")
        jupyter("full run over mkdocs-jupyter, the lessons", lessons, work / "jupyter")
        edits(lessons)


def row(name: str, *cells: str) -> None:
    print(f"{name:52}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def compare(name: str, ours: float, theirs: float, limit: str) -> None:
    row(name, f"{ours:.1f} s", f"{theirs:.1f} s", f"{ours / theirs:.2f}", limit)


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu(command: list[str], folder: Path) -> float:
    """CPU seconds of a command and all that it waited for."""
    before = cpu_of_children()
    done = subprocess.run(command, cwd=folder, env=QUIET, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return cpu_of_children() - before


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


# ---------------------------------------------------------------- courses to measure


def copy_of_course(root: Path) -> Course:
    """The written lessons with the engine, apart from the working tree."""
    shutil.copytree(
        ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "site", "node_modules", "__pycache__")
    )
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    return load(root)


LIGHT = """\
Some prose about `numpy`, with a formula, $x_{{{n}}} = {n}$.

## First

```python
import numpy as np
x = np.linspace(0, 1, 100) * {n}
print(x.sum().round(3))
```

The sum is `{{python}} f"{{x.sum():.2f}}"`.

```python figure="A line."
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot(x)
```

## Second

```python
y = np.sin(x)
y.mean().round(3)
```

```python figure="Another line."
fig, ax = plt.subplots()
ax.plot(y)
```

```python
assert y.max() <= 1
(x @ y).round(3)
```
"""


def light_course(root: Path, count: int) -> Course:
    """Lessons of five short numpy blocks and two plots: here the cost is the engine's, not the blocks'."""
    root.mkdir()
    scratch = Scratch(root).with_engine()
    slugs = [f"lesson-{n}" for n in range(count)]
    (root / "curriculum.yml").write_text(f"- {{folder: 0-one, title: One, lessons: [{', '.join(slugs)}]}}\n")
    for n, slug in enumerate(slugs):
        scratch.page(f"0-one/{slug}", LIGHT.format(n=n))
    cpu(python("scripts", "record"), root)
    return load(root)


# ---------------------------------------------------------------- measurements


def overhead(name: str, course: Course) -> None:
    """The same blocks, run by the engine and as plain code; both in forks of the same preloaded parent."""
    run.preload(course.root)
    lessons = list(course.lessons.values())
    ours = theirs = 0.0
    for lesson in lessons:  # in turn, so that a change of the machine's pace meets both
        before = cpu_of_children() + time.process_time()
        for _ in run.run([lesson], run.Options(course.root)):
            pass
        middle = cpu_of_children() + time.process_time()
        run_plainly(lesson)
        ours += middle - before
        theirs += cpu_of_children() + time.process_time() - middle
    compare(name, ours, theirs, "1.10")


def run_plainly(lesson: Lesson) -> None:
    """The blocks by `exec` in one namespace, each figure saved, exercises with their checks."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    import matplotlib.pyplot as plt

    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    name = "plain"
    module = type(sys)(name)
    sys.modules[name] = module
    parts: dict[str, dict[str, Block]] = {}
    for block in lesson.blocks:
        if "needs" in block.keys and not child.available(block.keys["needs"]):
            continue
        codes = [block]
        if block.role:
            known = parts.setdefault(block.keys[block.role], {})
            known[block.role] = block
            starter = known["exercise"]
            codes = {
                "exercise": [starter],
                "check": [starter, block],
                "solution": [block, known.get("check", block)],
                "wrong": [block, known.get("check", block)],
            }[block.role]
        space = dict(module.__dict__) if block.role else module.__dict__
        try:
            for one in codes:
                exec(compile(one.code, "plain", "exec"), space)
        except Exception:
            if "raises" not in block.keys and block.role not in ("check", "wrong"):
                os._exit(1)
        for number in plt.get_fignums():
            plt.figure(number).savefig(f"{number}.svg")
        plt.close("all")
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def build(name: str, course: Course, woven: Path) -> None:
    """The site with our hook from records, and MkDocs alone on the pages that the hook weaves."""
    woven.mkdir()
    cpu(python("scripts", "weave", str(woven)), course.root)
    command = python("mkdocs", "build", "--quiet", "--site-dir", str(woven / "out"))
    cpu(command, course.root)  # once, to fill the cache of formulas, as every later build finds it
    ours, theirs = [], []
    for _ in range(3):
        ours.append(cpu(command, course.root))
        theirs.append(cpu(command, woven))
    compare(name, min(ours), min(theirs), "1.30")


JUPYTER = """\
site_name: x
theme: {name: material, font: false}
plugins:
  - mkdocs-jupyter: {execute: true, allow_errors: true, include: ["*.ipynb"]}
"""


def jupyter(name: str, course: Course, folder: Path) -> None:
    """Everything run and the site built: by us, and by mkdocs-jupyter from the exported notebooks."""
    (folder / "docs").mkdir(parents=True)
    (folder / "mkdocs.yml").write_text(JUPYTER)
    (folder / "docs" / "index.md").write_text("# x\n")
    for lesson in course.lessons.values():
        made = export.notebook(course, lesson)
        nbformat.write(made, folder / "docs" / f"{Path(lesson.slug).name}.ipynb")
    os.environ["PYTHONPATH"] = str(course.root / "src")
    ours = cpu(python("scripts", "record", "--all", "--no-write", "--jobs", "1"), course.root)
    ours += cpu(python("mkdocs", "build", "--quiet"), course.root)
    theirs = cpu(python("mkdocs", "build", "--quiet"), folder)
    compare(name, ours, theirs, "0.33")


def edits(course: Course) -> None:
    """Seconds by the clock from a saved edit to the page that shows it, in `python -m scripts lesson`."""
    slug, address = "0-foundations/overfitting", live.free("127.0.0.1:8765")
    path = course.root / "docs" / f"{slug}.md"
    path.write_text(page_to_edit())
    command = subprocess.Popen(
        python("scripts", "lesson", slug, "--address", address), cwd=course.root, env=QUIET, stdout=subprocess.DEVNULL
    )

    def seconds_until_shown(text: str, expected: str) -> float:
        start = time.monotonic()
        path.write_text(text)
        until(address, slug, expected, patience=20)
        return time.monotonic() - start

    try:
        until(address, slug, "value 19", patience=60)
        words = [f"paragraph{turn}" for turn in range(5)]
        paragraph = max(seconds_until_shown(page_to_edit(prose=word), word) for word in words)
        words = [f"changed{turn}" for turn in range(5)]
        block = max(seconds_until_shown(page_to_edit(word=word), f"{word} 10") for word in words)
    finally:
        command.terminate()
        command.wait()
    row("an edited paragraph on the page, slowest of 5 (clock)", f"{paragraph:.1f} s", "", "", "2.0 s")
    row("an edited block on the page, slowest of 5 (clock)", f"{block:.1f} s", "", "", "2.0 s")


def page_to_edit(prose: str = "A paragraph.", word: str = "value") -> str:
    """A lesson whose first block sleeps 3 s, so that running from the top would show."""
    blocks = [f"```python\nprint('{word if n == 10 else 'value'}', {n})\n```\n\nText {n}.\n" for n in range(20)]
    return "\n".join([FRONT.format(title="Edited") + prose, "\n```python\nimport time\ntime.sleep(3)\n```\n", *blocks])


def until(address: str, slug: str, text: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{address}/{slug}/") as page:
                if text in page.read().decode():
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"{text!r} did not appear within {patience} s")


if __name__ == "__main__":
    main()
