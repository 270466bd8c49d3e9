# %% [markdown]
# # 10 · Inpainting and outpainting
#
# A part of a picture is missing. What was there? Sometimes the surroundings say it, and sometimes they leave a choice.
# A generator now gets a picture with a hole and fills the hole only. The same network widens a picture beyond its edges,
# because an edge is a hole too.
#
# ## What you will be able to do
#
# - handle masks so that known pixels come back bit for bit
# - measure a repair in the hole alone, beside four ways that learn nothing
# - compute a convolution that skips the hole, and say how far it sees
# - train a repair by L1 and by a game, and say what each is good at
# - fill one hole in several ways, and widen a picture
#
# **Before this lesson:** lesson 07 (image to image). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
from dataclasses import replace

import torch
from mmcourse import checkpoint, inpainting, masks, metrics, pictures, plots, runtime, world
from mmcourse.classical import METHODS, repair
from mmcourse.inpainting import Repairers, fill, fit_hole, hide_thing, play_repair, prepare
from mmcourse.widgets import LivePanel, progress
from torch.nn.functional import conv2d, interpolate, softplus

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
recipe, PINK = inpainting.PROFILES[profile], torch.tensor([1.0, 0.0, 0.7]).view(3, 1, 1)
for name, row in runtime.results("lessons")["lessons"].get("10_inpainting", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. A mask
#
# A mask is a picture of zeros and ones. In this course **1 is the hole** and 0 is known. Other code has it the other way
# round, so say it aloud each time. Holes come in four kinds here. The last one keeps the middle and opens everything around
# it: filling it is called *outpainting*, and it needs no code of its own.

# %%
g = runtime.generator(SEED)
x = world.draw(world.sample_scenes(8, g))  # (8, 3, 32, 32)
holes = {"box": masks.boxes(8, g), "stroke": masks.strokes(8, g), "half": masks.halves(8, g), "border": masks.borders(8)}
rows = [x, *(torch.where(m > 0, PINK, x) for m in holes.values())]
print({name: f"{m.mean():.0%} of the picture" for name, m in holes.items()})
plots.caption_sheet(torch.stack(rows), ["picture", *holes], text_width=70)

# %% [markdown]
# **Predict.** The picture is made smaller, from 32 to 20 pixels a side, and its mask with it. Bilinear resizing mixes
# neighbours. Which values will the mask then hold?

# %%
mask = holes["stroke"][:1]
soft = interpolate(mask, size=20, mode="bilinear", align_corners=False)
hard = interpolate(mask, size=20, mode="nearest-exact")
assert torch.equal(hard, masks.resize(mask, 20))
print(f"hole: {mask.mean():.1%}; nearest: {hard.mean():.1%}; neither 0 nor 1 after bilinear: {((soft > 0) & (soft < 1)).float().mean():.1%}")
print(f"bilinear, all that is not 0: {(soft > 0).float().mean():.1%}; all that is 1: {(soft == 1).float().mean():.1%}")
plots.prompt_strip(torch.cat([hard, soft]) * 2 - 1, ["nearest", "bilinear"])

# %% [markdown]
# A pixel that is half a hole does not exist. Whoever asks `mask > 0` gets a larger hole, and whoever asks `mask == 1` a
# smaller one that lets damaged pixels through. Masks are resized by nearest.
#
# The last step of every repair lays the fill into the hole. Two ways to write it: choose by `torch.where`, or add up
# `mask * fill + (1 - mask) * known`.
#
# **Predict.** The damaged pixels are NaN, as in a file that was not read to its end. What do the two ways give?

# %%
def compose(known, fill, mask):
    return torch.where(mask > 0, fill, known)


mask, grey = holes["box"], torch.zeros_like(x)
damaged = torch.where(mask > 0, torch.nan, x)
chosen, added = compose(damaged, grey, mask), mask * grey + (1 - mask) * damaged
print("NaN left: chosen", int(chosen.isnan().sum()), "  added", int(added.isnan().sum()), "of", damaged.isnan().sum().item())
assert torch.equal(chosen, masks.compose(damaged, grey, mask))
assert torch.equal(torch.where(mask > 0, x, chosen), x)  # the known pixels bit for bit, not nearly

# %% [markdown]
# Zero times NaN is NaN. A choice does not compute with what it does not take. That is the first promise of this lesson:
# nothing under the hole gets in, and nothing outside the hole is changed.
#
# ## 2. What the surroundings tell
#
# Before we train anything, four ways that have never seen another picture. *Mean colour* paints the mean of the known
# pixels. *Telea* and *Navier-Stokes* march inwards from the edge. *Biharmonic* lays the smoothest surface over the hole.
#
# We measure by PSNR in the hole: $10 \log_{10}(4 / \mathrm{error})$ in decibels, where the error is the mean square over
# the hole's numbers and 4 is the square of the range, from -1 to 1. Three decibels more are half the error.
#
# **Predict.** What happens to the PSNR if the known pixels are counted too?

# %%
def hole_psnr(x, truth, mask):
    error = ((x - truth).square() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))  # (B,)
    return -10 * torch.log10(error / 4)


