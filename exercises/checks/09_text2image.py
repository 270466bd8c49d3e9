"""What is asked in exercises 09, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse import world
from mmcourse.course.exercise import Item, Misconception

# ------------------------------------------------------------------------------------------------ mismatched


def probe_mismatched(answer: Any, seed: int) -> dict[str, Any]:
    """Batches in which neighbours say the same in other words, or less, or more; and one where all say the same."""
    import random
    from itertools import zip_longest

    import torch

    from mmcourse import world

    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    one = world.sample_labels(3, g, objects=(1,))
    one[:, 2] = torch.randperm(8, generator=g)[:3]  # three things of three colours
    two = world.sample_labels(1, g, objects=(2,))
    two[:, [1, 4]] = torch.randperm(6, generator=g)[None, :2]  # of two shapes
    two[:, 7] = -1  # "A and B"
    turned = two[:, [0, 4, 5, 6, 1, 2, 3, 7]]  # "B and A" means the same
    left, right = two.clone(), turned.clone()
    left[:, 7] = right[:, 7] = 5  # "A left of B" and "B left of A" do not

    def say(row, language):
        return world.captions(row.view(1, 8), rng, languages=(language,))[0]

    def vague(row, column):
        less = row.clone()
        less[column] = -1
        return less

    a, b, c = one
    first = [say(a, "en"), say(a, "zh"), say(vague(a, 7), "en"), say(b, "en")]
    middle = [say(vague(c, 3), "zh"), say(c, "en"), say(right, "en"), say(left, "en")]
    both = [say(two, "en"), say(turned, "zh"), say(two, "zh")]
    batch = [*first, *middle, *both, say(vague(a, 3), "zh"), first[0]]
    out: dict[str, Any] = {}
    for name, texts in (("four captions", first), ("a whole batch", batch)):
        pairs = zip_longest(texts, list(answer(list(texts))), fillvalue="nothing")
        out[name] = [f"{own}  gets  {wrong}" for own, wrong in pairs]
    alone = {"two that say the same": first[:2], "the second says less": first[1:3], "one caption alone": first[:1]}
    for name, texts in alone.items():
        try:
            out[name] = [str(text) for text in answer(list(texts))]
        except Exception as error:
            out[name] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _walk(captions: list[str], fits: Callable[[int, int], bool], *, back: bool = False) -> list[str]:
    """The next caption for which ``fits(own, other)`` is false; ``ValueError`` where there is none."""
    n, out = len(captions), []
    for i in range(n):
        steps = [(i - s) % n if back else (i + s) % n for s in range(1, n)]
        found = [captions[j] for j in steps if not fits(i, j)]
        if not found:
            raise ValueError("no caption is false here")
        out.append(found[0])
    return out


def _follows(captions: list[str]) -> Tensor:
    rows = world.statements(captions)
    return world.satisfied_pairs(rows, rows)  # (B, B): [i, j] where j follows from i


def mismatched_identity(captions: list[str]) -> list[str]:
    return list(captions)


def mismatched_neighbour(captions: list[str]) -> list[str]:
    return captions[1:] + captions[:1]


def mismatched_by_text(captions: list[str]) -> list[str]:
    return _walk(captions, lambda i, j: captions[i] == captions[j])


def mismatched_by_statement(captions: list[str]) -> list[str]:
    rows = world.statements(captions)
    return _walk(captions, lambda i, j: bool((rows[i] == rows[j]).all()))


def mismatched_wrong_way_round(captions: list[str]) -> list[str]:
    follows = _follows(captions)
    return _walk(captions, lambda i, j: bool(follows[j, i]))


def mismatched_either_way(captions: list[str]) -> list[str]:
    follows = _follows(captions)
    return _walk(captions, lambda i, j: bool(follows[i, j] | follows[j, i]))


def mismatched_backwards(captions: list[str]) -> list[str]:
    follows = _follows(captions)
    return _walk(captions, lambda i, j: bool(follows[i, j]), back=True)


def mismatched_from_the_front(captions: list[str]) -> list[str]:
    follows, out = _follows(captions), []
    for i in range(len(captions)):
        found = [captions[j] for j in range(len(captions)) if not follows[i, j]]
        if not found:
            raise ValueError("no caption is false here")
        out.append(found[0])
    return out


def mismatched_keeps_its_own(captions: list[str]) -> list[str]:
    follows, n, out = _follows(captions), len(captions), []
    for i in range(n):
        found = [captions[(i + s) % n] for s in range(1, n) if not follows[i, (i + s) % n]]
        out.append(found[0] if found else captions[i])
    return out


def mismatched_by_pairs(captions: list[str]) -> list[str]:
    follows, n = _follows(captions), len(captions)
    distance = (torch.arange(n)[None] - torch.arange(n)[:, None]) % n  # steps from i on to j
    distance = distance.masked_fill(follows, n)
    if (distance.amin(1) == n).any():
        raise ValueError("all captions follow from one of them")
    return [captions[int(j)] for j in distance.argmin(1)]


def mismatched_by_hand(captions: list[str]) -> list[str]:
    said = [tuple(world.parse(text)) for text in captions]

    def true_of(scene: tuple[int, ...], asked: tuple[int, ...]) -> bool:
        ways = [asked]
        if asked[0] == 2 and asked[7] == -1:
            ways.append((asked[0], *asked[4:7], *asked[1:4], asked[7]))
        return any(all(want in (-1, have) for have, want in zip(scene, way, strict=True)) for way in ways)

    out = []
    for i, scene in enumerate(said):
        for text, asked in zip(captions[i + 1 :] + captions[:i], said[i + 1 :] + said[:i], strict=True):
            if not true_of(scene, asked):
                out.append(text)
                break
        else:
            raise ValueError(captions[i])
    return out


MISMATCHED = Item(
    id="mismatched",
    title="A wrong caption for every picture",
    points=2,
    answer="mismatched",
    probe=probe_mismatched,
    misconceptions=(
        Misconception(
            "identity",
            mismatched_identity,
            "Every picture gets its own caption back. D would be told that a real picture with its true caption is "
            "fake.",
        ),
        Misconception(
            "the neighbour's",
            mismatched_neighbour,
            "You always take the next caption, whatever it says. Read the pairs aloud: some of them are still true.",
        ),
        Misconception(
            "compares texts",
            mismatched_by_text,
            "You compare the letters. The same thing can be said in other words and in another language. Compare what "
            "the captions state.",
        ),
        Misconception(
            "compares statements",
            mismatched_by_statement,
            "You skip captions that state exactly the same. A caption that states *less* is true of the picture as "
            "well: after 'a small red circle', so is 'a red circle'.",
        ),
        Misconception(
            "the wrong way round",
            mismatched_wrong_way_round,
            "You try each picture's caption on the other one. It must be the other way round: the picture is what its "
            "own caption says, and the question is whether the other caption is true of it.",
        ),
        Misconception(
            "either way",
            mismatched_either_way,
            "You skip too much: also captions from which the picture's own follows. A caption that says *more* than "
            "is known of the picture does not follow from it.",
        ),
        Misconception(
            "backwards",
            mismatched_backwards,
            "Every caption is a wrong one, but not the one asked for: you walk backwards through the batch.",
        ),
        Misconception(
            "from the front",
            mismatched_from_the_front,
            "Your search starts at the front of the batch each time, so most pictures get the same wrong caption. "
            "Start behind the picture's own place.",
        ),
        Misconception(
            "keeps its own",
            mismatched_keeps_its_own,
            "Where no caption is wrong, you give the picture its own. That is a true caption called fake. What does "
            "the docstring say about this case?",
        ),
    ),
    also_right=(mismatched_by_pairs, mismatched_by_hand),
)

# ------------------------------------------------------------------------------------------------- gan_cls_d


def probe_gan_cls_d(answer: Any, seed: int) -> dict[str, Any]:
    """Loss and slopes on ordinary logits, on batches of unequal sizes, and on logits of a very sure D."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, sizes, spread in (
        ("equal batches", (4, 4, 4), 2.0),
        ("unequal batches", (5, 3, 7), 2.0),
        ("sure D", (6, 4, 4), 0),
    ):
        logits = []
        for size in sizes:
            x = torch.randn(size, 1, generator=g)
            if not spread:  # 150 to 300 on either side
                sides = torch.where(torch.arange(size) % 2 == 0, 1.0, -1.0)[:, None]
                x = sides * (150 + 150 * torch.rand(size, 1, generator=g))
            logits.append((x * (spread or 1)).requires_grad_(True))
        loss = answer(*[x * 1 for x in logits])
        out[f"loss, {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), logits, allow_unused=True)
            for kind, x, slope in zip(("real", "wrong", "fake"), logits, slopes, strict=True):
                out[f"slope at {kind}, {name}"] = torch.zeros_like(x).detach() if slope is None else slope.clone()
        else:
            out[f"slope at real, {name}"] = "the loss carries no gradient"
    return out


def d_without_wrong(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()


def d_without_wrong_half(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean() / 2


def d_wrong_is_real(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + (F.softplus(-on_wrong).mean() + F.softplus(on_fake).mean()) / 2


def d_sign_turned(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return -d_by_logsigmoid(on_real, on_wrong, on_fake)


def d_real_and_fake_exchanged(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(on_real).mean() + (F.softplus(-on_wrong).mean() + F.softplus(-on_fake).mean()) / 2


def d_all_weigh_the_same(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(on_wrong).mean() + F.softplus(on_fake).mean()


def d_log_of_sigmoid(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    r, w, f = on_real.sigmoid(), on_wrong.sigmoid(), on_fake.sigmoid()
    return -r.log().mean() - ((1 - w).log().mean() + (1 - f).log().mean()) / 2


def d_log_with_epsilon(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    r, w, f = on_real.sigmoid(), on_wrong.sigmoid(), on_fake.sigmoid()
    return -(r + 1e-8).log().mean() - ((1 - w + 1e-8).log().mean() + (1 - f + 1e-8).log().mean()) / 2


def d_bce_of_probabilities(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    def bce(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, target))

    return bce(on_real, 1) + (bce(on_wrong, 0) + bce(on_fake, 0)) / 2


def d_sigmoid_twice(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return d_by_logsigmoid(on_real.sigmoid(), on_wrong.sigmoid(), on_fake.sigmoid())


def d_concatenated(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(torch.cat([-on_real, on_wrong, on_fake])).mean()


def d_fakes_in_one_mean(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).mean() + F.softplus(torch.cat([on_wrong, on_fake])).mean()


def d_sums(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real).sum() + (F.softplus(on_wrong).sum() + F.softplus(on_fake).sum()) / 2


def d_by_logsigmoid(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    wrong, fake = F.logsigmoid(-on_wrong).mean(), F.logsigmoid(-on_fake).mean()
    return -(F.logsigmoid(on_real).mean() + 0.5 * wrong + 0.5 * fake)


def d_by_cross_entropy(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for logits, target, weight in ((on_real, 1.0, 1.0), (on_wrong, 0.0, 0.5), (on_fake, 0.0, 0.5)):
        logits = logits.double()
        total = total + weight * F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
    return total


GAN_CLS_D = Item(
    id="gan_cls_d",
    title="A discriminator that must read",
    points=2,
    answer="gan_cls_d",
    probe=probe_gan_cls_d,
    misconceptions=(
        Misconception(
            "no wrong captions",
            d_without_wrong,
            "The real pictures with wrong captions are not in your loss. Real pictures then always come with a true "
            "caption, and D never has a reason to read it.",
        ),
        Misconception(
            "no wrong captions, half of the fakes",
            d_without_wrong_half,
            "One of the three arguments is never used. Without it D never has a reason to read a caption.",
        ),
        Misconception(
            "wrong captions count as real",
            d_wrong_is_real,
            "Your loss pushes the logits of wrong captions up, as if they were real. The picture is real, but the "
            "pair is not: to D it must count as fake.",
        ),
        Misconception(
            "the sign is turned",
            d_sign_turned,
            "This is the log-likelihood itself. Minimising it teaches D to be wrong as often as it can. A loss at its "
            "best is near 0, never below it.",
        ),
        Misconception(
            "real and fake exchanged",
            d_real_and_fake_exchanged,
            "Your D learns to call real pictures fake and fakes real. Which way must softplus push a real logit: what "
            "does it give for a large positive number, what for a large negative one?",
        ),
        Misconception(
            "all weigh the same",
            d_all_weigh_the_same,
            "Each of the three terms has weight 1. The two kinds of fake together outweigh the real ones. Look at the "
            "weights in the formula.",
        ),
        Misconception(
            "logarithm of a sigmoid",
            d_log_of_sigmoid,
            "Your loss is infinite where D is sure and wrong: a sigmoid reaches exactly 0 in floating point. Write "
            "the logarithm of the sigmoid as one function of the logit.",
        ),
        Misconception(
            "a small number in the logarithm",
            d_log_with_epsilon,
            "The small number inside the logarithm makes the loss finite and removes the slope, just where D is wrong "
            "and would have to learn. Write the logarithm of the sigmoid as one function of the logit.",
        ),
        Misconception(
            "cross-entropy of probabilities",
            d_bce_of_probabilities,
            "`binary_cross_entropy` takes probabilities, cuts their logarithm off at -100, and loses the slope there. "
            "There is a form of it that takes logits.",
        ),
        Misconception(
            "a sigmoid too many",
            d_sigmoid_twice,
            "The logits go through a sigmoid twice: once by your hand and once inside the loss. Then no logit can "
            "ever be far from 0, and the loss never gets near 0.",
        ),
        Misconception(
            "one mean over all",
            d_concatenated,
            "You put all three kinds into one batch and take one mean. Real pictures then weigh as much as their "
            "number says. Each kind has a mean of its own, with its own weight.",
        ),
        Misconception(
            "one mean over both kinds of fake",
            d_fakes_in_one_mean,
            "You put both kinds of fake into one batch. Where one kind has more pictures it weighs more. Each kind "
            "has a mean of its own.",
        ),
        Misconception(
            "sums",
            d_sums,
            "You add over the batch. The loss, and with it the size of each step, then grows with the batch. Take "
            "means.",
        ),
    ),
    also_right=(d_by_logsigmoid, d_by_cross_entropy),
)

# ------------------------------------------------------------------------------------------------- ca_sample


def probe_ca_sample(answer: Any, seed: int) -> dict[str, Any]:
    """Conditions, penalty, and the slopes of both at the statistics."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, k in (("square", 4, 4), ("flat", 3, 5)):
        stats = torch.randn(b, 2 * k, generator=g)
        stats[:, k:] = 1.5 * stats[:, k:] - 1
        stats.requires_grad_(True)
        noise = torch.randn(b, k, generator=g)
        weights = torch.randn(b, k, generator=g)
        cond, penalty = answer(stats * 1, noise.clone())
        out[f"conditions, {name}"] = torch.as_tensor(cond).detach().clone()
        out[f"penalty, {name}"] = float(penalty.detach() if torch.is_tensor(penalty) else penalty)
        for kind, value in (("conditions", (cond * weights).sum()), ("penalty", penalty)):
            if torch.is_tensor(value) and value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), stats, retain_graph=True, allow_unused=True)
                out[f"slope of the {kind}, {name}"] = "no slope" if slope is None else slope.clone()
            else:
                out[f"slope of the {kind}, {name}"] = "no gradient reaches the statistics"
    return out


def _penalty(mean: Tensor, log_variance: Tensor) -> Tensor:
    return ((mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2).mean()


def ca_log_variance_as_std(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = stats.chunk(2, dim=1)
    return mean + log_variance * noise, _penalty(mean, log_variance)


def ca_variance_as_std(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = stats.chunk(2, dim=1)
    return mean + log_variance.exp() * noise, _penalty(mean, log_variance)


def ca_half_variance(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = stats.chunk(2, dim=1)
    return mean + log_variance.exp() / 2 * noise, _penalty(mean, log_variance)


def ca_log_std(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = stats.chunk(2, dim=1)
    return mean + log_std.exp() * noise, _penalty(mean, 2 * log_std)


def ca_halves_exchanged(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    log_variance, mean = stats.chunk(2, dim=1)
    return mean + (log_variance / 2).exp() * noise, _penalty(mean, log_variance)


def ca_every_second(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = stats[:, 0::2], stats[:, 1::2]
    return mean + (log_variance / 2).exp() * noise, _penalty(mean, log_variance)


def ca_no_noise(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = stats.chunk(2, dim=1)
    return mean, _penalty(mean, log_variance)


def ca_no_gradient(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    cond, penalty = ca_by_normal(stats, noise)
    return cond.detach(), penalty


def ca_penalty_over_all(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    cond, penalty = ca_by_normal(stats, noise)
    return cond, penalty / noise.shape[1]


def ca_penalty_summed(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    cond, penalty = ca_by_normal(stats, noise)
    return cond, penalty * len(noise)


def ca_penalty_without_half(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    cond, penalty = ca_by_normal(stats, noise)
    return cond, 2 * penalty


def ca_penalty_negative(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    cond, penalty = ca_by_normal(stats, noise)
    return cond, -penalty


def ca_by_normal(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    k = noise.shape[1]
    mean, std = stats[:, :k], torch.exp(0.5 * stats[:, k:])
    cloud = torch.distributions.Normal(mean, std)
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    return torch.addcmul(mean, std, noise), torch.distributions.kl_divergence(cloud, standard).sum(1).mean()


def ca_in_a_loop(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    rows, total = [], torch.zeros((), dtype=torch.float64)
    for row, normal in zip(stats.double(), noise.double(), strict=True):
        half = len(row) // 2
        mean, variance = row[:half], row[half:].exp()
        rows.append(mean + variance.sqrt() * normal)
        total = total + 0.5 * (mean.square() + variance - 1 - variance.log()).sum()
    return torch.stack(rows), total / len(stats)


CA_SAMPLE = Item(
    id="ca_sample",
    title="A cloud around each caption",
    points=2,
    answer="ca_sample",
    probe=probe_ca_sample,
    misconceptions=(
        Misconception(
            "logarithm as spread",
            ca_log_variance_as_std,
            "You multiply the noise by the logarithm itself. A spread cannot be negative, and for variance 1, whose "
            "logarithm is 0, your noise vanishes.",
        ),
        Misconception(
            "variance as spread",
            ca_variance_as_std,
            "You multiply the noise by the variance. The standard deviation is its square root. Where does a half "
            "enter?",
        ),
        Misconception(
            "half of the variance",
            ca_half_variance,
            "You halve the variance. A square root is wanted, and in the logarithm a square root is a half: halve "
            "*before* the exponential.",
        ),
        Misconception(
            "logarithm of the standard deviation",
            ca_log_std,
            "You read the second half as logarithms of standard deviations, in both results. They are logarithms of "
            "variances.",
        ),
        Misconception(
            "halves exchanged",
            ca_halves_exchanged,
            "The two halves of `stats` are exchanged: the first one holds the means.",
        ),
        Misconception(
            "every second number",
            ca_every_second,
            "You take every second number as a mean. The means stand together in the first half.",
        ),
        Misconception(
            "no noise",
            ca_no_noise,
            "Your conditions are the means. Without noise each caption stays one single point.",
        ),
        Misconception(
            "no gradient",
            ca_no_gradient,
            "The conditions are right, but no gradient gets through them, so the layer that makes `stats` cannot "
            "learn from the pictures. The noise is a constant; the rest must stay in the graph.",
        ),
        Misconception(
            "penalty averaged over the numbers",
            ca_penalty_over_all,
            "The penalty is averaged over the numbers of a condition as well. The formula adds them up; only over the "
            "captions it is a mean.",
        ),
        Misconception(
            "penalty added over the captions",
            ca_penalty_summed,
            "The penalty is added up over the captions. Asked is the mean over them.",
        ),
        Misconception(
            "penalty without its half",
            ca_penalty_without_half,
            "The penalty is twice what it should be. Look at the front of the formula.",
        ),
        Misconception(
            "penalty negative",
            ca_penalty_negative,
            "Your penalty is negative. Minimised, it would drive the clouds away from the standard normal one, "
            "without an end.",
        ),
    ),
    also_right=(ca_by_normal, ca_in_a_loop),
)

# ----------------------------------------------------------------------------------------------- affine_fuse


def probe_affine_fuse(answer: Any, seed: int) -> dict[str, Any]:
    """One batch whose sizes are all equal, so that a wrong axis goes unnoticed, and one where all differ."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, (b, c, h, w, k) in (("all sizes equal", (3, 3, 3, 3, 6)), ("all sizes differ", (2, 3, 4, 5, 7))):
        features, cond = torch.randn(b, c, h, w, generator=g), torch.randn(b, k, generator=g)
        weight, bias = torch.randn(2 * c, k, generator=g), torch.randn(2 * c, generator=g)
        if out:
            try:
                got = answer(features, cond, weight, bias)
                out[name] = torch.as_tensor(got).detach().clone()
            except Exception as error:
                out[name] = f"it raises {type(error).__name__}"
        else:
            out[name] = torch.as_tensor(answer(features, cond, weight, bias)).detach().clone()
    return out


def _layer(cond: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    scale, shift = (cond @ weight.T + bias).chunk(2, dim=1)
    return scale, shift


def fuse_without_one(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond, weight, bias)
    return h * scale[:, :, None, None] + shift[:, :, None, None]


def fuse_without_axes(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond, weight, bias)
    return h * (1 + scale) + shift


def fuse_along_width(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond, weight, bias)
    return h * (1 + scale[:, None, None, :]) + shift[:, None, None, :]


def fuse_along_height(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond, weight, bias)
    return h * (1 + scale[:, None, :, None]) + shift[:, None, :, None]


def fuse_shift_first(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond, weight, bias)
    return (h + shift[:, :, None, None]) * (1 + scale[:, :, None, None])


def fuse_halves_exchanged(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    shift, scale = _layer(cond, weight, bias)
    return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def fuse_every_second(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    both = cond @ weight.T + bias
    return h * (1 + both[:, 0::2, None, None]) + both[:, 1::2, None, None]


def fuse_without_bias(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return fuse_by_einsum(h, cond, weight, torch.zeros_like(bias))


def fuse_weight_not_turned(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = (cond @ weight + bias).chunk(2, dim=1)
    return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def fuse_without_shift(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, _ = _layer(cond, weight, bias)
    return h * (1 + scale[:, :, None, None])


def fuse_first_picture(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = _layer(cond[:1], weight, bias)
    return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def fuse_by_einsum(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    c = h.shape[1]
    both = torch.einsum("bk,ck->bc", cond, weight) + bias
    return h + torch.einsum("bchw,bc->bchw", h, both[:, :c]) + both[:, c:].unsqueeze(-1).unsqueeze(-1)


def fuse_in_a_loop(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out, c = torch.empty_like(h, dtype=torch.float64), h.shape[1]
    for b in range(len(h)):
        for channel in range(c):
            scale = (weight[channel] * cond[b]).sum() + bias[channel]
            shift = (weight[c + channel] * cond[b]).sum() + bias[c + channel]
            out[b, channel] = (1 + scale) * h[b, channel] + shift
    return out


AFFINE_FUSE = Item(
    id="affine_fuse",
    title="The condition turns channels up and down",
    points=2,
    answer="affine_fuse",
    probe=probe_affine_fuse,
    misconceptions=(
        Misconception(
            "the one is missing",
            fuse_without_one,
            "The factor is the scale alone. A layer that starts at zero would then wipe out all features. It must "
            "leave them as they are.",
        ),
        Misconception(
            "no axes added",
            fuse_without_axes,
            "Your scale has the shape (B, C), and torch lines shapes up from the right: it falls on height and width. "
            "That goes unnoticed where all sizes are equal.",
        ),
        Misconception(
            "along the width",
            fuse_along_width,
            "Your scale runs along the width, one factor a column of pixels. It belongs to the channels. Count the "
            "axes of `h` from the left.",
        ),
        Misconception(
            "along the height",
            fuse_along_height,
            "Your scale runs along the height, one factor a row of pixels. It belongs to the channels. Count the axes "
            "of `h` from the left.",
        ),
        Misconception(
            "shifted first",
            fuse_shift_first,
            "You shift first and scale then, so the shift is scaled too. The other order is asked for.",
        ),
        Misconception(
            "halves exchanged",
            fuse_halves_exchanged,
            "Scales and shifts are exchanged. The docstring says which half of the layer's result comes first.",
        ),
        Misconception(
            "every second number",
            fuse_every_second,
            "You take every second number as a scale. The scales stand together in the first half of the result.",
        ),
        Misconception(
            "no bias",
            fuse_without_bias,
            "The layer's bias is missing. With a condition of zeros your function can do nothing at all.",
        ),
        Misconception(
            "the weight is not turned",
            fuse_weight_not_turned,
            "You multiply by `weight` as it stands. A row of it belongs to one number of the *result*; so a linear "
            "layer uses its transpose.",
        ),
        Misconception(
            "no shift",
            fuse_without_shift,
            "Your channels are scaled and not shifted. A channel of zeros could then never be switched on.",
        ),
        Misconception(
            "the first picture for all",
            fuse_first_picture,
            "Every picture of the batch gets the first one's scale and shift. Each has a condition of its own.",
        ),
    ),
    also_right=(fuse_by_einsum, fuse_in_a_loop),
)

# ------------------------------------------------------------------------------------------ caption_accuracy


def probe_caption_accuracy(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches: captions that leave much open, and captions of which none states the size."""
    import torch

    g = torch.Generator().manual_seed(seed)
    classes = torch.tensor([6, 8, 2, 5])
    out: dict[str, Any] = {}
    for name, n in (("thirteen captions", 13), ("captions without sizes", 9)):
        read = (torch.rand(n, 4, generator=g) * classes).long()
        other = (read + 1 + (torch.rand(n, 4, generator=g) * (classes - 1)).long()) % classes
        stated = torch.where(torch.rand(n, 4, generator=g) < 0.25, other, read)
        still = torch.rand(n, 4, generator=g) < 0.4
        stated[0], stated[1], stated[2] = read[0], read[1], read[2]
        stated[0, 1] = other[0, 1]  # one fact of four is wrong
        stated[3] = other[3]  # everything is wrong
        still[0] = still[2] = still[3] = False
        still[1], still[4] = torch.tensor([True, False, True, True]), torch.tensor([False, True, True, True])
        stated[1, 1] = read[1, 1]  # one fact stated, and right
        stated[4, 0] = other[4, 0]  # one fact stated, and wrong
        if n == 9:
            still[:, 2:] = True
            still[1, 3] = False  # one caption alone states the place
        still[:, 0] &= ~still.all(1)  # every caption states something
        got = answer(read.clone(), torch.where(still, -1, stated))
        out[name] = {str(key): float(share) for key, share in dict(got).items()}
    return out


def _per_fact(said: Tensor, right: Tensor) -> dict[str, float]:
    out = {}
    for column, name in enumerate(("shape", "colour", "size", "place")):
        if said[:, column].any():
            out[name] = (right[:, column] & said[:, column]).sum().item() / said[:, column].sum().item()
    return out


def accuracy_open_is_wrong(read: Tensor, stated: Tensor) -> dict[str, float]:
    right = read == stated
    shares = {name: right[:, i].float().mean().item() for i, name in enumerate(("shape", "colour", "size", "place"))}
    return {"all": right.all(1).float().mean().item(), **shares}


def accuracy_open_is_wrong_in_all(read: Tensor, stated: Tensor) -> dict[str, float]:
    right = read == stated
    return {"all": right.all(1).float().mean().item(), **_per_fact(stated >= 0, right)}


def accuracy_open_is_right(read: Tensor, stated: Tensor) -> dict[str, float]:
    right = (read == stated) | (stated < 0)
    shares = {name: right[:, i].float().mean().item() for i, name in enumerate(("shape", "colour", "size", "place"))}
    return {"all": right.all(1).float().mean().item(), **shares}


def accuracy_any(read: Tensor, stated: Tensor) -> dict[str, float]:
    said = stated >= 0
    right = said & (read == stated)
    return {"all": right.any(1).float().mean().item(), **_per_fact(said, right)}


def accuracy_of_facts(read: Tensor, stated: Tensor) -> dict[str, float]:
    said = stated >= 0
    right = said & (read == stated)
    return {"all": right.sum().item() / said.sum().item(), **_per_fact(said, right)}


def accuracy_mean_of_shares(read: Tensor, stated: Tensor) -> dict[str, float]:
    shares = _per_fact(stated >= 0, read == stated)
    return {"all": sum(shares.values()) / len(shares), **shares}


def accuracy_share_a_picture(read: Tensor, stated: Tensor) -> dict[str, float]:
    said = stated >= 0
    right = said & (read == stated)
    return {"all": (right.sum(1) / said.sum(1).clamp(min=1)).mean().item(), **_per_fact(said, right)}


def accuracy_full_captions_only(read: Tensor, stated: Tensor) -> dict[str, float]:
    said = stated >= 0
    right, full = said & (read == stated), said.all(1)
    share = right[full].all(1).float().mean().item() if full.any() else 0.0
    return {"all": share, **_per_fact(said, right)}


def accuracy_zero_is_open(read: Tensor, stated: Tensor) -> dict[str, float]:
    return accuracy_by_rows(read, torch.where(stated == 0, -1, stated))


def accuracy_nan_for_unstated(read: Tensor, stated: Tensor) -> dict[str, float]:
    return {name: accuracy_by_rows(read, stated).get(name, float("nan")) for name in ("all", *_FACTS)}


def accuracy_zero_for_unstated(read: Tensor, stated: Tensor) -> dict[str, float]:
    return {name: accuracy_by_rows(read, stated).get(name, 0.0) for name in ("all", *_FACTS)}


def accuracy_in_percent(read: Tensor, stated: Tensor) -> dict[str, float]:
    return {name: 100 * share for name, share in accuracy_by_rows(read, stated).items()}


_FACTS = ("shape", "colour", "size", "place")


def accuracy_by_rows(read: Tensor, stated: Tensor) -> dict[str, float]:
    good, hits, asked = 0, dict.fromkeys(_FACTS, 0), dict.fromkeys(_FACTS, 0)
    for seen, told in zip(read.tolist(), stated.tolist(), strict=True):
        fine = True
        for name, have, want in zip(_FACTS, seen, told, strict=True):
            if want != -1:
                asked[name] += 1
                hits[name] += have == want
                fine = fine and have == want
        good += fine
    shares = {name: hits[name] / asked[name] for name in _FACTS if asked[name]}
    return {"all": good / len(read), **shares}


def accuracy_by_faults(read: Tensor, stated: Tensor) -> dict[str, Tensor]:
    faults = ((read != stated) & (stated != -1)).double()
    asked = (stated != -1).double().sum(0)
    out = {"all": 1 - faults.amax(1).mean()}
    out.update({n: 1 - f / a for n, f, a in zip(_FACTS, faults.sum(0), asked, strict=True) if a > 0})
    return out


CAPTION_ACCURACY = Item(
    id="caption_accuracy",
    title="Does the picture show what the caption says?",
    points=2,
    answer="caption_accuracy",
    probe=probe_caption_accuracy,
    misconceptions=(
        Misconception(
            "what is open counts as wrong",
            accuracy_open_is_wrong,
            "A fact that the caption leaves open counts as wrong with you, since -1 equals nothing that a judge "
            "reads. What is open must not count at all.",
        ),
        Misconception(
            "what is open spoils the whole",
            accuracy_open_is_wrong_in_all,
            "The shares of single facts are right. In `all`, a picture is still wrong as soon as its caption leaves "
            "something open.",
        ),
        Misconception(
            "what is open counts as right",
            accuracy_open_is_right,
            "`all` is right. In the shares of single facts, captions that say nothing of the fact count as right "
            "ones. They belong neither into the upper count nor into the lower.",
        ),
        Misconception(
            "any",
            accuracy_any,
            "One right fact is enough for you. A picture is right when everything that its caption states is right.",
        ),
        Misconception(
            "counts facts",
            accuracy_of_facts,
            "Your `all` is the share of facts, over all captions. Count pictures: each is right or wrong as a whole.",
        ),
        Misconception(
            "mean of the four shares",
            accuracy_mean_of_shares,
            "Your `all` is the mean of the other shares. Four facts can each be right in most pictures while few "
            "pictures have all four right.",
        ),
        Misconception(
            "part of a picture",
            accuracy_share_a_picture,
            "In `all`, a picture with half of its facts right counts as half. It is wrong.",
        ),
        Misconception(
            "full captions only",
            accuracy_full_captions_only,
            "Your `all` looks at captions that state all four facts, and forgets the others. Every picture counts.",
        ),
        Misconception(
            "zero is open",
            accuracy_zero_is_open,
            "You treat 0 as open. 0 is the first class of each column, such as the first colour; only -1 is open.",
        ),
        Misconception(
            "NaN for what nobody states",
            accuracy_nan_for_unstated,
            "For a fact that no caption states you give 0 / 0. It has no share, so it gets no entry.",
        ),
        Misconception(
            "zero for what nobody states",
            accuracy_zero_for_unstated,
            "For a fact that no caption states you give 0, as if every picture were wrong in it. It has no share, so "
            "it gets no entry.",
        ),
        Misconception(
            "in percent",
            accuracy_in_percent,
            "These are percent. A share goes from 0 to 1.",
        ),
    ),
    also_right=(accuracy_by_rows, accuracy_by_faults),
)

# ----------------------------------------------------------------------------------------------- mended_step


def probe_mended_step(answer: Any, seed: int) -> dict[str, Any]:
    """A linear G and D: pictures, losses, and the slopes of each loss in its own network; then the same with a very
    sure D, whose logits lie beyond 250 on either side."""
    from types import SimpleNamespace

    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, half, sure in (("unsure D", 2, 0.0), ("sure D", 2, 250.0)):
        body, word = torch.randn(3, 4, generator=g), torch.randn(3, 4, generator=g)  # (Z, P) and (K, P)
        alone, features = torch.randn(4, 1, generator=g), torch.randn(4, 3, generator=g)  # (P, 1) and (P, K)
        parts = [body, word, alone, features]
        for part in parts:
            part.requires_grad_(True)
        # each row stands in the batch a second time with its sign turned, so that both kinds of error occur
        real, true, wrong, z = (
            torch.cat([x, -x])
            for x in (
                2 * torch.rand(half, 4, generator=g) - 1,
                torch.randn(half, 3, generator=g),
                torch.randn(half, 3, generator=g),
                torch.randn(half, 3, generator=g),
            )
        )

        def judge(x, alone=alone, sure=sure):
            plain = x @ alone
            return plain + sure * plain.detach().sign()

        G = SimpleNamespace(body=lambda z, w=body: z @ w, word=lambda c, w=word: c @ w)
        D = SimpleNamespace(alone=judge, features=lambda x, w=features: x @ w)
        fake, loss_d, loss_g = answer(G, D, real.clone(), true.clone(), wrong.clone(), z.clone())
        out[f"losses, {name}"] = [float(x.detach() if torch.is_tensor(x) else x) for x in (loss_d, loss_g)]
        out[f"fake, {name}"] = torch.as_tensor(fake).detach().clone()
        for kind, loss, own in (("d", loss_d, parts[2:]), ("g", loss_g, parts[:2])):
            if not (torch.is_tensor(loss) and loss.requires_grad):
                out[f"slopes of loss_{kind}, {name}"] = "the loss carries no gradient"
                continue
            slopes = torch.autograd.grad(loss.sum(), own, retain_graph=True, allow_unused=True)
            out[f"slopes of loss_{kind}, {name}"] = [
                "no slope" if slope is None else slope.clone().flatten() for slope in slopes
            ]
    return out


#: The faults of the listing in the prompt, by name; the last one is what many put in the place of the third.
FAULTS = {
    "text late": "The text still joins G's pixels after tanh. Pixels then leave [-1, 1], and no layer of the picture "
    "depends on the words. Where would both parts of G have to meet?",
    "fit late": "The fit is still added to a probability. The sum is no probability and no logit. What does D have "
    "before the sigmoid?",
    "raw logarithm": "The logarithm is still taken of a sigmoid. Where D is very sure and wrong, the sigmoid is "
    "exactly 0 and the loss infinite. Write both steps as one function of the logit.",
    "D's sign": "D's loss still has the sign of the listing: one step down makes D call real pictures fake.",
    "G's sign": "G's loss still has the sign of the listing: one step down makes G easier to catch.",
    "no wrong captions": "D is still never shown a real picture with a wrong caption. Nothing makes it care whether a "
    "caption fits.",
    "small number": "The small number inside the logarithm makes the loss finite and takes away the slope where D "
    "is sure and wrong. Write logarithm and sigmoid as one function of the logit.",
}


def listing(*faults: str) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The step with the named faults left in and the others mended."""

    def step(G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        late = "text late" in faults
        fake = torch.tanh(G.body(z)) + G.word(true) if late else torch.tanh(G.body(z) + G.word(true))

        def score(picture: Tensor, text: Tensor) -> Tensor:
            fit = (D.features(picture) * text).sum(1, keepdim=True)
            alone = D.alone(picture)
            return torch.sigmoid(alone) + fit if "fit late" in faults else alone + fit

        def log_real(x: Tensor) -> Tensor:  # log of the probability that x is real
            if "raw logarithm" not in faults and "small number" not in faults:
                return F.logsigmoid(x)
            p = x if "fit late" in faults else torch.sigmoid(x)
            return torch.log(p + 1e-8 if "small number" in faults else p)

        def log_fake(x: Tensor) -> Tensor:
            if "raw logarithm" not in faults and "small number" not in faults:
                return F.logsigmoid(-x)
            p = x if "fit late" in faults else torch.sigmoid(x)
            return torch.log(1 - p + 1e-8 if "small number" in faults else 1 - p)

        on_real, on_wrong, on_fake = score(real, true), score(real, wrong), score(fake, true)
        likely = log_real(on_real) + log_fake(on_fake) / 2
        if "no wrong captions" not in faults:
            likely = likely + log_fake(on_wrong) / 2
        loss_d = likely.mean() if "D's sign" in faults else -likely.mean()
        loss_g = log_real(on_fake).mean() if "G's sign" in faults else -log_real(on_fake).mean()
        return fake, loss_d, loss_g

    return step


PUBLISHED = ("text late", "fit late", "raw logarithm", "D's sign", "G's sign", "no wrong captions")


def _mended_misconceptions() -> tuple[Misconception, ...]:
    """Nothing mended; each fault alone; each two of them."""
    known = [
        Misconception(
            "nothing mended",
            listing(*PUBLISHED),
            "This gives what the listing gives: nothing is mended yet. Start with the first line. Which values can "
            "the pixels have?",
        )
    ]
    known += [Misconception(name, listing(name), f"One fault is left. {FAULTS[name]}") for name in FAULTS]
    for pair in itertools.combinations(FAULTS, 2):
        if pair not in (("raw logarithm", "small number"), ("fit late", "small number")):  # no others to look at
            sentence = f"Two faults are left. {FAULTS[pair[0]]} And: {FAULTS[pair[1]]}"
            known.append(Misconception(f"{pair[0]}, {pair[1]}", listing(*pair), sentence))
    return tuple(known)


def step_saturating(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    fake, loss_d, _ = listing()(G, D, real, true, wrong, z)
    on_fake = D.alone(fake) + (D.features(fake) * true).sum(1, keepdim=True)
    return fake, loss_d, -F.softplus(on_fake).mean()


def step_all_weigh_the_same(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    fake, loss_d, loss_g = listing()(G, D, real, true, wrong, z)
    on_fake, on_wrong = (
        D.alone(x) + (D.features(x) * c).sum(1, keepdim=True) for x, c in ((fake, true), (real, wrong))
    )
    return fake, loss_d + (F.softplus(on_fake) + F.softplus(on_wrong)).mean() / 2, loss_g


def step_fake_for_wrong(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    fake, _, loss_g = listing()(G, D, real, true, wrong, z)
    scores = [
        D.alone(x) + (D.features(x) * c).sum(1, keepdim=True) for x, c in ((real, true), (fake, true), (fake, wrong))
    ]
    on_real, on_fake, on_wrong = scores
    loss_d = F.softplus(-on_real).mean() + (F.softplus(on_fake).mean() + F.softplus(on_wrong).mean()) / 2
    return fake, loss_d, loss_g


def step_flat_fit(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    fake = torch.tanh(G.body(z) + G.word(true))

    def score(x: Tensor, c: Tensor) -> Tensor:
        return D.alone(x) + (D.features(x) * c).sum(1)  # (B, 1) + (B,) is (B, B)

    r, w, f = score(real, true), score(real, wrong), score(fake, true)
    loss_d = F.softplus(-r).mean() + (F.softplus(w).mean() + F.softplus(f).mean()) / 2
    return fake, loss_d, F.softplus(-f).mean()


def step_cut_off(G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    body, word = G.body(z).detach(), G.word(true).detach()
    cut = type(G)(body=lambda _: body, word=lambda _: word)
    return listing()(cut, D, real, true, wrong, z)


def step_with_cross_entropy(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    def score(x: Tensor, c: Tensor) -> Tensor:
        return D.alone(x)[:, 0] + torch.einsum("bk,bk->b", D.features(x), c)

    def cost(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    fake = (G.body(z) + G.word(true)).tanh()
    loss_d = cost(score(real, true), 1) + cost(score(real, wrong), 0) / 2 + cost(score(fake.detach(), true), 0) / 2
    return fake, loss_d, cost(score(fake, true), 1)


def step_in_one_batch(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    fake, n = torch.tanh(torch.add(G.word(true), G.body(z))), len(real)
    pictures, texts = torch.cat([real, real, fake]), torch.cat([true, wrong, true])
    logits = D.alone(pictures) + torch.linalg.vecdot(D.features(pictures), texts)[:, None]
    signs = torch.cat([torch.full((n, 1), 1.0), torch.full((2 * n, 1), -1.0)])
    weights = torch.cat([torch.full((n, 1), 1.0), torch.full((2 * n, 1), 0.5)])
    loss_d = -(weights * F.logsigmoid(signs * logits)).sum() / n
    return fake, loss_d, -F.logsigmoid(logits[2 * n :]).sum() / n


def step_row_by_row(
    G: Any, D: Any, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    zero = torch.zeros(1, 1)
    pictures, loss_d, loss_g = [], 0.0, 0.0
    for x, own, other, noise in zip(real, true, wrong, z, strict=True):
        fake = torch.tanh(G.body(noise[None]) + G.word(own[None]))
        logit = [D.alone(p) + D.features(p) @ c[:, None] for p, c in ((x[None], own), (x[None], other), (fake, own))]
        loss_d = loss_d + torch.logaddexp(zero, -logit[0]).sum()
        loss_d = loss_d + 0.5 * torch.logaddexp(zero, logit[1]).sum() + 0.5 * torch.logaddexp(zero, logit[2]).sum()
        loss_g = loss_g + torch.logaddexp(zero, -logit[2]).sum()
        pictures.append(fake)
    return torch.cat(pictures), loss_d / len(real), loss_g / len(real)


MENDED_STEP = Item(
    id="mended_step",
    title="Bug hunt: one step of a text-to-image GAN",
    points=5,
    answer="mended_step",
    probe=probe_mended_step,
    misconceptions=(
        *_mended_misconceptions(),
        Misconception(
            "saturating G",
            step_saturating,
            "All six faults are mended. G's loss is the logarithm of the probability of *fake*, which has hardly a "
            "slope while D is sure. The prompt asks for the other one, the non-saturating loss.",
        ),
        Misconception(
            "all weigh the same",
            step_all_weigh_the_same,
            "All six faults are mended. But both kinds of fake have the weight 1 in D's loss. The prompt gives each "
            "of them a half.",
        ),
        Misconception(
            "fakes with wrong captions",
            step_fake_for_wrong,
            "Your third case is a *drawn* picture with a wrong caption. D can call it fake without reading. Which "
            "picture forces it to read?",
        ),
        Misconception(
            "the fit lost an axis",
            step_flat_fit,
            "Your fit has the shape (B,), and what D says of the picture has (B, 1). Their sum is a table (B, B): "
            "every picture meets every text. Keep the axis when you add up.",
        ),
        Misconception(
            "G is cut off",
            step_cut_off,
            "The numbers are right, but loss_g has no slope in G: its picture is cut out of the graph. Only D's loss "
            "may use a picture that is cut off.",
        ),
    ),
    also_right=(step_with_cross_entropy, step_in_one_batch, step_row_by_row),
)

ITEMS: list[Item] = [MISMATCHED, GAN_CLS_D, CA_SAMPLE, AFFINE_FUSE, CAPTION_ACCURACY, MENDED_STEP]
