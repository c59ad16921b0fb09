"""One pass through networks at their own rate: samples in, samples of the vocals out.

Models that share a transform are blended here, frame by frame, and the Wiener filter comes
behind that, as in Uhlich et al. 2017. `viso.separator.estimators` is for those that do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import Analysis, Synthesis
from viso.errors import ModelError
from viso.models.onnx import Model
from viso.separator.align import Lockstep
from viso.separator.channels import channel_groups
from viso.separator.wiener_stream import WienerFilter, WienerStream

__all__ = ["VocalStream", "channel_groups"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]


class _Chunks:
    """Frames of the mixture in, frames of the vocals out, through one model."""

    def __init__(self, model: Model, *, n_channels: int) -> None:
        self._model, self._card = model, model.card
        self._groups = channel_groups(n_channels, per_model=model.card.channels)
        bins = model.card.spectral.n_bins
        # Frames wait in memory order (channels, frames, bins); silence stands before the first.
        self._waiting = np.zeros((n_channels, model.card.chunk_frames, bins), np.complex64)
        self._n_waiting = model.card.context_frames
        self._n_frames = 0
        self._n_done = 0

    def push(self, frames: Complexes) -> list[Complexes]:
        """Add frames [shape=(channels, bins, n)] and run every chunk that they complete."""
        frames = frames.transpose(0, 2, 1)
        self._n_frames += frames.shape[1]
        parts = []
        while frames.shape[1]:
            new = frames[:, : self._card.chunk_frames - self._n_waiting]
            frames = frames[:, new.shape[1] :]
            self._waiting[:, self._n_waiting : self._n_waiting + new.shape[1]] = new
            self._n_waiting += new.shape[1]
            if self._n_waiting == self._card.chunk_frames:
                parts.append(self._chunk(self._card.step_frames))
        return parts

    def finish(self) -> list[Complexes]:
        """Return the frames up to the last one that was pushed."""
        parts = []
        while (missing := self._n_frames - self._n_done) > 0:
            self._waiting[:, self._n_waiting :] = 0
            self._n_waiting = self._card.chunk_frames
            parts.append(self._chunk(min(missing, self._card.step_frames)))
        return parts

    def _chunk(self, n_frames: int) -> Complexes:
        """Run the model on what waits, a whole chunk; the first `n_frames` of its step count."""
        step = self._card.step_frames
        vocals = self._vocals(self._waiting.transpose(0, 2, 1), n_frames)
        self._n_waiting -= step
        self._waiting[:, : self._n_waiting] = self._waiting[:, step:].copy()
        self._n_done += n_frames
        return vocals

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


class VocalStream:
    """Mixture samples in, vocals samples out, at the models' rate, in any portions.

    Parameters
    ----------
    models : Model, or sequence of (Model, float)
        Those of a blend with their shares; their transforms must be the same.
    n_channels : int
    wiener : WienerFilter, optional
        Behind the models.
    """

    def __init__(
        self,
        models: Model | Sequence[tuple[Model, float]],
        *,
        n_channels: int,
        wiener: WienerFilter | None = None,
    ) -> None:
        parts = models if isinstance(models, Sequence) else [(models, 1.0)]
        spectral = parts[0][0].card.spectral
        self._name = "+".join(model.card.name for model, _ in parts)
        self._shares = [share for _, share in parts]
        self._chunks = [_Chunks(model, n_channels=n_channels) for model, _ in parts]
        self._analysis = Analysis(spectral, n_channels=n_channels)
        self._synthesis = Synthesis(spectral, n_channels=n_channels)
        self._filter: WienerStream | None = None
        if wiener is not None:
            self._filter = WienerStream(wiener, config=spectral, n_channels=n_channels)
        # The models' frames, and behind them those of the mixture for the filter.
        self._together = Lockstep[np.complex64](len(parts) + (wiener is not None))
        self._n_samples = 0

    def analyse(self, block: Floats) -> Complexes:
        """Take samples [shape=(channels, n)], return frames for `advance`.

        May run in another thread, ahead of it.
        """
        self._n_samples += block.shape[1]
        return self._analysis.push(block)

    def push(self, block: Floats) -> Floats:
        """Take samples [shape=(channels, n)], return the vocals that are certain by now."""
        return self.advance(self.analyse(block))

    def advance(self, frames: Complexes) -> Floats:
        """Take frames [shape=(channels, bins, n)], return the vocals that are certain by now."""
        return self._samples(self._estimates(frames, is_last=False))

    def finish(self) -> Floats:
        """Return the vocals up to the last sample that was pushed."""
        frames = self._estimates(self._analysis.finish(), is_last=True)
        parts = [self._samples(frames)]
        if self._filter is not None:
            parts.append(self._samples(self._filter.finish()))
        parts.append(self._synthesis.finish(self._n_samples))
        return np.concatenate(parts, axis=1)

    def _estimates(self, frames: Complexes, *, is_last: bool) -> Complexes:
        """Return the vocals' frames of which all that is needed is known."""
        for number, chunks in enumerate(self._chunks):
            done = [frames[:, :, :0], *chunks.push(frames), *(chunks.finish() if is_last else ())]
            for part in done:
                self._together.add(number, part)
        if self._filter is None:
            return blended(self._together.take(), self._shares)
        self._together.add(len(self._chunks), frames)
        *estimates, mixture = self._together.take()
        return self._filter.push(mixture, blended(estimates, self._shares))

    def _samples(self, frames: Complexes) -> Floats:
        samples = self._synthesis.push(frames)
        if not np.isfinite(samples).all():
            raise ModelError(f"{self._name}: the network gave NaN or infinity for this song")
        return samples


def blended(estimates: Sequence[Complexes], shares: Sequence[float]) -> Complexes:
    """Return the sum of some arrays of one shape, each times its share."""
    if len(estimates) == 1 and shares[0] == 1.0:
        return estimates[0]
    total = np.zeros_like(estimates[0])
    for estimate, share in zip(estimates, shares, strict=True):
        total += estimate * np.float32(share)
    return total
