"""Build songs in which an instrument sings beside a singer, to measure how well they part.

    apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont
    pip install mido scipy music21
    python scripts/build_leads_valid.py recordings leads/valid

Each song has `vocals.flac`, a dry singer of recipes/leads-valid-singers.txt in a plain room, and
`instrumental.flac`, a lead over a backing as `play_leads.py` makes them, but of instruments and a
sample set that its pieces never have. In turn both sound at once, the lead answers the voice, or
the voice rests for several seconds while the lead sings on. The backing is moved into a key that
the voice fits. The songs depend on the recordings, the sample sets and the seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bands.score import Note, Section
from bands.sound import RATE_HZ, Floats, limited
from leads.instruments import SETS, VALID_SET
from leads.melody import folded
from leads.piece import Piece
from leads.render import active_rms, play_backing, play_leads
from leads.room import reverberated
from leads.sung import pitch_classes, quiet_points, transposition
from leads.tunes import catalogue
from play_leads import described, draw_piece
from viso.audio import read, write

SINGERS = Path(__file__).parents[1] / "recipes/leads-valid-singers.txt"
_SETS = ("fluid", VALID_SET)
_KINDS = ("thin", "full", "alone", "drone", "full", "thin", "percussion", "thin", "drone", "full",
          "alone", "thin")  # fmt: skip
_LEADERS = (
    ("viola", "fluid"), ("alto sax", VALID_SET), ("own erhu", None), ("shamisen", "fluid"),
    ("harmonica", "fluid"), ("trumpet", VALID_SET), ("bassoon", "fluid"), ("violin", VALID_SET),
    ("melodica", None), ("lead guitar", VALID_SET), ("flute", VALID_SET), ("own erhu", None),
)  # fmt: skip
_PLANS = ("together", "answers", "rests")
_LENGTH_S = 24.0
# A phrase after this second is in singing/techsinger/all-00.ogg, too, which is trained on.
_USED_S = {"singing/gtsinger/all-05.ogg": 120.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the songs; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("recordings", type=Path, help="folder that the paths of the list lie in")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--singers", type=Path, default=SINGERS, help="list of files of singing")
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    for name in _SETS:
        if not SETS[name].path.is_file():
            parser.error(f"{SETS[name].path}: not there; install it")
    if not catalogue():
        parser.error("music21 is not there; install it")
    lines = given.singers.read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    singers = [given.recordings / name for name in names]
    missing = [path for path in singers if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]}: not there; the list is {given.singers}")
    for number in range(given.songs):
        g = np.random.default_rng([given.seed, 7, number])
        plan = _PLANS[(number + number // len(singers)) % len(_PLANS)]
        singer = singers[number % len(singers)]
        kind, leader = _KINDS[number % len(_KINDS)], _LEADERS[number % len(_LEADERS)]
        vocals, instrumental, piece, level_db = built(
            singer, plan, kind, leader, g, used_s=_USED_S.get(names[number % len(names)])
        )
        folder = given.folder / f"{number:02d} {singer.parent.name} {singer.stem} {plan} {kind}"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "vocals.flac", vocals, rate_hz=RATE_HZ)
        write(folder / "instrumental.flac", instrumental, rate_hz=RATE_HZ)
        print(f"{folder.name}: voice {level_db:+.1f} dB; {described(piece)}", flush=True)
    return 0


def built(
    singer: Path,
    plan: str,
    kind: str,
    leader: tuple[str, str | None],
    g: np.random.Generator,
    *,
    used_s: float | None = None,
) -> tuple[Floats, Floats, Piece, float]:
    """Build one song from the first `used_s` of a singer's file, or from all of it.

    Returns
    -------
    vocals, instrumental : float32 arrays [shape=(2, n)]
        At 44.1 kHz; their sum stays below full scale.
    Piece
        What the instruments play.
    float
        Level of the voice against the instrumental, dB.
    """
    sound, rate_hz = read(singer, duration_s=used_s)
    if rate_hz != RATE_HZ:
        raise SystemExit(f"{singer}: {rate_hz} Hz; choose a recording at {RATE_HZ} Hz")
    voice, intervals = placed(sound.mean(axis=0), plan, g)
    piece = draw_piece(
        g, length_s=_LENGTH_S, sets=_SETS, tunes=True, held_out=True, kind=kind, leader=leader
    )
    scale = frozenset((piece.section.root + step) % 12 for step in piece.section.scale)
    piece = transposed(piece, transposition(pitch_classes(voice), scale))
    if plan == "answers":
        piece = answering(piece, intervals)
    leads, backing = play_leads(piece, g), play_backing(piece, g)
    rms = active_rms(backing)
    lead_db = float(g.uniform(2, 8))
    mix = leads * np.float32(10 ** (lead_db / 20)) + backing / rms if rms else leads
    instrumental = limited(mix, g)
    level_db = float(g.uniform(-6, 3))
    vocals = reverberated(np.stack([voice, voice]), g, wet_db=float(g.uniform(-22, -10)))
    vocals *= np.float32(10 ** (level_db / 20) * active_rms(instrumental) / active_rms(vocals))
    peak = max(float(np.abs(x).max()) for x in (vocals, instrumental, vocals + instrumental))
    gain = np.float32(0.9 / peak)
    return vocals * gain, instrumental * gain, piece, level_db


def placed(
    voice: Floats, plan: str, g: np.random.Generator
) -> tuple[Floats, list[tuple[float, float]]]:
    """Lay phrases of a voice into a song.

    Returns
    -------
    float32 array [shape=(n,)]
        The voice, silent where it rests.
    list
        Seconds in which it sings.
    """
    points = quiet_points(voice, every_s={"together": 2.5, "answers": 1.7, "rests": 2.5}[plan])
    k = int(g.integers(0, max(1, len(points) - 8)))
    result = np.zeros(round(_LENGTH_S * RATE_HZ), np.float32)
    at, intervals = float(g.uniform(0.5, 2.0)), []
    rest_from, rest_s = float(g.uniform(6, 9)), float(g.uniform(6, 8))
    loudness = active_rms(voice[None])
    while at < _LENGTH_S - 1.5:
        phrase = voice[points[k] : points[k + 1]].copy()
        k = (k + 1) % (len(points) - 1)
        if active_rms(phrase[None]) < 0.2 * loudness:  # a pause between two takes
            continue
        fade = round(0.015 * RATE_HZ)
        phrase[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        phrase[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        start = round(at * RATE_HZ)
        n = min(len(phrase), len(result) - start)
        result[start : start + n] += phrase[:n]
        intervals.append((at, at + n / RATE_HZ))
        at += n / RATE_HZ
        if plan == "answers":
            at += float(g.uniform(2.5, 4.0))
        elif plan == "rests" and at > rest_from:
            at, rest_from = at + rest_s, _LENGTH_S
        else:
            at += float(g.choice([0.0, 0.3, 0.8]))
    return result, intervals


def transposed(piece: Piece, by: int) -> Piece:
    """Move a piece by semitones; its leads stay within their registers."""
    section = replace(piece.section, root=(piece.section.root + by) % 12)

    def moved(note: Note) -> Note:
        return replace(note, pitch=note.pitch + by)

    leads = []
    for lead in piece.leads:
        line = folded(
            [moved(n) for n in lead.line], low=lead.instrument.low, high=lead.instrument.high
        )
        leads.append(replace(lead, line=tuple(line)))
    for part in piece.backing.parts:
        if part.program is not None:
            part.notes = [moved(note) for note in part.notes]
    assert isinstance(section, Section)
    return replace(piece, section=section, leads=tuple(leads))


def answering(piece: Piece, intervals: list[tuple[float, float]]) -> Piece:
    """Leave out the lead's notes while the voice sings."""
    beats = [(a * piece.tempo_bpm / 60, (b - 0.2) * piece.tempo_bpm / 60) for a, b in intervals]
    leads = []
    for lead in piece.leads:
        line = []
        for note in lead.line:
            if any(a <= note.beat < b for a, b in beats):
                continue
            until = min((a for a, _ in beats if a > note.beat), default=np.inf)
            line.append(replace(note, length=min(note.length, max(0.1, until - note.beat))))
        leads.append(replace(lead, line=tuple(line)))
    return replace(piece, leads=tuple(leads))


if __name__ == "__main__":
    sys.exit(main())
