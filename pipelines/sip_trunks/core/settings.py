"""Settings by dlt's rules, read without dlt: accounts and tokens, the API's address, limits, the data directory.

An environment variable comes first (`SOURCES__FAMULOR__API_TOKEN`), then `.dlt/secrets.toml`, then
`.dlt/config.toml`. The `.dlt` folder is the working directory's or else the project's. Importing dlt would cost every
command a second; only where no token is found here are dlt's other providers (vaults, `~/.dlt`) asked.
"""

from __future__ import annotations

import hmac
import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sip_trunks import __version__
from sip_trunks.core.errors import DestinationFailed, SettingsError, name_some
from trunk_transforms.schema.reports import SEVERITIES
from trunk_transforms.schema.tables import API_COLUMNS, RESERVED_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_ACCOUNT = "default"
DEFAULT_BASE_URL = "https://app.famulor.de/api"
_PROJECT = Path(__file__).resolve().parents[3]
DEMO_ACCOUNT = "demo"
DriftMode = Literal["report", "strict"]
LogFormat = Literal["text", "json"]
TableFormat = Literal["parquet", "delta", "iceberg"]
_DRIFT_MODES: tuple[DriftMode, ...] = ("report", "strict")
_LOG_FORMATS: tuple[LogFormat, ...] = ("text", "json")
_SEVERITIES = ("high", *(severity for severity in SEVERITIES if severity != "high"))
NEWS = ("failure", "recovery", "findings", "drift", "changes")
"""What a webhook can be told of."""
_TABLE_FORMATS: tuple[TableFormat, ...] = ("parquet", "delta", "iceberg")
_OURS = (
    "dask_partition_rows",
    "dask_worker_bytes",
    "dask_workers",
    "data_dir",
    "destination",
    "drift",
    "expected_interval",
    "lake",
    "log_format",
    "metrics",
    "notify",
    "notify_on",
    "notify_severity",
    "providers",
    "pseudonym_key",
    "pseudonymize",
    "suppressions",
    "table_format",
)
PSEUDONYM_MARK = "+hmac."
_LEAST_KEY = 16
_PSEUDONYMS = ("phone_number", "sip_username")
_NEVER_PSEUDONYMS = ({column.name for column in API_COLUMNS} - set(_PSEUDONYMS)) | RESERVED_COLUMNS
_Choice = TypeVar("_Choice", bound=str)
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Account:
    """An account and the token that reads it."""

    name: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class ApiSettings:
    """Where the API is and how long to try; `[sources.famulor]` in the settings."""

    base_url: str = DEFAULT_BASE_URL
    attempts: int = 5
    total_seconds: float = 600.0
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    backoff_seconds: float = 1.0
    concurrency: int = 8
    max_body_bytes: int = 4 * 2**30


@dataclass(frozen=True)
class DaskSettings:
    """What `--engine dask` starts and hands out; `dask_…` under `[sip_trunks]` in the settings."""

    workers: int = 2
    worker_bytes: int = 2 * 2**30
    partition_rows: int = 100_000


