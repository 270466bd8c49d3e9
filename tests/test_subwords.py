"""Byte pairs: held to a plain second implementation, to round trips, and to names that were never shown."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
import torch

from mmcourse import emojis
from mmcourse.subwords import END, Subwords, normal, split_runs
from mmcourse.text import PAD, UNKNOWN, UnknownWords

CAPTIONS = [
    "woman firefighter: dark skin tone",
    "man firefighter: light skin tone",
    "firefighter",
    "woman astronaut: medium-light skin tone",
    "kiss: woman, man, dark skin tone",
    "keycap: 10",
    "flag: Côte d’Ivoire",
    "St. Martin (island) & more",
    "女消防员：较深肤色",
    "男消防员：较浅肤色",
    "女宇航员：较深肤色",
    "AB型血",
]


def naive(captions: list[str], merges: int) -> list[tuple[str, str]]:
    """Algorithm 1 of Sennrich and others: count all pairs, merge the first of the most frequent, begin again."""
    words: Counter[tuple[str, ...]] = Counter()
    for caption in captions:
        for run in split_runs(caption):
            letters = run[0].isalnum() and not "\u3400" <= run[0] <= "\u9fff"
            words[(*run[:-1], run[-1] + END) if letters else tuple(run)] += 1
    out: list[tuple[str, str]] = []
    made: set[str] = set()
    while len(made) < merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for i in range(len(word) - 1):
                pairs[word[i], word[i + 1]] += times
        top = max(pairs.values(), default=0)
        if top < 2:
            break
        best = sorted(pair for pair, times in pairs.items() if times == top)[0]
        out.append(best)
        made.add("".join(best))
        changed: Counter[tuple[str, ...]] = Counter()
        for word, times in words.items():
            # a sign that no caption holds parts the pieces, so that replacing text is replacing pieces
            joined = ("\x00" + "\x00\x00".join(word) + "\x00").replace(
                f"\x00{best[0]}\x00\x00{best[1]}\x00", f"\x00{best[0]}{best[1]}\x00"
            )
            changed[tuple(joined.strip("\x00").split("\x00\x00"))] += times
        words = changed
    return out


@pytest.fixture(scope="module")
def words() -> Subwords:
    return Subwords.learn(CAPTIONS)


@pytest.fixture(scope="module")
def names() -> list[str]:
    """All names of emojis in both languages; no font is needed for that."""
    return [emojis.caption(code, language) for language in emojis.LANGUAGES for code in emojis._known()]


def test_the_papers_example() -> None:
    """The words of the paper's listing: e s, es t (the end stands at the letter here), l o are its first merges."""
    learned = Subwords.learn(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    assert learned.merges[:3] == [("e", "s"), ("es", "t" + END), ("l", "o")]
    assert learned.pieces("lowest") == ["low", "est" + END], "a word that was never shown"
    assert learned.pieces("low") == ["low" + END]


def test_merges_are_those_of_a_plain_implementation(names: list[str]) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        some = rng.sample(names, 120) + CAPTIONS
        learned = Subwords.learn(some)
        assert learned.merges == naive(some, 600) and len(learned.merges) > 40
        limited = Subwords.learn(some, len(learned.alphabet) + 2 + 20)
        assert limited.merges == naive(some, 20) and len(limited) == len(learned.alphabet) + 22


def test_captions_are_cut_as_they_were_learned(words: Subwords) -> None:
    """Applying the merges one after another, over the whole word, gives the same pieces."""
    for caption in CAPTIONS:
        wanted = []
        for run in split_runs(caption):
            pieces = list(run) if not run[0].isalnum() or "\u3400" <= run[0] <= "\u9fff" else [*run[:-1], run[-1] + END]
            for a, b in words.merges:
                i = 0
                while i < len(pieces) - 1:
                    if pieces[i] == a and pieces[i + 1] == b:
                        pieces[i : i + 2] = [a + b]
                    i += 1
            wanted += pieces
        assert words.pieces(caption) == wanted


def test_the_same_captions_in_any_order_give_the_same_pieces() -> None:
    shuffled = CAPTIONS[:]
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        again = Subwords.learn(shuffled)
        assert again.words == Subwords.learn(CAPTIONS).words and again.merges == Subwords.learn(CAPTIONS).merges


def test_no_piece_crosses_a_word(words: Subwords, names: list[str]) -> None:
    many = Subwords.learn(["red cat"] * 50 + ["红色：猫"] * 50 + ["cat,dog"] * 50 + ["up按钮"] * 50)
    assert not any(" " in piece or "," in piece[1:] or ":" in piece[1:] for piece in many.words)
    assert {"red" + END, "cat" + END, "红色", "按钮"} <= set(many.words)
    assert "红色猫" not in many.words and "catdog" + END not in many.words
    whole, runs = Subwords.learn(names), "\n".join({run for name in names for run in split_runs(name)}) + "\n"
    for piece in whole.words[2:]:
        inside = piece.replace(END, "\n") if piece.endswith(END) else piece
        assert inside in runs or len(piece.removesuffix(END)) == 1, piece
        assert piece.count(END) == piece.endswith(END)
        han = ["\u3400" <= c <= "\u9fff" for c in piece]
        assert all(han) or not any(han), piece


def test_words_of_two_scripts_and_signs_are_parted() -> None:
    assert split_runs("Woman firefighter: dark skin tone") == ["woman", "firefighter", ":", "dark", "skin", "tone"]
    assert split_runs("女消防员：较深肤色、红发") == ["女消防员", ":", "较深肤色", "、", "红发"]
    assert split_runs("medium-light o’clock U.S. St. 10") == ["medium-light", "o'clock", "u.s", ".", "st", ".", "10"]
    assert split_runs("AB型血（中）") == ["ab", "型血", "(", "中", ")"]
    assert split_runs("  ") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Woman  Firefighter : Dark", "woman firefighter: dark"),
        ("St. Martin (Island) & More", "st. martin (island) & more"),
        ("按键：1", "按键:1"),
        ("keycap:1", "keycap: 1"),
        ("男人：中等肤色、红发", "男人:中等肤色、红发"),
        ("UP按钮", "up按钮"),
        ("科科斯（基林）群岛", "科科斯(基林)群岛"),
    ],
)
def test_captions_are_written_in_one_way(text: str, told: str) -> None:
    assert normal(text) == told == normal(told)


