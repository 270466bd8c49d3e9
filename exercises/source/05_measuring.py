# %% [markdown] id="title"
# # Exercises 05 · Measuring pictures
#
# Five functions of lesson 05, this time written by you. Each has a prompt, a cell with a stub and a check.
#
# 1. Read the prompt. It says what to write and when the points are yours.
# 2. In the cell below it, put your code in the place of `raise NotImplementedError("your answer")`. Run the cell.
# 3. Run the check. It needs no network and no GPU, and you may run it as often as you like.
#
# A check calls your function on random inputs. It says what came and what was expected, or, where your answer is one
# that many people give first, what to think about. The grader does the same with other random inputs, so a function that
# only knows the inputs of the check earns nothing.
#
# All features, pictures and values here come in double precision (`torch.float64`).

# %% id="setup" nbgrader={"schema_version": 3, "grade_id": "setup", "grade": false, "solution": false, "locked": true, "task": false}
import torch
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("05_measuring")

# %% [markdown] id="frechet-prompt" nbgrader={"schema_version": 3, "grade_id": "frechet-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. Two clouds as two Gaussians
#
# The Frechet distance looks at a set of feature vectors through its mean $\mu$ and its covariance $C$ alone. For two sets
# it is
#
# $$|\mu_a-\mu_b|^2 + \mathrm{tr}(C_a) + \mathrm{tr}(C_b) - 2\,\mathrm{tr}\big((C_aC_b)^{1/2}\big).$$
#
# The root is that of a *matrix*: the matrix which, multiplied by itself, gives $C_aC_b$. Only its trace is needed. The
# eigenvalues of $C_aC_b$ are never negative, and those of the root are their roots. A computer rounds, so it may give
# $-10^{-17}$ in the place of 0, or a complex number with an imaginary part of 0. The distance is an ordinary real number
# all the same.
#
# **Write** `frechet(a, b)`. A covariance divides by N - 1. The sets need not be equally large, and a set may have fewer
# vectors than features. Features of unequal length, and a set of fewer than two vectors, raise `ValueError`.
#
# **3 points** when the distance is right on every set of inputs, to one part in 1,000, and what cannot be compared raises.
#
# <details><summary>Hint 1</summary>
#
# `torch.cov` wants one *row* for each feature. The trace of a matrix is the sum of its eigenvalues.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.linalg.eigvals` gives complex numbers. Take what is real of them, and put the ones below 0 back to 0, before the
# root. A ready-made root of a matrix, such as scipy's `sqrtm`, can fail where a set has fewer vectors than features.
#
# </details>

# %% id="frechet" nbgrader={"schema_version": 3, "grade_id": "frechet", "grade": false, "solution": true, "locked": false, "task": false}
def frechet(a: Tensor, b: Tensor) -> Tensor:
    """The Frechet distance of two sets of features, each taken as a Gaussian.

    a  float64 (N, F), N at least 2
    b  float64 (M, F), M at least 2; M may differ from N

    Returns a scalar tensor, real, in the squared unit of the features.
    Raises ValueError where F differs, or where a set has fewer than two vectors.
    """
    ### BEGIN SOLUTION
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"expected two sets of one F, two vectors at least, got {tuple(a.shape)}, {tuple(b.shape)}")
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)  # (F, F)
    eigenvalues = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0)  # (F,)
    between_means = (a.mean(dim=0) - b.mean(dim=0)).pow(2).sum()
    return between_means + cov_a.trace() + cov_b.trace() - 2 * eigenvalues.sqrt().sum()
    ### END SOLUTION

# %% id="frechet-check" nbgrader={"schema_version": 3, "grade_id": "frechet-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("frechet")

