"""Equaliser, bandwidth, compressor: measured as one measures the devices."""

from __future__ import annotations

import math

import pytest
import torch

from viso.train import augment
from viso.train.augment.spectrum import fast_size

RATE_HZ = 44_100
ONE = torch.ones(1, dtype=torch.bool)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n, n_samples=RATE_HZ, seed=1):
    return torch.randn((n, 2, n_samples), generator=seeded(seed)) * 0.1


def response_db(function, n_samples=RATE_HZ):
    """Gain at every whole hertz, from an impulse in the middle of a second of silence."""
    impulse = torch.zeros(1, 2, n_samples)
    impulse[..., n_samples // 2] = 1.0
    return 20 * torch.log10(torch.fft.rfft(function(impulse)[0, 0]).abs())


def spectrum(audio):
    return torch.fft.rfft(audio * torch.hann_window(audio.shape[-1])).abs()


@pytest.mark.parametrize("slope", [-2.0, -0.7, 1.5])
def test_tilt_is_a_straight_line_over_octaves(slope):
    gain_db = response_db(
        lambda x: augment.tilt(
            x, ONE, rate_hz=RATE_HZ, slope_db=(slope, slope), n_bands=0, generator=seeded()
        )
    )
    octaves = gain_db[[125, 250, 500, 1000, 2000, 4000, 8000]]
    torch.testing.assert_close(octaves.diff(), torch.full((6,), slope), rtol=0, atol=0.02)


def test_bells_have_the_height_that_is_said_and_are_smooth():
    for seed in range(5):
        gain_db = response_db(
            lambda x, seed=seed: augment.tilt(
                x,
                ONE,
                rate_hz=RATE_HZ,
                slope_db=(0.0, 0.0),
                n_bands=1,
                band_db=(6.0, 6.0),
                generator=seeded(seed),
            )
        )[20:20_000]
        assert float(gain_db.max() - gain_db.min()) == pytest.approx(6.0, abs=0.25)
        hz = torch.arange(50, 15_000)
        steps = gain_db[(hz * 2 ** (1 / 3)).long() - 20] - gain_db[hz - 20]
        # The steepest of a Gaussian of a third of an octave: 6 dB * exp(-1/2) a third.
        assert steps.abs().max() < 3.7


def test_the_equaliser_keeps_the_level():
    audio = noise(20)
    result = augment.tilt(
        audio, torch.ones(20, dtype=torch.bool), rate_hz=RATE_HZ, generator=seeded()
    )
    torch.testing.assert_close(
        result.square().mean(dim=(1, 2)), audio.square().mean(dim=(1, 2)), rtol=1e-4, atol=0
    )


def test_nothing_of_the_end_is_heard_at_the_beginning():
    audio = torch.zeros(1, 2, 20_000)
    audio[..., -1] = 1.0
    tilted = augment.tilt(audio, ONE, rate_hz=RATE_HZ, slope_db=(2.0, 2.0), generator=seeded())
    (cut,), _ = augment.cut_band([audio], ONE, rate_hz=RATE_HZ, generator=seeded())
    for result in (tilted, cut):
        assert result[..., :10_000].abs().max() < 1e-4 * result.abs().max()


@pytest.mark.parametrize("cutoff", [11_000.0, 16_000.0, 20_000.0])
def test_cut_band_leaves_all_below_and_nothing_above(cutoff):
    audio = noise(1)
    (result,), cutoffs = augment.cut_band(
        [audio], ONE, rate_hz=RATE_HZ, cutoff_hz=(cutoff, cutoff), generator=seeded()
    )
    assert cutoffs.tolist() == [cutoff]
    before, after = spectrum(audio)[0], spectrum(result)[0]
    above, below = int(cutoff) + 5, int(cutoff) - 405
    loss_db = 10 * math.log10(after[:, above:].square().mean() / before[:, above:].square().mean())
    assert loss_db < -60
    # In bands of 100 Hz: a single bin of noise may be next to nothing.
    bands = [
        x[:, : below // 100 * 100].square().view(2, -1, 100).sum(dim=2) for x in (before, after)
    ]
    assert (10 * torch.log10(bands[1] / bands[0])).abs().max() < 0.1


def test_all_sources_of_a_mixture_lose_the_same_band_and_its_edge_is_told():
    sources = [noise(6, seed=1), noise(6, seed=2) * 0.1, noise(6, seed=3)]
    chosen = torch.tensor([True, True, False, True, True, False])
    results, cutoffs = augment.cut_band(sources, chosen, rate_hz=RATE_HZ, generator=seeded())
    assert len(results) == 3
    assert (cutoffs[~chosen] == RATE_HZ / 2).all()
    assert len(set(cutoffs[chosen].tolist())) == 4
    assert ((cutoffs[chosen] >= 11_000) & (cutoffs[chosen] <= 20_000)).all()
    for before, result in zip(sources, results, strict=True):
        assert torch.equal(result[~chosen], before[~chosen])
        for chunk, old, edge in zip(result[chosen], before[chosen], cutoffs[chosen], strict=True):
            power, usual = spectrum(chunk).square(), spectrum(old).square().mean()
            assert power[:, int(edge) + 5 :].mean() < 1e-6 * usual
            assert power[:, int(edge) - 500 : int(edge) - 400].mean() > 0.1 * usual


def test_no_cutoff_lies_above_what_the_rate_allows():
    _, cutoffs = augment.cut_band([noise(1, 800)], ONE, rate_hz=8000, generator=seeded())
    assert cutoffs.tolist() == [4000.0]


def compress(audio, **changes):
    usual = {"threshold_db": (-30.0, -30.0), "ratio": (4.0, 4.0)}
    usual |= {"attack_s": (0.01, 0.01), "release_s": (0.1, 0.1)}
    every = torch.ones(len(audio), dtype=torch.bool)
    return augment.compress(
        audio, every, rate_hz=RATE_HZ, generator=seeded(), **{**usual, **changes}
    )


def steps(*levels_db, hz=5000):
    """A tone, a second at each level."""
    t = torch.arange(RATE_HZ) / RATE_HZ
    tone = torch.sin(2 * torch.pi * hz * t)
    audio = torch.cat([tone * 10 ** (level / 20) for level in levels_db])
    return audio.expand(1, 2, -1).contiguous()


def levels_db(audio, size=441):
    return 10 * torch.log10(audio[0, 0].view(-1, size).square().mean(dim=1))


@pytest.mark.parametrize("hz", [110, 5000])
@pytest.mark.parametrize("ratio", [2.0, 4.0, 8.0])
def test_above_the_threshold_the_level_grows_slower_by_the_ratio(ratio, hz):
    audio = steps(-24, -18, -12, -6, hz=hz)
    settled = levels_db(compress(audio, ratio=(ratio, ratio)), RATE_HZ // 2)[1::2]
    torch.testing.assert_close(settled.diff(), torch.full((3,), 6 / ratio), rtol=0, atol=0.1)


def test_below_the_threshold_nothing_changes_but_the_level():
    audio = steps(-40, -30, -20)
    settled = levels_db(compress(audio, threshold_db=(10.0, 10.0)), RATE_HZ // 2)[1::2]
    torch.testing.assert_close(settled.diff(), torch.full((2,), 10.0), rtol=0, atol=0.01)


def test_the_knee_is_where_the_threshold_says():
    # Equal seconds at -20 and 0 dB: the RMS is 3 dB below the louder (and a tone's crest).
    audio = steps(-20, 0)
    for threshold, grows in ((-7.0, 10 + 10 / 4), (-2.0, 15 + 5 / 4)):
        found = compress(audio, threshold_db=(threshold, threshold))
        settled = levels_db(found, RATE_HZ // 2)[1::2]
        assert float(settled.diff()) == pytest.approx(grows, abs=0.1)


def test_attack_and_release_take_the_time_that_is_said():
    audio = steps(-24, 0, -24)
    for attack, release in ((0.005, 0.2), (0.02, 0.1)):
        result = compress(
            audio,
            threshold_db=(-10.0, -10.0),
            attack_s=(attack, attack),
            release_s=(release, release),
        )
        gain_db = levels_db(result, 63) - levels_db(audio, 63)
        first, second = (round(s * RATE_HZ / 63) for s in (1, 2))
        low, high = gain_db[second - 10], gain_db[first - 10]
        down = (gain_db[first:] < high + (1 - math.exp(-1)) * (low - high)).float().argmax()
        assert float(down) * 63 / RATE_HZ == pytest.approx(attack, rel=0.25)
        up = (gain_db[second + 40 :] > low + (1 - math.exp(-1)) * (high - low)).float().argmax()
        assert float(up + 40) * 63 / RATE_HZ == pytest.approx(release + attack, rel=0.25)


def test_compression_lowers_the_crest_and_keeps_the_level():
    t = torch.arange(2 * RATE_HZ) / RATE_HZ
    # Strokes that ring down, four in a second.
    strokes = noise(6, len(t)) * torch.exp(-12 * (t % 0.25))
    result = augment.compress(
        strokes, torch.ones(6, dtype=torch.bool), rate_hz=RATE_HZ, generator=seeded(2)
    )
    rms, before = (x.square().mean(dim=(1, 2)).sqrt() for x in (result, strokes))
    torch.testing.assert_close(rms, before, rtol=1e-4, atol=0)
    blocks = [x.square().mean(dim=1).view(6, -1, 441).mean(dim=2) for x in (result, strokes)]
    ranges_db = [10 * torch.log10(b.quantile(0.95, 1) / b.quantile(0.05, 1)) for b in blocks]
    assert (ranges_db[1] - ranges_db[0] > 1).all()


def test_both_channels_get_one_gain():
    audio = noise(1, RATE_HZ)
    audio[:, 1] *= 0.01
    gain = compress(audio) / audio
    torch.testing.assert_close(gain[:, 0], gain[:, 1], rtol=1e-3, atol=1e-3)
    assert gain.max() > 1.05 * gain.min()


@pytest.mark.parametrize("n", [1, 2, 7, 97, 1021, 163_171])
def test_fast_sizes_have_small_factors_and_are_near(n):
    size = fast_size(n)
    assert n <= size <= max(2, 1.12 * n + 1)
    assert size % 2 == 0
    assert 30 ** math.ceil(math.log2(size)) % size == 0


def test_drive_keeps_the_level_and_flattens_the_peaks():
    audio = noise(20)
    everyone = torch.ones(20, dtype=torch.bool)
    result = augment.drive(audio, everyone, drive_db=(24.0, 24.0), generator=seeded())
    power, driven = (x.square().mean(dim=(1, 2)) for x in (audio, result))
    torch.testing.assert_close(driven, power, rtol=1e-4, atol=0)
    crest = [x.abs().amax(dim=(1, 2)) / x.square().mean(dim=(1, 2)).sqrt() for x in (audio, result)]
    assert (crest[1] < 0.75 * crest[0]).all()


def test_drive_makes_odd_harmonics_of_a_tone():
    time = torch.arange(RATE_HZ) / RATE_HZ
    tone = torch.sin(2 * torch.pi * 500 * time).expand(1, 2, -1)
    power = spectrum(augment.drive(tone, ONE, drive_db=(12.0, 12.0), generator=seeded()))
    power = power[0, 0].square()
    assert power[1500] > 1e-3 * power[500] > 100 * power[1000]


def test_drive_leaves_silence_and_what_is_not_chosen_alone():
    audio = torch.cat([noise(1), torch.zeros(1, 2, RATE_HZ)])[:, :, :RATE_HZ]
    result = augment.drive(audio, torch.tensor([False, True]), generator=seeded())
    assert torch.equal(result, audio)
