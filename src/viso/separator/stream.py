"""One pass through a network at its own rate: samples in, samples of the vocals out."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import numpy.typing as npt

from viso.errors import AudioError, ModelError
from viso.model import Model
from viso.spectral import Analysis, Synthesis

__all__ = ["VocalStream", "channel_groups", "checked_array"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

# Left-right pairs in the channel orders of WAV and FLAC; channels left out stand alone.
_PAIRS: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 1),),
    3: ((0, 1),),
    4: ((0, 1), (2, 3)),
    5: ((0, 1), (3, 4)),
    6: ((0, 1), (4, 5)),
    7: ((0, 1), (5, 6)),
    8: ((0, 1), (4, 5), (6, 7)),
}


def channel_groups(n_channels: int, *, per_model: int) -> list[tuple[int, ...]]:
    """Share out a signal's channels among runs of a mono or stereo model.

    >>> channel_groups(6, per_model=2)
    [(0, 1), (4, 5), (2, 2), (3, 3)]

    A channel without a partner is given twice; a mono model sees each channel by itself.
    """
    if per_model == 1:
        return [(channel,) for channel in range(n_channels)]
    pairs = list(_PAIRS.get(n_channels, ()))
    paired = {channel for pair in pairs for channel in pair}
    return [*pairs, *((c, c) for c in range(n_channels) if c not in paired)]


class VocalStream:
    """Mixture samples in, vocals samples out, at the model's rate, in any portions.

    Parameters
    ----------
    model : Model
    n_channels : int
    """

    def __init__(self, model: Model, *, n_channels: int) -> None:
        self._model, self._card = model, model.card
        self._groups = channel_groups(n_channels, per_model=model.card.channels)
        self._analysis = Analysis(model.card.spectral, n_channels=n_channels)
        self._synthesis = Synthesis(model.card.spectral, n_channels=n_channels)
        bins = model.card.spectral.n_bins
        # Frames wait in memory order (channels, frames, bins); silence stands before the first.
        self._waiting = np.zeros((n_channels, model.card.context_frames, bins), np.complex64)
        self._n_samples = 0
        self._n_frames = 0
        self._n_done = 0

    def push(self, block: Floats) -> Floats:
        """Take samples [shape=(channels, n)], return the vocals that are certain by now."""
        self._n_samples += block.shape[1]
        return self._advance(self._analysis.push(block))

    def finish(self) -> Floats:
        """Return the vocals up to the last sample that was pushed."""
        parts = [self._advance(self._analysis.finish())]
        while (missing := self._n_frames - self._n_done) > 0:
            channels, waiting, bins = self._waiting.shape
            silence = np.zeros((channels, bins, self._card.chunk_frames - waiting), np.complex64)
            parts.append(self._advance(silence, real=min(missing, self._card.step_frames)))
        parts.append(self._synthesis.finish(self._n_samples))
        return np.concatenate(parts, axis=1)

    def _advance(self, frames: Complexes, *, real: int | None = None) -> Floats:
        """Add frames and run every chunk that is complete; `real` caps the frames that count."""
        if real is None:
            self._n_frames += frames.shape[2]
        self._waiting = np.concatenate([self._waiting, frames.transpose(0, 2, 1)], axis=1)
        parts = [np.zeros((self._waiting.shape[0], 0), np.float32)]
        step, size = self._card.step_frames, self._card.chunk_frames
        while self._waiting.shape[1] >= size:
            chunk = self._waiting[:, :size].transpose(0, 2, 1)
            parts.append(self._synthesis.push(self._vocals(chunk)[:, :, :real]))
            self._waiting = self._waiting[:, step:]
            self._n_done += step if real is None else real
        return np.concatenate(parts, axis=1)

    def _vocals(self, chunk: Complexes) -> Complexes:
        """Run the model on every group of channels."""
        context, step = self._card.context_frames, self._card.step_frames
        result = np.empty((chunk.shape[0], chunk.shape[1], step), np.complex64)
        for group in self._groups:
            estimate = self._model.estimate(chunk[list(group)])
            for place, channel in enumerate(group):
                result[channel] = estimate[place]
        if not np.isfinite(result).all():
            raise ModelError(f"{self._card.name}: the network gave NaN or infinity for this song")
        if self._card.target == "instrumental":
            result = chunk[:, :, context : context + step] - result
        return result


def checked_array(song: Floats, rate_hz: int | None) -> tuple[Floats, int]:
    """Return an array fit for `Separator.stream`, and its rate, or say what is wrong."""
    array = np.asarray(song)
    if not isinstance(rate_hz, Integral) or isinstance(rate_hz, bool) or rate_hz < 1:
        raise AudioError(
            f"array of shape {array.shape}: sampling rate {rate_hz!r}; say a whole number, rate_hz="
        )
    if array.ndim != 2 or 0 in array.shape:
        raise AudioError(f"array of shape {array.shape}: need (channels, samples), neither 0")
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"array of {array.dtype}: need floats with full scale 1.0")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise AudioError(f"array of shape {array.shape}: holds NaN or infinite samples")
    return array, int(rate_hz)
