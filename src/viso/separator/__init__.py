"""The whole story on one page: a song in, vocals and instrumental out.

    path -> audio blocks -> frames -> network -> mask -> frames -> audio blocks -> stems on disk

The vocals are estimated at the model's sampling rate and brought back to the song's; the
instrumental is the song minus the vocals. So both have the song's length, start, rate and
channels, and nothing is lost between them, whatever the model does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso import masking, weights
from viso._version import __version__
from viso.audio import Resampler, open_audio, reblock
from viso.confidence import ConfidenceMeter, as_csv
from viso.config import ModelCard
from viso.errors import AudioError
from viso.model import Device, Model, OnnxModel, load
from viso.separator.ahead import ahead
from viso.separator.behind import behind
from viso.separator.files import StemFiles, check_targets
from viso.separator.results import STEMS, Progress, Report, Stems
from viso.separator.stream import VocalStream, checked_array
from viso.separator.uninterrupted import uninterrupted

__all__ = ["STEMS", "Progress", "Report", "Separator", "Stems", "separate"]

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]

# All sound runs in portions of this many samples, however it arrives: what a model sees does
# not depend on how the caller cut it, so streamed and whole results are the same bits.
_PORTION = 65_536

# Outside of these a rate is a damaged header, and resampling would take any amount of memory.
_LOWEST_HZ, _HIGHEST_HZ = 1_000, 768_000


class Separator:
    """Runs songs through one model.

    Parameters
    ----------
    model : str, path or Model
        A packaged model's name, an ONNX file, or any object that keeps the `Model` protocol.
    device : {"auto", "cpu", "cuda"}
    threads : int
        CPU threads of the network; 0 takes all cores.

    Attributes
    ----------
    card : ModelCard
    device : str
        What the model runs on in fact.

    Raises
    ------
    ModelError
        If the model cannot be loaded.

    Examples
    --------
    >>> stems = Separator().separate("song.mp3")                      # doctest: +SKIP
    >>> stems.save("separated")                                       # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | PathLike[str] | Model = weights.DEFAULT,
        *,
        device: Device = "auto",
        threads: int = 0,
    ) -> None:
        if isinstance(model, str | PathLike):
            loaded: Model = load(model, device=device, threads=threads)
        else:
            loaded = model
        self._model = loaded
        self.card: ModelCard = loaded.card
        self.device = loaded.device if isinstance(loaded, OnnxModel) else "cpu"
        self.sha256 = loaded.sha256 if isinstance(loaded, OnnxModel) else ""

    def stream(
        self, blocks: Iterable[Floats], *, rate_hz: int, n_channels: int
    ) -> Iterator[tuple[Floats, Floats]]:
        """Yield vocals and instrumental as the song arrives.

        Parameters
        ----------
        blocks : iterable of float32 arrays [shape=(n_channels, any)]
        rate_hz : int
        n_channels : int

        Yields
        ------
        vocals, instrumental : float32 arrays [shape=(n_channels, n)]
            Put together they are as long as the input. The result does not depend on how the
            input is cut into blocks.
        """
        for _, vocals, instrumental in self._parts(blocks, rate_hz=rate_hz, n_channels=n_channels):
            yield vocals, instrumental

    def _parts(
        self,
        blocks: Iterable[Floats],
        *,
        rate_hz: int,
        n_channels: int,
        reads_ahead: bool = False,
    ) -> Generator[tuple[Floats, Floats, Floats]]:
        """Yield the mixture and its two stems."""
        if not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
            raise AudioError(
                f"sampling rate {rate_hz} Hz: need {_LOWEST_HZ} to {_HIGHEST_HZ}; resample it"
            )
        model_hz = self.card.spectral.rate_hz
        down = Resampler(n_channels, from_hz=rate_hz, to_hz=model_hz)
        up = Resampler(n_channels, from_hz=model_hz, to_hz=rate_hz)
        voice = VocalStream(self._model, n_channels=n_channels)
        nothing = np.zeros((n_channels, 0), np.float32)
        mixture = nothing

        def arriving() -> Generator[tuple[Floats, Complexes]]:
            for block in reblock(blocks, _PORTION):
                yield block, voice.analyse(down.process(block))

        # While the network computes, the next portions are decoded and transformed.
        for block, frames in ahead(arriving()) if reads_ahead else arriving():
            mixture = np.concatenate([mixture, block], axis=1)
            vocals = up.process(voice.advance(frames))
            if vocals.shape[1]:
                known, mixture = np.split(mixture, [vocals.shape[1]], axis=1)
                yield known, *masking.split(known, vocals)
        rest = [voice.push(down.process(nothing, last=True)), voice.finish()]
        vocals = up.process(np.concatenate(rest, axis=1), last=True)[:, : mixture.shape[1]]
        missing = mixture.shape[1] - vocals.shape[1]
        if mixture.shape[1]:
            yield mixture, *masking.split(mixture, np.pad(vocals, ((0, 0), (0, missing))))

    def separate(
        self,
        song: str | PathLike[str] | Floats,
        *,
        rate_hz: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
    ) -> Stems:
        """Separate a file or an array in memory.

        Parameters
        ----------
        song : path, or float array [shape=(channels, n)]
        rate_hz : int, optional
            Sampling rate of an array; a file knows its own.
        start_s, duration_s : float
            A region, in seconds; to the end by default. Only for files.

        Raises
        ------
        AudioError
            If the song cannot be decoded, is empty, or holds NaN or infinite samples.
        """
        if isinstance(song, str | PathLike):
            with open_audio(song) as audio:
                rate_hz, n_channels = audio.rate_hz, audio.n_channels
                blocks = audio.blocks(start_s=start_s, duration_s=duration_s)
                parts = list(self.stream(blocks, rate_hz=rate_hz, n_channels=n_channels))
        else:
            if start_s or duration_s is not None:
                raise AudioError("start_s and duration_s are for files; slice the array instead")
            array, rate_hz = checked_array(song, rate_hz)
            parts = list(self.stream([array], rate_hz=rate_hz, n_channels=array.shape[0]))
        vocals, instrumental = (np.concatenate(stem, axis=1) for stem in zip(*parts, strict=True))
        return Stems(vocals, instrumental, rate_hz, self.card.name, self._tags())

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
    ) -> Iterator[Progress]:
        """Separate a file into files, in constant memory, yielding the progress.

        The files appear under their names together, at the very end; until then, or if the
        iterator is closed before, there is nothing.

        Parameters
        ----------
        song : path
        targets : mapping of str to Path
            File for each wanted stem ("vocals", "instrumental"); the suffix chooses the format.
        bit_depth : {"16", "24", "float"}
        bitrate : str, optional
            Such as "320k", for the lossy formats.
        start_s, duration_s : float
            A region, in seconds; to the end by default.
        confidence : Path, optional
            A CSV file for what `viso.confidence` says of every second.
        overwrite : bool
            Replace files that are already there. Never the song itself.

        Raises
        ------
        AudioError
            If the song cannot be read or a stem cannot be written.
        """
        path = Path(song)
        with open_audio(path) as audio, ExitStack() as stack:
            check_targets(path, targets, beside=confidence, overwrite=overwrite)
            total_s = _region_s(audio.duration_s, start_s, duration_s)
            with uninterrupted():
                files = StemFiles(
                    targets,
                    rate_hz=audio.rate_hz,
                    n_channels=audio.n_channels,
                    bit_depth=bit_depth,
                    bitrate=bitrate,
                )
                stack.enter_context(files)
            n_samples = 0
            meter = ConfidenceMeter(rate_hz=audio.rate_hz, n_channels=audio.n_channels)
            blocks = audio.blocks(start_s=start_s, duration_s=duration_s)
            parts = self._parts(
                blocks, rate_hz=audio.rate_hz, n_channels=audio.n_channels, reads_ahead=True
            )
            stack.callback(parts.close)
            # While one core encodes, the network has the others.
            with behind(files.write) as write:
                for mixture, vocals, instrumental in parts:
                    write(mixture, vocals)
                    if confidence is not None:
                        meter.push(vocals, instrumental)
                    n_samples += vocals.shape[1]
                    yield Progress(n_samples / audio.rate_hz, total_s)
            again = audio.blocks(start_s=start_s, duration_s=duration_s)
            files.finish(again, source=path, tags=self._tags())
            seconds = meter.finish(start_s=start_s)
            if confidence is not None:
                files.add_text(confidence, as_csv(seconds))
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
                model=self.card.name,
                model_sha256=self.sha256,
                device=self.device,
                confidence=tuple(seconds),
            )
        yield Progress(n_samples / report.rate_hz, n_samples / report.rate_hz, report)

    def _tags(self) -> dict[str, str]:
        tags = {
            "viso_version": __version__,
            "viso_model": f"{self.card.name} {self.card.version}",
            "viso_model_licence": self.card.licence,
        }
        return {**tags, "viso_model_sha256": self.sha256} if self.sha256 else tags


def separate(
    song: str | PathLike[str] | Floats,
    *,
    model: str | PathLike[str] | Model = weights.DEFAULT,
    rate_hz: int | None = None,
) -> Stems:
    """Separate one song with a freshly loaded model; see `Separator.separate`."""
    return Separator(model).separate(song, rate_hz=rate_hz)


def _region_s(length_s: float | None, start_s: float, duration_s: float | None) -> float | None:
    """Seconds that will be separated, as far as it can be known."""
    rest = None if length_s is None else max(0.0, length_s - start_s)
    known = [value for value in (rest, duration_s) if value is not None]
    return min(known, default=None)
