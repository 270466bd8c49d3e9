"""What the book's live pages read: exported models, words, scenes, sounds; and a learner's own models.

Everything is written as files beside the pages (``assets/models`` of the book). A page asks no server anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mmcourse import __version__
from mmcourse.runtime import write_whole

#: The models that the pages run.
MODELS = ("text", "text2image", "inpainting_text", "hearing", "mel")
#: The checkpoint that each is made of; ``mel`` has none.
CHECKPOINTS = ("space", "text2image", "inpainting_text", "hearing")
SCENES, SOUNDS, SEED = 12, 8, 5
HELP = "A folder of the book has _config.yml, or assets/models once it is rendered."


def write_shipped(root: Path, out: Path, *, sources: list[Path], say: Callable[[str], None] = print) -> None:
    """Write all files of the pages into ``out``, unless nothing that they are made of (the shipped models, ``sources``,
    the exporters' versions) has changed since the last time."""
    digest = hashlib.sha256("".join(metadata.version(p) for p in ("torch", "onnx", "onnxruntime")).encode())
    for path in [*(root / "checkpoints" / f"{name}.safetensors" for name in CHECKPOINTS), *sources]:
        digest.update(path.read_bytes())
    stamp = out / ".digest"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest() and all(_onnx(out, n).is_file() for n in MODELS):
        return
    stamp.unlink(missing_ok=True)
    from mmcourse import export

    for name in MODELS:
        say(f"exporting {name}")
        export.export(name, _onnx(out, name))
    export.vocabulary_json(out / "vocabulary.json")
    for name, value in {
        "swaps": swaps(),
        "scenes": scenes(SCENES),
        "sounds": sounds(SOUNDS),
        "vectors": export.test_vectors(400),
    }.items():
        write_whole(out / f"{name}.json", to_json(value))
    write_whole(stamp, digest.hexdigest().encode())


def _onnx(folder: Path, name: str) -> Path:
    return folder / f"{name}.onnx"


def to_json(value: Any) -> bytes:
    """Readable JSON, the same bytes each time, with a newline at its end."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def files_under(folder: Path) -> Iterator[Path]:
    """The files of a folder and of all below it, in order; none where it is not there."""
    return (p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)


# ---- what the pages show


def swaps() -> list[dict[str, Any]]:
    """Words that can stand in each other's place, for the strip that changes one word of a sentence.

    Each group has a ``kind``, a ``language``, the ``choices`` to put in, and ``forms``: every phrase of the grammar
    that the group knows and the choice that it means.
    """
    from mmcourse import world

    groups: list[tuple[str, str, Mapping[str, tuple[str, ...]]]] = [
        *(("relation" if t is world._EN_SIDE else "place", "en", t) for t in (world._EN_SIDE, world._EN_SPOT)),
        ("relation", "zh", world._ZH_SIDE),
    ]
    for language, words in (("en", world._EN), ("zh", world._ZH)):
        groups += [(kind, language, words[kind]) for kind in ("colour", "shape", "size")]
    return [
        {
            "kind": kind,
            "language": language,
            "choices": [forms[0] for forms in table.values()],
            "forms": {form: forms[0] for forms in table.values() for form in forms},
        }
        for kind, language, table in groups
    ]


def scenes(n: int) -> list[dict[str, Any]]:
    """True pictures of one or two things to paint holes on: ``rgb``, base64 of 32x32 RGB bytes; ``caption`` (English)
    and ``caption_zh``; ``thing``, what thing A is called, and ``hole``, base64 of 32x32 bytes, 1 where it is hidden."""
    import random

    from mmcourse import inpainting, masks, plots, world
    from mmcourse.runtime import generator

    g = generator(SEED)
    found = world.sample_scenes(n, g)
    pictures = plots.to_bytes(world.draw(found))
    holes = masks.around(found.centre[:, 0])
    things = inpainting.thing(found.labels, found.labels.new_zeros(n))
    out = []
    for i in range(n):
        said = {k: world.say(found.labels[i].tolist(), k, random.Random(i), plain=True) for k in ("en", "zh")}
        out.append(
            {
                "caption": said["en"],
                "caption_zh": said["zh"],
                "rgb": _base64(pictures[i].tobytes()),
                "thing": world.say(things[i].tolist(), "en", random.Random(i), plain=True),
                "hole": _base64(holes[i, 0].byte().numpy().tobytes()),
            }
        )
    return out


def sounds(n: int) -> list[dict[str, str]]:
    """The world's sounds: ``wav``, base64 of a stereo WAV file at 8000 Hz; ``caption`` and ``caption_zh``, what each
    says. Half say one thing, half two."""
    import random

    from mmcourse import audio, world
    from mmcourse import sounds as heard
    from mmcourse.runtime import generator

    g, out = generator(SEED), []
    for i in range(n):
        labels = world.sample_labels(1, g, objects=(1 + i % 2,))
        wave = heard.sound(labels, g)[0]
        said = {k: world.say(labels[0].tolist(), k, random.Random(i), plain=True) for k in ("en", "zh")}
        out.append({"wav": _base64(audio.wav_bytes(wave)), "caption": said["en"], "caption_zh": said["zh"]})
    return out


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- a learner's own models


def model_files(shipped: Path, own: Path) -> dict[str, bytes]:
    """What lies under ``assets/models``: the shipped files, a learner's own models in the places of theirs, and
    ``models.json``, which says of each model what it is."""
    files = {p.name: p.read_bytes() for p in files_under(shipped) if not p.name.startswith(".")}
    mine = {p.name: p.read_bytes() for p in files_under(own) if p.suffix == ".onnx"}
    files |= mine
    files["models.json"] = manifest(files, own=set(mine))
    return files


def manifest(files: Mapping[str, bytes], *, own: set[str]) -> bytes:
    """``models.json``: of each ONNX file its bytes, its SHA-256 and whether it is a learner's own."""
    table = {
        Path(name).stem: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "own": name in own}
        for name, data in sorted(files.items())
        if name.endswith(".onnx")
    }
    return to_json({"mmcourse": __version__, "models": table})


