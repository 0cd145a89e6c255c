"""The settings. Each is declared once: name, type, default, meaning, allowed values, secret or not.

The declarations are used to read and validate settings, and to write `.dlt/config.toml` and the settings table of the
documentation. `config_files` finds the values.
"""

# No `from __future__ import annotations`: types are read from the annotations at runtime.
import hmac
import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from sip_trunks import __version__
from sip_trunks.core.config_files import Amount, ConfigFiles, Count, Setting, home_of, list_declared, setting
from sip_trunks.core.errors import ConfigError, DestinationError
from sip_trunks.core.unknown_settings import refuse_unknown_settings
from sip_trunks.core.urls import PLATFORM_2, check_webhook_url, parse_base_url
from trunk_transforms.audit.office_hours import OfficeHours, read_office_hours
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS

DEFAULT_ACCOUNT = "default"
DEFAULT_BASE_URL = "https://app.famulor.de/api"
DEMO_ACCOUNT = "demo"
Event = Literal["failure", "recovery", "findings", "drift", "changes"]
"""The events that can be sent to the webhook."""
PSEUDONYM_MARK = "+hmac."
PSEUDONYMS = ("phone_number", "nickname", "sip_username")
"""The declared fields that can be replaced by pseudonyms."""
_NEVER_PSEUDONYMS = ({column.name for column in API_COLUMNS} - set(PSEUDONYMS)) | RESERVED_COLUMNS
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_BEARER = re.compile(r"^(authorization:\s*)?bearer\b\s*", re.IGNORECASE)
_NO_ICEBERG = (
    "Iceberg tables are no longer supported; export them with the version that wrote them "
    "(sip-trunks export --output copy), set delta or parquet, and import them (sip-trunks import copy)"
)


def parse_duration(key: str, text: str) -> float:
    """Return a duration such as 90s, 15min, 1h or 1d in seconds. Raises ConfigError, which names `key`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text.strip())
    if not found or not float(found[1]):
        raise ConfigError(f"{key} needs a duration such as 15min, 1h or 1d, got {text!r}")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]]


def _parse_path(_key: str, text: str) -> Path:
    return Path(text).expanduser()


def _parse_suppressions(_key: str, entries: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    from trunk_transforms.audit.suppressions import parse_suppressions

    parse_suppressions(entries)
    return entries


def _parse_destination(_key: str, text: str) -> str:
    """Return the name of the destination. dlt's name `filesystem` means the Parquet lake."""
    name = text.strip().lower()
    return "parquet" if name == "filesystem" else name


