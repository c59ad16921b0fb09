"""Evaluation of odd things: names, folders, rates, and processes that die."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.small_models import song
from viso.audio import write
from viso.cli.evaluate_run import EvaluationRequest, run, stem_tables
from viso.errors import AudioError, ConfigError, DataError
from viso.evaluate import (
    MIXTURE,
    ORACLES,
    System,
    compare,
    evaluate,
    read_baseline,
    songs_of,
    summary,
    system_of,
)
from viso.evaluate import run as running
from viso.models import registry

MIX = System(MIXTURE, "mixture")
N = 20_000


def make_song(place: Path, *, rate_hz: int = 44_100) -> Path:
    place.mkdir(parents=True)
    for seed, stem in enumerate(("vocals", "bass")):
        write(place / f"{stem}.wav", song(2, N, seed=seed), rate_hz=rate_hz)
    return place


def make_estimates(folder: Path, songs: Sequence[str]) -> Path:
    for name in songs:
        (folder / name).mkdir(parents=True)
        write(folder / name / "vocals.wav", song(2, N, seed=5), rate_hz=44_100)
    return folder


def asked(names: Sequence[str | Path], data: Path, report: Path | None = None, **rest: Any) -> None:
    given = {"baseline": None, "baseline_name": "baseline", "genres": None}
    numbers = {
        "wiener": 0,
        "bss": False,
        "each": False,
        "oracles": False,
        "residuals": False,
        "jobs": 1,
    }
    options: dict[str, Any] = {**given, **numbers, "as_json": False, **rest}
    run(EvaluationRequest(names=tuple(map(str, names)), data=data, report=report, **options))


# Names


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [os.fsdecode(b"Beyonc\xe9 - one"), os.fsdecode(b"Beyonc\xe9 - two")]
    for name in names:
        make_song(tmp_path / "songs" / name)
    made = make_estimates(tmp_path / os.fsdecode(b"mad\xe9"), names)
    other = make_estimates(tmp_path / "other", names)
    for _ in range(2):
        report = tmp_path / "report"
        asked([made, other], tmp_path / "songs", report, residuals=True)
        assert r"mad\udce9" in capsys.readouterr().out
    assert len(list((report / "residuals").iterdir())) == 4
    for name in ("songs.csv", "summary.json", "report.html"):
        assert r"Beyonc\udce9" in (report / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a$\\frac$", "$x_{$", "日本", "<b>&\"'", "[bold]x"])
def test_names_are_text_and_no_markup(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_song(tmp_path / "songs" / "s")
    made = make_estimates(tmp_path / name, ["s"])
    asked([made], tmp_path / "songs", tmp_path / "report")
    assert name in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "<b>&" not in page


def test_a_folder_that_is_called_as_a_model_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_estimates(tmp_path / registry.DEFAULT, ["s"])
    monkeypatch.chdir(tmp_path)
    assert system_of(registry.DEFAULT).kind == "model"
    assert system_of(f"./{registry.DEFAULT}").kind == "estimates"


# Folders and tables


def test_the_page_says_what_bss_eval_cannot_tell(tmp_path: Path) -> None:
    make_song(tmp_path / "songs" / "s")
    made = make_estimates(tmp_path / "made", ["s"])
    for bss in (False, True):
        asked([made], tmp_path / "songs", tmp_path / "report", bss=bss)
        page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
        assert ("coded with loss" in page) == bss


def test_a_folder_that_is_no_song_may_hold_anything(tmp_path: Path) -> None:
    make_song(tmp_path / "s")
    (tmp_path / "previews").mkdir()
    for kind in ("wav", "flac"):
        write(tmp_path / "previews" / f"s.{kind}", song(2, N), rate_hz=44_100)
    assert list(songs_of(tmp_path)) == ["s"]


def test_a_baseline_with_two_songs_of_one_name(tmp_path: Path) -> None:
    figures = {"vocals_usdr": 1, "instrumental_usdr": 2}
    path = tmp_path / "b.json"
    text = json.dumps({"train/a": figures, "valid/a": {**figures, "vocals_usdr": 9}})
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.json: two songs are called a"):
        read_baseline(path, label="x")


def test_a_system_that_lacks_songs_says_so() -> None:
    one = {"vocals": {"usdr": 1.0}}
    songs = {"x": {"a": one, "b": one}, "y": {"a": one}}
    [table] = stem_tables(summary(songs), "vocals")
    counts = {column.header: list(column.cells) for column in table.columns}
    assert counts["songs"] == ["2", "1"]
    [table] = stem_tables(summary({"x": songs["x"]}), "vocals")
    assert "songs" not in {column.header for column in table.columns}


def test_json_stays_json_without_the_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_song(tmp_path / "songs" / "s")
    made = make_estimates(tmp_path / "made", ["s"])
    monkeypatch.delitem(sys.modules, "viso.reports.plots.scores", raising=False)
    monkeypatch.setitem(sys.modules, "viso.reports.plots.scores", None)
    asked([made], tmp_path / "songs", tmp_path / "report", as_json=True)
    told = capsys.readouterr()
    assert {row["system"] for row in json.loads(told.out)} == {"mixture", "made"}
    assert "[plot]" in told.err


def test_rates_that_no_transform_has(tmp_path: Path) -> None:
    make_song(tmp_path / "slow", rate_hz=500)
    songs = songs_of(tmp_path)
    assert len(list(evaluate([MIX], songs, bss=False))) == 1
    for name in (ORACLES[0], ORACLES[-1]):
        with pytest.raises(ConfigError, match=r"slow: rate_hz: .*500"):
            list(evaluate([System(name, "oracle")], songs, bss=False))


def test_a_sum_that_only_rounding_keeps_from_zero() -> None:
    """Three times 0.1 and once -0.3 add up to nothing, so any signs are as far from zero."""
    songs = {
        str(i): {"a": {"vocals": {"usdr": d}}, "b": {"vocals": {"usdr": 0.0}}}
        for i, d in enumerate([0.1, 0.1, 0.1, -0.3])
    }
    found = compare(songs, "a", "b", stem="vocals", metric="usdr")
    assert found is not None
    assert found.p == 1.0


# Side by side


class Dying(running._Task):
    def run(self) -> Any:
        if self.song == "b":
            os._exit(9)
        return super().run()


def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        make_song(tmp_path / "songs" / name)
    monkeypatch.setattr(running, "_Task", Dying)
    with pytest.raises(ConfigError, match=r"one of 2 jobs.*memory"):
        list(evaluate([MIX], songs_of(tmp_path / "songs"), bss=False, jobs=2))


class Patient(running._Task):
    """Every song but ``a`` waits until the error of ``a`` is known."""

    def run(self) -> Any:
        while self.song != "a" and not (self.stems[0].parents[1] / "known").exists():
            time.sleep(0.05)
        return super().run()


def test_songs_beside_a_broken_one_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs when it is found out is kept, what does not is not begun."""
    for name in "abc":
        make_song(tmp_path / "songs" / name)
    waits, wait = [], running.wait

    def noted(*args: Any, **how: Any) -> Any:
        # Who waits again has looked at the first that ended, which is a.
        if waits:
            (tmp_path / "songs" / "known").touch()
        waits.append(args)
        return wait(*args, **how)

    monkeypatch.setattr(running, "wait", noted)
    monkeypatch.setattr(running, "_Task", Patient)
    (tmp_path / "songs" / "a" / "bass.wav").write_bytes(b"no sound")
    songs, store = songs_of(tmp_path / "songs"), tmp_path / "store"
    with pytest.raises(AudioError, match=r"a/bass\.wav"):
        list(evaluate([MIX], songs, bss=False, jobs=2, store=store))
    kept = {json.loads(path.read_text(encoding="utf-8"))["song"] for path in store.iterdir()}
    assert kept == {"b"}
