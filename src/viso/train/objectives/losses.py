"""Losses: cross-entropy against the ideal binary mask, and the error of masked spectra."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "band_residual",
    "binary_target",
    "complex_band_residual",
    "magnitude_share",
    "mask_cross_entropy",
    "regional_residual_db",
    "residual_db",
]

_CLEAN = 1e-3  # smaller shares of energy do not count


def binary_target(vocals: Tensor, instrumental: Tensor, *, smoothing: float) -> Tensor:
    """Return the ideal binary mask, with `smoothing` and 1 - `smoothing` in place of 0 and 1.

    Parameters
    ----------
    vocals, instrumental : Tensor
        Magnitudes of the same shape.
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
    """Return the mean cross-entropy, with more weight on loud bands.

    Parameters
    ----------
    logits, target, mixture : Tensor [shape=(batch, channels, frames, bands)]
        `mixture` holds magnitudes m; the weight of each is ``(m / mean m) ** power``.
    allowed : Tensor [shape=(batch, 1, 1, bands)]
        1 within the bandwidth of the sources, 0 above it.
    power : float
        0 gives all bands the same weight, as in the paper.

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


def band_residual(
    mask: Tensor, mixture_power: Tensor, vocal_power: Tensor, shared: Tensor
) -> Tensor:
    """Return the energy of the difference between masked bands and the vocals.

    A factor m for a whole band of bins leaves ``sum |m x - v|^2``, which is

        ``m^2 sum |x|^2 - 2 m sum Re(v x*) + sum |v|^2``

    So three sums a band give the complex residual exactly, including phases. The best m is the
    phase-sensitive mask of Erdogan et al. 2015 (there with a factor a bin).

    Parameters
    ----------
    mask, mixture_power, vocal_power, shared : Tensor [shape=(batch, channels, frames, bands)]
        `shared` is ``sum Re(v x*)``.

    Returns
    -------
    Tensor of that shape, not negative
    """
    if not mask.shape == mixture_power.shape == vocal_power.shape == shared.shape:
        raise AssertionError(f"{mask.shape}, {mixture_power.shape}, {vocal_power.shape} differ")
    return (mask.square() * mixture_power - 2 * mask * shared + vocal_power).clamp_min(0)


def complex_band_residual(
    mask: tuple[Tensor, Tensor],
    mixture_power: Tensor,
    vocal_power: Tensor,
    shared: tuple[Tensor, Tensor],
) -> Tensor:
    """Return the result of `band_residual` for a complex factor m in each band.

    ``sum |m x - v|^2 = |m|^2 sum |x|^2 - 2 Re(m* sum v x*) + sum |v|^2``

    Parameters
    ----------
    mask, shared : pairs of Tensor [shape=(batch, channels, frames, bands)]
        Real and imaginary parts of m, and of ``sum v x*``.
    mixture_power, vocal_power : Tensor of that shape

    Returns
    -------
    Tensor of that shape, not negative
    """
    if not mask[0].shape == mixture_power.shape == vocal_power.shape == shared[0].shape:
        raise AssertionError(f"{mask[0].shape}, {mixture_power.shape}, {vocal_power.shape} differ")
    power = mask[0].square() + mask[1].square()
    product = mask[0] * shared[0] + mask[1] * shared[1]
    return (power * mixture_power - 2 * product + vocal_power).clamp_min(0)


def residual_db(
    residual: Tensor, mixture_power: Tensor, allowed: Tensor, *, floor: float = _CLEAN
) -> Tensor:
    """Return the residual's energy over the mixture's in decibels, mean over the batch.

    For a given song this is its negative SDR plus a constant, so training and evaluation measure
    the same. Without vocals it is the leak of the music into the vocals.

    Parameters
    ----------
    residual, mixture_power : Tensor [shape=(batch, channels, frames, bands)]
    allowed : Tensor [shape=(batch, 1, 1, bands)]
        1 within the bandwidth of the sources, 0 above it.
    floor : float
        Smaller shares of energy do not count: they are clean enough.

    Returns
    -------
    Tensor
        A scalar.
    """
    if residual.shape != mixture_power.shape:
        raise AssertionError(f"{residual.shape} and {mixture_power.shape} must be equal")
    dims = (1, 2, 3)
    share = (residual * allowed).sum(dim=dims) / ((mixture_power * allowed).sum(dim=dims) + 1e-9)
    return torch.mean(10 * torch.log10(share + floor))


def regional_residual_db(
    residual: Tensor, mixture_power: Tensor, allowed: Tensor, regions: Tensor
) -> Tensor:
    """Return the mean of `residual_db` over regions of frequency.

    Nearly all energy of a voice is below 2.5 kHz: over all bands together, its consonants and its
    brightness hardly count.

    Parameters
    ----------
    residual, mixture_power : Tensor [shape=(batch, channels, frames, bands)]
    allowed : Tensor [shape=(batch, 1, 1, bands)]
    regions : Tensor [shape=(regions, bands)]
        1 in the bands of each region, 0 elsewhere. The mean of a song leaves out regions without
        allowed bands.

    Returns
    -------
    Tensor
        A scalar.
    """
    # Sum over channels and frames first: the rest is then small.
    left, whole = ((x * allowed).sum(dim=(1, 2)) @ regions.T for x in (residual, mixture_power))
    says = ((allowed[:, 0, 0] @ regions.T) > 0).to(left.dtype)
    level = 10 * torch.log10(left / (whole + 1e-9) + _CLEAN)
    return torch.mean((level * says).sum(dim=1) / says.sum(dim=1).clamp_min(1))


def magnitude_share(estimate: Tensor, target: Tensor, mixture: Tensor, allowed: Tensor) -> Tensor:
    """Return the squared error of magnitudes over the mixture's energy, mean over the batch.

    Loud and quiet chunks have the same weight.

    Parameters
    ----------
    estimate, target, mixture : Tensor [shape=(batch, channels, frames, bins)]
        Magnitudes.
    allowed : Tensor [shape=(batch, 1, 1, bins)]
        1 within the bandwidth of the sources, 0 above it.

    Returns
    -------
    Tensor
        A scalar.
    """
    if not estimate.shape == target.shape == mixture.shape:
        raise AssertionError(f"{estimate.shape}, {target.shape}, {mixture.shape} must be equal")
    dims = (1, 2, 3)
    wrong = ((estimate - target).square() * allowed).sum(dim=dims)
    return torch.mean(wrong / ((mixture.square() * allowed).sum(dim=dims) + 1e-9))
