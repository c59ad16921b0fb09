"""Make the sounds of a passage one by one, at one loudness."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from viso.audio import write
from viso.errors import AudioError, DataError
from viso.listening.anchors import distorted, interference, low_pass
from viso.listening.definition import ANCHORS, REFERENCE, Stimulus
from viso.listening.loudness import gain_to
from viso.listening.material import Passage, estimate_at, truth_at
from viso.listening.sounds import stimulus_path
from viso.metrics import si_sdr, usdr

__all__ = ["Workshop"]

Floats = npt.NDArray[np.float32]
Role = Literal["system", "reference", "anchor"]

_FADE_S = 0.01
_HIGHEST = 10 ** (-1 / 20)  # a browser may resample, which can raise peaks


class Workshop:
    """Makes the stimuli of a test in an unfinished folder.

    Sounds wait as arrays on disk, since their common level is known only after the last one.

    Parameters
    ----------
    folder : Path
    seed : int
        Seed of the stimuli's ids and of the holes in the distorted anchor.
    stem : str
        ``vocals``, ``instrumental`` or another true stem.
    systems : sequence of str
    """

    def __init__(self, folder: Path, *, seed: int, stem: str, systems: Sequence[str]) -> None:
        self._folder = folder
        self._seed = seed
        self._stem = stem
        self._systems = systems
        self._rates_hz: dict[str, int] = {}
        self._peak = 0.0
        (folder / "stimuli").mkdir(parents=True)

    def make(self, passage: Passage, *, target_lufs: float, anchors: bool) -> dict[str, Stimulus]:
        """Make all sounds of a passage.

        Returns
        -------
        dict of str to Stimulus
            By condition; the reference that is shown as such has the key ``shown``.

        Raises
        ------
        DataError
            If files do not fit each other, or a sound is silent.
        AudioError
            If a file cannot be read.
        """
        truth, rate_hz = truth_at(passage)
        made = {}
        if self._stem not in truth:
            others = ", ".join(truth)
            raise DataError(f"{passage.name}: has no true {self._stem}; its stems are {others}")
        reference = truth[self._stem]
        for condition, role, audio in self._sounds(passage, truth, rate_hz, anchors=anchors):
            faded = _faded(audio, rate_hz=rate_hz)
            try:
                gain_db = gain_to(faded, target_lufs, rate_hz=rate_hz)
            except AudioError as error:
                raise DataError(
                    f"{passage.name}: {condition}: {error}; choose another excerpt, or leave the "
                    "system or the song out"
                ) from error
            key = f"{self._seed}:{passage.song.name}:{passage.excerpt}:{condition}"
            name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
            self._keep(name, faded * np.float32(10 ** (gain_db / 20)), rate_hz)
            is_system = role == "system"
            made[condition] = Stimulus(
                id=name,
                condition=condition,
                role=role,
                gain_db=round(gain_db, 4),
                sdr_db=_finite(usdr(reference, audio)) if is_system else None,
                si_sdr_db=_finite(si_sdr(reference, audio)) if is_system else None,
            )
        return made

    def _sounds(
        self, passage: Passage, truth: dict[str, Floats], rate_hz: int, *, anchors: bool
    ) -> Iterator[tuple[str, Role, Floats]]:
        reference = truth[self._stem]
        rest = {"vocals": "instrumental", "instrumental": "vocals"}.get(self._stem)
        others = truth[rest] if rest else truth["vocals"] + truth["instrumental"] - reference
        yield "shown", "reference", reference
        yield REFERENCE, "reference", reference
        for system in self._systems:
            yield system, "system", estimate_at(passage, system, self._stem, truth, rate_hz)
        if anchors:
            low, mid, holed, mixed = ANCHORS
            try:
                yield low, "anchor", low_pass(reference, 3500, rate_hz=rate_hz)
                yield mid, "anchor", low_pass(reference, 7000, rate_hz=rate_hz)
                yield holed, "anchor", distorted(reference, rate_hz=rate_hz, seed=self._seed)
                yield mixed, "anchor", interference(reference, others, rate_hz=rate_hz)
            except AudioError as error:
                raise DataError(f"{passage.name}: anchors: {error}") from error

    def _keep(self, name: str, audio: Floats, rate_hz: int) -> None:
        self._rates_hz[name] = rate_hz
        self._peak = max(self._peak, float(np.abs(audio).max()))
        np.save(self._folder / f"{name}.npy", audio)

    def finish(self) -> float:
        """Write all stimuli; return by how many decibels all are lowered so that none clips."""
        gain = min(1.0, _HIGHEST / self._peak) if self._peak else 1.0
        for name, rate_hz in self._rates_hz.items():
            waiting = self._folder / f"{name}.npy"
            audio = np.load(waiting)
            write(stimulus_path(self._folder, name), audio * np.float32(gain), rate_hz=rate_hz)
            waiting.unlink()
        return -20 * math.log10(gain)


def _faded(audio: Floats, *, rate_hz: int) -> Floats:
    """Return the sound with faded ends, so that it does not click when it begins or loops."""
    n = min(max(1, round(_FADE_S * rate_hz)), audio.shape[1] // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    faded = audio.copy()
    faded[:, :n] *= ramp
    faded[:, audio.shape[1] - n :] *= ramp[::-1]
    return faded


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
