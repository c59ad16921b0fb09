"""The whole separation in one module: a song in, its stems out.

    path -> audio blocks -> Estimator.prepare -> Estimator.estimate -> split -> stems -> files
            (another thread) ..............      (this thread)         (a third thread) ......

`Separator._estimates` runs the steps up to the estimate for every caller. `stream` and `separate`
split its results in memory. `to_files` passes them to `StemFiles`, which splits them with the
rounding of the files.

An estimator works at its model's sampling rate and resamples its estimates to the song's rate. The
last stem is what the estimates leave of the song (`viso.separator.stem_family`). So all stems have
the song's length, start, rate and channels, and add up to the song, whatever the model does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viso._version import __version__
from viso.audio import open_audio, open_isolated, reblock
from viso.errors import AudioError, ConfigError
from viso.models.blend import Models, load_blend
from viso.models.card import ModelCard, SegmentCard
from viso.models.registry import DEFAULT
from viso.models.session import Device
from viso.separator.align import StreamAligner
from viso.separator.arrays import (
    Samples,
    check_channels,
    check_rate,
    checked_array,
    checked_blocks,
    is_file,
)
from viso.separator.confidence import ConfidenceMeter, as_csv
from viso.separator.estimators import build_estimator
from viso.separator.joint_commit import clear_leftovers
from viso.separator.naming import song_tags
from viso.separator.separation import Progress, Report, Separation, Stems, region_s
from viso.separator.source_guard import SourceGuard
from viso.separator.stem_family import (
    STEMS,
    StemFamily,
    family_of,
    offered_stems,
    requested_stems,
)
from viso.separator.stem_files import StemFiles, check_targets
from viso.separator.threads import background_writer, prefetch
from viso.separator.uninterrupted import uninterrupted
from viso.separator.wiener_stream import WINDOW_S, wiener_filter

__all__ = ["Separator", "separate"]

Floats = npt.NDArray[np.float32]

# All sound is cut into blocks of this many samples. So the model's input does not depend on the
# caller's blocks, and a stream gives the same bits as the whole song.
_BLOCK = 65_536


class Separator:
    """Runs songs through a model, or through several at once.

    It can be pickled and passed to a pool of processes, and each opens the models' files again.
    Start the pool with "spawn": after a fork the threads of the models do not exist.

    Parameters
    ----------
    model : str, path, Model, or a sequence of them
        A known model's name, an ONNX file, or any object that implements the `Model` protocol.
        Several models are blended; a string may name several, as "a+b" or "a*0.75+b*0.25".
    weights : sequence of float, optional
        Weights of the models of a blend; equal by default. Only their ratios count.
    wiener : int, optional
        Iterations of a multichannel Wiener filter after the models; 0 omits the filter. The
        default is the number in the card of a named blend, else 0.
    wiener_window_s : float
        Seconds over which that filter learns the spatial covariance of both stems.
    device : {"auto", "cpu", "cuda", "coreml", "directml", "migraphx", "openvino"}
    threads : int
        CPU threads of a network; 0 takes all cores.
    isolated : bool
        Whether to decode songs in a process of their own (`viso.audio.open_isolated`). Use it for
        untrusted files, which could crash the decoder.

    Attributes
    ----------
    name : str
        The name of the model or of the blend, or the names of its models with their shares.
    made_of : str
        The models' names, with their shares.
    card : ModelCard or SegmentCard
        Of the first model.
    device : str
        The device that the models really run on.
    sha256 : str
        Hash of the model's file; "+" joins several.
    stems : tuple of str
        The stems that it can make: "vocals" and "instrumental", of some models more.
    wiener : int

    Raises
    ------
    ModelError
        If a model cannot be loaded.
    ConfigError
        If the weights or the settings of the filter are invalid.

    Examples
    --------
    >>> stems = Separator().separate("song.mp3")                      # doctest: +SKIP
    >>> stems.save("separated")                                       # doctest: +SKIP
    >>> Separator(["viso", "viso-cnn"], weights=[3, 1]).name
    'viso*0.75+viso-cnn*0.25'
    """

    def __init__(
        self,
        model: Models = DEFAULT,
        *,
        weights: Sequence[float] | None = None,
        wiener: int | None = None,
        wiener_window_s: float = WINDOW_S,
        device: Device = "auto",
        threads: int = 0,
        isolated: bool = False,
    ) -> None:
        self._blend = load_blend(model, weights=weights, device=device, threads=threads)
        self.name, self.made_of = self._blend.name, self._blend.made_of
        self.wiener = self._blend.wiener if wiener is None else wiener
        self._filter = wiener_filter(self.wiener, window_s=wiener_window_s)
        self.card: ModelCard | SegmentCard = self._blend.cards[0]
        self.device, self.sha256 = self._blend.device, self._blend.sha256
        self.stems = offered_stems(card.estimated for card in self._blend.cards)
        self._open = open_isolated if isolated else open_audio
        self._tidy: set[Path] = set()

    def requested(self, stems: Sequence[str]) -> tuple[str, ...]:
        """Return the names of requested stems, each once.

        Parameters
        ----------
        stems : sequence of str
            Of `stems`; "all" stands for those that add up to the song.

        Raises
        ------
        ConfigError
            If there is none, or one that the models do not offer, or the Wiener filter is to
            follow other stems than vocals and instrumental.
        """
        try:
            names = requested_stems(stems, self.stems)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        if self._filter is not None and set(names) - set(STEMS):
            raise ConfigError(
                "the Wiener filter knows vocals and instrumental only; leave it out, "
                "or the other stems"
            )
        return names

    def stream(
        self,
        blocks: Iterable[Samples],
        *,
        rate_hz: int,
        n_channels: int,
        stems: Sequence[str] = STEMS,
    ) -> Iterator[tuple[Floats, ...]]:
        """Yield stems as the song arrives.

        Parameters
        ----------
        blocks : iterable of arrays [shape=(n_channels, any)]
            Of the types that `separate` takes; a mono block may be [shape=(any,)]. Blocks may be
            empty, and may be one array that the caller fills again.
        rate_hz : int
        n_channels : int
        stems : sequence of str
            See `requested`.

        Yields
        ------
        tuple of float32 arrays [shape=(n_channels, n)]
            A block of each stem, in the order of `stems`: vocals and instrumental by default. All
            blocks together are as long as the input. The result does not depend on how the input
            is cut into blocks.

        Raises
        ------
        ConfigError
            See `requested`.
        AudioError
            At once if the rate or the number of channels is invalid. Later, when a block arrives
            that is not sound of so many channels, or has NaN or infinite samples.
        """
        check_rate(rate_hz)
        check_channels(n_channels)
        names = self.requested(stems)
        checked = checked_blocks(blocks, n_channels=n_channels)
        family = family_of(names, self.stems)
        made = self._split(checked, family, rate_hz=rate_hz, n_channels=n_channels)
        return (tuple(block[name] for name in names) for block in made)

    def _estimates(
        self,
        blocks: Iterable[Floats],
        family: StemFamily,
        *,
        rate_hz: int,
        n_channels: int,
        prefetches: bool = False,
    ) -> Generator[tuple[Floats, Floats]]:
        """Yield blocks of the mixture with the estimates of their stems, aligned to the sample.

        They are of the shapes (channels, n) and (stems, channels, n).
        """
        estimator = build_estimator(
            self._blend,
            rate_hz=rate_hz,
            n_channels=n_channels,
            wiener=self._filter,
            stems=family.estimated,
        )

        def prepared() -> Generator[tuple[Floats, Any]]:
            for block in reblock(blocks, _BLOCK):
                yield block, estimator.prepare(block)

        aligner = StreamAligner[np.float32](2)
        # While the network computes, another thread decodes and transforms the next blocks.
        for block, ready in prefetch(prepared()) if prefetches else prepared():
            mixture, estimates = aligner.step(block, estimator.estimate(ready))
            if mixture.shape[1]:
                yield mixture, estimates
        nothing = np.zeros((n_channels, 0), np.float32)
        mixture, estimates = aligner.step(nothing, estimator.finish())
        if mixture.shape[1]:
            yield mixture, estimates

    def _split(
        self, blocks: Iterable[Floats], family: StemFamily, *, rate_hz: int, n_channels: int
    ) -> Iterator[dict[str, Floats]]:
        """Yield all stems of a family, whose parts add up to the mixture."""
        pairs = self._estimates(blocks, family, rate_hz=rate_hz, n_channels=n_channels)
        return (family.split(mixture, estimates) for mixture, estimates in pairs)

    def separate(
        self,
        song: str | PathLike[str] | Samples,
        *,
        rate_hz: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        stems: Sequence[str] = STEMS,
    ) -> Stems:
        """Separate a file or an array in memory.

        Parameters
        ----------
        song : path, or array [shape=(channels, n), or (n,) of a mono song]
            Floats have full scale 1.0. Integers have that of a WAV file: int16 32768, int32 2**31,
            uint8 128 around 128. The stems of a mono song are [shape=(1, n)].
        rate_hz : int, optional
            Sampling rate of an array; a file states its own.
        start_s, duration_s : float
            The region in seconds; to the end by default. Only for files.
        stems : sequence of str
            See `requested`. With others than vocals and instrumental, the result has all of
            `Separator.stems`.

        Raises
        ------
        ConfigError
            See `requested`.
        AudioError
            If the song cannot be decoded, is not sound, is empty, or has NaN or infinite samples.
        """
        family = family_of(self.requested(stems), self.stems)
        if is_file(song):
            return self._separate_file(
                song, family, rate_hz=rate_hz, start_s=start_s, duration_s=duration_s
            )
        if start_s or duration_s is not None:
            raise AudioError("start_s and duration_s are for files; slice the array instead")
        if rate_hz is None:
            raise AudioError(
                f"{type(song).__name__} without a sampling rate; say it, rate_hz=44100"
            )
        check_rate(rate_hz)
        array = checked_array(song)
        made = self._split([array], family, rate_hz=int(rate_hz), n_channels=array.shape[0])
        return self._joined(made, family, rate_hz=int(rate_hz))

    def _separate_file(
        self,
        song: str | PathLike[str],
        family: StemFamily,
        *,
        rate_hz: int | None,
        start_s: float,
        duration_s: float | None,
    ) -> Stems:
        if rate_hz is not None:
            raise AudioError(
                f"{song}: rate_hz={rate_hz} is for arrays; a file says its own rate, leave it out"
            )
        with self._open(song) as audio:
            check_rate(audio.rate_hz)
            blocks = audio.blocks(start_s=start_s, duration_s=duration_s)
            made = self._split(blocks, family, rate_hz=audio.rate_hz, n_channels=audio.n_channels)
            return self._joined(made, family, rate_hz=audio.rate_hz)

    def _joined(
        self, made: Iterable[dict[str, Floats]], family: StemFamily, *, rate_hz: int
    ) -> Stems:
        blocks = list(made)
        by_name = {
            name: np.concatenate([block.pop(name) for block in blocks], axis=1)
            for name in family.names
        }
        return Stems(by_name, rate_hz=rate_hz, model=self.name, family=family, tags=self._tags())

    def to_files(
        self,
        song: str | PathLike[str],
        targets: Mapping[str, Path],
        *,
        bit_depth: str = "24",
        bitrate: str | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        confidence: Path | None = None,
        overwrite: bool = False,
        song_name: str | None = None,
    ) -> Separation:
        """Separate a file into files, in constant memory.

        The files get their names together, at the very end. If the separation ends before, no
        file remains.

        Parameters
        ----------
        song : path
        targets : mapping of str to Path
            File for each requested stem, of `stems`; the suffix sets the format.
        bit_depth : {"16", "24", "float"}
        bitrate : str, optional
            Such as "320k", for the lossy formats.
        start_s, duration_s : float
            The region in seconds; to the end by default.
        confidence : Path, optional
            A CSV file for the results of `viso.separator.confidence` for every second.
        overwrite : bool
            Whether to replace existing files; the song itself is never replaced.
        song_name : str, optional
            The name of the song in the stems' tags, if the file is a copy; by default the file's
            name.

        Returns
        -------
        Separation
            Yields the progress; `report` is available at the end.

        Raises
        ------
        ConfigError
            If the models do not offer a stem.
        AudioError
            During iteration: if the song cannot be read, the song changes meanwhile, or a stem
            cannot be written.
        """
        if not is_file(song):
            raise AudioError(f"to_files of {type(song).__name__}: takes a path; see separate")
        path = Path(song)
        if set(self.requested(list(targets))) != set(targets):
            raise ConfigError(f"targets {', '.join(targets)}: name each stem")
        steps = self._write_files(
            path,
            targets,
            bit_depth=bit_depth,
            bitrate=bitrate,
            start_s=start_s,
            duration_s=duration_s,
            confidence=confidence,
            overwrite=overwrite,
            song_name=song_name or path.name,
        )
        return Separation(path, steps)

    def _write_files(
        self,
        path: Path,
        targets: Mapping[str, Path],
        *,
        bit_depth: str,
        bitrate: str | None,
        start_s: float,
        duration_s: float | None,
        confidence: Path | None,
        overwrite: bool,
        song_name: str,
    ) -> Generator[Progress, None, Report]:
        """Do the work of `to_files`."""
        with self._open(path) as audio, ExitStack() as stack:
            source = SourceGuard(path)
            check_rate(audio.rate_hz)
            self._clear_up(path.parent for path in (*targets.values(), confidence) if path)
            check_targets(path, targets, beside=confidence, overwrite=overwrite)
            family = family_of(targets, self.stems)
            total_s = region_s(audio.duration_s, start_s, duration_s)
            with uninterrupted():
                files = StemFiles(
                    targets,
                    rate_hz=audio.rate_hz,
                    n_channels=audio.n_channels,
                    bit_depth=bit_depth,
                    bitrate=bitrate,
                    family=family,
                )
                stack.enter_context(files)
            n_samples = 0
            meter = ConfidenceMeter(rate_hz=audio.rate_hz, n_channels=audio.n_channels)
            blocks = audio.blocks(start_s=start_s, duration_s=duration_s)
            pairs = self._estimates(
                blocks,
                family,
                rate_hz=audio.rate_hz,
                n_channels=audio.n_channels,
                prefetches=True,
            )
            stack.callback(pairs.close)
            # While one thread encodes, the network uses the other cores.
            with background_writer(files.write) as write:
                for mixture, estimates in pairs:
                    write(mixture, estimates)
                    if confidence is not None:
                        vocals = estimates[0]
                        meter.push(vocals, mixture - vocals)
                    n_samples += mixture.shape[1]
                    yield Progress(n_samples / audio.rate_hz, total_s)
            again = audio.blocks(start_s=start_s, duration_s=duration_s)
            made_from = song_tags(song_name, source.n_bytes)
            for _ in files.finish(again, source=path, tags={**self._tags(), **made_from}):
                yield Progress(n_samples / audio.rate_hz, total_s)
            seconds = meter.finish(start_s=start_s)
            if confidence is not None:
                files.add_text(confidence, as_csv(seconds))
            source.check()
            # Another process may have created the files meanwhile.
            check_targets(path, targets, beside=confidence, overwrite=overwrite)
            files.commit()
            report = Report(
                song=path,
                outputs=dict(targets),
                n_samples=n_samples,
                n_channels=audio.n_channels,
                rate_hz=audio.rate_hz,
                written_rate_hz=files.written_rate_hz,
                gain_db=float(20 * np.log10(files.gain)),
                largest_error=files.largest_error,
                is_lossless=files.is_lossless,
                model=self.name,
                model_sha256=self.sha256,
                device=self.device,
                wiener=self.wiener,
                confidence=tuple(seconds),
                parts=family.parts,
            )
        yield Progress(report.duration_s, report.duration_s, is_complete=True)
        return report

    def _clear_up(self, folders: Iterable[Path]) -> None:
        """Remove once, in each folder, the leftovers of killed processes."""
        # Only once, because a folder may have a hundred thousand stems.
        for folder in set(folders) - self._tidy:
            clear_leftovers(folder)
            self._tidy.add(folder)

    def _tags(self) -> dict[str, str]:
        filtered = {} if self._filter is None else {"viso_wiener": str(self._filter)}
        return {"viso_version": __version__, **self._blend.tags(), **filtered}


def separate(
    song: str | PathLike[str] | Samples,
    *,
    model: Models = DEFAULT,
    rate_hz: int | None = None,
) -> Stems:
    """Separate one song with a freshly loaded model; see `Separator.separate`."""
    return Separator(model).separate(song, rate_hz=rate_hz)
