"""A run: it learns, it tells what it does, and its folder holds what it should."""

from __future__ import annotations

import csv
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from viso.errors import ConfigError, DataError
from viso.train.run.run_folder import RunFolder
from viso.train.run.supervisor import Supervisor
from viso.train.run.trainer import Outlook, Trainer
from viso.train.run.validation import Judge

RHYTHM = {"steps": 9, "validations": 3, "log_every": 2, "checkpoint_every_s": 0.0}


def rows_of(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def state_of(path):
    return torch.load(path, weights_only=True)


def networks_of(folder):
    """The weights and their average in the last checkpoint."""
    state = state_of(folder / "last.ckpt")
    return [
        {k.removeprefix("network."): v for k, v in state[key].items() if k.startswith("network.")}
        for key in ("current_model_state", "state_dict")
    ]


def run(recipe, folder, **how):
    """Train on the CPU; return the trainer and what it told."""
    trainer = Trainer(recipe, folder, device="cpu")
    told = []
    how.setdefault("on_progress", told.append)
    trainer.run(**how)
    return trainer, told


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def whole(kept, tmp_path_factory, recipe):
    """One run in one go; tests look at it and leave it as it is."""
    if not kept:
        folder, outlooks = tmp_path_factory.mktemp("run") / "deep" / "whole", []
        trainer, told = run(recipe(**RHYTHM), folder, on_start=outlooks.append)
        kept.update(trainer=trainer, told=told, folder=folder, outlooks=outlooks)
    return kept


@pytest.mark.parametrize("kind", ["viso_cnn", "viso"])
def test_it_learns_to_tell_high_tones_from_low_noise(tmp_path, recipe, kind):
    settings = recipe(network=kind, steps=70, validations=1, log_every=10, ema=0.9)
    trainer, told = run(settings, tmp_path)
    losses = [row.loss for row in told]
    # One loss is in decibels, the other falls towards zero.
    assert losses[-1] < (losses[0] - 3 if kind == "viso" else 0.6 * losses[0])
    assert told[-1].usdr_db > trainer.references()["mixture"] + 4
    assert trainer.diagnose(trainer.references()) is None


def test_what_is_told_is_what_is_logged(whole):
    told, rows = whole["told"], rows_of(whole["folder"])
    assert [row.step for row in told] == [2, 3, 4, 6, 8, 9]
    assert [row.step for row in told if row.usdr_db is not None] == [3, 6, 9]
    assert len(rows) == len(told)
    for row, line in zip(told, rows, strict=True):
        assert int(line["step"]) == row.step
        assert float(line["loss"]) == pytest.approx(row.loss, abs=1e-6)
        assert row.audio_hours == pytest.approx(row.step * 4 * 40 * 64 / 8000 / 3600)
        assert 0 < row.drawing < 1
        assert 0 <= row.waiting < 1
        assert line["valid_usdr_db"] == ("" if row.usdr_db is None else f"{row.usdr_db:.3f}")
    assert all(a.hours < b.hours for a, b in pairwise(told))
    history = RunFolder(whole["folder"]).history()
    assert [row.step for row in history] == [row.step for row in told]
    assert [row.usdr_db is None for row in history] == [row.usdr_db is None for row in told]
    assert history[-1].loss == pytest.approx(told[-1].loss, abs=1e-6)
    assert history[-1].drawing == pytest.approx(told[-1].drawing, abs=1e-4)


def test_the_folder_holds_what_its_drawing_says(whole):
    names = {path.name for path in whole["folder"].iterdir()}
    assert names == {
        "recipe.toml", "origin.json", "log.csv", "last.ckpt", "best.pt", "tensorboard",
    }  # fmt: skip
    assert (whole["trainer"].step, whole["trainer"].best_db) == (
        9,
        max(row.usdr_db for row in whole["told"] if row.usdr_db is not None),
    )


def test_before_the_first_step_it_says_what_is_to_come(whole):
    (outlook,) = whole["outlooks"]
    assert outlook.step_s > 0
    assert outlook.validation_s > 0
    assert outlook.steps == 9
    assert outlook.seconds == pytest.approx(9 * outlook.step_s + 3 * outlook.validation_s)


def test_finding_out_what_a_step_costs_leaves_no_trace(tmp_path, monkeypatch, recipe, whole):
    monkeypatch.setattr(Supervisor, "_cost_of_a_step", lambda *_: 1.0)
    monkeypatch.setattr(
        Supervisor, "_outlook", lambda *_: Outlook(step_s=1, validation_s=1, steps=1, seconds=1)
    )
    _, told = run(recipe(**RHYTHM), tmp_path)
    key = [(row.step, row.loss, row.usdr_db) for row in told]
    assert key == [(row.step, row.loss, row.usdr_db) for row in whole["told"]]


def test_a_seed_decides_the_run(tmp_path, recipe, whole):
    _, again = run(recipe(**RHYTHM), tmp_path / "again")
    _, other = run(recipe(**RHYTHM, seed=2), tmp_path / "other")
    losses = [[row.loss for row in told] for told in (whole["told"], again, other)]
    assert losses[0] == losses[1]
    assert all(a != b for a, b in zip(losses[0], losses[2], strict=True))


def test_a_complete_run_is_left_alone(recipe, whole):
    def contents():
        return {p: p.read_bytes() for p in whole["folder"].rglob("*") if p.is_file()}

    before = contents()
    trainer, told = run(recipe(**RHYTHM), whole["folder"])
    assert told == []
    assert trainer.step == 9
    assert trainer.best_db == whole["trainer"].best_db
    assert contents() == before


def test_tensorboard_shows_curves_sound_and_pictures(whole):
    board = EventAccumulator(
        str(whole["folder"] / "tensorboard"), size_guidance={"audio": 0, "images": 0}
    ).Reload()
    tags = board.Tags()
    assert set(tags["scalars"]) >= {"loss", "learning rate", "validation uSDR, dB"}
    assert tags["audio"] == ["vocals", "instrumental"]
    assert tags["images"] == ["vocals", "instrumental"]
    scores = {event.step: event.value for event in board.Scalars("validation uSDR, dB")}
    told = {row.step: row.usdr_db for row in whole["told"] if row.usdr_db is not None}
    assert scores == pytest.approx(told, abs=1e-5)
    losses = {event.step: event.value for event in board.Scalars("loss")}
    assert losses[9] == pytest.approx(whole["told"][-1].loss, rel=1e-5)
    assert board.Scalars("learning rate")[-1].value == pytest.approx(0.02 * 3e-3)
    for name in ("vocals", "instrumental"):
        sound = board.Audio(name)[-1]
        assert sound.sample_rate == 8000
        assert sound.encoded_audio_string.startswith(b"RIFF")
        assert board.Images(name)[-1].height == 513


def test_the_average_follows_the_weights(tmp_path, recipe):
    seen = []
    folder = tmp_path / "run"
    settings = recipe(steps=4, log_every=1, ema=0.2, checkpoint_every_s=0.0)
    run(settings, folder, on_progress=lambda _: seen.append(networks_of(folder)))
    assert len(seen) == 4
    for name, value in seen[0][0].items():
        assert torch.equal(value, seen[0][1][name]), "the first step's weights are its average"
    for step, keep in ((1, 2 / 11), (2, 0.2), (3, 0.2)):
        before, (now, average) = seen[step - 1][1], seen[step]
        assert not torch.equal(now["out.weight"], seen[step - 1][0]["out.weight"])
        for name, value in average.items():
            expected = now[name]
            if value.is_floating_point():
                expected = keep * before[name] + (1 - keep) * now[name]
            torch.testing.assert_close(value, expected, msg=f"{name} at {step}")


def test_what_is_saved_as_best_is_the_average_with_the_best_score(tmp_path, monkeypatch, recipe):
    scores = iter([9.0, 1.0, 3.0, 2.0])  # the first before training, to see what it costs
    monkeypatch.setattr(Judge, "score", lambda *_: next(scores))
    averages = {}

    def look(row):
        averages[row.usdr_db] = networks_of(tmp_path)[1]

    settings = recipe(steps=6, validations=3, log_every=2, checkpoint_every_s=0.0)
    trainer, _ = run(settings, tmp_path, on_progress=look)
    assert trainer.best_db == 3.0
    best = state_of(tmp_path / "best.pt")["network"]
    assert best.keys() == averages[3.0].keys()
    assert all(torch.equal(value, averages[3.0][name]) for name, value in best.items())
    assert not torch.equal(best["out.weight"], averages[2.0]["out.weight"])


def test_without_validation_songs_the_latest_weights_are_kept(tmp_path, recipe, packed, toy_corpus):
    tracks = [
        (t.model_dump(exclude={"n_channels"}), toy_corpus.read(t))
        for t in toy_corpus.tracks
        if t.split == "train"
    ]
    corpus = packed(tmp_path / "corpus", tracks)
    settings = recipe(corpus=str(corpus.folder), validations=2)
    trainer, told = run(settings, tmp_path / "run")
    assert [row.usdr_db for row in told] == [None, None]
    assert trainer.n_songs == 0
    assert trainer.references() == {}
    assert trainer.best_db == -math.inf
    best, average = state_of(tmp_path / "run/best.pt")["network"], networks_of(tmp_path / "run")[1]
    assert all(torch.equal(value, average[name]) for name, value in best.items())
    assert [row["valid_usdr_db"] for row in rows_of(tmp_path / "run")] == ["", ""]


@pytest.mark.parametrize("kind", ["viso_cnn", "viso"])
def test_half_precision_runs_and_gives_other_numbers(tmp_path, recipe, kind):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        settings = recipe(network=kind, steps=3, log_every=1, precision=precision)
        losses.append([row.loss for row in run(settings, tmp_path / precision)[1]])
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.2)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_run_that_runs_away_is_an_error_and_saves_nothing(tmp_path, recipe, what):
    trainer = Trainer(recipe(**RHYTHM), tmp_path, device="cpu")
    bias = trainer._learner.network.out.bias

    def spoil(_):
        if what == "loss":
            bias.data.fill_(math.nan)
        else:
            # The loss of this step is still a number, the weights after it are not.
            bias.register_hook(lambda gradient: gradient * math.nan)

    with pytest.raises(DataError, match="no longer a number at step 1"):
        trainer.run(on_start=spoil)
    assert {path.name for path in tmp_path.iterdir()} == {
        "recipe.toml", "origin.json", "tensorboard",
    }  # fmt: skip


