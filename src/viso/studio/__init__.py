"""The studio: songs are sent to it, separated in a queue, listened to and fetched in a browser.

Needs the extra ``[web]``: FastAPI and uvicorn.
"""

from viso.studio.app import create_app
from viso.studio.settings import StudioConfig, as_bytes, as_seconds
from viso.studio.studio import Studio

__all__ = ["Studio", "StudioConfig", "as_bytes", "as_seconds", "create_app"]
