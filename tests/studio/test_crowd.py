"""Fifty visitors at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest

from helpers.live_studio import PATIENCE_S, live, pcm_16, song_bytes
from helpers.small_models import song
from viso.studio import StudioConfig

N = 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_visitors_at_once(tmp_path: Path, mask_model: Path) -> None:
    songs = [np.round(song(1, 8_000, seed=seed, level=0.5) * 32767) / 32768 for seed in range(N)]
    files = [song_bytes(tmp_path, audio, rate_hz=8_000) for audio in songs]
    config = StudioConfig(
        data=tmp_path / "data", models=(str(mask_model),), threads=1, free_bytes=0, queue=N
    )
    places: list[int] = []

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        answer = await client.post(
            "/api/songs",
            params={"name": f"song {number}.flac"},
            content=files[number],
            headers={"content-type": "audio/flac"},
        )
        assert answer.status_code == 201, answer.text
        sent = answer.json()
        assert sent["name"] == f"song {number}.flac"
        answer = await client.post(f"/api/songs/{sent['id']}/jobs", json={})
        assert answer.status_code == 201, answer.text
        job = answer.json()
        places.append(job["place"] or 0)
        while job["state"] in ("queued", "running"):
            await asyncio.sleep(0.5)
            place = job["place"]
            job = (await client.get(f"/api/jobs/{job['id']}")).json()
            assert job["place"] is None or job["place"] <= place
        assert job["state"] == "done", job
        wav = (await client.get(f"/api/jobs/{job['id']}/stems/mixture.wav")).content
        np.testing.assert_array_equal(pcm_16(wav, 1).T, np.rint(songs[number] * 32768))

    async def crowd(url: httpx.URL) -> None:
        limits = httpx.Limits(max_connections=N)
        async with httpx.AsyncClient(base_url=url, timeout=5 * PATIENCE_S, limits=limits) as client:
            await asyncio.gather(*(visit(client, number) for number in range(N)))

    with live(config) as (client, app):
        client.get("/api/models")
        asyncio.run(crowd(client.base_url))
        songs_known, jobs_known = app.state.studio.store.known()
        assert len(songs_known) == len(jobs_known) == N
    assert len(places) == N
    # They had to queue: the places were told, and were different ones.
    assert max(places) > 3
