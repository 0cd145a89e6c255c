"""The audit of what a run has stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.famulor.demo import trunks_at
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from sip_trunks.warehouse.frames import read_trunks
from tests.support.builders import trunk
from tests.support.frames import TRUNK, rows
from tests.support.past import store
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.rules.context import AUDITED
from trunk_transforms.enrich.providers import default_providers

if TYPE_CHECKING:
    from tests.support.fixtures import Begin


def test_the_demo_account_has_the_findings_that_were_put_into_it(begin: Begin) -> None:
    begin(*trunks_at(0))
    with duckdb.connect(str(read_settings().warehouse_path), read_only=True) as connection:
        stored = read_trunks(connection, AUDITED)
    assert set(AUDITED) <= set(TRUNK)
    audited = audit_trunks(stored, providers=default_providers(), as_of=datetime(2026, 7, 1, tzinfo=UTC))
    found: dict[str, list[int]] = {}
    for code, trunk_id in rows(audited, "rule", "trunk_id"):
        found.setdefault(code, []).append(trunk_id)
    assert found == {
        "allowlist-empty": [2112],
        "allowlist-invalid": [2150],
        "allowlist-open": [2121],
        "allowlist-wide": [2150],
        "allowlist-private": [2129],
        "allowlist-reserved": [2129],
        "allowlist-duplicate": [2150],
        "allowlist-unused": [2134],
        "allowlist-platform": [2109],
        "provider-ips-missing": [2106, 2123, 2139],
        "provider-ips-other": [2128],
        "provider-calling-format": [2130, 2131],
        "provider-host": [2125],
        "provider-outbound-proxy": [2104, 2110],
        "provider-unsupported": [2117],
        "provider-registration": [2105],
        "proxy-unneeded": [2113],
        "host-malformed": [2142],
        "host-platform": [2143],
        "host-private": [2150],
        "host-ip": [2144],
        "number-missing": [2150],
        "number-malformed": [2135, 2146],
        "number-too-long": [2149],
        "number-invalid": [2147],
        "number-without-plus": [2132],
        "number-country": [2148],
        "country-unknown": [2108],
        "duplicate-trunk": [2114, 2141],
        "duplicate-number": [2119, 2146],
        "inbound-auth-unsupported": [2133],
        "inbound-number-conflict": [2111, 2138],
        "exposure-password": [2127],
        "exposure-username-blank": [2118],
        "exposure-username-number": [2139],
        "exposure-username-default": [2120],
        "exposure-shared-credential": [2110, 2124, 2137],
        "username-length": [2150],
        "format-outlier": [2134],
        "format-national-countries": [2122, 2145, 2149],
        "value-unknown": [2150],
        "value-unreadable": [2150],
    }


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
@pytest.mark.parametrize("is_odd_first", [True, False])
def test_values_of_the_wrong_type_are_audited_as_they_were_sent_now_and_in_the_past(
    destination: str, is_odd_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    settings = read_settings()
    first, second = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2))
    odd = trunk(
        inbound_authorization_type="ip",
        allowed_inbound_ips={"0": "8.8.8.8"},
        country_code=49,
        phone_number=493023125,
        sip_username=7,
        outbound_proxy=1,
    )
    sent = [[odd], [trunk()]] if is_odd_first else [[trunk()], [odd]]
    store(settings, [("acme", moment, trunks) for moment, trunks in zip((first, second), sent, strict=True)])
    for moment, is_past in ((first, True), (second, True), (second, False)):
        with open_destination(settings).reading(stored_tables(["audit"], is_past=is_past)) as connection:
            options = read_options(settings, as_of=moment, is_past=is_past, is_masked=True)
            found = read_inputs(connection, ["audit"], options).findings
        is_odd = is_odd_first == (moment == first)
        assert rows(found, "rule", "severity") == ([("value-unreadable", "high")] if is_odd else [])
        assert "493023125" not in found.to_csv()
