# %% [markdown] id="title"
# # Exercises 04 · An image GAN
#
# Five functions of lesson 04, this time written by you. Each has a prompt, a cell with a stub and a check.
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
from torch import Tensor, nn

check = checks("04_image_gan")

# %% [markdown] id="conv_out_size-prompt" nbgrader={"schema_version": 3, "grade_id": "conv_out_size-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. How large is the picture now?
#
# Most errors in a new network are errors of size. A layer's size can be computed before anything runs.
#
# **Write** `conv_out_size(n, kernel, stride, padding, dilation, transposed)`: the height of the picture behind a layer, for
# a picture that is `n` pixels high. Padding is added above **and** below. A dilated window leaves `dilation - 1` pixels out
# between any two that it reads.
#
# With `transposed` it is the way back: every input pixel writes one window, the windows start `stride` pixels apart, and
# `padding` pixels are cut off on both sides of the result. (torch's `output_padding` stays 0.)
#
# Where nothing would be left, that is fewer than one pixel, raise `ValueError`.
#
# **2 points** when every size is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Draw it for n = 5. Compute first how many pixels one window spans from its first to its last. Then ask how many windows
# fit (a convolution), or where the last window ends (a transposed one).
#
# </details>
# <details><summary>Hint 2</summary>
#
# Windows that only partly fit do not count. There is one more window than there are moves from window to window.
#
# </details>

