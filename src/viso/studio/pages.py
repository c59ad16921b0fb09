"""Routes of the page, the login, the list of the API, and the health check."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from viso.http.visitors import address_of
from viso.studio.dependencies import StudioDependency, problems
from viso.studio.guard import COOKIE, LOGIN, LOGOUT, is_token, session_of
from viso.studio.schemas import Health

__all__ = ["Static", "router"]

router = APIRouter()

STATIC = Path(__file__).parent / "static"

_WRONG_S = 1.0  # delay of the answer to a wrong token


class Static(StaticFiles):
    """The page's files; browsers ask each time whether they have changed."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """See `StaticFiles.get_response`."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        if path.endswith((".js", ".mjs")):  # some systems map it to another type
            response.headers["content-type"] = "text/javascript; charset=utf-8"
        return response


@router.get("/healthz", responses=problems(503))
async def healthz(studio: StudioDependency) -> Health:
    """Say that the studio runs, and can separate; needs no token."""
    if not studio.workers.is_healthy:
        raise HTTPException(503, "a worker has ended for good; start the studio again")
    return Health()


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """Send the page."""
    page = STATIC / "index.html"
    if not page.is_file():
        return RedirectResponse("/docs", 303)
    return FileResponse(page, media_type="text/html", headers={"cache-control": "no-cache"})


@router.get(LOGIN, include_in_schema=False)
async def login(studio: StudioDependency) -> Response:
    """Send the form that asks for the token."""
    return RedirectResponse("/", 303) if studio.config.token is None else _form(200)


@router.post(LOGIN, include_in_schema=False)
async def enter(request: Request, studio: StudioDependency) -> Response:
    """Give the cookie for the right token."""
    token = studio.config.token
    body = await request.body()  # the guard limits its size
    received = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
    guesses, address = request.app.state.guesses, address_of(request.scope.get("client"))
    if token is not None and (wait_s := guesses.wait_s(address)):
        return _form(429, {"retry-after": str(wait_s)})
    if token is not None and not is_token(received, token):
        guesses.note(address, received)
        await asyncio.sleep(_WRONG_S)
        return _form(401)
    response = RedirectResponse("/", 303)
    if token is not None:
        response.set_cookie(
            COOKIE,
            session_of(token),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            max_age=30 * 86_400,
        )
    return response


@router.post(LOGOUT, include_in_schema=False)
async def leave() -> Response:
    """Take the cookie back."""
    response = RedirectResponse(LOGIN, 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


_LOGIN_ERRORS = {
    200: "",
    401: "<p role=alert>That is not the token.</p>",
    429: "<p role=alert>Too many wrong tokens from your address; try again in a minute.</p>",
}


def _form(status: int, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    return _page(
        "Login",
        f"{_LOGIN_ERRORS[status]}<form method=post action={LOGIN}><label>Token "
        "<input name=token type=password autocomplete=current-password required autofocus>"
        "</label> <button>Enter</button></form>",
        status,
        headers,
    )


def _page(
    title: str, body: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    return HTMLResponse(
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="'
        f'width=device-width, initial-scale=1"><title>viso: {title}</title>'
        "<link rel=stylesheet href=/static/plain.css>"
        f"<main><h1>viso: {title}</h1>{body}</main></html>\n",
        status,
        headers,
    )


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """List the API, from its OpenAPI."""
    described: dict[str, Any] = request.app.openapi()
    parts = [
        f"<p>{html.escape(described['info'].get('description', ''))}</p>"
        "<p>The same for programs: <a href=/openapi.json>openapi.json</a></p>"
    ]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation))
    return _page("API", "".join(parts))


def _operation(method: str, path: str, about: dict[str, Any]) -> str:
    rows = [
        (parameter["name"], parameter["in"], parameter.get("description", ""))
        for parameter in about.get("parameters", [])
    ]
    for kind, body in about.get("requestBody", {}).get("content", {}).items():
        schema = body.get("schema", {})
        rows.append(("body", kind, schema.get("$ref", "").rpartition("/")[2]))
    answers = [(status, "", answer["description"]) for status, answer in about["responses"].items()]
    lines = "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(where)}<td>{html.escape(what)}"
        for name, where, what in [*rows, *answers]
    )
    return (
        f"<section><h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(about.get('description', ''))}</p><table>{lines}</table></section>"
    )
