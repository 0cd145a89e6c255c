"""The declared settings as text: the sections of `.dlt/config.toml`, and the settings table of the documentation."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Literal, get_origin

from sip_trunks.core.config_files import describe_type
from sip_trunks.core.settings import list_settings

if TYPE_CHECKING:
    from sip_trunks.core.config_files import Setting

COLUMNS = ("setting", "default", "values", "meaning")


def list_rows() -> list[list[str]]:
    """Return the settings table of the documentation: `COLUMNS`, one row per setting, defaults as TOML."""
    return [
        [
            declared.key,
            "" if declared.is_secret else json.dumps(declared.written, ensure_ascii=False),
            "secret" if declared.is_secret else describe_type(declared.type),
            declared.meaning + (f"; also {declared.variable}" if declared.variable else ""),
        ]
        for declared in list_settings()
    ]


def render_config() -> str:
    """Return the sections of `.dlt/config.toml`: all settings except secrets, with default and meaning."""
    # `suppressions = []` would clash with the example of `[[sip_trunks.suppressions]]`.
    shown = [each for each in list_settings() if not each.is_secret and "[[" not in describe_type(each.type)]
    sections = groupby(shown, lambda declared: declared.key.rpartition(".")[0])
    return "\n\n".join("\n".join([f"[{name}]", *map(_render_line, section)]) for name, section in sections)


def _render_line(declared: Setting) -> str:
    line = f"{declared.key.rpartition('.')[2]} = {json.dumps(declared.written, ensure_ascii=False)}"
    choices = f"{describe_type(declared.type)}; " if get_origin(declared.type) is Literal else ""
    return f"{line:<39}  # {choices}{declared.meaning}"
