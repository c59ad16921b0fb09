"""Networks that see whole segments of a song: samples of a mixture in, samples of each stem out.

The graph is that of a hybrid transformer, HTDemucs (Rouard et al. 2023). It takes a segment of
samples and its spectrum, and gives both for each stem. The inverse of a stem's spectrum is added
to its samples. The transform is the original's: a Hann window, scaled by ``1 / sqrt(n_fft)``,
centred, with the segment padded by reflection; the highest bin and two frames at either end are
left out.

References
----------
S. Rouard, F. Massa and A. Defossez, "Hybrid Transformers for Music Source Separation", ICASSP
2023, arXiv:2211.08553.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from viso.dsp.stft import hann
from viso.errors import ModelError
from viso.models.card import SegmentCard
from viso.models.runtimes import open_session
from viso.models.session import Device, Session

__all__ = ["OnnxSegmentModel", "SegmentModel"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

_EDGE_FRAMES = 2  # of the transform, at either end, which the network does not see
_LOUDEST = 1000.0  # times the mixture; see `viso.models.onnx.LOUDEST`
_QUIETEST = 1e-8  # RMS below which a segment counts as silent


class SegmentModel(Protocol):
    """What the separator needs of a model that sees segments."""

    @property
    def card(self) -> SegmentCard:
        """How to feed it, and where it comes from."""
        ...

    def estimate(self, segment: Floats, stems: Sequence[str] = ("vocals",)) -> Floats:
        """Return stems of a segment.

        Parameters
        ----------
        segment : float32 array [shape=(card.channels, card.segment_samples)]
        stems : sequence of str
            Of `card.stems`.

        Returns
        -------
        float32 array [shape=(len(stems), card.channels, card.segment_samples)]
        """
        ...


class OnnxSegmentModel:
    """A network in an ONNX file that sees segments, run by ONNX Runtime.

    Pickled, it is the name of its file: unpickling opens that file again.

    Parameters
    ----------
    path, device, threads
        See `open_session`.
    session : Session, optional
        The file, if it is open already.

    Attributes
    ----------
    card : SegmentCard
    device : str
    sha256 : str

    Raises
    ------
    ModelError
        See `open_session`; also if the card does not fit the graph.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: Device = "auto",
        threads: int = 0,
        session: Session | None = None,
    ) -> None:
        self._session = session or open_session(path, device=device, threads=threads)
        card = self._session.card()
        if not isinstance(card, SegmentCard):
            raise ModelError(f"{path}: sees frames; open it with OnnxModel")
        self.path, self.card = path, card
        self.device, self.sha256 = self._session.device, self._session.sha256
        self._transform = _Transform(card)
        _check_sides(self._session, card)

    def __reduce__(self) -> tuple[Any, ...]:
        # A session cannot be pickled; another process opens the same file.
        return _reopened, (self.path.absolute(), self.sha256, *self._session.options)

    def estimate(self, segment: Floats, stems: Sequence[str] = ("vocals",)) -> Floats:
        """See `SegmentModel.estimate`."""
        level = float(np.sqrt(np.mean(np.square(segment, dtype=np.float64))))
        estimates = np.zeros((len(stems), *segment.shape), np.float32)
        if level < _QUIETEST:
            return estimates
        # The network was trained on sound of this level. It has its own norms inside, so a level
        # that differs from segment to segment costs nothing.
        scaled = segment / np.float32(level)
        spectrum = _as_channels(self._transform.forward(scaled))
        feeds = dict(zip(self.card.inputs, (scaled[None], spectrum[None]), strict=True))
        samples, spectra = self._session.run(feeds, self.card.outputs)
        n_stems, n_channels = len(self.card.stems), self.card.channels
        if samples.shape != (1, n_stems, *segment.shape) or spectra.shape != (
            1,
            n_stems,
            *spectrum.shape,
        ):
            raise ModelError(
                f"{self.path}: gave outputs of shape {samples.shape} and {spectra.shape}, which "
                "its card does not allow"
            )
        for index, stem in enumerate(stems):
            number = self.card.stems.index(stem)
            spectrum_of_stem = _as_complex(spectra[0, number], n_channels)
            np.add(
                self._transform.inverse(spectrum_of_stem), samples[0, number], out=estimates[index]
            )
        peak = float(np.abs(estimates).max())
        if not peak <= _LOUDEST * float(np.abs(scaled).max()):  # true of NaN, too
            loud = f"{peak:.3g} times as loud as the mixture"
            raise ModelError(
                f"{self.path}: its output is {loud if math.isfinite(peak) else 'NaN or infinite'}; "
                "the file is damaged, or its card does not fit"
            )
        estimates *= np.float32(level)
        return estimates


