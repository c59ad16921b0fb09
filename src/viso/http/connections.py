"""Limit the connections without a request: how long they may stay, and how many.

uvicorn waits for ever for the first request of a connection, and stops answering when there are
too many connections. Here the head of a request has a deadline. When too many connections have no
request under way, from one address or in all, the one that has waited longest is closed. So a
caller who sends a request at once gets an answer, however many others stay silent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from viso.errors import ConfigError
from viso.http.visitors import address_of

__all__ = ["Waiting", "bounded_protocol", "listen", "server_config"]

_HEAD_S = 10.0
_MOST_WAITING = 256
_MOST_OF_ONE = 64
_MOST_CONNECTIONS = 1000
_BACKLOG = 2048
_END_S = 3  # for answers that are still being sent


class Waiting:
    """Connections without a request under way, the longest-waiting first.

    Parameters
    ----------
    most, each : int
        How many may wait, from all addresses and from one.
    """

    def __init__(self, *, most: int = _MOST_WAITING, each: int = _MOST_OF_ONE) -> None:
        self._most, self._each = most, each
        self._waiting: dict[BoundedProtocol, str] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, connection: BoundedProtocol, address: str) -> None:
        """Record that a connection waits; if there are too many, end the longest-waiting one."""
        if connection in self._waiting:
            return
        self._waiting[connection] = address
        self._counts[address] += 1
        if self._counts[address] > self._each:
            next(one for one, its in self._waiting.items() if its == address).end()
        elif len(self._waiting) > self._most:
            next(iter(self._waiting)).end()

    def leave(self, connection: BoundedProtocol) -> None:
        """Record that a connection waits no longer."""
        address = self._waiting.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


class BoundedProtocol(H11Protocol):
    """A connection that must send its request in time.

    Attributes
    ----------
    waiting : Waiting
    head_s : float
        Seconds for the head of a request, counted from the start of the connection or of the head.
    """

    waiting: Waiting
    head_s: float
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._look(is_begun=True)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._look(is_begun=True)

    def on_response_complete(self) -> None:
        """See uvicorn; its keep-alive limit holds until the next request begins."""
        super().on_response_complete()
        self._look(is_begun=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _look(self, *, is_begun: bool) -> None:
        if self.transport.is_closing() or (self.cycle and not self.cycle.response_complete):
            self._stop_waiting()
            return
        self.waiting.enter(self, address_of(self.client))
        # More bytes of the same head do not restart the deadline, so a slow trickle gains no time.
        if is_begun and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_s, self.end)

    def _stop_waiting(self) -> None:
        self.waiting.leave(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def end(self) -> None:
        """Close the connection after it has sent all pending data."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        with suppress(h11.LocalProtocolError):
            self.conn.send(h11.ConnectionClosed())
        self.transport.close()


def bounded_protocol(
    waiting: Waiting | None = None, *, head_s: float = _HEAD_S
) -> type[BoundedProtocol]:
    """Return a protocol for ``uvicorn.Config(http=...)`` whose connections share these limits."""
    limits = {"waiting": waiting or Waiting(), "head_s": head_s}
    return type("BoundedProtocol", (BoundedProtocol,), limits)


def server_config(app: Any, **changes: Any) -> uvicorn.Config:
    """Return uvicorn's settings for a server of viso; `changes` replace some of them."""
    settings: dict[str, Any] = {
        "http": bounded_protocol(),
        "ws": "none",
        "log_level": "warning",
        "access_log": False,  # ids are secrets
        "server_header": False,
        "timeout_graceful_shutdown": _END_S,
        "limit_concurrency": _MOST_CONNECTIONS,
    }
    return uvicorn.Config(app, **{**settings, **changes})


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; port 0 takes a free one.

    Raises
    ------
    ConfigError
        If this machine does not have the address, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host}, port {port}: cannot listen there ({why}); choose others with --host, --port"
        ) from error
    listener.set_inheritable(True)
    return listener
