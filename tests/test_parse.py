"""Parsing: every part keeps its bytes, and no form of a Python fence is passed over."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.course import load
from scripts.parse import Block, Inline, LessonError, parse
from tests.conftest import FRONT, Scratch

HEAD = FRONT.format(title="T")
LINES = HEAD.count("\n")


def read(body: str):
    return parse(HEAD + body, "docs/0-one/first.md")


def read_dedented(body: str):
    return read(dedent(body))


# Each form, as (text, what comes of it): the number of blocks that run, or a word of the error.
FORMS = {
    "bare": ("```python\nx = 1\n```\n", 1),
    "titled": ('```python title="src/course/data/x.py"\nx = 1\n```\n', 1),
    "hl_lines": ('```python hl_lines="1"\nx = 1\n```\n', 1),
    "number without quotes": ("```python timeout=5\nx = 1\n```\n", 1),
    "four backticks": ("````python\nx = '''\n```\n'''\n````\n", 1),
    "trailing space": ("```python  \nx = 1\n```  \n", 1),
    "empty lines inside": ("```python\n\nx = 1\n\n```\n", 1),
    "in an admonition": ("!!! note\n\n    ```python\n    x = 1\n    ```\n", 1),
    "in a folded box": ('??? note "T"\n\n    ```python\n    x = 1\n    ```\n', 1),
    "in a tab": ('=== "A"\n\n    ```python\n    x = 1\n    ```\n', 1),
    "in a list": ("- item\n\n    ```python\n    x = 1\n    ```\n", 1),
    "in a list in an admonition": (
        "!!! note\n\n    1. item\n\n        ```python\n        x = 1\n        ```\n",
        1,
    ),
    "inside a longer fence": ("````markdown\n```python\nx = 1\n```\n````\n", 0),
    "another language": ("```text\n>>> x\n```\n", 0),
    "space before the word": ("``` python\nx = 1\n```\n", "would never run"),
    "leading space": (" ```python\nx = 1\n```\n", "never closed"),
    "leading space, closed alike": (" ```python\n x = 1\n ```\n", "indented by 1"),
    "indented code": ("text\n\n    ```python\n    x = 1\n    ```\n", "indented by 4"),
    "two spaces in a list": ("- item\n\n  ```python\n  x = 1\n  ```\n", "indented by 2"),
    "a tab before it": ("- item\n\n\t```python\n\tx = 1\n\t```\n", "a tab"),
    "braces and dot": ("```{.python}\nx = 1\n```\n", "would never run"),
    "braces": ("```{python}\nx = 1\n```\n", "would never run"),
    "braces, key": ('``` {.python title="x"}\nx = 1\n```\n', "would never run"),
    "py": ("```py\nx = 1\n```\n", "would never run"),
    "python3": ("```python3\nx = 1\n```\n", "would never run"),
    "Python": ("```Python\nx = 1\n```\n", "would never run"),
    "pycon": ("```pycon\n>>> x\n```\n", "would never run"),
    "ipython": ("```ipython\nx\n```\n", "would never run"),
    "python, comma": ("```python,ignore\nx = 1\n```\n", "would never run"),
    "tildes": ("~~~python\nx = 1\n~~~\n", "backticks"),
    "in a quotation": ("> ```python\n> x = 1\n> ```\n", "quotation"),
    "in an HTML comment": ("<!--\n```python\nx = 1\n```\n-->\n", "HTML comment"),
    "in one line": ("```python x = 1```\n", "one-line"),
    "unclosed": ("```python\nx = 1\n", "never closed"),
    "closed by fewer": ("````python\nx = 1\n```\n", "never closed"),
    "closed by another kind": ("```python\nx = 1\n~~~\n", "never closed"),
    "closed elsewhere": ("!!! note\n\n    ```python\n    x = 1\n```\n", "never closed"),
    "body left of the fence": (
        "!!! note\n\n    ```python\n  x = 1\n    ```\n",
        "left of its fence",
    ),
    "unknown attribute": ('```python export="x"\nx = 1\n```\n', "unknown key `export`"),
    "misspelt attribute": ('```python titel="x"\nx = 1\n```\n', "did you mean `title`"),
    "bare word": ("```python skip\nx = 1\n```\n", 'key="value"'),
    "single quotes": ("```python fold='x'\nx = 1\n```\n", 'key="value"'),
    "no quotes": ("```python fold=x\nx = 1\n```\n", 'key="value"'),
    "a key twice": ('```python fold="a" fold="b"\nx = 1\n```\n', "given twice"),
    "an empty key": ('```python fold=""\nx = 1\n```\n', "is empty"),
    "an empty block": ("```python\n\n```\n", "empty block"),
    "a syntax error": ("```python\nx = = 1\n```\n", "SyntaxError"),
    "a magic": ("```python\n%timeit x\n```\n", "SyntaxError"),
    "a title outside": ('```python title="scripts/x.py"\nx = 1\n```\n', "src/course"),
    "a title that climbs": ('```python title="src/course/../x.py"\nx = 1\n```\n', "src/course"),
    "title and raises": (
        '```python title="src/course/data/x.py" raises="E"\nx = 1\n```\n',
        "remove `raises`",
    ),
    "its own module in a block that does not parse": (
        '```python title="src/course/data/x.py"\nx = 1\n```\n\n'
        '```python raises="SyntaxError"\nimport course.data.x =\n```\n',
        2,
    ),
    "an import of its own module": (
        '```python title="src/course/data/x.py"\nx = 1\n```\n\n```python\nfrom course.data.x import x\n```\n',
        "which this page makes",
    ),
    "an unknown need": ('```python needs="tpu"\nx = 1\n```\n', "cuda or shakespeare or triton"),
    "check without exercise": ('```python check="a"\nx = 1\n```\n', "before the `exercise`"),
    "exercise alone": ('```python exercise="a"\nx = 1\n```\n', 'no check="a"'),
    "two roles": ('```python exercise="a" check="a"\nx = 1\n```\n', "split it"),
    "inline in another form": ("the value `{python}x`\n", "cannot read the inline value"),
    "inline, not an expression": ("the value `{python} x = 1`\n", "inline value"),
    "inline py": ("the value `{py} x`\n", "cannot read the inline value"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_fence_runs_or_is_an_error(form):
    text, expected = FORMS[form]
    if isinstance(expected, int):
        assert len(read(text).elements) == expected
        assert str(read(text)) == HEAD + text
        return
    with pytest.raises(LessonError) as caught:
        read(text)
    assert expected in str(caught.value)
    assert LINES < caught.value.line <= LINES + text.count("\n")
    assert str(caught.value).startswith(f"docs/0-one/first.md:{caught.value.line}: ")


FRONTS = {
    "---\ntitle: T\n": (1, "no front matter"),
    "---\ntitle: [\n---\n": (3, "not YAML"),
    "---\ntitle: T\ntags: x\n---\n": (3, "unknown key `tags`"),
    HEAD.replace("[one, two, three]", "[one]"): (4, "3 to 5"),
    HEAD.replace("[one, two, three]", "one"): (4, "must be a list"),
    HEAD.replace("title: T\n", ""): (1, "`title` is missing"),
    "\ufeff" + HEAD: (1, "byte-order mark"),
    HEAD + "a\r\n": (LINES + 1, "carriage return"),
}


@pytest.mark.parametrize("text", FRONTS)
def test_front_matter_errors_name_the_line(text):
    line, message = FRONTS[text]
    with pytest.raises(LessonError, match=message) as caught:
        parse(text, "docs/0-one/first.md")
    assert caught.value.line == line


def test_blocks_have_ids_of_heading_and_ordinal_and_true_lines():
    page = read_dedented("""\
        ```python
        a = 1
        ```

        ## The idea, drawn

        ```python
        b = 2
        ```

        !!! note

            ```python
            c = 3
              # deeper
            ```
        """)
    assert [block.id for block in page.blocks] == ["top-1", "the-idea-drawn-1", "the-idea-drawn-2"]
    lines = str(page).splitlines()
    for block in page.blocks:
        assert lines[block.line - 1].strip() == "```python"
    assert page.blocks[2].code == "c = 3\n  # deeper\n"


def test_inline_values_are_found_in_prose_only():
    page = read_dedented("""\
        A value `{python} f"{x:.2f}"` and code `{x}` and ``a `{python} shown` span``.

        ```text
        `{python} not_here`
        ```

        With a need: `{python needs="cuda"} y`.
        """)
    inline = [part for part in page.parts if isinstance(part, Inline)]
    assert [part.expression for part in inline] == ['f"{x:.2f}"', "y"]
    assert inline[1].keys == {"needs": "cuda"}
    assert inline[0].line == LINES + 1 and inline[1].line == LINES + 7


def test_other_pages_may_run_code_but_own_no_module():
    page = "# Home\n\n```python{}\nx = 1\n```\n"
    assert len(parse(page.format(""), "docs/index.md", lesson=False).elements) == 1
    with pytest.raises(LessonError, match=r"docs/index.md:3: only a lesson can own a module"):
        parse(page.format(' title="src/course/data/x.py"'), "docs/index.md", lesson=False)


PIECES = st.sampled_from(
    [
        "Some prose with `code`.\n",
        "\n",
        "## A heading\n",
        "- item\n",
        "!!! note\n",
        "```python\nx = 1\n```\n",
        '```python title="src/course/data/x.py" hl_lines="1"\ndef f():\n\n    return 1\n```\n',
        "    ```python\n    y = 2\n\n    ```\n",
        "```text\n```python\n```\n",
        "A value `{python} x + 1` here.\n",
        "<!-- a comment -->\n",
        "```\n",
        "~~~\n",
        "> quoted\n",
        "no line end",
        "`",
        "é × 中\n",
    ]
)


@given(st.lists(PIECES | st.text("`~ python\n{}\"='x>-!#\t", max_size=12), max_size=12))
def test_parse_then_write_gives_the_same_bytes(pieces):
    text = HEAD + "".join(pieces)
    try:
        page = parse(text, "docs/0-one/first.md")
    except LessonError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        return
    assert str(page) == text
    for block in page.blocks:
        assert block.with_code(block.code) == block


def test_replacing_the_code_of_a_block_keeps_its_place():
    page = read("- item\n\n    ```python\n    x = 1\n    ```\n")
    block = page.blocks[0].with_code("if x:\n\n    y = 2\n")
    assert isinstance(block, Block)
    assert str(block) == "    ```python\n    if x:\n\n        y = 2\n    ```\n"


def test_a_lesson_outside_the_curriculum_and_two_owners_are_errors(scratch: Scratch):
    title = '```python title="src/course/data/x.py"\nx = 1\n```\n'
    scratch.page("0-one/first", title)
    scratch.page("1-two/third", "text\n\n" + title)
    with pytest.raises(LessonError, match=r"docs/1-two/third.md:10: .*belongs to docs/0-one/first"):
        load(scratch.root)
    scratch.page("1-two/third", "text\n")
    scratch.page("1-two/stray", "text\n")
    with pytest.raises(LessonError, match=r"docs/1-two/stray.md:1: .*not in curriculum.yml"):
        load(scratch.root)


def test_a_page_that_is_not_utf8_is_an_error_at_its_line(scratch: Scratch):
    path = scratch.page("0-one/first", "text\n")
    path.write_bytes(path.read_bytes() + b"caf\xe9\n")
    with pytest.raises(LessonError, match=f"first.md:{LINES + 2}: not UTF-8"):
        load(scratch.root)
