"""Export: the file that ships says what the network said, at half the size."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from viso import Separator
from viso.errors import ConfigError, DataError, ModelError
from viso.model import CARD_KEY, OnnxModel
from viso.train.export import LARGEST_DIFFERENCE, export, export_run, with_card
from viso.train.loop import TorchModel, Trainer

WIDE = 4096


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def shipped(kept, tmp_path_factory, recipe, settings, drawn_network):
    """A network with wide dense layers, exported once for all tests."""
    if not kept:
        wide = settings.model_copy(update={"dense": (256, 128)})
        network = drawn_network(wide)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        card = recipe().card(parameters=network.count())
        path = tmp_path_factory.mktemp("export") / "deep" / "toy.onnx"
        difference = export(network, card, path)
        kept.update(network=network, before=before, card=card, path=path, difference=difference)
    return kept


def test_the_file_agrees_with_torch(shipped):
    assert shipped["difference"] < LARGEST_DIFFERENCE
    model = OnnxModel(shipped["path"], device="cpu")
    noise = np.random.default_rng(7).uniform(0, 3, (1, 2, 129, 40)).astype(np.float32)
    with torch.inference_mode():
        expected = shipped["network"](torch.from_numpy(noise)).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(model.run(noise), expected, atol=LARGEST_DIFFERENCE)


def test_the_card_is_inside(shipped):
    model = OnnxModel(shipped["path"], device="cpu")
    assert model.card == shipped["card"]
    assert model.card.parameters == shipped["network"].count()
    assert model.card.basis == "mid-side"
    assert [path.name for path in shipped["path"].parent.iterdir()] == ["toy.onnx"]


def test_wide_weights_take_half_the_room(shipped):
    network, graph = shipped["network"], onnx.load(shipped["path"])
    weights = sum(p.numel() for p in network.parameters())
    matrices = network.map.spread.numel() + network.map.gather.numel()
    whole = 4 * (weights + matrices)
    halved = 2 * sum(p.numel() for p in network.parameters() if p.numel() >= WIDE)
    assert halved > 0.4 * whole
    assert shipped["path"].stat().st_size == pytest.approx(whole - halved, abs=20_000)
    kinds = {}
    for constant in graph.graph.initializer:
        size = numpy_helper.to_array(constant).size
        kinds.setdefault(constant.data_type, []).append(size)
    assert min(kinds[TensorProto.FLOAT16]) >= WIDE
    assert sum(kinds[TensorProto.FLOAT16]) * 2 == halved
    onnx.checker.check_model(graph)


def test_the_network_is_rounded_in_place_to_what_ships(shipped):
    changed = 0
    for name, value in shipped["network"].state_dict().items():
        before = shipped["before"][name]
        is_wide = name in dict(shipped["network"].named_parameters()) and value.numel() >= WIDE
        assert torch.equal(value, before.half().float() if is_wide else before)
        changed += not torch.equal(value, before)
    assert changed >= 3


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


def test_a_card_replaces_the_one_before_and_keeps_other_facts(shipped):
    graph = onnx.load(shipped["path"])
    onnx.helper.set_model_props(graph, {CARD_KEY: "old", "author": "somebody"})
    card = shipped["card"].model_copy(update={"description": "mit Übung"})
    with_card(graph, card)
    facts = {p.key: p.value for p in graph.metadata_props}
    assert facts.keys() == {CARD_KEY, "author"}
    assert json.loads(facts[CARD_KEY])["description"] == "mit Übung"


def test_a_run_is_exported_with_its_best_average_and_its_scores(tmp_path, recipe):
    folder = tmp_path / "run"
    trainer = Trainer(recipe(steps=3), folder)
    list(trainer.run())
    path = tmp_path / "toy.onnx"
    assert export_run(folder, path, scores={"valid_usdr_db": 3.5}) < LARGEST_DIFFERENCE
    model = OnnxModel(path, device="cpu")
    assert model.card.scores == {"valid_usdr_db": 3.5}
    assert model.card.trained_on == ("songs",)
    noise = np.random.default_rng(7).uniform(0, 3, (1, 2, 129, 40)).astype(np.float32)
    with torch.inference_mode():
        expected = trainer.average(torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(model.run(noise), expected, atol=2e-3)


def test_a_run_that_cannot_be_exported(tmp_path, recipe):
    target = tmp_path / "toy.onnx"
    with pytest.raises(ConfigError, match="cannot be read"):
        export_run(tmp_path / "nowhere", target, scores={})
    folder = tmp_path / "run"
    Trainer(recipe(), folder)
    with pytest.raises(DataError, match=r"no best\.pt"):
        export_run(folder, target, scores={})
    (folder / "best.pt").write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(DataError, match=r"best\.pt does not fit"):
        export_run(folder, target, scores={})
    torch.save({"network": {"other": torch.zeros(3)}}, folder / "best.pt")
    with pytest.raises(DataError, match=r"best\.pt does not fit"):
        export_run(folder, target, scores={})
    assert not target.exists()
