"""Reads damaged files, one after the other, and says what came of each; see `bench/fuzz.py`.

    python -m fuzzing.child FOLDER SEED

takes lines with the number of an input and answers each with a line of JSON.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.mutations import make_input
from fuzzing.seeds import make_seeds
from viso.audio import copy_tags, open_audio, read_cover, read_tags
from viso.errors import AudioError, VisoError

__all__ = ["examine"]

_LONGEST = 2_000_000  # values: what goes on is sound, and need not be heard to its end


def examine(path: Path, *, target: Path | None = None) -> dict[str, Any]:
    """Read a file's sound, tags and cover.

    Parameters
    ----------
    path : Path
    target : Path, optional
        A whole WAV file that gets the tags.

    Returns
    -------
    dict
        `outcome`: "sound", "sound, not to its end", "refused" or "other"; `detail`: the message,
        or, of an error that is not ours, where it comes from.
    """
    outcome, detail = _outcome_of(lambda: _decode(path))
    for step in (read_tags, read_cover, lambda song: target and copy_tags(song, target)):
        found, why = _outcome_of(lambda step=step: [step(path), "tags"][1])
        if found == "other":
            outcome, detail = found, why
    return {"outcome": outcome, "detail": detail}


def _outcome_of(action: Callable[[], str]) -> tuple[str, str]:
    try:
        return action(), ""
    except VisoError as error:
        message = str(error)
        is_one_line = isinstance(error, AudioError) and message and "\n" not in message
        return ("refused" if is_one_line else "other"), message
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return "other", "".join(traceback.format_exception(error)[-3:])


def _decode(path: Path) -> str:
    n_values = 0
    with open_audio(path) as song:
        if not (song.rate_hz > 0 and song.n_channels > 0):
            raise AssertionError(f"{song.rate_hz} Hz, {song.n_channels} channels")
        for block in song.blocks():
            if block.shape[0] != song.n_channels or block.dtype != np.float32 or not block.size:
                raise AssertionError(f"a block of shape {block.shape}")
            n_values += block.size
            if n_values > _LONGEST:
                return "sound, not to its end"
    return "sound"


def _peak_mb() -> float:
    """Largest memory since the last call, where the kernel says it."""
    try:
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0.0
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Answer the parent until it has no more numbers."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    out = os.fdopen(os.dup(1), "w")  # decoders print to the usual place
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faulthandler.enable()
    seeds, target = make_seeds(), folder / "target.wav"
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        index = int(line)
        name, data = make_input(seeds, index, seed=seed)
        path = folder / f"input{Path(name).suffix}"
        path.write_bytes(data)
        if index % 10 == 0:
            target.write_bytes(seeds["wav-1.wav"])
        _peak_mb()
        began, busy = time.monotonic(), time.process_time()
        found = examine(path, target=target if index % 10 == 0 else None)
        found |= {"index": index, "name": name, "wall_s": time.monotonic() - began}
        found |= {"busy_s": time.process_time() - busy, "peak_mb": _peak_mb()}
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()
