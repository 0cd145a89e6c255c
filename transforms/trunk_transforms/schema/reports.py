"""The declaration, continued: what is derived from the stored tables, as columns, views, macros and reports.

As `transforms.schema`, it costs nothing to import: comments, the data dictionary and the reports are read from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunk_transforms.schema.tables import ACCOUNT, SIP_TRUNKS, Column, ColumnType, Table

BY_FORMAT_AND_COUNTRY = ("sip_calling_format", "country_code")
"""What trunks are counted by, unless other columns are named."""

COUNT_COLUMNS = ("trunk_count", "share_pct")

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""How bad a finding is, in ascending order."""

NUMBER_KINDS = ("DID", "extension", "unknown")


def _column(
    name: str, column_type: ColumnType, meaning: str, *, allowed: tuple[str, ...] = (), null: bool = False
) -> Column:
    return Column(name, column_type, meaning, source="sip-trunks", allowed=allowed, is_nullable=null)


@dataclass(frozen=True)
class Derived:
    """A column that follows from one of the API's."""

    base: str
    column: Column


DERIVED = {
    derived.column.name: derived
    for derived in (
        Derived(
            "phone_number",
            _column(
                "number_kind",
                "text",
                "What the number is, inferred from how it is written.",
                allowed=NUMBER_KINDS,
                null=True,
            ),
        ),
        Derived(
            "phone_number",
            _column(
                "normalized_number",
                "text",
                "The number without spaces and brackets, with + where it is international.",
                null=True,
            ),
        ),
        Derived(
            "phone_number",
            _column(
                "calling_code",
                "bigint",
                "The country calling code of an international number, such as 49.",
                null=True,
            ),
        ),
        Derived(
            "sip_address",
            _column(
                "provider",
                "text",
                "The provider (ITSP) behind sip_address; unknown if no fact says whose host it is.",
                null=True,
            ),
        ),
        Derived(
            "country_code",
            _column("country_name", "text", "The English name of the country (ISO 3166-1).", null=True),
        ),
    )
}
"""The derived columns that trunks can be counted by."""

IN_VIEWS = ("number_kind", "provider", "country_name")
"""Those that the views on trunks and versions have, each beside the column that it follows from."""

_TRUNK_ID = _column("trunk_id", "bigint", "The trunk: sip_trunks.id.")
_TRUNK_COUNT = _column("trunk_count", "bigint", "Trunks with this combination of values.")

CHANGES = Table(
    name="changes",
    grain="One row per trunk that was added or removed, and one per field of a trunk that changed.",
    columns=(
        ACCOUNT,
        _TRUNK_ID,
        _column("change", "text", "What happened.", allowed=("added", "removed", "changed")),
        _column("field", "text", "What changed; null where a trunk was added or removed.", null=True),
        _column("old", "text", "The value before, as text; an allowlist sorted.", null=True),
        _column("new", "text", "The value after.", null=True),
        _column(
            "legs",
            "text",
            "What the vendor re-creates at such an update, a short outage: inbound, outbound, both or none; null where "
            "the documentation does not say.",
            null=True,
        ),
        _column("note", "text", "What may follow from it.", null=True),
        _column("observed_at", "timestamp", "The snapshot that first showed it (UTC)."),
    ),
    primary_key=("account", "trunk_id", "field", "observed_at"),
)

# A password is in no answer: when it changes, this moves alone.
CREDENTIAL_NOTE = "possible credential change, which re-creates both legs: updated_at moved and nothing else"

GROWTH = Table(
    name="growth",
    grain="One row per account and period, those without any trunk included.",
    columns=(
        ACCOUNT,
        _column("period", "date", "The first day of the day, week (from Monday) or month (UTC)."),
        _column("snapshot_count", "bigint", "How often we looked in that period; 0 is a gap between runs."),
        _column("created_count", "bigint", "Trunks that the API says were created then; of those that were ever seen."),
        _column(
            "first_seen_count",
            "bigint",
            "Trunks that a snapshot showed for the first time; an account's first one shows all it has.",
        ),
        _column("returned_count", "bigint", "Trunks that were back after a snapshot had lacked them."),
        _column("vanished_count", "bigint", "Trunks that a snapshot lacked for the first time since it was there."),
        _column(
            "trunk_count",
            "bigint",
            "Trunks at the last snapshot of the period; null where nobody looked.",
            null=True,
        ),
    ),
    primary_key=("account", "period"),
)

