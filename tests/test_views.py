"""What analysts query: the views and macros in `main`, and the comments that say what everything means."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import catalog, frames, views
from pipelines.catalog import DATASET, quoted
from pipelines.cli import main
from pipelines.describe import list_entries
from pipelines.destination import open_destination
from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from pipelines.views import create_views
from tests.builders import IP_TRUNK, TRUNK, trunk
from transforms import report_schema, schema
from transforms.countries import derive_country_name
from transforms.numbers import derive_numbers
from transforms.providers import default_providers, derive_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from pipelines.outcome import Outcome
    from tests.conftest import Api

BOTH = pytest.mark.parametrize("destination", ["duckdb", "parquet"])
NUMBERS = (
    *(
        "+4930231252",
        "0049 30 231252",
        "+49 (0) 30 231252",
        "00 49",
        "+",
        "++49",
        "1000",
        "999999",
        "1234567",
        "0123456",
    ),
    *("0123456789012345678", "12125550111", "reception", "a b", "a.b#*-_", "sixteen-letters-", "", " ", "‎+49\u00a030"),
    *("１２３４", "١٢٣", "+1 212 555 0111", "(212) 555-0111", "49/30", None),
)
HOSTS = (
    *("sip.telnyx.com", "SIP.TELNYX.COM.", " telnyx.com ", "badtelnyx.com", "telnyx.com:5060", "sip:telnyx.com", ""),
    *("acme.pstn.twilio.com", "acme.pstn.eu1.twilio.com", "203.0.113.5", "localhost", "a..b", "pbx.example", " ", None),
    *(
        "\u00a0out.didww.com",
        "sbc-1.wavix.net",
        "-x.telnyx.com",
        f"{'a' * 64}.telnyx.com",
        "x_y.sipgate.de",
        "ünïcode.de",
    ),
)
CODES = ("DE", "de", "UK", "uk ", " GB", "XK", "XX", "", "ß", "DEU", "D\u00c9", "d\u0130", "\u212aR", None)


@pytest.fixture(scope="module")
def functions() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has the macros on values."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA {DATASET}")
        columns = ", ".join(f"{quoted(c.name)} {schema.SQL_TYPES[c.type]}" for c in schema.SIP_TRUNKS.columns)
        connection.execute(f"CREATE TABLE {DATASET}.sip_trunks ({columns})")
        create_views(connection, default_providers)
        yield connection


def in_sql(connection: duckdb.DuckDBPyConnection, macro: str, values: Sequence[str | None]) -> list[Any]:
    """Return what a macro makes of values."""
    frame = pd.DataFrame({"place": range(len(values)), "value": pd.Series(list(values), dtype="str")})
    connection.register("given_values", frame)
    rows = connection.execute(f"SELECT {macro}(value) FROM given_values ORDER BY place").fetchall()
    return [value for (value,) in rows]


def in_frames(derived: pd.DataFrame, column: str) -> list[Any]:
    return [None if pd.isna(value) else value for value in derived[column]]


def column_of(name: str, values: Sequence[str | None]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(values), dtype="str")})


def test_a_number_is_of_the_same_kind_in_sql_and_in_reports(functions: duckdb.DuckDBPyConnection) -> None:
    kinds = in_sql(functions, "number_kind", NUMBERS)
    assert kinds == in_frames(derive_numbers(column_of("phone_number", NUMBERS)), "number_kind")
    assert set(kinds) == {"DID", "extension", "unknown"}


def test_a_host_has_the_same_provider_in_sql_and_in_reports(functions: duckdb.DuckDBPyConnection) -> None:
    every = (*HOSTS, *(host.replace("*", "x") for p in default_providers().providers for host in p.hosts))
    providers = in_sql(functions, "provider_of", every)
    assert providers == in_frames(derive_provider(column_of("sip_address", every), default_providers()), "provider")
    assert {p.name for p in default_providers().providers if p.hosts} | {"unknown", None} == set(providers)


def test_a_code_means_the_same_country_in_sql_and_in_reports(functions: duckdb.DuckDBPyConnection) -> None:
    names = in_sql(functions, "country_name", CODES)
    assert names == in_frames(derive_country_name(column_of("country_code", CODES)), "country_name")
    assert names[:6] == ["Germany", "Germany", "United Kingdom", "United Kingdom", "United Kingdom", "Kosovo"]


@given(st.lists(st.text(alphabet="+0149a.-()/ \u00a0é", max_size=18), min_size=1, max_size=200))
def test_no_number_is_of_another_kind_in_sql(functions: duckdb.DuckDBPyConnection, numbers: list[str]) -> None:
    derived = derive_numbers(column_of("phone_number", numbers))
    assert in_sql(functions, "number_kind", numbers) == in_frames(derived, "number_kind")


# ---------------------------------------------------------------------- what is published


def load(api: Api, *trunks: dict[str, Any], destination: str = "duckdb", **options: Any) -> Outcome:
    api.answer(list(trunks))
    settings = read_settings(destination)
    return run(settings, pick_accounts(settings, []), **options)


def query(sql: str, destination: str = "duckdb") -> list[tuple[Any, ...]]:
    with open_destination(read_settings(destination)).reading() as connection:
        return connection.execute(sql).fetchall()


@BOTH
def test_everything_explains_itself(destination: str, api: Api, place: Path) -> None:
    odd = TRUNK | {"codec": "opus"}, IP_TRUNK | {"outbound_proxy": "yes"}
    load(api, *odd, destination=destination, with_reports=False)
    load(api, IP_TRUNK | {"id": 7}, TRUNK, destination=destination, accept_shrink=True)
    commented = query(
        "SELECT schema_name || '.' || table_name, comment FROM duckdb_tables() UNION ALL "
        "SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal UNION ALL "
        "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal UNION ALL "
        "SELECT schema_name || '.' || table_name || '.' || column_name, comment FROM duckdb_columns() "
        "WHERE NOT internal",
        destination,
    )
    assert [name for name, comment in commented if not comment] == []
    places = ["main", "famulor", "reports"]
    found = dict.fromkeys(name.partition(".")[0] for name, _ in commented)
    assert set(places) <= set(found)

    described = {entry.name: [(c["name"], c["type"]) for c in entry.columns] for entry in list_entries()}
    views = query("SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'", destination)
    assert {name for (name,) in views} == {
        name for name in described if "(" not in name and "." not in name and "snapshot_rows" not in name
    } | ({"sip_trunk_snapshot_rows"} if destination == "parquet" else set())
    for name, columns in described.items():
        if "(" not in name and ("snapshot_rows" not in name or destination == "parquet"):
            stored = query(f"SELECT column_name, column_type FROM (DESCRIBE {name})", destination)
            added = [("codec", "VARCHAR"), ("outbound_proxy__v_text", "VARCHAR")]
            assert [column for column in stored if column not in added] == columns, name


@BOTH
def test_a_field_that_the_api_adds_is_in_every_view_and_macro(destination: str, api: Api, place: Path) -> None:
    load(api, TRUNK, IP_TRUNK, destination=destination, with_reports=False)
    load(api, TRUNK | {"codec": "opus"}, IP_TRUNK, destination=destination, with_reports=False)
    load(api, TRUNK | {"codec": "g711"}, IP_TRUNK, destination=destination, with_reports=False)
    assert query("SELECT codec FROM sip_trunks WHERE id = 42", destination) == [("g711",)]
    assert query("SELECT codec FROM trunks_as_of(now()) WHERE id = 42", destination) == [("g711",)]
    assert query("SELECT DISTINCT codec FROM sip_trunks_history WHERE id = 43", destination) == [(None,)]
    changed = [(42, "codec", "opus", "g711")]
    assert query("SELECT trunk_id, field, old, new FROM sip_trunk_changes", destination) == changed
    since = "(SELECT max(snapshot_at) - INTERVAL 1 MICROSECOND FROM sip_trunk_snapshots)"
    assert query(f"SELECT trunk_id, field, old, new FROM changes_between({since}, now())", destination) == changed


def texts_of(module: ModuleType) -> Iterator[str]:
    """Yield every text of a module's source, of which its SQL is made, but what explains the source itself."""
    tree = ast.parse(Path(module.__file__ or "").read_text("utf-8"))
    explaining = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining:
            yield node.value


