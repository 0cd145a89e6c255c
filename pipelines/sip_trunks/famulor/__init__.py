"""Famulor's SIP trunks as a dlt source: `from sip_trunks.famulor import famulor`.

`client` fetches one snapshot, `source` makes dlt resources of it, `demo` serves a believable account. The name is
resolved on first use, since the client must start without importing dlt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sip_trunks.famulor.source import famulor

__all__ = ["famulor"]


def __getattr__(name: str) -> Any:
    if name == "famulor":
        from sip_trunks.famulor.source import famulor

        return famulor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
