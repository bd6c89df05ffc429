"""Weave: a lesson and its record become plain Markdown with outputs, for any site generator to render."""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from scripts import api, export, glossary, katex, mentions, record, stages
from scripts.course import Course, public_names
from scripts.parse import Block, Element, Inline, Lesson

NEEDS = {"cuda": "a CUDA GPU", "shakespeare": "the text of tiny Shakespeare", "triton": "Triton (Linux)"}
ARXIV = re.compile(r"(?<!\[)\barXiv[ :](\d{4}\.\d{4,5})\b")
TITLES = {"exercise": "Your turn", "check": "Check"}
FOLDS = {"solution": "Solution", "wrong": "An answer that the check rejects"}


class Weaver:
    """Weaves one lesson.

    Parameters
    ----------
    draft
        The record of a run still under way, for the preview; else the committed one is used.
    """

    def __init__(self, course: Course, lesson: Lesson, draft: record.Record | None = None) -> None:
        self.course, self.lesson = course, lesson
        self.record = draft or record.load(lesson, course.root)
        self.stale = [] if draft else record.why(course, lesson)
        self.entries = {entry["id"]: entry for entry in (self.record or {"elements": []})["elements"]}
        self.figures = 0

    def page(self) -> str:
        """The whole page: front matter, title, header line, objectives, and the woven parts."""
        head, *parts = self.lesson.parts if self.lesson.front else ("", *self.lesson.parts)
        if not (self.lesson.is_lesson or self.lesson.is_lab):
            return f"{head}{self.notice()}{''.join(map(self.part, parts))}"
        front = yaml.safe_dump(
            {"title": self.lesson.title, "description": self.lesson.front["description"]},
            allow_unicode=True,
            sort_keys=False,
        )
        woven = mentions.link("".join(map(self.part, parts)), self.course, self.lesson)
        return f"---\n{front}---\n\n# {self.lesson.title}\n\n{self.header()}{self.notice()}\n{woven}"

    def header(self) -> str:
        """What the reader wants to know before the first line."""
        facts = ["Lab" if self.lesson.is_lab else f"Lesson {self.course.numbers[self.lesson.slug]}"]
        if self.record:
            run = self.record["run"]
            facts.append(
                f'<span class="cost" title="{html.escape(run["device"])}, Python {run["python"]}, '
                f'torch {run["torch"]}, {run["date"]}">{record.cpu_seconds(self.record):.0f} CPU seconds '
                f"on {html.escape(short_device(run['device']))}</span>"
            )
        for module in self.lesson.modules:
            facts.append(f"[`{module}`]({api.link(self.course, module, self.lesson.slug)}){{ .name }}")
        lines = [f"{' '.join(facts)}\n{{ .lesson-meta }}"]
        slugs = self.lesson.front.get("prerequisites", [])
        if needed := ", ".join(stages.link(self.course, slug, self.lesson.slug) for slug in slugs):
            lines.append(f"After {needed}\n{{ .lesson-meta }}")
        lines.append(f"{self.downloads()}\n{{ .lesson-downloads }}")
        if aims := "\n".join(f"- {aim}" for aim in self.lesson.front.get("objectives", [])):
            lines.append(
                f'<div class="lesson-objectives" markdown>\n\nYou will be able to\n\n{aims}\n\n</div>',
            )
        return "\n\n".join(lines) + "\n\n"

    def downloads(self) -> str:
        """Links to the lesson as a notebook and as a script, and to Colab where the repository's address is known."""
        name = Path(self.lesson.slug).name
        kinds = {"Notebook": ".ipynb", "Script": ".py"} if self.lesson.is_lesson else {"Notebook": ".ipynb"}
        links = [f"[{kind}]({name}{suffix}){{ .download download }}" for kind, suffix in kinds.items()]
        if address := export.colab(f"{self.lesson.slug}.ipynb"):
            links.append(f"[Open in Colab]({address}){{ .colab }}")
        return " ".join(links)

    def notice(self) -> str:
        if not self.stale:
            return ""
        reasons = "".join(f"    - {reason}\n" for reason in self.stale[:5])
        command = f"make {'labs' if self.lesson.is_lab else 'lesson'} L={self.lesson.slug}"
        return (
            f'!!! stale "The outputs on this page are {"older than its code" if self.record else "missing"}"\n\n'
            f"{reasons}\n    Run `{command}`.\n\n"
        )

    def part(self, part: str | Block | Inline) -> str:
        if isinstance(part, str):
            return ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", part)
        if isinstance(part, Inline):
            return self.value(part)
        woven = self.fence(part) if self.folded(part) is None else ""
        outputs = self.outputs(part)
        if (title := self.folded(part)) is not None:
            kind = part.role if part.role in FOLDS else "fold"
            inside = self.fence(part) + (outputs if kind == "solution" else "")
            woven = f'??? {kind} "{title}"\n\n{_indented(inside, "    ")}'
            outputs = "" if kind == "solution" else outputs
        needs = self.needs_line(part) if "needs" in part.keys else ""
        return _indented(f"{needs}{woven}\n{outputs}".rstrip("\n") + "\n", part.indent)

    def folded(self, block: Block) -> str | None:
        """The title of the fold that the block stands in, if any; a wrong answer's first comment says what it is."""
        comment = re.search(r"(?:^|\s)# +(.+)", block.code)
        if block.role == "wrong" and comment:
            return f"The check rejects: {html.escape(_lower_first(comment[1].rstrip('.')))}"
        return block.keys.get("fold") or FOLDS.get(block.role or "")

    def fence(self, block: Block) -> str:
        """The block as a fence with what the highlighter knows: classes, a title, lines to mark."""
        keys, bar = [".python"], ""
        if block.module:
            keys.append(".module")
            bar = self.title_bar(block)
        elif block.role in TITLES:
            keys.append(f'.{block.role} title="{TITLES[block.role]}"')
        if marked := block.keys.get("hl_lines"):
            keys.append(f'hl_lines="{marked.replace(",", " ")}"')
        ticks = fence_for(block.code)
        return f"{bar}{ticks}{{{' '.join(keys)}}}\n{block.code}{ticks}\n"

    def title_bar(self, block: Block) -> str:
        """The name of the block's file: it leads to what the API says of the first name that the block defines."""
        file, module = block.keys["title"], str(block.module)
        names = public_names(block.code)
        target = api.link(self.course, f"{module}.{names[0]}" if names else module, self.lesson.slug)
        bar = f'[{file.removeprefix("src/")}]({target} "API: {", ".join(names) or module}")'
        if repository := export.repository():
            bar += f" [source]({repository}/blob/main/{file}){{ .source }}"
        return f"{bar}\n{{ .filename }}\n\n"

    def outputs(self, block: Block) -> str:
        return "".join(f"\n{self.output(output, block)}" for output in self.recorded(block))

    def recorded(self, element: Element) -> list[dict[str, str]]:
        """What the record holds for an element, if for this code of it."""
        entry = self.entries.get(element.id)
        outputs: list[dict[str, str]] = []
        if entry and entry["code"] == record.element_digest(element):
            outputs = entry["outputs"]
        return outputs

    def needs_line(self, block: Block) -> str:
        """What the block needs, and where its output was recorded: above the block, which stays one with its output."""
        needs = block.keys["needs"]
        run = self.entries.get(block.id, {}).get("run")
        if not run:
            return f'!!! needs "Needs {NEEDS[needs]}; no output is recorded yet"\n\n'
        old = (
            ""
            if run["key"] == record.run_key(self.lesson, self.course.root)
            else ", with an earlier version of this page"
        )
        return (
            f'!!! needs "Needs {NEEDS[needs]}. Recorded on {short_device(run["device"])}, '
            f'torch {run["torch"]}, {run["date"]}{old}"\n\n'
        )

    def output(self, output: dict[str, str], block: Block) -> str:
        ((kind, value),) = output.items()
        if kind == "figure":
            self.figures += 1
            source = os.path.relpath(f"records/{self.lesson.slug}/{value}", Path(self.lesson.slug).parent)
            caption = f"**Figure {self.figures}.** {block.keys['figure']}"
            alt = html.escape(block.keys["figure"])
            return (
                f'<figure class="plot" markdown>\n\n![{alt}]({source})\n\n'
                f'<figcaption markdown="span">{caption}</figcaption>\n\n</figure>\n'
            )
        if kind == "html":
            return f'<div class="output html">{" ".join(value.split())}</div>\n'
        ticks = fence_for(value)
        ending = "" if value.endswith("\n") else "\n"
        classes = ".text .output .error" if kind == "error" else ".text .output"
        return f"{ticks}{{{classes}}}\n{value}{ending}{ticks}\n"

    def value(self, inline: Inline) -> str:
        return "".join(output.get("value", "—") for output in self.recorded(inline)) or "—"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def fence_for(text: str) -> str:
    """Backticks enough to hold the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    return "`" * (longest + 1)


def short_device(name: str) -> str:
    """A device's name without marks, clock and noise."""
    name = re.sub(r"\((R|TM)\)|@.*|\bCPU\b|\b\d+-Core Processor\b", "", name)
    return " ".join(name.split()) or "CPU"