@dataclass(frozen=True)
class Settings:
    """Everything that a command needs to know; `config_dir` is the `.dlt` in use, if there is one.

    `pseudonymize` has the names of columns; `pseudonym_key` is only what stands there, see `with_pseudonym_key`.
    """

    data_dir: Path
    config_dir: Path | None
    api: ApiSettings
    accounts: tuple[Account, ...]
    drift: DriftMode = "report"
    destination: str = "duckdb"
    lake: str = "lake"
    table_format: TableFormat = "parquet"
    expected_interval_seconds: float | None = None
    providers: Path | None = None
    suppressions: tuple[dict[str, Any], ...] = ()
    pseudonymize: tuple[str, ...] = ()
    pseudonym_key: bytes = field(default=b"", repr=False)
    dask: DaskSettings = DaskSettings()
    log_format: LogFormat = "text"
    metrics: str = "state/metrics.prom"
    notify: str = field(default="", repr=False)
    notify_on: tuple[str, ...] = NEWS
    notify_severity: str = _SEVERITIES[0]

    @property
    def loader_version(self) -> str:
        """What read an answer: the release and, if values are replaced, marks of the key and of the fields."""
        if not self.pseudonymize:
            return __version__
        marks = (self._mark("key"), self._mark(*self.pseudonymize))
        return f"{__version__}{PSEUDONYM_MARK}{'.'.join(marks)}"

    def _mark(self, *texts: str) -> str:
        # Of the key, this tells whether it is the same, and nothing else.
        return hmac.digest(self.pseudonym_key, "\n".join(texts).encode(), "sha256").hex()[:8]

    @property
    def destination_option(self) -> str:
        """What to add to a command for it to act on the same destination."""
        return "" if self.destination == "duckdb" else f" --destination {self.destination}"

    @property
    def warehouse_path(self) -> Path:
        """The published DuckDB file."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def page_path(self) -> Path:
        """The report page that every run writes."""
        return self.data_dir / "reports" / "index.html"

    @property
    def last_run_path(self) -> Path:
        """The file that holds the outcome of the last run."""
        return self.state_dir / "last_run.json"

    @property
    def metrics_path(self) -> Path:
        """The file for Prometheus that every run writes."""
        return self.data_dir / Path(self.metrics).expanduser()

    @property
    def state_dir(self) -> Path:
        """What belongs to the loader alone: its lock, its log, its private file."""
        return self.data_dir / "state"


def read_settings(destination: str | None = None) -> Settings:
    """Return the settings in force; `destination` is what the command line says instead of them.

    Raises SettingsError if a value is not what its setting needs; no token is no error yet, see `pick_accounts`.
    """
    config_dir = _find_config_dir()
    values = _Values(config_dir)
    api = ApiSettings(**{f.name: values.get(f"sources.famulor.{f.name}", like=f.default) for f in fields(ApiSettings)})
    return Settings(
        data_dir=_find_data_dir(values, config_dir),
        config_dir=config_dir,
        api=api,
        accounts=_read_accounts(values),
        drift=values.choose("sip_trunks.drift", _DRIFT_MODES),
        destination=_checked_destination(destination or values.get("sip_trunks.destination", like="duckdb")),
        lake=values.get("sip_trunks.lake", like="lake"),
        table_format=values.choose("sip_trunks.table_format", _TABLE_FORMATS),
        expected_interval_seconds=_read_interval(values),
        providers=_find_providers(values, config_dir),
        suppressions=_read_suppressions(values),
        pseudonymize=_read_pseudonymized(values),
        pseudonym_key=str(values.find("sip_trunks.pseudonym_key") or "").strip().encode(),
        dask=DaskSettings(
            **{f.name: values.get(f"sip_trunks.dask_{f.name}", like=f.default) for f in fields(DaskSettings)}
        ),
        log_format=values.choose("sip_trunks.log_format", _LOG_FORMATS),
        metrics=values.get("sip_trunks.metrics", like="state/metrics.prom"),
        notify=str(values.find("sip_trunks.notify") or "").strip(),
        notify_on=_read_news(values),
        notify_severity=values.choose("sip_trunks.notify_severity", _SEVERITIES),
    )


def pick_accounts(settings: Settings, names: list[str]) -> tuple[Account, ...]:
    """Return the accounts named, or all of them. Raises SettingsError if there is none, or none of that name."""
    accounts = settings.accounts or _account_of(_ask_dlt(settings, "sources.famulor.api_token"))
    if not accounts:
        raise SettingsError(
            "no API token: set FAMULOR_API_KEY, or api_token under [sources.famulor] in "
            f"{(settings.config_dir or Path('.dlt')) / 'secrets.toml'}; to try it without one: sip-trunks run --demo"
        )
    by_name = {account.name: account for account in accounts}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SettingsError(f"no account named {unknown[0]!r}; configured: {name_some(list(by_name), 20)}")
    return tuple(by_name[name] for name in dict.fromkeys(names)) if names else accounts


def with_pseudonym_key(settings: Settings) -> Settings:
    """Return the settings for who asks the API: with the key of the pseudonyms, if there are to be any.

    What is stored is read without it. Raises SettingsError if there is none, or one that is too short.
    """
    if not settings.pseudonymize:
        return replace(settings, pseudonym_key=b"")
    key = settings.pseudonym_key or (_ask_dlt(settings, "sip_trunks.pseudonym_key") or "").strip().encode()
    if len(key) < _LEAST_KEY:
        raise SettingsError(
            f"sip_trunks.pseudonymize needs a key of at least {_LEAST_KEY} characters: sip_trunks.pseudonym_key in "
            f"{(settings.config_dir or Path('.dlt')) / 'secrets.toml'}, or SIP_TRUNKS__PSEUDONYM_KEY; "
            "to make one: openssl rand -hex 32"
        )
    return replace(settings, pseudonym_key=key)


def find_shared_tokens(accounts: Iterable[Account]) -> list[tuple[str, ...]]:
    """Return the names that have one token: they are one account, stored twice, or one of the tokens is wrong."""
    names: dict[str, list[str]] = {}
    for account in accounts:
        names.setdefault(account.token, []).append(account.name)
    return [tuple(found) for found in names.values() if len(found) > 1]


def find_unknown_settings(settings: Settings) -> list[str]:
    """Return the settings of ours that are written down but mean nothing, such as misspelt ones."""
    known = {f"sources.famulor.{f.name}" for f in fields(ApiSettings)}
    known |= {"sources.famulor.api_token", "sources.famulor.accounts"}
    known |= {f"sip_trunks.{name}" for name in _OURS}
    found: set[str] = set()
    for file in _Values(settings.config_dir).files:
        for section in ("sources.famulor", "sip_trunks"):
            found |= {f"{section}.{name}" for name in _dig(file, section) or {}}
    for variable in os.environ:
        key = variable.lower().replace("__", ".")
        if key.startswith(("sources.famulor.", "sip_trunks.")) and not key.startswith("sources.famulor.accounts."):
            found.add(key)
    return sorted(found - known)


def find_shell_settings() -> list[str]:
    """Return the settings that only this shell's environment says, by the variables' names.

    The data directory is none of them: who starts a run elsewhere can say it again.
    """
    prefixes = ("SOURCES__FAMULOR__", "SIP_TRUNKS__", "DESTINATION__")
    ours = {name for name in os.environ if name.startswith(prefixes)} | ({"FAMULOR_API_KEY"} & set(os.environ))
    return sorted(ours - {"SIP_TRUNKS__DATA_DIR"})


def has_stored_token(settings: Settings) -> bool:
    """Whether the settings files have a token, whatever the environment says."""
    keys = ("sources.famulor.api_token", "sources.famulor.accounts")
    return any(_dig(file, key) for file in _Values(settings.config_dir).files for key in keys)


def _find_config_dir() -> Path | None:
    candidates = (Path.cwd() / ".dlt", _PROJECT / ".dlt")
    return next((path for path in candidates if path.is_dir()), None)


def _find_data_dir(values: _Values, config_dir: Path | None) -> Path:
    """A relative path counts from the folder it was written in: the shell's, or the one that holds `.dlt`."""
    home = config_dir.parent if config_dir else Path.cwd()
    from_shell = os.environ.get("SIP_TRUNKS__DATA_DIR")
    if from_shell:
        return Path(from_shell).expanduser().absolute()
    return home / Path(values.get("sip_trunks.data_dir", like="data")).expanduser()


