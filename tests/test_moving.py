"""Copies: the same tables wherever they come from and go to, as of any moment, and nothing by halves."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.errors import DestinationFailed, SettingsError
from pipelines.load import run
from pipelines.moving import FORMS, Form, export_tables, import_tables
from pipelines.settings import Account, ApiSettings, Settings, pick_accounts, read_settings
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.conftest import TOKEN, Api
from tests.consistency import assert_whole
from tests.test_disk import disk, remount, used  # noqa: F401 - a fixture, and what goes with it
from transforms import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.postgres_server import PostgresServer

    Contents = dict[str, tuple[dict[str, str], list[str]]]
    Edition = Mapping[str, Sequence[dict[str, Any]]]
    Call = Callable[..., str]

pytestmark = pytest.mark.usefixtures("place")

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))
FILES = ("duckdb", "parquet")
DRAFT = ".copy*"
ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
TEXTS = (
    "", " ", "NULL", "null", "nan", "N/A", "\\N", "None", "true", "123", "0x10", "1e5", "007", "2026-01-01",
    "2026-03-31T10:00:00Z", "=1+1", "+1", "-1", "@SUM(1)", "\t=1", 'say "hi"', '"', '""', '","', "'", "'; DROP TABLE x",
    "a,b", "a;b", "a\tb", "line\nbreak", "line\r\nbreak", "lone\rreturn", "\n", "ends\n", "  padded  ", "\\", "\\n",
    '\\"', "#no comment", "\u00eb \U0001f4de \u4e2d", "e\u0301", "\u202egnp.exe", "\ufeffmark", "\u2028", "[]", "{}",
    '["a"]', "x" * 70_000,
)  # fmt: skip
LISTS: tuple[list[str | None], ...] = (
    [], [None], ["", None, "192.0.2.1"], ["192.0.2.1", "192.0.2.1"], ['a"b', "c,d", "e\nf", "\\", "NULL", "\U0001f4de"],
)  # fmt: skip
NEW_FIELDS: list[dict[str, Any]] = [
    {"note": "x", "ratio": 0.1, "flag": True, "seats": 7, "limits": {"calls": 5, "a": [1, None, "\u00eb"]}},
    {"note": "", "ratio": 1e300, "flag": False, "seats": 2**63 - 1, "limits": {"": '"', "n": 1.5}},
    {"note": None, "ratio": 5e-324, "flag": "", "seats": -(2**63), "limits": []},
    {"note": "NULL", "ratio": -0.0, "flag": "yes", "seats": 2**53 + 1, "limits": "text, then\nmore"},
    {"note": 7, "ratio": 1 / 3, "flag": None, "seats": 1.5, "limits": {"deep": [{"b": None}]}},
]
MISFITS: list[dict[str, Any]] = [
    {"outbound_proxy": "", "phone_number": 1000, "created_at": "soon"},
    {"outbound_proxy": "=yes", "sip_username": {"a": 1}, "allowed_inbound_ips": "192.0.2.1", "updated_at": 5},
]
MOMENTS: list[dict[str, Any]] = [
    {"created_at": moment} for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", None)
]


def _rich(edition: int) -> list[dict[str, Any]]:
    """Return an account in which everything that is hard to copy occurs, a little of it different every time."""
    return [
        *(trunk(id=400 + n, sip_username=text, country_code=None if n % 3 else "") for n, text in enumerate(TEXTS)),
        *(IP_TRUNK | {"id": 100 + n, "allowed_inbound_ips": ips} for n, ips in enumerate(LISTS)),
        *(trunk(id=200 + n, **fields, phone_number=str(edition)) for n, fields in enumerate(NEW_FIELDS)),
        *(trunk(id=300 + n, **fields) for n, fields in enumerate((*MISFITS, *MOMENTS))),
        trunk(id=2**63 - 1, sip_calling_format="E.164", sip_username=f"edition {edition}"),
    ]


PLAIN = [TRUNK, IP_TRUNK, trunk(id=44, sip_username="goes")]
EDITIONS: list[Edition] = [
    {"acme": PLAIN, "beta": [TRUNK, IP_TRUNK]},
    {"acme": [trunk(country_code="DE"), IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.9"]}], "beta": [TRUNK, IP_TRUNK]},
    {"acme": _rich(0), "beta": [TRUNK, IP_TRUNK, trunk(id=45, note="beta's", extra=[1])]},
    {"acme": _rich(1)[:-1]},
    {"acme": [*_rich(2), *PLAIN[1:]], "beta": [TRUNK]},
]  # fmt: skip
"""What the accounts answer, run by run; who is not in it was not asked."""
NEXT: Edition = {
    "acme": [*_rich(3)[5:], trunk(id=44, sip_username="is back", later={"a": 1}), trunk(id=46, note=1.5)],
    "beta": [TRUNK],
}


@dataclass(frozen=True)
class Past:
    """Destinations with a history of several runs; tests copy what they want to go on with."""

    folder: Path

    def settings(self, kind: str) -> Settings:
        return Settings(self.folder / kind, None, ApiSettings(), (), destination=kind)

    def settings_after_next(self, kind: str) -> Settings:
        """The same destination after one more run."""
        return replace(self.settings(kind), data_dir=self.folder / f"{kind}-next")

    def made_then(self, kind: str, number: int) -> Path:
        """The copy that was made right after that run."""
        return self.folder / f"{kind}-after-{number}"

    def copy(self, kind: str, form: str) -> Path:
        """The copy of all that is stored, in one of the forms."""
        return self.folder / f"{kind}-as-{form}"


def moments_of(settings: Settings) -> list[datetime]:
    """Return when the runs were."""
    with open_destination(settings).reading() as connection:
        rows = connection.execute("SELECT DISTINCT snapshot_at FROM sip_trunk_snapshots ORDER BY 1").fetchall()
    return [moment for (moment,) in rows]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Past:
    """Workers share it: each makes one kind, the first that it finds nobody at."""
    base = tmp_path_factory.getbasetemp()
    past = Past((base if worker_id == "master" else base.parent) / "past")
    past.folder.mkdir(exist_ok=True)
    # Every worker begins with another kind, and then waits for the one that the other has begun.
    for kind in sorted(FILES, reverse=worker_id == "gw1"):
        with (past.folder / f"{kind}.lock").open("a+") as file, pytest.MonkeyPatch.context() as patch:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (past.folder / f"{kind}.next").exists():
                patch.setenv("HOME", str(past.folder))
                patch.chdir(past.folder)
                make_past(past, kind)
    return past


def make_past(past: Past, kind: str) -> None:
    api = Api()
    try:
        for number, edition in enumerate(EDITIONS):
            go_on(past.settings(kind), api, edition)
            export_tables(past.settings(kind), past.made_then(kind, number), "parquet")
        for form in FORMS:
            export_tables(past.settings(kind), past.copy(kind, form), form)
        clone(past.settings(kind), past.settings_after_next(kind).data_dir)
        went = go_on(past.settings_after_next(kind), api, NEXT)
        (past.folder / f"{kind}.next").write_text(json.dumps(went.outcome))
    finally:
        api.close()


@dataclass(frozen=True)
class Went:
    """What a run did: its moment, and what it says of every account."""

    moment: datetime
    outcome: list[list[Any]]


def go_on(settings: Settings, api: Api, edition: Edition) -> Went:
    """Run once, with these answers."""
    for trunks in edition.values():
        api.queue(list(trunks))
    settings = replace(settings, api=ApiSettings(base_url=api.base_url, attempts=1))
    done = run(settings, [Account(name, TOKEN) for name in edition], accept_shrink=True, with_reports=False)
    assert done.exit_code == 0, done
    assert done.snapshot_at is not None
    counts = ("account", "status", "trunk_count", "new_count", "changed_count", "removed_count", "drift_count")
    return Went(done.snapshot_at, [[getattr(entry, name) for name in counts] for entry in done.accounts])


def contents(settings: Settings, since: datetime | None = None, *, parsed: bool = False) -> Contents:
    """Return the types and the rows of every table; of the run at `since` the moment and the load have no value.

    Rows are text, so that 1 is not 1.0 and -0.0 not 0.0. With `parsed`, JSON is what it says, however it is spelt.
    """
    found: Contents = {}
    with open_destination(settings).reading() as connection:
        loads = set()
        if since is not None:
            query = "SELECT _dlt_load_id FROM sip_trunk_snapshots WHERE NOT is_unchanged AND snapshot_at = ?"
            loads = {load for (load,) in connection.execute(query, [since]).fetchall()}
        for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS):
            if not connection.execute(
                f"SELECT 1 FROM duckdb_columns() WHERE schema_name = 'famulor' AND table_name = '{table.name}'"
            ).fetchall():
                continue
            described = connection.execute(f"DESCRIBE famulor.{table.name}").fetchall()
            types = {str(name): str(kind) for name, kind, *_ in sorted(described)}
            rows = connection.execute(f"SELECT {', '.join(types)} FROM famulor.{table.name}").fetchall()
            kinds = list(types.values())
            found[table.name] = (
                types,
                sorted(
                    repr([_plain(v, kind, since, loads, parsed) for v, kind in zip(row, kinds, strict=True)])
                    for row in rows
                ),
            )
    return found


def _plain(value: Any, kind: str, since: datetime | None, loads: set[str], parsed: bool) -> Any:
    if value == since and since is not None:
        return "now"
    if isinstance(value, str) and value in loads:
        return "this load"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.loads(value) if parsed and kind == "JSON" and value is not None else value


def without_rows(found: Contents) -> Contents:
    """Return the tables that every kind of destination has."""
    return {name: table for name, table in found.items() if name != ROWS}


def tables_of(folder: Path) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Return the types and rows of the columns of a Parquet copy that have a value."""
    found = {}
    for file in sorted(folder.glob("*.parquet")):
        table = pq.read_table(file)
        names = sorted(name for name in table.column_names if table[name].null_count < len(table))
        rows = zip(*(table[name].to_pylist() for name in names), strict=True)
        found[file.stem] = ({name: str(table[name].type) for name in names}, sorted(map(repr, rows)))
    return found


