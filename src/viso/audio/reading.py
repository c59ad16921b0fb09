"""Reads a sound file of any format block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from viso.audio._blocks import Block, reblock
from viso.audio._ffmpeg import FfmpegDecoder
from viso.audio._integrity import inspect
from viso.audio._opening import check_readable, limited, open_decoder
from viso.errors import AudioError

__all__ = ["AudioFile", "open_audio", "read"]

# A larger number means a damaged header, or an attempt to exhaust memory.
MOST_CHANNELS, HIGHEST_HZ = 32, 768_000

# A second of silence takes 2 bytes in FLAC and 350,000 in memory; music never shrinks that much.
_LARGE_BYTES, _LARGEST_RATIO = 1 << 30, 2_000


def open_audio(path: str | os.PathLike[str], *, track: int = 0) -> AudioFile:
    """Open a sound or video file for reading.

    libsndfile decodes PCM formats (WAV, RF64, AIFF, ...), FLAC and Ogg. FFmpeg, through PyAV,
    decodes MP3, the sound of videos and everything else.

    Parameters
    ----------
    path : str or path-like
    track : int
        Which of the file's audio tracks, counted from 0.

    Returns
    -------
    AudioFile

    Raises
    ------
    AudioError
        If the file does not exist, may not be read, is empty, cut short (as far as its header
        shows) or encrypted, holds no sound, or does not have the track.

    See Also
    --------
    read : the whole of a file as one array.

    Examples
    --------
    >>> with open_audio("song.flac") as song:                     # doctest: +SKIP
    ...     peak = max(abs(block).max() for block in song.blocks())
    """
    return AudioFile(path, track=track)


class AudioFile:
    """A readable sound file that keeps no sound in memory.

    The samples start where the encoder's input started if the container states the encoder's
    delay: LAME's header in MP3, edit lists and iTunSMPB in MP4 (m4a), pre-skip in Opus, codec delay
    in Matroska and WebM. Bare AAC (.aac, ADTS; FFmpeg's encoder puts 1024 samples before the
    sound), MP3 without LAME's header, MP2 and AC-3 state no delay, so nothing is trimmed: the stems
    then start where a player starts. FFmpeg's WMA decoder drops the first frame (2048 samples) of
    FFmpeg's WMA encoder.

    Channels come in WAV order (front left, front right, centre, LFE, back, side).

    Parameters
    ----------
    path : str or path-like
    track : int
        Which of the file's audio tracks, counted from 0.

    Attributes
    ----------
    path : Path
    track : int
    n_tracks : int
        How many audio tracks the file has.
    rate_hz : int
        Samples per second and channel.
    n_channels : int
    n_samples : int or None
        Samples per channel, exact; None if that requires reading the whole file.
    duration_s : float or None
        In seconds; an estimate where `n_samples` is None.
    subtype : str
        Coding of the samples, such as "PCM_16", "FLAC 16", "VORBIS", "mp3" or "aac".
    bit_depth : int or None
        Bits per sample of a lossless format.
    """

    def __init__(self, path: str | os.PathLike[str], *, track: int = 0) -> None:
        self.path = Path(path)
        self.track = track
        check_readable(self.path)
        self._declared = inspect(self.path)
        self._is_closed = False
        decoder = open_decoder(self.path, self._declared, track=track)
        try:
            self.rate_hz: int = decoder.rate_hz
            self.n_channels: int = decoder.n_channels
            self.n_tracks: int = decoder.n_tracks
            self.n_samples: int | None = decoder.n_samples
            self.duration_s: float | None = decoder.duration_s
            self.subtype: str = decoder.subtype
            self.bit_depth: int | None = decoder.bit_depth
            self._through_ffmpeg = isinstance(decoder, FfmpegDecoder)
        finally:
            decoder.close()
        if self.n_samples == 0:
            raise AudioError(f"{self.path}: holds no sample; get a whole copy")
        if not (1 <= self.n_channels <= MOST_CHANNELS and 1 <= self.rate_hz <= HIGHEST_HZ):
            raise AudioError(
                f"{self.path}: {self.n_channels} channels at {self.rate_hz} Hz; read are up to "
                f"{MOST_CHANNELS} channels and {HIGHEST_HZ} Hz, convert the file"
            )

    def blocks(
        self, *, block_size: int = 65536, start_s: float = 0.0, duration_s: float | None = None
    ) -> Iterator[Block]:
        """Decode the file, or a region of it, block by block.

        The samples are the same, bit for bit, for every `block_size`, and a region has exactly
        the samples of the whole file there. Several passes may run at the same time.

        Parameters
        ----------
        block_size : int
            Samples per block; only the last block may be shorter.
        start_s : float
            Where to start, in seconds; the first sample is ``round(start_s * rate_hz)``.
        duration_s : float, optional
            How much to read, in seconds: ``round(duration_s * rate_hz)`` samples, or fewer if the
            file ends before.

        Yields
        ------
        np.ndarray [shape=(n_channels, block_size), float32, full scale = 1.0]
            A new array each time, never empty.

        Raises
        ------
        AudioError
            If the region holds no sample, if a sample is not a finite number, or if the file is
            damaged or shorter than it declares.
        """
        if self._is_closed:
            raise AudioError(f"{self.path}: already closed; open it again")
        if block_size < 1:
            raise AudioError(f"{self.path}: block_size={block_size} must be 1 or more")
        start, count = self._region(start_s, duration_s)
        return self._read(block_size, start, count)

    def _region(self, start_s: float, duration_s: float | None) -> tuple[int, int | None]:
        if not (np.isfinite(start_s) and start_s >= 0):
            raise AudioError(f"{self.path}: start {start_s} s must be 0 or more")
        start = round(start_s * self.rate_hz)
        if self.n_samples is not None and start >= self.n_samples:
            raise self._nothing_at(start_s, self.n_samples)
        if duration_s is None or duration_s == float("inf"):
            return start, None
        count = round(duration_s * self.rate_hz) if duration_s > 0 else 0
        if count < 1:
            raise AudioError(
                f"{self.path}: a region of {duration_s} s holds no sample; ask for a longer one"
            )
        return start, count

    def _nothing_at(self, start_s: float, n_samples: int) -> AudioError:
        return AudioError(
            f"{self.path}: start {start_s} s lies past the end at "
            f"{n_samples / self.rate_hz:.3f} s; start earlier"
        )

    def _read(self, block_size: int, start: int, count: int | None) -> Iterator[Block]:
        decoder = open_decoder(
            self.path, self._declared, track=self.track, through_ffmpeg=self._through_ffmpeg
        )
        position = start
        try:
            for block in reblock(limited(decoder.chunks(start), count), block_size):
                self._check_block(block, position)
                position += block.shape[1]
                yield block
        finally:
            decoder.close()
        if position == start:
            raise AudioError(
                f"{self.path}: start {start / self.rate_hz:.3f} s lies past the end; start earlier"
            )

    def _check_block(self, block: Block, position: int) -> None:
        if block.shape[0] != self.n_channels:
            raise AudioError(
                f"{self.path}: {self.n_channels} channels become {block.shape[0]} "
                f"at {position / self.rate_hz:.3f} s; split the file there"
            )
        is_finite = np.isfinite(block)
        if not is_finite.all():
            channel, index = np.argwhere(~is_finite)[0]
            raise AudioError(
                f"{self.path}: sample {block[channel, index]} in channel {channel + 1} at "
                f"{(position + index) / self.rate_hz:.3f} s; export the file again without NaN or "
                "infinity"
            )

    def close(self) -> None:
        """Close this object; passes that are already running may finish."""
        self._is_closed = True

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(
    path: str | os.PathLike[str], *, start_s: float = 0.0, duration_s: float | None = None
) -> tuple[Block, int]:
    """Read a whole file, or a region of it, into memory.

    Parameters
    ----------
    path : str or path-like
    start_s, duration_s : float
        The region in seconds; see `AudioFile.blocks`.

    Returns
    -------
    audio : np.ndarray [shape=(channels, samples), float32, full scale = 1.0]
    rate_hz : int

    Raises
    ------
    AudioError
        As `open_audio` and `AudioFile.blocks`; also if the sound takes more than 1 GiB and more
        than 2,000 times the file's size.

    Examples
    --------
    >>> audio, rate_hz = read("song.mp3", start_s=30, duration_s=10)    # doctest: +SKIP
    """
    with open_audio(path) as file:
        blocks, n_bytes = [], 0
        most_bytes = max(_LARGE_BYTES, _LARGEST_RATIO * file.path.stat().st_size)
        for block in file.blocks(start_s=start_s, duration_s=duration_s):
            blocks.append(block)
            n_bytes += block.nbytes
            if n_bytes > most_bytes:
                raise AudioError(
                    f"{path}: unpacks to more than {_LARGEST_RATIO} times its size and 1 GiB; "
                    "read it block by block, or a region of it"
                )
        return np.concatenate(blocks, axis=1), file.rate_hz