def _parse_pseudonymized(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of the fields, sorted. Raises ConfigError if a field cannot be replaced by pseudonyms."""
    from trunk_transforms.parse.column_names import column_name

    columns = {name: column_name(name) for name in names}
    for name, column in columns.items():
        is_misspelt = column not in PSEUDONYMS and get_close_matches(column, PSEUDONYMS)
        if column in _NEVER_PSEUDONYMS or not column or is_misspelt:
            raise ConfigError(
                f"{key} cannot have {name!r}; it can have {', '.join(PSEUDONYMS)}, and fields that the API adds; "
                "the other declared fields are needed unchanged"
            )
    return tuple(sorted(set(columns.values())))


@dataclass(frozen=True)
class Account:
    """An account and its token."""

    name: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class TokenSettings:
    """The tokens under `[sources.famulor]`: either one, or a table of accounts."""

    api_token: Any = setting(
        "", "API token; its account is stored as default", variable="FAMULOR_API_KEY", is_secret=True
    )
    accounts: dict[str, Any] = setting(
        None, "names and tokens of several accounts, instead of api_token", is_secret=True
    )


@dataclass(frozen=True)
class ApiSettings:
    """The URL, limits and retries of the API, under `[sources.famulor]`."""

    base_url: str = setting(
        DEFAULT_BASE_URL, "URL of the API; white-label domains have their own", convert=parse_base_url
    )
    assignments: bool = setting(False, "also read which assistants answer the trunks; two more requests per account")
    attempts: Count = setting(5, "attempts per request, including the first")
    total_seconds: Amount = setting(600.0, "time limit for one account's snapshot, including retries and the download")
    connect_seconds: Amount = setting(10.0, "timeout for opening a connection")
    read_seconds: Amount = setting(60.0, "timeout for the next bytes of a response")
    backoff_seconds: Amount = setting(1.0, "wait before the second attempt; it doubles each time, with jitter")
    concurrency: Count = setting(8, "accounts fetched at the same time; never two requests with the same token")
    max_body_bytes: Count = setting(4 * 2**30, "largest accepted response, decompressed")


@dataclass(frozen=True)
class DaskSettings:
    """Workers and partitions of `--engine dask`: the `dask_…` settings under `[sip_trunks]`."""

    workers: Count = setting(2, "worker processes of --engine dask without --scheduler")
    worker_bytes: Count = setting(2 * 2**30, "memory limit of each worker, in bytes")
    partition_rows: Count = setting(100_000, "approximate number of trunks per partition; accounts are never split")


@dataclass(frozen=True)
class Settings:
    """All settings. Those declared in this class are under `[sip_trunks]`.

    `config_dir` is the `.dlt` folder in use, or None. `pseudonymize` has names of columns. `pseudonym_key` may still be
    empty; `accounts.with_pseudonym_key` also reads it from dlt's other providers.
    """

    data_dir: Path = setting(
        Path("data"),
        "folder for all stored data; relative to the folder that contains .dlt",
        written="data",
        convert=_parse_path,
    )
    config_dir: Path | None = None
    api: ApiSettings = ApiSettings()
    accounts: tuple[Account, ...] = ()
    destination: str = setting(
        "duckdb",
        "duckdb, parquet (a lake), or a database that dlt supports, such as postgres",
        convert=_parse_destination,
    )
    lake: str = setting(
        "lake", "location of the lake: a folder relative to data_dir, or a URL such as s3://bucket/lake"
    )
    table_format: Literal["parquet", "delta"] = setting(
        "parquet", "format of the lake's tables", removed={"iceberg": _NO_ICEBERG}
    )
    drift: Literal["report", "strict"] = setting("report", "strict rejects a response with drift (exit 5)")
    expected_interval_seconds: float | None = setting(
        None,
        "expected time between runs, such as 1h; auto: the median of recent runs",
        key="expected_interval",
        written="auto",
        convert=parse_duration,
    )
    pseudonymize: tuple[str, ...] = setting(
        (), 'fields to replace by pseudonyms before writing, such as "phone_number"', convert=_parse_pseudonymized
    )
    pseudonym_key: bytes = setting(
        b"", "key of pseudonymize (docs/privacy.md)", written="", is_secret=True, convert=lambda _, text: text.encode()
    )
    log_format: Literal["text", "json"] = setting(
        "text", "json: one object per line in state/sip-trunks.log and on stderr"
    )
    metrics: str = setting("state/metrics.prom", "file for Prometheus metrics; relative to data_dir")
    notify: str = setting("", "URL of a webhook (docs/watching.md)", is_secret=True, convert=check_webhook_url)
    notify_on: tuple[Event, ...] = setting(get_args(Event), "events to send to the webhook")
    notify_severity: str = setting("high", "lowest severity of new findings to send", type=Literal[SEVERITIES])
    dask: DaskSettings = DaskSettings()
    providers: Path | None = setting(
        None, "TOML file that replaces the built-in provider catalog", written="builtin", convert=_parse_path
    )
    office_hours: OfficeHours | None = setting(
        None,
        "hours in which changes are expected, such as Mo-Fr 08:00-18:00 Europe/Berlin; off: at any time",
        written="off",
        convert=lambda _, text: read_office_hours(text),
    )
    suppressions: tuple[dict[str, Any], ...] = setting(
        (), "findings to hide until a given day (docs/reports.md)", convert=_parse_suppressions
    )

    @property
    def loader_version(self) -> str:
        """The version of this program; with pseudonyms, plus a mark of the key and a mark of the fields."""
        if not self.pseudonymize:
            return __version__
        # A mark reveals only whether two keys are equal.
        texts = ("key", "\n".join(self.pseudonymize))
        marks = (hmac.digest(self.pseudonym_key, text.encode(), "sha256").hex()[:8] for text in texts)
        return f"{__version__}{PSEUDONYM_MARK}{'.'.join(marks)}"

    @property
    def destination_option(self) -> str:
        """The option that selects this destination in another command; empty for the default."""
        return "" if self.destination == "duckdb" else f" --destination {self.destination}"

    @property
    def warehouse_path(self) -> Path:
        """The published DuckDB file."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def page_path(self) -> Path:
        """The report page that every run into this destination writes; of the DuckDB file, `reports/index.html`."""
        folder = self.data_dir / "reports"
        return (folder if self.destination == "duckdb" else folder / self.destination) / "index.html"

    @property
    def last_run_path(self) -> Path:
        """The JSON file with the result of the last run."""
        return self.state_dir / "last_run.json"

    @property
    def metrics_path(self) -> Path:
        """The file with Prometheus metrics that every run writes."""
        return self.data_dir / Path(self.metrics).expanduser()

    @property
    def state_dir(self) -> Path:
        """The folder of internal files: lock, log, private database."""
        return self.data_dir / "state"


_SECTIONS: tuple[tuple[str, type], ...] = (
    ("sources.famulor.", TokenSettings),
    ("sources.famulor.", ApiSettings),
    ("sip_trunks.", Settings),
    ("sip_trunks.dask_", DaskSettings),
)


def list_settings() -> list[Setting]:
    """Return all settings of this program."""
    return [declared for prefix, section in _SECTIONS for declared in list_declared(section, prefix)]


def read_settings(destination: str | None = None) -> Settings:
    """Return the settings in use. `destination` from the command line takes precedence.

    Raises ConfigError if a name is unknown or a value is invalid. A missing token is not an error here, only in
    `accounts.pick_accounts`.
    """
    files = ConfigFiles()
    refuse_unknown_settings(files, list_settings())
    tokens, api, own, dask = (files.read(section, prefix) for prefix, section in _SECTIONS)
    # A relative path in a variable is relative to the working directory.
    home = home_of(files.folder)
    own["data_dir"] = (Path.cwd() if os.environ.get("SIP_TRUNKS__DATA_DIR") else home) / own["data_dir"]
    own["providers"] = own["providers"] and home / own["providers"]
    own["destination"] = _parse_destination("--destination", destination or own["destination"])
    return Settings(
        **own,
        config_dir=files.folder,
        api=ApiSettings(**api),
        accounts=_read_accounts(**tokens),
        dask=DaskSettings(**dask),
    )


def is_plain_name(name: str) -> bool:
    """Whether an account or a schedule can have this name."""
    return bool(_PLAIN_NAME.fullmatch(name))


def _read_accounts(api_token: object, accounts: dict[str, object]) -> tuple[Account, ...]:
    for name in accounts:
        if not is_plain_name(name):
            raise ConfigError(
                f"[sources.famulor.accounts] has the name {name!r}; use letters, digits, '.', '-' and '_'"
            )
        if name == DEMO_ACCOUNT:
            raise ConfigError(f"[sources.famulor.accounts] has the name {name!r}, which is the demo account's")
    named = accounts or ({DEFAULT_ACCOUNT: api_token} if api_token else {})
    return tuple(checked_account(name, token) for name, token in named.items())


def checked_account(name: str, token: object) -> Account:
    """Return the account; quotes, blanks and `Bearer` around its token are removed.

    Raises ConfigError, without the token, if the token is not valid in an HTTP header, or is one of Platform 2.0.
    """
    bare = _BEARER.sub("", token.strip().strip("\"'")).strip().strip("\"'") if isinstance(token, str) else ""
    if not bare:
        raise ConfigError(f"the token of account {name!r} is empty or not text")
    if bare.lower().startswith("fam_"):
        raise ConfigError(f"the token of account {name!r} begins with fam_: {PLATFORM_2}")
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise ConfigError(
            f"the token of account {name!r} has characters that are not valid in a token (spaces, line breaks, letters "
            "beyond ASCII); copy it again, without other text"
        )
    return Account(name, bare)


def find_shell_settings() -> list[str]:
    """Return the environment variables of this shell that are settings, which a schedule would not have.

    The data directory is left out, because a schedule sets it.
    """
    prefixes = ("SOURCES__FAMULOR__", "SIP_TRUNKS__", "DESTINATION__")
    ours = {name for name in os.environ if name.startswith(prefixes) or name == "FAMULOR_API_KEY"}
    return sorted(ours - {"SIP_TRUNKS__DATA_DIR"})


def refuse_characters(setting_name: str, folder: Path, unusable: str) -> None:
    """Raise ConfigError if the path of a folder has a character that a library cannot use."""
    for found in sorted(set(str(folder.resolve())) & set(unusable)):
        raise ConfigError(
            f"the path of sip_trunks.{setting_name} has the character {found!r}, which this destination cannot use; "
            "choose a folder without it"
        )


def prepare_state_dir(settings: Settings) -> None:
    """Create the folder for internal files, readable only by its owner.

    Raises ConfigError if dlt cannot work in it, DestinationError if it cannot be created.
    """
    # dlt resolves links, and writes the path as it is into formats and, for DuckDB, into SQL.
    refuse_characters("data_dir", settings.state_dir, "%'?=" if settings.destination == "duckdb" else "%")
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        settings.state_dir.chmod(0o700)
    except OSError as error:
        raise DestinationError(
            f"{settings.state_dir} cannot be created or used: {error.strerror}; sip_trunks.data_dir sets its location"
        ) from error
