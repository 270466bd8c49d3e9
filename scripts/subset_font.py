"""Make the two fonts of Chinese characters: mmcourse/fonts/mmcourse-han.otf for the course's figures, and
book/_static/mmcourse-book-han.otf for the book's pages.

    python scripts/subset_font.py                       # from an installed Noto Sans CJK
    python scripts/subset_font.py --source Some.ttc     # from a file of yours

The source is Noto Sans CJK SC Regular (SIL Open Font License 1.1, see mmcourse/fonts/OFL.txt). The subset gets a
family name of its own, so that a figure is drawn with it on every machine, with or without Noto installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "mmcourse" / "fonts" / "mmcourse-han.otf"
BOOK_TARGET = ROOT / "book" / "_static" / "mmcourse-book-han.otf"
FAMILY = "mmcourse Han"
FACE = "Noto Sans CJK SC"
PUNCTUATION = "，。、；：？！“”‘’《》（）「」·—…　"
#: Words for the titles and labels of figures, beside the world's own.
LABELS = (
    "中文 英文 句子 文字 图像 图片 照片 声音 数字 类别 提示词 真假 训练 测试 损失 惩罚 步 秒 批 模型 噪声 "
    "生成器 判别器 正确 错误 率 分 比例 相似度 条件 遮罩 补全 上限 下限 未见过 全部 平均 前后 左右 "
    "零二两三四五六七八九十百千"
)
LIMIT = 150_000

SOURCES = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",  # Debian, Ubuntu
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",  # Fedora
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",  # Arch
)
MISSING = """Noto Sans CJK was not found. Install it, then run this again:
  Debian, Ubuntu:  apt-get install fonts-noto-cjk
  Fedora:          dnf install google-noto-sans-cjk-fonts
  Arch:            pacman -S noto-fonts-cjk
or name a file: python scripts/subset_font.py --source NotoSansCJK-Regular.ttc"""


def characters() -> str:
    """Every character of the world's words and of ``LABELS``, ASCII, and common Chinese punctuation."""
    sys.path.insert(0, str(ROOT))
    from mmcourse.world import WORDS

    ascii_ = "".join(map(chr, range(0x20, 0x7F)))
    return "".join(sorted(set("".join(WORDS)) | set(LABELS) | set(ascii_) | set(PUNCTUATION)))


def book_characters() -> str:
    """Every Chinese character of the book's pages and of the lessons and exercises, and common punctuation."""
    places = ("book/*.md", "book/live/*.md", "book/live/src/*.mjs", "notebooks/*.ipynb", "exercises/*.ipynb")
    files = [p for place in places for p in sorted(ROOT.glob(place))]
    text = "".join(p.read_text(encoding="utf-8") for p in files)
    sys.path.insert(0, str(ROOT))
    from mmcourse.emojis import caption, compositions

    text += "".join(caption(code, "zh") for code in compositions())  # what lesson 14 prints
    han = {c for c in text if "\u3400" <= c <= "\u9fef"}  # not the ends of ranges in patterns
    return "".join(sorted(han | set(characters())))


def find_source() -> Path | None:
    """The installed Noto Sans CJK Regular, or None."""
    return next((Path(p) for p in SOURCES if Path(p).is_file()), None)


def face_number(source: Path) -> int:
    """Which face of a .ttc is Noto Sans CJK SC; 0 for a single font. Raises ``ValueError`` if there is none."""
    if source.suffix.lower() != ".ttc":
        return 0
    with TTCollection(source, lazy=True) as faces:
        names = [font["name"].getDebugName(1) for font in faces.fonts]
    if FACE not in names:
        raise ValueError(f"{source}: holds no face called {FACE!r}, only {', '.join(names)}.")
    return names.index(FACE)


def make(source: Path, target: Path = TARGET, wanted: str = "") -> int:
    """Write the subset of ``source`` that has the characters ``wanted`` to ``target``; returns its size in bytes.

    Raises ``ValueError`` if the source lacks a character, or if the subset would be larger than ``LIMIT``.
    """
    options = subset.Options()
    options.layout_features = []  # matplotlib places each character by itself
    options.hinting = False
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 11, 13, 14]  # copyright, names, version, licence
    options.recalc_timestamp = False  # the same source gives the same bytes
    options.font_number = face_number(source)
    font = subset.load_font(str(source), options)
    wanted = wanted or characters()
    missing = [c for c in wanted if ord(c) not in font.getBestCmap()]
    if missing:
        raise ValueError(f"{source}: lacks {' '.join(missing)}.")
    cutter = subset.Subsetter(options)
    cutter.populate(text=wanted)
    cutter.subset(font)
    rename(font)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".tmp")
    subset.save_font(font, str(temporary), options)
    size = temporary.stat().st_size
    if size > LIMIT:
        temporary.unlink()
        raise ValueError(f"The subset takes {size} bytes, more than {LIMIT}.")
    temporary.replace(target)
    return size


def rename(font: TTFont) -> None:
    """Give the subset its own family name, in the name table and in the CFF table."""
    compact = FAMILY.replace(" ", "")
    for number, text in {1: FAMILY, 2: "Regular", 3: f"{compact}-Regular", 4: FAMILY, 6: f"{compact}-Regular"}.items():
        font["name"].removeNames(nameID=number)
        font["name"].setName(text, number, 3, 1, 0x409)
    cff = font["CFF "].cff
    cff.fontNames = [f"{compact}-Regular"]
    cff.topDictIndex[0].FamilyName = FAMILY
    cff.topDictIndex[0].FullName = FAMILY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=None, help="a Noto Sans CJK .ttc or .otf file")
    source = parser.parse_args().source or find_source()
    if source is None or not source.is_file():
        sys.exit(MISSING)
    for target, wanted in ((TARGET, characters()), (BOOK_TARGET, book_characters())):
        print(f"{target.relative_to(ROOT)}: {make(source, target, wanted)} bytes, {len(wanted)} characters")


if __name__ == "__main__":
    main()
