"""The declaration of derived data: columns, reports, views and macros that follow from the stored tables.

Comments, the data dictionary and the reports are built from it. Like `tables`, the module imports nothing heavy.
"""

from dataclasses import dataclass, replace

from trunk_transforms.schema.assignments import ASSIGNED, UNANSWERED
from trunk_transforms.schema.findings import COVERAGE, CURRENT_FINDINGS, FIXED_FINDINGS, SEVERITIES
from trunk_transforms.schema.tables import ACCOUNT, SIP_TRUNKS, TRUNK_ID, Table, own, own_or_null, table

BY_FORMAT_AND_COUNTRY = ("sip_calling_format", "country_code")
"""The default columns to count trunks by."""

COUNT_COLUMNS = ("trunk_count", "share_pct", "account_share_pct")
"""The columns that counts of trunks add."""

NUMBER_KINDS = ("DID", "extension", "unknown")

_KIND = "Kind of the number, inferred from its spelling; 7 to 15 digits without + or 0 are unknown."
_NORMALIZED = "The number without spaces and brackets; international numbers begin with +."
_PROVIDER = "The provider (ITSP) that operates sip_address; unknown if the provider catalog does not list the host."

DERIVED = {
    column.name: replace(column, base=base)
    for base, column in (
        ("phone_number", own_or_null("number_kind", "text", _KIND, NUMBER_KINDS)),
        ("phone_number", own_or_null("normalized_number", "text", _NORMALIZED)),
        ("phone_number", own_or_null("calling_code", "bigint", "Country calling code of an international number: 49.")),
        ("sip_address", own_or_null("provider", "text", _PROVIDER)),
        ("country_code", own_or_null("country_name", "text", "English name of the country (ISO 3166-1).")),
    )
}
"""The derived columns that trunks can be counted by."""

CHANGE_KINDS = ("added", "removed", "changed")
_LEGS = (
    "The legs that the vendor re-creates at this update, which interrupts them briefly: inbound, outbound, both or "
    "none; null if the vendor does not document it."
)
CHANGES = table(
    "changes",
    "One row per added or removed trunk, and one per changed field of a trunk; has_inbound_assistant is one of them.",
    ACCOUNT,
    TRUNK_ID,
    own("change", "text", "The kind of change.", CHANGE_KINDS),
    own_or_null("field", "text", "The changed field; null if the trunk was added or removed."),
    own_or_null("old", "text", "The previous value as text; the entries of an allowlist are sorted."),
    own_or_null("new", "text", "The new value as text."),
    own_or_null("legs", "text", _LEGS),
    own_or_null("note", "text", "A possible cause or consequence of the change."),
    own("observed_at", "timestamp", "The first snapshot with the change (UTC)."),
    key=("account", "trunk_id", "field", "observed_at"),
)

# The API returns no password. When a password changes, only updated_at changes.
CREDENTIAL_NOTE = "possible credential change, which re-creates both legs: only updated_at changed"


_FIRST_SEEN = "Trunks in a snapshot for the first time; in an account's first snapshot, all of its trunks."
GROWTH = table(
    "growth",
    "One row per account and period, including periods without trunks.",
    ACCOUNT,
    own("period", "date", "The first day of the day, week (from Monday) or month (UTC)."),
    own("snapshot_count", "bigint", "Snapshots in the period; 0 is a gap between runs."),
    own("created_count", "bigint", "Observed trunks whose created_at is in the period."),
    own("first_seen_count", "bigint", _FIRST_SEEN),
    own("returned_count", "bigint", "Trunks that reappeared after they were missing from a snapshot."),
    own("vanished_count", "bigint", "Trunks that are missing from a snapshot and were in the one before."),
    own_or_null("trunk_count", "bigint", "Trunks in the last snapshot of the period; null if it has none."),
    key=("account", "period"),
)

_INTERVAL = (
    "Expected time between runs: the setting sip_trunks.expected_interval, or else the median of the latest intervals "
    "between snapshots; null before the third snapshot."
)
FRESHNESS = table(
    "freshness",
    "One row per account.",
    ACCOUNT,
    own_or_null("snapshot_at", "timestamp", "The last snapshot (UTC); null before the first snapshot."),
    own_or_null("age_seconds", "bigint", "Age of the last snapshot."),
    own_or_null("expected_interval_seconds", "bigint", _INTERVAL),
    own_or_null("missed_run_count", "bigint", "Expected runs that are missing since the last snapshot."),
    own_or_null("longest_gap_seconds", "bigint", "The longest time between two snapshots."),
    own("snapshot_count", "bigint", "Snapshots in total."),
    own_or_null("trunk_count", "bigint", "Trunks in the last snapshot."),
    key=("account",),
)

