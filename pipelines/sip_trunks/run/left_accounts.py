"""Find the trunks of a stored account that is no longer configured: under another name they would be stored twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sip_trunks.core.errors import RefusedSnapshotError

if TYPE_CHECKING:
    import pyarrow as pa

    from sip_trunks.core.settings import Settings

_NUMBER = "phone_number"


class Match(NamedTuple):
    """The stored account whose trunks a snapshot has: its name, the trunks in both, and its stored trunks."""

    account: str
    shared_count: int
    stored_count: int


def hide_plain_numbers(left: pa.Table, settings: Settings) -> pa.Table:
    """Return the trunks with numbers as this run stores them.

    Stored numbers are plain if pseudonyms were first configured after the last run.
    """
    if _NUMBER not in settings.pseudonymize:
        return left
    import pyarrow.compute as pc

    from trunk_transforms.parse.pseudonyms import PREFIX, derive_pseudonyms

    stored = left[_NUMBER].combine_chunks()
    hidden = pc.if_else(pc.starts_with(stored, PREFIX), stored, derive_pseudonyms(stored, settings.pseudonym_key))
    return left.set_column(left.column_names.index(_NUMBER), _NUMBER, hidden)


def find_match(rows: pa.Table, left: pa.Table) -> Match | None:
    """Return the account of `left` that the trunks of a snapshot belong to; None if there is none.

    `left` has account, id and number of the stored trunks. A trunk is the same if id and number are equal. It is a
    match if at least half of the trunks are the same: of the snapshot or of the account, whichever has fewer.
    """
    import pyarrow.compute as pc

    numbers = rows[_NUMBER].take(pc.index_in(left["id"], rows["id"].combine_chunks()))
    is_known = pc.is_in(left["id"], value_set=rows["id"].combine_chunks())
    is_same = pc.and_(is_known, pc.equal(pc.fill_null(numbers, ""), pc.fill_null(left[_NUMBER], "")))
    counts = left.select(["account"]).append_column("is_same", is_same).group_by("account")
    found = counts.aggregate([("is_same", "sum"), ("is_same", "count")]).to_pylist()
    matches = [Match(one["account"], one["is_same_sum"], one["is_same_count"]) for one in found]
    matches = [one for one in matches if 2 * one.shared_count >= min(len(rows), one.stored_count) and one.shared_count]
    return max(matches, key=lambda match: match.shared_count, default=None)


def refuse(account: str, match: Match, settings: Settings) -> RefusedSnapshotError:
    """Return the error for a new account whose trunks are stored already; it names both ways out."""
    option = settings.destination_option
    return RefusedSnapshotError(
        f"the response has {match.shared_count} of the {match.stored_count} stored trunks of {match.account}, which is "
        f"no longer configured. Nothing was changed. If it is the same account, configure it as {match.account}, or: "
        f"sip-trunks accounts rename {match.account} {account}{option}. If it is another account: sip-trunks run "
        f"--account {account} --accept-new-account{option}"
    )
