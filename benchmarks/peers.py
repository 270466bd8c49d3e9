"""What a learner would run instead: well-known recipes, written anew from their published description.

``ConditionalMLP`` and ``DCGAN`` are two GANs of the collection PyTorch-GAN (MIT) in the sizes and with the numbers that
they ship with: fully connected layers with a label embedding laid beside the input and least-squares losses; and
convolutions with batch normalisation and binary cross-entropy. ``DFGAN`` is Tao et al., arXiv 2008.05865 (CVPR 2022),
whose networks are defined for 32x32 too, conditioned on our shared space in the place of its own sentence vectors.
Only their data loading is replaced: like ours they draw their batches from pictures in memory, or as they are drawn,
which makes them faster than they are as shipped.

Each runs as it ships, in float32 with the losses read by the host after every step, or with ``Tricks``, which make it
faster and leave it the same recipe.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.checks import expect_one_of
from mmcourse.layers import SLOPE
from mmcourse.pictures import SIDE, Labelled
from mmcourse.text2image import SPACE
from mmcourse.train import Batch, Sample

Z = 100
ADAMS = ("as shipped", "foreach", "fused")
COMPILED = ("", "default", "reduce-overhead")


@dataclass(frozen=True)
class Tricks:
    """What makes a recipe faster and leaves it the same recipe; without any it runs as it ships.

    ``lean``: data and noise are made on the device, no loss is read by the host, D's weights get no gradient while G
    moves, and where no batch normalisation forbids it D looks at real and fake in one call. ``adam``: which of torch's
    Adams. ``compiled``: a mode of ``torch.compile`` for G and D; gradients of gradients stay outside. ``bf16``:
    networks under autocast, losses and penalties in float32. Raises ``ValueError`` on unknown names.
    """

    lean: bool = False
    channels_last: bool = False
    adam: str = "as shipped"
    compiled: str = ""
    bf16: bool = False

    def __post_init__(self) -> None:
        expect_one_of(self.adam, ADAMS, name="adam")
        expect_one_of(self.compiled, COMPILED, name="compiled")

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


AS_SHIPPED = Tricks()


class Peer:
    """What the recipes share: two networks, two Adams and a random source; ``step()`` is one update of both.

    ``call(net, ...)`` runs a network as the tricks say and gives float32. Dropout draws from torch's global state,
    which nothing else in a benchmark uses.
    """

    def __init__(
        self,
        G: nn.Module,
        D: Any,
        *,
        rates: tuple[float, float],
        betas: tuple[float, float],
        seed: int,
        device: str,
        tricks: Tricks,
    ):
        self.device, self.tricks, self.steps = torch.device(device), tricks, 0
        form = torch.channels_last if tricks.channels_last else torch.contiguous_format
        self.G, self.D = G.to(self.device, memory_format=form), D.to(self.device, memory_format=form)
        self.form = form
        self.fast_g = torch.compile(self.G, mode=tricks.compiled) if tricks.compiled else self.G
        self.fast_d = torch.compile(self.D, mode=tricks.compiled) if tricks.compiled else self.D
        how: dict[str, Any] = {} if tricks.adam == "as shipped" else {tricks.adam: True}
        self.opt_g, self.opt_d = (
            torch.optim.Adam(m.parameters(), lr=lr, betas=betas, **how)
            for m, lr in zip((self.G, self.D), rates, strict=True)
        )
        self.rng = torch.Generator(self.device if tricks.lean else "cpu").manual_seed(seed)

    def call(self, net: Any, *inputs: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.tricks.bf16):
            return net(*inputs).float()

    def here(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors on the device, pictures in the memory format of the tricks."""
        return tuple(x.to(self.device, memory_format=self.form) if x.dim() == 4 else x.to(self.device) for x in tensors)

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, Z, generator=self.rng, device=self.rng.device).to(self.device)

    def move(self, opt: torch.optim.Adam, loss: Tensor) -> None:
        """One step of an optimiser down the loss. With ``lean`` no other gradient is computed."""
        opt.zero_grad()
        loss.backward(inputs=opt.param_groups[0]["params"] if self.tricks.lean else None)
        opt.step()

    @contextlib.contextmanager
    def g_moves(self) -> Iterator[None]:
        """D's weights need no gradient while G moves. As shipped they get one, which is thrown away."""
        for p in self.D.parameters():
            p.requires_grad_(not self.tricks.lean)
        yield
        for p in self.D.parameters():
            p.requires_grad_(True)

    def told(self, d: Tensor, g: Tensor) -> dict[str, Any]:
        """Both losses: as numbers, or with ``lean`` as tensors that nobody waits for."""
        self.steps += 1
        return {k: v.detach() if self.tricks.lean else float(v.detach()) for k, v in (("d", d), ("g", g))}

    @torch.no_grad()
    def pictures(self, g: torch.Generator, *conds: Tensor, n: int, as_shipped: bool = True, batch: int = 500) -> Tensor:
        """n pictures on the CPU. As shipped, batch normalisation stays in training mode and uses the batch's own
        statistics; else it uses the running ones. Drawing changes nothing."""
        G = copy.deepcopy(self.G).train(as_shipped)
        inputs = (torch.randn(n, Z, generator=g), *conds)
        parts = zip(*(x.split(batch) for x in inputs), strict=True)
        return torch.cat([G(*(x.to(self.device) for x in part)).cpu() for part in parts])


