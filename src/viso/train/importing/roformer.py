"""BS-RoFormer and Mel-Band RoFormer, from a checkpoint and its YAML file.

With T frames of F bins in C channels, B bands, D features and S stems::

    spectrum                         (1, 2 C, T, F)
    for each band: norm, dense       (T, B, D)
    several times:
      transformers over the frames   (B, T, D)
      transformers over the bands    (T, B, D)
    norm (BS-RoFormer)               (T, B, D)
    for each stem and band: dense    (T, 2 C F)    a complex mask
    mask times spectrum              (1, S 2 C, T, F)

The bands of BS-RoFormer lie side by side. Those of Mel-Band RoFormer are the triangles of a mel
scale: each bin lies in one or two of them, and its mask is the mean of theirs.

The networks are those of Lu et al. 2023 (arXiv 2309.02612) and Wang et al. 2023 (arXiv
2310.01809). The original adds overlapping chunks with weights. Here the frames at either end of a
chunk are context and are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from viso.dsp.stft import SpectralConfig
from viso.errors import ModelError
from viso.train.importing._draft import Draft, Wishes
from viso.train.importing._outputs import check_options, draft_of, size, sizes
from viso.train.importing._states import State, read_state
from viso.train.importing.toolkit import ToolkitConfig

__all__ = ["Bands", "RoFormer", "RoFormerSettings", "draft", "mel_bands"]

_OPTIONS = {
    "attn_dropout", "depth", "dim", "dim_freqs_in", "dim_head", "ff_dropout", "flash_attn",
    "freq_transformer_depth", "freqs_per_bands", "heads", "linear_transformer_depth",
    "mask_estimator_depth", "match_input_audio_length", "mlp_expansion_factor",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_resolution_loss_weight",
    "multi_stft_resolutions_window_sizes", "num_bands", "num_stems", "sage_attention",
    "sample_rate", "skip_connection", "stereo", "stft_hop_length", "stft_n_fft", "stft_normalized",
    "stft_win_length", "time_transformer_depth", "use_torch_checkpoint", "zero_dc",
}  # fmt: skip
_MOST_FEATURES, _MOST_LAYERS, _MOST_BANDS, _MOST_STEMS = 4096, 64, 1024, 16
_PAPERS = {
    "bs-roformer": "Lu et al. 2023, arXiv 2309.02612",
    "mel-band-roformer": "Wang et al. 2023, arXiv 2310.01809",
}
_MOST_SCORES = 1 << 25  # of attention at once: 134 MB
_TINY = 1e-12


@dataclass(frozen=True)
class Bands:
    """The bins of each band, from the first up to the one after the last.

    Attributes
    ----------
    n_bins : int
        Of the spectrum.
    edges : tuple of (int, int)
        Bands may overlap their neighbours, but not the band after the next.
    """

    n_bins: int
    edges: tuple[tuple[int, int], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many bins each band has."""
        return tuple(stop - first for first, stop in self.edges)

    @property
    def counts(self) -> tuple[int, ...]:
        """In how many bands each bin lies."""
        counts = np.zeros(self.n_bins, int)
        for first, stop in self.edges:
            counts[first:stop] += 1
        return tuple(counts.tolist())


@dataclass(frozen=True)
class RoFormerSettings:
    """The sizes of a network.

    Attributes
    ----------
    n_stems, n_channels : int
    bands : Bands
    width : int
        Features of a band.
    depth, time_depth, band_depth : int
        How often transformers over the frames and over the bands take turns, and the layers of
        each.
    n_heads, head_width : int
    mask_layers : int
        Dense layers of a band's mask.
    mask_width : int
        Features between them.
    is_biased : bool
        Whether the attention's dense layers have biases.
    has_skips : bool
        Whether each turn sees the sum of all earlier ones.
    has_inner_norms, has_last_norm : bool
        Whether a norm follows each transformer, and the last turn.
    zero_dc : bool
        Whether the lowest bin of a stem is zero.
    """

    n_stems: int
    n_channels: int
    bands: Bands
    width: int
    depth: int
    time_depth: int
    band_depth: int
    n_heads: int
    head_width: int
    mask_layers: int
    mask_width: int
    is_biased: bool = False
    has_skips: bool = False
    has_inner_norms: bool = False
    has_last_norm: bool = True
    zero_dc: bool = False


