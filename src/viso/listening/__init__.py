"""Listening tests: people rate how good separated songs sound.

    songs and systems -> build_test -> a folder: test.toml, stimuli
    the folder -> export_page, export_webmushra -> listeners -> results (JSON lines)
    the folder -> viso.listening.server -> listeners -> Answers (SQLite)
    results -> read_results -> analyse (screening, means, paired tests) -> write_report

MUSHRA (ITU-R BS.1534-3), ABX, and plain preference.
"""

from viso.listening.analysis import Analysis, Comparison, analyse
from viso.listening.answers import Answers, Begun, ListenerProgress, read_answers
from viso.listening.building import BuildSettings, build_test
from viso.listening.caveats import caveats
from viso.listening.choices import PairRow
from viso.listening.definition import (
    QUESTIONS,
    ListeningTest,
    Question,
    Stimulus,
    Trial,
    load_test,
)
from viso.listening.excerpts import Excerpt, read_excerpts
from viso.listening.export import as_page, export_page, page_path
from viso.listening.loudness import loudness_lufs
from viso.listening.material import SongMaterial
from viso.listening.records import Choice, Listener, Ratings, as_lines
from viso.listening.report import as_summary, write_report
from viso.listening.results import Results, check_record, read_results
from viso.listening.rows import MeanRow, QuartileRow, Rating, conditions_of
from viso.listening.screening import Screened, screen
from viso.listening.sequence import PlayingOrder, order_of
from viso.listening.sounds import read_stimulus, stimulus_path
from viso.listening.webmushra import export_webmushra, read_webmushra

__all__ = [
    "QUESTIONS",
    "Analysis",
    "Answers",
    "Begun",
    "BuildSettings",
    "Choice",
    "Comparison",
    "Excerpt",
    "Listener",
    "ListenerProgress",
    "ListeningTest",
    "MeanRow",
    "PairRow",
    "PlayingOrder",
    "QuartileRow",
    "Question",
    "Rating",
    "Ratings",
    "Results",
    "Screened",
    "SongMaterial",
    "Stimulus",
    "Trial",
    "analyse",
    "as_lines",
    "as_page",
    "as_summary",
    "build_test",
    "caveats",
    "check_record",
    "conditions_of",
    "export_page",
    "export_webmushra",
    "load_test",
    "loudness_lufs",
    "order_of",
    "page_path",
    "read_answers",
    "read_excerpts",
    "read_results",
    "read_stimulus",
    "read_webmushra",
    "screen",
    "stimulus_path",
    "write_report",
]
