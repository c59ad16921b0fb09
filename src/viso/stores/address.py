"""Paths of this machine and addresses of stores, such as ``s3://bucket/song.mp3``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from viso.errors import ConfigError

__all__ = ["Address", "Location", "absolute", "location_of"]


@dataclass(frozen=True)
class Address:
    """The address of an object in a store, or of a folder there; made by `location_of`.

    `text` is the full address, such as ``s3://bucket/archive/a song.mp3``, with no final slash.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, below: PurePath | str) -> Address:
        more = below.as_posix() if isinstance(below, PurePath) else below
        return Address(f"{self.text}/{more}")

    @property
    def scheme(self) -> str:
        """The text before ``://``."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The text after the last slash."""
        return self.text.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Address:
        """The address up to the last slash."""
        return Address(self.text.rpartition("/")[0])

    @property
    def root(self) -> str:
        """The store: the scheme, with the bucket or the machine."""
        scheme, _, rest = self.text.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"


Location = Path | Address


def location_of(location: str | os.PathLike[str] | Address) -> Location:
    """Return the path or the address that a user's text means.

    Raises
    ------
    ConfigError
        If the text is empty, or an address without a bucket or a folder.
    """
    if isinstance(location, Address):
        return location
    text = os.fspath(location)
    if not text:
        raise ConfigError("path '': names nothing; say . for the current folder")
    # A single letter before the colon is a Windows drive.
    if not isinstance(location, str) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return Path(text)
    scheme, _, rest = text.partition("://")
    if not rest.strip("/"):
        raise ConfigError(f"address {text!r}: names nothing; write it like s3://bucket/folder")
    return Address(f"{scheme.lower()}://{rest.rstrip('/')}")


def absolute(place: Location) -> Location:
    """Return a location that means the same in any working folder."""
    return place.absolute() if isinstance(place, Path) else place