def clone(settings: Settings, data_dir: Path) -> Settings:
    """Return the settings of a destination that is the same, in a place of its own."""
    shutil.copytree(settings.data_dir, data_dir, symlinks=True)
    return replace(settings, data_dir=data_dir)


def at(data_dir: Path, kind: str = "duckdb") -> Settings:
    """Return the settings of a destination that is there or not."""
    return replace(read_settings(kind), data_dir=data_dir)


def left_in(data_dir: Path) -> list[str]:
    """Return what is there beside the lock and the log, which may be made before anything is known, and the page."""
    found = sorted(path.relative_to(data_dir).as_posix() for path in data_dir.rglob("*"))
    usual = ("state", "state/run.lock", "state/sip-trunks.log", "reports", "reports/index.html")
    return [name for name in found if name not in usual]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return all files but the lock and the log."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.lock", "sip-trunks.log"))
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """The command in this process: returns what it printed or, on failure, its one line on standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str, code: int | tuple[int, ...] = 0) -> str:
        capsys.readouterr()
        returned = main(arguments)
        printed = capsys.readouterr()
        assert returned in (code if isinstance(code, tuple) else (code,)), printed.err
        if returned == 0:
            assert printed.err == ""
            return printed.out
        (line,) = printed.err.splitlines()
        assert line.startswith("sip-trunks: ")
        assert len(line) < 500
        return line

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


# ---------------------------------------------------------------------- there and back


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("source", FILES)
def test_a_copy_in_any_form_begins_any_destination_which_goes_on_as_its_source_does(
    source: str, form: Form, past: Past, api: Api, place: Path
) -> None:
    stored = contents(past.settings(source))
    assert min(len(rows) for _, rows in stored.values()) > 5
    followed = past.settings_after_next(source)
    outcome = json.loads((past.folder / f"{source}.next").read_text())
    assert {status for _, status, *_ in outcome} == {"loaded", "unchanged"}
    expected = contents(followed, max(moments_of(followed)))
    for kind in FILES if form == "parquet" else set(FILES) - {source}:
        begun = at(place / kind, kind)
        counts = import_tables(begun, past.copy(source, form))
        assert counts == {name: len(rows) for name, (_, rows) in stored.items()}
        both_are_lakes = kind == source == "parquet"
        assert contents(begun) == (stored if both_are_lakes else without_rows(stored))
        assert set(names_in(begun.state_dir)) <= {"run.lock", "sip-trunks.log"}
        # What is stored is the same whatever form it came in; copies as of a moment, below, go on from the other two.
        if kind != source and form == "parquet":
            again = go_on(begun, api, NEXT)
            assert again.outcome == outcome
            assert without_rows(contents(begun, again.moment)) == without_rows(expected)


@pytest.mark.slow
def test_a_postgresql_begins_with_a_copy_goes_on_and_is_copied_in_turn(
    past: Past,
    api: Api,
    place: Path,
    postgres_server: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    server = at(place / "server", "postgres")
    import_tables(server, past.copy("parquet", "parquet"))
    assert left_in(server.data_dir) == []
    assert contents(server, parsed=True) == without_rows(contents(past.settings("parquet"), parsed=True))

    outcome = json.loads((past.folder / "parquet.next").read_text())
    assert go_on(server, api, NEXT).outcome == outcome
    stored = contents(server, parsed=True)
    for form in FORMS:
        export_tables(server, place / f"as-{form}", form)
    for kind, form in (("duckdb", "parquet"), ("parquet", "csv")):
        import_tables(at(place / kind, kind), place / f"as-{form}")
        assert contents(at(place / kind, kind), parsed=True) == stored
    with pytest.raises(SettingsError, match="already"):
        import_tables(server, place / "as-duckdb")
    assert contents(server, parsed=True) == stored
    for name in ("famulor", "famulor_staging"):
        postgres_server.execute(f"DROP SCHEMA {name} CASCADE", postgres_url.rpartition("/")[2])
    import_tables(server, place / "as-duckdb")
    assert contents(server, parsed=True) == stored


@pytest.mark.slow
def test_a_lake_of_another_table_format_begins_with_a_copy_and_is_copied_in_turn(past: Past, place: Path) -> None:
    lake = replace(at(place / "lake", "parquet"), table_format="delta")
    stored = contents(past.settings("parquet"))
    import_tables(lake, past.copy("parquet", "duckdb"))
    assert contents(lake) == stored
    export_tables(lake, place / "copy", "csv")
    import_tables(at(place / "begun", "parquet"), place / "copy")
    assert contents(at(place / "begun", "parquet")) == stored


def test_an_account_without_trunks_is_copied_too(api: Api, place: Path) -> None:
    go_on(at(place / "source", "parquet"), api, {"acme": []})
    stored = contents(at(place / "source", "parquet"))
    assert export_tables(at(place / "source", "parquet"), place / "copy", "csv")["sip_trunks"] == 0
    import_tables(at(place / "begun"), place / "copy")
    assert contents(at(place / "begun")) == without_rows(stored)
    went = go_on(at(place / "begun"), api, {"acme": [TRUNK, IP_TRUNK]})
    assert went.outcome == [["acme", "loaded", 2, 2, 0, 0, 0]]


def test_a_lake_without_any_trunk_is_copied_into_a_lake_as_it_is(api: Api, place: Path) -> None:
    go_on(at(place / "source", "parquet"), api, {"acme": []})
    export_tables(at(place / "source", "parquet"), place / "copy", "parquet")
    import_tables(at(place / "begun", "parquet"), place / "copy")
    assert contents(at(place / "begun", "parquet")) == contents(at(place / "source", "parquet"))


def test_text_that_files_are_not_made_for_is_copied(api: Api, place: Path) -> None:
    texts = ("a\u0000b", "x" * 3_000_000, "\u0000" + "x" * 3_000_000)
    trunks = [trunk(id=n, sip_username=text, note={"a": text}) for n, text in enumerate(texts)]
    go_on(at(place / "source", "parquet"), api, {"acme": trunks})
    stored = contents(at(place / "source", "parquet"))
    for form in ("csv", "parquet"):
        export_tables(at(place / "source", "parquet"), place / f"as-{form}", form)
        import_tables(at(place / form, "parquet"), place / f"as-{form}")
        assert contents(at(place / form, "parquet")) == stored, form


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_lies_in_a_folder_of_any_name(form: Form, past: Past, place: Path) -> None:
    folder = place / "account=zeta" / "copy [1] of *" / "it's {a,b} \u4e2d"
    export_tables(past.settings("duckdb"), folder, form)
    import_tables(at(place / "begun", "parquet"), folder)
    assert contents(at(place / "begun", "parquet")) == contents(past.settings("duckdb"))


def test_the_commands_say_what_was_copied_and_nothing_else(
    past: Past, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("parquet").data_dir))
    printed = call("export", "--destination", "parquet", "--output", "made/here")
    assert "sip_trunks_history" in printed
    assert "sip-trunks import made/here" in printed
    assert sorted(path.name for path in Path("made/here").iterdir()) == sorted(
        ["manifest.json", f"{ROWS}.parquet", *(f"{table.name}.parquet" for table in schema.TABLES)]
    )
    assert [path.name for path in Path("made").iterdir()] == ["here"]
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", "begun")
    assert "warehouse.duckdb" in call("import", "made/here")
    assert left_in(Path("begun")) == ["warehouse.duckdb"]
    assert "did not end" not in call("status")
    assert "total:" in call("report", "counts")
    with duckdb.connect("begun/warehouse.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM reports.counts").fetchall() == [(True,)]


# ---------------------------------------------------------------------- as of a moment


@pytest.mark.parametrize("source", FILES)
def test_a_copy_as_of_a_moment_is_the_one_that_was_made_then(source: str, past: Past, place: Path) -> None:
    moments = moments_of(past.settings(source))
    assert len(moments) == len(EDITIONS)
    tick = timedelta(microseconds=1)
    for number, moment in enumerate(moments):
        until = moments[number + 1] - tick if moment != moments[-1] else datetime(2999, 1, 1, tzinfo=UTC)
        for name, as_of in (("exactly", moment), ("later", until)):
            counts = export_tables(past.settings(source), place / f"{number}-{name}", "parquet", as_of)
            assert tables_of(place / f"{number}-{name}") == tables_of(past.made_then(source, number)), (number, name)
            then = json.loads((past.made_then(source, number) / "manifest.json").read_text())["tables"]
            assert counts == {table: entry["row_count"] for table, entry in then.items()}
    with pytest.raises(SettingsError, match="nothing was stored yet"):
        export_tables(past.settings(source), place / "before", "parquet", moments[0] - tick)
    assert not list(place.glob("*before*"))
    assert not list(place.glob(".*before*"))


@pytest.mark.parametrize(("source", "form", "kind"), [("duckdb", "csv", "parquet"), ("parquet", "duckdb", "duckdb")])
def test_a_destination_that_begins_with_a_copy_as_of_a_moment_goes_on_from_there(
    source: str, form: Form, kind: str, past: Past, api: Api, place: Path
) -> None:
    export_tables(past.settings(source), place / "then", form, moments_of(past.settings(source))[2])
    begun = at(place / "begun", kind)
    import_tables(begun, place / "then")
    went = go_on(begun, api, EDITIONS[3])
    export_tables(begun, place / "on", "parquet")

    def known(folder: Path, moment: datetime) -> dict[str, list[str]]:
        """The values but the moment and the load of the run."""
        rows = {name: rows for name, (_, rows) in tables_of(folder).items() if name != ROWS}
        looks = pq.read_table(folder / "sip_trunk_snapshots.parquet").to_pylist()
        load = {look["_dlt_load_id"] for look in looks if look["snapshot_at"] == moment}.pop()
        return {
            name: sorted(row.replace(load, "load").replace(repr(moment), "now") for row in found)
            for name, found in rows.items()
        }

    moments = {row["snapshot_at"] for row in pq.read_table(place / "on" / "sip_trunk_snapshots.parquet").to_pylist()}
    expected = past.made_then(source, 3)
    before = {row["snapshot_at"] for row in pq.read_table(expected / "sip_trunk_snapshots.parquet").to_pylist()}
    assert went.moment == max(moments)
    assert known(place / "on", max(moments)) == known(expected, max(before))


def test_fields_that_are_called_like_the_columns_of_an_allowlist_are_copied_as_of_a_moment(
    api: Api, place: Path
) -> None:
    named = {"list": ["x"], "position": 9, "ip": "mine", "trunk_id": 7, "now": "y"}
    moment = go_on(at(place / "source"), api, {"acme": [IP_TRUNK | named]}).moment
    export_tables(at(place / "source"), place / "all", "parquet")
    go_on(at(place / "source"), api, {"acme": [IP_TRUNK | named | {"country_code": "DE"}]})
    export_tables(at(place / "source"), place / "then", "parquet", moment)
    assert tables_of(place / "then") == tables_of(place / "all")


def test_a_time_before_the_first_snapshot_is_a_usage_error(
    past: Past, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    said = call("export", "--output", "copy", "--as-of", "2001-02-03", code=2)
    assert "2001-02-03" in said
    assert list(place.iterdir()) == []
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", "nowhere")
    assert "nothing is stored" in call("export", "--output", "copy", code=2)
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--output", "copy", "--as-of", "yesterday"])
    assert list(place.iterdir()) == []


# ---------------------------------------------------------------------- other programs


def test_parquet_is_read_by_pandas_and_polars_with_lists_and_moments(past: Past) -> None:
    for name in ("sip_trunks", "sip_trunks_history", ROWS):
        path = past.copy("parquet", "parquet") / f"{name}.parquet"
        frame, other = pd.read_parquet(path), pl.read_parquet(path)
        entries = [list(entry) for entry in frame["allowed_inbound_ips"].dropna()]
        assert all(entry in entries for entry in LISTS)
        assert entries == other["allowed_inbound_ips"].drop_nulls().to_list()
        moments = [column.name for column in schema.SIP_TRUNKS_HISTORY.columns if column.type == "timestamp"]
        for moment in {*moments, "snapshot_at"} & set(frame):
            assert str(frame[moment].dtype) == "datetime64[us, UTC]"
            assert other.schema[moment] == pl.Datetime("us", "UTC")
        assert other.schema["allowed_inbound_ips"] == pl.List(pl.String)
        assert other.schema["outbound_proxy"] == pl.Boolean
        assert other.schema["id"] == pl.Int64


def test_csv_is_read_by_pandas_and_tells_blank_from_missing(past: Past) -> None:
    path = past.copy("duckdb", "csv") / "sip_trunks.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False).query("account == 'acme'").set_index("id")
    assert frame["sip_username"].loc["400" : f"{399 + len(TEXTS)}"].tolist() == list(TEXTS)
    assert json.loads(str(frame["allowed_inbound_ips"]["104"])) == LISTS[4]
    assert pd.read_csv(path, parse_dates=["updated_at"])["updated_at"].dt.tz is not None
    header, *lines = path.read_text("utf-8").splitlines()
    assert header.replace('"', "").startswith("account,id,phone_number,sip_username")
    assert any(',"",' in line for line in lines)
    assert any(",," in line for line in lines)


@pytest.mark.parametrize("source", FILES)
def test_a_duckdb_copy_explains_itself_and_can_be_read_only(source: str, past: Past) -> None:
    with duckdb.connect(past.copy(source, "duckdb") / "warehouse.duckdb", read_only=True) as copy:
        ours = "schema_name IN ('famulor', 'main', 'reports') AND NOT internal"
        for kind in ("table", "view", "column"):
            name = "column_name" if kind == "column" else f"{kind}_name"
            assert (
                copy.execute(f"SELECT {name} FROM duckdb_{kind}s() WHERE {ours} AND comment IS NULL").fetchall() == []
            )
        views = copy.execute(f"SELECT view_name FROM duckdb_views() WHERE {ours} ORDER BY 1").fetchall()
        questions = {"drift", "findings", "sip_trunk_changes", "trunk_counts"}
        tables = {table.name for table in schema.TABLES} | ({ROWS} if source == "parquet" else set())
        assert {name for (name,) in views} == tables | questions
        (total,) = copy.execute("SELECT sum(trunk_count) FROM reports.counts").fetchall()
        assert total == copy.execute("SELECT count(*) FROM sip_trunks").fetchone()
        assert copy.execute("SELECT count(*) > 0 FROM drift WHERE is_current").fetchall() == [(True,)]
        with pytest.raises(duckdb.InvalidInputException):
            copy.execute("DELETE FROM famulor.sip_trunks")
    assert [path.name for path in past.copy(source, "duckdb").iterdir() if ".wal" in path.name] == []


# ---------------------------------------------------------------------- while runs publish

ONE = [trunk(id=n) for n in range(8)]
OTHER = [*(trunk(id=n, country_code="DE") for n in range(4)), *(IP_TRUNK | {"id": 10 + n} for n in range(8))]
RUNS = """
import sys
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
count, *kinds = sys.argv[1:]
for kind in kinds * int(count):
    settings = read_settings(kind)
    outcome = run(settings, pick_accounts(settings, []), accept_shrink=True, with_reports=False)
    assert [account.status for account in outcome.accounts] == ["loaded"], outcome
