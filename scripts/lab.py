"""Run labs, each in a kernel of its own; the notebook and a record keep what it prints and draws.

The record is like that of a lesson: the page is woven from it, and it tells when the code, or a module that it imports,
has changed. The notebook has its figures as PNG, for whoever opens it: Jupyter shows no SVG that it has not drawn.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import psutil

from scripts import export, figures, record
from scripts.course import Course
from scripts.parse import Block, Lesson, LessonError
from scripts.run import Result

TIMEOUT = 600  # seconds by the clock, for each cell
SETTINGS = """\
from cycler import cycler

c = get_config()
c.IPKernelApp.log_level = "ERROR"
c.InteractiveShellApp.exec_lines = ["exec({setup!r}, {{}})", "%matplotlib inline"]
c.InlineBackend.rc = {style!r}
c.InlineBackend.figure_formats = ["png", "svg"]
c.InlineBackend.print_figure_kwargs = {{"bbox_inches": None}}
"""
BACKGROUND = re.compile(r'(<g id="patch_1">\s*<path [^>]*style="fill: )#ffffff')
COLOURED = re.compile(r"\x1b\[[\d;]*m")


def run(lab: Lesson, root: Path) -> tuple[nbformat.NotebookNode, list[Result]]:
    """Run a lab in an empty folder, with the settings of a lesson.

    Returns
    -------
    The notebook with its new outputs, and the result of each code cell.

    Raises
    ------
    LessonError
        With the line of the cell, where one fails or yields what cannot be kept.
    """
    from nbclient import NotebookClient  # a second, which those who only ask what is stale need not wait
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    book = nbformat.read(root / lab.path, as_version=4)
    blocks = {block.id: block for block in lab.blocks}
    cpu: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="course-") as folder:
        (Path(folder) / "work").mkdir()
        client: Any = NotebookClient(
            book,
            timeout=TIMEOUT,
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,
            resources={"metadata": {"path": f"{folder}/work"}},
        )

        def clock(cell: Any, **_: Any) -> None:
            """Called before and after each cell: the difference of the two is its CPU time."""
            cpu[cell["id"]] = _cpu(client.km.provisioner.pid) - cpu.get(cell["id"], 0.0)

        client.on_cell_start = client.on_cell_executed = clock
        try:
            client.execute(env=_environment(lab, Path(folder), root))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = blocks[list(cpu)[-1]]
            raise LessonError(lab.path, failed.line, _told(error, failed, folder)) from None
    results = []
    for cell in book.cells:
        if cell.cell_type == "code":
            block = blocks[cell["id"]]
            outputs = keep(cell, block, lab)
            if {"figure": ""} in outputs:
                raise LessonError(lab.path, block.line, "shows an image that is no figure; draw it with Matplotlib")
            if any(place in shown for place in (folder, str(root)) for output in outputs for shown in output.values()):
                raise LessonError(lab.path, block.line, "prints a path of this machine; print the name alone")
            results.append(Result(block, "passed", cpu[cell["id"]] if cell.source.strip() else 0.0, outputs))
    return book, results


def _told(error: Exception, block: Block, folder: str) -> str:
    return f"the cell {block.id!r} fails\n" + COLOURED.sub("", str(error)).replace(f"{folder}/", "").rstrip()


def _environment(lab: Lesson, folder: Path, root: Path) -> dict[str, str]:
    """What the kernel finds: one thread, our figures' style, the package; nobody's own settings of IPython."""
    style = figures.style() | {"figure.facecolor": "white", "svg.hashsalt": lab.slug}
    profile = folder / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(SETTINGS.format(setup=export.SETUP, style=style))
    path = os.pathsep.join(filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")]))
    return os.environ | {"IPYTHONDIR": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def _cpu(pid: int) -> float:
    """CPU seconds of a process so far, its child processes that have ended included."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def keep(cell: Any, block: Block, lab: Lesson) -> list[dict[str, str]]:
    """The outputs of a cell as a record has them; the cell loses what only the record keeps.

    Raises
    ------
    LessonError
        For an output that a page cannot show, or should not.
    """
    found: list[dict[str, str]] = []
    for output in cell.outputs:
        if output.output_type == "error":
            output.traceback = [f"{output.ename}: {output.evalue}"]  # frames name places of this machine
            found.append({"error": output.traceback[0]})
        elif output.output_type == "stream":
            if output.name == "stderr":
                raise LessonError(lab.path, block.line, f"writes to standard error; mend its cause:\n{output.text}")
            found.append({"text": output.text})
        else:
            found.append(_shown(output.data, block, lab))
    drawn, captions = sum("figure" in output for output in found), int("figure" in block.keys)
    if drawn != captions:
        mend = "each has a cell to itself, and below it a Markdown cell that begins with `**Figure.** What it shows`"
        raise LessonError(lab.path, block.line, f"draws {drawn} figures, with {captions} captions; {mend}")
    return found


