"""Figures of sound: what is drawn is where it should be, in its colour; wrong shapes are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmcourse import audio, plots_sounds


def pixels(sheet: object) -> np.ndarray:
    from io import BytesIO

    from mmcourse.plots import png

    return np.asarray(Image.open(BytesIO(png(sheet))).convert("RGB")).astype(int)  # type: ignore[arg-type]


def test_waves_are_drawn_over_seconds_one_panel_each(tmp_path: Path) -> None:
    wave = torch.sin(torch.arange(8000) / 10)
    path = tmp_path / "w.png"
    sheet = plots_sounds.waves({"one": wave, "two ears": torch.stack([wave, 0.1 * wave])}, path=path)
    one, two = sheet.axes
    assert [len(ax.lines) for ax in (one, two)] == [1, 2] and (one.get_title("left"), two.get_title("left")) == (
        "one",
        "two ears",
    )
    seconds, values = one.lines[0].get_data()
    assert seconds[-1] == pytest.approx(7999 / audio.RATE) and np.allclose(values, wave.numpy())
    assert Image.open(path).size[0] > 100
    left, right = (line.get_ydata() for line in two.lines)
    assert left.min() > right.max() and np.allclose(right - right.mean(), 0.1 * (wave - wave.mean()).numpy(), atol=1e-6)
    assert [t.get_text() for t in two.get_yticklabels()] == ["left ear", "right ear"]
    with pytest.raises(ValueError, match="at least one wave"):
        plots_sounds.waves({})


def test_a_sound_is_drawn_beside_its_pictures_low_bands_at_the_bottom() -> None:
    spectra = torch.full((1, 1, 40, 64), audio.FLOOR)
    spectra[:, :, :10] = 0.0  # the lowest quarter is loud
    pictures = torch.stack([-torch.ones(3, 32, 32), torch.tensor([1.0, -1, -1])[:, None, None].expand(3, 32, 32)])[None]
    found = pixels(plots_sounds.heard_sheet(spectra, pictures, ["what it says"], columns=["a", "b"], text_width=100))
    bright = (found.min(2) < 250) & (np.abs(found - [252, 253, 191]).sum(2) < 12)  # magma's upper end
    dark = np.abs(found - [0, 0, 4]).sum(2) < 6
    assert bright.sum() > 100 and 2.4 < dark[:, : found.shape[1] // 2 + 40].sum() / bright.sum() < 3.6
    assert np.argwhere(bright)[:, 0].mean() > np.argwhere(dark)[:, 0].mean() + 10, "bright is below"
    red = (found == [255, 0, 0]).all(2)
    black = (found == 0).all(2)
    assert red.sum() == 64 * 64 and np.argwhere(red)[:, 1].min() > np.argwhere(black)[:, 1].min()


def test_spectrograms_tell_their_axes() -> None:
    sheet = plots_sounds.heard_sheet(torch.zeros(2, 2, 40, 64), torch.zeros(2, 1, 1, 32, 32), ["one", "two"])
    said = {t.get_text(): t.get_position() for t in sheet.axes[0].texts}
    assert said["high"][1] < said["low"][1] < said["1.3 s"][1] and said["0"][0] < said["1.3 s"][0]


def test_both_ears_are_drawn_left_first() -> None:
    spectra = torch.full((2, 2, 40, 64), audio.FLOOR)
    spectra[:, 0] = 0.0
    found = pixels(plots_sounds.heard_sheet(spectra, torch.zeros(2, 1, 1, 32, 32), ["one", "two"]))
    bright = np.abs(found - [252, 253, 191]).sum(2) < 12
    dark = np.abs(found - [0, 0, 4]).sum(2) < 6
    assert np.argwhere(bright)[:, 1].max() < np.argwhere(dark)[:, 1].max()


def test_shapes_that_do_not_fit_are_told() -> None:
    spectra, pictures = torch.zeros(2, 1, 40, 64), torch.zeros(2, 3, 3, 32, 32)
    with pytest.raises(ValueError, match="2 captions, one a sound"):
        plots_sounds.heard_sheet(spectra, pictures, ["one"])
    with pytest.raises(ValueError, match=r"pictures \(2, K"):
        plots_sounds.heard_sheet(spectra, pictures[:1], ["one", "two"])
    with pytest.raises(ValueError, match="expected 3 names"):
        plots_sounds.heard_sheet(spectra, pictures, ["one", "two"], columns=["a"])
    with pytest.raises(ValueError, match="spectra: expected 4 axes"):
        plots_sounds.heard_sheet(spectra[0], pictures, ["one", "two"])
