"""What the rules look at: trunks with everything that is derived from them, each distinct value looked at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules.wording import enumerate_first
from trunk_transforms.enrich.addresses import Entry, classify_entry, normalize_host
from trunk_transforms.enrich.countries import canonical_country
from trunk_transforms.enrich.numbers import as_text, derive_numbers, match_valid_numbers
from trunk_transforms.enrich.providers import derive_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from trunk_transforms.enrich.numbers import Flags
    from trunk_transforms.enrich.providers import Provider, Providers

    Codes = NDArray[np.int64]

AUDITED = (
    "account",
    "id",
    "phone_number",
    "sip_username",
    "sip_address",
    "sip_calling_format",
    "inbound_authorization_type",
    "allowed_inbound_ips",
    "outbound_proxy",
    "country_code",
)
"""The columns that the rules look at."""

_TEXTS = tuple(name for name in AUDITED if name not in ("id", "outbound_proxy"))
_OLD_MONTHS = 12


class Verdict(NamedTuple):
    """What a rule has seen; `fix` and `severity` where they are not the rule's own."""

    seen: str
    fix: str | None = None
    severity: str | None = None


@dataclass(frozen=True)
class AuditContext:
    """The trunks, one row each (index 0, 1, …), and what is known beside them.

    Text columns are `str`, blank ones null, but for `account`; `outbound_proxy` is `boolean`. Derived:
    `number_kind`, `normalized_number`, `calling_code`, `is_valid` (the normalised number exists), `provider`, `host`
    (as hosts are compared), `country` (the code that is meant), `allowlist` (a place in `allowlists`),
    `is_allowlist_used`, `is_allowlist_ordinary` (each of its entries is, by itself).
    """

    trunks: pd.DataFrame
    allowlists: list[tuple[Entry, ...]]
    providers: Providers
    as_of: datetime
    _encoded: dict[str, tuple[Codes, list[Any]]] = field(default_factory=dict, repr=False)

    def decide(
        self, columns: Sequence[str], judge: Callable[..., Verdict | None], where: Flags | pd.Series | None = None
    ) -> pd.DataFrame:
        """Return the findings of a function that is asked once for every distinct combination of the columns' values.

        Missing values come as None, the column `allowlist` as its entries. Only rows for which `where` holds count.
        """
        rows = np.arange(len(self.trunks)) if where is None else np.flatnonzero(np.asarray(where, dtype=bool))
        encoded = [self._encode(name) for name in columns]
        groups, firsts = _combine([codes[rows] for codes, _ in encoded])
        verdicts = [judge(*(values[codes[rows[first]]] for codes, values in encoded)) for first in firsts]
        is_hit = np.array([verdict is not None for verdict in verdicts], dtype=bool)
        hits = [verdict for verdict in verdicts if verdict is not None]
        is_found = is_hit[groups]
        places = (np.cumsum(is_hit) - 1)[groups[is_found]]
        texts = pd.DataFrame(hits, columns=Verdict._fields).astype("str")
        return texts.take(places).set_axis(rows[is_found])

    def age(self, provider: Provider) -> str:
        """Return what to add where facts on a provider are used: nothing unless they are old."""
        months = (self.as_of.year - provider.as_of.year) * 12 + self.as_of.month - provider.as_of.month
        is_old = months > _OLD_MONTHS or (months == _OLD_MONTHS and self.as_of.day > provider.as_of.day)
        return f" (by facts of {provider.as_of}, older than {_OLD_MONTHS} months: check them)" if is_old else ""

    def _encode(self, name: str) -> tuple[Codes, list[Any]]:
        """Return a column as places in the list of its distinct values, the last of which is None."""
        if name not in self._encoded:
            if name == "allowlist":
                self._encoded[name] = self.trunks["allowlist"].to_numpy(), list(self.allowlists)
            else:
                codes, distinct = pd.factorize(self.trunks[name])
                self._encoded[name] = codes, [*distinct.tolist(), None]
        return self._encoded[name]


