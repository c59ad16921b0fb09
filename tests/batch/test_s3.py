"""Batches in and out of an S3 server on the loopback, which is moto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from helpers.song_archives import Archive
from viso.cli import app
from viso.errors import DataError

# The server's and botocore's own.
pytestmark = pytest.mark.filterwarnings("ignore")


def viso(archive: Archive, *words: object) -> Result:
    settings = ["--model", archive.model, "--format", "flac", "--bit-depth", "16", "--jobs", 1]
    manifest = ["--manifest", archive.folder.parent / "manifest"]
    words = ("separate", *settings, *manifest, *words)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def stems(s3: Any) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="music", Prefix="stems/").get("Contents", [])
    names = [one["Key"] for one in found if not one["Key"].endswith(".json")]
    return {
        name.removeprefix("stems/"): s3.get_object(Bucket="music", Key=name)["Body"].read()
        for name in names
    }


def test_an_archive_in_a_bucket(archive: Archive, s3: Any) -> None:
    for number, name in enumerate(["a song.flac", "in/ä ö.wav", "in/[x]*::.flac"]):
        s3.upload_file(str(archive.add(name, seed=number)), "music", f"archive/{name}")
    words = ["s3://music/archive", "--recursive", "-o", "s3://music/stems"]
    first = viso(archive, *words, "--json")
    assert first.exit_code == 0, first.stderr
    archive.run()
    here = {name: (archive.out / name).read_bytes() for name in archive.stems()}
    assert stems(s3) == here
    assert not s3.list_multipart_uploads(Bucket="music").get("Uploads")
    assert "3 done already" in viso(archive, *words).stdout
    # The same content sent again has the same ETag; another has not.
    s3.upload_file(str(archive.folder / "in/ä ö.wav"), "music", "archive/in/ä ö.wav")
    s3.upload_file(str(archive.add("other.flac", seed=9)), "music", "archive/a song.flac")
    s3.delete_object(Bucket="music", Key="stems/in/[x]*::/vocals.flac")
    again = viso(archive, *words, "--json")
    assert again.exit_code == 0, again.stderr
    plan = json.loads(again.stdout.splitlines()[0])["plan"]
    assert (plan["songs"], plan["done_before"], plan["again"]) == (2, 1, 2)
    assert stems(s3).keys() == here.keys()
    assert stems(s3)["a song/vocals.flac"] != here["a song/vocals.flac"]


def test_one_song_out_of_a_bucket(archive: Archive, s3: Any, tmp_path: Path) -> None:
    path = archive.add("a.flac")
    s3.upload_file(str(path), "music", "a.flac")
    words = ["--model", archive.model, "--format", "flac", "--bit-depth", "16", "--jobs", "1"]
    run = ["separate", "s3://music/a.flac", "-o", str(archive.out), *words]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.stderr
    assert archive.is_whole(path, "a")


def test_buckets_that_are_not_there(archive: Archive, s3: Any) -> None:
    s3.upload_file(str(archive.add("a.flac")), "music", "a.flac")
    missing = viso(archive, "s3://nobody/archive", "--recursive", "-o", "s3://music/stems")
    assert missing.exit_code == 1
    assert "s3://nobody/archive: cannot be read" in missing.stderr.replace("\n", " ")
    # Another manifest: this one keeps the other output.
    words = ["-o", "s3://nobody/stems", "--manifest", archive.folder.parent / "another"]
    refused = viso(archive, archive.folder, *words)
    assert refused.exit_code == 1
    assert "s3://nobody/stems/viso-batch.json: cannot be written" in refused.stderr
    assert "check the name of the bucket" in refused.stderr


def test_without_credentials(
    archive: Archive, s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    s3.upload_file(str(archive.add("a.flac")), "music", "archive/a.flac")
    with pytest.raises(DataError, match=r"s3://music/archive: .* check the credentials"):
        viso(archive, "s3://music/archive", "--recursive", "-o", "s3://music/stems")
