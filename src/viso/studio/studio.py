"""The studio behind the routes: songs, jobs and workers, without HTTP."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import get_args

from viso.errors import ConfigError
from viso.studio.folders import Folders
from viso.studio.job_events import JobEvents
from viso.studio.ownership import take_folder
from viso.studio.removal import Remover
from viso.studio.schemas import Job, JobRequest, Model, Song, State
from viso.studio.settings import StudioConfig
from viso.studio.stem_store import StemStore
from viso.studio.store import ACTIVE, Store
from viso.studio.tables import JobRow, SongRow
from viso.studio.worker_pool import WorkerPool

__all__ = ["ENDED", "Studio", "new_id"]

ENDED = tuple(state for state in get_args(State) if state not in ACTIVE)
PREVIEW_S = 30.0
"""Regions up to this length precede whole songs in the queue."""

_DRAWN = 48  # sets of pictures in the cache
_INSPECTIONS = 2  # concurrent processes that read headers
_ENCODINGS = 2
_MODELS_S = 30.0  # for a worker to describe the models


def new_id() -> str:
    """Return 128 random bits."""
    return secrets.token_hex(16)


class Studio:
    """The parts of one running studio.

    Parameters
    ----------
    config : StudioConfig

    Raises
    ------
    ConfigError
        If its folder cannot be used, or another studio uses it.
    """

    def __init__(self, config: StudioConfig) -> None:
        self.config = config
        take_folder(config.data)
        self.store = Store(config.data)
        try:
            self.folders = Folders(config.data)
        except ConfigError:
            self.store.close()
            raise
        self.remover = Remover(self.store, self.folders)
        self.events = JobEvents()
        self.workers = WorkerPool(self.store, self.folders, self.remover, self.events, config)
        self.pictures = Pictures()
        self.inspections = asyncio.Semaphore(_INSPECTIONS)
        self.encodings = asyncio.Semaphore(_ENCODINGS)
        self.drawings = asyncio.Semaphore(1)
        self._n_arriving = 0
        for song_id in self.store.known()[0]:
            if not self.folders.song(song_id).is_file():
                self.store.delete_song(song_id)
        self.remover.remove_recorded()
        self.store.requeue_interrupted()

    def start(self) -> None:
        """Start the workers, in an event loop."""
        self.events.open()
        self.sweep()
        self.workers.start()

    def stop(self) -> None:
        """Stop the workers, and release the folder."""
        self.events.close()
        self.workers.stop()
        self.store.close()

    def sweep(self) -> None:
        """Remove expired songs with their stems, and old downloads."""
        for song_id in self.store.expired():
            self.delete_song(song_id)
        self.remover.remove_old_downloads()

    @contextmanager
    def arrivals(self) -> Iterator[bool]:
        """Count an upload in the block, which the event loop runs; False if there are too many."""
        self._n_arriving += 1
        try:
            yield self._n_arriving <= self.config.n_uploads
        finally:
            self._n_arriving -= 1

    def add_song(
        self,
        song_id: str,
        *,
        name: str,
        n_bytes: int,
        audio_s: float | None,
        rate_hz: int,
        channels: int,
    ) -> Song:
        """Make a song of a complete upload."""
        expires_s = time.time() + self.config.keep_s
        row = SongRow(song_id, name, n_bytes, audio_s, rate_hz, channels, expires_s)
        self.remover.record("song", song_id)
        try:
            self.folders.keep_upload(song_id)
            self.store.add_song(row)
        except BaseException:
            self.remover.remove("song", song_id)
            raise
        return song_of(row)

    def delete_song(self, song_id: str) -> None:
        """Delete a song, and cancel its jobs."""
        jobs = self.store.jobs_of(song_id)
        self.store.delete_song(song_id)
        for job in jobs:
            self._release(job)
        self.remover.remove("song", song_id)
        self.events.notify()

    def delete_job(self, job: JobRow) -> None:
        """Delete a job, and cancel it if it runs."""
        self.store.delete_job(job.id)
        self._release(job)
        self.events.notify()

    def _release(self, job: JobRow) -> None:
        self.workers.cancel(job.id)
        self.pictures.forget(job.id)
        self.remover.remove("job", job.id, is_over=self.workers.progress(job.id) is None)

    def cancel(self, job: JobRow) -> None:
        """Cancel a job that waits or runs; a job that has ended stays as it is."""
        if self.store.end_job(job.id, "cancelled"):
            self.workers.cancel(job.id)
            self.events.notify()

    def add_job(
        self, song: SongRow, request: JobRequest, *, model: str, stems: Sequence[str]
    ) -> JobRow:
        """Queue a job that makes these stems, which add up to the song.

        Raises
        ------
        QueueFullError
            If too many jobs wait.
        SongGoneError
            If the song was deleted meanwhile.
        """
        length_s = request.duration_s
        if length_s is None and song.audio_s is not None:
            length_s = song.audio_s - request.start_s
        row = JobRow(
            number=0,
            id=new_id(),
            song=song.id,
            model=model,
            start_s=request.start_s,
            duration_s=request.duration_s,
            is_preview=length_s is not None and length_s <= PREVIEW_S,
            state="queued",
            attempts=0,
            error=None,
            n_samples=None,
            gain_db=None,
            speed=None,
            loudness=None,
            stems=",".join(stems),
        )
        expires_s = time.time() + self.config.keep_s
        self.store.add_job(row, most_waiting=self.config.queue, expires_s=expires_s)
        self.workers.wake()
        self.events.notify()
        return row

    def job(self, job_id: str) -> Job | None:
        """Return a job as visitors see it, or None if there is none."""
        running = self.workers.progress(job_id)  # before the row, which says how it ended
        row = self.store.job(job_id)
        song = None if row is None else self.store.song(row.song)
        if row is None or song is None:
            return None
        progress, left_s, speed = float(row.state == "done"), None, row.speed
        if running is not None and row.state == "running":
            speed = running.speed
            if running.total_s:
                progress = min(1.0, running.done_s / running.total_s)
                left_s = max(0.0, running.total_s - running.done_s) / speed if speed else None
        return Job(
            id=row.id,
            song=row.song,
            model=row.model,
            start_s=row.start_s,
            duration_s=row.duration_s,
            state=row.state,
            place=self.store.queue_position(row) if row.state == "queued" else None,
            progress=round(progress, 4),
            speed=None if speed is None else round(speed, 2),
            left_s=None if left_s is None else round(left_s, 1),
            error=row.error,
            rate_hz=song.rate_hz,
            channels=song.channels,
            n_samples=row.n_samples,
            gain_db=None if row.gain_db is None else round(row.gain_db, 3),
            confidence=row.state == "done",
            stems=list(row.stem_names),
            loudness_lufs=None if row.loudness is None else json.loads(row.loudness),
            expires_at=_moment(song.expires_s),
        )

    def stems(self, row: JobRow, song: SongRow) -> StemStore:
        """Return the stems of a job that is done."""
        if row.n_samples is None:
            raise AssertionError("a job that is done has samples")
        folder = self.folders.job(row.id)
        return StemStore(folder, song.rate_hz, song.channels, row.n_samples, row.stem_names)

    def models(self) -> list[Model]:
        """Return the models on offer, the default first; wait until a worker has described them.

        Raises
        ------
        ConfigError
            If no model can be run.
        """
        self.workers.are_described.wait(_MODELS_S)
        offers = self.workers.offers
        if not offers:
            raise ConfigError("no model can be run; the studio's log says why")
        return [
            Model(
                name=offered.name,
                title=offered.name,
                description=offered.description,
                license=offered.licence,
                default=number == 0,
                confidence=True,
                trained_on=list(offered.trained_on),
                scores=offered.scores,
                limits=list(offered.limits),
                megabytes=round(offered.n_bytes / 1e6, 1),
                stems=list(offered.stems),
            )
            for number, offered in enumerate(offers)
        ]


def song_of(row: SongRow) -> Song:
    """Return a song as visitors see it."""
    return Song(
        id=row.id,
        name=row.name,
        n_bytes=row.n_bytes,
        audio_s=None if row.audio_s is None else round(row.audio_s, 4),
        rate_hz=row.rate_hz,
        channels=row.channels,
        expires_at=_moment(row.expires_s),
    )


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(round(unix_s), UTC)


class Pictures:
    """A cache of the spectrograms that were drawn last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], dict[str, bytes]] = OrderedDict()

    def find(self, key: tuple[str, int, int]) -> dict[str, bytes] | None:
        """Return the pictures of a job in a size."""
        return self._kept.get(key)

    def keep(self, key: tuple[str, int, int], pictures: dict[str, bytes]) -> None:
        """Keep the pictures of a job in a size."""
        self._kept[key] = pictures
        while len(self._kept) > _DRAWN:
            self._kept.popitem(last=False)

    def forget(self, job_id: str) -> None:
        """Drop the pictures of a job."""
        for key in [key for key in list(self._kept) if key[0] == job_id]:
            self._kept.pop(key, None)
