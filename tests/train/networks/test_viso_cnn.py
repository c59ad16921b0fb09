"""The network: its parts, its shapes, and what its mask may depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError
from viso.train.networks.viso_cnn import BandMap, VisoCnn, band_matrix
from viso.train.recipe import VisoCnnSettings

SETTINGS = [
    # rate_hz, n_fft, hop, bands, linear_to_hz, top_hz
    (44_100, 4096, 1024, 320, 1500.0, 20_000.0),
    (44_100, 4096, 1024, 160, 1000.0, 16_000.0),
    (44_100, 4096, 1024, 160, 1500.0, 20_000.0),
    (44_100, 2048, 512, 64, 200.0, 20_000.0),
    (8000, 256, 64, 48, 1000.0, 4000.0),
    (8000, 256, 64, 129, 1000.0, 9000.0),
    (16_000, 512, 128, 40, 0.0, 8000.0),
]


def matrix_of(rate_hz, n_fft, hop, bands, linear_to_hz, top_hz):
    spectral = SpectralConfig(rate_hz=rate_hz, n_fft=n_fft, hop=hop)
    return band_matrix(spectral, n_bands=bands, linear_to_hz=linear_to_hz, top_hz=top_hz)


def magnitudes(seed=0, *, batch=2, bins=129, frames=40):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 2, bins, frames), generator=generator).square() + 0.01


@pytest.mark.parametrize("case", SETTINGS)
def test_bands_share_out_the_bins(case):
    matrix = matrix_of(*case)
    rate_hz, n_fft, _, n_bands, linear_to_hz, top_hz = case
    assert matrix.shape == (n_bands, n_fft // 2 + 1)
    assert matrix.dtype == np.float32
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, atol=1e-5)
    assert (matrix.sum(axis=1) > 0.5).all()
    linear = int(linear_to_hz / rate_hz * n_fft)
    np.testing.assert_array_equal(matrix[:linear, :linear], np.eye(linear))
    # The highest band's peak lies within one band of the top.
    peaks_hz = matrix.argmax(axis=1) * rate_hz / n_fft
    reach = min(top_hz, rate_hz / 2)
    assert (np.diff(peaks_hz) > 0).all()
    assert peaks_hz[-1] + 2.5 * (peaks_hz[-1] - peaks_hz[-2]) > reach
    assert peaks_hz[-1] <= reach + rate_hz / n_fft


@pytest.mark.parametrize(("bands", "linear_to_hz", "top_hz"), [
    (32, 1000.0, 4000.0),
    (20, 1000.0, 4000.0),
    (130, 1000.0, 4000.0),
    (60, 1000.0, 1500.0),
])  # fmt: skip
def test_bands_that_cannot_be_placed_are_refused(bands, linear_to_hz, top_hz):
    with pytest.raises(ConfigError, match=f"bands {bands}"):
        matrix_of(8000, 256, 64, bands, linear_to_hz, top_hz)


@pytest.mark.parametrize("case", SETTINGS)
def test_a_flat_spectrum_and_a_flat_mask_stay_flat(case):
    bands = BandMap(matrix_of(*case))
    n_bands, n_bins = bands.spread.shape
    torch.testing.assert_close(bands.bands(torch.ones(3, n_bins)), torch.ones(3, n_bands))
    torch.testing.assert_close(bands.bins(torch.ones(3, n_bands)), torch.ones(3, n_bins))


def test_it_is_built_as_the_design_says(drawn_network):
    network = drawn_network()
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(nn.Conv2d) == 4
    assert kinds.count(nn.MaxPool2d) == 2
    assert kinds.count(nn.Dropout) == 2
    assert kinds.count(nn.Dropout1d) == 1
    assert not any(issubclass(kind, nn.RNNBase | nn.MultiheadAttention) for kind in kinds)
    assert network.count() == sum(p.numel() for p in network.parameters())
    one_by_one = [
        4 * 2 * 9 + 8, 4 * 4 * 9 + 8, 6 * 4 * 9 + 12, 6 * 6 * 9 + 12,
        48 * 24 * 3 + 48, 32 * 48 + 32, 192 * 32 + 192, 96 * 32 + 96,
    ]  # fmt: skip
    assert network.count() == sum(one_by_one)


def test_a_fresh_network_has_no_say_in_local_detail(settings, spectral):
    network = VisoCnn(settings, spectral)
    assert all((p == 0).all() for p in network.weigh.parameters())
    names = set(network.state_dict())
    assert {"conv_1.0.weight", "conv_4.1.running_mean", "dense_1.weight", "out.bias"} <= names
    assert not any(name.startswith("map.") for name in names)


@pytest.mark.parametrize("changes", [
    {},
    {"pool_1": (1, 4), "context_frames": 4},
    {"pool_1": (2, 2), "pool_2": (2, 4), "bands": 64},
    {"dense_context": 1, "context_frames": 0},
    {"dense_context": 2, "dense_dilation": 2},
    {"dense_context": 4, "dense_dilation": 2},
    {"kernel": (5, 7), "chunk_frames": 64},
])  # fmt: skip
def test_the_mask_fits_the_middle_frames(settings, spectral, drawn_network, changes):
    settings = VisoCnnSettings(**{**settings.model_dump(), **changes})
    network = drawn_network(settings)
    with torch.inference_mode():
        mask = network(magnitudes(frames=settings.chunk_frames))
    kept = settings.chunk_frames - 2 * settings.context_frames
    assert mask.shape == (2, 2, spectral.n_bins, kept)
    assert mask.isfinite().all()
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.std() > 0.01


@pytest.mark.parametrize("changes", [
    {"chunk_frames": 41},
    {"chunk_frames": 20},
    {"context_frames": 1},
    {"dense_context": 4},
    {"dense_context": 15},
    {"bands": 47},
    {"kernel": (3, 4)},
])  # fmt: skip
def test_settings_under_which_the_mask_would_be_misplaced_are_refused(settings, changes):
    with pytest.raises(ConfigError, match="recipe"):
        VisoCnnSettings.from_mapping({**settings.model_dump(), **changes}, origin="recipe")


@torch.inference_mode()
def test_a_network_that_is_sure_says_exactly_nothing_or_all(drawn_network):
    network = drawn_network()
    network.out.weight *= 300
    mask = network(magnitudes())
    assert mask.min() == 0
    assert mask.max() == pytest.approx(1, abs=1e-5)
    assert mask.max() <= 1 + 1e-6  # the sum of a column of the band matrix


@torch.inference_mode()
def test_frame_of_the_mask_is_frame_of_the_input(settings, drawn_network):
    # Without any context in time, a frame of the input moves its own pooled frame alone.
    settings = settings.model_copy(update={"kernel": (1, 3), "dense_context": 1})
    network = drawn_network(settings)
    features = torch.randn((1, 2, 40, 48), generator=torch.Generator().manual_seed(0))
    before = network.logits(features)
    for frame in (10, 15, 22, 29):
        moved = features.clone()
        moved[:, :, frame] += 3.0
        change = (network.logits(moved) - before).abs().amax(dim=(0, 1, 3))
        pair = (frame - 10) // 2 * 2
        assert set(torch.nonzero(change)[:, 0].tolist()) <= {pair, pair + 1}
        assert change[frame - 10] > 0


@torch.inference_mode()
def test_the_last_band_speaks_for_the_bins_above_the_top(settings, drawn_network):
    network = drawn_network(settings.model_copy(update={"top_hz": 3000.0}))
    mask = network(magnitudes())
    highest = int(network.map.spread[-1].argmax())
    assert highest < 100
    above = mask[:, :, highest:]
    torch.testing.assert_close(above, above[:, :, :1].expand_as(above), rtol=0, atol=1e-5)
    assert mask[:, :, highest - 10].sub(above[:, :, 0]).abs().max() > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("factor", [1e-3, 1e-2, 10.0, 1e3])
def test_the_level_of_the_input_does_not_matter(drawn_network, factor):
    network, loud = drawn_network(), magnitudes() * 3
    torch.testing.assert_close(network(loud * factor), network(loud), rtol=0, atol=1e-3)


@torch.inference_mode()
def test_silence_gives_a_mask_all_the_same(drawn_network):
    mask = drawn_network()(torch.zeros(1, 2, 129, 40))
    assert mask.isfinite().all()


@torch.inference_mode()
def test_songs_of_a_batch_do_not_hear_each_other(drawn_network):
    network, batch = drawn_network(), magnitudes(batch=3)
    alone = torch.cat([network(song[None]) for song in batch])
    torch.testing.assert_close(network(batch), alone, rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("shift", [2, 6])
def test_where_a_chunk_begins_matters_only_through_its_level(drawn_network, shift):
    # Features normalised by one level for both chunks: what they share must then be equal.
    network = drawn_network()
    power = network.map.bands(magnitudes(frames=40 + shift).transpose(2, 3).square())
    features = network.features(power)
    first = network.logits(features[:, :, :40])
    later = network.logits(features[:, :, shift:])
    torch.testing.assert_close(first[:, :, shift:], later[:, :, :-shift], rtol=0, atol=1e-4)
    assert not torch.allclose(first[:, :, : first.shape[2] - shift], later[:, :, :-shift])


def test_dropout_is_off_in_evaluation_and_on_in_training(drawn_network):
    network = drawn_network()
    with torch.no_grad():
        assert torch.equal(network(magnitudes()), network(magnitudes()))
        network.train()
        assert not torch.equal(network(magnitudes()), network(magnitudes()))
