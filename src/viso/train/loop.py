"""The training loop: draw, step, average, validate, save; exact resume."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import nn

from viso.errors import ConfigError, DataError
from viso.train.corpus import Corpus
from viso.train.mixer import Mixer
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.objective import Objective
from viso.train.recipe import Recipe
from viso.train.validation import TorchModel, score

__all__ = ["Progress", "TorchModel", "Trainer"]

_COLUMNS = ["step", "loss", "audio_hours", "hours", "valid_usdr_db"]


@dataclass(frozen=True)
class Progress:
    """What the loop yields now and then; `usdr_db` only after a validation."""

    step: int
    loss: float
    audio_hours: float
    hours: float
    usdr_db: float | None = None


class Trainer:
    """One training run in one folder.

    The folder holds ``recipe.toml``, ``log.csv``, ``last.pt`` (all that a resume needs) and
    ``best.pt`` (averaged weights with the highest validation score).

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Created if missing. If it holds ``last.pt``, the run goes on from there.
    device : str
        A torch device.

    Raises
    ------
    DataError
        If the corpus is missing or does not fit the recipe.
    ConfigError
        If the folder belongs to another recipe.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, device: str = "cpu") -> None:
        self.recipe, self.folder, self.device = recipe, folder, torch.device(device)
        corpus = Corpus(Path(recipe.corpus))
        if corpus.rate_hz != recipe.spectral.rate_hz:
            raise DataError(
                f"{recipe.corpus}: packed at {corpus.rate_hz} Hz, "
                f"the recipe wants {recipe.spectral.rate_hz}"
            )
        self._corpus = corpus
        torch.manual_seed(recipe.seed)
        self.network = VisoCnn(recipe.network, recipe.spectral).to(self.device)
        self.average = VisoCnn(recipe.network, recipe.spectral).to(self.device).eval()
        self.average.load_state_dict(self.network.state_dict())
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.schedule.learning_rate,
            weight_decay=recipe.schedule.weight_decay,
        )
        self._generator = torch.Generator(self.device).manual_seed(recipe.seed)
        spectral = recipe.spectral
        self._mixer = Mixer(
            corpus,
            recipe.mixing,
            n_samples=(recipe.network.chunk_frames - 1) * spectral.hop,
            device=self.device,
        )
        self._objective = Objective(recipe, self.network)
        self.step, self.seconds, self.best_db = 0, 0.0, -math.inf
        # Only now: a recipe that cannot be run leaves no folder behind.
        self._claim_folder()
        if (folder / "last.pt").exists():
            self._resume()

    def _claim_folder(self) -> None:
        path = self.folder / "recipe.toml"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(self.recipe.to_toml(), encoding="utf-8")
        elif Recipe.from_toml(path) != self.recipe:
            raise ConfigError(f"{self.folder}: holds a run of another recipe; name a new folder")

    def run(self) -> Iterator[Progress]:
        """Train to the recipe's last step, yielding the state of things as it goes.

        A run that is complete yields nothing and changes nothing.
        """
        self._trim_log()
        schedule = self.recipe.schedule
        losses: list[float] = []
        began = time.monotonic() - self.seconds
        while self.step < schedule.steps:
            losses.append(self.train_step())
            self.seconds = time.monotonic() - began
            last = self.step == schedule.steps
            progress = None
            if self.step % schedule.validate_every == 0 or last:
                progress = self._log(losses, self._validate_and_keep())
            elif self.step % schedule.log_every == 0:
                progress = self._log(losses, None)
            if self.step % schedule.checkpoint_every == 0 or last:
                self._checkpoint()
            if progress is not None:
                losses = []
                yield progress

    def train_step(self) -> float:
        """Take one step; return its loss."""
        schedule = self.recipe.schedule
        batch = self._mixer.draw(schedule.batch, self._generator)
        # Dropout draws from torch's global generator: tie it to the step, for exact resume.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        self.network.train()
        loss = self._objective.loss(batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), schedule.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = schedule.learning_rate * self._rate_factor()
        self._optimiser.step()
        self.step += 1
        self._update_average()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(f"{self.folder}: loss is {value} at step {self.step}; lower the rate")
        return value

    def _rate_factor(self) -> float:
        schedule = self.recipe.schedule
        if self.step < schedule.warmup_steps:
            return (self.step + 1) / schedule.warmup_steps
        done = (self.step - schedule.warmup_steps) / max(1, schedule.steps - schedule.warmup_steps)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _update_average(self) -> None:
        # Young averages follow quickly, old ones slowly.
        keep = min(self.recipe.schedule.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            state = self.network.state_dict()
            for name, value in self.average.state_dict().items():
                if value.dtype.is_floating_point:
                    value.lerp_(state[name], 1 - keep)
                else:
                    value.copy_(state[name])

    def validate(self) -> float | None:
        """Return the averaged weights' score on the validation songs (see `validation.score`)."""
        card = self.recipe.card(parameters=self.average.count())
        return score(TorchModel(self.average, card, self.device), self._corpus)

    def _validate_and_keep(self) -> float | None:
        """Validate, and save the averaged weights if they are the best so far."""
        score_db = self.validate()
        # Without songs to judge by, the latest are the best.
        if score_db is None or score_db > self.best_db or not (self.folder / "best.pt").exists():
            self.best_db = self.best_db if score_db is None else score_db
            self._save(self.folder / "best.pt", {"network": self.average.state_dict()})
        return score_db

    def _log(self, losses: list[float], score_db: float | None) -> Progress:
        network = self.recipe.network
        chunk_s = network.chunk_frames * self.recipe.spectral.hop / self.recipe.spectral.rate_hz
        audio_hours = self.step * self.recipe.schedule.batch * chunk_s / 3600
        loss = float(np.mean(losses)) if losses else math.nan
        progress = Progress(self.step, loss, audio_hours, self.seconds / 3600, score_db)
        path = self.folder / "log.csv"
        is_new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(_COLUMNS)
            shown = "" if score_db is None else f"{score_db:.3f}"
            writer.writerow(
                [self.step, f"{loss:.6f}", f"{audio_hours:.3f}", f"{progress.hours:.4f}", shown]
            )
        return progress

    def _trim_log(self) -> None:
        """Drop the rows of steps that are about to be taken again."""
        path = self.folder / "log.csv"
        if not path.exists():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines[1:] if self._is_past(line)]
        if lines[1:] != kept:
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(b"".join(lines[:1] + kept))
            unfinished.replace(path)

    def _is_past(self, row: bytes) -> bool:
        step, _, rest = row.partition(b",")
        # A row cut short by a crash has no line end; it was not the last before a checkpoint.
        return step.isdigit() and int(step) <= self.step and rest.endswith(b"\n")

    def _checkpoint(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "best_db": self.best_db,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
        }
        self._save(self.folder / "last.pt", state)

    @staticmethod
    def _save(path: Path, state: dict[str, Any]) -> None:
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise DataError(f"{path}: damaged checkpoint, remove it to start again") from error
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.best_db = float(state["best_db"])
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"].cpu())
