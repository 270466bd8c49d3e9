# %% [markdown]
# # 07 · Image to image
#
# So far a condition was a label. Now it is a picture: a drawing becomes a coloured scene, a grey photograph a coloured
# one. One network translates, another judges the input and the picture together, patch by patch. At the end even the
# pairs are taken away.

# %% [markdown]
# ## What you will be able to do
#
# - say what an average of possible answers looks like, and why a distance alone gives it
# - read a U-Net level by level, and show what its skip connections carry
# - compute how many pixels one logit of a patch discriminator sees, and check it by a gradient
# - train L1 alone and L1 with a game on the same pairs, and measure both beside copy, mean and truth
# - translate without pairs, and name what the cycle loss cannot tell
#
# **Before this lesson:** lesson 06 (conditions in G and in D). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
from dataclasses import replace

import torch
from mmcourse import fast, image2image, plots, runtime, world
from mmcourse.checkpoint import load
from mmcourse.image2image import PatchDiscriminator, Translators, UNet, fit_l1, measure, pairs, prepare, translate
from mmcourse.train import play
from mmcourse.widgets import LivePanel, progress
from torch.nn.functional import softplus

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
recipe, on_photographs = image2image.PROFILES[profile], image2image.PHOTOGRAPHS[profile]
for name, row in runtime.results("lessons")["lessons"].get("07_image2image", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. A picture, and what is left of it
#
# Pairs cost nothing here. We take pictures and throw something away. `grey` keeps the brightness. `outline` keeps only
# how steep the picture is at each pixel, as a pencil line: the stronger the contrast, the darker the line.
#
# **Predict.** From which of the two could you paint the first picture again? What would you have to invent?

# %%
g = runtime.generator(SEED)
real = torch.cat([pairs(5, g, source=source).real for source in image2image.SOURCES])  # (10, 3, 32, 32)
drawn, grey = image2image.outline(real), image2image.grey(real)  # (10, 1, 32, 32) each
rows = torch.stack([real, drawn.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1)])
plots.caption_sheet(rows, ["picture", "outline", "grey"], text_width=70)

# %% [markdown]
# The photographs are tiles of six well-known ones that come with scikit-image and scikit-learn. Training tiles come from
# their left seven tenths, test tiles from the rest. World scenes are drawn afresh; test scenes come from another random
# source.

# %% [markdown]
# ## 2. One question, several answers
#
# A line on paper does not say which colour it encloses. Many pictures fit one drawing. The smallest such question: the
# world's orange and its cyan have nearly the same grey.
#
# **Predict.** Half of all things with this grey are orange, half are cyan. You may answer with one colour only. Your loss is
# the mean squared difference. What do you paint? And if your loss is the mean absolute difference?

# %%
orange, cyan = (torch.tensor(world.RGB[c]) * 2 - 1 for c in ("orange", "cyan"))  # (3,) each, in [-1, 1]
print("their grey:", [f"{image2image.grey(c.view(1, 3, 1, 1)).item():.2f}" for c in (orange, cyan)])
share = torch.linspace(0, 1, 5)[:, None]
answers = orange + share * (cyan - orange)  # (5, 3): from orange to cyan
for power, name in ((2, "squared"), (1, "absolute")):
    loss = sum((answers - truth).abs().pow(power).mean(1) for truth in (orange, cyan)) / 2
    print(f"{name:9}", [f"{v:.3f}" for v in loss.tolist()])
plots.prompt_strip(answers[:, :, None, None].expand(-1, -1, 32, 32), ["orange", "", "half way", "", "cyan"])

# %% [markdown]
# The squared loss is lowest half way: it asks for the mean, a colour that no thing has. The absolute loss (L1) has no
# preference between the two. With more colours it asks for the middle value of each channel, the median. Neither loss
# ever pays for being one of the real answers. That is what D is for: a mixture is easy to recognise.

# %% [markdown]
# ## 3. G is a U-Net
#
# G shrinks its input from 32 to 16, 8 and 4 pixels a side, then grows again. At 4x4 one pixel knows the whole picture. But
# where exactly a line ran is hard to keep there. So at 16x16 and at 8x8 the way up is handed what the way down had: a
# *skip connection*. Both are laid on top of each other, and a convolution mixes them.

