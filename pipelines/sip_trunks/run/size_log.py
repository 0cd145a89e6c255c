"""The size log: `state/sizes.json` has the size of each destination, once a day, to show its growth."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from sip_trunks.core.errors import SipTrunksError
from sip_trunks.core.files import read_json, write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination

_DAYS_KEPT = 400
_DAYS_COMPARED = 30


def note_size(settings: Settings) -> None:
    """Record the size of the destination once a day, if it is known; errors are ignored."""
    noted, today, destination = _read(settings), f"{datetime.now(UTC):%Y-%m-%d}", open_destination(settings)
    sizes = noted.setdefault(destination.location, {})
    if today in sizes:
        return
    with suppress(OSError, SipTrunksError):
        size = destination.size_bytes()
        if size is not None:
            noted[destination.location] = dict(sorted((sizes | {today: size}).items())[-_DAYS_KEPT:])
            write_whole(_path(settings), msgspec.json.encode(noted))


def read_growth(settings: Settings, location: str, size: int) -> dict[str, Any] | None:
    """Return the growth of a destination in bytes, and since which day: the first recorded one of the last 30 days."""
    now = datetime.now(UTC)
    begin = f"{now - timedelta(days=_DAYS_COMPARED):%Y-%m-%d}"
    sizes = _read(settings).get(location, {})
    days = sorted(day for day in sizes if day < f"{now:%Y-%m-%d}")
    since = next((day for day in days if day >= begin), days[-1] if days else None)
    return {"since": since, "bytes": size - sizes[since]} if since else None


def _path(settings: Settings) -> Path:
    return settings.state_dir / "sizes.json"


def _read(settings: Settings) -> dict[str, dict[str, int]]:
    """Return the bytes by location and day; an empty dictionary if the file is missing or not valid."""
    return read_json(_path(settings), dict[str, dict[str, int]]) or {}
