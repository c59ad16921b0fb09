"""Settings of networks after papers of others: Lin et al. 2018 and Uhlich et al. 2017."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from viso.config import Settings

__all__ = ["Lin2018Settings", "UhlichBlstmSettings", "UhlichFnnSettings"]


class Lin2018Settings(Settings):
    """Sizes of the `lin2018` network (see `viso.train.networks.lin2018`); the paper's, if unsaid.

    `chunk_frames` is how much a training chunk has to choose windows from, and how many frames
    the exported network takes at once; the two need not be the same.
    """

    kind: Literal["lin2018"] = "lin2018"
    channels: tuple[int, int, int, int] = (32, 16, 64, 32)
    kernel_bins: int = Field(12, ge=1, description="of the convolutions, which see 3 frames")
    pool_bins: int = Field(12, ge=1)
    window_frames: int = Field(9, ge=9, le=9, description="4 convolutions of 3 frames see 9")
    dense: tuple[int, int] = (2048, 512)
    dropout: float = Field(0.5, ge=0, lt=1)
    smoothing: float = Field(0.02, ge=0, lt=0.5, description="of the binary mask it learns")
    threshold: float = Field(0.15, ge=0, lt=1, description="lower values of the mask become 0")
    autoencoder: float = Field(0.1, ge=0, lt=1, description="first part of the run: reproduce")
    windows: int = Field(1, ge=1, description="drawn from each channel of a chunk")
    chunk_frames: int = Field(64, ge=9)
    context_frames: int = Field(4, ge=4, description="half a window, if nothing is wasted")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self


class _UhlichSettings(Settings):
    """What both networks of Uhlich et al. 2017 have in common."""

    target: Literal["vocals", "instrumental"] = Field(
        "vocals", description="whose magnitudes it learns; the paper has a network for each"
    )
    draws: Literal["magnitudes", "shares"] = Field(
        "magnitudes", description="the target's, as in the paper, or its shares of the mixture's"
    )


class UhlichFnnSettings(_UhlichSettings):
    """Sizes of the `uhlich2017_fnn` network (see `viso.train.networks.uhlich2017`)."""

    kind: Literal["uhlich2017_fnn"] = "uhlich2017_fnn"
    hidden: tuple[int, ...] = Field((500, 500, 500), min_length=1)
    neighbours: int = Field(3, ge=0, description="frames seen on either side of the one wanted")
    chunk_frames: int = 70
    context_frames: int = 3

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.context_frames < self.neighbours:
            raise ValueError(
                f"context_frames {self.context_frames} must hold the {self.neighbours} neighbours"
            )
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self


class UhlichBlstmSettings(_UhlichSettings):
    """Sizes of the `uhlich2017_blstm` network (see `viso.train.networks.uhlich2017`)."""

    kind: Literal["uhlich2017_blstm"] = "uhlich2017_blstm"
    cells: int = Field(500, ge=2, multiple_of=2, description="a layer; half of them run backwards")
    layers: int = Field(3, ge=1)
    chunk_frames: int = 128
    context_frames: int = Field(16, ge=0, description="dropped at either end when it is run")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self
