"""The command line: mmcourse doctor | build | book | release | grade | generate | inpaint | train | measure |
export | demo.

Importing this module imports no torch, so that `mmcourse --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmcourse import __version__
from mmcourse.runtime import PROFILES


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a check failed, 2 bad input, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        # every error of ours says what was expected, what came and what to do; a traceback would hide it
        if args.debug:
            raise
        print(f"mmcourse {args.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmcourse",
        description="A hands-on course on generating and repairing pictures from text, pictures and sound.",
    )
    parser.add_argument("--version", action="version", version=f"mmcourse {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    p = commands.add_parser("doctor", help="say what this machine can do, and what to do about what is missing")
    p.set_defaults(run=_doctor)

    p = commands.add_parser("build", help="build the notebooks and exercises from their sources")
    p.add_argument("--check", action="store_true", help="write nothing; name every stale or faulty notebook")
    p.set_defaults(run=_build)

    p = commands.add_parser("book", help="render the book: executed lessons, pages that answer")
    p.add_argument("--profile", choices=PROFILES, default="quick", help="in which the lessons are executed (quick)")
    p.add_argument("--repository", metavar="URL", help="published repository, for launch buttons (MMCOURSE_REPOSITORY)")
    p.set_defaults(run=_book)

    p = commands.add_parser("release", help="write the student version of an assignment, without any solution")
    p.add_argument("name", metavar="NAME", help="the assignment, such as 09_text2image")
    p.add_argument("--out", type=Path, required=True, help="folder to write the notebook and its checks to")
    p.set_defaults(run=_release)

    p = commands.add_parser("grade", help="grade a folder of submissions: gradebook, feedback pages, class report")
    p.add_argument("submissions", type=Path, help="a folder with a notebook, or a folder, per student")
    p.add_argument("--assignment", required=True, metavar="NAME", help="such as 09_text2image")
    p.add_argument("--out", type=Path, required=True, help="folder of the results; run again to go on where it was")
    p.add_argument("--jobs", type=_whole(1, 256), help="how many at a time (default: one a core)")
    p.add_argument("--only", action="append", default=[], metavar="STUDENT", help="this student alone; may be repeated")
    p.add_argument("--regrade", action="store_true", help="grade anew what has been graded")
    p.add_argument("--seed-file", type=Path, metavar="FILE", help="the secret (default: made once, in OUT/.secret)")
    p.add_argument(
        "--format",
        choices=["csv", "canvas", "moodle", "gradescope"],
        default="csv",
        help="write the scores in this format too, beside gradebook.csv",
    )
    p.add_argument("--scheduler", metavar="ADDRESS", help="grade on a Dask cluster, such as tcp://10.0.0.1:8786")
    p.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run students' code with your own rights where no sandbox can be built; every page will state it",
    )
    p.set_defaults(run=_grade)

    p = commands.add_parser("generate", help="draw what a sentence says")
    p.add_argument("prompt", help='such as "a small red circle left of a large blue square", or in Chinese')
    p.add_argument("--count", type=_whole(1, 256), default=8, help="how many pictures, 1 to 256 (default 8)")
    p.add_argument("--seed", type=int, default=0, help="the same seed draws the same pictures (default 0)")
    p.add_argument("--out", type=Path, default=Path("grid.png"), help="the picture file to write (default grid.png)")
    p.set_defaults(run=_generate)

    p = commands.add_parser(
        "inpaint",
        help="repair a picture file, or fill its hole as a sentence asks",
        description="Fill the white parts of a mask in a picture of any size. Pixels outside the mask stay as they "
        "are, bit for bit; so does the alpha. PNG, JPEG, TIFF, WebP, BMP and GIF are read.",
    )
    p.add_argument("picture", type=Path, help="the picture file; it is turned upright as its EXIF says")
    p.add_argument(
        "--mask",
        type=Path,
        required=True,
        help="a picture of the same (upright) size: white, 128 or more of 255, is the hole. A mask with transparency "
        "is laid over black first: what is transparent is kept",
    )
    p.add_argument("--text", help='what to draw in the hole, such as "a small red circle" (the course\'s world only)')
    p.add_argument("--seed", type=_whole(0, 2**32), default=0, help="the same seed gives the same fill (default 0)")
    p.add_argument(
        "--out", type=Path, help="the .png, .tif or .jpg file to write (default PICTURE_repaired.png, in this folder)"
    )
    p.add_argument(
        "--count",
        type=_whole(1, 64),
        default=1,
        help="how many repaired pictures, 1 to 64 (default 1); the k-th, NAME-k, uses seed + k - 1",
    )
    p.set_defaults(run=_inpaint)

    p = commands.add_parser("train", help="train a model and write its checkpoint and card")
    p.add_argument(
        "name",
        metavar="NAME",
        help="judge, features, gan, cgan, outline2picture, space, text2image, inpainting, inpainting_photographs, "
        "inpainting_text, hearing, hearing_digits, emoji_finder, emoji_space, emoji, emoji_inpainting; or all, in this "
        "order: what is finished in --out is skipped, what was begun goes on",
    )
    p.add_argument(
        "--profile",
        choices=["auto", *PROFILES, "shipped"],
        default="auto",
        help="sizes and steps (default auto); shipped: those of the models that come with the course",
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("runs"), help="folder of the checkpoint (default runs/)")
    p.add_argument("--resume", action="store_true", help="go on with an interrupted run in that folder")
    p.add_argument(
        "--log",
        "--tensorboard",  # torchrun takes --log for an option of its own
        type=Path,
        metavar="DIR",
        help="write a TensorBoard log (pip install 'mmcourse[log]'); under torchrun say --tensorboard",
    )
    p.set_defaults(run=_train)

    p = commands.add_parser("measure", help="measure a checkpoint anew and renew its card")
    p.add_argument("folder", type=Path, help="the checkpoint's folder, such as checkpoints/")
    p.add_argument("name", metavar="NAME", nargs="?", default="text2image", help="or inpainting_text, hearing or emoji")
    p.set_defaults(run=_measure)

    p = commands.add_parser("export", help="write a model as an ONNX file, or put it onto the book's pages")
    p.add_argument(
        "name",
        metavar="NAME",
        help="text, text2image, inpainting, inpainting_text, hearing, mel (waves to spectrograms), vocabulary (words "
        "and ids as JSON) or all",
    )
    p.add_argument("--checkpoints", type=Path, metavar="DIR", help="folder of your checkpoints (default: the shipped)")
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder to write NAME.onnx to")
    where.add_argument("--into", type=Path, metavar="BOOK", help="the book's folder, or rendered pages")
    p.set_defaults(run=_export)

    p = commands.add_parser("demo", help="draw a sheet of prompts, measure caption accuracy, execute a lesson")
    p.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write to (default out/demo)")
    p.add_argument("--no-lesson", action="store_true", help="leave the lesson out")
    p.set_defaults(run=_demo)
    return parser


def _whole(low: int, high: int):  # type: ignore[no-untyped-def]
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {value}")
        return value

    return convert


def _doctor(args: argparse.Namespace) -> int:
    from mmcourse.course.doctor import report

    no_sandbox = None
    if sys.platform.startswith("linux"):  # the sandbox's module is for Linux alone
        from mmcourse.course.sandbox import why_not

        no_sandbox = why_not()
    lines, healthy = report(no_sandbox)
    print("\n".join(lines))
    return 0 if healthy else 1


def _book(args: argparse.Namespace) -> int:
    import time

    from mmcourse.course.book import make_book
    from mmcourse.runtime import find_root

    root, began = find_root(), time.perf_counter()
    if root is None:
        raise ValueError("there is no book here; run this inside a clone of the repository.")
    pages = make_book(root, repository=args.repository, profile=args.profile).relative_to(root)
    print(f"the book is {pages / 'index.html'}, made in {time.perf_counter() - began:.0f} s")
    print(f"its live pages need an address that begins with http: python -m http.server --directory {pages}")
    return 0


def _build(args: argparse.Namespace) -> int:
    from mmcourse.course import build, release
    from mmcourse.runtime import find_root

    root = find_root()
    if root is None:
        raise ValueError("there are no notebook sources here; run this inside a clone of the repository.")
    if args.check:
        problems = build.check(root) + release.check_exercises(root)
        print("\n".join(problems) if problems else "all notebooks are up to date")
        return 1 if problems else 0
    written = build.build(root) + release.build_exercises(root)
    print("\n".join(f"wrote {p.relative_to(root)}" for p in written) if written else "all notebooks were up to date")
    return 0


def _release(args: argparse.Namespace) -> int:
    from mmcourse.course.release import release

    for path in release(args.name, args.out):
        print(f"wrote {path}")
    return 0


def _grade(args: argparse.Namespace) -> int:
    from mmcourse.course.grade import grade

    summary = grade(
        args.submissions,
        args.assignment,
        args.out,
        jobs=args.jobs,
        seed_file=args.seed_file,
        only=args.only,
        regrade=args.regrade,
        unsafe=args.unsafe_no_sandbox,
        scheduler=args.scheduler,
        format=args.format,
    )
    print("\n".join(summary.lines))
    return 130 if summary.interrupted else 0


def _generate(args: argparse.Namespace) -> int:
    from PIL import Image

    suffix = args.out.suffix.lower()
    if suffix not in Image.registered_extensions():
        raise ValueError(f"--out: expected a picture file such as grid.png, got {str(args.out)!r}.")
    if not args.out.parent.is_dir():
        raise ValueError(f"--out: the folder {str(args.out.parent)!r} does not exist; make it first.")
    import torch

    from mmcourse import plots, world
    from mmcourse.course.shipped import load_painter

    painter = load_painter()
    pictures = painter.draw([args.prompt] * args.count, torch.Generator().manual_seed(args.seed))
    try:
        world.parse(args.prompt)
    except world.CaptionError as error:
        print(f"note: the words are known but the sentence is not of the world's grammar. {error}", file=sys.stderr)
    plots.grid(pictures, columns=min(8, args.count), title=args.prompt, path=args.out)
    print(f"wrote {args.out}: {args.count} pictures of {args.prompt!r}, seed {args.seed}")
    return 0


def _inpaint(args: argparse.Namespace) -> int:
    from mmcourse.course import repair

    line, notes = repair.run(args.picture, args.mask, text=args.text, seed=args.seed, out=args.out, count=args.count)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(line)
    return 0


def _train(args: argparse.Namespace) -> int:
    from mmcourse.runtime import pick_profile

    profile = args.profile if args.profile == "shipped" else pick_profile(args.profile)
    if args.name != "all":
        from mmcourse.course.training import train

        train(args.name, profile=profile, seed=args.seed, out=args.out, resume=args.resume, log=args.log)
        return 0
    from mmcourse.course.training_all import summary, train_all

    rows = train_all(profile=profile, seed=args.seed, out=args.out, log=args.log)
    print("\n".join(summary(rows)))
    return 1 if any("MISSING" in row.said for row in rows) else 0


def _measure(args: argparse.Namespace) -> int:
    from mmcourse.course.training import measure_again

    print(f"wrote {measure_again(args.folder, args.name)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from mmcourse import export
    from mmcourse.checks import expect_one_of

    every = [*export.MODELS, "vocabulary"]
    expect_one_of(args.name, [*every, "all"], name="NAME")
    folder: Path | None = args.checkpoints
    if folder is not None and not folder.is_dir():
        raise ValueError(f"--checkpoints: expected a folder, got {str(folder)!r}.")
    names = every if args.name == "all" else [args.name]
    if args.name == "all" and folder is not None:  # what is there; the rest is nobody's mistake
        made_of = {name: export.MODELS[name].checkpoint for name in export.MODELS}
        names = [n for n, c in made_of.items() if c and (folder / f"{c}.safetensors").is_file()]
        if not names:
            wanted = ", ".join(dict.fromkeys(c for c in made_of.values() if c))
            raise ValueError(f"--checkpoints: expected checkpoints among {wanted} in {str(folder)!r}, found none.")
    if args.into is not None:
        from mmcourse.course import live

        chosen = [n for n in names if n in live.MODELS] if args.name == "all" else names
        for path in live.put_in(chosen, args.into, checkpoints=folder):
            print(f"wrote {path}")
        return 0
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out: expected a folder, got the file {str(args.out)!r}.")
    for name in names:
        if name == "vocabulary":
            print(f"wrote {export.vocabulary_json(args.out / 'vocabulary.json')}")
            continue
        path = export.export(name, args.out / f"{name}.onnx", folder=folder)
        off = export.describe(path)["parity"]
        print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, differs from torch by at most {off}", flush=True)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from mmcourse.course.demo import run_demo

    print(run_demo(args.out, lesson=not args.no_lesson))
    return 0


if __name__ == "__main__":
    sys.exit(main())
