"""TFC-TDF over bands: its shapes, what it hears, what it takes no notice of."""

from __future__ import annotations

import pytest
import torch

from viso.dsp.stft import SpectralConfig
from viso.errors import ConfigError, DataError
from viso.train.networks import build_network, load_weights
from viso.train.networks.tfc_tdf import TfcTdf
from viso.train.recipe import Recipe, TfcTdfSettings
from viso.train.run.learner import Learner
from viso.train.run.trainer import Trainer


def spectra(seed=0, *, batch=2, frames=40):
    return torch.randn((batch, 4, frames, 128), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def plan(recipe):
    return recipe(network="tfc_tdf")


@pytest.fixture
def network(plan):
    """As if trained: its first norm has seen something."""
    torch.manual_seed(0)
    network = build_network(plan)
    with torch.no_grad():
        for seed in range(3):
            network(spectra(seed))
    return network.eval()


@torch.inference_mode()
def test_the_mask_fits_the_middle_frames(network):
    mask = network(spectra())
    assert mask.shape == (2, 2, 40 - 2 * 8, 128)
    assert 0 < mask.min() < mask.max() < 1
    assert mask.std() > 0.01


@torch.inference_mode()
def test_a_song_that_is_brighter_throughout_gets_the_same_masks_later_on(network):
    """The norm of an instance: a channel's level and spread are taken away song by song."""
    first = network.down[1].first
    x = torch.randn((1, 6, 40, 16), generator=torch.Generator().manual_seed(0))
    for heard in (None, torch.full((1, 1, 40), 1 / 40)):
        changed = first(3 * x + 2, heard)
        torch.testing.assert_close(changed, first(x, heard), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_silence_beside_a_song_changes_only_what_is_near_it(network):
    """With the plain norm of an instance all its frames would hear of it."""
    parts = spectra(batch=1, frames=400)
    alone = network(parts)
    wide = network(torch.cat([parts, torch.zeros(1, 4, 400, 128)], dim=2))
    torch.testing.assert_close(wide[:, :, :120], alone[:, :, :120], rtol=0, atol=0.02)
    # The wrong way, for the difference it makes.
    network.heard = lambda powers: [None] * 4
    wrong = network(torch.cat([parts, torch.zeros(1, 4, 400, 128)], dim=2))
    assert (wrong[:, :, :120] - alone[:, :, :120]).abs().max() > 0.1


def test_training_takes_the_quick_norm_where_nothing_is_silent(network):
    powers = network.powers(spectra())
    assert all(weights is not None for weights in network.heard(powers))
    network.train()
    assert network.heard(powers) == [None] * 4
    silent = spectra()
    silent[0, :, :10] = 0
    heard = network.heard(network.powers(silent))
    assert [weights.shape for weights in heard] == [(2, 1, 40), (2, 1, 20), (2, 1, 10), (2, 1, 5)]
    for weights in heard:
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 1))
    assert heard[0][0, 0, :10].abs().max() == 0
    assert heard[1][0, 0, :5].abs().max() == 0


@torch.inference_mode()
def test_both_ways_to_norm_are_the_same(network):
    before = network(spectra())
    network.heard = lambda powers: [None] * 4
    torch.testing.assert_close(network(spectra()), before, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_songs_of_a_batch_do_not_hear_each_other(network):
    batch = spectra(batch=3)
    alone = torch.cat([network(song[None]) for song in batch])
    torch.testing.assert_close(network(batch), alone, rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("factor", [1e-2, 1e3])
def test_the_level_of_the_input_does_not_matter(network, factor):
    torch.testing.assert_close(network(spectra() * factor), network(spectra()), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_silence_gives_a_mask_all_the_same(network):
    assert network(torch.zeros(1, 4, 40, 128)).isfinite().all()


@torch.inference_mode()
def test_every_scale_is_heard(network):
    before = network(spectra())
    for part in (*network.down, *network.halving, network.middle, *network.doubling, *network.up):
        weight = next(p for name, p in part.named_parameters() if p.ndim == 4)
        kept = weight.clone()
        weight.zero_()
        assert (network(spectra()) - before).abs().max() > 1e-5
        weight.copy_(kept)


def test_every_weight_learns(plan, network):
    network.train()(spectra()).square().mean().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_channels_do_not_lie_last(plan, recipe):
    """Instance norm would copy them at every layer."""
    weight = Learner(plan).network.down[0].first.layer.weight
    assert weight.is_contiguous()
    other = Learner(recipe(network="viso")).network.down_0[0][0].weight
    assert other.is_contiguous(memory_format=torch.channels_last)


def test_a_run_goes_on_from_its_weights(plan, tmp_path):
    Trainer(plan.model_copy(), tmp_path / "run", device="cpu").run()
    trained = build_network(plan)
    load_weights(trained, tmp_path / "run/best.pt")
    later = plan.model_copy(update={"start_from": str(tmp_path / "run/best.pt")})
    for value, expected in zip(
        Learner(later).network.parameters(), trained.parameters(), strict=True
    ):
        assert torch.equal(value, expected)


def test_further_blocks_begin_where_a_network_without_them_stands(plan, network, tmp_path):
    torch.save({"network": network.state_dict()}, tmp_path / "best.pt")
    settings = plan.network.model_copy(update={"blocks": (1, 2, 1, 3)})
    deep = build_network(plan.model_copy(update={"network": settings}))
    assert deep.count() > network.count()
    load_weights(deep, tmp_path / "best.pt")
    deep.eval()
    with torch.inference_mode():
        torch.testing.assert_close(deep(spectra()), network(spectra()), rtol=0, atol=1e-5)
    # They are not cut off from learning.
    optimiser = torch.optim.SGD(deep.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        deep(spectra()).square().mean().backward()
        optimiser.step()
    silent = [n for n, p in deep.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_weights_of_more_blocks_do_not_fit(plan, network, tmp_path):
    settings = plan.network.model_copy(update={"blocks": (1, 2, 1, 1)})
    deep = build_network(plan.model_copy(update={"network": settings}))
    torch.save({"network": deep.state_dict()}, tmp_path / "best.pt")
    with pytest.raises(DataError, match="does not fit"):
        load_weights(network, tmp_path / "best.pt")


def test_every_scale_must_be_told_its_blocks():
    with pytest.raises(ValueError, match="2 blocks for 3 channels"):
        TfcTdfSettings(channels=(4, 8, 16), blocks=(1, 2))


def test_halving_must_come_out_even(plan):
    values = plan.model_dump()
    values["network"]["context_frames"] = 12
    with pytest.raises(ConfigError, match="multiples of 8"):
        Recipe.from_mapping(values, origin="toy")


def test_one_scale_is_no_u_net():
    with pytest.raises(ValueError, match="at least 2"):
        TfcTdfSettings(channels=(8,))


def test_bands_that_the_transform_does_not_have_are_refused(plan):
    with pytest.raises(ConfigError, match="n_fft 128 has only 65"):
        TfcTdf(plan.network, SpectralConfig(rate_hz=8000, n_fft=128, hop=32))


def test_the_size_that_is_told():
    network = TfcTdf(TfcTdfSettings(), SpectralConfig())
    assert network.count() == sum(p.numel() for p in network.parameters())
    assert 0.5e6 < network.count() < 3e6
