"""Metrics for Prometheus: a text file that every run writes, for node_exporter's textfile collector.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sip_trunks import __version__
from sip_trunks.core.files import write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.run.result import RuleFindings, RunResult
from trunk_transforms.schema.findings import SEVERITIES

Samples = dict[str, list[tuple[dict[str, str], float]]]

_MEANINGS = {
    "last_run_timestamp_seconds": "End of the last run, in seconds since 1970.",
    "last_success_timestamp_seconds": "End of the last run with exit code 0, in seconds since 1970.",
    "run_duration_seconds": "Duration of the last run, in seconds.",
    "run_exit_code": "Exit code of the last run.",
    "info": "Version and destination of the last run.",
    "account_seen_timestamp_seconds": "Time of the account's last observation, in seconds since 1970.",
    "trunks": "Number of trunks in the account's last observation.",
    "drift": "Number of deviations from the declaration in the account's last response.",
    "findings": "Number of open findings with this severity.",
    "causes": "Number of causes of the open findings with this severity.",
    "rule_findings": "Number of open findings of this rule with this severity, one per trunk.",
    "rule_causes": "Number of causes of the open findings of this rule with this severity.",
}
_PREFIX = "sip_trunks_"
_OF_FINDINGS = ("findings", "rule_findings", "causes", "rule_causes")
_SAMPLE = re.compile(rf"{_PREFIX}(\w+)(?:\{{.*\}})? \S+")
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write_metrics(settings: Settings, run: Mapping[str, Any], result: RunResult | None) -> None:
    """Replace the metrics file with the metrics of a run (a row of `runs`).

    Metrics that this run did not determine keep their previous values. Raises OSError if the file cannot be written.
    """
    samples: Samples = {
        "last_run_timestamp_seconds": [({}, run["ended_at"].timestamp())],
        "run_duration_seconds": [({}, round((run["ended_at"] - run["started_at"]).total_seconds(), 3))],
        "run_exit_code": [({}, run["exit_code"])],
        "info": [({"version": __version__, "destination": settings.destination}, 1)],
    }
    if run["exit_code"] == 0:
        samples["last_success_timestamp_seconds"] = [({}, run["ended_at"].timestamp())]
    if result is not None:
        samples |= _describe_accounts(settings, result)
        if result.findings is not None:
            samples |= _describe_findings(result, result.findings)
        elif result.snapshot_at is not None:
            # The previous findings are from another response or another destination, so they are not current.
            samples |= {name: [] for name in _OF_FINDINGS}
    found = _read_lines(settings)
    for name, series in samples.items():
        found[name] = [f"{_PREFIX}{name}{_labels(labels)} {value!r}" for labels, value in series]
    lines: list[str] = []
    for name, meaning in _MEANINGS.items():
        if found.get(name):
            lines += [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} gauge", *found[name]]
    settings.metrics_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(settings.metrics_path, "".join(f"{line}\n" for line in lines).encode())


def rename_metrics(settings: Settings, old: str, new: str | None) -> None:
    """Rename the account's metrics; metrics with the new name, from another destination, are replaced.

    If `new` is None, delete them, and the findings, because they include the account's. Raises OSError.
    """
    ours, theirs = _labels({"account": old}), _labels({"account": new or old})
    gone = [theirs] if new else [ours, *(f"{_PREFIX}{name}{{" for name in _OF_FINDINGS)]
    with suppress(FileNotFoundError):
        lines = settings.metrics_path.read_text("utf-8").splitlines(keepends=True)
        # After a renaming, it is the new name's metrics that are current.
        if new is None or any(ours in line for line in lines):
            kept = [line.replace(ours, theirs) for line in lines if not any(text in line for text in gone)]
            write_whole(settings.metrics_path, "".join(kept).encode())


def _describe_findings(result: RunResult, findings: Sequence[RuleFindings]) -> Samples:
    """Return the numbers of open findings and causes by severity, zeros included, and those above zero by rule.

    No label has text from the API, so the number of series is bounded by the number of rules.
    """
    samples: Samples = {}
    for name, counted in (("findings", "finding_count"), ("causes", "cause_count")):
        samples[name] = [({"severity": s}, result.count_findings(s, counted) or 0) for s in SEVERITIES]
        samples[f"rule_{name}"] = [({"rule": f.rule, "severity": f.severity}, getattr(f, counted)) for f in findings]
    return samples


def _describe_accounts(settings: Settings, result: RunResult) -> Samples:
    """Return the metrics of the configured accounts, including those that failed or were not part of the run.

    A series of an account that gets no more observations would fire an alert forever.
    """
    watched = {account.name for account in settings.accounts} | {entry.account for entry in result.accounts}
    known = {
        name: (last.snapshot_at.timestamp(), last.trunk_count, last.drift_count)
        for name, last in result.stored.items()
        if name in watched
    }
    known |= {
        entry.account: (result.snapshot_at.timestamp(), entry.trunk_count or 0, entry.drift_count or 0)
        for entry in result.accounts
        if entry.status != "failed" and result.snapshot_at is not None
    }
    names = ("account_seen_timestamp_seconds", "trunks", "drift")
    return {
        name: [({"account": account}, values[place]) for account, values in sorted(known.items())]
        for place, name in enumerate(names)
    }


def _read_lines(settings: Settings) -> dict[str, list[str]]:
    """Return the lines of the existing metrics file, by metric. Other lines are ignored."""
    lines: dict[str, list[str]] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in settings.metrics_path.read_text("utf-8").splitlines():
            if found := _SAMPLE.fullmatch(line):
                lines.setdefault(found[1], []).append(line)
    return lines


def _labels(labels: Mapping[str, str]) -> str:
    listed = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels.items())
    return f"{{{listed}}}" if listed else ""
