"""The course's own feature network: a small classifier whose features measure pictures (lesson 05).

Inception, the usual choice, was trained on photographs of 299 pixels and weighs 90 MB. This one was trained on the
pictures that are measured, and reads their labels too. No loss of a generator ever sees it;
``tests/test_floors.py`` fails if a training module imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.checks import expect_shape
from mmcourse.keep import Kept
from mmcourse.layers import Trunk, linear
from mmcourse.pictures import SIDE, Labelled


class FeatureNet(nn.Module):
    """Grey pictures (B, 1, 32, 32) in [-1, 1] to logits over classes (B, classes); ``features`` gives (B, 64).

    ``num_features`` is what torchmetrics asks a feature network for.
    """

    def __init__(self, *, classes: int = 10, width: int = 20, features: int = 64):
        super().__init__()
        self.hparams: dict[str, Any] = dict(classes=classes, width=width, features=features)
        self.num_features = features
        self.trunk = Trunk(width=width, features=features, channels=1)
        self.out = linear(features, classes, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        expect_shape(x, f"B 1 {SIDE} {SIDE}", name="pictures")
        return self.out(self.trunk(x))

    @torch.no_grad()
    def features(self, x: Tensor, *, batch: int = 500) -> Tensor:
        """Pictures (B, 1, 32, 32) in [-1, 1] to the numbers below the last layer, (B, 64)."""
        expect_shape(x, f"B 1 {SIDE} {SIDE}", name="pictures")
        return torch.cat([self.trunk(part) for part in x.split(batch)])

    @torch.no_grad()
    def read(self, x: Tensor, *, batch: int = 500) -> Tensor:
        """The most likely class of each picture (B, 1, 32, 32): int64 (B,)."""
        return torch.cat([self(part).argmax(1) for part in x.split(batch)])


def disturb(x: Tensor, g: torch.Generator) -> Tensor:
    """Shift each picture (B, 1, H, W) by up to two pixels and add a little noise, a strength drawn for each."""
    n, side = len(x), x.shape[-1]
    shift = (torch.randint(-2, 3, (n, 2), generator=g).float() * 2 / side).view(n, 2, 1)
    turn = torch.eye(2).expand(n, 2, 2)
    grid = F.affine_grid(torch.cat([turn, shift], 2), list(x.shape), align_corners=False)
    moved = F.grid_sample(x + 1, grid, align_corners=False) - 1  # what comes in from outside is black
    sigma = 0.15 * torch.rand(n, 1, 1, 1, generator=g)
    return (moved + sigma * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def feature_steps(
    sets: list[Labelled],
    *,
    steps: int = 4000,
    batch: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    width: int = 20,
    device: str = "cpu",
    kept: Kept | None = None,
) -> Iterator[tuple[int, float, FeatureNet]]:
    """Train on labelled pictures, an equal share of each set; yields (step, loss, averaged network). Batches are drawn
    on the CPU, the same on every ``device``. Pass ``kept`` to keep the run, or to go on with one."""
    g = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureNet(classes=max(len(s.classes) for s in sets), width=width).to(device)
    averaged = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2)
    for step in (kept or Kept()).steps(steps, net=net, averaged=averaged, opt=opt, g=g):
        for group in opt.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 100) * max(0.02, 1 - step / steps)
        x, labels = (torch.cat(part) for part in zip(*(s.draw(batch // len(sets), g) for s in sets), strict=True))
        loss = F.cross_entropy(net(disturb(x, g).to(device)), labels.to(device), label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        opt.step()
        averaged.update_parameters(net)
        yield step + 1, float(loss.detach()), cast(FeatureNet, averaged.module)


def label_accuracy(net: FeatureNet, pictures: Tensor, labels: Tensor) -> float:
    """The share of pictures (B, 1, 32, 32) that the network reads as their label (B,)."""
    return float((net.read(pictures) == labels).float().mean())
