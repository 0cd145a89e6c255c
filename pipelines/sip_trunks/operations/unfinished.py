"""Accounts that a killed `accounts forget` or `accounts rename` has changed only in part, until it is called again."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from sip_trunks.core.files import read_json, write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.destinations.base import NamedDestination

_FILE = "forgetting.json"  # older than the renaming of accounts


def read_unfinished(settings: Settings, destination: NamedDestination) -> list[tuple[str, ...]]:
    """Return what killed commands have begun at a destination: the forgotten account, or the old and the new name."""
    return [tuple(names) for location, *names in _read_begun(settings) if location == destination.location]


def describe_unfinished(names: tuple[str, ...]) -> str:
    """Return the command that has begun with these accounts."""
    return f"accounts {'forget' if len(names) == 1 else 'rename'} {' '.join(names)}"


@contextmanager
def noting_unfinished(settings: Settings, destination: NamedDestination, *names: str) -> Iterator[None]:
    """Have `read_unfinished` return the accounts until this context ends without an error."""
    path, entry = settings.state_dir / _FILE, [destination.location, *names]
    begun = [other for other in _read_begun(settings) if other != entry]
    write_whole(path, msgspec.json.encode([*begun, entry]))
    yield
    if begun:
        write_whole(path, msgspec.json.encode(begun))
    else:
        path.unlink()


def _read_begun(settings: Settings) -> list[list[str]]:
    return read_json(settings.state_dir / _FILE, list[list[str]]) or []
