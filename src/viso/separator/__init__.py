"""Separates arrays, streams and files into vocals and instrumental with any model."""

from __future__ import annotations

from viso.separator.separation import Progress, Report, Separation, Stems
from viso.separator.separator import Separator, separate
from viso.separator.stem_family import STEMS

__all__ = ["STEMS", "Progress", "Report", "Separation", "Separator", "Stems", "separate"]
