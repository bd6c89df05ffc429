"""Read a lab, a notebook, into the parts of a lesson: what weaves, records and judges lessons serves labs too.

Code cells are blocks, named by their cell ids; Markdown cells are prose. The first cell begins with ``# Title`` and a
paragraph that says what the lab is. What lessons write as keys of a fence, a notebook says so:

- a code cell whose source is hidden begins with ``# @title Words``: it is shown folded, under these words;
- a Markdown cell below a figure begins with ``**Figure.** Words``: they are its caption;
- the tags ``starter``, ``grader`` and ``solution`` mark the parts of the deliverable.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from scripts.parse import Block, Lesson, LessonError

ROLES = {"starter": "exercise", "grader": "check", "solution": "solution"}
HEAD = re.compile(r"# (?P<title>.+)\n+(?P<rest>(?P<description>[^#\n].*(?:\n.+)*)[\s\S]*)")
TITLE = re.compile(r"# @title (?P<title>.+)\n")
CAPTION = re.compile(r"\A\*\*Figure\.\*\* (?P<caption>.+(?:\n.+)*)\n*")


def read(path: Path, root: Path) -> Lesson:
    """Read a notebook.

    Raises
    ------
    LessonError
        With file, line and the mend, where it is not what a lab must be.
    """
    name, text = path.relative_to(root).as_posix(), path.read_text("utf-8")
    cells = _cells(text, name)
    head = HEAD.match(_source(cells[0])) if cells and cells[0]["cell_type"] == "markdown" else None
    if not head:
        raise LessonError(
            name, 1, "begin the first cell, in Markdown, with `# Title` and a paragraph on what the lab is"
        )
    front = {"title": head["title"].strip(), "description": " ".join(head["description"].split())}
    parts: list[str | Block] = ["", head["rest"] + "\n\n"]
    for cell, below in zip(cells[1:], [*cells[2:], None], strict=True):
        if cell["cell_type"] == "code":
            caption = CAPTION.match(_source(below)) if below and below["cell_type"] == "markdown" else None
            parts += [_block(cell, caption, name, _line(text, cell["id"])), "\n"]
        elif cell["cell_type"] == "markdown":
            parts.append(CAPTION.sub("", _source(cell)) + "\n\n")
    return Lesson(name, front, tuple(parts))


def _cells(text: str, name: str) -> list[dict[str, Any]]:
    try:
        cells = json.loads(text)["cells"]
        whole = all({"cell_type", "id", "metadata", "source"} <= cell.keys() for cell in cells)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise LessonError(name, 1, "not a notebook of format 4.5; save it with a recent Jupyter")
    names = [cell["id"] for cell in cells]
    for known in names:
        if names.count(known) > 1:
            raise LessonError(name, _line(text, known), f"two cells have the id {known!r}; give one another")
    return list(cells)


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _line(text: str, cell_id: str) -> int:
    """The line of the file after which the source of a cell stands, a line for each."""
    at = text.find('"source": [', text.find(f'"id": {json.dumps(cell_id)}'))
    return text[: max(at, 0)].count("\n") + 1


def _block(cell: dict[str, Any], caption: re.Match[str] | None, name: str, line: int) -> Block:
    code, keys, metadata = _source(cell).rstrip("\n") + "\n", {}, cell["metadata"]
    if metadata.get("jupyter", {}).get("source_hidden"):
        title = TITLE.match(code)
        if not title:
            raise LessonError(name, line, "a hidden cell without a title; begin it with `# @title Words`")
        keys["fold"], code, line = title["title"], code[title.end() :], line + 1
    if caption:
        keys["figure"] = " ".join(caption["caption"].split())
    for tag in metadata.get("tags", []):
        if tag in ROLES:
            keys[ROLES[tag]] = cell["id"]
    return Block(cell["id"], line, keys, "", "", tuple(code.splitlines(keepends=True)), "")