def put_in(names: Sequence[str], book: Path, *, checkpoints: Path | None = None) -> list[Path]:
    """Export a learner's models, from the folder ``checkpoints`` or the shipped ones, onto the pages of a book.

    ``book`` is the book's folder or a rendered book. In the first case the files go to ``models/`` in it, where every
    rendering looks for them, and onto the pages that are rendered already; in the second onto those pages alone.
    Returns the paths. Raises ``ExportError`` as ``export`` does, for a folder that is no book, and where a page would
    then join models of different spaces; then nothing has been changed.
    """
    import tempfile

    from mmcourse import export

    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise export.ExportError(f"--into: the pages run {', '.join(MODELS)}; got {', '.join(unknown)}.")
    rendered = next((p for p in (book, book / "_build" / "html") if (p / "assets" / "models").is_dir()), None)
    is_source = (book / "_config.yml").is_file()
    if rendered is None and not is_source:
        raise export.ExportError(f"--into: expected a folder of the book, got {str(book)!r}. {HELP}")
    folders = [book / "models"] if is_source else []
    folders += [rendered / "assets" / "models"] if rendered is not None else []
    with tempfile.TemporaryDirectory() as temporary:
        made = {name: export.export(name, Path(temporary) / f"{name}.onnx", folder=checkpoints) for name in names}
        _expect_one_space(made, folders[-1])
        written = []
        for folder in folders:
            for name, path in made.items():
                write_whole(folder / f"{name}.onnx", path.read_bytes())
                written.append(folder / f"{name}.onnx")
    if rendered is not None:
        known = json.loads((folders[-1] / "models.json").read_text(encoding="utf-8"))["models"]
        own = {f"{k}.onnx" for k, v in known.items() if v["own"]} | {f"{name}.onnx" for name in names}
        files = {p.name: p.read_bytes() for p in files_under(folders[-1])}
        write_whole(folders[-1] / "models.json", manifest(files, own=own))
    return written


def _expect_one_space(made: Mapping[str, Path], pages: Path) -> None:
    """A vector means something in its own space alone, so the models of all pages must belong to one."""
    from mmcourse import checkpoint, export

    spaces: dict[str, str] = {}
    for name, shipped in zip((n for n in MODELS if n != "mel"), CHECKPOINTS, strict=True):
        path = made.get(name, pages / f"{name}.onnx")
        if path.is_file():
            spaces[name] = export.describe(path)["space"]
        else:
            spaces[name] = checkpoint.verify(shipped) if name == "text" else str(checkpoint.card(shipped)["space"])
    other = sorted(name for name in spaces if spaces[name] != spaces["text"])
    if other:
        raise export.ExportError(
            f"--into: {', '.join(other)} would then belong to another space than text (the text tower), and answer at "
            "random. Train them on the same space and put them in together: mmcourse export all --checkpoints FOLDER "
            "--into BOOK. Nothing was changed."
        )
