"""The inputs of every report: stored frames and options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import pandas as pd

from trunk_transforms.audit.coverage import measure_coverage
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.finding_log import continue_lives, with_ages
from trunk_transforms.audit.office_hours import OfficeHours
from trunk_transforms.audit.past import RECENT, Past
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.rule import Rule
from trunk_transforms.audit.suppressions import Suppression, suppress
from trunk_transforms.enrich.assistants import with_use
from trunk_transforms.enrich.countries import derive_country_name
from trunk_transforms.enrich.numbers import derive_numbers
from trunk_transforms.enrich.providers import Providers, default_providers, derive_provider
from trunk_transforms.history.freshness import derive_freshness
from trunk_transforms.history.growth import Period, derive_growth, list_fitting_periods
from trunk_transforms.reports.counts import count_groups, count_trunks, rank_groups
from trunk_transforms.reports.masking import mask_assistants, mask_changes, mask_columns, mask_findings
from trunk_transforms.reports.overview import derive_accounts, derive_overview
from trunk_transforms.reports.unanswered import derive_unanswered
from trunk_transforms.schema.assignments import UNANSWERED
from trunk_transforms.schema.findings import FIXED_FINDINGS
from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY, DERIVED
from trunk_transforms.schema.tables import SIP_TRUNKS

_DECLARED = {column.name for column in SIP_TRUNKS.columns} - {"sip_address", "allowed_inbound_ips"}

LOGGED_DAYS = RECENT.days
"""The days of changes that a run publishes."""

FIXED_SINCE = timedelta(days=7)
"""How long a fixed finding is reported."""


@dataclass(frozen=True)
class Options:
    """The options of reports; all moments are UTC.

    `as_of` is the time of the state to report on; with `is_past`, the trunks are those of the history at that time,
    instead of the current ones. With `is_log`, the changes are every step of the last `LOGGED_DAYS`
    days, instead of the difference between `since` and `as_of`. `accounts` are the configured accounts; `only` has the
    accounts to report on, all if it is empty. `period` is the step of the growth; default: a month, and on the page
    the step that fits.
    """

    as_of: datetime
    is_past: bool = False
    since: datetime | None = None
    by: Sequence[str] = BY_FORMAT_AND_COUNTRY
    period: Period | None = None
    accounts: Sequence[str] = ()
    expected_interval_seconds: float | None = None
    providers: Providers = field(default_factory=default_providers)
    rules: Sequence[Rule] = tuple(RULES.values())
    suppressions: Sequence[Suppression] = ()
    office_hours: OfficeHours | None = None
    is_log: bool = False
    is_masked: bool = False
    only: Sequence[str] = ()

    @property
    def changed_since(self) -> datetime | None:
        """The moment from which changes count; None stands for each account's last snapshot but one."""
        return self.as_of - timedelta(days=LOGGED_DAYS) if self.is_log else self.since


