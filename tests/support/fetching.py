"""One snapshot fetched from a server on loopback: with what, and what a test asks of it."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import Account, ApiSettings
from sip_trunks.famulor.client import RawSnapshot, fetch_snapshot
from tests.support.builders import IP_TRUNK, TRUNK, body
from tests.support.runs import PATIENCE_SECONDS, TOKEN
from trunk_transforms.schema.resources import TRUNKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.api import Api


ACCOUNT = Account("acme", TOKEN)


PATH = "/api/user/phone-numbers/sip-trunks"


GOOD = body(TRUNK, IP_TRUNK)


BACKOFF_SECONDS = 0.01


NOT_TO_BE_QUOTED = "content-of-the-answer"


def fetch(
    base_url: str,
    *,
    known_sha256: str | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    **limits: Any,
) -> RawSnapshot:
    """Fetch with three attempts, and with time for each however busy the machine is, unless `limits` says otherwise."""
    fitting: dict[str, Any] = {
        "attempts": 3,
        "total_seconds": PATIENCE_SECONDS,
        "connect_seconds": PATIENCE_SECONDS,
        "read_seconds": PATIENCE_SECONDS,
        "backoff_seconds": BACKOFF_SECONDS,
    }
    settings = ApiSettings(base_url=base_url, **{**fitting, **limits})
    return fetch_snapshot(ACCOUNT, settings, known_sha256=known_sha256, spool_dir=spool_dir, announce=announce)


def failure(kind: type[Exception], base_url: str, **options: Any) -> str:
    """Return the message of the error of this kind, and check that no form of it shows the token or the content."""
    with pytest.raises(kind) as caught:
        fetch(base_url, **options)
    assert type(caught.value) is kind
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value)
    assert TOKEN not in shown
    assert NOT_TO_BE_QUOTED not in shown
    assert "\n" not in str(caught.value)
    return str(caught.value)


def records(snapshot: RawSnapshot) -> list[bytes]:
    assert snapshot.records is not None
    return [bytes(record) for record in snapshot.records[TRUNKS]]


def ids(snapshot: RawSnapshot) -> list[int]:
    return [json.loads(record)["id"] for record in records(snapshot)]


def paths(api: Api) -> list[str]:
    return [path for path, _ in api.requests]


def host(api: Api) -> str:
    return api.origin.removeprefix("http://")


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of this machine out of the environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def use_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Name this proxy in the environment, as the only one."""
    forget_proxies(monkeypatch)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
