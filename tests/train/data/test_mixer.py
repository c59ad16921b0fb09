"""Mixer: what is drawn is what the corpus holds, in the shares the recipe asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viso.errors import DataError
from viso.train.data.mixer import Mixer
from viso.train.recipe import Mixing

RATE_HZ = 8000
CPU = torch.device("cpu")
SHARES = (
    "swap", "invert", "mono", "tilt", "shift_pitch", "harmonise", "compress", "double", "delay",
    "reverb", "cut_band", "quiet_vocals", "drive", "remix", "no_vocals", "no_music",
    "second_voice",
)  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n_channels, n_samples, seed, peak=4000):
    values = np.random.default_rng(seed).integers(-peak, peak, (n_channels, n_samples))
    return (values / 32768).astype(np.float32)


def constant(value, n_samples, n_channels=2):
    return np.full((n_channels, n_samples), value, np.float32)


def mixing(**changes):
    """Mixtures as they lie in the corpus: no chance but of what is drawn."""
    plain = {"vocals": {"songs": 1.0}, "instrumentals": {"songs": 1.0}, "same_song": 1.0}
    plain |= {"gain": (1.0, 1.0), "speed": (1.0, 1.0), "speed_share": 1.0, "pan_db": 0.0}
    plain |= dict.fromkeys(SHARES, 0.0)
    return Mixing(**{**plain, **changes})


def song(name, n_samples, seed, **facts):
    """The two stems of a song, of noise that tells every place from every other."""
    return [
        ({"song": name, "role": "vocals", **facts}, noise(2, n_samples, seed)),
        ({"song": name, "role": "instrumental", **facts}, noise(2, n_samples, seed + 1000)),
    ]


def location_of(chunk, tracks):
    """Track and first sample of a stereo chunk."""
    for number, sound in enumerate(tracks):
        for start in np.nonzero(sound[0] == chunk[0, 0])[0]:
            if np.array_equal(sound[:, start : start + chunk.shape[1]], chunk):
                return number, int(start)
    return None


def test_a_generator_state_decides_the_batch_and_resumes_midway(tmp_path, packed):
    corpus = packed(tmp_path, song("a", 20_000, 1) + song("b", 30_000, 2))
    settings = Mixing(
        vocals={"songs": 1.0},
        instrumentals={"songs": 1.0},
        same_song=0.5,
        dry_groups=("songs",),
        no_vocals=0.3,
    )
    mixer = Mixer(corpus, settings, n_samples=3000, device=CPU)
    generator = seeded(3)
    mixer.draw(6, generator)
    state = generator.get_state()
    expected = [mixer.draw(6, generator) for _ in range(3)]
    torch.manual_seed(123)
    resumed = torch.Generator()
    resumed.set_state(state)
    again = Mixer(corpus, settings, n_samples=3000, device=CPU)
    for one in expected:
        other = again.draw(6, resumed)
        for name in ("vocals", "instrumental", "bandwidth_hz"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert torch.equal(one.mixture, one.vocals + one.instrumental)
    assert not torch.equal(expected[0].vocals, expected[1].vocals)


def test_a_true_song_is_drawn_bit_for_bit_both_stems_at_one_moment(tmp_path, packed):
    corpus = packed(tmp_path, song("a", 20_000, 1) + song("b", 14_000, 2))
    batch = Mixer(corpus, mixing(), n_samples=3000, device=CPU).draw(40, seeded())
    assert batch.vocals.shape == batch.instrumental.shape == (40, 2, 3000)
    assert batch.vocals.dtype == torch.float32
    by_role = {
        role: [corpus.read(t) for t in corpus.tracks if t.role == role]
        for role in ("vocals", "instrumental")
    }
    places = [location_of(chunk, by_role["vocals"]) for chunk in batch.vocals.numpy()]
    assert None not in places
    assert {number for number, _ in places} == {0, 1}
    assert len(set(places)) > 30
    for place, chunk in zip(places, batch.instrumental.numpy(), strict=True):
        assert location_of(chunk, by_role["instrumental"]) == place


def test_sources_of_different_songs_keep_the_levels_of_finished_records(tmp_path, packed):
    corpus = packed(tmp_path, song("a", 20_000, 1) + song("b", 14_000, 2))
    batch = Mixer(corpus, mixing(same_song=0.0), n_samples=3000, device=CPU).draw(40, seeded())
    sounds = [corpus.read(t) for t in corpus.tracks]
    vocals = [location_of(chunk, sounds[0::2]) for chunk in batch.vocals.numpy()]
    music = [location_of(chunk, sounds[1::2]) for chunk in batch.instrumental.numpy()]
    assert None not in vocals + music
    assert all(v != m for v, m in zip(vocals, music, strict=True))


@pytest.mark.parametrize("same_song", [0.0, 1.0])
def test_other_levels_are_drawn_anew(tmp_path, packed, same_song):
    corpus = packed(tmp_path, song("a", 20_000, 1, release_level=False))
    settings = mixing(same_song=same_song, vocal_level_db=(-13.0, 4.0))
    batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(200, seeded())
    energy = [x.square().mean(dim=(1, 2)) for x in (batch.vocals, batch.instrumental)]
    level_db = 10 * torch.log10(energy[0] / energy[1])
    assert level_db.min() > -13.01
    assert level_db.max() < 4.01
    assert level_db.max() - level_db.min() > 14


def test_validation_songs_are_never_drawn(tmp_path, packed):
    tracks = song("a", 20_000, 1) + song("b", 20_000, 2)
    # The same song and group in the other split, as loud as can be.
    for name in ("a", "v"):
        facts = {"song": name, "split": "valid"}
        tracks += [
            ({**facts, "role": "vocals"}, constant(0.9, 60_000)),
            ({**facts, "role": "instrumental"}, constant(-0.9, 60_000)),
        ]
    corpus = packed(tmp_path, tracks)
    for same_song in (0.0, 0.5, 1.0):
        mixer = Mixer(corpus, mixing(same_song=same_song), n_samples=3000, device=CPU)
        batch = mixer.draw(100, seeded())
        assert max(batch.vocals.abs().max(), batch.instrumental.abs().max()) < 0.13


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("speed", [(1.0, 1.0), (0.9, 1.12), (1.12, 1.12)])
def test_a_chunk_never_reads_beyond_its_track(tmp_path, packed, n_channels, speed):
    needed = int(3000 * speed[1]) + 8
    poison = ({"song": "x", "split": "valid"}, constant(0.9, 5000, n_channels))
    tracks = [poison]
    for name, n_samples in (("a", max(needed, 4410)), ("b", 8820), ("c", 9001)):
        quiet = constant(0.1, n_samples, n_channels)
        tracks += [({"song": name}, quiet), poison]
        tracks += [({"song": name, "role": "instrumental"}, quiet), poison]
    corpus = packed(tmp_path, tracks)
    for same_song in (0.0, 1.0):
        settings = mixing(same_song=same_song, speed=speed)
        batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(120, seeded())
        for sound in (batch.vocals, batch.instrumental):
            # An interpolator rings at the beginning; the poison would be far louder.
            expected = torch.full_like(sound, 3277 / 32768)
            torch.testing.assert_close(sound, expected, rtol=0, atol=0.003)


def test_a_song_whose_music_ends_before_its_vocals_is_drawn_where_both_are(tmp_path, packed):
    tracks = [
        ({"song": "a"}, constant(0.1, 40_000)),
        ({"song": "a", "role": "instrumental"}, constant(0.1, 10_000)),
        ({"song": "v", "split": "valid"}, constant(0.9, 60_000)),
    ]
    corpus = packed(tmp_path, tracks)
    batch = Mixer(corpus, mixing(), n_samples=3000, device=CPU).draw(200, seeded())
    assert batch.instrumental.abs().max() < 0.11


def test_groups_are_drawn_by_weight_whatever_they_hold(tmp_path, packed):
    tracks = [({"group": "rare", "song": "r"}, constant(0.1, 60_000))]
    tracks += [({"group": "often", "song": f"o{n}"}, constant(0.2, 9000)) for n in range(3)]
    tracks += [({"group": "unnamed", "song": "u"}, constant(0.4, 60_000))]
    tracks += [({"group": "often", "song": "too short"}, constant(0.3, 500))]
    tracks += [({"role": "instrumental"}, noise(2, 20_000, 0))]
    corpus = packed(tmp_path, tracks)
    settings = mixing(vocals={"rare": 1.0, "often": 3.0}, same_song=0.0)
    batch = Mixer(corpus, settings, n_samples=50, device=CPU).draw(4000, seeded())
    levels, counts = np.unique(batch.vocals[:, 0, 0].numpy().round(1), return_counts=True)
    np.testing.assert_allclose(levels, [0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(counts / 4000, [0.25, 0.75], atol=0.03)


def test_within_a_group_a_track_counts_as_the_root_of_its_length(tmp_path, packed):
    tracks = [({"song": "long"}, constant(0.1, 4410 * 64))]
    tracks += [({"song": "short"}, constant(0.2, 4410 * 4))]
    tracks += [({"role": "instrumental"}, noise(2, 20_000, 0))]
    corpus = packed(tmp_path, tracks)
    mixer = Mixer(corpus, mixing(same_song=0.0), n_samples=50, device=CPU)
    level = mixer.draw(4000, seeded()).vocals[:, 0, 0]
    assert float((level < 0.15).float().mean()) == pytest.approx(8 / 10, abs=0.03)


def test_quiet_vocals_are_not_drawn(tmp_path, packed):
    silence_then_sound = np.concatenate([constant(0.001, 44_100), constant(0.1, 13_230)], axis=1)
    corpus = packed(
        tmp_path,
        [({}, silence_then_sound), ({"role": "instrumental"}, noise(2, 57_330, 0))],
    )
    for same_song in (0.0, 1.0):
        mixer = Mixer(corpus, mixing(same_song=same_song), n_samples=3000, device=CPU)
        loudest = mixer.draw(100, seeded()).vocals.abs().amax(dim=(1, 2))
        # Block by block a chunk has some sound; its exact start may still lie a block earlier.
        assert float((loudest > 0.05).float().mean()) > 0.8


def test_bandwidth_is_the_narrower_one_at_its_speed(tmp_path, packed):
    tracks = song("a", 20_000, 1)
    tracks[0][0]["bandwidth_hz"], tracks[1][0]["bandwidth_hz"] = 3000.0, 2000.0
    corpus = packed(tmp_path, tracks)
    for same_song in (0.0, 1.0):
        for speed in (1.0, 1.1):
            settings = mixing(same_song=same_song, speed=(speed, speed))
            batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(4, seeded())
            torch.testing.assert_close(batch.bandwidth_hz, torch.full((4,), 2000 * speed))


def test_speed_moves_the_pitch_of_both_stems_alike(tmp_path, packed):
    t = np.arange(40_000) / RATE_HZ
    tones = {
        role: np.sin(2 * np.pi * hz * t) for role, hz in (("vocals", 400), ("instrumental", 600))
    }
    corpus = packed(
        tmp_path,
        [({"role": r}, np.stack([x, x]).astype(np.float32) / 4) for r, x in tones.items()],
    )
    settings = mixing(speed=(0.9, 1.12))
    batch = Mixer(corpus, settings, n_samples=8000, device=CPU).draw(20, seeded())
    hz = [
        np.abs(np.fft.rfft(x[:, 0].numpy() * np.hanning(8000))).argmax(axis=1)
        for x in (batch.vocals, batch.instrumental)
    ]
    np.testing.assert_allclose(hz[0] / 400, hz[1] / 600, atol=0.004)
    assert hz[0].min() >= 359
    assert hz[0].max() <= 449
    assert np.ptp(hz[0]) > 50


def test_mono_stands_near_the_centre_and_only_dry_groups_get_a_room(tmp_path, packed):
    tracks = [({"group": "dry", "song": "d"}, noise(1, 20_000, 1))]
    tracks += [({"group": "wet", "song": "w"}, noise(1, 20_000, 2))]
    tracks += [({"role": "instrumental"}, noise(2, 20_000, 0))]
    corpus = packed(tmp_path, tracks)

    def vocals(group, **changes):
        settings = mixing(
            vocals={group: 1.0}, same_song=0.0, dry_groups=("dry",), **{"reverb": 1.0, **changes}
        )
        return Mixer(corpus, settings, n_samples=3000, device=CPU).draw(20, seeded()).vocals

    wet = vocals("wet")
    assert torch.equal(wet[:, 0], wet[:, 1])
    assert not torch.allclose(*vocals("dry").unbind(1), atol=1e-4)
    left, right = vocals("wet", pan_db=3.0).unbind(1)
    between_db = 10 * torch.log10(left.square().sum(dim=1) / right.square().sum(dim=1))
    assert 1 < between_db.abs().max() < 3.01


def test_some_mixtures_have_no_vocals(tmp_path, packed):
    corpus = packed(tmp_path, song("a", 20_000, 1))
    batch = Mixer(corpus, mixing(no_vocals=0.25), n_samples=500, device=CPU).draw(2000, seeded())
    silent = (batch.vocals == 0).all(dim=2).all(dim=1)
    assert float(silent.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert (batch.instrumental.abs().amax(dim=(1, 2)) > 0).all()


def test_two_pieces_of_music_of_one_name_are_both_drawn(tmp_path, packed):
    tracks = [({}, noise(2, 20_000, 0))]
    tracks += [({"role": "instrumental", "song": "intro"}, constant(v, 20_000)) for v in (0.1, 0.2)]
    corpus = packed(tmp_path, tracks)
    mixer = Mixer(corpus, mixing(same_song=0.0), n_samples=500, device=CPU)
    level = mixer.draw(200, seeded()).instrumental[:, 0, 0]
    assert 60 < int((level < 0.15).sum()) < 140


def test_paired_songs_outside_the_groups_are_no_hindrance(tmp_path, packed):
    tracks = [({"group": "solo", "song": "x"}, constant(0.1, 20_000)), *song("a", 20_000, 1)]
    corpus = packed(tmp_path, tracks)
    settings = mixing(vocals={"solo": 1.0}, same_song=0.5)
    batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(8, seeded())
    torch.testing.assert_close(batch.vocals, torch.full_like(batch.vocals, 3277 / 32768))


@pytest.mark.parametrize(
    ("changes", "n_samples"),
    [
        ({}, 20_000),
        ({"speed": (1.0, 1.5)}, 15_000),
        ({"floor_db": 0.0}, 3000),
    ],
)
def test_nothing_to_draw(tmp_path, packed, changes, n_samples):
    corpus = packed(tmp_path, song("a", 20_000, 1))
    with pytest.raises(DataError, match="no chunk"):
        Mixer(corpus, mixing(**changes), n_samples=n_samples, device=CPU)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vocals": {"songs": 1.0, "nobody": 1.0}}, "vocals in the groups nobody"),
        ({"instrumentals": {"nothing": 1.0}}, "instrumental in the groups nothing"),
        ({"vocals": {"songs": 0.0}}, r"vocals in the groups \(none\)"),
    ],
)
def test_a_group_that_is_not_there_is_named(tmp_path, packed, changes, named):
    corpus = packed(tmp_path, song("a", 20_000, 1))
    with pytest.raises(DataError, match=f"no {named}; the corpus has songs"):
        Mixer(corpus, mixing(**changes), n_samples=3000, device=CPU)


def test_without_weights_a_group_counts_as_the_root_of_its_length(tmp_path, packed):
    tracks = [({"group": "long", "song": "l"}, constant(0.1, 90_000))]
    tracks += [({"group": "short", "song": "s"}, constant(0.2, 10_000))]
    tracks += [({"role": "instrumental"}, noise(2, 20_000, 0))]
    mixer = Mixer(packed(tmp_path, tracks), mixing(vocals={}), n_samples=50, device=CPU)
    assert mixer.shares["vocals"] == pytest.approx({"long": 0.75, "short": 0.25})
    assert mixer.shares["instrumental"] == {"songs": 1.0}


def test_what_is_louder_than_full_scale_comes_back_so(tmp_path, packed):
    tracks = [({}, constant(1.5, 20_000)), ({"role": "instrumental"}, constant(0.5, 20_000))]
    corpus = packed(tmp_path, tracks)
    batch = Mixer(corpus, mixing(), n_samples=3000, device=CPU).draw(2, seeded())
    torch.testing.assert_close(batch.vocals, torch.full_like(batch.vocals, 1.5), rtol=0, atol=1e-3)


def changed(tmp_path, packed, **shares):
    """Vocals and music of a batch without and with some augmentation, from one seed."""
    facts = {"song": "a", "group": "dry"}
    corpus = packed(
        tmp_path,
        [
            ({**facts, "role": "vocals"}, noise(2, 20_000, 1)),
            ({**facts, "role": "instrumental"}, noise(2, 20_000, 2)),
        ],
    )
    groups = {"vocals": {"dry": 1.0}, "instrumentals": {"dry": 1.0}, "dry_groups": ("dry",)}
    settings = mixing(**{"same_song": 0.0, **groups, **shares})
    return Mixer(corpus, settings, n_samples=6000, device=CPU).draw(16, seeded()), corpus


@pytest.mark.parametrize("name", ["compress", "double", "delay", "reverb", "harmonise"])
def test_production_is_for_the_vocals_of_other_songs(tmp_path, packed, name):
    batch, corpus = changed(tmp_path / "a", packed, **{name: 1.0})
    vocals, music = (corpus.read(t) for t in corpus.tracks)
    assert all(location_of(x, [vocals]) is None for x in batch.vocals.numpy())
    assert all(location_of(x, [music]) for x in batch.instrumental.numpy())
    batch, _ = changed(tmp_path / "b", packed, same_song=1.0, **{name: 1.0})
    assert all(location_of(x, [vocals]) for x in batch.vocals.numpy())


def test_a_codec_narrows_both_sources_and_the_loss_hears_of_it(tmp_path, packed):
    batch, _ = changed(tmp_path, packed, cut_band=0.5)
    # At 8 kHz every drawn cutoff is clamped to the Nyquist frequency.
    assert (batch.bandwidth_hz == 4000).all()


def test_mono_takes_both_sources_of_a_mixture(tmp_path, packed):
    batch, _ = changed(tmp_path, packed, mono=0.5)
    alike = [(x[:, 0] == x[:, 1]).all(dim=1) for x in (batch.vocals, batch.instrumental)]
    assert torch.equal(*alike)
    assert int(alike[0].sum()) == 8


def test_one_of_the_sources_may_be_absent_but_not_both(tmp_path, packed):
    batch, _ = changed(tmp_path, packed, no_vocals=0.5, no_music=0.5)
    silent = [(x == 0).all(dim=2).all(dim=1) for x in (batch.vocals, batch.instrumental)]
    assert (silent[0] ^ silent[1]).all()
    assert silent[0].any()
    assert silent[1].any()


def test_swap_and_polarity_are_drawn_for_each_source_apart(tmp_path, packed):
    batch, corpus = changed(tmp_path, packed, swap=0.5, invert=0.5)
    vocals, music = (corpus.read(t) for t in corpus.tracks)
    seen = set()
    for pair in zip(batch.vocals.numpy(), batch.instrumental.numpy(), strict=True):
        states = []
        for chunk, sound in zip(pair, (vocals, music), strict=True):
            forms = {
                (flip, sign): location_of(sign * (chunk[::-1] if flip else chunk), [sound])
                for flip in (False, True)
                for sign in (1, -1)
            }
            found = [form for form, place in forms.items() if place is not None]
            assert len(found) == 1
            states += found
        seen.add(tuple(states))
    assert len(seen) > 6


def test_quiet_vocals_are_far_below_the_music(tmp_path, packed):
    batch, _ = changed(tmp_path, packed, quiet_vocals=0.5)
    level_db = 20 * torch.log10(batch.vocals.std(dim=(1, 2)) / batch.instrumental.std(dim=(1, 2)))
    assert int((level_db < -9).sum()) == 8
    assert (level_db > -41).all()


PARTS = ("songs-drums", "songs-bass")


def of_parts(n_samples=20_000):
    """A song, and the parts of two songs' music, each a constant that tells it."""
    voice = [({"song": "a", "role": "vocals", "release_level": True}, noise(2, n_samples, 1))]
    voice.append(({"song": "a", "role": "instrumental"}, constant(0.3, n_samples)))
    facts = {"role": "instrumental", "release_level": True}
    for name, drums, bass in (("b", 0.01, 0.1), ("c", 0.02, 0.2)):
        for part, value, hz in (("drums", drums, 3000.0), ("bass", bass, 500.0)):
            track = {"song": f"{name}/{part}", "group": f"songs-{part}", "bandwidth_hz": hz}
            voice.append(({**track, **facts}, constant(value, n_samples)))
    return voice


