"""Let a teacher separate songs without stems, so that a student can learn from them.

    python scripts/label_songs.py songs/ labelled/ --with package/htdemucs.onnx
    viso data pack labelled/ -o corpora/labelled --licence "theirs"

The teacher (`--with`) is ``spleeter``, HTDemucs by the path of its ``htdemucs.onnx``
(scripts/teachers says where both come from), or any model that ``viso separate`` takes. A model
that learnt from it says so on its card (``teacher``), with the teacher's terms.

`songs` holds a folder for each song with ``mixture.*`` in it, or sound files; with `--listed`
only those count whose paths below `songs` stand in a file, one a line. `labelled` gets a folder
for each with ``mixture.wav`` and ``vocals.wav``. The script skips songs that are there already.
What the teacher cannot hear (Spleeter: above 11 kHz) is left out of both files, and the corpus's
bandwidth will say so.

Two unlike teachers know more than either. With a second `--with` the label is a blend of both
estimates. With `--agree` only those stretches of a song are kept in which the teachers differ by
so many decibels less than they agree, or in which both hear no voice. What is left is joined.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from teachers import RATE_HZ, Teacher, build_teacher
from viso.audio import Resampler, read, write
from viso.errors import VisoError

WINDOW_S, FADE_S = 8.0, 0.02
NO_VOICE_DB = -30.0  # of a window's vocals against its mixture
Floats = npt.NDArray[np.float32]
_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a"}


def labelled(
    mixture: Floats, teachers: Sequence[Teacher], *, share: float, agree_db: float | None
) -> tuple[Floats, Floats]:
    """Return what all teachers hear of a mixture, and the vocals in it.

    Parameters
    ----------
    mixture : float32 array [shape=(2, n)]
        At 44.1 kHz.
    teachers : sequence of Teacher
        One or two.
    share : float
        Of the first in a blend of two.
    agree_db : float or None
        Keep only where two agree, see `agreed`.

    Returns
    -------
    heard, vocals : float32 arrays [shape=(2, m)]
        `m` is `n`, or less where the teachers disagree; 0 where they agree nowhere.
    """
    heard = mixture
    for teacher in teachers:
        heard = teacher.heard(heard)
    estimates = [_heard_by_all(t.vocals(mixture), teachers) for t in teachers]
    if len(estimates) == 1:
        return heard, estimates[0]
    first, second = estimates
    vocals = (share * first + (1 - share) * second).astype(np.float32)
    if agree_db is None:
        return heard, vocals
    stretches = agreed(first, second, heard, least_db=agree_db)
    return joined(heard, stretches), joined(vocals, stretches)


def _heard_by_all(vocals: Floats, teachers: Sequence[Teacher]) -> Floats:
    for teacher in teachers:
        vocals = teacher.heard(vocals)
    return vocals


def agreed(first: Floats, second: Floats, mixture: Floats, *, least_db: float) -> list[slice]:
    """Return the stretches in which two estimates of the vocals agree.

    A song is looked at in windows of `WINDOW_S`. Two estimates agree in one where their mean is
    `least_db` louder than half their difference, or where both are `NO_VOICE_DB` below the
    mixture. A window that is shorter, at the end, is left out.

    Parameters
    ----------
    first, second, mixture : float32 arrays [shape=(2, n)]
    least_db : float

    Returns
    -------
    list of slice
        Of samples, in order, neighbours joined.
    """
    length = round(WINDOW_S * RATE_HZ)
    kept: list[slice] = []
    for start in range(0, mixture.shape[1] - length + 1, length):
        window = slice(start, start + length)
        one, two = first[:, window], second[:, window]
        loudest = max(_power(one), _power(two))
        is_without = loudest <= 10 ** (NO_VOICE_DB / 10) * _power(mixture[:, window])
        agree = _power((one + two) / 2)
        if is_without or agree >= 10 ** (least_db / 10) * _power((one - two) / 2):
            if kept and kept[-1].stop == start:
                window = slice(kept.pop().start, window.stop)
            kept.append(window)
    return kept


def joined(audio: Floats, stretches: Sequence[slice]) -> Floats:
    """Return stretches of audio [shape=(2, n)] one after the other, their ends faded."""
    n_fade = round(FADE_S * RATE_HZ)
    fade = np.linspace(0, 1, n_fade, dtype=np.float32)
    parts = []
    for stretch in stretches:
        part = audio[:, stretch].copy()
        part[:, :n_fade] *= fade
        part[:, -n_fade:] *= fade[::-1]
        parts.append(part)
    return np.concatenate(parts, axis=1) if parts else audio[:, :0]


def _power(audio: Floats) -> float:
    return float(np.square(audio, dtype=np.float64).sum())


def _listed(folder: Path, table: Path) -> dict[str, Path]:
    """Return the files that a table names, by folder and name.

    Raises
    ------
    ValueError
        If the table cannot be read, a file is not there, or two have one folder's name and name.
    """
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{table}: cannot be read ({error})") from error
    paths = [folder / line for line in lines if line.strip() and not line.startswith("#")]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{table}: not there: {', '.join(missing)}")
    songs = {f"{path.parent.name} - {path.stem}": path for path in paths}
    if len(songs) < len(set(paths)):
        twice = next(path for path in paths if path not in songs.values())
        raise ValueError(f"{table}: another file has folder and name of {twice}")
    return songs


def _songs(folder: Path) -> dict[str, Path]:
    """Return the mixtures below a folder by the name of their song.

    Raises
    ------
    ValueError
        If two songs have one name.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    files = [p for p in files if "test" not in p.relative_to(folder).parts[:-1]]
    whole = {p.parent for p in files if p.stem == "mixture"}
    songs: dict[str, Path] = {}
    for path in files:
        # Beside a mixture lie its stems.
        if path.parent in whole and path.stem != "mixture":
            continue
        name = path.parent.name if path.stem == "mixture" else path.stem
        if name in songs:
            raise ValueError(f"{path}: of the same name as {songs[name]}; rename one")
        songs[name] = path
    return songs


