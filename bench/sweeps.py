"""What a threshold, a blend and the Wiener filter do: makes a page and its picture.

    python bench/sweeps.py --data songs/valid [--work build/sweeps] [-o PAGE]

Scores, in uSDR over songs with true stems, `lin2018` with thresholds from 0 to 0.5, blends of two
models with shares from 0 to 1, and models with 0 to 3 iterations of the multichannel Wiener filter
behind them. A network runs once over a song; what it said is kept for all that is tried. Finished
songs are kept in `--work`: the same command goes on where it stopped. It needs a checkout with its
folder `models`, and the extras `[plot,train]`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from viso import Separator
from viso.evaluate import Row, songs_of, summary, truth_of
from viso.metrics import usdr
from viso.models import registry
from viso.models.onnx import OnnxModel
from viso.train.papers.lin2018 import RAMP

Floats = npt.NDArray[np.float32]
Point = tuple[str, str, float]
"""Sweep, curve, and where on it."""
Figures = dict[str, dict[str, float]]
"""Of a song, by stem and metric."""
Scores = dict[Point, dict[str, Row]]
"""By point and stem."""

STEMS = ("vocals", "instrumental")
LIN, FNN, BLSTM = "lin2018", "uhlich2017-fnn", "uhlich2017-blstm"
PAPERS = (LIN, FNN, BLSTM)
OWN = ("viso", "viso-cnn")
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(11))
SHARES = tuple(round(0.1 * k, 1) for k in range(11))
ITERATIONS = (0, 1, 2, 3)
THRESHOLD = 0.15  # the paper's for DSD100, and the packaged one

TITLES = {
    "threshold": ("Threshold of the soft mask", "threshold"),
    "share": ("Blends", "share of the first"),
    "wiener": ("Multichannel Wiener filter", "iterations"),
}


class Remembering(OnnxModel):
    """A model that runs a chunk once, and may cut low values off its mask.

    `threshold` is what is cut off, as the network of Lin et al. does; None leaves all.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._said: dict[bytes, Floats] = {}
        self.threshold: float | None = None

    def run(self, features: Floats, /) -> Floats:
        """See `OnnxModel.run`."""
        key = hashlib.blake2b(features.tobytes()).digest()
        if key not in self._said:
            self._said[key] = super().run(features)
        mask = self._said[key]
        if not self.threshold:
            return mask
        return mask * np.clip((mask - self.threshold) / np.float32(RAMP) + 0.5, 0, 1)

    def forget(self) -> None:
        """Drop what is remembered of a song."""
        self._said.clear()


def without_threshold(path: Path, folder: Path) -> Path:
    """Write the model once more, with the sigmoid before its threshold as output."""
    graph = onnx.load(path)
    sigmoid = next(node for node in reversed(graph.graph.node) if node.op_type == "Sigmoid")
    graph.graph.output[0].name = sigmoid.output[0]
    out = folder / f"{path.stem}-without-threshold.onnx"
    onnx.save(graph, out)
    return out


def points(
    models: dict[str, Remembering], score: Callable[[Separator], Figures]
) -> Iterator[tuple[Point, Figures]]:
    """Score all that is tried on one song."""
    lin = models[LIN]
    for threshold in THRESHOLDS:
        lin.threshold = threshold
        yield ("threshold", LIN, threshold), score(Separator(lin))
    lin.threshold = THRESHOLD
    for one, other in ((FNN, BLSTM), OWN):
        for share in SHARES:
            parts = {name: part for name, part in ((one, share), (other, 1 - share)) if part}
            for wiener in (0, 1):
                blended = [models[name] for name in parts]
                separator = Separator(blended, weights=list(parts.values()), wiener=wiener)
                name = f"{one} + {other}{', Wiener 1' if wiener else ''}"
                yield ("share", name, share), score(separator)
    for names in (*((name,) for name in (*PAPERS, *OWN)), (FNN, BLSTM), OWN):
        for iterations in ITERATIONS:
            separator = Separator([models[name] for name in names], wiener=iterations)
            yield ("wiener", " + ".join(names), iterations), score(separator)


