"""Confidence: what two stems both claim is in doubt, second by second, in any portions."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import song
from viso.audio import write
from viso.errors import AudioError
from viso.separator import Separator
from viso.separator.confidence import ConfidenceMeter, Second, as_csv, confidence

Floats = npt.NDArray[np.float32]
RATE_HZ = 8000


def tone(frequency_hz: float, *, n: int, level: float = 0.5, channels: int = 2) -> Floats:
    phase = 2 * np.pi * frequency_hz * np.arange(n) / RATE_HZ
    return np.tile((level * np.sin(phase)).astype(np.float32), (channels, 1))


def test_stems_that_share_nothing_are_sure() -> None:
    found = confidence(tone(400, n=24_000), tone(3000, n=24_000), rate_hz=RATE_HZ)
    assert [second.start_s for second in found] == [0.0, 1.0, 2.0]
    assert all(second.vocals_sdr_db > 25 for second in found)
    assert all(second.instrumental_sdr_db > 25 for second in found)


def test_stems_that_are_the_same_are_a_toss_up() -> None:
    """A mask of one half: the expected error is a quarter of the mixture, as is each stem."""
    half = song(2, 24_000)
    for second in confidence(half, half, rate_hz=RATE_HZ):
        assert second.vocals_sdr_db == pytest.approx(0.0, abs=1e-3)
        assert second.instrumental_sdr_db == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("mask", [0.1, 0.3, 0.8])
def test_a_mask_everywhere_alike_follows_the_formula(mask: float) -> None:
    """``m^2 / (m (1 - m))`` and ``(1 - m)^2 / (m (1 - m))``."""
    mixture = song(2, 16_000)
    for second in confidence(
        (mixture * mask).astype(np.float32), (mixture * (1 - mask)).astype(np.float32),
        rate_hz=RATE_HZ,
    ):  # fmt: skip
        assert second.vocals_sdr_db == pytest.approx(10 * math.log10(mask / (1 - mask)), abs=0.01)
        assert second.instrumental_sdr_db == pytest.approx(-second.vocals_sdr_db, abs=0.01)


def test_the_doubtful_second_is_found() -> None:
    vocals, music = tone(400, n=40_000), tone(3000, n=40_000)
    vocals[:, 16_000:24_000] += music[:, 16_000:24_000]
    found = confidence(vocals, music, rate_hz=RATE_HZ)
    assert min(found, key=lambda second: second.instrumental_sdr_db).start_s == 2.0
    assert found[2].vocals_sdr_db < 5 < 15 < found[0].vocals_sdr_db


@given(cuts=st.lists(st.integers(1, 20_000), max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_portions_do_not_matter(cuts: list[int]) -> None:
    vocals, music = song(2, 20_000, seed=1), song(2, 20_000, seed=2)
    meter = ConfidenceMeter(rate_hz=RATE_HZ, n_channels=2)
    for part in np.split(np.arange(20_000), sorted(cuts)):
        meter.push(vocals[:, part], music[:, part])
    whole = confidence(vocals, music, rate_hz=RATE_HZ)
    np.testing.assert_allclose(np.array(meter.finish()), np.array(whole), rtol=1e-5)
    assert len(whole) == 3


@pytest.mark.parametrize("n_samples", [1, 100, 7999, 8000, 8001, 16_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_second_for_each_begun(n_samples: int, channels: int) -> None:
    vocals, music = song(channels, n_samples, seed=1), song(channels, n_samples, seed=2)
    found = confidence(vocals, music, rate_hz=RATE_HZ, start_s=30.5)
    assert len(found) == -(-n_samples // RATE_HZ)
    assert [second.start_s for second in found] == [30.5 + k for k in range(len(found))]


def test_nothing_and_silence() -> None:
    assert ConfidenceMeter(rate_hz=RATE_HZ, n_channels=2).finish() == []
    silence = np.zeros((2, 8000), np.float32)
    for vocals, music in ((silence, silence), (silence, song(2, 8000)), (song(2, 8000), silence)):
        [second] = confidence(vocals, music, rate_hz=RATE_HZ)
        for stem, value in ((vocals, second.vocals_sdr_db), (music, second.instrumental_sdr_db)):
            assert math.isnan(value) if stem is silence else value == 60.0


def test_the_level_does_not_matter() -> None:
    vocals, music = song(2, 8000, seed=1), song(2, 8000, seed=2)
    [usual] = confidence(vocals, music, rate_hz=RATE_HZ)
    for factor in (1e-6, 1e4):
        [same] = confidence(vocals * factor, music * factor, rate_hz=RATE_HZ)
        assert same.vocals_sdr_db == pytest.approx(usual.vocals_sdr_db, abs=0.01)


def test_stems_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        confidence(song(2, 100), song(1, 100), rate_hz=RATE_HZ)


def test_the_table() -> None:
    text = as_csv([Second(0.0, 1.234, 60.0), Second(1.0, math.nan, -3.0)])
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["start_s", "vocals_sdr_db", "instrumental_sdr_db"]
    assert rows == [["0.000", "1.23", "60.00"], ["1.000", "", "-3.00"]]


def test_the_table_comes_with_the_stems(tmp_path: Path, mask_model: Path) -> None:
    path, table = tmp_path / "song.wav", tmp_path / "new/table.csv"
    write(path, song(2, 100_000), rate_hz=44_100)
    separator = Separator(mask_model)
    targets = {"vocals": tmp_path / "new/vocals.wav"}
    report = separator.to_files(path, targets, bit_depth="float", confidence=table).run()
    stems = separator.separate(path)
    expected = confidence(stems.vocals, stems.instrumental, rate_hz=44_100)
    np.testing.assert_allclose(np.array(report.confidence), np.array(expected), atol=1e-4)
    assert table.read_text(encoding="utf-8") == as_csv(report.confidence)
    with pytest.raises(AudioError, match=r"table\.csv: is already there"):
        list(separator.to_files(path, {"vocals": tmp_path / "v.wav"}, confidence=table))
    assert not (tmp_path / "v.wav").exists()


def test_without_being_asked_there_is_no_table(tmp_path: Path, mask_model: Path) -> None:
    write(tmp_path / "song.wav", song(2, 50_000), rate_hz=44_100)
    report = (
        Separator(mask_model)
        .to_files(tmp_path / "song.wav", {"vocals": tmp_path / "out/v.wav"})
        .run()
    )
    assert report.confidence == ()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["v.wav"]


def test_an_abandoned_separation_leaves_no_table(tmp_path: Path, mask_model: Path) -> None:
    write(tmp_path / "song.wav", song(2, 400_000), rate_hz=44_100)
    steps = Separator(mask_model).to_files(
        tmp_path / "song.wav", {"vocals": tmp_path / "out/v.wav"}, confidence=tmp_path / "out/c.csv"
    )
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()
