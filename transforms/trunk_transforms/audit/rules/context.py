"""The input of the rules: the trunks with derived columns. Each distinct value is checked once."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from trunk_transforms.audit.office_hours import OfficeHours
from trunk_transforms.audit.past import Past, no_past, recent_since
from trunk_transforms.audit.rules.wording import enumerate_first
from trunk_transforms.enrich.addresses import Network, covers, normalize_host
from trunk_transforms.enrich.allowlists import Allowlists, Entries, read_allowlists
from trunk_transforms.enrich.countries import canonical_country
from trunk_transforms.enrich.numbers import Flags, as_text, derive_numbers, list_readings
from trunk_transforms.enrich.providers import AddressGroup, Providers, derive_provider, is_old
from trunk_transforms.schema.arguments import require_columns, require_time_zone
from trunk_transforms.schema.tables import API_COLUMNS, VARIANT_SUFFIX

Codes = NDArray[np.int64]

_UNREAD = ("nickname", "created_at", "updated_at")
AUDITED = ("account", *(column.name for column in API_COLUMNS if column.name not in _UNREAD))
"""The columns that the rules need. A column `<name>__v_text` with the values of the wrong type is used if it exists."""

_TEXTS = tuple(name for name in AUDITED if name not in ("id", "outbound_proxy"))
_PAST_TEXTS = ("phone_number", "inbound_authorization_type", "allowed_inbound_ips")
_UNREADABLE = tuple(name + VARIANT_SUFFIX for name in AUDITED)

Label = Callable[[pd.DataFrame], pd.Series]


class Verdict(NamedTuple):
    """What is wrong with a trunk.

    `fix` and `severity` are None for the rule's own. Trunks with the same `cause` have one thing to fix in common;
    default: those with the same `seen` and `fix`.
    """

    seen: str
    fix: str | None = None
    severity: str | None = None
    cause: str | None = None


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings of a rule, at most one per trunk.

    `rows` has the row numbers of the trunks, `places` the position in `verdicts` for each of them. `verdicts` has the
    columns of `Verdict`, all text; many trunks share a verdict.
    """

    rows: Codes
    places: Codes
    verdicts: pd.DataFrame

    def __len__(self) -> int:
        """Return the number of findings."""
        return len(self.rows)


NOTHING = Findings(
    np.array([], dtype=np.int64), np.array([], dtype=np.int64), pd.DataFrame(columns=Verdict._fields, dtype="str")
)
"""No findings. Most rules find nothing, and a frame costs a millisecond."""


