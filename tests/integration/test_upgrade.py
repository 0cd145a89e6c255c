"""A data directory that an earlier release wrote opens in this one, and its history goes on.

`warehouse-0.1.0.duckdb.xz` is what three runs of 0.1.0 published: two trunks; then one changed with a new field, one
with a value of the wrong type, one new; then one gone.
"""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_history_is_sound, closed_versions, read
from tests.support.runs import PROJECT, load, only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

RELEASES = sorted((PROJECT / "tests" / "support" / "data").glob("warehouse-*.duckdb.xz"))


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_an_earlier_release_stored_goes_on(api: Api, place: Path, release: Path) -> None:
    path = place / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    path.write_bytes(lzma.decompress(release.read_bytes()))
    stored = closed_versions(path)
    assert len(stored) == 3
    # The file has a column `nickname`, which was not declared when it was written.
    changed = TRUNK | {"country_code": "DE", "nickname": "Back office", "zz_floor": 3}
    api.answer([changed, trunk(id=44, nickname=None), IP_TRUNK])
    account = only(load(with_reports=True))
    assert (account.new_count, account.changed_count, account.removed_count) == (1, 1, 0)
    assert stored < closed_versions(path)
    assert read(path, "SELECT nickname, zz_floor FROM sip_trunks WHERE id = 42") == [("Back office", 3)]
    assert read(path, "SELECT count(*) FROM sip_trunks_history WHERE id = 44") == [(1,)]
    assert_history_is_sound(path)
