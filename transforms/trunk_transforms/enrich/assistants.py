"""What the assignments of a trunk mean: why nobody answers it, and whether anybody uses it."""

import json
from collections.abc import Callable

import pandas as pd

from trunk_transforms.schema.assignments import UNANSWERED_REASONS

_NONE, _IDLE = UNANSWERED_REASONS
_KEY = {"account": "str", "id": "Int64"}

USE = ("has_inbound_assistant", "reason", "is_used", "unchanged_since")
"""The columns on the use of a trunk that the rules need."""


def derive_use(assignments: pd.DataFrame) -> pd.DataFrame:
    """Return the assignments with `reason`, why no active inbound assistant answers, and `is_used`.

    `reason` is one of `UNANSWERED_REASONS`, or null if one answers or it is unknown. `is_used` says whether an
    assistant that is not deleted uses the number, inbound or outbound. Needs `has_inbound_assistant` and `assistants`.
    """
    texts = assignments["assistants"]
    status = {text: json.loads(text) for text in texts.dropna().unique()}
    inbound = {text: [one for one in found if one["type"] == "inbound"] for text, found in status.items()}
    is_idle = {text: bool(found) and all(one["status"] != "active" for one in found) for text, found in inbound.items()}
    is_used = {text: any(one["status"] != "deleted" for one in found) for text, found in status.items()}
    has_none = assignments["has_inbound_assistant"].eq(other=False).fillna(value=False)
    reason = pd.Series(None, assignments.index, dtype="str").mask(has_none, _NONE)
    return assignments.assign(
        reason=reason.mask(texts.map(is_idle).eq(other=True), _IDLE),
        is_used=texts.map(is_used).eq(other=True) | ~has_none,
    )


def with_use(trunks: pd.DataFrame, assignments: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks with the columns `USE` of their assignments, null where they are unknown."""
    used = derive_use(assignments).rename(columns={"trunk_id": "id"})[[*_KEY, *USE]]
    keys = trunks[[*_KEY]].astype(_KEY)
    found = keys.merge(used.astype(_KEY), how="left", on=[*_KEY]).set_axis(trunks.index)
    return trunks.assign(**{name: found[name] for name in USE})


def name_assistants(text: str) -> str | None:
    """Return the names of assistants with their type and status: `Reception (inbound, inactive)`; None if none."""
    named = [f"{one['name'] or one['id']} ({one['type']}, {one['status']})" for one in json.loads(text)]
    return ", ".join(named) or None


def rename_assistants(text: str, rename: Callable[[str], str]) -> str:
    """Return the assistants with other names."""
    renamed = [one | {"name": one["name"] and rename(one["name"])} for one in json.loads(text)]
    return json.dumps(renamed, ensure_ascii=False)
