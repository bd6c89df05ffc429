"""Planted bugs: a page that checks its code catches them, one that does not is told so, and nothing is changed."""

from __future__ import annotations

from scripts import mutate

CODE = '''\
```python title="src/course/data/first.py"
def mean(values: list[float], skip: int = 0) -> float:
    """The mean of all values but the first `skip` of them: 1 / n, and so on."""
    total = 0.0
    for value in values[skip:]:
        total += value
    if total < 0:
        raise ValueError("negative")
    return total / (len(values) - skip)
```

'''
CHECKED = """\
```python
assert mean([1.0, 2.0, 6.0]) == 3.0
assert mean([1.0, 2.0, 6.0], skip=1) == 4.0
assert mean([-1.0, 1.0]) == 0.0
try:
    mean([-3.0, 2.0])
except ValueError:
    pass
else:
    raise AssertionError
```
"""
UNCHECKED = """\
```python
assert mean([0.0, 0.0]) == 0.0
```
"""


def outcome(scratch, body):
    scratch.page("0-one/first", CODE + body)
    lesson = scratch.load().lessons["0-one/first"]
    planted = mutate.mutants(lesson, most=100)
    return planted, [mutant for mutant, place in mutate.test(planted, scratch.root) if not place]


def test_a_page_that_checks_its_code_catches_every_bug(scratch):
    planted, survived = outcome(scratch, CHECKED)
    changes = {(mutant.before, mutant.after) for mutant in planted}
    assert {
        ("total = 0.0", "total = 1.0"),
        ("total += value", "total -= value"),
        ("total += value", "pass"),
        ("if total < 0:", "if total <= 0:"),
        ("if total < 0:", "if False:"),
        ("return total / (len(values) - skip)", "return total * (len(values) - skip)"),
        ("return total / (len(values) - skip)", "return total / (len(values) + skip)"),
    } <= changes
    assert all(mutant.before in CODE for mutant in planted if "def " not in mutant.before)
    assert not survived, [str(mutant) for mutant in survived]


def test_a_page_that_does_not_is_told_which_bugs_it_missed(scratch):
    _, survived = outcome(scratch, UNCHECKED)
    assert ("total += value", "total -= value") in {(mutant.before, mutant.after) for mutant in survived}
    lines = (scratch.root / "docs/0-one/first.md").read_text().splitlines()
    assert all(mutant.before == lines[mutant.line - 1].strip() for mutant in survived if "def " not in mutant.before)


def test_the_same_page_gives_the_same_bugs(scratch):
    scratch.page("0-one/first", CODE + CHECKED)
    lesson = scratch.load().lessons["0-one/first"]
    assert [str(one) for one in mutate.mutants(lesson, 5)] == [str(one) for one in mutate.mutants(lesson, 5)]


def test_a_bug_that_hangs_is_caught(scratch):
    code = "def down(n: int) -> int:\n    while n > 0:\n        n -= 1\n    return n\n"
    page = f'```python title="src/course/data/first.py"\n{code}```\n\n```python\nassert down(3) == 0\n```\n'
    scratch.page("0-one/first", page)
    (hang,) = [one for one in mutate.mutants(scratch.load().lessons["0-one/first"], 100) if one.after == "pass"]
    assert [place for _, place in mutate.test([hang], scratch.root, timeout=1)] == ["docs/0-one/first.md:15"]


def test_the_command_names_what_survived_and_fails(scratch, monkeypatch, capsys):
    from scripts import __main__ as command

    scratch.page("0-one/first", CODE + UNCHECKED)
    monkeypatch.setattr(command, "load", scratch.load)
    monkeypatch.setattr(command, "ROOT", scratch.root)
    monkeypatch.setattr("sys.argv", ["scripts", "mutate", "first", "--most", "3"])
    assert command.main() == 1
    printed = capsys.readouterr().out
    assert "SURVIVED: docs/0-one/first.md:" in printed
    assert "of 3 caught" in printed
