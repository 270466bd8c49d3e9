"""The trainings of lesson 14 behind `mmcourse train`: the finder, the emojis' space and their generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcourse.course.runs import Runs

Report = Callable[[str], None]
DATA = (
    "emojis drawn from an installed font (Noto Color Emoji, SIL Open Font License 1.1), names in English and Chinese "
    "from the package emoji (BSD)"
)
FINDER_STEPS = {"quick": 40, "cpu": 2000, "gpu": 2000}


def emojis_for(profile: str) -> Any:
    """The emojis that a profile learns: at most 300 in ``quick`` and ``cpu``, all in ``gpu``."""
    from mmcourse.emojis import SMALL, emoji_set

    return emoji_set(32, limit=None if profile == "gpu" else SMALL)


def pairs_of(found: Any) -> Any:
    """An emoji set as pairs, both languages for each picture."""
    from mmcourse.captioned import Pairs

    return Pairs(found.pictures, list(zip(*found.names.values(), strict=True)), found.held_out)


def train_finder(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The encoder that measures lesson 14. It learns all emojis, held-out ones too, and never a caption."""
    import torch

    from mmcourse.emojis import emoji_set
    from mmcourse.finder import disturb, finder_steps
    from mmcourse.keep import Kept
    from mmcourse.retrieval import found_at

    found = emoji_set(32, limit=300 if profile == "quick" else None)
    steps, kept = FINDER_STEPS[profile], Kept()
    run = finder_steps(found.pictures, steps=steps, seed=seed, device=runs.device, kept=kept)
    runs.play_out(run, kept, steps)
    net = kept.parts["net"].cpu()
    shelf, rows = net.vectors(found.pictures), torch.arange(len(found))
    figures = {}
    for name, strength in (("mild", 0.3), ("full", 1.0)):
        moved = disturb(found.pictures, torch.Generator().manual_seed(seed + 1), strength=strength)
        figures[name] = found_at(net.vectors(moved), shelf, rows, found.same)
    runs.say(f"emoji_finder: {figures}")
    what = "finds a 32x32 emoji among all by 128 numbers; it never saw a caption, and no loss ever sees it"
    return net, {"what": what, "data": DATA, "steps": steps, "seconds": round(kept.seconds, 1), "figures": figures}


