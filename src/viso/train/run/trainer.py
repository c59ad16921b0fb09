"""A training run from start to end: builds everything around Lightning's loop and runs it."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from viso._version import __version__
from viso.errors import DataError
from viso.train.data.batches import Batches
from viso.train.data.corpus_cache import corpus_at
from viso.train.recipe import Recipe
from viso.train.run.diagnosis import diagnose
from viso.train.run.learner import Average, Learner
from viso.train.run.run_folder import LogRow, RunFolder
from viso.train.run.sharing import Agreement, Device, check_devices, sharing
from viso.train.run.supervisor import Outlook, Supervisor, done_of
from viso.train.run.validation import Judge

__all__ = ["LogRow", "Outlook", "Trainer"]


class Trainer:
    """One training run in one folder (see `RunFolder` for its files).

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Created if missing. If it holds a run, that run continues; its end may be later than before.
    device : {"auto", "cpu", "cuda"}
        "auto" uses a GPU if there is one.
    devices : int
        Number of devices; each has its own process, and they share the batch. Leave it out under
        torchrun, which sets the numbers of processes and machines.
    baseline : mapping of str to float, optional
        Another system's vocals uSDR by validation song, in decibels, for comparison.
    baseline_name : str
    cache : Path, optional
        Folder for a corpus from a store (see `corpus_at`).

    Attributes
    ----------
    is_longer : bool
        Whether the folder's run continues to a later end than before (in the first process).

    Raises
    ------
    DataError
        If the corpus is missing or does not fit the recipe.
    ConfigError
        If the folder belongs to another recipe, the devices do not exist, or they cannot share the
        batch evenly.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        device: Device = "auto",
        devices: int = 1,
        baseline: Mapping[str, float] | None = None,
        baseline_name: str = "baseline",
        cache: Path | None = None,
    ) -> None:
        self._sharing = sharing(devices)
        corpus = corpus_at(recipe.corpus, cache=cache)
        if corpus.rate_hz % recipe.spectral.rate_hz:
            raise DataError(
                f"{recipe.corpus}: packed at {corpus.rate_hz} Hz, of which the recipe's "
                f"{recipe.spectral.rate_hz} is no whole part"
            )
        check_devices(device, self._sharing, batch=recipe.schedule.batch)
        self.recipe, self.corpus = recipe, corpus
        self.folder = RunFolder(folder)
        self.is_main = self._sharing.rank == 0
        self._device = device
        self._judge = Judge(corpus, baseline=baseline, baseline_name=baseline_name)
        self._batches = Batches(recipe, corpus)
        # Build these before claiming the folder: a recipe that cannot run leaves no folder.
        self._learner = Learner(recipe)
        self._mixer = self._batches.prepare(self._main_device())
        self.is_longer = self.is_main and self.folder.claim(recipe, corpus)
        self.best_db, self.step = -math.inf, 0

    def references(self) -> dict[str, float]:
        """Return the medians to compare a score with (see `Judge.references`)."""
        return self._judge.references(self.recipe.spectral)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return how often each group is drawn, by role; the shares of a role sum to one."""
        return self._mixer.shares

    @property
    def n_parameters(self) -> int:
        """The number of trained parameters of the network."""
        return self._learner.network.count()

    @property
    def n_songs(self) -> int:
        """The number of songs that a validation scores."""
        return self._judge.n_songs

    def diagnose(self, references: Mapping[str, float]) -> str | None:
        """Return what is wrong with the run so far, or None (see `diagnosis.diagnose`)."""
        history, schedule = self.folder.history(), self.recipe.schedule
        warmup_steps = schedule.warmup_steps
        if schedule.steps is None and schedule.time_s:
            # By the clock, the ramp ends after a tenth of the time (see `Learner.rate_factor`).
            early = [row.step for row in history if row.hours * 3600 < schedule.time_s / 10]
            warmup_steps = min(warmup_steps, max(early, default=0))
        # Losses of the first task cannot be compared with those of the second.
        part, seconds = self._learner.first_part, schedule.time_s or math.inf
        first = [
            row.step
            for row in history
            if row.step < part * (schedule.steps or math.inf) and row.hours * 3600 < part * seconds
        ]
        warmup_steps = max(warmup_steps, *first, 0) if part else warmup_steps
        return diagnose(
            history,
            mixture_db=references.get("mixture"),
            warmup_steps=warmup_steps,
            is_continued=self.recipe.start_from is not None,
        )

    def run(
        self,
        *,
        on_start: Callable[[Outlook], None] = lambda _: None,
        on_progress: Callable[[LogRow], None] = lambda _: None,
    ) -> None:
        """Train to the end of the recipe's schedule.

        A complete run is left as it is.

        Parameters
        ----------
        on_start : callable
            Called once, before the first step, with the cost of a step and the expected end.
        on_progress : callable
            Called with every row of the log after it is written.

        Raises
        ------
        DataError
            If the loss is no longer a number, or the checkpoint is damaged.
        KeyboardInterrupt
            After Ctrl-C; the run can continue from its last checkpoint.
        """
        average = Average(self.recipe.schedule.ema)
        supervisor = Supervisor(
            self.folder,
            learner=self._learner,
            batches=self._batches,
            average=average,
            judge=self._judge,
            on_start=on_start,
            on_progress=on_progress,
        )
        resume = self._checkpoint()
        if resume is not None and done_of(resume, self.recipe.schedule) >= 1.0:
            self.best_db, self.step = resume["best_db"], resume["step"]
            return
        begun = 0 if resume is None else resume["step"]
        with _quiet():
            trainer = self._lightning([self._agreement(begun), average, supervisor], begun)
            with _ended_together(trainer):
                trainer.fit(
                    self._learner,
                    datamodule=self._batches,
                    ckpt_path=None if resume is None else self.folder.last,
                    weights_only=True,
                )
        self.best_db, self.step = supervisor.best_db, supervisor.step

    def _lightning(self, callbacks: list[Any], begun: int) -> LightningTrainer:
        schedule = self.recipe.schedule
        accelerator = "gpu" if self._main_device().type == "cuda" else "cpu"
        return LightningTrainer(
            accelerator=accelerator,
            devices=self._sharing.devices,
            num_nodes=self._sharing.machines,
            strategy="ddp" if self._sharing.n_processes > 1 else "auto",
            precision=schedule.precision or self._usual_precision(),
            sync_batchnorm=self._sharing.n_processes > 1 and accelerator == "gpu",
            max_epochs=-1,
            max_steps=schedule.steps or -1,
            gradient_clip_val=schedule.clip,
            benchmark=True,
            logger=TensorBoardLogger(
                # Hides what an interrupted run wrote about steps that are repeated.
                self.folder.path,
                name="",
                version="tensorboard",
                purge_step=begun + 1,
            ),
            callbacks=callbacks,
            plugins=[_WholeFiles()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )

    def _agreement(self, begun: int) -> Agreement:
        """Return the check that all processes mean the same run."""
        # Each machine may have the corpus in a different place.
        recipe = self.recipe.model_dump_json(exclude={"corpus"})
        facts = {
            "viso": __version__,
            "the recipe": hashlib.sha256(recipe.encode()).hexdigest()[:16],
            "the corpus": self.corpus.hash[:16],
            "the last checkpoint": f"of step {begun}",
        }
        return Agreement(facts)

    def _main_device(self) -> torch.device:
        if self._device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self._sharing.local_rank)

    def _usual_precision(self) -> Literal["bf16-mixed", "32-true"]:
        if self._main_device().type != "cuda":
            return "32-true"
        # Older GPUs only emulate it and are very slow.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if has_bf16 else "32-true"

    def _checkpoint(self) -> dict[str, Any] | None:
        """Return the supervisor's state in the last checkpoint, if there is one."""
        path = self.folder.last
        if not path.exists():
            return None
        try:
            whole = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            state: dict[str, Any] = whole["callbacks"][Supervisor.__qualname__]
        except (OSError, RuntimeError, EOFError, KeyError, UnpicklingError) as error:
            reason = (str(error) or repr(error)).splitlines()[0]
            raise DataError(
                f"{path}: damaged ({reason:.80}); remove it to start the run again"
            ) from error
        return state


class _WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint under another name and renames it, so that it is always complete."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        unfinished = f"{os.fspath(path)}.part"
        super().save_checkpoint(checkpoint, unfinished, storage_options)
        Path(unfinished).replace(path)


@contextmanager
def _ended_together(trainer: LightningTrainer) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for Ctrl-C; end all processes if one of them fails."""
    try:
        yield
    except SystemExit as error:
        # Lightning raises this for Ctrl-C.
        raise KeyboardInterrupt from error
    except Exception:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's advice; the run itself reports what matters."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Batches are drawn on the device; loader processes would not help.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
