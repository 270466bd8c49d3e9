# %% [markdown] id="title"
# # Exercises 09 · Text to image
#
# Six exercises for lesson 09. The last one is a bug hunt in a whole training step. Each has a prompt, a cell with a stub and
# a check.
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
from mmcourse import world
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("09_text2image")

# %% [markdown] id="mismatched-prompt" nbgrader={"schema_version": 3, "grade_id": "mismatched-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. A wrong caption for every picture
#
# D learns to read captions from real pictures with *wrong* captions. The cheapest source is the batch itself: take
# another picture's caption. But that one may be true of this picture as well. "红色的圆形" says the same as "a red circle",
# and after "a small red circle" the vaguer "a red circle" is true too. D would be punished for seeing that it fits.
#
# **Write** `mismatched(captions)`. For each caption, walk on through the batch, from the last caption to the first one
# again, and take the first caption that does not *follow* from it. Where every other caption follows, raise `ValueError`.
#
# `world.statements(captions)` reads captions as statements (B, 8). `world.satisfied(labels, statements)` says for each row
# whether the scene has all that the statement asks for. A statement can stand in the place of a scene: what it leaves open
# is then not there, so `satisfied` says whether the second caption follows from the first.
#
# **2 points** when every caption is the right one on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Read all captions once. Then two loops are enough: over the captions, and over the steps that you walk from each. The
# remainder `%` brings you from the last place to the first.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `satisfied` compares rows, so give it one row of each: `rows[i : i + 1]` keeps the batch axis. Which caption has the
# picture, and which one is tried on it?
#
# </details>

# %% id="mismatched" nbgrader={"schema_version": 3, "grade_id": "mismatched", "grade": false, "solution": true, "locked": false, "task": false}
def mismatched(captions: list[str]) -> list[str]:
    """Another caption of the batch for each: the next one that does not follow from it.

    captions  B captions of the world, English or Chinese;
              some may occur twice or say the same

    Returns a list of B captions.
    Raises ValueError where all other captions follow from one of them.
    """
    ### BEGIN SOLUTION
    rows, n = world.statements(captions), len(captions)
    wrong = []
    for own in range(n):
        for other in [(own + step) % n for step in range(1, n)]:
            if not world.satisfied(rows[own : own + 1], rows[other : other + 1]):
                wrong.append(captions[other])
                break
        else:
            raise ValueError(f"every caption of the batch follows from {captions[own]!r}; draw another batch")
    return wrong
    ### END SOLUTION

# %% id="mismatched-check" nbgrader={"schema_version": 3, "grade_id": "mismatched-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("mismatched")

# %% [markdown] id="gan_cls_d-prompt" nbgrader={"schema_version": 3, "grade_id": "gan_cls_d-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A discriminator that must read
#
# The lesson used wrong captions in a relativistic game. They were first used in the classical one (Reed and others, 2016).
# There D is a judge with three kinds of cases: a real picture with its own caption is real; a real picture with a wrong
# caption is fake; a drawn picture is fake. The two kinds of fake share the weight that the real ones have alone:
#
# $$L_D = -\overline{\log \sigma(r)} \;-\; \tfrac12\,\overline{\log\,(1 - \sigma(w))} \;-\; \tfrac12\,\overline{\log\,(1 - \sigma(f))}$$
#
# Here $r$, $w$ and $f$ are the logits of the three kinds, $\sigma$ is the sigmoid, and a line is the mean over a batch.
#
# **Write** `gan_cls_d(on_real, on_wrong, on_fake)`. The three batches may differ in size. Logits may be as large as 300,
# on either side: the loss stays finite, and its slope stays right.
#
# **2 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Section 8 of the lesson compares three ways to write the logarithm of a sigmoid. One of them keeps a slope where D is
# sure and wrong. And 1 − σ(x) is the sigmoid of what?
#
# </details>

# %% id="gan_cls_d" nbgrader={"schema_version": 3, "grade_id": "gan_cls_d", "grade": false, "solution": true, "locked": false, "task": false}
def gan_cls_d(on_real: Tensor, on_wrong: Tensor, on_fake: Tensor) -> Tensor:
    """D's loss of the matching-aware game, to be minimised.

    on_real   logits (B, 1) of real pictures with their own captions
    on_wrong  logits (W, 1) of real pictures with wrong captions
    on_fake   logits (F, 1) of drawn pictures with the captions they were drawn from

    Returns a scalar tensor, at least 0, that carries a gradient.
    """
    ### BEGIN SOLUTION
    as_real = F.softplus(-on_real).mean()
    as_fake = F.softplus(on_wrong).mean() + F.softplus(on_fake).mean()
    return as_real + as_fake / 2
    ### END SOLUTION

# %% id="gan_cls_d-check" nbgrader={"schema_version": 3, "grade_id": "gan_cls_d-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("gan_cls_d")

