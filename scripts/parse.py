"""Parse a lesson: front matter, prose, Python blocks and inline values, each with its line.

The parts of a lesson, joined, are its text again, byte for byte. A fence that looks like Python but is
not written in the one accepted form is an error: nothing that a reader would take for code is left unrun.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

KEYS = ["title", "figure", "raises", "fold", "needs", "exercise", "check", "solution", "wrong", "timeout", "hl_lines"]
ROLES = ("exercise", "check", "solution", "wrong")
NEEDS = ("cuda", "shakespeare", "triton")
PYTHON_NAMES = {"python", "py", "python3", "py3", "pycon", "ipython", "ipython3", "pyi", "python2"}
FRONT_MATTER = {"title", "description", "objectives", "prerequisites"}

FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<quote>(?:>[ \t]*)*)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
LANGUAGE = re.compile(r"^\s*\{?\s*\.?(?P<name>[\w+#-]*)")
KEY = re.compile(r"""\s+(?P<key>[\w-]+)=(?:"(?P<quoted>[^"]*)"|(?P<number>\d+)(?=\s|$))""")
CONTAINER = re.compile(r"^(?:!!!|\?\?\?\+?|===[!+]?|[-*+]|\d+[.)])(?:\s|$)")
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*$")
HL_LINES = re.compile(r"\d+(-\d+)?([ ,]\d+(-\d+)?)*")


