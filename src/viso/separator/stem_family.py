"""Which stems are made of a song together, and how they add up to it.

A model estimates some stems; the rest is what they leave of the song::

    vocals + instrumental             of every model
    vocals + drums + bass + other     of a model with these stems; "other" is what the rest leave

So the stems add up to the song, whatever the model does. The instrumental is always the song minus
the vocals, which is also drums + bass + other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viso.dsp.masking import split
from viso.errors import ConfigError

__all__ = ["ALL", "REST", "STEMS", "StemFamily", "family_of", "offered_stems", "requested_stems"]

Floats = npt.NDArray[np.float32]

STEMS = ("vocals", "instrumental")
"""The stems of every model, and those that are made unless others are requested."""

REST = "other"
"""The stem that takes what the estimates of more than one stem leave of the song."""

ALL = "all"
"""Stands for the stems of a model that add up to the song."""


@dataclass(frozen=True)
class StemFamily:
    """Stems that are made of a song together.

    Parameters
    ----------
    estimated : tuple of str
        Those that models estimate; "vocals" is the first.

    Examples
    --------
    >>> StemFamily(("vocals", "drums", "bass")).parts
    ('vocals', 'drums', 'bass', 'other')
    """

    estimated: tuple[str, ...] = ("vocals",)

    @property
    def parts(self) -> tuple[str, ...]:
        """The stems that add up to the song."""
        return STEMS if len(self.estimated) == 1 else (*self.estimated, REST)

    @property
    def names(self) -> tuple[str, ...]:
        """All stems: the parts, and the instrumental."""
        return tuple(dict.fromkeys((*self.parts, "instrumental")))

    def split(
        self, mixture: Floats, estimates: Floats, *, step: float | None = None
    ) -> dict[str, Floats]:
        """Return all stems of a block, whose parts add up to the mixture.

        Every estimate is split off what the earlier ones left (`viso.dsp.masking.split`). So the
        parts give the mixture if they are added from the last to the first.

        Parameters
        ----------
        mixture : array [shape=(channels, n)]
        estimates : array [shape=(len(estimated), channels, n)]
        step : float, optional
            The step of an integer format, a power of two. All stems are multiples of it then, and
            the last part takes up the rounding of the others.

        Returns
        -------
        dict of str to float32 array [shape=(channels, n)]
        """
        stems = {}
        # Steps are powers of two, so float32 rounds and subtracts exactly within -2 to 2. What two
        # of many estimates leave may lie outside.
        rest = mixture.astype(np.float64) if len(self.estimated) > 1 and step else mixture
        if step is not None:
            rest = np.rint(rest / step) * step
        for name, estimate in zip(self.estimated, estimates, strict=True):
            if step is None:
                stem, rest = split(rest.astype(np.float32), estimate.astype(np.float32))
            else:
                stem = np.rint(estimate / step) * step
                rest = rest - stem
            stems[name] = stem.astype(np.float32, copy=False)
            if name == "vocals":
                stems["instrumental"] = rest.astype(np.float32, copy=False)
        if len(self.estimated) > 1:
            stems[REST] = rest.astype(np.float32, copy=False)
        return {name: stems[name] for name in self.names}

    def sum(self, stems: dict[str, Floats]) -> Floats:
        """Return the sum of the parts, added from the last to the first."""
        *others, total = (stems[name] for name in self.parts)
        for stem in reversed(others):
            total = stem + total
        return total


def offered_stems(estimated: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return the stems that a blend of models offers.

    Parameters
    ----------
    estimated : iterable of iterables of str
        What each model estimates; all of them must estimate a stem for the blend to offer it.

    Examples
    --------
    >>> offered_stems([("drums", "bass", "other", "vocals")])
    ('vocals', 'drums', 'bass', 'other', 'instrumental')
    >>> offered_stems([("drums", "vocals"), ("vocals",)])
    ('vocals', 'instrumental')
    """
    first, *others = (dict.fromkeys(names) for names in estimated)
    left_over = (*STEMS, REST)
    shared = [name for name in first if all(name in names for names in others)]
    return StemFamily(("vocals", *(name for name in shared if name not in left_over))).names


def requested_stems(requested: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the requested stems, each once; "all" stands for those that add up.

    Raises
    ------
    ConfigError
        If there is none, or one that the model does not offer.
    """
    names: list[str] = []
    for name in requested:
        everything = [one for one in offered if len(offered) == 2 or one != "instrumental"]
        names += everything if name == ALL else [name]
    unknown = [name for name in names if name not in offered]
    if unknown or not names:
        raise ConfigError(
            f"no such stem: {unknown[0] if unknown else 'none is named'}; "
            f"the model offers {', '.join(offered)}"
        )
    return tuple(dict.fromkeys(names))


def family_of(requested: Iterable[str], offered: Sequence[str]) -> StemFamily:
    """Return the smallest family of an offer that has the requested stems."""
    if set(requested) <= set(STEMS):
        return StemFamily()
    return StemFamily(tuple(name for name in offered if name not in ("instrumental", REST)))