# %% [markdown] id="ca_sample-prompt" nbgrader={"schema_version": 3, "grade_id": "ca_sample-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. A cloud around each caption
#
# A training set holds few captions, so G meets few points of the space and nothing between them. *Conditioning
# augmentation* (Zhang and others, 2017) turns each point into a small cloud. A layer computes `stats` from the caption's
# vector: for each number of the condition a mean and the logarithm of a **variance**. Each time, the condition is drawn
# anew: the mean, plus the *standard deviation* times normal noise.
#
# Left alone, the layer would shrink its clouds to points. A penalty, the Kullback-Leibler divergence to a standard normal
# cloud, prevents it. With mean $\mu_k$ and variance $v_k$, one caption pays
#
# $$\tfrac12 \sum_k \left(\mu_k^2 + v_k - 1 - \log v_k\right)$$
#
# **Write** `ca_sample(stats, noise)`. The first half of `stats` holds the means, the second half the logarithms of the
# variances. Return the drawn conditions and the penalty, as the mean over the captions. A gradient must reach `stats`
# through both.
#
# **2 points** when conditions, penalty and slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# A variance is the square of a standard deviation. What does this do to its logarithm? For variance 1 the logarithm is 0,
# and noise must come out as it went in.
#
# </details>

# %% id="ca_sample" nbgrader={"schema_version": 3, "grade_id": "ca_sample", "grade": false, "solution": true, "locked": false, "task": false}
def ca_sample(stats: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A condition drawn around each caption, and how far its cloud is from normal.

    stats  float (B, 2 * K): K means, then K logarithms of variances (about -4 to 2)
    noise  float (B, K): standard normal

    Returns the conditions, float (B, K), and the penalty: how far each cloud is from
    a standard normal one, a scalar tensor, at least 0.
    """
    ### BEGIN SOLUTION
    mean, log_variance = stats.chunk(2, dim=1)  # (B, K) each
    cond = mean + noise * (log_variance / 2).exp()
    penalty = (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2  # (B,)
    return cond, penalty.mean()
    ### END SOLUTION

# %% id="ca_sample-check" nbgrader={"schema_version": 3, "grade_id": "ca_sample-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("ca_sample")

# %% [markdown] id="affine_fuse-prompt" nbgrader={"schema_version": 3, "grade_id": "affine_fuse-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. The condition turns channels up and down
#
# Modulation gives each channel of each picture one factor and one offset. A linear layer computes both from the condition.
# When a network starts, the layer gives zeros. Then modulation must leave the features as they are, so the factor is 1
# plus what the layer gives.
#
# **Write** `affine_fuse(h, cond, weight, bias)`. The layer is that of `torch.nn.Linear`: its result is `cond` times the
# transpose of `weight`, plus `bias`. The first C numbers of the result are the scales, the last C the shifts.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Write down the shape of one scale a picture and channel, and the shape of `h`. Where do axes of size 1 have to stand?
# Torch lines up shapes from the right, and where all sizes happen to be equal it does not complain.
#
# </details>

# %% id="affine_fuse" nbgrader={"schema_version": 3, "grade_id": "affine_fuse", "grade": false, "solution": true, "locked": false, "task": false}
def affine_fuse(h: Tensor, cond: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Scale and shift each channel as the condition says.

    h       float (B, C, H, W): features of B pictures
    cond    float (B, K): their conditions
    weight  float (2 * C, K): the linear layer; scales first, then shifts
    bias    float (2 * C,): the layer's bias, in the same order

    Returns float (B, C, H, W).
    """
    ### BEGIN SOLUTION
    scale, shift = F.linear(cond, weight, bias).chunk(2, dim=1)  # (B, C) each
    return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    ### END SOLUTION

# %% id="affine_fuse-check" nbgrader={"schema_version": 3, "grade_id": "affine_fuse-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("affine_fuse")

# %% [markdown] id="caption_accuracy-prompt" nbgrader={"schema_version": 3, "grade_id": "caption_accuracy-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Does the picture show what the caption says?
#
# A judge has read each picture. The caption states some facts and leaves others open, written as -1. After "a red thing"
# only the colour can be right or wrong. A picture is right when *everything* that its caption states is right.
#
# **Write** `caption_accuracy(read, stated)`. The columns are shape, colour, size and place, of pictures with one thing each.
# Return a dictionary. Its `"all"` is the share of pictures that are right. Its `"shape"`, `"colour"`, `"size"` and
# `"place"` are shares as well: of the captions that state this fact, how many are right in it? A fact that no caption
# states has no share, and no entry.
#
# **2 points** when every share is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# Make two tables of yes and no, both (B, 4): what is stated, and what agrees. Every share is a count over a count. Which
# pictures belong into the lower count?
#
# </details>

# %% id="caption_accuracy" nbgrader={"schema_version": 3, "grade_id": "caption_accuracy", "grade": false, "solution": true, "locked": false, "task": false}
def caption_accuracy(read: Tensor, stated: Tensor) -> dict[str, float]:
    """Shares of pictures that show what their captions state.

    read    int64 (B, 4): what the judge reads: shape, colour, size, place;
            all at least 0
    stated  int64 (B, 4): what the captions state, -1 where a caption leaves it open

    Returns shares from 0 to 1 under "all", "shape", "colour", "size" and "place";
    no entry for what nobody states.
    """
    ### BEGIN SOLUTION
    said = stated >= 0  # (B, 4)
    right = said & (read == stated)  # (B, 4)
    shares = {"all": (right == said).all(dim=1).float().mean().item()}
    for column, name in enumerate(("shape", "colour", "size", "place")):
        if said[:, column].any():
            shares[name] = (right[:, column].sum() / said[:, column].sum()).item()
    return shares
    ### END SOLUTION

# %% id="caption_accuracy-check" nbgrader={"schema_version": 3, "grade_id": "caption_accuracy-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("caption_accuracy")

# %% [markdown] id="mended_step-prompt" nbgrader={"schema_version": 3, "grade_id": "mended_step-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 6. Bug hunt: one step of a text-to-image GAN
#
# The step below is written in the manner of the article that the lesson took apart. It runs, and nothing can be learned
# from it. It holds **six faults**, each of which section 3 or section 8 of the lesson explains.
#
# ```python
# def broken_step(G, D, real, true, wrong, z):
#     fake = torch.tanh(G.body(z)) + G.word(true)
#
#     def chance(picture, text):
#         p = torch.sigmoid(D.alone(picture))
#         return p + (D.features(picture) * text).sum(1, keepdim=True)
#
#     on_real, on_fake = chance(real, true), chance(fake, true)
#     loss_d = (torch.log(on_real) + torch.log(1 - on_fake) / 2).mean()
#     loss_g = torch.log(on_fake).mean()
#     return fake, loss_d, loss_g
# ```
#
# The parts of the networks are right and stay as they are: `G.body(z)` and `G.word(text)` give one number a pixel (B, P),
# `D.alone(picture)` gives (B, 1), `D.features(picture)` gives (B, K) in the space of the text vectors. What is done with
# them is wrong.
#
# **Write** `mended_step(G, D, real, true, wrong, z)`. It must hold that
#
# - both parts of G meet before the picture is made, and every pixel lies between -1 and 1;
# - D gives logits: what it says of the picture alone, plus how well features and text fit;
# - D is asked three kinds of cases as in exercise 2, with the same weights: half for each of the two kinds of fake;
# - both losses are to be *minimised*. D learns to be right. G learns that its pictures count as real: minus the mean
#   log-probability of that (the non-saturating loss);
# - losses and slopes stay finite and right, also where D is very sure.
#
# Each network is trained by its own loss alone, so the slopes of `loss_d` in G do not matter.
#
# **5 points** when pictures, losses and slopes are right on every set of inputs, to one part in 10,000. Mend one fault at a
# time. As soon as only one or two are left, the check says what to look at.
#
# <details><summary>Hint 1</summary>
#
# Go through it from the top. For each line, ask which values can come out of it, and what the next line needs.
#
# </details>
# <details><summary>Hint 2</summary>
#
# One of the arguments is never used.
#
# </details>
# <details><summary>Hint 3</summary>
#
# For a sign, think of one logit and one step of gradient descent. Does the loss push the logit of a real picture up or
# down? And the fake's, for D and for G?
#
# </details>

# %% id="mended_step" nbgrader={"schema_version": 3, "grade_id": "mended_step", "grade": false, "solution": true, "locked": false, "task": false}
def mended_step(G, D, real: Tensor, true: Tensor, wrong: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of a matching-aware text-to-image GAN: drawn pictures and both losses.

    G.body      noise (B, Z) to numbers (B, P), any range
    G.word      text vectors (B, K) to numbers (B, P), any range
    D.alone     pictures (B, P) to numbers (B, 1), any range
    D.features  pictures (B, P) to vectors (B, K)
    real        real pictures (B, P) in [-1, 1]
    true        vectors (B, K) of their own captions
    wrong       vectors (B, K) of captions that are false of them
    z           noise (B, Z)

    Returns fake (B, P) in [-1, 1], drawn for the true captions;
    loss_d and loss_g, scalar tensors to be minimised.
    """
    ### BEGIN SOLUTION
    def logit(x: Tensor, c: Tensor) -> Tensor:
        return D.alone(x) + (D.features(x) * c).sum(dim=1, keepdim=True)  # (B, 1)

    drawn = torch.tanh(G.body(z) + G.word(true))  # (B, P)
    real_true, real_wrong, drawn_true = logit(real, true), logit(real, wrong), logit(drawn, true)
    as_fake = F.softplus(real_wrong) + F.softplus(drawn_true)
    d = (F.softplus(-real_true) + as_fake / 2).mean()
    g = F.softplus(-drawn_true).mean()
    return drawn, d, g
    ### END SOLUTION

# %% id="mended_step-check" nbgrader={"schema_version": 3, "grade_id": "mended_step-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 5, "cell_type": "code"}
check("mended_step")
