"""What is asked in exercises 01, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcourse.course.exercise import Item, Misconception

Optimizer = torch.optim.Optimizer

# ---------------------------------------------------------------------------------------------------- d_loss


def probe_d_loss(answer: Any, seed: int) -> dict[str, Any]:
    """Loss and slopes on equal and unequal batches and of a very sure D; then logits that are not finite."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, sizes in (("equal batches", (4, 4)), ("unequal batches", (6, 3)), ("sure D", (4, 6))):
        logits = []
        for size in sizes:
            x = 1.5 * torch.randn(size, 1, generator=g)
            if name == "sure D":  # 150 to 300 on either side
                sides = torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0)[:, None]
                x = sides * (150 + 150 * torch.rand(size, 1, generator=g))
            logits.append(x.requires_grad_(True))
        loss = answer(*[x * 1 for x in logits])
        out[f"loss, {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), logits, allow_unused=True)
            for kind, x, slope in zip(("real", "fake"), logits, slopes, strict=True):
                out[f"slope at {kind}, {name}"] = torch.zeros_like(x).detach() if slope is None else slope.clone()
        else:
            out[f"slope at real, {name}"] = "the loss carries no gradient"
    for number, (place, bad) in enumerate((("real", "nan"), ("real", "inf"), ("fake", "nan"), ("fake", "-inf"))):
        pair = {kind: torch.randn(3, 1, generator=g) for kind in ("real", "fake")}
        pair[place][number % 3] = float(bad)
        try:
            came = answer(pair["real"], pair["fake"])
            out[f"one {place} logit is {bad}"] = f"it returned a {type(came).__name__}"
        except Exception as error:
            name = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[f"one {place} logit is {bad}"] = f"it raised {name}"
    return out


def _finite(*logits: Tensor) -> None:
    for x in logits:
        if not torch.isfinite(x).all():
            raise ValueError("not finite")


def d_sigmoid_first(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return d_by_cross_entropy(on_real.sigmoid(), on_fake.sigmoid())


def d_concatenated(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    logits = torch.cat([on_real, on_fake])
    target = torch.cat([torch.ones_like(on_real), torch.zeros_like(on_fake)])
    return F.binary_cross_entropy_with_logits(logits, target)


def d_mean_of_halves(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2


def d_labels_exchanged(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return F.softplus(on_real).mean() + F.softplus(-on_fake).mean()


def d_fakes_called_real(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return F.softplus(-on_real).mean() + F.softplus(-on_fake).mean()


def d_sign_turned(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return -d_by_logsigmoid(on_real, on_fake)


def d_sums(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return F.softplus(-on_real).sum() + F.softplus(on_fake).sum()


def d_real_only(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return F.softplus(-on_real).mean()


def d_log_of_sigmoid(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return -on_real.sigmoid().log().mean() - (1 - on_fake.sigmoid()).log().mean()


def d_log_with_epsilon(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return -(on_real.sigmoid() + 1e-8).log().mean() - (1 - on_fake.sigmoid() + 1e-8).log().mean()


def d_bce_of_probabilities(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    real, fake = on_real.sigmoid(), on_fake.sigmoid()
    one, zero = torch.ones_like(real), torch.zeros_like(fake)
    return F.binary_cross_entropy(real, one) + F.binary_cross_entropy(fake, zero)


def d_goes_on(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()


def d_by_logsigmoid(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    return -(F.logsigmoid(on_real).mean() + F.logsigmoid(-on_fake).mean())


def d_by_cross_entropy(on_real: Tensor, on_fake: Tensor) -> Tensor:
    _finite(on_real, on_fake)
    total = torch.zeros((), dtype=torch.float64)
    for logits, target in ((on_real.double(), 1.0), (on_fake.double(), 0.0)):
        total = total + F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
    return total


def d_by_logaddexp(on_real: Tensor, on_fake: Tensor) -> Tensor:
    if torch.cat([on_real, on_fake]).isfinite().logical_not().any():
        raise ValueError("diverged")
    halves = []
    for sign, logits in ((-1, on_real), (1, on_fake)):
        halves.append(torch.logaddexp(torch.zeros_like(logits), sign * logits).sum() / logits.numel())
    return sum(halves, torch.zeros(()))


D_LOSS = Item(
    id="d_loss",
    title="What D is paid for",
    points=2,
    answer="d_loss",
    probe=probe_d_loss,
    misconceptions=(
        Misconception(
            "sigmoid first",
            d_sigmoid_first,
            "A sigmoid is applied twice: once by you, once more inside of a loss that takes logits. Even a perfect D "
            "can then never come near a loss of 0. Which of the two should go?",
        ),
        Misconception(
            "concatenated",
            d_concatenated,
            "You take one mean over real points and fakes together. With batches of one size that is half of the loss "
            "asked for; otherwise the larger batch counts more. How many means does the prompt ask for?",
        ),
        Misconception(
            "the mean of the two halves",
            d_mean_of_halves,
            "Your loss is half of the one asked for. The two means are added, not averaged: a D that knows nothing "
            "pays log 4, not log 2.",
        ),
        Misconception(
            "labels exchanged",
            d_labels_exchanged,
            "Your D learns to call real points fake and fakes real. What does softplus give for a large positive "
            "number, what for a large negative one, and for which logits should D pay?",
        ),
        Misconception(
            "fakes are called real",
            d_fakes_called_real,
            "Both halves push the logits up. Such a D calls everything real and pays nothing. In which half does D pay "
            "for a high logit?",
        ),
        Misconception(
            "the sign is turned",
            d_sign_turned,
            "This is the log-likelihood itself, below zero. Minimising it teaches D to be wrong as often as it can. A "
            "loss at its best is near 0, never below it.",
        ),
        Misconception(
            "sums",
            d_sums,
            "You sum over the points. The loss then grows with the batch, and so does every step. The prompt asks for "
            "means.",
        ),
        Misconception(
            "real points only",
            d_real_only,
            "The fakes are not in your loss. A D that calls everything real would pay nothing at all.",
        ),
        Misconception(
            "log of a sigmoid",
            d_log_of_sigmoid,
            "Where D is sure, the sigmoid rounds to exactly 0 or 1, its logarithm is infinite and the slope is lost. "
            "Find the form that never makes a sigmoid.",
        ),
        Misconception(
            "log with a small number inside",
            d_log_with_epsilon,
            "The small number inside the logarithm keeps the loss finite but takes the slope away, just where D is "
            "sure and wrong. There is a form that needs no such help.",
        ),
        Misconception(
            "cross-entropy of chances",
            d_bce_of_probabilities,
            "You hand chances to the cross-entropy. It cuts its logarithm off at -100, so a D that is very sure and "
            "wrong pays too little and has no slope. Its sister takes the logits as they are.",
        ),
        Misconception(
            "goes on",
            d_goes_on,
            "The loss is right, but your function goes on when a logit is infinite or not a number. The run would end "
            "in NaN without a word. What does the docstring ask for?",
        ),
    ),
    also_right=(d_by_logsigmoid, d_by_cross_entropy, d_by_logaddexp),
    example="loss, equal batches",
)

# ---------------------------------------------------------------------------------------------------- g_loss


def probe_g_loss(answer: Any, seed: int) -> dict[str, Any]:
    """Both losses and their slopes, on ordinary logits and of a very sure D; then logits that are not finite."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, flag in (("minimax", True), ("non-saturating", False)):
        for who, sizes in (("D", (5, 4)), ("sure D", (3, 6))):
            logits = []
            for size in sizes:
                x = 1.5 * torch.randn(size, 1, generator=g)
                if who == "sure D":  # 150 to 300 on either side
                    sides = torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0)[:, None]
                    x = sides * (150 + 150 * torch.rand(size, 1, generator=g))
                logits.append(x.requires_grad_(True))
            loss = answer(*[x * 1 for x in logits], flag)
            out[f"{name}, {who}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
            if torch.is_tensor(loss) and loss.requires_grad:
                slopes = torch.autograd.grad(loss.sum(), logits, allow_unused=True)
                for kind, x, slope in zip(("real", "fake"), logits, slopes, strict=True):
                    kept = torch.zeros_like(x).detach() if slope is None else slope.clone()
                    out[f"{name}, {who}, slope at {kind}"] = kept
            else:
                out[f"{name}, {who}, slope at fake"] = "the loss carries no gradient"
    for number, (place, bad) in enumerate((("real", "nan"), ("fake", "nan"), ("fake", "inf"))):
        pair = {kind: torch.randn(3, 1, generator=g) for kind in ("real", "fake")}
        pair[place][number] = float(bad)
        for flag in (True, False):
            key = f"one {place} logit is {bad}, {flag}"
            try:
                out[key] = float(answer(pair["real"], pair["fake"], flag))
            except Exception as error:
                name = "ValueError" if isinstance(error, ValueError) else type(error).__name__
                out[key] = f"it raised {name}"
    return out


def g_exchanged(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return g_by_logsigmoid(on_real, on_fake, not saturating)


def g_always_minimax(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return g_by_logsigmoid(on_real, on_fake, True)


def g_never_minimax(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return g_by_logsigmoid(on_real, on_fake, False)


def g_minimax_maximised(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    return F.softplus(on_fake).mean() if saturating else F.softplus(-on_fake).mean()


def g_sign_turned(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return -g_by_logsigmoid(on_real, on_fake, saturating)


def g_log_likelihood(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    return -F.softplus(on_fake).mean() if saturating else -F.softplus(-on_fake).mean()


def g_uses_real(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    if saturating:
        return -(F.softplus(-on_real).mean() + F.softplus(on_fake).mean())
    return F.softplus(on_real).mean() + F.softplus(-on_fake).mean()


def g_refuses_real(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_real)
    return g_by_logsigmoid(on_real, on_fake, saturating)


def g_sums(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return g_by_logsigmoid(on_real, on_fake, saturating) * len(on_fake)


def g_log_of_sigmoid(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    chance = on_fake.sigmoid()
    return (1 - chance).log().mean() if saturating else -chance.log().mean()


def g_sigmoid_first(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    return g_by_logsigmoid(on_real, on_fake.sigmoid(), saturating)


def g_goes_on(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    return -F.softplus(on_fake).mean() if saturating else F.softplus(-on_fake).mean()


def g_by_logsigmoid(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    _finite(on_fake)
    return F.logsigmoid(-on_fake).mean() if saturating else -F.logsigmoid(on_fake).mean()


def g_by_cross_entropy(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    if (on_fake - on_fake != 0).any():
        raise ValueError("not finite")
    target = torch.full_like(on_fake, 0.0 if saturating else 1.0)
    loss = F.binary_cross_entropy_with_logits(on_fake, target)
    return -loss if saturating else loss


G_LOSS = Item(
    id="g_loss",
    title="What G is paid for",
    points=2,
    answer="g_loss",
    probe=probe_g_loss,
    misconceptions=(
        Misconception(
            "exchanged",
            g_exchanged,
            "Both losses are there, under each other's name. Which of the two has almost no slope where D gives a fake "
            "a chance near 0? That one saturates.",
        ),
        Misconception(
            "always minimax",
            g_always_minimax,
            "You give the minimax loss whatever `saturating` says. Where D is sure that a fake is fake it has almost "
            "no slope, and this is what the other loss is for.",
        ),
        Misconception(
            "never minimax",
            g_never_minimax,
            "You give the non-saturating loss whatever `saturating` says. Both are asked for.",
        ),
        Misconception(
            "the minimax term is maximised",
            g_minimax_maximised,
            "Your minimax loss falls when D's logit falls, so G learns to be caught. It is D's own term for the fakes, "
            "and G plays against D: what must happen to its sign?",
        ),
        Misconception(
            "the signs are turned",
            g_sign_turned,
            "Both of your losses fall when the logit on a fake falls. G would learn to be caught. Try a high and a low "
            "logit by hand: which one should cost G less?",
        ),
        Misconception(
            "a log-likelihood",
            g_log_likelihood,
            "Your non-saturating loss is the logarithm of the chance, not minus it. It is below zero, and minimising "
            "it makes the chance of 'real' small.",
        ),
        Misconception(
            "uses real",
            g_uses_real,
            "The logits on real points are in your loss, as in D's with its labels exchanged. G has made none of these "
            "points. What can it change about them?",
        ),
        Misconception(
            "refuses real logits",
            g_refuses_real,
            "You raise an error for a real logit that is not finite. G's loss does not need these logits, and the "
            "prompt says that they are no concern of G.",
        ),
        Misconception(
            "sums",
            g_sums,
            "You sum over the fakes. The loss then grows with the batch, and so does every step. The prompt asks for "
            "means.",
        ),
        Misconception(
            "log of a sigmoid",
            g_log_of_sigmoid,
            "Where D is sure, the sigmoid rounds to exactly 0 or 1, and the logarithm and its slope are lost. Find the "
            "form that never makes a sigmoid.",
        ),
        Misconception(
            "sigmoid first",
            g_sigmoid_first,
            "A sigmoid is applied twice: once by you and once more inside of the function that follows. That function "
            "takes logits.",
        ),
        Misconception(
            "goes on",
            g_goes_on,
            "Both losses are right, but your function goes on when a fake's logit is infinite or not a number. What "
            "does the docstring ask for?",
        ),
    ),
    also_right=(g_by_logsigmoid, g_by_cross_entropy),
    example="non-saturating, D",
)

# ---------------------------------------------------------------------------------------------------- d_step


def probe_d_step(answer: Any, seed: int) -> dict[str, Any]:
    """One step with plain descent, two with momentum: what came back, and what both networks hold afterwards."""
    import torch
    from torch import nn

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for case, momentum, steps in (("one step", 0.0, 1), ("two steps", 0.9, 2)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            G, D = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        opt_g = torch.optim.SGD(G.parameters(), lr=0.3, momentum=momentum)
        opt_d = torch.optim.SGD(D.parameters(), lr=0.3, momentum=momentum)
        for p in D.parameters():
            p.grad = torch.randn(p.shape, generator=g)  # left there by a step of G
        for number in range(1, steps + 1):
            real, z = 2 + torch.randn(7, 2, generator=g), torch.randn(4, 3, generator=g)
            loss, fake = answer(G, D, opt_g, opt_d, real, z)
            out[f"{case}: loss {number}"] = float(loss)
            out[f"{case}: fakes {number}"] = torch.as_tensor(fake).detach().clone()
            out[f"{case}: way back into G {number}"] = bool(fake.requires_grad)
        out[f"{case}: weights of D"] = torch.cat([p.detach().flatten() for p in D.parameters()]).clone()
        out[f"{case}: weights of G"] = torch.cat([p.detach().flatten() for p in G.parameters()]).clone()
        left = [p.grad for p in G.parameters() if p.grad is not None and bool(p.grad.any())]
        out[f"{case}: gradients left in G"] = torch.cat([x.flatten() for x in left]).clone() if left else "none"
        out[f"{case}: both can still learn"] = all(p.requires_grad for p in [*G.parameters(), *D.parameters()])
    return out


def _loss_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()


def _d_move(D: nn.Module, opt_d: Optimizer, loss: Tensor) -> float:
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    return loss.item()


def _d_with(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., tuple[float, Tensor]]:
    def step(G: Any, D: Any, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor) -> tuple[float, Tensor]:
        fake = G(z).detach()
        return _d_move(D, opt_d, loss(D(real), D(fake))), fake

    return step


def d_step_no_detach(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z)
    return _d_move(D, opt_d, _loss_d(D(real), D(fake))), fake.detach()


def d_step_no_detach_at_all(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z)
    return _d_move(D, opt_d, _loss_d(D(real), D(fake))), fake


def d_step_hands_out_the_way_back(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z)
    return _d_move(D, opt_d, _loss_d(D(real), D(fake.detach()))), fake


def d_step_no_zero_grad(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z).detach()
    loss = _loss_d(D(real), D(fake))
    loss.backward()
    opt_d.step()
    return loss.item(), fake


def d_step_moves_g(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z)
    loss = _loss_d(D(real), D(fake))
    opt_g.zero_grad()
    value = _d_move(D, opt_d, loss)
    opt_g.step()
    return value, fake.detach()


def d_step_detaches_logits(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z).detach()
    return _d_move(D, opt_d, _loss_d(D(real), D(fake).detach())), fake


def d_step_no_step(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z).detach()
    loss = _loss_d(D(real), D(fake))
    opt_d.zero_grad()
    loss.backward()
    return loss.item(), fake


def d_step_loss_after(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    fake = G(z).detach()
    _d_move(D, opt_d, _loss_d(D(real), D(fake)))
    return _loss_d(D(real), D(fake)).item(), fake


d_step_labels_exchanged = _d_with(lambda on_real, on_fake: _loss_d(-on_real, -on_fake))
d_step_half = _d_with(lambda on_real, on_fake: _loss_d(on_real, on_fake) / 2)
d_step_concatenated = _d_with(lambda on_real, on_fake: F.softplus(torch.cat([-on_real, on_fake])).mean())
d_step_as_g = _d_with(lambda on_real, on_fake: F.softplus(-on_real).mean() + F.softplus(-on_fake).mean())


def d_step_without_graph(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        points = G(z)
    for p in D.parameters():
        p.grad = None
    halves = F.logsigmoid(D(real)).mean(), F.logsigmoid(-D(points)).mean()
    loss = -halves[0] - halves[1]
    loss.backward()
    opt_d.step()
    return loss.detach(), points


def d_step_by_hand(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, real: Tensor, z: Tensor
) -> tuple[float, Tensor]:
    """One forward for both halves, and the gradients written in by hand."""
    points = G(z).detach()
    logits = D(torch.cat([real, points]))
    labels = torch.cat([torch.ones(len(real), 1), torch.zeros(len(points), 1)])
    each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    loss = each[: len(real)].mean() + each[len(real) :].mean()
    weights = list(D.parameters())
    for p, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        p.grad = slope
    opt_d.step()
    return float(loss.detach()), points


D_STEP = Item(
    id="d_step",
    title="D moves",
    points=3,
    answer="d_step",
    probe=probe_d_step,
    misconceptions=(
        Misconception(
            "no detach",
            d_step_no_detach,
            "Your step leaves gradients in G. The loss went back through the fakes, and the next step of G may follow "
            "them: they make fakes easier to tell. Where must the fakes be cut off?",
        ),
        Misconception(
            "no detach at all",
            d_step_no_detach_at_all,
            "Your step leaves gradients in G, and the fakes that you hand out still lead back into it. To D a fake is "
            "a point like any other. Cut it off before D sees it.",
        ),
        Misconception(
            "hands out the way back",
            d_step_hands_out_the_way_back,
            "D moved rightly, but the fakes that you return still lead back into G, and keep all that made them in "
            "memory. Which of the two tensors should go out?",
        ),
        Misconception(
            "no zero_grad",
            d_step_no_zero_grad,
            "D followed old gradients as well: those that lay in it when your function was called were added to yours. "
            "What has to happen before `backward`?",
        ),
        Misconception(
            "moves G",
            d_step_moves_g,
            "G has moved as well, along D's loss: it went where its fakes are easier to tell. In this step only one "
            "network may move.",
        ),
        Misconception(
            "detaches the logits",
            d_step_detaches_logits,
            "You cut off D's logits on the fakes instead of the fakes. D then learns nothing from fakes, and would "
            "call everything real. What should be data, the points or D's answer?",
        ),
        Misconception(
            "D does not move",
            d_step_no_step,
            "D has not moved. Either nobody turns its gradients into a move, or they were cleared between `backward` "
            "and the step, so that nothing was left to follow. Clear what is old, not what is new.",
        ),
        Misconception(
            "the loss after the step",
            d_step_loss_after,
            "D moved rightly, but the loss that you return is computed anew, with the new weights. The one that led to "
            "the step is asked for.",
        ),
        Misconception(
            "labels exchanged",
            d_step_labels_exchanged,
            "Your D learns to call real points fake and fakes real. Look at the signs of exercise 1.",
        ),
        Misconception(
            "half of the loss",
            d_step_half,
            "Your loss is half of the one asked for, so every step is half as long. The two means are added, not "
            "averaged.",
        ),
        Misconception(
            "concatenated",
            d_step_concatenated,
            "You take one mean over real points and fakes together. The batches here are not equally large, so the "
            "real points count more. Take each mean by itself.",
        ),
        Misconception(
            "G's term",
            d_step_as_g,
            "In your loss D is paid for calling fakes real. That is what G wants. What does D want?",
        ),
    ),
    also_right=(d_step_without_graph, d_step_by_hand),
    example="one step: weights of D",
    rtol=1e-3,
)

# ---------------------------------------------------------------------------------------------------- g_step


def probe_g_step(answer: Any, seed: int) -> dict[str, Any]:
    """One step with plain descent, two with momentum: what came back, and what both networks hold afterwards."""
    import torch
    from torch import nn

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for case, momentum, steps in (("one step", 0.0, 1), ("two steps", 0.9, 2)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            G, D = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        with torch.no_grad():
            D[2].weight.mul_(3)  # logits on both sides of 0
            D[2].bias.sub_(D(G(torch.randn(64, 3, generator=g))).mean())
        opt_g = torch.optim.SGD(G.parameters(), lr=0.3, momentum=momentum)
        opt_d = torch.optim.SGD(D.parameters(), lr=0.3, momentum=momentum)
        for p in G.parameters():
            p.grad = torch.randn(p.shape, generator=g)  # left there by an earlier step
        for number in range(1, steps + 1):
            seen = 1 + torch.randn(5, 2, generator=g)
            loss, fooled = answer(G, D, opt_g, opt_d, seen, torch.randn(11, 3, generator=g))
            out[f"{case}: loss {number}"] = float(loss)
            out[f"{case}: share taken for real {number}"] = float(fooled)
        out[f"{case}: weights of G"] = torch.cat([p.detach().flatten() for p in G.parameters()]).clone()
        out[f"{case}: weights of D"] = torch.cat([p.detach().flatten() for p in D.parameters()]).clone()
        left = [p.grad for p in D.parameters() if p.grad is not None and bool(p.grad.any())]
        out[f"{case}: gradients left in D"] = torch.cat([x.flatten() for x in left]).clone() if left else "none"
        out[f"{case}: both can still learn"] = all(p.requires_grad for p in [*G.parameters(), *D.parameters()])
    return out


def _fooled(on_fake: Tensor) -> float:
    return (on_fake > 0).float().mean().item()


def _g_with(
    loss: Callable[[Tensor], Tensor], points: Callable[..., Tensor] | None = None
) -> Callable[..., tuple[float, float]]:
    """A right step of G but for its loss, or for the points that D judges."""

    def step(G: Any, D: Any, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor) -> tuple[float, float]:
        on_fake = D(G(z) if points is None else points(G, fake, z))
        value = loss(on_fake)
        opt_g.zero_grad()
        value.backward()
        opt_g.step()
        opt_d.zero_grad()
        return value.item(), _fooled(on_fake)

    return step


def _loss_g(on_fake: Tensor) -> Tensor:
    return F.softplus(-on_fake).mean()


g_step_stale = _g_with(_loss_g, lambda G, fake, z: fake)
g_step_detached = _g_with(_loss_g, lambda G, fake, z: G(z).detach())
g_step_saturating = _g_with(lambda on_fake: -F.softplus(on_fake).mean())
g_step_is_caught = _g_with(lambda on_fake: F.softplus(on_fake).mean())
g_step_sign_turned = _g_with(lambda on_fake: -_loss_g(on_fake))


def g_step_moves_d(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    on_fake = D(G(z))
    loss = _loss_g(on_fake)
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()
    opt_d.step()
    opt_d.zero_grad()
    return loss.item(), _fooled(on_fake)


def g_step_moves_d_alone(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    on_fake = D(G(z))
    loss = _loss_g(on_fake)
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    return loss.item(), _fooled(on_fake)


def g_step_leaves_gradients(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    on_fake = D(G(z))
    loss = _loss_g(on_fake)
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()
    return loss.item(), _fooled(on_fake)


def g_step_no_zero_grad(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    on_fake = D(G(z))
    loss = _loss_g(on_fake)
    loss.backward()
    opt_g.step()
    opt_d.zero_grad()
    return loss.item(), _fooled(on_fake)


def g_step_freezes_d(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    D.requires_grad_(False)
    return g_step_leaves_gradients(G, D, opt_g, opt_d, fake, z)


def g_step_counts_the_caught(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    loss, fooled = g_step_with_grad(G, D, opt_g, opt_d, fake, z)
    return loss, 1 - fooled


def g_step_counts_afterwards(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    g_step_with_grad(G, D, opt_g, opt_d, fake, z)
    with torch.no_grad():
        on_fake = D(G(z))
    return _loss_g(on_fake).item(), _fooled(on_fake)


def g_step_threshold_on_logit(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    with torch.no_grad():
        share = (D(G(z)) > 0.5).float().mean().item()
    return g_step_with_grad(G, D, opt_g, opt_d, fake, z)[0], share


def g_step_with_grad(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[float, float]:
    """Asks for G's gradients alone, so that none reach D's weights."""
    on_fake = D(G(z))
    loss = -F.logsigmoid(on_fake).mean()
    weights = list(G.parameters())
    for p, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        p.grad = slope
    opt_g.step()
    return float(loss.detach()), float((on_fake.sigmoid() > 0.5).double().mean())


def g_step_frozen_for_a_while(
    G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer, fake: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    D.requires_grad_(False)
    logits = D(G(z))
    loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    G.zero_grad()
    loss.backward()
    opt_g.step()
    D.requires_grad_(True)
    return loss.detach(), torch.sum(logits.detach() > 0) / len(logits)


G_STEP = Item(
    id="g_step",
    title="G moves",
    points=3,
    answer="g_step",
    probe=probe_g_step,
    misconceptions=(
        Misconception(
            "stale fakes",
            g_step_stale,
            "You show D the fakes of its own last step. They are detached, so no gradient finds its way into G, and G "
            "does not move. Nothing fails, and nothing is learned. What is `z` for?",
        ),
        Misconception(
            "detached",
            g_step_detached,
            "G does not move: you cut its fakes off before D judges them. That belongs into D's step. Here the "
            "gradient must get back into G.",
        ),
        Misconception(
            "moves D too",
            g_step_moves_d,
            "D has moved as well, along G's loss: it learned to take fakes for real. The gradient must pass through D, "
            "but D's optimiser must not step.",
        ),
        Misconception(
            "moves D instead",
            g_step_moves_d_alone,
            "D moved and G did not. D learned to take fakes for real, and the fakes are as they were. Whose turn is "
            "it?",
        ),
        Misconception(
            "leaves gradients in D",
            g_step_leaves_gradients,
            "G moved rightly, but the gradient of G's loss still lies in D's weights. A step of D that forgets to "
            "clear it would follow it. Leave D as you found it.",
        ),
        Misconception(
            "no zero_grad",
            g_step_no_zero_grad,
            "G followed old gradients as well: those that lay in it when your function was called were added to yours.",
        ),
        Misconception(
            "freezes D for good",
            g_step_freezes_d,
            "You switch D's gradients off and never on again. G moved rightly, but in the next round D cannot learn.",
        ),
        Misconception(
            "saturating",
            g_step_saturating,
            "You took the minimax loss. Where D is sure that a fake is fake, it hardly pushes at all. The prompt asks "
            "for the other one.",
        ),
        Misconception(
            "learns to be caught",
            g_step_is_caught,
            "Your G minimises D's own term for the fakes: it makes D's logit on them fall. G wants it to rise.",
        ),
        Misconception(
            "the sign is turned",
            g_step_sign_turned,
            "Your loss is below zero: it is the logarithm of the chance, not minus it. Minimising it makes the chance "
            "of 'real' small.",
        ),
        Misconception(
            "counts the caught",
            g_step_counts_the_caught,
            "G moved rightly. The share that you return counts the fakes that D caught. Those that it took for real "
            "are asked for.",
        ),
        Misconception(
            "measures afterwards",
            g_step_counts_afterwards,
            "G moved rightly, but both numbers are taken after the step, from the new G. They should tell how things "
            "stood before it.",
        ),
        Misconception(
            "a logit above one half",
            g_step_threshold_on_logit,
            "You compare D's logits with one half. One half is where a *chance* cannot tell. Which logit belongs to "
            "it?",
        ),
    ),
    also_right=(g_step_with_grad, g_step_frozen_for_a_while),
    example="one step: weights of G",
    rtol=1e-3,
)

# ------------------------------------------------------------------------------------------------- optimal_d


def probe_optimal_d(answer: Any, seed: int) -> dict[str, Any]:
    """Places with ordinary densities, far places where no float holds them, and a place that leaves no doubt."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, low in (("mostly fakes", 0.1), ("mostly real", 0.65)):
        share = round(low + 0.25 * float(torch.rand((), generator=g)), 3)
        log_p = -1 - 4 * torch.rand(6, generator=g, dtype=torch.float64)
        log_q = -1 - 4 * torch.rand(6, generator=g, dtype=torch.float64)
        far = torch.tensor([0.0, 0, 0, -2000, -1500, -60], dtype=torch.float64)
        logits, chances = answer(log_p + far, log_q + far * torch.tensor([1.0, 1, 1, 1, 1, 0]), share)
        out[f"logits, {name}"] = torch.as_tensor(logits).detach().clone()
        out[f"chances, {name}"] = torch.as_tensor(chances).detach().clone()
    return out


def _odds(share: float) -> float:
    return math.log(share) - math.log(1 - share)


def _both(logits: Tensor) -> tuple[Tensor, Tensor]:
    return logits, logits.sigmoid()


def best_upside_down(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_q - log_p + _odds(share))


def best_of_fake(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_q - log_p - _odds(share))


def best_without_share(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_p - log_q)


def best_share_upside_down(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_p - log_q - _odds(share))


def best_share_on_real_only(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_p - log_q + math.log(share))


def best_odds_without_log(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(log_p - log_q + share / (1 - share))


def best_scaled(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return _both(share * log_p - (1 - share) * log_q)


def best_logits_twice(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    logits = log_p - log_q + _odds(share)
    return logits, logits


def best_chances_first(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    logits, chances = _both(log_p - log_q + _odds(share))
    return chances, logits


def best_odds_for_chances(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    logits = log_p - log_q + _odds(share)
    return logits, logits.exp()


def best_of_logs(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    chances = share * log_p / (share * log_p + (1 - share) * log_q)
    return torch.logit(chances), chances


def best_forms_densities(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    p, q = share * log_p.exp(), (1 - share) * log_q.exp()
    chances = p / (p + q)
    return chances.log() - (1 - chances).log(), chances


def best_by_softmax(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    both = torch.stack([log_p + math.log(share), log_q + math.log1p(-share)])  # (2, N)
    return both[0] - both[1], both.softmax(dim=0)[0]


def best_by_logit(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    logits = (log_p - log_q) + torch.logit(torch.tensor(share, dtype=log_p.dtype))
    return logits, 1 / (1 + torch.exp(-logits))


OPTIMAL_D = Item(
    id="optimal_d",
    title="What the best D says",
    points=3,
    answer="optimal_d",
    probe=probe_optimal_d,
    misconceptions=(
        Misconception(
            "upside down",
            best_upside_down,
            "Your ratio of densities stands upside down: the logit rises where fakes are dense. D's logit must be high "
            "where real points are.",
        ),
        Misconception(
            "the chance of fake",
            best_of_fake,
            "This is the chance of 'fake', with everything in it right but exchanged. D says the chance of 'real'.",
        ),
        Misconception(
            "no share",
            best_without_share,
            "`share` is not in your answer: it is the best D for equally many real points and fakes. Where both "
            "densities are the same, what should D say if nine of ten points are real?",
        ),
        Misconception(
            "share upside down",
            best_share_upside_down,
            "The more real points D is shown, the less your D believes in them. Where both densities are the same, "
            "what should D say if nine of ten points are real?",
        ),
        Misconception(
            "share on one side",
            best_share_on_real_only,
            "The real points are weighted with their share, and the fakes are not weighted with theirs. What is the "
            "fakes' share?",
        ),
        Misconception(
            "odds without a logarithm",
            best_odds_without_log,
            "You add a proportion to a difference of logarithms. Where both shares are one half, nothing may be added, "
            "but yours adds 1.",
        ),
        Misconception(
            "share times a logarithm",
            best_scaled,
            "You multiply the logarithms by the shares. The *densities* are weighted with the shares. What does a "
            "logarithm make of a product?",
        ),
        Misconception(
            "logits twice",
            best_logits_twice,
            "Your chances are the logits again. A chance lies between 0 and 1. Which function leads from one to the "
            "other?",
        ),
        Misconception(
            "chances first",
            best_chances_first,
            "Both are right and in the wrong order. Look at the docstring.",
        ),
        Misconception(
            "odds for chances",
            best_odds_for_chances,
            "Your chances are odds, real to fake, and can be far above 1. A chance is real to real *and* fake.",
        ),
        Misconception(
            "densities are logarithms",
            best_of_logs,
            "You put the logarithms in the place of the densities. A density's logarithm is not a density: it can be "
            "below zero, and a place where it is -5 is denser than one where it is -10.",
        ),
        Misconception(
            "forms the densities",
            best_forms_densities,
            "Near the modes you are right. Far away both densities round to 0, and 0 / 0 is not a number; where D has "
            "no doubt, the logarithm of 0 is infinite. Stay with the logarithms.",
        ),
    ),
    also_right=(best_by_softmax, best_by_logit),
    example="chances, mostly fakes",
)

ITEMS: list[Item] = [D_LOSS, G_LOSS, D_STEP, G_STEP, OPTIMAL_D]
