"""What is asked in exercises 03, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.

A penalty is probed by its value and by its slope at the weights of a small D, which is drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception

Critic = Callable[[Tensor], Tensor]

# --------------------------------------------------------------------------------------------------- hinge_d


def probe_hinge_d(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches, the second with fewer fakes than real pictures: the loss, and its slopes at the logits."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, n, m, margin in (("six and six", 6, 6, 1.0), ("eight and five", 8, 5, 0.6)):
        real, fake = (2 * torch.randn(k, 1, generator=g) for k in (n, m))
        real[:4, 0] = torch.tensor([2.5, 0.3, -1.5, 0.4]) + 0.1 * torch.rand(4, generator=g)  # beyond, near, far, near
        fake[:4, 0] = torch.tensor([-2.5, -0.3, 1.5, 0.2]) - 0.1 * torch.rand(4, generator=g)
        fake[4:] = fake[4:].clamp(-1, 1) - 6  # far beyond, so that the mean of the fakes is beyond as well
        real.requires_grad_(True)
        fake.requires_grad_(True)
        loss = answer(real * 1, fake * 1, margin)
        out[f"loss of {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), [real, fake], allow_unused=True)
            for kind, slope in zip(("real", "fake"), slopes, strict=True):
                out[f"slope of {name} at the {kind} ones"] = "no slope" if slope is None else slope.clone()
        else:
            out[f"slope of {name} at the real ones"] = "the loss carries no gradient"
    return out


def hinge_without_relu(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return (margin - real).mean() + (margin + fake).mean()


def hinge_margin_sign(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(-margin - real).mean() + F.relu(-margin + fake).mean()


def hinge_roles_swapped(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(margin + real).mean() + F.relu(margin - fake).mean()


def hinge_min_for_max(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return (margin - real).clamp(max=0).mean() + (margin + fake).clamp(max=0).mean()


def hinge_to_be_maximised(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return (real - margin).clamp(max=0).mean() + (-fake - margin).clamp(max=0).mean()


def hinge_of_the_means(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(margin - real.mean()) + F.relu(margin + fake.mean())


def hinge_one_mean(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return torch.cat([F.relu(margin - real), F.relu(margin + fake)]).mean()


def hinge_sums(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(margin - real).sum() + F.relu(margin + fake).sum()


def hinge_one_for_margin(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_softplus(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.softplus(margin - real).mean() + F.softplus(margin + fake).mean()


def hinge_no_gradient(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return hinge_by_relu(real, fake, margin).detach()


def hinge_by_relu(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    return F.relu(margin - real).mean() + F.relu(fake + margin).mean()


def hinge_by_where(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    near = torch.where(real < margin, margin - real, torch.zeros_like(real)).sum() / real.numel()
    return near + ((fake + margin) * (fake > -margin)).sum() / fake.numel()


HINGE_D = Item(
    id="hinge_d",
    title="Sure enough is enough",
    points=2,
    answer="hinge_d",
    probe=probe_hinge_d,
    misconceptions=(
        Misconception(
            "no relu",
            hinge_without_relu,
            "A logit beyond its margin lowers your loss without end. It should cost exactly nothing there, so that D "
            "stops pushing what it already tells apart.",
        ),
        Misconception(
            "the margin's sign",
            hinge_margin_sign,
            "You ask for the margin with the wrong sign: a real picture costs you nothing as soon as its logit is "
            "above minus the margin. Try a real logit of 0.",
        ),
        Misconception(
            "the players swapped",
            hinge_roles_swapped,
            "Your real and fake terms have changed places. With this loss D would push real logits down and fake ones "
            "up.",
        ),
        Misconception(
            "min for max",
            hinge_min_for_max,
            "You keep what is negative and cut off what is positive. So the pictures that need no push are the only "
            "ones to get one. Which side is the cost?",
        ),
        Misconception(
            "to be maximised",
            hinge_to_be_maximised,
            "Papers write this sum as a thing that D maximises, and so did you. An optimiser descends: a loss is at "
            "least 0, and smaller is better.",
        ),
        Misconception(
            "the hinge of the mean",
            hinge_of_the_means,
            "You take the mean first and the hinge behind it. One very sure logit then hides all the others. Each "
            "picture has a margin of its own.",
        ),
        Misconception(
            "one mean over both",
            hinge_one_mean,
            "You put all costs into one mean. That halves the loss, and where there are fewer fakes they weigh less. "
            "Asked is the sum of two means.",
        ),
        Misconception(
            "sums",
            hinge_sums,
            "You add up the costs. A batch twice as large would then push twice as hard, and the learning rate would "
            "mean something else.",
        ),
        Misconception(
            "the margin is not used",
            hinge_one_for_margin,
            "You work with a margin of 1 whatever was asked for. Look at the third argument.",
        ),
        Misconception(
            "softplus",
            hinge_softplus,
            "A softplus bends softly and never reaches 0. The hinge has a corner: beyond the margin it is flat, and "
            "its slope there is exactly 0.",
        ),
        Misconception(
            "no gradient",
            hinge_no_gradient,
            "The number is right, but it carries no gradient, so D would never learn from it. What cuts the graph: a "
            "detach, an item(), a no_grad?",
        ),
    ),
    also_right=(hinge_by_relu, hinge_by_where),
)

# ----------------------------------------------------------------------------------------------- critic_loss


def probe_critic_loss(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches of a critic's numbers: both losses, their slopes, and the gap. In the second the fakes lead."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, n, m, lead in (("six and six", 6, 6, 1.5), ("seven and four", 7, 4, -2.0)):
        real, fake = torch.randn(n, 1, generator=g) + lead + 0.3, torch.randn(m, 1, generator=g) + 0.3
        real.requires_grad_(True)
        fake.requires_grad_(True)
        loss_d, loss_g, gap = answer(real * 1, fake * 1)
        for who, loss in (("D", loss_d), ("G", loss_g)):
            out[f"{who}'s loss of {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        out[f"gap of {name}"] = float(gap.detach() if torch.is_tensor(gap) else gap)
        out[f"gap of {name} for the log"] = "keeps a graph" if getattr(gap, "requires_grad", False) else "plain"
        for who, loss in (("D", loss_d), ("G", loss_g)):
            if not (torch.is_tensor(loss) and loss.requires_grad):
                out[f"slope of {who}'s loss of {name}"] = "the loss carries no gradient"
                continue
            slopes = torch.autograd.grad(loss.sum(), [real, fake], allow_unused=True, retain_graph=True)
            for kind, given, slope in zip(("real", "fake"), (real, fake), slopes, strict=True):
                there = torch.zeros_like(given) if slope is None else slope.clone()
                out[f"{who}'s slope at {kind}, {name}"] = there
    return out


def critic_d_sign(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return gap, -fake.mean(), gap.item()


def critic_g_sign(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return -gap, fake.mean(), gap.item()


def critic_both_signs(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return gap, fake.mean(), gap.item()


def critic_zero_sum(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return -gap, gap, gap.item()


def critic_gap_is_the_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return -gap, -fake.mean(), -gap.item()


def critic_gap_is_absolute(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    gap = real.mean() - fake.mean()
    return -gap, -fake.mean(), gap.abs().item()


def critic_gap_keeps_its_graph(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gap = real.mean() - fake.mean()
    return -gap, -fake.mean(), gap


def critic_squashed(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    return critic_by_sums(real.sigmoid(), fake.sigmoid())


def critic_cross_entropy(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss_d, F.softplus(-fake).mean(), (real.mean() - fake.mean()).item()


def critic_sums(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    return fake.sum() - real.sum(), -fake.sum(), (real.sum() - fake.sum()).item()


def critic_no_gradient(real: Tensor, fake: Tensor) -> tuple[float, float, float]:
    gap = (real.mean() - fake.mean()).item()
    return -gap, -fake.mean().item(), gap


def critic_by_sums(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    on_real, on_fake = real.sum() / len(real), fake.sum() / len(fake)
    return on_fake - on_real, on_fake.neg(), float(on_real.detach() - on_fake.detach())


def critic_with_weights(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weights = torch.cat([torch.full_like(real, -1 / real.numel()), torch.full_like(fake, 1 / fake.numel())])
    loss_d = (torch.cat([real, fake]) * weights.detach()).sum()
    return loss_d, (0 - fake).mean(), -loss_d.detach()


CRITIC_LOSS = Item(
    id="critic_loss",
    title="A critic, and the gap it sees",
    points=2,
    answer="critic_loss",
    probe=probe_critic_loss,
    misconceptions=(
        Misconception(
            "D's sign",
            critic_d_sign,
            "Descent on your loss lowers the critic's mean on real pictures. Papers write what the critic *maximises*; "
            "a loss is minimised.",
        ),
        Misconception(
            "G's sign",
            critic_g_sign,
            "Your G lowers the critic's mean on its fakes: it learns to be caught. Which way should the fakes' numbers "
            "go, and what does descent do?",
        ),
        Misconception(
            "both signs",
            critic_both_signs,
            "Both losses have the wrong sign. The critic would learn to prefer fakes and G to make worse ones. "
            "Everything here is minimised.",
        ),
        Misconception(
            "G sees real pictures",
            critic_zero_sum,
            "G's loss holds the mean on real pictures. G cannot move it, so it adds noise to the curve and nothing to "
            "the slope. Leave it out.",
        ),
        Misconception(
            "the gap is the loss",
            critic_gap_is_the_loss,
            "The losses are right. Your gap has the sign of D's loss: it is below 0 when the critic does well. How far "
            "does the real mean lie *above* the other?",
        ),
        Misconception(
            "an absolute gap",
            critic_gap_is_absolute,
            "You made the gap positive by force. When fakes score higher than real pictures the critic is wrong, and "
            "the curve must show it.",
        ),
        Misconception(
            "the gap keeps its graph",
            critic_gap_keeps_its_graph,
            "The numbers are right, but your gap is a tensor that holds on to its graph. A log of these would keep "
            "every step in memory. How does a tensor become a plain number?",
        ),
        Misconception(
            "squashed",
            critic_squashed,
            "You squash the critic's numbers with a sigmoid. A critic is no classifier: the means are taken of its "
            "numbers as they are.",
        ),
        Misconception(
            "cross-entropy",
            critic_cross_entropy,
            "These are the losses of the non-saturating game. The Wasserstein game has no logarithm and no softplus, "
            "only means.",
        ),
        Misconception(
            "sums",
            critic_sums,
            "You add up where a mean is asked for. With fewer fakes than real pictures the sides no longer balance.",
        ),
        Misconception(
            "no gradient",
            critic_no_gradient,
            "The numbers are right, but the losses are plain numbers. Only the gap may be one; D and G learn from the "
            "other two.",
        ),
    ),
    also_right=(critic_by_sums, critic_with_weights),
)

# ----------------------------------------------------------------------------------------------- interpolate


def probe_interpolate(answer: Any, seed: int) -> dict[str, Any]:
    """Pictures and points, the fakes with a graph behind them; and two batches that do not fit each other."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, shape in (("pictures", (4, 2, 2, 3)), ("points", (6, 2))):
        real, made = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
        weight = torch.ones((), requires_grad=True)  # stands for G
        own = torch.Generator().manual_seed(seed % 1_000_003 + len(shape))
        got = answer(real, made * weight, own)
        out[f"blended {name}"] = got.detach().clone()
        out[f"{name} ask for a gradient"] = bool(got.requires_grad)
        way = None
        if got.requires_grad:
            (way,) = torch.autograd.grad(got.sum(), weight, allow_unused=True)
        out[f"from the {name} back to G"] = "no way" if way is None else "a way"
    real, fake = torch.randn(3, 1, 2, 2, generator=g), torch.randn(3, 2, 2, 2, generator=g)
    try:
        got = answer(real, fake, torch.Generator().manual_seed(1))
        out["one channel and two"] = f"it returned a tensor of shape {tuple(got.shape)}"
    except Exception as error:
        out["one channel and two"] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _fits(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ValueError("unequal shapes")


def _one_each(real: Tensor, g: torch.Generator) -> Tensor:
    return torch.rand((len(real),) + (1,) * (real.dim() - 1), generator=g)


def _start(x: Tensor) -> Tensor:
    return x.detach().requires_grad_(True)


def between_a_number_a_pixel(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.rand(real.shape, generator=g)
    return _start(e * real + (1 - e) * fake)


def between_a_number_a_channel(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.rand(real.shape[:2] + (1,) * (real.dim() - 2), generator=g)
    return _start(e * real + (1 - e) * fake)


def between_a_number_a_batch(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.rand(1, generator=g)
    return _start(e * real + (1 - e) * fake)


def between_the_last_axis(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.rand(real.shape[-1], generator=g)
    return _start(e * real + (1 - e) * fake)


def between_always_four_axes(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.rand(len(real), 1, 1, 1, generator=g)
    return _start(e * real + (1 - e) * fake)


def between_swapped(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = _one_each(real, g)
    return _start(e * fake + (1 - e) * real)


def between_normal(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    e = torch.randn((len(real),) + (1,) * (real.dim() - 1), generator=g)
    return _start(e * real + (1 - e) * fake)


def between_half_way(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    return _start((real + fake) / 2)


def between_no_gradient(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    return between_by_lerp(real, fake, g).detach()


def between_with_a_past(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    return torch.lerp(fake, real, _one_each(real, g))


def between_no_check(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    e = _one_each(real, g)
    return _start(e * real + (1 - e) * fake)


def between_by_lerp(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    _fits(real, fake)
    return torch.lerp(fake.detach(), real.detach(), _one_each(real, g)).requires_grad_(True)


def between_in_a_loop(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    if fake.size() != real.size():
        raise ValueError("these do not fit")
    drawn = torch.rand(len(real), generator=g).tolist()
    with torch.no_grad():
        rows = [b + e * (a - b) for a, b, e in zip(real, fake, drawn, strict=True)]
    return torch.stack(rows).requires_grad_()


INTERPOLATE = Item(
    id="interpolate",
    title="Somewhere between real and fake",
    points=2,
    answer="interpolate",
    probe=probe_interpolate,
    misconceptions=(
        Misconception(
            "a number a pixel",
            between_a_number_a_pixel,
            "You draw an epsilon for every single number of a sample. That is no point between two pictures but a "
            "noisy mixture of them. How many numbers are to be drawn?",
        ),
        Misconception(
            "a number a channel",
            between_a_number_a_channel,
            "You draw an epsilon for each channel of each sample. Its red would come from nearer to the real picture "
            "and its blue from nearer to the fake. One sample, one epsilon.",
        ),
        Misconception(
            "one number for the batch",
            between_a_number_a_batch,
            "One epsilon serves your whole batch. All samples then sit at the same part of their way, and D is looked "
            "at nowhere else in this step.",
        ),
        Misconception(
            "along the last axis",
            between_the_last_axis,
            "Your epsilons line up with the last axis: columns of pixels share one, samples do not. Torch matches "
            "shapes from the right. Where must the ones stand?",
        ),
        Misconception(
            "always four axes",
            between_always_four_axes,
            "On pictures this is right. Your epsilons always have four axes, so points of shape (B, K) become a tensor "
            "with four axes as well. How many ones does the shape need?",
        ),
        Misconception(
            "the ends swapped",
            between_swapped,
            "You blend the right pictures, but your epsilon of 1 gives the fake one. The prompt says which end 1 is.",
        ),
        Misconception(
            "not evenly drawn",
            between_normal,
            "Your epsilons are normally distributed, so that many lie below 0 or above 1. Those samples are not "
            "between the two pictures.",
        ),
        Misconception(
            "always half way",
            between_half_way,
            "You always take the middle and draw nothing. The slope would be held near 1 in one place only of each "
            "line.",
        ),
        Misconception(
            "no gradient wanted",
            between_no_gradient,
            "The numbers are right, but the samples ask for no gradient. D cannot be differentiated at them.",
        ),
        Misconception(
            "the past is kept",
            between_with_a_past,
            "The numbers are right, but your samples still hang on the graph of the fakes. D's penalty would walk back "
            "into G. Where should the new graph start?",
        ),
        Misconception(
            "no check",
            between_no_check,
            "You never look at the shapes. One channel and two are no pair, yet torch stretches the one to fit the "
            "other and says nothing.",
        ),
    ),
    also_right=(between_by_lerp, between_in_a_loop),
)

# ------------------------------------------------------------------------------------------ gradient_penalty


def probe_gradient_penalty(answer: Any, seed: int) -> dict[str, Any]:
    """A bent D on pictures and on points: the penalty, and its slopes at D's weights. D is flat at the first sample."""
    import math

    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, shape, hidden in (("pictures", (5, 2, 2, 2), 6), ("points", (7, 2), 5)):
        inputs = math.prod(shape[1:])
        inside = (torch.randn(inputs, hidden, generator=g) / inputs**0.5).requires_grad_(True)
        ahead = (torch.rand(hidden, 1, generator=g) + 0.2).requires_grad_(True)
        size = torch.linspace(0, 1.6, shape[0]).view(-1, *[1] * (len(shape) - 1))  # the first sample is 0: flat
        x = (size * torch.randn(shape, generator=g)).requires_grad_(True)

        def D(batch, inside=inside, ahead=ahead, one=len(shape) == 2):
            logits = (batch.flatten(1) @ inside).relu().pow(2) @ ahead  # (B, 1)
            return logits[:, 0] if one else logits

        loss = answer(D, x)
        out[f"penalty on {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), [inside, ahead], allow_unused=True)
            for kind, slope in zip(("inner", "outer"), slopes, strict=True):
                out[f"slope at D's {kind} weights, {name}"] = "no slope" if slope is None else slope.clone()
        else:
            out[f"slope at D's inner weights, {name}"] = "the penalty carries no gradient to D"
    return out


def _slope(D: Critic, x: Tensor, *, graph: bool = True) -> Tensor:
    return torch.autograd.grad(D(x).sum(), x, create_graph=graph)[0]


def _length(slope: Tensor) -> Tensor:
    return (slope.pow(2).flatten(1).sum(1) + 1e-12).sqrt()


def gp_channels_only(D: Critic, x: Tensor) -> Tensor:
    return (_slope(D, x).norm(2, dim=1) - 1).pow(2).mean()


def gp_no_graph(D: Critic, x: Tensor) -> Tensor:
    return (_length(_slope(D, x, graph=False)) - 1).pow(2).mean()


def gp_zero_centred(D: Critic, x: Tensor) -> Tensor:
    return _length(_slope(D, x)).pow(2).mean()


def gp_squared_length(D: Critic, x: Tensor) -> Tensor:
    return (_slope(D, x).pow(2).flatten(1).sum(1) - 1).pow(2).mean()


def gp_one_sided(D: Critic, x: Tensor) -> Tensor:
    return F.relu(_length(_slope(D, x)) - 1).pow(2).mean()


def gp_not_squared(D: Critic, x: Tensor) -> Tensor:
    return (_length(_slope(D, x)) - 1).abs().mean()


def gp_sum(D: Critic, x: Tensor) -> Tensor:
    return (_length(_slope(D, x)) - 1).pow(2).sum()


def gp_mean_first(D: Critic, x: Tensor) -> Tensor:
    return (_length(_slope(D, x)).mean() - 1).pow(2)


def gp_one_length(D: Critic, x: Tensor) -> Tensor:
    return (_slope(D, x).norm() - 1).pow(2)


def gp_mean_of_logits(D: Critic, x: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(D(x).mean(), x, create_graph=True)
    return (_length(slope) - 1).pow(2).mean()


def gp_root_of_zero(D: Critic, x: Tensor) -> Tensor:
    return (_slope(D, x).pow(2).flatten(1).sum(1).sqrt() - 1).pow(2).mean()


def gp_by_norm(D: Critic, x: Tensor) -> Tensor:
    logits = D(x)
    (slope,) = torch.autograd.grad(logits, x, torch.ones_like(logits), create_graph=True)
    return ((slope.reshape(len(x), -1).norm(2, dim=1) - 1) ** 2).mean()


def gp_sample_by_sample(D: Critic, x: Tensor) -> Tensor:
    total = torch.zeros(())
    for logit, i in zip(D(x).reshape(-1), range(len(x)), strict=True):
        (slope,) = torch.autograd.grad(logit, x, create_graph=True)
        total = total + (torch.linalg.vector_norm(slope[i]) - 1) ** 2
    return total / len(x)


GRADIENT_PENALTY = Item(
    id="gradient_penalty",
    title="Keep the slope near 1",
    points=3,
    answer="gradient_penalty",
    probe=probe_gradient_penalty,
    misconceptions=(
        Misconception(
            "channels only",
            gp_channels_only,
            "You take the length along axis 1 alone. On pictures that gives one length a pixel. A sample has one "
            "gradient, and its length runs over all of its numbers.",
        ),
        Misconception(
            "no graph",
            gp_no_graph,
            "The number is right, but the gradient inside it was taken without a graph of its own. The penalty is "
            "then a constant for D and changes nothing in training.",
        ),
        Misconception(
            "centred at 0",
            gp_zero_centred,
            "You penalise the length itself. That pulls D towards flatness, as R1 does. Here a length of 1 costs "
            "nothing.",
        ),
        Misconception(
            "the squared length",
            gp_squared_length,
            "You subtract 1 from the squared length. The distance is meant between the length and 1: a length of 3 is "
            "2 too long, not 8.",
        ),
        Misconception(
            "one-sided",
            gp_one_sided,
            "You let lengths below 1 pass. That is a variant of its own. Here too short costs as much as too long.",
        ),
        Misconception(
            "the distance is not squared",
            gp_not_squared,
            "You take the plain distance from 1. Near 1 it still pushes with full force. Asked is its square.",
        ),
        Misconception(
            "a sum",
            gp_sum,
            "You add up over the batch. The penalty's weight would then depend on how many samples there are.",
        ),
        Misconception(
            "the mean length",
            gp_mean_first,
            "You average the lengths first. A sample that is too steep and one that is too flat then cancel. Each has "
            "its own distance from 1.",
        ),
        Misconception(
            "one length for the batch",
            gp_one_length,
            "You take one length over the whole batch. It grows with the number of samples. Which axes belong to one "
            "sample?",
        ),
        Misconception(
            "the mean of the logits",
            gp_mean_of_logits,
            "You differentiate the mean of the logits, so every gradient is divided by the size of the batch. Each "
            "sample should keep the slope of its own logit.",
        ),
        Misconception(
            "the root of 0",
            gp_root_of_zero,
            "The penalty is right, but where D is flat its slope is NaN: a root is infinitely steep at 0. One such "
            "sample ends the training. What could stand under the root beside the sum?",
        ),
    ),
    also_right=(gp_by_norm, gp_sample_by_sample),
    rtol=1e-3,
    atol=1e-4,
)

# -------------------------------------------------------------------------------------------------------- r1


def probe_r1(answer: Any, seed: int) -> dict[str, Any]:
    """A bent D on pictures and on points: the penalty, its slopes at D's weights, and whether real was left alone."""
    import math

    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, shape, hidden, gamma in (("pictures", (5, 2, 2, 2), 6, 0.7), ("points", (7, 2), 5, 3.0)):
        inputs = math.prod(shape[1:])
        inside = (torch.randn(inputs, hidden, generator=g) / inputs**0.5).requires_grad_(True)
        ahead = (torch.rand(hidden, 1, generator=g) + 0.2).requires_grad_(True)
        real, fake = torch.randn(shape, generator=g), 1.5 * torch.randn(shape, generator=g) + 0.5

        def D(batch, inside=inside, ahead=ahead, one=len(shape) == 2):
            logits = (batch.flatten(1) @ inside).tanh() @ ahead  # (B, 1)
            return logits[:, 0] if one else logits

        loss = answer(D, real, fake, gamma)
        out[f"penalty on {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        out[f"real {name} afterwards"] = "ask for a gradient" if real.requires_grad else "as they came"
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), [inside, ahead], allow_unused=True)
            for kind, slope in zip(("inner", "outer"), slopes, strict=True):
                out[f"slope at D's {kind} weights, {name}"] = "no slope" if slope is None else slope.clone()
        else:
            out[f"slope at D's inner weights, {name}"] = "the penalty carries no gradient to D"
    return out


def _squares(D: Critic, x: Tensor, *, graph: bool = True) -> Tensor:
    return _slope(D, _start(x), graph=graph).pow(2).flatten(1).sum(1)


def r1_not_squared(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _squares(D, real).sqrt().mean()


def r1_on_fakes(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _squares(D, fake).mean()


def r1_on_both(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * (_squares(D, real).mean() + _squares(D, fake).mean())


def r1_no_half(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma * _squares(D, real).mean()


def r1_no_gamma(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return _squares(D, real).mean() / 2


def r1_sum(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _squares(D, real).sum()


def r1_mean_of_numbers(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _slope(D, _start(real)).pow(2).mean()


def r1_channels_only(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _slope(D, _start(real)).pow(2).sum(1).mean()


def r1_no_graph(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _squares(D, real, graph=False).mean()


def r1_centred_at_1(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * (_squares(D, real).sqrt() - 1).pow(2).mean()


def r1_mean_of_logits(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    x = _start(real)
    (slope,) = torch.autograd.grad(D(x).mean(), x, create_graph=True)
    return gamma / 2 * slope.pow(2).flatten(1).sum(1).mean()


def r1_marks_the_batch(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    return gamma / 2 * _slope(D, real.requires_grad_(True)).pow(2).flatten(1).sum(1).mean()


def r1_by_einsum(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    x = real.clone().requires_grad_()
    logits = D(x)
    (slope,) = torch.autograd.grad(logits, x, torch.ones_like(logits), create_graph=True)
    rows = slope.reshape(len(real), -1)
    return 0.5 * gamma * torch.einsum("bi,bi->", rows, rows) / len(real)


def r1_sample_by_sample(D: Critic, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    parts = []
    for i in range(len(real)):
        one = real[i : i + 1].clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(D(one).squeeze(), one, create_graph=True)
        parts.append((slope * slope).sum())
    return torch.stack(parts).mean() * (gamma / 2)


R1 = Item(
    id="r1",
    title="Flat where the pictures are real",
    points=2,
    answer="r1",
    probe=probe_r1,
    misconceptions=(
        Misconception(
            "not squared",
            r1_not_squared,
            "You penalise the length of the gradient. R1 takes its square: steep places weigh more, and near flatness "
            "the push fades.",
        ),
        Misconception(
            "on fakes",
            r1_on_fakes,
            "This is the slope at the fakes, which is R2's. R1 looks at D where the data is.",
        ),
        Misconception(
            "on both",
            r1_on_both,
            "You add the slope at the fakes. That is R1 plus R2. The argument is there because the loop hands it over; "
            "R1 has no use for it.",
        ),
        Misconception(
            "no half",
            r1_no_half,
            "Your penalty is twice the one that is asked for. The definition has half of gamma, so that its slope for "
            "a linear D is gamma times w.",
        ),
        Misconception(
            "no gamma",
            r1_no_gamma,
            "The weight gamma has no effect on your penalty. Look at the last argument.",
        ),
        Misconception(
            "a sum",
            r1_sum,
            "You add up over the batch. The same gamma would then mean more in a larger batch. Asked is the mean over "
            "the samples.",
        ),
        Misconception(
            "a mean over all numbers",
            r1_mean_of_numbers,
            "You average over every number of every sample. A sample's squared length is a sum; only then comes the "
            "mean, over the batch.",
        ),
        Misconception(
            "channels only",
            r1_channels_only,
            "You add the squares along axis 1 only and average over the rest. On pictures that divides the penalty by "
            "the number of pixels.",
        ),
        Misconception(
            "no graph",
            r1_no_graph,
            "The number is right, but the gradient inside it was taken without a graph of its own, so D's weights "
            "feel nothing of the penalty.",
        ),
        Misconception(
            "centred at 1",
            r1_centred_at_1,
            "You pull the length towards 1, as WGAN-GP does. R1 pulls it towards 0: at real pictures D should be flat.",
        ),
        Misconception(
            "the mean of the logits",
            r1_mean_of_logits,
            "You differentiate the mean of the logits, so every gradient is divided by the size of the batch, and its "
            "square even twice. Each sample should keep the slope of its own logit.",
        ),
        Misconception(
            "the batch is marked",
            r1_marks_the_batch,
            "The penalty is right, but `real` itself asks for a gradient from now on. Every later use of the batch "
            "then builds a graph. Work on a tensor of your own.",
        ),
    ),
    also_right=(r1_by_einsum, r1_sample_by_sample),
    rtol=1e-3,
    atol=1e-4,
)

# ---------------------------------------------------------------------------------------------- relativistic


def probe_relativistic(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches of pairs, some of them hundreds apart: both losses and their slopes; and two that are no pairs."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, shape, far in (("six pairs", (6, 1), False), ("seven pairs", (7,), True)):
        real, fake = 1.5 * torch.randn(shape, generator=g) + 0.4, 1.5 * torch.randn(shape, generator=g)
        if far:  # hundreds apart, one pair each way
            apart = 200 + 100 * torch.rand(2, generator=g)
            real[0], fake[0] = real[0] + apart[0], fake[0] - apart[0]
            real[1], fake[1] = real[1] - apart[1], fake[1] + apart[1]
        real.requires_grad_(True)
        fake.requires_grad_(True)
        losses = answer(real * 1, fake * 1)
        for who, loss in zip("DG", losses, strict=True):
            out[f"{who}'s loss of {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
            if not (torch.is_tensor(loss) and loss.requires_grad):
                out[f"slope of {who}'s loss of {name}"] = "the loss carries no gradient"
                continue
            slopes = torch.autograd.grad(loss.sum(), [real, fake], allow_unused=True, retain_graph=True)
            for kind, given, slope in zip(("real", "fake"), (real, fake), slopes, strict=True):
                there = torch.zeros_like(given) if slope is None else slope.clone()
                out[f"{who}'s slope at {kind}, {name}"] = there
    real, fake = torch.randn(4, generator=g), torch.randn(4, 1, generator=g)
    try:
        got = answer(real, fake)
        out["shapes (4,) and (4, 1)"] = f"it returned {len(got)} losses"
    except Exception as error:
        out["shapes (4,) and (4, 1)"] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def pairs_g_as_d(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(fake - real).mean(), F.softplus(fake - real).mean()


def pairs_players_swapped(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(real - fake).mean(), F.softplus(fake - real).mean()


def pairs_g_negated(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(fake - real).mean(), -F.softplus(fake - real).mean()


def pairs_g_alone(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(fake - real).mean(), F.softplus(-fake).mean()


def pairs_with_averages(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    loss_d = F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()
    loss_g = F.softplus(real.mean() - fake).mean() + F.softplus(real - fake.mean()).mean()
    return loss_d / 2, loss_g / 2


def pairs_mean_first(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    gap = (real - fake).mean()
    return F.softplus(-gap), F.softplus(gap)


def pairs_sums(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(fake - real).sum(), F.softplus(real - fake).sum()


def pairs_not_compared(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


def pairs_no_curve(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return (fake - real).mean(), (real - fake).mean()


def pairs_by_log(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return -(real - fake).sigmoid().log().mean(), -(fake - real).sigmoid().log().mean()


def pairs_g_detached(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    return F.softplus(fake - real).mean(), F.softplus(real - fake.detach()).mean()


def pairs_no_check(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(fake - real).mean(), F.softplus(real - fake).mean()


def pairs_by_cross_entropy(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    _fits(real, fake)
    difference = real - fake
    bce = F.binary_cross_entropy_with_logits
    return bce(difference, torch.ones_like(difference)), bce(difference, torch.zeros_like(difference))


def pairs_by_logaddexp(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    if list(real.shape) != list(fake.shape):
        raise ValueError("not in pairs")
    both = torch.logaddexp(real, fake)
    return (both - real).sum() / len(real), (both - fake).sum() / len(fake)


RELATIVISTIC = Item(
    id="relativistic",
    title="Pair by pair",
    points=2,
    answer="relativistic",
    probe=probe_relativistic,
    misconceptions=(
        Misconception(
            "G's sign",
            pairs_g_as_d,
            "G's loss is D's loss: both would push the fakes down. G wants the other one of each pair to be ahead.",
        ),
        Misconception(
            "the players swapped",
            pairs_players_swapped,
            "You have D's loss and G's loss the wrong way round. D pays for a fake that lies above its real partner.",
        ),
        Misconception(
            "G's loss is minus D's",
            pairs_g_negated,
            "You negate D's loss for G. The direction is right, but where D is sure that softplus is flat and G gets "
            "no push. Change the sign inside of the curve.",
        ),
        Misconception(
            "G compares nothing",
            pairs_g_alone,
            "D's loss is relativistic and G's is not: it looks at the fakes alone. G, too, plays against the real "
            "partner.",
        ),
        Misconception(
            "averages for partners",
            pairs_with_averages,
            "You compare each logit with the mean of the other side. That is the relativistic *average* game. Here "
            "each fake has one partner.",
        ),
        Misconception(
            "the mean comes first",
            pairs_mean_first,
            "You average the differences and bend the result. A single pair that is far apart then hides all the "
            "others. Bend each pair first.",
        ),
        Misconception(
            "sums",
            pairs_sums,
            "You add up over the pairs. A batch twice as large would push twice as hard. Asked are means.",
        ),
        Misconception(
            "nothing is compared",
            pairs_not_compared,
            "These are the losses of the non-saturating game: each logit is judged by itself. What is relativistic is "
            "the difference of a pair.",
        ),
        Misconception(
            "no curve",
            pairs_no_curve,
            "You take the differences as they are. Then D gains without end by pulling pairs apart that it has long "
            "told from each other. Where is the softplus?",
        ),
        Misconception(
            "a logarithm of 0",
            pairs_by_log,
            "You take the logarithm of a sigmoid. For pairs far apart the sigmoid is exactly 0, and the loss infinite. "
            "Which function of the logits stays finite?",
        ),
        Misconception(
            "G is cut off",
            pairs_g_detached,
            "The numbers are right, but in G's loss you detach the fakes. They are all that G can move.",
        ),
        Misconception(
            "no check",
            pairs_no_check,
            "You never look at the shapes. From (4,) and (4, 1) torch makes a table of 16 differences, and the mean "
            "of those compares each with all others.",
        ),
    ),
    also_right=(pairs_by_cross_entropy, pairs_by_logaddexp),
)

ITEMS: list[Item] = [HINGE_D, CRITIC_LOSS, INTERPOLATE, GRADIENT_PENALTY, R1, RELATIVISTIC]
