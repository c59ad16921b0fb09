"""The stems of a job on the disk, and any block of them in integers.

Vocals and instrumental are 24-bit WAV files as `viso separate` writes them. The mixture is their
sum; for songs of 16 or 24 bits it equals the song to the last bit.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from viso.errors import AudioError
from viso.separator import STEMS

__all__ = ["ALL_STEMS", "BITS", "StemStore"]

Integers = npt.NDArray[np.int32]

ALL_STEMS = ("mixture", *STEMS)
BITS = 24
"""Depth of the files."""

_WIDTH = BITS // 8
_MOST_CHUNKS = 64


@dataclass(frozen=True)
class StemStore:
    """The two stems of a job in a folder.

    Parameters
    ----------
    folder : Path
    rate_hz : int
    n_channels : int
    n_samples : int
        Of each stem and channel.
    """

    folder: Path
    rate_hz: int
    n_channels: int
    n_samples: int

    def path(self, stem: str) -> Path:
        """Return the file of vocals or instrumental."""
        return self.folder / f"{stem}.wav"

    def integers(self, stem: str, start: int, stop: int) -> Integers:
        """Read a block of a stem.

        Parameters
        ----------
        stem : {"mixture", "vocals", "instrumental"}
        start, stop : int
            Samples; those outside of the stem are left out.

        Returns
        -------
        int32 array [shape=(n, channels), full scale = 2**23]

        Raises
        ------
        AudioError
            If the files are gone.
        """
        if stem == "mixture":
            blocks = [self._block(name, start, stop) for name in STEMS]
            return _saturated(blocks[0] + blocks[1], BITS)
        return self._block(stem, start, stop)

    def at_16_bits(self, stem: str, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Read a block of a stem, rounded so that the stems still add up to the mixture.

        Returns
        -------
        int16 array [shape=(n, channels)]
        """
        vocals, rest = (self._block(name, start, stop) for name in STEMS)
        whole = _rounded(_saturated(vocals + rest, BITS))
        if stem == "mixture":
            return whole.astype(np.int16)
        rounded_vocals = _rounded(vocals)
        integers = rounded_vocals if stem == "vocals" else _saturated(whole - rounded_vocals, 16)
        return integers.astype(np.int16)

    def _block(self, stem: str, start: int, stop: int) -> Integers:
        start, stop = max(0, start), min(stop, self.n_samples)
        n_values = max(0, stop - start) * self.n_channels
        path = self.path(stem)
        try:
            with path.open("rb") as file:
                file.seek(_data_offset(file, path) + start * self.n_channels * _WIDTH)
                raw = file.read(n_values * _WIDTH)
        except OSError as error:
            raise AudioError(f"{stem}: is gone ({error.strerror}); separate again") from error
        if len(raw) != n_values * _WIDTH:
            raise AudioError(f"{stem}: is cut short; separate again")
        wide = np.zeros((n_values, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(n_values, _WIDTH)
        return np.asarray(wide.view("<i4").reshape(-1, self.n_channels) >> 8, np.int32)


def _rounded(integers: Integers) -> Integers:
    """24 bits to 16."""
    return _saturated((integers + 128) >> 8, 16)


def _saturated(integers: Integers, bits: int) -> Integers:
    full = 1 << (bits - 1)
    return np.asarray(np.clip(integers, -full, full - 1), np.int32)


def _data_offset(file: BinaryIO, path: Path) -> int:
    """Return where the samples begin."""
    file.seek(12)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        if head[:4] == b"data":
            return file.tell()
        size = struct.unpack("<I", head[4:])[0]
        file.seek(size + size % 2, os.SEEK_CUR)
    raise AudioError(f"{path.stem}: has no samples; separate again")
