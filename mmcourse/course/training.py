"""The trainings behind `mmcourse train`: one function a shipped model, with its card (lessons 04 to 14).

Each draws its data, trains with the loop of its chapter, measures with the judge and writes a checkpoint with a card
of what was done. Torch is imported when a training starts, not when the command line does.
"""

from __future__ import annotations

import dataclasses
import random
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse.checks import expect_one_of

if TYPE_CHECKING:
    from mmcourse.course.runs import Runs

NAMES = (
    "judge",
    "features",
    "gan",
    "cgan",
    "outline2picture",
    "space",
    "text2image",
    "inpainting",
    "inpainting_photographs",
    "inpainting_text",
    "hearing",
    "hearing_digits",
    "emoji_finder",
    "emoji_space",
    "emoji",
    "emoji_inpainting",
)
NEEDS = {  # models that a training starts from, beside its data
    "text2image": ("space",),
    "inpainting_text": ("space",),
    "hearing": ("space", "text2image", "inpainting_text"),
    "emoji": ("emoji_space",),
    "emoji_inpainting": ("emoji_space",),
}
IN_CARD = {"space": "space", "emoji_space": "space", "text2image": "generator", "inpainting_text": "inpainter"}
SHARED = ("gan", "cgan", "outline2picture", "text2image", "inpainting", "inpainting_photographs", "inpainting_text")
STEPS = {
    "judge": {"quick": 60, "cpu": 6000, "gpu": 6000},
    "features": {"quick": 60, "cpu": 8000, "gpu": 8000},
}
Report = Callable[[str], None]


def train(
    name: str,
    *,
    profile: str,
    seed: int,
    out: Path,
    resume: bool = False,
    log: Path | None = None,
    command: str = "",
    say: Report = print,
) -> Path:
    """Train one model and write ``out/NAME.safetensors`` with its card. Returns the path.

    A model that it starts from is taken from ``out`` where one lies there, else the shipped one. What is begun is kept
    in ``out`` every minute; ``resume`` goes on with it. ``log`` is a folder for TensorBoard. Under torchrun the models
    of ``SHARED`` are trained by all processes together. Raises ``ValueError`` on an unknown name, or where an
    unfinished run lies there and nobody asked to go on with it, and whatever its training raises.
    """
    from mmcourse import __version__, checkpoint, ranks, runtime
    from mmcourse.course import training_pairs
    from mmcourse.course.runs import Runs, expect_log
    from mmcourse.train import Diverged

    expect_one_of(name, NAMES, name="train")
    profile = as_shipped(name, profile)
    run = {
        "judge": train_judge,
        "features": train_features,
        "gan": train_gan,
        "cgan": train_cgan,
        "outline2picture": train_outline2picture,
        "space": train_space,
        "text2image": train_text2image,
        "inpainting": train_inpainting,
        "inpainting_photographs": train_inpainting_photographs,
        "inpainting_text": train_inpainting_text,
        "hearing": train_hearing,
        "hearing_digits": train_hearing_digits,
        "emoji_finder": training_pairs.train_finder,
        "emoji_space": training_pairs.train_space,
        "emoji": training_pairs.train_emoji,
        "emoji_inpainting": training_pairs.train_emoji_inpainting,
    }[name]
    if log is not None:
        expect_log()
    began, made_by = time.perf_counter(), identity(name, profile, seed, out)
    device = ranks.start(runtime.pick_device() if profile == "gpu" else "cpu")
    try:
        if ranks.world() > 1 and name not in SHARED:
            raise ValueError(
                f"train: {name} is trained by one process; start it without torchrun. Several processes can train "
                f"{', '.join(SHARED)}."
            )
        runs = Runs(name, out=out, about=made_by, resume=resume, log=log, device=device, say=say)
        for other in NEEDS.get(name, ()):
            at = checkpoint.nearest(other, out)
            runs.say(f"{name}: starts from {at if at.parent == out else f'the {other} of {at.parent}'}")
        try:
            module, card = run(profile, seed, runs)
        except Diverged:
            runs.forget()  # it would come to the same end again
            raise
    finally:
        ranks.stop()
    path = out / f"{name}.safetensors"
    if not runs.first:
        return path
    words = ["mmcourse", "train", name, "--profile", profile, "--seed", str(seed), "--out", out.as_posix()]
    card = {
        **made_by,
        **card,
        "command": command or shlex.join(words),
        "seconds_in_all": round(time.perf_counter() - began, 1),
        "machine": runtime.machine(),
        "mmcourse": __version__,
        "licence": "MIT",
    }
    checkpoint.save(module, path, card=card)
    runs.forget()
    say(f"wrote {path} and its card {path.with_suffix('.json').name}")
    return path


