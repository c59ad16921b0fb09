"""The loop: it learns, and a run that was cut short goes on as if it had not been."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from viso.config import ModelCard
from viso.errors import ConfigError, DataError
from viso.metrics import usdr
from viso.train.loop import TorchModel, Trainer
from viso.train.validation import score

RHYTHM = {"steps": 14, "validate_every": 6, "checkpoint_every": 4, "log_every": 2}


def rows_of(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def state_of(path):
    return torch.load(path, weights_only=True)


def assert_same(one, other):
    """Compare nested states bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, toy_corpus):
    """A run in one go; tests look at it and copy it, and leave it as it is."""
    return {"folder": tmp_path_factory.mktemp("run") / "unbroken"}


@pytest.fixture
def whole_run(unbroken, recipe):
    if "progress" not in unbroken:
        unbroken["trainer"] = Trainer(recipe(**RHYTHM), unbroken["folder"])
        unbroken["progress"] = list(unbroken["trainer"].run())
    return unbroken


def test_it_learns_to_tell_high_tones_from_low_noise(tmp_path, recipe):
    trainer = Trainer(recipe(steps=80, validate_every=80, log_every=10, ema=0.9), tmp_path)
    progress = list(trainer.run())
    losses = [state.loss for state in progress]
    assert losses[-1] < 0.6 * losses[0]
    assert progress[-1].usdr_db > 5
    assert all(state.usdr_db is None for state in progress[:-1])


def test_progress_and_log_tell_the_same_story(whole_run):
    progress, rows = whole_run["progress"], rows_of(whole_run["folder"])
    assert list(rows[0]) == ["step", "loss", "audio_hours", "hours", "valid_usdr_db"]
    assert [state.step for state in progress] == [2, 4, 6, 8, 10, 12, 14]
    assert [state.step for state in progress if state.usdr_db is not None] == [6, 12, 14]
    for state, row in zip(progress, rows, strict=True):
        assert int(row["step"]) == state.step
        assert float(row["loss"]) == pytest.approx(state.loss, abs=1e-6)
        assert float(row["hours"]) == pytest.approx(state.hours, abs=1e-4)
        assert float(row["audio_hours"]) == pytest.approx(state.audio_hours, abs=1e-3)
        assert state.audio_hours == pytest.approx(state.step * 4 * 40 * 64 / 8000 / 3600)
        shown = "" if state.usdr_db is None else f"{state.usdr_db:.3f}"
        assert row["valid_usdr_db"] == shown


def test_what_is_saved_as_best_is_the_average(whole_run):
    trainer, folder = whole_run["trainer"], whole_run["folder"]
    last, best = state_of(folder / "last.pt"), state_of(folder / "best.pt")["network"]
    scores = {s.step: s.usdr_db for s in whole_run["progress"] if s.usdr_db is not None}
    assert last["best_db"] == max(scores.values())
    assert_same(last["average"], trainer.average.state_dict())
    assert_same(last["network"], trainer.network.state_dict())
    assert max(scores, key=scores.get) == 14, "of a toy this young the last is the best"
    assert_same(best, last["average"])
    weights = [name for name in best if name.endswith("weight")]
    assert all(not torch.equal(last["average"][name], last["network"][name]) for name in weights)
    assert all(not torch.equal(best[name], last["network"][name]) for name in weights)
    assert set(last) == {
        "step", "seconds", "best_db", "network", "average", "optimiser", "generator",
    }  # fmt: skip


def test_the_average_follows_the_weights(tmp_path, recipe):
    trainer = Trainer(recipe(ema=0.75), tmp_path)
    before = {k: v.clone() for k, v in trainer.average.state_dict().items()}
    for keep in (2 / 11, 3 / 12):
        trainer.train_step()
        for name, value in trainer.average.state_dict().items():
            now = trainer.network.state_dict()[name]
            expected = now
            if value.dtype.is_floating_point:
                expected = keep * before[name] + (1 - keep) * now
            torch.testing.assert_close(value, expected)
        before = {k: v.clone() for k, v in trainer.average.state_dict().items()}


