"""What is asked in exercises 08, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception
from mmcourse.text import split_words

# -------------------------------------------------------------------------------------------------- tokenize


def probe_tokenize(answer: Any, seed: int) -> dict[str, Any]:
    """Captions in two languages with unknown words, one that just fits, and one that is too long."""
    import random
    from itertools import zip_longest

    import torch

    rng = random.Random(seed)
    colours, shapes = ["red", "blue", "green"], ["circle", "square", "star", "ring"]
    hues, forms = ["红色", "蓝色", "绿色"], ["圆形", "正方形", "星形"]
    known = ["a", "small", "large", "left", "of", "的", "在", "左边", *colours, *shapes, *hues, *forms]
    rng.shuffle(known)
    index = {word: number + 2 for number, word in enumerate(known)}

    def pick(words):
        return rng.choice(words)

    texts = [
        f"A small {pick(colours).upper()} {pick(shapes)}.",
        f"a {pick(colours)} {pick(shapes)}, left of a {pick(colours)} {pick(shapes)}",  # eight words: it just fits
        f"a crimson {pick(shapes)}",
        f"{pick(hues)}的{pick(forms)}在{pick(hues)}的{pick(forms)}左边",
        f"{pick(hues)}的菱{pick(forms)}",
        pick(shapes),
    ]
    rng.shuffle(texts)
    out: dict[str, Any] = {}
    for name, some, length in (("rows of 8", texts, 8), ("rows of 11", texts[:2], 11)):
        rows = torch.as_tensor(answer(list(some), dict(index), length)).tolist()
        out[name] = {str(text): row for text, row in zip_longest(some, rows, fillvalue="nothing")}
    try:
        longer = answer([texts[0], f"a large {pick(colours)} {pick(shapes)}"], dict(index), 3)
        out["four words for three places"] = f"it returned {torch.as_tensor(longer).tolist()}"
    except Exception as error:
        name = "ValueError" if isinstance(error, ValueError) else type(error).__name__
        out["four words for three places"] = f"it raised {name}"
    return out


def _filled(rows: list[list[int]], length: int) -> Tensor:
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


def _refuse_long(rows: list[list[int]], length: int) -> None:
    if any(len(row) > length for row in rows):
        raise ValueError("too long")


def tokenize_drops_unknown(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index[w] for w in split_words(t, index) if w in index] for t in texts]
    _refuse_long(rows, length)
    return _filled(rows, length)


def tokenize_unknown_is_padding(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index.get(w, 0) for w in split_words(t, index)] for t in texts]
    _refuse_long(rows, length)
    return _filled(rows, length)


def tokenize_splits_at_spaces(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index.get(w, 1) for w in t.split()] for t in texts]
    _refuse_long(rows, length)
    return _filled(rows, length)


def tokenize_splits_lower_case_at_spaces(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    return tokenize_splits_at_spaces([t.lower() for t in texts], index, length)


def tokenize_cuts(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    return _filled([[index.get(w, 1) for w in split_words(t, index)][:length] for t in texts], length)


def tokenize_pads_in_front(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index.get(w, 1) for w in split_words(t, index)] for t in texts]
    _refuse_long(rows, length)
    return torch.tensor([[0] * (length - len(row)) + row for row in rows])


def tokenize_as_long_as_the_longest(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index.get(w, 1) for w in split_words(t, index)] for t in texts]
    _refuse_long(rows, length)
    return _filled(rows, max(len(row) for row in rows))


def tokenize_does_not_look_at_length(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    ids = torch.zeros(len(texts), length, dtype=torch.int64)
    for i, text in enumerate(texts):
        row = [index.get(w, 1) for w in split_words(text, index)]
        ids[i, : len(row)] = torch.tensor(row)
    return ids


def tokenize_unknown_stops(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [[index[w] for w in split_words(t, index)] for t in texts]
    return _filled(rows, length)


def tokenize_by_lists(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = []
    for text in texts:
        words = split_words(text, index)
        if len(words) > length:
            raise ValueError(f"{len(words)} words, at most {length} fit")
        row = []
        for word in words:
            if word in index:
                row.append(index[word])
            else:
                row.append(1)
        while len(row) < length:
            row.append(0)
        rows.append(row)
    return torch.LongTensor(rows)


def tokenize_by_padding(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    rows = [torch.tensor([index.get(w, 1) for w in split_words(t, index)]) for t in texts]
    if max(map(len, rows)) > length:
        raise ValueError("a text is too long")
    return torch.stack([F.pad(row, (0, length - len(row))) for row in rows])


TOKENIZE = Item(
    id="tokenize",
    title="Words become numbers",
    points=2,
    answer="tokenize",
    probe=probe_tokenize,
    misconceptions=(
        Misconception(
            "drops unknown words",
            tokenize_drops_unknown,
            "A word that is not known vanishes from your rows. 'a crimson ring' then reads like 'a ring', and nobody "
            "is told. It must keep its place.",
        ),
        Misconception(
            "unknown is padding",
            tokenize_unknown_is_padding,
            "A word that is not known gets the number of padding. Padding means that nothing stands there, and here "
            "something stands. Which number is kept for it?",
        ),
        Misconception(
            "an unknown word is an error",
            tokenize_unknown_stops,
            "Your function stops at a word that the dictionary does not hold. Look up how to ask a dictionary for a "
            "key that may be missing.",
        ),
        Misconception(
            "splits at spaces",
            tokenize_splits_at_spaces,
            "You split at spaces. 'RED' and 'ring.' are then unknown, and a Chinese sentence, which has no spaces, is "
            "one long unknown word. Use the function that the prompt names.",
        ),
        Misconception(
            "lower case, splits at spaces",
            tokenize_splits_lower_case_at_spaces,
            "Capitals are dealt with, full stops and commas are not, and a Chinese sentence, which has no spaces, "
            "becomes one long unknown word. Use the function that the prompt names.",
        ),
        Misconception(
            "cuts in silence",
            tokenize_cuts,
            "A text that is too long is cut off. 'a red circle left of a ...' without its end is another caption. Say "
            "so with an error instead.",
        ),
        Misconception(
            "does not look at the length",
            tokenize_does_not_look_at_length,
            "A text that is too long ends in an error of torch about sizes, which tells a reader nothing. Compare the "
            "number of words with `length` first and raise ValueError yourself.",
        ),
        Misconception(
            "pads in front",
            tokenize_pads_in_front,
            "Your padding stands in front of the words. The tower reads from the first place on, so the words come "
            "first and the padding behind them.",
        ),
        Misconception(
            "as wide as the longest",
            tokenize_as_long_as_the_longest,
            "Your rows are as wide as the longest text of the batch. Every batch then has another width. Which width "
            "does the docstring ask for?",
        ),
    ),
    also_right=(tokenize_by_lists, tokenize_by_padding),
    example="rows of 8",
)

# ------------------------------------------------------------------------------------------------- mean_pool


def probe_mean_pool(answer: Any, seed: int) -> dict[str, Any]:
    """A batch with sentences of many lengths, unknown words and a row without words; and one with common padding."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out = {}
    lengths = torch.tensor([6, 1, 0, 4, 2])[torch.randperm(5, generator=g)]
    for name, long in (("sentences of several lengths", lengths), ("sentences of one length", torch.tensor([3, 3]))):
        t = 6 if len(long) == 5 else 5
        ids = torch.randint(2, 40, (len(long), t), generator=g)
        ids[:, 0] = 1  # every sentence starts with an unknown word
        ids = torch.where(torch.arange(t) < long[:, None], ids, 0)
        vectors = 1.5 + 2 * torch.randn(len(long), t, 3, generator=g)
        out[name] = torch.as_tensor(answer(vectors, ids)).detach().clone()
    return out


