"""Several files take their final names together, or none does.

No file system renames two files in one step. So here it is done in four::

    1  note the renames in a hidden file, the journal
    2  hold what has these names now: by a hard link or, where there is none, by renaming it
    3  rename the new files, which are whole by now
    4  drop what was held, and the journal

If 3 fails, what was held gets its name back. If the process is killed, whoever comes next to the
folder finds the journal (`clear_leftovers`) and finishes 3 and 4, or goes on putting back. Both
touch a file only if it is still the one that the journal has noted: what somebody has put in its
place since then is theirs, and stays.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from viso.errors import AudioError
from viso.processes import hidden_name, is_left_over

__all__ = ["clear", "clear_leftovers", "together"]

# Endings of hidden names: a journal, one whose files are being put back, and what is held.
_JOURNAL, _UNDO, _HELD = ".moves", ".undo", ".held"

Mark = tuple[int, int, int]
"""Tells one file from another of the same name: its number, size and time of change."""


@dataclass(frozen=True)
class _Move:
    """One rename inside a folder; `old` is None if nothing had the final name."""

    hidden: str
    final: str
    held: str
    new: Mark
    old: Mark | None


@contextmanager
def together(renames: Iterable[tuple[Path, Path]]) -> Iterator[None]:
    """Have files take their names together; the renames themselves are done in the block.

    Parameters
    ----------
    renames : iterable of (Path, Path)
        Each hidden file, whole, and its final name in the same folder. What has that name is
        replaced; if the block is left by an error, it is there again.

    Raises
    ------
    AudioError
        If what is there cannot be held. Nothing has changed then.
    """
    folders: dict[Path, list[tuple[str, str]]] = {}
    for hidden, final in renames:
        folders.setdefault(final.parent, []).append((hidden.name, final.name))
    journals: list[_Journal] = []
    try:
        for folder, names in folders.items():
            journals.append(_Journal.begun(folder, names))
        for journal in journals:
            journal.hold()
        yield
    except BaseException:
        for journal in journals:
            journal.put_back()
        raise
    for journal in journals:
        journal.close()


def clear_leftovers(folder: Path) -> None:
    """Finish in a folder what processes of this machine left undone that are no more.

    Renames are finished, and other hidden files of theirs are removed. What cannot be touched
    stays as it is.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if is_left_over(name))  # noqa: PTH208
    except OSError:
        return
    clear(folder, names)


def clear(folder: Path, names: Iterable[str]) -> None:
    """Do so with these hidden files of processes that are no more."""
    names = list(names)
    for name in names:
        if name.endswith((_JOURNAL, _UNDO)):
            journal = _Journal.found(folder, name)
            if name.endswith(_JOURNAL) and journal.has_all():
                journal.finish()
            else:
                journal.put_back()
    for name in names:
        # Without its journal nobody knows whose data a held file is.
        if not name.endswith((_JOURNAL, _UNDO, _HELD)):
            _remove(folder / name)


class _Journal:
    """The renames of one folder."""

    def __init__(self, path: Path, moves: list[_Move]) -> None:
        self._path, self._moves = path, moves

    @classmethod
    def begun(cls, folder: Path, names: Iterable[tuple[str, str]]) -> _Journal:
        """Note renames before any is done."""
        moves = []
        for hidden, final in names:
            new, old = _mark(folder / hidden), _mark(folder / final)
            if new is None:
                raise AudioError(f"{folder / final}: the finished file is gone; separate again")
            moves.append(_Move(hidden, final, hidden_name(_HELD), new, old))
        path = folder / hidden_name(_JOURNAL)
        try:
            path.write_text(json.dumps([asdict(move) for move in moves]), encoding="ascii")
        except OSError as error:
            _remove(path)
            raise _refused(folder / moves[0].final, error) from error
        return cls(path, moves)

    @classmethod
    def found(cls, folder: Path, name: str) -> _Journal:
        """Read what a dead process has noted; one that died while it wrote has moved nothing."""
        moves = []
        process, _, _ = name.rpartition("-")
        with suppress(OSError, ValueError, TypeError, KeyError):
            for noted in json.loads((folder / name).read_text(encoding="ascii")):
                hidden, final, held = (str(noted[key]) for key in ("hidden", "final", "held"))
                # Nobody's file outside of this folder is touched, whatever a journal says.
                is_inside = all(Path(name).name == name for name in (hidden, final, held))
                if is_inside and all(name.startswith(f"{process}-") for name in (hidden, held)):
                    old = noted["old"] and _as_mark(noted["old"])
                    moves.append(_Move(hidden, final, held, _as_mark(noted["new"]), old))
        return cls(folder / name, moves)

    def _paths(self, move: _Move) -> tuple[Path, Path, Path]:
        folder = self._path.parent
        return folder / move.hidden, folder / move.final, folder / move.held

    def hold(self) -> None:
        """Keep what has the final names now under hidden ones, too."""
        for move in self._moves:
            _, final, held = self._paths(move)
            if move.old is None:
                continue
            try:
                mode = final.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                    raise AudioError(f"{final}: is no file by now; choose another name or folder")
                if stat.S_ISLNK(mode) or not _linked(final, held):
                    final.rename(held)
            except OSError as error:
                raise _refused(final, error) from error

    def put_back(self) -> None:
        """Undo what was renamed; the journal stays if that fails, for the next who comes."""
        undo = self._path.with_suffix(_UNDO)
        with suppress(OSError):
            self._path = self._path.replace(undo)
        n_back = sum(self._is_back(move) for move in self._moves)
        if n_back == len(self._moves):
            _remove(self._path)

    def _is_back(self, move: _Move) -> bool:
        hidden, final, held = self._paths(move)
        now = _mark(final)
        try:
            if move.old is not None and _mark(held) == move.old:
                if now is None or now == move.new:
                    held.replace(final)
                elif now == move.old:  # two links to one file
                    held.unlink()
            elif move.old is None and now == move.new and _mark(hidden) is None:
                final.unlink()
        except OSError:
            return False
        return True

    def has_all(self) -> bool:
        """Tell whether all new files are there, renamed or not."""
        return all(
            move.new in map(_mark, self._paths(move)[:2])  # hidden or final
            for move in self._moves
        )

    def finish(self) -> None:
        """Do the renames that a dead process has left, and drop what it held."""
        is_done = True
        for move in self._moves:
            hidden, final, held = self._paths(move)
            try:
                if _mark(hidden) == move.new and _mark(final) in (None, move.old):
                    hidden.replace(final)
                if _mark(final) is not None:
                    held.unlink(missing_ok=True)
                elif _mark(held) is not None:
                    held.replace(final)
            except OSError:
                is_done = False
        if is_done:
            _remove(self._path)

    def close(self) -> None:
        """Drop what was held: all files have their names."""
        for move in self._moves:
            _remove(self._paths(move)[2])
        _remove(self._path)


def _linked(path: Path, link: Path) -> bool:
    """Make a hard link; False where the file system has none."""
    try:
        os.link(path, link)
    except (OSError, NotImplementedError):
        return False
    return True


def _mark(path: Path) -> Mark | None:
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns


def _as_mark(noted: Iterable[int]) -> Mark:
    number, size, changed = (int(value) for value in noted)
    return number, size, changed


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _refused(path: Path, error: OSError) -> AudioError:
    return AudioError(
        f"{path}: cannot be replaced ({error.strerror}); free it, or choose another name or folder"
    )
