"""Thirty questions, each answered in SQL, in Python from the rows of the history and, where there is one, by a report
and by the notebook. The history has what is hard: trunks that vanish and return, fields that change and change back,
values of other types, accounts with equal ids, moments about midnight and the change of the clocks, fields named like
ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting import notebook
from sip_trunks.reporting.formats import frame_rows
from sip_trunks.reporting.inputs import read_inputs, read_options
from tests.support.builders import trunk
from tests.support.past import store
from tests.support.shared import built_once
from trunk_transforms.reports.registry import derive_report
from trunk_transforms.schema.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from trunk_transforms.reports.inputs import ReportInputs

    Row = dict[str, Any]
    Answer = Callable[[Any], Any]

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
OURS = {"provider": "Self", "number_kind": "mobile", "Country Name": "Nowhere", "trunkCount": 7, "provider_of": "x"}
HOSTS = {"sip.telnyx.com": "Telnyx", "x.pstn.twilio.com": "Twilio", "pbx.example.com": "unknown", "": None}
NAMES = {"DE": "Germany", "GB": "United Kingdom", "US": "United States", "ZZ": None, None: None}
KINDS = {"+4930231253": "DID", "+442079460108": "DID", "1000": "extension", None: "unknown"}


def made(number: int, **fields: Any) -> Row:
    """Return a trunk that no account has twice."""
    host, created_at = [*HOSTS][number % 3], "2025-01-31T23:30:00Z"
    usual = {"phone_number": "+4930231253", "sip_address": host, "country_code": "DE", "created_at": created_at}
    return trunk(id=number, **usual | fields)


def at(text: str) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MOMENTS = [
    at("2025-03-29T23:30:00"),
    at("2025-03-30T00:59:59.999999"),  # Berlin skips an hour at 01:00Z
    at("2025-03-30T22:30:00"),  # already the next day in Berlin
    at("2025-03-30T23:59:59.999999"),
    at("2025-03-31T00:00:00"),
    at("2025-04-03T12:00:00"),
    at("2025-10-26T00:30:00"),  # Berlin repeats the hour from 00:00Z
    at("2025-10-26T01:30:00"),
    at("2025-11-02T05:30:00"),
]
AUTH: Row = {"inbound_authorization_type": "auth", "allowed_inbound_ips": None}
BY_IP: Row = {"inbound_authorization_type": "ip", "allowed_inbound_ips": ["192.0.2.1", "192.0.2.2"]}

TWICE: Row = {"allowed_inbound_ips": ["192.0.2.2", None, "192.0.2.2"]}


def moved(number: int, day: int, **fields: Any) -> Row:
    """Return a trunk that was updated on a day."""
    return made(number, updated_at=f"2025-04-{day:02}T00:00:00Z", **fields)


FIRST = [made(1, **AUTH, **OURS), made(2, **BY_IP), made(3), made(4, created_at="2025-02-01T00:00:00Z"), made(5)]
ACME: list[list[Row]] = [
    FIRST,
    [*FIRST[:2], *FIRST[3:], made(6) | {"country_code": "UK"}],  # 3 vanishes, 6 is new
    [moved(1, 2, **BY_IP, **OURS), *FIRST[1:], made(6) | {"country_code": "gb"}],  # 3 returns, 1 changes
    [moved(1, 3, **AUTH, **OURS), *FIRST[1:], made(6) | {"country_code": "GB"}],  # 1 changes back
    [moved(1, 3, **AUTH, **OURS), made(2, **BY_IP | TWICE), *FIRST[2:]],
    [moved(1, 3, **AUTH, **OURS), made(2, **BY_IP), FIRST[2], FIRST[3] | {"created_at": "soon", "phone_number": 7}],
    [moved(1, 4, **AUTH, **OURS), made(2, **BY_IP | {"allowed_inbound_ips": "192.0.2.1"}), *FIRST[2:4]],
    [moved(1, 4, **AUTH, **OURS), made(2, **BY_IP), made(3) | {"sip_address": "", "country_code": None}, FIRST[4]],
    [moved(1, 4, **AUTH, **OURS), made(2, **BY_IP), made(3) | {"sip_address": "", "country_code": "ZZ"}, FIRST[4]],
]  # fmt: skip
OTHER = [made(1) | {"phone_number": "1000"}, made(2) | {"phone_number": "+442079460108", "country_code": "US"}]
BETA: list[list[Row] | None] = [None, OTHER, None, OTHER, OTHER[:1], [], OTHER, None, [*OTHER, made(9)]]
SINCE, UNTIL = MOMENTS[1], MOMENTS[-1] + timedelta(days=1)
DAYS = [date(2025, 3, 29) + timedelta(days=n) for n in range(240)]


@dataclass(frozen=True)
class Told:
    """The rows of the history and of the observations, as SQL shows them, and the questions' own arithmetic."""

    versions: list[Row]
    observations: list[Row]

    def at(self, moment: datetime) -> list[Row]:
        return [
            v
            for v in self.versions
            if v["valid_from"] <= moment
            and (v["valid_to"] is None or v["valid_to"] > moment)
            and any(o["account"] == v["account"] and o["snapshot_at"] <= moment for o in self.observations)
        ]

    @cached_property
    def now(self) -> list[Row]:
        return [v for v in self.versions if v["valid_to"] is None]

    @cached_property
    def trunks(self) -> dict[tuple[str, int], list[Row]]:
        found: dict[tuple[str, int], list[Row]] = {}
        for version in sorted(self.versions, key=lambda v: v["valid_from"]):
            found.setdefault((version["account"], version["id"]), []).append(version)
        return found

    def snapshots(self, account: str) -> list[datetime]:
        return sorted(o["snapshot_at"] for o in self.observations if o["account"] == account)

    def steps(self) -> list[tuple[Row | None, Row | None, datetime]]:
        """Return each version that began or ended after the account's first snapshot, beside its neighbour."""
        found: list[tuple[Row | None, Row | None, datetime]] = []
        for (account, _), versions in self.trunks.items():
            first = self.snapshots(account)[0]
            ends = {v["valid_to"]: v for v in versions if v["valid_to"]}
            begins = {v["valid_from"]: v for v in versions if v["valid_from"] > first}
            found += [(ends.get(moment), begins.get(moment), moment) for moment in ends.keys() | begins.keys()]
        return found

    def spells(self, versions: list[Row]) -> int:
        return sum(i == 0 or versions[i - 1]["valid_to"] != v["valid_from"] for i, v in enumerate(versions))

    def entries(self) -> set[tuple[Any, ...]]:
        """Return each entry of an allowlist with its uninterrupted periods."""
        found: set[tuple[Any, ...]] = set()
        for (account, number), versions in self.trunks.items():
            for ip in {ip for v in versions for ip in v["allowed_inbound_ips"] or ()}:
                begin = end = None
                for v in versions:
                    if ip not in (v["allowed_inbound_ips"] or ()):
                        continue
                    if begin is not None and end != v["valid_from"]:
                        found.add((account, number, ip, begin, end))
                        begin = None
                    begin, end = begin or v["valid_from"], v["valid_to"]
                found.add((account, number, ip, begin, end))
        return found


