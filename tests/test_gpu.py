"""What needs a CUDA card; skipped, with the reason, on a machine without one."""

from __future__ import annotations

import pytest
import torch

from mmcourse import metrics, world
from mmcourse.checkpoint import load
from mmcourse.data import caption_set
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.text2image import Painter, Recipe, prepare
from mmcourse.train import TrainConfig, play

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]


def test_the_world_draws_the_same_on_the_card() -> None:
    scenes = world.sample_scenes(64, torch.Generator().manual_seed(0))
    torch.testing.assert_close(world.draw(scenes.to("cuda")).cpu(), world.draw(scenes), atol=1e-4, rtol=0)
    on_card = world.sample_scenes(64, torch.Generator("cuda").manual_seed(0))
    assert world.draw(on_card).device.type == "cuda"


def test_a_short_training_on_the_card_learns() -> None:
    space, judge = load(Space, "space"), load(Judge, "judge")
    config = TrainConfig(steps=200, batch=32, gamma=0.05, ema=0.9)
    G, D, sample, extra, config = prepare(space, Recipe(captions=1000, config=config), device="cuda")
    *_, last = play(G, D, sample, config, extra=extra)
    asked = caption_set(200, objects=(1,), seed=5)
    pictures = Painter(space, last.state.ema).draw(asked.captions, torch.Generator().manual_seed(1))
    assert pictures.device.type == "cpu"
    assert metrics.caption_accuracy(judge, pictures, asked.statements)["colour"] > 0.5
