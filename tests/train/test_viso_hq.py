"""The larger network: it begins as the first one, and learns with the second alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viso.errors import ConfigError, DataError
from viso.train.loop import Trainer
from viso.train.networks import build_network, load_weights
from viso.train.networks.viso_hq import VisoHq
from viso.train.recipe import Recipe, VisoHqSettings


def spectra(frames=40):
    return torch.randn((2, 4, frames, 128), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def first(tmp_path, drawn_viso):
    """A run's weights of a first network, and the network."""
    network = drawn_viso()
    torch.save({"network": network.state_dict()}, tmp_path / "first.pt")
    return tmp_path / "first.pt", network


@torch.inference_mode()
def test_it_begins_where_the_first_stands(first, recipe):
    path, small = first
    network = build_network(recipe(network="viso_hq"))
    load_weights(network, path)
    torch.testing.assert_close(network.eval()(spectra()), small(spectra()))


def test_only_the_second_learns(first, recipe, tmp_path):
    path, small = first
    plan = recipe(network="viso_hq", steps=6).model_copy(update={"start_from": str(path)})
    Trainer(plan, tmp_path / "run", device="cpu").run()
    weights = torch.load(tmp_path / "run/best.pt", weights_only=True)["network"]
    for name, value in small.state_dict().items():
        torch.testing.assert_close(weights[f"first.{name}"], value)
    assert weights["second.out.weight"].abs().max() > 0
    trained = build_network(plan)
    load_weights(trained, tmp_path / "run/best.pt")
    with torch.inference_mode():
        assert (trained.eval()(spectra()) - small(spectra())).abs().max() > 1e-4


def test_the_memory_hears_the_whole_chunk(recipe):
    settings = recipe(network="viso_hq").network
    far = settings.second.model_copy(update={"dilations": ()})
    reach = {}
    for width in (0, 8):
        second = far.model_copy(update={"recurrent": width})
        torch.manual_seed(0)
        network = VisoHq(settings.model_copy(update={"second": second}), recipe().spectral).eval()
        torch.nn.init.ones_(network.second.out.weight)
        features = torch.randn((1, 6, 72, 32))
        other = features.clone()
        other[:, :, :8] += 1.0
        with torch.inference_mode():
            difference = network.second.raw_logits(features) - network.second.raw_logits(other)
        reach[width] = difference[:, :, -8:].abs().max()
    assert reach[0] == 0
    assert reach[8] > 0


def test_weights_of_another_network_are_refused(tmp_path, recipe, drawn_network):
    torch.save({"network": drawn_network().state_dict()}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="does not fit"):
        load_weights(build_network(recipe(network="viso_hq")), tmp_path / "other.pt")


def test_both_see_the_same_frames_and_bands():
    settings = VisoHqSettings.model_validate({"chunk_frames": 96, "second": {"hidden": 64}})
    assert (settings.first.chunk_frames, settings.second.chunk_frames) == (96, 96)
    assert (settings.first.hidden, settings.second.hidden) == (384, 64)
    with pytest.raises(ValueError, match="chunk_frames must be the same"):
        VisoHqSettings.model_validate({"second": {"chunk_frames": 96}})


def test_a_recipe_that_gives_them_different_chunks_is_refused(recipe):
    values = recipe(network="viso_hq").model_dump()
    values["network"]["second"]["chunk_frames"] = 80
    with pytest.raises(ConfigError, match="must be the same in first and second"):
        Recipe.from_mapping(values, origin="toy")


def test_the_recipe_comes_back_from_its_file(recipe, tmp_path):
    plan = recipe(network="viso_hq")
    (tmp_path / "recipe.toml").write_text(plan.to_toml())
    again = Recipe.from_toml(tmp_path / "recipe.toml")
    assert again == plan
    assert np.isclose(build_network(again).count(), build_network(plan).count())
