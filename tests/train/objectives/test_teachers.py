"""Teachers: what a student aims at, and what is kept apart from it."""

from __future__ import annotations

import pytest
import torch

from viso.errors import ConfigError, DataError
from viso.train.data.mixer import Batch
from viso.train.networks import build_network
from viso.train.objectives.objective import ResidualObjective, blended
from viso.train.objectives.teachers import Teachers
from viso.train.recipe import Recipe
from viso.train.run.learner import Learner
from viso.train.run.trainer import Trainer

N_SAMPLES = 39 * 64


@pytest.fixture
def taught(recipe, tmp_path):
    """Make a recipe of a student whose teacher is a network as if trained, in files."""

    def make(kind="viso", *, teacher="tfc_tdf", seed=3, **schedule):
        theirs = recipe(network=teacher)
        torch.manual_seed(seed)
        network = build_network(theirs)
        if teacher != "viso_cnn":
            with torch.no_grad():
                network(torch.randn(2, 4, 40, network.settings.n_bins))
        place = tmp_path / f"teacher {seed}.toml"
        place.write_text(theirs.to_toml(), encoding="utf-8")
        torch.save({"network": network.state_dict()}, place.with_suffix(".pt"))
        names = {"recipe": str(place), "weights": str(place.with_suffix(".pt"))}
        values = recipe(network=kind, **schedule).model_dump()
        values |= {"teachers": [names], "teacher": "a network as if trained"}
        return Recipe.from_mapping(values, origin="toy"), network.eval()

    return make


def batch_of(seed):
    g = torch.Generator().manual_seed(seed)
    vocals, music = (torch.randn((2, 2, N_SAMPLES), generator=g) for _ in range(2))
    return Batch(vocals, 0.5 * music, torch.tensor([4000.0, 4000.0]))


def test_the_blend_is_that_of_the_spectra():
    g = torch.Generator().manual_seed(1)
    shape = (2, 2, 5, 7)
    vocals, mixture = (torch.randn(shape, generator=g, dtype=torch.cfloat) for _ in range(2))
    mask = torch.rand(shape, generator=g)
    aim = 0.7 * vocals + 0.3 * mask * mixture
    shared = (vocals * mixture.conj()).real
    found = blended(vocals.abs() ** 2, shared, mixture.abs() ** 2, mask, share=0.3)
    torch.testing.assert_close(found[0], aim.abs() ** 2)
    torch.testing.assert_close(found[1], (aim * mixture.conj()).real)


def test_the_truth_alone_is_what_it_was_without_teachers(taught, recipe):
    plan, _ = taught(teachers_share=0.0)
    network = build_network(plan).eval()
    expected = ResidualObjective(recipe(network="viso"))(network, batch_of(1))
    torch.testing.assert_close(ResidualObjective(plan)(network, batch_of(1)), expected)


def test_a_student_that_knows_what_its_teacher_knows_has_nothing_to_learn(taught):
    plan, teacher = taught("tfc_tdf", teachers_share=1.0)
    loss = float(ResidualObjective(plan)(teacher, batch_of(1)).detach())
    assert loss == pytest.approx(-30.0, abs=1e-3)  # the floor of the loss
    assert float(ResidualObjective(plan)(build_network(plan).eval(), batch_of(1)).detach()) > -25


def test_several_teachers_teach_their_mean(taught):
    plan, first = taught()
    other, second = taught(seed=4)
    both = plan.model_copy(update={"teachers": (*plan.teachers, *other.teachers)})
    powers = torch.rand((2, 4, 40, 32))
    one, two = (torch.sigmoid(t.logits(t.features(powers))) for t in (first, second))
    assert (one - two).abs().max() > 0.01
    torch.testing.assert_close(Teachers(both).mask(powers), (one + two) / 2)


