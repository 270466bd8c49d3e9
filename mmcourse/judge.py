"""The judge: a network that reads a picture's attributes and that no loss ever sees (lessons 05 and 09).

Captions are scored with it, so it must know nothing of the networks it scores: it has its own weights, its own
training run on fresh drawings, and ``tests/test_floors.py`` fails if a training module imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import world
from mmcourse.checks import expect_shape
from mmcourse.keep import Kept
from mmcourse.layers import ResBlock, Trunk, conv, linear

# what is read, in this order: the layout, then shape, colour and size of thing A and of thing B
HEADS = (len(world.LAYOUTS), *(2 * (len(world.SHAPES), len(world.COLOURS), len(world.SIZES))))


class Judge(nn.Module):
    """Pictures (B, 3, 32, 32) in [-1, 1] to logits for the layout and both things' attributes (B, 39).

    Form (layout, shapes, sizes) is read from a picture without colour, the contrast to the background; colour
    is read from an 8x8 average, in which shapes cannot be told. So no habit of the training pictures, such as
    "yellow things are never circles", can reach an answer.
    """

    def __init__(self, *, width: int = 32, blocks: int = 1, features: int = 192):
        super().__init__()
        self.hparams: dict[str, Any] = dict(width=width, blocks=blocks, features=features)
        self.form = Trunk(width=width, blocks=blocks, features=features, channels=1)
        self.read_form = linear(features, HEADS[0] + 2 * (len(world.SHAPES) + len(world.SIZES)), gain=0.5)
        self.colour = nn.Sequential(conv(3, width), ResBlock(width), ResBlock(width), conv(width, width))
        self.read_colour = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            linear(64 * width, features),
            nn.LeakyReLU(0.2),
            linear(features, 2 * len(world.COLOURS), gain=0.5),
        )

    def forward(self, x: Tensor) -> Tensor:
        expect_shape(x, "B 3 32 32", name="pictures")
        background = x.flatten(2).median(2).values[:, :, None, None]  # most of a picture is background
        contrast = (x - background).pow(2).sum(1, keepdim=True).clamp(min=1e-8).sqrt()
        form = self.read_form(self.form(contrast / (contrast + 0.4)))
        paint = self.read_colour(self.colour(F.avg_pool2d(x, 4)))
        shapes, sizes, colours = len(world.SHAPES), len(world.SIZES), len(world.COLOURS)
        layout, shape_a, size_a, shape_b, size_b = form.split([HEADS[0], shapes, sizes, shapes, sizes], dim=1)
        colour_a, colour_b = paint.split([colours, colours], dim=1)
        return torch.cat([layout, shape_a, colour_a, size_a, shape_b, colour_b, size_b], dim=1)

    def logits(self, x: Tensor) -> list[Tensor]:
        """One (B, classes) tensor for each entry of ``HEADS``."""
        return list(self(x).split(HEADS, dim=1))

    @torch.no_grad()
    def read(self, x: Tensor, *, batch: int = 500) -> Tensor:
        """Read pictures (B, 3, 32, 32) as labels (B, 8), columns as in ``world.COLUMNS``.

        Larger pictures whose side is a multiple of 32 are averaged down first.
        """
        side = expect_shape(x, "B 3 H H", name="pictures")["H"]
        if side != 32:
            if side % 32:
                raise ValueError(f"pictures: expected a side that is a multiple of 32, got {side}.")
            x = F.avg_pool2d(x, side // 32)
        rows = []
        for part in x.split(batch):
            layout, *rest = (h.argmax(1) for h in self.logits(part))
            two = layout >= world.BESIDE
            second = [v.where(two, torch.tensor(world.OPEN)) for v in rest[3:]]
            rows.append(torch.stack([1 + two.long(), *rest[:3], *second, layout], dim=1))
        return torch.cat(rows)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over all heads; the second thing's heads count only where there is one."""
        layout, *rest = self.logits(x)
        columns = [1, 2, 3, 4, 5, 6]
        total = F.cross_entropy(layout, labels[:, 7])
        for logits, column in zip(rest, columns, strict=True):
            total = total + F.cross_entropy(logits, labels[:, column], ignore_index=world.OPEN)
        return total


def disturb(x: Tensor, g: torch.Generator, *, noise: float = 0.12, blur: float = 0.5) -> Tensor:
    """Slight blur and noise, a strength drawn for each picture: pictures (B, 3, R, R) in [-1, 1] to the same."""
    n = len(x)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel / 16).expand(3, 1, 3, 3)
    soft = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    mix = torch.rand(n, 1, 1, 1, generator=g) * (torch.rand(n, 1, 1, 1, generator=g) < blur)
    sigma = noise * torch.rand(n, 1, 1, 1, generator=g)
    return (torch.lerp(x, soft, mix) + sigma * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def judge_steps(
    *,
    steps: int = 6000,
    batch: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    width: int = 32,
    device: str = "cpu",
    kept: Kept | None = None,
) -> Iterator[tuple[int, float, Judge]]:
    """Train a judge on fresh drawings without held-out pairs; yields (step, loss, averaged judge). Batches are drawn
    on the CPU, the same on every ``device``. Pass ``kept`` to keep the run, or to go on with one."""
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # initial weights only
    judge = Judge(width=width).to(device)
    averaged = torch.optim.swa_utils.AveragedModel(
        judge, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    opt = torch.optim.AdamW(judge.parameters(), lr=lr, weight_decay=1e-3)
    for step in (kept or Kept()).steps(steps, judge=judge, averaged=averaged, opt=opt, g=g):
        for group in opt.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 100) * max(0.02, 1 - step / steps)
        scenes = world.sample_scenes(batch, g)
        loss = judge.loss(disturb(world.draw(scenes), g).to(device), scenes.labels.to(device))
        opt.zero_grad()
        loss.backward()
        opt.step()
        averaged.update_parameters(judge)
        yield step + 1, float(loss.detach()), cast(Judge, averaged.module)


@torch.no_grad()
def judge_report(judge: Judge, *, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """Shares of fresh drawings read all right: train pairs, held-out pairs, and blurred and noisy ones."""
    g = torch.Generator().manual_seed(seed)
    report = {}
    for split in ("train", "held_out"):
        scenes = world.sample_scenes(n, g, split=split)
        x = world.draw(scenes)
        report[split] = (judge.read(x) == scenes.labels).all(1).float().mean().item()
        report[f"{split}_disturbed"] = (judge.read(disturb(x, g)) == scenes.labels).all(1).float().mean().item()
    return report
