"""Command lines that are refused before anything is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands import main
from tests.support.runs import call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["nope"], "invalid choice: 'nope'"),
        (["staus"], "did you mean status?"),
        (["schedule", "instal"], "sip-trunks schedule: error: argument ACTION: invalid choice: 'instal'"),
        (["run", "--acount", "x"], "usage: sip-trunks run "),
        (
            ["run", "--acount", "x"],
            "sip-trunks run: error: unrecognized arguments: --acount x; did you mean --account?",
        ),
        (["accounts", "forget", "a", "b"], "usage: sip-trunks accounts forget "),
        (["status", "--config"], "sip-trunks status: error: argument --config: expected one argument"),
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
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rules", "allowlist-emty"], "did you mean allowlist-empty"),
        (["report", "overviw"], "did you mean overview?"),
        (["describe", "runz"], "did you mean runs?"),
        (["run", "--account", "defualt"], "configured: default; did you mean default?"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error_that_suggests_one(arguments: list[str], message: str) -> None:
    assert message in call(*arguments, code=2)


@pytest.mark.usefixtures("place")
def test_a_rule_is_explained_by_name() -> None:
    explained = call("rules", "allowlist-empty")
    assert explained.startswith("critical  allowlist-empty\n")
    assert "          fix   add the addresses" in explained
    assert {row["rule"].partition("-")[0] for row in json.loads(call("rules", "allowlist", "--json"))} == {"allowlist"}
    assert len(json.loads(call("rules", "--json"))) > 40


@pytest.mark.usefixtures("place")
def test_the_debug_option_may_be_before_and_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--debug", "report", "nope"], ["report", "nope", "--debug"]):
        assert main(arguments) == 2
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_has_the_options_of_every_command(place: Path, shell: str) -> None:
    (place / ".dlt").mkdir()
    (place / ".dlt" / "config.toml").write_text("[sip_trunk]\nlake = 1")  # a shell starts in any folder
    script = call("completion", shell)
    for word in ("schedule", "install", "every", "fail-on", "config"):
        assert word in script


@pytest.mark.usefixtures("place")
def test_a_port_that_is_taken_is_a_usage_error(api: Api) -> None:
    assert "--port" in call("demo-api", "--port", api.origin.rpartition(":")[2], code=2)
