"""The server's process: a socket, uvicorn, a quiet end."""

from __future__ import annotations

import contextlib
import socket

import uvicorn
from fastapi import FastAPI

from viso.errors import ConfigError

__all__ = ["bind", "serve"]

_MOST_CONNECTIONS = 2000


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one.

    Raises
    ------
    ConfigError
        If the address is not of this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        # Who comes early waits.
        found.listen(1024)
    except (OSError, OverflowError) as error:
        found.close()
        raise ConfigError(
            f"{host}, port {port}: cannot listen there ({error}); choose others with --host, --port"
        ) from error
    return found


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer requests until the process is interrupted.

    Nothing is logged of them: neither addresses nor links.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        limit_concurrency=_MOST_CONNECTIONS,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    with contextlib.suppress(KeyboardInterrupt), listening:
        uvicorn.Server(config).run(sockets=[listening])