def _read_interval(values: _Values) -> float | None:
    text: str = values.get("sip_trunks.expected_interval", like="auto")
    return None if text == "auto" else parse_duration("sip_trunks.expected_interval", text)


def parse_duration(key: str, text: str) -> float:
    """Return the seconds that a text such as 90s, 15min, 1h, 1d says. Raises SettingsError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text.strip())
    if not found or not float(found[1]):
        raise SettingsError(f"{key} needs a duration such as 15min, 1h or 1d, got {text!r}")
    return float(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]]


def _find_providers(values: _Values, config_dir: Path | None) -> Path | None:
    text: str = values.get("sip_trunks.providers", like="builtin")
    if text == "builtin":
        return None
    return (config_dir.parent if config_dir else Path.cwd()) / Path(text).expanduser()


def _read_suppressions(values: _Values) -> tuple[dict[str, Any], ...]:
    found = values.find("sip_trunks.suppressions") or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SettingsError("sip_trunks.suppressions is no list of tables: write each as [[sip_trunks.suppressions]]")
    return tuple(found)


def _read_names(values: _Values, key: str, example: str) -> list[str] | None:
    """Return the names that a setting lists, or None if it is not set. Raises SettingsError."""
    found, variable = values.find(key), key.upper().replace(".", "__")
    if not found and not os.environ.get(variable, "[]").strip():
        raise SettingsError(f"{variable} is set, but empty; give it a value, [] for none, or unset it")
    if isinstance(found, str):
        # dlt writes lists in variables as JSON; commas are easier to type.
        found = re.findall(r"[^\s,\[\]\"']+", found)
    if found is not None and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
        raise SettingsError(f"{key} needs a list such as {example}")
    return found


def _read_news(values: _Values) -> tuple[str, ...]:
    found = _read_names(values, "sip_trunks.notify_on", '["failure", "recovery"]')
    unknown = [name for name in found or () if name not in NEWS]
    if unknown:
        raise SettingsError(f"sip_trunks.notify_on can have {', '.join(NEWS)}, got {unknown[0]!r}")
    return NEWS if found is None else tuple(found)


def _read_pseudonymized(values: _Values) -> tuple[str, ...]:
    found = _read_names(values, "sip_trunks.pseudonymize", 'the fields ["phone_number", "sip_username"]')
    if not found:
        return ()
    from trunk_transforms.parse.column_names import column_name

    names = {name: column_name(name) for name in found}
    refused = [name for name, column in names.items() if column in _NEVER_PSEUDONYMS or not column]
    refused += [
        n for n, column in names.items() if column not in _PSEUDONYMS and get_close_matches(column, _PSEUDONYMS)
    ]
    if refused:
        raise SettingsError(
            f"sip_trunks.pseudonymize cannot have {refused[0]!r}; it can have {' and '.join(_PSEUDONYMS)}, and fields "
            "that the API adds: the others are needed as they are"
        )
    return tuple(sorted(set(names.values())))


def _checked_destination(name: str) -> str:
    """Dlt's own name for the lake means the lake."""
    name = name.strip().lower()
    return "parquet" if name == "filesystem" else name


