"""The pipeline that dlt's documentation leads to: dlt_rest_api.py duckdb|filesystem merge|replace [FILE_FORMAT].

All settings are dlt's defaults; FILE_FORMAT is the one that its page on performance tells to try. It merges no plain
files, so that `filesystem` goes with `replace`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.rest_api import rest_api_source

if TYPE_CHECKING:
    from dlt.common.destination import TLoaderFileFormat
    from dlt.common.schema.typing import TWriteDisposition


def load(destination: str, disposition: TWriteDisposition, file_format: TLoaderFileFormat | None = None) -> None:
    """Load the trunks; raises what dlt raises."""
    source = rest_api_source(
        {
            "client": {
                "base_url": os.environ["BENCH_BASE_URL"],
                "auth": {"type": "bearer", "token": os.environ["BENCH_TOKEN"]},
            },
            "resources": [
                {
                    "name": "sip_trunks",
                    "primary_key": "id",
                    "write_disposition": disposition,
                    "endpoint": {
                        "path": "user/phone-numbers/sip-trunks",
                        "data_selector": "data",
                        "paginator": "single_page",
                    },
                }
            ],
        }
    )
    target: Any = dlt.destinations.duckdb("current.duckdb")
    if destination == "filesystem":
        target = dlt.destinations.filesystem(Path("lake").absolute().as_uri())
    pipeline = dlt.pipeline("plain", destination=target, dataset_name="famulor")
    # None is dlt's own default here, and missing from its annotation.
    load_info = pipeline.run(source, loader_file_format=file_format)  # type: ignore[arg-type]
    load_info.raise_on_failed_jobs()


if __name__ == "__main__":
    load(*sys.argv[1:])  # type: ignore[arg-type]  # the bench passes what dlt knows
