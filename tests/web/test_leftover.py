"""Who is refused hears why: what was still under way is taken before the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from viso.http.drain import drain_body
from viso.listening.server.guard import Guard as ListeningGuard
from viso.studio.guard import Guard as StudioGuard
from viso.studio.settings import StudioConfig

HEAD = [(b"host", b"evil.example"), (b"content-type", b"application/json")]


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("a refused request must not get so far")


def listening(folder: Path) -> Any:
    return ListeningGuard(nothing, names=())


def studio(folder: Path) -> Any:
    return StudioGuard(nothing, StudioConfig(data=folder))


class Caller:
    """Sends a body in pieces, and notes in which order things happen."""

    def __init__(self, pieces: Iterable[bytes], *, stays: bool = False) -> None:
        self._pieces, self._stays = list(pieces), stays
        self.events: list[str] = []
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            await asyncio.sleep(3600 if self._stays else 0)
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        self.events.append("sent")
        more = bool(self._pieces) or self._stays
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Any) -> None:
        self.events.append("answered")
        self.status = message.get("status", self.status)


def asked(guard: Any, caller: Caller, *, headers: list[tuple[bytes, bytes]] = HEAD) -> Caller:
    scope = {
        "type": "http", "method": "POST", "path": "/api/session", "raw_path": b"/api/session",
        "query_string": b"", "headers": headers, "scheme": "http", "server": ("evil.example", 80),
        "client": ("127.0.0.1", 5), "root_path": "", "http_version": "1.1", "state": {},
    }  # fmt: skip
    asyncio.run(guard(scope, caller.receive, caller.send))
    return caller


@pytest.mark.parametrize("make", [listening, studio])
def test_the_body_is_in_before_the_refusal_is_out(make: Any, tmp_path: Path) -> None:
    caller = asked(make(tmp_path), Caller([b"a", b"b", b"c"]))
    assert caller.status == 421
    assert caller.events[:4] == ["sent", "sent", "sent", "answered"]


@pytest.mark.parametrize("make", [listening, studio])
def test_who_asks_before_sending_is_not_told_to_send(make: Any, tmp_path: Path) -> None:
    headers = [*HEAD, (b"expect", b"100-continue")]
    caller = asked(make(tmp_path), Caller([b"song"]), headers=headers)
    assert caller.status == 421
    assert "sent" not in caller.events


def test_who_sends_without_end_is_cut_off() -> None:
    caller = Caller([b"x" * 1000] * 50)
    asyncio.run(drain_body({"headers": []}, caller.receive, most_bytes=10_000))
    assert len(caller.events) == 11


def test_who_stops_in_the_middle_is_waited_for_a_while_only() -> None:
    caller = Caller([b"x"], stays=True)
    asyncio.run(asyncio.wait_for(drain_body({"headers": []}, caller.receive, longest_s=0.05), 60))
    assert caller.events == ["sent"]
