"""The factory of the studio's FastAPI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from viso._version import __version__
from viso.http.visitors import Guesses
from viso.studio import jobs, pages, songs, sound
from viso.studio.guard import Guard
from viso.studio.settings import StudioConfig
from viso.studio.studio import Studio

__all__ = ["create_app"]

_SWEEP_S = 60.0
_ABOUT = (
    "Send a song, have it separated into vocals and instrumental, fetch both. Whoever knows an id "
    "may use what it stands for; ids cannot be listed or guessed."
)

_log = logging.getLogger(__name__)


def create_app(config: StudioConfig) -> FastAPI:
    """Make a studio's application; its workers start and stop with the application's lifespan.

    Parameters
    ----------
    config : StudioConfig

    Returns
    -------
    FastAPI

    Raises
    ------
    ConfigError
        If the folder of the studio cannot be used, or another studio uses it.

    Examples
    --------
    >>> app = create_app(StudioConfig(data=Path("studio")))    # doctest: +SKIP
    >>> uvicorn.run(app)                                       # doctest: +SKIP
    """
    studio = Studio(config)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        studio.start()
        sweeper = asyncio.create_task(_sweep(studio, min(_SWEEP_S, config.keep_s)))
        try:
            yield
        finally:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            await run_in_threadpool(studio.stop)

    app = FastAPI(
        title="viso studio",
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        # FastAPI's own pages load scripts from other sites.
        docs_url=None,
        redoc_url=None,
    )
    app.state.studio = studio
    for module in (pages, songs, jobs, sound):
        app.include_router(module.router)
    app.mount("/static", pages.Static(), name="static")
    app.add_exception_handler(RequestValidationError, _format_validation_error)
    app.state.guesses = Guesses()
    app.add_middleware(Guard, config=config, guesses=app.state.guesses)
    return app


async def _sweep(studio: Studio, pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            await run_in_threadpool(studio.sweep)
        except Exception:  # the next sweep may succeed
            _log.exception("old songs cannot be removed")


async def _format_validation_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer an invalid request in the form of all other problems."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return JSONResponse({"detail": f"{where}: {first['msg']}"[:1000]}, 422)
