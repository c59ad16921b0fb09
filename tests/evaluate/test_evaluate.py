"""Evaluation: figures of systems, intervals that hold, resuming, and folders that do not fit."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.small_models import segment_card, segment_network, song
from viso import Separator
from viso.audio import read, write
from viso.errors import ConfigError, DataError, ModelError, VisoError
from viso.evaluate import (
    MIXTURE,
    ORACLES,
    SongResult,
    System,
    by_group,
    compare,
    estimates_of,
    evaluate,
    gnsdr_rows,
    read_baseline,
    read_genres,
    singer_of,
    songs_of,
    stems_among,
    summary,
    system_of,
    truth_of,
    write_report,
)
from viso.evaluate import run as running
from viso.evaluate.report import songs_csv
from viso.metrics import usdr

MIX = System(MIXTURE, "mixture")
N = 50_000


def make_songs(folder: Path, n: int = 3) -> Path:
    t = np.arange(N) / 44_100
    for index in range(n):
        place = folder / f"Singer {index % 2} - song {index}"
        place.mkdir(parents=True)
        tone = sum(np.sin(2 * np.pi * 220 * (index + 2) * k * t) / k for k in range(1, 6))
        vocals = np.stack([tone, tone]).astype(np.float32) * np.float32(0.1)
        write(place / "vocals.flac", vocals, rate_hz=44_100)
        for seed, stem in enumerate(("bass", "drums")):
            audio = song(2, N, seed=10 * index + seed)
            write(place / f"{stem}.flac", audio, rate_hz=44_100)
    return folder


def scores_of(results: Sequence[SongResult]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    return {result.song: result.scores for result in results}


def test_rows_of_mixture_model_and_oracles(tmp_path: Path, mask_model: Path) -> None:
    songs = songs_of(make_songs(tmp_path))
    systems = [MIX, system_of(str(mask_model)), *(System(name, "oracle") for name in ORACLES)]
    results = list(evaluate(systems, songs))
    rows = {(row.stem, row.system, row.metric): row for row in summary(scores_of(results))}
    for stem in ("vocals", "instrumental"):
        usdrs = {system.name: rows[stem, system.name, "usdr"].median for system in systems}
        assert min(usdrs[name] for name in ORACLES) > usdrs["mixture"] + 3
        assert usdrs["ideal ratio mask"] > usdrs["tiny"]
        assert rows[stem, "ideal ratio mask", "sir"].median > rows[stem, "mixture", "sir"].median
    row = rows["vocals", "tiny", "usdr"]
    values = [result.scores["tiny"]["vocals"]["usdr"] for result in results]
    assert row.median == np.median(values)
    assert min(values) <= row.low <= row.median <= row.high
    assert row.n_songs == 3
    assert all(result.duration_s == pytest.approx(N / 44_100) for result in results)


def test_the_model_is_scored_for_what_it_gives(tmp_path: Path, mask_model: Path) -> None:
    songs = songs_of(make_songs(tmp_path, 1))
    [(name, stems)] = songs.items()
    truth, rate_hz = truth_of(stems)
    found = Separator(mask_model).separate(truth["vocals"] + truth["instrumental"], rate_hz=rate_hz)
    [result] = evaluate([system_of(str(mask_model))], songs, bss=False)
    figures = result.scores["tiny"]
    assert result.song == name
    assert figures["vocals"]["usdr"] == usdr(truth["vocals"], found.vocals)
    assert figures["instrumental"]["usdr"] == usdr(truth["instrumental"], found.instrumental)
    assert set(figures["vocals"]) == {"usdr", "csdr", "si_sdr"}


def test_blends_and_filtered_models_are_systems(tmp_path: Path, mask_model: Path) -> None:
    songs = songs_of(make_songs(tmp_path, 1))
    [stems] = songs.values()
    truth, rate_hz = truth_of(stems)
    words = f"{mask_model}*1+{mask_model}*3"
    plain, blend = system_of(str(mask_model)), system_of(words)
    filtered = blend.filtered(2)
    assert blend.name == "tiny*0.25+tiny*0.75"
    assert filtered.name == "tiny*0.25+tiny*0.75, Wiener 2"
    assert len({system.key for system in (plain, blend, filtered)}) == 3
    store = tmp_path / "store"
    [result] = evaluate([plain, blend, filtered], songs, bss=False, store=store)
    mixture = truth["vocals"] + truth["instrumental"]
    for system, wiener in ((blend, 0), (filtered, 2)):
        found = Separator(words, wiener=wiener).separate(mixture, rate_hz=rate_hz)
        scored = result.scores[system.name]["vocals"]["usdr"]
        assert scored == usdr(truth["vocals"], found.vocals)
    assert list(evaluate([plain, blend, filtered], songs, bss=False, store=store)) == [result]


def test_the_mixture_as_estimate_is_the_level_between_the_stems(tmp_path: Path) -> None:
    [result] = evaluate([MIX], songs_of(make_songs(tmp_path, 1)))
    vocals, instrumental = (result.scores["mixture"][s]["usdr"] for s in ("vocals", "instrumental"))
    assert vocals == pytest.approx(-instrumental, abs=1e-4)
    # Doing nothing gains nothing.
    assert result.scores["mixture"]["vocals"]["nsdr"] == pytest.approx(0, abs=1e-6)
    # The whole mixture has more of everything: it bleeds, and has few holes.
    for stem in ("vocals", "instrumental"):
        figures = result.scores["mixture"][stem]
        assert 0 < figures["bleedless"] < figures["fullness"] < 100


def test_every_true_stem_is_scored_if_asked_for(tmp_path: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "true", 1))
    [(name, files)] = songs.items()
    truth, rate_hz = truth_of(files, each=True)
    assert list(truth) == ["vocals", "instrumental", "bass", "drums"]
    card = segment_card(stems=("drums", "bass", "vocals"))
    model = segment_network(tmp_path / "band.onnx", of_samples=0.2, card=card)
    systems = [MIX, system_of(str(model)), System(ORACLES[1], "oracle")]
    store = tmp_path / "store"
    [result] = evaluate(systems, songs, each=True, store=store)
    mixture = truth["vocals"] + truth["instrumental"]
    found = Separator(model).separate(mixture, rate_hz=rate_hz, stems=["drums", "bass"])
    for stem, sound in truth.items():
        scores = {system: result.scores[system][stem] for system in result.scores}
        assert scores["segments"]["usdr"] == usdr(sound, found[stem])
        assert scores[ORACLES[1]]["usdr"] > scores["mixture"]["usdr"] + 3
        assert scores[ORACLES[1]]["sir"] > scores["mixture"]["sir"]
    # What vocals and instrumental get does not depend on the others.
    [two] = evaluate(systems, songs, store=store)
    for system, stems in two.scores.items():
        assert list(stems) == ["vocals", "instrumental"]
        for stem, figures in stems.items():
            assert figures == pytest.approx(result.scores[system][stem], rel=1e-5, nan_ok=True)
    rows = summary(scores_of([result]))
    assert stems_among(rows) == ["vocals", "instrumental", "bass", "drums"]
    folder = tmp_path / "estimates"
    (folder / name).mkdir(parents=True)
    for stem, sound in found.items():
        write(folder / name / f"{stem}.wav", sound, rate_hz=rate_hz, bit_depth="float")
    [theirs] = evaluate([system_of(str(folder))], songs, each=True, bss=False)
    for stem, figures in theirs.scores["estimates"].items():
        ours = result.scores["segments"][stem]["usdr"]
        assert figures["usdr"] == pytest.approx(ours, abs=1e-4)
    with pytest.raises(ConfigError, match="no such stem: bass"):
        list(evaluate([system_of("viso")], songs, each=True))


def test_estimates_of_somebody(tmp_path: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "true", 2))
    for index, (name, stems) in enumerate(songs.items()):
        truth, rate_hz = truth_of(stems)
        place = tmp_path / "made" / name
        place.mkdir(parents=True)
        write(place / "vocals.wav", truth["vocals"] * 0.9, rate_hz=rate_hz, bit_depth="float")
        if index:
            audio = truth["instrumental"] * 0.99
            write(place / "accompaniment.wav", audio, rate_hz=rate_hz, bit_depth="float")
    made = system_of(str(tmp_path / "made"))
    assert (made.name, made.kind) == ("made", "estimates")
    first, second = evaluate([made], songs, bss=False)
    assert first.scores["made"]["vocals"]["usdr"] == pytest.approx(20, abs=0.01)
    assert second.scores["made"]["vocals"]["usdr"] == pytest.approx(20, abs=0.01)
    # Without an instrumental it is the rest of the mixture, which has the vocals' error.
    level = 10 * math.log10(
        float((truth_of(songs[first.song])[0]["instrumental"] ** 2).sum())
        / float((truth_of(songs[first.song])[0]["vocals"] ** 2).sum())
    )
    assert first.scores["made"]["instrumental"]["usdr"] == pytest.approx(20 + level, abs=0.02)
    assert second.scores["made"]["instrumental"]["usdr"] == pytest.approx(40, abs=0.1)


def test_silent_vocals_are_left_out_of_the_row(tmp_path: Path) -> None:
    folder = make_songs(tmp_path, 2)
    silence = np.zeros((2, N), np.float32)
    write(folder / "Singer 1 - song 1" / "vocals.flac", silence, rate_hz=44_100)
    results = list(evaluate([MIX], songs_of(folder)))
    counts = {(row.stem, row.metric): row.n_songs for row in summary(scores_of(results))}
    assert {counts["vocals", metric] for metric in ("usdr", "csdr", "sdr", "nsdr")} == {1}
    assert counts["instrumental", "usdr"] == 1  # the other one is perfect: no finite figure
    text = songs_csv(results, {})
    assert "nan" not in text


def test_mono_and_odd_rates_are_scored(tmp_path: Path, mask_model: Path) -> None:
    place = tmp_path / "odd"
    place.mkdir()
    for seed, stem in enumerate(("vocals", "other")):
        write(place / f"{stem}.wav", song(1, 12_345, seed=seed), rate_hz=11_025)
    systems = [MIX, system_of(str(mask_model)), *(System(name, "oracle") for name in ORACLES)]
    [result] = evaluate(systems, songs_of(tmp_path))
    for figures in result.scores.values():
        assert np.isfinite(list(figures["vocals"].values())).all()


def test_interrupted_and_gone_on(
    tmp_path: Path, mask_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = songs_of(make_songs(tmp_path / "songs"))
    systems = [MIX, system_of(str(mask_model))]
    store = tmp_path / "store"
    whole = list(evaluate(systems, songs, bss=False))
    first = next(iter(evaluate(systems, songs, bss=False, store=store)))
    scored: list[tuple[str, tuple[str, ...]]] = []
    plain = running.score_song

    def noted(song: str, stems: object, systems: Sequence[System], **rest: object) -> object:
        scored.append((song, tuple(system.name for system in systems)))
        return plain(song, stems, systems, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "score_song", noted)
    again = list(evaluate(systems, songs, bss=False, store=store))
    assert sorted(again, key=lambda r: r.song) == whole
    assert {name for name, _ in scored} == set(songs) - {first.song}
    scored.clear()
    assert list(evaluate(systems, songs, bss=False, store=store)) == whole
    assert scored == []
    # A system that came later is scored alone; other stems, or other metrics, are all new.
    binary = System(ORACLES[0], "oracle")
    list(evaluate([*systems, binary], songs, bss=False, store=store))
    assert {names for _, names in scored} == {(ORACLES[0],)}
    scored.clear()
    name = next(iter(songs))
    write(songs[name][0], song(2, N, seed=77), rate_hz=44_100)
    list(evaluate([*systems, binary], songs, bss=False, store=store))
    assert scored == [(name, (MIXTURE, "tiny", ORACLES[0]))]
    scored.clear()
    list(evaluate([MIX], songs, store=store))
    assert len(scored) == 3


def test_a_damaged_store_is_scored_anew(tmp_path: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "songs", 1))
    [whole] = evaluate([MIX], songs, bss=False, store=tmp_path / "store")
    [path] = (tmp_path / "store").iterdir()
    for text in ("", "[]", '{"systems": 3}', '{"systems": {"mixture": {"key": 1}}}'):
        path.write_text(text, encoding="utf-8")
        assert list(evaluate([MIX], songs, bss=False, store=tmp_path / "store")) == [whole]


def test_side_by_side_is_the_same(tmp_path: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "songs", 2))
    systems = [MIX, System(ORACLES[0], "oracle")]
    alone = list(evaluate(systems, songs, bss=False))
    together = list(evaluate(systems, songs, bss=False, jobs=2, store=tmp_path / "store"))
    assert sorted(together, key=lambda result: result.song) == alone
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_what_the_vocals_miss_can_be_heard(tmp_path: Path, mask_model: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "songs", 1))
    [(name, stems)] = songs.items()
    truth, rate_hz = truth_of(stems)
    found = Separator(mask_model).separate(truth["vocals"] + truth["instrumental"], rate_hz=rate_hz)
    systems = [MIX, system_of(str(mask_model))]
    list(evaluate(systems, songs, bss=False, residuals=tmp_path / "left"))
    [path] = (tmp_path / "left").iterdir()
    assert path.name == f"{name} - tiny.wav"
    np.testing.assert_allclose(read(path)[0], found.vocals - truth["vocals"], atol=1e-7)


def test_the_interval_covers_what_it_should() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        values = random.normal(5.0, 2.0, 30)
        songs = {str(i): {"x": {"vocals": {"usdr": v}}} for i, v in enumerate(values)}
        row = summary(songs, seed=trial)[0]
        hits += row.low <= 5.0 <= row.high
    assert hits >= 88


def paired(
    one: Sequence[float], other: Sequence[float]
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    return {
        str(i): {"a": {"vocals": {"usdr": a}}, "b": {"vocals": {"usdr": b}}}
        for i, (a, b) in enumerate(zip(one, other, strict=True))
    }


def test_a_comparison_by_hand() -> None:
    found = compare(
        paired([3, 5, 7, math.nan], [2, 3, 4, 1]), "a", "b", stem="vocals", metric="usdr"
    )
    assert found is not None
    assert (found.difference, found.n_better, found.n_songs) == (2.0, 3, 3)
    # Of eight ways to sign 1, 2 and 3 only two are as far from zero.
    assert found.p == pytest.approx(2 / 8)
    turned = compare(paired([2, 3, 4], [3, 5, 7]), "a", "b", stem="vocals", metric="usdr")
    assert turned is not None
    assert (turned.difference, turned.p, turned.n_better) == (-2.0, found.p, 0)


def test_p_by_all_signs_and_by_drawn_ones_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from viso.metrics import permutation

    random = np.random.default_rng(3)
    songs = paired(random.normal(0.8, 1, 14), np.zeros(14))
    exact = compare(songs, "a", "b", stem="vocals", metric="usdr")
    monkeypatch.setattr(permutation, "_EXACT", 0)
    drawn = compare(songs, "a", "b", stem="vocals", metric="usdr")
    assert exact is not None
    assert drawn is not None
    assert 0.005 < exact.p < 0.5
    assert drawn.p == pytest.approx(exact.p, abs=0.005)


def test_p_is_uniform_where_nothing_differs() -> None:
    random = np.random.default_rng(0)
    found = [
        compare(
            paired(random.normal(0, 1, 10), np.zeros(10)), "a", "b", stem="vocals", metric="usdr"
        )
        for _ in range(200)
    ]
    below = np.mean([c.p < 0.2 for c in found if c is not None])
    assert 0.12 < below < 0.28


def test_no_songs_in_common_no_comparison() -> None:
    songs = {"x": {"a": {"vocals": {"usdr": 1.0}}}}
    assert compare(songs, "a", "b", stem="vocals", metric="usdr") is None


def test_gnsdr_weighs_by_length() -> None:
    songs = {
        "short": {"a": {"vocals": {"nsdr": 2.0}}},
        "long": {"a": {"vocals": {"nsdr": 6.0}}},
        "silent": {"a": {"vocals": {"nsdr": math.nan}}},
    }
    [row] = gnsdr_rows(songs, {"short": 10.0, "long": 30.0, "silent": 99.0})
    assert (row.metric, row.median, row.n_songs) == ("gnsdr", 5.0, 2)
    assert (row.low, row.high) == (2.0, 6.0)


def test_groups_and_singers(tmp_path: Path) -> None:
    table = tmp_path / "genres.csv"
    table.write_text('Track Name,Genre\nA - b,Rap\nC - d,"Pop, Rock"\nE - f,Rap\n', "utf-8")
    genres = read_genres(table)
    songs = {
        name: {"x": {stem: {"usdr": value} for stem in ("vocals", "instrumental")}}
        for name, value in (("A - b", 1.0), ("C - d", 7.0), ("E - f", 3.0), ("unheard of", 5.0))
    }
    parts = by_group(songs, genres.get)
    assert list(parts) == ["Rap", "Pop, Rock", "other"]
    assert [(row.median, row.n_songs) for row in parts["Rap"]] == [(2.0, 2), (2.0, 2)]
    assert parts["other"][0].median == 5.0
    assert [singer_of(name) for name in ("A - b - c", "A-b", " - b", "x")] == [
        "A",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("content", [b"", b"Song,Kind\na,b\n", b"\xff\xfe\x00", None])
def test_tables_of_genres_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "genres.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"genres\.csv: no table of genres"):
        read_genres(path)


def test_songs_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        songs_of(tmp_path / "none")
    with pytest.raises(DataError, match="no song folder"):
        songs_of(tmp_path)
    folder = make_songs(tmp_path / "songs", 1)
    vocals = folder / "Singer 0 - song 0" / "vocals.flac"
    for audio, rate_hz, told in (
        (song(2, 30_000), 44_100, "30000 samples, but .* has 50000; align"),
        (song(2, N), 48_000, "48000 Hz, but .* has 44100; resample"),
        (song(1, N), 44_100, "1 channels, but .* has 2; convert"),
    ):
        write(vocals, audio, rate_hz=rate_hz)
        with pytest.raises(DataError, match=rf"vocals\.flac: {told}"):
            list(evaluate([MIX], songs_of(folder), bss=False))
    vocals.write_bytes(b"no sound")
    with pytest.raises(VisoError, match=r"vocals\.flac"):
        list(evaluate([MIX], songs_of(folder), bss=False))


def test_stems_that_count_twice_are_named(tmp_path: Path) -> None:
    folder = make_songs(tmp_path, 1)
    write(folder / "Singer 0 - song 0/instrumental.wav", song(2, N), rate_hz=44_100)
    with pytest.raises(DataError, match="count twice"):
        songs_of(folder)


def test_estimates_that_do_not_fit_are_named(tmp_path: Path) -> None:
    mixture = song(2, 1000)
    with pytest.raises(DataError, match=r"a: no vocals\.wav"):
        estimates_of(tmp_path, "a", mixture, 44_100)
    (tmp_path / "a").mkdir()
    write(tmp_path / "a/vocals.wav", song(2, 999), rate_hz=44_100)
    with pytest.raises(DataError, match=r"vocals\.wav: 999 samples, but the song has 1000"):
        estimates_of(tmp_path, "a", mixture, 44_100)
    write(tmp_path / "a/vocals.wav", mixture, rate_hz=44_100)
    write(tmp_path / "a/vocals.flac", mixture, rate_hz=44_100)
    with pytest.raises(DataError, match="the same stem as"):
        estimates_of(tmp_path, "a", mixture, 44_100)


def test_systems_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no packaged model"):
        system_of("unheard-of")
    with pytest.raises(DataError, match="no folder with vocals"):
        system_of(str(tmp_path))


def test_two_systems_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two systems are called mixture"):
        list(evaluate([MIX, MIX], songs_of(make_songs(tmp_path, 1))))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": [1]}', '{"a": {"vocals_usdr": 1}}'])
def test_baselines_that_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"baseline\.json"):
        read_baseline(path, label="x")


def test_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    values = {"vocals_usdr": 1, "instrumental_usdr": 2, "vocals_csdr": 3, "seconds": 9}
    path.write_text(json.dumps({"x/song": values}), encoding="utf-8")
    expected = {"vocals": {"usdr": 1.0, "csdr": 3.0}, "instrumental": {"usdr": 2.0}}
    assert read_baseline(path, label="y") == {"song": {"y": expected}}


def test_the_report(tmp_path: Path) -> None:
    songs = songs_of(make_songs(tmp_path / "songs", 2))
    results = [
        replace(result, song=f"{result.song} <b>&") for result in evaluate([MIX], songs, bss=False)
    ]
    scores = scores_of(results)
    paths = write_report(
        tmp_path / "new/report",
        results,
        title="<this> & that",
        rows=summary(scores),
        groups={"singer": by_group(scores, singer_of)},
        comparisons=[],
        genres={results[0].song: "Rap"},
        pictures={"a <picture>": "<svg></svg>"},
    )
    assert [path.name for path in paths] == ["songs.csv", "summary.json", "report.html"]
    lines = list(csv.DictReader(io.StringIO(paths[0].read_text(encoding="utf-8"))))
    assert len(lines) == 4
    assert lines[0]["genre"] == "Rap"
    assert lines[0]["singer"] == "Singer 0"
    assert float(lines[0]["usdr"]) == pytest.approx(
        results[0].scores["mixture"]["vocals"]["usdr"], abs=1e-3
    )
    record = json.loads(paths[1].read_text(encoding="utf-8"))
    assert {row.get("singer") for row in record["rows"]} == {None, "Singer 0", "Singer 1"}
    page = paths[2].read_text(encoding="utf-8")
    assert "&lt;this&gt; &amp; that" in page
    assert "<svg></svg>" in page
    for outside in ("http:", "https:", "src=", "<script"):
        assert outside not in page
    assert all(page.count(f"<{tag}") >= 2 for tag in ("table", "h2"))
    opened, closed = page.count("<table>"), page.count("</table>")
    assert opened == closed


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be"):
        write_report(
            tmp_path / "file/report", [], title="x", rows=[], groups={}, comparisons=[],
            genres={}, pictures={},
        )  # fmt: skip


def test_every_second_song_has_its_row_in_the_groups(tmp_path: Path) -> None:
    results = list(evaluate([MIX], songs_of(make_songs(tmp_path)), bss=False))
    parts = by_group(scores_of(results), singer_of)
    counts = {group: rows[0].n_songs for group, rows in parts.items()}
    assert counts == {"Singer 0": 2, "Singer 1": 1}
    assert all(a >= b for a, b in itertools.pairwise(counts.values()))
