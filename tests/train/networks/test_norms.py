"""The norm over the frames of a song that are heard: what it gives, how it is differentiated."""

from __future__ import annotations

import pytest
import torch

from viso.train.networks.norms import SongNorm


def drawn_norm(channels=3):
    torch.manual_seed(0)
    norm = SongNorm(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
    return norm


def some_silence(frames=40, dtype=torch.float32):
    """Songs of which one begins with eight silent frames."""
    heard = torch.full((2, 1, frames), 1 / frames, dtype=dtype)
    heard[1, :, :8], heard[1, :, 8:] = 0, 1 / (frames - 8)
    return heard


@torch.inference_mode()
@pytest.mark.parametrize("training", [True, False])
def test_the_norm_is_that_of_the_frames_that_sound(training):
    norm = drawn_norm().train(training)
    x = 2.0 + 3.0 * torch.randn((2, 3, 40, 16))
    expected = norm(x[:, :, 8:], None)
    x[:, :, :8] = -70.0
    heard = torch.zeros(2, 1, 40)
    heard[:, :, 8:] = 1 / 32
    torch.testing.assert_close(norm(x, heard)[:, :, 8:], expected, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_training_normalises_as_the_exported_network_does():
    norm, x, heard = drawn_norm(), 2.0 + 3.0 * torch.randn((2, 3, 40, 16)), some_silence()
    torch.testing.assert_close(norm.train()(x, heard), norm.eval()(x, heard), rtol=0, atol=1e-5)


def test_the_gradient_is_that_of_autograd():
    norm, heard = drawn_norm().double(), some_silence(dtype=torch.float64)
    x = (1.0 + 3.0 * torch.randn((2, 3, 40, 6))).double().requires_grad_()
    weighed = torch.randn((2, 3, 40, 6)).double()
    found = []
    for training in (False, True):
        loss = (norm.train(training)(x, heard) * weighed).sum()
        found.append(torch.autograd.grad(loss, [x, norm.weight, norm.bias]))
    for ours, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_all_frames_alike_are_the_norm_of_an_instance():
    norm, x = drawn_norm(), torch.randn((2, 3, 40, 16), requires_grad=True)
    alike, weighed = torch.full((2, 1, 40), 1 / 40), torch.randn((2, 3, 40, 16))
    both = [torch.autograd.grad((norm(x, h) * weighed).sum(), x)[0] for h in (alike, None)]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_is_added_up_in_float32(training):
    torch.manual_seed(0)
    norm, x = SongNorm(3).train(training), 30.06 + torch.randn((2, 3, 400, 256))
    heard, coarse = torch.full((2, 1, 400), 1 / 400), x.bfloat16()
    expected = norm(coarse.float(), heard)
    found = norm(coarse, heard).float()
    assert (found - expected).abs().mean() < 0.01
    torch.testing.assert_close(found.mean(), torch.tensor(0.0), rtol=0, atol=0.01)


def test_gradients_of_bfloat16_are_close_to_those_of_float32():
    norm, heard = drawn_norm(), some_silence()
    x, weighed = 2.0 + torch.randn((2, 3, 40, 64)), torch.randn((2, 3, 40, 64))
    found = []
    for kind in (torch.float32, torch.bfloat16):
        given = x.to(kind).requires_grad_()
        loss = (norm(given, heard).float() * weighed).sum()
        found.append(torch.autograd.grad(loss, given)[0].float())
    assert (found[1] - found[0]).norm() < 0.01 * found[0].norm()
