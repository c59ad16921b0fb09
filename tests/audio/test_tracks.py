"""Files with several audio tracks: each is read as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.multitrack_files import RATE_HZ, encode_tracks
from viso.audio import open_audio, write
from viso.errors import AudioError


def whole(path, track=0):
    with open_audio(path, track=track) as file:
        return np.concatenate(list(file.blocks()), axis=1)


@pytest.mark.parametrize(("codec", "form", "suffix"), [
    ("aac", "mp4", "mp4"),
    ("aac", "mov", "mov"),
    ("aac", "matroska", "mkv"),
    ("alac", "mp4", "m4a"),
    ("flac", "matroska", "mka"),
    ("flac", "ogg", "ogg"),
])  # fmt: skip
def test_each_track_gives_what_a_file_of_its_own_gives(
    tmp_path, noise, offset, codec, form, suffix
):
    shapes = [(2, 30_011), (1, 30_011), (2, 29_000), (2, 30_720), (1, 8000)]
    sounds = [noise(*shape, seed=n) for n, shape in enumerate(shapes)]
    path, alone = tmp_path / f"all.{suffix}", tmp_path / f"alone.{suffix}"
    encode_tracks(path, sounds, codec=codec, form=form)
    for track, sound in enumerate(sounds):
        with open_audio(path, track=track) as file:
            assert (file.n_tracks, file.track, file.n_channels) == (5, track, len(sound))
        read = whole(path, track)
        encode_tracks(alone, [sound], codec=codec, form=form)
        np.testing.assert_array_equal(read, whole(alone))
        assert offset(read[0], sound[0]) == 0


def test_a_region_of_a_track_and_several_passes(tmp_path, noise):
    path = tmp_path / "a.mp4"
    encode_tracks(path, [noise(2, 20_000, seed=n) for n in range(3)], codec="aac", form="mp4")
    expected = [whole(path, track) for track in range(3)]
    with open_audio(path) as first, open_audio(path, track=2) as last:
        pairs = zip(first.blocks(block_size=999), last.blocks(block_size=999), strict=True)
        both = [np.concatenate(blocks, axis=1) for blocks in zip(*pairs, strict=True)]
        region = np.concatenate(list(last.blocks(start_s=0.2, duration_s=0.1)), axis=1)
    np.testing.assert_array_equal(both[0], expected[0])
    np.testing.assert_array_equal(both[1], expected[2])
    np.testing.assert_array_equal(region, expected[2][:, 8820 : 8820 + 4410])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_tracks_that_a_file_does_not_have(tmp_path, noise, suffix):
    path = tmp_path / f"song.{suffix}"
    write(path, noise(2, 5000), rate_hz=RATE_HZ)
    with open_audio(path) as file:
        assert file.n_tracks == 1
    with pytest.raises(AudioError, match=rf"song\.{suffix}: no audio track 1 .* which has 1;"):
        open_audio(path, track=1)
    with pytest.raises(AudioError, match=rf"song\.{suffix}: audio track -1"):
        open_audio(path, track=-1)
