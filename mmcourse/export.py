"""The models of lessons 08 to 12 as ONNX files, for pages that run them by onnxruntime-web, held to torch.

Each file is whole in itself (opset 18, recorded by ``torch.export`` and the exporter that builds on it, batch free) and
says in its metadata what it is and what goes in and out. A file that answers otherwise than torch is not kept. The
packages onnx, onnxruntime and onnxscript are an extra, ``pip install 'mmcourse[export]'``; they are imported on use.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import __version__, audio, checkpoint, inpainting, masks, sounds, text, world
from mmcourse.checks import expect_one_of
from mmcourse.data import caption_set, vocabulary
from mmcourse.encoders import Space, TextTower
from mmcourse.hearing import FRAMES, AudioTower
from mmcourse.inpainting import Inpainter, Repairers
from mmcourse.layers import SLOPE
from mmcourse.runtime import write_whole
from mmcourse.text2image import Generator

OPSET = 18
TOLERANCE = 1e-3  # the largest difference from torch of a file that is kept; for ``mel`` in dB
COMPARED = 24  # inputs that ``export`` compares


class ExportError(ValueError):
    """What was asked cannot be exported, or the exported file answers otherwise than torch."""


class Port(NamedTuple):
    """An input or output: its name, its type and its shape, in which a word is a free size."""

    name: str
    kind: str
    shape: tuple[int | str, ...]


class Model(NamedTuple):
    """What one ONNX file holds: the checkpoint that it is made of ("" for none), its inputs, its output."""

    checkpoint: str
    inputs: tuple[Port, ...]
    output: Port


_VECTOR, _PICTURE = ("batch", 64), ("batch", 3, 32, 32)
_SPECTRA = ("batch", 2, audio.MELS, FRAMES)
_HOLE = (
    Port("z", "float32", ("batch", 8)),
    Port("picture", "float32", _PICTURE),
    Port("mask", "float32", ("batch", 1, 32, 32)),
)

#: What can be exported. ``text``: ids (B, T), 1 <= T <= 24, 0 = padding, to unit vectors. ``text2image``: noise and
#: unit vectors to pictures in [-1, 1]. ``inpainting`` and ``inpainting_text``: noise, pictures, masks (1 = hole; any
#: number above 0 counts as 1) and unit vectors (zeros say nothing) to whole pictures, what is known bit for bit.
#: ``hearing``: mel spectrograms in dB to unit vectors. ``mel``: waves at 8000 Hz in [-1, 1] to such spectrograms.
MODELS = {
    "text": Model("space", (Port("ids", "int64", ("batch", "words")),), Port("vector", "float32", _VECTOR)),
    "text2image": Model(
        "text2image",
        (Port("z", "float32", ("batch", 16)), Port("cond", "float32", _VECTOR)),
        Port("drawn", "float32", _PICTURE),
    ),
    "inpainting": Model("inpainting", _HOLE, Port("filled", "float32", _PICTURE)),
    "inpainting_text": Model(
        "inpainting_text", (*_HOLE, Port("text", "float32", _VECTOR)), Port("filled", "float32", _PICTURE)
    ),
    "hearing": Model("hearing", (Port("spectra", "float32", _SPECTRA),), Port("vector", "float32", _VECTOR)),
    "mel": Model("", (Port("wave", "float32", ("batch", 2, audio.LENGTH)),), Port("spectra", "float32", _SPECTRA)),
}
_CLASSES: dict[str, type[nn.Module]] = {
    "text": Space,
    "text2image": Generator,
    "inpainting": Repairers,
    "inpainting_text": Inpainter,
    "hearing": AudioTower,
}

# ------------------------------------------------------------------------------------------- networks as ONNX says them


class _Reader(nn.Module):
    """The text tower with ONNX's own GRU, which keeps the number of words free; torch's would be unrolled.

    torch stacks a GRU's weights as reset, update, new; ONNX as update, reset, new.
    """

    def __init__(self, tower: TextTower):
        super().__init__()
        self.embed, self.out, self.width = tower.embed, tower.out, tower.forth.hidden_size

        def turned(x: Any) -> Tensor:
            reset, update, new = x.detach().chunk(3)
            return torch.cat([update, reset, new])

        for side, gru in (("forth", tower.forth), ("back", tower.back)):
            biases = torch.cat([turned(gru.bias_ih_l0), turned(gru.bias_hh_l0)])
            self.register_buffer(f"{side}_w", turned(gru.weight_ih_l0)[None])  # (1, 3*width, width)
            self.register_buffer(f"{side}_r", turned(gru.weight_hh_l0)[None])
            self.register_buffer(f"{side}_b", biases[None])  # (1, 6*width)

    def read(self, ids: Tensor, side: str) -> Tensor:
        x = self.embed(ids).transpose(0, 1)  # (T, B, width)
        weights = [getattr(self, f"{side}_{k}") for k in "wrb"]
        states = torch.onnx.ops.symbolic(
            "GRU",
            (x, *weights),
            attrs={"hidden_size": self.width, "linear_before_reset": 1},
            dtype=torch.float32,
            shape=(x.shape[0], 1, x.shape[1], self.width),
        )
        return states[:, 0].transpose(0, 1)  # (B, T, width)

    def forward(self, ids: Tensor) -> Tensor:
        keep = ids > 0  # (B, T)
        turned = (keep.sum(1, keepdim=True) - 1 - torch.arange(ids.shape[1])).clamp(min=0)  # last word first
        both = torch.cat([self.read(ids, "forth"), self.read(ids.gather(1, turned), "back")], dim=2)
        return F.normalize(self.out(both.masked_fill(~keep[..., None], -2.0).amax(1)), dim=1)


class _Guided(Inpainter):
    """An inpainter whose ``style`` writes no batch size into a message, which would fix the size of the graph's."""

    def style(self, z: Tensor, text: Tensor | None) -> Tensor:
        if self.whiten is None or text is None:
            return super().style(z, text)
        told = (text != 0).any(1, keepdim=True).to(z)  # (B, 1)
        return F.leaky_relu(self.map(torch.cat([z, self.whiten(text) * told, told], dim=1)), SLOPE)