_ON_ALLOWLIST = "Share of the trunks that authorize inbound calls by allowlist, in percent; null without trunks."
ACCOUNTS = table(
    "accounts",
    "One row per account, worst finding first.",
    ACCOUNT,
    own("trunk_count", "bigint", "Trunks."),
    own_or_null("allowlist_pct", "double", _ON_ALLOWLIST),
    own("finding_count", "bigint", "Findings, one per trunk and rule."),
    own_or_null("worst_severity", "text", "The highest severity of its findings; null without findings.", SEVERITIES),
    own_or_null("worst_finding", "text", "The observed value of the first finding of that severity."),
    own_or_null("snapshot_at", "timestamp", "The last snapshot (UTC); null before the first snapshot."),
    own_or_null("missed_run_count", "bigint", "Expected runs that are missing since the last snapshot."),
    key=("account",),
)

OVERVIEW = table(
    "overview",
    "One row per key figure, in reading order.",
    own("section", "text", "Topic of the figure: accounts, trunks, counts, changes, findings, freshness."),
    own("item", "text", "The counted item."),
    own_or_null("value", "bigint", "The count."),
    own_or_null("detail", "text", "Additional information on the count."),
    key=("section", "item"),
)

_TRUNK_COUNT = own("trunk_count", "bigint", "Trunks with this combination of values.")
_SHARE = own("share_pct", "double", "Share of all trunks, in percent (0 to 100); all rows sum to 100.")


@dataclass(frozen=True)
class Report:
    """The declaration of a report: its question, the table it is published as, and its inputs.

    `needs` names frames of `ReportInputs.tables`. `by` names the columns that a count report counts by.
    """

    name: str
    question: str
    table: Table
    needs: tuple[str, ...] = ("trunks",)
    by: tuple[str, ...] = ()
    has_picture: bool = False
    is_on_page: bool = True


def _count_report(name: str, question: str, *by: str, is_on_page: bool = True) -> Report:
    known = {column.name: column for column in SIP_TRUNKS.columns} | DERIVED
    named = [column for name in by for column in ((name, "country_name") if name == "country_code" else (name,))]
    columns = (*(known[column] for column in named), _TRUNK_COUNT, _SHARE)
    grain = "One row per combination of values, in descending order of trunk_count."
    return Report(name, question, Table(name, grain, columns, by), by=by, has_picture=True, is_on_page=is_on_page)


_OVERVIEW = "What exists, what changed, and what is misconfigured?"
_BY_AUTHORIZATION = "How many trunks are authorized by allowlist, how many by password?"
_GROWTH = "How many trunks were created, appeared and disappeared in each period?"
_CHANGES = "Which trunks were added, removed or changed, and which legs did that re-create?"
_FRESHNESS = "When was the last snapshot of each account, and which runs are missing?"
_FIXED = "Which findings were fixed in the last 7 days?"
_AUDIT = "What is misconfigured, how severe is it, and how is it fixed?"
_COVERAGE = "Which trunks are not fully checked by the audit, and which rules skip them?"

REPORTS = {
    report.name: report
    for report in (
        Report("overview", _OVERVIEW, OVERVIEW, ("trunks", "assignments", "changes", "changed_trunks", "observations")),
        _count_report("counts", "How many trunks are there by calling format and country?", *BY_FORMAT_AND_COUNTRY),
        _count_report("by_country", "How many trunks are there by country?", "country_code", is_on_page=False),
        _count_report("by_provider", "How many trunks are there by provider?", "provider"),
        _count_report("by_authorization", _BY_AUTHORIZATION, "inbound_authorization_type"),
        _count_report("by_number_kind", "How many trunks have a DID, how many an extension?", "number_kind"),
        Report("growth", _GROWTH, GROWTH, ("lifetimes", "observations"), has_picture=True),
        Report("changes", _CHANGES, CHANGES, ("changes",)),
        Report("freshness", _FRESHNESS, FRESHNESS, ("observations",), is_on_page=False),
        Report("accounts", "Which accounts need attention first?", ACCOUNTS, ("trunks", "assignments", "observations")),
        Report("audit", _AUDIT, CURRENT_FINDINGS, ("trunks", "assignments"), has_picture=True),
        Report("unanswered", "Which trunks does no assistant answer?", UNANSWERED, ("trunks", "assignments")),
        Report("fixed", _FIXED, FIXED_FINDINGS, ("trunks", "assignments", "observations")),
        Report("coverage", _COVERAGE, COVERAGE),
    )
}
"""Every report by its name, in reading order. Runs write their tables to the schema `reports`, except the findings."""

