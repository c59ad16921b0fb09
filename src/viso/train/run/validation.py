"""Scores a network: the separator's own stream separates the validation songs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viso.dsp.masking import binary_mask, ratio_mask
from viso.dsp.stft import SpectralConfig
from viso.metrics import oracle, usdr
from viso.models.card import ModelCard
from viso.models.masknet import apply_graph
from viso.models.onnx import Model
from viso.separator import Separator
from viso.train.data.corpus import Corpus, Track

__all__ = ["Judge", "TorchModel"]

Floats = npt.NDArray[np.float32]

_LONGEST_S = 30.0


class TorchModel:
    """A torch network in the separator's `Model` protocol."""

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device) -> None:
        self._network, self._device = network, device
        self.card = card

    def _run(self, features: Floats, /) -> Floats:
        with torch.inference_mode():
            result: Tensor = self._network(torch.from_numpy(features).to(self._device))
        return result.float().cpu().numpy()

    def estimate(self, chunk: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
        """See `viso.models.onnx.Model.estimate`."""
        return apply_graph(self._run, chunk, card=self.card)


@dataclass(frozen=True)
class _Song:
    name: str
    vocals: Floats
    mixture: Floats


class Judge:
    """Scores models on the validation songs of a corpus: median vocals uSDR in decibels.

    Only songs with the levels of finished records count; of a long song only the middle 30 s.

    Parameters
    ----------
    corpus : Corpus
    baseline : mapping of str to float, optional
        Another system's vocals uSDR by song, in decibels.
    baseline_name : str
        Name of the other system.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        baseline: Mapping[str, float] | None = None,
        baseline_name: str = "baseline",
    ) -> None:
        self._corpus = corpus
        self._pairs = _pairs(corpus)
        self._baseline, self._baseline_name = dict(baseline or {}), baseline_name
        self._example: tuple[Floats, Floats] | None = None
        self.rate_hz = corpus.rate_hz
        self.n_songs = len(self._pairs)

    def score(self, model: Model) -> float | None:
        """Return the median over the songs, or None if there is no score.

        Parameters
        ----------
        model : Model
        """
        return _median(list(self.scores(model).values()))

    def scores(self, model: Model) -> dict[str, float]:
        """Return the vocals uSDR of every song in decibels, or nan if nobody sings.

        Parameters
        ----------
        model : Model
        """
        scores: dict[str, float] = {}
        for pair in self._pairs:
            song = self._read(*pair)
            estimate = self._estimate(model, song.mixture)
            if not scores:
                self._example = song.mixture, estimate
            scores[pair[0].song] = usdr(song.vocals, estimate)
        return scores

    def _estimate(self, model: Model, mixture: Floats) -> Floats:
        """Return a model's vocals at the corpus's rate."""
        return Separator(model).separate(mixture, rate_hz=self.rate_hz).vocals

    def references(self, spectral: SpectralConfig) -> dict[str, float]:
        """Return the medians to compare a score with.

        Parameters
        ----------
        spectral : SpectralConfig
            Transform for the ideal masks; they use the whole band of the corpus.

        Returns
        -------
        dict of str to float
            In decibels: the mixture taken as the vocals, the baseline (over the songs that it
            has; absent if it has fewer than half), the ideal binary mask and the ideal ratio mask.
        """
        rows: dict[str, list[float]] = {
            "mixture": [],
            self._baseline_name: [],
            "ideal binary mask": [],
            "ideal ratio mask": [],
        }
        spectral = _as_long(spectral, self.rate_hz)
        for pair in self._pairs:
            song = self._read(*pair)
            music = song.mixture - song.vocals
            rows["mixture"].append(usdr(song.vocals, song.mixture))
            rows[self._baseline_name].append(self._baseline.get(song.name, np.nan))
            for label, mask_of in (
                ("ideal binary mask", binary_mask),
                ("ideal ratio mask", ratio_mask),
            ):
                found = oracle(song.vocals, music, config=spectral, mask_of=mask_of)
                rows[label].append(usdr(song.vocals, found))
        known = rows[self._baseline_name]
        if 2 * int(np.isfinite(known).sum()) < len(known):
            del rows[self._baseline_name]
        medians = {label: _median(values) for label, values in rows.items()}
        return {label: value for label, value in medians.items() if value is not None}

    def example(self, seconds: float) -> list[tuple[str, Floats, npt.NDArray[np.uint8]]]:
        """Return name, sound and spectrogram of the stems of the first song in the last scoring.

        Parameters
        ----------
        seconds : float
            Length of the excerpt from its start.

        Returns
        -------
        list of (str, float32 array [shape=(channels, n)], uint8 array [shape=(bins, frames)])
            Low frequencies at the bottom of the picture, 80 dB from black to white.
        """
        if self._example is None:
            return []
        n_samples = int(seconds * self.rate_hz)
        mixture, vocals = (audio[:, :n_samples] for audio in self._example)
        sounds = {"vocals": vocals, "instrumental": mixture - vocals}
        return [(name, audio, _picture(audio)) for name, audio in sounds.items()]

    def _read(self, vocals: Track, music: Track) -> _Song:
        n_samples = min(vocals.n_samples, music.n_samples)
        most = int(_LONGEST_S * self._corpus.rate_hz)
        start = max(0, (n_samples - most) // 2)
        span = slice(start, min(start + most, n_samples))
        truth = self._corpus.read(vocals)[:, span]
        mixture = truth + self._corpus.read(music)[:, span]
        # Mono vocals go to both channels of a stereo mixture.
        truth = np.broadcast_to(truth, mixture.shape)
        return _Song(vocals.song.rsplit("/", 1)[-1], truth, mixture)


def _as_long(spectral: SpectralConfig, rate_hz: int) -> SpectralConfig:
    """Return a transform with the same lengths in seconds at a multiple of its rate."""
    factor = rate_hz // spectral.rate_hz
    sizes = {"n_fft": spectral.n_fft, "hop": spectral.hop, "window": spectral.window_length}
    lengths = {name: n * factor for name, n in sizes.items()}
    return SpectralConfig(rate_hz=rate_hz, window_type=spectral.window_type, **lengths)


def _median(scores: list[float]) -> float | None:
    known = [value for value in scores if not np.isnan(value)]
    return float(np.median(known)) if known else None


def _pairs(corpus: Corpus) -> list[tuple[Track, Track]]:
    tracks = [t for t in corpus.tracks if t.split == "valid" and t.release_level]
    music = {t.song: t for t in tracks if t.role == "instrumental"}
    voices = [t for t in tracks if t.role == "vocals" and t.song in music]
    return [(t, music[t.song]) for t in voices]


def _picture(audio: Floats) -> npt.NDArray[np.uint8]:
    n, hop = 1024, 256
    mono = np.pad(audio.mean(axis=0), n)
    frames = np.lib.stride_tricks.sliding_window_view(mono, n)[::hop]
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n), axis=1)).T + 1e-9)
    shade = np.clip((level - level.max() + 80) / 80, 0, 1)
    picture: npt.NDArray[np.uint8] = np.rint(shade[::-1] * 255).astype(np.uint8)
    return picture
