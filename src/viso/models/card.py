"""Model cards: what a model is, how to run it, where it comes from and how good it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from viso.config import NAME_PATTERN, STEM_PATTERN, Settings
from viso.dsp.stft import SpectralConfig

__all__ = ["BlendCard", "ModelCard", "SegmentCard", "card_from"]

_LARGEST_CHUNK = 1 << 24  # frames times bins: 256 MB of two channels
_LARGEST_OVERLAP = 64
_MOST_STEMS = 16
_LARGEST_SEGMENT = 1 << 22  # 95 s at 44.1 kHz


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


class _Card(Settings):
    """What every card says: the model's name, its origin and how good it is."""

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN)
    version: str = "1"
    description: str = ""
    trained_on: tuple[str, ...] = ()
    teacher: str | None = None
    licence: str = "unknown"
    origin: str = ""
    parameters: int | None = None
    scores: dict[str, float] = Field({})
    limits: tuple[str, ...] = ()


class ModelCard(_Card):
    """What a model is: how to run it, where it comes from, how good it is.

    The card is JSON in the ONNX file's metadata under ``viso.card``, or TOML beside an ONNX file
    from elsewhere (``model.onnx`` with ``model.toml``).

    The graph takes one float32 input and returns one float32 output:

    ========== ==========================================================
    input      ``magnitude``: (batch, channels, bins, chunk_frames)
    .          ``complex``: (batch, 2 channels, bins, chunk_frames), real
               and imaginary part of each channel alternate
    output     ``mask``: factor for each input bin, same layout as magnitude
    .          ``complex``: the target's own spectrum, as the complex input;
    .          if the card has `stems`, the spectra of all, one after the other
    axes       ``bins-frames``: as above; ``frames-bins``: these two axes
    .          swapped, which avoids transposing input and output
    ========== ==========================================================

    An output may lack the `context_frames` at both ends; if it has them, they are dropped.
    With a complex output, bins above `n_bins` belong to the instrumental. With a mask, `above`
    sets their factor: that of the "highest" bin with a factor, the "average" of the factors in
    the frame, or "zeros", which gives the target nothing there.
    """

    domain: Literal["frames"] = "frames"
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
    stems: tuple[str, ...] = Field((), max_length=_MOST_STEMS)

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
        if self.stems:
            _check_stems(self.stems)
            if self.output != "complex" or self.target != "vocals":
                raise ValueError('stems need output = "complex" and target = "vocals"')
        return self

    @property
    def estimated(self) -> tuple[str, ...]:
        """The stems that can be had of the model's estimate."""
        return self.stems or ("vocals",)

    @property
    def used_bins(self) -> int:
        """How many bins of a frame, from the lowest, the graph sees."""
        return self.spectral.n_bins if self.n_bins is None else self.n_bins

    @property
    def step_frames(self) -> int:
        """Frames from the start of one chunk to the start of the next."""
        return self.chunk_frames - 2 * self.context_frames


class SegmentCard(_Card):
    """What a model is that sees segments of a song and gives all of their samples.

    Successive segments overlap by `overlap` of their length. Their estimates are added, weighted
    by `window`, and divided by the sum of the weights. The graph is a hybrid transformer
    (`viso.models.segments`): it takes a segment's samples and its spectrum, and gives both for
    each of `stems`.
    """

    domain: Literal["segments"] = "segments"
    rate_hz: int = Field(44_100, ge=8_000, le=192_000)
    channels: Literal[2] = 2
    segment_samples: int = Field(ge=1024, le=_LARGEST_SEGMENT)
    overlap: float = Field(0.25, ge=0, lt=1)
    window: Literal["triangular"] = "triangular"
    n_fft: int = Field(4096, ge=16, le=1 << 16)
    hop: int = Field(1024, ge=1)
    stems: tuple[str, ...] = Field(("drums", "bass", "other", "vocals"), max_length=_MOST_STEMS)
    inputs: tuple[str, str] = Field(description="names: samples, spectrum")
    outputs: tuple[str, str] = Field(description="names: samples, spectra")
    terms: str = Field("", description="what the weights may be used for")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_stems(self.stems)
        if self.n_fft % 2 or self.n_fft % self.hop or self.n_fft > self.segment_samples:
            raise ValueError(
                f"n_fft {self.n_fft} must be even, a multiple of hop {self.hop} and shorter than "
                f"segment_samples {self.segment_samples}"
            )
        if self.advance_samples < 1:
            raise ValueError(f"overlap {self.overlap:g} leaves no step between segments")
        return self

    @property
    def estimated(self) -> tuple[str, ...]:
        """The stems that the model estimates."""
        return self.stems

    @property
    def advance_samples(self) -> int:
        """Samples by which successive segments advance."""
        return int(self.segment_samples * (1 - self.overlap))

    @property
    def n_frames(self) -> int:
        """Frames of a segment's spectrum."""
        return -(-self.segment_samples // self.hop)


def _check_stems(stems: tuple[str, ...]) -> None:
    if "vocals" not in stems or len(set(stems)) < len(stems):
        raise ValueError(f"stems {', '.join(stems)}: need vocals among them, and each once")
    if not all(re.fullmatch(STEM_PATTERN, stem) for stem in stems):
        raise ValueError(f"stems {', '.join(stems)}: need names of small letters, - and _")


def card_from(values: Any, *, origin: str) -> ModelCard | SegmentCard:
    """Check what a card holds, by its `domain`.

    Raises
    ------
    ConfigError
        Naming `origin` and what is wrong.
    """
    domain = values.get("domain") if isinstance(values, Mapping) else None
    if domain in (None, "frames"):
        return ModelCard.from_mapping(values, origin=origin)
    return SegmentCard.from_mapping(values, origin=origin)
