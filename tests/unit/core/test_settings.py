"""Settings by dlt's rules, read without dlt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import Account, ApiSettings, read_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def empty_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "FAMULOR_API_KEY",
        "SOURCES__FAMULOR__BASE_URL",
        "SOURCES__FAMULOR__BACKOFF_SECONDS",
        "SOURCES__FAMULOR__CONCURRENCY",
        "SIP_TRUNKS__DATA_DIR",
    ):
        monkeypatch.delenv(name)
    (place / ".dlt").mkdir()
    return place


def write(place: Path, secrets: str = "", config: str = "") -> None:
    (place / ".dlt" / "secrets.toml").write_text(secrets)
    (place / ".dlt" / "config.toml").write_text(config)


def test_without_any_setting_the_defaults_hold(place: Path) -> None:
    settings = read_settings()
    assert settings.api == ApiSettings()
    assert settings.data_dir == place / "data"
    assert settings.accounts == ()


def test_the_documented_defaults_are_the_real_ones(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    from sip_trunks.core.config_files import _PROJECT

    documented = tomllib.loads((_PROJECT / ".dlt" / "config.toml").read_text())
    assert documented["sources"]["famulor"] == vars(ApiSettings())
    settings = read_settings()
    names = ("destination", "lake", "table_format", "drift", "log_format", "metrics", "notify_severity")
    assert (settings.expected_interval_seconds, settings.providers, settings.suppressions) == (None, None, ())
    assert (settings.pseudonymize, settings.notify) == ((), "")
    words = {"data_dir": "data", "expected_interval": "auto", "providers": "builtin", "pseudonymize": []}
    words["office_hours"] = "off"
    words["notify_on"] = list(settings.notify_on)
    words |= {f"dask_{name}": value for name, value in vars(settings.dask).items()}
    assert documented["sip_trunks"] == words | {name: getattr(settings, name) for name in names}


def test_the_environment_wins_over_secrets_and_these_over_config(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        place,
        '[sources.famulor]\napi_token = "from-secrets"',
        '[sources.famulor]\napi_token = "from-config"\nattempts = 2',
    )
    assert read_settings().accounts == (Account("default", "from-secrets"),)
    assert read_settings().api.attempts == 2
    monkeypatch.setenv("FAMULOR_API_KEY", "from-vendor-name")
    assert read_settings().accounts == (Account("default", "from-vendor-name"),)
    monkeypatch.setenv("SOURCES__FAMULOR__API_TOKEN", "from-dlt-name")
    monkeypatch.setenv("SOURCES__FAMULOR__ATTEMPTS", "7")
    assert read_settings().accounts == (Account("default", "from-dlt-name"),)
    assert read_settings().api.attempts == 7


def test_named_accounts_are_picked_by_name(place: Path) -> None:
    write(place, '[sources.famulor.accounts]\nacme = "a-token"\nbeta = "b-token"')
    settings = read_settings()
    assert [account.name for account in pick_accounts(settings, [])] == ["acme", "beta"]
    assert pick_accounts(settings, ["beta", "beta"]) == (Account("beta", "b-token"),)
    with pytest.raises(UsageError, match="configured: acme, beta"):
        pick_accounts(settings, ["gamma"])


@pytest.mark.parametrize(
    ("secrets", "config", "says"),
    [
        ('[sources.famulor]\napi_token = "fam_s3cret"', "", "account 'default' begins with fam_: this is Platform 2.0"),
        (
            '[sources.famulor.accounts]\nacme = "Bearer fam_s3cret"',
            "",
            "account 'acme' begins with fam_: this is Platform",
        ),
        ('[sources.famulor]\napi_token = "Bearer"', "", "is empty or not text"),
        ("", '[sip_trunks]\nlake = " "', "sip_trunks.lake is empty; give it a value"),
        ("", '[sip_trunks]\nnotify = "http://hooks.example/s3cret"', "sip_trunks.notify must be a URL such as https"),
        ("", "[[sip_trunks.suppressions]]\ntrunk = 1", r"\[\[sip_trunks.suppressions\]\]: suppression 1: unknown key"),
        ("", "[sources.famulor]\nattempts = 0", "attempts needs a whole number above 0"),
        ("", '[sources.famulor]\nattempts = "many"', "attempts needs a whole number above 0"),
        ("", "[sources.famulor]\ntotal_seconds = inf", "total_seconds needs a number above 0"),
        ("", "[sources.famulor]\ntotal_seconds = true", "total_seconds needs a number above 0"),
        ("", "[sources.famulor\n", "is not valid TOML"),
        ("", '[sip_trunks]\ndrift = "loud"', "report or strict"),
        ('[sources.famulor]\napi_token = "two words"', "", "characters that are not valid"),
        ('[sources.famulor]\napi_token = ["s3cret"]', "", "is empty or not text"),
        ('[sources.famulor.accounts]\n"a\'; DROP" = "t"', "", "has the name"),
        ('[sources.famulor.accounts]\ndemo = "t"', "", "the demo account's"),
        ('[sources.famulor.accounts]\nacme = ""', "", "is empty"),
    ],
)
def test_a_wrong_setting_is_named_and_no_token_shown(place: Path, secrets: str, config: str, says: str) -> None:
    write(place, secrets, config)
    with pytest.raises(UsageError, match=says) as failure:
        read_settings()
    assert "s3cret" not in str(failure.value)


def test_a_token_is_not_in_the_text_of_the_settings(place: Path) -> None:
    write(place, '[sources.famulor]\napi_token = "s3cret"')
    assert "s3cret" not in repr(read_settings())


def test_a_relative_data_directory_counts_from_where_it_was_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, config='[sip_trunks]\ndata_dir = "store"')
    assert read_settings().data_dir == place / "store"
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", "here")
    assert read_settings().data_dir == place / "here"


def test_an_empty_variable_does_not_fall_back_to_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", "")
    with pytest.raises(UsageError, match="SOURCES__FAMULOR__BASE_URL is set, but empty"):
        read_settings()


@pytest.mark.parametrize(
    "written",
    [
        "'t0ken'",
        '"t0ken"',
        " t0ken\n",
        "Bearer t0ken",
        "bearer  t0ken",
        '"Bearer t0ken"',
        "Authorization: Bearer t0ken",
    ],
)
def test_a_token_may_be_copied_with_quotes_blanks_and_bearer(
    place: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("FAMULOR_API_KEY", written)
    assert read_settings().accounts == (Account("default", "t0ken"),)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://app.famulor.de", "is https://app.famulor.de; it should end in /api: https://app.famulor.de/api"),
        ("https://app.famulor.de/api/user/phone-numbers/sip-trunks", "should end in /api: https://app.famulor.de/api"),
        ("https://voice.example/tel/user/phone-numbers", "should end in /api: https://voice.example/tel/api"),
        ("https://voice.example/API", "should end in /api: https://voice.example/API/api"),
        ("https://app.famulor.io", "this is Platform 2.0; sip-trunks reads the classic API"),
        ("https://voice.example/api/v1/", "this is Platform 2.0; sip-trunks reads the classic API"),
        ("app.famulor.de/api", "must be a URL such as https://host/path"),
    ],
)
def test_a_base_url_that_is_not_the_classic_apis_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", url)
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert says in str(caught.value)


def test_settings_above_the_working_directory_are_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, config="[sources.famulor]\nattempts = 2")
    (place / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(place / "a" / "b")
    assert read_settings().api.attempts == 2
    assert read_settings().data_dir == place / "data"
    monkeypatch.setenv("HOME", str(place))  # dlt's folder for all projects is no project
    assert read_settings().api.attempts == 5


def test_settings_of_another_user_above_are_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would say where the token is sent."""
    write(place, config="[sources.famulor]\nattempts = 2")
    try:
        os.chown(place / ".dlt", 12345, 12345)
    except PermissionError:
        pytest.skip("only root, with all of its capabilities, can give files away")
    (place / "a").mkdir()
    monkeypatch.chdir(place / "a")
    assert read_settings().api.attempts == 5
