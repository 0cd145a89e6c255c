"""Names that look like settings of this program, but are not, and names of other programs beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import ConfigError
from sip_trunks.core.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

OF_OTHERS = """\
restore_from_destination = true
log_format = "JSON"
[runtime]
log_level = "INFO"
[load]
workers = 2
[normalize.data_writer]
buffer_max_items = 100
[extract]
workers = 1
[destination.postgres.credentials]
host = "db"
[pipelines.sip_trunk]
dev_mode = false
[sources.other]
base_url = "https://other.example"
attempts = "many"
[sources.famulor_crm]
base_url = "https://other.example"
[sipgate_trunks]
data_dir = "x"
[sip_trunks_eu.sources.famulor]
base_url = "https://other.example"
[sources.famulor]
account = "acme"
[sources.famulor.schema]
naming = "direct"
[sources.famulor.sip_trunks]
parallelized = true
[sources.source.famulor]
api_token = "x"
[sip_trunks.destination.postgres.credentials]
host = "db"
"""


@pytest.fixture
def config(place: Path) -> Path:
    (place / ".dlt").mkdir()
    return place / ".dlt" / "config.toml"


@pytest.mark.parametrize("file", ["config.toml", "secrets.toml"])
@pytest.mark.parametrize(
    ("written", "found", "meant"),
    [
        ('[sip_trunks]\npseudonymise = ["phone_number"]', "sip_trunks.pseudonymise", "sip_trunks.pseudonymize"),
        ('[sip_trunk]\npseudonymize = ["phone_number"]', "sip_trunk.pseudonymize", "sip_trunks.pseudonymize"),
        ('[sip-trunks]\nlake = "x"', "sip-trunks.lake", "sip_trunks.lake"),
        ("[SIP_TRUNKS]\nnews = 1", "SIP_TRUNKS.news", "[sip_trunks]"),
        ('pseudonymize = ["phone_number"]', "pseudonymize", "sip_trunks.pseudonymize"),
        ('[[sip_trunks]]\nlake = "x"', "sip_trunks", "a table [sip_trunks]"),
        ("[sip_trunks]\nattempts = 3", "sip_trunks.attempts", "sources.famulor.attempts"),
        ("[sip_trunks.dask]\nworkers = 3", "sip_trunks.dask.workers", "sip_trunks.dask_workers"),
        ('[sources.famulor]\nbaseurl = "x"', "sources.famulor.baseurl", "sources.famulor.base_url"),
        ('[sources.famulr]\nbase_url = "x"', "sources.famulr.base_url", "sources.famulor.base_url"),
        ('[source.famulor]\nbase_url = "x"', "source.famulor.base_url", "sources.famulor.base_url"),
        ('[famulor]\napi_token = "x"', "famulor.api_token", "sources.famulor.api_token"),
        ('[sources.famulor.acounts]\nacme = "x"', "sources.famulor.acounts.acme", "sources.famulor.accounts"),
        ('[sources.sip_trunks]\npseudonymize = ["x"]', "sources.sip_trunks.pseudonymize", "sip_trunks.pseudonymize"),
    ],
)
def test_a_name_that_is_not_a_setting_is_an_error_that_says_which_may_be_meant(
    config: Path, file: str, written: str, found: str, meant: str
) -> None:
    config.with_name(file).write_text(written)
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert str(caught.value) == f"unknown setting {found} in {config.with_name(file)}: did you mean {meant}?"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SIP_TRUNK__DATA_DIR", "SIP_TRUNKS__DATA_DIR"),
        ("SIP_TRUNKS_DATA_DIR", "SIP_TRUNKS__DATA_DIR"),
        ("SIP_TRUNK_PSEUDONYMISE", "SIP_TRUNKS__PSEUDONYMIZE"),
        ("sip_trunks__lake", "SIP_TRUNKS__LAKE"),
        ("SOURCES__FAMULOR__BASEURL", "SOURCES__FAMULOR__BASE_URL"),
        ("SOURCES_FAMULOR_BASE_URL", "SOURCES__FAMULOR__BASE_URL"),
        ("FAMULOR__API_TOKEN", "SOURCES__FAMULOR__API_TOKEN"),
        ("SOURCES__FAMULOR__ACCOUNTS", "SOURCES__FAMULOR__ACCOUNTS__NAME"),
    ],
)
@pytest.mark.usefixtures("place")
def test_so_is_such_an_environment_variable(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    monkeypatch.setenv(variable, "s3cret")
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert str(caught.value) == f"unknown setting {variable}: did you mean {meant}?"


def test_names_of_other_programs_and_of_dlt_are_not_errors(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(OF_OTHERS)
    for variable in (
        "SIP_TRUNKS_SERVICE_HOST",
        "SIP_TRUNKS_PORT",
        "SOURCES__OTHER__BASE_URL",
        "SOURCES__FAMULOR__ACCOUNTS__ACME",
        "SIP_TRUNKS__DESTINATION__POSTGRES__CREDENTIALS",
        "DATA_DIR",
    ):
        monkeypatch.setenv(variable, "x")
    assert [account.name for account in read_settings().accounts] == ["acme"]


def test_all_unknown_names_are_in_one_line(config: Path) -> None:
    config.write_text("[sip_trunks]\nlakes = 1\nzz_invented = 2")
    with pytest.raises(ConfigError) as caught:
        read_settings()
    assert str(caught.value).startswith(
        f"unknown settings sip_trunks.lakes in {config}: did you mean sip_trunks.lake?; "
    )
    assert str(caught.value).endswith(
        f"zz_invented in {config}; docs/settings.md and .dlt/config.toml list the settings"
    )
