# %% [markdown] id="title"
# # Exercises 08 · One space for text and images
#
# Five functions of lesson 08, this time written by you. Each has a prompt, a cell with a stub and a check.
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
from mmcourse.text import split_words
from torch import Tensor

check = checks("08_shared_space")

# %% [markdown] id="tokenize-prompt" nbgrader={"schema_version": 3, "grade_id": "tokenize-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. Words become numbers
#
# A batch of captions must be a rectangle of whole numbers before a network can read it. The dictionary `index` gives each
# known word its number, 2 or higher. The number 0 is kept for padding, 1 for a word that is not known.
#
# **Write** `tokenize(texts, index, length)`. Each text becomes one row: the numbers of its words in their order, then
# padding up to `length`. A word that `index` does not hold keeps its place in the row. Captions come in English and in
# Chinese, with capitals and punctuation; `split_words(text, index)` of lesson 08 gives the words of any of them. A text
# of more than `length` words raises `ValueError`, because a caption that is cut off in silence says something else.
#
# **2 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint</summary>
#
# Start from a rectangle that holds nothing but padding. Then write one row at a time. What does a dictionary's `get` give
# for a key that is not there?
#
# </details>

# %% id="tokenize" nbgrader={"schema_version": 3, "grade_id": "tokenize", "grade": false, "solution": true, "locked": false, "task": false}
def tokenize(texts: list[str], index: dict[str, int], length: int) -> Tensor:
    """Texts to ids.

    texts   B captions, English or Chinese, each of at least one word
    index   word -> number, all numbers at least 2
    length  words in a row

    Returns int64 of shape (B, length): 0 for padding, 1 for an unknown word.
    Raises ValueError where a text has more than ``length`` words.
    """
    ### BEGIN SOLUTION
    ids = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in enumerate(texts):
        numbers = [index.get(word, 1) for word in split_words(text, index)]
        if len(numbers) > length:
            raise ValueError(f"expected at most {length} words, got {len(numbers)}: {text!r}")
        ids[row, : len(numbers)] = torch.tensor(numbers)
    return ids
    ### END SOLUTION

# %% id="tokenize-check" nbgrader={"schema_version": 3, "grade_id": "tokenize-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("tokenize")

# %% [markdown] id="mean_pool-prompt" nbgrader={"schema_version": 3, "grade_id": "mean_pool-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. One vector a sentence
#
# A recurrent network gives one vector for each place of a row, also for the padding. A sentence must not move when its
# neighbour in the batch is longer. The lesson took the maximum over the words. Here it is the mean.
#
# **Write** `mean_pool(vectors, ids)`: for each sentence the mean of the vectors at its words. A place is a word where `ids`
# is above 0; an unknown word (1) is a word too. A row without any word gives zeros.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# A mean is a sum over a count. Padding must be left out of both. Then look at the row without any word: what do you divide
# by there?
#
# </details>

# %% id="mean_pool" nbgrader={"schema_version": 3, "grade_id": "mean_pool", "grade": false, "solution": true, "locked": false, "task": false}
def mean_pool(vectors: Tensor, ids: Tensor) -> Tensor:
    """The mean of each sentence's word vectors.

    vectors  float (B, T, C), any finite numbers, also where there is only padding
    ids      int64 (B, T), 0 = padding

    Returns float (B, C); zeros for a row that is all padding.
    """
    ### BEGIN SOLUTION
    words = (ids > 0).unsqueeze(2)  # (B, T, 1)
    count = words.sum(dim=1).clamp(min=1)  # (B, 1)
    return (vectors * words).sum(dim=1) / count
    ### END SOLUTION

# %% id="mean_pool-check" nbgrader={"schema_version": 3, "grade_id": "mean_pool-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("mean_pool")

# %% [markdown] id="info_nce-prompt" nbgrader={"schema_version": 3, "grade_id": "info_nce-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. Find your partners
#
# The contrastive loss asks every picture for its captions, and every caption for its pictures. Short captions repeat, so
# a table `positive` says which caption is true of which picture. The table is not symmetric: the vague caption of picture 7
# may be true of picture 3 as well, while the fuller caption of picture 3 is false of picture 7.
#
# **Write** `info_nce(image, text, positive, scale)`. The similarity of a picture and a caption is their cosine times
# `scale`. A softmax over the captions turns one picture's similarities into probabilities. Its loss is minus the logarithm
# of the *whole* probability of all captions that are true of it; how this is shared out among them does not matter. Take
# the mean over the pictures. Do the same for the captions, with a softmax over the pictures. Return the mean of both means.
#
# The towers learn from this number, so it must be a tensor that carries a gradient back to `image` and `text`.
#
# **3 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# The vectors come as the towers' last layers give them. What must happen to them before an inner product is a cosine?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The logarithm of a sum of exponentials is `logsumexp`. The probability of all true partners is a sum over some entries,
# over the sum of all. An entry of minus infinity adds nothing to such a sum.
#
# </details>

