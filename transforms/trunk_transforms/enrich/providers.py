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
from trunk_transforms.schema.arguments import require_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

UNKNOWN_PROVIDER = "unknown"
"""The provider of a host that the catalog does not list."""

_KEYS = {f"{table}s": table for table in ("provider", "group", "host_group", "platform_group")}
_TABLES = "|".join(_KEYS.values())
_WEB_LABELS = ("api", "app", "console", "dashboard", "developers", "docs", "my", "portal", "status", "support", "www")
_MOST_LISTED = 16
_OLD_MONTHS = 12

_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_CallingFormat = Annotated[str, msgspec.Meta(pattern=r"^(\+e164|e164|national)$")]
_PasswordSeverity = Annotated[str, msgspec.Meta(pattern="^(low|medium|high)$")]


class Networks(tuple[Network, ...]):
    """IP addresses and networks; in the catalog, a list of texts."""

    __slots__ = ()


class _Facts(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True, rename=_KEYS):
    """A table of the catalog."""


class AddressGroup(_Facts, frozen=True):
    """Addresses that send inbound calls. An allowlist needs all `addresses` of at least one group that has any."""

    name: _Text
    addresses: Networks
    optional: Networks = Networks()
    hosts: tuple[_Text, ...] = ()
    as_of: date | None = None
    source: _Text | None = None

    def __post_init__(self) -> None:
        if not self.known:
            raise ValueError("addresses is empty")

    @property
    def known(self) -> tuple[Network, ...]:
        """All addresses, including the optional ones."""
        return (*self.addresses, *self.optional)

    @cached_property
    def required(self) -> tuple[Network, ...]:
        """The addresses that an allowlist must contain; a small network as its addresses."""
        return tuple(address for network in self.addresses for address in _split(network))


class HostGroup(_Facts, frozen=True):
    """More hosts of a provider, which have a date of their own. `exact_host` is not for them."""

    hosts: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]
    as_of: date
    source: _Text | None = None
    calling_formats: tuple[_CallingFormat, ...] = ()
    requires_registration: bool = False


