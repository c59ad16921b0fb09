"""A server of a listening test in this process, and a plain way to ask it."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from viso.listening import Answers, ListeningTest

MAKER = "the-makers-own-token"


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The answer's object."""
        return json.loads(self.body)


def ask(
    base: str,
    method: str,
    path: str,
    *,
    key: str = "",
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Ask a server as a page would; `headers` replace those of the page."""
    parts = urlsplit(base)
    sent = {"Authorization": f"Bearer {key}"} if key else {}
    data = None
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, path, body=data, headers=sent | dict(headers or {}))
        found = connection.getresponse()
        names = {name.lower(): value for name, value in found.getheaders()}
        return Reply(found.status, names, found.read())
    finally:
        connection.close()


def new_key() -> str:
    """Return the key of a link, as a page draws it."""
    return secrets.token_urlsafe(18)


@contextmanager
def running(
    folder: Path, test: ListeningTest, data: Path, *, entrance: object = None, **options: Any
) -> Iterator[str]:
    """Serve a test from a thread; gives the address, which ends in a slash."""
    import uvicorn

    from viso.http.connections import listen, server_config
    from viso.listening.server import create_listening_app

    answers = Answers(data, test)
    app = create_listening_app(folder, answers, maker_key=MAKER, entrance=entrance, **options)
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(app, proxy_headers=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
        answers.close()


def answer_to(told: Any, page: tuple[str, str]) -> dict[str, Any]:
    """Return an answer to a page of the session `told`: the same one every time."""
    test = told["test"]
    index = [trial["name"] for trial in test["trials"]].index(page[0])
    trial, order = test["trials"][index], test["orders"][0]
    stimuli = [trial["stimuli"][place] for place in order["stimuli"][index]]
    body: dict[str, Any] = {"trial": page[0]}
    if page[1]:
        body["question"] = page[1]
    if trial["training"]:
        return body
    if test["kind"] == "mushra":
        body["ratings"] = {name: float(int(name, 16) % 101) for name in stimuli}
    else:
        body |= {"a": stimuli[0], "b": stimuli[1], "choice": "ab"[int(stimuli[0], 16) % 2]}
        if order["hidden"]:
            body["x"] = stimuli[order["hidden"][index]]
    return body | {"seconds": 12.5}


def pages_of(told: Any) -> list[tuple[str, str]]:
    """Return a session's pages in their order."""
    test = told["test"]
    return [
        (test["trials"][index]["name"], question)
        for index in test["orders"][0]["trials"]
        for question in test["trials"][index]["questions"] or [""]
    ]
