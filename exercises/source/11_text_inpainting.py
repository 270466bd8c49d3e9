# %% [markdown] id="title"
# # Exercises 11 · Text-guided inpainting
#
# Five functions of lesson 11, this time written by you. Each has a prompt, a cell with a stub and a check. In a mask
# **1 is the hole** and 0 is known.
#
# Two of them speak about scenes. A scene is a row of eight whole numbers, `labels`, in the order of `world.COLUMNS`:
#
# | column | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |
# |---|---|---|---|---|---|---|---|---|
# | what | count | shape of A | colour of A | size of A | shape of B | colour of B | size of B | layout |
#
# `count` is 1 or 2. With one thing there is no B, and its columns hold -1. A **statement** is such a row too. It is what a
# caption says, and `OPEN`, which is -1, stands wherever the caption says nothing.
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
from mmcourse.world import OPEN
from torch import Tensor

check = checks("11_text_inpainting")

# %% [markdown] id="build_input-prompt" nbgrader={"schema_version": 3, "grade_id": "build_input-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. What the network may see
#
# The network gets the damaged picture and has to know where it is damaged. An empty hole is grey, 0, and a known pixel may
# be grey too. So the mask goes in as one more channel.
#
# What lies under the mask must not get in at all. In a check that is easy to test: the pixels under the mask may hold NaN
# or infinity, and nothing of it may come out.
#
# **Write** `build_input(x, mask)`. The first three channels are the picture with 0 in the hole and the known pixels as they
# are. The fourth channel is the mask. The pictures that you are given stay as they are. A mask with a value that is neither
# 0 nor 1 raises `ValueError`: a half-hole would let half a pixel through.
#
# **2 points** when every number is exactly right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# How much is 0 times NaN? Try it. A choice between two numbers does not calculate with the one that it drops.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Pictures are (B, 3, H, W), the mask is (B, 1, H, W). Along which axis do they go together to make (B, 4, H, W)?
#
# </details>

# %% id="build_input" nbgrader={"schema_version": 3, "grade_id": "build_input", "grade": false, "solution": true, "locked": false, "task": false}
def build_input(x: Tensor, mask: Tensor) -> Tensor:
    """The picture with an empty hole, and the mask.

    x     float (B, 3, H, W): whole pictures, anything in the hole
    mask  float (B, 1, H, W) of 0 and 1: 1 in the hole

    Returns float (B, 4, H, W): three colours, then the mask.
    Raises ValueError where the mask holds another value.
    """
    ### BEGIN SOLUTION
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("a mask holds 0 and 1 alone")
    empty = torch.where(mask == 1, torch.zeros_like(x), x)  # a choice, no product
    return torch.cat([empty, mask], dim=1)
    ### END SOLUTION

# %% id="build_input-check" nbgrader={"schema_version": 3, "grade_id": "build_input-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("build_input")

# %% [markdown] id="hole_caption-prompt" nbgrader={"schema_version": 3, "grade_id": "hole_caption-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. What a caption of the hole states
#
# One thing of each scene is hidden. A caption of the hole speaks about that thing alone: "a small red circle". It says
# nothing about the other thing, and nothing about the place, since the mask tells the place.
#
# **Write** `hole_caption(labels, which)`, the statement of such a caption for each scene. `which` says for each scene
# whether thing A (0) or thing B (1) is hidden. The statement is about **one** thing, so its count is 1 and that thing is
# its A, whichever of the two it is in the scene. All that the caption does not speak of is `OPEN`. The labels that you are
# given stay as they are. A scene of one thing has no B: where B is asked for, raise `ValueError`.
#
# **2 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Start from rows in which everything is open. Then write down what the caption does say. How many columns is that?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The shape of A stands in column 1, the shape of B in column 4. In which column does the shape of thing `which` stand? An
# index may be a tensor with one number for each row.
#
# </details>

# %% id="hole_caption" nbgrader={"schema_version": 3, "grade_id": "hole_caption", "grade": false, "solution": true, "locked": false, "task": false}
def hole_caption(labels: Tensor, which: Tensor) -> Tensor:
    """The statement about the hidden thing alone.

    labels  int64 (B, 8): whole scenes
    which   int64 (B,): the hidden thing, 0 for A and 1 for B

    Returns int64 (B, 8): statements about one thing, OPEN where nothing
    is said.
    Raises ValueError where thing B of a scene with one thing is asked for.
    """
    ### BEGIN SOLUTION
    if ((which == 1) & (labels[:, 0] == 1)).any():
        raise ValueError("a scene with one thing has no thing B")
    rows = torch.arange(len(labels))
    out = torch.full_like(labels, OPEN)
    out[:, 0] = 1
    for k in (1, 2, 3):  # shape, colour, size
        out[:, k] = labels[rows, k + 3 * which]
    return out
    ### END SOLUTION

# %% id="hole_caption-check" nbgrader={"schema_version": 3, "grade_id": "hole_caption-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("hole_caption")

# %% [markdown] id="drop_text-prompt" nbgrader={"schema_version": 3, "grade_id": "drop_text-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Some sentences stay unsaid
#
# The same network shall fill a hole when nobody says anything. So in training some captions are left out. A row of zeros
# means that nothing was said; no real caption has this vector, since all of them have length 1.
#
# **Write** `drop_text(text, share, noise)`. Each row of `text` is the vector of one caption, and `noise` has one random
# number for each row, evenly drawn from 0 (included) to 1 (not included). Where it lies **below** `share`, the caption is
# left out: its whole row becomes zeros. That happens with probability `share`. What is kept stays as it is. So does the
# `text` that you are given. A `share` below 0 or above 1 raises `ValueError`.
#
# **2 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# `noise` has shape (B,) and `text` has shape (B, K). If B and K happen to be equal, torch multiplies them without a word.
# Row by row, or column by column?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Test the two ends. With a `share` of 0 nothing may be left out, not even where the noise is exactly 0.
#
# </details>

