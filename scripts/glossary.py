"""The glossary: its page, which is the only source, and the terms that lessons show as tooltips."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from scripts.parse import LessonError, slugify

PATH = "docs/glossary.md"
ENTRY = re.compile(r"(?P<terms>(?:^\S.*\n)+):   (?P<text>.+\n(?:(?: {4}.*)?\n)*)", re.MULTILINE)
TERM = re.compile(r"(?P<term>.+?)(?P<silent> \{ \.no-tooltip \})?\n")
LESSON = re.compile(r"\[\]\((?P<slug>[^)]+)\.md\)")


@dataclass(frozen=True)
class Term:
    """A term of the glossary, what a tooltip says of it, and the lessons that build it."""

    term: str
    text: str
    lessons: tuple[str, ...]
    tooltip: bool

    @property
    def anchor(self) -> str:
        return slugify(self.term)

    @property
    def pattern(self) -> str:
        """The term and its plural, at the beginning of a sentence too."""
        stem, last = self.term[:-1], self.term[-1]
        plural = {"y": "(?:ys?|ies)", "f": "(?:fs?|ves)", "x": "x(?:es)?", "h": "h(?:e?s)?", "s": "s(?:es)?"}
        pattern = re.escape(stem).replace("\\ ", r"\s+") + plural.get(last, f"{re.escape(last)}s?")
        first = pattern[0]
        return f"[{first}{first.upper()}]{pattern[1:]}" if first.islower() else pattern


def read(text: str, slugs: dict[str, str]) -> list[Term]:
    """The terms of the glossary's page.

    Parameters
    ----------
    slugs
        The lessons of the curriculum, by slug.

    Raises
    ------
    LessonError
        With the line, for a lesson that is not in the curriculum, a definition that no tooltip can show, a term that
        stands twice or out of order.
    """
    terms: list[Term] = []
    before = ""
    for entry in ENTRY.finditer(text):
        line = text.count("\n", 0, entry.start()) + 1
        at = line + entry["terms"].count("\n")
        first = entry["text"].split("\n\n")[0]
        lessons = tuple(found["slug"] for found in LESSON.finditer(entry["text"]))
        for slug in lessons:
            if slug not in slugs:
                raise LessonError(PATH, at, f"no lesson `{slug}` in curriculum.yml; mend the link")
        if not lessons:
            raise LessonError(PATH, at, "no lesson; end the definition with a link such as [](1-training/softmax.md)")
        if "$" in first:
            raise LessonError(PATH, at, "a tooltip shows no formula; write it in Unicode, or in a second paragraph")
        names = list(TERM.finditer(entry["terms"]))
        if names[0]["term"].lower() < before:
            raise LessonError(
                PATH, line, f"`{names[0]['term']}` stands after `{before}`; order the terms by the alphabet"
            )
        before = names[0]["term"].lower()
        for name in names:
            if any(name["term"] == known.term for known in terms):
                raise LessonError(PATH, line, f"`{name['term']}` stands here twice; keep one")
            terms.append(Term(name["term"], plain(first), lessons, not name["silent"]))
    return terms


def plain(text: str) -> str:
    """Markdown as the text of a tooltip."""
    text = LESSON.sub("", " ".join(text.split()))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return html.escape(re.sub(r"[`*]|(?<!\w)_|_(?!\w)", "", text).strip())


def anchored(text: str) -> str:
    """The page, each term with an anchor to link to."""

    def anchor(found: re.Match[str]) -> str:
        return f"{found['term']} {{ #{slugify(found['term'])} }}\n"

    return ENTRY.sub(lambda entry: TERM.sub(anchor, entry["terms"]) + ":   " + entry["text"], text)
