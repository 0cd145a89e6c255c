"""The commands: one module per command, with its options (`add_arguments`) and what it does (`run`).

`main` may be called by another program: it leaves signal handlers, streams and the environment as they are.
"""

from sip_trunks.commands.dispatch import main

__all__ = ["main"]
