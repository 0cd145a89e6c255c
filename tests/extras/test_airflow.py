"""The DAG of deploy/airflow, run by Airflow in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import read_settings
from tests.extras.pinned import pinned
from tests.support.builders import TRUNK
from tests.support.environments import Environments, cache_folder
from tests.support.runs import COMMAND, PATIENCE_SECONDS, PROJECT, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api


def test_airflow_runs_skips_retries_or_fails_the_task(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    place: Path,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only Airflow shows what state a task gets by the exceptions of the DAG, and that a connection has the token."""
    environments = Environments(cache_folder(request, tmp_path_factory, "schedulers"))
    folder = environments.folder("airflow", pinned("airflow"))
    (place / ".dlt").mkdir()
    dags = place / "dags"
    dags.mkdir()
    shutil.copy(PROJECT / "deploy" / "airflow" / "sip_trunks_dag.py", dags)
    monkeypatch.delenv("FAMULOR_API_KEY")
    patience = str(PATIENCE_SECONDS)
    env = os.environ | {
        "PYTHONPATH": str(folder),
        "AIRFLOW_HOME": str(place / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        # A busy machine imports Airflow slowly.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": patience,
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": patience,
        "AIRFLOW_CONN_SIP_TRUNKS": json.dumps({"conn_type": "generic", "password": TOKEN}),
        "SIP_TRUNKS_HOME": str(place),
        "SIP_TRUNKS_COMMAND": COMMAND,
        "SOURCES__FAMULOR__ATTEMPTS": "1",
    }

    def airflow(*arguments: str) -> str:
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout + done.stderr

    airflow("db", "migrate")
    api.answer([TRUNK])
    printed = airflow("dags", "test", "sip_trunks")
    assert "trunks     1: 1 new" in printed
    assert "new_state=success" in printed
    assert api.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"
    with holding_lock(read_settings()):
        assert "new_state=skipped" in airflow("dags", "test", "sip_trunks")
    api.answer(b"{}", 401)
    printed = airflow("dags", "test", "sip_trunks")
    assert "exit code 3; a retry would fail again" in printed
    assert "new_state=failed" in printed
    api.answer(b"", 500)
    # It would wait for two minutes before it tries again.
    command = [sys.executable, "-m", "airflow", "dags", "test", "sip_trunks"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert any("new_state=up_for_retry" in line for line in process.stdout or ())
        process.kill()
