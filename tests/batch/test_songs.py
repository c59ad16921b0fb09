"""Songs below folders: each once, in order, whatever links and names there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from viso.batch.songs import Stamp, find_songs, sha256_of


def names(found, folder: Path) -> list[str]:
    return [song.path.relative_to(folder).as_posix() for song in found.songs]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.mp3",
        "a.FLAC",
        "cover.jpg",
        "._b.mp3",
        ".hidden/c.mp3",
        "in/d.wav",
        "in/e/f.m4a",
    ):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "music"


def test_a_folder_and_its_folders(tree: Path) -> None:
    flat = find_songs([tree], recursive=False, out=tree / "out")
    assert names(flat, tree) == ["a.FLAC", "b.mp3"]
    assert flat.n_others == 1
    deep = find_songs([tree], recursive=True, out=tree / "out")
    assert names(deep, tree) == ["a.FLAC", "b.mp3", "in/d.wav", "in/e/f.m4a"]
    assert [song.folder.as_posix() for song in deep.songs] == [".", ".", "in", "in/e"]


def test_several_folders_keep_their_names(tree: Path) -> None:
    found = find_songs([tree / "in", tree / "in/e"], recursive=False, out=tree / "out")
    assert [song.folder.as_posix() for song in found.songs] == ["in", "e"]


def test_the_output_folder_is_no_input(tree: Path) -> None:
    found = find_songs([tree], recursive=True, out=tree / "in")
    assert names(found, tree) == ["a.FLAC", "b.mp3"]


def test_outputs_are_no_inputs(tree: Path) -> None:
    found = find_songs([tree], recursive=True, out=tree, is_output=lambda p: p.endswith("d.wav"))
    assert names(found, tree) == ["a.FLAC", "b.mp3", "in/e/f.m4a"]


def test_named_twice_is_one_song(tree: Path) -> None:
    found = find_songs([tree / "b.mp3", tree, tree / "in/../b.mp3"], recursive=False, out=tree)
    assert names(found, tree) == ["b.mp3", "a.FLAC"]
    assert found.n_again == 2


def test_a_file_by_itself_needs_no_suffix_and_need_not_be(tree: Path) -> None:
    paths = [tree / "cover.jpg", tree / "nothing.mp3"]
    assert [s.path for s in find_songs(paths, recursive=True, out=tree).songs] == paths


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_that_go_round(tree: Path) -> None:
    (tree / "in/up").symlink_to(tree, target_is_directory=True)
    (tree / "in/self").symlink_to("self")
    (tree / "in/self.mp3").symlink_to("self.mp3")
    (tree / "in/gone.mp3").symlink_to("nowhere.mp3")
    (tree / "in/same.mp3").symlink_to("../b.mp3")
    (tree / "in/other").symlink_to(tree / "in/e", target_is_directory=True)
    found = find_songs([tree], recursive=True, out=tree / "out")
    assert names(found, tree) == [
        "a.FLAC", "b.mp3", "in/d.wav", "in/gone.mp3", "in/self.mp3", "in/e/f.m4a",
    ]  # fmt: skip
    assert found.n_again == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes among files")
def test_a_pipe_is_no_song(tree: Path) -> None:
    os.mkfifo(tree / "pipe.mp3")
    found = find_songs([tree], recursive=False, out=tree / "out")
    assert names(found, tree) == ["a.FLAC", "b.mp3"]


def test_a_folder_that_cannot_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "e":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = find_songs([tree], recursive=True, out=tree / "out")
    assert names(found, tree) == ["a.FLAC", "b.mp3", "in/d.wav"]
    assert [folder.path for folder in found.unreadable] == [tree / "in/e"]
    assert "Permission denied" in found.unreadable[0].reason


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    where = tmp_path
    for _ in range(300):
        where = where / "d"
    where.mkdir(parents=True)
    (where / "a.mp3").touch()
    assert len(find_songs([tmp_path], recursive=True, out=tmp_path / "out").songs) == 1


def test_stamps_and_hashes(tree: Path) -> None:
    assert Stamp.of(tree / "b.mp3").n_bytes == 5
    assert sha256_of(tree / "b.mp3") != sha256_of(tree / "a.FLAC")
    with pytest.raises(OSError, match="nothing"):
        Stamp.of(tree / "nothing")
