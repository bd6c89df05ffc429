"""The process of one lesson: it executes the blocks, in order, in one namespace that is a registered module.

What the blocks write to file descriptors 1 and 2, their child processes included, goes into one pipe; what
became of each block into another. A mark in the first tells the parent where the output of each block ends.
"""

from __future__ import annotations

import ast
import contextlib
import faulthandler
import importlib.util
import io
import json
import linecache
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scripts import figures
from scripts.parse import Block, Element, Inline, Lesson

if TYPE_CHECKING:
    from scripts.run import Options

MARK = b"\0--end of element--\0"  # in the output pipe, between what two elements write
CLOCK = 0.02  # seconds by which a file's time may lag behind the clock
WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "shutil.move", "shutil.rmtree"),
}


class Child:
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

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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

            jaxtyping.install_import_hook("course", "scripts.child.checked")
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
                "error": f'{self.describe(error, block)}\nbut the block says raises="{expected}": change one of them',
                "line": self.line_of(error, block),
            }
        return {
            "status": "failed",
            "error": f'{self.lesson.path}:{block.line}: raised nothing, but says raises="{expected}"; remove the key',
        }

    def prove(self, block: Block) -> dict[str, Any]:
        """Run a part of an exercise in a fork, and the check with it: a solution passes, all else must fail."""
        parts = self.lesson.parts_of(block.keys[block.role])  # type: ignore[index]
        if block.role == "exercise":
            return self.in_fork(lambda: self.attempt(block), block)
        if block.role == "solution":
            return self.in_fork(lambda: self.attempt(block, parts["check"]), block)
        given = parts["exercise"] if block.role == "check" else block
        return self.in_fork(lambda: self.must_fail(given, parts["check"], block), block, quiet=True)

    def attempt(self, *blocks: Block) -> dict[str, Any]:
        return self.guarded(lambda: [piece for block in blocks for piece in self.execute(block)], blocks[-1])

    def must_fail(self, given: Block, check: Block, block: Block) -> dict[str, Any]:
        """The answer runs by itself, and the check rejects it."""
        sound = self.attempt(given)
        if sound["status"] == "failed":
            return sound
        if self.attempt(check)["status"] == "failed":
            return {"status": "passed"}
        what = "the starter" if block.role == "check" else "this wrong answer"
        place = f"{self.lesson.path}:{block.line}"
        return {"status": "failed", "error": f"{place}: the check passes with {what}; it must fail: let it ask more"}

    def in_fork(self, action: Callable[[], dict[str, Any]], block: Block, *, quiet: bool = False) -> dict[str, Any]:
        """The outcome of an action in a fork of this process, which stays as it is."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            if quiet:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            outcome = action()
            with open(write, "w") as pipe:
                json.dump(outcome, pipe)
            os._exit(0)
        os.close(write)
        with open(read) as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if text:
            return dict(json.loads(text))
        place = f"{self.lesson.path}:{block.line}"
        return {"status": "failed", "error": f"{place}: its process ended with status {status}; a block must not exit"}

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

    CHECK = "__import__('jaxtyping').jaxtyped(typechecker=__import__('scripts.child').child.checked)"

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        annotated = node.returns or any(argument.annotation for argument in arguments)
        compiled = any("jit" in ast.unparse(decorator) for decorator in node.decorator_list)
        if annotated and not compiled:
            check = ast.parse(self.CHECK, mode="eval").body
            for part in ast.walk(check):  # a function begins at its first decorator, for inspect.getsource too
                ast.copy_location(part, node)
            node.decorator_list.append(check)
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
    if needs == "triton":
        return importlib.util.find_spec("triton") is not None
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