def country(version: Row) -> str | None:
    code: str | None = version["country_code"]
    return {"UK": "GB", "gb": "GB"}.get(code or "", code)


def provider(version: Row) -> str | None:
    return HOSTS[version["sip_address"]]


def kind(version: Row) -> str:
    return KINDS[version["phone_number"]]


def counted(versions: list[Row], *by: Callable[[Row], Any]) -> set[tuple[Any, ...]]:
    """Return each combination with its count."""
    return {(*key, n) for key, n in Counter(tuple(value(v) for value in by) for v in versions).items()}


def of(name: str) -> Callable[[Row], Any]:
    return lambda version: version[name]


def daily(told: Told) -> set[tuple[Any, ...]]:
    return {
        (day, *row)
        for day in DAYS
        for row in counted(
            told.at(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, microseconds=-1)),
            of("account"), of("sip_calling_format"), country, provider,
        )
    }  # fmt: skip


def monthly(told: Told, event: str) -> set[tuple[Any, ...]]:
    """Return account, first day of the month, and the number of trunks that first appeared, returned or vanished."""
    counts: Counter[tuple[str, date]] = Counter()
    for (account, _), versions in told.trunks.items():
        for i, v in enumerate(versions):
            is_first, follows = i == 0, i > 0 and versions[i - 1]["valid_to"] == v["valid_from"]
            ends = v["valid_to"] if i + 1 == len(versions) or versions[i + 1]["valid_from"] != v["valid_to"] else None
            moment = {
                "first_seen": v["valid_from"] if is_first else None,
                "returned": v["valid_from"] if not is_first and not follows else None,
                "vanished": ends,
            }[event]
            if moment:
                counts[account, moment.date().replace(day=1)] += 1
    return {(*key, n) for key, n in counts.items()}


def grown(event: str) -> Answer:
    return lambda inputs: {
        (account, period, n) for account, period, n in rows(inputs.growth[["account", "period", f"{event}_count"]]) if n
    }


