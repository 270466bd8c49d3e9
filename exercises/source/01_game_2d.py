# %% [markdown] id="title"
# # Exercises 01 · The game in two dimensions
#
# Five functions of lesson 01, this time written by you. Each has a prompt, a cell with a stub and a check.
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

check = checks("01_game_2d")

# %% [markdown] id="d_loss-prompt" nbgrader={"schema_version": 3, "grade_id": "d_loss-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. What D is paid for
#
# D gives one number a point, its logit. The sigmoid of the logit is the chance that D gives to "real". D's loss is minus
# the logarithm of the chance that it gave to the truth: the mean over the real points **plus** the mean over the fakes.
#
# **Write** `d_loss(on_real, on_fake)`. There may be more real points than fakes, or fewer. A D that is very sure has
# logits of 300 and more; the loss and its slopes must stay finite. A run that has diverged must not go on in silence: raise
# `ValueError` when any logit, real or fake, is infinite or not a number.
#
# D learns from this number, so it must be a tensor that carries a gradient back to both arguments.
#
# **2 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Section 2 of the lesson has two identities that turn the logarithm of a sigmoid into a function that torch knows and
# that never overflows. Which sign does the logit have in each of the two halves?
#
# </details>

# %% id="d_loss" nbgrader={"schema_version": 3, "grade_id": "d_loss", "grade": false, "solution": true, "locked": false, "task": false}
def d_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """D's loss on logits.

    on_real  float (B, 1): D's logits on real points
    on_fake  float (M, 1): D's logits on fakes; M need not be B

    Returns a scalar tensor, at least 0.
    Raises ValueError where a logit is not finite.
    """
    ### BEGIN SOLUTION
    if not (torch.isfinite(on_real).all() and torch.isfinite(on_fake).all()):
        raise ValueError("a logit is not finite: the run has diverged")
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    ### END SOLUTION

# %% id="d_loss-check" nbgrader={"schema_version": 3, "grade_id": "d_loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("d_loss")

# %% [markdown] id="g_loss-prompt" nbgrader={"schema_version": 3, "grade_id": "g_loss-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. What G is paid for
#
# There are two losses for G. In the *minimax* game G minimises $\log(1-\sigma(l))$, where $l$ is D's logit on a fake. This
# loss is below zero. The *non-saturating* loss is $-\log\sigma(l)$, above zero. Both are means over the fakes.
#
# **Write** `g_loss(on_real, on_fake, saturating)`. Every game of the library has the same two arguments for both players,
# so the logits on real points come along. Think about whether you need them. `saturating` is True for the minimax loss.
# As before, logits may be 300 and more.
#
# If any fake's logit is infinite or not a number, raise `ValueError`. What the real logits hold is no concern of G.
#
# **2 points** when both losses and their slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Write both formulas with the identities of section 2. Then ask of each: does it fall when the logit rises? It must, or G
# learns to be caught.
#
# </details>

# %% id="g_loss" nbgrader={"schema_version": 3, "grade_id": "g_loss", "grade": false, "solution": true, "locked": false, "task": false}
def g_loss(on_real: Tensor, on_fake: Tensor, saturating: bool) -> Tensor:
    """G's loss on logits, one of two.

    on_real     float (B, 1): D's logits on real points
    on_fake     float (M, 1): D's logits on fakes
    saturating  True for the minimax loss, False for the non-saturating one

    Returns a scalar tensor.
    Raises ValueError where a fake's logit is not finite.
    """
    ### BEGIN SOLUTION
    if not torch.isfinite(on_fake).all():
        raise ValueError("a logit is not finite: the run has diverged")
    if saturating:
        return -F.softplus(on_fake).mean()
    return F.softplus(-on_fake).mean()
    ### END SOLUTION

# %% id="g_loss-check" nbgrader={"schema_version": 3, "grade_id": "g_loss-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("g_loss")

# %% [markdown] id="d_step-prompt" nbgrader={"schema_version": 3, "grade_id": "d_step-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. D moves
#
# One step of D on the loss of exercise 1: real points and fresh fakes go in, D's weights move once.
#
# **Write** `d_step(G, D, opt_g, opt_d, real, z)`. The fakes are what `G` makes of `z`. Three things must hold after it:
#
# - D has moved by one step of its optimiser, along the gradient of *this* loss alone. When the function is called, gradients
#   of an earlier step of G still lie in D.
# - G is as it was: no weight has moved, and no gradient has been left in it.
# - The loss that is returned is the one *before* the step, and the fakes that come along carry no way back into G.
#
# The function is handed both optimisers, as a loop has them. Use what you need.
#
# **3 points** when the loss, the fakes and all weights are right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint 1</summary>
#
# To D the fakes are data. Section 5 of the lesson names the call that cuts them off from what made them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `backward` *adds* to the gradients that lie there. An optimiser can clear those of its own network. When must it?
#
# </details>

