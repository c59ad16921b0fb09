"""The definition of a listening test: settings, trials, and which file holds which system.

The definition is the file ``test.toml`` beside the folder ``stimuli``. It is the key to the test:
listeners get the stimuli but never this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from viso.config import STEM_PATTERN, Settings
from viso.errors import ConfigError
from viso.listening.sounds import read_stimulus

__all__ = [
    "ANCHORS",
    "FORMAT",
    "INSTRUCTIONS",
    "MID_ANCHOR",
    "OVERALL",
    "QUESTIONS",
    "REFERENCE",
    "Kind",
    "ListeningTest",
    "Question",
    "Stem",
    "Stimulus",
    "Trial",
    "load_test",
]

Kind = Literal["mushra", "abx", "preference"]
Stem = Annotated[str, Field(pattern=STEM_PATTERN)]
"""What is heard: vocals, instrumental, or another true stem, such as drums."""

FORMAT: Literal[1] = 1  # of test.toml and of the results
REFERENCE = "reference"
MID_ANCHOR = "low-pass 7 kHz"
ANCHORS = ("low-pass 3.5 kHz", MID_ANCHOR, "distorted", "interference")
OVERALL = "overall"

_ID = r"^[0-9a-f]{12}$"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Question(Settings):
    """What a listener rates on a scale from 0 to 100; `low` and `high` name the ends."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=32)
    text: str = Field(min_length=1)
    low: str = "bad"
    high: str = "excellent"


QUESTIONS = {
    question.name: question
    for question in (
        Question(
            name=OVERALL, text="How good does it sound beside the reference, all differences taken?"
        ),
        Question(
            name="target",
            text="How well is the wanted sound itself kept?",
            low="badly",
            high="as in the reference",
        ),
        Question(
            name="interference",
            text="How much is heard of what should be gone?",
            low="all of it",
            high="nothing",
        ),
        Question(
            name="artefacts",
            text="How much is heard that was never played or sung?",
            low="very much",
            high="nothing",
        ),
    )
}
"""The standard's question, and those of Emiya et al. 2011 for separation."""

_WHERE = "Use headphones in a quiet room, and leave the volume as it is once the test has begun."
INSTRUCTIONS: dict[Kind, str] = {
    "mushra": "You hear a few seconds of a song in several versions, and the reference: how it "
    "ought to sound. Rate every version on a scale from 0 to 100. One of them is the reference "
    "itself, so one of them should get 100.\n\nYou may switch between the versions while they "
    f"play, as often as you like, and repeat any part of them.\n\n{_WHERE}",
    "abx": "You hear a few seconds of a song as A, B and X. X is one of the two others. Say which "
    "one. If you hear no difference, guess.\n\nYou may switch between them while they play, as "
    f"often as you like, and repeat any part of them.\n\n{_WHERE}",
    "preference": "You hear a few seconds of a song in two versions, A and B. Say which one you "
    "prefer.\n\nYou may switch between them while they play, as often as you like, and repeat any "
    f"part of them.\n\n{_WHERE}",
}
"""Default instructions, for tests whose author gives none."""


class Stimulus(Settings):
    """One sound of a trial: a file, and what it is.

    `condition` is the system's name, ``reference`` (the hidden one) or one of `ANCHORS`.
    `gain_db` brought it to the test's loudness. `sdr_db` and `si_sdr_db` compare the excerpt with
    the reference, before that gain.
    """

    id: str = Field(pattern=_ID)
    condition: str = Field(min_length=1)
    role: Literal["system", "reference", "anchor"]
    gain_db: float = 0.0
    sdr_db: float | None = None
    si_sdr_db: float | None = None


class Trial(Settings):
    """One trial of a test: an excerpt of a song, as several stimuli.

    `reference` is the stimulus shown as the reference. Ratings of a `training` trial are not
    stored.
    """

    name: str = Field(pattern=r"^[a-z][0-9]{2,}$")
    song: str
    start_s: float = Field(ge=0)
    duration_s: float = Field(gt=0)
    training: bool = False
    reference: str | None = Field(None, pattern=_ID)
    stimuli: tuple[Stimulus, ...] = Field(min_length=2, max_length=24)

    @model_validator(mode="after")
    def _tells_apart(self) -> Trial:
        for what in ("id", "condition"):
            values = [getattr(stimulus, what) for stimulus in self.stimuli]
            if len(set(values)) < len(values):
                raise ValueError(f"trial {self.name}: a stimulus' {what} is there twice")
        return self

    def of(self, stimulus_id: str) -> Stimulus:
        """Return the stimulus with that id.

        Raises
        ------
        KeyError
            If there is none.
        """
        for stimulus in self.stimuli:
            if stimulus.id == stimulus_id:
                return stimulus
        raise KeyError(stimulus_id)


