"""BSSEval beside museval, on sound made here. museval is the reference, not a dependency."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from helpers.checkout import ROOT
from helpers.small_models import song
from viso.metrics import BssScores, bss_eval, nsdr, sdr_v3, segment_sdr

Doubles = npt.NDArray[np.float64]
RATE_HZ = 8000


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _museval() -> ModuleType:
    # Not by import: the package looks for ffmpeg as it loads, its metrics do not.
    package = importlib.util.find_spec("museval")
    assert package is not None, 'pip install -c constraints.txt -e ".[dev]"'
    assert package.submodule_search_locations
    return _load("museval_metrics", Path(package.submodule_search_locations[0]) / "metrics.py")


museval = _museval()
demo_song = _load("demo_song", ROOT / "examples" / "demo_song.py")


def theirs(
    references: npt.NDArray[np.float32],
    estimates: npt.NDArray[np.float32],
    *,
    window: float = RATE_HZ,
    hop: float = RATE_HZ,
    taps: int,
) -> BssScores:
    found = museval.bss_eval(
        references.transpose(0, 2, 1),
        estimates.transpose(0, 2, 1),
        window=window,
        hop=hop,
        filters_len=taps,
    )
    return BssScores(*found[:4])


def assert_same(ours: BssScores, other: BssScores, *, within_db: float) -> None:
    for a, b in zip(ours, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=within_db, rtol=0)


def sources(n_channels: int, n_samples: int, *, n: int = 2) -> npt.NDArray[np.float32]:
    return np.stack([song(n_channels, n_samples, seed=seed) for seed in range(n)])


def degraded(
    references: npt.NDArray[np.float32], *, leak: float, echo: float, noise: float
) -> npt.NDArray[np.float32]:
    hiss = [song(*reference.shape, seed=50 + j) for j, reference in enumerate(references)]
    estimates = references + leak * np.roll(references, 1, axis=0) + noise * np.stack(hiss)
    estimates[:, :, 5:] += echo * references[:, :, :-5]
    return estimates


@pytest.mark.parametrize(("n_sources", "n_channels"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
@pytest.mark.parametrize("taps", [1, 32])
def test_sources_and_channels(n_sources: int, n_channels: int, taps: int) -> None:
    references = sources(n_channels, 3 * RATE_HZ + 77, n=n_sources)
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=taps)
    assert ours.sdr.shape == (n_sources, 3)
    other = theirs(references, estimates, taps=taps)
    assert_same(ours, other, within_db=1e-6)


@pytest.mark.parametrize(
    ("leak", "echo", "noise"), [(0.3, 0, 0.001), (0, 0.5, 0.01), (0.01, 0.01, 1), (-1, 0, 0.1)]
)
def test_kinds_of_faults(leak: float, echo: float, noise: float) -> None:
    references = sources(2, 4 * RATE_HZ)
    estimates = degraded(references, leak=leak, echo=echo, noise=noise)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=64)
    assert_same(ours, theirs(references, estimates, taps=64), within_db=1e-5)


@pytest.mark.parametrize(
    ("window", "hop"), [(4000, 4000), (8000, 3000), (3000, 8000), (10**6, 10**6), (28_000, 1)]
)
def test_windows(window: int, hop: int) -> None:
    references = sources(1, 28_000)
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(
        references, estimates, rate_hz=1000, window_s=window / 1000, hop_s=hop / 1000, taps=8
    )
    assert_same(ours, theirs(references, estimates, window=window, hop=hop, taps=8), within_db=1e-7)


def test_the_same_windows_are_undefined() -> None:
    references = sources(2, 6 * RATE_HZ)
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    references[0, :, RATE_HZ : 2 * RATE_HZ] = 0
    references[0, 1, 2 * RATE_HZ : 3 * RATE_HZ] = 0
    estimates[1, :, 3 * RATE_HZ : 4 * RATE_HZ] = 0
    estimates[0, 1, 4 * RATE_HZ : 5 * RATE_HZ] = -estimates[0, 0, 4 * RATE_HZ : 5 * RATE_HZ]
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=16)
    assert np.isnan(ours.sir[1]).tolist() == [False, True, False, True, True, False]
    assert_same(ours, theirs(references, estimates, taps=16), within_db=1e-6)


def test_mono_in_two_equal_channels() -> None:
    references = np.repeat(sources(1, 3 * RATE_HZ), 2, axis=1)
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=64)
    assert_same(ours, theirs(references, estimates, taps=64), within_db=1e-3)


def test_a_silent_channel_and_a_mono_source_beside_a_stereo_one() -> None:
    references = sources(2, 3 * RATE_HZ, n=3)
    references[0, 1] = 0
    references[1, 1] = references[1, 0]
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=32)
    assert_same(ours, theirs(references, estimates, taps=32), within_db=1e-3)


def test_the_demo_song_with_full_filters() -> None:
    made = demo_song.synthesise(4.5, rate_hz=RATE_HZ)
    references = np.stack([made["vocals"], made["instrumental"]])
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ)
    assert_same(ours, theirs(references, estimates, taps=512), within_db=0.01)


def test_sdr_of_version_4_is_that_of_the_seconds() -> None:
    references = sources(2, 3 * RATE_HZ)
    estimates = degraded(references, leak=0.2, echo=0.3, noise=0.1)
    ours = bss_eval(references, estimates, rate_hz=RATE_HZ, taps=4)
    for j in range(2):
        seconds = segment_sdr(references[j], estimates[j], rate_hz=RATE_HZ)
        np.testing.assert_allclose(ours.sdr[j], seconds.sdr, atol=1e-9)


@pytest.mark.parametrize(("n_sources", "n_channels"), [(2, 1), (1, 2)])
def test_sdr_of_version_3(n_sources: int, n_channels: int) -> None:
    references = sources(n_channels, 12_000, n=n_sources)
    estimates = degraded(references, leak=0.3, echo=0.5, noise=0.1)
    mixtures = references + sources(n_channels, 12_000, n=9)[-n_sources:]
    a, b, c = (x.transpose(0, 2, 1) for x in (references, estimates, mixtures))
    of_estimates = museval.bss_eval_sources(a, b, compute_permutation=False)[0][:, 0]
    of_mixtures = museval.bss_eval_sources(a, c, compute_permutation=False)[0][:, 0]
    for j in range(n_sources):
        sdr = sdr_v3(references[j], estimates[j])
        assert sdr == pytest.approx(of_estimates[j], abs=1e-6)
        better = nsdr(references[j], estimates[j], mixtures[j])
        assert better == pytest.approx(of_estimates[j] - of_mixtures[j], abs=1e-6)
