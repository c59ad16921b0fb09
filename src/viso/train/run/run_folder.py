"""The folder of a run: its recipe, its origin, its log, its weights."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from viso.config import parse_json
from viso.errors import ConfigError, DataError
from viso.train.data.corpus import Corpus
from viso.train.recipe import Recipe

__all__ = ["LogRow", "RunFolder"]


@dataclass(frozen=True)
class LogRow:
    """The state of a run at a row of its log.

    `loss` is the mean since the row before, `hours` is the training time, `audio_hours` is the
    length of all mixtures drawn. `usdr_db` is the validation score, if the row follows a
    validation. `drawing` is the share of the time since the row before for drawing batches;
    `waiting` is the share for neither batches nor steps.
    """

    step: int
    loss: float
    audio_hours: float
    hours: float
    drawing: float
    waiting: float
    usdr_db: float | None = None


class RunFolder:
    """One training run on disk.

    ============== ===============================================================
    recipe.toml    what is trained
    origin.json    revision of the code, versions, hashes of the corpus and of
                   the weights that the recipe names
    log.csv        a row for every `LogRow`
    last.ckpt      all that a resume needs (Lightning's format)
    best.pt        averaged weights with the highest validation score
    tensorboard/   curves, spectrograms and sound
    ============== ===============================================================

    Parameters
    ----------
    path : Path
        Created by `claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.best = path / "last.ckpt", path / "best.pt"
        self.log = path / "log.csv"

    def claim(self, recipe: Recipe, corpus: Corpus) -> bool:
        """Create the folder for this recipe, or check that it holds a run of this recipe.

        A run may continue to a later end; then the new recipe replaces the one in the folder.

        Returns
        -------
        bool
            Whether the end is later than before.

        Raises
        ------
        ConfigError
            If the folder holds other files but no run, a run of another recipe or with a later
            end, or a run of this recipe with another corpus or other weights of its teachers.
        DataError
            If weights that the recipe names cannot be read.
        """
        path, origin = self.path / "recipe.toml", self.path / "origin.json"
        if path.exists():
            before = Recipe.from_toml(path)
            if not before.may_go_on_as(recipe):
                raise ConfigError(
                    f"{self.path}: holds a run of another recipe; name a new folder "
                    f"({_length(before)} may be more, nothing else may differ)"
                )
            known = self._known(origin)
            if known["corpus_hash"] != corpus.hash:
                raise ConfigError(
                    f"{self.path}: began with other recordings than {corpus.folder} now holds; "
                    "name a new folder"
                )
            # The weights of `start_from` no longer matter: the checkpoint replaces them.
            hashes = known.get("weights", {})
            for name in (teacher.weights for teacher in recipe.teachers):
                if name in hashes and hashes[name] != _hash_of(name):
                    raise ConfigError(
                        f"{self.path}: began with other weights than {name} now holds; name a new "
                        "folder"
                    )
            if before != recipe:
                _put(path, recipe.to_toml())
            return before != recipe
        # A run replaces files that have its names.
        others = {one.name for one in self.path.iterdir()} if self.path.is_dir() else set()
        if others - {"origin.json", "recipe.part"}:
            raise ConfigError(
                f"{self.path}: holds other files and no run; choose an empty or a new folder"
            )
        facts = {
            "git_revision": _git_revision(),
            "viso": version("viso-audio"),
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "corpus": str(corpus.folder),
            "corpus_hash": corpus.hash,
            "weights": {name: _hash_of(name) for name in _weights(recipe)},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        origin.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        _put(path, recipe.to_toml())
        return False

    @staticmethod
    def _known(origin: Path) -> dict[str, Any]:
        try:
            facts: dict[str, Any] = parse_json(origin.read_text(encoding="utf-8"))
            return {"corpus_hash": facts["corpus_hash"], "weights": dict(facts.get("weights", {}))}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{origin}: does not say what the run began with ({error!r:.60}); name a new folder"
            ) from error

    def append(self, progress: LogRow) -> None:
        """Add a row to the log."""
        fresh = not self.log.exists()
        with self.log.open("a", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines)
            if fresh:
                writer.writerow(_COLUMNS)
            score = progress.usdr_db
            writer.writerow(
                [
                    progress.step,
                    f"{progress.loss:.6f}",
                    f"{progress.audio_hours:.3f}",
                    f"{progress.hours:.4f}",
                    f"{progress.drawing:.4f}",
                    f"{progress.waiting:.4f}",
                    "" if score is None else f"{score:.3f}",
                ]
            )

    def trim_log(self, step: int) -> None:
        """Delete the rows after the checkpoint: those steps are repeated."""
        if not self.log.exists():
            return
        with self.log.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        # A row that a crash cut short is always after the last checkpoint.
        kept = [row for row in rows[1:] if len(row) == len(_COLUMNS) and int(row[0]) <= step]
        unfinished = self.log.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8", newline="") as lines:
            csv.writer(lines).writerows([_COLUMNS, *kept])
        unfinished.replace(self.log)

    def history(self) -> list[LogRow]:
        """Return the rows of the log."""
        if not self.log.exists():
            return []
        with self.log.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.reader(lines) if len(row) == len(_COLUMNS)][1:]
        return [
            LogRow(
                step=int(step),
                loss=float(loss),
                audio_hours=float(audio_hours),
                hours=float(hours),
                drawing=float(drawing),
                waiting=float(waiting),
                usdr_db=float(score) if score else None,
            )
            for step, loss, audio_hours, hours, drawing, waiting, score in rows
        ]

    def keep_best(self, state: dict[str, Tensor]) -> None:
        """Save averaged weights; `best.pt` is always complete."""
        unfinished = self.path / "best.part"
        torch.save({"network": state}, unfinished)
        unfinished.replace(self.best)


_COLUMNS = ["step", "loss", "audio_hours", "hours", "drawing", "waiting", "valid_usdr_db"]


def _put(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _length(recipe: Recipe) -> str:
    steps, time_s = recipe.schedule.length
    said = [f"its {steps} steps"] if steps else []
    return " and ".join([*said, *([f"its {time_s:g} s"] if time_s else [])])


def _weights(recipe: Recipe) -> list[str]:
    first = [] if recipe.start_from is None else [recipe.start_from]
    return [*first, *(teacher.weights for teacher in recipe.teachers)]


def _hash_of(name: str) -> str:
    try:
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{name}: weights cannot be read ({error.strerror})") from error


def _git_revision() -> str | None:
    """Return the commit of the checkout with this code, with ``+`` if it has changes."""
    here = Path(__file__).resolve()
    # An installed copy may be inside another repository, whose commit is not ours.
    if not (here.parents[4] / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],  # noqa: S607
            cwd=here.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() or None
