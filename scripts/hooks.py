"""The MkDocs hook: lessons are woven, formulas rendered, figures put into the page. No code of a lesson runs.

With `COURSE_LESSON` set (see `scripts.live`), only that lesson is built, from its draft.
"""

from __future__ import annotations

import html as htmllib
import json
import os
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from jinja2 import Environment, FileSystemBytecodeCache
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import CombinedEvent, event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from watchdog.observers.polling import PollingObserver

from scripts import api, export, figures, katex, record, weave
from scripts.course import ROOT, Course, load
from scripts.parse import Lesson, LessonError

log = get_plugin_logger("course")
API_STYLE = "assets/_mkdocstrings.css"  # mkdocstrings writes it at the end of a build
PLAIN = re.compile(r'<span class="[nw]">([^<]*)</span>')  # names and spaces in code, which no style marks
PLOT = re.compile(r'<img alt="(?P<alt>[^"]*)" src="(?P<source>[^"]*records/[^"]*/figure-\d+\.svg)"\s*/?>')
TYPE = re.compile(r'<span title="[\w.]+">([^<]*)</span>')  # a tooltip `int` on int, as autorefs leaves them

course: Course
formulas = katex.Katex(ROOT / ".cache" / "katex", ROOT / "node_modules")
only = os.environ.get("COURSE_LESSON")


@event_priority(50)  # before mkdocstrings looks for the package
def _read(config: MkDocsConfig) -> None:
    global course
    try:
        course = load(ROOT)
    except LessonError as error:
        if not (only and "course" in globals()):  # a preview goes on with what it read before
            raise PluginError(str(error)) from None
    if only:
        config.plugins["mkdocstrings"].config.enabled = False
    else:
        api.write_package(course, ROOT)


def _settings(config: MkDocsConfig) -> MkDocsConfig:
    config.nav = weave.navigation(course)
    if only:
        config.nav = [f"{only}.md"]
    else:
        mkdocstrings: Any = config.plugins["mkdocstrings"]
        mkdocstrings.get_handler("python").env.bytecode_cache = compiled_templates()
    if repository := export.repository():
        config.repo_url, config.repo_name, config.edit_uri = repository, "Repository", "edit/main/docs/"
    if not config.use_directory_urls:  # a site that is opened from a disk: its pages cannot fetch one another
        config.extra["polyfills"] = ["assets/iframe-worker.js"]
        config.theme["features"].remove("navigation.instant")
    return config


on_config = CombinedEvent(_read, _settings)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in `docs/`: the downloads of each lesson, KaTeX's stylesheet, the fonts."""
    for path, content in katex.assets(ROOT / "node_modules").items():
        files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, "assets/site.css", content=stylesheet(files, config)))
    config.extra_css = ["assets/site.css"]
    for file in list(files.documentation_pages()):
        if only and file.src_uri != f"{only}.md":
            files.remove(file)
    for lesson in [course.pages[only]] if only else [*course.lessons.values(), *course.labs.values()]:
        for suffix, text in export.exports(course, lesson).items():
            replace(files, File.generated(config, f"{lesson.slug}{suffix}", content=text))
        if lesson.is_lab:
            files.append(File.generated(config, f"{lesson.slug}.md", content=""))  # woven when it is read
    if not only:
        for path, text in api.pages(course).items():
            files.append(File.generated(config, path, content=text))
    return files


def replace(files: Files, file: File) -> None:
    if known := files.get_file_from_path(file.src_uri):
        files.remove(known)
    files.append(file)


def stylesheet(files: Files, config: MkDocsConfig) -> str:
    """The site's stylesheets as one: each of them would hold up the first paint by a request of its own."""

    def relocated(path: str) -> str:
        if path == API_STYLE:
            mkdocstrings: Any = config.plugins["mkdocstrings"]
            return str(mkdocstrings.get_handler("python").extra_css)
        file = files.get_file_from_path(path)
        if not file:
            raise PluginError(f"mkdocs.yml: extra_css names {path}, which is not there")
        folder = posixpath.relpath(posixpath.dirname(path), "assets")
        return re.sub(r"""url\((["']?)(?!["']?(?:data:|#))""", rf"url(\g<1>{folder}/", file.content_string)

    return "\n".join(map(relocated, config.extra_css))


