"""Rules on the use of a trunk by assistants. They find nothing if the assignments are not read."""

from datetime import timedelta

import pandas as pd

from trunk_transforms.audit.rules.context import NOTHING, AuditContext, Findings, as_findings
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.schema.assignments import UNANSWERED_REASONS

_UNUSED = timedelta(days=90)
_NONE, _IDLE = UNANSWERED_REASONS
_SOURCE = "the vendor's API documentation, November 2026; off without the setting sources.famulor.assignments"


@rule(
    "usage-unanswered",
    severity="high",
    question="Which trunks accept inbound calls, but no inbound assistant is assigned to their number?",
    why="The provider delivers calls to the trunk, and nobody answers them.",
    fix="assign an inbound assistant to the number, or stop the calls at the provider",
    source=_SOURCE,
    yields_to=("usage-inactive",),
)
def check_unanswered(context: AuditContext) -> Findings:
    """Find trunks with an allowlist or a username in use that have no inbound assistant."""
    trunks = context.trunks
    if "has_inbound_assistant" not in trunks:
        return NOTHING
    is_by_password = (trunks["inbound_authorization_type"] == "auth") & trunks["sip_username"].notna()
    has_allowlist = trunks["allowlist"].map(lambda position: bool(context.allowlists[position]))
    is_by_ip = (trunks["inbound_authorization_type"] == "ip") & has_allowlist
    seen = pd.Series("authorized by password", trunks.index).mask(is_by_ip, "authorized by allowlist")
    return as_findings((seen + ", no inbound assistant").loc[(trunks["reason"] == _NONE) & (is_by_password | is_by_ip)])


@rule(
    "usage-inactive",
    severity="high",
    question="Which trunks have only inactive or deleted inbound assistants?",
    why="The number is assigned, but nobody answers its calls.",
    fix="activate an assistant of the number, or assign another one",
    source=_SOURCE,
)
def check_inactive(context: AuditContext) -> Findings:
    """Find trunks whose inbound assistants are all inactive or deleted."""
    if "has_inbound_assistant" not in context.trunks:
        return NOTHING
    rows = context.trunks.index[context.trunks["reason"] == _IDLE]
    return as_findings(pd.Series("only inactive or deleted inbound assistants", index=rows, dtype="str"))


@rule(
    "usage-unused",
    severity="low",
    question=f"Which trunks does no assistant use, inbound or outbound, unchanged for {_UNUSED.days} days?",
    why="A forgotten trunk costs money, and nobody notices who else calls through it.",
    fix="delete the trunk, or assign it to an assistant",
    source=f"{_SOURCE}; the history of the last {_UNUSED.days} days",
    yields_to=("usage-unanswered", "usage-inactive"),
)
def check_unused(context: AuditContext) -> Findings:
    """Find trunks without any assistant whose settings and assignments did not change for so long."""
    trunks = context.trunks
    if "has_inbound_assistant" not in trunks:
        return NOTHING
    is_unused = trunks["is_used"].eq(other=False) & (trunks["unchanged_since"] <= context.as_of - _UNUSED)
    seen = f"no assistant, unchanged for {_UNUSED.days} days"
    return as_findings(pd.Series(seen, index=trunks.index[is_unused.fillna(value=False)], dtype="str"))
