"""The public surface is small, documented, and quick to load."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import viso

MODULES = [
    "viso",
    "viso.audio",
    "viso.audio.isolated",
    "viso.audio.tags",
    "viso.batch",
    "viso.config",
    "viso.dsp.masking",
    "viso.dsp.stft",
    "viso.dsp.wiener",
    "viso.errors",
    "viso.evaluate",
    "viso.listening",
    "viso.listening.server",
    "viso.metrics",
    "viso.metrics.permutation",
    "viso.models._onnx_check",
    "viso.models._protobuf",
    "viso.models.blend",
    "viso.models.onnx",
    "viso.models.registry",
    "viso.reports.html",
    "viso.reports.plots",
    "viso.separator",
    "viso.separator.templates",
    "viso.studio",
]


def test_what_viso_exports() -> None:
    assert viso.__all__ == [
        "AudioError",
        "ConfigError",
        "DataError",
        "ModelError",
        "Separator",
        "Stems",
        "VisoError",
        "__version__",
        "separate",
    ]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_there_and_documented(name: str) -> None:
    if name.startswith("viso.studio"):
        pytest.importorskip("fastapi")
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        item = getattr(module, public)
        if callable(item):
            assert item.__doc__, f"{name}.{public}"


def test_errors_form_one_tree() -> None:
    from viso import errors

    found = [item for name in errors.__all__ if isinstance(item := getattr(errors, name), type)]
    assert len(found) == 5
    assert all(issubclass(item, errors.VisoError) for item in found)


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("statement", ["import viso", "import viso.cli"])
def test_quiet_start(statement: str) -> None:
    heavy = {"torch", "matplotlib", "fastapi", "scipy", "onnx", "av", "mutagen", "onnxruntime"}
    heavy |= {"pyloudnorm", "uvicorn", "starlette"}
    assert not heavy & loaded_by(statement)
