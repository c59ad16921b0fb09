"""Compose music in which instruments sing, and play it, for a network to learn what is no voice.

    apt-get install fluidsynth fluid-soundfont-gm musescore-general-soundfont-lossless \
        csound-soundfont opl3-soundfont
    pip install mido scipy music21
    python scripts/play_leads.py leads/ --pieces 120

Each piece has a melody in a singer's register (150 to 1100 Hz), loud and mostly central, with
vibrato, glides, ornaments and swells, over nothing, a drone, drums, a guitar or a whole band.
The lead is a sampled instrument or one of the project's own synthesiser; no choir, no voice.
Melodies are composed, or old tunes that music21 brings (`--no-tunes` leaves these out).
Held-out instruments and the set TimGM6mb are never heard (see `build_leads_valid.py`).
A piece depends on the seed, its number and the sample sets that are there; those that are in
the folder already are skipped.

Then: ``viso data pack ... --music leads/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bands.sound import RATE_HZ
from leads.instruments import SETS, VALID_SET
from leads.piece import Piece, compose_piece
from leads.render import play_piece
from leads.tunes import catalogue, read_tune
from viso.audio import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the pieces that are not there yet; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pieces", type=int, default=120)
    parser.add_argument("--first", type=int, default=0, help="number of the first piece")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-tunes", action="store_true", help="composed melodies only")
    given = parser.parse_args(arguments)
    sets = tuple(name for name, of in SETS.items() if of.path.is_file() and name != VALID_SET)
    if "fluid" not in sets:
        parser.error(f"{SETS['fluid'].path}: not there; install fluid-soundfont-gm")
    if not given.no_tunes and not catalogue():
        parser.error("music21 is not there; install it, or leave the old tunes out: --no-tunes")
    given.folder.mkdir(parents=True, exist_ok=True)
    for number in range(given.first, given.first + given.pieces):
        path = given.folder / f"{number:04d}.flac"
        if path.is_file():
            continue
        g = np.random.default_rng([given.seed, number])
        piece = draw_piece(g, length_s=given.seconds, sets=sets, tunes=not given.no_tunes)
        audio = play_piece(piece, g)
        hidden = path.with_name(f".{path.name}")
        write(hidden, audio, rate_hz=RATE_HZ)
        hidden.replace(path)
        print(f"{path}: {described(piece)}", flush=True)
    return 0


def draw_piece(
    g: np.random.Generator,
    *,
    length_s: float,
    sets: tuple[str, ...],
    tunes: bool,
    held_out: bool = False,
    kind: str | None = None,
    leader: tuple[str, str | None] | None = None,
) -> Piece:
    """Compose a piece, see `compose_piece`; two in five are old tunes."""
    tune = None
    if tunes and g.random() < 0.4:
        names = catalogue()
        for _ in range(5):
            tune = tune or read_tune(*names[int(g.integers(len(names)))])
    return compose_piece(
        g, length_s=length_s, tune=tune, held_out=held_out, sets=sets, kind=kind, leader=leader
    )


def described(piece: Piece) -> str:
    """Return a line about a piece: backing, tempo, who leads, which tune."""
    leads = ", ".join(f"{x.instrument.name} ({x.sample_set or 'own'})" for x in piece.leads)
    style = f" {piece.backing.style} ({piece.backing_set})" if piece.backing.parts else ""
    tune = f"; {piece.tune}" if piece.tune else ""
    return f"{piece.kind}{style}, {piece.tempo_bpm:.0f} bpm, {leads}{tune}"


if __name__ == "__main__":
    sys.exit(main())
