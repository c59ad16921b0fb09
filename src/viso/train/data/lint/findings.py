"""The checks and the findings that they report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CHECKS", "Check", "Finding", "Severity"]

Severity = Literal["fault", "note"]
Check = Literal[
    "decode",
    "not-finite",
    "silence",
    "clipping",
    "dc-offset",
    "bandwidth",
    "rate",
    "length",
    "sum",
    "alignment",
    "bleed",
    "duplicate",
    "singer",
]

CHECKS: dict[Check, str] = {
    "decode": "files that cannot be read",
    "not-finite": "samples that are NaN or infinite",
    "silence": "stems without sound",
    "clipping": "flat tops of clipped waves",
    "dc-offset": "a mean that is not zero",
    "bandwidth": "nothing in the upper part of the spectrum",
    "rate": "sampling rates that differ",
    "length": "stems of unequal length",
    "sum": "stems that do not add up to the mixture",
    "alignment": "stems early, late or of wrong polarity against the mixture",
    "bleed": "one stem audible inside the other",
    "duplicate": "the same sound more than once",
    "singer": "one singer in both splits",
}
"""Every check and what it finds, in the order of the report."""


@dataclass(frozen=True)
class Finding:
    """One thing a check found.

    Attributes
    ----------
    severity : {"fault", "note"}
        A fault teaches a network something wrong or makes a validation worthless; with a note, a
        person decides.
    check : str
        Key of `CHECKS`.
    song : str
        Name of the song, or of the group that a finding about several songs concerns.
    role : str
        "vocals", "instrumental", "mixture", the name of a file, or empty.
    message : str
        What was found, how much of it, and what to do, on one line.
    """

    severity: Severity
    check: Check
    song: str
    role: str
    message: str
