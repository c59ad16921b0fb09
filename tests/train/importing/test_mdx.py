"""MDX-Net files: a card is put inside, from options or from what lies beside; refusals."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.small_models import build_onnx, mask_card, mdx_network, song
from viso import Separator
from viso.dsp.stft import istft, stft
from viso.errors import ConfigError, ModelError
from viso.models.onnx import OnnxModel
from viso.train.importing import Wishes, import_model, mdx

BINS, FRAMES = 300, 64
SAID = Wishes(n_fft=768, hop=128, target="vocals", gain=1.2, licence="ask its author")
CARD = """
name = "beside"
input = "complex"
output = "complex"
target = "instrumental"
n_bins = 300
chunk_frames = 64
context_frames = 4
licence = "MIT"

[spectral]
n_fft = 768
hop = 128
"""


def network(folder, factor=0.5, name="My MDX (1).onnx"):
    """A file that multiplies all that it sees."""
    weights = np.eye(4, dtype=np.float32)[:, :, None, None] * np.float32(factor)
    return mdx_network(folder / name, weights=weights, bins=BINS, frames=FRAMES)


def test_options_become_its_card(tmp_path):
    path = network(tmp_path)
    before = path.read_bytes()
    done = import_model(path, SAID, folder=tmp_path / "own")
    assert path.read_bytes() == before
    model = OnnxModel(done.path)
    assert model.card == done.card
    assert model.card.name == "My-MDX-1"
    assert (model.card.n_bins, model.card.chunk_frames) == (BINS, FRAMES)
    assert model.card.context_frames == 16
    assert model.card.licence == "ask its author"
    assert "My MDX (1).onnx, sha256 " in model.card.origin
    separator = Separator(done.path)
    mixture = song(2, 40_000)
    frames = stft(mixture, config=model.card.spectral)
    frames[:, BINS:] = 0
    expected = istft(frames * np.float32(0.6), config=model.card.spectral, n_samples=40_000)
    stems = separator.separate(mixture, rate_hz=44_100)
    assert np.abs(stems.vocals - expected).max() < 1e-6
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["My-MDX-1.onnx"]


def test_a_file_whose_name_makes_none(tmp_path):
    path = network(tmp_path, name="模型.onnx")
    wishes = SAID.model_copy(update={"name": "mine"})
    assert import_model(path, wishes, folder=tmp_path / "own").card.name == "mine"
    path.with_suffix(".toml").write_text(CARD, encoding="utf-8")
    assert import_model(path, folder=tmp_path / "own").card.name == "beside"
    path.with_suffix(".toml").unlink()
    refused(path, "say --name")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_a_file_whose_name_is_no_text(tmp_path):
    path = network(tmp_path).rename(tmp_path / os.fsdecode(b"caf\xe9.onnx"))
    card = OnnxModel(import_model(path, SAID, folder=tmp_path / "own").path).card
    assert card.name == "caf"
    assert r"caf\udce9.onnx, sha256 " in card.origin


def test_the_exponent_of_the_lists(tmp_path):
    wishes = SAID.model_copy(update={"chunk_frames": 6, "n_bins": BINS})
    assert import_model(network(tmp_path), wishes, folder=tmp_path).card.chunk_frames == 64


def test_the_usual_hop_is_1024(tmp_path):
    wishes = SAID.model_copy(update={"n_fft": 6144, "hop": None})
    card = import_model(network(tmp_path), wishes, folder=tmp_path).card
    assert (card.spectral.n_fft, card.spectral.hop) == (6144, 1024)


def test_a_card_beside_it_and_options_over_it(tmp_path):
    path = network(tmp_path)
    path.with_suffix(".toml").write_text(CARD, encoding="utf-8")
    card = import_model(path, folder=tmp_path / "own").card
    assert (card.name, card.target, card.licence) == ("beside", "instrumental", "MIT")
    wishes = Wishes(name="other", target="vocals", hop=192, context_frames=0)
    card = import_model(path, wishes, folder=tmp_path / "own").card
    assert (card.name, card.target, card.licence) == ("other", "vocals", "MIT")
    assert (card.spectral.n_fft, card.spectral.hop, card.context_frames) == (768, 192, 0)


def test_a_model_of_ours_is_taken_with_its_card(tmp_path):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    shape = [1, 2, 257, 24]
    card = mask_card(name="ours")
    path = build_onnx(tmp_path / "any.onnx", [node], {}, in_shape=shape, out_shape=shape, card=card)
    done = import_model(path, folder=tmp_path / "own")
    assert done.card == card
    assert done.path == tmp_path / "own" / "ours.onnx"


KARAOKE = {"mdx_dim_f_set": BINS, "mdx_dim_t_set": 6, "mdx_n_fft_scale_set": 3072,
           "primary_stem": "Instrumental", "compensate": 1.065, "is_karaoke": True}  # fmt: skip


@pytest.mark.parametrize("n_before", [0, 12_000_000])
def test_a_file_of_the_list_needs_no_options(tmp_path, monkeypatch, n_before):
    """It is known by the MD5 of its last 10,000 KiB, or of all of it."""
    path = network(tmp_path)
    if n_before:
        graph = onnx.load(path)
        unused = onnx.numpy_helper.from_array(np.ones(n_before // 4, np.float32), "unused")
        graph.graph.initializer.append(unused)
        path.write_bytes(graph.SerializeToString())
    content = path.read_bytes()
    assert (len(content) > 10_240_000) == bool(n_before)
    digest = hashlib.md5(content[-10_240_000:]).hexdigest()
    monkeypatch.setattr(mdx, "_list", lambda: {digest: KARAOKE})
    card = import_model(path, Wishes(licence="MIT"), folder=tmp_path / "own").card
    assert (card.spectral.n_fft, card.spectral.hop, card.n_bins) == (3072, 1024, BINS)
    assert (card.target, card.chunk_frames, card.gain) == ("instrumental", 64, 1.065)
    assert "lead voice" in card.limits[0]
    wishes = Wishes(licence="MIT", gain=2.0, n_fft=768, hop=128)
    card = import_model(path, wishes, folder=tmp_path / "own", overwrite=True).card
    assert (card.spectral.n_fft, card.spectral.hop, card.gain) == (768, 128, 2.0)
    assert card.target == "instrumental"


def test_the_list_holds_facts_that_fit(tmp_path):
    files = mdx._list()
    assert files["970b3f9492014d18fefeedfe4773cb42"] == {
        "mdx_dim_f_set": 3072, "mdx_dim_t_set": 8, "mdx_n_fft_scale_set": 7680,
        "primary_stem": "Vocals", "compensate": 1.009,
    }  # fmt: skip
    for digest, facts in files.items():
        assert len(digest) == 32
        assert facts["mdx_dim_f_set"] <= facts["mdx_n_fft_scale_set"] // 2 + 1
        assert facts["primary_stem"] in (
            "Vocals",
            "Instrumental",
            "Drums",
            "Bass",
            "Other",
            "Reverb",
        )


# What is refused


def refused(path, reason, wishes=SAID, error=ModelError):
    folder = path.parent / "out"
    with pytest.raises(error, match=reason) as caught:
        import_model(path, wishes, folder=folder)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value) or path.with_suffix(".toml").name in str(caught.value)
    assert not folder.exists() or not list(folder.iterdir())


def test_what_must_be_said(tmp_path):
    path = network(tmp_path)
    refused(path, r"say --n-fft \(mdx_n_fft_scale_set\), --target", Wishes(licence="MIT"))
    refused(path, "Say --licence", SAID.model_copy(update={"licence": None}))
    without = CARD.replace('licence = "MIT"', "")
    path.with_suffix(".toml").write_text(without, encoding="utf-8")
    refused(path, "Say --licence", Wishes())


def test_a_file_of_the_list_with_another_stem(tmp_path, monkeypatch):
    path = network(tmp_path)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(mdx, "_list", lambda: {digest: {**KARAOKE, "primary_stem": "Drums"}})
    refused(path, "its stem is drums; give a file of the vocals", Wishes(licence="MIT"))


def test_no_network(tmp_path):
    path = tmp_path / "a.onnx"
    for content in (b"", b"no network", b"\x08\x09" * 500):
        path.write_bytes(content)
        refused(path, "no ONNX file")


@pytest.mark.parametrize("change", [{"n_bins": 301}, {"chunk_frames": 128}, {"chunk_frames": 7}])
def test_figures_that_do_not_fit_the_graph(tmp_path, change):
    refused(network(tmp_path), "does not fit", SAID.model_copy(update=change))


def test_figures_that_fit_nothing(tmp_path):
    refused(network(tmp_path), "n_fft", SAID.model_copy(update={"n_fft": 128}), ConfigError)
    refused(network(tmp_path), "gain", SAID.model_copy(update={"gain": -1.0}), ConfigError)


def test_a_network_that_gives_nan(tmp_path):
    refused(network(tmp_path, np.nan), "its output is NaN or infinite")


def test_other_files_and_folders(tmp_path):
    with pytest.raises(ModelError, match=r"song\.mp3: no such file"):
        import_model(tmp_path / "song.mp3", folder=tmp_path)
    (tmp_path / "song.mp3").touch()
    with pytest.raises(ModelError, match=r"song\.mp3: which kind of model is it\?.*--kind"):
        import_model(tmp_path / "song.mp3", folder=tmp_path)
    with pytest.raises(ModelError, match=r"song\.mp3: no ONNX file"):
        import_model(tmp_path / "song.mp3", kind="mdx", folder=tmp_path)


def test_names_that_are_taken(tmp_path):
    path = network(tmp_path)
    named = SAID.model_copy(update={"name": "mine"})
    first = import_model(path, named, folder=tmp_path / "own").path.read_bytes()
    other = SAID.model_copy(update={"name": "mine", "licence": "CC0"})
    with pytest.raises(ModelError, match=r"mine\.onnx: is already there; use --overwrite"):
        import_model(path, other, folder=tmp_path / "own")
    assert (tmp_path / "own" / "mine.onnx").read_bytes() == first
    import_model(path, other, folder=tmp_path / "own", overwrite=True)
    assert OnnxModel(tmp_path / "own" / "mine.onnx").card.licence == "CC0"
    packaged = SAID.model_copy(update={"name": "viso-cnn"})
    with pytest.raises(ModelError, match=r"viso-cnn: so a packaged model is called.*--name"):
        import_model(path, packaged, folder=tmp_path / "own", overwrite=True)
    for name in ("../mine", "", "a/b"):
        with pytest.raises(ConfigError, match="name"):
            import_model(path, SAID.model_copy(update={"name": name}), folder=tmp_path / "own")
    assert [Path(p).name for p in (tmp_path / "own").iterdir()] == ["mine.onnx"]


def test_weights_in_another_file_are_refused(tmp_path):
    path = network(tmp_path)
    graph = onnx.load(path)
    onnx.external_data_helper.set_external_data(graph.graph.initializer[0], location="/etc/passwd")
    graph.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(graph.SerializeToString())
    refused(path, "weights lie in another file")
