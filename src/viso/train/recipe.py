"""A recipe: a whole experiment in one TOML file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from viso.config import Settings
from viso.dsp.stft import SpectralConfig
from viso.models.card import ModelCard
from viso.train.network_settings import (
    Lin2018Settings,
    TfcTdfSettings,
    UhlichBlstmSettings,
    UhlichFnnSettings,
    VisoCnnSettings,
    VisoSettings,
)

__all__ = [
    "Mixing",
    "NetworkSettings",
    "Recipe",
    "Schedule",
    "Teacher",
    "TfcTdfSettings",
    "VisoCnnSettings",
    "VisoSettings",
]


NetworkSettings = (
    VisoCnnSettings
    | VisoSettings
    | TfcTdfSettings
    | Lin2018Settings
    | UhlichFnnSettings
    | UhlichBlstmSettings
)
"""The settings that a recipe's ``[network]`` may hold; ``kind`` selects one of them."""


Share = Annotated[float, Field(ge=0, le=1)]
"""A share of the chunks, from none (0) to all (1)."""


class Mixing(Settings):
    """How mixtures are drawn. Groups are those of the corpus; weights need not sum to one.

    A `Share` is the share of chunks that an effect changes (see `viso.train.augment` for each).
    Some effects are only for sources of different songs: `tilt` for both sources, `shift_pitch`
    and `harmonise` for vocals, `compress`, `double`, `delay` and `reverb` for vocals of
    `dry_groups`.
    """

    vocals: dict[str, float] = Field({}, description="weights; none: by the root of the length")
    instrumentals: dict[str, float] = Field({}, description="likewise")
    remix: Share = Field(0.0, description="music put together of one chunk of each `parts` group")
    parts: tuple[str, ...] = Field((), description="groups of parts: drums, bass and so on")
    same_song: Share = Field(0.3, description="true, aligned songs")
    vocal_level_db: tuple[float, float] = (-13.0, 4.0)
    gain: tuple[float, float] = Field((0.25, 1.25), description="of every source, a factor")
    floor_db: float = Field(-45.0, description="quieter vocals are not drawn")
    dry_groups: tuple[str, ...] = Field((), description="vocals without a room or effects")
    pan_db: float = Field(3.0, description="how far mono sources stand off the centre at most")

    swap: Share = 0.5
    invert: Share = 0.5
    speed: tuple[float, float] = Field((0.9, 1.12), description="playing speed, moves the pitch")
    speed_share: Share = 0.25
    mono: Share = Field(0.05, description="both sources in the centre, as old records have them")
    tilt: Share = 0.15
    drive: Share = Field(0.0, description="music and, half as often, vocals are overdriven")
    shift_pitch: Share = 0.05
    harmonise: Share = 0.1
    harmony_db: tuple[float, float] = Field((-18.0, -6.0), description="copies against the voice")
    second_voice: Share = Field(0.0, description="another recording's, softer and aside")
    compress: Share = 0.4
    double: Share = 0.1
    delay: Share = 0.15
    reverb: Share = 0.5
    cut_band: Share = Field(0.05, description="both sources, as a lossy codec does")
    quiet_vocals: Share = 0.03
    no_vocals: Share = 0.05
    no_music: Share = 0.02

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("vocal_level_db", "gain", "speed", "harmony_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} runs from {low:g} down to {high:g}; turn it round")
        if self.speed[0] <= 0:
            raise ValueError(f"speed {self.speed[0]:g} must be above 0")
        if self.remix and not self.parts:
            raise ValueError("remix needs the groups that it puts together: parts")
        if self.no_vocals + self.no_music > 1:
            raise ValueError("no_vocals and no_music together leave nothing to mix")
        return self


class Teacher(Settings):
    """A trained network that teaches another one its masks (`viso.train.objectives.teachers`)."""

    recipe: str = Field(description="file it was trained with")
    weights: str = Field(description="its best.pt")


