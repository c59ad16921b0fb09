"""The models that come with the package: ONNX files with their cards inside."""

from __future__ import annotations

from pathlib import Path

from viso.errors import ModelError

__all__ = ["DEFAULT", "available", "path_of"]

DEFAULT = "viso-cnn"

_FOLDER = Path(__file__).parent


def available() -> list[str]:
    """Return the names of the packaged models, the default first."""
    names = sorted(path.stem for path in _FOLDER.glob("*.onnx"))
    return sorted(names, key=lambda name: name != DEFAULT)


def path_of(name: str) -> Path:
    """Return the file of a packaged model.

    Raises
    ------
    ModelError
        If there is no packaged model of that name.
    """
    if name not in available():
        raise ModelError(
            f"{name}: no packaged model of that name and no file there; "
            f"packaged: {', '.join(available()) or 'none'}"
        )
    return _FOLDER / f"{name}.onnx"
