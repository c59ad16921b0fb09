"""The pictures of the studio in the README and in docs/serve/studio.md.

    python bench/screenshots.py [-o docs]

Sings the demo song, starts a studio with the packaged model, separates the song in a browser
without a window, and writes studio.webp (a wide window) and studio-phone.webp. Needs the extras
[web] and [dev], and a Chromium (its path in VISO_CHROMIUM if it is not found by its name).
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent
MOST_BYTES = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SLOW_MS = 120_000
DRAWN = """async () => {
  const { studio } = await import("/static/main.js");
  return studio.panel.player.lanes.all.every((lane) => lane.peaks);
}"""


@contextmanager
def studio(data: Path) -> Iterator[str]:
    """Run a studio; gives its address."""
    command = [sys.executable, "-c", "from viso.cli import main; main()", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "500"}
    server = subprocess.Popen(
        [*command, "--data", str(data)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout is not None
    try:
        found = re.search(r"http://\S+/", server.stdout.readline())
        if found is None:
            raise SystemExit("the studio did not start")
        yield found[0]
    finally:
        server.terminate()
        server.wait()


def visit(browser: Browser, url: str, song: Path, *, is_phone: bool) -> Page:
    """Return a page on which the song is separated and half of it has been played."""
    size = {"width": 360, "height": 800} if is_phone else {"width": 1280, "height": 1076}
    page = browser.new_context(
        viewport=size,
        device_scale_factor=2 if is_phone else 1.25,
        is_mobile=is_phone,
        has_touch=is_phone,
        color_scheme="dark" if is_phone else "light",
        reduced_motion="reduce",
        locale="en-GB",
    ).new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(url)
    page.wait_for_selector("body[data-state=ready]")
    page.set_input_files("#files", song)
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")
    page.wait_for_timeout(500)
    while not page.evaluate(DRAWN):
        page.wait_for_timeout(100)
    if not is_phone:
        expect(page.locator(".lane.drawing")).to_have_count(0, timeout=SLOW_MS)
    return page


def shoot(page: Page, path: Path, *, scale: float) -> None:
    """Write what is seen, as WebP."""
    page.wait_for_timeout(500)
    session = page.context.new_cdp_session(page)
    size = page.viewport_size
    assert size is not None
    clip = {"x": 0, "y": page.evaluate("scrollY"), **size, "scale": scale}
    for quality in (90, 80, 70, 60, 50):
        options = {"format": "webp", "quality": quality, "clip": clip}
        told = session.send("Page.captureScreenshot", options)
        picture = base64.b64decode(told["data"])
        if len(picture) <= MOST_BYTES:
            break
    path.write_bytes(picture)
    print(f"{path}: {len(picture)} bytes, quality {quality}")


def make(browser: Browser, url: str, song: Path, folder: Path) -> None:
    """Make both pictures."""
    page = visit(browser, url, song, is_phone=False)
    page.get_by_label("Repeat from").fill("0:06.0")
    page.get_by_label("Repeat to").fill("0:10.0")
    page.get_by_role("button", name="Guide vocal").click()
    page.get_by_role("button", name="Loop").click()
    page.get_by_label("Location in the song").fill("7.4")
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_timeout(1200)
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(5, 5)
    shoot(page, folder / "studio.webp", scale=1.25)
    page.context.close()
    page = visit(browser, url, song, is_phone=True)
    page.get_by_label("Location in the song").fill("7.4")
    page.evaluate(
        "scrollTo(0, document.querySelector('#panel').getBoundingClientRect().top + scrollY - 12)"
    )
    shoot(page, folder / "studio-phone.webp", scale=2)
    page.context.close()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "pictures")
    folder = parser.parse_args().out
    path = os.environ.get("VISO_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("no Chromium on this machine: install one, or name it in VISO_CHROMIUM")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        here = Path(name)
        subprocess.run([sys.executable, ROOT / "examples/demo_song.py", here / "song"], check=True)
        song = (here / "song/mixture.flac").rename(here / "Demo song.flac")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with studio(here / "data") as url:
            make(browser, url, song, folder)
        browser.close()


if __name__ == "__main__":
    main()
