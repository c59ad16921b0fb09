"""Reports replace reports, and nobody's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from viso.errors import ConfigError
from viso.evaluate.report import check_folder, write_report


def write(folder: Path) -> None:
    write_report(
        folder, [], title="t", rows=[], groups={}, comparisons=[], genres={}, pictures={}
    )  # fmt: skip


@pytest.mark.parametrize("name", ["songs.csv", "summary.json", "report.html"])
def test_a_file_of_somebody_else_s_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({"title": "mine"}))
    with pytest.raises(ConfigError, match=f"{name}: was not made by viso evaluate"):
        check_folder(tmp_path)


def test_a_report_may_be_made_anew_also_where_one_was_cut_short(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    (tmp_path / "notes.txt").write_text("mine")
    check_folder(tmp_path)
    write(tmp_path)
    check_folder(tmp_path)
    (tmp_path / "summary.json").unlink()
    check_folder(tmp_path)
    (tmp_path / "report.html").unlink()
    check_folder(tmp_path)
