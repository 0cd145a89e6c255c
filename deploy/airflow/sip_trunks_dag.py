"""The SIP trunks as an Airflow 3 DAG: one task, which calls `sip-trunks run` in its own virtual environment.

Copy this file into your DAG folder. Install the command in an environment separate from Airflow's, because both have
many dependencies. SIP_TRUNKS_HOME is the folder that contains `.dlt`; SIP_TRUNKS_COMMAND is the program (default:
`.venv/bin/sip-trunks` in that folder). Store the token in `.dlt/secrets.toml` there, or as the password of an Airflow
connection named `sip_trunks`. The password is passed only through the command's environment; it never appears in a
template, a log or an argument.
"""

from __future__ import annotations

import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Connection, dag, task
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

HOME = Path(os.environ.get("SIP_TRUNKS_HOME", "/srv/sip-trunks"))
COMMAND = os.environ.get("SIP_TRUNKS_COMMAND", str(HOME / ".venv" / "bin" / "sip-trunks"))
CRON = "7 * * * *"  # choose your own minute, so that not every installation calls the API on the hour
ANOTHER_RUN_IS_ACTIVE = 6
# Errors that may be temporary: the API is unreachable, the destination fails, some accounts failed.
WORTH_A_RETRY = {4, 7, 8}

log = logging.getLogger(__name__)


def token() -> str | None:
    """Return the token of the connection `sip_trunks`, or None if the connection does not exist."""
    try:
        return Connection.get("sip_trunks").password
    except AirflowNotFoundException:
        return None


@dag(
    schedule=CRON,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Only one run at a time can use a data directory.
    max_active_runs=1,
    tags=["sip-trunks"],
    doc_md=__doc__,
)
def sip_trunks() -> None:
    """Load the current trunks every hour."""

    @task(retries=3, retry_delay=timedelta(minutes=2), execution_timeout=timedelta(hours=2))
    def load() -> None:
        """Call the command. Its exit code decides whether Airflow retries, skips or fails the task."""
        found = token()
        env = os.environ | ({"FAMULOR_API_KEY": found} if found else {})
        # Airflow's packages must not hide the command's own.
        env.pop("PYTHONPATH", None)
        # The command's output goes to the task's log. If the task is stopped, so is the command.
        with subprocess.Popen(
            [COMMAND, "run"], cwd=HOME, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                for line in process.stdout or ():
                    log.info("%s", line.rstrip())
            except BaseException:
                process.terminate()
                raise
        code = process.returncode
        if code == ANOTHER_RUN_IS_ACTIVE:
            raise AirflowSkipException("another run is active in this data directory")
        if code in WORTH_A_RETRY:
            raise AirflowException(f"sip-trunks run failed with exit code {code}; the reason is in the log above")
        if code:
            raise AirflowFailException(f"sip-trunks run failed with exit code {code}; a retry would fail again")

    load()


sip_trunks()
