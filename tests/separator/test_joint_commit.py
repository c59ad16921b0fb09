"""Stems take their names together: whatever fails, and wherever the process is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.small_models import song
from viso.audio import AudioWriter, read, write
from viso.errors import AudioError
from viso.separator import Separator, Stems
from viso.separator.joint_commit import clear_leftovers

NAMES = ("vocals.wav", "instrumental.wav")


def stems(seed: int) -> Stems:
    made = {"vocals": song(seed=seed), "instrumental": song(seed=seed + 1)}
    return Stems(made, rate_hz=44_100, model="none")


def contents(folder: Path) -> list[bytes | None]:
    paths = [folder / name for name in NAMES]
    return [path.read_bytes() if path.is_file() else None for path in paths]


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=["links", "no links"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with hard links, and one without, such as a USB stick's."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_links)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stem cannot take its name."""
    commit = AudioWriter.commit

    def refusing(self: AudioWriter) -> None:
        if self.path.name == NAMES[1]:
            self.abort()
            raise AudioError(f"{self.path}: the finished file cannot take this name")
        commit(self)

    monkeypatch.setattr(AudioWriter, "commit", refusing)


@pytest.mark.usefixtures("disk")
def test_stems_are_replaced(tmp_path: Path) -> None:
    stems(0).save(tmp_path)
    before = contents(tmp_path)
    stems(5).save(tmp_path)
    after = contents(tmp_path)
    assert None not in after
    assert not set(before) & set(after)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.usefixtures("failing", "disk")
@pytest.mark.parametrize("had", [[], [0], [1], [0, 1]])
def test_if_one_fails_the_others_are_what_they_were(tmp_path: Path, had: list[int]) -> None:
    for number in had:
        (tmp_path / NAMES[number]).write_text(f"mine {number}", encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(AudioError, match="cannot take this name"):
        stems(0).save(tmp_path)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(had)


@pytest.mark.usefixtures("disk")
def test_a_folder_that_takes_the_name_meanwhile_stays(mask_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 60_000), rate_hz=44_100)
    targets = {name.split(".")[0]: tmp_path / "out" / name for name in NAMES}
    steps = Separator(mask_model).to_files(tmp_path / "song.wav", targets, overwrite=True)
    next(steps)
    targets["instrumental"].mkdir()
    (targets["instrumental"] / "mine").touch()
    with pytest.raises(AudioError, match=r"instrumental\.wav"):
        list(steps)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["instrumental.wav", "mine"]


def test_what_another_process_makes_meanwhile_stays(mask_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 60_000), rate_hz=44_100)
    targets = {name.split(".")[0]: tmp_path / "out" / name for name in NAMES}
    steps = Separator(mask_model).to_files(tmp_path / "song.wav", targets)
    next(steps)
    targets["instrumental"].write_text("theirs", encoding="utf-8")
    with pytest.raises(AudioError, match="already there; add --overwrite"):
        list(steps)
    assert contents(tmp_path / "out") == [None, b"theirs"]


def test_links_are_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine", encoding="utf-8")
    (tmp_path / NAMES[0]).symlink_to(tmp_path / "elsewhere")
    stems(0).save(tmp_path)
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / NAMES[0]).is_symlink()


