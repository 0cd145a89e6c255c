"""Text from the API, made safe to show on one line."""

from __future__ import annotations


def printable(text: str, limit: int) -> str:
    """Return `text` fit for one line of a terminal or a log: at most `limit` characters, no control characters.

    Text from the API is untrusted: line breaks, escape sequences, marks that turn the reading direction and lone
    surrogates come out as their escapes.
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return escaped if len(escaped) <= limit and len(text) <= limit else escaped[: max(limit - 1, 0)] + "…"
