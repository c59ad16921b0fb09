"""Settings of a studio, and the parsers of sizes and times for the command line."""

from __future__ import annotations

import math
import re
from pathlib import Path

from pydantic import ConfigDict, Field, field_validator

from viso.config import Settings
from viso.errors import ConfigError

__all__ = ["StudioConfig", "as_bytes", "as_seconds"]

_SHORTEST_TOKEN = 16
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


class StudioConfig(Settings):
    """Settings of a studio.

    Parameters
    ----------
    data : Path
        Folder for songs, stems and the list of both; made if missing. One studio at a time uses it.
    token : str, optional
        The secret that visitors must know; without it everybody who reaches the studio may use it.
    hosts : tuple of str
        Host names under which browsers may call it, without the port.
    any_address : bool
        Also accept any IP address as the host: for a studio on all of a machine's addresses.
    models : tuple of str
        Models on offer, the default first; all known ones by default.
    upload_bytes : int
        Largest song.
    upload_rate : float
        Lowest average rate of an upload, in bytes a second.
    upload_grace_s : float
        Seconds that an upload may take beyond that rate.
    n_uploads : int
        Concurrent uploads.
    length_s : float
        Longest song, and longest separated region.
    queue : int
        Jobs that may wait.
    keep_s : float
        Seconds for which a song and its stems are kept after the last job of the song.
    free_bytes : int
        Bytes of the disk that must stay free.
    n_jobs : int
        Songs separated at a time, each in a process of its own.
    threads : int
        CPU threads of each network; 0 takes all cores.
    patience_s : float
        Seconds without progress after which a separation fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data: Path
    token: str | None = Field(None, repr=False)
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    any_address: bool = False
    models: tuple[str, ...] = ()
    upload_bytes: int = Field(500_000_000, ge=1)
    upload_rate: float = Field(10_000, gt=0)
    upload_grace_s: float = Field(10, ge=0)
    n_uploads: int = Field(64, ge=1)
    length_s: float = Field(3600, gt=0)
    queue: int = Field(100, ge=1)
    keep_s: float = Field(86_400, gt=0)
    free_bytes: int = Field(1_000_000_000, ge=0)
    n_jobs: int = Field(1, ge=1, le=64)
    threads: int = Field(0, ge=0)
    patience_s: float = Field(600, gt=0)

    @field_validator("token")
    @classmethod
    def _is_long(cls, token: str | None) -> str | None:
        # The token is sent in a header and in a form.
        if token is not None and not re.fullmatch(rf"[!-~]{{{_SHORTEST_TOKEN},200}}", token):
            raise ValueError(
                f"needs {_SHORTEST_TOKEN} to 200 letters, digits and signs without blanks; "
                "'openssl rand -hex 16' makes one"
            )
        return token


def as_bytes(text: str, *, option: str) -> int:
    """Return the bytes of a size such as "500MB", "2G" or "10000".

    Raises
    ------
    ConfigError
        If it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if found is None or not (size := _sized(*found.groups())):
        raise ConfigError(f"{option} {text!r}: say a size like 500MB")
    return size


def _sized(number: str, unit: str, is_binary: str) -> int:
    return int(float(number) * (1024 if is_binary else 1000) ** _POWERS[unit])


def as_seconds(text: str, *, option: str) -> float:
    """Return the seconds of a time such as "90s", "60m", "24h", "7d" or "90".

    Raises
    ------
    ConfigError
        If it is no time.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(min|[smhd]?)\s*", text.lower())
    seconds = 0.0 if found is None else float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{option} {text!r}: say a time like 90s, 60m or 24h")
    return seconds
