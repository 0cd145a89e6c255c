"""Text for one line of output: escaped text from the API, and counted nouns."""


def printable(text: str, limit: int) -> str:
    """Return `text` for one line of a terminal or a log: at most `limit` characters, without control characters.

    Text from the API is untrusted, so line breaks, escape sequences, marks that change the reading direction, and lone
    surrogates are escaped.
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return escaped if len(escaped) <= limit and len(text) <= limit else escaped[: max(limit - 1, 0)] + "…"


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun: `1 trunk`, `2,000 trunks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
