"""Finds how many processes share a run, on one or more machines, and checks that they agree."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.utilities import rank_zero_only

from viso.errors import ConfigError, DataError

__all__ = ["Agreement", "Device", "Sharing", "check_devices", "sharing"]

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Sharing:
    """The processes that share a run.

    `devices` is the number of processes on each of the `machines`. `rank` is the number of this
    process among all of them, `local_rank` its number on its machine.
    """

    devices: int
    machines: int
    rank: int
    local_rank: int

    @property
    def n_processes(self) -> int:
        """The number of processes on all machines."""
        return self.devices * self.machines


def sharing(devices: int) -> Sharing:
    """Return the processes that share a run, from torchrun if it started this process.

    Parameters
    ----------
    devices : int
        Processes on this machine, if torchrun did not start this process.

    Raises
    ------
    ConfigError
        If both torchrun and `devices` set a number, or the machines have different numbers.
    """
    if not TorchElasticEnvironment.detect():
        rank = int(getattr(rank_zero_only, "rank", 0))
        return Sharing(devices, 1, rank, rank)
    if devices != 1:
        raise ConfigError(f"devices {devices}: torchrun says how many, by --nproc-per-node")
    environment = TorchElasticEnvironment()
    n_processes, here = environment.world_size(), int(os.environ["LOCAL_WORLD_SIZE"])
    if n_processes % here:
        raise ConfigError(
            f"{n_processes} processes, {here} of them here: give torchrun the same "
            "--nproc-per-node on all machines"
        )
    rank, local_rank = environment.global_rank(), environment.local_rank()
    return Sharing(here, n_processes // here, rank, local_rank)


def check_devices(device: Device, shared: Sharing, *, batch: int) -> None:
    """Raise an error if the devices do not exist or cannot share a batch.

    Raises
    ------
    ConfigError
    """
    devices, n_processes = shared.devices, shared.n_processes
    n_cards = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and not n_cards:
        raise ConfigError("device cuda asked for, but torch finds none; use cpu or auto")
    if devices < 1:
        raise ConfigError(f"devices {devices}: one at least has to do it")
    if 0 < n_cards < devices:
        raise ConfigError(f"devices {devices} asked for, but torch finds {n_cards}")
    if batch % n_processes:
        raise ConfigError(f"batch {batch} cannot be shared by {n_processes} devices; change one")


class Agreement(Callback):
    """Ends a run before its first step if its processes do not agree.

    Parameters
    ----------
    facts : mapping of str to str
        Facts, by name, that must be the same in all processes.
    """

    def __init__(self, facts: dict[str, str]) -> None:
        self._facts = facts

    def setup(self, trainer: LightningTrainer, pl_module: LightningModule, stage: str) -> None:
        """Compare the facts of all processes.

        Raises
        ------
        DataError
            In all processes, if any of them differs from the first.
        """
        if trainer.world_size == 1:
            return
        ours: Any = (socket.gethostname(), self._facts)
        found: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, ours)
        (first_host, first), *others = found
        for number, (host, facts) in enumerate(others, 1):
            for name, value in first.items():
                if facts[name] != value:
                    raise DataError(
                        f"process {number} on {host}: {name} is {facts[name]}, but {value} for the "
                        f"first on {first_host}; all need the same viso, recipe and corpus, and "
                        "one run folder on a file system that all machines see"
                    )
