"""Uhlich et al. 2017: magnitudes from magnitudes, by dense layers and by LSTMs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from viso import Separator
from viso.dsp.stft import SpectralConfig, stft
from viso.errors import ConfigError
from viso.models.onnx import OnnxModel
from viso.train.data.mixer import Batch
from viso.train.export import LARGEST_DIFFERENCE, export, export_run
from viso.train.network_settings import UhlichBlstmSettings, UhlichFnnSettings
from viso.train.networks import build_network
from viso.train.objectives.objective import build_objective
from viso.train.papers.uhlich2017 import UhlichBlstm, UhlichFnn
from viso.train.run.trainer import Trainer
from viso.train.run.validation import TorchModel

FNN = UhlichFnnSettings(hidden=(32, 24), neighbours=2, chunk_frames=24, context_frames=2)
BLSTM = UhlichBlstmSettings(cells=16, layers=2, chunk_frames=24, context_frames=4)
KINDS = {"fnn": FNN, "blstm": BLSTM}


def magnitudes(frames=24, seed=0, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 2, frames, 129), generator=generator).square() * 5


def network_of(recipe, settings, seed=0):
    """A network that has seen some mixtures."""
    torch.manual_seed(seed)
    network = build_network(recipe(network=settings))
    with torch.no_grad():
        # Untrained, it says nothing at all.
        network.out.weight.normal_(0, 0.2)
        for number in range(3):
            network.magnitudes(magnitudes(batch=2, seed=number + 10))
    return network.eval()


@pytest.fixture(params=["fnn", "blstm", "blstm, shares"])
def network(request, recipe):
    kind, _, draws = request.param.partition(", ")
    return network_of(recipe, KINDS[kind].model_copy(update={"draws": draws or "magnitudes"}))


def test_sizes_of_the_shipped_networks():
    spectral = SpectralConfig()
    fnn = UhlichFnn(UhlichFnnSettings(), spectral)
    assert fnn.count() == 7 * 4098 * 500 + 500 + 2 * (500 * 500 + 500) + 500 * 4098 + 4098
    blstm = UhlichBlstm(UhlichBlstmSettings(), spectral)
    lstm = blstm.lstm
    assert (lstm.num_layers, 2 * lstm.hidden_size, lstm.bidirectional) == (3, 500, True)
    # Both fit into 25 MB with a byte a weight.
    assert max(fnn.count(), blstm.count()) < 18e6


@torch.inference_mode()
def test_the_fnn_sees_its_neighbours_put_together(recipe):
    network, seen = network_of(recipe, FNN), magnitudes()
    flat = network.standardised(seen)[0]
    windows = torch.stack([flat[start : start + 5].flatten() for start in range(20)])
    # The layer's parts side by side: a row sees five frames, one after the other.
    weight = network.enter.weight.unflatten(0, (5, 32)).transpose(0, 1).flatten(1)
    hidden = torch.relu(windows @ weight.T + network.bias)
    for layer in network.layers:
        hidden = torch.relu(layer(hidden))
    expected = network.drawn(hidden[None], seen[:, :, 2:22])
    torch.testing.assert_close(network.magnitudes(seen), expected)


@torch.inference_mode()
@pytest.mark.parametrize(("settings", "kept"), [
    (FNN, 20), (FNN.model_copy(update={"context_frames": 5}), 14), (BLSTM, 24),
])  # fmt: skip
def test_the_mask_is_what_the_vocals_have_of_the_mixture(recipe, settings, kept):
    network, seen = network_of(recipe, settings), magnitudes()
    mask = network(seen)
    assert mask.shape == (1, 2, kept, 129)
    assert 0 <= mask.min() < mask.max() <= 1
    drawn = network.magnitudes(seen)
    spare = (drawn.shape[2] - kept) // 2
    drawn = drawn[:, :, spare : spare + kept]
    first = (24 - kept) // 2
    mixture = seen[:, :, first : first + kept]
    sounds = mixture > 0.02
    expected = torch.minimum(drawn, mixture).clamp_min(0)
    torch.testing.assert_close((mask * mixture)[sounds], expected[sounds], rtol=1e-4, atol=1e-5)
    assert network(torch.zeros_like(seen)).abs().max() == 0


@torch.inference_mode()
def test_a_frame_of_the_mask_is_that_of_the_input(recipe):
    network = network_of(recipe, FNN.model_copy(update={"neighbours": 0, "context_frames": 0}))
    seen = magnitudes()
    before = network(seen)
    for frame in (0, 7, 23):
        moved = seen.clone()
        moved[:, :, frame] *= 3
        change = (network(moved) - before).abs().amax(dim=(0, 1, 3))
        assert torch.nonzero(change)[:, 0].tolist() == [frame]


@torch.inference_mode()
def test_the_blstm_hears_both_ways(recipe):
    network, seen = network_of(recipe, BLSTM), magnitudes()
    before = network.magnitudes(seen)
    moved = seen.clone()
    moved[:, :, 12] *= 10
    change = (network.magnitudes(moved) - before).abs().amax(dim=(0, 1, 3))
    assert change[10] > 0
    assert change[14] > 0


@torch.inference_mode()
def test_shares_are_of_the_mixture(recipe):
    network, seen = network_of(recipe, BLSTM.model_copy(update={"draws": "shares"})), magnitudes()
    share = network.magnitudes(seen) / seen
    expected = network.out(network.lstm(network.standardised(seen))[0])
    torch.testing.assert_close(share[0, 1], expected[0, :, 129:], rtol=1e-3, atol=1e-4)


def test_it_begins_with_silence(recipe):
    for settings in KINDS.values():
        network = build_network(recipe(network=settings)).eval()
        assert network(magnitudes()).abs().max() == 0


def test_bins_are_standardised_by_all_that_was_seen(recipe):
    torch.manual_seed(0)
    network = build_network(recipe(network=FNN)).train()
    loud = torch.linspace(0.1, 50, 129)
    seen = [magnitudes(batch=2, seed=n) * loud for n in range(4)]
    for mixture in seen:
        network.magnitudes(mixture)
    network.eval()
    flat = torch.cat([network.standardised(mixture) for mixture in seen]).unflatten(2, (2, 129))
    torch.testing.assert_close(flat.mean(dim=(0, 1, 2)), torch.zeros(129), rtol=0, atol=1e-3)
    torch.testing.assert_close(flat.std(dim=(0, 1, 2)), torch.ones(129), rtol=0, atol=0.1)


def batch_of(seed, n_samples=23 * 64, bandwidth_hz=(4000.0, 1400.0)):
    rng = np.random.default_rng(seed)
    swell = np.linspace(0.02, 1.0, n_samples)
    vocals = rng.standard_normal((2, 2, n_samples)) * swell
    music = rng.standard_normal((2, 2, n_samples)) * swell[::-1]
    sources = (torch.from_numpy(x.astype(np.float32)) for x in (vocals, music))
    return Batch(*sources, torch.tensor(bandwidth_hz))


@pytest.mark.parametrize("target", ["vocals", "instrumental"])
def test_the_loss_is_the_one_computed_from_the_separators_own_frames(
    recipe, network, spectral, target
):
    network.settings = network.settings.model_copy(update={"target": target})
    settings, batch = recipe(network=network.settings), batch_of(1)
    hz = np.arange(129) * 8000 / 256
    songs = []
    for n in range(2):
        wanted = (batch.vocals if target == "vocals" else batch.instrumental)[n].numpy()
        truth = np.abs(stft(wanted, config=spectral)).transpose(0, 2, 1)
        mixture = np.abs(stft(batch.mixture[n].numpy(), config=spectral)).transpose(0, 2, 1)
        with torch.inference_mode():
            drawn = network.magnitudes(torch.from_numpy(mixture.copy())[None])[0].numpy()
        cut = (truth.shape[1] - drawn.shape[1]) // 2
        frames, bins = slice(cut, truth.shape[1] - cut), hz < float(batch.bandwidth_hz[n])
        wrong = ((drawn - truth[:, frames]) ** 2)[..., bins].sum()
        songs.append(wrong / (mixture[:, frames] ** 2)[..., bins].sum())
    loss = build_objective(settings)(network, batch)
    assert float(loss.detach()) == pytest.approx(np.mean(songs), rel=1e-4)


def test_every_weight_is_taught(recipe, network):
    objective = build_objective(recipe(network=network.settings))
    objective(network.train(), batch_of(3)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_silence_gives_numbers(recipe, network):
    silence = torch.zeros(2, 2, 23 * 64)
    objective = build_objective(recipe(network=network.settings))
    loss = objective(network.train(), Batch(silence, silence, torch.tensor([4000.0] * 2)))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_it_learns_what_it_is_shown(recipe, network):
    objective, batch = build_objective(recipe(network=network.settings)), batch_of(5)
    optimiser = torch.optim.Adam(network.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = objective(network, batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("kind", ["fnn", "blstm"])
def test_a_run_is_exported_with_longer_chunks(tmp_path, recipe, kind):
    settings = recipe(network=KINDS[kind], steps=2, validations=1)
    Trainer(settings, tmp_path / "run", device="cpu").run()
    path, longer = tmp_path / "uhlich.onnx", {"chunk_frames": 64, "context_frames": 8}
    difference = export_run(tmp_path / "run", path, scores={}, weights="int8", **longer)
    assert difference < LARGEST_DIFFERENCE
    card = OnnxModel(path, device="cpu").card
    assert (card.chunk_frames, card.context_frames, card.channels) == (64, 8, 2)
    song = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 15_000)).astype(np.float32)
    stems = Separator(path, device="cpu").separate(song, rate_hz=8000)
    np.testing.assert_allclose(stems.vocals + stems.instrumental, song, atol=1e-6)


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_separating_with_the_file_and_with_torch_is_the_same(tmp_path, recipe, network, weights):
    card = recipe(network=network.settings).card(parameters=network.count())
    assert (card.channels, card.basis, card.target) == (2, "left-right", "vocals")
    path = tmp_path / "uhlich.onnx"
    assert export(network, card, path, weights=weights) < LARGEST_DIFFERENCE
    song = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
    ours = Separator(path, device="cpu").separate(song, rate_hz=8000)
    theirs = Separator(TorchModel(network, card, torch.device("cpu"))).separate(song, rate_hz=8000)
    assert ours.vocals.std() > 0.001
    np.testing.assert_allclose(ours.vocals, theirs.vocals, atol=1e-4)


def test_a_network_of_the_instrumental_says_so_on_its_card(recipe):
    settings = FNN.model_copy(update={"target": "instrumental"})
    assert recipe(network=settings).card(parameters=1).target == "instrumental"


@pytest.mark.parametrize(("settings", "changes"), [
    (FNN, {"context_frames": 1}),
    (FNN, {"chunk_frames": 4}),
    (FNN, {"hidden": ()}),
    (BLSTM, {"cells": 15}),
    (BLSTM, {"chunk_frames": 8}),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(settings, changes):
    with pytest.raises(ConfigError, match="recipe"):
        type(settings).from_mapping({**settings.model_dump(), **changes}, origin="recipe")


def test_there_is_no_dropout(network):
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())
