"""The preview: an edit runs what it must and nothing else."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from scripts import live, record
from scripts.live import Preview
from tests.conftest import Scratch

PAGE = """\
Prose.

```python
open({runs!r}, "a").write("x")
first = 1
print("first", first)
```

```python
print("second", first + 1)
```

```python
print("third", first + 2)
```
"""


@pytest.fixture
def preview(scratch: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    runs = tmp_path_factory.mktemp("runs") / "of the first block"
    scratch.page("0-one/first", PAGE.format(runs=str(runs)))
    made = Preview("0-one/first", scratch.root)
    made.first_block_runs = lambda: len(runs.read_text())
    settle(made)
    yield made
    if made.live:
        made.live.close()


def settle(preview: Preview) -> None:
    """Let the preview take in an edit and run it."""
    preview.look()
    while preview.unsaved or (preview.live and not preview.live.idle):
        preview.step()


def outputs(preview: Preview) -> list[str]:
    entries = json.loads((preview.draft / "record.json").read_text())["elements"]
    texts = []
    for entry in entries:
        pieces = [value for output in entry["outputs"] for value in output.values()]
        texts.append("".join(piece if isinstance(piece, str) else "".join(piece) for piece in pieces))
    return texts


def edit(preview: Preview, old: str, new: str) -> None:
    text = preview.path.read_text()
    assert old in text
    preview.path.write_text(text.replace(old, new))


def test_the_first_look_runs_all_and_records(preview: Preview):
    assert outputs(preview) == ["first 1\n", "second 2\n", "third 3\n"]
    assert preview.lesson and record.load(preview.lesson, preview.root)


def test_an_edit_of_a_block_runs_it_and_those_after_it_only(preview: Preview):
    edit(preview, '"second", first', '"zweitens", first')
    settle(preview)
    assert preview.first_block_runs() == 1
    assert outputs(preview) == ["first 1\n", "zweitens 2\n", "third 3\n"]
    edit(preview, "first = 1", "first = 10")
    settle(preview)
    assert preview.first_block_runs() == 2
    assert outputs(preview) == ["first 10\n", "zweitens 11\n", "third 12\n"]


def test_an_edit_of_the_prose_runs_nothing(preview: Preview):
    assert preview.live
    tip = preview.live.tip
    edit(preview, "Prose.", "Other prose.\n\nAnd more.")
    settle(preview)
    assert preview.live.tip == tip
    assert [result.element.line for result in preview.results] == [12, 18, 22]


def test_a_renamed_heading_runs_nothing_and_is_recorded(preview: Preview):
    assert preview.live
    tip = preview.live.tip
    edit(preview, "Prose.", "## A heading")
    settle(preview)
    assert preview.live.tip == tip and preview.lesson
    made = record.load(preview.lesson, preview.root)
    assert made and [entry["id"] for entry in made["elements"]] == [f"a-heading-{n}" for n in (1, 2, 3)]


def test_a_block_must_not_write_to_the_repository_here_either(preview: Preview):
    edit(preview, "first + 2)", f"open({str(preview.path)!r}, 'w'))")
    settle(preview)
    assert "PermissionError" in outputs(preview)[2] and preview.path.read_text()


def test_a_failed_block_shows_its_error_and_mending_it_goes_on(preview: Preview):
    edit(preview, "first + 1", "first / 0")
    settle(preview)
    assert outputs(preview)[0] == "first 1\n"
    assert "ZeroDivisionError" in outputs(preview)[1] and outputs(preview)[2] == ""
    edit(preview, "first / 0", "first + 1")
    settle(preview)
    assert preview.first_block_runs() == 1
    assert outputs(preview) == ["first 1\n", "second 2\n", "third 3\n"]


def test_blocks_added_and_removed(preview: Preview):
    edit(preview, '```python\nprint("third"', "```python\nprint('between')\n```\n\n```python\nprint(\"third\"")
    settle(preview)
    assert preview.first_block_runs() == 1
    assert outputs(preview) == ["first 1\n", "second 2\n", "between\n", "third 3\n"]
    edit(preview, "```python\nprint('between')\n```\n\n", "")
    settle(preview)
    assert outputs(preview) == ["first 1\n", "second 2\n", "third 3\n"]
    preview.path.write_text(preview.path.read_text() + "\n```python\nprint('last', first)\n```\n")
    settle(preview)
    assert outputs(preview)[-1] == "last 1\n"


def test_a_malformed_edit_is_said_and_changes_nothing(preview: Preview, capsys):
    edit(preview, '```python\nprint("third"', '```py\nprint("third"')
    settle(preview)
    assert "docs/0-one/first.md:20: " in capsys.readouterr().out
    assert outputs(preview) == ["first 1\n", "second 2\n", "third 3\n"]


def test_the_page_says_why_a_save_cannot_be_read_until_it_is_mended(preview: Preview):
    good = preview.path.read_text()
    preview.path.write_text(good + "```py\n1\n```\n")
    settle(preview)
    fault = (preview.draft / live.FAULT).read_text()
    assert fault.startswith("docs/0-one/first.md:") and "```py would never run" in fault
    preview.path.write_text(good + "Mended.\n")
    settle(preview)
    assert not (preview.draft / live.FAULT).exists()


def test_an_edit_while_a_block_runs_starts_again_from_there(preview: Preview):
    edit(preview, "first + 2)", "first + 2)\nimport time\ntime.sleep(30)")
    preview.look()
    for _ in range(5):
        preview.step()
    edit(preview, "time.sleep(30)", "print('awake')")
    settle(preview)
    assert outputs(preview)[-1] == "third 3\nawake\n"


def shown(address: str, text: str) -> bool:
    """Whether a page comes to show a text, within a time that a busy machine may need."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address) as page:
            if text in page.read().decode():
                return True
        time.sleep(0.1)
    return False


def test_the_command_serves_edits_beside_another_server_and_leaves_no_process_behind(scratch: Scratch):
    path = scratch.page("0-one/first", "Prose.\n\n```python\nprint('one')\n```\n")
    scratch.with_engine()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        command = subprocess.Popen(
            [sys.executable, "-m", "scripts", "lesson", "0-one/first", "--address", f"127.0.0.1:{taken}"],
            cwd=scratch.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert command.stdout
        address = command.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:") and f":{taken}/" not in address
    assert shown(address, "one")
    for old, new in [("Prose.", "Other prose."), ("'one'", "'two'"), ("'two'", "'three'")]:
        path.write_text(path.read_text().replace(old, new))
        assert shown(address, new.strip("'"))
    good = path.read_text()
    path.write_text(good.replace("Other", "Lost"))  # on its way to the page when the next save comes
    path.write_text(good + "~~~py\n1\n~~~\n")
    assert shown(address, "Python fences are written with backticks")
    path.write_text(good + "Mended.\n")
    assert shown(address, "Mended.")
    started = psutil.Process(command.pid).children(recursive=True)
    assert len(started) >= 2  # the site's server, and the lesson's process
    command.terminate()
    command.wait(timeout=120)
    command.stdout.close()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_where_no_port_is_free_the_address_to_give_is_named(monkeypatch):
    monkeypatch.setattr(live, "PORTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(SystemExit, match=f"no free port from 127.0.0.1:{taken} on; .*--address"):
            live.free(f"127.0.0.1:{taken}")
