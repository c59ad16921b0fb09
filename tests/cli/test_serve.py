"""``viso serve``: what it refuses, what it prints, and that it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from helpers.live_studio import PATIENCE_S, follow, send, song_bytes, start
from helpers.small_models import song
from viso.cli import app
from viso.errors import ConfigError
from viso.studio import as_bytes, as_seconds

TOKEN = "a-token-of-the-tests-0123"


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("2G", 2_000_000_000), ("1.5kB", 1500), ("7", 7), ("1 MiB", 1 << 20)],
)
def test_sizes(text: str, size: int) -> None:
    assert as_bytes(text, option="--x") == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60m", 3600), ("24h", 86_400), ("90", 90), ("1.5min", 90), ("7d", 604_800)],
)
def test_times(text: str, seconds: float) -> None:
    assert as_seconds(text, option="--x") == seconds


@pytest.mark.parametrize("text", ["", "much", "-5", "0", "5XB", "1e9"])
def test_sizes_and_times_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--max"):
        as_bytes(text, option="--max")
    with pytest.raises(ConfigError, match="--max"):
        as_seconds(text, option="--max")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "openssl rand -hex 16"),
        (["--host", "192.0.2.1"], "VISO_TOKEN"),
        (["--token", "short"], "16 to 200"),
        (["--max-upload", "huge"], "--max-upload 'huge'"),
        (["--keep", "0h"], "--keep '0h'"),
        (["--host", "192.0.2.1", "--token", TOKEN], "cannot listen"),
    ],
)
def test_what_is_refused_at_the_start(tmp_path: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--port", port])
    assert isinstance(result.exception, ConfigError) and port in str(result.exception)


@contextmanager
def serving(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", "from viso.cli import main; main()", "serve", "--port", "0"]
    environment = {**os.environ, "VISO_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "--data", str(tmp_path / "data"), "--min-free", "1kB", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, line
            yield process, line.split()[4]
        finally:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_it_ends_at_once_while_it_works_and_is_followed(
    tmp_path: Path, mask_model: Path, name: str
) -> None:
    options = ("--host", "0.0.0.0", "--model", str(mask_model), "--threads", "1")
    with serving(tmp_path, *options) as (process, url):
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}healthz", timeout=PATIENCE_S).status_code == 200
        assert httpx.get(f"{url}api/limits", timeout=PATIENCE_S).status_code == 401
        with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
            sent = send(client, song_bytes(tmp_path, song(1, 90 * 44_100)))
            job = start(client, sent["id"])["id"]
            works = threading.Event()

            def watch() -> None:
                for seen in follow(client, job):
                    if seen["progress"] > 0:
                        works.set()

            follower = threading.Thread(target=watch)
            follower.start()
            assert works.wait(PATIENCE_S)
            process.send_signal(getattr(signal, name))
            assert process.wait(PATIENCE_S) == 0
            follower.join(PATIENCE_S)
            assert not follower.is_alive()
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()


def test_without_its_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("viso.studio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    result = CliRunner().invoke(app, ["serve", "--data", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert 'pip install -c constraints.txt ".[web]"' in str(result.exception)
