"""The tables: failures by song, by genre and over the corpus, as Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from failures.division import KINDS, PLACES, REGIONS_HZ, Division
from failures.frames import EVENTS
from failures.names import FAILURES, failures_of
from viso.metrics.ratios import decibels

__all__ = ["Divisions", "as_json", "page"]

Divisions = Mapping[str, Division]
"""By song."""

_OTHER = "other"  # songs without a genre, as viso.evaluate calls them


def page(systems: Mapping[str, Divisions], genres: Mapping[str, str]) -> str:
    """Return all tables; those of single songs for the first system only."""
    first, divisions = next(iter(systems.items()))
    parts = [
        "Shares are means over songs, in percent of a song's error energy.",
        _failures(systems),
        _kinds(systems),
        _lost(systems),
        f"Every song, {first}:\n\n{_songs(divisions)}",
    ]
    if genres:
        parts.append(f"By genre, {first}:\n\n{_genres(divisions, genres)}")
    return "\n\n".join(parts) + "\n"


def as_json(systems: Mapping[str, Divisions]) -> dict[str, dict[str, dict[str, object]]]:
    """Return the figures of every system and song as plain objects."""
    return {
        system: {
            song: {
                "usdr_db": division.usdr_db,
                "leak_db": _leak_db(division),
                "lost_db": _lost_db(division),
                "floor_percent": _floor(division),
                "failures_percent": failures_of(division),
            }
            for song, division in divisions.items()
        }
        for system, divisions in systems.items()
    }


def _leak_db(division: Division) -> float:
    return decibels(division.total("vocals"), division.total("leaked"))


def _lost_db(division: Division) -> float:
    return decibels(division.total("vocals"), division.total("missing"))


def _floor(division: Division) -> float:
    return 100 * division.total("floor") / max(1e-30, sum(map(division.total, KINDS)))


def _failures(systems: Mapping[str, Divisions]) -> str:
    head = ["failure", "what", *systems]
    body = [
        [f"**{name}**", what, *(f"{_mean(d, _failure(name)):.1f}" for d in systems.values())]
        for name, what in FAILURES.items()
    ]
    measures: dict[str, tuple[str, Callable[[Division], float]]] = {
        "uSDR": ("dB", lambda division: division.usdr_db),
        "leak": ("dB below the vocals", _leak_db),
        "lost": ("dB below the vocals", _lost_db),
        "floor": ("of the error: what the best mask from 0 to 1 would leave, too", _floor),
    }
    for name, (what, measure) in measures.items():
        body.append([name, what, *(f"{_mean(d, measure):.1f}" for d in systems.values())])
    return _table(head, body, n_words=2)


def _failure(name: str) -> Callable[[Division], float]:
    return lambda division: failures_of(division)[name]


def _mean(divisions: Divisions, measure: Callable[[Division], float]) -> float:
    return float(np.mean([measure(division) for division in divisions.values()]))


def _kinds(systems: Mapping[str, Divisions]) -> str:
    """Where leak and lost lie by region and place, in percent of the error."""
    head = ["", *(f"{system}: {kind}" for system in systems for kind in KINDS[:2])]
    body = []
    for axis, labels in (("region", _regions()), ("place", PLACES)):
        for index, label in enumerate(labels):
            where = {axis: index}
            shares = [
                _mean(divisions, partial(_share, kind=kind, **where))
                for divisions in systems.values()
                for kind in KINDS[:2]
            ]
            body.append([label, *(f"{share:.1f}" for share in shares)])
    return _table(head, body)


def _lost(systems: Mapping[str, Divisions]) -> str:
    """How much of the vocals' own energy in a place is lost, in percent; medians over songs."""
    head = [
        "of the vocals",
        "are there, % (mean)",
        *(f"{name} loses of them, % (median)" for name in systems),
    ]
    body = []
    for axis, labels in (("event", EVENTS), ("place", PLACES), ("region", _regions())):
        for index, label in enumerate(labels):
            where = {axis: index}
            # The truth is the same for all systems.
            there = _mean(next(iter(systems.values())), partial(_present, **where))
            missing = [_missing(divisions, **where) for divisions in systems.values()]
            body.append([label, f"{there:.1f}", *(_whole(value) for value in missing)])
    return _table(head, body)


def _share(division: Division, *, kind: str, **where: int) -> float:
    return division.percent(kind, **where)


def _present(division: Division, **where: int) -> float:
    return 100 * division.total("vocals", **where) / max(1e-30, division.total("vocals"))


def _missing(divisions: Divisions, **where: int) -> float:
    """Return the median over the songs with vocals there: a ten-thousandth of their energy."""
    shares = [
        100 * division.total("missing", **where) / division.total("vocals", **where)
        for division in divisions.values()
        if _present(division, **where) >= 0.01
    ]
    return float(np.median(shares)) if shares else float("nan")


def _whole(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.0f}"


def _songs(divisions: Divisions) -> str:
    head = ["song", "uSDR, dB", "leak, dB", "lost, dB", "floor", *FAILURES]
    body = [
        [song, *_figures(division), *(f"{v:.0f}" for v in failures_of(division).values())]
        for song, division in sorted(divisions.items(), key=lambda item: item[1].usdr_db)
    ]
    return _table(head, body)


def _figures(division: Division) -> list[str]:
    return [
        f"{division.usdr_db:.2f}",
        f"{_leak_db(division):.1f}",
        f"{_lost_db(division):.1f}",
        f"{_floor(division):.0f}",
    ]


def _genres(divisions: Divisions, genres: Mapping[str, str]) -> str:
    """A row for each genre: medians of the decibels, the failures with the largest means."""
    groups: dict[str, dict[str, Division]] = {}
    for song, division in divisions.items():
        groups.setdefault(genres.get(song, _OTHER), {})[song] = division
    body = []
    for genre, group in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0] == _OTHER, g[0])):
        shares = {name: _mean(group, _failure(name)) for name in FAILURES}
        worst = sorted(shares, key=lambda name: -shares[name])[:3]
        medians = [
            f"{np.median([measure(division) for division in group.values()]):.1f}"
            for measure in (lambda division: division.usdr_db, _leak_db, _lost_db)
        ]
        told = ", ".join(f"{name} {shares[name]:.0f}" for name in worst)
        body.append([genre, str(len(group)), *medians, told])
    head = ["genre", "songs", "uSDR, dB", "leak, dB", "lost, dB", "most of the error, %"]
    return _table(head, body)


def _regions() -> list[str]:
    edges = [f"{edge / 1000:g}" for edge in REGIONS_HZ]
    inner = [f"{low} to {high} kHz" for low, high in itertools.pairwise(edges)]
    return [*inner, f"above {edges[-1]} kHz"]


def _table(head: Sequence[str], body: Iterable[Iterable[str]], *, n_words: int = 1) -> str:
    rule = ["---"] * n_words + ["---:"] * (len(head) - n_words)
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in (list(head), rule, *map(list, body))
    )