def created(told: Told) -> set[tuple[Any, ...]]:
    good = ([v["created_at"] for v in vs if v["created_at"]][-1:] for vs in told.trunks.values())
    accounts = [account for account, _ in told.trunks]
    months = [(account, c[0].date().replace(day=1)) for account, c in zip(accounts, good, strict=True) if c]
    return {(*key, n) for key, n in Counter(months).items()}


def rows(frame: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame_rows(frame)]


def report(name: str, *columns: str) -> Answer:
    return lambda inputs: set(rows(derive_report(name, inputs)[list(columns)]))


def counts(*by: str) -> Answer:
    return lambda inputs: set(rows(inputs.count(by)[[*by, "trunk_count"]]))


def changed(inputs: ReportInputs, *columns: str, change: str) -> set[tuple[Any, ...]]:
    frame = inputs.changes
    return set(rows(frame.loc[frame["change"] == change, list(columns)]))


def changed_field(inputs: ReportInputs, field: str) -> set[tuple[Any, ...]]:
    frame = inputs.changes
    return set(rows(frame.loc[frame["field"] == field, ["account", "trunk_id", "old", "new", "observed_at"]]))


def list_changes(told: Told, change: str) -> set[tuple[Any, ...]]:
    added = [(new, moment) for old, new, moment in told.steps() if old is None]
    removed = [(old, moment) for old, new, moment in told.steps() if new is None]
    return {(v["account"], v["id"], moment) for v, moment in (added if change == "added" else removed) if v}


def list_field(told: Told, field: str) -> set[tuple[Any, ...]]:
    return {
        (new["account"], new["id"], old[field], new[field], moment)
        for old, new, moment in told.steps()
        if old and new and old[field] != new[field]
    }


def net(told: Told) -> set[tuple[Any, ...]]:
    """Return the trunks that were added or removed from the account's snapshot at SINCE to the last one."""
    found = set()
    for account in ("acme", "beta"):
        begin = max(m for m in told.snapshots(account) if m <= SINCE)
        old, new = ({v["id"] for v in told.at(m) if v["account"] == account} for m in (begin, UNTIL))
        found |= {(account, n, "added") for n in new - old} | {(account, n, "removed") for n in old - new}
    return found


OWN = ("row_version", "valid_from", "valid_to", "_dlt_load_id")
BETWEEN = f"changes_between('{SINCE.isoformat()}', '{UNTIL.isoformat()}')"
DAY_AFTER = "'2025-03-31'"
MONTH = "date_trunc('month', make_timestamp(epoch_us({})))::DATE"
VERSIONS = """(
    SELECT *, lag(valid_to) OVER trunk AS previous_to, lead(valid_from) OVER trunk AS next_from,
        row_number() OVER trunk AS n
    FROM sip_trunks_history WINDOW trunk AS (PARTITION BY account, id ORDER BY valid_from)
)"""

