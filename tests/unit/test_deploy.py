"""The schedules to copy, read without the schedulers that they are written for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOW = PROJECT / ".github" / "workflows" / "scheduled.yml"
DAG = PROJECT / "deploy" / "airflow" / "sip_trunks_dag.py"


def test_the_workflow_may_write_nothing_and_never_runs_twice_at_once() -> None:
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    # YAML reads the key `on` as true.
    assert workflow[True]["schedule"] == [{"cron": "7 * * * *"}]
    assert workflow["permissions"] == {"contents": "read", "actions": "read"}
    assert workflow["concurrency"] == {"group": "sip-trunks-data", "cancel-in-progress": False}
    assert workflow["jobs"]["run"]["if"] == "vars.SIP_TRUNKS_SCHEDULED == 'true'"
    steps = workflow["jobs"]["run"]["steps"]
    assert [step["name"] for step in steps if "secrets." in json.dumps(step)] == ["run"]


@pytest.mark.parametrize("path", sorted(WORKFLOW.parent.iterdir()), ids=lambda path: path.name)
def test_a_workflow_pins_actions_by_commit_and_leaves_no_credentials_in_the_checkout(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert used
    assert [line for line in used if not re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


def test_the_workflow_passes_values_to_its_commands_by_environment_variables_only() -> None:
    """An expression within a command would be part of the shell's program."""
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert "${{" not in "".join(step.get("run", "") for step in workflow["jobs"]["run"]["steps"])


def test_the_dag_of_airflow_is_sound_python_and_knows_the_exit_codes() -> None:
    text = DAG.read_text("utf-8")
    compile(text, str(DAG), "exec")
    assert "ANOTHER_RUN_IS_ACTIVE = 6\n" in text
    assert "WORTH_A_RETRY = {4, 7, 8}\n" in text
