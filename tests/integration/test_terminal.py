"""Text from the API on a terminal: whatever it is, it moves no cursor, sets no title and reverses nothing."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands import main
from tests.support.builders import IP_TRUNK, TRUNK

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin

HOSTILE = "a\x1b]0;title\x07b\x9b31mc\x7fd\u202ee\u2066f\u200bg\x85h\u2028i\ufeffj"
SIGNS = ("\x1b]", *set(HOSTILE) - set("abcdefghij]0;title31m\x1b"))


class Terminal(StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


RUNS = ("run", "run --json", f"run --account {HOSTILE}")
READS = (
    *("report", "report changes", "audit", "drift", "status", "report --format html", "accounts"),
    "describe sip_trunks",
    *(f"report counts --by country_code --format {form}" for form in ("table", "csv", "json", "markdown")),
    *(f"audit --format {form}" for form in ("csv", "json", "markdown")),
    "report counts --by country_code --format csv --raw",
    *(f"drift --format {form}" for form in ("csv", "json")),
    *(f"sql FROM=sip_trunks --format {form}" for form in ("table", "csv", "json", "markdown")),
    "sql FROM=sip_trunks --format csv --raw",
    "sql PIVOT=sip_trunks=ON=country_code=USING=count(*) --format csv",
    f"sql FROM={HOSTILE.replace(' ', '')}",
    f"report {HOSTILE}",
)


def signs_of(command: str) -> list[str]:
    """Return the signs that a command writes to a terminal though it should not."""
    with redirect_stdout(Terminal()) as out, redirect_stderr(Terminal()) as errors:
        main([word.replace("=", " ") if "sql" in command else word for word in command.split(" ")])
    shown = out.getvalue() + errors.getvalue()
    assert shown, command
    return [sign for sign in SIGNS if sign in shown]


@pytest.fixture(autouse=True)
def hostile(begin: Begin, api: Api) -> None:
    begin(TRUNK, IP_TRUNK | {"country_code": HOSTILE})
    hostile = {
        "country_code": HOSTILE,
        "sip_address": HOSTILE,
        f"zz_{HOSTILE}": HOSTILE,
        "allowed_inbound_ips": [HOSTILE],
    }
    api.answer([TRUNK | hostile, IP_TRUNK | hostile | {"is_active": HOSTILE, "phone_number": HOSTILE}])


@pytest.mark.parametrize("command", RUNS)
def test_text_of_the_api_is_escaped_in_the_result_of_a_run(command: str) -> None:
    assert signs_of(command) == []


def test_text_of_the_api_is_escaped_on_a_terminal_in_every_format() -> None:
    main(["run"])
    assert {command: signs for command in READS if (signs := signs_of(command))} == {}
