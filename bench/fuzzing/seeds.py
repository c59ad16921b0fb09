"""Whole files that the damaged ones are made from: small, of every kind, written here."""

from __future__ import annotations

import struct
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from viso.audio import copy_tags, write

__all__ = ["KINDS", "make_seeds"]

KINDS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "mp4")
"""What most of the inputs are made from; the rest, from `make_seeds`' other names."""

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def make_seeds() -> dict[str, bytes]:
    """Return the files by a name that begins with their kind, always in the same order."""
    with tempfile.TemporaryDirectory(prefix="viso-seeds-") as folder:
        return {path.name: path.read_bytes() for path in _write_all(Path(folder))}


def _noise(n_channels: int, n_samples: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(n_channels)
    sound = random.standard_normal((n_channels, n_samples)).cumsum(axis=1)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


def _write_all(folder: Path) -> list[Path]:
    made = []
    for n_channels, n_samples, rate_hz in ((2, 2500, 44_100), (1, 1200, 16_000), (6, 800, 48_000)):
        for kind in ("wav", "flac", "mp3", "ogg", "opus", "m4a"):
            if kind == "mp3" and n_channels > 2:
                continue
            path = folder / f"{kind}-{n_channels}.{kind}"
            write(path, _noise(n_channels, n_samples), rate_hz=rate_hz)
            made.append(path)
    made.append(folder / "wav-float.wav")
    write(made[-1], _noise(2, 500), rate_hz=44_100, bit_depth="float")
    for path in made[:6]:
        _tag(path)
    for form, suffix, subtype in (
        ("RF64", "wav", "PCM_16"),
        ("AIFF", "aiff", "PCM_24"),
        ("CAF", "caf", "PCM_16"),
        ("W64", "w64", "PCM_16"),
        ("WAV", "wav", "IMA_ADPCM"),
        ("AU", "au", "ULAW"),
    ):
        made.append(folder / f"{suffix}-{form.lower()}-{subtype.lower()}.{suffix}")
        soundfile.write(made[-1], _noise(2, 1000).T, 44_100, format=form, subtype=subtype)
    for name, codec, form in (
        ("mka-flac.mka", "flac", "matroska"),
        ("webm-opus.webm", "libopus", "webm"),
        ("wma-2.wma", "wmav2", "asf"),
        ("aac-adts.aac", "aac", "adts"),
        ("m4a-alac.m4a", "alac", "ipod"),
        ("mp4-fragments.mp4", "aac", "mp4"),
        ("avi-mp2.avi", "mp2", "avi"),
        ("wv-2.wv", "wavpack", "wv"),
        ("ogg-flac.ogg", "flac", "ogg"),
    ):
        made.append(folder / name)
        _encode(made[-1], codec=codec, form=form, is_film=False)
    made.append(folder / "mp4-film.mp4")
    _encode(made[-1], codec="aac", form="mp4", is_film=True)
    return made


def _tag(path: Path) -> None:
    """Give a file tags and, beside them, a cover where its format takes one."""
    tags = {"title": "a title", "artist": "somebody", "tracknumber": "3/12", "iTunSMPB": " 0 0 0"}
    from mutagen.id3 import APIC, ID3

    carrier = path.with_name("carrier.mp3")
    write(carrier, _noise(1, 100), rate_hz=44_100)
    covered = ID3()
    covered.add(APIC(encoding=3, mime="image/png", type=3, desc="", data=_PNG))
    covered.save(carrier)
    copy_tags(carrier, path, extra=tags)
    carrier.unlink()
    if path.suffix == ".mp3":
        path.write_bytes(path.read_bytes() + b"TAG" + struct.pack("125s", b"an old tag"))


def _encode(path: Path, *, codec: str, form: str, is_film: bool) -> None:
    import av

    movie = {"movflags": "frag_keyframe+empty_moov"} if "fragments" in path.name else {}
    sound = _noise(2, 4096)
    with av.open(str(path), "w", format=form, options={**movie, "fflags": "+bitexact"}) as file:
        picture: Any = file.add_stream("mpeg4", rate=10) if is_film else None
        stream: Any = file.add_stream(codec, rate=48_000)
        stream.layout, stream.bit_rate = "stereo", 128_000
        if is_film:
            picture.width = picture.height = 16
            picture.pix_fmt = "yuv420p"
            grey = np.full((16, 16, 3), 99, np.uint8)
            file.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            file.mux(picture.encode(None))
        for start in range(0, sound.shape[1], 1024):
            packed = np.ascontiguousarray(sound[:, start : start + 1024].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
