"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from trunk_transforms.audit.rules.context import AuditContext

    Check = Callable[[AuditContext], pd.DataFrame]
    Keys = Callable[[AuditContext], pd.Series]


@dataclass(frozen=True)
class Rule:
    """A rule: what it asks, why that matters, what to do about what it finds, and who says so.

    `severity` is that of its findings, or the highest where they differ. `check` returns the findings, each trunk at
    most once: index: rows of the facts' trunks; columns `seen`, and `fix` and `severity`, null for the rule's own. A
    rule looks at one account at a time, but for those that compare accounts: `keys` returns by what, as text; index:
    rows of the trunks, several times if there is more than one key. Only trunks with a key that is in several accounts
    can have a finding of theirs, and what it says depends on those alone.
    """

    code: str
    severity: str
    question: str
    why: str
    fix: str
    source: str
    check: Check
    keys: Keys | None = None

    @property
    def is_cross_account(self) -> bool:
        """Whether it compares accounts."""
        return self.keys is not None

    @property
    def family(self) -> str:
        """What the rule is about: the first word of its code."""
        return self.code.partition("-")[0]


def rule(
    code: str, *, severity: str, question: str, why: str, fix: str, source: str, keys: Keys | None = None
) -> Callable[[Check], Rule]:
    """Make the decorated check a rule, under the name of the function."""

    def make(check: Check) -> Rule:
        return Rule(code, severity, question, why, fix, source, check, keys)

    return make
