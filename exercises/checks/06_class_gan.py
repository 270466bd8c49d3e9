"""What is asked in exercises 06, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception

# ----------------------------------------------------------------------------------------------- onehot_maps


def probe_onehot_maps(answer: Any, seed: int) -> dict[str, Any]:
    """Batches that do not hold the last class, maps that are not square, and labels that are no class."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for b, k, height, width in ((5, 6, 3, 2), (3, 4, 2, 3)):
        labels = torch.randint(k - 1, (b,), generator=g)
        labels[0], labels[1] = 1, 2  # never all of one class
        maps = torch.as_tensor(answer(labels.clone(), k, height, width))
        out[f"{b} labels of {k}, {height} x {width}"] = maps.detach().clone()
        out[f"labels {labels.tolist()}"] = list(maps.shape)
    last = torch.randint(4, (1,), generator=g)
    for name, odd in (("the largest label", 4), ("a label too large", 5), ("a label below 0", -1)):
        labels = torch.tensor([int(last), odd])
        try:
            out[name] = torch.as_tensor(answer(labels, 5, 1, 2)).detach().clone()
        except Exception as error:
            out[name] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _refuse(labels: Tensor, classes: int) -> None:
    if ((labels < 0) | (labels >= classes)).any():
        raise ValueError("a label that is no class")


def _rows(labels: Tensor, classes: int) -> Tensor:
    _refuse(labels, classes)
    return F.one_hot(labels, classes).float()  # (B, K)


def maps_repeat_and_reshape(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes).repeat(1, height * width).view(-1, classes, height, width)


def maps_repeat_over_the_batch(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes).repeat(height * width, 1).view(-1, classes, height, width)


