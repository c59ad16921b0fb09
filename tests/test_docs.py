"""The pages lead somewhere: every link, every path of a source file, every file of `docs/`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
# Not the changelog: it names pages where they lay at the time.
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *(ROOT / name / "README.md" for name in ("checkpoints", "models")),
        *ROOT.glob("docs/**/*.md"),
    ]
)
GROUPS = ("use", "understand", "train", "serve", "evidence")

_LINK = re.compile(r"\]\(([^)\s]+)\)|<(?:img|a)\b[^>]*?(?:src|href)=\"([^\"]+)\"")
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(
    r"(?<![\w/-])(?:src|tests|bench|scripts|recipes|experiments|examples)/[\w./-]+"
)
_PAGE = re.compile(r"(?<![\w/])docs/[\w./-]+\.(?:md|csv|json|webp)")


def names_of(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        kept = [c for c in shown if c in " -_" or unicodedata.category(c)[0] in "LN"]
        anchor = "".join(kept).replace(" ", "-")
        anchors.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return anchors


def links_of(page: Path) -> list[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [first or second for first, second in _LINK.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / unquote(name)).resolve() if name else page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page}: {link} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_paths_of_sources_are_there(page: Path) -> None:
    for path in _SOURCE.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path.rstrip("./")).exists(), f"{page}: {path}"


def test_tests_that_pages_name_are_there() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    there = set(re.findall(r"^ *def (test_\w+)", "\n".join(sources), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))
        assert set(named) <= there, f"{page}: {set(named) - there}"


def test_pages_that_sources_name_are_there() -> None:
    folders = ("src", "tests", "bench", "scripts", "recipes", "experiments", "examples")
    files = [path for name in folders for path in (ROOT / name).rglob("*")]
    for file in [*files, *PAGES]:
        if file.suffix in (".py", ".toml", ".txt", ".md") and file != Path(__file__):
            for path in _PAGE.findall(file.read_text(encoding="utf-8")):
                assert (ROOT / path).exists(), f"{file}: {path}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links_of(index)}
    for group in GROUPS:
        for page in (ROOT / "docs" / group).iterdir():
            assert page.resolve() in listed, page
    for name in ("data", "pictures"):
        for file in (ROOT / "docs" / name).iterdir():
            assert any(file.name in page.read_text(encoding="utf-8") for page in PAGES), file


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 90


def examples_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("example", examples_of(ROOT / "docs" / "use" / "python.md"))
def test_examples_run(example: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "demo.mp3", tmp_path / "song.mp3")
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True)
