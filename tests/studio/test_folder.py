"""Whose folder it is: a studio takes what is its own, and deletes only what its list names."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.live_studio import asked, idle_app, send, song_bytes, start
from helpers.small_models import song
from viso.cli import app as cli
from viso.errors import ConfigError
from viso.studio import StudioConfig, create_app
from viso.studio.ownership import MARKER
from viso.studio.tables import TABLES

NOBODY = "0" * 32


@pytest.fixture
def flac(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return song_bytes(tmp_path_factory.mktemp("sent"), song(2, 22_050, seed=3))


def music_in(folder: Path) -> list[Path]:
    """Files of a person's, where a studio would have its own."""
    files = [folder / home / "album" / "song.wav" for home in ("songs", "jobs")]
    files += [folder / home / "file.wav" for home in ("uploads", "downloads")]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"music")
    return files


def old_tables() -> list[str]:
    """The tables of version 1: no removals, and no stems of jobs."""
    column = ",\n        stems TEXT NOT NULL DEFAULT 'vocals,instrumental'"
    assert any(column in table for table in TABLES)
    return [table.replace(column, "") for table in TABLES if "removals" not in table]


def old_studio(folder: Path) -> None:
    """Make what the version before the marker made: its tables, and no marker."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "studio.sqlite", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        for table in old_tables():
            database.execute(table)
        database.execute("PRAGMA user_version = 1")


def closed(folder: Path) -> None:
    """Start a studio and end it."""
    idle_app(folder).state.studio.store.close()


def test_a_folder_of_music_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    files = music_in(tmp_path)
    result = CliRunner().invoke(cli, ["serve", "--data", str(tmp_path), "--port", "0"])
    assert isinstance(result.exception, ConfigError)
    told = str(result.exception)
    assert str(tmp_path) in told and "--data" in told and "\n" not in told
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


def test_a_new_and_an_empty_folder_are_taken_and_marked(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "studio" / "new"):
        closed(folder)
        assert json.loads((folder / MARKER).read_text()) == {"kind": "viso studio", "version": 1}
        closed(folder)


def test_music_in_a_studio_s_folder_is_left_alone(tmp_path: Path) -> None:
    closed(tmp_path)
    files = []
    for home in ("songs", "jobs", "uploads", "downloads"):
        files.append(tmp_path / home / NOBODY / "song.wav")
        files[-1].parent.mkdir()
        files[-1].write_bytes(b"music")
    app = idle_app(tmp_path)
    app.state.studio.sweep()
    assert all(path.read_bytes() == b"music" for path in files)


def test_a_studio_of_the_version_before_is_adopted_and_nothing_else_is_deleted(
    tmp_path: Path, flac: bytes
) -> None:
    old_studio(tmp_path)
    files = music_in(tmp_path)
    client = asked(idle_app(tmp_path))
    assert (tmp_path / MARKER).is_file()
    job = start(client, send(client, flac)["id"])
    assert (job["state"], job["stems"]) == ("queued", ["vocals", "instrumental"])
    assert all(path.read_bytes() == b"music" for path in files)


def test_a_studio_of_the_version_before_that_was_killed_is_adopted(tmp_path: Path) -> None:
    """Its tables are in the write-ahead log alone."""
    made, killed = tmp_path / "made", tmp_path / "killed"
    made.mkdir()
    killed.mkdir()
    with closing(sqlite3.connect(made / "studio.sqlite", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        for table in old_tables():
            database.execute(table)
        database.execute("PRAGMA user_version = 1")
        for path in made.glob("studio.sqlite*"):
            if not path.name.endswith("-shm"):
                (killed / path.name).write_bytes(path.read_bytes())
    assert (killed / "studio.sqlite-wal").stat().st_size
    closed(killed)


@pytest.mark.parametrize("sql", ["CREATE TABLE songs (id, name)", "CREATE TABLE mine (x)"])
def test_another_program_s_database_is_none_of_ours(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "studio.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(sql)
        database.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="no studio's folder"):
        create_app(StudioConfig(data=tmp_path))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["studio.sqlite"]


@pytest.mark.parametrize(
    "marker",
    [
        "",
        "[]",
        '{"kind": "viso studio"}',
        '{"kind": "other", "version": 1}',
        '{"kind": "viso studio", "version": 2}',
    ],
)
def test_a_marker_that_is_none_or_of_a_later_version(tmp_path: Path, marker: str) -> None:
    (tmp_path / MARKER).write_text(marker)
    with pytest.raises(ConfigError, match=MARKER):
        create_app(StudioConfig(data=tmp_path))
    assert [one.name for one in tmp_path.iterdir()] == [MARKER]


@pytest.mark.parametrize("home", ["uploads", "songs", "jobs", "downloads"])
def test_links_are_not_followed(tmp_path: Path, home: str) -> None:
    data, music = tmp_path / "data", tmp_path / "music"
    closed(data)
    music.mkdir()
    (music / "song.wav").write_bytes(b"music")
    # One in the place of what the list names ...
    app = idle_app(data)
    kind = home[:-1]
    app.state.studio.store.note_removal(kind, NOBODY)
    (data / home / NOBODY).symlink_to(music, target_is_directory=True)
    app.state.studio.store.close()
    closed(data)
    assert (music / "song.wav").read_bytes() == b"music"
    # ... and one in the place of the folder itself.
    (data / home / NOBODY).unlink()
    (data / home).rmdir()
    (data / home).symlink_to(music, target_is_directory=True)
    with pytest.raises(ConfigError, match=f"{home}: is a link"):
        create_app(StudioConfig(data=data))
    assert (music / "song.wav").read_bytes() == b"music"


def test_names_of_a_crafted_list_lead_nowhere(tmp_path: Path) -> None:
    data, music = tmp_path / "data", tmp_path / "music"
    music.mkdir()
    (music / "song.wav").write_bytes(b"music")
    app = idle_app(data)
    app.state.studio.store.note_removal("song", "../../music")
    app.state.studio.store.note_removal("upload", "../../music/song.wav")
    app.state.studio.store.close()
    closed(data)
    assert (music / "song.wav").read_bytes() == b"music"


def test_what_a_killed_studio_left_is_removed_by_its_list(tmp_path: Path, flac: bytes) -> None:
    data = tmp_path / "data"
    app = idle_app(data)
    studio = app.state.studio
    sent = send(asked(app), flac)["id"]
    job = start(asked(app), sent)["id"]
    studio.folders.job(job).mkdir()
    # Killed while a song arrives, is made of an upload, is deleted, and while one is sent.
    studio.remover.record("upload", NOBODY)
    studio.folders.upload(NOBODY).write_bytes(b"half")
    studio.remover.record("song", NOBODY)
    studio.folders.song(NOBODY).parent.mkdir()
    studio.folders.song(NOBODY).write_bytes(b"whole")
    studio.remover.new_download(NOBODY).joinpath("sound.flac").write_bytes(b"half")
    studio.store.delete_song(sent)
    studio.store.close()
    app = idle_app(data)
    left = [path for home in ("uploads", "songs", "jobs", "downloads")
            for path in (data / home).iterdir()]  # fmt: skip
    assert left == []
    assert app.state.studio.store.removals() == []


def test_a_whole_visit_leaves_nothing_noted(tmp_path: Path, flac: bytes) -> None:
    app = idle_app(tmp_path)
    client, studio = asked(app), app.state.studio
    client.post("/api/songs", content=b"no sound", headers={"content-type": "audio/flac"})
    sent = send(client, flac)["id"]
    start(client, sent)
    assert studio.store.removals() == []
    client.delete(f"/api/songs/{sent}")
    assert studio.store.removals() == []


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
def test_the_list_of_songs_is_for_this_account_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    old_studio(tmp_path)
    (tmp_path / "studio.sqlite").chmod(0o644)
    before = os.umask(0)
    try:
        app = idle_app(tmp_path)
        app.state.studio.remover.record("song", NOBODY)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode)
                 for path in tmp_path.glob("studio.sqlite*")}  # fmt: skip
    finally:
        os.umask(before)
    assert modes == {"studio.sqlite": 0o600, "studio.sqlite-wal": 0o600}
    assert f"{tmp_path}: others on this machine may look into it (mode 755)" in caplog.text


def test_a_list_of_songs_that_is_a_link_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    closed(data)
    (data / "studio.sqlite").rename(tmp_path / "other.sqlite")
    (data / "studio.sqlite").symlink_to(tmp_path / "other.sqlite")
    with pytest.raises(ConfigError, match=r"studio\.sqlite: is no file of its own"):
        create_app(StudioConfig(data=data))
