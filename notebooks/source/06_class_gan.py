# %% [markdown]
# # 06 · A class-conditional GAN
#
# The GAN of lesson 04 draws digits. Which digit it draws is not ours to say. In this lesson we ask for one, by its class. The
# label has to reach both networks: G must know what to draw, and D must know what was asked for. There are several ways in,
# and a D that nobody makes look at the label will ignore it.

# %% [markdown]
# ## What you will be able to do
#
# - bring a label into G and into D in three ways, and say what each computes
# - derive the projection discriminator from a ratio of probabilities
# - compare the three at the same number of steps, beside a control whose labels mean nothing
# - test with real pictures alone whether a D reads labels
# - measure class by class whether G draws what it was asked for, and say what that measure does not see
#
# **Before this lesson:** lessons 04 (an image GAN) and 05 (measuring pictures). **Time:** the next cell prints what was
# measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0
DATA = "mnist"  # or fashion_mnist, in the profiles cpu and gpu

# %%
import copy
from dataclasses import replace

import torch
from mmcourse import cgan, distances, fast, gan, plots, runtime
from mmcourse.checkpoint import load
from mmcourse.features import FeatureNet, feature_steps, label_accuracy
from mmcourse.layers import count_parameters
from mmcourse.pictures import labelled
from mmcourse.widgets import progress

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
N = {"quick": 1000, "cpu": 5000, "gpu": 10000}[profile]  # pictures in every final measure
base = cgan.PROFILES[profile]
SHORT = {"quick": 40, "cpu": 300, "gpu": 2000}[profile]  # steps of each run in the comparison
for name, row in runtime.results("lessons")["lessons"].get("06_class_gan", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. A GAN that cannot be asked
#
# Here is the shipped model of lesson 04. A classifier reads what it drew.
#
# **Predict.** You need ten sevens. How many pictures must this GAN draw for you, and who picks out the sevens?

# %%
reader = load(FeatureNet, "features")  # has learned to read digits; no loss of a generator ever sees it
drawn = gan.draw(load(gan.Generator, "gan"), 500, runtime.generator(SEED))
read = reader.read(drawn)
words = [f"read as {k}" for k in read[:16].tolist()]
print(f"sevens among 500 pictures: {int((read == 7).sum())}")
plots.grid(drawn[:16], columns=8, titles=words, title="lesson 04: noise decides what is drawn")

# %% [markdown]
# About every tenth picture is a seven, and somebody has to read them all. That somebody is a network which was trained with
# labels. So the labels were there, and they came too late: G and D never saw them.
#
# From here on they do. A label becomes a row with a 1 at its class and 0 elsewhere, a *one-hot* row. It is the condition,
# `cond`.

# %%
data, test = labelled(DATA), labelled(DATA, "test")
K = len(data.classes)
net = reader
if DATA == "fashion_mnist":  # the shipped reader knows digits only: train one for clothes first
    for _, _, net in progress(feature_steps([data], steps=1500), total=1500, label="classifier"):
        pass
asked = torch.arange(N) % K  # as many pictures of each class
ceiling = label_accuracy(net, test.pictures(slice(N)), test.labels[:N])
cond = torch.eye(K)[asked]  # (N, K)
assert torch.equal(cond, cgan.one_hot(asked, K))
rows = torch.cat([data.pictures(torch.nonzero(data.labels == k)[:10, 0]) for k in range(0, K, 3)])
print(f"of {len(test.first(N))} real test pictures the classifier reads {ceiling:.1%} as their label: the ceiling of this lesson")
plots.grid(rows, columns=10, scale=1.8, title=f"{data.title}: real pictures of every third class")

# %% [markdown]
# ## 2. First way: lay the label beside the input
#
# For G this is easy. The noise is a row of numbers and the label is a row of numbers, so they become one longer row. What
# does a linear layer make of it?
#
# **Predict.** Split the layer's weights into those that meet z and those that meet the label. Exactly one number of the
# label is not 0. How many columns of the second part take part in a picture?

# %%
start = replace(base, into_g="concat", into_d="concat")
G, D, sample, config = cgan.prepare(data, start, seed=SEED)
z = torch.randn(6, config.z, generator=runtime.generator(SEED))  # (B, 64)
for_z, for_class = G.base.weight.split([config.z, K], dim=1)  # (4096, 64) and (4096, K), for width 32
both = torch.cat([z, K**0.5 * cond[:6]], dim=1)  # (B, 64 + K); the root makes a class as loud as a number of z
by_hand = z @ for_z.T + K**0.5 * for_class.T[asked[:6]] + G.base.bias
assert torch.allclose(G.base(both), by_hand, atol=1e-4)

# %% [markdown]
# One column. Concatenation adds to the first layer a vector that belongs to the class, and that is all. Every later layer
# has to carry the wish along with everything else.
#
# For D the input is a picture. A convolution sees a small window of it, so the label must stand beside *every* pixel: one
# constant map for each class. Popular code makes these maps by repeating the row and reshaping it.
#
# **Predict.** Both lines below give the shape (1, K, 32, 32). The label is 3. What does the map of class 3 look like in
# each?

# %%
three = cond[3:4]  # (1, K)
right = three[:, :, None, None].expand(-1, -1, 32, 32)  # a number is copied along new axes, and stays in its map
popular = three.repeat(1, 32 * 32).view(1, K, 32, 32)  # a long row is cut anew, and the numbers move
assert torch.equal(right, cgan.onehot_maps(three, 32)) and right.shape == popular.shape
maps = torch.stack([right[0], popular[0]])[:, :, None].expand(-1, -1, 3, -1, -1)  # (2, K, 3, 32, 32)
words = ["expand", "repeat and reshape"]
plots.caption_sheet(1.6 * maps - 1, words, text_width=90, scale=1.9, title="label 3: the maps of class 0, 1, 2, ...; bright is 1, black is 0")

# %% [markdown]
# Below, no map belongs to a class. Whatever the label is, every map has the same share of ones, only shifted a little. The
# shape was right, so nothing failed, and D could hardly learn from it.
#
# ## 3. Second way: normalise, then let the class decide
#
# In G the label can also reach every block. *Conditional normalisation* brings each channel of each picture to mean 0 and
# spread 1, and then scales and shifts it by numbers that a linear layer computes from the condition (Dumoulin and others,
# 2016). What the picture had in strength the class now sets.

# %%
def cond_norm(x, scale, shift):
    mean = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1): one for each channel of each picture
    spread = (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    return (x - mean) / spread * (1 + scale) + shift


layer = cgan.CondNorm(8, K)
h = 3 + 2 * torch.randn(6, 8, 4, 4, generator=runtime.generator(SEED))  # (B, C, H, W)
fresh = layer(h, cond[:6])
torch.nn.init.normal_(layer.affine.weight, generator=runtime.generator(1))
scale, shift = layer.affine(cond[:6])[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
assert torch.allclose(layer(h, cond[:6]), cond_norm(h, scale, shift), atol=1e-4)

# %% [markdown]
# **Predict.** The linear layer starts at zero. What does a fresh `CondNorm` do to a channel? And what would it do without
# the `1 +`?

# %%
for name, x in {"before": h, "fresh": fresh, "fresh, without 1 +": cond_norm(h, torch.tensor(-1.0), 0)}.items():
    print(f"{name:19} mean {x[0, 0].mean():5.2f}, spread {x[0, 0].std(correction=0):.2f} (channel 0 of picture 0)")

# %% [markdown]
# Fresh, it only normalises, and all classes are treated alike. Training then moves them apart. Without the 1, all
# information would be multiplied by 0.
#
# Normalising also throws something away: how strong a channel was in this picture. `modulate`, the third value of
# `Recipe.into_g`, scales and shifts without normalising first.

# %% [markdown]
# ## 4. Third way: a projection in D
#
# Where should the label enter D? Lesson 01 found the best D of the classical game: its logit is the logarithm of a ratio,
# how probable the input is among real ones over how probable it is among fakes. Now the input is a pair of a picture x and
# a label y. With $p$ for real and $q$ for fake:
#
# $$\log\frac{p(x, y)}{q(x, y)} = \log\frac{p(x)}{q(x)} + \log\frac{p(y|x)}{q(y|x)}$$
#
# Let $f$ be the picture's features. A classifier on top of them is a softmax of inner products:
#
# $$\log p(y|x) = \langle a_y, f\rangle - \log Z_p(f) \quad\text{and}\quad \log q(y|x) = \langle b_y, f\rangle - \log Z_q(f)$$
#
# $$\log\frac{p(y|x)}{q(y|x)} = \langle a_y - b_y,\, f\rangle - \log\frac{Z_p(f)}{Z_q(f)}$$
#
# Write $V_y$ for the difference, and put all that does not know y into one function $\psi$:
#
# $$\text{logit} = \psi(f) + \langle V_y, f\rangle$$
#
# The first part asks whether the picture is real, the second whether it fits (Miyato and Koyama, 2018).

# %%
D = cgan.prepare(data, base, seed=SEED)[1]  # this one projects
real, labels = data.pictures(slice(6)), data.labels[:6]
f = D.look(real)  # (B, 128), read once
V = D.project.weight.T  # (K, 128): a row for each class
logit = D.alone(f) + (V[labels] * f).sum(1, keepdim=True)  # (B, 1)
assert torch.allclose(logit, D.score(f, cgan.one_hot(labels, K)), atol=1e-4)

# %% [markdown]
# **Predict.** D is asked about the same picture with ten labels. How often does a D that concatenates have to look at the
# picture? And one that projects?
#
# ## 5. A label that is certainly wrong
#
# Real pictures always come with their own label. A D that only tells real from fake could therefore skip the label. As in
# lesson 09's matching-aware game, D also meets **real pictures with a wrong label** and has to call them fake. How do we
# draw a wrong one?

# %%
g = runtime.generator(SEED)
own = torch.randint(K, (10000,), generator=g)
guess = torch.randint(K, (10000,), generator=g)
moved = (own + torch.randint(1, K, (10000,), generator=g)) % K  # 1 to K - 1 classes further, in a circle
print(f"right by accident: drawn from all classes {(guess == own).float().mean():.1%}, moved on {(moved == own).sum()}")
batch = sample(runtime.generator(SEED), 0)
assert not (batch.cond * batch.wrong).any()  # the library's wrong labels never are the right ones

# %% [markdown]
# Each accident would tell D that a true pair is fake. Moving on by 1 to K - 1 classes has none, and every wrong class is as
# likely as the others.
#
# Does D then read labels? The *swap test* asks this without G. Take real test pictures and ask D about each with every
# label. How often is the logit of a true pair above that of a wrong one? Over all true and all wrong pairs this share is the
# area under the curve, AUC.
#
# **Predict.** What does a D get that is blind to the label? And ours, before any training?

# %%
tested, truth = test.pictures(slice(1000)), test.labels[:1000]


def swap(D, n=1000):
    place, few = next(D.parameters()).device, tested[:n]
    with torch.no_grad():
        seen = D.look(few.to(place))
        logits = [D.score(seen, cgan.one_hot(torch.full((len(few),), k), K).to(place)) for k in range(K)]
    return torch.cat(logits, dim=1).cpu()  # (n, K): column k, the logit with label k


def auc(logits):
    mine = cgan.one_hot(truth[: len(logits)], K).bool()
    own, wrong = logits[mine], logits[~mine]  # (n,) and (n * (K - 1),)
    return ((own[:, None] - wrong).sign().mean().item() + 1) / 2  # equal logits count half


print(f"before training AUC {auc(swap(D)):.3f}; a blind D has 0.500")

# %% [markdown]
# ## 6. Three ways, one budget
#
# Now all three play. Each run has the same data, the same number of steps and nearly the same number of weights. One thing
# changes at a time: the second run changes G only, the third D only. The fourth is the **control**: like the third, but
# each real picture has a random label. Whatever its G reaches is not due to labels.
#
# The independent classifier reads G's pictures. *Accuracy* is the share that it reads as what was asked for.
#
# **Predict.** Which way learns fastest a step, and which fastest a second? Where does the control end?

# %%
from mmcourse.train import play

WAYS = {
    "concatenation": {"into_g": "concat", "into_d": "concat"},
    "normalisation in G": {"into_g": "norm", "into_d": "concat"},
    "projection in D": {"into_g": "concat", "into_d": "project"},
    "shuffled labels": {"into_g": "concat", "into_d": "project", "shuffle": True},
}


def accuracy(G, n):
    return label_accuracy(net, cgan.draw(G, asked[:n], runtime.generator(3)), asked[:n])


brief = replace(base.config, steps=SHORT, ema=0.98)  # a shorter memory for a shorter run
curves, kept = {"step": list(range(0, SHORT + 1, SHORT // 5))}, {}
for name, how in WAYS.items():
    G, D, sample, config = cgan.prepare(data, replace(base, config=brief, **how), seed=SEED, device=device)
    curves[name] = [accuracy(G.eval(), N // 10)]
    for step in play(G.train(), D, sample, config):
        if step.number % (SHORT // 5) == 0:
            curves[name].append(accuracy(step.state.ema, N // 10))
    kept[name] = step.state.ema.cpu(), D.cpu()
    print(f"{name:19} {count_parameters(G) + count_parameters(D):,} weights, {step.seconds:5.1f} s, accuracy {curves[name][-1]:.2f}")
marks = {"real pictures": ceiling, "guessing": 1 / K}
plots.curves(curves, smooth=0, reference=marks, label="accuracy")

# %% [markdown]
# Read the seconds as well. A D that concatenates has to look at a picture again for every label, and a step shows it two
# labels for each real picture. A D that projects looks once. The control stays at guessing: its D had nothing to learn about
# labels.
#
# In the `quick` profile these runs are far too short to part the three. In the others one seed cannot rank what ends close
# together.

# %% [markdown]
# ## 7. Training
#
# The lesson's own recipe projects in D and modulates in G.
#
# **Predict.** What comes first: a D that reads labels, or a G that does what they say?

# %%
from mmcourse.widgets import LivePanel

G, D, sample, config = cgan.prepare(data, base, seed=SEED, device=device)
untrained = copy.deepcopy(G).cpu().eval()
z = torch.randn(16, config.z, generator=runtime.generator(2))
panel = LivePanel(
    config.steps,
    samples=lambda state: state.ema(z.to(device), cond[:16].to(device)).cpu(),
    measure=lambda state: {"accuracy": accuracy(state.ema, N // 10), "swap AUC": auc(swap(D, 300))},
    title=data.title,
)
began = auc(swap(D))
for step in panel(fast.play(G, D, sample, config)):  # play itself; on a CUDA card the same steps, captured
    pass
D, model = D.cpu(), step.state.ema.cpu()
begin, end = accuracy(untrained, N), accuracy(model, N)
print(f"accuracy {begin:.2f} -> {end:.2f}; guessing {1 / K:.2f}, real pictures {ceiling:.3f}")

# %% [markdown]
# The sixteen samples were asked for as classes 0 to 9, and from 0 on again. At first D leads: G can learn what a
# label means only from a D that reads it. A loss says how G and D stand against each other. Whether the pictures became
# right, the accuracy says.
#
# In the `quick` profile this was only a taste, and from here on we look at the shipped model, which has learned MNIST. In
# the other profiles we look at yours. D is yours in every profile.

# %%
shipped = profile == "quick" and DATA == "mnist"
model = load(cgan.Generator, "cgan") if shipped else model
pictures = cgan.draw(model, asked, runtime.generator(SEED + 5))  # (N, 1, 32, 32)
shares = {"model": label_accuracy(net, pictures, asked), "shuffled labels": accuracy(kept["shuffled labels"][0], N)}
plots.bars(shares, floor=begin, ceiling=ceiling, label="read as what was asked for", title=f"{N} pictures of each G; real: {test.title}")

# %% [markdown]
# ## 8. One noise, every class
#
# G has two inputs. The class says what to draw. Then what is left for z?
#
# **Predict.** Each column below has one z, each row one class. What will the pictures of a column have in common?

# %%
def table(model, z):
    rows = [model(z, cgan.one_hot(torch.full((len(z),), k), K)) for k in range(K)]
    return torch.stack(rows).detach()  # (K, B, 1, 32, 32): a row for each class, a column for each z


z = torch.randn(10, 64, generator=runtime.generator(SEED + 4))
words = [name if len(name) > 1 else f"class {name}" for name in data.classes]
shown = table(model, z).expand(-1, -1, 3, -1, -1)
plots.caption_sheet(shown, words, text_width=80, scale=1.9, title="one row, one class; one column, one z")

# %% [markdown]
# Nobody told G to share anything between classes. Whether it does can be measured. *Ink* is a picture's mean brightness.
# *Slant* says how far the ink moves to the right from one row of pixels to the row above. For 200 noises we compute both in
# every class. Then we ask for each pair of classes: does the same z give alike values?
#
# **Predict.** If every class had a z of its own, what would the correlation be?

# %%
def ink(x):
    return (x + 1).mean((-3, -2, -1)) / 2


def slant(x):
    mass = (x.squeeze(-3) + 1) / (x + 1).sum((-3, -2, -1))[..., None, None]  # (..., 32, 32), adds up to 1
    at = torch.arange(32.0)
    right = at - (mass.sum(-2) * at).sum(-1, keepdim=True)  # (..., 32): from the picture's middle
    down = at - (mass.sum(-1) * at).sum(-1, keepdim=True)
    together = (mass * down[..., :, None] * right[..., None, :]).sum((-2, -1))
    return -together / (mass.sum(-1) * down.square()).sum(-1)


many = table(model, torch.randn(200, 64, generator=runtime.generator(SEED + 6)))  # (K, 200, 1, 32, 32)
mixed = torch.stack([row.roll(k, 0) for k, row in enumerate(many)])  # every class gets other noises
pairs, alike = ~torch.eye(K, dtype=torch.bool), {}
for style in (ink, slant):
    alike[style.__name__], other = (torch.corrcoef(style(x))[pairs].mean().item() for x in (many, mixed))
    print(f"{style.__name__:5} correlation between classes: same z {alike[style.__name__]:.2f}, other z {other:.2f}")

# %% [markdown]
# So z has become a style, and the class picks what is written in it. G does not learn ten separate generators. It shares its
# layers between the classes, and with them what z means.
#
# ## 9. What D says about each pair
#
# The swap test once more, with the trained D. Each square below is the mean logit of test pictures of one class (row) that
# were given one label (column).
#
# **Predict.** What does this square look like for a D that is blind to the label? And which classes will ours take for
# alike?

# %%
logits, now = swap(D), {}
for name, judge in {"section 7": D, **{name: kept[name][1] for name in WAYS}}.items():
    now[name] = auc(swap(judge))
    print(f"D of {name:19} AUC {now[name]:.3f}")
mean = torch.stack([logits[truth == k].mean(0) for k in range(K)])  # (K, K)
plots.similarity_matrix(mean, [f"pictures of {c}" for c in data.classes], [f"as {c}" for c in data.classes], label="mean logit")

# %% [markdown]
# For a blind D all numbers of a row would be equal. Where a square off the diagonal is bright, D takes these two classes for
# alike. The D of shuffled labels is near one half. It has seen labels in every step, and they told nothing.
#
# ## 10. Which class is taken for which?
#
# One accuracy can hide a class that fails. A *confusion matrix* shows all of them: row, the class that was asked for; column,
# what the classifier reads, in percent of the row. First the real test pictures, since the classifier errs on these as well. The
# colours end at 2 %.
#
# **Predict.** Which two digits does the classifier take for each other most often?

# %%
def confusion(pictures, labels):
    counts = torch.zeros(K, K).index_put_((labels, net.read(pictures)), torch.ones(len(labels)), accumulate=True)
    return 100 * counts / counts.sum(1, keepdim=True)  # (K, K), in percent of a row


def show(matrix, title):
    return plots.similarity_matrix(matrix, [f"class {c}" for c in data.classes], data.classes, low=0, high=2, label="%", title=title)


of_real, of_model = confusion(test.pictures(slice(N)), test.labels[:N]), confusion(pictures, asked)
show(of_real, "real test pictures")

# %%
early = confusion(cgan.draw(kept["projection in D"][0], asked, runtime.generator(7)), asked)
for name, matrix in {"real": of_real, "model": of_model, f"projection after {SHORT} steps": early}.items():
    worst = int(matrix.diagonal().argmin())
    taken = matrix.clone().fill_diagonal_(0)[worst]
    most = f"most taken for {data.classes[int(taken.argmax())]}" if taken.any() else "so no class was taken for another"
    print(f"{name}: weakest class {data.classes[worst]}, {matrix[worst, worst]:.1f} % right, {most}")
show(of_model, "the model's pictures")

# %% [markdown]
# The diagonal of such a matrix is each class's *recall*. Compare the two squares. An error that both share is as likely the
# classifier's as G's. On scikit-learn's digits the classifier errs on none, so only MNIST answers the question above.
#
# ## 11. What accuracy does not see
#
# The model may be read right *more* often than real pictures are.
#
# **Predict.** How can that be? Think of a G that draws each class in one single way. What are its accuracy and its coverage,
# the share of real pictures that have a fake nearby (lesson 05)?

# %%
one_z = torch.randn(1, 64, generator=runtime.generator(SEED)).expand(N, -1)
with torch.no_grad():
    parts = zip(one_z.split(500), cond.split(500), strict=True)
    single = torch.cat([model(*part) for part in parts])  # (N, 1, 32, 32): K different pictures in all
there, coverage = net.features(test.pictures(slice(1000))), {}
training = data.pictures(slice(1000)), data.labels[:1000]
for name, (x, y) in {"model": (pictures, asked), "one z for all": (single, asked), "training pictures": training}.items():
    coverage[name] = distances.precision_recall(there, net.features(x[:1000])).coverage
    print(f"{name:18} accuracy {label_accuracy(net, x, y):.3f}, coverage {coverage[name]:.3f}")

# %% [markdown]
# Real training pictures are the ceiling of coverage. Ten pictures, repeated, can be read right every time. Real writing holds
# ugly digits, and a classifier misses some of them. A G that leaves out the ugly ones scores higher. So accuracy above that
# of real pictures is no triumph, and coverage stands beside it.
#
# ## What was shown
#
# A label that enters both networks makes a GAN that draws what it is asked for, nearly as surely as real pictures are read.
# Labels that mean nothing leave it at guessing. Noise becomes a style that all classes share. The cell below fails if this
# run says otherwise.

# %%
assert now["section 7"] >= began + 0.2, "this training has not taught D to read labels"
assert abs(now["shuffled labels"] - 0.5) <= 0.1, "the control's D reads labels that mean nothing"
assert shares["shuffled labels"] <= 2 / K and begin <= 3 / K, "a control draws better than guessing"
assert shipped or end >= 0.9 * ceiling or DATA != "mnist", "this training has not taught G to draw what it is asked for"
if DATA == "mnist":  # for Fashion-MNIST nothing is claimed: it was not measured yet
    assert shares["model"] >= 0.9 * ceiling, "the model draws other classes than it is asked for"
    assert min(alike.values()) >= 0.4, "z is no style that the classes share"
    assert coverage["model"] > 3 * coverage["one z for all"], "the model draws each class in one way"
print(f"accuracy {shares['model']:.1%}: real {ceiling:.1%}, shuffled {shares['shuffled labels']:.1%}, guessing {1 / K:.0%}")

# %% [markdown]
# ## What this does not show
#
# - Digits are ten classes that differ plainly. Nothing here speaks of a thousand classes of photographs.
# - The comparison is one short run each. Which way is best after a long training, or with another recipe, it does not say.
# - The classifier is a network as well. A strange picture that it reads with confidence would count as right.
# - Figures for Fashion-MNIST: not yet measured.

# %% [markdown]
# ## Exercises
#
# 1. Train without wrong labels (`mismatch=0` in the config). What does the swap test say, and does the accuracy follow?
# 2. Ask the model for half a 3 and half an 8: give it the mean of the two one-hot rows.
# 3. Train with `into_g="norm"` and `into_d="project"` at the full number of steps. Where do accuracy and coverage end?
# 4. Build the maps by repeat and reshape and train D on them. How far does the accuracy get?
#
# The graded exercises of this lesson are in `exercises/06_class_gan.ipynb`.
