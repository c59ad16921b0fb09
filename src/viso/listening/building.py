"""Build a test from songs: excerpts, their stimuli at one loudness, and ``test.toml``."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from pydantic import Field

from viso.config import Settings
from viso.errors import ConfigError, DataError
from viso.listening.definition import (
    ANCHORS,
    INSTRUCTIONS,
    OVERALL,
    QUESTIONS,
    REFERENCE,
    Kind,
    ListeningTest,
    Question,
    Stem,
    Stimulus,
    Trial,
)
from viso.listening.excerpts import Excerpt, loudest
from viso.listening.export import new_folder
from viso.listening.material import Passage, SongMaterial
from viso.listening.sounds import read_stimulus, sha256_of_sound
from viso.listening.stimuli import Workshop

__all__ = ["BuildSettings", "build_test"]

_MOST = 12  # signals in a trial, BS.1534-3


class BuildSettings(Settings):
    """The settings of a new test.

    `duration_s` and `per_song` choose excerpts if none are given. In ABX and preference tests,
    `adds_reference` makes the reference a contender, and listeners hear every pair `repeats` times.
    `shows_reference` lets listeners of a preference test hear the reference as such. The training
    of a MUSHRA test holds every sound of the test. With `short_training` it holds only the sounds
    of one passage, if possible one that is not rated. Without `seed`, one is drawn.
    """

    kind: Kind = "mushra"
    stem: Stem = "vocals"
    title: str = "Listening test"
    instructions: str = ""
    consent: str = ""
    questions: tuple[str, ...] = ()
    duration_s: float = Field(10.0, ge=1, le=60)
    per_song: int = Field(1, ge=1, le=20)
    loudness_lufs: float = Field(-23.0, ge=-40, le=-10)
    anchors: bool = True
    adds_reference: bool = False
    shows_reference: bool = False
    repeats: int = Field(1, ge=1, le=100)
    may_be_undecided: bool = False
    short_training: bool = False
    asks_device: bool = False
    asks_age: bool = False
    seed: int | None = Field(None, ge=0)


def build_test(
    songs: Sequence[SongMaterial],
    folder: Path,
    *,
    settings: BuildSettings | None = None,
    excerpts: Mapping[str, Sequence[Excerpt]] | None = None,
) -> ListeningTest:
    """Build a listening test.

    Parameters
    ----------
    songs : sequence of SongMaterial
        With estimates of the same systems each.
    folder : Path
        Created; it holds ``test.toml`` and the folder ``stimuli`` when the test is complete.
    settings : BuildSettings, optional
    excerpts : mapping of str to sequence of Excerpt, optional
        By song; songs without any are left out. By default the loudest vocal passages.

    Returns
    -------
    ListeningTest

    Raises
    ------
    ConfigError
        If the settings contradict each other or the songs, or the folder exists and is not empty.
    DataError
        If the songs do not fit, or a stimulus is silent.
    AudioError
        If a file cannot be read.
    """
    settings = settings or BuildSettings()
    if settings.seed is None:
        settings = settings.model_copy(update={"seed": secrets.randbelow(2**32)})
    seed = settings.seed or 0
    systems = _systems(songs, settings)
    rated, training = _passages(songs, settings, excerpts)
    with new_folder(folder) as place:
        workshop = Workshop(place, seed=seed, stem=settings.stem, systems=systems)
        trials: list[Trial] = []
        made: dict[tuple[str, Excerpt], dict[str, Stimulus]] = {}
        for passage, is_training in [*((p, True) for p in training), *((p, False) for p in rated)]:
            key = passage.song.name, passage.excerpt
            if key not in made:
                made[key] = workshop.make(
                    passage,
                    target_lufs=settings.loudness_lufs,
                    anchors=settings.kind == "mushra" and settings.anchors,
                )
            trials += _trials(made[key], passage, systems, settings, is_training=is_training)
        lowered_db = workshop.finish()
        test = _definition(trials, systems, settings, seed=seed, lowered_db=lowered_db)
        # Not part of the test's id: another encoder makes other bytes of the same sound.
        hashes = {name: sha256_of_sound(read_stimulus(place, name)) for name in test.stimulus_ids}
        test = test.model_copy(update={"sha256": hashes})
        (place / "test.toml").write_text(test.to_toml(), encoding="utf-8")
    return test


def _systems(songs: Sequence[SongMaterial], settings: BuildSettings) -> tuple[str, ...]:
    if not songs:
        raise DataError("no songs; a listening test needs at least one")
    systems = tuple(songs[0].estimates)
    for song in songs:
        if set(song.estimates) != set(systems):
            raise DataError(
                f"{song.name}: separated by {', '.join(song.estimates) or 'nothing'}, but "
                f"{songs[0].name} by {', '.join(systems)}; every system needs every song"
            )
    taken = sorted({*systems} & {REFERENCE, *ANCHORS})
    if taken:
        raise ConfigError(f"a system called {taken[0]!r}: the test itself uses this name")
    n = len(systems)
    if settings.kind == "mushra":
        n_all = n + 1 + settings.anchors * len(ANCHORS)
        if n_all > _MOST or not n:
            raise ConfigError(
                f"{n} systems make {n_all} signals a trial; BS.1534 takes 1 system and at most "
                f"{_MOST} signals, so leave out systems or the anchors"
            )
    elif n + settings.adds_reference < 2:
        raise ConfigError(f"{n} system makes no pair; give another one or add the reference")
    unknown = sorted(set(settings.questions) - set(QUESTIONS))
    if unknown:
        raise ConfigError(f"question {unknown[0]!r}: use {', '.join(QUESTIONS)}")
    if settings.kind != "mushra" and settings.questions:
        raise ConfigError(f"questions are for MUSHRA tests, not for {settings.kind}")
    return systems


def _passages(
    songs: Sequence[SongMaterial],
    settings: BuildSettings,
    excerpts: Mapping[str, Sequence[Excerpt]] | None,
) -> tuple[list[Passage], list[Passage]]:
    """Return the passages to rate, and those for training.

    BS.1534-3 requires that listeners hear all sounds of the test before they rate the first one. A
    short training, and the training of pairs, takes one passage, if possible one that is not rated.
    """
    is_short = settings.short_training or settings.kind != "mushra"
    rated: list[Passage] = []
    spare: list[Passage] = []
    if excerpts is not None:
        unknown = sorted(set(excerpts) - {song.name for song in songs})
        if unknown:
            raise DataError(
                f"an excerpt of {unknown[0]!r}: no such song in the folder of references"
            )
    for song in songs:
        if excerpts is not None:
            rated += [Passage(song, excerpt) for excerpt in excerpts.get(song.name, ())]
            continue
        count = settings.per_song + (is_short and not spare)
        found = loudest(song.vocals, duration_s=settings.duration_s, count=count)
        rated += [Passage(song, excerpt) for excerpt in found[: settings.per_song]]
        spare += [Passage(song, excerpt) for excerpt in found[settings.per_song :]]
    return rated, [*spare, *rated][:1] if is_short else rated


def _trials(
    made: Mapping[str, Stimulus],
    passage: Passage,
    systems: Sequence[str],
    settings: BuildSettings,
    *,
    is_training: bool,
) -> Iterator[Trial]:
    """Yield the trials of a passage; `_definition` gives them their names."""

    def trial(conditions: Sequence[str], reference: str | None) -> Trial:
        stimuli = [made[condition] for condition in conditions]
        return Trial(
            name="t00",
            song=passage.song.name.encode("utf-8", "backslashreplace").decode(),
            start_s=passage.excerpt.start_s,
            duration_s=passage.excerpt.duration_s,
            training=is_training,
            reference=reference,
            # The order of ids reveals nothing.
            stimuli=tuple(sorted(stimuli, key=lambda stimulus: stimulus.id)),
        )

    shown = made["shown"].id
    if settings.kind == "mushra":
        yield trial([name for name in made if name != "shown"], shown)
        return
    contenders = [*([REFERENCE] if settings.adds_reference else []), *systems]
    for pair in list(combinations(contenders, 2))[: 1 if is_training else None]:
        for _ in range(1 if is_training else settings.repeats):
            yield trial(pair, shown if settings.shows_reference else None)


def _definition(
    trials: Sequence[Trial],
    systems: tuple[str, ...],
    settings: BuildSettings,
    *,
    seed: int,
    lowered_db: float,
) -> ListeningTest:
    """Return the test, with named trials and with a hash of its content as id."""
    named = tuple(
        trial.model_copy(
            update={
                "name": f"{'p' if trial.training else 't'}{index:02}",
                "stimuli": tuple(_lowered(stimulus, lowered_db) for stimulus in trial.stimuli),
            }
        )
        for index, trial in enumerate(trials)
    )
    asked_questions: tuple[Question, ...] = ()
    if settings.kind == "mushra":
        asked_questions = tuple(
            QUESTIONS[name] for name in dict.fromkeys((OVERALL, *settings.questions))
        )
    test = ListeningTest(
        id="0" * 12,
        kind=settings.kind,
        title=settings.title,
        stem=settings.stem,
        seed=seed,
        loudness_lufs=round(settings.loudness_lufs - lowered_db, 3),
        instructions=settings.instructions or INSTRUCTIONS[settings.kind],
        consent=settings.consent,
        asks_device=settings.asks_device,
        asks_age=settings.asks_age,
        may_be_undecided=settings.may_be_undecided and settings.kind == "preference",
        systems=systems,
        questions=asked_questions,
        trials=named,
    )
    digest = hashlib.sha256(test.model_dump_json().encode())
    return test.model_copy(update={"id": digest.hexdigest()[:12]})


def _lowered(stimulus: Stimulus, by_db: float) -> Stimulus:
    return stimulus.model_copy(update={"gain_db": round(stimulus.gain_db - by_db, 4)})
