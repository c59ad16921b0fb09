"""Archives of small songs, and an engine that needs no processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from helpers.small_models import song
from viso import batch
from viso.audio import read, write
from viso.batch.protocol import Died, Event, Order
from viso.batch.worker import separate_order


class InlineEngine:
    """Separates in the test's own process; `dies` is asked before each try."""

    def __init__(
        self, config: batch.SeparationConfig, *, dies: Callable[[Order], bool] = lambda _: False
    ) -> None:
        self.n_jobs = 2
        self.pids: Sequence[int] = []
        self.tried: list[str] = []
        self.is_stopped = False
        self._config, self._dies = config, dies
        self._separator = config.separator(threads=1)
        self._orders: list[Order] = []

    def submit(self, order: Order) -> None:
        assert len(self._orders) < self.n_jobs
        self._orders.append(order)

    def events(self, *, timeout_s: float) -> list[Event]:
        if not self._orders:
            return []
        order = self._orders.pop(0)
        self.tried.append(order.song.name)
        if self._dies(order):
            return [Died(order.number, "SIGKILL")]
        return list(separate_order(self._separator, self._config, order))

    def stop(self) -> None:
        self.is_stopped = True


class Archive:
    """A folder of songs, and what batches make of it."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.out = folder / "archive", folder / "out"
        self.folder.mkdir()
        self.model = str(model)
        self.config = batch.SeparationConfig(model=self.model, format="flac", bit_depth="16")

    def add(self, name: str, *, n_samples: int = 20_000, seed: int | None = None) -> Path:
        """Make a song; the sound hangs on the name if no seed is said."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(name.encode("utf-8", "surrogateescape")) if seed is None else seed
        # The name is for the file system alone, the suffix for the encoder.
        write(self.folder / f"x{path.suffix}", song(2, n_samples, seed=seed), rate_hz=44_100)
        (self.folder / f"x{path.suffix}").replace(path)
        return path

    def plan(self, *inputs: Path, **how: object) -> batch.Plan:
        config = how.pop("config", self.config)
        return batch.plan(
            inputs or [self.folder], self.out, config=config, **{"recursive": True, **how}
        )  # type: ignore[arg-type]

    def engine(self) -> InlineEngine:
        """An engine for these songs."""
        return InlineEngine(self.config)

    def run(
        self, plan: batch.Plan | None = None, *, overwrite: bool = False, **how: object
    ) -> tuple[dict[str, batch.Result], InlineEngine]:
        """Carry out a plan in this process; return results by path below the archive."""
        plan = plan or self.plan()
        engine = InlineEngine(plan.config, **how)  # type: ignore[arg-type]
        found = {}
        for progress in batch.run(plan, overwrite=overwrite, engine=engine):
            if progress.result is not None:
                found[progress.result.song.relative_to(self.folder).as_posix()] = progress.result
        assert engine.is_stopped
        return found, engine

    def stems(self) -> set[str]:
        """All files below the output folder but the manifest."""
        files = (path for path in self.out.rglob("*") if path.is_file())
        return {p.relative_to(self.out).as_posix() for p in files} - {"viso-batch.sqlite"}

    def is_whole(self, song: Path, name: str) -> bool:
        """Tell whether the stems of this name add up to a song."""
        parts = [read(self.out / name / f"{stem}.flac")[0] for stem in ("vocals", "instrumental")]
        return bool(np.abs(parts[0] + parts[1] - read(song)[0]).max() < 1e-4)
