"""Estimators: samples of a mixture in, samples of its stems out, in a stream.

`Estimator` is the seam of the program: everything that estimates stems implements it, and
everything that needs them calls it. `build_estimator` builds one for a song::

    song's rate -> models' rate -> [frames -> models, blended -> Wiener filter -> samples] -> back
    `Resampled`                    `MaskEstimator`

One `MaskEstimator` blends models that share a transform frame by frame, and the Wiener filter
follows, as in Uhlich et al. 2017. A `SegmentEstimator` runs a model that sees whole segments.
`Summed` adds models of both kinds, or with different transforms, sample by sample at the highest of
their rates; then the Wiener filter has a transform of its own (`WienerFiltered`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from viso.audio import Resampler
from viso.dsp.stft import Analysis, SpectralConfig, Synthesis
from viso.errors import ModelError
from viso.models.blend import Blend
from viso.models.card import ModelCard
from viso.models.onnx import Model
from viso.models.segments import SegmentModel
from viso.separator.align import StreamAligner
from viso.separator.channels import channel_groups
from viso.separator.wiener_stream import WienerFilter, WienerStream

__all__ = [
    "Estimator",
    "MaskEstimator",
    "Resampled",
    "SegmentEstimator",
    "Summed",
    "WienerFiltered",
    "build_estimator",
]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]


class Estimator(Protocol):
    """Samples of a mixture in, samples of its stems out, in blocks of any size.

    The stems come later than the mixture and have the same length. For each block call `prepare`,
    then `estimate`; at the end call `finish`.
    """

    def prepare(self, block: Floats) -> Any:
        """Add samples [shape=(channels, n)] and return what `estimate` needs.

        The caller may prepare later blocks in another thread while `estimate` runs.
        """
        ...

    def estimate(self, prepared: Any) -> Floats:
        """Return the samples of the stems that are final [shape=(stems, channels, n)]."""
        ...

    def finish(self) -> Floats:
        """Return the samples of the stems up to the last sample of the mixture."""
        ...


def build_estimator(
    blend: Blend,
    *,
    rate_hz: int,
    n_channels: int,
    wiener: WienerFilter | None = None,
    stems: tuple[str, ...] = ("vocals",),
) -> Estimator:
    """Return the estimator of a blend of models for a song.

    Parameters
    ----------
    blend : Blend
    rate_hz : int
    n_channels : int
    wiener : WienerFilter, optional
        The filter after the models, of the vocals alone.
    stems : tuple of str
        What it estimates, in this order; every model must estimate them.
    """
    if wiener is not None and stems != ("vocals",):
        raise AssertionError("Separator.requested refuses a filter of other stems")
    groups: dict[SpectralConfig, list[tuple[Model, float]]] = {}
    of_segments: list[tuple[SegmentModel, float]] = []
    for model, share in zip(blend.models, blend.shares, strict=True):
        if is_of_frames(model):
            groups.setdefault(model.card.spectral, []).append((model, share))
        else:
            of_segments.append((cast(SegmentModel, model), share))
    shape = (len(stems), n_channels)
    if len(groups) == 1 and not of_segments:
        ((config, models),) = groups.items()
        estimator: Estimator = MaskEstimator(
            models, n_channels=n_channels, wiener=wiener, stems=stems
        )
        return Resampled(estimator, shape=shape, outer_hz=rate_hz, inner_hz=config.rate_hz)
    alone: list[tuple[Estimator, int]] = [
        (MaskEstimator(models, n_channels=n_channels, stems=stems), config.rate_hz)
        for config, models in groups.items()
    ]
    alone += [
        (
            SegmentEstimator(model, n_channels=n_channels, share=share, stems=stems),
            model.card.rate_hz,
        )
        for model, share in of_segments
    ]
    main_hz = max(inner_hz for _, inner_hz in alone)
    if len(alone) == 1:
        estimator = alone[0][0]
    else:
        estimator = Summed(
            Resampled(one, shape=shape, outer_hz=main_hz, inner_hz=inner_hz)
            for one, inner_hz in alone
        )
    if wiener is not None:
        configs = [config for config in groups if config.rate_hz == main_hz]
        config = configs[0] if configs else SpectralConfig(rate_hz=main_hz)
        estimator = WienerFiltered(estimator, wiener, config=config, n_channels=n_channels)
    return Resampled(estimator, shape=shape, outer_hz=rate_hz, inner_hz=main_hz)


def is_of_frames(model: Model | SegmentModel) -> TypeGuard[Model]:
    """Tell whether a model sees frames, rather than segments of samples."""
    return isinstance(model.card, ModelCard)


class _ChunkRunner:
    """Frames of the mixture in, frames of stems out, through one model."""

    def __init__(self, model: Model, *, n_channels: int, stems: tuple[str, ...]) -> None:
        self._model, self._card = model, model.card
        self._numbers = [model.card.estimated.index(stem) for stem in stems]
        self._groups = channel_groups(n_channels, per_model=model.card.channels)
        bins = model.card.spectral.n_bins
        # Frames wait in memory order (channels, frames, bins), with silence before the first.
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
        """Run the model on the waiting chunk and return the first `n_frames` of its step."""
        step = self._card.step_frames
        stems = self._stems(self._waiting.transpose(0, 2, 1), n_frames)
        self._n_waiting -= step
        self._waiting[:, : self._n_waiting] = self._waiting[:, step:].copy()
        self._n_done += n_frames
        return stems

    def _stems(self, chunk: Complexes, n_frames: int) -> Complexes:
        """Run the model on every group of channels [shape=(stems, channels, bins, n_frames)]."""
        context = self._card.context_frames
        if self._groups == [tuple(range(len(chunk)))]:
            result = self._estimate(chunk)[..., :n_frames]
        else:
            result = np.empty((len(self._numbers), *chunk.shape[:2], n_frames), np.complex64)
            for group in self._groups:
                found = self._estimate(chunk[list(group)])
                for index, channel in enumerate(group):
                    result[:, channel] = found[:, index, :, :n_frames]
        if self._card.target == "instrumental":
            result = chunk[:, :, context : context + n_frames] - result
        return result

    def _estimate(self, chunk: Complexes) -> Complexes:
        found = self._model.estimate(chunk)
        return found[self._numbers] if self._card.stems else found[None]


class MaskEstimator:
    """Models that share a transform, blended frame by frame, at their own sampling rate.

    Parameters
    ----------
    models : Model, or sequence of (Model, float)
        The models of a blend with their shares; their transforms must be the same.
    n_channels : int
    wiener : WienerFilter, optional
        The filter after the models, if they estimate the vocals alone.
    stems : tuple of str
        What it estimates; every model must estimate them.
    """

    def __init__(
        self,
        models: Model | Sequence[tuple[Model, float]],
        *,
        n_channels: int,
        wiener: WienerFilter | None = None,
        stems: tuple[str, ...] = ("vocals",),
    ) -> None:
        parts = models if isinstance(models, Sequence) else [(models, 1.0)]
        spectral = parts[0][0].card.spectral
        self._name = "+".join(model.card.name for model, _ in parts)
        self._shares = [share for _, share in parts]
        self._chunks = [
            _ChunkRunner(model, n_channels=n_channels, stems=stems) for model, _ in parts
        ]
        self._shape = (len(stems), n_channels)
        self._analysis = Analysis(spectral, n_channels=n_channels)
        self._synthesis = Synthesis(spectral, n_channels=len(stems) * n_channels)
        self._filter: WienerStream | None = None
        if wiener is not None:
            self._filter = WienerStream(wiener, config=spectral, n_channels=n_channels)
        # One stream for each model, and a last one with the mixture for the filter.
        self._aligner = StreamAligner[np.complex64](len(parts) + (wiener is not None))
        self._n_samples = 0

    def prepare(self, block: Floats) -> Complexes:
        """Add samples [shape=(channels, n)] and return frames for `estimate`.

        It may run in another thread, ahead of `estimate`.
        """
        self._n_samples += block.shape[1]
        return self._analysis.push(block)

    def estimate(self, frames: Complexes) -> Floats:
        """Add frames [shape=(channels, bins, n)] and return the stems that are final."""
        return self._samples(self._estimates(frames, is_last=False))

    def finish(self) -> Floats:
        """Return the stems up to the last sample that was prepared."""
        frames = self._estimates(self._analysis.finish(), is_last=True)
        parts = [self._samples(frames)]
        if self._filter is not None:
            parts.append(self._samples(self._filter.finish()))
        last = self._synthesis.finish(self._n_samples)
        return np.concatenate([*parts, last.reshape(*self._shape, -1)], axis=2)

    def _estimates(self, frames: Complexes, *, is_last: bool) -> Complexes:
        """Return the frames that all models, and the filter, have completed.

        They are those of every channel of every stem [shape=(stems channels, bins, n)].
        """
        nothing = np.zeros((*self._shape, frames.shape[1], 0), np.complex64)
        for number, chunks in enumerate(self._chunks):
            done = [nothing, *chunks.push(frames), *(chunks.finish() if is_last else ())]
            for part in done:
                self._aligner.add(number, part.reshape(math.prod(self._shape), *part.shape[2:]))
        if self._filter is None:
            return blended(self._aligner.take(), self._shares)
        self._aligner.add(len(self._chunks), frames)
        *estimates, mixture = self._aligner.take()
        return self._filter.push(mixture, blended(estimates, self._shares))

    def _samples(self, frames: Complexes) -> Floats:
        samples = self._synthesis.push(frames)
        if not np.isfinite(samples).all():
            raise ModelError(f"{self._name}: the network gave NaN or infinity for this song")
        return samples.reshape(*self._shape, -1)


def blended(estimates: Sequence[Complexes], shares: Sequence[float]) -> Complexes:
    """Return the sum of arrays of one shape, each times its share."""
    if len(estimates) == 1 and shares[0] == 1.0:
        return estimates[0]
    total = np.zeros_like(estimates[0])
    for estimate, share in zip(estimates, shares, strict=True):
        total += estimate * np.float32(share)
    return total


class SegmentEstimator:
    """A model that sees segments, at its own sampling rate.

    Segments begin at multiples of the card's `advance_samples`, however the samples arrive. The
    estimates of successive segments overlap; a triangular window weights them. A segment at the
    song's end that is not whole stands in the middle of silence.

    Parameters
    ----------
    model : SegmentModel
    n_channels : int
    share : float
        Of a blend: a factor of the estimate.
    stems : tuple of str
        What it estimates; the model must estimate them.
    """

    def __init__(
        self,
        model: SegmentModel,
        *,
        n_channels: int,
        share: float = 1.0,
        stems: tuple[str, ...] = ("vocals",),
    ) -> None:
        card = model.card
        self._model, self._share, self._stems = model, np.float32(share), stems
        self._length, self._advance = card.segment_samples, card.advance_samples
        self._groups = channel_groups(n_channels, per_model=card.channels)
        self._waiting = np.zeros((n_channels, 0), np.float32)
        # Of the samples that wait: the weighted sum of the estimates so far, and of the weights.
        self._sum = np.zeros((len(stems), n_channels, self._length), np.float32)
        self._weights = np.zeros(self._length, np.float32)
        rise = np.arange(1, self._length // 2 + 1, dtype=np.float32)
        fall = np.arange(self._length - self._length // 2, 0, -1, dtype=np.float32)
        self._window: Floats = np.concatenate([rise, fall]) / fall[0]

    def prepare(self, block: Floats) -> Floats:
        return block

    def estimate(self, block: Floats) -> Floats:
        self._waiting = np.concatenate([self._waiting, block], axis=1)
        done = [self._sum[:, :, :0]]
        while self._waiting.shape[1] >= self._length:
            done.append(self._next(self._waiting[:, : self._length]))
        return np.concatenate(done, axis=2)

    def finish(self) -> Floats:
        done = [self._sum[:, :, :0]]
        while (n_left := self._waiting.shape[1]) > 0:
            done.append(self._next(self._waiting)[:, :, : min(n_left, self._advance)])
        return np.concatenate(done, axis=2)

    def _next(self, segment: Floats) -> Floats:
        """Run the model on a segment; return the `advance_samples` that are certain by now."""
        n_samples = segment.shape[1]
        before = (self._length - n_samples) // 2
        whole = np.pad(segment, ((0, 0), (before, self._length - n_samples - before)))
        estimate = np.empty((len(self._stems), *segment.shape), np.float32)
        for group in self._groups:
            found = self._model.estimate(whole[list(group)], self._stems)
            for index, channel in enumerate(group):
                estimate[:, channel] = found[:, index, before : before + n_samples]
        window = self._window[:n_samples]
        self._sum[:, :, :n_samples] += estimate * (window * self._share)
        self._weights[:n_samples] += window
        weights: Floats = np.maximum(self._weights[: self._advance], np.float32(1e-9))
        done: Floats = self._sum[:, :, : self._advance] / weights
        n_kept = self._length - self._advance
        for array in (self._sum, self._weights):
            array[..., :n_kept] = array[..., self._advance :].copy()
            array[..., n_kept:] = 0
        self._waiting = self._waiting[:, self._advance :]
        return done


class Resampled:
    """Runs an estimator at another sampling rate than its own.

    Parameters
    ----------
    inner : Estimator
    shape : (int, int)
        Number of stems and of channels.
    outer_hz, inner_hz : int
    """

    def __init__(
        self, inner: Estimator, *, shape: tuple[int, int], outer_hz: int, inner_hz: int
    ) -> None:
        self._inner, self._shape = inner, shape
        n_stems, n_channels = shape
        self._down = Resampler(n_channels, from_hz=outer_hz, to_hz=inner_hz)
        self._up = Resampler(n_stems * n_channels, from_hz=inner_hz, to_hz=outer_hz)
        self._nothing = np.zeros((n_channels, 0), np.float32)
        self._n_missing = 0

    def prepare(self, block: Floats) -> tuple[int, Any]:
        return block.shape[1], self._inner.prepare(self._down.process(block))

    def estimate(self, prepared: tuple[int, Any]) -> Floats:
        n_samples, inner = prepared
        samples = self._upsampled(self._inner.estimate(inner))
        self._n_missing += n_samples - samples.shape[2]
        return samples

    def finish(self) -> Floats:
        last = self._inner.prepare(self._down.process(self._nothing, last=True))
        rest = np.concatenate([self._inner.estimate(last), self._inner.finish()], axis=2)
        samples = self._upsampled(rest, last=True)[:, :, : self._n_missing]
        return np.pad(samples, ((0, 0), (0, 0), (0, self._n_missing - samples.shape[2])))

    def _upsampled(self, stems: Floats, *, last: bool = False) -> Floats:
        n_stems, n_channels = self._shape
        flat = self._up.process(stems.reshape(n_stems * n_channels, -1), last=last)
        return flat.reshape(n_stems, n_channels, -1)


class Summed:
    """Adds several estimators."""

    def __init__(self, estimators: Iterable[Estimator]) -> None:
        self._estimators = list(estimators)
        self._aligner = StreamAligner[np.float32](len(self._estimators))

    def prepare(self, block: Floats) -> list[Any]:
        return [estimator.prepare(block) for estimator in self._estimators]

    def estimate(self, prepared: list[Any]) -> Floats:
        return self._add(
            estimator.estimate(p) for estimator, p in zip(self._estimators, prepared, strict=True)
        )

    def finish(self) -> Floats:
        return self._add(estimator.finish() for estimator in self._estimators)

    def _add(self, blocks: Iterable[Floats]) -> Floats:
        total: Floats = np.add.reduce(self._aligner.step(*blocks))
        return total


class WienerFiltered:
    """Runs an estimator of the vocals, and then a Wiener filter with its own transform."""

    def __init__(
        self, inner: Estimator, settings: WienerFilter, *, config: SpectralConfig, n_channels: int
    ) -> None:
        self._inner = inner
        self._mixture = Analysis(config, n_channels=n_channels)
        self._vocals = Analysis(config, n_channels=n_channels)
        self._aligner = StreamAligner[np.complex64](2)
        self._filter = WienerStream(settings, config=config, n_channels=n_channels)
        self._synthesis = Synthesis(config, n_channels=n_channels)
        self._n_samples = 0

    def prepare(self, block: Floats) -> tuple[Any, Complexes]:
        self._n_samples += block.shape[1]
        return self._inner.prepare(block), self._mixture.push(block)

    def estimate(self, prepared: tuple[Any, Complexes]) -> Floats:
        inner, mixture = prepared
        vocals = self._vocals.push(self._inner.estimate(inner)[0])
        return self._synthesis.push(self._filter.push(*self._aligner.step(mixture, vocals)))[None]

    def finish(self) -> Floats:
        rest = self._vocals.push(self._inner.finish()[0])
        vocals = np.concatenate([rest, self._vocals.finish()], axis=2)
        certain = self._filter.push(*self._aligner.step(self._mixture.finish(), vocals))
        frames = np.concatenate([certain, self._filter.finish()], axis=2)
        samples = [self._synthesis.push(frames), self._synthesis.finish(self._n_samples)]
        return np.concatenate(samples, axis=1)[None]
