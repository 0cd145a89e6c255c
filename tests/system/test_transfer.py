"""Copies beside runs, signals, full disks and other users; and every source, format and destination with each other."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import ApiSettings, Settings, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.transfer import export_tables, import_tables
from tests.support.api import Api
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.disk import remount, used
from tests.support.paused import go_on as unpause
from tests.support.paused import paused_at
from tests.support.runs import COMMAND, PATIENCE_SECONDS, as_ordinary_user, call, load
from tests.support.shared import built_once
from tests.support.transfers import (
    COPY_FORMATS,
    EDITIONS,
    FILES,
    MOMENTS,
    NEXT,
    ONE,
    OTHER,
    at,
    clone,
    contents,
    edition_of,
    go_on,
    left_in,
    names_in,
    rows_of,
    store,
    tables_in,
    without_snapshot_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sip_trunks.operations.transfer import CopyFormat
    from tests.support.transfers import Past, Rows

pytestmark = pytest.mark.usefixtures("place")

DRAFT = ".copy*"
TICK = timedelta(microseconds=1)


# ---------------------------------------------------------------------- pasts that runs made


@dataclass(frozen=True)
class RunPast:
    """A destination that stored all editions run by run, with the copies that were made right after each run."""

    folder: Path
    kind: str

    @property
    def settings(self) -> Settings:
        return Settings(self.folder / "data", None, ApiSettings(), (), destination=self.kind)

    @property
    def settings_after_next(self) -> Settings:
        """The same destination after one more run."""
        return replace(self.settings, data_dir=self.folder / "next")

    @property
    def moments(self) -> list[datetime]:
        return [datetime.fromisoformat(text) for text in self._noted("moments.json")]

    @property
    def next_outcome(self) -> Any:
        return self._noted("outcome.json")

    def made_then(self, number: int) -> Path:
        """Return the copy that was made right after that run."""
        return self.folder / f"after-{number}"

    def _noted(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@pytest.fixture
def run_past(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, place: Path) -> RunPast:
    """The past of the kind of destination that the test is for: its parameter `source`."""
    kind = request.getfixturevalue("source")

    def build(folder: Path) -> None:
        past, api = RunPast(folder, kind), Api()
        try:
            moments = []
            for number, edition in enumerate(EDITIONS):
                moments.append(go_on(past.settings, api, edition).moment.isoformat())
                export_tables(past.settings, past.made_then(number), "parquet")
            (folder / "moments.json").write_text(json.dumps(moments))
            clone(past.settings, past.settings_after_next.data_dir)
            (folder / "outcome.json").write_text(json.dumps(go_on(past.settings_after_next, api, NEXT).outcome))
        finally:
            api.close()

    return RunPast(built_once(tmp_path_factory, f"run-past-{kind}", build), kind)


@pytest.fixture(params=FILES)
def source(request: pytest.FixtureRequest) -> Any:
    """A kind of destination that copies are made of."""
    return request.param


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("form", COPY_FORMATS)
def test_an_export_in_any_format_initializes_any_destination(
    source: str, form: CopyFormat, kind: str, run_past: RunPast, api: Api, place: Path
) -> None:
    """All combinations, of sources that were made by runs: what one writes another may read differently."""
    stored = contents(run_past.settings)
    assert min(len(rows) for _, rows in stored.values()) > 5
    counts = export_tables(run_past.settings, place / "copy", form)
    begun = at(place / "begun", kind)
    assert import_tables(begun, place / "copy") == counts
    assert counts == {name: len(rows) for name, (_, rows) in stored.items()}
    both_are_lakes = kind == source == "parquet"
    assert contents(begun) == (stored if both_are_lakes else without_snapshot_rows(stored))

    again = go_on(begun, api, NEXT)
    assert again.outcome == run_past.next_outcome
    followed = contents(run_past.settings_after_next, max_moment(run_past.settings_after_next))
    compared = followed if both_are_lakes else without_snapshot_rows(followed)
    after = contents(begun, again.moment)
    assert (after if both_are_lakes else without_snapshot_rows(after)) == compared


def max_moment(settings: Settings) -> datetime:
    with open_destination(settings).reading() as connection:
        ((moment,),) = connection.execute("SELECT max(snapshot_at) FROM sip_trunk_snapshots").fetchall()
    assert isinstance(moment, datetime)
    return moment


def test_a_copy_as_of_a_moment_is_the_one_that_was_made_then(source: str, run_past: RunPast, place: Path) -> None:
    """Of runs, which close versions by merging, unlike tests/integration/test_export.py."""
    moments = run_past.moments
    for number, moment in enumerate(moments):
        until = moments[number + 1] - TICK if moment != moments[-1] else datetime(2999, 1, 1, tzinfo=UTC)
        for name, as_of in (("exactly", moment), ("later", until)):
            counts = export_tables(run_past.settings, place / f"{number}-{name}", "parquet", as_of)
            made_then = rows_of(tables_in(run_past.made_then(number)))
            assert rows_of(tables_in(place / f"{number}-{name}")) == made_then, (number, name)
            then = json.loads((run_past.made_then(number) / "manifest.json").read_text())["tables"]
            assert counts == {table: entry["row_count"] for table, entry in then.items()}


@pytest.mark.parametrize("form", COPY_FORMATS)
def test_a_destination_is_initialized_from_an_export_as_of_a_moment(
    source: str, form: CopyFormat, run_past: RunPast, api: Api, place: Path
) -> None:
    """The other kind begins with a copy of the third run, and goes on with the fourth."""
    (kind,) = set(FILES) - {source}
    export_tables(run_past.settings, place / "then", form, run_past.moments[2])
    import_tables(begun := at(place / "begun", kind), place / "then")
    went = go_on(begun, api, EDITIONS[3])
    export_tables(begun, place / "after", "parquet")

    def known(copy: Path, run_at: datetime) -> Rows:
        return without_snapshot_rows(rows_of(tables_in(copy), run_at))

    assert known(place / "after", went.moment) == known(run_past.made_then(3), run_past.moments[3])


def test_a_file_is_initialized_from_an_export_without_trunks(api: Api, place: Path) -> None:
    store(source := at(place / "source", "parquet"), [("acme", MOMENTS[0], [])])
    assert export_tables(source, place / "copy", "csv")["sip_trunks"] == 0
    import_tables(begun := at(place / "begun"), place / "copy")
    assert contents(begun) == without_snapshot_rows(contents(source))
    went = go_on(begun, api, {"acme": [TRUNK, IP_TRUNK]})
    assert went.outcome == [["acme", "loaded", 2, 2, 0, 0, 0]]


def test_a_lake_without_any_trunk_is_copied_into_a_lake_as_it_is(place: Path) -> None:
    store(source := at(place / "source", "parquet"), [("acme", MOMENTS[0], [])])
    export_tables(source, place / "copy", "parquet")
    import_tables(at(place / "begun", "parquet"), place / "copy")
    assert contents(at(place / "begun", "parquet")) == contents(source)


def test_zero_bytes_and_very_long_texts_are_copied_by_runs_too(api: Api, place: Path) -> None:
    """Through dlt and in both formats of text files; tests/integration stores them at once, and reads CSV."""
    texts = ("a\u0000b", "x" * 3_000_000, "\u0000" + "x" * 3_000_000)
    trunks = [trunk(id=n, sip_username=text, zz_object={"a": text}) for n, text in enumerate(texts)]
    source = at(place / "source", "parquet")
    go_on(source, api, {"acme": trunks})
    for form in ("csv", "parquet"):
        export_tables(source, place / f"as-{form}", form)
        import_tables(at(place / form, "parquet"), place / f"as-{form}")
        assert contents(at(place / form, "parquet")) == contents(source), form


# ---------------------------------------------------------------------- beside runs

RUNS = """
import os, sys
from dataclasses import replace
from sip_trunks.run.run import run
from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.settings import read_settings
enough, one, other, *kinds = sys.argv[1:]
while not os.path.exists(enough):
    for url in (other, one):
        for kind in kinds:
            settings = read_settings(kind)
            settings = replace(settings, api=replace(settings.api, base_url=url))
            outcome = run(settings, pick_accounts(settings, []), accept_shrink=True, with_reports=False)
            assert [account.status for account in outcome.accounts] == ["loaded"], outcome
