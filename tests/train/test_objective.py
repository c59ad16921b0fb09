"""The objective: what is trained is what the separator will run, by another road."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viso.spectral import stft
from viso.train.mixer import Batch
from viso.train.objective import Objective

N_SAMPLES = 39 * 64


def batch_of(seed, bandwidth_hz=(4000.0, 1500.0)):
    rng = np.random.default_rng(seed)
    # Every moment is different: a target beside its frames would show.
    swell = np.linspace(0.02, 1.0, N_SAMPLES) * rng.uniform(0.2, 1.0, (2, 2, N_SAMPLES))
    vocals = rng.standard_normal((2, 2, N_SAMPLES)) * swell
    music = rng.standard_normal((2, 2, N_SAMPLES)) * swell[..., ::-1]
    as_tensor = (torch.from_numpy(x.astype(np.float32)) for x in (vocals, music))
    return Batch(*as_tensor, torch.tensor(bandwidth_hz))


def magnitudes_of(audio, spectral):
    """Mid and side magnitudes [shape=(2, bins, frames)], as the separator sees them."""
    left, right = audio.numpy()
    rotated = np.stack([left + right, left - right]) * np.float32(np.sqrt(0.5))
    return np.abs(stft(rotated, config=spectral))


@pytest.mark.parametrize("power", [0.0, 1.2])
def test_the_loss_is_the_one_computed_from_the_separators_own_frames(
    recipe, drawn_network, spectral, power
):
    settings, network, batch = recipe(loss_power=power), drawn_network(), batch_of(1)
    spread = network.map.spread.numpy().astype(np.float64)
    gather = spread / spread.sum(axis=1, keepdims=True)
    band_hz = spread.argmax(axis=1) * 8000 / 256
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
    loss = Objective(settings, network).loss(batch)
    assert float(loss.detach()) == pytest.approx(np.mean(songs), rel=1e-4)


def test_bands_above_the_bandwidth_teach_nothing(recipe, drawn_network):
    network = drawn_network()
    losses = []
    for high in (0.0, 1.0):
        batch = batch_of(2, bandwidth_hz=(1000.0, 1000.0))
        # A tone far above the bandwidth, in the vocals or in the music.
        tone = 0.01 * torch.sin(2 * torch.pi * 3500 / 8000 * torch.arange(N_SAMPLES))
        vocals, music = batch.vocals + high * tone, batch.instrumental + (1 - high) * tone
        both = Batch(vocals, music, batch.bandwidth_hz)
        losses.append(float(Objective(recipe(), network).loss(both).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_every_weight_is_taught(recipe, drawn_network):
    network = drawn_network().train()
    Objective(recipe(), network).loss(batch_of(3)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
