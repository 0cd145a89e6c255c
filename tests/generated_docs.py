"""The generated parts of the documents: `python -m tests.generated_docs` writes them, a test holds them in step."""

from __future__ import annotations

from pathlib import Path

from pipelines.cli import build_parser
from pipelines.describe import markdown_of
from pipelines.show import as_markdown
from transforms import schema
from transforms.counts import BY_FORMAT_AND_COUNTRY
from transforms.reports import REPORTS
from transforms.rules.registry import RULES

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
DOCUMENTS = (README, PROJECT / "docs" / "data-dictionary.md", PROJECT / "docs" / "reports.md")


def _trunks() -> str:
    return markdown_of(schema.SIP_TRUNKS)


def _dictionary() -> str:
    return "\n\n".join(markdown_of(table) for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS, schema.DRIFT))


def _help() -> str:
    return f"```text\n{build_parser().format_help().strip()}\n```"


def _reports() -> str:
    counted = ("by_format_and_country", "by_country", "by_provider", "by_authorization", "by_number_kind")
    stored = {column.name for column in schema.SIP_TRUNKS.columns}
    parts = [as_markdown(["report", "question"], [[report.name, report.question] for report in REPORTS.values()])]
    for report in REPORTS.values():
        if report.name not in counted:
            # By default it counts by two of the columns that the data dictionary explains.
            hidden = stored - set(BY_FORMAT_AND_COUNTRY) if report.name == "counts" else set()
            own = {name: text for name, text in report.columns.items() if name not in hidden}
            columns = as_markdown(["column", "meaning"], list(own.items()))
            parts.append(f"**`reports.{report.table}`**\n\n{columns}")
    return "\n\n".join(parts)


def _rules() -> str:
    columns = ["rule", "severity", "question", "why", "fix", "source"]
    rows = [[rule.code, rule.severity, rule.question, rule.why, rule.fix, rule.source] for rule in RULES.values()]
    return as_markdown(columns, rows)


PARTS = {"trunks": _trunks, "dictionary": _dictionary, "help": _help, "reports": _reports, "rules": _rules}


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
