"""Destinations with a past, copies of them, and what a destination or a copy has, in a form that can be compared."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any, get_args

import duckdb
import pyarrow.parquet as pq
import pytest

from sip_trunks.commands import main
from sip_trunks.core.settings import Account, ApiSettings, Settings, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.transfer import CopyFormat, export_tables
from sip_trunks.run.run import run
from tests.support import past as history
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_whole
from tests.support.hard_account import hard_trunks
from tests.support.runs import TOKEN
from tests.support.shared import built_once
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from tests.support.api import Api

    Rows = dict[str, tuple[dict[str, str], list[str]]]
    """The types and the rows of every table."""
    Edition = Mapping[str, Sequence[dict[str, Any]]]

COPY_FORMATS: tuple[CopyFormat, ...] = get_args(CopyFormat)
FILES = ("duckdb", "parquet")
SNAPSHOT_ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
ODD_FOLDER = "account=zeta/copy [1] of */it's {a,b} \u4e2d"
PLAIN = [TRUNK, IP_TRUNK, trunk(id=44, sip_username="goes")]
EDITIONS: list[Edition] = [
    {"acme": PLAIN, "beta": [TRUNK, IP_TRUNK]},
    {"acme": [trunk(country_code="DE"), IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.9"]}], "beta": [TRUNK, IP_TRUNK]},
    {"acme": hard_trunks(0), "beta": [TRUNK, IP_TRUNK, trunk(id=45, zz_note="beta's", zz_list=[1])]},
    {"acme": hard_trunks(1)[:-1]},
    {"acme": [*hard_trunks(2), *PLAIN[1:], trunk(id=47, zz_note="acme's")], "beta": [TRUNK]},
]  # fmt: skip
"""What the accounts have, run by run; one that is missing was not asked."""
NEXT: Edition = {
    "acme": [
        *hard_trunks(3)[5:],
        IP_TRUNK | {"allowed_inbound_ips": ["192.0.2.7"]},
        trunk(id=44, sip_username="is back", zz_new={"a": 1}),
        trunk(id=46, zz_note=1.5),
    ],
    "beta": [TRUNK],
}
"""One more run: of `acme` it changes much, and `beta` is unchanged."""
MOMENTS = [datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(hours=n) for n in range(len(EDITIONS))]
AUDITS = {table.name for table in schema.AUDIT_TABLES}
"""The tables of an audit, which an import makes by itself; the contract of the destinations compares them."""
ONE = [trunk(id=n) for n in range(8)]
OTHER = [*(trunk(id=n, country_code="DE") for n in range(4)), *(IP_TRUNK | {"id": 10 + n} for n in range(8))]
"""Two snapshots of an account that `edition_of` can tell from each other."""


@dataclass(frozen=True)
class Past:
    """Destinations that stored all editions, and copies of them; each is built when a test first needs it.

    They are built in memory and stored at once. That runs build the same is shown in tests/system/test_transfer.py.
    """

    factory: pytest.TempPathFactory

    def settings(self, kind: str) -> Settings:
        """Return the settings of a destination that tests only read; they clone it to go on with it."""
        folder = built_once(self.factory, f"past-{kind}", lambda folder: store(_in(folder, kind), answers()))
        return _in(folder, kind)

    def copy(self, kind: str, form: CopyFormat) -> Path:
        """Return the copy of all that is stored, in a folder whose names need quoting everywhere."""

        def export(folder: Path) -> None:
            export_tables(self.settings(kind), folder / ODD_FOLDER, form)

        return built_once(self.factory, f"past-{kind}-as-{form}", export) / ODD_FOLDER


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return Past(tmp_path_factory)


def _in(folder: Path, kind: str) -> Settings:
    return Settings(folder, None, ApiSettings(), (), destination=kind)


def at(data_dir: Path, kind: str = "duckdb") -> Settings:
    """Return the settings in force, but for a destination below this folder, which may not exist."""
    return replace(read_settings(kind), data_dir=data_dir)


def clone(settings: Settings, data_dir: Path) -> Settings:
    """Return the settings of a destination that has the same, in a folder of its own."""
    shutil.copytree(settings.data_dir, data_dir, symlinks=True)
    return replace(settings, data_dir=data_dir)


def answers(count: int = len(EDITIONS)) -> list[history.Answer]:
    """Return what the accounts had at the first moments, as `store` takes it."""
    return [
        (account, moment, list(trunks))
        for moment, edition in zip(MOMENTS[:count], EDITIONS[:count], strict=True)
        for account, trunks in edition.items()
    ]


store = history.store


def expected_tables(kind: str, given: Sequence[history.Answer]) -> dict[str, pa.Table]:
    """Return the tables that a destination of this kind has after these answers, without storing them."""
    tables = history.tables_of(given)
    return tables if kind == "parquet" else {name: table for name, table in tables.items() if name != SNAPSHOT_ROWS}


def tables_in(copy: Path) -> dict[str, pa.Table]:
    """Return the tables of a Parquet copy."""
    return {file.stem: pq.read_table(file) for file in sorted(copy.glob("*.parquet"))}


def rows_of(tables: Mapping[str, pa.Table], run_at: datetime | None = None) -> Rows:
    """Return the types and rows of those columns that have a value.

    Rows are text, so that 1 is not 1.0 and -0.0 not 0.0. The moment and the loads of the run at `run_at` have a word
    each, so that two runs that store the same compare as equal.
    """
    loads = {
        row["_dlt_load_id"]
        for row in tables["sip_trunk_snapshots"].to_pylist()
        if row["snapshot_at"] == run_at and not row["is_unchanged"]
    }
    found: Rows = {}
    for name, table in tables.items():
        if name in AUDITS:
            continue
        columns = sorted(column for column in table.column_names if table[column].null_count < len(table))
        values = ([_plain(value, run_at, loads) for value in table[column].to_pylist()] for column in columns)
        rows = sorted(map(repr, zip(*values, strict=True)))
        # A file calls the values of a list element, Arrow calls them item.
        types = {column: str(table[column].type).replace("<element:", "<item:") for column in columns}
        found[name] = (types, rows)
    return found


def contents(settings: Settings, run_at: datetime | None = None, *, parsed: bool = False) -> Rows:
    """Return the same of what a destination's readers get; with `parsed`, JSON is its value, however it is spelled."""
    found: Rows = {}
    with open_destination(settings).reading() as connection:
        query = "SELECT _dlt_load_id FROM sip_trunk_snapshots WHERE NOT is_unchanged AND snapshot_at = ?"
        loads = {load for (load,) in connection.execute(query, [run_at]).fetchall()}
        stored = "SELECT table_name FROM duckdb_columns() WHERE schema_name = 'famulor' GROUP BY ALL"
        there = {name for (name,) in connection.execute(stored).fetchall()}
        for table in schema.EVERY_TABLE:
            if table.name not in there or table.name in AUDITS:
                continue
            described = connection.execute(f"DESCRIBE famulor.{table.name}").fetchall()
            types = {str(name): str(kind) for name, kind, *_ in sorted(described)}
            rows = connection.execute(f"SELECT {', '.join(types)} FROM famulor.{table.name}").fetchall()
            plain = [
                [
                    _parsed(value) if parsed and kind == "JSON" else _plain(value, run_at, loads)
                    for value, kind in zip(row, types.values(), strict=True)
                ]
                for row in rows
            ]
            found[table.name] = (types, sorted(map(repr, plain)))
    return found


