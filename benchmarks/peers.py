"""What a learner would run instead: well-known recipes, written anew from their published description.

``ConditionalMLP`` is the conditional GAN of the collection PyTorch-GAN (MIT) in the sizes and with the numbers that it
ships with: fully connected layers, a label embedding laid beside the input, least-squares losses. Only its data loading
is replaced: like ours it draws its batches from pictures in memory, which makes it faster than it is as shipped.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.pictures import SIDE, Labelled

Z = 100


class PeerGenerator(nn.Module):
    """Noise (B, 100) and labels (B,) to pictures (B, 1, 32, 32) in [-1, 1]."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.embed = nn.Embedding(classes, classes)
        sizes = [Z + classes, 128, 256, 512, 1024]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            layers.append(nn.Linear(a, b))
            if i:
                layers.append(
                    nn.BatchNorm1d(b, eps=0.8)
                )  # as it ships: 0.8 stands where eps is, and was meant otherwise
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], SIDE * SIDE), nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(torch.cat([self.embed(labels), z], dim=1)).view(-1, 1, SIDE, SIDE)


class PeerDiscriminator(nn.Module):
    """Pictures (B, 1, 32, 32) and labels (B,) to scores (B, 1), 1 for real and 0 for fake."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.embed = nn.Embedding(classes, classes)
        layers: list[nn.Module] = [nn.Linear(classes + SIDE * SIDE, 512), nn.LeakyReLU(0.2)]
        for _ in range(2):
            layers += [nn.Linear(512, 512), nn.Dropout(0.4), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(512, 1))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.layers(torch.cat([x.flatten(1), self.embed(labels)], dim=1))


class ConditionalMLP:
    """The whole recipe: ``step()`` is one update of G and then of D, ``draw(labels, g)`` gives pictures.

    Weights come from ``seed``. Dropout draws from torch's global state, which nothing else in a benchmark uses.
    """

    def __init__(self, data: Labelled, *, seed: int = 0, batch: int = 64):
        torch.manual_seed(seed)
        self.data, self.batch, self.classes = data, batch, len(data.classes)
        self.G, self.D = PeerGenerator(self.classes), PeerDiscriminator(self.classes)
        self.rng = torch.Generator().manual_seed(seed)
        self.opt_g, self.opt_d = (
            torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (self.G, self.D)
        )
        self.steps = 0

    def step(self) -> dict[str, float]:
        """One batch: G first, then D on the same fakes. Gives both losses."""
        real, labels = self.data.draw(self.batch, self.rng)
        z = torch.randn(self.batch, Z, generator=self.rng)
        asked = torch.randint(self.classes, (self.batch,), generator=self.rng)
        yes, no = torch.ones(self.batch, 1), torch.zeros(self.batch, 1)

        fake = self.G(z, asked)
        loss_g = F.mse_loss(self.D(fake, asked), yes)
        self.opt_g.zero_grad()
        loss_g.backward()
        self.opt_g.step()

        on_real, on_fake = self.D(real, labels), self.D(fake.detach(), asked)
        loss_d = (F.mse_loss(on_real, yes) + F.mse_loss(on_fake, no)) / 2
        self.opt_d.zero_grad()
        loss_d.backward()
        self.opt_d.step()
        self.steps += 1
        return {"d": float(loss_d.detach()), "g": float(loss_g.detach())}

    @torch.no_grad()
    def draw(self, labels: Tensor, g: torch.Generator, *, as_shipped: bool = True, batch: int = 500) -> Tensor:
        """One picture (B, 1, 32, 32) a label (B,). As shipped, batch normalisation stays in training mode and uses the
        batch's own statistics, so labels should come mixed; else it uses the running ones."""
        G = copy.deepcopy(self.G).train(as_shipped)
        z = torch.randn(len(labels), Z, generator=g)
        return torch.cat([G(a, b) for a, b in zip(z.split(batch), labels.split(batch), strict=True)])
