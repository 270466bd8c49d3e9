"""``mmcourse train`` for the ears: what is written, what its card says, and that the networks are the run's."""

from __future__ import annotations

import copy
import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import cgan, checkpoint, hearing, inpainting, metrics, pictures, speech, text2image
from mmcourse.audio import LENGTH, RATE
from mmcourse.course import cli, training
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.features import FeatureNet
from mmcourse.hearing import AudioTower, DigitSpace
from mmcourse.train import FitConfig

TINY = hearing.Recipe(sounds=30, width=4, features=8, tune=FitConfig(steps=4, batch=6, warm_up=2))
SMALL = hearing.SpeechRecipe(
    width=4,
    audio_width=4,
    features=16,
    written=FitConfig(steps=3, batch=8, warm_up=2),
    spoken=FitConfig(steps=5, batch=6, warm_up=2),
)
TABLES: dict[str, tuple[Any, Any]] = {"hearing": (hearing.PROFILES, TINY), "hearing_digits": (hearing.SPEECH, SMALL)}


def clips(n: int, seed: int = 0) -> speech.Clips:
    """Digits that are spoken as tones, each digit its own pitch."""
    g = torch.Generator().manual_seed(seed)
    digits = torch.randint(10, (n,), generator=g)
    late = torch.rand(n, 1, 1, generator=g)
    time = torch.arange(LENGTH) / RATE - 0.3 * late
    tone = 0.4 * torch.sin(2 * torch.pi * (300 * 1.2 ** digits.view(n, 1, 1)) * time) * ((time > 0) & (time < 0.5))
    return speech.Clips(tone + 0.001 * torch.randn(n, 1, LENGTH, generator=g), digits, 0 * digits, torch.arange(n))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Tiny recipes, small data that is always there, and measures of little; the measures' calls are kept."""
    calls: dict[str, Any] = {"measure_hearing": [], "measure_heard_holes": [], "measure_spoken": [], "asked": []}
    for table, recipe in TABLES.values():
        monkeypatch.setitem(table, "quick", recipe)

    def watched(home: Any, name: str, **few: Any) -> None:
        usual = getattr(home, name)

        @functools.wraps(usual)
        def measure(*args: Any, **more: Any) -> Any:
            calls[name].append((copy.deepcopy(args[0]), args[1:], more, args[0].training))
            return usual(*args, **{**more, **few})

        monkeypatch.setattr(home, name, measure)

    watched(metrics, "measure_hearing", n=20)
    watched(metrics, "measure_heard_holes", n=20)
    watched(training, "measure_spoken")

    def labelled(name: str, split: str = "train", **more: Any) -> pictures.Labelled:
        calls["asked"].append((name, split, more))
        return pictures.digits(split)

    def spoken(split: str) -> speech.Clips:
        calls["asked"].append(("speech", split, {}))
        return clips(30 if split == "train" else 12, seed=len(split))

    monkeypatch.setattr(pictures, "labelled", labelled)
    monkeypatch.setattr(speech, "spoken_digits", spoken)
    return calls


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def quiet(line: str) -> None:
    pass


# ---- both, as a command


