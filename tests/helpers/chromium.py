"""A real browser for the tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from helpers.studio_visitor import SLOW_MS

__all__ = ["chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def chromium() -> Iterator[Browser]:
    """Yield a Chromium without a window, for a fixture of a module.

    Not of the session: while Playwright is there a loop of asyncio runs, beside which tests of
    other folders could have none of theirs.
    """
    path = os.environ.get("VISO_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install one, or name it in VISO_CHROMIUM")
    options = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    expect.set_options(timeout=SLOW_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=options)
        yield launched
        launched.close()
