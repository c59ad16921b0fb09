"""What the author of a test sees and does: progress, links, results, removing listeners."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse

from viso.http.visitors import address_of
from viso.listening import Answers, ListeningTest, as_lines
from viso.listening.server.bodies import Key, LinksBody, RemoveBody
from viso.listening.server.limits import Entrance, Slowdown

__all__ = ["Maker"]

_MOST_WAITING = 10_000


class Maker:
    """The routes that need the author's token.

    Parameters
    ----------
    test : ListeningTest
    answers : Answers
    entrance : Entrance
    key : str
        The token.
    """

    def __init__(self, test: ListeningTest, answers: Answers, entrance: Entrance, key: str) -> None:
        self._test, self._answers, self._entrance, self._key = test, answers, entrance, key
        self._slowdown = Slowdown()

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.add_api_route("/api/maker", self.progress, methods=["GET"])
        app.add_api_route("/api/maker/links", self.links, methods=["POST"])
        app.add_api_route("/api/maker/remove", self.remove, methods=["POST"])
        app.add_api_route("/api/maker/results", self.results, methods=["GET"])

    def _check(self, request: Request, key: str) -> None:
        address = address_of(request.scope.get("client"))
        verdict = self._slowdown.check(address, lambda: secrets.compare_digest(key, self._key))
        if verdict.wait_s:
            raise HTTPException(
                429,
                f"too many wrong tokens; wait {verdict.wait_s} s",
                {"retry-after": str(verdict.wait_s)},
            )
        if not verdict.is_right:
            raise HTTPException(403, "this is not the maker's token; it was printed at the start")

    def progress(self, request: Request, key: Key) -> dict[str, Any]:
        """Return who has begun and who has finished."""
        self._check(request, key)
        listeners, n_waiting = self._answers.progress()
        closes_at = self._entrance.closes_at
        return {
            "title": self._test.title,
            "id": self._test.id,
            "is_open": self._entrance.is_open,
            "is_closed": self._entrance.is_closed,
            "closes_at": closes_at and closes_at.isoformat(timespec="minutes"),
            "most": self._entrance.most,
            "n_pages": len(self._test.pages),
            "n_waiting": n_waiting,
            "listeners": [vars(listener) for listener in listeners],
        }

    def links(self, request: Request, key: Key, body: LinksBody) -> dict[str, list[str]]:
        """Create keys of personal links; they are returned only this once."""
        self._check(request, key)
        if self._answers.progress()[1] + body.count > _MOST_WAITING:
            raise HTTPException(409, f"more than {_MOST_WAITING} links that nobody has used")
        return {"keys": self._answers.invite(body.count)}

    def remove(self, request: Request, key: Key, body: RemoveBody) -> dict[str, int]:
        """Delete listeners with all their answers, and free their places."""
        self._check(request, key)
        return {"removed": self._answers.remove(body.names)}

    def results(
        self, request: Request, key: Key, unfinished: Annotated[bool, Query()] = False
    ) -> PlainTextResponse:
        """Return the answers in the format that ``viso listen analyse`` reads."""
        self._check(request, key)
        lines = as_lines(self._answers.records(with_unfinished=unfinished))
        return PlainTextResponse(
            lines,
            media_type="application/x-ndjson",
            headers={"content-disposition": f'attachment; filename="{self._test.id}.jsonl"'},
        )
