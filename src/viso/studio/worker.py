"""A process that holds the models and separates one visitor's song after the other.

Songs are decoded in yet another process (`viso.audio.open_isolated`): they are files of strangers.
"""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from viso.batch.worker import mind_signals
from viso.errors import AudioError, ModelError, VisoError
from viso.models import registry
from viso.models.blend import card_file, load_blend
from viso.separator import STEMS, Separator
from viso.studio.measurements import measure
from viso.studio.messages import (
    Assignment,
    CancelJob,
    DescribedModels,
    DescribeModels,
    JobCancelled,
    JobDone,
    JobFailed,
    JobProgress,
    OfferedModel,
)
from viso.studio.stem_store import BITS, StemStore

__all__ = ["CONFIDENCE_FILE", "work"]

CONFIDENCE_FILE = "confidence.csv"
"""Name in the job's folder."""

_STEP_S = 0.25  # between two signs of progress
_LOADED = 2  # models at a time


class _StoppedError(Exception):
    """The studio ends, or has ended."""


def work(connection: Connection, threads: int) -> None:
    """Work on what comes through a connection until it closes.

    Parameters
    ----------
    connection : Connection
        Brings `DescribeModels`, `Assignment` and `CancelJob`, or None to stop at once. Takes
        `DescribedModels`, `JobProgress`, `JobDone`, `JobFailed` and `JobCancelled`.
    threads : int
        CPU threads of each network; 0 takes all cores.
    """
    mind_signals()
    separators = _Separators(threads)
    try:
        while (order := connection.recv()) is not None:
            if isinstance(order, DescribeModels):
                connection.send(_described(order))
            elif isinstance(order, Assignment):
                connection.send(_last(connection, separators, order))
            # A job that is to be left may have ended in between.
    except (EOFError, OSError, _StoppedError):
        return


def _last(
    connection: Connection, separators: _Separators, order: Assignment
) -> JobDone | JobFailed | JobCancelled:
    """Work on an order, sending its steps; return how it ended."""
    told_s = 0.0
    try:
        with closing(_separated(separators, order)) as events:
            for event in events:
                if _is_left(connection, order):
                    return JobCancelled()
                if not isinstance(event, JobProgress):
                    return event
                if (now := time.monotonic()) - told_s >= _STEP_S:
                    told_s = now
                    connection.send(event)
    except _StoppedError:
        raise
    except Exception as error:  # one bad song stops nothing, whatever is bad about it
        return JobFailed(_reason(order, error))
    raise AssertionError("a separation ends with an event")


def _is_left(connection: Connection, order: Assignment) -> bool:
    while connection.poll():
        message = connection.recv()
        if message is None:
            raise _StoppedError
        if isinstance(message, CancelJob) and message.job == order.job:
            return True
    return False


class _Separators:
    """The models that were used last."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._loaded: OrderedDict[str, Separator] = OrderedDict()

    def of(self, model: str) -> Separator:
        if model not in self._loaded:
            while len(self._loaded) >= _LOADED:
                self._loaded.popitem(last=False)
            self._loaded[model] = Separator(model, threads=self._threads, isolated=True)
        self._loaded.move_to_end(model)
        return self._loaded[model]


def _separated(separators: _Separators, order: Assignment) -> Generator[JobProgress | JobDone]:
    """Separate a song, telling how far it is; closing the iterator leaves no stem."""
    began = time.monotonic()
    # What a process left that was killed.
    shutil.rmtree(order.folder, ignore_errors=True)
    order.folder.mkdir(parents=True)
    # While the model is loaded nobody can leave.
    yield JobProgress(0.0, None)
    with separators.of(order.model).to_files(
        order.song,
        {stem: order.folder / f"{stem}.wav" for stem in STEMS},
        bit_depth=str(BITS),
        start_s=order.start_s,
        duration_s=order.duration_s,
        confidence=order.folder / CONFIDENCE_FILE,
        overwrite=True,
    ) as separation:
        for step in separation:
            # No header can be trusted with the length.
            if step.done_s > order.most_s:
                raise AudioError(
                    f"{order.name}: goes on after {order.most_s:g} s, the longest that is "
                    "separated here; choose a region of it"
                )
            yield JobProgress(step.done_s, step.total_s)
    report = separation.report
    stem_store = StemStore(order.folder, report.rate_hz, report.n_channels, report.n_samples)
    loudness = measure(stem_store)
    took_s = time.monotonic() - began
    channels, gain_db = report.n_channels, report.gain_db
    yield JobDone(report.n_samples, report.rate_hz, channels, gain_db, took_s, loudness)


def _reason(order: Assignment, error: Exception) -> str:
    """Say what is wrong without a word of where the studio keeps its files."""
    told = " ".join(str(error).split()) or "no reason given"
    if not isinstance(error, VisoError):
        told = f"{order.name}: cannot be separated ({type(error).__name__}: {told:.200})"
    for path, name in ((order.song, order.name), (order.folder, "stems")):
        told = told.replace(str(path), name)
    return told[:1000]


def _described(asked: DescribeModels) -> DescribedModels:
    offers: list[OfferedModel] = []
    refusals: list[str] = []
    known = _known(refusals)
    for name in dict.fromkeys(asked.models or known):
        try:
            offers.append(_offer(name, is_known=name in known))
        except VisoError as error:
            refusals.append(str(error))
        except Exception as error:  # one bad file hides no other, whatever is bad about it
            refusals.append(f"{name}: cannot be opened ({type(error).__name__}: {error!s:.200})")
    return DescribedModels(tuple(offers), tuple(refusals))


def _known(refusals: list[str]) -> list[str]:
    """Return the models that are known by name; if the list cannot be made, the packaged ones."""
    try:
        return registry.available()
    except (VisoError, OSError, ValueError) as error:
        refusals.append(f"only the packaged models are known by name: {error}")
        return registry.packaged()


def _offer(name: str, *, is_known: bool) -> OfferedModel:
    blend = load_blend(name, device="cpu", threads=1)
    card = blend.card or blend.cards[0]
    files = [getattr(model, "path", None) for model in blend.models]
    if not files:
        raise ModelError(f"{name}: a blend of nothing")
    path = card_file(name)
    return OfferedModel(
        # A file of the studio's is nothing that visitors need to know.
        name=name if is_known else blend.name,
        said=name,
        description=card.description if path is not None or len(files) == 1 else "",
        licence="; ".join(dict.fromkeys(part.licence for part in blend.cards)),
        trained_on=tuple(dict.fromkeys(data for part in blend.cards for data in part.trained_on)),
        scores=card.scores if path is not None or len(files) == 1 else {},
        limits=card.limits,
        n_bytes=sum(file.stat().st_size for file in files if isinstance(file, Path)),
    )
