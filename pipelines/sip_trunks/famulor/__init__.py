"""Famulor's SIP trunks as a dlt source: `from sip_trunks.famulor import famulor`.

`client` fetches one snapshot, `source` builds dlt resources from it, `demo` serves a demo account. `famulor` is
resolved on first use, so that the client starts without importing dlt.
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
