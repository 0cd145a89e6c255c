"""What analysts query: the views and macros in `main`, and the comments that say what everything means."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.core.settings import ApiSettings, Settings, read_settings
from sip_trunks.warehouse import changes, frames, sql, state, views
from sip_trunks.warehouse.dictionary import list_entries
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.past import store
from tests.support.runs import call, query
from tests.support.shared import built_once
from trunk_transforms import schema
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tests.support.published import Published
    from tests.support.runs import Rows

FIRST = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = FIRST + timedelta(hours=1)


# ---------------------------------------------------------------------- what runs publish


def test_everything_explains_itself(published: Published) -> None:
    of_all = (
        "SELECT schema_name || '.' || table_name, comment FROM duckdb_tables() UNION ALL "
        "SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal UNION ALL "
        "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal UNION ALL "
        "SELECT schema_name || '.' || table_name || '.' || column_name, comment FROM duckdb_columns() "
        "WHERE NOT internal"
    )
    is_lake = published.kind == "parquet"
    optional = {"has_inbound_assistant", "assistant_count", "assignments_sha256"}
    described = {
        entry.name: [(c["name"], c["type"]) for c in entry.columns if c["name"] not in optional]
        for entry in list_entries()
        if "assignments" not in entry.name
    }
    added = [("zz_codec", "VARCHAR"), ("outbound_proxy__v_text", "VARCHAR")]
    with published.reading(2) as connection:
        commented = connection.execute(of_all).fetchall()
        assert [name for name, comment in commented if not comment] == []
        assert {"main", "famulor", "reports"} <= {name.partition(".")[0] for name, _ in commented}
        in_main = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'"
        assert {name for (name,) in connection.execute(in_main).fetchall()} == {
            name for name in described if "(" not in name and "." not in name and "snapshot_rows" not in name
        } | ({"sip_trunk_snapshot_rows"} if is_lake else set())
        for name, columns in described.items():
            if "(" not in name and ("snapshot_rows" not in name or is_lake):
                stored = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall()
                assert [column for column in stored if column not in added] == columns, name


def test_a_field_that_the_api_adds_is_in_every_view_and_macro(published: Published) -> None:
    changed = [(42, "zz_codec", "opus", "g711")]
    since = "(SELECT max(snapshot_at) - INTERVAL 1 MICROSECOND FROM sip_trunk_snapshots)"
    of_field = "SELECT trunk_id, field, old, new FROM"
    with published.reading(2) as connection:

        def rows(sql: str) -> Rows:
            return connection.execute(sql).fetchall()

        assert rows("SELECT zz_codec FROM sip_trunks WHERE id = 42") == [("g711",)]
        assert rows("SELECT zz_codec FROM trunks_as_of(now()) WHERE id = 42") == [("g711",)]
        assert rows("SELECT DISTINCT zz_codec FROM sip_trunks_history WHERE id = 43") == [(None,)]
        assert rows(f"{of_field} sip_trunk_changes WHERE change = 'changed'") == changed
        assert rows(f"{of_field} changes_between({since}, now())") == changed


# ---------------------------------------------------------------------- fields of any name


def texts_of(module: ModuleType) -> Iterator[str]:
    """Yield every text of a module's source, of which its SQL is made, but what explains the source itself."""
    tree = ast.parse(Path(module.__file__ or "").read_text("utf-8"))
    explaining = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining:
            yield node.value


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_a_field_may_have_any_name_that_the_sql_uses(destination: str, place: Path) -> None:
    """A field for each word of the SQL, some hundred columns, of which two change; with reports only in the file."""
    texts = "\n".join(text for module in (changes, frames, sql, state, views) for text in texts_of(module))
    words = {word for word in re.findall(r"[a-z_]{2,}", texts) if word not in TRUNK} - schema.RESERVED_COLUMNS
    assert {"begin_at", "moment", "since", "before", "observations", "position"} <= words
    fields = dict.fromkeys(sorted(words), "old")
    after = fields | {"begin_at": "new", "moment": "new"}
    given = [("default", FIRST, [TRUNK | fields, IP_TRUNK]), ("default", LATER, [TRUNK | after, IP_TRUNK])]
    store(read_settings(destination), given, with_reports=destination == "duckdb")
    changed = [("begin_at", "old", "new"), ("moment", "old", "new")]
    ordered = "SELECT field, old, new FROM {} ORDER BY ALL"
    assert query(ordered.format("sip_trunk_changes"), destination) == changed
    if destination == "duckdb":
        assert query(ordered.format("reports.changes"), destination) == changed
    since = f"TIMESTAMPTZ '{FIRST.isoformat()}'"
    assert query(ordered.format(f"changes_between({since}, now())"), destination) == changed
    assert query(f"SELECT moment, since FROM trunks_as_of({since}) WHERE id = 42", destination) == [("old", "old")]