def _plain(value: Any, run_at: datetime | None, loads: set[str]) -> Any:
    if isinstance(value, datetime):
        return "the run" if value == run_at else value.astimezone(UTC).isoformat()
    return "its load" if isinstance(value, str) and value in loads else value


def _parsed(value: str | None) -> Any:
    return None if value is None else json.loads(value)


def without_snapshot_rows(found: Rows) -> Rows:
    """Return the tables that every kind of destination has."""
    return {name: table for name, table in found.items() if name != SNAPSHOT_ROWS}


@dataclass(frozen=True)
class Went:
    """What a run did: its moment, and the status and the counts of every account."""

    moment: datetime
    outcome: list[list[Any]]


def go_on(settings: Settings, api: Api, edition: Edition) -> Went:
    """Run once, with this edition of the accounts."""
    for trunks in edition.values():
        api.queue(list(trunks))
    settings = replace(settings, api=ApiSettings(base_url=api.base_url, attempts=1, concurrency=1))
    done = run(settings, [Account(name, TOKEN) for name in edition], accept_shrink=True, with_reports=False)
    assert done.exit_code == 0, done
    assert done.snapshot_at is not None
    counts = ("account", "status", "trunk_count", "new_count", "changed_count", "removed_count", "drift_count")
    return Went(done.snapshot_at, [[getattr(entry, name) for name in counts] for entry in done.accounts])


def edition_of(copy: Path) -> int:
    """Assert that a Parquet copy has all of one of ONE and OTHER and nothing else; return which."""
    with duckdb.connect(copy / "views.duckdb") as connection:
        for table in schema.REQUIRED_TABLES:
            files = f"read_parquet('{copy / table.name}.parquet')"
            lists = " REPLACE (to_json(allowed_inbound_ips) AS allowed_inbound_ips)"
            has_lists = any(column.type == "text_list" for column in table.columns)
            connection.execute(f"CREATE VIEW {table.name} AS SELECT *{lists if has_lists else ''} FROM {files}")
    return assert_whole(copy / "views.duckdb", ONE, OTHER)


def call_refused(*arguments: str, code: int | tuple[int, ...]) -> str:
    """Call the command in this process and return the short line that is all it has to say."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        returned = main(arguments)
    assert returned in (code if isinstance(code, tuple) else (code,)), err.getvalue()
    assert out.getvalue() == ""
    (line,) = err.getvalue().splitlines()
    assert line.startswith("sip-trunks: ")
    assert len(line) < 500
    return line


def left_in(data_dir: Path) -> list[str]:
    """Return what is there beside the lock and the log, which may be made before anything is known, and the page."""
    found = sorted(path.relative_to(data_dir).as_posix() for path in data_dir.rglob("*"))
    usual = ("state", "state/run.lock", "state/sip-trunks.log")
    return [name for name in found if name not in usual and name.partition("/")[0] != "reports"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return all files but the lock and the log."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.lock", "sip-trunks.log"))
    return {str(path): path.read_bytes() for path in files}
