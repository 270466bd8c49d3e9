"""The answers of exercises 02 against an outside truth, and facts that hold whatever the numbers are."""

from __future__ import annotations

import functools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.spatial import cKDTree

from mmcourse import clinic, ring, runtime
from mmcourse.course import exercise as e
from mmcourse.ring import Duel, Log, change, record


@functools.cache
def answer(item: str) -> Any:
    whole = e.load_assignment("02_clinic", ROOT)
    return e.reference(whole, whole.item(item))


# ---- the two numbers


@pytest.fixture(scope="module")
def cloud() -> torch.Tensor:
    """Points around the ring, some in a mode, some between, some far away."""
    g = torch.Generator().manual_seed(3)
    near = ring.ring(300, g) * (1 + 0.2 * torch.randn(300, 1, generator=g))
    return torch.cat([near, 6 * torch.rand(200, 2, generator=g) - 3])


def test_both_numbers_are_the_librarys_on_the_ring(cloud: torch.Tensor) -> None:
    centres, radii = ring.centres(), torch.full((8,), ring.NEAR * ring.SPREAD)
    for points in (cloud, ring.ring(400, torch.Generator().manual_seed(0)), cloud[:300:7], cloud[300:]):
        for least in (0.01, 0.05, 0.2):
            got = answer("modes_covered")(points, centres, radii, least)
            assert got == ring.modes_covered(points, least=least)
        assert answer("good_share")(points, centres, radii) == pytest.approx(ring.good_share(points), abs=1e-6)


def test_both_numbers_against_scipys_nearest_neighbours(cloud: torch.Tensor) -> None:
    rng = np.random.default_rng(1)
    centres, radii = rng.uniform(-3, 3, (11, 2)), rng.uniform(0.2, 1.5, 11)
    far, which = cKDTree(centres).query(cloud.double().numpy())
    inside = far <= radii[which]
    points, c, r = cloud.double(), torch.tensor(centres), torch.tensor(radii)
    assert answer("good_share")(points, c, r) == pytest.approx(inside.mean())
    held = np.bincount(which[inside], minlength=11) / len(cloud)
    for least in (0.002, 0.03, 0.08):
        assert answer("modes_covered")(points, c, r, least) == int((held >= least).sum())
    assert 0 < inside.mean() < 1 and 0 < (held >= 0.03).sum() < 11


def test_moving_and_turning_everything_changes_neither(cloud: torch.Tensor) -> None:
    centres, radii = ring.centres(), torch.linspace(0.2, 0.6, 8)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    shift = torch.tensor([5.0, -2.0])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    for item, more in (("modes_covered", (0.02,)), ("good_share", ())):
        plain = answer(item)(cloud, centres, radii, *more)
        assert answer(item)(cloud @ turn.T + shift, centres @ turn.T + shift, radii, *more) == pytest.approx(plain)
        assert answer(item)(cloud, centres[order], radii[order], *more) == pytest.approx(plain)
        assert answer(item)(torch.cat([cloud, cloud]), centres, radii, *more) == pytest.approx(plain)


def test_modes_fall_and_the_good_share_does_not_when_all_points_go_to_one_place() -> None:
    centres, radii = ring.centres(), torch.full((8,), 0.3)
    one = centres[:1].expand(500, 2)
    assert answer("good_share")(one, centres, radii) == 1 and answer("modes_covered")(one, centres, radii, 0.01) == 1
    with pytest.raises(ValueError):
        answer("good_share")(one[:0], centres, radii)


# ---- diagnoses


def as_the_library(name: str) -> str:
    return "wandering" if name == "slow" else name


