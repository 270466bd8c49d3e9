"""The assignments: right answers keep their points, each known wrong one loses them with its own sentence, and small
changes of the reference are caught."""

from __future__ import annotations

import functools
import json
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jupytext
import pytest
import torch
from conftest import ROOT
from mutants import at_most, mutants

from mmcourse import encoders, world
from mmcourse.course import exercise as e
from mmcourse.data import vocabulary
from mmcourse.text import split_words

NAMES = sorted(path.stem for path in (ROOT / "exercises" / "source").glob("*.py"))
ITEMS = {name: [item.id for item in e.load_assignment(name, ROOT).items] for name in NAMES}
EVERY = [pytest.param(name, item, id=f"{name[:2]}-{item}") for name, items in ITEMS.items() for item in items]
SECRET = (3_141_592, 271_828, 16_180, 57_721, 14_142, 2**62 + 11, 0, 99)
every_item = pytest.mark.parametrize(("name", "item_id"), EVERY)


@functools.cache
def assignment(name: str) -> e.Assignment:
    return e.load_assignment(name, ROOT)


def parts(name: str, item_id: str) -> tuple[e.Assignment, e.Item, Callable, Any]:
    """The assignment, the item, its probe as it travels, and the reference answer."""
    whole = assignment(name)
    item = whole.item(item_id)
    return whole, item, e.load_probe(e.probe_source(item)), e.reference(whole, item)