def test_a_remix_has_one_part_of_each_group_and_of_different_songs(tmp_path, packed):
    corpus = packed(tmp_path, of_parts())
    settings = mixing(same_song=0.0, remix=1.0, parts=PARTS, vocal_level_db=(0, 0))
    batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(64, seeded(2))
    found = {round(float(v), 3) for v in batch.instrumental[:, 0, 5]}
    assert found == {0.11, 0.12, 0.21, 0.22}
    # What the bass leaves empty the drums fill.
    assert batch.bandwidth_hz.tolist() == [3000.0] * 64


def test_the_share_of_remixes_is_kept_and_the_rest_is_whole_music(tmp_path, packed):
    corpus = packed(tmp_path, of_parts())
    settings = mixing(same_song=0.0, remix=0.25, parts=PARTS)
    mixer = Mixer(corpus, settings, n_samples=3000, device=CPU)
    assert mixer.shares["instrumental"] == {"songs": 1.0}
    music = mixer.draw(64, seeded(2)).instrumental[:, 0, 5]
    assert int((music - 0.3).abs().lt(0.001).sum()) == 48


def test_parts_are_never_music_on_their_own(tmp_path, packed):
    corpus = packed(tmp_path, of_parts())
    for remix in (0.0, 0.5):
        settings = mixing(instrumentals={}, remix=remix, parts=PARTS)
        mixer = Mixer(corpus, settings, n_samples=3000, device=CPU)
        assert mixer.shares["instrumental"] == {"songs": 1.0}