def test_an_ear_is_trained_measured_and_written(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "hearing", "--profile", "quick", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hearing.json", "hearing.safetensors"]
    tower, card = checkpoint.load(AudioTower, tmp_path / "hearing"), checkpoint.card(tmp_path / "hearing")
    assert card["name"] == "hearing" and card["profile"] == "quick" and card["seed"] == 3
    assert card["command"].startswith("mmcourse train hearing") and card["steps"] == 4 and card["sounds"] == 30
    for part, name in (("space", "space"), ("generator", "text2image"), ("inpainter", "inpainting_text")):
        assert card[part] == checkpoint.verify(name), "the card names the networks that it belongs to"
    assert card["recipe"] == json.loads(json.dumps(TINY.describe()))
    assert "held-out" in card["data"] and "audio tower" in card["what"]
    assert 0 < card["seconds"] <= card["seconds_in_all"] + 0.1
    assert set(card["figures"]) == {"seen", "held_out", "holes"}
    for split in ("seen", "held_out"):
        row = card["figures"][split]
        assert {"text", "sound", "corrected", "silence", "noise", "chance", "parts"} == set(row)
        assert row["sound"]["n"] == 20 and set(card["figures"]["holes"][split]) >= {"text", "sound", "silence", "known"}
        assert card["figures"]["holes"][split]["known"] == 1
    # what is measured is what is written, as it is used, on other scenes than it is begun with, and on many
    (heard,), (holes,) = quick["measure_hearing"], quick["measure_heard_holes"]
    for measured, _, more, training_mode in (heard, holes):
        assert same(tower, measured) and not training_mode and more == {"n": 2000, "seed": 4}
    assert same(heard[1][0], checkpoint.load(text2image.Generator, "text2image")), "the generator is unchanged"
    # and it is the run of prepare and fit on the shipped space
    G, space = checkpoint.load(text2image.Generator, "text2image"), checkpoint.load(Space, "space")
    filler = checkpoint.load(inpainting.Inpainter, "inpainting_text")
    encode = text2image.encoder(space, vocabulary())
    mine, _, loss, config = hearing.prepare(encode, [G.whiten, filler.whiten], TINY, seed=3)
    first = copy.deepcopy(mine)
    assert len(list(hearing.fit(mine, loss, config))) == 4
    assert same(mine, tower) and not same(first, tower)
    said = capsys.readouterr().out
    for text in ("hearing: step 4 of 4, loss", "hearing, seen: text", "hearing, held_out: text", "silence", "wrote"):
        assert text in said, text


def test_a_digit_space_is_trained_measured_and_written(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "hearing_digits"
    assert cli.main(["train", name, "--profile", "quick", "--seed", "2", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    space, card = checkpoint.load(DigitSpace, tmp_path / name), checkpoint.card(tmp_path / name)
    assert card["name"] == name and card["seed"] == 2 and card["steps"] == {"written": 3, "spoken": 5}
    assert card["recipe"] == json.loads(json.dumps(SMALL.describe()))
    assert "MNIST" in card["data"] and "5 to 49" in card["data"] and "CC BY-SA 4.0" in card["data"]
    assert 0 < card["seconds"] <= card["seconds_in_all"] + 0.1
    assert set(card["figures"]) == {"drawn", "heard", "generator", "silence", "noise", "n"}
    assert card["figures"]["n"] == 12
    # trained on training parts, measured on the test part, and nothing falls back to other pictures
    assert ("mnist", "train", {"fall_back": False}) in quick["asked"]
    assert [split for what, split, _ in quick["asked"] if what == "speech"] == ["train", "test"]
    ((measured, rest, more, training_mode),) = quick["measure_spoken"]
    assert same(space, measured) and more == {"seed": 3} and not training_mode
    assert torch.equal(rest[0].digits, clips(12, seed=4).digits)
    # and it is both runs, one after the other
    mine, _ = training.learn_written(SMALL, pictures.digits(), 2, quiet)
    assert not any(torch.equal(p, q) for p, q in zip(mine.audio.parameters(), space.audio.parameters(), strict=True))
    training.learn_spoken(SMALL, mine, clips(30, seed=5), pictures.digits(), 2, quiet)
    assert same(mine, space)
    said = capsys.readouterr().out
    for text in ("handwriting: step 3 of 3, loss", "speech: step 5 of 5, loss", f"{name}: drawn ", "heard", "wrote"):
        assert text in said, text


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_same_seed_trains_the_same_ear(name: str, tmp_path: Path) -> None:
    found: list[str] = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(found))
        path = training.train(name, profile="quick", seed=seed, out=tmp_path / folder, say=quiet)
        found.append(checkpoint.verify(path))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_cpu_profile_trains_what_is_shipped(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, recipe = TABLES[name]
    monkeypatch.setitem(table, "shipped", recipe)
    monkeypatch.setitem(table, "cpu", None)
    card = checkpoint.card(training.train(name, profile="cpu", seed=0, out=tmp_path, say=quiet))
    assert card["profile"] == "cpu" and card["recipe"] == json.loads(json.dumps(recipe.describe()))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_run_that_diverges_writes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = FitConfig(steps=3, batch=6, warm_up=1, lr=1e30)
    table, recipe = TABLES[name]
    monkeypatch.setitem(table, "quick", replace(recipe, **{"tune" if name == "hearing" else "spoken": sick}))
    assert cli.main(["train", name, "--profile", "quick", "--out", str(tmp_path)]) == 2
    assert "finite" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [pictures.DataMissing("no MNIST here"), speech.SpeechMissing("no speech here")])
def test_where_data_is_missing_nothing_is_written(
    missing: RuntimeError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, name = (speech, "spoken_digits") if isinstance(missing, speech.SpeechMissing) else (pictures, "labelled")

    def fails(*args: Any, **more: Any) -> Any:
        raise missing

    monkeypatch.setattr(home, name, fails)
    with pytest.raises(type(missing), match="here"):
        training.train("hearing_digits", profile="quick", seed=0, out=tmp_path, say=quiet)
    assert list(tmp_path.iterdir()) == []


# ---- the halves of a digit space


def test_handwriting_is_learnt_first_and_the_ear_is_not_touched() -> None:
    recipe = replace(SMALL, width=8, written=FitConfig(steps=60, batch=32, warm_up=5, lr=4e-3))
    written, lines = pictures.digits(), list[str]()
    mine = torch.get_rng_state()
    space, seconds = training.learn_written(recipe, written, 0, lines.append)
    assert torch.equal(torch.get_rng_state(), mine), "torch's own numbers are left alone"
    assert seconds > 0 and not space.training and lines[-1].startswith("handwriting: step 60 of 60, loss")
    test = pictures.digits("test")
    right = space.read(space.picture(test.pictures())).argmax(1) == test.labels
    assert right.float().mean() > 0.6, "read right on digits that were never seen"
    assert space.hparams == dict(width=8, audio_width=4, features=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = DigitSpace(**space.hparams)
    assert same(fresh.audio, space.audio)
    assert not same(fresh.trunk, space.trunk) and not same(fresh.reader, space.reader)


def test_speech_is_learnt_from_pairs_alone_and_handwriting_stays_as_it_is() -> None:
    """The ear never hears a digit's name, and yet the written reader reads what it hears."""
    written = pictures.digits()
    recipe = replace(
        SMALL,
        width=8,
        audio_width=8,
        features=48,
        written=FitConfig(steps=60, batch=32, warm_up=5, lr=4e-3),
        spoken=FitConfig(steps=80, batch=32, warm_up=5, lr=4e-3),
    )
    space, _ = training.learn_written(recipe, written, 0, quiet)
    before, lines, mine = copy.deepcopy(space), list[str](), torch.get_rng_state()
    seconds = training.learn_spoken(recipe, space, clips(200), written, 0, lines.append)
    assert torch.equal(torch.get_rng_state(), mine), "torch's own numbers are left alone"
    assert seconds > 0 and lines[-1].startswith("speech: step 80 of 80, loss") and not space.audio.training
    assert same(before.trunk, space.trunk) and same(before.reader, space.reader)
    assert not same(before.audio, space.audio)
    test = clips(100, seed=9)
    was, now = ((each.speak(test.waves).argmax(1) == test.digits).float().mean() for each in (before, space))
    assert now > 0.4 > 0.25 > was


def test_the_seed_sets_the_first_weights_and_the_order_of_both_halves() -> None:
    """Both by hand: a fresh space and a fresh ear of the seed, and ``fit`` with the seed's batches."""
    written, spoken = pictures.digits(), clips(30)
    space, _ = training.learn_written(SMALL, written, 5, quiet)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        mine = DigitSpace(width=4, audio_width=4, features=16)
        torch.manual_seed(5)
        ear = AudioTower(channels=1, width=4, features=16)
    loss = hearing.written_loss(lambda rng: written.draw(8, rng))
    assert len(list(hearing.fit(mine, loss, replace(SMALL.written, seed=5)))) == 3
    assert same(mine, space)
    training.learn_spoken(SMALL, space, spoken, written, 5, quiet)
    pairs = hearing.Pairs(hearing.spectra(spoken.waves), spoken.digits, written.pictures(), written.labels)
    heard = hearing.spoken_loss(mine, pairs, 6)
    assert len(list(hearing.fit(ear, heard, replace(SMALL.spoken, seed=5)))) == 5
    assert same(ear, space.audio)


def test_only_the_first_five_thousand_pictures_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[hearing.Pairs] = []

    def loss(space: Any, pairs: hearing.Pairs, batch: int) -> Any:
        seen.append(pairs)
        return lambda tower, rng: tower(pairs.spectra[:2]).square()[:, 0].sum()

    monkeypatch.setattr(hearing, "spoken_loss", loss)
    pixels = torch.randint(256, (5003, 1, 32, 32), dtype=torch.uint8)
    written = pictures.Labelled(pixels, torch.arange(5003) % 10, pictures.DIGITS, "")
    spoken, space = clips(4), DigitSpace(width=4, audio_width=4, features=8)
    training.learn_spoken(SMALL, space, spoken, written, 0, quiet)
    (pairs,) = seen
    assert torch.equal(pairs.spectra, hearing.spectra(spoken.waves)) and torch.equal(pairs.digits, spoken.digits)
    assert torch.equal(pairs.pictures, pixels[:5000] / 127.5 - 1) and torch.equal(pairs.labels, written.labels[:5000])
    assert space.audio.hparams["channels"] == 1


# ---- measures of speech


class Ears:
    """A digit space whose answers are laid down: of silence, of noise, and of clips the digits given."""

    def __init__(self, answers: Tensor, *, silence: int = 7, noise: int = 3):
        self.answers, self.silence, self.noise = answers, silence, noise
        self.asked: list[Tensor] = []
        self.training = False

    def speak(self, waves: Tensor) -> Tensor:
        self.asked.append(waves)
        if not waves.any():
            return F.one_hot(torch.tensor([self.silence]), 10).float()
        if len(self.asked) == 1:
            return F.one_hot(self.answers, 10).float()
        return F.one_hot(torch.full((len(waves),), self.noise), 10).float()


class Plain(nn.Module):
    """A generator whose picture is its digit, and a feature network that reads that."""

    def __init__(self) -> None:
        super().__init__()
        self.hparams = {"z": 5}
        self.zs: list[Tensor] = []

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        self.zs.append(z)
        return cond.argmax(1).float().view(-1, 1, 1, 1).expand(-1, 1, 32, 32)

    def read(self, x: Tensor) -> Tensor:
        return x[:, 0, 0, 0].long()


def test_spoken_figures_by_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, loaded = Plain(), list[Any]()
    monkeypatch.setattr(checkpoint, "load", lambda kind, name: loaded.append((kind, name)) or plain)  # type: ignore[func-returns-value]
    spoken = clips(80)
    answers = torch.where(torch.arange(80) < 20, (spoken.digits + 1) % 10, spoken.digits)
    ears = Ears(answers)
    found = training.measure_spoken(ears, spoken, seed=1)
    assert loaded == [(cgan.Generator, "cgan"), (FeatureNet, "features")]
    assert found["drawn"] == found["heard"] == 0.75 and found["generator"] == 1 and found["n"] == 80
    assert found["silence"] == pytest.approx((spoken.digits == 7).float().mean().item())
    assert found["noise"] == pytest.approx((spoken.digits == 3).float().mean().item())
    clip, quiet_, noise = ears.asked
    assert torch.equal(clip, spoken.waves) and quiet_.shape == (1, 1, LENGTH)
    assert noise.shape == (80, 1, LENGTH) and noise.abs().max() <= 1
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert len(plain.zs) == 4 and all(torch.equal(z, plain.zs[0]) for z in plain.zs), "the same noise z throughout"
    assert plain.zs[0].shape == (80, 5)
    for seed, alike in ((1, True), (2, False)):
        training.measure_spoken(Ears(answers), spoken, seed=seed)
        assert torch.equal(plain.zs[-1], plain.zs[0]) == alike


def test_the_shipped_generator_draws_what_an_ear_that_knows_asks_for() -> None:
    spoken = clips(120, seed=2)
    space: Any = SimpleNamespace(speak=Ears(spoken.digits).speak, training=False)
    found = training.measure_spoken(space, spoken)
    assert found["heard"] == 1 and found["drawn"] == found["generator"] > 0.9
    assert found["silence"] == pytest.approx((spoken.digits == 7).float().mean().item(), abs=0.05)


def test_measured_again_the_weights_stay_and_the_figures_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the ear and the guided inpainter; the card keeps all else, and names the networks that were asked."""
    for name, measure in (("hearing", "measure_ear"), ("inpainting_text", "measure_inpainting_text")):
        monkeypatch.setattr(
            training, measure, lambda space, model, *rest: {"seed": rest[-2], "kind": type(model).__name__}
        )
        old = checkpoint.card(name)
        shutil.copy(checkpoint.find(name), tmp_path)
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({**old, "figures": {}, "inpainter": "an older one"}))
        assert cli.main(["measure", str(tmp_path), name]) == 0
        new = json.loads(file.read_text())
        assert new["figures"] == {"seed": old["seed"], "kind": old["class"]}
        assert {k: new[k] for k in old if k != "figures"} == {k: old[k] for k in old if k != "figures"}
        assert new["digest"] == checkpoint.verify(tmp_path / f"{name}.safetensors") == checkpoint.verify(name)
        assert name != "hearing" or new["inpainter"] == checkpoint.verify("inpainting_text")
    assert cli.main(["measure", str(tmp_path), "judge"]) != 0
    assert "expected one of text2image" in capsys.readouterr().err
