"""The notebook: as a script, as Python, in a real browser, and as what Jupyter has of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from shutil import copytree
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import marimo as mo
import nbformat
import pytest

from sip_trunks.core.settings import DEMO_ACCOUNT
from sip_trunks.reporting.charts import fluid_specs
from sip_trunks.reporting.notebook import MOST_ROWS, ask, figures, notice, read_stored
from tests.support.api import Api
from tests.support.browser import start_browser, visit_server
from tests.support.builders import IP_TRUNK
from tests.support.demo_account import demo_after, work_in
from tests.support.notebook_page import (
    FINDINGS,
    RESULT,
    TIMELINE,
    TRUNKS,
    ask_in,
    choose,
    expect,
    expect_figures,
    expect_rows,
    table,
)
from tests.support.notebook_server import serve_notebook
from tests.support.runs import COMMAND, PATIENCE_SECONDS, TOKEN, call
from tests.support.shared import built_once
from tests.tools.export_notebook import NOTEBOOK, SOURCE, convert, run_cells, shows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.browser import Visit

MOST_BYTES = 500_000
IMAGE = "https://evil.example/x.png"
HOSTILE: list[dict[str, Any]] = [
    {"sip_address": IMAGE, "phone_number": "<img src=x onerror=alert(1)>", "country_code": "<b>x</b>"},
    {"sip_address": f"![x]({IMAGE})", "sip_username": "{{7*7}}", "phone_number": "data:image/png;base64,AAAA"},
    {"sip_address": "javascript:alert(1)", "country_code": "$x^2$", "sip_username": '"><script>alert(1)</script>'},
    {"sip_address": f'<marimo-ui-element><img src="{IMAGE}">', "allowed_inbound_ips": [IMAGE, "<b>"]},
]
# What it does outside is written down before it happens.
WATCH = """
import os, sys
with open(os.environ["CONNECTIONS"], "a") as log:
    print("watching", file=log)
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["CONNECTIONS"], "a") as log:
            print(event, details[1:] if event == "socket.connect" else details[:2], file=log)
sys.addaudithook(watch)
"""


def run_account(folder: Path, name: str, trunks: list[dict[str, Any]]) -> None:
    """Run once on an account that has these trunks; the data goes to `data/` in the folder."""
    api = Api()
    api.answer(trunks)
    settings = {"SOURCES__FAMULOR__BASE_URL": api.base_url, f"SOURCES__FAMULOR__ACCOUNTS__{name.upper()}": TOKEN}
    try:
        with pytest.MonkeyPatch.context() as patch:
            work_in(folder, patch, **settings)
            call("run", "--no-reports")
    finally:
        api.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data after two runs of the demo account and one of an account that means harm."""

    def build(folder: Path) -> None:
        copytree(demo_after(2, tmp_path_factory), folder / "data", symlinks=True)
        run_account(folder, "hostile", [IP_TRUNK | {"id": 9000 + n} | values for n, values in enumerate(HOSTILE)])

    return built_once(tmp_path_factory, "explored", build) / "data"


@pytest.fixture
def explored(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(data_dir))
    return data_dir


def value(query: str) -> Any:
    """Return the one value of a query's result."""
    result = ask(query)
    assert not isinstance(result, str), result
    return result.iloc[0, 0]


# ---------------------------------------------------------------------- as a script, and as Python


