"""``viso separate`` on folders, as a person and as a program meet it."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from click.testing import Result
from typer.testing import CliRunner

from helpers.song_archives import Archive
from viso.cli import app
from viso.cli.console import own_stdout
from viso.errors import ConfigError, VisoError


def viso(archive: Archive, *words: object) -> Result:
    settings = ["--model", archive.model, "--format", "flac", "--bit-depth", "16"]
    start = ["separate", archive.folder, "--recursive", "-o", archive.out, *settings]
    result = CliRunner().invoke(app, [str(word) for word in (*start, *words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def records(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_batch_from_plan_to_end(archive: Archive) -> None:
    archive.add("a.flac")
    archive.add("in/a.wav")
    (archive.folder / "bad.mp3").write_text("la la la", encoding="utf-8")
    dry = viso(archive, "--dry-run")
    assert dry.exit_code == 0
    assert "3 songs to do, about" in dry.stdout
    assert "not known yet" in dry.stdout
    assert not archive.out.exists()
    first = viso(archive, "--jobs", 1, "--json")
    assert first.exit_code == 1
    plan, *songs, end = records(first)
    assert plan["plan"]["songs"] == 3
    assert sorted(record["ok"] for record in songs) == [False, True, True]
    assert end["batch"]["failed"] == 1
    assert "bad.mp3" in end["batch"]["failures"][0]["reason"]
    assert len(first.stderr.strip().splitlines()) == 1
    second = viso(archive, "--jobs", 1)
    assert second.exit_code == 1
    assert "2 done already" in second.stdout
    assert "real time, as measured here before" in second.stdout
    assert "0 songs done, 1 failed, 2 done before" in second.stdout
    assert second.stderr.startswith("error: ")
    (archive.folder / "bad.mp3").unlink()
    third = viso(archive, "--json")
    assert third.exit_code == 0
    assert [record.get("skipped") for record in records(third)] == [None, True, True, None]


def test_a_dry_run_names_every_file(archive: Archive) -> None:
    archive.add("a.flac")
    archive.add("a.wav")
    _, first, second = records(viso(archive, "--dry-run", "--json"))
    assert first["stems"]["vocals"] == str(archive.out / "a/vocals.flac")
    assert second["stems"]["vocals"] == str(archive.out / "a.wav/vocals.flac")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", "0"], "--jobs"),
        (["--template", "{stem}.{ext}"], "{name}"),
        (["--engine", "slurm"], "local, ray"),
        (["--address", "auto"], "--engine ray"),
    ],
)
def test_wrong_usage_is_exit_code_2(archive: Archive, words: list[str], said: str) -> None:
    archive.add("a.flac")
    result = viso(archive, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not archive.out.exists()


def test_a_cluster_needs_ray(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add("a.flac")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"the extra \[cluster\]: pip install -c"):
        viso(archive, "--engine", "ray")
    with pytest.raises(ConfigError, match="on a node of the cluster"):
        viso(archive, "--engine", "ray", "--address", "ray://node:10001")
    assert not archive.out.exists()


def test_other_threads_do_not_write_between_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with own_stdout():
        print("ours")
        thread = threading.Thread(target=print, args=("a node died",))
        thread.start()
        thread.join()
    assert capsys.readouterr() == ("ours\n", "a node died\n")


def test_no_model_and_no_songs(archive: Archive) -> None:
    with pytest.raises(VisoError, match="no song is in there"):
        viso(archive)
    with pytest.raises(VisoError, match="nobody"):
        viso(archive, "--model", "nobody")
    assert not archive.out.exists()
