"""Files to take home: a stem in another format, or vocals and instrumental in another balance."""

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


def encode(stem_store: StemStore, path: Path, *, gains: Mapping[str, float], called: str) -> float:
    """Write a mix of the stems into a file.

    Parameters
    ----------
    stem_store : StemStore
    path : Path
        Its suffix chooses the format, one of `FORMATS`; wav and flac get 24 bits.
    gains : mapping of str to float
        Factors of "vocals" and "instrumental"; a stem that is missing is left out.
    called : str
        What its tags call it.

    Returns
    -------
    float
        What the whole was multiplied with, so that it does not clip; 1.0 if it would not.

    Raises
    ------
    AudioError
        If the stems are gone, or the format cannot carry them.
    """
    gain = _gain(stem_store, gains)
    writer = AudioWriter(
        path, rate_hz=stem_store.rate_hz, n_channels=stem_store.n_channels, bit_depth=str(BITS)
    )
    with writer:
        for block in _mixed(stem_store, gains):
            writer.write((block * gain).astype(np.float32).T)
        writer.finish()
        said = {f"viso_{stem}_gain": f"{value * gain:.6g}" for stem, value in gains.items()}
        copy_tags(
            stem_store.path("vocals"), writer.temporary_path, extra={**said, "viso_stem": called}
        )
    return gain


def _mixed(stem_store: StemStore, gains: Mapping[str, float]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield blocks of the mix [shape=(n, channels), full scale = 1.0]."""
    for start in range(0, stem_store.n_samples, _BLOCK):
        block = np.zeros((min(_BLOCK, stem_store.n_samples - start), stem_store.n_channels))
        for stem, gain in gains.items():
            if gain:
                block += stem_store.integers(stem, start, start + _BLOCK) * (gain / _FULL)
        yield block


def _gain(stem_store: StemStore, gains: Mapping[str, float]) -> float:
    # No stem is beyond full scale, so nothing can clip here.
    if math.fsum(gains.values()) <= 1.0:
        return 1.0
    low = high = 0.0
    for block in _mixed(stem_store, gains):
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return joint_gain(low, high, bits=BITS)
