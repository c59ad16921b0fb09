"""bench/peers: its arithmetic, its table, and that time and memory are those of the child."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers.checkout import ROOT
from viso.audio import write

BENCH = ROOT / "bench"
sys.path.append(str(BENCH))

from peers.environments import ENVIRONMENTS, Location, packages_in, size_of  # noqa: E402
from peers.measuring import CommandError, measure, round_robin  # noqa: E402
from peers.scores import differences, medians, score, write_mixtures  # noqa: E402
from peers.systems import BASE, SYSTEMS  # noqa: E402
from peers.tables import (  # noqa: E402
    as_markdown,
    as_text,
    complete,
    ratios,
    read_json,
    summarise,
    write_json,
)

unix = pytest.mark.skipif(not hasattr(os, "wait4"), reason="the kernel says it only there")


def run(seconds, peak_bytes=1e8):
    return {"seconds": seconds, "busy_s": 1.5 * seconds, "peak_bytes": peak_bytes}


def record(name, seconds, *, scores=None, **more):
    runs = {"song": [run(s) for s in seconds], "second": [run(s / 10) for s in seconds]}
    told = {"name": name, "label": f"{name} | label", "notes": [f"{name} is noted"]}
    return {**told, "error": None, "runs": runs, "scores": scores, **more}


@pytest.fixture
def report():
    """viso, a peer without scores, and one that could not be installed."""
    base = {f"song {n}": {"vocals": 5.0 + n, "instrumental": 9.0 + n} for n in range(3)}
    machine = {"cpu": "a processor", "cores": 2, "load": 0.25, "limits": {}}
    sizes = {"installed_bytes": 100_000_000, "n_packages": 10, "weights_bytes": 5_000_000}
    failed = {**record("broken", []), "runs": {}, "error": "install: no such package"}
    systems = [
        record("viso", [8.0, 6.0, 7.0], scores=base, parameters=2_000_000, **sizes),
        record("slow", [70.0, 80.0, 60.0], parameters=8_000_000),
        failed,
    ]
    head = {"date": "2030-01-01T00:00:00+00:00", "machine": machine, "song_s": 280.0}
    return complete({**head, "repeats": 3, "systems": systems})


def test_systems_take_turns():
    assert list(round_robin(["a", "b", "c"], 2)) == [
        *[(0, "a"), (0, "b"), (0, "c")],
        *[(1, "a"), (1, "b"), (1, "c")],
    ]


def test_figures_are_medians_and_ratios_are_to_viso(report):
    viso, slow, broken = report["systems"]
    assert viso["figures"]["times_real_time"] == pytest.approx(40)
    assert viso["figures"]["real_time_factor"] == pytest.approx(1 / 40)
    assert viso["figures"]["start_up_s"] == pytest.approx(0.7)
    assert viso["figures"]["vocals_usdr"] == 6.0
    assert slow["ratio_to_viso"]["times_real_time"] == pytest.approx(0.1)
    assert slow["ratio_to_viso"]["parameters"] == 4
    assert "installed_bytes" not in slow["ratio_to_viso"]
    assert set(viso["ratio_to_viso"].values()) == {1.0}
    assert broken["figures"] == broken["ratio_to_viso"] == {}


def test_decibels_are_subtracted_song_by_song_and_never_divided():
    base = {"a": {"vocals": 1.0, "instrumental": 5.0}, "b": {"vocals": 9.0, "instrumental": 6.0}}
    other = {"a": {"vocals": 2.0, "instrumental": 4.0}, "b": {"vocals": 12.0, "instrumental": 3.0}}
    assert medians(other) == {"vocals": 7.0, "instrumental": 3.5}
    assert differences(other, base) == {"vocals": 2.0, "instrumental": -2.0}
    figures = summarise({"scores": other}, song_s=1.0)
    assert ratios(figures, figures) == {}


def test_table_has_a_row_for_each_system_and_says_what_failed(report):
    text = as_text(report)
    headings, viso, slow, broken, *below = text.splitlines()
    assert "times real time" in headings
    assert viso.split("label")[1].split()[:1] == ["40.0"]
    assert "4.0 (0.1x)" in slow
    assert broken.strip() == "broken | label"
    assert any("not measured (install: no such package)" in line for line in below)
    assert any("viso is noted" in line for line in below)
    assert "NOT A FAIR RUN" not in text


def test_limited_threads_are_said_below_the_table(report):
    report["machine"]["limits"] = {"OMP_NUM_THREADS": "1"}
    assert "NOT A FAIR RUN: OMP_NUM_THREADS=1" in as_markdown(report)


def test_markdown_rows_have_as_many_cells(report):
    table = [line for line in as_markdown(report).splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") for line in table]
    assert len(table) == 2 + len(report["systems"])
    assert len(set(cells)) == 1


def test_json_gives_back_the_report(report, tmp_path):
    path = tmp_path / "peers.json"
    path.write_text("an older one")
    write_json(report, path)
    again = read_json(path)
    assert again == report
    assert complete(again) == report
    assert [file.name for file in tmp_path.iterdir()] == ["peers.json"]


@unix
def test_time_and_memory_are_those_of_the_child():
    ours = b"1" * 400_000_000  # in this process: must not be counted
    script = "import time; x = b'1' * 200_000_000; time.sleep(0.3)"
    idle = measure([sys.executable, "-I", "-c", "pass"])
    busy = measure([sys.executable, "-I", "-c", script])
    assert idle.peak_bytes < 100e6
    assert 200e6 <= busy.peak_bytes - idle.peak_bytes + 2e6 < 210e6
    assert busy.seconds >= 0.3
    assert busy.busy_s < busy.seconds + 0.1
    assert len(ours) == 400_000_000


@unix
def test_largest_process_of_the_tree_counts():
    inner = "x = b'1' * 200_000_000"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert measure([sys.executable, "-I", "-c", script]).peak_bytes > 200e6


@unix
def test_command_that_fails_says_how():
    with pytest.raises(CommandError, match="ended with 3: no such thing"):
        measure([sys.executable, "-I", "-c", "print('no such thing'); raise SystemExit(3)"])
    with pytest.raises(CommandError, match="nobody did not start"):
        measure(["/nonexistent/nobody"])


def test_commands_name_only_what_there_is(tmp_path):
    place = Location(tmp_path / "work", tmp_path / "viso")
    assert SYSTEMS[0].name == BASE
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)
    for system in SYSTEMS:
        assert {system.environment, *system.makers} <= set(ENVIRONMENTS)
        for words in (system.separate, system.many, system.facts, *system.makes):
            filled = place.fill(words, song="song.flac", out="out")
            assert not any("{" in word for word in filled)
    told = place.without_folders(f"{tmp_path}/work/viso/bin/viso: {tmp_path}/viso/pyproject.toml")
    assert told == "WORK/viso/bin/viso: CHECKOUT/pyproject.toml"


def test_what_installs_is_not_counted(tmp_path):
    for name, n_bytes in {"pip": 1_000, "pip-23.0.dist-info": 100, "thing": 7}.items():
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_bytes(bytes(n_bytes))
    for name in ("pip-23.0", "thing-1.2"):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir(exist_ok=True)
        package, _, version = name.partition("-")
        text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        (folder / "METADATA").write_text(text)
    assert packages_in(tmp_path) == {"thing": "1.2"}
    assert size_of(tmp_path) == 7 + len("Metadata-Version: 2.1\nName: thing\nVersion: 1.2\n")


def test_scores_are_of_the_vocals_and_of_what_they_leave(tmp_path):
    random = np.random.default_rng(0)
    stems = {name: random.normal(0, 0.1, (2, 4_410)).astype(np.float32) for name in ("vocals", "x")}
    for name, audio in stems.items():
        (tmp_path / "songs" / "A - b.c").mkdir(parents=True, exist_ok=True)
        path = tmp_path / "songs" / "A - b.c" / f"{name}.wav"
        write(path, audio, rate_hz=44_100, bit_depth="float")
    mixtures = write_mixtures(tmp_path / "songs", tmp_path / "mixtures")
    assert [path.name for path in mixtures] == ["A - b.c.wav"]
    found = tmp_path / "found" / "A - b.c"
    found.mkdir(parents=True)
    write(found / "vocals.wav", stems["vocals"] * 0.9, rate_hz=44_100, bit_depth="float")
    scores = score(tmp_path / "songs", tmp_path / "found")["A - b.c"]
    assert scores["vocals"] == pytest.approx(20, abs=1e-3)
    louder = 10 * np.log10(np.sum(stems["x"] ** 2) / np.sum(stems["vocals"] ** 2))
    assert scores["instrumental"] == pytest.approx(20 + louder, abs=1e-2)
    write(found / "vocals.wav", stems["vocals"][:, 1:], rate_hz=44_100, bit_depth="float")
    with pytest.raises(CommandError, match="vocals of"):
        score(tmp_path / "songs", tmp_path / "found")


def test_program_prints_an_earlier_table_and_refuses_limits(report, tmp_path):
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(report))
    words = [sys.executable, str(BENCH / "peers")]
    told = subprocess.run(
        [*words, "--table", str(path), "--markdown"], capture_output=True, text=True, check=True
    )
    assert told.stdout == as_markdown(report) + "\n"
    limited = {**os.environ, "OMP_NUM_THREADS": "1"}
    refused = subprocess.run(words, capture_output=True, text=True, env=limited, check=False)
    assert refused.returncode == 2
    assert "OMP_NUM_THREADS is set" in refused.stderr
