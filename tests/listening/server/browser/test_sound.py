"""What the page plays, sample by sample: switching without a gap, at the same place, in loops.

Every sound of the trial is noise of its own, so that a short piece of the page's output tells
which sound it is and from which place. The output is recorded where it goes to the loudspeakers.
"""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from helpers.listening_browser import served, window
from helpers.simulated_listeners import make_song
from viso.audio import write
from viso.listening import BuildSettings, build_test, export_page, stimulus_path
from viso.listening.sounds import sha256_of_sound

Floats = npt.NDArray[np.float64]

SECONDS = 2.9  # with a piece not more than 2 ** 17 samples
RATE_HZ = 44_100
LEVEL = 0.1
STEP_S = 0.01
PIECE_S = 0.04

# The page's own connection to the loudspeakers goes to a recorder, too.
RECORDER = """
(() => {
  const code = `registerProcessor("recorder", class extends AudioWorkletProcessor {
    constructor() { super(); this.parts = []; }
    process([[samples]]) {
      this.parts.push(samples ? samples.slice() : new Float32Array(128));
      if (this.parts.length === 32) {
        this.port.postMessage({ until: currentFrame + 128, parts: this.parts });
        this.parts = [];
      }
      return true;
    }
  })`;
  const connect = AudioNode.prototype.connect;
  const found = (window.recording = { parts: [], until: [], rate: 0, ready: null });
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode && !found.ready) {
      found.rate = to.context.sampleRate;
      const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      found.ready = to.context.audioWorklet.addModule(address).then(() => {
        const recorder = new AudioWorkletNode(to.context, "recorder");
        recorder.port.onmessage = ({ data }) => {
          found.parts.push(...data.parts);
          found.until.push(data.until);
        };
        connect.call(this, recorder);
        connect.call(recorder, to);
      });
    }
    return connect.call(this, to, ...rest);
  };
})();
"""

TAKE = """
() => {
  const { parts, until, rate } = window.recording;
  const samples = new Float32Array(parts.length * 128);
  parts.forEach((part, i) => samples.set(part, 128 * i));
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return { rate, until, samples: btoa(text) };
}
"""

# Players as they should not be.
IS_SILENT_FIRST = """
(() => {
  const { select } = Player.prototype;
  Player.prototype.select = function (id) {
    select.call(this, id);
    const now = this.context.currentTime;
    this.master.gain.cancelScheduledValues(0);
    this.master.gain.setValueAtTime(0, now);
    this.master.gain.setValueAtTime(1, now + 0.06);
  };
})()
"""
BEGINS_ANEW = """
Player.prototype.select = function (id) {
  const wasPlaying = this.isPlaying;
  this.current = id;
  if (!wasPlaying) return;
  this.pause();
  this.start(0);
};
0
"""
IS_LATE = """
(() => {
  const start = Player.prototype.start;
  Player.prototype.start = function (offset) {
    const { tracks } = this;
    const [, second] = tracks.keys();
    const old = tracks.get(second).buffer;
    const late = Math.round(0.015 * old.sampleRate);
    const moved = this.context.createBuffer(1, old.length, old.sampleRate);
    const samples = old.getChannelData(0);
    moved.getChannelData(0).set(samples.subarray(0, old.length - late), late);
    tracks.get(second).buffer = moved;
    start.call(this, offset);
    tracks.get(second).buffer = old;
  };
})()
"""


class Piece(NamedTuple):
    """A piece of the output: when it was heard, which sound it is, and its place in it."""

    at_s: float
    sound: int
    place_s: float
    likeness: float


class Heard(NamedTuple):
    """What was recorded while the page played."""

    pieces: list[Piece]
    levels: Floats  # RMS of 5 ms each, over that of the sounds


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Floats]]:
    """Return an exported test whose sounds are noise, and that noise."""
    folder = tmp_path_factory.mktemp("sound")
    songs = [make_song(folder, "song", {"alpha": 20.0, "beta": 6.0}, seconds=3 * SECONDS)]
    settings = BuildSettings(anchors=False, duration_s=SECONDS, seed=7)
    test = build_test(songs, folder / "test", settings=settings)
    noises = {}
    for index, name in enumerate(test.stimulus_ids):
        random = np.random.default_rng(index)
        noise = random.uniform(-1, 1, round(SECONDS * RATE_HZ)) * LEVEL * np.sqrt(3)
        write(stimulus_path(folder / "test", name), noise[None].astype(np.float32), rate_hz=RATE_HZ)
        noises[name] = noise
    hashes = {
        name: sha256_of_sound(stimulus_path(folder / "test", name).read_bytes()) for name in noises
    }
    changed = test.model_copy(update={"sha256": hashes})
    (folder / "test" / "test.toml").write_text(changed.to_toml())
    export_page(folder / "test", folder / "page", n_orders=1)
    return folder / "page", noises


def listen(browser: Any, page_folder: tuple[Path, dict[str, Floats]], *steps: str) -> Heard:
    """Do the steps with the training page, and look at what was heard.

    A step is a key to press, a script in parentheses, or a number of milliseconds to wait.
    """
    folder, noises = page_folder
    with served(folder, is_file=False) as address, window(browser) as page:
        page.add_init_script(RECORDER)
        page.goto(address)
        page.get_by_role("button", name="Begin").click()
        page.get_by_role("button", name="Play sound A").wait_for()
        page.evaluate("window.recording.ready")
        for step in steps:
            if step.isdigit() and len(step) > 1:
                page.wait_for_timeout(int(step))
            elif len(step) > 1:
                page.evaluate(step)
            else:
                page.keyboard.press(step)
        page.keyboard.press("Space")
        page.wait_for_timeout(500)
        taken = page.evaluate(TAKE)
        order = page.evaluate(
            "[visoTest.trials[0].reference,"
            " ...visoTest.orders[0].stimuli[0].map((i) => visoTest.trials[0].stimuli[i])]"
        )
    # The recorder itself missed nothing.
    assert set(np.diff(taken["until"])) == {32 * 128}
    output = np.frombuffer(base64.b64decode(taken["samples"]), np.float32).astype(np.float64)
    rate_hz = int(taken["rate"])
    sounds = [soxr.resample(noises[name], RATE_HZ, rate_hz) for name in order]
    return understood(output, sounds, rate_hz)