@pytest.mark.parametrize("cut", [2, 6, 12])
def test_a_run_cut_short_goes_on_bit_for_bit(tmp_path, recipe, whole_run, cut):
    first = Trainer(recipe(**RHYTHM), tmp_path)
    steps = first.run()
    seen = [next(steps)]
    while seen[-1].step < cut:
        seen.append(next(steps))
    first.train_step()  # lost work: no checkpoint knows of it
    steps.close()
    torch.manual_seed(77)

    resumed = Trainer(recipe(**RHYTHM), tmp_path)
    resumed_at = cut // 4 * 4
    assert resumed.step == resumed_at
    rest = list(resumed.run())
    expected = [state for state in whole_run["progress"] if state.step > resumed_at]
    for ours, theirs in zip(rest, expected, strict=True):
        assert (ours.step, ours.loss, ours.usdr_db) == (theirs.step, theirs.loss, theirs.usdr_db)
    for name in ("last.pt", "best.pt"):
        one, other = state_of(tmp_path / name), state_of(whole_run["folder"] / name)
        assert_same({**one, "seconds": 0}, {**other, "seconds": 0})
    ours, theirs = rows_of(tmp_path), rows_of(whole_run["folder"])
    for row in ours + theirs:
        row.pop("hours")
    assert ours == theirs


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path, recipe, whole_run):
    folder = tmp_path / "run"
    shutil.copytree(whole_run["folder"], folder)
    state = {**state_of(folder / "last.pt"), "step": 8}
    torch.save(state, folder / "last.pt")
    with (folder / "log.csv").open("a", encoding="utf-8") as log:
        log.write("16,0.1")  # cut off by a crash
    before = (folder / "log.csv").read_bytes().split(b"\r\n")
    trainer = Trainer(recipe(**RHYTHM), folder)
    assert (folder / "log.csv").read_bytes().split(b"\r\n") == before, "only a run may change it"
    list(trainer.run())
    after = (folder / "log.csv").read_bytes().split(b"\r\n")
    assert after[:5] == before[:5]
    assert [row["step"] for row in rows_of(folder)] == [str(n) for n in range(2, 15, 2)]


