"""Oracles: what the best mask of a kind would give."""

from __future__ import annotations

import numpy as np

from helpers.small_models import SMALL, song
from viso.dsp.masking import binary_mask, ratio_mask
from viso.metrics import oracle, usdr


def test_a_mask_of_ones_gives_the_mixture_and_of_zeros_silence() -> None:
    vocals, music = song(seed=1), song(seed=2)
    for value, expected in ((1.0, vocals + music), (0.0, np.zeros_like(vocals))):
        found = oracle(
            vocals, music, config=SMALL,
            mask_of=lambda target, _, v=value: np.full(target.shape, v, np.float32),
        )  # fmt: skip
        assert found.shape == vocals.shape
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_sources_that_do_not_overlap_are_found_whole() -> None:
    t = np.arange(44_100) / 44_100
    low, high = (
        np.stack([np.sin(2 * np.pi * hz * t)] * 2).astype(np.float32) for hz in (689, 8268)
    )
    for mask_of in (binary_mask, ratio_mask):
        found = oracle(low, high, config=SMALL, mask_of=mask_of)
        assert usdr(low[:, 2000:-2000], found[:, 2000:-2000]) > 30


def test_the_masks_know_more_than_the_mixture() -> None:
    vocals, music = song(seed=1), song(seed=2)
    scores = [
        usdr(vocals, oracle(vocals, music, config=SMALL, mask_of=mask_of))
        for mask_of in (binary_mask, ratio_mask)
    ]
    assert min(scores) > usdr(vocals, vocals + music) + 3
