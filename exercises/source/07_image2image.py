# %% [markdown] id="title"
# # Exercises 07 · Image to image
#
# Five functions of lesson 07, this time written by you. Each has a prompt, a cell with a stub and a check.
#
# 1. Read the prompt. It says what to write and when the points are yours.
# 2. In the cell below it, put your code in the place of `raise NotImplementedError("your answer")`. Run the cell.
# 3. Run the check. It needs no network and no GPU, and you may run it as often as you like.
#
# A check calls your function on random inputs. It says what came and what was expected, or, where your answer is one
# that many people give first, what to think about. The grader does the same with other random inputs, so a function that
# only knows the inputs of the check earns nothing.

# %% id="setup" nbgrader={"schema_version": 3, "grade_id": "setup", "grade": false, "solution": false, "locked": true, "task": false}
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("07_image2image")

# %% [markdown] id="receptive_field-prompt" nbgrader={"schema_version": 3, "grade_id": "receptive_field-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. How much does one logit see?
#
# A patch discriminator gives many logits. Each depends on a square of input pixels, its patch. How large the patch is, and
# how far the patches of two neighbouring logits lie apart, follows from the kernels and the strides alone.
#
# **Write** `receptive_field(layers)`. The layers are given from the pixels to the logits. Count along one side. Return
# two numbers: the width of a patch, and the distance between neighbouring patches, both in pixels. Without any layer a
# "logit" is a pixel: its patch is 1 wide, and its neighbour is 1 away. A kernel or a stride below 1 raises `ValueError`.
#
# **2 points** when both numbers are right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Draw a row of pixels. Put a layer with kernel 3 and stride 2 on it, then another one. Which pixels does one output of the
# second layer reach?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A layer with kernel 3 reaches two steps further. How long is a step of its input, in pixels? That is the second number
# which you have to carry along.
#
# </details>

# %% id="receptive_field" nbgrader={"schema_version": 3, "grade_id": "receptive_field", "grade": false, "solution": true, "locked": false, "task": false}
def receptive_field(layers: list[tuple[int, int]]) -> tuple[int, int]:
    """The patch that one output sees.

    layers  (kernel, stride) of each layer, from the input to the output

    Returns the width of a patch and the distance of neighbouring patches,
    two whole numbers of input pixels.
    Raises ValueError for a kernel or a stride below 1.
    """
    ### BEGIN SOLUTION
    width, step = 1, 1
    for kernel, stride in layers:
        if kernel < 1 or stride < 1:
            raise ValueError(f"expected at least 1, got kernel {kernel}, stride {stride}")
        width += (kernel - 1) * step
        step *= stride
    return width, step
    ### END SOLUTION

# %% id="receptive_field-check" nbgrader={"schema_version": 3, "grade_id": "receptive_field-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("receptive_field")

# %% [markdown] id="unet_block-prompt" nbgrader={"schema_version": 3, "grade_id": "unet_block-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. One step up in a U-Net
#
# On the way up, a U-Net enlarges what it has and joins it with what the way down had at this size: the skip connection.
# The skip keeps its numbers as they are; only the path from below passes the leaky ReLU.
#
# **Write** `unet_block(low, skip, weight, bias)`. Apply a leaky ReLU with slope 0.2 to `low`. Enlarge it to twice its
# height and width: every value becomes a block of 2 x 2 equal values. Lay it and the skip on top of each other along the
# channels, the path from below first. A 3 x 3 convolution with zero padding of 1 makes the output. A skip that is not
# twice as high and twice as wide as `low` raises `ValueError`.
#
# **3 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# `repeat_interleave` repeats each entry next to itself; `F.interpolate` has a mode that does the same. `repeat` does
# something else: it lays whole copies side by side.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Write down the four shapes first: `low`, enlarged, joined, output. The weight tells how many channels the joined one has.
#
# </details>