def test_round_trips(words: Subwords, names: list[str]) -> None:
    for caption in CAPTIONS:
        assert words.decode(words.ids(caption)) == normal(caption)
    padded = words.tokenize(CAPTIONS, length=40)
    assert [words.decode(row.tolist()) for row in padded] == [normal(c) for c in CAPTIONS]
    whole = Subwords.learn(names, 2200)
    assert len(whole) == 2200
    assert [n for n in names if whole.decode(whole.ids(n)) != normal(n)] == []
    assert [n for n in names[: len(names) // 2] if normal(n) != n.lower()] == [], "English stays as it is written"
    rng, signs = random.Random(0), "abz :,.()-'10女红色、&é "
    learned = Subwords.learn([signs, "".join(signs[::-1]), "ab ab 红色 红色 10 10"])
    for _ in range(3000):
        text = "".join(rng.choices(signs, k=rng.randint(1, 14)))
        if split_runs(text):
            assert not learned.unknown(text) and learned.decode(learned.ids(text)) == normal(text), text


def test_ids_have_the_vocabularys_interface(words: Subwords) -> None:
    assert words.words[:2] == [PAD, UNKNOWN] and len(words) == len(set(words.words)) == len(words.words)
    assert words.words[2 : 2 + len(words.alphabet)] == words.alphabet == sorted(words.alphabet)
    ids = words.tokenize(["firefighter", "女消防员"], length=12)
    assert ids.dtype == torch.int64 and ids.shape == (2, 12) and ids[:, -1].tolist() == [0, 0]
    assert [words.words[i] for i in words.ids("firefighter")] == words.pieces("firefighter")
    with pytest.raises(ValueError, match="list of captions"):
        words.tokenize("firefighter")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="this model reads at most 2"):
        words.tokenize(["woman firefighter: dark skin tone"], length=2)
    with pytest.raises(ValueError, match="The caption is empty"):
        words.ids(" \n ")
    with pytest.raises(ValueError, match=f"expected ids from 0 to {len(words) - 1}, got {len(words)}"):
        words.decode([len(words)])


def test_unknown_characters_are_told_and_become_the_unknown(words: Subwords) -> None:
    assert words.unknown("woman firefighter") == [] == words.unknown("女消防员")
    assert words.unknown("woman ☃ 龙 wolf龙 ☃") == ["☃", "龙"]
    ids = words.ids("woman ☃")
    assert ids[-1] == 1 and words.decode(ids) == "woman <unk>"
    assert 1 in words.tokenize(["龙"]) and words.tokenize(["龙"]).sum() == 1
    with pytest.raises(UnknownWords, match="☃"):
        words.tokenize(["woman ☃"], strict=True)
    # a new word of known letters is spelt, wherever in the word a letter was seen
    assert words.unknown("gnome") == [] and words.decode(words.ids("gnome")) == "gnome"


def test_learning_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="list of captions"):
        Subwords.learn("a red circle")
    for empty in ([], ["", "  "]):
        with pytest.raises(ValueError, match="at least one word"):
            Subwords.learn(empty)
    with pytest.raises(ValueError, match=r"have 4 characters, which all go in: expected at least 6, got 5"):
        Subwords.learn(["ab"], 5)
    assert len(Subwords.learn(["ab"], 6)) == 6 and Subwords.learn(["ab"]).merges == []


def test_a_vocabulary_travels_as_json(words: Subwords) -> None:
    told = json.loads(json.dumps(words.to_dict()))
    again = Subwords.from_dict(told)
    assert again.words == words.words and again.merges == words.merges
    assert [again.ids(c) for c in CAPTIONS] == [words.ids(c) for c in CAPTIONS]


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "words"},
        {"alphabet": None},
        {"alphabet": [1, 2]},
        {"alphabet": ["a", ""]},
        {"alphabet": ["a"] * 100_001},
        {"merges": [["a"]]},
        {"merges": [["a", 3]]},
        {"merges": ["ab"]},
        {"merges": [["a", "never made"]]},
    ],
)
def test_damaged_json_is_refused(words: Subwords, damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="from_dict: "):
        Subwords.from_dict(words.to_dict() | damage)
    with pytest.raises(ValueError, match="from_dict: "):
        Subwords.from_dict([])  # type: ignore[arg-type]


def test_held_out_names_need_no_unknown_and_are_made_of_seen_pieces() -> None:
    """Learned from seen names alone, in both languages; each piece of a held-out name stands in a seen name."""
    held = emojis.held_out_codes()
    seen = [c for c in emojis._known() if c not in held]
    small = [emojis._known()[i] for i in emojis._subset(emojis._known(), emojis.SMALL)]
    for codes in (seen, [c for c in small if c not in held]):
        shown = [emojis.caption(c, language) for c in codes for language in emojis.LANGUAGES]
        learned = Subwords.learn(shown)
        pieces = {piece for caption in shown for piece in learned.pieces(caption)}
        for code in held & set(emojis._known() if codes is seen else small):
            for language in emojis.LANGUAGES:
                name = emojis.caption(code, language)
                assert learned.unknown(name) == [] and set(learned.pieces(name)) <= pieces, name
                assert learned.decode(learned.ids(name)) == normal(name)
