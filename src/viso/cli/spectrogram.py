"""``viso spectrogram``: a picture of a song and its stems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viso.cli.console import out, shown
from viso.errors import ConfigError, how_to_install
from viso.models import registry
from viso.separator import Separator
from viso.separator.confidence import confidence as estimated

__all__ = ["spectrogram"]


def spectrogram(
    song: Annotated[Path, typer.Argument(help="Sound or video file.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Picture: png, svg or pdf.")] = Path(
        "spectrogram.png"
    ),
    model: Annotated[
        str, typer.Option(help="Packaged model, ONNX file, or a blend such as a+b.")
    ] = registry.DEFAULT,
    start: Annotated[float, typer.Option(min=0, help="Where to start, in seconds.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=0, help="How much to show, in seconds.")
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also curves of where it is doubtful.")
    ] = False,
) -> None:
    """Draw the spectrograms of mixture, vocals and instrumental, one above the other."""
    try:
        from viso.reports import plots
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is needed for pictures; install the extra [plot]: "
            f"{how_to_install('plot')}"
        ) from error
    stems = Separator(model).separate(song, start_s=start, duration_s=duration)
    signals = {
        "mixture": stems.vocals + stems.instrumental,
        "vocals": stems.vocals,
        "instrumental": stems.instrumental,
    }
    seconds = estimated(stems.vocals, stems.instrumental, rate_hz=stems.rate_hz, start_s=start)
    path = plots.spectrograms(
        signals,
        rate_hz=stems.rate_hz,
        path=output,
        title=song.name,
        start_s=start,
        confidence=seconds if confidence else (),
    )
    out().print(shown(str(path)))
