"""Decides from the log of a run whether it learns, and reports it in plain words."""

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
        uSDR of the mixture taken as the vocals: the score without any separation.
    warmup_steps : int
        Warm-up of the recipe; rows before its end do not count.
    is_continued : bool
        Whether the run began with the weights of another run. Then its loss need not fall; only
        the scores show what it learns.

    Returns
    -------
    str or None
        The worst of these: after three validations no score is clearly better than the mixture's;
        over eight rows the loss has not fallen by 1 % and no score has risen (for a continued run
        only after three validations); the last five validations, and at least the last third of
        all, gave no new best.
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
    # In fine-tuning the loss may not fall further; only the scores show what is learnt.
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
