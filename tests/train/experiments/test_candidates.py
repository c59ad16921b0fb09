"""experiments/candidates: its designs, its shares of songs, its runs, its line."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from torch import nn

from helpers.checkout import ROOT

EXPERIMENTS = ROOT / "experiments"
sys.path.append(str(EXPERIMENTS))

from candidates import training as training_module  # noqa: E402
from candidates.__main__ import main  # noqa: E402
from candidates.designs import DESIGNS, FIRST, build, times_real_time  # noqa: E402
from candidates.results import designs_table, read, sweep, write_csv  # noqa: E402
from candidates.scaling import fit, songs_table  # noqa: E402
from candidates.shares import as_if_unheard, chosen, shared, songs_alone, training_songs  # noqa: E402
from candidates.training import Plan, Training, run  # noqa: E402
from viso.train.data.corpus import LEVEL_BLOCK  # noqa: E402
from viso.train.networks.banded import Banded  # noqa: E402
from viso.train.recipe import Mixing  # noqa: E402
from viso.train.run.validation import Judge  # noqa: E402


@pytest.fixture
def first(tmp_path, drawn_viso):
    torch.save({"network": drawn_viso().state_dict()}, tmp_path / "first.pt")
    return tmp_path / "first.pt"


@pytest.fixture
def plan(recipe, first):
    def make(design="subband-mobile", **facts):
        usual = {"recipe": recipe(network="viso", batch=2), "first": first, "budget_s": 1e6}
        return Plan(design, **{**usual, **facts})

    return make


@pytest.fixture
def made(plan):
    def make(name):
        it = plan(name)
        return build(name, it.settings, it.recipe.spectral, seed=1, first=it.first)

    return make


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_gives_masks_and_learns_with_all_of_it(name, made, viso_settings):
    network = made(name)
    spectra = torch.randn((2, 4, 40, viso_settings.n_bins))
    masks = network(spectra)
    assert masks.shape == (2, 2, 40 - 2 * viso_settings.context_frames, viso_settings.n_bins)
    assert 0 <= masks.min() < masks.max() <= 1
    if name == "two-pass":
        # It begins with zeros, through which nothing is learnt in the first step.
        nn.init.normal_(network.second.out.weight)
    network.train()
    features = network.features(network.powers(spectra))
    (network.logits(features) * torch.randn((2, 2, 40, 32))).sum().backward()
    without = [
        weight
        for weight, values in network.named_parameters()
        if values.requires_grad and (values.grad is None or not values.grad.abs().max() > 0)
    ]
    assert without == []
    frozen = {weight for weight, values in network.named_parameters() if not values.requires_grad}
    assert all(weight.startswith("first.") for weight in frozen)
    assert bool(frozen) == (name == "two-pass")
    speed = times_real_time(network, viso_settings, plan_spectral(), repeats=1)
    assert np.isfinite(speed)
    assert speed > 0


def plan_spectral():
    from viso.dsp.stft import SpectralConfig

    return SpectralConfig(rate_hz=8000, n_fft=256, hop=64)


@pytest.mark.parametrize("name", ["band-gru", "band-conv"])
def test_a_subband_draws_the_masks_of_its_own_bands(name, made):
    network = made(name).eval()
    network.pairs = nn.Sequential()
    features = torch.randn((1, 4, 8, 32))
    other = features.clone()
    other[:, 1, 3, 9] += 1.0
    with torch.no_grad():
        changed = (network.raw_logits(other) - network.raw_logits(features)).abs() > 0
    own = torch.zeros_like(changed)
    own[:, :, 3, 8:16] = True
    assert torch.equal(changed, own)


def test_stacked_subbands_come_apart_as_they_were_put_together(made):
    network = made("subband-mobile").eval()
    network.down, network.up = nn.ModuleList([nn.Identity()]), nn.ModuleList()
    network.out = nn.Conv2d(16, 8, 1, bias=False)
    nn.init.zeros_(network.out.weight)
    for channel in range(8):
        network.out.weight.data[channel, channel] = 1.0
    features = torch.randn((2, 4, 8, 32))
    with torch.inference_mode():
        expected = network.normalised(features)[:, :2]
        torch.testing.assert_close(network.raw_logits(features), expected)


def test_a_candidate_needs_a_middle_of_its_own(viso_settings):
    with pytest.raises(NotImplementedError):
        Banded(viso_settings, plan_spectral()).raw_logits(torch.zeros((1, 4, 8, 32)))


def noise(seconds, seed):
    return np.random.default_rng(seed).uniform(-0.1, 0.1, (2, int(seconds * 8000)))


@pytest.fixture
def mixed_corpus(packed, tmp_path):
    """Eight songs with a part, one to be judged by, and a voice of another group."""
    tracks = []
    for n in range(9):
        facts = {"song": f"songs/{n}", "split": "valid" if n == 8 else "train"}
        seconds = 12.0 if n == 0 else 3.0
        voice = noise(seconds, n)
        voice[:, : voice.shape[1] // 2] *= 0.1
        tracks += [
            ({**facts, "role": "vocals"}, voice),
            ({**facts, "role": "instrumental"}, noise(seconds, 100 + n)),
        ]
        part = {"group": "songs-drums", "role": "instrumental", "song": f"songs/{n}/drums"}
        tracks.append(({**facts, **part}, noise(seconds, 200 + n)))
    tracks.append(({"song": "solo", "group": "solo"}, noise(4, 50)))
    return packed(tmp_path / "mixed", [(f, a.astype(np.float32)) for f, a in tracks])


def test_smaller_shares_are_part_of_larger_ones():
    names = [f"song {n}" for n in range(41)]
    shares = [chosen(names, percent) for percent in (1, 25, 50, 75, 100)]
    assert [len(share) for share in shares] == [1, 10, 20, 31, 41]
    assert all(small < large for small, large in itertools.pairwise(shares))
    assert chosen(reversed(names), 25) == shares[1]


def test_a_share_takes_parts_along_and_leaves_validation_and_other_groups(mixed_corpus):
    half = shared(mixed_corpus, 50)
    kept = training_songs(half)
    assert len(kept) == 4
    assert training_songs(mixed_corpus) == [f"songs/{n}" for n in range(8)]
    parts = [t.song.removesuffix("/drums") for t in half.tracks if t.group == "songs-drums"]
    assert sorted(parts) == [*kept, "songs/8"]
    assert [t for t in half.tracks if t.split == "valid"] == [
        t for t in mixed_corpus.tracks if t.split == "valid"
    ]
    assert any(t.group == "solo" for t in half.tracks)
    assert half.hash != mixed_corpus.hash
    assert Judge(half).n_songs == 1
    assert Judge(as_if_unheard(half)).n_songs == 4


def test_of_a_long_song_the_loudest_voice_is_kept_in_all_its_tracks(mixed_corpus):
    cut = shared(mixed_corpus, 100, longest_s=5)
    whole = {(t.song, t.role): t for t in mixed_corpus.tracks}
    of_song = [t for t in cut.tracks if t.song in ("songs/0", "songs/0/drums")]
    assert len(of_song) == 3
    starts = set()
    for track in of_song:
        audio, before = cut.read(track), mixed_corpus.read(whole[track.song, track.role])
        start = (track.offset - whole[track.song, track.role].offset) // 2
        starts.add(start)
        assert audio.shape[1] == 5 * 8000 // LEVEL_BLOCK * LEVEL_BLOCK
        np.testing.assert_array_equal(audio, before[:, start : start + audio.shape[1]])
        levels = cut.track_levels(track)
        rms = np.sqrt((audio.reshape(2, -1, LEVEL_BLOCK) ** 2).mean(axis=(0, 2)))
        np.testing.assert_allclose(levels, rms, rtol=1e-3)
    assert len(starts) == 1
    assert starts.pop() >= 12 * 8000 // 2 - LEVEL_BLOCK
    rest = [t for t in cut.tracks if not t.song.startswith("songs/0")]
    assert rest == [t for t in mixed_corpus.tracks if not t.song.startswith("songs/0")]


def test_songs_alone_keeps_their_parts_and_no_other_source():
    mixing = Mixing(
        vocals={"songs": 4.0, "solo": 1.0}, remix=0.3, parts=("songs-drums", "drums"), drive=0.2
    )
    alone = songs_alone(mixing)
    assert alone.vocals == alone.instrumentals == {"songs": 1.0}
    assert (alone.parts, alone.remix, alone.drive) == (("songs-drums",), 0.3, 0.2)
    assert songs_alone(Mixing(remix=0.3, parts=("drums",))).remix == 0


def test_every_design_draws_the_same_batches(plan, toy_corpus):
    one, other = (Training(plan(name), toy_corpus) for name in ("subband-mobile", "band-conv"))
    one.learn()
    assert torch.equal(one.draw(3).mixture, other.draw(3).mixture)
    assert not torch.equal(one.draw(3).mixture, one.draw(4).mixture)


@pytest.mark.parametrize(
    ("precision", "kind"), [("bf16-mixed", torch.bfloat16), (None, torch.float32)]
)
def test_the_precision_is_that_of_the_recipe(plan, recipe, toy_corpus, precision, kind):
    it = Training(plan("viso", recipe=recipe(network="viso", precision=precision)), toy_corpus)
    seen = set()
    for layer in it.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _given, result: seen.add(result.dtype))
    it.learn()
    assert seen == {kind}
    assert np.isfinite(it.losses).all()
    assert all(value.dtype != torch.bfloat16 for value in it.average.state_dict().values())


def test_a_run_that_goes_on_learns_as_if_it_had_never_stopped(plan, toy_corpus, tmp_path):
    unbroken, broken = (
        Training(plan("subband-mobile"), toy_corpus),
        Training(plan("subband-mobile"), toy_corpus),
    )
    for _ in range(2):
        unbroken.learn()
        broken.learn()
    broken.save(tmp_path / "state.pt")
    resumed = Training(plan("subband-mobile"), toy_corpus)
    resumed.load(tmp_path / "state.pt")
    assert resumed.spent_s == broken.spent_s > resumed.drawing_s > 0
    unbroken.learn()
    resumed.learn()
    assert resumed.step == unbroken.step == 3
    assert resumed.losses == unbroken.losses
    # Not to the bit: the rate looks at the clock, if only at a millionth of the budget.
    for name, value in unbroken.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value)


def test_a_sweep_goes_on_where_it_was_stopped(plan, toy_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "_SAVE_EVERY_S", 0.0)
    work, steps = tmp_path / "work", []
    learn = Training.learn

    def power_cut(self):
        if len(steps) == 3:
            raise KeyboardInterrupt
        learn(self)
        steps.append(self.step)

    monkeypatch.setattr(Training, "learn", power_cut)
    plans = [plan(FIRST), plan("subband-mobile", budget_s=10.0)]
    with pytest.raises(KeyboardInterrupt):
        sweep(plans, toy_corpus, work, run)
    assert len(read(work)) == 1
    steps.clear()

    def short(self):
        learn(self)
        steps.append(self.step)
        if len(steps) == 2:
            self.spent_s = self.plan.budget_s

    monkeypatch.setattr(Training, "learn", short)
    assert sweep(plans, toy_corpus, work, run) == 1
    assert steps == [4, 5]
    assert sweep(plans, toy_corpus, work, run) == 0
    found, trained = sorted(read(work), key=lambda record: record["steps"])
    assert (found["design"], found["steps"], found["loss"]) == (FIRST, 0, None)
    assert (trained["steps"], trained["songs"]) == (5, 6)
    assert set(trained["scores"]) == {"song 6", "song 7"}
    assert set(trained["heard"]) == {f"song {n}" for n in range(6)}
    text = designs_table(read(work))
    assert "6 songs it learnt from: mean" in text
    assert "2 songs it did not hear: mean" in text
    assert not list(work.glob("*.pt"))


def record(songs, scores, *, design="viso", seed=1, **facts):
    usual = {
        "budget_s": 60.0, "percent": 100.0, "alone": True, "longest_s": None, "threads": 1,
        "corpus": "c", "recipe": "r", "parameters": 2_000_000, "steps": 5, "hours": 0.1,
        "loss": -12.0, "times_real_time": 40.0,
    }  # fmt: skip
    named = {f"judge {n}": value for n, value in enumerate(scores)}
    heard = {f"song {n}": float(n) for n in range(songs)}
    told = {"songs": songs, "scores": named, "heard": heard}
    return {**usual, "design": design, "seed": seed, **told, **facts}


def test_the_line_has_the_slope_that_the_scores_have():
    lifts = np.array([0.5, 1.0, 1.5])
    runs = [record(n, 3 + lifts * np.log2(n)) for n in (16, 32, 64)]
    line = fit(runs)
    assert line.slope == pytest.approx(1.0)
    assert line.at(256)[0] == pytest.approx(3 + 8)
    low, high = line.interval
    assert low == pytest.approx(0.5, abs=1e-6)
    assert high == pytest.approx(1.5, abs=1e-6)
    assert fit(runs[:1]) is None
    noisy = [record(n, [3 + np.log2(n) + e], seed=s) for n in (4, 8) for s, e in ((1, 1), (2, -1))]
    assert fit(noisy).slope == pytest.approx(1.0)


def test_runs_of_another_budget_stand_on_another_curve():
    runs = [record(n, [np.log2(n)] * 2, budget_s=b) for b in (60.0, 120.0) for n in (8, 16)]
    text = songs_table([*runs, record(32, [1.0], budget_s=240.0)], ahead=[128])
    assert text.count("A doubling of the songs: +1.00 dB") == 2
    assert text.count("The line at 128 songs: 7.00 dB") == 2
    assert text.count("| 3.50 |") == 4, "the mean over the 8 songs that both heard"
    assert "240" not in text


def test_designs_are_compared_with_their_reference_song_by_song(tmp_path):
    runs = [
        record(86, [3.0, 5.0, 4.0], alone=False),
        record(86, [4.0, 5.5, 4.5], alone=False, design="band-gru"),
        record(86, [6.0, 7.0, 8.0], alone=False, design=FIRST, steps=0, loss=None, budget_s=0.0),
        record(86, [6.5, 7.5, 8.5], alone=False, design="two-pass"),
        record(43, [9.0, 9.0, 9.0], alone=True),
    ]
    viso, gru, alone, both = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in designs_table(runs).splitlines()[2:]
    )
    assert viso[0] == DESIGNS["viso"].label
    assert viso[-3:] == ["4.00", "4.00 (3.00 to 5.00)", ""]
    assert gru[-1].startswith("+0.50 (+0.50 to +1.00)")
    assert alone[-1] == ""
    assert both[-1].startswith("+0.50 (+0.50 to +0.50)")
    write_csv(runs, tmp_path / "runs.csv")
    rows = (tmp_path / "runs.csv").read_text().splitlines()
    assert len(rows) == 6
    assert rows[0].endswith("judge 0,judge 1,judge 2")


def test_the_commands_train_on_shares_and_print_the_curve(
    plan, recipe, toy_corpus, first, tmp_path, capsys
):
    (tmp_path / "toy.toml").write_text(plan().recipe.to_toml())
    (tmp_path / "cnn.toml").write_text(recipe(network="viso_cnn").to_toml())
    work = ["--work", str(tmp_path / "work")]
    words = [*work, "--corpus", str(toy_corpus.folder), "--first", str(first), "--budget", "0.1s"]
    shares = ["songs", *words, "--shares", "50,100", "--longest", "0", "--design", "subband-mobile"]
    main([*shares, "--precision", "32-true", "--recipe", str(tmp_path / "toy.toml")])
    assert capsys.readouterr().out.startswith("2 runs done")
    main(["table", *work, "--csv", str(tmp_path / "runs.csv"), "--ahead", "12"])
    told = capsys.readouterr().out
    assert "`subband-mobile`, 0.00166667 minutes of processor time, songs alone:" in told
    assert "The line at 12 songs: " in told
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    for wrong in (["--recipe", str(tmp_path / "cnn.toml")], ["--budget", "soon"]):
        with pytest.raises(SystemExit):
            main([*shares, *wrong])
    told = capsys.readouterr().err
    assert "must be of kind viso" in told
    assert "'soon' is no duration" in told
    with pytest.raises(SystemExit):
        main(["designs", *words, "--only", "viso,transformer"])
    assert "no design transformer" in capsys.readouterr().err