@dataclass(frozen=True)
class ReportInputs:
    """The stored frames as of `options.as_of`, and every report that follows from them.

    `tables` has the frames that `tables_needed` names: `trunks` (current state), `lifetimes` (rows of the history),
    `changes` (rows of `CHANGES`), `changed_trunks` (their trunks, and those of which only drift changed) and
    `observations` (`sip_trunk_snapshots`). `findings_history` and `audited_rules`, which runs have stored, are
    optional, as are the frames of `Past`: `recent_versions`, `recent_changes` and `credentials`; and `assignments`, by
    account and trunk. Count reports accept `groups` in place of `trunks`: the number of trunks, `trunk_count`, per
    combination of the columns to count by, or of their base columns.
    """

    tables: Mapping[str, pd.DataFrame]
    options: Options

    @cached_property
    def trunks(self) -> pd.DataFrame:
        """The trunks with every derived column. Grain: one row per (account, id)."""
        return self._with(self.tables["trunks"], DERIVED)

    def _with(self, trunks: pd.DataFrame, names: Sequence[str] | Mapping[str, object]) -> pd.DataFrame:
        if {"number_kind", "normalized_number", "calling_code"} & set(names):
            trunks = derive_numbers(trunks)
        if "provider" in names:
            trunks = derive_provider(trunks, self.options.providers)
        return derive_country_name(trunks) if "country_name" in names else trunks

    def _only(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the accounts to report on."""
        only = self.options.only
        return frame.loc[frame["account"].isin(only)].reset_index(drop=True) if only else frame

    def count(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the number of trunks per combination of these columns, with country names next to country codes."""
        if "groups" in self.tables:
            return self._present(rank_groups([self._with(self._only(self.tables["groups"]), by)], by), by)
        # Reuse the columns derived for the audit; for a count alone, derive only the columns that it needs.
        derived = self.trunks if "trunks" in vars(self) else self._with(self.tables["trunks"], by)
        return self._present(count_trunks(self._only(derived), by), by)

    def _present(self, counts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
        if "country_code" in by and "country_name" not in by:
            counts = derive_country_name(counts)
        return mask_columns(counts, set(by) - set(_DECLARED) - set(DERIVED)) if self.options.is_masked else counts

    def count_groups(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the number of trunks per combination of these columns, for `rank_groups`."""
        return count_groups(self._with(self._only(self.tables["trunks"]), by), by)

    @cached_property
    def growth(self) -> pd.DataFrame:
        """The number of trunks per period."""
        return self._grow(self.options.period or "month", self.options.since)

    @property
    def fitted_growth(self) -> pd.DataFrame:
        """The growth since the first snapshot in the finest period that fits a chart.

        It is `growth` if a period is asked for, or for an hour after the first snapshot.
        """
        options, seen_at = self.options, self._only(self.tables["observations"])["snapshot_at"]
        first_at = seen_at.min() if options.since is None else options.since
        if options.period or seen_at.empty or options.as_of - first_at < timedelta(hours=1):
            return self.growth
        return self._grow(list_fitting_periods(first_at, options.as_of)[0], first_at)

    def _grow(self, period: Period, since: datetime | None) -> pd.DataFrame:
        stored = [self._only(self.tables[name]) for name in ("lifetimes", "observations")]
        return derive_growth(*stored, as_of=self.options.as_of, since=since, period=period)

    @cached_property
    def unanswered(self) -> pd.DataFrame:
        """The trunks that no assistant answers; none if the assignments are not read."""
        if "assignments" not in self.tables:
            return pd.DataFrame(columns=UNANSWERED.names)
        assignments = self._only(self.tables["assignments"])
        if self.options.is_masked:
            return mask_columns(derive_unanswered(self.tables["trunks"], mask_assistants(assignments)))
        return derive_unanswered(self.tables["trunks"], assignments)

    @cached_property
    def changes(self) -> pd.DataFrame:
        """The changes, by step or between two moments."""
        changes = self._only(self.tables["changes"])
        return mask_changes(changes) if self.options.is_masked else changes

    @property
    def named_changes(self) -> pd.DataFrame:
        """The changes with the nickname of each trunk, the last one if it was removed; null if it is not known."""
        stored = [self.tables[name] for name in ("recent_versions", "trunks") if name in self.tables]
        changed, columns = self.changes["trunk_id"], ["account", "id", "nickname"]
        named = [frame.loc[frame["id"].isin(changed), columns] for frame in stored if "nickname" in frame]
        names = {(account, key): name for frame in named for account, key, name in frame.itertuples(index=False)}
        keys = zip(self.changes["account"], self.changes["trunk_id"], strict=True)
        return self.changes.assign(nickname=pd.Series(map(names.get, keys), self.changes.index, "object"))

    @cached_property
    def freshness(self) -> pd.DataFrame:
        """The age of each account's last snapshot, and missed runs."""
        options = self.options
        return derive_freshness(
            self._only(self.tables["observations"]),
            as_of=options.as_of,
            expected_interval_seconds=options.expected_interval_seconds,
            accounts=options.only or options.accounts,
        )

    @property
    def past(self) -> Past | None:
        """The past of the trunks; None if it was not read."""
        names = ("recent_versions", "recent_changes", "credentials")
        return Past(*(self.tables[name] for name in names)) if self.tables.keys() >= set(names) else None

    def audit(self, rules: Sequence[Rule]) -> pd.DataFrame:
        """Return the findings of these rules, suppressed ones included. Rules compare the trunks of all accounts."""
        options, trunks = self.options, self.trunks
        if len(self.tables.get("assignments", ())):
            trunks = with_use(trunks, self.tables["assignments"])
        findings = audit_trunks(
            trunks,
            providers=options.providers,
            as_of=options.as_of,
            rules=rules,
            past=self.past,
            office_hours=options.office_hours,
        )
        findings = self._only(findings)
        return mask_findings(findings, self.tables["trunks"]) if options.is_masked else findings

    @cached_property
    def _audited(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return suppress(self.audit(self.options.rules), self.options.suppressions, self.options.as_of)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """The findings to act on, with their ages."""
        return with_ages(self._audited[0], self.tables.get("findings_history"))

    @cached_property
    def lives(self) -> pd.DataFrame:
        """The history of findings after one more audit."""
        return continue_lives(
            self.tables.get("findings_history"),
            self.findings,
            self.suppressed,
            trunks=self.tables["trunks"],
            observations=self.tables["observations"],
            audited=self.tables.get("audited_rules"),
            rules=[rule.code for rule in self.options.rules],
        )

    @cached_property
    def fixed(self) -> pd.DataFrame:
        """The findings that were fixed in the last days, the latest first."""
        lives, since = self._only(self.lives), self.options.as_of - FIXED_SINCE
        fixed = lives.loc[(lives["closed_because"] == "fixed") & (lives["closed_at"] > since)]
        fixed = fixed.sort_values("closed_at", ascending=False, kind="stable", ignore_index=True)
        shown = mask_findings(fixed, self.tables["trunks"]) if self.options.is_masked else fixed
        return shown[FIXED_FINDINGS.names]

    @cached_property
    def accounts(self) -> pd.DataFrame:
        """The accounts, the one with the worst finding first."""
        return derive_accounts(self._only(self.tables["trunks"]), self.findings, self.freshness)

    @property
    def suppressed(self) -> pd.DataFrame:
        """The suppressed findings."""
        return self._audited[1]

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """The gaps of the audit: trunks on which its rules are silent, and old facts."""
        options, counts = self.options, self.count(["provider", "sip_address"])
        return measure_coverage(counts, options.providers, options.as_of, options.rules, self.count_known())

    def count_known(self) -> int | None:
        """Return the number of trunks with a history of a year; None if it was not read."""
        return self.past.count_known(self.tables["trunks"]) if self.past else None

    @cached_property
    def overview(self) -> pd.DataFrame:
        """The other reports on one screen."""
        return derive_overview(
            counts=self.count(BY_FORMAT_AND_COUNTRY),
            changes=self.changes,
            changed_count=len(self.tables.get("changed_trunks", ())),
            changed_since=self.options.changed_since,
            findings=self.findings,
            freshness=self.freshness,
        )
