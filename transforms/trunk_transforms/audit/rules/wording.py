"""How findings say things: on one line, quoted, and not for pages."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from trunk_transforms.enrich.numbers import as_flags, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

MOST_CHARACTERS = 60


def quote(text: str) -> str:
    """Return a text in quotes, on one line, cut to 60 characters."""
    cut = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut) + '"'


def quote_own(text: str) -> str:
    """Return a trunk's own number or username in quotes, or what it is like: verbatim or not at all.

    Whoever masks them replaces what stands there literally, so that a part of one would slip through.
    """
    if len(text) <= MOST_CHARACTERS and text.isprintable():
        return f'"{text}"'
    return f"a text of {len(text)} characters"


def quote_all_own(values: pd.Series) -> pd.Series:
    """Return a column of numbers as `quote_own` has each."""
    text = as_text(values)
    is_short = pc.and_(pc.utf8_is_printable(text), pc.less_equal(pc.utf8_length(text), MOST_CHARACTERS))
    quoted = '"' + values + '"'
    lengths = values.str.len().astype("Int64").astype("str")
    return quoted.where(as_flags(is_short), "a text of " + lengths + " characters")


def enumerate_some(items: Sequence[str], most: int = 8) -> str:
    """Return `a, b and 2 more`: all of the items if they are at most `most`."""
    return enumerate_first(items, len(items), most)


def enumerate_first(items: Iterable[str], count: int, most: int) -> str:
    """Return `a, b and 2 more` for `count` items, of which only the first are there to be named."""
    named = list(islice(items, most))
    return ", ".join(named) + (f" and {count - len(named)} more" if count > len(named) else "")