# Question: SQL, Python on the rows of the history, and the report and the notebook on their inputs.
QUESTIONS: dict[str, tuple[str, Answer, Answer | None]] = {
    "How many trunks are there?": (
        "SELECT account, count(*) FROM sip_trunks GROUP BY account",
        lambda t: counted(t.now, of("account")), counts("account")),
    "By provider?": (
        "SELECT provider, count(*) FROM sip_trunks GROUP BY provider",
        lambda t: counted(t.now, provider), report("by_provider", "provider", "trunk_count")),
    "By kind of number?": (
        "SELECT number_kind, count(*) FROM sip_trunks GROUP BY number_kind",
        lambda t: counted(t.now, kind), report("by_number_kind", "number_kind", "trunk_count")),
    "By country?": (
        "SELECT country_code, country_name, sum(trunk_count)::BIGINT FROM trunk_counts GROUP BY ALL",
        lambda t: {(c, NAMES[c], n) for c, n in counted(t.now, country)},
        report("by_country", "country_code", "country_name", "trunk_count")),
    "By authorization?": (
        "SELECT inbound_authorization_type, count(*) FROM sip_trunks GROUP BY ALL",
        lambda t: counted(t.now, of("inbound_authorization_type")),
        report("by_authorization", "inbound_authorization_type", "trunk_count")),
    "By calling format and country?": (
        "SELECT sip_calling_format, country_code, sum(trunk_count)::BIGINT FROM trunk_counts GROUP BY ALL",
        lambda t: counted(t.now, of("sip_calling_format"), country),
        report("counts", "sip_calling_format", "country_code", "trunk_count")),
    "What share has each country?": (
        "SELECT country_code, round(sum(share_pct), 1) FROM trunk_counts GROUP BY country_code",
        lambda t: {(c, round(100 * n / len(t.now), 1)) for c, n in counted(t.now, country)},
        lambda i: {(c, round(s, 1)) for c, s in rows(i.count(["country_code"])[["country_code", "share_pct"]])}),
    "Do the shares of an account sum to 100?": (
        "SELECT account, round(sum(account_share_pct), 9) FROM trunk_counts GROUP BY account",
        lambda t: {(v["account"], 100.0) for v in t.now}, None),
    "Which trunks were there at a moment?": (
        f"SELECT account, id, country_code FROM trunks_as_of({DAY_AFTER})",
        lambda t: {(v["account"], v["id"], v["country_code"]) for v in t.at(at("2025-03-31"))}, None),
    "Which were there a microsecond before?": (
        "SELECT account, id FROM trunks_as_of('2025-03-30T23:59:59.999999Z')",
        lambda t: {(v["account"], v["id"]) for v in t.at(at("2025-03-30T23:59:59.999999"))}, None),
    "Which were there at a moment with an offset and no seconds?": (
        "SELECT account, id FROM trunks_as_of('2025-03-30 02:59+02:00')",
        lambda t: {(v["account"], v["id"]) for v in t.at(at("2025-03-30T00:59"))}, None),
    "Which were there before the first snapshot?": (
        "SELECT account, id FROM trunks_as_of('2025-03-29 23:29Z')", lambda t: set(), None),
    "How many were there on each day?": (
        ("SELECT day, account, sip_calling_format, country_code, provider, trunk_count FROM trunk_counts_daily "
        f"WHERE day <= '{DAYS[-1]}'"), daily, None),
    "How many are there today?": (
        ("SELECT account, sum(trunk_count)::BIGINT FROM trunk_counts_daily "
        "WHERE day = (SELECT max(day) FROM trunk_counts_daily) GROUP BY account"),
        lambda t: counted(t.now, of("account")), None),
    "Which trunks were added, and when?": (
        "SELECT account, trunk_id, observed_at FROM sip_trunk_changes WHERE change = 'added'",
        lambda t: list_changes(t, "added"), lambda i: changed(i, "account", "trunk_id", "observed_at", change="added")),
    "Which were removed, and when?": (
        "SELECT account, trunk_id, observed_at FROM sip_trunk_changes WHERE change = 'removed'",
        lambda t: list_changes(t, "removed"),
        lambda i: changed(i, "account", "trunk_id", "observed_at", change="removed")),
    "Which moved to another country?": (
        "SELECT account, trunk_id, old, new, observed_at FROM sip_trunk_changes WHERE field = 'country_code'",
        lambda t: list_field(t, "country_code"),
        lambda i: changed_field(i, "country_code")),
    "Which changed how calls are authorized?": (
        "SELECT account, trunk_id, old, new, observed_at FROM sip_trunk_changes WHERE field LIKE 'inbound_auth%'",
        lambda t: list_field(t, "inbound_authorization_type"),
        lambda i: changed_field(i, "inbound_authorization_type")),
    "Which updates may be of the credentials?": (
        "SELECT account, trunk_id, observed_at FROM sip_trunk_changes WHERE note LIKE 'possible credential%'",
        lambda t: {(new["account"], new["id"], moment) for old, new, moment in t.steps() if old and new
                   and all(old[n] == new[n] for n in old if n not in ("updated_at", *OWN))},
        lambda i: set(rows(i.changes.loc[i.changes["note"].notna(), ["account", "trunk_id", "observed_at"]]))),
    "Which were added or removed between two moments?": (
        f"SELECT account, trunk_id, change FROM {BETWEEN} WHERE change <> 'changed'", net, None),
    "How many trunks were first seen by month?": (
        f"SELECT account, {MONTH.format('first_seen_at')} AS month, count(*) FROM trunk_lifetimes GROUP BY ALL",
        lambda t: monthly(t, "first_seen"), grown("first_seen")),
    "How many vanished by month?": (
        (f"SELECT account, {MONTH.format('valid_to')} AS month, count(*) FROM {VERSIONS} "
        "WHERE valid_to IS NOT NULL AND next_from IS DISTINCT FROM valid_to GROUP BY ALL"),
        lambda t: monthly(t, "vanished"), grown("vanished")),
    "How many returned by month?": (
        (f"SELECT account, {MONTH.format('valid_from')} AS month, count(*) FROM {VERSIONS} "
        "WHERE n > 1 AND previous_to <> valid_from GROUP BY ALL"),
        lambda t: monthly(t, "returned"), grown("returned")),
    "How many were created by month?": (
        (f"SELECT account, {MONTH.format('created_at')} AS month, count(*) FROM trunk_lifetimes "
        "WHERE created_at IS NOT NULL GROUP BY ALL"), created, grown("created")),
    "How long did each trunk exist?": (
        "SELECT account, trunk_id, first_seen_at, removed_at FROM trunk_lifetimes",
        lambda t: {(*k, v[0]["valid_from"], v[-1]["valid_to"]) for k, v in t.trunks.items()}, None),
    "When was each seen last?": (
        "SELECT account, trunk_id, last_seen_at FROM trunk_lifetimes",
        lambda t: {(*k, max(m for m in t.snapshots(k[0]) if not v[-1]["valid_to"] or m < v[-1]["valid_to"]))
                   for k, v in t.trunks.items()}, None),
    "How often did each vanish and change?": (
        "SELECT account, trunk_id, spell_count, version_count, change_count FROM trunk_lifetimes",
        lambda t: {(*k, t.spells(v), len(v), len(v) - t.spells(v)) for k, v in t.trunks.items()}, None),
    "Which addresses are allowed?": (
        "SELECT account, id, unnest(allowed_inbound_ips) FROM sip_trunks",
        lambda t: {(v["account"], v["id"], ip) for v in t.now for ip in v["allowed_inbound_ips"] or ()}, None),
    "Whose allowlist grew or shrank, and when?": (
        "SELECT account, trunk_id, ip, valid_from, valid_to FROM sip_trunk_allowed_ips_history",
        lambda t: t.entries(), None),
    "Which trunk allows an address, at any time?": (
        "SELECT DISTINCT account, id FROM sip_trunks_history WHERE list_contains(allowed_inbound_ips, '192.0.2.1')",
        lambda t: {(account, number) for account, number, ip, *_ in t.entries() if ip == "192.0.2.1"}, None),
}  # fmt: skip


