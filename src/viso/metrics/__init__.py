"""How close an estimate is to the truth, and how close a mask could come at best.

Ratios are in decibels. Higher is better, except for `Residual.level_db`:

- `usdr`, the project's own measure: SDR over a whole song; `segment_sdr`: over each second;
- `si_sdr`: SDR at the best level; `nsdr` and `gnsdr`: SDR through the best filter, minus
  that of the mixture;
- `bss_eval`: BSSEval v4, with SDR, ISR, SIR and SAR of every second;
- `residual`: what remains after the truth is subtracted;
- `fullness`: bleedless and fullness, from 0 to 100;
- `oracle` and `oracle_wiener`: the bounds of what masks and filters can do.
"""

from __future__ import annotations

from viso.metrics.bss import BssScores, bss_eval, bss_eval_blocks
from viso.metrics.fullness import Fullness, fullness
from viso.metrics.normalised import gnsdr, nsdr, sdr_v3
from viso.metrics.oracles import oracle, oracle_wiener
from viso.metrics.ratios import SegmentSdr, segment_sdr, si_sdr, usdr
from viso.metrics.residuals import Residual, residual

__all__ = [
    "BssScores",
    "Fullness",
    "Residual",
    "SegmentSdr",
    "bss_eval",
    "bss_eval_blocks",
    "fullness",
    "gnsdr",
    "nsdr",
    "oracle",
    "oracle_wiener",
    "residual",
    "sdr_v3",
    "segment_sdr",
    "si_sdr",
    "usdr",
]
