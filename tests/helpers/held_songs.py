"""A separation that stops in its middle for as long as a test wants, in whichever process it is.

A test that waits for the moment at which a song is half done misses it on a fast machine or a busy
one. A song that is held stays half done.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from helpers.checkout import TESTS
from viso.separator import Progress, Report, Separation, Separator


class Hold:
    """While its folder is there, songs that have begun do not come to their end."""

    def __init__(self, beside: Path) -> None:
        self.folder = beside / "hold"

    def close(self, *, only: str = "") -> None:
        """Hold songs from now on; all of them, or those of one name."""
        making = self.folder.with_name("hold.part")
        making.mkdir()
        (making / "only").write_text(only, encoding="utf-8")
        making.rename(self.folder)

    def open(self) -> None:
        """Let them go on."""
        gone = self.folder.with_name("hold.gone")
        self.folder.rename(gone)
        shutil.rmtree(gone)

    def is_closed(self, song: str = "") -> bool:
        """Tell whether it holds songs, or the song of this name."""
        try:
            only = (self.folder / "only").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return not song or only in ("", song)

    def pids(self) -> set[int]:
        """The processes that are or were held in the middle of a song."""
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


def hold_songs(hold: Hold) -> None:
    """Let every separation of this process heed a hold."""
    separate = Separator.to_files

    def steps(separation: Separation, name: str) -> Generator[Progress, None, Report]:
        with separation:
            for step in separation:
                yield step
                try:
                    while not step.is_complete and hold.is_closed(name):
                        hold.note(str(os.getpid()))
                        time.sleep(0.02)
                        yield step  # a sign of life; "stop" is heard here
                except GeneratorExit:
                    hold.note(f"given-up.{os.getpid()}")
                    raise
        return separation.report

    def held(self: Separator, song: Path, *args: Any, **how: Any) -> Separation:
        return Separation(song, steps(separate(self, song, *args, **how), song.name))

    Separator.to_files = held  # type: ignore[method-assign]


def held_viso(hold: Hold, *, first: str = "") -> str:
    """Return the code of a `viso` that heeds a hold; `first` is code to begin with."""
    return f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(TESTS)!r}]
from helpers.held_songs import Hold, hold_songs
hold_songs(Hold(Path({str(hold.folder.parent)!r})))
{first}
from viso.cli import main
main()
"""
