"""The studio: songs are sent to it, separated in a queue, listened to and fetched in a browser.

Needs the extra ``[web]``: FastAPI and uvicorn.
"""

from viso.web.app import create_app
from viso.web.settings import StudioConfig, as_bytes, as_seconds
from viso.web.studio import Studio

__all__ = ["Studio", "StudioConfig", "as_bytes", "as_seconds", "create_app"]
