"""A recipe: the whole of an experiment in one TOML file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, assert_never

from pydantic import Field, model_validator

from viso.config import ModelCard, Settings, SpectralConfig
from viso.train.published import Lin2018Settings, UhlichBlstmSettings, UhlichFnnSettings

__all__ = [
    "Mixing",
    "NetworkSettings",
    "Recipe",
    "Schedule",
    "VisoCnnSettings",
    "VisoHqSettings",
    "VisoSettings",
]


class VisoCnnSettings(Settings):
    """Widths of the `viso_cnn` network (see `viso.train.networks.viso_cnn`)."""

    kind: Literal["viso_cnn"] = "viso_cnn"
    bands: int = 320
    linear_to_hz: float = 1500.0
    top_hz: float = 20_000.0
    channels: tuple[int, int, int, int] = (16, 16, 48, 32)
    kernel: tuple[int, int] = (3, 7)
    pool_1: tuple[int, int] = (2, 4)
    pool_2: tuple[int, int] = (1, 4)
    dense_context: int = Field(9, description="pooled frames the dense layers see")
    dense_dilation: int = 1
    dense: tuple[int, int] = (768, 512)
    dropout: float = 0.2
    smoothing: float = Field(0.02, ge=0, lt=0.5, description="of the binary mask it learns")
    chunk_frames: int = 160
    context_frames: int = 12

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # Otherwise the mask would lie beside the frames it is meant for.
        time_step = self.pool_1[0] * self.pool_2[0]
        if self.chunk_frames % time_step:
            raise ValueError(f"chunk_frames {self.chunk_frames} must be a multiple of {time_step}")
        window = (self.dense_context - 1) * self.dense_dilation
        if window % 2 or self.context_frames < window // 2 * time_step:
            raise ValueError(
                f"dense_context {self.dense_context} must be odd (or dilated evenly) and "
                f"context_frames at least {-(-window // 2) * time_step}, not {self.context_frames}"
            )
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        if self.bands % self.pool_1[1] or self.bands < self.pool_1[1] * self.pool_2[1]:
            raise ValueError(f"bands {self.bands} must be a multiple of pool_1's {self.pool_1[1]}")
        if not all(size % 2 for size in self.kernel):
            raise ValueError(f"kernel {self.kernel} must have odd sides")
        return self


class VisoSettings(Settings):
    """Widths of the `viso` network (see `viso.train.networks.viso`)."""

    kind: Literal["viso"] = "viso"
    segments: tuple[tuple[int, int], ...] = Field(
        ((96, 1), (64, 2), (48, 4), (24, 8), (16, 24), (8, 108)),
        description="from the lowest bin up: so many bands of so many bins each",
    )
    channels: tuple[int, int, int] = (16, 32, 64)
    bottleneck: int = Field(8, ge=1, description="dense layers over frequency narrow by this")
    projected: int = 16
    hidden: int = 384
    dilations: tuple[int, ...] = (1, 2, 4)
    recurrent: int = Field(0, ge=0, description="width of a GRU that runs both ways; 0: none")
    dropout: float = Field(0.1, ge=0, lt=1)
    level_jitter: float = Field(0.15, ge=0, description="bels, standard deviation, in training")
    chunk_frames: int = 192
    context_frames: int = 16

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_bands = sum(count for count, _ in self.segments)
        if n_bands % 4 or self.chunk_frames % 4 or self.context_frames % 4:
            raise ValueError(
                f"{n_bands} bands, chunk_frames {self.chunk_frames} and context_frames "
                f"{self.context_frames} must be multiples of 4"
            )
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self

    @property
    def n_bins(self) -> int:
        """Bins the network sees, from the lowest."""
        return sum(count * width for count, width in self.segments)


_OF_BOTH = ("segments", "chunk_frames", "context_frames")


class VisoHqSettings(Settings):
    """The `viso_hq` network: two of `viso`, the second corrects the first's mask.

    `segments`, `chunk_frames` and `context_frames` are both networks' where they are given here.
    """

    kind: Literal["viso_hq"] = "viso_hq"
    first: VisoSettings = VisoSettings()
    second: VisoSettings = VisoSettings(channels=(24, 48, 96), hidden=512, recurrent=192)

    @model_validator(mode="before")
    @classmethod
    def _for_both(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        shared = {name: values.pop(name) for name in _OF_BOTH if name in values}
        if shared:
            for part in ("first", "second"):
                given = values.get(part, cls.model_fields[part].default)
                given = given.model_dump() if isinstance(given, VisoSettings) else given
                values[part] = {**given, **shared} if isinstance(given, dict) else given
        return values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in _OF_BOTH:
            if getattr(self.first, name) != getattr(self.second, name):
                raise ValueError(f"{name} must be the same in first and second")
        return self

    @property
    def n_bins(self) -> int:
        """Bins the network sees, from the lowest."""
        return self.first.n_bins

    @property
    def chunk_frames(self) -> int:
        """Frames of a chunk."""
        return self.first.chunk_frames

    @property
    def context_frames(self) -> int:
        """Frames at either side that are seen, not masked."""
        return self.first.context_frames


NetworkSettings = (
    VisoCnnSettings
    | VisoSettings
    | VisoHqSettings
    | Lin2018Settings
    | UhlichFnnSettings
    | UhlichBlstmSettings
)
"""What a recipe's ``[network]`` may be; its ``kind`` says which."""


