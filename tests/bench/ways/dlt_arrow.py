"""dlt with an Arrow table made by hand, which it normalizes without looking at a row."""

import dlt
from fetched import fetch  # type: ignore[import-not-found]

pipeline = dlt.pipeline("arrow", destination=dlt.destinations.duckdb("current.duckdb"), dataset_name="famulor")
pipeline.run(fetch(), table_name="sip_trunks", write_disposition="replace").raise_on_failed_jobs()
