# %% [markdown]
# # 09 · Text to image
#
# A sentence goes in, a picture comes out. The sentence becomes 64 numbers in the space of lesson 08. A generator turns
# these numbers and some noise into a picture. A discriminator asks two questions at once: is this a real picture, and
# does the caption fit it?

# %% [markdown]
# ## What you will be able to do
#
# - feed a caption to a generator and to a discriminator, and say what each does with it
# - train a text-to-image GAN and read its curves
# - measure whether a picture shows what its caption says, beside a floor, a ceiling and a control
# - find the faults in a published text-to-image GAN that cannot train, and mend them
#
# **Before this lesson:** lesson 08 (the shared space). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import random

import torch
from mmcourse import fast, metrics, plots, runtime, text2image, world
from mmcourse.checkpoint import load
from mmcourse.data import caption_set
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.text2image import Generator, Painter, prepare

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
for name, row in runtime.results("lessons")["lessons"].get("09_text2image", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. From words to a condition
#
# Lesson 08 left us with two towers that meet in one space. Here the text tower is frozen: it reads a caption and gives
# a unit vector of 64 numbers. We call that vector the *condition*, `cond`.
#
# **Predict.** We take "a small red circle" and change one word: the size, the colour or the shape. Which change moves the
# vector most?

# %%
space, judge = load(Space, "space"), load(Judge, "judge")
G, D, sample, extra, config = prepare(space, text2image.PROFILES[profile], seed=SEED, device=device)
encode = Painter(space, G).encode
asked = ["a small red circle", "a large red circle", "a small blue circle", "a small red square", "小的红色的圆形"]
cond = encode(asked)  # (5, 64)
plots.similarity_matrix(cond @ cond.T, asked, asked)

# %% [markdown]
# The first row answers. The Chinese caption says the same as the first one, and lies next to it. So G will need no second
# language.
#
# The facts do not all weigh the same in this space. Some directions vary much from caption to caption, others little. A
# network would learn the strong ones first and hardly notice the weak ones. *Whitening* cures this before training
# starts: subtract the mean, then divide each direction by its own spread.

# %%
said = caption_set(2000, seed=SEED)
vectors = encode(said.captions)  # (2000, 64)
centred = vectors - vectors.mean(0)
values, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
white = centred @ (directions / (values + 0.003 * values.max()).sqrt()) @ directions.T
spread = torch.linalg.eigvalsh(white.T @ white / len(white)).flip(0).sqrt()
print("before:", [f"{v:.2f}" for v in values.flip(0).clamp(min=0).sqrt()[:20:3].tolist()])
print("after: ", [f"{v:.2f}" for v in spread[:20:3].tolist()], "(every third direction, strongest first)")

# %% [markdown]
# **Predict.** "A tiny red disc" and "小的红色的圆形" mean the same. We say all 2,000 statements once more in other words.
# How much of the difference between two whitened vectors is wording alone: 2 %, 10 % or 40 %?

# %%
from mmcourse.layers import Whiten

layer = Whiten(64)
layer.fit(vectors, floor=0.003)
assert torch.allclose(layer(vectors), white, atol=1e-3)  # the library's is ours
twins = encode(world.captions(said.statements, random.Random(SEED + 1)))  # (2000, 64): the same in other words
for name in ("whitened", "with twins"):
    apart, spread = (layer(vectors) - layer(twins)).square().mean(), layer(vectors).var(0).mean()
    print(f"{name:10}: {100 * apart / (2 * spread):.0f} % of the difference between two captions is wording")
    layer.fit(vectors, twins, floor=0.003)

# %% [markdown]
# Weak directions hold mostly wording, and whitening makes them loud. G cannot know that they mean nothing. So the
# library's `fit` takes the twins as well. It weakens each direction by how badly one wording predicts the other.

# %% [markdown]
# ## 2. How the condition enters G
#
# G starts from noise `z` and the whitened condition, laid side by side. Noise decides what the caption leaves open. Then
# every block is *modulated*: the condition computes one factor and one offset for each channel. Channels can thus be
# turned up for "star" and down for "ring".

# %%
h = torch.randn(2, 8, 4, 4)  # (B, C, H, W): two pictures' features, eight channels
scale, shift = torch.randn(2, 8), torch.randn(2, 8)  # one pair a channel and a picture, computed from cond
modulated = h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
print("channel 0 of picture 0: mean", f"{h[0, 0].mean():.2f} became {modulated[0, 0].mean():.2f}")
assert torch.allclose(modulated[1, 3], h[1, 3] * (1 + scale[1, 3]) + shift[1, 3])

# %% [markdown]
# **Predict.** What does G draw before any training? And does it draw the same for two different captions?

# %%
six = ["a small red circle", "a large blue star", "a green square at the top", "a ring", "大的黑色的三角形", "紫色的圆形"]
z = torch.randn(6, config.z, generator=runtime.generator(SEED))
plots.grid(Painter(space, G).draw(six, z=z), columns=6, titles=six, title="before training")

# %% [markdown]
# Nothing yet: colours change from pixel to pixel, and no picture shows a thing or differs by eye from the others. The
# caption is connected, but nobody has told G what to do with it. That is D's work.

# %% [markdown]
# ## 3. What makes D care about the caption
#
# D gives one number a picture: its *logit*, high for real. Ours is a sum of two parts. One sees the picture alone. The
# other is an inner product of the picture's features with the condition, a *projection*: it is high where they agree.

# %%
batch = sample(runtime.generator(SEED, device), 0)  # real pictures, true captions, wrong captions
features = D.look(batch.real)  # (B, 128), read once
fit = (D.project(features) * batch.cond).sum(1, keepdim=True)  # (B, 1)
assert torch.allclose(D.score(features, batch.cond), D.alone(features) + fit, atol=1e-4)

# %% [markdown]
# A D that only compares real with fake can ignore the caption: real pictures always come with a true one, so nothing
# ever punishes it. We add a third kind of pair, a **real picture with a wrong caption**, and call it fake too. D can only
# get these right by reading the caption. This is the matching-aware discriminator (Reed and others, 2016).
#
# Where do wrong captions come from? The easy way: give each picture its neighbour's caption.

# %%
few = caption_set(8, objects=(1,), seed=5, leave_out=0.5)
swapped = few.statements.roll(1, 0)  # the neighbour's caption
for i in range(8):
    still_true = bool(world.satisfied(few.labels[i : i + 1], swapped[i : i + 1]))
    print(f"{few.captions[i]!r:46} gets {few.captions[i - 1]!r:46} {'STILL TRUE' if still_true else ''}")

# %% [markdown]
# **Predict.** With captions that leave half of the facts out, how often is a neighbour's caption true by accident?

# %%
many = caption_set(4000, objects=(1,), seed=6, leave_out=0.5)
accident = world.satisfied(many.labels, many.statements.roll(1, 0)).float().mean()
hard = world.contradict(many.labels, many.statements, runtime.generator(SEED))
assert not world.satisfied(many.labels, hard).any()
print(f"neighbours' captions that are true after all: {100 * accident:.1f} %; of the changed captions: none")

# %% [markdown]
# A true caption that is called wrong teaches D a lie. So a swapped caption must *mean something else*. The world can
# check this, since it knows the truth. `data.CaptionPool` checks it, and for half of the batch it changes one single fact
# of the true caption instead: a hard case, which D cannot solve by colour alone.

# %% [markdown]
# ## 4. The game
#
# Lesson 03's relativistic game compares pairs: the real picture should score above the fake one. D's loss is
# $\mathrm{softplus}(D(\hat x, c) - D(x, c))$, plus the same with the pair (real, wrong caption) in the place of the fake.
# G turns the sign.

# %%
from torch.nn.functional import softplus

from mmcourse.losses import GAMES

noise = torch.randn(len(batch.real), config.z, generator=runtime.generator(1)).to(device)
fake = G(noise, batch.cond)
on_real, on_fake = D(batch.real, batch.cond), D(fake, batch.cond)
on_wrong = D(batch.real, batch.wrong)
loss_d = softplus(on_fake - on_real).mean() + softplus(on_wrong - on_real).mean()
rules = GAMES["relativistic"]
assert torch.allclose(loss_d, rules.d(on_real, on_fake) + rules.d(on_real, on_wrong))
print(f"wrong captions already score lower: {(on_wrong < on_real).float().mean():.0%} of pairs")

# %% [markdown]
# The last line is no accident. D did not start from random weights: it took over the image tower of lesson 08, so its
# eyes know shapes and colours from the first step. All its weights go on learning. A further term in G's loss pulls the
# picture towards its caption in the shared space. It helps early; later G can please the frozen tower without drawing
# better, so its weight falls as the run goes on.
#
# The loop is lesson 04's `play`. On a CPU `fast.play` is that loop. On a CUDA card it plays the same steps, written as
# one function of tensors that is compiled and captured: the losses are the same within rounding, and the first minute or
# two are spent on making it. To keep the readable loop there, take `how="loop"`.
#
# **Predict.** Colour, size, place, shape: which will be right first, and which last?

# %%
from mmcourse.widgets import LivePanel

exam = caption_set(100, objects=text2image.PROFILES[profile].objects, seed=77)
z = torch.randn(100, config.z, generator=runtime.generator(2))


def measure(state):
    pictures = Painter(space, state.ema).draw(exam.captions, z=z)
    row = metrics.caption_accuracy(judge, pictures, exam.statements)
    return {k: row[k] for k in ("all", "colour", "size", "layout", "shape")}


start = measure(type("Start", (), {"ema": G}))

# %%
panel = LivePanel(config.steps, samples=lambda state: Painter(space, state.ema).draw(exam.captions[:8], z=z[:8]), measure=measure)
for step in panel(fast.play(G, D, sample, config, extra=extra)):
    pass
end = measure(step.state)
print({k: f"{start[k]:.2f} -> {end[k]:.2f}" for k in end})

# %% [markdown]
# Above, D's loss lies near 0 for the eye, as the axis has room for G's first losses. G's loss falls when G draws better,
# and also when D judges worse: it does not say which. Below, each share tells what has become right. That is why we
# measure.

# %% [markdown]
# ## 5. Is it right?
#
# The judge is a network that reads a picture's facts. No loss has ever seen it, so nothing was trained to please it.
# Accuracy counts what a caption states, and no more: after "a red shape" only the colour is looked at.
#
# In the `quick` profile the training above is only a taste, and from here on we look at the shipped model. In the other
# profiles we look at the one you have just trained.

# %%
shipped = profile == "quick"
painter = Painter(space, load(Generator, "text2image") if shipped else step.state.ema.cpu())
objects = (1, 2) if shipped else text2image.PROFILES[profile].objects
sets = {k: caption_set(300, split=s, objects=objects, seed=9) for k, s in {"seen": "train", "held out": "held_out"}.items()}
table = metrics.measure_text2image(painter.draw, judge, sets, seed=SEED, blank=painter.draw_blank)
for name, row in table.items():
    print(f"{name:9}", {kind: f"{100 * row[kind]['all']:.1f} %" for kind in row})

# %% [markdown]
# Four numbers stand in each line. `model` is ours. `no_text` is the control: the same G, its condition replaced by the
# mean of all conditions. `ceiling` is the judge on real drawings. `chance` is the share right for a random scene.

# %%
row = table["seen"]
names = [k for k in ("shape", "colour", "size", "layout") if k in row["model"]]
plots.bars({k: row["model"][k] for k in ["all", *names]}, floor=row["no_text"]["all"], ceiling=row["ceiling"]["all"], floor_label="no text")

# %% [markdown]
# ## 6. One word at a time
#
# **Predict.** We keep the noise and change a single word from column to column. What should stay the same?

# %%
words = ["red", "orange", "green", "cyan", "blue", "black"]
z0 = torch.randn(1, 16, generator=runtime.generator(11)).expand(len(words), -1)
rows = [painter.draw([f"a large {w} {s} on the left" for w in words], z=z0) for s in ("square", "ring", "star")]
plots.prompt_strip(torch.cat(rows[:1]), words, title="a large ... square on the left, one noise")

# %%
plots.caption_sheet(torch.stack(rows), [f"a large ... {s} on the left" for s in ("square", "ring", "star")], columns=words)

# %% [markdown]
# ## 7. What it has never seen
#
# Six pairs of colour and shape occur in no training picture: no yellow circle, no cyan square, and so on. To draw one,
# the model has to put two known words together.

# %%
held_out = [f"a large {colour} {shape}" for colour, shape in world.HELD_OUT]
asked = [c for c in held_out for _ in range(6)]
pictures = painter.draw(asked, runtime.generator(SEED))
right = metrics.right_pictures(judge, pictures, world.statements(asked)).view(6, 6)
plots.caption_sheet(pictures.unflatten(0, (6, 6)), held_out, marks=right)

# %% [markdown]
# ## 8. A published text-to-image GAN, taken apart
#
# A well-read article shows a text-to-image GAN in some eighty lines. It cannot train. We rebuild its faults one at a
# time. Before each cell, say what will happen.
#
# **Predict.** Its generator is a stack of strided convolutions. Which way does the size go?

# %%
from torch import nn

shrinking = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.Conv2d(16, 3, 3, stride=2, padding=1))
growing = nn.Sequential(nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.ConvTranspose2d(16, 3, 4, 2, 1))
x = torch.randn(1, 8, 8, 8)
print("published:", tuple(shrinking(x).shape), "  mended:", tuple(growing(x).shape))

