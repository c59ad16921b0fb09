"""The stems of a job on the disk, and any block of them in integers.

They are 24-bit WAV files as `viso separate` writes them. The mixture is their sum; for songs of 16
or 24 bits it equals the song to the last bit. The instrumental is the sum of all but the vocals.
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

__all__ = ["BITS", "MIXTURE", "StemStore"]

Integers = npt.NDArray[np.int32]

MIXTURE = "mixture"
BITS = 24
"""Depth of the files."""

_WIDTH = BITS // 8
_MOST_CHUNKS = 64


@dataclass(frozen=True)
class StemStore:
    """The stems of a job in a folder.

    Parameters
    ----------
    folder : Path
    rate_hz : int
    n_channels : int
    n_samples : int
        Of each stem and channel.
    names : tuple of str
        The stems that add up to the mixture; "vocals" is the first.
    """

    folder: Path
    rate_hz: int
    n_channels: int
    n_samples: int
    names: tuple[str, ...] = STEMS

    @property
    def drawn(self) -> tuple[str, ...]:
        """The mixture and the stems that add up to it: what a page shows."""
        return (MIXTURE, *self.names)

    def has(self, stem: str) -> bool:
        """Tell whether there is such a stem: the mixture, the instrumental, or one of `names`."""
        return stem in (*self.drawn, "instrumental")

    def path(self, stem: str) -> Path:
        """Return the file of one of `names`."""
        return self.folder / f"{stem}.wav"

    def integers(self, stem: str, start: int, stop: int) -> Integers:
        """Read a block of a stem.

        Parameters
        ----------
        stem : str
            See `has`.
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
        if stem in self.names:
            return self._block(stem, start, stop)
        return self._sum(self.names if stem == MIXTURE else self.names[1:], start, stop)

    def _sum(self, names: tuple[str, ...], start: int, stop: int) -> Integers:
        blocks = [self._block(name, start, stop) for name in names]
        return _saturated(np.sum(blocks, axis=0, dtype=np.int32), BITS)

    def at_16_bits(self, stem: str, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Read a block of a stem, rounded so that the stems still add up to the mixture.

        Returns
        -------
        int16 array [shape=(n, channels)]
        """
        *others, last = self.names
        if stem in others:
            return _rounded(self._block(stem, start, stop)).astype(np.int16)
        integers = _rounded(self._sum(self.names, start, stop))
        # The last stem takes up the rounding of all others.
        for name in {MIXTURE: [], last: others}.get(stem, ["vocals"]):
            integers = integers - _rounded(self._block(name, start, stop))
        return _saturated(integers, 16).astype(np.int16)

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
