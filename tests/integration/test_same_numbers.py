"""The same question has the same number everywhere: SQL, reports, page, notebook and the result of a run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from sip_trunks.core.settings import read_settings
from sip_trunks.reporting.notebook import read_stored
from tests.support.builders import trunk
from tests.support.runs import call, query
from trunk_transforms.reports.counts import count_changes, count_providers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

FIRST = [
    trunk(id=1, country_code="UK", sip_address="sip.telnyx.com"),
    trunk(id=2, country_code="GB", sip_address="pbx.example"),
    trunk(id=3, country_code="gb", sip_address="sip.telnyx.com"),
    trunk(id=4, country_code="DE", sip_address="other.example"),
    trunk(id=5, country_code="DE", sip_address="sip.telnyx.com"),
]
SECOND: list[dict[str, Any]] = [
    FIRST[0] | {"sip_address": "out.didww.com", "outbound_proxy": not FIRST[0]["outbound_proxy"]},
    FIRST[1] | {"sip_username": "another"},
    *FIRST[2:4],
    trunk(id=6, country_code="uk", sip_address="pbx.example"),
]


def report(*names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("report", *names, "--format", "json"))
    return found


def test_countries_providers_and_changes_have_one_number(api: Api, place: Path) -> None:
    api.answer(FIRST)
    call("run")
    api.answer(SECOND)
    (account,) = json.loads(call("run", "--json"))["accounts"]
    assert [account[f"{name}_count"] for name in ("new", "changed", "removed")] == [1, 2, 1]

    by_country = [(row["country_code"], row["country_name"], row["trunk_count"]) for row in report("by_country")]
    assert by_country == [("GB", "United Kingdom", 4), ("DE", "Germany", 1)]
    assert query("SELECT country_code, country_name, trunk_count FROM reports.by_country") == by_country
    named = "SELECT country_name, count(*) FROM sip_trunks GROUP BY ALL ORDER BY 2 DESC"
    assert query(named) == [(name, count) for _, name, count in by_country]
    stored = read_stored()
    assert stored.trunks["country_name"].nunique() == 2
    page = read_settings().page_path.read_text("utf-8")
    assert "United Kingdom (GB)" in page
    assert not re.search(r"\((UK|uk|gb)\)", page)

    assert count_providers(stored.trunks) == 2
    known = "SELECT count(DISTINCT provider) FROM sip_trunks WHERE provider <> 'unknown'"
    assert query(known) == [(2,)]

    counts = {"added trunks": 1, "removed trunks": 1, "changed trunks": 2, "changed fields": 3}
    assert count_changes(stored.changes) == counts
    overview = {row["item"]: row["value"] for row in report("overview") if row["section"] == "changes"}
    assert overview.items() >= counts.items()
    published: dict[str, int] = dict(query("SELECT item, value FROM reports.overview WHERE section = 'changes'"))
    assert published.items() >= counts.items()
    sentence = "1 added trunk, 1 removed trunk, 2 changed trunks, 3 changed fields"
    assert call("report", "changes").splitlines()[-1] == sentence
    assert f"{sentence}. Latest first" in page
    assert "<b>4</b> <span>trunks changed</span> <small>1 added, 1 removed, 2 changed</small>" in page
    assert query("SELECT count(DISTINCT trunk_id) FROM sip_trunk_changes WHERE change = 'changed'") == [(2,)]
