"""The judge: whole songs, the same way the separator takes them apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from viso.dsp.masking import binary_mask, ratio_mask
from viso.metrics import oracle, usdr
from viso.models.card import ModelCard
from viso.train.run.validation import Judge, TorchModel


class Share(nn.Module):
    """Gives the same share of everything to the vocals."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, magnitude):
        return torch.full_like(magnitude, self.share)


def model_of(share):
    spectral = {"rate_hz": 8000, "n_fft": 256, "hop": 64}
    card = ModelCard(name="share", spectral=spectral, basis="mid-side", chunk_frames=40)
    return TorchModel(Share(share), card, torch.device("cpu"))


def noise(n_channels, n_samples, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.1, 0.1, (n_channels, n_samples)).astype(np.float32)


def songs(packed, folder, pairs, **facts):
    tracks = []
    for name, (vocals, music) in pairs.items():
        named = {"split": "valid", "song": name, **facts}
        tracks += [(named, vocals), ({**named, "role": "instrumental"}, music)]
    return packed(folder, tracks)


def stems_of(corpus, song):
    tracks = {t.role: t for t in corpus.tracks if t.song == song}
    return corpus.read(tracks["vocals"]), corpus.read(tracks["instrumental"])


def test_the_score_is_the_median_over_the_validation_songs(tmp_path, packed):
    vocals, music = noise(2, 9000), noise(2, 9000, seed=1)
    levels = {"a": 0.1, "b": 0.5, "c": 1.0}
    pairs = {name: (np.float32(level) * vocals, music) for name, level in levels.items()}
    corpus = songs(packed, tmp_path, pairs)
    expected = []
    for name in pairs:
        truth, rest = stems_of(corpus, name)
        expected.append(usdr(truth, 0.5 * (truth + rest)))
    judge = Judge(corpus)
    assert judge.n_songs == 3
    assert judge.score(model_of(0.5)) == pytest.approx(expected[1], abs=1e-3)
    assert expected[0] + 3 < expected[1] < expected[2] - 3


def test_of_a_long_song_the_middle_is_judged(tmp_path, packed):
    vocals = noise(2, 50 * 8000)
    music = vocals.copy()
    music[:, 10 * 8000 : 40 * 8000] = 0
    judge = Judge(songs(packed, tmp_path, {"long": (vocals, music)}))
    assert judge.score(model_of(0.5)) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert judge.example(1000.0)[0][1].shape == (2, 30 * 8000)


def test_mono_vocals_a_shorter_backing_and_a_song_without_sound(tmp_path, packed):
    vocals, music = noise(1, 9000), np.zeros((2, 8900), np.float32)
    corpus = songs(packed, tmp_path, {"sung": (vocals, music), "silent": (vocals * 0, music)})
    judge = Judge(corpus)
    assert judge.score(model_of(0.5)) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert judge.references(model_of(0.5).card.spectral)["mixture"] == np.inf
    stereo = songs(packed, tmp_path / "2", {"s": (np.repeat(vocals[:, :8900], 2, 0), music)})
    assert Judge(stereo).score(model_of(0.5)) == pytest.approx(judge.score(model_of(0.5)))


@pytest.mark.parametrize("facts", [{"split": "train"}, {"release_level": False}])
def test_other_songs_are_not_judged(tmp_path, packed, facts, spectral):
    judge = Judge(songs(packed, tmp_path, {"s": (noise(2, 9000), noise(2, 9000, 1))}, **facts))
    assert judge.n_songs == 0
    assert judge.score(model_of(0.5)) is None
    assert judge.references(spectral) == {}
    assert judge.example(1.0) == []


def test_the_references_are_mixture_and_oracles(toy_corpus, spectral):
    found = Judge(toy_corpus).references(spectral)
    expected = {"mixture": [], "ideal binary mask": [], "ideal ratio mask": []}
    for name in ("song 6", "song 7"):
        vocals, music = stems_of(toy_corpus, name)
        expected["mixture"].append(usdr(vocals, vocals + music))
        for label, mask_of in (
            ("ideal binary mask", binary_mask),
            ("ideal ratio mask", ratio_mask),
        ):
            ideal = oracle(vocals, music, config=spectral, mask_of=mask_of)
            expected[label].append(usdr(vocals, ideal))
    medians = {label: float(np.median(values)) for label, values in expected.items()}
    assert found == pytest.approx(medians, abs=1e-3)
    assert found["ideal binary mask"] > found["mixture"] + 10


def test_a_baseline_is_named_and_only_shown_where_it_is_known(toy_corpus, spectral):
    def shown(**scores):
        known = {name.replace("_", " "): value for name, value in scores.items()}
        judge = Judge(toy_corpus, baseline=known, baseline_name="theirs")
        return judge.references(spectral).get("theirs")

    assert shown(song_6=4.0, song_7=6.0) == 5.0
    assert shown(song_6=4.0) == 4.0
    assert shown(song_1=4.0) is None
    assert "baseline" not in Judge(toy_corpus).references(spectral)


def test_the_example_is_what_the_last_score_made_of_the_first_song(tmp_path, packed):
    t = np.arange(3 * 8000) / 8000
    tone = np.stack([np.sin(2 * np.pi * 1000 * t)] * 2).astype(np.float32) * np.float32(0.4)
    judge = Judge(songs(packed, tmp_path, {"tone": (tone, np.zeros_like(tone))}))
    judge.score(model_of(0.25))
    (first, vocals, picture), (second, music, _) = judge.example(2.0)
    assert (first, second) == ("vocals", "instrumental")
    assert vocals.shape == music.shape == (2, 16_000)
    np.testing.assert_allclose(vocals + music, tone[:, :16_000], atol=1e-4)
    np.testing.assert_allclose(vocals[:, 500:], 0.25 * tone[:, 500:16_000], atol=1e-4)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == 513
    middle = picture[:, picture.shape[1] // 2]
    # 1 kHz lies at bin 128 of 512, counted from the bottom.
    assert middle.argmax() == 512 - 128
    assert middle.max() == 255
    assert middle[0] == 0


def test_the_score_is_the_median_of_the_songs_own(tmp_path, packed):
    pairs = {
        f"{group}/same name": (noise(2, 9000, n), noise(2, 9000, 9)) for n, group in enumerate("ab")
    }
    judge = Judge(songs(packed, tmp_path, pairs))
    scores = judge.scores(model_of(0.3))
    assert list(scores) == list(pairs)
    assert judge.score(model_of(0.3)) == pytest.approx(float(np.median(list(scores.values()))))
