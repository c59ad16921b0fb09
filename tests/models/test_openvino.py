"""OpenVINO as a second runtime: the same file, card, shapes and checks, in bfloat16 or float32."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from helpers.small_models import segment_network, song
from viso import Separator
from viso.audio import write
from viso.cli import app
from viso.errors import ModelError
from viso.models.blend import load
from viso.models.runtimes import open_session
from viso.models.session import OnnxSession

pytest.importorskip("openvino")
RATE_HZ = 44_100


def level_db(difference: npt.NDArray[np.float32], signal: npt.NDArray[np.float32]) -> float:
    return 10 * float(np.log10(np.square(difference).sum() / np.square(signal).sum() + 1e-20))


@pytest.fixture(params=["frames", "segments", "viso"])
def model(request: pytest.FixtureRequest, tmp_path: Path, mask_model: Path) -> str:
    if request.param == "segments":
        return str(segment_network(tmp_path / "segments.onnx", of_samples=0.3, of_spectrum=0.4))
    return "viso" if request.param == "viso" else str(mask_model)


def test_both_runtimes_agree(model: str) -> None:
    mixture = song(2, 60_000, seed=9)
    expected = Separator(model, device="cpu").separate(mixture, rate_hz=RATE_HZ)
    separator = Separator(model, device="openvino", threads=1)
    assert separator.device in ("openvino-bf16", "openvino-f32")
    found = separator.separate(mixture, rate_hz=RATE_HZ)
    # bfloat16 keeps 8 bits of a factor.
    worst_db = -30 if separator.device == "openvino-bf16" else -80
    assert level_db(found.vocals - expected.vocals, expected.vocals) < worst_db
    np.testing.assert_allclose(found.vocals + found.instrumental, mixture, atol=1e-7)
    again = Separator(model, device="openvino", threads=1).separate(mixture, rate_hz=RATE_HZ)
    np.testing.assert_array_equal(again.vocals, found.vocals)
    assert separator.sha256 == Separator(model, device="cpu").sha256


def test_sessions_describe_a_graph_alike(mask_model: Path) -> None:
    ours, theirs = open_session(mask_model, device="openvino"), OnnxSession(mask_model)
    assert (ours.card(), ours.sha256) == (theirs.card(), theirs.sha256)
    assert [side.name for side in ours.inputs] == [side.name for side in theirs.inputs]
    assert ours.inputs[0].type == theirs.inputs[0].type == "tensor(float)"
    # Not even a wrong input ends in an error that is no line.
    with pytest.raises(ModelError, match="failed while running"):
        ours.run({"nothing": np.zeros(3, np.float32)})


def test_another_process_opens_the_file_again(mask_model: Path) -> None:
    model = load(mask_model, device="openvino", threads=1)
    assert pickle.loads(pickle.dumps(model)).device == model.device


def test_a_damaged_file_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"no\.onnx: ") as refused:
        load(path, device="openvino")
    assert "\n" not in str(refused.value)


def test_without_the_package(mask_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match=r"extra \[openvino\]: pip install"):
        load(mask_model, device="openvino")


def test_the_command_tells_the_device(mask_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 20_000), rate_hz=RATE_HZ)
    command = ["separate", str(tmp_path / "song.wav"), "-o", str(tmp_path / "stems")]
    result = CliRunner().invoke(app, [*command, "--model", str(mask_model), "--device", "openvino"])
    assert result.exit_code == 0, result.output
    assert "on openvino-" in " ".join(result.output.split())


def test_nothing_is_sent_and_nothing_written(mask_model: Path, tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from viso.models.blend import load\n"
        f"print(load({str(mask_model)!r}, device='openvino').device)\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0 and ran.stdout.startswith("openvino-"), ran.stderr
    assert list((tmp_path / "home").iterdir()) == []
