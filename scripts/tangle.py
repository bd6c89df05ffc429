"""Tangle: the titled blocks of the lessons become the modules of `src/course`; untangle: the way back.

A module is a header, then its blocks in page order, each under a line with the block's id. The header
holds a digest of the rest, so that an edit by hand is seen, and never overwritten without a word.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from scripts.course import LAYERS, Course
from scripts.parse import Block, Lesson, LessonError

MARK = "# %% "
EDITED = "edited by hand. To keep the edit: make untangle. To drop it: .venv/bin/python -m scripts tangle --force"
UNOWNED = "no lesson has this code. To keep it, put it into a titled block of one; then delete the file"
PACKAGE = "# A package of the course; its modules come from the lessons.\n"


@dataclass
class Changes:
    """What tangling did, or would do."""

    written: list[str]
    removed: list[str]
    edited: list[str]  # by hand: left alone
    unowned: list[str]  # written by hand, and no lesson's: left alone

    def __bool__(self) -> bool:
        return bool(self.written or self.removed or self.by_hand)

    @property
    def by_hand(self) -> list[str]:
        """What was left alone, each with what to type next."""
        return [f"{name}: {EDITED}" for name in self.edited] + [f"{name}: {UNOWNED}" for name in self.unowned]


def module_text(module: str, lesson: Lesson) -> str:
    """The source of a module, from the lesson that owns it."""
    body = "\n\n".join(f"{MARK}{block.id}\n{block.code.rstrip()}\n" for block in lesson.modules[module])
    return f"{_header(lesson, body)}{body}"


def _header(lesson: Lesson, body: str) -> str:
    digest = hashlib.sha256(body.encode()).hexdigest()[:12]
    return f"# From {lesson.path}, which is its source: edit there.  [{digest}]\n"


def wanted(course: Course) -> dict[Path, str]:
    """Every generated file of the package, with its text."""
    files: dict[Path, str] = {}
    for module, lesson in course.owners.items():
        path = course.root / "src" / (module.replace(".", "/") + ".py")
        package = module.split(".")[1]
        if package not in LAYERS:
            block = lesson.modules[module][0]
            raise LessonError(
                lesson.path,
                block.line,
                f"no package `course.{package}`; it is one of {', '.join(LAYERS)}",
            )
        files[path] = module_text(module, lesson)
        files.setdefault(path.parent / "__init__.py", PACKAGE)
    return files


def edited_by_hand(path: Path) -> bool:
    """Whether a module is not, by its own header, what was generated."""
    text = path.read_text()
    header, _, body = text.partition("\n")
    digest = re.search(r"\[(\w+)\]$", header)
    if not digest:
        return text != PACKAGE
    return hashlib.sha256(body.encode()).hexdigest()[:12] != digest[1]


def tangle(course: Course, *, write: bool = True, force: bool = False) -> Changes:
    """Bring `src/course` in step with the lessons.

    Parameters
    ----------
    write
        False only compares.
    force
        Overwrite modules that were edited by hand.
    """
    files = wanted(course)
    changes = Changes([], [], [], [])
    package = course.root / "src" / "course"
    for path, text in files.items():
        name = str(path.relative_to(course.root))
        if path.exists() and path.read_text() == text:
            continue
        if path.exists() and edited_by_hand(path) and not force:
            changes.edited.append(name)
            continue
        changes.written.append(name)
        if write:
            replace_file(path, text)
    for path in sorted(package.rglob("*.py")) if package.exists() else []:
        if path not in files and path.parent != package:
            name = str(path.relative_to(course.root))
            if edited_by_hand(path):
                changes.unowned.append(name)
                continue
            changes.removed.append(name)
            if write:
                path.unlink()
    return changes


def replace_file(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def untangle(course: Course) -> list[str]:
    """Carry hand edits of `src/course` back into the lessons; return the lessons that changed.

    Raises
    ------
    LessonError
        Where a module's pieces are no longer those of its lesson.
    """
    changed = []
    for lesson in course.lessons.values():
        edits: dict[str, str] = {}
        for module, blocks in lesson.modules.items():
            path = course.root / "src" / (module.replace(".", "/") + ".py")
            if not path.exists() or not edited_by_hand(path):
                continue
            pieces = _pieces(path.read_text())
            if list(pieces) != [block.id for block in blocks]:
                raise LessonError(
                    path.relative_to(course.root),
                    1,
                    f"its pieces are {', '.join(pieces) or 'none'}, those of {lesson.path} are "
                    f"{', '.join(block.id for block in blocks)}; put the lines `{MARK}id` back, or edit the lesson",
                )
            edits |= {block.id: pieces[block.id] for block in blocks if pieces[block.id] != block.code.rstrip()}
        if edits:
            parts = [
                part.with_code(edits[part.id] + "\n") if isinstance(part, Block) and part.id in edits else part
                for part in lesson.parts
            ]
            replace_file(course.root / lesson.path, "".join(map(str, parts)))
            changed.append(lesson.path)
    return changed


def _pieces(text: str) -> dict[str, str]:
    """The code of each block in a module's text, by block id."""
    _, *pieces = re.split(rf"^{re.escape(MARK)}(.+)\n", text, flags=re.MULTILINE)
    return {name: code.strip("\n").rstrip() for name, code in zip(pieces[::2], pieces[1::2], strict=True)}


def source_lines(course: Course, module: str) -> dict[int, tuple[str, int]]:
    """For each line of a module, the lesson and the line that it comes from."""
    lesson = course.owners[module]
    found: dict[int, tuple[str, int]] = {}
    blocks = {block.id: block for block in lesson.modules[module]}
    block, start = None, 0
    for number, line in enumerate(module_text(module, lesson).splitlines(), 1):
        if line.startswith(MARK):
            block, start = blocks[line.removeprefix(MARK)], number
        elif block:
            found[number] = (lesson.path, block.line + number - start)
    return found
