"""The models that are known by name: those of the package, and the user's own.

All are ONNX files with their cards inside. Those of the package lie beside this file; the user's
lie in a folder of their account's data, where ``viso models import`` puts them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from viso.errors import ModelError

__all__ = ["DEFAULT", "available", "packaged", "path_of", "user_folder"]

DEFAULT = "viso"

_FOLDER = Path(__file__).parent


def packaged() -> list[str]:
    """Return the names of the packaged models, the default first."""
    return sorted(_names(_FOLDER), key=lambda name: name != DEFAULT)


def available(*, folder: Path | None = None) -> list[str]:
    """Return the names of the packaged models, the default first, then of the user's.

    Parameters
    ----------
    folder : Path, optional
        Of the user's models, if not `user_folder`. It need not exist.
    """
    names = packaged()
    return names + [name for name in _own(folder) if name not in names]


def path_of(name: str, *, folder: Path | None = None) -> Path:
    """Return the file of a packaged model, or else of one of the user's.

    Parameters
    ----------
    name : str
    folder : Path, optional
        See `available`.

    Raises
    ------
    ModelError
        If there is none of that name.
    """
    if name in packaged():
        return _FOLDER / f"{name}.onnx"
    own = _own(folder)
    if name not in own:
        raise ModelError(
            f"{name}: no packaged model of that name, none of yours and no file there; "
            f"packaged: {', '.join(packaged()) or 'none'}; yours: {', '.join(own) or 'none'}"
        )
    return (folder or user_folder()) / f"{name}.onnx"


def user_folder() -> Path:
    """Return the folder of the user's models; it is looked up at every call, and not made.

    On Linux ``$XDG_DATA_HOME/viso/models``, by default ``~/.local/share/viso/models``; on macOS
    ``~/Library/Application Support/viso/models``; on Windows ``%LOCALAPPDATA%\\viso\\models``.

    Raises
    ------
    ModelError
        If the account has no home to keep it in.
    """
    if sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        # The XDG Base Directory Specification has relative paths ignored.
        said = Path(os.environ.get("XDG_DATA_HOME", ""))
        base = said if said.is_absolute() else Path("~/.local/share")
    try:
        return base.expanduser() / "viso" / "models"
    except RuntimeError as error:
        raise ModelError(f"{base}: this account has no home folder; say --folder") from error


def _own(folder: Path | None) -> list[str]:
    """Return the names of the user's models; an account without a home has none."""
    try:
        return _names(folder or user_folder())
    except ModelError:
        return []


def _names(folder: Path) -> list[str]:
    """Return the names of the models in a folder; what is being written begins with a dot."""
    return sorted(path.stem for path in folder.glob("*.onnx") if not path.name.startswith("."))
