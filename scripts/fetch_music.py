"""Fetch the music without singing that a table lists, from Debian packages.

    python scripts/fetch_music.py instrumentals.tsv music/

The table is tab-separated with the columns package, path, seconds, bandwidth_hz and split;
`path` is where the package puts the track. Every package is fetched with ``apt-get download``
and unpacked with ``dpkg -x``; nothing is installed and no rights of an administrator are
needed. An archive inside a package (``.pk3``, a zip) from which the table names tracks is
unpacked, too: a path ``x_NAME/...`` means what lies in the archive NAME. Run it again to go on
where it stopped: packages whose tracks are all there are skipped. A package that cannot be had
is named at the end, and the exit code is 1.

Where apt may not read the folder as its own user, it warns that the download is not
"sandboxed"; that is harmless.

Then: ``viso data pack --music-table instrumentals.tsv --music-root music/ --out corpus/``.
"""

from __future__ import annotations

import argparse
import csv
import lzma
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

_INSIDE = "x_"  # before the name of an archive
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")

Runner = Callable[..., Any]


def listed(table: Path) -> dict[str, list[str]]:
    """Return the tracks of every package of a table.

    Raises
    ------
    ValueError
        If a column is missing, or a row names no package or a path outside the folder.
    """
    tracks: dict[str, list[str]] = {}
    with table.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        missing = {"package", "path"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table}: lacks the columns {sorted(missing)}")
        for row in reader:
            package, path = row["package"] or "", PurePosixPath(row["path"] or "")
            if not _PACKAGE.fullmatch(package):
                raise ValueError(f"{table}: line {reader.line_num}: no package name: {package!r}")
            if not path.name or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{table}: line {reader.line_num}: not below the folder: {path}")
            tracks.setdefault(package, []).append(str(path))
    return tracks


def fetch(
    package: str, paths: Sequence[str], folder: Path, *, run: Runner = subprocess.run
) -> None:
    """Fetch one package and put its files below `folder`.

    Parameters
    ----------
    package : str
    paths : sequence of str
        Its tracks in the table; those in archives are unpacked.
    folder : Path
    run : callable, optional
        What starts programs.

    Raises
    ------
    OSError, subprocess.CalledProcessError, zipfile.BadZipFile
        If it cannot be had or unpacked.
    """
    # Unpacked beside and then moved: a file is under its name only when whole.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
        work = Path(name)
        options = {"check": True, "capture_output": True, "text": True}
        run(["apt-get", "download", package], cwd=work, **options)
        archives = sorted(work.glob("*.deb"))
        if not archives:
            raise FileNotFoundError(f"apt-get brought no archive of {package}")
        tree = work / "tree"
        run(["dpkg", "-x", str(archives[0]), str(tree)], cwd=work, **options)
        archives[0].unlink()
        unpack_archives(tree, paths)
        for path in sorted(tree.rglob("*")):
            if path.is_symlink() or path.is_file():
                target = folder / path.relative_to(tree)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)


def unpack_archives(folder: Path, paths: Sequence[str]) -> None:
    """Take the tracks of a table out of the archives that a package brought.

    Parameters
    ----------
    folder : Path
        Where a package was unpacked; ``x_NAME`` of it gets what is in the archive NAME.
    paths : sequence of str
        As in the table; those that begin with no ``x_NAME`` are no matter here.

    Raises
    ------
    OSError, zipfile.BadZipFile
        If an archive cannot be read.
    """
    wanted: dict[str, list[str]] = {}
    for path in paths:
        first, _, inside = path.partition("/")
        if first.startswith(_INSIDE) and inside:
            wanted.setdefault(first.removeprefix(_INSIDE), []).append(inside)
    # The first of several with one name.
    files = (path for path in sorted(folder.rglob("*"), reverse=True) if path.is_file())
    found = {path.name: path for path in files if path.name in wanted}
    for name, path in found.items():
        try:
            with zipfile.ZipFile(path) as archive:
                # Not `extractall`: only what the table names, whose paths were checked.
                for member in sorted(set(wanted[name]) & set(archive.namelist())):
                    archive.extract(member, folder / f"{_INSIDE}{name}")
        except (EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
            # What damage, a password and (a kind of RuntimeError) an unknown method look like.
            raise zipfile.BadZipFile(f"{name}: {error}") from error


def _reason(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def main(arguments: Sequence[str] | None = None, *, run: Runner = subprocess.run) -> int:
    """Fetch what is missing; return the exit code."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="Needs apt-get and dpkg; installs nothing.",
    )
    parser.add_argument("table", type=Path, help="tab-separated: package, path, ...")
    parser.add_argument("folder", type=Path, help="where the paths of the table begin")
    given = parser.parse_args(arguments)
    try:
        tracks = listed(given.table)
        given.folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))

    failed: dict[str, str] = {}
    for number, (package, paths) in enumerate(sorted(tracks.items()), start=1):
        place = f"[{number}/{len(tracks)}] {package}"
        if all((given.folder / path).is_file() for path in paths):
            print(f"{place}: there already")
            continue
        try:
            fetch(package, paths, given.folder, run=run)
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            failed[package] = _reason(error)
        missing = [path for path in paths if not (given.folder / path).is_file()]
        if missing and package not in failed:
            failed[package] = f"came without {len(missing)} of its tracks, such as {missing[0]}"
        print(f"{place}: {failed.get(package, f'{len(paths)} tracks')}", flush=True)

    for package, reason in failed.items():
        print(f"not to be had: {package} ({reason})", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
