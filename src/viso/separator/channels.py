"""Groups the channels of a song that a stereo network or filter sees together."""

from __future__ import annotations

__all__ = ["channel_groups"]

# Left-right pairs in the channel orders of WAV and FLAC; other channels have no partner.
_PAIRS: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 1),),
    3: ((0, 1),),
    4: ((0, 1), (2, 3)),
    5: ((0, 1), (3, 4)),
    6: ((0, 1), (4, 5)),
    7: ((0, 1), (5, 6)),
    8: ((0, 1), (4, 5), (6, 7)),
}


def channel_groups(n_channels: int, *, per_model: int) -> list[tuple[int, ...]]:
    """Return the groups of channels for the runs of a mono or stereo model.

    >>> channel_groups(6, per_model=2)
    [(0, 1), (4, 5), (2, 2), (3, 3)]

    A channel without a partner appears twice in its group; a mono model gets single channels.
    """
    if per_model == 1:
        return [(channel,) for channel in range(n_channels)]
    pairs = list(_PAIRS.get(n_channels, ()))
    paired = {channel for pair in pairs for channel in pair}
    return [*pairs, *((c, c) for c in range(n_channels) if c not in paired)]
