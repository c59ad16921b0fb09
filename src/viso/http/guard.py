"""Helpers for the guards of all servers: headers of answers, host names, origins of requests."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

__all__ = ["SECURITY_HEADERS", "host_name", "is_address", "netloc_of", "with_headers"]

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""Headers that every answer of every server gets."""


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Return an ASGI `send` that adds headers to every answer and forbids caches to store it.

    Parameters
    ----------
    send : Send
    headers : mapping of str to str
        Added to `SECURITY_HEADERS`. Both replace the application's headers, except that a
        ``cache-control`` of the application stays.
    """

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer = MutableHeaders(scope=message)
            for name, value in {**SECURITY_HEADERS, **headers}.items():
                answer[name] = value
            answer.setdefault("cache-control", "no-store")
        await send(message)

    return send_with_headers


def host_name(host: str) -> str:
    """Return a ``Host`` without its port, in lower case; empty if it is not valid."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d+)?", host.lower())
    return "" if found is None else found[1] or found[2]


def is_address(name: str) -> bool:
    """Tell whether a host name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def netloc_of(origin: str) -> str:
    """Return host and port of an ``Origin``, in lower case; empty for "null" and invalid text."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
