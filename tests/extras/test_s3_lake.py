"""The lake in a store: an S3 server on loopback, uploads that fail, credentials that are missing, and their errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any

import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support import story
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.lakes import ROWS, VERSION
from tests.support.past import store
from tests.support.runs import COMMAND, PATIENCE_SECONDS, TOKEN, call, load
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.api import Api

KEY, SECRET = "AKIAEXAMPLE", "s3cr3t/of-the-store"
CREDENTIALS = "DESTINATION__FILESYSTEM__CREDENTIALS__"
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
POINTER = "famulor.json"


class Store:
    """An S3 server that notes its uploads and can refuse them: `before_upload` may return False."""

    def __init__(self) -> None:
        self.before_upload: Callable[[str], bool] = lambda _: True
        self.is_closed_to_all = False
        self.uploads: list[str] = []
        # Uploads come several at a time; what a test decides by their number, it decides for one after the other.
        deciding = threading.Lock()
        backend = DomainDispatcherApplication(create_backend_app)

        def respond(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            is_refused = self.is_closed_to_all
            if environ["REQUEST_METHOD"] == "PUT" and not is_refused:
                with deciding:
                    is_refused = not self.before_upload(environ["PATH_INFO"])
                    if not is_refused:
                        self.uploads.append(environ["PATH_INFO"])
            if is_refused:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                body = b"" if environ["REQUEST_METHOD"] == "HEAD" else REFUSAL
                start_response(
                    "403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
                )
                return [body]
            response: Iterable[bytes] = backend(environ, start_response)
            return response

        class Quiet(WSGIRequestHandler):
            def log_request(self, *_: Any) -> None:
                """A request is nothing to report."""

        self._server = make_server("127.0.0.1", 0, respond, threaded=True, request_handler=Quiet)
        self._server.daemon_threads = True  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def files(self) -> Any:
        """The store as fsspec sees it, without a memory of what it was."""
        found = fsspec.filesystem("s3", key=KEY, secret=SECRET, endpoint_url=self.url)
        found.invalidate_cache()
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


NUMBERS = count(1)


@pytest.fixture(autouse=True)
def lake(place: Path, server: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the lake will be: `bucket/lake` in a bucket of its own."""
    server.before_upload, server.is_closed_to_all = lambda _: True, False
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # Whether this machine is one of Amazon's is not to be asked.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = f"bucket-{next(NUMBERS)}"
    server.files.mkdir(bucket)
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    monkeypatch.setenv("SIP_TRUNKS__LAKE", f"s3://{bucket}/lake")
    monkeypatch.setenv(f"{CREDENTIALS}AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv(f"{CREDENTIALS}AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv(f"{CREDENTIALS}ENDPOINT_URL", server.url)
    return f"{bucket}/lake"


def query(*queries: str) -> list[list[tuple[Any, ...]]]:
    """Return the rows of each query, all from one connection: to open one is what takes its time."""
    tables = [
        table.name for table in (*schema.REQUIRED_TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS) if table.name in str(queries)
    ]
    with open_destination(read_settings()).reading(tables) as connection:
        return [connection.execute(sql).fetchall() for sql in queries]


def version_and_rows() -> list[list[tuple[Any, ...]]]:
    return query("SELECT country_code FROM sip_trunks ORDER BY id", f"SELECT count(*) FROM {ROWS}")


def pointer(server: Store, lake: str) -> str:
    return str(json.loads(server.files.cat_file(f"{lake}/{POINTER}"))["version"])


def objects(server: Store, lake: str) -> dict[str, bytes]:
    files = server.files
    return {str(path).removeprefix(f"{lake}/"): files.cat_file(path) for path in files.find(lake)}


def assert_nothing_left_over(server: Store, lake: str) -> None:
    newest, names = pointer(server, lake), list(objects(server, lake))
    assert max(name.split("/")[1] for name in names if name.startswith("versions/")) == newest
    (observations,) = query("SELECT snapshot_at FROM sip_trunk_snapshots")
    moments = {f"{moment:{VERSION}}" for (moment,) in observations}
    assert {name.split("/")[-1].removesuffix(".parquet") for name in names if name.startswith(ROWS)} <= moments


def test_a_store_is_written_and_read_as_a_folder_is(api: Api, server: Store, lake: str) -> None:
    responses = [[TRUNK, IP_TRUNK], [TRUNK | {"country_code": "DE", "zz_limits": {"a": 1}}, IP_TRUNK, trunk(id=5)]]
    assert "nothing is stored yet at s3://" in call("sql", "FROM sip_trunks", code=2)
    api.answer(responses[0])
    first = load()
    before = objects(server, lake)
    api.answer(responses[1])
    second = load(with_reports=True)
    third = load(with_reports=True)
    assert [outcome.accounts[0].status for outcome in (first, second, third)] == ["loaded", "loaded", "unchanged"]
    after = objects(server, lake)
    assert {name: after.get(name) for name in before if name != POINTER} | {POINTER: before[POINTER]} == before

    history, rows, observations, invented, counts, *sizes = query(
        "SELECT id, country_code, valid_from, valid_to FROM sip_trunks_history ORDER BY ALL",
        f"SELECT snapshot_at, count(*) FROM {ROWS} GROUP BY ALL ORDER BY ALL",
        "SELECT is_unchanged FROM sip_trunk_snapshots ORDER BY snapshot_at",
        "SELECT zz_limits FROM sip_trunks WHERE id = 42",
        "SELECT sum(trunk_count) FROM reports.counts",
        *(f"SELECT count(*) FROM {table.name}" for table in schema.REQUIRED_TABLES),
    )
    assert history == [
        (5, "US", second.snapshot_at, None),
        (42, "DE", second.snapshot_at, None),
        (42, "US", first.snapshot_at, second.snapshot_at),
        (43, "US", first.snapshot_at, None),
    ]
    assert rows == [(first.snapshot_at, 2), (second.snapshot_at, 3)]
    assert observations == [(False,), (False,), (True,)]
    assert (invented, counts) == ([('{"a":1}',)], [(3,)])
    status = json.loads(call("status", "--json"))
    assert (status["destination"], status["warehouse"]) == ("parquet", f"s3://{lake}")
    assert status["warehouse_bytes"] > 1000
    assert status["accounts"][0]["trunk_count"] == 3
    assert sum(row["trunk_count"] for row in json.loads(call("report", "counts", "--format", "json"))) == 3
    assert "zz_limits" in call("drift")

    version = f"{lake}/versions/{pointer(server, lake)}"
    storage = {"key": KEY, "secret": SECRET, "endpoint_url": server.url}
    for table, ((size,),) in zip(schema.REQUIRED_TABLES, sizes, strict=True):
        found = ds.dataset(f"{version}/{table.name}", filesystem=server.files, format="parquet")
        assert found.count_rows() == size
        assert len(pd.read_parquet(f"s3://{version}/{table.name}", storage_options=storage)) == size
        declared = table.full_arrow_schema()
        assert [found.schema.field(name).type for name in declared.names] == declared.types
    options = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_endpoint_url": server.url}
    options |= {"aws_region": "us-east-1", "aws_allow_http": "true"}
    trunks = pl.read_parquet(f"s3://{version}/sip_trunks/*.parquet", storage_options=options)
    assert sorted(trunks["id"]) == [5, 42, 43]
    newest = sorted(server.files.find(f"{lake}/{ROWS}"))
    all_rows = ds.dataset(newest, ds.dataset(newest[-1], filesystem=server.files).schema, filesystem=server.files)
    assert sorted(all_rows.to_table()["zz_limits"].to_pylist(), key=str) == [None] * 4 + ['{"a":1}']


def test_a_failed_upload_keeps_the_previous_version(api: Api, server: Store, lake: str) -> None:
    api.answer([TRUNK, IP_TRUNK])
    load()
    before = objects(server, lake)
    api.answer([TRUNK | {"country_code": "DE"}, IP_TRUNK])
    for allowed in (4, 99):
        server.uploads.clear()

        def before_upload(path: str, most: int = allowed) -> bool:
            return len(server.uploads) < most and not path.endswith(POINTER)

        server.before_upload = before_upload
        assert call("run", code=7).startswith("sip-trunks: ")
        assert len(server.uploads) == allowed if allowed < 9 else len(server.uploads) > 5
        after = objects(server, lake)
        assert {name: after.get(name) for name in before} == before
        assert version_and_rows() == [[("US",), ("US",)], [(2,)]]
    server.before_upload = lambda _: True
    assert load().exit_code == 0
    assert version_and_rows() == [[("DE",), ("US",)], [(4,)]]
    assert_nothing_left_over(server, lake)


def test_a_run_killed_during_its_upload_keeps_the_previous_version(api: Api, server: Store, lake: str) -> None:
    api.answer([TRUNK, IP_TRUNK])
    load()
    api.answer([TRUNK, IP_TRUNK, trunk(id=5)])
    server.uploads.clear()
    process: list[subprocess.Popen[bytes]] = []

    def before_upload(_: str) -> bool:
        if len(server.uploads) == 4:
            process[0].kill()
        return len(server.uploads) < 4

    server.before_upload = before_upload
    process.append(subprocess.Popen([COMMAND, "run", "--no-reports"], stderr=subprocess.DEVNULL))
    assert process[0].wait(PATIENCE_SECONDS) == -9
    assert version_and_rows() == [[("US",), ("US",)], [(2,)]]
    status = json.loads(call("status", "--json"))
    assert status["is_work_pending"] is True
    assert status["last_run"]["error"] == "did not end"
    server.before_upload = lambda _: True
    load()
    assert version_and_rows() == [[("US",)] * 3, [(5,)]]
    assert_nothing_left_over(server, lake)


def test_versions_that_were_followed_over_an_hour_ago_are_removed_from_a_store(
    api: Api, server: Store, lake: str
) -> None:
    api.answer([TRUNK])
    load()
    files, version = server.files, pointer(server, lake)
    now = datetime.now(UTC)
    old, before = (f"{now - age:{VERSION}}" for age in (timedelta(hours=3), timedelta(hours=2)))
    for name in (old, before):
        files.copy(f"{lake}/versions/{version}/", f"{lake}/versions/{name}/", recursive=True)
    load()
    names = {str(path).rpartition("/")[2] for path in server.files.ls(f"{lake}/versions", detail=False)}
    assert names == {before, version, pointer(server, lake)}


def test_sql_reads_nothing_but_the_lake(api: Api, server: Store, lake: str, place: Path) -> None:
    api.answer([TRUNK])
    load()
    bucket = lake.partition("/")[0]
    server.files.mkdir(f"{bucket}-of-others")
    (place / "own.csv").write_text("a\n1\n")
    for path in (f"{bucket}-of-others/x.csv", f"{bucket}/x.csv", f"{bucket}/lake-of-others/x.csv"):
        server.files.pipe_file(path, b"a\n1\n")
    before = objects(server, bucket)
    assert "expected a query" in call("sql", f"COPY (SELECT 1) TO 's3://{lake}/new.parquet'", code=2)
    with open_destination(read_settings()).reading([schema.SCHEMA_DRIFT.name]) as connection:
        for sql in (
            "FROM read_text('/etc/passwd')",
            "FROM read_text('file:///etc/passwd')",
            f"FROM read_csv('{place}/own.csv')",
            "FROM glob('/etc/*')",
            "FROM read_text('https://127.0.0.1:1/')",
            "SET disabled_filesystems = ''",
            f"FROM read_csv('s3://{bucket}-of-others/x.csv')",
            f"FROM read_csv('s3://{bucket}/x.csv')",
            f"FROM read_csv('s3://{bucket}/lake-of-others/x.csv')",
            f"FROM read_csv('s3://{lake}/../x.csv')",
        ):
            with pytest.raises((duckdb.Error, OSError)):  # noqa: PT012 - the failure names the query
                connection.execute(sql).fetchall()
                pytest.fail(sql)
    assert objects(server, bucket) == before


@pytest.mark.parametrize(
    ("problem", "codes"),
    [
        ("no credentials", (2,)),
        ("refused", (7,)),
        ("unreachable", (7,)),
        ("no address", (2, 7)),
        ("no bucket", (2, 7)),
        ("garbage for a pointer", (7,)),
    ],
)
def test_a_store_that_cannot_be_used_is_reported_in_one_line_without_its_secret(
    api: Api,
    server: Store,
    lake: str,
    monkeypatch: pytest.MonkeyPatch,
    problem: str,
    codes: tuple[int, ...],
) -> None:
    api.answer([TRUNK])
    match problem:
        case "no credentials":
            monkeypatch.delenv(f"{CREDENTIALS}AWS_ACCESS_KEY_ID")
        case "refused":
            server.is_closed_to_all = True
        case "unreachable":
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
            monkeypatch.setenv(f"{CREDENTIALS}ENDPOINT_URL", "http://127.0.0.1:1")
        case "no address":
            monkeypatch.setenv(f"{CREDENTIALS}ENDPOINT_URL", "nonsense")
        case "no bucket":
            monkeypatch.setenv("SIP_TRUNKS__LAKE", "s3://bucket-of-nobody/lake")
        case _:
            server.files.pipe_file(f"{lake}/{POINTER}", b'{"version')
    # Readers may report of a bucket that does not exist that nothing is stored in it.
    errors = [call("run", code=codes)]
    if problem != "unreachable":  # each attempt at it waits before the next
        errors += [call("status", code=(0, *codes)), call("sql", "FROM sip_trunks", code=(2, *codes))]
    state = read_settings().state_dir
    written = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file()).decode()
    assert "a bug" not in str(errors)
    for secret in (SECRET, TOKEN):
        assert secret not in str(errors) + written
    server.is_closed_to_all = False