def test_a_table_that_cannot_have_its_name(
    mask_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "song.wav", song(2, 60_000), rate_hz=44_100)
    replace = Path.replace

    def refusing(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".csv":
            raise PermissionError(13, "Permission denied", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refusing)
    targets = {name.split(".")[0]: tmp_path / "out" / name for name in NAMES}
    table = tmp_path / "out/table.csv"
    steps = Separator(mask_model).to_files(tmp_path / "song.wav", targets, confidence=table)
    with pytest.raises(AudioError, match=r"table\.csv.*Permission denied"):
        list(steps)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


# Killed at every step that touches a file. The script renames two files in a child, which kills
# itself at its first such step; the next child at its second; until one comes to the end.

_KILLED = """
import os, signal, sys
from itertools import count
from pathlib import Path
from viso.processes import hidden_name
from viso.separator.joint_commit import together

base, had, links, fails = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
if links == "no":
    def no_links(*_, **__):
        raise PermissionError(1, "no links")
    os.link = no_links

def work(folder, kill_at):
    left = kill_at
    def hook(event, values):
        nonlocal left
        if event in ("os.rename", "os.link", "os.remove", "open") and ".viso-" in str(values[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    moves = []
    for name in ("vocals.wav", "instrumental.wav"):
        hidden = folder / hidden_name(".wav")
        hidden.write_text("new")
        moves.append((hidden, folder / name))
    sys.addaudithook(hook)
    try:
        with together(moves):
            moves[0][0].replace(moves[0][1])
            if fails == "yes":
                moves[1][0].unlink()
                raise KeyError
            moves[1][0].replace(moves[1][1])
    except KeyError:
        pass

for number in count():
    folder = base / str(number)
    folder.mkdir()
    for name in had.split(","):
        if name:
            (folder / name).write_text("old")
    child = os.fork()
    if not child:
        work(folder, number)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def killed(base: Path, *, had: str, links: str, fails: str) -> list[Path]:
    words = [sys.executable, "-c", _KILLED, str(base), had, links, fails]
    subprocess.run(words, check=True, timeout=120)
    folders = sorted(base.iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 5
    return folders


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("had", ["", NAMES[0], NAMES[1], ",".join(NAMES)])
@pytest.mark.parametrize("links", ["yes", "no"])
@pytest.mark.parametrize("fails", ["no", "yes"])
def test_kill_9_between_any_two_steps(tmp_path: Path, had: str, links: str, fails: str) -> None:
    new = [b"new", b"new"]
    old = [b"old" if name in had.split(",") else None for name in NAMES]
    for folder in killed(tmp_path, had=had, links=links, fails=fails):
        clear_leftovers(folder)
        assert contents(folder) in (old, new), folder.name
        assert not list(folder.glob(".viso-*")), folder.name
    assert contents(folder) == (old if fails == "yes" else new)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("links", ["yes", "no"])
@pytest.mark.parametrize("fails", ["no", "yes"])
def test_what_somebody_put_there_since_then_stays(tmp_path: Path, links: str, fails: str) -> None:
    for folder in killed(tmp_path, had=",".join(NAMES), links=links, fails=fails):
        for name in NAMES:
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(f"mine, {name}", encoding="utf-8")
        clear_leftovers(folder)
        assert contents(folder) == [f"mine, {name}".encode() for name in NAMES]


def hidden(kind: str, folder: Path, *, pid: int | None = None) -> Path:
    """A hidden file of a process that is no more, or of another machine or process."""
    from viso.processes import hidden_name

    pid = pid or 2**22 + 1  # above what Linux gives
    _, _, host, number = hidden_name("").split("-")
    if kind == "of another machine":
        host = f"{int(host, 16) ^ 1:08x}"
    return folder / f".viso-{pid}-{host}-{number}.wav"


def test_leftovers_are_removed_and_nothing_else(mask_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ours = hidden("ours", out)
    stay = [
        hidden("of another machine", out),
        hidden("alive", out, pid=os.getppid()),
        out / ".viso-mine.wav",
        out / ".viso-12-notes.txt",
        out / "notes.txt",
    ]
    for path in (ours, *stay):
        path.touch()
    write(tmp_path / "song.wav", song(2, 20_000), rate_hz=44_100)
    list(Separator(mask_model).to_files(tmp_path / "song.wav", {"vocals": out / "vocals.wav"}))
    assert not ours.exists()
    assert all(path.exists() for path in stay)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: '{"a": 1}',
        lambda text: text.replace("vocals.wav", "../song.wav"),
        lambda text: text.replace("vocals.wav", "/etc/passwd"),
        lambda text: text.replace(".viso-", "mine-"),
    ],
)
def test_a_journal_that_makes_no_sense_moves_nothing(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    import json

    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "song.wav").write_text("a song", encoding="utf-8")
    (out / "mine-1").write_text("mine", encoding="utf-8")
    new = hidden("ours", out)
    new.write_text("new", encoding="utf-8")
    info = new.stat()
    mark = [info.st_ino, info.st_size, info.st_mtime_ns]
    held = new.with_suffix(".held").name
    moves = [{"hidden": new.name, "final": "vocals.wav", "held": held, "new": mark, "old": None}]
    journal = hidden("ours", out).with_suffix(".moves")
    journal.write_text(change(json.dumps(moves)), encoding="utf-8")
    clear_leftovers(out)
    assert (tmp_path / "song.wav").read_text(encoding="utf-8") == "a song"
    assert [path.name for path in out.iterdir()] == ["mine-1"]


def test_the_next_run_finishes_what_a_killed_one_began(mask_model: Path, tmp_path: Path) -> None:
    """As a user meets it: a run dies after the first stem has its name, and is started again."""
    write(tmp_path / "song.wav", song(2, 30_000), rate_hz=44_100)
    script = """
import os, signal, sys
from viso.audio import AudioWriter
from viso.cli import main

commit = AudioWriter.commit
def committing(self):
    commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
AudioWriter.commit = committing
main()
"""
    words = ["separate", "song.wav", "--model", str(mask_model)]
    subprocess.run([sys.executable, "-c", script, *words], cwd=tmp_path, timeout=120)
    out = tmp_path / "separated/song"
    assert contents(out).count(None) == 1
    again = [sys.executable, "-c", "from viso.cli import main; main()", *words]
    found = subprocess.run(again, cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert "already there" in found.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)
    parts = [read(out / name)[0] for name in NAMES]
    assert np.array_equal(parts[0] + parts[1], read(tmp_path / "song.wav")[0])
