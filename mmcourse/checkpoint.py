"""Trained networks on disk: safetensors, the numbers that rebuild them, a digest and a card (lesson 00).

A checkpoint is two files: ``name.safetensors`` (weights; class, hparams and a digest in its header) and ``name.json``
(the card: what it is, the command, seed, data, versions and measured figures). Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmcourse.runtime import checkpoint_dir

Module = TypeVar("Module", bound=nn.Module)
_HEADER = "mmcourse"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or made for another network."""


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes of tensors, in the order of their names."""
    h = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        h.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        h.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def save(module: nn.Module, path: str | Path, *, card: dict[str, Any]) -> Path:
    """Write a network with ``hparams`` and its card. Both files get a temporary name first and are then renamed.

    Raises ``CheckpointError`` where the module keeps no ``hparams``, or a weight is not finite.
    """
    from safetensors.torch import save_file

    path = Path(path).with_suffix(".safetensors")
    if not hasattr(module, "hparams"):
        raise CheckpointError(f"{type(module).__name__} keeps no hparams; a checkpoint could not be rebuilt from it.")
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    sick = [k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if sick:
        raise CheckpointError(f"{path.name}: not written, {sick[0]!r} holds values that are not finite.")
    header = {"class": type(module).__name__, "hparams": module.hparams, "digest": digest(tensors)}
    card = {**card, "class": header["class"], "hparams": module.hparams, "digest": header["digest"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    weights, text = (path.with_name(f"{path.stem}.{os.getpid()}.tmp{i}") for i in range(2))
    try:
        save_file(tensors, weights, metadata={_HEADER: json.dumps(header)})
        text.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        weights.chmod(0o644)
        weights.replace(path)
        text.replace(path.with_suffix(".json"))
    finally:
        weights.unlink(missing_ok=True)
        text.unlink(missing_ok=True)
    return path


def find(name: str | Path) -> Path:
    """A shipped checkpoint's path by name ("judge"), or a path as it is. Raises ``CheckpointError`` if absent."""
    path = Path(name)
    if path.suffix != ".safetensors" and len(path.parts) == 1:
        path = checkpoint_dir() / f"{name}.safetensors"
    elif path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    if not path.is_file():
        here = (
            sorted(p.stem for p in path.parent.glob("[!.]*.safetensors") if ".state" not in p.name)
            if path.parent.is_dir()
            else []
        )
        known = f" There: {', '.join(here)}." if here else " That folder holds no checkpoint."
        raise CheckpointError(
            f"{path}: no such checkpoint.{known} Shipped ones come with the repository; "
            "others are made by `mmcourse train NAME --out FOLDER`."
        )
    return path


def nearest(name: str, folder: Path | None) -> Path:
    """The checkpoint of that name in a folder, else the shipped one. Raises ``CheckpointError`` where there is none."""
    here = None if folder is None else folder / f"{name}.safetensors"
    return here if here is not None and here.is_file() else find(name)


def load(cls: type[Module], name: str | Path) -> Module:
    """Rebuild a network from a checkpoint, in eval mode, on the CPU.

    Everything is checked before a network is made: the file is whole, it belongs to this class, its digest and every
    name and shape agree. Raises ``CheckpointError`` that says which of these failed.
    """
    path = find(name)
    header, tensors = _read(path)
    if header["class"] != cls.__name__:
        raise CheckpointError(f"{path}: holds a {header['class']}, not a {cls.__name__}. Load it with that class.")
    if digest(tensors) != header["digest"]:
        raise CheckpointError(f"{path}: its weights do not match its digest; it was altered. Fetch it again.")
    try:
        module = cls(**header["hparams"])
    except TypeError as error:
        raise CheckpointError(f"{path}: was made by another version of {cls.__name__} ({error}).") from error
    own = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    have = {k: tuple(v.shape) for k, v in tensors.items()}
    if own != have:
        odd = sorted(k for k in own.keys() | have.keys() if own.get(k) != have.get(k))
        raise CheckpointError(
            f"{path}: does not fit this {cls.__name__} at {odd[0]!r}: the file has {have.get(odd[0])}, "
            f"the network {own.get(odd[0])} ({len(odd)} such). It belongs to another architecture."
        )
    module.load_state_dict(tensors)
    return module.eval()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as f:
            header = json.loads((f.metadata() or {}).get(_HEADER, "null"))
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read; it is truncated or no checkpoint ({error}). Fetch it again."
        ) from error
    if not isinstance(header, dict) or not {"class", "hparams", "digest"} <= header.keys():
        raise CheckpointError(f"{path}: is a safetensors file, but not one that mmcourse wrote.")
    return header, tensors


def card(name: str | Path) -> dict[str, Any]:
    """The card beside a checkpoint. Raises ``CheckpointError`` where it is missing or not JSON."""
    path = find(name).with_suffix(".json")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: the card is missing or not readable ({error}).") from error


def verify(name: str | Path) -> str:
    """Check a file's digest without building a network; returns the digest. Raises ``CheckpointError``."""
    path = find(name)
    header, tensors = _read(path)
    if digest(tensors) != header["digest"]:
        raise CheckpointError(f"{path}: its weights do not match its digest; it was altered. Fetch it again.")
    if card(path).get("digest") != header["digest"]:
        raise CheckpointError(f"{path}: the card beside it describes other weights. Fetch both again.")
    return str(header["digest"])
