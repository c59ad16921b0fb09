"""What each augmentation costs: milliseconds of computing for a chunk it works on.

    python bench/augment.py [--threads 1] [--seconds 3.7] [--rows 4] [--device cpu]

Stereo at 44.1 kHz. Processor time of all threads is counted and the best of some runs taken,
so that what else runs on the machine matters little; on a GPU it is the time on the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from viso.train import augment

RATE_HZ = 44_100


def functions(n_samples: int, g: torch.Generator) -> dict[str, Callable[[Tensor, Tensor], object]]:
    """Every augmentation as a function of audio a little longer than a chunk, and of a choice."""
    rated = ("compress", "tilt", "reverb", "delay", "double", "harmonise", "shift_pitch")
    plain = ("scale", "quieten", "pan", "widen", "drive")

    def with_rate(name: str) -> Callable[[Tensor, Tensor], object]:
        function = getattr(augment, name)
        return lambda x, c: function(x[..., :n_samples], c, rate_hz=RATE_HZ, generator=g)

    def without(name: str) -> Callable[[Tensor, Tensor], object]:
        function = getattr(augment, name)
        return lambda x, c: function(x[..., :n_samples], c, generator=g)

    def fast(x: Tensor, c: Tensor) -> Tensor:
        speed = augment.uniform(len(x), 0.9, 1.12, g)
        return augment.change_speed(x, c, speed, n_samples=n_samples)

    return {
        "swap_channels": lambda x, c: augment.swap_channels(x[..., :n_samples], c),
        "invert": lambda x, c: augment.invert(x[..., :n_samples], c),
        "silence": lambda x, c: augment.silence(x[..., :n_samples], c),
        "shuffle": lambda x, c: augment.shuffle(x[..., :n_samples], c, generator=g),
        "match_level": lambda x, c: augment.match_level(
            x[..., :n_samples], x[..., :n_samples], c, torch.zeros(len(x), device=x.device)
        ),
        "cut_band (one source)": lambda x, c: augment.cut_band(
            [x[..., :n_samples]], c, rate_hz=RATE_HZ, generator=g
        ),
        "change_speed": fast,
        **{name: without(name) for name in plain},
        **{name: with_rate(name) for name in rated},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.7)
    parser.add_argument("--rows", type=int, default=4, help="chunks, all of them chosen")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    generator = torch.Generator(device).manual_seed(1)
    n_samples = int(given.seconds * RATE_HZ)
    shape = (given.rows, 2, int(n_samples * 1.12) + 8)
    audio = 0.1 * torch.randn(shape, generator=generator, device=device)
    chosen = torch.ones(given.rows, dtype=torch.bool, device=device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def run(function: Callable[[Tensor, Tensor], object]) -> float:
        start = clock()
        function(audio, chosen)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    print(f"{device}, {given.threads} threads, {given.rows} chunks of {given.seconds} s")
    print("| function | ms per chunk |\n|---|---|")
    total = 0.0
    for name, function in functions(n_samples, generator).items():
        run(function)
        best = 1e3 * min(run(function) for _ in range(given.repeats)) / given.rows
        total += best
        print(f"| {name} | {best:.1f} |")
    print(f"| all | {total:.1f} |")


if __name__ == "__main__":
    main()
