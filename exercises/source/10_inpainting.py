# %% [markdown] id="title"
# # Exercises 10 · Inpainting and outpainting
#
# Six functions of lesson 10, this time written by you. Each has a prompt, a cell with a stub and a check. In all of them
# **1 is the hole** and 0 is known.
#
# 1. Read the prompt. It says what to write and when the points are yours.
# 2. In the cell below it, put your code in the place of `raise NotImplementedError("your answer")`. Run the cell.
# 3. Run the check. It needs no network and no GPU, and you may run it as often as you like.
#
# A check calls your function on random inputs. It says what came and what was expected, or, where your answer is one
# that many people give first, what to think about. The grader does the same with other random inputs, so a function that
# only knows the inputs of the check earns nothing.

# %% id="setup" nbgrader={"schema_version": 3, "grade_id": "setup", "grade": false, "solution": false, "locked": true, "task": false}
import torch
import torch.nn.functional as F
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("10_inpainting")

# %% [markdown] id="free_form_mask-prompt" nbgrader={"schema_version": 3, "grade_id": "free_form_mask-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. A hole as a brush leaves it
#
# Real damage is rarely a box. A scratch follows a path, and its width does not change. Here the path is made of straight
# lines from one corner to the next. It is not closed: no line leads from the last corner to the first.
#
# The hole is made of exactly `round(share * size * size)` pixels: those that are nearest to the path. What counts is the
# distance from the *centre* of a pixel to the nearest point of the path. In picture widths the centre of the first pixel
# of a row lies at half a pixel, 0.5 / `size`.
#
# **Write** `free_form_mask(corners, size, share)`. The path ends at its ends: a pixel that lies ahead of the last corner is
# as far away as that corner is. Two corners one after the other may be the same point. A line of no length is that point.
#
# **3 points** when every pixel is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# The nearest point of the line through $a$ and $b$ is $a + t\,(b - a)$. The formula for $t$ is a projection: the dot
# product of (pixel − a) with (b − a), over the squared length of b − a. Which values of $t$ lie between $a$ and $b$?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a table of distances with one row a pixel and one column a line. Which one of a row counts? Then sort the pixels and
# take as many as you need. Where the squared length is 0, keep the division from being 0 by 0.
#
# </details>

# %% id="free_form_mask" nbgrader={"schema_version": 3, "grade_id": "free_form_mask", "grade": false, "solution": true, "locked": false, "task": false}
def free_form_mask(corners: Tensor, size: int, share: float) -> Tensor:
    """The pixels nearest to a path of straight lines.

    corners  float (K, 2), K at least 2: the path's corners in their order, each
             x (to the right) and y (downwards) in picture widths, from 0 to 1
    size     height and width of the mask in pixels
    share    how much of the picture the hole takes, from 0 to 1

    Returns float (1, 1, size, size) of 0 and 1, 1 in the hole.
    """
    ### BEGIN SOLUTION
    start, line = corners[:-1], corners[1:] - corners[:-1]  # (lines, 2) each
    at = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(at, at, indexing="ij")
    way = torch.stack([x, y], dim=-1)[:, :, None] - start  # (size, size, lines, 2)
    along = (way * line).sum(dim=-1) / (line**2).sum(dim=-1).clamp(min=1e-9)
    foot = along.clamp(0, 1)[..., None] * line  # the nearest point of each line, from its start
    distance = ((way - foot) ** 2).sum(dim=-1).amin(dim=-1)  # (size, size), squared
    nearest = distance.flatten().argsort()[: round(share * size * size)]
    mask = torch.zeros(size * size)
    mask[nearest] = 1.0
    return mask.view(1, 1, size, size)
    ### END SOLUTION

# %% id="free_form_mask-check" nbgrader={"schema_version": 3, "grade_id": "free_form_mask-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("free_form_mask")

# %% [markdown] id="resize_mask-prompt" nbgrader={"schema_version": 3, "grade_id": "resize_mask-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A mask at another size
#
# A picture is made smaller or larger, and its mask with it. A mask must stay a mask: 0 or 1, and nothing between.
#
# **Write** `resize_mask(mask, size)`. Lay the new grid of pixels over the old one, so that both cover the same picture.
# Each new pixel takes the value of the old pixel in which its *centre* lies. (No centre will lie on the edge between two.)
# A mask with a value that is neither 0 nor 1 raises `ValueError`.
#
# **2 points** when every pixel is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# In new pixels, the centre of pixel number $i$ of a row lies at $i + 0.5$. Where is that in old pixels?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `F.interpolate` has several modes. Two of them take one old pixel alone, and they do not take the same one. Try both on a
# row of seven different numbers that becomes a row of five.
#
# </details>

