"""Files for download: a stem in another format, or all stems in another balance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import AudioWriter, copy_tags
from viso.dsp.masking import joint_gain
from viso.studio.stem_store import BITS, StemStore

__all__ = ["FORMATS", "encode"]

FORMATS = ("wav", "flac", "mp3")

_BLOCK = 1 << 15
_FULL = np.float32(1 << (BITS - 1))


def encode(stems: StemStore, path: Path, *, gains: Mapping[str, float], title: str) -> float:
    """Write a mix of the stems into a file.

    Parameters
    ----------
    stems : StemStore
    path : Path
        Its suffix chooses the format, one of `FORMATS`; wav and flac get 24 bits.
    gains : mapping of str to float
        Factors of stems; a missing stem is left out.
    title : str
        The stem's name in the tags.

    Returns
    -------
    float
        The factor of the whole mix that keeps it from clipping; 1.0 if it would not clip.

    Raises
    ------
    AudioError
        If the stems are gone, or the format cannot carry them.
    """
    gain = _gain(stems, gains)
    writer = AudioWriter(
        path, rate_hz=stems.rate_hz, n_channels=stems.n_channels, bit_depth=str(BITS)
    )
    with writer:
        for block in _mixed(stems, gains):
            writer.write((block * gain).astype(np.float32).T)
        writer.finish()
        gain_tags = {f"viso_{stem}_gain": f"{value * gain:.6g}" for stem, value in gains.items()}
        copy_tags(
            stems.path("vocals"), writer.temporary_path, extra={**gain_tags, "viso_stem": title}
        )
    return gain


def _mixed(stems: StemStore, gains: Mapping[str, float]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield blocks of the mix [shape=(n, channels), full scale = 1.0]."""
    for start in range(0, stems.n_samples, _BLOCK):
        block = np.zeros((min(_BLOCK, stems.n_samples - start), stems.n_channels))
        for stem, gain in gains.items():
            if gain:
                block += stems.integers(stem, start, start + _BLOCK) * (gain / _FULL)
        yield block


def _gain(stems: StemStore, gains: Mapping[str, float]) -> float:
    # No stem exceeds full scale, so this mix cannot clip.
    if math.fsum(gains.values()) <= 1.0:
        return 1.0
    low = high = 0.0
    for block in _mixed(stems, gains):
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return joint_gain(low, high, bits=BITS)