"""


def start_runs(count: int, *kinds: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUNS, str(count), *kinds]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def which(folder: Path) -> int:
    """Assert that a Parquet copy has all of one of the two snapshots and nothing else; return which."""
    with duckdb.connect(folder / "views.duckdb") as connection:
        for table in schema.TABLES:
            files = f"read_parquet('{folder / table.name}.parquet')"
            lists = " REPLACE (to_json(allowed_inbound_ips) AS allowed_inbound_ips)"
            has_lists = any(column.type == "text_list" for column in table.columns)
            connection.execute(f"CREATE VIEW {table.name} AS SELECT *{lists if has_lists else ''} FROM {files}")
    return assert_whole(folder / "views.duckdb", ONE, OTHER)


def test_a_copy_is_of_one_moment_while_runs_go_on(api: Api, place: Path) -> None:
    count = 4
    for number in range(count):
        for _ in FILES:
            api.queue(OTHER if number % 2 else ONE)
    seen: dict[str, set[int]] = {kind: set() for kind in FILES}
    failed: list[Exception] = []
    with start_runs(count, *FILES) as runs:
        while runs.poll() is None:
            time.sleep(0.1)
            for kind in FILES:
                try:
                    export_tables(read_settings(kind), place / "copy", "parquet")
                except SettingsError:  # nothing is stored yet
                    assert not seen[kind]
                    continue
                except DestinationFailed as error:
                    failed.append(error)
                    continue
                seen[kind].add(which(place / "copy"))
                shutil.rmtree(place / "copy")
        assert runs.returncode == 0, runs.stderr and runs.stderr.read()[-2000:]
    assert all(snapshots == {0, 1} for snapshots in seen.values())
    assert failed == []


@pytest.mark.slow
def test_a_copy_of_a_postgresql_is_of_one_moment_while_a_run_goes_on(
    api: Api, place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2

    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    server = read_settings("postgres")
    api.answer(ONE)
    run(server, pick_accounts(server, []), with_reports=False)
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        # The run stops where it has merged the trunks and not said so yet; who only reads can.
        cursor.execute("LOCK TABLE famulor.sip_trunk_snapshots IN EXCLUSIVE MODE")
        api.answer(OTHER)
        with start_runs(1, "postgres") as runs:
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'famulor.sip_trunk_snapshots'::regclass"
            )
            while runs.poll() is None and (cursor.execute(waiting), cursor.fetchall())[1] == [(0,)]:
                time.sleep(0.02)
            assert runs.poll() is None
            export_tables(server, place / "copy", "parquet")
            connection.rollback()
            assert runs.wait(30) == 0
    assert which(place / "copy") == 0


def test_a_copy_of_a_lake_has_nothing_of_a_run_that_has_not_published_yet(past: Past, place: Path) -> None:
    settings = clone(past.settings("parquet"), place / "source")
    (draft := settings.state_dir / "lake" / "famulor" / "sip_trunks").mkdir(parents=True)
    (published,) = (settings.data_dir / "lake" / "famulor" / "sip_trunks").glob("*.parquet")
    pq.write_table(pq.read_table(published).slice(0, 1), draft / "1.parquet")
    export_tables(settings, place / "copy", "parquet")
    assert tables_of(place / "copy") == tables_of(past.copy("parquet", "parquet"))


# ---------------------------------------------------------------------- a copy that cannot be made


def test_a_folder_that_is_taken_is_left_as_it_is(
    past: Past, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    Path("file").write_text("mine")
    Path("hollow").mkdir()
    for taken in ("full", "file", ".", "/"):
        assert "not empty" in call("export", "--output", taken, code=2)
    assert call("export", "--output", "file/below", code=(2, 7))
    assert call("export", "--output", "x" * 300, code=(2, 7))
    assert [Path("full/mine").read_text(), Path("file").read_text()] == ["mine", "mine"]
    assert names_in(place) == ["file", "full", "hollow"]
    call("export", "--output", "hollow/")
    assert Path("hollow/manifest.json").exists()
    call("export", "--output", "n" * 255, "--format", "csv")


def test_a_link_to_an_empty_folder_is_as_good_as_the_folder(
    past: Past, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    Path("real").mkdir()
    Path("link").symlink_to("real")
    call("export", "--output", "link")
    assert Path("link/manifest.json").exists()


def test_a_folder_that_must_not_be_written_to_is_named(past: Past, place: Path) -> None:
    if os.geteuid():
        pytest.skip("NOT TESTED: another user, since only root may become one")
    data = clone(past.settings("duckdb"), place / "data").data_dir
    for path in (place, *place.parents[:3]):
        path.chmod(0o755)
    code = (
        "import os, sys\nfrom pipelines.cli import main\nassert main(['export', '--output', 'first']) == 0\n"
        "os.setuid(65534)\nsys.exit(main(['export', '--output', 'copy']))"
    )
    environment = {**os.environ, "SIP_TRUNKS__DATA_DIR": str(data)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 7, done.stderr
    assert done.stderr.startswith("sip-trunks: Permission denied")
    assert len(done.stderr.splitlines()) == 1
    assert not list(place.glob("*copy*"))


def wait(process: subprocess.Popen[str], folder: Path, once: str) -> None:
    """Return as soon as there is such a path in the folder."""
    while process.poll() is None and not any(folder.glob(once)):
        time.sleep(0.0005)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop(number: int, folder: Path, once: str, made: Path, *arguments: str) -> tuple[int, str]:
    """Start the command and send a signal as soon as there is such a path; return its exit code and standard error."""
    for _ in range(10):
        process = start(*arguments)
        wait(process, folder, once)
        process.send_signal(number)
        _, printed = process.communicate(timeout=30)
        if process.returncode:
            return process.returncode, printed
        shutil.rmtree(made)  # it was done already
    pytest.fail("it is always done before the signal comes")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_copy_that_was_stopped_half_way_is_none(
    number: int, code: int, past: Past, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    arguments = ("export", "--output", "copy", "--format", "duckdb")
    returned, printed = stop(number, place, f"{DRAFT}/warehouse.duckdb", place / "copy", *arguments)
    assert returned == code, printed
    assert not (place / "copy").exists()
    if number != signal.SIGKILL:
        assert printed.splitlines() == ["sip-trunks: stopped; what was stored before is untouched"]
        assert list(place.iterdir()) == []
    export_tables(past.settings("duckdb"), place / "copy", "parquet")
    assert [name for name in names_in(place) if not name.startswith(".")] == ["copy"]
    assert tables_of(place / "copy") == tables_of(past.copy("duckdb", "parquet"))


def test_of_two_copies_into_one_folder_at_a_time_one_is_whole(
    past: Past, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings("duckdb").data_dir))
    one = start("export", "--output", "copy", "--format", "duckdb")
    wait(one, place, f"{DRAFT}/warehouse.duckdb")
    call("export", "--output", "copy", "--format", "parquet", code=(0, 2))
    _, printed = one.communicate(timeout=30)
    assert one.returncode in (0, 2), printed
    assert names_in(place) == ["copy"]
    import_tables(at(place / "begun", "parquet"), place / "copy")
    assert contents(at(place / "begun", "parquet")) == contents(past.settings("duckdb"))


@pytest.mark.parametrize("source", FILES)
def test_a_copy_for_which_the_disk_is_too_small_is_none(
    source: str,
    disk: Path,  # noqa: F811
    past: Past,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(past.settings(source).data_dir))
    (disk.parent / "other").write_bytes(b"x" * 4096)
    for slack in (0, 4096 * 6):
        remount(disk.parent, f"size={used(disk.parent) + slack}")
        for form in FORMS:
            output = str(disk.parent / "copy")
            said = call("export", "--destination", source, "--output", output, "--format", form, code=7)
            assert "space" in said, said
            assert "lake" not in said, said
            assert [path.name for path in disk.parent.iterdir()] == ["other"]


# ---------------------------------------------------------------------- a copy that is none


def make_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return what changes the manifest of a copy."""

    def damage(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return damage


def edit_trunks(**changes: Any) -> Callable[[Path], object]:
    return edit(lambda manifest: manifest["tables"]["sip_trunks"].update(changes))


def edit_column(name: str, kind: Any, table: str = "sip_trunks") -> Callable[[Path], object]:
    return edit(lambda manifest: manifest["tables"][table]["columns"].update({name: kind}))


def write_manifest(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "manifest.json").write_bytes(content)


def drop_column(folder: Path) -> None:
    edit_trunks(columns={"account": "text", "id": "bigint"})(folder)


def rename_column(new: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        table = pq.read_table(folder / "sip_trunks.parquet")
        names = [new if name == "note" else name for name in table.column_names]
        pq.write_table(table.rename_columns(names), folder / "sip_trunks.parquet")

        def change(manifest: dict[str, Any]) -> None:
            columns = manifest["tables"]["sip_trunks"]["columns"]
            manifest["tables"]["sip_trunks"]["columns"] = {
                new if name == "note" else name: kind for name, kind in columns.items()
            }

        edit(change)(folder)

    return damage


def rewrite(change: Callable[[pa.Table], pa.Table], table: str = "sip_trunks") -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        file = folder / f"{table}.parquet"
        pq.write_table(change(pq.read_table(file)), file)

    return damage


def with_null_id(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("id"), "id", pa.nulls(len(table), pa.int64()))


def without_looks(folder: Path) -> None:
    rewrite(lambda table: table.slice(0, 0), "sip_trunk_snapshots")(folder)
    edit(lambda manifest: manifest["tables"]["sip_trunk_snapshots"].update(row_count=0))(folder)


def cut(name: str, size: float) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * size)])

    return damage


