"""Run lessons: each in a fork of a preloaded parent, its blocks in order in one namespace.

The parent's side: it watches (`scripts.child` executes). A block that fails, hangs, exits or is killed ends its
lesson and nothing else.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any

from scripts import figures
from scripts.child import MARK, Child
from scripts.parse import Element, Lesson

OUTPUT_LIMIT = 1_000_000  # bytes for each block; more is a runaway print
TIMEOUT = 60  # CPU seconds for each block, where it does not say
PATIENCE = 3  # a block may take this many times its CPU budget by the clock: the machine may be busy


@dataclass
class Result:
    """What became of one block or inline value."""

    element: Element
    status: str  # passed, failed, skipped or blocked
    cpu: float = 0.0  # CPU seconds, child processes included
    outputs: list[dict[str, str]] = field(default_factory=list)  # each {"text" | "html" | "figure": …}
    error: str = ""
    line: int = 0  # of the Markdown page, where it failed


@dataclass
class Options:
    """How lessons are run."""

    root: Path
    typecheck: bool = False  # check every jaxtyping annotation as it is used
    data: dict[str, dict[str, str]] = field(default_factory=dict)  # filled: lesson → file read → SHA-256
    timeout: int = TIMEOUT  # CPU seconds for each block that does not say
    guard: bool = True  # look for files of the repository that child processes changed


def preload(root: Path) -> None:
    """Import once what every lesson needs, on one thread, before anything forks."""
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", PYTHONDONTWRITEBYTECODE="1")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to ask for a GPU must not spoil it for forks
    sys.dont_write_bytecode = True
    source = str(root / "src")
    # First, also where it stands further back: the `course` of another root, as tests have them, would hide it.
    sys.path[:] = [source, *(path for path in sys.path if path != source)]
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", source)]
    os.environ["PYTHONPATH"] = os.pathsep.join([source, *others])
    import _pytest.assertion.rewrite  # noqa: F401
    import matplotlib.pyplot as plt
    import sklearn.datasets  # noqa: F401
    import torch
    import torch._dynamo  # the first optimizer would import it, in every lesson

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    plt.rcParams.update(figures.style())  # type: ignore[arg-type]
    gc.freeze()  # so that no lesson's collector looks through what was imported here
    atexit.register(gc.unfreeze)


def run(
    lessons: Iterable[Lesson],
    options: Options,
    *,
    jobs: int = 1,
    limits: dict[str, int] | None = None,
) -> Iterator[tuple[Lesson, Result | None]]:
    """Run lessons, `jobs` of them side by side; yield each result as it comes, and None when a lesson has ended.

    Parameters
    ----------
    limits
        For each lesson path, how many of its elements to run; all, where it is not named.
    """
    preload(options.root)
    waiting, active = list(lessons), list[Running]()
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                lesson = waiting.pop(0)
                limit = (limits or {}).get(lesson.path, len(lesson.elements))
                active.append(Running(lesson, options, limit))
            connection.wait([pipe for child in active for pipe in child.pipes], timeout=0.1)
            for child in list(active):
                for result in child.poll():
                    yield child.lesson, result
                if child.finished:
                    active.remove(child)
                    yield child.lesson, None
    except KeyboardInterrupt:
        for child in active:
            print(f"\ninterrupted in {child.place()}\n{child.stack()}", file=sys.stderr)
        raise
    finally:
        for child in active:
            child.close()


class Running:
    """A lesson under way, as its parent sees it."""

    def __init__(self, lesson: Lesson, options: Options, limit: int, orders: list[Any] | None = None) -> None:
        self.lesson, self.options = lesson, options
        self.elements = lesson.elements[:limit]
        self.scratch = Path(tempfile.mkdtemp(prefix="course-"))
        self.control, control = Pipe(duplex=False)
        self.output, output = os.pipe()
        os.set_blocking(self.output, False)
        self.at = 0  # the element under way
        self.text = bytearray()
        self.started_children: dict[int, int] = {}  # process → the element that started it
        self.checkpoints: dict[int, int] = {}  # element → the process that waits before it
        self.finished = False
        self.silent = False  # the child's end of the control pipe is closed
        self.exit: int | None = None
        self.begin()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside other threads
            self.pid = os.fork()
        self.tip = self.pid  # the process that executes: a fork of the first, once a lesson resumes
        if self.pid == 0:
            Child(lesson, options, limit, self.scratch, control, output, orders).main()
        control.close()
        os.close(output)

    @property
    def pipes(self) -> list[Any]:
        return [self.output] if self.silent else [self.control, self.output]

    def place(self) -> str:
        return f"{self.lesson.path}:{self.elements[self.at].line}"

    def begin(self) -> None:
        self.clock, self.cpu_before = time.monotonic(), 0.0

    def poll(self) -> Iterator[Result]:
        """Take in what the child has sent; yield the results that are complete."""
        self.read_output()
        while not self.finished and not self.silent and self.control.poll():
            try:
                message, *details = self.control.recv()
            except EOFError:
                self.silent = True
                break
            if message == "begin":
                (self.at, self.tip, self.cpu_before) = details
                self.clock = time.monotonic()
            elif message == "result":
                yield from self.take(*details)
            elif message == "checkpoint":
                self.checkpoints[details[0]] = details[1]
            elif message == "done":
                self.options.data[self.lesson.path] = details[0]
                yield from self.end()
        if not self.finished:
            yield from self.watch()

    def take(self, at: int, answer: dict[str, Any], children: list[int]) -> Iterator[Result]:
        text = self.output_until_mark()
        for child in children:
            self.started_children.setdefault(child, at)
        result = Result(self.elements[at], **answer)
        if text:
            result.outputs.insert(0, {"text": text})
        self.at = at
        if result.status == "failed":
            yield from self.fail(result)
        else:
            yield result
            self.at = min(at + 1, len(self.elements) - 1)

    def output_until_mark(self) -> str:
        """What an element wrote: all up to the mark that the child set in the pipe at its end."""
        while MARK not in self.text:
            connection.wait([self.output], timeout=1.0)
            self.read_output(limit=2 * OUTPUT_LIMIT)
        written, _, rest = self.text.partition(MARK)
        self.text = rest
        return self.readable(written)

    def readable(self, output: bytes | bytearray) -> str:
        return output.decode(errors="replace").replace(f"{self.options.root}/", "")

    def fail(self, result: Result) -> Iterator[Result]:
        """End the lesson at a failed element: the later ones are blocked by it."""
        result.line = result.line or result.element.line
        yield result
        at = self.elements.index(result.element)
        for element in self.elements[at + 1 :]:
            yield Result(element, "blocked", error=f"blocked by {self.lesson.path}:{result.line}")
        self.stop()

    def stop(self) -> None:
        self.close()

    def watch(self) -> Iterator[Result]:
        """End a child that died, hangs or prints without end."""
        element = self.elements[self.at]
        budget = int(element.keys.get("timeout", self.options.timeout))
        reason = ""
        if len(self.text) > OUTPUT_LIMIT:
            reason = f"printed more than {OUTPUT_LIMIT:,} bytes; print less, or a summary"
        elif time.monotonic() - self.clock > PATIENCE * budget or self.cpu() - self.cpu_before > budget:
            reason = (
                f"still running after its timeout of {budget} CPU seconds; do less, or give timeout=…\n{self.stack()}"
            )
        elif died := self.died():
            if not self.silent and self.control.poll():
                return  # it said something before it went: that first
            reason = f"the process {died}{self.fault_stack()}"
        if reason:
            text = self.readable(self.text[-2000:])
            outputs = [{"text": text}] if text else []
            error = f"{self.place()}: {reason}"
            yield from self.fail(Result(element, "failed", self.cpu(), outputs, error, element.line))

    def died(self) -> str:
        if self.exit is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                return ""
            self.exit = os.waitstatus_to_exitcode(status)
        code = self.exit
        if code >= 0:
            return f"exited with status {code} before the block ended; a block must not exit"
        hint = " (out of memory? use less)" if code == -signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{hint}"

    def cpu(self) -> float:
        import psutil

        try:
            times = psutil.Process(self.tip).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        live = times.user + times.system + times.children_user + times.children_system
        return float(live)

    def stack(self) -> str:
        """Where the running block is, as its own process says."""
        try:
            os.kill(self.tip, signal.SIGUSR1)
        except ProcessLookupError:
            return ""
        time.sleep(0.3)
        return self.fault_stack()

    def fault_stack(self) -> str:
        """The lines that faulthandler wrote: those of the lesson, or all where none is."""
        written = self.scratch / "stack"
        lines = written.read_text().splitlines() if written.exists() else []
        own = [line for line in lines if self.lesson.path in line or "src/course" in line]
        return "".join(f"\n{line}" for line in own or lines)

    def read_output(self, limit: int = OUTPUT_LIMIT) -> None:
        while len(self.text) <= limit:
            try:
                piece = os.read(self.output, 1 << 16)
            except (BlockingIOError, OSError):
                return
            if not piece:
                return
            self.text += piece

    def end(self) -> Iterator[Result]:
        """The child is through. Processes that its blocks left behind are a fault of theirs."""
        left = self.left_behind()
        self.close()
        if left:
            at = min((self.started_children.get(pid, len(self.elements) - 1) for pid in left), default=0)
            element = self.elements[at]
            names = ", ".join(f"{name} ({pid})" for pid, name in left.items())
            error = (
                f"{self.lesson.path}:{element.line}: left a process running: {names}; "
                "wait for it, or end it, in the lesson"
            )
            yield Result(element, "failed", error=error, line=element.line)

    def left_behind(self) -> dict[int, str]:
        """The processes of the lesson's session that go on after it, a second's grace given."""
        deadline = time.monotonic() + 1.0
        while True:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            left = {pid: name for pid, name in _session(self.pid).items() if pid != self.pid}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def close(self) -> None:
        """Kill what is left of the lesson and give its files back."""
        if self.finished:
            return
        self.finished = True
        _kill_session(self.pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.control.close()
        os.close(self.output)
        shutil.rmtree(self.scratch, ignore_errors=True)


def _session(leader: int) -> dict[int, str]:
    """Number and name of the living processes of a session."""
    import psutil

    found = {}
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == leader and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                found[pid] = process.name()
    return found


def _kill_session(leader: int) -> None:
    for _ in range(2):  # twice: a process may fork between the look and the kill
        try:
            os.killpg(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
