"""Limit callers without the token: their requests at a time, and the tokens they may try."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Crowd", "Guesses", "address_of"]

_TOKENS = 10
_TOKEN_S = 6.0
_ADDRESSES = 4096
_EACH = 32
_ALL = 256


def address_of(client: tuple[str, int] | None) -> str:
    """Return what identifies a caller: the IPv4 address, or the IPv6 network of 64 bits.

    Parameters
    ----------
    client : tuple of str and int, optional
        ASGI's ``client``; a proxy on this machine may have set it.
    """
    host = "" if client is None else client[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Guesses:
    """Wrong tokens by address: after several different ones no token is checked for a while.

    The right token is not checked either; otherwise guessing would be as fast as before. The same
    wrong token does not count twice: a browser sends an old cookie with every request.

    Parameters
    ----------
    most : int
        How many different wrong tokens may come at once.
    each_s : float
        Seconds until one more token may be tried.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        *,
        most: int = _TOKENS,
        each_s: float = _TOKEN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._each_s, self._clock = most, each_s, clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Return the whole seconds until a token from this address is checked; 0 means at once."""
        tries = self._tries.get(address)
        if tries is None:
            return 0
        over = self._at_now(tries) + 1 - self._most
        return math.ceil(over * self._each_s) if over > 0 else 0

    def note(self, address: str, given: str) -> None:
        """Record that a wrong token came from this address."""
        tries = self._tries.setdefault(address, _Tries(self._clock()))
        self._tries.move_to_end(address)
        while len(self._tries) > _ADDRESSES:
            self._tries.popitem(last=False)
        digest = hashlib.sha256(given.encode("utf-8", "replace")).digest()
        if digest in tries.digests:
            return
        tries.digests[digest] = None
        while len(tries.digests) > self._most:
            tries.digests.popitem(last=False)
        tries.level, tries.at_s = self._at_now(tries) + 1, self._clock()

    def _at_now(self, tries: _Tries) -> float:
        return max(0.0, tries.level - (self._clock() - tries.at_s) / self._each_s)


class _Tries:
    """A leaky bucket, and the last wrong tokens."""

    def __init__(self, at_s: float) -> None:
        self.level, self.at_s = 0.0, at_s
        self.digests: OrderedDict[bytes, None] = OrderedDict()


class Crowd:
    """Running requests of unknown callers, by address.

    Parameters
    ----------
    each, most : int
        How many may run at a time, from one address and from all.
    """

    def __init__(self, *, each: int = _EACH, most: int = _ALL) -> None:
        self._each, self._most = each, most
        self._counts: Counter[str] = Counter()

    @contextmanager
    def within(self, address: str) -> Iterator[bool]:
        """Count a request while in the block; yield False if there are too many."""
        self._counts[address] += 1
        try:
            yield self._counts[address] <= self._each and self._counts.total() <= self._most
        finally:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
