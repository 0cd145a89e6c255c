"""By hand: requests, orjson, an Arrow table, DuckDB takes it as it is."""

import duckdb
from fetched import fetch  # type: ignore[import-not-found]

trunks = fetch()
with duckdb.connect("current.duckdb") as connection:
    connection.execute("CREATE TABLE sip_trunks AS FROM trunks")