def maps_of_numbers(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    _refuse(labels, classes)
    return labels.float()[:, None, None, None].expand(-1, 1, height, width)


def maps_channels_last(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes)[:, None, None, :].expand(-1, height, width, -1)


def maps_batch_second(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes).T[:, :, None, None].expand(-1, -1, height, width)


def maps_width_first(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes)[:, :, None, None].expand(-1, -1, width, height)


def maps_as_many_as_needed(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    _refuse(labels, classes)
    return F.one_hot(labels).float()[:, :, None, None].expand(-1, -1, height, width)


def maps_of_ints(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes).long()[:, :, None, None].expand(-1, -1, height, width)


def maps_not_stretched(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes)[:, :, None, None]


def maps_in_one_corner(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    maps = torch.zeros(len(labels), classes, height, width)
    maps[:, :, 0, 0] = _rows(labels, classes)
    return maps


def maps_shared_out(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return _rows(labels, classes)[:, :, None, None].expand(-1, -1, height, width) / (height * width)


def maps_count_from_the_end(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    if labels.max() >= classes:
        raise ValueError("a label that is no class")
    return torch.eye(classes)[labels][:, :, None, None].expand(-1, -1, height, width)


def maps_refused_by_torch(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    return F.one_hot(labels, classes).float()[:, :, None, None].expand(-1, -1, height, width)


def maps_by_comparing(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    _refuse(labels, classes)
    same = labels.view(-1, 1, 1, 1) == torch.arange(classes).view(1, -1, 1, 1)
    return same.float().repeat(1, 1, height, width)


def maps_by_filling(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    maps = torch.zeros(len(labels), classes, height, width)
    for picture, label in zip(maps, labels.tolist(), strict=True):
        if label not in range(classes):
            raise ValueError(label)
        picture[label] = 1
    return maps


ONEHOT_MAPS = Item(
    id="onehot_maps",
    title="Every pixel carries the label",
    points=2,
    answer="onehot_maps",
    probe=probe_onehot_maps,
    misconceptions=(
        Misconception(
            "repeat and reshape",
            maps_repeat_and_reshape,
            "You repeat a row of classes and then cut the long row into maps. The shape is right and the numbers lie "
            "in the wrong places: the 1 of a class wanders through all maps, and no pixel carries its own label. Look "
            "at maps[0, :, 0, 0].",
        ),
        Misconception(
            "repeated over the batch",
            maps_repeat_over_the_batch,
            "You stack copies of the whole batch and then cut the stack anew. A picture then gets the labels of other "
            "pictures. Copies belong along the axes of height and width, and these do not exist yet when you copy.",
        ),
        Misconception(
            "one map of numbers",
            maps_of_numbers,
            "You give one map that holds the label's number. Class 8 is not twice class 4, and a convolution would "
            "have to cut this scale into classes again. Give each class a map of its own.",
        ),
        Misconception(
            "channels last",
            maps_channels_last,
            "Your classes are the last axis. torch keeps a picture's channels in front of its height and width, and "
            "the maps are to be laid beside them.",
        ),
        Misconception(
            "batch second",
            maps_batch_second,
            "Your first axis counts classes and your second pictures. Which of the two does a batch of pictures have "
            "first?",
        ),
        Misconception(
            "width first",
            maps_width_first,
            "Height and width have changed places. Square pictures hide this. Here they are not square.",
        ),
        Misconception(
            "as many classes as the batch holds",
            maps_as_many_as_needed,
            "Your number of maps depends on which labels happen to be in the batch. D's first layer has a fixed "
            "number of channels. How many classes are there, whatever this batch holds?",
        ),
        Misconception(
            "whole numbers",
            maps_of_ints,
            "The numbers are right, and they are integers. Maps that lie beside pixels must be floats, as pixels are.",
        ),
        Misconception(
            "not stretched",
            maps_not_stretched,
            "Your maps have one pixel each. Some operations stretch them later by themselves; laying them beside the "
            "picture does not. Give them the picture's size.",
        ),
        Misconception(
            "in one corner",
            maps_in_one_corner,
            "Only one pixel carries the label. A convolution's small window sees it there and nowhere else. Which "
            "pixels must carry it?",
        ),
        Misconception(
            "shared out",
            maps_shared_out,
            "You share the 1 out over the pixels. The larger the picture, the fainter the label. Each pixel carries "
            "the whole of it.",
        ),
        Misconception(
            "minus one is the last class",
            maps_count_from_the_end,
            "A label of -1 becomes the last class, because an index below 0 counts from the end. Nobody meant that "
            "class. Refuse it with the error that the docstring names.",
        ),
        Misconception(
            "torch refuses",
            maps_refused_by_torch,
            "A label that is no class ends in an error of torch's own. The docstring promises ValueError, which a "
            "caller can expect. Look at the labels first and raise it yourself.",
        ),
    ),
    also_right=(maps_by_comparing, maps_by_filling),
)

# ------------------------------------------------------------------------------------------------- cond_norm


def probe_cond_norm(answer: Any, seed: int) -> dict[str, Any]:
    """Features far from zero, each channel with a spread of its own; then a channel that is flat, and a fresh layer."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def draw(*shape):
        return torch.randn(*shape, generator=g)

    for name, (b, c, height, width), k in (("features", (3, 2, 3, 4), 5), ("a flat channel", (2, 3, 2, 2), 3)):
        x = (1 + draw(b, c, 1, 1)) + (0.4 + torch.rand(b, c, 1, 1, generator=g)) * draw(b, c, height, width)
        if name == "a flat channel":
            x[0, 1] = x[0, 1, 0, 0]
        cond = torch.eye(k)[torch.randint(k, (b,), generator=g)] + 0.1 * draw(b, k)
        weight, bias = 0.7 * draw(2 * c, k), 0.5 * draw(2 * c)
        eps = 0.05 + 0.1 * torch.rand(1, generator=g).item()
        out[name] = torch.as_tensor(answer(x.clone(), cond, weight, bias, eps)).detach().clone()
    fresh = answer(x.clone(), cond, torch.zeros(6, 3), torch.zeros(6), eps)
    out["a layer that starts at zero"] = torch.as_tensor(fresh).detach().clone()
    return out


def _affine(cond: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    scale, shift = F.linear(cond, weight, bias)[:, :, None, None].chunk(2, dim=1)
    return scale, shift


def _standard(x: Tensor, eps: float, axes: tuple[int, ...] = (2, 3)) -> Tensor:
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def norm_without_one(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps) * scale + shift


def norm_over_the_batch(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps, (0, 2, 3)) * (1 + scale) + shift


def norm_over_a_picture(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps, (1, 2, 3)) * (1 + scale) + shift


def norm_over_everything(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps, (0, 1, 2, 3)) * (1 + scale) + shift


def norm_at_each_pixel(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps, (1,)) * (1 + scale) + shift


def norm_by_the_variance(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    variance = x.var((2, 3), correction=0, keepdim=True)
    return (x - x.mean((2, 3), keepdim=True)) / (variance + eps) * (1 + scale) + shift


def norm_by_one_pixel_less(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    variance = x.var((2, 3), keepdim=True)
    return (x - x.mean((2, 3), keepdim=True)) / (variance + eps).sqrt() * (1 + scale) + shift


def norm_eps_beside_the_root(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    spread = x.var((2, 3), correction=0, keepdim=True).sqrt()
    return (x - x.mean((2, 3), keepdim=True)) / (spread + eps) * (1 + scale) + shift


def norm_without_eps(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    away = x - x.mean((2, 3), keepdim=True)
    return away / away.square().mean((2, 3), keepdim=True).sqrt() * (1 + scale) + shift


def norm_mean_stays(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return x / (x.var((2, 3), correction=0, keepdim=True) + eps).sqrt() * (1 + scale) + shift


def norm_halves_exchanged(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x, eps) * (1 + shift) + scale


def norm_taken_in_turns(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    both = F.linear(cond, weight, bias)[:, :, None, None]
    return _standard(x, eps) * (1 + both[:, 0::2]) + both[:, 1::2]


def norm_comes_last(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return _standard(x * (1 + scale) + shift, eps)


def norm_forgotten(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, bias)
    return x * (1 + scale) + shift


def norm_without_bias(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    scale, shift = _affine(cond, weight, torch.zeros_like(bias))
    return _standard(x, eps) * (1 + scale) + shift


def norm_by_torch(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    c = x.shape[1]
    both = torch.einsum("bk,jk->bj", cond, weight) + bias
    return torch.addcmul(both[:, c:, None, None], F.instance_norm(x, eps=eps), both[:, :c, None, None] + 1)


def norm_flat_and_in_a_loop(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    out = torch.empty(x.shape, dtype=torch.float64)
    c = x.shape[1]
    for i in range(len(x)):
        numbers = weight.double() @ cond[i].double() + bias.double()
        for j in range(c):
            pixels = x[i, j].double()
            centred = pixels - pixels.sum() / pixels.numel()
            v = centred.square().sum() / pixels.numel()
            out[i, j] = centred * torch.rsqrt(v + eps) * (1 + numbers[j]) + numbers[c + j]
    return out


COND_NORM = Item(
    id="cond_norm",
    title="Normalise, then let the class decide",
    points=2,
    answer="cond_norm",
    probe=probe_cond_norm,
    misconceptions=(
        Misconception(
            "no 1 in front of the scale",
            norm_without_one,
            "You multiply by the scale alone. The layer starts at zero, so at the start every picture would be "
            "multiplied by 0, and nothing behind it could be learned. What must the factor be when the scale is 0?",
        ),
        Misconception(
            "over the batch",
            norm_over_the_batch,
            "Your mean and variance run over the batch as well. A picture then depends on its neighbours, and one that "
            "is drawn alone comes out differently. How many means should there be for B pictures of C channels?",
        ),
        Misconception(
            "over a whole picture",
            norm_over_a_picture,
            "You take one mean for all channels of a picture. That is layer normalisation. Here each channel has its "
            "own mean and its own variance.",
        ),
        Misconception(
            "over everything",
            norm_over_everything,
            "You take one mean of all numbers there are. Pictures and channels are then no longer normalised one by "
            "one. Tell the mean which axes it may run over.",
        ),
        Misconception(
            "at each pixel",
            norm_at_each_pixel,
            "Your mean runs over the channels at each pixel. Brought to mean 0 is each channel, over its own pixels: "
            "which axes are these?",
        ),
        Misconception(
            "divides by the variance",
            norm_by_the_variance,
            "You divide by the variance. A picture with twice the contrast has four times the variance, and would "
            "come out fainter. What turns a variance into a spread?",
        ),
        Misconception(
            "one pixel less",
            norm_by_one_pixel_less,
            "Your variance divides by the number of pixels less one, which is what torch's var and std do if they are "
            "told nothing. The prompt asks for the mean of the squares.",
        ),
        Misconception(
            "eps beside the root",
            norm_eps_beside_the_root,
            "You add eps to the spread, behind the root. Look at the formula once more: what is it added to?",
        ),
        Misconception(
            "no eps",
            norm_without_eps,
            "You leave eps out. A flat channel has variance 0, and 0 / 0 is not a number; it would spread through the "
            "whole network.",
        ),
        Misconception(
            "the mean stays",
            norm_mean_stays,
            "You divide by the spread and leave the mean where it was. A shift that the class asks for is then added "
            "to whatever the picture had.",
        ),
        Misconception(
            "halves exchanged",
            norm_halves_exchanged,
            "You take the layer's second half for the scales and its first for the shifts. It is the other way round.",
        ),
        Misconception(
            "in turns",
            norm_taken_in_turns,
            "You take scales and shifts in turns from the layer's output. The prompt says halves: all scales stand in "
            "front of all shifts.",
        ),
        Misconception(
            "normalises at the end",
            norm_comes_last,
            "You scale and shift first and normalise afterwards. That takes away again what the class has just given, "
            "and no class can be told from another.",
        ),
        Misconception(
            "does not normalise",
            norm_forgotten,
            "You scale and shift, and nothing was normalised. That is the modulation of another lesson. Compare with "
            "a fresh layer: it should give channels of mean 0.",
        ),
        Misconception(
            "no bias",
            norm_without_bias,
            "The layer's bias is missing. Scale and shift then have nothing in common between classes.",
        ),
    ),
    also_right=(norm_by_torch, norm_flat_and_in_a_loop),
    rtol=1e-4,
    atol=2e-5,
    allow_nan=True,
)

# ------------------------------------------------------------------------------------------ projection_logit


def probe_projection_logit(answer: Any, seed: int) -> dict[str, Any]:
    """As many pictures as features, so that a wrong axis has the right length; then another number; and the slopes."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, f, k in (("4 pictures", 4, 4, 3), ("6 pictures", 6, 6, 5)):
        features, table = 0.5 + torch.randn(b, f, generator=g), torch.randn(k, f, generator=g)
        weight, bias = torch.randn(f, generator=g), torch.randn((), generator=g)
        labels = torch.randint(k, (b,), generator=g)
        labels[0], labels[1], labels[2] = 1, 0, 2  # not in order, not all alike
        given = [tensor.requires_grad_(True) for tensor in (features, weight, bias, table)]
        got = torch.as_tensor(answer(features, labels, weight, bias, table))
        out[name] = got.detach().clone()
        push = torch.randn(b, generator=g)
        if got.requires_grad and got.shape[0] == b:
            total = (got.flatten(1) * push[:, None]).sum() if got.ndim > 1 else (got * push).sum()
            slopes = torch.autograd.grad(total, given, allow_unused=True)
            out[f"{name}, slopes"] = [None if s is None else s.detach().clone() for s in slopes]
        else:
            out[f"{name}, slopes"] = "none: the graph is cut"
    features, table = torch.randn(2, 3, generator=g), torch.randn(4, 3, generator=g)
    last = answer(features, torch.tensor([3, 3]), torch.zeros(3), torch.zeros(()), table)
    out["2 pictures of the last class"] = torch.as_tensor(last).detach().clone()
    return out


def _alone(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (features * weight).sum(1, keepdim=True) + bias  # (B, 1)


def logit_wrong_axis(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    fit = (table[labels] * features).sum(0)
    return _alone(features, weight, bias) + fit[: len(features), None]


def logit_matrix(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias) + features @ table[labels].T


def logit_broadcast(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias) + (table[labels] * features).sum(1)


def logit_all_classes(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias) + features @ table.T


def logit_only_the_fit(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return (table[labels] * features).sum(1, keepdim=True)


def logit_blind(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias)


def logit_without_bias(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, torch.zeros(())) + (table[labels] * features).sum(1, keepdim=True)


def logit_mean(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias) + (table[labels] * features).mean(1, keepdim=True)


def logit_cosine(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    fit = (F.normalize(table[labels], dim=1) * F.normalize(features, dim=1)).sum(1, keepdim=True)
    return _alone(features, weight, bias) + fit


def logit_product(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias) * (table[labels] * features).sum(1, keepdim=True)


def logit_probability(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return (_alone(features, weight, bias) + (table[labels] * features).sum(1, keepdim=True)).sigmoid()


def logit_flat(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return features @ weight + bias + (table[labels] * features).sum(1)


def logit_cut(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return _alone(features, weight, bias).detach() + (table[labels] * features).sum(1, keepdim=True).detach()


def logit_features_cut(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    seen = features.detach()
    return _alone(seen, weight, bias) + (table[labels] * seen).sum(1, keepdim=True)


def logit_by_one_vector(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    return torch.einsum("bf,bf->b", features, weight + table[labels]).unsqueeze(1) + bias


def logit_by_the_diagonal(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    hot = F.one_hot(labels, len(table)).to(features.dtype)
    fit = (features @ table.T * hot).sum(1, keepdim=True)
    return F.linear(features, weight[None], bias[None]) + fit


PROJECTION_LOGIT = Item(
    id="projection_logit",
    title="Two questions, one logit",
    points=2,
    answer="projection_logit",
    probe=probe_projection_logit,
    misconceptions=(
        Misconception(
            "the wrong axis",
            logit_wrong_axis,
            "You sum over the pictures: every feature gets a number, and pictures are mixed with each other. An inner "
            "product runs along one picture's features. Which axis are these?",
        ),
        Misconception(
            "every picture with every label",
            logit_matrix,
            "Your result is B times B: each picture is multiplied with the labels of all the others. Asked is each "
            "picture with its own label, which is only the diagonal of that square.",
        ),
        Misconception(
            "broadcast to a square",
            logit_broadcast,
            "Both parts are right, but one has the shape (B, 1) and the other (B,). torch stretches both to a square "
            "of B times B when they are added, and says nothing. Give them one shape.",
        ),
        Misconception(
            "all classes",
            logit_all_classes,
            "You give a logit for every class. That is a classifier. D is asked about one class a picture, the one in "
            "`labels`.",
        ),
        Misconception(
            "only the fit",
            logit_only_the_fit,
            "You ask whether the picture fits its class, and no longer whether it is real. The first part of the "
            "formula is missing.",
        ),
        Misconception(
            "does not look at the label",
            logit_blind,
            "Your logit does not depend on the label. Such a D is content with a perfect 3 where a 7 was asked for. "
            "Where does `table` come in?",
        ),
        Misconception(
            "no bias",
            logit_without_bias,
            "The constant b is missing: the logit of features that are all 0 should be b, and yours is 0.",
        ),
        Misconception(
            "a mean",
            logit_mean,
            "You take the mean over the features. An inner product is a sum; with a mean the label counts less the "
            "more features there are.",
        ),
        Misconception(
            "a cosine",
            logit_cosine,
            "You bring the vectors to length 1 first. A cosine lies between -1 and 1, so D could never say strongly "
            "that a label is wrong. The formula leaves the lengths as they are.",
        ),
        Misconception(
            "a product of the parts",
            logit_product,
            "You multiply the two parts. Two answers of no would then make a yes. A logit is a logarithm, and where "
            "probabilities are multiplied, logarithms do what?",
        ),
        Misconception(
            "a probability",
            logit_probability,
            "You put a sigmoid behind the sum. D's losses take logits, and this course keeps them that way.",
        ),
        Misconception(
            "one axis short",
            logit_flat,
            "The numbers are right and their shape is (B,). D gives (B, 1); a shape that differs is stretched to a "
            "square as soon as somebody subtracts the two.",
        ),
        Misconception(
            "the graph is cut",
            logit_cut,
            "The numbers are right, but they carry no gradient, and D could not learn. What cuts the graph: a detach, "
            "an item(), a no_grad?",
        ),
        Misconception(
            "nothing reaches the features",
            logit_features_cut,
            "The last layers learn, but no gradient reaches the features. All that D has in front of them would stay "
            "as it was, and G would learn nothing from D.",
        ),
    ),
    also_right=(logit_by_one_vector, logit_by_the_diagonal),
    rtol=1e-4,
    atol=2e-5,
)

# ------------------------------------------------------------------------------------------------- swap_test


def probe_swap_test(answer: Any, seed: int) -> dict[str, Any]:
    """A D that reads labels, one that reads them badly and takes two classes for one, a blind one, a sure one."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    n, classes = 18, 5
    labels = torch.randint(classes, (n,), generator=g)
    labels[:4] = torch.tensor([0, 1, 4, 2])
    centres = torch.randn(classes, 6, generator=g)
    pictures = (centres[labels] + 0.6 * torch.randn(n, 6, generator=g)).view(n, 1, 2, 3)

    def judge(table, alone):
        def D(x, y):
            flat = x.flatten(1)
            return (flat @ alone + (table[y] * flat).sum(1))[:, None].detach().clone()

        return D

    muddled = 0.4 * centres + 1.2 * torch.randn(classes, 6, generator=g)
    muddled[1] = muddled[0]  # these two are one class to it
    alone = 2.5 * torch.randn(6, generator=g)
    kinds = {"reads labels": centres, "reads them badly": muddled, "blind": torch.zeros(classes, 6)}
    for name, table in kinds.items():
        out[name] = float(answer(judge(table, alone), pictures.clone(), labels.clone(), classes))
    far = 3 * centres + 40 / 6 * pictures.flatten(1).mean(0)  # large logits, which a sigmoid would flatten
    out["very sure"] = float(answer(judge(far, 9 * alone), pictures.clone(), labels.clone(), classes))
    two = labels % 2
    out["two classes"] = float(answer(judge(muddled[2:4], alone), pictures.clone(), two.clone(), 2))
    return out


Judge = Callable[[Tensor, Tensor], Tensor]


def _swapped(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Logits with the own labels (B, 1) and with all wrong ones (B, K - 1)."""
    wrong = [D(pictures, (labels + move) % classes) for move in range(1, classes)]
    return D(pictures, labels), torch.cat(wrong, dim=1)


def _share(difference: Tensor) -> float:
    return ((difference.sign() + 1) / 2).mean().item()


def swap_not_at_all(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    return _share(D(pictures, labels) - D(pictures, labels))


def swap_by_all_moves(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return _share(own - torch.cat([own, wrong], dim=1))


def swap_to_the_next(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    return _share(D(pictures, labels) - D(pictures, (labels + 1) % classes))


def swap_without_the_last(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    return _share(D(pictures, labels) - D(pictures, (labels + 1).clamp(max=classes - 1)))


def swap_off_the_end(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    wrong = [D(pictures, labels + move) for move in range(1, classes)]
    return _share(D(pictures, labels) - torch.cat(wrong, dim=1))


def swap_with_neighbours(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    return _share(D(pictures, labels) - D(pictures, labels.roll(1)))


def swap_the_pictures(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    others = [D(pictures.roll(move, 0), labels) for move in range(1, len(pictures))]
    return _share(D(pictures, labels) - torch.cat(others, dim=1))


def swap_as_auc(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return _share(own.view(-1, 1) - wrong.view(1, -1))


def swap_ties_lose(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return (own > wrong).float().mean().item()


def swap_ties_win(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return (own >= wrong).float().mean().item()


def swap_upside_down(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return _share(wrong - own)


def swap_of_means(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return (own.mean() - wrong.mean()).item()


def swap_beats_all(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return _share(own - wrong.amax(1, keepdim=True))


def swap_by_sign_at_zero(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    own, wrong = _swapped(D, pictures, labels, classes)
    return (own > 0).float().mean().item() / 2 + (wrong < 0).float().mean().item() / 2


def swap_by_classes(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    n = len(pictures)
    table = torch.cat([D(pictures, torch.full((n,), k)) for k in range(classes)], dim=1)  # (B, K)
    own = table.gather(1, labels[:, None])
    wins = 0.5 + 0.5 * torch.sign(own - table).double()
    wins[torch.arange(n), labels] = 0
    return wins.sum().item() / (n * (classes - 1))


def swap_one_by_one(D: Judge, pictures: Tensor, labels: Tensor, classes: int) -> float:
    won, asked = 0.0, 0
    own = D(pictures, labels).flatten().tolist()
    for k in range(classes):
        other = D(pictures, torch.full_like(labels, k)).flatten().tolist()
        for a, b, y in zip(own, other, labels.tolist(), strict=True):
            if y != k:
                asked += 1
                won += 1.0 if a > b else 0.5 if a == b else 0.0
    return won / asked


SWAP_TEST = Item(
    id="swap_test",
    title="Does D read the label?",
    points=3,
    answer="swap_test",
    probe=probe_swap_test,
    misconceptions=(
        Misconception(
            "nothing is swapped",
            swap_not_at_all,
            "You compare each picture's logit with itself under the same label, so every D looks blind and gets one "
            "half. Which label does the second call get?",
        ),
        Misconception(
            "the own label among the wrong ones",
            swap_by_all_moves,
            "One of your moves leads every label back to itself. Those pairs are always equal and draw the share "
            "towards one half. Which moves lead to a wrong label?",
        ),
        Misconception(
            "only the next class",
            swap_to_the_next,
            "You try one wrong label a picture. A D that takes a 4 for a 9 would never be found out, unless these two "
            "happen to be neighbours. There are more wrong labels to try.",
        ),
        Misconception(
            "the last class stays",
            swap_without_the_last,
            "You move labels on and hold them at the last class. The last class then keeps its own label. What comes "
            "behind the last class when one walks in a circle?",
        ),
        Misconception(
            "off the end",
            swap_off_the_end,
            "You add to the labels and some of them become classes that do not exist. What comes behind the last "
            "class when one walks in a circle?",
        ),
        Misconception(
            "the neighbour's label",
            swap_with_neighbours,
            "You take the label of the next picture in the batch. Some neighbours have the same class, so the label "
            "is right after all, and the rest see one wrong label only.",
        ),
        Misconception(
            "the pictures are swapped",
            swap_the_pictures,
            "You keep the label and change the picture. Then you compare two pictures, and the one that looks more "
            "real may win whatever the label says. Compare each picture with itself.",
        ),
        Misconception(
            "every own with every wrong",
            swap_as_auc,
            "You compare own and wrong labels of *different* pictures, which is the area under a curve (AUC). A "
            "picture that looks very real then wins with any label. Compare each picture with itself.",
        ),
        Misconception(
            "ties lose",
            swap_ties_lose,
            "Equal logits count as lost. A blind D then gets 0, as if it were always wrong. It is neither right nor "
            "wrong; the prompt says what a tie is worth.",
        ),
        Misconception(
            "ties win",
            swap_ties_win,
            "Equal logits count as won. A blind D then gets 1, the best there is. The prompt says what a tie is worth.",
        ),
        Misconception(
            "upside down",
            swap_upside_down,
            "You count how often the wrong label wins. A D that reads labels well should come near 1.",
        ),
        Misconception(
            "a difference of means",
            swap_of_means,
            "You return how far apart the logits are on average. Two runs with logits of another size cannot be "
            "compared by that. Asked is how often the own label wins.",
        ),
        Misconception(
            "against all at once",
            swap_beats_all,
            "You count the pictures whose own label beats all wrong ones together. Each pair counts by itself: with K "
            "classes a picture takes part in K - 1 of them.",
        ),
        Misconception(
            "a threshold of 0",
            swap_by_sign_at_zero,
            "You ask whether logits lie above or below 0. What counts is which of the two is higher, wherever both "
            "of them lie.",
        ),
    ),
    also_right=(swap_by_classes, swap_one_by_one),
    example="reads labels",
)

# ------------------------------------------------------------------------------------------ per_class_recall


def probe_per_class_recall(answer: Any, seed: int) -> dict[str, Any]:
    """Classes of unequal size, one that is read but never asked for, and one set in which every class is asked for."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, n, classes in (("one class is not asked for", 60, 7), ("the last two are not asked for", 40, 6)):
        order = torch.randperm(classes, generator=g)
        if name.startswith("the last"):
            order = torch.cat([torch.randperm(classes - 2, generator=g), torch.tensor([classes - 2, classes - 1])])
        size = torch.arange(classes, 0, -1).float()  # the first in the order is the most frequent
        size[-1 if name.startswith("one") else -2 :] = 0
        asked = order[torch.multinomial(size, n, replacement=True, generator=g)]
        asked[: classes - 2] = order[: classes - 2]
        slips = torch.rand(n, generator=g) < 0.3 + 0.4 * (asked % 2)
        read = torch.where(slips, torch.randint(classes - 1, (n,), generator=g), asked)
        read[0] = order[-1] if name.startswith("one") else classes - 2  # something is read as the missing class
        recall, mean = answer(read.clone(), asked.clone(), classes)
        out[f"recalls, {name}"] = ["nan" if r != r else r for r in torch.as_tensor(recall).tolist()]
        out[f"mean, {name}"] = "nan" if mean != mean else float(mean)
    return out


def _counts(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    right = torch.stack([((read == k) & (asked == k)).sum() for k in range(classes)]).float()
    return right, torch.stack([(asked == k).sum() for k in range(classes)]).float()


def recall_as_precision(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, _ = _counts(read, asked, classes)
    precision = right / torch.bincount(read, minlength=classes)
    return precision, precision.nanmean().item()


def recall_of_all_pictures(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    share = torch.where(total > 0, right / len(asked), float("nan"))
    return share, share.nanmean().item()


def recall_of_equal_classes(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    share = torch.where(total > 0, right * classes / len(asked), float("nan"))
    return share, share.nanmean().item()


def recall_absent_is_zero(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    recall = right / total.clamp(min=1)
    return recall, recall.mean().item()


def recall_absent_is_one(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    recall = torch.where(total > 0, right / total.clamp(min=1), 1.0)
    return recall, recall.mean().item()


def recall_absent_is_left_out(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    recall = (right / total)[total > 0]
    return recall, recall.mean().item()


def recall_mean_is_nan(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    return right / total, (right / total).mean().item()


def recall_mean_over_all(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    return right / total, (right / total).nansum().item() / classes


def recall_mean_over_pictures(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    right, total = _counts(read, asked, classes)
    return right / total, (read == asked).float().mean().item()


def recall_counts_agreement(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    share = torch.stack([((read == k) == (asked == k)).float().mean() for k in range(classes)])
    share = torch.where(torch.bincount(asked, minlength=classes) > 0, share, float("nan"))
    return share, share.nanmean().item()


def recall_counts_how_often_read(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    share = torch.bincount(read, minlength=classes) / torch.bincount(asked, minlength=classes)
    share = torch.where(share.isinf(), float("nan"), share)
    return share, share.nanmean().item()


def recall_by_confusion(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    table = torch.zeros(classes, classes, dtype=torch.float64)  # row: asked for, column: read
    table.index_put_((asked, read), torch.ones(len(read), dtype=torch.float64), accumulate=True)
    recall = table.diagonal() / table.sum(1)
    return recall, recall.nanmean()


def recall_in_a_loop(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    recalls = []
    for k in range(classes):
        seen = read[asked == k]
        recalls.append(float((seen == k).float().mean()) if len(seen) else float("nan"))
    there = [value for value in recalls if value == value]
    return torch.tensor(recalls), sum(there) / len(there)


PER_CLASS_RECALL = Item(
    id="per_class_recall",
    title="Which class fails?",
    points=2,
    answer="per_class_recall",
    probe=probe_per_class_recall,
    misconceptions=(
        Misconception(
            "precision",
            recall_as_precision,
            "You divide by how often a class is read. That answers another question: of what is read as a 7, how much "
            "was asked for as a 7? It is called precision.",
        ),
        Misconception(
            "divides by all pictures",
            recall_of_all_pictures,
            "You divide by the number of all pictures, so even a perfect class gets only its share of the batch. "
            "Which pictures could have been right for this class?",
        ),
        Misconception(
            "takes the classes for equally large",
            recall_of_equal_classes,
            "You divide as if every class had been asked for equally often. Here some come up more often than others; "
            "count them.",
        ),
        Misconception(
            "an absent class gets 0",
            recall_absent_is_zero,
            "A class that nobody asked for gets 0, as if it had failed, and draws the mean down. There is nothing to "
            "know about it.",
        ),
        Misconception(
            "an absent class gets 1",
            recall_absent_is_one,
            "A class that nobody asked for gets 1, as if it had been drawn well, and lifts the mean. There is nothing "
            "to know about it.",
        ),
        Misconception(
            "an absent class is left out",
            recall_absent_is_left_out,
            "You leave out classes that nobody asked for. The others then move up, and the recall of class 8 stands "
            "where that of class 7 should be. Every class keeps its place.",
        ),
        Misconception(
            "the mean is NaN",
            recall_mean_is_nan,
            "The recalls are right. In the mean, one NaN makes everything NaN. Take it over the classes that were "
            "asked for.",
        ),
        Misconception(
            "the mean over all classes",
            recall_mean_over_all,
            "The recalls are right. Your mean divides by the number of all classes, also of those that were not asked "
            "for, and comes out too low.",
        ),
        Misconception(
            "the mean over pictures",
            recall_mean_over_pictures,
            "The recalls are right. Your mean is the share of all pictures that are read right, in which a frequent "
            "class counts more. Here each class counts once.",
        ),
        Misconception(
            "counts agreement",
            recall_counts_agreement,
            "You also count the pictures that are neither asked for nor read as the class. There are many of them, so "
            "every class looks good. Which pictures does a recall look at?",
        ),
        Misconception(
            "counts how often it is read",
            recall_counts_how_often_read,
            "You compare how often a class is read with how often it was asked for. That can be 1 with every single "
            "picture wrong, and even larger. Count the pictures where both agree.",
        ),
    ),
    also_right=(recall_by_confusion, recall_in_a_loop),
)

ITEMS: list[Item] = [ONEHOT_MAPS, COND_NORM, PROJECTION_LOGIT, SWAP_TEST, PER_CLASS_RECALL]
