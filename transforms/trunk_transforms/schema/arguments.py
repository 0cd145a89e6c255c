"""Checks of the arguments of public functions: a caller learns at once what is wrong with a frame or a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd


def require_columns(frame: pd.DataFrame, columns: Iterable[str], subject: str) -> None:
    """Raise ValueError, with the names of the missing columns, if the frame lacks any; `subject` is its name."""
    missing = [name for name in dict.fromkeys(columns) if name not in frame.columns]
    if missing:
        raise ValueError(f"{subject} needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")


def require_time_zone(moment: datetime, subject: str) -> None:
    """Raise ValueError if a moment has no time zone; `subject` is its name."""
    if moment.tzinfo is None:
        raise ValueError(f"{subject} needs a time zone, such as datetime.now(UTC); {moment.isoformat()} has none")
