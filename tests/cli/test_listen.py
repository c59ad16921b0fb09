"""The command that serves a listening test: fifty listeners, a server that is killed, usage."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.listening_server import answer_to, ask, new_key, pages_of
from helpers.simulated_listeners import make_song
from viso.cli import app
from viso.errors import ConfigError
from viso.listening import (
    BuildSettings,
    ListeningTest,
    as_lines,
    build_test,
    read_answers,
    read_results,
)

pytest.importorskip("fastapi", reason="needs the extra [web]")
pytest.importorskip("uvicorn", reason="needs the extra [web]")

Built = tuple[Path, ListeningTest]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("served")
    systems = {"alpha": 20.0, "beta": 6.0}
    songs = [make_song(folder, f"song {i}", systems, seed=10 * i) for i in range(2)]
    settings = BuildSettings(duration_s=1.2, seed=7, anchors=False, questions=("target",))
    return folder / "test", build_test(songs, folder / "test", settings=settings)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


class Command:
    """``viso listen serve`` itself; knows its address and the maker's token."""

    def __init__(self, folder: Path, *words: str) -> None:
        code = "from viso.cli import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "listen", "serve", str(folder), "--port", "0", *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.base = self.line().split(" ")[0]
        self.token = self.line().split(" ")[0].partition("#")[2]

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self, how: signal.Signals) -> int:
        assert self._process.stdout is not None
        with self._process.stdout:
            self._process.send_signal(how)
            return self._process.wait(60)


def ask_patiently(base: list[str], *words: Any, **options: Any) -> Any:
    """Ask until there is an answer: a server may be away."""
    deadline = time.monotonic() + 120
    while True:
        try:
            reply = ask(base[0], *words, **options)
        except (OSError, http.client.HTTPException) as error:  # cut off anywhere in an answer
            if time.monotonic() > deadline:
                raise AssertionError("the server stays away") from error
            time.sleep(0.1)
            continue
        assert reply.status == 200, reply
        return reply.json


def test_fifty_listeners_at_once_and_a_server_that_is_killed(built: Built, data: Path) -> None:
    folder, test = built
    n_listeners = 50
    command = Command(folder, "--data", str(data))
    base = [command.base]
    done = threading.Semaphore(0)

    def listen(key: str) -> Any:
        body = {"agrees": True}
        told = ask_patiently(base, "POST", "/api/session", key=key, body=body)
        for page in pages_of(told):
            ask_patiently(base, "POST", "/api/answers", key=key, body=answer_to(told, page))
            done.release()
        return told

    keys = [new_key() for _ in range(n_listeners)]
    try:
        with ThreadPoolExecutor(n_listeners) as pool:
            sessions = [pool.submit(listen, key) for key in keys]
            for _ in range(n_listeners * 2):
                assert done.acquire(timeout=120)
            command.end(signal.SIGKILL)
            command = Command(folder, "--data", str(data))
            base[0] = command.base
            told = [session.result(200) for session in sessions]
        records, n_unfinished = read_answers(data, test)
    finally:
        assert command.end(signal.SIGINT) == 0
    assert n_unfinished == 0
    found = read_results([data], test)
    assert sorted(listener.order for listener in found.listeners) == list(range(n_listeners))
    expected = {
        (one["name"], *page): answer_to(one, page)["ratings"]
        for one in told
        for page in pages_of(one)
        if page[0].startswith("t")
    }
    assert len(expected) == n_listeners * 4
    assert {(r.listener, r.trial, r.question): r.ratings for r in found.ratings} == expected
    assert as_lines(records).count("\n") == n_listeners * 5


def test_the_command_tells_where_the_test_is(built: Built, tmp_path: Path) -> None:
    words = ("--data", str(tmp_path / "a.sqlite"), "--links", "2", "--invited")
    command = Command(built[0], *words)
    try:
        assert "a.sqlite: 0 began, 0 finished" in command.line()
        key = command.line().partition("#")[2]
        assert ask(command.base, "GET", "/api/session", key=key).json["has_begun"] is False
        assert ask(command.base, "GET", "/api/maker", key=command.token).json["n_waiting"] == 2
        assert len(command.token) >= 22
    finally:
        assert command.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--token", "short"], "the maker's token"),
        (["--closes", "tomorrow"], "--closes tomorrow: no date"),
        (["--address", "listen.example.org"], "not where listeners reach it"),
        (["--host", "192.0.2.1"], "cannot listen there"),
    ],
)
def test_wrong_usage_of_the_command(
    built: Built, tmp_path: Path, words: list[str], message: str
) -> None:
    data = str(tmp_path / "data.sqlite")
    words = ["listen", "serve", str(built[0]), "--data", data, "--port", "0", *words]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ConfigError) and message in str(result.exception)


def test_without_the_extra_it_says_what_is_missing(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        n
        for n in sys.modules
        if n.startswith(("fastapi", "viso.http", "viso.listening.server", "viso.studio"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    result = CliRunner().invoke(app, ["listen", "serve", str(built[0])])
    assert isinstance(result.exception, ConfigError) and "[web]" in str(result.exception)
