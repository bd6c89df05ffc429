"""The pytest plugin: one item for each block of each lesson, failing at its Markdown line.

A lesson runs once, up to the last block that was selected: the blocks before a selected one always run
too, since they make its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import course, record, run
from scripts.parse import Element, Inline, Lesson, LessonError

DRIFT = pytest.StashKey[list[str]]()


class LessonFile(pytest.File):
    """A page of the course. Its items share one run."""

    def collect(self) -> Iterator[pytest.Item]:
        root = self.config.rootpath
        try:
            self.lesson = course.read_page(self.path, root, course.read_stages(root))
        except LessonError as error:
            raise self.CollectError(str(error)) from None
        self.root = root
        self.record = record.load(self.lesson, root)
        self.results: dict[str, run.Result] = {}
        self.stream: Iterator[tuple[Lesson, run.Result | None]] | None = None
        for element in self.lesson.elements:
            yield BlockItem.from_parent(self, name=element.id, element=element)

    def result(self, element: Element) -> run.Result:
        """The result of an element; the lesson is run as far as needed."""
        if self.stream is None:
            selected = [
                item.element.id for item in self.session.items if isinstance(item, BlockItem) and item.parent is self
            ]
            last = max(i for i, one in enumerate(self.lesson.elements, 1) if one.id in selected)
            options = run.Options(self.root, typecheck=True)
            self.stream = run.run([self.lesson], options, limits={self.lesson.path: last})
        while element.id not in self.results:
            _, result = next(self.stream)
            if result:
                self.results[result.element.id] = result
        return self.results[element.id]

    def teardown(self) -> None:
        """Take what the run still has to say: a process left behind is the fault of an earlier block."""
        if self.stream is None:
            return
        late = [result.error for _, result in self.stream if result and result.status == "failed"]
        if late:
            pytest.fail("\n".join(late), pytrace=False)


class BlockItem(pytest.Item):
    """One block, or one inline value."""

    parent: LessonFile

    def __init__(self, *, element: Element, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.element = element

    def runtest(self) -> None:
        result = self.parent.result(self.element)
        for output in result.outputs:
            if "text" in output:
                self.add_report_section("call", "output", output["text"])
        if result.status == "skipped":
            pytest.skip(result.error)
        if result.status == "failed":
            raise BlockFailure(f"{result.error}\n{self.next()}")
        if result.status == "blocked":
            raise BlockFailure(result.error)
        if drifted := record.drift(self.parent.lesson, result, self.parent.record):
            self.user_properties.append(("drift", drifted))

    def next(self) -> str:
        """What to type after a failure."""
        lesson = self.parent.lesson
        again = f".venv/bin/python -m pytest {lesson.path}::{self.name}"
        return f"next: make lesson L={lesson.slug} shows the page while you mend it; {again} runs up to here"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, BlockFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        kind = "value" if isinstance(self.element, Inline) else "block"
        return self.path, self.element.line - 1, f"{kind} {self.name}"


class BlockFailure(Exception):
    """A block that failed or was blocked; the text says where and why."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> LessonFile | None:
    docs = parent.config.rootpath / "docs"
    if file_path.suffix == ".md" and file_path.is_relative_to(docs):
        return LessonFile.from_parent(parent, path=file_path)
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[DRIFT] = []
    config.pluginmanager.register(_Drift(config), "course-drift")


class _Drift:
    """Gathers, from the reports (also those of other workers), the outputs that differ from their record."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.config.stash[DRIFT] += [str(value) for name, value in report.user_properties if name == "drift"]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = self.config.stash[DRIFT]
        if lines:
            terminalreporter.section(f"{len(lines)} outputs drifted from their record", yellow=True)
            terminalreporter.write_line(f"this run: {', '.join(f'{k} {v}' for k, v in record.provenance().items())}")
            for line in lines:
                terminalreporter.write_line(line)
            slugs = sorted({line.partition(".md:")[0].removeprefix("docs/") for line in lines})
            terminalreporter.write_line(
                f'next: if this run is right, make record L="{" ".join(slugs)}"; if not, mend it'
            )
