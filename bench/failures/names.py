"""Failures by name: every bit of the error has one, so their shares add up to 100 %."""

from __future__ import annotations

from failures.division import Division
from failures.frames import CONSONANT, HELD, ONSET, PAUSE, TAIL

__all__ = ["FAILURES", "failures_of"]

FAILURES = {
    "music in pauses": "leak while nobody sings",
    "low tones": "leak below 200 Hz in all other frames",
    "drums": "leak above 200 Hz in these, where the music is percussive",
    "guitars and keys": "leak above 200 Hz in these, where the music is tonal",
    "tails": "lost in tails and pauses: reverb, breath, the ends of words",
    "voices missed": "lost in other frames that lose half of the vocals' energy or more",
    "low voices": "lost below 200 Hz in the rest: the lowest notes",
    "wide voices": "lost above 200 Hz from the side channel: doubles, harmonies, width",
    "consonants": "lost above 200 Hz from the middle, consonants",
    "onsets": "likewise, onsets",
    "held notes": "likewise, vowels that go on",
    "other": "what no mask makes",
}

_SUNG = (TAIL, CONSONANT, ONSET, HELD)
_IN_WORDS = (CONSONANT, ONSET, HELD)


def failures_of(division: Division) -> dict[str, float]:
    """Return the shares of the error in percent, by name."""

    def leak(**where: int) -> float:
        return sum(division.percent("leak", event=event, **where) for event in _SUNG)

    def lost(*events: int, **where: int) -> float:
        return sum(division.percent("lost", event=event, **where) for event in events)

    def noticed(*events: int, place: int) -> float:
        low = lost(*events, notice=0, place=place, region=0)
        return lost(*events, notice=0, place=place) - low

    low_tones = leak(region=0)
    drums = leak(texture=1) - leak(texture=1, region=0)
    return {
        "music in pauses": division.percent("leak", event=PAUSE),
        "low tones": low_tones,
        "drums": drums,
        "guitars and keys": leak() - low_tones - drums,
        "tails": lost(TAIL, PAUSE),
        "voices missed": lost(*_IN_WORDS, notice=1),
        "low voices": lost(*_IN_WORDS, notice=0, region=0),
        "wide voices": noticed(*_IN_WORDS, place=1),
        "consonants": noticed(CONSONANT, place=0),
        "onsets": noticed(ONSET, place=0),
        "held notes": noticed(HELD, place=0),
        "other": division.percent("other"),
    }