# %% id="unet_block" nbgrader={"schema_version": 3, "grade_id": "unet_block", "grade": false, "solution": true, "locked": false, "task": false}
def unet_block(low: Tensor, skip: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Enlarge, join, convolve.

    low     float (B, C, h, w), from below
    skip    float (B, K, 2*h, 2*w), from the way down
    weight  float (M, C + K, 3, 3)
    bias    float (M,)

    Returns float (B, M, 2*h, 2*w).
    Raises ValueError where the skip is not twice as high and as wide as low.
    """
    ### BEGIN SOLUTION
    if skip.shape[2] != 2 * low.shape[2] or skip.shape[3] != 2 * low.shape[3]:
        raise ValueError(f"a skip of {tuple(skip.shape)} does not fit {tuple(low.shape)}")
    active = F.leaky_relu(low, 0.2)
    tall = active.repeat_interleave(2, dim=2)  # (B, C, 2h, w)
    large = tall.repeat_interleave(2, dim=3)  # (B, C, 2h, 2w)
    joined = torch.cat([large, skip], dim=1)  # (B, C + K, 2h, 2w)
    return F.conv2d(joined, weight, bias, padding=1)
    ### END SOLUTION

# %% id="unet_block-check" nbgrader={"schema_version": 3, "grade_id": "unet_block-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("unet_block")

# %% [markdown] id="pair_input-prompt" nbgrader={"schema_version": 3, "grade_id": "pair_input-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. What D is shown
#
# D judges pairs: an input and a picture. In one step it meets three kinds of them. The real picture with its own input is
# the only right kind. The fake picture with that input is wrong, and so is the real picture with somebody else's input.
#
# **Write** `pair_input(cond, real, fake)`. A pair is one tensor, the channels of the input first, those of the picture
# behind them. Return all pairs in one batch: first the B right ones, then the B fake ones, then the B mismatched ones. In
# the mismatched part picture 0 gets the input of the last one, picture 1 the input of picture 0, and so on. D's step must
# not reach G, so no gradient may flow back into `fake`. A picture without partner, where the numbers of inputs, real and
# fake pictures are not all equal, raises `ValueError`.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# There are two kinds of putting together here: pairs along the channels, then batches along the batch. `torch.roll` moves
# entries along one axis.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If you roll a whole pair, which input does each picture have then?
#
# </details>

# %% id="pair_input" nbgrader={"schema_version": 3, "grade_id": "pair_input", "grade": false, "solution": true, "locked": false, "task": false}
def pair_input(cond: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """All pairs of one step of D.

    cond        float (B, C, H, W): the input pictures
    real, fake  float (B, K, H, W): true and made pictures for these inputs

    Returns float (3*B, C + K, H, W): right, fake and mismatched pairs,
    without a way back into fake.
    Raises ValueError where the three are not equally many.
    """
    ### BEGIN SOLUTION
    if len(cond) != len(real) or len(cond) != len(fake):
        raise ValueError(f"got {len(cond)} inputs, {len(real)} real and {len(fake)} fake pictures")
    right = torch.cat([cond, real], dim=1)  # (B, C + K, H, W)
    made = torch.cat([cond, fake.detach()], dim=1)
    wrong = torch.cat([cond.roll(1, dims=0), real], dim=1)
    return torch.cat([right, made, wrong], dim=0)
    ### END SOLUTION

# %% id="pair_input-check" nbgrader={"schema_version": 3, "grade_id": "pair_input-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("pair_input")

# %% [markdown] id="pix2pix_loss-prompt" nbgrader={"schema_version": 3, "grade_id": "pix2pix_loss-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. The losses of pix2pix
#
# The paper's game is the first one of lesson 03, played patch by patch. Every patch of every picture is a judgement of its
# own and counts as much as any other. D's loss is halved, to slow D down. G plays the non-saturating form and adds the
# mean absolute difference to the true picture, times `weight`.
#
# **Write** `pix2pix_loss(on_real, on_fake, fake, real, weight)`. `on_real` and `on_fake` are the logits of the patches.
# Return D's loss and G's loss. Both are to be minimised, and both stay finite for logits of any size.
#
# **3 points** when both losses and their slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# The probability of a logit is its sigmoid, and $-\log\sigma(x)$ is `F.softplus(-x)`. What is $-\log(1-\sigma(x))$?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The mean of a curve's values is not the curve's value at the mean. When do you average the patches?
#
# </details>

# %% id="pix2pix_loss" nbgrader={"schema_version": 3, "grade_id": "pix2pix_loss", "grade": false, "solution": true, "locked": false, "task": false}
def pix2pix_loss(
    on_real: Tensor, on_fake: Tensor, fake: Tensor, real: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    """D's and G's loss.

    on_real, on_fake  float (B, 1, h, w): logits of the patches of real and
                      of fake pairs
    fake, real        float (B, 3, H, W): pictures in [-1, 1]
    weight            a number above 0, for the L1 term

    Returns two scalar tensors: D's loss and G's loss.
    """
    ### BEGIN SOLUTION
    loss_d = (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2
    l1 = (fake - real).abs().mean()
    loss_g = F.softplus(-on_fake).mean() + weight * l1
    return loss_d, loss_g
    ### END SOLUTION

# %% id="pix2pix_loss-check" nbgrader={"schema_version": 3, "grade_id": "pix2pix_loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("pix2pix_loss")

# %% [markdown] id="cycle_loss-prompt" nbgrader={"schema_version": 3, "grade_id": "cycle_loss-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. There and back
#
# Without pairs nobody can say what the translation of a picture should be. But a picture that is translated there and back
# should be itself again. This must hold from both sides.
#
# **Write** `cycle_loss(AB, BA, a, b, weight)`. `AB` turns pictures of A into pictures of B, `BA` the other way. For each
# side take the mean absolute difference between a picture and its return, over all numbers of the batch. Add both sides
# and multiply by `weight`. The two batches need not be equally many.
#
# **2 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Give each of the four pictures a name before you subtract: there, back, for `a` and for `b`. With what is the one that
# came back compared?
#
# </details>

# %% id="cycle_loss" nbgrader={"schema_version": 3, "grade_id": "cycle_loss", "grade": false, "solution": true, "locked": false, "task": false}
def cycle_loss(
    AB: Callable[[Tensor], Tensor], BA: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, weight: float
) -> Tensor:
    """How far pictures are from themselves after a journey there and back.

    AB, BA  functions from pictures to pictures of the same shape
    a, b    float (N, C, H, W) and (M, C, H, W): pictures of A and of B
    weight  a number above 0

    Returns a scalar tensor, at least 0.
    """
    ### BEGIN SOLUTION
    a_back, b_back = BA(AB(a)), AB(BA(b))
    of_a = (a_back - a).abs().mean()
    of_b = (b_back - b).abs().mean()
    return weight * (of_a + of_b)
    ### END SOLUTION

# %% id="cycle_loss-check" nbgrader={"schema_version": 3, "grade_id": "cycle_loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("cycle_loss")
