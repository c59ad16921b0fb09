"""A network that has grown does what it did before, and learns with what is new."""

from __future__ import annotations

import pytest
import torch

from viso.dsp.stft import SpectralConfig
from viso.train.network_settings import TfcTdfSettings
from viso.train.networks.tfc_tdf import TfcTdf, grown

SPECTRAL = SpectralConfig(rate_hz=8000, n_fft=128, hop=32)
SEGMENTS = ((16, 1), (8, 2), (8, 4))
FACTS = {"segments": SEGMENTS, "chunk_frames": 16, "context_frames": 4, "harmonics": (0.5, 2.0)}
SMALL = TfcTdfSettings(channels=(4, 6), blocks=(1, 2), bottleneck=8, **FACTS)
LARGE = TfcTdfSettings(
    channels=(6, 10), blocks=(2, 2), bottleneck=8, phase_bins=24, mask="complex", **FACTS
)


def network_of(settings, seed):
    torch.manual_seed(seed)
    network = TfcTdf(settings, SPECTRAL)
    # Weights that say something everywhere, the last layer's too.
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return network


@pytest.fixture
def pair():
    """A trained small network, and the large one that it has become."""
    small, large = network_of(SMALL, 1), TfcTdf(LARGE, SPECTRAL)
    large.load_state_dict(grown(small.state_dict(), large.state_dict()))
    return small.eval(), large.eval()


def spectra(n_songs=2):
    g = torch.Generator().manual_seed(5)
    return torch.randn(n_songs, 4, 16, 64, generator=g)


def test_a_grown_network_does_what_the_small_one_did(pair):
    small, large = pair
    with torch.no_grad():
        x = spectra()
        vocals, mask = large(x), small(x)
    parts = x[:, :, 4:12].reshape(2, 2, 2, 8, 64)
    torch.testing.assert_close(vocals.reshape(2, 2, 2, 8, 64), parts * mask[:, :, None])


def test_every_new_weight_can_be_learnt(pair):
    _, large = pair
    target = torch.randn(2, 4, 8, 64, generator=torch.Generator().manual_seed(6))
    optimiser = torch.optim.SGD(large.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in large.named_parameters()}
    # What is new is heard by what was there after one step, and learns from the second on.
    for _ in range(4):
        optimiser.zero_grad()
        (large(spectra()) - target).square().mean().backward()
        optimiser.step()
    unmoved = [n for n, v in large.named_parameters() if torch.equal(v, before[n])]
    assert unmoved == [], unmoved


def test_a_complex_mask_turns_phases(pair):
    _, large = pair
    with torch.no_grad():
        large.out.layer.bias[2:] = 3.0
        x = spectra()
        quarter = torch.complex(*large(x)[0, :2])
        mixture = torch.complex(*x[0, :2, 4:12])
    assert ((quarter * mixture.conj()).imag > 0).all()


@pytest.mark.parametrize("hz", [250.0, 1062.5, 1437.5])
def test_phases_of_steady_tones_stand_still_at_every_frequency(pair, hz):
    phases = pair[1].phases
    n_frames = 16
    time = torch.arange(-64, 32 * n_frames) / SPECTRAL.rate_hz
    tone = torch.sin(2 * torch.pi * hz * time + 0.3)
    window = torch.hann_window(128)
    bins = torch.stft(tone, 128, 32, window=window, center=False, return_complex=True)
    bins = bins[:64, :n_frames].T
    silence = torch.zeros_like(bins.real)
    parts = torch.stack([bins.real, bins.imag, silence, silence])[None, :, :, :64]
    maps = phases(parts)
    nearest = round(hz * 128 / SPECTRAL.rate_hz)
    band = int((phases.places[0] <= nearest).sum()) - 1
    row = 0 if phases.places[0][band] == nearest else 2
    heard = torch.complex(maps[0, row, :, band], maps[0, row + 1, :, band])
    assert heard.abs().min() > 0.5
    torch.testing.assert_close(heard, heard[:1].expand_as(heard), atol=1e-3, rtol=0)
