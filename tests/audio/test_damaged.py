"""Files that are cut, damaged or locked must be noticed, never half read in silence."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import soundfile

from viso.audio import open_audio, read, read_cover, read_tags, write
from viso.audio._integrity import ogg_crc
from viso.errors import AudioError

RATE = 44100


def cut(path, share):
    """Write the first `share` of a file beside it."""
    data = path.read_bytes()
    short = path.with_name(f"cut{path.suffix}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize("share", [0.3, 0.77, 0.98])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_a_cut_file_is_an_error(tmp_path, noise, suffix, share):
    path = tmp_path / f"song.{suffix}"
    write(path, noise(2, 2 * RATE), rate_hz=RATE)
    with pytest.raises(AudioError, match="cut"):
        read(cut(path, share))


@pytest.mark.parametrize("form", ["AIFF", "AU", "W64", "RF64", "CAF"])
def test_a_cut_file_of_the_other_pcm_formats(tmp_path, noise, form):
    path = tmp_path / f"song.{form.lower()}"
    soundfile.write(path, noise(2, RATE).T, RATE, format=form, subtype="PCM_16")
    assert read(path)[0].shape == (2, RATE)
    with pytest.raises(AudioError, match="cut"):
        read(cut(path, 0.6))


def test_three_bytes_are_enough(tmp_path, noise):
    write(tmp_path / "a.wav", noise(1, 1000), rate_hz=RATE)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-3])
    with pytest.raises(AudioError, match="3000 bytes of sound promised, 2997 found"):
        read(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("suffix", "form", "codec", "options"),
    [
        ("m4a", "ipod", "aac", {"movflags": "faststart"}),
        ("mka", "matroska", "aac", {}),
        ("webm", "webm", "libopus", {}),
        ("wma", "asf", "wmav2", {}),
    ],
)
def test_a_cut_file_with_its_index_in_front(
    tmp_path, noise, av_encode, suffix, form, codec, options
):
    path = tmp_path / f"song.{suffix}"
    audio = noise(2, 10 * 48000)
    av_encode(path, audio, rate_hz=48000, codec=codec, form=form, options=options)
    assert read(path)[0].shape[1] > 9.8 * 48000
    with pytest.raises(AudioError, match="cut"):
        read(cut(path, 0.7))


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "opus"])
def test_a_hole_in_the_middle_is_an_error(tmp_path, noise, suffix):
    path = tmp_path / f"song.{suffix}"
    write(path, noise(2, 2 * RATE), rate_hz=RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.raises(AudioError):
        read(path)


@pytest.mark.parametrize("tag", [b"drms", b"enca"])
def test_an_encrypted_song_is_an_error(tmp_path, noise, tag):
    path = tmp_path / "song.m4a"
    write(path, noise(2, 5000), rate_hz=RATE)
    data = path.read_bytes()
    at = data.rindex(b"mp4a", 0, data.rindex(b"esds"))
    (tmp_path / "song.m4p").write_bytes(data[:at] + tag + data[at + 4 :])
    with pytest.raises(AudioError, match="encrypted"):
        read(tmp_path / "song.m4p")


def test_a_video_without_sound(tmp_path):
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for value in (0, 128):
            picture = np.full((32, 32, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio track"):
        read(path)


def test_a_playlist_is_not_followed(tmp_path, noise):
    write(tmp_path / "other.m4a", noise(1, 5000), rate_hz=RATE)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "other.m4a", "#EXT-X-ENDLIST"]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    with pytest.raises(AudioError):
        read(tmp_path / "list.m3u8")


@pytest.mark.parametrize(
    "junk", [b"APETAGEX" + bytes(200), b"TAG" + b" " * 125, bytes(700), b"LYRICSBEGIN" + b"x" * 99]
)
def test_junk_behind_an_mp3_is_not_damage(tmp_path, noise, junk):
    path = tmp_path / "song.mp3"
    write(path, noise(2, 20_000), rate_hz=RATE)
    whole, _ = read(path)
    path.write_bytes(path.read_bytes() + junk)
    np.testing.assert_array_equal(read(path)[0], whole)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_random_damage_never_gets_past_our_errors(tmp_path, noise, suffix):
    """Whatever is wrong with a file, it is an AudioError of one line or it is sound."""
    rng = np.random.default_rng(3)
    path = tmp_path / f"song.{suffix}"
    write(path, noise(2, 3000), rate_hz=48000)
    data = path.read_bytes()
    for turn in range(30):
        broken = bytearray(data)
        for at in rng.integers(0, len(data) if turn % 2 else 150, 1 + turn % 3):
            broken[at] = rng.integers(256)
        broken = broken[: rng.integers(1, len(data)) if turn % 4 == 0 else None]
        path.write_bytes(broken)
        try:
            assert np.isfinite(read(path)[0]).all()
        except AudioError as error:
            assert "\n" not in str(error)
        with contextlib.suppress(AudioError):
            read_tags(path)
        with contextlib.suppress(AudioError):
            read_cover(path)


def test_vorbis_that_begins_before_its_time_zero_is_whole(tmp_path):
    path = tmp_path / "a.ogg"
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (88_200, 2)).astype(np.float32)
    soundfile.write(path, sound, 44_100, format="OGG", subtype="VORBIS")
    data = bytearray(path.read_bytes())
    places, at = [], 0
    while at < len(data):
        places.append(at)
        table = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(table) + sum(table)
    granules = [int.from_bytes(data[p + 6 : p + 14], "little", signed=True) for p in places]
    shift = next(g for g in granules if g > 0) + 104
    for place, granule, end in zip(places, granules, [*places[1:], len(data)], strict=True):
        if granule > 0:
            data[place + 6 : place + 14] = (granule - shift).to_bytes(8, "little", signed=True)
            data[place + 22 : place + 26] = bytes(4)
            data[place + 22 : place + 26] = ogg_crc(bytes(data[place:end]))
    path.write_bytes(data)
    there = len(soundfile.read(path)[0])
    assert there < soundfile.info(path).frames
    with open_audio(path) as song:
        assert song.n_samples is None
        assert song.duration_s == pytest.approx(there / 44_100, abs=0.1)
    assert read(path)[0].shape == (2, there)