class LessonError(Exception):
    """A fault in a lesson, with its place and what to do about it."""

    def __init__(self, path: str | Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path, self.line, self.message = str(path), line, message


@dataclass(frozen=True)
class Block:
    """A fenced Python block. `line` is that of its opening fence, counted from 1."""

    id: str
    line: int
    keys: dict[str, str]
    indent: str
    opening: str
    body: tuple[str, ...]
    closing: str

    def __str__(self) -> str:
        return "".join((self.opening, *self.body, self.closing))

    @functools.cached_property
    def code(self) -> str:
        return "".join(line.removeprefix(self.indent) for line in self.body)

    def with_code(self, code: str) -> Block:
        """The same block around other code."""
        lines = code.splitlines(keepends=True)
        body = tuple(self.indent + line if line.strip() else line for line in lines)
        return replace(self, body=body)

    @property
    def role(self) -> str | None:
        """`exercise`, `check`, `solution` or `wrong`, where the block is part of an exercise."""
        return next((role for role in ROLES if role in self.keys), None)

    @property
    def module(self) -> str | None:
        """The dotted name of the module that the block belongs to."""
        title = self.keys.get("title")
        return title and title.removeprefix("src/").removesuffix(".py").replace("/", ".")


@dataclass(frozen=True)
class Inline:
    """An inline value of the prose: a code span that begins with `{python}`."""

    id: str
    line: int
    keys: dict[str, str]
    expression: str
    source: str

    def __str__(self) -> str:
        return self.source


Element = Block | Inline


@dataclass(frozen=True)
class Lesson:
    """A parsed page: a lesson, or another page of the site, which may run code but owns no module."""

    path: str
    front: dict[str, Any]
    parts: tuple[str | Block | Inline, ...]

    @property
    def slug(self) -> str:
        return self.path.removeprefix("docs/").removesuffix(".md").removesuffix(".ipynb")

    @property
    def is_lesson(self) -> bool:
        return "objectives" in self.front

    @property
    def is_lab(self) -> bool:
        """Whether it is a notebook (see `scripts.notebook`)."""
        return self.path.endswith(".ipynb")

    @property
    def title(self) -> str:
        return str(self.front["title"])

    @property
    def elements(self) -> list[Element]:
        """What runs, in order."""
        return [part for part in self.parts if not isinstance(part, str)]

    @property
    def blocks(self) -> list[Block]:
        return [part for part in self.parts if isinstance(part, Block)]

    @property
    def modules(self) -> dict[str, list[Block]]:
        """The titled blocks by module, in page order."""
        found: dict[str, list[Block]] = {}
        for block in self.blocks:
            if block.module:
                found.setdefault(block.module, []).append(block)
        return found

    def parts_of(self, exercise: str) -> dict[str, Block]:
        """The starter, check and solution of an exercise, by role."""
        return {
            block.role: block for block in self.blocks if block.role in ROLES[:3] and block.keys[block.role] == exercise
        }

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


@functools.lru_cache(maxsize=1024)
def parse(text: str, path: str, *, lesson: bool = True) -> Lesson:
    """Parse the text of a page; the same text again costs nothing, which keeps the preview quick.

    Parameters
    ----------
    text
        The Markdown source.
    path
        Where it stands, as messages should name it (``docs/1-training/momentum.md``).
    lesson
        False for other pages (home, glossary): free front matter, and no part in the package.

    Raises
    ------
    LessonError
        With file, line and the mend, at the first thing that is malformed.
    """
    if "\r" in text:
        line = text[: text.index("\r")].count("\n") + 1
        raise LessonError(path, line, "a carriage return; save the file with LF line endings")
    if text.startswith("\ufeff"):
        raise LessonError(path, 1, "a byte-order mark; save the file as UTF-8 without it")
    head, front = _front_matter(text, path, lesson)
    parts = _Scanner(path).scan(text[len(head) :].splitlines(keepends=True), head.count("\n") + 1)
    page = Lesson(path, front, (head, *parts) if head else tuple(parts))
    _check_exercises(page)
    _check_imports(page)
    if not lesson and page.modules:
        block = next(block for block in page.blocks if block.module)
        raise LessonError(path, block.line, "only a lesson can own a module; remove the title")
    return page


def _front_matter(text: str, path: str, lesson: bool) -> tuple[str, dict[str, Any]]:
    """The front matter's text, fences included, and what it says."""
    match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if not match:
        if not lesson:
            return "", {}
        mend = "begin with a line ---, then title, description, objectives and prerequisites, then a line ---"
        raise LessonError(path, 1, f"no front matter; {mend}")
    try:
        front = yaml.safe_load(match[1]) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 2
        problem = getattr(error, "problem", error)
        mend = "quote a text that holds a colon or begins with a sign"
        raise LessonError(path, line, f"the front matter is not YAML ({problem}); {mend}") from None
    if lesson:
        _check_front_matter(front, match[1], path)
    return match[0], front


def _check_front_matter(front: Any, source: str, path: str) -> None:
    def fault(key: str, message: str) -> LessonError:
        lines = source.splitlines()
        at = next((i for i, line in enumerate(lines, 2) if line.startswith(f"{key}:")), 1)
        return LessonError(path, at, f"front matter: {message}")

    if not isinstance(front, dict):
        raise fault("", "expected lines of the form `key: value`")
    for key in front:
        if key not in FRONT_MATTER:
            raise fault(key, f"unknown key `{key}`{_similar(str(key), FRONT_MATTER)}")
    for key in sorted(FRONT_MATTER - set(front)):
        raise fault(key, f"`{key}` is missing; add it")
    for key in ("title", "description"):
        if not isinstance(front[key], str) or not front[key].strip():
            raise fault(key, f"`{key}` must be one line of text; quote it if it holds a colon")
    for key in ("objectives", "prerequisites"):
        value = front[key]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise fault(key, f"`{key}` must be a list of lines of text; [] for none")
    if not 3 <= len(front["objectives"]) <= 5:
        raise fault("objectives", f"give 3 to 5 objectives, not {len(front['objectives'])}")


class _Scanner:
    """Reads the lines of a page one by one; `parts` grows as it goes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.parts: list[str | Block | Inline] = []
        self.prose: list[str] = []
        self.prose_line = 1
        self.heading = "top"
        self.ordinals: Counter[str] = Counter()
        # The columns at which content may stand: 0, and 4 more for each open list item, tab or admonition.
        self.columns = [0]

    def scan(self, lines: list[str], first: int) -> list[str | Block | Inline]:
        at, comment = 0, False
        self.prose_line = first
        while at < len(lines):
            line, number = lines[at].rstrip("\n"), first + at
            match = FENCE.match(line)
            if comment or not match:
                if comment and match and _language(match["info"]) in PYTHON_NAMES:
                    raise self.fault(number, "Python in an HTML comment never runs; delete it")
                comment = _comment_open(line, comment)
                self.read_prose(lines[at])
                at += 1
                continue
            at = self.read_fence(lines, at, number, match)
        self.flush_prose(first + len(lines))
        return self.parts

    def fault(self, line: int, message: str) -> LessonError:
        return LessonError(self.path, line, message)

    def read_prose(self, line: str) -> None:
        self.prose.append(line)
        text = line.strip()
        if not text:
            return
        indent = len(line) - len(line.lstrip(" "))
        while self.columns[-1] > indent:
            self.columns.pop()
        if indent == self.columns[-1] and CONTAINER.match(text):
            self.columns.append(indent + 4)
        if heading := HEADING.match(line):
            self.heading = slugify(heading["text"])

    def read_fence(self, lines: list[str], at: int, number: int, match: re.Match[str]) -> int:
        """Read the fence that opens at `lines[at]`; return the index of the line after it."""
        indent, fence, info = match["indent"], match["fence"], match["info"]
        python = _language(info) in PYTHON_NAMES
        if fence[0] == "`" and "`" in info:
            if python:
                raise self.fault(number, "a one-line fence is inline code; put the code on lines of its own")
            self.read_prose(lines[at])
            return at + 1
        end = self.closing(lines, at, match)
        if end is None:
            raise self.fault(number, f"this fence is never closed; close it with {fence} in the same column")
        if not python:
            # A part of its own, so that no inline value is looked for in it.
            self.flush_prose(number)
            self.parts.append("".join(lines[at : end + 1]))
            self.prose_line = number + (end - at) + 1
            return end + 1
        keys = self.check_opening(number, match)
        body = lines[at + 1 : end]
        for offset, line in enumerate(body, 1):
            if line.strip() and not line.startswith(indent):
                raise self.fault(
                    number + offset,
                    f"this line stands left of its fence; indent it by {len(indent)}",
                )
        self.flush_prose(number)
        while self.columns[-1] > len(indent):
            self.columns.pop()
        block = Block(self.next_id(), number, keys, indent, lines[at], tuple(body), lines[end])
        check_block(block, self.path)
        self.parts.append(block)
        self.prose_line = number + (end - at) + 1
        return end + 1

    def closing(self, lines: list[str], at: int, match: re.Match[str]) -> int | None:
        prefix, fence = match["indent"] + match["quote"], match["fence"]
        for end in range(at + 1, len(lines)):
            if lines[end].startswith(prefix) and lines[end][len(prefix) :].rstrip() == fence:
                return end
        return None

    def check_opening(self, number: int, match: re.Match[str]) -> dict[str, str]:
        """The keys of a Python fence, whose form must be the accepted one."""
        indent, fence, info = match["indent"], match["fence"], match["info"]
        if match["quote"]:
            raise self.fault(number, "Python in a quotation never runs; take the block out of the `>`")
        if "\t" in indent:
            raise self.fault(number, "a tab before the fence; indent with spaces")
        if fence[0] == "~":
            raise self.fault(number, "Python fences are written with backticks; replace ~~~ by ```")
        if not re.match(r"python(\s|$)", info):
            raise self.fault(number, f"{fence}{info.rstrip()} would never run; write {fence}python")
        if len(indent) not in self.columns:
            columns = " or ".join(map(str, self.columns))
            raise self.fault(
                number,
                f"the fence is indented by {len(indent)}; here it may stand at {columns} "
                "(4 for each list item, tab or admonition around it)",
            )
        keys: dict[str, str] = {}
        at = len("python")
        info = info.rstrip()
        while at < len(info):
            key = KEY.match(info, at)
            if not key:
                rest = info[at:].strip()
                raise self.fault(number, f'cannot read `{rest}`; keys are written key="value"')
            if key["key"] in keys:
                raise self.fault(number, f"the key `{key['key']}` is given twice; keep one")
            keys[key["key"]] = key["quoted"] if key["quoted"] is not None else key["number"]
            at = key.end()
        return keys

    def next_id(self) -> str:
        self.ordinals[self.heading] += 1
        return f"{self.heading}-{self.ordinals[self.heading]}"

    def flush_prose(self, next_line: int) -> None:
        """Put the prose read so far into the parts, inline values apart."""
        text, line = "".join(self.prose), self.prose_line
        self.prose, self.prose_line = [], next_line
        done = 0
        for start, end, content in code_spans(text):
            at = line + text.count("\n", 0, start)
            if not re.match(r"\{\s*\.?(python|py)\b", content, re.IGNORECASE):
                continue
            inline = self.read_inline(content, text[start:end], at)
            if start > done:
                self.parts.append(text[done:start])
            self.parts.append(inline)
            done = end
        if done < len(text):
            self.parts.append(text[done:])

    def read_inline(self, content: str, source: str, line: int) -> Inline:
        match = re.fullmatch(r"\{python((?:\s+\w+=\"[^\"]*\")*)\}\s+(.+)", content, re.DOTALL)
        if not match:
            raise self.fault(line, f"cannot read the inline value `{content}`; write `{{python}} expression`")
        keys = {key["key"]: key["quoted"] for key in KEY.finditer(match[1])}
        if set(keys) - {"needs"} or keys.get("needs", NEEDS[0]) not in NEEDS:
            raise self.fault(line, f"an inline value takes only needs=…, which may be {' or '.join(NEEDS)}")
        expression = " ".join(match[2].split())
        try:
            compile(expression, self.path, "eval")
        except SyntaxError as error:
            raise self.fault(line, f"inline value: {error.msg}; it must be one expression") from None
        self.ordinals["value"] += 1
        return Inline(f"value-{self.ordinals['value']}", line, keys, expression, source)


def _language(info: str) -> str:
    match = LANGUAGE.match(info)
    return match["name"].lower() if match else ""


def _comment_open(line: str, inside: bool) -> bool:
    """Whether an HTML comment is open at the end of the line."""
    plain = re.sub(r"(`+).*?\1", "", line)
    for mark in re.findall(r"<!--|-->", plain):
        inside = mark == "<!--"
    return inside


def code_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of each code span: runs of backticks of equal length, in one paragraph."""
    ticks = list(re.finditer(r"(?<!\\)`+", text))
    at = 0
    while at < len(ticks):
        opening = ticks[at]
        for close in range(at + 1, len(ticks)):
            between = text[opening.end() : ticks[close].start()]
            if "\n\n" in between:
                break
            if len(ticks[close][0]) == len(opening[0]):
                yield (
                    opening.start(),
                    ticks[close].end(),
                    between.strip() if len(opening[0]) == 1 else "",
                )
                at = close
                break
        at += 1


def check_block(block: Block, path: str) -> None:
    """Raise a `LessonError` for a block whose keys or code cannot be right."""

    def fault(message: str) -> LessonError:
        return LessonError(path, block.line, message)

    keys = block.keys
    for key in keys:
        if key not in KEYS:
            raise fault(f"unknown key `{key}`{_similar(key, KEYS)}")
    for key, value in keys.items():
        if not value.strip():
            raise fault(f"the key `{key}` is empty; give it a value or remove it")
    roles = [role for role in ROLES if role in keys]
    if len(roles) > 1:
        raise fault(f"`{roles[0]}` and `{roles[1]}` on one block; split it")
    if "title" in keys:
        if not re.fullmatch(r"src/course(/[a-z_][a-z0-9_]*)+\.py", keys["title"]):
            raise fault('a title names a module of the package: title="src/course/<package>/<module>.py"')
        for key in ("raises", "needs", *ROLES):
            if key in keys:
                raise fault(f"a titled block is part of the package and runs everywhere: remove `{key}` or `title`")
    if keys.get("needs", NEEDS[0]) not in NEEDS:
        raise fault(f'needs="{keys["needs"]}" is unknown; it may be {" or ".join(NEEDS)}')
    if "raises" in keys and not re.fullmatch(r"[A-Za-z_]\w*", keys["raises"]):
        raise fault('raises="…" takes the name of one exception class, such as ValueError')
    if "timeout" in keys and not (keys["timeout"].isdigit() and int(keys["timeout"]) > 0):
        raise fault("timeout=… takes a whole number of seconds")
    if "hl_lines" in keys and not HL_LINES.fullmatch(keys["hl_lines"]):
        raise fault('hl_lines="…" takes line numbers and ranges, such as "2" or "1-3 5"')
    if not block.code.strip():
        raise fault("an empty block; write code or remove it")
    if keys.get("raises") == "SyntaxError":
        return
    try:
        ast.parse(block.code)
    except SyntaxError as error:
        line = block.line + (error.lineno or 0)
        mend = "mend it; each block must be whole Python by itself"
        raise LessonError(path, line, f"{type(error).__name__}: {error.msg}; {mend}") from None


def _check_exercises(lesson: Lesson) -> None:
    """Every exercise has a starter, then a check, then a solution; wrong answers come after the check."""
    seen: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for block in lesson.blocks:
        if not block.role:
            continue
        name = block.keys[block.role]
        first.setdefault(name, block.line)
        before = seen.setdefault(name, [])
        if block.role != "wrong" and block.role in before:
            raise LessonError(lesson.path, block.line, f"a second `{block.role}` for exercise `{name}`; keep one")
        for earlier in ROLES[: min(ROLES.index(block.role), 2)]:
            if earlier not in before:
                raise LessonError(
                    lesson.path,
                    block.line,
                    f"`{block.role}` before the `{earlier}` of exercise `{name}`; "
                    "the order is exercise, check, solution, wrong",
                )
        before.append(block.role)
    for name, roles in seen.items():
        for role in ROLES[:3]:
            if role not in roles:
                raise LessonError(
                    lesson.path,
                    first[name],
                    f'exercise `{name}` has no {role}="{name}" block; add it',
                )


def _check_imports(lesson: Lesson) -> None:
    """No block imports what the page itself makes: the second copy would escape the page's tests."""
    for block in lesson.blocks:
        imported, _ = course_names(block.code)
        for own in [] if block.module else lesson.modules.keys() & imported.keys():
            raise LessonError(
                lesson.path,
                block.line + imported[own],
                f"imports `{own}`, which this page makes: its names are here already, from the blocks above",
            )


@functools.lru_cache(maxsize=4096)
def course_names(code: str) -> tuple[dict[str, int], frozenset[str]]:
    """What of `course` the code imports, modules and names of modules, with lines; and what its strings name."""
    imported, in_strings = dict[str, int](), set[str]()
    for node in ast.walk(_tree(code)) if "course" in code else ():
        if isinstance(node, ast.Import):
            imported.update({alias.name: node.lineno for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            imported.update(dict.fromkeys(names, node.lineno))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            in_strings.update(re.findall(r"\bcourse(?:\.\w+)+", node.value))  # `-m course.…`
    return {name: line for name, line in imported.items() if name.startswith("course.")}, frozenset(in_strings)


def _tree(code: str) -> ast.Module:
    """The syntax tree; an empty one where the code does not parse, as in a block with raises="SyntaxError"."""
    try:
        return ast.parse(code)
    except SyntaxError:
        return ast.Module([], [])


def _similar(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(sorted(known))}"


def slugify(text: str) -> str:
    """The anchor of a heading, as Python-Markdown's table of contents makes it."""
    text = re.sub(r"[^\w\s-]", "", text.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[-\s]+", "-", text) or "section"