def test_teachers_are_neither_trained_nor_saved(taught, tmp_path):
    plan, _ = taught()
    learner = Learner(plan)
    alone = Learner(plan.model_copy(update={"teachers": ()}))
    assert learner.state_dict().keys() == alone.state_dict().keys()
    before = (tmp_path / "teacher 3.pt").read_bytes()
    loss = learner.objective(learner.network, batch_of(2))
    loss.backward()
    assert all(p.grad is not None for p in learner.parameters())
    (teacher,) = learner.objective._teachers._networks
    assert not teacher.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert {id(p) for p in teacher.parameters()}.isdisjoint(map(id, learner.parameters()))
    assert (tmp_path / "teacher 3.pt").read_bytes() == before


def test_a_run_with_a_teacher_is_what_its_folder_says(taught, tmp_path):
    plan, _ = taught()
    Trainer(plan, tmp_path / "run", device="cpu").run()
    assert Recipe.from_toml(tmp_path / "run/recipe.toml") == plan
    assert (tmp_path / "run/best.pt").is_file()


def test_it_goes_on_where_it_was_stopped(taught, tmp_path):
    def cut(row):
        if row.step == 2:
            raise KeyboardInterrupt

    plan, _ = taught(steps=4, validations=1, log_every=1, checkpoint_every_s=0.0)
    Trainer(plan, tmp_path / "whole", device="cpu").run()
    with pytest.raises(KeyboardInterrupt):
        Trainer(plan, tmp_path / "broken", device="cpu").run(on_progress=cut)
    again = Trainer(plan, tmp_path / "broken", device="cpu")
    again.run()
    assert again.step == 4
    weights = [torch.load(tmp_path / name / "best.pt")["network"] for name in ("whole", "broken")]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_a_run_does_not_go_on_with_other_teachers(taught, tmp_path):
    plan, _ = taught()
    Trainer(plan, tmp_path / "run", device="cpu").run()
    taught(seed=4)
    (tmp_path / "teacher 4.pt").replace(tmp_path / "teacher 3.pt")
    with pytest.raises(ConfigError, match=r"other weights than .*teacher 3\.pt"):
        Trainer(plan, tmp_path / "run", device="cpu")
    (tmp_path / "teacher 3.pt").unlink()
    with pytest.raises(DataError, match=r"teacher 3\.pt"):
        Trainer(plan, tmp_path / "run", device="cpu")


def test_the_card_must_name_the_teacher(taught):
    values = taught()[0].model_dump() | {"teacher": None}
    with pytest.raises(ConfigError, match="names them on its card"):
        Recipe.from_mapping(values, origin="toy")


def test_networks_of_other_kinds_take_no_teachers(taught):
    with pytest.raises(ConfigError, match="take no teachers"):
        taught("viso_cnn")


def test_networks_of_other_kinds_cannot_teach(taught):
    with pytest.raises(ConfigError, match="cannot teach"):
        Teachers(taught(teacher="viso_cnn")[0])


def test_a_teacher_must_hear_the_same_bands(taught):
    plan, _ = taught()
    segments = ((16, 1), (8, 5), (8, 9))
    other = plan.network.model_copy(update={"segments": segments})
    with pytest.raises(ConfigError, match="other bands"):
        Teachers(plan.model_copy(update={"network": other}))


def test_a_teacher_must_hear_as_much_at_once(taught):
    plan, _ = taught()
    odd = plan.network.model_copy(update={"chunk_frames": plan.network.chunk_frames + 4})
    with pytest.raises(ConfigError, match="hears multiples of"):
        Teachers(plan.model_copy(update={"network": odd}))


def test_a_teacher_must_hear_the_same_transform(taught):
    plan, _ = taught()
    other = plan.spectral.model_copy(update={"hop": plan.spectral.hop // 2})
    with pytest.raises(ConfigError, match="other bands"):
        Teachers(plan.model_copy(update={"spectral": other}))


def test_a_teacher_without_weights_is_named(taught, tmp_path):
    plan, _ = taught()
    (tmp_path / "teacher 3.pt").unlink()
    with pytest.raises(DataError, match=r"teacher 3\.pt"):
        Teachers(plan)
