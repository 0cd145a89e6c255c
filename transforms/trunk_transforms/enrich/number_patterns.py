"""What phone numbers look like, in regular expressions that Arrow and DuckDB read alike."""

SEPARATORS = r"[\s\p{Z}\p{Pd}\p{Cf}()./]"
"""What people put between digits, and the invisible marks that come along when they paste."""

OPTIONAL_ZERO = r"^([\s\p{Z}\p{Cf}]*(?:\+|00)[^(]*)\(0\)"
"""Up to the national prefix in +49 (0) 30 …: read out at home, never dialled from abroad."""

DIGITS = r"^\+?[0-9]+$"
"""A number without what is between its digits."""

DID = r"^(?:\+[0-9]+|0[0-9]{6,}|[0-9]{10,})$"
"""Such a number that is too long for an extension, or international."""

PSEUDONYM = "^hmac:(DID|extension|unknown):([0-9]*):[0-9a-f]{32}$"
"""What stands for a number that is not stored: its kind, its calling code, and nothing else that could be read."""

SHORT_EXTENSION = "^[0-9]{1,6}$"

NAMED_EXTENSION = "^[0-9A-Za-z_.*#-]{1,15}$"
"""An extension that is not only digits, as it was written."""
