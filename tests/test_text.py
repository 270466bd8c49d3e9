"""Words to numbers, in two languages."""

from __future__ import annotations

import pytest
import torch

from mmcourse.data import vocabulary
from mmcourse.text import UnknownWords, Vocabulary, pad, split_words


def test_latin_and_chinese_are_split() -> None:
    words = vocabulary()
    assert split_words("A small, RED circle!", words.index) == ["a", "small", "red", "circle"]
    assert split_words("红色的圆形在左边", words.index) == ["红色", "的", "圆形", "在", "左边"]
    assert split_words("红的圆", words.index) == ["红", "的", "圆"]


def test_longest_match_wins() -> None:
    assert split_words("十字形", {"十字", "十字形", "形"}) == ["十字形"]
    assert split_words("十字形", {"十字", "形"}) == ["十字", "形"]
    assert split_words("龙十字", {"十字"}) == ["龙", "十字"]


def test_ids_are_stable_and_padded() -> None:
    words = Vocabulary(["b", "a", "c", "a"])
    assert words.words == ["<pad>", "<unk>", "a", "b", "c"]
    ids = words.tokenize(["c a", "b"], length=4)
    assert ids.dtype == torch.int64 and ids.tolist() == [[4, 2, 0, 0], [3, 0, 0, 0]]


def test_unknown_words_are_named_with_the_nearest_known() -> None:
    with pytest.raises(UnknownWords) as caught:
        vocabulary().tokenize(["a smal red cirle"])
    assert caught.value.words == ["smal", "cirle"]
    assert "small" in caught.value.offers["smal"] and "circle" in caught.value.offers["cirle"]
    assert "'cirle'" in str(caught.value) and "circle" in str(caught.value)
    with pytest.raises(UnknownWords, match="三角形"):
        vocabulary().tokenize(["红色的三角"])
    with pytest.raises(UnknownWords, match="nothing known is near"):
        vocabulary().tokenize(["xylophonist"])
    assert vocabulary().tokenize(["xylophonist"], strict=False)[0, 0] == 1


@pytest.mark.parametrize("empty", ["", "   ", "?!。"])
def test_an_empty_prompt_says_what_a_prompt_looks_like(empty: str) -> None:
    with pytest.raises(ValueError, match="looks like .*small red circle"):
        vocabulary().tokenize([empty])


def test_a_bare_string_and_a_long_text_are_refused() -> None:
    with pytest.raises(ValueError, match="list of texts"):
        vocabulary().tokenize("a red circle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="30 words.*at most 24"):
        vocabulary().tokenize([" ".join(["red"] * 30)])
    with pytest.raises(ValueError, match="3 words"):
        pad([[1, 2, 3]], length=2)
