"""MDX23C: the third TFC-TDF, a U-Net over frames and bins, from a checkpoint and its YAML file.

With T frames of F bins in C channels, B subbands, G channels more a scale and S stems::

    spectrum                        (1, 2 C, T, F)
    subbands side by side           (1, 2 C B, T, F / B)
    1x1 convolution                 (1, c, T, F / B)      kept as "first"
    n times: blocks, then smaller   (1, c + G, T / 2, F / 2 B) ...
    blocks
    n times: larger, beside what    (1, c, T, F / B)
      came before it got smaller,
      blocks
    times "first", beside the       (1, c + 2 C B, T, F / B)
      subbands
    two 1x1 convolutions            (1, S 2 C B, T, F / B)
    subbands one above the other    (1, S 2 C, T, F)

A block is a 3x3 convolution, two dense layers over the bins beside it, another 3x3 convolution, and
a shortcut around all. A norm and an activation come before each layer.

The network is that of Kim et al. 2023 (arXiv 2306.09382). The original adds overlapping chunks with
weights. Here the frames at either end of a chunk are context and are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.errors import ModelError
from viso.train.importing._draft import Draft, Wishes
from viso.train.importing._outputs import check_options, draft_of, size, sizes
from viso.train.importing.toolkit import ToolkitConfig

__all__ = ["TfcTdf3", "TfcTdf3Settings", "draft"]

_OPTIONS = {
    "act", "bottleneck_factor", "growth", "norm", "num_blocks_per_scale", "num_channels",
    "num_scales", "num_subbands", "scale",
}  # fmt: skip
_MOST_CHANNELS = 2048
_MOST_BINS = 1 << 15


@dataclass(frozen=True)
class TfcTdf3Settings:
    """The sizes of a network.

    Attributes
    ----------
    n_stems, n_channels, n_bins : int
        Stems of the output, channels of the sound, and bins that the network sees.
    n_subbands : int
    width, growth : int
        Channels of the first scale, and how many more each further scale has.
    n_scales, n_blocks : int
        How often the picture gets smaller, and blocks at each scale.
    scale : (int, int)
        How much smaller it gets, in frames and in bins.
    bottleneck : int
        The dense layers have this many times fewer features than bins inside.
    norm : str
        ``InstanceNorm``, ``BatchNorm``, or ``GroupNorm`` followed by the number of groups.
    act : str
        ``gelu``, ``relu``, or ``elu`` followed by its alpha.
    """

    n_stems: int
    n_channels: int
    n_bins: int
    n_subbands: int
    width: int
    growth: int
    n_scales: int
    n_blocks: int
    scale: tuple[int, int]
    bottleneck: int
    norm: str
    act: str


class TfcTdf3(nn.Module):
    """Estimates the spectra of all stems (see the module's drawing).

    Its weights have the names of the published files.

    Parameters
    ----------
    settings : TfcTdf3Settings
    """

    def __init__(self, settings: TfcTdf3Settings) -> None:
        super().__init__()
        s = settings
        self.n_subbands = s.n_subbands
        layers = _Layers(_norm_of(s.norm), _activation_of(s.act), s.bottleneck)
        inputs = 2 * s.n_channels * s.n_subbands
        widths = [s.width + s.growth * scale for scale in range(s.n_scales + 1)]
        bins = [s.n_bins // s.n_subbands // s.scale[1] ** scale for scale in range(s.n_scales + 1)]
        self.first_conv = nn.Conv2d(inputs, s.width, 1, bias=False)
        self.encoder_blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "tfc_tdf": _Blocks(width, width, s.n_blocks, n_bins, layers),
                    "downscale": _Resized(nn.Conv2d, width, wider, s.scale, layers),
                }
            )
            for (width, wider), n_bins in zip(pairwise(widths), bins, strict=False)
        )
        self.bottleneck_block = _Blocks(widths[-1], widths[-1], s.n_blocks, bins[-1], layers)
        self.decoder_blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "upscale": _Resized(nn.ConvTranspose2d, wider, width, s.scale, layers),
                    "tfc_tdf": _Blocks(2 * width, width, s.n_blocks, n_bins, layers),
                }
            )
            for (wider, width), n_bins in zip(pairwise(widths[::-1]), bins[-2::-1], strict=True)
        )
        self.final_conv = nn.Sequential(
            nn.Conv2d(s.width + inputs, s.width, 1, bias=False),
            layers.activation(),
            nn.Conv2d(s.width, s.n_stems * inputs, 1, bias=False),
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the spectra of all stems [shape=(1, stems 2 channels, frames, bins)].

        Parameters
        ----------
        spectrum : Tensor [shape=(1, 2 channels, frames, bins)]
            Real and imaginary part of each channel alternate.
        """
        _, n_inputs, n_frames, n_bins = map(int, spectrum.shape)
        split = spectrum.reshape(1, n_inputs, n_frames, self.n_subbands, -1)
        subbands = split.transpose(2, 3).flatten(1, 2)
        first = self.first_conv(subbands)
        x, passed = first, []
        for encoder in self.encoder_blocks:
            x = encoder["tfc_tdf"](x)  # type: ignore[index]
            passed.append(x)
            x = encoder["downscale"](x)  # type: ignore[index]
        x = self.bottleneck_block(x)
        for decoder in self.decoder_blocks:
            x = torch.cat([decoder["upscale"](x), passed.pop()], dim=1)  # type: ignore[index]
            x = decoder["tfc_tdf"](x)  # type: ignore[index]
        stems: Tensor = self.final_conv(torch.cat([subbands, x * first], dim=1))
        stems = stems.reshape(1, -1, self.n_subbands, n_frames, n_bins // self.n_subbands)
        return stems.transpose(2, 3).flatten(3)


@dataclass(frozen=True)
class _Layers:
    """What all blocks of a network share."""

    norm: Callable[[int], nn.Module]
    activation: Callable[[], nn.Module]
    bottleneck: int

    def before(self, width: int, *layers: nn.Module) -> list[nn.Module]:
        """Return layers with a norm and an activation before them."""
        return [self.norm(width), self.activation(), *layers]


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int, n_bins: int, layers: _Layers) -> None:
        super().__init__()
        inner = n_bins // layers.bottleneck
        self.tfc1 = nn.Sequential(
            *layers.before(inputs, nn.Conv2d(inputs, width, 3, padding=1, bias=False))
        )
        self.tdf = nn.Sequential(
            *layers.before(width, nn.Linear(n_bins, inner, bias=False)),
            *layers.before(width, nn.Linear(inner, n_bins, bias=False)),
        )
        self.tfc2 = nn.Sequential(
            *layers.before(width, nn.Conv2d(width, width, 3, padding=1, bias=False))
        )
        self.shortcut = nn.Conv2d(inputs, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.tfc1(x)
        result: Tensor = self.tfc2(inner + self.tdf(inner)) + self.shortcut(x)
        return result


class _Blocks(nn.Module):
    def __init__(
        self, inputs: int, width: int, n_blocks: int, n_bins: int, layers: _Layers
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                _Block(width if number else inputs, width, n_bins, layers)
                for number in range(n_blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.blocks(x)
        return result


class _Resized(nn.Module):
    def __init__(
        self,
        convolution: type[nn.Conv2d] | type[nn.ConvTranspose2d],
        inputs: int,
        outputs: int,
        scale: tuple[int, int],
        layers: _Layers,
    ) -> None:
        super().__init__()
        resized = convolution(inputs, outputs, scale, scale, bias=False)
        self.conv = nn.Sequential(*layers.before(inputs, resized))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class _InstanceNorm(nn.Module):
    """Normalises each channel by its mean and variance over all frames and bins.

    The sums go over the bins first and then over the frames. ONNX Runtime's own operator sums all
    at once in float32; over 262,144 values its error is 12 times as large.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - _mean(x)
        factor = self.weight.reshape(1, -1, 1, 1) * torch.rsqrt(_mean(centred * centred) + 1e-5)
        return centred * factor + self.bias.reshape(1, -1, 1, 1)


def _mean(x: Tensor) -> Tensor:
    return x.mean(3, keepdim=True).mean(2, keepdim=True)


def _norm_of(name: str) -> Callable[[int], nn.Module]:
    if name == "InstanceNorm":
        return _InstanceNorm
    if name == "BatchNorm":
        return nn.BatchNorm2d
    return partial(nn.GroupNorm, int(name.removeprefix("GroupNorm")))


def _activation_of(name: str) -> Callable[[], nn.Module]:
    if name in ("gelu", "relu"):
        return nn.GELU if name == "gelu" else nn.ReLU
    return partial(nn.ELU, float(name.removeprefix("elu")))


def draft(source: Path, wishes: Wishes, config: ToolkitConfig) -> Draft:
    """Read the weights of an MDX23C.

    Parameters
    ----------
    source : Path
        The ``.ckpt``.
    wishes : Wishes
        `chunk_frames` must be a multiple of the factor by which the network shrinks a chunk.
    config : ToolkitConfig

    Raises
    ------
    ModelError
        If the configuration is impossible or holds options that are not known, if the weights do
        not fit it, if it has no such stem, or if no licence is given.
    """
    settings = _settings(config)
    n_fft = size(config, "audio", "n_fft", None, most=65_536)
    hop = size(config, "audio", "hop_length", None, most=65_536)
    rate_hz = size(config, "audio", "sample_rate", 44_100, most=768_000)
    # Rounded to float16, random weights of the published size differ by -58 dB.
    return draft_of(
        source,
        wishes,
        config,
        partial(TfcTdf3, settings),
        n_stems=settings.n_stems,
        chunk_frames=_chunk_frames(config, wishes, settings, hop=hop),
        paper="Kim et al. 2023, arXiv 2306.09382",
        facts={
            "description": "MDX23C: the complex spectrum by a U-Net, the third TFC-TDF",
            "spectral": SpectralConfig.from_mapping(
                {"rate_hz": rate_hz, "n_fft": n_fft, "hop": hop}, origin=str(config.path)
            ),
            "channels": settings.n_channels,
            "axes": "frames-bins",
            "n_bins": settings.n_bins,
        },
    )


def _settings(config: ToolkitConfig) -> TfcTdf3Settings:
    check_options(config, _OPTIONS)
    only = config.training.get("target_instrument")
    instruments = config.training.get("instruments")
    n_stems = len(instruments) if only is None and isinstance(instruments, list | tuple) else 1
    norm = config.value("model", "norm", str, "InstanceNorm")
    if not re.fullmatch(r"InstanceNorm|BatchNorm|GroupNorm[1-9]\d{0,3}", norm):
        raise ModelError(
            f"{config.path}: model.norm is {norm!r:.40}; viso knows InstanceNorm, BatchNorm and "
            "GroupNorm with a number of groups"
        )
    act = config.value("model", "act", str, "gelu")
    if not re.fullmatch(r"gelu|relu|elu\d{1,4}(\.\d{1,8})?", act):
        raise ModelError(
            f"{config.path}: model.act is {act!r:.40}; viso knows gelu, relu and elu with its alpha"
        )
    scale = sizes(config, "scale", [2, 2], most=8, n=2)
    settings = TfcTdf3Settings(
        n_stems=n_stems,
        n_channels=size(config, "audio", "num_channels", 2, most=2),
        n_bins=size(config, "audio", "dim_f", None, most=_MOST_BINS),
        n_subbands=size(config, "model", "num_subbands", None, most=64),
        width=size(config, "model", "num_channels", None, most=_MOST_CHANNELS),
        growth=size(config, "model", "growth", None, most=_MOST_CHANNELS),
        n_scales=size(config, "model", "num_scales", None, most=10),
        n_blocks=size(config, "model", "num_blocks_per_scale", None, most=16),
        scale=(scale[0], scale[1]),
        bottleneck=size(config, "model", "bottleneck_factor", None, most=1024),
        norm=norm,
        act=act,
    )
    _check_bins(config, settings)
    return settings


def _check_bins(config: ToolkitConfig, settings: TfcTdf3Settings) -> None:
    factor = settings.n_subbands * settings.scale[1] ** settings.n_scales
    if settings.n_bins % factor:
        raise ModelError(
            f"{config.path}: audio.dim_f is {settings.n_bins}; the network's subbands and scales "
            f"need a multiple of {factor}"
        )
    if settings.n_bins // factor < settings.bottleneck:
        raise ModelError(
            f"{config.path}: model.bottleneck_factor is {settings.bottleneck}, but the smallest "
            f"scale has only {settings.n_bins // factor} bins"
        )
    groups = settings.norm.removeprefix("GroupNorm")
    if groups.isdigit() and (settings.width % int(groups) or settings.growth % int(groups)):
        raise ModelError(
            f"{config.path}: model.norm is {settings.norm}, which does not divide num_channels "
            f"{settings.width} and growth {settings.growth}"
        )


def _chunk_frames(
    config: ToolkitConfig, wishes: Wishes, settings: TfcTdf3Settings, *, hop: int
) -> int:
    factor = settings.scale[0] ** settings.n_scales
    if wishes.chunk_frames is not None:
        if wishes.chunk_frames % factor:
            raise ModelError(
                f"{config.path}: chunk_frames {wishes.chunk_frames} is no multiple of {factor}, "
                "which this network needs"
            )
        return wishes.chunk_frames
    n_samples = size(config, "audio", "chunk_size", None, most=1 << 24)
    found = n_samples // hop + 1
    if found % factor:
        raise ModelError(
            f"{config.path}: audio.chunk_size {n_samples} gives {found} frames, which is no "
            f"multiple of {factor}; say --chunk-frames"
        )
    return found
