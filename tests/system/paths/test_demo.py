"""The first commands of a new user, as the README has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.documents import README, assert_commands_print_what_it_says

if TYPE_CHECKING:
    from pathlib import Path


def test_every_command_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    """Only processes show that the installed command starts, and that one command finds what another has stored."""
    assert_commands_print_what_it_says(README, tmp_path, as_processes=True)
    page = tmp_path / "data" / "reports" / "index.html"
    assert "<h1>" in page.read_text("utf-8")
    assert (tmp_path / "trunks.xlsx").read_bytes().startswith(b"PK")
