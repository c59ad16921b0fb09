"""The player: in step to the sample, without gaps, equally loud."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page

from helpers.studio_visitor import (
    RATE_HZ,
    Visit,
    enter,
    job_id,
    lag_ms,
    rendered,
    separate,
    song_file,
    state,
    until,
)

PLAY = "await player.begin(0);"
LSB = 1 / 32768
START = round(0.05 * RATE_HZ)  # the player asks the sound card that much beforehand


def stem(page: Page, name: str) -> Any:
    """The first channel of a stem, as the server has it."""
    url = page.url + f"api/jobs/{job_id(page)}/stems/{name}.wav"
    sound, _ = soundfile.read(io.BytesIO(page.request.get(url).body()), dtype="float32")
    return sound[:, 0]


def test_what_is_played_is_the_stems_to_the_bit(player: Page) -> None:
    _, stems, original, vocals = rendered(player, PLAY, duration_s=6.2)
    mixture = stem(player, "mixture")
    # The first milliseconds are faded in; then pieces follow each other without a seam.
    inside = slice(START + 500, START + len(mixture))
    np.testing.assert_array_equal(original[inside], mixture[500:])
    np.testing.assert_array_equal(vocals[inside], stem(player, "vocals")[500:])
    both = stem(player, "vocals") + stem(player, "instrumental")
    np.testing.assert_allclose(stems[inside], both[500:], atol=1e-6)
    assert not original[START + len(mixture) :].any()


def test_stems_and_original_are_in_step(player: Page) -> None:
    loop = "player.loop = [66_150, 200_000]; await player.begin(66_150);"
    _, stems, original, _ = rendered(player, loop, duration_s=6.2)
    assert lag_ms(stems, original) == 0


def test_the_measure_of_step_sees_a_stem_that_is_late(player: Page) -> None:
    _, stems, original, _ = rendered(player, PLAY, duration_s=6.2)
    assert lag_ms(np.roll(stems, 882), original) == pytest.approx(20)


def captured(page: Page) -> tuple[Any, Any, float]:
    """The stems' sum and the original as a sound card gets them, over a seek, a loop and switches.

    Also the rate of the sound card.
    """
    page.keyboard.press("l")  # it must not end before it is captured
    page.keyboard.press(" ")
    until(page, "panel.isPlaying && !panel.player.isWaiting")
    told = page.evaluate(
        """async () => {
          const { studio } = await import("/static/main.js");
          const panel = studio.panel.player;
          const { player } = panel;
          const { context } = player;
          const recorder = context.createScriptProcessor(4096, 2, 1);
          const merger = context.createChannelMerger(2);
          const tap = (stems, to) => {
            const sum = context.createGain();
            sum.channelCount = 1;
            sum.channelCountMode = "explicit";
            for (const stem of stems) player.gains[stem].connect(sum);
            sum.connect(merger, 0, to);
          };
          tap(["vocals", "instrumental"], 0);
          tap(["mixture"], 1);
          const blocks = [[], []];
          recorder.onaudioprocess = (event) => [0, 1].forEach((channel) => (
            blocks[channel].push(...event.inputBuffer.getChannelData(channel))));
          merger.connect(recorder).connect(context.destination);
          const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
          await wait(700);
          panel.seek(2.5);
          await wait(700);
          panel.loop.set(3, 3.6, true);
          await wait(700);
          panel.hear("original");
          await wait(400);
          panel.hear("stems");
          await wait(400);
          merger.disconnect();
          return { blocks, rate: context.sampleRate };
        }"""
    )
    stems, original = np.array(told["blocks"])
    assert np.abs(original).max() > 0.05, "nothing was played"
    return stems, original, told["rate"]


def test_in_step_while_a_sound_card_runs(player: Page) -> None:
    stems, original, rate_hz = captured(player)
    assert rate_hz == RATE_HZ
    assert abs(lag_ms(stems, original)) < 10
    assert np.abs(stems - original).max() < 4 * LSB


def test_in_step_where_the_songs_rate_cannot_be_had(visit: Visit, tmp_path: Path) -> None:
    page = visit.page()
    page.add_init_script(
        """const Context = AudioContext;
        globalThis.AudioContext = class extends Context {
          constructor(options) {
            if (options?.sampleRate) throw new DOMException("no such rate", "NotSupportedError");
            super({ ...options, sampleRate: 48000 });
          }
        };"""
    )
    enter(page, visit.url)
    separate(page, song_file(tmp_path / "song.wav", rate_hz=22_050))
    stems, original, rate_hz = captured(page)
    assert rate_hz == 48_000
    assert abs(lag_ms(stems, original)) < 10
    assert np.abs(stems - original).max() < 4 * LSB


def test_a_loop_repeats_its_region_to_the_sample(player: Page) -> None:
    _, _, original, _ = rendered(
        player, "player.loop = [88_207, 110_111]; await player.begin(88_207);", duration_s=3
    )
    length = 110_111 - 88_207
    mixture = stem(player, "mixture")[88_207:110_111]
    for number in range(4):
        turn = original[START + number * length :][:length]
        np.testing.assert_array_equal(turn[300:-300], mixture[300:-300])


def test_switching_to_the_original_leaves_no_gap(player: Page) -> None:
    """Both sides are the same sound here, so a switch must not be heard at all."""
    switch = PLAY + (
        "[1, 1.5, 1.51, 2.2].forEach((at, i) => context.suspend(at).then(() => {"
        " player.hear(i % 2 ? 'stems' : 'original'); context.resume(); }));"
    )
    heard, _, original, _ = rendered(player, switch, duration_s=3)
    start = round(0.07 * RATE_HZ)
    # A gap of a single sample would be some 0.1.
    np.testing.assert_allclose(heard[start:], original[start:], atol=1e-3)


def test_the_original_is_as_loud_as_the_balance(player: Page) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    gains = player.evaluate(
        """async () => {
          const { studio } = await import("/static/main.js");
          const { matchingGain, measure } = await import("/static/loudness.js");
          const { Pieces } = await import("/static/pieces.js");
          const { job } = studio.panel;
          const pieces = await new Pieces(Object.fromEntries(["mixture", ...job.stems].map(
            (stem) => [stem, `/api/jobs/${job.id}/stems/${stem}.wav`]))).open();
          const measured = await measure(pieces);
          const told = job.loudness_lufs;
          const gain = (loudness) => matchingGain(loudness, { vocals: 1, instrumental: 0 });
          return { measured, told, gain: gain(told), own: gain(measured) };
        }"""
    )
    meter = pyloudnorm.Meter(RATE_HZ, filter_class="DeMan")
    url = player.url + f"api/jobs/{job_id(player)}/stems/"
    loudness = {}
    for name in ("mixture", "vocals"):
        sound, _ = soundfile.read(io.BytesIO(player.request.get(f"{url}{name}.wav").body()))
        loudness[name] = meter.integrated_loudness(sound)
        assert gains["told"][name] == pytest.approx(loudness[name], abs=0.3)
        assert gains["measured"][name] == pytest.approx(loudness[name], abs=0.3)
    wanted = 10 ** ((loudness["vocals"] - loudness["mixture"]) / 20)
    assert gains["gain"] == pytest.approx(wanted, rel=0.05)
    assert gains["own"] == pytest.approx(wanted, rel=0.05)


def test_levels_solo_and_mute_reach_the_ear(player: Page) -> None:
    player.get_by_role("button", name="Guide vocal").click()
    player.keyboard.press(" ")
    until(player, "panel.player?.gains.vocals.gain.value < 0.252")
    assert state(player, "panel.player.gains.vocals.gain.value") == pytest.approx(0.2512, rel=0.01)
    player.get_by_role("button", name="Solo instrumental").click()
    until(player, "panel.player?.gains.vocals.gain.value < 1e-3")
    assert state(player, "panel.balance.gains()") == {"vocals": 0, "instrumental": 1}


def test_the_loudness_of_a_balance_of_many_stems(player: Page) -> None:
    found = player.evaluate(
        """async () => {
          const { balanceLufs } = await import("/static/loudness.js");
          const loudness = { mixture: -14, vocals: -18, drums: -20, bass: -22, other: null };
          const of = (vocals, drums, bass) => (
            balanceLufs(loudness, { vocals, drums, bass, other: 1 }));
          const two = { mixture: -10, vocals: -13, instrumental: -16 };
          return {
            all: of(1, 1, 1), vocals: of(1, 0, 0), halved: of(0, 0.5, 0), none: of(0, 0, 0),
            more: of(1, 1, 0), two: balanceLufs(two, { vocals: 1, instrumental: 0.5 }),
          };
        }"""
    )
    assert found["all"] == pytest.approx(-14)
    assert found["vocals"] == pytest.approx(-18)
    assert found["halved"] == pytest.approx(-20 - 20 * np.log10(2))
    assert found["none"] is None
    assert -18 < found["more"] < -14
    mixture, vocals, rest = (10 ** (level / 10) for level in (-10, -13, -16))
    power = vocals + rest / 4 + (mixture - vocals - rest) / 2
    assert found["two"] == pytest.approx(10 * np.log10(power))


def test_at_the_end_it_stops_and_begins_anew(player: Page) -> None:
    player.keyboard.press(" ")
    until(player, "panel.isPlaying && !panel.player.isWaiting")
    state(player, "panel.seek(5.7)")
    until(player, "!panel.isPlaying")
    assert state(player, "panel.now") == 0


def test_of_a_long_song_only_what_is_played_is_fetched_and_kept(page: Page, tmp_path: Path) -> None:
    ranges = []
    page.on("request", lambda request: ranges.append(request.headers.get("range")))
    separate(page, song_file(tmp_path / "long.wav", duration_s=300, rate_hz=8_000))
    state(page, "panel.seek(200)")
    page.keyboard.press(" ")
    until(page, "panel.isPlaying && !panel.player.isWaiting")
    n_bytes = 0
    for start, stop in (text.removeprefix("bytes=").split("-") for text in filter(None, ranges)):
        n_bytes += int(stop) + 1 - int(start)
    assert 0 < n_bytes < 0.1 * 3 * 300 * 8_000 * 4
    assert state(page, "panel.player.context.sampleRate") == 8_000
    state(page, "(panel.player.pieces.most = 6)")
    for place_s in range(0, 300, 20):
        state(page, f"panel.player.begin({place_s * 8_000})")
    assert state(page, "panel.player.pieces.loaded.size") <= 6
    assert state(page, "Math.abs(panel.now - 280) < 15")