# %%
G, D, sample, extra, config = prepare(recipe, seed=SEED, device=device)
batch = sample(runtime.generator(SEED, device), 0)  # real pictures, their drawings, somebody else's drawings
a = G.early(G.stem(torch.nn.functional.pixel_unshuffle(batch.cond, 2)))  # (B, width, 16, 16): kept for the way up
up = G.up(torch.randn(len(a), 2 * recipe.width, 8, 8, device=device))  # (B, width, 16, 16): from below
joined = G.join_late(torch.cat([up, a], dim=1))  # (B, 2 * width, 16, 16) to (B, width, 16, 16)
print(f"input {tuple(batch.cond.shape)}, skip {tuple(a.shape)}, joined {tuple(joined.shape)}")
print(f"numbers in one input: 1024, at 4x4: {2 * recipe.width * 16}, in the skip at 16x16: {a[0].numel()}")

# %% [markdown]
# There is no noise: `play` hands `z` over and G does not look at it. The paper tried noise as well, and its G learned to
# ignore it. One drawing gives one picture.
#
# **Predict.** We train two U-Nets by L1 alone, no discriminator: one as above, one whose way up is handed zeros. Where will
# the pictures differ?

# %%
alone = {}
for name, skips in (("with skips", True), ("without", False)):
    net = prepare(replace(recipe, skips=skips), seed=SEED, device=device)[0]
    for step in progress(fit_l1(net, sample, replace(config, steps=recipe.alone)), total=recipe.alone, label=name):
        pass
    alone[name] = step.state.ema
test = pairs(8, runtime.generator(99), source="world")
made = [translate(net, test.cond) for net in alone.values()]
print({name: f"L1 {measure(net, recipe, seed=SEED)['model']['l1']:.3f}" for name, net in alone.items()})
plots.caption_sheet(torch.stack([test.cond.expand(-1, 3, -1, -1), *made, test.real]), ["drawing", *alone, "truth"], text_width=100)

# %% [markdown]
# Without skips every place has to pass through 4x4, and the shapes stay vague longer. In `quick` both have only begun and
# show coloured specks on grey. After more steps both paint what section 2 foretold: one muddy colour for everything, the
# middle of all that could be.
#
# ## 4. D sees the pair, one patch at a time
#
# If D saw the picture alone, any pretty picture would do. So D gets the drawing and the picture on top of each other, as
# channels of one input. And it gives not one logit but 64, an 8x8 map: each judges its own patch. Details are local, and 64
# small judgements tell G *where* something is wrong. The L1 term looks after the rest.
#
# How large is a patch? Walk from the pixels to the logits. A layer with kernel $k$ adds $k - 1$ steps of its own input, and
# such a step is the product of all strides before it. Folding 2x2 pixels into channels is a kernel of 2 with a stride of 2.

# %%
both = torch.cat([batch.cond, batch.real], dim=1)  # (B, 1 + 3, 32, 32)
assert torch.equal(both, image2image.pair_input(batch.cond, batch.real))
print("D's input", tuple(both.shape), "to logits", tuple(D(batch.real, batch.cond).shape))
width, step = 1, 1
for kernel, stride in D.layers:
    width += (kernel - 1) * step
    step *= stride
    print(f"kernel {kernel}, stride {stride}: one number sees {width} pixels, the next one starts {step} further")
assert width == image2image.receptive_field(D.layers)

# %% [markdown]
# **Predict.** We take the gradient of one single logit at all pixels. How large is the area where it is not zero? And for a
# D whose late convolutions are 3x3 in place of 1x1?

# %%
seen = []
for wide in (False, True):
    net = PatchDiscriminator(width=24, wide=wide)
    for block in (net.early.one, net.early.two):  # an untrained block is the identity; let it read its neighbours
        torch.nn.init.normal_(block.weight, std=0.1, generator=runtime.generator(1))
    x = test.real[:1].clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(net(x, test.cond[:1])[0, 0, 4, 4], x)
    reach = slope.abs().amax(1, keepdim=True) > 0  # (1, 1, 32, 32)
    print(f"wide={wide}: {int(reach.any(2).sum())} pixels a side; computed {image2image.receptive_field(net.layers)}")
    seen.append(torch.where(reach, test.real[:1], torch.ones(1)))
