"""A server on bare sockets that breaks in the ways real ones do, and one that only notices whether anybody came."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Step = Callable[[socket.socket, threading.Event], None]


def response(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """A well-formed response; header names have _ for -."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def send(data: bytes) -> Step:
    """Send exactly this and close."""
    return lambda connection, _: connection.sendall(data)


def send_and_reset(data: bytes = b"") -> Step:
    """Send this, then reset the connection (RST) instead of closing it."""

    def step(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return step


def send_and_fall_silent(data: bytes = b"") -> Step:
    """Send this, then nothing, and keep the connection open."""

    def step(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(data)
        stop.wait()

    return step


def send_endlessly(head: bytes, piece: bytes, every_seconds: float = 0.0) -> Step:
    """Send `head`, then one piece after the other until the client has had enough."""

    def step(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        while not stop.wait(every_seconds):
            connection.sendall(piece)

    return step


DRIPPING: dict[str, Step] = {
    "headers": send_endlessly(b"HTTP/1.1 200 OK\r\nX-Padding: ", b"x", every_seconds=0.02),
    "body": send_endlessly(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b" ", every_seconds=0.02),
}
"""Responses that never pause for long and never end."""


class FaultyServer:
    """Plays one step per connection, after it has read the request; the last step again and again.

    It listens at a port of its own, or on the socket that it is given.
    """

    def __init__(self, *steps: Step, tls: ssl.SSLContext | None = None, listener: socket.socket | None = None) -> None:
        self.requests: list[bytes] = []
        self._received = threading.Condition()
        self._steps = list(steps)
        self._tls = tls
        self._stop = threading.Event()
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._listener.listen()
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._players: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}/api"

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have arrived, which a client that has given up no longer waits for."""
        with self._received:
            assert self._received.wait_for(lambda: len(self.requests) >= count, PATIENCE_SECONDS), self.requests

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # A last connection wakes the acceptor on every platform.
        socket.create_connection(self._listener.getsockname()).close()
        self._acceptor.join()
        for player in self._players:
            player.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stop.is_set():
                connection.close()
                return
            step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
            player = threading.Thread(target=self._play, args=(connection, step))
            self._players.append(player)
            player.start()

    def _play(self, connection: socket.socket, step: Step) -> None:
        # A client that hangs up in the middle is what most of these tests are about.
        connection.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with contextlib.closing(connection):
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    request += piece
                with self._received:
                    self.requests.append(request)
                    self._received.notify_all()
                step(connection, self._stop)


class Bystander:
    """Listens where nobody should come. A connection is noticed at once: the kernel completes it on its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"

    @property
    def was_contacted(self) -> bool:
        return bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        self._listener.close()
