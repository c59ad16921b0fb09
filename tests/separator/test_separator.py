"""The laws: same shape out, nothing lost, streaming is separation, same in same out."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import SMALL, mask_card, song
from viso import Separator, separate
from viso.audio import read, write
from viso.audio.tags import read_tags
from viso.errors import AudioError, ConfigError, ModelError
from viso.models.card import ModelCard
from viso.separator import Report
from viso.separator.channels import channel_groups
from viso.separator.estimators import MaskEstimator


class Share:
    """A model that takes the same share of everything: what comes out can be calculated."""

    def __init__(self, share: float, **card: object) -> None:
        self.card = mask_card(**card)
        self._share = np.complex64(share)

    def estimate(self, chunk: np.ndarray) -> np.ndarray:
        context = self.card.context_frames
        return chunk[:, :, context : context + self.card.step_frames] * self._share


@pytest.fixture(scope="module")
def separator(mask_model: Path) -> Separator:
    return Separator(mask_model, device="cpu", threads=1)


def to_files(separator: Separator, source: Path, targets: dict[str, Path], **how: object) -> Report:
    return separator.to_files(source, targets, **how).run()  # type: ignore[arg-type]


def both(folder: Path, suffix: str = "wav") -> dict[str, Path]:
    return {stem: folder / f"{stem}.{suffix}" for stem in ("vocals", "instrumental")}


# Law 1 and 2 in memory


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("n_samples", [1, 511, 20_011])
def test_same_shape_and_nothing_lost(
    separator: Separator, rate_hz: int, n_channels: int, n_samples: int
) -> None:
    mixture = song(n_channels, n_samples)
    before = mixture.copy()
    stems = separator.separate(mixture, rate_hz=rate_hz)
    assert stems.vocals.shape == stems.instrumental.shape == mixture.shape
    assert stems.vocals.dtype == stems.instrumental.dtype == np.float32
    assert stems.rate_hz == rate_hz
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)
    assert np.array_equal(mixture, before)


@pytest.mark.parametrize("level", [1e-6, 1e-2, 0.9])
def test_nothing_lost_quiet_or_loud(separator: Separator, level: float) -> None:
    mixture = song(2, 9_000, level=level)
    stems = separator.separate(mixture, rate_hz=44_100)
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)


@pytest.mark.parametrize("n_channels", [1, 2, 5, 6, 7, 8])
def test_a_known_share_lies_where_it_should(n_channels: int) -> None:
    mixture = song(n_channels, 30_000)
    stems = Separator(Share(0.25)).separate(mixture, rate_hz=44_100)
    assert np.abs(stems.vocals - 0.25 * mixture).max() < 1e-6


@pytest.mark.parametrize("rate_hz", [16_000, 48_000, 96_000])
def test_other_rates_stay_aligned(rate_hz: int) -> None:
    t = np.arange(rate_hz) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * 440 * t) * np.hanning(len(t)))[None].astype(np.float32)
    stems = Separator(Share(0.5)).separate(tone, rate_hz=rate_hz)
    assert np.abs(stems.vocals - 0.5 * tone).max() < 1e-5


def test_a_model_of_the_instrumental_gives_the_same_stems() -> None:
    mixture = song(2, 20_000)
    vocals = Separator(Share(0.3)).separate(mixture, rate_hz=44_100)
    other = Separator(Share(0.7, target="instrumental")).separate(mixture, rate_hz=44_100)
    assert np.abs(vocals.vocals - other.vocals).max() < 1e-6


def test_silence_stays_silence(separator: Separator) -> None:
    stems = separator.separate(np.zeros((2, 5000), np.float32), rate_hz=44_100)
    assert not stems.vocals.any()
    assert not stems.instrumental.any()


def test_channels_are_paired_as_wav_orders_them() -> None:
    assert channel_groups(1, per_model=2) == [(0, 0)]
    assert channel_groups(6, per_model=2) == [(0, 1), (4, 5), (2, 2), (3, 3)]
    assert channel_groups(3, per_model=1) == [(0,), (1,), (2,)]
    for n in range(1, 12):
        seen = sorted({c for group in channel_groups(n, per_model=2) for c in group})
        assert seen == list(range(n))


def test_a_mono_song_is_what_both_sides_of_a_stereo_song_are(separator: Separator) -> None:
    mono = song(1, 20_000)
    one = separator.separate(mono, rate_hz=44_100)
    two = separator.separate(np.concatenate([mono, mono]), rate_hz=44_100)
    assert np.abs(one.vocals[0] - two.vocals[0]).max() < 1e-6


# Law 3 and 4


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 90_000), min_size=1, max_size=6),
    rate_hz=st.sampled_from([44_100, 48_000]),
)
def test_any_blocks_give_the_same_bits(mask_model: Path, sizes: list[int], rate_hz: int) -> None:
    separator = Separator(mask_model, device="cpu", threads=1)
    mixture = song(2, sum(sizes), seed=len(sizes))
    whole = separator.separate(mixture, rate_hz=rate_hz)
    places = np.cumsum([0, *sizes])
    blocks = [mixture[:, a:b] for a, b in itertools.pairwise(places)]
    parts = list(separator.stream(iter(blocks), rate_hz=rate_hz, n_channels=2))
    assert np.array_equal(np.concatenate([v for v, _ in parts], axis=1), whole.vocals)
    assert np.array_equal(np.concatenate([i for _, i in parts], axis=1), whole.instrumental)


def test_a_file_gives_what_its_array_gives(separator: Separator, tmp_path: Path) -> None:
    mixture = song(2, 150_000)
    write(tmp_path / "song.flac", mixture, rate_hz=44_100)
    from_file = separator.separate(tmp_path / "song.flac")
    from_array = separator.separate(mixture, rate_hz=44_100)
    assert np.array_equal(from_file.vocals, from_array.vocals)
    to_files(separator, tmp_path / "song.flac", both(tmp_path), bit_depth="float")
    written, _ = read(tmp_path / "vocals.wav")
    assert np.array_equal(written, from_array.vocals)


def test_chunks_join_without_a_seam(mask_model: Path) -> None:
    """A chunk sees its context, so moving the chunks' borders changes nothing."""
    card = mask_card()
    mixture = song(2, 40_000)
    separator = Separator(mask_model, device="cpu", threads=1)
    late = np.concatenate([np.zeros((2, SMALL.hop * 5), np.float32), mixture], axis=1)
    a = separator.separate(mixture, rate_hz=44_100).vocals
    b = separator.separate(late, rate_hz=44_100).vocals[:, SMALL.hop * 5 :]
    assert card.context_frames >= 2
    # Near its start a song has no frames before the first; behind that all must agree.
    inside = slice(SMALL.n_fft + 4 * SMALL.hop, None)
    assert np.abs(a[:, inside] - b[:, inside]).max() < 1e-6


