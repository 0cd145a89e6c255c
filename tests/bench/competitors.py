"""Who is compared: every way of bringing the trunks into a file, as data.

A way is one or more commands that run one after the other in one folder. What they need to know they find in the
environment: where the answer is (`tests.bench.serving`), and first on their `PATH` the programs of their own
environments (`tests.bench.installed`), or ours. What they stored is checked before a time counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.answer import Moment

NO_REPORTS = ("sip-trunks", "run", "--no-reports")
TO_LAKE = ("--destination", "parquet")

OURS = "sip-trunks run --no-reports"
AGAIN = "sip-trunks run --no-reports, unchanged response"
TOUCHED = "sip-trunks run --no-reports, 1 % changed"
OUR_REPORTS = "sip-trunks run, with all reports"
OUR_LAKE = "sip-trunks run --no-reports, Parquet lake"
LAKE_AGAIN = "sip-trunks run --no-reports, Parquet lake, unchanged response"
HASH = "curl and sha256sum, nothing stored"
FLOOR = "curl + DuckDB, a bare array"
OBJECT = "curl + DuckDB, the object"
MSGSPEC = "requests + msgspec + DuckDB"
ORJSON = "requests + orjson + pyarrow + DuckDB"
DLT_ARROW = "dlt, an Arrow table made by hand"
MERGE = "dlt rest_api, merge"
MERGE_PARQUET = "dlt rest_api, merge, by Parquet files"
REPLACE = "dlt rest_api, replace"
REPLACE_PARQUET = "dlt rest_api, replace, by Parquet files"
DLT_LAKE = "dlt rest_api to a folder of Parquet files"
SINGER = "Singer: tap-rest-api-msdk, target-duckdb"
SINGER_PARQUET = "Singer: tap-rest-api-msdk, target-parquet"
AIRBYTE = "PyAirbyte, declarative manifest"
SLING = "curl + sling"
INGESTR = "curl + ingestr, a bare array"
INGESTR_ROWS = "ingestr's library, rows"
INGESTR_ARROW = "ingestr's library, an Arrow table made by hand"

EVERYTHING = "current table, history, allowlists, drift, publishing"
CURRENT = "current table"
NOT_THE_RESPONSE = "the API sends no bare array"
CURRENT_CHILD = "current table, allowlists"
UNCHANGED = "one observation"


@dataclass(frozen=True)
class Run:
    """One command, and which answer it finds."""

    label: str
    command: tuple[str, ...]
    does: str = CURRENT
    moment: Moment = Moment.FIRST


@dataclass(frozen=True)
class Way:
    """Commands in one folder; what they leave is at `place` in it, in a layout that `tests.bench.stored` knows.

    Everything else that they leave is in the first part of `place`, too. Without a layout they print a hash.
    """

    runs: tuple[Run, ...]
    environments: tuple[str, ...] = ()
    place: str = "current.duckdb"
    layout: str = "one table"
    note: str = ""


def by_script(label: str, command: str, *environments: str, layout: str = "one table", note: str = "") -> Way:
    """Return the way of one command that loads the current table into `current.duckdb`; `ways/…` is a script here."""
    does = CURRENT_CHILD if layout == "dlt" else CURRENT
    return Way((Run(label, tuple(command.split()), does),), environments, layout=layout, note=note)


OUR_FILE = Way(
    (
        Run(OURS, NO_REPORTS, EVERYTHING),
        Run(AGAIN, NO_REPORTS, UNCHANGED),
        Run(TOUCHED, NO_REPORTS, EVERYTHING, Moment.TOUCHED),
    ),
    place="data/warehouse.duckdb",
    layout="sip-trunks",
)

WAYS = (
    OUR_FILE,
    Way(
        (Run(OUR_REPORTS, NO_REPORTS[:-1], f"{EVERYTHING}, reports"),),
        place="data/warehouse.duckdb",
        layout="sip-trunks",
    ),
    Way(
        (
            Run(OUR_LAKE, (*NO_REPORTS, *TO_LAKE), EVERYTHING),
            Run(LAKE_AGAIN, (*NO_REPORTS, *TO_LAKE), UNCHANGED),
        ),
        place="data/lake/famulor",
        layout="sip-trunks lake",
    ),
    Way((Run(HASH, ("sh", "ways/hash.sh"), "nothing"),), layout=""),
    by_script(FLOOR, "sh ways/curl_duckdb.sh bare", "floor", note=NOT_THE_RESPONSE),
    by_script(OBJECT, "sh ways/curl_duckdb.sh object", "floor"),
    by_script(MSGSPEC, "python ways/msgspec_duckdb.py", "hand"),
    by_script(ORJSON, "python ways/orjson_arrow.py", "hand"),
    by_script(DLT_ARROW, "python ways/dlt_arrow.py", "dlt", layout="dlt, one table"),
    by_script(MERGE, "python ways/dlt_rest_api.py duckdb merge", "dlt", layout="dlt"),
    by_script(MERGE_PARQUET, "python ways/dlt_rest_api.py duckdb merge parquet", "dlt", layout="dlt"),
    by_script(REPLACE, "python ways/dlt_rest_api.py duckdb replace", "dlt", layout="dlt"),
    by_script(REPLACE_PARQUET, "python ways/dlt_rest_api.py duckdb replace parquet", "dlt", layout="dlt"),
    Way(
        (Run(DLT_LAKE, ("python", "ways/dlt_rest_api.py", "filesystem", "replace", "parquet"), CURRENT_CHILD),),
        ("dlt",),
        place="lake/famulor",
        layout="dlt",
    ),
    by_script(SINGER, "sh ways/singer.sh duckdb", "singer-tap", "singer-duckdb"),
    by_script(SINGER_PARQUET, "sh ways/singer.sh parquet", "singer-tap", "singer-parquet"),
    by_script(AIRBYTE, "python ways/airbyte_duckdb.py", "airbyte"),
    by_script(SLING, "sh ways/sling.sh", "sling"),
    by_script(INGESTR, "sh ways/ingestr.sh file", "ingestr", note=NOT_THE_RESPONSE),
    by_script(INGESTR_ROWS, "sh ways/ingestr.sh rows", "ingestr"),
    by_script(INGESTR_ARROW, "sh ways/ingestr.sh arrow", "ingestr"),
)
