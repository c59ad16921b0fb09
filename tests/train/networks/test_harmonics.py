"""Harmonics laid over each other: where they lie, and that a trained network keeps its ear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from viso.train.networks import build_network, load_weights
from viso.train.networks.bands import Bands
from viso.train.networks.harmonics import Harmonics
from viso.train.networks.viso import Viso
from viso.train.recipe import VisoSettings

SEGMENTS = ((32, 1), (16, 2), (8, 8))


def spectra(frames=40):
    return torch.randn((2, 4, frames, 128), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def listening(recipe):
    """A recipe of the flagship with harmonics."""
    plan = recipe(network="viso")
    with_harmonics = plan.network.model_copy(update={"harmonics": (0.5, 2.0, 3.0)})
    return plan.model_copy(update={"network": with_harmonics})


@pytest.mark.parametrize("ratio", [1 / 3, 0.5, 2.0, 3.0])
def test_every_band_sees_the_power_at_a_multiple_of_its_frequency(ratio):
    width = Bands(SEGMENTS).width
    centre = (np.cumsum(width.numpy()) - width.numpy() / 2).astype(np.float64)
    # A spectrum that is a straight line tells each frequency.
    features = torch.from_numpy(centre / 64 - 1).float().expand(1, 4, 2, -1)
    found = Harmonics(width, [ratio])(features)
    assert found.shape == (1, 5, 2, len(width))
    assert torch.equal(found[:, :4], features)
    wanted = ratio * centre
    inside = (wanted >= centre[0]) & (wanted <= centre[-1])
    expected = wanted / 64 - 1
    np.testing.assert_allclose(found[0, 4, 0].numpy()[inside], expected[inside], atol=1e-5)
    assert inside.sum() > 10


def test_above_the_highest_band_it_is_silent():
    width = Bands(SEGMENTS).width
    found = Harmonics(width, [2.0])(torch.zeros(1, 4, 2, len(width)))
    assert (found[0, 4, 0, -3:] == -7).all()
    assert (found[0, 4, 0, :32] == 0).all()


def test_no_multiple_is_negative_or_nothing():
    for ratio in (0.0, -1.0):
        with pytest.raises(ValidationError):
            VisoSettings(harmonics=(ratio,))


@torch.inference_mode()
def test_with_harmonics_a_trained_network_begins_as_it_was(tmp_path, drawn_viso, listening):
    trained = drawn_viso()
    torch.save({"network": trained.state_dict()}, tmp_path / "best.pt")
    network = build_network(listening)
    load_weights(network, tmp_path / "best.pt")
    torch.testing.assert_close(network.eval()(spectra()), trained(spectra()))


def test_what_it_hears_in_harmonics_is_learnt_and_kept(tmp_path, drawn_viso, listening):
    torch.save({"network": drawn_viso().state_dict()}, tmp_path / "best.pt")
    network = build_network(listening)
    load_weights(network, tmp_path / "best.pt")
    network(spectra()).square().mean().backward()
    kernel = network.down_0[0][0].weight
    assert kernel.shape[1] == 7
    assert (kernel.grad[:, 4:].abs().amax(dim=(0, 2, 3)) > 0).all()
    with torch.no_grad():
        kernel[:, 4:] += 0.1
    torch.save({"network": network.state_dict()}, tmp_path / "later.pt")
    again = build_network(listening)
    load_weights(again, tmp_path / "later.pt")
    torch.testing.assert_close(again.down_0[0][0].weight, kernel)


@torch.inference_mode()
def test_the_masks_hang_on_them(listening, spectral):
    torch.manual_seed(0)
    network = Viso(listening.network, spectral).eval()
    features = torch.randn((1, 4, 40, 32), generator=torch.Generator().manual_seed(1))
    plain = network.raw_logits(features)
    network.harmonics.heard.zero_()
    assert (network.raw_logits(features) - plain).abs().max() > 1e-4
