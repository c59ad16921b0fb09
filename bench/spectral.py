"""How fast the transform is: one transform and two inverses, as a separation needs them.

    python bench/spectral.py

Prints the speed in times real time, ours beside torch's (with one and with all threads) in
the same run, 44.1 kHz stereo, FFT 4096, hop 1024, in the blocks that the separator uses.
"""

from __future__ import annotations

import time

import numpy as np

from viso.dsp.stft import Analysis, SpectralConfig, Synthesis

CONFIG = SpectralConfig()
SECONDS = 30.0
BLOCK = 65_536


def ours(audio: np.ndarray) -> None:
    """One streaming transform, two streaming inverses."""
    analysis = Analysis(CONFIG, n_channels=2)
    inverses = [Synthesis(CONFIG, n_channels=2) for _ in range(2)]
    for start in range(0, audio.shape[1], BLOCK):
        frames = analysis.push(audio[:, start : start + BLOCK])
        for inverse in inverses:
            inverse.push(frames)
    frames = analysis.finish()
    for inverse in inverses:
        inverse.push(frames)
        inverse.finish(audio.shape[1])


def speed(work: object, audio: np.ndarray, repeats: int = 7) -> tuple[float, float]:
    """Median and best speed in times real time."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work(audio)  # type: ignore[operator]
        took.append(time.perf_counter() - began)
    return SECONDS / float(np.median(took)), SECONDS / min(took)


def main() -> None:
    """Measure and print."""
    audio = np.random.default_rng(0).standard_normal((2, int(SECONDS * 44_100)), np.float32)
    median, best = speed(ours, audio)
    print(f"numpy, streaming, 1 thread: {median:.0f}x (best {best:.0f}x)")
    try:
        import torch
    except ModuleNotFoundError:
        return
    window = torch.hann_window(CONFIG.n_fft)

    def theirs(signal: np.ndarray) -> None:
        frames = torch.stft(
            torch.from_numpy(signal),
            CONFIG.n_fft,
            CONFIG.hop,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        for _ in range(2):
            torch.istft(frames, CONFIG.n_fft, CONFIG.hop, window=window, length=signal.shape[1])

    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        median, best = speed(theirs, audio)
        print(f"torch, whole, {threads} threads: {median:.0f}x (best {best:.0f}x)")


if __name__ == "__main__":
    main()
