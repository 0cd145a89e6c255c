"""Reports in parts: what Dask works out, account by account, is to the byte what pandas says of all of them."""

from __future__ import annotations

import logging
import os
import re
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from distributed import LocalCluster
from pandas.testing import assert_frame_equal

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.engine import DaskEngine, reporting_in_parts
from pipelines.errors import DestinationFailed
from pipelines.lake import Lake
from pipelines.load import run
from pipelines.reporting import read_basis, read_options, stored_tables
from pipelines.settings import Account, read_settings
from tests.builders import IP_TRUNK, trunk
from transforms.parts import PartedBasis
from transforms.reports import REPORTS, Basis

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.settings import Settings
    from tests.conftest import Api
    from transforms.parts import Job
    from transforms.reports import Options

ACCOUNTS = ("acme", "beta", "none")
SHARED = "+4930123456"


def some_trunks(place: int, edition: int) -> list[dict[str, Any]]:
    """Return an account's trunks: with findings of its own, and numbers and addresses that others have, too."""
    if place == ACCOUNTS.index("none"):
        return []
    return [
        trunk(id=1, phone_number=SHARED, country_code="DE"),
        IP_TRUNK | {"id": 2 + place, "allowed_inbound_ips": ["91.198.174.192", f"198.51.100.{place}", "0.0.0.0/0"]},
        *(trunk(id=10 + n, phone_number=f"+1212555{place}{n:03}", country_code="US") for n in range(place, 4)),
        trunk(id=20, phone_number="1000" if edition else None, sip_username="=1+1"),
        trunk(id=21 + edition, phone_number="+49 30 1234-56" if place else "12", sip_calling_format="e164"),
    ]


@pytest.fixture
def lake(place: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with two snapshots of several accounts, of which one has no trunks."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    settings = read_settings()
    for edition in range(2):
        for number, name in enumerate(ACCOUNTS):
            api.answer_to(f"token-{name}", some_trunks(number, edition))
        accounts = [Account(name, f"token-{name}") for name in ACCOUNTS]
        assert run(settings, accounts, with_reports=False).exit_code == 0
    return settings


@dataclass(frozen=True)
class OneByOne:
    """An engine that works out each account here, one after the other."""

    settings: Settings
    is_past: bool = False

    def work_out(self, report: str, options: Options, job: Job) -> list[pd.DataFrame]:
        engine = DaskEngine(None, self.settings, Lake(self.settings).version, [(n,) for n in ACCOUNTS], self.is_past)
        # In which order the parts come must not matter.
        return [engine.work_on(group, report=report, options=options, job=job) for group in reversed(engine.groups)]

    def find_shared(self, report: str, options: Options, job: Job) -> pd.Series:
        keys = pd.concat(self.work_out(report, options, job))["key"]
        return keys[keys.duplicated()].drop_duplicates()


def whole(settings: Settings, name: str, options: Options, *, is_past: bool = False) -> pd.DataFrame:
    with open_destination(settings).reading(stored_tables([name], is_past=is_past)) as connection:
        return REPORTS[name].derive(read_basis(connection, [name], options, is_past=is_past))


def test_every_report_in_parts_is_the_report_of_the_whole(lake: Settings) -> None:
    with open_destination(lake).reading() as connection:
        ((first_at,),) = connection.execute("SELECT min(snapshot_at) FROM sip_trunk_snapshots").fetchall()
    plain = read_options(lake)
    masked = replace(plain, is_masked=True, by=("number_kind", "provider", "country_code", "phone_number"))
    for names, options, is_past in (
        (("counts", "by_provider", "changes", "audit"), plain, False),
        (("counts", "changes", "audit"), masked, False),
        (("changes",), replace(plain, since=datetime(2020, 1, 1, tzinfo=UTC)), False),
        (("counts", "audit"), replace(plain, as_of=first_at), True),
    ):
        basis = PartedBasis({}, options, OneByOne(lake, is_past))
        for name in names:
            assert_frame_equal(REPORTS[name].derive(basis), whole(lake, name, options, is_past=is_past))
    rules = set(whole(lake, "audit", plain)["rule"])
    assert {"duplicate-across-accounts", "allowlist-shared", "duplicate-number"} <= rules
    assert len(whole(lake, "changes", plain)) >= len(ACCOUNTS) - 1


def die_once(part: Basis, marker: str) -> pd.DataFrame:
    """Kill the worker that is the first to come here; count the trunks for the others."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return pd.DataFrame({"trunk_count": [len(part.tables["trunks"])], "worker": [os.getpid()]})
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.filterwarnings(  # Dask leaves a socket of a worker that is killed to the garbage collector
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
def test_dask_says_what_pandas_says_though_a_worker_is_killed(
    lake: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, died = replace(lake, dask=replace(lake.dask, partition_rows=1)), tmp_path / "died"
    names = ["counts", "changes", "audit"]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as cluster:
        address = cluster.scheduler_address
        with reporting_in_parts(settings, names, read_options(settings), scheduler=address) as parted:
            counts = pd.concat(parted.engine.work_out("counts", parted.options, partial(die_once, marker=str(died))))
            assert died.exists()
            assert len(counts) == len(ACCOUNTS)
            assert counts["trunk_count"].sum() == sum(len(some_trunks(number, 1)) for number in range(len(ACCOUNTS)))
            for name in names:
                assert_frame_equal(REPORTS[name].derive(parted), whole(lake, name, parted.options))
        capsys.readouterr()
        arguments = ("report", "by_country", "--format", "csv")
        for options in ([], ["--engine", "dask", "--scheduler", address], ["--engine", "dask"]):
            assert main([*arguments, *options]) == 0
        assert len(set(re.split(r"(?=country_code,)", capsys.readouterr().out)[1:])) == 1
        assert cluster.scheduler_info["workers"]


def test_what_dask_cannot_do_is_said_in_a_line(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["report", "growth", "--engine", "dask"], "not growth"),
        (["audit", "--engine", "dask", "--destination", "duckdb"], "reads a lake of Parquet files"),
        (["report", "counts", "--by", "nothing", "--engine", "dask"], "no column 'nothing'"),
        (["report", "counts", "--engine", "dask", "--as-of", "2020-01-01"], "nothing is known of 2020-01-01"),
        (["report", "counts", "--engine", "dask", "--scheduler", "nonsense://x"], "no Dask scheduler answers"),
        (["report", "counts", "--scheduler", "tcp://127.0.0.1:9"], "--scheduler is for --engine dask"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def die(part: Basis) -> pd.DataFrame:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(part)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_cluster_without_workers_and_one_whose_workers_die_are_given_up(
    lake: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL) as cluster:
        capsys.readouterr()
        assert main(["report", "counts", "--engine", "dask", "--scheduler", cluster.scheduler_address]) == 2
        assert "has no workers" in capsys.readouterr().err
    with (
        reporting_in_parts(lake, ["counts"], read_options(lake), scheduler=None) as parted,
        pytest.raises(DestinationFailed, match="dask_worker_bytes"),
    ):
        parted.engine.work_out("counts", parted.options, die)


def test_nothing_is_stored_yet(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--engine", "dask", "--destination", "parquet"]) == 2
    assert "nothing is stored yet" in capsys.readouterr().err
