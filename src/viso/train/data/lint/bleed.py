"""Bleed: how much of one stem is audible, as a copy, inside another.

The vocals and the instrumental of a song are similar in many ways (the same notes at the same
time, the same beat), but they are not coherent: the phase between two independent sound sources
wanders. A leak is coherent: it is a copy, scaled by a gain ``a`` and late by a lag ``tau``. Let
``S`` be the spectra of the frames of the stem that may leak, and ``T`` those of the other stem::

    T = a exp(-j w tau) S + (the rest of T)

The gain of largest likelihood is the cross-correlation, with each point of time and frequency
weighted by the inverse power ``W = 1 / <|T|^2>`` of the sound that may hide the leak::

    a(tau) = sum_f exp(j w tau) sum_t W conj(S) T  /  sum_f sum_t W |S|^2

So the points where T is quiet and S is loud have most weight (generalised cross-correlation,
Knapp and Carter 1976). The peak over tau is the leak. Two controls decide whether it is real:

- The sum over time is cut into groups of frames, each about as long as a note. The groups are
  added again, half of them, drawn at random, with opposite sign. A leak has the same phase in all
  groups and cancels; two instruments that play one melody have another phase in each note and do
  not cancel.
- The frames of S are rotated against those of T. A hum in both stems stays as coherent as it was;
  a leak does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from viso.train.data.lint.sound import shifted

__all__ = ["Bleed", "bleed", "mutual_bleed"]

_FRAME_S = 0.09
_LOW_HZ, _HIGH_HZ = 80.0, 8000.0
_MOST_FRAMES = 512
_FEWEST_FRAMES = 40
_N_ROTATIONS = 4
_N_PATTERNS = 32
_FRAMES_A_BLOCK, _MOST_BLOCKS = 8, 32
_WORTH_ROTATING = 1.5
_SMOOTH_BINS = 8
_FAINTEST_DB = -50.0
"""No point of time and frequency counts for leaks fainter than this; otherwise a few points where T
is digital silence would outweigh all others."""
_AUDIBLE = 1e-4

_Frames = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Bleed:
    """A copy of one stem inside another.

    `gain` is the factor of the copy against its original (negative: opposite polarity). `lag` is
    how many samples the copy is late (negative: early). `ratio` is the height of the peak over
    that of the controls. If the leak is filtered (by a wall, a headphone), the gain is a mean
    over frequency, and the real leak is somewhat louder.
    """

    gain: float
    lag: int
    ratio: float

    @property
    def level_db(self) -> float:
        """The level of the copy against its original, in decibels."""
        return 20 * float(np.log10(abs(self.gain) + 1e-12))


def bleed(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], *, rate_hz: int
) -> Bleed | None:
    """Return the strongest copy of `source` that `target` seems to hold.

    Parameters
    ----------
    source, target : float32 arrays [shape=(channels, n)]
        Two stems of one song. If their numbers of channels differ, both are mixed to mono.
    rate_hz : int

    Returns
    -------
    Bleed or None
        None if the stems sound together for less than 1.9 s. The result is a measurement only:
        compare `ratio` and `level_db` with the thresholds of `checks`.
    """
    source, target = _alike(source, target)
    n = _frame_length(rate_hz)
    starts = _telling_frames(source, target, n)
    if starts.size < _FEWEST_FRAMES:
        return None
    bins = _bins(n, rate_hz)
    return _strongest(_spectra(source, starts, n, bins), _spectra(target, starts, n, bins), n, bins)


def mutual_bleed(
    vocals: npt.NDArray[np.float32], instrumental: npt.NDArray[np.float32], *, rate_hz: int
) -> tuple[Bleed | None, Bleed | None]:
    """Return the leak of the vocals into the instrumental, and the leak the other way round.

    A strong leak in one direction is coherent in both directions. So each leak is subtracted in
    turn. The leak that explains the other one best is accepted; the other one is measured again
    without it.

    Parameters
    ----------
    vocals, instrumental : float32 arrays [shape=(channels, n)]
    rate_hz : int

    Returns
    -------
    of_vocals, of_instrumental : Bleed or None
        As from `bleed`.
    """
    stems = _alike(vocals, instrumental)
    found = (bleed(*stems, rate_hz=rate_hz), bleed(*stems[::-1], rate_hz=rate_hz))
    if not all(leak is not None and leak.ratio > _WORTH_ROTATING for leak in found):
        return found
    of_vocals, music = _taken_out(*stems, found[0], rate_hz=rate_hz)
    of_music, voice = _taken_out(*stems[::-1], found[1], rate_hz=rate_hz)
    rest_of_music = bleed(music, stems[0], rate_hz=rate_hz)
    rest_of_vocals = bleed(voice, stems[1], rate_hz=rate_hz)
    if _ratio(rest_of_music) < _ratio(rest_of_vocals):
        return of_vocals, rest_of_music
    return rest_of_vocals, of_music


def _taken_out(
    source: npt.NDArray[np.float32],
    target: npt.NDArray[np.float32],
    leak: Bleed | None,
    *,
    rate_hz: int,
) -> tuple[Bleed | None, npt.NDArray[np.float32]]:
    """Subtract a leak from the target; return the corrected leak and the clean target."""
    assert leak is not None
    clean = target - np.float32(leak.gain) * shifted(source, -leak.lag)
    # A strong leak raises the power of the target, so its gain is measured too low: measure again.
    rest = bleed(source, clean, rate_hz=rate_hz)
    if rest is not None and rest.lag == leak.lag and rest.ratio > _WORTH_ROTATING:
        clean -= np.float32(rest.gain) * shifted(source, -rest.lag)
        leak = replace(leak, gain=leak.gain + rest.gain)
    return leak, clean


def _ratio(leak: Bleed | None) -> float:
    return 0.0 if leak is None else leak.ratio


def _frame_length(rate_hz: int) -> int:
    return int(2 ** round(np.log2(_FRAME_S * rate_hz)))


def _bins(n: int, rate_hz: int) -> slice:
    return slice(max(1, round(_LOW_HZ * n / rate_hz)), min(n // 2, round(_HIGH_HZ * n / rate_hz)))


def _alike(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return both sounds with the same length and number of channels."""
    n = min(a.shape[1], b.shape[1])
    a, b = a[:, :n], b[:, :n]
    if a.shape[0] != b.shape[0]:
        return a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True)
    return a, b


