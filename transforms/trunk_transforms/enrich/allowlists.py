"""Allowlists as columns: addresses and networks of IPv4 are pairs of numbers, and only other entries become objects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trunk_transforms.enrich.addresses import SPECIAL_ADDRESSES, Entry, NetworkSet, classify_entry
from trunk_transforms.enrich.numbers import Flags, as_flags, as_text

Entries = tuple[Entry, ...]
Integers: TypeAlias = NDArray[np.int64]

_DIGITS = r"[0-9./]{7,18}"
_PLAIN = rf'^\["{_DIGITS}"(?:, ?"{_DIGITS}")*\]$'
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^{_OCTET}(?:\.{_OCTET}){{3}}(?:/(?:3[0-2]|[12]?[0-9]))?$"
_NARROW = 256
"""The addresses of a /24, the widest network that is ordinary."""


@dataclass(frozen=True)
class Allowlists:
    """Allowlists by position, each distinct JSON text once; the last one is empty, for trunks without a list.

    A list is plain if it has entries and all of them are addresses or networks of IPv4. `firsts` and `lasts` have the
    first and the last address of each entry of the plain lists, in order; those of a list begin at its `starts`.
    """

    texts: pa.Array
    is_plain: Flags
    starts: Integers
    firsts: Integers
    lasts: Integers
    _known: dict[str, Entry] = field(default_factory=dict, repr=False)
    _read: dict[int, Entries] = field(default_factory=dict, repr=False)

    def __getitem__(self, position: int) -> Entries:
        if self.is_plain[position]:  # there are many, and each is read rarely
            return read_allowlist(self.texts[position].as_py())
        if position not in self._read:
            self._read[position] = read_allowlist(self.texts[position].as_py(), self._known)
        return self._read[position]

    @cached_property
    def is_ordinary(self) -> Flags:
        """Whether every entry is ordinary, by position."""
        is_odd = SPECIAL_ADDRESSES.overlap(self.firsts, self.lasts) | (self.lasts - self.firsts >= _NARROW)
        is_ordinary = ~self._has(is_odd)
        for position in np.flatnonzero(~self.is_plain).tolist():
            is_ordinary[position] = all(entry.is_ordinary for entry in self[position])
        return is_ordinary

    @cached_property
    def may_repeat(self) -> Flags:
        """Whether a list has a network twice, or is not plain, by position."""
        entries = pd.DataFrame({"owner": self._owners, "first": self.firsts, "last": self.lasts})
        return ~self.is_plain | self._has(entries.duplicated().to_numpy())

    def may_overlap(self, networks: NetworkSet) -> Flags:
        """Return a flag per position: the list has an address of the networks, or is not plain."""
        return ~self.is_plain | self._has(networks.overlap(self.firsts, self.lasts))

    def list_entries(self, positions: Integers) -> tuple[Integers, Integers, Integers]:
        """Return the entries of the plain ones of these lists: the place among `positions`, first and last address."""
        counts = np.diff(self.starts)[positions]
        places = np.repeat(np.arange(len(positions)), counts)
        entries = np.arange(len(places)) + (self.starts[positions] - np.cumsum(counts) + counts)[places]
        return places, self.firsts[entries], self.lasts[entries]

    @cached_property
    def _owners(self) -> Integers:
        return np.repeat(np.arange(len(self.is_plain)), np.diff(self.starts))

    def _has(self, is_entry: Flags) -> Flags:
        """Return a flag per list: it has an entry with this flag."""
        return np.bincount(self._owners[is_entry], minlength=len(self.is_plain)) > 0


def read_allowlists(texts: pd.Series) -> Allowlists:
    """Return allowlists from their distinct JSON texts, and an empty one after them."""
    lists = pa.concat_arrays([as_text(texts), pa.array(["[]"], pa.large_string())])
    is_plain = as_flags(pc.match_substring_regex(lists, _PLAIN))
    entries = pc.split_pattern_regex(pc.utf8_trim(lists.filter(pa.array(is_plain)), '[]"'), '", ?"')
    words, counts = entries.flatten(), pc.list_value_length(entries).to_numpy()
    is_valid = as_flags(pc.match_substring_regex(words, _IPV4))
    owners = np.repeat(np.flatnonzero(is_plain), counts)
    is_plain[owners[~is_valid]] = False
    is_read = is_plain[owners]
    firsts, lasts = _read_networks(words.filter(pa.array(is_read)))
    sizes = np.bincount(owners[is_read], minlength=len(is_plain))
    return Allowlists(lists, is_plain, np.concatenate([[0], np.cumsum(sizes)]), firsts, lasts)


def _read_networks(words: pa.Array) -> tuple[Integers, Integers]:
    """Return the first and the last address of IPv4 networks; the host bits of a network are ignored."""
    networks = pc.replace_substring_regex(words, "^([0-9.]*)$", r"\1/32")
    dotted = pc.split_pattern(pc.replace_substring(networks, "/", "."), ".").flatten()
    *octets, lengths = dotted.cast(pa.int64()).to_numpy().reshape(-1, 5).T
    hosts = (1 << 32 - lengths) - 1
    firsts = sum(octet << shift for octet, shift in zip(octets, (24, 16, 8, 0), strict=True)) & ~hosts
    return firsts, firsts | hosts


def read_allowlist(text: str, known: dict[str, Entry] | None = None) -> Entries:
    """Return the entries of an allowlist from its JSON; text that is not a JSON list of texts gives invalid entries."""
    known = {} if known is None else known
    try:
        values = json.loads(text)
        values = values if isinstance(values, list) else [text]
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    except (ValueError, RecursionError):
        texts = [text]
    return tuple(known.get(entry) or known.setdefault(entry, classify_entry(entry)) for entry in texts)
