"""Run one command and write down what it took: ``python -I -S launch.py REPORT COMMAND...``

A process of its own, because the kernel counts the memory of whoever starts a program as the
program's until it runs: a benchmark with 300 MB of songs in memory would see no peak below
that. This one has 10 MB.
"""

import json
import os
import sys
import time


def main() -> int:
    """Start, wait, and write seconds, kernel's peak and exit code as JSON."""
    report, *words = sys.argv[1:]
    began = time.perf_counter()
    child = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(child, 0)
    took = time.perf_counter() - began
    # Linux counts in KiB, macOS in bytes. Of the processes that the command started and waited
    # for, the largest counts, not their sum.
    unit = 1 if sys.platform == "darwin" else 1024
    figures = {
        "seconds": took,
        "busy_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit,
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs memory)
        json.dump(figures, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
