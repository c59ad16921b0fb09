"""Decodes MP3, AAC, WMA, video and everything else that FFmpeg reads, through PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from viso.audio._blocks import Block
from viso.audio._integrity import DeclaredLength, no_such_track, truncated
from viso.errors import AudioError

__all__ = ["FfmpegDecoder"]

# Formats that open other files or addresses.
_LISTS = {"applehttp", "concat", "dash", "hls", "imf", "rtsp", "sdp"}
# Formats that store their duration; for the others FFmpeg guesses it from the bit rate.
_STATES_DURATION = {"aiff", "asf", "avi", "caf", "flac", "flv", "matroska", "mov", "tta", "wav"}
_STATES_DURATION |= {"w64", "wv"}
# Bare frames: tags and junk may come before the first frame and after the last.
_BARE = {"aac", "ac3", "eac3", "mp3"}
_ENCRYPTED_TAGS = {"aavd", "drmi", "drms", "enca", "encv", "p608"}
_LOSSLESS = {"alac", "ape", "flac", "mlp", "shorten", "tak", "truehd", "tta", "wavpack"}
_DURATION_TOLERANCE_S = 1.0
# In WAV order, 6.1 has the back centre before the left and right side (or back) channels.
_BACK_CENTRE_FIRST = [0, 1, 2, 3, 6, 4, 5]


class FfmpegDecoder:
    """Decodes one audio track once; see `viso.audio.AudioFile` for the attributes.

    FFmpeg removes the encoder delay at the start that the container states (LAME's header, MP4
    edit lists, Matroska's codec delay, Opus' pre-skip). It does not remove all of the padding at
    the end; `_end` does.
    """

    def __init__(self, path: Path, declared: DeclaredLength, *, track: int = 0) -> None:
        import av

        self._path = path
        self._declared = declared
        self._track = track
        try:
            # The first option keeps a disguised playlist from opening network addresses. The second
            # keeps pictures from being unpacked: a cover of 1 MB can take 1 GB.
            self._container = av.open(
                str(path.absolute()),
                options={
                    "protocol_whitelist": "file",
                    "codec_whitelist": _sound_decoders(),
                    "skip_initial_bytes": str(declared.start),
                },
                **_any_tags(),
            )
        except Exception as error:
            raise _refusal(
                path,
                error,
                f"not sound that libsndfile or FFmpeg can read ({_why(error)}); "
                "convert it to WAV or FLAC with the program it comes from",
            ) from error
        try:
            self._describe()
        except BaseException as error:
            self.close()
            if isinstance(error, Exception) and not isinstance(error, AudioError):
                raise _refusal(path, error, f"damaged ({_why(error)}); get a whole copy") from error
            raise

    def _describe(self) -> None:
        path, container = self._path, self._container
        self._format = container.format.name.split(",")[0]
        if self._format in _LISTS:
            raise AudioError(f"{path}: a playlist, not sound; pass the files that it names")
        if not container.streams.audio:
            raise AudioError(f"{path}: no audio track in this file; pass one that has sound")
        self.n_tracks: int = len(container.streams.audio)
        if self._track >= self.n_tracks:
            raise no_such_track(path, self._track, self.n_tracks)
        self._stream = container.streams.audio[self._track]
        codec = self._stream.codec_context
        if codec is None:
            raise AudioError(f"{path}: FFmpeg has no decoder for its audio track; convert it first")
        if (tag := _tag_of(codec)) in _ENCRYPTED_TAGS:
            raise AudioError(f"{path}: encrypted (DRM, {tag}); pass a copy without protection")
        # An MP4 track states its exact end only if its clock counts samples.
        is_sample = self._stream.time_base == Fraction(1, codec.sample_rate or 1)
        self._counts_samples = self._format == "mov" and is_sample
        self._frames = self._decode()
        self._first: Block | None = next(self._frames, None)
        if self._first is None:
            raise AudioError(f"{path}: holds no sample; get a whole copy")
        self.rate_hz: int = codec.sample_rate
        self.n_channels: int = self._first.shape[0]
        self.subtype: str = codec.codec.canonical_name
        self.n_samples = self._declared.n_samples if self._declared.is_exact else None
        duration_s = self.n_samples and self.n_samples / self.rate_hz
        self.duration_s: float | None = duration_s or self._stated_duration()
        self.bit_depth: int | None = None
        if self.subtype.startswith("pcm_"):
            digits = re.search(r"\d+", self.subtype)
            self.bit_depth = int(digits[0]) if digits else None
        elif self.subtype in _LOSSLESS and codec.format.bits < 32:  # 24 bits also appear as 32
            self.bit_depth = codec.format.bits

    def _stated_duration(self) -> float | None:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        whole = self._container.duration
        return whole / 1e6 if whole else None

    def chunks(self, start: int) -> Iterator[Block]:
        """Yield the samples from `start` to the end, decoded from the front."""
        position = 0
        waiting = self._first  # only the last chunk has no other after it
        self._first = None
        while waiting is not None:
            following = next(self._frames, None)
            block = waiting
            if following is None:
                block = block[:, : max(0, self._end(position + block.shape[1]) - position)]
            elif self._declared.is_exact:  # MP3 padding can be longer than the last frame
                block = block[:, : max(0, (self._declared.n_samples or 0) - position)]
            skip = min(block.shape[1], max(0, start - position))
            position += waiting.shape[1]
            if skip < block.shape[1]:
                yield block[:, skip:]
            waiting = following
        if position < (self._declared.n_samples or 0) - self._declared.slack:
            raise truncated(self._path, f"{self._declared.n_samples} samples", str(position))

    def _end(self, decoded: int) -> int:
        """Return where the sound ends within `decoded` samples; call it after the last packet."""
        end = decoded
        if self._declared.is_exact:
            end = min(end, self._declared.n_samples or end)
        if not self._counts_samples:
            return end
        # The duration of the last packet of an MP4 track excludes its padding.
        end -= max(0, self._last_frame - self._last_duration) if self._last_duration else 0
        # The container has one such entry, for the first track, however many tracks there are.
        itunes = self._container.metadata.get("iTunSMPB", "").split() if not self._track else []
        if len(itunes) > 3 and re.fullmatch("[0-9A-Fa-f]{1,16}", itunes[3]):
            stated = int(itunes[3], 16)
            end = stated if 0 < stated < end else end
        edit = self._stream.duration or end
        # An edit list often counts milliseconds: below one millisecond the packets are more exact.
        return edit if edit < end - self.rate_hz / 1000 else end

    def _decode(self) -> Iterator[Block]:
        """Yield every decoded frame; record the last packet's numbers; check the duration."""
        import av

        resampler = av.AudioResampler(format="flt")
        failure: Exception | None = None
        self._reached_s = 0.0
        self._last_frame = self._last_duration = n_decoded = 0
        for packet in self._packets():
            if self._counts_samples:
                _keep_end(packet)
            try:
                frames = packet.decode()
            except Exception as error:
                if not (self._format in _BARE or packet.size == 0):
                    raise self._damaged(n_decoded, error) from error
                # Junk around bare frames is harmless; junk between them is damage.
                failure = error if n_decoded else None
                continue
            if frames and failure is not None:
                raise self._damaged(n_decoded, failure) from failure
            n_packet = 0
            for frame in frames:
                block = self._to_block(frame, resampler, n_decoded)
                n_packet += block.shape[1]
                n_decoded += block.shape[1]
                if block.shape[1]:
                    yield block
            if n_packet:
                self._last_frame, self._last_duration = n_packet, packet.duration or 0
        self._check_duration(n_decoded)

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the chosen track; record how far the packets of all tracks reach."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except Exception as error:
                raise _refusal(
                    self._path,
                    error,
                    f"cut short or damaged: {_why(error)}; get a whole copy",
                ) from error
            if packet.pts is not None and packet.time_base:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._reached_s = max(self._reached_s, end_s)
            if (
                packet.is_corrupt and self._declared.kind != "wav"
            ):  # a WAV of unknown length ends with such a packet
                found = f"a part of it at {self._reached_s:.2f} s"
                raise truncated(self._path, "a whole packet", found)
            if packet.stream.index == self._stream.index:
                yield packet

    def _to_block(self, frame: Any, resampler: Any, n_decoded: int) -> Block:
        # Interleaved float: PyAV crashes on eight planes, because it looks for a ninth.
        n_channels = len(frame.layout.channels)
        try:
            packed = [part.to_ndarray() for part in resampler.resample(frame)]
        except Exception as error:
            raise _refusal(
                self._path,
                error,
                f"rate or channels change after {n_decoded} samples ({_why(error)}); "
                "split the file there",
            ) from error
        if not packed:
            return np.zeros((n_channels, 0), np.float32)
        data = np.concatenate(packed, axis=1).reshape(-1, n_channels)
        if frame.layout.name == "6.1(back)":
            data = data[:, _BACK_CENTRE_FIRST]
        return np.ascontiguousarray(data.T, dtype=np.float32)

    def _check_duration(self, n_decoded: int) -> None:
        """Raise if all tracks end clearly before the duration in the container."""
        whole = self._container.duration
        if self._format not in _STATES_DURATION or not whole:
            return
        stated_s = (whole + max(0, self._container.start_time or 0)) / 1e6
        if self._reached_s < stated_s - _DURATION_TOLERANCE_S:
            raise truncated(self._path, f"{stated_s:.2f} s", f"{self._reached_s:.2f} s")
        stream = self._stream
        if self._format == "mov" and stream.duration and n_decoded:
            stated_s = self._stated_duration() or 0.0
            found_s = n_decoded / stream.codec_context.sample_rate
            if found_s < stated_s - 0.1:
                raise truncated(self._path, f"{stated_s:.2f} s", f"{found_s:.2f} s")

    def _damaged(self, n_decoded: int, error: Exception) -> Exception:
        second = n_decoded / (self._stream.codec_context.sample_rate or 1)
        return _refusal(
            self._path,
            error,
            f"damaged at {second:.2f} s ({_why(error)}); get a whole copy, "
            "or convert it to WAV with another program",
        )

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._container.close()