def on_env(env: Environment, config: MkDocsConfig, files: Files) -> Environment:
    """Keep the theme's compiled templates: to compile them is a third of a small build."""
    env.bytecode_cache = compiled_templates()
    return env


def compiled_templates() -> FileSystemBytecodeCache:
    folder = ROOT / ".cache" / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemBytecodeCache(str(folder))


def on_serve(server: LiveReloadServer, config: MkDocsConfig, builder: Callable[..., None]) -> LiveReloadServer:
    """For a preview, build when its draft changes and at nothing else: it holds the edit and what came of it."""
    if only:
        server.unwatch(config.docs_dir)
        server.unwatch(str(config.config_file_path))
        config.watch = [str(draft_folder().parent)]
        server.observer = PollingObserver(timeout=0.1)
    return server


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    lesson = lesson_of(page)
    if not lesson:
        return None
    weaver = weave.Weaver(course, lesson, draft())
    if weaver.stale and not only:
        log.warning(
            "%s: its record is stale (%s); run: %s",
            lesson.path,
            weaver.stale[0],
            record.command(lesson),
        )
    return weaver.page()


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return fault() + weave.fill(markdown, course, page.file.src_uri.removesuffix(".md"))


def fault() -> str:
    """In a preview whose last save cannot be read, what is wrong with it."""
    path = draft_folder() / "fault.txt"
    if not (only and path.exists()):
        return ""
    return f'!!! failure "The page is as before the last save"\n\n    {htmllib.escape(path.read_text())}\n\n'


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    try:
        return formulas.prepare(PLAIN.sub(r"\1", html))
    except katex.KatexError as error:
        raise PluginError(f"{place_of(error.tex, page)}: {error}") from None


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Put in the formulas and the figures: now, so that the search index has not had to read them."""

    def inline(match: re.Match[str]) -> str:
        place = (ROOT / "docs" / page.file.src_uri).parent / _from_page(match["source"], page)
        svg = draft_figures().get(place.name) or place.read_text()
        return figures.inline(svg, match["alt"])

    output = PLOT.sub(inline, formulas.render(output))
    return TYPE.sub(r"\1", output) if page.file.src_uri.startswith("api/") else output


def _from_page(source: str, page: Page) -> str:
    """A link of the built page, which may be a folder deeper than its source, as one of the source."""
    return source.removeprefix("../") if page.file.use_directory_urls else source


def lesson_of(page: Page) -> Lesson | None:
    slug = page.file.src_uri.removesuffix(".md")
    return course.pages.get(slug) or course.labs.get(slug)


def place_of(tex: str, page: Page) -> str:
    """The file and the line of a formula."""
    first = htmllib.unescape(tex).strip().splitlines()[0].strip()
    lesson, path = lesson_of(page), page.file.src_uri
    text = str(lesson) if lesson else page.file.content_string
    if lesson and lesson.is_lab:
        path, first = lesson.path.removeprefix("docs/"), json.dumps(first, ensure_ascii=False)[1:-1]
        text = (ROOT / "docs" / path).read_text()
    return f"docs/{path}:{text[: max(text.find(first), 0)].count(chr(10)) + 1}"


def draft() -> record.Record | None:
    """The record of the preview's run, which may be under way."""
    return record.read(draft_folder()) if only else None


def draft_figures() -> dict[str, str]:
    return {path.name: path.read_text() for path in draft_folder().glob("*.svg")} if only else {}


def draft_folder() -> Path:
    return ROOT / ".cache" / "draft" / str(only)