def test_two_runs_give_the_same_bytes(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 60_000), rate_hz=44_100)
    for suffix in ("wav", "flac"):
        for run in ("a", "b"):
            (tmp_path / run).mkdir(exist_ok=True)
            to_files(separator, tmp_path / "song.wav", both(tmp_path / run, suffix))
        for stem in ("vocals", "instrumental"):
            a, b = (tmp_path / run / f"{stem}.{suffix}" for run in ("a", "b"))
            assert a.read_bytes() == b.read_bytes()


def test_a_stream_gives_sound_before_the_song_ends() -> None:
    estimator = MaskEstimator(Share(0.5), n_channels=1)
    blocks = [song(1, 5000, seed=i) for i in range(10)]
    n_out = sum(estimator.estimate(estimator.prepare(block)).shape[2] for block in blocks)
    assert 50_000 - n_out < (24 + 8) * SMALL.hop + SMALL.n_fft


# Files


@pytest.mark.parametrize(("bit_depth", "bits"), [("16", 16), ("24", 24)])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_files_sum_to_the_song_within_one_bit(
    separator: Separator, tmp_path: Path, suffix: str, bit_depth: str, bits: int
) -> None:
    mixture = np.rint(song(2, 70_001, level=0.4) * 2**15) / np.float32(2**15)
    write(tmp_path / "song.wav", mixture, rate_hz=48_000, bit_depth="16")
    report = to_files(separator, tmp_path / "song.wav", both(tmp_path, suffix), bit_depth=bit_depth)
    vocals, rate_hz = read(tmp_path / f"vocals.{suffix}")
    instrumental, _ = read(tmp_path / f"instrumental.{suffix}")
    assert rate_hz == 48_000
    assert vocals.shape == mixture.shape
    assert np.array_equal(vocals + instrumental, mixture)
    assert bits in (16, 24)
    assert report.gain_db == 0.0
    assert report.largest_error == 0.0
    assert report.n_samples == 70_001