class _Filler(nn.Module):
    """An inpainter whose mask is made of 0 and 1 inside the graph, since a graph cannot refuse another."""

    def __init__(self, G: Inpainter):
        super().__init__()
        self.G = _Guided(**G.hparams)
        self.G.load_state_dict(G.state_dict())

    def forward(self, z: Tensor, picture: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        return self.G(z, picture, (mask > 0).to(picture), text)


class _Mel(nn.Module):
    """``audio.log_mel`` of waves (B, 2, 10080) by a convolution with windowed cosines and sines: no STFT is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.waves: Tensor
        self.filters: Tensor
        n = audio.N_FFT
        window = torch.hann_window(n, dtype=torch.float64)
        turns = torch.outer(torch.arange(n // 2 + 1), torch.arange(n)).remainder(n).double() / n
        waves = torch.cat([torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)])  # (2*bins, n)
        self.register_buffer("waves", (waves * window * 2 / window.sum()).float()[:, None])
        self.register_buffer("filters", audio.mel_filters())

    def forward(self, wave: Tensor) -> Tensor:
        half = audio.N_FFT // 2
        flat = F.pad(wave.reshape(-1, 1, audio.LENGTH), (half, half))
        cosine, sine = F.conv1d(flat, self.waves, stride=audio.HOP).chunk(2, dim=1)  # (2*B, bins, frames) each
        found = audio.to_decibels(self.filters @ (cosine.square() + sine.square()))
        return found.view(-1, 2, audio.MELS, FRAMES)


class _ExactMel(nn.Module):
    """What ``mel`` is held to: ``audio.log_mel`` in double precision. In single precision it errs itself by up to
    1e-3 dB, in bands that are near the floor beside loud ones."""

    def forward(self, wave: Tensor) -> Tensor:
        return audio.log_mel(wave.double()).float()


def _load(name: str, folder: Path | None) -> nn.Module:
    """The network as torch runs it, from the checkpoints of this folder or from the shipped ones."""
    if not MODELS[name].checkpoint:
        return _ExactMel()
    module = checkpoint.load(_CLASSES[name], _source(name, folder))
    numbers: Any = module.hparams
    side = numbers.get("resolution", 32)
    if side != 32:
        raise ExportError(
            f"{name}: this model draws {side}x{side} pixels; pages and files are made for 32x32. Export one that was "
            "trained in another profile than gpu."
        )
    if isinstance(module, Repairers):
        return module.game
    if isinstance(module, Space):
        if module.hparams["words"] != len(vocabulary()):
            raise ExportError(
                f"text: this space reads {module.hparams['words']} words, the vocabulary has {len(vocabulary())}; "
                "they belong apart. Train the space again with `mmcourse train space`."
            )
        return module.text
    return module


def _source(name: str, folder: Path | None) -> str | Path:
    known = MODELS[name].checkpoint
    return known if folder is None else Path(folder) / f"{known}.safetensors"


def _as_onnx_says(name: str, module: nn.Module) -> nn.Module:
    if isinstance(module, TextTower):
        return _Reader(module).eval()
    if isinstance(module, Inpainter):
        return _Filler(module).eval()
    return _Mel() if name == "mel" else module


# ------------------------------------------------------------------------------------------------------------ exporting


def export(name: str, out: Path, *, folder: Path | None = None) -> Path:
    """Write one of ``MODELS`` to ``out/NAME.onnx``, or to ``out`` where that ends in ``.onnx``; returns the path.

    ``folder`` holds the checkpoints; without it the shipped ones are taken. The file is written whole, or not at all.
    Raises ``ExportError`` on an unknown name, where a package is missing, or where the file answers otherwise than
    torch by more than ``TOLERANCE``; ``CheckpointError`` where the checkpoint is missing or damaged.
    """
    _known(name)
    onnx, _, _ = _packages("onnx", "onnxruntime", "onnxscript")
    module = _load(name, folder)
    model = _record(name, module)
    props = _describe(name, folder)
    onnx.helper.set_model_props(model, props)
    onnx.checker.check_model(model, full_check=True)
    off = _difference(model.SerializeToString(), name, module, n=COMPARED, seed=0)
    if not off <= TOLERANCE:  # NaN is refused too
        raise ExportError(
            f"{name}: the ONNX file differs from torch by {off:.3g}; at most {TOLERANCE:g} is kept. Nothing was "
            "written. Please report this with the versions of torch, onnx and onnxruntime."
        )
    onnx.helper.set_model_props(model, {**props, "parity": f"{off:.3g}"})
    path = _target(out, f"{name}.onnx")
    write_whole(path, model.SerializeToString())
    return path


def parity(path: Path, name: str, *, n: int = 64, seed: int = 0, folder: Path | None = None) -> float:
    """The largest absolute difference between onnxruntime (CPU, one thread) and torch over n random valid inputs, in
    batches of several sizes. NaN where either gives NaN.

    Raises ``ExportError`` on an unknown name, for n below 1, and for a file that cannot be run or that gives a tensor
    of another shape.
    """
    _known(name)
    if n < 1:
        raise ExportError(f"parity: expected at least one input to compare, got n={n}.")
    return _difference(_bytes(path), name, _load(name, folder), n=n, seed=seed)


def describe(path: Path) -> dict[str, str]:
    """What an exported file says of itself: ``mmcourse`` (version), ``model``, ``checkpoint`` and its ``digest``,
    ``space`` (the digest of the space that it was trained on), ``inputs``, ``outputs`` (JSON), ``parity``."""
    return dict(_session(_bytes(path), str(path)).get_modelmeta().custom_metadata_map)


def _known(name: str) -> None:
    try:
        expect_one_of(name, list(MODELS), name="export")
    except ValueError as error:
        raise ExportError(str(error)) from None


def _packages(*names: str) -> list[Any]:
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            raise ExportError(
                f"ONNX export needs the package {name}, which is not installed ({error}). Install the extra: "
                "pip install 'mmcourse[export]' (onnx, onnxruntime and onnxscript)."
            ) from error
    return found


def _target(out: Path, name: str) -> Path:
    out = Path(out)
    return out if out.suffix == Path(name).suffix else out / name


def _bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}). Write it with `mmcourse export`.") from error


@contextlib.contextmanager
def _unasked() -> Iterator[None]:
    """The inpainter's checks ask for a tensor's values and compare its batch with a number; while a graph is recorded
    there is neither. They are left out for that time. The shapes are this module's own."""
    places = ((masks, "expect_mask"), (masks, "expect_shape"), (inpainting, "expect_shape"))
    kept = [getattr(place, check) for place, check in places]
    try:
        for place, check in places:
            setattr(place, check, lambda x, *rest, **named: x)
        yield
    finally:
        for (place, check), usual in zip(places, kept, strict=True):
            setattr(place, check, usual)


def _record(name: str, module: nn.Module) -> Any:
    """The network as an ONNX model, without a trace of the machine that made it."""
    spec, free = MODELS[name], {"batch": torch.export.Dim("batch"), "words": torch.export.Dim("words", max=24)}
    example = next(samples(name, 3, torch.Generator().manual_seed(0), sizes=(3,), words=7))
    shapes = tuple({i: free[d] for i, d in enumerate(p.shape) if isinstance(d, str)} for p in spec.inputs)
    with _unasked(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        recorder = _as_onnx_says(name, module)
        strict = isinstance(recorder, Generator)  # reading its bytecode alone leaves ``len(w)`` free; a GRU bars that
        program = torch.export.export(recorder, tuple(example.values()), dynamic_shapes=shapes, strict=strict)
        found = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    assert found is not None
    model = found.model_proto
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    graph.name, graph.doc_string, model.doc_string = name, "", ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    ports = [*zip(graph.input, spec.inputs, strict=True), *zip(graph.output, [spec.output], strict=True)]
    renamed = {value.name: port.name for value, port in ports}
    for node in graph.node:
        node.input[:] = [renamed.get(x, x) for x in node.input]
        node.output[:] = [renamed.get(x, x) for x in node.output]
    for value, port in ports:
        value.name = port.name
        del value.metadata_props[:]
        value.doc_string = ""
        for dim, size in zip(value.type.tensor_type.shape.dim, port.shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
    return model


def _describe(name: str, folder: Path | None) -> dict[str, str]:
    spec = MODELS[name]

    def listed(*ports: Port) -> str:
        return json.dumps([{"name": p.name, "type": p.kind, "shape": list(p.shape)} for p in ports])

    props = {"mmcourse": __version__, "model": name, "checkpoint": spec.checkpoint, "digest": "", "space": ""}
    if spec.checkpoint:
        source = _source(name, folder)
        props["digest"] = checkpoint.verify(source)
        props["space"] = props["digest"] if name == "text" else str(checkpoint.card(source).get("space") or "")
    if name == "text":
        props["vocabulary"] = _fingerprint(vocabulary())
    return {**props, "inputs": listed(*spec.inputs), "outputs": listed(spec.output)}


# ------------------------------------------------------------------------------------------------------------ comparing


def _session(data: bytes, what: str) -> Any:
    (runtime,) = _packages("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common class of their own
        raise ExportError(f"{what}: is no ONNX file that onnxruntime can run ({error}). Export it again.") from error


def _difference(data: bytes, name: str, module: nn.Module, *, n: int, seed: int) -> float:
    session, worst = _session(data, name), 0.0
    for inputs in samples(name, n, torch.Generator().manual_seed(seed)):
        with torch.no_grad():
            wanted = module(*inputs.values())
        try:
            found = torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])
        except Exception as error:
            raise ExportError(f"{name}: onnxruntime cannot run this file on valid inputs ({error}).") from error
        if found.shape != wanted.shape:
            raise ExportError(f"{name}: the file gives {tuple(found.shape)}, torch gives {tuple(wanted.shape)}.")
        off = float((found - wanted).abs().max())
        if math.isnan(off):
            return off
        worst = max(worst, off)
    return worst


def samples(
    name: str, n: int, g: torch.Generator, *, sizes: tuple[int, ...] = (1, 5, 2, 8), words: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """n random valid inputs of a model, as batches of these ``sizes`` in turn: input names to tensors.

    Texts are random words, of random lengths, padded to ``words`` (random from 1 to 24); vectors are of length 1 in
    random directions, one in five rows of an inpainter's is zeros; masks are of every kind, the first of a batch hides
    nothing and the second all; spectra and waves are half the world's own sounds, half noise.
    """
    done = 0
    while done < n:
        for size in sizes:
            b = min(size, n - done)
            if b < 1:
                return
            done += b
            yield _sample(name, b, g, words)


def _sample(name: str, b: int, g: torch.Generator, words: int | None) -> dict[str, Tensor]:
    def vectors(silent: float = 0.0) -> Tensor:
        found = F.normalize(torch.randn(b, 64, generator=g), dim=1)
        return inpainting.drop_text(found, silent, g)

    if name == "text":
        t = words or int(torch.randint(1, 25, (1,), generator=g))
        ids = torch.randint(1, len(vocabulary()), (b, t), generator=g)
        length = torch.randint(1, t + 1, (b, 1), generator=g)
        return {"ids": ids.masked_fill(torch.arange(t) >= length, 0)}
    if name == "text2image":
        return {"z": torch.randn(b, 16, generator=g), "cond": vectors()}
    if name.startswith("inpainting"):
        picture = world.draw(world.place(world.sample_labels(b, g), g))
        mask = torch.cat([torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32), masks.mixed(b, g)])
        mask = mask[:b] if b >= 4 else mask[2:]
        told = {"text": vectors(0.2)} if name == "inpainting_text" else {}
        return {"z": torch.randn(b, 8, generator=g), "picture": picture, "mask": mask, **told}
    wave = sounds.sound(world.state(world.sample_labels(b, g), g), g)
    noise = 2 * torch.rand(wave.shape, generator=g) - 1
    wave = torch.where(torch.rand(b, 1, 1, generator=g) < 0.5, wave, noise * torch.rand(b, 1, 1, generator=g))
    return {"spectra": audio.log_mel(wave)} if name == "hearing" else {"wave": wave}


# ---------------------------------------------------------------------------------------------------------------- words


def _fingerprint(words: text.Vocabulary) -> str:
    return hashlib.sha256("\n".join(words.words).encode()).hexdigest()


def vocabulary_json(out: Path) -> Path:
    """Write all that a page needs to turn captions into ids as ``Vocabulary.tokenize`` does, to ``out/vocabulary.json``
    or to ``out`` itself where that ends in ``.json``; returns the path.

    ``words`` in the order of their ids; ``pad``, ``unknown`` (ids) and ``length``; ``pieces``, a regular expression for
    JavaScript and Python alike, to be found again and again in the lower-case text, and ``han``, what tells a Chinese
    piece; ``longest``, the most characters that a Chinese word has; ``empty``, what to say of an empty prompt; ``rule``
    says the rest; ``digest``, which the text model's metadata names as ``vocabulary``.
    """
    words = vocabulary()
    table = {
        "mmcourse": __version__,
        "digest": _fingerprint(words),
        "words": words.words,
        "pad": words.index[text.PAD],
        "unknown": words.index[text.UNKNOWN],
        "length": world.MAX_WORDS,
        "pieces": text._PIECES.pattern,
        "han": text._HAN.pattern,
        "longest": max(len(w) for w in words.words if text.is_chinese(w)),
        "empty": text.EMPTY_PROMPT,
        "rule": "Lower-case the text and find all pieces. A piece that is not Chinese is a word. A Chinese piece is "
        "cut from its start: the longest of the words that begins there, else one character. No word at all is the "
        "error 'empty'; a word that is not of the words is the error 'unknown'; more words than length is the error "
        "'long'. The first of these counts. Ids are the places in words, filled up with pad.",
    }
    path = _target(out, "vocabulary.json")
    write_whole(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    return path


_HARD = (
    "",
    "   ",
    "?!。",
    "A small, RED circle!",
    "a red circle\nand\ta blue square",
    "red-blue circle",
    "the circle's colour",
    "-red- 'circle'",
    "red_circle",
    "a red circle 2",
    "<pad> <unk> red",
    "红色的圆形在蓝色的正方形左边",
    "红的圆",
    "十字形",
    "龙十字",
    "红色red圆形circle",
    "红 色 的 圆 形",
    "红色的圆形，在左边。",
    "ＲＥＤ circle",
    "réd circle",
    "İ red",
    "blac\u212a circle",
    "a red 🔴 circle",
    "a red \U00020000 circle",
    " ".join(["red"] * 24),
    " ".join(["red"] * 25),
    "的" * 25,
    "elefant " * 25,
)


def test_vectors(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """n captions with what Python makes of them, as plain JSON values, to hold a page's tokeniser to.

    ``{"text": ..., "ids": [...]}`` without padding, or ``{"text": ..., "error": "empty" | "unknown" | "long"}``; with
    "unknown" come the ``words`` that are not known. First a fixed list of hard cases, then the grammar's captions in
    both languages, some of them with other case, punctuation, cut or glued words, or foreign characters.
    """
    words, rng = vocabulary(), random.Random(seed)
    cases = list(_HARD[:n])
    fair = caption_set(max(0, n - len(cases)), seed=seed).captions if n > len(cases) else []
    return [_answer(words, case) for case in [*cases, *(_twisted(c, rng) for c in fair)]]


test_vectors.__test__ = False  # type: ignore[attr-defined]  # by its name pytest would take it for a test


def _twisted(caption: str, rng: random.Random) -> str:
    kind = rng.randrange(6)
    if kind == 0:
        return "".join(rng.choice((str.upper, str.lower))(c) for c in caption)
    at = rng.randrange(len(caption) + 1)
    if kind == 1:
        return caption[:at] + rng.choice("，。!?.,;-'_/") + caption[at:]
    if kind == 2:
        return caption[:at] + rng.choice(("龙", "é", "𠀀", "\u212a", "\u3000", "5", "z", "X")) + caption[at:]
    if kind == 3:
        return caption[:at] + caption[at + 1 :]
    return caption


def _answer(words: text.Vocabulary, caption: str) -> dict[str, Any]:
    try:
        ids = words.tokenize([caption], length=world.MAX_WORDS)[0]
    except text.UnknownWords as error:
        return {"text": caption, "error": "unknown", "words": error.words}
    except ValueError:
        return {"text": caption, "error": "long" if text.split_words(caption, words.index) else "empty"}
    return {"text": caption, "ids": ids[ids != 0].tolist()}