def train_space(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The space that emojis and their names share."""
    import torch

    from mmcourse import captioned
    from mmcourse.keep import Kept

    recipe, found, kept = captioned.PROFILES[profile].space, emojis_for(profile), Kept()
    pairs = pairs_of(found)
    words = pairs.vocabulary(recipe.words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = captioned.PairSpace(words=words.to_dict(), text_width=recipe.text_width).to(runs.device)
    runs.play_out(captioned.align_pairs(space, pairs, recipe, kept=kept), kept, recipe.steps)
    space.eval().cpu()
    figures = space_figures(space, found)
    runs.say(f"emoji_space: {figures}")
    what = "a text tower over learned pieces and an image tower, both to 64 numbers; English and Chinese"
    card = {"what": what, "data": DATA, "pictures": len(found), "pieces": len(words)}
    return space, {**card, "steps": recipe.steps, "seconds": round(kept.seconds, 1), "figures": figures}


def space_figures(space: Any, found: Any) -> dict[str, Any]:
    """Share of names whose own picture is the nearest of all, by split and language."""
    import torch

    from mmcourse.retrieval import found_at

    with torch.no_grad():
        shelf = torch.cat([space.image(part) for part in found.pictures.split(500)])
    out: dict[str, Any] = {}
    for split, mask in (("seen", ~found.held_out), ("held_out", found.held_out)):
        rows = mask.nonzero()[:, 0]
        for language, names in found.names.items():
            told = found_at(space.encode([names[i] for i in rows.tolist()]), shelf, rows, found.same)
            out.setdefault(split, {})[language] = told
    return out


def train_emoji(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The generator that draws an emoji from its name."""
    import copy

    from mmcourse import captioned, checkpoint
    from mmcourse.finder import Finder
    from mmcourse.keep import Kept
    from mmcourse.train import State, play

    space = checkpoint.load(captioned.PairSpace, checkpoint.nearest("emoji_space", runs.out))
    finder, kept = checkpoint.load(Finder, "emoji_finder"), Kept()
    recipe, found = captioned.PROFILES[profile], emojis_for(profile)
    G, D, sample, extra, config = captioned.prepare(space, pairs_of(found), recipe, seed=seed, device=runs.device)
    warm_up = captioned.warm_up(G, sample, recipe, seed=seed, kept=kept)
    runs.play_out(warm_up, kept, recipe.warm_up, part="warm_up", label="emoji, warm-up")
    after, state = copy.deepcopy(G), State.start(G, D, config)
    game = play(G, D, sample, config, state=state, extra=extra)
    runs.play_out(game, state, config.steps, sample=sample)
    figures = {}
    for name, network in (("figures", state.ema), ("after_warm_up", after)):
        figures[name] = emoji_figures(network, space, finder, found, seed=seed)
        runs.say(f"emoji, {name}: {brief(figures[name])}")
    what = "a generator of 32x32 emojis from the 64 numbers of a name"
    card = {"what": what, "data": DATA, "pictures": len(found), "steps": state.step}
    seconds = {"warm_up": round(kept.seconds, 1), "game": round(state.seconds, 1)}
    return state.ema, {**card, "seconds": seconds, **figures}


def emoji_figures(G: Any, space: Any, finder: Any, found: Any, *, seed: int = 0) -> dict[str, Any]:
    """``measure_pairs`` of a generator, beside itself without text and untrained (the first weights of ``seed``)."""
    import torch

    from mmcourse.captioned import PairPainter
    from mmcourse.retrieval import measure_pairs

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(G)(**G.hparams)
    fresh.whiten.load_state_dict(G.whiten.state_dict())
    painter, pictures = PairPainter(space, G), (found.pictures, found.names, found.held_out, found.same)
    untrained = PairPainter(space, fresh).draw
    return measure_pairs(painter.draw, painter.draw_blank, untrained, finder, *pictures, seed=seed)


def measure_emoji(folder: Path, say: Report) -> Path:
    """Measure ``folder/emoji`` anew and write its card; what was measured after the warm-up, whose weights are not
    kept, is taken out. Raises ``CheckpointError`` where it was trained on another space than the one in the folder, or
    where none is there, the shipped one."""
    from mmcourse import captioned, checkpoint
    from mmcourse.finder import Finder
    from mmcourse.text2image import Generator

    path = folder / "emoji.safetensors"
    card = {k: v for k, v in checkpoint.card(path).items() if k != "after_warm_up"}
    known = checkpoint.nearest("emoji_space", folder)
    if card["space"] != checkpoint.verify(known):
        raise checkpoint.CheckpointError(f"{path}: was trained on another space than {known}.")
    G, space = checkpoint.load(Generator, path), checkpoint.load(captioned.PairSpace, known)
    found, finder = emojis_for(card["profile"]), checkpoint.load(Finder, "emoji_finder")
    figures = emoji_figures(G, space, finder, found, seed=card["seed"])
    say(f"emoji: {brief(figures)}")
    return checkpoint.save(G, path, card={**card, "figures": figures})


def brief(table: dict[str, Any]) -> str:
    """The shares found at once, in one line."""
    parts = []
    for split in ("seen", "held_out"):
        for language in ("en", "zh"):
            if split in table:
                row = table[split][language]["model"]
                parts.append(f"{split} {language} R@1 {100 * row['r1']:.1f} %, R@5 {100 * row['r5']:.1f} %")
    return "; ".join(parts)


HOLES = {"quick": (30, 8), "cpu": (1500, 40), "gpu": (4000, 40)}  # steps, width


def train_emoji_inpainting(profile: str, seed: int, runs: Runs) -> tuple[Any, dict[str, Any]]:
    """The inpainter that fills a hole in an emoji as its name asks, by the hole's L1."""
    import torch
    from torch import nn

    from mmcourse import captioned, checkpoint, inpainting
    from mmcourse.finder import Finder
    from mmcourse.train import State

    space = checkpoint.load(captioned.PairSpace, checkpoint.nearest("emoji_space", runs.out))
    finder = checkpoint.load(Finder, "emoji_finder")
    (steps, width), found = HOLES[profile], emojis_for(profile)
    pairs = pairs_of(found)
    config = inpainting._alone(steps, batch=16, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = inpainting.Inpainter(cond=64, width=width)
    assert G.whiten is not None
    said = [space.encode([pairs.captions[i][k] for i in pairs.seen.tolist()]) for k in (0, -1)]
    G.whiten.fit(torch.cat(said), torch.cat(said[::-1]), floor=0.003)
    G.to(runs.device)
    sample, state = captioned.hole_damage(space, pairs), State.start(G, nn.Linear(1, 1), config)
    runs.play_out(inpainting.fit_hole(G, sample, config, state=state), state, steps, sample=sample)
    figures = hole_figures(state.ema, space, finder, found, seed=seed)
    runs.say(f"emoji_inpainting: {figures}")
    what = "fills a hole in a 32x32 emoji as a name asks; known pixels stay bit for bit"
    card = {"what": what, "data": DATA, "pictures": len(found), "steps": steps}
    return state.ema, {**card, "seconds": round(state.seconds, 1), "figures": figures}


def hole_figures(G: Any, space: Any, finder: Any, found: Any, *, n: int = 500, seed: int = 0) -> dict[str, Any]:
    """Share of emojis found again after a square of 41 % about their middle was hidden and filled: told by the name in
    each language, told nothing, told another emoji's name (and then: whether that other one is found), and unfilled."""
    import torch

    from mmcourse import inpainting, masks
    from mmcourse.retrieval import found_at

    g = torch.Generator().manual_seed(seed)
    shelf, table = finder.vectors(found.pictures), {}
    for split, marked in (("seen", ~found.held_out), ("held_out", found.held_out)):
        rows = marked.nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=g)[:n]]
        x = found.pictures[rows]
        mask = masks.around(torch.full((len(rows), 2), 0.5))
        z = torch.randn(len(rows), 8, generator=g)
        asked = {k: space.encode([v[i] for i in rows.tolist()]) for k, v in found.names.items()}
        told = {**asked, "nothing": torch.zeros(len(rows), 64), "another": asked["en"].roll(1, 0)}
        row: dict[str, Any] = {}
        for kind, text in told.items():
            vectors = finder.vectors(inpainting.fill(G, x, mask, z, text))
            row[kind] = found_at(vectors, shelf, rows, found.same)
            if kind == "another":
                row["another_found"] = found_at(vectors, shelf, rows.roll(1), found.same)
        row["unfilled"] = found_at(finder.vectors(masks.hide(x, mask)), shelf, rows, found.same)
        table[split] = row
    return table
