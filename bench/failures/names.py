"""Failures by name: every bit of the error has one, so their shares add up to 100 %."""

from __future__ import annotations

from failures.division import Division
from failures.frames import CONSONANT, HELD, ONSET, PAUSE, TAIL

__all__ = ["FAILURES", "failures_of"]

FAILURES = {
    "music in pauses": "leak while nobody sings",
    "bass": "leak below 200 Hz in all other frames",
    "drums": "leak above 200 Hz in these, where the music is percussive",
    "guitars and keys": "leak above 200 Hz in these, where the music is tonal",
    "tails": "lost in tails and pauses: reverb, breath, the ends of words",
    "voices missed": "lost in other frames that lose half of the vocals' energy or more",
    "wide voices": "lost from the side channel in the rest: doubles, harmonies, width",
    "consonants": "lost from the middle in the rest, consonants",
    "onsets": "likewise, onsets",
    "held notes": "likewise, vowels that go on",
    "other": "what no mask makes",
}


def failures_of(division: Division) -> dict[str, float]:
    """Return the shares of the error in percent, by name."""
    percent = division.percent
    bass = sum(percent("leak", event=event, region=0) for event in _SUNG)
    drums = sum(percent("leak", event=event, texture=1) for event in _SUNG)
    drums -= sum(percent("leak", event=event, texture=1, region=0) for event in _SUNG)
    sung = sum(percent("leak", event=event) for event in _SUNG)
    in_words = (CONSONANT, ONSET, HELD)
    return {
        "music in pauses": percent("leak", event=PAUSE),
        "bass": bass,
        "drums": drums,
        "guitars and keys": sung - bass - drums,
        "tails": percent("lost", event=TAIL) + percent("lost", event=PAUSE),
        "voices missed": sum(percent("lost", event=event, notice=1) for event in in_words),
        "wide voices": sum(percent("lost", event=event, notice=0, place=1) for event in in_words),
        "consonants": percent("lost", event=CONSONANT, notice=0, place=0),
        "onsets": percent("lost", event=ONSET, notice=0, place=0),
        "held notes": percent("lost", event=HELD, notice=0, place=0),
        "other": percent("other"),
    }


_SUNG = (TAIL, CONSONANT, ONSET, HELD)
