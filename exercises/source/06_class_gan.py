# %% [markdown] id="title"
# # Exercises 06 · A class-conditional GAN
#
# Five functions of lesson 06, this time written by you. Each has a prompt, a cell with a stub and a check.
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
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("06_class_gan")

# %% [markdown] id="onehot_maps-prompt" nbgrader={"schema_version": 3, "grade_id": "onehot_maps-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. Every pixel carries the label
#
# A convolution sees a small window at a time. If D is to use the label everywhere, the label must stand beside every
# pixel. So it becomes maps: one map for each class, as large as the picture, and constant.
#
# **Write** `onehot_maps(labels, classes, height, width)`. In the maps of a picture the one that belongs to its label is 1
# everywhere. All its other maps are 0 everywhere. They will be laid beside the picture's pixels, so they are floats, and
# their axes come in the order of a picture's: batch, channel, height, width.
#
# A label that is no class, below 0 or too large, raises `ValueError`. A silent -1 would become a class that nobody meant.
#
# **2 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# First make the rectangle with one row a picture and one column a class. Then give it two more axes of size 1, and stretch
# these. Stretching copies a number along a new axis; it never moves a number to another place.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Test it on two pictures and three classes: look at `maps[0, :, 0, 0]` and at `maps[0, :, -1, -1]`. What must they be?
#
# </details>

# %% id="onehot_maps" nbgrader={"schema_version": 3, "grade_id": "onehot_maps", "grade": false, "solution": true, "locked": false, "task": false}
def onehot_maps(labels: Tensor, classes: int, height: int, width: int) -> Tensor:
    """Labels as constant maps.

    labels         int64 (B,), B at least 1
    classes        how many classes there are, also those that this batch does not hold
    height, width  of the pictures, in pixels

    Returns float32 of shape (B, classes, height, width): 0 and 1.
    Raises ValueError where a label is not one of 0 to classes - 1.
    """
    ### BEGIN SOLUTION
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {labels.tolist()}")
    rows = torch.zeros(len(labels), classes)  # (B, classes)
    rows[torch.arange(len(labels)), labels] = 1
    return rows[:, :, None, None].expand(-1, -1, height, width)
    ### END SOLUTION

# %% id="onehot_maps-check" nbgrader={"schema_version": 3, "grade_id": "onehot_maps-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("onehot_maps")

# %% [markdown] id="cond_norm-prompt" nbgrader={"schema_version": 3, "grade_id": "cond_norm-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. Normalise, then let the class decide
#
# Conditional normalisation has two halves. The first takes something away: each channel of each picture is brought to mean
# 0 and variance 1, over that picture's own pixels,
#
# $$\hat x = \frac{x - \mu}{\sqrt{v + \varepsilon}}, \qquad v = \text{the mean of } (x - \mu)^2 .$$
#
# The second gives something back, chosen by the class: $\hat x\,(1 + \text{scale}) + \text{shift}$. A linear layer computes
# both from the condition. Its first half are the scales, one a channel; its second half are the shifts. The layer's weights
# start at zero. Then scale and shift are 0, and all that happens is the normalisation.
#
# **Write** `cond_norm(x, cond, weight, bias, eps)` without torch's own normalisations. A channel that is flat in a picture,
# with the same number everywhere, becomes its shift everywhere.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# A linear layer is a matrix product and a sum. Look at the shapes in the docstring: which of the two matrices must be
# turned? Then cut the result into two halves.
#
# </details>
# <details><summary>Hint 2</summary>
#
# How many means are there for B pictures of C channels? The axes that disappear in a mean are those that it runs over.
#
# </details>