def test_the_exercises_rules_refine_the_librarys_on_random_logs() -> None:
    rng, seen = random.Random(0), set()
    for _ in range(400):
        modes, accuracy, size = (
            rng.choice([0, 2, 3, 6, 7, 8]),
            rng.choice([0.4, 0.55, 0.8, 0.9, 0.98, 1.0]),
            rng.choice([0.1, 5.0]),
        )
        rows = []
        for i in range(rng.randint(8, 21)):
            real, fake = (size * rng.choice([-1, 1]) for _ in "rf")
            now = min(1.0, accuracy + 0.1 * rng.random() * (accuracy < 0.8))
            row = {"step": i, "d": rng.gauss(0, 9), "g": rng.gauss(0, 9), "penalty": 0.0, "real_logit": real}
            rows.append(row | {"fake_logit": fake, "accuracy": now, "modes": modes, "good": rng.random()})
        log = Log({}, rows)
        got = answer("diagnose")(log)
        assert as_the_library(got) == clinic.diagnose(log)
        seen.add(got)
        rows[rng.randrange(len(rows))][rng.choice("dg")] = rng.choice([math.nan, math.inf, -math.inf])
        assert answer("diagnose")(log) == "diverged"
    assert len(seen) >= 6


def test_the_ward_is_diagnosed_and_patient_f_is_slow() -> None:
    ward = runtime.results("clinic_logs")["ward"]
    said = {name: answer("diagnose")(Log(found["settings"], found["rows"])) for name, found in ward.items()}
    assert said == dict(zip("ABCDEF", ["healthy", "stuck", "wandering", "runaway", "won", "slow"], strict=True))


# ---- cures


def test_the_cure_of_each_patient_is_the_lessons() -> None:
    for name, settings in clinic.PATIENTS.items():
        config = {
            "game": settings.game,
            "penalty": settings.penalty,
            "lr_g": settings.lr_g,
            "lr_d": settings.lr_d,
            "d_steps": 1,
        }
        before = dict(config)
        cured = answer("cure")(config)
        assert config == before
        changed = {k: v for k, v in cured.items() if v != config[k]}
        assert changed == pytest.approx(clinic.CURES[name]) if name != "runaway" else changed == clinic.CURES[name]
        assert answer("cure")(cured) == cured, "a cured run needs no cure"


def test_after_a_cure_the_paces_are_equal_and_nothing_got_slower() -> None:
    rng = random.Random(2)
    for _ in range(200):
        config = {
            "game": rng.choice(["minimax", "hinge"]), "penalty": "none", "lr_g": 10 ** rng.uniform(-5, -2),
            "lr_d": 10 ** rng.uniform(-5, -2), "d_steps": rng.randint(1, 8), "more": "kept",
        }  # fmt: skip
        cured = answer("cure")(config)
        assert cured is not config and cured.keys() == config.keys()
        ratio = cured["lr_d"] * cured["d_steps"] / cured["lr_g"]
        assert 1 / 3 - 1e-9 <= ratio <= 3 + 1e-9
        assert cured["lr_g"] >= config["lr_g"] * 0.999999 and cured["lr_d"] >= config["lr_d"] * 0.999999
        assert sum(cured[k] != config[k] for k in config) <= 1


def test_what_the_lesson_claims_of_its_first_two_runs() -> None:
    """The sick run's loss is nearer to 2 ln 2 than the healthy one's. Shortened; the lesson plays it in full."""
    logs = {
        name: record(change(settings, {"steps": 400, "seed": 1}), every=20)[0]
        for name, settings in {"sick": clinic.PATIENTS["wandering"], "healthy": clinic.HEALTHY}.items()
    }
    off = {name: abs(clinic.usual(log, "d") - 2 * math.log(2)) for name, log in logs.items()}
    assert off["sick"] < 0.06 < 0.1 < off["healthy"]
    assert clinic.usual(logs["sick"], "modes") <= 2 and clinic.usual(logs["healthy"], "modes") >= 5


def test_a_log_read_back_has_the_same_diagnosis(tmp_path: Any) -> None:
    log, _ = record(Duel(steps=40, batch=32, width=16), every=5)
    again = Log.load(log.save(tmp_path / "run.json"))
    assert again.rows == log.rows and answer("diagnose")(again) == answer("diagnose")(log)
