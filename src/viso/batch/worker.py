"""The worker: a process that loads one model and separates one song after another."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from viso.batch.protocol import Cancel, Cancelled, Done, Failed, Order, Ready, Step, Unable
from viso.batch.settings import SeparationConfig
from viso.batch.songs import Stamp
from viso.batch.staging import Staged, staged
from viso.errors import AudioError, VisoError, unexpected
from viso.separator import Separator

__all__ = ["StoppedError", "mind_signals", "send_events", "separate_order", "serve"]

_STEP_S = 0.25  # between two progress messages
_BLOCK = 1 << 20  # bytes that are hashed at a time
T = TypeVar("T")

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class StoppedError(Exception):
    """The worker must stop at once, or nobody reads its messages any more."""


def serve(connection: Connection, config: SeparationConfig, threads: int) -> None:
    """Carry out the orders from a connection until it closes.

    Parameters
    ----------
    connection : Connection
        Delivers `Order` and `Cancel`, or None to stop at once; takes `Ready` or `Unable`, then
        the events.
    config : SeparationConfig
    threads : int
        CPU threads of each network; 0 takes all cores.
    """
    mind_signals()
    try:
        try:
            separator = config.separator(threads=threads)
        except VisoError as error:
            connection.send(Unable(type(error).__name__, str(error)))
            return
        connection.send(Ready())
        while (order := connection.recv()) is not None:
            if isinstance(order, Order):
                send_events(connection, separate_order(separator, config, order), order.number)
            # A `Cancel` here is too late: its order has ended.
    except (EOFError, OSError, StoppedError):
        return


def send_events(connection: Connection, events: Generator[object], number: int) -> None:
    """Send the events of a request until it ends or is cancelled.

    It sends at most one `Step` every quarter of a second.

    Parameters
    ----------
    connection : Connection
        Delivers `Cancel` and None.
    events : generator
        Closing it leaves no file of the request. The last event is not a `Step`.
    number : int
        The request's.

    Raises
    ------
    StoppedError
        If the connection delivers None.
    """
    sent_s = float("-inf")
    with closing(events):
        for event in events:
            while connection.poll():
                message = connection.recv()
                if message is None:
                    raise StoppedError
                if isinstance(message, Cancel) and message.number == number:
                    events.close()
                    connection.send(Cancelled(number))
                    return
            now = time.monotonic()
            if not isinstance(event, Step) or now - sent_s >= _STEP_S:
                sent_s = now
                connection.send(event)


def mind_signals() -> None:
    """Ignore Ctrl-C and a closed terminal; the coordinating process handles them and sends stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _unwind)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})


def _unwind(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def separate_order(
    separator: Separator, config: SeparationConfig, order: Order
) -> Generator[Step | Done | Failed]:
    """Separate a song and yield its progress; closing the iterator leaves no file.

    The last event says how the song ended. Every error of a song becomes an event.
    """
    began = time.monotonic()
    here: Staged | None = None
    try:
        with ExitStack() as stack:
            entering = partial(stack.enter_context, staged(order))
            here = yield from _transferring(Step(order.number, 0.0), entering)
            # A cancellation is noticed here, between the transfers from and to a store.
            yield Step(order.number, 0.0)
            before = _stamp(here.song)
            sha256 = yield from _hashed(order.number, here.song)
            with separator.to_files(
                here.song,
                here.targets,
                bit_depth=config.bit_depth,
                bitrate=config.bitrate,
                start_s=config.start_s,
                duration_s=config.duration_s,
                confidence=here.table,
                overwrite=True,
                song_name=order.song.name,
            ) as separation:
                for progress in separation:
                    if not progress.is_complete:
                        yield Step(order.number, progress.done_s, progress.total_s)
            report = separation.report
            whole = Step(order.number, report.duration_s)
            if here.is_sent:  # otherwise the stems already have their final names
                yield whole
            if _stamp(here.song) != before:
                raise AudioError(f"{order.song}: changed while it was read; run the batch again")
            _keep(here.files)
            sizes = here.sizes()
            yield from _transferring(whole, here.deliver)
            report, stamp = here.with_order_names(report), here.stamp or before
    except Exception as error:  # one bad file must never stop a batch
        yield _failure(order, here, error)
        return
    yield Done(order.number, report, stamp, sha256, time.monotonic() - began, sizes)


def _transferring(sign: Step, do: Callable[[], T]) -> Generator[Step, None, T]:
    """Call `do`, which may wait for a slow store, and yield signs of life meanwhile.

    There is no time limit here: the store's clients have their own.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(do)
        while not wait([future], timeout=_STEP_S).done:
            yield sign
        return future.result()


def _stamp(path: Path) -> Stamp:
    try:
        return Stamp.of(path)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the name") from error


def _hashed(number: int, song: Path) -> Generator[Step, None, str]:
    """Hash a song and yield signs of life: it may be large and its drive slow."""
    content = hashlib.sha256()
    try:
        with song.open("rb") as file:
            while block := file.read(_BLOCK):
                content.update(block)
                yield Step(number, 0.0)
    except OSError as error:
        raise AudioError(f"{song}: cannot be read ({error.strerror})") from error
    return content.hexdigest()


def _keep(paths: Iterable[Path]) -> None:
    """Flush files and their names to the disk, before anybody records that they exist."""
    paths = list(paths)
    for path in paths:
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    if os.name == "nt":  # Windows cannot flush folders
        return
    for folder in {path.parent for path in paths}:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failure(order: Order, here: Staged | None, error: Exception) -> Failed:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    is_full = any(isinstance(cause, OSError) and cause.errno in _FULL for cause in causes)
    reason = str(error)
    if isinstance(error, OSError):
        reason = f"{order.song}: cannot be separated ({error})"
    elif not isinstance(error, VisoError):
        reason = f"{order.song}: {unexpected(error)}"
    reason = reason if here is None else here.renamed(reason)
    trace = "".join(traceback.format_exception(error))
    return Failed(order.number, type(error).__name__, reason, is_full, trace)
