"""Four accounts over six days, and everything that can be asked of their history from a moment on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from sip_trunks.core.lock import holding_lock
from sip_trunks.destinations import open_destination
from sip_trunks.operations.retention import compact, deletion_before
from sip_trunks.warehouse import frames
from tests.support.builders import ABSENT, IP_TRUNK, trunk
from trunk_transforms.history.freshness import derive_freshness
from trunk_transforms.history.growth import derive_growth

Trunks = list[dict[str, Any]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(day: float) -> datetime:
    return NOON + timedelta(days=day)


FIRST: Trunks = [trunk(id=1), trunk(id=2), trunk(id=3), IP_TRUNK | {"id": 4}]
SECOND: Trunks = [trunk(id=1, country_code="DE"), trunk(id=3, zz_label="Front"), IP_TRUNK | {"id": 4}]
THIRD: Trunks = [trunk(id=1, country_code="DE"), trunk(id=3, zz_label="Back", country_code="FR"), trunk(id=5)]
LAST: Trunks = [trunk(id=1, country_code="FR"), trunk(id=3, zz_label="Back", country_code="FR"), trunk(id=2)]
STORY = [
    ("acme", at(0), FIRST),
    ("idle", at(0), FIRST),
    ("left", at(0), FIRST),
    ("acme", at(0.1), FIRST),
    ("left", at(0.2), SECOND),  # and never seen again
    ("acme", at(1), SECOND),
    ("idle", at(1), FIRST),
    ("acme", at(2), SECOND),
    ("idle", at(2), FIRST),
    ("acme", at(2.25), SECOND),
    ("acme", at(4), [record | {"country_code": ABSENT} for record in THIRD]),
    ("acme", at(4.1), THIRD),
    ("idle", at(4.1), FIRST),
    ("acme", at(5), LAST),
    ("new", at(5), FIRST),
]
STORY = [(name, when, [trunk(**record) for record in trunks]) for name, when, trunks in STORY]
MOMENTS = [at(day) for day in (0, 0.05, 1.5, 2.3, 3, 3.5, 4, 4.05, 4.5, 5, 6)]
LIMITS = (at(3), at(4.05))


def tell(settings: Any, limit: datetime) -> list[Any]:
    """Return everything that can be asked of moments from the limit on."""
    later = [moment for moment in MOMENTS if moment >= limit]
    with open_destination(settings).reading() as connection:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        drift = "SELECT * EXCLUDE (first_seen_at) FROM drift WHERE last_seen_at >= "
        observations, lifetimes = frames.read_observations(connection, at(9)), frames.read_lifetimes(connection, at(9))
        growth = derive_growth(lifetimes, observations, as_of=at(9), period="day")
        is_later = growth["period"].astype(str) > f"{limit:%Y-%m-%d}"
        counted = ["account", "period", "trunk_count", "snapshot_count", "vanished_count"]
        fresh = derive_freshness(observations, as_of=at(9))[["account", "snapshot_at", "age_seconds", "trunk_count"]]
        return [
            *(ask(f"FROM trunks_as_of('{moment}') ORDER BY account, id") for moment in later),
            *(
                ask(f"FROM changes_between('{since}', '{until}') ORDER BY ALL")
                for since, until in {*pairwise(later), *((since, later[-1]) for since in later[:-1])}
            ),
            ask(f"FROM sip_trunk_changes WHERE observed_at > '{limit}' ORDER BY ALL"),
            ask(f"{drift} '{limit}' ORDER BY ALL"),
            ask(f"FROM sip_trunk_snapshots WHERE snapshot_at > '{limit}' ORDER BY ALL"),
            *(ask(f"FROM {table} ORDER BY ALL") for table in ("sip_trunks", "sip_trunk_allowed_ips")),
            growth.loc[is_later, counted].to_dict("records"),
            fresh.to_dict("records"),
        ]


def drop_before(settings: Any, limit: datetime) -> dict[str, int]:
    destination = open_destination(settings)
    with holding_lock(settings):
        with destination.reading() as connection:
            drops = deletion_before(connection, limit)
        return compact(settings, destination, drops)