class Provider(_Facts, frozen=True):
    """One provider in the catalog, as of a day. `None` or empty means unknown. providers.toml explains the fields."""

    name: _Text
    as_of: date
    hosts: tuple[_Text, ...]
    source: _Text | None = None
    exact_host: _Text | None = None
    exact_host_reason: _Text | None = None
    calling_format: _CallingFormat | None = None
    needs_outbound_proxy: bool | None = None
    is_supported: bool = True
    requires_registration: bool = False
    assigns_username: bool = False
    supports_inbound_auth: bool = True
    password_severity: _PasswordSeverity | None = None
    regions_complete: bool = True
    widest_network: Annotated[int, msgspec.Meta(ge=8, le=32)] = 32
    groups: tuple[AddressGroup, ...] = ()
    host_groups: tuple[HostGroup, ...] = ()

    @property
    def every_host(self) -> tuple[str, ...]:
        """All host patterns, including those of the host groups."""
        return (*self.hosts, *(host for group in self.host_groups for host in group.hosts))

    def host_group_of(self, host: str) -> HostGroup | None:
        """Return the group that lists the host."""
        return next((group for group in self.host_groups if _matches(group.hosts, host)), None)

    def is_web_host(self, host: str) -> bool:
        """Return whether a host of the provider is for browsers and programs, not for SIP."""
        is_domain = self.exact_host is not None and host in self.hosts and host != self.exact_host
        return is_domain or host.partition(".")[0] in _WEB_LABELS

    def takes_calls_at(self, host: str) -> bool:
        """Return whether a host of the provider takes outbound calls, as far as is known."""
        if self.host_group_of(host) or host == self.exact_host:
            return True
        return self.exact_host is None and not self.is_web_host(host)

    def formats_at(self, host: str) -> tuple[str, ...]:
        """Return the valid calling formats of a trunk at this host, none if they are unknown."""
        group = self.host_group_of(host)
        return (group and group.calling_formats) or ((self.calling_format,) if self.calling_format else ())

    @property
    def recommends_password(self) -> bool:
        """Whether a password is a good way to authorize the provider's inbound calls, as far as is known."""
        return self.supports_inbound_auth and self.password_severity is None

    def groups_for(self, host: str) -> list[AddressGroup]:
        """Return the groups with required addresses that send the calls of a trunk at this host."""
        return [g for g in self.groups if g.addresses and (not g.hosts or _matches(g.hosts, host))]

    @property
    def has_required_addresses(self) -> bool:
        """Whether an allowlist needs addresses of the provider, at some of its hosts at least."""
        return any(group.addresses for group in self.groups)

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every known address of the provider."""
        return NetworkSet(network for group in self.groups for network in group.known)

    @cached_property
    def addresses_as_of(self) -> date:
        """The date of the oldest group of addresses."""
        return min((group.as_of or self.as_of for group in self.groups), default=self.as_of)

    @cached_property
    def dates(self) -> Mapping[str, date]:
        """The date of each part of the entry that has one."""
        groups = {f"{self.name} ({group.name})": group.as_of for group in self.groups if group.as_of}
        hosts = {f"{self.name} ({group.hosts[0]})": group.as_of for group in self.host_groups}
        return {self.name: self.as_of} | hosts | groups


class Providers(_Facts, frozen=True):
    """The provider catalog: all providers, and the hosts and addresses of the platform itself."""

    providers: tuple[Provider, ...] = ()
    platform_hosts: tuple[_Text, ...] = ()
    platform_groups: tuple[AddressGroup, ...] = ()

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
    def platform_addresses(self) -> NetworkSet:
        """Every known address of the platform itself."""
        return NetworkSet(network for group in self.platform_groups for network in group.known)

    @cached_property
    def platform_as_of(self) -> date:
        """The date of the oldest group of the platform's addresses."""
        return min((group.as_of for group in self.platform_groups if group.as_of), default=date.max)

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every known address of any provider or of the platform."""
        owners = (self.platform_groups, *(provider.groups for provider in self.providers))
        return NetworkSet(network for groups in owners for group in groups for network in group.known)

    def is_provided(self, network: Network, provider: Provider | None) -> bool:
        """Return whether a network is a provider's own: listed for any provider, or as narrow as the trunk's has."""
        if provider and network.version == 4 and network.prefixlen >= provider.widest_network:
            return True
        return any(known.known_addresses.contains(network) for known in self.providers)

    def find_provider(self, host: str) -> Provider | None:
        """Return the provider that operates a host; None if the catalog does not list it."""
        return next((provider for provider in self.providers if _matches(provider.every_host, host)), None)

    def is_platform(self, host: str) -> bool:
        """Return whether a host belongs to the platform itself."""
        return _matches(self.platform_hosts, host)


def derive_provider(trunks: pd.DataFrame, providers: Providers) -> pd.DataFrame:
    """Return the trunks with the provider that operates their host.

    Needs `sip_address`. Adds or replaces `provider`: the name in the catalog, `unknown` if the catalog does not list
    the host or the value is not a host, null if `sip_address` is missing or blank.
    """
    import numpy as np
    import pandas as pd
    import pyarrow.compute as pc

    from trunk_transforms.enrich.numbers import as_flags, as_text

    require_columns(trunks, ("sip_address",), "trunks")
    addresses = trunks["sip_address"].astype("str")
    distinct = pd.Series(addresses.dropna().unique(), dtype="str")
    hosts = as_text(distinct.map(normalize_host).astype("str"))
    names = np.full(len(distinct), UNKNOWN_PROVIDER, dtype=object)
    names[as_flags(pc.equal(hosts, ""))] = None
    is_open = as_flags(pc.match_substring_regex(hosts, f"^{HOST}$"))
    for provider in providers.providers:
        if provider.every_host:
            is_of = is_open & as_flags(pc.match_substring_regex(hosts, host_pattern(provider.every_host)))
            names[is_of] = provider.name
            is_open &= ~is_of
    return trunks.assign(provider=addresses.map(dict(zip(distinct, names, strict=True))).astype("str"))


@cache
def host_pattern(hosts: tuple[str, ...]) -> str:
    """Return a pattern that matches the end of a host on a label boundary, in Python, Arrow and DuckDB."""
    patterns = (re.escape(host.lower()).replace(r"\*", "[^.]+") for host in hosts)
    return rf"(?:^|\.)(?:{'|'.join(patterns)})$"


def _matches(hosts: tuple[str, ...], host: str) -> bool:
    return bool(hosts) and re.search(host_pattern(hosts), host) is not None


def _split(network: Network) -> Iterable[Network]:
    is_small = network.num_addresses <= _MOST_LISTED
    return network.subnets(new_prefix=network.max_prefixlen) if is_small else [network]


def is_old(fact_as_of: date, as_of: date) -> bool:
    """Return whether a fact of a day is older than twelve months on another day."""
    months = (as_of.year - fact_as_of.year) * 12 + as_of.month - fact_as_of.month
    return (months, as_of.day) > (_OLD_MONTHS, fact_as_of.day)


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
    for kind, index in re.findall(rf"\.({_TABLES})\[(\d+)\]", path):
        values = values[kind][int(index)]
        name = values.get("name") if isinstance(values, dict) else None
        names.append(f"{kind} {name!r}" if name else f"{kind} {int(index) + 1}")
    field = re.sub(rf"^(\.({_TABLES})\[\d+\])*\.?|`$", "", path)
    return ": ".join(filter(None, (", ".join(names) or "the file", field, problem)))
