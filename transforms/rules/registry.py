"""What a rule is, and all of them by code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from transforms.rules.facts import Facts

    Check = Callable[[Facts], pd.DataFrame]


@dataclass(frozen=True)
class Rule:
    """A rule: what it asks, why that matters, what to do about what it finds, and who says so.

    `severity` is that of its findings, or the highest where they differ. `check` returns the findings, each trunk at
    most once: index: rows of the facts' trunks; columns `seen`, and `fix` and `severity`, null for the rule's own. A
    rule looks at one account at a time; one that is cross-account needs `account`, `id`, the number and the allowlist.
    """

    code: str
    severity: str
    question: str
    why: str
    fix: str
    source: str
    check: Check
    is_cross_account: bool = False

    @property
    def family(self) -> str:
        """What the rule is about: the first word of its code."""
        return self.code.partition("-")[0]


RULES: dict[str, Rule] = {}
"""Every rule by its code, in the order in which they are shown."""


def rule(
    code: str, *, severity: str, question: str, why: str, fix: str, source: str, is_cross_account: bool = False
) -> Callable[[Check], Check]:
    """Register the decorated check as a rule."""

    def register(check: Check) -> Check:
        RULES[code] = Rule(code, severity, question, why, fix, source, check, is_cross_account)
        return check

    return register
