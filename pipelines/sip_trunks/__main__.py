"""`python -m sip_trunks` is `sip-trunks`."""

from __future__ import annotations

import sys

from sip_trunks.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
