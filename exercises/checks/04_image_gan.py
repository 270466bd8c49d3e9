"""What is asked in exercises 04, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcourse.course.exercise import Item, Misconception

# --------------------------------------------------------------------------------------------- conv_out_size


def probe_conv_out_size(answer: Any, seed: int) -> dict[str, Any]:
    """Layers of both kinds, strided and dilated, some whose last window does not fit, and two that leave nothing."""
    import random

    rng = random.Random(seed)
    out: dict[str, Any] = {}

    def ask(n, kernel, stride, padding, dilation, transposed):
        kind = "transposed" if transposed else "conv"
        size = answer(n, kernel, stride, padding, dilation, transposed)
        out[f"{kind} n {n}, k {kernel}, s {stride}, p {padding}, d {dilation}"] = size

    def at_the_edge(n, kernel, stride, padding, dilation, transposed):
        try:
            ask(n, kernel, stride, padding, dilation, transposed)
        except Exception as error:
            name = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[f"n {n}, k {kernel}, s {stride}, p {padding}, d {dilation}"] = name

    for transposed in (False, True):
        for stride in (1, 2, 3):
            for _ in range(2):
                n, kernel = rng.randrange(20, 60), rng.choice((2, 3, 4, 5))
                ask(n, kernel, stride, rng.randrange(1, 4), rng.choice((1, 2, 3)), transposed)
        ask(2 * rng.randrange(9, 40), 3, 2, 1, 1, transposed)  # the last window of a convolution does not fit
        ask(rng.randrange(9, 40), 4, 3, 2, 3, transposed)
    at_the_edge(5, rng.randrange(9, 40), 2, 1, 1, False)  # a window wider than the picture
    n = rng.randrange(1, 4)
    at_the_edge(n, 2, 1, n + 1, 1, True)  # more cut off than there is
    n = rng.randrange(9, 30)
    at_the_edge(n, 2, 1, 0, n, False)  # the window is wider than the picture by one pixel
    at_the_edge(n, 2, 1, 0, n - 1, False)  # it just fits
    at_the_edge(1, 3, 2, 1, 1, True)  # one pixel is left
    return out


def size_padding_once(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    span = dilation * (kernel - 1) + 1
    return _at_least_1((n - 1) * stride + span - padding if transposed else (n + padding - span) // stride + 1)


def size_without_dilation(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return size_by_moves(n, kernel, stride, padding, 1, transposed)


def size_dilated_kernel(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return size_by_moves(n, dilation * kernel, stride, padding, 1, transposed)


def size_rounded_up(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    if transposed:
        return size_by_moves(n, kernel, stride, padding, dilation, True)
    return _at_least_1(math.ceil((n + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1)


def size_not_whole(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> float:
    if transposed:
        return size_by_moves(n, kernel, stride, padding, dilation, True)
    size = (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
    if size < 1:
        raise ValueError(size)
    return size


def size_moves_only(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    if transposed:
        return size_by_moves(n, kernel, stride, padding, dilation, True)
    return _at_least_1((n + 2 * padding - dilation * (kernel - 1) - 1) // stride)


def size_never_transposed(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return size_by_moves(n, kernel, stride, padding, dilation, False)


def size_times_stride(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return n * stride if transposed else size_by_moves(n, kernel, stride, padding, dilation, False)


def size_padding_added(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return size_by_moves(n, kernel, stride, -padding if transposed else padding, dilation, transposed)


def size_window_each(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    return size_by_moves(n + 1 if transposed else n, kernel, stride, padding, dilation, transposed)


def size_of_anything(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    span = dilation * (kernel - 1) + 1
    return (n - 1) * stride + span - 2 * padding if transposed else (n + 2 * padding - span) // stride + 1


def _at_least_1(size: int) -> int:
    if size < 1:
        raise ValueError(size)
    return size


def size_by_moves(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    last = dilation * (kernel - 1)  # from a window's first pixel to its last
    if transposed:
        return _at_least_1(stride * (n - 1) + last + 1 - 2 * padding)
    return _at_least_1(len(range(0, n + 2 * padding - last, stride)))  # where windows may start


def size_by_asking_torch(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    try:
        layer = kind(1, 1, kernel, stride=stride, padding=padding, dilation=dilation, device="meta")
        return layer(torch.zeros(1, 1, n, device="meta")).shape[2]
    except RuntimeError as error:
        raise ValueError("nothing is left") from error


CONV_OUT_SIZE = Item(
    id="conv_out_size",
    title="How large is the picture now?",
    points=2,
    answer="conv_out_size",
    probe=probe_conv_out_size,
    misconceptions=(
        Misconception(
            "padding counted once",
            size_padding_once,
            "You count the padding once. It is added above and below the picture, and a transposed layer cuts it off "
            "on both sides.",
        ),
        Misconception(
            "no dilation",
            size_without_dilation,
            "Your size does not depend on the dilation. A window that leaves pixels out reaches farther. How many "
            "pixels lie between its first and its last?",
        ),
        Misconception(
            "kernel times dilation",
            size_dilated_kernel,
            "You make the window `kernel * dilation` wide. Draw three points with one pixel left out between each "
            "two: how many gaps are there, and how many pixels from end to end?",
        ),
        Misconception(
            "rounded up",
            size_rounded_up,
            "You round up, so a last window that sticks out of the picture counts. Only windows that fit count.",
        ),
        Misconception(
            "not a whole number",
            size_not_whole,
            "A size is a whole number of pixels, and yours can be a fraction. What becomes of a window that only "
            "partly fits?",
        ),
        Misconception(
            "moves for windows",
            size_moves_only,
            "You count the moves from window to window. With no move at all there is already one window.",
        ),
        Misconception(
            "no way back",
            size_never_transposed,
            "You use the formula of a convolution for both. A transposed layer makes the picture larger: each input "
            "pixel writes a window.",
        ),
        Misconception(
            "times the stride",
            size_times_stride,
            "For a transposed layer you multiply by the stride. That is where the windows start. The last window has a "
            "width of its own, and padding cuts something off.",
        ),
        Misconception(
            "padding makes it larger",
            size_padding_added,
            "In a transposed layer your padding makes the result larger. It turns a convolution round, so there its "
            "padding takes pixels away.",
        ),
        Misconception(
            "a window too many",
            size_window_each,
            "Your transposed result is too long by one stride. n windows that start a stride apart have fewer than n "
            "gaps between their starts.",
        ),
        Misconception(
            "a size of nothing",
            size_of_anything,
            "The sizes are right where there is one. Where no pixel would be left you return a number all the same. "
            "What does the prompt ask for there?",
        ),
    ),
    also_right=(size_by_moves, size_by_asking_torch),
)

# --------------------------------------------------------------------------------------------- pixel_shuffle


def probe_pixel_shuffle(answer: Any, seed: int) -> dict[str, Any]:
    """Pictures that are not square, r of 2, 3 and 1, several channels; then channels that fit no square."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for b, c, r, h, w in ((2, 3, 2, 2, 3), (1, 2, 3, 3, 2), (1, 1, 2, 1, 4), (1, 3, 1, 2, 3)):
        x = torch.randn(b, c * r * r, h, w, generator=g)
        out[f"{c * r * r} channels of {h} x {w}, r {r}"] = torch.as_tensor(answer(x.clone(), r)).clone()
    for channels, r in ((6, 2), (4, 3), (13, 3)):
        try:
            shape = tuple(answer(torch.randn(1, channels, 2, 2, generator=g), r).shape)
            out[f"{channels} channels for r {r}"] = f"it returned shape {shape}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[f"{channels} channels for r {r}"] = kind
    return out


