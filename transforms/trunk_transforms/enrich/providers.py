"""The provider catalog: dated information on SIP providers (ITSPs), and the provider of a host."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import date
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from trunk_transforms.enrich.addresses import HOST, Network, NetworkSet, classify_entry, normalize_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

UNKNOWN_PROVIDER = "unknown"
"""The provider of a host that the catalog does not list."""

_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_CallingFormat = Annotated[str, msgspec.Meta(pattern=r"^(\+e164|e164|national)$")]
_PasswordSeverity = Annotated[str, msgspec.Meta(pattern="^(low|medium|high)$")]


class Networks(tuple[Network, ...]):
    """IP addresses and networks; in the catalog, a list of texts."""

    __slots__ = ()


class AddressGroup(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """Addresses from which a provider sends inbound calls. An allowlist needs all addresses of at least one group."""

    name: _Text
    addresses: Networks
    optional: Networks = Networks()
    hosts: tuple[_Text, ...] = ()

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ValueError("addresses is empty")

    @property
    def known(self) -> tuple[Network, ...]:
        """All addresses, including the optional ones."""
        return (*self.addresses, *self.optional)

    @cached_property
    def required(self) -> frozenset[Network]:
        """The addresses that an allowlist must contain."""
        return frozenset(self.addresses)


class Provider(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True, rename={"groups": "group"}):
    """One provider in the catalog, as of a day. `None` or empty means unknown. providers.toml explains the fields."""

    name: _Text
    as_of: date
    hosts: tuple[_Text, ...]
    exact_host: _Text | None = None
    exact_host_reason: _Text | None = None
    calling_format: _CallingFormat | None = None
    needs_outbound_proxy: bool = False
    is_supported: bool = True
    password_severity: _PasswordSeverity | None = None
    regions_complete: bool = True
    groups: tuple[AddressGroup, ...] = ()

    def groups_for(self, host: str) -> list[AddressGroup]:
        """Return the groups that send the calls of a trunk at this host."""
        return [group for group in self.groups if not group.hosts or re.search(host_pattern(group.hosts), host)]

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every known address of the provider."""
        return NetworkSet(network for group in self.groups for network in group.known)


class Providers(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True, rename={"providers": "provider"}):
    """The provider catalog: all providers, and the hosts of the platform itself."""

    providers: tuple[Provider, ...] = ()
    platform_hosts: tuple[_Text, ...] = ()

    def __post_init__(self) -> None:
        if UNKNOWN_PROVIDER in self.by_name:
            raise ValueError(f"{UNKNOWN_PROVIDER!r} is reserved for hosts that the catalog does not list")
        for name, count in Counter(provider.name for provider in self.providers).items():
            if count > 1:
                raise ValueError(f"{count} providers are named {name!r}")

    @cached_property
    def by_name(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return {provider.name: provider for provider in self.providers}

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every known address of any provider."""
        return NetworkSet(n for provider in self.providers for group in provider.groups for n in group.known)

    def is_platform(self, host: str) -> bool:
        """Return whether a host belongs to the platform itself."""
        return bool(self.platform_hosts) and re.search(host_pattern(self.platform_hosts), host) is not None


def derive_provider(trunks: pd.DataFrame, providers: Providers) -> pd.DataFrame:
    """Return the trunks with the provider that operates their host.

    Needs `sip_address`. Adds or replaces `provider`: the name in the catalog, `unknown` if the catalog does not list
    the host or the value is not a host, null if `sip_address` is missing or blank.
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
    """Return a pattern that matches the end of a host on a label boundary, in Python, Arrow and DuckDB."""
    patterns = (re.escape(host.lower()).replace(r"\*", "[^.]+") for host in hosts)
    return rf"(?:^|\.)(?:{'|'.join(patterns)})$"


@cache
def default_providers() -> Providers:
    """Return the built-in provider catalog."""
    return read_providers(resources.files("trunk_transforms.enrich").joinpath("providers.toml").read_text("utf-8"))


def read_providers(text: str) -> Providers:
    """Return the provider catalog from the text of a file like providers.toml.

    Raises ValueError, with a message of one line, if the text is not valid TOML or not a valid provider catalog.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from None
    try:
        return msgspec.convert(document, Providers, dec_hook=_read_networks)
    except msgspec.ValidationError as error:
        raise ValueError(_locate(error, document)) from None


def _read_networks(_: type, texts: Any) -> Networks:
    if not isinstance(texts, list):
        raise ValueError("Expected `array`")  # noqa: TRY004 - msgspec adds the path to a ValueError
    entries = [classify_entry(str(text)) for text in texts]
    for entry in entries:
        if entry.fault:
            raise ValueError(f"{entry.text!r} {entry.fault}")
    return Networks(entry.network for entry in entries if entry.network is not None)


def _locate(error: msgspec.ValidationError, document: dict[str, Any]) -> str:
    """Return the message with the names of the provider and the group in place of their positions."""
    message = str(error).removeprefix("Object ").replace("`str` matching regex", "text matching")
    problem, _, path = message.partition(" - at `$")
    values: Any = document
    names = []
    for kind, index in re.findall(r"\.(provider|group)\[(\d+)\]", path):
        values = values[kind][int(index)]
        name = values.get("name") if isinstance(values, dict) else None
        names.append(f"{kind} {name!r}" if name else f"{kind} {int(index) + 1}")
    field = re.sub(r"^(\.(provider|group)\[\d+\])*\.?|`$", "", path)
    return ": ".join(filter(None, (", ".join(names) or "the file", field, problem)))
