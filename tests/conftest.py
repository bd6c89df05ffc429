"""A scratch course: lessons written by a test, with the engine's own code beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from scripts import record, run
from scripts.course import Course, load
from tests import browser

pytest_plugins = ["pytester"]
ENGINE = Path(__file__).resolve().parent.parent

FRONT = """\
---
title: {title}
description: A lesson of a test.
objectives: [one, two, three]
prerequisites: []
---

"""
CURRICULUM = """\
- {folder: 0-one, title: One, lessons: [first, second]}
- {folder: 1-two, title: Two, lessons: [third, fourth]}
"""


class Scratch:
    """A course in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "curriculum.yml").write_text(CURRICULUM)
        (root / "src" / "course").mkdir(parents=True)
        (root / "src" / "course" / "__init__.py").touch()  # a package proper comes before an installed one
        (root / "docs").mkdir()

    def page(self, slug: str, body: str) -> Path:
        path = self.root / "docs" / f"{slug}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(FRONT.format(title=slug.split("/")[-1].title()) + dedent(body))
        return path

    def load(self) -> Course:
        return load(self.root)

    def run(self, slug: str = "0-one/first", **settings: bool) -> list[run.Result]:
        lesson = self.load().lessons[slug]
        options = run.Options(self.root, **settings)
        return [result for _, result in run.run([lesson], options) if result]

    def record(self, slug: str = "0-one/first") -> record.Record:
        course = self.load()
        lesson = course.lessons[slug]
        files = record.build(lesson, self.run(slug), self.root, {})
        record.write(record.folder(lesson, self.root), files)
        made = record.load(lesson, self.root)
        assert made
        return made

    def with_engine(self) -> Scratch:
        """Put the engine and the site's settings there, so that commands can run in the folder."""
        for name in ("scripts", "overrides", "templates"):
            shutil.copytree(ENGINE / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("mkdocs.yml", "pyproject.toml", "package.json"):
            shutil.copy(ENGINE / name, self.root / name)
        shutil.copytree(ENGINE / "docs" / "assets", self.root / "docs" / "assets")
        (self.root / "node_modules").symlink_to(ENGINE / "node_modules")
        (self.root / "docs" / "index.md").write_text("# Home\n\n<!-- stages -->\n")
        return self

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


@pytest.fixture
def blocks(scratch: Scratch) -> Iterator[Callable[..., list[run.Result]]]:
    """Run the blocks of a one-page course and return what became of each."""

    def run_blocks(body: str, **settings: bool) -> list[run.Result]:
        scratch.page("0-one/first", body)
        return scratch.run(**settings)

    yield run_blocks


@pytest.fixture(scope="session")
def chrome() -> str:
    """The path of the browser."""
    return browser.required()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Server]:
    """The site as it is published, on a server."""
    with browser.built_site(tmp_path_factory.mktemp("site")) as server:
        yield server


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests measured on the site, so that a log shows the figures."""
    ran = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [str(value) for report in ran for name, value in report.user_properties if name == "measured"]
    if any(browser.MISSING in str(report.longrepr) for report in terminalreporter.getreports("skipped")):
        lines.append(f"NOT TESTED: {browser.MISSING}")
    if lines:
        terminalreporter.section("measured on the site")
        for line in lines:
            terminalreporter.write_line(line)
