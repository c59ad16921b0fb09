"""A studio with a tiny model in a process of its own, and a real browser in front of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra [web]")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page

from helpers.chromium import chromium
from helpers.small_models import segment_network
from helpers.studio_visitor import Visit, separate, song_file, visiting


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    yield from chromium()


@contextmanager
def served(folder: Path, model: Path) -> Iterator[str]:
    """Serve a studio with a model in a process of its own; yield its address."""
    command = [
        *(sys.executable, "-c", "from viso.cli import main; main()", "serve", "--port", "0"),
        *("--data", str(folder / "data"), "--model", str(model), "--threads", "1"),
        *("--max-upload", "30MB", "--min-free", "1MB"),
    ]
    with (folder / "errors.txt").open("w+") as errors:
        server = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "500"},
        )
        assert server.stdout is not None
        try:
            found = re.search(r"http://\S+/", server.stdout.readline())
            assert found, (folder / "errors.txt").read_text()
            yield found[0]
        finally:
            server.terminate()
            server.wait(60)
            server.stdout.close()


@pytest.fixture(scope="session")
def studio_url(mask_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running studio."""
    with served(tmp_path_factory.mktemp("studio"), mask_model) as url:
        yield url


@pytest.fixture(scope="session")
def band_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio whose model makes vocals, drums, bass and other."""
    folder = tmp_path_factory.mktemp("band")
    model = segment_network(folder / "band.onnx", of_samples=0.3)
    with served(folder, model) as url:
        yield url


@pytest.fixture
def visit(browser: Browser, studio_url: str) -> Iterator[Visit]:
    """A visit of the studio with the tiny model."""
    with visiting(browser, studio_url) as one:
        yield one


@pytest.fixture
def page(visit: Visit) -> Page:
    """The studio in a wide window."""
    return visit.page()


@pytest.fixture(scope="session")
def song_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of stereo."""
    return song_file(tmp_path_factory.mktemp("songs") / "my song.wav")


@pytest.fixture
def player(page: Page, song_path: Path) -> Page:
    """A page that shows the player of a song."""
    separate(page, song_path)
    return page
