"""A studio that runs for all tests of a session, and a song that it has separated."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "httpx")):
    collect_ignore_glob = ["test_*"]
else:
    from helpers.live_studio import IDLE, Running, Separated, end_of, live, send, song_bytes, start
    from helpers.small_models import song
    from viso.studio import StudioConfig

    @pytest.fixture(autouse=True)
    def _closed_in_the_end() -> Iterator[None]:
        yield
        while IDLE:
            IDLE.pop().state.studio.store.close()

    @pytest.fixture(scope="session")
    def running(mask_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
        """A studio with one worker and the small model."""
        data = tmp_path_factory.mktemp("studio")
        config = StudioConfig(
            data=data, models=(str(mask_model),), threads=1, free_bytes=0, upload_bytes=20_000_000
        )
        with live(config) as (client, app):
            yield Running(client, app, data)

    @pytest.fixture(scope="session")
    def separated(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Separated:
        """Three seconds of stereo, with a name that wants to do harm."""
        audio = song(2, 3 * 44_100, seed=5, level=0.5)
        flac = song_bytes(tmp_path_factory.mktemp("sent"), audio)
        sent = send(running.client, flac, name='../../<b>"Lied"\r\n: Größe<br>.flac')
        job = end_of(running.client, start(running.client, sent["id"])["id"])
        assert job["state"] == "done", job
        return Separated(audio, flac, sent, job)
