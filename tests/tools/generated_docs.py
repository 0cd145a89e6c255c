"""The generated parts of the documents and the files to copy, which a test keeps in step.

`make docs` writes them.
"""

from __future__ import annotations

from pathlib import Path

from sip_trunks.commands.dispatch import build_parser
from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.job import Job
from sip_trunks.operations.scheduling.timetable import read_cron
from sip_trunks.reporting.formats import as_markdown
from sip_trunks.warehouse.dictionary import list_entries, markdown_of
from tests.tools import settings_table
from trunk_transforms.audit.rules import RULES
from trunk_transforms.schema.reports import REPORTS

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
DOCUMENTS = (
    README,
    PROJECT / "docs" / "data-dictionary.md",
    PROJECT / "docs" / "reports.md",
    PROJECT / "docs" / "settings.md",
    PROJECT / ".dlt" / "config.toml",
)


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


def _settings() -> str:
    return as_markdown(list(settings_table.COLUMNS), settings_table.list_rows())


PARTS = {
    "trunks": _trunks,
    "dictionary": _dictionary,
    "help": _help,
    "reports": _reports,
    "rules": _rules,
    "settings": _settings,
    "config": settings_table.render_config,
}


DEPLOY = PROJECT / "deploy"
JOB = Job(
    name="sip-trunks",
    timetable=read_cron("7 * * * *"),
    command=("/srv/sip-trunks/.venv/bin/sip-trunks", "run"),
    folder=Path("/srv/sip-trunks"),
    writable=(Path("/srv/sip-trunks/data"),),
    user="sip-trunks",
)
"""The job in the files to copy. `sip-trunks schedule install` writes the same texts for the installed program."""
_LINE = """\
# Every hour; choose your own minute. Add it to the crontab of the user that owns the data directory:
#   (crontab -l; cat deploy/cron/sip-trunks.cron) | crontab -
"""
_UNIT = """\
# Copy both units into /etc/systemd/system and change the user and the paths to your own. Then:
#   systemctl daemon-reload && systemctl enable --now sip-trunks.timer
# The data directory must exist: mkdir /srv/sip-trunks/data && chown sip-trunks /srv/sip-trunks/data
"""
DEPLOYED = {
    DEPLOY / "cron" / "sip-trunks.cron": f"{_LINE}{crontab.line_of(JOB)}\n",
    DEPLOY / "systemd" / "sip-trunks.service": f"{_UNIT}{systemd.service_of(JOB, is_system=True)}",
    DEPLOY / "systemd" / "sip-trunks.timer": f"{_UNIT}{systemd.timer_of(JOB)}",
}


def generate(text: str) -> str:
    """Return the document, or the TOML file, with every generated part written again."""
    for name, make in PARTS.items():
        for start, end in ((f"<!-- generated: {name} -->\n", "<!-- end -->"), (f"# generated: {name}\n", "# end")):
            before, found, rest = text.partition(start)
            if found:
                text = f"{before}{start}{make()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(generate(document.read_text("utf-8")), "utf-8")
    for path, text in DEPLOYED.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