FRESHNESS = Table(
    name="freshness",
    grain="One row per account.",
    columns=(
        ACCOUNT,
        _column("snapshot_at", "timestamp", "The last snapshot (UTC); null if there was none yet.", null=True),
        _column("age_seconds", "bigint", "How old it is.", null=True),
        _column(
            "expected_interval_seconds",
            "bigint",
            "How often a run is expected: the setting sip_trunks.expected_interval, or the median of the last "
            "intervals between snapshots; null before the third.",
            null=True,
        ),
        _column("missed_run_count", "bigint", "How many expected runs have not come since.", null=True),
        _column("longest_gap_seconds", "bigint", "The longest time between two snapshots.", null=True),
        _column("snapshot_count", "bigint", "How often we looked in all."),
        _column("trunk_count", "bigint", "Trunks in the last snapshot.", null=True),
    ),
    primary_key=("account",),
)

OVERVIEW = Table(
    name="overview",
    grain="One row per thing worth a line, in the order of reading.",
    columns=(
        _column("section", "text", "What it is about: accounts, trunks, counts, changes, findings, freshness."),
        _column("item", "text", "What is counted."),
        _column("value", "bigint", "How many.", null=True),
        _column("detail", "text", "What there is to say about it.", null=True),
    ),
    primary_key=("section", "item"),
)

FINDINGS = Table(
    name="findings",
    grain="One row per trunk and rule: what is misconfigured now.",
    columns=(
        ACCOUNT,
        _TRUNK_ID,
        _column("phone_number", "text", "Its number.", null=True),
        _column("rule", "text", "The code of the rule that found it; sip-trunks rules explains them."),
        _column("severity", "text", "How bad it is.", allowed=SEVERITIES),
        _column("seen", "text", "What was seen; what is inferred says so."),
        _column("fix", "text", "What to do about it."),
    ),
    primary_key=("account", "trunk_id", "rule"),
)
"""What one audit finds."""

FINDING_AGES = (
    _column("first_seen_at", "timestamp", "The first audited snapshot that had it, without a break since (UTC)."),
    _column(
        "last_seen_at",
        "timestamp",
        "The last audited snapshot that had it (UTC); an unchanged answer is not audited anew.",
    ),
    _column(
        "is_current",
        "bool",
        "Whether the last audit found it; null if it is suppressed, or the last run wrote no reports.",
        null=True,
    ),
)
"""What the log of the audits adds."""

AUDIT_FINDINGS = Table(
    name="audit_findings",
    grain="One row per trunk, rule and first_seen_at: a log, in which findings that are over stay.",
    columns=(*FINDINGS.columns, *FINDING_AGES),
    primary_key=("account", "trunk_id", "rule", "first_seen_at"),
)

_COUNTS = (_TRUNK_COUNT, _column("share_pct", "double", "Their share of all trunks, in percent (0 to 100)."))


