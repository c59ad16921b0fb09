"""Checkpoints of the demucs package: agreement with its network, refusals of everything else."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import types
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.small_models import song
from viso import Separator
from viso.cli import app
from viso.errors import ModelError
from viso.models.card import SegmentCard
from viso.models.htdemucs import TERMS
from viso.models.segments import OnnxSegmentModel
from viso.train.importing import Wishes, import_model
from viso.train.importing.htdemucs_network import HTDemucs, Shape

STEMS = ("drums", "bass", "other", "vocals")
SMALL = {
    "sources": list(STEMS),
    "audio_channels": 2,
    "channels": 8,
    "nfft": 512,
    "depth": 2,
    "dconv_mode": 3,
    "bottom_channels": 32,
    "t_layers": 2,
    "t_heads": 4,
    "segment": Fraction(1, 5),
    "t_dropout": 0.02,
    "samplerate": 44_100,
}
SAID = Wishes(licence="research", name="small")


class HTDemucsOfDemucs:
    """Pickled under the name of the class in the demucs package."""


def named(klass, module, name):
    klass.__module__, klass.__qualname__, klass.__name__ = module, name, name
    return klass


def network_of(values=SMALL, *, seed=0):
    """A network of random weights, none of which is 0 or 1."""
    torch.manual_seed(seed)
    network = HTDemucs(
        Shape(**{name: values[name] for name in values if name in Shape.model_fields})
    ).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 1 or name.endswith("in_proj_weight"):
                weight.copy_(torch.randn_like(weight) * 0.2 + (0.5 if "scale" in name else 0.05))
            weight.copy_(weight.half())
    return network


def checkpoint(path, *, klass="demucs.htdemucs.HTDemucs", values=SMALL, state=None, **more):
    """Write a checkpoint as the demucs package does, in half precision."""
    module, _, name = klass.rpartition(".")
    package = types.ModuleType(module)
    inside = named(type("C", (), {}), module, name)
    setattr(package, name, inside)
    if state is None:
        state = network_of(values).state_dict()
    state = {key: value.half() for key, value in state.items()}
    content = {"klass": inside, "args": (), "kwargs": dict(values), "state": state}
    parents = {module: package, module.partition(".")[0]: types.ModuleType("parent")}
    before = {name: sys.modules.get(name) for name in parents}
    sys.modules.update(parents)
    try:
        torch.save({**content, "training_args": {"seed": 42}, **more}, path)
    finally:
        for name, old in before.items():
            sys.modules.pop(name) if old is None else sys.modules.__setitem__(name, old)
    return path


def test_a_checkpoint_becomes_a_model(tmp_path):
    path = checkpoint(tmp_path / "small.th")
    done = import_model(path, SAID, folder=tmp_path / "models")
    assert done.path == tmp_path / "models" / "small.onnx"
    assert isinstance(done.card, SegmentCard)
    assert 0 < done.difference < 1e-5
    assert done.card.segment_samples == 8820
    assert (done.card.n_fft, done.card.hop, done.card.stems) == (512, 128, STEMS)
    assert done.card.licence == "research"
    assert done.card.terms == ""
    assert hashlib.sha256(path.read_bytes()).hexdigest() in done.card.origin
    vocals = OnnxSegmentModel(done.path).estimate(song(2, 8820, seed=1))
    assert np.abs(vocals).max() > 1e-3


def test_a_song_is_separated_with_it(tmp_path):
    done = import_model(checkpoint(tmp_path / "small.th"), SAID, folder=tmp_path)
    mixture = song(2, 30_000, seed=2)
    stems = Separator(str(done.path)).separate(mixture, rate_hz=44_100)
    np.testing.assert_allclose(stems.vocals + stems.instrumental, mixture, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dconv_mode": 1, "bottom_channels": 0, "t_cross_first": True, "depth": 3, "growth": 2},
        {"t_layers": 0, "freq_emb": 0, "dconv_depth": -1, "context_enc": 1, "context": 2},
        {"sources": [*STEMS, "guitar", "piano"], "t_weight_pos_embed": 0.5, "emb_scale": 3},
    ],
    ids=["small", "narrow", "without-transformer", "six-stems"],
)
def test_the_demucs_package_says_the_same(tmp_path, changes):
    """Samples in, samples of all stems out; the published shape has the same layers."""
    published = pytest.importorskip("demucs.htdemucs").HTDemucs
    values = {**SMALL, **changes}
    mine = network_of(values, seed=3)
    reference = published(**values).eval()
    reference.load_state_dict(mine.state_dict())
    path = tmp_path / "a.th"
    torch.save(
        {"klass": published, "args": (), "kwargs": values, "state": reference.state_dict()}, path
    )
    done = import_model(path, SAID, folder=tmp_path)
    model = OnnxSegmentModel(done.path)
    segment = song(2, 8820, seed=4)
    segment /= np.sqrt(np.mean(segment**2))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(segment)[None])[0, 3].numpy()
    error = np.sqrt(np.mean((model.estimate(segment) - expected) ** 2))
    assert error < 1e-5 * np.sqrt(np.mean(expected**2))


def test_published_files_are_known_by_their_names(tmp_path):
    path = checkpoint(tmp_path / "a.th")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(tmp_path / f"04573f0d-{digest[:8]}.th")
    done = import_model(path, Wishes(licence="research"), folder=tmp_path)
    assert done.card.name == "htdemucs_ft-vocals"
    assert done.card.terms == TERMS
    path = path.rename(tmp_path / "04573f0d-00000000.th")
    with pytest.raises(ModelError, match=r"is damaged: its name says a sha256 of 00000000"):
        import_model(path, Wishes(licence="research"), folder=tmp_path)


def test_the_command_shows_terms(tmp_path):
    path = checkpoint(tmp_path / "a.th")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(tmp_path / f"955717e8-{digest[:8]}.th")
    arguments = ["models", "import", str(path), "--folder", str(tmp_path / "models")]
    ran = CliRunner().invoke(app, [*arguments, "--licence", "research"])
    assert ran.exit_code == 0, ran.output
    assert "personal and research use" in " ".join(ran.output.split())
    assert (tmp_path / "models" / "htdemucs.onnx").is_file()
    ran = CliRunner().invoke(app, [*arguments, "--licence", "research", "--hop", "512"])
    assert isinstance(ran.exception, ModelError)
    assert "hop is not to choose of this kind, htdemucs" in str(ran.exception)


def refused(path, reason, tmp_path):
    with pytest.raises(ModelError, match=reason) as raised:
        import_model(path, SAID, folder=tmp_path / "models")
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "models").glob("*"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"klass": "demucs.hdemucs.HDemucs"}, "of the class demucs.hdemucs.HDemucs, not"),
        ({"values": {**SMALL, "t_emb": "cape"}}, "t_emb is 'cape'; only 'sin' is known"),
        ({"values": {**SMALL, "cac": False}}, "cac is False"),
        ({"values": {**SMALL, "norm_starts": 1}}, "norm_starts is below depth"),
        ({"values": {**SMALL, "multi_freqs": [0.5]}}, "multi_freqs"),
        ({"values": {**SMALL, "channels": 1 << 30}}, "channels is 1.07374e"),
        ({"values": {**SMALL, "channels": "8 of them"}}, "channels"),
        ({"values": {**SMALL, "channels": torch.ones(3)}}, "channels"),
        ({"values": {**SMALL, "depth": 4}}, "keep more than one bin"),
        ({"values": {**SMALL, "t_heads": 5}}, "5 heads; such a shape"),
        ({"values": {**SMALL, "segment": 10**6}}, "segments of 1000000 s"),
        ({"values": {**SMALL, "segment": 500}}, "segments of 500 s"),
        ({"values": {**SMALL, "sources": ["drums", "bass"]}}, "vocals must be among them"),
        ({"values": {**SMALL, "channels": 16}}, r"is \[8, 4, 8, 1\], not \[16, 4, 8, 1\]"),
        ({"kwargs": None}, "no class and arguments"),
        ({"args": (1, 2, 3, 4)}, "4 arguments without names"),
        ({"state": {"__quantized": torch.ones(1)}}, "quantized"),
        ({"state": {}}, r"has no encoder\.0\.conv\.weight"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_networks_are_refused(tmp_path, changes, reason):
    state = {"state": network_of().state_dict(), **changes}
    refused(checkpoint(tmp_path / "a.th", **state), reason, tmp_path)


def test_weights_that_are_not_finite(tmp_path):
    state = network_of().state_dict()
    state["decoder.1.conv_tr.bias"][0] = np.nan
    path = checkpoint(tmp_path / "a.th", state=state)
    refused(path, r"decoder\.1\.conv_tr\.bias holds NaN", tmp_path)


class Command:
    """Would run a command if it was unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.system, (f"touch {self._path}",)


