"""The SQL functions say of a value what the reports say of it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip_trunks.warehouse.columns import as_moment
from sip_trunks.warehouse.sql import DATASET, quoted
from sip_trunks.warehouse.views import create_views
from trunk_transforms import schema
from trunk_transforms.enrich.countries import derive_country_name, unify_countries
from trunk_transforms.enrich.numbers import derive_numbers
from trunk_transforms.enrich.providers import default_providers, derive_provider

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    *(
        "0123456789012345678",
        "12125550111",
        "0000000042",
        "+39 (0)2 12345678",
        "+39 (0) 6698",
        "reception",
        "a b",
        "a.b#*-_",
        "sixteen-letters-",
        "",
        " ",
        "‎+49\u00a030",
    ),
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
        "sip.telnyx.123",
        "8.8.8.8a",
        "a.telnyx.com-",
        "xn--p1ai.xn--p1ai",
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
    every = (*HOSTS, *(host.replace("*", "x") for p in default_providers().providers for host in p.every_host))
    providers = in_sql(functions, "provider_of", every)
    assert providers == in_frames(derive_provider(column_of("sip_address", every), default_providers()), "provider")
    assert {p.name for p in default_providers().providers if p.every_host} | {"unknown", None} == set(providers)


def test_a_code_means_the_same_country_in_sql_and_in_reports(functions: duckdb.DuckDBPyConnection) -> None:
    names = in_sql(functions, "country_name", CODES)
    assert names == in_frames(derive_country_name(column_of("country_code", CODES)), "country_name")
    assert names[:6] == ["Germany", "Germany", "United Kingdom", "United Kingdom", "United Kingdom", "Kosovo"]


def test_a_country_is_counted_once_in_sql_and_in_reports(functions: duckdb.DuckDBPyConnection) -> None:
    functions.register("codes", column_of("country_code", CODES))
    functions.execute(f"INSERT INTO {DATASET}.sip_trunks (account, country_code) SELECT 'a', country_code FROM codes")
    counted = functions.execute("SELECT country_code, trunk_count FROM trunk_counts ORDER BY ALL").fetchall()
    functions.execute(f"DELETE FROM {DATASET}.sip_trunks")
    unified = in_frames(unify_countries(column_of("country_code", CODES)), "country_code")
    assert sorted(counted, key=str) == sorted(Counter(unified).items(), key=str)
    assert ("GB", 3) in counted


@settings(max_examples=30)  # of many numbers each: a query costs more than a number
@given(st.lists(st.text(alphabet="+0149a.-()/ \u00a0é", max_size=18), min_size=30, max_size=200))
def test_no_number_is_of_another_kind_in_sql(functions: duckdb.DuckDBPyConnection, numbers: list[str]) -> None:
    derived = derive_numbers(column_of("phone_number", numbers))
    assert in_sql(functions, "number_kind", numbers) == in_frames(derived, "number_kind")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'2026-10-25'", "2026-10-25T00:00:00"),
        ("'2026-10-25 00:30'", "2026-10-25T00:30:00"),
        ("'2026-10-25T00:30Z'", "2026-10-25T00:30:00"),
        ("'2026-10-25T12Z'", "2026-10-25T12:00:00"),
        ("'2026-10-25 14+02'", "2026-10-25T12:00:00"),
        ("'2026-10-25 12'", "2026-10-25T12:00:00"),
        ("'2026-10-25 02:30+02:00'", "2026-10-25T00:30:00"),
        ("'2026-10-25 02:30+01'", "2026-10-25T01:30:00"),
        ("'2026-10-24 20:30-04:00'", "2026-10-25T00:30:00"),
        ("'2026-10-25 00:30:15.25'", "2026-10-25T00:30:15.25"),
        ("'2026-10-25 00:30:15Z'", "2026-10-25T00:30:15"),
        ("DATE '2026-10-25'", "2026-10-25T00:00:00"),
        ("TIMESTAMP '2026-10-25 00:30:00'", "2026-10-25T00:30:00"),
        ("TIMESTAMPTZ '2026-10-25 00:30:00.000001+00'", "2026-10-25T00:30:00.000001"),
        ("'infinity'", None),
    ],
)
def test_a_moment_is_read_in_every_form_and_time_zone(zone: str, text: str, expected: str | None) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        connection.execute(f"CREATE MACRO read(moment) AS {as_moment('moment')}")
        if expected is None:
            assert connection.execute(f"SELECT isinf(read({text}))").fetchall() == [(True,)]
        else:
            ((found,),) = connection.execute(f"SELECT epoch_us(read({text}))").fetchall()
            assert found == round(datetime.fromisoformat(f"{expected}+00:00").timestamp() * 1_000_000)