class ListeningTest(Settings):
    """A whole test, as ``test.toml`` holds it.

    `id` names this test in its results. `seed` fixes every listener's order of trials and stimuli.
    `systems` are in the given order. Every stimulus has `loudness_lufs` (ITU-R BS.1770).
    `may_be_undecided` allows "no preference". Device and age range are requested only if
    `asks_device` and `asks_age` are true. `sha256` maps every stimulus' id to the hash of its file;
    it is empty in tests of earlier versions.
    """

    version: Literal[1] = FORMAT
    id: str = Field(pattern=_ID)
    kind: Kind
    title: str = Field(min_length=1)
    stem: Stem
    seed: int = Field(ge=0)
    loudness_lufs: float
    instructions: str = ""
    consent: str = ""
    asks_device: bool = False
    asks_age: bool = False
    may_be_undecided: bool = False
    systems: tuple[str, ...] = Field(min_length=1)
    questions: tuple[Question, ...] = ()
    trials: tuple[Trial, ...] = Field(min_length=1)
    sha256: dict[str, _Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_whole(self) -> ListeningTest:
        names = [trial.name for trial in self.trials]
        if len(set(names)) < len(names):
            raise ValueError("two trials have one name")
        if all(trial.training for trial in self.trials):
            raise ValueError("every trial is for training; one at least must count")
        heard = {s.condition for t in self.trials for s in t.stimuli if s.role == "system"}
        if heard != set(self.systems):
            odd = sorted(heard ^ set(self.systems))[0]
            raise ValueError(f"system {odd!r} is not both in the list of systems and in a trial")
        asked_names = [question.name for question in self.questions]
        if (self.kind == "mushra") != bool(asked_names) or len(set(asked_names)) < len(asked_names):
            raise ValueError(
                f"a test of the kind {self.kind} cannot ask {asked_names or 'nothing'}"
            )
        if self.sha256 and (odd_ids := {*self.sha256} ^ {*self.stimulus_ids}):
            raise ValueError(f"stimulus {min(odd_ids)}: in one of trials and sha256 alone")
        for trial in self.trials:
            if self.kind != "mushra" and len(trial.stimuli) != 2:
                raise ValueError(f"trial {trial.name}: {len(trial.stimuli)} stimuli, not a pair")
        return self

    @property
    def rated(self) -> tuple[Trial, ...]:
        """The trials that count."""
        return tuple(trial for trial in self.trials if not trial.training)

    def questions_of(self, trial: Trial) -> tuple[str, ...]:
        """Return the questions about a trial, one page each; one empty name if there are none.

        The first training trial has all questions; the others have only the first question.
        """
        names = tuple(question.name for question in self.questions) or ("",)
        is_first = not trial.training or trial == next(t for t in self.trials if t.training)
        return names if is_first else names[:1]

    @property
    def pages(self) -> tuple[tuple[str, str], ...]:
        """Every page of the test: a trial and a question."""
        return tuple(
            (trial.name, name) for trial in self.trials for name in self.questions_of(trial)
        )

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """The ids of all stimuli and shown references, each once."""
        ids = [stimulus.id for trial in self.trials for stimulus in trial.stimuli]
        ids += [trial.reference for trial in self.trials if trial.reference]
        return tuple(sorted(set(ids)))


def load_test(folder: Path) -> ListeningTest:
    """Read the test that `build_test` wrote into a folder.

    Raises
    ------
    ConfigError
        If ``test.toml`` is missing, a link or not valid, or a stimulus is missing or not the test's
        own; see `read_stimulus`.
    """
    path = folder / "test.toml"
    if path.is_symlink():
        raise ConfigError(f"{path}: a link; name the folder that viso listen build made")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; name a folder that viso listen build made")
    test = ListeningTest.from_toml(path)
    for stimulus_id in test.stimulus_ids:
        read_stimulus(folder, stimulus_id, sha256=test.sha256.get(stimulus_id))
    return test
