"""The rules of the audit, one module per subject, and their selection by name."""

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
    history,
    host,
    inbound,
    number,
    provider,
    usage,
    username,
    value,
)
from trunk_transforms.audit.rules.rule import Rule

_MODULES = (
    *(allowlist, allowlist_comparison, provider, host, number, country, duplicate, inbound, exposure, username),
    *(calling_format, value, usage, history),
)
_DEFINED = [rule for module in _MODULES for rule in vars(module).values() if isinstance(rule, Rule)]
_FAMILIES = list(dict.fromkeys(rule.family for rule in _DEFINED))
RULES = {rule.code: rule for rule in sorted(_DEFINED, key=lambda rule: _FAMILIES.index(rule.family))}
"""Every rule by its code, in the order of display: by family, then as defined."""


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
    close = get_close_matches(name, [*RULES, *_FAMILIES], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the families are {', '.join(_FAMILIES)}"
    raise ValueError(f"no rule or family of rules is called {name!r}; {hint}")