def _words(ids: Tensor) -> Tensor:
    return (ids > 0)[..., None].float()  # (B, T, 1)


def mean_over_all_places(vectors: Tensor, ids: Tensor) -> Tensor:
    return vectors.mean(1)


def mean_divides_by_all_places(vectors: Tensor, ids: Tensor) -> Tensor:
    return (vectors * _words(ids)).mean(1)


def mean_sums_padding(vectors: Tensor, ids: Tensor) -> Tensor:
    return vectors.sum(1) / _words(ids).sum(1).clamp(min=1)


def mean_leaves_out_unknown(vectors: Tensor, ids: Tensor) -> Tensor:
    return mean_without_nan(vectors, torch.where(ids == 1, 0, ids))


def mean_of_nothing(vectors: Tensor, ids: Tensor) -> Tensor:
    return (vectors * _words(ids)).sum(1) / _words(ids).sum(1)


def sum_not_mean(vectors: Tensor, ids: Tensor) -> Tensor:
    return (vectors * _words(ids)).sum(1)


def maximum_not_mean(vectors: Tensor, ids: Tensor) -> Tensor:
    most = vectors.masked_fill(_words(ids) == 0, float("-inf")).amax(1)
    return most.masked_fill(_words(ids).sum(1) == 0, 0.0)