def understood(output: Floats, sounds: list[Floats], rate_hz: int) -> Heard:
    """Find the pieces of the sounds in the output, from its first sound to its last."""
    loud = np.flatnonzero(np.abs(output) > LEVEL / 2)
    begin, end = loud[0] + round(0.03 * rate_hz), loud[-1] - round(0.03 * rate_hz)
    n, step = round(PIECE_S * rate_hz), round(STEP_S * rate_hz)
    length = 1 << (len(sounds[0]) + n).bit_length()
    spectra = [np.conj(np.fft.rfft(sound, length)) for sound in sounds]
    pieces = []
    for at in range(begin, end - n, step):
        piece = output[at : at + n]
        spectrum = np.fft.rfft(piece, length)
        likeness = np.stack([np.fft.irfft(np.conj(spectrum * s), length) for s in spectra])
        likeness = likeness[:, : len(sounds[0]) - n]
        sound, place = np.unravel_index(np.argmax(likeness), likeness.shape)
        own = sounds[sound][place : place + n]
        norm = np.linalg.norm(piece) * np.linalg.norm(own)
        value = float(likeness[sound, place] / norm) if norm else 0.0
        pieces.append(Piece(at / rate_hz, int(sound), place / rate_hz, value))
    short = round(0.005 * rate_hz)
    cut = output[begin : begin + (end - begin) // short * short].reshape(-1, short)
    return Heard(pieces, np.sqrt(np.mean(cut**2, axis=1)) / LEVEL)


def clear(heard: Heard) -> list[Piece]:
    """Return the pieces that are one sound alone, and not two of them, faded or looped."""
    return [piece for piece in heard.pieces if piece.likeness > 0.95]


def sounds_in(pieces: list[Piece]) -> list[int]:
    """Return which sounds were heard one after the other."""
    found = [piece.sound for piece in pieces]
    return [sound for i, sound in enumerate(found) if i == 0 or sound != found[i - 1]]


def shift_s(pieces: list[Piece], period_s: float) -> float:
    """Return by how much places leave the line that time draws, at most."""
    offsets = np.array([piece.place_s - piece.at_s for piece in pieces])
    around = np.exp(2j * np.pi * offsets / period_s)
    return float(np.abs(np.angle(around / around[0])).max() * period_s / (2 * np.pi))


SWITCHING = ("a", "350", "b", "250", "c", "250", "0", "250", "a", "250", "b", "250", "c", "350")


def test_switching_leaves_no_gap_and_keeps_the_place(
    browser: Any, page_folder: tuple[Path, dict[str, Floats]]
) -> None:
    heard = listen(browser, page_folder, *SWITCHING)
    pieces = clear(heard)
    assert sounds_in(pieces) == [1, 2, 3, 0, 1, 2, 3]
    assert shift_s(pieces, SECONDS) < 0.001
    # Two noises that cross lose 3 dB; where the excerpt begins again there is a dip of its own.
    wraps = [b.at_s for a, b in pairwise(pieces) if b.place_s < a.place_s]
    quiet = np.flatnonzero(heard.levels < 0.5) * 0.005 + heard.pieces[0].at_s
    assert all(any(abs(at - wrap) < 0.08 for wrap in wraps) for at in quiet)
    # Between two sounds that are clear there is no more than the crossing.
    for one, other in pairwise(pieces):
        if one.sound != other.sound:
            assert other.at_s - one.at_s < PIECE_S + 0.03


@pytest.mark.parametrize(
    ("broken", "leaves_gap", "moves_by_s"),
    [(IS_SILENT_FIRST, True, 0.0), (BEGINS_ANEW, False, 0.02), (IS_LATE, False, 0.0145)],
)
def test_the_measurement_finds_what_is_broken(
    browser: Any,
    page_folder: tuple[Path, dict[str, Floats]],
    broken: str,
    leaves_gap: bool,
    moves_by_s: float,
) -> None:
    heard = listen(browser, page_folder, broken, *SWITCHING)
    assert shift_s(clear(heard), SECONDS) > moves_by_s
    assert not leaves_gap or np.count_nonzero(heard.levels < 0.5) * 0.005 > 6 * 0.05


def test_a_loop_repeats_what_it_holds(
    browser: Any, page_folder: tuple[Path, dict[str, Floats]]
) -> None:
    def drag(name: str, value: float) -> str:
        return (
            f"(() => {{ const s = document.querySelector('[aria-label=\"{name}\"]');"
            f" s.value = {value}; s.dispatchEvent(new Event('input')); }})()"
        )

    heard = listen(
        browser, page_folder, drag("Loop to", 1.5), drag("Loop from", 0.9), "b", "900", "c", "1100"
    )
    pieces = clear(heard)
    assert sounds_in(pieces) == [2, 3]
    assert shift_s(pieces, 0.6) < 0.001
    places = [piece.place_s for piece in pieces]
    assert min(places) >= 0.899 and max(places) <= 1.5 - PIECE_S + 0.001
    wraps = sum(b < a for a, b in pairwise(places))
    assert wraps >= 2
    # It begins again at once, with a dip against the click and no silence.
    assert np.count_nonzero(heard.levels < 0.5) * 0.005 <= 0.03 * (wraps + 1)
