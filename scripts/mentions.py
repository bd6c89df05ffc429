"""What the prose of a lesson mentions, linked: names of the package to the API, terms to the glossary.

A name is linked where the lesson builds or imports it, so that nothing is guessed, at its first mention in a section.
A term is linked at its first mention on the page, unless the page explains it: the page is the term's own lesson, or
sets the term in italics or bold.
"""

from __future__ import annotations

import os
import re

from scripts import api
from scripts.course import Course
from scripts.parse import Lesson

PROSE = r"""
    (?P<heading> ^\#{1,6}\ .* )
  | (?<!`)`(?P<name> [A-Za-z_][\w.]* )(?:\(\))?`(?!`)
  | ^(?P<indent>[ ]*)(?P<fence>`{3,}|~{3,}).*\n(?:.*\n)*?(?P=indent)(?P=fence)[ ]*$   # code
  | (?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\n)[\s\S])+?(?<!`)(?P=ticks)(?!`)                 # code in a line
  | ^[ ]*(?:!!!|\?\?\?\+?|===)\ .*                                                    # the title of a box
  | ^[ ]*\|.*                                                                         # a row of a table
  | ^[ ]*<(?:(?!\n\n)[\s\S])*                                                         # HTML, to a blank line
  | <[^>]+>
  | \$\$[\s\S]+?\$\$ | \$(?!\s)(?:\\\$|(?!\n\n)[^$])+?\$                              # formulas
  | !?\[(?:(?!\n\n)[^\[\]]|\[[^\[\]]*\])*\](?:\([^)]*\)|\[[^\]]*\])                   # links
  | ^\[.+?\]:.* | \[\^.+?\]                                                           # footnotes
  | (?<![\w*])\*{1,2}(?!\s)(?:(?!\n\n)[^*])+\*{1,2}                                   # emphasis
"""


def link(text: str, course: Course, lesson: Lesson) -> str:
    """The woven text of a lesson, with its mentions linked."""
    terms = {f"term{n}": term for n, term in enumerate(course.glossary) if term.tooltip}
    words = "|".join(f"(?P<{group}>{term.pattern})" for group, term in terms.items())
    pattern = PROSE + (rf"| (?<![\w-])(?:{words})(?![\w-])" if words else "")
    names = {path.rpartition(".")[2]: path for path in paths(course, lesson)}
    glossary = os.path.relpath("glossary.md", os.path.dirname(lesson.slug))
    named: set[str] = set()  # in this section
    explained = {group for group, term in terms.items() if lesson.slug in term.lessons}
    explained |= {found.lastgroup or "" for found in re.finditer(rf"(?<=\*)(?:{words})(?=\*)", text)}

    def replace(found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        if kind == "heading":
            named.clear()
        elif kind == "name":
            path = names.get(found["name"], found["name"])
            if path not in named and (path in course.symbols or path in course.owners):
                named.add(path)
                return f"[{found[0]}]({api.link(course, path, lesson.slug)}){{ .name }}"
        elif kind in terms and kind not in explained:
            explained.add(kind)
            return f'[{found[0]}]({glossary}#{terms[kind].anchor} "{terms[kind].text}"){{ .term }}'
        return found[0]

    return re.sub(pattern, replace, text, flags=re.MULTILINE | re.VERBOSE)


def paths(course: Course, lesson: Lesson) -> list[str]:
    """The public names that the lesson builds or imports."""
    own = [path for path, symbol in course.symbols.items() if symbol.lesson is lesson]
    return [*own, *(path for block in lesson.blocks for path in api.imported(block))]
