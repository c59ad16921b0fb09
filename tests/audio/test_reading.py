"""open_audio, AudioFile and read on whole files."""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from viso.audio import open_audio, read, write
from viso.errors import AudioError

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a")


@pytest.fixture(scope="module")
def songs(tmp_path_factory, noise):
    """One file per format, with what a plain read gives."""
    folder = tmp_path_factory.mktemp("songs")
    audio = noise(2, 30_011)
    made = {}
    for suffix in FORMATS:
        path = folder / f"song.{suffix}"
        write(path, audio, rate_hz=48000)
        made[suffix] = (path, read(path)[0])
    return made


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=8, deadline=None)
@given(
    block_size=st.integers(1, 70_000), start=st.integers(0, 30_010), count=st.integers(1, 40_000)
)
def test_every_block_size_and_region_gives_the_same_samples(
    songs, suffix, block_size, start, count
):
    path, whole = songs[suffix]
    block_size = max(block_size, count // 50)  # keep the number of tiny blocks small
    with open_audio(path) as file:
        blocks = list(
            file.blocks(block_size=block_size, start_s=start / 48000, duration_s=count / 48000)
        )
    assert all(b.shape[1] == block_size for b in blocks[:-1])
    assert 0 < blocks[-1].shape[1] <= block_size
    assert all(b.dtype == np.float32 and b.flags.c_contiguous for b in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole[:, start : start + count])


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 96000, 192000])
@pytest.mark.parametrize("n_channels", [1, 2, 6, 8])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_rates_and_channels_pass_unchanged(tmp_path, noise, suffix, n_channels, rate_hz):
    audio = noise(n_channels, 500)
    path = tmp_path / f"a.{suffix}"
    container = "WAVEX" if suffix == "wav" and n_channels > 2 else suffix.upper()
    soundfile.write(path, audio.T, rate_hz, subtype="PCM_24", format=container)
    with open_audio(path) as file:
        assert (file.rate_hz, file.n_channels, file.n_samples) == (rate_hz, n_channels, 500)
        assert file.bit_depth == 24
        assert file.duration_s == 500 / rate_hz
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(read(path)[0], expected.T)


def test_what_a_file_says_about_itself(songs):
    said = {}
    for suffix, (path, whole) in songs.items():
        with open_audio(str(path)) as file:
            said[suffix] = (file.subtype, file.bit_depth, file.n_samples)
            assert file.path == path
            assert file.duration_s == pytest.approx(whole.shape[1] / 48000, abs=0.03)
    n = 30_011
    assert said == {
        "wav": ("PCM_24", 24, n),
        "flac": ("FLAC 24", 24, n),
        "mp3": ("mp3", None, n),
        "ogg": ("VORBIS", None, n),
        "opus": ("OPUS", None, n),
        "m4a": ("aac", None, None),
    }


def test_two_passes_side_by_side(songs):
    path, whole = songs["mp3"]
    with open_audio(path) as file:
        pairs = list(zip(file.blocks(block_size=999), file.blocks(block_size=999), strict=True))
    np.testing.assert_array_equal(np.concatenate([a for a, _ in pairs], axis=1), whole)
    np.testing.assert_array_equal(np.concatenate([b for _, b in pairs], axis=1), whole)


def test_names_with_spaces_accents_and_255_bytes(tmp_path, noise):
    for name in ("mein Lied ü 歌.wav", "x" * 251 + ".wav", "100%d [a] #1.mp3", "http:x.m4a"):
        write(tmp_path / name, noise(1, 100), rate_hz=44100)
        assert read(tmp_path / name)[0].shape == (1, 100)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_regions_without_a_sample_are_refused(songs, suffix):
    with open_audio(songs[suffix][0]) as file:
        for region in (
            {"start_s": 1.0},
            {"start_s": -0.1},
            {"start_s": float("nan")},
            {"duration_s": 0.0},
            {"duration_s": -1.0},
            {"duration_s": 1e-9},
            {"block_size": 0},
        ):
            with pytest.raises(AudioError, match="song"):
                list(file.blocks(**region))


def test_a_start_past_an_unknown_end(songs):
    with open_audio(songs["m4a"][0]) as file, pytest.raises(AudioError, match="past the end"):
        list(file.blocks(start_s=1.0))


