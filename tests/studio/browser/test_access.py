"""The page for all: keyboard, small screens, screen readers, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from helpers.studio_visitor import (
    RATE_HZ,
    Visit,
    enter,
    send,
    separate,
    state,
    until,
    violations,
)

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LEAST_PX = 44


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        page.keyboard.press(key)


def test_everything_is_done_by_keys(player: Page) -> None:
    press(player, "l", " ")
    until(player, "panel.isPlaying && !panel.player.isWaiting")
    assert state(player, "panel.player.loop") == [0, 6 * RATE_HZ]
    press(player, "b")
    assert state(player, "panel.isOriginal") is True
    press(player, "a", "2")
    assert state(player, "[panel.isOriginal, panel.balance.solo]") == [False, "vocals"]
    press(player, "3")
    assert state(player, "panel.balance.solo") == "instrumental"
    press(player, "3", "m", "Shift+M")
    assert state(player, "[...panel.balance.muted]") == ["vocals", "instrumental"]
    press(player, "g")
    assert state(player, "panel.balance.levels") == {"vocals": -12, "instrumental": 0}
    press(player, "1")
    assert state(player, "panel.isOriginal") is True
    press(player, " ", "Home", "ArrowRight")
    assert state(player, "panel.isPlaying") is False
    assert state(player, "panel.now") == pytest.approx(5)
    press(player, "Shift+ArrowLeft")
    assert state(player, "panel.now") == pytest.approx(4)
    press(player, "l")
    assert state(player, "panel.player.loop") is None


def test_the_keys_are_told_by_a_question_mark(player: Page) -> None:
    press(player, "?")
    dialog = player.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    press(player, "Escape")
    expect(dialog).to_be_hidden()


def test_a_field_keeps_its_keys(player: Page) -> None:
    player.get_by_label("Repeat from").focus()
    press(player, "m", "b", " ")
    heard = "[panel.isPlaying, panel.isOriginal, panel.balance.muted.size]"
    assert state(player, heard) == [False, False, 0]


def test_a_loop_is_set_in_numbers(player: Page) -> None:
    player.get_by_label("Repeat from").fill("0:01.5")
    player.get_by_label("Repeat to").fill("0:02.25")
    press(player, "Tab")
    player.evaluate("document.activeElement.blur()")
    press(player, "l", " ")
    until(player, "panel.isPlaying && !panel.player.isWaiting")
    assert state(player, "panel.player.loop") == [round(1.5 * RATE_HZ), round(2.25 * RATE_HZ)]
    assert 1.4 <= state(player, "panel.now") <= 2.3


def test_a_loop_is_dragged_over_a_waveform(player: Page) -> None:
    box = player.locator(".lane[data-stem=vocals]").bounding_box()
    assert box is not None
    y = box["y"] + 20
    player.mouse.move(box["x"] + box["width"] / 4, y)
    player.mouse.down()
    player.mouse.move(box["x"] + box["width"] / 2, y, steps=5)
    player.mouse.up()
    assert state(player, "[panel.loop.from, panel.loop.to]") == pytest.approx([1.5, 3.0], abs=0.05)
    expect(player.get_by_label("Repeat to")).to_have_value("0:03.0")
    player.mouse.click(box["x"] + 0.75 * box["width"], y)
    assert state(player, "panel.now") == pytest.approx(4.5, abs=0.05)


def test_the_tab_key_comes_by_everything_and_is_seen(player: Page) -> None:
    player.locator("#theme").focus()
    seen = []
    for _ in range(60):
        press(player, "Tab")
        name, outline = player.evaluate(
            """() => {
              const one = document.activeElement;
              const name = one.getAttribute("aria-label") ?? one.textContent.trim();
              return [name, getComputedStyle(one).outlineStyle];
            }"""
        )
        if player.evaluate("document.activeElement === document.body"):
            break
        assert outline != "none", f"{name}: the focus cannot be seen"
        seen.append(name)
    wanted = ["Choose songs", "Play", "Position in the song", "Solo vocals", "Mute vocals"]
    wanted += ["Level of vocals", "Level of instrumental", "Repeat from", "Download vocals as flac"]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places)


def check_size(page: Page) -> None:
    """Nothing is wider than the screen, and everything to be touched is large enough."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """(least) => [...document.querySelectorAll(
            "button, a, select, input, summary, label:has(input)")]
          .filter((one) => one.checkVisibility({ visibilityProperty: true }))
          // Boxes are touched by their labels.
          .filter((one) => !one.matches("[type=checkbox], [type=radio]"))
          .map((one) => [one, one.getBoundingClientRect()])
          .filter(([, box]) => box.width > 0 && (box.width < least || box.height < least))
          .map(([one, box]) => `${one.outerHTML}: ${box.width} x ${box.height}`)""",
        LEAST_PX,
    )
    assert small == []
    beyond = page.evaluate(
        """() => [...document.querySelectorAll(
            "main button, main a, main p, main h2, main select")]
          .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
          .map((one) => one.textContent)"""
    )
    assert beyond == []


def test_it_fits_a_phone(visit: Visit, song_path: Path) -> None:
    page = visit.page(**PHONE)
    check_size(page)
    send(page, song_path)
    page.get_by_text("Preview of 20 s").click()
    check_size(page)
    page.get_by_text("A part", exact=True).click()
    check_size(page)
    page.get_by_text("Whole song", exact=True).click()
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")
    check_size(page)
    page.get_by_text("Confidence").tap()
    page.get_by_text("Spectrogram").tap()
    page.get_by_text("Separate again").tap()
    check_size(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, song_path: Path, scheme: str) -> None:
    page = visit.page(color_scheme=scheme, reduced_motion="reduce")
    assert violations(page) == []
    send(page, song_path)
    page.get_by_text("Preview of 20 s").click()
    assert violations(page) == []
    page.get_by_text("Whole song", exact=True).click()
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".player")
    page.get_by_text("Confidence").click()
    press(page, "l", "2")
    assert violations(page) == []
    press(page, "?")
    assert violations(page) == []


def test_axe_would_find_something(page: Page) -> None:
    page.evaluate("document.body.append(document.createElement('button'))")
    assert any(found.startswith("button-name") for found in violations(page))


def test_light_and_dark_can_be_chosen_and_are_kept(visit: Visit) -> None:
    page = visit.page(color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(paper)
    assert dark != light
    enter(page, visit.url)
    assert page.evaluate(paper) == dark


def test_progress_is_read_aloud(visit: Visit, song_path: Path) -> None:
    page = visit.page()
    separate(page, song_path)
    expect(page.locator("#live")).to_have_attribute("role", "status")
    expect(page.locator("#live")).to_have_text("my song.wav: separated")