# %% id="d_step" nbgrader={"schema_version": 3, "grade_id": "d_step", "grade": false, "solution": true, "locked": false, "task": false}
def d_step(
    G: nn.Module,
    D: nn.Module,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
) -> tuple[float, Tensor]:
    """One step of D.

    G, D          modules: (M, Z) to (M, 2), and (N, 2) to logits (N, 1)
    opt_g, opt_d  their optimisers
    real          float (B, 2): real points
    z             float (M, Z): noise; M need not be B

    Returns D's loss before the step, a number, and the fakes (M, 2),
    detached.
    """
    ### BEGIN SOLUTION
    fake = G(z).detach()
    loss = F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()
    return loss.item(), fake
    ### END SOLUTION

# %% id="d_step-check" nbgrader={"schema_version": 3, "grade_id": "d_step-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("d_step")

# %% [markdown] id="g_step-prompt" nbgrader={"schema_version": 3, "grade_id": "g_step-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. G moves
#
# One step of G on the non-saturating loss, under D as it is now.
#
# **Write** `g_step(G, D, opt_g, opt_d, fake, z)`. `z` is fresh noise. `fake` holds the points that D's step has just looked
# at; it comes along because a loop has it at hand. Think about what G can learn from it. Three things must hold after the
# step:
#
# - G has moved by one step of its optimiser, along the gradient of this loss alone. Old gradients may lie in G.
# - D is as it was: no weight has moved, no gradient has been left in it (it comes without any), and it can still learn in
#   the next round.
# - Two numbers are returned: the loss before the step, and the share of the new fakes which D took for real, those with a
#   logit above 0, before the step as well.
#
# **3 points** when both numbers and all weights are right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint 1</summary>
#
# The gradient has to go through D, back to the points, and on into G. Where does a point end that way back?
#
# </details>
# <details><summary>Hint 2</summary>
#
# On its way through D the gradient leaves something behind in D's weights. Whose optimiser clears that?
#
# </details>

# %% id="g_step" nbgrader={"schema_version": 3, "grade_id": "g_step", "grade": false, "solution": true, "locked": false, "task": false}
def g_step(
    G: nn.Module,
    D: nn.Module,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    fake: Tensor,
    z: Tensor,
) -> tuple[float, float]:
    """One step of G on the non-saturating loss.

    G, D          modules: (M, Z) to (M, 2), and (N, 2) to logits (N, 1)
    opt_g, opt_d  their optimisers
    fake          float (N, 2): the points of D's last step, detached
    z             float (M, Z): fresh noise

    Returns the loss before the step, and the share of fakes taken for real,
    0 to 1.
    """
    ### BEGIN SOLUTION
    on_fake = D(G(z))
    loss = F.softplus(-on_fake).mean()
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()
    opt_d.zero_grad()
    return loss.item(), (on_fake > 0).float().mean().item()
    ### END SOLUTION

# %% id="g_step-check" nbgrader={"schema_version": 3, "grade_id": "g_step-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("g_step")

# %% [markdown] id="optimal_d-prompt" nbgrader={"schema_version": 3, "grade_id": "optimal_d-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. What the best D says
#
# Section 3 of the lesson found the best D where real points and fakes count the same. Now they do not. D is shown a mixture
# in which the share `share` of all points is real, and its loss is *one* mean over the mixture. At a place where real points
# have the density $p$ and fakes the density $q$, it meets real ones and fakes in the proportion of share times $p$ to
# (1 - share) times $q$.
#
# **Write** `optimal_d(log_p, log_q, share)`: the best D at N places. The densities come as logarithms, because far from
# every mode a density is smaller than any float: a log of -2000 is usual. Give the logits and the chances of "real", both
# of them finite.
#
# **3 points** when logits and chances are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Write what D pays at one place for saying the chance $d$, set the derivative to zero, and solve for $d$. The lesson does
# this with both weights equal.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The logit of a chance $d$ is $\log d - \log(1-d)$. What is left of it when $d$ is put in? No density needs to be formed.
#
# </details>

# %% id="optimal_d" nbgrader={"schema_version": 3, "grade_id": "optimal_d", "grade": false, "solution": true, "locked": false, "task": false}
def optimal_d(log_p: Tensor, log_q: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The best discriminator where both densities are known.

    log_p, log_q  float (N,): logarithms of the densities of real points and fakes
    share         the share of real points in what D is shown, above 0 and below 1

    Returns the logits (N,) and the chances of "real" (N,).
    """
    ### BEGIN SOLUTION
    odds = torch.tensor(share / (1 - share))
    logits = log_p - log_q + torch.log(odds)  # (N,)
    return logits, torch.sigmoid(logits)
    ### END SOLUTION

# %% id="optimal_d-check" nbgrader={"schema_version": 3, "grade_id": "optimal_d-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("optimal_d")