NAMED = dict(zip(METHODS, ("Telea", "Navier-Stokes", "biharmonic", "mean colour"), strict=True))
fills = {name: repair(x, mask, method) for method, name in NAMED.items()}
mean = fills["mean colour"]
assert torch.allclose(hole_psnr(mean, x, mask), metrics.hole_psnr(mean, x, mask))
everywhere = hole_psnr(mean, x, torch.ones_like(mask)).mean()
print(f"mean colour: {hole_psnr(mean, x, mask).mean():.1f} dB in the hole, {everywhere:.1f} dB over the whole picture")
rows = [torch.where(mask > 0, PINK, x), *fills.values(), x]
plots.caption_sheet(torch.stack(rows), ["hole", *fills, "truth"], text_width=115)

# %% [markdown]
# Known pixels have no error and only flatter. So we count the hole alone. For several pictures there are two ways: the mean
# of the decibels, or all holes' squared errors *pooled* into one number. The mean is high where many holes hide nothing but
# ground. The pooled number is ruled by the holes that hide something. We mostly use the pooled one.

# %%
def table(repaired, measure, digits=1):
    print(" " * 14, *(f"{kind:>9}" for kind in where))
    for name, fills in repaired.items():
        print(f"{name:14}", *(f"{measure(fills[kind], test, m):9.{digits}f}" for kind, m in where.items()))


test, where = metrics.holes_of("world", 60, runtime.generator(77))  # scenes and masks for every table below
classical = {name: {k: repair(test, m, method) for k, m in where.items()} for method, name in NAMED.items()}
table(classical, metrics.pooled_psnr)

# %% [markdown]
# `thing` is a square that hides one thing of the scene whole. There the clever ways are no better than the mean: the
# surroundings hold nothing of the thing.
#
# ## 3. A convolution that skips the hole
#
# The network must read a picture with a hole. An ordinary convolution takes the hole's zeros for grey paint. A *partial
# convolution* sums over the known pixels of its window only, and scales up by (pixels in the window) / (known pixels).
#
# **Predict.** A window of nine pixels, all of value 0.6, five of them in the hole. The kernel is the mean. What do the
# two convolutions say about the middle?

# %%
window, kernel, none = torch.full((1, 1, 3, 3), 0.6), torch.full((1, 1, 3, 3), 1 / 9), torch.zeros(1)
gap = torch.tensor([[1.0, 1, 1], [1, 1, 0], [0, 0, 0]]).view(1, 1, 3, 3)
plain = conv2d(window * (1 - gap), kernel).item()
print(f"ordinary {plain:.2f}, partial {plain * 9 / (1 - gap).sum():.2f}")

# %% [markdown]
# Then the mask changes. Where the window held a known pixel, the output is known, so the hole shrinks by one ring. Where
# it held none, the output is 0 and the hole stays. The bias is added after the scaling, or it would be scaled too.

