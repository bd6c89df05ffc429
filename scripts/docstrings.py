"""A Griffe extension for mkdocstrings: annotations as they are written, docstrings as Markdown.

Griffe has a parser of NumPy's style, but it reads types as Python: `Tensor, shape (n, 64)` comes out as a tuple, and
`x, y : Tensor` as two entries with one text. NumPy's sections are nearly Markdown's definition lists already.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import griffe

SECTION = re.compile(r"^(?P<title>\S.*)\n-{3,}\n", re.MULTILINE)
FIELDS = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
FIELD = re.compile(r"^(?P<term>\S.*)\n(?P<text>(?:(?: {4}.*)?\n)*)", re.MULTILINE)
ROLE = re.compile(r":\w+:(?=`)")  # Sphinx's `:func:`; the backticks say enough
CODE = re.compile(r"(?<!`)`(?P<name>[A-Za-z_][\w.]*)`(?!`)")


class Docstrings(griffe.Extension):
    """Reads the package for mkdocstrings."""

    def __init__(self) -> None:
        self.shaped: list[tuple[griffe.Alias, str]] = []  # the types of jaxtyping, with their paths

    def on_alias_instance(self, *, alias: griffe.Alias, **kwargs: Any) -> None:
        # In `Float[Tensor, "n 64"]` the shape is text, not an annotation to be parsed. Griffe knows of one type whose
        # strings are text: while it reads the module, let it take `Float` for that one.
        if alias.target_path.startswith("jaxtyping."):
            self.shaped.append((alias, alias.target_path))
            alias.target_path = "typing.Literal"

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for alias, path in self.shaped:
            alias.target_path = path
        for thing in documented(pkg):
            check(thing)
            thing.docstring.value = markdown(linked(ROLE.sub("", thing.docstring.value), thing))


def documented(thing: Any) -> Iterator[Any]:
    """The modules, classes, functions and attributes that have a docstring."""
    if thing.docstring:
        yield thing
    for member in thing.members.values():
        if not member.is_alias:
            yield from documented(member)


def check(thing: Any) -> None:
    """Warn of a parameter that the docstring describes and the signature does not have."""
    for title, body in sections(thing.docstring.value)[1]:
        for field in FIELD.finditer(body) if title == "Parameters" else []:
            for name in field["term"].partition(" : ")[0].split(", "):
                if name not in thing.parameters:
                    place = f"src/{thing.relative_package_filepath}:{thing.docstring.lineno}"
                    griffe.logger.warning(f"{place}: {thing.name} has no parameter `{name}`; mend its docstring")


def sections(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What stands before the first section, and the title and the body of each."""
    head, *rest = SECTION.split(text + "\n")
    return head, list(zip(rest[::2], rest[1::2], strict=True))


def markdown(text: str) -> str:
    """A docstring in NumPy's style as Markdown."""
    head, rest = sections(text)
    for title, body in rest:
        if title in FIELDS:
            body = "".join(definition(field, title) for field in FIELD.finditer(body))
        head += f"\n{title}\n{{ .doc-section-title }}\n\n{body}"
    return head


def definition(field: re.Match[str], title: str) -> str:
    """An entry such as `x, y : Tensor`, and its text, as a term and its definition."""
    names, _, kind = field["term"].partition(" : ")
    if title in ("Returns", "Yields") and not kind:
        names, kind = "", names
    terms = ", ".join(f"`{name}`" for name in names.split(", ") if name)
    kind = html.escape(kind)
    if not field["text"].strip():
        return f"{terms}\n:   {kind}\n\n" if terms else f"{field['term']}\n\n"
    return f'{terms} <span class="doc-type">{kind}</span>\n:   {field["text"].strip()}\n\n'


def linked(text: str, thing: Any) -> str:
    """The text with the names of the package leading to their entries."""

    def link(code: re.Match[str]) -> str:
        name = code["name"]
        try:
            target = thing.modules_collection[name if name.startswith("course.") else thing.resolve(name)]
        except (griffe.NameResolutionError, KeyError):
            return code[0]
        has_entry = target.has_docstring or (target.parent and target.parent.is_module)
        if target is thing or not has_entry or name in getattr(thing, "parameters", ()):
            return code[0]
        return f'<autoref identifier="{target.path}" optional><code>{name}</code></autoref>'

    return CODE.sub(link, text)
