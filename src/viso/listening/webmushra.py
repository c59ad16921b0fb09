"""Export a test for webMUSHRA (configuration and WAV files), and read its results.

webMUSHRA adds the hidden reference itself, and shuffles pages and stimuli.
"""

from __future__ import annotations

import csv
import html
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from viso.audio import read, write
from viso.errors import ConfigError, DataError
from viso.listening.definition import (
    REFERENCE,
    ListeningTest,
    Question,
    Trial,
    load_test,
)
from viso.listening.export import new_folder
from viso.listening.records import Ratings
from viso.listening.sounds import read_stimulus

__all__ = ["as_configuration", "export_webmushra", "read_webmushra"]

_PREFIX = "s"  # every YAML reader takes a name that begins with a letter as text


def export_webmushra(source: Path, folder: Path) -> Path:
    """Write a MUSHRA or ABX test as a folder ``configs`` to copy over that of webMUSHRA.

    Parameters
    ----------
    source : Path
        Folder that `build_test` made.
    folder : Path
        Created; it appears when it is complete.

    Returns
    -------
    Path
        The configuration; ``?config=`` with its name opens it.

    Raises
    ------
    ConfigError
        If webMUSHRA has no page for such a test, or the folder exists and is not empty.
    """
    test = load_test(source)
    text = _yaml(as_configuration(test))
    with new_folder(folder) as place:
        (place / "configs" / test.id).mkdir(parents=True)
        for stimulus_id in test.stimulus_ids:
            sound = read_stimulus(source, stimulus_id, sha256=test.sha256.get(stimulus_id))
            copy = place / f"{stimulus_id}.flac"
            copy.write_bytes(sound)
            audio, rate_hz = read(copy)
            copy.unlink()
            write(place / _path(test, stimulus_id), audio, rate_hz=rate_hz)
        (place / "configs" / f"{test.id}.yaml").write_text(text, encoding="utf-8")
    return folder / "configs" / f"{test.id}.yaml"


def _path(test: ListeningTest, stimulus_id: str) -> str:
    return f"configs/{test.id}/{stimulus_id}.wav"


def as_configuration(test: ListeningTest) -> dict[str, Any]:
    """Return webMUSHRA's configuration as plain objects; paths are relative to its folder.

    Raises
    ------
    ConfigError
        If webMUSHRA has no page for such a test.
    """
    if test.kind == "preference":
        raise ConfigError(
            f"{test.title}: webMUSHRA has no page for preference without a reference; export the "
            "page of viso"
        )
    pages: list[Any] = [
        {
            "type": "generic",
            "id": "welcome",
            "name": test.title,
            "content": _as_html(f"{test.instructions}\n\n{test.consent}"),
        }
    ]
    rated: list[Any] = ["random"]
    for trial in test.trials:
        for name in test.questions_of(trial):
            question = next((one for one in test.questions if one.name == name), None)
            page = _page(test, trial, question)
            (pages if trial.training else rated).append(page)
    pages.append(rated)
    questions = [{"type": "text", "label": "A number or word for you", "name": "listener"}]
    if test.asks_device:
        questions.append({"type": "text", "label": "What did you listen with?", "name": "device"})
    if test.asks_age:
        questions.append({"type": "text", "label": "Your age range", "name": "age"})
    pages.append(
        {
            "type": "finish",
            "name": "Thank you",
            "content": "Please send your answers.",
            "showResults": False,
            "writeResults": True,
            "questionnaire": questions,
        }
    )
    return {
        "testname": test.title,
        "testId": test.id,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": pages,
    }


