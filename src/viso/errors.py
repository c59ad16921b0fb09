"""The errors a user of viso can meet.

The tree::

    VisoError
    ├── AudioError    a file or an array that is not usable audio, or cannot be written
    ├── ModelError    a model file, its card, or the device it should run on
    ├── DataError     a corpus, a folder of songs, or the store they lie in
    └── ConfigError   a recipe, a card or an option with an impossible value

Every message names the file, the value and the way out, on one line.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "ConfigError",
    "DataError",
    "ModelError",
    "VisoError",
    "how_to_install",
    "unexpected",
]


class VisoError(Exception):
    """Root of every error that viso raises on purpose."""


class AudioError(VisoError):
    """A file or an array that is not usable audio, or a stem that cannot be written."""


class ModelError(VisoError):
    """A model file that cannot be run, or a device that does not exist."""


class DataError(VisoError):
    """A corpus, a folder of songs or a store that cannot be used."""


class ConfigError(VisoError):
    """A setting, a recipe or a model card with a missing or an impossible value."""


def how_to_install(*extras: str) -> str:
    """Return the command that installs extras; run it in a checkout of viso's repository."""
    return f'pip install -c constraints.txt ".[{",".join(extras)}]"'


def unexpected(error: BaseException) -> str:
    """Return one line for an error that is not a `VisoError`: a fault of viso, not of the user."""
    words = " ".join(str(error).split()) or "no reason given"
    return (
        f"viso itself failed ({type(error).__name__}: {words:.200}); please report it with what "
        "the same command shows with --debug"
    )
