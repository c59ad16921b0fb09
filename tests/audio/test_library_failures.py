"""A library that fails in a way of its own: one line that says so, never its traceback."""

from __future__ import annotations

import av
import mutagen.flac
import numpy as np
import pytest
import soundfile

from viso.audio import AudioWriter, copy_tags, open_audio, write
from viso.errors import AudioError

RATE = 44_100


def fail(*_, **__):
    raise TypeError("open() got an unexpected keyword argument\nand a second line")


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def told(call):
    with pytest.raises(AudioError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def drain(path):
    with open_audio(path) as file:
        for _ in file.blocks():
            pass


@pytest.mark.parametrize("name", ["open", "AudioResampler"])
def test_pyav_that_knows_other_arguments(tmp_path, noise, monkeypatch, name):
    path = tmp_path / "a: b.m4a"
    write(path, noise(2, 5000), rate_hz=RATE)
    monkeypatch.setattr(av, name, fail)
    message = told(lambda: drain(path))
    assert message.startswith(f"{path}: PyAV {av.__version__} fails on it (TypeError: open() got")
    assert "another version of av" in message


def test_soundfile_that_fails_at_opening(tmp_path, noise, monkeypatch):
    path = tmp_path / "a.flac"
    write(path, noise(2, 5000), rate_hz=RATE)
    monkeypatch.setattr(soundfile.SoundFile, "__init__", fail)
    drain(path)  # FFmpeg reads it, too


def test_soundfile_that_fails_in_the_middle(tmp_path, noise, monkeypatch):
    path = tmp_path / "a.flac"
    write(path, noise(2, 200_000), rate_hz=RATE)
    with open_audio(path) as file:
        blocks = file.blocks(block_size=1000)
        next(blocks)
        monkeypatch.setattr(soundfile.SoundFile, "read", fail)
        assert "a.flac" in told(lambda: list(blocks))


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "opus", "m4a"])
def test_encoders(tmp_path, noise, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    writer = AudioWriter(path, rate_hz=48_000, n_channels=2)
    monkeypatch.setattr(writer._encoder, "write", fail)
    assert f"a.{suffix}" in told(lambda: writer.write(noise(2, 5000)))
    writer.abort()
    for library, name in ((soundfile.SoundFile, "__init__"), (av, "open")):
        monkeypatch.setattr(library, name, fail)
    monkeypatch.setattr(av.CodecContext, "create", fail, raising=False)
    assert f"a.{suffix}" in told(lambda: AudioWriter(path, rate_hz=48_000, n_channels=2))
    assert leftovers(tmp_path) == []


def test_encoders_at_the_end(tmp_path, noise, monkeypatch):
    writer = AudioWriter(tmp_path / "a.flac", rate_hz=RATE, n_channels=2)
    writer.write(noise(2, 5000))
    finish = writer._encoder.finish

    def finish_and_fail():
        finish()
        fail()

    monkeypatch.setattr(writer._encoder, "finish", finish_and_fail)
    assert "a.flac" in told(writer.finish)
    assert leftovers(tmp_path) == []


def test_memory_that_ends_is_told_as_such(tmp_path, noise, monkeypatch):
    def much(*_, **__):
        raise MemoryError

    path = tmp_path / "a.m4a"
    write(path, noise(2, 5000), rate_hz=RATE)
    monkeypatch.setattr(av, "open", much)
    with pytest.raises(MemoryError):
        drain(path)


def test_tags(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    write(path, np.zeros((1, 100), np.float32), rate_hz=RATE)
    monkeypatch.setattr(mutagen.flac.FLAC, "save", fail)
    assert "a.flac: its tags cannot be written" in told(
        lambda: copy_tags(path, path, extra={"a": "b"})
    )
