"""Paint a hole into a picture with mouse, pen, finger or keys, and see it filled (lesson 10, lesson 11).

In JupyterLab the painter is live. Where nobody can paint, under papermill, the same calls show one still figure.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from IPython.display import display
from PIL import Image
from torch import Tensor, nn

from mmcourse import inpainting, plots
from mmcourse.checks import expect_shape
from mmcourse.data import Encode
from mmcourse.masks import expect_mask, hide
from mmcourse.runtime import generator
from mmcourse.widgets import _clip, in_kernel, is_live

Fill = Callable[[Tensor, Tensor, Tensor, str], Tensor]
STATIC = Path(__file__).parent / "static"
LIMIT = 100  # masks kept for undo, as in painter.js


def pack(mask: Tensor) -> str:
    """A mask (1, H, W) as text: one bit a pixel, row by row, in base64. 32 x 32 pixels take 172 characters."""
    return base64.b64encode(np.packbits(mask.numpy().astype(bool)).tobytes()).decode()


def unpack(text: str, height: int, width: int) -> Tensor:
    """The mask (1, H, W) that ``pack`` wrote. Raises ``ValueError`` on anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"mask: expected base64 text, got {_clip(text, 40)!r} ({error}).") from error
    wanted = -(-height * width // 8)
    if len(data) != wanted:
        raise ValueError(
            f"mask: expected {wanted} bytes, one bit for each of {height} x {width} pixels, got {len(data)}."
        )
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    if bits[height * width :].any():
        raise ValueError(f"mask: expected zeros after the last of {height} x {width} pixels.")
    return torch.from_numpy(bits[: height * width].astype(np.float32)).view(1, height, width)


class _Page(anywidget.AnyWidget):
    """What the browser shows, and what it shares with Python. ``static/painter.js`` draws it."""

    _esm = (STATIC / "painter.js").read_text(encoding="utf-8")
    _css = "".join((STATIC / f"{name}.css").read_text(encoding="utf-8") for name in ("panel", "painter"))

    height = traitlets.Int().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)  # RGB, row by row
    text = traitlets.Bool().tag(sync=True)
    count = traitlets.Int().tag(sync=True)
    # the browser sets these three; a fill comes with the mask and the sentence that it is of
    history = traitlets.List(traitlets.Unicode()).tag(sync=True)  # packed masks; the last one counts
    prompt = traitlets.Unicode().tag(sync=True)
    request = traitlets.Dict(default_value={"n": 0, "other": False}).tag(sync=True)  # please fill, for the n-th time
    # and Python these
    answered = traitlets.Int(0).tag(sync=True)  # the n that was dealt with last
    fills = traitlets.List(traitlets.Unicode()).tag(sync=True)  # PNG files in base64
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)  # what each one shows, for those who cannot see it
    message = traitlets.Unicode().tag(sync=True)
    failed = traitlets.Bool(False).tag(sync=True)

    refuse: Callable[[str], None] | None = None

    @traitlets.validate("history")
    def _check_history(self, proposal: Any) -> list[str]:
        masks: list[str] = proposal["value"]
        if not masks:
            raise traitlets.TraitError("mask: expected at least one mask, got none.")
        try:
            for text in masks:
                unpack(text, self.height, self.width)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error
        return masks[-LIMIT:]

    @traitlets.validate("request")
    def _check_request(self, proposal: Any) -> dict[str, Any]:
        asked: dict[str, Any] = proposal["value"]
        if type(asked.get("n")) is not int or type(asked.get("other")) is not bool:
            raise traitlets.TraitError(f"request: expected a number n and a bool other, got {_clip(repr(asked), 60)}.")
        return asked

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends. What is not valid changes nothing: the browser is told, and shows the old."""
        try:
            super().set_state(sync_data)
        except traitlets.TraitError as error:
            if self.refuse is not None:
                self.refuse(str(error))
            self.send_state(["history", "prompt", "request", "answered"])


class MaskPainter:
    """Paint a hole into a picture, see it filled.

    ``fill(picture, mask, z, prompt)`` takes the picture (3, H, W) in [-1, 1], the mask (1, H, W), 1 in the hole, noise
    (fills, z) and a sentence, "" for none; it gives pictures (fills, 3, H, W) in [-1, 1]. What it raises as
    ``ValueError`` (unknown words, say) is shown as text, and the old fills stay.

        painter = MaskPainter(guided_fill(G, encode), picture, text=True)
        painter.show()

    Fill, or Enter, fills from the same noise until "Other noise" draws new one; ``seed`` fixes it. An empty hole is
    not filled; a hole of the whole picture is, and the message says that nothing was known.

    ``mask`` (1, H, W) is the hole, ``pictures`` the newest fills (None before the first), ``png`` the same side by
    side as a PNG file's bytes, one dot a pixel, and ``message`` what the painter says. ``set_mask``, ``undo``,
    ``clear``, ``submit`` and ``new_noise`` do from Python what hands do in the browser.
    """

    def __init__(
        self,
        fill: Fill,
        picture: Tensor,
        *,
        text: bool = False,
        prompt: str = "",
        fills: int = 4,
        z: int = 8,
        seed: int = 0,
    ):
        if z < 1 or fills < 1:
            raise ValueError(f"z and fills: expected at least 1, got z = {z} and fills = {fills}.")
        sizes = expect_shape(picture, "3 H W", name="picture")
        height, width = sizes["H"], sizes["W"]
        image = plots.to_bytes(picture[None], name="picture")[0]
        self.fill, self.picture, self.text, self.count, self.z = fill, picture.detach().float().cpu(), text, fills, z
        self.pictures: Tensor | None = None
        self.png = b""
        self._rng = generator(seed)
        self._noises = 0
        self.noise = self._new_noise()
        self._filled: tuple[Tensor, str] | None = None  # the mask and the sentence that the fills are of
        self.widget = _Page(
            height=height, width=width, picture=image.tobytes(), text=text, count=fills,
            history=[pack(torch.zeros(1, height, width))], message="Paint a hole, then press Fill.",
        )  # fmt: skip
        self._set_prompt(prompt)
        self.widget.refuse = self._complain
        self.widget.observe(self._answer, "request")

    # ------------------------------------------------------------------------------------------------ the hole

    @property
    def mask(self) -> Tensor:
        """The hole (1, H, W) in 0 and 1, 1 where the picture is to be filled."""
        return unpack(self.widget.history[-1], self.widget.height, self.widget.width)

    def set_mask(self, mask: Tensor) -> None:
        """Put another hole (1, H, W); ``undo`` brings the old one back. Raises ``ValueError`` on another shape, or
        where a value is neither 0 nor 1."""
        mask = torch.as_tensor(mask)
        expect_shape(mask, f"1 {self.widget.height} {self.widget.width}", name="mask")
        text = pack(expect_mask(mask[None])[0].detach().cpu())
        if text != self.widget.history[-1]:
            self.widget.history = [*self.widget.history, text]

    def undo(self) -> bool:
        """Take back the last stroke, or the last change of the hole. Returns whether there was one."""
        if len(self.widget.history) < 2:
            return False
        self.widget.history = self.widget.history[:-1]
        return True

    def clear(self) -> None:
        """Close the hole. ``undo`` opens it again."""
        self.set_mask(torch.zeros(1, self.widget.height, self.widget.width))

    # ----------------------------------------------------------------------------------------------- the fills

    @property
    def prompt(self) -> str:
        """The sentence in the text box."""
        return str(self.widget.prompt)

    @property
    def message(self) -> str:
        """What the painter says."""
        return str(self.widget.message)

    def submit(self, prompt: str | None = None) -> bool:
        """Fill the hole, perhaps by another sentence. Returns whether it was filled; where not, ``message`` says why
        and the old fills stay. An error other than ``ValueError`` is shown too, and raised."""
        if prompt is not None:
            self._set_prompt(prompt)
        return self._fill()

    def new_noise(self) -> bool:
        """Fill the hole from new noise. Returns whether it was filled."""
        self.noise = self._new_noise()
        return self._fill()

    def _set_prompt(self, prompt: str) -> None:
        if prompt and not self.text:
            raise ValueError(f"prompt: this painter reads no sentence, got {prompt!r}. Make it with text=True.")
        self.widget.prompt = prompt

    def _new_noise(self) -> Tensor:
        self._noises += 1
        return torch.randn(self.count, self.z, generator=self._rng)

    def _answer(self, change: Any) -> None:
        """The browser asks for a fill."""
        try:
            self.new_noise() if change["new"]["other"] else self.submit()
        finally:
            self.widget.answered = change["new"]["n"]

    def _fill(self) -> bool:
        mask, prompt = self.mask, self.prompt if self.text else ""
        if not mask.any():
            self._complain("The hole is empty. Paint one first.")
            return False
        try:
            with torch.no_grad():
                pictures = self.fill(self.picture.clone(), mask.clone(), self.noise.clone(), prompt)
            expect_shape(pictures, f"{self.count} {' '.join(map(str, self.picture.shape))}", name="fills")
            images = plots.to_bytes(pictures, name="fills")
        except ValueError as error:
            self._complain(str(error))
            return False
        except Exception as error:
            self._complain(f"The model failed with {type(error).__name__}: {error}")
            raise
        self.pictures, self._filled = pictures.detach().cpu(), (mask, prompt)
        self.png = _png(plots.mosaic(self.pictures, columns=self.count, gap=2))
        asked = f" for: {_clip(prompt)}" if prompt.strip() else ""
        with self.widget.hold_sync():
            self.widget.words = [f"Fill {i} of {self.count}{asked}" for i in range(1, self.count + 1)]
            self.widget.fills = [base64.b64encode(_png(image)).decode() for image in images]
            self.widget.failed, self.widget.message = False, self._report(mask, prompt)
        return True

    def _report(self, mask: Tensor, prompt: str) -> str:
        counted = "1 fill" if self.count == 1 else f"{self.count} fills"
        asked = (f" for “{_clip(prompt)}”" if prompt.strip() else " without a sentence") if self.text else ""
        pixels = int(mask.sum())
        said = f"{counted}{asked}, {pixels} {'pixel' if pixels == 1 else 'pixels'} of hole, noise {self._noises}."
        if mask.all():
            said += " The hole is the whole picture: nothing was known, all is made up."
        return said

    def _complain(self, why: str) -> None:
        kept = ""
        if self._filled is not None:
            before = self._filled[1].strip()
            kept = f" The fills still show “{_clip(before)}”." if before else " The fills are those from before."
        with self.widget.hold_sync():
            self.widget.failed, self.widget.message = True, f"Not filled. {_clip(why, 600)}{kept}"

    # ------------------------------------------------------------------------------------------------- showing

    def still(self) -> plots.Sheet:
        """One figure: the picture, the hole and the newest fills, as far as there are any."""
        mask, prompt = self._filled or (self.mask, "")
        shown, titles = [self.picture[None]], ["picture"]
        if mask.any():
            rows, columns = torch.arange(mask.shape[1])[:, None], torch.arange(mask.shape[2])
            checks = ((rows + columns) % 2).float() * 0.6 - 0.1  # two greys, as if nothing were there
            shown.append(torch.where(mask[None] > 0, checks, hide(self.picture[None], mask[None])))
            titles.append("hole")
        if self.pictures is not None:
            shown.append(self.pictures)
            titles += [f"fill {i}" for i in range(1, self.count + 1)]
        return plots.grid(torch.cat(shown), titles=titles, title=_clip(prompt) or None, scale=3.0)

    def show(self) -> None:
        """Show the painter; under papermill, where nobody can paint, a still figure instead."""
        if is_live():
            display(self.widget)
            return
        if in_kernel():
            display(self.still())
        if self.widget.failed or not in_kernel():
            print(self.message)


def _png(image: np.ndarray) -> bytes:
    """An image (H, W, 3) of bytes as a PNG file's bytes."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="png")
    return out.getvalue()