class _Transform:
    """The transform of a segment and its inverse."""

    def __init__(self, card: SegmentCard) -> None:
        self._n_fft, self._hop, self._n_frames = card.n_fft, card.hop, card.n_frames
        self._n_samples = card.segment_samples
        # As frames cover a hop each, the segment is padded at its beginning by less than a window.
        self._before = card.hop // 2 * 3
        self._after = self._before + card.n_frames * card.hop - card.segment_samples
        self._window = hann(card.n_fft)
        self._scale = np.float32(card.n_fft**-0.5)
        squares = np.zeros(card.n_fft + (card.n_frames + 2 * _EDGE_FRAMES - 1) * card.hop)
        for start in range(0, len(squares) - card.n_fft + 1, card.hop):
            squares[start : start + card.n_fft] += np.square(self._window, dtype=np.float64)
        self._inside = slice(
            card.n_fft // 2 + self._before, card.n_fft // 2 + self._before + card.segment_samples
        )
        self._squares = squares[self._inside].astype(np.float32)

    def forward(self, segment: Floats) -> Complexes:
        """Return the spectrum of a segment [shape=(channels, bins, frames)]."""
        padded = np.pad(segment, ((0, 0), (self._before, self._after)), mode="reflect")
        padded = np.pad(padded, ((0, 0), (self._n_fft // 2,) * 2), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._n_fft, axis=1)
        frames = windows[:, _EDGE_FRAMES * self._hop :: self._hop][:, : self._n_frames]
        bins = np.fft.rfft(frames * (self._window * self._scale), axis=2)
        spectrum: Complexes = bins[:, :, :-1].transpose(0, 2, 1).astype(np.complex64, copy=False)
        return spectrum

    def inverse(self, spectrum: Complexes) -> Floats:
        """Return the segment of a spectrum [shape=(channels, samples)]."""
        n_channels = len(spectrum)
        bins = np.zeros((n_channels, self._n_frames, self._n_fft // 2 + 1), np.complex64)
        bins[:, :, :-1] = spectrum.transpose(0, 2, 1)
        frames = np.fft.irfft(bins, self._n_fft, axis=2)
        frames = (frames * (self._window / self._scale)).astype(np.float32, copy=False)
        n_all = self._n_frames + 2 * _EDGE_FRAMES
        audio = np.zeros((n_channels, self._n_fft + (n_all - 1) * self._hop), np.float32)
        for number in range(self._n_frames):
            start = (number + _EDGE_FRAMES) * self._hop
            audio[:, start : start + self._n_fft] += frames[:, number]
        return audio[:, self._inside] / self._squares


def _as_channels(spectrum: Complexes) -> Floats:
    """Return real and imaginary part of each channel in turn [shape=(2 channels, bins, frames)]."""
    pairs = np.stack([spectrum.real, spectrum.imag], axis=1)
    return np.ascontiguousarray(pairs.reshape(-1, *spectrum.shape[1:]), np.float32)


def _as_complex(parts: Floats, n_channels: int) -> Complexes:
    pairs = parts.reshape(n_channels, 2, *parts.shape[1:])
    spectrum = np.empty((n_channels, *parts.shape[1:]), np.complex64)
    spectrum.real, spectrum.imag = pairs[:, 0], pairs[:, 1]
    return spectrum


def _check_sides(session: Session, card: SegmentCard) -> None:
    """Compare the graph's declared shapes with what the card promises."""
    spectrum = (2 * card.channels, card.n_fft // 2, card.n_frames)
    samples = (card.channels, card.segment_samples)
    n_stems = len(card.stems)
    expected = (
        (session.inputs, card.inputs, ((1, *samples), (1, *spectrum))),
        (session.outputs, card.outputs, ((1, n_stems, *samples), (1, n_stems, *spectrum))),
    )
    for sides, names, shapes in expected:
        by_name = {side.name: side for side in sides}
        for name, shape in zip(names, shapes, strict=True):
            side = by_name.get(name)
            if side is None:
                raise ModelError(f"{session.path}: card does not fit: the graph has no {name!r}")
            fits = len(side.shape) == len(shape) and all(
                not isinstance(size, int) or size == wanted
                for size, wanted in zip(side.shape, shape, strict=True)
            )
            if side.type != "tensor(float)" or not fits:
                raise ModelError(
                    f"{session.path}: card does not fit: the graph's {name!r} is {side.type} "
                    f"{list(side.shape)}, the card says float32 {list(shape)}"
                )


def _reopened(path: Path, sha256: str, device: Device, threads: int) -> OnnxSegmentModel:
    """Open a pickled model's file again.

    Raises
    ------
    ModelError
        See `OnnxSegmentModel`; also if it is another file by now.
    """
    model = OnnxSegmentModel(path, device=device, threads=threads)
    if model.sha256 != sha256:
        raise ModelError(f"{path}: is another file than when it was pickled; load it anew")
    return model
