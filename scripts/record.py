"""Records: what each block of a lesson printed and drew, committed, with the key that says whether it is fresh.

A record is a folder, `docs/records/<stage>/<lesson>/`: `record.json` and the figures. It is replaced as a
whole or not at all: the new folder is complete, under a name that says so, before the old one goes.
"""

from __future__ import annotations

import ast
import copy
import datetime
import functools
import hashlib
import json
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from scripts.child import data_folders
from scripts.course import Course
from scripts.parse import Block, Element, Lesson, course_names
from scripts.run import Result

FORMAT = 1
RUN_KEYS = (
    "raises",
    "needs",
    "exercise",
    "check",
    "solution",
    "wrong",
)  # those that change what a run yields

Record = dict[str, Any]


# ---------------------------------------------------------------- keys


def digest(*pieces: str) -> str:
    return hashlib.sha256("\0".join(pieces).encode()).hexdigest()[:12]


@functools.lru_cache(maxsize=4096)
def code_digest(code: str) -> str:
    """A digest of what the code says: comments, layout and quotes do not count, nor the Python version."""
    try:
        return digest(_shape(ast.parse(code)))
    except SyntaxError:
        return digest(code)


def _shape(node: Any) -> str:
    """The syntax tree as text; empty fields are left out, since Python versions add new ones."""
    if isinstance(node, ast.AST):
        fields = [(name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "kind")]
        inner = ",".join([f"{name}={_shape(value)}" for name, value in fields if value is not None and value != []])
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return f"[{','.join(map(_shape, node))}]"
    return repr(node)


def element_digest(element: Element) -> str:
    """The digest of one block or inline value: its code, and the keys that change its run."""
    if not isinstance(element, Block):
        return digest(code_digest(element.expression), str(sorted(element.keys.items())))
    keys = [(key, value) for key, value in sorted(element.keys.items()) if key in RUN_KEYS]
    return digest(code_digest(element.code), str(keys), str("figure" in element.keys))


def imports(code: str, root: Path) -> set[str]:
    """The modules of `course` that the code names, in imports or in strings."""
    imported, in_strings = course_names(code)
    return {name for name in {*imported, *in_strings} if module_path(name, root).exists()}


def module_path(module: str, root: Path) -> Path:
    return root / "src" / (module.replace(".", "/") + ".py")


def closure(lesson: Lesson, root: Path) -> dict[str, str]:
    """The digest of every `course` module that the lesson imports, directly or through others."""
    found: dict[str, str] = {}
    waiting = {module for element in lesson.elements for module in imports(_code(element), root)}
    while waiting:
        module = waiting.pop()
        code = module_path(module, root).read_text()
        found[module] = code_digest(code)
        waiting |= imports(code, root) - set(found)
    return dict(sorted(found.items()))


def _code(element: Element) -> str:
    return element.code if isinstance(element, Block) else element.expression


# ---------------------------------------------------------------- files


def folder(lesson: Lesson, root: Path) -> Path:
    return root / "docs" / "records" / lesson.slug


def load(lesson: Lesson, root: Path) -> Record | None:
    """The record of a lesson, or None."""
    return read(folder(lesson, root))


def read(place: Path) -> Record | None:
    """The record in a folder. One that is missing, cut off or of another format counts as none."""
    recover(place)
    try:
        record: Record = json.loads((place / "record.json").read_text())
        if record["format"] != FORMAT:
            return None
        for entry in record["elements"]:
            entry["outputs"] = [{kind: _joined(value) for kind, value in output.items()} for output in entry["outputs"]]
        return record
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def recover(place: Path) -> None:
    """Finish a replacement that was cut off: a complete new folder stands beside the old one."""
    new, old = place.with_name(place.name + ".new"), place.with_name(place.name + ".old")
    if new.exists():
        _swap(place, new, old)
    elif old.exists() and not place.exists():
        old.rename(place)


