"""The objective: what is trained is what the separator will run, by another road."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from viso.dsp.stft import stft
from viso.train.data.mixer import Batch
from viso.train.networks import build_network
from viso.train.objectives.objective import BinaryMaskObjective, ResidualObjective, build_objective

N_SAMPLES = 39 * 64


def batch_of(seed, bandwidth_hz=(4000.0, 1400.0)):
    rng = np.random.default_rng(seed)
    # Every moment is different: a target beside its frames would show.
    swell = np.linspace(0.02, 1.0, N_SAMPLES) * rng.uniform(0.2, 1.0, (2, 2, N_SAMPLES))
    vocals = rng.standard_normal((2, 2, N_SAMPLES)) * swell
    music = rng.standard_normal((2, 2, N_SAMPLES)) * swell[..., ::-1]
    as_tensor = (torch.from_numpy(x.astype(np.float32)) for x in (vocals, music))
    return Batch(*as_tensor, torch.tensor(bandwidth_hz))


def spectra_of(audio, spectral):
    """Mid and side [shape=(2, bins, frames)], as the separator sees them."""
    left, right = audio.numpy()
    rotated = np.stack([left + right, left - right]) * np.float32(np.sqrt(0.5))
    return stft(rotated, config=spectral)


def magnitudes_of(audio, spectral):
    return np.abs(spectra_of(audio, spectral))


@pytest.mark.parametrize("power", [0.0, 1.2])
def test_the_cross_entropy_is_the_one_computed_from_the_separators_own_frames(
    recipe, drawn_network, spectral, power
):
    settings, network, batch = recipe(loss_power=power), drawn_network(), batch_of(1)
    spread = network.map.spread.numpy().astype(np.float64)
    gather = spread / spread.sum(axis=1, keepdims=True)
    # The last bin that a band takes anything from.
    band_hz = np.array([np.nonzero(row)[0][-1] for row in spread]) * 8000 / 256
    smoothing, middle = network.settings.smoothing, slice(10, 30)
    songs = []
    for n in range(2):
        sources = batch.vocals[n], batch.instrumental[n], batch.vocals[n] + batch.instrumental[n]
        vocals, music, mixture = (magnitudes_of(sound, spectral) for sound in sources)
        with torch.inference_mode():
            bands = network.map.bands(torch.from_numpy(mixture).transpose(1, 2).square())
            logits = network.logits(network.features(bands[None]))[0].numpy().astype(np.float64)
        loud = np.where(vocals > music, 1 - smoothing, smoothing)
        weighed = np.einsum("kb,cbt->ctk", gather, loud * mixture**2)
        target = weighed / np.einsum("kb,cbt->ctk", gather, mixture**2)
        level = np.sqrt(bands.numpy()[:, middle].astype(np.float64))
        target, p = target[:, middle], 1 / (1 + np.exp(-logits))
        weight = level**power * (band_hz < float(batch.bandwidth_hz[n]))
        each = -target * np.log(p) - (1 - target) * np.log(1 - p)
        songs.append((each * weight).sum() / weight.sum())
    loss = BinaryMaskObjective(settings)(network, batch)
    assert float(loss.detach()) == pytest.approx(np.mean(songs), rel=1e-4)


@pytest.mark.parametrize("regional", [0.0, 0.25])
def test_the_residual_is_the_one_computed_bin_by_bin(recipe, drawn_viso, spectral, regional):
    network, batch = drawn_viso(), batch_of(1)
    # Voices without lows, so that no region is like another.
    batch = replace(batch, vocals=batch.vocals - batch.vocals.roll(1, dims=2))
    n_bins = network.bands.n_bins
    songs = []
    for n in range(2):
        vocals = spectra_of(batch.vocals[n], spectral)[:, :n_bins].astype(np.complex128)
        mixture = spectra_of(batch.mixture[n], spectral)[:, :n_bins]
        parts = np.stack([part for side in mixture for part in (side.real, side.imag)])
        with torch.inference_mode():
            powers = network.powers(torch.from_numpy(parts)[None].transpose(2, 3))
            logits = network.logits(network.features(powers))
            mask = network.bands.spread(torch.sigmoid(logits))[0].transpose(1, 2).numpy()
        # Bands that end below the bandwidth count: from bin 16 on they have four bins, 125 Hz.
        first_out = {4000.0: n_bins, 1400.0: 44}[float(batch.bandwidth_hz[n])]
        wrong = np.abs(mask * mixture - vocals)[:, :first_out] ** 2
        whole = np.abs(mixture)[:, :first_out] ** 2
        # 800 and 2500 Hz: in bins of 31.25 Hz, as the bands end.
        edges = [0, *(edge for edge in (24, 78) if edge < first_out), first_out]
        shares = [
            wrong[:, low:high].sum() / whole[:, low:high].sum() for low, high in pairwise(edges)
        ]
        level = 10 * np.log10(np.array([wrong.sum() / whole.sum(), *shares]) + 1e-3)
        songs.append((1 - regional) * level[0] + regional * level[1:].mean())
    loss = ResidualObjective(recipe(network="viso", regional_loss=regional))(network, batch)
    assert float(loss.detach()) == pytest.approx(np.mean(songs), abs=1e-3)


@pytest.fixture(params=["viso_cnn", "viso"])
def pair(request, recipe, drawn_network, drawn_viso):
    """An objective with its network."""
    network = {"viso_cnn": drawn_network, "viso": drawn_viso}[request.param]()
    return build_objective(recipe(network=request.param)), network


def test_sound_above_the_bandwidth_teaches_nothing(pair):
    objective, network = pair
    gradients = []
    for high in (0.0, 1.0):
        batch = batch_of(2, bandwidth_hz=(1000.0, 1000.0))
        # A tone far above the bandwidth, in the vocals or in the music.
        tone = 0.01 * torch.sin(2 * torch.pi * 3500 / 8000 * torch.arange(N_SAMPLES))
        vocals, music = batch.vocals + high * tone, batch.instrumental + (1 - high) * tone
        network.zero_grad()
        objective(network, Batch(vocals, music, batch.bandwidth_hz)).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0.01, atol=1e-3 * float(one.abs().max()))


def test_every_weight_is_taught(pair):
    objective, network = pair
    objective(network.train(), batch_of(3)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_silence_gives_numbers(pair):
    objective, network = pair
    silence = torch.zeros(2, 2, N_SAMPLES)
    loss = objective(network.train(), Batch(silence, silence, torch.tensor([4000.0, 4000.0])))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("kind", ["viso_cnn", "viso", "tfc_tdf"])
def test_a_recipe_gets_the_network_and_the_objective_of_its_kind(recipe, kind):
    settings = recipe(network=kind)
    network, objective = build_network(settings), build_objective(settings)
    assert network.settings == settings.network
    assert objective(network, batch_of(4)).isfinite()
