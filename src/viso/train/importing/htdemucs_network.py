"""HTDemucs as a torch network: spectrum and samples in, spectra and samples of the stems out.

With C channels (48), F bins (2048), T frames and N samples::

    spectrum (1, 4, F, T)                      samples (1, 2, N)
    normalised                                 normalised
    encoder: convolutions over frequency       tencoder: convolutions over time
    (1, 8 C, F / 256, T)                       (1, 8 C, N / 256)
    widened to bottom_channels (512)           widened
         crosstransformer: layers that see their own branch, and the other one, in turn
    narrowed again                             narrowed
    decoder, with the encoder's maps added     tdecoder, likewise
    spectra (1, stems, 4, F, T)                samples (1, stems, 2, N)

The network is that of Rouard et al. 2023 (arXiv 2211.08553), its layers those of Défossez 2021
(arXiv 2111.03600). Its weights have the names of the published files. Transform and inverse stay
outside (`viso.models.segments`). Attention takes a part of the queries at a time: of all at once,
the scores would be 231 MB.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from viso.config import Settings

__all__ = ["HTDemucs", "Shape"]

_QUERIES = 512
_LONG = 512  # numbers that are added one by one
_EPSILON = 1e-5  # added to deviations of the input and to variances of the norms


class Shape(Settings):
    """What the network's layers are built from; the names are those of its checkpoints."""

    sources: tuple[str, ...]
    channels: int = 48
    growth: float = 2
    nfft: int = 4096
    depth: int = 4
    freq_emb: float = 0.2
    emb_scale: float = 10
    kernel_size: int = 8
    stride: int = 4
    context: int = 1
    context_enc: int = 0
    dconv_mode: int = 1
    dconv_depth: int = 2
    dconv_comp: float = 8
    bottom_channels: int = 0
    t_layers: int = 5
    t_hidden_scale: float = 4
    t_heads: int = 8
    t_max_period: float = 10_000
    t_weight_pos_embed: float = 1
    t_cross_first: bool = False

    @property
    def n_bins(self) -> tuple[int, ...]:
        """Bins of the spectrum before each layer of the encoder, and after the last."""
        return tuple(self.nfft // 2 // self.stride**layer for layer in range(self.depth + 1))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each layer of the encoder."""
        found = [self.channels]
        for _ in range(self.depth - 1):
            found.append(int(self.growth * found[-1]))
        return tuple(found)


class HTDemucs(nn.Module):
    """Estimates every stem of a segment (see the module's drawing).

    Parameters
    ----------
    shape : Shape
    """

    channel_upsampler: nn.Conv1d
    channel_upsampler_t: nn.Conv1d
    channel_downsampler: nn.Conv1d
    channel_downsampler_t: nn.Conv1d

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        widths, n_stems = shape.widths, len(shape.sources)
        self.encoder, self.tencoder = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        for branch, back, is_spectrum, n_sides in (
            (self.encoder, self.decoder, True, 4),
            (self.tencoder, self.tdecoder, False, 2),
        ):
            for inner, outer in pairwise((n_sides, *widths)):
                branch.append(_Encoder(inner, outer, shape, is_spectrum=is_spectrum))
            for inner, outer in pairwise((*reversed(widths), n_sides * n_stems)):
                is_last = len(back) == len(widths) - 1
                back.append(_Decoder(inner, outer, shape, is_spectrum=is_spectrum, is_last=is_last))
        if shape.freq_emb:
            self.freq_emb = _Embedding(shape.n_bins[1], widths[0])
        width = widths[-1]
        if shape.bottom_channels:
            width = shape.bottom_channels
            for end in ("", "_t"):
                setattr(self, f"channel_upsampler{end}", nn.Conv1d(widths[-1], width, 1))
                setattr(self, f"channel_downsampler{end}", nn.Conv1d(width, widths[-1], 1))
        if shape.t_layers:
            self.crosstransformer = _CrossTransformer(width, shape)

    def forward(self, samples: Tensor, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Return samples [shape=(1, stems, 2, N)] and spectra [shape=(1, stems, 4, F, T)].

        Parameters
        ----------
        samples : Tensor
            A segment of stereo [shape=(1, 2, N)].
        spectrum : Tensor
            Its spectrum: real and imaginary part of each channel in turn [shape=(1, 4, F, T)].
        """
        n_stems = len(self.shape.sources)
        x, mean, deviation = _normalised(spectrum)
        xt, mean_t, deviation_t = _normalised(samples)
        kept, kept_t, lengths = [], [], []
        for number, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            lengths.append(xt.shape[-1])
            xt, x = encode_t(xt), encode(x)
            if number == 0 and self.shape.freq_emb:
                embedding = self.freq_emb.embedding.weight * self.shape.emb_scale
                x = x + self.shape.freq_emb * embedding.t()[None, :, :, None]
            kept.append(x)
            kept_t.append(xt)
        if self.shape.t_layers:
            x, xt = self._middle(x, xt)
        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            x = decode(x, kept.pop(), 0)
            xt = decode_t(xt, kept_t.pop(), lengths.pop())
        spectra = x.reshape(1, n_stems, *spectrum.shape[1:])
        stems = xt.reshape(1, n_stems, *samples.shape[1:])
        return stems * deviation_t + mean_t, spectra * deviation + mean

    def _middle(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer on both branches, as wide as it is."""
        _, _, n_bins, n_frames = x.shape
        x = x.flatten(2)
        if self.shape.bottom_channels:
            x, xt = self.channel_upsampler(x), self.channel_upsampler_t(xt)
        # The transformer's tokens go through all bins of a frame, then through the next frame.
        x = x.reshape(1, -1, n_bins, n_frames).permute(0, 3, 2, 1).flatten(1, 2)
        x, xt = self.crosstransformer(x, xt.transpose(1, 2), n_bins)
        x = x.reshape(1, n_frames, n_bins, -1).permute(0, 3, 2, 1).flatten(2)
        xt = xt.transpose(1, 2)
        if self.shape.bottom_channels:
            x, xt = self.channel_downsampler(x), self.channel_downsampler_t(xt)
        return x.reshape(1, -1, n_bins, n_frames), xt


def _normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return an array with mean 0 and deviation 1, its mean and its deviation."""
    mean = _mean(x)
    centred = x - mean
    deviation = (_sum_of_squares(centred) / (x.numel() - 1)).sqrt()
    return centred / (_EPSILON + deviation), mean, deviation


def _mean(x: Tensor) -> Tensor:
    """Return the mean of each example, a few hundred numbers at a time.

    ONNX Runtime adds the numbers of an axis one by one, in float32: over millions of them the
    error would be -80 dB.
    """
    ones = (-1,) + (1,) * (x.ndim - 1)
    x = _in_short_axes(x)
    for axis in range(x.ndim - 1, 0, -1):
        x = x.mean(dim=axis)
    return x.reshape(ones)


def _sum_of_squares(x: Tensor) -> Tensor:
    """Return the sum of squares of each example, a few hundred numbers at a time."""
    ones = (-1,) + (1,) * (x.ndim - 1)
    x = _in_short_axes(x)
    for axis in range(x.ndim - 1, 0, -1):
        x = torch.linalg.vector_norm(x, dim=axis)
    return x.square().reshape(ones)


def _in_short_axes(x: Tensor) -> Tensor:
    """Return an array with each axis but the first as two, if its length is no prime."""
    sizes = [x.shape[0]]
    for size in x.shape[1:]:
        short = next(n for n in range(math.isqrt(size), 0, -1) if size % n == 0)
        sizes += [size // short, short] if size > _LONG else [size]
    return x.reshape(sizes)


class _Embedding(nn.Module):
    """A vector for each bin."""

    def __init__(self, n_bins: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_bins, width)


class _Scale(nn.Module):
    """A factor for each channel of a residual branch."""

    def __init__(self, width: int, *, is_last_axis: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self._is_last_axis = is_last_axis

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.scale if self._is_last_axis else self.scale[:, None])


class _NormOfAll(nn.Module):
    """A norm over both axes of an array together, with weights for each channel."""

    def __init__(self, width: int, *, is_last_axis: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self._is_last_axis = is_last_axis

    def forward(self, x: Tensor) -> Tensor:
        place = slice(None) if self._is_last_axis else (slice(None), None)
        weight, bias = self.weight[place], self.bias[place]
        centred = x - _mean(x)
        variance = _sum_of_squares(centred) / (x.shape[1] * x.shape[2])
        return centred * (weight / (variance + _EPSILON).sqrt()) + bias


class _Residual(nn.Module):
    """Narrow convolutions over time that are added to their input, one after the other."""

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        narrow = int(width / shape.dconv_comp)
        self.layers = nn.ModuleList()
        for number in range(abs(shape.dconv_depth)):
            dilation = 2**number if shape.dconv_depth > 0 else 1
            self.layers.append(
                nn.Sequential(
                    nn.Conv1d(width, narrow, 3, dilation=dilation, padding=dilation),
                    _NormOfAll(narrow, is_last_axis=False),
                    nn.GELU(),
                    nn.Conv1d(narrow, 2 * width, 1),
                    _NormOfAll(2 * width, is_last_axis=False),
                    nn.GLU(1),
                    _Scale(width, is_last_axis=False),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return an array of the same shape; of a spectrum, each bin is a sequence of its own."""
        is_spectrum = x.ndim == 4
        if is_spectrum:
            x = x.transpose(1, 2).flatten(0, 1)
        for layer in self.layers:
            x = x + layer(x)
        return x[None].transpose(1, 2) if is_spectrum else x


class _Encoder(nn.Module):
    """A strided convolution over frequency or time, a residual branch and a gate."""

    def __init__(self, n_in: int, width: int, shape: Shape, *, is_spectrum: bool) -> None:
        super().__init__()
        size, stride, context = shape.kernel_size, shape.stride, shape.context_enc
        self._stride = None if is_spectrum else stride
        if is_spectrum:
            self.conv: nn.Module = nn.Conv2d(
                n_in, width, (size, 1), (stride, 1), padding=(size // 4, 0)
            )
            self.rewrite: nn.Module = nn.Conv2d(width, 2 * width, 2 * context + 1, padding=context)
        else:
            self.conv = nn.Conv1d(n_in, width, size, stride, padding=size // 4)
            self.rewrite = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context)
        if shape.dconv_mode & 1:
            self.dconv = _Residual(width, shape)

    def forward(self, x: Tensor) -> Tensor:
        if self._stride is not None:
            x = F.pad(x, (0, -x.shape[-1] % self._stride))
        y = F.gelu(self.conv(x))
        if hasattr(self, "dconv"):
            y = self.dconv(y)
        return F.glu(self.rewrite(y), dim=1)


class _Decoder(nn.Module):
    """A gate, a residual branch and a strided transposed convolution."""

    def __init__(
        self, width: int, n_out: int, shape: Shape, *, is_spectrum: bool, is_last: bool
    ) -> None:
        super().__init__()
        size, stride, context = shape.kernel_size, shape.stride, shape.context
        self._is_spectrum, self._is_last, self._cut = is_spectrum, is_last, size // 4
        if is_spectrum:
            self.rewrite: nn.Module = nn.Conv2d(width, 2 * width, 2 * context + 1, padding=context)
            self.conv_tr: nn.Module = nn.ConvTranspose2d(width, n_out, (size, 1), (stride, 1))
        else:
            self.rewrite = nn.Conv1d(width, 2 * width, 2 * context + 1, padding=context)
            self.conv_tr = nn.ConvTranspose1d(width, n_out, size, stride)
        if shape.dconv_mode & 2:
            self.dconv = _Residual(width, shape)

    def forward(self, x: Tensor, skip: Tensor, n_samples: int) -> Tensor:
        y = F.glu(self.rewrite(x + skip), dim=1)
        if hasattr(self, "dconv"):
            y = self.dconv(y)
        y = self.conv_tr(y)
        if self._is_spectrum:
            y = y[:, :, self._cut : y.shape[2] - self._cut]
        else:
            y = y[:, :, self._cut : self._cut + n_samples]
        return y if self._is_last else F.gelu(y)


class _Attention(nn.Module):
    """Attention with several heads, for a part of the queries at a time."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self._n_heads = n_heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return what `x` [shape=(1, tokens, width)] takes from `seen`, in the shape of `x`."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        queries, keys, values = (
            F.linear(tokens, weight, bias)
            .reshape(1, tokens.shape[1], self._n_heads, -1)
            .transpose(1, 2)
            for tokens, weight, bias in zip((x, seen, seen), weights, biases, strict=True)
        )
        keys = keys.transpose(2, 3) * keys.shape[-1] ** -0.5
        taken = [
            (queries[:, :, start : start + _QUERIES] @ keys).softmax(dim=-1) @ values
            for start in range(0, x.shape[1], _QUERIES)
        ]
        together: Tensor = self.out_proj(torch.cat(taken, dim=2).transpose(1, 2).flatten(2))
        return together


class _Layer(nn.Module):
    """Attention to the own branch, or to the other one, and dense layers."""

    def __init__(self, width: int, shape: Shape, *, is_cross: bool) -> None:
        super().__init__()
        self._is_cross = is_cross
        hidden = int(width * shape.t_hidden_scale)
        if is_cross:
            self.cross_attn = _Attention(width, shape.t_heads)
            self.norm3 = nn.LayerNorm(width)
        else:
            self.self_attn = _Attention(width, shape.t_heads)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma_1 = _Scale(width, is_last_axis=True)
        self.gamma_2 = _Scale(width, is_last_axis=True)
        self.norm_out = _NormOfAll(width, is_last_axis=True)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        if self._is_cross:
            taken, norm = self.cross_attn(self.norm1(x), self.norm2(other)), self.norm3
        else:
            seen = self.norm1(x)
            taken, norm = self.self_attn(seen, seen), self.norm2
        x = x + self.gamma_1(taken)
        x = x + self.gamma_2(self.linear2(F.gelu(self.linear1(norm(x)))))
        normalised: Tensor = self.norm_out(x)
        return normalised


class _CrossTransformer(nn.Module):
    """Layers of both branches, after norms and with the tokens' positions."""

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        self._width, self._shape = width, shape
        self._positions: tuple[Tensor, Tensor] | None = None
        self.norm_in, self.norm_in_t = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers, self.layers_t = nn.ModuleList(), nn.ModuleList()
        for number in range(shape.t_layers):
            is_cross = (number % 2 == 0) is shape.t_cross_first
            for layers in (self.layers, self.layers_t):
                layers.append(_Layer(width, shape, is_cross=is_cross))

    def forward(self, x: Tensor, xt: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
        # Computed once, so that a trace sees numbers: a sine of another library differs.
        if self._positions is None:
            period = self._shape.t_max_period
            self._positions = (
                _of_grid(x.shape[1] // n_bins, n_bins, self._width, period),
                _of_line(xt.shape[1], self._width, period),
            )
        of_grid, of_line = self._positions
        x = self.norm_in(x) + self._shape.t_weight_pos_embed * of_grid
        xt = self.norm_in_t(xt) + self._shape.t_weight_pos_embed * of_line
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            x, xt = layer(x, xt), layer_t(xt, x)
        return x, xt


def _of_line(n_tokens: int, width: int, period: float) -> Tensor:
    """Return cosines and sines of a token's place [shape=(tokens, width)]."""
    half = width // 2
    phase = torch.arange(n_tokens)[:, None] / period ** (torch.arange(half) / (half - 1))
    return torch.cat([phase.cos(), phase.sin()], dim=1)


def _of_grid(n_frames: int, n_bins: int, width: int, period: float) -> Tensor:
    """Return sines and cosines of a token's frame, then of its bin [shape=(tokens, width)].

    Sines and cosines alternate. A frame's bins follow one another.
    """
    half = width // 2
    rates = torch.exp(torch.arange(0.0, half, 2) * -(math.log(period) / half))
    sides = []
    for size in (n_frames, n_bins):
        phase = torch.arange(0.0, size)[:, None] * rates
        sides.append(torch.stack([phase.sin(), phase.cos()], dim=2).flatten(1))
    of_frames = sides[0][:, None].expand(n_frames, n_bins, half)
    of_bins = sides[1].expand(n_frames, n_bins, half)
    return torch.cat([of_frames, of_bins], dim=2).flatten(0, 1)
