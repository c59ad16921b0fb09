"""A song in, vocals and instrumental out: arrays, streams and files, through any model."""

from __future__ import annotations

from viso.separator.separation import Progress, Report, Separation, Stems
from viso.separator.separator import Separator, separate
from viso.separator.stem_files import STEMS

__all__ = ["STEMS", "Progress", "Report", "Separation", "Separator", "Stems", "separate"]
