"""A process that holds models and separates one visitor's song after the other.

Another process decodes the songs (`viso.audio.open_isolated`): files of visitors are not trusted.
"""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path

from viso.batch.protocol import Failed, Step
from viso.batch.worker import StoppedError, mind_signals, send_events
from viso.errors import AudioError, ModelError, VisoError
from viso.models import registry
from viso.models.blend import card_file, load_blend
from viso.separator import STEMS, Separator
from viso.separator.stem_family import ALL, offered_stems, requested_stems
from viso.studio.measurements import measure
from viso.studio.messages import (
    DescribedModels,
    DescribeModels,
    JobDone,
    OfferedModel,
    SeparationJob,
)
from viso.studio.stem_store import BITS, StemStore

__all__ = ["CONFIDENCE_FILE", "work"]

CONFIDENCE_FILE = "confidence.csv"
"""Name in the job's folder."""

_LOADED = 2  # models in memory


def work(connection: Connection, threads: int) -> None:
    """Carry out the requests of a connection, until it closes.

    Parameters
    ----------
    connection : Connection
        Brings `DescribeModels`, `SeparationJob` and `Cancel`, or None to stop at once; takes
        the answers.
    threads : int
        CPU threads of each network; 0 takes all cores.
    """
    mind_signals()
    separators = _Separators(threads)
    try:
        while (message := connection.recv()) is not None:
            if isinstance(message, DescribeModels):
                connection.send(_described(message))
            elif isinstance(message, SeparationJob):
                send_events(connection, _separated(separators, message), message.number)
            # A `Cancel` here is late: its job has ended.
    except (EOFError, OSError, StoppedError):
        return


class _Separators:
    """A cache of the models that were used last."""

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


def _separated(separators: _Separators, job: SeparationJob) -> Generator[Step | JobDone | Failed]:
    """Separate a song, yielding its progress; closing the iterator leaves no stem.

    The last event says how it ended. No error of a song ends the process.
    """
    began_s = time.monotonic()
    try:
        # A killed process may have left files.
        shutil.rmtree(job.folder, ignore_errors=True)
        job.folder.mkdir(parents=True)
        # A job cannot be cancelled while its model is loaded.
        yield Step(job.number, 0.0)
        with separators.of(job.model).to_files(
            job.song,
            {stem: job.folder / f"{stem}.wav" for stem in job.stems},
            bit_depth=str(BITS),
            start_s=job.start_s,
            duration_s=job.duration_s,
            confidence=job.folder / CONFIDENCE_FILE,
            overwrite=True,
        ) as separation:
            for progress in separation:
                # The header's length cannot be trusted.
                if progress.done_s > job.longest_s:
                    raise AudioError(
                        f"{job.name}: goes on after {job.longest_s:g} s, the longest that is "
                        "separated here; choose a region of it"
                    )
                yield Step(job.number, progress.done_s, progress.total_s)
        report = separation.report
        stems = StemStore(
            job.folder, report.rate_hz, report.n_channels, report.n_samples, job.stems
        )
        loudness = measure(stems)
    except Exception as error:
        yield Failed(job.number, type(error).__name__, _format_error(job, error))
        return
    took_s = time.monotonic() - began_s
    channels, gain_db = report.n_channels, report.gain_db
    yield JobDone(report.n_samples, report.rate_hz, channels, gain_db, took_s, loudness)


def _format_error(job: SeparationJob, error: Exception) -> str:
    """Format an error for visitors, without the paths of the studio's files."""
    text = " ".join(str(error).split()) or "no reason given"
    if not isinstance(error, VisoError):
        text = f"{job.name}: cannot be separated ({type(error).__name__}: {text:.200})"
    for path, name in ((job.song, job.name), (job.folder, "stems")):
        text = text.replace(str(path), name)
    return text[:1000]


def _described(request: DescribeModels) -> DescribedModels:
    offers: list[OfferedModel] = []
    refusals: list[str] = []
    known = _known(refusals)
    for name in dict.fromkeys(request.models or known):
        try:
            offers.append(_offer(name, is_known=name in known))
        except VisoError as error:
            refusals.append(str(error))
        except Exception as error:  # no error of a file hides another
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
    offered = offered_stems(part.estimated for part in blend.cards)
    return OfferedModel(
        # Visitors need not know the path of a file.
        name=name if is_known else blend.name,
        model=name,
        description=card.description if path is not None or len(files) == 1 else "",
        licence="; ".join(dict.fromkeys(part.licence for part in blend.cards)),
        trained_on=tuple(dict.fromkeys(data for part in blend.cards for data in part.trained_on)),
        scores=card.scores if path is not None or len(files) == 1 else {},
        limits=card.limits,
        n_bytes=sum(file.stat().st_size for file in files if isinstance(file, Path)),
        stems=STEMS if blend.wiener else requested_stems([ALL], offered),
    )
