"""The models that are known by name: those of the package, of the checkout and of the user.

A model is an ONNX file with its card inside. A TOML file without an ONNX file of the same name is
a blend of models (`viso.models.card.BlendCard`). The models of the package are in `PACKAGED`. The
folder ``models`` of the repository has more: they are known if viso was installed from a checkout
that still exists, and must have the hashes in the folder's ``SHA256SUMS``. ``viso models import``
puts the user's models into a folder of the account's data.

References
----------
PEP 610, "Recording the Direct URL Origin of installed distributions": how an installer records
the checkout.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from viso.config import parse_json
from viso.errors import ModelError

__all__ = [
    "DEFAULT",
    "PACKAGED",
    "available",
    "checkout_folder",
    "new_path",
    "packaged",
    "path_of",
    "user_folder",
]

DEFAULT = "viso"

PACKAGED = Path(__file__).parent / "packaged"
"""The folder of the packaged models."""
_DISTRIBUTION = "viso-audio"
_HASHES = "SHA256SUMS"
_SUFFIXES = (".onnx", ".toml")


def packaged() -> list[str]:
    """Return the names of the packaged models, the default first."""
    return sorted(_names(PACKAGED), key=lambda name: name != DEFAULT)


def available(*, folder: Path | None = None) -> list[str]:
    """Return the names of the packaged (default first), the checkout's and the user's models.

    Parameters
    ----------
    folder : Path, optional
        Folder of the user's models; `user_folder` by default. It need not exist.
    """
    of_checkout, own = checkout_folder(), _own(folder)
    names = [*packaged(), *(_names(of_checkout) if of_checkout else []), *own]
    return list(dict.fromkeys(names))


def path_of(name: str, *, folder: Path | None = None) -> Path:
    """Return the file of a packaged model, else of the checkout's or else of the user's model.

    Parameters
    ----------
    name : str
    folder : Path, optional
        See `available`.

    Raises
    ------
    ModelError
        If no model has that name, or a file of the checkout has the wrong hash.
    """
    if name in packaged():
        return _file(PACKAGED, name)
    of_checkout = checkout_folder()
    if of_checkout and name in _names(of_checkout):
        return _checked(_file(of_checkout, name))
    own = _own(folder)
    if name not in own:
        others = f"; of the checkout: {', '.join(_names(of_checkout))}" if of_checkout else ""
        raise ModelError(
            f"{name}: no packaged model of that name, none of yours and no file there; "
            f"packaged: {', '.join(packaged()) or 'none'}{others}; "
            f"yours: {', '.join(own) or 'none'}"
        )
    return _file(folder or user_folder(), name)


def new_path(name: str, folder: Path | None = None, *, overwrite: bool = False) -> Path:
    """Return where a new model of the user's goes.

    Parameters
    ----------
    name : str
    folder : Path, optional
        Of the user's models, if not `user_folder`. It need not exist.
    overwrite : bool
        Whether a model of that name in the folder may be replaced.

    Raises
    ------
    ModelError
        If the name is taken.
    """
    path = (folder or user_folder()) / f"{name}.onnx"
    if name in packaged():
        raise ModelError(f"{name}: so a packaged model is called; say another --name")
    if path.exists() and not overwrite:
        raise ModelError(f"{path}: is already there; use --overwrite, or another --name")
    return path


def checkout_folder() -> Path | None:
    """Return the folder ``models`` of the checkout that viso was installed from, if any.

    Return None if viso came from elsewhere, or the checkout no longer exists.
    """
    # Imported here because it is slow to load.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        noted = distribution(_DISTRIBUTION).read_text("direct_url.json")
        url = urlsplit(parse_json(noted or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    folder = Path(url2pathname(url.path)) / "models"
    return folder if url.scheme == "file" and folder.is_dir() else None


def user_folder() -> Path:
    """Return the folder of the user's models, looked up at every call; do not create it.

    Linux: ``$XDG_DATA_HOME/viso/models``, by default ``~/.local/share/viso/models``. macOS:
    ``~/Library/Application Support/viso/models``. Windows: ``%LOCALAPPDATA%\\viso\\models``.

    Raises
    ------
    ModelError
        If the account has no home folder.
    """
    if sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        # The XDG Base Directory Specification says to ignore relative paths.
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
    """Return the names of the models in a folder; unfinished files begin with a dot."""
    files = [path for suffix in _SUFFIXES for path in folder.glob(f"*{suffix}")]
    return sorted({path.stem for path in files if not path.name.startswith(".")})


def _file(folder: Path, name: str) -> Path:
    """Return a model's file; a TOML file beside an ONNX file is only its card."""
    files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
    found = next((path for path in files if os.path.lexists(path)), None)
    if found is None:  # another program may remove it at any time
        raise ModelError(f"{files[0]}: is no more there; put it back, or name another model")
    return found


def _checked(path: Path) -> Path:
    """Return the file if it has its recorded hash, or no hash is recorded; raise otherwise."""
    hashes = path.parent / _HASHES
    lines = hashes.read_text(encoding="utf-8").splitlines() if hashes.is_file() else []
    noted = {
        name.strip(" *"): sha256 for sha256, _, name in (line.partition(" ") for line in lines)
    }
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if noted.get(path.name, found) != found:
        raise ModelError(
            f"{path}: is not the file whose hash {hashes.name} has; it is damaged, or was changed: "
            "fetch it again, or name it by its path"
        )
    return path
