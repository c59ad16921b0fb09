"""``viso evaluate``: compare models and other people's stems with the true stems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viso.cli.console import EXIT_INTERRUPTED, error_line
from viso.models import registry
from viso.separator.stem_family import ALL, STEMS

__all__ = ["evaluate"]


def _scores_each(stems: str) -> bool:
    names = {name.strip() for name in stems.split(",")}
    if names not in ({ALL}, set(STEMS)):
        raise typer.BadParameter(f"{stems!r}: {','.join(STEMS)} or all", param_hint="--stems")
    return names == {ALL}


def evaluate(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SYSTEM]...",
            help="Packaged models, ONNX files, blends of them (a+b, 'a*0.75+b*0.25'), "
            "folders of estimates.",
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder with a folder of true stems for each song.")
    ] = Path(),
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the report; goes on if interrupted."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="JSON with another system's scores a song.")
    ] = None,
    baseline_name: Annotated[str, typer.Option(help="What to call it.")] = "baseline",
    genres: Annotated[
        Path | None,
        typer.Option(help="CSV with Track Name and Genre: a table by genre, too."),
    ] = None,
    wiener: Annotated[
        int,
        typer.Option(
            min=0, help="Every model once more, with so many iterations of a Wiener filter."
        ),
    ] = 0,
    bss: Annotated[bool, typer.Option(help="BSSEval v4, too.")] = True,
    stems: Annotated[
        str,
        typer.Option(help="vocals,instrumental, or all: drums, bass and whatever the data has."),
    ] = ",".join(STEMS),
    oracles: Annotated[bool, typer.Option(help="Add the ideal masks.")] = True,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Keep what the vocals miss as sound.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Songs at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Score separators on songs whose stems are known."""
    # Imported here, because separating songs does not need it.
    from viso.cli.evaluate_run import EvaluationRequest, run

    request = EvaluationRequest(
        names=tuple(names or [registry.DEFAULT]),
        data=data,
        report=output,
        baseline=baseline,
        baseline_name=baseline_name,
        genres=genres,
        wiener=wiener,
        bss=bss,
        each=_scores_each(stems),
        oracles=oracles,
        residuals=residuals,
        jobs=jobs,
        as_json=as_json,
    )
    try:
        run(request)
    except KeyboardInterrupt as error:
        kept = "" if output is None else "; the same command goes on where it stopped"
        error_line(f"interrupted{kept}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
