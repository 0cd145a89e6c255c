"""The rules of the audit, one module per family."""

from trunk_transforms.audit.rules import allowlist, country, duplicate, exposure, host, number, provider, value
from trunk_transforms.audit.rules.rule import Rule

RULES = {
    rule.code: rule
    for family in (allowlist, provider, host, number, country, duplicate, exposure, value)
    for rule in vars(family).values()
    if isinstance(rule, Rule)
}
"""Every rule by its code, in the order of display: by family, then as defined in the module."""
