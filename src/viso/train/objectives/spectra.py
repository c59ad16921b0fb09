"""Transforms batches of audio to the separator's frames, in torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig

__all__ = ["Spectra", "rotated"]


class Spectra(nn.Module):
    """Transforms audio to real and imaginary parts of spectra, the same as `viso.dsp.stft`.

    Parameters
    ----------
    spectral : SpectralConfig
    """

    def __init__(self, spectral: SpectralConfig) -> None:
        super().__init__()
        self.spectral = spectral
        self.window: Tensor
        make = torch.hann_window if spectral.window_type == "hann" else torch.ones
        window = make(spectral.window_length)
        self.register_buffer("window", window, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Transform (batch, channels, samples) to (batch, channels, frames, bins, 2)."""
        frames = torch.stft(
            audio.flatten(0, 1),
            self.spectral.n_fft,
            self.spectral.hop,
            self.spectral.window_length,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        parts = torch.view_as_real(frames.transpose(1, 2))
        return parts.reshape(*audio.shape[:2], *parts.shape[1:])


def rotated(audio: Tensor) -> Tensor:
    """Convert left and right to mid and side [shape=(batch, 2, samples) for both]."""
    left, right = audio[:, 0], audio[:, 1]
    return torch.stack([left + right, left - right], dim=1) * math.sqrt(0.5)
