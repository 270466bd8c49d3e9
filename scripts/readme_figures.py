"""Write the README's table of figures from results/ and the cards: python scripts/readme_figures.py [--check]"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- figures: made by scripts/readme_figures.py -->", "<!-- end of figures -->"


def read(path: str) -> dict[str, Any]:
    """A JSON file of the repository, or an empty dict where it is not there yet."""
    file = ROOT / path
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def spread(row: dict[str, float]) -> str:
    return f"{percent(row['median'])} ({percent(row['low'])} to {percent(row['high'])})"


def number(row: dict[str, float]) -> str:
    return f"{row['median']:.1f} ({row['low']:.1f} to {row['high']:.1f})"


def first_half() -> list[tuple[str, str, str]]:
    """Lessons 01 to 07."""
    out = []
    ring = read("results/ring.json").get("runs", {})
    for name in ("non-saturating", "sick", "sick, cured by lr_d 1e-3", "sick, cured by relativistic, r1+r2"):
        if name in ring:
            over, seeds = ring[name]["over_seeds"], len(ring[name]["seeds"])
            modes, good = over["modes"], over["good"]
            what = f"{modes['median']:g} of 8 modes ({modes['least']} to {modes['most']})"
            share = f"{percent(good['median'])} good ({percent(good['least'])} to {percent(good['most'])})"
            how = f"{seeds} seeds, {ring[name]['settings']['steps']} rounds, {over['seconds']['median']:.0f} s"
            out.append((f"the ring, {name}", f"{what}, {share}", how))
    gan = read("results/gan_cpu.json")
    if gan:
        summary, seeds = gan["summary"], len(gan["seeds"])
        what = f"{number(summary['frechet'])}, {summary['of_floor']['median']:.1f} times its floor"
        more = f"{100 * summary['of_untrained']['median']:.1f} % of the untrained"
        cover = f"coverage {summary['coverage']['median']:.2f}, of real pictures"
        cover = f"{cover} {summary['coverage_of_training_pictures']['median']:.2f}"
        how = f"{seeds} seeds, {gan['seeds'][0]['steps']} steps, {summary['seconds']['median']:.0f} s"
        label = "an image GAN on MNIST, `cpu` profile: Frechet distance"
        out.append((label, f"{what}, {more}; {cover}", how))
    else:
        out.append(("an image GAN on MNIST, `cpu` profile", "not yet measured", ""))
    return out + labels_half() + pairs_half()


def ends(row: dict[str, float]) -> str:
    return f"{percent(row['median'])} ({percent(row['least'])} to {percent(row['most'])})"


def labels_half() -> list[tuple[str, str, str]]:
    """Lesson 06."""
    parts, out = read("results/cgan_cpu.json").get("parts", {}), []
    label = "a class-conditional GAN on MNIST, `cpu` profile"
    if "ours" not in parts:
        return [(label, "not yet measured", "")]
    over, seeds = parts["ours"]["over_seeds"], parts["ours"]["seeds"]
    real = percent(seeds[0]["figures"]["accuracy_of_test_pictures"])
    what = f"read as asked {ends(over['accuracy'])}, real pictures {real}"
    if "shuffled" in parts:
        what += f", shuffled labels {percent(parts['shuffled']['figures']['accuracy'])}"
    how = f"{len(seeds)} seeds, {seeds[0]['steps']} steps, {over['seconds']['median']:.0f} s"
    out.append((label, what, how))
    floor = over["frechet_over_floor"]
    what = f"Frechet distance {floor['median']:.1f} times its floor ({floor['least']:.1f} to {floor['most']:.1f})"
    out.append(("the same", f"{what}, coverage {over['coverage']['median']:.2f}", ""))
    if "peer" in parts:
        rows = parts["peer"]["seeds"]
        sooner = sorted(row["peer_over_ours"] for row in rows if row["peer_over_ours"])
        reached = sorted(row["peer_accuracy"] for row in rows)
        what = f"its accuracy after {parts['peer']['seconds']:.0f} s, {percent(reached[0])} to {percent(reached[-1])}, "
        what += f"reached {sooner[0]:.0f} to {sooner[-1]:.0f} times sooner"
        out.append(("the same beside PyTorch-GAN's, in turns", what, f"{len(rows)} seeds"))
    out.append(("the same on Fashion-MNIST", "not yet measured", ""))
    return out


def pairs_half() -> list[tuple[str, str, str]]:
    """Lesson 07."""
    out, tasks = [], read("results/image2image_cpu.json").get("tasks", {})
    for task, title in (
        ("world-outline", "drawing to picture, the world"),
        ("world-grey", "grey to colour, the world"),
        ("photographs-grey", "grey to colour, photographs"),
    ):
        if task not in tasks:
            out.append((f"image to image: {title}", "not yet measured", ""))
            continue
        over, seeds = tasks[task]["summary"], tasks[task]["seeds"]
        distance = {kind: f"{over[kind]['l1']['median']:.3f}" for kind in ("L1 and game", "L1 alone", "copy")}
        what = ", ".join(f"{kind} {value}" for kind, value in distance.items())
        colours, edges = (
            {kind: percent(over[f"{name} over the truth's"][kind]["median"]) for kind in ("L1 and game", "L1 alone")}
            for name in ("colours", "edges")
        )
        what = f"L1 distance: {what}; colours of the truth's {colours['L1 and game']}, L1 alone {colours['L1 alone']}; "
        what += f"edges {edges['L1 and game']}, L1 alone {edges['L1 alone']}; mismatch AUC {over['auc']['median']:.2f}"
        out.append((f"image to image: {title}", what, f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"))
    return out


def middle(row: dict[str, float], form: str = ".1f") -> str:
    return f"{row['median']:{form}} ({row['low']:{form}} to {row['high']:{form}})"


def repair_rows() -> list[tuple[str, str, str]]:
    """Lessons 10 and 11."""
    out = []
    for task, title in (("world", "the world"), ("photographs", "photographs")):
        table = read(f"results/repair_{task}_cpu.json")
        if not table:
            out.append((f"repair of {title}, `cpu` profile", "not yet measured", ""))
            continue
        over, seeds = table["summary"], table["seeds"]
        how = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, {over['cpu_seconds']['median']:.0f} s of one core"
        for hole, name in (("box", "a box of 25 %"), ("stroke", "a stroke of 25 %"), ("outpaint", "outpainting")):
            game = over["game"][hole]
            best = max(
                (game[f"{way} psnr"]["median"], way.replace("_", "-"))
                for way in ("telea", "navier_stokes", "biharmonic", "copy_mean")
            )
            gained = sorted(
                row["game"][hole]["psnr"]
                - max(row["game"][hole][f"{w} psnr"] for w in ("telea", "navier_stokes", "biharmonic", "copy_mean"))
                for row in seeds
            )
            what = f"{middle(game['psnr'])} dB in the hole, {gained[0]:+.1f} to {gained[-1]:+.1f} dB beside {best[1]}; "
            what += f"L1 alone {over['alone'][hole]['psnr']['median']:.1f} dB; seam {middle(game['seam'], '.2f')}"
            out.append((f"repair of {title}, `cpu` profile: {name}", what, how))
        if "thing" in over["game"]:
            spread_ = middle(over["game"]["thing"]["spread"], ".2f")
            what = f"fills of one hole differ by {spread_}, L1 alone {over['alone']['thing']['spread']['median']:.2f}"
            out.append((f"repair of {title}: a thing hidden whole", what, ""))
    stems = read("results/repair_stems_cpu.json")
    if stems:
        over = stems["summary"]
        what = "; ".join(
            f"{stem} {over[stem]['box']['median']:.1f} / {over[stem]['stroke']['median']:.1f} / "
            f"{over[stem]['outpaint']['median']:.1f} dB"
            for stem in ("plain", "gated", "partial")
        )
        label = "the first layer, 600 steps by L1 alone: box / stroke / outpainting"
        out.append((label, what, f"{len(stems['seeds'])} seeds"))
    table = read("results/repair_guided_cpu.json")
    card = read("checkpoints/inpainting_text.json").get("figures", {})
    if not table:
        out.append(("a hole filled as a sentence asks, `cpu` profile", "not yet measured", ""))
    else:
        over = table["summary"]["model"]
        seen, held = over["seen"], over["held_out"]
        what = f"{spread(seen['right'])} seen, {spread(held['right'])} held out; caption swapped by one fact "
        what += f"{spread(seen['swapped'])}; no text {percent(seen['no_text']['median'])}; "
        what += f"seam {middle(seen['seam'], '.2f')}"
        how = f"{len(table['seeds'])} seeds, {table['summary']['cpu_seconds']['median']:.0f} s of one core"
        out.append(("a hole filled as a sentence asks, `cpu` profile", what, how))
    if card:
        seen, held = card["seen"], card["held_out"]
        what = (
            f"{percent(seen['right'])} seen, {percent(held['right'])} held out; swapped {percent(seen['swapped'])} and "
        )
        what += f"{percent(held['swapped'])}; no text {percent(seen['no_text'])}; told by the whole caption "
        what += f"{percent(seen['whole'])}"
        out.append(("the same, the shipped model", what, f"n = {seen['n']:,} each"))
    return out


def hearing_rows() -> list[tuple[str, str, str]]:
    """Lesson 12."""
    out = []
    table = read("results/hearing_ladder_cpu.json")
    if table:
        over, parts = table["summary"], []
        for step, name in (
            ("plug_in", "aligned with pictures alone"),
            ("corrected", "mean corrected"),
            ("tuned", "tuned onto captions"),
            ("text", "asked by caption"),
        ):
            parts.append(
                f"{name} {percent(over['seen'][step]['median'])} / {percent(over['held_out'][step]['median'])}"
            )
        seconds = over["seconds"]
        how = f"{len(table['rows'])} seeds, {seconds['align']['median']:.0f} s and {seconds['tune']['median']:.0f} s"
        out.append(("drawn from the world's sounds, seen / held out", "; ".join(parts), how))
    table = read("results/hearing_world_cpu.json")
    label = "the same, tuned from the start, `cpu` profile"
    if table:
        over = table["summary"]
        told = "; ".join(
            f"{spread(over[k]['sound']['all'])} {name}, by caption {percent(over[k]['text']['all']['median'])}"
            for k, name in (("seen", "seen"), ("held_out", "held out"))
        )
        blank = max(over["seen"][k]["all"]["median"] for k in ("silence", "noise"))
        chance = over["seen"]["chance"]["all"]["median"]
        what = f"{told}; silence and noise at most {percent(blank)}, chance {percent(chance)}"
        out.append((label, what, f"{len(table['rows'])} seeds, {over['seconds']['median']:.0f} s"))
        parts = over["seen"]["parts"]
        shares = {k: percent(v["all"]["median"]) for k, v in parts.items()}
        what = f"a caption alone {shares['text']}, a sound alone {shares['sound']}, both {shares['both']}; "
        what += f"where each tells all: caption {shares['whole_text']}, sound {shares['whole_sound']}, "
        what += f"both {shares['whole_both']}"
        out.append(("facts shared out between a caption and a sound", what, "seen compositions"))
        holes = over["holes"]
        what = "; ".join(
            f"{name} {spread(holes[k]['sound'])}, by caption {percent(holes[k]['text']['median'])}"
            for k, name in (("seen", "seen"), ("held_out", "held out"))
        )
        out.append(("a hole filled as a sound asks", what, ""))
    else:
        out.append((label, "not yet measured", ""))
    table, unseen = read("results/hearing_speech_cpu.json"), read("results/hearing_speakers_cpu.json")
    if table and unseen:
        over = table["summary"]
        what = f"new takes of known voices {spread(over['drawn'])}, an unseen voice "
        what += f"{spread(unseen['summary']['drawn'])}; silence {percent(over['silence']['median'])}"
        seconds = over["seconds"]
        how = f"{len(table['rows'])} seeds, {seconds['written']['median'] + seconds['spoken']['median']:.0f} s; "
        out.append(("spoken digit to handwritten digit, `cpu` profile", what, how + f"{len(unseen['rows'])} speakers"))
    else:
        out.append(("spoken digit to handwritten digit, `cpu` profile", "not yet measured", ""))
    card = read("checkpoints/hearing.json").get("figures", {})
    if card:
        what = "; ".join(
            f"{percent(card[k]['sound']['all'])} {name}, by caption {percent(card[k]['text']['all'])}"
            for k, name in (("seen", "seen"), ("held_out", "held out"))
        )
        out.append(("the shipped ear", what, f"n = {card['seen']['sound']['n']:,} each"))
    return out


def book_rows() -> list[tuple[str, str, str]]:
    """What making the book costs, and how fast its pages answer."""
    table = read("results/book_pages.json")
    if not table:
        return []
    made, first, drawn = table["make_book_seconds"], table["first_picture_seconds"], table["new_sentence"]
    slowest = max(row["median"] for row in first.values())
    sentence, fills, heard = (
        table["new_sentence"]["ms"],
        table["four_fills_ms"],
        table["six_pictures_of_a_sound_ms"],
    )
    return [
        (
            "`make book`, two cores",
            f"{made['cold'] / 60:.1f} min cold, {made['warm']:.0f} s warm",
            f"all lessons in `quick`; models and runtime of a page at most {max(table['megabytes'].values()):.1f} MB",
        ),
        (
            "the book's pages: first picture",
            f"{slowest:.1f} s after opening (the slowest page's median)",
            "headless Chromium, local server, one thread",
        ),
        (
            "the same: an answer",
            f"a new sentence {sentence['median']:.0f} ms (to {sentence['high']:.0f}), "
            f"four fills {fills['median']:.0f} ms, six pictures of a sound {heard['median']:.0f} ms",
            f"read right from the page's pixels: {percent(drawn['right'])} of {drawn['n']} seen captions",
        ),
    ]


def emoji_rows() -> list[tuple[str, str, str]]:
    """Captioned pictures: the shipped model by its card, the cpu profile by its table."""
    out: list[tuple[str, str, str]] = []
    small = read("results/emoji_cpu.json")
    if small:
        found = small["summary"]
        for name, words in (("after_warm_up", "after the warm-up"), ("game", "after the game")):
            told = [
                f"{split}: English {ends_of(row['en']['r1'])}, Chinese {ends_of(row['zh']['r1'])}"
                for split, row in (("seen", found[name]["seen"]), ("held out", found[name]["held_out"]))
            ]
            spent = found["seconds"]["space and warm-up"] + (found["seconds"]["game"] if name == "game" else 0)
            what = f"{small['pictures']} emojis, `cpu` profile, {words}: R@1"
            out.append((what, "; ".join(told), f"{len(small['runs'])} seeds, {spent:.0f} s on 1 thread"))
    card = read("checkpoints/emoji.json")
    if card:
        seen, held = card["figures"]["seen"], card["figures"]["held_out"]
        told = [
            f"{split}: English {percent(row['en']['model']['r1'])}, Chinese {percent(row['zh']['model']['r1'])}"
            for split, row in (("seen", seen), ("held out", held))
        ]
        copied = [percent(row["en"]["model"]["near_copies"]["share"]) for row in (seen, held)]
        how = f"R@5 {percent(seen['en']['model']['r5'])} and {percent(held['en']['model']['r5'])}; no text 0.0 %"
        out.append((f"{card['pictures']:,} emojis, the shipped model: R@1", "; ".join(told), how))
        times = seen["en"]["model"]["frechet"] / seen["frechet_floor"]
        told_copies = (
            f"near-copies of training pictures: {copied[0]} seen, {copied[1]} held out; Frechet distance in the "
        )
        told_copies += f"finder's features {times:.2f} times its floor"
        out.append(("the same", told_copies, f"n = {seen['en']['model']['n']} and {held['en']['model']['n']}"))
    holes = read("checkpoints/emoji_inpainting.json")
    if holes:
        told = []
        for split, row in (("seen", holes["figures"]["seen"]), ("held out", holes["figures"]["held_out"])):
            named = [percent(row[k]["r1"]) for k in ("en", "zh", "nothing", "another")]
            told.append(f"{split}: {named[0]} and {named[1]}, told nothing {named[2]}, told another name {named[3]}")
        what = "an emoji's middle filled as its name asks (English, Chinese): R@1"
        out.append((what, "; ".join(told), "a hole of 41 %, by L1 alone"))
    return out


def beside_rows() -> list[tuple[str, str, str]]:
    """Ours beside well-known recipes: speed at equal operations, quality over seconds."""
    parts, out = read("results/beside_peers_cpu.json").get("parts", {}), []
    names = {"cgan": "PyTorch-GAN's cgan", "dcgan": "PyTorch-GAN's dcgan", "df-gan": "DF-GAN"}
    for name in names:  # on two threads where that is measured, else on one
        rows = [parts.get(f"throughput, {n}", {}) for n in ("2 threads", "1 thread")]
        speed = next((part for part in rows if name in part.get("peers", {})), None)
        if speed is None:
            continue
        row = speed["peers"][name]
        ours = row["rows"]["ours, readable"]
        best = next(k for k in ("peer, at its best in float32", "peer, at its best") if k in row["rows"])
        what = f"{times(ours[f'times the {best}'])} the images a second of its best in float32, "
        what += f"{times(ours['times the peer, as shipped'])} as shipped"
        if row["tricks"]["bf16"]:
            what += f"; both in bf16 {times(row['rows']['ours, bf16']['times the peer, at its best'])}"
        how = f"{speed['rounds']} rounds in turns, batch {row['batch']}, "
        out.append((f"ours beside {names[name]}, at equal operations a picture", what, how + threads(speed)))
    found = parts.get("quality, 2 threads") or parts.get("quality, 1 thread", {})
    labels = {"text": "text to image of one thing beside DF-GAN", "digits": "digits beside PyTorch-GAN's dcgan"}
    for part, label in labels.items():
        seeds = found.get(part, [])
        if not seeds:
            continue
        last = [row["curves"]["ours"][-1] for row in seeds]
        name, form = ("seen", percent) if part == "text" else ("frechet", "{:.0f}".format)
        ends, bests = sorted(row[name] for row in last), sorted(row["peers_best"] for row in seeds)
        spent = sorted(row["seconds"] for row in last)
        what = "caption accuracy" if part == "text" else "Frechet distance"
        what += f" {between(ends, form)} at the end of ours, {between(spent, '{:.0f}'.format)} s; its best within "
        what += f"{found['seconds']:.0f} s, {between(bests, form)}, "
        soon = sorted(row["ours_at_peers_best"] for row in seeds if row["ours_at_peers_best"] is not None)
        if len(soon) < len(seeds):
            what += f"reached by ours in {len(soon)} of {len(seeds)} runs"
        else:
            what += f"reached by ours within {between(soon, '{:.0f}'.format)} s"
        how = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, each at its own sizes, {threads(found)}"
        out.append((f"{label}, in turns", what, how))
    return out


def between(values: list[float], form: Callable[[float], str]) -> str:
    """The least and the most, or the only one."""
    return form(values[0]) + (f" to {form(values[-1])}" if len(values) > 1 else "")


def times(row: dict[str, float]) -> str:
    return f"{row['median']:.2f} times ({row['least']:.2f} to {row['most']:.2f})"


def threads(table: dict[str, Any]) -> str:
    n = table["machine"]["threads"]
    return f"{n} thread" + ("s" if n > 1 else "")


def ends_of(row: dict[str, float]) -> str:
    return f"{percent(row['median'])} ({percent(row['low'])} to {percent(row['high'])})"


def rows() -> list[tuple[str, str, str]]:
    out = first_half()
    titles = {"one": "one thing", "large": "one thing at 64x64 pixels", "two": "two things and their relation"}
    for which, title in titles.items():
        table = read(f"results/text2image_{which}_cpu.json")
        label = f"text to image, {title}, `cpu` profile"
        if not table:
            out.append((label, "not yet measured", ""))
            continue
        summary, seeds = table["summary"], len(table["seeds"])
        seen, held = (spread(summary[s]["model"]["all"]) for s in ("seen", "held_out"))
        blank = percent(summary["seen"]["no_text"]["median"])
        threads = f"{table['threads']} thread" + ("s" if table["threads"] > 1 else "")
        how = f"{seeds} seed{'s' if seeds > 1 else ''}, {table['seeds'][0]['steps']} steps, {summary['seconds']:.0f} s"
        out.append((label, f"{seen} seen, {held} held out, {blank} without text", f"{how} on {threads}"))
    card = read("checkpoints/text2image.json")
    figures = card.get("figures", {})
    if figures:
        shares = {k: percent(figures[k]["model"]["all"]) for k in ("seen", "held_out")}
        blank = percent(figures["seen"]["no_text"]["all"])
        what = f"{shares['seen']} seen, {shares['held_out']} held out, {blank} without text"
        out.append(
            ("the shipped model, one and two things", what, f"{card['steps']} steps, {card['seconds'] / 60:.0f} min")
        )
    if "openness" in figures:
        chosen = figures["openness"]
        what = f"place {chosen['place']:.2f}, size {chosen['size']:.2f}"
        out.append(("the same: entropy of what captions leave open", what, "0: always the same; 1: all alike"))
    space = read("results/space_cpu.json")
    if space:
        median = space["median"]
        what = (
            f"recall@1 {median['held_out_picture_to_text_of_500']:.2f}, binding {median['held_out_binding_of_500']:.2f}"
        )
        out.append(("shared space, `cpu` profile, 500 held-out captions", what, f"{median['seconds']:.0f} s"))
    else:
        out.append(("shared space, `cpu` profile", "not yet measured", ""))
    judge = read("checkpoints/judge.json").get("figures", {})
    if judge:
        what = f"{percent(judge['train'])} seen, {percent(judge['held_out'])} held-out pairs"
        out.append(("the judge, fresh drawings read all right", what, "n = 10,000 each"))
    speed = read("results/world_speed.json")
    if speed:
        best = max(speed["by_batch"].values(), key=lambda row: row["median"])
        what = f"{best['median']:,} pictures a second"
        out.append(("the world, 32x32, best batch size", what, f"{speed['threads']} threads"))
    beside = read("results/grading_throughput.json")
    if beside:
        times, seconds = beside["times_nbgraders_throughput"]["by_medians"], beside["median_seconds"]["mmcourse"]
        what = f"{times:.1f} times nbgrader's throughput, sandbox and cold start included"
        out.append(("grading a class of 30, two cores", what, f"{seconds:.0f} s"))
    odd = read("results/grading_corpus.json")
    if odd:
        ours, theirs = odd["verdicts"]["ours"], odd["verdicts"]["nbgrader"]
        n = len(odd["cases"])
        what = f"{ours.get('as it should be', 0)} as they should be, {ours.get('above', 0)} above the honest score"
        other = f"nbgrader: {theirs.get('as it should be', 0)} and {theirs.get('above', 0)}"
        out.append((f"{n} odd and hostile submissions", what, other))
    large = read("results/grading_large_class.json")
    if large:
        same = "the same gradebook" if large["same_gradebook"] else "another gradebook"
        what = f"{same} after {large['kills']} kills; parent at most {large['parent_highest_mb']:.0f} MB"
        out.append((f"a class of {large['students']:,}", what, f"{large['seconds']['whole'] / 60:.0f} min"))
    out += repair_rows() + hearing_rows() + emoji_rows() + book_rows() + beside_rows()
    out.append(("everything on a GPU", "not yet measured", ""))
    return out


def block() -> str:
    table = ["| what | measured | how |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows())]
    intro = (
        "Median and range over seeds. Captions: n = 1,000 a seed, and all attributes that one states must be right. "
        "Digits: 10,000 pictures a seed.\nSeconds are those of training alone, some of them on a busy machine."
    )
    return "\n".join([BEGIN, "", intro, "", *table, "", END])


def main(check: bool) -> int:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    start, end = text.index(BEGIN), text.index(END) + len(END)
    fresh = text[:start] + block() + text[end:]
    if fresh == text:
        return 0
    if check:
        print("README.md: its figures are stale. Run: python scripts/readme_figures.py")
        return 1
    temporary = readme.with_suffix(".tmp")
    temporary.write_text(fresh, encoding="utf-8")
    temporary.replace(readme)
    print("wrote README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
