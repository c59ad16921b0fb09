"""Reads weights from a torch file without running any code in the file."""

from __future__ import annotations

import _codecs
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from viso.errors import ModelError

__all__ = [
    "LARGEST_STATE",
    "State",
    "check_archive",
    "fill",
    "read_package",
    "read_state",
]

LARGEST_STATE = 1 << 30
"""Largest size, in bytes, of an unpacked file of weights, and of its tensors."""

State = Mapping[str, Tensor]

# Packages whose objects stand beside the weights of a package; none of them is imported.
_HARMLESS = {"collections", "demucs", "dora", "fractions", "hydra", "numpy", "omegaconf", "pathlib"}
# Where programs put the weights beside other things, the best of several first.
_NESTED = ("best_state", "state_dict", "model_state_dict", "state")
_FRACTION = re.compile(r"\d{1,9}(/\d{1,9})?")


class _Inert:
    """Stands for a class or a function that a file names; it keeps and does nothing."""

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _fraction(*parts: Any) -> Fraction:
    """Build a fraction, as its pickle asks for, of short numbers alone."""
    text = "/".join(str(part) for part in parts)
    if _FRACTION.fullmatch(text) is None:
        raise ValueError("no fraction of two whole numbers")
    return Fraction(text)


@contextmanager
def _arrays_allowed() -> Iterator[None]:
    """Let ``torch.load`` build only tensors and numpy arrays of float32."""
    rebuild = np.empty(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]
    allowed: list[Any] = [(rebuild, name) for name in names]
    allowed += [np.ndarray, np.dtype, type(np.dtype(np.float32)), _codecs.encode]
    with torch.serialization.safe_globals(allowed):
        yield


@contextmanager
def _errors_of_one_line(origin: str) -> Iterator[None]:
    """Turn whatever reading a file raises into a `ModelError`; a damaged file can fail anywhere."""
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{origin}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(
            f"{origin}: no weights that torch can read safely ({reason:.100}); "
            "give the file as its makers published it"
        ) from error


def read_state(file: Path | IO[bytes], *, origin: str) -> dict[str, Tensor]:
    """Return the tensors in a file that ``torch.save`` wrote from a dictionary.

    Parameters
    ----------
    file : Path or binary stream
        The dictionary holds tensors or numpy arrays; if it has a dictionary such as
        ``state_dict``, that one is used instead. Other entries are left out.
    origin : str
        Name of the file in errors.

    Raises
    ------
    ModelError
        If the file cannot be read, holds objects whose code would have to run, has no tensors, or
        has more than `LARGEST_STATE` bytes.
    """
    with _errors_of_one_line(origin):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                check_archive(archive, origin=origin)
        if not isinstance(file, Path):
            file.seek(0)
        with _arrays_allowed():
            found = torch.load(file, map_location="cpu", weights_only=True)
        if isinstance(found, dict):
            found = next((found[key] for key in _NESTED if isinstance(found.get(key), dict)), found)
        items = found.items() if isinstance(found, dict) else ()
        state = {
            str(key): torch.as_tensor(value)
            for key, value in items
            if isinstance(value, Tensor | np.ndarray)
        }
    if not state:
        raise ModelError(f"{origin}: holds no weights, but {type(found).__name__}; see --kind")
    # A tensor may repeat a few bytes any number of times.
    _check_size(sum(value.numel() * value.element_size() for value in state.values()), origin)
    return state


def read_package(path: Path, *, origin: str) -> dict[str, Any]:
    """Return what ``torch.save`` wrote from a dictionary of weights and of how they are built.

    Nothing that the file names is imported or called, but for tensors and fractions. Any other
    object becomes an instance of an empty class. A class that is itself an entry becomes its name.

    Parameters
    ----------
    path : Path
        In torch's present format, a zip archive.
    origin : str
        Name of the file in errors.

    Raises
    ------
    ModelError
        If the file cannot be read, holds no dictionary, names objects of packages that weights
        have no need of, or has more than `LARGEST_STATE` bytes.
    """
    with _errors_of_one_line(origin):
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, origin=origin)
        named = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        foreign = [name for name in named if name.partition(".")[0] not in _HARMLESS]
        if foreign:
            raise ModelError(
                f"{origin}: names {foreign[0]:.60}, which weights have no need of; nothing of it "
                "was run; give the file as its makers published it"
            )
        stand_ins: dict[str, Any] = {name: type(name, (_Inert,), {}) for name in named}
        if "fractions.Fraction" in stand_ins:
            stand_ins["fractions.Fraction"] = _fraction
        allowed: list[Any] = [(stand_in, name) for name, stand_in in stand_ins.items()]
        with torch.serialization.safe_globals(allowed):
            found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise ModelError(f"{origin}: holds no dictionary, but {type(found).__name__}; see --kind")
    return {
        str(key): value.__name__ if isinstance(value, type) else value
        for key, value in found.items()
    }


def check_archive(archive: zipfile.ZipFile, *, origin: str, name: str | None = None) -> None:
    """Raise an error if a zip archive, or a file in it, unpacks to more than `LARGEST_STATE`.

    Raises
    ------
    KeyError
        If there is no such file.
    ModelError
    """
    entries = archive.infolist() if name is None else [archive.getinfo(name)]
    _check_size(sum(entry.file_size for entry in entries), origin)


def _check_size(n_bytes: int, origin: str) -> None:
    if n_bytes > LARGEST_STATE:
        raise ModelError(
            f"{origin}: {n_bytes} bytes of weights; at most {LARGEST_STATE} are read, give the "
            "file as its makers published it"
        )


def fill(network: nn.Module, state: State, *, called: Callable[[str], str], origin: str) -> None:
    """Load weights into a network, in place, and set it to evaluation.

    Parameters
    ----------
    network : nn.Module
        On the device "meta": it takes memory only after all shapes are checked.
    state : mapping of str to Tensor
        Entries that the network does not need are left out.
    called : callable
        Maps the network's name of a weight to its name in `state`.
    origin : str
        Name of the file in errors.

    Raises
    ------
    ModelError
        If a weight is missing, has another shape, or is not finite.
    """
    taken = {}
    for name, mine in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        theirs = called(name)
        if theirs not in state:
            raise ModelError(f"{origin}: has no {theirs}; is it of another kind? See --kind")
        value = state[theirs]
        if value.shape != mine.shape:
            raise ModelError(
                f"{origin}: {theirs} is {list(value.shape)}, not {list(mine.shape)}; "
                "only the layout that was published is known"
            )
        if not value.isfinite().all():
            raise ModelError(f"{origin}: {theirs} holds NaN or infinity; fetch the file anew")
        taken[name] = value.float()
    network.to_empty(device="cpu")
    network.load_state_dict(taken, strict=False)
    network.eval()