def gather_context(trunks: pd.DataFrame, providers: Providers, as_of: datetime) -> AuditContext:
    """Return the facts on the trunks. Needs the columns that `audit_trunks` needs; keeps derived ones that are there.

    Raises ValueError if `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of has no time zone: {as_of}")
    known = trunks.reset_index(drop=True).assign(**{name: _text(trunks[name]) for name in _TEXTS})
    known["account"] = known["account"].fillna("")
    known["outbound_proxy"] = known["outbound_proxy"].astype("boolean")
    if not {"number_kind", "normalized_number", "calling_code"} <= set(known.columns):
        known = derive_numbers(known)
    if "provider" not in known.columns:
        known = derive_provider(known, providers)
    known["is_valid"] = match_valid_numbers(as_text(known["normalized_number"]))
    known["host"] = _map_distinct(known["sip_address"], normalize_host)
    known["country"] = _map_distinct(known["country_code"], canonical_country)
    codes, lists = pd.factorize(known["allowed_inbound_ips"])
    entries: dict[str, Entry] = {}
    allowlists = [_read_allowlist(text, entries) for text in lists]
    is_ordinary = [all(entry.is_ordinary for entry in allowlist) for allowlist in allowlists]
    known["allowlist"] = codes
    known["is_allowlist_ordinary"] = np.array([*is_ordinary, True])[codes]
    known["is_allowlist_used"] = known["inbound_authorization_type"] != "auth"
    return AuditContext(known, [*allowlists, ()], providers, as_of)


def say(seen: pd.Series, fix: pd.Series | None = None) -> pd.DataFrame:
    """Return one finding for each row of a column of texts; `fix` has texts for the same rows."""
    nothing = pd.Series(None, index=seen.index, dtype="str")
    return pd.DataFrame({"seen": seen.astype("str"), "fix": nothing if fix is None else fix, "severity": nothing})


def ids(trunks: pd.DataFrame) -> pd.Series:
    """Return the ids of the trunks as text."""
    return trunks["id"].astype("Int64").astype("str").fillna("?")


def name_others(groups: pd.Series, parts: pd.Series, labels: pd.Series, most: int = 3) -> pd.Series:
    """Return for each row who else is in its group: up to three labels of other parts of it, and how many more.

    A null group has nobody. Rows that are alone are left out. Grain: one row per row that has company; its index.
    """
    rows = pd.DataFrame({"group": groups, "part": parts, "label": labels}).dropna(subset="group")
    pairs = rows[["group", "part"]].drop_duplicates()
    shared = pairs.loc[pairs["group"].duplicated(keep=False), "group"]
    rows = rows.loc[rows["group"].isin(shared)]
    named: list[str] = []
    index: list[int] = []
    for _, group in _split(rows):
        sizes: dict[Any, int] = {}
        for _, part, _ in group:
            sizes[part] = sizes.get(part, 0) + 1
        texts = {
            part: enumerate_first((label for _, other, label in group if other != part), len(group) - size, most)
            for part, size in sizes.items()
        }
        named += [texts[part] for _, part, _ in group]
        index += [row for row, _, _ in group]
    return pd.Series(named, index=index, dtype="str")


def _split(rows: pd.DataFrame) -> Iterable[tuple[Any, list[tuple[int, Any, str]]]]:
    """Return the rows of each group as (row, part, label), in their order."""
    groups: dict[Any, list[tuple[int, Any, str]]] = {}
    for row, group, part, label in zip(rows.index, rows["group"], rows["part"], rows["label"], strict=True):
        groups.setdefault(group, []).append((row, part, label))
    return groups.items()


def combine(*columns: pd.Series) -> pd.Series:
    """Return a number for each combination of values, missing ones being values like others."""
    groups, _ = _combine([pd.factorize(column)[0] for column in columns])
    return pd.Series(groups, index=columns[0].index)


def _combine(columns: Sequence[Codes]) -> tuple[Codes, Codes]:
    """Return a number for each combination of codes (-1 and up), from 0, and the first place of each."""
    groups = columns[0].astype(np.int64)
    for codes in columns[1:]:
        groups = pd.factorize(groups)[0].astype(np.int64)
        groups = groups * (codes.max(initial=-1) + 2) + codes + 1
    groups, distinct = pd.factorize(groups)
    firsts = np.empty(len(distinct), dtype=np.int64)
    firsts[groups[::-1]] = np.arange(len(groups))[::-1]
    return groups, firsts


def _text(values: pd.Series) -> pd.Series:
    text = values.reset_index(drop=True).astype("str")
    return text.where(text.str.strip() != "")


def _map_distinct(values: pd.Series, function: Callable[[str], str | None]) -> pd.Series:
    return values.map({value: function(value) for value in values.dropna().unique()}).astype("str")


def _read_allowlist(text: str, known: dict[str, Entry]) -> tuple[Entry, ...]:
    """Return the entries of an allowlist from its JSON; what is no list of texts has entries that are invalid."""
    try:
        values = json.loads(text)
        values = values if isinstance(values, list) else [text]
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    except (ValueError, RecursionError):
        texts = [text]
    return tuple(known.get(entry) or known.setdefault(entry, classify_entry(entry)) for entry in texts)
