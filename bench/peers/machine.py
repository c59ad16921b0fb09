"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# They hold back some of the systems and not the others: ONNX Runtime does not heed them.
LIMITS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def limits() -> dict[str, str]:
    """Return the variables that are set and limit the threads of some systems only."""
    return {name: os.environ[name] for name in LIMITS if name in os.environ}


def machine() -> dict[str, object]:
    """Return processor, cores that may be used, memory in bytes, system, Python, load, limits."""
    may = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu(),
        "cores": len(may(0)) if may else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": load(),
        "limits": limits(),
    }


def load() -> float:
    """Return how many processes wanted a core, on average over the last minute."""
    return os.getloadavg()[0]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
