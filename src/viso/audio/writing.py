"""Writes sound to a hidden file beside the target, which takes its final name when complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from viso.audio._blocks import Block
from viso.audio._encoders import Encoder, encoder_for
from viso.audio._formats import BIT_DEPTHS, check_bitrate, format_of
from viso.audio._sink import Sink, create_beside
from viso.audio.resampling import Resampler
from viso.errors import AudioError, VisoError

__all__ = ["AudioWriter", "write"]


class AudioWriter:
    """Encode a file block by block; it takes its name only when it is complete.

    Leaving the ``with`` block closes the file; leaving it by an exception removes the file. To
    finish several files before any of them appears, call `finish` on each, then `commit` on each.

    The suffix chooses the format:

    ======  ==========================================  ==================  ========  ============
    suffix  coding                                      rates (Hz)          channels  default
    ======  ==========================================  ==================  ========  ============
    wav     PCM or float; RF64 above 4 GiB              any                 any       24 bit
    flac    FLAC                                        to 655,350          8         24 bit
    mp3     LAME, constant bit rate                     8,000 to 48,000     2         320 kbit/s
    ogg     Vorbis, variable bit rate                   to 192,000          8         quality 9
    opus    Opus                                        8, 12, 16, 24, 48k  8         128k/channel
    m4a     AAC (FFmpeg's encoder)                      7,350 to 96,000     8         128k/channel
    ======  ==========================================  ==================  ========  ============

    Sound at a rate that the format cannot carry is resampled (to `written_rate_hz`). Integers are
    ``rint(x * 2**(bits - 1))``, saturated, so samples of 16 or 24 bits are written back as they
    were read. Float WAV keeps values beyond full scale; the lossy encoders get them unchanged.

    Measured on noise of 1, 1000 and 44,117 samples at 8, 22.05, 44.1, 48 and 96 kHz, read back
    with `open_audio`: every format has the input's length (after resampling) to the sample and
    starts at offset 0. Only a reader that ignores LAME's header or MP4 edit lists sees a delay:
    1105 samples in MP3, 1024 in m4a.

    Parameters
    ----------
    path : str or path-like
        The final name. A file with that name is replaced at the end.
    rate_hz : int
        Sampling rate of the blocks.
    n_channels : int
    bit_depth : {"24", "16", "float"}
        For wav and flac; flac has no "float".
    bitrate : str, optional
        Such as "320k", of all channels together, for the lossy formats. MP3 takes the nearest legal
        bit rate; Vorbis takes the quality with that nominal bit rate. Each format has a lowest and
        a highest bit rate for its sampling rate and channels.

    Attributes
    ----------
    path, temporary_path : Path
        The final name, and the hidden name beside it until `commit`.
    rate_hz, written_rate_hz : int
        Sampling rate of the blocks and of the file.
    n_channels : int
    n_samples : int
        Samples per channel written so far, at `rate_hz`.

    Raises
    ------
    AudioError
        If the format cannot carry the sound at this bit rate, or the file cannot be written.

    Examples
    --------
    >>> with AudioWriter("vocals.flac", rate_hz=44100, n_channels=2) as file:    # doctest: +SKIP
    ...     for block in blocks:
    ...         file.write(block)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rate_hz: int,
        n_channels: int,
        bit_depth: str = "24",
        bitrate: str | None = None,
    ) -> None:
        self.path = Path(path)
        kind = format_of(self.path)
        if bit_depth not in BIT_DEPTHS:
            raise AudioError(f"bit depth {bit_depth!r}: use one of {', '.join(BIT_DEPTHS)}")
        if kind.name == "flac" and bit_depth == "float":
            raise AudioError(f"{self.path}: FLAC has no float samples; use 24 bit, or wav")
        if kind.is_lossless and bitrate is not None:
            raise AudioError(f"{self.path}: {kind.name} has no bit rate; leave {bitrate!r} out")
        kind.check(self.path, rate_hz=rate_hz, n_channels=n_channels)
        self.rate_hz = rate_hz
        self.n_channels = n_channels
        self.n_samples = 0
        self.written_rate_hz = kind.nearest_rate(rate_hz)
        bitrate_bps = None
        if bitrate is not None:
            bitrate_bps = check_bitrate(
                self.path, bitrate, kind.name, rate_hz=self.written_rate_hz, n_channels=n_channels
            )
        self._resampler = Resampler(n_channels, from_hz=rate_hz, to_hz=self.written_rate_hz)
        self._format_name = kind.name
        self._is_finished = self._is_over = False
        self.temporary_path, descriptor = create_beside(self.path)
        self._sink = Sink(descriptor, self.path)
        try:
            self._encoder: Encoder = encoder_for(
                self._sink,
                kind.name,
                rate_hz=self.written_rate_hz,
                n_channels=n_channels,
                bit_depth=bit_depth,
                bitrate_bps=bitrate_bps,
            )
            self._sink.check()
        except BaseException as error:
            self.abort()
            if _is_of_library(error):
                raise self._refused(error) from error
            raise

    def write(self, block: Block) -> None:
        """Append a block.

        Parameters
        ----------
        block : np.ndarray [shape=(n_channels, samples), float32, full scale = 1.0]
            It is not changed, and may be empty.

        Raises
        ------
        AudioError
            If the shape is wrong, a value is not a finite number, or the disk is full.
        """
        if self._is_finished or self._is_over:
            raise AudioError(f"{self.path}: already finished; open a new writer")
        block = np.asarray(block, dtype=np.float32)
        if block.ndim != 2 or block.shape[0] != self.n_channels:
            raise AudioError(
                f"{self.path}: a block of shape {block.shape} for {self.n_channels} channels; "
                "pass (channels, samples)"
            )
        if not np.isfinite(block).all():
            raise AudioError(
                f"{self.path}: NaN or infinity in the block after {self.n_samples} samples; "
                "nothing that is not a number can be written"
            )
        self.n_samples += block.shape[1]
        self._encode(self._resampler.process(block))

    def _encode(self, block: Block) -> None:
        if not block.shape[1]:
            return
        try:
            self._encoder.write(block)
        except MemoryError:
            raise
        except Exception as error:
            self._sink.check()
            raise self._refused(error) from error
        self._sink.check()

    def finish(self) -> None:
        """Complete the file at `temporary_path`; after this, tags may be written into it."""
        if self._is_finished:
            return
        if self._is_over:
            raise AudioError(f"{self.path}: the writer was aborted; open a new one")
        try:
            if not self.n_samples:
                raise AudioError(f"{self.path}: no sample to write; write at least one block")
            rest = np.zeros((self.n_channels, 0), np.float32)
            self._encode(self._resampler.process(rest, last=True))
            self._encoder.finish()
            self._sink.close()
            self._sink.check()
        except BaseException as error:
            self.abort()
            self._sink.check()
            if _is_of_library(error):
                raise self._refused(error) from error
            raise
        self._is_finished = True

    def commit(self) -> None:
        """Rename the finished file to its final name, in one step."""
        if self._is_over:
            return
        self.finish()
        try:
            self.temporary_path.replace(self.path)
        except OSError as error:
            self.abort()
            raise AudioError(
                f"{self.path}: the finished file cannot take this name ({error.strerror}); "
                "choose another one"
            ) from error
        self._is_over = True

    def close(self) -> None:
        """Call `finish` and `commit`; do nothing after `abort` or a first call."""
        if not self._is_over:
            self.commit()

    def abort(self) -> None:
        """Remove the temporary file; do nothing after `commit`."""
        if self._is_over:
            return
        self._is_over = True
        # Encoders flush when they are closed or collected: finish them before removing the file.
        with contextlib.suppress(Exception):
            if not self._is_finished:
                self._encoder.finish()
        self._sink.close()
        with contextlib.suppress(OSError):
            self.temporary_path.unlink()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _refused(self, error: BaseException) -> AudioError:
        why = " ".join(str(error).split()) or type(error).__name__
        return AudioError(
            f"{self.path}: {self._format_name} at {self.written_rate_hz} Hz with {self.n_channels} "
            f"channels cannot be written ({why}); use wav"
        )


def _is_of_library(error: BaseException) -> bool:
    """Tell whether an encoding library raised this error."""
    return isinstance(error, Exception) and not isinstance(error, VisoError | MemoryError)


def write(
    path: str | os.PathLike[str],
    audio: Block,
    *,
    rate_hz: int,
    bit_depth: str = "24",
    bitrate: str | None = None,
) -> None:
    """Write a whole sound at once; see `AudioWriter`.

    Parameters
    ----------
    path : str or path-like
    audio : np.ndarray [shape=(channels, samples), full scale = 1.0]
    rate_hz : int
    bit_depth : {"24", "16", "float"}
    bitrate : str, optional

    Raises
    ------
    AudioError
        As `AudioWriter`.
    """
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 2:
        raise AudioError(f"{path}: an array of shape {audio.shape}; pass (channels, samples)")
    writer = AudioWriter(
        path, rate_hz=rate_hz, n_channels=audio.shape[0], bit_depth=bit_depth, bitrate=bitrate
    )
    with writer:
        for start in range(0, audio.shape[1], 65536):
            writer.write(audio[:, start : start + 65536])
