"""Copies a corpus from a store to this machine, once, so that training can map it into memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from filelock import FileLock

from viso.errors import ConfigError, DataError, ModelError
from viso.models import registry
from viso.stores import objects
from viso.stores.address import Address, location_of
from viso.train.data.corpus import Corpus

__all__ = ["corpus_at", "default_cache"]

_SOUND = ("audio.i16", "levels.f32")


def default_cache() -> Path:
    """Return the folder for corpora from stores, beside the user's models.

    See docs/train/training.md.

    Raises
    ------
    ConfigError
        If the account has no home folder.
    """
    try:
        return registry.user_folder().parent / "corpora"
    except ModelError as error:
        raise ConfigError("this account has no home folder for a corpus; say --cache") from error


def corpus_at(location: str, *, cache: Path | None = None) -> Corpus:
    """Open a corpus; copy it to this machine first if it is in a store.

    Parameters
    ----------
    location : str
        A folder, or an address such as ``s3://bucket/corpora/mine``.
    cache : Path, optional
        Folder for corpora from stores, by default `default_cache`. Each corpus has its own
        folder, named by a hash of its index: the same corpus is copied once, whatever its address.

    Raises
    ------
    ConfigError
        If the address is not valid, or a package for it is missing.
    DataError
        If there is no corpus, or it is damaged, does not fit on the disk or cannot be read.
    """
    place = location_of(location)
    if isinstance(place, Path):
        return Corpus(place)
    index = objects.read_bytes(place / "index.json")
    if index is None:
        raise DataError(f"{place}: no corpus here (viso data pack makes one)")
    home = default_cache() if cache is None else cache
    folder = home / hashlib.sha256(index).hexdigest()[:16]
    try:
        home.mkdir(parents=True, exist_ok=True)
        # One of several processes on this machine copies it, and the others wait.
        with FileLock(f"{folder}.lock"):
            if not (folder / "index.json").exists():
                _bring(place, index, folder)
    except OSError as error:
        raise DataError(
            f"{home}: the corpus {place} cannot be kept there ({error.strerror or error}); "
            "name another folder with --cache"
        ) from error
    return Corpus(folder)


def _bring(place: Address, index: bytes, folder: Path) -> None:
    """Copy a corpus; the folder gets its name when all files are there and checked."""
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _check_room(place, folder.parent)
        for name in _SOUND:
            objects.download(place / name, unfinished / name)
        (unfinished / "index.json").write_bytes(index)
        _check(place, Corpus(unfinished))
        if objects.read_bytes(place / "index.json") != index:
            raise DataError(f"{place}: changed while it was read; start again")
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    source = {"from": str(place)}
    (folder / "source.json").write_text(json.dumps(source, indent=1), encoding="utf-8")


def _check_room(place: Address, home: Path) -> None:
    found = [objects.object_info(place / name) for name in _SOUND]
    need = sum((facts.n_bytes or 0) for facts in found if facts is not None)
    free = shutil.disk_usage(home).free
    if need > free:
        raise DataError(
            f"{home}: {place} needs {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; name "
            "another folder with --cache"
        )


def _check(place: Address, corpus: Corpus) -> None:
    """Compare the sound with the hashes in the index; old corpora have none."""
    for track in corpus.tracks:
        end = track.offset + track.n_samples * track.n_channels
        found = hashlib.sha256(corpus.audio[track.offset : end].tobytes()).hexdigest()
        if track.sha256 and not found.startswith(track.sha256):
            raise DataError(
                f"{place}: {track.song} ({track.role}) is not what its index says; send the "
                "corpus there again"
            )
