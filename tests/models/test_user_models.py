"""A user's own models: where they lie, what they are called, and what a broken one does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from helpers.small_models import SMALL, mask_card, song
from viso import Separator
from viso.audio import write
from viso.errors import ModelError
from viso.models import registry
from viso.models.blend import load
from viso.models.masknet import apply_graph

VISO = [sys.executable, "-c", "from viso.cli import main; main()"]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="XDG is of Linux")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account whose folder of models does not exist yet, and no models of a checkout."""
    noted = tmp_path / "packages" / "viso_audio-9.dist-info"
    noted.mkdir(parents=True)
    (noted / "METADATA").write_text("Metadata-Version: 2.1\nName: viso-audio\nVersion: 9\n")
    monkeypatch.syspath_prepend(str(noted.parent))
    monkeypatch.setenv("PYTHONPATH", str(noted.parent), prepend=os.pathsep)
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "account"))
    return registry.user_folder()


def viso(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VISO, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def put(model: Path, folder: Path, name: str) -> Path:
    """Copy a model into a folder under another name, in its card, too."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = onnx.load(model)
    helper.set_model_props(graph, {"viso.card": mask_card(name=name).model_dump_json()})
    onnx.save(graph, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


# Where they lie


def test_a_missing_folder_holds_nothing(own: Path) -> None:
    assert not own.exists()
    assert registry.available() == registry.packaged()
    assert load(registry.DEFAULT).card.name == registry.DEFAULT
    assert not own.exists()
    with pytest.raises(ModelError, match=r"mine: no packaged model.*viso-cnn.*yours: none"):
        load("mine")


def test_the_packaged_come_first_then_the_users(own: Path, mask_model: Path) -> None:
    for name in ("zebra", "ant-1.0"):
        put(mask_model, own, name)
    (own / ".being-written.part.onnx").write_bytes(b"half")
    assert registry.available() == [*registry.packaged(), "ant-1.0", "zebra"]
    assert registry.packaged()[0] == registry.DEFAULT
    assert registry.path_of("ant-1.0") == own / "ant-1.0.onnx"
    assert load("ant-1.0").card.name == "ant-1.0"
    with pytest.raises(ModelError, match=r"yours: ant-1\.0, zebra"):
        load("bee")


def test_a_packaged_name_cannot_be_shadowed(own: Path, mask_model: Path) -> None:
    put(mask_model, own, registry.DEFAULT)
    assert registry.available() == registry.packaged()
    assert registry.path_of(registry.DEFAULT).parent == registry.PACKAGED
    assert load(registry.DEFAULT).card.spectral != SMALL


def test_another_folder(own: Path, mask_model: Path, tmp_path: Path) -> None:
    path = put(mask_model, tmp_path / "elsewhere", "mine")
    assert "mine" not in registry.available()
    assert "mine" in registry.available(folder=path.parent)
    assert registry.path_of("mine", folder=path.parent) == path


@LINUX
def test_the_folder_is_looked_up_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert registry.user_folder() == Path("/data/viso/models")
    for said in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", said)
        assert registry.user_folder() == Path("/home/somebody/.local/share/viso/models")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert registry.user_folder() == Path("/home/somebody/.local/share/viso/models")


@pytest.mark.parametrize(
    ("platform", "end"),
    [("darwin", "Library/Application Support/viso/models"), ("win32", "local/viso/models")],
)
def test_other_systems(monkeypatch: pytest.MonkeyPatch, platform: str, end: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("LOCALAPPDATA", "/users/me/local")
    assert registry.user_folder().as_posix().endswith(end)


def test_an_account_without_a_home(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(path: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("LOCALAPPDATA", "")
    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert registry.available() == registry.packaged()
    with pytest.raises(ModelError, match="--folder"):
        registry.user_folder()


# On the command line


def test_ones_own_are_listed_and_separate_by_name(
    own: Path, mask_model: Path, tmp_path: Path
) -> None:
    path = put(mask_model, own, "mine")
    names = [
        json.loads(line)["name"]
        for line in viso("models", "--json", cwd=tmp_path).stdout.split("\n")
        if line
    ]
    assert names == [*registry.packaged(), "mine"]
    told = viso("models", "mine", cwd=tmp_path)
    assert "mine" in told.stdout
    assert "file" in told.stdout
    listed = viso("models", "list", path, "--json", cwd=tmp_path)
    assert json.loads(listed.stdout)["file"] == str(path)
    write(tmp_path / "song.wav", song(2, 20_000), rate_hz=44_100)
    done = viso("separate", "song.wav", "--model", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_folder_on_the_command_line(own: Path, mask_model: Path, tmp_path: Path) -> None:
    put(mask_model, tmp_path / "elsewhere", "mine")
    told = viso("models", "mine", "--folder", "elsewhere", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["name"] == "mine", told.stderr
    assert viso("models", "mine", cwd=tmp_path).returncode == 1


def test_a_broken_file_hides_no_other(own: Path, mask_model: Path, tmp_path: Path) -> None:
    put(mask_model, own, "zebra")
    (own / "broken.onnx").write_bytes(b"no model")
    told = viso("models", "--json", cwd=tmp_path)
    assert told.returncode == 1
    assert [json.loads(line)["name"] for line in told.stdout.splitlines()][-1] == "zebra"
    assert told.stderr.count("\n") == 1
    assert "broken.onnx" in told.stderr


def test_help_and_a_file_that_is_called_as_a_command(
    own: Path, mask_model: Path, tmp_path: Path
) -> None:
    for words in (["models", "--help"], ["models", "-h"]):
        told = viso(*words, cwd=tmp_path)
        assert told.returncode == 0
        assert "import" in told.stdout
        assert "list" in told.stdout
    shutil.copy(mask_model, tmp_path / "import")
    assert json.loads(viso("models", "./import", "--json", cwd=tmp_path).stdout)["name"] == "tiny"


# What a mask does above the bins that a network sees


@pytest.mark.parametrize("basis", ["left-right", "mid-side"])
@pytest.mark.parametrize("above", ["highest", "average", "zeros"])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_above_the_bins_of_a_mask(above: str, basis: str, gain: float) -> None:
    n_seen = SMALL.n_bins - 100
    card = mask_card(basis=basis, n_bins=n_seen, chunk_frames=77, above=above, gain=gain)
    random = np.random.default_rng(0)
    parts = random.standard_normal((2, 2, SMALL.n_bins, 77))
    chunk = (parts[0] + 1j * parts[1]).astype(np.complex64)
    mask = random.random((2, n_seen, card.step_frames), np.float32)
    turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2) if basis == "mid-side" else np.eye(2)
    rows = {"highest": mask[:, -1:], "average": mask.mean(axis=1, keepdims=True)}
    row = rows.get(above, np.zeros((2, 1, card.step_frames)))
    full = np.concatenate([mask, np.repeat(row, 100, axis=1)], axis=1)
    rotated = np.einsum("ij,jbt->ibt", turn, chunk)
    expected = np.einsum("ij,jbt->ibt", turn, full * rotated[:, :, 4:-4]) * gain
    found = apply_graph(lambda _: mask[None], chunk, card=card)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if above == "zeros":
        assert not found[:, n_seen:].any()


@pytest.mark.parametrize("above", ["average", "zeros"])
def test_a_stream_stays_exact(above: str) -> None:
    card = mask_card(n_bins=200, above=above)

    class Ratio:
        """A mask that is each magnitude over its neighbourhood's sum."""

        def __init__(self) -> None:
            self.card = card

        def estimate(self, chunk: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
            def graph(x: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
                return x / (x + np.roll(x, 1, axis=3) + np.float32(1e-6))

            return apply_graph(graph, chunk, card=card)

    separator = Separator(Ratio())
    mixture = song(2, 30_000)
    whole = separator.separate(mixture, rate_hz=44_100)
    for size in (700, 9_000):
        blocks = (mixture[:, i : i + size] for i in range(0, mixture.shape[1], size))
        parts = [v for v, _ in separator.stream(blocks, rate_hz=44_100, n_channels=2)]
        assert np.array_equal(np.concatenate(parts, axis=1), whole.vocals)
    assert np.array_equal(whole.vocals + whole.instrumental, mixture)


# Files in the folder that cannot be read


@pytest.fixture
def hostile(own: Path, mask_model: Path) -> Path:
    """Models of strangers beside one that is whole."""
    zebra = put(mask_model, own, "zebra")
    cards = {
        "deep": "[" * 30_000,
        "deep-and-whole": "[" * 30_000 + "]" * 30_000,
        "no-card": "[]",
        "huge-number": '{"name": ' + "1" * 5000 + "}",
        "surrogate": '{"name": "\\ud800"}',
    }
    for name, card in cards.items():
        graph = onnx.load(zebra)
        helper.set_model_props(graph, {"viso.card": card})
        onnx.save(graph, own / f"{name}.onnx")
    plain = onnx.load(zebra)
    helper.set_model_props(plain, {"viso.card": "is-no-text"})
    data = plain.SerializeToString().replace(b"is-no-text", b"\xff\xfe-no-text")
    (own / "no-text.onnx").write_bytes(data)
    (own / "deep-blend.toml").write_text("a = " + "[" * 100_000)
    (own / "dots-blend.toml").write_text("a" + ".a" * 10_000 + " = 1")
    (own / "long-blend.toml").write_text(f'name = "long"\nmodels = "{"+".join(["x"] * 50_000)}"')
    (own / "gone.onnx").symlink_to(own / "nowhere")
    (own / "folder.onnx").mkdir()
    (own / "folder.toml").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(own / "pipe.toml")
    return own


def test_files_that_cannot_be_read_are_a_line_each(hostile: Path, tmp_path: Path) -> None:
    told = viso("models", "--json", cwd=tmp_path)
    assert told.returncode == 1
    names = [json.loads(line)["name"] for line in told.stdout.splitlines()]
    assert names == [*registry.packaged(), "zebra"], told.stderr
    broken = set(registry.available()) - set(names)
    assert len(broken) >= 11
    lines = told.stderr.splitlines()
    assert len(lines) == len(broken), told.stderr
    assert all(line.startswith("error: ") and len(line) < 1000 for line in lines)
    for name in broken:
        assert sum(f"{name}." in line for line in lines) == 1, (name, told.stderr)


def test_the_studio_offers_the_others(hostile: Path) -> None:
    from viso.studio.worker import DescribeModels, _described

    told = _described(DescribeModels(models=()))
    assert [offer.name for offer in told.offers] == [*registry.packaged(), "zebra"]
    assert len(told.refusals) >= 11
