"""The facts on SIP providers (ITSPs), and which of them is behind a host."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from trunk_transforms.enrich.addresses import HOST, Network, NetworkSet, classify_entry, normalize_host
from trunk_transforms.schema.tables import CALLING_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

UNKNOWN_PROVIDER = "unknown"
"""The provider of a host that no fact is about."""

PASSWORD_SEVERITIES = ("low", "medium", "high")


@dataclass(frozen=True)
class AddressGroup:
    """Addresses of a provider that send inbound calls: an allowlist has to have all of at least one group."""

    name: str
    addresses: tuple[Network, ...]
    optional: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[Network, ...]:
        """All of them, also those that an allowlist may lack."""
        return (*self.addresses, *self.optional)

    @cached_property
    def required(self) -> frozenset[Network]:
        """Those that an allowlist must have."""
        return frozenset(self.addresses)

    def is_for(self, host: str) -> bool:
        """Whether calls of a trunk at this host come from here."""
        return not self.hosts or re.search(host_pattern(self.hosts), host) is not None


@dataclass(frozen=True)
class Provider:
    """What is known about a provider, as of a day. `None` and empty: nothing. See providers.toml."""

    name: str
    as_of: date
    hosts: tuple[str, ...]
    exact_host: str | None = None
    exact_host_reason: str | None = None
    calling_format: str | None = None
    needs_outbound_proxy: bool = False
    is_supported: bool = True
    password_severity: str | None = None
    regions_complete: bool = True
    groups: tuple[AddressGroup, ...] = ()

    def groups_for(self, host: str) -> list[AddressGroup]:
        """Return the groups that send the calls of a trunk at this host."""
        return [group for group in self.groups if group.is_for(host)]

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every address of the provider that is known."""
        return NetworkSet(network for group in self.groups for network in group.known)


@dataclass(frozen=True)
class Providers:
    """The facts on all providers, and the hosts of the platform itself."""

    providers: tuple[Provider, ...]
    platform_hosts: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return {provider.name: provider for provider in self.providers}

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every address of any provider that is known."""
        return NetworkSet(n for provider in self.providers for group in provider.groups for n in group.known)

    def is_platform(self, host: str) -> bool:
        """Whether a host is the platform's own."""
        return bool(self.platform_hosts) and re.search(host_pattern(self.platform_hosts), host) is not None


def derive_provider(trunks: pd.DataFrame, providers: Providers) -> pd.DataFrame:
    """Return the trunks with the provider that is behind their host.

    Needs `sip_address`. Adds, or replaces, `provider`: its name, `unknown` for a host that no fact is about and for
    what is no host, null where there is none.
    """
    import numpy as np
    import pandas as pd
    import pyarrow.compute as pc

    from trunk_transforms.enrich.numbers import as_flags, as_text

    addresses = trunks["sip_address"].astype("str")
    distinct = pd.Series(addresses.dropna().unique(), dtype="str")
    hosts = as_text(distinct.map(normalize_host).astype("str"))
    names = np.full(len(distinct), UNKNOWN_PROVIDER, dtype=object)
    names[as_flags(pc.equal(hosts, ""))] = None
    is_open = as_flags(pc.match_substring_regex(hosts, f"^{HOST}$"))
    for provider in providers.providers:
        if provider.hosts:
            is_of = is_open & as_flags(pc.match_substring_regex(hosts, host_pattern(provider.hosts)))
            names[is_of] = provider.name
            is_open &= ~is_of
    return trunks.assign(provider=addresses.map(dict(zip(distinct, names, strict=True))).astype("str"))


def host_pattern(hosts: Iterable[str]) -> str:
    """Return what matches the end of a host on a label boundary, for Python, Arrow and DuckDB alike."""
    patterns = (re.escape(host.lower()).replace(r"\*", "[^.]+") for host in hosts)
    return rf"(?:^|\.)(?:{'|'.join(patterns)})$"


@cache
def default_providers() -> Providers:
    """Return the facts that come with the product."""
    return read_providers(resources.files("trunk_transforms.enrich").joinpath("providers.toml").read_text("utf-8"))


