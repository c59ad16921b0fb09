"""Muon: steps of equal size in every direction, for weights that are matrices.

Muon replaces the momentum of a matrix by the nearest matrix with orthogonal rows (or columns), so
that directions with small gradients are learnt as fast as those with large ones (K. Jordan et al.,
"Muon: an optimizer for hidden layers in neural networks", 2024). The result is scaled to the size
of AdamW's steps (Liu et al. 2025, arXiv 2502.16982). Here AdamW trains all other parameters, with
the same learning rate.

Torch has its own Muon, but it refuses the weights of convolutions, and it computes in bfloat16,
which is slow on most CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

# Coefficients of the quintic iteration, chosen for speed: singular values end at 0.7 to 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_LIKE_ADAM = 0.2  # root mean square of an AdamW step, at a learning rate of 1


def orthogonal(matrix: Tensor) -> Tensor:
    """Return approximately ``U V^T`` for ``matrix = U S V^T``: all singular values near 1.

    Parameters
    ----------
    matrix : Tensor [shape=(rows, columns)]

    Returns
    -------
    Tensor of that shape
    """
    a, b, c = _QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / x.norm().clamp_min(1e-30)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


class Muon(torch.optim.AdamW):
    """Muon for matrices and kernels of convolutions, AdamW for everything else.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        Those with two dimensions or more count as matrices [shape=(first, all others)].
    lr : float
    weight_decay : float
        Each step shrinks the weights by this share times `lr`.
    momentum : float
        Muon's momentum, with Nesterov's look ahead.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        given = list(parameters)
        matrices = [p for p in given if p.ndim >= 2]
        others = [p for p in given if p.ndim < 2]
        groups = [{"params": p, "is_muon": k} for p, k in ((matrices, True), (others, False)) if p]
        self._momentum = momentum
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; `closure`, if given, computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        everything = self.param_groups
        for group in everything:
            if group["is_muon"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, weight.grad, group["lr"], group["weight_decay"])
        try:
            self.param_groups = [group for group in everything if not group["is_muon"]]
            super().step()
        finally:
            self.param_groups = everything
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            # AdamW needs "step" when it loads states.
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        state["step"] += 1
        mean = state["momentum"].lerp_(gradient, 1 - self._momentum)
        ahead = gradient.lerp(mean, self._momentum).flatten(1)
        size = _LIKE_ADAM * max(ahead.shape) ** 0.5
        weight.mul_(1 - rate * decay)
        weight.add_(orthogonal(ahead).reshape(weight.shape), alpha=-rate * size)
