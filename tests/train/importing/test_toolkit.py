"""YAML files of training toolkits: what is read, and that nothing in them is executed."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("yaml", reason="needs the extra [train]")

from viso.errors import ModelError  # noqa: E402
from viso.train.importing import import_model  # noqa: E402
from viso.train.importing.toolkit import read_config  # noqa: E402


def written(folder, text):
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_tuples_are_read_and_sections_may_be_missing(tmp_path):
    path = written(tmp_path, "model:\n  freqs_per_bands: !!python/tuple\n  - 2\n  - 3\n")
    config = read_config(path)
    assert config.model == {"freqs_per_bands": (2, 3)}
    assert (config.audio, config.training, config.inference) == ({}, {}, {})
    assert config.family == "bs-roformer"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model: !!python/object/apply:os.system ['touch HERE']\n", "python/object/apply"),
        ("model: !!python/name:os.system\n", "python/name"),
        ("model: [1, 2\n", "no configuration that can be read"),
        ("[" * 3000 + "]" * 3000, "nested too deep"),
        ("just words\n", "no configuration but str"),
        ("model: [1]\n", "model is no section but list"),
        ("model:\n  dim: 4\n", "no network that viso knows"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, text, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=why) as caught:
        _ = read_config(written(tmp_path, text)).family
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_value_of_another_type(tmp_path):
    config = read_config(written(tmp_path, "model:\n  dim: wide\n  stereo: 1\n  scale: 2\n"))
    assert config.value("model", "scale", float, 1.0) == 2.0
    assert config.value("model", "none", int, 7) == 7
    for key, kind in (("dim", int), ("stereo", bool)):
        with pytest.raises(ModelError, match=rf"model\.{key} is .*not of type {kind.__name__}"):
            config.value("model", key, kind, None)


def test_a_configuration_belongs_to_weights_that_need_one(tmp_path):
    config = written(tmp_path, "model:\n  num_bands: 4\n")
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(ModelError, match="needs the YAML file"):
        import_model(tmp_path / "a.pth", kind="scnet")
    with pytest.raises(ModelError, match="--config is not of this kind"):
        import_model(tmp_path / "a.pth", kind="open-unmix", config=config)