def _any_tags() -> dict[str, Any]:
    """Return the options for files whose tags are not UTF-8; PyAV 19 and later needs none."""
    import av

    return {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def _keep_end(packet: Any) -> None:
    """Make FFmpeg decode an MP4 packet to its end; `FfmpegDecoder._end` finds the end of the sound.

    From libavformat 63 on, FFmpeg removes padding twice: by the track's duration and by iTunSMPB.
    """
    if not packet.has_sidedata("skip_samples"):
        return
    skipped = packet.get_sidedata("skip_samples")
    note = bytes(skipped)  # samples to skip at the start and at the end, 32 bits each
    if any(note[4:8]):
        skipped.update(note[:4] + bytes(4) + note[8:])
        packet.set_sidedata(skipped)


def _refusal(path: Path, error: Exception, message: str) -> Exception:
    """Return an error that states the fault of a file, or of PyAV."""
    import av

    if isinstance(error, av.error.FFmpegError | ValueError):
        return AudioError(f"{path}: {message}")
    if isinstance(error, MemoryError):
        return error
    return AudioError(
        f"{path}: PyAV {av.__version__} fails on it ({type(error).__name__}: {_why(error)}); "
        "install another version of av, or convert the file to WAV or FLAC"
    )


def _tag_of(codec: Any) -> str:
    """Return the four letters that name a codec in its container; empty if they are not text."""
    try:
        return str(codec.codec_tag)
    except UnicodeDecodeError:
        return ""


@cache
def _sound_decoders() -> str:
    """Return the names of FFmpeg's audio decoders in the form its options take."""
    from av.codec import Codec, codecs_available

    names = []
    for name in sorted(codecs_available):
        try:
            if Codec(name, "r").type == "audio":
                names.append(name)
        except ValueError:  # there is only an encoder
            continue
    return ",".join(names)


def _why(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
