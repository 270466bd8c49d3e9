# %% [markdown]
# # 04 · An image GAN
#
# On the ring a sample was a point with two numbers. A grey picture of 32x32 pixels is a point with 1,024 numbers. The game
# stays the same, and so does the loop. What changes is the networks: they must know that pixels have neighbours.

# %% [markdown]
# ## What you will be able to do
#
# - compute what strides, transposed convolutions and pixel-shuffle do to a picture's size
# - read G and D cell by cell, and say why their blocks have no normalisation
# - write one training step on pictures, and the average of G over time
# - judge a run by numbers with a floor and a ceiling, by its spectrum and by the nearest training pictures
# - walk from one noise to another without leaving the place where noise lives
#
# **Before this lesson:** lessons 01 to 03. **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import copy

import torch
from mmcourse import distances, fast, gan, plots, runtime
from mmcourse.checkpoint import load
from mmcourse.features import FeatureNet
from mmcourse.metrics import diversity
from mmcourse.pictures import labelled
from torch import nn
from torch.nn import functional as F

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
N = {"quick": 1000, "cpu": 5000, "gpu": 10000}[profile]  # pictures in every final measure
DATA = {"quick": "digits", "cpu": "mnist", "gpu": "mnist"}[profile]
for name, row in runtime.results("lessons")["lessons"].get("04_image_gan", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. A picture is a point
#
# The training pictures are handwritten digits, each a row of 1,024 numbers between -1 and 1. In the `quick` profile they
# are the small set that comes with scikit-learn. Else they are MNIST.
#
# **Predict.** Take two real points and go half of the way from one to the other. Is the point in the middle a digit? And
# what does a random point look like?

# %%
data = labelled(DATA)
a, b = data.pictures(slice(0, 6)), data.pictures(slice(6, 12))  # (6, 1, 32, 32) each
anywhere = 2 * torch.rand(6, 1, 32, 32, generator=runtime.generator(SEED)) - 1
words = [word for word in ("real", "another real", "half way", "anywhere") for _ in range(6)]
plots.grid(torch.cat([a, b, (a + b) / 2, anywhere]), columns=6, titles=words, title=f"{data.title}: {len(data)} pictures")

# %% [markdown]
# The middle of two digits is two digits, each half as bright. Real pictures fill a tiny part of this space. G has to send
# noise there, and D has to see what lies outside.
#
# ## 2. Layers that shrink and grow
#
# A convolution reads a window of k x k pixels and moves on by the *stride* s. With d pixels between the window's points
# (dilation) it spans d(k - 1) + 1 pixels. Padding adds p pixels on both sides. So the new size is
#
# $$\left\lfloor \frac{n + 2p - d(k-1) - 1}{s} \right\rfloor + 1.$$
#
# **Predict.** Which size comes out for n = 32, k = 4, s = 2, p = 1? And for k = 3 with the same stride and padding?

# %%
def size_after(n, k, s=1, p=0, d=1):
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


for k, s, p, d in [(3, 1, 1, 1), (4, 2, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (5, 3, 0, 1)]:
    layer = nn.Conv2d(1, 1, k, stride=s, padding=p, dilation=d)
    assert layer(torch.zeros(1, 1, 32, 32)).shape[-1] == size_after(32, k, s, p, d)
    print(f"k {k}, stride {s}, padding {p}, dilation {d}: 32 -> {size_after(32, k, s, p, d)}")

# %% [markdown]
# Both give 16. The floor hides a pixel: with k = 3 the last window stops one pixel before the padded edge.
#
# G needs the way back. A *transposed* convolution turns the reading round: every input pixel **writes** a window of k x k
# pixels, the windows lie s pixels apart, and where two overlap their values add up.
#
# **Predict.** All inputs and all weights are 1, and the stride is 2. Is the output flat for k = 3? For k = 4? For k = 2?

# %%
flat = torch.ones(1, 1, 6, 6)
written = []
for k, p in ((3, 1), (4, 1), (2, 0)):
    counts = F.conv_transpose2d(flat, torch.ones(1, 1, k, k), stride=2, padding=p)  # how many windows wrote each pixel
    written.append(F.interpolate(counts[:, :, 1:-1, 1:-1], size=8) / 3 - 1)  # 0 would be black
words = ["k 3, stride 2", "k 4, stride 2", "k 2, stride 2"]
plots.grid(torch.cat(written), columns=3, titles=words, scale=5, title="brighter: more windows wrote here")

# %% [markdown]
# With k = 3 pixels are written once, twice or four times: a checkerboard before anything was learned. With k = 4 every
# pixel is written four times, with k = 2 once. So k should be a multiple of s.
#
# This course takes k = s = 2 and writes it in another way. A convolution at the *small* size makes four channels for each
# one that is wanted. *Pixel-shuffle* lays these four down as a square of 2x2 pixels. The inverse is the first thing that D
# does: each square of 2x2 pixels becomes four channels, and nothing is lost.

# %%
def unshuffle(x):
    h = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, H/2, 2, W/2, 2)
    return h.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (B, 4*C, H/2, W/2)


assert torch.equal(unshuffle(a), F.pixel_unshuffle(a, 2))
assert torch.equal(F.pixel_shuffle(unshuffle(a), 2), a)  # there and back
h, weight = torch.randn(1, 5, 8, 8, generator=runtime.generator(1)), torch.randn(5, 1, 2, 2, generator=runtime.generator(2))
by_shuffle = F.pixel_shuffle(F.conv2d(h, weight.flatten(1).T[:, :, None, None]), 2)  # (1, 1, 16, 16)
assert torch.allclose(by_shuffle, F.conv_transpose2d(h, weight, stride=2), atol=1e-5)

# %% [markdown]
# The last line says: pixel-shuffle behind a convolution *is* a transposed convolution whose windows do not overlap. But
# all arithmetic happens at the small size, where it is cheap, and the convolution may read 3x3 small pixels. The price: the
# four channels have weights of their own. Nothing but training makes them agree. Section 8 looks whether they do.
#
# ## 3. A block that starts as nothing
#
# Between the changes of size both networks use *residual blocks*: x + conv(act(conv(act(x)))). The second convolution
# starts at zero, so a new block hands x through unchanged.
#
# **Predict.** Stack 20 blocks. How large is the signal behind them with that start, and how large with a usual start?

# %%
from mmcourse.layers import ResBlock, conv

torch.manual_seed(SEED)
x = torch.randn(8, 16, 8, 8)  # (B, C, H, W)
blocks = nn.Sequential(*(ResBlock(16) for _ in range(20)))
assert torch.equal(blocks(x), x)
for block in blocks:
    block.two = conv(16, 16)  # the usual start
print(f"spread in front {x.std():.2f}; behind 20 blocks: zero start {x.std():.2f}, usual start {blocks(x).std():.3g}")

# %% [markdown]
# With a usual start the signal grows from block to block. Older GANs hold it down with batch normalisation. This one need
# not, and there is a second reason to leave it out.
#
# **Predict.** One picture, twice: once in a batch with digits, once in a batch with noise. Which blocks give it the same
# numbers both times?

# %%
company = [torch.cat([a[:1], others]) for others in (b, anywhere)]  # (7, 1, 32, 32) twice; the first picture is the same
for name, norm in (("no normalisation", nn.Identity()), ("batch norm", nn.BatchNorm2d(8))):
    layers = nn.Sequential(conv(1, 8), norm, nn.LeakyReLU(0.2)).train()
    one, other = (layers(batch)[0] for batch in company)
    print(f"{name:17} the same picture differs by {(one - other).abs().mean():.3f}")

# %% [markdown]
# With batch normalisation a picture's logit depends on its neighbours. The penalties of lesson 03 ask for the slope of
# *one* logit in *one* picture, and that question then has no clean answer.
#
# ## 4. G and D, shape by shape
#
# `prepare` makes both networks. We walk through each by hand and compare with its own `forward`. G's blocks have one
# addition: noise does not enter at the bottom alone. A linear layer turns z into w, and inside every block w scales and
# shifts each channel. At the start it scales by 1 and shifts by 0.
#
# **Predict.** What does G draw before it has learned anything: black, grey noise, or something with a structure?

# %%
G, D, sample, config = gan.prepare(data, gan.PROFILES[profile], seed=SEED, device=device)
untrained = copy.deepcopy(G).cpu().eval()
z = torch.randn(16, config.z, generator=runtime.generator(SEED)).to(device)  # (B, 64)
shapes = {"z": z, "linear: w": (w := F.leaky_relu(G.map(z), 0.2))}
shapes["linear"] = h = G.base(w).view(len(z), -1, 8, 8)
for block in G.early:
    shapes["blocks at 8x8"] = h = block(h, w)
shapes["1x1 convolution"] = h = G.up[0](F.leaky_relu(h, 0.2))
shapes["pixel-shuffle"] = h = F.pixel_shuffle(h, 2)
for block in G.late:
    shapes["blocks at 16x16"] = h = block(h, w)
shapes["3x3 convolution"] = h = G.head[0](F.leaky_relu(h, 0.2))
shapes["last shuffle"] = fake = F.pixel_shuffle(h, 2)
assert torch.allclose(fake, G(z), atol=1e-5) and fake.shape == (16, 1, 32, 32)
print("\n".join(f"{name:16} {tuple(h.shape)}" for name, h in shapes.items()))
plots.grid(untrained(z.cpu()).detach(), columns=8, title="G before training")

# %% [markdown]
# It is noise with a pattern that comes back every four pixels: each of the 8x8 small pixels that the linear layer writes
# becomes a square of 4x4, whose sixteen places have weights of their own.
#
# Many GANs end in tanh, which keeps pixels between -1 and 1. Ours does not. Most pixels here are black, -1, and there the
# slope of tanh, 1 - tanh², is 0: a G gone black would hardly learn any more. So D alone keeps the pixels in range
# while training. A trained G is set to `eval`, and then clips.
#
# D goes the same way back. It shrinks by pixel-unshuffle alone, and ends in one logit a picture.

# %%
t = D.trunk
shapes = {"picture": fake, "unshuffle": (h := F.pixel_unshuffle(fake, 2)), "3x3 convolution": (h := t.stem(h))}
shapes["blocks at 16x16"] = h = nn.Sequential(*t.early)(h)
shapes["unshuffle, 1x1"] = h = t.down(F.pixel_unshuffle(h, 2))
shapes["blocks at 8x8"] = h = nn.Sequential(*t.late)(h)
shapes["unshuffle, 1x1 again"] = h = t.last(F.pixel_unshuffle(h, 2))
shapes["linear"] = h = F.leaky_relu(t.out(F.leaky_relu(h, 0.2).flatten(1)), 0.2)
shapes["logit"] = h = D.out(h)
assert torch.allclose(h, D(fake), atol=1e-5) and h.shape == (16, 1)
print("\n".join(f"{name:20} {tuple(h.shape)}" for name, h in shapes.items()))

# %% [markdown]
# ## 5. One step, by hand
#
# This is lesson 01's step on pictures, with lesson 03's relativistic losses. D's penalty is the squared slope of each
# logit in its own picture, over all of the picture's pixels. It is dear, so it is computed in every eighth step only and
# then weighs eight times as much.

# %%
def one_step(G, D, opt_g, opt_d, real, z, weight):
    fake = G(z)  # (B, 1, 32, 32)
    both = torch.cat([real, fake.detach()]).requires_grad_(True)  # (2*B, 1, 32, 32)
    logits = D(both)  # (2*B, 1)
    on_real, on_fake = logits.chunk(2)
    loss_d = F.softplus(on_fake - on_real).mean()
    (slope,) = torch.autograd.grad(logits.sum(), both, create_graph=True)  # (2*B, 1, 32, 32)
    penalty = weight * slope.square().sum((1, 2, 3)).mean()
    opt_d.zero_grad()
    (loss_d + penalty).backward()
    opt_d.step()

    with torch.no_grad():
        on_real = D(real)
    loss_g = F.softplus(on_real - D(fake)).mean()  # under the D that has just moved
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
    return {"d": loss_d.item(), "g": loss_g.item(), "penalty": penalty.item()}

# %% [markdown]
# **Predict.** Why is there a `detach` in the second line, and none where G's loss is computed?
#
# The library's loop is `play`. Its first step, from the same weights and the same seed, must give the same losses and
# move the weights to the same place.

# %%
from mmcourse.train import play, update_ema

G1, D1 = copy.deepcopy(G), copy.deepcopy(D)
opt_g, opt_d = (torch.optim.Adam(m.parameters(), lr=config.lr_at(0), betas=config.betas) for m in (G1, D1))
rng = runtime.generator(config.seed, device)
real = sample(rng, 0).real  # (B, 1, 32, 32)
z1 = torch.randn(len(real), config.z, generator=rng, device=device)
ours = one_step(G1, D1, opt_g, opt_d, real, z1, config.gamma_at(0) * config.reg_every)
theirs = next(play(copy.deepcopy(G), copy.deepcopy(D), sample, config))
for name, value in ours.items():
    print(f"{name:8} ours {value:.5f}, play {theirs.losses[name]:.5f}")
    assert abs(value - theirs.losses[name]) <= 1e-4 * (1 + abs(value))
moved = (G1.base.weight - G.base.weight).abs().mean()
assert (G1.base.weight - theirs.state.G.base.weight).abs().mean() < 0.02 * moved

# %% [markdown]
# The first `detach` keeps D's loss away from G, which would learn to be caught. G's own loss must reach G, and it can do so
# only through D.
#
# ## 6. The average of G
#
# Each step moves G a little too far, now this way, now that way. An *exponential moving average* keeps a second copy of G:
# after each step, average = decay x average + (1 - decay) x G. A step from k steps ago then counts
# (1 - decay) decay^k, so the average looks back over about 1 / (1 - decay) steps.
#
# **Predict.** One weight jumps around 1, and its average starts at 0. Which decay gives the calmer line, and which line
# takes longer to forget its start?

# %%
average, same = copy.deepcopy(G), copy.deepcopy(G)
with torch.no_grad():
    for p, q in zip(average.parameters(), G1.parameters(), strict=True):
        p.copy_(0.9 * p + 0.1 * q)
update_ema(same, G1, 0.9)
assert all(torch.allclose(p, q, atol=1e-7) for p, q in zip(average.parameters(), same.parameters(), strict=True))

jumps = 1 + 0.5 * torch.randn(150, generator=runtime.generator(SEED))
lines = {"step": range(150), "the weight": jumps.tolist()}
for decay in (0.9, 0.98):
    value = 0.0
    lines[f"decay {decay}"] = [value := decay * value + (1 - decay) * jump for jump in jumps.tolist()]
plots.curves(lines, smooth=0, reference={"mean": 1.0}, label="one weight")

# %% [markdown]
# A long memory is calm, and late. So the library begins with a small decay and lets it grow: the average forgets the
# untrained G within a few steps.
#
# ## 7. Training
#
# Two measures watch the run. Lesson 05 derives both. They compare *features*: 64 numbers a picture, from a network that has
# learned to read digits and that no loss ever sees. The **Frechet distance** says how far apart two clouds of features are
# in mean and spread: 0 is best. **Coverage** is the share of real pictures that have a fake nearby: 1 is best, and a G that
# draws one thing only stays near 0.
#
# **Predict.** Which will improve first? And will G's loss fall while the pictures get better?

# %%
from mmcourse.widgets import LivePanel, slerp

net = load(FeatureNet, "features")
few = net.features(labelled(DATA, "test").pictures(slice(N // 3)))  # (n, 64)


def measure(G, unit=1.0, name="Frechet"):
    found = net.features(gan.draw(copy.deepcopy(G).eval(), len(few), runtime.generator(3)))
    return {name: distances.frechet(few, found) / unit, "coverage": distances.precision_recall(few, found).coverage}


start = measure(G)

# %%
unit = start["Frechet"]  # so that both measures fit into one chart
panel = LivePanel(config.steps, samples=lambda state: state.ema(z), measure=lambda state: measure(state.ema, unit, "Frechet / its start"))
for step in panel(fast.play(G, D, sample, config)):  # play itself; on a CUDA card the same steps, captured
    pass
end, raw = measure(step.state.ema), measure(step.state.G)
print({k: f"{start[k]:.3g} -> {end[k]:.3g}, without averaging {raw[k]:.3g}" for k in end})
plots.curves({k: panel.logs[k] for k in ("step", "d", "g")}, reference={"D cannot tell": 0.693}, title="without the penalty")

# %% [markdown]
# Read the curves together. The tall spikes are the penalty of every eighth step; below they are left out. Early both
# losses peak, G's higher. Later D's loss rests below the dashed line and G's above it, and neither tells whether the
# pictures improve. The measures do.
#
# In the `quick` profile this training was only a taste. From here on we look at the shipped model there, which has learned
# MNIST. In the other profiles we look at the model that you have just trained.
#
# ## 8. Real or fake?
#
# Every number needs a floor and a ceiling. The floor is the untrained G, the ceiling is real pictures. And there is a rival
# without any network: a Gaussian with the mean and all covariances of the training pictures. Each of its pictures is the
# mean plus a random mixture of real pictures' differences from it.

# %%
data, test = labelled("mnist"), labelled("mnist", "test")
shipped = profile == "quick"
model = load(gan.Generator, "gan") if shipped else step.state.ema.cpu()
real = test.pictures(torch.randperm(len(test), generator=runtime.generator(6))[:N])
shelf = data.pictures(slice(20000)).flatten(1)  # (n, 1024)
away = shelf[:4000] - shelf[:4000].mean(0)
mix = torch.randn(len(real), len(away), generator=runtime.generator(4)) / len(away) ** 0.5
cloud = shelf[:4000].mean(0) + mix @ away  # (N, 1024)
sets = {
    "untrained": gan.draw(untrained, len(real), runtime.generator(5)),
    "Gaussian": cloud.clamp(-1, 1).view(-1, 1, 32, 32),
    "model": gan.draw(model, len(real), runtime.generator(5)),
    "train": data.draw(len(real), runtime.generator(7))[0],
}
plots.grid(torch.cat([sets["untrained"][:10], sets["Gaussian"][:10]]), columns=10, title="above: untrained; below: Gaussian")

# %% [markdown]
# **Predict.** Where will the Gaussian's numbers stand: near the untrained G, or near the model?

# %%
there, table = net.features(real), {}
for name, x in sets.items():
    found = net.features(x)
    table[name] = {"Frechet": distances.frechet(there, found)}
    table[name]["coverage"] = distances.precision_recall(there, found).coverage
    table[name]["diversity"] = diversity(x[:500]) / diversity(real[:500])
    print(f"{name:10}", {k: f"{v:.3g}" for k, v in table[name].items()})

# %% [markdown]
# All are measured against the same test pictures. `train` is the ceiling. It is not 0, since two samples of one source
# differ. Diversity is the mean difference between two pictures, divided by that of real ones.
#
# **Predict.** By which faults will you know the fakes?

# %%
def wall(x):
    tiles = F.pad(x[:36], (1, 1, 1, 1), value=1.0)  # (36, 1, 34, 34), a white seam around each
    return F.fold(tiles.flatten(1).T[None], 6 * 34, kernel_size=34, stride=34)  # (1, 1, 204, 204)


words = [f"real: {test.title}, test", "fake: the model's first 36"]
plots.grid(torch.cat([wall(real), wall(sets["model"])]), columns=2, titles=words, scale=12.75)

# %% [markdown]
# A few fakes are digits that nobody writes. Others have holes or frayed edges.
#
# A picture is also a sum of waves. Its *spectrum* says how strong the waves of each length are. Here it is averaged over
# all directions: one number for each count of waves across the picture, from 1 (broad shapes) to 23 (a checkerboard, the
# finest pattern that pixels can hold).
#
# **Predict.** One line below is real pictures with a checkerboard so faint that you could hardly see it. Where must it part
# from the line of the real ones? Will the model's line do the same?

# %%
def spectrum(x):
    power = torch.fft.fft2(x).abs().square().mean((0, 1))  # (32, 32)
    f = 32 * torch.fft.fftfreq(32)  # waves across the picture
    ring = (f[:, None].square() + f.square()).sqrt().round().long().flatten()  # (1024,), 0 to 23
    return ring.bincount(power.flatten()) / ring.bincount()  # (24,)


checker = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1  # -1 and 1 in turn
shown = {"real": real, "model": sets["model"], "untrained": sets["untrained"], "real + checkerboard": real + 0.02 * checker}
power = {name: spectrum(x)[1:] for name, x in shown.items()}
for name in ("model", "real + checkerboard"):
    times = (power[name] / power["real"]).tolist()
    print(f"{name:20} power over real: 10 waves {times[9]:.2f}, 19 waves {times[18]:.2f}, checkerboard {times[22]:.3g}")
lines = {name: values.tolist() for name, values in power.items()}
figure = plots.curves({"step": range(1, 24), **lines}, smooth=0, log=True, label="power")
figure.axes[0].set_xlabel("waves across the picture")
figure

# %% [markdown]
# The planted pattern is one spike at the end. The untrained G has spikes too: that is what channels do that never learned
# to agree. Where the model's line lies below the real one, its pictures lack fine detail; a spike would be a trace that no
# real picture has. A right spectrum is not enough, though: but for the clipping the Gaussian has one, and it draws no digits.
#
# ## 9. A walk through z
#
# Noise of 64 numbers has a length near 8, hardly ever below 6. G has met nothing else.
#
# **Predict.** Walk in a straight line from one noise to another. How long is the vector half way?

# %%
pairs, walks = torch.randn(2, len(real), 64, generator=runtime.generator(SEED + 29)), []
for name, way in (("great circle", slerp), ("straight line", torch.lerp)):
    walks += [way(pairs[0, :1], pairs[1, :1], i / 8) for i in range(9)]  # (1, 64) each
    middles = way(pairs[0], pairs[1], 0.5)  # (N, 64): half of the way of many walks
    with torch.no_grad():
        found = net.features(torch.cat([model(part) for part in middles.split(500)]))
    print(f"{name:13} half way: length {middles.norm(dim=1).mean():.2f}, Frechet {distances.frechet(there, found):.3g}")
words = [f"{z.norm():.1f}" for z in walks]
pictures = model(torch.cat(walks)).detach()  # (18, 1, 32, 32)
plots.grid(pictures, columns=9, titles=words, title="above: great circle; below: straight line; the length of z")

# %% [markdown]
# Half way the straight line is shorter than almost any noise. `slerp` turns one vector into the other and keeps the length: with
# the angle $\theta$ between the ends it gives
# $\frac{\sin((1-t)\theta)}{\sin\theta}\,a + \frac{\sin(t\theta)}{\sin\theta}\,b$. The two printed distances say what the
# detour is worth.
#
# ## 10. Has it copied?
#
# A G that stored its training pictures would have perfect numbers. So we look for the nearest of up to 20,000 training
# pictures, in pixels.
#
# **Predict.** Whose nearest training picture is nearer: a fake's, or that of a real test picture?

# %%
for name, x in {**sets, "test": real}.items():
    if name != "train":
        away, which = distances.nearest(x[:500].flatten(1), shelf)
        print(f"{name:10} median distance to the nearest training picture {away.median():.1f}")
    if name == "model":
        rows = torch.cat([x[:10], shelf[which[:10]].view(-1, 1, 32, 32)])
plots.grid(rows, columns=10, title="above: fakes; below: the nearest training picture of each")

# %% [markdown]
# `test` is how near a picture comes that cannot have been copied. Fakes that lie much nearer than that were stored. Pixels
# are a poor ruler, though: shift a copy by one pixel and it seems far away. Lesson 05 does it with features, and plants
# copies to see whether they are found.
#
# ## What was shown
#
# The game of the ring works on pictures. Training improves on its start. The model comes far nearer to the set that it has
# learned than the untrained G and the Gaussian, and it has kept its diversity. The cell below fails if this run says
# otherwise.

# %%
assert end["Frechet"] < 0.7 * start["Frechet"] and end["coverage"] > start["coverage"], "this training has not improved"
ours, floor, ceiling = (table[k] for k in ("model", "untrained", "train"))
if shipped and "no MNIST" in test.title:
    print("MNIST is not on this machine, and the shipped model has learned MNIST: its claims are not tested here.")
else:
    assert ours["Frechet"] <= 0.25 * floor["Frechet"] and ours["Frechet"] <= 15 * ceiling["Frechet"]
    assert ours["Frechet"] < table["Gaussian"]["Frechet"] / 2 and ours["coverage"] > 0.3
    assert ours["diversity"] >= 0.8, "the model has lost diversity"
print(f"Frechet {ours['Frechet']:.1f}: untrained {floor['Frechet']:.0f}, real against real {ceiling['Frechet']:.1f}")

# %% [markdown]
# ## What this does not show
#
# - These are small grey digits, and one run. Nothing here speaks of photographs.
# - The Frechet distance depends on the number of pictures and on the network that reads them. It must not be compared with
#   figures from elsewhere.
# - Fakes as far from the training pictures as real ones are no proof that nothing was copied.

# %% [markdown]
# ## Exercises
#
# 1. Train without the average (`ema=0` in the config). How much does the Frechet distance jump from measure to measure?
# 2. Put `gamma=0` in the config. What do the curves do, and what do the pictures?
# 3. Replace G's head by a transposed convolution with k = 3. Where does its spectrum part from the real one?
# 4. Walk in a full circle through two noises at right angles. Which digits do you pass?
#
# The graded exercises of this lesson are in `exercises/04_image_gan.ipynb`.
