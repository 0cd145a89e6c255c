"""Connections to the API: TLS, and the proxies that the environment names."""

from __future__ import annotations

import re
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import ApiUnreachableError, ConfigError
from tests.support.builders import body, trunk
from tests.support.certificates import write_certificate
from tests.support.faulty_server import DRIPPING, Bystander, FaultyServer, response, send
from tests.support.fetching import GOOD, failure, fetch, forget_proxies, ids, use_proxy
from tests.support.runs import TOKEN
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.api import Api


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of this machine has no part in these tests."""
    forget_proxies(monkeypatch)


@pytest.fixture
def elsewhere() -> Iterator[Bystander]:
    bystander = Bystander()
    yield bystander
    bystander.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Self-signed certificates with their keys, in one file each: for this machine and for another host."""
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "here": write_certificate(folder / "here.pem", ip_address="127.0.0.1"),
        "elsewhere": write_certificate(folder / "elsewhere.pem", host_name="other.invalid"),
    }


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 103\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Again\r\n\r\n",
    ],
)
def test_informational_responses_before_the_final_one_are_skipped(interim: bytes) -> None:
    with FaultyServer(send(interim + response(GOOD))) as server:
        assert ids(fetch(server.base_url)) == [42, 43]
        assert len(server.requests) == 1


def test_a_self_signed_certificate_is_refused_before_the_token_is_sent(certificates: dict[str, Path]) -> None:
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["here"])) as server:
        message = failure(ApiUnreachableError, server.base_url, attempts=2)
        assert server.requests == []
    assert f"{server.host} sent no complete response after 2 attempts: TLS failed: " in message
    assert re.search("self.signed certificate", message)


def test_a_certificate_that_the_system_trusts_is_accepted(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["here"])) as server:
        assert ids(fetch(server.base_url)) == [42, 43]
        assert TOKEN.encode() in server.requests[0]


def test_a_trusted_certificate_for_another_host_is_refused(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["elsewhere"]))
    with FaultyServer(send(response(GOOD)), tls=tls(certificates["elsewhere"])) as server:
        message = failure(ApiUnreachableError, server.base_url, attempts=1)
        assert server.requests == []
    assert "TLS failed: IP address mismatch" in message


def test_a_redirect_from_https_to_http_is_refused(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, elsewhere: Bystander
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    downgrade = response(status=301, Location=f"http://{elsewhere.host}/x")
    with FaultyServer(send(downgrade), tls=tls(certificates["here"])) as server:
        assert "which must not receive the token" in failure(InvalidResponseError, server.base_url)
    assert not elsewhere.was_contacted


def test_pages_behind_a_proxy_that_ends_tls_are_requested_over_tls(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, elsewhere: Bystander
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    link = f"http://{elsewhere.host}/api?page=2"  # as an application writes it that does not know of the proxy
    pages = [body(trunk(id=n), current_page=n, last_page=2, next_page_url=link if n == 1 else None) for n in (1, 2)]
    with FaultyServer(*(send(response(page)) for page in pages), tls=tls(certificates["here"])) as server:
        assert ids(fetch(server.base_url)) == [1, 2]
    assert not elsewhere.was_contacted


@pytest.mark.parametrize("drip", DRIPPING)
def test_a_response_that_drips_through_tls_ends_with_the_time_allowed(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, drip: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["here"]))
    with FaultyServer(DRIPPING[drip], tls=tls(certificates["here"])) as server:
        started = time.monotonic()
        message = failure(ApiUnreachableError, server.base_url, total_seconds=1)
        assert time.monotonic() - started >= 0.9
    assert "within total_seconds = 1" in message


def test_a_server_without_tls_is_refused_as_an_https_server(api: Api) -> None:
    message = failure(ApiUnreachableError, api.base_url.replace("http:", "https:"), attempts=1)
    assert "TLS failed: " in message
    assert api.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_proxy_is_never_used_for_this_machine(
    api: Api, elsewhere: Bystander, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use_proxy(monkeypatch, f"http://{elsewhere.host}")
    fetch(api.base_url.replace("127.0.0.1", name))
    assert len(api.requests) == 1
    assert not elsewhere.was_contacted


def test_a_proxy_is_asked_for_a_tunnel_and_does_not_see_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(send(response(status=503))) as proxy:
        use_proxy(monkeypatch, f"http://{proxy.host}")
        assert "sip-trunks.invalid" in failure(ApiUnreachableError, "https://sip-trunks.invalid/api", attempts=1)
        (request,) = proxy.requests
    assert request.startswith(b"CONNECT sip-trunks.invalid:443 ")
    assert TOKEN.encode() not in request


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[bad"])
def test_a_proxy_that_cannot_be_used_is_a_settings_error(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    use_proxy(monkeypatch, proxy)
    assert "proxy" in failure(ConfigError, "https://sip-trunks.invalid/api")


def test_a_proxy_may_have_no_scheme_and_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(send(response(status=407))) as proxy:
        use_proxy(monkeypatch, f"us%40er:pass@{proxy.host}")
        assert "proxy" in failure(ApiUnreachableError, "https://sip-trunks.invalid/api", attempts=1)
        (request,) = proxy.requests
    assert b"proxy-authorization: basic " + b64encode(b"us@er:pass").lower() in request.lower()
    assert TOKEN.encode() not in request
