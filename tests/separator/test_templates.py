"""Wherever a template and a song's name lead, it is inside of the output folder or an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from viso.cli.separate import _Wish, checked_template
from viso.errors import ConfigError


def wish(out: Path, template: str) -> _Wish:
    return _Wish(
        out=out,
        stems=("vocals", "instrumental"),
        format="wav",
        bit_depth="24",
        bitrate=None,
        template=template,
        start_s=0.0,
        duration_s=None,
        confidence=True,
        overwrite=False,
    )


@pytest.mark.parametrize("song", ["...wav", "a/../../..mp3", "...", "....wav", "..%2f..%2fa.wav"])
@pytest.mark.parametrize("template", ["{name}/{stem}.{ext}", "{stem}/{name}", "{name}{stem}.{ext}"])
def test_names_of_songs_that_look_like_folders(tmp_path: Path, song: str, template: str) -> None:
    asked = wish(tmp_path / "out", checked_template(template))
    try:
        paths = [
            tmp_path / "out" / path for path in asked.files(Path(song).stem, model="m").values()
        ]
    except ConfigError as error:
        assert "outside" in str(error)
        return
    assert len(paths) == 3
    for path in paths:
        assert path.resolve().is_relative_to((tmp_path / "out").resolve())


@pytest.mark.parametrize("model", ["../../x", "/etc/x"])
def test_names_of_models_that_look_like_paths(tmp_path: Path, model: str) -> None:
    with pytest.raises(ConfigError, match="outside"):
        wish(tmp_path / "out", "{model}/{stem}.{ext}").files("a", model=model)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_outside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "song").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="outside"):
        wish(out, "{name}/{stem}.{ext}").files("song", model="viso")


@pytest.mark.parametrize(
    "template",
    [
        "../{stem}",
        "/x/{stem}",
        "a/../../{stem}",
        "{name.__class__}",
        "{name[0]}",
        "{0}",
        "{}",
        "{x}",
        "{name:>9999999999}",
        "{name:{stem}}",
        "{name!r}",
        "a\0b",
        "",
        ".",
    ],
)
def test_templates_that_are_refused(template: str) -> None:
    import typer

    with pytest.raises(typer.BadParameter):
        checked_template(template)


def test_zero_bytes_in_the_name_of_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zero byte"):
        wish(tmp_path / "out", "{model}/{stem}.{ext}").files("a", model="a\0b")
