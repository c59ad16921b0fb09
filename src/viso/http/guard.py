"""What the guards of all servers share: headers of answers, names of hosts, origins of requests."""

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
    """Return a `send` of ASGI that adds headers to every answer, and forbids to store it.

    Parameters
    ----------
    send : Send
    headers : mapping of str to str
        Beside `SECURITY_HEADERS`. They replace those of the application. An application that
        says ``cache-control`` itself keeps it.
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
    """Return a ``Host`` without its port, in lower case; empty if it makes no sense."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d+)?", host.lower())
    return "" if found is None else found[1] or found[2]


def is_address(name: str) -> bool:
    """Tell whether the name of a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def netloc_of(origin: str) -> str:
    """Return host and port of an ``Origin``, in lower case; empty for "null" and nonsense."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