class Build:
    """Asks for a fraction of a size that nothing can hold."""

    def __reduce__(self):
        return Fraction, ("1e999999999",)


def test_nothing_in_a_file_is_run(tmp_path):
    ran = tmp_path / "ran"
    refused(checkpoint(tmp_path / "a.th", more=Command(ran)), "system, which weights", tmp_path)
    assert not ran.exists()
    values = {**SMALL, "segment": Build()}
    refused(checkpoint(tmp_path / "b.th", values=values), "no fraction", tmp_path)
    # Objects of the training program stand beside the weights, and are never imported.
    package = types.ModuleType("omegaconf")
    package.DictConfig = named(type("D", (), {}), "omegaconf", "DictConfig")
    before = sys.modules.get("omegaconf")
    sys.modules["omegaconf"] = package
    try:
        config = package.DictConfig()
        config.values = [1]
        path = checkpoint(tmp_path / "c.th", training_args=config)
    finally:
        del sys.modules["omegaconf"]
        if before is not None:
            sys.modules["omegaconf"] = before
    assert import_model(path, SAID, folder=tmp_path).path.is_file()


def test_damaged_files(tmp_path):
    whole = checkpoint(tmp_path / "whole.th").read_bytes()
    path = tmp_path / "a.th"
    for content in (b"", b"no archive", whole[: len(whole) // 2], pickle.dumps({"klass": 1})):
        path.write_bytes(content)
        refused(path, "no weights that torch can read safely", tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1], protocol=2))
        archive.writestr("archive/version", "3")
    refused(path, "holds no dictionary, but list|no weights that torch", tmp_path)
    torch.save([1], path)
    refused(path, "holds no dictionary, but list", tmp_path)
    refused(tmp_path / "none.th", "no such file", tmp_path)
    with pytest.raises(ModelError, match="under which licence"):
        import_model(path, Wishes(name="small"), folder=tmp_path)