@BOTH
def test_a_field_may_have_any_name_that_the_sql_uses(destination: str, api: Api, place: Path) -> None:
    texts = "\n".join(text for module in (catalog, frames, views) for text in texts_of(module))
    words = {word for word in re.findall(r"[a-z_]{2,}", texts) if word not in TRUNK} - schema.RESERVED_COLUMNS
    assert {"begin_at", "moment", "since", "before", "looks", "place"} <= words
    fields = dict.fromkeys(sorted(words), "old")
    load(api, TRUNK | fields, IP_TRUNK, destination=destination, with_reports=False)
    api.answer([TRUNK | fields | {"begin_at": "new", "moment": "new"}, IP_TRUNK])
    assert run(read_settings(destination), pick_accounts(read_settings(), [])).exit_code == 0
    changed = [("begin_at", "old", "new"), ("moment", "old", "new")]
    assert query("SELECT field, old, new FROM sip_trunk_changes ORDER BY ALL", destination) == changed
    assert query("SELECT field, old, new FROM reports.changes ORDER BY ALL", destination) == changed
    since = "(SELECT min(snapshot_at) FROM sip_trunk_snapshots)"
    assert query(f"SELECT field, old, new FROM changes_between({since}, now()) ORDER BY ALL", destination) == changed
    assert query(f"SELECT moment, since FROM trunks_as_of({since}) WHERE id = 42", destination) == [("old", "old")]


