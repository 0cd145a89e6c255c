"""The competitor: the pipeline that dlt's documentation leads to, and nothing else.

`python plain_dlt.py BASE_URL TOKEN duckdb [FILE_FORMAT]` merges the trunks by `id` into `plain.duckdb` in the working
directory. All settings are dlt's defaults; FILE_FORMAT is the one that its page on performance tells to try.
`python plain_dlt.py BASE_URL TOKEN filesystem parquet` replaces them in the folder `lake`: dlt merges no plain files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.rest_api import rest_api_source

if TYPE_CHECKING:
    from dlt.common.destination import TLoaderFileFormat


def load(base_url: str, token: str, destination: str, file_format: TLoaderFileFormat | None = None) -> None:
    """Load the trunks; raises what dlt raises."""
    is_lake = destination == "filesystem"
    source = rest_api_source(
        {
            "client": {"base_url": base_url, "auth": {"type": "bearer", "token": token}},
            "resources": [
                {
                    "name": "sip_trunks",
                    "primary_key": "id",
                    "write_disposition": "replace" if is_lake else "merge",
                    "endpoint": {
                        "path": "user/phone-numbers/sip-trunks",
                        "data_selector": "data",
                        "paginator": "single_page",
                    },
                }
            ],
        }
    )
    target: Any = dlt.destinations.duckdb("plain.duckdb")
    if is_lake:
        target = dlt.destinations.filesystem(Path("lake").absolute().as_uri())
    pipeline = dlt.pipeline("plain_dlt", destination=target, dataset_name="famulor")
    # None is dlt's own default here, and missing from its annotation.
    load_info = pipeline.run(source, loader_file_format=file_format)  # type: ignore[arg-type]
    load_info.raise_on_failed_jobs()


if __name__ == "__main__":
    load(*sys.argv[1:])  # type: ignore[arg-type]  # the bench passes what dlt knows
