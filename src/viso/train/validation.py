"""How good a network is: whole validation songs through the separator's own stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viso.config import ModelCard
from viso.metrics import usdr
from viso.model import Model, apply_graph
from viso.separator.stream import VocalStream
from viso.train.corpus import Corpus, Track

__all__ = ["TorchModel", "score"]

_LONGEST_S = 30.0


class TorchModel:
    """A torch network in the separator's `Model` protocol."""

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device) -> None:
        self._network, self._device = network, device
        self.card = card

    def _run(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            result: Tensor = self._network(torch.from_numpy(features).to(self._device))
        return result.cpu().numpy()

    def estimate(self, chunk: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
        """See `viso.model.Model.estimate`."""
        return apply_graph(self._run, chunk, card=self.card)


def score(model: Model, corpus: Corpus) -> float | None:
    """Return the median vocals uSDR over the validation songs, in decibels.

    Only songs with the levels of finished records count; of long ones the middle 30 s.

    Parameters
    ----------
    model : Model
        At the corpus's sampling rate.
    corpus : Corpus

    Returns
    -------
    float or None
        None if there is no song to judge by.
    """
    scores = [_song_score(model, corpus, *pair) for pair in _pairs(corpus)]
    known = [value for value in scores if not np.isnan(value)]
    return float(np.median(known)) if known else None


def _pairs(corpus: Corpus) -> list[tuple[Track, Track]]:
    tracks = [t for t in corpus.tracks if t.split == "valid" and t.release_level]
    music = {t.song: t for t in tracks if t.role == "instrumental"}
    voices = [t for t in tracks if t.role == "vocals" and t.song in music]
    return [(t, music[t.song]) for t in voices]


def _song_score(model: Model, corpus: Corpus, vocals: Track, music: Track) -> float:
    n_samples = min(vocals.n_samples, music.n_samples)
    most = int(_LONGEST_S * corpus.rate_hz)
    start = max(0, (n_samples - most) // 2)
    span = slice(start, min(start + most, n_samples))
    truth = corpus.read(vocals)[:, span]
    mixture = truth + corpus.read(music)[:, span]
    # Mono vocals stand on both sides of a stereo mixture.
    truth = np.broadcast_to(truth, mixture.shape)
    stream = VocalStream(model, n_channels=mixture.shape[0])
    parts = [stream.push(mixture), stream.finish()]
    return usdr(truth, np.concatenate(parts, axis=1))
