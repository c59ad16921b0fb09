"""Measure separators on songs with known stems: figures, tables and a report.

    songs, systems -> evaluate (one result per song) -> summary, by_group, compare -> report

Every song's mixture is the sum of its stems. A system is a model, a folder of estimates, the
mixture itself (the score of doing nothing), or an ideal mask (the bound of all masks).
"""

from viso.evaluate.report import write_report
from viso.evaluate.run import SongResult, evaluate
from viso.evaluate.scoring import METRICS, figures_of, score_song
from viso.evaluate.songs import (
    estimate_files,
    estimates_of,
    read_baseline,
    read_genres,
    singer_of,
    songs_of,
    truth_of,
)
from viso.evaluate.systems import MIXTURE, ORACLES, System, system_of
from viso.evaluate.tables import (
    Comparison,
    Row,
    by_group,
    compare,
    gnsdr_rows,
    stems_among,
    summary,
)

__all__ = [
    "METRICS",
    "MIXTURE",
    "ORACLES",
    "Comparison",
    "Row",
    "SongResult",
    "System",
    "by_group",
    "compare",
    "estimate_files",
    "estimates_of",
    "evaluate",
    "figures_of",
    "gnsdr_rows",
    "read_baseline",
    "read_genres",
    "score_song",
    "singer_of",
    "songs_of",
    "stems_among",
    "summary",
    "system_of",
    "truth_of",
    "write_report",
]
