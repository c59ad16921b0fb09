"""Settings as frozen models: checked when they are made, readable from and written to TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from viso.errors import ConfigError
from viso.parsing import read_toml

__all__ = ["BlendCard", "ModelCard", "Settings", "SpectralConfig"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"

_LARGEST_CHUNK = 1 << 24  # frames times bins: 256 MB of two channels
_LARGEST_OVERLAP = 64


class Settings(BaseModel):
    """Base of every settings model: frozen, no unknown keys, finite numbers, TOML in and out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, values: Any, *, origin: str) -> Self:
        """Check `values` and return the settings.

        Raises
        ------
        ConfigError
            Naming `origin`, the first key that is wrong, and its value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "settings"
            field = cls.model_fields.get(str(first["loc"][0])) if first["loc"] else None
            # What is not shown in the settings is a secret, and may be right but for a letter.
            is_shown = first["type"] != "missing" and (field is None or field.repr)
            given = f", not {first['input']!r:.60}" if is_shown else ""
            raise ConfigError(f"{origin}: {key}: {first['msg']}{given}") from error

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read the settings from a TOML file.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or does not fit.
        """
        try:
            values = read_toml(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ConfigError(f"{path}: not a TOML file ({error!s:.160})") from error
        return cls.from_mapping(values, origin=str(path))

    def to_toml(self) -> str:
        """Return the settings as TOML; what is None is left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


class SpectralConfig(Settings):
    """The short-time Fourier transform a model works on (periodic Hann window).

    `n_fft` is the transform's length in samples, `hop` the samples between frames, `rate_hz`
    the sampling rate at which both are meant. `window` is the window's length, as long as the
    transform if it is not said; around a shorter one there are zeros.
    """

    rate_hz: int = Field(44_100, ge=1_000, le=768_000)
    n_fft: int = Field(4096, ge=16, le=65_536)
    hop: int = Field(1024, ge=1)
    window: int | None = Field(None, ge=16)

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        # With less overlap the last samples of a signal lie where every window is near zero.
        if self.hop * 3 > self.n_fft or self.n_fft % 2:
            raise ValueError(f"n_fft {self.n_fft} must be even and at least 3 times hop {self.hop}")
        if self.window is not None and (
            self.window % 2 or not 3 * self.hop <= self.window <= self.n_fft
        ):
            raise ValueError(
                f"window {self.window} must be even, at least 3 times hop {self.hop} and at most "
                f"n_fft {self.n_fft}"
            )
        return self

    @property
    def n_bins(self) -> int:
        """Frequency bins of one frame."""
        return self.n_fft // 2 + 1

    @property
    def window_length(self) -> int:
        """Samples that the window lets through."""
        return self.n_fft if self.window is None else self.window


class BlendCard(Settings):
    """Several models under one name, and what runs behind them: a TOML file by itself.

    `models` is said as to ``--model``, such as ``a*0.3+b*0.7``, by names or by files beside the
    card; `wiener` are the iterations of the multichannel Wiener filter behind them.
    """

    name: str = Field(min_length=1, max_length=64, pattern=_NAME)
    version: str = "1"
    description: str = ""
    models: str = Field(min_length=1)
    wiener: int = Field(0, ge=0)
    origin: str = ""
    scores: dict[str, float] = {}
    limits: tuple[str, ...] = ()


class ModelCard(Settings):
    """What a model is: how to run it, where it comes from, how good it is.

    The card travels as JSON in the ONNX file's metadata under ``viso.card``, or as TOML
    beside a file of somebody else's (``model.onnx`` with ``model.toml``).

    The graph takes one float32 input and gives one float32 output:

    ========== ==========================================================
    input      ``magnitude``: (batch, channels, bins, chunk_frames)
    .          ``complex``: (batch, 2 channels, bins, chunk_frames), real
               and imaginary part of each channel in turn
    output     ``mask``: factor for each input bin, same layout as magnitude
    .          ``complex``: the target's own spectrum, as the complex input
    axes       ``bins-frames``: as above; ``frames-bins``: those two in
    .          the other order, which spares a transposition of both
    ========== ==========================================================

    An output may lack the `context_frames` at either end; if it has them, they are dropped.
    Bins above `n_bins` belong to the instrumental with a complex output. With a mask `above`
    says what becomes of them: each takes the factor of the "highest" bin that has one, the
    "average" of its frame's, or "zeros", which leaves the target nothing there.
    """

    name: str = Field(min_length=1, max_length=64, pattern=_NAME)
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
    scores: dict[str, float] = {}
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
        # A card of a stranger's could ask for any amount of memory, or work.
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
        """Lowest bins of a frame that the graph sees."""
        return self.spectral.n_bins if self.n_bins is None else self.n_bins

    @property
    def step_frames(self) -> int:
        """Frames by which successive chunks advance."""
        return self.chunk_frames - 2 * self.context_frames
