"""JSON and TOML of strangers: nested deep, of huge numbers, of pipes; always one error of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from viso.cli.train import figures_of
from viso.config import DEEPEST, LARGEST_TOML, parse_json, parse_toml
from viso.errors import ConfigError, DataError, VisoError
from viso.evaluate import read_baseline
from viso.models import registry
from viso.models.blend import load_blend
from viso.models.card import BlendCard, ModelCard
from viso.train.data.corpus import Corpus

DEEP = 30_000
DEEP_JSON = {
    "lists without an end": "[" * DEEP,
    "lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    # What a parser with a deeper stack lets through.
    "a few hundred": "[" * 300 + "]" * 300,
}
DEEP_TOML = {
    "lists": "a = " + "[" * 100_000 + "]" * 100_000,
    "tables": "a = " + "{a=" * 100_000 + "1" + "}" * 100_000,
    "a key with dots": "a" + ".a" * 10_000 + " = 1",
    "a header with dots": "[a" + ".a" * 10_000 + "]",
    "a few hundred": "a = " + "[" * 300 + "]" * 300,
}


@pytest.mark.parametrize("kind", DEEP_JSON)
def test_deep_json_is_a_value_error(kind: str) -> None:
    with pytest.raises(ValueError, match=r"deep|Expecting"):
        parse_json(DEEP_JSON[kind])


@pytest.mark.parametrize("kind", DEEP_TOML)
def test_deep_toml_is_a_value_error(kind: str) -> None:
    with pytest.raises(ValueError, match="deep"):
        parse_toml(DEEP_TOML[kind])


def test_what_is_not_deep_passes() -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert parse_json(text) == json.loads(text)
    wide = json.dumps([{"a": [1, 2]}] * 1000)
    assert parse_json(wide) == json.loads(wide)
    assert parse_toml("[a.b]\nc = [[1], [2]]") == {"a": {"b": {"c": [[1], [2]]}}}


@pytest.mark.parametrize("text", [b"\xff", "1" * 5000, ""])
def test_other_damage_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)


@pytest.mark.parametrize("kind", DEEP_TOML)
@pytest.mark.parametrize("card", [ModelCard, BlendCard])
def test_deep_settings_are_one_line(
    tmp_path: Path, kind: str, card: type[ModelCard | BlendCard]
) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(DEEP_TOML[kind], encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deep\.toml: not a TOML file") as caught:
        card.from_toml(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_settings_with_numbers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text("chunk_frames = " + "1" * 5000, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"card\.toml"):
        ModelCard.from_toml(path)
    path.write_text('name = "a"\nchunk_frames = 8\nscores = {usdr = inf}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"card\.toml: scores\.usdr: .*finite"):
        ModelCard.from_toml(path)


def test_settings_that_are_large_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        file.truncate(LARGEST_TOML + 1)  # a hole: it takes no space
    with pytest.raises(ConfigError, match=r"large\.toml: .* bytes"):
        BlendCard.from_toml(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.toml")
        with pytest.raises(ConfigError, match=r"pipe\.toml: .*no regular file"):
            BlendCard.from_toml(tmp_path / "pipe.toml")


@pytest.mark.parametrize("kind", DEEP_JSON)
def test_whoever_reads_json_raises_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(DEEP_JSON[kind], encoding="utf-8")
    with pytest.raises(DataError, match=r"index\.json: damaged index"):
        Corpus(tmp_path)
    with pytest.raises(DataError, match=r"index\.json: no baseline scores"):
        read_baseline(path, label="a")
    with pytest.raises(ConfigError, match=r"index\.json: no figures for a card"):
        figures_of(path)


def test_a_blend_of_very_many(tmp_path: Path) -> None:
    """Every run of names is looked for on the disk: their number squared."""
    path = tmp_path / "many.toml"
    path.write_text(f'name = "many"\nmodels = "{"+".join(["a"] * 100_000)}"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"100000 models in a blend"):
        load_blend(path)


def test_a_model_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone.onnx").symlink_to(tmp_path / "nowhere")
    assert "gone" in registry.available(folder=tmp_path)
    with pytest.raises(VisoError, match=r"gone\.onnx"):
        load_blend(registry.path_of("gone", folder=tmp_path))
