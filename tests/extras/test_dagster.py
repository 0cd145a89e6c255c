"""The assets of deploy/dagster in a process that has Dagster, which our own environment has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.extras.pinned import pinned
from tests.support.api import Answer
from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.environments import Environments, cache_folder
from tests.support.runs import PATIENCE_SECONDS, PROJECT
from trunk_transforms import schema

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api


def test_dagster_loads_every_account_as_a_partition_and_keeps_those_that_are_loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, place: Path, api: Api
) -> None:
    """Only Dagster shows that the definitions are valid, what it records of a run and which failures it retries."""
    environments = Environments(cache_folder(request, tmp_path_factory, "schedulers"))
    folder = environments.folder("dagster", pinned("dagster"), beside_ours=True)
    (place / ".dlt").mkdir()
    (place / ".dlt" / "secrets.toml").write_text('[sources.famulor.accounts]\nacme = "token-a"\nbeta = "token-b"\n')
    api.by_token["token-a"] = api.by_token["token-b"] = Answer(json.dumps({"data": [TRUNK, IP_TRUNK]}).encode())
    # The second time, one of them is refused.
    api.queued_to["token-b"] = [api.by_token["token-b"], Answer(b"{}", 401)]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tests" / "support" / "dagster_process.py")],
        env=os.environ | {"PYTHONPATH": f"{folder}:{PROJECT}", "DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    names = sorted(table.name for table in schema.REQUIRED_TABLES)
    assert seen["assets"] == [["famulor", name] for name in names]
    assert seen["kinds"] == ["dlt", "duckdb"]
    assert (seen["fresh_before"], seen["fresh_after"]) == (False, True)
    assert seen["first"]["success"], seen
    assert seen["first"]["loaded"] == [[name, account] for name in names for account in ("acme", "beta")]
    assert set(seen["first"]["trunk_counts"]) == {2}
    assert seen["second"]["loaded"] == [[name, "acme"] for name in names]
    assert not seen["second"]["success"]
    assert seen["second"]["retries"] == 0
    (failure,) = seen["second"]["failures"]
    assert failure.startswith("beta: ")
    assert "does not accept the token" in failure
    assert (seen["retried"], seen["policy"]) == ([4, 6, 7], 3)
    assert "token-a" not in done.stdout + done.stderr