# %% [markdown]
# **Predict.** It adds the caption's vector to the finished pixels, after tanh. Which range do pixels then have? And does
# any layer learn from the caption?

# %%
pixels = torch.tanh(torch.randn(1, 64, requires_grad=True))  # 64 "pixels", so that the shapes agree at all
text = torch.randn(1, 64, requires_grad=True)
picture = pixels + text
print(f"range [{picture.min():.1f}, {picture.max():.1f}] instead of [-1, 1]")
(slope,) = torch.autograd.grad(picture.sum(), text)
print("d picture / d text is the constant", slope.unique().tolist(), "whatever the picture shows")

# %% [markdown]
# Its discriminator ends in a sigmoid. Then it adds the text vector, and the loss takes the logarithm.
#
# **Predict.** Which values can `probability + text` have, and what is their logarithm?

# %%
probability = torch.sigmoid(torch.randn(1000))
with_text = probability + torch.randn(1000)
print(f"below 0: {(with_text < 0).float().mean():.0%}, above 1: {(with_text > 1).float().mean():.0%}")
print("its mean logarithm:", with_text.log().mean().item())

# %% [markdown]
# Without the text it is little better. A sigmoid reaches exactly 0 in floating point. Its logarithm is then infinite, and
# the small number that people add inside the logarithm removes the gradient just where it is needed.