def test_a_store_without_its_extra_is_reported_in_one_line_that_names_it(lake: str) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from sip_trunks.commands import main; raise SystemExit(main(['status']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "'.[s3]'" in line


def test_the_password_in_the_address_of_a_store_is_never_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__LAKE", "sftp://user:hunter2@127.0.0.1:1/lake")
    api.answer([TRUNK])
    errors = [call(*arguments, code=(2, 7)) for arguments in (["run"], ["status"], ["sql", "FROM sip_trunks"])]
    assert "hunter2" not in str(errors)
    assert "hunter2" not in (read_settings().state_dir / "last_run.json").read_text()


def test_a_store_without_its_pointer_is_reported_and_unchanged(api: Api, server: Store, lake: str) -> None:
    api.answer([TRUNK])
    load()
    load()
    server.files.rm(f"{lake}/{POINTER}")
    before = objects(server, lake)
    api.answer([TRUNK | {"country_code": "FR"}])
    assert lake in call("run", code=7)
    assert objects(server, lake) == before


def test_pruned_and_forgotten_rows_are_in_no_object_any_more(server: Store, lake: str) -> None:
    first, second = [TRUNK, IP_TRUNK], [TRUNK]
    store(
        read_settings(),
        [
            ("acme", story.at(0), first),
            ("idle", story.at(0.1), first),
            ("acme", story.at(1), second),
            ("acme", story.at(1.1), first),
        ],
    )
    counts = story.drop_before(read_settings(), story.at(1))
    assert {name: count for name, count in counts.items() if count} == {
        "sip_trunks_history": 1, "sip_trunk_snapshots": 1, ROWS: 2
    }  # fmt: skip
    rows = [name for name in objects(server, lake) if name.startswith(f"{ROWS}-{pointer(server, lake)}")]
    assert len(rows) == 2
    assert query(f"SELECT count(*) FROM {ROWS}") == [[(5,)]]

    assert "versions of objects" in call("accounts", "forget", "idle", "--yes")
    left = objects(server, lake)
    for name, content in left.items():
        if name.endswith(".parquet"):
            assert "idle" not in pq.read_table(BytesIO(content))["account"].to_pylist()
    assert query(f"SELECT count(*) FROM {ROWS}") == [[(3,)]]
    newest = pointer(server, lake)
    assert {name.split("/")[1] for name in left if name.startswith("versions/")} == {newest}
    assert {name.split("/")[0] for name in left if name.startswith(ROWS)} == {f"{ROWS}-{newest}"}
