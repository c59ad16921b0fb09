"""Supervises the training loop: log, validation, checkpoints, the clock and the end of the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.loggers import TensorBoardLogger

from viso.errors import DataError
from viso.train.data.batches import Batches
from viso.train.recipe import Schedule
from viso.train.run.learner import Average, Learner
from viso.train.run.run_folder import LogRow, RunFolder
from viso.train.run.validation import Judge, TorchModel

__all__ = ["Outlook", "Supervisor", "done_of"]

_PROBES = 3
_CLOCK_STEPS = 10  # steps between two comparisons of the clocks of several processes
_LISTEN_S = 10.0
_PAUSE = 4  # in a run by the clock: least pause between validations, in durations of one


@dataclass(frozen=True)
class Outlook:
    """The estimates at the start of training.

    Attributes
    ----------
    step_s : float
        Seconds of a step on this device, drawing included (the median of three).
    validation_s : float
        Seconds of a validation.
    steps : int
        Estimated number of steps at the end of the run.
    seconds : float
        Seconds from now to the end, validations included.
    """

    step_s: float
    validation_s: float
    steps: int
    seconds: float


def done_of(state: Mapping[str, Any], schedule: Schedule) -> float:
    """Return the share of a run that is done, 0 to 1, from the state of `Supervisor.state_dict`.

    If the schedule is now longer than in the state, the result is the share of the longer run.
    """
    done: float = state["done"]
    # Checkpoints of earlier versions have no length; by steps the result is equal to the bit.
    if tuple(state.get("length", ())) == schedule.length:
        return done
    parts = _parts_done(state["step"], state["seconds"], state["validation_s"], schedule)
    return min(1.0, max(parts))


def _parts_done(
    step: int, seconds: float, validation_s: float, schedule: Schedule
) -> tuple[float, float]:
    """Return the share of the run that is done, by steps and by the clock."""
    by_steps = step / schedule.steps if schedule.steps else 0.0
    if not schedule.time_s:
        return by_steps, 0.0
    # The last validation is part of the available time.
    return by_steps, seconds / max(schedule.time_s / 2, schedule.time_s - validation_s)


class Supervisor(Callback):
    """Keeps the run folder up to date while Lightning runs the loop.

    Parameters
    ----------
    folder : RunFolder
    learner : Learner
    batches : Batches
    average : Average
    judge : Judge
        Scores the averaged weights.
    on_start, on_progress : callable
        Called with reports about the run, in the first process only.

    Raises
    ------
    DataError
        During training, if the loss is no longer a number; nothing is saved then.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        learner: Learner,
        batches: Batches,
        average: Average,
        judge: Judge,
        on_start: Callable[[Outlook], None],
        on_progress: Callable[[LogRow], None],
    ) -> None:
        self.folder, self.judge = folder, judge
        self._learner, self._batches, self._average = learner, batches, average
        self._on_start, self._on_progress = on_start, on_progress
        self._schedule = learner.recipe.schedule
        self.seconds, self.best_db, self.step = 0.0, -math.inf, 0
        self._losses: list[float] = []
        self._fresh: list[torch.Tensor] = []
        self._validation_s = 0.0
        self._saved_s = self._judged_s = 0.0

    # -- what a resume needs -----------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps."""
        return {
            "seconds": self.seconds,
            "best_db": self.best_db,
            "step": self.step,
            "losses": list(self._losses),
            "validation_s": self._validation_s,
            "judged_s": self._judged_s,
            "done": self._learner.done,
            "length": list(self._schedule.length),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.seconds, self.best_db = state_dict["seconds"], state_dict["best_db"]
        self.step, self._losses = state_dict["step"], list(state_dict["losses"])
        self._validation_s = state_dict["validation_s"]
        self._judged_s = state_dict["judged_s"]
        self._learner.done = done_of(state_dict, self._learner.recipe.schedule)
        if state_dict["done"] >= self._learner.first_part:
            # A longer run does not go back to its first task.
            self._learner.done = max(self._learner.done, self._learner.first_part)

    # -- Lightning's hooks ---------------------------------------------------------------

    def on_train_start(self, trainer: LightningTrainer, pl_module: LightningModule) -> None:
        """Measure the cost of a step and of a validation, and report the outlook."""
        # All processes measure together: their batch norms may wait for one another.
        step_s = self._cost_of_a_step(trainer)
        if trainer.is_global_zero:
            self.folder.trim_log(self.step)
            if not self._validation_s:
                self._validation_s = self._validated(trainer)[1]
            self._on_start(self._outlook(step_s))
        trainer.strategy.barrier()
        self._began = time.monotonic() - self.seconds
        self._saved_s = self.seconds
        self._batches.stopwatch.shares()
        self._batches.stopwatch.forget()

    def on_train_batch_start(
        self, trainer: LightningTrainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the time until now as waiting."""
        self._batches.stopwatch.mark("wait")

    def on_train_batch_end(
        self,
        trainer: LightningTrainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check the clock; log, validate, save and stop when each is due."""
        self._batches.stopwatch.mark("step")
        self._fresh.append(outputs["loss"].detach())
        self.step = trainer.global_step
        before, ends = self._learner.done, self._look_at_the_clock(trainer)
        due = ends or self._is_time_to_validate(trainer, before)
        progress = None
        if due or self.step % self._schedule.log_every == 0:
            self._settle(trainer)
            shares = self._batches.stopwatch.shares()
            progress = self._row(shares, self._validate_and_keep(trainer) if due else None)
            if trainer.is_global_zero:
                self.folder.append(progress)
        self._save_if_time(trainer, at_once=ends)
        if progress is not None and trainer.is_global_zero:
            self._on_progress(progress)
        trainer.should_stop = trainer.should_stop or ends

    def _is_time_to_validate(self, trainer: LightningTrainer, before: float) -> bool:
        parts = self._schedule.validations
        due = math.floor(self._learner.done * parts) > math.floor(before * parts)
        if not due or self._schedule.steps is not None:
            return due  # by steps only; otherwise a resumed run would differ
        # Only the first process knows the cost of a validation, but all must do the same.
        is_over = self.seconds - self._judged_s >= _PAUSE * self._validation_s
        return bool(trainer.strategy.broadcast(is_over))

    # -- the clock -----------------------------------------------------------------------

    def _look_at_the_clock(self, trainer: LightningTrainer) -> bool:
        """Update the share of the run that is done; return whether this was the last step."""
        schedule = self._schedule
        self.seconds = time.monotonic() - self._began
        by_steps, by_time = _parts_done(self.step, self.seconds, self._validation_s, schedule)
        if schedule.time_s and trainer.world_size > 1:
            # Use one clock for all processes; otherwise their learning rates would drift apart.
            is_asked = self.step % _CLOCK_STEPS == 0
            by_time = float(trainer.strategy.broadcast(by_time)) if is_asked else 0.0
        # The share never falls, even if the next validation is quicker than the last.
        self._learner.done = min(1.0, max(self._learner.done, by_steps, by_time))
        return self._learner.done >= 1.0

    def _outlook(self, step_s: float) -> Outlook:
        schedule, validation_s = self._schedule, self._validation_s
        n_validations = math.ceil(schedule.validations * (1 - self._learner.done))
        if schedule.time_s and schedule.steps is None and validation_s:
            pauses = (schedule.time_s - self.seconds) / ((1 + _PAUSE) * validation_s)
            n_validations = min(n_validations, 1 + max(0, int(pauses)))
        judging_s = n_validations * validation_s
        left: float = schedule.steps - self.step if schedule.steps else math.inf
        if schedule.time_s:
            left = min(left, (schedule.time_s - self.seconds - judging_s) / step_s)
        steps = max(1, int(left))
        return Outlook(step_s, validation_s, self.step + steps, steps * step_s + judging_s)

    def _cost_of_a_step(self, trainer: LightningTrainer) -> float:
        """Time a few steps with a copy of the network, without any effect on the run."""
        network = deepcopy(self._learner.network).train()
        took = []
        for number in range(_PROBES + 1):
            began = time.perf_counter()
            # The run never reaches these batches.
            batch = self._batches.draw((1 << 20) - 1 - number)
            with trainer.precision_plugin.forward_context():
                loss = self._learner.objective(network, batch)
            loss.backward()
            float(loss.detach())  # waits for the device
            took.append(time.perf_counter() - began)
        # The first step includes allocation and the choice of kernels.
        return sorted(took[1:])[_PROBES // 2]

    # -- rows, scores, checkpoints ---------------------------------------------------------

    def _settle(self, trainer: LightningTrainer) -> None:
        """Collect the losses from all devices; raise an error if a loss or weight is not finite."""
        if not self._fresh:
            return
        mean: Any = trainer.strategy.reduce(torch.stack(self._fresh).float(), reduce_op="mean")
        values = mean.cpu().tolist()
        self._fresh = []
        # The last loss is from before the last step, so it does not show the weights of now.
        weights = torch.stack([p.detach().sum() for p in self._learner.network.parameters()])
        if not all(math.isfinite(value) for value in [*values, float(weights.sum())]):
            raise DataError(
                f"{self.folder.path}: the loss is no longer a number at step {self.step}; "
                "start again from its last checkpoint with a lower learning rate"
            )
        self._losses.extend(values)

    def _row(self, shares: dict[str, float], score_db: float | None) -> LogRow:
        recipe = self._learner.recipe
        chunk_s = recipe.network.chunk_frames * recipe.spectral.hop / recipe.spectral.rate_hz
        losses, self._losses = self._losses, []
        return LogRow(
            step=self.step,
            loss=sum(losses) / len(losses) if losses else math.nan,
            audio_hours=self.step * recipe.schedule.batch * chunk_s / 3600,
            hours=self.seconds / 3600,
            waiting=shares.get("wait", 0.0),
            drawing=shares.get("draw", 0.0),
            usdr_db=score_db,
        )

    def _validate_and_keep(self, trainer: LightningTrainer) -> float | None:
        """Score the averaged weights in the first process, and keep them if they are the best."""
        score_db = None
        self._judged_s = self.seconds
        if trainer.is_global_zero:
            if not self._learner.is_beginning:
                score_db, self._validation_s = self._validated(trainer)
            self._note(trainer, score_db)
            # Without validation songs, the latest weights are the best.
            if score_db is None or score_db > self.best_db or not self.folder.best.exists():
                self.best_db = self.best_db if score_db is None else score_db
                self.folder.keep_best(self._average.network.state_dict())
        trainer.strategy.barrier()
        self._batches.stopwatch.forget()
        return score_db

    def _validated(self, trainer: LightningTrainer) -> tuple[float | None, float]:
        """Return the score of the averaged weights, and the seconds that it took."""
        began = time.monotonic()
        card = self._learner.recipe.card(parameters=0)
        model = TorchModel(self._average.network, card, trainer.strategy.root_device)
        return self.judge.score(model), time.monotonic() - began

    def _note(self, trainer: LightningTrainer, score_db: float | None) -> None:
        """Write curves, a spectrogram and sound for TensorBoard."""
        if not isinstance(trainer.logger, TensorBoardLogger):
            return
        board: Any = trainer.logger.experiment
        if self._losses:
            board.add_scalar("loss", sum(self._losses) / len(self._losses), self.step)
        rate = self._schedule.learning_rate * self._learner.rate_factor()
        board.add_scalar("learning rate", rate, self.step)
        if score_db is not None:
            board.add_scalar("validation uSDR, dB", score_db, self.step)
        heard = self.judge.example(_LISTEN_S)
        for name, audio, picture in heard:
            board.add_audio(name, audio.mean(axis=0)[None], self.step, self.judge.rate_hz)
            board.add_image(name, picture, self.step, dataformats="HW")

    def _save_if_time(self, trainer: LightningTrainer, *, at_once: bool) -> None:
        due = at_once or self.seconds - self._saved_s >= self._schedule.checkpoint_every_s
        # All processes must agree, because they save together.
        if trainer.world_size > 1 and not at_once:
            due = self.step % _CLOCK_STEPS == 0 and bool(trainer.strategy.broadcast(due))
        if due:
            self._settle(trainer)
            self._saved_s = self.seconds
            trainer.save_checkpoint(self.folder.last)
            self._batches.stopwatch.forget()
