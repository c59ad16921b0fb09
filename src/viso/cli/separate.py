"""``viso separate``: songs in, stems out."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress as Bar
from rich.text import Text

from viso.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    bar,
    error_line,
    format_error,
    out,
    print_json,
    shown,
    trace,
)
from viso.cli.formatting import as_record, common_reason, described, failure_record, forecast
from viso.errors import AudioError, ConfigError, VisoError
from viso.models import registry
from viso.models.blend import estimated_by
from viso.models.session import DEVICES, Device
from viso.processes import peak_bytes
from viso.separator import STEMS, Report, Separator
from viso.separator.naming import Names, best_files, possible_files
from viso.separator.stem_family import offered_stems, requested_stems
from viso.separator.templates import fields_of, stem_files
from viso.separator.wiener_stream import LONGEST_S, SHORTEST_S, WINDOW_S
from viso.stores.address import Address, Location, location_of

if TYPE_CHECKING:
    from viso.batch import SeparationConfig

__all__ = ["separate"]

_LONG_S = 120.0  # a separation of which its length is said beforehand
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a")


def checked_template(template: str) -> str:
    """Return the template; refuse one that cannot name files."""
    try:
        fields_of(template)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--template") from error
    return template


def checked_coding(file_format: str, bit_depth: str, bitrate: str | None) -> None:
    """Refuse combinations of format, bit depth and bit rate that no file can have."""
    lossless = file_format in ("wav", "flac")
    if bitrate is not None and (lossless or not re.fullmatch(r"[1-9]\d{0,3}[kK]", bitrate)):
        reason = f"{file_format} has no bit rate" if lossless else "say it like 320k"
        raise typer.BadParameter(f"{bitrate!r}: {reason}", param_hint="--bitrate")
    if file_format == "flac" and bit_depth == "float":
        raise typer.BadParameter("'float': flac has 16 or 24 bits", param_hint="--bit-depth")


def checked_address(engine: str, address: str | None) -> str | None:
    """Return the cluster's address, or None if the songs are separated on this machine."""
    if one_of(engine, ("local", "ray"), "--engine") == "ray":
        return address or "auto"
    if address is not None:
        raise typer.BadParameter(f"{address!r}: goes with --engine ray", param_hint="--address")
    return None


def checked_manifest(manifest: Path | None, out: Location) -> None:
    """Refuse --manifest if the output is a folder, which holds its own manifest."""
    if manifest is not None and isinstance(out, Path):
        said = f"{str(manifest)!r}: goes with an address as --out"
        raise typer.BadParameter(said, param_hint="--manifest")


def checked_stems(text: str, model: str) -> tuple[str, ...]:
    """Return the stems in a comma-separated list, which the model offers."""
    stems = [part.strip() for part in text.split(",") if part.strip()]
    if stems and set(stems) <= set(STEMS):
        return tuple(dict.fromkeys(stems))  # of every model
    try:
        return requested_stems(stems, offered_stems(estimated_by(model)))
    except ConfigError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--stems") from error


def one_of(value: str, allowed: tuple[str, ...], option: str) -> str:
    """Return the value; refuse one that is not allowed."""
    if value not in allowed:
        raise typer.BadParameter(f"{value!r}: use one of {', '.join(allowed)}", param_hint=option)
    return value


@dataclass(frozen=True)
class _Wish:
    """The checked options of the command line."""

    out: Location
    stems: tuple[str, ...]
    format: str
    bit_depth: str
    bitrate: str | None
    template: str
    start_s: float
    duration_s: float | None
    confidence: bool
    overwrite: bool

    def files(self, name: str, *, model: str) -> dict[str, Path]:
        """Return the files of a song with this name, always inside the output folder."""
        files = stem_files(
            self.template,
            name=name,
            model=model,
            stems=self.stems,
            ext=self.format,
            table=self.confidence,
        )
        if isinstance(self.out, Address):
            raise AssertionError("a batch writes into stores")
        root = Path(os.path.realpath(self.out))
        for path in files.values():
            # Unlike `resolve`, this accepts a link to itself in every version of Python.
            if not Path(os.path.realpath(self.out / path)).is_relative_to(root):
                raise ConfigError(
                    f"template {self.template!r}: {self.out / path} lies outside {self.out}"
                )
        return files

    def config(
        self, model: str, wiener: int | None, wiener_window_s: float, device: Device
    ) -> SeparationConfig:
        """Return the same settings for a batch."""
        from viso.batch import SeparationConfig

        try:
            return SeparationConfig(
                model=model,
                wiener=wiener,
                wiener_window_s=wiener_window_s,
                device=device,
                **{k: v for k, v in vars(self).items() if k not in ("out", "overwrite")},
            )
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error