def _shown(data: Any, block: Block, lab: Lesson) -> dict[str, str]:
    """A value or a figure, in the richest form that a page can show."""
    if "image/png" in data:
        drawn = BACKGROUND.sub(r"\1none", data.pop("image/svg+xml", ""))
        return {"figure": figures.clean(drawn) if drawn else ""}
    if "text/html" in data:
        return {"html": data["text/html"]}
    if set(data) != {"text/plain"}:
        raise LessonError(lab.path, block.line, f"shows {', '.join(sorted(data))}: print text, or draw with Matplotlib")
    return {"text": data["text/plain"] + "\n"}


def write(lab: Lesson, book: nbformat.NotebookNode, results: list[Result], root: Path) -> bool:
    """Write record and notebook, each whole or not at all; return whether anything changed but times."""
    files = record.build(lab, results, root, {})
    path = record.folder(lab, root) / "record.json"
    if path.exists() and path.read_text("utf-8") == files["record.json"] and not strays(lab, root):
        return False
    record.write(record.folder(lab, root), files)
    new = (root / lab.path).with_suffix(".ipynb.new")
    new.write_text(as_committed(book), "utf-8", newline="\n")
    new.replace(root / lab.path)
    return True


def as_committed(book: nbformat.NotebookNode) -> str:
    """A notebook as it is committed: the same after each run, and without traces of who opened it."""
    book.metadata = nbformat.from_dict({"kernelspec": export.KERNEL, "language_info": {"name": "python"}})
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return nbformat.writes(book).rstrip("\n") + "\n"


def why(course: Course, lab: Lesson) -> list[str]:
    """What makes the outputs of a lab stale, in words: what does so for a lesson, or a notebook that says otherwise."""
    return record.why(course, lab) or strays(lab, course.root)


def strays(lab: Lesson, root: Path) -> list[str]:
    """Where the notebook is not as the last run left it: cells whose outputs are not those of the record, or traces."""
    kept = record.load(lab, root) or {"elements": []}
    entries = {entry["id"]: entry["outputs"] for entry in kept["elements"]}
    found = []
    written = (root / lab.path).read_text("utf-8")
    book = nbformat.reads(written, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell, block in zip(code, lab.blocks, strict=True):
        try:
            same = _said(keep(cell, block, lab)) == _said(entries.get(block.id, []))
        except LessonError:
            same = False
        if not same:
            found.append(f"{lab.path}:{block.line}: the outputs of `{block.id}` are not those of its last run")
    if not found and as_committed(book) != written:
        found.append(f"{lab.path}:1: saved by another program, with its own marks")
    return found


def _said(outputs: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Outputs for a comparison: without times, and of a figure only that it is there."""
    pairs = [pair for output in outputs for pair in output.items()]
    return [(kind, "" if kind == "figure" else record.without_times(value)) for kind, value in pairs]
