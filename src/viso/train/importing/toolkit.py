"""Configurations of the training toolkits that publish RoFormers, SCNet and MDX23C.

A checkpoint of theirs is a file of weights (``.ckpt``, ``.th``) and a YAML file with the sections
``audio``, ``model`` and ``training``. The weights do not say how they are run; the YAML does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from viso.errors import ModelError

__all__ = ["Family", "ToolkitConfig", "read_config"]

Family = Literal["bs-roformer", "mel-band-roformer", "scnet", "mdx23c"]

_LARGEST_CONFIG = 1 << 20
_TUPLE = "tag:yaml.org,2002:python/tuple"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Builds plain values only; of Python's tags it knows the tuple."""


_Loader.add_constructor(_TUPLE, lambda loader, node: tuple(loader.construct_sequence(node)))


@dataclass(frozen=True)
class ToolkitConfig:
    """A checkpoint's configuration.

    Attributes
    ----------
    path : Path
    audio, model, training, inference : mapping
        The sections of the file; empty where it has none.
    """

    path: Path
    audio: Mapping[str, Any]
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    inference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        """The network that the section ``model`` describes.

        Raises
        ------
        ModelError
            If it describes none of the four.
        """
        if "freqs_per_bands" in self.model:
            return "bs-roformer"
        if "num_bands" in self.model:
            return "mel-band-roformer"
        if "band_SR" in self.model:
            return "scnet"
        if "num_subbands" in self.model:
            return "mdx23c"
        raise ModelError(
            f"{self.path}: describes no network that viso knows; it knows BS-RoFormer, "
            "Mel-Band RoFormer, SCNet and MDX23C"
        )

    def value(
        self, section: Literal["audio", "model", "inference"], key: str, kind: type, default: Any
    ) -> Any:
        """Return a value of a section, or the default.

        Raises
        ------
        ModelError
            If the value is of another kind.
        """
        found = getattr(self, section).get(key, default)
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            found = float(found)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise ModelError(
                f"{self.path}: {section}.{key} is {found!r:.40}, not of type {kind.__name__}"
            )
        return found


def read_config(path: Path) -> ToolkitConfig:
    """Read a configuration; nothing in it is executed.

    Raises
    ------
    ModelError
        If the file cannot be read, is no YAML, or names objects of Python other than tuples.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ModelError(f"{path}: more than {_LARGEST_CONFIG} bytes; none is so long")
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: no configuration that can be read ({reason:.120})") from error
    except RecursionError as error:
        raise ModelError(f"{path}: is nested too deep; no configuration is so") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: no configuration but {type(found).__name__}")
    sections = {name: found.get(name) or {} for name in ("audio", "model", "training", "inference")}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ModelError(f"{path}: {name} is no section but {type(section).__name__}")
    return ToolkitConfig(path, **sections)
