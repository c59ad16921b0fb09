"""Recipes: what is written is read, and the shipped ones describe a network that can be built."""

from __future__ import annotations

import pytest

from helpers.checkout import ROOT
from viso.errors import ConfigError
from viso.train.networks import build_network
from viso.train.recipe import Recipe, Schedule, VisoSettings

RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_built(path):
    recipe = Recipe.from_toml(path)
    network = build_network(recipe)
    card = recipe.card(parameters=network.count())
    assert card.chunk_frames == recipe.network.chunk_frames
    assert card.parameters > 100_000


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_toml_there_and_back(path, tmp_path):
    recipe = Recipe.from_toml(path)
    (tmp_path / "copy.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(tmp_path / "copy.toml") == recipe


def test_a_slip_of_the_pen_is_named(recipe, tmp_path):
    text = recipe().to_toml().replace("batch = 4", "bacth = 4")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.toml: schedule\.bacth"):
        Recipe.from_toml(tmp_path / "bad.toml")


def test_the_card_names_what_it_was_trained_on(recipe):
    plain = recipe()
    assert plain.card(parameters=5).trained_on == ("songs",)
    named = plain.model_copy(update={"trained_on": ("Some Songs",)})
    assert named.card(parameters=5).trained_on == ("Some Songs",)
    assert named.card(parameters=5).parameters == 5


@pytest.mark.parametrize("kind", ["viso_cnn", "viso"])
def test_either_kind_of_network_goes_there_and_back(recipe, tmp_path, kind):
    made = recipe(network=kind)
    (tmp_path / "r.toml").write_text(made.to_toml(), encoding="utf-8")
    assert f'kind = "{kind}"' in made.to_toml()
    assert Recipe.from_toml(tmp_path / "r.toml") == made


@pytest.mark.parametrize(("kind", "n_bins", "sees"), [
    ("viso_cnn", None, "magnitude"), ("viso", 128, "complex"),
])  # fmt: skip
def test_the_card_says_what_the_network_sees(recipe, kind, n_bins, sees):
    card = recipe(network=kind).card(parameters=1)
    assert (card.n_bins, card.input, card.output) == (n_bins, sees, "mask")


def test_a_kind_that_nobody_knows_is_named(recipe, tmp_path):
    text = recipe().to_toml().replace('"viso_cnn"', '"transformer"')
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"network.*transformer"):
        Recipe.from_toml(tmp_path / "r.toml")


def test_a_run_must_end():
    with pytest.raises(ConfigError, match="steps, time_s or both"):
        Schedule.from_mapping({"batch": 4}, origin="recipe")
    assert Schedule(time_s=60.0).steps is None


@pytest.mark.parametrize("changes", [
    {"segments": ((15, 1), (8, 4), (8, 10))},
    {"chunk_frames": 42},
    {"context_frames": 20},
])  # fmt: skip
def test_settings_that_do_not_fit_the_flagship_are_refused(viso_settings, changes):
    with pytest.raises(ConfigError, match="recipe"):
        VisoSettings.from_mapping({**viso_settings.model_dump(), **changes}, origin="recipe")
