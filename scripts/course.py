"""The course as a whole: its lessons in reading order, their numbers, and who owns which module."""

from __future__ import annotations

import ast
import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts import glossary, notebook
from scripts.parse import Block, Lesson, LessonError, parse

ROOT = Path(__file__).resolve().parent.parent

# Lowest first: a module imports only from its own package or from one to its left.
LAYERS = [
    "data",
    "autodiff",
    "foundations",
    "training",
    "sequence",
    "transformer",
    "pretraining",
    "modern",
    "kernels",
    "parallelism",
    "inference",
    "peft",
    "alignment",
    "optimization",
    "diffusion",
]


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum; `lessons` maps each slug to its planned title, in reading order."""

    folder: str
    title: str
    lessons: dict[str, str]

    @property
    def name(self) -> str:
        """The stage's own number or letter."""
        return self.folder.split("-")[0].upper()

    @property
    def slugs(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.lessons]


@dataclass(frozen=True)
class Symbol:
    """A public name of the package: `path` is its dotted name, `block` the first that defines it."""

    path: str
    lesson: Lesson
    block: Block

    @property
    def module(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Course:
    """The curriculum, and the lessons of it that are written."""

    root: Path
    stages: list[Stage]
    lessons: dict[str, Lesson]  # by slug, in reading order
    pages: dict[str, Lesson]  # the lessons, then the other pages that run code
    labs: dict[str, Lesson]  # by slug: the notebooks

    @functools.cached_property
    def numbers(self) -> dict[str, str]:
        """The number of every slug, written or not: `1-training/momentum` is 1.2."""
        return {slug: f"{stage.name}.{place}" for stage in self.stages for place, slug in enumerate(stage.slugs, 1)}

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """The title of every slug, written or not."""
        planned = {f"{stage.folder}/{name}": title for stage in self.stages for name, title in stage.lessons.items()}
        return planned | {slug: lesson.title for slug, lesson in self.lessons.items()}

    @functools.cached_property
    def owners(self) -> dict[str, Lesson]:
        """The lesson that owns each module."""
        owners: dict[str, Lesson] = {}
        for lesson in self.lessons.values():
            for module, blocks in lesson.modules.items():
                if module in owners:
                    raise LessonError(
                        lesson.path,
                        blocks[0].line,
                        f"{blocks[0].keys['title']} belongs to {owners[module].path}; "
                        "a module has one lesson: choose another module",
                    )
                owners[module] = lesson
        return owners

    @functools.cached_property
    def symbols(self) -> dict[str, Symbol]:
        """The public names of the package by their paths, module by module in page order."""
        symbols: dict[str, Symbol] = {}
        for module, lesson in self.owners.items():
            for block in lesson.modules[module]:
                for name in public_names(block.code):
                    path = f"{module}.{name}"
                    symbols.setdefault(path, Symbol(path, lesson, block))
        return symbols

    @functools.cached_property
    def glossary(self) -> list[glossary.Term]:
        """The terms of the glossary, if the course has one."""
        path = self.root / glossary.PATH
        return glossary.read(read_text(path), self.numbers) if path.exists() else []

    def slug(self, name: str) -> str:
        """The slug of a lesson, written or not, from a slug, a path, or the last part of a slug."""
        name = name.removeprefix("docs/").removesuffix(".md").strip("/")
        if not name:
            raise SystemExit("which lesson? Say L=…, such as L=1-training/momentum")
        ends = {slug: slug.rpartition("/")[2] for slug in self.numbers | self.pages}
        found = [name] if name in ends else [slug for slug, end in ends.items() if name == end]
        if len(found) == 1:
            return found[0]
        raise SystemExit(f"no lesson {name!r} in curriculum.yml; {meant(name, ends)}")

    def named(self, name: str) -> Lesson:
        """The written lesson or page of a name, as `slug` takes it."""
        slug = self.slug(name)
        if slug not in self.pages:
            raise SystemExit(f"{slug} is not written yet; begin it: make new L={slug}")
        return self.pages[slug]

    def lab(self, name: str) -> Lesson:
        """The lab of a slug, a path, or the last part of a slug."""
        name = name.removeprefix("docs/").removesuffix(".ipynb").strip("/")
        found = [lab for slug, lab in self.labs.items() if name in (slug, slug.rpartition("/")[2])]
        if len(found) == 1:
            return found[0]
        raise SystemExit(f"no lab {name!r}; the labs are: {', '.join(self.labs) or 'none yet'}")


def meant(name: str, slugs: Iterable[str]) -> str:
    """What to do about a slug that the curriculum does not know."""
    ends = {slug: slug.rpartition("/")[2] for slug in slugs}
    close = difflib.get_close_matches(name.rpartition("/")[2], ends.values())
    near = [slug for end in close for slug in ends if ends[slug] == end]
    guess = f"did you mean {' or '.join(near)}? A" if near else "a"
    return f"{guess} new lesson is added there first, in its place"


def public_names(code: str) -> list[str]:
    """The functions, classes, constants and aliases that the code defines; type variables are nobody's business."""
    names: list[str] = []
    for node in ast.parse(code).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.append(node.name)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
                pass
            case ast.Assign(targets=targets):
                names += [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
    return [name for name in names if not name.startswith("_")]


def read_page(path: Path, root: Path, stages: list[Stage]) -> Lesson:
    """Parse a page; it is a lesson where it stands in the folder of a stage."""
    relative = path.relative_to(root)
    lesson = relative.parts[1] in {stage.folder for stage in stages} and path.name != "index.md"
    return parse(read_text(path), str(relative), lesson=lesson)


def read_text(path: Path) -> str:
    """The text of a file, or a `LessonError` where it is not UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LessonError(path, line, "not UTF-8; save the file as UTF-8") from None


def read_stages(root: Path) -> list[Stage]:
    """Read `curriculum.yml`, or raise a `LessonError` with its line."""
    text = read_text(root / "curriculum.yml")
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        message = f"not YAML ({problem}); quote a text that holds a colon or begins with a sign"
        raise LessonError("curriculum.yml", mark.line + 1 if mark else 1, message) from None
    stages = []
    for place, stage in enumerate(entries):
        try:
            stages.append(Stage(stage["folder"], stage["title"], dict(map(_planned, stage["lessons"]))))
        except (AttributeError, KeyError, TypeError) as error:
            nodes: Any = yaml.compose(text)
            message = f"a stage has a folder, a title and a list of lessons, each `slug` or `slug: Title`; see {error}"
            raise LessonError("curriculum.yml", nodes.value[place].start_mark.line + 1, message) from None
    return stages


def _planned(entry: str | dict[str, str]) -> tuple[str, str]:
    """A lesson of the curriculum, `slug` or `slug: Title`, as its slug and title."""
    if isinstance(entry, dict):
        return next(iter(entry.items()))
    return entry, entry.replace("-", " ").capitalize()


def load(root: Path = ROOT) -> Course:
    """Read every lesson under `docs/`.

    Raises
    ------
    LessonError
        At the first page that is malformed, or that the curriculum does not list.
    """
    stages = read_stages(root)
    order = {slug: None for stage in stages for slug in stage.slugs}
    lessons: dict[str, Lesson] = {}
    others: dict[str, Lesson] = {}
    for path in sorted((root / "docs").rglob("*.md")):
        relative = path.relative_to(root)
        page = read_page(path, root, stages)
        if not page.is_lesson:
            if page.elements:
                others[page.slug] = page
            continue
        if page.slug not in order:
            raise LessonError(relative, 1, f"{page.slug} is not in curriculum.yml; {meant(page.slug, order)}")
        for needed in page.front["prerequisites"]:
            if needed not in order:
                line = str(page).split(needed)[0].count("\n") + 1
                fault = f"the prerequisite {needed} is not in curriculum.yml; {meant(needed, order)}"
                raise LessonError(relative, line, fault)
        lessons[page.slug] = page
    lessons = {slug: lessons[slug] for slug in order if slug in lessons}
    books = [path for path in sorted((root / "docs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    labs = [notebook.read(path, root) for path in books]
    course = Course(root, stages, lessons, lessons | others, {lab.slug: lab for lab in labs})
    _ = course.owners, course.glossary  # their errors come now, not at the first use
    return course
