"""The generated parts of the documents: `python -m tests.generated_docs` writes them, a test holds them in step."""

from __future__ import annotations

from pathlib import Path

from pipelines.describe import list_entries, markdown_of
from pipelines.parser import build_parser
from pipelines.show import as_markdown
from transforms.reports import REPORTS
from transforms.rules.registry import RULES

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
DOCUMENTS = (README, PROJECT / "docs" / "data-dictionary.md", PROJECT / "docs" / "reports.md")


def _trunks() -> str:
    return markdown_of(list_entries()[0])


def _dictionary() -> str:
    return "\n\n".join(markdown_of(entry) for entry in list_entries())


def _help() -> str:
    return f"```text\n{build_parser().format_help().strip()}\n```"


def _reports() -> str:
    return as_markdown(["report", "question"], [[report.name, report.question] for report in REPORTS.values()])


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
