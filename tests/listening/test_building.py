"""Building a listening test: excerpts, loudness, anchors, orders, and what does not fit."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from helpers.simulated_listeners import RATE_HZ, band, make_song, voice
from viso.audio import read, write
from viso.errors import AudioError, ConfigError, DataError
from viso.listening import (
    BuildSettings,
    ListeningTest,
    SongMaterial,
    build_test,
    load_test,
    loudness_lufs,
    order_of,
    read_excerpts,
    sequence,
    stimulus_path,
)
from viso.listening.anchors import distorted, interference, low_pass
from viso.listening.definition import ANCHORS
from viso.listening.excerpts import Excerpt, loudest
from viso.listening.export import new_folder

SECONDS = 4.0
SYSTEMS = {"alpha": 20.0, "beta": 6.0}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[SongMaterial]:
    folder = tmp_path_factory.mktemp("songs")
    return [make_song(folder, f"song {i}", SYSTEMS, seed=10 * i, seconds=SECONDS) for i in range(2)]


@pytest.fixture(scope="module")
def built(
    songs: list[SongMaterial], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ListeningTest]:
    folder = tmp_path_factory.mktemp("tests") / "mushra"
    settings = BuildSettings(duration_s=1.2, seed=7, questions=("interference",))
    return folder, build_test(songs, folder, settings=settings)


def test_all_stimuli_are_equally_loud(built: tuple[Path, ListeningTest]) -> None:
    folder, test = built
    for stimulus_id in test.stimulus_ids:
        audio, rate_hz = read(stimulus_path(folder, stimulus_id))
        # With the library's own filters, not with those that built it.
        measured = pyloudnorm.Meter(rate_hz).integrated_loudness(audio.T.astype(np.float64))
        assert measured == pytest.approx(test.loudness_lufs, abs=0.1)
        assert loudness_lufs(audio, rate_hz=rate_hz) == pytest.approx(test.loudness_lufs, abs=0.01)
        assert np.abs(audio).max() <= 10 ** (-1 / 20) + 1e-6


def test_a_loud_test_is_lowered_as_a_whole(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(
        duration_s=1.2, seed=7, loudness_lufs=-10, anchors=False, short_training=True
    )
    test = build_test(songs[:1], tmp_path / "loud", settings=settings)
    assert test.loudness_lufs < -10
    peaks = []
    for stimulus_id in test.stimulus_ids:
        audio, rate_hz = read(stimulus_path(tmp_path / "loud", stimulus_id))
        assert loudness_lufs(audio, rate_hz=rate_hz) == pytest.approx(test.loudness_lufs, abs=0.01)
        peaks.append(float(np.abs(audio).max()))
    assert max(peaks) == pytest.approx(10 ** (-1 / 20), abs=1e-4)


def test_the_meter_is_that_of_the_standard() -> None:
    # BS.1770: a 997 Hz sine at full scale in one channel has -3.01 LKFS.
    t = np.arange(48_000 * 3) / 48_000
    sine = np.sin(2 * np.pi * 997 * t)[None].astype(np.float32)
    assert loudness_lufs(sine, rate_hz=48_000) == pytest.approx(-3.01, abs=0.01)


def test_hidden_reference_is_the_reference(built: tuple[Path, ListeningTest]) -> None:
    folder, test = built
    for trial in test.trials:
        hidden = [s for s in trial.stimuli if s.role == "reference"]
        assert len(hidden) == 1
        assert trial.reference is not None and trial.reference != hidden[0].id
        shown = read(stimulus_path(folder, trial.reference))[0]
        assert np.array_equal(shown, read(stimulus_path(folder, hidden[0].id))[0])


def test_what_a_trial_holds(built: tuple[Path, ListeningTest]) -> None:
    folder, test = built
    assert load_test(folder) == test
    assert [trial.training for trial in test.trials] == [True, True, False, False]
    assert test.systems == ("alpha", "beta")
    for trial in test.rated:
        assert {s.condition for s in trial.stimuli} == {"reference", *SYSTEMS, *ANCHORS}
        # The voice is loud in the last third.
        assert trial.start_s >= SECONDS * 2 / 3 - 0.15
        sdrs = {s.condition: s.sdr_db for s in trial.stimuli}
        assert sdrs["reference"] is None
        scaled = {s.condition: s.si_sdr_db for s in trial.stimuli}
        assert scaled["alpha"] is not None and scaled["beta"] is not None
        assert scaled["alpha"] - scaled["beta"] == pytest.approx(14, abs=0.5)
    # Listeners train on all that they will rate, in another order.
    for training, trial in zip(test.trials[:2], test.rated, strict=True):
        assert training.stimuli == trial.stimuli and training.reference == trial.reference
        assert (training.song, training.start_s) == (trial.song, trial.start_s)
    assert test.questions_of(test.trials[0]) == ("overall", "interference")
    assert test.questions_of(test.trials[1]) == ("overall",)
    assert test.questions_of(test.trials[3]) == ("overall", "interference")
    assert len(test.pages) == 7


def test_another_stem_is_heard(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(duration_s=1.2, seed=7, stem="drums")
    with pytest.raises(DataError, match="alpha has no drums"):
        build_test(songs, tmp_path / "none", settings=settings)
    with pytest.raises(DataError, match="has no true guitar; its stems are vocals, instrumental"):
        settings_of_guitar = BuildSettings(duration_s=1.2, stem="guitar")
        build_test(songs, tmp_path / "guitar", settings=settings_of_guitar)
    with_drums = []
    for song in songs:
        estimates = {}
        (drums,) = (path for path in song.stems if path.stem == "drums")
        audio, rate_hz = read(drums)
        for number, (system, files) in enumerate(song.estimates.items()):
            place = tmp_path / system / f"{song.name}.wav"
            place.parent.mkdir(exist_ok=True)
            noise = band(audio.shape[1], seed=number) * np.float32(0.1 * (1 + number))
            write(place, audio + noise, rate_hz=rate_hz)
            estimates[system] = {**files, "drums": place}
        with_drums.append(SongMaterial(song.name, song.stems, estimates))
    test = build_test(with_drums, tmp_path / "drums", settings=settings)
    assert test.stem == "drums"
    sdr_db = {
        stimulus.condition: stimulus.sdr_db
        for trial in test.trials
        for stimulus in trial.stimuli
        if stimulus.role == "system"
    }
    assert sdr_db["alpha"] == pytest.approx(sdr_db["beta"] + 6, abs=1.5)


def test_a_short_training_is_one_passage(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(duration_s=1.2, seed=7, anchors=False, short_training=True)
    test = build_test(songs, tmp_path / "short", settings=settings)
    assert [trial.training for trial in test.trials] == [True, False, False]
    training = test.trials[0]
    assert (training.song, training.start_s) not in [(t.song, t.start_s) for t in test.rated]
    asked = {song.name: [Excerpt(0.5, 1.5)] for song in songs}
    test = build_test(songs, tmp_path / "asked", settings=settings, excerpts=asked)
    assert [trial.song for trial in test.trials] == ["song 0", "song 0", "song 1"]


def test_names_do_not_tell_the_system(built: tuple[Path, ListeningTest]) -> None:
    folder, _ = built
    for path in (folder / "stimuli").iterdir():
        assert path.suffix == ".flac"
        assert set(path.stem) <= set("0123456789abcdef")
    assert sorted(p.name for p in folder.iterdir()) == ["stimuli", "test.toml"]


def test_the_same_seed_gives_the_same_test(
    songs: list[SongMaterial], built: tuple[Path, ListeningTest], tmp_path: Path
) -> None:
    folder, test = built
    settings = BuildSettings(duration_s=1.2, seed=7, questions=("interference",))
    again = build_test(songs, tmp_path / "again", settings=settings)
    assert again == test
    for stimulus_id in test.stimulus_ids:
        one, other = (stimulus_path(f, stimulus_id) for f in (folder, tmp_path / "again"))
        assert one.read_bytes() == other.read_bytes()
    other = build_test(songs, tmp_path / "other", settings=settings.model_copy(update={"seed": 8}))
    assert other.id != test.id
    assert not set(other.stimulus_ids) & set(test.stimulus_ids)


def level_db(audio: np.ndarray, low_hz: float, high_hz: float, *, rate_hz: int) -> float:
    power = np.abs(np.fft.rfft(audio * np.hanning(audio.shape[1]), axis=1)) ** 2
    frequency = np.fft.rfftfreq(audio.shape[1], 1 / rate_hz)
    return float(10 * np.log10(power[:, (frequency >= low_hz) & (frequency < high_hz)].sum()))


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000, 96_000])
def test_low_pass_meets_the_standard(rate_hz: int) -> None:
    noise = band(2 * rate_hz, seed=0)
    for cutoff_hz in (3500.0, 7000.0):
        low = low_pass(noise, cutoff_hz, rate_hz=rate_hz)
        assert low.shape == noise.shape
        passed = [level_db(x, 50, cutoff_hz - 50, rate_hz=rate_hz) for x in (low, noise)]
        assert passed[0] == pytest.approx(passed[1], abs=0.1)
        above = [(f * cutoff_hz, (f + 0.02) * cutoff_hz) for f in (4 / 3.5, 4.5 / 3.5)]
        for (low_hz, high_hz), least_db in zip(above, (25, 50), strict=True):
            lost = [level_db(x, low_hz, high_hz, rate_hz=rate_hz) for x in (noise, low)]
            assert lost[0] - lost[1] > least_db


def test_low_pass_has_no_delay() -> None:
    click = np.zeros((1, 2001), np.float32)
    click[0, 1000] = 1
    assert np.argmax(low_pass(click, 3500, rate_hz=44_100)) == 1000
    with pytest.raises(AudioError, match="12000 Hz hold nothing"):
        low_pass(click, 7000, rate_hz=12_000)


def test_distorted_has_holes_below_3500_hz() -> None:
    audio = voice(2 * RATE_HZ, seed=1)
    holed = distorted(audio, rate_hz=RATE_HZ, seed=3)
    narrow = low_pass(audio, 3500, rate_hz=RATE_HZ)
    assert (
        level_db(holed, 5000, 16_000, rate_hz=RATE_HZ)
        < level_db(audio, 5000, 16_000, rate_hz=RATE_HZ) - 20
    )
    error_db = 10 * math.log10(float(np.square(narrow).sum() / np.square(narrow - holed).sum()))
    assert 3 < error_db < 15
    assert np.array_equal(holed, distorted(audio, rate_hz=RATE_HZ, seed=3))


def test_interference_is_as_loud_as_the_target() -> None:
    audio, others = voice(2 * RATE_HZ, seed=1), band(2 * RATE_HZ, seed=2, level=0.001)
    mixed = interference(audio, others, rate_hz=RATE_HZ)
    added = loudness_lufs(mixed - audio, rate_hz=RATE_HZ)
    assert added == pytest.approx(loudness_lufs(audio, rate_hz=RATE_HZ), abs=0.05)


def test_orders_are_balanced_and_reproducible(built: tuple[Path, ListeningTest]) -> None:
    test = built[1]
    n_stimuli = len(test.trials[2].stimuli)
    assert n_stimuli == 7
    orders = [order_of(test, listener) for listener in range(2 * n_stimuli)]
    assert orders == [order_of(test, listener) for listener in range(2 * n_stimuli)]
    for index in range(len(test.trials)):
        places = Counter(
            (place, stimulus)
            for order in orders
            for place, stimulus in enumerate(order.stimuli[index])
        )
        assert set(places.values()) == {2} and len(places) == n_stimuli**2
        follows = Counter(
            pair for order in orders for pair in itertools.pairwise(order.stimuli[index])
        )
        assert set(follows.values()) == {2} and len(follows) == n_stimuli * (n_stimuli - 1)
    for order in orders:
        assert order.trials[:2] == (0, 1)  # training
        assert sorted(order.trials) == [0, 1, 2, 3]
    assert Counter(order.trials for order in orders) == {(0, 1, 2, 3): 7, (0, 1, 3, 2): 7}
    with pytest.raises(ConfigError, match="counted from 0"):
        order_of(test, -1)


def test_a_seed_gives_its_orders_for_good() -> None:
    # Orders that change would no longer be those that listeners heard.
    assert sequence._shuffled(7, "7:t01:0:labels") == [0, 5, 4, 2, 1, 6, 3]
    assert sequence._williams(4) == [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]


def test_abx_hides_either_system_on_either_side(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(kind="abx", duration_s=1.2, seed=3, repeats=2)
    test = build_test(songs, tmp_path / "abx", settings=settings)
    assert len(test.rated) == 4 and not test.questions
    orders = [order_of(test, listener) for listener in range(8)]
    for index in range(len(test.trials)):
        cases = Counter((order.stimuli[index], order.hidden[index]) for order in orders)
        assert set(cases.values()) == {2} and len(cases) == 4


def test_preference_with_the_reference(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(
        kind="preference", duration_s=1.2, adds_reference=True, shows_reference=True
    )
    test = build_test(songs, tmp_path / "preference", settings=settings)
    pairs = [{s.condition for s in trial.stimuli} for trial in test.rated]
    assert pairs == [{"reference", "alpha"}, {"reference", "beta"}, {"alpha", "beta"}] * 2
    assert all(trial.reference for trial in test.trials)


def test_loudest_passages_do_not_overlap(songs: list[SongMaterial]) -> None:
    found = loudest(songs[0].vocals, duration_s=1.0, count=3)
    assert found[0].start_s >= SECONDS * 2 / 3 - 0.15
    for one, other in itertools.combinations(found, 2):
        assert abs(one.start_s - other.start_s) >= 1.0
    whole = loudest(songs[0].vocals, duration_s=60, count=2)
    assert whole == [Excerpt(0.0, SECONDS)]


def test_excerpts_that_are_asked_for(songs: list[SongMaterial], tmp_path: Path) -> None:
    table = tmp_path / "excerpts.csv"
    table.write_text("song,start_s,duration_s\nsong 1,0.5,1.5\nsong 1,2,1\n")
    test = build_test(
        songs,
        tmp_path / "test",
        settings=BuildSettings(anchors=False),
        excerpts=read_excerpts(table),
    )
    assert [(t.song, t.start_s, t.duration_s) for t in test.rated] == [
        ("song 1", 0.5, 1.5),
        ("song 1", 2.0, 1.0),
    ]
    audio, rate_hz = read(stimulus_path(tmp_path / "test", test.rated[0].stimuli[0].id))
    assert audio.shape[1] == 1.5 * rate_hz


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("song,start_s\nx,1\n", "no table of excerpts"),
        ("song,start_s,duration_s\nx,-1,5\n", "line 2: 5.0 s from -1.0 s"),
        ("song,start_s,duration_s\nx,1,0.2\n", "1 to 60 s"),
        ("song,start_s,duration_s\nx,soon,5\n", "no table of excerpts"),
        ("song,start_s,duration_s\n", "names no excerpt"),
    ],
)
def test_excerpts_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "excerpts.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_excerpts(table)
    assert str(table) in str(caught.value)


def test_what_cannot_be_built(songs: list[SongMaterial], tmp_path: Path) -> None:
    folder = tmp_path / "test"
    short = BuildSettings(duration_s=1.2)

    def refused(
        error: type[Exception], message: str, *, some: list[SongMaterial], **changes: object
    ) -> None:
        with pytest.raises(error, match=message):
            build_test(some, folder, settings=short.model_copy(update=changes))
        assert list(tmp_path.iterdir()) == []

    song = songs[0]
    refused(DataError, "no songs", some=[])
    one = SongMaterial("song 9", song.stems, {"alpha": song.estimates["alpha"]})
    refused(DataError, "song 9: separated by alpha, but song 0 by alpha, beta", some=[song, one])
    refused(ConfigError, "makes no pair", some=[one], kind="abx")
    many = SongMaterial("many", song.stems, {f"s{i}": song.estimates["alpha"] for i in range(8)})
    refused(ConfigError, "8 systems make 13 signals", some=[many])
    refused(ConfigError, "question 'taste'", some=[song], questions=("taste",))
    refused(ConfigError, "questions are for MUSHRA", some=[song], kind="abx", questions=("target",))
    taken = SongMaterial("taken", song.stems, {"distorted": song.estimates["alpha"]})
    refused(ConfigError, "a system called 'distorted'", some=[taken])


def test_silence_and_odd_files_are_named(songs: list[SongMaterial], tmp_path: Path) -> None:
    song, short = songs[0], BuildSettings(duration_s=1.2, anchors=False)
    n = round(SECONDS * RATE_HZ)

    def estimate(name: str, audio: np.ndarray, rate_hz: int = RATE_HZ) -> SongMaterial:
        write(tmp_path / name, audio, rate_hz=rate_hz)
        return SongMaterial("odd", song.stems, {"alpha": {"vocals": tmp_path / name}})

    silent = estimate("silent.flac", np.zeros((2, n), np.float32))
    with pytest.raises(DataError, match=r"odd from .* s: alpha: silent"):
        build_test([silent], tmp_path / "test", settings=short)
    slow = estimate("slow.flac", band(n, seed=1), 16_000)
    with pytest.raises(DataError, match=r"slow.flac: 16000 Hz, but .*vocals.flac has 32000"):
        build_test([slow], tmp_path / "test", settings=short)
    mono = estimate("mono.flac", band(n, seed=1)[:1])
    with pytest.raises(DataError, match=r"mono.flac: 1 channels"):
        build_test([mono], tmp_path / "test", settings=short)
    cut = estimate("cut.flac", band(n * 9 // 10, seed=1))
    with pytest.raises(DataError, match=r"cut.flac: 2 channels with"):
        build_test([cut], tmp_path / "test", settings=short)
    late = {"odd": [Excerpt(3.5, 2.0)]}
    with pytest.raises(DataError, match=r"ends 0.50 s after 3.5 s"):
        build_test([silent], tmp_path / "test", settings=short, excerpts=late)
    assert not (tmp_path / "test").exists() and not list(tmp_path.glob(".*"))


def test_a_folder_is_not_overwritten(songs: list[SongMaterial], tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "mine").touch()
    with pytest.raises(ConfigError, match="already there"):
        build_test(songs, tmp_path / "test", settings=BuildSettings(duration_s=1.2))
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_nothing_of_others_is_removed(songs: list[SongMaterial], tmp_path: Path) -> None:
    settings = BuildSettings(duration_s=1.2, seed=7, anchors=False)
    # Once the name of a folder that was not whole, and removed before each build.
    theirs = tmp_path / ".test.part" / "letters.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    build_test(songs, tmp_path / "test", settings=settings)
    assert theirs.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".test.part", "test"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="link: a link; choose another name"):
        build_test(songs, tmp_path / "link", settings=settings)
    with pytest.raises(ConfigError, match="no name for a folder"), new_folder(Path()):
        pass
    # Something that comes into the folder while the test is made stays there.
    (tmp_path / "late").mkdir()
    late = tmp_path / "late"
    with pytest.raises(ConfigError, match="late: cannot be written"), new_folder(late):
        (late / "letter").touch()
    assert (tmp_path / "late" / "letter").exists()
    assert list(tmp_path.glob(".late*")) == []


def test_damaged_definitions_are_named(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; name a folder"):
        load_test(tmp_path)
    text = (built[0] / "test.toml").read_text()
    place = tmp_path / "test.toml"
    for old, new, message in (
        ("version = 1", "version = 2", "version"),
        ('kind = "mushra"', 'kind = "opera"', "kind"),
        ("training = false", "training = true", "every trial is for training"),
        ("[[trials]]", "[[trials", "not a TOML file"),
        ("version = 1", "version = 1", "missing; build"),
    ):
        place.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=message) as caught:
            load_test(tmp_path)
        assert str(tmp_path) in str(caught.value)
