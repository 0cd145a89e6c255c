"""HTTP connections with TLS, the proxy of the environment, and a limit on the total time of a request."""

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from http.client import HTTPResponse
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from sip_trunks.core.errors import ConfigError
from sip_trunks.core.urls import is_loopback


class Connections(AbstractContextManager["Connections"]):
    """A pool of connections, which stay open between requests and are closed when the context ends.

    Not thread-safe. The pool is created for the host of the first request.
    """

    def __init__(self) -> None:
        self._pool: urllib3.PoolManager | None = None
        self._sockets: list[socket.socket] = []

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.clear()
        for connection in self._sockets:
            connection.close()

    @contextmanager
    def limited(self, url: str, total_seconds: float) -> Iterator[urllib3.PoolManager]:
        """Yield the pool for the URL's host. Its connections are closed after `total_seconds`.

        The other timeouts do not stop a server that sends one byte a minute. Raises ConfigError if the proxy of the
        environment is not valid.
        """
        if self._pool is None:
            self._pool = _open_pool(url, self._sockets)
        self._sockets[:] = [connection for connection in self._sockets if connection.fileno() != -1]
        cut_off = threading.Timer(min(total_seconds, threading.TIMEOUT_MAX), _shut_down, [self._sockets])
        cut_off.daemon = True
        cut_off.start()
        try:
            yield self._pool
        finally:
            cut_off.cancel()


def _open_pool(url: str, sockets: list[socket.socket]) -> urllib3.PoolManager:
    """Return a pool for the URL's host, using the proxy of the environment. It appends its sockets to `sockets`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = None if is_loopback(host) or proxy_bypass(host) else getproxies().get(parts.scheme)
    context = _tls() if parts.scheme == "https" else None
    pool = _through_proxy(proxy, context) if proxy else urllib3.PoolManager(ssl_context=context)
    base: Any = pool.pool_classes_by_scheme[parts.scheme]
    remembering = type(base.__name__, (base,), {"ConnectionCls": _remembering(base.ConnectionCls, sockets)})
    pool.pool_classes_by_scheme = pool.pool_classes_by_scheme | {parts.scheme: remembering}
    return pool


def _through_proxy(proxy: str, context: ssl.SSLContext | None) -> urllib3.ProxyManager:
    """Return a pool for the proxy, with its user and password. Raises ConfigError unless it is an HTTP proxy."""
    try:
        address = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = urllib3.util.make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else None
        plain = address._replace(auth=None).url
        return urllib3.ProxyManager(plain, proxy_headers=headers, ssl_context=context)
    except (ValueError, urllib3.exceptions.LocationValueError, urllib3.exceptions.HTTPError):
        raise ConfigError("https_proxy or http_proxy must be the URL of an HTTP proxy") from None


def _remembering(base: Any, sockets: list[socket.socket]) -> Any:
    """Return a subclass of the connection class that appends the sockets it opens to `sockets`."""

    class Connection(base):  # type: ignore[misc]
        response_class = _FinalResponse

        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Connection


class _FinalResponse(HTTPResponse):
    """Skips informational responses such as 103 Early Hints, of which http.client skips only 100."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200:
            self.headers = None  # type: ignore[assignment]  # begin() reads nothing if they are set
            super().begin()


def _shut_down(sockets: Sequence[socket.socket]) -> None:
    for connection in sockets:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _tls() -> ssl.SSLContext:
    """Return a TLS context with the system's root certificates, or with certifi's if the system has none."""
    import certifi

    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context
