"""What is asked in exercises 14, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception

Word = tuple[str, ...]
Words = dict[Word, int]
Pieces = tuple[str, str]
Change = Callable[[Tensor, Tensor], Tensor]
Scores = Callable[[Tensor], Tensor]

# ------------------------------------------------------------------------------------------------ merge_once


def probe_merge_once(answer: Any, seed: int) -> dict[str, Any]:
    """A pair that is frequent in one frequent word; ties; one letter many times; pieces that end or begin as others."""
    import random

    r = random.Random(seed)
    out: dict[str, Any] = {}
    letters = "abcdefghijklmnopqrstuvwxyz"

    def ask(name: str, words: dict) -> None:
        pair, merged = answer(dict(words))
        left, right = pair
        out[name] = {"pair": [left, right], "words": {" ".join(word): times for word, times in merged.items()}}

    p, q, s, t, u, v, w, x, y = r.sample(letters, 9)
    n = r.randint(5, 9)
    # (p, q) 2n times, in one word; (s, t) n + 2 times, in three; one word of one piece more often than all
    words = {(x,): 4 * n, (p, q, y, p, q): n, (s, t, u): n - 2, (s, t, v): 2, (w, s, t): 2}
    ask("words of all kinds", dict(r.sample(list(words.items()), 5)))

    a, b, c, d, e, f = sorted(r.sample(letters, 6))
    n = r.randint(3, 9)
    ask("a tie", {(b, c): n, (e, d): n, (a + b, c): n, (a, f): n, (b, f): n, (c, e): n - 1})

    x, y, u, v = r.sample(letters, 4)
    n, m = r.randint(3, 6), r.randint(1, 4)
    # (x, x) at 2n + 3m places that overlap, at n + 2m that do not; (u, v) between the two
    ask("one letter many times", {(x, x, x, y): n, (u, v): n + 2 * m + r.randint(1, n - 1), (y, x, x, x, x): m})

    a, b, c, d = r.sample(letters, 4)
    few = [r.randint(2, 4) for _ in range(3)]
    ask("longer pieces", {(a + b, c, d): few[0], (a, b, c): few[1], (b, c): r.randint(6, 9), (b, c + d): few[2]})
    return out


def _counts(words: Words) -> Counter[Pieces]:
    counts: Counter[Pieces] = Counter()
    for word, times in words.items():
        for pair in itertools.pairwise(word):
            counts[pair] += times
    return counts


def _first(counts: Counter[Pieces]) -> Pieces:
    return min(counts, key=lambda pair: (-counts[pair], pair))


def _join(word: Word, pair: Pieces) -> Word:
    out, i = [], 0
    while i < len(word):
        hit = word[i : i + 2] == pair
        out.append("".join(pair) if hit else word[i])
        i += 2 if hit else 1
    return tuple(out)


def _merge(words: Words, pair: Pieces) -> tuple[Pieces, Words]:
    return pair, {_join(word, pair): times for word, times in words.items()}


def merge_each_word_once(words: Words) -> tuple[Pieces, Words]:
    return _merge(words, _first(_counts(dict.fromkeys(words, 1))))


def merge_across_words(words: Words) -> tuple[Pieces, Words]:
    text = [piece for word, times in words.items() for _ in range(times) for piece in word]
    return _merge(words, _first(Counter(itertools.pairwise(text))))


def merge_once_a_word(words: Words) -> tuple[Pieces, Words]:
    counts: Counter[Pieces] = Counter()
    for word, times in words.items():
        for pair in set(itertools.pairwise(word)):
            counts[pair] += times
    return _merge(words, _first(counts))


def merge_counts_apart(words: Words) -> tuple[Pieces, Words]:
    counts: Counter[Pieces] = Counter()
    for word, times in words.items():
        for pair in set(itertools.pairwise(word)):
            counts[pair] += times * (len(word) - len(_join(word, pair)))
    return _merge(words, _first(counts))


def merge_first_met(words: Words) -> tuple[Pieces, Words]:
    return _merge(words, _counts(words).most_common(1)[0][0])


def merge_last_met(words: Words) -> tuple[Pieces, Words]:
    counts = _counts(words)
    return _merge(words, max(reversed(counts), key=lambda pair: counts[pair]))


def merge_last_in_order(words: Words) -> tuple[Pieces, Words]:
    counts = _counts(words)
    return _merge(words, max(counts, key=lambda pair: (counts[pair], pair)))


def merge_by_spelling(words: Words) -> tuple[Pieces, Words]:
    counts = _counts(words)
    return _merge(words, min(counts, key=lambda pair: (-counts[pair], "".join(pair))))


def merge_rarest(words: Words) -> tuple[Pieces, Words]:
    counts = _counts(words)
    return _merge(words, min(counts, key=lambda pair: (counts[pair], pair)))


def merge_second_stays(words: Words) -> tuple[Pieces, Words]:
    pair = _first(_counts(words))

    def wrong(word: Word) -> Word:
        at = ("".join(pair) if word[i : i + 2] == pair else word[i] for i in range(len(word)))
        return tuple(at)

    return pair, {wrong(word): times for word, times in words.items()}


def merge_overlapping(words: Words) -> tuple[Pieces, Words]:
    pair = _first(_counts(words))

    def wrong(word: Word) -> Word:
        out = []
        for i in range(len(word)):
            if word[i : i + 2] == pair:
                out.append("".join(pair))
            elif not (i and word[i - 1 : i + 1] == pair):
                out.append(word[i])
        return tuple(out)

    return pair, {wrong(word): times for word, times in words.items()}


def merge_from_the_right(words: Words) -> tuple[Pieces, Words]:
    pair = _first(_counts(words))
    merged: Words = {}
    for word, times in words.items():
        out: list[str] = []
        for piece in word[::-1]:
            if out and (piece, out[-1]) == pair:
                out[-1] = piece + out[-1]
            else:
                out.append(piece)
        merged[tuple(out[::-1])] = times
    return pair, merged


def merge_in_the_text(words: Words) -> tuple[Pieces, Words]:
    pair = _first(_counts(words))
    texts = {" ".join(word).replace(" ".join(pair), "".join(pair)): times for word, times in words.items()}
    return pair, {tuple(text.split(" ")): times for text, times in texts.items()}


def merge_first_place(words: Words) -> tuple[Pieces, Words]:
    pair = _first(_counts(words))

    def wrong(word: Word) -> Word:
        places = [i for i in range(len(word) - 1) if word[i : i + 2] == pair]
        return (*word[: places[0]], "".join(pair), *word[places[0] + 2 :]) if places else word

    return pair, {wrong(word): times for word, times in words.items()}


def merge_keeps_changed(words: Words) -> tuple[Pieces, Words]:
    pair, merged = _merge(words, _first(_counts(words)))
    return pair, {word: times for word, times in merged.items() if word not in words}


def merge_nothing(words: Words) -> tuple[Pieces, Words]:
    return _first(_counts(words)), words


def merge_by_pattern(words: Words) -> tuple[Pieces, Words]:
    counts: dict[Pieces, int] = {}
    for word, times in words.items():
        for i in range(1, len(word)):
            pair = (word[i - 1], word[i])
            counts[pair] = counts.get(pair, 0) + times
    most = max(counts.values())
    left, right = sorted(pair for pair in counts if counts[pair] == most)[0]
    place = re.compile(rf"(?<!\S){re.escape(left)} {re.escape(right)}(?!\S)")
    spelt = {place.sub(left + right, " ".join(word)): times for word, times in words.items()}
    return (left, right), {tuple(text.split(" ")): times for text, times in spelt.items()}


def merge_with_places(words: Words) -> tuple[Pieces, Words]:
    every = [
        (word[i], word[i + 1]) for word, times in words.items() for i in range(len(word) - 1) for _ in range(times)
    ]
    tally = sorted((-every.count(pair), *pair) for pair in set(every))
    best = tally[0][1:]
    merged: Words = {}
    for word in words:
        left = list(word)
        for i in range(len(word) - 2, -1, -1):  # from the right, but only where an even number of hits lies before
            run = 0
            while run <= i and word[i - run : i - run + 2] == best:
                run += 1
            if run % 2:
                left[i : i + 2] = ["".join(best)]
        merged[tuple(left)] = words[word]
    return best, merged


MERGE_ONCE = Item(
    id="merge_once",
    title="One merge",
    points=3,
    answer="merge_once",
    probe=probe_merge_once,
    misconceptions=(
        Misconception(
            "each word counts once",
            merge_each_word_once,
            "You count each word once, however often it is met. A pair in one word that is met 9 times counts 9. The "
            "numbers in `words` are there to be added.",
        ),
        Misconception(
            "pairs across words",
            merge_across_words,
            "You lay all words in one row, so a word's last piece makes a pair with the next word's first. Pairs lie "
            "inside words: count in each word for itself.",
        ),
        Misconception(
            "once a word",
            merge_once_a_word,
            "You count a pair at most once in a word. A word may hold it at several places, and each counts.",
        ),
        Misconception(
            "overlaps not counted",
            merge_counts_apart,
            "You count only the places that do not overlap. In `(a, a, a)` the pair `(a, a)` stands at two places, and "
            "both count. That a merge takes only one of them comes later.",
        ),
        Misconception(
            "a tie to the first that was met",
            merge_first_met,
            "Of pairs with the highest count you take the one that was met first. Then the order of the captions "
            "decides what is learned. Take the pair that comes first when pairs are sorted.",
        ),
        Misconception(
            "a tie to the last that was met",
            merge_last_met,
            "Of pairs with the highest count you take the one that was met last. Then the order of the captions "
            "decides what is learned. Take the pair that comes first when pairs are sorted.",
        ),
        Misconception(
            "a tie to the last in order",
            merge_last_in_order,
            "Of pairs with the highest count you take the last in order. A `max` over (count, pair) wants both as high "
            "as can be. How do you ask for a high count and a low pair?",
        ),
        Misconception(
            "a tie by spelling",
            merge_by_spelling,
            "In a tie you compare the pairs as one text. Python compares tuples piece by piece: the pair (a, x) comes "
            "before (ab, c), since a comes before ab.",
        ),
        Misconception(
            "the rarest pair",
            merge_rarest,
            "You take the pair of the lowest count. A piece is worth having where it is met often.",
        ),
        Misconception(
            "the second piece stays",
            merge_second_stays,
            "Your new piece takes the place of the first of the two, and the second is still there. (l, o, w) becomes "
            "(lo, w), with nothing twice.",
        ),
        Misconception(
            "one piece used twice",
            merge_overlapping,
            "You merge at every place, also where two overlap: (a, a, a) becomes (aa, aa), which has a letter more. A "
            "piece that was merged is used up, so go on behind it.",
        ),
        Misconception(
            "from right to left",
            merge_from_the_right,
            "You merge from the right: (a, a, a) becomes (a, aa). Go from left to right, as a word is cut up later.",
        ),
        Misconception(
            "replaced in the text",
            merge_in_the_text,
            "You write the word with spaces and replace text. The text of (b, c) also lies in (ab, c) and in (b, cd), "
            "where no piece is b and the next c. Compare whole pieces.",
        ),
        Misconception(
            "the first place alone",
            merge_first_place,
            "You merge the first place in each word and leave the others as they are. All places are merged in one "
            "step.",
        ),
        Misconception(
            "changed words alone",
            merge_keeps_changed,
            "Words without the pair are lost. They are needed in the next step: give them back as they are.",
        ),
        Misconception(
            "chosen and not merged",
            merge_nothing,
            "The pair is right, and the words are still those that came in. Make one piece of the pair wherever it "
            "stands.",
        ),
    ),
    also_right=(merge_by_pattern, merge_with_places),
)

# ---------------------------------------------------------------------------------------------- augment_both


def probe_augment_both(answer: Any, seed: int) -> dict[str, Any]:
    """Both losses of a small D, their slopes in what was drawn, and that of D's loss in D."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def change(x: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        light, contrast = r.T[:, :, None, None, None]
        return (x + light) * contrast.exp()

    def slope(loss: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        if not loss.requires_grad:
            return torch.zeros_like(at)
        (found,) = torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True)
        return torch.zeros_like(at) if found is None else found

    for name, b, size in (("two pictures", 2, 3), ("four pictures", 4, 2)):
        weight = torch.randn(3, size, size, generator=g).requires_grad_(True)

        def D(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
            return (weight * torch.tanh(0.7 * x)).flatten(1).sum(1)

        real = 2 * torch.rand(b, 3, size, size, generator=g) - 1
        z = torch.randn(b, 3, size, size, generator=g).requires_grad_(True)
        noise = 0.7 * torch.randn(3, b, 2, generator=g)
        loss_d, loss_g = answer(D, real.clone(), torch.tanh(z), change, noise.clone())
        out[name] = {
            "loss_d": float(loss_d.detach()),
            "loss_g": float(loss_g.detach()),
            "G's slope in z": slope(loss_g, z).clone(),
            "D's slope in z": float(slope(loss_d, z).abs().sum()),
            "D's slope in D": slope(loss_d, weight).clone(),
        }
    return out


def _game(on_real: Tensor, on_fake: Tensor, for_g: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean(), F.softplus(-for_g).mean()


def both_real_alone(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(change(real, noise[0])), D(fake.detach()), D(fake))


def both_fake_alone(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(real), D(change(fake.detach(), noise[1])), D(change(fake, noise[2])))


def both_d_alone(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(change(real, noise[0])), D(change(fake.detach(), noise[1])), D(fake))


def both_g_alone(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(real), D(fake.detach()), D(change(fake, noise[2])))


def both_nothing(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(real), D(fake.detach()), D(fake))


def both_without_gradient(
    D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        seen = [change(x, r) for x, r in zip((real, fake, fake), noise, strict=True)]
    return _game(D(seen[0]), D(seen[1]), D(seen[2]))


def both_around_the_change(
    D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor
) -> tuple[Tensor, Tensor]:
    seen = fake + (change(fake, noise[2]) - fake).detach()
    return _game(D(change(real, noise[0])), D(change(fake.detach(), noise[1])), D(seen))


def both_not_detached(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(change(real, noise[0])), D(change(fake, noise[1])), D(change(fake, noise[2])))


def both_one_draw(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return both_right_of(D, real, fake, change, noise[:1].expand(3, -1, -1))


def both_draw_of_d(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return both_right_of(D, real, fake, change, noise[[0, 1, 1]])


def both_draw_of_real(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return both_right_of(D, real, fake, change, noise[[0, 0, 2]])


def both_one_for_the_batch(
    D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor
) -> tuple[Tensor, Tensor]:
    return both_right_of(D, real, fake, change, noise[:, :1].expand_as(noise))


def both_clamped(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return both_right_of(D, real, fake, lambda x, r: change(x, r).clamp(-1, 1), noise)


def both_half(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    loss_d, loss_g = both_right_of(D, real, fake, change, noise)
    return loss_d / 2, loss_g


def both_sums(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    loss_d, loss_g = both_right_of(D, real, fake, change, noise)
    return loss_d * len(real), loss_g * len(real)


def both_minimax(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    loss_d, _ = both_right_of(D, real, fake, change, noise)
    return loss_d, -F.softplus(D(change(fake, noise[2]))).mean()


def both_signs(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return both_right_of(lambda x: -D(x), real, fake, change, noise)


def both_g_as_drawn(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    loss_d, _ = both_right_of(D, real, fake, change, noise)
    return loss_d, F.softplus(D(change(fake, noise[2]))).mean()


def both_exchanged(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    loss_d, loss_g = both_right_of(D, real, fake, change, noise)
    return loss_g, loss_d


def both_right_of(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _game(D(change(real, noise[0])), D(change(fake.detach(), noise[1])), D(change(fake, noise[2])))


def both_with_labels(D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():  # D's loss needs no slope in pictures
        seen = change(torch.cat([real, fake]), noise[:2].flatten(0, 1))
    label = torch.ones(2 * len(real))
    label[len(real) :] = 0
    loss_d = 2 * F.binary_cross_entropy_with_logits(D(seen), label)  # a mean of twice as many
    return loss_d, F.binary_cross_entropy_with_logits(D(change(fake, noise[2])), label[: len(real)])


def both_picture_by_picture(
    D: Scores, real: Tensor, fake: Tensor, change: Change, noise: Tensor
) -> tuple[Tensor, Tensor]:
    still = fake.clone().detach()
    loss_d, loss_g = torch.zeros(()), torch.zeros(())
    for i in range(len(real)):
        one = slice(i, i + 1)
        loss_d = loss_d - F.logsigmoid(D(change(real[one], noise[0, one]))).squeeze()
        loss_d = loss_d - F.logsigmoid(-D(change(still[one], noise[1, one]))).squeeze()
        loss_g = loss_g - F.logsigmoid(D(change(fake[one], noise[2, one]))).squeeze()
    return loss_d / len(real), loss_g / len(real)


AUGMENT_BOTH = Item(
    id="augment_both",
    title="A game behind changes",
    points=3,
    answer="augment_both",
    probe=probe_augment_both,
    misconceptions=(
        Misconception(
            "real pictures alone",
            both_real_alone,
            "You change the real pictures alone. D then tells real from drawn by the change, and G learns to draw "
            "changed pictures. What G draws must go through a change as well.",
        ),
        Misconception(
            "drawn pictures alone",
            both_fake_alone,
            "You change the drawn pictures alone. D still sees the few real ones as they are and learns them by heart. "
            "Change both.",
        ),
        Misconception(
            "in D's loss alone",
            both_d_alone,
            "D's loss is right. In G's loss D sees what was drawn as it is, and of such pictures it has learned "
            "nothing. G is judged through a change as well.",
        ),
        Misconception(
            "in G's loss alone",
            both_g_alone,
            "You change pictures in G's loss alone. D learns the few real pictures by heart as before. D's own loss "
            "needs the change most.",
        ),
        Misconception(
            "no change",
            both_nothing,
            "These are the losses without any change: D sees all pictures as they are. Each goes through `change` "
            "before D sees it.",
        ),
        Misconception(
            "no gradient through the change",
            both_without_gradient,
            "The losses are right, but nothing reaches G: a change under `no_grad`, or of detached pictures, is a "
            "constant. In G's loss the gradient has to pass through the change.",
        ),
        Misconception(
            "a gradient around the change",
            both_around_the_change,
            "G's gradient goes around the change, as if there were none. Where a change doubles the contrast, D's "
            "slope doubles too. Let the gradient pass through it.",
        ),
        Misconception(
            "D's loss reaches G",
            both_not_detached,
            "Both losses are right, but the gradient of D's loss reaches `fake`. G would be pulled towards what helps "
            "D. Detach `fake` in D's loss.",
        ),
        Misconception(
            "one draw for all three",
            both_one_draw,
            "You use `noise[0]` for all three looks. Each has its own: `noise[0]`, `noise[1]` and `noise[2]`.",
        ),
        Misconception(
            "G takes D's draw",
            both_draw_of_d,
            "In G's loss you take the draw of D's look at `fake`, `noise[1]`. G's look has its own, `noise[2]`.",
        ),
        Misconception(
            "one draw for D's two looks",
            both_draw_of_real,
            "D looks at real and drawn pictures with the same draw, `noise[0]`. The drawn ones have their own, "
            "`noise[1]`.",
        ),
        Misconception(
            "one change for the batch",
            both_one_for_the_batch,
            "All pictures of a batch get the change of the first. Each picture has its own row of random numbers: hand "
            "`change` all of them.",
        ),
        Misconception(
            "clamped",
            both_clamped,
            "You clamp what the change gives to [-1, 1]. Where it was cut off, no gradient passes, and G is told "
            "nothing about those pixels. Show it to D as it is.",
        ),
        Misconception(
            "half of D's loss",
            both_half,
            "D's loss is half of what is asked: you divide by 2, or take one mean over real and drawn pictures. It is "
            "the sum of the two means.",
        ),
        Misconception(
            "sums over the batch",
            both_sums,
            "You sum over the batch. Take the mean, so that a larger batch does not make a larger step.",
        ),
        Misconception(
            "minimax for G",
            both_minimax,
            "G's loss is the minimax one, minus softplus(D). Where D is sure, its slope is almost 0. Asked is "
            "softplus(-D) of what should look real.",
        ),
        Misconception(
            "signs exchanged",
            both_signs,
            "All signs are the wrong way round: D learns to call real pictures drawn. A high logit means real, and "
            "softplus(-D) is small where D is high.",
        ),
        Misconception(
            "G wants to look drawn",
            both_g_as_drawn,
            "G's loss falls when D calls its pictures drawn. G wants them to look real: that is softplus(-D).",
        ),
        Misconception(
            "losses exchanged",
            both_exchanged,
            "Both losses are right, and they come in the wrong order: D's first, then G's.",
        ),
    ),
    also_right=(both_with_labels, both_picture_by_picture),
)

# ---------------------------------------------------------------------------------------------- found_within


def probe_found_within(answer: Any, seed: int) -> dict[str, Any]:
    """Every picture a group of its own; groups of many and of one; more places than groups."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    cases = {
        "all different": (9, (9,), 1),
        "groups, the nearest": (14, (5, 1, 1, 2, 1, 4), 1),
        "groups, two places": (16, (6, 1, 2, 1, 1, 3, 1, 1), 2),
        "more places than groups": (16, (10, 3, 1, 1, 1), 6),
    }
    for name, (n, sizes, k) in cases.items():
        group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)) if len(sizes) > 1 else None
        group = torch.arange(n) if group is None else group[torch.randperm(n, generator=g)]
        count = int(group.max()) + 1
        same = torch.randperm(60, generator=g)[:count][group]
        centre = torch.randn(count, 5, generator=g, dtype=torch.float64)
        shelf = centre[group] + 0.5 * torch.randn(n, 5, generator=g, dtype=torch.float64)
        rows = torch.randperm(80, generator=g) % n  # every picture is asked for
        drawn = shelf[rows] + 1.5 * torch.randn(80, 5, generator=g, dtype=torch.float64)
        shelf = shelf * (0.3 + 2 * torch.rand(n, 1, generator=g, dtype=torch.float64))
        drawn = drawn * (0.3 + 2 * torch.rand(80, 1, generator=g, dtype=torch.float64))
        out[name] = torch.as_tensor(answer(drawn, shelf, rows, same, k)).clone()
    return out


def _cosine(drawn: Tensor, shelf: Tensor) -> Tensor:
    return F.normalize(drawn, dim=1) @ F.normalize(shelf, dim=1).T


def _places(near: Tensor, rows: Tensor, same: Tensor) -> Tensor:
    """How many groups are nearer than the true one (B,), of nearness (B, N)."""
    _, group = torch.unique(same, return_inverse=True)
    best = torch.stack([near[:, group == i].amax(1) for i in range(int(group.max()) + 1)], 1)
    return (best > best[torch.arange(len(rows)), group[rows]][:, None]).sum(1)


def found_by_product(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(drawn @ shelf.T, rows, same) < k


def found_by_distance(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(-torch.cdist(drawn, shelf), rows, same) < k


def found_columns(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(F.normalize(drawn, dim=0) @ F.normalize(shelf, dim=0).T, rows, same) < k


def found_farthest(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(-_cosine(drawn, shelf), rows, same) < k


def found_itself(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    near = _cosine(drawn, shelf)
    return (near > near.gather(1, rows[:, None])).sum(1) < k


def found_among_pictures(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    top = _cosine(drawn, shelf).topk(min(k, len(shelf)), dim=1).indices
    return (same[top] == same[rows][:, None]).any(1)


def found_itself_among_groups(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    near = _cosine(drawn, shelf)
    ahead = near > near.gather(1, rows[:, None])
    others = [len(set(same[a].tolist()) - {int(same[row])}) for a, row in zip(ahead, rows, strict=True)]
    return torch.tensor(others) < k


def found_group_mean(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    member = (same[:, None] == same).double()
    return _places(_cosine(drawn, shelf) @ member / member.sum(0), rows, same) < k


def found_mean_vector(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    member = (same[:, None] == same).double()
    return _places(_cosine(drawn, member @ F.normalize(shelf, dim=1)), rows, same) < k


def found_one_place_less(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) < k - 1


def found_one_place_more(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) <= k


def found_at_place(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) == k - 1


def found_first(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) < 1


def found_row_for_group(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    top = _cosine(drawn, shelf).topk(min(k, len(shelf)), dim=1).indices
    return (same[top] == rows[:, None]).any(1)


def found_not(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) >= k


def found_share(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return (_places(_cosine(drawn, shelf), rows, same) < k).double().mean()


def found_places(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    return _places(_cosine(drawn, shelf), rows, same) + 1


def found_by_sorting(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    """Down the sorted shelf, each group where it is met first."""
    unit = shelf / shelf.norm(dim=1, keepdim=True)  # the length of what was drawn changes no order
    out = []
    for vector, row in zip(drawn, rows.tolist(), strict=True):
        order = (unit @ vector).argsort(descending=True)
        first = list(dict.fromkeys(same[order].tolist()))[:k]
        out.append(int(same[row]) in first)
    return torch.tensor(out)


def found_by_rivals(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    """Each group counts once among what is nearer than the best of one's own."""
    near = 1 - torch.cdist(F.normalize(drawn, dim=1), F.normalize(shelf, dim=1)).square() / 2  # a cosine too
    mine = same == same[rows, None]  # (B, N)
    ahead = near > near.masked_fill(~mine, -9).max(1, keepdim=True).values
    return torch.tensor([len(same[one].unique()) < k for one in ahead])


FOUND_WITHIN = Item(
    id="found_within",
    title="Is it the picture that was asked for?",
    points=3,
    answer="found_within",
    probe=probe_found_within,
    misconceptions=(
        Misconception(
            "not normalised",
            found_by_product,
            "You take the inner product of vectors of any length. A long vector on the shelf is then near to "
            "everything. Divide by the length first: that is the cosine.",
        ),
        Misconception(
            "distance of raw vectors",
            found_by_distance,
            "You take the distance of vectors of any length. A vector that points the same way and is longer is then "
            "far away. Bring all to length 1 first.",
        ),
        Misconception(
            "columns normalised",
            found_columns,
            "You bring columns to length 1, each number over all pictures. Which axis runs along one vector?",
        ),
        Misconception(
            "the farthest",
            found_farthest,
            "You look among the farthest pictures. A distance is small where pictures are near; a cosine is large.",
        ),
        Misconception(
            "groups ignored",
            found_itself,
            "You ask for the one picture at `rows` alone. The same drawing lies on the shelf under other names, and "
            "any picture of its group is right.",
        ),
        Misconception(
            "the k nearest pictures",
            found_among_pictures,
            "You look among the k nearest pictures. A group of many pictures may take all of these places. Each group "
            "has one place: that of its nearest picture.",
        ),
        Misconception(
            "own group not at its nearest",
            found_itself_among_groups,
            "You give other groups the place of their nearest picture, and the true group that of the picture at "
            "`rows`. It has the place of its nearest picture too.",
        ),
        Misconception(
            "mean of a group's cosines",
            found_group_mean,
            "You give a group the mean of its pictures' cosines. One picture of the group is enough: take the nearest.",
        ),
        Misconception(
            "a group's mean vector",
            found_mean_vector,
            "You compare with the mean vector of each group. No picture has this vector. Take the group's nearest "
            "picture.",
        ),
        Misconception(
            "one place too few",
            found_one_place_less,
            "You count one place too few: for k = 1 nothing is ever right. With k places, up to k - 1 other groups may "
            "be nearer.",
        ),
        Misconception(
            "one place too many",
            found_one_place_more,
            "You count one place too many. Where k other groups are nearer, the true one has place k + 1.",
        ),
        Misconception(
            "at place k exactly",
            found_at_place,
            "You ask whether the true group has place k exactly. Any of the first k places is right.",
        ),
        Misconception(
            "k ignored",
            found_first,
            "You look at the nearest alone. The first `k` places count.",
        ),
        Misconception(
            "a row for a group",
            found_row_for_group,
            "You compare the numbers of groups with `rows`, which are places on the shelf. Which group has the picture "
            "that lies there?",
        ),
        Misconception(
            "the other way round",
            found_not,
            "Your answers are all the other way round: True where the picture was not found.",
        ),
        Misconception(
            "the share",
            found_share,
            "This is R@k itself, one number. Asked is an answer for each drawn picture, so that one can look at those "
            "that failed.",
        ),
        Misconception(
            "places",
            found_places,
            "You return the place of the true group. That is nearly all: say for each whether it is one of the "
            "first k.",
        ),
    ),
    also_right=(found_by_sorting, found_by_rivals),
)

# ----------------------------------------------------------------------------------------------- near_copies


def probe_near_copies(answer: Any, seed: int) -> dict[str, Any]:
    """Copies, fresh pictures and some between; training pictures near each other; distances that equal the limit."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def ask(name: str, drawn: torch.Tensor, train: torch.Tensor, changed: torch.Tensor, level: float) -> None:
        limit, near = answer(drawn, train, changed, level)
        out[name] = {"limit": float(limit), "near": torch.as_tensor(near).clone()}

    for name, m, b, level in (("a high level", 12, 10, 0.9), ("a low level", 15, 12, 0.3)):
        train = noise(m, 4)
        changed = train + 0.3 * noise(m, 4)
        way = noise(4)
        way = 1.5 * way / way.norm()
        train[1] = train[0] + way  # two that are alike; the change makes each more like the other
        changed[0], changed[1] = train[1] - 0.1 * way + 0.05 * noise(4), train[0] + 0.15 * way + 0.05 * noise(4)
        which = torch.randint(m, (b,), generator=g)
        scale = torch.linspace(0, 1, b, dtype=torch.float64)[torch.randperm(b, generator=g)]
        ask(name, train[which] + scale[:, None] * noise(b, 4), train, changed, level)

    at = torch.randperm(343, generator=g)[:6]
    train = 20.0 * torch.stack([at // 49, at // 7 % 7, at % 7], 1).double()
    way = torch.tensor([[3, 4, 0], [0, 3, 4], [4, 0, 3], [0, 0, 5], [1, 2, 2], [2, 1, -2]]).double()
    changed = train + way[torch.randperm(6, generator=g)]  # the longest are 5
    drawn = train[:5] + torch.tensor([[0, 4, 3], [5, 0, 0], [3, 0, -5], [0, -5, 0], [4, 4, 0]]).double()
    ask("at the limit", drawn[torch.randperm(5, generator=g)], train, changed, 1.0)
    return out


def _limit(train: Tensor, changed: Tensor, level: float) -> Tensor:
    return (changed - train).norm(dim=1).quantile(level)


def copies_mean_distance(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).mean(1) <= limit


def copies_squared(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).square().amin(1) <= limit


def copies_all_squared(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = (changed - train).square().sum(1).quantile(level)
    return limit, torch.cdist(drawn, train).square().amin(1) <= limit


def copies_absolute(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = (changed - train).abs().sum(1).quantile(level)
    return limit, torch.cdist(drawn, train, p=1).amin(1) <= limit


def copies_root_mean(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit, near = copies_right_of(drawn, train, changed, level)
    return limit / train.shape[1] ** 0.5, near


def copies_limit_of_all_pairs(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = torch.cdist(changed, train).flatten().quantile(level)
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_limit_of_nearest(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = torch.cdist(changed, train).amin(1).quantile(level)
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_limit_of_neighbours(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = torch.cdist(train, train).kthvalue(2, dim=1).values.quantile(level)
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_other_tail(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    return copies_right_of(drawn, train, changed, 1 - level)


def copies_mean_limit(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = (changed - train).norm(dim=1).mean()
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_largest_limit(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    return copies_right_of(drawn, train, changed, 1.0)


def copies_share_of_largest(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = level * (changed - train).norm(dim=1).amax()
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_below(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).amin(1) < limit


def copies_far(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).amin(1) > limit


def copies_of_training(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).amin(0) <= limit


def copies_all_pairs(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train) <= limit


def copies_of_changed(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, changed).amin(1) <= limit


def copies_row_by_row(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, (drawn - train[: len(drawn)]).norm(dim=1) <= limit


def copies_share(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit, near = copies_right_of(drawn, train, changed, level)
    return limit, near.double().mean()


def copies_exchanged(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit, near = copies_right_of(drawn, train, changed, level)
    return near, limit


def copies_right_of(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    limit = _limit(train, changed, level)
    return limit, torch.cdist(drawn, train).amin(1) <= limit


def copies_by_numpy(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    moved = ((changed - train) ** 2).sum(1).sqrt().numpy()
    limit = torch.tensor(np.quantile(moved, level))
    return limit, (torch.cdist(drawn, train) <= limit).any(dim=1)


def copies_one_by_one(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    moved = sorted(math.dist(a, b) for a, b in zip(train.tolist(), changed.tolist(), strict=True))
    at = level * (len(moved) - 1)
    low = min(int(at), len(moved) - 2)
    limit = moved[low] + (at - low) * (moved[low + 1] - moved[low])
    near = [min(math.dist(one, other) for other in train.tolist()) <= limit for one in drawn.tolist()]
    return torch.tensor(limit), torch.tensor(near)


NEAR_COPIES = Item(
    id="near_copies",
    title="How near is a copy?",
    points=3,
    answer="near_copies",
    probe=probe_near_copies,
    misconceptions=(
        Misconception(
            "mean distance",
            copies_mean_distance,
            "You take the mean distance to all training pictures. A copy of one of them is far from the others. The "
            "nearest one alone says whether it was copied.",
        ),
        Misconception(
            "squared against a limit that is not",
            copies_squared,
            "You compare squared distances with a limit that is not squared. Below 1 a square is smaller than the "
            "number, above 1 larger. Take the root.",
        ),
        Misconception(
            "all squared",
            copies_all_squared,
            "Your distances are squared throughout. The limit is then no distance, and between two distances the line "
            "runs elsewhere. Take the root before the quantile.",
        ),
        Misconception(
            "sum of absolute values",
            copies_absolute,
            "You sum absolute differences. The Euclidean length is the root of the sum of squares.",
        ),
        Misconception(
            "root of the mean square",
            copies_root_mean,
            "You divide by the number of features under the root. The length of the difference is the root of the sum.",
        ),
        Misconception(
            "limit of all pairs",
            copies_limit_of_all_pairs,
            "Your limit comes from all pairs of a changed picture and a training picture. Most of these show two "
            "different pictures. Compare each changed picture with itself before the change: row i with row i.",
        ),
        Misconception(
            "limit of the nearest",
            copies_limit_of_nearest,
            "For the limit you compare each changed picture with the nearest training picture. That may be another "
            "one, and then the limit is too small. Compare row i with row i.",
        ),
        Misconception(
            "limit of neighbours",
            copies_limit_of_neighbours,
            "Your limit says how far apart different training pictures are. Asked is how far a picture is from itself "
            "after a small change: use `changed`.",
        ),
        Misconception(
            "the other tail",
            copies_other_tail,
            "You take the quantile 1 - level. Then only a few of the changed pictures lie within the limit. For 0.95 "
            "it should be 95 in 100.",
        ),
        Misconception(
            "mean for quantile",
            copies_mean_limit,
            "Your limit is the mean of the distances. It does not hear of `level`: take that quantile.",
        ),
        Misconception(
            "the largest",
            copies_largest_limit,
            "Your limit is the largest distance, whatever `level` says. One odd picture decides it then. Take the "
            "quantile.",
        ),
        Misconception(
            "a share of the largest",
            copies_share_of_largest,
            "You multiply the largest distance by `level`. A quantile is where this share of the distances lies below, "
            "and not this share of a distance.",
        ),
        Misconception(
            "the limit left out",
            copies_below,
            "A drawn picture at the limit exactly is a near-copy too: the limit belongs to it.",
        ),
        Misconception(
            "the far ones",
            copies_far,
            "Your answers are the other way round: True for pictures that lie farther away than the limit.",
        ),
        Misconception(
            "which were copied",
            copies_of_training,
            "You say which training pictures have a copy. Asked is which drawn pictures are one. Along which side of "
            "the table do you take the smallest distance?",
        ),
        Misconception(
            "all pairs",
            copies_all_pairs,
            "You return an answer for each pair. A drawn picture is a near-copy if the nearest of all training "
            "pictures lies within the limit: one answer each.",
        ),
        Misconception(
            "compared with the changed",
            copies_of_changed,
            "You compare what was drawn with the changed pictures. They are there for the limit alone; the model was "
            "trained on `train`.",
        ),
        Misconception(
            "row by row",
            copies_row_by_row,
            "You compare drawn picture i with training picture i. A copy may be of any of them.",
        ),
        Misconception(
            "the share",
            copies_share,
            "You return the share of near-copies. Asked is which they are, so that one can look at them. Leave the "
            "mean out.",
        ),
        Misconception(
            "order",
            copies_exchanged,
            "Both parts are right, and they come in the wrong order: the limit first.",
        ),
    ),
    also_right=(copies_by_numpy, copies_one_by_one),
)

# ---------------------------------------------------------------------------------------------------- detect


def probe_detect(answer: Any, seed: int) -> dict[str, Any]:
    """Pictures dark and light, flat and rough, with a mark, without, and with its opposite; three rates."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, (b, h, w), rate in (
        ("one in a hundred", (5, 5, 6), 0.01),
        ("one in a thousand", (4, 7, 4), 0.001),
        ("one in five", (3, 3, 4), 0.2),
    ):
        pattern = 2.0 * torch.randint(2, (h, w), generator=g) - 1
        pattern[0], pattern[1, :2] = 1, -1  # more of one sign than of the other
        pattern = pattern.double()
        rough = 0.1 + 0.4 * torch.rand(b, 1, 1, 1, generator=g, dtype=torch.float64)
        light = torch.rand(b, 3, 1, 1, generator=g, dtype=torch.float64) - 0.7
        x = light + rough * torch.randn(b, 3, h, w, generator=g, dtype=torch.float64)
        strength = rough * torch.tensor([0, 0.4, -0.5, 0.2, 0.6], dtype=torch.float64)[:b, None, None, None]
        z, threshold = answer(x + strength * pattern, pattern, rate)
        out[name] = {"z": torch.as_tensor(z).clone(), "threshold": float(threshold)}
    return out


def _rest(x: Tensor) -> Tensor:
    """(B, H * W): brightness less its mean."""
    grey = x.mean(1).flatten(1)
    return grey - grey.mean(1, keepdim=True)


def _z(rest: Tensor, pattern: Tensor) -> Tensor:
    return rest @ pattern.flatten() / rest.norm(dim=1)


def _above(rate: float) -> float:
    return NormalDist().inv_cdf(1 - rate)


def detect_with_mean(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(x.mean(1).flatten(1), pattern), _above(rate)


def detect_mean_above(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return x.mean(1).flatten(1) @ pattern.flatten() / _rest(x).norm(dim=1), _above(rate)


def detect_mean_below(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _rest(x) @ pattern.flatten() / x.mean(1).flatten(1).norm(dim=1), _above(rate)


def detect_colours_apart(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = (x - x.mean((1, 2, 3), keepdim=True)).flatten(1)
    return _z(rest, pattern.expand(3, -1, -1)), _above(rate)


def detect_colour_means(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = (x - x.mean((2, 3), keepdim=True)).flatten(1)
    return _z(rest, pattern.expand(3, -1, -1)), _above(rate)


def detect_sum_of_colours(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return 3 * _rest(x) @ pattern.flatten() / _rest(x).norm(dim=1), _above(rate)


def detect_first_colour(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x[:, :1]), pattern), _above(rate)


def detect_mean_of_batch(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z((x.mean(1) - x.mean()).flatten(1), pattern), _above(rate)


def detect_batch_picture(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z((x - x.mean(0)).mean(1).flatten(1), pattern), _above(rate)


def detect_spread_of_batch(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / (rest.norm() / len(x) ** 0.5), _above(rate)


def detect_no_spread(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / rest.shape[1] ** 0.5, _above(rate)


def detect_sum(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _rest(x) @ pattern.flatten(), _above(rate)


def detect_mean_product(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / rest.shape[1], _above(rate)


def detect_cosine(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return F.cosine_similarity(_rest(x), pattern.flatten()[None], dim=1), _above(rate)


def detect_correlation(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    p = pattern.flatten() - pattern.mean()
    return F.cosine_similarity(_rest(x), p[None], dim=1), _above(rate)


def detect_scaled_correlation(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    r, threshold = detect_correlation(x, pattern, rate)
    return r * pattern.numel() ** 0.5, threshold


def detect_std(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / rest.std(1), _above(rate)


def detect_variance(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / rest.square().sum(1), _above(rate)


def detect_less_one(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    rest = _rest(x)
    return rest @ pattern.flatten() / (rest.std(1) * rest.shape[1] ** 0.5), _above(rate)


def detect_absolute(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern).abs(), _above(rate)


def detect_two_sided(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern), _above(rate / 2)


def detect_absolute_two_sided(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern).abs(), _above(rate / 2)


def detect_wrong_tail(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern), NormalDist().inv_cdf(rate)


def detect_the_rate(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern), 1 - rate


def detect_found(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    return _z(_rest(x), pattern) > _above(rate), _above(rate)


def detect_from_the_batch(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    z = _z(_rest(x), pattern)
    return z, float(z.quantile(1 - rate))


def detect_by_moments(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    grey, signs = (x.sum(1) / 3).flatten(1), pattern.flatten()
    top = (grey * signs).mean(1) - grey.mean(1) * signs.mean()
    variance = grey.square().mean(1) - grey.mean(1) ** 2
    z = top / variance.sqrt() * len(signs) ** 0.5
    return z, float(-torch.special.ndtri(torch.tensor(rate, dtype=torch.float64)))


def detect_one_by_one(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    z = []
    for picture in x:
        picture = picture - picture.mean((1, 2), keepdim=True)  # of each colour: the mean over colours is then 0 too
        rest = [sum(colours) for colours in zip(*picture.flatten(1).tolist(), strict=True)]  # three times as much
        total = sum(r if sign > 0 else -r for r, sign in zip(rest, pattern.reshape(-1).tolist(), strict=True))
        z.append(total / math.hypot(*rest))
    low, high = 0.0, 10.0  # for rates below a half
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle / 2**0.5) / 2 > rate else (low, middle)
    return torch.tensor(z, dtype=torch.float64), low


DETECT = Item(
    id="detect",
    title="Is it your picture?",
    points=3,
    answer="detect",
    probe=probe_detect,
    misconceptions=(
        Misconception(
            "mean left in",
            detect_with_mean,
            "The mean of the picture is still in it. In a light picture it is most of the sum of squares, and a "
            "pattern with more of one sign gives z for the light alone. Subtract the mean first.",
        ),
        Misconception(
            "mean left in above",
            detect_mean_above,
            "Below the line the mean is gone, above it is not. A pattern with more +1 than -1 then finds a mark in "
            "every light picture.",
        ),
        Misconception(
            "mean left in below",
            detect_mean_below,
            "Above the line the mean is gone, below it is not. In light pictures z is then too small. The same "
            "differences belong to both.",
        ),
        Misconception(
            "colours apart",
            detect_colours_apart,
            "You sum over the three colours apart. The mark is the same in all of them, so take their mean first: one "
            "brightness for each pixel. What differs between colours then adds nothing below the line.",
        ),
        Misconception(
            "colours apart, each with its mean",
            detect_colour_means,
            "You subtract a mean from each colour and sum over the three apart. Take the mean of the colours first, "
            "and then subtract one mean for the picture.",
        ),
        Misconception(
            "colours added above alone",
            detect_sum_of_colours,
            "Your z is three times too large: above the line you add the colours up, below it you take their mean. "
            "The same numbers belong to both.",
        ),
        Misconception(
            "one colour",
            detect_first_colour,
            "You look at red alone. The mark lies in all three colours, and their mean has less noise.",
        ),
        Misconception(
            "mean of the batch",
            detect_mean_of_batch,
            "You subtract the mean of the whole batch. z of a picture would change with the pictures beside it. Each "
            "has its own mean.",
        ),
        Misconception(
            "mean picture",
            detect_batch_picture,
            "You subtract the mean picture of the batch. If all are marked, the mark goes with it. Subtract one "
            "number: the mean brightness of one picture.",
        ),
        Misconception(
            "spread of the batch",
            detect_spread_of_batch,
            "You divide by the spread of all pictures together. A rough picture gets large z by chance then, and a "
            "flat one none. Each has its own sum of squares.",
        ),
        Misconception(
            "not divided by the spread",
            detect_no_spread,
            "You divide by the root of n, and not by what the picture's numbers spread. z of a flat picture is then "
            "too small for any threshold, mark or none.",
        ),
        Misconception(
            "not divided",
            detect_sum,
            "This is what stands above the line. A picture of more pixels or more contrast gets a larger sum by "
            "chance. Divide by the root of the sum of squares.",
        ),
        Misconception(
            "mean of products",
            detect_mean_product,
            "You divide by n. A mean of products gets smaller with more pixels and says nothing about chance. Divide "
            "by the root of the sum of squares.",
        ),
        Misconception(
            "a cosine",
            detect_cosine,
            "You divide by the pattern's length as well. That is a cosine, which lies between -1 and 1, and no "
            "threshold of a normal distribution fits it. The formula has the picture's length alone.",
        ),
        Misconception(
            "a correlation",
            detect_correlation,
            "This is the correlation of picture and pattern, between -1 and 1. No threshold of a normal distribution "
            "fits it. The formula subtracts nothing from the signs and does not divide by their length.",
        ),
        Misconception(
            "a scaled correlation",
            detect_scaled_correlation,
            "You subtract the mean of the pattern as well and divide by what is left of it. It is close, and not the "
            "formula: the signs stay +1 and -1.",
        ),
        Misconception(
            "standard deviation",
            detect_std,
            "You divide by the standard deviation. That is the root of a mean of squares, and here it is the root of "
            "the sum: z is too large by about the root of n.",
        ),
        Misconception(
            "variance",
            detect_variance,
            "You divide by the sum of squares and not by its root. Then z has a unit: twice the contrast gives half "
            "of it.",
        ),
        Misconception(
            "n - 1",
            detect_less_one,
            "You divide by `std` times the root of n. In torch `std` divides by n - 1, so z is a little too small. The "
            "formula has a plain sum.",
        ),
        Misconception(
            "absolute z",
            detect_absolute,
            "You take the absolute value of z. The opposite of the pattern is no mark, and twice as many pictures "
            "would be above the threshold by chance.",
        ),
        Misconception(
            "two-sided threshold",
            detect_two_sided,
            "Your threshold is the two-sided one, with half of the rate on each side. A picture is called marked above "
            "the threshold alone, so the whole rate lies there.",
        ),
        Misconception(
            "two-sided throughout",
            detect_absolute_two_sided,
            "You test both sides: the absolute value of z, and half of the rate on each side. The opposite of the "
            "pattern is no mark. Test above alone.",
        ),
        Misconception(
            "the wrong tail",
            detect_wrong_tail,
            "Your threshold is below 0, and nearly every picture is above it. `inv_cdf` is told the share below the "
            "number, and the rate is the share above.",
        ),
        Misconception(
            "a share for a threshold",
            detect_the_rate,
            "Your threshold is a share. Which z has this share of a standard normal distribution below it?",
        ),
        Misconception(
            "who is marked",
            detect_found,
            "You say which pictures are above the threshold. Asked is z itself, so that one sees how far above.",
        ),
        Misconception(
            "a threshold from the batch",
            detect_from_the_batch,
            "Your threshold is a quantile of these pictures' own z. If all are marked, nearly all would be called "
            "unmarked. It comes from the normal distribution, before any picture is seen.",
        ),
    ),
    also_right=(detect_by_moments, detect_one_by_one),
)

ITEMS = [MERGE_ONCE, AUGMENT_BOTH, FOUND_WITHIN, NEAR_COPIES, DETECT]