def mean_over_the_batch(vectors: Tensor, ids: Tensor) -> Tensor:
    return (vectors * _words(ids)).sum(1) / _words(ids).sum(1).max()


def mean_without_nan(vectors: Tensor, ids: Tensor) -> Tensor:
    weights = _words(ids) / (_words(ids).sum(1, keepdim=True) + 1e-12)
    return torch.einsum("btc,btx->bc", vectors, weights)


def mean_in_a_loop(vectors: Tensor, ids: Tensor) -> Tensor:
    rows = []
    for vector, row in zip(vectors, ids, strict=True):
        chosen = vector[row != 0]
        rows.append(chosen.mean(0) if len(chosen) else torch.zeros(vector.shape[1]))
    return torch.stack(rows)


def mean_by_nan(vectors: Tensor, ids: Tensor) -> Tensor:
    hidden = vectors.double().masked_fill((ids == 0).unsqueeze(-1), float("nan"))
    return hidden.nanmean(1).nan_to_num(0.0)


MEAN_POOL = Item(
    id="mean_pool",
    title="One vector a sentence",
    points=2,
    answer="mean_pool",
    probe=probe_mean_pool,
    misconceptions=(
        Misconception(
            "padding counts",
            mean_over_all_places,
            "Your mean runs over every place, so the padding counts as if it were words. A sentence then moves when "
            "its neighbour is longer. `ids` tells you which places are words.",
        ),
        Misconception(
            "divides by all places",
            mean_divides_by_all_places,
            "The padding is out of the sum but still in the count: you divide by the width of the rectangle. How many "
            "words has each sentence?",
        ),
        Misconception(
            "sums the padding",
            mean_sums_padding,
            "You divide by the number of words, and yet the padding's vectors are still in the sum. They are not "
            "zero: a recurrent network goes on counting behind the last word.",
        ),
        Misconception(
            "unknown words left out",
            mean_leaves_out_unknown,
            "You leave out the unknown words as well. Number 1 is a word that stands there; only 0 is padding.",
        ),
        Misconception(
            "zero over zero",
            mean_of_nothing,
            "A row without any word gives 0 / 0, which is NaN. One NaN in a batch spoils the loss of all others. What "
            "could the smallest divisor be, so that 0 words give 0?",
        ),
        Misconception(
            "a sum",
            sum_not_mean,
            "This is the sum over the words. A long sentence gets a longer vector than a short one. Divide by each "
            "sentence's own number of words.",
        ),
        Misconception(
            "a maximum",
            maximum_not_mean,
            "This is the lesson's maximum over the words. The prompt asks for the mean.",
        ),
        Misconception(
            "one count for the batch",
            mean_over_the_batch,
            "You divide every sentence by the count of the longest one. Each sentence has a count of its own.",
        ),
    ),
    also_right=(mean_without_nan, mean_in_a_loop),
)

# -------------------------------------------------------------------------------------------------- info_nce


