"""uSDR by hand, oracles above the model, intervals that hold, and folders that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from small import song
from viso import Separator
from viso.audio import write
from viso.errors import DataError
from viso.evaluate import (
    by_genre,
    evaluate,
    read_baseline,
    read_genres,
    songs_of,
    summary,
)
from viso.metrics import usdr


def test_usdr_by_hand() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert usdr(reference, reference * np.float32(0.9)) == pytest.approx(20.0, abs=1e-4)
    assert usdr(reference, np.zeros_like(reference)) == pytest.approx(0.0)
    assert usdr(reference, reference) == np.inf
    silence = np.zeros_like(reference)
    assert usdr(silence, reference) == -np.inf
    assert np.isnan(usdr(silence, silence))


@pytest.mark.parametrize("level", [1e-6, 1.0, 1e6])
def test_usdr_does_not_depend_on_level(level: float) -> None:
    a, b = song(seed=1), song(seed=2)
    expected = usdr(a, a + b)
    assert usdr(a * np.float32(level), (a + b) * np.float32(level)) == pytest.approx(
        expected, abs=1e-3
    )


def test_usdr_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="shape"):
        usdr(np.zeros((2, 5), np.float32), np.zeros((1, 5), np.float32))


def make_songs(folder: Path, n: int = 3) -> Path:
    t = np.arange(40_000) / 44_100
    for index in range(n):
        (folder / f"song {index}").mkdir(parents=True)
        tone = sum(np.sin(2 * np.pi * 220 * (index + 2) * k * t) / k for k in range(1, 6))
        write(
            folder / f"song {index}" / "vocals.flac",
            np.stack([tone, tone]).astype(np.float32) * np.float32(0.1),
            rate_hz=44_100,
        )
        for seed, stem in enumerate(("bass", "drums")):
            audio = song(2, 40_000, seed=10 * index + seed)
            write(folder / f"song {index}" / f"{stem}.flac", audio, rate_hz=44_100)
    return folder


def test_rows_and_oracles(tmp_path: Path, mask_model: Path) -> None:
    folder = make_songs(tmp_path)
    songs = dict(evaluate(Separator(mask_model), songs_of(folder)))
    rows = {(row.stem, row.system): row for row in summary(songs)}
    assert len(rows) == 8
    for stem in ("vocals", "instrumental"):
        medians = {system: rows[stem, system].median for _, system in rows if _ == stem}
        assert medians["ideal ratio mask"] > medians["tiny"]
        assert medians["ideal binary mask"] > medians["mixture"]
    row = rows["vocals", "tiny"]
    values = [scores["tiny"]["vocals"] for scores in songs.values()]
    assert row.median == np.median(values)
    assert row.low <= row.median <= row.high
    assert min(values) <= row.low
    assert row.n_songs == 3


def test_the_mixture_as_estimate_is_the_level_between_the_stems(
    tmp_path: Path, mask_model: Path
) -> None:
    folder = make_songs(tmp_path, 1)
    ((_, scores),) = evaluate(Separator(mask_model), songs_of(folder), oracles=False)
    total = scores["mixture"]["vocals"] + scores["mixture"]["instrumental"]
    assert total == pytest.approx(0.0, abs=1e-4)


def test_silent_vocals_are_left_out_of_the_row(tmp_path: Path, mask_model: Path) -> None:
    folder = make_songs(tmp_path, 2)
    silence = np.zeros((2, 40_000), np.float32)
    write(folder / "song 1" / "vocals.flac", silence, rate_hz=44_100)
    rows = summary(dict(evaluate(Separator(mask_model), songs_of(folder))))
    assert {row.n_songs for row in rows if row.stem == "vocals"} == {1}


def test_the_interval_covers_what_it_should() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        values = random.normal(5.0, 2.0, 30)
        songs = {str(i): {"x": {"vocals": v, "instrumental": 0.0}} for i, v in enumerate(values)}
        row = summary(songs, seed=trial)[0]
        hits += row.low <= 5.0 <= row.high
    assert hits >= 88


def test_folders_that_do_not_fit(tmp_path: Path, mask_model: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        songs_of(tmp_path / "none")
    with pytest.raises(DataError, match="no song folder"):
        songs_of(tmp_path)
    folder = make_songs(tmp_path / "songs", 1)
    write(folder / "song 0" / "vocals.flac", song(2, 30_000), rate_hz=44_100)
    with pytest.raises(DataError, match="align"):
        list(evaluate(Separator(mask_model), songs_of(folder)))
    write(folder / "song 0" / "vocals.flac", song(2, 40_000), rate_hz=48_000)
    with pytest.raises(DataError, match="Hz"):
        list(evaluate(Separator(mask_model), songs_of(folder)))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": [1]}', '{"a": {"vocals_usdr": 1}}'])
def test_baselines_that_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"baseline\.json"):
        read_baseline(path, label="x")


def test_genres_are_told_apart(tmp_path: Path) -> None:
    table = tmp_path / "genres.csv"
    table.write_text('Track Name,Genre\nA - b,Rap\nC - d,"Pop, Rock"\nE - f,Rap\n', "utf-8")
    genres = read_genres(table)
    songs = {
        name: {"x": {"vocals": value, "instrumental": 2 * value}}
        for name, value in (("A - b", 1.0), ("C - d", 7.0), ("E - f", 3.0), ("unheard of", 5.0))
    }
    parts = by_genre(songs, genres)
    assert list(parts) == ["Rap", "Pop, Rock", "other"]
    vocals, instrumental = parts["Rap"]
    assert (vocals.median, instrumental.median, vocals.n_songs) == (2.0, 4.0, 2)
    assert parts["other"][0].median == 5.0


@pytest.mark.parametrize("content", [b"", b"Song,Kind\na,b\n", b"\xff\xfe\x00", None])
def test_tables_of_genres_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "genres.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"genres\.csv: no table of genres"):
        read_genres(path)
