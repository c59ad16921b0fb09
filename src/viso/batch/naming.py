"""Names of the stems of a batch: those of `viso.separator.naming`, below each song's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from viso.batch.settings import SeparationConfig
from viso.batch.songs import Song
from viso.separator import naming
from viso.separator.naming import Names, are_anothers, name_key

__all__ = ["Names", "are_anothers", "name_key", "possible_files", "unique_files"]


def possible_files(
    song: Song, config: SeparationConfig, *, model: str
) -> Iterator[dict[str, Path]]:
    """Yield the files that a song's stems may get, the best names first.

    Returns
    -------
    iterator of dict of str to Path
        Paths below the output folder, by stem. The last one has part of a hash in its name.
    """
    options = naming.possible_files(song.path, song.key, lambda n: config.files(n, model=model))
    yield from (_below(song, files) for files in options)


def unique_files(song: Song, config: SeparationConfig, *, model: str) -> dict[str, Path]:
    """Return the files of a song under a name that no other song has, cut where it must be."""
    files = naming.unique_files(song.path, song.key, lambda n: config.files(n, model=model))
    return _below(song, files)


def _below(song: Song, files: dict[str, Path]) -> dict[str, Path]:
    return {stem: Path(song.folder, path) for stem, path in files.items()}
