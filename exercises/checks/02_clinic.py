"""What is asked in exercises 02, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception
from mmcourse.ring import Log

# --------------------------------------------------------------------------------------------- modes_covered


def probe_modes_covered(answer: Any, seed: int) -> dict[str, Any]:
    """Eight clouds round centres in a row. Some modes hold just enough points, some one too few; some points lie on an
    edge, and some outside of a small disc but inside a larger one farther away."""
    import random

    import torch

    rng = random.Random(seed)
    out = {}
    for n, need in ((64, 4), (64, 4), (128, 8), (64, 4), (64, 4), (128, 8), (64, 4), (64, 4)):
        more = rng.randint(0, 5)
        sizes = [5, 5, 2, 9, 5, 2, 9, 5, 5] + [5] * more  # the radii, from left to right; the centres lie 12 apart
        x0, y0 = rng.randint(-60, 0), rng.randint(-20, 20)
        held = {0: need, 1: need, 3: need - 1, 4: need + 2, 5: 1, 6: need, 7: need - 1, 8: need - 1}
        held |= {mode: rng.choice([0, 1, need]) for mode in range(9, 9 + more)}
        places = []
        for mode, count in held.items():
            for i in range(count):
                if i == 0 and mode in (1, 5):  # exactly on the edge
                    places.append((mode, *((3, 4) if mode == 1 else (0, 2))))
                else:
                    places.append((mode, *[0.5 * sizes[mode] * rng.uniform(-1, 1) for _ in range(2)]))
        places += [(2, 4, 0), (5, 4, 0)] * need  # outside of a small disc, inside of the large one next to it
        places += [(mode, 0, rng.uniform(10, 40)) for mode in (3, 7, 8)]  # nearest to a centre, and outside
        while len(places) < n:
            places.append((rng.choice([2, 7, 8]), rng.uniform(-3, 3), rng.uniform(30, 60)))
        rng.shuffle(places)
        spots = torch.tensor([(x0 + 12.0 * mode + dx, float(y0 + dy)) for mode, dx, dy in places])
        order = torch.tensor(rng.sample(range(len(sizes)), len(sizes)))
        centres = torch.tensor([[float(x0 + 12 * m), float(y0)] for m in range(len(sizes))])[order]
        radii = torch.tensor(sizes, dtype=torch.float32)[order]
        name = f"cloud {len(out) + 1}, {n} points, at least 1/{n // need}"
        out[name] = int(answer(spots, centres, radii, need / n))
    return out


def _near(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    distance = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    closest, nearest = distance.min(1)
    return closest, nearest


def _counts(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    closest, nearest = _near(points, centres)
    return torch.bincount(nearest[closest <= radii[nearest]], minlength=len(centres))


def modes_touched(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    return int((_counts(points, centres, radii) > 0).sum())


def modes_more_than_least(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    return int((_counts(points, centres, radii) > least * len(points)).sum())


def modes_of_good_points(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    counts = _counts(points, centres, radii)
    return int((counts >= least * counts.sum()).sum())


def modes_in_any_disc(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    inside = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist") <= radii  # (N, M)
    return int((inside.sum(0) >= least * len(points)).sum())


def modes_without_radius(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    return int((torch.bincount(_near(points, centres)[1]) >= least * len(points)).sum())


def modes_inside_only(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    closest, nearest = _near(points, centres)
    return int((torch.bincount(nearest[closest < radii[nearest]]) >= least * len(points)).sum())


def modes_squared(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    closest, nearest = _near(points, centres)
    return int((torch.bincount(nearest[closest**2 <= radii[nearest]]) >= least * len(points)).sum())


def modes_one_radius(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    return int((_counts(points, centres, radii.mean().expand_as(radii)) >= least * len(points)).sum())


def modes_in_a_loop(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    held = [0] * len(centres)
    for point in points.tolist():
        far = [math.dist(point, centre) for centre in centres.tolist()]
        best = far.index(min(far))
        held[best] += far[best] <= radii[best].item()
    return sum(count / len(points) >= least for count in held)


def modes_by_one_hot(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> Tensor:
    square = (points[:, None, :] - centres[None, :, :]).double().pow(2).sum(2)  # (N, M)
    mine = torch.nn.functional.one_hot(square.argmin(1), len(centres)).bool() & (square <= radii.double() ** 2)
    return (mine.double().mean(0) >= least).sum()


MODES_COVERED = Item(
    id="modes_covered",
    title="How many modes are covered?",
    points=2,
    answer="modes_covered",
    probe=probe_modes_covered,
    misconceptions=(
        Misconception(
            "any touch",
            modes_touched,
            "You count a mode as soon as one point lies in it. Strewn points touch every mode by chance. `least` says "
            "how many a mode needs.",
        ),
        Misconception(
            "more than the least",
            modes_more_than_least,
            "A mode that holds exactly the share `least` is left out. The prompt says: at least.",
        ),
        Misconception(
            "a share of the good points",
            modes_of_good_points,
            "Your share is taken of the points that lie in some mode. The fewer good points there are, the easier it "
            "becomes. The prompt takes the share of all points.",
        ),
        Misconception(
            "any disc",
            modes_in_any_disc,
            "A point counts for every disc that it lies in. Near a small disc it may be outside of that one and inside "
            "of a larger one farther away. Which centre does it belong to?",
        ),
        Misconception(
            "no radius",
            modes_without_radius,
            "Every point counts for its nearest centre, however far away it is. What is `radii` for?",
        ),
        Misconception(
            "the edge is outside",
            modes_inside_only,
            "A point whose distance equals the radius is left out. The prompt says: at most.",
        ),
        Misconception(
            "a squared distance",
            modes_squared,
            "You compare a squared distance with a radius. Either take the root, or square both.",
        ),
        Misconception(
            "one radius for all",
            modes_one_radius,
            "All your modes have one radius, the mean. Each centre has a radius of its own; look up the one of the "
            "nearest centre.",
        ),
    ),
    also_right=(modes_in_a_loop, modes_by_one_hot),
)

# ------------------------------------------------------------------------------------------------ good_share


def probe_good_share(answer: Any, seed: int) -> dict[str, Any]:
    """Four clouds with points on edges, in a larger disc farther away, and not finite; and a cloud without points."""
    import random

    import torch

    rng = random.Random(seed)
    sizes = [5, 5, 2, 9, 5, 2, 9, 5]
    out: dict[str, Any] = {}
    for kind in ("finite", "on edges", "some not finite", "few"):
        x0, y0 = rng.randint(-40, 0), rng.randint(-20, 20)
        places = []
        for _ in range(rng.randint(5, 9) if kind == "few" else rng.randint(20, 50)):
            mode = rng.choice([0, 1, 3, 4, 6])
            places.append((mode, *[0.3 * sizes[mode] * rng.uniform(-1, 1) for _ in range(2)]))
        places += [(2, 4.0, 0.0)] * rng.randint(2, 4)  # outside of the small disc 2, inside of the large disc 3
        places += [(rng.randint(0, 7), 0.0, rng.uniform(10, 30)) for _ in range(rng.randint(3, 12))]
        if kind == "on edges":
            places += [(0, 3.0, 4.0), (3, 0.0, -9.0), (5, -2.0, 0.0), (5, 0.0, 2.0)]
        spots = [(x0 + 12 * mode + dx, y0 + dy) for mode, dx, dy in places]
        if kind == "some not finite":
            bad = [(float("nan"), 0.0), (float("inf"), float(y0)), (float("-inf"), float("nan"))]
            spots += bad * rng.randint(1, 4)
        rng.shuffle(spots)
        order = torch.tensor(rng.sample(range(8), 8))
        centres = torch.tensor([[float(x0 + 12 * m), float(y0)] for m in range(8)])[order]
        radii = torch.tensor(sizes, dtype=torch.float32)[order]
        out[f"cloud of {len(spots)} points, {kind}"] = float(answer(torch.tensor(spots), centres, radii))
    try:
        out["no points"] = f"it returned {float(answer(torch.zeros(0, 2), centres, radii))}"
    except Exception as error:
        out["no points"] = "it raised ValueError" if type(error) is ValueError else f"it raised {type(error).__name__}"
    return out


def _some(points: Tensor) -> None:
    if len(points) == 0:
        raise ValueError("no points")


def share_of_modes(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    return float((_counts(points, centres, radii) > 0).float().mean())


def share_in_any_disc(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    inside = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist") <= radii
    return float(inside.any(1).float().mean())


def share_of_finite_points(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    kept = points[points.isfinite().all(1)]
    return float(_counts(kept, centres, radii).sum()) / len(kept)


def share_as_a_count(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    return float(_counts(points, centres, radii).sum())


def share_in_percent(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    return 100 * float(_counts(points, centres, radii).sum()) / len(points)


def share_over_modes(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    return float((_counts(points, centres, radii) / len(points)).mean())


def share_inside_only(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    closest, nearest = _near(points, centres)
    return float((closest < radii[nearest]).float().mean())


def share_with_one_radius(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    return share_by_counting(points, centres, radii.mean().expand_as(radii))


def share_squared(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    _some(points)
    closest, nearest = _near(points, centres)
    return float((closest**2 <= radii[nearest]).float().mean())


def share_without_points(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    return share_by_counting(points, centres, radii) if len(points) else 0.0


def share_by_counting(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    if not len(points):
        raise ValueError("a share of nothing")
    good = 0
    for point in points.tolist():
        if all(math.isfinite(value) for value in point):
            far = [math.dist(point, centre) for centre in centres.tolist()]
            good += min(far) <= radii[far.index(min(far))].item()
    return good / len(points)


def share_by_gather(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    if points.shape[0] < 1:
        raise ValueError("expected points")
    x = points.double().nan_to_num(1e6, 1e6, -1e6)
    square = (x[:, None] - centres.double()).square().sum(-1)
    nearest = square.argmin(1, keepdim=True)
    return (square.gather(1, nearest)[:, 0] <= radii.double()[nearest[:, 0]].square()).double().mean()


GOOD_SHARE = Item(
    id="good_share",
    title="How many samples are good?",
    points=2,
    answer="good_share",
    probe=probe_good_share,
    misconceptions=(
        Misconception(
            "a share of the modes",
            share_of_modes,
            "You give the share of the modes that are hit, a recall. A G that draws one perfect mode would get one "
            "eighth. Here each point is judged, whatever mode it lies in.",
        ),
        Misconception(
            "any disc",
            share_in_any_disc,
            "A point is good for you as soon as it lies in some disc. It belongs to its nearest centre, and only that "
            "centre's radius counts. Discs overlap.",
        ),
        Misconception(
            "without the points that are not finite",
            share_of_finite_points,
            "You leave out the points that are infinite or not a number. A G that diverges then looks better than it "
            "is. They are samples, and bad ones.",
        ),
        Misconception(
            "a count",
            share_as_a_count,
            "This is the number of good points. A share lies between 0 and 1, whatever the number of points is.",
        ),
        Misconception(
            "a percentage",
            share_in_percent,
            "This is a percentage. The docstring asks for a number from 0 to 1.",
        ),
        Misconception(
            "a mean over modes",
            share_over_modes,
            "You average over the modes, so the number shrinks as there are more centres. Over what should the mean of "
            "good and bad run?",
        ),
        Misconception(
            "the edge is outside",
            share_inside_only,
            "A point whose distance equals the radius is bad for you. Exercise 1 says: at most the radius.",
        ),
        Misconception(
            "one radius for all",
            share_with_one_radius,
            "All your modes have one radius, the mean. Each centre has a radius of its own; look up the one of the "
            "nearest centre.",
        ),
        Misconception(
            "a squared distance",
            share_squared,
            "You compare a squared distance with a radius. Either take the root, or square both.",
        ),
        Misconception(
            "nothing has a share of 0",
            share_without_points,
            "Without any points you return 0, as if a G had drawn and everything were bad. Nothing was drawn. The "
            "prompt asks for an error.",
        ),
    ),
    also_right=(share_by_counting, share_by_gather),
)

# -------------------------------------------------------------------------------------------------- diagnose


def probe_diagnose(answer: Any, seed: int) -> dict[str, Any]:
    """Made-up logs in a random order, noise and all: every illness twice, thresholds met exactly, strange first halves
    and last rows, and losses that fit another illness."""
    import random

    from mmcourse.ring import Log

    rng = random.Random(seed)

    def made(modes, accuracy, real, fake, d=None, first=(8, 0.6, 0.2, -0.2), last=None, odd=False, good=None):
        """A log whose second half goes round the given numbers; each may be a list that is walked through."""
        n = 2 * rng.randint(6, 10) + odd
        rows = []
        for i in range(n):
            late = i >= n // 2
            values = (modes, accuracy, real, fake) if late else first
            now = [v[(i - late * (n // 2)) % len(v)] if isinstance(v, list) else v for v in values]
            if last is not None and i == n - 1:
                now = list(last)
            row = {"step": 100 * (i + 1), "d": rng.uniform(0.2, 2.0) if d is None else d + rng.uniform(-0.01, 0.01)}
            row |= {"g": rng.uniform(0.3, 3.0), "penalty": 0.0, "real_logit": now[2], "fake_logit": now[3]}
            row |= {"accuracy": now[1], "modes": now[0], "good": rng.uniform(0, 1) if good is None else good}
            rows.append(row)
        return rows

    def around(centre, width):
        """Five numbers with a median of ``centre``."""
        return rng.sample([centre, centre + width, centre - width, centre + 2 * width, centre - 2 * width], 5)

    sick, swing = (0, 0.7, 0.1, -0.1), [0.3, 0.7]
    logs = [
        made(8, around(0.85, 0.01), 0.4, -0.4, d=1.1, first=sick),
        made([7, 7, 7, 8, 0], 0.6, 2.0, -2.0, first=sick, last=(0, 1.0, 9.0, -9.0)),
        made([6, 6, 6, 8, 0], 0.6, 0.3, -0.3, d=1.386, good=0.9),
        made(3, around(0.9, 0.01), 5.0, -5.0, first=sick),
        made(0, 1.0, around(10.0, 1.0), around(-10.0, 1.0), d=0.0, good=0.0),
        made([0, 1], 0.98, 0.2, -0.2),
        made([2, 2, 1], around(0.9, 0.02), around(20.0, 2.0), around(-2.0, 0.1), d=0.35, good=0.97),
        made(1, [0.8, 0.8, 0.8, 0.2, 0.99], 0.3, -0.3, last=(8, 0.5, 0.1, -0.1)),
        made([0, 1, 2], around(0.5, 0.02), around(12.0, 1.0), around(-11.0, 1.0), d=1.386),
        made([1, 0], swing, -1.0, -1.0, d=1.386),
        made(2, [0.4, 0.6], [1.5, 1.5, 1.5], [0.7, 0.7, -0.7]),
        made(1, swing, around(0.03, 0.01), around(-0.05, 0.01), d=1.386, first=(8, 0.99, 30.0, -30.0)),
        made([1, 0], [0.5, 0.49], [0.9, -0.9], [-0.9, 0.9], odd=True),
        made(2, [0.75, 0.45, 0.75, 0.75, 0.75], 0.3, 0.4, last=(8, 0.99, 9.0, 9.0), d=0.4),
        made(1, [0.6, 0.6, 0.6, 0.6, 0.45, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], 0.1, -0.1, first=(0, swing, 0.1, -0.1)),
        made(1, [0.6, 0.6, 0.45, 0.6, *[0.45] * 7], 0.1, -0.1),
        made(0, around(0.55, 0.01), 0.9, -0.9, first=(0, swing, 0.1, -0.1), d=1.386),
        made([2, 1], around(0.45, 0.01), 0.2, 0.1),
        made(8, 0.62, 0.4, -0.4, d=1.1, good=0.8),
        made(0, 0.5, 0.1, 0.1, d=1.386),
    ]
    logs[-2][1]["g"] = float("nan")
    logs[-1][-1]["d"] = float("inf")
    rng.shuffle(logs)
    return {f"log {i}": str(answer(Log({}, rows))) for i, rows in enumerate(logs, 1)}


Median = Callable[[list[float]], float]


def _rules(
    log: Log,
    *,
    half: Callable[[list[Any]], list[Any]] = lambda rows: rows[len(rows) // 2 :],
    middle: Median = statistics.median,
    size: Callable[[dict[str, float]], float] = lambda r: (abs(r["real_logit"]) + abs(r["fake_logit"])) / 2,
    order: tuple[str, ...] = ("healthy", "unfinished", "won", "stuck", "runaway", "wandering"),
    finite: bool = True,
    turns: int = 3,
    everywhere: bool = False,
) -> str:
    """The rules as asked, with one place to go wrong in."""
    if finite and not all(math.isfinite(v) for name in ("d", "g") for v in log.column(name)):
        return "diverged"
    rows = half(log.rows)
    modes, accuracy = (middle([row[name] for row in rows]) for name in ("modes", "accuracy"))
    signs = [row["accuracy"] >= 0.5 for row in (log.rows if everywhere else rows)]
    fits = {
        "healthy": modes >= 7,
        "unfinished": modes >= 3,
        "won": accuracy >= 0.98,
        "stuck": accuracy >= 0.8,
        "runaway": middle([size(row) for row in rows]) >= 1,
        "wandering": sum(signs[i] != signs[i - 1] for i in range(1, len(signs))) >= turns,
    }
    return next((name for name in order if fits[name]), "slow")


def diagnosis_by_loss(log: Log) -> str:
    d = log.column("d")
    if not all(map(math.isfinite, d)):
        return "diverged"
    loss = statistics.median(d[len(d) // 2 :])
    return "won" if loss < 0.1 else "stuck" if loss < 0.8 else "healthy" if loss < 1.45 else "wandering"


def diagnosis_of_last_row(log: Log) -> str:
    return _rules(log, half=lambda rows: rows[-1:])


def diagnosis_of_all_rows(log: Log) -> str:
    return _rules(log, half=lambda rows: rows)


def diagnosis_of_first_half(log: Log) -> str:
    return _rules(log, half=lambda rows: rows[: len(rows) // 2])


def diagnosis_by_mean(log: Log) -> str:
    return _rules(log, middle=statistics.fmean)


def diagnosis_by_best(log: Log) -> str:
    return _rules(log, middle=max)


def diagnosis_with_signs(log: Log) -> str:
    return _rules(log, size=lambda r: (r["real_logit"] + r["fake_logit"]) / 2)


def diagnosis_by_gap(log: Log) -> str:
    return _rules(log, size=lambda r: r["real_logit"] - r["fake_logit"])


def diagnosis_d_first(log: Log) -> str:
    return _rules(log, order=("won", "stuck", "runaway", "healthy", "unfinished", "wandering"))


def diagnosis_logits_first(log: Log) -> str:
    return _rules(log, order=("healthy", "unfinished", "runaway", "won", "stuck", "wandering"))


def diagnosis_never_won(log: Log) -> str:
    return _rules(log, order=("healthy", "unfinished", "stuck", "won", "runaway", "wandering"))


def diagnosis_never_slow(log: Log) -> str:
    return _rules(log, turns=0)


def diagnosis_turns_everywhere(log: Log) -> str:
    return _rules(log, everywhere=True)


def diagnosis_without_divergence(log: Log) -> str:
    return _rules(log, finite=False)


def diagnosis_of_good(log: Log) -> str:
    if not all(math.isfinite(v) for name in ("d", "g") for v in log.column(name)):
        return "diverged"
    good = log.column("good")
    if statistics.median(good[len(good) // 2 :]) >= 0.5:
        return "healthy"
    return _rules(log)


def diagnosis_by_columns(log: Log) -> str:
    import numpy as np

    columns = {name: np.array(log.column(name)) for name in log.rows[0]}
    if not np.isfinite([columns["d"], columns["g"]]).all():
        return "diverged"
    late = {name: values[len(values) // 2 :] for name, values in columns.items()}
    size = np.median((np.abs(late["real_logit"]) + np.abs(late["fake_logit"])) / 2)
    modes, accuracy = np.median(late["modes"]), np.median(late["accuracy"])
    crossings = np.count_nonzero(np.diff((late["accuracy"] < 0.5).astype(int)))
    tests = [modes >= 7, modes >= 3, accuracy >= 0.98, accuracy >= 0.8, size >= 1, crossings >= 3, True]
    return ["healthy", "unfinished", "won", "stuck", "runaway", "wandering", "slow"][tests.index(True)]


def diagnosis_in_a_loop(log: Log) -> str:
    return _rules(log)


DIAGNOSE = Item(
    id="diagnose",
    title="What ails this run?",
    points=3,
    answer="diagnose",
    probe=probe_diagnose,
    misconceptions=(
        Misconception(
            "reads the loss",
            diagnosis_by_loss,
            "You read D's loss. A wanderer's lies at 2 ln 2 and looks ideal, and other games have other losses. Which "
            "columns do the rules name?",
        ),
        Misconception(
            "reads the good share",
            diagnosis_of_good,
            "You call a run healthy because its samples are good. A stuck G draws one mode perfectly. The second rule "
            "names another column.",
        ),
        Misconception(
            "the last row alone",
            diagnosis_of_last_row,
            "You look at the last row alone. A run jumps from row to row, and a healthy one may have a bad moment at "
            "the end. Look at half of the rows.",
        ),
        Misconception(
            "all rows",
            diagnosis_of_all_rows,
            "You take all rows. The beginning of a run is always strange, and says little about where it went. Which "
            "rows does the prompt leave out?",
        ),
        Misconception(
            "the first half",
            diagnosis_of_first_half,
            "You take the first half of the rows, where the run has hardly begun. Which side of the colon should the "
            "middle stand on?",
        ),
        Misconception(
            "a mean",
            diagnosis_by_mean,
            "You take means. One wild row moves a mean far. The prompt asks for the median.",
        ),
        Misconception(
            "the largest value",
            diagnosis_by_best,
            "You take the largest value of each column, so a run is judged by its best moment. A wanderer passes "
            "through good places, too.",
        ),
        Misconception(
            "logits with their signs",
            diagnosis_with_signs,
            "You add the logits with their signs. 10 on real and -10 on fakes then make 0, and two large negative ones "
            "look small. How far from 0 is each?",
        ),
        Misconception(
            "the gap between the logits",
            diagnosis_by_gap,
            "You take the gap between the two logits. A runaway's logits drift away together and the gap stays small. "
            "Size means how far each lies from 0.",
        ),
        Misconception(
            "D before the modes",
            diagnosis_d_first,
            "You ask about D before you ask whether the run is sick at all. A run that covers the modes is healthy, "
            "however sure its D is. The order of the rules matters.",
        ),
        Misconception(
            "logits before accuracy",
            diagnosis_logits_first,
            "You ask for the size of the logits before the accuracy. A D that has won has large logits as well; the "
            "first rule that fits gives the name.",
        ),
        Misconception(
            "never won",
            diagnosis_never_won,
            "Your answer is never `won`: whatever is at least 0.98 is at least 0.8, too, and you ask for that first.",
        ),
        Misconception(
            "never slow",
            diagnosis_never_slow,
            "What fits none of your other rules is always a wanderer. Patient F would still be called so. Count how "
            "often the accuracy turns.",
        ),
        Misconception(
            "turns of the whole log",
            diagnosis_turns_everywhere,
            "You count the turns of the accuracy in the whole log. It swings at the start of many runs. The rule "
            "speaks of a part of the rows.",
        ),
        Misconception(
            "divergence not seen",
            diagnosis_without_divergence,
            "A loss that is infinite or not a number goes unnoticed. Such a run is over, whatever its other columns "
            "say, and the row may stand anywhere in the log.",
        ),
    ),
    also_right=(diagnosis_by_columns, diagnosis_in_a_loop),
)

# ------------------------------------------------------------------------------------------------------ cure


def probe_cure(answer: Any, seed: int) -> dict[str, Any]:
    """Runs that need each of the cures, that need two, that need none, and some exactly at the border."""
    import random

    rng = random.Random(seed)
    games = ["non_saturating", "minimax", "hinge", "relativistic"]
    base = 2.0 ** -rng.randint(8, 11)  # a power of two, so that borders are exact

    def config(game, penalty, lr_g, lr_d, d_steps):
        more = {"batch": rng.choice([64, 128, 256]), "seed": rng.randint(0, 999), "gamma": rng.choice([0.1, 1.0])}
        return {"game": game, "penalty": penalty, "lr_g": lr_g, "lr_d": lr_d, "d_steps": d_steps, **more}

    def game():
        return rng.choice(games)

    up = rng.uniform(4, 20)
    cases = {
        "D slow": config(game(), "none", up * base, base, 1),
        "D slow, with R1": config(game(), "r1", 7 * up * base, base, rng.choice([2, 4])),
        "D slow, but many steps": config(game(), "none", 10 * base, base, rng.choice([5, 8])),
        "G slow": config(game(), "none", base / up, base, 1),
        "G slow by D's steps": config(game(), "r1", base, rng.uniform(0.9, 1.1) * base, rng.choice([4, 5, 8])),
        "runaway": config("wasserstein", "none", base, base * rng.uniform(0.9, 1.1), 1),
        "runaway, and G slow": config("wasserstein", "none", base / up, base, 2),
        "runaway, and D slow": config("wasserstein", "none", up * base, base, 1),
        "wasserstein with R1, D slow": config("wasserstein", "r1", up * base, base, 1),
        "wasserstein with a penalty": config("wasserstein", "wgan-gp", base, base, 1),
        "nothing wrong": config(game(), "none", base, base * rng.uniform(0.9, 1.1), 1),
        "nothing wrong, with R1": config(game(), "r1", base, base * rng.uniform(1.2, 1.6), 1),
        "G just three times as fast": config(game(), "none", 3 * base, base, 1),
        "D just three times as fast": config(game(), "none", base, base, 3),
        "G a little more than that": config(game(), "none", rng.uniform(3.2, 3.8) * base, base, 1),
        "D a little more than that": config(game(), "none", base, rng.uniform(3.2, 3.8) * base, 1),
    }
    out: dict[str, Any] = {}
    spoiled = []
    for name, given in cases.items():
        before = dict(given)
        got = answer(given)
        plain = {k: v if isinstance(v, str) else float(v) for k, v in got.items()} if isinstance(got, dict) else {}
        out[name] = plain or f"a {type(got).__name__}"
        if given != before:
            spoiled.append(name)
    out["inputs that were changed"] = ", ".join(spoiled) or "none"
    return out


def _cured(config: dict[str, Any], **how: Any) -> dict[str, Any]:
    """The cure as asked for; ``how`` names what is done otherwise."""
    new, steps = dict(config), config["d_steps"] if how.get("steps", True) else 1
    pace = config["lr_d"] * steps
    runs_away = config["game"] == "wasserstein" and config["penalty"] == "none"
    if how.get("any_game"):
        runs_away = config["penalty"] == "none"
    if how.get("any_penalty"):
        runs_away = config["game"] == "wasserstein"
    if how.get("pace_first"):
        runs_away = runs_away and not (config["lr_g"] > 3 * pace or pace > 3 * config["lr_g"])
    if runs_away:
        new |= how.get("penalty", {"penalty": "r1"})
        if not how.get("both"):
            return new
    if config["lr_g"] > how.get("factor", 3) * pace:
        new["lr_d"] = config["lr_g"] / (1 if how.get("undivided") else steps)
    elif pace > how.get("factor", 3) * config["lr_g"]:
        new["lr_g"] = config["lr_d"] if how.get("rate_only") else pace
    return new


def cure_two_changes(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, both=True)


def cure_slows_the_fast_one(config: dict[str, Any]) -> dict[str, Any]:
    new, pace = dict(config), config["lr_d"] * config["d_steps"]
    if config["game"] == "wasserstein" and config["penalty"] == "none":
        new["penalty"] = "r1"
    elif config["lr_g"] > 3 * pace:
        new["lr_g"] = pace
    elif pace > 3 * config["lr_g"]:
        new["lr_d"] = config["lr_g"] / config["d_steps"]
    return new


def cure_in_place(config: dict[str, Any]) -> dict[str, Any]:
    config.update(_cured(config))
    return config


def cure_without_steps(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, steps=False)


def cure_undivided(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, undivided=True)


def cure_rate_only(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, rate_only=True)


def cure_by_another_game(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, penalty={"game": "non_saturating"})


def cure_penalty_for_all(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, any_game=True)


def cure_penalty_replaced(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, any_penalty=True)


def cure_pace_first(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, pace_first=True)


def cure_always_equal(config: dict[str, Any]) -> dict[str, Any]:
    return _cured(config, factor=1)


def cure_changes_only(config: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in _cured(config).items() if v != config[k]}


def cure_early(config: dict[str, Any]) -> dict[str, Any]:
    if config["game"] == "wasserstein" and config["penalty"] == "none":
        return {**config, "penalty": "r1"}
    ratio = config["lr_d"] * config["d_steps"] / config["lr_g"]
    if ratio > 3:
        return {**config, "lr_g": config["lr_g"] * ratio}
    if ratio < 1 / 3:
        return {**config, "lr_d": config["lr_d"] / ratio}
    return {**config}


def cure_by_copy(config: dict[str, Any]) -> dict[str, Any]:
    import copy

    new = copy.deepcopy(config)
    g, d = new["lr_g"], new["lr_d"] * new["d_steps"]
    if (new["game"], new["penalty"]) == ("wasserstein", "none"):
        new.update(penalty="r1")
    elif max(g, d) > 3 * min(g, d):
        new.update({"lr_d": g / new["d_steps"]} if g > d else {"lr_g": d})
    return new


CURE = Item(
    id="cure",
    title="One change",
    points=3,
    answer="cure",
    probe=probe_cure,
    misconceptions=(
        Misconception(
            "two changes",
            cure_two_changes,
            "A run that runs away and has unequal paces gets two changes from you. If it recovers, you cannot say why. "
            "Use only the first cure that applies.",
        ),
        Misconception(
            "slows the fast one",
            cure_slows_the_fast_one,
            "You turn the other knob: the faster one is slowed down. Both paces are equal then, but low. The clinic "
            "raises the slower one.",
        ),
        Misconception(
            "in place",
            cure_in_place,
            "The dict that you were handed is changed. It describes a run that has been played, and now it says "
            "something false. Work on a copy.",
        ),
        Misconception(
            "D's steps are ignored",
            cure_without_steps,
            "You compare the two learning rates alone. A D with five steps in a round moves five times as far. How is "
            "pace defined?",
        ),
        Misconception(
            "D's rate is the pace",
            cure_undivided,
            "You give D the learning rate of G, whatever its number of steps is. Its pace is then too high. Which rate "
            "times its steps, equals G's?",
        ),
        Misconception(
            "G gets D's rate",
            cure_rate_only,
            "You give G the learning rate of D. Where D takes several steps in a round, G is still behind. It needs "
            "D's pace.",
        ),
        Misconception(
            "another game",
            cure_by_another_game,
            "You play another game instead of the Wasserstein game. That may work, but then it is no longer this run's "
            "question. The first cure adds something.",
        ),
        Misconception(
            "a penalty for all",
            cure_penalty_for_all,
            "Every run without a penalty gets one from you. The first cure speaks of one game alone.",
        ),
        Misconception(
            "the penalty is replaced",
            cure_penalty_replaced,
            "A Wasserstein run that has a penalty already gets another one from you. The first cure is for runs that "
            "have none.",
        ),
        Misconception(
            "paces first",
            cure_pace_first,
            "You look at the paces before the missing penalty. The cures are tried in the order of the list.",
        ),
        Misconception(
            "always equal",
            cure_always_equal,
            "You make the paces equal even where they differ little. Up to three times is left alone: a run without an "
            "illness needs no cure.",
        ),
        Misconception(
            "the change alone",
            cure_changes_only,
            "You return only what has changed. The caller wants to play the run and needs all of its settings.",
        ),
    ),
    also_right=(cure_early, cure_by_copy),
    rtol=1e-4,
    atol=1e-9,
    example="D slow",
)

ITEMS: list[Item] = [MODES_COVERED, GOOD_SHARE, DIAGNOSE, CURE]