Share = Annotated[float, Field(ge=0, le=1)]
"""Part of the chunks, from none (0) to all (1)."""


class Mixing(Settings):
    """How mixtures are drawn. Groups are the corpus's; weights need not sum to one.

    What is done to the sound is said as the share of chunks it is done to (see
    `viso.train.augment` for each). Of sources that never met: `tilt` both, `shift_pitch` and
    `harmonise` vocals, `compress`, `double`, `delay` and `reverb` vocals of `dry_groups`.
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
        for name in ("vocal_level_db", "gain", "speed"):
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


class Schedule(Settings):
    """Optimiser and stopping.

    A run ends after `steps` or after `time_s` seconds of training, whichever comes first;
    the learning rate warms up and then falls along a cosine to that end.
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
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = Field(
        None, description="as Lightning names it; unset: bf16-mixed on a GPU that has it"
    )
    validations: int = Field(
        20, ge=1, description="how many over the whole run, the last at its end"
    )
    checkpoint_every_s: float = Field(120.0, ge=0)
    log_every: int = Field(50, ge=1, description="steps averaged in a row of the log")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.steps is None and self.time_s is None:
            raise ValueError("give steps, time_s or both: a run must end")
        return self


class Recipe(Settings):
    """Everything that is needed to train one model again."""

    name: str
    description: str = ""
    licence: str = "unknown"
    trained_on: tuple[str, ...] = Field((), description="names of the data sets, for the card")
    limits: tuple[str, ...] = Field((), description="what to expect less of, for the card")
    teacher: str | None = Field(None, description="model whose estimates it learnt from, if any")
    seed: int = 1
    corpus: str
    start_from: str | None = Field(None, description="best.pt of another run, for its weights")
    spectral: SpectralConfig = SpectralConfig()
    network: Annotated[NetworkSettings, Field(discriminator="kind")]
    mixing: Mixing = Mixing()
    schedule: Schedule

    def card(self, *, parameters: int) -> ModelCard:
        """Return the card of the network this recipe trains, without scores.

        Parameters
        ----------
        parameters : int
            How many the network has.
        """
        groups = {*self.mixing.vocals, *self.mixing.instrumentals}
        return ModelCard(
            name=self.name,
            description=self.description,
            spectral=self.spectral,
            **_layout(self.network),
            chunk_frames=self.network.chunk_frames,
            context_frames=self.network.context_frames,
            trained_on=self.trained_on or tuple(sorted(groups)),
            teacher=self.teacher,
            limits=self.limits,
            licence=self.licence,
            parameters=parameters,
        )


def _layout(network: NetworkSettings) -> dict[str, Any]:
    """Return what a card says of a network's input and output."""
    match network:
        case VisoCnnSettings():
            return {"basis": "mid-side"}
        case VisoSettings() | VisoHqSettings():
            facts = {"basis": "mid-side", "input": "complex", "axes": "frames-bins"}
            return {**facts, "n_bins": network.n_bins}
        case Lin2018Settings():
            return {"channels": 1, "axes": "frames-bins"}
        case UhlichFnnSettings() | UhlichBlstmSettings():
            return {"target": network.target, "axes": "frames-bins"}
        case never:
            assert_never(never)
