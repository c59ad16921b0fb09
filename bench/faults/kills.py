"""Faults of processes and of the clock: kills, hangs, jumps, two batches at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from faults.scene import Fault, Scene, nothing

__all__ = ["FAULTS", "KILLS", "has_open"]

_PATIENCE_S = 8.0
_DAY_S = 86_400

_CLOCK = """
import os, time
real = time.time
def moved():
    try:
        with open(os.environ["FAULTS_CLOCK"]) as file:
            return real() + float(file.read() or 0)
    except (OSError, ValueError):
        return real()
time.time = moved
time.time_ns = lambda: int(moved() * 1e9)
"""


def has_open(pid: int, folder: Path) -> str:
    """Return the name of the file of a folder that a process has open, if it has one."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = Path(entry.path).readlink()
                if path.parent == folder:
                    return path.name
    return ""


def _kill_coordinator(scene: Scene) -> bool:
    in_time = scene.wait_for_moment()
    scene.batch.process.kill()
    return in_time


def _kill_group(scene: Scene) -> bool:
    in_time = scene.wait_for_moment()
    scene.batch.kill_all()
    return in_time


def _kill_worker(scene: Scene) -> bool:
    if not (scene.wait_for_moment() and scene.wait_until(scene.batch.workers)):
        return False
    pid = scene.random.choice(scene.batch.workers() or [0])
    if not pid:
        return False
    # Unfinished files tell that it was at a song.
    is_busy = any(scene.out.rglob(f".viso-{pid}-*"))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    scene.n_begun += is_busy
    return True


def _stop_worker(scene: Scene) -> bool:
    for pid in iter(lambda: _reader(scene), 0):
        if pid is None:
            return False
        os.kill(pid, signal.SIGSTOP)
        # Between the look and the stop it may have ended the song.
        if has_open(pid, scene.archive.songs):
            return True
        os.kill(pid, signal.SIGCONT)
    return False


def _reader(scene: Scene) -> int | None:
    """Return a worker that has a song open; None if the batch has ended."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [p for p in scene.batch.workers() if has_open(p, scene.archive.songs)]
        return bool(found)

    return found[0] if scene.wait_until(look) and found else None


def _both_end(_: Scene) -> bool:
    return True


def _clock(scene: Scene) -> Path:
    return scene.archive.folder / "clock"


def _set_clock(scene: Scene) -> None:
    _clock(scene).mkdir(exist_ok=True)
    (_clock(scene) / "sitecustomize.py").write_text(_CLOCK)
    (_clock(scene) / "offset").write_text("0")


def _clock_settings(scene: Scene) -> dict[str, str]:
    paths = [str(_clock(scene)), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "FAULTS_CLOCK": str(_clock(scene) / "offset"),
    }


def _jump(scene: Scene, seconds: float) -> bool:
    in_time = scene.wait_for_moment()
    new = _clock(scene) / "new"
    new.write_text(str(seconds))
    new.replace(_clock(scene) / "offset")
    return in_time


def _jumping(name: str, seconds: float, n_batches: int = 1) -> Fault:
    return Fault(
        name,
        lambda scene: _jump(scene, seconds),
        prepare=_set_clock,
        mend=nothing,
        settings=_clock_settings,
        n_batches=n_batches,
    )


KILLS = (
    Fault("kill -9 of the coordinator", _kill_coordinator),
    Fault("kill -9 of a worker", _kill_worker),
    Fault("kill -9 of the whole process group", _kill_group),
)

FAULTS = (
    Fault(
        f"a worker hangs (SIGSTOP; patience {_PATIENCE_S:g} s instead of 600)",
        _stop_worker,
        prelude=(
            "from viso.batch.local import LocalEngine; "
            f"LocalEngine.__init__.__kwdefaults__['patience_s'] = {_PATIENCE_S}; "
        ),
    ),
    _jumping("clock a day forward", _DAY_S),
    _jumping("clock a day back", -_DAY_S),
    Fault("two batches at once", _both_end, n_batches=2),
    Fault("two batches at once, kill -9 of one", _kill_group, n_batches=2),
    _jumping("two batches at once, clock a day forward", _DAY_S, 2),
    _jumping("two batches at once, clock a day back", -_DAY_S, 2),
)
