"""Accounts whose trunks come and go at random, and the columns that their versions are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tests.support.builders import trunk
from trunk_transforms import schema
from trunk_transforms.history.scd2 import extend_history, with_validity

if TYPE_CHECKING:
    import random
    from datetime import datetime

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


def derive_history(snapshot_rows: pa.Table, observations: pa.Table) -> pa.Table:
    """Return the versions that follow from all snapshots, as SCD2 would have stored them.

    Grain: one row per version, with `valid_from` and `valid_to` (UTC). `snapshot_rows` has one row per trunk and
    snapshot: `account`, `snapshot_at` and the columns of the trunk. `observations` has the rows of
    `sip_trunk_snapshots`; an observation of an unchanged response has no snapshot rows and is skipped.
    """
    history = with_validity(schema.SIP_TRUNKS.arrow_schema().empty_table())
    for account, snapshot_at in _list_snapshots(observations):
        is_seen = pc.and_(
            pc.equal(snapshot_rows["account"], account),
            pc.equal(snapshot_rows["snapshot_at"], pa.scalar(snapshot_at, schema.arrow_type("timestamp"))),
        )
        trunks = snapshot_rows.filter(is_seen).drop_columns(["snapshot_at"])
        history = extend_history(history, trunks, [account], snapshot_at)
    return history


def _list_snapshots(observations: pa.Table) -> list[tuple[str, datetime]]:
    """Return account and time of each stored snapshot, in order: the first observation of every load."""
    first = observations.group_by(["account", "_dlt_load_id"]).aggregate([("snapshot_at", "min")])
    ordered = first.sort_by([("snapshot_at_min", "ascending"), ("account", "ascending")])
    return list(zip(ordered["account"].to_pylist(), ordered["snapshot_at_min"].to_pylist(), strict=True))