@pytest.mark.parametrize("left", [0, 500, 40_000])
def test_a_damaged_checkpoint_is_named(tmp_path, recipe, whole, left):
    run(recipe(steps=1), tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"last\.ckpt: damaged"):
        run(recipe(steps=1), tmp_path)


def test_a_folder_of_another_recipe_or_other_recordings_is_refused_and_kept(
    tmp_path, recipe, packed, toy_corpus
):
    folder = tmp_path / "run"
    corpus = packed(
        tmp_path / "corpus",
        [(t.model_dump(exclude={"n_channels"}), toy_corpus.read(t)) for t in toy_corpus.tracks],
    )
    settings = recipe(corpus=str(corpus.folder))
    Trainer(settings, folder, device="cpu")
    before = (folder / "recipe.toml").read_bytes()
    with pytest.raises(ConfigError, match="another recipe"):
        Trainer(recipe(corpus=str(corpus.folder), learning_rate=1e-4), folder, device="cpu")
    # A run can be lengthened, but neither shortened nor ended by other means.
    for length in ({"steps": 3}, {"steps": 4, "time_s": 100.0}, {"steps": None, "time_s": 100.0}):
        with pytest.raises(ConfigError, match="its 4 steps may be more"):
            Trainer(recipe(corpus=str(corpus.folder), **length), folder, device="cpu")
    assert (folder / "recipe.toml").read_bytes() == before
    # The same recipe, written differently.
    (folder / "recipe.toml").write_bytes(b"# ours\n" + before)
    Trainer(settings, folder, device="cpu")
    fewer = [
        (t.model_dump(exclude={"n_channels"}), toy_corpus.read(t)) for t in toy_corpus.tracks[:-2]
    ]
    packed(tmp_path / "corpus", fewer)
    with pytest.raises(ConfigError, match="other recordings"):
        Trainer(settings, folder, device="cpu")


