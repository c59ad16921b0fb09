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
    "viso.blend",
    "viso.config",
    "viso.errors",
    "viso.evaluate",
    "viso.listening",
    "viso.masking",
    "viso.metrics",
    "viso.model",
    "viso.model_file",
    "viso.pages",
    "viso.plots",
    "viso.protobuf",
    "viso.separator",
    "viso.signs",
    "viso.spectral",
    "viso.templates",
    "viso.web",
    "viso.web.listen",
    "viso.weights",
    "viso.wiener",
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
    if name.startswith("viso.web"):
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

    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.VisoError)


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