def replace_bytes(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return damage


def drop_line(folder: Path) -> None:
    lines = (folder / "sip_trunks.csv").read_bytes().split(b"\n")
    (folder / "sip_trunks.csv").write_bytes(b"\n".join([*lines[:1], *lines[2:]]))


def in_duckdb(*statements: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        with duckdb.connect(folder / "warehouse.duckdb") as connection:
            connection.execute("DROP VIEW main.sip_trunks")
            connection.execute("DROP VIEW main.drift")
            for statement in statements:
                connection.execute(statement)

    return damage


SPY = (
    "CREATE TABLE famulor.real AS FROM famulor.sip_trunks",
    "DROP TABLE famulor.sip_trunks",
    "CREATE VIEW famulor.sip_trunks AS SELECT * REPLACE (content AS note) FROM famulor.real, read_text('/etc/hosts')",
)
INJECTION = "x\"; DROP TABLE famulor.sip_trunks; COPY (SELECT 1) TO 'stolen'; --"
DAMAGES: dict[str, tuple[Form, Callable[[Path], object]]] = {
    "no manifest": ("parquet", lambda folder: (folder / "manifest.json").unlink()),
    "no folder": ("parquet", shutil.rmtree),
    "a file": ("parquet", make_file),
    "manifest is no JSON": ("parquet", write_manifest(b"<html>")),
    "manifest is no text": ("parquet", write_manifest(b"\xff\xfe\x00")),
    "manifest is empty": ("parquet", write_manifest(b"")),
    "manifest is a list": ("parquet", write_manifest(b"[]")),
    "manifest is nested without end": ("parquet", write_manifest(b"[" * 200_000)),
    "manifest of another program": ("parquet", write_manifest(b'{"name": "npm", "version": "1", "tables": []}')),
    "manifest without tables": ("parquet", edit(lambda manifest: manifest.update(tables=None))),
    "manifest lacks a table": ("parquet", edit(lambda manifest: manifest["tables"].pop("schema_drift"))),
    "manifest of an unknown format": ("parquet", edit(lambda manifest: manifest.update(format="xml"))),
    "manifest of no format": ("parquet", edit(lambda manifest: manifest.update(format=["csv"]))),
    "manifest of another format": ("parquet", edit(lambda manifest: manifest.update(format="csv"))),
    "table is no object": ("parquet", edit(lambda manifest: manifest["tables"].update(sip_trunks="all"))),
    "table says more": ("parquet", edit_trunks(sql="DROP TABLE x")),
    "table without columns": ("parquet", edit_trunks(columns=None)),
    "table with a list of columns": ("parquet", edit_trunks(columns=["account", "id"])),
    "table with no column": ("parquet", edit_trunks(columns={})),
    "columns of a text": ("csv", edit_trunks(columns="account")),
    "row count is text": ("parquet", edit_trunks(row_count="many; DROP TABLE x")),
    "row count is null": ("parquet", edit_trunks(row_count=None)),
    "row count is more": ("parquet", edit_trunks(row_count=10**30)),
    "type with SQL": ("parquet", edit_column("note", "text); DROP TABLE x; --")),
    "type with SQL in csv": ("csv", edit_column("note", "VARCHAR'}); COPY (SELECT 1) TO 'stolen'; --")),
    "type that is a list": ("parquet", edit_column("note", ["text"])),
    "type that is an object": ("csv", edit_column("note", {"a": 1})),
    "type of other values": ("parquet", edit_column("allowed_inbound_ips", "double")),
    "type of other values, text": ("parquet", edit_column("sip_username", "bigint")),
    "type of other values, csv": ("csv", edit_column("sip_username", "bool")),
    "type other than declared": ("parquet", edit_column("id", "text")),
    "type other than declared, csv": ("csv", edit_column("id", "text")),
    "type other than declared, look": ("csv", edit_column("snapshot_at", "text", "sip_trunk_snapshots")),
    "column that is not there": ("parquet", edit_column(INJECTION, "text")),
    "column that is not there, csv": ("csv", edit_column(INJECTION, "text")),
    "column that is not there, duckdb": ("duckdb", edit_column(INJECTION, "text")),
    "column of no name that a field gets": ("parquet", rename_column(INJECTION)),
    "column of another case": ("parquet", rename_column("NOTE")),
    "column that is dlt's": ("parquet", rename_column("_dlt_id")),
    "column too few": ("parquet", drop_column),
    "table of another name": (
        "parquet", edit(lambda manifest: manifest["tables"].update({INJECTION: manifest["tables"]["sip_trunks"]})),
    ),
    "key that is null": ("parquet", rewrite(with_null_id)),
    "no snapshot": ("parquet", without_looks),
    "parquet cut": ("parquet", cut("sip_trunks_history.parquet", 0.9)),
    "parquet empty": ("parquet", cut("sip_trunks_history.parquet", 0)),
    "parquet missing": ("parquet", lambda folder: (folder / "schema_drift.parquet").unlink()),
    "parquet too short": ("parquet", rewrite(lambda table: table.slice(1))),
    "parquet too long": ("parquet", rewrite(lambda table: pa.concat_tables([table, table.slice(0, 1)]))),
    "parquet without a column": ("parquet", rewrite(lambda table: table.drop_columns(["note"]))),
    "csv cut": ("csv", cut("sip_trunks_history.csv", 0.9)),
    "csv cut by little": ("csv", cut("sip_trunks.csv", 0.9999)),
    "csv empty": ("csv", cut("sip_trunks.csv", 0)),
    "csv missing": ("csv", lambda folder: (folder / "sip_trunks.csv").unlink()),
    "csv lacks a line": ("csv", drop_line),
    "csv with a word for a number": ("csv", replace_bytes("sip_trunks.csv", b'"42"', b'"x2"')),
    "csv with a key that is null": ("csv", replace_bytes("sip_trunks.csv", b'"42"', b"")),
    "csv that is no UTF-8": ("csv", replace_bytes("sip_trunks.csv", b"sip.provider.com", b"sip.provider\xff\xfe")),
    "duckdb cut": ("duckdb", cut("warehouse.duckdb", 0.2)),
    "duckdb empty": ("duckdb", cut("warehouse.duckdb", 0)),
    "duckdb garbage": ("duckdb", lambda folder: (folder / "warehouse.duckdb").write_bytes(b"no database" * 9999)),
    "duckdb missing": ("duckdb", lambda folder: (folder / "warehouse.duckdb").unlink()),
    "duckdb lacks a row": ("duckdb", in_duckdb("DELETE FROM famulor.sip_trunks WHERE id = 42 AND account = 'beta'")),
    "duckdb lacks a table": ("duckdb", in_duckdb("DROP TABLE famulor.sip_trunks")),
    "duckdb with a view on a file of ours": ("duckdb", in_duckdb(*SPY)),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_whole_copy_is_refused_and_leaves_nothing(name: str, past: Past, place: Path, call: Call) -> None:
    form, damage = DAMAGES[name]
    shutil.copytree(past.copy("duckdb", form), place / "copy")
    damage(place / "copy")
    said = call("import", "copy", code=2)
    assert "copy" in said
    assert left_in(place / "data") == []
    assert set(names_in(place)) <= {"copy", "data"}


# ---------------------------------------------------------------------- a destination that cannot take it


@pytest.mark.parametrize("kind", FILES)
def test_a_destination_that_has_something_is_left_as_it_is(
    kind: str, past: Past, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clone(past.settings(kind), place / "data").data_dir
    before = bytes_of(data)
    said = call("import", "--destination", kind, str(past.copy("duckdb", "parquet")), code=2)
    assert "already" in said
    assert bytes_of(data) == before


@pytest.mark.parametrize("kind", FILES)
def test_an_import_during_a_run_is_turned_away(kind: str, past: Past, place: Path, call: Call) -> None:
    (place / "data" / "state").mkdir(parents=True)
    (place / "data" / "state" / "warehouse.duckdb").write_text("what the run works on")
    with (place / "data" / "state" / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        said = call("import", "--destination", kind, str(past.copy("duckdb", "csv")), code=6)
        assert "another run is active" in said
    assert left_in(place / "data") == ["state/warehouse.duckdb"]


@pytest.mark.parametrize(("kind", "number", "code"), [("duckdb", signal.SIGINT, 130), ("parquet", signal.SIGKILL, -9)])
def test_an_import_that_was_stopped_is_none_and_the_next_one_works(
    kind: str, number: int, code: int, past: Past, place: Path
) -> None:
    arguments = ("import", "--destination", kind, str(past.copy("duckdb", "parquet")))
    returned, printed = stop(number, place, "data/state/dlt", place / "data", *arguments)
    assert returned == code, printed
    if number != signal.SIGKILL:
        assert printed.splitlines()[-1] == "sip-trunks: stopped; what was stored before is untouched"
        assert "Traceback" not in printed
        assert left_in(place / "data") == []
    assert not open_destination(read_settings(kind)).exists()
    import_tables(read_settings(kind), past.copy("duckdb", "parquet"))
    assert contents(read_settings(kind)) == contents(past.settings("duckdb"))
    assert set(names_in(place / "data" / "state")) <= {"run.lock", "sip-trunks.log"}


# dlt leaves files open that it cannot write.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", FILES)
def test_an_import_for_which_the_disk_is_too_small_leaves_nothing(
    kind: str,
    disk: Path,  # noqa: F811
    past: Past,
    call: Call,
) -> None:
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


def test_a_data_directory_that_is_a_file_is_named(past: Past, place: Path, call: Call) -> None:
    (place / "data").write_text("mine")
    assert str(place / "data") in call("import", str(past.copy("duckdb", "parquet")), code=7)
    assert (place / "data").read_text() == "mine"


def test_a_postgresql_that_does_not_answer_is_named_without_the_password(
    past: Past, place: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader:s3cret@127.0.0.1:1/nowhere")
    said = call("import", "--destination", "postgres", str(past.copy("duckdb", "parquet")), code=7)
    assert "postgres" in said
    assert "s3cret" not in said
    assert left_in(place / "data") == []


def test_an_import_into_a_postgresql_after_a_run_and_an_import_that_died_there_has_the_copy_alone(
    past: Past,
    api: Api,
    place: Path,
    postgres_server: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    server, database = at(place / "server", "postgres"), postgres_url.rpartition("/")[2]
    go_on(server, api, EDITIONS[0])
    # What makes a load count is written last: it is what a run that died lacks, and here what an import cannot write.
    postgres_server.execute("DELETE FROM famulor.sip_trunk_snapshots", database)
    postgres_server.execute("ALTER TABLE famulor.sip_trunk_snapshots ADD CONSTRAINT never CHECK (false)", database)
    with pytest.raises(DestinationFailed):
        import_tables(server, past.copy("duckdb", "parquet"))
    assert left_in(server.data_dir) == ["state/last_run.json"]
    assert not open_destination(server).exists()
    postgres_server.execute("ALTER TABLE famulor.sip_trunk_snapshots DROP CONSTRAINT never", database)
    import_tables(server, past.copy("duckdb", "parquet"))
    assert contents(server, parsed=True) == contents(past.settings("duckdb"), parsed=True)