def _shuffled(x: Tensor, r: int, split: tuple[str, ...], order: tuple[str, ...]) -> Tensor:
    """Split the channels as named, then merge in the order named: c, i (row), j (column), h, w."""
    b, channels, h, w = x.shape
    if channels % (r * r):
        raise ValueError(channels)
    size = {"c": channels // (r * r), "i": r, "j": r, "h": h, "w": w}
    axes = (*split, "h", "w")
    x = x.reshape(b, *(size[a] for a in axes))
    return x.permute(0, *(1 + axes.index(a) for a in order)).reshape(b, channels // (r * r), r * h, r * w)


def shuffle_channels_last(x: Tensor, r: int) -> Tensor:
    return _shuffled(x, r, ("i", "j", "c"), ("c", "h", "i", "w", "j"))


def shuffle_rows_for_columns(x: Tensor, r: int) -> Tensor:
    return _shuffled(x, r, ("c", "j", "i"), ("c", "h", "i", "w", "j"))


def shuffle_tiles(x: Tensor, r: int) -> Tensor:
    return _shuffled(x, r, ("c", "i", "j"), ("c", "i", "h", "j", "w"))


def shuffle_plain_reshape(x: Tensor, r: int) -> Tensor:
    return _shuffled(x, r, ("c", "i", "j"), ("c", "i", "j", "h", "w"))


def shuffle_columns_first(x: Tensor, r: int) -> Tensor:
    return _shuffled(x, r, ("c", "i", "j"), ("c", "h", "w", "i", "j"))


def shuffle_enlarged_mean(x: Tensor, r: int) -> Tensor:
    b, channels, h, w = x.shape
    if channels % (r * r):
        raise ValueError(channels)
    mean = x.reshape(b, -1, r * r, h, w).mean(2)
    return mean.repeat_interleave(r, 2).repeat_interleave(r, 3)


def shuffle_turned(x: Tensor, r: int) -> Tensor:
    return shuffle_by_placing(x, r).transpose(2, 3)


def shuffle_without_a_check(x: Tensor, r: int) -> Tensor:
    c = x.shape[1] // r**2
    return shuffle_by_placing(x[:, : c * r * r], r) if c else x[:, :0]


def shuffle_by_placing(x: Tensor, r: int) -> Tensor:
    b, channels, h, w = x.shape
    c, rest = divmod(channels, r * r)
    if rest:
        raise ValueError(channels)
    out = x.new_zeros(b, c, h * r, w * r)
    for i in range(r):
        for j in range(r):
            out[:, :, i::r, j::r] = x[:, i * r + j :: r * r]
    return out


def shuffle_by_transposed_convolution(x: Tensor, r: int) -> Tensor:
    b, channels, h, w = x.shape
    if channels % (r * r) != 0:
        raise ValueError(channels)
    square = torch.eye(r * r, dtype=x.dtype).view(r * r, 1, r, r)  # channel q writes place q of the square
    groups = x.reshape(b * (channels // (r * r)), r * r, h, w)
    return F.conv_transpose2d(groups, square, stride=r).view(b, -1, h * r, w * r)


PIXEL_SHUFFLE = Item(
    id="pixel_shuffle",
    title="Channels become pixels",
    points=2,
    answer="pixel_shuffle",
    probe=probe_pixel_shuffle,
    misconceptions=(
        Misconception(
            "channels last",
            shuffle_channels_last,
            "You split the channels with the result's channel as the fastest. Here neighbours among the channels make "
            "one square: which of the split axes must come first?",
        ),
        Misconception(
            "rows for columns",
            shuffle_rows_for_columns,
            "Within each square your rows and columns are exchanged. The second channel of a group belongs to the "
            "right of the first, not below it.",
        ),
        Misconception(
            "tiles",
            shuffle_tiles,
            "You lay whole small pictures side by side. Each small pixel should open into a square at its own place, "
            "so neighbours in the result come from different channels.",
        ),
        Misconception(
            "a plain reshape",
            shuffle_plain_reshape,
            "You change the shape and no order. Then the numbers of one channel stay next to each other. Which axes "
            "must change places before the merge?",
        ),
        Misconception(
            "merged in the wrong order",
            shuffle_columns_first,
            "Height and width stand next to each other when you merge, so rows are cut into pieces. Each result axis "
            "is a small axis with its own place in the square right behind it.",
        ),
        Misconception(
            "only enlarged",
            shuffle_enlarged_mean,
            "Every square has one value, the mean of its channels. That enlarges a picture and throws away what the "
            "channels say about the places in the square.",
        ),
        Misconception(
            "turned over its diagonal",
            shuffle_turned,
            "Your result is right, but height and width are exchanged. On square pictures this hides; look at the "
            "shape for one that is wider than high.",
        ),
        Misconception(
            "channels left over",
            shuffle_without_a_check,
            "The numbers are right where the channels fit. Where some are left over, yours drops them in silence. "
            "What does the prompt ask for there?",
        ),
    ),
    also_right=(shuffle_by_placing, shuffle_by_transposed_convolution),
)

# ------------------------------------------------------------------------------------------------ ema_update


def probe_ema_update(answer: Any, seed: int) -> dict[str, Any]:
    """A small network with a batch norm, a model that moves on between updates, early and late in a run."""
    import torch
    from torch import nn

    g = torch.Generator().manual_seed(seed)

    def scatter(net):
        for p in net.parameters():
            p.data = torch.randn(p.shape, generator=g)
        for name, buffer in net.named_buffers():
            fresh = torch.randint(5, 90, (), generator=g) if buffer.ndim == 0 else torch.rand(buffer.shape, generator=g)
            buffer.copy_(fresh)

    def numbers(tensors):
        return torch.cat([t.detach().double().flatten() for t in tensors])

    out: dict[str, Any] = {}
    for name, decay, first in (("first steps", 0.9, 0), ("late", 0.8, 400), ("early", 0.99, 3)):
        with torch.random.fork_rng(devices=[]):
            average, model = (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(2))
        scatter(average)
        scatter(model)
        objects = [id(t) for t in (*average.parameters(), *average.buffers())]
        before = numbers([*model.parameters(), *model.buffers()])
        for step in range(first, first + 3):
            answer(average, model, decay, step)
            after = numbers([*model.parameters(), *model.buffers()])
            out[f"{name}: the model is unchanged"] = bool(torch.equal(before, after))
            if step < first + 2:
                scatter(model)
                before = numbers([*model.parameters(), *model.buffers()])
        out[f"{name}: parameters"] = numbers(average.parameters())
        out[f"{name}: buffers"] = numbers(average.buffers())
        out[f"{name}: same objects"] = objects == [id(t) for t in (*average.parameters(), *average.buffers())]
    return out


def _mixed(own: nn.Module, other: nn.Module, keep: float, *, buffers: str = "copied") -> None:
    """own = keep * own + (1 - keep) * other."""
    with torch.no_grad():
        for p, q in zip(own.parameters(), other.parameters(), strict=True):
            p.copy_(keep * p + (1 - keep) * q)
        for p, q in zip(own.buffers(), other.buffers(), strict=True):
            if buffers == "copied":
                p.copy_(q)
            elif buffers == "averaged":
                p.copy_(keep * p + (1 - keep) * q)


def _keep(decay: float, step: int) -> float:
    return min(decay, (step + 1) / (step + 10))


def ema_without_buffers(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, _keep(decay, step), buffers="left")


def ema_of_buffers(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, _keep(decay, step), buffers="averaged")


def ema_inverted(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, 1 - _keep(decay, step))


def ema_moves_the_model(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(model, average, _keep(decay, step))


def ema_copies(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, 0.0)


def ema_without_warm_up(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, decay)


def ema_larger_decay(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, max(decay, (step + 1) / (step + 10)))


def ema_always_warming(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, (step + 1) / (step + 10))


def ema_steps_from_1(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    _mixed(average, model, min(decay, step / (step + 9)))


def ema_does_nothing(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    keep = _keep(decay, step)
    for p, q in zip(average.parameters(), model.parameters(), strict=True):
        p = keep * p + (1 - keep) * q  # type: ignore[assignment]


def ema_new_objects(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    keep, theirs = _keep(decay, step), dict(model.named_parameters())
    for path, p in list(average.named_parameters()):
        owner, _, name = path.rpartition(".")
        mixed = keep * p.detach() + (1 - keep) * theirs[path].detach()
        setattr(average.get_submodule(owner), name, nn.Parameter(mixed))
    for p, q in zip(average.buffers(), model.buffers(), strict=True):
        p.copy_(q)


def ema_by_lerp(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    weight = max(1 - decay, 9 / (step + 10))
    for p, q in zip(average.parameters(), model.parameters(), strict=True):
        p.data.lerp_(q.data, weight)
    for p, q in zip(average.buffers(), model.buffers(), strict=True):
        p.copy_(q)


def ema_by_state_dict(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    keep, learned = _keep(decay, step), {name for name, _ in average.named_parameters()}
    own, other = average.state_dict(), model.state_dict()
    average.load_state_dict({k: keep * own[k] + (1 - keep) * v if k in learned else v for k, v in other.items()})


EMA_UPDATE = Item(
    id="ema_update",
    title="The calmer twin",
    points=2,
    answer="ema_update",
    probe=probe_ema_update,
    misconceptions=(
        Misconception(
            "buffers left behind",
            ema_without_buffers,
            "The parameters are right, and the buffers of the average are still those of the start. A batch norm would "
            "then use a running mean that belongs to other weights.",
        ),
        Misconception(
            "buffers averaged",
            ema_of_buffers,
            "You average the buffers as well. A running mean is an average already, and a counter of steps has no half "
            "steps. The prompt wants them as they are.",
        ),
        Misconception(
            "decay inverted",
            ema_inverted,
            "Decay and 1 - decay have changed places: your average keeps the small share and takes the large one. With "
            "a decay of 0.999 it would be nearly the model itself.",
        ),
        Misconception(
            "moves the model",
            ema_moves_the_model,
            "You move the model towards its average. The model is the one that trains; it must not notice that it is "
            "averaged.",
        ),
        Misconception(
            "a copy",
            ema_copies,
            "Your average is a plain copy of the newest model. What share of the old average should stay?",
        ),
        Misconception(
            "no early decay",
            ema_without_warm_up,
            "Late in the run your numbers are right. Early on you use the full decay, so the average clings to an "
            "untrained network. Read the prompt's second paragraph again.",
        ),
        Misconception(
            "the larger decay",
            ema_larger_decay,
            "Of the two decays you take the larger. The one that grows with the steps holds for as long as it is the "
            "smaller one.",
        ),
        Misconception(
            "always warming up",
            ema_always_warming,
            "You use the decay that grows with the steps in every step. It goes towards 1, so in a long run your "
            "average would stop moving. Where does `decay` enter?",
        ),
        Misconception(
            "steps counted from 1",
            ema_steps_from_1,
            "Your early decay is one step behind: the first step has the number 0, and there you keep nothing at all.",
        ),
        Misconception(
            "a name is not a weight",
            ema_does_nothing,
            "Nothing has changed. `p = ...` gives a new tensor the name p and leaves the network alone. How does a "
            "tensor get new values in place?",
        ),
        Misconception(
            "new objects",
            ema_new_objects,
            "The numbers are right, but you put new tensors into the average. Whoever holds the old ones, such as an "
            "optimiser or a second name, no longer sees it move. Write into the tensors that are there.",
        ),
    ),
    also_right=(ema_by_lerp, ema_by_state_dict),
)

# ---------------------------------------------------------------------------------------------------- d_step


def probe_d_step(answer: Any, seed: int) -> dict[str, Any]:
    """A tiny D and G for steps with and without a penalty, with gradients in D that an earlier step has left."""
    import torch
    from torch import nn

    g = torch.Generator().manual_seed(seed)

    def scatter(net, by):
        for p in net.parameters():
            p.data = by * torch.randn(p.shape, generator=g)

    out: dict[str, Any] = {}
    for first, gamma, every in ((0, 0.6, 4), (7, 1.5, 4)):
        with torch.random.fork_rng(devices=[]):
            D = nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.Softplus(), nn.Linear(3, 1))
            G = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Unflatten(1, (2, 2, 2)))
        scatter(D, 0.7)
        scatter(G, 0.7)
        opt = torch.optim.SGD(D.parameters(), lr=0.1)
        for step in (first, first + 1, first + 2):
            real, z = torch.randn(5, 2, 2, 2, generator=g), torch.randn(5, 3, generator=g)
            for p in D.parameters():
                p.grad = torch.randn(p.shape, generator=g)  # an earlier step has left this
            loss = answer(D, opt, real, G(z), step, gamma, every)
            out[f"gamma {gamma}, step {step}: loss"] = float(loss.detach() if torch.is_tensor(loss) else loss)
            weights = torch.cat([p.detach().flatten() for p in D.parameters()])
            out[f"gamma {gamma}, step {step}: D"] = weights[::4].clone()
        out[f"gamma {gamma}: G has a gradient"] = any(p.grad is not None for p in G.parameters())
    return out


def _penalty(D: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.pow(2).flatten(1).sum(1).mean()


Penalise = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _d_step(
    D: nn.Module,
    opt: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    weight: float,
    *,
    penalise: Penalise = lambda D, real, fake: (_penalty(D, real) + _penalty(D, fake)) / 2,
    sign: int = 1,
    detach: bool = True,
    fresh: bool = True,
) -> float:
    on_fake = D(fake.detach() if detach else fake)
    total = F.softplus(sign * (on_fake - D(real))).mean()
    if weight:
        total = total + weight * penalise(D, real, fake)
    if fresh:
        opt.zero_grad()
    total.backward()
    opt.step()
    return total.item()


def _weight(step: int, gamma: float, every: int) -> float:
    return gamma * every if step % every == 0 else 0.0


def d_not_detached(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, _weight(step, gamma, reg_every), detach=False)


def d_every_step(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, gamma)


def d_every_step_times(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, gamma * reg_every)


def d_not_times(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, gamma if step % reg_every == 0 else 0.0)


def d_steps_from_1(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, _weight(step + 1, gamma, reg_every))


def d_no_penalty(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, 0.0)


def _variant(penalise: Penalise) -> Callable[..., float]:
    def d_variant(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
        return _d_step(D, opt, real, fake, _weight(step, gamma, reg_every), penalise=penalise)

    return d_variant


def _slope(D: nn.Module, x: Tensor, *, graph: bool = True) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(D(x).sum(), x, create_graph=graph)[0]


def _both(D: nn.Module, real: Tensor, fake: Tensor, *, graph: bool = True) -> Tensor:
    return _slope(D, torch.cat([real, fake.detach()]), graph=graph)


def _of_mean_logit(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    x = torch.cat([real, fake]).detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).mean(), x, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


d_real_only = _variant(lambda D, real, fake: _penalty(D, real) / 2)
d_fakes_only = _variant(lambda D, real, fake: _penalty(D, fake) / 2)
d_no_half = _variant(lambda D, real, fake: _penalty(D, real) + _penalty(D, fake))
d_length = _variant(lambda D, real, fake: _both(D, real, fake).flatten(1).norm(dim=1).mean())
d_towards_1 = _variant(lambda D, real, fake: (_both(D, real, fake).flatten(1).norm(dim=1) - 1).square().mean())
d_mean_of_pixels = _variant(lambda D, real, fake: _both(D, real, fake).square().mean())
d_whole_batch = _variant(lambda D, real, fake: _both(D, real, fake).square().sum())
d_mean_logit = _variant(_of_mean_logit)
d_no_second_slope = _variant(lambda D, real, fake: _both(D, real, fake, graph=False).square().flatten(1).sum(1).mean())


def d_sign_turned(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, _weight(step, gamma, reg_every), sign=-1)


def d_old_gradients(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    return _d_step(D, opt, real, fake, _weight(step, gamma, reg_every), fresh=False)


def d_not_moved(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    total = F.softplus(D(fake.detach()) - D(real)).mean().detach()
    weight = _weight(step, gamma, reg_every)
    return (total + weight * (_penalty(D, real) + _penalty(D, fake)) / 2).item()


def d_old_game(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    total = F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()
    total = total + _weight(step, gamma, reg_every) * (_penalty(D, real) + _penalty(D, fake)) / 2
    opt.zero_grad()
    total.backward()
    opt.step()
    return total.item()


def d_in_two_parts(D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int) -> float:
    D.zero_grad()
    fake = fake.detach()
    loss = -F.logsigmoid(D(real) - D(fake)).mean()
    loss.backward()
    total = loss.item()
    if not step % reg_every:
        for x in (real, fake):
            penalty = gamma / 2 * reg_every * _penalty(D, x)
            penalty.backward()
            total += penalty.item()
    opt.step()
    return total


def d_picture_by_picture(
    D: Any, opt: Any, real: Tensor, fake: Tensor, step: int, gamma: float, reg_every: int
) -> float:
    total, n = torch.zeros(()), len(real)
    for x, y in zip(real, fake.detach(), strict=True):
        pair = torch.stack([x, y]).requires_grad_()
        on_x, on_y = D(pair)
        total = total + F.softplus(on_y - on_x).squeeze() / n
        if step in range(0, step + 1, reg_every):
            (slope,) = torch.autograd.grad(on_x + on_y, pair, create_graph=True)
            total = total + reg_every * gamma / 2 * slope.pow(2).sum() / n
    parameters = list(D.parameters())
    for p, slope in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
        p.grad = slope
    opt.step()
    return total.item()


D_STEP = Item(
    id="d_step",
    title="D's move, penalty included",
    points=4,
    answer="d_step",
    probe=probe_d_step,
    misconceptions=(
        Misconception(
            "no detach",
            d_not_detached,
            "D's new weights are right, but G has got a gradient as well: from a loss that wants its fakes to look "
            "fake. The way from the loss back to G must be cut.",
        ),
        Misconception(
            "a penalty in every step",
            d_every_step,
            "You compute the penalty in every step, with its plain weight. Over many steps this is about as strong, "
            "and much dearer. In which steps is it asked for, and how much does it count there?",
        ),
        Misconception(
            "the large penalty in every step",
            d_every_step_times,
            "You apply the enlarged penalty in every step, so it is `reg_every` times too strong. It is that large "
            "because it stands for the steps that have none.",
        ),
        Misconception(
            "a small penalty now and then",
            d_not_times,
            "The penalty comes in the right steps with its plain weight. Spread over all steps it is then `reg_every` "
            "times too weak.",
        ),
        Misconception(
            "a step too early",
            d_steps_from_1,
            "Your penalty comes one step too early. The first step has the number 0, and it has a penalty.",
        ),
        Misconception(
            "no penalty",
            d_no_penalty,
            "There is no penalty in any step. What holds D's slopes down then?",
        ),
        Misconception(
            "real pictures only",
            d_real_only,
            "You penalise the slopes at real pictures only. The formula has a second term.",
        ),
        Misconception(
            "fakes only",
            d_fakes_only,
            "You penalise the slopes at fakes only. The formula has another term.",
        ),
        Misconception(
            "the half is missing",
            d_no_half,
            "Your penalty is twice the one asked for. Look at the factor in front of the bracket.",
        ),
        Misconception(
            "length, not squared",
            d_length,
            "You average the lengths of the slopes. Asked is the squared length, which needs no root.",
        ),
        Misconception(
            "towards length 1",
            d_towards_1,
            "You pull the length of each slope towards 1, as WGAN-GP does. This penalty pulls it towards 0.",
        ),
        Misconception(
            "mean over pixels",
            d_mean_of_pixels,
            "You average over the pixels too. The squared length of a slope is a sum over all numbers of a picture; "
            "the mean runs over pictures.",
        ),
        Misconception(
            "sum over the batch",
            d_whole_batch,
            "You add up the whole batch, so a larger batch would be punished more. The sum runs over one picture's "
            "numbers, the mean over pictures.",
        ),
        Misconception(
            "slope of the mean logit",
            d_mean_logit,
            "You take the slope of the mean logit. Each picture's slope is then divided by the number of pictures, and "
            "its square by that number twice.",
        ),
        Misconception(
            "no slope of the slope",
            d_no_second_slope,
            "The loss is right, but D does not learn from the penalty: to autograd its slope is a constant. What must "
            "`grad` keep, so that a slope has a slope?",
        ),
        Misconception(
            "the sign is turned",
            d_sign_turned,
            "Your D learns to score fakes above real pictures. That is G's wish. Which way round is the difference in "
            "the formula?",
        ),
        Misconception(
            "old gradients",
            d_old_gradients,
            "The loss is right and the weights are not: gradients that were left in D are added to the new ones. "
            "When must they be cleared?",
        ),
        Misconception(
            "D does not move",
            d_not_moved,
            "The first loss is right, and D's weights are still the old ones. Computing a loss moves nothing.",
        ),
        Misconception(
            "the older game",
            d_old_game,
            "You score real and fake apart, as in lesson 01. In this game the two logits of a pair are compared, and "
            "the softplus sees only their difference.",
        ),
    ),
    also_right=(d_in_two_parts, d_picture_by_picture),
    example="gamma 0.6, step 0: loss",
)

# --------------------------------------------------------------------------------------------- interpolate_z


def probe_interpolate_z(answer: Any, seed: int) -> dict[str, Any]:
    """A pair of unlike lengths, a near pair, one that points the same way, and a walk of one step."""
    import torch

    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 6, generator=g)
    out: dict[str, Any] = {}
    far = b - (a @ b) / (a @ a) * a + (0.2 - 0.6 * float(torch.rand((), generator=g))) * a
    near = 1.3 * a + 0.4 * b / b.norm() * a.norm()
    for name, start, end, steps in (
        ("far apart", a, 1.6 * far, 5),
        ("near", a, near, 4),
        ("short noise", 0.3 * a / a.norm(), 0.4 * far / far.norm(), 3),
    ):
        out[f"{name}, {steps} steps"] = torch.as_tensor(answer(start.clone(), end.clone(), steps)).clone()
    line = torch.zeros(6)
    line[int(torch.randint(6, (), generator=g))] = int(torch.randint(2, 9, (), generator=g)) / 4
    out["the same way, 5 steps"] = torch.as_tensor(answer(line.clone(), 2 * line, 5)).clone()
    out["ends only"] = torch.as_tensor(answer(b.clone(), a.clone(), 2)).clone()
    for steps in (1, 0):
        try:
            out[f"{steps} steps"] = f"it returned shape {tuple(answer(a.clone(), b.clone(), steps).shape)}"
        except Exception as error:
            out[f"{steps} steps"] = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return out


def _times(steps: int) -> Tensor:
    if steps < 2:
        raise ValueError(steps)
    return torch.linspace(0, 1, steps)[:, None]


def _angle(a: Tensor, b: Tensor) -> Tensor:
    u, v = a / a.norm(), b / b.norm()
    return 2 * torch.atan2((u - v).norm(), (u + v).norm())


def _walk(a: Tensor, b: Tensor, t: Tensor, theta: Tensor) -> Tensor:
    if theta < 1e-3:
        return torch.lerp(a[None], b[None], t)
    return (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta)


def z_straight(a: Tensor, b: Tensor, steps: int) -> Tensor:
    return torch.lerp(a[None], b[None], _times(steps))


def z_straight_rescaled(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t = _times(steps)
    line = torch.lerp(a[None], b[None], t)
    return line / line.norm(dim=1, keepdim=True) * torch.lerp(a.norm(), b.norm(), t)


def z_not_normalised(a: Tensor, b: Tensor, steps: int) -> Tensor:
    return _walk(a, b, _times(steps), torch.acos((a @ b).clamp(-0.999, 0.9999999)))


def z_length_1(a: Tensor, b: Tensor, steps: int) -> Tensor:
    u, v = a / a.norm(), b / b.norm()
    return _walk(u, v, _times(steps), _angle(a, b))


def z_backwards(a: Tensor, b: Tensor, steps: int) -> Tensor:
    return _walk(a, b, 1 - _times(steps), _angle(a, b))


def z_degrees(a: Tensor, b: Tensor, steps: int) -> Tensor:
    return _walk(a, b, _times(steps), torch.rad2deg(_angle(a, b)))


def z_not_divided(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t, theta = _times(steps), _angle(a, b)
    return torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b if theta >= 1e-3 else z_straight(a, b, steps)


def z_without_the_end(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t = _times(steps) * (steps - 1) / steps
    return _walk(a, b, t, _angle(a, b))


def z_without_ends(a: Tensor, b: Tensor, steps: int) -> Tensor:
    return _walk(a, b, _times(steps + 2)[1:-1], _angle(a, b)) if steps >= 2 else _times(steps)


def z_small_sine_clamped(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t, theta = _times(steps), _angle(a, b)
    return (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta).clamp(min=1e-6)


def z_quarter_turn(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t = _times(steps) * torch.pi / 2
    return torch.cos(t) * a + torch.sin(t) * b


def z_one_step_too(a: Tensor, b: Tensor, steps: int) -> Tensor:
    t = torch.linspace(0, 1, steps)[:, None]
    return _walk(a, b, t, _angle(a, b))


def z_by_arc_cosine(a: Tensor, b: Tensor, steps: int) -> Tensor:
    if steps < 2:
        raise ValueError(steps)
    cosine = F.cosine_similarity(a.double(), b.double(), dim=0).clamp(-1, 1)
    theta = float(torch.acos(cosine))
    rows = []
    for i in range(steps):
        t = i / (steps - 1)
        if theta < 1e-3:
            rows.append((1 - t) * a + t * b)
        else:
            rows.append((math.sin((1 - t) * theta) * a + math.sin(t * theta) * b) / math.sin(theta))
    return torch.stack(rows)


def z_by_turning(a: Tensor, b: Tensor, steps: int) -> Tensor:
    if steps <= 1:
        raise ValueError(steps)
    t = torch.arange(steps, dtype=torch.float64)[:, None] / (steps - 1)
    x, y = a.double(), b.double()
    u = x / x.norm()
    side = y - (y @ u) * u  # what of b lies at right angles to a
    if side.norm() < 1e-3 * y.norm():
        return x + t * (y - x)
    w, long = side / side.norm(), y.norm()
    theta = torch.atan2(side.norm(), y @ u)
    share = torch.sin((1 - t) * theta) * x.norm() + torch.sin(t * theta) * long * torch.cos(theta)
    return (share * u + torch.sin(t * theta) * long * torch.sin(theta) * w) / torch.sin(theta)


INTERPOLATE_Z = Item(
    id="interpolate_z",
    title="A walk that keeps its length",
    points=2,
    answer="interpolate_z",
    probe=probe_interpolate_z,
    misconceptions=(
        Misconception(
            "a straight line",
            z_straight,
            "You walk on the straight line. Half way between two noises it is shorter than any noise that G has met.",
        ),
        Misconception(
            "a straight line, stretched",
            z_straight_rescaled,
            "You walk on the straight line and give each point a good length. The path is right, the pace is not: "
            "evenly spaced points on a chord are not evenly spaced in angle.",
        ),
        Misconception(
            "not normalised",
            z_not_normalised,
            "You take the arc cosine of the plain inner product. It is a cosine only for two vectors of length 1.",
        ),
        Misconception(
            "length 1 everywhere",
            z_length_1,
            "All your points have length 1. The directions of length 1 serve for the angle; the walk goes from a "
            "itself to b itself.",
        ),
        Misconception(
            "from b to a",
            z_backwards,
            "You arrive where you should start. At time 0 the weight of a must be 1.",
        ),
        Misconception(
            "degrees",
            z_degrees,
            "Your angle is in degrees. torch's sine takes radians.",
        ),
        Misconception(
            "not divided",
            z_not_divided,
            "Your first point is shorter than a. Put t = 0 into the formula: by what must the weights be divided, so "
            "that the weight of a is 1?",
        ),
        Misconception(
            "the end is missing",
            z_without_the_end,
            "Your walk stops one step short of b. With both ends included there is one gap fewer than points.",
        ),
        Misconception(
            "both ends are missing",
            z_without_ends,
            "You give only points between a and b. The first row should be a itself, the last b itself.",
        ),
        Misconception(
            "a small sine held up",
            z_small_sine_clamped,
            "Where both noises point the same way your points are all zero: the sines above the bar are 0 as well. "
            "Holding the divisor up does not help. What does the prompt want there?",
        ),
        Misconception(
            "a quarter turn",
            z_quarter_turn,
            "You walk as if the two stood at right angles. Noise of many numbers nearly does, and these do not. Use "
            "the true angle.",
        ),
        Misconception(
            "a walk of one step",
            z_one_step_too,
            "The walks are right. A walk of fewer than two steps cannot have two ends, and yours returns something all "
            "the same.",
        ),
    ),
    also_right=(z_by_arc_cosine, z_by_turning),
    rtol=1e-3,
    atol=1e-4,
)

ITEMS: list[Item] = [CONV_OUT_SIZE, PIXEL_SHUFFLE, EMA_UPDATE, D_STEP, INTERPOLATE_Z]