def test_a_closed_file_gives_no_blocks(songs):
    with open_audio(songs["wav"][0]) as file:
        pass
    with pytest.raises(AudioError, match="closed"):
        file.blocks()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_named_with_their_second(tmp_path, noise, bad):
    audio = noise(2, 44100)
    audio[1, 22050] = bad
    soundfile.write(tmp_path / "a.wav", audio.T, 44100, subtype="FLOAT")
    with open_audio(tmp_path / "a.wav") as file:
        blocks = file.blocks(block_size=10_000)
        next(blocks)
        with pytest.raises(
            AudioError, match=r"a\.wav: sample -?(nan|inf) in channel 2 at 0\.500 s"
        ):
            list(blocks)


def test_things_that_are_no_sound_files(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("These are words, not sound.\n" * 500)
    (tmp_path / "text.wav").write_text("These are words, not sound.\n" * 500)
    (tmp_path / "zeros.mp3").write_bytes(bytes(5000))
    (tmp_path / "x.raw").write_bytes(b"1234" * 100)
    for name in ("nothing.wav", "empty.wav", "text.mp3", "text.wav", "zeros.mp3", "x.raw", "."):
        with pytest.raises(AudioError) as caught:
            open_audio(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match="null"):
        open_audio("a\0b.wav")


def test_no_decoder_writes_to_the_terminal(tmp_path):
    (tmp_path / "text.mp3").write_text("These are words, not sound.\n" * 500)
    code = (
        "import sys\nfrom viso.audio import read\nfrom viso.errors import AudioError\n"
        "try: read(sys.argv[1])\nexcept AudioError: pass\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "text.mp3")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout + done.stderr == b""


def test_the_import_is_quiet():
    code = "import sys, viso.audio; print({'av', 'mutagen', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_files_without_samples_or_channels(tmp_path, noise):
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 44100)
    with pytest.raises(AudioError, match="no sample"):
        open_audio(tmp_path / "none.wav")
    soundfile.write(tmp_path / "a.flac", noise(1, 4000).T, 44100)
    head = bytearray((tmp_path / "a.flac").read_bytes()[:42])
    head[4] |= 0x80  # STREAMINFO is the last block, and nothing follows
    (tmp_path / "none.flac").write_bytes(head)
    with pytest.raises(AudioError):
        read(tmp_path / "none.flac")
    write(tmp_path / "a.wav", noise(1, 100), rate_hz=44100)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"fmt ") + 10
    data[at : at + 2] = b"\0\0"
    (tmp_path / "mute.wav").write_bytes(data)
    with pytest.raises(AudioError):
        open_audio(tmp_path / "mute.wav")


def test_permission(tmp_path, noise):
    path = tmp_path / "secret.wav"
    write(path, noise(1, 100), rate_hz=44100)
    path.chmod(0)
    try:
        with path.open("rb"):
            pytest.skip("this user may read everything")
    except PermissionError:
        pass
    with pytest.raises(AudioError, match="permissions"):
        open_audio(path)


def test_memory_does_not_grow_with_length(noise):
    """A long file costs no more than its blocks."""
    import tracemalloc

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write(path, np.tile(noise(2, 100_000), 30), rate_hz=44100, bit_depth="16")
        tracemalloc.start()
        with open_audio(path) as file:
            n = sum(block.shape[1] for block in file.blocks(block_size=4096))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert n == 3_000_000
    assert peak < 6_000_000  # the file holds 24 MB of float samples


def test_streamed_wav_sizes_are_tolerated(tmp_path, noise):
    write(tmp_path / "a.wav", noise(2, 5000), rate_hz=44100, bit_depth="16")
    whole, _ = read(tmp_path / "a.wav")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF, 0x7FFFF000):
        data[at : at + 4] = struct.pack("<I", size)
        data[4:8] = struct.pack("<I", size)
        (tmp_path / "pipe.wav").write_bytes(data)
        np.testing.assert_array_equal(read(tmp_path / "pipe.wav")[0], whole)


@pytest.mark.skipif(sys.platform != "linux", reason="names are not just bytes elsewhere")
@pytest.mark.parametrize("suffix", FORMATS)
def test_names_that_are_not_utf8(tmp_path, noise, suffix):
    path = tmp_path / f"caf\udce9.{suffix}"
    write(path, noise(1, 500), rate_hz=48000)
    assert read(path)[0].shape == (1, 500)
