"""The chunks of a corpus that may be drawn, and the facts about their tracks, as tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viso.errors import DataError
from viso.train.data.corpus import LEVEL_BLOCK, Corpus, Track

__all__ = ["Chunks", "TrackTensors", "gathered", "group_weights", "on_device"]

_MOST_OF_A_CARD = 0.8  # the rest is for the network and its batches


def group_weights(tracks: list[Track], wanted: Mapping[str, float]) -> dict[str, float]:
    """Return each group's share of the draws; the shares sum to one.

    Parameters
    ----------
    tracks : list of Track
        All tracks of one role.
    wanted : mapping of str to float
        Weights of groups; if empty, the weight of a group is the square root of its length.

    Raises
    ------
    DataError
        If a wanted group has no track, or there is no group at all.
    """
    lengths: dict[str, int] = {}
    for track in tracks:
        lengths[track.group] = lengths.get(track.group, 0) + track.n_samples
    weights = dict(wanted) or {group: float(np.sqrt(n)) for group, n in lengths.items()}
    weights = {group: weight for group, weight in weights.items() if weight > 0}
    missing = sorted(set(weights) - set(lengths))
    if missing or not weights:
        role = tracks[0].role if tracks else "track"
        raise DataError(
            f"mixing: no {role} in the groups {', '.join(missing) or '(none)'}; "
            f"the corpus has {', '.join(sorted(lengths)) or 'none'}"
        )
    whole = sum(weights.values())
    return {group: weight / whole for group, weight in weights.items()}


class Chunks:
    """The chunks of some tracks that may be drawn, each with its probability.

    A chunk is a row: the number of its track, its start in the track, and how far the start may
    still move. All columns are tensors on the training device. `groups` names the groups that
    have a chunk.
    """

    def __init__(
        self,
        corpus: Corpus,
        tracks: list[Track],
        weights: dict[str, float],
        *,
        n_samples: int,
        floor_db: float,
        device: torch.device,
    ) -> None:
        tracks = [t for t in tracks if weights.get(t.group, 0.0) > 0]
        starts = [_loud_starts(corpus, t, n_samples=n_samples, floor_db=floor_db) for t in tracks]
        owner = np.repeat(np.arange(len(tracks)), [len(s) for s in starts])
        if not owner.size:
            raise DataError(
                f"{corpus.folder}: no chunk of {n_samples} samples in the groups {sorted(weights)}"
            )
        start = np.concatenate(starts) * LEVEL_BLOCK
        groups = sorted(weights)
        group = np.array([groups.index(t.group) for t in tracks])[owner]
        # The tracks of a group share its weight by the square root of their numbers of chunks:
        # otherwise long songs would dominate many short ones.
        chance = 1 / np.sqrt(np.bincount(owner)[owner])
        chance *= np.array([weights[g] for g in groups])[group] / np.bincount(group, chance)[group]
        length = np.array([t.n_samples for t in tracks])[owner]

        def column(values: npt.ArrayLike) -> Tensor:
            return torch.from_numpy(np.asarray(values)).to(device)

        self.tracks = tracks
        self.groups = {groups[number] for number in set(group)}
        self.owner = column(owner)
        self.start = column(start)
        self.spare = column(np.minimum(length - n_samples - start, LEVEL_BLOCK - 1) + 1)
        self.cumulative = column(np.cumsum(chance) / chance.sum())

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the owners and the exact starts of `n` chunks, each [shape=(n,)]."""
        device = generator.device
        point = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        row = torch.searchsorted(self.cumulative, point).clamp_max(len(self.cumulative) - 1)
        jitter = torch.rand(n, generator=generator, device=device) * self.spare[row]
        return self.owner[row], self.start[row] + jitter.long()


def _loud_starts(
    corpus: Corpus, track: Track, *, n_samples: int, floor_db: float
) -> npt.NDArray[np.int64]:
    """Return the starts, in level blocks, of a track's chunks whose RMS is above `floor_db`."""
    blocks = -(-n_samples // LEVEL_BLOCK)
    power = corpus.track_levels(track).astype(np.float64) ** 2
    if len(power) < blocks or track.n_samples < n_samples:
        return np.zeros(0, np.int64)
    mean = np.convolve(power, np.full(blocks, 1 / blocks), "valid")
    starts = np.nonzero(10 * np.log10(mean + 1e-12) > floor_db)[0]
    return starts[starts * LEVEL_BLOCK + n_samples <= track.n_samples]


@dataclass(frozen=True)
class TrackTensors:
    """The facts about a list of tracks, as tensors indexed by the track's number in the list."""

    offset: Tensor
    n_channels: Tensor
    bandwidth_hz: Tensor
    peak: Tensor
    release_level: Tensor
    dry: Tensor

    @classmethod
    def of(cls, tracks: list[Track], dry: tuple[str, ...], device: torch.device) -> TrackTensors:
        """Gather the facts about tracks; groups named in `dry` are recordings without a room."""
        return cls(
            torch.tensor([t.offset for t in tracks], device=device),
            torch.tensor([t.n_channels for t in tracks], device=device),
            torch.tensor([t.bandwidth_hz for t in tracks], device=device),
            torch.tensor([t.peak for t in tracks], device=device),
            torch.tensor([t.release_level for t in tracks], device=device),
            torch.tensor([t.group in dry for t in tracks], device=device),
        )


def gathered(flat: Tensor, first: Tensor, n_channels: Tensor, n_samples: int) -> Tensor:
    """Read chunks of interleaved sound; a mono chunk is copied to both channels.

    Parameters
    ----------
    flat : int16 Tensor [shape=(n_values,)]
    first, n_channels : int64 Tensor [shape=(n,)]
        Index of the first value of each chunk, and its number of channels, 1 or 2.
    n_samples : int

    Returns
    -------
    int16 Tensor [shape=(n, 2, n_samples)]
    """
    if not flat.is_cuda:
        # Slices copy in memory order; a gather by 64-bit index takes ten times as long.
        chunks = [
            flat[place : place + n_samples * count].view(n_samples, count).T.expand(2, -1)
            for place, count in zip(first.tolist(), n_channels.tolist(), strict=True)
        ]
        return torch.stack(chunks)
    left = first[:, None] + torch.arange(n_samples, device=flat.device) * n_channels[:, None]
    return flat[torch.stack([left, left + (n_channels[:, None] - 1)], dim=1)]


def on_device(audio: npt.NDArray[np.int16], device: torch.device) -> Tensor:
    """Return a corpus's audio for a device: the memory map on the CPU, a copy on a GPU.

    Raises
    ------
    DataError
        If the GPU has too little free memory.
    """
    with warnings.catch_warnings():
        # Torch warns that the pages of the map are read-only; nothing here writes to them.
        warnings.simplefilter("ignore", UserWarning)
        flat = torch.from_numpy(audio)
    if device.type != "cuda":
        return flat
    free, _ = torch.cuda.mem_get_info(device)
    if audio.nbytes > free * _MOST_OF_A_CARD:
        raise DataError(
            f"the corpus has {audio.nbytes / 1e9:.1f} GB, too much for a card with "
            f"{free / 1e9:.1f} GB free; pack less (--longest), or train with --device cpu"
        )
    return flat.to(device)
