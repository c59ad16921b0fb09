"""Songs, systems of known quality, and listeners of known taste, all made here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.audio import write
from viso.listening import Choice, Listener, ListeningTest, Ratings, SongMaterial, order_of

RATE_HZ = 32_000
Floats = npt.NDArray[np.float32]


def voice(n: int, *, seed: int, level: float = 0.2) -> Floats:
    """Harmonics up to 15 kHz with a melody, stereo [shape=(2, n)]."""
    random = np.random.default_rng(seed)
    t = np.arange(n) / RATE_HZ
    pitch = 180 + 40 * np.sin(2 * np.pi * 0.7 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    tone = sum(np.sin(k * phase + random.uniform(0, 6)) / k**0.7 for k in range(1, 60))
    breath = random.standard_normal(n) * 0.1
    return np.stack([tone + breath, tone - breath]).astype(np.float32) * np.float32(level / 4)


def band(n: int, *, seed: int, level: float = 0.1) -> Floats:
    """Noise [shape=(2, n)]."""
    random = np.random.default_rng(seed)
    return (random.standard_normal((2, n)) * level).astype(np.float32)


def make_song(
    folder: Path, name: str, qualities: Mapping[str, float], *, seed: int = 0, seconds: float = 4.0
) -> SongMaterial:
    """Write a song whose voice is loud in its last third, and what systems make of it.

    `qualities` are by system: how many decibels the band lies below itself in the vocals.
    """
    n = round(seconds * RATE_HZ)
    vocals = voice(n, seed=seed)
    vocals[:, : 2 * n // 3] *= np.float32(0.1)
    stems = {"vocals": vocals, "drums": band(n, seed=seed + 1), "bass": band(n, seed=seed + 2)}
    paths = []
    for stem, audio in stems.items():
        place = folder / "truth" / name / f"{stem}.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        write(place, audio, rate_hz=RATE_HZ)
        paths.append(place)
    estimates = {}
    for system, below_db in qualities.items():
        place = folder / system / name / "vocals.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        rest = (stems["drums"] + stems["bass"]) * np.float32(10 ** (-below_db / 20))
        write(place, (vocals + rest) * np.float32(0.5), rate_hz=RATE_HZ)
        estimates[system] = {"vocals": place}
    return SongMaterial(name, tuple(paths), estimates)


def taste(
    test: ListeningTest,
    quality: Mapping[str, float],
    *,
    n_listeners: int,
    seed: int = 0,
    noise: float = 6.0,
    name: str = "good",
) -> list[Listener | Ratings]:
    """Return what listeners of one taste answer: a value for each condition, and noise.

    Everyone has an offset of their own; the hidden reference gets 100 unless `quality` says
    otherwise.
    """
    random = np.random.default_rng(seed)
    records: list[Listener | Ratings] = []
    for index in range(n_listeners):
        listener = f"{name}-{index}"
        records.append(Listener(test=test.id, listener=listener, order=index))
        offset = random.normal(0, noise)
        for trial in test.rated:
            for question in test.questions:
                scores = {}
                for stimulus in trial.stimuli:
                    value = quality.get(stimulus.condition, 100.0)
                    if stimulus.role != "reference":
                        value += offset + random.normal(0, noise)
                    scores[stimulus.id] = float(np.clip(value, 0, 100))
                records.append(
                    Ratings(
                        test=test.id,
                        listener=listener,
                        trial=trial.name,
                        question=question.name,
                        ratings=scores,
                    )
                )
    return records


def careless(test: ListeningTest, *, n_listeners: int, seed: int = 1) -> list[Ratings]:
    """Return what listeners answer who move sliders anywhere."""
    random = np.random.default_rng(seed)
    return [
        Ratings(
            test=test.id,
            listener=f"careless-{index}",
            trial=trial.name,
            question=question.name,
            ratings={stimulus.id: float(random.uniform(0, 100)) for stimulus in trial.stimuli},
        )
        for index in range(n_listeners)
        for trial in test.rated
        for question in test.questions
    ]


def choose(
    test: ListeningTest, listener: int, right: float, *, seed: int = 0, liked: str = ""
) -> list[Choice]:
    """Return a listener's choices: in ABX right with a probability, else `liked` with it."""
    random = np.random.default_rng([seed, listener])
    order = order_of(test, listener)
    found = []
    for index, trial in enumerate(test.trials):
        if trial.training:
            continue
        a, b = (trial.stimuli[place] for place in order.stimuli[index])
        hidden = order.hidden[index] if order.hidden else None
        wanted = hidden if hidden is not None else int(b.condition == liked)
        place = wanted if random.random() < right else 1 - wanted
        found.append(
            Choice(
                test=test.id,
                listener=f"listener-{listener}",
                trial=trial.name,
                a=a.id,
                b=b.id,
                x=None if hidden is None else (a.id, b.id)[hidden],
                choice="ab"[place],
            )
        )
    return found
