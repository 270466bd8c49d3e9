# %% [markdown] id="title"
# # Exercises 14 · Your own data, and responsibility
#
# Five functions of lesson 14, this time written by you. Each has a prompt, a cell with a stub and a check. The first two
# serve a training on little data: pieces of words, and a game whose pictures are changed before D sees them. The others
# ask what came out of it: whether the picture is the one that was asked for, whether it was copied, and whether it
# carries your mark.
#
# 1. Read the prompt. It says what to write and when the points are yours.
# 2. In the cell below it, put your code in the place of `raise NotImplementedError("your answer")`. Run the cell.
# 3. Run the check. It needs no network and no GPU, and you may run it as often as you like.
#
# A check calls your function on random inputs. It says what came and what was expected, or, where your answer is one
# that many people give first, what to think about. The grader does the same with other random inputs, so a function that
# only knows the inputs of the check earns nothing.

# %% id="setup" nbgrader={"schema_version": 3, "grade_id": "setup", "grade": false, "solution": false, "locked": true, "task": false}
import itertools
from collections import Counter
from collections.abc import Callable
from statistics import NormalDist

import torch
import torch.nn.functional as F
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("14_your_own_data")

# %% [markdown] id="merge_once-prompt" nbgrader={"schema_version": 3, "grade_id": "merge_once-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. One merge
#
# Byte-pair encoding learns pieces of words. It begins with characters, and each step makes one new piece out of the two
# neighbours that are met most often. Here is one such step.
#
# `words` gives each word as a tuple of pieces, with the number of times that it is met: `("l", "o", "w"): 5`. No two words
# spell the same, and at least one has two pieces.
#
# 1. **Count.** A pair is two pieces that stand side by side in a word. Each place counts as often as the word is met.
#    Places may overlap: `("a", "a", "a"): 5` holds the pair `("a", "a")` 10 times.
# 2. **Choose** the pair of the highest count. Of several, take the first in the order in which Python sorts tuples.
# 3. **Merge.** Go through each word from left to right and make one piece of each such pair. A piece that was merged is
#    used up: `("a", "a", "a")` becomes `("aa", "a")`.
#
# **Write** `merge_once(words)`. It gives the pair and a dict of all words after the merge, those that did not change
# included, with their numbers.
#
# **3 points** when the pair and the words are right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# `itertools.pairwise` gives neighbours. Does a word's last piece have a neighbour to its right?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A key for `min` may be a tuple: first the count, with a sign that puts the highest in front, then the pair itself.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Build the new word piece by piece. Before you put a piece down, look at the last one that lies there.
#
# </details>

# %% id="merge_once" nbgrader={"schema_version": 3, "grade_id": "merge_once", "grade": false, "solution": true, "locked": false, "task": false}
def merge_once(words: dict[tuple[str, ...], int]) -> tuple[tuple[str, str], dict[tuple[str, ...], int]]:
    """One step of byte-pair encoding.

    words  each word as a tuple of pieces, and how often it is met

    Returns the pair that was merged, and the words after the merge with
    their numbers.
    """
    ### BEGIN SOLUTION
    counts: Counter[tuple[str, str]] = Counter()
    for word, times in words.items():
        for pair in itertools.pairwise(word):
            counts[pair] += times
    best = min(counts, key=lambda pair: (-counts[pair], pair))
    merged = {}
    for word, times in words.items():
        pieces: list[str] = []
        for piece in word:
            if pieces and (pieces[-1], piece) == best:
                pieces[-1] += piece  # longer than best[0], so it is not merged again
            else:
                pieces.append(piece)
        merged[tuple(pieces)] = times
    return best, merged
    ### END SOLUTION

# %% id="merge_once-check" nbgrader={"schema_version": 3, "grade_id": "merge_once-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("merge_once")

