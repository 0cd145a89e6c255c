"""The columns that fields get are named as dlt would name them, so that dlt leaves them as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunk_transforms.parse.column_names import claim_columns, column_name


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