def probe_info_nce(answer: Any, seed: int) -> dict[str, Any]:
    """Two batches: the loss and its slopes. A caption occurs twice, and a vague one fits a second picture."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, k, scale in (("five pairs", 5, 4, 4.0), ("eight pairs", 8, 5, 12.0)):
        image = torch.randn(b, k, generator=g) * (0.5 + 2 * torch.rand(b, 1, generator=g))
        text = 0.6 * image + torch.randn(b, k, generator=g)
        text[1] = text[0]  # the same caption twice
        positive = torch.eye(b, dtype=torch.bool)
        positive[0, 1] = positive[1, 0] = True
        positive[2, b - 1] = True  # the last caption is vague and fits picture 2 as well
        image.requires_grad_(True)
        text.requires_grad_(True)
        loss = answer(image * 1, text * 1, positive.clone(), scale)
        out[f"loss of {name}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if torch.is_tensor(loss) and loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), [image, text], allow_unused=True)
            for kind, slope in zip(("pictures", "captions"), slopes, strict=True):
                out[f"slope of {name} at the {kind}"] = "no slope" if slope is None else slope.clone()
        else:
            out[f"slope of {name} at the pictures"] = "the loss carries no gradient"
    return out


def _cosines(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return scale * (F.normalize(image, dim=1) @ F.normalize(text, dim=1).T)


def _whole(logits: Tensor, positive: Tensor) -> Tensor:
    return (logits.logsumexp(1) - logits.masked_fill(~positive, float("-inf")).logsumexp(1)).mean()


def nce_pictures_only(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    return _whole(_cosines(image, text, scale), positive)


def nce_captions_only(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    return _whole(_cosines(image, text, scale).T, positive.T)


def nce_not_normalised(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits = scale * image @ text.T
    return (_whole(logits, positive) + _whole(logits.T, positive.T)) / 2


def nce_normalised_over_the_batch(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits = scale * F.normalize(image, dim=0) @ F.normalize(text, dim=0).T
    return (_whole(logits, positive) + _whole(logits.T, positive.T)) / 2


def nce_duplicates_are_negatives(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits, own = _cosines(image, text, scale), torch.arange(len(image))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def nce_mean_of_logarithms(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits, target = _cosines(image, text, scale), positive.float()
    rows = -(logits.log_softmax(1) * target).sum(1) / target.sum(1)
    columns = -(logits.log_softmax(0) * target).sum(0) / target.sum(0)
    return (rows.mean() + columns.mean()) / 2


def nce_table_not_turned(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits = _cosines(image, text, scale)
    return (_whole(logits, positive) + _whole(logits.T, positive)) / 2


def nce_divides_by_scale(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    return nce_by_probabilities(image, text, positive, 1 / scale)


def nce_sum_of_directions(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    return 2 * nce_by_probabilities(image, text, positive, scale)


def nce_no_gradient(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    return nce_by_probabilities(image, text, positive, scale).detach()


def nce_by_probabilities(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    a, b = image / image.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True)
    logits = torch.einsum("ik,jk->ij", a, b) * scale
    rows = (logits.softmax(1) * positive).sum(1)
    columns = (logits.softmax(0) * positive).sum(0)
    return -0.5 * (rows.log().mean() + columns.log().mean())


def nce_in_a_loop(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    logits = F.cosine_similarity(image[:, None], text[None], dim=2).mul(scale)
    total = torch.zeros(())
    for table, truth in ((logits, positive), (logits.T, positive.T)):
        for row, true in zip(table, truth, strict=True):
            total = total + torch.logsumexp(row, 0) - torch.logsumexp(row[true], 0)
    return total / (2 * len(image))


INFO_NCE = Item(
    id="info_nce",
    title="Find your partners",
    points=3,
    answer="info_nce",
    probe=probe_info_nce,
    misconceptions=(
        Misconception(
            "from pictures to captions only",
            nce_pictures_only,
            "This is one direction: each picture chooses among captions. Nobody asks the captions yet. Where does the "
            "second softmax run?",
        ),
        Misconception(
            "from captions to pictures only",
            nce_captions_only,
            "This is one direction: each caption chooses among pictures. Nobody asks the pictures yet. Where does the "
            "second softmax run?",
        ),
        Misconception(
            "not normalised",
            nce_not_normalised,
            "The inner product of vectors of any length is no cosine: a long vector is then similar to everything. "
            "Bring every vector to length 1 first.",
        ),
        Misconception(
            "normalised over the batch",
            nce_normalised_over_the_batch,
            "You bring the wrong thing to length 1: each number over the batch, and not each vector. Which axis runs "
            "along one vector?",
        ),
        Misconception(
            "duplicates are negatives",
            nce_duplicates_are_negatives,
            "Your loss takes the caption of the same number as the only true one. A caption that occurs twice is then "
            "pushed away from a picture that it is true of. `positive` knows better.",
        ),
        Misconception(
            "a mean of logarithms",
            nce_mean_of_logarithms,
            "You take the logarithm of each true partner's probability and average these. That asks every partner for "
            "an equal share. Asked is the logarithm of their probability taken together.",
        ),
        Misconception(
            "the table is not turned",
            nce_table_not_turned,
            "For the second direction you turned the similarities but not the table of true pairs. It is not "
            "symmetric: a vague caption fits a picture whose own caption says more.",
        ),
        Misconception(
            "divides by the scale",
            nce_divides_by_scale,
            "You divide by the scale. It is a factor here, the inverse of a temperature: a large one makes the "
            "softmax sharp.",
        ),
        Misconception(
            "a sum of directions",
            nce_sum_of_directions,
            "Both directions are right, and your loss is twice the one asked for: it is their sum. Asked is their "
            "mean.",
        ),
        Misconception(
            "no gradient",
            nce_no_gradient,
            "The number is right, but it carries no gradient, so the towers would never learn from it. What cuts the "
            "graph: a detach, an item(), a no_grad?",
        ),
    ),
    also_right=(nce_by_probabilities, nce_in_a_loop),
    rtol=1e-4,
    atol=2e-5,
)

# ----------------------------------------------------------------------------------------------- recall_at_k


def probe_recall_at_k(answer: Any, seed: int) -> dict[str, Any]:
    """A square table with a caption that occurs twice, and a tall one with a row that nothing fits."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out = {}
    positive = torch.eye(9, dtype=torch.bool) | (torch.rand(9, 9, generator=g) < 0.12)
    similarity = torch.randn(9, 9, generator=g) + positive
    similarity[0, 5], positive[0, 5] = 4.0, True  # the nearest of row 0 is true, and is not its own
    similarity[8, 3], positive[8, 3] = 5.0, False  # the nearest of row 8 is false
    similarity[:, 7], positive[:, 7] = similarity[:, 2], positive[:, 2]  # one caption twice
    for k in (1, 2, 4):
        out[f"recall at {k} of 9 x 9"] = float(answer(similarity.clone(), positive.clone(), k))
    positive = torch.rand(12, 7, generator=g) < 0.3
    positive[torch.arange(12), torch.randint(7, (12,), generator=g)] = True
    positive[4] = False  # nothing is true of row 4
    similarity = torch.randn(12, 7, generator=g) + positive
    for k in (1, 3, 7):
        out[f"recall at {k} of 12 x 7"] = float(answer(similarity.clone(), positive.clone(), k))
    return out