# %% [markdown] id="augment_both-prompt" nbgrader={"schema_version": 3, "grade_id": "augment_both-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A game behind changes
#
# With few real pictures D learns them by heart. So D sees every picture through a random change alone: another brightness,
# another place. G has to be judged through such a change too, or it learns to draw changed pictures.
#
# `change(x, r)` changes pictures (B, 3, H, W); `r` (B, 2) holds the random numbers, one row for each picture. Each of the
# three looks has its own numbers:
#
# - D looks at the real pictures with `noise[0]`,
# - D looks at the drawn pictures with `noise[1]`,
# - G is judged on the drawn pictures with `noise[2]`.
#
# The losses are those of lesson 01, on logits: $\mathrm{softplus}(-D)$ for what should look real and
# $\mathrm{softplus}(D)$ for what should look drawn, each as a mean over the batch. D's loss is the sum of its two means.
#
# **Write** `augment_both(D, real, fake, change, noise)`. The gradient of G's loss passes through the change to `fake`. That
# of D's loss does not reach `fake`. What the change gives is shown to D as it is, also outside [-1, 1].
#
# **3 points** when both losses and their slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# D is called three times, each time on something that `change` gave.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Where must the gradient to `fake` be stopped, and where must it not? A change under `torch.no_grad()` is a constant.
#
# </details>