@pytest.mark.parametrize("share", [-0.8, 3.0])
@pytest.mark.parametrize("wanted", [("vocals", "instrumental"), ("vocals",)])
def test_one_gain_for_both_where_a_stem_would_clip(
    tmp_path: Path, share: float, wanted: tuple[str, ...]
) -> None:
    mixture = song(2, 100_000, level=0.9)
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    targets = {stem: tmp_path / f"{stem}.wav" for stem in wanted}
    report = to_files(Separator(Share(share)), tmp_path / "song.wav", targets)
    assert report.gain_db < 0
    gain = 10 ** (report.gain_db / 20)
    vocals = read(tmp_path / "vocals.wav")[0].astype(np.float64)
    mixture = mixture.astype(np.float64)
    # Twice through the transform in float32: a few roundings of the unscaled stem.
    assert np.abs(vocals - gain * share * mixture).max() < 3e-7 * max(1.0, abs(share))
    assert float(read_tags(tmp_path / "vocals.wav")["viso_gain_db"]) == pytest.approx(
        report.gain_db, abs=1e-3
    )
    if len(wanted) == 2:
        instrumental, _ = read(tmp_path / "instrumental.wav")
        # The report's decibels are rounded on the way, hence a little more than half a step.
        assert np.abs(vocals + instrumental - gain * mixture).max() <= 0.6 * 2.0**-23
        assert max(np.abs(vocals).max(), np.abs(instrumental).max()) > 0.9999
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"song.wav", *(f"{stem}.wav" for stem in wanted)}


def test_writing_again_gives_signs_of_life(tmp_path: Path) -> None:
    mixture = song(2, 10 * 65_536, level=0.9)
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    with Separator(Share(3.0)).to_files(tmp_path / "song.wav", both(tmp_path)) as separation:
        steps = list(separation)
    assert separation.report.gain_db < 0
    assert sum(step.done_s == steps[-1].done_s for step in steps) >= 10


def test_a_song_that_is_touched_while_it_is_read(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 50_000), rate_hz=44_100)
    steps = separator.to_files(tmp_path / "song.wav", both(tmp_path))
    next(steps)
    os.utime(tmp_path / "song.wav", ns=(1, 1))
    with pytest.raises(AudioError, match=r"song\.wav: changed while it was read"):
        list(steps)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def test_float_files_are_never_scaled(tmp_path: Path) -> None:
    mixture = song(2, 30_000, level=0.9)
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    targets = both(tmp_path)
    report = to_files(Separator(Share(3.0)), tmp_path / "song.wav", targets, bit_depth="float")
    vocals, _ = read(targets["vocals"])
    instrumental, _ = read(targets["instrumental"])
    assert report.gain_db == 0.0
    assert np.abs(vocals).max() > 2
    assert np.abs(vocals + instrumental - mixture).max() <= 2.0**-22