def _telling_frames(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], n: int
) -> npt.NDArray[np.intp]:
    """Return the starts of the frames where both stems sound and `source` dominates most."""
    levels = []
    for audio in (source, target):
        blocks = audio[:, : audio.shape[1] // (n // 2) * (n // 2)].reshape(len(audio), -1, n // 2)
        power = np.einsum("cbn,cbn->b", blocks, blocks) / (len(audio) * n)
        levels.append(np.sqrt(power[:-1] + power[1:]))
    s, t = levels
    if not s.size:
        return np.zeros(0, np.intp)
    sounding = np.flatnonzero((s > max(_AUDIBLE, 0.01 * s.max())) & (t > _AUDIBLE))
    order = np.argsort(t[sounding] / s[sounding], kind="stable")[: _MOST_FRAMES // len(source)]
    return np.sort(sounding[order]) * (n // 2)


def _spectra(
    audio: npt.NDArray[np.float32], starts: npt.NDArray[np.intp], n: int, bins: slice
) -> _Frames:
    """Return the spectra of the frames [shape=(frames, channels, bins)]."""
    window = np.hanning(n + 1)[:n].astype(np.float32)
    frames = np.stack([audio[:, start : start + n] for start in starts])
    return np.fft.rfft(frames * window)[..., bins].astype(np.complex64)


def _smooth(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean over neighbouring bins."""
    width = 2 * _SMOOTH_BINS + 1
    padded = np.pad(power, [(0, 0)] * (power.ndim - 1) + [(_SMOOTH_BINS + 1, _SMOOTH_BINS)], "edge")
    total = np.cumsum(padded, axis=-1, dtype=np.float64)
    return ((total[..., width:] - total[..., :-width]) / width).astype(np.float32)


def _strongest(source: _Frames, target: _Frames, n: int, bins: slice) -> Bleed:
    source_power = _power(source)
    heard_against = _smooth(_power(target)) + np.float32(1e-20)
    faintest = np.float32(10 ** (_FAINTEST_DB / 10)) * _smooth(source_power)

    def gains(k: int) -> npt.NDArray[np.float64]:
        """Return ``a(tau)`` of each group, the source rotated by k [shape=(groups, lags)]."""
        turned, power, least = (np.roll(x, k, 0) for x in (source, source_power, faintest))
        weight = 1 / (heard_against + least)
        top = float(np.sum(power * weight, dtype=np.float64)) + 1e-20
        return _lines(turned.conj() * (target * weight), n, bins) / top

    blocks = gains(0)
    line = blocks.sum(axis=0)
    best = int(np.argmax(np.abs(line)))
    gain = float(line[best])
    ratio = abs(gain) / (float(np.abs(_patterns(len(blocks)) @ blocks).max(axis=1).mean()) + 1e-12)
    if ratio > _WORTH_ROTATING:
        step = max(1, len(source) // (_N_ROTATIONS + 1))
        turns = range(step, step * _N_ROTATIONS + 1, step)
        chance = [float(np.abs(gains(k).sum(axis=0)).max()) for k in turns]
        ratio = min(ratio, abs(gain) / (max(chance) + 1e-12))
    return Bleed(gain, best - line.size // 2, ratio)


def _patterns(n_blocks: int) -> npt.NDArray[np.float64]:
    """Return half plus and half minus signs [shape=(patterns, groups)]; the same at each call."""
    signs = np.resize([1.0, -1.0], n_blocks)
    return np.random.default_rng(0).permuted(np.tile(signs, (_N_PATTERNS, 1)), axis=1)


def _power(frames: _Frames) -> npt.NDArray[np.float32]:
    return frames.real**2 + frames.imag**2


def _lines(product: _Frames, n: int, bins: slice) -> npt.NDArray[np.float64]:
    """Return the cross-correlation of each group for lags of up to a quarter of a frame."""
    n_blocks = min(_MOST_BLOCKS, len(product) // _FRAMES_A_BLOCK)
    edges = np.linspace(0, len(product), n_blocks, endpoint=False).astype(int)
    cross = np.zeros((n_blocks, n // 2 + 1), np.complex64)
    cross[:, bins] = np.add.reduceat(product.sum(axis=1), edges, axis=0)
    # irfft divides by n and counts each bin twice, because of its negative frequency.
    taps = np.fft.irfft(cross, axis=1).astype(np.float64) * n / 2
    return np.concatenate([taps[:, -(n // 4) :], taps[:, : n // 4 + 1]], axis=1)
