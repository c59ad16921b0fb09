"""The models in the checkout that viso was installed from, and blends that have a name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

from helpers.checkout import ROOT
from helpers.small_models import mask_card, song
from viso import Separator
from viso.audio import write
from viso.audio.tags import read_tags
from viso.cli import app
from viso.errors import ConfigError, ModelError
from viso.evaluate import system_of
from viso.models import registry
from viso.models.blend import load, load_blend
from viso.models.card import BlendCard


def put(model: Path, folder: Path, name: str) -> Path:
    """Copy a model into a folder under another name, in its card, too."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = onnx.load(model)
    helper.set_model_props(graph, {"viso.card": mask_card(name=name).model_dump_json()})
    onnx.save(graph, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a folder of models, noted as pip notes where it installed from."""
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "account"))
    folder = tmp_path / "the checkout" / "models"
    folder.mkdir(parents=True)
    noted = tmp_path / "packages" / "viso_audio-9.dist-info"
    noted.mkdir(parents=True)
    (noted / "METADATA").write_text("Metadata-Version: 2.1\nName: viso-audio\nVersion: 9\n")
    url = {"url": folder.parent.as_uri(), "dir_info": {}}
    (noted / "direct_url.json").write_text(json.dumps(url))
    monkeypatch.syspath_prepend(str(noted.parent))
    return folder


def note_hash(path: Path) -> None:
    """Write SHA256SUMS for one file, as sha256sum does."""
    text = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
    (path.parent / "SHA256SUMS").write_text(text)


def blend(folder: Path, name: str, models: str, **values: object) -> Path:
    card = BlendCard(name=name, models=models, **values)
    (folder / f"{name}.toml").write_text(card.to_toml(), encoding="utf-8")
    return folder / f"{name}.toml"


# Models of the checkout


def test_they_are_known_by_name(installed: Path, mask_model: Path) -> None:
    path = put(mask_model, installed, "paper")
    note_hash(path)
    assert registry.checkout_folder() == installed
    assert registry.available() == [*registry.packaged(), "paper"]
    assert registry.path_of("paper") == path
    assert load("paper").card.name == "paper"


def test_the_packaged_come_first_and_ones_own_last(installed: Path, mask_model: Path) -> None:
    put(mask_model, installed, "paper")
    put(mask_model, installed, registry.DEFAULT)
    put(mask_model, registry.user_folder(), "paper")
    put(mask_model, registry.user_folder(), "mine")
    assert registry.available() == [*registry.packaged(), "paper", "mine"]
    assert registry.path_of(registry.DEFAULT).parent == registry.PACKAGED
    assert registry.path_of("paper").parent == installed


def test_a_damaged_file_is_refused(installed: Path, mask_model: Path) -> None:
    path = put(mask_model, installed, "paper")
    note_hash(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"paper\.onnx: is not the file .*SHA256SUMS"):
        load("paper")


def test_a_checkout_that_is_gone_or_was_none(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "packages" / "viso_audio-9.dist-info" / "direct_url.json"
    for text in ("", "[]", "{", '{"url": "https://example.org/viso.git"}', '{"url": 3}'):
        note.write_text(text)
        assert registry.checkout_folder() is None
    note.unlink()
    assert registry.checkout_folder() is None
    assert registry.available() == registry.packaged()


def test_an_unknown_name_is_told_what_there_is(installed: Path, mask_model: Path) -> None:
    put(mask_model, installed, "paper")
    with pytest.raises(ModelError, match=r"of the checkout: paper; yours: none"):
        load("papre")


# Those of this repository


def test_the_hashes_of_this_repository() -> None:
    folder = ROOT / "models"
    noted = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    files = sorted(path.name for path in folder.glob("*.onnx"))
    assert [name for _, name in noted] == files
    for sha256, name in noted:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name
        assert (folder / name).stat().st_size <= 25e6


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.[ot]*")), ids=lambda p: p.name)
def test_the_models_of_this_repository_run(path: Path) -> None:
    separator = Separator(path, threads=1)
    assert separator.name == path.stem
    mixture = song(2, 30_000)
    stems = separator.separate(mixture, rate_hz=44_100)
    assert np.abs(stems.vocals + stems.instrumental - mixture).max() < 1e-6
    assert 0 < np.abs(stems.vocals).max() <= 2 * np.abs(mixture).max()


# Blends with a name


def test_a_blend_with_a_name_is_the_blend_it_says(installed: Path, mask_model: Path) -> None:
    for name in ("one", "two"):
        put(mask_model, installed, name)
    blend(installed, "both", "one*0.3+two*0.7", version="2", wiener=2)
    named = Separator("both", threads=1)
    assert (named.name, named.wiener) == ("both", 2)
    mixture = song(2, 20_000)
    plain = Separator("one*0.3+two*0.7", wiener=2, threads=1)
    assert np.array_equal(
        named.separate(mixture, rate_hz=44_100).vocals,
        plain.separate(mixture, rate_hz=44_100).vocals,
    )
    assert Separator("both", wiener=0, threads=1).wiener == 0
    assert Separator("both", wiener=1, threads=1).wiener == 1


def test_files_beside_the_card_are_meant(mask_model: Path, tmp_path: Path) -> None:
    for name in ("one", "t+w*o"):
        put(mask_model, tmp_path / "mine", name.replace("+", "").replace("*", ""))
    (tmp_path / "mine" / "two.onnx").rename(tmp_path / "mine" / "t+w*o.onnx")
    card = blend(tmp_path / "mine", "both", "one*1+t+w*o.onnx*3")
    assert load_blend(card, device="cpu", threads=1).shares == (0.25, 0.75)
    assert system_of(str(card)).name == "both"


def test_its_tags_tell_all(installed: Path, mask_model: Path, tmp_path: Path) -> None:
    put(mask_model, installed, "one")
    blend(installed, "both", "one+viso", wiener=1)
    write(tmp_path / "song.flac", song(2, 20_000), rate_hz=44_100)
    targets = {"vocals": tmp_path / "v.flac"}
    report = Separator("both").to_files(tmp_path / "song.flac", targets).run()
    assert report is not None
    assert (report.model, report.wiener) == ("both", 1)
    tags = {key.lower(): value for key, value in read_tags(tmp_path / "v.flac").items()}
    assert "both 1 (one 1 + viso " in str(tags["viso_model"])
    assert "MIT; " in str(tags["viso_model_licence"])


def test_its_evaluation_has_its_filter(installed: Path, mask_model: Path) -> None:
    put(mask_model, installed, "one")
    blend(installed, "both", "one+viso", wiener=1)
    system = system_of("both")
    assert (system.name, system.wiener) == ("both", 1)
    assert system.key != system_of("one+viso").key


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ("both+viso", "is a blend itself"),
        ("one*0.5+viso", "one weight"),
        ("nobody+viso", "nobody: no packaged model"),
    ],
)
def test_a_card_that_makes_no_sense(
    installed: Path, mask_model: Path, models: str, reason: str
) -> None:
    put(mask_model, installed, "one")
    blend(installed, "both", "one+viso")
    blend(installed, "bad", models)
    with pytest.raises((ConfigError, ModelError), match=reason):
        Separator("bad")
    with pytest.raises(ConfigError, match="weights already"):
        load_blend("both", weights=[1, 2])
    with pytest.raises(ModelError, match="no model but a card"):
        load("both")


def test_a_card_that_is_no_toml(installed: Path) -> None:
    (installed / "bad.toml").write_text("models = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a TOML file"):
        Separator("bad")


def test_they_are_listed(installed: Path, mask_model: Path) -> None:
    put(mask_model, installed, "one")
    path = blend(installed, "both", "one*0.3+viso*0.7", wiener=1, description="Two of them")
    (installed / "bad.toml").write_text("name = 3", encoding="utf-8")
    listed = CliRunner().invoke(app, ["models", "--json"])
    assert listed.exit_code == 1
    assert "bad.toml: " in listed.stderr
    names = [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    assert names == [*registry.packaged(), "both", "one"]
    told = CliRunner().invoke(app, ["models", "both"])
    assert told.exit_code == 0
    for words in ("Two of them", "one*0.3+viso*0.7", "1 iteration behind them", "MIT; "):
        assert words in told.stdout, told.stdout
    record = json.loads(CliRunner().invoke(app, ["models", str(path), "--json"]).stdout)
    assert (record["models"], record["file"]) == ("one*0.3+viso*0.7", str(path))
