"""Batches for Lightning, drawn on the training device, and a stopwatch for drawing and steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from viso.train.data.corpus import Corpus
from viso.train.data.decimate import Decimator
from viso.train.data.mixer import Batch, Mixer
from viso.train.recipe import Recipe

__all__ = ["Batches", "Stopwatch", "seed_of"]

_PAUSE = "pause"


def seed_of(*facts: int) -> int:
    """Return a seed made from several numbers, such as the recipe's seed, step and process.

    Generators on the CPU use 32 bits of a seed: sums and products of the numbers would collide.
    """
    return int(np.random.SeedSequence(facts).generate_state(1, np.uint32)[0])


class Stopwatch:
    """Measures the shares of time of drawing batches, of steps, and of neither.

    On a GPU the marks are events in its own queue, so they measure the GPU's time, not the time
    that Python takes to fill the queue.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, float | torch.cuda.Event]] = []

    def mark(self, name: str) -> None:
        """Record that the work called `name` ends here ('draw', 'step', or 'wait' for neither)."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))

    def shares(self) -> dict[str, float]:
        """Return each name's share of the time between the marks, and start over."""
        marks, self._marks = self._marks, self._marks[-1:]
        if self._cuda:
            torch.cuda.synchronize()
        spent: dict[str, float] = {}
        for (_, before), (name, now) in pairwise(marks):
            if name == _PAUSE:
                continue
            if isinstance(now, float) and isinstance(before, float):
                took = now - before
            else:
                took = before.elapsed_time(now)  # type: ignore[union-attr, arg-type]
            spent[name] = spent.get(name, 0.0) + took
        whole = sum(spent.values())
        return {name: took / whole for name, took in spent.items()} if whole else {}

    def forget(self) -> None:
        """Leave out the time since the last mark."""
        if self._marks:
            self.mark(_PAUSE)


class _Drawn(IterableDataset[Batch]):
    """Endless batches; the step seeds each batch, so a resumed run draws the same batches."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        trainer = self._batches.trainer
        step = 0 if trainer is None else trainer.global_step
        while True:
            yield self._batches.draw(step)
            step += 1


class Batches(LightningDataModule):
    """Draws the mixtures of a recipe from a corpus.

    Parameters
    ----------
    recipe : Recipe
    corpus : Corpus
        On a GPU the whole corpus is copied to the card once.
    """

    def __init__(self, recipe: Recipe, corpus: Corpus) -> None:
        super().__init__()
        self.recipe, self.corpus = recipe, corpus
        self.mixer: Mixer | None = None

    def setup(self, stage: str) -> None:
        """Move the recordings to the device.

        Raises
        ------
        DataError
            See `Mixer`.
        """
        if self.trainer is None:
            raise AssertionError("a trainer calls this")
        self._rank = self.trainer.global_rank
        self._share = self.recipe.schedule.batch // self.trainer.world_size
        self.prepare(self.trainer.strategy.root_device)

    def prepare(self, device: torch.device) -> Mixer:
        """Return the mixer on this device; the first call makes it."""
        if self.mixer is None:
            recipe = self.recipe
            self._decimate = Decimator(self.corpus.rate_hz, recipe.spectral.rate_hz).to(device)
            n_samples = (recipe.network.chunk_frames - 1) * recipe.spectral.hop
            n_samples *= self._decimate.factor
            self.mixer = Mixer(self.corpus, recipe.mixing, n_samples=n_samples, device=device)
            self.stopwatch = Stopwatch(device)
            self._generator = torch.Generator(device)
        return self.mixer

    def draw(self, step: int) -> Batch:
        """Return this process's share of the batch of a step."""
        if self.mixer is None:
            raise AssertionError("not set up")
        self.stopwatch.mark("wait")
        self._generator.manual_seed(seed_of(self.recipe.seed, step, self._rank))
        batch: Batch = self._decimate(self.mixer.draw(self._share, self._generator))
        self.stopwatch.mark("draw")
        return batch

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the endless batches; this process draws them, on a GPU with the card itself."""
        return DataLoader(_Drawn(self), batch_size=None, num_workers=0)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Return the batch unchanged: it is already on the device."""
        return batch
