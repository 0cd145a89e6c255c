"""The rules of the audit, one module per family, and their selection by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from trunk_transforms.audit.rules import (
    allowlist,
    allowlist_comparison,
    calling_format,
    country,
    duplicate,
    exposure,
    host,
    inbound,
    number,
    provider,
    username,
    value,
)
from trunk_transforms.audit.rules.rule import Rule

_FAMILIES = (
    *(allowlist, allowlist_comparison, provider, host, number, country, duplicate, inbound, exposure, username),
    *(calling_format, value),
)
RULES = {rule.code: rule for family in _FAMILIES for rule in vars(family).values() if isinstance(rule, Rule)}
"""Every rule by its code, in the order of display: by family, then as defined in the module."""


def select_rules(select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    """Return the selected rules (default: all) without the ignored ones, in the order of `RULES`.

    Each name is the code of a rule or the first words of codes, such as `allowlist` or `provider-ips`. Raises
    ValueError if a name matches no rule.
    """
    selected = {code for name in select for code in find_codes(name)} or set(RULES)
    ignored = {code for name in ignore for code in find_codes(name)}
    return [rule for code, rule in RULES.items() if code in selected - ignored]


def find_codes(name: str) -> list[str]:
    """Return the codes of the rules that a name matches. Raises ValueError, with a suggestion, if there are none."""
    found = [code for code in RULES if code == name or code.startswith(f"{name}-")]
    if found:
        return found
    families = list(dict.fromkeys(rule.family for rule in RULES.values()))
    close = get_close_matches(name, [*RULES, *families], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the families are {', '.join(families)}"
    raise ValueError(f"no rule or family of rules is called {name!r}; {hint}")
