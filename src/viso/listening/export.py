"""Export a test as a folder that works with any web server, or without one."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from viso.errors import ConfigError
from viso.listening.definition import ListeningTest, load_test
from viso.listening.sequence import order_of
from viso.listening.sounds import read_stimulus, stimulus_path

__all__ = ["PAGE_FILES", "as_page", "export_page", "new_folder", "page_path"]

_PAGE = Path(__file__).parent / "page"
PAGE_FILES = (
    "index.html",
    "listen.css",
    "listen.js",
    "pages.js",
    "parts.js",
    "player.js",
    "session.js",
)


def page_path(name: str) -> Path:
    """Return the path of one of `PAGE_FILES`."""
    return _PAGE / name


def as_page(
    test: ListeningTest, *, listeners: Sequence[int], post: str = "", embedded: bool = False
) -> dict[str, Any]:
    """Return what the page in a browser may know: no systems, songs or anchors.

    Parameters
    ----------
    test : ListeningTest
    listeners : sequence of int
        Listeners whose orders are included, counted from 0.
    post : str
        Address that receives the answers; without one, the listener saves them as a file.
    embedded : bool
        Whether the stimuli are scripts, which a page opened from disk may load.

    Returns
    -------
    dict
        Plain objects, the content of ``test.js``.

    Raises
    ------
    ConfigError
        If there are no listeners, or the address is not valid.
    """
    if not listeners:
        raise ConfigError("0 orders; a page needs at least 1")
    if post and urlsplit(post).scheme not in ("", "http", "https"):
        raise ConfigError(f"{post}: no address to send answers to; begin with https://")
    return {
        "version": test.version,
        "id": test.id,
        "kind": test.kind,
        "title": test.title,
        "instructions": test.instructions,
        "consent": test.consent,
        "asks_device": test.asks_device,
        "asks_age": test.asks_age,
        "may_be_undecided": test.may_be_undecided,
        "questions": [question.model_dump() for question in test.questions],
        "trials": [
            {
                "name": trial.name,
                "training": trial.training,
                "questions": list(filter(None, test.questions_of(trial))),
                "reference": trial.reference,
                "stimuli": [stimulus.id for stimulus in trial.stimuli],
            }
            for trial in test.trials
        ],
        "orders": [order_of(test, listener)._asdict() for listener in listeners],
        "post": post,
        "embedded": embedded,
    }


def export_page(
    source: Path, folder: Path, *, n_orders: int = 96, post: str = "", embedded: bool = False
) -> ListeningTest:
    """Write a test as a static folder: a page, its scripts, and the stimuli.

    The folder does not reveal which stimulus is which; ``test.toml`` is not copied.

    Parameters
    ----------
    source : Path
        Folder that `build_test` made.
    folder : Path
        Created; it appears when it is complete.
    n_orders : int
        Number of listeners' orders; further listeners share them.
    post, embedded
        See `as_page`.

    Returns
    -------
    ListeningTest

    Raises
    ------
    ConfigError
        If the test is not complete, or the folder is not empty or cannot be written.
    """
    test = load_test(source)
    description = as_page(test, listeners=range(n_orders), post=post, embedded=embedded)
    with new_folder(folder) as place:
        for name in PAGE_FILES:
            shutil.copyfile(page_path(name), place / name)
        script = f"window.visoTest = {json.dumps(description)};\n"
        (place / "test.js").write_text(script, encoding="utf-8")
        (place / "stimuli").mkdir()
        for stimulus_id in test.stimulus_ids:
            sound = read_stimulus(source, stimulus_id, sha256=test.sha256.get(stimulus_id))
            if not embedded:
                stimulus_path(place, stimulus_id).write_bytes(sound)
                continue
            text = base64.b64encode(sound).decode()
            script = f'(window.visoStimuli ??= {{}})["{stimulus_id}"] = "{text}";\n'
            (place / "stimuli" / f"{stimulus_id}.js").write_text(script, encoding="utf-8")
    return test


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill; it gets its final name when the block ends without an error.

    The hidden name is random, so that a failure removes only what this call created. The hidden
    folder of a killed process stays.

    Raises
    ------
    ConfigError
        If the folder is a link, exists and is not empty, or cannot be written.
    """
    if not folder.name:
        raise ConfigError(f"{folder}: no name for a folder to make; choose another one")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
    try:
        if folder.is_symlink():
            raise ConfigError(f"{folder}: a link; choose another name or take it away")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: already there; choose another name or take it away")
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            if folder.exists():
                folder.rmdir()  # fails if something was put there meanwhile
            unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror})") from error
