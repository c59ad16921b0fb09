"""Compose music without singing and let a synthesiser play it, for a network to learn from.

    apt-get install fluidsynth fluid-soundfont-gm && pip install mido
    python scripts/play_bands.py bands/ --pieces 120 --seconds 90

Each piece has a style (metal, rock, pop, electronic, funk, jazz, folk, orchestral), chords,
drums, bass, guitars, keys and often a melody, all drawn by chance. Guitars of the heavy styles
go through an overdriven amplifier, twice, one on either side: heavy guitars are what networks
with few real songs to learn from take for voices. Nothing that sings is among the instruments.
A piece depends on the seed and its number only; those that are there already are skipped.

Then: ``viso data pack ... --music bands/ --licence "instruments: MIT (FluidR3)"``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bands.score import compose
from bands.sound import RATE_HZ, mixed
from viso.audio import write

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the pieces that are not there yet; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pieces", type=int, default=120)
    parser.add_argument("--first", type=int, default=0, help="number of the first piece")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT)
    given = parser.parse_args(arguments)
    if not given.soundfont.is_file():
        parser.error(f"{given.soundfont}: not there; install fluid-soundfont-gm or name another")
    given.folder.mkdir(parents=True, exist_ok=True)
    for number in range(given.first, given.first + given.pieces):
        path = given.folder / f"{number:04d}.flac"
        if path.is_file():
            continue
        g = np.random.default_rng([given.seed, number])
        score = compose(g, length_s=given.seconds)
        audio = mixed(score, given.soundfont, g)
        hidden = path.with_name(f".{path.name}")
        write(hidden, audio, rate_hz=RATE_HZ)
        hidden.replace(path)
        roles = ", ".join(f"{p.role}{' (amp)' if p.amp else ''}" for p in score.parts)
        print(f"{path}: {score.style}, {score.tempo_bpm:.0f} bpm, {roles}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
