"""The optimiser: what it does to a matrix, to other parameters, and after a resume."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from viso.train.run.muon import Muon, orthogonal


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4, 4), (16, 144), (144, 16), (1, 9), (64, 64)])
@pytest.mark.parametrize("level", [1e-6, 1.0, 1e4])
def test_all_singular_values_come_near_one(shape, level):
    matrix = drawn(*shape) * level
    singular = torch.linalg.svdvals(orthogonal(matrix))
    # A drawn square matrix has a smallest singular value near zero: it is raised, not equalled.
    assert singular.max() < 1.3
    assert singular.median() > 0.6
    if shape[0] != shape[1]:
        assert singular.min() > 0.6


def test_the_directions_stay():
    matrix = drawn(8, 40)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonal(matrix) @ v.T
    off = turned - torch.diag(turned.diagonal())
    assert off.abs().max() < 1e-4


def test_nothing_comes_of_nothing():
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(16, 16, 3, 3), (32, 256), (24, 8, 2, 2), (64, 64, 3)])
def test_a_step_has_the_size_of_adamws(shape):
    weight = nn.Parameter(drawn(*shape))
    before = weight.detach().clone()
    weight.grad = drawn(*shape, seed=1)
    Muon([weight], lr=1e-2, weight_decay=0.0).step()
    step = (weight.detach() - before).square().mean().sqrt()
    assert 0.1e-2 < step < 0.3e-2


def test_vectors_are_adamws():
    ours, theirs = (nn.Parameter(drawn(5)) for _ in range(2))
    steps = (
        Muon([ours], lr=0.1, weight_decay=0.1),
        torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.1),
    )
    for seed in range(4):
        for weight, step in zip((ours, theirs), steps, strict=True):
            weight.grad = drawn(5, seed=seed)
            step.step()
    assert torch.equal(ours, theirs)


def test_weight_decay_alone_shrinks():
    weight = nn.Parameter(torch.ones(3, 4))
    weight.grad = torch.zeros(3, 4)
    Muon([weight], lr=0.5, weight_decay=0.2).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 4), 0.9))


def test_what_has_no_gradient_stays():
    still, moved = nn.Parameter(drawn(3, 3)), nn.Parameter(drawn(3))
    moved.grad = torch.ones(3)
    before = still.detach().clone()
    Muon([still, moved], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(still, before)


def test_it_goes_down_a_narrow_valley():
    """One row a thousand times as steep as the other."""
    aim, weight = drawn(2, 3), nn.Parameter(torch.zeros(2, 3))
    optimiser = Muon([weight], lr=0.2, weight_decay=0.0, momentum=0.5)
    for n in range(200):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - n / 200)
        optimiser.zero_grad()
        ((weight - aim).square() * torch.tensor([[1000.0], [1.0]])).sum().backward()
        optimiser.step()
    assert (weight.detach() - aim).abs().max() < 0.05


def test_a_closure_is_called_with_gradients_on():
    weight = nn.Parameter(torch.ones(2, 2))
    optimiser = Muon([weight], lr=0.1, weight_decay=0.0)

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 4.0
    assert not torch.equal(weight.detach(), torch.ones(2, 2))


def test_a_resumed_optimiser_takes_the_same_steps():
    layer = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    optimiser = Muon(layer.parameters(), lr=0.1, weight_decay=0.1)

    def train(layer, optimiser, seeds):
        for seed in seeds:
            optimiser.zero_grad()
            layer(drawn(2, 2, 8, 8, seed=seed)).square().mean().backward()
            optimiser.step()

    train(layer, optimiser, range(3))
    other = copy.deepcopy(layer)
    resumed = Muon(other.parameters(), lr=0.7, weight_decay=0.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    train(layer, optimiser, range(3, 6))
    train(other, resumed, range(3, 6))
    for one, same in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)
