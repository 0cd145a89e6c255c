"""Reports in parts: Dask computes them account by account, and they equal those that pandas makes of all at once."""

from __future__ import annotations

import gc
import logging
import os
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from distributed import LocalCluster
from pandas.testing import assert_frame_equal

from sip_trunks.core.errors import DestinationError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.parquet_lake import ParquetLake
from sip_trunks.reporting.dask_engine import DaskEngine, reporting_in_parts
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from tests.support.builders import IP_TRUNK, trunk
from tests.support.past import store
from tests.support.runs import PATIENCE_SECONDS, call, capture
from trunk_transforms.reports.partitioned import PartitionedInputs
from trunk_transforms.reports.registry import derive_report

if TYPE_CHECKING:
    from pathlib import Path

    from sip_trunks.core.settings import Settings
    from trunk_transforms.reports.inputs import Options, ReportInputs
    from trunk_transforms.reports.partitioned import Job

ACCOUNTS = ("acme", "beta", "none")
SHARED = "+4930123456"
FIRST_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def some_trunks(place: int, edition: int) -> list[dict[str, Any]]:
    """Return an account's trunks: with findings of its own, and numbers and addresses that others have, too."""
    if place == ACCOUNTS.index("none"):
        return []
    return [
        trunk(id=1, phone_number=SHARED, country_code="DE"),
        IP_TRUNK | {"id": 2 + place, "allowed_inbound_ips": ["91.198.174.192", f"198.51.100.{place}", "0.0.0.0/0"]},
        *(trunk(id=10 + n, phone_number=f"+1212555{place}{n:03}", country_code="US") for n in range(place, 4)),
        trunk(id=20, phone_number="1000" if edition else None, sip_username="=1+1"),
        trunk(id=30, phone_number=place, country_code=49),
        trunk(id=21 + edition, phone_number="+49 30 1234-56" if place else "12", sip_calling_format="e164"),
    ]


