"""Gives several files their final names together, or none of them.

No file system renames two files in one step. So this takes four steps::

    1  record the renames in a hidden file, the journal
    2  hold the files that have these names now: by a hard link, else by renaming them
    3  rename the new files, which are complete
    4  remove the held files and the journal

If step 3 fails, the held files get their names back. If the process is killed, the next process
that uses the folder finds the journal (`clear_leftovers`). It finishes steps 3 and 4, or finishes
restoring the held files. Both touch a file only if it is still the one in the journal: a file that
somebody else has put in its place since then stays.
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

# Suffixes of hidden names: a journal, a journal that is being undone, and a held file.
_JOURNAL, _UNDO, _HELD = ".moves", ".undo", ".held"

Mark = tuple[int, int, int]
"""Identifies a file among others of the same name: inode number, size and time of change."""


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
    """Give files their final names together; the caller renames them inside the block.

    Parameters
    ----------
    renames : iterable of (Path, Path)
        Each complete hidden file, and its final name in the same folder. A file with that name is
        replaced; if an error leaves the block, that file is restored.

    Raises
    ------
    AudioError
        If an existing file cannot be held. Nothing has changed then.
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
    """Finish or undo the renames in a folder of ended processes of this machine.

    Their other hidden files are removed. Files that cannot be changed stay as they are.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if is_left_over(name))  # noqa: PTH208
    except OSError:
        return
    clear(folder, names)


def clear(folder: Path, names: Iterable[str]) -> None:
    """Do the same for the given hidden files of ended processes."""
    names = list(names)
    for name in names:
        if name.endswith((_JOURNAL, _UNDO)):
            journal = _Journal.found(folder, name)
            if name.endswith(_JOURNAL) and journal.has_all():
                journal.finish()
            else:
                journal.put_back()
    for name in names:
        # Without its journal, a held file may be anybody's data.
        if not name.endswith((_JOURNAL, _UNDO, _HELD)):
            _remove(folder / name)


class _Journal:
    """The renames of one folder."""

    def __init__(self, path: Path, moves: list[_Move]) -> None:
        self._path, self._moves = path, moves

    @classmethod
    def begun(cls, folder: Path, names: Iterable[tuple[str, str]]) -> _Journal:
        """Record the renames before any file is renamed."""
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
        """Read a dead process's journal; with an incomplete journal, the process moved nothing."""
        moves = []
        process, _, _ = name.rpartition("-")
        with suppress(OSError, ValueError, TypeError, KeyError):
            for noted in json.loads((folder / name).read_text(encoding="ascii")):
                hidden, final, held = (str(noted[key]) for key in ("hidden", "final", "held"))
                # Files outside this folder are never touched, whatever a journal contains.
                is_inside = all(Path(name).name == name for name in (hidden, final, held))
                if is_inside and all(name.startswith(f"{process}-") for name in (hidden, held)):
                    old = noted["old"] and _as_mark(noted["old"])
                    moves.append(_Move(hidden, final, held, _as_mark(noted["new"]), old))
        return cls(folder / name, moves)

    def _paths(self, move: _Move) -> tuple[Path, Path, Path]:
        folder = self._path.parent
        return folder / move.hidden, folder / move.final, folder / move.held

    def hold(self) -> None:
        """Keep the files that have the final names under hidden names."""
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
        """Undo the renames; if that fails, keep the journal for the next process."""
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
                elif now == move.old:  # two hard links to one file
                    held.unlink()
            elif move.old is None and now == move.new and _mark(hidden) is None:
                final.unlink()
        except OSError:
            return False
        return True

    def has_all(self) -> bool:
        """Tell whether all new files exist, renamed or not."""
        return all(
            move.new in map(_mark, self._paths(move)[:2])  # hidden or final
            for move in self._moves
        )

    def finish(self) -> None:
        """Finish the renames of a dead process and remove its held files."""
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
        """Remove the held files and the journal, because all files have their names."""
        for move in self._moves:
            _remove(self._paths(move)[2])
        _remove(self._path)


def _linked(path: Path, link: Path) -> bool:
    """Make a hard link; return False if the file system cannot."""
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
