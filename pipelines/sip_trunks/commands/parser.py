"""The parser of the program, of a command or of an action.

All of them have the same options for folders and errors. Errors show the usage of the command, and suggest a name like
the one that was typed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Parser(argparse.ArgumentParser):
    """A parser whose options are declared when they are needed, because that imports the module of the command."""

    declare: Callable[[Parser], None] | None = None
    _is_complete = False

    def complete(self) -> None:
        """Declare the options, unless that is done: those of `declare`, and those of every command."""
        if self._is_complete:
            return
        self._is_complete = True
        if self.declare is not None:
            self.declare(self)
        for name, more in _COMMON.items():
            # An absent option of a command must not replace one before the command.
            self.add_argument(name, default=argparse.SUPPRESS, **more)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, but refuse unknown arguments here, where the command is known."""
        self.complete()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from sip_trunks.core.errors import suggest  # slow to import

            near = suggest(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from sip_trunks.core.errors import suggest

            error.message += suggest(str(value), map(str, action.choices or ()))
            raise


_COMMON: dict[str, dict[str, Any]] = {
    "--config": {"metavar": "DIR", "help": "folder with the settings (default: .dlt, here or above)"},
    "--data-dir": {"metavar": "DIR", "help": "folder for all stored data (default: sip_trunks.data_dir)"},
    "--debug": {"action": "store_true", "help": "show the traceback of an error"},
}
