# %% [markdown]
# # 11 · Text-guided inpainting
#
# Lesson 10 filled a hole from its surroundings. Now the hole swallows a whole thing, and nothing around it tells what was
# there. A sentence does: "a small red circle". G gets the damaged picture, the mask and the sentence, and paints that
# thing into that hole.
#
# ## What you will be able to do
#
# - build an input through which nothing of the hidden pixels passes, and test that with a leak probe
# - let one network fill a hole with a sentence and without one
# - write the loss of a discriminator that holds three kinds of fakes apart from the real picture
# - measure whether the hole shows what was asked, beside a floor, a ceiling and a swapped sentence
# - find out which condition wins when the sentence contradicts the surroundings
#
# **Before this lesson:** lessons 09 (sentences) and 10 (holes). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import random
from dataclasses import replace

import torch
from mmcourse import inpainting, masks, metrics, plots, runtime, text2image, world
from mmcourse.checkpoint import card, load
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.inpainting import Damaged, Inpainter, build_input, drop_text, fill, fit_hole, guided_d, hide_thing, play_repair, prepare, thing
from mmcourse.judge import Judge
from mmcourse.masks import compose
from torch.nn import functional as F

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
pink = lambda x, mask: torch.where(mask > 0, torch.tensor([1.0, 0.0, 0.7])[:, None, None], x)  # noqa: E731
for name, row in runtime.results("lessons")["lessons"].get("11_text_inpainting", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. A whole thing is gone
#
# `hide_thing` chooses one thing of each scene and lays a square over it. `mask` is 1 in the hole, as in lesson 10,
# and the figures show the hole in pink.
#
# **Predict.** Look at the second row alone. Which hole hides a small thing and which a large one?

# %%
g = runtime.generator(SEED + 5)
scenes = world.sample_scenes(8, g, objects=(2,))
real = world.draw(scenes)  # (8, 3, 32, 32)
mask, which = hide_thing(scenes, g, jitter=0.0)  # (8, 1, 32, 32); 0 hides thing A, 1 thing B
plots.caption_sheet(torch.stack([real, pink(real, mask)]), ["picture", "with a hole"], text_width=100, scale=2.5)

# %% [markdown]
# You cannot tell. The square always has the same half side, .32 of the picture's width, about the thing's centre; only the
# picture's edge cuts it. A tight box around the thing would tell its size, and the network would read the answer off the
# mask. In training the square is also nudged a little, so that its place tells nothing more than the thing's place.

# %%
centre = scenes.centre[torch.arange(8), which]  # (8, 2): x and y in picture widths
at = (torch.arange(32) + 0.5) / 32  # the pixels' middles
near = (at - centre[:, :, None]).abs() <= 0.32  # (8, 2, 32): columns for x, rows for y
ours = (near[:, 1, :, None] & near[:, 0, None, :]).float()[:, None]
assert torch.equal(ours, mask) and torch.equal(masks.around(centre), mask)
size = thing(scenes.labels, which)[:, 3]
print({word: mask.sum((1, 2, 3))[size == k].int().tolist() for k, word in enumerate(world.SIZES)}, "pixels in the hole")

# %% [markdown]
# ## 2. Nothing may pass
#
# The network is shown two things: the picture with an empty hole, and the mask as a fourth channel. Without the mask it
# could not tell a hole from a grey thing.
#
# **Predict.** We write NaN under the mask. A product `x * (1 - mask)` computes NaN times 0. What arrives?

# %%
damaged = torch.cat([torch.where(mask > 0, torch.zeros(()), real), mask], dim=1)  # (8, 4, 32, 32)
assert torch.equal(damaged, build_input(real, mask))
poisoned = torch.where(mask > 0, torch.nan, real)
print("NaN by the product:", (poisoned * (1 - mask)).isnan().any().item(), "  by torch.where:", build_input(poisoned, mask).isnan().any().item())
assert torch.equal(build_input(poisoned, mask), damaged)

# %% [markdown]
# `torch.where` chooses, and does not compute with what it drops. The assert proves that what lies under the mask cannot
# reach the network. It does not prove that the mask covers the thing, or that the mask itself is silent. For that we
# *probe*: a reader gets what the network is shown and learns to name the hidden shape, colour or size. It is a *linear*
# reader, the plainest there is: a weighted sum of all input numbers for each class. It learns on one half of the pictures
# and is asked about the other half. If it does better than chance, something leaks. We make reading easy: one thing, always
# in the middle of the picture. Here are four more ways to hide it, all wrong.

# %%
labels = world.sample_labels(1000, runtime.generator(7), objects=(1,))
labels[:, 7] = world.LAYOUTS.index("centre")
many = world.place(labels, runtime.generator(8))
x = world.draw(many)  # (1000, 3, 32, 32)
square, _ = hide_thing(many, runtime.generator(9))
less = -F.max_pool2d(-square, 11, 1, 5)  # the hole without its outer 5 pixels
soft = F.avg_pool2d(square, 17, 1, 8)  # the mask with soft edges
tight = torch.cat([masks.around(c, half=1.4 * r) for c, r in zip(many.centre[:, :1], many.radius[:, 0].tolist(), strict=True)])
shown = {
    "not hidden": torch.cat([x, square], 1),
    "build_input": build_input(x, square),
    "mask 5 pixels too small": build_input(x, less),
    "times a soft mask": torch.cat([x * (1 - soft), square], 1),
    "dimmed to a tenth": torch.cat([x * (1 - 0.9 * square), square], 1),
    "a tight box": build_input(x, tight),
}  # each (1000, 4, 32, 32)
plots.caption_sheet(torch.stack([v[:8, :3] for v in shown.values()]), list(shown), text_width=110)

# %% [markdown]
# **Predict.** From which rows can *you* name the shape or the colour? From which can the linear reader?

# %%
facts = ("shape", "colour", "size")
probe = {name: {f: metrics.leak_probe(v, labels[:, 1 + k]) for k, f in enumerate(facts)} for name, v in shown.items()}
chance = probe["build_input"]
print(f"{'at most, by chance':24}", "  ".join(f"{f} {chance[f]['high']:.2f}" for f in facts))
for name, row in probe.items():
    leaks = [f for f in facts if row[f]["right"] > row[f]["high"]]
    print(f"{name:24}", "  ".join(f"{f} {row[f]['right']:.2f}{'!' if f in leaks else ' '}" for f in facts))
    assert leaks == {"build_input": [], "a tight box": ["size"]}.get(name, list(facts))

# %% [markdown]
# An exclamation mark stands where the reader beats the upper end of chance's 95 % interval. `build_input` has none. The
# rim that a small mask leaves free tells the size, and a tenth of the contrast tells more of the colour. The tight box
# hides every pixel, and yet the reader names every size: it counts the mask. With a leak, training would go well and every
# figure would be wrong.
#
# ## 3. Sentences for a hole
#
# Two kinds of sentence are of use. A *hole caption* tells the hidden thing alone. A *whole caption* tells the picture; what
# the hole should show, the network must work out from what is still visible. The training shows both, half and half. A
# sentence may leave facts open: "a red shape" says nothing of shape and size.

# %%
space, judge = load(Space, "space"), load(Judge, "judge")
encode = text2image.encoder(space, vocabulary())  # captions to unit vectors (B, 64), as in lesson 09
rng = random.Random(SEED)
stated = thing(scenes.labels, which)  # (8, 8): shape, colour and size of the hidden thing, all else open
said = world.captions(stated, rng)
changed = inpainting.change_one(stated, runtime.generator(2))  # one fact is another
false = world.captions(changed, rng)
for i in range(4):
    print(f"hole: {said[i]:32} false: {false[i]:32} whole: {world.say(scenes.labels[i], 'en', rng)}")

# %% [markdown]
# And no sentence? One network shall do both: complete a picture as asked, and complete it when nobody asks. So in training
# some sentences are dropped, whole rows at a time, and a row of zeros stands for silence.

# %%
text = encode(said)  # (8, 64)
keep = torch.rand(8, 1, generator=runtime.generator(9)) >= 0.5  # (8, 1): one decision a row
dropped = torch.where(keep, text, torch.zeros_like(text))
assert torch.equal(dropped, drop_text(text, 0.5, runtime.generator(9)))
print("rows that still say something:", (dropped != 0).any(1).int().tolist())

# %% [markdown]
# G *whitens* the sentence first, as in lesson 09: subtract the mean, even out the directions.
#
# **Predict.** Whitening turns a row of zeros into what: zeros, something small, or something as loud as a sentence?

# %%
recipe = inpainting.GUIDED[profile]
G, D, sample, extra, config = prepare(recipe, space=space, encode=encode, seed=SEED, device=device)
real, mask, text, dropped = (t.to(device) for t in (real, mask, text, dropped))
z = torch.randn(8, config.z, generator=runtime.generator(4)).to(device)
print(f"length of a whitened sentence: {G.whiten(text).norm(dim=1).mean():.1f}, of whitened silence: {G.whiten(0 * text[:1]).norm():.1f}")
told = (dropped != 0).any(1, keepdim=True).float()  # (8, 1): is anything said?
style = F.leaky_relu(G.map(torch.cat([z, G.whiten(dropped) * told, told], dim=1)), 0.2)  # (8, 128)
assert torch.equal(style, G.style(z, dropped))

# %% [markdown]
# The mean is subtracted from zeros too, so whitened silence is not zero: G could take it for a faint sentence. The product
# with `told` makes it exactly zero, and `told` itself is one more number, so that G can tell "nothing was said" from an
# average sentence. Noise, sentence and `told` become one `style`, which modulates every block of the U-Net of lesson 10.
#
# ## 4. Three kinds of fakes
#
# D sees a picture, the mask and the sentence. It has to hold the real picture above three kinds of fakes:
#
# 1. G's completion;
# 2. *strange surroundings*: the real content of the hole, set into somebody else's picture. Every pixel is real; only the
#    fit across the edge is wrong;
# 3. the real picture with a *false sentence*.
#
# **Predict.** For each of the three: what must D look at to see through it?

# %%
batch = Damaged(real, mask, text, encode(false).to(device))
completion = G(z, real, mask, text)  # untrained
strange = compose(real.roll(1, 0), real, mask)  # this picture's hole, that picture's surroundings
rows = torch.stack([real, completion.detach().clamp(-1, 1), strange]).cpu()
plots.caption_sheet(rows, ["real", "G's completion (untrained)", "strange surroundings"], text_width=110)

# %% [markdown]
# Without the second kind D could forgive any seam, and without the third it could ignore the sentence: real pictures would
# always come with a true one. The losses are lesson 09's relativistic pairs, three of them, here with equal weights.

# %%
on_real, on_completion = D(real, mask, text), D(completion.detach(), mask, text)  # (8, 1) each
on_strange, on_false = D(strange, mask, text), D(real, mask, batch.wrong)
loss = F.softplus(on_completion - on_real).mean() + F.softplus(on_strange - on_real).mean() + F.softplus(on_false - on_real).mean()
assert torch.allclose(loss, guided_d(D, batch, completion, config), atol=1e-4)
for name, fake in {"completion": on_completion, "strange surroundings": on_strange, "false sentence": on_false}.items():
    print(f"{name:21} below the real one in {(fake < on_real).sum().item()} of 8 pairs")

# %% [markdown]
# D starts with the image tower of lesson 08 as its eyes, so it need not learn what a star is. It starts blind to the mask.
#
# ## 5. Training
#
# As in lesson 10: first G alone, by the hole's L1, then the game. In the game L1 counts at the hole's edge and hardly in its
# middle, where more than one answer is right. Early on a further term pulls the picture towards its caption, as in lesson 09.
#
# **Predict.** G alone reads the sentence too. Which will it draw by L1 alone: a sharp thing, a blurred one, none?

# %%
from mmcourse.widgets import LivePanel, progress

g = runtime.generator(77)
exam = world.sample_scenes(100, g)
truth, (hole, meant) = world.draw(exam), hide_thing(exam, g)
wanted, noise = thing(exam.labels, meant), torch.randn(100, config.z, generator=g)
asked = encode(world.captions(wanted, random.Random(1)))  # (100, 64)


def measure(state):
    made = fill(state.ema, truth, hole, noise, asked)
    found = metrics.thing_right(judge, made, wanted, meant)  # (100, 3)
    row = dict(zip(facts, found.float().mean(0).tolist(), strict=True))
    return {"L1": inpainting.hole_l1(made, truth, hole).item(), **row, "all": found.all(1).float().mean().item()}


start = measure(type("Start", (), {"ema": G.eval()}))
G.train()
print({k: round(v, 2) for k, v in start.items()})

# %%
for alone in progress(fit_hole(G, sample, replace(recipe.alone, seed=SEED)), total=recipe.alone.steps, label="by L1 alone"):
    pass
by_l1 = measure(alone.state)
only_shares = lambda state: {k: v for k, v in measure(state).items() if k != "L1"}  # noqa: E731
panel = LivePanel(config.steps, samples=lambda state: fill(state.ema, truth[:16], hole[:16], noise[:16], asked[:16]), measure=only_shares)
for step in panel(play_repair(G, D, sample, config, extra=extra)):
    pass

# %%
end = measure(step.state)
flat = inpainting.hole_l1(inpainting.pull_push(truth, hole), truth, hole).item()
print("L1 in the hole: background painted over", f"{flat:.2f}")
for name, row in {"untrained": start, "by L1 alone": by_l1, "after the game": end}.items():
    print(f"{name:14}", {k: round(v, 2) for k, v in row.items()})
rows = [pink(truth, hole), *(fill(s.ema, truth, hole, noise, asked) for s in (alone.state, step.state)), truth]
plots.caption_sheet(torch.stack(rows)[:, :8], ["with a hole", "by L1 alone", "after the game", "truth"], text_width=110)

# %% [markdown]
# L1 alone first finds the background, which fills most of the hole. With more steps come blurred blobs in about the right
# colour: a sharp thing in the wrong place would cost more. In `quick` both runs have only begun, and neither beats painting
# the background over. From here on `quick` looks at the shipped model; the other profiles look at the one just trained.

# %%
model = load(Inpainter, "inpainting_text") if profile == "quick" else step.state.ema.cpu().eval()
about = card("inpainting_text")
print(f"the shipped model: {about['steps']['alone']} + {about['steps']['game']} steps; its card says, seen: {about['figures']['seen']['right']:.1%} right")

# %% [markdown]
# ## 6. One hole, several sentences
#
# The sentence changes from row to row, the noise from column to column.
#
# **Predict.** What may the noise still decide in the first row, and what in the last?

# %%
view = world.place(world.statements(["a large green ring left of a small blue star"]), runtime.generator(12))
seen, spot = world.draw(view), masks.around(view.centre[:, 0])
sentences = ["a small red circle", "a large red circle", "a small red star", "a large purple square", "小的黑色的三角形", "一个大的黄色的十字", "a yellow circle", "a small orange cross left of a blue star", ""]
told = torch.cat([encode([s]) if s else torch.zeros(1, 64) for s in sentences])  # (9, 64), the last row silent
k = 4
zs = torch.randn(k, config.z, generator=runtime.generator(13)).repeat(len(sentences), 1)  # one noise a column
made = fill(model, seen.expand(9 * k, -1, -1, -1), spot.expand(9 * k, -1, -1, -1), zs, told.repeat_interleave(k, 0))
assert torch.equal(torch.where(spot > 0, seen, made), seen.expand_as(made))
poisoned = torch.where(spot > 0, torch.nan, seen)
assert torch.equal(fill(model, poisoned, spot, zs[:1], told[:1]), fill(model, seen, spot, zs[:1], told[:1]))
sheet = torch.cat([pink(seen, spot).expand(9, 1, -1, -1, -1), made.view(9, k, 3, 32, 32)], dim=1)  # the hole first
spread = metrics.spread_in_hole(made.view(9, k, 3, 32, 32).transpose(0, 1), spot.expand(9, -1, -1, -1))  # (9,)
others = world.draw(replace(exam, labels=exam.labels.roll(1, 0)))  # other things in the same places
real_spread = metrics.spread_in_hole(torch.stack([truth, others]), hole).mean()
print(f"spread over the noise: with a sentence {spread[:-1].mean():.3f}, without {spread[-1]:.3f}; between real pictures {real_spread:.3f}")
plots.caption_sheet(sheet, [s or "(no sentence)" for s in sentences], scale=2.5)

# %% [markdown]
# One network, one hole, nine answers. The Chinese sentences work like the English ones, since both meet in one space. "A
# yellow circle" is a pair that no training picture showed, and no training sentence told. The long sentence describes the
# whole picture; its second half is already there. Without a sentence G paints something, of no clear kind.
#
# The columns hardly differ: G obeys the sentence and makes little use of the noise. Where a sentence tells all three facts,
# little is left to decide. In the last row nearly everything is open, and real pictures with other things in the same place
# differ far more than these fills. So what G paints in silence is one guess, not the many that are possible. Nothing in its
# loss asks for variety.
#
# Outside the hole nothing changes, in any of them: every known pixel is the old one, bit for bit. And with NaN under the
# mask the fills are the same. The cell asserts both.
#
# ## 7. Is it right?
#
# The independent judge reads the thing in the hole. `right`: told by a hole caption. `whole`: told by a caption of the whole
# picture. `swapped`: the sentence tells another thing than the one that was hidden, different in one fact, and *that* one
# must appear. `no_text` is the floor: nothing is said. `truth` is the ceiling: the judge on the undamaged picture.
#
# **Predict.** Shape, colour and size must all be right. By chance, how often are they, with 6 shapes, 8 colours, 2 sizes?

# %%
n = 200 if profile == "quick" else 1000
table = metrics.measure_guided(model, judge, encode, n=n, seed=SEED)
for name, row in table.items():
    print(f"{name:9}", {k: f"{100 * row[k]:.1f} %" for k in ("right", "whole", "swapped", "no_text", "truth")})
    print(f"{'':9} right: 95 % interval {100 * row['low']:.1f} to {100 * row['high']:.1f} %;", {k: f"{row[k]:.2f}" for k in facts}, f"seam ratio {row['seam']:.2f}")
    print(f"{'':9} leak:", {k: f"{v['right']:.2f} (chance: up to {v['high']:.2f})" for k, v in row["leak"].items()})
row = table["seen"]
shares = {"hole caption": row["right"], "whole caption": row["whole"], "swapped": row["swapped"], "held out, hole caption": table["held_out"]["right"], "untrained, hole caption": start["all"]}
plots.bars(shares, floor=row["no_text"], ceiling=row["truth"], floor_label="no text", title="shape, colour and size all right")

# %% [markdown]
# The whole caption is the hardest: G must first find out which of its two things is missing. The figure to trust most is
# `swapped`. A network that guessed the hidden thing from some leak would do well in `right` and badly here, because what it
# guessed would be the wrong answer.
#
# ## 8. Two conditions that disagree
#
# A hole caption for a thing that is hidden whole contradicts nothing. Now we hide only a part, from the right, and ask for
# the same shape in another colour. Half of a red circle is still there; the sentence says "a large blue circle". In
# training the two always agreed, so nobody has told G whom to believe.
#
# **Predict.** Whom does the fill obey: the sentence or the surroundings? Does it depend on how much is hidden?

# %%
labels = world.sample_labels(150, runtime.generator(21), objects=(1,))
labels[:, 3], labels[:, 7] = world.SIZES.index("large"), world.LAYOUTS.index("centre")
other = labels.clone()
other[:, 2] = (labels[:, 2] + 3) % len(world.COLOURS)  # the sentence's colour
labels, other = (t[~world.holds_out(other)] for t in (labels, other))
part = world.place(labels, runtime.generator(22))
x, whole = world.draw(part), masks.around(part.centre[:, 0])
paint = 2 * torch.tensor([world.RGB[c] for c in world.COLOURS]) - 1  # (8, 3)
colours = torch.stack([paint[other[:, 2]], paint[labels[:, 2]], 2 * part.background - 1], 1)  # (B, 3 answers, 3)
inside = (x - colours[:, 1, :, None, None]).abs().amax(1, keepdim=True) < 0.1  # (B, 1, 32, 32): on the thing
column = ((torch.arange(32) + 0.5) / 32 - part.centre[:, 0, :1]) / part.radius[:, :1]  # (B, 32), in radii

# %%
sentence = encode([world.say([1, *r[1:4], *[-1] * 4], "en", rng, plain=True) for r in other.tolist()])
zs = torch.randn(len(x), config.z, generator=runtime.generator(23))
obeys, examples = {}, []
for cut in (-9.0, -0.5, 0.0, 0.5):
    gap = whole * (column > cut).float()[:, None, None, :]
    for kind, text in {"false sentence": sentence, "no sentence": 0 * sentence}.items():
        made = fill(model, x, gap, zs, text)
        apart = (made[:, None] - colours[..., None, None]).abs().sum(2)  # (B, 3, 32, 32): to each of the three
        counted = apart.argmin(1)[(inside & (gap > 0))[:, 0]].bincount(minlength=3)
        hidden = f"{(inside & (gap > 0)).sum() / inside.sum():.0%} hidden"
        obeys[hidden, kind] = counted / counted.sum()
        print(f"{hidden:12} {kind:15}", {k: f"{v:.2f}" for k, v in zip(("sentence", "surroundings", "background"), obeys[hidden, kind].tolist(), strict=True)})
        examples += [(f"{hidden}, {kind}", pink(x, gap)[:8], made[:8])]
by_share = {hidden: share[0].item() for (hidden, kind), share in obeys.items() if kind == "false sentence"}
plots.bars(by_share, label="share of the fill, on the thing, in the sentence's colour", title="whom the fill obeys")

# %%
picked = [e for e in examples if e[0].endswith("false sentence")][1:]
wishes = [world.COLOURS[r[2]] for r in other[:8].tolist()]
rows = [p for _, before, after in picked for p in (before, after)]
plots.caption_sheet(torch.stack(rows), [t for name, *_ in picked for t in (name.split(",")[0], "filled")], text_width=100, columns=wishes, title="above each column: the colour that the sentence asks for")

# %% [markdown]
# Neither wins outright. Where nothing of the thing is left, the sentence has its way. The more is left, the more the fill
# goes on with the visible colour, and where only a sliver is missing, the surroundings win. In between you see both: a ring
# of two colours, or a muddy mixture. With no sentence the visible colour goes on, or the fill stops too early and paints
# background.
#
# No loss asked for this balance. G learned from cases in which both conditions were true; what it does when one is false is
# a by-product, and another run may settle elsewhere.
#
# ## 9. A listing that calls itself text-guided inpainting
#
# The article of lesson 09 has a second listing, under the title of text-guided inpainting. It is the same code again: noise
# and a sentence go in, a picture comes out. No damaged picture enters, and no mask. The painter of lesson 09 is such
# a function, and it works.
#
# **Predict.** How many known pixels does it keep? And if we paste its answer into the hole, what do we get?

# %%
painter = text2image.Painter(space, load(text2image.Generator, "text2image"))
phrases = world.captions(wanted, random.Random(1))
drawn = painter.draw(phrases, runtime.generator(31))  # (100, 3, 32, 32): its arguments hold no picture and no mask
answers = {"listing": drawn, "listing, pasted": compose(truth, drawn, hole), "ours": fill(model, truth, hole, noise, asked)}
known = (hole == 0).expand_as(truth)
kept = {name: (made == truth)[known].float().mean().item() for name, made in answers.items()}
for name, made in answers.items():
    place = meant if name != "listing" else 0 * meant  # a picture of one thing alone: it is thing A
    right = metrics.thing_right(judge, made, wanted, place).all(1).float().mean()
    print(f"{name:15} known pixels kept {kept[name]:.1%}, seam ratio {metrics.seam_ratio(made, truth, hole):.1f}, right {right:.0%}")
rows = [pink(truth, hole), *answers.values(), truth]
plots.caption_sheet(torch.stack(rows)[:, :8], ["with a hole", *answers, "truth"], text_width=110)

# %% [markdown]
# The listing cannot keep what it was never given. Pasting keeps the known pixels by force, but the painter does not know
# where the hole is: it draws its thing anywhere, on a background of its own, and the square cuts it off. A mask that
# enters at the end only is no inpainting. Ours reads the mask at the start and keeps its promise at the end.
#
# On the command line the same model fills a hole in a file: `mmcourse inpaint photo.jpg --mask mask.png --text "a small red
# circle"`. The mask painter lets you paint the hole with the mouse. But this model has never seen a photograph.
#
# ## What was shown
#
# Nothing of the hidden pixels passes, and yet the hole shows what the sentence says: for compositions that no training
# showed too, and for a sentence that was swapped. Without the sentence it does not. Where sentence and surroundings disagree,
# it depends on how much is hidden. The cell below fails if this run says otherwise.

# %%
seen_row, rare = table["seen"], table["held_out"]
assert max(by_l1["L1"], end["L1"]) < 0.8 * start["L1"], "a short training improves on its start"
assert seen_row["right"] >= 0.9 and seen_row["swapped"] >= 0.85, "this run is worse than the lesson claims"
assert rare["right"] >= 0.7, "this run is worse than the lesson claims on held-out pairs"
assert all(3 * r["no_text"] <= r["right"] for r in table.values()), "the hole is filled right without being told"
assert all(p["right"] <= p["high"] for p in probe["build_input"].values()), "something leaks"
obeyed = list(by_share.values())  # from all hidden to a sliver
assert obeyed[0] >= 0.8 and obeyed[-1] < 0.5, "one condition always wins"
assert kept["ours"] == 1 and all(r["known"] == 1 for r in table.values()) and kept["listing"] < 0.01
print(f"right {seen_row['right']:.1%}, held out {rare['right']:.1%}, swapped {seen_row['swapped']:.1%}, without text {seen_row['no_text']:.1%}")

# %% [markdown]
# ## What this does not show
#
# - A linear reader at chance is no proof that nothing leaks; a cleverer reader may find more. The pixels have the
#   assert with NaN; the mask's size and place have only the probe.
# - The hidden thing is always where a thing may stand, and the square is about its centre. A hole with no thing in it, or
#   with two, was never measured.
# - The judge is a network, the world is small, and no photograph was measured.
# - Right does not mean varied: this G hardly uses its noise.
# - The balance of section 8 was measured on one run, on things cut from the right, for a colour.
#
# ## Exercises
#
# 1. Set `silent=0` in the recipe (`replace(recipe, silent=0.0)`). What does the network paint without a sentence?
# 2. Turn both further kinds of fakes off (`mismatch=0` in the config). Which suffers: `swapped`, the seam ratio, or both?
# 3. Give a whole caption that contradicts the *visible* thing. Does it disturb the fill?
# 4. Shrink the hole pixel by pixel. From which size on does the leak probe name the colour?
#
# The graded exercises of this lesson are in `exercises/11_text_inpainting.ipynb`.
