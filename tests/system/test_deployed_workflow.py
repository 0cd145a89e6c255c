"""The scheduled workflow of GitHub, its steps run as the runner runs them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.builders import TRUNK
from tests.support.programs import put_on_path
from tests.support.runs import COMMAND, PROJECT, TOKEN

if TYPE_CHECKING:
    import pytest

    from tests.support.api import Api

WORKFLOW = PROJECT / ".github" / "workflows" / "scheduled.yml"
GH = """#!/bin/sh
case "$*" in
  api*) [ -e artifact ] && echo 42 || true ;;
  "run download 42 --name sip-trunks --dir data") cp -r artifact data ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


def test_the_workflow_runs_keeps_its_memory_and_fails_with_the_run(
    place: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the shell steps themselves show what they do with the exit code, the output file and the artifact."""
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    steps = {step["name"]: step for step in workflow["jobs"]["run"]["steps"] if "run" in step}
    put_on_path(place / "bin", "gh", GH, monkeypatch)
    monkeypatch.setenv("PATH", f"{Path(COMMAND).parent}:{os.environ['PATH']}")
    (place / ".dlt").mkdir()
    known = {"secrets.FAMULOR_API_KEY": TOKEN, "github.token": "gh", "github.event.repository.private": "true"}

    def step(name: str, **expressions: str) -> subprocess.CompletedProcess[str]:
        """Run a step as the runner does: `shell: bash`, its expressions filled in."""
        values = known | {key.replace("__", "."): value for key, value in expressions.items()}
        given = workflow["jobs"]["run"]["env"] | steps[name].get("env", {})
        env = {key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text) for key, text in given.items()}
        env |= {"GITHUB_OUTPUT": str(place / "output"), "GITHUB_REPOSITORY": "somebody/sip-trunks"}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[name]["run"]]
        return subprocess.run(command, env=os.environ | env, capture_output=True, text=True)

    restore, changed = "restore it from the last artifact, if the cache is gone", "look what changed"
    api.answer([TRUNK])
    assert step("refuse a public repository").returncode == 0
    assert "begins anew" in step(restore).stdout
    done = step("run")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert step(changed).returncode == 0
    assert (place / "output").read_text() == "changed=true\n"
    # The next run finds no cache; nothing has changed.
    (place / "data").rename(place / "artifact")
    (place / "output").write_text("")
    assert step(restore).stdout == ""
    done = step("run")
    assert '"status": "unchanged"' in done.stdout, done.stderr
    assert step(changed).returncode == 0
    assert (place / "output").read_text() == ""
    api.answer(b"{}", 401)
    assert step("run").returncode == 3
    assert step(changed).returncode == 0
    assert step("refuse a public repository", github__event__repository__private="false").returncode == 2
