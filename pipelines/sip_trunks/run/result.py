"""The result of a run: as values for `--json`, and as lines for a user."""

import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sip_trunks.core.errors import name_some
from sip_trunks.core.settings import DEMO_ACCOUNT, Settings
from sip_trunks.warehouse.state import SeenDrift, StoredAccount
from trunk_transforms.audit.needed_columns import list_blind_rules

_MOST_DRIFT_LINES = 8
_MOST_FAILURES = 10
_MOST_ACCOUNTS = 5


@dataclass(frozen=True)
class AccountResult:
    """The result of a run for one account.

    `loaded`: the snapshot was stored. `unchanged`: the response was unchanged and was recorded as an observation.
    `failed`: the stored data of the account was not changed, and `error` is the reason. `assignments_error` is the
    reason that no assignments were stored with the trunks; None if they were, or were not asked for.
    """

    account: str
    status: Literal["loaded", "unchanged", "failed"]
    trunk_count: int | None = None
    new_count: int | None = None
    changed_count: int | None = None
    removed_count: int | None = None
    drift_count: int | None = None
    drift: tuple[SeenDrift, ...] = ()
    error: str | None = None
    exit_code: int = 0
    assignments_error: str | None = None


@dataclass(frozen=True)
class RuleFindings:
    """The open findings of a rule with a severity, one per trunk, and their causes; and what this snapshot opened.

    `new_count` are the findings that are news. Their causes are either new as well (`new_cause_count`) or were known
    (`known_cause_count`, with `added_count` of the new findings). `new_rule_count` are the findings that a new release
    opened, which are no news about the account.
    """

    severity: str
    rule: str
    finding_count: int
    new_count: int
    cause_count: int = 0
    new_cause_count: int = 0
    known_cause_count: int = 0
    added_count: int = 0
    new_rule_count: int = 0


