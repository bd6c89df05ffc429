"""Run lessons: each in a fork of a preloaded parent, its blocks in order in one namespace.

The child (`_Child`) executes; the parent (`Running`) watches. They share two pipes: one carries what the
blocks write to file descriptors 1 and 2, their child processes included; the other the results. A block
that fails, hangs, exits or is killed ends its lesson and nothing else.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import faulthandler
import gc
import io
import json
import linecache
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any, NoReturn

from scripts import figures
from scripts.parse import Block, Element, Inline, Lesson

OUTPUT_LIMIT = 1_000_000  # bytes for each block; more is a runaway print
MARK = b"\0--end of element--\0"  # in the output pipe, between what two elements write
TIMEOUT = 60  # CPU seconds for each block, where it does not say
PATIENCE = 3  # a block may take this many times its CPU budget by the clock: the machine may be busy
CLOCK = 0.02  # seconds by which a file's time may lag behind the clock
WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "shutil.move", "shutil.rmtree"),
}


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
    guard: bool = True  # look for files of the repository that child processes changed


def preload(root: Path) -> None:
    """Import once what every lesson needs, on one thread, before anything forks."""
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", PYTHONDONTWRITEBYTECODE="1")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to ask for a GPU must not spoil it for forks
    sys.dont_write_bytecode = True
    source = str(root / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
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
        self.lesson, self.options, self.limit = lesson, options, limit
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
            _Child(lesson, options, limit, self.scratch, control, output, orders).main()
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
        budget = int(element.keys.get("timeout", TIMEOUT))
        reason = ""
        if len(self.text) > OUTPUT_LIMIT:
            reason = f"printed more than {OUTPUT_LIMIT:,} bytes; print less, or a summary"
        elif time.monotonic() - self.clock > PATIENCE * budget or self.cpu() - self.cpu_before > budget:
            reason = f"still running after its timeout of {budget} CPU seconds; here:\n{self.stack()}"
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
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
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


class _Child:
    """Executes the elements of a lesson, in the process forked for it."""

    def __init__(
        self,
        lesson: Lesson,
        options: Options,
        limit: int,
        scratch: Path,
        control: Any,
        output: int,
        orders: list[Any] | None,
    ) -> None:
        self.lesson, self.options, self.limit, self.control = lesson, options, limit, control
        self.scratch, self.orders = scratch, orders
        self.reads: dict[str, Path] = {}
        self.redirect(output)
        name = "lesson_" + re.sub(r"\W", "_", lesson.slug)
        self.module = types.ModuleType(name)
        self.module.__file__ = lesson.path
        sys.modules[name] = self.module

    def redirect(self, output: int) -> None:
        os.setsid()
        self.output = output
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)  # type: ignore[type-var]
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", write_through=True)  # type: ignore[type-var]

    def main(self) -> NoReturn:
        status = 1
        try:
            self.prepare()
            self.loop()
            self.control.send(("done", self.data()))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def prepare(self) -> None:
        import numpy
        import torch

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self.stack_file = open(self.scratch / "stack", "w")  # noqa: SIM115 (open as long as the process)
        faulthandler.enable(self.stack_file)
        faulthandler.register(signal.SIGUSR1, self.stack_file)
        work = self.scratch / "work"
        work.mkdir()
        os.chdir(work)
        random.seed(0)
        numpy.random.seed(0)
        torch.manual_seed(0)
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        if self.options.typecheck:
            import jaxtyping

            jaxtyping.install_import_hook("course", "scripts.run.checked")
        self.show_source()
        if self.options.guard:
            self.files = _listing(self.options.root)
        sys.addaudithook(self.audit)

    def show_source(self) -> None:
        """Let tracebacks and `inspect.getsource` find the code under the Markdown's own lines."""
        lines = str(self.lesson).splitlines(keepends=True)
        for block in self.lesson.blocks:
            lines[block.line : block.line + len(block.body)] = block.code.splitlines(keepends=True)
        linecache.cache[self.lesson.path] = (len(lines), None, lines, self.lesson.path)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Refuse writes to the repository; remember the data files that are read."""
        if event == "open":
            path, _, flags = args
            if isinstance(path, (str, bytes, os.PathLike)):
                full = os.path.abspath(os.fsdecode(path))
                if flags & WRITE:
                    self.refuse(full)
                elif _is_data(full, self.options.root):
                    self.reads.setdefault(os.path.basename(full), Path(full))
        elif event in CHANGES:
            for path in args[:2]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    self.refuse(os.path.abspath(os.fsdecode(path)))

    def refuse(self, path: str) -> None:
        if not path.startswith(f"{self.options.root}/"):
            return
        inside = path.removeprefix(f"{self.options.root}/")
        if not inside.startswith((".venv/", ".cache/")):
            raise PermissionError(f"a lesson must not write to the repository ({inside}); use a temporary folder")

    def data(self) -> dict[str, str]:
        import hashlib

        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(self.reads.items())}

    def loop(self) -> None:
        at = 0
        while at < min(self.limit, len(self.lesson.elements)):
            if self.orders and at < len(self.orders):
                self.checkpoint(at)
            element = self.lesson.elements[at]
            before = _cpu()
            self.control.send(("begin", at, os.getpid(), before))
            answer = self.answer(element)
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(self.output, MARK)
            answer["cpu"] = round(_cpu() - before, 3)
            self.control.send(("result", at, answer, _children()))
            at += 1

    def checkpoint(self, at: int) -> None:
        """Stay behind, as the state before element `at`, while a fork goes on; fork again when ordered to.

        An order is the edited lesson. Whoever ordered has already ended the forks that went on before.
        """
        self.control.send(("checkpoint", at, os.getpid()))
        while True:
            child = os.fork()
            if child == 0:
                return
            self.lesson = self.orders[at].recv()  # type: ignore[index]
            os.waitpid(child, 0)
            self.limit = len(self.lesson.elements)
            self.show_source()

    def answer(self, element: Element) -> dict[str, Any]:
        needs = self.needs(element)
        if needs and not available(needs):
            return {"status": "skipped", "error": f"needs {needs}"}
        if isinstance(element, Inline):
            outcome = self.guarded(lambda: [{"value": str(eval(element.expression, self.module.__dict__))}], element)
        elif element.role:
            outcome = self.prove(element)
        elif "raises" in element.keys:
            outcome = self.must_raise(element)
        else:
            outcome = self.guarded(lambda: self.execute(element), element)
        return outcome

    def needs(self, element: Element) -> str | None:
        if isinstance(element, Block) and element.role:
            return self.lesson.parts_of(element.keys[element.role])["exercise"].keys.get("needs")
        return element.keys.get("needs")

    def guarded(self, action: Callable[[], list[dict[str, str]]], element: Element) -> dict[str, Any]:
        begun, children = time.time(), _children_cpu()
        try:
            outputs = action()
            if _children_cpu() > children:
                self.unchanged(since=begun)
        except BaseException as error:
            return {
                "status": "failed",
                "error": self.describe(error, element),
                "line": self.line_of(error, element),
            }
        return {"status": "passed", "outputs": outputs}

    def must_raise(self, block: Block) -> dict[str, Any]:
        expected = block.keys["raises"]
        try:
            self.execute(block)
        except BaseException as error:
            if expected in {cls.__name__ for cls in type(error).__mro__}:
                return {
                    "status": "passed",
                    "outputs": [{"error": f"{type(error).__name__}: {error}"}],
                }
            return {
                "status": "failed",
                "error": self.describe(error, block),
                "line": self.line_of(error, block),
            }
        return {
            "status": "failed",
            "error": f'{self.lesson.path}:{block.line}: raised nothing, but says raises="{expected}"',
        }

    def prove(self, block: Block) -> dict[str, Any]:
        """Run a part of an exercise in a fork, with what it must fail or pass beside it."""
        parts = self.lesson.parts_of(block.keys[block.role])  # type: ignore[index]
        check = parts["check"]
        place = f"{self.lesson.path}:{block.line}"
        if block.role == "exercise":
            return self.attempt([block])
        if block.role == "solution":
            return self.attempt([block, check])
        given = parts["exercise"] if block.role == "check" else block
        sound = self.attempt([given], quiet=True)
        if sound["status"] == "failed":
            return sound
        if self.attempt([given, check], quiet=True)["status"] == "failed":
            return {"status": "passed"}
        what = "the starter" if block.role == "check" else "this wrong answer"
        return {"status": "failed", "error": f"{place}: the check passes with {what}; it must fail"}

    def attempt(self, blocks: list[Block], *, quiet: bool = False) -> dict[str, Any]:
        """Execute blocks in a fork of the namespace; the outcome comes back through a pipe."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            if quiet:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            last = blocks[-1]
            outcome = self.guarded(lambda: [piece for block in blocks for piece in self.execute(block)], last)
            with open(write, "w") as pipe:
                json.dump(outcome, pipe)
            os._exit(0)
        os.close(write)
        with open(read) as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if text:
            return dict(json.loads(text))
        place = f"{self.lesson.path}:{blocks[0].line}"
        return {"status": "failed", "error": f"{place}: its process ended with status {status}"}

    def execute(self, block: Block) -> list[dict[str, str]]:
        """Run the code of a block; return the value of its last expression and its figure."""
        from matplotlib import pyplot

        namespace = self.module.__dict__
        body, tail = self.compile(block)
        exec(body, namespace)
        value = eval(tail, namespace) if tail else None
        drawn = [pyplot.figure(number) for number in pyplot.get_fignums()]
        pyplot.close("all")
        if "figure" not in block.keys and not drawn:
            return _shown(value)
        if len(drawn) == 1 and "figure" in block.keys:
            return [{"figure": figures.to_svg(drawn[0], f"{self.lesson.slug}#{block.id}")}]
        if not drawn:
            raise ValueError("the block has a figure caption but draws no figure; draw one, or remove the key")
        if "figure" not in block.keys:
            raise ValueError('the block draws a figure but has no caption; add figure="What it shows."')
        raise ValueError(f"the block draws {len(drawn)} figures; one figure for each block")

    def compile(self, block: Block) -> tuple[types.CodeType, types.CodeType | None]:
        from _pytest.assertion.rewrite import rewrite_asserts

        source = "\n" * block.line + block.code
        tree = ast.parse(source, self.lesson.path)
        if self.options.typecheck and block.module:
            tree = ast.fix_missing_locations(_Typecheck().visit(tree))
        rewrite_asserts(tree, source.encode())
        tail = None
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
            if not block.code.rstrip().endswith(";"):
                tail = compile(ast.Expression(last.value), self.lesson.path, "eval", dont_inherit=True)
            else:
                tree.body.append(last)
        return compile(tree, self.lesson.path, "exec", dont_inherit=True), tail

    def unchanged(self, since: float) -> None:
        """Raise where a child process changed a file of the repository since a time: no hook sees what it does."""
        if not self.options.guard:
            return
        now = _listing(self.options.root)
        differing = {path for path, _ in now.items() ^ self.files.items()}
        # An earlier change is somebody's edit, not this block's; a file that is gone has no time.
        changed = sorted(str(path) for path in differing if path not in now or now[path][0] >= (since - CLOCK) * 1e9)
        self.files = now
        if changed:
            raise PermissionError(
                f"the repository changed while this block's child processes ran: {', '.join(changed[:3])}; "
                "a lesson, and what it starts, writes to a temporary folder (if it was you who edited, run again)"
            )

    def describe(self, error: BaseException, element: Element) -> str:
        """The traceback from the lesson's first frame on, with the Markdown's lines."""
        told = traceback.TracebackException.from_exception(error)
        self.drop_own_frames(told)
        text = "".join(told.format()).replace(f"{self.options.root}/", "").rstrip()
        return f"{self.lesson.path}:{self.line_of(error, element)}: {type(error).__name__}\n{text}"

    def drop_own_frames(self, told: traceback.TracebackException | None) -> None:
        while told:
            frames = list(told.stack)
            first = next(
                (i for i, frame in enumerate(frames) if frame.filename == self.lesson.path),
                len(frames),
            )
            told.stack = traceback.StackSummary.from_list(frames[first:])
            told = told.__cause__ or told.__context__

    def line_of(self, error: BaseException, element: Element) -> int:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == self.lesson.path and frame.lineno]
        return lines[-1] if lines else element.line