def _mixture(path: Path) -> Floats:
    """Return a file in stereo at 44.1 kHz [shape=(2, n)]."""
    audio, rate_hz = read(path)
    stereo = np.array(np.broadcast_to(audio[:2], (2, audio.shape[1])))
    if rate_hz == RATE_HZ:
        return stereo
    return Resampler(2, from_hz=rate_hz, to_hz=RATE_HZ).process(stereo, last=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Label every song that is not labelled yet; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--listed", type=Path, metavar="FILE")
    parser.add_argument("--with", dest="names", action="append", metavar="TEACHER")
    parser.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--share", type=float, default=0.6, help="of the first of two teachers")
    parser.add_argument("--agree", type=float, metavar="DB", help="needs two teachers")
    given = parser.parse_args(arguments)
    names = given.names or ["spleeter"]
    if len(names) > 2:
        parser.error("at most two teachers")
    if given.agree is not None and len(names) < 2:
        parser.error("--agree needs a second teacher: --with TEACHER --with OTHER")
    try:
        songs = _listed(given.songs, given.listed) if given.listed else _songs(given.songs)
        teachers = [build_teacher(name, engine=given.engine) for name in names]
    except ValueError as error:
        parser.error(str(error))
    if not songs:
        parser.error(f"{given.songs}: no sound file in it")
    failed = 0
    for number, (name, path) in enumerate(songs.items(), start=1):
        folder = given.labelled / name
        place = f"[{number}/{len(songs)}] {name}"
        if (folder / "vocals.wav").is_file():
            print(f"{place}: there already")
            continue
        try:
            mixture = _mixture(path)
        except VisoError as error:
            print(f"{place}: {error}", file=sys.stderr)
            failed += 1
            continue
        heard, vocals = labelled(mixture, teachers, share=given.share, agree_db=given.agree)
        if not heard.shape[1]:
            print(f"{place}: the teachers agree nowhere; left out", flush=True)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "mixture.wav", heard, rate_hz=RATE_HZ, bit_depth="float")
        # Last: a song with vocals is whole.
        write(folder / "vocals.wav", vocals, rate_hz=RATE_HZ, bit_depth="float")
        n_seconds, n_all = heard.shape[1] / RATE_HZ, mixture.shape[1] / RATE_HZ
        print(f"{place}: {n_seconds:.0f} of {n_all:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
