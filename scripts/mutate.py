"""Plant bugs in the code that a lesson gives to the package, one at a time, and see whether a block of the page fails.

A mutant differs from the lesson in one operator, number, keyword or statement of one titled block. It runs in memory:
no file changes.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scripts import run
from scripts.parse import Block, Lesson

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """A lesson with a bug: the line of the page where it was planted, and that line before and after."""

    lesson: Lesson
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.lesson.path}:{self.line}: `{self.before}` → `{self.after or '(gone)'}`"


def mutants(lesson: Lesson, most: int, seed: int = 0) -> list[Mutant]:
    """Up to `most` of a lesson's mutants, drawn at random: the same ones for the same page and seed."""
    found = [mutant for block in lesson.blocks if block.module for mutant in _of(lesson, block)]
    return random.Random(seed).sample(found, min(most, len(found)))


def test(planted: list[Mutant], root: Path, jobs: int = 1, timeout: int = run.TIMEOUT) -> Iterator[tuple[Mutant, str]]:
    """Run mutants; yield each with the block that failed, empty where the page passed in spite of its bug.

    A bug that loops for ever is caught by the time limit of the blocks, as in any other run.
    """
    options = run.Options(root, timeout=timeout)
    mutant = {id(one.lesson): one for one in planted}
    caught: dict[int, str] = {}
    for lesson, result in run.run((one.lesson for one in planted), options, jobs=jobs):
        if result is None:
            yield mutant[id(lesson)], caught.get(id(lesson), "")
        elif result.status == "failed":
            caught[id(lesson)] = f"{lesson.path}:{result.element.line}"


def _of(lesson: Lesson, block: Block) -> Iterator[Mutant]:
    """Every mutant of one block."""
    original = ast.unparse(ast.parse(block.code))
    count = Planter(None)
    count.visit(ast.parse(block.code))
    for place in range(count.places):
        planter = Planter(place)
        code = ast.unparse(planter.visit(ast.parse(block.code)))
        if code == original:
            continue
        parts = tuple(part.with_code(f"{code}\n") if part is block else part for part in lesson.parts)
        yield Mutant(replace(lesson, parts=parts), block.line + planter.line, *_difference(original, code))


def _difference(original: str, code: str) -> tuple[str, str]:
    """The first line that differs, before and after."""
    old, new = original.splitlines(), code.splitlines()
    at = next(i for i, line in enumerate(old) if new[i : i + 1] != [line])
    return old[at].strip(), "" if len(new) < len(old) else new[at].strip()


class Planter(ast.NodeTransformer):
    """Plants one bug, at the place of a given number; counts the places. Types and docstrings are none."""

    def __init__(self, place: int | None) -> None:
        self.place, self.places, self.line = place, 0, 0

    def here(self, node: ast.stmt | ast.expr) -> bool:
        chosen = self.place == self.places
        self.places += 1
        if chosen:
            self.line = node.lineno
        return chosen

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node  # its annotation is a type

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        returns, node.returns = node.returns, None
        self.generic_visit(node)
        node.returns = returns
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node  # a docstring
        return ast.copy_location(ast.Pass(), node) if self.here(node) else self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if self.here(node):
            return ast.copy_location(ast.Pass(), node)
        if type(node.op) in SWAPS and self.here(node):
            node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if self.here(node):
            node.test = ast.Constant(False)
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if type(node.op) in SWAPS and self.here(node):
            node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        if self.here(node):
            node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if self.here(node):
            node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.USub | ast.Not) and self.here(node):
            return node.operand
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [one for one in node.keywords if not (one.arg and self.here(one.value))]
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            changed: bool | int | float = not node.value
        elif isinstance(node.value, int):
            changed = node.value + 1
        elif isinstance(node.value, float):
            changed = 1.5 * node.value or 1.0
        else:
            return node
        return ast.copy_location(ast.Constant(changed), node) if self.here(node) else node