# %%
def partial_conv(x, mask, weight, bias):
    seen = conv2d(1 - mask, torch.ones(1, 1, *weight.shape[2:]), padding=weight.shape[2] // 2)  # known pixels a window
    size = weight.shape[2] * weight.shape[3]
    out = conv2d(x * (1 - mask), weight, padding=weight.shape[2] // 2) * size / seen.clamp(min=1) + bias.view(-1, 1, 1)
    return out * (seen > 0), (seen == 0).float()


weight, bias = torch.randn(5, 3, 3, 3, generator=g), torch.randn(5, generator=g)
for ours, theirs in zip(partial_conv(x, mask, weight, bias), inpainting.partial_conv(x, mask, weight, bias), strict=True):
    assert torch.allclose(ours, theirs, atol=1e-4)

# %% [markdown]
# **Predict.** A hole of 16x16 pixels. After how many layers with a 3x3 kernel is nothing of it left?

# %%
average = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 3, 3) / 9  # each colour's mean over 3x3
h, left, shown = x[:1], torch.zeros(1, 1, 32, 32), []
left[..., 8:24, 8:24] = 1
for layer in range(9):
    shown.append(torch.cat([left.expand(-1, 3, -1, -1) * 2 - 1, torch.where(left > 0, PINK, h)]))
    after, smaller = partial_conv(h, left, average, torch.zeros(3))
    h, left = torch.where(left > 0, after, h), smaller
plots.caption_sheet(torch.stack(shown, dim=1), ["the mask, layer by layer", "means that walk in"], text_width=110)

# %% [markdown]
# The rule is fixed: one known pixel in the window counts as much as nine. A *gated convolution* learns the rule. It
# computes two maps, a feature and a gate, and multiplies the feature by the gate's sigmoid. Ours starts with its gates
# nearly open.

# %%
torch.manual_seed(SEED)
layer = inpainting.GatedConv(4, 1, 1)  # colours and mask in, one feature out
feature, gate = layer.both(inpainting.build_input(x, mask)).chunk(2, dim=1)
assert torch.equal(feature * torch.sigmoid(gate + 1), layer(inpainting.build_input(x, mask)))
with torch.no_grad():  # what it could learn: a gate that reads the mask alone
    layer.both.weight[1] = torch.tensor([0.0, 0, 0, -9]).view(4, 1, 1)
gate = torch.sigmoid(layer.both(inpainting.build_input(x, mask))[:, 1:] + 3)
print(f"gate on known pixels {gate[mask == 0].mean():.2f}, in the hole {gate[mask > 0].mean():.2f}")

# %% [markdown]
# Our network can begin with either (`stem="partial"`, `stem="gated"`). The recipe below takes the plainest: an empty hole,
# and the mask as a fourth channel. Exercise 1 compares them.
#
# ## 4. Two ways to train
#
# G gets noise, a picture and a mask. It sees `build_input`: the picture with zeros in the hole, and the mask. It starts
# from blurred known pixels, may copy known colours, and paints the rest. Its output always goes through `compose`.
#
# The first loss is L1 over the hole's numbers. **Predict.** What would go wrong if we took the mean over the whole picture?

# %%
G, D, sample, extra, config = prepare(recipe, seed=SEED, device=device)
batch = sample(runtime.generator(SEED, device), 0)
real, hole = batch.real, batch.mask
seen = torch.cat([torch.where(hole > 0, 0, real), hole], dim=1)  # (B, 4, 32, 32)
assert torch.equal(seen, inpainting.build_input(real, hole))
z = torch.randn(len(real), config.z, generator=runtime.generator(1)).to(device)
fake = G(z, real, hole).detach()
loss = ((fake - real).abs() * hole).sum() / (3 * hole.sum())
assert torch.allclose(loss, inpainting.hole_l1(fake, real, hole))
print(f"L1 in the hole {loss:.3f}, over the whole picture {(fake - real).abs().mean():.3f}")

# %% [markdown]
# The whole picture's mean would depend on how large the hole is, and small holes would hardly count.
#
# The second loss is the game. D sees a picture and the mask. Two kinds of pictures are fake for it: G's completion, and the
# real content of the hole in **a stranger's surroundings**. The second has perfect pixels; only the fit is wrong.

# %%
strange = compose(real.roll(1, 0), real, hole)  # this hole's content, the neighbour's surroundings
on_real, on_fake, on_strange = D(real, hole), D(fake, hole), D(strange, hole)  # (B, 1)
loss_d = softplus(on_fake - on_real).mean() + softplus(on_strange - on_real).mean()
assert torch.allclose(loss_d, inpainting.guided_d(D, batch, fake, config), atol=1e-4)
rows = torch.stack([torch.where(hole > 0, PINK.to(device), real), fake.clamp(-1, 1), strange, real])[:, :9]
plots.caption_sheet(rows, ["hole", "fake: G's", "fake: a stranger's surroundings", "real"], text_width=110)

# %% [markdown]
# In the game G keeps an L1 term, but a pixel deep in the hole counts less than one at its edge: near the edge there is one
# right answer, deep inside there may be many.
#
# First L1 alone. Then the game goes on from there. **Predict.** Which of the two will have the higher PSNR?

# %%
def score(net, n=48):
    mask = masks.mixed(n, runtime.generator(5))
    z = torch.randn(n, config.z, generator=runtime.generator(6))
    made = fill(net.eval(), test[:n], mask, z)
    return {"PSNR": metrics.pooled_psnr(made, test[:n], mask), "seam": metrics.seam_ratio(made, test[:n], mask)}


start = score(G)
run = fit_hole(G.train(), sample, replace(recipe.alone, seed=SEED))
for step in progress(run, total=recipe.alone.steps, label="L1 alone"):
    pass
alone, by_l1 = step.state.ema, score(step.state.ema)

# %%
z16 = torch.randn(16, config.z, generator=runtime.generator(2))
panel = LivePanel(
    config.steps,
    samples=lambda state: fill(state.ema, test[:16], where["box"][:16], z16),
    measure=lambda state: score(state.ema),
    every=max(1, config.steps // 5),
)
for step in panel(play_repair(G, D, sample, config, extra=extra)):
    pass
end = score(step.state.ema)
for name, row in {"untrained": start, "L1 alone": by_l1, "and the game": end}.items():
    print(f"{name:12}", {k: round(v, 1) for k, v in row.items()})

# %% [markdown]
# On these mixed holes the game does not pay with its PSNR: most of them leave little choice. Section 5 looks at those that
# do. `seam` compares the jumps across the hole's edge with those of the truth; section 6 derives it. In the `quick` profile
# this was only a taste, and from here on we look at the shipped networks. In the other profiles we look at yours.
#
# ## 5. One hole, eight fills
#
# A hole that hides a whole thing leaves a choice. **Predict.** We hand eight different z to the network that was trained by
# L1 alone, and to the one that played on. What does each do with them?

# %%
shipped = checkpoint.load(Repairers, "inpainting")
pale, game = (shipped.alone, shipped.game) if profile == "quick" else (alone.cpu(), step.state.ema.cpu())
nets = {"untrained": prepare(recipe, seed=SEED)[0].eval(), "L1 alone": pale, "game": game}
scenes = world.sample_scenes(24, runtime.generator(31))
truth = world.draw(scenes)
hidden, which = hide_thing(scenes, runtime.generator(32))
z = torch.randn(8, 24, config.z, generator=runtime.generator(33))
many = {name: torch.stack([fill(net, truth, hidden, each) for each in z]) for name, net in nets.items()}
things = inpainting.thing(scenes.labels, which)[:6, 1:4].tolist()
said = [f"hidden: {world.SIZES[c]} {list(world.COLOURS)[b]} {world.SHAPES[a]}" for a, b, c in things]
columns = torch.cat([torch.where(hidden > 0, PINK, truth)[None], many["game"], truth[None]])[:, :6]  # (10, 6, 3, 32, 32)
plots.caption_sheet(columns.transpose(0, 1), said, text_width=130, title="a hole, eight fills by the game, the truth")

# %% [markdown]
# How much could the fills differ? For comparison we draw the same scenes eight times more, each time with another
# scene's shape and colour for the hidden thing. *Spread* is the mean absolute difference between two fills of one hole,
# over the hole's numbers.

# %%
def others(k):
    labels, rows = scenes.labels.clone(), torch.arange(24)
    for column in (1, 2):  # shape and colour of the hidden thing
        labels[rows, column + 3 * which] = scenes.labels.roll(k, 0)[:, column]
    return world.draw(replace(scenes, labels=labels))


many["real things"] = torch.stack([others(k) for k in range(8)])
a, b = many["game"][:2]
by_hand = ((a - b).abs() * hidden).sum((1, 2, 3)) / (3 * hidden.sum((1, 2, 3)))
assert torch.allclose(by_hand, metrics.spread_in_hole(many["game"][:2], hidden))
spread = {name: metrics.spread_in_hole(fills, hidden).mean().item() for name, fills in many.items()}
for name, fills in many.items():
    print(f"{name:11} spread {spread[name]:.3f}, PSNR of the last fill {metrics.pooled_psnr(fills[-1], truth, hidden):4.1f} dB")
names = ["L1 alone", "game", "real things"]
plots.caption_sheet(torch.stack([many[n][:, 1] for n in names]), names, text_width=90, title="one hole, eight z, or eight real things")

# %% [markdown]
# L1 alone has one answer for every z: something between all things, which no thing of the world looks like. It is least
# wrong on average, and that earns decibels. The game commits itself. z turns the colour more than the shape, and many a
# shape is still a mixture of several. Now read the last line: even a *real* thing, of another kind, gets fewer decibels
# than the blur. So PSNR cannot choose between the two where the hole leaves a choice.
#
# ## 6. Seams
#
# A fill may be right inside and still show its edge. We take all pairs of neighbours of which one is known and one is
# filled, and compare their jumps with the truth's. 1 is right. More is a visible seam; less is too smooth.

# %%
def jumps(x, mask):
    return sum((x.diff(dim=axis).abs() * mask.diff(dim=axis).abs()).sum() for axis in (2, 3))


def seam_ratio(x, truth, mask):
    return jumps(x, mask) / jumps(truth, mask)


z = torch.randn(60, config.z, generator=runtime.generator(34))
learned = {name: {k: fill(net, test, m, z) for k, m in where.items()} for name, net in nets.items()}
table(classical | learned | {"truth": dict.fromkeys(where, test)}, seam_ratio, 2)
mine = seam_ratio(learned["game"]["box"], test, where["box"])
assert abs(mine - metrics.seam_ratio(learned["game"]["box"], test, where["box"])) < 1e-3

# %% [markdown]
# A low seam alone is easy: the smooth ways have it, too, and no thing in the hole. Read it beside the PSNR.
#
# ## 7. Outpainting
#
# The hole is the border now: three quarters of the picture. The classical ways have to carry on outwards, where nothing
# holds them.

# %%
border, ten = where["outpaint"], slice(0, 10)
made = [ways["outpaint"] for ways in (classical["biharmonic"], learned["L1 alone"], learned["game"])]
rows = torch.stack([torch.where(border > 0, PINK, test), *made, test])
table(classical | learned, metrics.pooled_psnr)
plots.caption_sheet(rows[:, ten], ["known", "biharmonic", "L1 alone", "game", "truth"], text_width=105)

# %% [markdown]
# Both networks end a thing that the edge cuts off, and go on with the ground. The smooth ways drag its colour outwards.
# Compare the last column of the table: where a thing is hidden whole, L1 alone is ahead of the game.
#
# **Predict.** A network for 32x32 pixels is to make a picture that is 96 pixels wide. How?

# %%
six = test[:6]
wide = inpainting.widen(game, six, runtime.generator(SEED), times=2)  # (6, 3, 32, 96)
assert torch.equal(wide[..., 32:64], six)  # the middle is what it was
blank = PINK.expand(6, 3, 32, 32)
given = torch.cat([blank, six, blank], dim=3)
plots.grid(torch.stack([given, wide], dim=1).flatten(0, 1), columns=2, scale=9, title="given, and three times as wide")

# %% [markdown]
# Each step shows the network a window whose one half is the last 16 columns and whose other half is a hole. Then the window
# moves on. It remembers nothing beyond those columns. In training a hidden half often held a thing: the shipped network
# puts new ones out there, and a shorter training goes on with the ground alone.
#
# ## 8. Error against the size of the hole
#
# **Predict.** Boxes from a twentieth to six tenths of the picture. Where does learning pay most?

# %%
shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
curve = {"step": [100 * s for s in shares]} | {name: [] for name in ("game", *NAMED.values())}
for share in shares:
    mask = masks.boxes(60, runtime.generator(8), share=share)
    ways = {"game": fill(game, test, mask, z)} | {name: repair(test, mask, method) for method, name in NAMED.items()}
    for name, made in ways.items():
        curve[name].append(metrics.pooled_psnr(made, test, mask))
figure = plots.curves(curve, smooth=0, label="PSNR in the hole, dB")
figure.axes[0].set_xlabel("the hole, % of the picture")
figure

# %% [markdown]
# The lead of the game is largest at small boxes, and at six tenths little is left of it: a larger box hides more things
# whole. The mean colour stays low and, from a fifth on, rises a little. Yet the border of section 7 is larger than all of
# these boxes. Size is not what makes a hole hard. What counts is how much of what it hides can be read off its edge.
#
# ## 9. Photographs
#
# The same code on tiles of six photographs; the test tiles come from parts that training never saw. We look at the shipped
# network in every profile.
#
# **Predict.** Will six photographs teach it enough to beat the classical ways?

# %%
photo = checkpoint.load(Repairers, "inpainting_photographs")
tiles, stroke = pictures.tiles(10, runtime.generator(21), split="test"), masks.strokes(10, runtime.generator(22))
made = [repair(tiles, stroke, m) for m in ("telea", "biharmonic")]
made += [fill(net, tiles, stroke, z[:10]) for net in (photo.alone, photo.game)]
rows = [torch.where(stroke > 0, PINK, tiles), *made, tiles]


def figures(name):
    found = checkpoint.card(name)["figures"]
    for kind, row in found["game"].items():
        rows = {"untrained": found["untrained"][kind], "L1 alone": found["alone"][kind], "game": row}
        shown = [f"{k} {v['psnr']:.1f}" for k, v in rows.items()] + [f"{name} {row[f'{m} psnr']:.1f}" for m, name in NAMED.items()]
        print(f"{kind:9}", ", ".join(shown), f"dB; known pixels kept {row['known']:.0%}, n {row['n']}")


figures("inpainting_photographs")
plots.caption_sheet(torch.stack(rows), ["hole", "Telea", "biharmonic", "L1 alone", "game", "truth"], text_width=105)

# %% [markdown]
# It will not: in each line the highest number belongs to a way that learns nothing. At this size a photograph is smooth in
# many places, and much of what a hole hides can be carried on from its edge. Both networks fill a texture with a blur, as
# the smooth ways do. Six photographs teach them little that holds for other parts of these photographs.
#
# ## What was shown
#
# A repair keeps every known pixel. Where the surroundings decide, in outpainting above all, the trained network is ahead of
# the best way that learns nothing. Where they decide nothing, L1 alone has one answer, and the game has several. The cell
# below fails if the shipped network says otherwise; its card's figures come first.

# %%
figures("inpainting")
fresh, places = metrics.holes_of("world", 100, runtime.generator(2024))
made = {kind: fill(shipped.game, fresh, m, torch.randn(100, 8, generator=runtime.generator(3))) for kind, m in places.items()}
for kind, m in places.items():
    assert torch.equal(torch.where(m > 0, fresh, made[kind]), fresh), "a known pixel was changed"
border = places["outpaint"]
ours = metrics.pooled_psnr(made["outpaint"], fresh, border)
rivals = {m: metrics.pooled_psnr(repair(fresh, border, m), fresh, border) for m in METHODS}
assert min(by_l1["PSNR"], end["PSNR"]) > start["PSNR"] + 1, "a short training improves on its start"
assert ours > max(rivals.values()) + 2, "no better than the classical ways in outpainting"
assert spread["game"] > 2 * spread["L1 alone"], "the game's fills are no more diverse than those of L1 alone"
print(f"outpainting: {ours:.1f} dB, the best classical way {max(rivals.values()):.1f} dB; spread {spread['game']:.3f} against {spread['L1 alone']:.3f}")

# %% [markdown]
# ## What this does not show
#
# - A fill that fits is not a fill that is true. The network invents what is hidden; it does not find it. A picture
#   repaired in this way is no evidence of anything.
# - PSNR asks for the one truth that was there. No number here says how plausible a fill is; the spread only says that
#   fills differ.
# - The world's grounds are even. A wide picture of the world is mostly ground, and a window of 16 columns is all that the
#   network remembers of it.
# - One run with one seed is an example. The figures over several seeds are in `results/`.
#
# ## Exercises
#
# 1. Set `stem="gated"`, then `stem="partial"` in the recipe. What do they gain, and what does a step cost?
# 2. Set `kinds=("box",)` in the recipe. How does the network do on strokes and borders that it has never seen?
# 3. Train the game with `l1=0`, then with `l1=60`. What becomes of the PSNR, and what of the spread?
# 4. Repair a photograph of your own: `mmcourse inpaint photo.jpg --mask mask.png`. In JupyterLab, `from mmcourse.painter
#    import MaskPainter` lets you paint the hole.
#
# The graded exercises of this lesson are in `exercises/10_inpainting.ipynb`.
