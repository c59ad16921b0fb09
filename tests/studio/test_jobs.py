"""Jobs from the queue to their end: order, progress, cancelling, crashes, restarts, expiry."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from helpers.live_studio import (
    asked,
    end_of,
    follow,
    idle_app,
    live,
    send,
    song_bytes,
    start,
    wait_for,
)
from helpers.small_models import song
from viso.errors import ConfigError
from viso.studio import StudioConfig, create_app

if TYPE_CHECKING:
    from helpers.live_studio import Running, Separated

NOBODY = "0" * 32


@pytest.fixture
def flac(tmp_path: Path) -> bytes:
    return song_bytes(tmp_path, song(2, 22_050, seed=3))


@pytest.fixture(scope="module")
def long_flac(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Long enough that something can be done while it is separated."""
    return song_bytes(tmp_path_factory.mktemp("long"), song(1, 90 * 44_100, seed=4))


@pytest.fixture(scope="module")
def endless_flac(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """For what never comes to its end, however fast the machine."""
    return song_bytes(
        tmp_path_factory.mktemp("endless"), song(1, 600 * 8_000, seed=4), rate_hz=8_000
    )


def state_of(client: httpx.Client, job: str) -> str:
    state: str = client.get(f"/api/jobs/{job}").json()["state"]
    return state


def running_job(client: httpx.Client, data: bytes) -> dict[str, Any]:
    """Start a job and wait until it is being worked on."""
    job = start(client, send(client, data)["id"])
    for seen in follow(client, job["id"]):
        if seen["progress"] > 0:
            assert seen["state"] == "running"
            return seen
    raise AssertionError("it never ran")


def test_previews_go_before_whole_songs(tmp_path: Path, flac: bytes) -> None:
    client = asked(idle_app(tmp_path / "data"))
    long = send(client, song_bytes(tmp_path, song(1, 40 * 8_000), rate_hz=8_000))["id"]
    whole = start(client, long)
    assert whole["place"] == 1 and whole["state"] == "queued"
    second = start(client, long, start_s=1)
    preview = start(client, long, duration_s=20)
    short = start(client, send(client, flac)["id"])  # a whole song, but not longer than a preview

    def places() -> list[int | None]:
        jobs = (preview, short, whole, second)
        return [client.get(f"/api/jobs/{job['id']}").json()["place"] for job in jobs]

    assert places() == [1, 2, 3, 4]
    assert client.post(f"/api/jobs/{preview['id']}/cancel").json()["state"] == "cancelled"
    assert places() == [None, 1, 2, 3]


def test_the_place_is_the_order_of_work(tmp_path: Path, mask_model: Path) -> None:
    app = idle_app(tmp_path / "data")
    client = asked(app)
    sent = send(client, song_bytes(tmp_path, song(1, 40 * 8_000), rate_hz=8_000))["id"]
    jobs = [start(client, sent, start_s=1 + number) for number in range(3)]
    jobs += [start(client, sent, duration_s=1 + number) for number in range(2)]
    told = {job["id"]: client.get(f"/api/jobs/{job['id']}").json()["place"] for job in jobs}
    store = app.state.studio.store
    worked = [store.claim().id for _ in jobs]
    assert worked == sorted(told, key=lambda job: told[job])
    assert store.claim() is None


def test_events_tell_all_of_a_job(running: Running, long_flac: bytes) -> None:
    sent = send(running.client, long_flac)
    job = start(running.client, sent["id"])
    told = list(follow(running.client, job["id"]))
    assert told[-1] == running.client.get(f"/api/jobs/{job['id']}").json()
    assert (told[-1]["state"], told[-1]["progress"]) == ("done", 1.0)
    progress = [seen["progress"] for seen in told]
    assert progress == sorted(progress) and len(set(progress)) > 2
    working = [seen for seen in told if seen["state"] == "running" and seen["progress"] > 0]
    assert all(seen["speed"] > 0 and seen["left_s"] >= 0 for seen in working)
    # Who comes later gets the end at once.
    assert list(follow(running.client, job["id"])) == told[-1:]


@pytest.mark.slow
def test_two_follow_one_job(running: Running, long_flac: bytes) -> None:
    job = running_job(running.client, long_flac)["id"]
    ends: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: ends.append(end_of(running.client, job))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end["state"] for end in ends] == ["done", "done"]


@pytest.mark.slow
def test_cancelled_while_it_waits(running: Running, endless_flac: bytes, flac: bytes) -> None:
    busy = running_job(running.client, endless_flac)["id"]
    waits = start(running.client, send(running.client, flac)["id"])["id"]
    answer = running.client.post(f"/api/jobs/{waits}/cancel")
    assert answer.json()["state"] == "cancelled"
    running.client.delete(f"/api/jobs/{busy}")
    after = start(running.client, send(running.client, flac)["id"])
    assert end_of(running.client, after["id"])["state"] == "done"
    assert state_of(running.client, waits) == "cancelled"