def recall_of_own_partner(similarity: Tensor, positive: Tensor, k: int) -> float:
    own = torch.arange(len(similarity))[:, None]
    return (similarity.topk(k, dim=1).indices == own).any(1).float().mean().item()


def recall_share_of_partners(similarity: Tensor, positive: Tensor, k: int) -> float:
    found = positive.gather(1, similarity.topk(k, dim=1).indices).sum(1)
    return (found / positive.sum(1).clamp(min=1)).mean().item()


def recall_share_of_the_k(similarity: Tensor, positive: Tensor, k: int) -> float:
    return positive.gather(1, similarity.topk(k, dim=1).indices).float().mean().item()


def recall_all_of_the_k(similarity: Tensor, positive: Tensor, k: int) -> float:
    return positive.gather(1, similarity.topk(k, dim=1).indices).all(1).float().mean().item()


def recall_of_columns(similarity: Tensor, positive: Tensor, k: int) -> float:
    return positive.gather(0, similarity.topk(k, dim=0).indices).any(0).float().mean().item()


def recall_of_the_least_similar(similarity: Tensor, positive: Tensor, k: int) -> float:
    nearest = similarity.argsort(dim=1)[:, :k]
    return positive.gather(1, nearest).any(1).float().mean().item()


def recall_of_the_kth(similarity: Tensor, positive: Tensor, k: int) -> float:
    return positive.gather(1, similarity.topk(k, dim=1).indices[:, -1:]).float().mean().item()


