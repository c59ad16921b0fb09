"""Old tunes from music21's corpus, whose melodies are out of copyright."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["COLLECTIONS", "Tune", "catalogue", "read_tune"]

# Printed in 1883, from 1782 and in 1903. Not the Essen songs: their legal status is unclear.
COLLECTIONS = ("ryansMammoth", "airdsAirs", "oneills1850")


@dataclass(frozen=True)
class Tune:
    """A melody: lengths in bars with MIDI pitches (None is a rest), and its key.

    `root` and `scale` are those of the key signature's major scale.
    """

    name: str
    notes: tuple[tuple[float, int | None], ...]
    root: int
    scale: tuple[int, ...] = (0, 2, 4, 5, 7, 9, 11)


def _corpus() -> Path | None:
    found = importlib.util.find_spec("music21")
    places = found.submodule_search_locations if found else None
    return Path(places[0]) / "corpus" if places else None


@cache
def catalogue() -> tuple[tuple[str, int | None], ...]:
    """List the tunes: file and number in it. Empty without music21."""
    corpus = _corpus()
    if corpus is None:
        return ()
    found: list[tuple[str, int | None]] = []
    for collection in COLLECTIONS:
        for path in sorted((corpus / collection).glob("*.abc")):
            name = f"{collection}/{path.name}"
            text = path.read_text(encoding="utf-8", errors="replace")
            numbers = [int(n) for n in re.findall(r"^X:\s*(\d+)", text, re.MULTILINE)]
            found += [(name, n if len(numbers) > 1 else None) for n in numbers]
    return tuple(found)


def read_tune(name: str, number: int | None) -> Tune | None:
    """Read a tune of the catalogue; None if music21 cannot, or it is shorter than 12 notes."""
    from music21 import converter, exceptions21

    corpus = _corpus()
    assert corpus is not None
    try:
        score = converter.parse(corpus / name, number=number, format="abc", forceSource=True)
        line = score.flatten().stripTies()
    except (exceptions21.Music21Exception, ValueError, IndexError, KeyError, AttributeError):
        return None
    metre = line.getElementsByClass("TimeSignature").first()
    key = line.getElementsByClass("KeySignature").first()
    bar = max(2.0, float(metre.barDuration.quarterLength) if metre else 4.0)
    bar = bar * 2 if bar <= 2 else bar
    notes = tuple(
        (float(event.quarterLength) / bar, event.pitch.midi if event.isNote else None)
        for event in line.notesAndRests
        if event.quarterLength > 0 and (event.isNote or event.isRest)
    )
    if sum(pitch is not None for _, pitch in notes) < 12:
        return None
    sharps = key.sharps if key else 0
    return Tune(f"{name} {number or ''}".strip(), notes, (7 * sharps) % 12)