"""


def test_a_copy_is_of_one_moment_while_runs_go_on(api: Api, place: Path) -> None:
    """Only runs in another process show what is read while it is published. They go on until both states were seen."""
    api.answer(ONE)
    for kind in FILES:
        load(kind)
    seen: dict[str, list[int]] = {kind: [] for kind in FILES}
    (other := Api()).answer(OTHER)
    command = [sys.executable, "-c", RUNS, str(place / "enough"), api.base_url, other.base_url, *FILES]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as runs:
        try:
            while runs.poll() is None and any(len(of) < 10 or set(of) != {0, 1} for of in seen.values()):
                for kind in FILES:
                    export_tables(read_settings(kind), place / "copy", "parquet")
                    seen[kind].append(edition_of(place / "copy"))
                    shutil.rmtree(place / "copy")
        finally:
            (place / "enough").touch()
            _, errors = runs.communicate(timeout=PATIENCE_SECONDS)
            other.close()
    assert runs.returncode == 0, errors[-2000:]
    assert all(set(of) == {0, 1} for of in seen.values())


# ---------------------------------------------------------------------- a copy that cannot be made


def test_a_folder_that_must_not_be_written_to_is_named(past: Past, place: Path) -> None:
    (place / "locked").mkdir(mode=0o555)
    environment = {**os.environ, "SIP_TRUNKS__DATA_DIR": str(past.settings("duckdb").data_dir)}
    command = as_ordinary_user([COMMAND, "export", "--output", "locked/copy"])
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_SECONDS)
    assert done.returncode == 7, done.stderr
    assert done.stderr.startswith("sip-trunks: Permission denied")
    assert len(done.stderr.splitlines()) == 1
    assert names_in(place / "locked") == []


SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
STOPPED = "sip-trunks: stopped; stored data is unchanged"


@SIGNALS
def test_an_export_that_is_stopped_leaves_no_copy(
    number: int, code: int, past: Past, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when all tables are written and the manifest is not: only a signal to a process shows what it leaves."""
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    marks = place / "marks"
    with paused_at("*/manifest.json", marks, "export", "--output", "copy", "--format", "duckdb") as process:
        assert list(place.glob(f"{DRAFT}/warehouse.duckdb"))
        process.send_signal(number)
        _, printed = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, printed
    assert not (place / "copy").exists()
    if number != signal.SIGKILL:
        assert printed.splitlines() == [STOPPED]
        assert names_in(place) == ["marks"]
    export_tables(past.settings("duckdb"), place / "copy", "parquet")
    assert names_in(place) == ["copy", "marks"]
    assert rows_of(tables_in(place / "copy")) == rows_of(tables_in(past.copy("duckdb", "parquet")))


