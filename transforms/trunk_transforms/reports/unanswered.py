"""Trunks and their assignments → the trunks that no assistant answers."""

import pandas as pd

from trunk_transforms.enrich.assistants import derive_use, name_assistants
from trunk_transforms.schema.assignments import UNANSWERED


def derive_unanswered(trunks: pd.DataFrame, assignments: pd.DataFrame) -> pd.DataFrame:
    """Return the trunks that no active inbound assistant answers, those that are unanswered the longest first.

    Grain and columns: those of `UNANSWERED`. Needs `account`, `id`, `phone_number` and `nickname` of the trunks, and
    the assignments, one row per trunk at most.
    """
    used = derive_use(assignments)
    found = used.loc[used["reason"].notna()].assign(assistants=used["assistants"].map(name_assistants).astype("str"))
    named = trunks[["account", "id", "phone_number", "nickname"]].rename(columns={"id": "trunk_id"})
    found = found.astype({"account": "str", "trunk_id": "Int64"}).merge(
        named.astype({"account": "str", "trunk_id": "Int64"}), on=["account", "trunk_id"], validate="1:1"
    )
    return found.sort_values(["since", "account", "trunk_id"], ignore_index=True)[UNANSWERED.names]
