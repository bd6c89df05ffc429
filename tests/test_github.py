"""The workflows and forms under `.github`: linted, audited, and what publishes the site run for real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.course import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {path.name: path for path in sorted((GITHUB / "workflows").glob("*.yml"))}
BIN = Path(sys.executable).parent


def run(*command: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **settings)


def jobs(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(WORKFLOWS[name].read_text())["jobs"])


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    """actionlint, without the linters of scripts that some machines have, so that all find the same."""
    return run(BIN / "actionlint", "-oneline", "-shellcheck", "", "-pyflakes", "", *paths)


def test_actionlint_finds_nothing():
    done = lint(*WORKFLOWS.values())
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_would_find_a_misspelled_step(tmp_path: Path):
    (tmp_path / "ci.yml").write_text(
        WORKFLOWS["ci.yml"].read_text().replace("steps.environment.outputs", "steps.enviroment.outputs")
    )
    assert '"enviroment" is not defined' in lint(tmp_path / "ci.yml").stdout


def audit(*paths: Path) -> subprocess.CompletedProcess[str]:
    return run(BIN / "zizmor", "--offline", "--quiet", "--persona", "auditor", "--format", "plain", *paths)


def test_zizmor_finds_nothing():
    done = audit(*WORKFLOWS.values(), GITHUB / "dependabot.yml", ROOT / ".pre-commit-config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "good", "bad", "finding"),
    [
        ("ci.yml", "pull_request:", "pull_request_target:", "dangerous-triggers"),
        ("ci.yml", r"checkout@\w+", "checkout@v7", "unpinned-uses"),
        ("ci.yml", "persist-credentials: false", "persist-credentials: true", "artipacked"),
        ("ci.yml", "^permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("publish.yml", "^permissions: {}", "permissions: {contents: write}", "excessive-permissions"),
        ("ci.yml", "run: make test", 'run: echo "${{ github.event.pull_request.title }}"', "template-injection"),
    ],
)
def test_zizmor_would_find_what_must_not_be(name: str, good: str, bad: str, finding: str, tmp_path: Path):
    text = WORKFLOWS[name].read_text()
    changed = re.sub(good, lambda _: bad, text, count=1, flags=re.MULTILINE)
    assert changed != text
    (tmp_path / name).write_text(changed)
    assert finding in audit(tmp_path / name).stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_secret_and_no_credential_left_in_a_checkout(name: str):
    """What zizmor lets pass: a checkout that says nothing keeps its token."""
    assert "secrets." not in WORKFLOWS[name].read_text()
    steps = [step for job in jobs(name).values() for step in job.get("steps", [])]
    for step in steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_one_job_may_write_and_it_runs_nothing_of_the_project():
    writing = [
        (name, job)
        for name in WORKFLOWS
        for job, settings in jobs(name).items()
        if "write" in settings["permissions"].values()
    ]
    assert writing == [("publish.yml", "publish")]
    actions = [step["uses"].split("@")[0] for step in jobs("publish.yml")["publish"]["steps"] if "uses" in step]
    assert actions == ["actions/download-artifact"]  # no checkout: there is nothing of the project to run


def test_publishing_makes_one_commit_that_holds_the_site_and_its_notebooks(tmp_path: Path):
    """The script of the workflow, against a repository on disk; twice, since it must replace what it pushed."""
    step = jobs("publish.yml")["publish"]["steps"][-1]
    remote, tools = tmp_path / "owner" / "course", tmp_path / "bin"
    run("git", "init", "--quiet", "--bare", remote, check=True)
    tools.mkdir()
    (tools / "gh").write_text("#!/bin/sh\n")  # only sets up git's credentials, which a folder does not ask for
    (tools / "gh").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "GITHUB_SERVER_URL": tmp_path.as_uri(),
        "GITHUB_REPOSITORY": "owner/course",
        "GITHUB_SHA": "0123abc",
    }
    for turn in ("first", "second"):
        site = tmp_path / turn / step["working-directory"]
        (site / "1-training" / "momentum").mkdir(parents=True)
        (site / "1-training" / "momentum.ipynb").write_text("{}")
        (site / "1-training" / "momentum" / "index.html").write_text(turn)
        done = run("bash", "-e", "-o", "pipefail", "-c", step["run"], cwd=site, env=environment)
        assert done.returncode == 0, done.stderr

    def git(*words: str) -> list[str]:
        return run("git", "-C", remote, *words, check=True).stdout.splitlines()

    assert git("log", "--format=%s", "gh-pages") == ["Site of 0123abc"]
    listed = git("ls-tree", "-r", "--name-only", "gh-pages")
    assert listed == [".nojekyll", "1-training/momentum.ipynb", "1-training/momentum/index.html"]
    assert git("show", "gh-pages:1-training/momentum/index.html") == ["second"]


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem)
def test_issue_forms_are_what_github_reads(path: Path):
    form = yaml.safe_load(path.read_text())
    assert form.keys() <= {"name", "description", "title", "labels", "body"} and form["name"] and form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert fields and {part["type"] for part in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] for part in fields)
    names = [part["id"] for part in fields]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"[\w-]+", name) for name in names)
