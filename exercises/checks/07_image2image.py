"""What is asked in exercises 07, how it is probed, and which wrong answers are known.

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

# ------------------------------------------------------------------------------------------- receptive_field


def probe_receptive_field(answer: Any, seed: int) -> dict[str, Any]:
    """A stack as pix2pix has it, random stacks, none at all, and layers that cannot be."""
    import random

    rng = random.Random(seed)
    stacks = {"strides first": [(4, 2), (4, 2), (4, 1)], "no layer": []}
    for name, length in (("three layers", 3), ("four layers", 4), ("six layers", 6)):
        layers = [(rng.randint(1, 7), rng.randint(1, 4)) for _ in range(length)]
        layers[0], layers[1] = (rng.randint(2, 5), rng.randint(2, 4)), (rng.randint(3, 7), 1)
        layers[-1] = (rng.randint(3, 6), rng.randint(2, 3))
        stacks[name] = layers
    out: dict[str, Any] = {}
    for name, layers in stacks.items():
        out[name] = [int(number) for number in answer(list(layers))]
    for name, layer in (("kernel 0", (0, 1)), ("stride 0", (3, 0))):
        try:
            out[name] = f"it returned {answer([(3, 2), layer])}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


Layers = list[tuple[int, int]]


def _refuse(layers: Layers) -> None:
    if any(kernel < 1 or stride < 1 for kernel, stride in layers):
        raise ValueError("a kernel or a stride below 1")


def _product(layers: Layers) -> int:
    out = 1
    for _, stride in layers:
        out *= stride
    return out


def field_without_strides(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    return 1 + sum(kernel - 1 for kernel, _ in layers), _product(layers)


def field_own_stride(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    return 1 + sum((kernel - 1) * stride for kernel, stride in layers), _product(layers)


def field_stride_too_early(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    width, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        width += (kernel - 1) * step
    return width, step


def field_last_stride_only(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    width, step = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * step
        step = stride
    return width, _product(layers)


def field_sum_of_strides(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    width, step = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * step
        step += stride - 1
    return width, step


def field_wrong_end(layers: Layers) -> tuple[int, int]:
    return field_right(layers[::-1])


def field_whole_kernels(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    width, step = 1, 1
    for kernel, stride in layers:
        width += kernel * step
        step *= stride
    return width, step


def field_starts_at_zero(layers: Layers) -> tuple[int, int]:
    width, step = field_right(layers)
    return width - 1, step


def field_product_of_kernels(layers: Layers) -> tuple[int, int]:
    _refuse(layers)
    width = 1
    for kernel, _ in layers:
        width *= kernel
    return width, _product(layers)


def field_takes_everything(layers: Layers) -> tuple[int, int]:
    width, step = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * step
        step *= stride
    return width, step


def field_right(layers: Layers) -> tuple[int, int]:
    """From the output back: one logit, then what each layer needs to make it."""
    _refuse(layers)
    width = 1
    for kernel, stride in reversed(layers):
        width = (width - 1) * stride + kernel
    return width, _product(layers)


def field_by_counting(layers: Layers) -> list[int]:
    """The pixels that two neighbouring outputs touch, counted."""
    _refuse(layers)
    reached = [{0}, {1}]
    for kernel, stride in reversed(layers):
        reached = [{stride * place + k for place in places for k in range(kernel)} for places in reached]
    first, second = reached
    return [max(first) - min(first) + 1, min(second) - min(first)]


RECEPTIVE_FIELD = Item(
    id="receptive_field",
    title="How much does one logit see?",
    points=2,
    answer="receptive_field",
    probe=probe_receptive_field,
    misconceptions=(
        Misconception(
            "ignores the strides",
            field_without_strides,
            "Your patch grows by the kernels alone. Behind a stride of 2 neighbouring numbers lie two pixels apart, so "
            "a kernel of 3 there reaches further than 3 pixels.",
        ),
        Misconception(
            "own stride only",
            field_own_stride,
            "You multiply each kernel by its own stride. How far a kernel reaches depends on the strides of the layers "
            "before it, all of them.",
        ),
        Misconception(
            "stride too early",
            field_stride_too_early,
            "A layer's stride already widens its own kernel. The kernel reads its input, and the stride only tells how "
            "far apart its outputs lie. For which layers does it count?",
        ),
        Misconception(
            "only the last stride",
            field_last_stride_only,
            "Your width uses the stride of the layer before, and forgets those before that. Two strides of 2 make a "
            "step of 4 pixels.",
        ),
        Misconception(
            "adds the strides",
            field_sum_of_strides,
            "Your steps grow by addition. A stride of 3 behind a stride of 2: how many pixels lie between two outputs?",
        ),
        Misconception(
            "from the wrong end",
            field_wrong_end,
            "You go through the layers from the logits to the pixels with a rule for the other direction. Which layers "
            "come before a kernel, as the prompt counts them?",
        ),
        Misconception(
            "whole kernels",
            field_whole_kernels,
            "Each layer adds a whole kernel. A kernel of 1 sees nothing that was not seen before; by how much does it "
            "widen a patch?",
        ),
        Misconception(
            "starts at nothing",
            field_starts_at_zero,
            "Your patch is one pixel too narrow. Without any layer an output is a pixel. How wide is that?",
        ),
        Misconception(
            "product of kernels",
            field_product_of_kernels,
            "You multiply the kernels. Two kernels of 3 see 5 pixels, not 9, since their reaches overlap.",
        ),
        Misconception(
            "takes everything",
            field_takes_everything,
            "The numbers are right, and a kernel of 0 or a stride of 0 is taken as if it could be. The prompt names "
            "the error for it.",
        ),
    ),
    also_right=(field_right, field_by_counting),
)

# ------------------------------------------------------------------------------------------------ unet_block


def probe_unet_block(answer: Any, seed: int) -> dict[str, Any]:
    """Two sizes, neither square, with numbers of both signs; and skips that do not fit."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, c, k, m, h, w in (("a flat one", 2, 3, 2, 2, 2, 3), ("a tall one", 1, 2, 2, 3, 4, 2)):
        low, skip = torch.randn(b, c, h, w, generator=g), torch.randn(b, k, 2 * h, 2 * w, generator=g)
        weight, bias = torch.randn(m, c + k, 3, 3, generator=g), torch.randn(m, generator=g)
        out[name] = torch.as_tensor(answer(low, skip, weight, bias)).detach().clone()
    for name, h, w in (("a skip too low", 3, 4), ("a skip too narrow", 4, 2), ("a skip too large", 8, 8)):
        low, skip = torch.randn(1, 1, 2, 2, generator=g), torch.randn(1, 1, h, w, generator=g)
        try:
            got = answer(low, skip, torch.randn(1, 2, 3, 3, generator=g), torch.zeros(1))
            out[name] = f"it returned a tensor of {list(got.shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _fits(low: Tensor, skip: Tensor) -> None:
    if list(skip.shape[2:]) != [2 * n for n in low.shape[2:]]:
        raise ValueError("a skip of another size")


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def unet_activates_the_skip(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(F.leaky_relu(torch.cat([_enlarged(low), skip], 1), 0.2), weight, bias, padding=1)


def unet_without_skip(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(_enlarged(F.leaky_relu(low, 0.2)), weight[:, : low.shape[1]], bias, padding=1)


def unet_skip_first(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(torch.cat([skip, _enlarged(F.leaky_relu(low, 0.2))], 1), weight, bias, padding=1)


def unet_bilinear(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    h = F.interpolate(F.leaky_relu(low, 0.2), scale_factor=2, mode="bilinear", align_corners=False)
    return F.conv2d(torch.cat([h, skip], 1), weight, bias, padding=1)


def unet_copies_side_by_side(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    h = F.leaky_relu(low, 0.2).repeat(1, 1, 2, 2)
    return F.conv2d(torch.cat([h, skip], 1), weight, bias, padding=1)


def unet_zeros_between(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    h = torch.zeros(*low.shape[:2], *skip.shape[2:], dtype=low.dtype)
    h[:, :, ::2, ::2] = F.leaky_relu(low, 0.2)
    return F.conv2d(torch.cat([h, skip], 1), weight, bias, padding=1)


def unet_no_activation(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(torch.cat([_enlarged(low), skip], 1), weight, bias, padding=1)


def unet_hard_relu(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(torch.cat([_enlarged(F.relu(low)), skip], 1), weight, bias, padding=1)


def unet_default_slope(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    return F.conv2d(torch.cat([_enlarged(F.leaky_relu(low)), skip], 1), weight, bias, padding=1)


def unet_activates_the_output(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(unet_no_activation(low, skip, weight, bias), 0.2)


def unet_shrinks_the_skip(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    both = torch.cat([F.leaky_relu(low, 0.2), F.avg_pool2d(skip, 2)], 1)
    return F.conv2d(both, weight, bias, padding=1)


def unet_takes_what_does_not_fit(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(torch.cat([_enlarged(F.leaky_relu(low, 0.2)), skip], 1), weight, bias, padding=1)


def unet_by_two_convolutions(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution of two things on top of each other is the sum of two convolutions."""
    if skip.shape[-2:] != (2 * low.shape[-2], 2 * low.shape[-1]):
        raise ValueError("the skip does not fit")
    c = low.shape[1]
    below = F.conv2d(_enlarged(torch.where(low > 0, low, low / 5)), weight[:, :c], padding=1)
    return below + F.conv2d(skip, weight[:, c:], bias, padding=1)


def unet_by_places(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    _fits(low, skip)
    rows, columns = torch.arange(skip.shape[2]) // 2, torch.arange(skip.shape[3]) // 2
    large = torch.maximum(low, 0.2 * low)[:, :, rows][:, :, :, columns]
    both = F.pad(torch.cat((large, skip), 1), (1, 1, 1, 1)).double()
    return F.conv2d(both, weight.double(), bias.double())


UNET_BLOCK = Item(
    id="unet_block",
    title="One step up in a U-Net",
    points=3,
    answer="unet_block",
    probe=probe_unet_block,
    misconceptions=(
        Misconception(
            "activates the skip",
            unet_activates_the_skip,
            "The skip passes the activation too, so its negative numbers are lost for the way up. It is there to bring "
            "details unchanged. Which of the two should be activated?",
        ),
        Misconception(
            "without skip",
            unet_without_skip,
            "The skip never reaches the output: only the path from below does. Then all fine detail has to pass the "
            "narrowest place of the network.",
        ),
        Misconception(
            "skip first",
            unet_skip_first,
            "The two lie on top of each other in the other order. The weights of a convolution belong to numbered "
            "channels, so the order counts. Which comes first in the prompt?",
        ),
        Misconception(
            "bilinear",
            unet_bilinear,
            "Your enlarging mixes neighbours. Asked is that every value becomes a block of equal values; look up the "
            "modes of resizing.",
        ),
        Misconception(
            "copies side by side",
            unet_copies_side_by_side,
            "You lay whole copies of the picture side by side. Then a number at the left edge turns up again in the "
            "middle. Each entry has to be repeated next to itself.",
        ),
        Misconception(
            "zeros between",
            unet_zeros_between,
            "You put each value into one corner of its block and leave the other three at zero. All four must hold it.",
        ),
        Misconception(
            "no activation",
            unet_no_activation,
            "Nothing is activated in your block. Without a bend between them, two convolutions are one convolution.",
        ),
        Misconception(
            "a hard ReLU",
            unet_hard_relu,
            "Your activation cuts all negative numbers to zero. The leaky one lets a part of them through; which part "
            "does the prompt say?",
        ),
        Misconception(
            "another slope",
            unet_default_slope,
            "Your leaky ReLU has torch's own slope of 0.01. The prompt gives another.",
        ),
        Misconception(
            "activates the output",
            unet_activates_the_output,
            "The activation stands behind the convolution. In this block it acts on what comes from below, before that "
            "is enlarged.",
        ),
        Misconception(
            "shrinks the skip",
            unet_shrinks_the_skip,
            "You bring the skip down to the size of the lower one, and the output stays small. A way up should grow. "
            "Which of the two has to change its size?",
        ),
        Misconception(
            "no check of sizes",
            unet_takes_what_does_not_fit,
            "The numbers are right where the sizes fit. Where they do not, the error is torch's own and speaks of "
            "something else. Compare the sizes first and raise the error that the prompt names.",
        ),
    ),
    also_right=(unet_by_two_convolutions, unet_by_places),
    atol=1e-4,
)

# ------------------------------------------------------------------------------------------------ pair_input


def probe_pair_input(answer: Any, seed: int) -> dict[str, Any]:
    """Grey inputs and inputs of three colours, the way back into the pictures, and numbers that do not fit."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, c, k, h, w in (("grey inputs", 3, 1, 3, 2, 3), ("colour inputs", 3, 3, 2, 2, 2)):
        cond, real = torch.randn(b, c, h, w, generator=g), torch.randn(b, k, h, w, generator=g)
        fake = torch.randn(b, k, h, w, generator=g).requires_grad_(True)
        got = answer(cond.clone(), real.clone(), fake * 1)
        out[name] = torch.as_tensor(got).detach().clone()
        way = torch.is_tensor(got) and got.requires_grad
        out[f"{name}, into the fake ones"] = "a way back" if way else "no way back"
    for name, n, m in (("one real too few", 2, 3), ("one fake too few", 3, 2)):
        cond = torch.randn(3, 1, 2, 2, generator=g)
        real, fake = torch.randn(n, 3, 2, 2, generator=g), torch.randn(m, 3, 2, 2, generator=g)
        try:
            out[name] = f"it returned a tensor of {list(answer(cond, real, fake).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _as_many(*parts: Tensor) -> None:
    if len({len(part) for part in parts}) > 1:
        raise ValueError("not equally many")


def _both(cond: Tensor, x: Tensor) -> Tensor:
    return torch.cat([cond, x], 1)


def pair_sees_output_only(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([real, fake.detach(), real])


def pair_adds(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([real + cond, fake.detach() + cond, real + cond.roll(1, 0)])


def pair_picture_first(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(real, cond), _both(fake.detach(), cond), _both(real, cond.roll(1, 0))])


def pair_fake_before_real(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, fake.detach()), _both(cond, real), _both(cond.roll(1, 0), real)])


def pair_rolls_both(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    right = _both(cond, real)
    return torch.cat([right, _both(cond, fake.detach()), right.roll(1, 0)])


def pair_rolls_the_other_way(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, real), _both(cond, fake.detach()), _both(cond.roll(-1, 0), real)])


def pair_mismatched_fakes(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, real), _both(cond, fake.detach()), _both(cond.roll(1, 0), fake.detach())])


def pair_rolls_pixels(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, real), _both(cond, fake.detach()), _both(cond.roll(1, 3), real)])


def pair_without_mismatched(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, real), _both(cond, fake.detach())])


def pair_reaches_g(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    return torch.cat([_both(cond, real), _both(cond, fake), _both(cond.roll(1, 0), real)])


def pair_takes_any_number(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    return torch.cat([_both(cond, real), _both(cond, fake.detach()), _both(cond.roll(1, 0), real)])


def pair_by_repeating(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    if not len(cond) == len(real) == len(fake):
        raise ValueError("some picture has no partner")
    inputs = torch.cat((cond, cond, torch.cat((cond[-1:], cond[:-1]))))
    return torch.cat((inputs, torch.cat((real, fake.detach(), real))), dim=1)


def pair_in_a_loop(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    _as_many(cond, real, fake)
    with torch.no_grad():
        n, rows = len(cond), []
        for kind in range(3):
            for i in range(n):
                rows.append(torch.cat([cond[i - 1] if kind == 2 else cond[i], fake[i] if kind == 1 else real[i]]))
    return torch.stack(rows)


PAIR_INPUT = Item(
    id="pair_input",
    title="What D is shown",
    points=2,
    answer="pair_input",
    probe=probe_pair_input,
    misconceptions=(
        Misconception(
            "sees the output only",
            pair_sees_output_only,
            "Your D sees pictures without their inputs. It can only ask whether a picture looks real, and G may ignore "
            "what it was given.",
        ),
        Misconception(
            "adds",
            pair_adds,
            "You add input and picture. From a sum nobody can tell the two apart, and the channels must happen to fit. "
            "Keep both whole, in channels of their own.",
        ),
        Misconception(
            "picture first",
            pair_picture_first,
            "The channels stand in the other order: picture first, input behind it. The weights of D's first layer "
            "belong to numbered channels.",
        ),
        Misconception(
            "fakes first",
            pair_fake_before_real,
            "The parts of your batch stand in another order. The caller cuts it into three and would take fakes for "
            "real ones.",
        ),
        Misconception(
            "moves the whole pair",
            pair_rolls_both,
            "Your third part moves input and picture together, so every picture still has its own input. These are "
            "right pairs, and D would be told that they are wrong.",
        ),
        Misconception(
            "the other neighbour",
            pair_rolls_the_other_way,
            "Your mismatched pairs use the neighbour on the other side. Read again which input picture 0 gets.",
        ),
        Misconception(
            "mismatched fakes",
            pair_mismatched_fakes,
            "Your third part holds fake pictures. D knows them as fake already and learns nothing about fitting. Which "
            "pictures make the input the only thing that is wrong?",
        ),
        Misconception(
            "moves pixels",
            pair_rolls_pixels,
            "You move the pixels inside each input, not the inputs within the batch. Which axis counts the pictures?",
        ),
        Misconception(
            "no mismatched pairs",
            pair_without_mismatched,
            "The third part is missing. Without it nothing tells D that a real picture with somebody else's input is "
            "wrong.",
        ),
        Misconception(
            "reaches G",
            pair_reaches_g,
            "The numbers are right, but a gradient flows back into the fake pictures, so D's step would also work on "
            "G. Cut that way.",
        ),
        Misconception(
            "any number",
            pair_takes_any_number,
            "Where one of the three batches is shorter, the error is torch's own and speaks of sizes. Count first, and "
            "raise the error that the prompt names.",
        ),
    ),
    also_right=(pair_by_repeating, pair_in_a_loop),
)

# ---------------------------------------------------------------------------------------------- pix2pix_loss


def probe_pix2pix_loss(answer: Any, seed: int) -> dict[str, Any]:
    """Logits of both signs, some of them far out: both losses, and their slopes at logits and pictures."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, h, weight, far in (("two pictures", 2, 3, 4.0, 2.0), ("far logits", 3, 2, 0.7, 150.0)):
        on_real = (0.5 + far * torch.randn(b, 1, h, h, generator=g)).requires_grad_(True)
        on_fake = (-0.5 + far * torch.randn(b, 1, h, h, generator=g)).requires_grad_(True)
        real = torch.rand(b, 3, 2, 2, generator=g) * 2 - 1
        fake = (torch.rand(b, 3, 2, 2, generator=g) * 2 - 1).requires_grad_(True)
        losses = answer(on_real * 1, on_fake * 1, fake * 1, real.clone(), weight)
        for who, loss in zip(("D", "G"), losses, strict=True):
            out[f"{name}, loss of {who}"] = float(loss.detach() if torch.is_tensor(loss) else loss)
            where = {"real logits": on_real, "fake logits": on_fake, "pictures": fake}
            if not (torch.is_tensor(loss) and loss.requires_grad):
                out[f"{name}, slopes of {who}"] = "the loss carries no gradient"
                continue
            slopes = torch.autograd.grad(loss.sum(), list(where.values()), allow_unused=True, retain_graph=True)
            for place, slope in zip(where, slopes, strict=True):
                flat = slope is None or not slope.any()
                out[f"{name}, {who} at {place}"] = "no slope" if flat else slope.clone()
    return out


def _d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2


def _g(on_fake: Tensor) -> Tensor:
    return F.softplus(-on_fake).mean()


Losses = tuple[Tensor, Tensor]


def loss_weight_on_the_game(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), weight * _g(on_fake) + (fake - real).abs().mean()


def loss_weight_on_both(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), weight * (_g(on_fake) + (fake - real).abs().mean())


def loss_squared(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake) + weight * (fake - real).square().mean()


def loss_summed_l1(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake) + weight * (fake - real).abs().sum()


def loss_l1_by_picture(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake) + weight * (fake - real).abs().flatten(1).sum(1).mean()


def loss_without_l1(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake)


def loss_without_game(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), weight * (fake - real).abs().mean()


def loss_minus_l1(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake) - weight * (fake - real).abs().mean()


def loss_without_abs(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), _g(on_fake) + weight * (fake - real).mean()


def loss_g_is_caught(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), F.softplus(on_fake).mean() + weight * (fake - real).abs().mean()


def loss_d_turned(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_fake, on_real), _g(on_fake) + weight * (fake - real).abs().mean()


def loss_d_whole(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return 2 * _d(on_real, on_fake), _g(on_fake) + weight * (fake - real).abs().mean()


def loss_saturating(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    return _d(on_real, on_fake), -F.softplus(on_fake).mean() + weight * (fake - real).abs().mean()


def loss_averages_logits(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    one, two = on_real.flatten(1).mean(1), on_fake.flatten(1).mean(1)
    return _d(one, two), _g(two) + weight * (fake - real).abs().mean()


def loss_best_patch(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    one, two = on_real.flatten(1).amax(1), on_fake.flatten(1).amax(1)
    return _d(one, two), _g(two) + weight * (fake - real).abs().mean()


def loss_summed_patches(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    n, l1 = on_real[0].numel(), (fake - real).abs().mean()
    return n * _d(on_real, on_fake), n * _g(on_fake) + weight * l1


def loss_by_logarithms(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    p, q = torch.sigmoid(on_real), torch.sigmoid(on_fake)
    loss_d = -(torch.log(p + 1e-8).mean() + torch.log(1 - q + 1e-8).mean()) / 2
    return loss_d, -torch.log(q + 1e-8).mean() + weight * (fake - real).abs().mean()


def loss_by_bce(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    bce, ones, zeros = F.binary_cross_entropy_with_logits, torch.ones_like(on_real), torch.zeros_like(on_real)
    loss_d = 0.5 * bce(on_real, ones) + 0.5 * bce(on_fake, zeros)
    return loss_d, bce(on_fake, ones) + weight * F.l1_loss(fake, real)


def loss_by_pictures(on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float) -> Losses:
    d = g = torch.zeros((), dtype=torch.float64)
    for r, f, made, true in zip(on_real, on_fake, fake, real, strict=True):
        d = d - (F.logsigmoid(r.double()).mean() + F.logsigmoid(-f.double()).mean()) / 2
        distance = torch.maximum(made - true, true - made).double().mean()
        g = g - F.logsigmoid(f.double()).mean() + weight * distance
    return d / len(real), g / len(real)


PIX2PIX_LOSS = Item(
    id="pix2pix_loss",
    title="The losses of pix2pix",
    points=3,
    answer="pix2pix_loss",
    probe=probe_pix2pix_loss,
    misconceptions=(
        Misconception(
            "weight on the game",
            loss_weight_on_the_game,
            "Your weight stands at the game. A large weight then makes G forget the true picture, where it should hold "
            "G to it. Which term does the prompt weigh?",
        ),
        Misconception(
            "weight on both",
            loss_weight_on_both,
            "You weigh the whole of G's loss. Both terms then keep their proportion, and the weight is only another "
            "learning rate.",
        ),
        Misconception(
            "squared",
            loss_squared,
            "You square the differences. The best guess is then the mean of all possible pictures, and small errors "
            "hardly count. Asked is the absolute difference.",
        ),
        Misconception(
            "a sum of differences",
            loss_summed_l1,
            "Your L1 term is a sum over all numbers. It grows with the batch and with the picture's size, and drowns "
            "the game. Asked is a mean.",
        ),
        Misconception(
            "a sum in each picture",
            loss_l1_by_picture,
            "Your L1 term is summed within each picture and averaged over the batch. It then grows with the picture's "
            "size. Asked is the mean over all numbers.",
        ),
        Misconception(
            "no L1",
            loss_without_l1,
            "G's loss has no L1 term: only the game is left, and nothing holds G to the true picture.",
        ),
        Misconception(
            "no game",
            loss_without_game,
            "G's loss has only the L1 term. D is trained and never heard; this is the L1 model of the lesson.",
        ),
        Misconception(
            "minus L1",
            loss_minus_l1,
            "You subtract the L1 term. G is then paid for being far from the true picture.",
        ),
        Misconception(
            "no absolute value",
            loss_without_abs,
            "Too bright here and too dark there cancel in your difference, and it can fall below zero. What is missing "
            "before the mean?",
        ),
        Misconception(
            "G learns to be caught",
            loss_g_is_caught,
            "The sign inside G's loss is that of D's term for fakes: minimised, it sends the fake's logits down. Where "
            "does G want them?",
        ),
        Misconception(
            "D turned round",
            loss_d_turned,
            "Your D learns to call the real ones fake. Write down which way each kind of logit should go when the loss "
            "falls.",
        ),
        Misconception(
            "D not halved",
            loss_d_whole,
            "D's loss is twice the one asked for. The paper slows D down; look for the word in the prompt.",
        ),
        Misconception(
            "saturating",
            loss_saturating,
            "Your G plays the saturating form. It has the right direction, and hardly a slope where D is sure of a "
            "fake, at the start of training.",
        ),
        Misconception(
            "averages logits",
            loss_averages_logits,
            "You average the logits of a picture and judge the mean. One patch that is very wrong can then be made up "
            "for by others. Every patch is a judgement of its own.",
        ),
        Misconception(
            "best patch only",
            loss_best_patch,
            "You look at one patch a picture, the one with the highest logit. Then G has to make one good patch. All "
            "of them count.",
        ),
        Misconception(
            "sums the patches",
            loss_summed_patches,
            "You add up the patches of a picture. With more patches the game gets louder against the L1 term. Asked is "
            "a mean over patches, too.",
        ),
        Misconception(
            "raw logarithms",
            loss_by_logarithms,
            "A sigmoid reaches 0 and 1 in floating point. The small number inside the logarithm keeps your loss finite "
            "and takes its slope away, just where D is sure. Lesson 03 has the function that needs no such number.",
        ),
    ),
    also_right=(loss_by_bce, loss_by_pictures),
    rtol=1e-4,
    atol=2e-5,
)

# ------------------------------------------------------------------------------------------------ cycle_loss


def probe_cycle_loss(answer: Any, seed: int) -> dict[str, Any]:
    """Two small translators that are not each other's inverse; the loss, and its slopes at both of them."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, n, m, weight in (("two and three", 2, 3, 10.0), ("three and one", 3, 1, 0.4)):
        one, two = (torch.randn(2, 2, generator=g).requires_grad_(True) for _ in range(2))
        shift = torch.rand(2, generator=g)

        def forth(x, one=one, shift=shift):
            return torch.tanh(torch.einsum("oc,bchw->bohw", one, x) + shift[0])

        def back(x, two=two, shift=shift):
            return torch.tanh(torch.einsum("oc,bchw->bohw", two, x) - shift[1])

        a, b = torch.rand(n, 2, 3, 2, generator=g) * 2 - 1, torch.rand(m, 2, 3, 2, generator=g) * 2 - 1
        loss = answer(forth, back, a.clone(), b.clone(), weight)
        out[f"{name}, loss"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if not (torch.is_tensor(loss) and loss.requires_grad):
            out[f"{name}, slopes"] = "the loss carries no gradient"
            continue
        slopes = torch.autograd.grad(loss.sum(), [one, two], allow_unused=True)
        for which, slope in zip(("AB", "BA"), slopes, strict=True):
            out[f"{name}, slope at {which}"] = "no slope" if slope is None else slope.clone()
    return out


Translate = Callable[[Tensor], Tensor]


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()


def cycle_of_a_only(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * _apart(BA(AB(a)), a)


def cycle_of_b_only(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * _apart(AB(BA(b)), b)


def cycle_as_identity(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(AB(b), b) + _apart(BA(a), a))


def cycle_half_way(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(AB(a), a) + _apart(BA(b), b))


def cycle_compares_half_way(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    there_a, there_b = AB(a), BA(b)
    return weight * (_apart(BA(there_a), there_a) + _apart(AB(there_b), there_b))


def cycle_wrong_order(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(AB(BA(a)), a) + _apart(BA(AB(b)), b))


def cycle_twice_the_same(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(AB(AB(a)), a) + _apart(BA(BA(b)), b))


def cycle_mean_of_both(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(BA(AB(a)), a) + _apart(AB(BA(b)), b)) / 2


def cycle_squared(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * ((BA(AB(a)) - a).square().mean() + (AB(BA(b)) - b).square().mean())


def cycle_summed(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * ((BA(AB(a)) - a).abs().sum() + (AB(BA(b)) - b).abs().sum())


def cycle_without_weight(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return _apart(BA(AB(a)), a) + _apart(AB(BA(b)), b)


def cycle_weight_on_one(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * _apart(BA(AB(a)), a) + _apart(AB(BA(b)), b)


def cycle_detached(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * (_apart(BA(AB(a).detach()), a) + _apart(AB(BA(b).detach()), b))


def cycle_by_l1_loss(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    return weight * F.l1_loss(BA(AB(a)), a) + weight * F.l1_loss(AB(BA(b)), b)


def cycle_by_pictures(AB: Translate, BA: Translate, a: Tensor, b: Tensor, weight: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for pictures, first, second in ((a, AB, BA), (b, BA, AB)):
        for picture in pictures:
            home = second(first(picture[None]))[0]
            total = total + weight * (picture - home).abs().double().mean() / len(pictures)
    return total


CYCLE_LOSS = Item(
    id="cycle_loss",
    title="There and back",
    points=2,
    answer="cycle_loss",
    probe=probe_cycle_loss,
    misconceptions=(
        Misconception(
            "only from A",
            cycle_of_a_only,
            "Only the pictures of A make a journey. `AB` may then send many pictures of B's kind nowhere, and nobody "
            "asks. What of `b`?",
        ),
        Misconception(
            "only from B",
            cycle_of_b_only,
            "Only the pictures of B make a journey. The loss has two sides; what of `a`?",
        ),
        Misconception(
            "identity",
            cycle_as_identity,
            "You ask that a picture which already belongs to the target stays as it is. That is another loss, the "
            "identity term. Here a picture goes there and comes back.",
        ),
        Misconception(
            "half way",
            cycle_half_way,
            "You compare a picture with its translation. They are meant to differ: that is what translating is for. "
            "Bring it back first.",
        ),
        Misconception(
            "compares with the stop half way",
            cycle_compares_half_way,
            "The picture that came back is compared with the translation, which belongs to the other set. With which "
            "picture did the journey start?",
        ),
        Misconception(
            "wrong order",
            cycle_wrong_order,
            "You translate pictures of A by `BA` first. `BA` reads pictures of B. Which function may read `a`?",
        ),
        Misconception(
            "the same way twice",
            cycle_twice_the_same,
            "You go the same way twice and never come back. The second step needs the other function.",
        ),
        Misconception(
            "a mean of both sides",
            cycle_mean_of_both,
            "Both sides are right, and your loss is half of the one asked for: it is their mean. The prompt says what "
            "to do with the two.",
        ),
        Misconception(
            "squared",
            cycle_squared,
            "You square the differences. Asked are absolute ones, which also press on the small errors.",
        ),
        Misconception(
            "sums",
            cycle_summed,
            "Your differences are sums over all numbers, so they grow with the batch. The batches of A and B need not "
            "be equally many; with sums the larger one counts more.",
        ),
        Misconception(
            "no weight",
            cycle_without_weight,
            "The loss is right but for the weight, which you do not use.",
        ),
        Misconception(
            "weight on one side",
            cycle_weight_on_one,
            "Only one of the two sides is weighed. The journeys count alike.",
        ),
        Misconception(
            "cut half way",
            cycle_detached,
            "The number is right, but the gradient stops half way: the function that goes first learns nothing from "
            "its picture's return. Let it flow through both.",
        ),
    ),
    also_right=(cycle_by_l1_loss, cycle_by_pictures),
    rtol=1e-4,
    atol=2e-5,
)

ITEMS: list[Item] = [RECEPTIVE_FIELD, UNET_BLOCK, PAIR_INPUT, PIX2PIX_LOSS, CYCLE_LOSS]
