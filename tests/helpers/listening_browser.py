"""Windows for listening tests, and what axe-core says of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PATIENCE_MS = 120_000  # machines are busy


@contextmanager
def window(browser: Any, **options: Any) -> Iterator[Any]:
    """Give a page of a fresh profile; at its end, what it complained of fails the test."""
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda told: complaints.append(told.text) if told.type == "error" else None,
        )
        page.complaints = complaints
        yield page
        assert not complaints, complaints


def violations(page: Any) -> list[str]:
    """Return what axe-core finds, with the elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    found = axe.Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]


@contextmanager
def served(folder: Path, *, is_file: bool) -> Iterator[str]:
    """Give the address of a folder's ``index.html``: on the disk, or from any web server."""
    if is_file:
        yield (folder / "index.html").as_uri()
        return
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
