"""Text from the API, escaped for one line of output."""

from __future__ import annotations


def printable(text: str, limit: int) -> str:
    """Return `text` for one line of a terminal or a log: at most `limit` characters, without control characters.

    Text from the API is untrusted, so line breaks, escape sequences, marks that change the reading direction, and lone
    surrogates are escaped.
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return escaped if len(escaped) <= limit and len(text) <= limit else escaped[: max(limit - 1, 0)] + "…"