def _run_one(
    separator: Separator,
    song: Path,
    targets: Mapping[str, Path],
    table: Path | None,
    wish: _Wish,
    progress: Bar,
    *,
    quiet: bool,
) -> Report:
    """Separate one song and show its progress bar; say so at once if it takes long."""
    task = progress.add_task(song.name, total=None, speed="")
    began = time.monotonic()
    try:
        with separator.to_files(
            song,
            targets,
            bit_depth=wish.bit_depth,
            bitrate=wish.bitrate,
            start_s=wish.start_s,
            duration_s=wish.duration_s,
            confidence=table,
            overwrite=wish.overwrite,
        ) as separation:
            is_told = quiet
            for step in separation:
                took_s = time.monotonic() - began
                speed = step.done_s / max(1e-9, took_s)
                if step.done_s and step.total_s and not is_told:
                    is_told = True
                    if (step.total_s - step.done_s) / speed > _LONG_S:
                        text = forecast(step.done_s, step.total_s, took_s, peak_bytes())
                        progress.console.print(Text(shown(f"{song.name}: {text}")))
                progress.update(
                    task, completed=step.done_s, total=step.total_s, speed=f"{speed:.0f}x"
                )
        return separation.report
    finally:
        progress.remove_task(task)


def _named(
    song: Path, names: Names, wish: _Wish, model: str
) -> tuple[dict[str, Path], Path | None]:
    """Return the file of each stem, and of the table; no other song has these files."""
    if isinstance(wish.out, Address):
        raise AssertionError("a batch writes into stores")
    key = os.path.realpath(song)
    options = possible_files(song, key, lambda name: wish.files(name, model=model))
    free = [files for files in options if names.are_free(key, files.values())]
    files = best_files(wish.out, free, song)
    if files is None:
        raise AudioError(
            f"{song}: its stems would replace a song, those of another song, or one another; "
            "choose another folder, or a --template with {name} and {stem}"
        )
    names.give(key, files.values())
    targets = {stem: wish.out / path for stem, path in files.items()}
    return targets, targets.pop("confidence", None)


def _run_all(
    separator: Separator, songs: list[Path], wish: _Wish, *, as_json: bool, quiet: bool
) -> int:
    """Separate the songs one after another; return how many failed."""
    failed: list[tuple[Location, str]] = []
    # A song that is named twice is separated once.
    known: dict[str, Path] = {}
    for song in songs:
        known.setdefault(os.path.realpath(song), song)
    names = Names(wish.out, known)
    for song in known.values():
        began = time.monotonic()
        report, table = None, None
        try:
            targets, table = _named(song, names, wish, separator.name)
            # Each song has its own bar, which is removed before anything is printed.
            with bar(quiet=quiet or as_json) as progress:
                report = _run_one(
                    separator, song, targets, table, wish, progress, quiet=quiet or as_json
                )
        except Exception as error:  # one bad song must not stop the others
            reason = (
                format_error(error)
                if isinstance(error, VisoError)
                else f"{song}: {format_error(error)}"
            )
            failed.append((song, reason))
            trace(error)
            error_line(reason)
            if as_json:
                print_json(failure_record(song, type(error).__name__, reason))
            continue
        took_s = time.monotonic() - began
        if as_json:
            print_json(as_record(song, report, table, took_s))
        elif not quiet:
            out().print(described(report, table, took_s))
    if len(failed) == len(known) and (common := common_reason(failed)):
        error_line(common)
    return len(failed)