def run_script(data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    chosen = os.environ | {"SIP_TRUNKS__DATA_DIR": str(data_dir)} | environment
    return subprocess.run(
        [sys.executable, str(SOURCE)], env=chosen, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


def test_as_a_script_it_runs_through(data_dir: Path) -> None:
    """Only a process of its own shows that it runs without a notebook around it and prints nothing."""
    done = run_script(data_dir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_runs_on_a_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the whole notebook on a lake shows that no cell needs the file."""
    work_in(tmp_path, monkeypatch)
    call("run", "--demo", "--no-reports", "--destination", "parquet")
    done = run_script(tmp_path / "data", SIP_TRUNKS__DESTINATION="parquet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_runs_on_an_account_without_trunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_account(tmp_path, "empty", [])
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    _, found = notebook().run()
    assert [len(found[name]) for name in ("moments", "trunks", "state", "changes", "timeline", "listed")] == [
        1,
        0,
        0,
        0,
        0,
        0,
    ]


def test_before_anything_is_stored_it_says_what_to_do(tmp_path: Path) -> None:
    done = run_script(tmp_path / "nothing")
    assert (done.returncode, done.stderr) == (0, "")
    assert "make demo" in done.stdout
    assert "docs/getting-started.md" in done.stdout
    assert not (tmp_path / "nothing").exists()


def notebook() -> Any:
    spec = spec_from_file_location("explore", SOURCE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.mark.usefixtures("explored")
def test_its_variables_are_what_is_stored() -> None:
    _, found = notebook().run()
    assert len(found["trunks"]) == value("SELECT count(*) FROM sip_trunks")
    assert len(found["versions"]) == value("SELECT count(*) FROM sip_trunks_history")
    assert len(found["moments"]) == value("SELECT count(DISTINCT snapshot_at) FROM sip_trunk_snapshots")
    assert len(found["changes"]) == value("SELECT count(*) FROM sip_trunk_changes")
    assert len(found["state"]) == len(found["trunks"])
    assert found["counts"]["trunk_count"].sum() == len(found["trunks"])
    assert set(found["findings"]["severity"]) >= {"critical", "high"}
    assert len(found["rows"]) == value("SELECT count(DISTINCT (country_name, sip_calling_format)) FROM sip_trunks")


@pytest.mark.usefixtures("explored")
def test_its_controls_do_what_they_say() -> None:
    stored = read_stored()
    control = mo.ui.multiselect
    _, found = notebook().run(
        defs={
            "stored": stored,
            "account": control([DEMO_ACCOUNT, "hostile"], [DEMO_ACCOUNT]),
            "country": control(["DE", "FR"], ["DE"]),
            "provider": control(["DIDWW"], []),
            "step": mo.ui.slider(1, 3, value=1),
            "count_by": control(["provider", "number_kind"], ["provider", "number_kind"]),
            "severity": control(["high"], ["high"]),
        }
    )
    of_germany = "country_code = 'DE' AND account = 'demo'"
    assert len(found["trunks"]) == value(f"SELECT count(*) FROM sip_trunks WHERE {of_germany}")
    first = "(SELECT min(snapshot_at) FROM sip_trunk_snapshots)"
    assert found["moment"] == value(f"SELECT {first}")
    assert len(found["state"]) == value(f"SELECT count(*) FROM trunks_as_of({first}) WHERE {of_germany}")
    assert list(found["counts"].columns[:2]) == ["provider", "number_kind"]
    assert set(found["listed"]["severity"]) == {"high"}
    assert set(found["changes"]["account"]) == {"demo"}


@pytest.mark.usefixtures("explored")
def test_a_query_that_fails_returns_one_sentence() -> None:
    for query, named in {
        "SELECT nothing_like_it FROM sip_trunks": "nothing_like_it",
        "FROM sip_trunk": "sip_trunk",
        "SELEC 1": "SELEC",
        "": "one statement",
        "SELECT 1; SELECT 2": "one statement",
        "DROP VIEW sip_trunks": "read-only",
        "COPY sip_trunks TO 'stolen.csv'": "read-only",
        "FROM read_csv('/etc/passwd')": "disabled by configuration",
        "INSTALL httpfs": "read-only",
        "FROM enable_logging()": "read-only",
    }.items():
        result = ask(query)
        assert isinstance(result, str), query
        assert result.startswith("The query failed: ")
        assert named in result
        assert "\n" not in result


@pytest.mark.usefixtures("explored")
def test_a_result_has_a_cell_for_every_value() -> None:
    result = ask(
        "SELECT 1 AS a, 2 AS a, [1, 2] AS list, {'x': 'y'} AS struct, NULL AS nothing, 10::HUGEINT ** 30 AS huge"
    )
    assert not isinstance(result, str)
    assert list(result.columns) == ["a", "a_2", "list", "struct", "nothing", "huge"]
    assert list(result.iloc[0, :4]) == [1, 2, "[1, 2]", '{"x": "y"}']
    most = ask(f"FROM range({MOST_ROWS + 1})")
    assert not isinstance(most, str)
    assert len(most) == MOST_ROWS


def test_text_is_not_markup() -> None:
    assert "<b>x</b>" not in notice("<b>x</b>").text
    assert "<b>x</b>" not in figures(("<b>x</b>", "<b>x</b>", "<b>x</b>")).text


@pytest.mark.usefixtures("explored")
def test_its_charts_have_a_light_and_a_dark_colour_for_everything() -> None:
    inputs = read_stored()
    drawn = {
        "counts": inputs.count(["country_code", "sip_calling_format"]),
        "growth": inputs.growth,
        "audit": inputs.findings,
    }
    specs = [spec for name, frame in drawn.items() for spec in fluid_specs(name, frame)]
    used = set(re.findall(r"var\((--st-[\w-]+), #[0-9a-f]{6}\)", json.dumps(specs)))
    assert used > {"--st-ink", "--st-heat-9", "--st-vanished", "--st-critical"}
    style = SOURCE.with_suffix(".css").read_text("utf-8")
    for block in (style.partition(":root {")[2].partition("}")[0], style.partition(".dark {")[2].partition("}")[0]):
        assert used <= set(re.findall(r"(--st-[\w-]+):", block))
    assert {spec["width"] for spec in specs} == {"container"}
    assert fluid_specs("audit", inputs.findings.head(0)) == []


# ---------------------------------------------------------------------- for Jupyter


def test_the_notebook_for_jupyter_is_in_step() -> None:
    kept, made = json.loads(NOTEBOOK.read_text("utf-8")), convert()
    for cells in (kept["cells"], made["cells"]):
        for cell in cells:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    assert kept == made, "run `make notebooks`"


def test_the_notebook_for_jupyter_can_be_read_without_anything_else() -> None:
    text = NOTEBOOK.read_text("utf-8")
    kept = json.loads(text)
    nbformat.validate(kept)
    assert len(text.encode()) < MOST_BYTES
    assert len({cell["id"] for cell in kept["cells"]}) == len(kept["cells"])
    # No path of the machine that made it, no widget, nothing to be fetched.
    assert not re.search(r"""[\s"'(=]/[A-Za-z]\w*/[\w.]|<marimo-|<script|https?://(?!docs\.marimo)""", text)
    # All runs of the demo are in one hour, so that there is no growth to draw.
    assert text.count('"image/png"') == 3
    for cell in kept["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] == "execute_result"
            assert output["data"]
            assert "".join(output["data"].get("text/html", "")).count("<tr") <= 16
    silent = [cell["id"] for cell in kept["cells"] if cell["cell_type"] == "code" and not cell["outputs"]]
    loud = [cell["id"] for cell in kept["cells"] if cell["cell_type"] == "code" and shows("".join(cell["source"]))]
    # The query is the cell's own, and a notice is only for missing data.
    assert len(set(silent) & set(loud)) <= 2


@pytest.mark.usefixtures("explored")
def test_its_cells_run_one_after_the_other_in_plain_python() -> None:
    kept = json.loads(NOTEBOOK.read_text("utf-8"))
    found = run_cells(kept)
    assert len(found["trunks"]) == value("SELECT count(*) FROM sip_trunks")
    assert not re.search(r"<img|<b>x|<marimo-", json.dumps([cell.get("outputs") for cell in kept["cells"]]))


@pytest.mark.parametrize(
    ("destination", "stored", "sentence"),
    [
        ("duckdb", None, "nothing is stored yet at"),
        ("duckdb", b"not a database", "warehouse.duckdb"),
        ("parquet", None, "nothing is stored yet at"),
        ("nowhere", None, "nowhere"),
    ],
)
def test_without_data_every_cell_for_jupyter_runs_in_any_folder(
    destination: str, stored: bytes | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    if stored is not None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "warehouse.duckdb").write_bytes(stored)
    kept = json.loads(NOTEBOOK.read_text("utf-8"))
    found = run_cells(kept)
    shown = json.dumps([cell.get("outputs") for cell in kept["cells"]])
    assert "No data to explore: " in shown
    assert sentence in shown
    assert len(found["trunks"]) == 0


# ---------------------------------------------------------------------- the command


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['marimo'] = None; from sip_trunks.commands import main; sys.exit(main(['notebook']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 2
    assert done.stderr == "sip-trunks: the notebook needs marimo and Altair: pip install '.[notebook]' in the project\n"


def test_a_port_that_is_taken_is_named(api: Api, tmp_path: Path) -> None:
    port = api.origin.rpartition(":")[2]
    done = subprocess.run(
        [COMMAND, "notebook", "--port", port], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 2
    assert f"port {port} cannot be used" in done.stderr


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_server_reaches_neither_the_notebook_nor_its_socket(origin: str, data_dir: Path) -> None:
    with serve_notebook(data_dir) as address:
        url = urlsplit(address)
        headers = {"Host": url.netloc, "Origin": origin, "Connection": "close"}
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}
        socket_path = f"/ws?session_id=s1&{url.query}"
        preflight = {"Access-Control-Request-Method": "POST"}
        own = headers | {"Origin": f"http://{url.netloc}"}
        assert answer_to(address, "GET", socket_path, own | upgrade).startswith("HTTP/1.1 101 ")
        for method, path, added in (
            ("GET", socket_path, upgrade),
            ("OPTIONS", f"/?{url.query}", preflight),
            ("GET", f"/?{url.query}", {}),
        ):
            refused = answer_to(address, method, path, headers | added)
            assert refused.startswith("HTTP/1.1 403 ")
            assert "access-control-allow" not in refused.lower()
        assert answer_to(address, "GET", f"/?{url.query}", own).startswith(("HTTP/1.1 200 ", "HTTP/1.1 303 "))


def answer_to(address: str, method: str, path: str, headers: Mapping[str, str]) -> str:
    """Return the beginning of the response to a request, as the server sends it."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), PATIENCE_SECONDS) as connection:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(4096)
            assert more, received
            received += more
    return received.partition(b"\r\n\r\n")[0].decode()


HOST = """
import os, sys
from sip_trunks.commands import main
print("the program goes on after", main(["notebook", *sys.argv[1:]]), flush=True)
os._exit(0)  # the session of the notebook has a thread
"""


def test_a_program_that_serves_the_notebook_goes_on_after_it(data_dir: Path) -> None:
    """Only a process can be interrupted; the open session has a thread that is still there afterwards."""
    command = [sys.executable, "-c", HOST, "--no-browser"]
    chosen = os.environ | {"SIP_TRUNKS__DATA_DIR": str(data_dir)}
    with subprocess.Popen(command, env=chosen, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        found = re.search(r"http://\S+", host.stdout.readline())
        assert found
        url = urlsplit(found[0])
        answer_to(
            found[0],
            "GET",
            f"/ws?session_id=s1&{url.query}",
            {
                "Host": url.netloc,
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
            },
        )
        host.send_signal(signal.SIGINT)
        assert "the program goes on after 0" in host.stdout.read()
    assert host.returncode == 0


def start_editing(folder: Path, until: str) -> str:
    """Return what the command says until it says this; it is stopped then."""
    command, said = [COMMAND, "notebook", "--edit", "--no-browser"], ""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as editor:
        assert editor.stdout
        while until not in said:
            line = editor.stdout.readline()
            assert line, said
            said += line
        editor.terminate()
        editor.stdout.read()
    return said


def test_editing_opens_a_copy_that_is_made_once(tmp_path: Path) -> None:
    assert "explore.py is your copy" in start_editing(tmp_path, until="?access_token=")
    copy = tmp_path / "explore.py"
    assert copy.read_text("utf-8") == SOURCE.read_text("utf-8")
    assert (tmp_path / "explore.css").is_file()
    mine = copy.read_text("utf-8").replace("SIP trunks", "My trunks")
    copy.write_text(mine, "utf-8")
    assert "explore.py exists already" in start_editing(tmp_path, until="\n")
    assert copy.read_text("utf-8") == mine


# ---------------------------------------------------------------------- in a browser


@dataclass(frozen=True)
class Server:
    """A served notebook, its data directory, and the file that has the connections that it has made."""

    address: str
    data_dir: Path
    connections: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was started before anything was stored, whose connections are noted."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "sitecustomize.py").write_text(WATCH, "utf-8")
    data_dir, log = folder / "data", folder / "connections"
    with serve_notebook(data_dir, environment={"PYTHONPATH": str(folder), "CONNECTIONS": str(log)}) as address:
        yield Server(address, data_dir, log)


@dataclass(frozen=True)
class Opened:
    """The notebook in one window for all tests, each of which puts back what it has moved; and its headings before."""

    visit: Visit
    headings_before: list[str]


@pytest.fixture(scope="module")
def opened(server: Server, data_dir: Path) -> Iterator[Opened]:
    """Open the notebook while nothing is stored, then store something and load it again.

    The tests that use it take seconds: only a browser shows that the controls move what they should, that text from the
    API is shown as text, and that nothing is fetched from elsewhere.
    """
    with start_browser() as browser, visit_server(browser, server.address, height=1000) as visited:
        visited.page.locator(".st-warning").get_by_text("make demo").wait_for()
        headings = visited.page.get_by_role("heading").all_inner_texts()
        copytree(data_dir, server.data_dir)
        visited.page.reload()
        expect_rows(visited.page, RESULT, "country_name")
        yield Opened(visited, headings)


@pytest.fixture
def page(opened: Opened) -> Iterator[Page]:
    yield opened.visit.page
    assert opened.visit.complaints == []


def count_of(query: str) -> str:
    return f"{value(query):,}"


@pytest.mark.usefixtures("explored")
def test_filters_apply_to_all_of_it(page: Page) -> None:
    everything = count_of("SELECT count(*) FROM sip_trunks")
    expect_figures(page, 0, f"trunks {everything} in 2 accounts")
    choose(page, "account", "demo")
    choose(page, "country", "Germany (DE)")
    of_germany = "FROM sip_trunks WHERE account = 'demo' AND country_code = 'DE'"
    expect_figures(page, 0, f"trunks {count_of(f'SELECT count(*) {of_germany}')} in 1 account", "countries 1")
    choose(page, "provider", "DIDWW")
    both = count_of(f"SELECT count(*) {of_germany} AND provider = 'DIDWW'")
    expect_figures(page, 0, f"trunks {both} in 1 account", "1 known provider")
    expect_rows(page, TRUNKS, "out.didww.com")
    expect(table(page, TRUNKS).locator("tbody tr", has_not_text="out.didww.com")).to_have_count(0)
    choose(page, "country", "Germany (DE)", "Brazil (BR)")
    expect_figures(page, 0, "trunks 0 in 0 accounts")
    expect(page.locator("#App")).to_contain_text("No trunks match.")
    choose(page, "country", "Brazil (BR)")
    choose(page, "provider", "DIDWW")
    choose(page, "account", "demo")
    expect_figures(page, 0, f"trunks {everything} in 2 accounts")


@pytest.mark.usefixtures("explored")
def test_the_slider_goes_back_to_every_snapshot(page: Page) -> None:
    expect_figures(page, 1, "3 of 3")
    slider = page.get_by_role("slider")
    for step in (2, 1):
        slider.press("ArrowLeft")
        moment = f"(SELECT snapshot_at FROM sip_trunk_snapshots ORDER BY 1 LIMIT 1 OFFSET {step - 1})"
        known = count_of(f"SELECT count(*) FROM trunks_as_of({moment})")
        added = count_of(f"SELECT count(*) FROM sip_trunk_changes WHERE observed_at = {moment} AND change = 'added'")
        expect_figures(page, 1, f"{step} of 3", f"trunks {known} known", f"added trunks {added}")
    slider.press("End")
    expect_figures(page, 1, "3 of 3")


@pytest.mark.usefixtures("explored")
def test_the_timeline_of_a_chosen_trunk_is_shown(page: Page) -> None:
    gone = value("SELECT trunk_id FROM sip_trunk_changes WHERE change = 'removed' ORDER BY 1 LIMIT 1")
    page.locator("marimo-dropdown").last.get_by_role("button").first.click()
    page.keyboard.type(str(gone))
    page.get_by_role("option", name=f"{gone} ·").click()
    expect_rows(page, TIMELINE, "removed")
    assert "first seen" in table(page, TIMELINE).locator("table").inner_text()


def test_tables_can_be_searched(page: Page) -> None:
    search = table(page, TRUNKS).get_by_placeholder("Search")
    search.fill("out.didww.com")
    rows = table(page, TRUNKS).locator("tbody tr")
    expect(table(page, TRUNKS).locator("tbody tr", has_not_text="out.didww.com")).to_have_count(0)
    assert rows.count() > 1
    search.fill("")
    expect(rows).to_have_count(10)


def test_findings_are_filtered_by_severity(page: Page) -> None:
    choose(page, "severity", "critical")
    expect(table(page, FINDINGS).locator("tbody tr", has_not_text="critical")).to_have_count(0)
    expect_rows(page, FINDINGS, "allowlist-open")
    choose(page, "severity", "critical")
    expect_rows(page, FINDINGS, "high")


def test_a_click_filters_what_is_below_and_the_address_keeps_it(page: Page, server: Server) -> None:
    chart = page.locator("marimo-vega").last
    rules = chart.locator(".mark-rect path")
    before, rule = rules.count(), chart.locator(".role-axis-label text").first.text_content() or ""
    rules.first.click(force=True)
    expect_rows(page, FINDINGS, rule)
    expect(table(page, FINDINGS).locator("tbody tr", has_not_text=rule)).to_have_count(0)
    choose(page, "country", "Germany (DE)")
    page.wait_for_url(re.compile("country=DE"))
    assert f"rule={rule}" in page.url
    # The address of another visitor, with values that are no choices.
    query = urlsplit(page.url).query
    page.goto(f"{server.address}&{query}&provider=%3Cimg%20src%3Dx%3E&period=century&snapshot=9&bar=zz&count+by=x%27")
    expect_rows(page, RESULT, "country_name")
    expect_figures(page, 0, "countries 1")
    choose(page, "country", "Germany (DE)")
    expect(table(page, FINDINGS).locator("tbody tr", has_not_text=rule)).to_have_count(0)
    page.locator("marimo-vega").last.locator(".mark-rect path").first.click(force=True)
    expect_rows(page, FINDINGS, "high")
    page.wait_for_url(re.compile("^(?!.*(country=|rule=))"))
    assert page.locator("marimo-vega").last.locator(".mark-rect path").count() == before
    assert page.locator("img[src='x']").count() == 0
    page.goto(server.address)
    expect_rows(page, RESULT, "country_name")


def test_a_query_shows_its_result_or_one_sentence_about_its_error(page: Page) -> None:
    ask_in(page, "SELECT 41 + 1 AS zz_result")
    expect_rows(page, RESULT, "zz_result")
    expect_rows(page, RESULT, "42")
    ask_in(page, "SELECT * FROM sip_trunk")
    expect(page.locator(".st-error")).to_contain_text("The query failed: Catalog Error")
    ask_in(page, "DELETE FROM famulor.sip_trunks")
    expect(page.locator(".st-error")).to_contain_text("stored data is read-only")
    ask_in(page, "FROM sip_trunks LIMIT 0")
    expect(page.locator("#App")).to_contain_text("No rows.")
    ask_in(page, "FROM sip_trunks LIMIT 3")
    expect(table(page, RESULT).locator("tbody tr")).to_have_count(3)


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    search = table(page, TRUNKS).get_by_placeholder("Search")
    search.fill("evil.example")
    expect(table(page, TRUNKS).locator("tbody tr")).to_have_count(3)
    shown = table(page, TRUNKS).locator("table").inner_text().replace("\u2060", "")
    assert {IMAGE, f"![x]({IMAGE})", f'<marimo-ui-element><img src="{IMAGE}">'} <= set(re.split(r"[\n\t]+", shown))
    ask_in(page, f"""SELECT '{IMAGE}' AS "<img src=x>", ['{IMAGE}'] AS list, {{'a': '<b>'}} AS b, '$x^2$' AS "$x$" """)
    expect_rows(page, RESULT, "<img src=x>")
    harm = "[href*='evil'], [src*='evil'], [href^='javascript'], [src='x'], marimo-table [src^='data:'], .katex"
    assert page.locator(harm).count() == 0
    heat = page.locator(".vega-embed").first
    labels = heat.locator(".role-axis-label").last.locator("text").all_text_contents()
    across = heat.locator(".role-axis-label").first.locator("text").count()
    heat.locator(".mark-rect path").nth(labels.index("<b>x</b>") * across).hover(force=True)
    expect(page.locator("#vg-tooltip-element")).to_contain_text("<b>x</b>")
    search.fill("")


def test_it_is_an_app_without_code_that_fits_everywhere(page: Page) -> None:
    assert "read_stored" not in page.content()
    assert page.title() == "SIP trunks"
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 1000})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.getElementById('App').scrollWidth") <= width


def test_only_its_own_server_is_asked_for_anything(opened: Opened, server: Server) -> None:
    host, requests = server.address.split("/")[2], opened.visit.requests
    assert requests
    assert {url for url in requests if not url.startswith((f"http://{host}/", "data:", "blob:"))} == set()
    log = server.connections.read_text("utf-8")
    assert log.startswith("watching\n")
    assert set(log.splitlines()) == {"watching"}


def test_a_visitor_without_the_whole_address_gets_nothing(server: Server) -> None:
    host = server.address.split("/?")[0]
    assert host.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{host}/api/usage", timeout=PATIENCE_SECONDS)
    with urllib.request.urlopen(host, timeout=PATIENCE_SECONDS) as response:
        assert "marimo-filename" not in response.read().decode()
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_before_anything_is_stored_nothing_else_is_shown(opened: Opened) -> None:
    assert opened.headings_before == ["SIP trunks"]
