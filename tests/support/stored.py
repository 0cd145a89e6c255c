"""Data directories that runs have written and that tests only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.api import Api
from tests.support.runs import TOKEN, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def store_snapshots(place: Path, snapshots: Sequence[list[dict[str, Any]]], *, with_reports: bool = False) -> None:
    """Store one snapshot after the other in `data` of a folder, reports after the last one if they are wanted."""
    api = Api()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SOURCES__FAMULOR__API_TOKEN", "DLT_PROJECT_DIR", "DLT_DATA_DIR"):
            patch.delenv(name, raising=False)
        patch.chdir(place)
        patch.setenv("HOME", str(place))
        patch.setenv("SIP_TRUNKS__DATA_DIR", str(place / "data"))
        patch.setenv("SOURCES__FAMULOR__BASE_URL", api.base_url)
        patch.setenv("FAMULOR_API_KEY", TOKEN)
        try:
            for number, snapshot in enumerate(snapshots, 1):
                api.answer(snapshot)
                assert load(with_reports=with_reports and number == len(snapshots)).exit_code == 0
        finally:
            api.close()
