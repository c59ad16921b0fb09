"""Drain the body that a caller still sends after its request is refused.

The kernel resets a connection that is closed while received bytes are unread. A reset also throws
away the answer, so the caller would see a broken connection instead of the reason.
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
    """Read the rest of a request's body and drop it.

    Callers that ask before they send (``Expect: 100-continue``) have sent nothing yet, and this
    does not invite them to.

    Parameters
    ----------
    scope, receive : Scope, Receive
        ASGI's request.
    most_bytes : int
        A caller who sends more is cut off.
    longest_s : float
        A caller who takes longer, in seconds, is cut off.
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
