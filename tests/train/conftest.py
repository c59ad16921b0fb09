"""Sound, corpora and recipes for the tests of viso.train: tiny, made here, from fixed seeds.

Most of these tests need torch, and it is in the extra [train] alone: without it they are skipped,
and those that do without run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from viso.dsp.stft import SpectralConfig
from viso.train.data.corpus import Corpus, CorpusWriter, Track
from viso.train.recipe import (
    Mixing,
    NetworkSettings,
    Recipe,
    Schedule,
    TfcTdfSettings,
    VisoCnnSettings,
    VisoSettings,
)

if TYPE_CHECKING:
    from viso.train.networks.viso import Viso
    from viso.train.networks.viso_cnn import VisoCnn

RATE_HZ = 8000
HAS_TORCH = find_spec("torch") is not None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a file that cannot be imported because torch is missing."""
    report = yield
    if report.failed and not HAS_TORCH and "No module named 'torch'" in report.longreprtext:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, "Skipped: needs the extra [train]")
    return report


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch from spreading work this small over all cores."""
    if not HAS_TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_track(**facts: Any) -> Track:
    """A stereo training track of a finished record, unless told otherwise."""
    usual = {"song": "s", "role": "vocals", "group": "songs", "n_channels": 2}
    return Track(**{**usual, "bandwidth_hz": 4000.0, "release_level": True, **facts})


def pack_tracks(folder: Path, tracks: list[tuple[dict[str, Any], Any]]) -> Corpus:
    """Write (facts, float audio) pairs as a corpus and open it."""
    with CorpusWriter(folder, rate_hz=RATE_HZ) as writer:
        for facts, audio in tracks:
            writer.add(make_track(**{"n_channels": audio.shape[0], **facts}), [audio])
    return Corpus(folder)


def voice(seconds: float, seed: int) -> Any:
    """High harmonic tones in the centre, their pitch swinging, with a rest now and then."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = rng.uniform(700, 900) * (1 + 0.03 * np.sin(2 * np.pi * rng.uniform(4, 6) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4)) * 0.15
    tone = tone * (np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)) > -0.7)
    return np.stack([tone, tone]).astype(np.float32)


def backing(seconds: float, seed: int) -> Any:
    """Low noise, another one on either side."""
    white = np.random.default_rng(seed).standard_normal((2, int(seconds * RATE_HZ)))
    spectrum = np.fft.rfft(white)
    spectrum[:, np.fft.rfftfreq(white.shape[1], 1 / RATE_HZ) > 500] = 0
    low = np.fft.irfft(spectrum, white.shape[1])
    return (0.12 * low / low.std()).astype(np.float32)


@pytest.fixture
def track() -> Callable[..., Track]:
    return make_track


@pytest.fixture
def packed() -> Callable[..., Corpus]:
    return pack_tracks


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six songs to learn from and two to be judged by."""
    tracks = []
    for n in range(8):
        # Short, as a small run spends most of its time on being judged.
        split, seconds = ("valid", 1.0) if n > 5 else ("train", 3.0)
        facts = {"song": f"song {n}", "split": split}
        tracks += [
            ({**facts, "role": "vocals"}, voice(seconds, n)),
            ({**facts, "role": "instrumental"}, backing(seconds, 100 + n)),
        ]
    return pack_tracks(tmp_path_factory.mktemp("toy"), tracks)


SPECTRAL = SpectralConfig(rate_hz=RATE_HZ, n_fft=256, hop=64)
NETWORK = VisoCnnSettings(
    bands=48,
    linear_to_hz=1000.0,
    top_hz=4000.0,
    channels=(4, 4, 6, 6),
    kernel=(3, 3),
    pool_1=(2, 4),
    pool_2=(1, 3),
    dense_context=3,
    dense=(48, 32),
    chunk_frames=40,
    context_frames=10,
)
VISO = VisoSettings(
    segments=((16, 1), (8, 4), (8, 10)),
    channels=(4, 6, 8),
    bottleneck=4,
    projected=4,
    hidden=16,
    dilations=(1, 2),
    chunk_frames=40,
    context_frames=8,
)
TFC_TDF = TfcTdfSettings(
    segments=VISO.segments,
    harmonics=(0.5, 2.0),
    channels=(4, 6, 8, 8),
    bottleneck=4,
    chunk_frames=40,
    context_frames=8,
)
KINDS = {"viso_cnn": NETWORK, "viso": VISO, "tfc_tdf": TFC_TDF}


@pytest.fixture
def spectral() -> SpectralConfig:
    return SPECTRAL


@pytest.fixture
def settings() -> VisoCnnSettings:
    return NETWORK


@pytest.fixture
def viso_settings() -> VisoSettings:
    return VISO


def make_network(settings: VisoCnnSettings = NETWORK, *, seed: int = 0) -> VisoCnn:
    """A network as if trained: the weights that begin as zero are drawn, too."""
    import torch

    from viso.train.networks.viso_cnn import VisoCnn

    torch.manual_seed(seed)
    network = VisoCnn(settings, SPECTRAL)
    with torch.no_grad():
        network.weigh.weight.normal_(0.0, 0.3)
        network.weigh.bias.normal_(0.0, 0.3)
    return network.eval()


@pytest.fixture
def drawn_network() -> Callable[..., VisoCnn]:
    return make_network


def make_viso(settings: VisoSettings = VISO, *, seed: int = 0) -> Viso:
    """A flagship as if trained: its batch norms have seen something."""
    import torch

    from viso.train.networks.viso import Viso

    torch.manual_seed(seed)
    network = Viso(settings, SPECTRAL)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 4, settings.chunk_frames, settings.n_bins))
    return network.eval()


@pytest.fixture
def drawn_viso() -> Callable[..., Viso]:
    return make_viso


@pytest.fixture
def recipe(toy_corpus: Corpus) -> Callable[..., Recipe]:
    """Make a recipe for the toy corpus; further keywords go to its schedule."""

    def make(
        *,
        corpus: str = str(toy_corpus.folder),
        seed: int = 1,
        network: str | NetworkSettings = "viso_cnn",
        **schedule: Any,
    ) -> Recipe:
        usual = {"batch": 4, "learning_rate": 3e-3, "warmup_steps": 5}
        if "time_s" not in schedule:
            usual["steps"] = 4
        return Recipe(
            name="toy",
            seed=seed,
            corpus=corpus,
            spectral=SPECTRAL,
            network=KINDS[network] if isinstance(network, str) else network,
            mixing=Mixing(vocals={"songs": 1.0}, instrumentals={"songs": 1.0}, same_song=0.5),
            schedule=Schedule(**{**usual, **schedule}),
        )

    return make
