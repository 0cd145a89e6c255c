"""The schedules to copy, read without the schedulers that they are written for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sip_trunks.commands.dispatch import build_parser

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


def test_the_image_runs_as_an_ordinary_user_and_has_neither_secrets_nor_data() -> None:
    lines = [line for line in (PROJECT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER sip-trunks" in final
    assert "VOLUME /data" in final
    assert 'ENTRYPOINT ["sip-trunks"]' in final
    (health,) = (json.loads(line.partition(" CMD ")[2]) for line in final if line.startswith("HEALTHCHECK "))
    assert build_parser().parse_args(health[1:]).max_age == "3h"
    first, *kept = [line for line in (PROJECT / ".dockerignore").read_text("utf-8").splitlines() if line[0] != "#"]
    assert first == "*"
    names = [line.removeprefix("!") for line in kept if line.startswith("!")]
    assert [name for name in names if not (PROJECT / name).exists()] == []
    assert {name.partition("/")[0] for name in names} & {".dlt", "data", ".git", "deploy"} == set()
