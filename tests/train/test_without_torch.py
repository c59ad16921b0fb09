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
LIGHT = ["viso.train", "viso.train.data.corpus", "viso.train.data.pack", "viso.train.recipe"]


def loads(wanted, modules):
    """Tell whether a fresh interpreter that imports `modules` has `wanted` in memory."""
    imports = [f"import {name}" for name in modules]
    code = "\n".join([*imports, "import sys", f"print({wanted!r} in sys.modules)"])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip() == "True"


def test_no_module_outside_training_loads_torch_nor_does_packing():
    assert {"viso.cli", "viso.separator", "viso.models.onnx", "viso.audio"} <= set(OUTSIDE)
    assert not loads("torch", ["viso", *OUTSIDE, *LIGHT])


def test_the_check_itself_can_fail():
    assert loads("viso.errors", ["viso.errors"])
