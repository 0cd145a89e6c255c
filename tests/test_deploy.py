"""The schedules to copy, run by the schedulers that they are written for or, where those cannot be had, looked through.

Dagster and Airflow are in no environment but that of the processes that are started here. Airflow takes a minute of
CPU: REQUIRE_AIRFLOW=1 tests with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipelines.lock import holding_lock
from pipelines.settings import read_settings
from tests.builders import IP_TRUNK, TRUNK
from tests.conftest import TOKEN, Answer
from tests.environments import Environments, cache_folder
from tests.test_cli import COMMAND
from tests.test_scheduling import put_on_path
from transforms import schema

if TYPE_CHECKING:
    from tests.conftest import Api

PROJECT = Path(__file__).parent.parent
WORKFLOW = PROJECT / ".github" / "workflows" / "scheduled.yml"
DAG = PROJECT / "deploy" / "airflow" / "sip_trunks_dag.py"
DAGSTER = ("dagster==1.13.27", "dagster-dlt==0.29.27")
AIRFLOW = ("apache-airflow-core==3.3.2", "apache-airflow-providers-standard==1.21.0")
GH = """#!/bin/sh
case "$*" in
  api*) [ -e artifact ] && echo 42 || true ;;
  "run download 42 --name sip-trunks --dir data") cp -r artifact data ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def environments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(cache_folder(request, tmp_path_factory, "schedulers"), required_by="REQUIRE_SCHEDULERS")


@pytest.fixture
def workflow() -> dict[Any, Any]:
    text = WORKFLOW.read_text("utf-8")
    read: dict[Any, Any] = yaml.safe_load(text)
    assert "${{" not in "".join(step.get("run", "") for step in read["jobs"]["run"]["steps"]), "values go by env"
    return read


def test_the_workflow_runs_keeps_its_memory_and_fails_with_the_run(
    workflow: dict[Any, Any], place: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_workflow_may_write_nothing_and_never_runs_twice_at_once(workflow: dict[Any, Any]) -> None:
    # YAML reads the key `on` as true.
    assert workflow[True]["schedule"] == [{"cron": "7 * * * *"}]
    assert workflow["permissions"] == {"contents": "read", "actions": "read"}
    assert workflow["concurrency"] == {"group": "sip-trunks-data", "cancel-in-progress": False}
    assert workflow["jobs"]["run"]["if"] == "vars.SIP_TRUNKS_SCHEDULED == 'true'"
    steps = workflow["jobs"]["run"]["steps"]
    assert all(re.fullmatch(r"actions/[a-z/-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert [step["name"] for step in steps if "secrets." in json.dumps(step)] == ["run"]


@pytest.mark.slow
def test_dagster_loads_every_account_as_a_partition_and_keeps_those_that_are_loaded(
    environments: Environments, place: Path, api: Api
) -> None:
    folder = environments.folder("dagster", DAGSTER, beside_ours=True)
    (place / ".dlt").mkdir()
    (place / ".dlt" / "secrets.toml").write_text('[sources.famulor.accounts]\nacme = "token-a"\nbeta = "token-b"\n')
    api.by_token["token-a"] = api.by_token["token-b"] = Answer(json.dumps({"data": [TRUNK, IP_TRUNK]}).encode())
    # The second time, one of them is refused.
    api.queued_to["token-b"] = [api.by_token["token-b"], Answer(b"{}", 401)]
    env = os.environ | {"PYTHONPATH": f"{folder}:{PROJECT}", "DAGSTER_DISABLE_TELEMETRY": "1"}
    script = [sys.executable, str(PROJECT / "tests" / "dagster_process.py")]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    names = sorted(table.name for table in schema.TABLES)
    assert told["assets"] == [["famulor", name] for name in names]
    assert told["kinds"] == ["dlt", "duckdb"]
    assert (told["fresh_before"], told["fresh_after"]) == (False, True)
    assert told["first"]["success"], told
    assert told["first"]["loaded"] == [[name, account] for name in names for account in ("acme", "beta")]
    assert set(told["first"]["trunk_counts"]) == {2}
    assert told["second"]["loaded"] == [[name, "acme"] for name in names]
    assert not told["second"]["success"]
    assert told["second"]["retries"] == 0
    (failure,) = told["second"]["failures"]
    assert failure.startswith("beta: ")
    assert "does not accept the token" in failure
    assert (told["retried"], told["policy"]) == ([4, 6, 7], 3)
    assert "token-a" not in done.stdout + done.stderr


def test_the_dag_of_airflow_is_sound_python_and_knows_the_exit_codes() -> None:
    text = DAG.read_text("utf-8")
    compile(text, str(DAG), "exec")
    assert "ANOTHER_RUN_IS_ACTIVE = 6\n" in text
    assert "WORTH_A_RETRY = {4, 7, 8}\n" in text


@pytest.mark.timeout(900)
def test_airflow_runs_skips_retries_or_fails_the_task(
    environments: Environments, place: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.environ.get("REQUIRE_AIRFLOW"):
        pytest.skip("NOT TESTED WITH AIRFLOW, which takes a minute of CPU: REQUIRE_AIRFLOW=1")
    environments.required_by = "REQUIRE_AIRFLOW"
    folder = environments.folder("airflow", AIRFLOW)
    (place / ".dlt").mkdir()
    dags = place / "dags"
    dags.mkdir()
    shutil.copy(DAG, dags)
    monkeypatch.delenv("FAMULOR_API_KEY")
    env = os.environ | {
        "PYTHONPATH": str(folder),
        "AIRFLOW_HOME": str(place / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW_CONN_SIP_TRUNKS": json.dumps({"conn_type": "generic", "password": TOKEN}),
        "SIP_TRUNKS_HOME": str(place),
        "SIP_TRUNKS_COMMAND": COMMAND,
        "SOURCES__FAMULOR__ATTEMPTS": "1",
    }

    def airflow(*arguments: str) -> str:
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout + done.stderr

    airflow("db", "migrate")
    api.answer([TRUNK])
    told = airflow("dags", "test", "sip_trunks")
    assert "trunks     1: 1 new" in told
    assert "new_state=success" in told
    assert api.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"
    with holding_lock(read_settings()):
        assert "new_state=skipped" in airflow("dags", "test", "sip_trunks")
    api.answer(b"{}", 401)
    told = airflow("dags", "test", "sip_trunks")
    assert "exit code 3, which trying again does not mend" in told
    assert "new_state=failed" in told
    api.answer(b"", 500)
    # It would wait for two minutes before it tries again.
    command = [sys.executable, "-m", "airflow", "dags", "test", "sip_trunks"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert any("new_state=up_for_retry" in line for line in process.stdout or ())
        process.kill()
