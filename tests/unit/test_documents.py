"""The documents are in step with the code as far as their text alone can show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.tools.generated_docs import DEPLOYED, DOCUMENTS, PROJECT, README, generate

if TYPE_CHECKING:
    import pytest


def test_generated_parts_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for document in DOCUMENTS:
        assert document.read_text("utf-8") == generate(document.read_text("utf-8")), "run `make docs`"
    for path, text in DEPLOYED.items():
        assert path.read_text("utf-8") == text, "run `make docs`"


def test_every_link_of_a_document_leads_somewhere() -> None:
    for document in (
        README,
        PROJECT / "CONTRIBUTING.md",
        PROJECT / "notebooks" / "README.md",
        *PROJECT.glob("docs/*.md"),
    ):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text("utf-8").splitlines()) < 160


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    lock = (PROJECT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--hash=sha256:" in lock


def test_every_test_that_the_promises_name_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (PROJECT / "docs" / "promises.md").read_text("utf-8"))
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (PROJECT / file).read_text("utf-8"), f"{file} has no {test}"


def test_every_file_that_contributing_sends_its_reader_to_exists() -> None:
    rows = re.findall(
        r"^\| (?!Where|-)(.*) \|$", (PROJECT / "CONTRIBUTING.md").read_text("utf-8").split("## Code")[1], re.MULTILINE
    )
    assert len(rows) > 10
    for row in rows:
        paths = [name for name in re.findall(r"`([^`]+)`", row) if "/" in name or name.endswith(".toml")]
        assert paths, row
        for path in paths:
            assert (PROJECT / path).exists(), path


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    for document in (README, PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/*.md")):
        named = re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text("utf-8"))
        assert set(named) <= targets, document.name
