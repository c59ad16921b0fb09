"""Is this run learning? Judged from its log alone, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from viso.train.run.run_folder import LogRow

__all__ = ["diagnose"]

_NO_BETTER_DB = 0.5
_FALL = 0.01
_RISE_DB = 0.1


def diagnose(
    history: Sequence[LogRow],
    *,
    mixture_db: float | None,
    warmup_steps: int,
    is_continued: bool = False,
) -> str | None:
    """Return what is wrong with a run, or None.

    Parameters
    ----------
    history : sequence of LogRow
        The rows of its log so far.
    mixture_db : float or None
        uSDR of the mixture taken as the vocals: what doing nothing scores.
    warmup_steps : int
        Of the recipe; nothing is expected before they are over.
    is_continued : bool
        Whether it began with the weights of another run: then its loss need not fall, and what it
        learns shows in the scores alone.

    Returns
    -------
    str or None
        One of, the worst first: after three validations nothing is better than the mixture;
        over eight rows the loss has not fallen by 1 %, nor has a score risen (not said of a run
        that goes on from another before three validations); the last five
        validations, and at least the last third of all, brought no new best.
    """
    scored = [row for row in history if row.usdr_db is not None and row.step > warmup_steps]
    scores = [row.usdr_db for row in scored if row.usdr_db is not None]
    if mixture_db is not None and len(scores) >= 3 and max(scores) < mixture_db + _NO_BETTER_DB:
        return (
            f"NOT LEARNING: the best of {len(scores)} validations is {max(scores):.2f} dB, and the "
            f"mixture itself has {mixture_db:.2f}; look at the data, then at the learning rate"
        )
    losses = [row.loss for row in history if row.step > warmup_steps]
    quarter = len(losses) // 4
    # Fine-tuned, the loss is as low as it will be, and what is learnt shows in the scores.
    is_rising = len(scores) >= 2 and max(scores[1:]) > scores[0] + _RISE_DB
    is_early = is_continued and len(scores) < 3
    if len(losses) >= 8 and not is_rising and not is_early:
        early = sum(losses[:quarter]) / quarter
        late = sum(losses[-quarter:]) / quarter
        if late > early - _FALL * abs(early):
            return (
                f"NOT LEARNING: the loss was {early:.4f} and is {late:.4f} after "
                f"{history[-1].step} steps; lower the learning rate or look at the data"
            )
    if not scores:
        return None
    best = max(range(len(scores)), key=scores.__getitem__)
    since = len(scores) - 1 - best
    if since >= 5 and since * 3 >= len(scores):
        return (
            f"no better since step {scored[best].step} ({scores[best]:.2f} dB, {since} validations "
            "ago): more steps of this kind do not help"
        )
    return None
