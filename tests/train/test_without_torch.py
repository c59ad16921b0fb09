"""Separation needs no torch: nothing outside of training imports it, nor does packing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import viso

OUTSIDE = sorted(
    module.name
    for module in pkgutil.walk_packages(viso.__path__, "viso.")
    if not module.name.startswith("viso.train")
)
LIGHT = ["viso.train", "viso.train.corpus", "viso.train.pack", "viso.train.recipe"]


def loads_torch(modules):
    code = "\n".join(
        [*(f"import {name}" for name in modules), "import sys", "print('torch' in sys.modules)"]
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip() == "True"


def test_no_module_outside_training_loads_torch():
    assert {"viso.cli", "viso.separator", "viso.model", "viso.audio"} <= set(OUTSIDE)
    assert not loads_torch(["viso", *OUTSIDE])


def test_packing_does_not_load_torch():
    assert not loads_torch(LIGHT)


def test_the_check_itself_can_fail():
    assert loads_torch(["viso.train.losses"])
