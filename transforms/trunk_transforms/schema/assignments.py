"""The declaration of what follows from the assignments: columns of the view of trunks, and the unanswered trunks."""

from trunk_transforms.schema.tables import ACCOUNT, HAS_INBOUND_ASSISTANT, TRUNK_ID, own, own_or_null, table

_ASSISTANT_COUNT = (
    "Assistants that use the number, inactive and deleted ones included; null if it is unknown. Exists once "
    "sources.famulor.assignments was on, as does has_inbound_assistant."
)
_COLUMNS = (HAS_INBOUND_ASSISTANT, own_or_null("assistant_count", "bigint", _ASSISTANT_COUNT))
ASSIGNED = {column.name: column for column in _COLUMNS}
"""The columns of the view of trunks that come from `sip_trunk_assignments`, if it exists."""

UNANSWERED_NOTE = "lost its assistant: no inbound assistant is assigned to the number"

UNANSWERED_REASONS = ("no inbound assistant", "only inactive or deleted assistants")
UNANSWERED = table(
    "unanswered",
    "One row per trunk that no active inbound assistant answers, those that are unanswered the longest first. Empty if "
    "sources.famulor.assignments is off.",
    ACCOUNT,
    TRUNK_ID,
    own_or_null("phone_number", "text", "The trunk's number."),
    own_or_null("nickname", "text", "The trunk's nickname."),
    own("reason", "text", "Why nobody answers.", UNANSWERED_REASONS),
    own_or_null("assistants", "text", "The assistants that use the number all the same, with their type and status."),
    own("since", "timestamp", "The first snapshot with these assistants (UTC)."),
    key=("account", "trunk_id"),
)