def test_a_field_of_the_api_goes_before_what_is_inferred(api: Api, place: Path) -> None:
    load(api, trunk(provider="as the API says", number_kind="mobile"), with_reports=False)
    columns = "provider, number_kind, country_name"
    expected = [("as the API says", "mobile", "United States")]
    assert query(f"SELECT {columns} FROM sip_trunks") == expected
    assert query(f"SELECT {columns} FROM trunks_as_of(now())") == expected
    assert query("SELECT DISTINCT provider_of(sip_address), number_kind(phone_number) FROM sip_trunks") == [
        ("unknown", "extension")
    ]


@BOTH
def test_findings_are_there_only_if_they_are_known(destination: str, api: Api, place: Path) -> None:
    wide_open = IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"]}
    load(api, TRUNK, wide_open, destination=destination)
    found = "SELECT trunk_id, severity FROM findings WHERE rule = 'allowlist-open'"
    assert query(found, destination) == [(43, "critical")]
    load(api, wide_open, destination=destination, with_reports=False)
    with pytest.raises(duckdb.CatalogException, match="findings"):
        query(found, destination)
    load(api, TRUNK, IP_TRUNK, destination=destination)
    assert query(found, destination) == []


def test_counts_are_of_each_account(api: Api, place: Path) -> None:
    load(
        api,
        trunk(id=1),
        trunk(id=2),
        trunk(id=3, country_code="UK"),
        trunk(id=4, country_code=None),
        with_reports=False,
    )
    settings = read_settings()
    api.answer([trunk(id=1)])
    run(settings, [replace(pick_accounts(settings, [])[0], name="beta")], with_reports=False)
    assert query("FROM trunk_counts ORDER BY ALL") == [
        ("beta", "+e164", "US", "United States", 1, 100.0),
        ("default", "+e164", "UK", "United Kingdom", 1, 25.0),
        ("default", "+e164", "US", "United States", 2, 50.0),
        ("default", "+e164", None, None, 1, 25.0),
    ]


def test_views_and_macros_work_in_a_file_that_is_attached_beside_another(api: Api, place: Path) -> None:
    load(api, TRUNK, IP_TRUNK, with_reports=False)
    load(api, TRUNK, with_reports=False, accept_shrink=True)
    with duckdb.connect("own.duckdb") as own:
        own.execute(f"ATTACH '{read_settings().warehouse_path}' AS trunks (READ_ONLY)")
        assert own.execute("SELECT count(*) FROM trunks.sip_trunks").fetchall() == [(1,)]
        assert own.execute("SELECT change FROM trunks.sip_trunk_changes").fetchall() == [("removed",)]
        own.execute("USE trunks")
        assert own.execute("SELECT count(*) FROM trunks_as_of(now())").fetchall() == [(1,)]


# ---------------------------------------------------------------------- the dictionary


def test_the_dictionary_has_what_is_stored_beside_what_is_declared(
    api: Api, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(api, TRUNK | {"codec": "opus"}, with_reports=False)
    assert main(["describe", "--format", "json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert list(described) == [entry.name for entry in list_entries()]
    by_name = {column["name"]: column for column in described["sip_trunks"]["columns"]}
    assert by_name["codec"]["is_declared"] is False
    assert by_name["provider"]["source"] == "derived"
    assert described["trunks_as_of(moment)"]["kind"] == "macro"
    assert by_name["number_kind"]["allowed"] == list(report_schema.NUMBER_KINDS)


@pytest.mark.parametrize("name", ["trunks_as_of", "sip_trunk_changes", "reports.growth", "growth", "number_kind"])
def test_one_entry_of_the_dictionary_is_shown(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", name]) == 0
    assert name in capsys.readouterr().out.partition(":")[0]


def test_what_is_not_in_the_dictionary_is_refused_by_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "trunk"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sip-trunks: nothing is named 'trunk'; there are sip_trunks, sip_trunks_history")
    assert error.count("\n") == 1
