"""A decoder in a process of its own: the same samples, and nothing it does reaches this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from viso import Separator
from viso.audio import AudioInfo, inspect_isolated, open_audio, open_isolated, write
from viso.audio.isolated._decoder import Decoder
from viso.errors import AudioError

RATE = 44_100
unix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit memory")


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("song") / "a song ü.mp3"
    sound = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 5 * RATE)).astype(np.float32)
    write(path, sound, rate_hz=RATE)
    return path


def whole(file, **region):
    with closing(file.blocks(**region)) as blocks:
        return np.concatenate(list(blocks), axis=1)


def is_gone(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_the_same_bits_and_the_same_words(tmp_path, noise, suffix):
    path = tmp_path / f"song.{suffix}"
    write(path, noise(2, 70_000), rate_hz=RATE)
    with open_audio(path) as here, open_isolated(path) as there:
        for name in ("path", "track", "rate_hz", "n_channels", "n_tracks", "n_samples", "subtype"):
            assert getattr(here, name) == getattr(there, name)
        assert (here.duration_s, here.bit_depth) == (there.duration_s, there.bit_depth)
        np.testing.assert_array_equal(whole(there), whole(here))
        region = {"block_size": 999, "start_s": 0.3, "duration_s": np.float32(0.25)}
        blocks = list(there.blocks(**region))
        assert {block.shape for block in blocks[:-1]} == {(2, 999)}
        assert blocks[0].dtype == np.float32
        blocks[0][:] = 0  # it is ours
        np.testing.assert_array_equal(
            np.concatenate(blocks[1:], axis=1), whole(here, **region)[:, 999:]
        )


def test_passes_at_the_same_time(song):
    with open_isolated(song) as file:
        pairs = zip(file.blocks(), file.blocks(), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("case", ["none", "cut", "empty", "track", "region", "size"])
def test_errors_are_those_of_the_reader(tmp_path, noise, case):
    path = tmp_path / "a.flac"
    if case != "none":
        write(path, noise(2, 50_000), rate_hz=RATE)
    if case in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 60_000 if case == "cut" else 0])
    how = {"track": 3} if case == "track" else {}
    region = {"region": {"start_s": 9.0}, "size": {"block_size": 0}}.get(case, {})
    told = []
    for opener in (open_audio, open_isolated):
        with pytest.raises(AudioError) as caught, opener(path, **how) as file:
            list(file.blocks(**region))
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_looks_are_what_the_reader_says(song, tmp_path, noise):
    other, bad = tmp_path / "b.flac", tmp_path / "bad.mp3"
    write(other, noise(1, 9000), rate_hz=48_000)
    bad.write_bytes(b"no sound")
    paths = [song, bad, other, tmp_path / "none.wav", song]
    found = list(inspect_isolated(paths))
    for path, facts in zip(paths, found, strict=True):
        try:
            with open_audio(path) as file:
                assert facts == AudioInfo(file.rate_hz, file.n_channels, file.duration_s)
        except AudioError as error:
            assert str(facts) == str(error)
    assert [isinstance(one, AudioError) for one in found] == [False, True, False, True, False]


@unix
def test_looks_go_on_behind_a_file_that_crashes(song, monkeypatch):
    ids = []
    opened = Decoder.open

    def crashed(self, path, **how):
        ids.append(self.id)
        if len(ids) == 2:
            os.kill(self.id, signal.SIGSEGV)
        opened(self, path, **how)

    monkeypatch.setattr(Decoder, "open", crashed)
    found = list(inspect_isolated([song] * 4))
    assert "died (signal 11)" in str(found[1])
    assert found[0] == found[2] == found[3]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert all(map(is_gone, ids))


@unix
def test_a_decoder_that_dies_midway(song):
    with open_isolated(song) as file:
        process_id = file._idle.id
        blocks = file.blocks(block_size=2000)
        next(blocks)
        os.kill(process_id, signal.SIGKILL)
        with pytest.raises(AudioError, match=r"song ü\.mp3: its decoder died \(signal 9\)"):
            list(blocks)
        assert is_gone(process_id)
        assert whole(file).shape == (2, 5 * RATE)  # another pass has another child


@unix
def test_a_decoder_that_stops(song):
    file = open_isolated(song, patience_s=30)
    process_id = file._idle.id
    file._idle._patience_s = 0.2
    os.kill(process_id, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AudioError, match=r"its decoder gave nothing for 0\.2 s"):
        list(file.blocks())
    assert time.monotonic() - began < 60
    assert is_gone(process_id)


def test_a_timer_that_can_no_longer_be_cancelled(song, monkeypatch):
    """A timer checks whether it is cancelled, then acts; the read may succeed in between."""
    n_late = []

    class LateTimer:
        def __init__(self, _, function, args=()):
            self.act = lambda: function(*args)

        def start(self):
            pass

        def cancel(self):
            n_late.append(1)
            self.act()

    with open_audio(song) as file:
        expected = whole(file)
    monkeypatch.setattr(threading, "Timer", LateTimer)
    with open_isolated(song) as file:
        np.testing.assert_array_equal(whole(file), expected)
    assert len(n_late) > 4


@linux
def test_a_decoder_that_wants_much_memory(tmp_path):
    path = tmp_path / "a.wav"
    write(path, np.zeros((32, 70_000), np.float32), rate_hz=RATE)
    with open_isolated(path, memory_bytes=64 << 20) as file:
        assert whole(file).shape == (32, 70_000)
    with (
        pytest.raises(
            AudioError, match=r"a\.wav: (takes more than 1 MB of memory|its decoder died)"
        ),
        open_isolated(path, memory_bytes=1 << 20) as file,
    ):
        list(file.blocks())


@unix
def test_nobody_is_left_behind(song):
    with open_isolated(song) as file:
        ids = [file._idle.id]
    blocks = open_isolated(song)
    ids.append(blocks._idle.id)
    stream = blocks.blocks()
    next(stream)
    stream.close()
    assert all(map(is_gone, ids))
    with pytest.raises(AudioError, match="already closed"):
        list(file.blocks())


def test_modules_in_the_current_folder_are_not_run(song, tmp_path, monkeypatch):
    for name in ("json", "numpy", "types", "soundfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with open_isolated(song) as file:
        assert file.n_channels == 2


def test_a_separator_that_isolates(tmp_path, mask_model, song):
    found = []
    for isolated in (False, True):
        separator = Separator(mask_model, isolated=isolated, threads=1)
        target = tmp_path / f"{isolated}" / "vocals.wav"
        for _ in separator.to_files(song, {"vocals": target}, duration_s=2.0):
            pass
        found.append(target.read_bytes())
    assert found[0] == found[1]
