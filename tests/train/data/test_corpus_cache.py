"""A corpus in a store is brought here once, whole, and known by its content."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from viso.errors import DataError
from viso.train.data.corpus import Corpus
from viso.train.data.corpus_cache import corpus_at
from viso.train.run.trainer import Trainer

pytest.importorskip("fsspec")


@pytest.fixture
def there(toy_corpus, tmp_path):
    """A copy of the corpus, and its address."""
    folder = tmp_path / "there"
    shutil.copytree(toy_corpus.folder, folder)
    return folder, f"file://{folder}"


def test_a_folder_is_opened_where_it_lies(toy_corpus, tmp_path):
    corpus = corpus_at(str(toy_corpus.folder), cache=tmp_path / "cache")
    assert corpus.folder == toy_corpus.folder
    assert not (tmp_path / "cache").exists()


def test_it_is_brought_once(toy_corpus, there, tmp_path):
    folder, address = there
    corpus = corpus_at(address, cache=tmp_path / "cache")
    assert corpus.folder.parent == tmp_path / "cache"
    assert corpus.hash == toy_corpus.hash
    assert np.array_equal(corpus.audio, toy_corpus.audio)
    assert np.array_equal(corpus.levels, toy_corpus.levels)
    # Only the index is asked for now.
    (folder / "audio.i16").unlink()
    assert corpus_at(address, cache=tmp_path / "cache").folder == corpus.folder
    assert not list(tmp_path.glob("cache/*.part"))


def test_another_content_is_another_corpus(there, packed, tmp_path):
    folder, address = there
    first = corpus_at(address, cache=tmp_path / "cache")
    shutil.rmtree(folder)
    facts = {"song": "a", "role": "vocals"}
    packed(folder, [(facts, np.full((2, 9000), 0.25, np.float32))])
    second = corpus_at(address, cache=tmp_path / "cache")
    assert second.hash != first.hash
    assert len(second.tracks) == 1
    assert Corpus(first.folder).hash == first.hash


def test_a_damaged_one_is_refused_and_not_kept(there, tmp_path):
    folder, address = there
    data = bytearray((folder / "audio.i16").read_bytes())
    data[5000] ^= 1
    (folder / "audio.i16").write_bytes(data)
    with pytest.raises(DataError, match="is not what its index says"):
        corpus_at(address, cache=tmp_path / "cache")
    (folder / "audio.i16").write_bytes(data[:-1000])
    with pytest.raises(DataError, match="shorter than its index says"):
        corpus_at(address, cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no corpus here"):
        corpus_at(f"file://{tmp_path}/nothing", cache=tmp_path / "cache")


def test_one_that_does_not_fit_is_not_begun(there, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="GB are free; name another folder with --cache"):
        corpus_at(there[1], cache=tmp_path / "cache")


def test_a_run_from_an_address_is_that_from_the_folder(there, recipe, tmp_path):
    losses = {}
    for corpus in (str(there[0]), there[1]):
        folder = tmp_path / f"run {len(losses)}"
        told = []
        trainer = Trainer(
            recipe(corpus=corpus, log_every=1), folder, device="cpu", cache=tmp_path / "cache"
        )
        trainer.run(on_progress=told.append)
        losses[corpus] = [row.loss for row in told]
    assert len(set(map(tuple, losses.values()))) == 1
    assert isinstance(trainer.corpus.folder, Path)
