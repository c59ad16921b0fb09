"""The routes of a listening test on a server: pages, stimuli, answers, and the author's view."""

from __future__ import annotations

import math
import re
import sqlite3
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response

from viso.errors import ConfigError, DataError
from viso.http.visitors import address_of
from viso.listening import (
    Answers,
    Begun,
    Choice,
    ListeningTest,
    Ratings,
    as_page,
    check_record,
    load_test,
    order_of,
    page_path,
    read_stimulus,
)
from viso.listening.server.bodies import AnswerBody, BeginBody, ListenerKey
from viso.listening.server.guard import Guard
from viso.listening.server.limits import Entrance, Pace
from viso.listening.server.maker import Maker

__all__ = ["create_listening_app"]

_PAGE = Path(__file__).parent / "page"
_SHARED = ("listen.css", "player.js", "session.js", "parts.js", "pages.js", "listen.js")
_OWN = ("served.css", "ask.js", "served.js", "maker.js")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".html": "text/html"}


def create_listening_app(
    folder: Path,
    answers: Answers,
    *,
    maker_key: str,
    entrance: Entrance | None = None,
    names: tuple[str, ...] = (),
) -> FastAPI:
    """Return the server's application.

    Parameters
    ----------
    folder : Path
        Folder that `viso.listening.build_test` made.
    answers : Answers
    maker_key : str
        Opens what the author of the test sees; 16 to 128 letters, figures, ``-`` and ``_``.
    entrance : Entrance, optional
    names : tuple of str
        Names of the host, besides its addresses and ``localhost``.

    Returns
    -------
    FastAPI

    Raises
    ------
    ConfigError
        If the test is not complete, or the key is not valid.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", maker_key):
        raise ConfigError(
            "the maker's token: 16 to 128 letters, figures, - and _; leave it out to have one drawn"
        )
    app = FastAPI(title="viso listen", docs_url=None, redoc_url=None, openapi_url=None)
    test, entrance = load_test(folder), entrance or Entrance()
    _Service(folder, test, answers, entrance).add_to(app)
    Maker(test, answers, entrance, maker_key).add_to(app)
    app.add_exception_handler(sqlite3.Error, _not_now)
    app.add_exception_handler(RequestValidationError, _does_not_fit)
    app.add_middleware(Guard, names=names)
    return app


async def _not_now(_: Request, error: Exception) -> JSONResponse:
    # For example the disk is full: the page keeps the answer and sends it again.
    return JSONResponse({"detail": f"the server cannot store it now: {error}"}, 503)


async def _does_not_fit(_: Request, error: Exception) -> JSONResponse:
    # The reply does not repeat the input: it may hold a key in the wrong place.
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{"loc": one["loc"], "msg": one["msg"]} for one in found]
    return JSONResponse({"detail": problems}, 422)


class _Service:
    def __init__(
        self, folder: Path, test: ListeningTest, answers: Answers, entrance: Entrance
    ) -> None:
        self._folder = folder
        self._test = test
        self._answers = answers
        self._entrance = entrance
        self._pace = Pace(entrance.per_hour, 3600.0)
        self._trials = {trial.name: trial for trial in self._test.trials}
        self._pages = frozenset(test.pages)

    def add_to(self, app: FastAPI) -> None:
        files = {f"/{name}": page_path(name) for name in _SHARED}
        files |= {f"/{name}": _PAGE / name for name in _OWN}
        files |= {"/": _PAGE / "index.html", "/maker": _PAGE / "maker.html"}
        for route, path in files.items():
            app.add_api_route(route, _sender(path), methods=["GET"])
        app.add_api_route("/api/test", self.welcome, methods=["GET"])
        app.add_api_route("/api/session", self.session, methods=["GET"])
        app.add_api_route("/api/session", self.begin, methods=["POST"])
        app.add_api_route("/api/session", self.forget, methods=["DELETE"], status_code=204)
        app.add_api_route("/api/answers", self.answer, methods=["POST"])
        app.add_api_route("/stimuli/{name}.flac", self.stimulus, methods=["GET"])

    def welcome(self) -> dict[str, Any]:
        """Return what listeners read before the test; only its title if it is not open."""
        if not self._entrance.is_open:
            return {"id": self._test.id, "title": self._test.title, "is_open": False}
        return self._description()

    def _description(self) -> dict[str, Any]:
        page = as_page(self._test, listeners=[0])
        for hidden in ("trials", "orders", "questions"):
            del page[hidden]
        return {
            **page,
            "is_open": self._entrance.is_open,
            "is_closed": self._entrance.is_closed,
        }

    def session(self, key: ListenerKey) -> dict[str, Any]:
        """Return the test in the listener's own order, and the answered pages."""
        found = self._answers.find(key)
        if found is None:
            raise HTTPException(404, "this link is not known here, or its answers were deleted")
        if found.order is None:
            return {"test": self._description(), "has_begun": False}
        return {
            "test": {
                **as_page(self._test, listeners=[found.order]),
                "is_open": self._entrance.is_open,
            },
            "has_begun": True,
            "name": found.name,
            "answered": sorted(found.answered),
            "is_finished": found.is_finished,
        }

    def begin(self, key: ListenerKey, body: BeginBody, request: Request) -> dict[str, Any]:
        """Begin the test, or continue it."""
        if self._test.consent and not body.agrees:
            raise HTTPException(422, "the test begins when you agree")
        known = self._answers.find(key)
        if self._entrance.is_closed and (known is None or known.order is None):
            raise HTTPException(403, "this test is closed")
        address = address_of(request.scope.get("client"))
        # A link from the author does not count for the pace: it was given to one person.
        is_counted = known is None and self._entrance.is_open
        if is_counted and (wait_s := self._pace.take(address)):
            raise HTTPException(
                429,
                "many listeners have begun from this network; try again in "
                f"{math.ceil(wait_s / 60)} minutes, or ask for a personal link",
                {"retry-after": str(wait_s)},
            )
        about = body.model_dump(include=self._requested(), exclude_none=True)
        has_begun = self._answers.begin(
            key, is_open=self._entrance.is_open, most=self._entrance.most, about=about
        )
        if is_counted and not has_begun:
            self._pace.give_back(address)
        if has_begun is None:
            raise HTTPException(404, "this link is not known here; ask for another one")
        if not has_begun:
            raise HTTPException(403, "this test has all the listeners it needs")
        return self.session(key)

    def _requested(self) -> set[str]:
        questions = {"device": self._test.asks_device, "age": self._test.asks_age}
        return {name for name, is_asked in questions.items() if is_asked}

    def answer(self, key: ListenerKey, body: AnswerBody) -> dict[str, Any]:
        """Store an answer; return all answered pages, also those from other devices."""
        found = self._begun(key)
        page = body.trial, body.question
        if page not in self._pages:
            raise HTTPException(422, "no page of this trial and question in this test")
        try:
            record = self._record(found, body)
        except (ConfigError, DataError) as error:
            raise HTTPException(422, str(error)) from error
        stored = self._answers.answer(key, page, record)
        if stored == "nobody":
            raise HTTPException(404, "the answers behind this link were deleted")
        return {"stored": stored, "answered": sorted(self._begun(key).answered)}

    def _begun(self, key: str) -> Begun:
        found = self._answers.find(key)
        if found is None or found.order is None:
            raise HTTPException(404, "this link is not known here, or the test has not begun")
        return found

    def _record(self, listener: Begun, body: AnswerBody) -> Ratings | Choice | None:
        """Return a record that fits the test and the listener's order."""
        trial = self._trials[body.trial]
        if trial.training:
            return None
        head = {"test": self._test.id, "listener": listener.name, "seconds": body.seconds}
        if self._test.kind == "mushra":
            names = {"trial", "question", "ratings"}
            ratings = Ratings.from_mapping(head | body.model_dump(include=names), origin="answer")
            check_record(ratings, self._test, "answer")
            return ratings
        names = {"trial", "a", "b", "x", "choice"}
        choice = Choice.from_mapping(head | body.model_dump(include=names), origin="answer")
        check_record(choice, self._test, "answer")
        order = order_of(self._test, listener.order or 0)
        index = self._test.trials.index(trial)
        sides = tuple(trial.stimuli[place].id for place in order.stimuli[index])
        hidden = sides[order.hidden[index]] if order.hidden else None
        if (choice.a, choice.b, choice.x) != (*sides, hidden):
            raise DataError(f"answer: trial {trial.name} was heard in another order")
        return choice

    def forget(self, key: ListenerKey) -> None:
        """Delete all data of a listener; a second call changes nothing."""
        self._answers.forget(key)

    def stimulus(self, name: str, key: ListenerKey) -> Response:
        """Return a sound to a listener who has begun."""
        self._begun(key)
        if name not in self._test.stimulus_ids:
            raise HTTPException(404, "no such sound")
        try:
            sound = read_stimulus(self._folder, name, sha256=self._test.sha256.get(name))
        except ConfigError as error:
            # The listener must learn nothing about the author's disk.
            raise HTTPException(404, "this sound is not what it was; tell the maker") from error
        return Response(
            sound,
            media_type="audio/flac",
            headers={"cache-control": "private, max-age=86400, immutable"},
        )


def _sender(path: Path) -> Any:
    def send() -> FileResponse:
        return FileResponse(
            path, media_type=_TYPES[path.suffix], headers={"cache-control": "no-cache"}
        )

    return send