# %%
logit = torch.tensor([-5.0, -50.0, -200.0], requires_grad=True)
for name, value in {
    "log(sigmoid)": torch.log(torch.sigmoid(logit)),
    "log(sigmoid + 1e-8)": torch.log(torch.sigmoid(logit) + 1e-8),
    "-softplus(-logit)": -softplus(-logit),
}.items():
    (slope,) = torch.autograd.grad(value.sum(), logit)
    print(f"{name:20} {[f'{v:.3g}' for v in value.tolist()]}  slope {[f'{v:.3g}' for v in slope.tolist()]}")

# %% [markdown]
# Only the last line is finite and keeps a slope of 1 where D is sure. That is why every loss of this course takes logits.
#
# **Predict.** The article's G *minimises* mean log D(fake), its D minimises mean(log D(real) + log(1 - D(fake))). We give
# each one step of gradient descent on a single logit. Which way do the logits move?

# %%
def moved(loss):
    logit = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(logit), logit)
    return -slope.item()  # the direction of a descent step


print("published G moves the fake's logit by ", moved(lambda f: -softplus(-f).sum()), "(down: it learns to be caught)")
print("mended    G moves the fake's logit by ", moved(lambda f: softplus(-f).sum()))
print("published D moves the real one's logit by", moved(lambda r: -softplus(-r).sum()), "(down: it learns to be wrong)")
print("mended    D moves the real one's logit by", moved(lambda r: softplus(-r).sum()))

