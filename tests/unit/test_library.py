"""The functions of `trunk_transforms` as a library: what is wrong with an argument is said at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pandas as pd
import pytest

from sip_trunks.warehouse.frames import derive_changes
from tests.support.changes import log_changes
from tests.support.frames import day, drift, observations, rows, trunks, versions
from trunk_transforms.audit.coverage import measure_coverage
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.suppressions import suppress
from trunk_transforms.enrich.countries import derive_country_name, unify_countries
from trunk_transforms.enrich.numbers import derive_numbers
from trunk_transforms.enrich.providers import default_providers, derive_provider
from trunk_transforms.history.freshness import derive_freshness
from trunk_transforms.history.growth import derive_growth
from trunk_transforms.history.timeline import count_changed, count_versions, derive_timeline, list_moments, state_at
from trunk_transforms.reports.counts import count_changes, count_groups, count_providers, count_trunks, rank_groups
from trunk_transforms.schema.findings import FINDINGS
from trunk_transforms.schema.reports import CHANGES

NOW, CATALOG = day(9), default_providers()
TRUNKS, HISTORY, SEEN = trunks({}), versions({"days": (0, None)}), observations(0)
COUNTS = pd.DataFrame({"provider": ["Telnyx"], "trunk_count": [1]})
HOSTS = COUNTS.assign(sip_address="sip.telnyx.com")
CHANGED = pd.DataFrame(columns=CHANGES.names, dtype="str")
FOUND = pd.DataFrame(columns=FINDINGS.names, dtype="str")

FUNCTIONS: dict[str, tuple[Callable[[pd.DataFrame], Any], pd.DataFrame, list[str]]] = {
    "numbers": (derive_numbers, TRUNKS, ["phone_number"]),
    "provider": (lambda frame: derive_provider(frame, CATALOG), TRUNKS, ["sip_address"]),
    "country": (derive_country_name, TRUNKS, ["country_code"]),
    "countries": (unify_countries, TRUNKS, ["country_code"]),
    "counts": (lambda frame: count_trunks(frame, ["country_code", "account"]), TRUNKS, ["country_code", "account"]),
    "groups": (lambda frame: count_groups(frame, ["account"]), TRUNKS, ["account"]),
    "ranks": (lambda frame: rank_groups([frame], ["provider"]), COUNTS, ["provider", "trunk_count"]),
    "providers": (count_providers, COUNTS, ["provider"]),
    "changed": (count_changes, CHANGED, ["account", "trunk_id", "change"]),
    "audit": (lambda frame: audit_trunks(frame, providers=CATALOG, as_of=NOW), TRUNKS, ["account", "country_code"]),
    "coverage": (lambda frame: measure_coverage(frame, CATALOG, NOW, []), HOSTS, ["provider", "trunk_count"]),
    "suppress": (lambda frame: suppress(frame, [], NOW), FOUND, ["account", "rule", "cause"]),
    "growth": (lambda frame: derive_growth(frame, SEEN, as_of=NOW), HISTORY, ["created_at", "valid_from", "valid_to"]),
    "seen": (lambda frame: derive_growth(HISTORY, frame, as_of=NOW), SEEN, ["account", "snapshot_at"]),
    "freshness": (lambda frame: derive_freshness(frame, as_of=NOW), SEEN, ["account", "snapshot_at", "trunk_count"]),
    "moments": (list_moments, SEEN, ["snapshot_at"]),
    "state": (lambda frame: state_at(frame, NOW), HISTORY, ["account", "id", "valid_from", "valid_to"]),
    "versions": (count_versions, HISTORY, ["id", "phone_number", "valid_from"]),
    "replaced": (count_changed, HISTORY, ["account", "id", "valid_from", "valid_to"]),
    "timeline": (lambda frame: derive_timeline(frame, CHANGED, "acme", 1), HISTORY, ["account", "id", "valid_to"]),
    "before": (lambda frame: derive_changes(frame, TRUNKS, as_of=NOW), TRUNKS, ["account", "id"]),
    "after": (lambda frame: derive_changes(TRUNKS, frame, as_of=NOW), TRUNKS, ["account", "id"]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_missing_column_is_named(name: str) -> None:
    function, frame, columns = FUNCTIONS[name]
    function(frame)
    for column in columns:
        with pytest.raises(ValueError, match=rf"^\w+ needs the column {column}$"):
            function(frame.drop(columns=column))
    if len(columns) > 1:
        with pytest.raises(ValueError, match=rf"^\w+ needs the columns .*{columns[-1]}"):
            function(frame.drop(columns=columns))


@pytest.mark.parametrize(
    "function",
    [
        lambda moment: audit_trunks(TRUNKS, providers=CATALOG, as_of=moment),
        lambda moment: suppress(FOUND, [], moment),
        lambda moment: derive_growth(HISTORY, SEEN, as_of=moment),
        lambda moment: derive_freshness(SEEN, as_of=moment),
        lambda moment: derive_changes(TRUNKS, TRUNKS, as_of=moment),
        lambda moment: state_at(HISTORY, moment),
    ],
)
def test_a_naive_moment_is_an_error(function: Callable[[datetime], Any]) -> None:
    with pytest.raises(ValueError, match=r"^(as_of|moment) needs a time zone, such as .*2026-11-01T12:00:00 has none$"):
        function(datetime.fromisoformat("2026-11-01T12:00:00"))


def test_changes_of_two_frames_are_those_of_a_history() -> None:
    moved = {"id": 2, "country_code": "FR", "allowed_inbound_ips": '["192.0.2.1"]', "outbound_proxy": None}
    history = versions(
        {"id": 1, "days": (0, 1)},
        {"id": 2, "days": (0, 1)},
        moved | {"days": (1, None)},
        {"id": 3, "days": (1, None)},
        {"id": 4, "days": (0, None)},
    )
    before, after = state_at(history, day(0)), state_at(history, day(1))
    expected = log_changes(history, observations(0, 1), drift(), since=None, as_of=day(1))
    assert len(expected) == 5
    assert rows(derive_changes(before, after, as_of=day(1))) == rows(expected)
    assert derive_changes(after, after, as_of=day(1)).empty
    nothing = before.head(0)
    assert set(derive_changes(nothing, after, as_of=day(1))["change"]) == {"added"}
    assert set(derive_changes(before, nothing, as_of=day(1))["change"]) == {"removed"}
    assert derive_changes(nothing, nothing, as_of=day(1)).empty
