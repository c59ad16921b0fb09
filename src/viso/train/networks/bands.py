"""Bands of frequency: one bin each at low frequencies, where voices are, and wide above."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Bands"]


class Bands(nn.Module):
    """Sums bins into adjacent bands, and spreads masks of bands over their bins.

    Parameters
    ----------
    segments : sequence of (int, int)
        From the lowest bin up: a number of bands, and the number of bins in each.
    """

    def __init__(self, segments: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.segments = segments
        widths = [width for count, width in segments for _ in range(count)]
        self.n_bands, self.n_bins = len(widths), sum(widths)
        self.width: Tensor
        self.register_buffer("width", torch.tensor(widths, dtype=torch.float32), persistent=False)

    def sums(self, values: Tensor) -> Tensor:
        """Sum the bins of each band: (..., bins) to (..., bands); bins above are left out."""
        parts, first = [], 0
        for count, width in self.segments:
            part = values[..., first : first + count * width]
            first += count * width
            if width > 1:
                part = part.reshape(*part.shape[:-1], count, width).sum(dim=-1)
            parts.append(part)
        return torch.cat(parts, dim=-1)

    def spread(self, mask: Tensor) -> Tensor:
        """Copy each band's value to its bins: (..., bands) to (..., bins)."""
        parts, first = [], 0
        for count, width in self.segments:
            part = mask[..., first : first + count]
            first += count
            if width > 1:
                part = part[..., None].expand(*part.shape, width).flatten(-2)
            parts.append(part)
        return torch.cat(parts, dim=-1)
