"""The documents are true: their generated parts are in step, and their commands print what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.cli import main
from pipelines.famulor.demo import DEMO_TOKEN, serve
from tests.cookbook import COOKBOOK, RUNS, recipes
from tests.generated_docs import DEPLOYED, DOCUMENTS, PROJECT, README, generate
from tests.test_cli import call

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
MADE = {
    "make demo": "sip-trunks run --demo",
    "make setup": "true",
    ". .venv/bin/activate": "true",
    "make notebook": "true",  # tests/test_notebook.py opens it
}
OURS = re.compile(r"(?P<settings>([A-Z_]+=\S+ )*)sip-trunks (?P<arguments>[a-z][^|&;<>$`]*)")
"""A command of ours and nothing else: no part of it is for a shell to understand."""


def test_generated_parts_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for document in DOCUMENTS:
        assert document.read_text("utf-8") == generate(document.read_text("utf-8")), "run `make docs`"
    for path, text in DEPLOYED.items():
        assert path.read_text("utf-8") == text, "run `make docs`"


def sessions(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every `$ command` of the console blocks and the lines that it should print."""
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = part.rstrip("\n").split("\n")
            yield command, printed


def matches(printed: list[str], expected: list[str]) -> bool:
    """Whether the first lines printed are those expected, where … stands for anything."""
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    return all(re.fullmatch(p, line) for p, line in zip(patterns, printed, strict=False)) and len(printed) >= len(
        expected
    )


def with_commands() -> list[Path]:
    """Return the documents that have console blocks; those of clients.md need the clients (tests/test_clients.py)."""
    every = [README, PROJECT / "notebooks" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    every.remove(PROJECT / "docs" / "clients.md")
    return [document for document in every if next(sessions(document.read_text("utf-8")), None)]


def printed_by(line: str, document: Path) -> str:
    """Return what a line of a document prints.

    Those of the README are processes, as they are for its reader. In the others our commands are called here, since
    each process would import everything anew.
    """
    ours = OURS.fullmatch(line)
    if ours and document != README:
        with pytest.MonkeyPatch.context() as patch:
            for setting in ours["settings"].split():
                patch.setenv(*setting.split("=", 1))
            return call(*shlex.split(ours["arguments"]))
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("document", with_commands(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_command_of_a_document_prints_what_it_says(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PROJECT / ".dlt", tmp_path / ".dlt", ignore=shutil.ignore_patterns("secrets.toml"))
    monkeypatch.chdir(tmp_path)
    with serve() as base_url:
        monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", base_url)
        for command, expected in sessions(document.read_text("utf-8")):
            line = command.replace("FAMULOR_API_KEY=…", f"FAMULOR_API_KEY={DEMO_TOKEN}")
            # The environment that runs this test is the one that these would make.
            for target, same in MADE.items():
                line = re.sub(rf"^{re.escape(target)}$", same, line)
            printed = printed_by(line, document)
            assert matches(printed.splitlines(), expected), f"{command}\n{printed}"


def test_every_query_of_the_cookbook_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    for _ in range(RUNS):
        assert main(["run", "--demo"]) == 0
    text = COOKBOOK.read_text("utf-8")
    assert len(list(recipes(text))) > 15
    for query, printed in recipes(text):
        capsys.readouterr()
        assert main(["sql", query]) == 0, query
        assert capsys.readouterr().out == printed, f"{query}\nrun `make cookbook`"


def test_the_lake_is_read_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (PROJECT / "docs" / "destinations.md").read_text("utf-8"), flags=re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    for _ in range(2):
        call("run", "--demo", "--destination", "parquet", "--no-reports")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["48", "52", "98", "98"], done.stderr


def test_the_source_works_in_a_pipeline_of_ones_own(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), flags=re.DOTALL)
    with serve() as base_url:
        env = os.environ | {
            "SOURCES__FAMULOR__API_TOKEN": DEMO_TOKEN,
            "SOURCES__FAMULOR__BASE_URL": base_url,
            "DLT_DATA_DIR": str(tmp_path / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "PYTHONPATH": str(PROJECT),
        }
        tables = ("sip_trunks", "sip_trunks_history")
        check = "".join(f"print(pipeline.dataset()['{table}'].arrow().num_rows)\n" for table in tables)
        done = subprocess.run(
            [sys.executable, "-c", code + check], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.stdout.split() == ["50", "50"], done.stderr


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
    assert len(README.read_text("utf-8").splitlines()) < 150


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    lock = (PROJECT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--hash=sha256:" in lock


def test_every_test_that_the_promises_name_exists() -> None:
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (PROJECT / "docs" / "promises.md").read_text("utf-8"))
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (PROJECT / file).read_text("utf-8"), f"{file} has no {test}"
