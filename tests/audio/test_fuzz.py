"""Damaged files by the thousand: always sound or an AudioError, in little time and memory."""

from __future__ import annotations

import sys

import pytest

from helpers.checkout import ROOT

BENCH = ROOT / "bench"
sys.path.append(str(BENCH))

from fuzzing.mutations import make_input  # noqa: E402
from fuzzing.seeds import KINDS, make_seeds  # noqa: E402
from fuzzing.watching import LONGEST_S, MOST_MB, Findings, fuzz  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells memory and time")


def found_in(inputs, *, seed):
    findings = Findings()
    for found in fuzz(inputs, seed=seed):
        findings.add(found)
    return findings


def test_some_damaged_files():
    findings = found_in(range(560), seed=1)
    assert not findings.bad, findings.bad
    assert findings.counts.total() == 560
    assert {kind for kind, _ in findings.counts} > set(KINDS)
    outcomes = {outcome for _, outcome in findings.counts}
    assert {"sound", "refused"} <= outcomes


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_very_many_damaged_files():
    findings = found_in(range(20_000), seed=2)
    assert not findings.bad, findings.bad
    assert findings.slowest["busy_s"] < LONGEST_S
    assert findings.largest["peak_mb"] < MOST_MB


def test_the_same_numbers_make_the_same_files():
    first, second = make_seeds(), make_seeds()
    assert first == second
    made = [make_input(first, index, seed=5) for index in range(100)]
    assert made == [make_input(second, index, seed=5) for index in range(100)]
    assert len({data for _, data in made}) > 95


CHILD = """
import json, os, sys, time
print("ready", flush=True)
kept = []
for line in sys.stdin:
    match int(line):
        case 1: os.abort()
        case 2:
            while True: pass
        case 3:
            kept.extend(bytearray(b"x" * 10_000_000) for _ in range(15))
            time.sleep(1000)
        case 4: time.sleep(1000)
    about = {"index": int(line), "name": "wav-1.wav", "busy_s": 0.0, "peak_mb": 1.0}
    print(json.dumps({"outcome": "other" if line == "5\\n" else "sound", "detail": "", **about}))
    sys.stdout.flush()
"""


def test_what_must_not_be_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "dying.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    findings = Findings()
    for found in fuzz(range(7), module="dying", longest_s=0.4, most_mb=100):
        findings.add(found)
    told = [(one["index"], one["outcome"]) for one in findings.bad]
    assert told == [(1, "crash"), (2, "hang"), (3, "memory"), (4, "hang"), (5, "other")]
    assert findings.counts.total() == 7
    assert "other" in findings.table()
    findings.add({"outcome": "sound", "name": "wav-1.wav", "busy_s": 0.0, "peak_mb": 2 * MOST_MB})
    findings.add({"outcome": "sound", "name": "wav-1.wav", "busy_s": 11.0, "peak_mb": 1.0})
    assert [one["outcome"] for one in findings.bad[-2:]] == ["memory", "hang"]
