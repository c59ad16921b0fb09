"""Open-Unmix: dense layers around a recurrent one, from the published weights.

With T frames of F bins in C channels, of which the network sees the lowest B (1487, to 16 kHz), and
H cells (512, or 1024 in umxl)::

    magnitudes           (1, C, T, F)
    lowest bins, scaled  (T, C B)      (x + input_mean) * input_scale
    dense, norm, tanh    (T, H)
    LSTM, three layers   (T, H)        forwards and backwards, or forwards only
    both side by side    (T, 2 H)
    dense, norm, ReLU    (T, H)
    dense, norm          (T, C F)      x * output_scale + output_mean
    ReLU                 (1, C, T, F)  the mask, 0 or more

The network is that of Stöter et al. 2019 (doi 10.21105/joss.01667). The original runs the LSTM over
a whole song at once. Here it runs over a chunk. The frames at either end are context and are
dropped, because the LSTM has not yet seen enough sound there.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from viso.config import parse_json
from viso.dsp.stft import SpectralConfig
from viso.errors import ModelError
from viso.models.card import ModelCard
from viso.train.export import export
from viso.train.importing._draft import Draft, Wishes, called, licence_of, name_from
from viso.train.importing._states import State, fill, read_state

__all__ = ["CHUNK_FRAMES", "CONTEXT_FRAMES", "OpenUnmix", "draft"]

CHUNK_FRAMES, CONTEXT_FRAMES = 1024, 128
"""23.8 s and 3.0 s: the networks are trained on 6 s, so they use no longer context."""

_VECTORS = ("input_mean", "input_scale", "output_scale", "output_mean")
_WAY_OUT = "give the .pth of one target of umx, umxhq or umxl"
_OTHERS = ("drums", "bass", "other")
_TARGETS: dict[str, Literal["vocals", "instrumental"]] = {
    "vocals": "vocals",
    "instrumental": "instrumental",
    "accompaniment": "instrumental",
}


class OpenUnmix(nn.Module):
    """Computes the target's mask from magnitudes (see the module's drawing).

    Its weights have the names of the published files.

    Parameters
    ----------
    n_channels : int
    n_seen : int
        Lowest bins, which are the input.
    n_bins : int
        Bins of the output.
    n_hidden : int
        Cells; half of them run backwards if the LSTM runs both ways.
    n_layers : int
        Layers of the LSTM.
    both_ways : bool
        Whether the LSTM also runs backwards.
    """

    def __init__(
        self,
        *,
        n_channels: int,
        n_seen: int,
        n_bins: int,
        n_hidden: int,
        n_layers: int,
        both_ways: bool,
    ) -> None:
        super().__init__()
        self.n_seen, self.n_bins = n_seen, n_bins
        self.input_mean = nn.Parameter(torch.zeros(n_seen))
        self.input_scale = nn.Parameter(torch.ones(n_seen))
        self.fc1 = nn.Linear(n_channels * n_seen, n_hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(n_hidden)
        cells = n_hidden // 2 if both_ways else n_hidden
        self.lstm = nn.LSTM(n_hidden, cells, n_layers, bidirectional=both_ways)
        self.fc2 = nn.Linear(2 * n_hidden, n_hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(n_hidden)
        self.fc3 = nn.Linear(n_hidden, n_channels * n_bins, bias=False)
        self.bn3 = nn.BatchNorm1d(n_channels * n_bins)
        self.output_scale = nn.Parameter(torch.ones(n_bins))
        self.output_mean = nn.Parameter(torch.ones(n_bins))

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the mask.

        Parameters
        ----------
        magnitude : Tensor [shape=(1, channels, frames, bins)]
        """
        seen = (magnitude[0, :, :, : self.n_seen] + self.input_mean) * self.input_scale
        inner = torch.tanh(self.bn1(self.fc1(seen.transpose(0, 1).flatten(1))))
        heard = self.lstm(inner.unsqueeze(1))[0].squeeze(1)
        inner = torch.relu(self.bn2(self.fc2(torch.cat([inner, heard], dim=1))))
        drawn = self.bn3(self.fc3(inner)).unflatten(1, (-1, self.n_bins))
        mask: Tensor = torch.relu(drawn * self.output_scale + self.output_mean)
        return mask.transpose(0, 1)[None]