def test_cancelled_while_it_runs(running: Running, endless_flac: bytes, flac: bytes) -> None:
    job = running_job(running.client, endless_flac)["id"]
    assert running.client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
    folder = running.app.state.studio.folders.job(job)
    wait_for(lambda: not folder.exists())
    assert end_of(running.client, job)["state"] == "cancelled"
    assert running.client.get(f"/api/jobs/{job}/stems/vocals.wav").status_code == 409
    # The same process goes on with the next song.
    after = start(running.client, send(running.client, flac)["id"])
    assert end_of(running.client, after["id"])["state"] == "done"


def test_cancelling_what_has_ended_changes_nothing(running: Running, separated: Separated) -> None:
    told = running.client.post(f"{separated.url}/cancel").json()
    assert told == {**separated.job, "expires_at": told["expires_at"]}


def test_a_worker_that_is_killed(running: Running, endless_flac: bytes, flac: bytes) -> None:
    job = running_job(running.client, endless_flac)["id"]
    (pid,) = running.app.state.studio.workers.pids
    os.kill(pid, signal.SIGKILL)
    told = end_of(running.client, job)
    assert told["state"] == "failed"
    assert "SIGKILL" in told["error"] and "song.flac" in told["error"]
    after = start(running.client, send(running.client, flac)["id"])
    assert end_of(running.client, after["id"])["state"] == "done"
    (other,) = running.app.state.studio.workers.pids
    assert other != pid


@pytest.mark.slow
def test_a_worker_that_hangs(tmp_path: Path, mask_model: Path, flac: bytes) -> None:
    config = StudioConfig(
        data=tmp_path / "data", models=(str(mask_model),), threads=1, free_bytes=0, patience_s=1
    )
    with live(config) as (client, app):
        client.get("/api/models")
        (pid,) = app.state.studio.workers.pids
        os.kill(pid, signal.SIGSTOP)
        try:
            told = end_of(client, start(client, send(client, flac)["id"])["id"])
        finally:
            if pid in app.state.studio.workers.pids:
                os.kill(pid, signal.SIGCONT)
        assert told["state"] == "failed" and "no progress" in told["error"]


def test_what_is_deleted_is_gone(running: Running, flac: bytes) -> None:
    client, folders = running.client, running.app.state.studio.folders
    sent = send(client, flac)["id"]
    first, second = (start(client, sent)["id"] for _ in range(2))
    assert {end_of(client, job)["state"] for job in (first, second)} == {"done"}
    assert client.delete(f"/api/jobs/{first}").status_code == 204
    assert client.get(f"/api/jobs/{first}").status_code == 404
    assert client.get(f"/api/jobs/{first}/stems/vocals.wav").status_code == 404
    assert not folders.job(first).exists()
    assert state_of(client, second) == "done"
    assert client.delete(f"/api/songs/{sent}").status_code == 204
    assert client.delete(f"/api/songs/{sent}").status_code == 404
    assert client.get(f"/api/jobs/{second}").status_code == 404
    assert not folders.job(second).exists() and not folders.song(sent).exists()


def test_a_song_that_is_deleted_while_it_is_separated(
    running: Running, endless_flac: bytes, flac: bytes
) -> None:
    job = running_job(running.client, endless_flac)
    folders = running.app.state.studio.folders
    assert running.client.delete(f"/api/songs/{job['song']}").status_code == 204
    after = start(running.client, send(running.client, flac)["id"])
    assert end_of(running.client, after["id"])["state"] == "done"
    assert not folders.job(job["id"]).exists() and not folders.song(job["song"]).exists()


def test_what_cannot_be_asked_for(running: Running, separated: Separated, tmp_path: Path) -> None:
    url = f"/api/songs/{separated.song['id']}/jobs"
    other = tmp_path / "model.onnx"
    other.write_bytes(b"")
    for wrong in (
        {"model": str(other)},
        {"model": "../tiny"},
        {"start_s": 3.0},
        {"start_s": -1},
        {"duration_s": 0},
        {"start_s": "soon"},
        {"more": 1},
        [],
    ):
        answer = running.client.post(url, json=wrong)
        assert answer.status_code == 422, wrong
        assert isinstance(answer.json()["detail"], str)
    nan = {"content-type": "application/json"}
    assert running.client.post(url, content=b'{"start_s": NaN}', headers=nan).status_code == 422
    assert running.client.post(url, content=b"{", headers=nan).status_code == 422
    assert running.client.post(url, content=b"\xb1\x46", headers=nan).status_code == 400


def test_models_are_told_by_their_cards(running: Running, mask_model: Path) -> None:
    (model,) = running.client.get("/api/models").json()
    assert (model["name"], model["license"], model["default"]) == ("tiny", "MIT", True)
    assert model["trained_on"] == ["nothing"] and model["confidence"] is True
    assert str(mask_model.parent) not in running.client.get("/api/models").text


def test_limits_are_those_of_the_settings(running: Running) -> None:
    told = running.client.get("/api/limits").json()
    assert (told["upload_bytes"], told["length_s"], told["queue"]) == (20_000_000, 3600, 100)
    assert told["formats"] == ["wav", "flac", "mp3"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/events",
        "/peaks",
        "/confidence",
        "/stems/vocals.wav",
        "/stems/vocals.mp3",
        "/mix.wav",
        "/spectrogram/vocals.png",
    ],
)
def test_jobs_that_are_not_there_or_not_done(tmp_path: Path, flac: bytes, path: str) -> None:
    client = asked(idle_app(tmp_path / "data"))
    assert client.get(f"/api/jobs/{NOBODY}{path}").status_code == 404
    job = start(client, send(client, flac)["id"])["id"]
    if path not in ("", "/events"):
        assert client.get(f"/api/jobs/{job}{path}").status_code == 409