def as_shipped(name: str, profile: str) -> str:
    """A profile as it is; for "shipped" the one in which the model that comes with the course was trained."""
    if profile != "shipped" or name in ("space", "text2image"):  # whose shipped recipe is none of the others
        return profile
    return "gpu" if name.startswith("emoji") else "cpu"


def recipe_of(name: str, profile: str) -> Any:
    """Sizes and steps of a training: a recipe or config of its chapter, or plain numbers of steps (and width)."""
    from mmcourse import captioned, cgan, encoders, gan, hearing, image2image, inpainting, text2image
    from mmcourse.course import training_pairs

    longer = "shipped" if profile == "cpu" else profile  # what is shipped takes more time than a lesson
    tables: dict[str, tuple[dict[str, Any], str]] = {
        "judge": (STEPS["judge"], profile),
        "features": (STEPS["features"], profile),
        "gan": (gan.PROFILES, profile),
        "cgan": (cgan.PROFILES, profile),
        "outline2picture": (image2image.PROFILES, longer),
        "space": (encoders.PROFILES, profile),
        "text2image": (text2image.PROFILES, profile),
        "inpainting": (inpainting.PROFILES, longer),
        "inpainting_photographs": (inpainting.PHOTOGRAPHS, longer),
        "inpainting_text": (inpainting.GUIDED, longer),
        "hearing": (hearing.PROFILES, longer),
        "hearing_digits": (hearing.SPEECH, longer),
        "emoji_finder": (training_pairs.FINDER_STEPS, profile),
        "emoji_space": (captioned.PROFILES, profile),
        "emoji": (captioned.PROFILES, profile),
        "emoji_inpainting": (training_pairs.HOLES, profile),
    }
    table, key = tables[name]
    expect_one_of(key, list(table), name="profile")
    return table[key].space if name == "emoji_space" else table[key]


def identity(name: str, profile: str, seed: int, out: Path) -> dict[str, Any]:
    """What makes two trainings the same, as JSON: model, profile, seed, recipe and the digests of the models that it
    starts from. It stands in the card and in the state of an unfinished run."""
    from mmcourse import checkpoint
    from mmcourse.train import describe

    profile = as_shipped(name, profile)
    recipe = recipe_of(name, profile)
    plain = describe(recipe) if dataclasses.is_dataclass(recipe) else recipe
    plain = {"steps": plain} if isinstance(plain, int) else plain
    plain = dict(zip(("steps", "width"), plain, strict=True)) if isinstance(plain, tuple) else plain
    others = {IN_CARD[other]: checkpoint.verify(checkpoint.nearest(other, out)) for other in NEEDS.get(name, ())}
    return {"name": name, "profile": profile, "seed": seed, "recipe": plain, **others}


