# %% [markdown] id="title"
# # Exercises 02 · The sick-GAN clinic
#
# Four functions around lesson 02: two numbers that judge a cloud of points, a diagnosis and a cure. Each has a prompt, a cell
# with a stub and a check.
#
# 1. Read the prompt. It says what to write and when the points are yours.
# 2. In the cell below it, put your code in the place of `raise NotImplementedError("your answer")`. Run the cell.
# 3. Run the check. It needs no network and no GPU, and you may run it as often as you like.
#
# A check calls your function on random inputs. It says what came and what was expected, or, where your answer is one
# that many people give first, what to think about. The grader does the same with other random inputs, so a function that
# only knows the inputs of the check earns nothing.

# %% id="setup" nbgrader={"schema_version": 3, "grade_id": "setup", "grade": false, "solution": false, "locked": true, "task": false}
import math
import statistics
from itertools import pairwise
from typing import Any

from mmcourse.course.exercise import checks
from mmcourse.ring import Log
from torch import Tensor

check = checks("02_clinic")

# %% [markdown] id="modes_covered-prompt" nbgrader={"schema_version": 3, "grade_id": "modes_covered-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. How many modes are covered?
#
# The ring of the lesson has eight Gaussians of one size. Here there are M of them, anywhere, and each has a radius of its
# own. A point belongs to the centre that is *nearest* to it, and to no other. It lies in that mode when its distance is at
# most that centre's radius. A mode is covered when at least the share `least` of **all** points lies in it.
#
# **Write** `modes_covered(points, centres, radii, least)`: the number of covered modes.
#
# Discs may overlap. A point near a small disc can lie outside of it and inside a larger disc farther away; it lies in no
# mode then.
#
# **2 points** when the number is right for every cloud on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Start from a table of all distances, one row a point, one column a centre. Which column is smallest in each row? Then
# compare each point with one radius only.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `bincount` counts how often each number occurs.
#
# </details>

# %% id="modes_covered" nbgrader={"schema_version": 3, "grade_id": "modes_covered", "grade": false, "solution": true, "locked": false, "task": false}
def modes_covered(points: Tensor, centres: Tensor, radii: Tensor, least: float) -> int:
    """How many modes hold enough of the points.

    points   float (N, 2), N at least 1
    centres  float (M, 2), all different
    radii    float (M,), above 0
    least    above 0, at most 1: the share of all points that a mode needs

    Returns a whole number from 0 to M.
    """
    ### BEGIN SOLUTION
    distance = (points[:, None] - centres).norm(dim=2)  # (N, M)
    nearest = distance.argmin(dim=1)  # (N,)
    inside = distance.amin(dim=1) <= radii[nearest]
    counts = nearest[inside].bincount()  # one for each mode up to the last that is hit
    return int((counts >= least * len(points)).sum())
    ### END SOLUTION

# %% id="modes_covered-check" nbgrader={"schema_version": 3, "grade_id": "modes_covered-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("modes_covered")

# %% [markdown] id="good_share-prompt" nbgrader={"schema_version": 3, "grade_id": "good_share-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. How many samples are good?
#
# The other number asks each point one question: do you lie in the mode that you belong to? It is a *precision*: it judges
# samples, and does not care whether a mode is missing.
#
# **Write** `good_share(points, centres, radii)`: the share of the points that lie in a mode. Nearest centre and radius are
# meant as in exercise 1. A G that diverges gives points that are infinite or not a number. Such a point lies in no mode,
# and is a sample all the same. No points at all have no share: raise `ValueError`.
#
# **2 points** when the share is right for every cloud on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# What does a comparison with a number that is not a number give? The mean of a tensor of True and False is a share, once
# it has been made a tensor of floats.
#
# </details>