# %% [markdown] id="kid-prompt" nbgrader={"schema_version": 3, "grade_id": "kid-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A distance with no bias
#
# The kernel $k(x, y) = (x\cdot y/F + 1)^3$ says how alike two feature vectors of F numbers are. The kernel distance (KID)
# asks whether vectors are more alike inside their own set than across the two:
#
# - plus the mean of $k$ over all pairs of two *different* vectors of `a`,
# - plus the same for `b`,
# - minus twice the mean of $k$ over all pairs of a vector of `a` and one of `b`.
#
# A vector is never paired with itself. For that reason the number is right on average, however few vectors there are. For
# two sets of one source it is as often below 0 as above.
#
# **Write** `kid(a, b)`. The sets need not be equally large. A set of fewer than two vectors has no pairs and raises
# `ValueError`.
#
# **2 points** when the distance is right on every set of inputs, to one part in 10,000, and a set of one vector raises.
#
# <details><summary>Hint</summary>
#
# All products inside a set are one matrix. Where in that matrix is a vector paired with itself, and how many places are
# left without those?
#
# </details>

# %% id="kid" nbgrader={"schema_version": 3, "grade_id": "kid", "grade": false, "solution": true, "locked": false, "task": false}
def kid(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased kernel distance of two sets of features.

    a  float64 (N, F), N at least 2
    b  float64 (M, F), M at least 2; M may differ from N

    Returns a scalar tensor, which may be below 0.
    Raises ValueError where a set has fewer than two vectors.
    """
    ### BEGIN SOLUTION
    if min(len(a), len(b)) < 2:
        raise ValueError(f"expected at least two vectors in each set, got {len(a)} and {len(b)}")
    size = a.shape[1]

    def own(x: Tensor) -> Tensor:
        k = (x @ x.T / size + 1) ** 3  # (N, N)
        return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))

    across = (a @ b.T / size + 1) ** 3  # (N, M)
    return own(a) + own(b) - 2 * across.mean()
    ### END SOLUTION

# %% id="kid-check" nbgrader={"schema_version": 3, "grade_id": "kid-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("kid")

# %% [markdown] id="precision_recall-prompt" nbgrader={"schema_version": 3, "grade_id": "precision_recall-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Is it real, and is it all of it?
#
# One number cannot tell bad pictures from missing ones. Two can. Put a ball around each vector of a set. It reaches to the
# k-th nearest *other* vector of the *same* set; the border belongs to the ball. All balls of a set together are the region
# that it covers.
#
# - Precision is the share of fakes that lie in the region of the real set.
# - Recall is the share of real vectors that lie in the region of the fakes.
#
# **Write** `precision_recall(real, fake, k)`. Distances are Euclidean. The sets need not be equally large. A set that has
# not more than `k` vectors has no k-th neighbour and raises `ValueError`.
#
# **3 points** when both shares are right on every set of inputs, to one part in 10,000, and too small a set raises.
#
# <details><summary>Hint 1</summary>
#
# Three tables of distances are needed: `torch.cdist` makes one. In the table of a set with itself, what is the smallest
# number of each row?
#
# </details>
# <details><summary>Hint 2</summary>
#
# To lie in the region, a vector needs to lie in one ball, whichever. Draw the table "fake j lies in the ball of real i".
# Along which side do you ask for one?
#
# </details>

# %% id="precision_recall" nbgrader={"schema_version": 3, "grade_id": "precision_recall", "grade": false, "solution": true, "locked": false, "task": false}
def precision_recall(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """How many fakes look real, and how much of the real set the fakes cover.

    real  float64 (N, F), N above k
    fake  float64 (M, F), M above k; M may differ from N
    k     which neighbour a ball reaches to, at least 1

    Returns precision and recall, two scalar tensors in [0, 1].
    Raises ValueError where a set has not more than k vectors.
    """
    ### BEGIN SOLUTION
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"expected more than {k} vectors in each set, got {len(real)} and {len(fake)}")
    real_ball = torch.cdist(real, real).kthvalue(k + 1).values  # (N,), the nearest is the vector itself
    fake_ball = torch.cdist(fake, fake).kthvalue(k + 1).values  # (M,)
    across = torch.cdist(real, fake)  # (N, M)
    looks_real = (across <= real_ball[:, None]).any(dim=0)  # (M,)
    covered = (across <= fake_ball).any(dim=1)  # (N,)
    return looks_real.double().mean(), covered.double().mean()
    ### END SOLUTION

# %% id="precision_recall-check" nbgrader={"schema_version": 3, "grade_id": "precision_recall-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("precision_recall")

# %% [markdown] id="nearest_train-prompt" nbgrader={"schema_version": 3, "grade_id": "nearest_train-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Drawn, or copied?
#
# A generator that gives back its training pictures looks perfect to every measure above. So look up, for each fake,
# the training picture that is nearest to it. Two pictures are as far apart as their pixels are, taken as one long vector:
# the Euclidean length of the difference. A copy has the distance 0.
#
# **Write** `nearest_train(fake, train)`. It gives, for each fake, the number of the nearest training picture and the
# distance to it, in this order. Pictures of unequal shape raise `ValueError`, even where they have equally many pixels.
#
# **2 points** when all numbers and distances are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Make each picture a row first. With the table of all distances, fakes down and training pictures across, along which
# side do you look for the smallest one?
#
# </details>

# %% id="nearest_train" nbgrader={"schema_version": 3, "grade_id": "nearest_train", "grade": false, "solution": true, "locked": false, "task": false}
def nearest_train(fake: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """For each fake, the nearest training picture.

    fake   float64 (N, 1, H, W)
    train  float64 (M, 1, H, W); M may differ from N

    Returns the numbers of the nearest training pictures, int64 (N,),
    and the distances to them, float64 (N,).
    Raises ValueError where the pictures' shapes differ.
    """
    ### BEGIN SOLUTION
    if fake.shape[1:] != train.shape[1:]:
        raise ValueError(f"expected pictures of one shape, got {tuple(fake.shape)} and {tuple(train.shape)}")
    apart = torch.cdist(fake.flatten(start_dim=1), train.flatten(start_dim=1))  # (N, M)
    distance, index = apart.min(dim=1)
    return index, distance
    ### END SOLUTION

# %% id="nearest_train-check" nbgrader={"schema_version": 3, "grade_id": "nearest_train-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("nearest_train")

# %% [markdown] id="bootstrap_ci-prompt" nbgrader={"schema_version": 3, "grade_id": "bootstrap_ci-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. How sure is a mean?
#
# A mean over n measured values would have come out a little otherwise with other values. The bootstrap asks how much, with
# no other data: draw n of the values anew, with replacement, and take the mean. Do it many times. The middle part of these
# means is the interval; what is left over is cut off in equal shares below and above.
#
# **Write** `bootstrap_ci(values, rounds, level, g)`. Draw all numbers in one call of `torch.randint` with the generator `g`,
# as a table of `rounds` rows and n columns, one resample a row. `level` is the share that the interval holds, such as 0.9.
# A quantile between two means lies on the line between them, as `quantile` does it. A level that is not between 0 and 1
# raises `ValueError`; 0 and 1 do as well.
#
# **2 points** when both ends are right on every set of inputs, to one part in 10,000, and other levels raise.
#
# <details><summary>Hint</summary>
#
# For the level 0.9, which share of the means lies below the interval, and which above? Indexing a vector with a table of
# numbers gives a table.
#
# </details>

# %% id="bootstrap_ci" nbgrader={"schema_version": 3, "grade_id": "bootstrap_ci", "grade": false, "solution": true, "locked": false, "task": false}
def bootstrap_ci(values: Tensor, rounds: int, level: float, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """The bootstrap's interval for the mean of some values.

    values  float64 (n,)
    rounds  how many times to draw anew
    level   the share of the means that the interval holds, above 0 and below 1
    g       draws the numbers of the values, (rounds, n)

    Returns the lower and the upper end, two scalar tensors.
    Raises ValueError where the level is not between 0 and 1.
    """
    ### BEGIN SOLUTION
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    rows = torch.randint(len(values), (rounds, len(values)), generator=g)
    means = values[rows].mean(dim=1)  # (rounds,)
    tail = (1 - level) / 2
    return means.quantile(tail), means.quantile(1 - tail)
    ### END SOLUTION

# %% id="bootstrap_ci-check" nbgrader={"schema_version": 3, "grade_id": "bootstrap_ci-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("bootstrap_ci")
