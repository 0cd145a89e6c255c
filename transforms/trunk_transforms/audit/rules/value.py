"""Rules on values from a fixed set, and on values of the wrong type."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules.context import AUDITED, NOTHING, AuditContext, Findings, Verdict, as_findings
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, rule
from trunk_transforms.audit.rules.wording import quote, quote_own
from trunk_transforms.schema.tables import API_COLUMNS, AUTHORIZATION_TYPES, CALLING_FORMATS, VARIANT_SUFFIX

_ALLOWED = {
    "sip_calling_format": CALLING_FORMATS,
    "inbound_authorization_type": AUTHORIZATION_TYPES,
    "outbound_proxy": (True, False),
}
_DECISIVE = ("phone_number", "inbound_authorization_type", "allowed_inbound_ips")
_TYPES = {"text": "text", "bool": "true or false", "text_list": "a list of texts"}


@rule(
    "value-unknown",
    severity="medium",
    question="Which trunks have an undocumented calling format or authorization type, or no outbound proxy setting?",
    why="Either the API has new values, or the record is broken. Reports and rules may miss the trunk.",
    fix="check the trunk in the platform; if the value is new, update sip-trunks",
    source=API_DOCUMENTATION,
)
def check_unknown(context: AuditContext) -> Findings:
    """Find values that are missing or not documented."""

    def decide(*values: str | bool | None) -> Verdict | None:
        seen = []
        for (name, allowed), value, unreadable in zip(_ALLOWED.items(), values[::2], values[1::2], strict=True):
            if value not in allowed and unreadable is None:
                found = "missing" if value is None else quote(str(value))
                seen.append(f"{name} is {found}, not {' or '.join(map(str, allowed)).lower()}")
        return Verdict("; ".join(seen)) if seen else None

    return context.decide([column for name in _ALLOWED for column in (name, name + VARIANT_SUFFIX)], decide)


@rule(
    "value-unreadable",
    severity="high",
    question="Which trunks have values of the wrong type?",
    why="The value is stored as text beside its column. Other rules cannot check it, and reports count it as missing.",
    fix="check the trunk in the platform; if the value is correct there, the API has changed: update sip-trunks",
    source=API_DOCUMENTATION,
)
def check_unreadable(context: AuditContext) -> Findings:
    """Find values of the wrong type: high if they decide who reaches the trunk, else medium."""
    remarks = []
    for column in API_COLUMNS:
        if column.name in AUDITED and column.type in _TYPES:
            sent = context.trunks[column.name + VARIANT_SUFFIX].dropna().astype("str")
            if sent.empty:
                continue
            seen = f"{column.name} cannot be read: " + quote_own(sent) + f" was not sent as {_TYPES[column.type]}"
            remarks.append(pd.DataFrame({"seen": seen, "cause": f"the type of {column.name}"}))
    if not remarks:
        return NOTHING
    found = pd.concat(remarks).groupby(level=0).agg("; ".join)
    is_decisive = pd.concat([context.is_unreadable(name) for name in _DECISIVE], axis="columns").any(axis="columns")
    severity = np.where(is_decisive.loc[found.index], "high", "medium")
    return as_findings(found["seen"], cause=found["cause"], severity=severity)
