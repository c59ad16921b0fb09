"""An archive for every test of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from helpers.song_archives import Archive


@pytest.fixture
def archive(tmp_path: Path, mask_model: Path) -> Iterator[Archive]:
    made = Archive(tmp_path, mask_model)
    yield made
    left = [path for path in tmp_path.rglob(".viso-*") if path.suffix != ".onnx"]
    assert not left, left


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server on the loopback with an empty bucket `music`; returns boto3's client for it."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    import boto3

    server.start()
    try:
        _, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        # What it holds outlives it.
        reset = Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
        urlopen(reset).close()
        client = boto3.client("s3")
        client.create_bucket(Bucket="music")
        yield client
    finally:
        server.stop()
        # Its file systems have this server's address.
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
