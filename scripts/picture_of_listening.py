"""Make docs/pictures/listening.webp: a page of a listening test of the demo song, in Chromium.

Run ``python scripts/picture_of_listening.py [FILE]``; needs the extra ``[dev]`` and a browser.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from viso import Separator
from viso.audio import write
from viso.listening import Answers, BuildSettings, SongMaterial, build_test
from viso.listening.server import bind, create_listening_app

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from demo_song import synthesise  # noqa: E402

MODELS = ("viso", "viso-cnn")
RATINGS = (72, 100, 34, 81, 55, 63)  # of the sounds from above, to have something to see
SIZE = {"width": 820, "height": 1000}


def build(folder: Path) -> tuple[Path, Any]:
    """Separate the demo song by two models, and make a test of it."""
    truth, rate_hz = folder / "truth" / "demo", 44_100
    truth.mkdir(parents=True)
    for name, stem in synthesise(rate_hz=rate_hz).items():
        write(folder / f"{name}.flac" if name == "mixture" else truth / f"{name}.flac", stem,
              rate_hz=rate_hz)  # fmt: skip
    estimates = {}
    for model in MODELS:
        Separator(model=model).separate(folder / "mixture.flac").save(folder / model / "demo")
        estimates[model] = {"vocals": next((folder / model / "demo").glob("vocals.*"))}
    songs = [SongMaterial("demo", tuple(sorted(truth.iterdir())), estimates)]
    settings = BuildSettings(title="Voices of the demo song", seed=4, per_song=3, duration_s=3.5,
                             short_training=True)  # fmt: skip
    return folder / "test", build_test(songs, folder / "test", settings=settings)


@contextmanager
def served(folder: Path, test: Any) -> Iterator[str]:
    """Serve the test while in the block."""
    answers = Answers(folder / "results.sqlite", test)
    app = create_listening_app(folder, answers, maker_key="only-for-the-picture")
    with bind("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
            answers.close()


def hear_reference(page: Any) -> None:
    """Play the reference until the page has taken note of it."""
    page.keyboard.press("0")
    page.get_by_text("Play the reference first").wait_for(state="hidden")


def photograph(address: str) -> bytes:
    """Listen and rate a little, and return the page as PNG."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=browser,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        page = chromium.new_page(viewport=SIZE, device_scale_factor=1.5)
        page.set_default_timeout(120_000)
        page.goto(address)
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("heading", name="Training").wait_for()
        hear_reference(page)
        for index in range(page.locator(".stimuli li").count()):
            page.keyboard.press("abcdefgh"[index])
            page.locator(f".stimuli li:nth-child({index + 1}) input:focus").wait_for()
        page.get_by_text("You have heard all sounds").wait_for()
        page.get_by_role("button", name="Next").click()
        page.get_by_role("heading", name="Page 1 of").wait_for()
        hear_reference(page)
        for index, rating in enumerate(RATINGS):
            page.keyboard.press("abcdef"[index])
            page.locator(f".stimuli li:nth-child({index + 1}) input:focus").wait_for()
            page.locator(f".stimuli li:nth-child({index + 1}) input").fill(str(rating))
        page.keyboard.press("d")
        page.locator(".stimuli li:nth-child(4) input:focus").wait_for()
        time.sleep(0.5)
        below = page.locator("main > div > p:last-child").bounding_box()
        frame = {
            "x": 0,
            "y": 0,
            "width": SIZE["width"],
            "height": below["y"] + below["height"] + 16,
        }
        png: bytes = page.screenshot(clip=frame)
        chromium.close()
    return png


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = ROOT / "docs" / "pictures" / "listening.webp"
    parser.add_argument("file", nargs="?", type=Path, default=default)
    path = parser.parse_args().file
    with tempfile.TemporaryDirectory() as name, served(*build(Path(name))) as address:
        png = photograph(address)
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=85, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
