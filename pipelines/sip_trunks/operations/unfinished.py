"""Accounts that a killed `accounts forget` has forgotten only in part, until it is called again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from sip_trunks.core.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import NamedDestination

_FORGETTING = "forgetting.json"


def read_unfinished(settings: Settings, destination: NamedDestination) -> list[str]:
    """Return the accounts of a destination that a killed command has forgotten only in part."""
    return [name for location, name in _read_begun(settings) if location == destination.location]


@contextmanager
def noting_unfinished(settings: Settings, destination: NamedDestination, account: str) -> Iterator[None]:
    """Have `read_unfinished` return the account until this context ends without an error."""
    path, entry = settings.state_dir / _FORGETTING, [destination.location, account]
    begun = [other for other in _read_begun(settings) if other != entry]
    write_whole(path, msgspec.json.encode([*begun, entry]))
    yield
    if begun:
        write_whole(path, msgspec.json.encode(begun))
    else:
        path.unlink()


def _read_begun(settings: Settings) -> list[list[str]]:
    try:
        return msgspec.json.decode((settings.state_dir / _FORGETTING).read_bytes(), type=list[list[str]])
    except (OSError, ValueError):
        return []