def _read_accounts(values: _Values) -> tuple[Account, ...]:
    named = values.table("sources.famulor.accounts")
    if named:
        return tuple(Account(_checked_name(name), _checked_token(name, token)) for name, token in named.items())
    token = (
        values.find_in_environment("sources.famulor.api_token")
        or os.environ.get("FAMULOR_API_KEY", "").strip()
        or values.find("sources.famulor.api_token")
    )
    return _account_of(token)


def _checked_name(name: str) -> str:
    if not _ACCOUNT_NAME.fullmatch(name):
        raise SettingsError(
            f"[sources.famulor.accounts] has the name {name!r}; letters, digits, '.', '-' and '_' are allowed"
        )
    if name == DEMO_ACCOUNT:
        raise SettingsError(f"[sources.famulor.accounts] has the name {name!r}, which is the demo account's")
    return name


def _checked_token(name: str, token: object) -> str:
    # A line break or a letter outside ASCII cannot stand in a header; the token itself is never shown.
    if not isinstance(token, str) or not token.strip():
        raise SettingsError(f"the token of account {name!r} is empty or no text")
    if not (token.strip().isascii() and token.strip().isprintable()) or " " in token.strip():
        raise SettingsError(
            f"the token of account {name!r} has characters that no token has (spaces, line breaks, letters beyond "
            "ASCII); give the bare token, without 'Bearer'"
        )
    return token.strip()


def _account_of(token: object) -> tuple[Account, ...]:
    return (Account(DEFAULT_ACCOUNT, _checked_token(DEFAULT_ACCOUNT, token)),) if token else ()


