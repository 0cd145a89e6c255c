"""What deploy/dagster does in a process that has Dagster: its jobs, one after the other, as one JSON object.

The arguments are what the accounts' tokens are answered with: it prints what each run of the schedule came to.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy" / "dagster"))

import dagster as dg
import definitions


def load(instance: Any) -> dict[str, Any]:
    """Do what the schedule asks for, and return what came of it."""
    repository = definitions.defs.get_repository_def()
    tick = definitions.every_hour.evaluate_tick(dg.build_schedule_context(instance, repository_def=repository))
    (request,) = tick.run_requests
    job = definitions.defs.resolve_job_def("load_trunks")
    done = job.execute_in_process(instance=instance, tags=request.tags, raise_on_error=False)
    records = [
        record
        for spec in definitions.SPECS
        for record in instance.fetch_materializations(spec.key, limit=100).records
        if record.run_id == done.run_id
    ]
    found = [record.asset_materialization for record in records]
    failures = [event.event_specific_data.user_failure_data for event in done.all_events if event.is_step_failure]
    return {
        "success": done.success,
        "loaded": sorted([entry.asset_key.path[-1], entry.partition] for entry in found),
        "trunk_counts": [entry.metadata["trunk_count"].value for entry in found],
        "failures": [failure.description for failure in failures],
        "retries": sum(event.is_step_up_for_retry for event in done.all_events),
    }


def is_fresh(instance: Any) -> bool:
    """Return what the freshness check says."""
    done = definitions.defs.resolve_job_def("check_trunks").execute_in_process(instance=instance)
    (evaluation,) = done.get_asset_check_evaluations()
    return bool(evaluation.passed)


logging.disable(logging.CRITICAL)
with dg.DagsterInstance.ephemeral() as instance:
    print(
        json.dumps(
            {
                "assets": sorted(spec.key.path for spec in definitions.SPECS),
                "kinds": sorted(definitions.SPECS[0].kinds),
                "fresh_before": is_fresh(instance),
                "first": load(instance),
                "fresh_after": is_fresh(instance),
                "second": load(instance),
                "retried": [code for code in range(1, 11) if definitions.failure([""], {code}).allow_retries],
                "policy": definitions.trunks.op.retry_policy.max_retries,
            }
        )
    )
