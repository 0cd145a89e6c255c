"""Values of settings by dlt's rules, read without dlt: the environment, `secrets.toml`, `config.toml`, in this order.

A setting is declared once, as a field of a dataclass: `attempts: Annotated[int, Setting("…")] = 5`. Reading, checking
and documenting it follow from that.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from sip_trunks.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Count = Annotated[int, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]
_PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its name, type and default, which are its field's.

    `written` and `type` are the default and the type in a file where the field has others: `convert`, called with the
    key and the value, makes one of the other. `variable` is a second environment variable, `is_secret` keeps the value
    out of messages and `config.toml`, `removed` has messages on values that are no longer supported.
    """

    meaning: str
    key: str = ""
    type: Any = None
    written: Any = None
    variable: str = ""
    is_secret: bool = False
    convert: Callable[[str, Any], Any] | None = None
    removed: Mapping[str, str] = field(default_factory=dict)


class Declared(NamedTuple):
    """A setting under its full key, such as `sip_trunks.drift`; `default` is as a file has it."""

    key: str
    field: str
    type: Any
    default: Any
    setting: Setting

    @property
    def variable(self) -> str:
        """The environment variable that dlt's rules give it."""
        return self.key.upper().replace(".", "__")


@cache
def list_declared(section: type, prefix: str) -> tuple[Declared, ...]:
    """Return the settings that a dataclass declares, in its order; its annotations must not be strings."""
    return tuple(
        Declared(
            key=prefix + (setting.key or each.name),
            field=each.name,
            type=setting.type or each.type,
            default=each.default if setting.written is None else setting.written,
            setting=setting,
        )
        for each in fields(section)
        for setting in get_args(each.type)
        if isinstance(setting, Setting)
    )


class ConfigFiles:
    """The environment and the two files of a `.dlt` folder, under one lookup."""

    def __init__(self, folder: Path | None) -> None:
        names = ("secrets.toml", "config.toml")
        self.files = [_read_toml(folder / name) for name in names] if folder else []

    def read(self, section: type, prefix: str) -> dict[str, Any]:
        """Return the values of the settings that a dataclass declares, by field.

        Raises SettingsError if a value is not what its setting needs.
        """
        return {declared.field: self._read(declared) for declared in list_declared(section, prefix)}

    def keys_of(self, section: str) -> set[str]:
        """Return the full keys that the files have in a section."""
        tables = (dig(file, section) for file in self.files)
        return {f"{section}.{name}" for table in tables if isinstance(table, dict) for name in table}

    def _read(self, declared: Declared) -> Any:
        value = self._table(declared) if get_origin(_bare(declared.type)) is dict else self._find(declared)
        is_empty = not os.environ.get(declared.variable, "-").strip()
        if not value and is_empty and not declared.setting.is_secret:
            # An empty variable in a script must not fall back to the default unnoticed.
            raise SettingsError(f"{declared.variable} is set, but empty; give it a value, or unset it")
        value = _typed(declared, declared.default if value is None else value)
        return declared.setting.convert(declared.key, value) if declared.setting.convert else value

    def _find(self, declared: Declared) -> Any:
        for variable in (declared.variable, declared.setting.variable):
            text = os.environ.get(variable, "").strip()
            if text:
                return text
        return next((value for value in (dig(file, declared.key) for file in self.files) if value is not None), None)

    def _table(self, declared: Declared) -> dict[str, Any]:
        """Return a table of names and values; the environment adds to it, or overrides."""
        merged: dict[str, Any] = {}
        for file in reversed(self.files):
            found = dig(file, declared.key)
            merged |= {} if found is None else _typed(declared, found)
        prefix = f"{declared.variable}__"
        known = {name.upper(): name for name in merged}
        for variable, value in os.environ.items():
            if variable.startswith(prefix) and variable != prefix:
                name = variable.removeprefix(prefix)
                merged[known.get(name, name.lower())] = value
        return merged


def find_config_dir() -> Path | None:
    """Return the `.dlt` folder in use: the working directory's, or else the project's."""
    candidates = (Path.cwd() / ".dlt", _PROJECT / ".dlt")
    return next((path for path in candidates if path.is_dir()), None)


def dig(values: Any, key: str) -> Any:
    """Return what nested tables have under a key with dots, or None."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def describe_type(kind: Any) -> str:
    """Return what a setting of this type needs, in words."""
    kind = _bare(kind)
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is dict:
            return "tables written as [[…]]"
        return f"a list of {describe_type(item) if get_origin(item) is Literal else 'names'}"
    return {int: "a whole number above 0", float: "a number above 0", dict: "a table"}.get(
        get_origin(kind) or kind, "text"
    )


def _typed(declared: Declared, value: Any) -> Any:
    """Return a value as its setting's type. Raises SettingsError."""
    if isinstance(value, str) and value in declared.setting.removed:
        raise SettingsError(f"{declared.key} = {value!r}: {declared.setting.removed[value]}")
    if isinstance(value, str) and get_origin(_bare(declared.type)) is tuple:
        # dlt writes lists in variables as JSON; commas are easier to type.
        value = re.findall(r"[^\s,\[\]\"']+", value)
    try:
        return msgspec.convert(value, declared.type, strict=False)
    except msgspec.ValidationError:
        got = "" if declared.setting.is_secret else f", got {value!r}"
        raise SettingsError(f"setting {declared.key} needs {describe_type(declared.type)}{got}") from None


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
