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
from typing import Any

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
PLAYED = ("gan", "cgan", "text2image")  # runs of `play`, which can be resumed
Report = Callable[[str], None]


def train(
    name: str, *, profile: str, seed: int, out: Path, resume: bool = False, command: str = "", say: Report = print
) -> Path:
    """Train one model and write ``out/NAME.safetensors`` with its card. Returns the path.

    Raises ``ValueError`` on an unknown name, and whatever its training raises.
    """
    if name not in NAMES:
        raise ValueError(f"train: expected one of {', '.join(NAMES)}; got {name!r}.")
    if resume and name not in PLAYED:
        raise ValueError(
            f"train: only {', '.join(PLAYED)} keep a state to resume from; {name} trains in minutes, start it anew."
        )
    from mmcourse.course import training_pairs

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
    began = time.perf_counter()
    kwargs: dict[str, Any] = {"resume": resume} if name in PLAYED else {}
    module, card = run(profile, seed, out, say, **kwargs)
    from mmcourse import __version__, checkpoint, runtime

    card = {
        "name": name,
        **card,
        "command": command or shlex.join(["mmcourse", "train", name, "--profile", profile, "--seed", str(seed)]),
        "profile": profile,
        "seed": seed,
        "seconds_in_all": round(time.perf_counter() - began, 1),
        "machine": runtime.machine(),
        "mmcourse": __version__,
        "licence": "MIT",
    }
    path = checkpoint.save(module, out / name, card=card)
    say(f"wrote {path} and its card {path.with_suffix('.json').name}")
    return path


def _ticks(total: int, times: int = 10) -> set[int]:
    """The steps at which a run prints a line: about ``times`` of them, and the last."""
    return {max(1, round(total * (i + 1) / times)) for i in range(times)}