def test_of_two_exports_into_one_folder_the_first_to_end_is_kept(
    past: Past, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    with paused_at("*/manifest.json", place / "marks", "export", "--output", "copy", "--format", "csv") as late:
        call("export", "--output", "copy", "--format", "parquet")
        unpause(place / "marks")
        _, printed = late.communicate(timeout=PATIENCE_SECONDS)
    assert late.returncode == 2, printed
    assert "by another program in the meantime" in printed
    assert names_in(place) == ["copy", "marks"]
    assert rows_of(tables_in(place / "copy")) == rows_of(tables_in(past.copy("duckdb", "parquet")))


def test_an_export_for_which_the_disk_is_too_small_leaves_nothing(
    source: str, disk: Path, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings(source).data_dir))
    (disk.parent / "other").write_bytes(b"x" * 4096)
    for slack in (0, 4096 * 6):
        remount(disk.parent, f"size={used(disk.parent) + slack}")
        for form in COPY_FORMATS:
            output = str(disk.parent / "copy")
            said = call("export", "--destination", source, "--output", output, "--format", form, code=7)
            assert "space" in said, said
            assert "lake" not in said, said
            assert names_in(disk.parent) == ["other"]


# ---------------------------------------------------------------------- an import that does not end


@SIGNALS
@pytest.mark.parametrize("kind", FILES)
def test_an_import_that_is_stopped_leaves_nothing_and_the_next_one_works(
    kind: str, number: int, code: int, past: Past, place: Path
) -> None:
    """Stopped while dlt loads: what a process leaves there, only a process shows."""
    arguments = ("import", "--destination", kind, str(past.copy("duckdb", "parquet")))
    with paused_at("*/state/dlt/*/*", place / "marks", *arguments) as process:
        assert (place / "data" / "state" / "dlt").is_dir()
        process.send_signal(number)
        _, printed = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, printed
    if number != signal.SIGKILL:
        assert printed.splitlines()[-1] == STOPPED
        assert "Traceback" not in printed
        assert left_in(place / "data") == []
    assert not open_destination(read_settings(kind)).exists()
    import_tables(read_settings(kind), past.copy("duckdb", "parquet"))
    assert contents(read_settings(kind)) == contents(past.settings("duckdb"))
    assert set(names_in(place / "data" / "state")) <= {"run.lock", "sip-trunks.log"}


# dlt leaves files open that it cannot write.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", FILES)
def test_an_import_for_which_the_disk_is_too_small_leaves_nothing(kind: str, disk: Path, past: Past) -> None:
    (disk / "state").mkdir(parents=True)
    for pages in (8, 32, 128):
        remount(disk.parent, f"size={used(disk.parent) + pages * 4096}")
        arguments = ("import", "--destination", kind, str(past.copy("duckdb", "parquet")))
        said = call(*arguments, code=(0, 7) if pages > 8 else 7)
        if said.startswith("table"):
            break
        assert [name for name in left_in(disk) if not name.startswith("lake")] == []
        assert not open_destination(read_settings(kind)).exists()
    else:
        remount(disk.parent, "size=64m")
        call(*arguments)
    assert contents(read_settings(kind)) == contents(past.settings("duckdb"))
    gc.collect()
