"""How the energy of a song's error divides.

With the spectra V of the true vocals, I of the true instrumental, X = V + I, and E of the estimate
(of mid and side, where there are two channels)::

    M     = clip(Re(E X*) / |X|^2, 0, 1)     the mask that the separator has drawn in effect
    leak  = M I                              music in the vocals
    lost  = (M - 1) V                        vocals that are missing
    other = E - M X                          what no mask makes: phases, sound out of nowhere
    E - V = leak + lost + other

The energy |E - V|^2 of a bin is shared among the three in proportion to their own energies; so the
shares of all bins add up to the energy of the error, which is what uSDR measures. By themselves
the energies of leak and lost do not add up to it: where both are there, they partly cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from failures.frames import (
    EVENTS,
    Part,
    events_of,
    is_percussive,
    mid_side,
    parts,
    power,
    transform,
)
from viso.dsp.stft import SpectralConfig, stft
from viso.metrics import usdr

__all__ = ["KINDS", "PLACES", "QUANTITIES", "REGIONS_HZ", "Division", "divide", "kinds_of"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex64]
Indices = npt.NDArray[np.intp]

KINDS = ("leak", "lost", "other")
QUANTITIES = (*KINDS, "leaked", "missing", "floor", "vocals", "instrumental")
"""The first three are shares of the error. ``leaked`` and ``missing`` are the energies of leak and
lost by themselves, ``floor`` is what the best real mask from 0 to 1 would leave."""
PLACES = ("mid", "side")
REGIONS_HZ = (0.0, 200.0, 800.0, 2500.0, 5000.0, 10_000.0)
"""Where the regions begin."""
TEXTURES = ("tonal", "percussive")
NOTICES = ("noticed", "missed")

_AXES = {
    "event": len(EVENTS),
    "place": len(PLACES),
    "region": len(REGIONS_HZ),
    "texture": len(TEXTURES),
    "notice": len(NOTICES),
}
_SHAPE = tuple(_AXES.values())


@dataclass(frozen=True)
class Division:
    """Where the energy of an error lies.

    `energies` [shape=(quantities, events, places, regions, textures, notices)] are sums over bins.
    The event is that of the frame (`failures.frames`), the texture that of the instrumental in
    the bin. A frame is missed if half of the energy of its vocals or more is lost.
    """

    usdr_db: float
    energies: Doubles

    def total(self, quantity: str, **where: int) -> float:
        """Return an energy, summed over all axes that `where` does not fix."""
        index = tuple(where.get(axis, slice(None)) for axis in _AXES)
        return float(np.sum(self.energies[QUANTITIES.index(quantity)][index]))

    def percent(self, kind: str, **where: int) -> float:
        """Return a share of the error in percent; 0 where there is no error."""
        error = sum(self.total(each) for each in KINDS)
        return 100 * self.total(kind, **where) / error if error else 0.0


class Kinds(NamedTuple):
    """The parts of an error [shape=(channels, bins, frames), complex]."""

    leak: Complexes
    lost: Complexes
    other: Complexes


def kinds_of(vocals: Complexes, instrumental: Complexes, estimate: Complexes) -> Kinds:
    """Return the parts of an error, see the module's text; all complex64, of one shape."""
    mixture = vocals + instrumental
    mask = _mask(estimate, mixture)
    return Kinds(mask * instrumental, (mask - 1) * vocals, estimate - mask * mixture)


def _mask(target: Complexes, mixture: Complexes) -> Floats:
    """Return the best real mask from 0 to 1."""
    product = target.real * mixture.real + target.imag * mixture.imag
    size = power(mixture)
    ratio = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    mask: Floats = np.clip(ratio, 0, 1)
    return mask


def divide(vocals: Floats, instrumental: Floats, estimate: Floats, *, rate_hz: int) -> Division:
    """Measure the error of estimated vocals.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
        The truth; their sum is the mixture.
    estimate : float32 array [shape=(channels, n)]
        Of the vocals.
    rate_hz : int

    Raises
    ------
    ValueError
        If the shapes differ or there are more than two channels.
    """
    if not vocals.shape == instrumental.shape == estimate.shape or len(vocals) > 2:
        raise ValueError(f"shapes {vocals.shape}, {instrumental.shape}, {estimate.shape}")
    config = transform(rate_hz)
    sources = [mid_side(audio) for audio in (vocals, instrumental, estimate)]
    events = events_of(sources[0], config)
    n_cells = int(np.prod(_SHAPE))
    energies = np.zeros((len(QUANTITIES), n_cells))
    for part in parts(vocals.shape[1], hop=config.hop):
        spectra = [_spectra(audio[:, part.samples], config) for audio in sources]
        cells, values = _measured(spectra, events, part, config)
        for total, value in zip(energies, values, strict=True):
            total += np.bincount(cells, value.ravel(), minlength=n_cells)
    return Division(usdr(vocals, estimate), energies.reshape(len(QUANTITIES), *_SHAPE))


def _spectra(audio: Floats, config: SpectralConfig) -> Complexes:
    """Transform a signal so that the sum of its bins' squares is in proportion to its energy."""
    spectra = stft(audio, config=config)
    # All bins but these stand for a positive and a negative frequency.
    spectra[:, [0, -1]] *= np.float32(np.sqrt(0.5))
    return spectra


def _measured(
    spectra: list[Complexes], events: Indices, part: Part, config: SpectralConfig
) -> tuple[Indices, Iterator[Floats]]:
    """Return to which cell every bin of a part belongs, and what is in it, by quantity."""
    textures = is_percussive(spectra[1])[:, part.inside].astype(np.intp)
    vocals, instrumental, estimate = (one[:, :, part.inside] for one in spectra)
    kinds = kinds_of(vocals, instrumental, estimate)
    leak, lost, other = (power(kind) for kind in kinds)
    error, sung = power(estimate - vocals), power(vocals)
    scale = error / np.maximum(leak + lost + other, np.float32(1e-30))
    best = _mask(vocals, vocals + instrumental) * (vocals + instrumental)
    missed = lost.sum(axis=(0, 1)) >= 0.5 * np.maximum(sung.sum(axis=(0, 1)), 1e-30)
    hertz = np.arange(config.n_bins) * config.rate_hz / config.n_fft
    cells = np.ravel_multi_index(
        np.broadcast_arrays(
            events[part.frames],
            np.arange(len(vocals))[:, None, None],
            (np.searchsorted(REGIONS_HZ, hertz, side="right") - 1)[:, None],
            textures,
            missed.astype(np.intp),
        ),
        _SHAPE,
    )
    values = (leak * scale, lost * scale, other * scale, leak, lost, power(best - vocals), sung)
    return cells.ravel(), iter((*values, power(instrumental)))
