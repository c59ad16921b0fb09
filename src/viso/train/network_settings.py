"""Settings of the networks in recipes: the project's own networks, and those of papers."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from viso.config import Settings

__all__ = [
    "BandedSettings",
    "Lin2018Settings",
    "TfcTdfSettings",
    "UhlichBlstmSettings",
    "UhlichFnnSettings",
    "VisoCnnSettings",
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

    @property
    def layout(self) -> dict[str, Any]:
        """The card's facts about the network's input and output."""
        return {"basis": "mid-side"}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # Otherwise the mask would not match its frames.
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


class BandedSettings(Settings):
    """Settings of all networks over bands (see `viso.train.networks.banded`)."""

    segments: tuple[tuple[int, int], ...] = Field(
        ((96, 1), (64, 2), (48, 4), (24, 8), (16, 24), (8, 108)),
        description="from the lowest bin up: so many bands of so many bins each",
    )
    harmonics: tuple[PositiveFloat, ...] = Field(
        (), description="multiples of its frequency whose power each band sees, too"
    )
    bottleneck: int = Field(8, ge=1, description="dense layers over frequency narrow by this")
    level_jitter: float = Field(0.15, ge=0, description="bels, standard deviation, in training")
    chunk_frames: int = 192
    context_frames: int = 16

    @property
    def scales(self) -> int:
        """The number of scales; each has half the bands and frames of the one before."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_bands, whole = sum(count for count, _ in self.segments), 2 ** (self.scales - 1)
        if n_bands % whole or self.chunk_frames % whole or self.context_frames % whole:
            raise ValueError(
                f"{n_bands} bands, chunk_frames {self.chunk_frames} and context_frames "
                f"{self.context_frames} must be multiples of {whole}"
            )
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self

    @property
    def n_bins(self) -> int:
        """The number of bins that the network sees, from the lowest."""
        return sum(count * width for count, width in self.segments)

    @property
    def layout(self) -> dict[str, Any]:
        """The card's facts about the network's input and output."""
        layout = {"basis": "mid-side", "input": "complex", "axes": "frames-bins"}
        return {**layout, "n_bins": self.n_bins}


class VisoSettings(BandedSettings):
    """Widths of the `viso` network (see `viso.train.networks.viso`)."""

    kind: Literal["viso"] = "viso"
    channels: tuple[int, int, int] = (16, 32, 64)
    projected: int = 16
    hidden: int = 384
    dilations: tuple[int, ...] = (1, 2, 4)
    recurrent: int = Field(0, ge=0, description="width of a GRU that runs both ways; 0: none")
    dropout: float = Field(0.1, ge=0, lt=1)

    @property
    def scales(self) -> int:
        """The number of scales: three."""
        return len(self.channels)


class TfcTdfSettings(BandedSettings):
    """Widths of the `tfc_tdf` network (see `viso.train.networks.tfc_tdf`)."""

    kind: Literal["tfc_tdf"] = "tfc_tdf"
    channels: tuple[PositiveInt, ...] = Field(
        (16, 32, 64, 96, 128), min_length=2, description="of each scale, from the finest"
    )
    blocks: tuple[PositiveInt, ...] = Field(
        (), description="of each scale, one after the other, down and up; empty: one each"
    )
    phase_bins: int = Field(
        0, ge=0, description="lowest bins whose real and imaginary parts the network sees, too"
    )
    mask: Literal["real", "complex"] = Field(
        "real", description="a complex one also turns the phase of the mixture"
    )

    @model_validator(mode="after")
    def _every_scale_has_blocks(self) -> Self:
        if self.blocks and len(self.blocks) != len(self.channels):
            raise ValueError(f"{len(self.blocks)} blocks for {len(self.channels)} channels")
        return self

    @model_validator(mode="after")
    def _phases_fill_narrow_bands(self) -> Self:
        ends, end = {0}, 0
        for count, width in self.segments:
            if width > 2:
                break
            ends |= {end + width * (number + 1) for number in range(count)}
            end += count * width
        if self.phase_bins not in ends:
            raise ValueError(
                f"phase_bins {self.phase_bins} must end with a band of one or two bins, "
                f"at {max(ends)} at most"
            )
        return self

    @property
    def scales(self) -> int:
        """The number of scales: one for each entry of `channels`."""
        return len(self.channels)

    @property
    def layout(self) -> dict[str, Any]:
        """The card's facts about the network's input and output."""
        return super().layout | ({"output": "complex"} if self.mask == "complex" else {})


class Lin2018Settings(Settings):
    """Sizes of the `lin2018` network (see `viso.train.papers.lin2018`); by default the paper's.

    `chunk_frames` is the length of a training chunk, from which windows are drawn, and the number
    of frames that the exported network takes at once; the two need not be the same.
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

    @property
    def layout(self) -> dict[str, Any]:
        """The card's facts about the network's input and output."""
        return {"channels": 1, "axes": "frames-bins"}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(f"chunk_frames {self.chunk_frames} leave nothing between the contexts")
        return self


class _UhlichSettings(Settings):
    """Settings of both networks of Uhlich et al. 2017."""

    target: Literal["vocals", "instrumental"] = Field(
        "vocals", description="whose magnitudes it learns; the paper has a network for each"
    )
    draws: Literal["magnitudes", "shares"] = Field(
        "magnitudes", description="the target's, as in the paper, or its shares of the mixture's"
    )

    @property
    def layout(self) -> dict[str, Any]:
        """The card's facts about the network's input and output."""
        return {"target": self.target, "axes": "frames-bins"}


class UhlichFnnSettings(_UhlichSettings):
    """Sizes of the `uhlich2017_fnn` network (see `viso.train.papers.uhlich2017`)."""

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
    """Sizes of the `uhlich2017_blstm` network (see `viso.train.papers.uhlich2017`)."""

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