# %% id="cond_norm" nbgrader={"schema_version": 3, "grade_id": "cond_norm", "grade": false, "solution": true, "locked": false, "task": false}
def cond_norm(x: Tensor, cond: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Conditional normalisation of features.

    x       float (B, C, H, W)
    cond    float (B, K): the condition, such as a one-hot row
    weight  float (2*C, K) and
    bias    float (2*C,): the linear layer, as torch's nn.Linear keeps them
    eps     a small number above 0, added to the variance

    Returns float (B, C, H, W).
    """
    ### BEGIN SOLUTION
    scale, shift = (cond @ weight.T + bias)[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
    pixels = (2, 3)
    away = x - x.mean(dim=pixels, keepdim=True)
    variance = (away**2).mean(dim=pixels, keepdim=True)  # (B, C, 1, 1)
    return away / (variance + eps).sqrt() * (1 + scale) + shift
    ### END SOLUTION

# %% id="cond_norm-check" nbgrader={"schema_version": 3, "grade_id": "cond_norm-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("cond_norm")

# %% [markdown] id="projection_logit-prompt" nbgrader={"schema_version": 3, "grade_id": "projection_logit-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Two questions, one logit
#
# A projection discriminator looks at a picture once and gets its features $f$. Its logit is a sum of two answers. Is this a
# real picture at all? That is a linear function of $f$. Does it fit its class? That is the inner product of $f$ with a
# vector which belongs to the class:
#
# $$\text{logit} = \langle w, f \rangle + b + \langle V_y, f \rangle .$$
#
# **Write** `projection_logit(features, labels, weight, bias, table)`. Row k of `table` is the vector of class k. Each
# picture has a label of its own, and is asked about that one only. A gradient must reach `features`, `weight`, `bias` and
# `table`.
#
# **2 points** when the logits and their slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# For B pictures there are B inner products, not B times B. Multiply the two rectangles number by number first. Then which
# axis is the one to sum over? And keep an eye on the shapes when you add: (B, 1) plus (B,) is neither.
#
# </details>

# %% id="projection_logit" nbgrader={"schema_version": 3, "grade_id": "projection_logit", "grade": false, "solution": true, "locked": false, "task": false}
def projection_logit(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    """The logit of each picture with its class.

    features  float (B, F): what D has seen in each picture
    labels    int64 (B,): its class
    weight    float (F,) and
    bias      a float tensor without axes: the question whether it is real
    table     float (K, F): one vector for each class

    Returns float (B, 1): one logit a picture.
    """
    ### BEGIN SOLUTION
    alone = features @ weight + bias  # (B,)
    fit = (table[labels] * features).sum(dim=1)  # (B,)
    return (alone + fit)[:, None]
    ### END SOLUTION

# %% id="projection_logit-check" nbgrader={"schema_version": 3, "grade_id": "projection_logit-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("projection_logit")

# %% [markdown] id="swap_test-prompt" nbgrader={"schema_version": 3, "grade_id": "swap_test-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Does D read the label?
#
# A D that ignores the label can still tell real from fake. Then nothing makes G draw what it is asked for. The swap test
# finds this out without G: take real pictures, and give D a wrong label with each.
#
# Some pictures have a high logit with any label, because they look very real. So compare each picture with **itself**: its
# logit with its own label against its logit with one wrong label. D wins if the own label has the higher logit. Equal
# logits count as half a win, so that a blind D gets one half and not more.
#
# **Write** `swap_test(D, pictures, labels, classes)`: the share of wins, over all pictures and **all** wrong labels of each.
# With K classes there are K - 1 of them.
#
# **3 points** when the share is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Move all labels on by one class, and the last class to the first. Every label is then wrong. Then move them on by two.
# Which moves lead to wrong labels, and how often does each wrong label come up?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.sign` of a difference is 1, 0 or -1. What must be done to it to become 1, one half or 0?
#
# </details>

# %% id="swap_test" nbgrader={"schema_version": 3, "grade_id": "swap_test", "grade": false, "solution": true, "locked": false, "task": false}
def swap_test(D: Callable[[Tensor, Tensor], Tensor], pictures: Tensor, labels: Tensor, classes: int) -> float:
    """How often a picture's own label beats a wrong one.

    D         D(pictures, labels) gives logits (B, 1), high for "real, and it fits"
    pictures  float (B, C, H, W): real ones
    labels    int64 (B,): their true classes, 0 to classes - 1
    classes   at least 2

    Returns a number from 0 to 1; 0.5 where D does not read labels.
    """
    ### BEGIN SOLUTION
    own, wins = D(pictures, labels), []  # (B, 1)
    for move in range(1, classes):
        wrong = D(pictures, (labels + move) % classes)  # (B, 1)
        wins.append(((own > wrong).float() + (own >= wrong).float()) / 2)
    return torch.cat(wins).mean().item()
    ### END SOLUTION

# %% id="swap_test-check" nbgrader={"schema_version": 3, "grade_id": "swap_test-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("swap_test")

# %% [markdown] id="per_class_recall-prompt" nbgrader={"schema_version": 3, "grade_id": "per_class_recall-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Which class fails?
#
# One accuracy for all classes hides a class that is never drawn right. So ask for each class alone: of the pictures that
# were asked for as this class, which share is read as this class by an independent classifier? That share is the class's
# *recall*.
#
# **Write** `per_class_recall(read, asked, classes)`. A class that was never asked for has no recall; give it NaN, at its
# place, and neither 0 nor 1. Return with it the mean over the classes that were asked for. Each of these counts once,
# however many pictures it has.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# `torch.bincount(numbers, minlength=classes)` counts how often each class comes up. Count twice: once among all that were
# asked for, once among a part of them. In floating point, what is 0 / 0?
#
# </details>

# %% id="per_class_recall" nbgrader={"schema_version": 3, "grade_id": "per_class_recall", "grade": false, "solution": true, "locked": false, "task": false}
def per_class_recall(read: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    """Of what was asked for as a class, which share is read as it.

    read     int64 (N,): the class that a classifier sees in each picture
    asked    int64 (N,): the class that G was asked for
    classes  how many classes there are; some may not be asked for

    Returns the recalls, float (classes,), NaN for a class that was not asked for,
    and their mean over the classes that were, a number from 0 to 1.
    """
    ### BEGIN SOLUTION
    total = torch.bincount(asked, minlength=classes)  # (classes,)
    right = torch.bincount(asked[read == asked], minlength=classes)  # (classes,)
    recall = right / total
    return recall, recall[total > 0].mean().item()
    ### END SOLUTION

# %% id="per_class_recall-check" nbgrader={"schema_version": 3, "grade_id": "per_class_recall-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("per_class_recall")
