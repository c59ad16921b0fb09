"""What still goes wrong: how the error of a separator divides, by name, and pictures of it.

    python bench/errors.py MODEL... --data FOLDER -o OUT [--songs N] [--genres CSV]

Separates every song of a folder with true stems and shares out the energy of the vocals' error,
which uSDR measures, among kinds (music that leaks in, vocals that are lost), frequencies, the
middle and the sides, and what is sung at that moment. Writes OUT/errors.md with tables,
OUT/errors.json, and for each of the N songs on which the first model is worst a picture of mixture,
true vocals, estimate and error. The definitions stand in `failures/frames.py` (what a frame is),
`failures/division.py` (what leak and lost are) and `failures/names.py` (the names). Needs the
extras `[plot]` and SciPy, which `[dev]` brings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from failures.division import Division, divide
from failures.names import FAILURES, failures_of
from failures.page import as_json, page
from failures.pictures import Song, draw
from viso import Separator
from viso.errors import VisoError
from viso.evaluate import read_genres, songs_of, truth_of

Floats = npt.NDArray[np.float32]


def separated(separator: Separator, stems: list[Path]) -> Song:
    """Return a song's truth and its estimated vocals."""
    truth, rate_hz = truth_of(stems)
    mixture = truth["vocals"] + truth["instrumental"]
    estimate = separator.separate(mixture, rate_hz=rate_hz).vocals
    return Song(truth["vocals"], truth["instrumental"], estimate, rate_hz)


def divisions_of(separator: Separator, songs: dict[str, list[Path]]) -> dict[str, Division]:
    """Measure every song, telling each."""
    found = {}
    for name, stems in songs.items():
        vocals, instrumental, estimate, rate_hz = separated(separator, stems)
        found[name] = divide(vocals, instrumental, estimate, rate_hz=rate_hz)
        print(f"{separator.name}: {name}: {headline(found[name])}", flush=True)
    return found


def headline(division: Division) -> str:
    """Return uSDR and the three largest failures in words."""
    shares = failures_of(division)
    worst = sorted(FAILURES, key=lambda name: -shares[name])[:3]
    told = ", ".join(f"{name} {shares[name]:.0f} %" for name in worst)
    return f"uSDR {division.usdr_db:.1f} dB; of the error: {told}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name, ONNX file or blend")
    parser.add_argument("--data", type=Path, required=True, help="songs with true stems")
    parser.add_argument("--genres", type=Path, help="CSV with Track Name and Genre")
    parser.add_argument("--songs", type=int, default=5, help="pictures of so many, the worst")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    try:
        songs = songs_of(options.data)
        genres = read_genres(options.genres) if options.genres else {}
        separators = [Separator(model) for model in options.models]
        systems = {each.name: divisions_of(each, songs) for each in separators}
    except VisoError as error:
        parser.exit(1, f"{error}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "errors.md").write_text(page(systems, genres), encoding="utf-8")
    (options.out / "errors.json").write_text(
        json.dumps(as_json(systems), indent=1), encoding="utf-8"
    )
    first = systems[separators[0].name]
    for name in sorted(first, key=lambda song: first[song].usdr_db)[: options.songs]:
        picture = options.out / f"{name}.webp"
        title = f"{name} ({separators[0].name})\n{headline(first[name])}"
        draw(separated(separators[0], songs[name]), picture, title=title)
        print(picture)
    print(options.out / "errors.md")


if __name__ == "__main__":
    main()
