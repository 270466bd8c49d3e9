"""The captioned world: pictures, captions and truth agree."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn.functional import avg_pool2d

from mmcourse import world


def test_parse_returns_what_was_said_in_both_languages(rng: torch.Generator) -> None:
    labels = world.sample_labels(4000, rng, split="all")
    for language in ("en", "zh"):
        for leave_out in (0.0, 0.4):
            stated = world.state(labels, rng, leave_out=leave_out)
            said = [world.say(row, language, random.Random(i)) for i, row in enumerate(stated.tolist())]
            assert torch.equal(world.statements(said), stated)


@pytest.mark.parametrize(
    ("caption", "statement"),
    [
        ("a small red circle", world.Statement(1, 0, 0, 0)),
        ("a red shape", world.Statement(1, colour_a=0)),
        ("There is a ring at the top.", world.Statement(1, 4, layout=3)),
        ("a star that is large and black", world.Statement(1, 5, 7, 1)),
        ("a red circle left of a large blue square", world.Statement(2, 0, 0, -1, 1, 5, 1, 5)),
        ("a large blue square to the right of a red circle", world.Statement(2, 0, 0, -1, 1, 5, 1, 5)),
        ("to the left of a large blue square is a red circle", world.Statement(2, 0, 0, -1, 1, 5, 1, 5)),
        ("on the left a red circle and on the right a large blue square", world.Statement(2, 0, 0, -1, 1, 5, 1, 5)),
        ("a ring below a green star", world.Statement(2, 5, 3, -1, 4, -1, -1, 6)),
        ("a violet disc and a tiny plus", world.Statement(2, 0, 6, -1, 3, -1, 0)),
        ("红色的圆形", world.Statement(1, 0, 0)),
        ("一个小的红色的圆形在一个大的蓝色的正方形的左边", world.Statement(2, 0, 0, 0, 1, 5, 1, 5)),
        ("蓝色的正方形的左边是红色的圆形", world.Statement(2, 0, 0, -1, 1, 5, -1, 5)),
        ("上面是星形，下面是黑色的圆环", world.Statement(2, 5, -1, -1, 4, 7, -1, 6)),
        ("一个三角形在中间", world.Statement(1, 2, layout=0)),
    ],
)
def test_captions_a_person_would_write(caption: str, statement: world.Statement) -> None:
    assert world.parse(caption) == statement


@pytest.mark.parametrize(
    ("caption", "part"),
    [
        ("", "looks like"),
        ("  ?! ", "looks like"),
        ("a red elephant", "'elephant'"),
        ("a red blue circle", "two colours"),
        ("red", "expected a thing"),
        ("a circle left of", "Cannot read"),
        ("a circle above a square below a star", "did not expect more"),
        ("on the left a ring and on the top a star", "opposite side"),
        ("红色的大象", "象"),
    ],
)
def test_unreadable_captions_say_why(caption: str, part: str) -> None:
    with pytest.raises(world.CaptionError, match=part):
        world.parse(caption)


def test_training_never_holds_a_held_out_pair_and_held_out_always_does(rng: torch.Generator) -> None:
    train = world.sample_labels(20000, rng)
    assert not world.holds_out(train).any()
    stated = world.state(train, rng)
    assert not world.holds_out(world.contradict(train, stated, rng)).any()
    assert not world.holds_out(world.imagine(stated, rng)).any()
    rare = world.sample_labels(5000, rng, split="held_out")
    assert world.holds_out(rare).all()
    assert world.holds_out(world.state(rare, rng, leave_out=0.5, require="held_out")).all()
    pairs = {(world.COLOURS[c], world.SHAPES[s]) for s, c in train[:, [1, 2]].tolist()}
    assert len(pairs) == 6 * 8 - 6 and not pairs & set(world.HELD_OUT)


def test_statements_are_true_and_contradictions_false(rng: torch.Generator) -> None:
    labels = world.sample_labels(20000, rng)
    for leave_out in (0.0, 0.15, 0.6):
        stated = world.state(labels, rng, leave_out=leave_out)
        assert world.satisfied(labels, stated).all()
        assert world.satisfied(world.imagine(stated, rng), stated).all()
        assert not world.satisfied(labels, world.contradict(labels, stated, rng)).any()


def test_exchange_keeps_the_words(rng: torch.Generator) -> None:
    labels = world.sample_labels(4000, rng)
    out = world.exchange(labels, rng)
    one = labels[:, 0] == 1
    assert torch.equal(out[one], labels[one]) and not torch.equal(out[~one], labels[~one])
    for i in (1, 2, 3):  # the bag of shapes, of colours and of sizes stays
        assert torch.equal(out[:, [i, i + 3]].sort(1).values, labels[:, [i, i + 3]].sort(1).values)
    assert torch.equal(out[:, [0, 7]], labels[:, [0, 7]])
    changed = (out != labels)[~one].any(1).float().mean()
    assert changed > 0.6


def test_accuracy_counts_what_is_stated_and_no_more() -> None:
    scene = torch.tensor([[2, 0, 0, 0, 1, 5, 1, world.BESIDE]])  # small red circle left of large blue square

    def true(caption: str) -> bool:
        return bool(world.satisfied(scene, world.statements([caption])))

    assert true("a circle left of a square") and true("a red thing left of a blue thing")
    assert not true("a square left of a circle") and not true("a circle above a square")
    assert true("a blue square and a red circle") and true("a red circle and a blue square")
    assert not true("a blue circle and a red square")
    assert not true("a small red circle")  # one thing is stated, two are there
    stated, right = world.matches(scene, world.statements(["a green circle left of a square"]))
    assert stated[0].tolist() == [True, True, True, False, True, False, False, True]
    assert (stated & ~right)[0].nonzero().flatten().tolist() == [2]


def test_satisfied_pairs_agrees_with_satisfied(rng: torch.Generator) -> None:
    labels = world.sample_labels(40, rng)
    stated = world.state(labels, rng, leave_out=0.7)
    table = world.satisfied_pairs(labels, stated)
    one_by_one = torch.stack([world.satisfied(labels, stated[j : j + 1].expand(40, 8)) for j in range(40)], dim=1)
    assert torch.equal(table, one_by_one) and table.diagonal().all() and 40 < table.sum() < 1600


def test_same_scene_looks_the_same_at_32_and_256(rng: torch.Generator) -> None:
    scenes = world.sample_scenes(64, rng, split="all")
    small, large = world.draw(scenes, 32), avg_pool2d(world.draw(scenes, 256), 8)
    assert (small - large).abs().mean() < 0.005
    assert (small - large).abs().flatten(1).mean(1).max() < 0.02


def test_area_matches_closed_forms() -> None:
    """Covered areas of large drawings against geometry."""
    import math

    n = len(world.SHAPES)
    labels = torch.tensor([[1, s, 7, 1, -1, -1, -1, 0] for s in range(n)])
    radius = 0.3
    scenes = world.Scenes(
        labels, torch.full((n, 2, 2), 0.5), torch.tensor([[radius, 0.0]] * n), torch.zeros(n, 2), torch.ones(n, 3)
    )
    ink = (1 - world.draw(scenes, 256)[:, 0]) / 2 / (1 - world.RGB["black"][0])
    area = ink.mean((1, 2)) / radius**2
    star = 5 * 1.30 * 0.54 * math.sin(math.pi / 5)
    expected = [
        math.pi,
        2 * 1.22**2,
        3 * math.sqrt(3) / 4 * 1.35**2,
        4 * 0.72 * 1.08 - 4 * 0.36 * 0.36 * 1 + 0 - 0.72 * 0.72 * 0,
        math.pi * (1.03**2 - 0.49**2),
        star,
    ]
    expected[3] = 2 * (2 * 1.08) * 0.72 - 0.72**2  # two bars less their common square
    assert torch.allclose(area, torch.tensor(expected), rtol=0.01)


def test_signed_distance_of_a_circle_and_a_square() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -0.5]])
    circle = world.signed_distance(points, torch.zeros(3, dtype=torch.long))
    assert torch.allclose(circle, torch.tensor([-1.0, 1.0, -0.5]), atol=1e-6)
    half = 1.22 / 2**0.5
    turned = points @ torch.tensor([[2**-0.5, 2**-0.5], [-(2**-0.5), 2**-0.5]])  # the square's corners lie on the axes
    square = world.signed_distance(turned, torch.ones(3, dtype=torch.long))
    assert torch.allclose(square, torch.tensor([-half, 2 - half, 0.5 - half]), atol=1e-5)


def test_colours_can_be_told_apart() -> None:
    """Every two colours, and every colour and background, differ by 20 or more in CIELAB (10 is a clear difference)."""

    def lab(rgb: torch.Tensor) -> torch.Tensor:
        linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        matrix = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        xyz = linear @ matrix.T / torch.tensor([0.9505, 1.0, 1.089])
        f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
        return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)

    paints = torch.tensor([world.RGB[c] for c in world.COLOURS])
    shades = torch.linspace(0.70, 0.95, 6)[:, None].expand(6, 3)
    points = lab(torch.cat([paints, shades]))
    gaps = torch.cdist(points[:8], points) + 1e3 * torch.eye(8, 14)
    assert gaps.min() > 20


def test_drawing_is_deterministic_bounded_and_checked(rng: torch.Generator) -> None:
    scenes = world.sample_scenes(16, rng)
    x = world.draw(scenes)
    assert x.shape == (16, 3, 32, 32) and x.min() >= -1 and x.max() <= 1
    assert torch.equal(x, world.draw(scenes)) and torch.equal(x[3:4], world.draw(scenes[3]))
    with pytest.raises(ValueError, match="at least 8"):
        world.draw(scenes, 4)
    with pytest.raises(ValueError, match="objects"):
        world.sample_labels(3, rng, objects=(3,))
    with pytest.raises(ValueError, match="split.*Did you mean"):
        world.sample_labels(3, rng, split="heldout")


def test_the_word_list_covers_the_grammar() -> None:
    from mmcourse.data import vocabulary

    words, rng = vocabulary(), torch.Generator().manual_seed(1)
    labels = world.sample_labels(3000, rng, split="all")
    said = world.captions(world.state(labels, rng), random.Random(0))
    ids = words.tokenize(said, length=world.MAX_WORDS)
    assert not (ids == 1).any()
