"""Records of runs in a folder, and the tables of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from candidates.designs import DESIGNS, FIRST, build, times_real_time
from candidates.training import Plan, Record
from viso.evaluate import Comparison, Row, compare, summary
from viso.train.data.corpus import Corpus
from viso.train.recipe import Recipe, VisoSettings

__all__ = ["designs_table", "read", "sizes_table", "sweep", "write_csv"]

_STEM, _METRIC = "vocals", "usdr"


def sweep(
    plans: Sequence[Plan],
    corpus: Corpus,
    folder: Path,
    run: Callable[[Plan, Corpus, Path], Record],
) -> int:
    """Do the runs that are not done and that no other process is at; return how many that were.

    Parameters
    ----------
    plans : sequence of Plan
    corpus : Corpus
    folder : Path
        Gets a JSON file for each finished run.
    run : callable
        Does one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_done = 0
    for plan in plans:
        path = folder / f"{plan.key(corpus)}.json"
        try:
            with FileLock(path.with_suffix(".lock"), timeout=0):
                if path.exists():
                    continue
                record = run(plan, corpus, folder)
                beside = path.with_name(f".{path.name}.part")
                beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                beside.replace(path)
                n_done += 1
        except Timeout:
            continue
    return n_done


def read(folder: Path) -> list[Record]:
    """Return the records of a folder's finished runs, by design and share."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    order = list(DESIGNS)
    return sorted(
        records,
        key=lambda r: (
            order.index(r["design"]),
            r["alone"],
            r["percent"],
            r["budget_s"],
            r["seed"],
        ),
    )


def systems_of(records: dict[str, Record]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return named records' scores by song, as `viso.evaluate` takes them."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for name, record in records.items():
        for song, value in record["scores"].items():
            found.setdefault(song, {})[name] = {_STEM: {_METRIC: value}}
    return found


def designs_table(records: Sequence[Record]) -> str:
    """Return the comparison of the designs on all songs and groups, in Markdown.

    A row a run; where a design ran with several seeds it has several. Each is compared with the
    reference of its seed, song by song: `viso` from scratch, for two-pass the trained `viso`.
    """
    wanted = [r for r in records if not r["alone"] and r["percent"] == 100]
    named = {f"{r['design']} {r['budget_s']:g} {r['seed']}": r for r in wanted}
    songs = systems_of(named)
    rows = {row.system: row for row in summary(songs)}
    head = [
        "design", "parameters, M", "times real time", "steps", "audio, h", "loss", "mean",
        "median", "against its reference",
    ]  # fmt: skip
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name, record in named.items():
        base = _reference(record, named)
        against = compare(songs, name, base, stem=_STEM, metric=_METRIC) if base else None
        lines.append(_line(_cells(record, rows[name], against)))
    return "\n".join([*lines, *(_gap(r) for r in wanted if "heard_references" in r)])


def _gap(record: Record) -> str:
    """Say how much better the trained network is on the songs that it learnt from."""
    told = []
    for kind, what in (("heard", "learnt from"), ("scores", "did not hear")):
        values, references = list(record[kind].values()), record[f"{kind}_references"]
        told.append(
            f"{len(values)} songs it {what}: mean {np.mean(values):.2f}, median "
            f"{np.median(values):.2f} (ideal binary mask {references['ideal binary mask']:.2f}, "
            f"mixture {references['mixture']:.2f})"
        )
    return f"\n{DESIGNS[record['design']].label}: {'; '.join(told)}."


def sizes_table(recipe: Recipe, first: Path) -> str:
    """Return the parameters of the designs and their speed in one thread, in Markdown.

    Parameters
    ----------
    recipe : Recipe
        Of `viso`, for its bands and chunks.
    first : Path
        Weights of a trained `viso`.
    """
    settings = recipe.network
    assert isinstance(settings, VisoSettings)
    lines = [_line(["design", "parameters", "times real time"]), _line(["---", "---:", "---:"])]
    for name, design in DESIGNS.items():
        network = build(name, settings, recipe.spectral, seed=recipe.seed, first=first)
        n_parameters = sum(weight.numel() for weight in network.parameters())
        speed = times_real_time(network, settings, recipe.spectral)
        lines.append(_line([design.label, f"{n_parameters:,}", f"{speed:.0f}"]))
    return "\n".join(lines)


def _reference(record: Record, named: dict[str, Record]) -> str | None:
    if record["design"] in ("viso", FIRST):
        return None
    if record["design"] == "two-pass":
        return next((name for name, other in named.items() if other["design"] == FIRST), None)
    name = f"viso {record['budget_s']:g} {record['seed']}"
    return name if name in named else None


def _cells(record: Record, row: Row, against: Comparison | None) -> list[str]:
    label = DESIGNS[record["design"]].label
    return [
        label if record["seed"] == 1 else f"{label}, seed {record['seed']}",
        f"{record['parameters'] / 1e6:.2f}",
        f"{record['times_real_time']:.0f}",
        str(record["steps"] or ""),
        f"{record['hours']:.2f}" if record["steps"] else "",
        f"{record['loss']:.2f}" if record["loss"] is not None else "",
        f"{row.mean:.2f}",
        f"{row.median:.2f} ({row.low:.2f} to {row.high:.2f})",
        ""
        if against is None
        else f"{against.difference:+.2f} ({against.low:+.2f} to {against.high:+.2f}), "
        f"p {against.p:.2g}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write a row a run, the score of each song in a column of its own."""
    songs = sorted({song for record in records for song in record["scores"]})
    facts = [key for key, value in records[0].items() if not isinstance(value, dict)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*facts, *songs])
        for record in records:
            values = [_rounded(record.get(key)) for key in facts]
            writer.writerow([*values, *(_rounded(record["scores"].get(song)) for song in songs)])


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
