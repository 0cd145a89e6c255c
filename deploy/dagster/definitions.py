"""The SIP trunks as Dagster assets: one asset per table, one partition per account.

    pip install '.[dagster]'
    dagster dev -f deploy/dagster/definitions.py    # in the folder that holds .dlt

dagster-dlt declares the assets from the product's dlt source. The function behind `sip-trunks run` loads them, because
a dlt pipeline alone would skip the lock, the validation and the atomic publishing. Only one run at a time can use a
data directory, so the schedule loads all accounts in one run, and a pool queues other runs (dagster.yaml).
"""

# No `from __future__ import annotations`: Dagster reads the annotations when it loads this file.
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.dlt_runtime import dlt_environment
from sip_trunks.core.errors import describe_error, exit_code_of
from sip_trunks.core.settings import DEFAULT_ACCOUNT, read_settings
from sip_trunks.operations.status import find_stale, read_status
from sip_trunks.run.result import AccountResult
from sip_trunks.run.run import run
from trunk_transforms import schema

CRON = "7 * * * *"  # choose your own minute, so that not every installation calls the API on the hour
CRON_OF_CHECK = "37 * * * *"
LATE = timedelta(hours=3)
# Errors that may be temporary: the API is unreachable, another run is active, the destination fails.
WORTH_A_RETRY = {4, 6, 7}

# Without a token, the assets are still listed; running them reports that the token is missing.
ACCOUNTS = [account.name for account in read_settings().accounts] or [DEFAULT_ACCOUNT]
PARTITIONS = dg.StaticPartitionsDefinition(ACCOUNTS)


def declare_assets() -> list[dg.AssetSpec]:
    """Return one asset per table, declared by dagster-dlt and named like the table in SQL."""
    settings = read_settings()
    with dlt_environment(settings):
        from dagster_dlt import DagsterDltTranslator
        from dagster_dlt.translator import DltResourceTranslatorData

        from sip_trunks.famulor.source import build_source, merging_snapshots

        source = build_source(lambda _: [], merging_snapshots({schema.TRUNKS: ACCOUNTS}, datetime.now(UTC)))
        grains = {table.name: table.grain for table in schema.TABLES}
        return [
            DagsterDltTranslator()
            .get_asset_spec(DltResourceTranslatorData(resource=resource, pipeline=None))
            .replace_attributes(
                key=["famulor", name],
                deps=["famulor_api"],
                description=grains[name],
                kinds={"dlt", settings.destination},
                freshness_policy=dg.FreshnessPolicy.time_window(fail_window=LATE),
            )
            for name, resource in source.resources.items()
        ]


SPECS = declare_assets()


@dg.multi_asset(
    specs=SPECS,
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL),
    pool="sip_trunks",
)
def trunks(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Load the accounts of this run. If an account fails, the others are still loaded, and the run fails."""
    settings = read_settings()
    try:
        accounts = pick_accounts(settings, list(context.partition_keys))
        result = run(settings, accounts, announce=context.log.info)
    except Exception as error:
        raise failure([describe_error(error)], {exit_code_of(error)}) from None
    loaded = [entry for entry in result.accounts if entry.status != "failed"]
    if result.failures:
        # Dagster discards results that are yielded before a failure, so log the loaded accounts as events.
        for entry in loaded:
            for spec in SPECS:
                context.log_event(dg.AssetMaterialization(spec.key, partition=entry.account, metadata=describe(entry)))
        raise failure(result.failures, {entry.exit_code for entry in result.accounts if entry.error})
    for spec in SPECS:
        for entry in loaded:
            context.add_asset_metadata(describe(entry), asset_key=spec.key, partition_key=entry.account)
        yield dg.MaterializeResult(asset_key=spec.key)


def failure(lines: Sequence[str], codes: set[int]) -> dg.Failure:
    """Return the failure of a run. It may be retried only if one of its errors may be temporary."""
    return dg.Failure("; ".join(lines), {"exit_codes": sorted(codes)}, allow_retries=bool(codes & WORTH_A_RETRY))


def describe(entry: AccountResult) -> dict[str, Any]:
    """Return the result of an account as metadata of its partition."""
    names = ("status", "trunk_count", "new_count", "changed_count", "removed_count", "drift_count")
    return {name: getattr(entry, name) for name in names}


@dg.asset_check(asset=["famulor", schema.SIP_TRUNK_SNAPSHOTS.name])
def every_account_is_fresh() -> dg.AssetCheckResult:
    """Whether every configured account was observed recently, in a run started by Dagster or by anything else."""
    settings = read_settings()
    accounts = read_status(settings)["accounts"]
    late = [entry["account"] for entry in find_stale(settings, accounts, LATE.total_seconds())]
    ages = {entry["account"]: entry["age_seconds"] for entry in accounts}
    return dg.AssetCheckResult(passed=bool(accounts) and not late, metadata={"late": late, "age_seconds": ages})


load_trunks = dg.define_asset_job("load_trunks", dg.AssetSelection.assets(trunks).without_checks())
check_trunks = dg.define_asset_job("check_trunks", dg.AssetSelection.checks(every_account_is_fresh))


@dg.schedule(job=load_trunks, cron_schedule=CRON)
def every_hour() -> dg.RunRequest:
    """Load all accounts in one run."""
    tags = {"dagster/asset_partition_range_start": ACCOUNTS[0], "dagster/asset_partition_range_end": ACCOUNTS[-1]}
    return dg.RunRequest(tags=tags)


defs = dg.Definitions(
    assets=[trunks],
    asset_checks=[every_account_is_fresh],
    jobs=[load_trunks, check_trunks],
    schedules=[every_hour, dg.ScheduleDefinition(job=check_trunks, cron_schedule=CRON_OF_CHECK)],
)
