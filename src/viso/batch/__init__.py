"""Separate many songs: make a plan, carry it out in parallel, resume it later.

    files and folders -> plan -> claims in the manifest -> workers -> stems, recorded when whole

Only the process that coordinates the batch writes the manifest (`viso-batch.sqlite` in the output
folder); workers only separate. So any `Engine` can carry out a plan.

from viso import batch

if __name__ == "__main__":
    for progress in batch.run(batch.plan(["archive"], "stems", recursive=True)):
        print(progress.n_done, progress.n_failed, progress.left_s)
"""

from viso.batch.database import DiskFullError
from viso.batch.engine import Engine
from viso.batch.planning import Plan, Task, plan
from viso.batch.progress import BatchProgress, Result
from viso.batch.resume import Finished
from viso.batch.run import run
from viso.batch.settings import SeparationConfig

__all__ = [
    "BatchProgress",
    "DiskFullError",
    "Engine",
    "Finished",
    "Plan",
    "Result",
    "SeparationConfig",
    "Task",
    "plan",
    "run",
]
