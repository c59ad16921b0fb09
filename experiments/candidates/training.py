"""One run: a design, a budget of processor time, a score; it goes on where it was stopped."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from candidates.designs import FIRST, build, times_real_time
from candidates.shares import as_if_unheard, shared, songs_alone, training_songs
from viso.train.data.batches import seed_of
from viso.train.data.corpus import Corpus
from viso.train.data.decimate import Decimator
from viso.train.data.mixer import Batch, Mixer
from viso.train.objectives.objective import ResidualObjective
from viso.train.recipe import Recipe, VisoSettings
from viso.train.run.muon import Muon
from viso.train.run.validation import Judge, TorchModel

__all__ = ["Plan", "Record", "Training", "run"]

Record = dict[str, Any]

_RANK = 0
_DROPOUT = 1  # as `viso.train.run.learner` has them: the batches and the chance of a run of viso
_LOWEST_RATE = 0.02
_SAVE_EVERY_S = 30.0  # of processor time
_LAST_PART = 0.1  # of the steps, whose mean loss is noted
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """All that decides what a run learns.

    `recipe` gives mixing, schedule, bands and seed; `budget_s` is processor time of the whole
    process, drawing batches included. `percent` is the share of the finished songs, `alone`
    leaves all other groups out, of songs longer than `longest_s` only that much is heard.
    """

    design: str
    recipe: Recipe
    first: Path
    budget_s: float
    percent: float = 100.0
    alone: bool = False
    longest_s: float | None = None
    threads: int = 1

    @property
    def settings(self) -> VisoSettings:
        """Bands and chunks of the recipe's network, which must be `viso`."""
        assert isinstance(self.recipe.network, VisoSettings)
        return self.recipe.network

    def facts(self, corpus: Corpus) -> Record:
        """Return what tells one run from another, as it stands in its record."""
        facts = {
            "design": self.design,
            "budget_s": 0.0 if self.design == FIRST else self.budget_s,
            "percent": self.percent,
            "alone": self.alone,
            "longest_s": self.longest_s,
            "seed": self.recipe.seed,
            "threads": self.threads,
            "corpus": corpus.hash[:12],
        }
        decisive = {"spectral", "network", "mixing", "schedule"}
        recipe = self.recipe.model_dump(mode="json", include=decisive)
        told = json.dumps(recipe, sort_keys=True).encode()
        return {**facts, "recipe": hashlib.sha256(told).hexdigest()[:12]}

    def key(self, corpus: Corpus) -> str:
        """Return a name for files, another for every other run."""
        facts = self.facts(corpus)
        told = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
        what = "songs" if self.alone else "all"
        return f"{self.design}-{facts['budget_s']:g}s-{what}-{self.percent:g}-{told}"