# ---------------------------------------------------------------------- of one file


@pytest.fixture
def stored(tmp_path_factory: pytest.TempPathFactory, place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A file with two accounts, one of which has lost a trunk, and a field that the API added."""
    first = [trunk(id=1, zz_codec="opus"), trunk(id=2), trunk(id=3, country_code="UK"), trunk(id=4, country_code=None)]

    def build(folder: Path) -> None:
        settings = Settings(folder, None, ApiSettings(), ())
        store(settings, [("default", FIRST, [*first, trunk(id=5)]), ("default", LATER, first),
                         ("beta", LATER, [trunk(id=1)])])  # fmt: skip

    folder = built_once(tmp_path_factory, "views-of-two-accounts", build)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(folder))
    return read_settings()


def of(settings: Settings, sql: str) -> Rows:
    return query(sql, settings=settings)


def test_the_past_has_the_columns_of_the_history_in_the_same_order(stored: Settings) -> None:
    described = "SELECT column_name, column_type FROM (DESCRIBE FROM {})"
    assert of(stored, described.format("trunks_as_of(now())")) == of(stored, described.format("sip_trunks_history"))
    assert of(stored, "FROM sip_trunks_history WHERE valid_to IS NULL EXCEPT FROM trunks_as_of(now())") == []


def test_counts_are_of_each_account(stored: Settings) -> None:
    assert of(stored, "FROM trunk_counts ORDER BY ALL") == [
        ("beta", "+e164", "US", "United States", 1, 20.0, 100.0),
        ("default", "+e164", "GB", "United Kingdom", 1, 20.0, 25.0),
        ("default", "+e164", "US", "United States", 2, 40.0, 50.0),
        ("default", "+e164", None, None, 1, 20.0, 25.0),
    ]


def test_views_and_macros_work_in_a_file_that_is_attached_beside_another(stored: Settings) -> None:
    with duckdb.connect("own.duckdb") as own:
        own.execute(f"ATTACH '{stored.warehouse_path}' AS trunks (READ_ONLY)")
        assert own.execute("SELECT count(*) FROM trunks.sip_trunks").fetchall() == [(5,)]
        assert own.execute("SELECT change FROM trunks.sip_trunk_changes").fetchall() == [("removed",)]
        own.execute("USE trunks")
        assert own.execute("SELECT count(*) FROM trunks_as_of(now())").fetchall() == [(5,)]


# ---------------------------------------------------------------------- the dictionary


def test_the_dictionary_has_what_is_stored_beside_what_is_declared(stored: Settings) -> None:
    described = json.loads(call("describe", "--format", "json"))
    assert list(described) == [entry.name for entry in list_entries()]
    by_name = {column["name"]: column for column in described["sip_trunks"]["columns"]}
    assert by_name["zz_codec"]["is_declared"] is False
    assert by_name["country_name"]["source"] == "derived"
    assert described["trunks_as_of(moment)"]["kind"] == "macro"


@pytest.mark.parametrize("name", ["trunks_as_of", "sip_trunk_changes", "reports.growth", "growth", "number_kind"])
def test_one_entry_of_the_dictionary_is_shown(name: str, place: Path) -> None:
    assert name in call("describe", name).partition(":")[0]


def test_inferred_columns_list_their_values(place: Path) -> None:
    described = json.loads(call("describe", "--format", "json"))
    by_name = {column["name"]: column for column in described["sip_trunks"]["columns"]}
    assert by_name["provider"]["source"] == "derived"
    assert by_name["number_kind"]["allowed"] == list(report_schema.NUMBER_KINDS)


def test_a_name_that_is_not_in_the_dictionary_is_a_usage_error(place: Path) -> None:
    said = call("describe", "trunk", code=2)
    assert said.startswith(
        "sip-trunks: no table, view or macro named 'trunk'; there are sip_trunks, sip_trunks_history"
    )
