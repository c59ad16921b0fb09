"""Encoders: viso's own for WAV, libsndfile for FLAC and Ogg, FFmpeg for MP3 and AAC."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from viso.audio import _formats
from viso.audio._blocks import Block
from viso.audio._ffmpeg_encoder import AacEncoder, Mp3Encoder
from viso.audio._integrity import ogg_crc
from viso.audio._sink import Sink
from viso.audio._sndfile import VORBIS_ORDER

__all__ = ["Encoder", "SndfileEncoder", "WavEncoder", "quantise"]

# A larger WAV becomes RF64; 16 MiB below 4 GiB leave room for tags and a cover.
RIFF_LIMIT = (1 << 32) - (1 << 24)

_SND_CHUNK = 4096  # libvorbis allocates blocks on the stack; a long one crashes the process


class Encoder(Protocol):
    """What the writer needs from an encoder."""

    def write(self, block: Block) -> None:
        """Encode a block [shape=(channels, samples)]."""

    def finish(self) -> None:
        """Write the remaining samples and the final header; leave the sink open."""


def quantise(block: Block, bits: int) -> npt.NDArray[np.int32]:
    """Scale by ``2 ** (bits - 1)``, round to integers of `bits` bits and saturate.

    libsndfile multiplies by ``2 ** (bits - 1) - 1`` when it writes and divides by
    ``2 ** (bits - 1)`` when it reads. With one scale for both, integers survive the round trip.
    """
    full = np.float32(1 << (bits - 1))
    rounded = np.clip(np.rint(block * full), -full, full - 1)
    return np.asarray(rounded, dtype=np.int32)


class WavEncoder:
    """WAV with 16 or 24 bits or float samples, WAVEX above two channels, RF64 above 4 GiB.

    The header reserves space for RF64's ds64 chunk (EBU Tech 3306), so the length need not be
    known beforehand.
    """

    def __init__(self, sink: Sink, *, rate_hz: int, n_channels: int, bit_depth: str) -> None:
        self._sink = sink
        self._bits = 32 if bit_depth == "float" else int(bit_depth)
        self._is_float = bit_depth == "float"
        self._rate_hz = rate_hz
        self._n_channels = n_channels
        self._n_bytes = 0
        sink.write(self._header())

    def write(self, block: Block) -> None:
        if self._is_float:
            data = block.T.astype("<f4").tobytes()
        else:
            integers = np.ascontiguousarray(quantise(block, self._bits).T.astype("<i4"))
            n_bytes = self._bits // 8
            data = integers.view(np.uint8).reshape(*integers.shape, 4)[..., :n_bytes].tobytes()
        self._n_bytes += len(data)
        self._sink.write(data)

    def finish(self) -> None:
        self._sink.write(b"\0" * (self._n_bytes % 2))
        self._sink.seek(0)
        self._sink.write(self._header())
        self._sink.seek(0, 2)

    def _header(self) -> bytes:
        n_bytes = self._n_bytes
        block_align = self._n_channels * self._bits // 8
        n_samples = n_bytes // block_align
        tag = 3 if self._is_float else 1
        is_wide = self._n_channels > 2
        fmt = struct.pack(
            "<HHIIHH",
            0xFFFE if is_wide else tag,
            self._n_channels,
            self._rate_hz,
            self._rate_hz * block_align,
            block_align,
            self._bits,
        )
        if is_wide:
            guid = bytes.fromhex("000000001000800000aa00389b71")
            mask = _SPEAKERS.get(self._n_channels, 0)
            fmt += struct.pack("<HHIH", 22, self._bits, mask, tag) + guid
        elif self._is_float:
            fmt += struct.pack("<H", 0)
        is_big = n_bytes + 1024 > RIFF_LIMIT
        chunks = _chunk(b"fmt ", fmt)
        if self._is_float:
            chunks += _chunk(b"fact", struct.pack("<I", min(n_samples, 0xFFFFFFFF)))
        riff_size = 4 + 36 + len(chunks) + 8 + n_bytes + n_bytes % 2
        if is_big:
            sizes = struct.pack("<QQQI", riff_size, n_bytes, n_samples, 0)
            start = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + _chunk(b"ds64", sizes)
            return start + chunks + b"data" + struct.pack("<I", 0xFFFFFFFF)
        start = b"RIFF" + struct.pack("<I", riff_size) + b"WAVE" + _chunk(b"JUNK", bytes(28))
        return start + chunks + b"data" + struct.pack("<I", n_bytes)


# Channel masks of the usual layouts: 3.0, quad, 5.0, 5.1, 6.1, 7.1.
_SPEAKERS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


class SndfileEncoder:
    """FLAC, Ogg Vorbis and Opus through libsndfile."""

    def __init__(
        self,
        sink: Sink,
        format_name: str,
        *,
        rate_hz: int,
        n_channels: int,
        bit_depth: str,
        bitrate_bps: int | None,
    ) -> None:
        self._sink = sink
        self._bits = int(bit_depth) if format_name == "flac" else None
        self._is_ogg = format_name in ("ogg", "opus")
        self._order = list(VORBIS_ORDER.get(n_channels, ())) if self._is_ogg else []
        options: dict[str, Any] = {
            "flac": {"format": "FLAC", "subtype": f"PCM_{bit_depth}"},
            "ogg": {"format": "OGG", "subtype": "VORBIS"},
            "opus": {"format": "OGG", "subtype": "OPUS"},
        }[format_name]
        if format_name == "ogg":
            options["compression_level"] = _formats.vorbis_level(n_channels, bitrate_bps)
        elif format_name == "opus":
            options["compression_level"] = _formats.opus_level(n_channels, bitrate_bps)
        self._file = soundfile.SoundFile(sink, "w", rate_hz, n_channels, **options)

    def write(self, block: Block) -> None:
        data: npt.NDArray[Any]
        if self._bits is not None:
            # libsndfile takes the upper bits of 32
            data = quantise(block, self._bits) << (32 - self._bits)
        else:
            data = block[self._order] if self._order else block
        data = np.ascontiguousarray(data.T)
        for start in range(0, len(data), _SND_CHUNK):
            self._file.write(data[start : start + _SND_CHUNK])

    def finish(self) -> None:
        self._file.close()
        if self._is_ogg:
            self._sink.flush()
            _settle_serial(self._sink)


def _settle_serial(sink: Sink) -> None:
    """Set the random serial number of an Ogg stream to 1: equal input then gives equal bytes."""
    position = 0
    while True:
        sink.seek(position)
        header = sink.read(27)
        if len(header) < 27:
            break
        table = sink.read(header[26])
        body = sink.read(sum(table))
        page = bytearray(header + table + body)
        page[14:18] = struct.pack("<I", 1)
        page[22:26] = bytes(4)
        page[22:26] = ogg_crc(bytes(page))
        sink.seek(position)
        sink.write(page)
        position += len(page)
    sink.seek(0, 2)


def encoder_for(
    sink: Sink,
    format_name: str,
    *,
    rate_hz: int,
    n_channels: int,
    bit_depth: str,
    bitrate_bps: int | None,
) -> Encoder:
    """Return the encoder of a format, with its header already written."""
    if format_name == "wav":
        return WavEncoder(sink, rate_hz=rate_hz, n_channels=n_channels, bit_depth=bit_depth)
    if format_name == "m4a":
        aac_bps = _formats.aac_bps(rate_hz, n_channels, bitrate_bps)
        return AacEncoder(sink, rate_hz=rate_hz, n_channels=n_channels, bitrate_bps=aac_bps)
    if format_name == "mp3":
        mp3_bps = _formats.mp3_bps(rate_hz, bitrate_bps)
        return Mp3Encoder(sink, rate_hz=rate_hz, n_channels=n_channels, bitrate_bps=mp3_bps)
    return SndfileEncoder(
        sink,
        format_name,
        rate_hz=rate_hz,
        n_channels=n_channels,
        bit_depth=bit_depth,
        bitrate_bps=bitrate_bps,
    )
