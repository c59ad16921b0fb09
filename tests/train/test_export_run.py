"""Export: the file that ships says what the network said, at half the size."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from viso import Separator
from viso.errors import ConfigError, DataError, ModelError
from viso.models.onnx import OnnxModel
from viso.models.session import CARD_KEY
from viso.train.export import LARGEST_DIFFERENCE, export, export_run, with_card
from viso.train.networks import build_network
from viso.train.run.trainer import Trainer
from viso.train.run.validation import TorchModel

WIDE = 4096


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture(params=["viso_cnn", "viso", "harmonics"])
def shipped(
    kept, request, tmp_path_factory, recipe, settings, viso_settings, drawn_network, drawn_viso
):
    """A network with wide dense layers, exported once for all tests."""
    kind = request.param
    if kind not in kept:
        if kind != "viso_cnn":
            heard = (0.5, 2.0, 3.0) if kind == "harmonics" else ()
            wide = viso_settings.model_copy(update={"hidden": 256, "harmonics": heard})
            network = drawn_viso(wide)
        else:
            wide = settings.model_copy(update={"dense": (256, 128)})
            network = drawn_network(wide)
        card = recipe(network=wide).card(parameters=network.count())
        with torch.inference_mode():
            before = network(torch.from_numpy(noise_for(card))).numpy()
        path = tmp_path_factory.mktemp("export") / "deep" / "toy.onnx"
        difference = export(network, card, path)
        kept[kind] = {
            "network": network, "before": before, "card": card, "path": path,
            "difference": difference,
        }  # fmt: skip
    return kept[kind]


def noise_for(card, seed=7):
    sides = (card.used_bins, card.chunk_frames)
    sides = sides[::-1] if card.axes == "frames-bins" else sides
    shape = (1, 4 if card.input == "complex" else 2, *sides)
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return noise if card.input == "complex" else abs(noise)


def test_the_file_agrees_with_torch(shipped):
    assert shipped["difference"] < LARGEST_DIFFERENCE
    model = OnnxModel(shipped["path"], device="cpu")
    noise = noise_for(shipped["card"])
    with torch.inference_mode():
        expected = shipped["network"](torch.from_numpy(noise)).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(model.run(noise), expected, atol=LARGEST_DIFFERENCE)


def test_the_card_is_inside(shipped):
    model = OnnxModel(shipped["path"], device="cpu")
    assert model.card == shipped["card"]
    assert model.card.parameters > 50_000
    assert model.card.basis == "mid-side"
    assert model.card.used_bins == {"complex": 128, "magnitude": 129}[model.card.input]
    assert [path.name for path in shipped["path"].parent.iterdir()] == ["toy.onnx"]


def test_wide_weights_take_half_the_room(shipped):
    network, graph = shipped["network"], onnx.load(shipped["path"])
    weights = sum(p.numel() for p in network.parameters())
    matrices = sum(b.numel() for name, b in network.named_buffers() if name.startswith("map."))
    whole = 4 * (weights + matrices)
    halved = 2 * sum(p.numel() for p in network.parameters() if p.numel() >= WIDE)
    assert halved > 0.4 * whole
    # The graph itself takes some room, too.
    assert -1000 < shipped["path"].stat().st_size - (whole - halved) < 60_000
    kinds = {}
    for constant in graph.graph.initializer:
        size = numpy_helper.to_array(constant).size
        kinds.setdefault(constant.data_type, []).append(size)
    assert min(kinds[TensorProto.FLOAT16]) >= WIDE
    assert sum(kinds[TensorProto.FLOAT16]) * 2 == halved
    onnx.checker.check_model(graph)


def test_the_network_is_folded_and_rounded_in_place_and_says_the_same(shipped):
    network = shipped["network"]
    wide = [p for p in network.parameters() if p.numel() >= WIDE]
    assert len(wide) >= 2
    assert all(torch.equal(p, p.half().float()) for p in wide)
    rows = [list(module) for module in network.modules() if isinstance(module, nn.Sequential)]
    assert any(isinstance(layer, nn.Conv2d) for row in rows for layer in row)
    assert not any(
        isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for row in rows for layer in row
    )
    with torch.inference_mode():
        after = network(torch.from_numpy(noise_for(shipped["card"]))).numpy()
    np.testing.assert_allclose(after, shipped["before"], atol=5e-3)


def test_separating_with_the_file_and_with_torch_is_the_same(shipped):
    song = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 15_000)).astype(np.float32)
    torch_model = TorchModel(shipped["network"], shipped["card"], torch.device("cpu"))
    ours = Separator(shipped["path"], device="cpu").separate(song, rate_hz=8000)
    theirs = Separator(torch_model).separate(song, rate_hz=8000)
    assert ours.vocals.std() > 0.01
    np.testing.assert_allclose(ours.vocals, theirs.vocals, atol=1e-4)
    np.testing.assert_allclose(ours.instrumental, theirs.instrumental, atol=1e-4)
    np.testing.assert_allclose(ours.vocals + ours.instrumental, song, atol=1e-6)


def test_a_file_that_differs_from_torch_never_appears(tmp_path, recipe, drawn_network):
    class Drifting(torch.nn.Module):
        """Answers differently every time."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, magnitude):
            self.calls += 1
            return self.inner(magnitude) * (1 - 0.01 * self.calls)

    network = drawn_network()
    (tmp_path / "toy.onnx").write_bytes(b"an older file")
    with pytest.raises(ModelError, match="differs from torch"):
        export(Drifting(network), recipe().card(parameters=1), tmp_path / "toy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.onnx"]
    assert (tmp_path / "toy.onnx").read_bytes() == b"an older file"


