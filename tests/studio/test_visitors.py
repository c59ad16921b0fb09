"""Who says nothing, who trickles, and who tries tokens shuts nobody else out."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx
import pytest
import uvicorn
from typer.testing import CliRunner

from helpers.live_studio import PATIENCE_S, asked, idle_app, live, wait_for
from viso.cli import app as cli
from viso.errors import ConfigError
from viso.http.connections import Waiting, bounded_protocol
from viso.http.visitors import Crowd, Guesses, address_of
from viso.studio import StudioConfig
from viso.studio.guard import Guard

TOKEN = "a-token-of-the-tests-0123"


def dialled(client: httpx.Client) -> socket.socket:
    """A connection on which nothing is said yet."""
    url = urlsplit(str(client.base_url))
    return socket.create_connection((url.hostname, url.port), PATIENCE_S)


@pytest.mark.parametrize(("most", "each"), [(20, 1000), (1000, 20)])
def test_silent_connections_shut_nobody_out(tmp_path: Path, most: int, each: int) -> None:
    """The server takes 60 connections; 100 that say nothing leave room for who asks."""
    config = StudioConfig(data=tmp_path / "data", models=("none",), free_bytes=0, token=TOKEN)
    waiting = Waiting(most=most, each=each)
    http = bounded_protocol(waiting, head_s=3600)
    with live(config, http=http, limit_concurrency=60) as (client, _app):
        silent = [dialled(client) for _ in range(100)]
        try:
            # The first ones are closed by the server: nothing else ends this wait.
            assert [one.recv(1) for one in silent[:80]] == [b""] * 80
            with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as visitor:
                assert visitor.get("/healthz").status_code == 200
        finally:
            for one in silent:
                one.close()


def test_connections_that_are_kept_count_as_silent(tmp_path: Path) -> None:
    config = StudioConfig(data=tmp_path / "data", models=("none",), free_bytes=0)
    http = bounded_protocol(Waiting(each=3), head_s=3600)
    with live(config, http=http, timeout_keep_alive=3600) as (client, _app):
        kept = []
        try:
            for _ in range(6):
                one = dialled(client)
                kept.append(one)
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert one.recv(20).startswith(b"HTTP/1.1 200")
            while kept[0].recv(4096):
                pass
            assert client.get("/healthz").status_code == 200
        finally:
            for one in kept:
                one.close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_half_a_head_is_not_waited_for(tmp_path: Path, said: bytes) -> None:
    config = StudioConfig(data=tmp_path / "data", models=("none",), free_bytes=0)
    with (
        live(config, http=bounded_protocol(head_s=0.05)) as (client, _app),
        dialled(client) as slow,
    ):
        slow.sendall(said)
        assert slow.recv(1) == b""


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.is_closed = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def write(self, data: Any) -> None:
        """Send nothing."""

    def resume_reading(self) -> None:
        """Nothing was paused."""


class Timers:
    """Notes what is to be called later."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.set: list[Any] = []

    def call_later(self, _delay_s: float, call: Any) -> asyncio.TimerHandle:
        self.set.append(self._loop.call_later(3600, call))
        handle: asyncio.TimerHandle = self.set[-1]
        return handle

    def create_task(self, task: Any, **named: Any) -> Any:
        return self._loop.create_task(task, **named)


def test_bytes_that_trickle_in_gain_no_time() -> None:
    release = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scene() -> None:
        config = uvicorn.Config(app, http=bounded_protocol(), ws="none", log_level="error")
        config.load()
        state = uvicorn.server.ServerState()
        timers = Timers(asyncio.get_running_loop())
        connection = config.http_protocol_class(config, state, {}, timers)
        wire = Wire()
        connection.connection_made(wire)
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for number in range(len(head) - 1):
            connection.data_received(head[number : number + 1])
        (deadline,) = timers.set
        assert not deadline.cancelled()
        # The last byte: from here on it is the application's time.
        connection.data_received(head[-1:])
        assert deadline.cancelled() and len(timers.set) == 1
        release.set()
        await asyncio.gather(*state.tasks)
        kept, *later = timers.set[1:]
        assert not kept.cancelled() and not later
        # A second head that trickles has a deadline of its own.
        for number in range(len(head) - 1):
            connection.data_received(head[number : number + 1])
        assert kept.cancelled()
        (second,) = timers.set[2:]
        assert not second.cancelled() and not wire.is_closed
        connection.end()
        assert wire.is_closed and second.cancelled()
        assert connection.conn.our_state in (h11.CLOSED, h11.MUST_CLOSE)

    asyncio.run(scene())


def test_the_longest_waiting_of_the_address_goes_first() -> None:
    class Connection:
        def __init__(self, waiting: Waiting) -> None:
            self.is_ended, self._waiting = False, waiting

        def end(self) -> None:
            self.is_ended = True
            self._waiting.leave(self)  # type: ignore[arg-type]

    waiting = Waiting(most=5, each=3)
    made = [Connection(waiting) for _ in range(8)]
    for number, one in enumerate(made[:5]):
        waiting.enter(one, "a" if number < 4 else "b")  # type: ignore[arg-type]
    assert [one.is_ended for one in made[:5]] == [True, False, False, False, False]
    waiting.leave(made[1])  # type: ignore[arg-type]
    for address, one in zip("cde", made[5:], strict=True):
        waiting.enter(one, address)  # type: ignore[arg-type]
    assert [one.is_ended for one in made[1:]] == [False, True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("a.socket", "a.socket"),
    ],
)
def test_addresses_by_which_callers_are_told(host: str, told: str) -> None:
    assert address_of((host, 5)) == told
    assert address_of(None) == ""