def train_judge(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The judge that measures captions. It trains on fresh drawings without held-out pairs."""
    from mmcourse.judge import judge_report, judge_steps
    from mmcourse.keep import Kept

    steps, kept = recipe_of("judge", profile), Kept()
    runs.play_out(judge_steps(steps=steps, seed=seed, device=runs.device, kept=kept), kept, steps)
    judge = kept.parts["averaged"].module.eval().cpu()
    figures = judge_report(judge, n=10000, seed=seed + 1)
    runs.say(f"judge: all attributes right on {figures}")
    what = "reads layout, shapes, colours and sizes from a 32x32 picture of the world; no loss ever sees it"
    data = "fresh drawings of the world, slightly blurred and noisy, without held-out pairs"
    return judge, {"what": what, "data": data, "steps": steps, "seconds": round(kept.seconds, 1), "figures": figures}


def train_features(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The network whose features measure grey pictures. It reads MNIST and scikit-learn's digits.

    Raises ``DataMissing`` where MNIST cannot be had.
    """
    from mmcourse.features import feature_steps, label_accuracy
    from mmcourse.keep import Kept
    from mmcourse.pictures import labelled

    steps, kept = recipe_of("features", profile), Kept()
    sets = [labelled(name, fall_back=False) for name in ("mnist", "digits")]
    runs.play_out(feature_steps(sets, steps=steps, seed=seed, device=runs.device, kept=kept), kept, steps)
    net, figures = kept.parts["averaged"].module.eval().cpu(), {}
    for name in ("mnist", "digits"):
        held_out = labelled(name, "test")
        figures[name] = {"accuracy": label_accuracy(net, held_out.pictures(), held_out.labels), "n": len(held_out)}
    runs.say(f"features: read right on test pictures: {figures}")
    what = "reads a handwritten digit from a grey 32x32 picture; its 64 features measure pictures; no loss ever sees it"
    data = "MNIST (CC BY-SA 3.0) and scikit-learn's digits (CC BY 4.0), training parts, shifted and with noise"
    return net, {"what": what, "data": data, "steps": steps, "seconds": round(kept.seconds, 1), "figures": figures}


def train_space(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The space that text and pictures share."""
    import torch

    from mmcourse.data import caption_batch, vocabulary
    from mmcourse.encoders import Space, align, space_report
    from mmcourse.keep import Kept

    config, words = recipe_of("space", profile), vocabulary()
    torch.manual_seed(seed)  # initial weights only
    space = Space(words=len(words), **config.size).to(runs.device)
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    kept = Kept(g=g, rng=rng)
    batches = lambda: caption_batch(config.batch, g, rng, words, leave_out=config.leave_out)  # noqa: E731
    runs.play_out(align(space, batches, config, kept=kept), kept, config.steps)
    space.eval().cpu()
    figures = space_report(space, words)
    runs.say(f"space: {figures}")
    what = "a text tower and an image tower into 64 numbers; English and Chinese"
    data = "fresh drawings and captions of the world, without held-out pairs"
    card = {"what": what, "data": data, "steps": config.steps}
    return space, {**card, "seconds": round(kept.seconds, 1), "figures": figures}


def train_text2image(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The generator that draws what a sentence says, on a trained space."""
    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.text2image import prepare

    recipe = recipe_of("text2image", profile)
    space = checkpoint.load(Space, checkpoint.nearest("space", runs.out))
    G, D, sample, extra, config = prepare(space, recipe, seed=seed, device=runs.device)
    state = play_out_game(G, D, sample, config, runs, extra=extra)
    if runs.over():
        return state.ema, {}
    figures = measure_text2image(space, state.ema, recipe.objects, seed, runs.say)
    card = {
        "what": f"a generator of {recipe.resolution}x{recipe.resolution} pictures from a caption's 64 numbers",
        "data": "the world's drawings and captions, without held-out pairs",
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "figures": figures,
    }
    return state.ema, card


def play_out_game(
    G: Any, D: Any, sample: Any, config: Any, runs: Runs, *, extra: Any = None, part: str = "", label: str = ""
) -> Any:
    """Play a game to its end and give its state; on a card by the fast twin of the loop."""
    from mmcourse.fast import play
    from mmcourse.train import State

    state = State.start(G, D, config)
    run = play(G, D, sample, config, state=state, extra=extra)
    runs.play_out(run, state, config.steps, part=part, label=label, sample=sample)
    return state


def train_gan(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The image GAN of lesson 04, on MNIST. Raises ``DataMissing`` where MNIST cannot be had."""
    import torch

    from mmcourse import gan
    from mmcourse.pictures import labelled

    recipe, data = recipe_of("gan", profile), labelled("mnist", fall_back=False)
    G, D, sample, config = gan.prepare(data, recipe, seed=seed, device=runs.device)
    state = play_out_game(G, D, sample, config, runs)
    if runs.over():
        return state.ema, {}
    drawn = gan.draw(state.ema, 10000, torch.Generator().manual_seed(seed + 1))
    figures = measure_grey(drawn, None, runs.say)
    what = "a generator of 32x32 pictures of handwritten digits from 64 numbers of noise"
    card = {"what": what, "data": "MNIST, training part (CC BY-SA 3.0)", "steps": state.step}
    return state.ema, {**card, "seconds": round(state.seconds, 1), "figures": figures}


def train_cgan(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The class-conditional GAN of lesson 06, on MNIST. Raises ``DataMissing`` where MNIST cannot be had."""
    import torch

    from mmcourse import cgan
    from mmcourse.pictures import labelled

    recipe, data = recipe_of("cgan", profile), labelled("mnist", fall_back=False)
    G, D, sample, config = cgan.prepare(data, recipe, seed=seed, device=runs.device)
    state = play_out_game(G, D, sample, config, runs)
    if runs.over():
        return state.ema, {}
    labels = torch.arange(10000) % 10
    drawn = cgan.draw(state.ema, labels, torch.Generator().manual_seed(seed + 1))
    figures = measure_grey(drawn, labels, runs.say)
    what = "a generator of 32x32 pictures of a handwritten digit from its class and 64 numbers of noise"
    card = {"what": what, "data": "MNIST, training part (CC BY-SA 3.0)", "steps": state.step}
    return state.ema, {**card, "seconds": round(state.seconds, 1), "figures": figures}


def train_outline2picture(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The two U-Nets of lesson 07 that turn a drawing into a picture: by L1 alone, and by L1 and a discriminator. "cpu"
    trains longer than the lesson does."""
    import copy

    from torch import nn

    from mmcourse.image2image import Translators, fit_l1, measure, prepare
    from mmcourse.train import State

    recipe = recipe_of("outline2picture", profile)
    G, D, sample, extra, config = prepare(recipe, seed=seed, device=runs.device)
    untrained = measure(G, recipe)["model"] if runs.first else {}
    alone = State.start(copy.deepcopy(G), nn.Linear(1, 1), dataclasses.replace(config, steps=recipe.alone))
    run, label = fit_l1(alone.G, sample, alone.config, state=alone), "outline2picture, alone"
    runs.play_out(run, alone, recipe.alone, part="alone", label=label, sample=sample)
    game = play_out_game(G, D, sample, config, runs, extra=extra, label="outline2picture, game")
    pair = Translators(**G.hparams)
    pair.alone.load_state_dict(alone.ema.state_dict())
    pair.game.load_state_dict(game.ema.state_dict())
    if runs.over():
        return pair, {}
    figures = {**measure(pair.game, recipe, D=D.cpu()), "alone": measure(pair.alone, recipe)["model"]}
    runs.say(f"outline2picture: {figures}")
    card = {
        "what": "two U-Nets that turn a pencil drawing of the world's scenes (1, 32, 32) into a picture (3, 32, 32): "
        "one trained by L1 alone, one by L1 and a patch discriminator",
        "data": "fresh drawings of the world with their outlines, without held-out pairs; tested on other scenes",
        "steps": {"alone": recipe.alone, "game": config.steps},
        "seconds": round(alone.seconds + game.seconds, 3),
        "figures": {**figures, "untrained": untrained},
    }
    return pair, card


def play_out_repair(
    recipe: Any, parts: Any, name: str, say: Report, *, runs: Runs | None = None
) -> tuple[Any, Any, Any, float]:
    """Play both runs of a repair: by L1 alone, then the game. Gives both averaged networks, D and the seconds."""
    from torch import nn

    from mmcourse.course.runs import Runs
    from mmcourse.inpainting import fit_hole, play_repair
    from mmcourse.train import State

    runs, (G, D, sample, extra, config) = runs or Runs(name, say=say), parts
    alone = State.start(G, nn.Linear(1, 1), dataclasses.replace(recipe.alone, seed=config.seed))
    run = fit_hole(G, sample, alone.config, state=alone)
    runs.play_out(run, alone, alone.config.steps, part="alone", sample=sample)
    game = State.start(G, D, config)
    run = play_repair(G, D, sample, config, extra=extra, state=game)
    runs.play_out(run, game, config.steps, sample=sample)
    return alone.ema, game.ema, D, alone.seconds + game.seconds


def train_inpainting(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The inpainters of lesson 10 for the world's pictures: by L1 alone, and by L1 and a discriminator."""
    return _train_repairers("inpainting", profile, seed, runs)


def train_inpainting_photographs(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The same for photographs, as tiles."""
    return _train_repairers("inpainting_photographs", profile, seed, runs)


def _train_repairers(name: str, profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    from mmcourse.inpainting import Repairers, prepare
    from mmcourse.metrics import measure_repair

    recipe = recipe_of(name, profile)
    parts = prepare(recipe, seed=seed, device=runs.device)
    untrained = measure_repair(parts[0].eval(), recipe.source, seed=seed, n=200) if runs.first else {}
    parts[0].train()
    alone, game, _, seconds = play_out_repair(recipe, parts, name, runs.say, runs=runs)
    pair = Repairers(**game.hparams)
    pair.alone.load_state_dict(alone.state_dict())
    pair.game.load_state_dict(game.state_dict())
    if runs.over():
        return pair, {}
    figures = {
        "game": measure_repair(pair.game.eval(), recipe.source, seed=seed, classical=True),
        "alone": measure_repair(pair.alone.eval(), recipe.source, seed=seed),
        "untrained": untrained,
    }
    for kind, rows in figures.items():
        runs.say(f"{name}, {kind}: " + ", ".join(f"{hole} {row['psnr']:.1f} dB" for hole, row in rows.items()))
    data = {
        "world": "fresh drawings of the world, without held-out pairs; tested on other scenes",
        "photographs": "tiles of six photographs inside the wheels of scikit-image and scikit-learn, their left seven "
        "tenths; tested on the right three tenths",
    }[recipe.source]
    card = {
        "what": "two inpainters of 32x32 pictures with a mask: one trained by L1 alone, one by L1 and a discriminator",
        "data": data,
        "steps": {"alone": recipe.alone.steps, "game": recipe.config.steps},
        "seconds": round(seconds, 3),
        "figures": figures,
    }
    return pair, card


def train_inpainting_text(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The inpainter of lesson 11, which fills a hole as a sentence asks, on a trained space."""
    from mmcourse import checkpoint, inpainting
    from mmcourse.data import vocabulary
    from mmcourse.encoders import Space
    from mmcourse.text2image import encoder

    recipe = recipe_of("inpainting_text", profile)
    space = checkpoint.load(Space, checkpoint.nearest("space", runs.out))
    encode = encoder(space, vocabulary())
    parts = inpainting.prepare(recipe, space=space, encode=encode, seed=seed, device=runs.device)
    _, G, _, seconds = play_out_repair(recipe, parts, "inpainting_text", runs.say, runs=runs)
    if runs.over():
        return G, {}
    figures = measure_inpainting_text(space, G, seed, runs.say)
    card = {
        "what": "an inpainter of 32x32 pictures with a mask and a sentence's 64 numbers",
        "data": "the world's drawings with holes, and captions of what is hidden, without held-out pairs",
        "steps": {"alone": recipe.alone.steps, "game": recipe.config.steps},
        "seconds": round(seconds, 3),
        "figures": figures,
    }
    return G, card


def measure_inpainting_text(space: Any, G: Any, seed: int, say: Report) -> dict[str, Any]:
    """A text-guided inpainter on 2,000 seen and 2,000 held-out compositions, by the judge."""
    from mmcourse import checkpoint, metrics
    from mmcourse.data import vocabulary
    from mmcourse.judge import Judge
    from mmcourse.text2image import encoder

    judge = checkpoint.load(Judge, "judge")
    figures = metrics.measure_guided(G, judge, encoder(space, vocabulary()), seed=seed + 1, n=2000)
    for split, row in figures.items():
        say(f"inpainting_text, {split}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float)))
    return figures


def train_hearing(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The audio tower of lesson 12 for the world's sounds, on a trained space, generator and inpainter.

    Raises ``ValueError`` where these three do not belong together.
    """
    from mmcourse import checkpoint, hearing, inpainting, text2image
    from mmcourse.data import vocabulary
    from mmcourse.encoders import Space

    at = {name: checkpoint.nearest(name, runs.out) for name in NEEDS["hearing"]}
    for name in ("text2image", "inpainting_text"):
        if checkpoint.card(at[name])["space"] != checkpoint.verify(at["space"]):
            raise ValueError(
                f"hearing: {at[name]} was trained on another space than {at['space']}. Train it on that space first: "
                f"mmcourse train {name} --out {runs.out}"
            )
    recipe = recipe_of("hearing", profile)
    space = checkpoint.load(Space, at["space"])
    G = checkpoint.load(text2image.Generator, at["text2image"])
    encode = text2image.encoder(space, vocabulary())
    filler = checkpoint.load(inpainting.Inpainter, at["inpainting_text"])
    measures = [m for m in (G.whiten, filler.whiten) if m is not None]
    tower, pool, loss, config = hearing.prepare(encode, measures, recipe, seed=seed)
    seconds = play_out_fit("hearing", tower, loss, config, runs.say, runs=runs)
    figures = measure_ear(space, tower, G, filler, seed, runs.say)
    card = {
        "what": "an audio tower: stereo clips of 1.26 s become vectors of the space that text and pictures share",
        "data": "the world's own sounds and captions, without held-out pairs",
        "steps": config.steps,
        "sounds": len(pool),
        "seconds": round(seconds, 3),
        "figures": figures,
    }
    return tower, card


def measure_ear(space: Any, tower: Any, G: Any, filler: Any, seed: int, say: Report) -> dict[str, Any]:
    """An audio tower on 2,000 seen and 2,000 held-out compositions: a generator and an inpainter, by sound."""
    from mmcourse import checkpoint, metrics, text2image
    from mmcourse.data import vocabulary
    from mmcourse.judge import Judge

    judge, encode = checkpoint.load(Judge, "judge"), text2image.encoder(space, vocabulary())
    figures: dict[str, Any] = metrics.measure_hearing(tower, G, judge, encode, n=2000, seed=seed + 1)
    for split, row in figures.items():
        shown = ", ".join(f"{k} {row[k]['all']:.3f}" for k in ("text", "sound", "silence", "noise"))
        say(f"hearing, {split}: {shown}")
    return {**figures, "holes": metrics.measure_heard_holes(tower, filler, judge, encode, n=2000, seed=seed + 1)}


def play_out_fit(
    name: str, tower: Any, loss: Any, config: Any, say: Report, *, runs: Runs | None = None, part: str = ""
) -> float:
    """Play a run of ``hearing.fit`` to its end, with some lines on the way. Returns its seconds."""
    from mmcourse.course.runs import Runs
    from mmcourse.hearing import fit
    from mmcourse.keep import Kept

    runs, kept = runs or Runs(name, say=say), Kept()
    tower.to(runs.device)
    runs.play_out(fit(tower, loss, config, kept=kept), kept, config.steps, part=part, label=name)
    tower.cpu()
    return kept.seconds


def train_hearing_digits(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The digit space of lesson 12: handwriting first, then speech paired with it.

    Raises ``DataMissing`` or ``SpeechMissing`` where MNIST or the spoken digits cannot be had.
    """
    from mmcourse import speech
    from mmcourse.pictures import labelled

    recipe = recipe_of("hearing_digits", profile)
    written, clips = labelled("mnist", fall_back=False), speech.spoken_digits("train")
    space, seconds = learn_written(recipe, written, seed, runs.say, runs=runs)
    spoken = learn_spoken(recipe, space, clips, written, seed, runs.say, runs=runs)
    figures = measure_spoken(space, speech.spoken_digits("test"), seed=seed + 1)
    runs.say("hearing_digits: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if k != "n"))
    card = {
        "what": "a space for handwritten and spoken digits: a picture tower, an audio tower, a reader of digits",
        "data": "MNIST, training part (CC BY-SA 3.0), and the Free Spoken Digit Dataset, takes 5 to 49 (CC BY-SA 4.0)",
        "steps": {"written": recipe.written.steps, "spoken": recipe.spoken.steps},
        "seconds": round(seconds + spoken, 3),
        "figures": figures,
    }
    return space, card


def learn_written(recipe: Any, written: Any, seed: int, say: Report, *, runs: Runs | None = None) -> tuple[Any, float]:
    """A fresh digit space that reads handwriting (``Labelled``), and the seconds that took."""
    import torch

    from mmcourse import hearing

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = hearing.DigitSpace(width=recipe.width, audio_width=recipe.audio_width, features=recipe.features)
    config = dataclasses.replace(recipe.written, seed=seed)
    loss = hearing.written_loss(lambda rng: written.draw(config.batch, rng))
    return space, play_out_fit("handwriting", space, loss, config, say, runs=runs, part="written")


def learn_spoken(
    recipe: Any, space: Any, clips: Any, written: Any, seed: int, say: Report, *, runs: Runs | None = None
) -> float:
    """Train a digit space's audio tower, in place, on clips paired with handwriting. Returns the seconds."""
    import torch

    from mmcourse import hearing

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = hearing.AudioTower(channels=1, width=recipe.audio_width, features=recipe.features)
    part = written.first(5000)
    pairs = hearing.Pairs(hearing.spectra(clips.waves), clips.digits, part.pictures(), part.labels)
    config = dataclasses.replace(recipe.spoken, seed=seed)
    loss = hearing.spoken_loss(space, pairs, config.batch)
    seconds = play_out_fit("speech", tower, loss, config, say, runs=runs)
    space.audio = tower
    return seconds


def measure_spoken(space: Any, clips: Any, *, seed: int = 0) -> dict[str, float]:
    """Spoken digits (``speech.Clips``) drawn by the shipped class-conditional generator and read by the feature
    network, which no loss has seen: the share ``drawn`` right, of one picture a clip; ``heard``, the share that the
    digit space itself gets right; ``generator``, the share right where the generator is told the digit; and the same as
    ``drawn`` for ``silence`` and ``noise``."""
    import torch

    from mmcourse import cgan, checkpoint
    from mmcourse.audio import LENGTH
    from mmcourse.features import FeatureNet

    G, net = checkpoint.load(cgan.Generator, "cgan"), checkpoint.load(FeatureNet, "features")
    g, n = torch.Generator().manual_seed(seed), len(clips.digits)
    z = torch.randn(n, G.hparams["z"], generator=g)

    @torch.no_grad()
    def right(cond: torch.Tensor) -> float:
        return float((net.read(G(z, cond)) == clips.digits).float().mean())

    cond = space.speak(clips.waves)
    noise = (0.1 * torch.randn(n, 1, LENGTH, generator=g)).clamp(-1, 1)
    return {
        "drawn": right(cond),
        "heard": float((cond.argmax(1) == clips.digits).float().mean()),
        "generator": right(cgan.one_hot(clips.digits, 10)),
        "silence": right(space.speak(torch.zeros(1, 1, LENGTH)).expand(n, -1)),
        "noise": right(space.speak(noise)),
        "n": n,
    }


def measure_grey(pictures: Any, labels: Any, say: Report = print) -> dict[str, Any]:
    """Grey pictures (10000, 1, 32, 32) beside MNIST's test part: Frechet distance with its floor (as many training
    pictures), precision, recall and coverage of the first 2,000, and, with ``labels`` (10000,), the share read so."""
    from mmcourse import checkpoint, distances
    from mmcourse.features import FeatureNet, label_accuracy
    from mmcourse.pictures import labelled

    net = checkpoint.load(FeatureNet, "features")
    test = labelled("mnist", "test", fall_back=False)
    real, fake = net.features(test.pictures()), net.features(pictures)
    train = net.features(labelled("mnist", fall_back=False).first(len(pictures)).pictures())
    close, best = (distances.precision_recall(real[:2000], x[:2000]) for x in (fake, train))
    figures: dict[str, Any] = {
        "frechet": distances.frechet(real, fake),
        "frechet_floor": distances.frechet(real, train),
        **close._asdict(),
        "coverage_of_training_pictures": best.coverage,
        "n": len(pictures),
    }
    if labels is not None:
        figures["accuracy"] = label_accuracy(net, pictures, labels)
        figures["accuracy_of_test_pictures"] = label_accuracy(net, test.pictures(), test.labels)
    say(", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    return figures


def measure_text2image(space: Any, G: Any, objects: tuple[int, ...], seed: int, say: Report) -> dict[str, Any]:
    """Caption accuracy on 2,000 seen and 2,000 held-out captions, beside control, ceiling and chance."""
    from mmcourse import checkpoint, metrics
    from mmcourse.data import caption_set
    from mmcourse.judge import Judge
    from mmcourse.text2image import Painter

    painter, judge = Painter(space, G), checkpoint.load(Judge, "judge")
    kinds = {"seen": "train", "held_out": "held_out"}
    sets = {k: caption_set(2000, split=s, objects=objects, seed=seed + 1) for k, s in kinds.items()}
    figures = metrics.measure_text2image(painter.draw, judge, sets, seed=seed + 1, blank=painter.draw_blank)
    for name, row in figures.items():
        say(f"text2image: all attributes right on {100 * row['model']['all']:.1f} % of {name} captions")
    chosen = metrics.openness(painter.draw, judge, seed=seed + 1)
    say("text2image: entropy of what captions leave open: " + ", ".join(f"{k} {v:.2f}" for k, v in chosen.items()))
    return {**figures, "openness": chosen}


MEASURED = ("text2image", "inpainting_text", "hearing", "emoji")  # models that `mmcourse measure` measures anew


def measure_again(folder: Path, name: str = "text2image", say: Report = print) -> Path:
    """Measure a checkpoint of ``MEASURED`` anew and write its card's figures; the weights stay as they are.

    Raises ``CheckpointError`` where the checkpoint is missing or damaged, or belongs to another space, ``ValueError``
    on an unknown name.
    """
    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.hearing import AudioTower
    from mmcourse.inpainting import Inpainter
    from mmcourse.text2image import Generator

    expect_one_of(name, MEASURED, name="measure")
    if name == "emoji":
        from mmcourse.course.training_pairs import measure_emoji

        return measure_emoji(folder, say)
    path = folder / f"{name}.safetensors"
    card, others = checkpoint.card(path), {other: checkpoint.nearest(other, folder) for other in NEEDS[name]}
    if card["space"] != checkpoint.verify(others["space"]):
        raise checkpoint.CheckpointError(f"{path}: was trained on another space than {others['space']}.")
    space, seed = checkpoint.load(Space, others["space"]), card["seed"]
    model: Any
    if name == "text2image":
        model = checkpoint.load(Generator, path)
        figures = measure_text2image(space, model, tuple(card["recipe"]["objects"]), seed, say)
    elif name == "inpainting_text":
        model = checkpoint.load(Inpainter, path)
        figures = measure_inpainting_text(space, model, seed, say)
    else:
        model = checkpoint.load(AudioTower, path)
        G, filler = (
            checkpoint.load(kind, others[k]) for kind, k in ((Generator, "text2image"), (Inpainter, "inpainting_text"))
        )
        figures = measure_ear(space, model, G, filler, seed, say)
        card |= {IN_CARD[k]: checkpoint.verify(at) for k, at in others.items()}
    return checkpoint.save(model, path, card={**card, "figures": figures})
