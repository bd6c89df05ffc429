"""Check without running any lesson: style, types, `src/course` in step, records fresh, links and formulas."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts import lab, record, tangle
from scripts.course import Course

WIDTH = 100  # characters of a line of code in a lesson
FORMAT = ".venv/bin/ruff check --fix; .venv/bin/ruff format scripts tests"
FINDING = re.compile(r"(src/course/\S+?\.py):(\d+)(.*)$")
LINK = re.compile(r"Doc file '(?P<page>[^']+)' contains an? .*?link '(?P<link>[^']+)'")
MKDOCS = re.compile(r"^(?:WARNING|ERROR) +- +")  # what it says besides is progress


def check(course: Course) -> bool:
    """Run every check, say what failed and what to type next, and return whether all is well."""
    checks: list[tuple[str, Callable[[Course], Iterator[str]], str]] = [
        ("src/course equals the lessons", in_step, ""),
        ("style (ruff)", style, f"{FORMAT}; edit the lines that remain; make check"),
        ("types (mypy)", types, "edit these lines; make check"),
        ("records are fresh", fresh, ""),
        ("the site builds: links, formulas", site, "edit these lines; make check"),
    ]
    well = True
    for name, finder, mend in checks:
        start = time.monotonic()
        faults = list(finder(course))
        print(
            f"{'FAILED' if faults else 'ok':6}  {name}  ({time.monotonic() - start:.1f} s)",
            flush=True,
        )
        for fault in faults:
            print(f"        {fault}", flush=True)
        if faults and mend:
            print(f"  next: {mend}", flush=True)
        well = well and not faults
    return well


def in_step(course: Course) -> Iterator[str]:
    changes = tangle.tangle(course, write=False)
    for name in changes.written:
        yield f"{name} is not what its lesson says; make tangle"
    for name in changes.removed:
        yield f"{name} has no lesson any more; make tangle"
    yield from changes.by_hand


def style(course: Course) -> Iterator[str]:
    for page in [*course.pages.values(), *course.labs.values()]:
        for block in page.blocks:
            for number, line in enumerate(block.code.splitlines(), block.line + 1):
                if len(line) > WIDTH:
                    yield f"{page.path}:{number}: {len(line)} characters; the page shows about {WIDTH}: break the line"
    yield from _tool(course, "ruff", "check", "--quiet", "--output-format", "concise", ".")
    for line in _tool(course, "ruff", "format", "--check", "scripts", "tests"):
        if line.startswith("Would reformat"):
            yield line


def types(course: Course) -> Iterator[str]:
    if any(in_step(course)):
        yield "not looked at, since src/course is not what the lessons say"
        return
    yield from _tool(course, "mypy", "--no-error-summary", "src/course", "scripts")


def fresh(course: Course) -> Iterator[str]:
    for lesson in course.pages.values():
        if reasons := record.why(course, lesson):
            yield f"{lesson.path}: {'; '.join(reasons[:3])}; {record.command(lesson)}"
    for notebook in course.labs.values():
        if reasons := lab.why(course, notebook):
            yield f"{notebook.path}: {'; '.join(reasons[:3])}; {record.command(notebook)}"


def site(course: Course) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        # Not --quiet: that holds the warnings back before strict mode has counted them, and all builds would pass.
        lines = list(_tool(course, "mkdocs", "build", "--strict", "--site-dir", folder))
    faults = [in_page(course, MKDOCS.sub("", line)) for line in lines if MKDOCS.match(line) or line.startswith("  ")]
    others = [fault for fault in faults if "its record is stale" not in fault]  # the check before has said that
    yield from others or ([] if faults else lines)  # all of it, where the build broke otherwise


def _tool(course: Course, name: str, *arguments: str) -> Iterator[str]:
    """What a tool complains of, its places in `src/course` turned into those of the lessons."""
    command = [sys.executable, "-m", name, *arguments]
    done = subprocess.run(
        command,
        cwd=course.root,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    if done.returncode:
        for line in (done.stdout + done.stderr).splitlines():
            yield in_lesson(course, line)


def in_lesson(course: Course, line: str) -> str:
    """A finding in a generated module, as one in the lesson."""
    match = FINDING.search(line)
    if not match:
        return line
    module = Path(match[1]).relative_to("src").with_suffix("").as_posix().replace("/", ".")
    if module not in course.owners:
        return line
    path, number = tangle.source_lines(course, module).get(int(match[2]), (match[1], int(match[2])))
    return f"{line[: match.start()]}{path}:{number}{match[3]}"


def in_page(course: Course, line: str) -> str:
    """A link that MkDocs could not follow, at its line."""
    match = LINK.match(line)
    if not match or match["page"].startswith("api/"):
        return line
    notebook = course.labs.get(match["page"].removesuffix(".md"))
    page = Path(notebook.path if notebook else f"docs/{match['page']}")
    lines = (course.root / page).read_text().splitlines()
    numbers = [number for number, text in enumerate(lines, 1) if match["link"] in text]
    return f"{page}:{numbers[0] if numbers else 1}: {line[match.end('page') + 2 :]}"
