"""Checks every request before the pages see it, and adds headers to every answer.

- The ``Host`` must be one of the studio's names: otherwise a foreign page could make its own
  name resolve to this server (DNS rebinding) and read everything.
- A request that changes something must not come from another site's page, by ``Sec-Fetch-Site``
  and ``Origin``, and must not be a form (CSRF).
- Bodies other than songs are small and arrive within a time limit.
- With a token, all pages but the login, its style and the health check need it, as
  ``Authorization: Bearer`` or as the cookie that the login sets. The guard counts wrong tokens by
  address, and the concurrent requests of callers without the token.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viso.http.drain import drain_body
from viso.http.guard import host_name, is_address, netloc_of, with_headers
from viso.http.visitors import Crowd, Guesses, address_of
from viso.studio.settings import StudioConfig

__all__ = ["COOKIE", "LOGIN", "LOGOUT", "Guard", "is_token", "session_of"]

COOKIE = "viso_session"
LOGIN, LOGOUT = "/login", "/logout"

_OPEN = (LOGIN, "/healthz")
_STATIC = "/static/"
_UPLOAD = "/api/songs"
_LARGEST_BODY = 1 << 16
_LONGEST_BODY_S = 20.0
_SAFE = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    # Not "no-referrer": then browsers would hide the origin of the login's form, too.
    "referrer-policy": "same-origin",
}


def is_token(given: str, token: str) -> bool:
    """Compare in constant time, which reveals nothing of the token."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def session_of(token: str) -> str:
    """Return the value of the cookie: derived from the token, which it does not reveal."""
    return hmac.new(token.encode(), b"viso studio session", hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware; see the module.

    Parameters
    ----------
    app : ASGIApp
    config : StudioConfig
    guesses : Guesses, optional
        Wrong tokens so far, if the login shares them.
    crowd : Crowd, optional
    """

    def __init__(
        self,
        app: ASGIApp,
        config: StudioConfig,
        *,
        guesses: Guesses | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self._app = app
        self._token = config.token
        self._hosts = {host.lower().strip("[]") for host in config.hosts}
        self._any_address = config.any_address
        self._guesses, self._crowd = guesses or Guesses(), crowd or Crowd()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        send = with_headers(send, _HEADERS)
        address = address_of(scope.get("client"))
        wait_s, is_known = self._authenticate(Headers(scope=scope), address)
        refusal = self._refusal(scope, wait_s=wait_s, is_known=is_known)
        if is_known and refusal is None:
            await self._forward(scope, receive, send)
            return
        with self._crowd.within(address) as has_room:
            if not has_room:
                await _too_many(1)(scope, receive, send)
            elif refusal is not None:
                await drain_body(scope, receive)
                await refusal(scope, receive, send)
            else:
                await self._forward(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != _UPLOAD:
            receive = _SmallBody(scope, receive)
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, *, wait_s: int, is_known: bool) -> ASGIApp | None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "")
        if not self._is_own(host):
            return _problem(421, "this studio does not go by that name; see --allow-host")
        if method not in _SAFE:
            if not _is_same_origin(headers, host):
                return _problem(403, "comes from another site's page")
            kind = headers.get("content-type", "").split(";")[0].strip().lower()
            size = headers.get("content-length", "0")
            if path != _UPLOAD and size.isdecimal() and int(size) > _LARGEST_BODY:
                return _problem(413, "only songs may be large")
            if kind in _FORMS and path not in (LOGIN, LOGOUT):
                return _problem(415, f"{kind} is not taken; see /docs for what is")
        if is_known or path in _OPEN or path.startswith(_STATIC):
            return None
        if wait_s:
            return _too_many(wait_s)
        if method in _SAFE and "text/html" in headers.get("accept", ""):
            return RedirectResponse(LOGIN, 303)
        return _problem(401, "needs the token: Authorization: Bearer TOKEN", _CHALLENGE)

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        if name in self._hosts:
            return True
        return self._any_address and is_address(name)

    def _authenticate(self, headers: Headers, address: str) -> tuple[int, bool]:
        """Return the seconds for which tokens of an address are ignored, and if this one is right.

        If the studio has no token, every caller is known.
        """
        if self._token is None:
            return 0, True
        wait_s, tokens = self._guesses.wait_s(address), _tokens_of(headers)
        if wait_s or not tokens:
            return wait_s, False
        wanted = {"bearer": self._token, "cookie": session_of(self._token)}
        if any(is_token(value, wanted[kind]) for kind, value in tokens.items()):
            return 0, True
        for value in tokens.values():
            self._guesses.note(address, value)
        return 0, False


class _SmallBody:
    """Receives a body that is small, within some seconds."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        self._n_bytes, self._is_whole = 0, False
        self._deadline_s: float | None = None

    async def __call__(self) -> Message:
        if self._is_whole:  # the application now waits for the visitor to disconnect
            return await self._receive()
        if self._deadline_s is None:
            self._deadline_s = asyncio.get_running_loop().time() + _LONGEST_BODY_S
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, "it came too slowly") from error
        self._n_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._n_bytes > _LARGEST_BODY:
            if not self._is_whole:
                await drain_body(self._scope, self._receive)
            raise HTTPException(413, "only songs may be large")
        return message


_CHALLENGE = {"www-authenticate": 'Bearer realm="viso studio"'}


def _tokens_of(headers: Headers) -> dict[str, str]:
    """Return the tokens of a request by where they were: "bearer", "cookie"."""
    tokens = {}
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        tokens["bearer"] = value.strip()
    with suppress(CookieError):
        cookies = SimpleCookie(headers.get("cookie", ""))
        if COOKIE in cookies:
            tokens["cookie"] = cookies[COOKIE].value
    return tokens


def _too_many(wait_s: int) -> JSONResponse:
    why = "too many wrong tokens, or requests at a time, from your address; try again later"
    return _problem(429, why, {"retry-after": str(wait_s), "connection": "close"})


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers=headers)


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of the studio, or from no page."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    # The scheme may differ: a proxy in front of the studio may speak TLS.
    return origin is None or netloc_of(origin) == host.lower()