COUNT_REPORTS = frozenset(report.name for report in REPORTS.values() if report.by)
"""The reports that count trunks. Their only input is `groups`."""

AUDIT_REPORTS = frozenset({"overview", "accounts", "audit", "fixed", "coverage"})
"""The reports on findings and rules. If there is a history, they also need the past of the trunks."""

# ---------------------------------------------------------------------- views of the schema `main`

SIP_TRUNK_CHANGES = replace(
    CHANGES,
    name="sip_trunk_changes",
    grain="One row per added or removed trunk and one per changed field, for every snapshot: the whole history. "
    "An account's first snapshot is not a change.",
)

TRUNK_COUNTS = table(
    "trunk_counts",
    "One row per account, calling format and country: the current number of trunks.",
    ACCOUNT,
    *REPORTS["counts"].table.columns,
    own("account_share_pct", "double", "Share of the account's trunks, in percent (0 to 100)."),
    key=("account", *BY_FORMAT_AND_COUNTRY),
)

_ENTRY_GONE = "The first snapshot without the entry (UTC); null if it is on the current list."
SIP_TRUNK_ALLOWED_IPS_HISTORY = table(
    "sip_trunk_allowed_ips_history",
    "One row per (account, trunk_id, ip, valid_from): an entry of a trunk's allowlist, and an uninterrupted period in "
    "which it was on the list. Duplicate entries of a list are one row.",
    ACCOUNT,
    TRUNK_ID,
    own_or_null("ip", "text", "The entry as the API sent it."),
    own("valid_from", "timestamp", "The first snapshot with the entry (UTC)."),
    own_or_null("valid_to", "timestamp", _ENTRY_GONE),
    key=("account", "trunk_id", "ip", "valid_from"),
)

TRUNK_LIFETIMES = table(
    "trunk_lifetimes",
    "One row per (account, trunk_id): every trunk that was ever in a snapshot, including removed ones.",
    ACCOUNT,
    TRUNK_ID,
    own_or_null("created_at", "timestamp", "The last readable created_at of its versions (UTC)."),
    own("first_seen_at", "timestamp", "The first snapshot with the trunk (UTC)."),
    own("last_seen_at", "timestamp", "The last snapshot with the trunk (UTC)."),
    own_or_null("removed_at", "timestamp", "The first snapshot without it (UTC); null if it exists."),
    own("spell_count", "bigint", "Uninterrupted periods in which it existed; 2 if it vanished and returned once."),
    own("version_count", "bigint", "Versions."),
    own("change_count", "bigint", "Snapshots in which it differed from the one before, drift included."),
    key=("account", "trunk_id"),
)

TRUNK_COUNTS_DAILY = table(
    "trunk_counts_daily",
    "One row per day, account, calling format, country and provider with trunks: those known at the end of the day "
    "(UTC), from each account's first snapshot to today. A day without a snapshot has the trunks of the day before.",
    own("day", "date", "The day (UTC)."),
    ACCOUNT,
    *(column for column in SIP_TRUNKS.columns if column.name in BY_FORMAT_AND_COUNTRY),
    DERIVED["country_name"],
    DERIVED["provider"],
    own("trunk_count", "bigint", "Trunks with this combination of values."),
    key=("day", "account", *BY_FORMAT_AND_COUNTRY, "provider"),
)

_FINDINGS = "Findings of severity {} in configured accounts; null if unknown."
_ERROR = "The error message, without the names of configured accounts; null if there was no error."
RUNS = table(
    "runs",
    "One row per run into this destination, including failed runs. A run that stored nothing appears after the next "
    "run that does; until then `sip-trunks status` shows it. Runs before an export or import are not included.",
    own("started_at", "timestamp", "Start of the run (UTC)."),
    own_or_null("ended_at", "timestamp", "End of the run (UTC); null if it was killed."),
    own_or_null("exit_code", "bigint", "Exit code, see `sip-trunks --help`; null if the run was killed."),
    own_or_null("error", "text", _ERROR),
    own_or_null("snapshot_at", "timestamp", "Time of the snapshots in the history; null if nothing was stored."),
    own_or_null("loaded_count", "bigint", "Accounts with new data."),
    own_or_null("unchanged_count", "bigint", "Accounts whose response was unchanged."),
    own_or_null("failed_count", "bigint", "Accounts that failed and keep their stored data."),
    own_or_null("trunk_count", "bigint", "Trunks of the accounts that did not fail."),
    own_or_null("new_count", "bigint", "Trunks that were not stored before."),
    own_or_null("changed_count", "bigint", "Trunks that changed."),
    own_or_null("removed_count", "bigint", "Trunks that were removed."),
    own_or_null("drift_count", "bigint", "Deviations from the declaration."),
    *(own_or_null(f"{name}_count", "bigint", _FINDINGS.format(name)) for name in reversed(SEVERITIES)),
    own_or_null("cause_count", "bigint", "Causes of these findings; null if unknown."),
    own_or_null("new_rule_count", "bigint", "Findings that the run opened by new rules; null if unknown."),
    own_or_null("version", "text", "The release of sip-trunks; null if the run was killed."),
    key=("started_at",),
)
"""The run log, in the schema `reports`. Unlike the reports, it covers all runs."""

