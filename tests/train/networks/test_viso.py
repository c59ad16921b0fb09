"""The flagship's network: its parts, its shapes, and how far it looks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError
from viso.train.networks.bands import Bands
from viso.train.networks.viso import Viso
from viso.train.recipe import VisoSettings


def spectra(seed=0, *, batch=2, bins=128, frames=40):
    """Mid and side as real and imaginary parts [shape=(batch, 4, frames, bins)]."""
    return torch.randn((batch, 4, frames, bins), generator=torch.Generator().manual_seed(seed))


def edges_of(segments):
    widths = [width for count, width in segments for _ in range(count)]
    return np.cumsum([0, *widths])


@pytest.mark.parametrize("segments", [
    ((4, 1),),
    ((3, 2), (2, 1), (3, 7)),
    VisoSettings().segments,
])  # fmt: skip
def test_bands_by_hand(segments):
    bands, edges = Bands(segments), edges_of(segments)
    assert (bands.n_bands, bands.n_bins) == (len(edges) - 1, edges[-1])
    assert bands.width.tolist() == np.diff(edges).tolist()
    values = torch.rand((2, 3, bands.n_bins + 5), generator=torch.Generator().manual_seed(0))
    sums, spread = bands.sums(values), bands.spread(values[..., : bands.n_bands])
    assert spread.shape == (2, 3, bands.n_bins)
    for n, (low, high) in enumerate(pairwise(edges)):
        torch.testing.assert_close(sums[..., n], values[..., low:high].sum(dim=-1))
        for k in range(low, high):
            assert torch.equal(spread[..., k], values[..., n])


def test_bands_that_the_transform_does_not_have_are_refused(viso_settings):
    spectral = SpectralConfig(rate_hz=8000, n_fft=128, hop=32)
    with pytest.raises(ConfigError, match="segments hold 128 bins, n_fft 128 has only 65"):
        Viso(viso_settings, spectral)


def test_the_powers_of_left_and_right_come_from_mid_and_side(drawn_viso):
    network, parts = drawn_viso(), spectra()
    mid, side = torch.complex(parts[:, 0], parts[:, 1]), torch.complex(parts[:, 2], parts[:, 3])
    left, right = (mid + side) * 0.5**0.5, (mid - side) * 0.5**0.5
    expected = [network.bands.sums(each.abs().square()) for each in (mid, side, left, right)]
    torch.testing.assert_close(network.powers(parts), torch.stack(expected, dim=1))


def test_a_voice_on_one_side_alone_leaves_nothing_negative_on_the_other(drawn_viso):
    parts = spectra()
    parts[:, 2:] = parts[:, :2]
    powers = drawn_viso().powers(parts)
    assert (powers >= 0).all()
    assert powers[:, 3].max() < 1e-5 * powers[:, 2].mean()


def test_the_mask_fits_the_middle_frames(drawn_viso, viso_settings):
    with torch.inference_mode():
        mask = drawn_viso()(spectra())
    assert mask.shape == (2, 2, 40 - 2 * viso_settings.context_frames, 128)
    assert 0 < mask.min() < mask.max() < 1
    assert mask.std() > 0.01
    # The bins of a band have one factor.
    assert torch.equal(mask[..., 16], mask[..., 19])
    assert not torch.equal(mask[..., 15], mask[..., 16])


@torch.inference_mode()
@pytest.mark.parametrize("factor", [1e-2, 10.0, 1e3])
def test_the_level_of_the_input_does_not_matter(drawn_viso, factor):
    network = drawn_viso()
    torch.testing.assert_close(network(spectra() * factor), network(spectra()), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_silence_around_a_song_does_not_change_its_level(drawn_viso):
    network, parts = drawn_viso(), spectra(batch=1)
    wide = torch.cat([torch.zeros(1, 4, 60, 128), parts], dim=2)
    alone = network.features(network.powers(parts))
    torch.testing.assert_close(network.features(network.powers(wide))[:, :, 60:], alone)


@torch.inference_mode()
def test_silence_gives_a_mask_all_the_same(drawn_viso):
    assert drawn_viso()(torch.zeros(1, 4, 40, 128)).isfinite().all()


@torch.inference_mode()
def test_songs_of_a_batch_do_not_hear_each_other(drawn_viso):
    network, batch = drawn_viso(), spectra(batch=3)
    alone = torch.cat([network(song[None]) for song in batch])
    torch.testing.assert_close(network(batch), alone, rtol=0, atol=1e-5)


def reach_of(settings):
    """Frames the network sees on either side.

    Two 3x3 convolutions at each of two scales make 2 + 2 * 2 frames on the way down, as many on
    the way up, and 4 + 4 about the middle, whose convolutions look around by 4 frames a step of
    dilation. Halving and doubling adds up to 3, for the place of a frame in its group of four.
    """
    return 2 * (2 + 2 * 2) + 8 + 4 * sum(settings.dilations) + 3


@torch.inference_mode()
def test_how_far_it_looks(drawn_viso, viso_settings):
    network, reach = drawn_viso(), reach_of(viso_settings)
    features = torch.randn((1, 4, 160, 32), generator=torch.Generator().manual_seed(0))
    before = network.logits(features)
    for frame in (80, 83):
        moved = features.clone()
        moved[:, :, frame] += 5.0
        change = (network.logits(moved) - before).abs().amax(dim=(0, 1, 3))
        touched = torch.nonzero(change)[:, 0]
        assert frame - reach <= touched.min() <= frame - reach + 3
        assert frame + reach - 3 <= touched.max() <= frame + reach


@torch.inference_mode()
def test_a_chunk_with_enough_context_says_what_the_whole_says(drawn_viso, viso_settings):
    network, reach = drawn_viso(), reach_of(viso_settings)
    features = torch.randn((1, 4, 200, 32), generator=torch.Generator().manual_seed(0))
    whole = network.logits(features)[:, :, 40:160]
    chunk = network.logits(features[:, :, 40:160])
    difference = (chunk - whole).abs().amax(dim=(0, 1, 3))
    assert difference[reach : 120 - reach].max() < 1e-5
    assert difference[0] > 1e-2


def test_dropout_is_off_in_evaluation_and_on_in_training(drawn_viso):
    network = drawn_viso()
    with torch.no_grad():
        assert torch.equal(network(spectra()), network(spectra()))
        network.train()
        assert not torch.equal(network(spectra()), network(spectra()))


def test_the_flagship_has_the_size_that_is_told():
    network = Viso(VisoSettings(), SpectralConfig())
    assert network.count() == sum(p.numel() for p in network.parameters())
    assert 1e6 < network.count() < 10e6
    assert VisoSettings().n_bins == network.bands.n_bins
    assert network.bands.n_bins * 44_100 / 4096 > 19_000
