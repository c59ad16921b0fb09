"""A listening test on a server: many listeners, each with a link of their own.

    the test's folder, viso.listening.Answers -> create_listening_app -> serve

Needs the extra ``[web]``.
"""

from viso.listening.server.app import create_listening_app
from viso.listening.server.entrance import Entrance
from viso.listening.server.serving import bind, serve

__all__ = ["Entrance", "bind", "create_listening_app", "serve"]
