"""Hearing in the cpu profile over seeds: python -m benchmarks.hearing_cpu [SEEDS [TASK ...]]

Tasks: ladder, world, speech, speakers (all, where none is named). ``ladder`` aligns a tower with pictures alone, and
measures the generator's answers as they come, after the mean correction, and after a short tuning onto captions.
``world`` is the cpu recipe: tuned onto captions from the start. ``speech`` trains on 2,700 spoken digits and is asked
about the other 300; ``speakers`` leaves out one of the six speakers at a time. Seconds are those of the training loops
alone.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import torch

from benchmarks.repair_cpu import spread
from mmcourse import checkpoint, hearing, inpainting, metrics, runtime, speech
from mmcourse.course.training import learn_spoken, learn_written, measure_spoken, play_out_fit
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.pictures import labelled
from mmcourse.text2image import Generator, encoder
from mmcourse.train import FitConfig

N = 1000
TASKS = ("ladder", "world", "speech", "speakers")
ALIGN = FitConfig(steps=500)
TUNE = FitConfig(steps=300)
Row = dict[str, Any]


def loaded() -> tuple[Space, Generator, inpainting.Inpainter, Judge, Any]:
    space, G = checkpoint.load(Space, "space"), checkpoint.load(Generator, "text2image")
    filler = checkpoint.load(inpainting.Inpainter, "inpainting_text")
    return space, G, filler, checkpoint.load(Judge, "judge"), encoder(space, vocabulary())


def prepared(encode: Any, G: Generator, filler: inpainting.Inpainter, seed: int) -> Any:
    measures = [m for m in (G.whiten, filler.whiten) if m is not None]
    return hearing.prepare(encode, measures, hearing.PROFILES["cpu"], seed=seed)


def ladder(seed: int) -> Row:
    space, G, filler, judge, encode = loaded()
    tower, pool, loss, _ = prepared(encode, G, filler, seed)
    exams = {
        split: hearing.SoundPool(encode, N, seed=90_000 + seed, split=name)
        for split, name in (("seen", "train"), ("held_out", "held_out"))
    }
    z = torch.randn(N, G.hparams["z"], generator=runtime.generator(seed))

    @torch.no_grad()
    def answers(step: str, table: Row) -> None:
        for split, exam in exams.items():
            heard = torch.cat([tower.eval()(part) for part in exam.spectra.split(250)])
            asked = {step: heard}
            if step == "plug_in":
                asked |= {"corrected": hearing.corrected(heard, heard.mean(0), exam.text.mean(0)), "text": exam.text}
            for name, vectors in asked.items():
                drawn = torch.cat([G(a, b) for a, b in zip(z.split(250), vectors.split(250), strict=True)])
                found = metrics.caption_accuracy(judge, drawn, exam.statements)
                table.setdefault(split, {})[name] = found["all"]

    row: Row = {"seed": seed, "seconds": {}}
    answers("untrained", row)
    aligned = play_out_fit("align", tower, hearing.align_loss(space, pool), replace(ALIGN, seed=seed), print)
    answers("plug_in", row)
    tuned = play_out_fit("tune", tower, loss, replace(TUNE, seed=seed), print)
    answers("tuned", row)
    return {**row, "seconds": {"align": round(aligned, 1), "tune": round(tuned, 1)}}


def world(seed: int) -> Row:
    _, G, filler, judge, encode = loaded()
    tower, _, loss, config = prepared(encode, G, filler, seed)
    seconds = play_out_fit("world", tower, loss, config, print)
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        **metrics.measure_hearing(tower, G, judge, encode, n=N, seed=seed),
        "holes": metrics.measure_heard_holes(tower, filler, judge, encode, n=N, seed=seed),
    }


def spoken(seed: int, train: speech.Clips, test: speech.Clips) -> Row:
    recipe, written = hearing.SPEECH["cpu"], labelled("mnist", fall_back=False)
    space, first = learn_written(recipe, written, seed, print)
    second = learn_spoken(recipe, space, train, written, seed, print)
    return {
        "seed": seed,
        "seconds": {"written": round(first, 1), "spoken": round(second, 1)},
        **measure_spoken(space, test, seed=seed),
    }


def main(seeds: int, tasks: list[str]) -> None:
    for task in tasks:
        name = f"hearing_{task}_cpu"
        table: Row = {"what": f"sound, {task}, cpu profile", "threads": torch.get_num_threads()}
        table["command"] = f"python -m benchmarks.hearing_cpu {seeds} {task}"
        recipe = hearing.SPEECH["cpu"] if task in ("speech", "speakers") else hearing.PROFILES["cpu"]
        table["recipe"] = recipe.describe()
        rows: list[Row] = []
        for k in range(len(speech.SPEAKERS) if task == "speakers" else seeds):
            if task == "speakers":
                train, test = speech.leave_out(speech.spoken_digits("all"), k)
                rows.append({"speaker": speech.SPEAKERS[k], **spoken(0, train, test)})
            elif task == "speech":
                rows.append(spoken(k, speech.spoken_digits("train"), speech.spoken_digits("test")))
            else:
                rows.append({"ladder": ladder, "world": world}[task](k))
            print(task, rows[-1], flush=True)
            table |= {"summary": spread(rows), "rows": rows}
            runtime.write_results(name, table)  # after each row, so that a stop keeps the others
        print("wrote", runtime.write_results(name, table))


if __name__ == "__main__":
    chosen = sys.argv[2:] or list(TASKS)
    if (sys.argv[1:] and not sys.argv[1].isdigit()) or not set(chosen) <= set(TASKS):
        sys.exit(f"usage: python -m benchmarks.hearing_cpu [SEEDS [{' | '.join(TASKS)} ...]]")
    main(int(sys.argv[1]) if sys.argv[1:] else 3, chosen)
