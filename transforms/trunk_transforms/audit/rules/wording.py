"""The wording of findings: values are quoted on one line, and long lists are cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

import pandas as pd
import pyarrow.compute as pc

from trunk_transforms.enrich.addresses import Network, show_network
from trunk_transforms.enrich.numbers import as_flags, as_text
from trunk_transforms.enrich.providers import AddressGroup, Provider
from trunk_transforms.text import printable

MOST_CHARACTERS = 60


@lru_cache(maxsize=1024)  # hosts and accounts come again and again
def quote(text: str) -> str:
    """Return a text in quotes, on one line, cut to 60 characters."""
    return f'"{printable(text, MOST_CHARACTERS)}"'


def quote_own(values: pd.Series) -> pd.Series:
    """Return each trunk's own number or username in quotes if it is short and printable, else only its length.

    Masking replaces the exact value in the text of a finding, so a shortened or escaped value would stay readable.
    """
    text = as_text(values)
    is_short = pc.and_(pc.utf8_is_printable(text), pc.less_equal(pc.utf8_length(text), MOST_CHARACTERS))
    lengths = values.str.len().astype("Int64").astype("str")
    return ('"' + values + '"').where(as_flags(is_short), "a text of " + lengths + " characters")


def enumerate_some(items: Sequence[str], most: int = 8) -> str:
    """Return `a, b and 2 more`: at most `most` items by name, and the number of the others."""
    return enumerate_first(items, len(items), most)


def enumerate_first(items: Iterable[str], count: int, most: int) -> str:
    """Return `a, b and 2 more` for `count` items; reads only the first `most` items."""
    named = list(islice(items, most))
    return ", ".join(named) + (f" and {count - len(named)} more" if count > len(named) else "")


def enumerate_networks(networks: Iterable[Network]) -> str:
    """Return the networks as text, the first eight by name."""
    return enumerate_some([show_network(network) for network in networks])


def enumerate_groups(groups: Iterable[AddressGroup]) -> str:
    """Return the required addresses of each group, of which one is enough."""
    return " or ".join(f"{enumerate_networks(group.addresses)} ({group.name})" for group in groups)


def agree(count: int, singular: str, plural: str) -> str:
    """Return the verb that agrees with a number of things."""
    return singular if count == 1 else plural


def list_addresses(provider: Provider, host: str) -> str:
    """Return the addresses that an allowlist needs at a host of the provider."""
    return enumerate_groups(provider.groups_for(host)) or f"the addresses that {provider.name} names for this host"


def allow_addresses(provider: Provider, host: str) -> str:
    """Return the fix for a trunk that should authorize calls by the provider's addresses in place of a password."""
    return f'set inbound_authorization_type to "ip" and allow {list_addresses(provider, host)}'


def name_place(host: str | None) -> str:
    """Return the host for a cause, so that a suppression of the cause does not cover unrelated trunks."""
    return f"at {quote(host)}" if host else "on trunks without a SIP address"