def _ask_dlt(settings: Settings, key: str) -> str | None:
    """Look for a secret where only dlt can: in its global folder and its vault providers."""
    _show_project_to_dlt(settings)
    import dlt

    found: str | None = dlt.secrets.get(key, str)
    return found


def use_dlt(settings: Settings) -> None:
    """Prepare this process for `import dlt`: its settings folder, and what this product promises whatever they say."""
    _show_project_to_dlt(settings)
    # One load job at a time: the jobs are DuckDB statements that already use every core, together they only use
    # more memory.
    os.environ.setdefault("LOAD__WORKERS", "1")
    os.environ |= {
        "DLT_DATA_DIR": str(settings.state_dir / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        # dlt would finish its statements first; nothing that a stopped run wrote is published anyway.
        "RUNTIME__INTERCEPT_SIGNALS": "false",
        # dlt would keep every load package, and with it every phone number, in its working directory.
        "LOAD__DELETE_COMPLETED_JOBS": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
    }


def _show_project_to_dlt(settings: Settings) -> None:
    if settings.config_dir:
        os.environ["DLT_PROJECT_DIR"] = str(settings.config_dir.parent)


def prepare_state_dir(settings: Settings) -> None:
    """Make the loader's own folder, for its eyes only. Raises DestinationFailed if that is not possible."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        settings.state_dir.chmod(0o700)
    except OSError as error:
        raise DestinationFailed(
            f"{settings.state_dir} cannot be made or used: {error.strerror}; sip_trunks.data_dir says where it is"
        ) from error


class _Values:
    """Environment, secrets and config under one lookup."""

    def __init__(self, config_dir: Path | None) -> None:
        names = ("secrets.toml", "config.toml")
        self.files = [_read_toml(config_dir / name) for name in names] if config_dir else []

    def find_in_environment(self, key: str) -> str | None:
        """Return what the environment says; an empty variable says nothing."""
        return os.environ.get(key.upper().replace(".", "__"), "").strip() or None

    def find(self, key: str) -> Any:
        """Return the value as it was written, or None."""
        found = self.find_in_environment(key)
        if found is not None:
            return found
        return next((value for value in (_dig(file, key) for file in self.files) if value is not None), None)

    def choose(self, key: str, choices: tuple[_Choice, ...]) -> _Choice:
        """Return the value of a setting that has these choices; the first is the default. Raises SettingsError."""
        value = self.get(key, like=str(choices[0]))
        for choice in choices:
            if choice == value:
                return choice
        raise SettingsError(f"setting {key} is {' or '.join(choices)}, got {value!r}")

    def table(self, key: str) -> dict[str, Any]:
        """Return a table of names and values; the environment adds to it or overrides."""
        merged: dict[str, Any] = {}
        for file in reversed(self.files):
            found = _dig(file, key)
            merged |= found if isinstance(found, dict) else {}
        prefix = key.upper().replace(".", "__") + "__"
        known = {name.upper(): name for name in merged}
        for variable, value in os.environ.items():
            if variable.startswith(prefix) and variable != prefix:
                name = variable.removeprefix(prefix)
                merged[known.get(name, name.lower())] = value
        return merged

    def get(self, key: str, like: Any) -> Any:
        """Return the value of a setting, of the type of its default `like`. Raises SettingsError."""
        value = self.find(key)
        if value is None:
            variable = key.upper().replace(".", "__")
            if variable in os.environ:
                # An unset variable in a script must not fall back to the default unnoticed.
                raise SettingsError(f"{variable} is set, but empty; give it a value or unset it")
            return like
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError  # noqa: TRY004 - one message for every wrong value
            converted = type(like)(value)
            if isinstance(converted, int | float) and not 0 < converted < float("inf"):
                raise ValueError
        except ValueError:
            expected = "a number above 0" if isinstance(like, int | float) else "text"
            raise SettingsError(f"setting {key} needs {expected}, got {value!r}") from None
        return converted


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None


def _dig(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
