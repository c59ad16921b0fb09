"""viso separates a song into vocals and instrumental.

from viso import Separator
stems = Separator().separate("song.mp3")
stems.save("separated")
"""

from viso._version import __version__
from viso.errors import AudioError, ConfigError, DataError, ModelError, VisoError
from viso.separator import Separator, Stems, separate

__all__ = [
    "AudioError",
    "ConfigError",
    "DataError",
    "ModelError",
    "Separator",
    "Stems",
    "VisoError",
    "__version__",
    "separate",
]
