"""The packaged default on the demo song: it finds the voice, and keeps the laws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from helpers.checkout import ROOT
from viso import Separator
from viso.audio import write
from viso.metrics import usdr
from viso.models import registry

Song = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def demo() -> Song:
    path = ROOT / "examples" / "demo_song.py"
    spec = importlib.util.spec_from_file_location("demo_song", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    song: Song = module.synthesise(8.0)
    return song


@pytest.mark.parametrize("name", registry.packaged())
def test_it_takes_the_voice_out(demo: Song, name: str) -> None:
    stems = Separator(name).separate(demo["mixture"], rate_hz=44_100)
    for stem in ("vocals", "instrumental"):
        before = usdr(demo[stem], demo["mixture"])
        after = usdr(demo[stem], getattr(stems, stem))
        assert after > before + 4.0, f"{stem}: {before:.2f} dB became {after:.2f} dB"
    assert np.array_equal(stems.vocals + stems.instrumental, demo["mixture"])


@pytest.mark.parametrize("level", [1e-3, 1.0, 100.0])
def test_it_does_not_care_how_loud_a_song_is(demo: Song, level: float) -> None:
    separator = Separator()
    plain = separator.separate(demo["mixture"], rate_hz=44_100).vocals
    scaled = separator.separate(demo["mixture"] * np.float32(level), rate_hz=44_100).vocals
    assert np.abs(scaled / np.float32(level) - plain).max() < 1e-4 * np.abs(plain).max() + 1e-6


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_other_rates(rate_hz: int) -> None:
    t = np.arange(3 * rate_hz) / rate_hz
    tone = (0.1 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    stems = Separator().separate(np.stack([tone, -tone, tone]), rate_hz=rate_hz)
    assert stems.vocals.shape == (3, 3 * rate_hz)


def test_two_runs_on_all_cores_give_the_same_bytes(demo: Song, tmp_path: Path) -> None:
    write(tmp_path / "song.flac", demo["mixture"], rate_hz=44_100)
    found = []
    for run in ("a", "b"):
        targets = {stem: tmp_path / run / f"{stem}.flac" for stem in ("vocals", "instrumental")}
        for _ in Separator().to_files(tmp_path / "song.flac", targets):
            pass
        found.append([path.read_bytes() for path in targets.values()])
    assert found[0] == found[1]


def test_blocks_of_any_size_give_the_same_bits(demo: Song) -> None:
    separator = Separator()
    mixture = demo["mixture"]
    whole = separator.separate(mixture, rate_hz=44_100).vocals
    for size in (1_000, 44_100, 300_000):
        blocks = (mixture[:, i : i + size] for i in range(0, mixture.shape[1], size))
        parts = [v for v, _ in separator.stream(blocks, rate_hz=44_100, n_channels=2)]
        assert np.array_equal(np.concatenate(parts, axis=1), whole)
