"""Read settings by dlt's rules without dlt: first the environment, then `secrets.toml`, then `config.toml`.

Each setting is declared once, as a field of a dataclass: `attempts: Count = setting(5, "…")`. The declaration is enough
to read, validate and document it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from sip_trunks.core.errors import ConfigError

Count = Annotated[int, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]
_PROJECT = Path(__file__).resolve().parents[3]
_DOT_DLT = ".dlt"
_FILE_NAMES = ("secrets.toml", "config.toml")
# dlt's variables: the folder of a project, and the folder of settings in it.
_PROJECT_VARIABLE, _FOLDER_VARIABLE = "DLT_PROJECT_DIR", "DLT_CONFIG_FOLDER"
_WORDS: Mapping[Any, str] = {
    Count: "a whole number above 0",
    Amount: "a number above 0",
    bool: "true or false",
    dict[str, Any]: "a table",
}


@dataclass(frozen=True)
class Setting:
    """A declared setting.

    `key` is the full name, such as `sip_trunks.drift`; `name` and `default` belong to the field. `written` is the
    default as written in a file, and `type` the type in the file. `convert` is called with the key and the value,
    unless the value is the default; it may raise ValueError. `variable` is a second environment variable. A secret's
    value never appears in a message. `removed` maps each value that is no longer supported to an error message.
    """

    meaning: str
    key: str = ""
    name: str = ""
    type: Any = None
    default: Any = None
    written: Any = None
    convert: Callable[[str, Any], Any] | None = None
    variable: str = ""
    is_secret: bool = False
    removed: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_variable(self) -> str:
        """The setting's environment variable by dlt's rules."""
        return self.key.upper().replace(".", "__")


def setting(default: Any, meaning: str, **more: Any) -> Any:
    """Declare a field of a dataclass as a setting; `more` sets other members of `Setting`."""
    declared = Setting(meaning, default=default, **more)
    return field(default=default, repr=not declared.is_secret, metadata={"setting": declared})


@cache
def list_declared(section: type, prefix: str) -> tuple[Setting, ...]:
    """Return the settings that a dataclass declares, in order. The dataclass must not use string annotations."""
    return tuple(
        replace(
            declared,
            key=prefix + (declared.key or each.name),
            name=each.name,
            type=declared.type or (each.type if declared.written is None else type(declared.written)),
            written=declared.default if declared.written is None else declared.written,
        )
        for each in fields(section)
        for declared in each.metadata.values()
    )


class ConfigFiles:
    """The environment and the two files of `folder`, the first existing one of `list_config_dirs`, if there is one."""

    def __init__(self) -> None:
        # `Path.is_dir` raises an error for an unreadable folder.
        self.folder = next((path for path in list_config_dirs() if os.path.isdir(path)), None)  # noqa: PTH112
        paths = [self.folder / name for name in _FILE_NAMES] if self.folder else []
        self.files = {path: _read_toml(path) for path in paths}

    def read(self, section: type, prefix: str) -> dict[str, Any]:
        """Return the values of the settings that a dataclass declares, by field.

        Raises ConfigError if a value is invalid.
        """
        return {declared.name: self._read(declared) for declared in list_declared(section, prefix)}

    def list_names(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Yield the file and the path of names of every value that is not a table."""
        for path, file in self.files.items():
            yield from ((path, names) for names in _walk(file))

    def _read(self, declared: Setting) -> Any:
        value = self._table(declared) if get_origin(declared.type) is dict else self._find(declared)
        if not value and not declared.is_secret and not os.environ.get(declared.own_variable, "-").strip():
            # In a script, an empty variable must not silently mean the default.
            raise ConfigError(f"{declared.own_variable} is set, but empty; give it a value, or unset it")
        value = declared.written if value is None else _typed(declared, value)
        if value == "" and declared.written:
            raise ConfigError(f"setting {declared.key} is empty; give it a value, or delete its line")
        if value == declared.written:
            return declared.default
        try:
            return declared.convert(declared.key, value) if declared.convert else value
        except ValueError as error:
            shown = f"[[{declared.key}]]" if isinstance(value, tuple) else declared.key
            raise ConfigError(f"{shown}: {error}") from None

    def _find(self, declared: Setting) -> Any:
        for variable in (declared.own_variable, declared.variable):
            text = os.environ.get(variable, "").strip()
            if text:
                return text
        values = [value for file in self.files.values() if (value := dig(file, declared.key)) is not None]
        if declared.key == "sip_trunks.destination":
            # `[sip_trunks.destination.postgres]` is dlt's own, for a pipeline of that name.
            values = [value for value in values if not isinstance(value, dict)]
        return next(iter(values), None)

    def _table(self, declared: Setting) -> dict[str, Any]:
        """Return a table of names and values from the files; environment variables add to it or override it."""
        merged: dict[str, Any] = {}
        for file in reversed(self.files.values()):
            if (found := dig(file, declared.key)) is not None:
                merged |= _typed(declared, found)
        prefix = f"{declared.own_variable}__"
        known = {name.upper(): name for name in merged}
        for variable, value in os.environ.items():
            if variable.startswith(prefix) and variable != prefix:
                name = variable.removeprefix(prefix)
                merged[known.get(name, name.lower())] = value
        return merged


