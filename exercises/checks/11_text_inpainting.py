"""What is asked in exercises 11, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse import world
from mmcourse.course.exercise import Item, Misconception
from mmcourse.world import OPEN

# ----------------------------------------------------------------------------------------------- build_input


def probe_build_input(answer: Any, seed: int) -> dict[str, Any]:
    """An ordinary batch; pictures with NaN and infinity under the mask; masks that are none."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, h, w in (("ordinary", 2, 3, 4), ("NaN under the mask", 1, 3, 3)):
        x = torch.randn(b, 3, h, w, generator=g)
        mask = (torch.rand(b, 1, h, w, generator=g) < 0.5).float()
        mask[:, :, 0, :3], mask[:, :, 1, :2] = 1.0, torch.tensor([0.0, 1.0])
        if b == 2:
            mask[1, :, 1, :2] = torch.tensor([1.0, 0.0])
        else:
            x[:, 0, 0, 0], x[:, 1, 0, 1], x[:, 2, 0, 2] = float("nan"), float("inf"), float("-inf")
        given = x.clone()
        out[name] = torch.as_tensor(answer(given, mask.clone())).detach().clone()
        same = torch.equal(given.nan_to_num(7.0), x.nan_to_num(7.0))
        out[f"{name}, afterwards"] = "unchanged" if same else "changed"
    x = torch.randn(2, 3, 3, 3, generator=g)
    for name, value in {"a grey mask": 0.5, "a mask of 0 and 255": 255.0, "a mask with -1": -1.0}.items():
        mask = torch.zeros(2, 1, 3, 3)
        mask[0, 0, 1, 1] = value
        try:
            out[name] = f"it returned a tensor of {list(answer(x.clone(), mask).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _black_and_white(mask: Tensor) -> None:
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("a mask that is none")


def input_leaks(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x, mask], 1)


def input_by_product(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x * (1 - mask), mask], 1)


def input_polarity(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask < 1, 0.0), mask], 1)


def input_mask_of_the_known(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask > 0, 0.0), 1 - mask], 1)


def input_all_turned_round(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask < 1, 0.0), 1 - mask], 1)


def input_without_mask(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return x.masked_fill(mask > 0, 0.0)


def input_mask_first(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([mask, x.masked_fill(mask > 0, 0.0)], 1)


def input_mask_of_each_colour(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask > 0, 0.0), mask.expand_as(x)], 1)


def input_paints_white(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask > 0, 1.0), mask], 1)


def input_paints_black(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask > 0, -1.0), mask], 1)


def input_cuts_the_known(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask > 0, 0.0).clamp(-1, 1), mask], 1)


def input_first_channel(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x[:, :1].masked_fill(mask > 0, 0.0), x[:, 1:], mask], 1)


