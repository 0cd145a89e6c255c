"""Rules on numbers that are there more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import combine, ids, name_others, say
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import quote

if TYPE_CHECKING:
    import pandas as pd

    from trunk_transforms.audit.rules.context import AuditContext

_COMPARISON = "comparison of the account's trunks"


@rule(
    "duplicate-trunk",
    severity="critical",
    question="Which trunks have the same number, username and SIP address as another one of the account?",
    why="The API refuses such twins: it is undefined which of them takes a call, and a change reaches one only.",
    fix="delete all but one, after moving its assistants and campaigns to that one",
    source="the vendor's API documentation, June 2026 (409 on create)",
)
def check_trunk(context: AuditContext) -> pd.DataFrame:
    """Find trunks that are equal in what has to be unique."""
    twins = _twins(context.trunks).where(context.trunks["phone_number"].notna())
    others = name_others(twins, context.trunks.index.to_series(), ids(context.trunks))
    return say("same number, username and SIP address as trunk " + others)


@rule(
    "duplicate-number",
    severity="high",
    question="Which trunks have the same number as another one of the account?",
    why="It is undefined which trunk takes a call to the number.",
    fix="give each number to one trunk, or delete the trunks that are not needed",
    source=f"{_COMPARISON}; an extension has to be unique at its host only",
)
def check_number(context: AuditContext) -> pd.DataFrame:
    """Find numbers, however spelled, on several trunks that are not twins; extensions at the same host."""
    trunks = context.trunks
    hosts = trunks["host"].where(trunks["number_kind"] != "DID")
    # An extension may be a name.
    written = trunks["normalized_number"].fillna(trunks["phone_number"])
    numbers = combine(trunks["account"], written, hosts)
    others = name_others(numbers.where(written.notna()), _twins(trunks), ids(trunks))
    return say("same number as trunk " + others)


def list_dids(context: AuditContext) -> pd.Series:
    """Return the numbers, looking like DIDs, that accounts are compared by."""
    return context.trunks["normalized_number"].where(context.trunks["number_kind"] == "DID").dropna()


@rule(
    "duplicate-across-accounts",
    severity="high",
    question="Which DIDs are in several accounts?",
    why="Only one of them gets the calls; the other was forgotten when the number moved, or is not the customer's.",
    fix="find out whose number it is, and delete the trunk in the other account",
    source="comparison of the accounts",
    keys=list_dids,
)
def check_across_accounts(context: AuditContext) -> pd.DataFrame:
    """Find the same number, looking like a DID, in different accounts."""
    trunks = context.trunks
    numbers = list_dids(context).reindex(trunks.index)
    accounts = trunks["account"].map({name: quote(name) for name in trunks["account"].unique()})
    others = name_others(numbers, trunks["account"], "trunk " + ids(trunks) + " of account " + accounts)
    return say("same number as " + others)


def _twins(trunks: pd.DataFrame) -> pd.Series:
    return combine(trunks["account"], trunks["phone_number"], trunks["sip_username"], trunks["sip_address"])


RULES = (
    check_trunk,
    check_number,
    check_across_accounts,
)
