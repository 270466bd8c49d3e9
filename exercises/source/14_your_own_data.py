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
