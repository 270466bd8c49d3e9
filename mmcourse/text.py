"""Words to numbers: split, vocabulary, tokenize, pad; English and Chinese (derived in lesson 08)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PAD, UNKNOWN = "<pad>", "<unk>"
EMPTY_PROMPT = (
    'The prompt is empty. A prompt looks like "a small red circle", '
    '"a large blue star above a green square" or "红色的圆形在蓝色的正方形左边".'
)
_LATIN = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
_HAN = re.compile(r"[㐀-鿿]+")
_PIECES = re.compile(f"{_LATIN.pattern}|{_HAN.pattern}")


def is_chinese(text: str) -> bool:
    """Whether the text holds at least one Chinese character."""
    return bool(_HAN.search(text))


def split_words(text: str, known: Iterable[str]) -> list[str]:
    """Split a caption into words; punctuation and case are dropped.

    Latin words end at spaces. A run of Chinese characters is cut by the longest known word that fits
    (forward maximum matching); a character that starts no known word becomes a word of its own.
    """
    known_set = known if isinstance(known, (set, frozenset, dict)) else set(known)
    longest = max((len(w) for w in known_set), default=1)
    words: list[str] = []
    for piece in _PIECES.findall(text.lower()):
        if not _HAN.match(piece):
            words.append(piece)
            continue
        at = 0
        while at < len(piece):
            for length in range(min(longest, len(piece) - at), 0, -1):
                if length == 1 or piece[at : at + length] in known_set:
                    words.append(piece[at : at + length])
                    at += length
                    break
    return words


class UnknownWords(ValueError):
    """A prompt holds words that the model never saw. ``words`` lists them, ``offers`` the nearest known."""

    def __init__(self, words: Sequence[str], offers: dict[str, list[str]]):
        self.words, self.offers = list(words), offers
        lines = []
        for word in words:
            near = offers.get(word) or []
            known = f"the nearest known: {', '.join(near)}" if near else "nothing known is near it"
            lines.append(f"{word!r} ({known})")
        super().__init__(f"This model does not know {'; '.join(lines)}.")


class Vocabulary:
    """A fixed list of words with a number each; 0 is padding, 1 an unknown word.

    ``tokenize(["a red circle"], length=24)`` gives int64 ids of shape (B, length), padded with 0.
    """

    def __init__(self, words: Iterable[str]):
        self.words = [PAD, UNKNOWN, *sorted(set(words) - {PAD, UNKNOWN})]
        self.index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, text: str, *, strict: bool = True) -> list[int]:
        """The ids of one text. Raises ``ValueError`` on an empty one and, when strict, ``UnknownWords``."""
        words = split_words(text, self.index)
        if not words:
            raise ValueError(EMPTY_PROMPT)
        missing = list(dict.fromkeys(w for w in words if w not in self.index))
        if missing and strict:
            raise UnknownWords(missing, {w: self.nearest(w) for w in missing})
        return [self.index.get(w, 1) for w in words]

    def nearest(self, word: str, count: int = 3) -> list[str]:
        """Known words spelt most like this one; for Chinese, those that share a character."""
        if is_chinese(word):
            return [w for w in self.words if set(w) & set(word)][:count]
        return difflib.get_close_matches(word, self.words[2:], n=count, cutoff=0.6)

    def tokenize(self, texts: Sequence[str], *, length: int = 24, strict: bool = True) -> Tensor:
        """Texts to ids of shape (B, length).

        Raises ``ValueError`` for a bare string, for an empty text, for one longer than ``length`` words,
        and (when ``strict``) ``UnknownWords``.
        """
        if isinstance(texts, str):
            raise ValueError('tokenize: expected a list of texts, got one string. Write tokenize(["a red circle"]).')
        return pad([self.ids(t, strict=strict) for t in texts], length=length)


def pad(rows: Sequence[Sequence[int]], *, length: int) -> Tensor:
    """Rows of ids to one int64 tensor (B, length), filled up with 0. Raises ``ValueError`` on a longer row."""
    import torch

    long = max((len(row) for row in rows), default=0)
    if long > length:
        raise ValueError(f"A text has {long} words; this model reads at most {length}. Shorten it.")
    out = torch.zeros(len(rows), length, dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    return out
