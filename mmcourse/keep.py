"""What a run keeps on the disk, so that one that was stopped goes on as if it never had been (lesson 08).

A file holds tensors and a header of plain JSON; nothing is ever unpickled. ``Kept`` is the state of a loop that a
chapter writes out itself, ``train.State`` that of the game.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcourse.runtime import write_whole

_HEADER = "mmcourse_state"


def write(path: str | Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> Path:
    """One safetensors file: written under a temporary name, then renamed. Returns its path."""
    from safetensors.torch import save

    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_whole(Path(path), save(whole, metadata={_HEADER: json.dumps(header)}))
    return Path(path)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header that ``write`` wrote. Raises ``ValueError`` where there are none, or not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as f:
            header = json.loads((f.metadata() or {}).get(_HEADER, "null"))
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; a run writes one with state.save(path).") from None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable training state ({error}).") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: not a training state; it was not written by State.save.")
    return tensors, header


def expect_same(path: str | Path, was: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ``ValueError`` that names what differs, where a run is to go on as another than it was started as."""
    now = json.loads(json.dumps(now))
    changed = sorted(k for k in now if was.get(k) != now[k])
    if changed:
        what = ", ".join(f"{k} ({was.get(k)}, now {now[k]})" if _short(was.get(k), now[k]) else k for k in changed)
        raise ValueError(f"{path}: this run was started with another {what}. Go on with the same, or remove the file.")


def _short(*values: Any) -> bool:
    return all(isinstance(v, int | float | str | None) and len(str(v)) < 30 for v in values)


def optimiser_tensors(opt: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as tensors named "parameter.slot"."""
    state = opt.state_dict()["state"]
    return {f"{i}.{slot}": torch.as_tensor(value) for i, slots in state.items() for slot, value in slots.items()}


def set_optimiser(opt: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser the moments that ``optimiser_tensors`` took; learning rates and the like stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".")
        state.setdefault(int(index), {})[slot] = value.clone()
    opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
    for p, slots in opt.state.items():  # a fused optimiser pairs weights and moments by their place in memory
        for slot, value in slots.items():
            if value.shape == p.shape and value.stride() != p.stride():
                slots[slot] = torch.empty_like(p).copy_(value)


class Kept:
    """The state of a loop that is no game: its networks, optimisers and random sources by name, and the step.

        kept = Kept(g=g, rng=rng)  # what the caller's batches are drawn from
        for step, loss in align(space, batches, config, kept=kept):
            kept.save("run.safetensors")

    The loop counts its steps by ``kept.steps`` and names its own parts there. A fresh ``Kept`` that has read the file
    goes on with the step that comes next. ``about`` says what run this is; a file of another is refused.
    """

    def __init__(self, about: dict[str, Any] | None = None, **parts: Any):
        self.about = about or {}
        self.parts: dict[str, Any] = parts
        self.step, self.seconds = 0, 0.0
        self._found: tuple[Path, dict[str, Tensor], dict[str, Any]] | None = None

    def steps(self, total: int, **parts: Any) -> Iterator[int]:
        """The steps that are left of ``total``, from 0, for a loop with these parts: ``nn.Module``, optimiser,
        ``torch.Generator`` or ``random.Random``. What ``load`` has read is put into them first.

        Raises ``ValueError`` where that does not fit.
        """
        self.parts |= parts
        if self._found is not None:
            self._put_in(*self._found)
            self._found = None
        while self.step < total:
            self.step += 1
            yield self.step - 1

    def save(self, path: str | Path) -> Path:
        """Write all of it as one safetensors file. Call it between two steps."""
        tensors: dict[str, Tensor] = {}
        header: dict[str, Any] = {"step": self.step, "seconds": self.seconds, "about": self.about, "draws": {}}
        for name, part in self.parts.items():
            if isinstance(part, nn.Module):
                tensors |= {f"{name}.{k}": v for k, v in part.state_dict().items()}
            elif isinstance(part, torch.optim.Optimizer):
                tensors |= {f"{name}.{k}": v for k, v in optimiser_tensors(part).items()}
            elif isinstance(part, torch.Generator):
                tensors[f"{name}."] = part.get_state()
            elif isinstance(part, random.Random):
                header["draws"][name] = part.getstate()
            else:
                raise TypeError(f"Kept: {name} is a {type(part).__name__}, of which no state is known.")
        return write(path, tensors, header)

    def load(self, path: str | Path) -> Kept:
        """Read what ``save`` wrote; the loop puts it in when it begins. Raises ``ValueError`` on another run's file."""
        tensors, header = read(path)
        expect_same(path, header.get("about", {}), self.about)
        if "draws" not in header:
            raise ValueError(f"{path}: is the state of another kind of run; remove it to begin anew.")
        self.step, self.seconds = int(header["step"]), float(header["seconds"])
        self._found = (Path(path), tensors, header)
        return self

    def _put_in(self, path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            try:
                if isinstance(part, nn.Module):
                    part.load_state_dict(own)
                elif isinstance(part, torch.optim.Optimizer):
                    set_optimiser(part, own)
                elif isinstance(part, torch.Generator):
                    part.set_state(own[""])
                else:
                    version, numbers, gauss = header["draws"][name]
                    part.setstate((version, tuple(numbers), gauss))
            except (RuntimeError, KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{path}: does not fit this run at {name!r} ({error}).") from error