def train_judge(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The judge that measures captions. It trains on fresh drawings without held-out pairs."""
    from mmcourse.judge import judge_report, judge_steps

    steps = {"quick": 60, "cpu": 6000, "gpu": 6000}[profile]
    ticks = _ticks(steps)
    seconds = _Clock()
    judge = None
    for step, loss, newest in judge_steps(steps=steps, seed=seed):
        judge = newest
        if step in ticks:
            say(f"judge: step {step} of {steps}, loss {loss:.4f}, {seconds} s")
    assert judge is not None
    figures = judge_report(judge, n=10000, seed=seed + 1)
    say(f"judge: all attributes right on {figures}")
    what = "reads layout, shapes, colours and sizes from a 32x32 picture of the world; no loss ever sees it"
    data = "fresh drawings of the world, slightly blurred and noisy, without held-out pairs"
    return judge.eval(), {"what": what, "data": data, "steps": steps, "seconds": seconds.now(), "figures": figures}


def train_features(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The network whose features measure grey pictures. It reads MNIST and scikit-learn's digits.

    Raises ``DataMissing`` where MNIST cannot be had.
    """
    from mmcourse.features import feature_steps, label_accuracy
    from mmcourse.pictures import labelled

    steps = {"quick": 60, "cpu": 8000, "gpu": 8000}[profile]
    ticks, seconds, net = _ticks(steps), _Clock(), None
    sets = [labelled(name, fall_back=False) for name in ("mnist", "digits")]
    for step, loss, newest in feature_steps(sets, steps=steps, seed=seed):
        net = newest.eval()
        if step in ticks:
            say(f"features: step {step} of {steps}, loss {loss:.4f}, {seconds} s")
    assert net is not None
    figures = {}
    for name in ("mnist", "digits"):
        held_out = labelled(name, "test")
        figures[name] = {"accuracy": label_accuracy(net, held_out.pictures(), held_out.labels), "n": len(held_out)}
    say(f"features: read right on test pictures: {figures}")
    what = "reads a handwritten digit from a grey 32x32 picture; its 64 features measure pictures; no loss ever sees it"
    data = "MNIST (CC BY-SA 3.0) and scikit-learn's digits (CC BY 4.0), training parts, shifted and with noise"
    return net, {"what": what, "data": data, "steps": steps, "seconds": seconds.now(), "figures": figures}


def train_space(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The space that text and pictures share."""
    import torch

    from mmcourse.data import caption_batch, vocabulary
    from mmcourse.encoders import PROFILES, Space, align, space_report

    config, words = PROFILES[profile], vocabulary()
    torch.manual_seed(seed)  # initial weights only
    space = Space(words=len(words))
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    ticks, seconds = _ticks(config.steps), _Clock()
    batches = lambda: caption_batch(config.batch, g, rng, words, leave_out=config.leave_out)  # noqa: E731
    for step, loss in align(space, batches, config):
        if step in ticks:
            say(f"space: step {step} of {config.steps}, loss {loss:.3f}, {seconds} s")
    space.eval()
    taken = seconds.now()
    figures = space_report(space, words)
    say(f"space: {figures}")
    what = "a text tower and an image tower into 64 numbers; English and Chinese"
    data = "fresh drawings and captions of the world, without held-out pairs"
    return space, {"what": what, "data": data, "steps": config.steps, "seconds": taken, "figures": figures}


def train_text2image(
    profile: str, seed: int, out: Path, say: Report, *, resume: bool = False
) -> tuple[Any, dict[str, Any]]:
    """The generator that draws what a sentence says, on the shipped space."""

    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.runtime import pick_device
    from mmcourse.text2image import PROFILES, prepare

    recipe = PROFILES[profile]
    space = checkpoint.load(Space, "space")
    G, D, sample, extra, config = prepare(space, recipe, seed=seed, device=pick_device() if profile == "gpu" else "cpu")
    state = _play_out("text2image", G, D, sample, config, out, say, resume=resume, extra=extra)
    figures = measure_text2image(space, state.ema, recipe.objects, seed, say)
    card = {
        "what": "a generator of 32x32 pictures from a caption's 64 numbers",
        "data": "the world's drawings and captions, without held-out pairs",
        "space": checkpoint.verify("space"),
        "recipe": recipe.describe(),
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "figures": figures,
    }
    return state.ema, card


def _play_out(
    name: str, G: Any, D: Any, sample: Any, config: Any, out: Path, say: Report, *, resume: bool, extra: Any = None
) -> Any:
    """Play a run to its end and give its state. An interrupted one is kept in ``out/NAME.state.safetensors``."""
    from mmcourse.train import State, play

    state = State.start(G, D, config)
    saved = out / f"{name}.state.safetensors"
    if resume:
        state.load(saved)
        say(f"{name}: goes on after step {state.step} of {config.steps}")
    elif saved.exists():
        raise ValueError(f"{saved}: an unfinished run lies there. Go on with --resume, or remove the file.")
    ticks, stored = _ticks(config.steps, 20), time.monotonic()
    try:
        for step in play(G, D, sample, config, state=state, extra=extra):
            if step.number in ticks:
                shown = ", ".join(f"{k} {v:.2f}" for k, v in step.losses.items())
                say(f"{name}: step {step.number} of {config.steps}, {shown}, {step.seconds:.0f} s")
            if time.monotonic() - stored > 60:
                state.save(saved)
                stored = time.monotonic()
    except KeyboardInterrupt:
        state.save(saved)
        say(f"{name}: stopped after step {state.step}; go on with --resume")
        raise
    saved.unlink(missing_ok=True)
    return state


def train_gan(profile: str, seed: int, out: Path, say: Report, *, resume: bool = False) -> tuple[Any, dict[str, Any]]:
    """The image GAN of lesson 04, on MNIST. Raises ``DataMissing`` where MNIST cannot be had."""
    import torch

    from mmcourse import gan
    from mmcourse.pictures import labelled
    from mmcourse.runtime import pick_device

    recipe, data = gan.PROFILES[profile], labelled("mnist", fall_back=False)
    G, D, sample, config = gan.prepare(data, recipe, seed=seed, device=pick_device() if profile == "gpu" else "cpu")
    state = _play_out("gan", G, D, sample, config, out, say, resume=resume)
    drawn = gan.draw(state.ema, 10000, torch.Generator().manual_seed(seed + 1))
    figures = measure_grey(drawn, None, say)
    what = "a generator of 32x32 pictures of handwritten digits from 64 numbers of noise"
    card = {"what": what, "data": "MNIST, training part (CC BY-SA 3.0)", "recipe": recipe.describe()}
    return state.ema, {**card, "steps": state.step, "seconds": round(state.seconds, 1), "figures": figures}


def train_cgan(profile: str, seed: int, out: Path, say: Report, *, resume: bool = False) -> tuple[Any, dict[str, Any]]:
    """The class-conditional GAN of lesson 06, on MNIST. Raises ``DataMissing`` where MNIST cannot be had."""
    import torch

    from mmcourse import cgan
    from mmcourse.pictures import labelled
    from mmcourse.runtime import pick_device

    recipe, data = cgan.PROFILES[profile], labelled("mnist", fall_back=False)
    G, D, sample, config = cgan.prepare(data, recipe, seed=seed, device=pick_device() if profile == "gpu" else "cpu")
    state = _play_out("cgan", G, D, sample, config, out, say, resume=resume)
    labels = torch.arange(10000) % 10
    drawn = cgan.draw(state.ema, labels, torch.Generator().manual_seed(seed + 1))
    figures = measure_grey(drawn, labels, say)
    what = "a generator of 32x32 pictures of a handwritten digit from its class and 64 numbers of noise"
    card = {"what": what, "data": "MNIST, training part (CC BY-SA 3.0)", "recipe": recipe.describe()}
    return state.ema, {**card, "steps": state.step, "seconds": round(state.seconds, 1), "figures": figures}


def train_outline2picture(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The two U-Nets of lesson 07 that turn a drawing into a picture."""
    from mmcourse.image2image import train_outline2picture

    return train_outline2picture(profile, seed, say)


def play_out_repair(recipe: Any, parts: Any, name: str, say: Report) -> tuple[Any, Any, Any, float]:
    """Play both runs of a repair: by L1 alone, then the game. Gives both averaged networks, D and the seconds."""
    import copy

    from mmcourse.inpainting import fit_hole, play_repair

    G, D, sample, extra, config = parts
    first = dataclasses.replace(recipe.alone, seed=config.seed)
    kept, seconds = None, 0.0
    for run, total in ((fit_hole(G, sample, first), first.steps), (None, config.steps)):
        ticks = _ticks(total)
        for step in run or play_repair(G, D, sample, config, extra=extra):
            if step.number in ticks:
                shown = ", ".join(f"{k} {v:.2f}" for k, v in step.losses.items())
                say(f"{name}: step {step.number} of {total}, {shown}, {step.seconds:.0f} s")
        seconds += step.seconds
        kept = kept or copy.deepcopy(step.state.ema)
    return kept, step.state.ema, D, seconds


def train_inpainting(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The inpainters of lesson 10 for the world's pictures: by L1 alone, and by L1 and a discriminator."""
    from mmcourse import inpainting

    recipe = inpainting.PROFILES["shipped" if profile == "cpu" else profile]
    return _train_repairers(recipe, "inpainting", profile, seed, say)


def train_inpainting_photographs(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The same for photographs, as tiles."""
    from mmcourse import inpainting

    recipe = inpainting.PHOTOGRAPHS["shipped" if profile == "cpu" else profile]
    return _train_repairers(recipe, "inpainting_photographs", profile, seed, say)


def _train_repairers(recipe: Any, name: str, profile: str, seed: int, say: Report) -> tuple[Any, dict[str, Any]]:
    from mmcourse.inpainting import Repairers, prepare
    from mmcourse.metrics import measure_repair
    from mmcourse.runtime import pick_device

    parts = prepare(recipe, seed=seed, device=pick_device() if profile == "gpu" else "cpu")
    untrained = measure_repair(parts[0].eval(), recipe.source, seed=seed, n=200)
    parts[0].train()
    alone, game, _, seconds = play_out_repair(recipe, parts, name, say)
    pair = Repairers(**game.hparams)
    pair.alone.load_state_dict(alone.state_dict())
    pair.game.load_state_dict(game.state_dict())
    figures = {
        "game": measure_repair(pair.game.eval(), recipe.source, seed=seed, classical=True),
        "alone": measure_repair(pair.alone.eval(), recipe.source, seed=seed),
        "untrained": untrained,
    }
    for kind, rows in figures.items():
        say(f"{name}, {kind}: " + ", ".join(f"{hole} {row['psnr']:.1f} dB" for hole, row in rows.items()))
    data = {
        "world": "fresh drawings of the world, without held-out pairs; tested on other scenes",
        "photographs": "tiles of six photographs inside the wheels of scikit-image and scikit-learn, their left seven "
        "tenths; tested on the right three tenths",
    }[recipe.source]
    card = {
        "what": "two inpainters of 32x32 pictures with a mask: one trained by L1 alone, one by L1 and a discriminator",
        "data": data,
        "recipe": recipe.describe(),
        "steps": {"alone": recipe.alone.steps, "game": recipe.config.steps},
        "seconds": round(seconds, 3),
        "figures": figures,
    }
    return pair, card


def train_inpainting_text(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The inpainter of lesson 11, which fills a hole as a sentence asks, on the shipped space."""
    from mmcourse import checkpoint, inpainting
    from mmcourse.data import vocabulary
    from mmcourse.encoders import Space
    from mmcourse.runtime import pick_device
    from mmcourse.text2image import encoder

    recipe = inpainting.GUIDED["shipped" if profile == "cpu" else profile]
    space = checkpoint.load(Space, "space")
    encode = encoder(space, vocabulary())
    device = pick_device() if profile == "gpu" else "cpu"
    parts = inpainting.prepare(recipe, space=space, encode=encode, seed=seed, device=device)
    _, G, _, seconds = play_out_repair(recipe, parts, "inpainting_text", say)
    figures = measure_inpainting_text(space, G, seed, say)
    card = {
        "what": "an inpainter of 32x32 pictures with a mask and a sentence's 64 numbers",
        "data": "the world's drawings with holes, and captions of what is hidden, without held-out pairs",
        "space": checkpoint.verify("space"),
        "recipe": recipe.describe(),
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


def train_hearing(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The audio tower of lesson 12 for the world's sounds, on the shipped space, generator and inpainter."""
    from mmcourse import checkpoint, hearing, inpainting, text2image
    from mmcourse.data import vocabulary
    from mmcourse.encoders import Space

    recipe = hearing.PROFILES["shipped" if profile == "cpu" else profile]
    space = checkpoint.load(Space, "space")
    G = checkpoint.load(text2image.Generator, "text2image")
    encode = text2image.encoder(space, vocabulary())
    filler = checkpoint.load(inpainting.Inpainter, "inpainting_text")
    measures = [m for m in (G.whiten, filler.whiten) if m is not None]
    tower, pool, loss, config = hearing.prepare(encode, measures, recipe, seed=seed)
    seconds = play_out_fit("hearing", tower, loss, config, say)
    figures = measure_ear(space, tower, seed, say)
    card = {
        "what": "an audio tower: stereo clips of 1.26 s become vectors of the space that text and pictures share",
        "data": "the world's own sounds and captions, without held-out pairs",
        "space": checkpoint.verify("space"),
        "generator": checkpoint.verify("text2image"),
        "inpainter": checkpoint.verify("inpainting_text"),
        "recipe": recipe.describe(),
        "steps": config.steps,
        "sounds": len(pool),
        "seconds": round(seconds, 3),
        "figures": figures,
    }
    return tower, card


def measure_ear(space: Any, tower: Any, seed: int, say: Report) -> dict[str, Any]:
    """An audio tower on 2,000 seen and 2,000 held-out compositions: the shipped generator and inpainter, by sound."""
    from mmcourse import checkpoint, inpainting, metrics, text2image
    from mmcourse.data import vocabulary
    from mmcourse.judge import Judge

    judge, encode = checkpoint.load(Judge, "judge"), text2image.encoder(space, vocabulary())
    G = checkpoint.load(text2image.Generator, "text2image")
    figures: dict[str, Any] = metrics.measure_hearing(tower, G, judge, encode, n=2000, seed=seed + 1)
    for split, row in figures.items():
        shown = ", ".join(f"{k} {row[k]['all']:.3f}" for k in ("text", "sound", "silence", "noise"))
        say(f"hearing, {split}: {shown}")
    filler = checkpoint.load(inpainting.Inpainter, "inpainting_text")
    return {**figures, "holes": metrics.measure_heard_holes(tower, filler, judge, encode, n=2000, seed=seed + 1)}


def play_out_fit(name: str, tower: Any, loss: Any, config: Any, say: Report) -> float:
    """Play a run of ``hearing.fit`` to its end, with some lines on the way. Returns its seconds."""
    from mmcourse.hearing import fit

    began, ticks = time.perf_counter(), _ticks(config.steps)
    for step, value in fit(tower, loss, config):
        if step in ticks:
            say(f"{name}: step {step} of {config.steps}, loss {value:.3f}, {time.perf_counter() - began:.0f} s")
    return time.perf_counter() - began


def train_hearing_digits(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The digit space of lesson 12: handwriting first, then speech paired with it.

    Raises ``DataMissing`` or ``SpeechMissing`` where MNIST or the spoken digits cannot be had.
    """
    from mmcourse import hearing, speech
    from mmcourse.pictures import labelled

    recipe = hearing.SPEECH["shipped" if profile == "cpu" else profile]
    written = labelled("mnist", fall_back=False)
    space, seconds = learn_written(recipe, written, seed, say)
    spoken = learn_spoken(recipe, space, speech.spoken_digits("train"), written, seed, say)
    figures = measure_spoken(space, speech.spoken_digits("test"), seed=seed + 1)
    say("hearing_digits: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if k != "n"))
    card = {
        "what": "a space for handwritten and spoken digits: a picture tower, an audio tower, a reader of digits",
        "data": "MNIST, training part (CC BY-SA 3.0), and the Free Spoken Digit Dataset, takes 5 to 49 (CC BY-SA 4.0)",
        "recipe": recipe.describe(),
        "steps": {"written": recipe.written.steps, "spoken": recipe.spoken.steps},
        "seconds": round(seconds + spoken, 3),
        "figures": figures,
    }
    return space, card


def learn_written(recipe: Any, written: Any, seed: int, say: Report) -> tuple[Any, float]:
    """A fresh digit space that reads handwriting (``Labelled``), and the seconds that took."""
    import torch

    from mmcourse import hearing

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = hearing.DigitSpace(width=recipe.width, audio_width=recipe.audio_width, features=recipe.features)
    config = dataclasses.replace(recipe.written, seed=seed)
    loss = hearing.written_loss(lambda rng: written.draw(config.batch, rng))
    return space, play_out_fit("handwriting", space, loss, config, say)


def learn_spoken(recipe: Any, space: Any, clips: Any, written: Any, seed: int, say: Report) -> float:
    """Train a digit space's audio tower, in place, on clips paired with handwriting. Returns the seconds."""
    import torch

    from mmcourse import hearing

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = hearing.AudioTower(channels=1, width=recipe.audio_width, features=recipe.features)
    part = written.first(5000)
    pairs = hearing.Pairs(hearing.spectra(clips.waves), clips.digits, part.pictures(), part.labels)
    config = dataclasses.replace(recipe.spoken, seed=seed)
    seconds = play_out_fit("speech", tower, hearing.spoken_loss(space, pairs, config.batch), config, say)
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
    from mmcourse.checks import expect_one_of
    from mmcourse.encoders import Space
    from mmcourse.hearing import AudioTower
    from mmcourse.inpainting import Inpainter
    from mmcourse.text2image import Generator

    expect_one_of(name, MEASURED, name="measure")
    if name == "emoji":
        from mmcourse.course.training_pairs import measure_emoji

        return measure_emoji(folder, say)
    path = folder / f"{name}.safetensors"
    card = checkpoint.card(path)
    if card["space"] != checkpoint.verify("space"):
        raise checkpoint.CheckpointError(f"{path}: was trained on another space than the shipped one.")
    space, seed = checkpoint.load(Space, "space"), card["seed"]
    model: Any
    if name == "text2image":
        model = checkpoint.load(Generator, path)
        figures = measure_text2image(space, model, tuple(card["recipe"]["objects"]), seed, say)
    elif name == "inpainting_text":
        model = checkpoint.load(Inpainter, path)
        figures = measure_inpainting_text(space, model, seed, say)
    else:
        model = checkpoint.load(AudioTower, path)
        figures = measure_ear(space, model, seed, say)
        card |= {k: checkpoint.verify(v) for k, v in (("generator", "text2image"), ("inpainter", "inpainting_text"))}
    return checkpoint.save(model, path, card={**card, "figures": figures})


class _Clock:
    def __init__(self) -> None:
        self.began = time.perf_counter()

    def now(self) -> float:
        return round(time.perf_counter() - self.began, 1)

    def __str__(self) -> str:
        return f"{self.now():.0f}"