# %% id="conv_out_size" nbgrader={"schema_version": 3, "grade_id": "conv_out_size", "grade": false, "solution": true, "locked": false, "task": false}
def conv_out_size(n: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> int:
    """The size behind a convolution or a transposed convolution.

    n                           pixels in front, at least 1
    kernel, stride, dilation    at least 1
    padding                     at least 0, on each side

    Returns the number of pixels behind the layer, an int of at least 1.
    Raises ValueError where it would be less than 1.
    """
    ### BEGIN SOLUTION
    span = dilation * (kernel - 1) + 1
    size = (n + 2 * padding - span) // stride + 1
    if transposed:
        size = (n - 1) * stride + span - 2 * padding
    if size < 1:
        raise ValueError(f"nothing is left: {size} pixels")
    return size
    ### END SOLUTION

# %% id="conv_out_size-check" nbgrader={"schema_version": 3, "grade_id": "conv_out_size-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("conv_out_size")

# %% [markdown] id="pixel_shuffle-prompt" nbgrader={"schema_version": 3, "grade_id": "pixel_shuffle-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. Channels become pixels
#
# G's last layer makes r x r channels for each one that is wanted. Then each small pixel opens into a square of r x r
# pixels. The lesson wrote the way from pixels to channels. Here is the way back.
#
# **Write** `pixel_shuffle(x, r)`, without torch's own. The channels come in groups of r x r: the first group makes the
# first channel of the result, and so on. Within a group the square is filled as one reads: the first r channels are its
# upper row, from left to right, the next r channels the row below.
#
# A number of channels that does not divide into such groups raises `ValueError`.
#
# **2 points** when every number is at its place on every set of inputs.
#
# <details><summary>Hint 1</summary>
#
# Give every fact an axis of its own: the group, the row in the square, the column in the square, the small row, the small
# column. How many axes are that, with the batch?
#
# </details>
# <details><summary>Hint 2</summary>
#
# In the result, the row in the square changes faster than the small row. Which axis must then stand right behind the small
# row before the two are merged?
#
# </details>

# %% id="pixel_shuffle" nbgrader={"schema_version": 3, "grade_id": "pixel_shuffle", "grade": false, "solution": true, "locked": false, "task": false}
def pixel_shuffle(x: Tensor, r: int) -> Tensor:
    """Each group of r*r channels becomes squares of r x r pixels.

    x  float (B, C*r*r, H, W)
    r  at least 1

    Returns float (B, C, H*r, W*r).
    Raises ValueError where the channels are no multiple of r*r.
    """
    ### BEGIN SOLUTION
    batch, channels, height, width = x.shape
    if channels % r**2:
        raise ValueError(f"expected a multiple of {r * r} channels, got {channels}")
    squares = x.reshape(batch, channels // r**2, r, r, height, width)
    return squares.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels // r**2, height * r, width * r)
    ### END SOLUTION

# %% id="pixel_shuffle-check" nbgrader={"schema_version": 3, "grade_id": "pixel_shuffle-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("pixel_shuffle")

# %% [markdown] id="ema_update-prompt" nbgrader={"schema_version": 3, "grade_id": "ema_update-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. The calmer twin
#
# The pictures of a GAN come from an average of G over its last steps. The average is a second network. It is moved a
# little towards G after each step.
#
# **Write** `ema_update(average, model, decay, step)`. It changes `average` in place. Each *parameter* becomes the mixture
# of lesson 04. Each *buffer*, such as the running mean of a batch norm, is copied from the model as it is; some are whole
# numbers. The model stays as it was, and the tensors of `average` stay the same objects.
#
# The average starts as a copy of an untrained G, and should forget it quickly. So at the start it has a smaller decay: use
# (step + 1) / (step + 10) for as long as that is smaller than `decay`. The first step has the number 0.
#
# **2 points** when both networks are right after several steps, on every set of inputs.
#
# <details><summary>Hint 1</summary>
#
# A parameter that wants a gradient must not be changed in place while gradients are recorded. Which context of torch turns
# this off?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `named_parameters()` and `named_buffers()` give both kinds by name, and two networks of one class have the same names.
#
# </details>

# %% id="ema_update" nbgrader={"schema_version": 3, "grade_id": "ema_update", "grade": false, "solution": true, "locked": false, "task": false}
def ema_update(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average a little towards the model, in place.

    average, model  two networks of one class
    decay           0 to 1: the share of the average that stays
    step            0, 1, 2, ...

    Returns nothing.
    """
    ### BEGIN SOLUTION
    keep = min(decay, (step + 1) / (step + 10))
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    with torch.no_grad():
        for name, own in average.named_parameters():
            own.mul_(keep).add_(parameters[name] * (1 - keep))
        for name, own in average.named_buffers():
            own.copy_(buffers[name])
    ### END SOLUTION

# %% id="ema_update-check" nbgrader={"schema_version": 3, "grade_id": "ema_update-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("ema_update")

# %% [markdown] id="d_step-prompt" nbgrader={"schema_version": 3, "grade_id": "d_step-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. D's move, penalty included
#
# One move of D, as the library's loop makes it. D maps pictures (B, C, H, W) to logits (B, 1). The fakes come straight from
# G, with their history.
#
# **Write** `d_step(D, opt, real, fake, step, gamma, reg_every)`. D minimises
#
# $$\mathrm{mean}\,\mathrm{softplus}(D(\hat x) - D(x)) \; + \; \frac{\gamma}{2}\,\left(R_1 + R_2\right),$$
#
# the i-th fake paired with the i-th real picture. $R_1$ is the squared length of the slope of a logit in its own picture,
# over all of the picture's numbers, averaged over the real pictures; $R_2$ is the same over the fakes.
#
# The penalty is dear. So it is computed in the steps 0, `reg_every`, 2 `reg_every` and so on, and there it counts
# `reg_every` times. In all other steps there is none.
#
# Move D once with `opt`. Gradients that an earlier step has left in D must play no part. G gets no gradient at all.
#
# **4 points** when the loss and D's new weights are right in every step, on every set of inputs.
#
# <details><summary>Hint 1</summary>
#
# The logits of all pictures may be summed before the slope is taken, if no logit depends on another picture. Then one call
# of `torch.autograd.grad` gives all slopes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# D must learn from the penalty: it needs the slope of a slope. Which argument of `torch.autograd.grad` keeps what this
# takes?
#
# </details>
# <details><summary>Hint 3</summary>
#
# Two means over equally many pictures, added and halved, are one mean over all of them.
#
# </details>

# %% id="d_step" nbgrader={"schema_version": 3, "grade_id": "d_step", "grade": false, "solution": true, "locked": false, "task": false}
def d_step(
    D: nn.Module,
    opt: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    step: int,
    gamma: float,
    reg_every: int,
) -> float:
    """One move of the discriminator.

    real, fake  float (B, C, H, W); the fakes carry their history through G
    step        0, 1, 2, ...
    gamma       the penalties' weight
    reg_every   in every so many steps there is a penalty

    Returns what was minimised, as a float: the loss,
    with its penalty where there is one.
    """
    ### BEGIN SOLUTION
    both = torch.cat([real, fake]).detach().requires_grad_()  # (2*B, C, H, W)
    logits = D(both)  # (2*B, 1)
    on_real, on_fake = logits.chunk(2)
    total = F.softplus(on_fake - on_real).mean()
    if step % reg_every == 0:
        (slope,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
        total = total + gamma * reg_every * slope.square().flatten(1).sum(1).mean()
    opt.zero_grad()
    total.backward()
    opt.step()
    return total.item()
    ### END SOLUTION

# %% id="d_step-check" nbgrader={"schema_version": 3, "grade_id": "d_step-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 4, "cell_type": "code"}
check("d_step")

# %% [markdown] id="interpolate_z-prompt" nbgrader={"schema_version": 3, "grade_id": "interpolate_z-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. A walk that keeps its length
#
# A film from one picture to another is a walk from one noise to another. A straight line passes through noise that is too
# short.
#
# **Write** `interpolate_z(a, b, steps)`: `steps` points from `a` to `b`, both ends included, evenly spaced in time. At time
# t, from 0 to 1, the point is
#
# $$\frac{\sin((1-t)\,\theta)}{\sin\theta}\,a + \frac{\sin(t\,\theta)}{\sin\theta}\,b,$$
#
# where $\theta$ is the angle between the two directions, whatever their lengths. Where both point the same way
# ($\theta$ below 0.001) there is no circle: take the straight line there. Fewer than two steps raise `ValueError`.
#
# **2 points** when every number is right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint</summary>
#
# The cosine of an angle is the inner product of two vectors *of length 1*. Rounding can make it a little larger than 1;
# what does the arc cosine give then?
#
# </details>

# %% id="interpolate_z" nbgrader={"schema_version": 3, "grade_id": "interpolate_z", "grade": false, "solution": true, "locked": false, "task": false}
def interpolate_z(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """A walk on the great circle.

    a, b   float (Z,): two noises of any length above 0, never exactly opposite
    steps  how many points

    Returns float (steps, Z): the first row is a, the last is b.
    Raises ValueError for fewer than two steps.
    """
    ### BEGIN SOLUTION
    if steps < 2:
        raise ValueError(f"a walk has two ends; got {steps} steps")
    t = torch.linspace(0, 1, steps)[:, None]  # (steps, 1)
    u, v = a / a.norm(), b / b.norm()
    theta = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    if theta < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta)
    ### END SOLUTION

# %% id="interpolate_z-check" nbgrader={"schema_version": 3, "grade_id": "interpolate_z-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("interpolate_z")
