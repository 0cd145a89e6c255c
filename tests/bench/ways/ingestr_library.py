"""ingestr's library: ingestr_library.py rows | arrow."""

import sys
from functools import partial

import ingestr  # type: ignore[import-not-found]
from fetched import fetch, fetch_rows  # type: ignore[import-not-found]

load = partial(ingestr.ingest, dest_uri="duckdb:///current.duckdb", dest_table="main.sip_trunks")
load(fetch() if sys.argv[1] == "arrow" else fetch_rows())