# %% id="good_share" nbgrader={"schema_version": 3, "grade_id": "good_share", "grade": false, "solution": true, "locked": false, "task": false}
def good_share(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    """The share of the points that lie in the mode of their nearest centre.

    points   float (N, 2); some may be infinite or NaN
    centres  float (M, 2), all different
    radii    float (M,), above 0

    Returns a number from 0 to 1.
    Raises ValueError where there are no points.
    """
    ### BEGIN SOLUTION
    if len(points) == 0:
        raise ValueError("expected at least one point, got none")
    distance = (points[:, None] - centres).norm(dim=2)  # (N, M)
    closest, nearest = distance.min(dim=1)
    return (closest <= radii[nearest]).float().mean().item()
    ### END SOLUTION

# %% id="good_share-check" nbgrader={"schema_version": 3, "grade_id": "good_share-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("good_share")

# %% [markdown] id="diagnose-prompt" nbgrader={"schema_version": 3, "grade_id": "diagnose-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. What ails this run?
#
# The lesson's rules called patient F a wanderer, because they knew no better name. Here are rules that know two names more.
# `log.rows` is a list of rows, and a row is a dict with the columns of the lesson. `log.column("accuracy")` gives a column.
#
# The *second half* of n rows leaves out the first n // 2. *Usual* means the median over the second half, the mean of the
# middle two where their number is even. The *size* of a row is (|real_logit| + |fake_logit|) / 2. The accuracy *turns*
# between two neighbouring rows when it is below 0.5 in one of them and not in the other.
#
# **Write** `diagnose(log)`. The first rule that fits gives the name:
#
# 1. `"diverged"`: in any row of the whole log, `d` or `g` is infinite or not a number
# 2. `"healthy"`: the usual number of modes is at least 7
# 3. `"unfinished"`: it is at least 3
# 4. `"won"`: the usual accuracy is at least 0.98
# 5. `"stuck"`: it is at least 0.8
# 6. `"runaway"`: the usual size is at least 1
# 7. `"wandering"`: the accuracy turns at least 3 times within the second half
# 8. `"slow"`: no other rule fits
#
# **3 points** when every name is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# `statistics.median` takes a list. `math.isfinite` knows both infinity and NaN.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `pairwise` walks through neighbours: (a, b), (b, c), (c, d).
#
# </details>

# %% id="diagnose" nbgrader={"schema_version": 3, "grade_id": "diagnose", "grade": false, "solution": true, "locked": false, "task": false}
def diagnose(log: Log) -> str:
    """Name what ails a run.

    log  a log with at least 8 rows; each row has step, d, g, penalty,
         real_logit, fake_logit, accuracy, modes and good

    Returns one of diverged, healthy, unfinished, won, stuck, runaway,
    wandering, slow.
    """
    ### BEGIN SOLUTION
    if not all(math.isfinite(row["d"]) and math.isfinite(row["g"]) for row in log.rows):
        return "diverged"
    half = log.rows[len(log.rows) // 2 :]
    modes = statistics.median(row["modes"] for row in half)
    accuracy = statistics.median(row["accuracy"] for row in half)
    size = statistics.median((abs(row["real_logit"]) + abs(row["fake_logit"])) / 2 for row in half)
    below = [row["accuracy"] < 0.5 for row in half]
    if modes >= 3:
        return "healthy" if modes >= 7 else "unfinished"
    if accuracy >= 0.8:
        return "won" if accuracy >= 0.98 else "stuck"
    if size >= 1:
        return "runaway"
    return "wandering" if sum(a != b for a, b in pairwise(below)) >= 3 else "slow"
    ### END SOLUTION

# %% id="diagnose-check" nbgrader={"schema_version": 3, "grade_id": "diagnose-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("diagnose")

# %% [markdown] id="cure-prompt" nbgrader={"schema_version": 3, "grade_id": "cure-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. One change
#
# A cure changes one setting, so that you know what helped. The clinic has three cures, and tries them in this order:
#
# 1. The Wasserstein game without a penalty runs away. It gets the penalty `"r1"`.
# 2. *D is slow.* D's pace is its learning rate times its steps in a round. Where G's learning rate is more than three times
#    D's pace, D's learning rate is raised until its pace equals G's learning rate.
# 3. *G is slow.* Where D's pace is more than three times G's learning rate, G's learning rate is raised to D's pace.
#
# Only the first that applies is used. The slower one is made faster, never the faster one slower: the lesson's table shows
# what comes of the other way.
#
# **Write** `cure(config)`. It returns a new dict with all settings. Where nothing applies, they are as they were. The dict
# that came in stays as it is, because it describes a run that has been played.
#
# **3 points** when every setting is right on every set of inputs, to one part in 10,000, and no input was changed.
#
# <details><summary>Hint</summary>
#
# `dict(config)` is a copy. If D takes five steps in a round and its pace shall be 0.001, what is its learning rate?
#
# </details>

# %% id="cure" nbgrader={"schema_version": 3, "grade_id": "cure", "grade": false, "solution": true, "locked": false, "task": false}
def cure(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run after at most one change.

    config  game and penalty, by name; lr_g and lr_d, both above 0;
            d_steps, D's steps in a round, at least 1; and further settings

    Returns a new dict with the same keys.
    """
    ### BEGIN SOLUTION
    cured = dict(config)
    pace = config["lr_d"] * config["d_steps"]
    if config["game"] == "wasserstein" and config["penalty"] == "none":
        cured["penalty"] = "r1"
    elif config["lr_g"] > 3 * pace:
        cured["lr_d"] = config["lr_g"] / config["d_steps"]
    elif pace > 3 * config["lr_g"]:
        cured["lr_g"] = pace
    return cured
    ### END SOLUTION

# %% id="cure-check" nbgrader={"schema_version": 3, "grade_id": "cure-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("cure")