plots.prompt_strip(torch.cat([test.real[:1], *seen]), ["the picture", "what one logit sees", "wide"])

# %% [markdown]
# At the border a patch is cut off; the computed number is an upper bound. We use the small patch: it is about as large as
# one thing of the world.
#
# One more kind of pair is called fake (lesson 09 does the same with captions): a **real picture with somebody else's drawing**. Its pixels
# are beyond reproach. D can only reject it by comparing the two.
#
# ## 5. The game
#
# The losses are lesson 03's relativistic pairs, now for each patch, and the mean over all patches of all pictures. G's loss
# has one more term, the L1 distance to the true picture with a weight $\lambda$:
# $\mathrm{softplus}(D(x, c) - D(\hat x, c)) + \lambda\,|x - \hat x|$.

# %%
fake = G(None, batch.cond)
on_real, on_fake, on_wrong = D(batch.real, batch.cond), D(fake, batch.cond), D(batch.real, batch.wrong)  # (B, 1, 8, 8)
loss_d = softplus(on_fake - on_real).mean() + softplus(on_wrong - on_real).mean()
loss_g = softplus(on_real - on_fake).mean() + recipe.l1 * (fake - batch.real).abs().mean()
first = next(play(*prepare(recipe, seed=SEED, device=device)[:2], lambda rng, step: batch, config, extra=extra)).losses
assert abs(first["d"] - loss_d.item()) < 1e-3  # what play computes is ours
assert abs(first["extra"] - recipe.l1 * (fake - batch.real).abs().mean().item()) < 1e-3
print({k: round(v, 2) for k, v in first.items()})

# %% [markdown]
# We watch three numbers on test scenes: the L1 distance; the pictures' colourfulness, as a share of the truth's; and how
# often D puts a picture with its own drawing above one with a neighbour's (an AUC: .5 is guessing, 1 is perfect).
#
# **Predict.** L1 alone is trained for nothing but L1. Will the game end with a lower or a higher L1 distance?

# %%
def watch(state):
    found = measure(state.ema, recipe, n=100, seed=SEED, D=state.D)
    share = found["model"]["colours"] / found["truth"]["colours"]
    return {"L1": found["model"]["l1"], "colours": share, "AUC": found["auc"]}


