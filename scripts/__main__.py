"""The command line: ``python -m scripts <verb>``; the Makefile has a line for each."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.course import ROOT, Course, load
from scripts.parse import Lesson, LessonError

if TYPE_CHECKING:
    from scripts import run


SHOWN = 8  # reasons of one lesson; more say no more


def main() -> int:
    arguments = parser().parse_args()
    try:
        return int(arguments.verb(arguments) or 0)
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"{error}; nothing that was recorded before is lost", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m scripts", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="verb")

    def verb(name: str, action: object, about: str, *lesson: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(verb=action)
        for nargs in lesson:
            default = "" if nargs == "?" else []  # none named: `Course.slug` says what to type
            sub.add_argument("lesson", nargs=nargs, default=default, help="such as 1-training/momentum")
        return sub

    tangling = verb("tangle", tangle_, "write src/course from the lessons")
    tangling.add_argument("--force", action="store_true", help="overwrite modules that were edited by hand")
    verb("untangle", untangle_, "carry hand edits of src/course back into the lessons")
    recording = verb(
        "record",
        record_,
        "run the lessons whose record is stale, or those named, and record them",
        "*",
    )
    recording.add_argument("--all", action="store_true", help="run every lesson")
    recording.add_argument("--no-write", dest="write", action="store_false", help="run only; keep the records")
    recording.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="lessons side by side")
    labs = verb(
        "lab", lab_, "run the labs whose outputs are stale, or those named, and keep their outputs in place", "*"
    )
    labs.add_argument("--all", action="store_true", help="run every lab")
    verb("why", why_, "say what makes a record stale", "*")
    planting = verb(
        "mutate", mutate_, "plant bugs in a lesson's code, one at a time, and name those that no block sees", "*"
    )
    planting.add_argument("--most", type=int, default=20, help="bugs for each lesson")
    planting.add_argument("--seed", type=int, default=0, help="which ones")
    planting.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    verb("check", check_, "all checks that run no lesson")
    live = verb("lesson", lesson_, "preview a lesson while you write it", "?")
    serving = verb("serve", serve_, "serve the whole site, built from the records")
    for sub in (live, serving):
        sub.add_argument("--address", default="127.0.0.1:8000", help="where a port is taken, the next free one is used")
    verb("new", new_, "begin a lesson", "?")
    weaving = verb("weave", weave_, "write the woven Markdown of the whole site to a folder")
    weaving.add_argument("folder", type=Path)
    exporting = verb("export", export_, "write a lesson as a notebook and as a script", "?")
    exporting.add_argument("--to", type=Path, default=Path("."))
    return top


def chosen(course: Course, names: list[str]) -> list[Lesson]:
    return [course.named(name) for name in names] or list(course.pages.values())


def tangle_(arguments: argparse.Namespace) -> int:
    from scripts import tangle

    changes = tangle.tangle(load(), force=arguments.force)
    for name in changes.written:
        print(f"wrote {name}")
    for name in changes.removed:
        print(f"removed {name}: no lesson owns it")
    for fault in changes.by_hand:
        print(fault, file=sys.stderr)
    return 1 if changes.by_hand else 0


def untangle_(arguments: argparse.Namespace) -> int:
    from scripts import tangle

    for path in tangle.untangle(load()):
        print(f"updated {path}")
    tangle.tangle(load(), force=True)
    return 0


def record_(arguments: argparse.Namespace) -> int:
    from scripts import record, run, tangle

    course = load()
    if tangle.tangle(course).by_hand:
        return tangle_(argparse.Namespace(force=False))
    lessons = chosen(course, arguments.lesson)
    if not arguments.lesson and not arguments.all:
        lessons = [lesson for lesson in lessons if record.why(course, lesson)]
    print(f"{len(lessons)} to run, of {len(course.pages)} pages", flush=True)
    options = run.Options(ROOT)
    results: dict[str, dict[str, run.Result]] = {lesson.path: {} for lesson in lessons}
    bad: list[str] = []
    ended = 0
    for lesson, result in run.run(lessons, options, jobs=arguments.jobs):
        own = results[lesson.path]
        if result:
            own[result.element.id] = result
            if result.status == "failed":
                print(f"\n{result.error}\n", file=sys.stderr, flush=True)
            continue
        ended += 1
        if any(one.status in ("failed", "blocked") for one in own.values()):
            bad.append(lesson.path)
        elif arguments.write:
            files = record.build(lesson, list(own.values()), ROOT, options.data[lesson.path])
            record.write(record.folder(lesson, ROOT), files)
        say(lesson, own, ended, len(lessons))
    slowest(results)
    if bad:
        names = " ".join(path.removeprefix("docs/").removesuffix(".md") for path in bad)
        print(f"failed, and their records stay as they were: {', '.join(bad)}", file=sys.stderr)
        print(f'next: edit the lines named above; make record L="{names}"', file=sys.stderr)
    return 1 if bad else 0


def say(lesson: Lesson, results: dict[str, run.Result], ended: int, of: int) -> None:
    counts = Counter(result.status for result in results.values())
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    seconds = sum(result.cpu for result in results.values())
    print(f"[{ended}/{of}] {lesson.slug}: {summary}, {seconds:.1f} CPU s", flush=True)


def slowest(results: dict[str, dict[str, run.Result]], most: int = 10) -> None:
    """A table of the blocks that took longest."""
    rows = [
        (result.cpu, f"{path}:{result.element.line}", name)
        for path, own in results.items()
        for name, result in own.items()
    ]
    if rows:
        print("\nslowest blocks (CPU s)")
    for seconds, place, name in sorted(rows, reverse=True)[:most]:
        print(f"{seconds:8.2f}  {place}  {name}")


def mutate_(arguments: argparse.Namespace) -> int:
    from scripts import mutate

    planted = [
        mutant
        for lesson in chosen(load(), arguments.lesson)
        for mutant in mutate.mutants(lesson, arguments.most, arguments.seed)
    ]
    caught = 0
    for done, (mutant, place) in enumerate(mutate.test(planted, ROOT, arguments.jobs), 1):
        caught += bool(place)
        print(f"[{done}/{len(planted)}] {f'caught at {place}' if place else 'SURVIVED'}: {mutant}", flush=True)
    print(f"{caught} of {len(planted)} caught")
    if caught < len(planted):
        print("next: for each that survived, add an assert that it breaks, or see that it changes nothing")
    return int(caught < len(planted))


def lab_(arguments: argparse.Namespace) -> int:
    from scripts import lab

    course = load()
    labs = [course.lab(name) for name in arguments.lesson] or list(course.labs.values())
    if not arguments.lesson and not arguments.all:
        labs = [one for one in labs if lab.why(course, one)]
    print(f"{len(labs)} to run, of {len(course.labs)} labs", flush=True)
    bad: list[str] = []
    for one in labs:
        try:
            book, results = lab.run(one, ROOT)
        except LessonError as error:
            print(f"\n{error}\n", file=sys.stderr, flush=True)
            bad.append(one.path)
            continue
        became = "written" if lab.write(one, book, results, ROOT) else "unchanged"
        seconds = sum(result.cpu for result in results)
        print(f"{one.path}: {len(results)} cells, {seconds:.1f} CPU s, {became}", flush=True)
    if bad:
        print(f"failed: {', '.join(bad)}; they stay as they were", file=sys.stderr)
    return 1 if bad else 0


def why_(arguments: argparse.Namespace) -> int:
    from scripts import record

    course = load()
    stale = False
    for lesson in chosen(course, arguments.lesson):
        reasons = record.why(course, lesson)
        stale = stale or bool(reasons)
        print(f"{lesson.slug}: {'fresh' if not reasons else 'stale'}")
        for reason in reasons[:SHOWN]:
            print(f"  {reason}")
        if len(reasons) > SHOWN:
            print(f"  and {len(reasons) - SHOWN} more")
    if stale:
        print("next: make record")
    return 0


def check_(arguments: argparse.Namespace) -> int:
    from scripts import check

    return 0 if check.check(load()) else 1


def lesson_(arguments: argparse.Namespace) -> int:
    from scripts import live

    return live.serve(load().named(arguments.lesson).slug, arguments.address)


def serve_(arguments: argparse.Namespace) -> int:
    from scripts import live

    address = live.free(arguments.address)
    print(f"building the site; it is then at http://{address}/ (Ctrl-C ends)", flush=True)
    command = live.site_server(address)
    os.execv(command[0], command)


def new_(arguments: argparse.Namespace) -> int:
    from scripts import new

    path = new.new(load(), arguments.lesson).relative_to(ROOT)
    slug = str(path).removeprefix("docs/").removesuffix(".md")
    print(f"wrote {path}; now: make lesson L={slug}")
    return 0


def weave_(arguments: argparse.Namespace) -> int:
    from scripts import weave

    count = weave.weave_to(load(), arguments.folder)
    print(f"wove {count} lessons to {arguments.folder}")
    return 0


def export_(arguments: argparse.Namespace) -> int:
    from scripts import export

    course = load()
    lesson = course.named(arguments.lesson)
    arguments.to.mkdir(parents=True, exist_ok=True)
    for suffix, text in export.exports(course, lesson).items():
        path = arguments.to / (Path(lesson.slug).name + suffix)
        path.write_text(text)
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
