"""Reduces the sampling rate of a batch: filters it and keeps every second or third sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.train.data.mixer import Batch

__all__ = ["Decimator"]

# Kaiser's beta of 8 lowers aliases by 80 dB; the lower 0.94 of the new band does not change.
_TAPS_A_SAMPLE = 96
_BETA = 8.0


class Decimator(nn.Module):
    """Filters a batch and keeps every `factor`-th sample.

    Parameters
    ----------
    from_hz, to_hz : int
        The first is a multiple of the second; equal rates leave a batch as it is.

    Attributes
    ----------
    factor : int
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        super().__init__()
        self.factor = from_hz // to_hz
        half = self.factor * _TAPS_A_SAMPLE // 2
        place = torch.arange(-half, half + 1, dtype=torch.float64)
        window = torch.kaiser_window(2 * half + 1, periodic=False, beta=_BETA, dtype=torch.float64)
        # Half of the transition is above the new band and folds into its highest twentieth.
        taps = torch.sinc(place / self.factor) * window
        self.taps: Tensor
        self.register_buffer("taps", (taps / taps.sum()).float()[None, None], persistent=False)

    def forward(self, batch: Batch) -> Batch:
        """Return the batch at the lower rate; its sample k is the old sample ``k * factor``."""
        if self.factor == 1:
            return batch
        return Batch(self._few(batch.vocals), self._few(batch.instrumental), batch.bandwidth_hz)

    def _few(self, audio: Tensor) -> Tensor:
        n_samples = audio.shape[2]
        filtered = functional.conv1d(
            audio.reshape(-1, 1, n_samples), self.taps, stride=self.factor,
            padding=self.taps.shape[2] // 2,
        )  # fmt: skip
        return filtered.view(*audio.shape[:2], -1)
