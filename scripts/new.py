"""Make a new lesson: a page that passes every check, to be filled in."""

from __future__ import annotations

from pathlib import Path

import yaml

from scripts.course import Course

TEMPLATE = """\
---
{title}
description: One plain sentence that says what the lesson is about.
objectives:
  - say what the reader will be able to do
  - say the second thing
  - say the third thing
prerequisites: []
---

Begin with the failure: run what the earlier lessons can do into the wall.

## Name a heading after its content

Say what the block shows, then show it.

```python
import torch

numbers = torch.arange(4.0)
numbers.mean()
```

A number in the prose comes from the run: the mean is `{{python}} f"{{numbers.mean():.1f}}"`.

## Exercises

### 1. Name it (5 minutes)

Ask for something small.

```python exercise="largest"
def largest(values: torch.Tensor) -> float:
    ...
```

```python check="largest"
assert largest(torch.tensor([1.0, 3.0, 2.0])) == 3.0
assert largest(torch.tensor([-2.0, -1.0])) == -1.0
```

```python solution="largest"
def largest(values: torch.Tensor) -> float:
    return values.max().item()
```

```python wrong="largest"
# The largest in size, whatever its sign.
def largest(values: torch.Tensor) -> float:
    return values.abs().max().item()
```
"""


def new(course: Course, name: str) -> Path:
    """Write the page of a lesson that the curriculum lists; return its path."""
    slug = course.slug(name)
    path = course.root / "docs" / f"{slug}.md"
    if path.exists():
        raise SystemExit(f"docs/{slug}.md is there already; go on with it: make lesson L={slug}")
    path.parent.mkdir(parents=True, exist_ok=True)
    title = yaml.safe_dump({"title": course.titles[slug]}, allow_unicode=True, width=120)  # quoted where it must be
    path.write_text(TEMPLATE.format(title=title.strip()))
    return path
