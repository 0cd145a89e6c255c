"""The rules of the audit, a family to a module."""

from trunk_transforms.audit.rules import allowlist, country, duplicate, exposure, host, number, provider, value

RULES = {
    rule.code: rule
    for family in (allowlist, provider, host, number, country, duplicate, exposure, value)
    for rule in family.RULES
}
"""Every rule by its code, in the order in which they are shown."""