def read_providers(text: str) -> Providers:
    """Return the facts of a file such as providers.toml. Raises ValueError with one line that says what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no valid TOML: {error}") from None
    fields = _Fields("the file", document)
    platform_hosts = fields.texts("platform_hosts")
    providers = tuple(_read_provider(fields) for fields in fields.tables("provider"))
    fields.refuse_others()
    names = [provider.name for provider in providers]
    if UNKNOWN_PROVIDER in names:
        raise ValueError(f"no provider can be called {UNKNOWN_PROVIDER!r}: that is what hosts without a fact get")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"provider {twice[0]!r} is there twice")
    return Providers(providers, platform_hosts)


def _read_provider(fields: _Fields) -> Provider:
    name = fields.text("name")
    if name is None:
        raise ValueError(f"{fields.where} has no name")
    fields = _Fields(f"provider {name!r}", fields.values)
    fields.text("name")
    provider = Provider(
        name=name,
        as_of=fields.day("as_of"),
        hosts=fields.texts("hosts", is_required=True),
        exact_host=fields.text("exact_host"),
        exact_host_reason=fields.text("exact_host_reason"),
        calling_format=fields.text("calling_format", CALLING_FORMATS),
        needs_outbound_proxy=fields.flag("needs_outbound_proxy", default=False),
        is_supported=fields.flag("is_supported", default=True),
        password_severity=fields.text("password_severity", PASSWORD_SEVERITIES),
        regions_complete=fields.flag("regions_complete", default=True),
        groups=tuple(_read_group(group, name) for group in fields.tables("group")),
    )
    fields.refuse_others()
    return provider


def _read_group(fields: _Fields, provider: str) -> AddressGroup:
    name = fields.text("name")
    if name is None:
        raise ValueError(f"{fields.where} of provider {provider!r} has no name")
    fields = _Fields(f"group {name!r} of provider {provider!r}", fields.values)
    fields.text("name")
    group = AddressGroup(
        name=name,
        addresses=fields.networks("addresses", is_required=True),
        optional=fields.networks("optional"),
        hosts=fields.texts("hosts"),
    )
    fields.refuse_others()
    return group


class _Fields:
    """One table of the file, read field by field; what nobody asked for is a mistake of whoever wrote it."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self.values = values
        self.asked: list[str] = []

    def _get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return self.values.get(name, default)

    def _refuse(self, name: str, expected: str) -> ValueError:
        problem = f"is no {expected}" if name in self.values else "is missing"
        return ValueError(f"{self.where}: {name} {problem}")

    def text(self, name: str, allowed: tuple[str, ...] = ()) -> str | None:
        value = self._get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self._refuse(name, "text")
        if value is not None and allowed and value not in allowed:
            raise ValueError(f"{self.where}: {name} is {value!r}, not one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._refuse(name, "true or false")
        return value

    def day(self, name: str) -> date:
        value = self._get(name)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self._refuse(name, "day such as 2026-06-01")
        return value

    def texts(self, name: str, *, is_required: bool = False) -> tuple[str, ...]:
        values = self._get(name, None if is_required else [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise self._refuse(name, "list of texts")
        return tuple(values)

    def networks(self, name: str, *, is_required: bool = False) -> tuple[Network, ...]:
        entries = [classify_entry(text) for text in self.texts(name, is_required=is_required)]
        for entry in entries:
            if entry.fault:
                raise ValueError(f"{self.where}: {name} has {entry.text!r}, which {entry.fault}")
        if is_required and not entries:
            raise ValueError(f"{self.where}: {name} is empty")
        return tuple(entry.network for entry in entries if entry.network is not None)

    def tables(self, name: str) -> list[_Fields]:
        tables = self._get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._refuse(name, f"list of tables: write each as [[{name}]]")
        return [_Fields(f"{name} {number}", table) for number, table in enumerate(tables, 1)]

    def refuse_others(self) -> None:
        others = sorted(set(self.values) - set(self.asked))
        if others:
            raise ValueError(f"{self.where}: nothing is called {others[0]!r}; there are {', '.join(self.asked)}")
