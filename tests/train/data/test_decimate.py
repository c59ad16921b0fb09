"""A corpus at a multiple of the recipe's rate: filtered, aligned, and judged at its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viso.audio import Resampler
from viso.dsp.stft import SpectralConfig
from viso.errors import DataError
from viso.models.card import ModelCard
from viso.train.data.decimate import Decimator
from viso.train.data.mixer import Batch
from viso.train.run.trainer import Trainer
from viso.train.run.validation import Judge, TorchModel


def batch_of(audio):
    return Batch(audio, -audio, torch.tensor([4000.0] * len(audio)))


def tone(hz, *, rate_hz=44_100, n_samples=8193):
    t = torch.arange(n_samples, dtype=torch.float64) / rate_hz
    return torch.sin(2 * torch.pi * hz * t).float().expand(1, 2, -1)


def test_equal_rates_leave_a_batch_alone():
    batch = batch_of(tone(500))
    assert Decimator(8000, 8000)(batch) is batch


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_tones_below_stay_in_place_and_tones_above_are_gone(factor):
    decimate = Decimator(44_100, 44_100 // factor)
    assert decimate.factor == factor
    top_hz = 22_050 / factor
    for hz in (100.0, 0.5 * top_hz, 0.93 * top_hz):
        whole = tone(hz)
        batch = decimate(batch_of(whole))
        expected = whole[:, :, ::factor]
        assert batch.vocals.shape == expected.shape
        inside = slice(100, -100)
        torch.testing.assert_close(
            batch.vocals[:, :, inside], expected[:, :, inside], rtol=0, atol=2e-3
        )
        assert torch.equal(batch.instrumental, -batch.vocals)
    above = decimate(batch_of(tone(1.07 * top_hz))).vocals[:, :, 100:-100]
    assert above.abs().max() < 1e-3


def test_it_is_what_the_separators_resampler_gives():
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, (2, 20_001)).astype(np.float32)
    down = Resampler(2, from_hz=44_100, to_hz=22_050)
    theirs = down.process(noise, last=True)
    ours = Decimator(44_100, 22_050)(batch_of(torch.from_numpy(noise)[None])).vocals[0].numpy()
    spectra = [
        np.abs(np.fft.rfft(audio[:, 200:9800] * np.hanning(9600))) for audio in (ours, theirs)
    ]
    below = slice(0, int(0.9 * spectra[0].shape[1]))
    assert np.abs(spectra[0] - spectra[1])[:, below].max() < 0.01 * spectra[1].max()


def test_a_recipe_of_half_the_rate_runs_on_the_corpus(tmp_path, recipe):
    settings = recipe(steps=2)
    half = SpectralConfig(rate_hz=4000, n_fft=256, hop=64)
    settings = settings.model_copy(
        update={
            "spectral": half,
            "network": settings.network.model_copy(
                update={"linear_to_hz": 500.0, "top_hz": 2000.0}
            ),
        }
    )
    trainer, told = Trainer(settings, tmp_path / "run", device="cpu"), []
    trainer.run(on_progress=told.append)
    assert told[-1].audio_hours == pytest.approx(2 * 4 * 40 * 64 / 4000 / 3600)
    assert told[-1].usdr_db is not None
    odd = settings.model_copy(update={"spectral": half.model_copy(update={"rate_hz": 3000})})
    with pytest.raises(DataError, match="8000 Hz, of which the recipe's 3000 is no whole part"):
        Trainer(odd, tmp_path / "odd", device="cpu")


def test_a_model_of_half_the_rate_is_judged_at_the_corpus_s_own(toy_corpus, spectral):
    class All(torch.nn.Module):
        def forward(self, magnitude):
            return torch.ones_like(magnitude)

    card = ModelCard(
        name="all", chunk_frames=40, spectral=SpectralConfig(rate_hz=4000, n_fft=256, hop=64)
    )
    judge = Judge(toy_corpus)
    found = judge.score(TorchModel(All(), card, torch.device("cpu")))
    # It misses the harmonics above 2 kHz alone.
    assert found == pytest.approx(judge.references(spectral)["mixture"], abs=0.6)
    assert judge.example(0.5)[0][1].shape == (2, 4000)


def test_the_ideal_masks_see_the_whole_band(toy_corpus, spectral):
    half = SpectralConfig(rate_hz=4000, n_fft=128, hop=32)
    judge = Judge(toy_corpus)
    assert judge.references(half) == judge.references(spectral)
