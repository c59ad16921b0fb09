"""How to install what is not part of every installation, said in one way everywhere."""

from __future__ import annotations

__all__ = ["how_to_install"]


def how_to_install(*extras: str) -> str:
    """Return the command that adds extras, to be run in a checkout of viso's repository."""
    return f'pip install -c constraints.txt ".[{",".join(extras)}]"'
