"""The map of the course: stage pages with their lessons, and the climb on the home page.

All of it is drawn from the curriculum and the lessons' front matter. A page says where by a comment:
`<!-- climb -->`, `<!-- stages -->` or, on a stage's own page, `<!-- lessons -->`. On any page, `[](slug.md)`,
a link without a text, gets the number and the title of the lesson.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from scripts import record
from scripts.course import Course, Stage, read_page

EMPTY_LINK = re.compile(r"\[\]\((?P<target>[^)\s#]+)\.md(?P<anchor>#[^)\s]*)?\)")
ROW = 27  # of the map of a stage, in pixels; the stylesheet has the same in rem
GUTTER = 84


def fill(text: str, course: Course, page: str) -> str:
    """Put the maps and the titles of lessons into the Markdown of a page, given by its slug."""
    if "<!-- climb -->" in text:
        text = text.replace("<!-- climb -->", climb(course))
    if "<!-- stages -->" in text:
        text = text.replace("<!-- stages -->", stage_list(course))
    for stage in course.stages:
        if page == f"{stage.folder}/index":
            text = text.replace("<!-- lessons -->", f"{stage_map(course, stage)}\n{lesson_cards(course, stage)}")
    return EMPTY_LINK.sub(lambda match: _titled(match, course, page), text)


def named(text: str, course: Course, page: str) -> str:
    """The same with names alone, for a text that stands where links between pages lead nowhere."""
    return EMPTY_LINK.sub(lambda match: name(course, _slug(match, page)), text)


def _titled(match: re.Match[str], course: Course, page: str) -> str:
    slug = _slug(match, page)
    return link(course, slug, page, match["anchor"] or "") if slug in course.numbers else match[0]


def _slug(match: re.Match[str], page: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), match["target"]))


def name(course: Course, slug: str) -> str:
    """A lesson's number and title; for what is no lesson, its slug."""
    return f"{course.numbers[slug]} {course.titles[slug]}" if slug in course.numbers else slug


def link(course: Course, slug: str, page: str, anchor: str = "") -> str:
    """A lesson's number and title, linked from `page` where the lesson is written."""
    text = name(course, slug)
    if slug not in course.lessons:
        return f'<span class="planned" title="Not written yet">{html.escape(text)}</span>'
    return f"[{text}]({os.path.relpath(slug, Path(page).parent)}.md{anchor})"


# The home page


def climb(course: Course) -> str:
    """The course as a staircase: a dot for each lesson, a step for each stage, the electives at its foot."""
    across, rise = 8, 27
    stages = [stage for stage in course.stages if stage.name.isdigit()]
    width = across * sum(len(stage.lessons) for stage in stages) + 16
    height = rise * len(stages) + 6
    marks, x = [], 8
    for level, stage in enumerate(stages):
        y = height - rise * level - 8
        end = x + across * (len(stage.lessons) - 1)
        marks += [*_dots(course, stage, x, y, across), _label(f"{stage.name}  {stage.title}", end + 3, y - 9)]
        x = end + across
    for row, stage in enumerate(reversed(course.stages[len(stages) :])):
        x, y = width - 56, height - 8 - 20 * row
        marks += [*_dots(course, stage, x, y, across), _label(stage.title, x - 12, y + 4)]
    return f'<div class="climb"><svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(marks)}</svg></div>\n'


def _dots(course: Course, stage: Stage, x: int, y: int, across: int) -> Iterator[str]:
    for place, slug in enumerate(stage.slugs):
        dot = f'<circle cx="{x + across * place}" cy="{y}" r="2.9"/>'
        title = html.escape(name(course, slug))
        if slug in course.lessons:
            yield f'<g data-lesson="{slug}"><title>{title}</title>{dot}</g>'
        else:
            yield f"<g><title>{title}, not written yet</title>{dot}</g>"


def _label(text: str, x: int, y: int) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="end">{html.escape(text)}</text>'


def stage_list(course: Course) -> str:
    """The stages as a table of contents, each with its one sentence and how much of it is written."""
    rows = []
    for stage in course.stages:
        page = f"{stage.folder}/index.md"
        path = course.root / "docs" / page
        about = read_page(path, course.root, course.stages).front.get("description", "") if path.exists() else ""
        title = stage.title.removeprefix(f"Elective {stage.name}: ")
        title = f"[{title}]({page})" if path.exists() else title
        rows.append(f"<b>{stage.name}</b>{title}\n:   {about} <small>{written(course, stage)}</small>\n")
    return "\n".join(rows)


