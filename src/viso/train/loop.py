"""The training loop: draw, step, average, validate, save; exact resume."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viso.config import ModelCard
from viso.errors import ConfigError, DataError
from viso.metrics import usdr
from viso.model import apply_graph
from viso.separator.stream import VocalStream
from viso.train.corpus import Corpus, Track
from viso.train.losses import binary_target, mask_cross_entropy
from viso.train.mixer import Batch, Mixer
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.recipe import Recipe

__all__ = ["Progress", "TorchModel", "Trainer"]

_VALIDATION_S = 30.0


@dataclass(frozen=True)
class Progress:
    """What the loop yields now and then; `usdr_db` only after a validation."""

    step: int
    loss: float
    audio_hours: float
    hours: float
    usdr_db: float | None = None


class TorchModel:
    """A torch network in the separator's `Model` protocol."""

    def __init__(self, network: nn.Module, card: ModelCard, device: torch.device) -> None:
        self._network, self._device = network, device
        self.card = card

    def _run(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            result: Tensor = self._network(torch.from_numpy(features).to(self._device))
        return result.cpu().numpy()

    def estimate(self, chunk: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
        """See `viso.model.Model.estimate`."""
        return apply_graph(self._run, chunk, card=self.card)


def _power(spectra: Tensor) -> Tensor:
    """Squared magnitude; the direct way costs a third of ``abs() ** 2``."""
    return torch.view_as_real(spectra).square().sum(dim=-1)


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
        folder.mkdir(parents=True, exist_ok=True)
        self._claim_folder()
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
        self._window = torch.hann_window(spectral.n_fft, device=self.device)
        band_bin = self.network.map.spread.argmax(dim=1)
        self._band_hz = band_bin * spectral.rate_hz / spectral.n_fft
        self.step, self.seconds, self.best_db = 0, 0.0, -math.inf
        if (folder / "last.pt").exists():
            self._resume()

    def _claim_folder(self) -> None:
        path = self.folder / "recipe.toml"
        text = self.recipe.to_toml()
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{self.folder}: holds a run of another recipe; name a new folder")
        path.write_text(text, encoding="utf-8")

    def run(self) -> Iterator[Progress]:
        """Train to the recipe's last step, yielding the state of things as it goes."""
        schedule = self.recipe.schedule
        losses: list[float] = []
        began = time.monotonic() - self.seconds
        while self.step < schedule.steps:
            losses.append(self.train_step())
            self.seconds = time.monotonic() - began
            last = self.step == schedule.steps
            if self.step % schedule.validate_every == 0 or last:
                score = self.validate()
                if score > self.best_db:
                    self.best_db = score
                    self._save(self.folder / "best.pt", {"network": self.average.state_dict()})
                yield self._log(losses, score)
                losses = []
            elif self.step % schedule.log_every == 0:
                yield self._log(losses, None)
                losses = []
            if self.step % schedule.checkpoint_every == 0 or last:
                self._checkpoint()

    def train_step(self) -> float:
        """Take one step; return its loss."""
        schedule = self.recipe.schedule
        batch = self._mixer.draw(schedule.batch, self._generator)
        # Dropout draws from torch's global generator: tie it to the step, for exact resume.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        self.network.train()
        loss = self._loss(batch)
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

    def _loss(self, batch: Batch) -> Tensor:
        network, schedule = self.network, self.recipe.schedule
        with torch.no_grad():
            vocals, music = self._spectra(batch.vocals), self._spectra(batch.instrumental)
            power = _power(vocals + music)
            # Powers compare as magnitudes do.
            mask = binary_target(_power(vocals), _power(music), smoothing=network.settings.smoothing)
            bands = network.map.bands(power)
            # A band of several bins aims at the mean of their binary masks, the loud ones first.
            target = network.map.bands(mask * power) / (bands + 1e-9)
            features = network.features(bands)
            allowed = (self._band_hz[None] < batch.bandwidth_hz[:, None]).float()[:, None, None]
        logits = network.logits(features)
        edge = self.recipe.network.context_frames
        return mask_cross_entropy(
            logits,
            target[:, :, edge:-edge],
            bands[:, :, edge:-edge].sqrt(),
            allowed,
            power=schedule.loss_power,
        )

    def _spectra(self, audio: Tensor) -> Tensor:
        """Mid and side spectra [shape=(batch, 2, frames, bins)]."""
        left, right = audio[:, 0], audio[:, 1]
        rotated = torch.stack([left + right, left - right], dim=1) * math.sqrt(0.5)
        spectral = self.recipe.spectral
        frames = torch.stft(
            rotated.flatten(0, 1),
            spectral.n_fft,
            spectral.hop,
            window=self._window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        bins, n = frames.shape[1:]
        return frames.reshape(len(audio), 2, bins, n).transpose(2, 3)

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

    def validate(self) -> float:
        """Return the median vocals uSDR over the validation songs, in decibels.

        Of long songs the middle 30 s are taken; 0.0 if the corpus has no validation songs.
        """
        scores = [self._song_score(*pair) for pair in self._validation_pairs()]
        return float(np.median(scores)) if scores else 0.0

    def _validation_pairs(self) -> list[tuple[Track, Track]]:
        tracks = [t for t in self._corpus.tracks if t.split == "valid" and t.release_level]
        music = {t.song: t for t in tracks if t.role == "instrumental"}
        voices = [t for t in tracks if t.role == "vocals" and t.song in music]
        return [(t, music[t.song]) for t in voices]

    def _song_score(self, vocals: Track, music: Track) -> float:
        most = int(_VALIDATION_S * self._corpus.rate_hz)
        start = max(0, (vocals.n_samples - most) // 2)
        span = slice(start, start + most)
        truth = self._corpus.read(vocals)[:, span]
        mixture = truth + self._corpus.read(music)[:, span]
        model = TorchModel(self.average, self.recipe.card(parameters=self.average.count()), self.device)
        stream = VocalStream(model, n_channels=truth.shape[0])
        parts = [stream.push(mixture), stream.finish()]
        return usdr(truth, np.concatenate(parts, axis=1))

    def _log(self, losses: list[float], score: float | None) -> Progress:
        network = self.recipe.network
        chunk_s = network.chunk_frames * self.recipe.spectral.hop / self.recipe.spectral.rate_hz
        audio_hours = self.step * self.recipe.schedule.batch * chunk_s / 3600
        loss = float(np.mean(losses)) if losses else math.nan
        progress = Progress(self.step, loss, audio_hours, self.seconds / 3600, score)
        path = self.folder / "log.csv"
        is_new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "loss", "audio_hours", "hours", "valid_usdr_db"])
            shown = "" if score is None else f"{score:.3f}"
            writer.writerow(
                [self.step, f"{loss:.6f}", f"{audio_hours:.3f}", f"{progress.hours:.4f}", shown]
            )
        return progress

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
        state = torch.load(self.folder / "last.pt", map_location=self.device, weights_only=True)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.best_db = float(state["best_db"])
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"].cpu())
