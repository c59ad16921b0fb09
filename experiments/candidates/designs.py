"""The designs by name, and how fast each runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from candidates.band_split import BandConv, BandGru
from candidates.subband import SubbandMobile
from candidates.tfc_tdf import TfcTdf
from candidates.two_pass import TwoPass
from viso.dsp.stft import SpectralConfig
from viso.train.networks import load_weights
from viso.train.networks.viso import Viso
from viso.train.recipe import VisoSettings

__all__ = ["DESIGNS", "FIRST", "Design", "build", "times_real_time"]

FIRST = "first"
"""The trained network that `two-pass` begins with; it is scored and not trained."""


class Design(NamedTuple):
    """A label for tables, how it is made, and what must be minded.

    `begins_trained` says that it begins with the trained `viso`, `channels_last` which layout of
    the memory it trains faster in.
    """

    label: str
    make: Callable[[VisoSettings, SpectralConfig], nn.Module]
    begins_trained: bool = False
    channels_last: bool = True


def _harmonic(settings: VisoSettings, spectral: SpectralConfig) -> Viso:
    return Viso(settings.model_copy(update={"harmonics": (1 / 3, 1 / 2, 2.0, 3.0, 4.0)}), spectral)


DESIGNS = {
    "viso": Design("`viso`, from scratch", Viso),
    "harmonic": Design("`viso` with harmonics laid over each other", _harmonic),
    "tfc-tdf": Design("TFC-TDF, third version", TfcTdf, channels_last=False),
    "band-gru": Design("band-split, GRUs", BandGru),
    "band-conv": Design("band-split, convolutions and dense layers", BandConv),
    "subband-mobile": Design("MobileNet U-Net over subbands", SubbandMobile),
    "two-pass": Design("two-pass: trained `viso`, then a second network", TwoPass, True),
    FIRST: Design("trained `viso` alone, as two-pass begins with it", Viso, True),
}


def build(
    name: str, settings: VisoSettings, spectral: SpectralConfig, *, seed: int, first: Path
) -> nn.Module:
    """Return a design with weights drawn from this seed.

    Parameters
    ----------
    name : str
    settings : VisoSettings
    spectral : SpectralConfig
    seed : int
    first : Path
        Weights of a trained `Viso`, for the designs that begin with one.

    Raises
    ------
    DataError
        If `first` is needed and does not fit.
    """
    design = DESIGNS[name]
    torch.manual_seed(seed)
    network = design.make(settings, spectral)
    if design.begins_trained:
        load_weights(network.first if isinstance(network, TwoPass) else network, first)
    return network.to(memory_format=torch.channels_last) if design.channels_last else network


def times_real_time(
    network: nn.Module, settings: VisoSettings, spectral: SpectralConfig, *, repeats: int = 7
) -> float:
    """Return how many seconds of song a network masks in a second of one thread.

    The transform is not counted, the context of a chunk is: it is computed twice. Time is that of
    the processor, the median of some chunks after one that does not count.

    Parameters
    ----------
    network : nn.Module
        Set to evaluation here.
    settings : VisoSettings
    spectral : SpectralConfig
    repeats : int
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spectra = torch.randn(1, 4, settings.chunk_frames, settings.n_bins)
    took = []
    try:
        network.eval()
        with torch.inference_mode():
            for _ in range(repeats + 1):
                began = time.process_time()
                network(spectra)
                took.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    kept = settings.chunk_frames - 2 * settings.context_frames
    return kept * spectral.hop / spectral.rate_hz / statistics.median(took[1:])
