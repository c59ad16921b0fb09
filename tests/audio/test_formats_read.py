"""What other programs write: alignment, lengths and channel order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import soundfile

from viso.audio import open_audio, read, write
from viso.audio._ffmpeg import FfmpegDecoder
from viso.audio._integrity import DeclaredLength, inspect

RATE = 48000
N = 44_117


@pytest.mark.parametrize(
    ("suffix", "form", "codec", "length", "delay"),
    [
        # the container states delay and length: exact
        ("mp3", "mp3", "libmp3lame", N, 0),
        ("opus", "ogg", "libopus", N, 0),
        ("m4a", "ipod", "aac", N, 0),
        ("mov", "mov", "aac", N, 0),
        ("m4a", "ipod", "alac", N, 0),
        ("webm", "webm", "libopus", N, 0),
        ("mka", "matroska", "flac", N, 0),
        ("wv", "wv", "wavpack", N, 0),
        # Matroska states the delay, but FFmpeg's muxer not the padding of AAC
        ("mka", "matroska", "aac", 44 * 1024, 0),
        # nothing is stated, nothing is trimmed
        ("aac", "adts", "aac", 45 * 1024, 1024),
        ("mp2", "mp2", "mp2", 39 * 1152, 481),
        ("ac3", "ac3", "ac3", 29 * 1536, 256),
        ("avi", "avi", "libmp3lame", 40 * 1152, 1105),
        # FFmpeg's own WMA: its decoder drops the first frame, its muxer the last
        ("wma", "asf", "wmav2", 21 * 2048, -2048),
    ],
)
def test_delay_and_length(tmp_path, noise, offset, av_encode, suffix, form, codec, length, delay):
    audio = noise(2, N)
    path = tmp_path / f"a.{suffix}"
    av_encode(path, audio, rate_hz=RATE, codec=codec, form=form)
    with open_audio(path) as file:
        back = np.concatenate(list(file.blocks(block_size=5000)), axis=1)
        assert file.rate_hz == RATE
        assert file.n_samples in (None, back.shape[1])
    assert back.shape == (2, length)
    assert [offset(back[c], audio[c]) for c in (0, 1)] == [delay, delay]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_xing_header_is_read_to_its_end(tmp_path, noise, mode):
    """libsndfile guesses the length of such a file and stops there."""
    path = tmp_path / "a.mp3"
    # soft, then loud: the bit rate of the first frames says nothing about the length
    audio = noise(2, 3 * RATE) * np.linspace(0, 1, 3 * RATE, dtype=np.float32) ** 4
    soundfile.write(path, audio.T, RATE, format="MP3", bitrate_mode=mode, compression_level=0.2)
    assert inspect(path).n_samples == 3 * RATE
    data = path.read_bytes()
    first = max(data[:60].find(b"Xing"), data[:60].find(b"Info"))
    data = data[data.index(b"\xff\xfb", first) :]
    path.write_bytes(data)
    assert inspect(path).n_samples is None
    length = read(path)[0].shape[1]
    assert 3 * RATE <= length < 3 * RATE + 3 * 1152


def test_an_mp3_behind_a_large_picture(tmp_path, noise):
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(1, N).T, RATE, format="MP3")
    whole, _ = read(path)
    size = 300_000
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + length + bytes(size) + path.read_bytes())
    np.testing.assert_array_equal(read(path)[0], whole)


def test_a_flac_that_states_no_length(tmp_path, noise):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(2, N).T, RATE, subtype="PCM_16")
    whole, _ = read(path)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with open_audio(path) as file:
        assert file.n_samples is None
    np.testing.assert_array_equal(read(path)[0], whole)
    np.testing.assert_array_equal(read(path, start_s=0.5)[0], whole[:, RATE // 2 :])


def test_chained_ogg_is_read_to_its_end(tmp_path, noise):
    """libsndfile stops after the first link."""
    path = tmp_path / "a.ogg"
    with soundfile.SoundFile(path, "w", RATE, 1, format="OGG", subtype="VORBIS") as file:
        file.write(noise(1, 20_000)[0])
    path.write_bytes(path.read_bytes() * 2)
    assert abs(read(path)[0].shape[1] - 40_000) <= 1024


@pytest.mark.parametrize("n_channels", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "m4a"])
def test_channels_come_and_go_in_wav_order(tmp_path, noise, suffix, n_channels):
    """Vorbis, Opus and AAC store another order: that must show neither to us nor to FFmpeg."""
    audio = noise(n_channels, 8000)
    path = tmp_path / f"a.{suffix}"
    write(path, audio, rate_hz=RATE)
    decoder = FfmpegDecoder(path, DeclaredLength("other"))
    foreign = np.concatenate(list(decoder.chunks(0)), axis=1)[:, :8000]
    decoder.close()
    for back in (read(path)[0], foreign):
        likeness = np.abs(np.corrcoef(audio, back)[:n_channels, n_channels:])
        assert likeness.argmax(axis=1).tolist() == list(range(n_channels))


def test_the_first_audio_track_of_a_video(tmp_path, noise):
    import av

    tracks = [noise(2, RATE, seed=seed) for seed in (1, 2)]
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        sound = [container.add_stream("flac", rate=RATE, layout="stereo") for _ in tracks]
        for _ in range(12):
            image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(image))
        for stream, audio in zip(sound, tracks, strict=True):
            integers = np.rint(audio.T * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        for stream in (picture, *sound):
            container.mux(stream.encode(None))
    back, rate_hz = read(path)
    assert rate_hz == RATE
    assert back.shape == (2, RATE)
    assert np.abs(back - tracks[0]).max() < 1e-4


def test_itunes_states_delay_and_length_in_a_tag(tmp_path, noise, offset, av_encode):
    import mutagen.mp4

    path = tmp_path / "a.m4a"
    audio = noise(1, N)
    options = {"use_editlist": "0"}
    av_encode(path, audio, rate_hz=RATE, codec="aac", form="ipod", options=options)
    padding = 45 * 1024 - 1024 - N
    file = mutagen.mp4.MP4(path)
    text = f" 00000000 {1024:08X} {padding:08X} {N:016X} 00000000 00000000"
    file["----:com.apple.iTunes:iTunSMPB"] = [mutagen.mp4.MP4FreeForm(text.encode())]
    file.save()
    back, _ = read(path)
    assert back.shape == (1, N)
    assert offset(back[0], audio[0]) == 0


def test_six_one_of_the_back_has_its_centre_where_wav_order_has_it(tmp_path, noise, av_encode):
    """FFmpeg has left, right, centre there, and with speakers at the sides the centre first."""
    audio = noise(7, 8000)
    path = tmp_path / "a.wv"
    av_encode(path, audio, rate_hz=RATE, codec="wavpack", form="wv", layout="6.1(back)")
    likeness = np.abs(np.corrcoef(audio, read(path)[0])[:7, 7:])
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2, 3, 5, 6, 4]


def test_tags_that_are_no_utf8(tmp_path, noise):
    """PyAV up to 18 refuses such a file unless it is told not to; 19 has no such argument."""
    import av

    path = tmp_path / "a.mka"
    integers = np.rint(noise(1, 4096) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "before~~~~behind"
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert b"~~~~" in data
    path.write_bytes(data.replace(b"~~~~", b"\xff\xfe\xfc\xfa"))
    assert read(path)[0].shape == (1, 4096)