@pytest.fixture
def stored(tmp_path_factory: pytest.TempPathFactory, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def build(folder: Path) -> None:
        pairs: list[tuple[str, list[list[Row] | None]]] = [("acme", [*ACME]), ("beta", BETA)]
        answers = [
            (name, moment, sent)
            for name, every in pairs
            for moment, sent in zip(MOMENTS, every, strict=True)
            if sent is not None
        ]
        settings = replace(read_settings(), data_dir=folder)
        store(settings, sorted(answers, key=lambda answer: answer[1]), with_reports=True)

    folder = built_once(tmp_path_factory, "thirty-questions", build)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(folder))
    return folder


def records(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    result = connection.execute(query)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, map(in_utc, row), strict=True)) for row in result.fetchall()]


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with moments as Python's, in UTC."""
    return tuple(map(in_utc, row))


def in_utc(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime()
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def test_every_way_to_ask_has_the_same_answer(stored: Path) -> None:
    """One test, because every question has the same history, whose frames are read once."""
    assert len(QUESTIONS) >= 30
    options = read_options(read_settings(), as_of=UNTIL, is_log=True)
    past = notebook.read_stored()
    with open_destination(read_settings()).reading() as connection:
        told = Told(*(records(connection, f"FROM {name}") for name in ("sip_trunks_history", "sip_trunk_snapshots")))
        inputs = read_inputs(connection, list(REPORTS), options)
        wrong = []
        for question, (query, answer, by_report) in QUESTIONS.items():
            expected = sorted(answer(told), key=repr)
            found = [plain(row) for row in connection.execute(query).fetchall()]
            ways = {"SQL": found}
            if by_report:
                ways |= {"notebook": by_report(past), "report": by_report(inputs)}
            for way, got in ways.items():
                # The log that a run publishes has the changes of the last days.
                is_short = way == "report" and "sip_trunk_changes" in query
                meant = [row for row in expected if not is_short or row[-1] > options.changed_since]
                wrong += [(question, way, got, meant)] if sorted(map(plain, got), key=repr) != meant else []
    assert wrong == []
    for zone in (BERLIN, NEW_YORK):
        with duckdb.connect(stored / "warehouse.duckdb", read_only=True) as connection:
            connection.execute(f"SET TimeZone = '{zone}'")
            for question, (query, answer, _) in QUESTIONS.items():
                found = [plain(row) for row in connection.execute(query).fetchall()]
                assert sorted(found, key=repr) == sorted(answer(told), key=repr), (question, zone)