@dataclass(frozen=True)
class AuditContext:
    """The trunks, one row each (index 0, 1, …), their allowlists and past, the provider catalog and the office hours.

    Text columns have the type `str`, and blank text is null except in `account`; `outbound_proxy` is `boolean`. Each
    column has beside it, as `<name>__v_text`, the values that were sent in the wrong type. Derived columns:
    `number_kind`, `normalized_number`, `calling_code`, `provider`, and

    - `e164`: the number in E.164, as the trunk's country dials it; null if it does not exist, or may be one of two
    - `likely_e164`, `other_e164`: the two that it may be; null if it is clear
    - `inbound_number`: the number as the voice infrastructure compares it
    - `is_provider_known`: the provider is in the catalog
    - `host`: the SIP address in the spelling by which hosts are compared
    - `country`: the ISO code that `country_code` stands for
    - `allowlist`: the position of the trunk's allowlist in `allowlists`
    - `listed_allowlist`: the same, but one position for all plain lists without an address of the provider catalog
    - `is_allowlist_used`: the allowlist decides on inbound calls
    - `is_allowlist_ordinary`: every entry is ordinary
    """

    trunks: pd.DataFrame
    allowlists: Allowlists
    providers: Providers
    as_of: datetime
    past: Past = field(default_factory=no_past)
    office_hours: OfficeHours | None = None
    _encoded: dict[str, tuple[Codes, Sequence[Any]]] = field(default_factory=dict, repr=False)

    def decide(
        self, columns: Sequence[str], decide: Callable[..., Verdict | None], where: Flags | pd.Series | None = None
    ) -> Findings:
        """Return the findings of a function that is called once per distinct combination of values of the columns.

        A missing value is passed as None, an allowlist as its entries, and `provider` as the `Provider`, or None if the
        catalog lacks it. `where` selects the rows to check; default: all.
        """
        rows = np.arange(len(self.trunks)) if where is None else np.flatnonzero(np.asarray(where, dtype=bool))
        encoded = [self._encode(name) for name in columns]
        groups, firsts = number_combinations([codes[rows] for codes, _ in encoded])
        chosen = ([values[code] for code in codes[rows[firsts]].tolist()] for codes, values in encoded)
        verdicts = [decide(*values) for values in zip(*chosen, strict=True)]
        is_hit = np.array([verdict is not None for verdict in verdicts], dtype=bool)
        if not is_hit.any():
            return NOTHING
        is_found = is_hit[groups]
        hits = [verdict for verdict in verdicts if verdict is not None]
        texts = pd.DataFrame(hits, columns=Verdict._fields).astype("str")
        return Findings(rows[is_found], (np.cumsum(is_hit) - 1)[groups[is_found]], texts)

    @cached_property
    def recent_since(self) -> datetime:
        """The moment after which a change is recent."""
        return recent_since(self.as_of)

    @cached_property
    def versions(self) -> pd.DataFrame:
        """The recent versions of the trunks in order, including the present ones, with the `row` of the trunk.

        Times after `as_of` are null, so that a version which ended later is present.
        """
        return self.with_rows(self._versions, "id")

    @cached_property
    def earlier(self) -> pd.DataFrame:
        """The versions of the trunks that ended recently, in order, with the `row` of the trunk."""
        return self.versions.loc[self.versions["valid_to"].notna()]

    @cached_property
    def removed(self) -> pd.DataFrame:
        """The last version of each trunk that was removed recently."""
        last = self._versions.drop_duplicates(["account", "id"], keep="last")
        return last.loc[last["valid_to"].notna()]

    @cached_property
    def changes(self) -> pd.DataFrame:
        """The recent changes of the trunks, with the `row` of the trunk."""
        changes = self.past.changes
        is_recent = (changes["observed_at"] > self.recent_since) & (changes["observed_at"] <= self.as_of)
        return self.with_rows(changes.loc[is_recent], "trunk_id")

    @cached_property
    def _versions(self) -> pd.DataFrame:
        versions = self.past.versions
        ended_at = versions["valid_to"].where(versions["valid_to"] <= self.as_of)
        is_recent = (versions["valid_from"] <= self.as_of) & ~(ended_at <= self.recent_since)
        recent = versions.assign(valid_to=ended_at).loc[is_recent]
        recent = recent.assign(**{name: _text(recent[name]).set_axis(recent.index) for name in _PAST_TEXTS})
        return recent.assign(outbound_proxy=recent["outbound_proxy"].astype("boolean")).sort_values("valid_from")

    @cached_property
    def twins(self) -> pd.Series:
        """A number per trunk, equal for trunks that are equal in the fields that have to be unique together."""
        unique = ("phone_number", "sip_username", "sip_address")
        names = ("account", *unique, *(name + VARIANT_SUFFIX for name in unique))
        return combine(*(self.trunks[name] for name in names))

    def with_rows(self, past: pd.DataFrame, trunk_id: str) -> pd.DataFrame:
        """Return the rows of a frame on the past that are of a trunk, with the `row` of the trunk."""
        if past.empty:
            return past.assign(row=np.array([], dtype=int))
        types = {"account": "str", trunk_id: "Int64"}
        keys = self.trunks.loc[self.trunks["id"].isin(past[trunk_id]), ["account", "id"]].dropna(subset="id")
        keys = keys.rename(columns={"id": trunk_id}).astype(types).assign(row=keys.index)
        return past.astype(types).merge(keys, on=["account", trunk_id])

    def is_unreadable(self, name: str) -> pd.Series:
        """Return a flag per trunk: the column was sent in the wrong type, so its null is not a missing value."""
        return self.trunks[name + VARIANT_SUFFIX].notna()

    def date(self, verdict: Verdict, fact_as_of: date) -> Verdict:
        """Return the verdict, with a remark if it relies on a fact older than 12 months; the cause is without it."""
        if not is_old(fact_as_of, self.as_of):
            return verdict
        remark = f" (by a catalog entry of {fact_as_of}, older than 12 months: check it)"
        cause = verdict.cause or "; ".join(filter(None, (verdict.seen, verdict.fix)))
        return verdict._replace(seen=verdict.seen + remark, cause=cause)

    def with_allowlist(self, is_meant: Flags) -> Flags:
        """Return a flag per trunk from one per allowlist: it is in use."""
        return self.trunks["is_allowlist_used"].to_numpy() & is_meant[self.trunks["allowlist"]]

    def _encode(self, name: str) -> tuple[Codes, Sequence[Any] | Allowlists]:
        """Return a column as positions among its values; the value at -1 is that of nulls."""
        if name in ("allowlist", "listed_allowlist"):
            return self.trunks[name].to_numpy(), self.allowlists
        if name not in self._encoded:
            codes, distinct = pd.factorize(self.trunks[name])
            values: list[Any] = distinct.tolist()
            if name == "provider":
                values = [self.providers.by_name.get(provider) for provider in values]
            self._encoded[name] = codes, [*values, None]
        return self._encoded[name]


