"""The run log: `state/runs.jsonl`, with one line per run, and the table `runs`, which is made from it.

A run that stores nothing cannot write a table. So every run appends a line to the file, and the next run that publishes
adds the missing rows to the table together with its own.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from sip_trunks import __version__
from sip_trunks.core.errors import describe_error, exit_code_of
from sip_trunks.core.files import write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.run.result import RunResult, rename_entries, without_name
from sip_trunks.warehouse import report_tables
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import RUNS

_MOST_BYTES = 2**18
_TYPES = {"timestamp": datetime, "text": str, "bigint": int}
_Line = msgspec.defstruct(
    "_Line",
    [("destination", str), ("started_at", datetime)]
    + [(column.name, _TYPES[column.type] | None, None) for column in RUNS.columns if column.name != "started_at"]
    + [("failures", list[dict[str, str | int | None]], [])],
)


def summarize(result: RunResult) -> dict[str, Any]:
    """Return the row of `runs` for a run that returned a result, and the rows of its failed accounts as `failures`."""
    statuses = [entry.status for entry in result.accounts]
    row: dict[str, Any] = {
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "exit_code": result.exit_code,
        "error": "; ".join(result.errors) or None,
        "snapshot_at": result.snapshot_at,
        **{f"{status}_count": statuses.count(status) for status in ("loaded", "unchanged", "failed")},
    }
    row |= result.totals
    row |= {f"{severity}_count": result.count_findings(severity) for severity in SEVERITIES}
    failed = [entry for entry in result.accounts if entry.status == "failed"]
    row["failures"] = [{name: getattr(entry, name) for name in ("account", "error", "exit_code")} for entry in failed]
    row |= {name: result.count_findings(counted=name) for name in ("cause_count", "new_rule_count")}
    return row | {"version": __version__}


def summarize_failure(settings: Settings, error: BaseException, started_at: datetime) -> dict[str, Any]:
    """Return the row of `runs` for a run that an error ended before anything was stored."""
    reason = describe_error(error)
    for account in settings.accounts:
        reason = without_name(reason, account.name)
    return dict.fromkeys(RUNS.names) | {
        "started_at": started_at,
        "ended_at": datetime.now(UTC),
        "exit_code": exit_code_of(error),
        "error": reason,
        "version": __version__,
    }


def note_run(settings: Settings, run: Mapping[str, Any]) -> None:
    """Append a run to the file; if the file has become long, delete its first half."""
    path = _path(settings)
    if path.exists() and path.stat().st_size > _MOST_BYTES:
        lines = path.read_bytes().splitlines(keepends=True)
        write_whole(path, b"".join(lines[len(lines) // 2 :]))
    line = json.dumps({"destination": settings.destination, **run}, default=datetime.isoformat).encode()
    with path.open("ab+") as file:
        if file.tell():
            # If a full disk cut the last line short, this run needs a new one.
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        file.write(line + b"\n")


def note_death(settings: Settings) -> None:
    """Append the last run if it did not record its end, because it was killed; the caller holds the lock."""
    with suppress(OSError, ValueError, TypeError, LookupError):
        last = json.loads(settings.last_run_path.read_text("utf-8"))
        if last["exit_code"] is None:
            started_at = datetime.fromisoformat(last["started_at"])
            dead = dict.fromkeys(RUNS.names) | {"started_at": started_at, "error": last["error"]}
            note_run(settings, dead | {"destination": last["destination"]})


def forget_runs(settings: Settings, limit: datetime) -> None:
    """Delete the runs that began before `limit` from the file."""
    with suppress(FileNotFoundError):
        lines = _path(settings).read_bytes().splitlines(keepends=True)
        write_whole(_path(settings), b"".join(line for line in lines if not _is_before(line, limit)))


def _is_before(line: bytes, limit: datetime) -> bool:
    with suppress(ValueError, TypeError, KeyError):
        return datetime.fromisoformat(json.loads(line)["started_at"]) < limit
    return False


def rename_failures(settings: Settings, account: str, name: str | None) -> None:
    """Rename an account in the failures of the file; if `name` is None, delete its failures. Raises OSError."""

    def rename(line: bytes) -> bytes:
        try:
            run = json.loads(line)
            failures = rename_entries(run["failures"], account, name)
            return line if failures == run["failures"] else json.dumps(run | {"failures": failures}).encode() + b"\n"
        except (ValueError, TypeError, LookupError):
            return line

    with suppress(FileNotFoundError):
        lines = _path(settings).read_bytes().splitlines(keepends=True)
        write_whole(_path(settings), b"".join(map(rename, lines)))


def store_runs(settings: Settings, connection: duckdb.DuckDBPyConnection, run: Mapping[str, Any]) -> None:
    """Add this run, and the logged runs into the same destination, to the table `runs` of the connection."""
    report_tables.write_runs(connection, [*_read(settings), run])


def _read(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the logged runs into this destination; lines that are not valid are skipped."""
    with suppress(OSError):
        for line in _path(settings).read_bytes().splitlines():
            with suppress(ValueError):
                run = msgspec.structs.asdict(msgspec.json.decode(line, type=_Line))
                if run["destination"] == settings.destination:
                    yield run


def _path(settings: Settings) -> Path:
    return settings.state_dir / "runs.jsonl"
