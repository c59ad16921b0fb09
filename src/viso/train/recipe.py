"""A recipe: the whole of an experiment in one TOML file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from viso.config import Settings, SpectralConfig

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
    readout: int = Field(0, description="features per band that the dense layers weigh; 0: none")
    dropout: float = 0.2
    chunk_frames: int = 160
    context_frames: int = 12


class Mixing(Settings):
    """How mixtures are drawn. Groups are the corpus's; weights need not sum to one."""

    vocals: dict[str, float]
    instrumentals: dict[str, float]
    same_song: float = Field(0.3, ge=0, le=1, description="share of true, aligned songs")
    no_vocals: float = Field(0.05, ge=0, le=1)
    gain: tuple[float, float] = (0.25, 1.25)
    vocal_level_db: tuple[float, float] = (-13.0, 4.0)
    swap: bool = True
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
    smoothing: float = 0.02
    validate_every: int = 1000
    checkpoint_every: int = 500
    log_every: int = 50


class Recipe(Settings):
    """Everything that is needed to train one model again."""

    name: str
    description: str = ""
    licence: str = "unknown"
    seed: int = 1
    corpus: str
    spectral: SpectralConfig = SpectralConfig()
    network: NetworkSettings = NetworkSettings()
    mixing: Mixing
    schedule: Schedule
