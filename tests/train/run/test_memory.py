"""Memory is kept from step to step: once touched, it costs no page faults again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from viso.train.run.memory import keep_memory

FAULTS = """
import resource, sys
import torch
from viso.train.run.memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    # Of growing sizes, or glibc learns the size by itself.
    return [torch.ones(n, 1024, 1024) for n in (4, 9, 17)]
step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


def faults(mode):
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_what_was_freed_is_there_again():
    pytest.importorskip("torch", reason="needs the extra [train]")
    assert faults("keep") < 0.25 * faults("as it is")


def test_elsewhere_it_says_no(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()


def test_another_c_library_is_no_error(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("viso.train.run.memory.ctypes.CDLL", missing)
    assert not keep_memory()
