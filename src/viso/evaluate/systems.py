"""Systems that can be measured: models, folders of estimates, the mixture, ideal masks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from viso.dsp.masking import binary_mask, ratio_mask
from viso.dsp.stft import SpectralConfig
from viso.errors import DataError
from viso.evaluate.songs import SUFFIXES, estimates_of
from viso.metrics import oracle, oracle_wiener
from viso.models import registry
from viso.models.blend import load_blend
from viso.separator import Separator
from viso.separator.wiener_stream import WienerFilter

__all__ = ["MIXTURE", "ORACLES", "System", "system_of"]

Floats = npt.NDArray[np.float32]
Stems = dict[str, Floats]
MaskOf = Callable[[Floats, Floats], Floats]

MIXTURE = "mixture"
_MASKS: dict[str, MaskOf] = {
    "ideal binary mask": binary_mask,
    "ideal ratio mask": ratio_mask,
    "ideal power ratio mask": lambda one, other: ratio_mask(one, other, power=2.0),
}
_WIENER = "ideal Wiener filter"
ORACLES = (*_MASKS, _WIENER)
"""The best possible masks and filters, computed from the truth."""


@dataclass(frozen=True)
class System:
    """Something that separates songs, as plain data that can be sent to other processes.

    `name` appears in tables. `place` is a model's name or file, a blend of models, or a folder of
    estimates. `key` tells whether earlier figures are still valid. `wiener` is the number of
    iterations of the Wiener filter after a model.
    """

    name: str
    kind: Literal["mixture", "oracle", "model", "estimates"]
    place: str = ""
    key: str = ""
    wiener: int = 0

    def filtered(self, iterations: int) -> System:
        """Return this model followed by a Wiener filter, under a new name."""
        filtered = WienerFilter(iterations)
        name, key = f"{self.name}, Wiener {iterations}", f"{self.key}, {filtered}"
        return replace(self, name=name, key=key, wiener=iterations)

    def stems(self, song: str, truth: Stems, rate_hz: int, *, threads: int = 0) -> Stems:
        """Return the system's stems of a song: those of the truth.

        Parameters
        ----------
        song : str
        truth : dict of str to float32 array [shape=(channels, n)]
            True vocals and instrumental, whose sum is the mixture, and perhaps further stems.
        rate_hz : int
        threads : int
            Threads of a model.

        Raises
        ------
        DataError
            If estimates are missing or do not fit.
        ConfigError
            If no transform exists for the rate of an ideal mask, or a model does not estimate a
            stem.
        """
        mixture = truth["vocals"] + truth["instrumental"]
        if self.kind == "mixture":
            return dict.fromkeys(truth, mixture)
        if self.kind == "estimates":
            return estimates_of(Path(self.place), song, mixture, rate_hz, names=tuple(truth))
        if self.kind == "model":
            separator = _separator(self.place, threads, self.wiener, self.key)
            found = separator.separate(mixture, rate_hz=rate_hz, stems=tuple(truth))
            return {name: found[name] for name in truth}
        config = SpectralConfig.from_mapping({"rate_hz": rate_hz}, origin=song)
        stems: Stems = {}
        for name, stem in truth.items():
            # Of a song with two stems the rest is the other one, to the last bit.
            if name == "instrumental":
                stems[name] = mixture - stems["vocals"]
                continue
            rest = truth["instrumental"] if name == "vocals" else mixture - stem
            if self.name == _WIENER:
                stems[name] = oracle_wiener(stem, rest, config=config)
            else:
                stems[name] = oracle(stem, rest, config=config, mask_of=_MASKS[self.name])
        return stems

    def key_for(self, song: str) -> str:
        """Return a key that changes when the figures of this song may change."""
        return self.key + (_stamp(Path(self.place) / song) if self.kind == "estimates" else "")


@lru_cache(maxsize=4)
def _separator(place: str, threads: int, wiener: int, key: str) -> Separator:
    """Load a model; a model that has changed has another key, so it is loaded again."""
    return Separator(place, threads=threads, wiener=wiener)


def _stamp(folder: Path) -> str:
    """Return a hash of the names, sizes and times of the sound files in a folder."""
    facts = [
        (path.name, (info := path.stat()).st_size, info.st_mtime_ns)
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if path.suffix.lower() in SUFFIXES
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def system_of(words: str) -> System:
    """Return the system that a user names: a model, a blend, or a folder of estimates.

    To name a folder that is called like a known model, give a path such as ``./viso``.

    Raises
    ------
    ModelError
        If it is not a folder, and no model of that name or file can be loaded.
    ConfigError
        If the weights of a blend are not valid.
    DataError
        If the folder holds no folder with vocals.
    """
    folder = Path(words)
    if words not in registry.available() and folder.is_dir():
        if not any(path.suffix.lower() in SUFFIXES for path in folder.glob("*/vocals.*")):
            raise DataError(f"{folder}: no folder with vocals.wav (or flac, ...) for a song in it")
        return System(folder.resolve().name, "estimates", str(folder))
    blend = load_blend(words)
    # A card may be a separate file, so the model's hash does not cover it.
    facts = (blend.sha256, blend.shares, [card.model_dump_json() for card in blend.cards])
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    system = System(blend.name, "model", words, key)
    return replace(system.filtered(blend.wiener), name=blend.name) if blend.wiener else system