def test_saved_stems_share_one_gain_too(tmp_path: Path) -> None:
    mixture = song(2, 30_000, level=0.9)
    stems = Separator(Share(2.0)).separate(mixture, rate_hz=44_100)
    gain_db = stems.save(tmp_path / "new folder")
    vocals, instrumental = (
        read(tmp_path / "new folder" / f"{stem}.wav")[0] for stem in ("vocals", "instrumental")
    )
    gain = 10 ** (gain_db / 20)
    assert gain == pytest.approx((1 - 2**-22) / np.abs(stems.vocals).max(), rel=1e-6)
    total = vocals.astype(np.float64) + instrumental
    assert np.abs(total - gain * mixture.astype(np.float64)).max() <= 0.6 * 2.0**-23
    assert read_tags(tmp_path / "new folder" / "vocals.wav")["viso_model"].startswith("tiny")


def test_saved_stems_are_what_they_were(separator: Separator, tmp_path: Path) -> None:
    mixture = song(2, 20_000)
    stems = separator.separate(mixture, rate_hz=44_100)
    assert stems.save(tmp_path, suffix="flac") == 0.0
    vocals, instrumental = (read(tmp_path / f"{s}.flac")[0] for s in ("vocals", "instrumental"))
    assert np.abs(vocals - stems.vocals).max() <= 2.0**-24
    assert np.array_equal(vocals + instrumental, mixture)


def test_the_lowest_integer_does_not_clip(tmp_path: Path) -> None:
    mixture = song(2, 5000)
    mixture[0, 100] = -1.0
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    report = to_files(Separator(Share(0.0)), tmp_path / "song.wav", both(tmp_path), bit_depth="24")
    assert report.gain_db == 0.0
    assert report.largest_error == 0.0


@pytest.mark.parametrize("level", [0.3, 3.0])
def test_songs_of_any_floats_are_within_a_rounding(
    separator: Separator, tmp_path: Path, level: float
) -> None:
    mixture = np.random.default_rng(5).standard_normal((2, 20_000), np.float32) * np.float32(level)
    stems = separator.separate(mixture, rate_hz=44_100)
    error = np.abs(stems.vocals.astype(np.float64) + stems.instrumental - mixture)
    largest = np.maximum(np.abs(stems.vocals), np.abs(stems.instrumental))
    assert (error <= largest * 2.0**-24).all()
    assert (error == 0).mean() > 0.9


def test_a_region_is_cut_to_the_sample(separator: Separator, tmp_path: Path) -> None:
    mixture = song(2, 88_200)
    write(tmp_path / "song.wav", mixture, rate_hz=44_100)
    targets = both(tmp_path)
    report = to_files(separator, tmp_path / "song.wav", targets, start_s=0.5, duration_s=0.25)
    vocals, _ = read(targets["vocals"])
    instrumental, _ = read(targets["instrumental"])
    assert report.n_samples == round(0.25 * 44_100)
    region = mixture[:, 22_050 : 22_050 + report.n_samples]
    assert np.abs(vocals + instrumental - region).max() <= 2.0**-23


def test_model_and_version_are_in_the_tags(separator: Separator, tmp_path: Path) -> None:
    from viso import __version__

    write(tmp_path / "song.wav", song(1, 10_000), rate_hz=44_100)
    targets = both(tmp_path, "flac")
    report = to_files(separator, tmp_path / "song.wav", targets)
    for stem, path in targets.items():
        tags = read_tags(path)
        assert tags["viso_stem"] == stem
        assert tags["viso_version"] == __version__
        assert tags["viso_model_sha256"] == report.model_sha256
        assert len(report.model_sha256) == 64
        assert tags["viso_song"] == "song.wav"
        assert tags["viso_song_bytes"] == str((tmp_path / "song.wav").stat().st_size)


