"""What is asked in exercises 05, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception

Pair = tuple[Tensor, Tensor]

# --------------------------------------------------------------------------------------------------- frechet


def probe_frechet(answer: Any, seed: int) -> dict[str, Any]:
    """Two pairs of clouds, the second with fewer vectors than features; the smallest sets; and what cannot be."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def cloud(n: int, size: int) -> torch.Tensor:
        x = torch.randn(n, size, generator=g, dtype=torch.float64)
        x = x @ (torch.randn(size, size, generator=g, dtype=torch.float64) + 0.6)
        return x - x.mean(0)

    for n, m, size in ((12, 9, 4), (5, 6, 13), (2, 2, 3)):
        shift = torch.randn(size, generator=g, dtype=torch.float64)
        shift = shift / shift.norm() * (2 + torch.rand(1, generator=g, dtype=torch.float64))
        middle = 2 * torch.randn(size, generator=g, dtype=torch.float64)
        got = answer(cloud(n, size) + middle, cloud(m, size) + middle + shift)
        kind = "complex" if isinstance(got, complex) or (torch.is_tensor(got) and got.is_complex()) else "real"
        value = float("nan") if kind == "complex" else float(got)
        said = "a complex number" if kind == "complex" else "not a number (NaN)"
        out[f"{n} and {m} vectors of {size}"] = value if value == value else said
    for (n, f), (m, h) in (((4, 3), (4, 5)), ((1, 3), (4, 3)), ((4, 3), (1, 3))):
        try:
            answer(cloud(n, f), cloud(m, h))
            out[f"{n} of length {f}, {m} of length {h}"] = "it returned something"
        except Exception as error:
            said = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[f"{n} of length {f}, {m} of length {h}"] = said
    return out


def _two(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1] or len(a) < 2 or len(b) < 2:
        raise ValueError("no two sets")


def _means(a: Tensor, b: Tensor) -> Tensor:
    return ((a.mean(0) - b.mean(0)) ** 2).sum()


def _root_trace(p: Tensor) -> Tensor:
    return torch.linalg.eigvals(p).real.clamp(min=0).sqrt().sum()


