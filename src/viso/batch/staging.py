"""Songs of a store brought to a folder of this machine, and their stems sent back when whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from viso.batch.owners import runs, this_host
from viso.batch.protocol import Order
from viso.batch.songs import Stamp
from viso.errors import DataError
from viso.separator import Report
from viso.stores import objects
from viso.stores.address import Address, Location

__all__ = ["Staged", "brought", "staged"]

_MARKER = ".viso-scratch"  # in a folder that is removed when its process is gone


@dataclass(frozen=True)
class Staged:
    """An order, and what is to be done here in its place.

    `song`, `targets` and `table` are files of this machine; `stamp` is that of an object that was
    brought here.
    """

    order: Order
    song: Path
    targets: dict[str, Path]
    table: Path | None
    stamp: Stamp | None

    @property
    def is_sent(self) -> bool:
        """Whether the stems belong into a store."""
        return any(isinstance(place, Address) for place in self.order.targets.values())

    @property
    def files(self) -> list[Path]:
        """All files that are to be made here."""
        return [*self.targets.values(), *([] if self.table is None else [self.table])]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, the table's as "confidence"."""
        table = {} if self.table is None else {"confidence": self.table}
        return {stem: path.stat().st_size for stem, path in {**self.targets, **table}.items()}

    def deliver(self) -> None:
        """Send what belongs into a store there: all of it, or nothing.

        Raises
        ------
        ConfigError, DataError
            See `objects.upload`.
        """
        wanted = [*self.order.targets.values(), self.order.table]
        files = [
            (file, place)
            for file, place in zip(self.files, wanted, strict=False)
            if isinstance(place, Address)
        ]
        before = {place: objects.object_info(place) for _, place in files}
        begun: list[Address] = []
        try:
            for file, place in files:
                begun.append(place)
                objects.upload(file, place)
        except BaseException:
            for place in begun:
                with suppress(DataError):
                    # What was there, and still is, is no file of ours.
                    was = before[place]
                    if was is None or objects.object_info(place) != was:
                        objects.remove(place)
            raise

    def with_order_names(self, report: Report) -> Report:
        """Return a report with the names that the order has."""
        return replace(report, song=self.order.song, outputs=dict(self.order.targets))

    def renamed(self, text: str) -> str:
        """Return a message with the names that the order has."""
        places: list[tuple[Path, Location]] = [(self.song, self.order.song)]
        places += [(path, self.order.targets[stem]) for stem, path in self.targets.items()]
        if self.table is not None and self.order.table is not None:
            places.append((self.table, self.order.table))
        for here, place in places:
            text = text.replace(str(here), str(place))
        return text


@contextmanager
def staged(order: Order) -> Iterator[Staged]:
    """Bring a song here, and have room for its stems, while in the block.

    Of what lies here anyway nothing is copied.

    Raises
    ------
    ConfigError, DataError
        If the song cannot be brought here.
    """
    table = order.table
    here = {stem: path for stem, path in order.targets.items() if isinstance(path, Path)}
    if len(here) == len(order.targets) and not isinstance(table, Address):
        with brought(order.song) as (song, stamp):
            yield Staged(order, song, here, table, stamp)
        return
    with brought(order.song) as (song, stamp), _scratch() as folder:
        targets = {s: folder / f"{s}{place.suffix}" for s, place in order.targets.items()}
        beside = None if table is None else folder / "confidence.csv"
        yield Staged(order, song, targets, beside, stamp)


@contextmanager
def brought(song: Location) -> Iterator[tuple[Path, Stamp | None]]:
    """Have a song as a file of this machine while in the block, with the stamp of an object.

    Raises
    ------
    ConfigError, DataError
        See `objects.download`.
    """
    if isinstance(song, Path):
        yield song, None
        return
    with _scratch() as folder:
        suffix = song.suffix if re.fullmatch(r"\.\w{1,8}", song.suffix) else ""
        path = folder / f"song{suffix}"
        yield path, Stamp.from_info(objects.download(song, path))


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a folder that is gone after the block; remove those of processes that were killed."""
    # A temporary folder may be shared by containers, each with its own numbers of processes.
    host = hashlib.sha256(this_host().encode()).hexdigest()[:8]
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"viso-{host}-*"):
        pid = left.name.split("-")[2]
        if pid.isdecimal() and not runs(int(pid)) and (left / _MARKER).is_file():
            shutil.rmtree(left, ignore_errors=True)
    try:
        made = tempfile.mkdtemp(prefix=f"viso-{host}-{os.getpid()}-")
        (Path(made) / _MARKER).touch()
    except OSError as error:
        raise DataError(
            f"{base}: no folder for songs on their way can be made there ({error.strerror}); "
            "let TMPDIR name another"
        ) from error
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