def _swap(place: Path, new: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def write(place: Path, files: dict[str, str]) -> None:
    """Replace a folder by these files, so that whatever happens either the old or the new stands whole.

    Raises
    ------
    OSError
        Where the disk is full or the folder is not writable; the old folder is then untouched.
    """
    recover(place)
    part = place.with_name(place.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name, text in files.items():
            with open(part / name, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        part.rename(place.with_name(place.name + ".new"))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    recover(place)


# ---------------------------------------------------------------- making


def build(lesson: Lesson, results: list[Result], root: Path, data: dict[str, str]) -> dict[str, str]:
    """The files of a record, from a run in which every element passed or was skipped.

    What the earlier record holds for a block that was skipped here stays, with its own provenance.
    """
    before = load(lesson, root) or {"elements": []}
    earlier = {entry["id"]: entry for entry in before["elements"]}
    files: dict[str, str] = {}
    elements = []
    for result in results:
        entry = _entry(result)
        if result.status == "skipped":
            entry = _kept(result, earlier.get(result.element.id))
        elif needs := result.element.keys.get("needs"):
            entry["run"] = provenance(needs) | {"key": run_key(lesson, root)}
        for output in entry["outputs"]:
            if "figure" in output:
                name = f"figure-{1 + len(files)}.svg"
                if not output["figure"].startswith("<svg"):  # kept: its file is in the old folder
                    output["figure"] = (folder(lesson, root) / output["figure"]).read_text()
                files[name], output["figure"] = output["figure"], name
        elements.append(entry)
    record: Record = {
        "format": FORMAT,
        "lesson": lesson.slug,
        "run": provenance(),
        "modules": closure(lesson, root),
        "data": data,
        "elements": elements,
    }
    if _unchanged(record, before, files, folder(lesson, root)):
        record = before
    return {"record.json": to_json(record), **files}


def _entry(result: Result) -> dict[str, Any]:
    outputs = [dict(output) for output in result.outputs]
    return {
        "id": result.element.id,
        "code": element_digest(result.element),
        "cpu": round(result.cpu, 2),
        "outputs": outputs,
    }


def _kept(result: Result, earlier: dict[str, Any] | None) -> dict[str, Any]:
    """The entry of a skipped element: what was recorded where it could run, or nothing."""
    entry = _entry(result)
    return {**copy.deepcopy(earlier), "code": entry["code"]} if earlier else entry


def run_key(lesson: Lesson, root: Path) -> str:
    """One digest of all that a lesson's run depends on in the repository."""
    return digest(*map(element_digest, lesson.elements), json.dumps(closure(lesson, root)))


def _unchanged(record: Record, before: Record, files: dict[str, str], place: Path) -> bool:
    """Whether a new run yields the same but for the time that it took: then the old record stays."""

    def timeless(some: Record) -> Record:
        elements = [
            {
                **entry,
                "cpu": 0,
                "outputs": [
                    {kind: without_times(text) for kind, text in output.items()} for output in entry["outputs"]
                ],
            }
            for entry in some["elements"]
        ]
        return {**some, "run": None, "elements": elements}

    if "modules" not in before or timeless(record) != timeless(before):
        return False
    return all((place / name).exists() and (place / name).read_text() == text for name, text in files.items())


def to_json(record: Record) -> str:
    """JSON for reading in a diff: texts as lists of lines."""

    def lines(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lines(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [lines(inner) for inner in value]
        if isinstance(value, str) and "\n" in value:
            return value.splitlines(keepends=True)
        return value

    return json.dumps(lines(record), indent=1, ensure_ascii=False) + "\n"


def provenance(device: str = "cpu") -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def cpu_name() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def cpu_seconds(record: Record) -> float:
    return float(sum(entry["cpu"] for entry in record["elements"] if "run" not in entry))


# ---------------------------------------------------------------- freshness


def command(lesson: Lesson) -> str:
    """What to type to record a lesson or a lab."""
    return f"make {'labs' if lesson.is_lab else 'record'} L={lesson.slug}"


def why(course: Course, lesson: Lesson) -> list[str]:
    """What makes the record of a lesson stale, in words; an empty list where it is fresh."""
    record = load(lesson, course.root)
    if record is None:
        return ["there is no record"]
    return [
        *_code_changes(lesson, record),
        *_module_changes(course, lesson, record),
        *_data_changes(lesson, record, course.root),
    ]


def _code_changes(lesson: Lesson, record: Record) -> list[str]:
    then = {entry["id"]: entry["code"] for entry in record["elements"]}
    now = {element.id: element_digest(element) for element in lesson.elements}
    lines = {element.id: f"{lesson.path}:{element.line}" for element in lesson.elements}
    reasons = [f"{lines[name]}: `{name}` is new" for name in now if name not in then]
    reasons += [f"{lines[name]}: `{name}` changed" for name in now if name in then and now[name] != then[name]]
    reasons += [f"`{name}` is gone" for name in then if name not in now]
    if not reasons and list(now) != list(then):
        reasons = ["the blocks stand in another order"]
    return reasons


def _module_changes(course: Course, lesson: Lesson, record: Record) -> list[str]:
    now, then = closure(lesson, course.root), record["modules"]

    def owner(module: str) -> str:
        lesson = course.owners.get(module)
        return f", lesson {course.numbers[lesson.slug]}" if lesson else ""

    return [
        f"`{module}` {'changed' if module in now and module in then else 'is new' if module in now else 'is gone'}"
        f"{owner(module)}"
        for module in sorted(set(now) | set(then))
        if now.get(module) != then.get(module)
    ]


def _data_changes(lesson: Lesson, record: Record, root: Path) -> list[str]:
    """Data that is here and differs. What is not on this machine cannot be judged, and is not."""
    reasons = []
    for name, known in record["data"].items():
        for place in (root / "docs" / Path(lesson.slug).parent, *data_folders()):
            path = place / name
            if path.exists():
                if hashlib.sha256(path.read_bytes()).hexdigest() != known:
                    reasons.append(f"the data file {name} changed")
                break
    return reasons


# ---------------------------------------------------------------- drift

TIME = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)?\s*(?:µs|us|ms|s|seconds?|[KMGT]?B/s|[GTM]?FLOP/s|tokens/s|×)(?![\w/])")
NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
TOLERANCE = 0.02  # of a float, relative
NOISE = 1e-7  # floats below it are rounding error, whose digits say nothing


def without_times(text: str) -> str:
    return TIME.sub("<time>", text)


def same_text(now: str, then: str) -> bool:
    """Whether two outputs agree: words and integers exactly, floats to a tolerance, times not at all."""
    now, then = without_times(now), without_times(then)
    if NUMBER.sub("#", now) != NUMBER.sub("#", then):
        return False
    return all(map(_close, NUMBER.findall(now), NUMBER.findall(then)))


def _close(a: str, b: str) -> bool:
    if a == b:
        return True
    if re.fullmatch(r"[-+]?\d+", a) and re.fullmatch(r"[-+]?\d+", b):
        return False
    x, y = float(a), float(b)
    return abs(x - y) <= TOLERANCE * max(abs(x), abs(y)) or max(abs(x), abs(y)) < NOISE


def drift(lesson: Lesson, result: Result, record: Record | None) -> str:
    """How the output of a block differs from its record; empty where it agrees, or none is recorded."""
    entries = {entry["id"]: entry for entry in (record or {"elements": []})["elements"]}
    entry = entries.get(result.element.id)
    if not entry or result.status != "passed" or entry["code"] != element_digest(result.element):
        return ""
    place = f"{lesson.path}:{result.element.line}"
    for now, then in zip(result.outputs, entry["outputs"], strict=False):
        ((kind, value),) = now.items()
        ((kind_then, value_then),) = then.items()
        if kind != kind_then:
            return f"{place}: shows {kind}, the record {kind_then}"
        if kind != "figure" and not same_text(value, value_then):
            return f"{place}: {_first_difference(value, value_then)}"
    if len(result.outputs) != len(entry["outputs"]):
        return f"{place}: {len(result.outputs)} outputs, the record has {len(entry['outputs'])}"
    return ""


def _first_difference(now: str, then: str) -> str:
    for a, b in zip(now.splitlines(), then.splitlines(), strict=False):
        if not same_text(a, b):
            return f"prints {a.strip()[:80]!r}, the record says {b.strip()[:80]!r}"
    return f"prints {len(now.splitlines())} lines, the record has {len(then.splitlines())}"
