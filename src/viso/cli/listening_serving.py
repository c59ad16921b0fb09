"""What ``viso listen serve`` does; a module of its own, as it needs the extra ``[web]``."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, time
from pathlib import Path
from urllib.parse import urlsplit

from viso.cli.console import out, shown
from viso.errors import ConfigError, how_to_install
from viso.listening import Answers, load_test

__all__ = ["serve_test"]


def serve_test(
    folder: Path,
    data: Path | None,
    *,
    host: str,
    port: int,
    token: str,
    address: str,
    n_links: int,
    is_open: bool,
    most: int,
    per_hour: int,
    closes: str,
) -> None:
    """Say where the test is, and run it until Ctrl-C."""
    try:
        from viso.listening.server import Entrance, bind, create_listening_app, serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed; viso listen serve needs the extra [web]: "
            f"{how_to_install('web')}"
        ) from error

    test = load_test(folder)
    entrance = Entrance(is_open, most, _moment(closes), per_hour)
    name = _host_of(address)
    token = token or secrets.token_urlsafe(16)
    path = data or folder / "results.sqlite"
    answers = Answers(path, test)
    try:
        app = create_listening_app(
            folder, answers, maker_key=token, entrance=entrance, names=(name,) if name else ()
        )
        listening = bind(host, port)
        port = listening.getsockname()[1]
        base = f"{address.rstrip('/')}/" if address else f"http://{_in_address(host)}:{port}/"
        begun, _ = answers.progress()
        n_finished = sum(bool(listener.finished_at) for listener in begun)
        for line in (
            f"{base}  {'for listeners' if is_open else 'for listeners with a link of their own'}",
            f"{base}maker#{token}  for you: progress, links, results",
            f"{path}: {len(begun)} began, {n_finished} finished",
            *(f"{base}#{key}" for key in answers.invite(n_links)),
        ):
            out().print(shown(line))
        serve(app, listening)
    finally:
        answers.close()


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _host_of(address: str) -> str:
    """Return the host's name in an address, nothing for none."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        name = parts.hostname
    except ValueError:
        name = None
    is_plain = name and parts.scheme in ("http", "https") and not re.search(r"[#?@]", address)
    if not name or not is_plain:
        # Not the whole of it: the maker's own link ends in the token.
        start = re.sub(r"[^/]*@", "", re.split(r"[#?]", address)[0])
        raise ConfigError(
            f"--address {start}: not where listeners reach it; write https://listen.example.org/"
        )
    return name


def _moment(text: str) -> datetime | None:
    """Return the moment a test closes: the end of a day, or a time, in local time if not said."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--closes {text}: no date; write 2026-12-24 or 2026-12-24T18:00"
        ) from error
    if len(text) <= len("2026-12-24"):
        found = datetime.combine(found, time.max)
    return found.astimezone()
