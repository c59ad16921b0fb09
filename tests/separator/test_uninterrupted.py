"""Signals wait where half a step would be worse than none."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import viso.separator.stem_files
from helpers.small_models import song
from viso.audio import AudioWriter, write
from viso.separator import Separator
from viso.separator.uninterrupted import uninterrupted


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    # A shell lets what it starts in the background ignore SIGINT, these tests perhaps.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_comes_when_the_step_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted(), uninterrupted():
        interrupt()
        done.append("step")
    assert done == ["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_happens() -> None:
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_step_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="mine"), uninterrupted():
        raise ValueError("mine")


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_may_use_it() -> None:
    entered = []

    def step() -> None:
        with uninterrupted():
            entered.append(True)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert entered == [True]


@pytest.mark.parametrize("method", ["__init__", "write", "finish", "commit", "abort"])
def test_ctrl_c_in_the_middle_of_a_file_leaves_nothing(
    tmp_path: Path, mask_model: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Whatever the writers are doing: all files or none, no hidden file, no folder."""

    made: list[AudioWriter] = []

    class Interrupted(AudioWriter):
        def __init__(self, *values: Any, **settings: Any) -> None:
            made.append(self)
            super().__init__(*values, **settings)

    def interrupting(self: AudioWriter, *values: object, **settings: object) -> None:
        if threading.current_thread() is threading.main_thread():
            interrupt()
        elif made[2:3] == [self]:  # written again with a gain, while the main thread waits
            _thread.interrupt_main()
        getattr(AudioWriter, method)(self, *values, **settings)
        if method == "__init__":
            interrupt()

    setattr(Interrupted, method, interrupting)
    monkeypatch.setattr(viso.separator.stem_files, "AudioWriter", Interrupted)
    write(tmp_path / "song.wav", song(2, 90_000, level=4.0), rate_hz=44_100, bit_depth="float")
    before = sorted(tmp_path.rglob("*"))
    targets = {name: tmp_path / f"new/folder/{name}.wav" for name in ("vocals", "instrumental")}
    steps = Separator(mask_model).to_files(tmp_path / "song.wav", targets, bit_depth="16")
    with pytest.raises(KeyboardInterrupt):
        for _ in steps:
            if method == "abort":
                steps.close()  # type: ignore[attr-defined]
    if method == "commit":
        assert all(path.is_file() for path in targets.values())
        assert len(list((tmp_path / "new/folder").iterdir())) == 2
    else:
        assert sorted(tmp_path.rglob("*")) == before