def recall_without_empty_rows(similarity: Tensor, positive: Tensor, k: int) -> float:
    some = positive.any(1)
    return positive.gather(1, similarity.topk(k, dim=1).indices).any(1)[some].float().mean().item()


def recall_always_first(similarity: Tensor, positive: Tensor, k: int) -> float:
    return positive.gather(1, similarity.argmax(1, keepdim=True)).float().mean().item()


def recall_by_sorting(similarity: Tensor, positive: Tensor, k: int) -> float:
    hits = 0
    for row, true in zip(similarity.tolist(), positive.tolist(), strict=True):
        nearest = sorted(range(len(row)), key=lambda j: -row[j])[:k]
        hits += any(true[j] for j in nearest)
    return hits / len(similarity)


def recall_by_rank(similarity: Tensor, positive: Tensor, k: int) -> Tensor:
    best = similarity.masked_fill(~positive, float("-inf")).amax(1, keepdim=True)  # the best true one of each row
    nearer = (similarity > best).sum(1)
    return ((nearer < k) & positive.any(1)).double().mean()


RECALL_AT_K = Item(
    id="recall_at_k",
    title="Is a true one among the first k?",
    points=2,
    answer="recall_at_k",
    probe=probe_recall_at_k,
    misconceptions=(
        Misconception(
            "own number only",
            recall_of_own_partner,
            "You look for the column with the row's own number. Other columns may be true as well, and the table need "
            "not be square. `positive` says what is true.",
        ),
        Misconception(
            "share of the partners",
            recall_share_of_partners,
            "You measure which share of a row's true partners is found. Here one is enough: a row is served or it is "
            "not.",
        ),
        Misconception(
            "share of the k",
            recall_share_of_the_k,
            "You measure which share of the k nearest is true. That is called precision. Here a row is served as soon "
            "as one of them is true.",
        ),
        Misconception(
            "all of the k",
            recall_all_of_the_k,
            "You ask that all of the k nearest are true. Then a larger k makes it harder, and it should be easier.",
        ),
        Misconception(
            "over columns",
            recall_of_columns,
            "You search down each column. A row asks, the columns are what it may choose from.",
        ),
        Misconception(
            "the least similar",
            recall_of_the_least_similar,
            "You take the k smallest similarities, the farthest columns. Which way does your sorting go?",
        ),
        Misconception(
            "only the k-th",
            recall_of_the_kth,
            "You look at the k-th nearest alone. A row that was served at k = 1 must stay served at k = 2.",
        ),
        Misconception(
            "rows without a partner left out",
            recall_without_empty_rows,
            "You leave out rows that have no true partner. The prompt counts them: they are asked, and never served.",
        ),
        Misconception(
            "k is not used",
            recall_always_first,
            "Your answer is the same for every k: only the nearest column is looked at.",
        ),
    ),
    also_right=(recall_by_sorting, recall_by_rank),
)

# ------------------------------------------------------------------------------------------- attribute_probe


