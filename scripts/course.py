"""The course as a whole: its lessons in reading order, their numbers, and who owns which module."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import yaml

from scripts.parse import Lesson, LessonError, parse

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
class Course:
    """The curriculum, and the lessons of it that are written."""

    root: Path
    stages: list[Stage]
    lessons: dict[str, Lesson]  # by slug, in reading order
    pages: dict[str, Lesson]  # the lessons, then the other pages that run code

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

    def named(self, slug: str) -> Lesson:
        """The lesson of a slug, a path, or the last part of a slug."""
        name = slug.removeprefix("docs/").removesuffix(".md").strip("/")
        found = [lesson for known, lesson in self.pages.items() if name in (known, known.split("/")[-1])]
        if len(found) != 1:
            known = ", ".join(self.pages) or "none yet"
            raise SystemExit(f"no lesson {slug!r}; the lessons are: {known}")
        return found[0]


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
    try:
        return [
            Stage(stage["folder"], stage["title"], dict(map(_planned, stage["lessons"])))
            for stage in yaml.safe_load(read_text(root / "curriculum.yml"))
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise LessonError("curriculum.yml", mark.line + 1 if mark else 1, f"not YAML: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:
        message = f"a stage has a folder, a title and a list of lessons, each `slug` or `slug: Title`; found {error}"
        raise LessonError("curriculum.yml", 1, message) from None


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
            raise LessonError(relative, 1, f"{page.slug} is not in curriculum.yml; add it there, in its place")
        for needed in page.front["prerequisites"]:
            if needed not in order:
                line = str(page).split(needed)[0].count("\n") + 1
                raise LessonError(
                    relative,
                    line,
                    f"the prerequisite {needed} is not in curriculum.yml; mend the slug",
                )
        lessons[page.slug] = page
    lessons = {slug: lessons[slug] for slug in order if slug in lessons}
    course = Course(root, stages, lessons, lessons | others)
    _ = course.owners  # two owners of one module are an error now, not at the first use
    return course
