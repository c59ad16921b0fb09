"""The threads of a studio's workers, whatever its list of jobs and its models do to them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.live_studio import (
    PATIENCE_S,
    asked,
    end_of,
    idle_app,
    live,
    send,
    song_bytes,
    start,
)
from helpers.small_models import song
from viso.errors import ModelError
from viso.models import registry
from viso.studio import StudioConfig, worker, worker_pool
from viso.studio.messages import DescribeModels, JobDone

DONE = JobDone(22_050, 44_100, 2, 0.0, 1.0, None)


@pytest.fixture
def flac(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return song_bytes(tmp_path_factory.mktemp("sent"), song(2, 22_050, seed=3))


class Broken:
    """Calls a function, and fails the first time."""

    def __init__(self, function: Any, error: Exception) -> None:
        self._function, self._error = function, error
        self.n_calls = 0

    def __call__(self, *values: Any, **named: Any) -> Any:
        self.n_calls += 1
        if self.n_calls == 1:
            raise self._error
        return self._function(*values, **named)


def test_a_list_that_fails_once_between_jobs_ends_no_worker(
    tmp_path: Path, mask_model: Path, flac: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "_RETRY_S", 0.01)
    config = StudioConfig(data=tmp_path, models=(str(mask_model),), threads=1, free_bytes=0)
    with live(config) as (client, app):
        one = app.state.studio.workers
        one.separation = Broken(one.separation, sqlite3.OperationalError("disk I/O error"))
        job = start(client, send(client, flac)["id"])
        assert end_of(client, job["id"])["state"] == "done"
        assert one.separation.n_calls == 2
        # Another error costs the job, and not the worker.
        one.separation = Broken(one.separation, MemoryError())
        job = start(client, send(client, flac)["id"])
        told = end_of(client, job["id"])
        assert told["state"] == "failed" and "log" in told["error"]
        after = start(client, send(client, flac)["id"])
        assert end_of(client, after["id"])["state"] == "done"
        assert client.get("/healthz").status_code == 200


def test_a_worker_that_is_gone_is_told_by_the_health_check(tmp_path: Path) -> None:
    app = idle_app(tmp_path)
    client = asked(app)
    assert client.get("/healthz").status_code == 200
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join(PATIENCE_S)
    app.state.studio.workers._threads = [gone]
    answer = client.get("/healthz")
    assert answer.status_code == 503 and "worker" in answer.json()["detail"]


def test_the_end_of_a_job_noted_twice_leaves_its_stems(tmp_path: Path, flac: bytes) -> None:
    app = idle_app(tmp_path)
    client, studio = asked(app), app.state.studio
    start(client, send(client, flac)["id"])
    job = studio.store.claim()
    stem = studio.folders.job(job.id) / "vocals.wav"
    stem.parent.mkdir()
    stem.write_bytes(b"stem")
    # The first try is noted, and fails behind that.
    studio.store.job = Broken(studio.store.job, sqlite3.OperationalError("disk I/O error"))
    first = studio.store.end_job

    def noting(*values: Any, **named: Any) -> bool:
        del studio.store.end_job
        studio.store.job.n_calls = 1
        is_changed: bool = first(*values, **named)
        studio.store.job.n_calls = 0
        return is_changed

    studio.store.end_job = noting
    with pytest.raises(sqlite3.OperationalError):
        studio.workers.record_end(job, DONE)
    studio.workers.record_end(job, DONE)
    assert studio.store.job(job.id).state == "done"
    assert stem.read_bytes() == b"stem"


def test_a_job_cancelled_in_its_last_moment_leaves_no_stems(tmp_path: Path, flac: bytes) -> None:
    app = idle_app(tmp_path)
    client, studio = asked(app), app.state.studio
    start(client, send(client, flac)["id"])
    job = studio.store.claim()
    studio.folders.job(job.id).mkdir()
    assert client.post(f"/api/jobs/{job.id}/cancel").json()["state"] == "cancelled"
    studio.workers.record_end(job, DONE)
    assert studio.store.job(job.id).state == "cancelled"
    assert not studio.folders.job(job.id).exists()


@pytest.mark.parametrize("error", [ModelError("bad.onnx: damaged"), RuntimeError("Protobuf")])
def test_one_bad_model_hides_no_other(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    loaded = worker._offer

    def offered(name: str, *, is_known: bool) -> Any:
        if name == "bad":
            raise error
        return loaded(name, is_known=is_known)

    monkeypatch.setattr(worker, "_offer", offered)
    monkeypatch.setattr(registry, "available", lambda: ["viso", "bad", "viso-cnn"])
    told = worker._described(DescribeModels(()))
    assert [one.name for one in told.offers] == ["viso", "viso-cnn"]
    assert len(told.refusals) == 1 and "bad" in told.refusals[0]


@pytest.mark.parametrize("error", [ModelError("models: damaged"), PermissionError("models")])
def test_models_that_cannot_be_listed_end_no_worker(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def available() -> list[str]:
        raise error

    monkeypatch.setattr(registry, "available", available)
    assert "models" in worker._described(DescribeModels(())).refusals[0]


def test_an_unreadable_file_among_the_user_s_models(
    tmp_path: Path, mask_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "viso" / "models"
    folder.mkdir(parents=True)
    (folder / "mine.onnx").write_bytes(mask_model.read_bytes())
    (folder / "broken.onnx").write_bytes(b"no model")
    (folder / "broken-card.toml").write_bytes(b"\xff no = card")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    told = worker._described(DescribeModels(()))
    names = [one.name for one in told.offers]
    assert "viso" in names and "mine" in names
    assert "broken" not in names
    refusals = "\n".join(told.refusals)
    assert "broken.onnx" in refusals and "broken-card" in refusals