# ---- PyTorch-GAN's conditional GAN


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


class ConditionalMLP(Peer):
    """The whole recipe: ``step()`` is one update of G and then of D, ``draw(labels, g)`` gives pictures.

    Weights come from ``seed``.
    """

    def __init__(
        self, data: Labelled, *, seed: int = 0, batch: int = 64, device: str = "cpu", tricks: Tricks = AS_SHIPPED
    ):
        torch.manual_seed(seed)
        self.batch, self.classes = batch, len(data.classes)
        G, D = PeerGenerator(self.classes), PeerDiscriminator(self.classes)
        super().__init__(G, D, rates=(2e-4, 2e-4), betas=(0.5, 0.999), seed=seed, device=device, tricks=tricks)
        self.data = data.to(self.rng.device)

    def step(self) -> dict[str, Any]:
        """One batch: G first, then D on the same fakes. Gives both losses."""
        n, rng = self.batch, self.rng
        real, labels = self.data.draw(n, rng)
        z = self.noise(n)
        asked = torch.randint(self.classes, (n,), generator=rng, device=rng.device)
        real, labels, asked = self.here(real, labels, asked)
        yes, no = torch.ones(n, 1, device=self.device), torch.zeros(n, 1, device=self.device)

        with self.g_moves():
            fake = self.call(self.fast_g, z, asked)
            loss_g = F.mse_loss(self.call(self.fast_d, fake, asked), yes)
            self.move(self.opt_g, loss_g)

        if self.tricks.lean:  # no layer of D couples its pictures
            both = self.call(self.fast_d, torch.cat([real, fake.detach()]), torch.cat([labels, asked]))
            on_real, on_fake = both.chunk(2)
        else:
            on_real = self.call(self.fast_d, real, labels)
            on_fake = self.call(self.fast_d, fake.detach(), asked)
        loss_d = (F.mse_loss(on_real, yes) + F.mse_loss(on_fake, no)) / 2
        self.move(self.opt_d, loss_d)
        return self.told(loss_d, loss_g)

    def draw(self, labels: Tensor, g: torch.Generator, *, as_shipped: bool = True, batch: int = 500) -> Tensor:
        """One picture (B, 1, 32, 32) a label (B,). As shipped, batch normalisation stays in training mode and uses the
        batch's own statistics, so labels should come mixed; else it uses the running ones."""
        return self.pictures(g, labels, n=len(labels), as_shipped=as_shipped, batch=batch)


# ---- PyTorch-GAN's DCGAN


def _normal(module: nn.Module) -> None:
    """Convolutions with a spread of 0.02 around 0, batch normalisation around 1 (Radford et al., arXiv 1511.06434)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class DCGenerator(nn.Module):
    """Noise (B, 100) to pictures (B, 1, 32, 32) in [-1, 1]: from 8x8, twice enlarged by repeating pixels.

    The 0.8 that stands where ``eps`` is was meant to be a momentum; it ships so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(Z, 128 * 8 * 8)
        layers: list[nn.Module] = [nn.BatchNorm2d(128)]
        for a, b in ((128, 128), (128, 64)):
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1)]
            layers += [nn.BatchNorm2d(b, eps=0.8), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1), nn.Tanh())
        self.apply(_normal)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.base(z).view(-1, 128, 8, 8))  # (B, 1, 32, 32)


