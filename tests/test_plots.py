"""What the figures show is what they were given: pixels, words, gaps, lines; and nothing global is touched."""

from __future__ import annotations

import io
import math
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from PIL import Image

from mmcourse import plots, world


def pixels(figure: plots.Sheet) -> np.ndarray:
    """A figure as uint8 (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("RGB"))


def words(figure: plots.Sheet) -> list[str]:
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def scenes(n: int, seed: int = 0) -> torch.Tensor:
    return world.draw(world.sample_scenes(n, torch.Generator().manual_seed(seed)))


def count_inside(big: np.ndarray, small: np.ndarray) -> int:
    """How often ``small`` occurs in ``big``, exactly."""
    h, w = small.shape[:2]
    starts = np.argwhere((big[: big.shape[0] - h + 1, : big.shape[1] - w + 1] == small[0, 0]).all(-1))
    return sum(np.array_equal(big[y : y + h, x : x + w], small) for y, x in starts)


# ---------------------------------------------------------------------------------------------------- font


def test_the_font_has_every_character_of_the_worlds_words():
    known = set(TTFont(plots.FONT_FILE).getBestCmap())
    assert {ord(c) for w in world.WORDS for c in w} <= known
    assert set(map(ord, "，。、：？！“”《》（）")) <= known
    assert set(range(0x20, 0x7F)) <= known


def test_the_font_is_small_and_keeps_its_licence():
    assert plots.FONT_FILE.stat().st_size < 150_000
    licence = (plots.FONT_FILE.parent / "OFL.txt").read_text()
    font = TTFont(plots.FONT_FILE)
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "2014-2021 Adobe" in licence and "2014-2021 Adobe" in font["name"].getDebugName(0)
    assert font["name"].getDebugName(1) == plots.FONT_FAMILY


def test_captions_are_drawn_with_the_shipped_font_in_both_weights(caplog: pytest.LogCaptureFixture):
    rng = random.Random(0)
    labels = world.sample_labels(200, torch.Generator().manual_seed(0))
    captions = world.captions(labels, rng, languages=["zh"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that it lacks
        for start in range(0, 200, 50):
            some = captions[start : start + 50]
            plots.png(plots.grid(scenes(50), titles=some, columns=5, title=some[0]))
    assert not caplog.records  # nor does it log that it looked for a font in vain


# ------------------------------------------------------------------------------------------------ pictures


def test_to_bytes_maps_the_range_and_the_axes():
    x = torch.full((1, 3, 2, 4), -1.0)
    x[0, 1, 0, 3] = 1.0
    out = plots.to_bytes(x)
    assert out.shape == (1, 2, 4, 3) and out.dtype == np.uint8
    assert out[0, 0, 3].tolist() == [0, 255, 0] and out.sum() == 255


@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (5, 1, 8, 8), (3, 3, 32, 48)])
def test_grid_shows_each_picture_once_enlarged_exactly(shape: tuple[int, ...]):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    image = pixels(plots.grid(x, columns=2, title="a title", titles=[f"no {i}" for i in range(len(x))]))
    k = round(64 / max(shape[2:]))
    for picture in plots.to_bytes(x):
        enlarged = picture.repeat(k, axis=0).repeat(k, axis=1)
        assert count_inside(image, enlarged) == 1


def test_grid_goes_row_by_row():
    x = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 3, 8, 8)
    image = pixels(plots.grid(x, columns=3))
    grey = [image[8 + 32 + r * 72, 8 + 32 + c * 72, 0] for r in range(2) for c in range(3)]
    assert grey == [0, 51, 102, 153, 204, 255]


def test_a_tight_save_keeps_the_whole_sheet_and_its_sharp_pixels():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    figure = plots.grid(x, titles=["a", "bcd", "efghij", "y"])
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight", pad_inches=0.1, dpi=100)  # as a notebook's inline back end
    image = np.asarray(Image.open(out).convert("RGB"))
    whole = pixels(figure).shape
    assert image.shape == (whole[0] + 20, whole[1] + 20, 3)  # of one size whatever is drawn: a live panel stays put
    assert all(count_inside(image, p.repeat(8, 0).repeat(8, 1)) == 1 for p in plots.to_bytes(x))


def test_words_are_never_read_as_mathematics():
    bad = r"costs $\frac$ and $x"
    plots.png(plots.grid(scenes(1), titles=[bad], title=bad))
    plots.png(plots.curves({bad: [1.0, 2.0]}, title=bad, label=bad, reference={bad: 1.0}))
    plots.png(plots.similarity_matrix(torch.eye(2), [bad, "b"], [bad, "d"], title=bad))
    plots.png(plots.bars({bad: 0.5}, floor=0.1, floor_label=bad, title=bad))


def test_titles_stand_above_their_pictures():
    figure = plots.grid(scenes(4), titles=["a red circle", "两个星星", "$5 & <b>", "x"], columns=2, title="all")
    assert {"a red circle", "两个星星", "$5 & <b>", "all"} <= set(words(figure))
    text = next(t for t in figure.axes[0].texts if t.get_text() == "两个星星")
    image = figure.axes[0].images[1].get_extent()  # (left, right, bottom, top), y down
    assert image[0] < text.get_position()[0] < image[1] and text.get_position()[1] < image[3]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(3, 32, 32), r"Add the batch axis"),
        (torch.zeros(2, 4, 8, 8), r"axis 1 must be 3"),
        (torch.zeros(0, 3, 8, 8), r"at least one picture"),
        (torch.full((1, 3, 8, 8), 2.0), r"map \[0, 1\] by 2"),
        (torch.full((1, 3, 8, 8), math.nan), r"not finite"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"expected floats"),
    ],
)
def test_grid_refuses_what_is_not_a_batch_of_pictures(pictures: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        plots.grid(pictures)


def test_unequal_counts_are_refused():
    with pytest.raises(ValueError, match="one for each of 3 pictures, got 2"):
        plots.grid(scenes(3), titles=["a", "b"])
    with pytest.raises(ValueError, match="columns"):
        plots.grid(scenes(3), columns=0)
    with pytest.raises(ValueError, match="one for each of 3 pictures, got 4"):
        plots.prompt_strip(scenes(3), list("abcd"))
    with pytest.raises(ValueError, match="one for each of 2 rows"):
        plots.caption_sheet(scenes(6).view(2, 3, 3, 32, 32), ["a"])
    with pytest.raises(ValueError, match=r"marks: expected shape \(2, 3\)"):
        plots.caption_sheet(scenes(6).view(2, 3, 3, 32, 32), ["a", "b"], marks=torch.ones(3, 2))


def test_mosaic_lays_pictures_out_with_white_between():
    x = torch.stack([torch.full((3, 2, 2), v) for v in (-1.0, 0.0, 0.6)])
    out = plots.mosaic(x, columns=2, gap=1)
    assert out.shape == (5, 5, 3)
    assert out[0, 0, 0] == 0 and out[0, 3, 0] == 128 and out[3, 0, 0] == 204
    assert (out[2] == 255).all() and (out[:, 2] == 255).all() and (out[3:, 3:] == 255).all()


def test_caption_sheet_frames_and_counts_what_is_right():
    x = scenes(6).view(2, 3, 3, 32, 32)
    marks = torch.tensor([[True, False, True], [False, False, False]])
    figure = plots.caption_sheet(x, ["a small red circle", "一个大的红色的圆形在中间"], marks=marks)
    frames = [p for p in figure.axes[0].patches if isinstance(p, matplotlib.patches.Rectangle)]
    assert [p.get_linestyle() == "-" for p in frames] == marks.flatten().tolist()  # not by colour alone
    assert len({p.get_edgecolor() for p in frames}) == 2
    assert [w for w in words(figure) if "/" in w] == ["2/3", "0/3"]
    arms = len(figure.axes[0].lines)
    assert arms == 2 * 1 + 4 * 2  # a tick is one stroke, a cross two
    bare = plots.caption_sheet(x, ["a small red circle", "圆"])
    assert not bare.axes[0].patches and not bare.axes[0].lines


def test_names_stand_above_the_columns_of_a_sheet():
    x = scenes(6).view(2, 3, 3, 32, 32)
    figure = plots.caption_sheet(
        x, ["one", "two"], columns=["red", "蓝色", "black"], title="a title that is longer than all of it"
    )
    where = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    assert where["red"][0] < where["蓝色"][0] < where["black"][0]
    first = min(image.get_extent()[3] for image in figure.axes[0].images)
    assert where["a title that is longer than all of it"][1] < where["red"][1] < first
    middles = sorted({sum(image.get_extent()[:2]) / 2 for image in figure.axes[0].images})
    assert [where[k][0] for k in ("red", "蓝色", "black")] == pytest.approx(middles)
    assert all(
        count_inside(pixels(figure), np.kron(image, np.ones((2, 2, 1), dtype=np.uint8))) == 1
        for image in plots.to_bytes(x.flatten(0, 1))
    )
    with pytest.raises(ValueError, match="columns: expected one name for each of 3"):
        plots.caption_sheet(x, ["one", "two"], columns=["red"])


def test_a_picture_with_a_white_rim_gets_a_frame_and_no_other():
    white, grey = torch.ones(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)
    white[..., 8:24, 8:24] = -1
    assert [len(plots.grid(x).axes[0].patches) for x in (white, grey, torch.cat([white, grey, white]))] == [1, 0, 2]
    found = pixels(plots.grid(white))
    assert count_inside(found, np.kron(plots.to_bytes(white)[0], np.ones((2, 2, 1), dtype=np.uint8))) == 1
    frame = (found < 230).all(-1) & (found > 100).all(-1)
    assert frame.any(0).sum() == frame.any(1).sum() == 66, "one dot around 64"


def test_long_captions_are_wrapped_into_their_column_and_lose_nothing():
    english = "on the left a little turquoise circle and on the right a triangle that is small and blue"
    chinese = "下面是一个小号的橙色的三角形，上方是一个小的红色的圆形在大的黑色的圆环的左边"
    figure = plots.caption_sheet(scenes(2).view(2, 1, 3, 32, 32), [english, chinese])
    plots.png(figure)
    left = figure.axes[0].images[0].get_extent()[0]
    lines = [t for t in figure.axes[0].texts]
    assert len(lines) >= 4
    for line in lines:
        box = line.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= left, line.get_text()
    assert " ".join(t.get_text() for t in lines if t.get_text().isascii()) == english
    assert "".join(t.get_text() for t in lines if not t.get_text().isascii()) == chinese


def test_prompt_strip_writes_each_word_over_its_picture():
    figure = plots.prompt_strip(scenes(3), ["a red circle", "blue", "星形"])
    assert [t.get_text() for t in figure.axes[0].texts if t.get_text()] == ["a red circle", "blue", "星形"]
    image = pixels(figure)
    assert all(count_inside(image, p.repeat(3, 0).repeat(3, 1)) == 1 for p in plots.to_bytes(scenes(3)))


# -------------------------------------------------------------------------------------------------- curves


def test_smoothed_agrees_with_the_weighted_mean_and_steps_over_gaps():
    x = np.array([1.0, 3.0, math.nan, 2.0, math.inf, 5.0])
    out = plots.smoothed(x, 0.8)
    assert np.isnan(out[[2, 4]]).all()
    seen = np.array([1.0, 3.0, 2.0, 5.0])
    for k, i in enumerate([0, 1, 3, 5], 1):
        weights = 0.8 ** np.arange(k)[::-1]
        assert out[i] == pytest.approx(np.average(seen[:k], weights=weights))
    assert np.array_equal(plots.smoothed(seen, 0.0), seen)
    with pytest.raises(ValueError, match="smooth"):
        plots.smoothed(seen, 1.0)


def drawn(figure: plots.Sheet, name: str) -> np.ndarray:
    """The labelled curve, as rows of (step, value)."""
    line = next(line for line in figure.axes[0].lines if line.get_label() == name)
    return np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])


def test_curves_draw_columns_and_rows_alike():
    columns = {"step": [10, 20, 30], "seconds": [1.0, 2.0, 3.0], "d": [1.0, 0.5, 0.25], "g": [2.0, math.nan, 1.0]}
    rows = [{k: v[i] for k, v in columns.items() if not math.isnan(v[i])} for i in range(3)]
    for logs in (columns, rows):
        figure = plots.curves(logs, smooth=0)
        np.testing.assert_array_equal(drawn(figure, "d"), [[10, 1.0], [20, 0.5], [30, 0.25]])
        np.testing.assert_array_equal(drawn(figure, "g"), [[10, 2.0], [20, math.nan], [30, 1.0]])
        assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["d", "g"]
        assert figure.axes[0].get_xlabel() == "step" and figure.axes[0].get_ylabel() == "loss"
        plots.png(figure)


def test_log_curves_leave_gaps_where_there_is_no_logarithm():
    figure = plots.curves({"a": [1.0, 0.0, -1.0, math.inf, 4.0]}, smooth=0, log=True)
    np.testing.assert_array_equal(drawn(figure, "a")[:, 1], [1.0, math.nan, math.nan, math.nan, 4.0])
    assert figure.axes[0].get_yscale() == "log"
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert dots[0].get_ydata().tolist() == [1.0, 4.0]  # lone points are marked, or nobody would see them
    plots.png(figure)


def test_reference_lines_are_drawn_at_their_values_with_their_names():
    figure = plots.curves({"a": [1.0, 2.0]}, reference={"balance": 1.386})
    level = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [1.386, 1.386]]
    assert len(level) == 1 and "balance\n1.39" in words(figure)


def test_curves_refuse_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="one length"):
        plots.curves({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="at least one column"):
        plots.curves({"step": [1.0]})


def test_curves_differ_by_dash_and_not_by_colour_alone():
    figure = plots.curves({k: [1.0, 2.0] for k in "abcdefg"}, smooth=0)
    named = [line for line in figure.axes[0].lines if line.get_label() in "abcdefg"]
    assert len({line.get_color() for line in named}) == 7
    assert len({str(line._unscaled_dash_pattern) for line in named}) == 7


def test_training_sheet_holds_losses_measures_and_pictures():
    logs = {"step": [1.0, 2.0], "seconds": [0.1, 0.2], "d": [1.0, math.nan]}
    x = scenes(20)
    figure = plots.training_sheet(logs, pictures=x, measured=[{"step": 2.0, "share": 0.5}], title="a run")
    image = pixels(figure)
    shown = [count_inside(image, p.repeat(2, 0).repeat(2, 1)) for p in plots.to_bytes(x)]
    assert shown == [1] * 16 + [0] * 4
    assert {"d", "share", "a run", "step", "loss", "measured"} <= set(words(figure))
    size = figure.get_size_inches().tolist()
    figure.draw_without_rendering()
    above, below = figure.axes[1:3]
    legend, ticks = below.get_legend().get_window_extent(), above.get_window_extent().y0
    assert ticks - legend.y1 > legend.y0 - below.get_window_extent().y1 > 0  # nearer to the chart that it belongs to
    longer = plots.training_sheet(logs, pictures=x[:2], measured=[{"step": math.nan}])
    assert longer.get_size_inches().tolist() == size
    plots.png(longer)


# ------------------------------------------------------------------------------------------------ measures


def test_similarity_matrix_writes_each_number_in_its_square():
    figure = plots.similarity_matrix(torch.tensor([[0.9, -0.1, 0.2], [0.3, 0.8, 0.0]]), ["圆", "b"], ["x", "y", "z"])
    cells = {t.get_position(): t.get_text() for t in figure.axes[0].texts}
    assert cells == {(0, 0): "0.90", (1, 0): "-0.10", (2, 0): "0.20", (0, 1): "0.30", (1, 1): "0.80", (2, 1): "0.00"}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["圆", "b"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["x", "y", "z"]
    plots.png(figure)
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\)"):
        plots.similarity_matrix(torch.zeros(2, 3), ["a", "b"], ["x", "y"])
    with pytest.raises(ValueError, match="finite"):
        plots.similarity_matrix(torch.full((1, 1), math.nan), ["a"], ["x"])


def test_numbers_of_a_matrix_can_be_whole_and_read_on_every_ground():
    counts = torch.linspace(0, 8, 17)[None]
    figure = plots.similarity_matrix(counts, ["modes"], [""] * 17, number="g", low=0, high=8)
    assert not figure.axes[0].texts  # no room for 17 of them
    figure = plots.similarity_matrix(counts[:, :10], ["modes"], [""] * 10, number="g", low=0, high=8)
    assert [t.get_text() for t in figure.axes[0].texts] == [f"{v:g}" for v in counts[0, :10].tolist()]
    image = figure.axes[0].images[0]
    shades = image.cmap(np.linspace(0, 1, 256))[:, :3]

    def light(rgb):  # relative luminance, WCAG 2
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    for shade in shades:
        pair = sorted([light(np.array(matplotlib.colors.to_rgb(plots._ink_on(shade)))), light(shade)])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5
    at = [image.cmap(image.norm(v))[:3] for v in counts[0, :10].tolist()]
    assert [t.get_color() for t in figure.axes[0].texts] == [plots._ink_on(np.array(rgb)) for rgb in at]


def test_bars_are_as_long_as_their_shares():
    figure = plots.bars({"one": 0.93, "两": 0.25, "three": math.nan}, floor=0.1, ceiling=0.99)
    assert [p.get_width() for p in figure.axes[0].patches] == pytest.approx([0.93, 0.25, 0.0])
    levels = sorted(line.get_xdata()[0] for line in figure.axes[0].lines)
    assert levels == [0.1, 0.99]
    said = " ".join(words(figure))
    for part in ("93.0 %", "25.0 %", "not measured", "untrained 10.0 %", "real pictures 99.0 %"):
        assert part in said
    plots.png(figure)
    for bad in ({"a": 93.0}, {"a": -0.1}, {}):
        with pytest.raises(ValueError, match="share"):
            plots.bars(bad)
    with pytest.raises(ValueError, match="untrained"):
        plots.bars({"a": 0.5}, floor=7)


def test_labels_of_bars_stand_clear_of_the_lines():
    figure = plots.bars({"ends behind it": 0.545, "at it": 0.993, "nothing": 0.0}, floor=0.5, ceiling=0.983)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    places = {t.get_text(): t.get_window_extent().transformed(ax.transData.inverted()) for t in ax.texts}
    for said in ("54.5 %", "99.3 %", "0.0 %"):
        assert not any(places[said].x0 <= level <= places[said].x1 for level in (0.5, 0.983)), said
    near = plots.bars({"nothing": 0.0, "little": 0.02}, floor=0.01)
    near.draw_without_rendering()
    for t in near.axes[0].texts[:2]:
        assert t.get_window_extent().transformed(near.axes[0].transData.inverted()).x0 > 0.01


def test_bars_may_have_a_floor_each():
    figure = plots.bars(
        {"size": 0.9, "colour": 0.8}, floor={"size": 0.5, "colour": 0.125}, floor_label="guessing", ceiling=1.0
    )
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names == ["size (guessing 50.0 %)", "colour (guessing 12.5 %)"]
    marks = {(line.get_xdata()[0], round(float(np.mean(line.get_ydata())))) for line in figure.axes[0].lines}
    assert {(0.5, 0), (0.125, 1)} < marks
    with pytest.raises(ValueError, match="floor: expected one for each"):
        plots.bars({"size": 0.9}, floor={"colour": 0.1})
    with pytest.raises(ValueError, match="share"):
        plots.bars({"size": 0.9}, floor={"size": 5.0})


def test_long_labels_of_a_matrix_are_folded_and_lose_nothing():
    labels = [
        "a small red circle",
        "a little violet square right of a large orange star",
        "小的红色的正方形在小号的橙色的星星左面的上面",
    ]
    figure = plots.similarity_matrix(torch.eye(3), labels, labels)
    for ticks in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        said = [t.get_text() for t in ticks]
        assert said[0] == labels[0]
        assert [re.sub(r"\s", "", t) for t in said] == [re.sub(r"\s", "", t) for t in labels]
        assert all(len(line) <= 32 for t in said for line in t.split("\n")) and "\n" in said[1]
    plots.png(figure)


# ------------------------------------------------------------------------------------------------- the house


def test_a_path_gets_a_png_and_no_temporary_file(tmp_path: Path):
    target = tmp_path / "new" / "grid.png"
    figure = plots.grid(scenes(2), path=target)
    assert [p.name for p in target.parent.iterdir()] == ["grid.png"]
    assert np.array_equal(np.asarray(Image.open(target).convert("RGB")), pixels(figure))


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as f:
            f.write(data[:100])
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="full"):
        plots.grid(scenes(1), path=target)
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_figures_show_themselves_without_pyplot_or_settings():
    code = """
import sys, matplotlib
before = dict(matplotlib.rcParams)
import torch
from mmcourse import plots
figure = plots.bars({"a": 0.5}, floor=0.1)
plots.curves({"a": [1.0, 2.0]}); plots.similarity_matrix(torch.eye(2), ["圆", "b"], ["c", "d"])
assert figure._repr_png_().startswith(b"\\x89PNG")
assert dict(matplotlib.rcParams) == before, "rcParams were changed"
assert "matplotlib.pyplot" not in sys.modules, "pyplot was imported"
"""
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