def input_first_mask(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.cat([x.masked_fill(mask[:1] > 0, 0.0), mask], 1)


def input_overwrites(x: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    x[(mask > 0).expand_as(x)] = 0.0
    return torch.cat([x, mask], 1)


def input_takes_any_mask(x: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([x.masked_fill(mask > 0, 0.0), mask], 1)


def input_takes_0_to_1(x: Tensor, mask: Tensor) -> Tensor:
    if mask.min() < 0 or mask.max() > 1:
        raise ValueError("not in [0, 1]")
    return torch.cat([x.masked_fill(mask > 0, 0.0), mask], 1)


def input_by_places(x: Tensor, mask: Tensor) -> Tensor:
    if set(mask.unique().tolist()) - {0.0, 1.0}:
        raise ValueError("no mask")
    out = x.new_zeros(len(x), 4, *x.shape[2:])
    known = (mask == 0).expand_as(x)
    out[:, :3][known] = x[known]
    out[:, 3] = mask[:, 0]
    return out


def input_pixel_by_pixel(x: Tensor, mask: Tensor) -> Tensor:
    out = torch.zeros(x.shape[0], 4, x.shape[2], x.shape[3])
    for b in range(len(x)):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                hole = mask[b, 0, i, j].item()
                if hole not in (0.0, 1.0):
                    raise ValueError(f"a value of {hole}")
                out[b, 3, i, j] = hole
                if not hole:
                    out[b, :3, i, j] = x[b, :, i, j]
    return out


BUILD_INPUT = Item(
    id="build_input",
    title="What the network may see",
    points=2,
    answer="build_input",
    probe=probe_build_input,
    misconceptions=(
        Misconception(
            "leaks the hidden pixels",
            input_leaks,
            "The hole is not empty: the pixels under the mask go in as they are. The network would only have to copy "
            "what it should find. Where the mask is 1, the picture must be 0.",
        ),
        Misconception(
            "product with the known",
            input_by_product,
            "For ordinary numbers your product is right. But 0 times NaN is NaN, and 0 times infinity is NaN too, so "
            "something of what is hidden still comes out. Choose between two numbers instead of multiplying.",
        ),
        Misconception(
            "polarity of the picture",
            input_polarity,
            "The known part is empty and the hidden part is shown. In this course 1 is the hole. Where the mask is 1, "
            "the picture must be 0.",
        ),
        Misconception(
            "polarity of the mask",
            input_mask_of_the_known,
            "The picture is right. Your fourth channel is 1 where a pixel is known. The mask goes in as it is, with 1 "
            "in the hole.",
        ),
        Misconception(
            "everything turned round",
            input_all_turned_round,
            "You take the mask for one that is 1 where a pixel is known, in the picture and in the fourth channel. "
            "Here 1 is the hole.",
        ),
        Misconception(
            "no mask",
            input_without_mask,
            "You return three channels: the picture without the mask. A known pixel may be 0 as well. How would the "
            "network tell it from an empty one?",
        ),
        Misconception(
            "mask first",
            input_mask_first,
            "All four channels are there, and the mask comes first. The network takes channels by their place: first "
            "the three colours, then the mask.",
        ),
        Misconception(
            "a mask for each colour",
            input_mask_of_each_colour,
            "You return six channels: the mask comes three times. A pixel is hidden in all its colours or in none, so "
            "one channel says it all.",
        ),
        Misconception(
            "white hole",
            input_paints_white,
            "Your hole holds 1, which is white. Pictures go from -1 to 1, and an empty pixel is 0, the grey in the "
            "middle.",
        ),
        Misconception(
            "black hole",
            input_paints_black,
            "Your hole holds -1, which is black. An empty pixel is 0 here. Pictures go from -1 to 1, so 0 is the grey "
            "in the middle.",
        ),
        Misconception(
            "known pixels cut",
            input_cuts_the_known,
            "You cut the known pixels to the range from -1 to 1. They go in as they are; the hole is all that changes.",
        ),
        Misconception(
            "first colour only",
            input_first_channel,
            "You empty the first colour alone; the other two still show what is hidden. The mask has one channel and "
            "holds for all three.",
        ),
        Misconception(
            "the first picture's mask",
            input_first_mask,
            "You empty every picture by the mask of the first one. Each picture has a mask of its own.",
        ),
        Misconception(
            "overwrites the picture",
            input_overwrites,
            "What you return is right, and the pictures that you were given are damaged afterwards. The loss still "
            "needs them whole. Write into a tensor of your own.",
        ),
        Misconception(
            "takes any mask",
            input_takes_any_mask,
            "Your four channels are right. A mask with a value between 0 and 1, or with 255, goes through without a "
            "word. Check its values first, and raise `ValueError`.",
        ),
        Misconception(
            "takes 0 to 1",
            input_takes_0_to_1,
            "You refuse what lies outside 0 to 1 and let grey values through. A mask holds two values, not a range.",
        ),
    ),
    also_right=(input_by_places, input_pixel_by_pixel),
    rtol=0.0,
    atol=0.0,
)

# ---------------------------------------------------------------------------------------------- hole_caption


def probe_hole_caption(answer: Any, seed: int) -> dict[str, Any]:
    """Scenes of two things, of one thing, a mixture of both, and a thing that is not there."""
    import torch

    from mmcourse import world

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, things, n in (("two things", (2,), 6), ("one thing", (1,), 3), ("mixed", (1, 2), 5)):
        labels = world.sample_labels(n, g, objects=things)
        which = torch.randint(2, (n,), generator=g)
        if name == "two things":
            which[:2] = torch.tensor([1, 0])
            labels[0, 4:7] = (labels[0, 1:4] + 1) % torch.tensor(world.CLASSES[1:4])  # B differs from A in all three
            labels[1, 1:4] = torch.tensor([3, 5, 1])  # no two of these facts are the same number
        if name == "mixed":
            labels[:2] = torch.cat([world.sample_labels(1, g, objects=(k,)) for k in (1, 2)])
            which[:2] = torch.tensor([0, 1])
        which = which * (labels[:, 0] - 1)
        given = labels.clone()
        out[name] = torch.as_tensor(answer(given, which.clone())).clone()
        out[f"{name}, labels afterwards"] = "unchanged" if torch.equal(given, labels) else "changed"
    labels = torch.cat([world.sample_labels(2, g, objects=(2,)), world.sample_labels(1, g, objects=(1,))])
    try:
        out["B of a scene without B"] = f"it returned {answer(labels, torch.tensor([0, 1, 1]))[-1].tolist()}"
    except Exception as error:
        kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
        out["B of a scene without B"] = f"it raised {kind}"
    return out


def _there(labels: Tensor, which: Tensor) -> None:
    if bool((which >= labels[:, 0]).any()):
        raise ValueError("no such thing")


def _facts(labels: Tensor, which: Tensor) -> Tensor:
    """Shape, colour and size of thing A (0) or B (1) of each scene, (B, 3)."""
    return torch.where(which[:, None] == 1, labels[:, 4:7], labels[:, 1:4])


def _one_thing(facts: Tensor) -> Tensor:
    out = torch.full((len(facts), 8), OPEN)
    out[:, 0], out[:, 1:4] = 1, facts
    return out


def caption_always_a(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return _one_thing(labels[:, 1:4])


def caption_always_b(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return _one_thing(labels[:, 4:7])


def caption_other_thing(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return _one_thing(_facts(labels, 1 - which))


def caption_first_which(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return _one_thing(_facts(labels, which[:1].expand(len(which))))


def caption_keeps_layout(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    out[:, 7] = labels[:, 7]
    return out


def caption_keeps_count(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    out[:, 0] = labels[:, 0]
    return out


def caption_keeps_count_and_layout(labels: Tensor, which: Tensor) -> Tensor:
    out = caption_keeps_count(labels, which)
    out[:, 7] = labels[:, 7]
    return out


def caption_open_count(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    out[:, 0] = OPEN
    return out


def caption_count_from_zero(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    out[:, 0] = 0
    return out


def caption_in_its_own_columns(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    b = which == 1
    out[b, 4:7], out[b, 1:4] = out[b, 1:4], torch.tensor(OPEN)
    return out


def caption_of_the_rest(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out, rows = labels.clone(), torch.arange(len(labels))
    for k in range(3):
        out[rows, 1 + 3 * which + k] = OPEN
    return out


def caption_whole(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return labels.clone()


def caption_keeps_the_other(labels: Tensor, which: Tensor) -> Tensor:
    out = caption_keeps_count(labels, which)
    out[:, 4:7] = _facts(labels, 1 - which)
    out[labels[:, 0] == 1, 4:7] = OPEN
    return out


def caption_zeros(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = torch.zeros_like(labels)
    out[:, 0], out[:, 1:4] = 1, _facts(labels, which)
    return out


def caption_order_of_words(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    return _one_thing(_facts(labels, which).flip(1))


def caption_without_size(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    out = _one_thing(_facts(labels, which))
    out[:, 3] = OPEN
    return out


def caption_overwrites(labels: Tensor, which: Tensor) -> Tensor:
    _there(labels, which)
    labels[:, 1:4] = _facts(labels, which)
    labels[:, 4:], labels[:, 0] = OPEN, 1
    return labels


def caption_takes_any(labels: Tensor, which: Tensor) -> Tensor:
    return _one_thing(_facts(labels, which))


def caption_takes_a_instead(labels: Tensor, which: Tensor) -> Tensor:
    return _one_thing(_facts(labels, which * (labels[:, 0] - 1)))


def caption_row_by_row(labels: Tensor, which: Tensor) -> Tensor:
    made = []
    for row, second in zip(labels.tolist(), which.tolist(), strict=True):
        if second and row[0] != 2:
            raise ValueError("there is no second thing here")
        made.append(world.Statement(1, *(row[4:7] if second else row[1:4])))
    return torch.tensor(made)


def caption_by_gather(labels: Tensor, which: Tensor) -> Tensor:
    if (which + 1 > labels[:, 0]).any():
        raise ValueError("more things are asked for than there are")
    at = 1 + 3 * which.unsqueeze(1) + torch.arange(3)
    first = torch.ones_like(labels[:, :1])
    return torch.cat([first, labels.gather(1, at), first.expand(-1, 4) * OPEN], 1)


HOLE_CAPTION = Item(
    id="hole_caption",
    title="What a caption of the hole states",
    points=2,
    answer="hole_caption",
    probe=probe_hole_caption,
    misconceptions=(
        Misconception(
            "always A",
            caption_always_a,
            "You always describe thing A. Where `which` is 1, thing B is hidden, and A can still be seen.",
        ),
        Misconception(
            "always B",
            caption_always_b,
            "You always describe thing B. Where `which` is 0, thing A is hidden. A scene of one thing has no B at all.",
        ),
        Misconception(
            "the other thing",
            caption_other_thing,
            "You describe the thing that can still be seen. The caption is to say what belongs into the hole: 0 means "
            "that A is hidden, 1 that B is.",
        ),
        Misconception(
            "one `which` for all",
            caption_first_which,
            "You use the first entry of `which` for the whole batch. In each scene another thing may be hidden.",
        ),
        Misconception(
            "keeps the layout",
            caption_keeps_layout,
            "Your statement also tells the layout. The caption speaks about one thing and not about its place; the "
            'mask tells that. "Beside" would even need a second thing.',
        ),
        Misconception(
            "count of the scene",
            caption_keeps_count,
            "You copy the count of the scene, so the statement promises two things and describes one. The caption "
            "speaks about one thing, in each scene.",
        ),
        Misconception(
            "count and layout of the scene",
            caption_keeps_count_and_layout,
            "You blank the other thing and keep count and layout of the scene. Both say something about the whole "
            "picture. What does a caption about one thing say about them?",
        ),
        Misconception(
            "open count",
            caption_open_count,
            'You leave the count open. "A small red circle" does say how many things it speaks about.',
        ),
        Misconception(
            "count of 0",
            caption_count_from_zero,
            "Your count is 0. The count is the number of things itself, 1 or 2, and no class number that starts at 0.",
        ),
        Misconception(
            "B stays in B's columns",
            caption_in_its_own_columns,
            "You leave thing B in the columns of B. The statement is about one thing, and with one thing there is only "
            "A. In which columns do its facts belong?",
        ),
        Misconception(
            "all but the hidden thing",
            caption_of_the_rest,
            "You state everything except the hidden thing: your rows are the scene with the hole in it. The caption is "
            "to say what is missing there.",
        ),
        Misconception(
            "the whole scene",
            caption_whole,
            "You return the whole scene. A caption of the hole speaks about the hidden thing alone; the rest is open.",
        ),
        Misconception(
            "the other thing as B",
            caption_keeps_the_other,
            "The hidden thing stands first, as it should, and you keep the other one as B. The caption says nothing "
            "about what can be seen anyway.",
        ),
        Misconception(
            "0 for open",
            caption_zeros,
            "You fill what is not said with 0. But 0 is a value: shape 0 is a circle and colour 0 is red. What is not "
            "said is `OPEN`, -1.",
        ),
        Misconception(
            "order of the words",
            caption_order_of_words,
            "You write size, colour, shape, as the words come in English. The columns keep their own order: shape, "
            "colour, size.",
        ),
        Misconception(
            "no size",
            caption_without_size,
            "The size is missing. A slice `a:b` ends before `b`; how many columns does yours hold?",
        ),
        Misconception(
            "overwrites the labels",
            caption_overwrites,
            "What you return is right, and the labels that you were given are changed afterwards. The scene is still "
            "needed, to draw it and to grade the fill. Write into rows of your own.",
        ),
        Misconception(
            "takes a thing that is not there",
            caption_takes_any,
            "The statements are right. Where thing B is asked for and the scene has one thing, you return a statement "
            "in which all three facts are open. Compare `which` with the count first, and raise `ValueError`.",
        ),
        Misconception(
            "A instead of a missing B",
            caption_takes_a_instead,
            "The statements are right. Where thing B is asked for and the scene has none, you take A without a word. "
            "Then the caption and the hole do not belong together. Raise `ValueError`.",
        ),
    ),
    also_right=(caption_row_by_row, caption_by_gather),
)

# ------------------------------------------------------------------------------------------------- drop_text


def probe_drop_text(answer: Any, seed: int) -> dict[str, Any]:
    """As many captions as numbers in each, for three shares; noise at the border; both ends; shares that cannot be."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}

    def draw(n: int, k: int) -> torch.Tensor:
        text = torch.randn(n, k, generator=g)
        return text / text.norm(dim=1, keepdim=True)

    for name, share in (("half", 0.5), ("a fifth", 0.2), ("share 0", 0.0)):
        text, noise = draw(5, 5), torch.rand(5, generator=g)
        if name == "half":  # the first noise is at the border, one of the others above it, three below
            rest = torch.tensor([0.9, 0.1, 0.0, 0.0]) + torch.tensor([0.05, 0.05, 0.4, 0.4]) * noise[1:]
            noise = torch.cat([torch.tensor([0.5]), rest[torch.randperm(4, generator=g)]])
        elif name == "a fifth":
            noise = 0.3 + 0.2 * noise
            low, high = (1 + torch.randperm(4, generator=g)[:2]).tolist()
            noise[low], noise[high] = 0.15, 0.95
        else:
            noise[2] = 0.0
        given = text.clone()
        out[name] = torch.as_tensor(answer(given, share, noise.clone())).detach().clone()
        out[f"{name}, text afterwards"] = "unchanged" if torch.equal(given, text) else "changed"
    for name, share in {"share 1": 1.0, "share -0.1": -0.1, "share 1.1": 1.1, "share 15": 15}.items():
        try:
            out[name] = f"it returned a tensor of {list(answer(draw(3, 3), share, torch.rand(3, generator=g)).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _a_share(share: float) -> None:
    if share < 0 or share > 1:
        raise ValueError("no share")


def _silence(text: Tensor, silent: Tensor) -> Tensor:
    return text.masked_fill(silent.view(-1, 1), 0.0)


def text_single_numbers(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return torch.where(noise < share, torch.zeros_like(text), text)


def text_inverted(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, noise >= share)


def text_keeps_below(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, noise < 1 - share)


def text_drops_above(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, noise >= 1 - share)


def text_rescaled(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text / (1 - share), noise < share)


def text_border(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, noise <= share)


def text_one_for_all(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, (noise[:1] < share).expand(len(text)))


def text_all_by_the_mean(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, (noise.mean() < share).expand(len(text)))


def text_exact_number(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, noise.argsort().argsort() < round(share * len(text)))


def text_first_rows(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text, torch.arange(len(text)) < round(share * len(text)))


def text_takes_rows_out(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return text[noise >= share]


def text_average_for_silence(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return torch.where((noise < share)[:, None], text.mean(0), text)


def text_another_caption(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return torch.where((noise < share)[:, None], text.roll(1, 0), text)


def text_ones_for_silence(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return torch.where((noise < share)[:, None], torch.ones_like(text), text)


def text_open_for_silence(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return torch.where((noise < share)[:, None], torch.full_like(text, OPEN), text)


def text_fainter(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return text * (1 - share)


def text_times_noise(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    return _silence(text * noise[:, None], noise < share)


def text_overwrites(text: Tensor, share: float, noise: Tensor) -> Tensor:
    _a_share(share)
    text[noise < share] = 0.0
    return text


def text_takes_any_share(text: Tensor, share: float, noise: Tensor) -> Tensor:
    return _silence(text, noise < share)


def text_refuses_the_ends(text: Tensor, share: float, noise: Tensor) -> Tensor:
    if not 0 <= share < 1:
        raise ValueError("no share")
    return _silence(text, noise < share)


def text_row_by_row(text: Tensor, share: float, noise: Tensor) -> Tensor:
    if share < 0.0 or share > 1.0:
        raise ValueError("from 0 to 1")
    return torch.stack([row if float(u) >= share else 0 * row for row, u in zip(text, noise, strict=True)])


def text_by_product(text: Tensor, share: float, noise: Tensor) -> Tensor:
    if not -1 <= 2 * share - 1 <= 1:
        raise ValueError("from 0 to 1")
    return torch.einsum("bk,b->bk", text, (noise >= share).to(text.dtype))


DROP_TEXT = Item(
    id="drop_text",
    title="Some sentences stay unsaid",
    points=2,
    answer="drop_text",
    probe=probe_drop_text,
    misconceptions=(
        Misconception(
            "single numbers",
            text_single_numbers,
            "You drop single numbers out of every caption, the same ones, and no caption is left out. A vector with a "
            "few zeros still says something. Look at the shapes: which axis of `text` does `noise` belong to?",
        ),
        Misconception(
            "inverted",
            text_inverted,
            "You leave out the captions that should be kept, and keep the others. `share` is the share of zeros: "
            "noise below it means silence.",
        ),
        Misconception(
            "share of the kept",
            text_keeps_below,
            "You leave a row out where the noise lies below 1 - share, so `share` becomes the share of captions that "
            "are kept. It is the share that is left out.",
        ),
        Misconception(
            "the upper end",
            text_drops_above,
            "The number of zeros is right on average, but you leave out the captions with the highest noise. Asked is "
            "the lower end: noise below `share`.",
        ),
        Misconception(
            "rescaled like dropout",
            text_rescaled,
            "You divide what is kept by 1 - share, as dropout does. There it makes up for missing numbers in a sum. "
            "Here a caption is whole or absent, and a kept one must keep its length of 1.",
        ),
        Misconception(
            "border included",
            text_border,
            "Noise that equals `share` is no longer below it. With `share` 0 your function can still leave a caption "
            "out, when its noise is exactly 0.",
        ),
        Misconception(
            "one decision for all",
            text_one_for_all,
            "You decide once, by the first number of the noise, and the whole batch speaks or is silent. Each caption "
            "has a number of its own.",
        ),
        Misconception(
            "one decision by the mean",
            text_all_by_the_mean,
            "You decide once for the whole batch, by the mean of the noise. Each caption has a number of its own; "
            "compare before you average anything.",
        ),
        Misconception(
            "an exact number",
            text_exact_number,
            "You leave out an exact number of captions, those with the lowest noise. Each caption is to be decided by "
            "itself: how many fall silent may differ from batch to batch.",
        ),
        Misconception(
            "the first rows",
            text_first_rows,
            "You leave out the first rows and do not look at the noise. The same places in the batch would always be "
            "silent.",
        ),
        Misconception(
            "rows taken out",
            text_takes_rows_out,
            "You take rows out of the batch. The pictures stay, so each caption after a gap would go to somebody "
            "else's picture. A row that is left out becomes zeros.",
        ),
        Misconception(
            "average for silence",
            text_average_for_silence,
            "You put the average caption where nothing is said. An average is a sentence too, if a vague one. Silence "
            "must differ from every sentence: zeros.",
        ),
        Misconception(
            "another caption",
            text_another_caption,
            "You put another caption where nothing should be said. That is a false sentence, which D needs elsewhere. "
            "Here nothing is said: zeros.",
        ),
        Misconception(
            "ones for silence",
            text_ones_for_silence,
            "You fill the rows with 1. G takes a row for silence only if all of its numbers are 0.",
        ),
        Misconception(
            "-1 for silence",
            text_open_for_silence,
            "You fill the rows with -1, which is `OPEN` in a statement. These rows are vectors, and here zeros stand "
            "for silence.",
        ),
        Misconception(
            "all a little fainter",
            text_fainter,
            "You multiply all captions by 1 - share. That is the average over many draws, but in no single draw is a "
            "caption silent. Each is whole or absent.",
        ),
        Misconception(
            "times the noise",
            text_times_noise,
            "The right rows are silent, and you multiply the others by their noise. The noise only decides; a kept "
            "caption stays as it is.",
        ),
        Misconception(
            "overwrites the text",
            text_overwrites,
            "What you return is right, and the captions that you were given are gone afterwards. They may come from a "
            "table that is used again in every step. Write into a tensor of your own.",
        ),
        Misconception(
            "takes any share",
            text_takes_any_share,
            "Your rows are right. A share below 0 or above 1 goes through without a word, and someone who means 15 "
            "percent and writes 15 trains on silence. Raise `ValueError`.",
        ),
        Misconception(
            "refuses a share of 1",
            text_refuses_the_ends,
            "Your rows are right, and you refuse a share of 1. It is allowed, and it leaves out every caption.",
        ),
    ),
    also_right=(text_row_by_row, text_by_product),
    rtol=1e-5,
    atol=1e-6,
)

# -------------------------------------------------------------------------------------------------- guided_d


def probe_guided_d(answer: Any, seed: int) -> dict[str, Any]:
    """Logits near 0 and large ones, with the slope at each of the four; logits far out; a batch of one."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, n, scale in (("small logits", 4, 1.0), ("large logits", 3, 4.0), ("a batch of one", 1, 2.0)):
        logits = [(scale * torch.randn(n, 1, generator=g)).requires_grad_(True) for _ in range(4)]
        loss = torch.as_tensor(answer(*(x * 1 for x in logits)))
        out[name] = loss.detach().clone()
        slopes: Any = [None] * 4
        if loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), logits, allow_unused=True)
        for kind, slope in zip(("real", "fake", "strange", "wrong"), slopes, strict=True):
            out[f"{name}, slope at {kind}"] = "no slope" if slope is None else slope.clone()
    low, high = -900.0 * torch.ones(2, 1), 900.0 * torch.ones(2, 1)
    shift = torch.rand(2, 1, generator=g)
    with torch.no_grad():
        out["all far above the real"] = torch.as_tensor(answer(low, high, high, high + shift)).clone()
        out["all far below the real"] = torch.as_tensor(answer(high, low, low, low - shift)).clone()
    return out


def _below(fake: Tensor, real: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


def guided_without_captions(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + _below(strange, real)


def guided_without_surroundings(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + _below(wrong, real)


def guided_fakes_only(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real)


def guided_without_fakes(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(strange, real) + _below(wrong, real)


def guided_sign(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(real, fake) + _below(real, strange) + _below(real, wrong)


def guided_minus(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return -(_below(fake, real) + _below(strange, real) + _below(wrong, real))


def guided_one_mean(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus(torch.cat([fake, strange, wrong]) - real.repeat(3, 1)).mean()


def guided_halves(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + (_below(strange, real) + _below(wrong, real)) / 2


def guided_sums(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus(torch.cat([fake, strange, wrong]) - real.repeat(3, 1)).sum()


def guided_no_mean(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus(fake - real) + F.softplus(strange - real) + F.softplus(wrong - real)


def guided_every_pair(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real.T) + _below(strange, real.T) + _below(wrong, real.T)


def guided_mean_first(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return sum((F.softplus((x - real).mean()) for x in (fake, strange, wrong)), torch.zeros(()))


def guided_sum_inside(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus((fake - real) + (strange - real) + (wrong - real)).mean()


def guided_average_fake(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus((fake + strange + wrong) / 3 - real).mean()


def guided_worst_fake(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return F.softplus(torch.maximum(torch.maximum(fake, strange), wrong) - real).mean()


def guided_real_pixels_are_real(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + _below(fake, strange) + _below(fake, wrong)


def guided_wrong_is_real(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + _below(strange, real) + _below(real, wrong)


def guided_ladder(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return _below(fake, real) + _below(strange, fake) + _below(wrong, strange)


def guided_absolute(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    zero = torch.zeros_like(real)
    return _below(zero, real) + _below(fake, zero) + _below(strange, zero) + _below(wrong, zero)


def guided_absolute_in_pairs(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    zero = torch.zeros_like(real)
    return 3 * _below(zero, real) + _below(fake, zero) + _below(strange, zero) + _below(wrong, zero)


def guided_difference(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return (fake - real).mean() + (strange - real).mean() + (wrong - real).mean()


def guided_hinge(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return sum((F.relu(1 + x - real).mean() for x in (fake, strange, wrong)), torch.zeros(()))


def guided_kink(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return sum((F.relu(x - real).mean() for x in (fake, strange, wrong)), torch.zeros(()))


def guided_overflows(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return sum(((1 + (x - real).exp()).log().mean() for x in (fake, strange, wrong)), torch.zeros(()))


def guided_of_probabilities(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    at = real.sigmoid()
    return sum((_below(x.sigmoid(), at) for x in (fake, strange, wrong)), torch.zeros(()))


def guided_real_detached(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return guided_by_logsigmoid(real.detach(), fake, strange, wrong)


def guided_fakes_detached(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return guided_by_logsigmoid(real, fake.detach(), strange.detach(), wrong.detach())


def guided_fake_detached(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return guided_by_logsigmoid(real, fake.detach(), strange, wrong)


def guided_by_logsigmoid(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    return -F.logsigmoid(real - torch.cat([fake, strange, wrong], 1)).sum(1).mean()


def guided_by_cross_entropy(real: Tensor, fake: Tensor, strange: Tensor, wrong: Tensor) -> Tensor:
    total = torch.zeros(())
    for row in torch.cat([real, fake, strange, wrong], 1):
        for x in row[1:]:  # a choice between two logits, of which the first is right
            total = total + F.cross_entropy(torch.stack([row[0], x])[None], torch.tensor([0])) / len(real)
    return total


GUIDED_D = Item(
    id="guided_d",
    title="Three kinds of fakes",
    points=3,
    answer="guided_d",
    probe=probe_guided_d,
    misconceptions=(
        Misconception(
            "false captions left out",
            guided_without_captions,
            "The real picture with a false caption is missing. Then nothing rewards D for reading, and G may ignore "
            "the sentence.",
        ),
        Misconception(
            "surroundings left out",
            guided_without_surroundings,
            "The strange surroundings are missing. Then D may forgive any seam, and a fill that fits the sentence need "
            "not fit the picture.",
        ),
        Misconception(
            "completions only",
            guided_fakes_only,
            "Only G's completions count. D has two more kinds to hold apart from the real picture: strange "
            "surroundings and false captions.",
        ),
        Misconception(
            "completions left out",
            guided_without_fakes,
            "G's completions are missing. They are what the game is about: without them D learns nothing about G's "
            "pictures.",
        ),
        Misconception(
            "G's side",
            guided_sign,
            "Your differences are turned round: this loss falls when the fakes rise above the real picture. That is "
            "what G wants, not D.",
        ),
        Misconception(
            "minus",
            guided_minus,
            "There is a minus in front of the loss. Softplus of fake less real is already small when D does well, and "
            "a loss is minimised.",
        ),
        Misconception(
            "one mean over all",
            guided_one_mean,
            "All three kinds are there, and your loss is a third of the one asked for: one mean over all three "
            "together. Take a mean for each kind, and add.",
        ),
        Misconception(
            "halves",
            guided_halves,
            "You count strange surroundings and false captions half, as the matching-aware game of lesson 09 does with "
            "its two kinds of fakes. Here all three count fully.",
        ),
        Misconception(
            "sums over the batch",
            guided_sums,
            "You add up over the batch, so the loss grows with the number of pictures. Asked is a mean for each kind.",
        ),
        Misconception(
            "no mean",
            guided_no_mean,
            "You return one number for each picture. A loss is one number: take the mean over the batch.",
        ),
        Misconception(
            "every pair",
            guided_every_pair,
            "You compare each fake with every real picture of the batch. The pairs belong together row by row: same "
            "hole, same picture. What shape does your difference have?",
        ),
        Misconception(
            "mean before the curve",
            guided_mean_first,
            "You take the mean first and softplus of it afterwards. A bad pair can then hide behind a good one. "
            "Softplus comes first, pair by pair.",
        ),
        Misconception(
            "sum inside",
            guided_sum_inside,
            "You add the three differences and take softplus of the sum. One kind that is far below then pays for "
            "another that is above. Each kind needs a softplus of its own.",
        ),
        Misconception(
            "average of the fakes",
            guided_average_fake,
            "You average the three fake logits and compare the average with the real one. The real picture is to lie "
            "above each of them.",
        ),
        Misconception(
            "worst fake only",
            guided_worst_fake,
            "You compare with the highest of the three fakes alone, so the other two get no slope. All three count in "
            "every step.",
        ),
        Misconception(
            "real pixels count as real",
            guided_real_pixels_are_real,
            "You hold the completion below all three others. Strange surroundings and false captions do come with real "
            "pixels, and still they are wrong: only the first kind belongs on top.",
        ),
        Misconception(
            "false caption on top",
            guided_wrong_is_real,
            "The false captions have the wrong sign: D learns to prefer them to true ones. The picture is real, but "
            "the pair is wrong, and belongs below.",
        ),
        Misconception(
            "ladder",
            guided_ladder,
            "You build a ladder: real above fake, fake above strange, strange above wrong. No order among the three is "
            "asked for. Each is compared with the real one.",
        ),
        Misconception(
            "absolute",
            guided_absolute,
            "This is the first game of lesson 03: each logit is compared with 0. In the relativistic game a fake is "
            "compared with the real picture of its row.",
        ),
        Misconception(
            "absolute in pairs",
            guided_absolute_in_pairs,
            "You judge each logit against 0 and count the real one three times. In the relativistic game nothing is "
            "compared with 0; only the difference of a pair counts.",
        ),
        Misconception(
            "bare differences",
            guided_difference,
            "You take bare differences, without softplus. Such a loss has no floor: D can go on pushing the logits "
            "apart for ever.",
        ),
        Misconception(
            "hinge",
            guided_hinge,
            "That is a hinge: it stops at a distance of 1. Asked is softplus, which is smooth and never quite stops.",
        ),
        Misconception(
            "relu",
            guided_kink,
            "You use ReLU in the place of softplus. It gives no slope as soon as the real one is above, by however "
            "little.",
        ),
        Misconception(
            "overflows",
            guided_overflows,
            "The formula is right, and for large logits `exp` is infinite. Torch has softplus as a function of its "
            "own, which stays finite.",
        ),
        Misconception(
            "probabilities",
            guided_of_probabilities,
            "You turn the logits into probabilities first. Their differences lie between -1 and 1, and the slopes fade "
            "for large logits. Compare the logits themselves.",
        ),
        Misconception(
            "real without slope",
            guided_real_detached,
            "The number is right, but no gradient reaches the real logits. D must also learn to raise them. What is "
            "detached in D's step is G's picture, not a logit.",
        ),
        Misconception(
            "fakes without slope",
            guided_fakes_detached,
            "The number is right, but no gradient reaches the three kinds of fakes: you detach their logits. What is "
            "detached in D's step is G's picture, before D looks at it.",
        ),
        Misconception(
            "completion without slope",
            guided_fake_detached,
            "The number is right, but the logits of the completions are detached. D would learn nothing from them. "
            "Detach G's picture before D looks at it, and not D's logit.",
        ),
    ),
    also_right=(guided_by_logsigmoid, guided_by_cross_entropy),
    rtol=1e-4,
    atol=2e-5,
)

# ---------------------------------------------------------------------------------------------- edit_success


def probe_edit_success(answer: Any, seed: int) -> dict[str, Any]:
    """Edits that are right but for one thing each, in some pictures of a batch; and all of that mixed."""
    import torch

    from mmcourse import world

    g = torch.Generator().manual_seed(seed)
    classes = torch.tensor(world.CLASSES)

    def pick(n: int) -> int:
        return int(torch.randint(n, (1,), generator=g))

    def another(row: torch.Tensor, column: int) -> None:
        """Some other value in this column; another layout of as many things."""
        first, many = (0, int(classes[column])) if column < 7 else ((0, 5) if row[0] == 1 else (5, 2))
        row[column] = first + (int(row[column]) - first + 1 + pick(many - 1)) % many

    def spoil(kind: str, before: torch.Tensor, after: torch.Tensor, asked: torch.Tensor, b: int, i: int) -> None:
        if kind == "a wrong fact":
            stated = [k for k in (1, 2, 3) if asked[k] >= 0]
            another(after, stated[pick(len(stated))] + 3 * b)
        elif kind == "the other thing changed":
            for k in torch.randperm(3, generator=g)[: 1 + 2 * (i % 2)].tolist():
                another(after, 1 + k + 3 * (1 - b))
        elif kind == "the layout changed":
            another(after, 7)
        elif kind == "nothing happened":
            after.copy_(before)
        elif kind == "a second thing appeared":
            after[0], after[7] = 2, 5 + pick(2)
            after[4:7] = torch.tensor([pick(int(c)) for c in classes[4:7]])
        elif kind == "the hidden thing vanished":
            after[1:4] = before[1 + 3 * (1 - b) : 4 + 3 * (1 - b)]
            after[0], after[7], after[4:7] = 1, pick(5), -1

    two = ("a wrong fact", "the other thing changed", "the layout changed", "nothing happened")
    groups = {kind: (kind,) for kind in two}
    groups["one thing"] = ("a second thing appeared",)
    groups["some facts open"] = ("as asked", "as asked", "a wrong fact")
    groups["the hidden thing vanished"] = ("the hidden thing vanished",)
    groups["mixed"] = groups["mixed again"] = (*two, "the hidden thing vanished", "as asked", "as asked")
    out: dict[str, Any] = {}
    for name, kinds in groups.items():
        n = 19 if "mixed" in name else 7 + pick(5)
        alone = name == "one thing"
        before = world.sample_labels(n, g, objects=(1,) if alone else (2,))
        which = torch.zeros(n, dtype=torch.int64) if alone else torch.arange(n) % 2
        which = which[torch.randperm(n, generator=g)]
        after, asked = before.clone(), torch.full((n, 8), -1)
        asked[:, 0] = 1
        bad = 2 + pick(4)
        for i in range(n):
            b = int(which[i])
            for place in range(1 + 3 * b, 4 + 3 * b):  # the thing that was there becomes another one
                another(after[i], place)
                asked[i, place - 3 * b] = after[i, place]
            if name == "some facts open" or ("mixed" in name and pick(3) == 0):
                for k in torch.randperm(3, generator=g)[: 1 + pick(2) if i else 2].tolist():
                    asked[i, 1 + k] = -1
                    if i % 2:  # what nobody asked for happens to be as before
                        after[i, 1 + k + 3 * b] = before[i, 1 + k + 3 * b]
            elif i and pick(4) == 0:  # one of the facts was so before
                k = 1 + pick(3)
                asked[i, k] = after[i, k + 3 * b] = before[i, k + 3 * b]
            if i == 0 and (alone or name == "some facts open"):
                spoil("the layout changed" if alone else "a wrong fact", before[i], after[i], asked[i], b, i)
            elif i < bad or len(kinds) > 1:
                spoil(kinds[pick(len(kinds)) if i > 1 else 0], before[i], after[i], asked[i], b, i)
        order = torch.randperm(n, generator=g)
        given = [t[order].clone() for t in (before, after, asked, which)]
        out[name] = float(answer(*given))
    for name in ("asked for what was there", "asked for a twin of the other"):
        n = 8
        before, which = world.sample_labels(n, g, objects=(2,)), torch.arange(n) % 2
        after, asked = before.clone(), torch.full((n, 8), -1)
        lost = torch.randperm(n, generator=g)[: 2 + pick(2)].tolist()
        for i in range(n):
            here = 1 + 3 * int(which[i])
            there = here if name == "asked for what was there" else 5 - here
            asked[i, 0], asked[i, 1:4] = 1, before[i, there : there + 3]
            after[i, here : here + 3] = asked[i, 1:4]
            if i in lost:
                another(after[i], here + pick(3))
        out[name] = float(answer(before, after, asked, which))
    return out


def _at(labels: Tensor, which: Tensor) -> Tensor:
    return torch.where(which[:, None] == 1, labels[:, 4:7], labels[:, 1:4])


def _said(after: Tensor, asked: Tensor, which: Tensor) -> Tensor:
    """(B, 3): which facts are as asked, or open."""
    return (_at(after, which) == asked[:, 1:4]) | (asked[:, 1:4] == OPEN)


def _kept(before: Tensor, after: Tensor, which: Tensor) -> Tensor:
    """(B, 5): the other thing's facts, the count and the layout are as before."""
    return torch.cat([_at(before, 1 - which) == _at(after, 1 - which), (before == after)[:, [0, 7]]], 1)


def _share(good: Tensor) -> float:
    return float(good.float().mean())


def edit_any_fact(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).any(1) & _kept(before, after, which).all(1))


def edit_any_stated_fact(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share((_at(after, which) == asked[:, 1:4]).any(1) & _kept(before, after, which).all(1))


def edit_mean_of_facts(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return float((_said(after, asked, which).float().mean(1) * _kept(before, after, which).all(1)).mean())


def edit_open_is_wrong(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share((_at(after, which) == asked[:, 1:4]).all(1) & _kept(before, after, which).all(1))


def edit_open_is_as_before(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    wanted = torch.where(asked[:, 1:4] == OPEN, _at(before, which), asked[:, 1:4])
    return _share((_at(after, which) == wanted).all(1) & _kept(before, after, which).all(1))


def edit_asked_only(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1))


def edit_kept_only(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_kept(before, after, which).all(1))


def edit_ignores_the_other(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1) & _kept(before, after, which)[:, 3:].all(1))


def edit_ignores_count_and_layout(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1) & _kept(before, after, which)[:, :3].all(1))


def edit_any_other_fact(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    kept = _kept(before, after, which)
    return _share(_said(after, asked, which).all(1) & kept[:, :3].any(1) & kept[:, 3:].all(1))


def edit_always_a(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return edit_by_columns(before, after, asked, torch.zeros_like(which))


def edit_asked_of_a(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    said = _said(after, asked, torch.zeros_like(which))
    return _share(said.all(1) & _kept(before, after, which).all(1))


def edit_other_is_always_b(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    kept = _kept(before, after, torch.zeros_like(which))
    return _share(_said(after, asked, which).all(1) & kept.all(1))


def edit_which_inverted(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return edit_by_columns(before, after, asked, 1 - which)


def edit_asked_in_bs_columns(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    stated = _at(asked, which)
    said = (_at(after, which) == stated) | (stated == OPEN)
    return _share(said.all(1) & _kept(before, after, which).all(1))


def edit_compares_before(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(before, asked, which).all(1) & _kept(before, after, which).all(1))


def edit_nothing_may_change(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1) & (before == after).all(1))


def edit_must_change(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    changed = (_at(before, which) != _at(after, which)).any(1)
    return _share(_said(after, asked, which).all(1) & _kept(before, after, which).all(1) & changed)


def edit_every_fact_must_change(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    changed = (_at(before, which) != _at(after, which)).all(1)
    return _share(_said(after, asked, which).all(1) & _kept(before, after, which).all(1) & changed)


def edit_asked_count(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    said = _said(after, asked, which).all(1) & (after[:, 0] == asked[:, 0])
    return _share(said & _kept(before, after, which).all(1))


def edit_satisfied(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(world.satisfied(after, asked))


def edit_two_shares(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1)) * _share(_kept(before, after, which).all(1))


def edit_average_of_two_shares(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return (_share(_said(after, asked, which).all(1)) + _share(_kept(before, after, which).all(1))) / 2


def edit_smaller_share(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return min(_share(_said(after, asked, which).all(1)), _share(_kept(before, after, which).all(1)))


def edit_either(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return _share(_said(after, asked, which).all(1) | _kept(before, after, which).all(1))


def edit_number(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return len(before) * edit_by_columns(before, after, asked, which)


def edit_failures(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    return 1 - edit_by_columns(before, after, asked, which)


def edit_row_by_row(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    good = 0
    for old, new, said, b in zip(before.tolist(), after.tolist(), asked.tolist(), which.tolist(), strict=True):
        hidden = slice(4, 7) if b else slice(1, 4)
        wanted = list(old)
        wanted[hidden] = [have if s == OPEN else s for have, s in zip(new[hidden], said[1:4], strict=True)]
        good += wanted == new
    return good / len(before)


def edit_by_columns(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    """The scene as it should be: the statement's facts put in, what is open taken from what came."""
    target = before.clone()
    for b in (0, 1):
        here, facts = which == b, slice(1 + 3 * b, 4 + 3 * b)
        stated = asked[here, 1:4]
        target[here, facts] = torch.where(stated == OPEN, after[here, facts], stated)
    return float((target == after).all(1).double().mean())


EDIT_SUCCESS = Item(
    id="edit_success",
    title="Did the edit succeed?",
    points=3,
    answer="edit_success",
    probe=probe_edit_success,
    misconceptions=(
        Misconception(
            "any fact",
            edit_any_fact,
            "One fact as asked, or left open, is enough for you. A blue circle is no success where a red circle was "
            "asked for: all three must agree.",
        ),
        Misconception(
            "any stated fact",
            edit_any_stated_fact,
            "One stated fact as asked is enough for you. All that is stated must agree, and what is open cannot fail.",
        ),
        Misconception(
            "share of facts",
            edit_mean_of_facts,
            "You count facts, so a picture with two of three right is two thirds of a success. Asked is the share of "
            "pictures on which all three are right.",
        ),
        Misconception(
            "open counts as wrong",
            edit_open_is_wrong,
            "A fact that the statement leaves open counts as wrong with you: no label equals -1. Nobody asked for it, "
            "so whatever came is fine.",
        ),
        Misconception(
            "open means as before",
            edit_open_is_as_before,
            "You demand that a fact left open stays as it was. The thing was hidden, so nobody could know it. What is "
            "open may have become anything.",
        ),
        Misconception(
            "as asked is enough",
            edit_asked_only,
            "You look at the hidden thing alone. An edit that also repaints the other thing or moves the scene counts "
            "as a success. Compare the rest of `after` with `before`.",
        ),
        Misconception(
            "nothing else is enough",
            edit_kept_only,
            "You check that the rest stayed as it was, and not whether the hidden thing is as asked. What does `asked` "
            "say about it?",
        ),
        Misconception(
            "the other thing ignored",
            edit_ignores_the_other,
            "Count and layout are compared, and the other thing's shape, colour and size are not. If the edit repaints "
            "it, that is no success.",
        ),
        Misconception(
            "count and layout ignored",
            edit_ignores_count_and_layout,
            "The two things are compared as asked, and count and layout are not. A scene that goes from side by side "
            "to one above the other has changed.",
        ),
        Misconception(
            "any fact of the other thing",
            edit_any_other_fact,
            "You are content if one fact of the other thing is as before. If any of the three has changed, something "
            "else has changed.",
        ),
        Misconception(
            "always A",
            edit_always_a,
            "You always take A for the hidden thing. Where `which` is 1, B was hidden, and A is the thing that must "
            "stay as it is.",
        ),
        Misconception(
            "asked of A",
            edit_asked_of_a,
            "You compare the statement with thing A of the scene, in each picture. The statement's one thing is in its "
            "columns 1 to 3; in the scene it is thing `which`.",
        ),
        Misconception(
            "the other is always B",
            edit_other_is_always_b,
            "The hidden thing is found by `which`, and the other one is always B for you. Where B was hidden, A is the "
            "other thing.",
        ),
        Misconception(
            "which inverted",
            edit_which_inverted,
            "You compare the statement with the thing that was never hidden. 0 means that A was hidden, 1 that B was.",
        ),
        Misconception(
            "asked in B's columns",
            edit_asked_in_bs_columns,
            "Where B was hidden, you read the statement in the columns of B. A statement about one thing has nothing "
            "there but -1, so everything passes. Its facts stand in columns 1 to 3.",
        ),
        Misconception(
            "compares before",
            edit_compares_before,
            "You compare the statement with the picture before the edit. The question is what the judge reads "
            "afterwards.",
        ),
        Misconception(
            "nothing may change",
            edit_nothing_may_change,
            "You demand that all eight columns are as before, the hidden thing's too. Then an edit succeeds only where "
            "it changes nothing. Leave the three columns of the hidden thing out.",
        ),
        Misconception(
            "must change",
            edit_must_change,
            "You demand that the hidden thing has changed. If the caption asks for what was there before, then getting "
            "it back is a success.",
        ),
        Misconception(
            "every fact must change",
            edit_every_fact_must_change,
            "You demand that shape, colour and size have all changed. Only what was asked for counts; a fact of it may "
            "well be as it was.",
        ),
        Misconception(
            "count of the statement",
            edit_asked_count,
            "You compare the statement's count, 1, with the count of the scene, so no scene of two things succeeds. "
            "The statement is about one thing; the scene's count must be as before.",
        ),
        Misconception(
            "statement true of the scene",
            edit_satisfied,
            "You ask whether the statement is true of the whole scene. With its count of 1 it is true of no scene of "
            "two things. It speaks about the hidden thing alone.",
        ),
        Misconception(
            "product of two shares",
            edit_two_shares,
            "You multiply two shares. That would be right if the two demands failed independently. Join them picture "
            "by picture, and take one mean.",
        ),
        Misconception(
            "average of two shares",
            edit_average_of_two_shares,
            "You average two shares, so a picture that meets one demand is half a success. It must meet both.",
        ),
        Misconception(
            "smaller of two shares",
            edit_smaller_share,
            "You take the smaller of two shares. The pictures that fail one demand need not be those that fail the "
            "other. Join both picture by picture.",
        ),
        Misconception(
            "one demand is enough",
            edit_either,
            "You join the two demands with or: one of them is enough. An edit must do what was asked and nothing else.",
        ),
        Misconception(
            "a number of pictures",
            edit_number,
            "You return how many edits succeed. Asked is their share of all pictures, from 0 to 1.",
        ),
        Misconception(
            "share of failures",
            edit_failures,
            "You return the share of edits that fail. Asked are those that succeed.",
        ),
    ),
    also_right=(edit_row_by_row, edit_by_columns),
    rtol=1e-5,
    atol=1e-6,
)

ITEMS: list[Item] = [BUILD_INPUT, HOLE_CAPTION, DROP_TEXT, GUIDED_D, EDIT_SUCCESS]
