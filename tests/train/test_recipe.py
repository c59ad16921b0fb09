"""Recipes: what is written is read, and the shipped ones describe a network that can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from viso.errors import ConfigError
from viso.train.networks.viso_cnn import VisoCnn
from viso.train.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_built(path):
    recipe = Recipe.from_toml(path)
    network = VisoCnn(recipe.network, recipe.spectral)
    card = recipe.card(parameters=network.count())
    assert card.chunk_frames == recipe.network.chunk_frames
    assert network.map.spread.shape == (recipe.network.bands, recipe.spectral.n_bins)
    assert (network.map.spread.sum(dim=1) > 0.5).all()


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
