"""The declared settings as text: `.dlt/config.toml`, `.dlt/example.secrets.toml`, and the table of the documentation.

`make docs` writes all three.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sip_trunks.core.config_files import describe_type
from sip_trunks.core.settings import list_settings

if TYPE_CHECKING:
    from sip_trunks.core.config_files import Declared

COLUMNS = ("setting", "default", "values", "meaning")
_COMMENT_AT = 39
_CONFIG_HEAD = """\
# Every setting with its default; `make docs` writes this file. An environment variable wins over it:
# SOURCES__FAMULOR__BASE_URL=…  Secrets do not belong here: see example.secrets.toml.
"""
_CONFIG_TAIL = """\

# Accept a finding until a day:
# [[sip_trunks.suppressions]]
# rule = "allowlist-wide"                # or a family of rules, such as "allowlist"
# trunk_id = 2121
# account = "default"                    # optional; without it, the trunk of this id in every account
# reason = "the carrier moves within its own /20"
# until = 2027-06-30

[runtime]
dlthub_telemetry = false                 # dlt's telemetry; it stays off whatever this says
log_level = "WARNING"                    # lowest level of dlt's log that goes into state/sip-trunks.log
"""
_SECRETS_HEAD = """\
# Copy to .dlt/secrets.toml (git ignores it) and put your token in, or set FAMULOR_API_KEY instead; `make docs` writes
# this file.

[sources.famulor]
api_token = ""

# Several accounts, each with a name and a token, instead of api_token:
# [sources.famulor.accounts]
# acme = ""
# beta = ""

# [sip_trunks]
"""


def list_rows() -> list[list[str]]:
    """Return the table of the documentation: one row of `COLUMNS` per setting, its default as in a file."""
    return [
        [
            declared.key,
            "" if declared.setting.is_secret else _as_toml(declared.default),
            "secret" if declared.setting.is_secret else describe_type(declared.type),
            declared.setting.meaning + (f"; also {declared.setting.variable}" if declared.setting.variable else ""),
        ]
        for declared in list_settings()
    ]


def render_config() -> str:
    """Return `.dlt/config.toml`: every setting that is not a secret, with its default and its meaning."""
    text, section = _CONFIG_HEAD, ""
    for declared in list_settings():
        # An empty array of tables cannot be written beside the example of one.
        if declared.setting.is_secret or "[[" in describe_type(declared.type):
            continue
        head, _, name = declared.key.rpartition(".")
        if head != section:
            text, section = f"{text}\n[{head}]\n", head
        text += _commented(f"{name} = {_as_toml(declared.default)}", _describe(declared))
    return text + _CONFIG_TAIL


def render_secrets() -> str:
    """Return `.dlt/example.secrets.toml`: the secrets, without a value."""
    lines = [
        _commented(f'# {declared.key.rpartition(".")[2]} = ""', declared.setting.meaning)
        for declared in list_settings()
        if declared.setting.is_secret and declared.key.startswith("sip_trunks.")
    ]
    return _SECRETS_HEAD + "".join(lines)


def _commented(line: str, comment: str) -> str:
    return f"{line:<{_COMMENT_AT}}  # {comment}\n"


def _describe(declared: Declared) -> str:
    """Return the meaning, after the choices if there are some; a list of choices has all of them by default."""
    choices = describe_type(declared.type)
    is_choice = " or " in choices and isinstance(declared.default, str)
    return f"{choices}; {declared.setting.meaning}" if is_choice else declared.setting.meaning


def _as_toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
