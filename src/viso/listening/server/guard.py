"""What every request must pass, and the headers that every answer gets."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from viso.http.drain import drain_body

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_LARGEST_BODY = 64 * 1024
_BODY_S = 20.0
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}


class Guard:
    """ASGI middleware: refuses foreign hosts, foreign origins and large bodies.

    A page of another site that has its name point here (DNS rebinding) is told by the host it
    asks for: an address in figures, ``localhost``, or one of `names`.
    """

    def __init__(self, app: App, *, names: Collection[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                own = {**_HEADERS, "cache-control": "no-store"}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in own.items() if k.encode() not in given),
                ]
            await send(message)

        status = self._refused(scope["method"], headers)
        if status:
            await drain_body(scope, receive)
        elif scope["method"] not in ("GET", "HEAD"):
            try:
                receive, status = await asyncio.wait_for(_whole(scope, receive), _BODY_S)
            except TimeoutError:
                status = 408
        if status:
            await _answer(send_guarded, status)
            return
        await self._app(scope, receive, send_guarded)

    def _refused(self, method: str, headers: dict[str, bytes]) -> int:
        host = headers.get("host", b"").decode("latin-1")
        if not self._is_own(host):
            return 421
        if method in ("GET", "HEAD"):
            return 0
        origin = headers.get("origin")
        if origin is not None:
            netloc = urlsplit(origin.decode("latin-1")).netloc
            if netloc != host and _name_of(netloc) not in self._names - {"localhost"}:
                return 403
        if headers.get("sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
            return 403
        if method == "POST" and headers.get("content-type", b"") != b"application/json":
            return 415
        return 0

    def _is_own(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _whole(scope: Message, receive: Receive) -> tuple[Receive, int]:
    """Return a channel that gives the whole body at once, and a status if it is too large."""
    body, size = b"", 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return receive, 400
        part = message.get("body", b"")
        size += len(part)
        if size > _LARGEST_BODY:
            if message.get("more_body", False):
                await drain_body(scope, receive)
            return receive, 413
        body += part
        if not message.get("more_body", False):
            break
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again, 0


async def _answer(send: Send, status: int) -> None:
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")],
    }
    await send(start)
    text = {
        400: "cut off", 403: "from another site", 408: "too slow", 413: "too large",
        415: "not JSON", 421: "another host's name",
    }[status]  # fmt: skip
    await send({"type": "http.response.body", "body": f"refused: {text}\n".encode()})