# --------------------------------------------------------------------------------------------- the course's models


def plain_fill(G: nn.Module) -> Fill:
    """A trained ``inpainting.Inpainter`` (or ``Repairers``) as the painter's ``fill``, without sentences: a prompt
    raises ``ValueError``."""

    def fill(picture: Tensor, mask: Tensor, z: Tensor, prompt: str) -> Tensor:
        if prompt.strip():
            raise ValueError(f"This model reads no sentences, got {prompt!r}.")
        return _run(G, picture, mask, z, None)

    return fill


def guided_fill(G: nn.Module, encode: Encode) -> Fill:
    """An ``inpainting.Inpainter`` that reads texts as the painter's ``fill``.

    ``encode`` takes captions to vectors (B, 64) and raises ``ValueError`` on words that it does not know
    (``text2image.encoder``). An empty prompt is no text, a row of zeros. Raises ``ValueError`` for a G that reads none.
    """
    cond = int(G.hparams["cond"])  # type: ignore[arg-type, index]
    if not cond:
        raise ValueError("guided_fill: this G reads no text (cond=0). Use plain_fill.")

    def fill(picture: Tensor, mask: Tensor, z: Tensor, prompt: str) -> Tensor:
        text = encode([prompt]) if prompt.strip() else torch.zeros(1, cond)
        return _run(G, picture, mask, z, text.expand(len(z), -1))

    return fill


@torch.no_grad()
def _run(G: Any, picture: Tensor, mask: Tensor, z: Tensor, text: Tensor | None) -> Tensor:
    """The fills (B, 3, H, W), one for each row of z, by G in eval mode, whatever mode it was in."""
    was = G.training
    G.eval()
    try:
        x = picture.expand(len(z), -1, -1, -1)
        return inpainting.fill(G, x, mask.expand(len(z), -1, -1, -1), z, text)
    finally:
        G.train(was)
