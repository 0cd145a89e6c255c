"""The generated parts of the documents: `python -m tests.generated_docs` writes them, a test holds them in step."""

from __future__ import annotations

from pathlib import Path

from pipelines.cli import build_parser
from pipelines.describe import markdown_of
from transforms import schema

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
DOCUMENTS = (README, PROJECT / "docs" / "data-dictionary.md")


def _trunks() -> str:
    return markdown_of(schema.SIP_TRUNKS)


def _dictionary() -> str:
    return "\n\n".join(markdown_of(table) for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS, schema.DRIFT))


def _help() -> str:
    return f"```text\n{build_parser().format_help().strip()}\n```"


PARTS = {"trunks": _trunks, "dictionary": _dictionary, "help": _help}


def generate(text: str) -> str:
    """Return the document with every generated part made anew."""
    for name, make in PARTS.items():
        start = f"<!-- generated: {name} -->\n"
        before, found, rest = text.partition(start)
        if not found:
            continue
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{start}{make()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(generate(document.read_text("utf-8")), "utf-8")
