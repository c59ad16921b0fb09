"""Candidate networks at an equal small budget, and what more songs give.

    python experiments/candidates designs --corpus corpora/shared [--budget 9m] [--only NAMES]
    python experiments/candidates songs --corpus corpora/shared [--budget 6m] [--shares 25,50,100]
                                  [--design viso] [--all-groups] [--longest 7]
    python experiments/candidates sizes                # parameters and speed, nothing is trained
    python experiments/candidates table [--csv FILE]

All but `sizes` take `--work` (build/candidates), where each finished run leaves a JSON file and an
unfinished one its state: the same command goes on where it was stopped. Started several times at
once, the processes share out the runs. The budget is processor time of the training process,
drawing of batches included, so other work on the machine takes little from it; every run draws the
same batches. It needs a checkout with its folder `recipes` and the extra `[train]`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

# A folder that is run is no package: its modules are found as candidates.*.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from candidates.designs import DESIGNS
from candidates.results import designs_table, read, sizes_table, sweep, write_csv
from candidates.scaling import songs_table
from candidates.training import Plan, run
from viso.cli.train import seconds_of
from viso.errors import ConfigError, VisoError
from viso.train.data.corpus import Corpus
from viso.train.recipe import Recipe, VisoSettings

_CHECKOUT = Path(__file__).resolve().parents[2]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ConfigError
        If it cannot be read or is not one of `viso`.
    """
    recipe = Recipe.from_toml(path)
    if not isinstance(recipe.network, VisoSettings):
        raise ConfigError(f"{path}: [network] must be of kind viso, for its bands")
    return recipe


def seeded_recipe(recipe: Recipe, seed: int, precision: str | None) -> Recipe:
    """Return a recipe with another seed and, if one is given, another precision."""
    how = {} if precision is None else {"precision": precision}
    schedule = recipe.schedule.model_copy(update=how)
    return recipe.model_copy(update={"seed": seed, "schedule": schedule})


def plans(options: argparse.Namespace) -> Iterator[Plan]:
    """Yield the runs that a command asks for.

    Raises
    ------
    ConfigError
        If the recipe is none for this, or the budget no duration.
    """
    recipe = read_recipe(options.recipe)
    usual = Plan(
        design="viso",
        recipe=recipe,
        first=options.first,
        budget_s=seconds_of(options.budget),
        threads=options.threads,
    )
    for seed in range(1, options.seeds + 1):
        seeded = replace(usual, recipe=seeded_recipe(recipe, seed, options.precision))
        if options.command == "designs":
            for name in options.only.split(","):
                yield replace(seeded, design=name)
        else:
            for percent in options.shares.split(","):
                yield replace(
                    seeded,
                    design=options.design,
                    percent=float(percent),
                    alone=not options.all_groups,
                    longest_s=options.longest or None,
                )


def arguments() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    parser = argparse.ArgumentParser(
        prog="experiments/candidates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    designs = commands.add_parser("designs", help="train and score the designs")
    designs.add_argument("--only", default=",".join(DESIGNS), help="these, with commas")
    songs = commands.add_parser("songs", help="train one design on shares of the songs")
    songs.add_argument("--design", default="viso", choices=list(DESIGNS))
    songs.add_argument("--shares", default="25,50,100", help="percent, with commas")
    songs.add_argument("--all-groups", action="store_true", help="beside all else of the recipe")
    songs.add_argument(
        "--longest", type=float, default=7.0, help="seconds of each song, 0: all of it"
    )
    sizes = commands.add_parser("sizes", help="parameters and speed of the designs")
    table = commands.add_parser("table", help="print what was found, as Markdown")
    table.add_argument("--csv", type=Path, help="write all runs there, too")
    table.add_argument("--ahead", default="240", help="songs to draw the line on to, with commas")
    for command in (designs, songs, table):
        command.add_argument("--work", type=Path, default=Path("build/candidates"))
    for command in (designs, songs, sizes):
        command.add_argument("--recipe", type=Path, default=_CHECKOUT / "recipes/viso.toml")
        command.add_argument("--first", type=Path, default=_CHECKOUT / "checkpoints/viso.pt")
    for command in (designs, songs):
        command.add_argument("--corpus", type=Path, required=True)
        command.add_argument("--budget", default="9m" if command is designs else "6m")
        command.add_argument("--seeds", type=int, default=1, help="of every run so many")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument(
            "--precision",
            choices=["32-true", "bf16-mixed"],
            help="in place of the recipe's: bf16-mixed where the processor multiplies in bfloat16",
        )
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command says."""
    parser = arguments()
    options = parser.parse_args(words)
    if options.command == "table":
        records = read(options.work)
        if not records:
            parser.error(f"{options.work}: no finished run there")
        ahead = [int(number) for number in options.ahead.split(",")]
        print(f"{designs_table(records)}\n\n{songs_table(records, ahead=ahead)}".rstrip())
        if options.csv:
            write_csv(records, options.csv)
        return
    unknown = set(getattr(options, "only", "viso").split(",")) - set(DESIGNS)
    if unknown:
        parser.error(f"--only: no design {', '.join(sorted(unknown))}")
    try:
        if options.command == "sizes":
            print(sizes_table(read_recipe(options.recipe), options.first))
            return
        n_done = sweep(list(plans(options)), Corpus(options.corpus), options.work, run)
    except VisoError as error:
        parser.error(str(error))
    print(f"{n_done} runs done; python experiments/candidates table --work {options.work}")


if __name__ == "__main__":
    main()