# %% id="info_nce" nbgrader={"schema_version": 3, "grade_id": "info_nce", "grade": false, "solution": true, "locked": false, "task": false}
def info_nce(image: Tensor, text: Tensor, positive: Tensor, scale: float) -> Tensor:
    """Contrastive loss in both directions, with several true partners.

    image, text  float (B, K): the vectors of B pictures and of their B captions,
                 of any length above 0
    positive     bool (B, B): [i, j] is True where caption j is true of picture i;
                 its diagonal is True
    scale        a number above 0 that the cosines are multiplied by

    Returns a scalar tensor, at least 0.
    """
    ### BEGIN SOLUTION
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T  # (B, B)
    partners = logits.masked_fill(~positive, float("-inf"))
    pictures = logits.logsumexp(dim=1) - partners.logsumexp(dim=1)  # (B,)
    captions = logits.logsumexp(dim=0) - partners.logsumexp(dim=0)  # (B,)
    return (pictures.mean() + captions.mean()) / 2
    ### END SOLUTION

# %% id="info_nce-check" nbgrader={"schema_version": 3, "grade_id": "info_nce-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("info_nce")

# %% [markdown] id="recall_at_k-prompt" nbgrader={"schema_version": 3, "grade_id": "recall_at_k-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Is a true one among the first k?
#
# A space is judged by retrieval. Each row asks: of all columns, which `k` are most similar to me? The row is served when at
# least one of these `k` is a true partner. One is enough. Recall at k is the share of rows that are served.
#
# **Write** `recall_at_k(similarity, positive, k)`. There may be more columns than rows, or fewer. A row that has no true
# partner at all can never be served, and still counts as a row.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint</summary>
#
# `topk` gives the places of the largest entries. Look these places up in `positive`; `gather` does it for all rows at once.
# A loop over the rows is fine as well.
#
# </details>

# %% id="recall_at_k" nbgrader={"schema_version": 3, "grade_id": "recall_at_k", "grade": false, "solution": true, "locked": false, "task": false}
def recall_at_k(similarity: Tensor, positive: Tensor, k: int) -> float:
    """The share of rows with a true partner among their k most similar columns.

    similarity  float (B, C), larger is nearer
    positive    bool (B, C): True where column and row belong together
    k           1 to C

    Returns a number from 0 to 1.
    """
    ### BEGIN SOLUTION
    nearest = similarity.topk(k, dim=1).indices  # (B, k)
    return positive.gather(1, nearest).any(dim=1).float().mean().item()
    ### END SOLUTION

# %% id="recall_at_k-check" nbgrader={"schema_version": 3, "grade_id": "recall_at_k-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("recall_at_k")

# %% [markdown] id="attribute_probe-prompt" nbgrader={"schema_version": 3, "grade_id": "attribute_probe-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. What does the space know?
#
# If vectors know an attribute, say the colour, then a *linear* reader finds it. The reader has one column of weights for
# each class. It is fitted on some vectors by least squares: its scores should be 1 for the true class and 0 for the
# others. Then it reads **other** vectors, and its answer is the class with the highest score.
#
# **Write** `attribute_probe(seen, seen_classes, fresh, fresh_classes, classes)`. Fit the reader on `seen`, with a constant
# beside the numbers of each vector, so that the scores need not pass through zero. Return the scores of `fresh` and the
# share of `fresh` that is read right.
#
# **3 points** when the scores and the share are right on every set of inputs, to one part in 1,000.
#
# <details><summary>Hint 1</summary>
#
# Section 6 of the lesson fits such a reader. `torch.linalg.lstsq` solves the least squares for all classes at once, if the
# targets have one column a class.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Which vectors may the fit look at? Which ones must be counted?
#
# </details>

# %% id="attribute_probe" nbgrader={"schema_version": 3, "grade_id": "attribute_probe", "grade": false, "solution": true, "locked": false, "task": false}
def attribute_probe(
    seen: Tensor, seen_classes: Tensor, fresh: Tensor, fresh_classes: Tensor, classes: int
) -> tuple[Tensor, float]:
    """A linear reader: fitted by least squares on seen vectors, tried on fresh ones.

    seen, fresh                  float (N, K) and (M, K): vectors, N well above K
    seen_classes, fresh_classes  int64 (N,) and (M,): the true classes,
                                 0 to classes - 1
    classes                      how many classes there are;
                                 the fit may have met fewer

    Returns the scores of the fresh vectors, float (M, classes),
    and the share of them read right, 0 to 1.
    """
    ### BEGIN SOLUTION
    seen_1 = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)  # (N, K + 1)
    fresh_1 = torch.cat([fresh, torch.ones(len(fresh), 1)], dim=1)  # (M, K + 1)
    target = F.one_hot(seen_classes, classes).float()  # (N, classes)
    scores = fresh_1 @ torch.linalg.lstsq(seen_1, target).solution  # (M, classes)
    return scores, (scores.argmax(dim=1) == fresh_classes).float().mean().item()
    ### END SOLUTION

# %% id="attribute_probe-check" nbgrader={"schema_version": 3, "grade_id": "attribute_probe-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("attribute_probe")
