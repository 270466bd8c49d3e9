"""Subwords: a vocabulary learned from captions by byte-pair encoding, English and Chinese (derived in lesson 14).

The world's grammar knows all its words; captions that people wrote do not end. Sennrich, Haddow and Birch, "Neural
Machine Translation of Rare Words with Subword Units" (arXiv 1508.07909): start from characters and merge, again and
again, the pair of neighbours that is met most often inside words. Frequent words become one piece, rare ones stay in
parts, and a name that was never seen is spelt from pieces that were.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmcourse.text import PAD, UNKNOWN, UnknownWords, pad

if TYPE_CHECKING:
    from torch import Tensor

END = "</w>"  # stands at the last piece of a word that is written with spaces
MERGES = 600  # how many pieces are learned on top of the characters, where no size is given
LARGEST = 100_000  # pieces that a stored vocabulary may have
_HAN = re.compile(r"[㐀-鿿豈-﫿]+")
_WORD = re.compile(r"[^\W_㐀-鿿豈-﫿]+(?:['.-][^\W_㐀-鿿豈-﫿]+)*")
_PIECES = re.compile(rf"{_HAN.pattern}|{_WORD.pattern}|\S")
_TIGHT_AFTER, _TIGHT_BEFORE = "([", ":,.;!?)]、。"


def split_runs(text: str) -> list[str]:
    """A caption's words in order, lower-cased: Latin words with their inner hyphens, apostrophes, dots and digits; runs
    of Chinese characters; every other sign alone. Full-width signs become plain ones ("：" is ":").

    No merge crosses from one of these to the next.
    """
    return _PIECES.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))


def normal(text: str) -> str:
    """A caption as ``decode`` gives it back: lower-cased, with one space between words of Latin letters and signs, none
    around Chinese, none before ":" or "," and none inside brackets."""
    return _spaced(split_runs(text))


def _spaced(runs: Sequence[str]) -> str:
    out = ""
    for i, run in enumerate(runs):
        before = runs[i - 1] if i else ""
        # what a sign follows decides whether a space stands after it: "skin: dark" but "按键:1"
        anchor = runs[i - 2] if i > 1 and before in _TIGHT_BEFORE else before
        chinese = any(_HAN.match(part) for part in (before, anchor, run) if part)
        tight = not i or chinese or before in _TIGHT_AFTER or run in _TIGHT_BEFORE
        out += run if tight else " " + run
    return out


def _symbols(run: str) -> tuple[str, ...]:
    """A word's pieces before any merge: its characters; a word of letters carries the mark of its end."""
    return (*run[:-1], run[-1] + END) if _WORD.match(run) else tuple(run)