def separate(
    songs: Annotated[
        list[str],
        typer.Argument(
            metavar="SONG...",
            help="Sound or video files, folders of them; also addresses: s3://bucket/archive.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--out", "-o", help="Folder for the stems, or its address.")
    ] = "separated",
    model: Annotated[
        str,
        typer.Option(
            help="Name of a model (see viso models), or an ONNX file. "
            "a+b blends models with equal weights, 'a*0.75+b*0.25' with these."
        ),
    ] = registry.DEFAULT,
    wiener: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Iterations of a multichannel Wiener filter behind them; "
            "none, unless the model's card says so.",
        ),
    ] = None,
    wiener_window: Annotated[
        float,
        typer.Option(min=SHORTEST_S, max=LONGEST_S, help="What it learns from, in seconds."),
    ] = WINDOW_S,
    stems: Annotated[
        str, typer.Option(help="Which stems to write; all, or such as drums, of models with more.")
    ] = ",".join(STEMS),
    file_format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "wav",
    bit_depth: Annotated[str, typer.Option(help="16, 24 or float (wav, flac).")] = "24",
    bitrate: Annotated[str | None, typer.Option(help="Such as 320k (mp3, ogg, opus, m4a).")] = None,
    template: Annotated[
        str, typer.Option(help="Name of each stem below the folder.")
    ] = "{name}/{stem}.{ext}",
    start: Annotated[float, typer.Option(min=0, help="Where to start, in seconds.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=0, help="How much to separate, in seconds.")
    ] = None,
    device: Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.")] = "auto",
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also a table of where it is doubtful (csv).")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace stems that are there.")] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Also folders of folders.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Songs at a time; of a batch one a core."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray: a batch on all nodes of a cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="The cluster: auto (the default), host:port, local.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Folder of the manifest of an output address, on a disk with locks."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do, and do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a song.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors.")] = False,
) -> None:
    """Separate songs into vocals and instrumental.

    With a folder, an address, --recursive, --jobs, --dry-run or --engine ray it runs a batch: it
    separates songs in parallel and skips finished ones. The same command resumes a stopped batch.
    """
    places, out_place = [location_of(song) for song in songs], location_of(output)
    checked_manifest(manifest, out_place)
    file_format = one_of(file_format.lower().lstrip("."), FORMATS, "--format")
    bit_depth = one_of(bit_depth, ("16", "24", "float"), "--bit-depth")
    checked_coding(file_format, bit_depth, bitrate)
    wish = _Wish(
        out=out_place,
        stems=checked_stems(stems, model),
        format=file_format,
        bit_depth=bit_depth,
        bitrate=bitrate,
        template=checked_template(template),
        start_s=start,
        duration_s=duration,
        confidence=confidence,
        overwrite=overwrite,
    )
    wanted: Device = one_of(device, DEVICES, "--device")  # type: ignore[assignment]
    where = checked_address(engine, address)
    is_many = recursive or dry_run or jobs is not None or where is not None
    files = [place for place in places if isinstance(place, Path) and not place.is_dir()]
    if is_many or len(files) < len(places) or isinstance(out_place, Address):
        # Imported here, because separating a single song does not need it.
        from viso.cli.separate_batch import BatchRequest, run_batch

        request = BatchRequest(
            inputs=tuple(places),
            out=out_place,
            manifest=manifest,
            recursive=recursive,
            jobs=jobs,
            overwrite=overwrite,
            is_dry=dry_run,
            as_json=as_json,
            quiet=quiet,
            address=where,
        )
        config = wish.config(model, wiener, wiener_window, wanted)
        raise typer.Exit(run_batch(request, config))
    try:
        separator = Separator(model, wiener=wiener, wiener_window_s=wiener_window, device=wanted)
        n_failed = _run_all(separator, files, wish, as_json=as_json, quiet=quiet)
    except KeyboardInterrupt as error:
        error_line("interrupted; nothing half-made is left")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    raise typer.Exit(EXIT_FAILED if n_failed else 0)
