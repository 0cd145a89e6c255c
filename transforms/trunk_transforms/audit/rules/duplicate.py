"""Rules on numbers that several trunks have."""

from __future__ import annotations

import pandas as pd

from trunk_transforms.audit.rules.context import (
    NOTHING,
    AuditContext,
    Findings,
    as_findings,
    combine,
    ids,
    map_distinct,
    name_others,
)
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, LIVEKIT, rule
from trunk_transforms.audit.rules.wording import quote, quote_own


@rule(
    "duplicate-trunk",
    severity="critical",
    question="Which trunks have the same number, username and SIP address as another trunk of the account?",
    why="The API rejects such twins: it is undefined which one gets a call, and a change reaches only one.",
    fix="delete all but one, after moving its assistants and campaigns to that one",
    source=f"{API_DOCUMENTATION} (409 on create)",
)
def check_trunk(context: AuditContext) -> Findings:
    """Find trunks that are equal in the fields that have to be unique together."""
    twins = context.twins.where(context.trunks["phone_number"].notna())
    others = name_others(context.trunks, twins, context.trunks.index.to_series())
    return _as_findings("same number, username and SIP address as trunk ", others, context)


@rule(
    "duplicate-number",
    severity="high",
    question="Which trunks have the same number as another trunk of the account, spelled differently?",
    why="A call reaches only the trunk whose spelling the provider sends, and a change may be made to the wrong one.",
    fix="give each number to one trunk, or delete the trunks that are not needed",
    source=f"comparison of the account's trunks; {LIVEKIT}",
)
def check_number(context: AuditContext) -> Findings:
    """Find numbers of several trunks that are equal after reading them.

    `inbound-number-conflict` reports numbers that are equal for the voice infrastructure.
    """
    trunks, read = context.trunks, _read(context.trunks)
    numbers = combine(trunks["account"], read).where(read.notna())
    others = name_others(trunks, numbers, trunks["inbound_number"])
    return _as_findings("same number as trunk ", others, context)


def list_dids(context: AuditContext) -> pd.Series:
    """Return the apparent DIDs, by which accounts are compared."""
    trunks = context.trunks
    dialled = trunks["normalized_number"].where(trunks["number_kind"] == "DID")
    return _read_did(trunks).fillna(dialled).dropna()


@rule(
    "duplicate-across-accounts",
    severity="high",
    question="Which DIDs are in more than one account?",
    why="Only one trunk gets the calls. The other was left behind when the number moved, or belongs to no customer.",
    fix="find the account that owns the number, and delete the trunk in the other account",
    source="comparison of the accounts",
    keys=list_dids,
)
def check_across_accounts(context: AuditContext) -> Findings:
    """Find apparent DIDs that are in different accounts."""
    trunks = context.trunks
    numbers = list_dids(context).reindex(trunks.index)
    others = name_others(trunks, numbers, trunks["account"], _name_in_account)
    return _as_findings("same number as ", others, context)


def _name_in_account(trunks: pd.DataFrame) -> pd.Series:
    return "trunk " + ids(trunks) + " of account " + map_distinct(trunks["account"], quote)


def _as_findings(what: str, others: pd.Series, context: AuditContext) -> Findings:
    return NOTHING if others.empty else as_findings(what + others, cause=name_number(context.trunks.loc[others.index]))


def name_number(trunks: pd.DataFrame) -> pd.Series:
    """Return the cause of findings on a number that several trunks have."""
    return "the number " + quote_own(_read(trunks))


def _read(trunks: pd.DataFrame) -> pd.Series:
    """Return the numbers as they are compared: in E.164 if possible, else without separators, else as written."""
    return _read_did(trunks).fillna(trunks["normalized_number"]).fillna(trunks["phone_number"])


def _read_did(trunks: pd.DataFrame) -> pd.Series:
    """Return the likeliest numbers in E.164."""
    return trunks["e164"].fillna(trunks["likely_e164"])