class Subwords:
    """Pieces with a number each; 0 is padding, 1 an unknown character. Made by ``learn`` or ``from_dict``.

    ``alphabet`` lists the characters, a letter both with and without the end-of-word mark; ``merges`` the pairs that
    were merged, in order; ``words`` all pieces: ``<pad>``, ``<unk>``, the alphabet, what the merges made.
    """

    def __init__(self, alphabet: Iterable[str], merges: Iterable[tuple[str, str]]):
        self.alphabet, self.merges = sorted(set(alphabet)), [(a, b) for a, b in merges]
        self.words = list(dict.fromkeys([PAD, UNKNOWN, *self.alphabet, *(a + b for a, b in self.merges)]))
        self.index = {word: i for i, word in enumerate(self.words)}
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        self._kept: dict[str, list[str]] = {}

    @classmethod
    def learn(cls, captions: Iterable[str], size: int | None = None) -> Subwords:
        """Learn at most ``size`` pieces from captions, counted with padding, the unknown and the alphabet.

        The alphabet goes in whole, so that no caption learned from needs the unknown id; by default ``MERGES`` pieces
        come on top of it. Of pairs met equally often the first in the order of characters is merged; a pair that is met
        once is not. The same captions, in any order, give the same pieces.

        Raises ``ValueError`` without captions, or where the alphabet alone has more pieces than ``size``.
        """
        if isinstance(captions, str):
            raise ValueError('learn: expected a list of captions, got one string. Write learn(["a red circle", ...]).')
        runs = Counter(run for caption in captions for run in split_runs(caption))
        if not runs:
            raise ValueError("learn: expected captions with at least one word, got none.")
        alphabet = {symbol for run in runs for symbol in _symbols(run)}
        alphabet |= {c + END for run in runs if _WORD.match(run) for c in run}
        alphabet |= {c for run in runs if _WORD.match(run) for c in run}
        least = len(alphabet) + 2
        size = least + MERGES if size is None else size
        if size < least:
            raise ValueError(
                f"size: these captions have {len(alphabet):,} characters, which all go in: expected at least "
                f"{least:,}, got {size:,}. Without a size, {MERGES} pieces come on top of them."
            )
        return cls(alphabet, _merges(runs, size - least, alphabet))

    def __len__(self) -> int:
        return len(self.words)

    def pieces(self, text: str) -> list[str]:
        """A caption as its pieces; a character that the alphabet lacks stays as it is."""
        return [piece for run in split_runs(text) for piece in self._cut(run)]

    def _cut(self, run: str) -> list[str]:
        """A word's pieces: of the pairs that lie in it, the one merged earliest is merged, until none is left."""
        if run not in self._kept:
            pieces = list(_symbols(run))
            while len(pieces) > 1:
                ranks = [self._rank.get(pair, len(self.merges)) for pair in itertools.pairwise(pieces)]
                best = min(ranks)
                if best == len(self.merges):
                    break
                pieces = _join(pieces, self.merges[best])
            if len(self._kept) > LARGEST:
                self._kept.clear()
            self._kept[run] = pieces
        return list(self._kept[run])

    def ids(self, text: str, *, strict: bool = False) -> list[int]:
        """The ids of one caption; an unknown character is 1.

        Raises ``ValueError`` on an empty caption and, when strict, ``UnknownWords`` that names unknown characters.
        """
        pieces = self.pieces(text)
        if not pieces:
            raise ValueError('The caption is empty. Write what the picture shows, such as "a black cat" or "黑猫".')
        if strict and (missing := self.unknown(text)):
            raise UnknownWords(missing, {})
        return [self.index.get(piece, 1) for piece in pieces]

    def unknown(self, text: str) -> list[str]:
        """The characters of a caption that have no id, each once, in order. Empty where all is known."""
        missing = (piece.removesuffix(END) for piece in self.pieces(text) if piece not in self.index)
        return list(dict.fromkeys(missing))

    def tokenize(self, texts: Sequence[str], *, length: int = 32, strict: bool = False) -> Tensor:
        """Captions to ids: int64 (B, length), filled up with 0.

        Raises ``ValueError`` for a bare string, an empty caption or one of more than ``length`` pieces, and (when
        ``strict``) ``UnknownWords``.
        """
        if isinstance(texts, str):
            raise ValueError('tokenize: expected a list of captions, got one string. Write tokenize(["a black cat"]).')
        return pad([self.ids(text, strict=strict) for text in texts], length=length)

    def decode(self, ids: Iterable[int]) -> str:
        """The caption that ids stand for. ``decode(ids(text)) == normal(text)`` where no character is unknown.

        Padding is passed over; an unknown is written ``<unk>``. Raises ``ValueError`` on a number that is no id.
        """
        runs: list[str] = []
        open_word = False
        for number in (int(i) for i in ids):
            if not 0 <= number < len(self.words):
                raise ValueError(f"decode: expected ids from 0 to {len(self.words) - 1}, got {number}.")
            if number == 0:
                continue
            piece = self.words[number]
            text = piece.removesuffix(END)
            if open_word or (runs and _HAN.match(runs[-1]) and _HAN.match(text)):
                runs[-1] += text
            else:
                runs.append(text)
            open_word = piece != UNKNOWN and not piece.endswith(END) and bool(_WORD.match(runs[-1]))
        return _spaced(runs)

    def to_dict(self) -> dict[str, Any]:
        """All that ``from_dict`` needs, as plain JSON, for a checkpoint's hparams."""
        return {"kind": "byte pairs", "alphabet": self.alphabet, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Subwords:
        """The vocabulary that ``to_dict`` gave. Raises ``ValueError`` on anything else."""
        given = found if isinstance(found, dict) else {}
        alphabet, merges = given.get("alphabet"), given.get("merges")
        if given.get("kind") != "byte pairs" or not isinstance(alphabet, list) or not isinstance(merges, list):
            raise ValueError("from_dict: expected what to_dict gives: kind, alphabet and merges.")
        if len(alphabet) + len(merges) > LARGEST or not all(isinstance(a, str) and a for a in alphabet):
            raise ValueError(f"from_dict: expected at most {LARGEST:,} strings, none of them empty.")
        known, pairs = set(alphabet), []
        for pair in merges:
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
                raise ValueError(f"from_dict: expected each merge to be two strings, got {pair!r}.")
            if missing := [p for p in pair if p not in known]:
                raise ValueError(f"from_dict: the merge {pair!r} needs {missing[0]!r}, which nothing before it makes.")
            pairs.append((pair[0], pair[1]))
            known.add(pair[0] + pair[1])
        return cls(alphabet, pairs)


def _join(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """Pieces with each occurrence of a pair, from the left, made one."""
    out, i = [], 0
    while i < len(pieces):
        if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out


def _merges(runs: Counter[str], room: int, alphabet: set[str]) -> list[tuple[str, str]]:
    """The pairs to merge, most frequent first, until they have made ``room`` new pieces.

    Counts are kept up to date: a merge changes them only in the words that hold the pair.
    """
    words = [list(_symbols(run)) for run in sorted(runs)]
    times = [runs[run] for run in sorted(runs)]
    counts: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in itertools.pairwise(word):
            counts[pair] += times[i]
            where[pair].add(i)
    merges: list[tuple[str, str]] = []
    made = set(alphabet)
    while len(made) < len(alphabet) + room and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < 2:
            break
        merges.append(best)
        made.add(best[0] + best[1])
        for i in sorted(where.pop(best)):
            for pair in itertools.pairwise(words[i]):
                counts[pair] -= times[i]
                if not counts[pair]:
                    del counts[pair]
            words[i] = _join(words[i], best)
            for pair in itertools.pairwise(words[i]):
                counts[pair] += times[i]
                where[pair].add(i)
    return merges