# %% id="augment_both" nbgrader={"schema_version": 3, "grade_id": "augment_both", "grade": false, "solution": true, "locked": false, "task": false}
def augment_both(
    D: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    change: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """The losses of a game in which D sees every picture changed.

    D       gives logits (B,) of pictures (B, 3, H, W)
    real    float (B, 3, H, W)
    fake    float (B, 3, H, W), drawn by G, whose gradient hangs on it
    change  change(x, r) gives pictures changed by random numbers r (B, 2)
    noise   float (3, B, 2): for D's look at real, D's at fake, and G's

    Returns D's loss and G's loss, two scalar tensors.
    """
    ### BEGIN SOLUTION
    on_real = D(change(real, noise[0]))
    on_fake = D(change(fake.detach(), noise[1]))
    for_g = D(change(fake, noise[2]))
    loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    return loss_d, F.softplus(-for_g).mean()
    ### END SOLUTION

# %% id="augment_both-check" nbgrader={"schema_version": 3, "grade_id": "augment_both-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("augment_both")

# %% [markdown] id="found_within-prompt" nbgrader={"schema_version": 3, "grade_id": "found_within-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Is it the picture that was asked for?
#
# Nobody can check a name such as "woman firefighter" word by word. So the drawn picture is held against all real ones: it
# is right if the true one is among the k nearest. The share of drawn pictures that are right is called R@k.
#
# An encoder has made one vector of each picture: `drawn` has those of what was drawn, `shelf` those of all real pictures.
# Nearness is the **cosine** of two vectors. They come in any length.
#
# Some real pictures are the same drawing under several names. `same` gives each real picture the number of its group; any
# picture of the right group is right. A group has one place in the order, that of its **nearest** picture, however many
# pictures it has. For k = 2, a drawn picture is right if at most one other group is nearer than its own.
#
# **Write** `found_within(drawn, shelf, rows, same, k)`, which says for each drawn picture whether it is right; the mean of
# this is R@k. `k` may be larger than the number of groups.
#
# **3 points** when every answer is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# A place in an order is a count: how many groups are nearer?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a table of drawn pictures by groups, with the best cosine of each group. The numbers of groups need not be 0, 1, 2;
# `torch.unique` can number them anew.
#
# </details>

# %% id="found_within" nbgrader={"schema_version": 3, "grade_id": "found_within", "grade": false, "solution": true, "locked": false, "task": false}
def found_within(drawn: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, k: int) -> Tensor:
    """Which drawn pictures find their true one among the k nearest.

    drawn  float64 (B, F): a vector of each drawn picture, of any length
    shelf  float64 (N, F): a vector of each real picture, of any length
    rows   int64 (B,): where on the shelf the true picture lies
    same   int64 (N,): the group of each real picture, any whole numbers
    k      how many places count, at least 1

    Returns bool (B,): whether the true picture's group has one of the
    first k places.
    """
    ### BEGIN SOLUTION
    cosine = F.normalize(drawn, dim=1) @ F.normalize(shelf, dim=1).T  # (B, N)
    names, group = same.unique(return_inverse=True)  # (N,): groups from 0
    member = group == torch.arange(len(names))[:, None]  # (groups, N)
    best = torch.where(member, cosine[:, None], -2.0).amax(dim=2)  # (B, groups)
    own = best.gather(1, group[rows][:, None])  # (B, 1)
    return (best > own).sum(dim=1) < k
    ### END SOLUTION

# %% id="found_within-check" nbgrader={"schema_version": 3, "grade_id": "found_within-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("found_within")

# %% [markdown] id="near_copies-prompt" nbgrader={"schema_version": 3, "grade_id": "near_copies-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. How near is a copy?
#
# A model that has seen few pictures may give them back. To count copies it takes a limit: how near is too near? The
# pictures themselves can say it. Change each training picture a little, so that everybody would call it the same picture.
# Row i of `changed` is row i of `train` after such a change.
#
# 1. Measure how far each training picture lies from **itself** after the change, as the Euclidean length of the difference.
# 2. The **limit** is the quantile `level` of these distances. For 0.95, 95 in 100 changed pictures lie within it. Between
#    two distances it lies on the line between them, as `quantile` does it.
# 3. A drawn picture is a near-copy if its **nearest** training picture lies within the limit. The limit itself belongs to
#    it.
#
# **Write** `near_copies(drawn, train, changed, level)`. It gives the limit and which drawn pictures are near-copies.
#
# **3 points** when both are right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Step 1 gives M distances and not M times M: no picture is compared with another one.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Step 3 needs all distances, drawn pictures down and training pictures across. Along which side is the smallest one taken?
#
# </details>

# %% id="near_copies" nbgrader={"schema_version": 3, "grade_id": "near_copies", "grade": false, "solution": true, "locked": false, "task": false}
def near_copies(drawn: Tensor, train: Tensor, changed: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The limit of what counts as a copy, and which drawn pictures lie within it.

    drawn    float64 (B, F): a vector of each drawn picture
    train    float64 (M, F): a vector of each training picture
    changed  float64 (M, F): the same pictures after a small change, in the
             same order
    level    the share of changed pictures within the limit, from 0 to 1

    Returns the limit, a scalar tensor, and bool (B,): which drawn pictures
    are near-copies.
    """
    ### BEGIN SOLUTION
    limit = (changed - train).norm(dim=1).quantile(level)
    away = (drawn[:, None] - train).norm(dim=2)  # (B, M)
    return limit, away.amin(dim=1) <= limit
    ### END SOLUTION

# %% id="near_copies-check" nbgrader={"schema_version": 3, "grade_id": "near_copies-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("near_copies")

# %% [markdown] id="detect-prompt" nbgrader={"schema_version": 3, "grade_id": "detect-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Is it your picture?
#
# A key makes a pattern of signs, +1 or -1 for each pixel, as if a coin were thrown. Adding a faint copy of the pattern to
# all three colours marks a picture. Who knows the key can find the mark.
#
# The detector of lesson 14 looks at the fine structure of a picture. This one is simpler. Let $r_i$ be the brightness of
# pixel i, which is the mean of its three colours, less the mean brightness of the **same** picture. With the signs $p_i$:
#
# $$z = \frac{\sum_i p_i\,r_i}{\sqrt{\sum_i r_i^2}}$$
#
# In a picture without the mark the signs are by chance. Then z has the mean 0 and the spread 1, whatever the picture, and
# with many pixels it is close to a normal distribution. The mark lets z grow. So a picture is called marked where z is
# **above** a threshold. Pictures without the mark are above it too, now and then: their share is the false-positive rate.
# The threshold is chosen so that this share is `rate` in a standard normal distribution.
#
# **Write** `detect(x, pattern, rate)`. It gives z of each picture and the threshold.
#
# **3 points** when both are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Write down the shape after each step. Each picture has its own mean and its own sum of squares.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `NormalDist().inv_cdf(q)` gives the number that has the share q of a standard normal distribution **below** it.
#
# </details>

# %% id="detect" nbgrader={"schema_version": 3, "grade_id": "detect", "grade": false, "solution": true, "locked": false, "task": false}
def detect(x: Tensor, pattern: Tensor, rate: float) -> tuple[Tensor, float]:
    """How clearly pictures carry the mark of a key.

    x        float64 (B, 3, H, W), none of them plain
    pattern  float64 (H, W): +1 and -1
    rate     the share of pictures without the mark that may be called
             marked, such as 0.01

    Returns float64 (B,): z of each picture, and the threshold, a number.
    """
    ### BEGIN SOLUTION
    grey = x.mean(dim=1).flatten(start_dim=1)  # (B, H * W)
    rest = grey - grey.mean(dim=1, keepdim=True)
    z = rest @ pattern.flatten() / rest.norm(dim=1)
    return z, NormalDist().inv_cdf(1 - rate)
    ### END SOLUTION

# %% id="detect-check" nbgrader={"schema_version": 3, "grade_id": "detect-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("detect")
