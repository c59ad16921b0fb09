"""Settings of a batch: how its songs are separated and what their stems are called."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from viso.errors import ConfigError
from viso.models.registry import DEFAULT
from viso.models.session import Device
from viso.separator import STEMS, Separator
from viso.separator.stem_family import ALL
from viso.separator.templates import fields_of, stem_files
from viso.separator.wiener_stream import WINDOW_S

__all__ = ["SeparationConfig"]

_DEPTHS = {"wav": ("16", "24", "float"), "flac": ("16", "24")}
_LOSSY = ("mp3", "ogg", "opus", "m4a")


@dataclass(frozen=True, kw_only=True)
class SeparationConfig:
    """Settings of all songs of a batch.

    Parameters
    ----------
    model : str
        A packaged model, an ONNX file, or a blend such as "a*0.75+b*0.25".
    wiener : int, optional
        Iterations of a multichannel Wiener filter; 0 means none, None takes the model's number.
    wiener_window_s : float
    stems : tuple of str
        "vocals", "instrumental", or further ones that the model offers.
    format : {"wav", "flac", "mp3", "ogg", "opus", "m4a"}
    bit_depth : {"16", "24", "float"}
        For wav and flac (which has no "float").
    bitrate : str, optional
        Such as "320k", for the other formats.
    template : str
        Paths of the stems below the output folder. It needs ``{name}``, and ``{stem}`` if there
        is more than one file; it may also hold ``{ext}`` and ``{model}``.
    start_s, duration_s : float
        A region of every song, in seconds; to the end by default.
    confidence : bool
        Also write a table of where each separation is doubtful.
    device : {"auto", "cpu", "cuda", "coreml", "directml", "migraphx", "openvino"}

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    model: str = DEFAULT
    wiener: int | None = None
    wiener_window_s: float = WINDOW_S
    stems: tuple[str, ...] = STEMS
    format: str = "wav"
    bit_depth: str = "24"
    bitrate: str | None = None
    template: str = "{name}/{stem}.{ext}"
    start_s: float = 0.0
    duration_s: float | None = None
    confidence: bool = False
    device: Device = "auto"

    def __post_init__(self) -> None:
        if not self.stems or ALL in self.stems:
            raise ConfigError(f"stems {self.stems}: name each, such as {', '.join(STEMS)}")
        if self.format not in (*_DEPTHS, *_LOSSY):
            raise ConfigError(f"format {self.format!r}: use {', '.join((*_DEPTHS, *_LOSSY))}")
        depths = _DEPTHS.get(self.format, _DEPTHS["wav"])
        if self.bit_depth not in depths:
            raise ConfigError(
                f"bit depth {self.bit_depth!r}: {self.format} takes {', '.join(depths)}"
            )
        if self.bitrate is not None and self.format in _DEPTHS:
            raise ConfigError(f"bitrate {self.bitrate!r}: {self.format} has none; leave it out")
        if self.bitrate is not None and not re.fullmatch(r"[1-9]\d{0,3}[kK]", self.bitrate):
            raise ConfigError(f"bitrate {self.bitrate!r}: say it like 320k")
        if not self.start_s >= 0 or not (self.duration_s is None or self.duration_s > 0):
            raise ConfigError(
                f"start {self.start_s} s, duration {self.duration_s} s: need 0 or more, above 0"
            )
        _check_template(self.template, n_files=len(self.stems) + self.confidence)

    def separator(self, *, threads: int = 0) -> Separator:
        """Load the models.

        Parameters
        ----------
        threads : int
            CPU threads of each network; 0 takes all cores.

        Raises
        ------
        ModelError, ConfigError
            See `Separator`; also if the models do not offer a stem.
        """
        separator = Separator(
            self.model,
            wiener=self.wiener,
            wiener_window_s=self.wiener_window_s,
            device=self.device,
            threads=threads,
        )
        separator.requested(self.stems)
        return separator

    def facts(self, *, model: str, sha256: str, wiener: int) -> str:
        """Return all that decides the bytes and the names of the stems, as JSON.

        The device and viso's version are not in it: a batch may continue on another machine or
        after an update.

        Parameters
        ----------
        model : str
            The loaded models' name, with their shares.
        sha256 : str
            The hash of their files.
        wiener : int
            Iterations of the filter that follows them.
        """
        values = {**asdict(self), "wiener": wiener}
        for name in ("device", "model", *([] if wiener else ["wiener_window_s"])):
            del values[name]
        return json.dumps({"model": model, "sha256": sha256, **values}, sort_keys=True)

    def files(self, name: str, *, model: str) -> dict[str, Path]:
        """Return the path of each file of a song, below the output folder.

        Parameters
        ----------
        name : str
            The song's name in the template.
        model : str
            The loaded models' name.

        Returns
        -------
        dict of str to Path
            By stem; the table of the confidence, if requested, is "confidence".
        """
        return stem_files(
            self.template,
            name=name,
            model=model,
            stems=self.stems,
            ext=self.format,
            table=self.confidence,
        )


def key_of(facts: str) -> str:
    """Return the manifest's short key for `SeparationConfig.facts`."""
    return hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _check_template(template: str, *, n_files: int) -> None:
    fields = fields_of(template)
    if "name" not in fields:
        raise ConfigError(f"template {template!r}: needs {{name}}, or all songs have one name")
    if n_files > 1 and "stem" not in fields:
        raise ConfigError(f"template {template!r}: needs {{stem}}, or all stems have one name")
