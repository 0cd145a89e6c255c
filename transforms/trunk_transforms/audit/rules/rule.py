"""The declaration of a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from trunk_transforms.audit.rules.context import AuditContext, Findings

Check = Callable[[AuditContext], Findings]
Keys = Callable[[AuditContext], pd.Series]

API_DOCUMENTATION = "the vendor's API documentation, June 2026"
PROVIDER_CATALOG = "the provider catalog (providers.toml)"
LIVEKIT = "inferred from LiveKit, which the platform runs on (livekit/protocol, sip/sip.go, August 2026)"
SPECIAL_ADDRESSES = "IANA's registries of special-purpose addresses (RFC 6890)"


@dataclass(frozen=True)
class Rule:
    """A rule: the question it asks, why that matters, the remedy, and the source of the knowledge.

    `severity` is the severity of its findings, or the highest one if they differ. `check` returns the findings, at
    most one per trunk.

    `yields_to` has the codes of rules that see the same defect: a finding is left out if one of them has a finding on
    the same trunk that is at least as severe. So the stronger one speaks, with one fix for one defect. A rule that is
    not selected does not count.

    A rule checks each account on its own, unless it has `keys`. `keys` returns the values by which accounts are
    compared, as text, one row per trunk and key. Only trunks with a key that several accounts have can get a finding
    of such a rule, and the finding depends on those trunks alone.

    A rule that `needs_past` has no findings without the history of the trunks.
    """

    code: str
    severity: str
    question: str
    why: str
    fix: str
    source: str
    check: Check
    keys: Keys | None = None
    yields_to: tuple[str, ...] = ()
    needs_past: bool = False

    @property
    def is_cross_account(self) -> bool:
        """Whether the rule compares accounts."""
        return self.keys is not None

    @property
    def family(self) -> str:
        """The subject of the rule: the first word of its code."""
        return self.code.partition("-")[0]


def rule(
    code: str,
    *,
    severity: str,
    question: str,
    why: str,
    fix: str,
    source: str,
    keys: Keys | None = None,
    yields_to: tuple[str, ...] = (),
    needs_past: bool = False,
) -> Callable[[Check], Rule]:
    """Return a decorator that turns a check into a `Rule`."""
    return lambda check: Rule(code, severity, question, why, fix, source, check, keys, yields_to, needs_past)
