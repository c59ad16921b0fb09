"""Lin et al. 2018: the paper's sizes, the quick way against window after window, two tasks."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from viso import Separator
from viso.dsp.stft import SpectralConfig, stft
from viso.errors import ConfigError
from viso.models.onnx import OnnxModel
from viso.train.data.mixer import Batch
from viso.train.export import LARGEST_DIFFERENCE, export
from viso.train.network_settings import Lin2018Settings
from viso.train.objectives.objective import build_first_objective, build_objective
from viso.train.papers.lin2018 import Lin2018
from viso.train.papers.objectives import AutoencoderObjective, WindowObjective
from viso.train.run.learner import Learner
from viso.train.run.trainer import Trainer
from viso.train.run.validation import TorchModel

PAPER = SpectralConfig(rate_hz=22_050, n_fft=4096, window=1024, hop=256)
TINY = Lin2018Settings(channels=(4, 3, 5, 4), dense=(24, 16), pool_bins=5, chunk_frames=20)


def network_of(spectral, seed=0, **changes):
    """A small one whose masks are spread over 0 to 1, as if it were trained."""
    torch.manual_seed(seed)
    network = Lin2018(TINY.model_copy(update=changes), spectral).eval()
    with torch.no_grad():
        network.out.weight *= 12
        network.scale = 1.0
    return network


def magnitudes(frames, bins=129, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 1, frames, bins), generator=generator).square()


def one_by_one(network, frames):
    """The middle frame of every window, each by itself."""
    windows = torch.stack([frames[start : start + 9] for start in range(len(frames) - 8)])
    return network.logits(windows[:, None])[:, 4]


def test_it_has_the_papers_parameters():
    network = Lin2018(Lin2018Settings(), PAPER)
    assert network.count() == 19_489_049
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert shapes["conv_1.weight"] == (32, 1, 3, 12)
    assert shapes["conv_4.weight"] == (32, 64, 3, 12)
    assert shapes["dense_1.weight"] == (2048, 32 * 9 * 15)
    assert shapes["out.weight"] == (9 * 2049, 512)
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear), kinds.count(nn.Dropout)) == (4, 3, 2)
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in kinds)


def test_it_begins_as_the_paper_says():
    network = Lin2018(Lin2018Settings(), PAPER)
    for name, value in network.named_parameters():
        if name.endswith("bias"):
            assert (value == 0.1).all(), name
    # Xavier's bound: the root of 6 over the values that go in and come out.
    weight = network.conv_2.weight
    bound = (6 / (32 * 36 + 16 * 36)) ** 0.5
    assert 0.95 * bound < weight.abs().max() <= bound


def test_a_sine_has_half_its_amplitude():
    t = np.arange(22_050) / 22_050
    sine = 0.6 * np.sin(2 * np.pi * 1000 * t, dtype=np.float32)[None].astype(np.float32)
    frames = np.abs(stft(sine, config=PAPER)) * Lin2018(TINY, PAPER).scale
    # Up to half a bin beside the peak.
    assert frames[:, :, 20].max() == pytest.approx(0.3, rel=5e-3)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [9, 10, 13, 40])
@pytest.mark.parametrize("changes", [{}, {"kernel_bins": 4}, {"kernel_bins": 3, "pool_bins": 12}])
def test_the_quick_way_gives_what_window_after_window_gives(spectral, frames, changes):
    network = network_of(spectral, **changes)
    seen = magnitudes(frames)[0, 0]
    expected = one_by_one(network, seen)
    assert expected.std() > 0.3
    torch.testing.assert_close(network.middles(seen), expected, rtol=0, atol=2e-5)


@torch.inference_mode()
def test_a_convolution_over_everything_would_not(spectral):
    # Why the quick way is not quicker still: windows see zeros at their edges.
    network = network_of(spectral)
    seen = magnitudes(40)[0, 0]
    alone = network.logits(seen[10:19][None, None])[0, 4]
    shifted = network.middles(seen)[10]
    torch.testing.assert_close(alone, shifted, rtol=0, atol=2e-5)
    seen[9] += 5  # just outside of that window
    torch.testing.assert_close(network.middles(seen)[10], alone, rtol=0, atol=2e-5)


@torch.inference_mode()
@pytest.mark.parametrize("context", [4, 6])
def test_the_mask_fits_the_middle_frames(spectral, context):
    network = network_of(spectral, context_frames=context, threshold=0.0)
    seen = magnitudes(20)
    mask = network(seen)
    assert mask.shape == (1, 1, 20 - 2 * context, 129)
    spare = context - 4
    expected = torch.sigmoid(one_by_one(network, seen[0, 0]))[spare : 12 - spare]
    torch.testing.assert_close(mask[0, 0], expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_what_is_below_the_threshold_is_nothing(spectral):
    network, seen = network_of(spectral, threshold=0.35), magnitudes(20)
    mask, soft = network(seen), network_of(spectral, threshold=0.0)(seen)
    below, above = soft < 0.34, soft > 0.36
    assert min(below.sum(), above.sum()) > 200
    assert (mask[below] == 0).all()
    torch.testing.assert_close(mask[above], soft[above])


@pytest.mark.parametrize("changes", [
    {"window_frames": 7}, {"context_frames": 3}, {"chunk_frames": 8}, {"threshold": 1.0},
    {"autoencoder": 1.0},
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(changes):
    with pytest.raises(ConfigError, match="recipe"):
        Lin2018Settings.from_mapping({**TINY.model_dump(), **changes}, origin="recipe")


# -- what it learns ------------------------------------------------------------------------


def batch_of(seed, *, n_samples, bandwidth_hz=(4000.0, 1400.0)):
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal((2, 2, 2, n_samples)).astype(np.float32) * 0.1
    vocals, music = torch.from_numpy(sound)
    return Batch(vocals, music, torch.tensor(bandwidth_hz))


@pytest.mark.parametrize("kind", [WindowObjective, AutoencoderObjective])
def test_the_loss_is_the_one_computed_from_the_separators_own_frames(recipe, spectral, kind):
    # A chunk of 9 frames leaves no choice of a window.
    settings = TINY.model_copy(update={"chunk_frames": 9})
    network, batch = Lin2018(settings, spectral).eval(), batch_of(1, n_samples=8 * 64)
    hz = np.arange(129) * 8000 / 256
    songs = []
    for song in range(2):
        for channel in range(2):
            vocals, music = (
                stft(source[song, channel : channel + 1].numpy(), config=spectral)[0].T
                for source in (batch.vocals, batch.instrumental)
            )
            mixture = np.abs(vocals + music) * network.scale
            loud = np.abs(vocals) > np.abs(music)
            seen = mixture if kind is WindowObjective else mixture * loud
            target = np.where(loud, 0.98, 0.02) if kind is WindowObjective else mixture * loud
            with torch.inference_mode():
                logits = network.logits(torch.from_numpy(seen.astype(np.float32))[None, None])
            p = 1 / (1 + np.exp(-logits[0].numpy().astype(np.float64)))
            each = -target * np.log(p) - (1 - target) * np.log(1 - p)
            songs.append(each[:, hz < float(batch.bandwidth_hz[song])].mean())
    loss = kind(recipe(network=settings))(network, batch)
    assert float(loss.detach()) == pytest.approx(np.mean(songs), rel=1e-4)


def test_channels_are_examples_and_windows_are_drawn(recipe):
    settings = TINY.model_copy(update={"windows": 3})
    shapes, firsts = [], []

    def logits(windows):
        shapes.append(tuple(windows.shape))
        firsts.append(windows[:, 0, 0])
        return torch.zeros(windows.shape[0], 9, windows.shape[3])

    network = SimpleNamespace(settings=settings, scale=1.0, logits=logits)
    objective = build_objective(recipe(network=settings))
    batch = batch_of(2, n_samples=19 * 64)
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        objective(network, batch)
    assert shapes == [(2 * 2 * 3, 1, 9, 129)] * 3
    assert torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])


def test_silence_gives_numbers(recipe, spectral):
    silence = torch.zeros(2, 2, 19 * 64)
    batch = Batch(silence, silence, torch.tensor([4000.0, 4000.0]))
    network = network_of(spectral).train()
    settings = recipe(network=TINY)
    for objective in (build_objective(settings), build_first_objective(settings)[0]):
        loss = objective(network, batch)
        loss.backward()
        assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def scores_of(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as lines:
        return [
            (int(row["step"]), row["loss"], row["valid_usdr_db"]) for row in csv.DictReader(lines)
        ]


def test_it_learns_both_tasks_one_after_the_other(tmp_path, recipe):
    settings = recipe(
        network=TINY.model_copy(update={"autoencoder": 0.25, "threshold": 0.0, "dropout": 0.0}),
        steps=40, log_every=5, validations=4, ema=0.5, learning_rate=1e-2, warmup_steps=0,
    )  # fmt: skip
    trainer = Trainer(settings, tmp_path, device="cpu")
    trainer.run()
    rows = scores_of(tmp_path)
    first, second = ([float(loss) for step, loss, _ in rows if (step <= 10) == is_first]
                     for is_first in (True, False))  # fmt: skip
    assert first[-1] < 0.7 * first[0]
    assert second[-1] < 0.9 * second[0]
    # A reproduction is no mask: it is not scored.
    assert [step for step, _, score in rows if score] == [10, 20, 30, 40]
    assert trainer.diagnose({"mixture": -100.0}) is None


def test_the_first_tasks_weights_are_taken_over(tmp_path, recipe, monkeypatch):
    seen = []

    def watched(kind):
        task = kind._task

        def watch(self, network, *sources):
            seen.append((kind, network.out.weight.detach().clone()))
            return task(self, network, *sources)

        monkeypatch.setattr(kind, "_task", watch)

    watched(AutoencoderObjective)
    watched(WindowObjective)
    settings = recipe(network=TINY.model_copy(update={"autoencoder": 0.5}), learning_rate=1e-3)
    Trainer(settings, tmp_path, device="cpu").run()
    # Before the first of four steps, some are tried for what they cost.
    first, second = AutoencoderObjective, WindowObjective
    assert [kind for kind, _ in seen[-4:]] == [first, first, second, second]
    (_, begun), (_, learnt), (_, taken_over) = seen[-4:-1]
    assert not torch.equal(begun, learnt)
    # A step of Adam moves no weight by more than about the learning rate.
    assert (taken_over - learnt).abs().max() < 2e-3


class CutError(Exception):
    """Ends a run from outside."""


def test_a_run_cut_in_either_task_goes_on_bit_for_bit(tmp_path, recipe):
    settings = recipe(
        network=TINY.model_copy(update={"autoencoder": 0.5}),
        steps=4, log_every=1, validations=2, checkpoint_every_s=0.0,
    )  # fmt: skip

    def cut(row, at):
        if row.step == at:
            raise CutError

    Trainer(settings, tmp_path / "whole", device="cpu").run()
    for at in (1, 3):
        with pytest.raises(CutError):
            Trainer(settings, tmp_path / "cut", device="cpu").run(
                on_progress=lambda row, at=at: cut(row, at)
            )
    Trainer(settings, tmp_path / "cut", device="cpu").run()
    assert scores_of(tmp_path / "cut") == scores_of(tmp_path / "whole")
    ours, theirs = (
        torch.load(tmp_path / name / "best.pt", weights_only=True)["network"]
        for name in ("cut", "whole")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_weights_of_another_run_are_taken_over(tmp_path, recipe, spectral):
    network = network_of(spectral)
    torch.save({"network": network.state_dict()}, tmp_path / "best.pt")
    settings = recipe(network=TINY).model_copy(update={"start_from": str(tmp_path / "best.pt")})
    state = Learner(settings).network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


# -- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_file_says_what_torch_says_channel_by_channel(tmp_path, recipe, spectral, weights):
    settings = TINY.model_copy(update={"dense": (64, 64)})
    torch.manual_seed(0)
    network, path = Lin2018(settings, spectral), tmp_path / "lin.onnx"
    with torch.no_grad():
        network.out.weight *= 12
    card = recipe(network=settings).card(parameters=network.count())
    assert (card.channels, card.basis, card.context_frames) == (1, "left-right", 4)
    assert export(network, card, path, weights=weights) < LARGEST_DIFFERENCE
    assert OnnxModel(path, device="cpu").card == card
    # Of the last layer only what draws the middle frame is shipped; the graph takes room, too.
    unused = network.out.weight.numel() * 8 // 9
    assert path.stat().st_size < 4 * (network.count() - unused) + 110_000 < 4 * network.count()
    song = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
    ours = Separator(path, device="cpu").separate(song, rate_hz=8000)
    theirs = Separator(TorchModel(network, card, torch.device("cpu"))).separate(song, rate_hz=8000)
    assert ours.vocals.std() > 0.01
    np.testing.assert_allclose(ours.vocals, theirs.vocals, atol=1e-4)
    left = Separator(path, device="cpu").separate(song[:1], rate_hz=8000)
    np.testing.assert_array_equal(left.vocals, ours.vocals[:1])