class Training:
    """A design on its way through its budget.

    Parameters
    ----------
    plan : Plan
    corpus : Corpus
        Whole; the plan's share is taken here.

    Attributes
    ----------
    heard : Corpus
        The plan's share.
    step : int
    spent_s, drawing_s : float
        Processor time of the steps, and what of it went into drawing batches.
    losses : list of float
        One a step.
    """

    def __init__(self, plan: Plan, corpus: Corpus) -> None:
        recipe = plan.recipe
        self.plan = plan
        self.network = build(
            plan.design, plan.settings, recipe.spectral, seed=recipe.seed, first=plan.first
        )
        self.average = copy.deepcopy(self.network).eval()
        schedule = recipe.schedule
        self._optimiser = Muon(
            [weight for weight in self.network.parameters() if weight.requires_grad],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        self._objective = ResidualObjective(recipe)
        self._decimate = Decimator(corpus.rate_hz, recipe.spectral.rate_hz)
        n_samples = (plan.settings.chunk_frames - 1) * recipe.spectral.hop
        self.heard = shared(corpus, plan.percent, longest_s=plan.longest_s)
        self._mixer = Mixer(
            self.heard,
            songs_alone(recipe.mixing) if plan.alone else recipe.mixing,
            n_samples=n_samples * self._decimate.factor,
            device=_CPU,
        )
        self._chance = torch.Generator(_CPU)
        self.step, self.spent_s, self.drawing_s = 0, 0.0, 0.0
        self.losses: list[float] = []

    @property
    def done(self) -> float:
        """Share of the budget that is spent."""
        return self.spent_s / self.plan.budget_s

    def draw(self, step: int) -> Batch:
        """Return the batch of a step: the same for every design."""
        recipe = self.plan.recipe
        self._chance.manual_seed(seed_of(recipe.seed, step, _RANK))
        drawn: Batch = self._decimate(self._mixer.draw(recipe.schedule.batch, self._chance))
        return drawn

    def learn(self) -> None:
        """Take one step, and add its processor time to what is spent."""
        schedule, began = self.plan.recipe.schedule, time.process_time()
        batch = self.draw(self.step)
        drawn = time.process_time()
        torch.manual_seed(seed_of(self.plan.recipe.seed, self.step, _RANK, _DROPOUT))
        self.network.train()
        for group in self._optimiser.param_groups:
            group["lr"] = schedule.learning_rate * self._rate_factor()
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.precision == "bf16-mixed"):
            loss: Tensor = self._objective(self.network, batch)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), schedule.clip)
        self._optimiser.step()
        self._follow()
        self.losses.append(float(loss.detach()))
        self.step += 1
        self.drawing_s += drawn - began
        self.spent_s += time.process_time() - began

    def _rate_factor(self) -> float:
        """Return a ramp, then half a cosine, as a run by the clock has them."""
        rise = max((self.step + 1) / max(1, self.plan.recipe.schedule.warmup_steps), 10 * self.done)
        if rise < 1:
            return rise
        return _LOWEST_RATE + (1 - _LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * self.done))

    @torch.no_grad()
    def _follow(self) -> None:
        kept = min(self.plan.recipe.schedule.ema, (1 + self.step) / (10 + self.step))
        values = self.network.state_dict()
        for name, average in self.average.state_dict().items():
            if average.is_floating_point():
                average.lerp_(values[name], 1 - kept)
            else:
                average.copy_(values[name])

    def save(self, path: Path) -> None:
        """Write all that is needed to go on."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "so_far": (self.step, self.spent_s, self.drawing_s, self.losses),
        }
        beside = path.with_name(f".{path.name}.part")
        torch.save(state, beside)
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent_s, self.drawing_s, self.losses = state["so_far"]


def run(plan: Plan, corpus: Corpus, folder: Path) -> Record:
    """Train and score, from where an earlier process was stopped; return the record.

    Parameters
    ----------
    plan : Plan
    corpus : Corpus
    folder : Path
        For the state of unfinished runs.
    """
    torch.set_num_threads(plan.threads)
    training = Training(plan, corpus)
    state = folder / f"{plan.key(corpus)}.pt"
    if state.exists():
        training.load(state)
    saved_s = training.spent_s
    while plan.design != FIRST and training.done < 1:
        training.learn()
        if training.spent_s - saved_s >= _SAVE_EVERY_S:
            training.save(state)
            saved_s = training.spent_s
            _say(training)
    if training.step:
        training.save(state)
    record = _judged(training, corpus)
    state.unlink(missing_ok=True)
    return record


def _say(training: Training) -> None:
    recent = training.losses[-20:]
    print(
        f"{training.plan.design}: step {training.step}, {training.spent_s:.0f} of "
        f"{training.plan.budget_s:.0f} s, loss {sum(recent) / len(recent):.2f}",
        file=sys.stderr,
        flush=True,
    )


def _judged(training: Training, corpus: Corpus) -> Record:
    plan, network = training.plan, training.average
    recipe, settings = plan.recipe, plan.settings
    n_parameters = sum(weight.numel() for weight in network.parameters())
    trained = [weight for weight in training.network.parameters() if weight.requires_grad]
    model = TorchModel(network, recipe.card(parameters=n_parameters), _CPU)
    judges = {"scores": Judge(corpus), "heard": Judge(as_if_unheard(training.heard))}
    last = training.losses[-max(1, int(_LAST_PART * training.step)) :]
    chunk_s = (settings.chunk_frames - 1) * recipe.spectral.hop / recipe.spectral.rate_hz
    record = {
        **plan.facts(corpus),
        "songs": len(training_songs(training.heard)),
        "parameters": n_parameters,
        "trained_parameters": sum(weight.numel() for weight in trained),
        "steps": training.step,
        "hours": training.step * recipe.schedule.batch * chunk_s / 3600,
        "spent_s": training.spent_s,
        "drawing": training.drawing_s / training.spent_s if training.step else 0.0,
        "loss": sum(last) / len(last) if last else None,
        "times_real_time": times_real_time(network, settings, recipe.spectral),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg()[0],
    }
    for kind, judge in judges.items():
        found = judge.scores(model).items()
        record[kind] = {name: value for name, value in found if np.isfinite(value)}
        if plan.design == FIRST:
            # Whether the songs that it heard are easier than those it did not.
            record[f"{kind}_references"] = judge.references(recipe.spectral)
    return record