def test_nothing_is_there_until_all_is(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 400_000), rate_hz=44_100)
    with separator.to_files(tmp_path / "song.wav", both(tmp_path / "out")) as separation:
        assert not next(separation).is_complete
        with pytest.raises(AudioError, match=r"song\.wav: is not separated yet"):
            _ = separation.report
        visible = [p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")]
        assert visible == []
    assert not (tmp_path / "out").exists()


def test_a_separation_is_complete_once_and_keeps_its_report(
    separator: Separator, tmp_path: Path
) -> None:
    write(tmp_path / "song.wav", song(2, 100_000), rate_hz=44_100)
    separation = separator.to_files(tmp_path / "song.wav", both(tmp_path))
    assert list(tmp_path.iterdir()) == [tmp_path / "song.wav"]  # nothing before the first step
    *before, last = separation
    assert last.is_complete
    assert not any(step.is_complete for step in before)
    report = separation.report
    assert separation.run() is report
    assert list(separation) == []
    assert separation.report is report


def test_progress_counts_up_to_the_whole(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 300_000), rate_hz=44_100)
    steps = list(separator.to_files(tmp_path / "song.wav", both(tmp_path)))
    done = [step.done_s for step in steps]
    assert len(steps) > 2
    assert done == sorted(done)
    assert done[-1] == steps[-1].total_s == pytest.approx(300_000 / 44_100)


# What is refused


@pytest.mark.parametrize(
    ("array", "rate_hz", "reason"),
    [
        (np.zeros((2, 10), np.float32), None, "sampling rate"),
        (np.zeros((2, 10), np.float32), 0, "sampling rate"),
        (np.zeros((2, 10), np.float32), 44_100.0, "sampling rate"),
        (np.zeros((2, 10), np.float32), 999, "sampling rate"),
        (np.full((1, 5), 1e39), 44_100, "infinite"),
        (np.zeros(0, np.float32), 44_100, "channels, samples"),
        (np.zeros((0, 10), np.float32), 44_100, "channels, samples"),
        (np.zeros((2, 0), np.float32), 44_100, "channels, samples"),
        (np.full((1, 5), np.nan, np.float32), 44_100, "NaN"),
        (np.full((1, 5), np.inf, np.float32), 44_100, "NaN or infinite"),
        (np.zeros((1, 5), np.int64), 44_100, "floats"),
    ],
)
def test_impossible_arrays(array: np.ndarray, rate_hz: int | None, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        Separator(Share(0.5)).separate(array, rate_hz=rate_hz)


def test_a_network_that_gives_nan_is_an_error() -> None:
    with pytest.raises(ModelError, match="NaN"):
        Separator(Share(float("nan"))).separate(song(), rate_hz=44_100)


def test_regions_are_for_files() -> None:
    with pytest.raises(AudioError, match="slice"):
        Separator(Share(0.5)).separate(song(), rate_hz=44_100, start_s=0.1)


def test_own_input_is_never_overwritten(separator: Separator, tmp_path: Path) -> None:
    path = tmp_path / "vocals.wav"
    write(path, song(2, 5000), rate_hz=44_100)
    before = path.read_bytes()
    (tmp_path / "link.wav").symlink_to(path)
    for source in (path, tmp_path / "link.wav"):
        with pytest.raises(AudioError, match="own song"):
            to_files(separator, source, both(tmp_path), overwrite=True)
    assert path.read_bytes() == before


def test_stems_that_are_there_are_kept(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 5000), rate_hz=44_100)
    targets = both(tmp_path)
    to_files(separator, tmp_path / "song.wav", targets)
    with pytest.raises(AudioError, match="--overwrite"):
        to_files(separator, tmp_path / "song.wav", targets)
    to_files(separator, tmp_path / "song.wav", targets, overwrite=True)


@pytest.mark.parametrize("stems", [{}, {"drums": Path("x.wav")}])
def test_unknown_stems(separator: Separator, tmp_path: Path, stems: dict[str, Path]) -> None:
    write(tmp_path / "song.wav", song(2, 5000), rate_hz=44_100)
    with pytest.raises(ConfigError, match="stem"):
        to_files(separator, tmp_path / "song.wav", stems)


def test_separate_in_one_call(mask_model: Path) -> None:
    mixture = song(2, 8000)
    stems = separate(mixture, model=mask_model, rate_hz=44_100)
    assert stems.model == "tiny"
    assert np.array_equal(stems.vocals + stems.instrumental, mixture)


def test_card_of_the_model_is_at_hand(separator: Separator) -> None:
    assert isinstance(separator.card, ModelCard)
    assert separator.device == "cpu"
