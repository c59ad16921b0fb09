"""Pictures: any sound gives one without a warning, and what it shows is where it should be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.image import imread

from viso.errors import AudioError, ConfigError
from viso.reports import plots
from viso.reports.plots import panels, spectrograms
from viso.separator.confidence import Second

Floats = npt.NDArray[np.float32]
RATE_HZ = 44_100


def _noise(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def _sine(frequency_hz: float, *, n: int, rate_hz: int = RATE_HZ, level: float = 0.5) -> Floats:
    phase = 2 * np.pi * frequency_hz * np.arange(n) / rate_hz
    return (level * np.sin(phase)).astype(np.float32)[None]


def _figure(
    signals: dict[str, Floats],
    *,
    start_s: float = 0.0,
    rate_hz: int = RATE_HZ,
    confidence: Sequence[Second] = (),
) -> Figure:
    drawn = [panels.measure(name, x, rate_hz=rate_hz) for name, x in signals.items()]
    return plots._draw(drawn, confidence, high_hz=panels.top_hz(rate_hz), title="", start_s=start_s)


def test_three_panels_of_the_promised_size(tmp_path: Path) -> None:
    signals = {"mixture": _noise(2, 9000), "vocals": _noise(1, 9000), "rest": _noise(6, 9000)}
    path = spectrograms(signals, rate_hz=RATE_HZ, path=tmp_path / "a.png", title="Song $1_2$ 100%")
    assert path == tmp_path / "a.png"
    assert imread(path).shape == (1000, 1400, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 100), (6, 5000), (1, 44_100)])
@pytest.mark.parametrize("factor", [0.0, 1e-20, 1e6])
def test_any_sound_is_drawn_without_a_warning(
    tmp_path: Path, shape: tuple[int, int], factor: float
) -> None:
    signal = _noise(*shape) * np.float32(factor)
    before = signal.copy()
    path = spectrograms({"mixture": signal}, rate_hz=RATE_HZ, path=tmp_path / "a.png")
    assert path.stat().st_size > 0
    assert np.array_equal(signal, before)


@pytest.mark.parametrize("rate_hz", [1000, 8000, 16_000, 48_000, 192_000])
def test_any_rate(tmp_path: Path, rate_hz: int) -> None:
    assert spectrograms({"a": _noise(2, 3000)}, rate_hz=rate_hz, path=tmp_path / "a.png").exists()


@pytest.mark.parametrize("kind", plots.FORMATS)
def test_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"picture.{kind.upper()}"
    assert spectrograms({"mixture": _noise(1, 2000)}, rate_hz=8000, path=path).stat().st_size > 999


def test_a_title_the_font_cannot_write(tmp_path: Path) -> None:
    signals = {"歌": _noise(1, 2000)}
    assert spectrograms(signals, rate_hz=8000, path=tmp_path / "a.png", title="心").exists()


@pytest.mark.parametrize("frequency_hz", [55.0, 440.0, 5000.0, 15_000.0])
def test_a_tone_lies_at_its_frequency(frequency_hz: float) -> None:
    panel = panels.measure("a", _sine(frequency_hz, n=20_000), rate_hz=RATE_HZ)
    edges_hz = panels.edges_hz(20_000)
    row = int(panel.power[:, panel.power.shape[1] // 2].argmax())
    # Not nearer than half a bin of the transform, which is 5.4 Hz.
    assert edges_hz[row] - 6 <= frequency_hz <= edges_hz[row + 1] + 6


def test_rows_average_the_bins_they_cover() -> None:
    rows = panels._to_rows(np.full((2049, 3), 2.5), rate_hz=RATE_HZ)
    assert rows.shape == (panels.ROWS, 3)
    assert np.allclose(rows, 2.5)


def test_a_click_lies_at_its_time() -> None:
    signal = np.zeros((1, 3 * RATE_HZ), np.float32)
    signal[0, RATE_HZ] = 1
    panel = panels.measure("a", signal, rate_hz=RATE_HZ)
    column = int(panel.power.sum(axis=0).argmax())
    left_s = panel.first_s + column * panel.column_s
    assert left_s - panel.column_s <= 1.0 <= left_s + 2 * panel.column_s


def test_a_long_song_has_few_columns_and_the_same_mean_power() -> None:
    signal = _noise(1, 8000 * 300)
    panel = panels.measure("a", signal, rate_hz=8000)
    assert panel.power.shape[1] <= panels.MAX_COLUMNS
    short = panels.measure("a", signal[:, :80_000], rate_hz=8000)
    assert panel.power.mean() == pytest.approx(short.power.mean(), rel=0.05)
    end_s = panel.first_s + panel.power.shape[1] * panel.column_s
    assert end_s == pytest.approx(300, abs=panel.column_s)


def test_channels_are_averaged_in_power_so_that_opposite_phase_is_seen() -> None:
    mono = _sine(440, n=9000)
    wide = np.concatenate([mono, -mono])
    first, second = (panels.measure("a", x, rate_hz=RATE_HZ).power for x in (mono, wide))
    assert np.allclose(first, second, rtol=1e-4, atol=1e-9)


def test_the_scale_is_common_and_the_mixture_sets_it() -> None:
    loud, quiet = _sine(440, n=9000), _sine(440, n=9000, level=0.05)
    figure = _figure({"vocals": quiet, "mixture": loud})
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert {image.get_clim() for image in images} == {(-80.0, 0.0)}
    tops = [float(np.max(np.asarray(image.get_array()))) for image in images]
    assert tops == pytest.approx([-20, 0], abs=0.01)


def test_the_time_axis_begins_where_the_excerpt_does() -> None:
    figure = _figure({"a": _noise(1, RATE_HZ), "b": _noise(1, 2 * RATE_HZ)}, start_s=30.0)
    panels = [ax for ax in figure.axes if ax.images and ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["a", "b"]
    assert {ax.get_xlim() for ax in panels} == {(30.0, 32.0)}


@pytest.mark.parametrize(
    ("start_s", "duration_s", "label"),
    [(0, 1, "(s)"), (100, 1, "(s)"), (50, 20, "(min:s)"), (3590, 20, "(h:min:s)")],
)
def test_the_time_axis_is_labelled(start_s: float, duration_s: float, label: str) -> None:
    figure = _figure({"a": _noise(1, int(8000 * duration_s))}, start_s=start_s, rate_hz=8000)
    assert figure.axes[0].get_xlabel() == f"Time {label}"
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert 3 <= len(ticks) <= 14
    assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0:00"), (75, "1:15"), (600, "10:00"), (3671, "1:01:11")]
)
def test_the_clock(time_s: float, text: str) -> None:
    assert plots._clock(time_s) == text


@pytest.mark.parametrize("name", ["picture.xyz", "picture", "picture.mp3", "picture.pgf"])
def test_an_unknown_suffix_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"picture.*is no picture format; use one of .*\.png"):
        spectrograms({"a": _noise(1, 100)}, rate_hz=RATE_HZ, path=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw_and_impossible_rates_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        spectrograms({}, rate_hz=RATE_HZ, path=tmp_path / "a.png")
    for rate_hz in (-5, 0, 999):
        with pytest.raises(ConfigError, match="rate_hz"):
            spectrograms({"a": _noise(1, 9)}, rate_hz=rate_hz, path=tmp_path / "a.png")


@pytest.mark.parametrize("shape", [(0, 10), (2, 0), (10,), (1, 2, 3)])
def test_a_wrong_shape_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match="vocals: an array of shape"):
        spectrograms({"vocals": _noise(*shape)}, rate_hz=RATE_HZ, path=tmp_path / "a.png")


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    signal = _noise(2, 9000)
    signal[1, 4000] = value
    with pytest.raises(AudioError, match=r"vocals: .*not finite"):
        spectrograms({"vocals": signal}, rate_hz=RATE_HZ, path=tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_or_in_the_way_is_named(tmp_path: Path) -> None:
    signals = {"a": _noise(1, 100)}
    with pytest.raises(AudioError, match="make it first"):
        spectrograms(signals, rate_hz=8000, path=tmp_path / "no" / "a.png")
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(AudioError, match="cannot be written"):
            spectrograms(signals, rate_hz=8000, path=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_failed_drawing_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(_: Figure, name: Path, **__: object) -> None:
        Path(name).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(AudioError, match="No space left"):
        spectrograms({"a": _noise(1, 100)}, rate_hz=8000, path=path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_importing_viso_loads_no_matplotlib_and_drawing_loads_no_pyplot() -> None:
    code = (
        "import sys, viso; assert 'matplotlib' not in sys.modules\n"
        "import viso.reports.plots; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_confidence_is_drawn_below_on_the_same_seconds() -> None:
    seconds = [Second(30.0, 5.0, 12.0), Second(31.0, -40.0, float("nan")), Second(32.0, 60.0, 8.0)]
    signals = {"mixture": _noise(2, 3 * RATE_HZ), "vocals": _noise(2, 3 * RATE_HZ)}
    figure = _figure(signals, start_s=30.0, confidence=seconds)
    mixture, vocals, strip = figure.axes[:3]
    assert strip.get_xlim() == mixture.get_xlim() == vocals.get_xlim() == (30.0, 33.0)
    assert strip.get_ylim() == plots.SDR_RANGE_DB
    assert mixture.get_ylim() == vocals.get_ylim() != strip.get_ylim()
    first, second = (patch.get_data() for patch in strip.patches)
    assert first.edges.tolist() == [30.0, 31.0, 32.0, 33.0]
    assert first.values.tolist() == [5.0, -10.0, 30.0]
    assert second.values[0] == 12.0
    assert np.isnan(second.values[1])
    assert [text.get_text() for text in strip.get_legend().get_texts()] == [
        "vocals",
        "instrumental",
    ]
    assert strip.get_xlabel()
    assert not vocals.get_xlabel()


def test_a_picture_with_confidence(tmp_path: Path) -> None:
    seconds = [Second(0.0, 1.0, 2.0)]
    path = tmp_path / "a.png"
    spectrograms({"x": _noise(1, 9000)}, rate_hz=RATE_HZ, path=path, confidence=seconds)
    assert imread(path).shape[0] > 410
