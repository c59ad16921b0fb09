"""Download songs from a store to this machine, and upload their stems when they are whole."""

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

_MARKER = ".viso-scratch"  # marks a folder that may be removed when its process has ended


@dataclass(frozen=True)
class Staged:
    """An order, and the local files that stand for its own.

    `song`, `targets` and `table` are files of this machine; `stamp` is that of the downloaded
    object, if there is one.
    """

    order: Order
    song: Path
    targets: dict[str, Path]
    table: Path | None
    stamp: Stamp | None

    @property
    def is_sent(self) -> bool:
        """Whether the stems go to a store."""
        return any(isinstance(place, Address) for place in self.order.targets.values())

    @property
    def files(self) -> list[Path]:
        """All files to make on this machine."""
        return [*self.targets.values(), *([] if self.table is None else [self.table])]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, the table's as "confidence"."""
        table = {} if self.table is None else {"confidence": self.table}
        return {stem: path.stat().st_size for stem, path in {**self.targets, **table}.items()}

    def deliver(self) -> None:
        """Upload the files that go to a store: all of them or none.

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
                    # An object that was there before and has not changed is not ours to remove.
                    was = before[place]
                    if was is None or objects.object_info(place) != was:
                        objects.remove(place)
            raise

    def with_order_names(self, report: Report) -> Report:
        """Return the report with the order's names in it."""
        return replace(report, song=self.order.song, outputs=dict(self.order.targets))

    def renamed(self, text: str) -> str:
        """Return the message with the order's names in it."""
        places: list[tuple[Path, Location]] = [(self.song, self.order.song)]
        places += [(path, self.order.targets[stem]) for stem, path in self.targets.items()]
        if self.table is not None and self.order.table is not None:
            places.append((self.table, self.order.table))
        for here, place in places:
            text = text.replace(str(here), str(place))
        return text


@contextmanager
def staged(order: Order) -> Iterator[Staged]:
    """Download a song and make room for its stems, for the length of the block.

    Files that are already on this machine are not copied.

    Raises
    ------
    ConfigError, DataError
        If the song cannot be downloaded.
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
    """Yield a song as a file of this machine, and its stamp if it is a store's object.

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
    """Yield a folder that is removed after the block; also remove those of killed processes."""
    # Containers may share a temporary folder, though each numbers its processes by itself.
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