def written(course: Course, stage: Stage) -> str:
    done = sum(slug in course.lessons for slug in stage.slugs)
    every = f"{len(stage.slugs)} lessons"
    return every if done == len(stage.slugs) else f"{every}, {done or 'none'} written"


# The page of a stage


def stage_map(course: Course, stage: Stage) -> str:
    """The lessons in reading order, with arcs from each to those that build on it.

    Lessons of earlier stages that some lesson here builds on stand above the list.
    """
    needs = {slug: direct(course, slug) for slug in stage.slugs}
    earlier = [slug for slug in course.numbers if slug not in needs and any(slug in found for found in needs.values())]
    rows = [*earlier, *stage.slugs]
    arcs = [_arc(rows.index(needed), rows.index(slug)) for slug in stage.slugs for needed in needs[slug]]
    dots = [
        f'<circle class="{"written" if slug in course.lessons else "planned"}" '
        f'cx="{GUTTER}" cy="{ROW * at + ROW / 2}" r="3.6"/>'
        for at, slug in enumerate(rows)
    ]
    height = ROW * len(rows)
    picture = (
        f'<div class="arcs"><svg viewBox="0 0 {GUTTER + 8} {height}" aria-hidden="true">'
        f"{''.join(arcs)}{''.join(dots)}</svg></div>"
    )
    page = f"{stage.folder}/index"
    items = "\n".join(
        f"- {link(course, slug, page)}" + ("{ .earlier }" if slug in earlier and slug in course.lessons else "")
        for slug in rows
    )
    legend = "An arc leads from a lesson to one that builds on it. Grey ones are not written yet.\n{ .facts }"
    return f'<div class="map" markdown>\n\n{picture}\n\n{items}\n\n</div>\n\n{legend}\n'


def direct(course: Course, slug: str) -> list[str]:
    """The prerequisites of a lesson, without those that another of them builds on already."""
    if slug not in course.lessons:
        return []
    needed: list[str] = course.lessons[slug].front["prerequisites"]
    implied = {deeper for one in needed for deeper in ancestors(course, one)}
    return [one for one in needed if one not in implied]


def ancestors(course: Course, slug: str) -> set[str]:
    """All that a lesson stands on."""
    found: set[str] = set()
    ahead = [slug]
    while ahead:
        lesson = course.lessons.get(ahead.pop())
        new = set(lesson.front["prerequisites"]) - found if lesson else set()
        found |= new
        ahead += new
    return found


def _arc(above: int, below: int) -> str:
    """From one row to a later one: the further, the wider."""
    start, end = ROW * above + ROW / 2, ROW * below + ROW / 2
    reach = min(12 + 4 * (below - above), GUTTER - 4)
    pull = f"{GUTTER - reach * 4 / 3:.1f}"  # a curve goes three quarters of the way to where its handles are
    curve = f"M{GUTTER} {start}C{pull} {start} {pull} {end} {GUTTER} {end}"
    return f'<path data-from="{above}" data-to="{below}" d="{curve}"/>'


def lesson_cards(course: Course, stage: Stage) -> str:
    """What each lesson teaches, what it builds on, what it costs to run."""
    page = f"{stage.folder}/index"
    cards = []
    for slug in stage.slugs:
        if slug not in course.lessons:
            continue
        lesson = course.lessons[slug]
        facts = []
        if needed := ", ".join(link(course, one, page) for one in lesson.front["prerequisites"]):
            facts.append(f"After {needed}.")
        if kept := record.load(lesson, course.root):
            facts.append(f"{record.cpu_seconds(kept):.0f} CPU seconds.")
        aims = "\n".join(f"- {aim}" for aim in lesson.front["objectives"])
        cards.append(
            f"### {link(course, slug, page)}\n\n{lesson.front['description']}\n\n{aims}\n\n"
            f"{' '.join(facts)}\n{{ .facts }}\n"
        )
    return "## What each lesson teaches\n\n" + "\n".join(cards) if cards else ""
