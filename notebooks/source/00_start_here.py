# %% [markdown]
# # 00 · Start here
#
# In a few minutes you will type a sentence and see a picture of it, drawn by a small network on this machine. Then we look
# at the three things that the whole course stands on: the machine, the captioned world, and a way to measure who is right.

# %% [markdown]
# ## What you will be able to do
#
# - say what your machine can run, and choose a profile
# - draw pictures from sentences with a trained model, and steer them with noise
# - make scenes of the captioned world, say them and parse them
# - measure how often a picture shows what its sentence says
#
# **Before this lesson:** some Python. **How to use a notebook:** click a cell, press Shift+Enter, read what appears.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %% [markdown]
# ## 1. Your machine
#
# Every lesson runs in one of three *profiles*. `gpu` trains full models. `cpu` trains smaller ones, in at most five minutes
# a lesson on two cores. `quick` only tastes the training and uses shipped models. `auto` takes `gpu` where a CUDA card is
# found, else `cpu`. The profile changes sizes and steps, never the code that you read.

# %%
import torch
from mmcourse import metrics, plots, runtime, world
from mmcourse.checkpoint import card, load
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.text2image import Generator, Painter

profile = runtime.pick_profile(PROFILE)
print("this machine:", runtime.machine())
print("profile:", profile, "  device:", runtime.pick_device())

# %% [markdown]
# In a terminal, `mmcourse doctor` tells more, and what to do about what is missing.

# %% [markdown]
# ## 2. A sentence becomes a picture
#
# Two networks do the work. One reads the sentence and turns it into 64 numbers (lesson 08). The other, the *generator*,
# turns these numbers and some random *noise* into 32 x 32 pixels (lesson 09). Both come with the course.

# %%
painter = Painter(load(Space, "space"), load(Generator, "text2image"))
prompt = "a small red circle left of a large blue square"
pictures = painter.draw([prompt] * 8, runtime.generator(SEED))  # (8, 3, 32, 32) in [-1, 1]
plots.grid(pictures, columns=8, title=prompt)

# %% [markdown]
# **Predict.** All eight pictures come from the same sentence. What differs between them, and what decides it?

# %% [markdown]
# The sentence says nothing about the background's shade, the exact place or the tilt. Noise decides these. What the
# sentence does say should be the same in all eight.
#
# Now it is your turn. Type a sentence, press Enter, move the slider. The slider walks from one noise to another.

# %%
from mmcourse.widgets import PromptBox

box = PromptBox(lambda prompt, z: painter.draw([prompt] * len(z), z=z), prompt="a large green star above a small black ring", seed=SEED)
box.show()

# %% [markdown]
# Try Chinese: 一个大的蓝色的圆形在左边. Try a word that the model does not know. Try to leave something out, such as "a red
# shape": what does the model choose?

# %% [markdown]
# ## 3. The captioned world
#
# Why these simple shapes? Because here the truth is known. A *scene* is one or two things, each with a shape, a colour and
# a size, and a layout. The same scene can be drawn, at any resolution, and said, in two languages.

# %%
g = runtime.generator(SEED)
scenes = world.sample_scenes(12, g)
plots.grid(world.draw(scenes, 64), columns=6, titles=[str(world.Statement(*row)) for row in scenes.labels.tolist()])

# %% [markdown]
# These twelve were drawn by geometry, not by a network. They are what a generator would have to match.
#
# **Predict.** The same scene is drawn with 32 and with 256 pixels. If the large one is averaged down to 32 pixels, how far
# are the two apart, on a scale from -1 to 1?

# %%
small, large = world.draw(scenes, 32), world.draw(scenes, 256)
gap = (torch.nn.functional.avg_pool2d(large, 8) - small).abs()
print(f"mean difference {gap.mean():.4f}, largest at a single pixel {gap.max():.2f} (along the edges)")
pair = torch.cat([torch.nn.functional.interpolate(small[:4], size=256), large[:4]])
plots.grid(pair, columns=4, title="32 pixels above, 256 below", scale=2.0)

# %% [markdown]
# A caption can leave things open, use other words, or turn the order around. `say` makes such captions, and `parse` reads
# back what they state.

# %%
import random

rng = random.Random(SEED)
row = scenes.labels[scenes.labels[:, 7] == world.STACKED][0].tolist()
for language in ("en", "en", "en", "zh", "zh"):
    said = world.say(row, language, rng)
    assert list(world.parse(said)) == row  # nothing is lost on the way
    print(said)

# %%
for caption in ("a red shape", "a star at the top", "红色的圆形和蓝色的方块", "a red blue circle"):
    try:
        stated = dict(zip(world.COLUMNS, world.parse(caption), strict=True))
        print(f"{caption!r} states", {k: v for k, v in stated.items() if v != world.OPEN})
    except world.CaptionError as error:
        print(error)

# %% [markdown]
# ## 4. Who is right?
#
# A picture is *right* when it shows everything that its caption states. We could look at every picture. For five hundred
# we use a *judge*: a network that reads a picture's facts. It never took part in any training of the generator.

# %%
judge = load(Judge, "judge")
read = judge.read(world.draw(scenes))  # (12, 8)
print("real drawings read without an error:", bool((read == scenes.labels).all()))
print("on its card:", card("judge")["figures"])

# %% [markdown]
# **Predict.** Of 200 sentences that nobody picked by hand, how many will the shipped model draw all right? And how many, if
# we take the sentence away?

# %%
from mmcourse.data import caption_set

sets = {"seen": caption_set(200, seed=SEED), "held out": caption_set(200, split="held_out", seed=SEED)}
table = metrics.measure_text2image(painter.draw, judge, sets, seed=SEED, blank=painter.draw_blank)
for name, row in table.items():
    print(f"{name:9}", {kind: f"{100 * row[kind]['all']:.1f} %" for kind in row})

# %% [markdown]
# `held out` sentences contain a pair of colour and shape that no training ever showed, such as a yellow circle. `no_text`
# takes the sentence away. `ceiling` is the judge on real drawings, `chance` a random scene. You will meet these companions
# of a figure in every lesson: a number alone says little.

# %%
asked = sets["held out"]
pictures = painter.draw(asked.captions[:12], runtime.generator(SEED))
right = metrics.right_pictures(judge, pictures, asked.statements[:12])
plots.grid(pictures, columns=6, titles=[("" if ok else "WRONG: ") + c for c, ok in zip(asked.captions, right.tolist(), strict=False)])

# %% [markdown]
# ## What was shown
#
# A trained model runs on this machine and draws what a sentence says, far more often than without the sentence. The cell
# computes this here, and fails if it is not so.

# %%
model, blank = table["seen"]["model"]["all"], table["seen"]["no_text"]["all"]
assert model >= 0.9, f"only {model:.0%} right: run `mmcourse doctor` to see whether the checkpoints are intact"
assert blank <= 0.2
print(f"all attributes right: {model:.1%} with the sentence, {blank:.1%} without")

# %% [markdown]
# ## What this does not show
#
# The world is small, and the model knows nothing else. A high figure here does not mean that a network of this size could
# draw a street. It means that we can tell, exactly, what it learned.

# %% [markdown]
# ## Exercises
#
# None is graded here. Find a sentence that the model gets wrong. What do your failures have in common? Keep them: in lesson
# 09 you will train such a model yourself.