def test_songs_whose_time_is_over(
    tmp_path: Path, flac: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = idle_app(tmp_path / "data", keep_s=3600)
    client, studio = asked(app), app.state.studio
    idle, busy = (send(client, flac)["id"] for _ in range(2))
    job = start(client, busy)["id"]
    studio.folders.job(job).mkdir()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3700)
    assert client.get(f"/api/songs/{idle}").status_code == 404
    assert client.post(f"/api/songs/{idle}/jobs", json={}).status_code == 404
    studio.sweep()
    assert not studio.folders.song(idle).exists()
    # While somebody works on a song its time stands still, and begins again then.
    assert client.get(f"/api/jobs/{job}").json()["state"] == "queued"
    assert studio.store.end_job(job, "failed", expires_s=time.time() + 3600)
    assert client.get(f"/api/songs/{busy}").status_code == 200
    monkeypatch.setattr(time, "time", lambda: now() + 7400)
    studio.sweep()
    assert client.get(f"/api/jobs/{job}").status_code == 404
    assert not studio.folders.song(busy).exists() and not studio.folders.job(job).exists()
    assert studio.store.known() == (set(), set())


def test_old_songs_are_removed_by_themselves(tmp_path: Path, flac: bytes) -> None:
    config = StudioConfig(
        data=tmp_path / "data", models=("no such model",), free_bytes=0, keep_s=0.3
    )
    with live(config) as (client, app):
        sent = send(client, flac)["id"]
        wait_for(lambda: not app.state.studio.folders.song(sent).exists())


def test_a_song_that_is_deleted_while_a_job_is_begun(tmp_path: Path, flac: bytes) -> None:
    app = idle_app(tmp_path / "data")
    client, studio = asked(app), app.state.studio
    sent = send(client, flac)["id"]
    models = studio.models

    def deleting() -> Any:
        studio.delete_song(sent)
        return models()

    studio.models = deleting
    assert client.post(f"/api/songs/{sent}/jobs", json={}).status_code == 404


@pytest.mark.slow
def test_a_restart_finds_what_was_done_and_does_what_was_not(
    tmp_path: Path, mask_model: Path, long_flac: bytes, flac: bytes
) -> None:
    config = StudioConfig(
        data=tmp_path / "data", models=(str(mask_model),), threads=1, free_bytes=0
    )
    with live(config) as (client, _app):
        done = start(client, send(client, flac)["id"])["id"]
        assert end_of(client, done)["state"] == "done"
        wav = client.get(f"/api/jobs/{done}/stems/vocals.wav").content
        interrupted = running_job(client, long_flac)["id"]
        waiting = start(client, send(client, flac)["id"])["id"]
    with live(config) as (client, _app):
        assert client.get(f"/api/jobs/{done}/stems/vocals.wav").content == wav
        for job in (interrupted, waiting):
            assert end_of(client, job)["state"] == "done"
        folder = tmp_path / "data" / "jobs" / interrupted
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_job_that_is_interrupted_for_ever(tmp_path: Path, flac: bytes) -> None:
    data = tmp_path / "data"
    app = idle_app(data)
    client = asked(app)
    job = start(client, send(client, flac)["id"])["id"]
    for attempt in (1, 2, 3):
        store = app.state.studio.store
        assert store.claim().attempts == attempt
        store.close()
        app = idle_app(data)
    told = asked(app).get(f"/api/jobs/{job}").json()
    assert told["state"] == "failed" and "interrupted" in told["error"]


def test_a_song_whose_file_is_gone_at_the_start(tmp_path: Path, flac: bytes) -> None:
    data = tmp_path / "data"
    app = idle_app(data)
    sent = send(asked(app), flac)["id"]
    app.state.studio.store.close()
    app.state.studio.folders.song(sent).unlink()
    assert asked(idle_app(data)).get(f"/api/songs/{sent}").status_code == 404


def test_one_studio_at_a_time(tmp_path: Path) -> None:
    first = idle_app(tmp_path)
    with pytest.raises(ConfigError, match="another studio"):
        create_app(StudioConfig(data=tmp_path))
    first.state.studio.store.close()
    idle_app(tmp_path)


def test_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    idle_app(tmp_path / "data").state.studio.store.close()
    (tmp_path / "data" / "studio.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"studio\.sqlite"):
        create_app(StudioConfig(data=tmp_path / "data"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="--data"):
        create_app(StudioConfig(data=tmp_path / "file" / "below"))


def test_a_later_version_s_folder(tmp_path: Path) -> None:
    idle_app(tmp_path).state.studio.store.close()
    with closing(sqlite3.connect(tmp_path / "studio.sqlite")) as database, database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigError, match="another version"):
        create_app(StudioConfig(data=tmp_path))
