"""No two songs share a file, on whatever file system, and no name is longer than 255 bytes."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viso.batch.planning import possible_files
from viso.batch.settings import SeparationConfig
from viso.batch.songs import Song
from viso.errors import ConfigError
from viso.separator.naming import Names, name_key

TEMPLATES = ["{name}/{stem}.{ext}", "{name} - {stem}.{ext}", "{stem}/{name}.{ext}"]


def song(name: str, folder: str = "") -> Song:
    return Song(Path("/music", folder, name), f"/music/{folder}/{name}", PurePath(folder))


def given_files(songs: list[Song], config: SeparationConfig) -> list[dict[str, Path]]:
    names, found = Names(Path("/out"), (one.key for one in songs)), []
    for one in songs:
        options = possible_files(one, config, model="m")
        files = next(f for f in options if names.are_free(one.key, f.values()))
        names.give(one.key, files.values())
        found.append(files)
    return found


letters = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
stem = st.text(letters, min_size=1, max_size=100).filter(lambda name: name not in (".", ".."))
name = st.builds(
    lambda s, e: (s.encode()[:250].decode("utf-8", "ignore") or "x") + e,
    stem | st.sampled_from(["a", "A", "a.wav", "vocals", "vocals.wav", "ä", "a\u0308", "..", " "]),
    st.sampled_from([".wav", ".mp3", ".WAV", ""]),
)


@given(
    st.lists(st.tuples(name, st.sampled_from(["", "a", "A", "a.wav"])), max_size=12, unique=True),
    st.sampled_from(TEMPLATES),
)
def test_all_files_differ_everywhere(songs: list[tuple[str, str]], template: str) -> None:
    config = SeparationConfig(template=template, confidence=True)
    found = given_files([song(*one) for one in songs], config)
    files = [path for files in found for path in files.values()]
    keys = [name_key(path) for path in files]
    assert len(set(keys)) == len(keys)
    folders = {name_key(parent) for path in files for parent in path.parents}
    assert not folders & set(keys)
    assert all(len(os.fsencode(part)) <= 255 for path in files for part in path.parts)
    assert all(".." not in path.parts and not path.is_absolute() for path in files)


def test_the_first_has_the_plain_name() -> None:
    songs = [song("song.mp3"), song("song.wav"), song("song.wav", "in"), song("Song.WAV")]
    found = [str(files["vocals"].parent) for files in given_files(songs, SeparationConfig())]
    assert found[:3] == ["song", "song.wav", "in/song"]
    assert found[3].startswith("Song ")


def test_composed_and_decomposed_accents_are_one_name() -> None:
    songs = [song(unicodedata.normalize(form, "é.mp3")) for form in ("NFC", "NFD")]
    found = given_files(songs, SeparationConfig())
    assert name_key(found[0]["vocals"]) != name_key(found[1]["vocals"])


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("letter", ["x", "é", "\U0001f3b5"])
def test_names_of_255_bytes(template: str, letter: str) -> None:
    n = 251 // len(letter.encode())
    songs = [song(letter * (n - 1) + end + ".mp3") for end in (letter, "z")]
    files = given_files(songs, SeparationConfig(template=template))
    assert len({path for paths in files for path in paths.values()}) == 4
    assert all(len(os.fsencode(p)) <= 255 for f in files for path in f.values() for p in path.parts)


def test_a_song_in_the_output_folder_is_not_replaced(tmp_path: Path) -> None:
    inside = Song(tmp_path / "a/vocals.wav", os.path.realpath(tmp_path / "a/vocals.wav"))
    names = Names(tmp_path, [inside.key])
    assert not names.are_free("other", [Path("a/vocals.wav")])
    assert names.are_free("other", [Path("b/vocals.wav")])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"template": "{stem}.{ext}"}, "{name}"),
        ({"template": "{name}.{ext}"}, "{stem}"),
        ({"template": "../{name}/{stem}.{ext}"}, "outside"),
        ({"template": "{name}/{stem}/{composer}"}, "composer"),
        ({"template": "{name"}, "template"),
        ({"stems": ()}, "stems"),
        ({"stems": ("all",)}, "name each"),
        ({"format": "wma"}, "wma"),
        ({"format": "flac", "bit_depth": "float"}, "float"),
        ({"bitrate": "320k"}, "320k"),
        ({"format": "mp3", "bitrate": "loud"}, "loud"),
        ({"start_s": -1.0}, "-1"),
        ({"duration_s": 0.0}, "0.0"),
    ],
)
def test_impossible_settings(how: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SeparationConfig(**how)  # type: ignore[arg-type]


def test_one_stem_needs_no_stem_in_its_name() -> None:
    config = SeparationConfig(stems=("vocals",), template="{name}.{ext}")
    assert config.files("a", model="m") == {"vocals": Path("a.wav")}


def test_what_decides_the_stems() -> None:
    def facts(**how: object) -> str:
        wiener = int(str(how.get("wiener", 0)))
        config = SeparationConfig(**how)  # type: ignore[arg-type]
        return config.facts(model="m", sha256="s", wiener=wiener)

    assert facts() == facts(device="cpu") == facts(wiener_window_s=5.0)
    others = [facts(format="flac"), facts(wiener=1), facts(wiener=1, wiener_window_s=5.0)]
    others += [facts(stems=("vocals",)), facts(start_s=1.0), facts(template="{name} {stem}.{ext}")]
    others += [SeparationConfig().facts(model="m", sha256="t", wiener=0)]
    assert len({facts(), *others}) == 8
