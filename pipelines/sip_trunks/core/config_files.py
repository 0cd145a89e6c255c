"""Read settings by dlt's rules without dlt: first the environment, then `secrets.toml`, then `config.toml`.

Each setting is declared once, as a field of a dataclass: `attempts: Count = setting(5, "…")`. The declaration is enough
to read, validate and document it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from sip_trunks.core.errors import ConfigError

Count = Annotated[int, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]
_PROJECT = Path(__file__).resolve().parents[3]
_WORDS: Mapping[Any, str] = {Count: "a whole number above 0", Amount: "a number above 0", dict[str, Any]: "a table"}


@dataclass(frozen=True)
class Setting:
    """A declared setting.

    `key` is the full name, such as `sip_trunks.drift`; `name` and `default` belong to the field. `written` is the
    default as written in a file, and `type` the type in the file. `convert` is called with the key and the value,
    unless the value is the default. `variable` is a second environment variable. A secret's value never appears in a
    message. `removed` maps each value that is no longer supported to an error message.
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
    """The environment and the two files of a `.dlt` folder."""

    def __init__(self, folder: Path | None) -> None:
        names = ("secrets.toml", "config.toml")
        self.files = [_read_toml(folder / name) for name in names] if folder else []

    def read(self, section: type, prefix: str) -> dict[str, Any]:
        """Return the values of the settings that a dataclass declares, by field.

        Raises ConfigError if a value is invalid.
        """
        return {declared.name: self._read(declared) for declared in list_declared(section, prefix)}

    def keys_of(self, section: str) -> set[str]:
        """Return the full keys of a section in the files."""
        tables = (dig(file, section) for file in self.files)
        return {f"{section}.{name}" for table in tables if isinstance(table, dict) for name in table}

    def _read(self, declared: Setting) -> Any:
        value = self._table(declared) if get_origin(declared.type) is dict else self._find(declared)
        if not value and not declared.is_secret and not os.environ.get(declared.own_variable, "-").strip():
            # In a script, an empty variable must not silently mean the default.
            raise ConfigError(f"{declared.own_variable} is set, but empty; give it a value, or unset it")
        value = declared.written if value is None else _typed(declared, value)
        if value == declared.written:
            return declared.default
        return declared.convert(declared.key, value) if declared.convert else value

    def _find(self, declared: Setting) -> Any:
        for variable in (declared.own_variable, declared.variable):
            text = os.environ.get(variable, "").strip()
            if text:
                return text
        return next((value for value in (dig(file, declared.key) for file in self.files) if value is not None), None)

    def _table(self, declared: Setting) -> dict[str, Any]:
        """Return a table of names and values from the files; environment variables add to it or override it."""
        merged: dict[str, Any] = {}
        for file in reversed(self.files):
            if (found := dig(file, declared.key)) is not None:
                merged |= _typed(declared, found)
        prefix = f"{declared.own_variable}__"
        known = {name.upper(): name for name in merged}
        for variable, value in os.environ.items():
            if variable.startswith(prefix) and variable != prefix:
                name = variable.removeprefix(prefix)
                merged[known.get(name, name.lower())] = value
        return merged


def find_config_dir() -> Path | None:
    """Return the `.dlt` folder in the working directory, else the project's, else None."""
    return next((path for path in (Path.cwd() / ".dlt", _PROJECT / ".dlt") if path.is_dir()), None)


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