class DCDiscriminator(nn.Module):
    """Pictures (B, 1, 32, 32) to logits (B, 1); the recipe's sigmoid stands in its loss."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise((1, 16, 32, 64, 128)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE, inplace=True), nn.Dropout2d(0.25)]
            if a > 1:
                layers.append(nn.BatchNorm2d(b, eps=0.8))
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(128 * 2 * 2, 1)
        self.apply(_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(x).flatten(1))  # (B, 128, 2, 2), then (B, 1)


class DCGAN(Peer):
    """The whole recipe: ``step()`` is one update of G and then of D, ``draw(n, g)`` gives pictures.

    Weights come from ``seed``.
    """

    def __init__(
        self, data: Labelled, *, seed: int = 0, batch: int = 64, device: str = "cpu", tricks: Tricks = AS_SHIPPED
    ):
        torch.manual_seed(seed)
        self.batch = batch
        G, D = DCGenerator(), DCDiscriminator()
        super().__init__(G, D, rates=(2e-4, 2e-4), betas=(0.5, 0.999), seed=seed, device=device, tricks=tricks)
        self.data = data.to(self.rng.device)

    def loss(self, logits: Tensor, real: bool) -> Tensor:
        """Binary cross-entropy: of a sigmoid, as it ships, or of the logits, which is the same number."""
        target = torch.full_like(logits, float(real))
        if self.tricks.lean:
            return F.binary_cross_entropy_with_logits(logits, target)
        return F.binary_cross_entropy(torch.sigmoid(logits), target)

    def step(self) -> dict[str, Any]:
        """One batch: G first, then D on the same fakes. Gives both losses."""
        (real,) = self.here(self.data.draw(self.batch, self.rng)[0])
        with self.g_moves():
            fake = self.call(self.fast_g, self.noise(self.batch))
            loss_g = self.loss(self.call(self.fast_d, fake), True)
            self.move(self.opt_g, loss_g)

        # batch normalisation couples a batch, so real and fake are looked at one after the other
        loss_real = self.loss(self.call(self.fast_d, real), True)
        loss_d = (loss_real + self.loss(self.call(self.fast_d, fake.detach()), False)) / 2
        self.move(self.opt_d, loss_d)
        return self.told(loss_d, loss_g)

    def draw(self, n: int, g: torch.Generator, *, as_shipped: bool = True, batch: int = 500) -> Tensor:
        """n pictures (n, 1, 32, 32); ``as_shipped`` as in ``Peer.pictures``."""
        return self.pictures(g, n=n, as_shipped=as_shipped, batch=batch)


# ---- DF-GAN


class Affine(nn.Module):
    """Features (B, C, H, W), each channel scaled and shifted by two small networks of a condition (B, K).

    It starts as the identity. Section 3.3 of arXiv 2008.05865.
    """

    def __init__(self, cond: int, width: int):
        super().__init__()
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(cond, width), nn.ReLU(inplace=True), nn.Linear(width, width)) for _ in range(2)
        )
        for part, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(part[2].weight)
            nn.init.constant_(part[2].bias, start)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.scale(cond)[:, :, None, None] * x + self.shift(cond)[:, :, None, None]


class Fusion(nn.Module):
    """Affine, leaky ReLU, affine, leaky ReLU: the "deep fusion" of text and picture in front of a convolution."""

    def __init__(self, cond: int, width: int):
        super().__init__()
        self.one, self.two = Affine(cond, width), Affine(cond, width)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return F.leaky_relu(self.two(F.leaky_relu(self.one(x, cond), SLOPE), cond), SLOPE)


class UpBlock(nn.Module):
    """Features (B, a, H, W) and conditions (B, K) to (B, b, 2H, 2W): twice a fusion and a convolution, a shortcut."""

    def __init__(self, cond: int, a: int, b: int):
        super().__init__()
        self.fuse_one, self.fuse_two = Fusion(cond, a), Fusion(cond, b)
        self.one, self.two = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.shortcut = nn.Conv2d(a, b, 1) if a != b else nn.Identity()

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2)
        h = self.one(self.fuse_one(x, cond))
        return self.shortcut(x) + self.two(self.fuse_two(h, cond))


class DownBlock(nn.Module):
    """Features (B, a, H, W) to (B, b, H/2, W/2), without normalisation; its residual part starts at zero."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.one = nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False)
        self.two = nn.Conv2d(b, b, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(a, b, 1) if a != b else nn.Identity()
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.two(F.leaky_relu(self.one(x), SLOPE)), SLOPE)
        return F.avg_pool2d(self.shortcut(x), 2) + self.gain * h


class DFGenerator(nn.Module):
    """Noise (B, 100) and conditions (B, K) to pictures (B, 3, 32, 32) in [-1, 1]; ``width`` is the paper's 32."""

    def __init__(self, *, cond: int = SPACE, width: int = 32):
        super().__init__()
        self.hparams: dict[str, Any] = dict(z=Z, cond=cond, width=width)
        sizes = (8 * width, 4 * width, 2 * width, width)
        self.base = nn.Linear(Z, sizes[0] * 4 * 4)
        self.blocks = nn.ModuleList(UpBlock(Z + cond, a, b) for a, b in pairwise(sizes))
        self.head = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        h, both = self.base(z).view(len(z), -1, 4, 4), torch.cat([z, cond], dim=1)
        for block in self.blocks:
            h = block(h, both)  # 8x8, 16x16, 32x32
        return torch.tanh(self.head(F.leaky_relu(h, SLOPE)))


