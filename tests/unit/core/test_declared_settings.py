"""Declarations of settings, and state of the process that is put back."""

from __future__ import annotations

import logging
import os
import tomllib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.dlt_runtime import dlt_environment
from sip_trunks.core.errors import UsageError
from sip_trunks.core.logs import adopting_dlt_log, logging_to_file
from sip_trunks.core.process import changed_environment
from sip_trunks.core.settings import list_settings, read_settings
from tests.tools.settings_table import COLUMNS, list_rows, render_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(place: Path) -> Path:
    (place / ".dlt").mkdir()
    return place / ".dlt" / "config.toml"


def test_the_rendered_file_has_every_setting_with_its_default(config: Path) -> None:
    settings = read_settings()
    config.write_text(render_config())
    assert read_settings() == replace(settings, config_dir=config.parent)
    written = tomllib.loads(render_config())
    declared = {setting.key: setting.written for setting in list_settings() if not setting.is_secret}
    for section, values in (("sources.famulor", written["sources"]["famulor"]), ("sip_trunks", written["sip_trunks"])):
        for name, value in values.items():
            default = declared.pop(f"{section}.{name}")
            assert value == (list(default) if isinstance(default, tuple) else default)
    assert list(declared) == ["sip_trunks.suppressions"]


def test_the_table_has_every_setting_once() -> None:
    assert len({row[0] for row in list_rows()}) == len(list_settings())
    assert all(len(row) == len(COLUMNS) for row in list_rows())


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[sources.famulor]\nattempts = 2.5", "attempts needs a whole number above 0, got 2.5"),
        ("[sources.famulor]\nmax_body_bytes = -1", "max_body_bytes needs a whole number above 0, got -1"),
        ("[sources.famulor]\nread_seconds = true", "read_seconds needs a number above 0, got True"),
        ("[sources.famulor]\nread_seconds = nan", "read_seconds needs a number above 0"),
        ("[sip_trunks]\nlake = 5", "lake needs text, got 5"),
        ('[sources.famulor]\naccounts = "acme"', "accounts needs a table$"),
        ('[sip_trunks]\nnotify_on = ["failure", "news"]', "notify_on needs a list of failure, .* or changes, got"),
        ('[sip_trunks]\nnotify_severity = "bad"', "needs info, low, medium, high or critical, got 'bad'"),
        ("[sip_trunks]\npseudonymize = [1]", "pseudonymize needs a list of names"),
        ('[sip_trunks]\nsuppressions = "none"', r"suppressions needs tables written as \[\[…\]\]"),
        ("[sip_trunks]\nnotify = 12345", "setting sip_trunks.notify needs text$"),
        ('[sip_trunks]\noffice_hours = "9 to 5"', "office_hours: '5' is not a time zone; write the hours as"),
        ("[sip_trunks]\noffice_hours = 9", "office_hours needs text, got 9"),
        ('[sip_trunks]\nexpected_interval = "often"', "expected_interval needs a duration such as 15min"),
        ('[sip_trunks]\ntable_format = "iceberg"', "Iceberg tables are no longer supported; export them"),
        ('[sip_trunks]\ntable_format = "orc"', "table_format needs parquet or delta, got 'orc'"),
    ],
)
def test_a_value_that_is_not_allowed_is_an_error_that_names_the_setting(config: Path, written: str, says: str) -> None:
    config.write_text(written)
    with pytest.raises(UsageError, match=says):
        read_settings()


def test_office_hours_are_off_until_they_are_set(config: Path) -> None:
    config.write_text('[sip_trunks]\noffice_hours = "Mo-Fr 08:00-18:00 Europe/Berlin"')
    hours = read_settings().office_hours
    assert hours is not None
    assert hours.time_zone == "Europe/Berlin"
    config.write_text('[sip_trunks]\noffice_hours = "off"')
    assert read_settings().office_hours is None


def test_the_environment_is_put_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD__WORKERS", "3")
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "true")
    before = dict(os.environ)
    with suppress(KeyError), dlt_environment(read_settings()), dlt_environment(read_settings()):
        assert os.environ["LOAD__WORKERS"] == "3"
        assert os.environ["RUNTIME__DLTHUB_TELEMETRY"] == "false"
        assert os.environ["DLT_DATA_DIR"] == str(place / "data" / "state" / "dlt")
        raise KeyError
    assert dict(os.environ) == before
    with changed_environment({"SIP_TRUNKS_NEW": "1"}):
        del os.environ["SIP_TRUNKS_NEW"]
    assert dict(os.environ) == before


def test_logging_is_put_back(place: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("sip_trunks", "dlt")]

    def state() -> list[object]:
        return [logging.raiseExceptions, *((e.level, e.propagate, list(e.handlers), list(e.filters)) for e in loggers)]

    before = state()
    with logging_to_file(read_settings(), with_stderr=True), adopting_dlt_log(), adopting_dlt_log():
        loggers[1].error("the server said no\nwith the row")
        assert state() != before
    assert state() == before
    assert "ERROR" in (log := (place / "data" / "state" / "sip-trunks.log").read_text())
    assert "with the row" not in log
