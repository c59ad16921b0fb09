"""A model of four stems on the page: asked for, heard, seen, balanced, taken home."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect

from helpers.studio_visitor import Visit, send, separate, state, until, violations, visiting

STEMS = ["vocals", "drums", "bass", "other"]


@pytest.fixture
def visit(browser: Browser, band_url: str) -> Iterator[Visit]:
    with visiting(browser, band_url) as one:
        yield one


@pytest.fixture
def band(page: Page, song_path: Path) -> Page:
    """The player of all four stems."""
    send(page, song_path)
    page.get_by_label("All stems: vocals, drums, bass, other").check()
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")
    return page


def test_every_stem_has_a_track_and_downloads(band: Page, song_path: Path) -> None:
    tracks = band.locator(".track")
    assert [tracks.nth(i).get_attribute("data-stem") for i in range(tracks.count())] == [
        "mixture",
        *STEMS,
    ]
    expect(band.get_by_text("separated by segments, 4 stems")).to_be_visible()
    rows = band.locator(".downloads .what")
    titles = ["Vocals", "Drums", "Bass", "Other", "Instrumental", "Your balance"]
    expect(rows).to_have_text(titles)
    sound = {}
    for stem in STEMS:
        href = band.get_by_role("link", name=f"Download {stem} as flac").get_attribute("href")
        assert href is not None
        body = band.request.get(band.url.rstrip("/") + href).body()
        sound[stem] = soundfile.read(io.BytesIO(body))[0]
    song, _ = soundfile.read(song_path)
    np.testing.assert_allclose(sum(sound.values()), song, atol=1e-7)
    assert all(np.abs(stem).max() > 0.01 for stem in sound.values())


def test_each_stem_is_heard_alone_and_left_out(band: Page) -> None:
    band.keyboard.press("3")
    assert state(band, "panel.balance.gains()") == {"vocals": 0, "drums": 1, "bass": 0, "other": 0}
    band.keyboard.press("3")
    band.get_by_role("button", name="Without drums").click()
    wanted = {"vocals": 1, "drums": 0, "bass": 1, "other": 1}
    assert state(band, "panel.balance.gains()") == wanted
    band.keyboard.press(" ")
    until(
        band,
        "panel.player?.gains.drums.gain.value < 1e-3 && panel.player.gains.bass.gain.value > 0.99",
    )
    band.keyboard.press("Shift+M")
    assert state(band, "[...panel.balance.muted]") == ["drums", "bass", "other"]
    band.keyboard.press("Shift+M")
    assert state(band, "panel.balance.muted.size") == 0
    band.get_by_label("Level of bass").fill("-6")
    href = band.get_by_label("Download your balance as flac").get_attribute("href")
    assert href is not None
    body = band.request.get(band.url.rstrip("/") + href).body()
    mix = soundfile.read(io.BytesIO(body))[0]
    base = band.url.rstrip("/") + f"/api/jobs/{state(band, 'panel.job.id')}/stems/"
    sound = {
        stem: soundfile.read(io.BytesIO(band.request.get(f"{base}{stem}.wav?bits=24").body()))[0]
        for stem in STEMS
    }
    expected = sound["vocals"] + sound["bass"] * 10 ** (-6 / 20) + sound["other"]
    np.testing.assert_allclose(mix, expected, atol=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(band: Page, scheme: Literal["light", "dark"]) -> None:
    band.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    band.get_by_text("Confidence").click()
    assert violations(band) == []


def test_two_stems_are_made_unless_asked(page: Page, song_path: Path) -> None:
    separate(page, song_path)
    assert state(page, "panel.stems") == ["vocals", "instrumental"]
    expect(page.get_by_role("button", name="Without drums")).to_have_count(0)


def test_all_stems_fit_a_phone(visit: Visit, song_path: Path) -> None:
    page = visit.page(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    send(page, song_path)
    page.get_by_label("All stems: vocals, drums, bass, other").check()
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
