"""Rules on how inbound calls reach a trunk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules.context import (
    NOTHING,
    AuditContext,
    Findings,
    Verdict,
    as_findings,
    combine,
    name_others,
)
from trunk_transforms.audit.rules.rule import LIVEKIT, PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import allow_addresses, quote_own
from trunk_transforms.enrich.addresses import FIRST_MAPPED, find_overlapping, measure_span
from trunk_transforms.enrich.allowlists import Entries
from trunk_transforms.enrich.providers import Provider

_EVERYWHERE = 0, (1 << 128) - 1
_PER_NUMBER = 1 << 129
"""The distance between the addresses of two phone numbers, so that only spans of the same one overlap."""


@rule(
    "inbound-auth-unsupported",
    severity="high",
    question="Which trunks authorize inbound calls by password although their provider cannot send one?",
    why="Every inbound call is rejected, because it has no username and password.",
    fix='set inbound_authorization_type to "ip" and allow the provider\'s addresses',
    source=f"{PROVIDER_CATALOG}; LiveKit's documentation",
    yields_to=("exposure-username-blank",),
)
def check_auth_unsupported(context: AuditContext) -> Findings:
    """Find password authorization at providers that do not support it for inbound calls."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        if provider.supports_inbound_auth:
            return None
        seen = f"authorized by password, but {provider.name} sends inbound calls without one"
        return context.date(Verdict(seen, allow_addresses(provider, host), cause=seen), provider.as_of)

    is_password = context.trunks["inbound_authorization_type"] == "auth"
    return context.decide(["provider", "host"], decide, is_password & context.trunks["is_provider_known"])


@rule(
    "inbound-number-conflict",
    severity="high",
    question="Which trunks have the same inbound number as another trunk of the account?",
    why="LiveKit compares numbers without +, spaces, dashes and brackets, at any host. If several such trunks admit a "
    "caller, the call fails or goes to the first one found (inferred).",
    fix="give each number to one trunk, or allow different addresses on each of them",
    source=LIVEKIT,
)
def check_number_conflict(context: AuditContext) -> Findings:
    """Find equal numbers of trunks that are not twins: high if the trunks admit the same callers, else info.

    Callers are the same if they come from the same address, or can claim the same name in the allowlist.
    """
    trunks = context.trunks
    numbers = combine(trunks["account"], trunks["inbound_number"]).where(trunks["inbound_number"].notna())
    others = name_others(trunks, numbers, context.twins)
    if others.empty:
        return NOTHING
    compared = ["inbound_authorization_type", "allowlist", "number", "twin"]
    shared = trunks.assign(number=numbers, twin=context.twins).loc[others.index, compared].astype({"number": int})
    claimed: dict[tuple[int, str], set[int]] = {}
    spans: list[tuple[int, int, int]] = []
    is_plain = (shared["inbound_authorization_type"] == "ip") & context.allowlists.is_plain[shared["allowlist"]]
    for authorization, position, number, twin in shared.loc[~is_plain].itertuples(index=False):
        entries = context.allowlists[position]
        for first, last in _list_admitted(authorization, entries):
            spans.append((first + number * _PER_NUMBER, last + number * _PER_NUMBER, twin))
        for name in (entry.claimed_name for entry in entries if authorization == "ip"):
            if name:
                claimed.setdefault((number, name), set()).add(twin)
    contested = find_overlapping(chain(spans, _list_plain_spans(context, shared.loc[is_plain])))
    contested.update(*(claimants for claimants in claimed.values() if len(claimants) > 1))
    is_contested = shared["twin"].isin(contested)
    remark = np.where(
        is_contested,
        ", and several of them admit the same callers",
        ", but none of them admits the callers of this one",
    )
    # The spelling of one trunk stands for all.
    own = "the number " + quote_own(trunks["phone_number"].loc[others.index])
    cause = own.groupby(shared["number"]).transform("first")
    severity = np.where(is_contested, "high", "info")
    return as_findings("same inbound number as trunk " + others + remark, cause=cause, severity=severity)


def _list_admitted(authorization: str | None, entries: Entries) -> list[tuple[int, int]]:
    """Return the spans from which LiveKit accepts calls: everything without an allowlist that is in use."""
    if authorization != "ip" or all(entry.is_ignored for entry in entries):
        return [_EVERYWHERE]
    return [measure_span(network) for entry in entries if not entry.fault for network in entry.networks]


def _list_plain_spans(context: AuditContext, shared: pd.DataFrame) -> Iterator[tuple[int, int, int]]:
    """Yield the spans of plain allowlists, without an object per address."""
    places, firsts, lasts = context.allowlists.list_entries(shared["allowlist"].to_numpy())
    starts = [FIRST_MAPPED + number * _PER_NUMBER for number in shared["number"].tolist()]
    twins = shared["twin"].tolist()
    for place, first, last in zip(places.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
        yield starts[place] + first, starts[place] + last, twins[place]
