"""What a caller still sends when it is already refused.

A connection that is closed while sent bytes lie unread is reset by the kernel, and a reset
throws away the answer, too: the caller would see a broken connection instead of the reason.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

__all__ = ["drain_body"]

_MOST_BYTES = 1 << 20
_LONGEST_S = 2.0


async def drain_body(
    scope: Scope,
    receive: Receive,
    *,
    most_bytes: int = _MOST_BYTES,
    longest_s: float = _LONGEST_S,
) -> None:
    """Take the rest of a request's body and forget it.

    Callers that ask before they send (``Expect: 100-continue``) have nothing under way, and
    are not told to send it.

    Parameters
    ----------
    scope, receive : Scope, Receive
        ASGI's request.
    most_bytes : int
        Who sends more is cut off.
    longest_s : float
        Who takes longer is cut off, in seconds.
    """
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    n_bytes = 0
    try:
        async with asyncio.timeout(longest_s):
            while n_bytes <= most_bytes:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                n_bytes += len(message.get("body", b""))
    except TimeoutError:
        return
