"""Weaving, exporting and building: from records to pages, without running a block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from scripts import export, weave
from scripts.parse import parse
from tests.conftest import FRONT, Scratch

PAGE = """\
The maths is $e^{i\\pi} + 1 = 0$, and

$$
\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2} .
$$

## Words

```python title="src/course/data/words.py" hl_lines="2"
def words(text: str) -> list[str]:
    return text.split()
```

```python
print("three", *words("a b"))
print("```")
```

There are `{python} len(words("a b"))` words.

```python figure="A <line> that rises."
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot([1, 2], label="up")
ax.set_xlabel("step")
```

```python fold="The second figure" figure="Another."
plt.plot([2, 1]);
```

```python raises="ValueError"
raise ValueError("wrong")
```

```python needs="cuda"
print("fast")
```

!!! note "In a box"

    ```python
    print("inside")
    ```

```python exercise="add"
def add(a, b):
    ...
```

```python check="add"
assert add(1, 2) == 3
```

```python solution="add"
def add(a, b):
    return a + b
print(add(1, 2))
```

```python wrong="add"
# A sign turned round.
def add(a, b):
    return a - b
```
"""


@pytest.fixture
def page(scratch: Scratch) -> Scratch:
    scratch.page("0-one/first", PAGE)
    scratch.record()
    return scratch


def woven(scratch: Scratch, slug: str = "0-one/first") -> str:
    course = scratch.load()
    return weave.Weaver(course, course.lessons[slug]).page()


def test_a_woven_page_shows_each_output_below_its_block(page: Scratch):
    text = woven(page)
    assert "# First\n" in text and "- two\n" in text
    assert "[course/data/words.py](../api/data/words.md#course.data.words.words " in text
    assert '```{.python .module hl_lines="2"}\n' in text
    assert "````{.text .output}\nthree a b\n```\n````\n" in text
    assert "There are 2 words." in text
    assert "![A &lt;line&gt; that rises.](../records/0-one/first/figure-1.svg)" in text
    assert "**Figure 1.** A <line> that rises." in text and "**Figure 2.** Another." in text
    assert '??? fold "The second figure"\n\n    ```{.python}\n    plt.plot([2, 1]);\n    ```\n' in text
    assert "```{.text .output .error}\nValueError: wrong\n```" in text
    assert '!!! needs "Needs a CUDA GPU; no output is recorded yet"' in text
    assert "    ```{.text .output}\n    inside\n    ```\n" in text
    assert '??? solution "Solution"' in text and "    ```{.text .output}\n    3\n    ```\n" in text
    assert '??? wrong "The check rejects: a sign turned round"' in text
    assert "{python}" not in text and "stale" not in text


def test_a_stale_or_missing_record_is_shown_plainly(page: Scratch):
    page.page("0-one/first", PAGE.replace('"three"', '"four"'))
    text = woven(page)
    assert '!!! stale "The outputs on this page are older than its code"' in text
    assert "three a b" not in text  # no output beside code that did not print it
    page.page("0-one/second", "```python\nprint(1)\n```\n")
    assert '!!! stale "The outputs on this page are missing"' in woven(page, "0-one/second")


def test_a_stale_page_keeps_its_front_matter_first(page: Scratch):
    (page.root / "docs" / "index.md").write_text("---\nhide: [toc]\n---\n\n# Home\n\n```python\nprint(1)\n```\n")
    course = page.load()
    text = weave.Weaver(course, course.pages["index"]).page()
    assert text.startswith("---\nhide: [toc]\n---\n") and "!!! stale" in text


def test_the_site_builds_with_outputs_formulas_and_downloads(page: Scratch):
    page.page("0-one/second", "Text.\n").write_text(
        FRONT.format(title="Second").replace("prerequisites: []", "prerequisites: [0-one/first, 1-two/third]")
        + "After the first.\n"
    )
    page.record("0-one/second")
    done = page.with_engine().command("mkdocs", "build", "--strict")
    assert done.returncode == 0, done.stderr
    site = page.root / "site"
    html = (site / "0-one/first/index.html").read_text()
    assert html.count('class="katex"') == 2 and 'class="katex-display"' in html
    assert html.count('role="img" aria-label=') == 2 and "var(--fig-0" in html
    assert "<img" not in re.sub(r"<img[^>]*logo[^>]*>", "", html)
    notebook = nbformat.reads((site / "0-one/first.ipynb").read_text(), as_version=4)
    nbformat.validate(notebook)
    assert (site / "0-one/first.py").exists()
    second = (site / "0-one/second/index.html").read_text()
    assert 'href="../first/"' in second and "1.1 Third" in second
    assert "2 lessons, none written" in (site / "index.html").read_text()