# %% id="resize_mask" nbgrader={"schema_version": 3, "grade_id": "resize_mask", "grade": false, "solution": true, "locked": false, "task": false}
def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at another size, still of 0 and 1.

    mask  float (B, 1, H, W) of 0 and 1
    size  the new height and width, in pixels

    Returns float (B, 1, height, width) of 0 and 1.
    Raises ValueError where the mask holds another value.
    """
    ### BEGIN SOLUTION
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("a mask holds 0 and 1 alone")
    height, width = size
    row = ((torch.arange(height) + 0.5) * mask.shape[2] / height).long()
    column = ((torch.arange(width) + 0.5) * mask.shape[3] / width).long()
    return mask[:, :, row][:, :, :, column]  # or F.interpolate(mask, size, mode="nearest-exact")
    ### END SOLUTION

# %% id="resize_mask-check" nbgrader={"schema_version": 3, "grade_id": "resize_mask-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("resize_mask")

# %% [markdown] id="composite-prompt" nbgrader={"schema_version": 3, "grade_id": "composite-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. The fill goes in, nothing else changes
#
# A network gives a whole picture, of which only the part in the hole is wanted. The known pixels must come out as they went
# in, bit for bit. What lies in the hole of `known` may be anything, NaN too. What `fill` holds outside the hole may be
# anything as well, and so may a known pixel.
#
# **Write** `composite(known, fill, mask)`: the fill in the hole, the known pixels elsewhere. The pictures that you are
# given stay as they are. In training a gradient must reach `fill`. Raise `ValueError` where `fill` has another shape than
# `known`, and where a value of the mask is neither 0 nor 1.
#
# **2 points** when every number is exactly right on every set of inputs, and the slope at the fill too.
#
# <details><summary>Hint 1</summary>
#
# How much is 0 times NaN? How much is 0 times infinity? Try it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A choice between two numbers is no calculation: one is taken, and the other is not looked at. Torch has a function that
# chooses.
#
# </details>

# %% id="composite" nbgrader={"schema_version": 3, "grade_id": "composite", "grade": false, "solution": true, "locked": false, "task": false}
def composite(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    """The fill in the hole, the known pixels elsewhere.

    known  float (B, C, H, W): pictures, anything in the hole
    fill   float (B, C, H, W): what a network gave, for all pixels
    mask   float (B, 1, H, W) of 0 and 1: 1 in the hole

    Returns float (B, C, H, W).
    Raises ValueError for a fill of another shape than known, and for a mask
    that holds other values.
    """
    ### BEGIN SOLUTION
    if fill.shape != known.shape:
        raise ValueError(f"a fill of {tuple(fill.shape)} for pictures of {tuple(known.shape)}")
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("a mask holds 0 and 1 alone")
    return torch.where(mask == 1, fill, known)
    ### END SOLUTION

# %% id="composite-check" nbgrader={"schema_version": 3, "grade_id": "composite-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("composite")

# %% [markdown] id="partial_conv-prompt" nbgrader={"schema_version": 3, "grade_id": "partial_conv-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. A convolution that skips the hole
#
# Let $m$ be 1 where a pixel is *known*. For each window of the kernel, a partial convolution computes
#
# $$\text{out} = W \cdot (x\,m)\;\frac{n}{\sum m} + b$$
#
# Here $n$ is the number of pixels in a window, and $\sum m$ counts the known ones among them. One count serves for all
# channels. Where a window holds no known pixel, the output is 0. After the layer a pixel belongs to the hole only if its
# window held no known pixel: the hole shrinks.
#
# **Write** `partial_conv(x, mask, weight, bias)`. Pad with zeros, so that height and width stay. The padding counts as
# **unknown**. The mask that comes in has 1 in the hole, and so has the one that you return. What `x` holds in the hole, any
# finite number, must change nothing.
#
# **3 points** when all features and masks are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Counting known pixels in a window is a convolution as well. With which weights, and over which picture of one channel?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the division away from 0 first, and set the outputs of such windows to 0 afterwards. Which part of the formula is
# multiplied by the fraction, and which is not?
#
# </details>

# %% id="partial_conv" nbgrader={"schema_version": 3, "grade_id": "partial_conv", "grade": false, "solution": true, "locked": false, "task": false}
def partial_conv(
    x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """A convolution over known pixels, and the hole that it leaves.

    x       float (B, C, H, W): pictures or features
    mask    float (B, 1, H, W) of 0 and 1: 1 in the hole
    weight  float (K, C, k, k), k odd
    bias    float (K,)

    Returns the features, float (B, K, H, W), and the new mask, float
    (B, 1, H, W) of 0 and 1: 1 where the hole still is.
    """
    ### BEGIN SOLUTION
    k = weight.shape[2]
    known = 1 - mask
    count = F.conv2d(known, torch.ones(1, 1, k, k), padding=k // 2)  # (B, 1, H, W)
    total = F.conv2d(x * known, weight, padding=k // 2)
    scaled = total * k**2 / count.clamp(min=1)
    reached = (count > 0).float()
    return (scaled + bias[:, None, None]) * reached, 1 - reached
    ### END SOLUTION

# %% id="partial_conv-check" nbgrader={"schema_version": 3, "grade_id": "partial_conv-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("partial_conv")

# %% [markdown] id="hole_l1-prompt" nbgrader={"schema_version": 3, "grade_id": "hole_l1-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. The error in the hole
#
# Known pixels are right by construction. An error that counts them looks small, all the more where the hole is small. So
# the error is measured in the hole alone.
#
# **Write** `hole_l1(fake, real, mask)`: the mean absolute difference over the numbers in the holes of the whole batch. A
# hole pixel has as many numbers as a picture has channels, and each of them counts as much as any other, in whichever
# picture it lies. A batch without a hole has the error 0, and its slope is 0 too.
#
# **2 points** when the error and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# A mean is a sum over a count. Write down the shapes of the difference and of the mask. How many numbers of the difference
# lie in the hole?
#
# </details>

# %% id="hole_l1" nbgrader={"schema_version": 3, "grade_id": "hole_l1", "grade": false, "solution": true, "locked": false, "task": false}
def hole_l1(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """The mean absolute error over the numbers in the hole.

    fake, real  float (B, C, H, W): completed and true pictures
    mask        float (B, 1, H, W) of 0 and 1: 1 in the hole

    Returns a scalar tensor, at least 0, through which a gradient reaches fake.
    """
    ### BEGIN SOLUTION
    error = (fake - real).abs() * mask  # (B, C, H, W), 0 where known
    numbers = mask.sum() * real.shape[1]
    return error.sum() / numbers.clamp(min=1)
    ### END SOLUTION

# %% id="hole_l1-check" nbgrader={"schema_version": 3, "grade_id": "hole_l1-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("hole_l1")

# %% [markdown] id="outpaint_mask-prompt" nbgrader={"schema_version": 3, "grade_id": "outpaint_mask-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 6. The hole around a picture
#
# Outpainting asks what lies beyond the edges. For the network this is a hole like any other: it surrounds the picture
# instead of lying in it.
#
# **Write** `outpaint_mask(height, width, keep_height, keep_width)`, the mask of a canvas that keeps a window in the middle.
# Above and below the window are equally many rows, left and right of it equally many columns. Where that cannot be, there
# is one row more below than above, one column more on the right than on the left. The window may be as high or as wide as
# the canvas. It raises `ValueError` if it is higher or wider, or has no pixel.
#
# **2 points** when every pixel is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint</summary>
#
# Draw 6 rows with a window of 3. How many rows are left over? How many of them lie above the window? Only then write it down
# for any two numbers.
#
# </details>

# %% id="outpaint_mask" nbgrader={"schema_version": 3, "grade_id": "outpaint_mask", "grade": false, "solution": true, "locked": false, "task": false}
def outpaint_mask(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    """The mask of a canvas with a known window in its middle.

    height, width            of the canvas, in pixels
    keep_height, keep_width  of the window that is kept, in pixels

    Returns float (1, 1, height, width) of 0 and 1, 1 in the hole.
    Raises ValueError where the window has no pixel or is larger than the
    canvas in either direction.
    """
    ### BEGIN SOLUTION
    if not (1 <= keep_height <= height and 1 <= keep_width <= width):
        raise ValueError(f"a window of {keep_height} x {keep_width} in {height} x {width}")
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    mask = torch.ones(1, 1, height, width)
    mask[:, :, top : top + keep_height, left : left + keep_width] = 0.0
    return mask
    ### END SOLUTION

# %% id="outpaint_mask-check" nbgrader={"schema_version": 3, "grade_id": "outpaint_mask-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("outpaint_mask")
