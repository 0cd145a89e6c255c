"""A server on bare sockets that breaks in the ways real ones do, and one that only notices whether anybody came."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Step = Callable[[socket.socket, threading.Event], None]


def response(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """A well-formed answer; header names have _ for -."""
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


class FaultyServer:
    """Plays one step per connection, after it has read the request; the last step again and again."""

    def __init__(self, *steps: Step, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[bytes] = []
        self._steps = list(steps)
        self._tls = tls
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._players: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}/api"

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
        connection.settimeout(10)
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
                self.requests.append(request)
                step(connection, self._stop)


class Bystander:
    """Listens where nobody should come. A connection is noticed at once: the kernel completes it on its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def was_contacted(self) -> bool:
        return bool(select.select([self._listener], [], [], 0)[0])

    def close(self) -> None:
        self._listener.close()
