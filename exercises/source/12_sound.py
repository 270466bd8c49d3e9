# %% [markdown] id="title"
# # Exercises 12 · Sound
#
# Six functions of lesson 12, this time written by you. Each has a prompt, a cell with a stub and a check. They follow a
# sound on its way: a wave becomes frames, frames become a mel spectrogram in decibels, the spectrogram becomes one vector,
# and that vector finds its place among those of pictures and captions. The last one makes sure that the voice of the test
# was never heard in training.
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
from mmcourse.audio import FLOOR
from mmcourse.course.exercise import checks
from torch import Tensor

check = checks("12_sound")

# %% [markdown] id="frame_hop-prompt" nbgrader={"schema_version": 3, "grade_id": "frame_hop-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 1. A wave in frames
#
# A spectrum tells which tones a stretch of sound holds, and not when they came. So a wave of N samples is cut into short
# stretches, the **frames**, of `n_fft` samples each. They begin `hop` samples apart. With a hop shorter than a frame, they
# overlap.
#
# Frame $t$ is **centred** on sample $t \cdot \text{hop}$: its place `n_fft // 2` holds this sample. The first frame is
# centred on sample 0, so half of it lies before the wave. Outside the wave all is silent: 0. There are
# $1 + \lfloor N / \text{hop} \rfloor$ frames.
#
# **Write** `frame_hop(wave, n_fft, hop)`, the frames of each wave of a batch. `n_fft` is even, and no wave is shorter than
# a frame.
#
# **2 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Take N = 6, n_fft = 4 and hop = 3. Draw six boxes and mark the middles of the three frames. How many zeros does the first
# frame need in front, and the last one behind?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Look up `unfold`, a method of tensors. It takes an axis, a length and a step.
#
# </details>

