"""The norm of a song: mean 0 and variance 1 in every channel, over the frames with sound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SongNorm"]

_EPSILON = 1e-5


class SongNorm(nn.Module):
    """Normalises every channel of every song to mean 0 and variance 1, over frames with sound.

    Sums are in float32 even if the input is bfloat16.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, heard: Tensor | None) -> Tensor:
        """Normalise.

        Parameters
        ----------
        x : Tensor [shape=(batch, channels, frames, bands)]
        heard : Tensor [shape=(batch, 1, frames)], optional
            The weight of each frame; the weights sum to 1. None: all weights are equal.

        Returns
        -------
        Tensor [shape=(batch, channels, frames, bands)]
        """
        if heard is None:
            return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=_EPSILON)
        if self.training:
            normed: Tensor = _Weighted.apply(x, heard, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return normed
        mean, variance = _moments(x.to(_wide(x)), heard)
        factor = self.weight * torch.rsqrt(variance + _EPSILON)
        offset = self.bias - mean * factor
        return x * factor[:, :, None, None] + offset[:, :, None, None]


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _moments(x: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [shape=(batch, channels)], frames weighted by `heard`."""
    mean = (x.mean(dim=3) * heard).sum(dim=2)
    power = torch.linalg.vector_norm(x, dim=3, dtype=_wide(x)).square() / x.shape[3]
    variance = ((power * heard).sum(dim=2) - mean.square()).clamp_min(0)
    return mean, variance


class _Weighted(torch.autograd.Function):
    """The same norm with its own gradient, which needs fewer passes over `x` than autograd.

    Let y = w (x - mean) / s + b with the standard deviation s, and let g be the gradient at y. Then

        dx = w / s (g - heard / bands (sum g + (x - mean) / s sum g (x - mean) / s))
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, heard: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Near zero, a mean rounded to bfloat16 does not harm the variance.
        about = x.mean(dim=(2, 3))
        mean, variance = _moments(x - about[:, :, None, None], heard)
        mean = mean + about
        ctx.save_for_backward(x, heard, weight, mean, variance)
        songs = x.shape[0]
        rows = functional.batch_norm(
            x.reshape(1, -1, *x.shape[2:]),
            mean.flatten(),
            variance.flatten(),
            weight.repeat(songs),
            bias.repeat(songs),
            eps=_EPSILON,
        )
        return rows.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        x, heard, weight, mean, variance = ctx.saved_tensors
        g = gradients[0].contiguous()
        narrow = torch.rsqrt(variance + _EPSILON)
        sums = g.sum(dim=(2, 3), dtype=mean.dtype)
        products = (g * x).sum(dim=(2, 3), dtype=mean.dtype)
        along = narrow * (products - mean * sums)
        factor = weight * narrow
        share = heard / x.shape[3]
        slope = -share * (factor * narrow * along)[:, :, None]
        level = -share * (factor * (sums - mean * narrow * along))[:, :, None]
        slope, level, factor = (part.to(x.dtype) for part in (slope, level, factor))
        dx = (x * slope[..., None]).add_(level[..., None])
        dx.addcmul_(g, factor[:, :, None, None])
        return dx, None, along.sum(dim=0), sums.sum(dim=0)