def draft(source: Path, wishes: Wishes) -> Draft:
    """Read the weights of one target.

    Parameters
    ----------
    source : Path
        The ``.pth``. A ``separator.json`` and a JSON of its own name beside it are also read, for
        the sampling rate, the transform and the target.
    wishes : Wishes

    Raises
    ------
    ModelError
        If the file is no Open-Unmix or has another target, or no licence is given.
    """
    state = read_state(source, origin=str(source))
    network = _network(state, origin=str(source))
    facts = _beside(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    n_fft = wishes.n_fft or facts.get("nfft") or 2 * (network.n_bins - 1)
    if n_fft != 2 * (network.n_bins - 1):
        raise ModelError(f"{source}: gives {network.n_bins} bins, which FFT {n_fft} does not have")
    card = ModelCard.from_mapping(
        {
            "name": wishes.name or name_from(f"open-unmix-{source.stem}", source=source),
            "description": "Open-Unmix: the mask of a recurrent network, without a Wiener filter",
            "spectral": SpectralConfig.from_mapping(
                {
                    "rate_hz": facts.get("sample_rate") or 44_100,
                    "n_fft": n_fft,
                    "hop": wishes.hop or facts.get("nhop") or n_fft // 4,
                },
                origin=str(source),
            ),
            "channels": len(network.bn3.weight) // network.n_bins,
            "axes": "frames-bins",
            "target": _target(source, wishes, facts),
            "chunk_frames": wishes.chunk_frames or CHUNK_FRAMES,
            "context_frames": _context(wishes),
            "licence": licence_of(source, wishes),
            "origin": wishes.origin
            or f"Stöter et al. 2019, doi 10.21105/joss.01667; {called(source)}, sha256 {digest}",
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
        origin=str(source),
    )
    return Draft(card, partial(_write, network, card))


def _write(network: OpenUnmix, card: ModelCard, path: Path) -> float:
    with warnings.catch_warnings():
        # In tracing, the LSTM compares sizes and requires a batch of one, which every chunk is.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python", Warning)
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch", UserWarning)
        return export(network, card, path)


def _context(wishes: Wishes) -> int:
    if wishes.context_frames is not None:
        return wishes.context_frames
    return min(CONTEXT_FRAMES, (wishes.chunk_frames or CHUNK_FRAMES) // 4)


def _network(state: State, *, origin: str) -> OpenUnmix:
    """Build the network from the shapes of its weights."""
    missing = [name for name in (*_VECTORS, "fc1.weight") if name not in state]
    if missing:
        raise ModelError(f"{origin}: has no {missing[0]}, so it is no Open-Unmix; {_WAY_OUT}")
    n_seen, n_bins = (state[name].numel() for name in ("input_mean", "output_mean"))
    first = state["fc1.weight"]
    if first.ndim != 2 or not n_seen or first.shape[1] not in (n_seen, 2 * n_seen):
        raise ModelError(
            f"{origin}: fc1.weight is {list(first.shape)}, which is neither one nor two channels "
            f"of {n_seen} bins; {_WAY_OUT}"
        )
    layers = takewhile(lambda layer: f"lstm.weight_ih_l{layer}" in state, count())
    with torch.device("meta"):
        network = OpenUnmix(
            n_channels=first.shape[1] // n_seen,
            n_seen=n_seen,
            n_bins=n_bins,
            n_hidden=first.shape[0],
            n_layers=max(1, len(list(layers))),
            both_ways="lstm.weight_ih_l0_reverse" in state,
        )
    fill(network, state, called=str, origin=origin)
    return network


def _beside(source: Path) -> dict[str, Any]:
    """Return the facts of the JSON files of the original training; the model's own come last."""
    facts: dict[str, Any] = {}
    for path in (source.with_name("separator.json"), source.with_suffix(".json")):
        if not path.is_file():
            continue
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
            facts |= {**found, **found.get("args", {})}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: no JSON of Open-Unmix ({error}); move it away") from error
    return facts


def _target(
    source: Path, wishes: Wishes, facts: dict[str, Any]
) -> Literal["vocals", "instrumental"]:
    """Return the card's target; raise an error if the network has another target.

    A target in the JSON always counts; the file's name counts only if it is a known one.
    """
    if wishes.target is not None:
        return wishes.target
    stated = str(facts.get("target") or "")
    others = (stated,) if stated and stated not in _TARGETS else _OTHERS
    named = stated or source.stem
    for other in others:
        if named.startswith(other):
            raise ModelError(
                f"{source}: its target is {other:.60}; give that of the vocals, or say --target"
            )
    return next((target for name, target in _TARGETS.items() if named.startswith(name)), "vocals")
