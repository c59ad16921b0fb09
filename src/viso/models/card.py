"""Model cards: what a model is, how to run it, where it comes from and how good it is."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from viso.config import NAME_PATTERN, Settings
from viso.dsp.stft import SpectralConfig

__all__ = ["BlendCard", "ModelCard"]

_LARGEST_CHUNK = 1 << 24  # frames times bins: 256 MB of two channels
_LARGEST_OVERLAP = 64


class BlendCard(Settings):
    """A TOML file that gives several models one name, and may add a Wiener filter.

    `models` has the form of ``--model``, such as ``a*0.3+b*0.7``, with names or with files beside
    the card. `wiener` is the number of iterations of the multichannel Wiener filter after them.
    """

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN)
    version: str = "1"
    description: str = ""
    models: str = Field(min_length=1)
    wiener: int = Field(0, ge=0)
    origin: str = ""
    scores: dict[str, float] = Field({})
    limits: tuple[str, ...] = ()


class ModelCard(Settings):
    """What a model is: how to run it, where it comes from, how good it is.

    The card is JSON in the ONNX file's metadata under ``viso.card``, or TOML beside an ONNX file
    from elsewhere (``model.onnx`` with ``model.toml``).

    The graph takes one float32 input and returns one float32 output:

    ========== ==========================================================
    input      ``magnitude``: (batch, channels, bins, chunk_frames)
    .          ``complex``: (batch, 2 channels, bins, chunk_frames), real
               and imaginary part of each channel alternate
    output     ``mask``: factor for each input bin, same layout as magnitude
    .          ``complex``: the target's own spectrum, as the complex input
    axes       ``bins-frames``: as above; ``frames-bins``: these two axes
    .          swapped, which avoids transposing input and output
    ========== ==========================================================

    An output may lack the `context_frames` at both ends; if it has them, they are dropped.
    With a complex output, bins above `n_bins` belong to the instrumental. With a mask, `above`
    sets their factor: that of the "highest" bin with a factor, the "average" of the factors in
    the frame, or "zeros", which gives the target nothing there.
    """

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN)
    version: str = "1"
    description: str = ""
    spectral: SpectralConfig = SpectralConfig()
    channels: Literal[1, 2] = 2
    basis: Literal["left-right", "mid-side"] = "left-right"
    input: Literal["magnitude", "complex"] = "magnitude"
    output: Literal["mask", "complex"] = "mask"
    axes: Literal["bins-frames", "frames-bins"] = "bins-frames"
    target: Literal["vocals", "instrumental"] = "vocals"
    n_bins: int | None = Field(None, ge=1)
    above: Literal["highest", "average", "zeros"] = "highest"
    chunk_frames: int = Field(ge=1, le=16_384)
    context_frames: int = Field(0, ge=0)
    gain: float = Field(1.0, gt=0, le=10)
    trained_on: tuple[str, ...] = ()
    teacher: str | None = None
    licence: str = "unknown"
    origin: str = ""
    parameters: int | None = None
    scores: dict[str, float] = Field({})
    limits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunk_frames <= 2 * self.context_frames:
            raise ValueError(
                f"chunk_frames {self.chunk_frames} leave nothing between "
                f"two times context_frames {self.context_frames}"
            )
        if self.n_bins is not None and self.n_bins > self.spectral.n_bins:
            raise ValueError(f"n_bins {self.n_bins} are more than n_fft {self.spectral.n_fft} has")
        # An untrusted card could require any amount of memory or work.
        if self.chunk_frames * self.spectral.n_bins > _LARGEST_CHUNK:
            raise ValueError(
                f"chunk_frames {self.chunk_frames} of {self.spectral.n_bins} bins are more than "
                f"{_LARGEST_CHUNK} values"
            )
        if self.spectral.n_fft > _LARGEST_OVERLAP * self.spectral.hop:
            raise ValueError(
                f"n_fft {self.spectral.n_fft} is more than {_LARGEST_OVERLAP} times "
                f"hop {self.spectral.hop}"
            )
        if self.basis == "mid-side" and self.channels != 2:
            raise ValueError("mid-side needs channels = 2")
        return self

    @property
    def used_bins(self) -> int:
        """How many bins of a frame, from the lowest, the graph sees."""
        return self.spectral.n_bins if self.n_bins is None else self.n_bins

    @property
    def step_frames(self) -> int:
        """Frames from the start of one chunk to the start of the next."""
        return self.chunk_frames - 2 * self.context_frames
