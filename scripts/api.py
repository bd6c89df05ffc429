"""The API pages: one for each module of the package, for mkdocstrings to render, and one that lists them.

They are generated as Markdown. Every name leads to the section of the lesson that builds it, and to the lessons
that import it.
"""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts import export, stages, tangle
from scripts.course import LAYERS, Course, Symbol
from scripts.parse import FENCE, HEADING, Block, Lesson, slugify

INDEX = "api/index"
OWN_ANCHOR = re.compile(r"\s*\{[^}]*#(?P<anchor>[\w.-]+)[^}]*\}$")  # `## Title { #anchor }`
ABOUT = """\
---
title: API
description: Every module of the package, with the lesson that builds it.
---

# API

The package that the lessons build, for you to import. Each module is the joined code of one lesson, and uses only its
own package and those above it in this list.
"""


def slug(module: str) -> str:
    """The page of a module: that of `course.data.datasets` is `api/data/datasets`."""
    return module.replace("course.", "api/", 1).replace(".", "/")


def link(course: Course, path: str, page: str) -> str:
    """The target of a link from a page to the entry of a module or of a public name."""
    if path in course.owners:
        return _to(slug(path), page)
    return f"{_to(slug(path.rpartition('.')[0]), page)}#{path}"


def _to(target: str, page: str) -> str:
    return os.path.relpath(f"{target}.md", os.path.dirname(page))


def write_package(course: Course, root: Path) -> None:
    """Put the package where mkdocstrings looks for it, as the lessons have it now, whatever `src` holds."""
    tangle.tangle(replace(course, root=root / ".cache"), force=True)
    (root / ".cache" / "src" / "course").mkdir(parents=True, exist_ok=True)
    (root / ".cache" / "src" / "course" / "__init__.py").touch()


def pages(course: Course) -> dict[str, str]:
    """What to add to `docs/`, by path: the list, the page of each module, and each module's file."""
    users = importers(course)
    made = {f"{INDEX}.md": index_page(course)}
    for module, lesson in course.owners.items():
        made[f"{slug(module)}.md"] = module_page(course, module, users)
        made[f"{slug(module)}.py"] = tangle.module_text(module, lesson)
    return made


def navigation(course: Course) -> list[Any]:
    """The section of the site's navigation: the list, then the packages with their modules."""
    nav: list[Any] = [f"{INDEX}.md"]
    for package, modules in packages(course).items():
        nav.append({package: [{_last(module): f"{slug(module)}.md"} for module in modules]})
    return nav


def packages(course: Course) -> dict[str, list[str]]:
    """The modules of each package that has some: packages lowest first, modules in reading order."""
    found: dict[str, list[str]] = {package: [] for package in LAYERS}
    for module in course.owners:
        found[module.split(".")[1]].append(module)
    return {package: modules for package, modules in found.items() if modules}


def importers(course: Course) -> dict[str, list[Lesson]]:
    """The lessons that import each public name from another lesson's module."""
    found: dict[str, list[Lesson]] = {path: [] for path in course.symbols}
    for lesson in course.lessons.values():
        for path in dict.fromkeys(path for block in lesson.blocks for path in imported(block)):
            if path in found and course.symbols[path].lesson is not lesson:
                found[path].append(lesson)
    return found


def imported(block: Block) -> list[str]:
    """What the block takes by `from … import …`, where the course may be among it."""
    if "course" not in block.code or block.keys.get("raises") == "SyntaxError":
        return []
    nodes = [node for node in ast.walk(ast.parse(block.code)) if isinstance(node, ast.ImportFrom)]
    return [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]


def symbols(course: Course, module: str) -> list[Symbol]:
    return [symbol for symbol in course.symbols.values() if symbol.module == module]


def index_page(course: Course) -> str:
    """Every module with the first line of its docstring, its names and its lesson."""
    parts = [ABOUT]
    for package, modules in packages(course).items():
        rows = "\n".join(index_row(course, module) for module in modules)
        parts.append(f'## course.{package} {{ .api #{package} }}\n\n<div class="modules" markdown>\n\n{rows}\n</div>\n')
    return "\n".join(parts)


def index_row(course: Course, module: str) -> str:
    lesson = course.owners[module]
    names = [f"[`{one.name}`]({link(course, one.path, INDEX)}){{ .name }}" for one in symbols(course, module)]
    return (
        f"[`{_last(module)}`]({link(course, module, INDEX)})\n"
        f":   {docstring(lesson, module)[0]}\n\n    {' '.join(names)}\n    {{ .names }}\n\n"
        f"    {stages.link(course, lesson.slug, INDEX)}\n    {{ .doc-meta }}\n"
    )


def module_page(course: Course, module: str, users: dict[str, list[Lesson]]) -> str:
    """What the module is for, where it comes from, and an entry for each public name."""
    page, lesson = slug(module), course.owners[module]
    file = f"{_last(module)}.py"
    facts = [f"Built in {stages.link(course, lesson.slug, page)}", f"[{file}]({file}){{ download }}"]
    if repository := export.repository():
        facts.append(f"[on GitHub]({repository}/blob/main/src/{module.replace('.', '/')}.py)")
    first, rest = docstring(lesson, module)
    entries = "".join(entry(course, symbol, users[symbol.path]) for symbol in symbols(course, module))
    return (
        f"---\ntitle: {module}\ndescription: >-\n  {first}\n---\n\n# {module.replace('.', '.<wbr>')} {{ .api }}\n\n"
        f"{first}\n{rest}\n\n{' · '.join(facts)}\n{{ .doc-meta }}\n\n{entries}"
    )


def entry(course: Course, symbol: Symbol, users: list[Lesson]) -> str:
    """The directive for mkdocstrings; our templates show its `extra` line, which leads back to the lessons."""
    page = slug(symbol.module)
    title, anchor = section(symbol.lesson, symbol.block)
    line = f"Built in [{title}]({_to(symbol.lesson.slug, page)}{anchor})"
    if users:
        links = [f'[{course.numbers[one.slug]}]({_to(one.slug, page)} "{one.title}")' for one in users]
        line += f", used in {', '.join(links)}"
    return f"::: {symbol.path}\n    options:\n      extra:\n        lessons: >-\n          {line}\n\n"


def section(lesson: Lesson, block: Block) -> tuple[str, str]:
    """The heading that a block stands under, and its anchor, as Python-Markdown's table of contents makes it."""
    title, anchor = lesson.title, ""
    seen = Counter([slugify(lesson.title)])
    for part in lesson.parts[: lesson.parts.index(block)]:
        if not isinstance(part, str) or FENCE.match(part):
            continue
        for heading in filter(None, map(HEADING.match, part.splitlines())):
            title = heading["text"]
            if own := OWN_ANCHOR.search(title):
                title, anchor = title[: own.start()], f"#{own['anchor']}"
                continue
            name = slugify(title)
            anchor = f"#{name}_{seen[name]}" if seen[name] else f"#{name}"
            seen[name] += 1
    return title, anchor


def docstring(lesson: Lesson, module: str) -> tuple[str, str]:
    """The first line of a module's docstring, and the rest."""
    text = ast.get_docstring(ast.parse(lesson.modules[module][0].code)) or ""
    first, _, rest = text.partition("\n")
    return first, rest


def _last(module: str) -> str:
    return module.rpartition(".")[2]