def test_what_cannot_run_claims_no_folder(tmp_path, recipe, packed, settings):
    sound = np.full((2, 9000), 0.1, np.float32)
    corpus = packed(tmp_path / "corpus", [({}, sound), ({"role": "instrumental"}, sound)])
    index = corpus.folder / "index.json"
    index.write_text(
        index.read_text(encoding="utf-8").replace(": 8000", ": 44100"), encoding="utf-8"
    )
    bands = settings.model_copy(update={"bands": 128, "top_hz": 1500.0})
    groups = recipe().mixing.model_copy(update={"vocals": {"choir": 1.0}})
    for broken, how, error, words in (
        (recipe(corpus=str(corpus.folder)), {}, DataError, "44100 Hz"),
        (recipe(corpus=str(tmp_path / "nowhere")), {}, DataError, "no corpus"),
        (recipe(network=bands), {}, ConfigError, "bands 128"),
        (recipe().model_copy(update={"mixing": groups}), {}, DataError, "choir"),
        (recipe(batch=4), {"devices": 3}, ConfigError, "batch 4 cannot be shared by 3"),
        (recipe(), {"devices": 0}, ConfigError, "devices 0"),
    ):
        with pytest.raises(error, match=words):
            Trainer(broken, tmp_path / "run", **{"device": "cpu", **how})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_a_gpu_that_is_not_there_is_missed(tmp_path, recipe):
    with pytest.raises(ConfigError, match="torch finds none"):
        Trainer(recipe(), tmp_path / "run", device="cuda")


def test_best_weights_are_whole_or_the_ones_before(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.keep_best({"weight": torch.ones(3)})

    def full_disk(_, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        folder.keep_best({"weight": torch.zeros(3)})
    assert torch.equal(state_of(folder.best)["network"]["weight"], torch.ones(3))


def test_a_row_that_a_crash_cut_short_is_forgotten(tmp_path, whole):
    folder = RunFolder(tmp_path)
    folder.log.write_bytes((whole["folder"] / "log.csv").read_bytes() + b"16,0.1")
    assert [row.step for row in folder.history()] == [2, 3, 4, 6, 8, 9]
    folder.trim_log(6)
    assert [row["step"] for row in rows_of(tmp_path)] == ["2", "3", "4", "6"]


@pytest.mark.parametrize("name", ["log.csv", "best.pt", "song.wav"])
def test_a_folder_of_other_files_is_no_run_s(tmp_path, recipe, name):
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="holds other files and no run"):
        Trainer(recipe(steps=1), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"
