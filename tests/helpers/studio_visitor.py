"""What a visitor of the studio does, in a few words."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page

from helpers.small_models import song
from viso.audio import write

RATE_HZ = 44_100
SLOW_MS = 90_000
"""Machines are busy."""


class Visit:
    """Pages of one test; whatever goes wrong in them is collected."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self.url = browser, url
        self._contexts: list[Any] = []
        self.troubles: list[str] = []
        self.foreign: list[str] = []

    def page(self, **options: Any) -> Page:
        """Return a page of a browser that was never here, with the studio open."""
        settings = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}
        context = self._browser.new_context(**settings)
        context.set_default_timeout(SLOW_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)
        page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))
        enter(page, self.url)
        return page

    def _console(self, message: Any) -> None:
        # Answers such as 404 are part of the game; they are looked at where they matter.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.troubles.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.foreign.append(request.url)

    def close(self) -> None:
        """End it."""
        for context in self._contexts:
            context.close()


@contextmanager
def visiting(browser: Browser, url: str) -> Iterator[Visit]:
    """A visit in which no script fails, nothing is refused, and nobody else is asked."""
    one = Visit(browser, url)
    yield one
    one.close()
    assert one.troubles == []
    assert one.foreign == []


def song_file(
    path: Path, *, duration_s: float = 6.0, rate_hz: int = RATE_HZ, seed: int = 0
) -> Path:
    """Write a song in 16 bits: noise that comes and goes."""
    n = round(duration_s * rate_hz)
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 0.7 * np.arange(n) / rate_hz)
    write(
        path,
        song(2, n, seed=seed, level=0.4) * swell.astype(np.float32),
        rate_hz=rate_hz,
        bit_depth="16",
    )
    return path


def enter(page: Page, url: str) -> None:
    """Open the page and wait until it knows the server."""
    page.goto(url)
    page.wait_for_selector("body[data-state=ready]")


def send(page: Page, *paths: Path) -> None:
    """Choose songs, as with the file button."""
    page.set_input_files("#files", list(paths))


def separate(page: Page, path: Path) -> None:
    """Send a song, have it separated, and wait for the player."""
    send(page, path)
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")


def job_id(page: Page) -> str:
    """Return the id of the job that is shown."""
    return str(page.evaluate(_PANEL + "return studio.panel.jobId; }"))


def state(page: Page, expression: str) -> Any:
    """Return something of the player's panel, named `panel` in the expression."""
    return page.evaluate(_PANEL + f"return {expression}; }}")


def rendered(page: Page, script: str, *, duration_s: float) -> npt.NDArray[np.float32]:
    """Render what the player plays, without a sound card; the same code tells it what to play.

    Parameters
    ----------
    page : Page
        Shows a player.
    script : str
        Run with `player`, `pieces` and `context` before the sound begins; may `await`.
    duration_s : float

    Returns
    -------
    float32 array [shape=(4, n)]
        What is heard, then the sum of the stems before the A/B switch, the original before it, and
        the vocals; each the first channel.
    """
    told = page.evaluate(_RENDER.replace("SCRIPT", script), duration_s)
    return np.stack([np.frombuffer(base64.b64decode(one), np.float32) for one in told])


def lag_ms(
    sound: npt.NDArray[Any], reference: npt.NDArray[Any], *, rate_hz: int = RATE_HZ
) -> float:
    """Return by how much a sound is later than another, from the peak of their correlation."""
    n = 1 << (2 * len(sound)).bit_length()
    spectrum = np.fft.rfft(sound, n) * np.conj(np.fft.rfft(reference, n))
    shift = int(np.argmax(np.fft.irfft(spectrum, n)))
    return 1e3 * (shift if shift < n // 2 else shift - n) / rate_hz


def until(page: Page, expression: str, *, limit_s: float = 90) -> None:
    """Wait until something of the player's panel, named `panel`, is true."""
    end_s = time.monotonic() + limit_s
    while not page.evaluate(_PANEL + f"return Boolean(panel && ({expression})); }}"):
        assert time.monotonic() < end_s, f"never came true: {expression}"
        page.wait_for_timeout(100)


def violations(page: Page) -> list[Any]:
    """What axe-core finds, in words."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    core = next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
    page.evaluate(core)
    return list(
        page.evaluate(
            """async () => {
              const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
                "best-practice"];
              return (await axe.run({ runOnly })).violations.flatMap(({ id, nodes }) => nodes.map(
                (node) => `${id}: ${node.html.slice(0, 120)} ${node.failureSummary}`));
            }"""
        )
    )


_PANEL = """async () => {
  const { studio } = await import("/static/main.js");
  const panel = studio.panel?.player;
"""

_RENDER = """async (seconds) => {
  const { studio } = await import("/static/main.js");
  const { Pieces } = await import("/static/pieces.js");
  const { Player } = await import("/static/player.js");
  const { job } = studio.panel;
  const pieces = await new Pieces(Object.fromEntries(["mixture", ...job.stems].map(
    (stem) => [stem, `/api/jobs/${job.id}/stems/${stem}.wav`]))).open();
  pieces.most = Infinity;
  for (let i = 0; i < pieces.count; i += 1) await pieces.load(i);
  const context = new OfflineAudioContext(4, Math.round(seconds * pieces.rate), pieces.rate);
  const player = new Player(context, pieces, { ahead: seconds });
  const merger = context.createChannelMerger(4);
  player.master.disconnect();
  const taps = [[player.master], [player.gains.vocals, player.gains.instrumental],
    [player.gains.mixture], [player.gains.vocals]];
  taps.forEach((nodes, i) => {
    const splitter = context.createChannelSplitter(2);
    for (const node of nodes) node.connect(splitter);
    splitter.connect(merger, 0, i);
  });
  merger.connect(context.destination);
  player.isPlaying = true;
  SCRIPT
  const sound = await context.startRendering();
  player.stopAt(0);
  return [0, 1, 2, 3].map((channel) => {
    const bytes = new Uint8Array(sound.getChannelData(channel).buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) {
      text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    }
    return btoa(text);
  });
}"""
