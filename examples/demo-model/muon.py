"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024), for matrices and convolutions.

It learns rare associations, which is all there is to learn here, in far fewer steps than AdamW; torch's own takes
no convolutions.
"""

import torch


class Muon(torch.optim.Optimizer):
    """Steps as large as AdamW's at the same rate: updates are scaled by 0.2 sqrt(max(rows, columns))."""

    def __init__(self, params, lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("momentum", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(average, group["momentum"]).flatten(1)
                scale = 0.2 * max(update.shape) ** 0.5
                p.add_(orthogonal(update).view_as(p), alpha=-group["lr"] * scale)


def orthogonal(m: torch.Tensor) -> torch.Tensor:
    """Nearly U V^T of the singular value decomposition, by five Newton-Schulz steps."""
    tall = m.shape[0] > m.shape[1]
    x = (m.T if tall else m).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).to(m.dtype)
