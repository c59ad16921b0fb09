"""Studios for the tests: one that is only asked in this process, and one on a port of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import soundfile
import uvicorn
from fastapi import FastAPI

from viso.http.connections import server_config
from viso.separator import STEMS
from viso.studio import StudioConfig, create_app
from viso.studio.messages import OfferedModel

HERE = "http://localhost"
IDLE: list[FastAPI] = []
"""Applications to be closed when their test is over."""
PATIENCE_S = 120.0  # for busy machines; nothing needs so long


@dataclass(frozen=True)
class Running:
    """A studio that serves, and a client of it."""

    client: httpx.Client
    app: FastAPI
    data: Path


@dataclass(frozen=True)
class Separated:
    """A song that was sent and separated; `audio` is [shape=(channels, n)]."""

    audio: npt.NDArray[np.float32]
    flac: bytes
    song: dict[str, Any]
    job: dict[str, Any]

    @property
    def url(self) -> str:
        """Where the job is found."""
        return f"/api/jobs/{self.job['id']}"


def song_bytes(folder: Path, audio: npt.NDArray[Any], *, rate_hz: int = 44_100) -> bytes:
    """A FLAC of 24 bits from an array [shape=(channels, n)]."""
    path = folder / "sent.flac"
    soundfile.write(path, audio.T, rate_hz, subtype="PCM_24")
    return path.read_bytes()


def idle_app(data: Path, **settings: Any) -> FastAPI:
    """A studio whose workers are never started; it offers a model by the name of tiny."""
    app = create_app(StudioConfig(data=data, **{"free_bytes": 0, **settings}))
    IDLE.append(app)
    workers = app.state.studio.workers
    workers.offers = (OfferedModel("tiny", "tiny", "", "MIT", (), {}, (), 1, STEMS),)
    workers.are_described.set()
    return app


class _Asked(httpx.BaseTransport):
    """Puts each request to an application, in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answered() -> httpx.Response:
            body = request.stream
            if not isinstance(body, httpx.AsyncByteStream):
                request.stream = _Portions(list(body))  # type: ignore[arg-type]
            answer = await self._inner.handle_async_request(request)
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=await answer.aread()
            )

        return asyncio.run(answered())


class _Portions(httpx.AsyncByteStream):
    def __init__(self, portions: list[bytes]) -> None:
        self._portions = portions

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for portion in self._portions:
            yield portion


def asked(app: FastAPI, *, url: str = HERE) -> httpx.Client:
    """A client of a studio in this process; redirects are not followed."""
    return httpx.Client(transport=_Asked(app), base_url=url)


@contextmanager
def live(config: StudioConfig, **served: Any) -> Iterator[tuple[httpx.Client, FastAPI]]:
    """Serve a studio on a free port while in the block; `served` are settings of uvicorn's."""
    app = create_app(config)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = uvicorn.Server(
            server_config(app, log_level="error", timeout_graceful_shutdown=2, **served)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_for(lambda: server.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                yield client, app
        finally:
            app.state.studio.events.close()
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def wait_for(is_so: Any, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so; fail if it never is."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def send(client: httpx.Client, data: bytes, *, name: str = "song.flac") -> dict[str, Any]:
    """Upload a song."""
    headers = {"content-type": "audio/flac"}
    answer = client.post("/api/songs", params={"name": name}, content=data, headers=headers)
    assert answer.status_code == 201, answer.text
    song: dict[str, Any] = answer.json()
    return song


def start(client: httpx.Client, song: str, **asked: Any) -> dict[str, Any]:
    """Start a job."""
    answer = client.post(f"/api/songs/{song}/jobs", json=asked)
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def follow(client: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    """Yield a job as its events tell it."""
    with client.stream("GET", f"/api/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            assert line == "" or line.startswith((":", "data: "))
            if line.startswith("data: "):
                yield json.loads(line[6:])


def end_of(client: httpx.Client, job: str) -> dict[str, Any]:
    """Wait for the end of a job."""
    *_, last = follow(client, job)
    return last


def of_unknown_length(flac: bytes, *, claimed: int = 0) -> bytes:
    """A FLAC whose header says 0 samples, which means unknown, or any other number."""
    changed = bytearray(flac)
    changed[21] = changed[21] & 0xF0 | claimed >> 32
    changed[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(changed)


def pcm_16(wav: bytes, n_channels: int = 2) -> npt.NDArray[np.int64]:
    """The samples of a WAV of 16 bits behind its header [shape=(n, channels)]."""
    return np.frombuffer(wav[44:], "<i2").reshape(-1, n_channels).astype(np.int64)