def test_a_complete_run_is_left_alone(recipe, whole_run):
    folder = whole_run["folder"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    trainer = Trainer(recipe(**RHYTHM), folder)
    assert trainer.step == 14
    assert list(trainer.run()) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_resumed_run_knows_how_good_it_has_been(tmp_path, recipe, whole_run):
    folder = tmp_path / "run"
    shutil.copytree(whole_run["folder"], folder)
    torch.save({**state_of(folder / "last.pt"), "step": 8, "best_db": 99.0}, folder / "last.pt")
    before = (folder / "best.pt").read_bytes()
    list(Trainer(recipe(**RHYTHM), folder).run())
    assert (folder / "best.pt").read_bytes() == before


def test_stopping_at_the_last_word_loses_nothing(tmp_path, recipe):
    trainer = Trainer(recipe(steps=2, validate_every=2), tmp_path)
    steps = trainer.run()
    assert next(steps).step == 2
    steps.close()
    assert Trainer(recipe(steps=2, validate_every=2), tmp_path).step == 2


def test_a_seed_decides_the_run(tmp_path, recipe):
    losses = []
    for number, seed in enumerate((5, 5, 6)):
        trainer = Trainer(recipe(seed=seed), tmp_path / str(number))
        losses.append([trainer.train_step() for _ in range(2)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_a_folder_of_another_recipe_is_refused_and_kept(tmp_path, recipe):
    Trainer(recipe(), tmp_path)
    before = (tmp_path / "recipe.toml").read_bytes()
    with pytest.raises(ConfigError, match="another recipe"):
        Trainer(recipe(learning_rate=1e-4), tmp_path)
    assert (tmp_path / "recipe.toml").read_bytes() == before
    Trainer(recipe(), tmp_path)


def test_a_recipe_written_differently_is_still_the_same(tmp_path, recipe):
    Trainer(recipe(), tmp_path)
    path = tmp_path / "recipe.toml"
    path.write_text("# ours\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    Trainer(recipe(), tmp_path)


def test_a_corpus_of_another_rate_is_refused_and_claims_no_folder(tmp_path, recipe, packed):
    corpus = packed(tmp_path / "corpus", [({}, np.zeros((2, 9000), np.float32))])
    index = corpus.folder / "index.json"
    index.write_text(index.read_text(encoding="utf-8").replace("8000", "44100"), encoding="utf-8")
    with pytest.raises(DataError, match="44100 Hz"):
        Trainer(recipe(corpus=str(corpus.folder)), tmp_path / "run")
    with pytest.raises(DataError, match="no corpus"):
        Trainer(recipe(corpus=str(tmp_path / "nowhere")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(tmp_path, recipe):
    list(Trainer(recipe(steps=1), tmp_path).run())
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"last\.pt"):
        Trainer(recipe(steps=1), tmp_path)


def test_a_loss_that_runs_away_is_an_error_and_no_checkpoint(tmp_path, recipe):
    trainer = Trainer(recipe(checkpoint_every=1), tmp_path)
    with torch.no_grad():
        trainer.network.out.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="loss is nan"):
        list(trainer.run())
    assert not (tmp_path / "last.pt").exists()


class Share(nn.Module):
    """Gives the same share of everything to the vocals."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, magnitude):
        return torch.full_like(magnitude, self.share)


def share_score(share, corpus):
    spectral = {"rate_hz": 8000, "n_fft": 256, "hop": 64}
    card = ModelCard(name="share", spectral=spectral, basis="mid-side", chunk_frames=40)
    return score(TorchModel(Share(share), card, torch.device("cpu")), corpus)


def stems_of(corpus, song):
    tracks = {t.role: t for t in corpus.tracks if t.song == song}
    return corpus.read(tracks["vocals"]), corpus.read(tracks["instrumental"])


def test_the_score_is_the_median_usdr_of_validation_songs(toy_corpus):
    expected = []
    for song in ("song 6", "song 7"):
        vocals, music = stems_of(toy_corpus, song)
        expected.append(usdr(vocals, 0.5 * (vocals + music)))
    assert share_score(0.5, toy_corpus) == pytest.approx(float(np.mean(expected)), abs=1e-3)


def test_of_a_long_song_the_middle_is_judged(tmp_path, packed):
    rng = np.random.default_rng(0)
    n_samples = 50 * 8000
    vocals = rng.uniform(-0.1, 0.1, (2, n_samples)).astype(np.float32)
    music = vocals.copy()
    middle = slice(10 * 8000, 40 * 8000)
    music[:, middle] *= 0.0
    facts = {"split": "valid", "song": "v"}
    corpus = packed(tmp_path, [(facts, vocals), ({**facts, "role": "instrumental"}, music)])
    assert share_score(0.5, corpus) == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_mono_vocals_a_shorter_backing_and_a_song_without_sound(tmp_path, packed):
    rng = np.random.default_rng(0)
    vocals = rng.uniform(-0.1, 0.1, (1, 9000)).astype(np.float32)
    music = np.zeros((2, 8900), np.float32)
    tracks = []
    for song, sound in (("sung", vocals), ("silent", vocals * 0)):
        facts = {"split": "valid", "song": song}
        tracks += [(facts, sound), ({**facts, "role": "instrumental"}, music)]
    corpus = packed(tmp_path, tracks)
    assert share_score(0.5, corpus) == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_training_songs_and_songs_without_release_levels_are_not_judged(tmp_path, packed):
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 9000)).astype(np.float32)
    tracks = []
    for facts in ({"split": "train"}, {"split": "valid", "release_level": False}):
        facts = {**facts, "song": str(facts)}
        tracks += [(facts, sound), ({**facts, "role": "instrumental"}, sound)]
    assert share_score(0.5, packed(tmp_path, tracks)) is None


def test_without_validation_songs_the_latest_weights_are_kept(tmp_path, recipe, packed, toy_corpus):
    tracks = [
        (t.model_dump(exclude={"n_channels"}), toy_corpus.read(t))
        for t in toy_corpus.tracks
        if t.split == "train"
    ]
    corpus = packed(tmp_path / "corpus", tracks)
    settings = recipe(corpus=str(corpus.folder), steps=4, validate_every=2)
    trainer = Trainer(settings, tmp_path / "run")
    assert [state.usdr_db for state in trainer.run()] == [None, None]
    assert_same(state_of(tmp_path / "run" / "best.pt")["network"], trainer.average.state_dict())
    assert [row["valid_usdr_db"] for row in rows_of(tmp_path / "run")] == ["", ""]
