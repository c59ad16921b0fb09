"""The checks of every request, and the headers of every response."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viso.http.drain import drain_body
from viso.http.guard import host_name, is_address, netloc_of, with_headers

__all__ = ["Guard"]

_LARGEST_BODY = 64 * 1024
_BODY_S = 20.0
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
}


class Guard:
    """ASGI middleware: refuses foreign hosts, foreign origins and large bodies.

    The requested host must be a numeric address, ``localhost``, or one of `names`. This stops pages
    of other sites whose name points here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = with_headers(send, _HEADERS)
        status = self._refused(scope["method"], Headers(scope=scope))
        if status:
            await drain_body(scope, receive)
        elif scope["method"] not in ("GET", "HEAD"):
            try:
                receive, status = await asyncio.wait_for(_whole(scope, receive), _BODY_S)
            except TimeoutError:
                status = 408
        if status:
            await _answer(send, status)
            return
        await self._app(scope, receive, send)

    def _refused(self, method: str, headers: Headers) -> int:
        host = headers.get("host", "")
        if not self._is_own(host):
            return 421
        if method in ("GET", "HEAD"):
            return 0
        origin = headers.get("origin")
        if origin is not None:
            netloc = netloc_of(origin)
            if netloc != host.lower() and host_name(netloc) not in self._names - {"localhost"}:
                return 403
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403
        if method == "POST" and headers.get("content-type", "") != "application/json":
            return 415
        return 0

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or is_address(name)


async def _whole(scope: Scope, receive: Receive) -> tuple[Receive, int]:
    """Return a channel that gives the whole body at once, and an error status or 0."""
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