def gather_context(
    trunks: pd.DataFrame,
    providers: Providers,
    as_of: datetime,
    past: Past | None = None,
    office_hours: OfficeHours | None = None,
) -> AuditContext:
    """Return the context of an audit. Needs the columns `AUDITED`; derived columns that `trunks` has are kept.

    Raises ValueError if a column is missing or `as_of` has no time zone.
    """
    require_columns(trunks, AUDITED, "trunks")
    require_time_zone(as_of, "as_of")
    trunks = trunks.assign(allowed_inbound_ips=_lists_as_json(trunks["allowed_inbound_ips"]))
    known = trunks.reset_index(drop=True).assign(**{name: _text(trunks[name]) for name in _TEXTS})
    known = known.reindex(columns=list(dict.fromkeys([*known.columns, *_UNREADABLE])))
    known["account"] = known["account"].fillna("")
    known["outbound_proxy"] = known["outbound_proxy"].astype("boolean")
    if not {"number_kind", "normalized_number", "calling_code"} <= set(known.columns):
        known = derive_numbers(known)
    if "provider" not in known.columns:
        known = derive_provider(known, providers)
    known["is_provider_known"] = known["provider"].isin(providers.by_name)
    known["inbound_number"] = as_compared_inbound(known["phone_number"])
    known["host"] = map_distinct(known["sip_address"], normalize_host)
    known["country"] = map_distinct(known["country_code"], canonical_country)
    readings = list_readings(*(as_text(known[name]) for name in ("phone_number", "normalized_number", "country")))
    first, second = (pd.Series(reading, dtype="str") for reading in readings)
    known["e164"], known["likely_e164"] = first.where(second.isna()), first.where(second.notna())
    known["other_e164"] = second
    known["allowlist"], lists = pd.factorize(known["allowed_inbound_ips"])
    allowlists = read_allowlists(pd.Series(lists, dtype="str"))
    is_listed = allowlists.may_overlap(providers.known_addresses)
    known["listed_allowlist"] = known["allowlist"].where(is_listed[known["allowlist"]], is_listed.argmin())
    known["is_allowlist_ordinary"] = allowlists.is_ordinary[known["allowlist"]]
    known["is_allowlist_used"] = known["inbound_authorization_type"] != "auth"
    return AuditContext(known, allowlists, providers, as_of, past or no_past(), office_hours)


def as_findings(
    seen: pd.Series,
    fix: pd.Series | None = None,
    cause: pd.Series | None = None,
    severity: NDArray[np.str_] | None = None,
) -> Findings:
    """Return one finding per row of a column of texts.

    `fix`, `cause` and `severity` are texts for the same rows, `severity` in their order; default: the rule's own.
    """
    if seen.empty:
        return NOTHING
    columns = {"seen": seen, "fix": fix, "severity": severity, "cause": cause}
    verdicts = pd.DataFrame(columns, index=seen.index, dtype="str")
    return Findings(seen.index.to_numpy(), np.arange(len(seen)), verdicts)


def ids(trunks: pd.DataFrame) -> pd.Series:
    """Return the ids of the trunks as text."""
    return trunks["id"].astype("Int64").astype("str").fillna("?")


def ordinary_networks(entries: Entries) -> list[Network]:
    """Return the networks of the ordinary entries, each once."""
    return list(dict.fromkeys(entry.network for entry in entries if entry.is_ordinary and entry.network))


