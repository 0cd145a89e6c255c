"""The columns that fields get are named as dlt would name them, so that dlt leaves them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import trunk
from tests.support.runs import load, query
from trunk_transforms.parse.column_names import claim_columns, column_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


@given(st.text(max_size=60))
def test_every_column_name_is_one_that_dlt_leaves_as_it_is(name: str) -> None:
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    (column,) = claim_columns([name]).values()
    assert NamingConvention().normalize_identifier(column) == column
    assert len(column) <= 55


def test_column_names_are_those_that_dlt_would_give() -> None:
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    naming = NamingConvention()
    for name in ("newField", "HTTPServer", "already_snake", "with-dash", "Mixed Case", "_x", "a__b", "SELECT", "n2o"):
        assert column_name(name) == naming.normalize_identifier(name)
        assert naming.normalize_path(column_name(name) + "__v_text") == column_name(name) + "__v_text"


def test_a_name_that_collides_later_moves_no_value_in_any_account(api: Api, place: Path) -> None:
    (place / ".dlt").mkdir()
    (place / ".dlt" / "secrets.toml").write_text('[sources.famulor.accounts]\none = "token-1"\nother = "token-2"\n')
    camel, snake = {"zzMax": 5}, {"zz_max": 6}
    same = [trunk(id=1, **camel)], [trunk(id=1, **snake)]
    for added in ([], [trunk(id=2, zzMax=7, zz_max=8)], [trunk(id=2, zz_max=8)], [trunk(id=3, zz_max=9, zzMax=9)]):
        for token, trunks in zip(("token-1", "token-2"), same, strict=True):
            api.answer_to(token, [*trunks, *added])
        assert load().exit_code == 0
        stored = query("SELECT account, zz_max FROM sip_trunks WHERE id = 1 ORDER BY account")
        assert stored == [("one", 5), ("other", 6)]
    assert query("SELECT count(*) FROM sip_trunks_history WHERE id = 1") == [(2,)]


def test_a_field_has_its_column_again_after_it_was_empty(api: Api, place: Path) -> None:
    for sent in ({"zzMax": 1}, {"zzMax": None}, {"zzMax": 1, "zz_max": 2}):
        api.answer([trunk(id=1, **sent)])
        assert load().exit_code == 0
    assert query("SELECT zz_max FROM sip_trunks") == [(1,)]
