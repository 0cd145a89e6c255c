"""Rules on recent changes: the present state of a trunk, compared with its earlier versions.

A value of the wrong type is unknown, so a change from it or to it is none. Moments are those of the snapshot that
showed the change, unless the API's clock is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import collapse_addresses

import numpy as np
import pandas as pd

from trunk_transforms.audit.past import CREDENTIAL_AGE, RECENT
from trunk_transforms.audit.rules.context import (
    NOTHING,
    AuditContext,
    Findings,
    as_compared_inbound,
    as_findings,
    ids,
)
from trunk_transforms.audit.rules.duplicate import name_number
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, LIVEKIT, PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import enumerate_networks, enumerate_some
from trunk_transforms.enrich.addresses import Network, NetworkSet, measure_share
from trunk_transforms.enrich.allowlists import Entries, read_allowlist
from trunk_transforms.schema.tables import API_COLUMNS

_HISTORY = f"the history of the last {RECENT.days} days"
_LARGEST_SHARE = 0.5
_MOMENT = "%Y-%m-%d %H:%M UTC"
_MANY = 3
_DAY = pd.Timedelta(hours=24)
_INVISIBLE = ("private", "loopback", "link-local", "CGNAT")
Lists = tuple[Entries, ...]

_SETTINGS = [column.name for column in API_COLUMNS if column.legs and column.name != "nickname"]


@rule(
    "allowlist-replaced",
    severity="critical",
    question=f"Which allowlists were replaced completely in the last {RECENT.days} days?",
    why="An attacker who takes over an account sends calls from other addresses. A list that keeps none of its earlier "
    "networks, and has none of the provider's, may be the result.",
    fix="ask who replaced the addresses; if nobody did, restore the list, and change the API token and the passwords",
    source=f"{_HISTORY}; {PROVIDER_CATALOG}",
    needs_past=True,
)
def check_replaced(context: AuditContext) -> Findings:
    """Find lists in use that have nothing in common with an earlier list in use, and nothing of the provider."""
    is_platform = context.providers.platform_addresses.contains

    @cache
    def decide(name: str, present: Entries, earlier: Lists) -> tuple[str, str] | None:
        provider = context.providers.by_name.get(name)
        lists = [networks for entries in earlier if (networks := _list_visible(entries))]
        new = [network for network in _list_visible(present) if not is_platform(network)]
        known = [NetworkSet(network for networks in lists for network in networks)]
        known += [provider.known_addresses] if provider else []
        if not lists or not new or any(networks.overlaps(network) for networks in known for network in new):
            return None
        return enumerate_networks(lists[-1]), enumerate_networks(new)

    return _as_findings(
        (row, f"{networks[1]} instead of {networks[0]}, listed until {until}", f"the new allowlist {networks[1]}")
        for row, provider, present, earlier, until in _list_changed(context)
        if (networks := decide(provider, present, earlier))
    )


@rule(
    "protection-weakened",
    severity="high",
    question=f"Which trunks lost protection in the last {RECENT.days} days?",
    why="More callers can place calls at the customer's expense, or the provider no longer recognizes the platform.",
    fix="ask who changed it and why; if nobody knows, restore the earlier setting",
    source=f"{_HISTORY}; {PROVIDER_CATALOG}",
    needs_past=True,
)
def check_weakened(context: AuditContext) -> Findings:
    """Find passwords in place of allowlists, allowlists with more addresses, and required proxies that are off.

    Addresses of the provider are expected. `allowlist-replaced` and `allowlist-open` report what is worse.
    """
    trunks, earlier = context.trunks, context.earlier
    if earlier.empty:
        return NOTHING
    is_password = trunks["inbound_authorization_type"].eq("auth").fillna(value=False)
    lists = earlier["allowed_inbound_ips"]
    closed = [text for text in lists.dropna().unique() if _is_closed(read_allowlist(text))]
    was_closed = (earlier["inbound_authorization_type"] == "ip") & lists.isin(closed)
    text = "authorized by password"
    remarks = [
        (row, f"{text} (by allowlist until {until})", text)
        for row, until in _list_last(earlier, was_closed, is_password)
    ]
    replaced = set(check_replaced.check(context).rows.tolist())
    list_new = cache(lambda *values: _list_new(context, *values))
    for row, provider, present, before, until in _list_changed(context):
        if row not in replaced and (new := list_new(provider, present, before)):
            text = f"the allowlist has {new}"
            remarks.append((row, f"{text} (not until {until})", text))
    needing = [provider.name for provider in context.providers.providers if provider.needs_outbound_proxy]
    is_off = trunks["outbound_proxy"].eq(other=False).fillna(value=False) & trunks["provider"].isin(needing)
    for row, until in _list_last(earlier, earlier["outbound_proxy"].fillna(value=False), is_off):
        text = f"outbound_proxy is off, but {trunks['provider'].loc[row]} needs it"
        remarks.append((row, f"{text} (on until {until})", text))
    return _as_findings(remarks)


@rule(
    "number-replaced",
    severity="medium",
    question=f"Which numbers returned under another id in the last {RECENT.days} days, after their trunk was removed?",
    why="Removing a trunk detaches it from its assistants and campaigns. The new trunk has the number, but no "
    "assistant answers it and no campaign uses it until it is assigned again.",
    fix="assign the trunk to the assistants and campaigns of the removed one",
    source=f"{_HISTORY}; {API_DOCUMENTATION}; {LIVEKIT}",
    needs_past=True,
)
def check_number_replaced(context: AuditContext) -> Findings:
    """Find trunks that have, since a recent change, the number of a trunk of the account that was removed since."""
    trunks, changes = context.trunks, context.changes
    if context.removed.empty:
        return NOTHING
    renumbered = changes.loc[changes["field"] == "phone_number"]
    is_new = as_compared_inbound(renumbered["old"]) != trunks["inbound_number"].reindex(renumbered["row"]).to_numpy()
    rows = np.union1d(changes.loc[changes["change"] == "added", "row"], renumbered.loc[is_new.to_numpy(), "row"])
    gained = trunks.loc[rows, ["account", "inbound_number"]].dropna().rename_axis("row").reset_index()
    removed = context.removed.assign(inbound_number=as_compared_inbound(context.removed["phone_number"]))
    pairs = gained.merge(removed.dropna(subset="inbound_number"), on=["account", "inbound_number"])
    last = pairs.sort_values("valid_to").drop_duplicates("row", keep="last").set_index("row")
    seen = "same number as trunk " + ids(last) + ", which was removed at " + _show(last["valid_to"])
    if "has_inbound_assistant" in trunks:
        is_assigned = trunks["has_inbound_assistant"].reindex(last.index)
        answers = {True: "; an inbound assistant has the new one", False: "; no inbound assistant has the new one"}
        seen += is_assigned.map(answers).fillna("")
    return as_findings(seen, cause=name_number(trunks.loc[last.index]))


@rule(
    "flapping",
    severity="medium",
    question=f"Which trunks were re-created {_MANY} times in {_DAY // pd.Timedelta(hours=1)} hours, or changed back, "
    f"in the last {RECENT.days} days?",
    why="Two people or programs may be undoing each other's changes. Each change re-creates a leg, which interrupts "
    "calls.",
    fix="find out who makes the changes, and let one person or program make them",
    source=f"{_HISTORY}; {API_DOCUMENTATION}",
    needs_past=True,
)
def check_flapping(context: AuditContext) -> Findings:
    """Find three snapshots within 24 hours with a re-created leg, and settings that changed from A to B to A.

    A possible credential change re-creates both legs.
    """
    if context.changes.empty:
        return NOTHING
    changes = context.changes.sort_values(["row", "observed_at"])
    is_update = changes["legs"].isin(["inbound", "outbound", "both"]) | changes["note"].notna()
    updates = changes.loc[is_update, ["row", "observed_at"]].drop_duplicates()
    first_at = updates.groupby("row")["observed_at"].shift(_MANY - 1)
    many = updates.loc[updates["observed_at"] - first_at <= _DAY].drop_duplicates("row", keep="last").set_index("row")
    settings = changes.loc[changes["field"].isin(_SETTINGS)].sort_values(["row", "field", "observed_at"], kind="stable")
    old, new = settings["old"].fillna(""), settings["new"].fillna("")
    by_setting = [settings["row"], settings["field"]]
    is_back = new.eq(old.groupby(by_setting).shift(1))
    back = settings.loc[is_back].drop_duplicates(["row", "field"], keep="last")
    text = f"re-created {_MANY} times"
    remarks = [
        (row, f"{text} within 24 hours until {at}", f"{text} in a day")
        for row, at in zip(many.index, _show(many["observed_at"]), strict=True)
    ]
    for row, field, at in zip(back["row"], back["field"], _show(back["observed_at"]), strict=True):
        remarks.append((row, f"{field} changed and changed back, the last time at {at}", f"{field} changed back"))
    return _as_findings(remarks)


@rule(
    "changed-out-of-hours",
    severity="medium",
    question=f"Which trunks were changed outside the office hours in the last {RECENT.days} days?",
    why="Nobody is at work to notice. Attackers who take over an account prefer such hours.",
    fix="ask who made the change; if nobody did, revert it, and change the API token and the passwords",
    source="updated_at, by the API's clock; the setting sip_trunks.office_hours, without which the rule is off",
    needs_past=True,
)
def check_out_of_hours(context: AuditContext) -> Findings:
    """Find additions and changes whose `updated_at` is outside the office hours, the last one of each trunk."""
    hours, versions = context.office_hours, context.versions
    if hours is None or versions.empty:
        return NOTHING
    updated_at = versions["updated_at"]
    is_moved = updated_at.notna() & (updated_at != updated_at.groupby(versions["row"]).shift(1))
    is_recent = (updated_at > context.recent_since) & (updated_at <= versions["valid_from"])
    moved = versions.loc[is_moved & is_recent, ["row", "updated_at", "valid_from"]]
    moved = moved.loc[~hours.include(moved["updated_at"])]
    changes = context.changes.assign(what=lambda rows: rows["field"].fillna(rows["change"]))
    named = moved.merge(changes, left_on=["row", "valid_from"], right_on=["row", "observed_at"])
    what = named.groupby(["row", "updated_at"])["what"].agg(lambda names: enumerate_some(list(names), 4))
    last = what.reset_index().drop_duplicates("row", keep="last").set_index("row")
    local = last["updated_at"].dt.tz_convert(hours.time_zone).dt.strftime("%a %Y-%m-%d %H:%M")
    seen = last["what"] + " at " + local + f" {hours.time_zone}, the office hours are {hours.text}"
    return as_findings(seen, cause=pd.Series(f"outside {hours.text}", index=last.index))


@rule(
    "credential-age",
    severity="low",
    question=f"Which trunks had no sign of a new credential for {CREDENTIAL_AGE.days} days?",
    why="Passwords leak over time: in backups, exports, and the notes of people who have left.",
    fix="set a new password, where the provider allows it (this re-creates both legs: a short outage)",
    source=f"the history of the last {CREDENTIAL_AGE.days} days; inferred: a new password moves only updated_at",
    needs_past=True,
)
def check_credential_age(context: AuditContext) -> Findings:
    """Find trunks with a username that was not changed, and whose `updated_at` did not move alone, for a year."""
    credentials = context.past.credentials
    old = context.with_rows(credentials.loc[credentials["changed_at"].isna()], "trunk_id")["row"]
    is_old = np.zeros(len(context.trunks), dtype=bool)
    is_old[old] = True
    rows = np.flatnonzero(is_old & context.trunks["sip_username"].notna())
    return as_findings(pd.Series(f"no sign of a new credential in the last {CREDENTIAL_AGE.days} days", index=rows))


def _list_changed(context: AuditContext) -> Iterator[tuple[int, str, Entries, Lists, str]]:
    """Yield the trunks whose allowlist in use changed: row, provider, present entries, earlier lists, and their end.

    The earlier lists are those in use before the last change, in order; a list that was not in use is skipped.
    """
    trunks, earlier = context.trunks, context.earlier
    if earlier.empty:
        return
    is_by_ip = (trunks["inbound_authorization_type"] == "ip") & (trunks["allowlist"] >= 0)
    was_by_ip = (earlier["inbound_authorization_type"] == "ip") & earlier["allowed_inbound_ips"].notna()
    used = earlier.loc[was_by_ip & earlier["row"].isin(trunks.index[is_by_ip])]
    texts = trunks["allowed_inbound_ips"].reindex(used["row"]).to_numpy()
    changed = used.loc[used["row"].isin(used.loc[used["allowed_inbound_ips"] != texts, "row"])]
    read, members = cache(read_allowlist), defaultdict(list)
    for row, text, valid_to in changed[["row", "allowed_inbound_ips", "valid_to"]].itertuples(index=False):
        members[row].append((read(text), valid_to))
    present = trunks.loc[list(members), ["provider", "allowlist"]].itertuples(index=False)
    for (row, versions), (provider, position) in zip(members.items(), present, strict=True):
        entries = context.allowlists[position]
        while versions and set(versions[-1][0]) == set(entries):
            versions.pop()
        if versions:
            earlier_lists = tuple(listed for listed, _ in versions)
            until = versions[-1][1].strftime(_MOMENT)
            yield row, provider, entries, earlier_lists, until


def _list_new(context: AuditContext, name: str, present: Entries, earlier: Lists) -> str | None:
    """Return the networks that a list has and no earlier one had, if it has more addresses than the last of them.

    Addresses of the provider and of the platform do not count.
    """
    provider = context.providers.by_name.get(name)
    known = [context.providers.platform_addresses, *([provider.known_addresses] if provider else [])]
    now, before = (
        [n for n in _list_visible(entries) if not any(networks.contains(n) for networks in known)]
        for entries in (present, earlier[-1])
    )
    seen = NetworkSet(network for entries in earlier for network in _list_visible(entries))
    new = [network for network in now if not seen.contains(network)]
    is_more = any(_count(now, version) > _count(before, version) for version in (4, 6))
    if not new or not is_more or not _list_visible(earlier[-1]) or not all(map(_is_closed, (present, earlier[-1]))):
        return None
    return enumerate_networks(new)


def _list_visible(entries: Entries) -> list[Network]:
    """Return the networks, each once, of the valid entries that can be the source of a call on the internet."""
    visible = (entry for entry in entries if not entry.fault and entry.kind not in _INVISIBLE)
    return list(dict.fromkeys(network for entry in visible for network in entry.networks))


def _is_closed(entries: Entries) -> bool:
    """Return whether a list in use keeps out most of the internet."""
    networks = [network for entry in entries if not entry.fault for network in entry.networks]
    return not all(entry.is_ignored for entry in entries) and measure_share(networks) <= _LARGEST_SHARE


def _count(networks: Iterable[Network], version: int) -> int:
    merged = collapse_addresses(n for n in networks if n.version == version)  # type: ignore[type-var]
    return sum(network.num_addresses for network in merged)


def _list_last(earlier: pd.DataFrame, was: pd.Series, is_now: pd.Series) -> Iterator[tuple[int, str]]:
    """Yield the rows of trunks that are in a state now and have a version in an earlier one, with the end of it."""
    ended = earlier.loc[was & earlier["row"].isin(is_now.index[is_now])].groupby("row")["valid_to"].max()
    yield from zip(ended.index, _show(ended), strict=True)


def _as_findings(remarks: Iterable[tuple[int, str, str]]) -> Findings:
    """Return one finding per row from remarks: the row, what was seen, and the cause."""
    found: dict[int, tuple[str, ...]] = {}
    for row, *remark in remarks:
        found[row] = tuple(map("{}; {}".format, found[row], remark)) if row in found else tuple(remark)
    texts = pd.DataFrame(found.values(), index=list(found), columns=["seen", "cause"], dtype="str")
    return as_findings(texts["seen"], cause=texts["cause"])


def _show(moments: pd.Series) -> pd.Series:
    return pd.Series(moments.dt.strftime(_MOMENT), dtype="str")
