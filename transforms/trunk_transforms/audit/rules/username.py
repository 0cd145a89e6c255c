"""Rules on the form of `sip_username`; `exposure` has the rules on usernames that are easy to guess."""

from __future__ import annotations

from trunk_transforms.audit.rules.context import NOTHING, AuditContext, Findings, as_findings
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, rule
from trunk_transforms.audit.rules.wording import quote_own

_FEWEST_CHARACTERS, _MOST_CHARACTERS = 3, 128


@rule(
    "username-length",
    severity="medium",
    question="Which usernames have fewer than 3 or more than 128 characters?",
    why="The platform rejects such a username on creation, so the trunk cannot be created again as it is.",
    fix="choose a username of 3 to 128 characters (this re-creates both legs: a short outage)",
    source=API_DOCUMENTATION,
    yields_to=("exposure-username-number",),
)
def check_length(context: AuditContext) -> Findings:
    """Find short and long usernames; `exposure-username-blank` reports blank ones where they are a fault."""
    names = context.trunks["sip_username"].dropna()
    lengths = names.str.len()
    found = names[(lengths < _FEWEST_CHARACTERS) | (lengths > _MOST_CHARACTERS)]
    if found.empty:
        return NOTHING
    seen = "sip_username has a length of " + lengths[found.index].astype("int64").astype("str")
    return as_findings(seen, cause="the username " + quote_own(found))