def _indented(text: str, indent: str) -> str:
    return "".join(indent + line if line.strip() else line for line in text.splitlines(keepends=True))


def navigation(course: Course) -> list[Any]:
    """The site's navigation: home, then the stages that have a page of their own or lessons, then the labs."""
    nav: list[Any] = [{"Home": "index.md"}]
    for folder, title in [*((stage.folder, stage.title) for stage in course.stages), ("labs", "Labs")]:
        pages: list[Any] = []
        if (course.root / "docs" / folder / "index.md").exists():
            pages.append(f"{folder}/index.md")
        written = [slug for slug in course.numbers if slug in course.lessons and slug.startswith(f"{folder}/")]
        pages += [{f"{course.numbers[slug]} {course.titles[slug]}": f"{slug}.md"} for slug in written]
        pages += [{lab.title: f"{slug}.md"} for slug, lab in course.labs.items() if slug.startswith(f"{folder}/")]
        if pages:
            nav.append({title: pages})
    if course.glossary:
        nav.append({"Glossary": "glossary.md"})
    return [*nav, {"API": api.navigation(course)}]


def fill(text: str, course: Course, page: str) -> str:
    """Put into the Markdown of a page what it leaves to the course: maps, titles of lessons, anchors of terms."""
    text = stages.fill(text, course, page)
    return glossary.anchored(text) if f"docs/{page}.md" == glossary.PATH else text