@pytest.fixture
def lake(place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with two snapshots of several accounts, of which one has no trunks."""
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    settings = read_settings()
    store(
        settings,
        [
            (name, FIRST_AT + timedelta(days=edition), some_trunks(number, edition))
            for edition in range(2)
            for number, name in enumerate(ACCOUNTS)
        ],
    )
    return settings


@dataclass(frozen=True)
class OneByOne:
    """An engine that works out each account here, one after the other."""

    settings: Settings

    def work_out(self, report: str, options: Options, job: Job) -> list[pd.DataFrame]:
        engine = DaskEngine(None, ParquetLake(self.settings).part_reader(), [(n,) for n in ACCOUNTS])
        # In which order the parts come must not matter.
        return [engine.work_on(group, report=report, options=options, job=job) for group in reversed(engine.groups)]

    def find_shared(self, report: str, options: Options, job: Job) -> pd.Series:
        keys = pd.concat(self.work_out(report, options, job))["key"]
        return keys[keys.duplicated()].drop_duplicates()


def whole(settings: Settings, name: str, options: Options) -> pd.DataFrame:
    with open_destination(settings).reading(stored_tables([name], is_past=options.is_past)) as connection:
        return derive_report(name, read_inputs(connection, [name], options))


def test_every_report_in_parts_is_the_report_of_the_whole(lake: Settings) -> None:
    """Without a cluster: of every report, with every option that goes to the parts."""
    with open_destination(lake).reading() as connection:
        ((first_at,),) = connection.execute("SELECT min(snapshot_at) FROM sip_trunk_snapshots").fetchall()
    plain = read_options(lake)
    masked = replace(plain, is_masked=True, by=("number_kind", "provider", "country_code", "phone_number"))
    for names, options in (
        (("counts", "by_provider", "changes", "audit"), plain),
        (("counts", "changes", "audit"), masked),
        (("counts", "changes", "audit"), replace(masked, only=(ACCOUNTS[0], ACCOUNTS[-1]))),
        (("changes",), replace(plain, since=datetime(2020, 1, 1, tzinfo=UTC))),
        (("counts", "audit"), replace(plain, as_of=first_at, is_past=True)),
    ):
        inputs = PartitionedInputs({}, options, OneByOne(lake))
        for name in names:
            assert_frame_equal(derive_report(name, inputs), whole(lake, name, options))
    rules = set(whole(lake, "audit", plain)["rule"])
    assert {"duplicate-across-accounts", "allowlist-shared", "inbound-number-conflict", "value-unreadable"} <= rules
    assert len(whole(lake, "changes", plain)) >= len(ACCOUNTS) - 1


def die_once(part: ReportInputs, marker: str) -> pd.DataFrame:
    """Kill the worker that is the first to come here; count the trunks for the others."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return pd.DataFrame({"trunk_count": [len(part.tables["trunks"])], "worker": [os.getpid()]})
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


# Dask leaves a socket of a worker that is killed to the garbage collector.
LEAVING_A_SOCKET = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@LEAVING_A_SOCKET
def test_dask_computes_the_same_as_pandas_even_if_a_worker_is_killed(lake: Settings, tmp_path: Path) -> None:
    """Only a cluster shows that jobs reach other processes, and that the tasks of a worker that dies are done again."""
    settings, died = replace(lake, dask=replace(lake.dask, partition_rows=1)), tmp_path / "died"
    names = ["counts", "changes", "audit"]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as cluster:
        address = cluster.scheduler_address
        with reporting_in_parts(settings, names, read_options(settings), scheduler=address) as connected:
            assert isinstance(connected.engine, DaskEngine)
            # A busy machine takes its time to start another worker.
            engine = replace(connected.engine, patience_seconds=PATIENCE_SECONDS)
            parted = PartitionedInputs(connected.tables, connected.options, engine)
            counts = pd.concat(engine.work_out("counts", parted.options, partial(die_once, marker=str(died))))
            assert died.exists()
            assert len(counts) == len(ACCOUNTS)
            assert counts["trunk_count"].sum() == sum(len(some_trunks(number, 1)) for number in range(len(ACCOUNTS)))
            for name in names:
                assert_frame_equal(derive_report(name, parted), whole(lake, name, parted.options))
        report = ("report", "by_country", "--format", "csv")
        printed = [
            call(*report, *options)
            for options in ([], ["--engine", "dask", "--scheduler", address], ["--engine", "dask"])
        ]
        assert printed[0].startswith("country_code,")
        assert set(printed) == {printed[0]}
        assert cluster.scheduler_info["workers"]
    gc.collect()


def test_reports_that_dask_cannot_make_are_refused_in_one_line(lake: Settings) -> None:
    for arguments, words in (
        (["report", "growth", "--engine", "dask"], "not growth"),
        (["audit", "--engine", "dask", "--destination", "duckdb"], "reads a lake of Parquet files"),
        (["report", "counts", "--by", "zz_nothing", "--engine", "dask"], "no column 'zz_nothing'"),
        (["report", "counts", "--engine", "dask", "--as-of", "2020-01-01"], "nothing was stored at 2020-01-01"),
        (["report", "counts", "--engine", "dask", "--scheduler", "nonsense://x"], "no Dask scheduler responds"),
        (["report", "counts", "--scheduler", "tcp://127.0.0.1:9"], "--scheduler works only with --engine dask"),
    ):
        (line,) = capture(*arguments, code=2).errors.splitlines()
        assert words in line


def die(part: ReportInputs) -> pd.DataFrame:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(part)


@LEAVING_A_SOCKET
def test_a_cluster_without_workers_and_one_whose_workers_die_are_given_up(lake: Settings) -> None:
    """Only a cluster shows both, and the first by as many seconds as a command waits for workers."""
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL) as cluster:
        options = ("--engine", "dask", "--scheduler", cluster.scheduler_address)
        assert "has no workers" in call("report", "counts", *options, code=2)
    # Whether there is a worker again before the command gives up depends on the machine; the advice is the same.
    with (
        reporting_in_parts(lake, ["counts"], read_options(lake), scheduler=None) as parted,
        pytest.raises(DestinationError, match="dask_worker_bytes"),
    ):
        parted.engine.work_out("counts", parted.options, die)
    gc.collect()


def test_nothing_is_stored_yet(place: Path) -> None:
    assert "nothing is stored yet" in call("audit", "--engine", "dask", "--destination", "parquet", code=2)