untrained = measure(G, recipe, seed=SEED, D=D)
panel = LivePanel(config.steps, samples=lambda state: translate(state.ema, test.cond), measure=watch, every=max(1, config.steps // 5))
for step in panel(fast.play(G, D, sample, config, extra=extra)):  # play itself; on a CUDA card captured
    pass

# %% [markdown]
# D's loss stays away from 0, or G would learn nothing. The AUC rises first: D learns early what belongs together.
#
# ## 6. L1, and L1 with a game
#
# In the `quick` profile the training was only a taste, and from here on we look at the shipped generators. In the other
# profiles we look at those that you have just trained.

# %%
trained = step.state.ema
shipped = load(Translators, "outline2picture")
pale, vivid = (shipped.alone, shipped.game) if profile == "quick" else (alone["with skips"], trained)
pictures = [translate(net, test.cond) for net in (pale, vivid)]
rows = [test.cond.expand(-1, 3, -1, -1), *pictures, test.real]
plots.caption_sheet(torch.stack(rows), ["drawing", "L1 alone", "L1 and game", "truth"], text_width=110, scale=2.5)

# %%
def show(found, untrained, alone):
    rows = {k: found[k] for k in ("copy", "mean picture")} | {"untrained": untrained, "L1 alone": alone}
    for name, row in (rows | {"L1 and game": found["model"], "truth": found["truth"]}).items():
        print(f"{name:13} L1 {row['l1']:.3f}   colours {row['colours']:.3f}   edges {row['edges']:.3f}")


table, by_l1 = (measure(net, recipe, seed=SEED) for net in (vivid, pale))
show(table, untrained["model"], by_l1["model"])

# %% [markdown]
# Read the table by column. Both translations beat the floor: copying the drawing, and painting the mean picture whatever the
# drawing says. In L1 the two are close. But the colours of L1 alone are pale, and those of the game come nearer to the
# truth. They are definite, and often not the true ones: the drawing does not tell them. `edges` is the mean steepness. It
# is above the truth's where a picture is speckled, and below it where a picture is blurred.
#
# Does D really compare? Its AUC on mismatched pairs says so.

# %%
auc = image2image.mismatch_auc(step.state.D, pairs(300, runtime.generator(7)))
plots.bars({"trained D": auc, "untrained D": untrained["auc"]}, floor=0.5, floor_label="guessing", ceiling=1.0, ceiling_label="perfect", label="AUC, own drawing against a neighbour's")

# %% [markdown]
# ## 7. Photographs
#
# The same code, another recipe: grey tiles of photographs become coloured. The brightness is given, so this G starts from
# its input and only adds to it.
#
# **Predict.** Six photographs are little to learn from. Which colours will the model know?

# %%
G, D, sample, extra, config = prepare(on_photographs, seed=SEED, device=device)
floor = measure(G, on_photographs, seed=SEED, D=D)
for one in fit_l1(prepare(on_photographs, seed=SEED, device=device)[0], sample, replace(config, steps=on_photographs.alone)):
    pass
for two in progress(play(G, D, sample, config, extra=extra), total=config.steps, label="L1 and game"):
    pass

# %%
photographs = measure(two.state.ema, on_photographs, seed=SEED, D=two.state.D)
show(photographs, floor["model"], measure(one.state.ema, on_photographs, seed=SEED)["model"])
print(f"AUC on mismatched pairs {photographs['auc']:.2f}, untrained {floor['auc']:.2f}")
tiles = pairs(10, runtime.generator(22), source="photographs", task="grey", split="test")
rows = [tiles.cond.expand(-1, 3, -1, -1), *(translate(s.state.ema, tiles.cond) for s in (one, two)), tiles.real]
plots.caption_sheet(torch.stack(rows), ["grey", "L1 alone", "L1 and game", "truth"], text_width=100)

# %% [markdown]
# In `quick` the model has only begun: it paints most light places orange, and copying the grey is still ahead. After more
# training it knows the colours of what it has seen: skin and fur are warm, a dark evenness is night sky. Where a tile shows
# something else, it paints what is usual at this brightness. Copying stays a strong rival, since most of a photograph is
# not very colourful.
#
# ## 8. Without pairs
#
# Often there are two piles of pictures and no pairs: horses and zebras, summers and winters. Ours are scenes by day and
# *other* scenes as negatives. Two generators translate, AB and BA; two discriminators judge each pile for itself.
#
# What ties the output to its input? The way back: a picture translated there and back should be itself again.

# %%
day, night = image2image.day_and_night(8, runtime.generator(4))  # nothing of one is in the other
there = lambda x: -x  # the true translation, which no loss will know  # noqa: E731
loss = (there(there(day)) - day).abs().mean() + (there(there(night)) - night).abs().mean()
assert torch.equal(loss, image2image.cycle_loss(day, there(there(day)), night, there(there(night))))
print("cycle loss of the true translation:", loss.item())
plots.caption_sheet(torch.stack([day, night]), ["by day", "other scenes, negative"], text_width=110)

# %% [markdown]
# **Predict.** Which other translation has a cycle loss of 0? Think of the laziest one. And if AB turns orange things blue
# and blue ones orange, with BA doing the reverse: what does the cycle loss say?

# %%
lazy = image2image.cycle_loss(day, day, night, night)
print("cycle loss when nothing is translated at all:", lazy.item())

# %% [markdown]
# The cycle only asks that nothing is lost. That the output *looks like* the other pile is the discriminators' business, and
# which colour becomes which is nobody's. This step differs from `play`, so it has a loop of its own, `play_cycle`: two
# games, and one cycle loss that both generators share.

# %%
steps, size = {"quick": (80, 8), "cpu": (320, 16), "gpu": (3000, 16)}[profile]
torch.manual_seed(SEED)
AB, BA = UNet(cond=3, width=16), UNet(cond=3, width=16)
DA, DB = PatchDiscriminator(cond=0, width=16), PatchDiscriminator(cond=0, width=16)
run = replace(image2image.PROFILES["cpu"].config, steps=steps, batch=size, seed=SEED)
start = (translate(AB, day) + day).abs().mean().item()  # the distance to the true negative
for turn in progress(image2image.play_cycle(AB, BA, DA, DB, image2image.day_and_night, run), total=steps, label="cycle"):
    pass

# %%
as_night = translate(AB, day)
rows = [day, as_night, translate(BA, as_night), -day]
end, back = (as_night + day).abs().mean().item(), (rows[2] - day).abs().mean().item()
print(f"distance to the true negative: {start:.2f} before, {end:.2f} after, {(2 * day).abs().mean():.2f} for doing nothing")
print(f"there and back: {back:.2f} from where it started")
plots.caption_sheet(torch.stack(rows), ["by day", "AB: as negative", "BA: and back", "true negative"], text_width=130, scale=2.5)

# %% [markdown]
# No loss ever saw a true negative. The ground turns dark first. In `quick` that is all: on the dark lies a regular pattern
# of dots, with a pale smear where a thing stood. Later the things stand out on it, where they stood before, and come back
# in their colours. Some stay faint in the dark, and yet BA finds them. Compare the
# colours that AB chose with the last row: a consistent exchange of colours would cost it nothing.

# %% [markdown]
# ## What was shown
#
# A U-Net with L1 and a patch discriminator beats copying and the mean picture, on photographs as well once it has had more
# than a taste of training. On drawings its colours are more definite than those of L1 alone, and its D knows which drawing
# belongs to which picture. Without pairs the cycle learns to turn day to night. The cell below fails if this run says
# otherwise.

# %%
vivid_share, pale_share = (row["colours"] / table["truth"]["colours"] for row in (table["model"], by_l1["model"]))
assert measure(trained, recipe, seed=SEED)["model"]["l1"] < 0.8 * untrained["model"]["l1"], "a short training improves on its start"
assert table["model"]["l1"] < min(table["copy"]["l1"], table["mean picture"]["l1"]), "worse than copying or the mean picture"
assert profile == "quick" or photographs["model"]["l1"] < photographs["copy"]["l1"], "on photographs copying is better"
assert abs(1 - vivid_share) < abs(1 - pale_share), "the colours are no nearer to the truth than with L1 alone"
assert auc >= 0.8 and photographs["auc"] >= 0.8 and abs(untrained["auc"] - 0.5) < 0.15, "D does not compare"
assert end < 0.8 * start, "the cycle did not learn to translate"
print(f"L1 {table['model']['l1']:.3f}, mean picture {table['mean picture']['l1']:.3f}; colours {vivid_share:.0%} of the truth's, L1 alone {pale_share:.0%}; AUC {auc:.2f}")

# %% [markdown]
# ## What this does not show
#
# - More colour is not more truth. The game paints *a* likely picture; where the drawing leaves a choice, it is often not
#   the true one, and it is always the same one for the same drawing.
# - Six photographs are no world of photographs. On another photograph the colours would be those of these six.
# - L1 alone and the game were not given equal time. The figures over several seeds are in `results/`.
# - The day and the night of section 8 differ by colours only. A cycle that has to change shapes is much harder, and it can
#   hide what it must remember in faint patterns that nobody sees.

# %% [markdown]
# ## Exercises
#
# 1. Set `l1=30` in the recipe, then `l1=0`. Which colours come, and do they still stand inside the lines?
# 2. Turn the mismatched pairs off (`mismatch=0` in the config). What becomes of the AUC?
# 3. Train the world with `task="grey"`. What does L1 alone paint for orange and cyan things, and what does the game?
# 4. Draw an outline of your own as a tensor of 32x32 numbers, 1 for paper and -1 for lines, and hand it to `translate`.
#
# The graded exercises of this lesson are in `exercises/07_image2image.ipynb`.
