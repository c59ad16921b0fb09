"""Who may begin a test on a server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Entrance"]


@dataclass(frozen=True)
class Entrance:
    """Who may begin a test.

    `is_open` lets everybody begin who knows the address; otherwise only those whom the maker
    gave a link. `most` listeners may begin, and none from `closes_at` on; who has begun may
    finish. Without a link of the maker's, `per_hour` may begin from one address in an hour (0:
    any number).
    """

    is_open: bool = True
    most: int = 1000
    closes_at: datetime | None = None
    per_hour: int = 100

    @property
    def is_closed(self) -> bool:
        """Whether the time is over."""
        return self.closes_at is not None and datetime.now(UTC) >= self.closes_at
