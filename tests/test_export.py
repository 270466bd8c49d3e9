"""ONNX files against torch: every model, any batch, any length of text; and what a page needs to tokenise alike."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor
from torch.nn import functional as F

from mmcourse import __version__, audio, checkpoint, export, inpainting, masks, sounds, world
from mmcourse.course import cli
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.hearing import AudioTower
from mmcourse.inpainting import Inpainter, Repairers
from mmcourse.text2image import Generator

Run = Callable[..., Tensor]


@pytest.fixture(scope="module")
def onnx() -> object:
    for name in ("onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed; it comes with mmcourse[export]")
    return pytest.importorskip("onnx", reason="onnx is not installed; it comes with mmcourse[export]")


@pytest.fixture(scope="module")
def made(onnx: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model, written once by the command line."""
    folder = tmp_path_factory.mktemp("onnx")
    assert cli.main(["export", "all", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    """Runs a model of that folder on tensors, by onnxruntime, with no code of ours."""
    import onnxruntime

    sessions = {}

    def call(name: str, **inputs: Tensor) -> Tensor:
        if name not in sessions:
            path = str(made / f"{name}.onnx")
            sessions[name] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return torch.from_numpy(sessions[name].run(None, {k: v.numpy() for k, v in inputs.items()})[0])

    return call


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32)


def units(n: int, g: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(n, 64, generator=g), dim=1)


def waves(n: int, g: torch.Generator) -> Tensor:
    return sounds.sound(world.state(world.sample_labels(n, g), g), g)


# ---- the files


def test_a_folder_holds_one_small_file_a_model_and_nothing_else(made: Path) -> None:
    assert sorted(p.name for p in made.iterdir()) == sorted([*(f"{n}.onnx" for n in export.MODELS), "vocabulary.json"])
    for path in made.iterdir():
        assert 1000 < path.stat().st_size < 8e6
        data = path.read_bytes()
        assert str(ROOT).encode() not in data and b"site-packages" not in data, "a trace of the machine"


@pytest.mark.parametrize("name", sorted(export.MODELS))
def test_a_file_holds_its_weights_and_tells_its_origin_and_its_doors(name: str, made: Path) -> None:
    import onnx

    model = onnx.load(made / f"{name}.onnx", load_external_data=False)
    assert not any(t.external_data for t in model.graph.initializer)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", export.OPSET)]
    told = {p.key: p.value for p in model.metadata_props}
    assert told == export.describe(made / f"{name}.onnx")
    source = "space" if name == "text" else "" if name == "mel" else name
    assert told["mmcourse"] == __version__ and told["model"] == name and told["checkpoint"] == source
    assert told["digest"] == (checkpoint.verify(source) if source else "")
    if name in ("text", "text2image", "inpainting_text", "hearing"):
        assert told["space"] == checkpoint.verify("space")
    assert 0 <= float(told["parity"]) <= export.TOLERANCE
    for key, ports in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        real = [
            {
                "name": p.name,
                "type": {1: "float32", 7: "int64"}[p.type.tensor_type.elem_type],
                "shape": [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim],
            }
            for p in ports
        ]
        assert json.loads(told[key]) == real and all(p["shape"][0] == "batch" for p in real)


@pytest.mark.parametrize("name", sorted(export.MODELS))
def test_parity_on_inputs_that_export_did_not_see(name: str, made: Path) -> None:
    off = export.parity(made / f"{name}.onnx", name, n=16, seed=77)
    assert 0 < off < (1e-3 if name == "mel" else 2e-5)
    assert off == export.parity(made / f"{name}.onnx", name, n=16, seed=77)


def test_samples_are_valid_and_come_in_several_sizes() -> None:
    for name, spec in export.MODELS.items():
        batches = list(export.samples(name, 8, torch.Generator().manual_seed(3)))
        assert [len(next(iter(b.values()))) for b in batches] == [1, 5, 2]
        for batch in batches:
            assert list(batch) == [p.name for p in spec.inputs]
            for port in spec.inputs:
                x = batch[port.name]
                assert str(x.dtype) == f"torch.{port.kind}" and x.dim() == len(port.shape) and bool(x.isfinite().all())
                assert all(
                    isinstance(want, str) or want == have for want, have in zip(port.shape, x.shape, strict=True)
                )
            if "mask" in batch:
                masks.expect_mask(batch["mask"], batch["picture"])
            if "ids" in batch:
                keep = batch["ids"] > 0
                assert bool(keep[:, 0].all()) and bool((keep[:, 1:] <= keep[:, :-1]).all()), "padding comes last"


# ---- each model, by hand


@pytest.mark.parametrize("length", [1, 2, 7, 23, 24])
@pytest.mark.parametrize("batch", [1, 5])
def test_text_of_any_length(batch: int, length: int, run: Run, rng: torch.Generator) -> None:
    ids = torch.randint(1, len(vocabulary()), (batch, length), generator=rng)
    for row in range(batch):
        ids[row, length - row * length // (batch + 1) :] = 0
    with torch.no_grad():
        wanted = checkpoint.load(Space, "space").text(ids)
    assert (run("text", ids=ids) - wanted).abs().max() < 1e-5


def test_padding_and_company_do_not_change_a_text(run: Run) -> None:
    words = vocabulary()
    texts = ["a red circle", "红色的圆形在蓝色的正方形左边", "a small blue star above a large green square"]
    padded = run("text", ids=words.tokenize(texts))
    for row, text in enumerate(texts):
        alone = run("text", ids=torch.tensor([words.ids(text)]))
        assert (alone[0] - padded[row]).abs().max() < 1e-6
    backwards = run("text", ids=torch.tensor([words.ids(texts[2])[::-1]]))
    assert (backwards[0] - padded[2]).abs().max() > 0.01, "word order counts"


@pytest.mark.parametrize("batch", [1, 5])
def test_text2image_and_hearing(batch: int, run: Run, rng: torch.Generator) -> None:
    z, cond = torch.randn(batch, 16, generator=rng), units(batch, rng)
    spectra = audio.log_mel(waves(batch, rng))
    with torch.no_grad():
        drawn = checkpoint.load(Generator, "text2image")(z, cond)
        heard = checkpoint.load(AudioTower, "hearing")(spectra)
    found = run("text2image", z=z, cond=cond)
    assert found.shape == (batch, 3, 32, 32) and (found - drawn).abs().max() < 2e-5
    found = run("hearing", spectra=spectra)
    assert found.shape == (batch, 64) and (found - heard).abs().max() < 1e-5


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", ["inpainting", "inpainting_text"])
def test_a_repair_keeps_known_pixels_bit_for_bit_and_clips_its_fill(
    name: str, batch: int, run: Run, rng: torch.Generator
) -> None:
    told = {"text": units(batch, rng)} if name == "inpainting_text" else {}
    G = checkpoint.load(Inpainter, name) if told else checkpoint.load(Repairers, name).game
    x = 2 * torch.rand(batch, 3, 32, 32, generator=rng) - 1
    x[:, 0, :8, :8] = torch.tensor([-0.0, 1e-42, 1.0, -1.0]).repeat(2)
    mask = masks.mixed(max(4, batch), rng)[:batch]
    mask[:, :, :8, :8], mask[:, :, 20:30, 20:30] = 0, 1
    z = torch.randn(batch, 8, generator=rng)
    with torch.no_grad():
        wanted = G(z, x, mask, *told.values())
    found = run(name, z=z, picture=x, mask=mask, **told)
    known = mask.expand_as(x) == 0
    assert torch.equal(bits(found)[known], bits(x)[known])
    assert found[~known].abs().max() <= 1 and (found - wanted).abs().max() < 2e-5
    under = torch.where(known, x, torch.tensor(math.nan))  # what lies under the mask does not get out
    assert torch.equal(run(name, z=z, picture=under, mask=mask * 255, **told), found)
    for edge in (torch.zeros_like(mask), torch.ones_like(mask)):
        with torch.no_grad():
            wanted = G(z, x, edge, *told.values())
        assert (run(name, z=z, picture=x, mask=edge, **told) - wanted).abs().max() < 2e-5
    loud = run(name, z=30 * z, picture=x, mask=mask, **told)
    assert loud[~known].abs().max() <= 1


def test_a_text_of_zeros_says_nothing_in_onnx_too(run: Run, rng: torch.Generator) -> None:
    G = checkpoint.load(Inpainter, "inpainting_text")
    z, x, mask = torch.randn(2, 8, generator=rng), torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with torch.no_grad():
        wanted = G(z, x, mask)
    found = run("inpainting_text", z=z, picture=x, mask=mask, text=torch.zeros(2, 64))
    assert (found - wanted).abs().max() < 2e-5
    told = run("inpainting_text", z=z, picture=x, mask=mask, text=units(2, rng))
    assert (told - found).abs().max() > 0.05


@pytest.mark.parametrize("batch", [1, 5])
def test_mel_spectrograms_without_an_stft(batch: int, run: Run, made: Path, rng: torch.Generator) -> None:
    import onnx

    kinds = {node.op_type for node in onnx.load(made / "mel.onnx").graph.node}
    assert "Conv" in kinds and not kinds & {"STFT", "DFT", "MelWeightMatrix", "HannWindow"}
    loud = torch.rand(batch, 2, audio.LENGTH, generator=rng) * 2 - 1
    for wave, slack in ((waves(batch, rng), 1e-3), (loud, 1e-4)):
        found, wanted = run("mel", wave=wave), audio.log_mel(wave.double()).float()
        assert (found - wanted).abs().max() < slack
    silent = run("mel", wave=torch.zeros(batch, 2, audio.LENGTH))
    assert torch.equal(silent, torch.full_like(silent, audio.FLOOR))


def test_a_sound_heard_from_its_wave_by_two_files(run: Run, rng: torch.Generator) -> None:
    wave = waves(3, rng)
    heard = checkpoint.load(AudioTower, "hearing").hear(wave)
    assert (run("hearing", spectra=run("mel", wave=wave)) - heard).abs().max() < 1e-4


# ---- refusals


def test_an_altered_weight_is_found_and_no_file_is_left(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import numpy_helper

    def altered(model: onnx.ModelProto) -> onnx.ModelProto:
        weight = max(model.graph.initializer, key=lambda t: math.prod(t.dims))
        values = np.array(numpy_helper.to_array(weight))
        values.flat[:: max(1, values.size // 50)] += 0.5
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        return model

    path = tmp_path / "altered.onnx"
    path.write_bytes(altered(onnx.load(made / "hearing.onnx")).SerializeToString())
    assert export.parity(path, "hearing", n=4) > 10 * export.TOLERANCE
    path.unlink()
    usual = export._record
    monkeypatch.setattr(export, "_record", lambda *args: altered(usual(*args)))
    with pytest.raises(export.ExportError, match=r"hearing: .*differs from torch by .*at most 0.001.*Nothing was"):
        export.export("hearing", tmp_path)
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"as it was")
    with pytest.raises(export.ExportError):
        export.export("hearing", kept)
    assert list(tmp_path.iterdir()) == [kept] and kept.read_bytes() == b"as it was"
    monkeypatch.setattr(export, "_difference", lambda *args, **named: math.nan)
    with pytest.raises(export.ExportError, match="nan"):
        export.export("hearing", tmp_path)


def test_checks_are_left_out_while_a_graph_is_recorded_and_back_after_an_error() -> None:
    grey, x = torch.full((1, 1, 8, 8), 0.5), torch.zeros(1, 3, 8, 8)
    with pytest.raises(KeyError), export._unasked():
        assert inpainting.build_input(x, grey).shape == (1, 4, 8, 8)
        raise KeyError
    with pytest.raises(ValueError, match=r"0 \(known\) and 1"):
        inpainting.build_input(x, grey)
    with pytest.raises(ValueError, match="pictures: expected 4 axes"):
        inpainting.build_input(x[0], grey)


def test_a_folder_of_other_checkpoints_is_read_and_a_damaged_one_refused(
    onnx: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    checkpoint.save(AudioTower(width=8, features=32), tmp_path / "hearing", card={})
    path = export.export("hearing", tmp_path / "mine.onnx", folder=tmp_path)
    assert path == tmp_path / "mine.onnx" and export.parity(path, "hearing", n=4, folder=tmp_path) < 1e-5
    assert export.parity(path, "hearing", n=4) > 0.1, "the shipped ear is another"
    assert export.describe(path)["digest"] == checkpoint.verify(tmp_path / "hearing") != checkpoint.verify("hearing")
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "hearing.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(checkpoint.CheckpointError, match="truncated"):
        export.export("hearing", tmp_path / "out", folder=Path())
    assert not (tmp_path / "out").exists()


def test_wrong_names_and_files_get_a_sentence(onnx: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(export.ExportError, match="expected one of text, .*got 'hearin'. Did you mean 'hearing'"):
        export.export("hearin", tmp_path)
    with pytest.raises(export.ExportError, match="expected one of text"):
        export.parity(tmp_path, "judge")
    with pytest.raises(export.ExportError, match="at least one input"):
        export.parity(tmp_path, "hearing", n=0)
    with pytest.raises(export.ExportError, match="cannot be read"):
        export.parity(tmp_path / "none.onnx", "hearing")
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    with pytest.raises(export.ExportError, match="is no ONNX file"):
        export.describe(tmp_path / "bad.onnx")
    out = tmp_path / "new"
    assert cli.main(["export", "hearin", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "mmcourse export: NAME: expected one of text," in error and "vocabulary, all" in error
    assert error.count("\n") == 1 and not out.exists()
    assert cli.main(["export", "hearing", "--out", str(tmp_path / "bad.onnx")]) == 2
    assert "expected a folder, got the file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_an_absent_package_is_named_with_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if package != name:
            monkeypatch.setitem(sys.modules, package, sys)  # there, whatever it is
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["export", "hearing", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"the package {name}, " in error and "pip install 'mmcourse[export]'" in error
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["export", "vocabulary", "--out", str(tmp_path)]) == 0, "words need no package"


def test_importing_the_module_imports_no_onnx() -> None:
    probe = "import sys, mmcourse.export; print([m for m in sys.modules if m.split('.')[0].startswith('onnx')])"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


# ---- words

TOKENISER = """
const [table, texts] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const index = new Map(table.words.map((word, i) => [word, i]));
const han = new RegExp("^" + table.han);
function answer(text) {
  const words = [];
  for (const piece of text.toLowerCase().match(new RegExp(table.pieces, "g")) ?? []) {
    if (!han.test(piece)) { words.push(piece); continue; }
    for (let at = 0; at < piece.length; ) {
      let length = Math.min(table.longest, piece.length - at);
      while (length > 1 && !index.has(piece.slice(at, at + length))) length--;
      words.push(piece.slice(at, at + length));
      at += length;
    }
  }
  if (!words.length) return {text, error: "empty"};
  const missing = [...new Set(words.filter((word) => !index.has(word)))];
  if (missing.length) return {text, error: "unknown", words: missing};
  if (words.length > table.length) return {text, error: "long"};
  return {text, ids: words.map((word) => index.get(word))};
}
console.log(JSON.stringify(texts.map(answer)));
"""


def test_the_table_of_words_has_all_that_javascript_needs_to_tokenise_alike(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; it runs the page's side of this test")
    table = json.loads(export.vocabulary_json(tmp_path).read_text(encoding="utf-8"))
    vectors = export.test_vectors(600, seed=1)
    given = json.dumps([table, [v["text"] for v in vectors]])
    out = subprocess.run([node, "-e", TOKENISER], input=given.encode(), capture_output=True, check=True)
    assert json.loads(out.stdout) == vectors


def test_vectors_say_what_python_says() -> None:
    words, vectors = vocabulary(), export.test_vectors(300, seed=4)
    assert len(vectors) == 300 and vectors == json.loads(json.dumps(vectors)) == export.test_vectors(300, seed=4)
    assert vectors != export.test_vectors(300, seed=5) and len(export.test_vectors(3)) == 3
    for v in vectors:
        if "ids" in v:
            assert v["ids"] == words.ids(v["text"]) and 1 <= len(v["ids"]) <= 24
            continue
        says = {"empty": "prompt is empty", "unknown": "does not know", "long": "at most 24"}[v["error"]]
        with pytest.raises(ValueError, match=says):
            words.tokenize([v["text"]])
    kinds = [v.get("error", "ids") for v in vectors]
    assert {k: kinds.count(k) for k in set(kinds)}.keys() == {"ids", "empty", "unknown", "long"}
    assert kinds.count("ids") > 150 and kinds.count("unknown") > 20
    chinese = [v for v in vectors if "ids" in v and any("㐀" <= c <= "鿿" for c in v["text"])]
    mixed = [v for v in vectors if "ids" in v and v["text"] != v["text"].lower()]
    assert len(chinese) > 50 and len(mixed) > 10


def test_the_table_belongs_to_the_text_model(made: Path) -> None:
    table = json.loads((made / "vocabulary.json").read_text(encoding="utf-8"))
    assert table["words"] == vocabulary().words and table["length"] == world.MAX_WORDS
    assert (table["words"][table["pad"]], table["words"][table["unknown"]]) == ("<pad>", "<unk>")
    assert table["digest"] == export.describe(made / "text.onnx")["vocabulary"]