class _Typecheck(ast.NodeTransformer):
    """Let jaxtyping check the annotated functions of a titled block, as its import hook does for modules."""

    CHECK = "__import__('jaxtyping').jaxtyped(typechecker=__import__('scripts.run').run.checked)"

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        annotated = node.returns or any(argument.annotation for argument in arguments)
        compiled = any("jit" in ast.unparse(decorator) for decorator in node.decorator_list)
        if annotated and not compiled:
            node.decorator_list.append(ast.parse(self.CHECK, mode="eval").body)
        return node


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, with an int where a float is asked for, as type checkers have it."""
    from beartype import BeartypeConf, beartype

    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


def available(needs: str) -> bool:
    """Whether this machine has what a block needs."""
    if needs == "cuda":
        import torch

        return torch.cuda.is_available()
    return any((folder / "tinyshakespeare.txt").exists() for folder in data_folders())


def data_folders() -> list[Path]:
    """Where downloaded corpora lie: the folder that the reader names, then the course's own cache."""
    named = os.environ.get("COURSE_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "course"
    return [*([Path(named)] if named else []), cache]


def _is_data(path: str, root: Path) -> bool:
    if any(path.startswith(f"{folder.absolute()}/") for folder in data_folders()):
        return True
    return path.startswith(f"{root}/docs/") and not path.endswith(".md")


def _listing(root: Path) -> dict[str, tuple[int, int]]:
    """Time and size of the files that a lesson must leave alone; records come and go beside it."""
    found = {}
    waiting = [str(root / top) for top in ("docs", "src", "scripts", "tests")]
    while waiting:
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name in ("records", "__pycache__", "assets"):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    stat = entry.stat(follow_symlinks=False)
                    found[entry.path.removeprefix(f"{root}/")] = (stat.st_mtime_ns, stat.st_size)
    return found


def _shown(value: Any) -> list[dict[str, str]]:
    """A value as a notebook shows it; text goes through standard output, in its place among the prints."""
    if value is None:
        return []
    if hasattr(value, "_repr_html_") and (html := value._repr_html_()):
        return [{"html": html}]
    print(repr(value))
    return []


def _cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + _children_cpu()


def _children_cpu() -> float:
    """CPU seconds of the child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _children() -> list[int]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    import psutil

    return [child.pid for child in psutil.Process().children(recursive=True)]
