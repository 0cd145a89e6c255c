"""Command lines that are refused before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands import main
from tests.support.runs import call

if TYPE_CHECKING:
    from tests.support.api import Api


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["nope"], "invalid choice: 'nope'"),
        (["run", "--demo", "--account", "x"], "not allowed with argument --demo"),
        (["run", "--nope"], "unrecognized arguments: --nope"),
        (["demo-api", "--port", "70000"], "must be a port from 0 to 65535"),
        (["demo-api", "--port", "-1"], "--port"),
        (["report", "--as-of", "yesterday"], "must be a date or time"),
    ],
)
def test_a_command_line_that_cannot_be_parsed_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


@pytest.mark.usefixtures("place")
def test_a_port_that_is_taken_is_a_usage_error(api: Api) -> None:
    assert "--port" in call("demo-api", "--port", api.origin.rpartition(":")[2], code=2)
