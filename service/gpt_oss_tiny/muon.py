"""Muon (Keller Jordan, 2024): momentum whose update is made orthogonal, for the matrices of a network's hidden layers.

It learns these skills in about half the steps of AdamW. Matrices of one shape are treated together.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor


class Muon:
    """Optimises parameters (rows, columns) or (experts, rows, columns), each matrix by itself.

    Rate and momentum are tensors, so that a step can be replayed as a CUDA graph.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.groups: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            self.groups[parameter.shape].append(parameter)
        self.momenta = {s: torch.zeros(len(g), *s, device=g[0].device) for s, g in self.groups.items()}

    @torch.no_grad()
    def step(self, rate: Tensor, momentum: Tensor) -> None:
        for shape, parameters in self.groups.items():
            gradient = torch.stack([p.grad for p in parameters if p.grad is not None])
            buffer = self.momenta[shape]
            buffer.lerp_(gradient, 1 - momentum)
            update = orthogonal(gradient.lerp(buffer, momentum).flatten(0, -3)).view_as(gradient)
            scale = max(1.0, shape[-2] / shape[-1]) ** 0.5
            torch._foreach_sub_(parameters, list((update * (rate * scale)).unbind()))


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix of each (…, rows, columns), roughly, by five Newton-Schulz iterations."""
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.transpose(-1, -2) if tall else x).to(matrices.dtype)