@dataclass(frozen=True)
class Report:
    """A report: the question that it answers, the table that it is published as, and what it is made from.

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
    known = {column.name: column for column in SIP_TRUNKS.columns} | {n: d.column for n, d in DERIVED.items()}
    named = [column for name in by for column in ((name, "country_name") if name == "country_code" else (name,))]
    columns = (*(known[column] for column in named), *_COUNTS)
    table = Table(name, "One row per combination that occurs, the most frequent first.", columns, by)
    return Report(name, question, table, by=by, has_picture=True, is_on_page=is_on_page)


REPORTS = {
    report.name: report
    for report in (
        Report(
            "overview",
            "What is there, what happened, what is wrong?",
            OVERVIEW,
            needs=("trunks", "versions", "observations", "drift"),
        ),
        _count_report("counts", "How many trunks are there by calling format and country?", *BY_FORMAT_AND_COUNTRY),
        _count_report("by_country", "How many trunks are there by country?", "country_code", is_on_page=False),
        _count_report("by_provider", "How many trunks are there by provider?", "provider"),
        _count_report(
            "by_authorization",
            "How many trunks are authorised by allowlist, how many by password?",
            "inbound_authorization_type",
        ),
        _count_report("by_number_kind", "How many trunks have a DID, how many an extension?", "number_kind"),
        Report(
            "growth",
            "How many trunks were created, came and went, month by month?",
            GROWTH,
            needs=("lifetimes", "observations"),
            has_picture=True,
        ),
        Report(
            "changes",
            "Which trunks were added, removed or changed, and which legs did that re-create?",
            CHANGES,
            needs=("versions", "observations", "drift"),
        ),
        Report(
            "freshness",
            "When was each account last seen, and which runs have not come?",
            FRESHNESS,
            needs=("observations",),
        ),
        Report("audit", "What is misconfigured, how bad is it, and how is it fixed?", AUDIT_FINDINGS, has_picture=True),
    )
}
"""Every report by its name, in the order of reading; the tables of the schema `reports`, which runs write."""

COUNT_REPORTS = frozenset(report.name for report in REPORTS.values() if report.by)
"""The reports that count trunks, and need nothing but `groups`."""

# ---------------------------------------------------------------------- what analysts query in `main`

SIP_TRUNK_CHANGES = Table(
    name="sip_trunk_changes",
    grain="One row per trunk that was added or removed, and one per field that changed, at every snapshot that showed "
    "it: the whole history, step by step. An account's first snapshot is no change.",
    columns=CHANGES.columns,
    primary_key=CHANGES.primary_key,
)

TRUNK_COUNTS = Table(
    name="trunk_counts",
    grain="One row per account, calling format and country: how many trunks there are now.",
    columns=(
        ACCOUNT,
        *REPORTS["counts"].table.columns[:-1],
        _column("share_pct", "double", "Their share of the account's trunks, in percent (0 to 100)."),
    ),
    primary_key=("account", *BY_FORMAT_AND_COUNTRY),
)

CURRENT_FINDINGS = Table(
    name="findings",
    grain="One row per trunk and rule: what is misconfigured now, and since when. Only there if the last run that saw "
    "something new wrote reports.",
    columns=(*FINDINGS.columns, *FINDING_AGES[:-1]),
    primary_key=FINDINGS.primary_key,
)

RUNS = Table(
    name="runs",
    grain="One row per run into this destination, the failed ones included. One that stored nothing is here from the "
    "next run on that does; until then `sip-trunks status` tells of it. Not of runs before an export or import.",
    columns=(
        _column("started_at", "timestamp", "When it began (UTC)."),
        _column("ended_at", "timestamp", "When it ended (UTC); null if it was killed.", null=True),
        _column(
            "exit_code", "bigint", "How it ended, as `sip-trunks --help` has it; null if it was killed.", null=True
        ),
        _column(
            "error",
            "text",
            "What went wrong, without the names of configured accounts; null if nothing did.",
            null=True,
        ),
        _column(
            "snapshot_at", "timestamp", "The moment that the history knows it by, if it stored anything.", null=True
        ),
        _column("loaded_count", "bigint", "How many accounts had something new.", null=True),
        _column("unchanged_count", "bigint", "How many accounts answered, to the byte, as before.", null=True),
        _column("failed_count", "bigint", "How many accounts failed, and keep what was stored.", null=True),
        _column("trunk_count", "bigint", "How many trunks the accounts that did not fail have.", null=True),
        _column("new_count", "bigint", "How many of them were not there before.", null=True),
        _column("changed_count", "bigint", "How many of them had changed.", null=True),
        _column("removed_count", "bigint", "How many trunks were gone.", null=True),
        _column("drift_count", "bigint", "How many deviations from the declaration there were.", null=True),
        *(
            _column(f"{severity}_count", "bigint", f"How many findings were {severity}, if that is known.", null=True)
            for severity in reversed(SEVERITIES)
        ),
        _column("version", "text", "The release that ran; null if it was killed.", null=True),
    ),
    primary_key=("started_at",),
)
"""The log of the runs: in the schema `reports` beside the reports, but of all runs."""


@dataclass(frozen=True)
class Macro:
    """A macro of SQL: its parameters, what it returns, and of a table macro the table that has its columns."""

    name: str
    parameters: tuple[str, ...]
    meaning: str
    table: Table | None = None

    @property
    def signature(self) -> str:
        """How it is called."""
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
    "How the trunks at as_of differ from those at since, with the columns of sip_trunk_changes: what changed and "
    "changed back is no difference. An account counts from its first snapshot on.",
    CHANGES,
)
NUMBER_KIND = Macro("number_kind", ("phone_number",), DERIVED["number_kind"].column.meaning)
PROVIDER_OF = Macro("provider_of", ("sip_address",), DERIVED["provider"].column.meaning)
COUNTRY_NAME = Macro("country_name", ("country_code",), DERIVED["country_name"].column.meaning)
MACROS = (TRUNKS_AS_OF, CHANGES_BETWEEN, NUMBER_KIND, PROVIDER_OF, COUNTRY_NAME)
