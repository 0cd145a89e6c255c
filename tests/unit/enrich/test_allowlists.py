"""Allowlists as columns: the arithmetic says what the objects of `ipaddress` say."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunk_transforms.enrich.addresses import Entry, NetworkSet, classify_entry
from trunk_transforms.enrich.allowlists import Entries, read_allowlist, read_allowlists

EDGES = [
    f"{first}.{rest}" for first in (0, 9, 10, 11, 100, 192, 203, 224, 255) for rest in ("0.0.0", "0.2.1", "64.0.9")
]
ADDRESSES = st.sampled_from(EDGES) | st.lists(st.integers(0, 256), min_size=4, max_size=4).map(
    lambda octets: ".".join(map(str, octets))
)
LENGTHS = st.sampled_from(["", "", "/32", "/31", "/24", "/23", "/8", "/0", "/33", "/08", "/"])
ODD = st.sampled_from(
    ["", " 8.8.8.8", "8.8.8.8,9.9.9.9", "08.8.8.8", "8.8.8", "2a00::1", "::ffff:8.8.8.8", "pbx", "\u0663.1.1.1"]
)
ENTRIES = st.builds(str.__add__, ADDRESSES, LENGTHS) | ADDRESSES | ODD
NETWORKS = NetworkSet(
    entry.networks[0]
    for entry in map(classify_entry, ["9.0.0.0/24", "9.0.2.1", "203.64.0.0/16", "8.8.8.8", "2a00::/64"])
)


@given(st.lists(st.lists(ENTRIES, max_size=3), max_size=8), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_the_arithmetic_says_what_the_objects_say(lists: list[list[str]], separators: tuple[str, str]) -> None:
    texts = list(dict.fromkeys(json.dumps(entries, separators=separators) for entries in lists))
    allowlists = read_allowlists(pd.Series(texts, dtype="str"))
    expected = [*map(read_allowlist, texts), ()]
    assert [allowlists[position] for position in range(-1, len(texts))] == [(), *expected[:-1]]
    is_plain = [bool(entries) and all(map(_is_ipv4, entries)) for entries in expected]
    assert allowlists.is_plain.tolist() == is_plain
    assert allowlists.is_ordinary.tolist() == [all(entry.is_ordinary for entry in entries) for entries in expected]
    assert allowlists.may_repeat.tolist() == [
        not plain or len(set(_spans(entries))) < len(entries) for plain, entries in zip(is_plain, expected, strict=True)
    ]
    assert allowlists.may_overlap(NETWORKS).tolist() == [
        not plain or any(NETWORKS.overlaps(network) for entry in entries for network in entry.networks)
        for plain, entries in zip(is_plain, expected, strict=True)
    ]
    order = np.arange(len(expected))[::-1]
    assert list(zip(*(column.tolist() for column in allowlists.list_entries(order)), strict=True)) == [
        (place, *span)
        for place, position in enumerate(order)
        if is_plain[position]
        for span in _spans(expected[position])
    ]


def _is_ipv4(entry: Entry) -> bool:
    return entry.fault is None and ":" not in entry.text


def _spans(entries: Entries) -> list[tuple[int, int]]:
    """Return the first and the last address of each entry, as numbers."""
    return [(int(network[0]), int(network[-1])) for entry in entries for network in entry.networks]


@pytest.mark.parametrize(
    "text", ["null", "8.8.8.8", '"8.8.8.8"', '["8.8.8.8",]', '["8.8.8.8"', '["8.8.8.8" "9.9.9.9"]']
)
def test_text_that_is_not_a_list_is_one_entry(text: str) -> None:
    allowlists = read_allowlists(pd.Series([text], dtype="str"))
    assert not allowlists.is_plain.any()
    assert allowlists[0] == (classify_entry(text),)


def test_there_may_be_no_lists() -> None:
    allowlists = read_allowlists(pd.Series(dtype="str"))
    assert allowlists.is_ordinary.tolist() == [True]
    assert allowlists[-1] == ()