def frechet_variances(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    return _means(a, b) + ((a.std(0) - b.std(0)) ** 2).sum()


def frechet_without_root(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    return _means(a, b) + torch.trace(ca + cb - 2 * ca @ cb)


def frechet_without_two(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    return _means(a, b) + torch.trace(ca + cb) - _root_trace(ca @ cb)


def frechet_divides_by_n(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T, correction=0), torch.cov(b.T, correction=0)
    return _means(a, b) + torch.trace(ca + cb) - 2 * _root_trace(ca @ cb)


def frechet_length_of_means(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    return _means(a, b).sqrt() + torch.trace(ca + cb) - 2 * _root_trace(ca @ cb)


def frechet_entry_by_entry(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    return _means(a, b) + torch.trace(ca + cb - 2 * (ca @ cb).abs().sqrt())


def frechet_complex(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    return _means(a, b) + torch.trace(ca + cb) - 2 * torch.linalg.eigvals(ca @ cb).sqrt().sum()


def frechet_by_symmetric_root(a: Tensor, b: Tensor) -> Tensor:
    _two(a, b)
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    half = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    inner = torch.linalg.eigvalsh(half @ torch.cov(b.T) @ half).clamp(min=0).sqrt().sum()
    return _means(a, b) + a.var(0).sum() + b.var(0).sum() - 2 * inner


def frechet_by_singular_values(a: Tensor, b: Tensor) -> float:
    """The trace of the root is the nuclear norm of the product of two centred sets."""
    _two(a, b)
    x, y = (a - a.mean(0)).numpy() / np.sqrt(len(a) - 1), (b - b.mean(0)).numpy() / np.sqrt(len(b) - 1)
    spread = (x**2).sum() + (y**2).sum() - 2 * np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(spread + _means(a, b))


FRECHET = Item(
    id="frechet",
    title="Two clouds as two Gaussians",
    points=3,
    answer="frechet",
    probe=probe_frechet,
    misconceptions=(
        Misconception(
            "variances only",
            frechet_variances,
            "You compare the spread of each feature by itself. Two clouds, one stretched along a diagonal and one "
            "across it, would be equal. How two features vary together belongs to it.",
        ),
        Misconception(
            "no root",
            frechet_without_root,
            "You take the product of the covariances as it is. Of a set with itself the distance must be 0. Which step "
            "between the product and its trace is missing?",
        ),
        Misconception(
            "once instead of twice",
            frechet_without_two,
            "The trace of the root is subtracted once. Put the same set in twice: what should come out, and what does?",
        ),
        Misconception(
            "divides by N",
            frechet_divides_by_n,
            "Your covariances divide by the number of vectors, and come out too small. One degree of freedom went into "
            "the mean.",
        ),
        Misconception(
            "the length is not squared",
            frechet_length_of_means,
            "You add the distance of the means. The other terms are in squared units, so which power of that distance "
            "can be added to them?",
        ),
        Misconception(
            "the root entry by entry",
            frechet_entry_by_entry,
            "You take the root of each entry of the matrix. Multiply what you have by itself, as matrices: it is not "
            "the product that you started from.",
        ),
        Misconception(
            "a complex number",
            frechet_complex,
            "Your number is complex. The eigenvalues are real and not below 0 in truth; the imaginary parts and the "
            "negative ones come from rounding. Remove both before the root.",
        ),
    ),
    also_right=(frechet_by_symmetric_root, frechet_by_singular_values),
    rtol=1e-3,
    atol=1e-4,
)

# ------------------------------------------------------------------------------------------------------- kid


def probe_kid(answer: Any, seed: int) -> dict[str, Any]:
    """Two sources, one source, the smallest sets; and a set of one vector on either side."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def cloud(n: int, size: int) -> torch.Tensor:
        return 1.3 * torch.randn(n, size, generator=g, dtype=torch.float64) + 0.4

    for n, m, size, shift in ((8, 6, 5, 0.7), (7, 7, 3, 0.0), (2, 2, 4, 0.5)):
        out[f"{n} and {m} vectors of {size}"] = float(answer(cloud(n, size), cloud(m, size) + shift))
    for n, m in ((1, 4), (4, 1)):
        try:
            answer(cloud(n, 3), cloud(m, 3))
            out[f"{n} and {m} vectors"] = "it returned something"
        except Exception as error:
            out[f"{n} and {m} vectors"] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _pairs(a: Tensor, b: Tensor) -> None:
    if len(a) < 2 or len(b) < 2:
        raise ValueError("no pairs")


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _others(k: Tensor) -> Tensor:
    n = len(k)
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


def kid_keeps_diagonal(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    return _kernel(a, a).mean() + _kernel(b, b).mean() - 2 * _kernel(a, b).mean()


def kid_divides_by_all(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    ka, kb = (_kernel(x, x).fill_diagonal_(0) for x in (a, b))
    return ka.mean() + kb.mean() - 2 * _kernel(a, b).mean()


def kid_without_f(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    ka, kb, kab = ((x @ y.T + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    return _others(ka) + _others(kb) - 2 * kab.mean()


def kid_without_one(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    ka, kb, kab = ((x @ y.T / x.shape[1]) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    return _others(ka) + _others(kb) - 2 * kab.mean()


def kid_not_cubed(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    ka, kb, kab = (x @ y.T / x.shape[1] + 1 for x, y in ((a, a), (b, b), (a, b)))
    return _others(ka) + _others(kb) - 2 * kab.mean()


def kid_cross_once(a: Tensor, b: Tensor) -> Tensor:
    _pairs(a, b)
    return _others(_kernel(a, a)) + _others(_kernel(b, b)) - _kernel(a, b).mean()


def kid_no_check(a: Tensor, b: Tensor) -> Tensor:
    return _others(_kernel(a, a)) + _others(_kernel(b, b)) - 2 * _kernel(a, b).mean()


def kid_by_mask(a: Tensor, b: Tensor) -> float:
    _pairs(a, b)
    inside = [_kernel(x, x)[~torch.eye(len(x), dtype=torch.bool)].mean() for x in (a, b)]
    return float(sum(inside) - 2 * _kernel(a, b).mean())


def kid_pair_by_pair(a: Tensor, b: Tensor) -> float:
    _pairs(a, b)

    def mean(x: list[list[float]], y: list[list[float]], same: bool) -> float:
        found = [
            (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3
            for i, u in enumerate(x)
            for j, v in enumerate(y)
            if not (same and i == j)
        ]
        return sum(found) / len(found)

    x, y = a.tolist(), b.tolist()
    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


KID = Item(
    id="kid",
    title="A distance with no bias",
    points=2,
    answer="kid",
    probe=probe_kid,
    misconceptions=(
        Misconception(
            "keeps the diagonal",
            kid_keeps_diagonal,
            "You take the mean of the whole matrix, each vector paired with itself included. Those pairs are the most "
            "alike, so two sets of one source seem apart, and the more so the smaller they are.",
        ),
        Misconception(
            "divides by all places",
            kid_divides_by_all,
            "The pairs of a vector with itself are 0 in your sum, and yet you count their places when you divide. How "
            "many pairs of two different vectors are there?",
        ),
        Misconception(
            "F is missing",
            kid_without_f,
            "The product is not divided by the number of features. It grows with their number, and the third power "
            "grows faster still.",
        ),
        Misconception(
            "the 1 is missing",
            kid_without_one,
            "Your kernel has no constant in it. Then it has a third power alone, and the first and second powers of "
            "the product no longer count.",
        ),
        Misconception(
            "no third power",
            kid_not_cubed,
            "Your kernel is the product itself, to the first power. It sees a difference of the means and nothing "
            "else. What does the third power add?",
        ),
        Misconception(
            "once instead of twice",
            kid_cross_once,
            "You subtract the pairs across the two sets once. For two sets of one source all three means are about "
            "equal, and what is left over is not 0.",
        ),
        Misconception(
            "no check",
            kid_no_check,
            "The distance is right, but a set of one vector goes through and gives 0 divided by 0. Say so instead.",
        ),
    ),
    also_right=(kid_by_mask, kid_pair_by_pair),
)

# ------------------------------------------------------------------------------------------ precision_recall


def probe_precision_recall(answer: Any, seed: int) -> dict[str, Any]:
    """Narrow fakes, wide fakes, a grid with many distances alike, the smallest sets; and sets that are too small."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def cloud(n: int, size: int) -> torch.Tensor:
        return torch.randn(n, size, generator=g, dtype=torch.float64)

    def grid(n: int) -> torch.Tensor:
        return torch.randint(14, (n, 2), generator=g).double()

    batches = (
        ("narrow fakes, k = 2", cloud(24, 3), 0.5 * cloud(19, 3) + 0.6, 2),
        ("wide fakes, k = 3", cloud(21, 2), 2 * cloud(25, 2), 3),
        ("on a grid, k = 1", grid(22), grid(25), 1),
        ("on a grid, k = 2", grid(23), grid(20), 2),
        ("three and four, k = 2", cloud(3, 2), cloud(4, 2), 2),
    )
    for name, real, fake, k in batches:
        shares = answer(real, fake, k)
        for what, share in zip(("precision", "recall"), shares, strict=True):
            out[f"{what}, {name}"] = float(share)
    for n, m in ((2, 5), (5, 2)):
        try:
            answer(cloud(n, 2), cloud(m, 2), 2)
            out[f"{n} and {m} vectors, k = 2"] = "it returned something"
        except Exception as error:
            said = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[f"{n} and {m} vectors, k = 2"] = said
    return out


def _above(real: Tensor, fake: Tensor, k: int) -> None:
    if len(real) <= k or len(fake) <= k:
        raise ValueError("too small")


def _shares(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    balls = [torch.cdist(x, x).sort().values[:, k] for x in (real, fake)]
    return (across <= balls[0][:, None]).any(0).double().mean(), (across <= balls[1]).any(1).double().mean()


def shares_swapped(real: Tensor, fake: Tensor, k: int) -> Pair:
    precision, recall = _shares(real, fake, k)
    return recall, precision


def shares_counts_itself(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    return _shares(real, fake, k - 1)


def shares_balls_of_the_other(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    real_ball, fake_ball = (torch.cdist(x, x).sort().values[:, k] for x in (real, fake))
    return (across <= fake_ball).any(0).double().mean(), (across <= real_ball[:, None]).any(1).double().mean()


def shares_balls_across(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    real_ball, fake_ball = across.kthvalue(k, dim=1).values, across.kthvalue(k, dim=0).values
    return (across <= real_ball[:, None]).any(0).double().mean(), (across <= fake_ball).any(1).double().mean()


def shares_all_balls(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    real_ball, fake_ball = (torch.cdist(x, x).sort().values[:, k] for x in (real, fake))
    return (across <= real_ball[:, None]).all(0).double().mean(), (across <= fake_ball).all(1).double().mean()


def shares_of_pairs(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    real_ball, fake_ball = (torch.cdist(x, x).sort().values[:, k] for x in (real, fake))
    return (across <= real_ball[:, None]).double().mean(), (across <= fake_ball).double().mean()


def shares_without_border(real: Tensor, fake: Tensor, k: int) -> Pair:
    _above(real, fake, k)
    across = torch.cdist(real, fake)
    real_ball, fake_ball = (torch.cdist(x, x).sort().values[:, k] for x in (real, fake))
    return (across < real_ball[:, None]).any(0).double().mean(), (across < fake_ball).any(1).double().mean()


def shares_by_topk(real: Tensor, fake: Tensor, k: int) -> list[float]:
    _above(real, fake, k)

    def covered(centres: Tensor, points: Tensor) -> float:
        own = (centres[:, None] - centres[None]).pow(2).sum(2)
        reach = own.topk(k + 1, largest=False).values.amax(1)
        return float(((points[:, None] - centres[None]).pow(2).sum(2) <= reach).any(1).double().mean())

    return [covered(real, fake), covered(fake, real)]


def shares_one_by_one(real: Tensor, fake: Tensor, k: int) -> tuple[float, float]:
    _above(real, fake, k)

    def covered(centres: np.ndarray, points: np.ndarray) -> float:
        reach = []
        for i, centre in enumerate(centres):
            apart = np.linalg.norm(np.delete(centres, i, axis=0) - centre, axis=1)
            reach.append(np.sort(apart)[k - 1])
        hits = [any(np.linalg.norm(centres - p, axis=1) <= np.array(reach)) for p in points]
        return sum(hits) / len(hits)

    return covered(real.numpy(), fake.numpy()), covered(fake.numpy(), real.numpy())


PRECISION_RECALL = Item(
    id="precision_recall",
    title="Is it real, and is it all of it?",
    points=3,
    answer="precision_recall",
    probe=probe_precision_recall,
    misconceptions=(
        Misconception(
            "the two swapped",
            shares_swapped,
            "You have precision and recall the wrong way round. A generator that draws one good picture for ever has "
            "one of them high. Which?",
        ),
        Misconception(
            "its own neighbour",
            shares_counts_itself,
            "Your balls are too small by one neighbour. In the table of a set with itself, each vector has one entry "
            "of 0: who is that neighbour?",
        ),
        Misconception(
            "balls of the wrong set",
            shares_balls_of_the_other,
            "You let the judged vectors carry the balls. A single fake far outside then has a ball large enough to "
            "hold something real, and counts as good. Whose region is asked about?",
        ),
        Misconception(
            "neighbours across the sets",
            shares_balls_across,
            "Your balls reach to the k-th neighbour in the other set. Then each of them holds vectors of that set "
            "however far away it is. How large a ball is, the own set alone should say.",
        ),
        Misconception(
            "in all balls",
            shares_all_balls,
            "You ask for vectors that lie in every ball at once. To lie in the region, how many balls need to hold it?",
        ),
        Misconception(
            "a share of pairs",
            shares_of_pairs,
            "You give the share of pairs (vector, ball) that fit. Asked is a share of vectors, and one that lies in "
            "five balls counts no more than one that lies in one.",
        ),
        Misconception(
            "the border left out",
            shares_without_border,
            "You leave the border out of the ball. It changes nothing for most features, but the definition counts it "
            "in: a vector exactly as far away as the k-th neighbour lies inside.",
        ),
    ),
    also_right=(shares_by_topk, shares_one_by_one),
)

# --------------------------------------------------------------------------------------------- nearest_train


def probe_nearest_train(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches with a copy and a bright picture among the training ones; and pictures of another shape."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def pictures(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape, generator=g, dtype=torch.float64) - 1

    for n, m, high, wide in ((6, 9, 4, 5), (8, 5, 3, 3)):
        fake, train = pictures(n, 1, high, wide), pictures(m, 1, high, wide)
        bright, copied = torch.randperm(m, generator=g)[:2].tolist()
        copy = int(torch.randint(n, (1,), generator=g))
        train[bright] = train[bright] + 1.5
        train[copied] = 0.5 * train[copied] + 0.1
        fake[copy] = train[copied]
        index, distance = answer(fake, train)
        out[f"numbers, {n} fakes and {m} pictures"] = index.clone()
        out[f"distances, {n} fakes and {m} pictures"] = distance.clone()
    for first, second in (((1, 4, 2), (1, 2, 4)), ((2, 3, 3), (1, 3, 3))):
        name = f"{'x'.join(map(str, first))} and {'x'.join(map(str, second))}"
        try:
            answer(pictures(4, *first), pictures(3, *second))
            out[name] = "it returned something"
        except Exception as error:
            out[name] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _alike(fake: Tensor, train: Tensor) -> Pair:
    if list(fake.shape[1:]) != list(train.shape[1:]):
        raise ValueError("pictures of two shapes")
    return fake.reshape(len(fake), -1), train.reshape(len(train), -1)


def nearest_is_farthest(fake: Tensor, train: Tensor) -> Pair:
    apart = torch.cdist(*_alike(fake, train))
    return apart.argmax(1), apart.amax(1)


def nearest_over_fakes(fake: Tensor, train: Tensor) -> Pair:
    apart = torch.cdist(*_alike(fake, train))
    return apart.argmin(0), apart.amin(0)


def nearest_squared(fake: Tensor, train: Tensor) -> Pair:
    apart = torch.cdist(*_alike(fake, train))
    return apart.argmin(1), apart.amin(1) ** 2


def nearest_per_pixel(fake: Tensor, train: Tensor) -> Pair:
    _alike(fake, train)
    apart = (fake[:, None] - train[None]).pow(2).mean(dim=(2, 3, 4))
    return apart.argmin(1), apart.amin(1).sqrt()


def nearest_by_absolute(fake: Tensor, train: Tensor) -> Pair:
    f, t = _alike(fake, train)
    apart = (f[:, None] - t[None]).abs().sum(2)
    return apart.argmin(1), apart.amin(1)


def nearest_by_product(fake: Tensor, train: Tensor) -> Pair:
    f, t = _alike(fake, train)
    index = (f @ t.T).argmax(1)
    return index, (f - t[index]).norm(dim=1)


def nearest_to_itself(fake: Tensor, train: Tensor) -> Pair:
    f, _ = _alike(fake, train)
    apart = torch.cdist(f, f)
    return apart.argmin(1), apart.amin(1)


def nearest_by_difference(fake: Tensor, train: Tensor) -> Pair:
    _alike(fake, train)
    apart = (fake[:, None] - train[None]).pow(2).sum(dim=(2, 3, 4))
    return torch.argmin(apart, dim=1), torch.amin(apart, dim=1).sqrt()


def nearest_one_by_one(fake: Tensor, train: Tensor) -> Pair:
    _alike(fake, train)
    found = []
    for picture in fake:
        lengths = [torch.linalg.vector_norm(picture - other).item() for other in train]
        found.append((lengths.index(min(lengths)), min(lengths)))
    index, distance = zip(*found, strict=True)
    return torch.tensor(index), torch.tensor(distance, dtype=torch.float64)


NEAREST_TRAIN = Item(
    id="nearest_train",
    title="Drawn, or copied?",
    points=2,
    answer="nearest_train",
    probe=probe_nearest_train,
    misconceptions=(
        Misconception(
            "the farthest one",
            nearest_is_farthest,
            "You find the training picture that is farthest away. A distance is small where two pictures are alike.",
        ),
        Misconception(
            "along the wrong side",
            nearest_over_fakes,
            "You search for each training picture the nearest fake. Asked is the other way round: how many answers "
            "should there be, one for each what?",
        ),
        Misconception(
            "squared",
            nearest_squared,
            "You found the right pictures, and give the distances squared. The order does not care, the length does.",
        ),
        Misconception(
            "a mean over the pixels",
            nearest_per_pixel,
            "You found the right pictures, but your distance is the root of a mean over the pixels. The Euclidean "
            "length of a difference adds up all of its squares.",
        ),
        Misconception(
            "absolute differences",
            nearest_by_absolute,
            "You add up the absolute differences of the pixels. That is a distance, but not the Euclidean one: a "
            "single large difference should weigh more than many small ones.",
        ),
        Misconception(
            "by the inner product",
            nearest_by_product,
            "You take the training picture with the largest product. A bright picture has a large product with much "
            "that it does not resemble; even a copy need not find its own original.",
        ),
        Misconception(
            "with itself",
            nearest_to_itself,
            "Each fake finds itself, at the distance 0. The table must have the fakes on one side and the training "
            "pictures on the other.",
        ),
    ),
    also_right=(nearest_by_difference, nearest_one_by_one),
)

# ---------------------------------------------------------------------------------------------- bootstrap_ci


def probe_bootstrap_ci(answer: Any, seed: int) -> dict[str, Any]:
    """Two sets of lopsided values and one of two values, each with its level; and levels that are none."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for n, rounds, level in ((9, 60, 0.9), (14, 45, 0.8), (5, 37, 0.5)):
        values = torch.randn(n, generator=g, dtype=torch.float64).exp() + 2
        ends = answer(values, rounds, level, torch.Generator().manual_seed(seed // 2 + n))
        for what, end in zip(("lower", "upper"), ends, strict=True):
            out[f"{what} end, {n} values, level {level}"] = float(end)
    for level in (0.0, 1.0, -0.5, 1.5):
        try:
            answer(values, 20, level, torch.Generator().manual_seed(3))
            out[f"level {level}"] = "it returned something"
        except Exception as error:
            out[f"level {level}"] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _between(level: float) -> None:
    if level <= 0 or level >= 1:
        raise ValueError("no level")


def _means_anew(values: Tensor, rounds: int, g: torch.Generator) -> Tensor:
    return values[torch.randint(len(values), (rounds, len(values)), generator=g)].mean(1)


def interval_without_replacement(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    means = torch.stack([values[torch.randperm(len(values), generator=g)].mean() for _ in range(rounds)])
    return means.quantile((1 - level) / 2), means.quantile((1 + level) / 2)


def interval_cuts_twice(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    means = _means_anew(values, rounds, g)
    return means.quantile(1 - level), means.quantile(level)


def interval_by_standard_error(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    means = _means_anew(values, rounds, g)
    reach = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2)) * means.std()
    return values.mean() - reach, values.mean() + reach


def interval_of_extremes(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    means = _means_anew(values, rounds, g)
    return means.amin(), means.amax()


def interval_of_values(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    return values.quantile((1 - level) / 2), values.quantile((1 + level) / 2)


def interval_of_one_resample(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    anew = values[torch.randint(len(values), (len(values),), generator=g)]
    return anew.quantile((1 - level) / 2), anew.quantile((1 + level) / 2)


def interval_of_columns(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    means = values[torch.randint(len(values), (rounds, len(values)), generator=g)].mean(0)
    return means.quantile((1 - level) / 2), means.quantile((1 + level) / 2)


def interval_by_numpy(values: Tensor, rounds: int, level: float, g: torch.Generator) -> tuple[float, float]:
    _between(level)
    drawn = torch.randint(0, len(values), (rounds, len(values)), generator=g).numpy()
    low, high = np.percentile(values.numpy()[drawn].mean(axis=1), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def interval_by_sorting(values: Tensor, rounds: int, level: float, g: torch.Generator) -> Pair:
    _between(level)
    drawn = torch.randint(len(values), (rounds, len(values)), generator=g)
    means = values.expand(rounds, -1).gather(1, drawn).sum(1).div(len(values)).sort().values

    def at(share: float) -> Tensor:
        place = share * (rounds - 1)
        below = int(place)
        return means[below] + (place - below) * (means[min(below + 1, rounds - 1)] - means[below])

    return at((1 - level) / 2), at((1 + level) / 2)


BOOTSTRAP_CI = Item(
    id="bootstrap_ci",
    title="How sure is a mean?",
    points=2,
    answer="bootstrap_ci",
    probe=probe_bootstrap_ci,
    misconceptions=(
        Misconception(
            "without replacement",
            interval_without_replacement,
            "Each of your resamples is the values in another order. All of them have the same mean, and your interval "
            "has no width. May a value be drawn twice?",
        ),
        Misconception(
            "cut off on both sides",
            interval_cuts_twice,
            "You cut off the whole rest below and the whole rest above. At the level 0.9 your interval holds 80 of 100 "
            "means. How is the rest to be shared?",
        ),
        Misconception(
            "by the standard error",
            interval_by_standard_error,
            "You use the spread of the means and the curve of a Gaussian, so both ends are equally far from the "
            "middle. The means here need not be Gaussian; their own ranks give the ends.",
        ),
        Misconception(
            "the extremes",
            interval_of_extremes,
            "You give the smallest and the largest mean. That interval grows with the number of rounds, and the level "
            "has no say in it.",
        ),
        Misconception(
            "quantiles of the values",
            interval_of_values,
            "You give the range in which single values lie. It does not shrink when more of them are measured. Asked "
            "is where their mean lies.",
        ),
        Misconception(
            "one resample for all",
            interval_of_one_resample,
            "You draw once, and take quantiles of the values drawn. Of one resample there is one mean. How many are "
            "needed to see how a mean varies?",
        ),
        Misconception(
            "means along the wrong side",
            interval_of_columns,
            "You take the means along the rounds: one for each column, over as many values as there are rounds. A "
            "resample is a row, of n values.",
        ),
    ),
    also_right=(interval_by_numpy, interval_by_sorting),
)

ITEMS: list[Item] = [FRECHET, KID, PRECISION_RECALL, NEAREST_TRAIN, BOOTSTRAP_CI]
