"""The commands: one module per command, with its options (`add_arguments`) and its action (`run`).

A program may call `main`: it leaves signal handlers, streams and the environment unchanged.
"""

from sip_trunks.commands.dispatch import main

__all__ = ["main"]