def test_no_page_asks_another_host_for_anything(page: Scratch):
    page.with_engine().command("mkdocs", "build", "--strict")
    for path in (page.root / "site").rglob("*"):
        if path.suffix == ".html":
            loads = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:)?//[^"]*"', path.read_text())
            assert loads == [], path
        if path.suffix == ".css":
            assert not re.search(r"url\([\"']?(https?:)?//", path.read_text()), path


def test_the_stylesheets_are_one_and_find_their_fonts(page: Scratch):
    page.with_engine().command("mkdocs", "build", "--strict")
    html = (page.root / "site/0-one/first/index.html").read_text()
    assert re.findall(r'<link rel="stylesheet" href="([^"]*)">', html)[1:][1:] == ["../../assets/site.css"]
    css = (page.root / "site/assets/site.css").read_text()
    assert ".katex" in css and "content-visibility" in css
    for url in re.findall(r"""url\(["']?(?!data:|["']data:|#)([^"')]+)""", css):
        assert (page.root / "site/assets" / url).exists(), url


def test_a_stylesheet_that_is_not_there_is_an_error(page: Scratch):
    settings = page.with_engine().root / "mkdocs.yml"
    settings.write_text(settings.read_text().replace("assets/fonts.css\n", "assets/gone.css\n"))
    done = page.command("mkdocs", "build")
    assert done.returncode == 1 and "extra_css names assets/gone.css, which is not there" in done.stderr


def test_names_and_spaces_in_code_need_no_element(page: Scratch):
    page.with_engine().command("mkdocs", "build", "--strict")
    html = (page.root / "site/0-one/first/index.html").read_text()
    assert (
        '<span class="k">def</span> <span class="nf">words</span><span class="p">(</span>text<span class="p">:' in html
    )


def test_a_formula_that_katex_rejects_is_an_error_at_its_line(page: Scratch):
    path = page.page("0-one/first", PAGE.replace("\\frac{n(n+1)}{2}", "\\frac{n(n+1)"))
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "\\sum" in text)
    done = page.with_engine().command("mkdocs", "build", "--no-strict")
    assert done.returncode == 1
    assert f"0-one/first.md:{line}: " in done.stderr and "expected '}'" in done.stderr


def test_a_stale_record_fails_the_strict_build_only(page: Scratch):
    page.page("0-one/first", PAGE.replace('"three"', '"four"'))
    page.with_engine()
    strict = page.command("mkdocs", "build", "--strict")
    assert strict.returncode == 1
    assert "docs/0-one/first.md: its record is stale" in strict.stderr
    assert "make record L=0-one/first" in strict.stderr
    assert page.command("mkdocs", "build", "--no-strict").returncode == 0


def test_a_malformed_lesson_fails_the_build_with_its_line(page: Scratch):
    page.page("0-one/first", "```py\nx = 1\n```\n")
    done = page.with_engine().command("mkdocs", "build")
    assert done.returncode == 1 and "docs/0-one/first.md:8: " in done.stderr


