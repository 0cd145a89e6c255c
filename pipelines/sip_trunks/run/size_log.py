"""The size log: `state/sizes.json` has the size of each destination once a day, from which its growth follows."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import SipTrunksError
from sip_trunks.core.files import write_whole
from sip_trunks.destinations import open_destination

if TYPE_CHECKING:
    from pathlib import Path

    from sip_trunks.core.settings import Settings

_DAYS_KEPT = 400
_DAYS_COMPARED = 30


def note_size(settings: Settings) -> None:
    """Record the size of the destination once a day, if it is known; an error is ignored."""
    noted, today, destination = _read(settings), f"{datetime.now(UTC):%Y-%m-%d}", open_destination(settings)
    sizes = noted.setdefault(destination.location, {})
    if today in sizes:
        return
    with suppress(OSError, SipTrunksError):
        size = destination.size_bytes()
        if size is not None:
            noted[destination.location] = dict(sorted((sizes | {today: size}).items())[-_DAYS_KEPT:])
            write_whole(_path(settings), json.dumps(noted).encode())


def read_growth(settings: Settings, location: str, size: int) -> dict[str, Any] | None:
    """Return by how many bytes a destination has grown and since which day, 30 days ago if that is recorded."""
    now = datetime.now(UTC)
    begin = f"{now - timedelta(days=_DAYS_COMPARED):%Y-%m-%d}"
    sizes = _read(settings).get(location, {})
    days = sorted(day for day in sizes if day < f"{now:%Y-%m-%d}")
    since = next((day for day in days if day >= begin), days[-1] if days else None)
    return {"since": since, "bytes": size - sizes[since]} if since else None


def _path(settings: Settings) -> Path:
    return settings.state_dir / "sizes.json"


def _read(settings: Settings) -> dict[str, dict[str, int]]:
    """Return the bytes by location and day; nothing if the file is missing or not valid."""
    try:
        noted = json.loads(_path(settings).read_text("utf-8"))
        return {str(name): {str(day): int(size) for day, size in sizes.items()} for name, sizes in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
