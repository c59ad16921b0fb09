"""From dropping a song to the files that are taken home, and what goes wrong on the way."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from helpers.studio_visitor import RATE_HZ, Visit, enter, job_id, send, separate, song_file, state


def download(page: Page, what: str, format_: str) -> tuple[str, Any, int]:
    """Follow a link of the downloads; return the file's name, its sound and rate."""
    with page.expect_download() as started:
        page.get_by_role("link", name=f"Download {what} as {format_}", exact=True).click()
    file = started.value
    sound, rate_hz = soundfile.read(io.BytesIO(Path(file.path()).read_bytes()))
    return file.suggested_filename, sound, rate_hz


def test_a_song_goes_in_and_its_stems_come_out(player: Page, song_path: Path) -> None:
    song, _ = soundfile.read(song_path)
    vocals_name, vocals, rate_hz = download(player, "vocals", "wav")
    _, instrumental, _ = download(player, "instrumental", "flac")
    assert "my song" in vocals_name and vocals_name.endswith(".wav")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(vocals + instrumental, song, atol=1e-7)
    assert np.abs(vocals).max() > 0.01


def test_the_balance_that_is_set_is_the_one_downloaded(player: Page) -> None:
    player.get_by_label("Level of vocals").fill("-6")
    player.get_by_role("button", name="Mute instrumental").click()
    _, mix, _ = download(player, "your balance", "flac")
    _, vocals, _ = download(player, "vocals", "flac")
    np.testing.assert_allclose(mix, vocals * 10 ** (-6 / 20), atol=1e-5)
    player.get_by_role("button", name="Mute vocals").click()
    silent = player.get_by_label("Download your balance as flac")
    assert silent.get_attribute("href") is None, "there is nothing to download"


def test_a_part_is_as_long_as_asked_and_keeps_the_songs_time(page: Page, song_path: Path) -> None:
    send(page, song_path)
    page.get_by_text("A part", exact=True).click()
    page.get_by_label("Part from").fill("0:01.5")
    page.get_by_label("Part to").fill("4")
    page.get_by_role("button", name="Separate this part").click()
    expect(page.locator(".time")).to_have_text("0:01.5 / 0:04")
    assert state(page, "panel.job.n_samples") == round(2.5 * RATE_HZ)


def test_a_preview_comes_before_the_whole_song(page: Page, tmp_path: Path) -> None:
    send(page, song_file(tmp_path / "long.wav", duration_s=30))
    page.get_by_text("Preview of 20 s").click()
    page.get_by_label("Preview from", exact=True).fill("0:05")
    page.get_by_role("button", name="Preview 20 s").click()
    page.wait_for_selector(".player")
    expect(page.locator(".time")).to_have_text("0:05.0 / 0:25")
    page.get_by_text("Separate again").click()
    page.get_by_text("Whole song", exact=True).click()
    page.get_by_role("button", name="Separate", exact=True).click()
    expect(page.locator(".takes button[aria-pressed=true]")).to_contain_text("Whole song")
    expect(page.locator(".time")).to_have_text("0:00.0 / 0:30")


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("soon", "4", "Times are written"),
        ("4", "1", "later"),
        ("90", "95", "The song ends at 0:06"),
    ],
)
def test_times_that_make_no_sense_are_told(
    page: Page, song_path: Path, start: str, end: str, told: str
) -> None:
    send(page, song_path)
    page.get_by_text("A part", exact=True).click()
    page.get_by_label("Part from").fill(start)
    page.get_by_label("Part to").fill(end)
    page.get_by_role("button", name="Separate this part").click()
    expect(page.get_by_role("alert").filter(has_text=told)).to_be_visible()


def test_after_a_reload_the_songs_are_there_again(
    visit: Visit, song_path: Path, tmp_path: Path
) -> None:
    page = visit.page()
    separate(page, song_path)
    done = job_id(page)
    send(page, song_file(tmp_path / "second.wav", seed=1))
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_selector(".working, .player")
    enter(page, visit.url)  # while the second may still be worked on
    expect(page.locator(".songs .name")).to_have_text(["my song.wav", "second.wav"])
    page.wait_for_selector(".player")
    page.locator(".songs .choose").first.click()
    page.wait_for_selector(".player")
    assert job_id(page) == done