def test_zensical_builds_the_woven_folder(page: Scratch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("woven")
    done = page.with_engine().command("scripts", "weave", str(folder))
    assert done.returncode == 0, done.stderr
    assert "hooks" not in (folder / "mkdocs.yml").read_text()
    built = subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    html = (folder / "site/0-one/first/index.html").read_text()
    assert "three a b" in html and "figure-1.svg" in html
    assert (folder / "site/0-one/first.ipynb").exists()
    assert 'href="../../api/data/words/#course.data.words.words"' in html
    assert 'id="course.data.words.words"' in (folder / "site/api/data/words/index.html").read_text()


def test_a_notebook_runs_from_top_to_bottom_with_the_package_alone(page: Scratch, tmp_path):
    course = page.load()
    made = export.notebook(course, course.lessons["0-one/first"])
    nbformat.validate(made)
    NotebookClient(made, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    outputs = {cell.source.splitlines()[0]: cell.outputs for cell in code}
    check = next(
        cell for cell in code if "raises-exception" in cell.metadata.get("tags", []) and "assert" in cell.source
    )
    assert check.outputs[0].ename == "AssertionError"  # unsolved: the check says so
    assert code[-1].source == check.source and code[-1].outputs == []  # solved: it passes
    assert "three a b" in outputs['print("three", *words("a b"))'][0].text
    texts = "".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert "There are 2 words." in texts and "a - b" not in texts


def test_a_block_that_needs_something_and_raises_is_tagged_once(scratch: Scratch):
    scratch.page("0-one/first", '```python needs="triton" raises="ValueError"\nint("x")\n```\n')
    course = scratch.load()
    made = export.notebook(course, course.lessons["0-one/first"])  # validates: a tag twice is an error
    assert made.cells[-1].metadata.tags == ["needs-triton", "raises-exception"]


def test_a_script_runs_through(page: Scratch, tmp_path):
    course = page.load()
    path = tmp_path / "first.py"
    path.write_text(export.exports(course, course.lessons["0-one/first"])[".py"])
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    assert "three a b" in done.stdout and "ValueError wrong" in done.stdout


def test_exports_are_the_same_bytes_each_time(page: Scratch):
    course = page.load()
    lesson = course.lessons["0-one/first"]
    assert export.exports(course, lesson) == export.exports(course, lesson)
    json.loads(export.exports(course, lesson)[".ipynb"])


def test_papers_on_arxiv_are_linked_once(scratch: Scratch):
    page = scratch.page(
        "0-one/first", "See arXiv 1706.03762, or [arXiv 2205.14135](https://arxiv.org/abs/2205.14135).\n"
    )
    assert page.exists()
    text = woven(scratch)
    assert "[arXiv 1706.03762](https://arxiv.org/abs/1706.03762), or" in text
    assert text.count("abs/2205.14135") == 1


def test_links_to_repository_and_colab_are_there_where_the_address_is_known(page: Scratch, monkeypatch):
    assert "Colab" not in woven(page)
    monkeypatch.setenv("COURSE_REPOSITORY", "https://github.com/owner/name/")
    assert "(https://colab.research.google.com/github/owner/name/blob/gh-pages/0-one/first.ipynb)" in woven(page)
    page.with_engine().command("mkdocs", "build", "--strict")
    html = (page.root / "site/0-one/first/index.html").read_text()
    assert 'href="https://github.com/owner/name/edit/main/docs/0-one/first.md"' in html
    assert 'data-md-component="source"' not in html  # it would ask another host
    monkeypatch.setenv("COURSE_REPOSITORY", "https://example.org/owner/name")
    assert "Colab" not in woven(page)


def test_the_site_for_a_disk_links_files_and_brings_its_own_search_shim(page: Scratch, monkeypatch):
    monkeypatch.setenv("OFFLINE", "true")
    done = page.with_engine().command("mkdocs", "build", "--strict")
    assert done.returncode == 0, done.stderr
    html = (page.root / "site/0-one/first.html").read_text()
    assert 'href="first.ipynb"' in html and 'src="../assets/iframe-worker.js"' in html and "unpkg" not in html
    assert (page.root / "site/search/search_index.js").exists() and (
        page.root / "site/assets/iframe-worker.js"
    ).exists()


def test_devices_are_named_short():
    assert weave.short_device("Intel(R) Xeon(R) Processor @ 2.50GHz") == "Intel Xeon Processor"
    assert weave.short_device("AMD EPYC 7763 64-Core Processor") == "AMD EPYC 7763"


def test_an_output_with_backticks_gets_a_longer_fence():
    assert weave.fence_for("````\n") == "`````" and weave.fence_for("x") == "```"
    assert parse(FRONT.format(title="T") + "text\n", "docs/0-one/first.md").elements == []
