"""The past of the trunks, with which the audit compares their present state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from trunk_transforms.schema.reports import CHANGES

RECENT = timedelta(days=30)
"""How long a change counts as recent."""

CREDENTIAL_AGE = timedelta(days=365)
"""The age at which a credential should be replaced."""

PAST = (
    *(
        "account",
        "id",
        "phone_number",
        "nickname",
        "inbound_authorization_type",
        "allowed_inbound_ips",
        "outbound_proxy",
    ),
    *("updated_at", "valid_from", "valid_to"),
)
"""The columns of versions that the rules and the page need; a value of the wrong type is null."""


@dataclass(frozen=True)
class Past:
    """The past of the trunks; it may begin earlier than the rules need, and have other trunks besides.

    `versions` has the columns `PAST`, one row per version after `RECENT` began. Trunks that did not change since then
    may be missing. `changes` has the columns `CHANGES`, one row per change that a snapshot showed. `credentials` has
    one row per trunk whose account was observed before `CREDENTIAL_AGE` began: `account`, `trunk_id`, and `changed_at`,
    the last sign of a new credential (UTC) since then, or null.
    """

    versions: pd.DataFrame
    changes: pd.DataFrame
    credentials: pd.DataFrame

    def count_known(self, trunks: pd.DataFrame) -> int:
        """Return the number of trunks whose history is long enough to know the age of the credential."""
        known = pd.MultiIndex.from_frame(self.credentials[["account", "trunk_id"]])
        return int(pd.MultiIndex.from_frame(trunks[["account", "id"]]).isin(known).sum())


def no_past() -> Past:
    """Return the past of trunks whose history is not known."""
    types = {"id": "Int64", "trunk_id": "Int64", "outbound_proxy": "boolean"}
    types |= dict.fromkeys(("updated_at", "valid_from", "valid_to", "observed_at", "changed_at"), "datetime64[us, UTC]")
    columns = (PAST, CHANGES.names, ("account", "trunk_id", "changed_at"))
    return Past(*(pd.DataFrame({n: pd.Series(dtype=types.get(n, "str")) for n in names}) for names in columns))


def recent_since(as_of: datetime) -> datetime:
    """Return the moment after which a change is recent."""
    return as_of - RECENT


def credentials_since(as_of: datetime) -> datetime:
    """Return the moment after which a credential is young."""
    return as_of - CREDENTIAL_AGE
