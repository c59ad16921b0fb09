"""To be written."""

from __future__ import annotations

from pathlib import Path

from viso.train.importing._draft import Draft, Wishes
from viso.train.importing.toolkit import ToolkitConfig


def draft(source: Path, wishes: Wishes, config: ToolkitConfig) -> Draft:
    raise NotImplementedError
