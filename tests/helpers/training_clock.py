"""A clock that only training moves, so that what depends on time comes out the same every time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from viso.models.onnx import Model
from viso.train.data.batches import Batches
from viso.train.data.mixer import Batch
from viso.train.run import supervisor
from viso.train.run.validation import Judge

VALIDATION_S = 3.0


def move_by_work(put: Callable[[Any, str, Any], None] = setattr) -> SimpleNamespace:
    """Let a step take one second, a validation three and all else no time.

    `put` replaces an attribute, as `setattr` and pytest's `monkeypatch.setattr` do. The
    clock's ``now`` may be moved on by hand.
    """
    clock = SimpleNamespace(now=1000.0)
    draw, score = Batches.draw, Judge.score

    def slow_draw(self: Batches, step: int) -> Batch:
        clock.now += 1.0
        return draw(self, step)

    def slow_score(self: Judge, model: Model) -> float | None:
        clock.now += VALIDATION_S
        return score(self, model)

    def look() -> float:
        now: float = clock.now
        return now

    put(Batches, "draw", slow_draw)
    put(Judge, "score", slow_score)
    put(supervisor, "time", SimpleNamespace(monotonic=look, perf_counter=look))
    return clock
