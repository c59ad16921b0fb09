"""Writes all stems completely or none at all, with one gain if an integer format would clip.

The stems are encoded block by block, under hidden names. At the same time the estimates go as raw
float32 into a hidden file. If a sample exceeds the range of an integer format, encoding stops.
At the end, when the peak is known, the stems are written again from the song and the raw
estimates, with the one gain that brings all into the range. No model runs twice.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from viso.audio import AudioWriter, copy_tags, create_beside
from viso.dsp import masking
from viso.errors import AudioError
from viso.separator.joint_commit import together
from viso.separator.stem_family import StemFamily
from viso.separator.uninterrupted import uninterrupted

__all__ = ["StemFiles", "check_targets"]

Floats = npt.NDArray[np.float32]

_BLOCK = 16_384  # samples processed at a time: these fit in the cache


class StemFiles:
    """The files of one song's stems.

    Parameters
    ----------
    targets : mapping of str to Path
        Final name of each requested stem.
    rate_hz : int
    n_channels : int
    bit_depth : {"16", "24", "float"}
    bitrate : str, optional
        For the lossy formats.
    family : StemFamily
        The stems that `write` gets estimates for; it has the targets. All of its stems decide the
        gain, so a stem does not depend on which others are written.

    Attributes
    ----------
    gain : float
        The gain of all stems, known after `finish`.
    largest_error : float
        Largest difference so far between the song and the sum of its stems, as passed to the
        encoders and before any gain.
    is_lossless : bool
        Whether the files keep every bit of their input.

    Raises
    ------
    AudioError
        If a file cannot be written; then no file remains.
    """

    def __init__(
        self,
        targets: Mapping[str, Path],
        *,
        rate_hz: int,
        n_channels: int,
        bit_depth: str = "24",
        bitrate: str | None = None,
        family: StemFamily = StemFamily(),  # noqa: B008
    ) -> None:
        self._targets, self._family = dict(targets), family
        self._settings: dict[str, Any] = {
            "rate_hz": rate_hz,
            "n_channels": n_channels,
            "bit_depth": bit_depth,
            "bitrate": bitrate,
        }
        self.gain, self.largest_error = 1.0, 0.0
        self._low = self._high = 0.0
        # Most players decode lossy files to 16 bits.
        suffixes = {path.suffix.lower() for path in self._targets.values()}
        self._is_integer = not (suffixes == {".wav"} and bit_depth == "float")
        self.is_lossless = suffixes <= {".wav", ".flac"}
        self._bits = 24 if bit_depth == "24" and self.is_lossless else 16
        self._stack = ExitStack()
        self._raw: IO[bytes] | None = None
        self._made: list[Path] = []
        self._texts: dict[Path, Path] = {}
        # Lossy encoders take longer than the network: each stem has a thread.
        self._threads = ThreadPoolExecutor(max(1, len(self._targets)), "viso-encode")
        self._stack.enter_context(self._threads)
        try:
            for path in self._targets.values():
                self._make_folder(path.parent)
            self._writers = self._open_writers()
            if self._is_integer:
                folder = next(iter(self._targets.values())).parent
                self._raw = self._stack.enter_context(_raw_file(folder))
        except BaseException:
            self.abort()
            raise

    def _open_writers(self) -> dict[str, AudioWriter]:
        writers = {}
        for name, path in self._targets.items():
            with uninterrupted():
                writers[name] = AudioWriter(path, **self._settings)
                self._stack.callback(writers[name].abort)
        return writers

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and its parents, and remember which are new."""
        try:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            self._made.extend(missing)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(
                f"{folder}: cannot be made ({error.strerror}); choose another folder"
            ) from error

    @property
    def _clips(self) -> bool:
        gain = masking.joint_gain(self._low, self._high, bits=self._bits)
        return self._is_integer and gain < 1.0

    @property
    def written_rate_hz(self) -> int:
        """Sampling rate of the files: the song's, unless the format cannot carry it."""
        return next(iter(self._writers.values())).written_rate_hz

    def write(self, mixture: Floats, estimates: Floats) -> None:
        """Append a block of the song, and of the estimates of the family's stems.

        Parameters
        ----------
        mixture : float32 array [shape=(channels, n)]
        estimates : float32 array [shape=(len(family.estimated), channels, n)]
        """
        for first in range(0, mixture.shape[1], _BLOCK):
            part = slice(first, first + _BLOCK)
            self._write(mixture[:, part], estimates[:, :, part])

    def _write(self, mixture: Floats, estimates: Floats) -> None:
        stems = self._split(mixture, estimates)
        missed = self._family.sum(stems) - mixture
        for stem in stems.values():
            self._low = min(self._low, float(stem.min(initial=0.0)))
            self._high = max(self._high, float(stem.max(initial=0.0)))
        largest = max(-float(missed.min(initial=0.0)), float(missed.max(initial=0.0)))
        self.largest_error = max(self.largest_error, largest)
        if self._raw is not None:
            kept = np.concatenate([stems[name] for name in self._family.estimated])
            try:
                self._raw.write(np.ascontiguousarray(kept.T).tobytes())
            except OSError as error:
                raise self._full(error) from error
        if not self._clips:
            self._encode(stems)

    def _split(self, mixture: npt.NDArray[Any], estimates: npt.NDArray[Any]) -> dict[str, Floats]:
        """Split with the files' rounding."""
        is_exact = self._is_integer and self.is_lossless
        step = 2.0 ** (1 - self._bits) if is_exact else None
        return self._family.split(mixture, estimates, step=step)

    def _encode(self, stems: Mapping[str, Floats]) -> None:
        with uninterrupted():
            calls = [
                self._threads.submit(writer.write, stems[name])
                for name, writer in self._writers.items()
            ]
            wait(calls)
            for call in calls:
                call.result()

    def finish(
        self, mixture: Iterable[Floats], *, source: Path | None, tags: Mapping[str, str]
    ) -> Iterator[None]:
        """Complete the files under their hidden names, with tags; yield to show activity.

        Parameters
        ----------
        mixture : iterable of float32 arrays [shape=(channels, n)]
            The song again; read only if the stems must be written again.
        source : Path, optional
            The file with the song's own tags.
        tags : mapping of str to str
            Tags to add; the stem's name is added automatically.
        """
        if self._clips:
            for writer in self._writers.values():
                writer.abort()
            self.gain = masking.joint_gain(self._low, self._high, bits=self._bits)
            self._writers = self._open_writers()
            for block, estimates in self._again(mixture):
                scaled = [sound.astype(np.float64) * self.gain for sound in (block, estimates)]
                self._encode(self._split(*scaled))
                yield
        if self.gain != 1.0:
            tags = {**tags, "viso_gain_db": f"{20 * np.log10(self.gain):.3f}"}
        for name, writer in self._writers.items():
            with uninterrupted():
                writer.finish()
            kept = writer.temporary_path
            copy_tags(source or kept, kept, extra={**tags, "viso_stem": name})
            yield

    def add_text(self, path: Path, text: str) -> None:
        """Add a small file that gets its name together with the stems.

        Raises
        ------
        AudioError
            If it cannot be written.
        """
        self._make_folder(path.parent)
        with uninterrupted():
            hidden, descriptor = create_beside(path)
            self._stack.callback(hidden.unlink, missing_ok=True)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
            except OSError as error:
                raise self._full(error) from error
        self._texts[hidden] = path

    def _again(self, mixture: Iterable[Floats]) -> Iterator[tuple[Floats, Floats]]:
        """Yield the song's blocks, each with its estimates from the raw file."""
        if self._raw is None:
            raise AssertionError("stems of an integer format keep their estimates")
        n_stems = len(self._family.estimated)
        try:
            self._raw.flush()
            self._raw.seek(0)
        except OSError as error:
            raise self._full(error) from error
        for block in mixture:
            n_channels, n_samples = block.shape
            raw = self._raw.read(n_stems * block.size * 4)
            if len(raw) != n_stems * block.size * 4:
                raise AudioError(f"{self._first}: the song changed while it was read; try again")
            flat = np.frombuffer(raw, np.float32).reshape(n_samples, n_stems * n_channels).T
            yield block, flat.reshape(n_stems, n_channels, n_samples)
        if self._raw.read(1):
            raise AudioError(f"{self._first}: the song changed while it was read; try again")

    @property
    def _first(self) -> Path:
        return next(iter(self._targets.values()))

    def _full(self, error: OSError) -> AudioError:
        return AudioError(f"{self._first}: cannot be written ({error.strerror}); free some space")

    def commit(self) -> None:
        """Give all files their final names, together.

        Raises
        ------
        AudioError
            If a file cannot get its name. Then the previous files are restored.
        """
        with uninterrupted():
            stems = [(writer.temporary_path, writer.path) for writer in self._writers.values()]
            with together([*stems, *self._texts.items()]):
                for writer in self._writers.values():
                    writer.commit()
                for hidden, path in self._texts.items():
                    try:
                        hidden.replace(path)
                    except OSError as error:
                        raise AudioError(
                            f"{path}: the finished file cannot take this name ({error.strerror}); "
                            "choose another one"
                        ) from error
            self._made = []
            with suppress(OSError):
                self._stack.close()

    def abort(self) -> None:
        """Remove all files without a final name, and the folders created for them."""
        with uninterrupted():
            # Writing buffered data may fail on a full disk here.
            with suppress(OSError):
                self._stack.close()
            for folder in sorted(self._made, key=lambda path: -len(path.parts)):
                with suppress(OSError):
                    folder.rmdir()

    def __enter__(self) -> StemFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def _raw_file(folder: Path) -> IO[bytes]:
    """Open a nameless file beside the targets, where the disk has room for such sizes."""
    try:
        return tempfile.TemporaryFile(dir=folder, prefix=".viso-", suffix=".part")
    except OSError as error:
        raise AudioError(
            f"{folder}: cannot be written to ({error.strerror}); choose another folder"
        ) from error


def check_targets(
    song: Path,
    targets: Mapping[str, Path],
    *,
    beside: Path | None,
    overwrite: bool,
) -> None:
    """Raise AudioError for files that must not be replaced."""
    paths = [*targets.values(), *([] if beside is None else [beside])]
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise AudioError(f"{song}: two files would have the name {paths[0]}")
    for path in paths:
        try:
            is_there = path.exists()
            is_song = is_there and path.samefile(song)
        except OSError as error:
            raise AudioError(f"{path}: cannot be written ({error.strerror})") from error
        if is_song:
            raise AudioError(f"{path}: would overwrite its own song; choose another folder")
        if is_there and not overwrite:
            raise AudioError(f"{path}: is already there; add --overwrite to replace it")
