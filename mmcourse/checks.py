"""Checks at the doors of public functions: what was expected, what came, what to do (lesson 00)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def expect_shape(x: Tensor, pattern: str, *, name: str = "tensor") -> dict[str, int]:
    """Check a tensor's shape against a pattern such as ``"B 3 H W"``.

    Numbers must match; letters are free, but the same letter must mean the same size.
    Returns the letters' sizes, so that ``n = expect_shape(x, "B 3 H W")["B"]`` works.
    Raises ``ValueError`` that names the pattern, the shape that came and the first axis that differs.
    """
    wanted, got = pattern.split(), tuple(getattr(x, "shape", ()))
    if not hasattr(x, "shape"):
        raise TypeError(f"{name}: expected a tensor of shape ({pattern}), got {type(x).__name__}.")
    if len(wanted) != len(got):
        hint = _axis_hint(len(wanted), len(got))
        raise ValueError(f"{name}: expected {len(wanted)} axes ({pattern}), got {len(got)}: {got}.{hint}")
    sizes: dict[str, int] = {}
    for axis, (want, have) in enumerate(zip(wanted, got, strict=True)):
        if want.isdigit():
            if int(want) != have:
                raise ValueError(f"{name}: expected shape ({pattern}), got {got}: axis {axis} must be {want}.")
        elif sizes.setdefault(want, have) != have:
            raise ValueError(
                f"{name}: expected shape ({pattern}), got {got}: "
                f"axis {axis} must equal the other {want} = {sizes[want]}."
            )
    return sizes


def _axis_hint(wanted: int, got: int) -> str:
    if got == wanted - 1:
        return " One picture alone? Add the batch axis with x[None]."
    if got == wanted + 1:
        return " One axis too many? Index or flatten it first."
    return ""


_PICTURES = "Pictures here lie in [-1, 1]: map [0, 1] by 2 * x - 1, and bytes by x / 127.5 - 1."


def expect_range(x: Tensor, low: float, high: float, *, name: str = "tensor", cure: str | None = None) -> None:
    """Check that a float tensor is finite and lies in ``[low, high]`` (with a rounding slack of 1e-3).

    Raises ``ValueError`` with the range that came and the ``cure``; without one, for [-1, 1], how pictures are mapped.
    """
    if x.numel() == 0:
        return
    if not x.is_floating_point():
        raise ValueError(
            f"{name}: expected floats in [{low}, {high}], got {x.dtype}. Use x.float() / 127.5 - 1 on bytes."
        )
    lo, hi = float(x.min()), float(x.max())
    if not (lo == lo and hi == hi and abs(lo) != float("inf") and abs(hi) != float("inf")):
        raise ValueError(f"{name}: holds values that are not finite; expected [{low}, {high}].")
    if lo < low - 1e-3 or hi > high + 1e-3:
        if cure is None:
            cure = _PICTURES if (low, high) == (-1, 1) else ""
        raise ValueError(f"{name}: expected values in [{low}, {high}], got [{lo:.3g}, {hi:.3g}]. {cure}".rstrip())


def expect_one_of(value: str, allowed: Sequence[str], *, name: str) -> str:
    """Check that a word is one of those allowed; the error lists them and offers the nearest."""
    if value in allowed:
        return value
    import difflib

    near = difflib.get_close_matches(str(value), list(allowed), n=1)
    offer = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}: expected one of {', '.join(allowed)}; got {value!r}.{offer}")
