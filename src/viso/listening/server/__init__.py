"""A listening test on a server: many listeners, each with a personal link.

    the test's folder, viso.listening.Answers -> create_listening_app -> viso.http.connections

Needs the extra ``[web]``.
"""

from viso.listening.server.app import create_listening_app
from viso.listening.server.limits import Entrance

__all__ = ["Entrance", "create_listening_app"]
