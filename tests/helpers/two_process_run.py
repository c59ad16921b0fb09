"""Run by test_together.py and test_machines.py: two processes, each writes down what it did.

    python shared_run.py RECIPE.toml FOLDER STEP
    torchrun --nnodes 2 ... shared_run.py RECIPE.toml FOLDER STEP

It breaks off with an error after the row of that step.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from torch import Tensor

from viso.train.data.batches import Batches
from viso.train.data.mixer import Batch
from viso.train.recipe import Recipe
from viso.train.run.run_folder import LogRow
from viso.train.run.trainer import Trainer


def _digest(*tensors: Tensor) -> str:
    data = b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(data).hexdigest()


def _main() -> None:
    recipe, folder, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
    devices = 1 if "TORCHELASTIC_RUN_ID" in os.environ else 2
    draw, drawn = Batches.draw, {}

    def noted(self: Batches, step: int) -> Batch:
        batch = draw(self, step)
        drawn[step] = [_digest(batch.vocals), len(batch.vocals)]
        return batch

    def look(row: LogRow) -> None:
        if row.step == last:
            raise RuntimeError("broken off")

    Batches.draw = noted  # type: ignore[method-assign]
    trainer = Trainer(Recipe.from_toml(recipe), folder, device="cpu", devices=devices)
    trainer.run(on_progress=look)
    weights = _digest(*trainer._learner.network.parameters())
    facts = {"drawn": drawn, "weights": weights}
    (folder.parent / f"process {rank}.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    _main()