# %% [markdown]
# Two faults remain. Its networks are functions that make fresh layers at every call: two calls give two different
# networks, and there is nothing to hand to an optimiser. In fact no optimiser appears in the article at all.

# %%
def published(x):
    return nn.Linear(4, 1)(x)


mended = nn.Linear(4, 1)
x = torch.ones(1, 4)
print("the same input twice: published", published(x).item() == published(x).item(), "  mended", mended(x).item() == mended(x).item())
print("numbers to train: published", 0, "  mended", sum(p.numel() for p in mended.parameters()))

# %% [markdown]
# And nothing in it makes D care whether a caption fits: there are no mismatched pairs, and the captions themselves are
# never read. Even with every sign right it would draw pictures that have nothing to do with their sentence.

# %% [markdown]
# ## What was shown
#
# A short training improves on its start. The model draws what most captions say, far above the control without text, and
# it does so for compositions that no training picture showed. The cell below fails if this run says otherwise.

# %%
model, control = table["seen"]["model"]["all"], table["seen"]["no_text"]["all"]
assert end["all"] > start["all"] and end["colour"] > start["colour"] + 0.1
assert model >= 0.9 and table["held out"]["model"]["all"] >= 0.7, "this run is worse than the lesson claims"
assert control <= 0.2, "without the text the model should be near chance"
print(f"seen {model:.1%}, held out {table['held out']['model']['all']:.1%}, without text {control:.1%}")

# %% [markdown]
# ## What this does not show
#
# - The world is small: six shapes, eight colours, plain backgrounds. Nothing here speaks of photographs.
# - The judge is a network as well. It reads real drawings almost without error, but a strange picture could mislead it.
#   Look at the sheets, too.
# - One run with one seed is an example. The figures over several seeds are in `results/`.
# - Accuracy says nothing about variety. A model that drew each caption in one way only could have the same score.

# %% [markdown]
# ## Exercises
#
# 1. Turn the matching-aware term off (`mismatch=0` in the config). Which figure falls, and which stays?
# 2. Start D from random weights (`eyes=False` in the recipe). How many more steps does "all" need to reach one half?
# 3. Keep the help of the frozen tower until the end (`help_until=1.0`). What do the pictures gain or lose?
# 4. Write `mismatched(captions)`: another caption of the batch for each, never one with the same meaning.
