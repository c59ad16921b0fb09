"""An evaluation that goes on: what is kept holds only while nothing it came from has changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.small_models import mdx_network, song
from viso.audio import write
from viso.errors import AudioError
from viso.evaluate import MIXTURE, SongResult, System, evaluate, songs_of, system_of
from viso.evaluate import run as running

MIX = System(MIXTURE, "mixture")
N = 20_000
CARD = """
name = "beside"
input = "complex"
output = "complex"
n_bins = 300
chunk_frames = 64
gain = {gain}

[spectral]
n_fft = 768
hop = 128
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "songs" / name).mkdir(parents=True)
        for seed, stem in enumerate(("vocals", "bass")):
            path = tmp_path / "songs" / name / f"{stem}.wav"
            write(path, song(2, N, seed=seed), rate_hz=44_100)
    return tmp_path / "songs"


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The songs that are scored, as they are."""
    names: list[str] = []
    plain = running.score_song

    def noted(song: str, *rest: object, **more: object) -> object:
        names.append(song)
        return plain(song, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "score_song", noted)
    return names


def again(systems: Sequence[System], data: Path) -> list[SongResult]:
    return list(evaluate(systems, songs_of(data), bss=False, store=data.parent / "store"))


def test_a_card_beside_a_model_is_part_of_it(tmp_path: Path, data: Path) -> None:
    half = np.eye(4, dtype=np.float32)[:, :, None, None] * np.float32(0.5)
    path = mdx_network(tmp_path / "net.onnx", weights=half, bins=300, frames=64)
    found = []
    for gain in (1.0, 0.5, 1.0):
        path.with_suffix(".toml").write_text(CARD.format(gain=gain), encoding="utf-8")
        found.append(again([system_of(str(path))], data))
    usdrs = [results[0].scores["beside"]["vocals"]["usdr"] for results in found]
    assert usdrs[0] == usdrs[2] != usdrs[1]


def test_other_code_scores_anew(
    tmp_path: Path, data: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    for part in ("metrics", "cli"):
        (package / part).mkdir(parents=True)
        (package / part / "x.py").write_text("one", encoding="utf-8")
    monkeypatch.setattr(running, "_PACKAGE", package)
    counts = []
    for part, text in (("cli", "one"), ("cli", "two"), ("metrics", "two"), ("metrics", "two")):
        (package / part / "x.py").write_text(text, encoding="utf-8")
        again([MIX], data)
        counts.append(len(scored))
    assert counts == [2, 2, 4, 4]


def test_a_stem_that_changes_while_it_is_scored(
    data: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = running.score_song

    def replaced(song_: str, *rest: object, **more: object) -> object:
        found = plain(song_, *rest, **more)  # type: ignore[arg-type]
        if song_ == "a":
            write(data / "a" / "vocals.wav", song(2, N, seed=77), rate_hz=44_100)
        return found

    monkeypatch.setattr(running, "score_song", replaced)
    before = again([MIX], data)
    monkeypatch.setattr(running, "score_song", plain)
    scored.clear()
    after = again([MIX], data)
    assert scored == ["a"]
    assert after[0].scores != before[0].scores


def test_a_stem_that_is_gone_is_named(data: Path) -> None:
    songs = songs_of(data)
    (data / "b" / "bass.wav").unlink()
    with pytest.raises(AudioError, match=r"bass\.wav: no such file"):
        list(evaluate([MIX], songs, bss=False, store=data.parent / "store"))