_ACCOUNT_ERROR = own_or_null("error", "text", "The error message of a failed account.")
_EXIT_CODE = own_or_null("exit_code", "bigint", "The exit code that the failure alone would have.")
ACCOUNT_FAILURES = Table(
    "account_failures",
    "One row per account and run in which it failed: a log.",
    (ACCOUNT, own("started_at", "timestamp", "Start of the run (UTC)."), _ACCOUNT_ERROR, _EXIT_CODE),
    ("account", "started_at"),
)
"""A log, in the schema `reports`. Successes are in `sip_trunk_snapshots`."""

_STATUS = "loaded: trunks were stored; unchanged: no trunk had changed; failed: the stored data was kept."
ACCOUNT_RUNS = table(
    "account_runs",
    "One row per account and run: its result, and the error if it failed. Runs that failed before the first request "
    "are only in runs.",
    ACCOUNT,
    own("ran_at", "timestamp", "Time of the snapshot; if the account failed, start of the run (UTC)."),
    own("status", "text", _STATUS, ("loaded", "unchanged", "failed")),
    own_or_null("trunk_count", "bigint", "Trunks in the snapshot; null if the account failed."),
    own_or_null("drift_count", "bigint", "Deviations from the declaration; null if the account failed."),
    _ACCOUNT_ERROR,
    _EXIT_CODE,
    key=("account", "ran_at"),
)

OF_HISTORY = (SIP_TRUNK_CHANGES, SIP_TRUNK_ALLOWED_IPS_HISTORY, TRUNK_LIFETIMES, TRUNK_COUNTS_DAILY)
"""The views that are made from the history and the observations."""

VIEWS = (*OF_HISTORY, TRUNK_COUNTS, CURRENT_FINDINGS, RUNS, ACCOUNT_RUNS)


@dataclass(frozen=True)
class Macro:
    """The declaration of a SQL macro; `table` has the columns of a table macro."""

    name: str
    parameters: tuple[str, ...]
    meaning: str
    table: Table | None = None

    @property
    def signature(self) -> str:
        """The name with its parameters: `trunks_as_of(moment)`."""
        return f"{self.name}({', '.join(self.parameters)})"


TRUNKS_AS_OF = Macro(
    "trunks_as_of",
    ("moment",),
    "The trunks as they were known at a moment, with the columns of sip_trunks_history. One row per (account, id).",
    SIP_TRUNKS,
)
CHANGES_BETWEEN = Macro(
    "changes_between",
    ("since", "as_of"),
    "The net difference between the trunks at since and at as_of, with the columns of sip_trunk_changes: a value that "
    "changed and changed back is not listed. An account not yet known at since is compared with its first snapshot.",
    CHANGES,
)
NUMBER_KIND = Macro("number_kind", ("phone_number",), _KIND)
PROVIDER_OF = Macro("provider_of", ("sip_address",), _PROVIDER)
COUNTRY_NAME = Macro("country_name", ("country_code",), DERIVED["country_name"].meaning)
MACROS = (TRUNKS_AS_OF, CHANGES_BETWEEN, NUMBER_KIND, PROVIDER_OF, COUNTRY_NAME)

IN_VIEWS = {"number_kind": NUMBER_KIND, "provider": PROVIDER_OF, "country_name": COUNTRY_NAME}
"""The derived columns in the views of trunks and versions, each after its base column, and their macros."""

DERIVED_NAMES = frozenset({*DERIVED, *COUNT_COLUMNS, *ASSIGNED, *(macro.name for macro in MACROS)})
"""The names of derived columns and macros. A field of the API with such a name gets another one, and is drift."""
