"""SCNet: a U-Net over bands that are compressed differently, from a checkpoint and its YAML file.

With T frames of F bins in C channels, and S stems::

    spectrum                           (1, 2 C, F, T)
    n times: three bands, the higher   (1, width, F', T)
      ones with fewer bins left;
      convolutions over the frames
      of each bin; then one over all
    pairs of dual-path layers:         (1, width, F', T)
      LSTMs over bins and over frames,
      then the Fourier transform over
      the frames; the same LSTMs on
      it; and the inverse transform
    n times: beside what came before,  (1, S 2 C, F, T)
      three bands, the higher ones
      with more bins again

The network is that of Tong et al. 2024 (arXiv 2401.13276). Its window is rectangular. The original
adds overlapping chunks with weights. Here the frames at either end of a chunk are context and are
dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from viso.dsp.stft import SpectralConfig
from viso.errors import ModelError
from viso.train.importing._draft import Draft, Wishes
from viso.train.importing._outputs import check_options, draft_of, size, sizes
from viso.train.importing.toolkit import ToolkitConfig

__all__ = ["ScNet", "ScNetSettings", "draft"]

_OPTIONS = {
    "sources", "audio_channels", "dims", "nfft", "hop_size", "win_size", "normalized", "band_SR",
    "band_stride", "band_kernel", "conv_depths", "compress", "conv_kernel", "num_dplayer", "expand",
}  # fmt: skip
_MOST_CHANNELS = 2048


@dataclass(frozen=True)
class ScNetSettings:
    """The sizes of a network.

    Attributes
    ----------
    n_stems : int
    widths : tuple of int
        Channels at each scale; the first is twice the channels of the sound.
    shares : tuple of float
        Shares of the bins in the low and the middle band; the rest is the high one.
    strides, kernels : tuple of int
        Of the convolution that compresses each band, in bins.
    depths : tuple of int
        Modules of convolutions over the frames, in each band.
    compress : int
        These have this many times fewer channels inside.
    kernel : int
        Frames that their convolutions see.
    n_dual_paths : int
    expand : int
        The LSTMs have this many times more cells than channels.
    """

    n_stems: int
    widths: tuple[int, ...]
    shares: tuple[float, float]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    depths: tuple[int, ...]
    compress: int
    kernel: int
    n_dual_paths: int
    expand: int


class ScNet(nn.Module):
    """Estimates the spectra of all stems (see the module's drawing).

    Its weights have the names of the published files.

    Parameters
    ----------
    settings : ScNetSettings
    """

    def __init__(self, settings: ScNetSettings) -> None:
        super().__init__()
        s = settings
        self.encoder = nn.ModuleList(
            _Encoder(s, inputs, outputs)
            for inputs, outputs in zip(s.widths, s.widths[1:], strict=False)
        )
        self.separation_net = _DualPaths(s)
        stems = [s.widths[0] * s.n_stems, *s.widths[1:-1]]
        self.decoder = nn.ModuleList(
            nn.Sequential(_Fusion(inputs), _Larger(s, inputs, outputs))
            for inputs, outputs in zip(s.widths[:0:-1], stems[::-1], strict=True)
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the spectra of all stems [shape=(1, stems 2 channels, bins, frames)].

        Parameters
        ----------
        spectrum : Tensor [shape=(1, 2 channels, bins, frames)]
            Real and imaginary part of each channel alternate; the frames are even in number.
        """
        x, passed = spectrum, []
        for encoder in self.encoder:
            before = int(x.shape[2])
            x, beside, parts = encoder(x)
            passed.append((beside, parts, before))
        x = self.separation_net(x)
        for block in self.decoder:
            beside, parts, n_bins = passed.pop()
            fused = block[0](x, beside)  # type: ignore[index]
            x = block[1](fused, parts, n_bins)  # type: ignore[index]
        stems: Tensor = x
        return stems


def _bands(shares: tuple[float, float], n_bins: int) -> list[int]:
    """Return the number of bins in each of the three bands."""
    low = math.ceil(n_bins * shares[0])
    middle = math.ceil(n_bins * (shares[0] + shares[1]))
    return [low, middle - low, n_bins - middle]


class _Encoder(nn.Module):
    """Compresses the bands, and returns also what it gives to the decoder."""

    def __init__(self, s: ScNetSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        self.SDlayer = _Smaller(s, inputs, outputs)
        self.conv_modules = nn.ModuleList(_Convolutions(s, outputs, depth) for depth in s.depths)
        self.globalconv = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        bands = []
        for band, convolutions in zip(self.SDlayer(x), self.conv_modules, strict=True):
            # Each bin is a sequence of frames by itself: (bins, channels, frames).
            rows = convolutions(band[0].transpose(0, 1))
            bands.append(functional.gelu(rows.transpose(0, 1)[None]))
        beside = torch.cat(bands, dim=2)
        return self.globalconv(beside), beside, [int(band.shape[2]) for band in bands]


class _Smaller(nn.Module):
    def __init__(self, s: ScNetSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        self.s = s
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(s.kernels, s.strides, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        sizes = _bands(self.s.shares, int(x.shape[2]))
        compressed = []
        for band, n_bins, convolution, kernel, stride in zip(
            torch.split(x, sizes, dim=2),
            sizes,
            self.convs,
            self.s.kernels,
            self.s.strides,
            strict=True,
        ):
            padding = kernel - 1 if stride == 1 else -n_bins % stride
            sides = (0, 0, padding // 2, padding - padding // 2)
            compressed.append(convolution(functional.pad(band, sides)))
        return compressed


class _Convolutions(nn.Module):
    """Modules of convolutions over the frames, each with a shortcut around it."""

    def __init__(self, s: ScNetSettings, width: int, depth: int) -> None:
        super().__init__()
        inner, around = width // s.compress, s.kernel // 2
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv1d(width, 2 * inner, s.kernel, padding=around),
                nn.GLU(1),
                nn.Conv1d(inner, inner, s.kernel, padding=around, groups=inner),
                nn.GroupNorm(1, inner),
                nn.SiLU(),
                nn.Conv1d(inner, width, 1),
            )
            for _ in range(depth)
        )

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.layers:
            rows = rows + layer(rows)
        return rows


class _Fusion(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * width, 2 * width, 3, padding=1)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        both = x + beside
        return functional.glu(self.conv(torch.cat([both, both], dim=1)), dim=1)


class _Larger(nn.Module):
    def __init__(self, s: ScNetSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        self.s = s
        self.convtrs = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(s.kernels, s.strides, strict=True)
        )

    def forward(self, x: Tensor, parts: list[int], n_bins: int) -> Tensor:
        """Expand bands of so many bins each, to `n_bins` in all."""
        bands = []
        for band, convolution, wanted in zip(
            torch.split(x, parts, dim=2), self.convtrs, _bands(self.s.shares, n_bins), strict=True
        ):
            expanded = convolution(band)
            first = (int(expanded.shape[2]) - wanted) // 2
            bands.append(expanded[:, :, first : first + wanted])
        return torch.cat(bands, dim=2)


class _DualPaths(nn.Module):
    """Dual-path layers: the even ones see frames, the odd ones the spectrum over the frames."""

    def __init__(self, s: ScNetSettings) -> None:
        super().__init__()
        width = s.widths[-1]
        self.dp_modules = nn.ModuleList(
            _DualPath(width * (1 + number % 2), s.expand) for number in range(s.n_dual_paths)
        )

    def forward(self, x: Tensor) -> Tensor:
        n_frames = int(x.shape[3])
        for number, layer in enumerate(self.dp_modules):
            x = layer(x)
            x = _inverse_transform(x, n_frames) if number % 2 else _transform(x)
        return x


class _DualPath(nn.Module):
    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        cells = width * expand
        self.lstm_layers = nn.ModuleList(nn.LSTM(width, cells, bidirectional=True) for _ in "ft")
        self.linear_layers = nn.ModuleList(nn.Linear(2 * cells, width) for _ in "ft")
        self.norm_layers = nn.ModuleList(nn.GroupNorm(1, width) for _ in "ft")

    def forward(self, x: Tensor) -> Tensor:
        # An LSTM takes (steps, sequences, channels): first bins are steps, then frames.
        over_bins, over_frames = (2, 3, 1), (3, 2, 1)
        for number, order in enumerate((over_bins, over_frames)):
            rows = self.norm_layers[number](x)[0].permute(*(axis - 1 for axis in order))
            heard = self.linear_layers[number](self.lstm_layers[number](rows)[0])
            back = (2, 0, 1) if number == 0 else (2, 1, 0)
            x = x + heard.permute(*back)[None]
        return x


def _waves(n_frames: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return cosine and sine of the orthonormal transform [shape=(frames, frames / 2 + 1)]."""
    turns = np.outer(np.arange(n_frames), np.arange(n_frames // 2 + 1)) % n_frames / n_frames
    scale = 1 / math.sqrt(n_frames)
    return scale * np.cos(2 * np.pi * turns), scale * np.sin(2 * np.pi * turns)


def _transform(x: Tensor) -> Tensor:
    """Transform over the frames: real parts of all channels, then imaginary parts."""
    cosine, sine = _waves(int(x.shape[3]))
    real, imaginary = (
        x @ torch.from_numpy(matrix.astype(np.float32)).to(x.device) for matrix in (cosine, -sine)
    )
    return torch.cat([real, imaginary], dim=1)


def _inverse_transform(x: Tensor, n_frames: int) -> Tensor:
    cosine, sine = _waves(n_frames)
    # All frequencies but the lowest and the highest stand for two.
    weights = np.full((n_frames // 2 + 1, 1), 2.0)
    weights[[0, -1]] = 1
    back = [torch.from_numpy((weights * m.T).astype(np.float32)) for m in (cosine, -sine)]
    real, imaginary = x.chunk(2, dim=1)
    return real @ back[0].to(x.device) + imaginary @ back[1].to(x.device)


def draft(source: Path, wishes: Wishes, config: ToolkitConfig) -> Draft:
    """Read the weights of an SCNet.

    Parameters
    ----------
    source : Path
        The ``.ckpt`` or ``.th``.
    wishes : Wishes
        `chunk_frames` must be even.
    config : ToolkitConfig

    Raises
    ------
    ModelError
        If the configuration is impossible or holds options that are not known, if the weights do
        not fit it, if it has no such stem, or if no licence is given.
    """
    settings = _settings(config)
    spectral = _spectral(config)
    _check_bins(config, settings, spectral.n_bins)
    is_scaled = config.value("model", "normalized", bool, True)
    return draft_of(
        source,
        wishes,
        config,
        partial(ScNet, settings),
        n_stems=settings.n_stems,
        chunk_frames=_chunk_frames(config, wishes, hop=spectral.hop),
        paper="Tong et al. 2024, arXiv 2401.13276",
        facts={
            "description": "SCNet: the complex spectrum by a network over compressed bands",
            "spectral": spectral,
            "channels": settings.widths[0] // 2,
        },
        scale=spectral.n_fft**-0.5 if is_scaled else 1.0,
        weights="float16",
    )


def _settings(config: ToolkitConfig) -> ScNetSettings:
    check_options(config, _OPTIONS)
    n_channels = size(config, "model", "audio_channels", 2, most=2)
    if config.audio.get("num_channels", n_channels) != n_channels:
        raise ModelError(
            f"{config.path}: audio.num_channels is not model.audio_channels, which is {n_channels}"
        )
    stems = config.model.get("sources", ["drums", "bass", "other", "vocals"])
    if not isinstance(stems, list | tuple) or not 1 <= len(stems) <= 64:
        raise ModelError(f"{config.path}: model.sources is {stems!r:.40}, no list of names")
    widths = sizes(config, "dims", [4, 32, 64, 128], most=_MOST_CHANNELS)
    settings = ScNetSettings(
        n_stems=len(stems),
        widths=tuple(widths),
        shares=_shares(config),
        strides=tuple(sizes(config, "band_stride", [1, 4, 16], most=256, n=3)),
        kernels=tuple(sizes(config, "band_kernel", [3, 4, 16], most=256, n=3)),
        depths=tuple(sizes(config, "conv_depths", [3, 2, 1], most=64, n=3)),
        compress=size(config, "model", "compress", 4, most=min(_MOST_CHANNELS, *widths[1:])),
        kernel=size(config, "model", "conv_kernel", 3, most=255),
        n_dual_paths=size(config, "model", "num_dplayer", 6, most=64),
        expand=size(config, "model", "expand", 1, most=16),
    )
    if widths[0] != 2 * n_channels or not 2 <= len(widths) <= 8:
        raise ModelError(
            f"{config.path}: model.dims is {widths!r:.40}; the first of two to eight must be "
            f"{2 * n_channels}, twice the channels"
        )
    for name, number, wanted in (
        ("conv_kernel", settings.kernel, 1),
        ("num_dplayer", settings.n_dual_paths, 0),
    ):
        if number % 2 != wanted:
            parity = "odd" if wanted else "even"
            raise ModelError(f"{config.path}: model.{name} is {number}, but must be {parity}")
    for kernel, stride in zip(settings.kernels, settings.strides, strict=True):
        if kernel < stride:
            raise ModelError(
                f"{config.path}: model.band_kernel {kernel} does not fit band_stride {stride}"
            )
    return settings


def _shares(config: ToolkitConfig) -> tuple[float, float]:
    found = config.model.get("band_SR")
    if (
        not isinstance(found, list | tuple)
        or len(found) != 3
        or not all(isinstance(share, float) and 0 < share < 1 for share in found)
        or not abs(sum(found) - 1) < 0.01
    ):
        raise ModelError(
            f"{config.path}: model.band_SR is {found!r:.40}, not three shares that sum to 1"
        )
    return found[0], found[1]


def _check_bins(config: ToolkitConfig, settings: ScNetSettings, n_bins: int) -> None:
    """Raise if a band of a scale has no bins."""
    for _ in settings.widths[1:]:
        bands = [
            (band + (kernel - 1 if stride == 1 else -band % stride) - kernel) // stride + 1
            for band, kernel, stride in zip(
                _bands(settings.shares, n_bins), settings.kernels, settings.strides, strict=True
            )
        ]
        if min(bands) < 1:
            raise ModelError(
                f"{config.path}: model.nfft has too few bins for {len(settings.widths) - 1} "
                "scales of model.dims and for model.band_SR"
            )
        n_bins = sum(bands)


def _spectral(config: ToolkitConfig) -> SpectralConfig:
    n_fft = size(config, "model", "nfft", 4096, most=65_536)
    window = size(config, "model", "win_size", n_fft, most=65_536)
    values = {
        "rate_hz": size(config, "audio", "sample_rate", 44_100, most=768_000),
        "n_fft": n_fft,
        "hop": size(config, "model", "hop_size", 1024, most=65_536),
        "window": None if window == n_fft else window,
        "window_type": "rectangular",
    }
    return SpectralConfig.from_mapping(values, origin=str(config.path))


def _chunk_frames(config: ToolkitConfig, wishes: Wishes, *, hop: int) -> int:
    """Return the frames of a chunk, as the original pads it: even in number."""
    if wishes.chunk_frames is not None:
        if wishes.chunk_frames % 2:
            raise ModelError(
                f"{config.path}: chunk_frames {wishes.chunk_frames} is odd; "
                "this network needs an even number"
            )
        return wishes.chunk_frames
    n_hops = size(config, "audio", "chunk_size", 485_100, most=1 << 24) // hop + 1
    return n_hops + 1 + (n_hops % 2 == 0)
