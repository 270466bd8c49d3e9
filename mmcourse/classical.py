"""Repair without learning: what a hole's surroundings alone can tell (baselines of lesson 10).

Telea's marching and the Navier-Stokes way come from OpenCV, the biharmonic surface from scikit-image. All of them
carry on what meets the hole's edge; none has ever seen another picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.masks import compose, expect_mask, hide

METHODS = ("telea", "navier_stokes", "biharmonic", "copy_mean")


def repair(x: Tensor, mask: Tensor, method: str = "telea", *, radius: int = 3) -> Tensor:
    """Fill the holes of pictures (B, 3, H, W) in [-1, 1]; mask (B, 1, H, W), 1 = hole. Known pixels stay as they are.

    ``telea``: A. Telea, "An image inpainting technique based on the fast marching method", 2004, with ``radius`` in
    pixels. ``navier_stokes``: Bertalmio, Bertozzi and Sapiro, 2001. ``biharmonic``: Damelin and Hoang, 2018.
    ``copy_mean``: the mean of the known pixels. OpenCV's two work on 256 levels. Raises ``ValueError`` on another
    method, and for a picture that is all hole.
    """
    expect_one_of(method, METHODS, name="method")
    expect_shape(x, "B 3 H W", name="pictures")
    expect_mask(mask, x)
    if bool((mask.flatten(1).amin(1) == 1).any()):
        raise ValueError("repair: a picture is all hole; there is nothing to go by.")
    if method == "copy_mean":
        known = 1 - mask
        mean = hide(x, mask).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)  # (B, 3, 1, 1)
        return compose(x, mean.expand_as(x).contiguous(), mask)
    fills = [_one(a, m, method, radius) for a, m in zip(x.cpu(), mask.cpu(), strict=True)]
    return compose(x, torch.stack(fills).to(x), mask)


def _one(x: Tensor, mask: Tensor, method: str, radius: int) -> Tensor:
    hole = mask[0].numpy() > 0  # (H, W)
    picture = (x.permute(1, 2, 0).numpy() + 1) / 2  # (H, W, 3) in [0, 1]
    if method == "biharmonic":
        from skimage.restoration import inpaint_biharmonic

        filled = inpaint_biharmonic(np.where(hole[..., None], 0, picture), hole, channel_axis=-1)
    else:
        import cv2

        flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
        bytes_ = np.where(hole[..., None], 0, (255 * picture).round()).astype(np.uint8)
        filled = cv2.inpaint(bytes_, hole.astype(np.uint8), radius, flag) / 255
    return torch.from_numpy(np.clip(filled, 0, 1)).float().permute(2, 0, 1) * 2 - 1
