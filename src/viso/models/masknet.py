"""Runs one chunk of a song through a bare network as the model's card specifies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from viso.models.card import ModelCard

__all__ = ["Graph", "apply_graph"]

Complexes = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float32]


class Graph(Protocol):
    """A network as a function of one float32 array."""

    def __call__(self, features: Floats, /) -> Floats:
        """Return the network's output for one batch."""
        ...


# Frames processed at a time outside the network: these fit in the cache.
_AT_ONCE = 32
_HALF_POWER = np.float32(np.sqrt(0.5))


def _slices(n_frames: int) -> Iterator[slice]:
    return (slice(first, min(n_frames, first + _AT_ONCE)) for first in range(0, n_frames, _AT_ONCE))


def _rotated(frames: Complexes) -> Complexes:
    """Return left and right as mid and side, or back: the matrix is its own inverse."""
    rotated = np.empty_like(frames)
    np.add(frames[0], frames[1], out=rotated[0])
    np.subtract(frames[0], frames[1], out=rotated[1])
    rotated *= _HALF_POWER
    return rotated


def _features(seen: Complexes, card: ModelCard) -> Floats:
    """Return the graph's input for a chunk [shape=(channels, bins, frames)]."""
    is_complex = card.input == "complex"
    n_channels, n_bins, n_frames = seen.shape
    features = np.empty((n_channels * (1 + is_complex), n_frames, n_bins), np.float32)
    if card.axes == "bins-frames":
        features = np.empty((len(features), n_bins, n_frames), np.float32).transpose(0, 2, 1)
    for part in _slices(n_frames):
        frames = seen[:, :, part].transpose(0, 2, 1)
        if card.basis == "mid-side":
            frames = _rotated(frames)
        if is_complex:
            features[0::2, part], features[1::2, part] = frames.real, frames.imag
        else:
            np.abs(frames, out=features[:, part])
    return features if card.axes == "frames-bins" else features.transpose(0, 2, 1)


def _above(factor: Floats, card: ModelCard) -> Floats:
    """Return the factor for bins that the network does not see [shape=(channels, 1, frames)]."""
    if card.above == "average":
        average: Floats = factor.mean(axis=1, keepdims=True)
        return average
    highest = factor[:, -1:]
    return highest if card.above == "highest" else np.zeros_like(highest)


def _masked(frames: Complexes, mask: Floats, card: ModelCard) -> Complexes:
    """Return frames [shape=(channels, bins, frames)] times a mask of their lowest bins.

    With masks of mid and side, left and right are each a sum: half the sum of the masks times
    the channel itself, plus half their difference times the other channel.
    """
    estimate = np.empty_like(frames)
    bins = mask.shape[1]
    if card.gain != 1.0:
        mask = mask * np.float32(card.gain)
    for part in _slices(frames.shape[2]):
        now, out, factor = frames[:, :, part], estimate[:, :, part], mask[:, :, part]
        if card.basis == "mid-side":
            factor = np.stack([factor[0] + factor[1], factor[0] - factor[1]]) * np.float32(0.5)
        for own, above in ((slice(bins), factor), (slice(bins, None), _above(factor, card))):
            if card.basis == "mid-side":
                np.multiply(now[:, own], above[:1], out=out[:, own])
                out[:, own] += now[::-1, own] * above[1:]
            else:
                np.multiply(now[:, own], above, out=out[:, own])
    return estimate


def apply_graph(graph: Graph, chunk: Complexes, *, card: ModelCard) -> Complexes:
    """Run one chunk through a network as its card specifies.

    Parameters
    ----------
    graph : callable
        Takes and returns a float32 array with a leading batch axis of 1.
    chunk : complex64 array [shape=(channels, bins, chunk_frames)]
    card : ModelCard

    Returns
    -------
    complex64 array [shape=(channels, bins, step_frames)]
        The target's spectrum in the chunk's middle frames. If the card has stems, the spectra of
        all [shape=(stems, channels, bins, step_frames)].
    """
    bins, context = card.used_bins, card.context_frames
    result = graph(_features(chunk[:, :bins], card)[None])[0]
    if card.axes == "frames-bins":
        result = result.transpose(0, 2, 1)
    if result.shape[-1] == card.chunk_frames:
        result = result[..., context : context + card.step_frames]
    middle = chunk[:, :, context : context + card.step_frames]
    if card.output == "mask":
        return _masked(middle, result, card)
    if not card.stems:
        return _spectrum(middle, result, card)
    spectra = result.reshape(len(card.stems), -1, *result.shape[1:])
    return np.stack([_spectrum(middle, parts, card) for parts in spectra])


def _spectrum(middle: Complexes, parts: Floats, card: ModelCard) -> Complexes:
    """Return the spectrum of one source from its real and imaginary parts."""
    bins = card.used_bins
    estimate = np.zeros(middle.shape, np.complex64)
    estimate[:, :bins].real = parts[0::2]
    estimate[:, :bins].imag = parts[1::2]
    estimate[:, :bins] *= np.float32(card.gain)
    if card.basis == "mid-side":
        estimate[:, :bins] = _rotated(estimate[:, :bins])
    if card.target == "instrumental":
        # Bins that the network does not see belong to the instrumental.
        estimate[:, bins:] = middle[:, bins:]
    return estimate