def probe_attribute_probe(answer: Any, seed: int) -> dict[str, Any]:
    """Two sets of clustered vectors far from zero, the second without its last class; some fresh classes do not fit."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    triangle = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    for name, centres, classes in (("three classes", triangle, 3), ("four of five classes", 2 * torch.eye(5)[:4], 5)):
        there, k = centres.shape
        place = 1.0 + 0.5 * torch.rand(k, generator=g)
        seen_classes = torch.arange(24)[torch.randperm(24, generator=g)] % there
        really = torch.arange(12)[torch.randperm(12, generator=g)] % there
        seen = centres[seen_classes] + place + 0.25 * torch.randn(24, k, generator=g)
        fresh = centres[really] + place + 0.25 * torch.randn(12, k, generator=g)
        strange = int(torch.randint(2, 6, (1,), generator=g))
        fresh_classes = (really + (torch.arange(12) < strange)) % classes
        got, share = answer(seen.clone(), seen_classes.clone(), fresh.clone(), fresh_classes.clone(), classes)
        out[f"share right, {name}"] = float(share)
        out[f"scores, {name}"] = torch.as_tensor(got).detach().clone()
    return out


def _with_constant(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


def _fitted(x: Tensor, y: Tensor, classes: int) -> Tensor:
    return torch.linalg.lstsq(x, F.one_hot(y, classes).float()).solution


def _share(scores: Tensor, y: Tensor) -> float:
    return (scores.argmax(1) == y).float().mean().item()


def reader_without_constant(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    scores = u @ _fitted(x, y, classes)
    return scores, _share(scores, v)


def reader_fitted_on_fresh(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    scores = _with_constant(u) @ _fitted(_with_constant(u), v, classes)
    return scores, _share(scores, v)


def reader_fitted_on_both(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    scores = _with_constant(u) @ _fitted(_with_constant(torch.cat([x, u])), torch.cat([y, v]), classes)
    return scores, _share(scores, v)


def reader_counts_seen(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    weights = _fitted(_with_constant(x), y, classes)
    return _with_constant(u) @ weights, _share(_with_constant(x) @ weights, y)


def reader_of_class_numbers(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    numbers = _with_constant(u) @ torch.linalg.lstsq(_with_constant(x), y.float()[:, None]).solution  # (M, 1)
    return numbers, (numbers[:, 0].round() == v).float().mean().item()


def reader_with_softmax(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    scores = _with_constant(u) @ _fitted(_with_constant(x), y, classes)
    return scores.softmax(1), _share(scores, v)


def reader_compares_truth_with_itself(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    scores = _with_constant(u) @ _fitted(_with_constant(x), y, classes)
    return scores, ((scores > 0.5) == F.one_hot(v, classes).bool()).float().mean().item()


def reader_by_normal_equations(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, float]:
    a = torch.cat([torch.ones(len(x), 1), x], dim=1).double()
    target = torch.zeros(len(x), classes, dtype=torch.float64)
    target[torch.arange(len(x)), y] = 1
    weights = torch.linalg.solve(a.T @ a, a.T @ target)
    scores = weights[0] + u.double() @ weights[1:]
    return scores, int((scores.argmax(1) == v).sum()) / len(v)


def reader_by_centring(x: Tensor, y: Tensor, u: Tensor, v: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    target = torch.eye(classes)[y]
    weights = torch.linalg.pinv(x - x.mean(0)) @ (target - target.mean(0))
    scores = (u - x.mean(0)) @ weights + target.mean(0)
    return scores, scores.max(dim=1).indices.eq(v).double().mean()


ATTRIBUTE_PROBE = Item(
    id="attribute_probe",
    title="What does the space know?",
    points=3,
    answer="attribute_probe",
    probe=probe_attribute_probe,
    misconceptions=(
        Misconception(
            "no constant",
            reader_without_constant,
            "Your reader has no constant, so its scores are 0 for the vector 0, whatever the classes are. Give each "
            "vector one more number that is always the same.",
        ),
        Misconception(
            "fitted on the fresh vectors",
            reader_fitted_on_fresh,
            "The reader is fitted on the very vectors that it is tried on, with their answers. That measures memory, "
            "not what the space knows. Which vectors may the fit look at?",
        ),
        Misconception(
            "fitted on both",
            reader_fitted_on_both,
            "The fresh vectors and their classes are part of the fit. They leak: the reader has met its own test.",
        ),
        Misconception(
            "counts the seen vectors",
            reader_counts_seen,
            "The scores are right, but the share is that of the vectors which the reader was fitted on. It nearly "
            "always looks better than the share that is asked for.",
        ),
        Misconception(
            "fits class numbers",
            reader_of_class_numbers,
            "Your reader predicts the number of the class. Class 2 is not twice class 1, and nothing lies between "
            "them. Give each class a column of its own.",
        ),
        Misconception(
            "a softmax behind it",
            reader_with_softmax,
            "You put a softmax behind the scores. A least-squares reader already aims at 0 and 1; return its scores "
            "as they are.",
        ),
        Misconception(
            "counts single scores",
            reader_compares_truth_with_itself,
            "You compare score by score. Most scores are rightly near 0, so this looks good without any skill. A "
            "vector has one answer, the class with the highest score; count vectors.",
        ),
    ),
    also_right=(reader_by_normal_equations, reader_by_centring),
    rtol=1e-3,
    atol=1e-4,
)

ITEMS: list[Item] = [TOKENIZE, MEAN_POOL, INFO_NCE, RECALL_AT_K, ATTRIBUTE_PROBE]