def _page(test: ListeningTest, trial: Trial, question: Question | None) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "name": "Training" if trial.training else "Which one is the reference?",
        "content": "",
        "showWaveform": False,
        "enableLooping": True,
    }
    if question is None:
        one, other = trial.stimuli
        return {
            "type": "paired_comparison",
            "id": trial.name,
            **shared,
            "reference": _path(test, one.id),
            "stimuli": {_PREFIX + other.id: _path(test, other.id)},
        }
    return {
        "type": "mushra",
        "id": f"{trial.name}-{question.name}",
        **shared,
        "name": "Training" if trial.training else question.name.capitalize(),
        "content": _as_html(f"{question.text} 0: {question.low}, 100: {question.high}."),
        # In strict mode, webMUSHRA refuses excerpts of more than 12 s.
        "strict": trial.duration_s <= 12,
        "reference": _path(test, trial.reference or trial.stimuli[0].id),
        "createAnchor35": False,
        "createAnchor70": False,
        "randomize": True,
        "showConditionNames": False,
        "stimuli": {
            _PREFIX + stimulus.id: _path(test, stimulus.id)
            for stimulus in trial.stimuli
            if stimulus.role != "reference"
        },
    }


def _as_html(text: str) -> str:
    return "<br><br>".join(html.escape(part) for part in text.split("\n\n") if part.strip())


def _yaml(value: Any, indent: str = "") -> str:
    """Return plain objects as YAML; every text value has quotes, as in JSON."""
    if isinstance(value, dict):
        items = [(f"{key}:", inner) for key, inner in value.items()]
    elif isinstance(value, list):
        items = [("-", inner) for inner in value]
    else:
        return json.dumps(value)
    lines = []
    for mark, inner in items:
        if isinstance(inner, dict | list) and inner:
            lines.append(f"{indent}{mark}\n{_yaml(inner, indent + '  ')}")
        else:
            lines.append(f"{indent}{mark} {json.dumps(inner)}\n")
    return "".join(lines)


def read_webmushra(path: Path, test: ListeningTest) -> list[Ratings]:
    """Read the ``mushra.csv`` that webMUSHRA writes for an exported test.

    Parameters
    ----------
    path : Path
    test : ListeningTest
        Of the kind ``mushra``.

    Returns
    -------
    list of Ratings
        Ratings of trials that count. The question ``listener`` at the end identifies the listener.

    Raises
    ------
    DataError
        If the file cannot be read or has another format, or a line does not fit the test.
    """
    pages: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    trials = {trial.name: trial for trial in test.trials}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                origin = f"{path}: line {line}"
                if row["session_test_id"] != test.id:
                    raise DataError(f"{origin}: of another test than {test.id}")
                name, _, question = row["trial_id"].partition("-")
                if name not in trials:
                    raise DataError(f"{origin}: trial {row['trial_id']!r:.40} is not in this test")
                if trials[name].training:
                    continue
                scores = pages[row["listener"].strip(), name, question]
                stimulus_id = _stimulus(row["rating_stimulus"], trials[name])
                if stimulus_id in scores:
                    raise DataError(
                        f"{origin}: listener {row['listener']!r:.40} rates "
                        f"{row['rating_stimulus']} twice; give each listener another name"
                    )
                scores[stimulus_id] = float(row["rating_score"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(f"{path}: no ratings of webMUSHRA ({error!r:.80})") from error
    return [_ratings(path, test, key, scores) for key, scores in pages.items()]


def _stimulus(name: str, trial: Trial) -> str:
    if name == REFERENCE:
        return next(s.id for s in trial.stimuli if s.role == "reference")
    return name.removeprefix(_PREFIX)


def _ratings(
    path: Path, test: ListeningTest, key: tuple[str, str, str], scores: dict[str, float]
) -> Ratings:
    listener, trial, question = key
    # Listeners choose their names, so any text may occur.
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in listener)[:64] or "_"
    values = {
        "test": test.id,
        "listener": plain,
        "trial": trial,
        "question": question,
        "ratings": scores,
    }
    try:
        return Ratings.from_mapping(values, origin=f"{path}: {listener}, {trial}")
    except ConfigError as error:
        raise DataError(str(error)) from error
