"""The environment and log of dlt while this program uses it, and secrets from dlt's other providers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sip_trunks.core.config_files import name_config_dir
from sip_trunks.core.logs import adopting_dlt_log
from sip_trunks.core.process import changed_environment
from sip_trunks.core.settings import Settings


@contextmanager
def dlt_environment(settings: Settings) -> Iterator[None]:
    """Point dlt at the project's `.dlt` folder, and override the dlt settings that this program depends on.

    dlt's log messages go to this program's log. Import and use dlt only inside this context, because dlt reads the
    variables when it needs them. Contexts may be nested.
    """
    promised = {
        # One load job at a time: each job is a DuckDB statement that already uses all cores. Parallel jobs would only
        # use more memory.
        "LOAD__WORKERS": os.environ.get("LOAD__WORKERS", "1"),
        "DLT_DATA_DIR": str(settings.state_dir / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        # dlt would finish its statements before it stops, although a stopped run publishes nothing.
        "RUNTIME__INTERCEPT_SIGNALS": "false",
        # dlt would keep every load package, with all phone numbers, in its working directory.
        "LOAD__DELETE_COMPLETED_JOBS": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
    }
    with changed_environment(_project(settings) | promised), adopting_dlt_log():
        yield


def find_secret(settings: Settings, key: str) -> str | None:
    """Return a secret from dlt's other providers (its global folder, vaults), or None if they do not have it."""
    with changed_environment(_project(settings)):
        import dlt

        found: str | None = dlt.secrets.get(key, str)
        return found


def _project(settings: Settings) -> dict[str, str]:
    return name_config_dir(settings.config_dir) if settings.config_dir else {}
