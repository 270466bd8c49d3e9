"""The live pages' own JavaScript against Python: words to ids, phrases to exchange, noise, waves. Node runs it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT

from mmcourse import audio, export, world
from mmcourse.course import live
from mmcourse.data import caption_set, vocabulary
from mmcourse.text import UNKNOWN
from mmcourse.widgets import slerp

SOURCES = ROOT / "book" / "live" / "src"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed; it runs the pages' side of these tests")


def node(code: str, given: Any) -> Any:
    """What an ES module answers to JSON: ``code`` sees ``given`` and prints by ``answer``."""
    names = ("words", "noise", "sound")
    head = "".join(f'import * as {n} from "{(SOURCES / n).as_uri()}.mjs";\n' for n in names)
    head += 'import { readFileSync } from "node:fs";\nconst given = JSON.parse(readFileSync(0, "utf8"));\n'
    head += "const answer = (x) => console.log(JSON.stringify(x));\n"
    command = [str(NODE), "--input-type=module", "-e", head + code]
    out = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True)
    assert out.returncode == 0, out.stderr.decode()
    return json.loads(out.stdout)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dict(json.loads(export.vocabulary_json(tmp_path_factory.mktemp("words")).read_text(encoding="utf-8")))


IDS = """
answer(given.texts.map((text) => {
  try { return { text, ids: words.ids(given.table, text) }; }
  catch (error) {
    if (!(error instanceof words.WordError)) throw error;
    return { text, error: error.kind, ...(error.kind === "unknown" ? { words: error.words } : {}) };
  }
}));
"""


def test_vectors_that_the_book_ships(table: dict[str, Any]) -> None:
    vectors = export.test_vectors(2000, seed=9)
    found = node(IDS, {"table": table, "texts": [v["text"] for v in vectors]})
    assert found == vectors


def test_every_caption_of_the_grammar_has_the_same_ids(table: dict[str, Any]) -> None:
    words, captions = vocabulary(), set()
    for seed, split in enumerate(("train", "held_out", "all")):
        labels = world.sample_labels(1500, torch.Generator().manual_seed(seed), split=split)
        stated = world.state(labels, torch.Generator().manual_seed(seed))
        captions |= set(world.captions(stated, random.Random(seed)))
    texts = sorted(captions)
    used = {w for t in texts for w in words.ids(t)}
    grammar = {i for i, w in enumerate(words.words) if i > 1}
    assert len(texts) > 3000 and len(used) > 0.9 * len(grammar), "the captions use nearly every word"
    found = node(IDS, {"table": table, "texts": texts})
    assert [v["ids"] for v in found] == [words.ids(t) for t in texts]


def test_each_word_alone_and_unknown_words(table: dict[str, Any]) -> None:
    words = vocabulary()
    strange = ["unicorn", "a red unicorn", "独角兽", "红色的独角兽", "ａ red circle", "a-red circle", "🙂", "<pad>"]
    texts = [*words.words[2:], *strange]
    found = node(IDS, {"table": table, "texts": texts})
    for text, one in zip(texts, found, strict=True):
        if "ids" in one:
            assert one["ids"] == words.ids(text)
        else:
            with pytest.raises(ValueError, match="empty" if one["error"] == "empty" else "does not know"):
                words.tokenize([text])
    assert {v.get("error") for v in found} == {None, "unknown", "empty"}
    assert UNKNOWN not in words.words[2:]


# ---- one word exchanged

SWAP = """
answer(given.texts.map((text) => words.phrases(given.groups, text).map((phrase) => ({
  text: phrase.text, kind: phrase.group.kind, variants: words.exchanged(text, phrase),
}))));
"""


def test_an_exchanged_word_changes_one_fact_and_no_other() -> None:
    groups = live.swaps()
    facts = {"shape": (1, 4), "colour": (2, 5), "size": (3, 6), "relation": (7,), "place": (7,)}
    sets = [caption_set(300, split="all", seed=s, objects=o) for s, o in ((1, (1,)), (2, (2,)))]
    texts = [t for s in sets for t in s.captions]
    swapped: dict[str, int] = {}
    skipped = 0
    for text, found in zip(texts, node(SWAP, {"groups": groups, "texts": texts}), strict=True):
        before = world.parse(text)
        for phrase in found:
            try:
                after = [world.parse(v["text"]) for v in phrase["variants"]]
            except world.CaptionError:
                # "on the left A and on the right B" names both sides: one of them alone makes no sentence
                assert phrase["kind"] in ("place", "relation"), (text, phrase)
                skipped += 1
                continue
            allowed = facts[phrase["kind"]]
            for row in after:
                changed = [i for i, (a, b) in enumerate(zip(before, row, strict=True)) if a != b]
                if phrase["kind"] in ("place", "relation"):
                    continue  # which thing is named first may turn with it; two equal things have no left and right
                assert len(changed) <= 1 and set(changed) <= set(allowed), (text, phrase["text"], row)
            distinct = len(set(after))
            assert distinct == len(phrase["variants"]) or (phrase["kind"] == "relation" and distinct >= 2)
            swapped[phrase["kind"]] = swapped.get(phrase["kind"], 0) + 1
    assert set(swapped) == set(facts) and min(swapped.values()) > 20 and skipped < 0.1 * sum(swapped.values())


def test_articles_are_mended() -> None:
    texts = ["A small red circle", "an orange ring above a black star"]
    found = node(SWAP, {"groups": live.swaps(), "texts": texts})
    said = {v["text"] for phrases in found for p in phrases for v in p["variants"]}
    assert {"A small orange circle", "a red ring above a black star", "an orange ring above an orange star"} <= said
    assert "An orange circle" not in said and not any("a orange" in t.lower() or "an red" in t.lower() for t in said)


# ---- noise


def test_noise_is_normal_and_repeats() -> None:
    found = np.array(node("answer(given.map((s) => [...noise.normal(2000, s)]));", [1, 1, 2]))
    assert (found[0] == found[1]).all() and abs(np.corrcoef(found[0], found[2])[0, 1]) < 0.1
    assert abs(found[0].mean()) < 0.1 and abs(found[0].std() - 1) < 0.05
    neighbours = np.array(node("answer(given.map((s) => [...noise.normal(16, s)]));", list(range(200))))
    assert abs(np.corrcoef(neighbours[:-1].ravel(), neighbours[1:].ravel())[0, 1]) < 0.1


def test_the_way_between_two_noises_is_the_lessons() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(16, generator=g), torch.randn(16, generator=g)
    code = "answer(given.t.map((t) => [...noise.slerp(Float32Array.from(given.a), Float32Array.from(given.b), t)]));"
    ts = [0.0, 0.25, 0.5, 0.9, 1.0]
    found = node(code, {"a": a.tolist(), "b": b.tolist(), "t": ts})
    for t, row in zip(ts, found, strict=True):
        torch.testing.assert_close(torch.tensor(row), slerp(a[None], b[None], t)[0], atol=1e-5, rtol=1e-5)
    same = node(code, {"a": a.tolist(), "b": a.tolist(), "t": [0.5]})
    torch.testing.assert_close(torch.tensor(same[0]), a, atol=1e-5, rtol=1e-5)


# ---- waves


@pytest.mark.parametrize(("channels", "n"), [(1, 500), (2, 10_080), (2, 30_000), (1, 12_345), (5, 11_000)])
def test_a_wave_is_made_ready_as_python_does_it(channels: int, n: int, tmp_path: Path) -> None:
    wave = 1.2 * (2 * torch.rand(channels, n, generator=torch.Generator().manual_seed(n)) - 1)
    code = "answer([...sound.ready(given.map((c) => Float32Array.from(c)))]);"
    found = torch.tensor(node(code, wave.tolist())).view(2, -1)
    torch.testing.assert_close(found, audio.ready(wave, audio.RATE), atol=1e-6, rtol=0)


def test_a_wav_file_from_the_page_can_be_read(tmp_path: Path) -> None:
    wave = (2 * torch.rand(2, audio.LENGTH, generator=torch.Generator().manual_seed(3)) - 1).clamp(-0.99, 0.99)
    code = "answer([...new Uint8Array(sound.wavBytes(Float32Array.from(given)).buffer)]);"
    found, rate = audio.read_wav(bytes(node(code, wave.flatten().tolist())))
    assert rate == audio.RATE
    torch.testing.assert_close(found, wave, atol=1e-4, rtol=0)


def test_loudness_is_the_listeners() -> None:
    from mmcourse.listener import loudness

    time = torch.arange(audio.LENGTH) / audio.RATE
    for scale in (1.0, 0.01):
        wave = scale * torch.stack([torch.sin(2 * torch.pi * 440 * time), 0.5 * torch.sin(2 * torch.pi * 900 * time)])
        found = node("answer(sound.loudness(given.map((c) => Float32Array.from(c))));", wave.tolist())
        assert found == pytest.approx(loudness(wave), abs=0.1)
    silent = node("answer(sound.loudness(given.map((c) => Float32Array.from(c))));", [[0.0] * 2000])
    assert silent == pytest.approx(-100)