def answers(probe: Callable, answer: Any, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a learner's notebook shows no warning for a right answer
        return [e.run_probe(probe, answer, seed) for seed in seeds]


def student(source: str) -> str:
    """The answer cell as the learner gets it."""
    stub = 'raise NotImplementedError("your answer")'
    return re.sub(r"### BEGIN SOLUTION.*?### END SOLUTION", stub, source, flags=re.DOTALL)


def run_cell(whole: e.Assignment, text: str, answer: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(whole.setup + text, "<cell>", "exec"), space)
    return space[answer]


# ---- right and wrong answers


@every_item
def test_right_answers_keep_their_points(name: str, item_id: str) -> None:
    whole, item, probe, reference = parts(name, item_id)
    for seeds in (item.public_seeds, SECRET):
        for answer in (reference, *item.also_right):
            verdict = e.diagnose(whole, item, seeds, answers(probe, answer, seeds))
            assert verdict.right, (getattr(answer, "__name__", answer), verdict.difference)


@every_item
def test_each_misconception_loses_with_its_own_sentence(name: str, item_id: str) -> None:
    whole, item, probe, _ = parts(name, item_id)
    assert len(item.misconceptions) >= 3 and len(item.also_right) >= 2
    for seeds in (item.public_seeds, SECRET):
        for known in item.misconceptions:
            got = [e.run_probe(probe, known.wrong, seed) for seed in seeds]
            verdict = e.diagnose(whole, item, seeds, got)
            assert (verdict.right, verdict.share, verdict.misconception) == (False, 0.0, known.name)
            assert verdict.sentence == known.sentence


@pytest.mark.slow
@every_item
def test_thirty_seeds_give_no_flake(name: str, item_id: str) -> None:
    """Three secret seeds at a time, as in grading; right answers stay ten times nearer than they have to."""
    whole, item, probe, reference = parts(name, item_id)
    g = torch.Generator().manual_seed(5)
    for _ in range(10):
        seeds = tuple(torch.randint(2**62, (3,), generator=g).tolist())
        assert e.problems(e.Assignment(name, "", (item,), whole.references, whole.setup, ""), seeds) == []
        expected = answers(probe, reference, seeds)
        for answer in item.also_right:
            for want, have in zip(expected, answers(probe, answer, seeds), strict=True):
                found = e.compare(want, have, rtol=item.rtol / 10, atol=item.atol / 10)
                assert found is None, (answer.__name__, found)


@every_item
def test_the_stub_is_not_answered(name: str, item_id: str) -> None:
    whole, item, probe, _ = parts(name, item_id)
    stub = run_cell(whole, student(whole.references[item_id]), item.answer)
    assert stub.__doc__ and "Returns" in stub.__doc__
    verdict = e.diagnose(whole, item, item.public_seeds, answers(probe, stub, item.public_seeds))
    assert not verdict.right and verdict.sentence == e.UNANSWERED


@every_item
def test_double_precision_and_other_numbers_are_fine(name: str, item_id: str) -> None:
    whole, item, probe, reference = parts(name, item_id)

    def double(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.double()
        if isinstance(value, float):
            return torch.tensor(value, dtype=torch.float64)
        if isinstance(value, tuple):
            return tuple(double(inner) for inner in value)
        return {k: double(v) for k, v in value.items()} if isinstance(value, dict) else value

    got = answers(probe, lambda *given: double(reference(*given)), item.public_seeds)
    assert e.diagnose(whole, item, item.public_seeds, got).right


@every_item
def test_an_answer_cannot_change_what_it_gave(name: str, item_id: str) -> None:
    """One that overwrites its earlier results, and one that keeps its result in what it was handed."""
    whole, item, probe, reference = parts(name, item_id)
    given: list[Any] = []

    def spoil(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            value.data.zero_()
        elif isinstance(value, (list, tuple)):
            for inner in value:
                spoil(inner)
            if isinstance(value, list):
                value.clear()
        elif isinstance(value, dict):
            value.clear()

    def later(*arguments: Any) -> Any:
        if given:
            with torch.no_grad():
                spoil(given.pop())
        given.append(reference(*arguments))
        return given[-1]

    assert e.diagnose(whole, item, item.public_seeds, answers(probe, later, item.public_seeds)).right

    def hands_back(*arguments: Any) -> Any:
        """Gives the first thing that it was handed, made to zeros."""
        spoil(arguments[0])
        return arguments[0]

    assert not e.diagnose(whole, item, item.public_seeds, answers(probe, hands_back, item.public_seeds)).right


# ---- probes


@every_item
def test_a_probe_is_deterministic_and_leaves_global_randomness_alone(name: str, item_id: str) -> None:
    _, _, probe, reference = parts(name, item_id)
    states = (torch.get_rng_state(), random.getstate())
    first = answers(probe, reference, (7, 8))
    torch.manual_seed(1)
    random.seed(1)
    assert answers(probe, reference, (7, 8)) == first
    torch.manual_seed(1)
    before = torch.get_rng_state()
    answers(probe, reference, (7,))
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(states[0])
    random.setstate(states[1])


@every_item
def test_no_two_seeds_share_an_answer(name: str, item_id: str) -> None:
    """What comes out depends on the seed, so that knowing the public answers helps nobody."""
    _, _, probe, reference = parts(name, item_id)
    texts = [json.dumps(run) for run in answers(probe, reference, tuple(range(30)))]
    assert len(set(texts)) == 30


@every_item
def test_a_probe_is_small_fast_and_stands_alone(name: str, item_id: str) -> None:
    _, item, _, reference = parts(name, item_id)
    space: dict[str, Any] = {}
    exec(e.probe_source(item), space)
    probe = space[item.probe.__name__]
    assert "ok" in e.run_probe(probe, reference, 1)
    times = []
    for seed in range(3):
        began = time.perf_counter()
        run = e.run_probe(probe, reference, seed)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1
    text = json.dumps(run)
    assert len(re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)) < 500 and len(text) < 12_000
    assert all(len(key) <= 40 for key in run["ok"])


# ---- the texts


def cells(name: str) -> Iterator[tuple[str, str]]:
    """(grade_id, text) of every cell of a source."""
    text = (ROOT / "exercises" / "source" / f"{name}.py").read_text(encoding="utf-8")
    for cell in jupytext.reads(text, fmt={"extension": ".py", "format_name": "percent"}).cells:
        yield cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_an_assignment_belongs_to_a_lesson_and_has_three_to_six_items(name: str) -> None:
    assert (ROOT / "notebooks" / "source" / f"{name}.py").is_file()
    assert 3 <= len(ITEMS[name]) <= 6
    assert e.problems(assignment(name), (1, 2)) == []


@every_item
def test_a_prompt_states_its_points_and_folds_its_hints(name: str, item_id: str) -> None:
    item = assignment(name).item(item_id)
    prompt = dict(cells(name))[f"{item_id}-prompt"]
    assert re.search(rf"^\*\*{item.points} points\*\* when ", prompt, re.MULTILINE)
    assert prompt.count("<details><summary>Hint") == prompt.count("</details>") >= 1
    assert f"`{item.answer}(" in prompt and prompt.startswith("## ")
    assert item.title in prompt.splitlines()[0]


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_a_solution_stands_anywhere_else(name: str) -> None:
    whole = assignment(name)
    for item_id, source in whole.references.items():
        (solution,) = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", source, re.DOTALL)
        shown = [student(text) for _, text in cells(name)]
        shown += [known.sentence for item in whole.items for known in item.misconceptions]
        shown += [e.probe_source(item) for item in whole.items]
        for line in filter(lambda line: len(line) > 12, map(str.strip, solution.splitlines())):
            assert not [text for text in shown if line in text], (item_id, line)


@every_item
def test_sentences_are_sentences(name: str, item_id: str) -> None:
    for known in assignment(name).item(item_id).misconceptions:
        assert known.sentence == plain(known.sentence) and known.sentence[-1] in ".?"
        assert 40 <= len(known.sentence) <= 420, known.name


def test_the_listing_in_the_prompt_is_what_nothing_mended_means() -> None:
    whole, item, probe, _ = parts("09_text2image", "mended_step")
    prompt = dict(cells("09_text2image"))["mended_step-prompt"]
    (code,) = re.findall(r"```python\n(.*?)```", prompt, re.DOTALL)
    broken = run_cell(whole, code, "broken_step")
    verdict = e.diagnose(whole, item, item.public_seeds, answers(probe, broken, item.public_seeds))
    assert verdict.misconception == "nothing mended"


MENDING = [
    ("text late", "torch.tanh(G.body(z)) + G.word(true)", "torch.tanh(G.body(z) + G.word(true))"),
    ("fit late", "p = torch.sigmoid(D.alone(picture))", "p = D.alone(picture)"),
    ("raw logarithm", "torch.log(", "LOG("),
    ("D's sign", "loss_d = (", "loss_d = -("),
    ("G's sign", "loss_g = ", "loss_g = -"),
    ("no wrong captions", " / 2).mean()", " / 2 + LOG_NOT(chance(real, wrong)) / 2).mean()"),
]


@pytest.mark.parametrize("left", [name for name, _, _ in MENDING])
def test_a_listing_mended_by_hand_but_for_one_fault_is_told_which(left: str) -> None:
    """The edits that a learner makes to the listing, all but one."""
    whole, item, probe, _ = parts("09_text2image", "mended_step")
    (code,) = re.findall(r"```python\n(.*?)```", dict(cells("09_text2image"))["mended_step-prompt"], re.DOTALL)
    for fault, before, after in MENDING:
        if fault != left:
            assert before in code
            code = code.replace(before, after)
    sigmoid = "" if left == "fit late" else ".sigmoid()"
    if left == "raw logarithm":  # the logarithm of a sigmoid of a logit
        code = code.replace("torch.log(1 - on_fake)", "torch.log(1 - on_fake.sigmoid())")
        code = code.replace("torch.log(on_", "torch.log(SIGMOID(on_").replace("on_real) +", "on_real)) +")
        code = code.replace("on_fake).mean()", "on_fake)).mean()")
        code = code.replace("LOG_NOT(chance(real, wrong))", f"torch.log(1 - chance(real, wrong){sigmoid})")
    code = code.replace("LOG(1 - on_fake)", "F.logsigmoid(-on_fake)")
    code = code.replace("LOG_NOT(chance(real, wrong))", "F.logsigmoid(-chance(real, wrong))")
    code = code.replace("LOG(", "F.logsigmoid(").replace("SIGMOID(", "torch.sigmoid(")
    broken = run_cell(whole, code, "broken_step")
    verdict = e.diagnose(whole, item, item.public_seeds, answers(probe, broken, item.public_seeds))
    assert verdict.misconception == left, code


# ---- the references against an outside truth


def test_references_of_08_agree_with_the_library(rng: torch.Generator) -> None:
    tokenize, info_nce, recall = (parts("08_shared_space", i)[3] for i in ("tokenize", "info_nce", "recall_at_k"))
    words, labels = vocabulary(), world.sample_labels(40, rng)
    texts = world.captions(labels, random.Random(0))
    assert torch.equal(tokenize(texts, words.index, 24), words.tokenize(texts))
    assert max(len(split_words(text, words.index)) for text in texts) <= 24
    image, text = torch.randn(40, 6, generator=rng), torch.randn(40, 6, generator=rng)
    positive = world.satisfied_pairs(labels, world.state(labels, rng, leave_out=0.6))
    assert positive.sum() > 60 and not torch.equal(positive, positive.T)
    cosine = torch.nn.functional.cosine_similarity(image[:, None], text[None], dim=2)
    assert info_nce(image, text, positive, 9.0).item() == pytest.approx(
        encoders.contrastive(9 * cosine, positive).item(), rel=1e-5
    )
    for k in (1, 3):
        assert recall(cosine, positive, k) == pytest.approx(encoders.recall_at(cosine, positive, k))


def test_a_mean_pool_does_not_know_how_long_the_rows_are(rng: torch.Generator) -> None:
    mean_pool = parts("08_shared_space", "mean_pool")[3]
    vectors, ids = torch.randn(3, 4, 5, generator=rng), torch.tensor([[2, 3, 0, 0], [1, 1, 1, 1], [4, 0, 0, 0]])
    longer = torch.cat([vectors, 9 * torch.ones(3, 6, 5)], 1)
    short = mean_pool(vectors, ids)
    assert torch.allclose(mean_pool(longer, torch.nn.functional.pad(ids, (0, 6))), short)
    assert torch.allclose(short[0], vectors[0, :2].mean(0)) and torch.allclose(short[2], vectors[2, 0])


def test_a_reader_finds_what_is_linear_and_nothing_in_noise(rng: torch.Generator) -> None:
    probe = parts("08_shared_space", "attribute_probe")[3]
    x, y = torch.randn(800, 6, generator=rng), torch.randint(3, (800,), generator=rng)
    scores, share = probe(x[:400], y[:400], x[400:], y[400:], 3)
    assert scores.shape == (400, 3) and share == pytest.approx(1 / 3, abs=0.08)
    told = x + 6 * torch.nn.functional.one_hot(y, 6)
    assert probe(told[:400], y[:400], told[400:], y[400:], 3)[1] > 0.98


def test_references_of_09_agree_with_the_library(rng: torch.Generator) -> None:
    mismatched, accuracy = (parts("09_text2image", i)[3] for i in ("mismatched", "caption_accuracy"))
    labels = world.sample_labels(60, rng)
    stated = world.state(labels, rng, leave_out=0.5)
    texts = world.captions(stated, random.Random(1))
    assert not world.satisfied(stated, world.statements(mismatched(texts))).any()
    one = world.sample_labels(60, rng, objects=(1,))
    stated, read = world.state(one, rng, leave_out=0.3), world.sample_labels(60, rng, objects=(1,))
    read = torch.where(torch.rand(60, 8, generator=rng) < 0.8, one, read)
    columns = [1, 2, 3, 7]
    said, right = (x[:, columns] for x in world.matches(read, stated))
    got = accuracy(read[:, columns], stated[:, columns])
    assert got["all"] == pytest.approx((said == right).all(1).float().mean().item())
    for i, name in enumerate(("shape", "colour", "size", "place")):
        assert got[name] == pytest.approx(int(right[:, i].sum()) / int(said[:, i].sum()))


def test_a_cloud_has_the_mean_and_the_spread_that_were_asked_for(rng: torch.Generator) -> None:
    ca_sample = parts("09_text2image", "ca_sample")[3]
    stats = torch.tensor([[1.0, -2.0, 0.0, 1.386294]])  # variances 1 and 4
    cond, penalty = ca_sample(stats.expand(40_000, 4), torch.randn(40_000, 2, generator=rng))
    assert torch.allclose(cond.mean(0), torch.tensor([1.0, -2.0]), atol=0.05)
    assert torch.allclose(cond.std(0), torch.tensor([1.0, 2.0]), atol=0.05)
    assert penalty.item() == pytest.approx((1 + 1 - 1 - 0 + 4 + 4 - 1 - 1.386294) / 2, rel=1e-5)


def test_d_of_the_matching_aware_game_learns_to_read(rng: torch.Generator) -> None:
    """Minimised over free logits, the loss sends real pairs up and both kinds of fake down."""
    loss = parts("09_text2image", "gan_cls_d")[3]
    logits = [torch.zeros(2, 1, requires_grad=True) for _ in range(3)]
    slopes = torch.autograd.grad(loss(*logits), logits)
    assert [slope.sum().item() for slope in slopes] == pytest.approx([-0.5, 0.25, 0.25])


def test_a_modulation_that_is_zero_changes_nothing(rng: torch.Generator) -> None:
    from mmcourse.layers import ModBlock

    fuse = parts("09_text2image", "affine_fuse")[3]
    block, h, cond = ModBlock(4, 6), torch.randn(2, 4, 3, 3, generator=rng), torch.randn(2, 6, generator=rng)
    assert torch.equal(fuse(h, cond, block.affine.weight, block.affine.bias), h)


# ---- mutants


def equivalent(name: str) -> dict[str, dict[str, str]]:
    """Changes that change nothing, by item, each with the reason; every one must be made, and survive."""
    path = ROOT / "tests" / "equivalent" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def survivors(name: str, item_id: str) -> tuple[int, list[str]]:
    """How many mutants of the reference there are, and those that three secret seeds do not tell from it."""
    whole, item, probe, reference = parts(name, item_id)
    seeds = SECRET[: item.secret_probes]
    expected = answers(probe, reference, seeds)
    made, alive = mutants(whole.references[item_id]), []
    for mutant in made:
        with at_most(5.0), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = run_cell(whole, "\n" + mutant.source, item.answer)
            if all(same(item, want, e.run_probe(probe, answer, s)) for s, want in zip(seeds, expected, strict=True)):
                alive.append(mutant.what)
    return len(made), alive


def same(item: e.Item, want: dict[str, Any], have: dict[str, Any]) -> bool:
    return e.compare(want, have, rtol=item.rtol, atol=item.atol, allow_nan=item.allow_nan) is None


@pytest.mark.parametrize("name", NAMES)
def test_mutants_of_the_references_are_caught(name: str) -> None:
    total, alive = 0, {}
    for item_id in ITEMS[name]:
        count, left = survivors(name, item_id)
        assert count >= 20, item_id
        total += count
        alive[item_id] = left
    for item_id, left in alive.items():
        assert sorted(left) == sorted(equivalent(name).get(item_id, {})), item_id
    assert sum(map(len, alive.values())) <= 0.05 * total


def test_the_mutator_makes_the_changes_that_it_should() -> None:
    source = (
        'def f(x: int, y: int = 1) -> int:\n    """Doc 1."""\n    z = g(x, y)\n    if z < 2:\n'
        '        raise ValueError("no 3")\n    return -z.sum(dim=0) + 1\n'
    )
    made = mutants(source)
    texts = {m.source for m in made}
    assert len(texts) == len(made)
    for change in (
        "g(y, x)", "if z <= 2", "if z > 2", "if z < 3", "if not z < 2", "return z.sum(dim=0) + 1", "sum(dim=1)",
        "sum(dim=-1)", "-z.mean(dim=0)", "return -z + 1", "sum() + 1", "- 1", "z = x\n", "pass", "return None",
    ):  # fmt: skip
        assert any(change in text and change not in source for text in texts), change
    assert all("no 3" in text or "raise" not in text for text in texts)
    assert all('"""Doc 1."""' in text and "y: int=1" in text for text in texts)
    assert "z = g(x, y)  =>  z = g(y, x)" not in {m.what for m in made}  # the smallest part that changed is named
    assert "g(x, y)  =>  g(y, x)" in {m.what for m in made}


def test_the_guard_ends_a_loop() -> None:
    with pytest.raises(TimeoutError), at_most(0.05):
        while True:
            pass