def weave_to(course: Course, folder: Path) -> int:
    """Write the woven site source to a folder, with an `mkdocs.yml` that needs no hook; return the page count."""
    docs = folder / "docs"
    shutil.copytree(course.root / "docs", docs, ignore=shutil.ignore_patterns("record.json", ".ipynb_checkpoints"))
    for slug, lab in course.labs.items():
        (docs / f"{slug}.md").write_text(Weaver(course, lab).page())
    for path in docs.rglob("*.md"):
        slug = path.relative_to(docs).as_posix().removesuffix(".md")
        text = Weaver(course, course.pages[slug]).page() if slug in course.pages else path.read_text()
        path.write_text(fill(text, course, slug))
    for name, text in api.pages(course).items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text)
    for lesson in [*course.lessons.values(), *course.labs.values()]:
        for suffix, text in export.exports(course, lesson).items():
            (docs / f"{lesson.slug}{suffix}").write_text(text)
    for name, content in katex.assets(course.root / "node_modules").items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_bytes(content)
    settings = yaml.load((course.root / "mkdocs.yml").read_text(), Loader=_Tagged)
    for key in ("hooks", "watch"):
        settings.pop(key, None)
    for part in ("overrides", "scripts/docstrings.py", "templates"):
        (folder / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (course.root / part).is_dir() else shutil.copy
        copy(course.root / part, folder / part)
    api.write_package(course, folder)
    settings["nav"] = navigation(course)
    (folder / "mkdocs.yml").write_text(yaml.dump(settings, Dumper=_TaggedDumper, sort_keys=False))
    return len(course.lessons)


class _Tagged(yaml.SafeLoader):
    """Reads `mkdocs.yml` and keeps its `!!python/name:…` tags as they are."""


class _TaggedDumper(yaml.SafeDumper):
    pass


class _Tag(str):
    pass


def _keep_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    return _Tag(node.tag)


def _default(loader: yaml.SafeLoader, node: Any) -> Any:
    """The default of a setting that the environment may give: `!ENV [NAME, default]`."""
    return loader.construct_sequence(node)[-1]


_Tagged.add_multi_constructor("tag:yaml.org,2002:python/", _keep_tag)
_Tagged.add_constructor("!ENV", _default)
_TaggedDumper.add_representer(_Tag, lambda dumper, tag: dumper.represent_scalar(str(tag), ""))
