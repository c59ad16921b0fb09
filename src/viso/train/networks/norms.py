"""The norm of a song: mean 0 and variance 1 in every channel, over the frames that are heard."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SongNorm"]

_EPSILON = 1e-5


class SongNorm(nn.Module):
    """Mean 0 and variance 1 in every channel of every song, over the frames that are heard.

    Sums are taken in float32 also where the input is bfloat16.

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
            What each frame weighs, 1 in all. None: all alike.

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
    """Return mean and variance [shape=(batch, channels)] over the frames that are heard."""
    mean = (x.mean(dim=3) * heard).sum(dim=2)
    power = torch.linalg.vector_norm(x, dim=3, dtype=_wide(x)).square() / x.shape[3]
    variance = ((power * heard).sum(dim=2) - mean.square()).clamp_min(0)
    return mean, variance


class _Weighted(torch.autograd.Function):
    """The same with a gradient of its own: fewer passes over `x` than autograd makes.

    With y = w (x - mean) / s + b, s the deviation, and g the gradient at y,

        dx = w / s (g - heard / bands (sum g + (x - mean) / s sum g (x - mean) / s))
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, heard: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # About zero a mean that is rounded to bfloat16 does no harm to the variance.
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