# %% id="drop_text" nbgrader={"schema_version": 3, "grade_id": "drop_text", "grade": false, "solution": true, "locked": false, "task": false}
def drop_text(text: Tensor, share: float, noise: Tensor) -> Tensor:
    """Captions, some of them left out.

    text   float (B, K): a caption's vector in each row
    share  the probability that a row is left out, from 0 to 1
    noise  float (B,): one number for each row, evenly drawn from [0, 1)

    Returns float (B, K): zeros in the rows that are left out.
    Raises ValueError where the share is below 0 or above 1.
    """
    ### BEGIN SOLUTION
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share}")
    silent = noise < share
    return torch.where(silent[:, None], torch.zeros_like(text), text)
    ### END SOLUTION

# %% id="drop_text-check" nbgrader={"schema_version": 3, "grade_id": "drop_text-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("drop_text")

# %% [markdown] id="guided_d-prompt" nbgrader={"schema_version": 3, "grade_id": "guided_d-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Three kinds of fakes
#
# D is shown a picture, the mask and a caption, and gives a logit. Four kinds come up in a step:
#
# - **real**: the real picture with its caption;
# - **fake**: the picture that G completed, with the same caption;
# - **strange**: the hole's real content in another picture's surroundings, with the same caption;
# - **wrong**: the real picture with a caption that is false.
#
# Only the first is right. Row $i$ of all four belongs to the same hole. The game is the relativistic one of lesson 03, pair
# by pair. For each of the three kinds $k$ of fakes, take the mean of
#
# $$\mathrm{softplus}(k_i - \text{real}_i)$$
#
# over the batch. D's loss is the sum of the three means.
#
# **Write** `guided_d(real_logits, fake_logits, strange_logits, wrong_logits)`, the loss that D minimises. It stays finite
# for logits of any size, and a gradient reaches all four.
#
# **3 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Softplus rises. If the loss falls, which way does the real logit move, and which way the other one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three means, then a sum. What would you get from one mean over all three kinds together?
#
# </details>

# %% id="guided_d" nbgrader={"schema_version": 3, "grade_id": "guided_d", "grade": false, "solution": true, "locked": false, "task": false}
def guided_d(
    real_logits: Tensor, fake_logits: Tensor, strange_logits: Tensor, wrong_logits: Tensor
) -> Tensor:
    """D's loss: real above fake, strange and wrong.

    real_logits     float (B, 1): real pictures with their captions
    fake_logits     float (B, 1): G's completions with these captions
    strange_logits  float (B, 1): real holes in strange surroundings
    wrong_logits    float (B, 1): real pictures with false captions

    Returns a scalar tensor, to be minimised.
    """
    ### BEGIN SOLUTION
    completed = F.softplus(fake_logits - real_logits).mean()
    surroundings = F.softplus(strange_logits - real_logits).mean()
    captions = F.softplus(wrong_logits - real_logits).mean()
    return completed + surroundings + captions
    ### END SOLUTION

# %% id="guided_d-check" nbgrader={"schema_version": 3, "grade_id": "guided_d-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("guided_d")

# %% [markdown] id="edit_success-prompt" nbgrader={"schema_version": 3, "grade_id": "edit_success-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Did the edit succeed?
#
# One thing of each scene was hidden, and a caption asked for something in its place. A judge has read the picture before and
# after. An edit succeeds on a picture if two things hold:
#
# 1. **As asked.** The shape, the colour and the size that the judge now reads at the hidden thing's place are those of the
#    statement. All three must agree. What the statement leaves `OPEN` may have become anything.
# 2. **Nothing else.** The count, the layout and the three facts of the other thing are read as before. Where one thing
#    stood there is no other one, and none may appear.
#
# **Write** `edit_success(before, after, asked, which)`, the share of pictures on which the edit succeeds. `asked` holds
# statements about one thing, as in exercise 2: its facts stand in columns 1 to 3, whichever thing is hidden. `which` is 0
# where the hidden thing is A, and 1 where it is B. Return a number from 0 to 1.
#
# **3 points** when every share is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Which three columns belong to thing `which`? Write them down as a table (B, 3) of column numbers. `gather` reads such a
# table.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make one truth value for each picture and each demand, and join both before you take a mean. Two shares do not tell how
# many pictures did well in both.
#
# </details>

# %% id="edit_success" nbgrader={"schema_version": 3, "grade_id": "edit_success", "grade": false, "solution": true, "locked": false, "task": false}
def edit_success(before: Tensor, after: Tensor, asked: Tensor, which: Tensor) -> float:
    """The share of pictures that were changed as asked and not otherwise.

    before  int64 (B, 8): labels read from the whole pictures
    after   int64 (B, 8): labels read from the completed pictures
    asked   int64 (B, 8): statements about one thing, OPEN where nothing is
            said
    which   int64 (B,): the thing that was hidden, 0 for A and 1 for B

    Returns a number from 0 to 1.
    """
    ### BEGIN SOLUTION
    columns = 3 * which[:, None] + torch.tensor([1, 2, 3])  # (B, 3): the hidden thing's
    found, stated = after.gather(1, columns), asked[:, 1:4]
    as_asked = ((found == stated) | (stated == OPEN)).all(dim=1)
    untouched = (after == before).scatter(1, columns, True)  # where it may differ
    success = as_asked & untouched.all(dim=1)
    return success.float().mean().item()
    ### END SOLUTION

# %% id="edit_success-check" nbgrader={"schema_version": 3, "grade_id": "edit_success-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("edit_success")
