"""The studio: people send songs to it in a browser, listen to the stems and download them.

A queue holds the jobs; worker processes separate the songs. Needs the extra ``[web]``: FastAPI and
uvicorn.
"""

from viso.studio.app import create_app
from viso.studio.settings import StudioConfig, as_bytes, as_seconds
from viso.studio.studio import Studio

__all__ = ["Studio", "StudioConfig", "as_bytes", "as_seconds", "create_app"]