class RoFormer(nn.Module):
    """Estimates the spectra of all stems (see the module's drawing).

    Its weights have the names of the published files.

    Parameters
    ----------
    settings : RoFormerSettings
    """

    def __init__(self, settings: RoFormerSettings) -> None:
        super().__init__()
        s = self.settings = settings
        inputs = [2 * s.n_channels * n_bins for n_bins in s.bands.sizes]
        self.layers = nn.ModuleList(
            nn.ModuleList(_Transformer(s, n_layers) for n_layers in (s.time_depth, s.band_depth))
            for _ in range(s.depth)
        )
        if s.has_last_norm:
            self.final_norm = _Norm(s.width)
        self.band_split = nn.ModuleDict(
            {
                "to_features": nn.ModuleList(
                    nn.Sequential(_Norm(n_inputs), nn.Linear(n_inputs, s.width))
                    for n_inputs in inputs
                )
            }
        )
        self.mask_estimators = nn.ModuleList(
            nn.ModuleDict({"to_freqs": nn.ModuleList(_mask_layers(s, n) for n in inputs)})
            for _ in range(s.n_stems)
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the spectra of all stems.

        Parameters
        ----------
        spectrum : Tensor [shape=(1, 2 channels, frames, bins)]
            Real and imaginary part of each channel alternate.

        Returns
        -------
        Tensor [shape=(1, stems 2 channels, frames, bins)]
        """
        s = self.settings
        by_bin = spectrum[0].permute(1, 2, 0)  # (frames, bins, 2 channels)
        to_features = cast(nn.ModuleList, self.band_split["to_features"])
        bands = zip(to_features, s.bands.edges, strict=True)
        features = torch.stack(
            [layer(by_bin[:, first:stop].flatten(1)) for layer, (first, stop) in bands], dim=1
        )
        earlier: list[Tensor] = []
        for turn in self.layers:
            over_frames, over_bands = cast(nn.ModuleList, turn)
            for one in earlier:
                features = features + one
            features = over_frames(features.transpose(0, 1)).transpose(0, 1)
            features = over_bands(features)
            if s.has_skips:
                earlier.append(features)
        if s.has_last_norm:
            features = self.final_norm(features)
        stems = []
        for estimator in self.mask_estimators:
            to_freqs = cast(nn.ModuleList, cast(nn.ModuleDict, estimator)["to_freqs"])
            masks = [
                layers(features[:, band]).unflatten(1, (-1, 2 * s.n_channels))
                for band, layers in enumerate(to_freqs)
            ]
            stems.append(self._masked(by_bin, self._joined(masks)))
        return torch.cat(stems)[None]

    def _joined(self, masks: Sequence[Tensor]) -> Tensor:
        """Return the mean mask of every bin, from those of the bands that it lies in."""
        bands = self.settings.bands
        rows = []
        # Every other band: these do not overlap.
        for parity in (0, 1):
            parts, place = [], 0
            for (first, stop), mask in list(zip(bands.edges, masks, strict=True))[parity::2]:
                parts += [mask.new_zeros(int(mask.shape[0]), first - place, int(mask.shape[2]))]
                parts += [mask]
                place = stop
            like = masks[0]
            parts += [like.new_zeros(int(like.shape[0]), bands.n_bins - place, int(like.shape[2]))]
            rows.append(torch.cat([part for part in parts if part.shape[1]], dim=1))
        counts = torch.tensor(bands.counts, dtype=torch.float32)[None, :, None]
        total: Tensor = rows[0] + rows[1]
        return total if set(bands.counts) == {1} else total / counts

    def _masked(self, by_bin: Tensor, mask: Tensor) -> Tensor:
        """Multiply complex numbers; return (2 channels, frames, bins)."""
        real, imaginary = by_bin[..., 0::2], by_bin[..., 1::2]
        mask_real, mask_imaginary = mask[..., 0::2], mask[..., 1::2]
        product = torch.stack(
            [
                real * mask_real - imaginary * mask_imaginary,
                real * mask_imaginary + imaginary * mask_real,
            ],
            dim=-1,
        ).flatten(-2)
        if self.settings.zero_dc:
            product = torch.cat([torch.zeros_like(product[:, :1]), product[:, 1:]], dim=1)
        return product.permute(2, 0, 1)


def _mask_layers(s: RoFormerSettings, n_outputs: int) -> nn.Sequential:
    widths = [s.width, *[s.mask_width] * (s.mask_layers - 1), 2 * n_outputs]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(nn.Sequential(*layers[:-1]), nn.GLU(dim=-1))


class _Norm(nn.Module):
    """Divides by the root mean square, and multiplies each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        length = features.square().sum(dim=-1, keepdim=True).sqrt().clamp_min(_TINY)
        normed: Tensor = features / length * (self.scale * self.gamma)
        return normed


class _Rotary(nn.Module):
    """Turns pairs of features by an angle that grows with their place (Su et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.zeros(width // 2))

    def forward(self, features: Tensor) -> Tensor:
        """Turn features [shape=(batch, heads, places, width)]."""
        places = torch.arange(int(features.shape[2]), dtype=torch.float32)
        angles = places[:, None] * self.freqs[None]
        cosine, sine = angles.cos(), angles.sin()
        even, odd = features[..., 0::2], features[..., 1::2]
        turned = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
        return turned.flatten(-2)


class _Attention(nn.Module):
    def __init__(self, s: RoFormerSettings) -> None:
        super().__init__()
        inner = s.n_heads * s.head_width
        self.n_heads = s.n_heads
        self.norm = _Norm(s.width)
        self.rotary_embed = _Rotary(s.head_width)
        self.to_qkv = nn.Linear(s.width, 3 * inner, bias=s.is_biased)
        self.to_gates = nn.Linear(s.width, s.n_heads)
        self.to_out = nn.Sequential(nn.Linear(inner, s.width, bias=s.is_biased))

    def forward(self, features: Tensor) -> Tensor:
        """Let every place hear the others [shape=(batch, places, width)]."""
        normed = self.norm(features)
        batch, n_places = int(features.shape[0]), int(features.shape[1])
        parts = self.to_qkv(normed).reshape(batch, n_places, 3, self.n_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        query, key = self.rotary_embed(query), self.rotary_embed(key)
        scores = (query @ key.transpose(-1, -2)) * (int(query.shape[-1]) ** -0.5)
        heard = scores.softmax(dim=-1) @ value
        gates = self.to_gates(normed).sigmoid().transpose(1, 2)[..., None]
        out: Tensor = self.to_out((heard * gates).transpose(1, 2).flatten(2))
        return out


class _Transformer(nn.Module):
    def __init__(self, s: RoFormerSettings, n_layers: int) -> None:
        super().__init__()
        self.n_heads = s.n_heads
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Attention(s),
                    nn.ModuleDict(
                        {
                            "net": nn.Sequential(
                                _Norm(s.width),
                                nn.Linear(s.width, 4 * s.width),
                                nn.GELU(),
                                nn.Identity(),  # dropout, in training
                                nn.Linear(4 * s.width, s.width),
                            )
                        }
                    ),
                ]
            )
            for _ in range(n_layers)
        )
        if s.has_inner_norms:
            self.norm = _Norm(s.width)
        self.has_norm = s.has_inner_norms

    def forward(self, features: Tensor) -> Tensor:
        """Transform sequences [shape=(batch, places, width)], some at a time.

        Sequences do not hear each other, so parts of the batch bound the memory.
        """
        batch, n_places = int(features.shape[0]), int(features.shape[1])
        step = max(1, _MOST_SCORES // (self.n_heads * n_places**2))
        parts = [self._part(features[at : at + step]) for at in range(0, batch, step)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _part(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            attention, dense = cast(nn.ModuleList, layer)
            features = attention(features) + features
            features = cast(nn.ModuleDict, dense)["net"](features) + features
        return self.norm(features) if self.has_norm else features


def mel_bands(rate_hz: int, *, n_fft: int, n_bands: int) -> Bands:
    """Return the bins inside of each triangle of a mel scale.

    The scale is that of Slaney's Auditory Toolbox (1998): linear to 1 kHz, then logarithmic. The
    lowest bin belongs to the first band, and the highest to the last.

    Parameters
    ----------
    rate_hz, n_fft, n_bands : int
    """
    linear_hz, log_step = 200 / 3, np.log(6.4) / 27

    def mel_of(hz: float) -> float:
        return hz / linear_hz if hz < 1000 else 15 + np.log(hz / 1000) / log_step

    mels = np.linspace(0, mel_of(rate_hz / 2), n_bands + 2)
    log_part = 1000 * np.exp(log_step * (mels - 15))
    edges_hz = np.where(mels < 15, mels * linear_hz, log_part)
    bins_hz = np.linspace(0, rate_hz / 2, n_fft // 2 + 1)
    edges = []
    for band in range(n_bands):
        inside = np.flatnonzero((bins_hz > edges_hz[band]) & (bins_hz < edges_hz[band + 2]))
        first, stop = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)
        edges.append((0 if band == 0 else first, len(bins_hz) if band == n_bands - 1 else stop))
    return Bands(len(bins_hz), tuple(edges))


def draft(source: Path, wishes: Wishes, config: ToolkitConfig) -> Draft:
    """Read a checkpoint.

    Parameters
    ----------
    source : Path
        The ``.ckpt``.
    wishes : Wishes
    config : ToolkitConfig
        Its YAML file.

    Raises
    ------
    ModelError
        If the weights do not fit the configuration, or the configuration has an option that is not
        known; if no licence is given.
    """
    check_options(config, _OPTIONS)
    spectral = _spectral(config)
    state = {
        name.removeprefix("module."): value
        for name, value in read_state(source, origin=str(source)).items()
    }
    settings = _settings(config, state, spectral)
    kind = {"bs-roformer": "BS-RoFormer", "mel-band-roformer": "Mel-Band RoFormer"}[config.family]
    is_scaled = config.value("model", "stft_normalized", bool, False)
    return draft_of(
        source,
        wishes,
        config,
        partial(RoFormer, settings),
        n_stems=settings.n_stems,
        chunk_frames=wishes.chunk_frames or _chunk_frames(config, spectral),
        paper=_PAPERS[config.family],
        facts={
            "description": f"{kind}: transformers over frames and bands",
            "spectral": spectral,
            "channels": settings.n_channels,
            "axes": "frames-bins",
        },
        state=state,
        scale=spectral.n_fft**-0.5 if is_scaled else 1.0,
    )


def _chunk_frames(config: ToolkitConfig, spectral: SpectralConfig) -> int:
    """Return the frames of a chunk; the first published files have no section ``audio``."""
    for section in ("audio", "inference"):
        if "chunk_size" in getattr(config, section):
            n_samples = size(config, section, "chunk_size", None, most=1 << 24)
            return n_samples // spectral.hop + 1
    return size(config, "inference", "dim_t", None, most=1 << 14)


def _spectral(config: ToolkitConfig) -> SpectralConfig:
    n_fft = size(config, "model", "stft_n_fft", 2048, most=1 << 16)
    return SpectralConfig.from_mapping(
        {
            "rate_hz": size(config, "audio", "sample_rate", 44_100, most=768_000),
            "n_fft": n_fft,
            "hop": size(config, "model", "stft_hop_length", 512, most=1 << 16),
            "window": size(config, "model", "stft_win_length", n_fft, most=1 << 16),
        },
        origin=str(config.path),
    )


def _settings(config: ToolkitConfig, state: State, spectral: SpectralConfig) -> RoFormerSettings:
    """Return the sizes of the configuration; what it leaves open is read from the weights."""
    if config.value("model", "linear_transformer_depth", int, 0):
        raise ModelError(f"{config.path}: model.linear_transformer_depth above 0 is not known")
    width = size(config, "model", "dim", None, most=_MOST_FEATURES)
    mask_width = width * size(config, "model", "mlp_expansion_factor", 4, most=16)
    first = "mask_estimators.0.to_freqs.0.0."
    n_dense = sum(name.startswith(first) and name.endswith(".weight") for name in state)
    if not 1 <= n_dense <= _MOST_LAYERS:
        raise ModelError(f"{config.path}: the weights have no {first}*; are they of a RoFormer?")
    return RoFormerSettings(
        n_stems=size(config, "model", "num_stems", 1, most=_MOST_STEMS),
        n_channels=2 if config.value("model", "stereo", bool, False) else 1,
        bands=_bands(config, spectral),
        width=width,
        depth=size(config, "model", "depth", None, most=_MOST_LAYERS),
        time_depth=size(config, "model", "time_transformer_depth", 2, most=_MOST_LAYERS),
        band_depth=size(config, "model", "freq_transformer_depth", 2, most=_MOST_LAYERS),
        n_heads=size(config, "model", "heads", 8, most=128),
        head_width=2 * (size(config, "model", "dim_head", 64, most=1024) // 2),
        mask_layers=n_dense,
        mask_width=mask_width,
        is_biased="layers.0.0.layers.0.0.to_qkv.bias" in state,
        has_skips=config.value("model", "skip_connection", bool, False),
        has_inner_norms="layers.0.0.norm.gamma" in state,
        has_last_norm="final_norm.gamma" in state,
        # The programs that trained the published networks keep the lowest bin.
        zero_dc=config.value("model", "zero_dc", bool, False),
    )


def _bands(config: ToolkitConfig, spectral: SpectralConfig) -> Bands:
    if config.family == "bs-roformer":
        found = sizes(config, "freqs_per_bands", [], most=spectral.n_bins)
        if sum(found) != spectral.n_bins or len(found) > _MOST_BANDS:
            raise ModelError(
                f"{config.path}: model.freqs_per_bands has {sum(found)} bins in {len(found)} "
                f"bands; the transform has {spectral.n_bins} bins"
            )
        return Bands(spectral.n_bins, tuple(pairwise(accumulate([0, *found]))))
    n_bands = size(config, "model", "num_bands", None, most=_MOST_BANDS)
    rate_hz = size(config, "model", "sample_rate", spectral.rate_hz, most=768_000)
    bands = mel_bands(rate_hz, n_fft=spectral.n_fft, n_bands=n_bands)
    overlaps = any(
        one[1] > later[0] for one, later in zip(bands.edges, bands.edges[2:], strict=False)
    )
    if 0 in bands.sizes or 0 in bands.counts or overlaps:
        raise ModelError(
            f"{config.path}: {n_bands} mel bands do not fit a transform of {spectral.n_bins} bins"
        )
    return bands
