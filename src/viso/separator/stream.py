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
        self._waiting = np.zeros((n_channels, model.card.chunk_frames, bins), np.complex64)
        self._n_waiting = model.card.context_frames
        self._n_samples = 0
        self._n_frames = 0
        self._n_done = 0

    def analyse(self, block: Floats) -> Complexes:
        """Take samples [shape=(channels, n)], return frames for `advance`.

        May run in another thread, ahead of it.
        """
        self._n_samples += block.shape[1]
        return self._analysis.push(block)

    def push(self, block: Floats) -> Floats:
        """Take samples [shape=(channels, n)], return the vocals that are certain by now."""
        return self.advance(self.analyse(block))

    def finish(self) -> Floats:
        """Return the vocals up to the last sample that was pushed."""
        parts = [self.advance(self._analysis.finish())]
        while (missing := self._n_frames - self._n_done) > 0:
            self._waiting[:, self._n_waiting :] = 0
            self._n_waiting = self._card.chunk_frames
            parts.append(self._chunk(min(missing, self._card.step_frames)))
        parts.append(self._synthesis.finish(self._n_samples))
        return np.concatenate(parts, axis=1)

    def advance(self, frames: Complexes) -> Floats:
        """Add frames [shape=(channels, bins, n)] and run every chunk that they complete."""
        frames = frames.transpose(0, 2, 1)
        self._n_frames += frames.shape[1]
        parts = [np.zeros((frames.shape[0], 0), np.float32)]
        while frames.shape[1]:
            new = frames[:, : self._card.chunk_frames - self._n_waiting]
            frames = frames[:, new.shape[1] :]
            self._waiting[:, self._n_waiting : self._n_waiting + new.shape[1]] = new
            self._n_waiting += new.shape[1]
            if self._n_waiting == self._card.chunk_frames:
                parts.append(self._chunk(self._card.step_frames))
        return np.concatenate(parts, axis=1)

    def _chunk(self, n_frames: int) -> Floats:
        """Run the model on what waits, a whole chunk; the first `n_frames` of its step count."""
        step = self._card.step_frames
        samples = self._synthesis.push(self._vocals(self._waiting.transpose(0, 2, 1), n_frames))
        if not np.isfinite(samples).all():
            raise ModelError(f"{self._card.name}: the network gave NaN or infinity for this song")
        self._n_waiting -= step
        self._waiting[:, : self._n_waiting] = self._waiting[:, step:].copy()
        self._n_done += n_frames
        return samples

    def _vocals(self, chunk: Complexes, n_frames: int) -> Complexes:
        """Run the model on every group of channels."""
        context = self._card.context_frames
        if self._groups == [tuple(range(len(chunk)))]:
            result = self._model.estimate(chunk)[:, :, :n_frames]
        else:
            result = np.empty((*chunk.shape[:2], n_frames), np.complex64)
            for group in self._groups:
                estimate = self._model.estimate(chunk[list(group)])
                for place, channel in enumerate(group):
                    result[channel] = estimate[place, :, :n_frames]
        if self._card.target == "instrumental":
            result = chunk[:, :, context : context + n_frames] - result
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
