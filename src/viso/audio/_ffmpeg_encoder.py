"""Encodes AAC in an MP4 file, and MP3 with a header that states its length, through PyAV."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, cast

import numpy as np

from viso.audio._blocks import Block
from viso.audio._sink import Sink

__all__ = ["AacEncoder", "Mp3Encoder"]

# FFmpeg's names for the layouts of 1, 2, ... 8 channels in WAV order.
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
_FRAME = 8192  # samples passed at once; PyAV cuts them into the frames of the codec
_LAME_DELAY = 576  # samples that LAME puts before the sound; a decoder adds 529


class _FfmpegEncoder:
    """One audio stream in a container."""

    def __init__(
        self,
        sink: Sink,
        *,
        codec: str,
        container: str,
        options: dict[str, str],
        rate_hz: int,
        n_channels: int,
        bitrate_bps: int,
    ) -> None:
        import av

        self._rate_hz = rate_hz
        self._layout = _LAYOUTS[n_channels - 1]
        self._n_samples = 0
        options = {"fflags": "+bitexact", **options}
        self._container = av.open(sink, "w", format=container, options=options)
        self._stream = cast("Any", self._container.add_stream(codec, rate=rate_hz))
        self._stream.layout = self._layout
        self._stream.codec_context.format = "fltp"  # LAME takes integers by default, which clip
        self._stream.bit_rate = bitrate_bps

    def write(self, block: Block) -> None:
        from av import AudioFrame

        for start in range(0, block.shape[1], _FRAME):
            # Interleaved: PyAV crashes on eight planes, because it looks for a ninth.
            packed = np.ascontiguousarray(block[:, start : start + _FRAME].T).reshape(1, -1)
            frame = AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate = self._rate_hz
            frame.pts = self._n_samples
            frame.time_base = Fraction(1, self._rate_hz)
            self._n_samples += frame.samples
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class AacEncoder(_FfmpegEncoder):
    """AAC in an MP4 file (.m4a), with FFmpeg's encoder."""

    def __init__(self, sink: Sink, *, rate_hz: int, n_channels: int, bitrate_bps: int) -> None:
        # The edit list counts in the movie's time scale. Milliseconds, the usual scale, cannot
        # state the last sample, and a sound of one sample would be empty.
        super().__init__(
            sink,
            codec="aac",
            container="ipod",
            options={"movie_timescale": str(rate_hz)},
            rate_hz=rate_hz,
            n_channels=n_channels,
            bitrate_bps=bitrate_bps,
        )


class Mp3Encoder(_FfmpegEncoder):
    """MP3 of constant bit rate, with LAME.

    FFmpeg writes a header with delay and padding before the sound, but counts only the padding
    of the last frame: one sample would be read back as 47. `finish` corrects it.
    """

    def __init__(self, sink: Sink, *, rate_hz: int, n_channels: int, bitrate_bps: int) -> None:
        super().__init__(
            sink,
            codec="libmp3lame",
            container="mp3",
            options={"id3v2_version": "0"},
            rate_hz=rate_hz,
            n_channels=n_channels,
            bitrate_bps=bitrate_bps,
        )
        self._sink = sink
        self._frame_size = 1152 if rate_hz >= 32_000 else 576

    def finish(self) -> None:
        super().finish()
        self._sink.seek(0)
        header = bytearray(self._sink.read(256))
        at = header.find(b"Info", 4, 40)
        if at < 0:
            raise RuntimeError("FFmpeg has written no header")
        # Info, flags, frames, bytes, 100 bytes of seek table, quality; then LAME's own fields
        n_frames = struct.unpack(">I", header[at + 8 : at + 12])[0]
        lame = at + 120
        padding = n_frames * self._frame_size - _LAME_DELAY - self._n_samples
        header[lame : lame + 9] = b"LAME3.100"
        header[lame + 21 : lame + 24] = (_LAME_DELAY << 12 | padding).to_bytes(3, "big")
        header[lame + 34 : lame + 36] = _crc16(header[: lame + 34]).to_bytes(2, "big")
        self._sink.seek(0)
        self._sink.write(bytes(header))
        self._sink.seek(0, 2)


def _crc16(data: bytes | bytearray) -> int:
    """Return the checksum of LAME's header: polynomial 0x8005, bits reversed."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 * (crc & 1)
    return crc
