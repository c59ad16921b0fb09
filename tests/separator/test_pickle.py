"""A separator in other processes: pickled it names its models' files."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.small_models import song
from viso.errors import ModelError
from viso.separator import Separator


def test_a_pool_separates_as_we_do(mask_model: Path) -> None:
    separator = Separator(f"{mask_model}*3+viso*1", wiener=1, threads=1)
    songs = [song(2, 30_000, seed=seed) for seed in range(2)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        tasks = [pool.apply_async(separator.separate, (one,), {"rate_hz": 44_100}) for one in songs]
        found = [task.get(timeout=200) for task in tasks]
    for mixture, stems in zip(songs, found, strict=True):
        here = separator.separate(mixture, rate_hz=44_100)
        assert np.array_equal(stems.vocals, here.vocals)
        assert (stems.model, stems.tags) == (here.model, here.tags)


def test_a_relative_path_means_the_same_elsewhere(
    mask_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mask_model.parent)
    pickled = pickle.dumps(Separator(mask_model.name, threads=1))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickled).name == "tiny"


def test_a_copy_is_whole(mask_model: Path) -> None:
    separator = Separator(mask_model, threads=1)
    assert copy.deepcopy(separator).sha256 == separator.sha256


def test_a_model_that_is_another_by_now_is_refused(mask_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(mask_model, path)
    pickled = pickle.dumps(Separator(path))
    path.write_bytes(path.read_bytes() + b"\x7a\x00")  # an empty field that nobody reads
    with pytest.raises(ModelError, match=r"model\.onnx"):
        pickle.loads(pickled)
