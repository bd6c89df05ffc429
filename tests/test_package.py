"""The package and the project around it, as committed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from pytest_codeblocks.main import extract_from_file

from scripts import export, record, tangle
from scripts.course import LAYERS, ROOT, load

COURSE = load()
PACKAGE = ROOT / "src" / "course"
SHORT = 8.0  # CPU seconds of a lesson whose notebook runs in every `make test`
ALL_NOTEBOOKS = os.environ.get("COURSE_NOTEBOOKS") == "all"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def test_the_package_equals_what_the_lessons_tangle():
    assert not tangle.tangle(COURSE, write=False)
    assert {path.relative_to(ROOT) for path in MODULES} == {
        path.relative_to(ROOT) for path in tangle.wanted(COURSE) if path.name != "__init__.py"
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_run_one_way(path: Path):
    below = LAYERS[: LAYERS.index(package_of(path)) + 1]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("course."):
                assert name.split(".")[1] in below, f"{path.name} imports {name}, which stands above it"
            assert name.split(".")[0] not in ("transformers", "peft", "bitsandbytes", "matplotlib")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_public_names_have_docstrings_and_annotations(path: Path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            for argument in node.args.args + node.args.kwonlyargs:
                assert argument.annotation, f"{path.name}: {node.name}({argument.arg}) has no annotation"
            assert node.returns, f"{path.name}: {node.name} does not say what it returns"


def test_every_module_imports_alone_and_brings_no_plotting():
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES]
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True)


@pytest.mark.parametrize("slug", COURSE.pages)
def test_our_parser_sees_every_block_that_pytest_codeblocks_sees(slug: str):
    page = COURSE.pages[slug]
    theirs = [
        (block.lineno, block.code)
        for block in extract_from_file(ROOT / page.path)
        if (block.syntax or "").split(" ")[0] == "python"
    ]
    # It counts the line of the fence from 1, and keeps at most the fence's own indent.
    assert theirs == [(block.line, block.code) for block in page.blocks]


@pytest.mark.parametrize("slug", COURSE.pages)
def test_records_are_fresh_and_name_no_place_of_the_machine(slug: str):
    page = COURSE.pages[slug]
    assert record.why(COURSE, page) == []
    text = (record.folder(page, ROOT) / "record.json").read_text()
    assert str(ROOT) not in text and str(Path.home()) not in text


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package alone, as `pip install .` leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    copied = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copied / name)
    shutil.copytree(ROOT / "src", copied / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), str(copied)], check=True)
    assert (folder / "course" / "py.typed").exists() and not (folder / "scripts").exists()
    return folder


def cpu_seconds(slug: str) -> float:
    """What a lesson's recorded run took."""
    kept = record.load(COURSE.lessons[slug], ROOT)
    return sum(entry["cpu"] for entry in kept["elements"]) if kept else 0.0


@pytest.mark.parametrize("slug", COURSE.lessons)
def test_each_notebook_holds_the_page_in_its_order_and_then_the_solutions(slug: str):
    lesson = COURSE.lessons[slug]
    cells = [cell for cell in export.notebook(COURSE, lesson).cells if cell.cell_type == "code"]
    wanted = [block for block in lesson.blocks if block.role not in ("solution", "wrong")]
    for block in lesson.blocks:
        if block.role == "solution":
            wanted += [block, lesson.parts_of(block.keys["solution"])["check"]]
    assert [cell.source for cell in cells if cell.source != export.SETUP] == [block.code.rstrip() for block in wanted]
    assert not any(re.search(r"^\s*(from|import) (scripts|tests)\b", cell.source, re.MULTILINE) for cell in cells)


@pytest.mark.parametrize("slug", [slug for slug in COURSE.lessons if ALL_NOTEBOOKS or cpu_seconds(slug) <= SHORT])
def test_a_notebook_runs_from_top_to_bottom_with_the_package_alone(
    slug: str, tmp_path: Path, monkeypatch, installed: Path
):
    """As a reader has it: the installed package, an empty folder, nothing of the engine.

    The same cells, in the same order, run as the blocks of the page; the longer ones run here with `make notebooks`.
    """
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = export.notebook(COURSE, COURSE.lessons[slug])
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    checks = [cell for cell in made.cells if "raises-exception" in cell.metadata.get("tags", [])]
    assert checks and all(cell.outputs[-1].output_type == "error" for cell in checks if must_fail(cell))


def test_data_parallelism_runs_unchanged_under_torchrun(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    command.append("course.parallelism.data_parallelism")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert re.search(r"2 ranks on cpu: accuracy [89]\d\.\d%, drift 0\.0", done.stdout), done.stdout + done.stderr


def must_fail(cell) -> bool:
    return not any(tag.startswith("needs-") for tag in cell.metadata["tags"])


def test_no_file_names_a_registry_or_this_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = re.compile(r"(registry\.npmjs|pypi\.org|pythonhosted|/root/|" + re.escape(str(ROOT)) + ")")
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in (".svg", ".png") or name == "tests/test_package.py" or not path.exists():
            continue
        assert not hosts.search(path.read_text()), name