def list_config_dirs() -> list[Path]:
    """Return the folders that are searched for settings, in order: the named one, or `.dlt` here, above, and ours.

    A folder above the working directory that belongs to another user is left out: its settings would say where to send
    the token. So is the one in the home directory, which dlt shares between all projects.
    """
    if named := os.environ.get(_PROJECT_VARIABLE):
        return [Path(named) / os.environ.get(_FOLDER_VARIABLE, _DOT_DLT)]
    here, home = Path.cwd(), Path("~").expanduser()
    above = [path / _DOT_DLT for path in here.parents if path != home]
    return [here / _DOT_DLT, *(path for path in above if not _is_foreign(path, here)), _PROJECT / _DOT_DLT]


def _is_foreign(path: Path, here: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_uid not in {0, os.geteuid(), here.stat().st_uid}
    return False


def name_config_dir(name: str | Path) -> dict[str, str]:
    """Return the environment variables that name a folder of settings, or the `.dlt` in it, to this program and to dlt.

    Raises ConfigError if the folder has no settings.
    """
    given = Path(name).absolute()
    folder = given / _DOT_DLT if (given / _DOT_DLT).is_dir() else given
    if folder.name != _DOT_DLT and not any((folder / file).is_file() for file in _FILE_NAMES):
        raise ConfigError(f"{name} has no {_DOT_DLT}, {' or '.join(_FILE_NAMES)}; name a folder with one of them")
    home = home_of(folder)
    return {_PROJECT_VARIABLE: str(home), _FOLDER_VARIABLE: str(folder.relative_to(home))}


def home_of(config_dir: Path | None) -> Path:
    """Return the folder that relative paths in the settings start from: the one with `.dlt`, or the working directory.

    A folder of settings with another name is its own home.
    """
    if config_dir is None:
        return Path.cwd()
    return config_dir.parent if config_dir.name == _DOT_DLT else config_dir


def dig(values: Any, key: str) -> Any:
    """Return the value at a dotted key of nested tables, or None."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def describe_type(kind: Any) -> str:
    """Return the allowed values of a type in words."""
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if item in _WORDS:
            return "tables written as [[…]]"
        return f"a list of {'names' if item is str else describe_type(item)}"
    return _WORDS.get(kind, "text")


def _typed(declared: Setting, value: Any) -> Any:
    """Return the value as its setting's type. Raises ConfigError."""
    if isinstance(value, str):
        value = value.strip()
        if value in declared.removed:
            raise ConfigError(f"{declared.key} = {value!r}: {declared.removed[value]}")
        if get_origin(declared.type) is tuple:
            # In variables, dlt uses JSON lists; commas or spaces are accepted too.
            value = re.findall(r"[^\s,\[\]\"']+", value)
    try:
        return msgspec.convert(value, declared.type, strict=False)
    except msgspec.ValidationError:
        got = "" if declared.is_secret else f", got {value!r}"
        raise ConfigError(f"setting {declared.key} needs {describe_type(declared.type)}{got}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _walk(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        names = (*above, name)
        yield from _walk(value, names) if isinstance(value, dict) else [names]
