"""Sound that a caller hands over in memory: taken as what it is, or refused with the way out."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.small_models import song
from viso.audio import write
from viso.errors import AudioError
from viso.separator import Separator


@pytest.fixture(scope="module")
def separator(mask_model: Path) -> Separator:
    return Separator(mask_model)


@pytest.mark.parametrize("shape", [(44_100, 2), (33, 2)])
def test_samples_first_is_refused_and_says_transpose(
    separator: Separator, shape: tuple[int, int]
) -> None:
    with pytest.raises(AudioError, match=r"transpose it: pass song\.T"):
        separator.separate(np.zeros(shape, np.float32), rate_hz=44_100)
    with pytest.raises(AudioError, match=r"transpose it: pass song\.T"):
        list(separator.stream([np.zeros(shape, np.float32)], rate_hz=44_100, n_channels=2))


def test_one_axis_is_a_mono_song(separator: Separator) -> None:
    mono = song(1, 9000)
    stems = separator.separate(mono[0], rate_hz=44_100)
    assert stems.vocals.shape == (1, 9000)
    assert np.array_equal(stems.vocals, separator.separate(mono, rate_hz=44_100).vocals)


@pytest.mark.parametrize(
    ("dtype", "silence", "full_scale"),
    [("int16", 0, 2**15), ("int32", 0, 2**31), ("uint8", 128, 2**7)],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_are_what_wav_files_hold(
    separator: Separator, dtype: str, silence: int, full_scale: int, order: str
) -> None:
    steps = np.rint(song(2, 9000) * full_scale)
    integers = (steps + silence).astype(np.dtype(dtype).newbyteorder(order))
    before = integers.copy()
    stems = separator.separate(integers, rate_hz=44_100)
    floats = (steps / full_scale).astype(np.float32)
    assert np.array_equal(stems.vocals + stems.instrumental, floats)
    assert np.array_equal(integers, before)
    blocks = np.array_split(integers, 3, axis=1)
    streamed = list(separator.stream(blocks, rate_hz=44_100, n_channels=2))
    assert np.array_equal(np.concatenate([v for v, _ in streamed], axis=1), stems.vocals)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool, complex, object, str])
def test_other_types_say_what_to_write(separator: Separator, dtype: type) -> None:
    with pytest.raises(AudioError, match=r"astype\('float32'\)"):
        separator.separate(np.zeros((2, 100)).astype(dtype), rate_hz=44_100)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (None, "song None: pass the path"),
        (b"song.wav", "os.fsdecode"),
        (bytearray(9), "9 bytes"),
        (io.BytesIO(b"RIFF"), "BytesIO: an open file; pass its path"),
        ("", "an empty name"),
        (7, "need numbers of shape"),
        ({"a": 1}, "need numbers of shape"),
        (np.zeros((1, 2, 30)), "need numbers of shape"),
    ],
)
def test_what_is_no_song_is_named(separator: Separator, what: object, said: str) -> None:
    rate_hz = None if isinstance(what, str) else 44_100
    with pytest.raises(AudioError, match=said):
        separator.separate(what, rate_hz=rate_hz)  # type: ignore[arg-type]


def test_a_file_knows_its_own_rate(separator: Separator, tmp_path: Path) -> None:
    write(tmp_path / "song.wav", song(2, 5000), rate_hz=44_100)
    with pytest.raises(AudioError, match=r"song\.wav: rate_hz=48000 is for arrays"):
        separator.separate(tmp_path / "song.wav", rate_hz=48_000)


def test_files_are_made_of_files(separator: Separator, tmp_path: Path) -> None:
    targets = {"vocals": tmp_path / "vocals.wav"}
    with pytest.raises(AudioError, match="takes a path"):
        list(separator.to_files(song(2, 5000), targets))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (np.zeros((1, 10), np.float32), "the stream has 2 channels"),
        (np.zeros(10, np.float32), "the stream has 2 channels"),
        (np.full((2, 10), np.nan, np.float32), "NaN"),
        (np.zeros((2, 10), np.int64), "astype"),
        (None, "need numbers of shape"),
    ],
)
def test_a_stream_checks_its_blocks(separator: Separator, block: np.ndarray, said: str) -> None:
    stream = separator.stream([song(2, 100), block], rate_hz=44_100, n_channels=2)
    with pytest.raises(AudioError, match=said):
        list(stream)


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "said"),
    [
        (44_100.0, 2, "sampling rate"),
        (10, 2, "sampling rate"),
        (44_100, 0, "n_channels"),
        (44_100, 33, "n_channels"),
        (44_100, 2.0, "n_channels"),
    ],
)
def test_a_stream_checks_what_it_is_told_at_once(
    separator: Separator, rate_hz: int, n_channels: int, said: str
) -> None:
    with pytest.raises(AudioError, match=said):
        separator.stream([], rate_hz=rate_hz, n_channels=n_channels)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16])
def test_a_stream_gives_float32(separator: Separator, dtype: type) -> None:
    blocks = [np.zeros((1, 700), dtype), np.zeros(0, dtype), np.zeros(20_000, dtype)]
    for stems in separator.stream(blocks, rate_hz=44_100, n_channels=1):
        assert [stem.dtype for stem in stems] == [np.float32, np.float32]


def test_a_block_may_be_one_array_filled_again_and_again(separator: Separator) -> None:
    mixture = song(1, 30_000)
    buffer = np.zeros((1, 1000), np.float32)

    def arriving():  # type: ignore[no-untyped-def]
        for start in range(0, 30_000, 1000):
            buffer[:] = mixture[:, start : start + 1000]
            yield buffer

    streamed = list(separator.stream(arriving(), rate_hz=44_100, n_channels=1))
    whole = separator.separate(mixture, rate_hz=44_100)
    assert np.array_equal(np.concatenate([v for v, _ in streamed], axis=1), whole.vocals)


_TYPED = """
import numpy as np
import numpy.typing as npt
from viso import Separator, separate

wide: npt.NDArray[np.float64] = np.zeros((2, 9))
whole: npt.NDArray[np.int16] = np.zeros(9, np.int16)
separate(wide, rate_hz=44_100)
separate(whole, rate_hz=44_100)
separate("song.wav")
Separator().stream([whole, whole], rate_hz=44_100, n_channels=1)
separate(b"song.wav")  # type: ignore[arg-type]
"""


@pytest.mark.slow
def test_a_type_checker_takes_what_is_taken(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(_TYPED, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "caller.py"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
