"""What only a lookup of a name that no DNS knows can show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.core.errors import ApiUnreachableError
from tests.support.faulty_server import Bystander
from tests.support.fetching import failure, forget_proxies, use_proxy

if TYPE_CHECKING:
    import pytest


def test_an_unknown_host_is_retried_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)
    announced: list[str] = []
    message = failure(ApiUnreachableError, "https://sip-trunks.invalid/api", announce=announced.append)
    assert message == "sip-trunks.invalid sent no complete response after 3 attempts: the host name is not known (DNS)"
    assert len(announced) == 2


def test_a_host_that_is_exempt_from_the_proxy_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Bystander()
    use_proxy(monkeypatch, f"http://{elsewhere.host}")
    monkeypatch.setenv("no_proxy", "sip-trunks.invalid")
    monkeypatch.setenv("NO_PROXY", "sip-trunks.invalid")
    try:
        assert "DNS" in failure(ApiUnreachableError, "https://sip-trunks.invalid/api", attempts=1)
        assert not elsewhere.was_contacted
    finally:
        elsewhere.close()
