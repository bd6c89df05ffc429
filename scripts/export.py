"""Export: a lesson as a notebook and as a plain script, for readers who want to run it elsewhere."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from scripts import record, stages
from scripts.course import Course
from scripts.parse import Block, Inline, Lesson

SETUP = """\
# The page was made with these settings: one thread, so that timings compare, and fixed seeds.
import random

import numpy
import torch

torch.set_num_threads(1)
torch.set_flush_denormal(True)
random.seed(0), numpy.random.seed(0), torch.manual_seed(0);"""

INSTALL = """\
# This lesson stands on earlier ones: their code is the package `course`.
try:
    import course
except ImportError:
    %pip install --quiet git+{repository}"""

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
HIDDEN = {"jupyter": {"source_hidden": True}, "collapsed": True}


def notebook(course: Course, lesson: Lesson) -> nbformat.NotebookNode:
    """The lesson as a notebook without outputs: solutions, folded, at the end.

    A cell that must fail (`raises`, and the check of an exercise before it is solved) carries the tag
    `raises-exception`, so that the whole runs from top to bottom.
    """
    cells: list[Any] = [new_markdown_cell(_intro(course, lesson))]
    imports = any(record.imports(block.code, course.root) for block in lesson.blocks)
    if imports and (install := _install()):
        cells.append(new_code_cell(install))
    cells.append(new_code_cell(SETUP))
    endings: list[Any] = []
    values = _values(course, lesson)
    prose = ""
    for part in lesson.parts[1:]:
        if not isinstance(part, Block):
            prose += values.get(part.id, "—") if isinstance(part, Inline) else part
            continue
        if prose.strip():
            cells.append(new_markdown_cell(_plain(stages.named(prose, course, lesson.slug))))
        prose = ""
        if part.role == "solution":
            endings += _solution(lesson, part)
        elif part.role != "wrong":
            cells.append(_cell(part))
    if prose.strip():
        cells.append(new_markdown_cell(_plain(stages.named(prose, course, lesson.slug))))
    if endings:
        cells += [new_markdown_cell("## Solutions"), *endings]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # by place: the same bytes each time
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


def repository() -> str:
    """The address of the repository, such as https://github.com/owner/name, where it is known."""
    return os.environ.get("COURSE_REPOSITORY", "").removesuffix("/")


def colab(path: str) -> str:
    """Where Colab opens a notebook of the published site, which is the branch `gh-pages`."""
    name = repository().removeprefix("https://github.com/")
    known = name and name != repository()
    return f"https://colab.research.google.com/github/{name}/blob/gh-pages/{path}" if known else ""


def _install() -> str:
    """The cell that installs the package, where the address of the repository is known."""
    return INSTALL.format(repository=repository()) if repository() else ""


def _intro(course: Course, lesson: Lesson) -> str:
    aims = "\n".join(f"- {aim}" for aim in lesson.front["objectives"])
    head = f"# {course.numbers[lesson.slug]} {lesson.title}"
    return f"{head}\n\n{lesson.front['description']}\n\nYou will be able to\n\n{aims}"


def _values(course: Course, lesson: Lesson) -> dict[str, str]:
    """The recorded inline values."""
    kept = record.load(lesson, course.root) or {"elements": []}
    return {
        entry["id"]: entry["outputs"][0]["value"]
        for entry in kept["elements"]
        if entry["outputs"] and "value" in entry["outputs"][0]
    }


def _cell(block: Block) -> Any:
    cell = new_code_cell(block.code.rstrip())
    needs = block.keys.get("needs")
    tags = [f"needs-{needs}"] if needs else []
    if needs or "raises" in block.keys or block.role == "check":
        tags.append("raises-exception")
    if tags:
        cell.metadata["tags"] = tags
    if "fold" in block.keys:
        cell.metadata.update(HIDDEN)
    return cell


def _solution(lesson: Lesson, block: Block) -> list[Any]:
    """The solution and its check, run once more."""
    name = block.keys["solution"]
    check = lesson.parts_of(name)["check"]
    cells = [
        new_code_cell(block.code.rstrip(), metadata=dict(HIDDEN)),
        new_code_cell(check.code.rstrip()),
    ]
    return [new_markdown_cell(f"### {name}"), *cells]


def _plain(prose: str) -> str:
    """Prose for a notebook: admonitions become quotations, attribute lists go, links lead to pages."""
    lines, quoting = [], False
    for line in prose.strip("\n").splitlines():
        opening = re.match(r"^(?:!!!|\?\?\?\+?|===)\s*(?:\w+\s*)?(?:\"(?P<title>.*)\")?\s*$", line)
        if opening:
            quoting = True
            lines.append(f"> **{opening['title'] or 'Note'}**")
        elif quoting and (not line.strip() or line.startswith("    ")):
            lines.append(f"> {line[4:]}".rstrip())
        else:
            quoting = False
            lines.append(re.sub(r"\{[:#.][^}]*\}", "", line))
    return "\n".join(lines)


def exports(course: Course, lesson: Lesson) -> dict[str, str]:
    """The downloads of a lesson, by suffix; of a lab, the notebook that it is, able to install what it imports."""
    if lesson.is_lab:
        text = (course.root / lesson.path).read_text("utf-8")
        if (install := _install()) and any(record.imports(block.code, course.root) for block in lesson.blocks):
            made = nbformat.reads(text, as_version=4)
            made.cells.insert(1, new_code_cell(install, id="install"))
            text = nbformat.writes(made) + "\n"
        return {".ipynb": text}
    made = notebook(course, lesson)
    return {".ipynb": json.dumps(made, indent=1, ensure_ascii=False) + "\n", ".py": script(made)}


def script(made: nbformat.NotebookNode) -> str:
    """The notebook as a script in percent format, which editors can run cell by cell.

    Cells that must fail are wrapped, so that the script runs through.
    """
    pieces = []
    for cell in made.cells:
        if cell.cell_type == "markdown":
            text = "\n".join(f"# {line}".rstrip() for line in cell.source.splitlines())
            pieces.append(f"# %% [markdown]\n{text}\n")
        elif "raises-exception" in cell.metadata.get("tags", []):
            body = "\n".join(f"    {line}".rstrip() for line in cell.source.splitlines())
            pieces.append(f"# %%\ntry:\n{body}\nexcept Exception as error:\n    print(type(error).__name__, error)\n")
        elif cell.source != _install():
            pieces.append(f"# %%\n{cell.source}\n")
    return "\n".join(pieces)