def test_a_group_of_parts_that_is_not_there_is_named(tmp_path, packed):
    corpus = packed(tmp_path, of_parts())
    with pytest.raises(DataError, match=r"no track in the groups songs-flute"):
        Mixer(corpus, mixing(remix=0.5, parts=("songs-flute",)), n_samples=3000, device=CPU)


def two_singers(n_samples=20_000):
    """Voices of different bandwidth over one backing, each a constant that tells it."""
    tracks = [({"song": "a", "role": "instrumental"}, constant(0.3, n_samples))]
    for name, value, hz in (("a", 0.02, 3000.0), ("b", 0.1, 1000.0)):
        facts = {"song": name, "role": "vocals", "release_level": True, "bandwidth_hz": hz}
        tracks.append((facts, constant(value, n_samples)))
    return tracks


def test_a_second_voice_is_softer_and_as_narrow_as_the_narrower(tmp_path, packed):
    corpus = packed(tmp_path, two_singers())
    settings = mixing(same_song=0.0, second_voice=1.0)
    mixer = Mixer(corpus, settings, n_samples=3000, device=CPU)
    batch = mixer.draw(64, seeded(3))
    plain = Mixer(corpus, mixing(same_song=0.0), n_samples=3000, device=CPU).draw(64, seeded(3))
    ratio = batch.vocals[:, :, 5] / plain.vocals[:, :, 5]
    level_db = 20 * torch.log10((ratio - 1).mean(dim=1))
    assert level_db.min() >= -12.6 and level_db.max() <= 2.1  # panned by 6 dB at most
    assert level_db.std() > 1
    assert (ratio[:, 0] - ratio[:, 1]).abs().max() > 0.1
    # The narrower of both decides, and each kind of pair comes.
    assert set(batch.bandwidth_hz.tolist()) == {1000.0, 3000.0}
    assert (batch.bandwidth_hz <= plain.bandwidth_hz).all()
    assert (batch.bandwidth_hz < plain.bandwidth_hz).any()


def test_the_share_of_second_voices_is_kept(tmp_path, packed):
    corpus = packed(tmp_path, two_singers())
    settings = mixing(same_song=0.0, second_voice=0.25, vocal_level_db=(0, 0))
    mixer = Mixer(corpus, settings, n_samples=3000, device=CPU)
    # Both sides of a voice alone are equal; beside a second one they are not.
    vocals = mixer.draw(64, seeded(4)).vocals[:, :, 5]
    assert int((vocals[:, 0] != vocals[:, 1]).sum()) == 16


def test_true_songs_have_no_second_voice(tmp_path, packed):
    corpus = packed(tmp_path, two_singers())
    settings = mixing(same_song=1.0, second_voice=1.0)
    batch = Mixer(corpus, settings, n_samples=3000, device=CPU).draw(16, seeded(4))
    assert {round(float(v), 3) for v in batch.vocals[:, 0, 5]} == {0.02}
