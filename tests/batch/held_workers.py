"""Workers of a cluster that hold their songs for as long as a test wants.

Ray's processes import this module by name, so the folder of it is in their PYTHONPATH.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from viso.batch import cluster
from viso.batch.cluster_worker import ClusterWorker, Hello
from viso.batch.worker import Unable


class Hold:
    """While its folder is there, no song that has begun comes to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hold"

    def close(self) -> None:
        """Hold all songs from now on."""
        self.folder.mkdir(exist_ok=True)

    def open(self) -> None:
        """Let them go on."""
        shutil.rmtree(self.folder)

    def is_closed(self) -> bool:
        return self.folder.exists()

    def pids(self) -> set[int]:
        """The processes that are held in the middle of a song."""
        return {int(path.name) for path in self.folder.glob("*") if path.name.isdecimal()}

    def given_up(self) -> set[int]:
        """The processes that gave up a song which was held."""
        return {int(path.suffix[1:]) for path in self.folder.glob("given-up.*")}

    def note(self, name: str) -> None:
        """Leave a mark, unless the hold is over."""
        try:
            (self.folder / name).touch()
        except FileNotFoundError:
            return


class HeldWorker(ClusterWorker):
    """A worker whose songs take as long as the hold beside the output folder."""

    def load(self) -> Hello | Unable:
        said = super().load()
        assert self._separator is not None
        assert isinstance(self._out, Path)
        separate, hold = self._separator.to_files, Hold(self._out.parent)

        def held(*args: Any, **how: Any) -> Iterator[Any]:
            with closing(separate(*args, **how)) as steps:  # type: ignore[type-var]
                for step in steps:
                    yield step
                    try:
                        while hold.is_closed():
                            hold.note(str(os.getpid()))
                            time.sleep(0.02)
                            yield step  # a sign of life; "stop" is heard here
                    except GeneratorExit:
                        hold.note(f"given-up.{os.getpid()}")
                        raise

        self._separator.to_files = held  # type: ignore[method-assign]
        return said


def install() -> None:
    """Let this process start such workers in place of the usual ones."""
    cluster.ClusterWorker = HeldWorker  # type: ignore[misc]
