"""The thresholds for faults and notes, each with its reason.

The thresholds that depend on real recordings were set with 6.7 h of songs with stems (101 of rock
and pop at 44.1 kHz, most of them excerpts of 7 s, and 110 of karaoke at 16 kHz) and with faults
added to them. They were set so that no song has a fault for what its makers did on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from viso.train.data.lint.agreement import Lag, lag_of, residual
from viso.train.data.lint.bleed import Bleed, mutual_bleed
from viso.train.data.lint.findings import Check, Finding, Severity
from viso.train.data.lint.levels import clipping, dc_offset, loudest_db, not_finite
from viso.train.data.lint.sound import CheckedSong, Part, Stem, add, shifted

__all__ = ["check_song"]

SILENT_DB = -60.0
"""RMS of the loudest tenth of a second, full scale = 0 dB. Of 16 bits, five are left."""
PASSAGE_S = 30.0
"""A shorter excerpt may come from a passage without singing (an intro, a solo): then a silent stem
is only a note if the other stem sounds."""
CLIPPED_SHARE = 1e-4
"""Clipping is a fault if the share of samples in flat tops is above this: 1 ms in 10 s. Below it,
it is a stray peak that passed a limiter."""
CLIPPED_NOTE = 10
"""Samples in flat tops for a note: fewer are a single cut overshoot, as resampling and rounding to
16 bits leave it."""
OFFSET_DB, OFFSET_SHARE = -60.0, 0.05
"""A mean is an offset if it is above this level and this share of the RMS. Waves of voices are not
symmetric, but their mean is near zero; a few low periods in a short excerpt leave a few
thousandths."""
LENGTH_FAULT_S = 0.1
"""Codecs add up to a few thousand samples at an end; a larger difference means another recording,
which packing refuses."""
SUM_FAULT_DB, SUM_NOTE_DB = -15.0, -30.0
"""Level of the mixture minus the stems at their best gain. Rounding leaves -90 dB, lossy coding
about -20 to -30, a limiter on the mixture -20 to -35; a missing stem rarely leaves less than
-15."""
GAIN_NOTE_DB = 0.5
"""The smallest difference in level that the ear hears."""
BLEED_FAULT_DB, BLEED_FAULT_RATIO = -40.0, 2.0
"""Gain of the copy of the other stem, and its ratio to chance (see `bleed`). At -40 dB the copy is
audible in the pauses of a stem played alone."""
BLEED_NOTE_DB, BLEED_NOTE_RATIO = -60.0, 2.5


def check_song(song: CheckedSong, *, rate_hz: int | None = None) -> list[Finding]:
    """Run every check that needs one song only.

    Parameters
    ----------
    song : CheckedSong
    rate_hz : int, optional
        Sampling rate that the files should have.

    Returns
    -------
    list of Finding
        Findings from reading the song come first.
    """
    findings = list(song.findings)
    parts = [(part, stem) for stem in song.stems for part in stem.parts]
    names = [(part, _name(part, stem)) for part, stem in parts]
    if song.mixture is not None:
        names.append((song.mixture, "mixture"))
    # If the instrumental is mixture minus vocals, the mixture is also a file of a stem.
    names = list({part.name: (part, name) for part, name in names}.values())
    findings += _rates(song, names, rate_hz)
    for part, name in names:
        findings += _part(song, part, name)
    if any(finding.check == "not-finite" for finding in findings):
        return findings
    findings += _lengths(song, names)
    silent = [_silence(song, stem) for stem in song.stems]
    findings += [finding for finding in silent if finding is not None]
    if song.mixture is not None:
        findings += _against_mixture(song, song.mixture)
    if {stem.role for stem in song.stems} == {"vocals", "instrumental"} and not any(silent):
        findings += _bleed(song)
    return findings


def _name(part: Part, stem: Stem) -> str:
    return stem.role if len(stem.parts) == 1 else Path(part.name).name


def _rates(song: CheckedSong, names: list[tuple[Part, str]], rate_hz: int | None) -> list[Finding]:
    wanted = rate_hz or song.rate_hz
    why = "expected" if rate_hz else "as its other stem has"
    return [
        Finding(
            "fault",
            "rate",
            song.name,
            name,
            f"sampled at {part.file_rate_hz} Hz, not at {wanted} Hz {why}; export it again at "
            f"{wanted} Hz",
        )
        for part, name in names
        if part.file_rate_hz != wanted
    ]


def _part(song: CheckedSong, part: Part, name: str) -> list[Finding]:
    def found(severity: Severity, check: Check, message: str) -> Finding:
        return Finding(severity, check, song.name, name, message)

    count, first = not_finite(part.audio)
    if count:
        what = f"{count} samples are NaN or infinite, the first at {first / song.rate_hz:.3f} s"
        return [found("fault", "not-finite", f"{what}; export it again")]
    findings = []
    flat = clipping(part.audio)
    if flat.n_samples >= CLIPPED_NOTE:
        share = flat.n_samples / part.audio.size
        tops = "1 flat top" if flat.n_runs == 1 else f"{flat.n_runs} flat tops"
        findings.append(
            found(
                "fault" if share > CLIPPED_SHARE else "note",
                "clipping",
                f"{tops} at {round(flat.level_db, 1) + 0.0} dBFS, {flat.n_samples} samples "
                f"({100 * share:.3g} %), the longest {flat.longest}; use an unclipped export",
            )
        )
    mean, ratio = dc_offset(part.audio)
    if abs(mean) > 10 ** (OFFSET_DB / 20) and ratio > OFFSET_SHARE:
        what = f"mean {mean:+.4f} of full scale, {100 * min(ratio, 1e3):.0f} % of the RMS"
        findings.append(found("fault", "dc-offset", f"{what}; take it out with a high-pass filter"))
    return findings


def _silence(song: CheckedSong, stem: Stem) -> Finding | None:
    level = loudest_db(stem.audio, rate_hz=song.rate_hz)
    if level > SILENT_DB:
        return None
    others = [other for other in song.stems if other.role != stem.role]
    sounds = any(loudest_db(other.audio, rate_hz=song.rate_hz) > SILENT_DB for other in others)
    is_passage = sounds and song.duration_s < PASSAGE_S
    what = "digital silence" if level == -np.inf else f"loudest 0.1 s at {level:.1f} dBFS"
    way_out = (
        "a passage without it? then it teaches silence, else leave the song out"
        if is_passage
        else "leave the song out, or use the other stem alone"
    )
    severity: Severity = "note" if is_passage else "fault"
    return Finding(severity, "silence", song.name, stem.role, f"{what}; {way_out}")


def _lengths(song: CheckedSong, names: list[tuple[Part, str]]) -> list[Finding]:
    lengths = {name: part.audio.shape[1] for part, name in names}
    if not lengths:
        return []
    apart = max(lengths.values()) - min(lengths.values())
    if apart == 0:
        return []
    is_fault = apart > LENGTH_FAULT_S * song.rate_hz
    listed = ", ".join(f"{name} {n}" for name, n in lengths.items())
    way_out = (
        "use stems of one recording"
        if is_fault
        else "padding of a coder? check that they start together"
    )
    severity: Severity = "fault" if is_fault else "note"
    message = f"lengths differ by {apart} samples ({listed}); {way_out}"
    return [Finding(severity, "length", song.name, "", message)]


def _against_mixture(song: CheckedSong, mixture: Part) -> list[Finding]:
    findings: list[Finding] = []
    placed = []
    lags: dict[str, Lag | None] = {}
    for stem in song.stems:
        for part in stem.parts:
            if part.name == mixture.name:
                lags[part.name] = Lag(0, 0, 1)
            elif part.name not in lags:
                lag = lag_of(part.audio, mixture.audio, rate_hz=song.rate_hz)
                lags[part.name] = lag
                if lag is not None and (lag.samples or lag.drift or lag.sign < 0):
                    findings.append(_misplaced(song, _name(part, stem), lag))
            lag = lags[part.name] or Lag(0, 0, 1)
            placed.append(np.float32(lag.sign * part.sign) * shifted(part.audio, lag.samples))
    drifts = any(lag is not None and lag.drift for lag in lags.values())
    # If the stems drift, their sum gives no more information.
    if len(song.stems) == 2 and not drifts:
        findings += _sum(song, add(placed), mixture, max(_shift(lag) for lag in lags.values()))
    return findings


def _shift(lag: Lag | None) -> int:
    return 0 if lag is None else abs(lag.samples)


def _sum(
    song: CheckedSong, total: npt.NDArray[np.float32], mixture: Part, margin: int
) -> Iterator[Finding]:
    """Compare the sum with the mixture, without the ends that are empty after shifting."""
    inner = slice(margin, min(total.shape[1], mixture.audio.shape[1]) - margin)
    if rest := residual(total[:, inner], mixture.audio[:, inner]):
        if rest.level_db > SUM_NOTE_DB:
            severity: Severity = "fault" if rest.level_db > SUM_FAULT_DB else "note"
            what = f"the stems leave {rest.level_db:.1f} dB of the mixture unexplained"
            way_out = "a missing stem, or effects on the mixture? train on the sum of the stems"
            yield Finding(severity, "sum", song.name, "mixture", f"{what}; {way_out}")
        elif abs(rest.gain_db) > GAIN_NOTE_DB:
            what = f"the mixture is {rest.gain_db:+.2f} dB against the sum of the stems"
            way_out = "train on the sum, or bring the stems to the level of the mixture"
            yield Finding("note", "sum", song.name, "mixture", f"{what}; {way_out}")


def _misplaced(song: CheckedSong, name: str, lag: Lag) -> Finding:
    if lag.drift:
        n, way = abs(lag.drift), "later" if lag.drift > 0 else "earlier"
        what = f"drifts against the mixture, at the end {n} samples {way} than at the start"
        way_out = "its sampling rate is not what its header says; resample it"
    elif lag.samples:
        n, way = abs(lag.samples), "late" if lag.samples > 0 else "early"
        what = f"{n} samples ({1000 * n / song.rate_hz:.1f} ms) {way} against the mixture"
        way_out = "shift it back"
    else:
        what, way_out = "of opposite polarity to the mixture", "multiply it by -1"
    return Finding("fault", "alignment", song.name, name, f"{what}; {way_out}")


def _bleed(song: CheckedSong) -> list[Finding]:
    stems = {stem.role: stem.audio for stem in song.stems}
    of_vocals, of_music = mutual_bleed(stems["vocals"], stems["instrumental"], rate_hz=song.rate_hz)
    found = [
        _leak(song, of_vocals, "vocals", "instrumental"),
        _leak(song, of_music, "instrumental", "vocals"),
    ]
    return [finding for finding in found if finding is not None]


def _leak(song: CheckedSong, leak: Bleed | None, what: str, where: str) -> Finding | None:
    if leak is None:
        return None
    if leak.level_db > BLEED_FAULT_DB and leak.ratio > BLEED_FAULT_RATIO:
        severity: Severity = "fault"
    elif leak.level_db > BLEED_NOTE_DB and leak.ratio > BLEED_NOTE_RATIO:
        severity = "note"
    else:
        return None
    when = "at once" if leak.lag == 0 else f"{abs(leak.lag)} samples "
    when += "" if leak.lag == 0 else "late" if leak.lag > 0 else "early"
    message = (
        f"the {what} can be heard at {leak.level_db:.1f} dB, {when} ({leak.ratio:.1f} times "
        "chance); use a cleaner recording, or leave the song out"
    )
    return Finding(severity, "bleed", song.name, where, message)
