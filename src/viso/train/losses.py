"""The loss of the seed's design: cross-entropy against the smoothed ideal binary mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["binary_target", "mask_cross_entropy"]


def binary_target(vocals: Tensor, instrumental: Tensor, *, smoothing: float) -> Tensor:
    """Return the ideal binary mask, drawn in from 0 and 1 by `smoothing`.

    Parameters
    ----------
    vocals, instrumental : Tensor
        Magnitudes of one shape.
    smoothing : float
        0.02 gives 0.02 and 0.98, the paper's values.

    Returns
    -------
    Tensor of that shape
    """
    mask = (vocals > instrumental).to(vocals.dtype)
    return mask * (1 - 2 * smoothing) + smoothing


def mask_cross_entropy(
    logits: Tensor, target: Tensor, mixture: Tensor, allowed: Tensor, *, power: float
) -> Tensor:
    """Return the mean cross-entropy, loud bands counting for more.

    Parameters
    ----------
    logits, target, mixture : Tensor [shape=(batch, channels, frames, bands)]
        `mixture` holds magnitudes; each counts with ``(m / mean m) ** power``.
    allowed : Tensor [shape=(batch, 1, 1, bands)]
        1 where the sources have a say, 0 above their bandwidth.
    power : float
        0 weighs all bands alike, as the paper does.

    Returns
    -------
    Tensor
        A scalar: weighted mean per song, then mean over the batch.
    """
    if not logits.shape == target.shape == mixture.shape:
        raise AssertionError(f"{logits.shape}, {target.shape} and {mixture.shape} must be equal")
    dims = (1, 2, 3)
    weight = (mixture / (mixture.mean(dim=dims, keepdim=True) + 1e-12)) ** power * allowed
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return torch.mean((each * weight).sum(dim=dims) / (weight.sum(dim=dims) + 1e-12))
