"""The errors with which a snapshot, or its assignments, are not stored."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import RefusedSnapshotError, SipTrunksError, describe_failure
from sip_trunks.core.logs import logger
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from trunk_transforms.parse.shrink_guard import Changes
    from trunk_transforms.parse.snapshot import ParsedSnapshot


def shrink_error(
    parsed: ParsedSnapshot, changes: Changes, settings: Settings, besides: str = ""
) -> RefusedSnapshotError:
    """Return the error for a list that lost too many rows; it says how to accept it. `besides` was seen as well."""
    count, title = len(parsed.rows), parsed.resource.title
    seen = f"{count} {title.removesuffix('s') if count == 1 else title}{besides}"
    return RefusedSnapshotError(
        f"the response has {seen}; {changes.removed_count} of "
        f"{changes.stored_count} stored {title} are missing. Nothing was changed. If they were really deleted: "
        f"sip-trunks run --account {parsed.account} --accept-shrink{settings.destination_option}"
    )


def describe_part(error: object) -> str | None:
    """Return the reason that the assignments were not stored; None if it is not an error."""
    return str(describe_refusal(error)["error"]) if isinstance(error, Exception) else None


def describe_refusal(error: Exception) -> dict[str, Any]:
    """Return the message and the exit code of the error of an account.

    Logs the place of an unexpected error, whose own text may quote trunks.
    """
    if isinstance(error, SipTrunksError | InvalidResponseError):
        return describe_failure(error)
    kind = type(error).__name__
    logger.error("a bug (%s):\n%s", kind, "".join(traceback.format_tb(error.__traceback__)))
    message = f"a bug ({kind}): the response cannot be read; stored data is unchanged. The log has the traceback"
    return {"error": message, "exit_code": 1}


def drift_error(details: str) -> RefusedSnapshotError:
    """Return the error for drift that the setting `drift` does not accept."""
    return RefusedSnapshotError(
        f"the response deviates from the declaration {details}; nothing was changed, because sip_trunks.drift is strict"
    )
