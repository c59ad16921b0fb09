"""The module that Lightning trains: a network, its objective, the optimiser, averaged weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from viso.train.data.batches import seed_of
from viso.train.data.mixer import Batch
from viso.train.networks import Network, build_network, load_weights
from viso.train.networks.tfc_tdf import TfcTdf
from viso.train.objectives.objective import build_first_objective, build_objective
from viso.train.recipe import Recipe
from viso.train.run.muon import Muon

__all__ = ["Average", "Learner"]

_DROPOUT = 1  # makes its seeds differ from those of the batches
_LOWEST_RATE = 0.02  # share of the recipe's learning rate at the end of the cosine


class Learner(LightningModule):
    """The network of a recipe with the objective of that recipe.

    Parameters
    ----------
    recipe : Recipe

    Attributes
    ----------
    network : Network
    first_part : float
        Share of the run in which the network has another task (see `build_first_objective`).
    done : float
        Share of the run that is done, 0 to 1; the supervisor updates it.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        network: Any = build_network(recipe)
        if recipe.start_from is not None:
            load_weights(network, Path(recipe.start_from))
        if not isinstance(network, TfcTdf):
            # Not for TfcTdf: at every layer its instance norm would copy channels-last tensors.
            network = network.to(memory_format=torch.channels_last)
        self.network: Network = network
        self.objective = build_objective(recipe)
        first, self.first_part = build_first_objective(recipe)
        self.first_objective = self.objective if first is None else first
        self.done = 0.0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        # Dropout uses torch's global generator: seed it by the step, for an exact resume.
        torch.manual_seed(seed_of(self.recipe.seed, self.global_step, self.global_rank, _DROPOUT))
        objective = self.first_objective if self.is_beginning else self.objective
        loss: Tensor = objective(self.network, batch)
        return loss

    @property
    def is_beginning(self) -> bool:
        """Whether the network still has its first task, which gives no mask."""
        return self.done < self.first_part

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the recipe's optimiser with its settings."""
        schedule = self.recipe.schedule
        kind: type[torch.optim.AdamW] = Muon if schedule.optimiser == "muon" else torch.optim.AdamW
        return kind(
            self.network.parameters(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        rate = self.recipe.schedule.learning_rate * self.rate_factor()
        for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
            group["lr"] = rate

    def rate_factor(self) -> float:
        """Return the learning rate as a share of the recipe's: a ramp, then half a cosine."""
        schedule = self.recipe.schedule
        rise = (self.global_step + 1) / max(1, schedule.warmup_steps)
        if schedule.steps is None:
            # In a short run by the clock, the ramp takes at most a tenth of the time.
            rise = max(rise, 10 * self.done)
        if rise < 1:
            return rise
        ramp = schedule.warmup_steps / schedule.steps if schedule.steps else 0.0
        part = min(1.0, max(0.0, (self.done - ramp) / max(1e-9, 1 - ramp)))
        return _LOWEST_RATE + (1 - _LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * part))


class Average(WeightAveraging):
    """Exponential moving average of the weights: quick at first, slower as the run goes on.

    Parameters
    ----------
    keep : float
        Largest share of the old average that is kept in a step.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        super().__init__(multi_avg_fn=self._mix)

    def setup(self, trainer: LightningTrainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            # It is read after every step; on a GPU each read would wait for the card.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def _mix(self, averages: list[Tensor], values: list[Tensor], _count: Tensor | int) -> None:
        """Move averages of one data type towards the new values."""
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        count = self._latest_update_step
        kept = min(self._keep, (1 + count) / (10 + count))
        torch._foreach_lerp_(averages, values, 1 - kept)

    @property
    def network(self) -> Network:
        """The network with averaged weights, set to evaluation."""
        if self._average_model is None:
            raise AssertionError("asked for the average before the fit began")
        learner: Any = self._average_model.module
        network: nn.Module = learner.network
        return cast(Network, network.eval())