def allowed_networks(entries: Entries) -> set[Network]:
    """Return the networks of all entries; for an invalid entry, those that it probably means."""
    return {network for entry in entries for network in entry.networks}


def find_missing(group: AddressGroup, allowed: set[Network]) -> list[Network]:
    """Return the required addresses of the group that no allowed network contains."""
    if allowed.issuperset(group.required):
        return []
    wide = [network for network in allowed if network.prefixlen < network.max_prefixlen]
    return [network for network in group.required if network not in allowed and not covers(wide, network)]


def find_closest(groups: Sequence[AddressGroup], allowed: set[Network]) -> tuple[AddressGroup | None, list[Network]]:
    """Return the group of which the most addresses are allowed, and those that are missing; none if one is complete."""
    pairs = [(group, find_missing(group, allowed)) for group in groups]
    return min(pairs, key=lambda pair: (bool(pair[1]), len(pair[1]) - len(pair[0].required)), default=(None, []))


def name_others(
    trunks: pd.DataFrame, groups: pd.Series, parts: pd.Series, label: Label = ids, most: int = 3
) -> pd.Series:
    """Return for each trunk the others in its group: up to three labels of other parts, and the number of the rest.

    Grain: one row per trunk of a group with several parts, with that row's index. Trunks with a null group are left
    out. `label` returns the labels of some trunks; default: their ids.
    """
    rows = pd.DataFrame({"group": groups, "part": parts}).loc[groups.duplicated(keep=False) & groups.notna()]
    pairs = rows.drop_duplicates()
    shared = rows.loc[rows["group"].isin(pairs.loc[pairs["group"].duplicated(), "group"])]
    if shared.empty:
        return pd.Series(dtype="str")
    members: dict[Any, list[tuple[int, Any, str]]] = defaultdict(list)
    for row, group, part, text in shared.assign(label=label(trunks.loc[shared.index])).itertuples(name=None):
        members[group].append((row, part, text))
    named: dict[int, str] = {}
    for group in members.values():
        sizes = Counter(part for _, part, _ in group)
        texts = {
            part: enumerate_first((text for _, other, text in group if other != part), len(group) - size, most)
            for part, size in sizes.items()
        }
        named |= {row: texts[part] for row, part, _ in group}
    return pd.Series(named, dtype="str")


def combine(*columns: pd.Series) -> pd.Series:
    """Return a number for each combination of values; a missing value is a value of its own."""
    groups, _ = number_combinations([pd.factorize(column)[0] for column in columns])
    return pd.Series(groups, index=columns[0].index)


def number_combinations(columns: Sequence[Codes]) -> tuple[Codes, Codes]:
    """Return a number, from 0, for each combination of codes (-1 and up), and the first position of each number."""
    groups = columns[0].astype(np.int64)
    for codes in columns[1:]:
        groups = pd.factorize(groups)[0].astype(np.int64)
        groups = groups * (codes.max(initial=-1) + 2) + codes + 1
    groups = pd.factorize(groups)[0]
    return groups, np.flatnonzero(~pd.Series(groups).duplicated())


def _lists_as_json(lists: pd.Series) -> pd.Series:
    """Return allowlists as JSON texts, which they are in stored tables; in a view, they are lists."""
    if isinstance(lists.dtype, pd.StringDtype):
        return lists
    is_list = lists.map(pd.api.types.is_list_like)
    return lists.astype(object).mask(is_list, lists[is_list].map(lambda entries: json.dumps(list(entries))))


def _text(values: pd.Series) -> pd.Series:
    text = values.reset_index(drop=True).astype("str")
    return text.where(text.str.strip() != "")


def as_compared_inbound(numbers: pd.Series) -> pd.Series:
    """Return the numbers without spaces, dashes and brackets, with a +."""
    compact = pc.replace_substring_regex(as_text(numbers), "[ ()-]", "")
    plus = pc.replace_substring_regex(compact, r"^\+?", "+", max_replacements=1)
    return pd.Series(plus, index=numbers.index, dtype="str")


def map_distinct(values: pd.Series, function: Callable[[str], str | None]) -> pd.Series:
    """Return the results of a function that is called once per distinct value; null for null."""
    return values.map({value: function(value) for value in values.dropna().unique()}).astype("str")
