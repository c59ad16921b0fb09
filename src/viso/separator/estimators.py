"""What becomes of a song between its samples and those of its vocals, put together from stages.

All stages are a `Voice`: samples in, samples of the vocals out, later, as many, in any portions.
Models that share a transform are one `VocalStream`; if all do, that is the whole of it::

    song's rate -> models' rate -> frames -> models, blended -> Wiener filter -> samples -> back

Others are blended sample by sample, at the highest of their rates, and the Wiener filter has
frames of its own, those of the first model of that rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from viso.audio import Resampler
from viso.dsp.stft import Analysis, SpectralConfig, Synthesis
from viso.models.blend import Blend
from viso.models.onnx import Model
from viso.separator.align import Lockstep
from viso.separator.stream import VocalStream
from viso.separator.wiener_stream import WienerFilter, WienerStream

__all__ = ["Voice", "voice_of"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]


class Voice(Protocol):
    """Samples of a mixture in, as many of its vocals out."""

    def analyse(self, block: Floats) -> Any:
        """Take samples [shape=(channels, n)], return what `advance` takes.

        May run in another thread, ahead of it.
        """
        ...

    def advance(self, analysed: Any) -> Floats:
        """Return the vocals that are certain by now [shape=(channels, n)]."""
        ...

    def finish(self) -> Floats:
        """Return the vocals up to the last sample that was taken."""
        ...


def voice_of(
    blend: Blend, *, rate_hz: int, n_channels: int, wiener: WienerFilter | None = None
) -> Voice:
    """Return the way through the models of a blend for a song of this rate.

    Parameters
    ----------
    blend : Blend
    rate_hz : int
    n_channels : int
    wiener : WienerFilter, optional
        Behind the models.
    """
    groups: dict[SpectralConfig, list[tuple[Model, float]]] = {}
    for model, share in zip(blend.models, blend.shares, strict=True):
        groups.setdefault(model.card.spectral, []).append((model, share))
    main = max(groups, key=lambda config: config.rate_hz)
    voice: Voice
    if len(groups) == 1:
        voice = VocalStream(groups[main], n_channels=n_channels, wiener=wiener)
    else:
        voice = _Sum(
            _AtRate(
                VocalStream(models, n_channels=n_channels),
                n_channels=n_channels,
                outer_hz=main.rate_hz,
                inner_hz=config.rate_hz,
            )
            for config, models in groups.items()
        )
        if wiener is not None:
            voice = _Filtered(voice, wiener, config=main, n_channels=n_channels)
    return _AtRate(voice, n_channels=n_channels, outer_hz=rate_hz, inner_hz=main.rate_hz)


class _AtRate:
    """A voice at another sampling rate than its own."""

    def __init__(self, inner: Voice, *, n_channels: int, outer_hz: int, inner_hz: int) -> None:
        self._inner = inner
        self._down = Resampler(n_channels, from_hz=outer_hz, to_hz=inner_hz)
        self._up = Resampler(n_channels, from_hz=inner_hz, to_hz=outer_hz)
        self._nothing = np.zeros((n_channels, 0), np.float32)
        self._n_missing = 0

    def analyse(self, block: Floats) -> tuple[int, Any]:
        return block.shape[1], self._inner.analyse(self._down.process(block))

    def advance(self, analysed: tuple[int, Any]) -> Floats:
        n_samples, inner = analysed
        samples = self._up.process(self._inner.advance(inner))
        self._n_missing += n_samples - samples.shape[1]
        return samples

    def finish(self) -> Floats:
        last = self._inner.analyse(self._down.process(self._nothing, last=True))
        rest = np.concatenate([self._inner.advance(last), self._inner.finish()], axis=1)
        samples = self._up.process(rest, last=True)[:, : self._n_missing]
        return np.pad(samples, ((0, 0), (0, self._n_missing - samples.shape[1])))


class _Sum:
    """Some voices together."""

    def __init__(self, voices: Iterable[Voice]) -> None:
        self._voices = list(voices)
        self._together = Lockstep[np.float32](len(self._voices))

    def analyse(self, block: Floats) -> list[Any]:
        return [voice.analyse(block) for voice in self._voices]

    def advance(self, analysed: list[Any]) -> Floats:
        return self._add(voice.advance(a) for voice, a in zip(self._voices, analysed, strict=True))

    def finish(self) -> Floats:
        return self._add(voice.finish() for voice in self._voices)

    def _add(self, pieces: Iterable[Floats]) -> Floats:
        total: Floats = np.add.reduce(self._together.step(*pieces))
        return total


class _Filtered:
    """A voice with a Wiener filter behind it, in frames of its own."""

    def __init__(
        self, inner: Voice, settings: WienerFilter, *, config: SpectralConfig, n_channels: int
    ) -> None:
        self._inner = inner
        self._mixture = Analysis(config, n_channels=n_channels)
        self._vocals = Analysis(config, n_channels=n_channels)
        self._together = Lockstep[np.complex64](2)
        self._filter = WienerStream(settings, config=config, n_channels=n_channels)
        self._synthesis = Synthesis(config, n_channels=n_channels)
        self._n_samples = 0

    def analyse(self, block: Floats) -> tuple[Any, Complexes]:
        self._n_samples += block.shape[1]
        return self._inner.analyse(block), self._mixture.push(block)

    def advance(self, analysed: tuple[Any, Complexes]) -> Floats:
        inner, mixture = analysed
        vocals = self._vocals.push(self._inner.advance(inner))
        return self._synthesis.push(self._filter.push(*self._together.step(mixture, vocals)))

    def finish(self) -> Floats:
        rest = self._vocals.push(self._inner.finish())
        vocals = np.concatenate([rest, self._vocals.finish()], axis=2)
        certain = self._filter.push(*self._together.step(self._mixture.finish(), vocals))
        frames = np.concatenate([certain, self._filter.finish()], axis=2)
        samples = [self._synthesis.push(frames), self._synthesis.finish(self._n_samples)]
        return np.concatenate(samples, axis=1)
