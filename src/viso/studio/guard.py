"""What stands before every page: who calls, by which name, from where, and the headers of answers.

- The ``Host`` must be one of the studio's names: else a page of a stranger could have its own
  name point here (DNS rebinding) and read everything.
- What changes something must not come from another site's page, by ``Sec-Fetch-Site`` and
  ``Origin``, and not as a form (CSRF).
- Bodies other than songs are small and come soon.
- With a token, all but the login, its style and the health check need it, as
  ``Authorization: Bearer`` or as the cookie that the login gives. Wrong ones are counted by
  address, and so are requests under way of those who do not have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

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
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def session_of(token: str) -> str:
    """Return what the cookie holds: made from the token, which cannot be told from it."""
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
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        send = with_headers(send, _HEADERS)
        address = address_of(scope.get("client"))
        wait_s, is_known = self._looked_at(Headers(scope=scope), address)
        refusal = self._refusal(scope, wait_s=wait_s, is_known=is_known)
        if is_known and refusal is None:
            await self._passed(scope, receive, send)
            return
        with self._crowd.within(address) as has_room:
            if not has_room:
                await _too_many(1)(scope, receive, send)
            elif refusal is not None:
                await drain_body(scope, receive)
                await refusal(scope, receive, send)
            else:
                await self._passed(scope, receive, send)

    async def _passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != _UPLOAD:
            receive = _SmallBody(scope, receive)
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, *, wait_s: int, is_known: bool) -> ASGIApp | None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "")
        if not self._is_own(host):
            return _problem(421, "this studio does not go by that name; see --allow-host")
        if method not in _SAFE:
            if not _is_from_here(headers, host):
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

    def _looked_at(self, headers: Headers, address: str) -> tuple[int, bool]:
        """Return for how many seconds no token from there is looked at, and if this one is right.

        Without a token everybody is known.
        """
        if self._token is None:
            return 0, True
        wait_s, given = self._guesses.wait_s(address), _given(headers)
        if wait_s or not given:
            return wait_s, False
        wanted = {"bearer": self._token, "cookie": session_of(self._token)}
        if any(is_token(value, wanted[kind]) for kind, value in given.items()):
            return 0, True
        for value in given.values():
            self._guesses.note(address, value)
        return 0, False


class _SmallBody:
    """Receives a body that is small, within some seconds."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        self._n_bytes, self._is_whole = 0, False
        self._deadline_s: float | None = None

    async def __call__(self) -> Message:
        if self._is_whole:  # what is waited for now is that the visitor goes
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


def _given(headers: Headers) -> dict[str, str]:
    """Return the tokens of a request: as "bearer", and as "cookie"."""
    given = {}
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given["bearer"] = value.strip()
    with suppress(CookieError):
        cookies = SimpleCookie(headers.get("cookie", ""))
        if COOKIE in cookies:
            given["cookie"] = cookies[COOKIE].value
    return given


def _too_many(wait_s: int) -> JSONResponse:
    why = "too many wrong tokens, or requests at a time, from your address; try again later"
    return _problem(429, why, {"retry-after": str(wait_s), "connection": "close"})


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers=headers)


def _name_of(host: str) -> str:
    """Return a ``Host`` without its port; empty if it makes no sense."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d+)?", host.lower())
    return "" if found is None else found[1] or found[2]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_from_here(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of the studio, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    # Not the scheme: behind a proxy that speaks TLS it is another one here.
    return origin is None or netloc_of(origin) == host.lower()


def _place_of(origin: str) -> str:
    """Return host and port of an origin; empty for "null" and nonsense."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