@dataclass(frozen=True)
class RunResult:
    """The result and the times of a run; `snapshot_at` is its time in the history (UTC).

    `findings` is None if they are unknown: without reports, or if nothing was stored. `stored` has the last observation
    of each account before the run, and `interrupted` the results of runs that were killed after they had published.
    `--json` does not print these two.
    """

    accounts: tuple[AccountResult, ...]
    destination: str
    warehouse: str
    snapshot_at: datetime | None
    started_at: datetime
    duration_seconds: float
    report_error: str | None
    exit_code: int
    warnings: tuple[str, ...] = ()
    findings: tuple[RuleFindings, ...] | None = None
    stored: Mapping[str, StoredAccount] = field(default_factory=dict, repr=False)
    interrupted: tuple["RunResult", ...] = field(default=(), repr=False)

    @property
    def ended_at(self) -> datetime:
        """The end of the run (UTC)."""
        return self.started_at + timedelta(seconds=self.duration_seconds)

    @property
    def errors(self) -> list[str]:
        """The errors without account names, with the number of accounts if there are several; most frequent first."""
        counts = Counter(without_name(entry.error, entry.account) for entry in self.accounts if entry.error)
        lines = [f"{count} accounts: {error}" if count > 1 else error for error, count in counts.most_common()]
        return [*lines[:_MOST_FAILURES], *([self.report_error] if self.report_error else [])]

    @property
    def totals(self) -> dict[str, int | None]:
        """The counts of all accounts that did not fail, by name; None if every account failed."""
        names = ("trunk_count", "new_count", "changed_count", "removed_count", "drift_count")
        done = [entry for entry in self.accounts if entry.status != "failed"]
        return {name: sum(getattr(entry, name) or 0 for entry in done) if done else None for name in names}

    def count_findings(self, severity: str | None = None, counted: str = "finding_count") -> int | None:
        """Return the number of findings of a severity (default: all), or another sum; None if it is unknown."""
        if self.findings is None:
            return None
        counts: list[int] = [getattr(f, counted) for f in self.findings if severity in (None, f.severity)]
        return sum(counts)

    @property
    def failures(self) -> list[str]:
        """The errors, one line for all accounts with the same error; the error of the reports is the last."""
        lines = describe_failures((entry.account, entry.error) for entry in self.accounts if entry.error)
        if self.report_error:
            lines.append(f"the trunks are stored, but not the reports: {self.report_error}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain values, except for `stored` and `interrupted`."""

        def as_plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
            return {name: format_moment(item) if isinstance(item, datetime) else item for name, item in items}

        values = asdict(replace(self, stored={}, interrupted=()), dict_factory=as_plain)
        del values["stored"], values["interrupted"]
        return values


def without_name(error: str, account: str) -> str:
    """Return an error without the name of an account."""
    for phrase in (f" of account {account!r}", f" --account {account}"):
        error = error.replace(phrase, "")
    return with_name(error, account, "…")


def with_name(text: str, account: str, name: str) -> str:
    """Return a text with another name in place of the name of an account."""
    return re.sub(rf"(?<![\w.-]){re.escape(account)}(?![\w-])", name, text)


def rename_entries(entries: Iterable[Mapping[str, Any]], old: str, new: str | None) -> list[Mapping[str, Any]]:
    """Return results of accounts, as plain values, with an account renamed; without it if `new` is None."""
    kept = []
    for entry in entries:
        if entry["account"] != old:
            kept.append(entry)
        elif new:
            drift = {"drift": [{**seen, "account": new} for seen in entry["drift"]]} if "drift" in entry else {}
            kept.append(
                {**entry, **drift, "account": new, "error": entry["error"] and with_name(entry["error"], old, new)}
            )
    return kept


def describe_failures(failed: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for each error, with the accounts that failed with it; only the first ones if there are many."""
    accounts_by_error: dict[str, list[str]] = defaultdict(list)
    for account, error in failed:
        accounts_by_error[error].append(account)
    lines = [f"{name_some(names)}: {error}" for error, names in accounts_by_error.items()]
    rest = sum(map(len, [*accounts_by_error.values()][_MOST_FAILURES:]))
    more = [f"… and {rest} more accounts failed: state/last_run.json has all"] if rest else []
    return lines[:_MOST_FAILURES] + more


def format_moment(moment: datetime) -> str:
    """Return the time in ISO 8601 with microseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def print_result(settings: Settings, result: RunResult) -> None:
    """Print the result, an overview of the stored trunks, and commands to try next."""
    from sip_trunks.destinations import open_destination
    from sip_trunks.reporting.terminal import print_overview
    from sip_trunks.warehouse import report_tables

    if len(result.accounts) <= _MOST_ACCOUNTS:
        for account in result.accounts:
            _print_account(account)
    else:
        _print_accounts(result)
    if result.snapshot_at is None:
        return
    print(f"warehouse  {result.warehouse}")
    if settings.page_path.exists():
        print(f"page       {settings.page_path}")
    print(f"took       {result.duration_seconds:.1f} s\n")
    destination = open_destination(settings)
    with destination.reading(()) as connection:
        overview = report_tables.read_report(connection, "overview")
    if overview:
        print_overview(overview[1])
        print()
    query = 'sql "FROM sip_trunk_changes ORDER BY observed_at DESC LIMIT 9"'
    commands = (query, "audit", "report counts --by country_code", "status")
    lines = [f"{command}{settings.destination_option}" for command in commands]
    if destination.alternative:
        demo = " --demo" if [account.account for account in result.accounts] == [DEMO_ACCOUNT] else ""
        lines.append(f"run{demo} --destination {destination.alternative}")
    print("try next", *(f"  {_program()} {line}" for line in lines), sep="\n")


def _program() -> str:
    """Return the name of this program if the shell finds it, else its path."""
    here = Path(sys.argv[0]).absolute()
    if here.name != "sip-trunks" or shutil.which("sip-trunks") == str(here):
        return "sip-trunks"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def _print_account(account: AccountResult) -> None:
    print(f"account    {account.account}")
    if account.status == "failed":
        print(f"failed     {account.error}")
        return
    if account.status == "unchanged":
        print(f"trunks     {account.trunk_count}: the response is unchanged")
    else:
        print(
            f"trunks     {account.trunk_count}: {account.new_count} new, {account.changed_count} changed, "
            f"{account.removed_count} removed since the last run"
        )
    print(f"drift      {account.drift_count or 'none'}")
    for entry in account.drift[:_MOST_DRIFT_LINES]:
        since = f", since {entry.first_seen_at:%Y-%m-%d}" if entry.first_seen_at < entry.last_seen_at else ""
        records = "1 record" if entry.row_count == 1 else f"{entry.row_count} records"
        print(f"           {entry.column_name}: {entry.detail} ({entry.kind}, {records}{since})")
    if len(account.drift) > _MOST_DRIFT_LINES:
        print(f"           … and {len(account.drift) - _MOST_DRIFT_LINES} more: sip-trunks drift")
    _print_blind_rules([account])


def _print_accounts(result: RunResult) -> None:
    """Print a summary of many accounts; the failed ones are named on standard error."""
    counts = Counter(entry.status for entry in result.accounts)
    summary = ", ".join(f"{counts[status]} {status}" for status in ("loaded", "unchanged", "failed") if counts[status])
    print(f"accounts   {len(result.accounts)}: {summary}")
    trunks, new, changed, removed, drift = result.totals.values()
    if trunks is None:
        return
    print(f"trunks     {trunks}: {new} new, {changed} changed, {removed} removed since the last run")
    drifting = [entry.account for entry in result.accounts if entry.drift_count]
    print(f"drift      {f'{drift} ({name_some(drifting)}): sip-trunks drift' if drift else 'none'}")
    _print_blind_rules(result.accounts)


def _print_blind_rules(accounts: Sequence[AccountResult]) -> None:
    """Print the rules of the audit that find nothing, because the API no longer sends a column for any trunk."""
    missing = dict.fromkeys(
        entry.column_name
        for account in accounts
        for entry in account.drift
        if entry.kind == "missing_column" and entry.row_count >= (account.trunk_count or 0)
    )
    if rules := list_blind_rules(missing):
        verb = "is" if len(missing) == 1 else "are"
        print(f"rules      {', '.join(rules)} find nothing: {', '.join(missing)} {verb} missing")