class Schedule(Settings):
    """Optimiser and stopping.

    A run ends after `steps` or after `time_s` seconds of training, whichever comes first.
    The learning rate warms up and then falls along a cosine until that end.
    """

    optimiser: Literal["adamw", "muon"] = "adamw"
    batch: int = Field(8, ge=1, description="mixtures a step, over all devices together")
    steps: int | None = Field(None, ge=1)
    time_s: float | None = Field(None, gt=0, description="seconds of training, resumes included")
    learning_rate: float = Field(1e-3, gt=0)
    warmup_steps: int = Field(300, ge=0)
    weight_decay: float = 1e-2
    ema: float = Field(0.999, ge=0, lt=1, description="what the averaged weights keep in a step")
    clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    loss_power: float = 1.0
    teachers_share: Share = Field(
        0.5, description="of the teachers' estimate in what is aimed at; the rest is the truth"
    )
    regional_loss: Share = Field(0.0, description="of the loss, by region of frequency")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = Field(
        None, description="as Lightning names it; unset: bf16-mixed on a GPU that has it"
    )
    validations: int = Field(
        20, ge=1, description="how many over the whole run, the last at its end"
    )
    checkpoint_every_s: float = Field(120.0, ge=0)
    log_every: int = Field(50, ge=1, description="steps averaged in a row of the log")

    @property
    def length(self) -> tuple[int | None, float | None]:
        """The steps and the seconds after which a run ends."""
        return self.steps, self.time_s

    def is_as_long_as(self, other: Schedule) -> bool:
        """Tell whether a run of `other` may continue to this end: the same kind, not earlier."""
        return all(
            (mine is None) == (theirs is None) and (mine or 0) >= (theirs or 0)
            for mine, theirs in zip(self.length, other.length, strict=True)
        )

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.steps is None and self.time_s is None:
            raise ValueError("give steps, time_s or both: a run must end")
        return self


class Recipe(Settings):
    """Everything needed to train one model again."""

    name: str
    description: str = ""
    licence: str = "unknown"
    trained_on: tuple[str, ...] = Field((), description="names of the data sets, for the card")
    limits: tuple[str, ...] = Field((), description="what to expect less of, for the card")
    teacher: str | None = Field(None, description="model whose estimates it learnt from, if any")
    teachers: tuple[Teacher, ...] = Field(
        (), description="networks whose masks, in the mean, it is to learn from"
    )
    seed: int = 1
    corpus: str
    start_from: str | None = Field(None, description="best.pt of another run, for its weights")
    spectral: SpectralConfig = SpectralConfig()
    network: Annotated[NetworkSettings, Field(discriminator="kind")]
    mixing: Mixing = Mixing()
    schedule: Schedule

    @model_validator(mode="after")
    def _tells_who_taught_it(self) -> Self:
        if self.teachers and not self.teacher:
            raise ValueError("a network with teachers names them on its card: teacher")
        if self.teachers and not isinstance(self.network, VisoSettings | TfcTdfSettings):
            raise ValueError(f"networks of kind {self.network.kind!r} take no teachers")
        match self.network:
            case TfcTdfSettings(mask="complex") if self.teachers:
                raise ValueError("a complex mask cannot be learnt from teachers' real ones")
            case _:
                pass
        return self

    def may_go_on_as(self, other: Recipe) -> bool:
        """Tell whether `other` is this recipe with the same end or a later one."""
        mine, theirs = (
            recipe.model_dump(exclude={"schedule": {"steps", "time_s"}}) for recipe in (self, other)
        )
        return mine == theirs and other.schedule.is_as_long_as(self.schedule)

    def card(self, *, parameters: int) -> ModelCard:
        """Return the card of the network that this recipe trains, without scores.

        Parameters
        ----------
        parameters : int
            Number of parameters of the network.
        """
        groups = {*self.mixing.vocals, *self.mixing.instrumentals}
        return ModelCard(
            name=self.name,
            description=self.description,
            spectral=self.spectral,
            **self.network.layout,
            chunk_frames=self.network.chunk_frames,
            context_frames=self.network.context_frames,
            trained_on=self.trained_on or tuple(sorted(groups)),
            teacher=self.teacher,
            limits=self.limits,
            licence=self.licence,
            parameters=parameters,
        )
