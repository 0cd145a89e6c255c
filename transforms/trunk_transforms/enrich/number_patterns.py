"""Regular expressions for phone numbers, in the syntax that Arrow and DuckDB share."""

SEPARATORS = r"[\s\p{Z}\p{Pd}\p{Cf}()./]"
"""Separators between digits, and invisible characters from pasted text."""

OPTIONAL_ZERO = r"^([\s\p{Z}\p{Cf}]*(?:\+|00)[^(]*)\(0\)"
"""Everything up to the national prefix in +49 (0) 30 …, which is rarely dialed from abroad."""

BARE_OPTIONAL_ZERO = r"^([\s\p{Z}\p{Cf}]*[1-9][^(+]*)\(0\)"
"""The same without + or 00, as in 49 (0) 30 …"""

DIGITS = r"^\+?[0-9]+$"
"""A number without separators."""

DID = r"^(?:\+[0-9]+|00?[1-9][0-9]{5,})$"
"""A number without separators that is international or begins with a national prefix."""

DIALLED = "^(?:0[0-9]{6,}|[1-9][0-9]{9,})$"
"""Digits that may be a DID, written as it is dialed in its country."""

PSEUDONYM = "^hmac:(DID|extension|unknown):([0-9]*):[0-9a-f]{32}$"
"""The pseudonym of a number that is not stored. Only its kind and its calling code are readable."""

SHORT_EXTENSION = "^[0-9]{1,6}$"

NAMED_EXTENSION = "^[0-9A-Za-z_.*#-]{1,15}$"
"""An extension with other characters than digits."""
