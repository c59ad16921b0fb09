"""Read answers from files, and check each against its test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viso.config import parse_json
from viso.errors import ConfigError, DataError
from viso.listening.answers import read_answers
from viso.listening.definition import ListeningTest, Trial
from viso.listening.records import Choice, Listener, Ratings
from viso.listening.webmushra import read_webmushra

__all__ = ["Results", "check_record", "read_results"]

_RECORDS: dict[str, type[Listener] | type[Ratings] | type[Choice]] = {
    "listener": Listener,
    "ratings": Ratings,
    "choice": Choice,
}


@dataclass(frozen=True)
class Results:
    """All answers to a test, without training.

    `n_unfinished` counts listeners who began on a server and are left out because they have not
    finished.
    """

    listeners: tuple[Listener, ...]
    ratings: tuple[Ratings, ...]
    choices: tuple[Choice, ...]
    n_unfinished: int = 0


def read_results(
    paths: Sequence[Path], test: ListeningTest, *, with_unfinished: bool = False
) -> Results:
    """Read results from files, and from folders that hold ``*.jsonl``.

    A ``.csv`` file comes from webMUSHRA; see `viso.listening.webmushra`. A ``.sqlite`` file comes
    from a server; its listeners who have not finished are left out unless `with_unfinished`.

    A line that occurs twice counts once: a listener may have both sent and handed over a file.

    Raises
    ------
    DataError
        If a line is damaged, does not belong to this test, or contradicts another one; the message
        names the file and the line. Also if there is no answer.
    """
    seen: dict[tuple[str, ...], tuple[str, Listener | Ratings | Choice]] = {}
    n_unfinished = 0
    for path in _files(paths):
        if path.suffix.lower() == ".sqlite":
            stored, n_begun = read_answers(path, test, with_unfinished=with_unfinished)
            n_unfinished += 0 if with_unfinished else n_begun
            found = [(f"{path}: listener {record.listener}", record) for record in stored]
        else:
            found = list(_records(path, test))
        for origin, record in found:
            check_record(record, test, origin)
            key = _key(record)
            earlier = seen.setdefault(key, (origin, record))
            if earlier[1] != record:
                raise DataError(
                    f"{origin}: listener {record.listener} answered {'/'.join(key[2:]) or 'here'} "
                    f"otherwise at {earlier[0]}; take one of the two lines away"
                )
    records = [record for _, record in seen.values()]
    results = Results(
        tuple(r for r in records if isinstance(r, Listener)),
        tuple(r for r in records if isinstance(r, Ratings)),
        tuple(r for r in records if isinstance(r, Choice)),
        n_unfinished,
    )
    if not results.ratings and not results.choices:
        places = ", ".join(str(path) for path in paths)
        if n_unfinished:
            raise DataError(
                f"{places}: none of {n_unfinished} listeners has finished; take what they answered "
                "with --unfinished, or wait"
            )
        raise DataError(f"{places}: not one answer; give files that listeners saved, *.jsonl")
    return results


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(path.glob("*.jsonl"))
            if not found:
                raise DataError(f"{path}: no file ending in .jsonl in it")
            yield from found
        else:
            yield path


def _records(path: Path, test: ListeningTest) -> Iterator[tuple[str, Listener | Ratings | Choice]]:
    """Yield every record with its origin."""
    if path.suffix.lower() == ".csv":
        for ratings in read_webmushra(path, test):
            yield f"{path}: {ratings.listener}, {ratings.trial}", ratings
        return
    for origin, values in _objects(path):
        yield origin, _record(values, origin)


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every line's object with its origin."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error}); get the file again") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        origin = f"{path}: line {number}"
        try:
            yield origin, parse_json(line)
        except ValueError as error:
            raise DataError(
                f"{origin}: not a JSON object ({error!s:.80}); get the file again, or take the "
                "line away"
            ) from error


def _record(values: Any, origin: str) -> Listener | Ratings | Choice:
    kind = values.get("record") if isinstance(values, dict) else None
    # The kind may be a value that cannot be hashed.
    form = _RECORDS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise DataError(
            f"{origin}: a record of the kind {kind!r:.40}; it is one of {', '.join(_RECORDS)}"
        )
    try:
        return form.from_mapping(values, origin=origin)
    except ConfigError as error:
        raise DataError(str(error)) from error


def _key(record: Listener | Ratings | Choice) -> tuple[str, ...]:
    """Return a key; two records with the same key must be equal."""
    key: tuple[str, ...] = (record.record, record.listener)
    if isinstance(record, Ratings):
        return (*key, record.trial, record.question)
    return (*key, record.trial) if isinstance(record, Choice) else key


def check_record(record: Listener | Ratings | Choice, test: ListeningTest, origin: str) -> None:
    """Raise if a record does not belong to the test.

    Raises
    ------
    DataError
        If it does not; the message names `origin` and the reason.
    """
    if record.test != test.id:
        raise DataError(f"{origin}: of test {record.test!r:.40}, but this is test {test.id}")
    if isinstance(record, Listener):
        return
    if isinstance(record, Ratings) != (test.kind == "mushra"):
        raise DataError(f"{origin}: {record.record} in a test of the kind {test.kind}")
    trial = next((trial for trial in test.rated if trial.name == record.trial), None)
    if trial is None:
        raise DataError(f"{origin}: trial {record.trial!r:.40}; no such trial counts in this test")
    if isinstance(record, Ratings):
        if record.question not in [question.name for question in test.questions]:
            raise DataError(f"{origin}: question {record.question!r:.40} is not asked in this test")
        _check_stimuli(set(record.ratings), trial, origin)
        return
    _check_stimuli({record.a, record.b}, trial, origin)
    if (record.x is None) != (test.kind != "abx") or record.x not in (None, record.a, record.b):
        raise DataError(f"{origin}: x is {record.x!r}; in ABX it is a or b, elsewhere left out")
    if record.choice == "none" and not test.may_be_undecided:
        raise DataError(f"{origin}: choice 'none', which this test does not allow")


def _check_stimuli(found: set[str], trial: Trial, origin: str) -> None:
    wanted = {stimulus.id for stimulus in trial.stimuli}
    if found != wanted:
        odd = sorted(found ^ wanted)[0]
        raise DataError(
            f"{origin}: stimulus {odd!r:.40} is {'missing from' if odd in wanted else 'not in'} "
            f"trial {trial.name}"
        )
