"""Copies title, artist, cover and other tags from the song to its stems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from viso.audio.tags._reading import NAMES, Cover, Tags, load, mutagen_part
from viso.audio.tags._writing import save
from viso.errors import AudioError

__all__ = ["copy_tags", "read_cover", "read_tags"]


def read_tags(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the tags of a sound file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str
        Under lowercase names: title, artist, album, albumartist, composer, date, genre,
        tracknumber, discnumber (numbers as "3" or "3/12"), and any free-form tag under its own
        name. Several values of one tag are joined by "; ". Empty if there are no tags.

    Raises
    ------
    AudioError
        If the file or its tags cannot be read.
    """
    tags, _ = _load_or_raise(Path(path))
    return {name: "; ".join(values) for name, values in tags.items()}


def read_cover(path: str | os.PathLike[str]) -> tuple[bytes, str] | None:
    """Read the cover picture of a sound file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    (bytes, str) or None
        The picture file and its MIME type, such as "image/jpeg"; the front cover if there are
        several pictures.

    Raises
    ------
    AudioError
        If the file or its tags cannot be read.
    """
    return _load_or_raise(Path(path))[1]


def copy_tags(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    extra: Mapping[str, str] | None = None,
) -> list[str]:
    """Write the tags and the cover of `source`, and the tags in `extra`, into `target`.

    If the tags of `source` cannot be read, only `extra` is written.

    Parameters
    ----------
    source : str or path-like
        Any sound file.
    target : str or path-like
        A finished wav, flac, mp3, ogg, opus or m4a file, such as `AudioWriter.temporary_path`
        between ``finish()`` and ``commit()``. Its sound does not change.
    extra : dict of str, optional
        Free-form tags, such as ``{"viso_stem": "vocals"}``: TXXX frames in ID3, free-form atoms in
        MP4. They replace tags of the same name.

    Returns
    -------
    list of str
        The names of the tags copied from `source`, including "cover".

    Raises
    ------
    AudioError
        If the tags cannot be written into `target`.
    """
    mutagen_error = mutagen_part("").MutagenError
    try:
        found, cover = load(Path(source))
    except (mutagen_error, OSError):
        found, cover = {}, None
    tags = {name: found[name] for name in NAMES if name in found}  # always in the same order
    own = {name.lower(): [value] for name, value in (extra or {}).items()}
    path = Path(target)
    refusal: Exception | None = None
    # The target's format may not take a tag or the picture of the song: then write less.
    for some, picture in ((tags, cover), (tags, None), ({}, None)):
        try:
            save(path, some | own, picture)
            return [*some, *(["cover"] if picture else [])]
        except OSError as error:
            refusal = error
            break
        except Exception as error:  # mutagen raises errors of any type
            refusal = error
    why = " ".join(str(refusal).split())
    raise AudioError(
        f"{path}: its tags cannot be written ({why}); free some space or choose wav"
    ) from refusal


def _load_or_raise(path: Path) -> tuple[Tags, Cover | None]:
    mutagen_error = mutagen_part("").MutagenError
    try:
        return load(path)
    except (mutagen_error, OSError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise AudioError(f"{path}: its tags cannot be read ({why}); write them anew") from error