# %% id="frame_hop" nbgrader={"schema_version": 3, "grade_id": "frame_hop", "grade": false, "solution": true, "locked": false, "task": false}
def frame_hop(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    """Waves in frames.

    wave   float (B, N): waves of N samples each
    n_fft  samples of a frame, an even number, at most N
    hop    samples from the middle of a frame to the middle of the next

    Returns float (B, 1 + N // hop, n_fft): the frames of each wave, 0
    outside it.
    """
    ### BEGIN SOLUTION
    silence = torch.zeros(len(wave), n_fft // 2)
    padded = torch.cat([silence, wave, silence], dim=1)  # (B, N + n_fft)
    return padded.unfold(1, n_fft, hop)
    ### END SOLUTION

# %% id="frame_hop-check" nbgrader={"schema_version": 3, "grade_id": "frame_hop-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("frame_hop")

# %% [markdown] id="log_mel-prompt" nbgrader={"schema_version": 3, "grade_id": "log_mel-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 2. A mel spectrogram in decibels
#
# From frames to a spectrogram it takes four steps.
#
# 1. **Window.** Multiply each frame by `torch.hann_window(n_fft)`, which fades it in and out.
# 2. **Power.** Take `torch.fft.rfft` and the square of its absolute value, and multiply by
#    $\left(2 / \sum_i \text{window}_i\right)^2$. A full-scale tone on the middle of a bin then has power 1.
# 3. **Bands.** Each row of `filters` holds one band's weight for each bin of the spectrum. A band is the weighted sum of
#    the powers.
# 4. **Decibels.** $10 \log_{10}$ of each band, and never less than `floor`. The floor is a number of decibels, the same for
#    every clip, whatever else is in the batch. Silence has no logarithm, so it lies on the floor.
#
# **Write** `log_mel(frames, filters, floor)`. The result has low bands first and time last, as a picture has rows and
# columns. All its numbers are finite.
#
# **3 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Write down the shape after each step. From which axis of the frames does the Fourier transform make bins?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Which power has `floor` decibels? Solve floor = 10 log10(p) for p.
#
# </details>

# %% id="log_mel" nbgrader={"schema_version": 3, "grade_id": "log_mel", "grade": false, "solution": true, "locked": false, "task": false}
def log_mel(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    """Frames as a mel spectrogram in decibels.

    frames   float (B, T, n_fft): T frames of each clip
    filters  float (M, n_fft // 2 + 1): M bands' weights, at least 0
    floor    the lowest number of decibels, such as -80

    Returns float (B, M, T): decibels, at least ``floor``.
    """
    ### BEGIN SOLUTION
    window = torch.hann_window(frames.shape[2])
    spectrum = torch.fft.rfft(frames * window)  # (B, T, n_fft // 2 + 1)
    power = spectrum.abs().square() * (2 / window.sum()) ** 2
    bands = filters @ power.mT  # (B, M, T)
    return 10 * torch.log10(bands.clamp(min=10 ** (floor / 10)))
    ### END SOLUTION

# %% id="log_mel-check" nbgrader={"schema_version": 3, "grade_id": "log_mel-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("log_mel")

# %% [markdown] id="audio_encoder-prompt" nbgrader={"schema_version": 3, "grade_id": "audio_encoder-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 3. What was heard, not when
#
# An ear should give the same vector when the same sound comes later, or when the clip goes on in silence. Here is a small
# one, without a bias anywhere:
#
# 1. Subtract `FLOOR`, which is -80 dB. Now silence is 0, and every sound is above 0.
# 2. Look for short patterns: a convolution along time. Patterns are W frames long. Put W - 1 frames of silence in front and
#    as many behind, so that a pattern is also found where it reaches beyond an end of the clip. Then ReLU. For each pattern
#    and each place this says how well it fits, and 0 says not at all.
# 3. For each pattern, keep the **best fit over all places**.
# 4. Multiply the fits by `reading` and bring the vector to length 1.
#
# **Write** `audio_encoder(spectra, patterns, reading)`. A clip of nothing but silence gives a vector of zeros, without NaN.
#
# **3 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# `F.conv1d` has a `padding`, and it fills up with 0. Is that silence in decibels? Is it silence after step 1?
#
# </details>
# <details><summary>Hint 2</summary>
#
# After the ReLU no number is below 0. What can places of zeros do to a mean, and what to a maximum?
#
# </details>

# %% id="audio_encoder" nbgrader={"schema_version": 3, "grade_id": "audio_encoder", "grade": false, "solution": true, "locked": false, "task": false}
def audio_encoder(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    """Mel spectrograms as vectors that do not tell when something sounded.

    spectra   float (B, M, T): decibels, at least FLOOR; T differs from call
              to call
    patterns  float (C, M, W): C patterns of W frames
    reading   float (K, C): weights from C fits to K numbers

    Returns float (B, K): vectors of length 1, zeros for a silent clip.
    """
    ### BEGIN SOLUTION
    x = spectra - FLOOR  # silence is 0, inside the clip and in the padding
    fits = F.relu(F.conv1d(x, patterns, padding=patterns.shape[2] - 1))  # (B, C, places)
    best = fits.amax(dim=2)  # (B, C)
    return F.normalize(best @ reading.T, dim=1)
    ### END SOLUTION

# %% id="audio_encoder-check" nbgrader={"schema_version": 3, "grade_id": "audio_encoder-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("audio_encoder")

# %% [markdown] id="align-prompt" nbgrader={"schema_version": 3, "grade_id": "align-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 4. Into a space that is already there
#
# Spoken digits are to lie near handwritten ones of the same digit. The tower for pictures has learned already and is
# **frozen**. Only the ear learns.
#
# Sound $i$ and picture $i$ of a batch show the same digit, `digits[i]`. But a batch has more pairs than there are digits, so
# other pictures show it too. All of them are right: sound $i$ and picture $j$ are partners where their digits are equal.
#
# Bring every vector to length 1. The logit of sound $i$ and picture $j$ is `scale` times their inner product. For a sound, a
# softmax over all pictures gives each a probability; the sound's loss is minus the logarithm of the probability that its
# partners have **together**. The same for a picture and all sounds. The loss is the mean over all sounds and the mean over
# all pictures, added and divided by 2: the loss of lesson 08.
#
# **Write** `align(heard, pictures, digits, scale)`. A gradient reaches `heard`, and none reaches `pictures`.
#
# **3 points** when the loss and its slopes are right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# Compare each digit with each digit. What shape has `digits[:, None] == digits[None, :]`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A sum of $e^{\text{logit}}$ over partners alone is a sum over all in which the others count nothing. Which logit makes
# $e^{\text{logit}}$ zero? And which method of a tensor stops the gradient?
#
# </details>

# %% id="align" nbgrader={"schema_version": 3, "grade_id": "align", "grade": false, "solution": true, "locked": false, "task": false}
def align(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    """The contrastive loss of sounds against frozen pictures.

    heard     float (B, K): what the ear made of the sounds, of any length
    pictures  float (B, K): what the frozen tower made of the pictures
    digits    int64 (B,): the digit of sound i and of picture i
    scale     factor of the logits, above 0

    Returns a scalar tensor, to be minimised; its gradient reaches ``heard``
    alone.
    """
    ### BEGIN SOLUTION
    fixed = F.normalize(pictures.detach(), dim=1)
    logits = scale * F.normalize(heard, dim=1) @ fixed.T  # (B, B): sound i, picture j
    partners = logits.masked_fill(digits[:, None] != digits, float("-inf"))
    per_sound = logits.logsumexp(1) - partners.logsumexp(1)
    per_picture = logits.logsumexp(0) - partners.logsumexp(0)
    return (per_sound.mean() + per_picture.mean()) / 2
    ### END SOLUTION

# %% id="align-check" nbgrader={"schema_version": 3, "grade_id": "align-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("align")

# %% [markdown] id="close_gap-prompt" nbgrader={"schema_version": 3, "grade_id": "close_gap-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 5. Close the gap
#
# In a shared space all sounds lie a little to one side of all captions, even where each sound's nearest caption is the
# right one. This is the **modality gap**. A generator that only ever saw captions' vectors is then asked about a region that
# it does not know.
#
# A simple cure moves the sounds as a whole: take the sounds' mean vector off, and put the captions' mean vector in its
# place. Then bring each vector to length 1 again. Both means are taken over the training set, `known_heard` and
# `known_text`, so that what becomes of a sound does not depend on the sounds beside it.
#
# **Write** `close_gap(heard, known_heard, known_text)`. The vectors that you are given stay as they are.
#
# **2 points** when every number is right on every set of inputs, to one part in 10,000.
#
# <details><summary>Hint 1</summary>
#
# A mean vector is a vector: it has as many numbers as one sound has. Along which axis do you take the mean?
#
# </details>
# <details><summary>Hint 2</summary>
#
# What must your function make of one sound alone, B = 1? Is it the same that it makes of it in a batch?
#
# </details>

# %% id="close_gap" nbgrader={"schema_version": 3, "grade_id": "close_gap", "grade": false, "solution": true, "locked": false, "task": false}
def close_gap(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    """Sounds' vectors, moved to where captions lie.

    heard        float (B, K): sounds' vectors, of length 1
    known_heard  float (M, K): vectors of the training set's sounds
    known_text   float (L, K): vectors of the training set's captions

    Returns float (B, K): vectors of length 1.
    """
    ### BEGIN SOLUTION
    gap = known_heard.mean(dim=0) - known_text.mean(dim=0)  # (K,)
    return F.normalize(heard - gap, dim=1)
    ### END SOLUTION

# %% id="close_gap-check" nbgrader={"schema_version": 3, "grade_id": "close_gap-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 2, "cell_type": "code"}
check("close_gap")

# %% [markdown] id="speaker_split-prompt" nbgrader={"schema_version": 3, "grade_id": "speaker_split-prompt", "grade": false, "solution": false, "locked": true, "task": false}
# ## 6. A voice that was never heard
#
# Does the ear understand a digit, or does it know six people's voices by heart? Only a voice that was **never heard in
# training** can tell. The same holds for handwriting.
#
# `clips` is a table with one row for each clip: column 0 is the digit, column 1 the speaker, column 2 the take, which is how
# many times this speaker had said this digit before. `labels` tells the digit of each picture, and `kept` is True for the
# pictures that are kept for testing.
#
# - **Split.** The clips of the speaker `held_out` are for testing, those of all others for training.
# - **Pair.** Each clip gets a picture of its own digit from its own side: a clip for testing one that is kept, a clip for
#   training one that is not. Let n pictures fit. Put their rows in rising order; then the clip in row i gets number
#   `int(noise[i] * n)` of them, counted from 0. The noise is drawn evenly from 0 (included) to 1 (not included), so all of
#   them are equally likely.
#
# **Write** `speaker_split(clips, held_out, labels, kept, noise)`. It returns two tables of pairs, first training, then
# testing. Each row holds a row number of `clips` and a row number of `labels`, and rows are in the order of the clips.
# Raise `ValueError` where a side would have no clip, and where no picture fits a clip.
#
# **3 points** when every number is right on every set of inputs, those of the check and those of the grader.
#
# <details><summary>Hint 1</summary>
#
# Do the same thing twice, for training and for testing: which clips are on this side, and which pictures? Only then pair.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.where` tells the places where a tensor of truth values is True. Which two conditions must hold for a picture that
# fits?
#
# </details>

# %% id="speaker_split" nbgrader={"schema_version": 3, "grade_id": "speaker_split", "grade": false, "solution": true, "locked": false, "task": false}
def speaker_split(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs of clips and pictures for training and testing, without a common voice.

    clips     int64 (N, 3): digit, speaker and take of each clip
    held_out  the speaker whose clips are for testing
    labels    int64 (M,): the digit of each picture
    kept      bool (M,): True for pictures that are for testing
    noise     float (N,): one number for each clip, from [0, 1)

    Returns int64 (A, 2) for training and int64 (C, 2) for testing, A + C = N:
    a row number of ``clips`` and one of ``labels``.
    Raises ValueError where A or C would be 0, or where no picture fits.
    """
    ### BEGIN SOLUTION
    testing = clips[:, 1] == held_out
    tables = []
    for mine, allowed in ((~testing, ~kept), (testing, kept)):
        pairs = []
        for i in torch.where(mine)[0].tolist():
            fitting = torch.where(allowed & (labels == clips[i, 0]))[0].tolist()
            if not fitting:
                raise ValueError(f"no picture on this side shows a {int(clips[i, 0])}")
            pairs.append((i, fitting[int(noise[i] * len(fitting))]))
        if not pairs:
            raise ValueError(f"speaker {held_out} leaves a side without clips")
        tables.append(torch.tensor(pairs))
    return tables[0], tables[1]
    ### END SOLUTION

# %% id="speaker_split-check" nbgrader={"schema_version": 3, "grade_id": "speaker_split-check", "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "cell_type": "code"}
check("speaker_split")
