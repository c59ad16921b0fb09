"""What a person reads of an error that viso did not raise on purpose."""

from __future__ import annotations

__all__ = ["unexpected"]


def unexpected(error: BaseException) -> str:
    """Return what one line says of an error that is no `VisoError`: it is ours, not the user's."""
    words = " ".join(str(error).split()) or "no reason given"
    return (
        f"viso itself failed ({type(error).__name__}: {words:.200}); please report it with what "
        "the same command shows with --debug"
    )
