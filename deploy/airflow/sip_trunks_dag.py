"""The SIP trunks as an Airflow DAG: one task, which calls `sip-trunks run` in an environment of its own.

Copy it into the folder of your DAGs; Airflow 3. The command is installed apart from Airflow, since both have many
dependencies: SIP_TRUNKS_HOME is the folder that holds `.dlt` and, unless SIP_TRUNKS_COMMAND says another, the program
`.venv/bin/sip-trunks`. The token is in `.dlt/secrets.toml` there, or it is the password of an Airflow connection named
`sip_trunks`, which goes to the command's environment alone: into no template, log or argument.
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
CRON = "7 * * * *"  # a minute of your own: not everybody at the full hour
ANOTHER_RUN_IS_ACTIVE = 6
# What may pass by itself: the API is not reached, the destination fails, some accounts failed.
WORTH_A_RETRY = {4, 7, 8}

log = logging.getLogger(__name__)


def token() -> str | None:
    """Return the token that the connection `sip_trunks` has, if there is one."""
    try:
        return Connection.get("sip_trunks").password
    except AirflowNotFoundException:
        return None


@dag(
    schedule=CRON,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Runs on one data directory shut each other out.
    max_active_runs=1,
    tags=["sip-trunks"],
    doc_md=__doc__,
)
def sip_trunks() -> None:
    """Every hour, load the trunks as they are now."""

    @task(retries=3, retry_delay=timedelta(minutes=2), execution_timeout=timedelta(hours=2))
    def load() -> None:
        """Call the command, and say by its exit code whether trying again can help."""
        found = token()
        env = os.environ | ({"FAMULOR_API_KEY": found} if found else {})
        # It is Airflow's, and no place where the command would find its own packages.
        env.pop("PYTHONPATH", None)
        # What the command says goes into the task's log; it ends with the task.
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
            raise AirflowSkipException("another run is at work on this data directory")
        if code in WORTH_A_RETRY:
            raise AirflowException(f"sip-trunks run ended with exit code {code}; its lines above say why")
        if code:
            raise AirflowFailException(f"sip-trunks run ended with exit code {code}, which trying again does not mend")

    load()


sip_trunks()
