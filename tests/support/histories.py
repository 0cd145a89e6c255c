"""Accounts whose trunks come and go at random, and the columns that their versions are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.builders import trunk
from trunk_transforms import schema

if TYPE_CHECKING:
    import random

VERSION_COLUMNS = ", ".join(
    [*(column.name for column in schema.SIP_TRUNKS.columns if column.source != "dlt"), "valid_from", "valid_to"]
)
IPS = ("203.0.113.10", "198.51.100.20", "192.0.2.7", "203.0.113.10")


def some_trunks(rng: random.Random, edition: int) -> list[dict[str, Any]]:
    """Return trunks that come and go, change, are spelt differently, and get and lose fields, declared or not."""
    made = [
        trunk(
            id=id_,
            country_code=rng.choice(("US", "DE")),
            updated_at=f"2026-03-0{rng.randint(1, 3)}T10:00:00Z",
            allowed_inbound_ips=rng.choice((None, [], rng.sample(IPS, 3))),
            **({"zz_codec": rng.choice((None, "opus", {"name": "g711"}))} if edition > 2 else {}),
        )
        for id_ in rng.sample(range(12), rng.choice((0, 8, 9, 12)))
    ]
    if edition == 1:
        for record in made:
            del record["sip_username"]
    return made