def measured(data: Path, work: Path) -> Scores:
    """Score every song, or read what was scored before, and return the medians."""
    work.mkdir(parents=True, exist_ok=True)
    bare = without_threshold(registry.path_of(LIN), work)
    models = {name: Remembering(registry.path_of(name)) for name in (*PAPERS, *OWN)}
    models[LIN] = Remembering(bare)
    state = hashlib.sha256("".join(model.sha256 for model in models.values()).encode())
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for song, stems in songs_of(data).items():
        kept = work / f"{song} {state.hexdigest()[:12]}.json"
        if not kept.exists():
            began = time.perf_counter()
            truth, rate_hz = truth_of(stems)

            told = points(models, partial(score, truth, rate_hz))
            kept.write_text(json.dumps({json.dumps(p): v for p, v in told}), encoding="utf-8")
            for model in models.values():
                model.forget()
            print(f"{song}: {time.perf_counter() - began:.0f} s", flush=True)
        found[song] = json.loads(kept.read_text(encoding="utf-8"))
    scores: Scores = {}
    for row in summary(found):
        sweep, curve, at = json.loads(row.system)
        scores.setdefault((sweep, curve, at), {})[row.stem] = row
    return scores


def score(truth: dict[str, Floats], rate_hz: int, separator: Separator) -> Figures:
    """Return the uSDR of both stems."""
    stems = separator.separate(truth["vocals"] + truth["instrumental"], rate_hz=rate_hz)
    return {stem: {"usdr": usdr(truth[stem], getattr(stems, stem))} for stem in STEMS}


def curves_of(scores: Scores, sweep: str) -> dict[str, list[float]]:
    """Return the curves of a sweep, and where they have points."""
    curves: dict[str, list[float]] = {}
    for found, curve, at in scores:
        if found == sweep:
            curves.setdefault(curve, []).append(at)
    return {curve: sorted(places) for curve, places in curves.items()}


def draw(scores: Scores, path: Path) -> None:
    """Draw a row of panels for each stem, a panel for each sweep."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(STEMS), len(TITLES), squeeze=False)
    for row, stem in zip(panels, STEMS, strict=True):
        for panel, (sweep, (title, what)) in zip(row, TITLES.items(), strict=True):
            for curve, places in curves_of(scores, sweep).items():
                medians = [scores[sweep, curve, at][stem].median for at in places]
                panel.plot(places, medians, marker="o", markersize=4, label=curve)
            panel.set(title=f"{title}: {stem}", xlabel=what, ylabel="uSDR, dB (median)")
            panel.grid(alpha=0.3)
            if sweep == "wiener":
                panel.set_xticks(ITERATIONS)
        for panel in row:
            panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    figure.savefig(path, dpi=110)


def table(scores: Scores, sweep: str, stem: str) -> str:
    """Return a sweep as a table: a row a curve, a column a place."""
    curves = curves_of(scores, sweep)
    places = sorted({at for found in curves.values() for at in found})
    lines = [["", *(f"{at:g}" for at in places)], ["---"] + ["---:"] * len(places)]
    for curve in curves:
        rows = [scores[sweep, curve, at][stem] for at in places]
        told = [f"{row.low:.2f} to {row.high:.2f}; mean {row.mean:.2f}" for row in rows]
        cells = zip(rows, told, strict=True)
        lines.append([curve, *(f"{row.median:.2f}<br><sub>{rest}</sub>" for row, rest in cells)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(scores: Scores, picture: str) -> str:
    """Return the page."""
    n_songs = max(row.n_songs for rows in scores.values() for row in rows.values())
    parts = [
        "# Threshold, blends, Wiener filter",
        f"uSDR in decibels over {n_songs} songs with true stems: medians, below them the "
        "bootstrap 95 % interval and the mean. Made by `python bench/sweeps.py`; what the systems "
        "are: [the papers' systems](../understand/published.md).",
        f"![Median uSDR over threshold, share and iterations]({picture})",
    ]
    for sweep, (title, what) in TITLES.items():
        parts += [f"## {title}", f"Columns: {what}."]
        for stem in STEMS:
            parts += [f"### {stem.capitalize()}", table(scores, sweep, stem)]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="songs with true stems")
    parser.add_argument("--work", type=Path, default=Path("build/sweeps"))
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/evidence/sweeps.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/sweeps.webp"))
    options = parser.parse_args(arguments)
    scores = measured(options.data, options.work)
    draw(scores, options.picture)
    link = Path(os.path.relpath(options.picture, options.out.parent)).as_posix()
    options.out.write_text(page(scores, link), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
