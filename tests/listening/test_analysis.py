"""Analysing a listening test: screening, statistics, simulated listeners, damaged results."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from helpers.simulated_listeners import careless, choose, taste
from viso.cli import app
from viso.cli.listen_run import pictures_of
from viso.errors import ConfigError, DataError
from viso.listening import (
    Choice,
    ListeningTest,
    Ratings,
    Results,
    analyse,
    as_lines,
    as_summary,
    caveats,
    read_results,
    screen,
    write_report,
)
from viso.listening.definition import INSTRUCTIONS, QUESTIONS, Kind, Stimulus, Trial
from viso.listening.statistics import (
    binomial_p,
    correlate,
    holm,
    mean_interval,
    share_interval,
    t_quantile,
)
from viso.reports.plots.ratings import boxes, cloud, intervals, signs_of

SYSTEMS = {"alpha": 14.0, "beta": 8.0, "gamma": 2.0}
QUALITY = {
    "alpha": 80.0,
    "beta": 62.0,
    "gamma": 40.0,
    "low-pass 7 kHz": 55.0,
    "low-pass 3.5 kHz": 30.0,
}


def definition(kind: Kind = "mushra", n_trials: int = 20, **changes: object) -> ListeningTest:
    """A test without sounds."""
    trials = []
    for index in range(n_trials):
        names = {"reference": "reference", **dict.fromkeys(SYSTEMS, "system")}
        if kind == "mushra":
            names |= {"low-pass 7 kHz": "anchor", "low-pass 3.5 kHz": "anchor"}
        else:
            names = {"alpha": "system", "beta": "system"}
        stimuli = [
            Stimulus(
                id=f"{index:06x}{number:06x}",
                condition=name,
                role=role,
                sdr_db=SYSTEMS[name] + 0.1 * (index % 5) if role == "system" else None,
            )
            for number, (name, role) in enumerate(names.items())
        ]
        trials.append(
            Trial(
                name=f"t{index:02}",
                song=f"song {index // 2}",
                start_s=0,
                duration_s=10,
                training=False,
                reference=f"{index:06x}ffffff",
                stimuli=tuple(stimuli),
            )
        )
    values = {
        "id": "0123456789ab",
        "kind": kind,
        "title": "Test",
        "stem": "vocals",
        "seed": 1,
        "loudness_lufs": -23.0,
        "instructions": INSTRUCTIONS[kind],
        "systems": tuple(SYSTEMS) if kind == "mushra" else ("alpha", "beta"),
        "questions": (QUESTIONS["overall"],) if kind == "mushra" else (),
        "trials": tuple(trials),
        **changes,
    }
    return ListeningTest.from_mapping(values, origin="test")


def answers(test: ListeningTest, values: dict[str, list[float]], *, of: str) -> list[Ratings]:
    """Ratings of one condition by listener, a value a trial; everything else gets 50."""
    return [
        Ratings(
            test=test.id,
            listener=listener,
            trial=trial.name,
            question="overall",
            ratings={
                s.id: value if s.condition == of else 100.0 if s.role == "reference" else 50.0
                for s in trial.stimuli
            },
        )
        for listener, row in values.items()
        for trial, value in zip(test.rated, row, strict=False)
    ]


def test_screening_at_its_edges() -> None:
    test = definition(n_trials=20)
    rows = {
        "all": [100.0] * 20,
        "edge": [90.0] * 20,  # 90 is not below 90
        "three": [89.0] * 3 + [100.0] * 17,  # 15 % is not more than 15 %
        "four": [89.9] * 4 + [100.0] * 16,
        "few": [100.0] * 5 + [0.0],  # 1 of 6 is 16.7 %
        "seven": [100.0] * 6 + [0.0],  # 1 of 7 is 14.3 %
    }
    found = {s.listener: s for s in screen(test, answers(test, rows, of="reference"))}
    assert {name for name, s in found.items() if s.is_kept} == {"all", "edge", "three", "seven"}
    assert (found["four"].n_missed, found["four"].n_trials) == (4, 20)
    assert (found["few"].n_missed, found["few"].n_trials) == (1, 6)


def test_screening_by_the_mid_anchor() -> None:
    test = definition(n_trials=10)
    # All listeners like the anchor of the first trial, so that it proves nothing.
    rows = {f"fair-{i}": [95.0] + [60.0] * 9 for i in range(8)}
    rows["one"] = [95.0, 91.0] + [90.0] * 8  # 1 of 9 that count
    rows["two"] = [95.0, 91.0, 91.0] + [60.0] * 7  # 2 of 9
    ratings = answers(test, rows, of="low-pass 7 kHz")
    assert all(s.is_kept for s in screen(test, ratings))
    found = {s.listener: s for s in screen(test, ratings, mid_anchor=True)}
    assert [name for name, s in found.items() if not s.is_kept] == ["two"]
    assert (found["two"].n_anchor, found["two"].n_anchor_trials) == (2, 9)


def test_only_the_overall_question_screens() -> None:
    test = definition(n_trials=4, questions=(QUESTIONS["overall"], QUESTIONS["target"]))
    good = answers(test, {"x": [100.0] * 4}, of="reference")
    bad = [
        r.model_copy(update={"question": "target", "ratings": dict.fromkeys(r.ratings, 0.0)})
        for r in good
    ]
    assert screen(test, [*good, *bad])[0].is_kept


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.011, 0.02, 0.04 times 4, 3, 2, 1: 0.02, 0.033, 0.04, 0.04.
    assert holm([0.02, 0.005, 0.04, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    # 0.01 * 3 = 0.03; 0.03 * 2 = 0.06; 0.04 * 1 rises to 0.06.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("p", "freedom", "t"),
    [(0.975, 1, 12.7062047), (0.975, 2, 4.3026527), (0.975, 9, 2.2621572),
     (0.975, 30, 2.0422725), (0.95, 5, 2.0150484), (0.975, 1000, 1.9623391)],
)  # fmt: skip
def test_student_t_as_in_tables(p: float, freedom: int, t: float) -> None:
    assert t_quantile(p, freedom=freedom) == pytest.approx(t, abs=1e-6)


def test_intervals_by_hand() -> None:
    # Mean 3, standard deviation sqrt(2.5), t = 2.776445 for 4 degrees of freedom.
    mean, low, high = mean_interval(np.array([1.0, 2, 3, 4, 5]))
    assert (mean, low, high) == pytest.approx((3, 3 - 1.963243, 3 + 1.963243), abs=1e-5)
    assert math.isnan(mean_interval(np.array([4.0])).low)
    assert share_interval(8, 10) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-5)
    assert share_interval(0, 10).low == 0 and share_interval(10, 10).high == 1
    assert binomial_p(9, 10) == 11 / 1024
    assert binomial_p(0, 10) == 1


def test_correlation_by_hand() -> None:
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])
    found = correlate(x, y, list("abcd"))
    assert found.pearson.value == pytest.approx(0.984374, abs=1e-6)
    assert found.spearman.value == pytest.approx(1)
    tied = correlate(np.array([1.0, 1, 2]), np.array([3.0, 5, 4]), list("aab"))
    assert tied.spearman.value == pytest.approx(0.0)
    # Perfect in every sample: what is left out shows nothing.
    assert math.isnan(found.spearman.low)
    assert math.isnan(tied.spearman.low)
    assert math.isnan(correlate(x[:2], y[:2], list("ab")).pearson.value)
    assert math.isnan(correlate(np.ones(4), y, list("abcd")).pearson.value)


@pytest.mark.parametrize("n_songs", [4, 6, 10])
def test_intervals_of_a_correlation_hold_the_truth(n_songs: int) -> None:
    """Three systems, and songs that differ from one another in SDR and in ratings."""

    def draw(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        quality = np.linspace(0, 6, 3)
        sdr = quality + random.normal(0, 2, (n, 1)) + random.normal(0, 1, (n, 3))
        rating = 6 * quality + random.normal(0, 8, (n, 1)) + random.normal(0, 8, (n, 3))
        return sdr.ravel(), rating.ravel()

    many = correlate(*draw(np.random.default_rng(0), 500), [str(i // 3) for i in range(1500)])
    songs = [str(i // 3) for i in range(3 * n_songs)]
    random = np.random.default_rng(n_songs)
    n, hits = 200, [0, 0]
    for _ in range(n):
        found = correlate(*draw(random, n_songs), songs)
        for i, (one, truth) in enumerate(zip(found[:2], many[:2], strict=True)):
            hits[i] += one.low <= truth.value <= one.high
    # A bootstrap over songs holds 0.5 to 0.8 of them.
    assert min(hits) >= 0.88 * n


def test_three_songs_give_no_interval() -> None:
    random = np.random.default_rng(0)
    found = correlate(random.normal(size=9), random.normal(size=9), list("aaabbbccc"))
    assert math.isfinite(found.pearson.value) and math.isnan(found.pearson.low)


def test_simulated_listeners_are_understood() -> None:
    test = definition(n_trials=8)
    records = [
        *taste(test, QUALITY, n_listeners=12, seed=3),
        *careless(test, n_listeners=4, seed=4),
    ]
    found = analyse(test, Results((), tuple(r for r in records if isinstance(r, Ratings)), ()))
    left_out = {s.listener for s in found.screened if not s.is_kept}
    assert left_out == {f"careless-{i}" for i in range(4)}
    means = {row.condition: row for row in found.means}
    order = sorted(SYSTEMS, key=lambda name: -means[name].mean)
    assert order == ["alpha", "beta", "gamma"]
    assert means["reference"].mean == 100
    for name, row in means.items():
        assert row.n == 12
        assert row.mean == pytest.approx(QUALITY.get(name, 100), abs=6)
    assert len(found.comparisons) == 3
    for pair in found.comparisons:
        assert pair.difference > 10
        assert pair.p <= pair.p_holm < 0.01
        assert pair.n_better == 12
    # The systems' SDR was made to go with their quality.
    assert found.correlations["overall"]["sdr"].pearson.value > 0.95
    assert found.correlations["overall"]["sdr"].n == 24
    assert {row.of for row in found.by_trial} == {trial.name for trial in test.rated}
    assert {row.of for row in found.by_listener} >= left_out


def test_equal_systems_are_not_told_apart() -> None:
    test = definition(n_trials=3)
    alike = {**QUALITY, "alpha": 60.0, "beta": 60.0, "gamma": 60.0}
    wrong = 0
    for seed in range(25):
        ratings = taste(test, alike, n_listeners=10, seed=seed, noise=8)
        found = analyse(test, Results((), tuple(r for r in ratings if isinstance(r, Ratings)), ()))
        wrong += min(pair.p_holm for pair in found.comparisons) < 0.05
    # 5 % of 25 are 1.25; more than 5 would happen twice in 1000 cases.
    assert wrong <= 5


def test_intervals_cover_the_truth() -> None:
    test = definition(n_trials=2)
    hits = 0
    for seed in range(200):
        ratings = taste(test, QUALITY, n_listeners=8, seed=seed)
        found = analyse(test, Results((), tuple(r for r in ratings if isinstance(r, Ratings)), ()))
        row = next(row for row in found.means if row.condition == "beta")
        hits += row.low <= QUALITY["beta"] <= row.high
    # Of 200 with 95 %: 190, and 181 to 198 in all but 1 of 200 cases.
    assert 181 <= hits <= 199


def test_nobody_left_gives_a_report_that_says_why(tmp_path: Path) -> None:
    test = definition(n_trials=8)
    found = analyse(test, Results((), tuple(careless(test, n_listeners=3)), ()))
    assert found.n_listeners == 3 and found.n_kept == 0
    assert not (found.means or found.quartiles or found.comparisons or found.correlations)
    assert "None of the 3 listeners passes" in caveats(found)[0]
    write_report(tmp_path / "report", found, pictures=pictures_of(found))
    page = (tmp_path / "report" / "report.html").read_text()
    assert "None of the 3 listeners passes" in page
    for screened in found.screened:
        assert screened.listener in page and screened.reasons[0] in page
        assert screened.reasons[0].startswith("rated the hidden reference below 90 in ")
    assert "listener by listener" in page and page.count("<svg") == 1
    with (tmp_path / "report" / "ratings.csv").open() as file:
        assert {row["is_kept"] for row in csv.DictReader(file)} == {"False"}


def test_the_command_shows_who_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = definition(n_trials=8)
    monkeypatch.setattr("viso.cli.listen_run.load_test", lambda _: test)
    answers = tmp_path / "answers.jsonl"
    answers.write_text(as_lines(careless(test, n_listeners=2)))
    report = tmp_path / "report"

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["listen", "analyse", "test", str(answers), *words])

    shown = run("-o", str(report))
    assert isinstance(shown.exception, DataError)
    assert "none of the 2 listeners passes" in str(shown.exception)
    assert str(report / "report.html") in str(shown.exception)
    assert "careless-1: rated the hidden reference below 90 in" in shown.output
    assert "careless-0" in (report / "report.html").read_text()
    told = json.loads(run("--json").stdout)
    assert [found["is_kept"] for found in told["screened"]] == [False, False]
    # With two that count it says that two are few, where no program reads the figures.
    answers.write_text(as_lines(taste(test, QUALITY, n_listeners=2)))
    few = run("--json")
    assert few.exception is None and "too few to show any difference" in few.stderr
    assert "too few to show any difference" in json.loads(few.stdout)["caveats"][0]


def test_who_is_left_out_for_what() -> None:
    test = definition(n_trials=10, questions=(QUESTIONS["overall"], QUESTIONS["target"]))
    rows = {"fooled": [91.0] * 10, **{f"fair-{i}": [60.0] * 10 for i in range(9)}}
    ratings = answers(test, rows, of="low-pass 7 kHz")
    half = answers(test, {"half": [50.0] * 10}, of="alpha")
    ratings += [r.model_copy(update={"question": "target"}) for r in half]
    found = {s.listener: s.reasons for s in screen(test, ratings, mid_anchor=True)}
    assert found.pop("fooled") == (
        "rated the 7 kHz anchor above 90 in 10 of 10 trials (100 %), more than 15 %",
    )
    assert found.pop("half") == ("rated nothing for the question 'overall'",)
    assert set(found.values()) == {()}


def few(n_listeners: int, **changes: object) -> list[str]:
    test = definition(n_trials=4, **changes)
    records = taste(test, QUALITY, n_listeners=n_listeners)
    return caveats(
        analyse(test, Results((), tuple(r for r in records if r.record == "ratings"), ()))
    )


def test_few_listeners_are_told() -> None:
    told = few(2)
    # Three pairs: 3 * 2 ** (1 - n) falls below 0.05 with 7 listeners.
    assert "2 listeners count: too few to show any difference" in told[0]
    assert "with 7 listeners" in told[0] and "20 are often enough" in told[1]
    assert "1 listener counts: too few" in few(1)[0]
    assert "with 7 listeners" in few(6)[0]
    assert [line for line in few(7) if "too few" in line] == []
    assert "20 are often enough" in few(19)[0] and few(20) == []
    test = definition("preference", n_trials=2)
    choices = tuple(c for n in range(3) for c in choose(test, n, 0.8, liked="beta"))
    assert "with 6 listeners" in caveats(analyse(test, Results((), (), choices)))[0]
    test = definition("abx", n_trials=2)
    choices = tuple(c for n in range(2) for c in choose(test, n, 1.0))
    assert "4 answers to a pair" in caveats(analyse(test, Results((), (), choices)))[0]
    choices = tuple(c for n in range(3) for c in choose(test, n, 1.0))
    assert caveats(analyse(test, Results((), (), choices))) == []


def test_quartiles_by_hand() -> None:
    test = definition(n_trials=4)
    rows = {"x": [10.0, 20.0, 30.0, 40.0], "y": [50.0, 60.0, 70.0, 100.0]}
    found = analyse(test, Results((), tuple(answers(test, rows, of="beta")), ()))
    (row,) = [row for row in found.quartiles if row.condition == "beta"]
    assert (row.least, row.lower_quartile, row.median) == (10, 27.5, 45)
    assert (row.upper_quartile, row.most, row.n) == (62.5, 100, 8)


def test_trials_may_differ_in_what_they_hold(tmp_path: Path) -> None:
    """A test put together of two: only the second knows gamma and the 7 kHz anchor."""
    whole = definition(n_trials=4)
    lacking = ("gamma", "low-pass 7 kHz")
    trials = [
        trial.model_copy(
            update={"stimuli": tuple(s for s in trial.stimuli if s.condition not in lacking)}
        )
        for trial in whole.trials[:2]
    ]
    test = whole.model_copy(update={"trials": (*trials, *whole.trials[2:])})
    records = [r for r in taste(test, QUALITY, n_listeners=8) if isinstance(r, Ratings)]
    found = analyse(test, Results((), tuple(records), ()))
    means = {row.condition: row for row in found.means}
    assert list(means) == ["reference", *SYSTEMS, "low-pass 7 kHz", "low-pass 3.5 kHz"]
    assert means["gamma"].mean == pytest.approx(QUALITY["gamma"], abs=6)
    pairs = {(pair.one, pair.other): pair.difference for pair in found.comparisons}
    assert pairs["beta", "gamma"] == pytest.approx(22, abs=8) and len(pairs) == 3
    assert {row.n for row in found.quartiles if row.condition == "gamma"} == {16}
    write_report(tmp_path / "report", found, pictures=pictures_of(found))


def test_a_system_has_one_sign_in_all_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, object]] = []
    for name in ("intervals", "boxes", "cloud"):

        def draw(found: object, *, signs: object, _name: str = name, **_: object) -> str:
            drawn.append((_name, signs))
            return "<svg></svg>"

        monkeypatch.setattr(f"viso.reports.plots.ratings.{name}", draw)
    test = definition(n_trials=4)
    records = [r for r in taste(test, QUALITY, n_listeners=3) if isinstance(r, Ratings)]
    pictures_of(analyse(test, Results((), tuple(records), ())))
    assert [name for name, _ in drawn] == ["intervals", "boxes", "intervals", "intervals", "cloud"]
    assert all(signs == drawn[0][1] for _, signs in drawn)
    signs = signs_of([f"system {i}" for i in range(24)])
    assert len(set(signs.values())) == 24


def test_pictures_use_their_signs() -> None:
    signs = signs_of(["alpha", "beta"])
    bounds = (50.0, 40.0, 60.0)
    for picture in (
        intervals({"beta": {"beta": bounds}}, unit="x", limits=(0, 100), signs=signs),
        intervals({"beta": {"a song": bounds}}, unit="x", limits=(0, 100), signs=signs),
        boxes({"beta": [1.0, 50.0, 51.0, 52.0, 99.0]}, unit="x", limits=(0, 100), signs=signs),
        cloud([("beta", 1.0, 2.0)], x_label="x", y_label="y", signs=signs),
    ):
        assert signs["beta"].colour in picture and signs["alpha"].colour not in picture
    # One value, and equal ones, make a picture, too.
    assert "<svg" in boxes({"a": [3.0], "$b": [4.0] * 5}, unit="x", limits=(0, 100))


def test_a_report_replaces_no_files_of_others(tmp_path: Path) -> None:
    test = definition(n_trials=2)
    records = [r for r in taste(test, QUALITY, n_listeners=3) if isinstance(r, Ratings)]
    found = analyse(test, Results((), tuple(records), ()))
    theirs = tmp_path / "summary.json"
    for text in ("", "my summary", "[]", '{"viso": 1}'):
        theirs.write_text(text)
        with pytest.raises(ConfigError, match="not empty and no report of viso listen"):
            write_report(tmp_path, found, pictures={})
        assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
        assert theirs.read_text() == text
    theirs.unlink()
    for _ in range(2):  # and a report of ours is made anew
        write_report(tmp_path / "report", found, pictures={})


def test_abx_and_preference() -> None:
    test = definition("abx", n_trials=10)
    hears = [c for n in range(8) for c in choose(test, n, 0.9)]
    row = analyse(test, Results((), (), tuple(hears))).pairs[0]
    assert (row.one, row.other, row.n_answers, row.n_listeners) == ("alpha", "beta", 80, 8)
    assert row.share > 0.8 and row.p < 1e-6 and row.low < row.share < row.high
    guesses = [c for n in range(8) for c in choose(test, n, 0.5)]
    assert analyse(test, Results((), (), tuple(guesses))).pairs[0].p > 0.01
    test = definition("preference", n_trials=10)
    likes = [c for n in range(8) for c in choose(test, n, 0.8, liked="beta")]
    row = analyse(test, Results((), (), tuple(likes))).pairs[0]
    assert row.share == pytest.approx(0.2, abs=0.12) and row.p < 0.05
    test = definition("preference", n_trials=10, may_be_undecided=True)
    undecided = [c.model_copy(update={"choice": "none"}) for c in likes]
    row = analyse(test, Results((), (), tuple(undecided))).pairs[0]
    assert (row.share, row.p, row.n_undecided) == (0.5, 1, 80)


def test_results_go_and_come_back(tmp_path: Path) -> None:
    test = definition(n_trials=3)
    records = taste(test, QUALITY, n_listeners=2)
    (tmp_path / "one.jsonl").write_text(as_lines(records))
    # Sent and handed over: the same lines count once; empty lines do not matter.
    (tmp_path / "two.jsonl").write_text("\n" + as_lines(records[:3]) + "\n")
    found = read_results([tmp_path], test)
    assert [*found.listeners, *found.ratings] == sorted(
        records, key=lambda record: record.record != "listener"
    )


def damaged(test: ListeningTest) -> dict[str, tuple[object, str]]:
    good = taste(test, QUALITY, n_listeners=1)[1].model_dump(exclude_none=True)
    ratings = dict(good["ratings"])
    first = next(iter(ratings))
    return {
        "cut": ('{"version": 1, "rec', "not a JSON object"),
        "list": ([1, 2], "a record of the kind None"),
        "kind": ({**good, "record": "opera"}, "a record of the kind 'opera'"),
        "unhashable": ({**good, "record": []}, r"a record of the kind \[\]"),
        "version": ({**good, "version": 2}, "version"),
        "test": ({**good, "test": "ffffffffffff"}, "of test 'ffffffffffff'"),
        "trial": ({**good, "trial": "t99"}, "trial 't99'"),
        "question": ({**good, "question": "taste"}, "question 'taste'"),
        "high": ({**good, "ratings": {**ratings, first: 101}}, "less than or equal to 100"),
        "none": ({**good, "ratings": {**ratings, first: None}}, "valid number"),
        "nan": (json.dumps({**good, "ratings": {**ratings, first: math.nan}}), "ratings"),
        "missing": (
            {**good, "ratings": {k: v for k, v in ratings.items() if k != first}},
            f"stimulus '{first}' is missing from trial t00",
        ),
        "more": ({**good, "ratings": {**ratings, "x": 1}}, "stimulus 'x' is not in trial t00"),
        "listener": ({**good, "listener": "a b"}, "listener"),
        "key": ({**good, "name": "Ann"}, "name"),
        "choice": (
            Choice(test=test.id, listener="x", trial="t00", a="1", b="2", choice="a").model_dump(),
            "choice in a test of the kind mushra",
        ),
    }


@pytest.mark.parametrize("case", list(damaged(definition(n_trials=2))))
def test_damaged_results_are_named(tmp_path: Path, case: str) -> None:
    test = definition(n_trials=2)
    line, message = damaged(test)[case]
    good = as_lines(taste(test, QUALITY, n_listeners=1, name="other"))
    path = tmp_path / "results.jsonl"
    path.write_text(good + (line if isinstance(line, str) else json.dumps(line)) + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_results([path], test)
    assert f"{path}: line {good.count(chr(10)) + 1}" in str(caught.value)


def test_files_that_are_no_results(tmp_path: Path) -> None:
    test = definition(n_trials=2)
    path = tmp_path / "results.jsonl"
    with pytest.raises(DataError, match=r"results.jsonl: cannot be read"):
        read_results([path], test)
    with pytest.raises(DataError, match=r"no file ending in .jsonl"):
        read_results([tmp_path], test)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_results([path], test)
    path.write_text("")
    with pytest.raises(DataError, match="not one answer"):
        read_results([path], test)
    records = taste(test, QUALITY, n_listeners=1)
    other = records[1].model_copy(update={"seconds": 3.0})
    path.write_text(as_lines([*records, other]))
    with pytest.raises(DataError, match=r"line 4: listener good-0 .*results.jsonl: line 2"):
        read_results([path], test)


def test_choices_are_checked(tmp_path: Path) -> None:
    test = definition("abx", n_trials=2)
    good = choose(test, 0, 1.0)[0]
    path = tmp_path / "results.jsonl"
    for change, message in (
        ({"x": None}, "x is None"),
        ({"x": "000000000000"[:11] + "9"}, "x is"),
        ({"a": good.b}, "missing from trial t00"),
        ({"choice": "none"}, "does not allow"),
    ):
        path.write_text(as_lines([good.model_copy(update=change)]))
        with pytest.raises(DataError, match=message):
            read_results([path], test)


@pytest.mark.parametrize("kind", ["mushra", "abx"])
def test_report(tmp_path: Path, kind: Kind) -> None:
    test = definition(kind, n_trials=4, title="<b>Best</b> voice")
    if kind == "mushra":
        records = [*taste(test, QUALITY, n_listeners=5), *careless(test, n_listeners=1)]
        ratings = tuple(record for record in records if isinstance(record, Ratings))
        analysis = analyse(test, Results((), ratings, ()))
    else:
        choices = tuple(c for n in range(3) for c in choose(test, n, 0.9))
        analysis = analyse(test, Results((), (), choices))
    files = write_report(tmp_path / "report", analysis, pictures={"A & B": "<svg></svg>"})
    assert sorted(path.name for path in files) == sorted(
        path.name for path in (tmp_path / "report").iterdir()
    )
    page = (tmp_path / "report" / "report.html").read_text()
    assert "&lt;b&gt;Best&lt;/b&gt; voice" in page and "<b>Best" not in page
    assert "A &amp; B" in page and "http" not in page
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary == json.loads(json.dumps(as_summary(analysis)))
    if kind == "mushra":
        assert "left out" in page and "careless-0" in page
        with (tmp_path / "report" / "ratings.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 6 * 4 * 6
        assert {row["is_kept"] for row in rows} == {"True", "False"}
        assert summary["means"][0]["condition"] == "reference"
    else:
        assert "50 % is guessing" in page