def test_wrong_tokens_are_counted_by_address() -> None:
    now_s = [0.0]
    guesses = Guesses(most=3, each_s=6, clock=lambda: now_s[0])
    for number in range(3):
        assert guesses.wait_s("a") == 0
        guesses.note("a", f"wrong {number}")
        guesses.note("a", f"wrong {number}")  # an old cookie, again
    assert guesses.wait_s("a") == 6 and guesses.wait_s("b") == 0
    now_s[0] = 5.5
    assert guesses.wait_s("a") == 1
    now_s[0] = 6.0
    assert guesses.wait_s("a") == 0


@pytest.mark.parametrize("kind", ["bearer", "cookie", "login"])
def test_tokens_cannot_be_tried_in_parallel(tmp_path: Path, kind: str) -> None:
    app = idle_app(tmp_path, token=TOKEN)
    app.state.guesses._clock = lambda: 0.0  # on a slow machine one more could be tried meanwhile
    url = "http://localhost"

    async def tried(client: httpx.AsyncClient, token: str) -> int:
        if kind == "login":
            return (await client.post("/login", data={"token": token})).status_code
        headers = {"authorization": f"Bearer {token}"}
        if kind == "cookie":
            headers = {"cookie": f"viso_session={token}"}
        return (await client.get("/api/limits", headers=headers)).status_code

    async def scene() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            tries = (tried(client, f"wrong-{number}") for number in range(30))
            statuses = await asyncio.gather(*tries)
            # Not even the right one, else it would be found as fast as before.
            statuses.append(await tried(client, TOKEN))
        other = httpx.ASGITransport(app, client=("192.0.2.7", 5))
        async with httpx.AsyncClient(transport=other, base_url=url) as client:
            headers = {"authorization": f"Bearer {TOKEN}"}
            statuses.append((await client.get("/api/limits", headers=headers)).status_code)
        return statuses

    *statuses, right, elsewhere = asyncio.run(scene())
    assert statuses.count(401) == 10 and statuses.count(429) == 20
    assert (right, elsewhere) == (429, 200)
    open_to_all = asked(app)
    assert open_to_all.get("/healthz").status_code == 200
    assert open_to_all.get("/login").status_code == 200


def test_an_old_cookie_is_no_guess(tmp_path: Path) -> None:
    client = asked(idle_app(tmp_path, token=TOKEN))
    for _ in range(30):
        answer = client.get("/api/limits", headers={"cookie": "viso_session=of-another-token"})
        assert answer.status_code == 401
    assert client.post("/login", data={"token": TOKEN}).status_code == 303


async def answered(_scope: Any, receive: Any, send: Any) -> None:
    """Take a body, and answer."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Caller:
    """Logs in, from an address; one that stays never sends what it would."""

    def __init__(self, address: str, *, token: str = "", stays: bool = False) -> None:
        self._address, self._token, self._stays = address, token, stays
        self.is_in = asyncio.Event()
        self.status = 0

    async def call(self, guard: Guard) -> None:
        headers = [(b"host", b"localhost")]
        if self._token:
            headers.append((b"authorization", f"Bearer {self._token}".encode()))
        scope = {
            "type": "http", "method": "POST", "path": "/login", "headers": headers,
            "client": (self._address, 5), "query_string": b"", "scheme": "http",
        }  # fmt: skip
        await guard(scope, self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        self.is_in.set()
        if self._stays:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


def test_who_is_not_known_holds_few_requests(tmp_path: Path) -> None:
    """Bodies that never come hold their places, and leave those of the known alone."""

    async def scene() -> list[int]:
        config = StudioConfig(data=tmp_path, token=TOKEN)
        guard = Guard(answered, config, crowd=Crowd(each=4, most=6))
        callers = [Caller("192.0.2.1", stays=True) for _ in range(4)]
        callers += [Caller("192.0.2.2", stays=True) for _ in range(2)]
        holding = [asyncio.create_task(one.call(guard)) for one in callers]
        for one in callers:
            await one.is_in.wait()
        too_many = [Caller("192.0.2.1"), Caller("192.0.2.3")]
        known, later = Caller("192.0.2.1", token=TOKEN), Caller("192.0.2.1")
        for one in (*too_many, known):
            await one.call(guard)
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)
        await later.call(guard)
        return [one.status for one in (*too_many, known, later)]

    assert asyncio.run(scene()) == [429, 429, 200, 200]


def test_a_token_is_never_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        StudioConfig.from_mapping({"data": tmp_path, "token": "sesame"}, origin="viso serve")
    assert "sesame" not in str(caught.value) and "16 to 200" in str(caught.value)
    assert "sesame" not in str(caught.value.__cause__)
    for options, environment in ((["--token", "sesame"], {}), ([], {"VISO_TOKEN": "sesame"})):
        data = str(tmp_path / "data")
        result = CliRunner().invoke(cli, ["serve", "--data", data, *options], env=environment)
        assert isinstance(result.exception, ConfigError)
        assert "sesame" not in f"{result.exception} {result.output}"


def test_the_server_is_still_there_after_a_visit(tmp_path: Path) -> None:
    """Connections that are closed are forgotten."""
    config = StudioConfig(data=tmp_path / "data", models=("none",), free_bytes=0)
    waiting = Waiting()
    with live(config, http=bounded_protocol(waiting)) as (client, _app):
        assert client.get("/healthz").status_code == 200
        client.close()
        wait_for(lambda: not waiting._waiting and not waiting._counts)
