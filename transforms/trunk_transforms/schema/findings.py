"""The declaration of findings: the findings of an audit, their lives, the rules that ran, and what was not checked."""

from trunk_transforms.schema.tables import ACCOUNT, TRUNK_ID, Column, Table, own, own_or_null, table

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""The severities of a finding, in ascending order."""

_CAUSE = "What findings of the same rule have in common; one fix covers all findings with the same cause."
FINDINGS = table(
    "findings",
    "One row per trunk and rule: a current misconfiguration.",
    ACCOUNT,
    TRUNK_ID,
    own_or_null("phone_number", "text", "The trunk's number."),
    own_or_null("nickname", "text", "The trunk's nickname."),
    own("rule", "text", "Code of the rule; `sip-trunks rules` explains it."),
    own("severity", "text", "Severity of the finding.", SEVERITIES),
    own_or_null("cause", "text", _CAUSE),
    own("seen", "text", "The observed value; inferred values are marked as inferred."),
    own("fix", "text", "How to fix it."),
    key=("account", "trunk_id", "rule"),
)
"""The findings of one audit."""

_OPENED = own("opened_at", "timestamp", "The audited snapshot that first showed it (UTC).")
_NEW_RULE = "Whether the rule is new: no earlier audit of the account had it, so the account need not have changed."
_IS_NEW_RULE = own("is_new_rule", "bool", _NEW_RULE)
CURRENT_FINDINGS = Table(
    "findings",
    "One row per trunk and rule: an open finding, and since when. Exists only if the last snapshot with changes was "
    "audited.",
    (*FINDINGS.columns, _OPENED, _IS_NEW_RULE),
    FINDINGS.primary_key,
)
"""The open findings: a view, and the report `audit`."""

CLOSING_REASONS = ("fixed", "trunk removed", "suppressed", "rule removed")
FINDINGS_HISTORY = table(
    "findings_history",
    "One row per account, trunk, rule and period in which the finding was open. A finding that returns is a new row.",
    *FINDINGS.columns,
    _OPENED,
    own_or_null("closed_at", "timestamp", "The audited snapshot that no longer showed it (UTC); null while open."),
    own_or_null("closed_because", "text", "Why it was closed; null while open.", CLOSING_REASONS),
    _IS_NEW_RULE,
    key=("account", "trunk_id", "rule", "opened_at"),
)
_CLOSED = own("closed_at", "timestamp", "The audited snapshot that no longer showed it (UTC).")
FIXED_FINDINGS = Table(
    "fixed",
    "One row per finding that was fixed in the last 7 days.",
    (*(column for column in FINDINGS.columns if column.name != "fix"), _OPENED, _CLOSED),
    FINDINGS_HISTORY.primary_key,
)
"""The report `fixed`."""

AUDITED_RULES = table(
    "audited_rules",
    "One row per account and rule of its last audit.",
    ACCOUNT,
    own("rule", "text", "Code of the rule; `sip-trunks rules` explains it."),
    own("since", "timestamp", "The first snapshot in an unbroken series of audits with the rule (UTC)."),
    own("audited_at", "timestamp", "The snapshot of the last audit (UTC); unchanged responses are not audited."),
    Column("_dlt_load_id", "text", "The load of that snapshot.", source="dlt"),
    key=("account", "rule"),
)
AUDIT_TABLES = (FINDINGS_HISTORY, AUDITED_RULES)
"""The stored tables that an audit writes."""

COVERAGE_GAPS = ("unknown provider", "old fact", "short history", "no history")
COVERAGE = table(
    "coverage",
    "One row per gap of the audit: a host of an unknown provider, a fact older than twelve months, or a history too "
    "short for a rule.",
    own("gap", "text", "The kind of gap.", COVERAGE_GAPS),
    own("item", "text", "The host, the fact with its date, or the history that is missing."),
    own("trunk_count", "bigint", "Trunks that the gap concerns."),
    own("audited_count", "bigint", "Trunks that were audited."),
    own("rules", "text", "The rules that do not check these trunks, or may be wrong, separated by commas."),
    key=("gap", "item"),
)
