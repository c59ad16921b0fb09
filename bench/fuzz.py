"""Thousands of damaged files through the readers: is it always sound or an error of ours?

    python bench/fuzz.py [--inputs 20000] [--first 0] [--seed 0] [--keep FOLDER]

Every input is made from a small whole file (wav, flac, mp3, ogg, opus, m4a, mp4 and a few others)
by changes that its number decides. A child reads sound, tags and cover of it; more than 10 s of
processor time or 1 GB of memory is a finding, and so are a crash and an error that is not ours.
Prints a table and the findings; the exit code is 1 if there are any. `--keep` writes their files.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fuzzing.mutations import make_input
from fuzzing.seeds import make_seeds
from fuzzing.watching import Findings, fuzz


def main() -> None:
    """Run the inputs and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that were findings")
    options = parser.parse_args()
    findings, began, seeds = Findings(), time.monotonic(), make_seeds()
    for found in fuzz(range(options.first, options.first + options.inputs), seed=options.seed):
        n_before = len(findings.bad)
        findings.add(found)
        if len(findings.bad) > n_before:
            print(f"{found['index']} ({found['name']}): {found['outcome']}: {found['detail']}")
            sys.stdout.flush()
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                name, data = make_input(seeds, found["index"], seed=options.seed)
                (options.keep / f"{found['index']}-{name}").write_bytes(data)
    print(findings.table())
    slow, large = findings.slowest, findings.largest
    print(f"{options.inputs} inputs in {time.monotonic() - began:.0f} s")
    print(f"slowest: {slow['busy_s']:.2f} s ({slow.get('index')}, {slow.get('name')})")
    print(f"largest: {large['peak_mb']:.0f} MB ({large.get('index')}, {large.get('name')})")
    sys.exit(bool(findings.bad))


if __name__ == "__main__":
    main()