def test_several_songs_are_sent_and_separated_at_once(page: Page, tmp_path: Path) -> None:
    send(page, *[song_file(tmp_path / f"{n}.wav", duration_s=2, seed=n) for n in range(4)])
    page.get_by_role("button", name="Separate all 4").click()
    expect(page.locator(".songs .choose .soft")).to_have_text(["0:02 · Done"] * 4, timeout=90_000)


def test_a_separation_can_be_cancelled_and_begun_again(page: Page, tmp_path: Path) -> None:
    send(page, song_file(tmp_path / "endless.wav", duration_s=600, rate_hz=8_000))
    page.get_by_role("button", name="Separate", exact=True).click()
    bar = page.get_by_role("progressbar", name="Separation")
    expect(bar).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("This separation was cancelled.")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(bar).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()


def test_what_is_no_audio_is_told_as_the_server_says_it(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "letter.mp3"
    path.write_text("Dear listener" * 99)
    send(page, path)
    told = page.locator("#panel [role=alert]")
    expect(told).to_be_visible()
    assert len(told.inner_text()) > 20
    page.locator("#panel").get_by_role("button", name="Remove").click()
    expect(page.locator(".songs li")).to_have_count(0)


def test_a_file_that_is_too_large_is_not_even_sent(visit: Visit, tmp_path: Path) -> None:
    page = visit.page()
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(31_000_000)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    send(page, path)
    alert = page.locator("#panel [role=alert]")
    expect(alert).to_have_text("This file has 31 MB; the server takes 30 MB at most.")
    assert "POST" not in sent


def test_a_server_that_is_gone_is_told_and_found_again(page: Page, tmp_path: Path) -> None:
    send(page, song_file(tmp_path / "endless.wav", duration_s=600, rate_hz=8_000))
    page.get_by_role("button", name="Separate", exact=True).click()
    page.get_by_role("progressbar", name="Separation").wait_for()
    job = page.evaluate(
        """async () => {
          const { studio } = await import("/static/main.js");
          return [...studio.library.watch.jobs.keys()][0];
        }"""
    )
    # Events that are open stay open; the page asks when they end.
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate(
        """async () => {
          const { studio } = await import("/static/main.js");
          const streams = studio.library.watch.jobs.values();
          for (const stream of streams) stream?.dispatchEvent(new Event("error"));
        }"""
    )
    banner = page.get_by_text("The server does not answer.")
    expect(banner).to_be_visible()
    page.unroute("**/api/**")
    expect(banner).to_be_hidden(timeout=60_000)
    # Not by its button: by now a fast machine may be done.
    assert page.request.post(f"{page.url}api/jobs/{job}/cancel").ok


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=document.title='struck'>.wav",
        "'\"><svg onload=alert(1)>&lt;b&gt;.wav",
    ],
)
def test_a_files_name_never_becomes_markup(page: Page, tmp_path: Path, name: str) -> None:
    separate(page, song_file(tmp_path / name, duration_s=1))
    expect(page.locator(".songs .name")).to_have_text(name)
    expect(page.locator("#panel h2")).to_have_text(name)
    page.get_by_role("button", name="Remove", exact=False).first.click()
    expect(page.locator(".notice span")).to_contain_text(name)
    assert page.locator("#panel img:not(.spectrogram), .songs img, .notice img").count() == 0
    assert "struck" not in page.title()


def test_removing_can_be_undone(visit: Visit, song_path: Path) -> None:
    page = visit.page()
    send(page, song_path)
    page.get_by_role("button", name="Separate", exact=True).wait_for()
    remove = page.get_by_role("button", name="Remove my song.wav")
    remove.click()
    expect(page.locator(".songs li")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".songs .name")).to_have_text("my song.wav")
    song = page.evaluate(
        """async () => { const { studio } = await import("/static/main.js");
        return studio.library.songs[0].id; }"""
    )
    url = f"{visit.url}api/songs/{song}"
    assert page.request.get(url).status == 200
    remove.click()
    page.goto("about:blank")  # whoever leaves does not want it back
    for _ in range(100):
        if page.request.get(url).status == 404:
            break
        page.wait_for_timeout(100)
    assert page.request.get(url).status == 404
