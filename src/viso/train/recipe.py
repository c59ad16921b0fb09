"""A recipe: the whole of an experiment in one TOML file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from viso.config import ModelCard, Settings, SpectralConfig

__all__ = ["Mixing", "NetworkSettings", "Recipe", "Schedule"]


class NetworkSettings(Settings):
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


class Mixing(Settings):
    """How mixtures are drawn. Groups are the corpus's; weights need not sum to one."""

    vocals: dict[str, float]
    instrumentals: dict[str, float]
    same_song: float = Field(0.3, ge=0, le=1, description="share of true, aligned songs")
    no_vocals: float = Field(0.05, ge=0, le=1)
    gain: tuple[float, float] = (0.25, 1.25)
    vocal_level_db: tuple[float, float] = (-13.0, 4.0)
    swap: bool = True
    speed: tuple[float, float] = Field((0.9, 1.12), description="playing speed, moves the pitch")
    pan_db: float = 3.0
    reverb: float = Field(0.5, ge=0, le=1, description="share of dry voices given a room")
    reverb_groups: tuple[str, ...] = ()
    floor_db: float = Field(-45.0, description="quieter vocals are not drawn")


class Schedule(Settings):
    """Optimiser and stopping."""

    batch: int = 8
    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    weight_decay: float = 1e-2
    ema: float = 0.999
    clip: float = 5.0
    loss_power: float = 1.0
    validate_every: int = 1000
    checkpoint_every: int = 500
    log_every: int = 50


class Recipe(Settings):
    """Everything that is needed to train one model again."""

    name: str
    description: str = ""
    licence: str = "unknown"
    trained_on: tuple[str, ...] = Field((), description="names of the data sets, for the card")
    seed: int = 1
    corpus: str
    spectral: SpectralConfig = SpectralConfig()
    network: NetworkSettings = NetworkSettings()
    mixing: Mixing
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
            channels=2,
            basis="mid-side",
            input="magnitude",
            output="mask",
            chunk_frames=self.network.chunk_frames,
            context_frames=self.network.context_frames,
            trained_on=self.trained_on or tuple(sorted(groups)),
            licence=self.licence,
            parameters=parameters,
        )
