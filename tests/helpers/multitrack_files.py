"""Files with several audio tracks, as films and MUSDB18's songs are, made through PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ = 44_100


def encode_tracks(
    path: Path, sounds: Sequence[Any], *, codec: str = "aac", form: str = "mp4"
) -> Path:
    """Write one track for each array [shape=(1 or 2, n)], their packets interleaved."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as container:
        streams: list[Any] = [container.add_stream(codec, rate=RATE_HZ) for _ in sounds]
        for stream, audio in zip(streams, sounds, strict=True):
            stream.layout = ("mono", "stereo")[len(audio) - 1]
            stream.bit_rate = 128_000 * len(audio)
        for start in range(0, max(s.shape[1] for s in sounds), 1024):
            for stream, audio in zip(streams, sounds, strict=True):
                packed = np.ascontiguousarray(audio[:, start : start + 1024].T).reshape(1, -1)
                if packed.size:
                    layout = ("mono", "stereo")[len(audio) - 1]
                    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
                    frame.sample_rate, frame.pts = RATE_HZ, start
                    frame.time_base = Fraction(1, RATE_HZ)
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path
