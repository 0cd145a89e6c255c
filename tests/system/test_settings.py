"""Settings that only dlt finds, in the user's own folder: a process of its own, since dlt keeps what it has read."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_where_settings_hold_no_token_dlt_is_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMULOR_API_KEY")
    (place / ".dlt").mkdir()
    (place / "home" / ".dlt").mkdir(parents=True)
    (place / "home" / ".dlt" / "secrets.toml").write_text('[sources.famulor]\napi_token = "from-home"')
    # For root, dlt's folder is /var/dlt, which is no place for a test: dlt is told that this is an ordinary user.
    code = "import os; os.geteuid = lambda: 1000; from sip_trunks.core.accounts import pick_accounts; "
    code += "from sip_trunks.core.settings import read_settings; print(pick_accounts(read_settings(), [])[0].token)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "from-home", done.stderr
