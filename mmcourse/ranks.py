"""Several processes play one game: each takes its share of every batch, and gradients are averaged (lesson 09).

``torchrun --nproc_per_node 2 ...`` starts the processes; each calls ``start()`` once. All of them draw the same whole
batch from the same seed, and process r of w keeps its rows r, r + w, r + 2w, ...: so a run learns the same whether one
process plays it or several, and one random state is enough to go on with it. Without torchrun there is one process,
and every function here gives back what it was given. Torch is imported only when needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

T = TypeVar("T")


def start(device: str = "cuda") -> str:
    """Join the other processes where torchrun has started several, and give this process's device.

    With ``device="cuda"`` each process takes the card of its number and they speak by NCCL; on ``"cpu"`` by gloo.
    Raises ``RuntimeError`` where there are fewer cards than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    import torch
    from torch import distributed

    if device.startswith("cuda"):
        here = int(os.environ["LOCAL_RANK"])
        if here >= torch.cuda.device_count():
            raise RuntimeError(
                f"torchrun started process {here + 1} on this machine, which has {torch.cuda.device_count()} CUDA "
                "card(s): start as many processes as there are cards."
            )
        torch.cuda.set_device(here)
        device = f"cuda:{here}"
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def stop() -> None:
    """Leave the group, where there is one."""
    if world() > 1:
        from torch import distributed

        distributed.destroy_process_group()


def world() -> int:
    """How many processes play together: 1 without torchrun."""
    from torch import distributed

    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    from torch import distributed

    return distributed.get_rank() if world() > 1 else 0


def share(x: T) -> T:
    """This process's rows of a whole batch: of a tensor (B, ...), or of each tensor of a named tuple; None stays None.

    Raises ``ValueError`` where the batch cannot be shared out evenly.
    """
    if world() == 1 or x is None:
        return x
    if isinstance(x, tuple):
        return type(x)(*(share(part) for part in x))
    n = len(x)  # type: ignore[arg-type]
    if n % world():
        raise ValueError(f"ranks: a batch of {n} cannot be shared out evenly among {world()} processes.")
    return x[rank() :: world()]  # type: ignore[index,no-any-return]


def part(n: int, name: str) -> int:
    """A number of a whole batch's rows as this process's number of them: ``n / world()``.

    Raises ``ValueError`` where that is not a whole number.
    """
    if n % world():
        raise ValueError(f"{name}: {n} cannot be shared out evenly among {world()} processes.")
    return n // world()


def average(tensors: Sequence[Tensor | None]) -> None:
    """Replace tensors, which every process has in the same shapes, by their mean over the processes, in place. They
    travel as one; None, where a parameter took no part, is left out."""
    if world() == 1:
        return
    import torch
    from torch import distributed

    there = [t for t in tensors if t is not None]
    flat = torch.cat([t.detach().flatten() for t in there])
    distributed.all_reduce(flat)
    flat /= world()
    for t, mean in zip(there, flat.split([t.numel() for t in there]), strict=True):
        t.detach().copy_(mean.view_as(t))
