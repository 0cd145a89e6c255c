"""SQL on stored data: tables, views, report tables, frames, dictionary.

`from sip_trunks.warehouse import create_views` gives a pipeline of your own the views. It is resolved on first use, so
that commands without views start without their modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sip_trunks.warehouse.views import create_views

__all__ = ["create_views"]


def __getattr__(name: str) -> Any:
    if name == "create_views":
        from sip_trunks.warehouse.views import create_views

        return create_views
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
