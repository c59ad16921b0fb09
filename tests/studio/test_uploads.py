"""What is sent: streamed to the disk, within limits, looked at in a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from helpers.live_studio import (
    asked,
    end_of,
    idle_app,
    live,
    of_unknown_length,
    send,
    song_bytes,
    start,
    wait_for,
)
from helpers.small_models import song
from viso.studio import StudioConfig

if TYPE_CHECKING:
    from helpers.live_studio import Running

BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture
def flac(tmp_path: Path) -> bytes:
    return song_bytes(tmp_path, song(2, 22_050, seed=3))


def idle(tmp_path: Path, **settings: Any) -> httpx.Client:
    return asked(idle_app(tmp_path / "data", **settings))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "studio" not in path.name]


def test_a_song_is_taken_and_described(tmp_path: Path, flac: bytes) -> None:
    client = idle(tmp_path)
    answer = client.post("/api/songs?name=a/b/Song%20%C3%A9.flac", content=flac, headers=BINARY)
    assert answer.status_code == 201
    told = answer.json()
    assert answer.headers["location"] == f"/api/songs/{told['id']}"
    assert told["name"] == "Song é.flac"
    assert (told["n_bytes"], told["rate_hz"], told["channels"]) == (len(flac), 44_100, 2)
    assert told["audio_s"] == 0.5
    assert client.get(f"/api/songs/{told['id']}").json() == told


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd", "passwd"),
        ("C:\\music\\song.mp3", "song.mp3"),
        ("<script>alert(1)<x>.mp3", "<script>alert(1)<x>.mp3"),
        ("a\r\nSet-Cookie: x=1\u202e\x00.mp3", "a Set-Cookie: x=1 .mp3"),
        ("", "song"),
        ("..", ".."),
        ("x" * 999, "x" * 200),
    ],
)
def test_names_are_shown_and_never_paths(
    tmp_path: Path, flac: bytes, name: str, shown: str
) -> None:
    client = idle(tmp_path)
    answer = client.post("/api/songs", params={"name": name}, content=flac, headers=BINARY)
    assert answer.json()["name"] == shown
    # The answer is never taken for a page.
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = files_in(tmp_path / "data")
    assert [path.name for path in found] == ["song"]
    assert found[0].read_bytes() == flac


def test_too_large_by_its_header_or_as_it_comes(tmp_path: Path, flac: bytes) -> None:
    client = idle(tmp_path, upload_bytes=1000)
    assert client.post("/api/songs", content=flac, headers=BINARY).status_code == 413

    def unsaid() -> Iterator[bytes]:
        for first in range(0, len(flac), 100):
            yield flac[first : first + 100]

    answer = client.post("/api/songs", content=unsaid(), headers=BINARY)
    assert "content-length" not in answer.request.headers
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["detail"]
    assert files_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    "kind", ["", "text/html", "application/json", "text/plain", "application/x-www-form-urlencoded"]
)
def test_what_does_not_claim_to_be_sound(tmp_path: Path, flac: bytes, kind: str) -> None:
    answer = idle(tmp_path).post("/api/songs", content=flac, headers={"content-type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "data", [b"", b"no sound at all" * 100, b"RIFF\x00", b"#EXTM3U\nfile:///etc/passwd\n"]
)
def test_what_is_no_sound(tmp_path: Path, data: bytes) -> None:
    answer = idle(tmp_path).post("/api/songs?name=my.mp3", content=data, headers=BINARY)
    assert answer.status_code == 422
    # The visitor's name of it, and not where it lies.
    assert str(tmp_path) not in answer.text
    assert not data or "my.mp3" in answer.json()["detail"]
    assert files_in(tmp_path / "data") == []


def test_a_small_file_that_claims_twenty_hours(tmp_path: Path, flac: bytes) -> None:
    claims = of_unknown_length(flac, claimed=20 * 3600 * 44_100)
    answer = idle(tmp_path).post("/api/songs", content=claims, headers=BINARY)
    assert answer.status_code == 422
    assert files_in(tmp_path / "data") == []


def test_a_song_that_is_too_long(tmp_path: Path, flac: bytes) -> None:
    client = idle(tmp_path, length_s=0.4)
    answer = client.post("/api/songs", content=flac, headers=BINARY)
    assert answer.status_code == 422
    assert "0.4 s" in answer.json()["detail"]


def test_a_full_disk(tmp_path: Path, flac: bytes) -> None:
    client = idle(tmp_path, free_bytes=1 << 60)
    answer = client.post("/api/songs", content=flac, headers=BINARY)
    assert answer.status_code == 507
    assert int(answer.headers["retry-after"]) > 0
    assert files_in(tmp_path / "data") == []


def test_a_full_queue_takes_neither_jobs_nor_songs(tmp_path: Path, flac: bytes) -> None:
    client = idle(tmp_path, queue=2)
    sent = client.post("/api/songs", content=flac, headers=BINARY).json()
    for place in (1, 2):
        answer = client.post(f"/api/songs/{sent['id']}/jobs", json={})
        assert (answer.status_code, answer.json()["place"]) == (201, place)
    for again in (
        client.post(f"/api/songs/{sent['id']}/jobs", json={}),
        client.post("/api/songs", content=flac, headers=BINARY),
    ):
        assert again.status_code == 429
        assert int(again.headers["retry-after"]) > 0


def broken_off(port: int, head: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"POST /api/songs HTTP/1.1\r\nHost: localhost\r\n" + head)
    return connection


def test_slow_uploads_end_and_leave_nothing(tmp_path: Path, flac: bytes) -> None:
    config = StudioConfig(
        data=tmp_path / "data",
        models=("no such model",),
        free_bytes=0,
        upload_grace_s=0.3,
        upload_rate=1e6,
    )
    with live(config) as (client, _app):
        port = client.base_url.port
        assert port is not None
        head = b"Content-Type: audio/flac\r\nContent-Length: 100000\r\n\r\n"
        with broken_off(port, head + flac[:1000]) as connection:
            connection.settimeout(60)
            assert b" 408 " in connection.recv(4096).splitlines()[0]
        assert files_in(tmp_path / "data") == []


def test_broken_off_uploads_leave_nothing(running: Running, flac: bytes) -> None:
    port = running.client.base_url.port
    assert port is not None
    head = b"Content-Type: audio/flac\r\nContent-Length: 5000000\r\n\r\n"
    uploads = running.data / "uploads"
    with broken_off(port, head + flac[:1000] + bytes(3_000_000)):
        wait_for(lambda: any(uploads.iterdir()))
    wait_for(lambda: not any(uploads.iterdir()))


def test_a_song_that_goes_on_after_all_it_may(tmp_path: Path, mask_model: Path) -> None:
    endless = of_unknown_length(song_bytes(tmp_path, song(1, 5 * 44_100)))
    config = StudioConfig(
        data=tmp_path / "data", models=(str(mask_model),), threads=1, free_bytes=0, length_s=2
    )
    with live(config) as (client, app):
        sent = send(client, endless)
        assert sent["audio_s"] is None
        job = end_of(client, start(client, sent["id"])["id"])
        assert job["state"] == "failed"
        assert "2 s" in job["error"] and str(tmp_path) not in job["error"]
        wait_for(lambda: not app.state.studio.folders.job(job["id"]).exists())


def test_a_song_that_is_damaged_inside(running: Running, tmp_path: Path) -> None:
    data = bytearray(song_bytes(tmp_path, song(2, 5 * 44_100)))
    middle = len(data) // 2
    data[middle : middle + 5000] = np.random.default_rng(1).bytes(5000)
    sent = send(running.client, bytes(data), name="broken.flac")
    job = end_of(running.client, start(running.client, sent["id"])["id"])
    assert job["state"] == "failed"
    assert "broken.flac" in job["error"] and str(running.data) not in job["error"]
