"""The documents are true: their commands print what they say, and their code runs.

tests/unit/test_documents.py checks their text, tests/system/paths/test_demo.py the commands of the README.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sip_trunks.famulor.demo import DEMO_TOKEN, serve
from tests.support.builders import TRUNK
from tests.support.demo_account import demo_after, work_in
from tests.support.documents import README, assert_commands_print_what_it_says, python_blocks, sessions
from tests.support.runs import PATIENCE_SECONDS, PROJECT, call
from tests.tools.cookbook import COOKBOOK, RUNS, recipes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fixtures import Begin


def with_commands() -> list[Path]:
    """Return the documents that have console blocks; those of clients.md need the clients (test_clients.py)."""
    every = [PROJECT / "notebooks" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    every.remove(PROJECT / "docs" / "clients.md")
    return [document for document in every if next(sessions(document.read_text("utf-8")), None)]


@pytest.mark.parametrize("document", with_commands(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_command_of_a_document_prints_what_it_says(document: Path, tmp_path: Path) -> None:
    """Only the commands of a document, one after the other, show that its reader sees what it says."""
    assert_commands_print_what_it_says(document, tmp_path, as_processes=False)


def test_every_query_of_the_cookbook_prints_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the queries of the page, on the account that it names, show that it says what they print."""
    work_in(tmp_path, monkeypatch, SIP_TRUNKS__DATA_DIR=str(demo_after(RUNS, tmp_path_factory)))
    text = COOKBOOK.read_text("utf-8")
    assert len(list(recipes(text))) > 15
    for query, printed in recipes(text):
        assert call("sql", query) == printed, f"{query}\nrun `make cookbook`"


def test_the_cookbook_lists_the_fields_that_the_api_added(begin: Begin) -> None:
    """Only the query of the page shows that it has the comment that an undeclared field gets; the demo has none."""
    begin(TRUNK | {"zz_invented": "x"})
    (query,) = (query for query, _ in recipes(COOKBOOK.read_text("utf-8")) if "undeclared field" in query)
    assert "zz_invented" in call("sql", query)


def test_the_lake_is_read_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the code of the page, in a process that has nothing of ours, shows that it reads the lake."""
    (code,) = python_blocks(PROJECT / "docs" / "destinations.md")
    work_in(tmp_path, monkeypatch)
    for _ in range(2):
        call("run", "--demo", "--destination", "parquet", "--no-reports")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.stdout.split() == ["48", "52", "98", "98"], done.stderr


def test_the_library_works_as_its_page_says(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Only the code of the page, in a process of its own, shows that it needs nothing but the file."""
    (code,) = python_blocks(PROJECT / "docs" / "library.md")
    (tmp_path / "data").symlink_to(demo_after(2, tmp_path_factory))
    # The page's frames are without assignments.
    queries = (
        "FROM sip_trunk_changes WHERE field IS DISTINCT FROM 'has_inbound_assistant'",
        "FROM findings WHERE rule NOT LIKE 'usage-%'",
    )
    check = f"print(*(len(warehouse.sql(query)) for query in {queries!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code + check], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    _, changes, findings, *stored = done.stdout.split()
    assert [changes, findings] == stored, done.stderr


@pytest.mark.parametrize("variable", ["FAMULOR_API_KEY", "SOURCES__FAMULOR__API_TOKEN"])
def test_the_source_works_in_a_pipeline_of_ones_own(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the code of the README, in a process of its own, shows that the source works without our commands."""
    (code,) = python_blocks(README)
    work_in(tmp_path, monkeypatch, RUNTIME__DLTHUB_TELEMETRY="false", DLT_DATA_DIR=str(tmp_path / "dlt"))
    counts = "(SELECT count(*) FROM sip_trunks_history), (SELECT count(*) FROM trunks_as_of(now()))"
    query = f"SELECT count(provider), {counts}, (SELECT sum(share_pct) FROM trunk_counts) FROM sip_trunks"
    check = f"import duckdb\nprint(*duckdb.connect('mine.duckdb').execute({query!r}).fetchone())\n"
    with serve() as base_url:
        env = os.environ | {
            variable: DEMO_TOKEN,
            "SOURCES__FAMULOR__BASE_URL": base_url,
            "PYTHONPATH": str(PROJECT),
        }
        done = subprocess.run(
            [sys.executable, "-c", code + check], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
    assert done.stdout.split() == ["50", "50", "50", "100.0"], done.stderr
