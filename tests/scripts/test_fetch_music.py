"""The script that fetches music, with apt and dpkg played by a function."""

from __future__ import annotations

import importlib.util
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from helpers.checkout import ROOT

PATH = ROOT / "scripts" / "fetch_music.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fetch_music", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Packages:
    """Answers as apt-get and dpkg do, from a table of what each package holds."""

    def __init__(self, contents):
        self.contents, self.asked = contents, []

    def __call__(self, command, *, cwd, check, capture_output, text):
        assert check
        assert capture_output
        assert text
        if command[:2] == ["apt-get", "download"]:
            package = command[2]
            self.asked.append(package)
            if package not in self.contents:
                stderr = f"W: something\nE: Unable to locate package {package}\n"
                raise subprocess.CalledProcessError(100, command, stderr=stderr)
            (cwd / f"{package}_1.0_all.deb").write_text(package, encoding="utf-8")
        else:
            assert command[:2] == ["dpkg", "-x"]
            for name in self.contents[Path(command[2]).read_text(encoding="utf-8")]:
                path = Path(command[3]) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".pk3":
                    with zipfile.ZipFile(path, "w") as archive:
                        for member in ("music/a.ogg", "music/b.ogg", "textures/c.png"):
                            archive.writestr(member, member)
                else:
                    path.write_text(name, encoding="utf-8")


def table_of(folder, rows):
    lines = ["package\tpath\tseconds\tbandwidth_hz\tsplit"]
    lines += [f"{package}\t{path}\t10.0\t16000\ttrain" for package, path in rows]
    path = folder / "table.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


ROWS = [("game-one", "usr/a.ogg"), ("game-one", "usr/b.ogg"), ("game-two", "usr/c.ogg")]
CONTENTS = {"game-one": ["usr/a.ogg", "usr/b.ogg", "doc/copyright"], "game-two": ["usr/c.ogg"]}


def test_packages_are_unpacked_and_nothing_else_is_left(tmp_path, script, capsys):
    table, folder, run = table_of(tmp_path, ROWS), tmp_path / "music", Packages(CONTENTS)
    assert script.main([str(table), str(folder)], run=run) == 0
    assert run.asked == ["game-one", "game-two"]
    assert files_in(folder) == ["doc/copyright", "usr/a.ogg", "usr/b.ogg", "usr/c.ogg"]
    assert (folder / "usr/a.ogg").read_text(encoding="utf-8") == "usr/a.ogg"
    assert sorted(path.name for path in folder.iterdir()) == ["doc", "usr"]
    assert "[2/2] game-two" in capsys.readouterr().out


def test_a_second_run_fetches_only_what_is_missing(tmp_path, script):
    table, folder = table_of(tmp_path, ROWS), tmp_path / "music"
    script.main([str(table), str(folder)], run=Packages(CONTENTS))
    (folder / "usr/b.ogg").unlink()
    run = Packages(CONTENTS)
    assert script.main([str(table), str(folder)], run=run) == 0
    assert run.asked == ["game-one"]
    assert (folder / "usr/b.ogg").is_file()


def test_what_cannot_be_had_is_named_and_the_others_go_on(tmp_path, script, capsys):
    rows = [("absent", "usr/x.ogg"), *ROWS, ("thinner", "usr/gone.ogg")]
    table, folder = table_of(tmp_path, rows), tmp_path / "music"
    run = Packages({**CONTENTS, "thinner": ["usr/else.ogg"]})
    assert script.main([str(table), str(folder)], run=run) == 1
    assert (folder / "usr/c.ogg").is_file()
    errors = capsys.readouterr().err
    assert "absent (E: Unable to locate package absent)" in errors
    assert "thinner" in errors
    assert "usr/gone.ogg" in errors
    assert "game" not in errors


def test_a_machine_without_apt(tmp_path, script, capsys):
    def no_such_program(command, **options):
        raise FileNotFoundError(2, "No such file or directory", command[0])

    table = table_of(tmp_path, ROWS[:1])
    assert script.main([str(table), str(tmp_path / "music")], run=no_such_program) == 1
    assert "apt-get" in capsys.readouterr().err


@pytest.mark.parametrize("row", [
    ("--allow", "usr/a.ogg"),
    ("game", "../outside.ogg"),
    ("game", "/etc/passwd"),
    ("game", ""),
])  # fmt: skip
def test_a_table_that_reaches_outside_is_refused(tmp_path, script, row, capsys):
    run = Packages(CONTENTS)
    with pytest.raises(SystemExit) as stop:
        script.main([str(table_of(tmp_path, [row])), str(tmp_path / "music")], run=run)
    assert stop.value.code == 2
    assert "line 2" in capsys.readouterr().err
    assert run.asked == []


def test_a_table_without_columns_or_no_table(tmp_path, script):
    (tmp_path / "bad.tsv").write_text("file\nx\n", encoding="utf-8")
    for name in ("bad.tsv", "missing.tsv"):
        with pytest.raises(SystemExit):
            script.main([str(tmp_path / name), str(tmp_path / "music")], run=Packages({}))


def test_tracks_are_taken_out_of_archives_in_a_package(tmp_path, script, capsys):
    rows = [("game", "x_0music.pk3/music/a.ogg"), ("game", "x_0music.pk3/music/b.ogg")]
    table, folder = table_of(tmp_path, rows), tmp_path / "music"
    run = Packages({"game": ["usr/share/game/0music.pk3"]})
    assert script.main([str(table), str(folder)], run=run) == 0
    assert files_in(folder / "x_0music.pk3") == ["music/a.ogg", "music/b.ogg"]
    assert script.main([str(table), str(folder)], run=run) == 0
    assert run.asked == ["game"]
    missing = table_of(tmp_path, [("game", "x_0music.pk3/music/z.ogg")])
    assert script.main([str(missing), str(folder)], run=run) == 1
    assert "came without 1 of its tracks" in capsys.readouterr().err


def test_a_track_that_is_damaged_in_its_archive_is_not_there(tmp_path, script, capsys, monkeypatch):
    def fails(self, member, path):
        (path / member).parent.mkdir(parents=True)
        (path / member).write_bytes(b"half of it")
        raise zlib.error("Error -3 while decompressing data")

    monkeypatch.setattr(zipfile.ZipFile, "extract", fails)
    table = table_of(tmp_path, [("game", "x_0music.pk3/music/a.ogg")])
    run = Packages({"game": ["usr/0music.pk3"]})
    assert script.main([str(table), str(tmp_path / "music")], run=run) == 1
    assert "game (0music.pk3: Error -3" in capsys.readouterr().err
    assert files_in(tmp_path / "music") == []


def test_a_damaged_archive_is_named(tmp_path, script, capsys):
    table = table_of(tmp_path, [("game", "x_0music.zip/music/a.ogg")])
    run = Packages({"game": ["usr/0music.zip"]})
    assert script.main([str(table), str(tmp_path / "music")], run=run) == 1
    assert "game (File is not a zip file)" in capsys.readouterr().err
