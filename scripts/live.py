"""Preview one lesson while it is written: a saved edit is on the page in two seconds, plus its block's own time.

The lesson's process leaves a fork of itself before each block, as a checkpoint. After an edit the run goes
on from the checkpoint before the first block that changed; an edit of the prose runs nothing. MkDocs serves
the page, built from the draft record that this run keeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe, connection
from pathlib import Path

import psutil

from scripts import record, run, tangle
from scripts.course import ROOT, load
from scripts.parse import Lesson, LessonError

CHECKPOINTS = 150  # blocks and values that can be resumed from; later ones run on from the last
POLL = 0.1  # seconds between looks at the file
GRACE = 0.5  # seconds for the blocks of an edit to be through, so that the page is built once
PATIENCE = 1.0  # seconds between two drafts of a longer run
FAULT = "fault.txt"  # in the draft's folder: why the last save cannot be read
PORTS = 20  # tried, from the one asked for


class Live(run.Running):
    """A lesson under way that can be resumed, edited, from before any of its blocks."""

    def __init__(self, lesson: Lesson, options: run.Options) -> None:
        pipes = [Pipe(duplex=False) for _ in range(CHECKPOINTS)]
        self.orders = [sender for _, sender in pipes]
        self.idle = False
        super().__init__(lesson, options, len(lesson.elements), [receiver for receiver, _ in pipes])

    def resume(self, lesson: Lesson, at: int) -> int:
        """Go on with an edited lesson, from before its element `at` or the nearest checkpoint before it."""
        at = max(number for number in self.checkpoints if number <= at)
        for number in [number for number in self.checkpoints if number > at]:
            _kill(self.checkpoints.pop(number))  # a checkpoint says nothing: nobody need wait for its end
        _end(self.tip)
        self.read_output()
        self.text.clear()
        while self.control.poll(0.05):
            self.control.recv()  # what the ended run still said
        self.lesson, self.elements, self.at, self.idle = lesson, lesson.elements, at, False
        self.begin()
        self.tip = self.checkpoints[at]
        self.orders[at].send(lesson)
        return at

    def watch(self) -> Iterator[run.Result]:
        if not self.idle:
            yield from super().watch()

    def died(self) -> str:
        if psutil.pid_exists(self.tip) and psutil.Process(self.tip).status() != psutil.STATUS_ZOMBIE:
            return ""
        return "ended before the block did"

    def end(self) -> Iterator[run.Result]:
        self.idle = True
        return iter(())

    def stop(self) -> None:
        """A failed block ends its own process; the checkpoints before it stay."""
        self.idle = True
        if self.tip not in self.checkpoints.values():
            _end(self.tip)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _end(pid: int) -> None:
    """Kill a process and wait until it is gone: its last words must not pass for those of the next."""
    _kill(pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.001)


class Preview:
    """The state of a preview: the lesson as last read, and the results by place."""

    def __init__(self, slug: str, root: Path = ROOT) -> None:
        self.slug, self.root = slug, root
        self.path = root / "docs" / f"{slug}.md"
        self.draft = root / ".cache" / "draft" / slug
        self.text = ""
        self.lesson: Lesson | None = None
        self.live: Live | None = None
        self.results: list[run.Result] = []
        self.modules: dict[str, str] = {}
        self.unsaved = False
        self.options = run.Options(root, guard=False)
        run.preload(root)

    def look(self) -> None:
        """Take in a saved edit."""
        text = self.path.read_text()
        if text == self.text:
            return
        self.text = text
        try:
            course = load(self.root)
            changes = tangle.tangle(course)
        except LessonError as error:
            print(f"\n{error}", flush=True)
            tangle.replace_file(self.draft / FAULT, str(error))  # until the next draft: the page says it, too
            return
        for fault in changes.by_hand:
            print(fault, flush=True)
        lesson = course.pages[self.slug]
        own = set(lesson.modules)
        modules = {name: key for name, key in record.closure(lesson, self.root).items() if name not in own}
        first = self.first_change(lesson)
        self.lesson, before = lesson, self.lesson
        if self.live is None or modules != self.modules:
            if self.live:
                self.live.close()
            self.live, first = Live(lesson, self.options), 0
        elif before and first < len(lesson.elements):
            first = self.live.resume(lesson, first)
        else:
            first = len(lesson.elements)
        self.modules = modules
        kept = self.results[:first]
        for result, element in zip(kept, lesson.elements, strict=False):
            result.element = element
        self.results = kept
        if before is None:
            self.save()
        self.unsaved, self.due = True, time.monotonic() + GRACE  # with nothing to run too: lines may have moved

    def first_change(self, lesson: Lesson) -> int:
        """The place of the first element that is not as it was when it ran."""
        for at, element in enumerate(lesson.elements):
            if at >= len(self.results) or self.results[at].status not in ("passed", "skipped"):
                return at
            if record.element_digest(element) != record.element_digest(self.results[at].element):
                return at
        return len(lesson.elements)

    def step(self) -> None:
        """Take in what the run has to say."""
        if not self.live or not self.lesson:
            return
        connection.wait(self.live.pipes, timeout=POLL)
        for result in self.live.poll():
            if result.status == "blocked":
                continue
            self.results.append(result)
            self.unsaved = True
            if result.status == "failed":
                print(f"\n{result.error}", flush=True)
        if self.live.idle and self.unsaved:
            self.save()
            if len(self.results) == len(self.lesson.elements) and all(r.status != "failed" for r in self.results):
                seconds = sum(result.cpu for result in self.results)
                print(
                    f"{self.slug}: all {len(self.results)} passed, {seconds:.1f} CPU s; recorded",
                    flush=True,
                )
                data = self.options.data.get(self.lesson.path, {})
                files = record.build(self.lesson, self.results, self.root, data)
                record.write(record.folder(self.lesson, self.root), files)
        elif self.unsaved and time.monotonic() > self.due:
            self.save()

    def save(self) -> None:
        """Write the draft record that the page is built from; a failed block shows its error."""
        if not self.lesson:
            return
        shown = []
        for at, element in enumerate(self.lesson.elements):
            result = self.results[at] if at < len(self.results) else run.Result(element, "blocked")
            outputs = [
                *result.outputs,
                *([{"error": result.error}] if result.status == "failed" else []),
            ]
            shown.append(run.Result(element, result.status, result.cpu, outputs))
        record.write(self.draft, record.build(self.lesson, shown, self.root, {}))
        self.due = time.monotonic() + PATIENCE
        self.unsaved = False


def free(address: str) -> str:
    """The address, or where its port is taken the next one that is free."""
    host, _, port = address.rpartition(":")
    for number in range(int(port), int(port) + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
            try:
                probe.bind((host, number))
            except OSError:
                continue
            return f"{host}:{probe.getsockname()[1]}"
    raise SystemExit(f"no free port from {address} on; end another server, or give --address {host}:PORT")


def site_server(address: str, *options: str) -> list[str]:
    """The command with which MkDocs serves the site, and builds it anew at each change."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    return [sys.executable, "-m", "mkdocs", "serve", "--no-strict", "--dev-addr", address, *options]


def serve(slug: str, address: str) -> int:
    """Preview until Ctrl-C, or until a signal asks for the end: what was started ends with it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    preview = Preview(slug)
    preview.look()
    address = free(address)
    command = site_server(address, "--quiet")
    site = subprocess.Popen(command, cwd=preview.root, env=os.environ | {"COURSE_LESSON": slug})
    print(f"http://{address}/{slug}/  (Ctrl-C ends)", flush=True)
    try:
        while site.poll() is None:
            preview.look()
            preview.step()
    except KeyboardInterrupt:
        return 0
    finally:
        site.terminate()
        if preview.live:
            preview.live.close()
    return site.returncode
