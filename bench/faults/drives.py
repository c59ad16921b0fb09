"""Faults of files and drives: full, gone, cut short, forbidden."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Callable

from faults.kills import has_open
from faults.scene import Fault, Scene

__all__ = ["FAULTS", "can_mount"]

_PR_CAPBSET_DROP = 24
_CAPABILITIES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: to pass over permissions


def can_mount() -> bool:
    """Tell whether this account may mount a file system."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def _mount_small(scene: Scene) -> None:
    scene.out.mkdir()
    size = round(scene.archive.n_bytes * scene.random.uniform(0.1, 0.9))
    _mount("tmpfs", "-t", "tmpfs", "-o", f"size={size}", scene=scene)


def _mount(*words: str, scene: Scene) -> None:
    result = subprocess.run(["mount", *words, str(scene.out)], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"mount: {result.stderr.strip()}; leave this fault out with --leave-out")


def _is_over(scene: Scene) -> bool:
    return scene.batch.wait().code != 0


def _limit_files(scene: Scene) -> Callable[[], None]:
    size = round(scene.random.uniform(0.1, 0.5) * scene.archive.n_bytes / scene.archive.n_songs)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, 100_000), hard))


def _song_being_read(scene: Scene) -> str:
    """Wait until a worker has a song open, and return its name; "" if that was missed."""
    found = [""]

    def look() -> str:
        found[0] = next(filter(None, (has_open(p, scene.archive.songs) for p in workers)), "")
        return found[0]

    scene.wait_for_moment()
    scene.wait_until(scene.batch.workers)
    workers = scene.batch.workers()
    return found[0] if scene.wait_until(look) else ""


def _delete_song(scene: Scene) -> bool:
    if name := _song_being_read(scene):
        (scene.archive.songs / name).unlink()
    return bool(name)


def _cut_song(scene: Scene) -> bool:
    if name := _song_being_read(scene):
        path = scene.archive.songs / name
        os.truncate(path, path.stat().st_size // 2)
    return bool(name)


def _remove_out(scene: Scene) -> bool:
    in_time = scene.wait_for_moment() and scene.wait_until(scene.out.exists)
    for _ in range(100):  # files may come while it is removed
        shutil.rmtree(scene.out, ignore_errors=True)
        if not scene.out.exists():
            break
    return in_time


def _mind_permissions(_: Scene) -> Callable[[], None] | None:
    """Have root mind permissions as everybody does: without two of its capabilities."""
    if os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None)

    def drop() -> None:
        for capability in _CAPABILITIES:
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                os._exit(99)

    return drop


def _close_out(scene: Scene) -> bool:
    in_time = scene.wait_for_moment() and scene.wait_until(scene.out.exists)
    _set_modes(scene, 0o500)
    return in_time


def _open_out(scene: Scene) -> None:
    _set_modes(scene, 0o755)


def _set_modes(scene: Scene, mode: int) -> None:
    for path in (scene.out, *scene.out.rglob("*")):
        if path.is_dir():
            path.chmod(mode)


def _close_songs(scene: Scene) -> bool:
    in_time = scene.wait_for_moment()
    for path in scene.archive.songs.iterdir():
        path.chmod(0)
    return in_time


def _restore(scene: Scene) -> None:
    scene.archive.restore()


FAULTS = (
    Fault(
        "disk full (tmpfs of 10 to 90 % of the stems)",
        _is_over,
        prepare=_mount_small,
        mend=lambda scene: _mount("-o", "remount,size=1g", scene=scene),
        clear=lambda scene: subprocess.run(["umount", "-l", str(scene.out)], check=True) and None,
    ),
    Fault("files may not grow (RLIMIT_FSIZE)", _is_over, before=_limit_files),
    Fault("song deleted while it is read", _delete_song, mend=_restore),
    Fault("song cut to a half while it is read", _cut_song, mend=_restore),
    Fault("output folder removed", _remove_out),
    Fault(
        "output folder may not be written any more",
        _close_out,
        before=_mind_permissions,
        mend=_open_out,
    ),
    Fault("songs may not be read any more", _close_songs, before=_mind_permissions, mend=_restore),
)
