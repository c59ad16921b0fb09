"""StemFiles: each stem is encoded in a thread of its own, and none of them outlives an error."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from viso.audio import AudioWriter, read
from viso.errors import AudioError
from viso.separator.stem_files import StemFiles

RATE = 44_100
PATIENCE_S = 120


def targets(folder: Path, *stems: str) -> dict[str, Path]:
    return {stem: folder / f"{stem}.flac" for stem in stems}


def sound(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    mixture = np.random.default_rng(0).uniform(-0.4, 0.4, (2, n_samples)).astype(np.float32)
    return mixture, mixture / 2


@pytest.mark.parametrize("stems", [("vocals", "instrumental"), ("vocals",)])
def test_stems_are_encoded_at_the_same_time(tmp_path, monkeypatch, stems):
    gate = threading.Barrier(len(stems), timeout=PATIENCE_S)
    real = AudioWriter.write

    def meet_and_write(self, block):
        gate.wait()  # passes only if every stem is here
        real(self, block)

    monkeypatch.setattr(AudioWriter, "write", meet_and_write)
    mixture, vocals = sound(40_000)
    with StemFiles(targets(tmp_path, *stems), rate_hz=RATE, n_channels=2) as files:
        files.write(mixture, vocals[None])
        list(files.finish([], source=None, tags={}))
        files.commit()
    for stem in stems:
        assert np.abs(read(tmp_path / f"{stem}.flac")[0] - vocals).max() < 1e-6
    assert not [one for one in threading.enumerate() if one.name.startswith("viso-encode")]


def test_an_error_of_one_stem_waits_for_the_other(tmp_path, monkeypatch):
    has_failed, is_written = threading.Event(), threading.Event()
    real = AudioWriter.write

    def fail_or_write(self, block):
        if self.path.stem == "vocals":
            has_failed.set()
            raise AudioError("full")
        assert has_failed.wait(PATIENCE_S)
        real(self, block)
        is_written.set()

    monkeypatch.setattr(AudioWriter, "write", fail_or_write)
    wanted = targets(tmp_path, "vocals", "instrumental")
    with (
        pytest.raises(AudioError, match="full"),
        StemFiles(wanted, rate_hz=RATE, n_channels=2) as files,
    ):
        try:
            mixture, vocals = sound(1000)
            files.write(mixture, vocals[None])
        finally:
            assert is_written.is_set()
    assert list(tmp_path.iterdir()) == []
    assert not [one for one in threading.enumerate() if one.name.startswith("viso-encode")]
