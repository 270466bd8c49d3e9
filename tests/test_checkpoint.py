"""A checkpoint loads whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmcourse import checkpoint
from mmcourse.checkpoint import CheckpointError
from mmcourse.judge import Judge
from mmcourse.text2image import Discriminator, Generator


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Generator, Path]:
    torch.manual_seed(3)
    G = Generator(width=8, mapping=16)
    return G, checkpoint.save(G, tmp_path / "small", card={"seed": 3, "figures": {"all": 0.5}})


def test_round_trip_is_exact(saved: tuple[Generator, Path]) -> None:
    G, path = saved
    twin = checkpoint.load(Generator, path)
    assert twin.hparams == G.hparams and not twin.training
    z, cond = torch.randn(3, 16), torch.randn(3, 64)
    assert torch.equal(twin(z, cond), G(z, cond))
    assert checkpoint.card(path)["figures"] == {"all": 0.5} and checkpoint.card(path)["hparams"] == G.hparams
    assert checkpoint.verify(path) == checkpoint.card(path)["digest"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["small.json", "small.safetensors"]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(Generator, tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="There: .*judge"):
        checkpoint.load(Judge, "judgement")


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_truncated(saved: tuple[Generator, Path], keep: int) -> None:
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="truncated or no checkpoint"):
        checkpoint.load(Generator, path)


def test_one_altered_bit(saved: tuple[Generator, Path]) -> None:
    _, path = saved
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    for read in (lambda: checkpoint.load(Generator, path), lambda: checkpoint.verify(path)):
        with pytest.raises(CheckpointError, match="altered"):
            read()


def test_another_architecture(saved: tuple[Generator, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = saved
    with pytest.raises(CheckpointError, match="holds a Generator, not a Discriminator"):
        checkpoint.load(Discriminator, path)

    class Wider(Generator):
        def __init__(self, **hparams: int):
            super().__init__(**{**hparams, "width": 16})

    Wider.__name__ = "Generator"
    with pytest.raises(CheckpointError, match=r"does not fit this Generator at '.*another architecture"):
        checkpoint.load(Wider, path)

    class Stranger(Generator):
        def __init__(self) -> None:
            super().__init__()

    Stranger.__name__ = "Generator"
    with pytest.raises(CheckpointError, match="another version"):
        checkpoint.load(Stranger, path)


def test_a_card_of_other_weights(saved: tuple[Generator, Path]) -> None:
    _, path = saved
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "digest": "0" * 64}))
    with pytest.raises(CheckpointError, match="describes other weights"):
        checkpoint.verify(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="card is missing"):
        checkpoint.card(path)


def test_foreign_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not one that mmcourse wrote"):
        checkpoint.load(Generator, tmp_path / "x")


def test_a_sick_network_is_not_written(tmp_path: Path) -> None:
    G = Generator(width=8, mapping=16)
    with torch.no_grad():
        G.map.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        checkpoint.save(G, tmp_path / "sick", card={})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match="keeps no hparams"):
        checkpoint.save(torch.nn.Linear(1, 1), tmp_path / "bare", card={})


def test_a_failed_write_leaves_the_old_files(saved: tuple[Generator, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    G, path = saved
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(TypeError):
        checkpoint.save(G, path, card={"bad": object()})
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["judge", "space", "text2image"])
def test_shipped_checkpoints_are_intact_small_and_carded(name: str) -> None:
    checkpoint.verify(name)
    assert checkpoint.find(name).stat().st_size <= 8_000_000
    card = checkpoint.card(name)
    for key in (
        "what",
        "data",
        "command",
        "seed",
        "profile",
        "machine",
        "figures",
        "seconds",
        "hparams",
        "digest",
        "licence",
    ):
        assert card[key] not in (None, "", {}), key
