"""A small file that claims 20 hours, 500 channels or a picture of a gigabyte costs next to nothing.

All of them are read in one child, which says what memory each of them took.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from helpers import hostile_files as hostile
from helpers.checkout import ROOT
from viso.audio import open_audio, read, read_tags, reading, write
from viso.errors import AudioError

BENCH = ROOT / "bench"
MOST_MB = 300
MOST_S = 3.0
ENTRIES = 60_000_000  # of 24 bytes each: FFmpeg would take them
INDEX = {
    b"stsz": struct.pack(">III", 0, 1, ENTRIES),
    b"stsc": struct.pack(">IIIII", 0, 1, 1, ENTRIES, 1),
    b"stco": struct.pack(">III", 0, 1, 48),
}

READER = """
import json, sys, time
from pathlib import Path
from fuzzing.child import _peak_mb, examine
for path in map(Path, sys.argv[1:]):
    _peak_mb()
    began = time.process_time()
    found = examine(path)
    found |= {"name": path.name, "busy_s": time.process_time() - began, "peak_mb": _peak_mb()}
    print(json.dumps(found))
"""


def make_all(folder: Path) -> None:
    whole = folder / "sound.mp3"
    write(whole, hostile.noise(4410), rate_hz=hostile.RATE)
    sound = whole.read_bytes()
    whole.unlink()
    picture = b"\0image/png\0\x03\0" + hostile.png(16_000)
    chunks = {b"stts": struct.pack(">IIII", 0, 1, 30_000, 1), **INDEX}
    chunks[b"stsz"] = struct.pack(">III", 0, 1, 30_000)
    chunks[b"stsc"] = struct.pack(">IIIII", 0, 1, 1, 0x7FFFFFFF, 1)
    chunks[b"stco"] = struct.pack(">II40I", 0, 40, *range(48, 88))
    tables = struct.pack(">I4s", 8 << 18, b"moov") + (b"\0\x08\0\0stsc" * ((1 << 18) - 1))
    cases = {
        "index.m4a": hostile.mp4(folder, INDEX),
        "chunks.m4a": hostile.mp4(folder, chunks),
        "hours.m4a": hostile.mp4(
            folder, {b"stts": struct.pack(">IIII", 0, 1, 45, hostile.HOURS_20)}
        ),
        "nested.m4a": hostile.nested(b"moov", 5000),
        "boxes.m4a": hostile.nested(b"free", 1) + struct.pack(">I4s", 8, b"free") * 100_000,
        "cover.mp3": hostile.id3(b"APIC", picture) + sound,
        "title.mp3": hostile.packed_tag(400_000_000) + sound,
        "short-title.mp3": hostile.packed_tag(60_000_000) + sound,
        "titles.mp3": hostile.id3(b"TXXX", b"\0") + sound,
        "comments.flac": hostile.flac(2, comments=60_000),
        "some-comments.flac": hostile.flac(2, comments=15_000),
        "channels-500.wav": hostile.wav(n_channels=500),
        "channels-1024.wav": hostile.wav(n_channels=1024),
        "channels-65535.wav": hostile.wav(n_channels=65_535),
        "rate.wav": hostile.wav(rate_hz=2_000_000),
        "chunks.wav": hostile.wav(extra=b"JUNK\0\0\0\0" * 50_000),
        "tag.wav": hostile.wav(
            form=b"RF64", extra=b"ds64" + struct.pack("<IQQQI", 28, 0, 1 << 62, 0, 0)
        ).replace(b"data\x14\0\0\0", b"data\xff\xff\xff\xff"),
        "tables.m4a": hostile.nested(b"moov", 0) + tables,
        "pages.ogg": hostile.page(b"OggS", 2) + hostile.page(b"XggS") * 40_000 + b"OggS",
        "hours.wav": hostile.wav()[:-24]
        + b"data"
        + struct.pack("<I", 2 * hostile.HOURS_20 % 2**32),
    }
    for name, data in cases.items():
        (folder / name).write_bytes(data)
    (folder / "whole.m4a").unlink()
    assert b"\xff\xff\xff\xff" in cases["tag.wav"]
    frames = b"".join(b"TXXX" + struct.pack(">IH", 9, 0) + b"\0%07d\0" % n for n in range(300_000))
    size = bytes(len(frames) >> shift & 127 for shift in (21, 14, 7, 0))
    (folder / "titles.mp3").write_bytes(b"ID3\x03\0\0" + size + frames + sound)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells the memory of each file")
    folder = tmp_path_factory.mktemp("bombs")
    make_all(folder)
    words = [sys.executable, "-c", READER, *map(str, sorted(folder.iterdir()))]
    paths = os.pathsep.join([str(BENCH), *filter(None, sys.path)])
    told = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=280
    )
    assert told.returncode == 0, told.stderr
    return {one["name"]: one for one in map(json.loads, told.stdout.splitlines())}


SOUND = {"cover.mp3", "title.mp3", "short-title.mp3", "titles.mp3", "comments.flac"}
SOUND |= {"some-comments.flac"}


def test_all_cost_next_to_nothing(found):
    assert len(found) >= 19
    for name, one in found.items():
        assert one["peak_mb"] < MOST_MB, one
        assert one["busy_s"] < MOST_S, one
        assert one["outcome"] == ("sound" if name in SOUND else "refused"), one


@pytest.mark.parametrize(("name", "reason"), [
    ("index.m4a", "claims 60000000 samples in"),
    ("chunks.m4a", "its index claims"),
    ("channels-500.wav", "500 channels"),
    ("rate.wav", "2000000 Hz"),
    ("chunks.wav", "10000 chunks"),
    ("pages.ogg", "a page at byte 27"),
    ("hours.wav", "promised"),
])  # fmt: skip
def test_what_is_said_of_them(found, name, reason):
    assert reason in found[name]["detail"]


def test_fragments_that_claim_samples(tmp_path):
    sys.path.append(str(BENCH))
    from fuzzing.seeds import make_seeds

    data = make_seeds()["mp4-fragments.mp4"]
    at = data.index(b"trun")
    whole = tmp_path / "whole.mp4"
    whole.write_bytes(data)
    assert read(whole)[0].shape[1] >= 4096
    bomb = tmp_path / "bomb.mp4"
    bomb.write_bytes(data[: at + 4] + struct.pack(">II", 0, ENTRIES) + data[at + 12 :])
    with pytest.raises(AudioError, match=r"bomb\.mp4: damaged: its index claims"):
        open_audio(bomb)


def test_twenty_hours_of_silence_are_streamed_and_not_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "night.flac"
    n_frames = -(-hostile.HOURS_20 // 65_535)
    path.write_bytes(hostile.flac(n_frames))
    assert path.stat().st_size < 1_000_000
    with open_audio(path) as song:
        assert song.duration_s == pytest.approx(20 * 3600, abs=2)
        for n_blocks, block in enumerate(song.blocks()):
            assert not block.any()
            if n_blocks == 50:
                break
    part, _ = read(path, duration_s=10)
    assert part.shape == (1, 10 * hostile.RATE)
    monkeypatch.setattr(reading, "_LARGE_BYTES", 1 << 20)
    monkeypatch.setattr(reading, "_LARGEST_RATIO", 20)
    with pytest.raises(AudioError, match=r"night\.flac: unpacks to more than 20 times"):
        read(path)


def test_many_channels_that_are_there(tmp_path, noise):
    path = tmp_path / "a.wav"
    write(path, noise(32, 500), rate_hz=48_000)
    assert read(path)[0].shape == (32, 500)
    write(path, noise(33, 500), rate_hz=48_000)
    with pytest.raises(AudioError, match="33 channels"):
        open_audio(path)


def test_a_note_of_itunes_that_is_no_number(tmp_path, noise):
    from mutagen.mp4 import MP4

    path = tmp_path / "a.m4a"
    write(path, noise(2, 5000), rate_hz=44_100)
    plain, _ = read(path)
    for note in (" 00000000 00000840 000001C0 zzzz", " 0 0 0 -5", " 0 0 0 " + "f" * 5000):
        song = MP4(path)
        song["----:com.apple.iTunes:iTunSMPB"] = [note.encode()]
        song.save()
        np.testing.assert_array_equal(read(path)[0], plain)


def test_a_codec_whose_name_is_no_text(tmp_path, noise):
    path = tmp_path / "a.m4a"
    write(path, noise(2, 5000), rate_hz=44_100)
    data = path.read_bytes()
    at = data.rindex(b"mp4a", 0, data.rindex(b"esds"))
    plain, _ = read(path)
    path.write_bytes(data[:at] + b"\xff\xfe\x80a" + data[at + 4 :])
    np.testing.assert_array_equal(read(path)[0], plain)


def test_tags_that_are_allowed_stay(tmp_path, noise):
    from mutagen.id3 import APIC, ID3, TXXX

    path = tmp_path / "a.mp3"
    write(path, noise(2, 5000), rate_hz=44_100)
    tag = ID3()
    picture = np.random.default_rng(0).bytes(12_000_000)
    tag.add(APIC(encoding=3, mime="image/jpeg", type=3, desc="", data=picture))
    for n in range(500):
        tag.add(TXXX(encoding=3, desc=f"note {n}", text=["x" * 300]))
    tag.save(path)
    assert len(read_tags(path)) == 500
    packed = zlib.compress(b"\0A title of some words")
    body = struct.pack(">I", 22) + packed
    path.write_bytes(hostile.id3(b"TIT2", body, flags=0x0080) + path.read_bytes())
    assert read_tags(path)["title"] == "A title of some words"