def test_a_network_that_divides_by_silence_is_refused(tmp_path, recipe, drawn_network):
    class Dividing(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, magnitude):
            mask = self.inner(magnitude)
            level = magnitude.mean(dim=(1, 2), keepdim=True)
            level = level[..., -mask.shape[-1] :]
            return mask * (level / level)

    with pytest.raises(ModelError, match="its output is NaN or infinite"):
        export(Dividing(drawn_network()), recipe().card(parameters=1), tmp_path / "toy.onnx")
    assert not list(tmp_path.iterdir())


def test_a_card_replaces_the_one_before_and_keeps_other_facts(shipped):
    graph = onnx.load(shipped["path"])
    onnx.helper.set_model_props(graph, {CARD_KEY: "old", "author": "somebody"})
    card = shipped["card"].model_copy(update={"description": "mit Übung"})
    with_card(graph, card)
    facts = {p.key: p.value for p in graph.metadata_props}
    assert facts.keys() == {CARD_KEY, "author"}
    assert json.loads(facts[CARD_KEY])["description"] == "mit Übung"


@pytest.mark.parametrize("kind", ["viso_cnn", "viso", "tfc_tdf"])
def test_a_run_is_exported_with_its_best_average_and_its_scores(tmp_path, recipe, kind):
    folder = tmp_path / "run"
    Trainer(recipe(network=kind, steps=3), folder, device="cpu").run()
    path = tmp_path / "toy.onnx"
    assert export_run(folder, path, scores={"valid_usdr_db": 3.5}) < LARGEST_DIFFERENCE
    model = OnnxModel(path, device="cpu")
    assert model.card.scores == {"valid_usdr_db": 3.5}
    assert model.card.trained_on == ("songs",)
    noise = noise_for(model.card)
    network = build_network(recipe(network=kind)).eval()
    network.load_state_dict(torch.load(folder / "best.pt", weights_only=True)["network"])
    with torch.inference_mode():
        expected = network(torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(model.run(noise), expected, atol=2e-3)


def test_a_run_that_cannot_be_exported(tmp_path, recipe):
    target = tmp_path / "toy.onnx"
    with pytest.raises(ConfigError, match="cannot be read"):
        export_run(tmp_path / "nowhere", target, scores={})
    folder = tmp_path / "run"
    Trainer(recipe(), folder, device="cpu")
    with pytest.raises(DataError, match=r"has not been validated yet"):
        export_run(folder, target, scores={})
    (folder / "best.pt").write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(DataError, match=r"best\.pt: does not fit"):
        export_run(folder, target, scores={})
    torch.save({"network": {"other": torch.zeros(3)}}, folder / "best.pt")
    with pytest.raises(DataError, match=r"best\.pt: does not fit"):
        export_run(folder, target, scores={})
    assert not target.exists()


@pytest.mark.parametrize("kind", ["viso_cnn", "viso", "tfc_tdf"])
def test_longer_chunks_than_those_of_training(tmp_path, recipe, kind):
    folder, path = tmp_path / "run", tmp_path / "long.onnx"
    Trainer(recipe(network=kind, steps=1), folder, device="cpu").run()
    assert export_run(folder, path, scores={}, chunk_frames=80) < LARGEST_DIFFERENCE
    card = OnnxModel(path, device="cpu").card
    assert card.chunk_frames == 80
    assert card.context_frames == recipe(network=kind).network.context_frames
    assert export_run(folder, path, scores={}, context_frames=16) < LARGEST_DIFFERENCE
    assert OnnxModel(path, device="cpu").card.context_frames == 16
    with pytest.raises(ConfigError, match=r"chunk_frames 41: network.* 41"):
        export_run(folder, path, scores={}, chunk_frames=41)
