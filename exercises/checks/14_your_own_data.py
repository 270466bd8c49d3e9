"""What is asked in exercises 14, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

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

ITEMS = [MERGE_ONCE, AUGMENT_BOTH]
