# %% [markdown] id="title"
# # Exercises 03 · Losses and penalties
#
# Six functions of lesson 03, this time written by you. Each has a prompt, a cell with a stub and a check.
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

check = checks("03_losses")

# %% [markdown] id="hinge_d-prompt" nbgrader={"schema_version": 3, "grade_id": "hinge_d-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. Sure enough is enough
#
# The hinge loss asks D for a margin and no more. A real picture costs nothing once its logit is at least `margin`. A fake
# one costs nothing once its logit is at most `-margin`. What is missing to the margin is the cost.
#
# **Write** `hinge_d(real, fake, margin)`: the mean cost of the real logits plus the mean cost of the fake ones. There need
# not be as many fakes as real pictures. D learns from this number, so it must be a tensor that carries a gradient.
#
# **2 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# How much is missing when the logit is 0.3 and the margin 1? How much when it is 4? One function of torch turns what is
# negative into 0.
#
# </details>

# %% id="hinge_d" nbgrader={"schema_version": 3, "grade_id": "hinge_d", "grade": false, "solution": true, "locked": false, "task": false}
def hinge_d(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    """The discriminator's hinge loss.

    real    float (N, 1): logits of real pictures
    fake    float (M, 1): logits of fakes; M may differ from N
    margin  a number above 0

    Returns a scalar tensor, at least 0.
    """
    ### BEGIN SOLUTION
    missing_real = (margin - real).clamp(min=0)  # (N, 1)
    missing_fake = (margin + fake).clamp(min=0)  # (M, 1)
    return missing_real.mean() + missing_fake.mean()
    ### END SOLUTION

# %% id="hinge_d-check" nbgrader={"schema_version": 3, "grade_id": "hinge_d-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("hinge_d")

# %% [markdown] id="critic_loss-prompt" nbgrader={"schema_version": 3, "grade_id": "critic_loss-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A critic, and the gap it sees
#
# In the Wasserstein game D is a *critic*. Its numbers are no logits, and nothing squashes them. The critic wants its mean
# on real pictures far above its mean on fakes. G wants the critic's mean on the fakes to be high; G's loss knows nothing of
# real pictures. Both are trained by *descent*.
#
# The quantity that people plot in this game is the gap: how far the mean on real pictures lies above the mean on fakes. It
# goes into a log, so it is a plain number. A log of tensors would keep the graph of every step alive.
#
# **Write** `critic_loss(real, fake)`. It gives three things: D's loss, G's loss, and the gap. There need not be as many
# fakes as real pictures.
#
# **2 points** when all three and the losses' slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Say it aloud first: "D's loss falls when ... rises". Whatever should rise gets a minus sign in a loss.
#
# </details>

# %% id="critic_loss" nbgrader={"schema_version": 3, "grade_id": "critic_loss", "grade": false, "solution": true, "locked": false, "task": false}
def critic_loss(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, float]:
    """Both losses of the Wasserstein game, to be minimised, and the gap.

    real  float (N, 1): the critic's numbers on real pictures
    fake  float (M, 1): those on fakes; M may differ from N

    Returns D's loss and G's loss, two scalar tensors, and the gap, a plain number.
    """
    ### BEGIN SOLUTION
    on_real, on_fake = real.mean(), fake.mean()
    gap = on_real - on_fake
    loss_g = -fake.mean()
    return -gap, loss_g, gap.item()
    ### END SOLUTION

# %% id="critic_loss-check" nbgrader={"schema_version": 3, "grade_id": "critic_loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("critic_loss")

# %% [markdown] id="interpolate-prompt" nbgrader={"schema_version": 3, "grade_id": "interpolate-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Somewhere between real and fake
#
# The WGAN-GP penalty looks at D between a real picture and a fake one. For each sample one number epsilon is drawn, evenly
# between 0 and 1. It blends the two: 1 gives the real one, 0 the fake one.
#
# **Write** `interpolate(real, fake, g)`. Draw as many numbers as there are samples, in one call of `torch.rand` with the
# generator `g`. The batch may hold pictures (B, C, H, W) or points (B, K).
#
# D will be differentiated at these samples, so they must ask for a gradient. They are places to look from, and no way back
# to G: the fakes come with G's graph, and what you return must not reach it. Batches of unequal shape raise `ValueError`.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000, and the graph is as asked.
#
# <details><summary>Hint 1</summary>
#
# The numbers come as shape (B,). Which shape must they have, so that each one meets all numbers of its own sample?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `detach` cuts a tensor off its past. `requires_grad_` makes it the start of a new graph.
#
# </details>

# %% id="interpolate" nbgrader={"schema_version": 3, "grade_id": "interpolate", "grade": false, "solution": true, "locked": false, "task": false}
def interpolate(real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    """Samples between real and fake ones, one epsilon each.

    real, fake  float (B, ...) of one shape; fake may carry a graph
    g           draws the B numbers epsilon

    Returns float of the same shape, asking for a gradient, with no past.
    Raises ValueError where the shapes differ.
    """
    ### BEGIN SOLUTION
    if real.shape != fake.shape:
        raise ValueError(f"expected one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    ones = [1] * (real.dim() - 1)
    epsilon = torch.rand(len(real), generator=g).view(len(real), *ones)  # (B, 1, ...)
    between = epsilon * real + (1 - epsilon) * fake
    return between.detach().requires_grad_(True)
    ### END SOLUTION

# %% id="interpolate-check" nbgrader={"schema_version": 3, "grade_id": "interpolate-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("interpolate")

# %% [markdown] id="gradient_penalty-prompt" nbgrader={"schema_version": 3, "grade_id": "gradient_penalty-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Keep the slope near 1
#
# `x` is a batch that asks for a gradient, such as exercise 3 gives. The penalty measures how steep D is at each sample: the
# length of the gradient of that sample's logit, over *all* numbers of the sample. Lengths above 1 and below 1 are penalised
# alike, by the square of their distance from 1. The penalty is the mean over the batch.
#
# **Write** `gradient_penalty(D, x)`. D is trained to make it small, so its slope must reach D's weights. Somewhere D may be
# perfectly flat. The length is 0 there, and the penalty's slopes must be finite numbers all the same.
#
# **3 points** when the penalty and its slopes at D's weights are right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint 1</summary>
#
# `torch.autograd.grad` gives the slope of one number. The sum of all logits is one number, and its slope at sample i is
# that of logit i alone.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A gradient is an ordinary result only if torch is told to build a graph for it. And what is the slope of a square root
# at 0?
#
# </details>

# %% id="gradient_penalty" nbgrader={"schema_version": 3, "grade_id": "gradient_penalty", "grade": false, "solution": true, "locked": false, "task": false}
def gradient_penalty(D: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean of (length of D's gradient - 1) squared.

    D  maps a batch (B, ...) to logits, (B,) or (B, 1)
    x  float (B, C, H, W) or (B, K), asks for a gradient

    Returns a scalar tensor, at least 0, whose slope reaches D's weights.
    """
    ### BEGIN SOLUTION
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)  # as x
    squared = slope.flatten(start_dim=1).pow(2).sum(dim=1)  # (B,)
    length = (squared + 1e-12).sqrt()
    return (length - 1).pow(2).mean()
    ### END SOLUTION

# %% id="gradient_penalty-check" nbgrader={"schema_version": 3, "grade_id": "gradient_penalty-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("gradient_penalty")

# %% [markdown] id="r1-prompt" nbgrader={"schema_version": 3, "grade_id": "r1-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Flat where the pictures are real
#
# R1 asks D to be flat at real pictures: half of `gamma` times the mean, over the batch, of the squared length of D's
# gradient there. As before, the length is taken over all numbers of a sample.
#
# A training loop hands each of its penalties the same four things, so `fake` comes along here as well. Look at what you
# need.
#
# **Write** `r1(D, real, fake, gamma)`. `real` does not ask for a gradient when it comes, and must be left as it came: the
# loop goes on using it. The penalty's slope must reach D's weights.
#
# **2 points** when the penalty and its slopes at D's weights are right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint</summary>
#
# A squared length needs no root. For a D that is a plain product `w . x` the answer is known: gamma / 2 times |w| squared,
# whatever the pictures are. Try it.
#
# </details>

# %% id="r1" nbgrader={"schema_version": 3, "grade_id": "r1", "grade": false, "solution": true, "locked": false, "task": false}
def r1(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    """The R1 penalty.

    D      maps a batch (B, ...) to logits, (B,) or (B, 1)
    real   float (B, C, H, W) or (B, K), asks for no gradient and is left as it came
    fake   float of the same shape
    gamma  the penalty's weight, a number above 0

    Returns a scalar tensor, at least 0, whose slope reaches D's weights.
    """
    ### BEGIN SOLUTION
    at = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(D(at).sum(), at, create_graph=True)  # as real
    squared = slope.pow(2).flatten(start_dim=1).sum(dim=1)  # (B,)
    return gamma / 2 * squared.mean()
    ### END SOLUTION

# %% id="r1-check" nbgrader={"schema_version": 3, "grade_id": "r1-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("r1")

# %% [markdown] id="relativistic-prompt" nbgrader={"schema_version": 3, "grade_id": "relativistic-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 6. Pair by pair
#
# The relativistic game compares. Row i of `real` and row i of `fake` are a pair. D wants the real one of each pair to have
# the higher logit. Its loss on a pair is the softplus of how far the fake's logit lies above the real one's. G wants the
# opposite, with the same function. Both losses are means over the pairs.
#
# **Write** `relativistic(real, fake)`. It gives D's loss and G's loss. Two tensors of unequal shape are no pairs and raise
# `ValueError`: torch would quietly compare each with all the others. Some pairs lie hundreds of logits apart, and values
# and slopes must be finite there.
#
# **2 points** when both losses and their slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Write D's loss for a single pair first. What changes when the two players change sides? And does the mean come before the
# curve, or behind it?
#
# </details>

# %% id="relativistic" nbgrader={"schema_version": 3, "grade_id": "relativistic", "grade": false, "solution": true, "locked": false, "task": false}
def relativistic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Both losses of the relativistic game.

    real, fake  float of one shape, (B,) or (B, 1): logits, pair by pair

    Returns D's loss and G's loss, two scalar tensors.
    Raises ValueError where the shapes differ.
    """
    ### BEGIN SOLUTION
    if real.shape != fake.shape:
        raise ValueError(f"expected pairs, got {tuple(real.shape)} and {tuple(fake.shape)}")
    ahead = real - fake  # how far the real one lies above its fake
    return F.softplus(-ahead).mean(), F.softplus(ahead).mean()
    ### END SOLUTION

# %% id="relativistic-check" nbgrader={"schema_version": 3, "grade_id": "relativistic-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("relativistic")