class DFDiscriminator(nn.Module):
    """Pictures (B, 3, 32, 32) to features (B, 8*width, 4, 4), and with conditions (B, K) to scores (B, 1).

    There is one output, and it is conditioned (the paper's "one-way output").
    """

    def __init__(self, *, cond: int = SPACE, width: int = 32):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(a * width, b * width) for a, b in pairwise((1, 2, 4, 8))))
        self.joint = nn.Conv2d(8 * width + cond, 2 * width, 3, padding=1, bias=False)
        self.out = nn.Conv2d(2 * width, 1, 4, bias=False)

    def look(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))

    def score(self, features: Tensor, cond: Tensor) -> Tensor:
        h = torch.cat([features, cond[:, :, None, None].expand(-1, -1, 4, 4)], dim=1)
        return self.out(F.leaky_relu(self.joint(h), SLOPE)).flatten(1)  # (B, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.score(self.look(x), cond)


def hinge(scores: Tensor, real: bool) -> Tensor:
    r"""$E[\max(0, 1 - D)]$ for what D should call real, $E[\max(0, 1 + D)]$ for the rest."""
    return F.relu(1 - scores if real else 1 + scores).mean()


def magp(scores: Tensor, x: Tensor, cond: Tensor) -> Tensor:
    r"""The matching-aware gradient penalty $2 E\|\nabla_{x, e} D(x, e)\|^6$ on real pictures with their true captions.

    The norm is taken over a picture's and its condition's numbers together; ``x`` and ``cond`` need gradients.
    Section 3.2 of arXiv 2008.05865 with its k = 2 and p = 6. Written as the cube of the squared norm, whose slope at 0
    is 0 and not undefined.
    """
    slopes = torch.autograd.grad(scores.sum(), (x, cond), create_graph=True)
    return 2 * sum(s.flatten(1).square().sum(1) for s in slopes).pow(3).mean()


class DFGAN(Peer):
    """The whole recipe on batches of ``sample`` (``text2image.prepare``'s): real pictures, their captions, wrong ones.

    ``step()`` is one update of D and then of G. A mismatched pair is a real picture with a wrong caption of our batch;
    the recipe itself takes the next picture's. Weights come from ``seed``.

    ``shade`` darkens real pictures to [-shade, shade], and drawn ones are stretched back. Pictures of the world are
    bright and nearly plain. At full range, G's tanh can be driven to 1 everywhere within some forty steps, and no
    gradient passes it from there.
    """

    def __init__(
        self,
        sample: Sample,
        *,
        seed: int = 0,
        cond: int = SPACE,
        shade: float = 1.0,
        device: str = "cpu",
        tricks: Tricks = AS_SHIPPED,
    ):
        if not 0 < shade <= 1:
            raise ValueError(f"shade: expected a number above 0 and up to 1, got {shade}.")
        torch.manual_seed(seed)
        G, D = DFGenerator(cond=cond), DFDiscriminator(cond=cond)
        super().__init__(G, D, rates=(1e-4, 4e-4), betas=(0.0, 0.9), seed=seed, device=device, tricks=tricks)
        self.sample, self.shade = sample, shade

    def step(self) -> dict[str, Any]:
        """One batch: D with the penalty, then G. Gives both losses, D's without its penalty."""
        batch: Batch = self.sample(self.rng, self.steps)
        if batch.cond is None or batch.wrong is None:
            raise ValueError("DFGAN: expected batches with true and wrong conditions, as text2image.prepare gives.")
        real, cond, wrong = self.here(*batch)
        real = (real * self.shade).requires_grad_(True)
        cond = cond.detach().requires_grad_(True)
        seen = self.call(self.D.look, real)  # never compiled: its gradient has a gradient
        on_real = self.call(self.D.score, seen, cond)
        loss_d = hinge(on_real, True) + hinge(self.call(self.D.score, seen, wrong), False) / 2
        known = cond.detach() if self.tricks.lean else cond
        fake = self.call(self.fast_g, self.noise(len(real)), known)
        loss_d = loss_d + hinge(self.call(self.fast_d, fake.detach(), known), False) / 2
        self.move(self.opt_d, loss_d + magp(on_real, real, cond))

        with self.g_moves():
            loss_g = -self.call(self.fast_d, fake, known).mean()
            self.move(self.opt_g, loss_g)
        return self.told(loss_d, loss_g)

    def draw(self, cond: Tensor, g: torch.Generator, *, batch: int = 250) -> Tensor:
        """One picture (B, 3, 32, 32) in [-1, 1] a condition (B, K)."""
        return (self.pictures(g, cond, n=len(cond), batch=batch) / self.shade).clamp(-1, 1)
