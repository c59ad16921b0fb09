"""`viso models import` as a person meets it; its models run without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from helpers.small_models import mdx_network, song
from viso.audio import write

pytest.importorskip("torch", reason="needs the extra [train]")

WITHOUT = "import sys\nfor name in ('torch', 'onnx', 'lightning'): sys.modules[name] = None\n"
MAIN = "from viso.cli import main; main()"
SAID = ("--n-fft", 768, "--hop", 128, "--target", "vocals", "--licence", "CC0", "--dim-t", 6)


def viso(*words, cwd, code=MAIN):
    account = {name: str(cwd / "account") for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME")}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=120, env={**os.environ, **account},
    )  # fmt: skip


@pytest.fixture
def network(tmp_path):
    half = np.eye(4, dtype=np.float32)[:, :, None, None] * np.float32(0.5)
    return mdx_network(tmp_path / "net.onnx", weights=half, bins=300, frames=64)


def test_import_then_separate_by_name_without_torch(network, tmp_path):
    done = viso("models", "import", "net.onnx", *SAID, "--compensate", 1.1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "licence: CC0" in done.stdout
    assert done.stdout.splitlines()[-1] == "viso separate SONG --model net"
    listed = viso("models", cwd=tmp_path, code=WITHOUT + MAIN)
    assert listed.returncode == 0, listed.stderr
    assert "viso-cnn" in listed.stdout
    assert "CC0" in listed.stdout
    write(tmp_path / "song.wav", song(2, 20_000), rate_hz=44_100)
    ran = viso("separate", "song.wav", "--model", "net", cwd=tmp_path, code=WITHOUT + MAIN)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "separated" / "song" / "vocals.wav").exists()
    again = viso("models", "import", "net.onnx", *SAID, cwd=tmp_path)
    assert again.returncode == 1
    assert "is already there; use --overwrite" in again.stderr
    assert viso("models", "import", "net.onnx", *SAID, "--overwrite", cwd=tmp_path).returncode == 0


def test_another_folder_is_named_by_path(network, tmp_path):
    done = viso("models", "import", "net.onnx", *SAID, "--folder", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = done.stdout.split()[-1]
    assert (tmp_path / model).is_file()
    assert viso("models", model, cwd=tmp_path).returncode == 0


def test_without_the_extra(network, tmp_path):
    refused = viso("models", "import", "net.onnx", *SAID, cwd=tmp_path, code=WITHOUT + MAIN)
    assert refused.returncode == 1
    assert "[train]" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.whl"], "no such file"),
        (["net.onnx"], "--n-fft"),
        (["net.onnx", "--kind", "open-unmix"], "no weights that torch can read"),
        (["net.onnx", "--kind", "spleeter", "--n-fft", 4096], "n_fft is not to choose"),
    ],
)
def test_refusals_are_one_line(network, tmp_path, words, reason):
    refused = viso("models", "import", *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert words[0] in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "account").exists()
