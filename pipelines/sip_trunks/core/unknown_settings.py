"""Find names in the files and the environment that look like settings of this program, but are not.

A misspelt name would silently mean the default: plain phone numbers instead of pseudonyms. Other programs share the
files and the environment, and dlt reads tables of its own. So only three kinds of names are errors: an unknown name in
a section of this program, a section with nearly that name, and a setting of this program outside its section.
"""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import get_origin

from sip_trunks.core.config_files import ConfigFiles, Setting
from sip_trunks.core.errors import ConfigError
from trunk_transforms.schema.resources import RESOURCES

Known = Mapping[str, Setting]

_DLT_TABLES = {
    "sources.famulor": {"data_writer", "extract", "famulor", "normalize", "schema", *(each.name for each in RESOURCES)},
    "sip_trunks": {"data_writer", "destination", "extract", "load", "normalize", "runtime", "schema", "sources"},
}
"""The tables that dlt reads in this program's sections: for the source `famulor`, and for a pipeline `sip_trunks`."""
_DLT_KEYS = {"sources.famulor.account", "log_format"}
"""Keys that dlt reads: an argument of the source `famulor`, and a setting of its own that needs no section."""
_NEAR_RATIO, _NEAR_LENGTH = 0.8, 2


def refuse_unknown_settings(files: ConfigFiles, declared: Sequence[Setting]) -> None:
    """Raise ConfigError, with the setting that may have been meant, if a file or the environment has unknown names."""
    known = {each.key: each for each in declared}
    problems = [
        f"{'.'.join(names)} in {file}{_describe(meant)}"
        for file, names in files.list_names()
        if (meant := _find_meant(known, names)) is not None
    ]
    problems += [
        f"{name}{_describe(_variable_of(known, meant))}"
        for name in sorted(os.environ)
        if (meant := _find_meant_variable(known, name)) is not None
    ]
    if problems:
        raise ConfigError(f"unknown {'settings' if problems[1:] else 'setting'} {'; '.join(problems)}")


def _describe(meant: str) -> str:
    return f": did you mean {meant}?" if meant else "; docs/settings.md and .dlt/config.toml list the settings"


def _variable_of(known: Known, key: str) -> str:
    if key not in known:
        return ""
    return known[key].own_variable + ("__NAME" if _is_table(known[key]) else "")


def _find_meant(known: Known, names: Sequence[str]) -> str | None:
    """Return the key that may have been meant by a wrong path of names, or an empty text; None for any other path."""
    for section in _DLT_TABLES:
        parts = section.split(".")
        inside = names[len(parts) :]
        if list(names[: len(parts)]) == parts[: len(names)]:
            if _is_known(known, section, inside):
                return None
            return _guess(known, section, inside) if inside else f"a table [{section}]"
    for section in _DLT_TABLES:
        parts = section.split(".")
        is_near = len(names) > len(parts) and all(map(_is_near, names, parts))
        if is_near or _is_misplaced(known, section, names):
            return _guess(known, section, names[len(parts) :] if is_near else names[-1:]) or f"[{section}]"
    return None


def _is_known(known: Known, section: str, inside: Sequence[str]) -> bool:
    """Whether this program or dlt reads the path `inside` of a section. A wrong type is another error."""
    if not inside:
        return False
    key = f"{section}.{inside[0]}"
    return key in known or key in _DLT_KEYS or (len(inside) > 1 and inside[0] in _DLT_TABLES[section])


def _is_misplaced(known: Known, section: str, names: Sequence[str]) -> bool:
    """Whether the names are a setting of the section at the top of a file, or in a section such as `[famulor]`."""
    *tables, name = names
    if not tables:
        own = [key.rpartition(".")[2] for key in known if key.startswith("sip_trunks.")]
        return section == "sip_trunks" and name not in _DLT_KEYS and any(_is_near(name, other) for other in own)
    is_short = len(tables) == 1 or tables[:-1] == ["sources"]
    return is_short and _is_near(tables[-1], section.rpartition(".")[2]) and f"{section}.{name}" in known


def _guess(known: Known, section: str, inside: Sequence[str]) -> str:
    """Return the key that is nearest to a path in a section, else one with that name elsewhere, else an empty text."""
    name = "_".join(inside)
    own = {key.removeprefix(f"{section}."): key for key in known if key.startswith(f"{section}.")}
    near = [own[found] for found in get_close_matches(name.lower(), own, 1)]
    return next(iter(near + [key for key in known if inside and key.endswith(f".{inside[-1]}")]), "")


def _find_meant_variable(known: Known, name: str) -> str | None:
    """Return the key that may have been meant by a wrong variable, or an empty text; None for any other variable."""
    names = name.lower().split("__")
    if found := known.get(".".join(names)):
        return found.key if name != found.own_variable or _is_table(found) else None
    if len(names) > 1 and (meant := _find_meant(known, names)) is not None:
        return meant
    words = re.findall(r"[^_]+", name.lower())
    is_nested = name.startswith(("SIP_TRUNKS__", "SOURCES__FAMULOR__"))
    for section in _DLT_TABLES if len(words) > 2 and not is_nested else ():
        # Both sections have two words.
        if _is_near("_".join(words[:2]), section.replace(".", "_")):
            for key in known:
                if key.startswith(f"{section}.") and _is_near("_".join(words[2:]), key.rpartition(".")[2]):
                    return key
    return None


def _is_table(declared: Setting) -> bool:
    return get_origin(declared.type) is dict


def _is_near(name: str, ours: str) -> bool:
    """Whether a name is ours, or a misspelling: not one with digits or a word more, such as `sip_trunks_eu`."""
    if name.startswith(f"{ours}_") or name.endswith(f"_{ours}"):
        return False
    plain, plain_ours = (re.sub(r"[\W_]", "", text.lower()) for text in (name, ours))
    if plain == plain_ours:
        return True
    if not plain.isalpha() or abs(len(plain) - len(plain_ours)) > _NEAR_LENGTH:
        return False
    return SequenceMatcher(None, plain, plain_ours).ratio() >= _NEAR_RATIO
