"""What a visitor gets: the stems that `viso separate` makes, in pieces, mixed, drawn, measured."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from helpers.live_studio import end_of, live, pcm_16, send, song_bytes, start
from helpers.small_models import segment_network, song
from viso.separator import STEMS, Separator
from viso.separator.confidence import confidence
from viso.studio import StudioConfig
from viso.studio.wav import byte_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from helpers.live_studio import Running, Separated


@pytest.fixture(scope="module")
def expected(
    mask_model: Path, separated: Separated, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, npt.NDArray[np.int64]]:
    """The stems as the command line writes them, in 24 bits [shape=(n, channels)]."""
    folder = tmp_path_factory.mktemp("expected")
    path = folder / "song.flac"
    path.write_bytes(separated.flac)
    targets = {stem: folder / f"{stem}.wav" for stem in STEMS}
    list(Separator(mask_model, threads=1).to_files(path, targets))
    return {
        stem: soundfile.read(target, dtype="int32")[0].astype(np.int64) >> 8
        for stem, target in targets.items()
    }


def test_stems_are_those_of_the_command_line(
    running: Running, separated: Separated, expected: dict[str, Any]
) -> None:
    for stem in STEMS:
        wav = running.client.get(f"{separated.url}/stems/{stem}.wav?bits=24").content
        found = soundfile.read(io.BytesIO(wav), dtype="int32")[0].astype(np.int64) >> 8
        np.testing.assert_array_equal(found, expected[stem])
        flac = running.client.get(f"{separated.url}/stems/{stem}.flac").content
        assert soundfile.info(io.BytesIO(flac)).subtype == "PCM_24"
        found = soundfile.read(io.BytesIO(flac), dtype="int32")[0].astype(np.int64) >> 8
        np.testing.assert_array_equal(found, expected[stem])


def test_the_mixture_is_the_song(running: Running, separated: Separated) -> None:
    wav = running.client.get(f"{separated.url}/stems/mixture.wav?bits=32").content
    found, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert rate_hz == 44_100
    np.testing.assert_array_equal(found.T, separated.audio)
    assert separated.job["n_samples"] == separated.audio.shape[1]


def test_in_16_bits_the_stems_add_up_to_the_mixture(running: Running, separated: Separated) -> None:
    sound = {
        stem: pcm_16(running.client.get(f"{separated.url}/stems/{stem}.wav").content)
        for stem in ("mixture", *STEMS)
    }
    np.testing.assert_array_equal(sound["vocals"] + sound["instrumental"], sound["mixture"])
    whole = np.rint(separated.audio.T.astype(np.float64) * 32768)
    assert np.abs(sound["mixture"] - whole).max() <= 1


@pytest.mark.parametrize("bits", ["16", "24", "32"])
def test_any_bytes_of_a_stem(running: Running, separated: Separated, bits: str) -> None:
    url = f"{separated.url}/stems/vocals.wav?bits={bits}"
    whole = running.client.get(url)
    n = len(whole.content)
    assert whole.status_code == 200
    assert whole.headers["accept-ranges"] == "bytes"
    assert n == int(whole.headers["content-length"])
    assert soundfile.info(io.BytesIO(whole.content)).frames == separated.audio.shape[1]
    assert whole.content[36:40] == b"data"
    for said, first, stop in (
        ("0-0", 0, 1),
        ("10-99", 10, 100),
        ("44-47", 44, 48),
        ("70001-270002", 70_001, 270_003),
        (f"{n - 5}-", n - 5, n),
        ("-7", n - 7, n),
        (f"100-{10 * n}", 100, n),
    ):
        part = running.client.get(url, headers={"range": f"bytes={said}"})
        assert part.status_code == 206, said
        assert part.content == whole.content[first:stop], said
        assert part.headers["content-range"] == f"bytes {first}-{stop - 1}/{n}"
    behind = running.client.get(url, headers={"range": f"bytes={n}-"})
    assert behind.status_code == 416
    assert behind.headers["content-range"] == f"bytes */{n}"
    other = running.client.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert other.status_code == 200
    head = running.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == n


def test_what_a_range_may_say() -> None:
    assert byte_range("bytes=0-1,5-6", 10) is None  # several: all is sent
    assert byte_range("bytes=5-2", 10) is None
    assert byte_range("items=0-1", 10) is None
    assert byte_range("bytes=-", 10) is None
    assert byte_range(None, 10) is None
    assert byte_range("bytes=-20", 10) == (0, 10)
    first, stop = byte_range("bytes=-0", 10) or (0, 10)
    assert first >= stop


def test_downloads_are_named_after_the_song(running: Running, separated: Separated) -> None:
    answer = running.client.get(f"{separated.url}/stems/vocals.mp3")
    assert answer.headers["content-type"] == "audio/mpeg"
    said = answer.headers["content-disposition"]
    plain, _, encoded = said.partition("; filename*=UTF-8''")
    # The last part of the name that was sent, without its line break.
    assert unquote(encoded) == '<b>"Lied" : Größe<br> - vocals.mp3'
    assert plain.startswith('attachment; filename="') and plain.count('"') == 2
    assert abs(soundfile.info(io.BytesIO(answer.content)).frames - separated.audio.shape[1]) < 2


def test_a_mix_is_vocals_and_instrumental_in_another_balance(
    running: Running, separated: Separated, expected: dict[str, Any]
) -> None:
    answer = running.client.get(
        f"{separated.url}/mix.wav", params={"vocals_db": "-12", "instrumental_db": "-0.5"}
    )
    assert float(answer.headers["x-viso-gain-db"]) == 0
    found = soundfile.read(io.BytesIO(answer.content), dtype="int32")[0].astype(np.int64) >> 8
    wanted = expected["vocals"] * 10 ** (-12 / 20) + expected["instrumental"] * 10 ** (-0.5 / 20)
    assert np.abs(found - wanted).max() <= 1
    mute = running.client.get(f"{separated.url}/mix.flac", params={"vocals_db": "-inf"})
    found = soundfile.read(io.BytesIO(mute.content), dtype="int32")[0].astype(np.int64) >> 8
    np.testing.assert_array_equal(found, expected["instrumental"])


def test_a_mix_that_would_clip_is_lowered_as_a_whole(
    running: Running, separated: Separated, expected: dict[str, Any]
) -> None:
    answer = running.client.get(f"{separated.url}/mix.wav", params={"vocals_db": "20"})
    gain = 10 ** (float(answer.headers["x-viso-gain-db"]) / 20)
    assert gain < 1
    found = soundfile.read(io.BytesIO(answer.content))[0]
    wanted = (expected["vocals"] * 10.0 + expected["instrumental"]) / 2**23 * gain
    assert 0.999 < np.abs(found).max() < 1
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("said", ["1e5", "nan", "inf", "100", "loud", "--3", "1.23456"])
def test_balances_that_make_no_sense(running: Running, separated: Separated, said: str) -> None:
    answer = running.client.get(f"{separated.url}/mix.wav", params={"vocals_db": said})
    assert answer.status_code == 422
    assert "vocals_db" in answer.json()["detail"]


@pytest.mark.parametrize("points", [1, 7, 100, 4000])
def test_peaks_are_the_extremes_of_equal_parts(
    running: Running, separated: Separated, points: int
) -> None:
    told = running.client.get(f"{separated.url}/peaks?stem=mixture&points={points}").json()
    assert told["points"] == len(told["low"]) == len(told["high"]) == points
    n = separated.audio.shape[1]
    edges = [n * part // points for part in range(points + 1)]
    # Where a part has many samples its edges are known to 512 of them.
    slack = 512 if n >= points * 1024 else 0
    low, high = separated.audio.min(axis=0), separated.audio.max(axis=0)
    for part in range(points):
        inner = slice(edges[part] + slack, edges[part + 1] - slack)
        outer = slice(max(0, edges[part] - slack), edges[part + 1] + slack)
        assert low[outer].min() - 1e-4 <= told["low"][part] <= low[inner].min() + 1e-4
        assert high[inner].max() - 1e-4 <= told["high"][part] <= high[outer].max() + 1e-4


def pixels(png: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Levels [shape=(height, width)] and palette of a PNG with a palette, its sums checked."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        n_bytes = struct.unpack(">I", png[at : at + 4])[0]
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + n_bytes]
        assert struct.unpack(">I", png[at + 8 + n_bytes : at + 12 + n_bytes])[0] == zlib.crc32(
            name + body
        )
        chunks[name] = body
        at += 12 + n_bytes
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 3)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)


def test_a_spectrogram_shows_a_tone_where_and_when_it_is(running: Running, tmp_path: Path) -> None:
    time_s = np.arange(4 * 44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s) * (time_s >= 2)
    flac = song_bytes(tmp_path, np.stack([tone, tone]) + 1e-7)
    job = end_of(running.client, start(running.client, send(running.client, flac)["id"])["id"])
    url = f"/api/jobs/{job['id']}/spectrogram/mixture.png?width=200&height=100"
    answer = running.client.get(url)
    assert answer.headers["content-type"] == "image/png"
    levels, palette = pixels(answer.content)
    assert levels.shape == (100, 200)
    row = 99 - int(100 * np.log(1000 / 40) / np.log(16_000 / 40))
    assert abs(int(levels[:, 150].argmax()) - row) <= 1
    assert levels[:, 150].max() == 255
    assert levels[:, :90].max() == 0
    lightness = palette.astype(float).sum(axis=1)
    assert (np.diff(lightness) >= 0).all()


def test_all_three_spectrograms_are_there(running: Running, separated: Separated) -> None:
    drawn = {
        stem: running.client.get(f"{separated.url}/spectrogram/{stem}.png?width=64").content
        for stem in ("mixture", *STEMS)
    }
    assert len(set(drawn.values())) == 3
    assert all(pixels(png)[0].shape == (96, 64) for png in drawn.values())


@pytest.fixture(scope="module")
def band(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str, Path]]:
    """A studio whose model makes four stems, the address of a job with all of them, its song."""
    folder = tmp_path_factory.mktemp("band")
    model = segment_network(folder / "band.onnx", of_samples=0.3)
    config = StudioConfig(data=folder / "data", models=(str(model),), threads=1, free_bytes=0)
    with live(config) as (client, _):
        flac = song_bytes(folder, song(2, 50_000, seed=8, level=0.5))
        sent = send(client, flac)
        job = end_of(client, start(client, sent["id"], all_stems=True)["id"])
        assert job["state"] == "done", job
        assert job["stems"] == ["vocals", "drums", "bass", "other"]
        path = folder / "song.flac"
        path.write_bytes(flac)
        yield client, f"/api/jobs/{job['id']}", path


def test_all_stems_of_a_model_add_up(band: tuple[httpx.Client, str, Path]) -> None:
    client, url, path = band
    assert client.get("/api/models").json()[0]["stems"] == ["vocals", "drums", "bass", "other"]
    parts = ("vocals", "drums", "bass", "other")
    for bits, dtype, shift in (("16", "int16", 0), ("24", "int32", 8)):
        sound = {
            stem: soundfile.read(
                io.BytesIO(client.get(f"{url}/stems/{stem}.wav?bits={bits}").content), dtype=dtype
            )[0].astype(np.int64)
            >> shift
            for stem in (*parts, "instrumental", "mixture")
        }
        total = np.sum([sound[stem] for stem in parts], axis=0)
        np.testing.assert_array_equal(total, sound["mixture"])
        rest = sound["vocals"] + sound["instrumental"]
        np.testing.assert_array_equal(rest, sound["mixture"])
        whole = soundfile.read(path, dtype="int32")[0].astype(np.int64) >> 8
        if bits == "24":
            np.testing.assert_array_equal(sound["mixture"], whole)
    answer = client.get(
        f"{url}/mix.wav", params={"level": ["drums:-6", "vocals:-inf"], "instrumental_db": "-3"}
    )
    found = soundfile.read(io.BytesIO(answer.content))[0] * 2**23
    gains = {"vocals": 0.0, "drums": 10 ** (-6 / 20), "bass": 10 ** (-3 / 20)}
    gains["other"] = gains["bass"]
    wanted = sum(sound[stem] * gain for stem, gain in gains.items())
    np.testing.assert_allclose(found, wanted, atol=1)
    flac = client.get(f"{url}/stems/instrumental.flac").content
    found = soundfile.read(io.BytesIO(flac), dtype="int32")[0].astype(np.int64) >> 8
    np.testing.assert_array_equal(found, sound["instrumental"])


def test_what_is_shown_of_all_stems(band: tuple[httpx.Client, str, Path]) -> None:
    client, url, _ = band
    shown = ("mixture", "vocals", "drums", "bass", "other")
    assert tuple(client.get(url).json()["loudness_lufs"]) == shown
    for stem in shown:
        assert client.get(f"{url}/peaks", params={"stem": stem}).json()["stem"] == stem
        assert client.get(f"{url}/spectrogram/{stem}.png?width=64").status_code == 200
    for wrong in ("stems/guitar.wav", "stems/guitar.flac", "mix.wav?level=guitar:0"):
        answer = client.get(f"{url}/{wrong}")
        assert (answer.status_code, answer.json()["detail"][:7]) == (404, "guitar:")
    for wrong in ("peaks?stem=instrumental", "spectrogram/instrumental.png"):
        assert client.get(f"{url}/{wrong}").status_code == 404
    assert client.get(f"{url}/mix.wav?level=drums").status_code == 422


def test_a_model_of_two_stems_makes_two(running: Running, separated: Separated) -> None:
    job = start(running.client, separated.song["id"], all_stems=True, duration_s=1)
    assert job["stems"] == ["vocals", "instrumental"]
    assert end_of(running.client, job["id"])["state"] == "done"


def test_confidence_is_that_of_viso_confidence(
    running: Running, separated: Separated, mask_model: Path
) -> None:
    assert separated.job["confidence"]
    told = running.client.get(f"{separated.url}/confidence").json()
    stems = Separator(mask_model, threads=1).separate(separated.audio, rate_hz=44_100)
    seconds = confidence(stems.vocals, stems.instrumental, rate_hz=44_100)
    assert (told["hop_s"], told["start_s"]) == (1.0, 0.0)
    np.testing.assert_allclose(told["vocals"], [s.vocals_sdr_db for s in seconds], atol=0.02)
    np.testing.assert_allclose(
        told["instrumental"], [s.instrumental_sdr_db for s in seconds], atol=0.02
    )


@pytest.mark.parametrize(
    ("n_channels", "rate_hz", "n_samples"), [(1, 8_000, 4_001), (6, 48_000, 9_000)]
)
def test_other_channels_rates_and_lengths(
    running: Running, tmp_path: Path, n_channels: int, rate_hz: int, n_samples: int
) -> None:
    audio = song(n_channels, n_samples, seed=n_channels)
    sent = send(running.client, song_bytes(tmp_path, audio, rate_hz=rate_hz))
    assert (sent["channels"], sent["rate_hz"]) == (n_channels, rate_hz)
    job = end_of(running.client, start(running.client, sent["id"])["id"])
    assert (job["state"], job["n_samples"], job["channels"]) == ("done", n_samples, n_channels)
    url = f"/api/jobs/{job['id']}"
    whole = running.client.get(f"{url}/stems/mixture.wav?bits=24").content
    found, found_hz = soundfile.read(io.BytesIO(whole), dtype="float32", always_2d=True)
    assert found_hz == rate_hz
    np.testing.assert_array_equal(found.T, audio)
    assert running.client.get(f"{url}/peaks").status_code == 200
    assert running.client.get(f"{url}/spectrogram/vocals.png").status_code == 200
    answer = running.client.get(f"{url}/mix.mp3")
    assert answer.status_code == (200 if n_channels <= 2 else 422)


def test_a_region_is_that_of_the_song(running: Running, separated: Separated) -> None:
    sent = separated.song["id"]
    job = end_of(running.client, start(running.client, sent, start_s=1.5, duration_s=0.75)["id"])
    assert job["n_samples"] == round(0.75 * 44_100)
    wav = running.client.get(f"/api/jobs/{job['id']}/stems/mixture.wav?bits=32").content
    found = soundfile.read(io.BytesIO(wav), dtype="float32")[0].T
    first = round(1.5 * 44_100)
    np.testing.assert_array_equal(found, separated.audio[:, first : first + found.shape[1]])
    told = running.client.get(f"/api/jobs/{job['id']}/confidence").json()
    assert told["start_s"] == 1.5
