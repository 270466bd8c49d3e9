# %% [markdown]
# # 05 · Measuring pictures
#
# A generator makes new pictures, so there is no right answer to compare them with. What can be compared is two *sets*: its
# pictures and real ones. In this lesson you derive the usual measures. Then you damage real pictures on purpose and see
# which measure notices. No measure notices everything.

# %% [markdown]
# ## What you will be able to do
#
# - find the floor of a measure: what would a perfect generator get?
# - derive the Frechet distance, KID, precision, recall and coverage, and check each against outside code
# - say which damage each measure sees, and which it does not
# - search a set of pictures for copies of training pictures
# - put an interval around a share and around a difference of two shares
#
# **Before this lesson:** lesson 04 (the image GAN). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
from statistics import median

import torch
from mmcourse import distances, gan, metrics, pictures, plots, plots_measures, runtime, world
from mmcourse.checkpoint import load
from mmcourse.features import FeatureNet
from mmcourse.judge import Judge
from mmcourse.metrics import wilson
from scipy.linalg import sqrtm
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

profile = runtime.pick_profile(PROFILE)
for name, row in runtime.results("lessons")["lessons"].get("05_measuring", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. What would a perfect generator get?
#
# Pixels are a poor place to compare pictures: a digit moved by one pixel is far away. So a network turns each picture into
# 64 numbers, its *features*. Ours has learned to read digits, and no loss of a generator ever sees it.
#
# The best known measure is the Frechet distance: 0 where two sets have the same mean and covariance of features. A
# perfect generator draws pictures just as new as the test pictures are. So we let real pictures stand in for it.

# %%
train, test = pictures.labelled("mnist"), pictures.labelled("mnist", "test")
N = min({"quick": 800, "cpu": 2000, "gpu": 5000}[profile], len(test) // 2)  # pictures in each set
g = runtime.generator(SEED)
net = load(FeatureNet, "features")
rows, unseen_rows = torch.randperm(len(train), generator=g)[: 2 * N], torch.randperm(len(test), generator=g)[: 2 * N]
known, known_labels = train.pictures(rows), train.labels[rows]  # (2N, 1, 32, 32) and (2N,)
unseen, unseen_labels = test.pictures(unseen_rows), test.labels[unseen_rows]
known_f, unseen_f = net.features(known), net.features(unseen)  # (2N, 64) each

# %% [markdown]
# **Predict.** Two sets of real pictures, none in both. What is their distance: 0, or more? What happens to it when both
# sets grow? And which is farther: 1/8 as many real pictures, or all of them with noise on top?

# %%
noisy_f = net.features((unseen + 0.3 * torch.randn(unseen.shape, generator=g)).clamp(-1, 1))
sizes = [N // 8, N // 4, N // 2, N]
floor = {name: [[] for _ in sizes] for name in ("training, other training", "training, unseen", "training, noisy")}
for i, n in enumerate(sizes):
    for _ in range(6):
        a, b = torch.randperm(2 * N, generator=g), torch.randperm(2 * N, generator=g)
        others = known_f[a[n : 2 * n]], unseen_f[b[:n]], noisy_f[b[:n]]
        for name, other in zip(floor, others, strict=True):
            floor[name][i].append(distances.frechet(known_f[a[:n]], other))
    print(f"{n:5} pictures:", ", ".join(f"{name} {median(line[i]):.1f}" for name, line in floor.items()))
plots_measures.against_size(floor, sizes, title=f"the floor falls with N: {train.title}")

# %% [markdown]
# Real against real is not 0. A mean and a covariance estimated from few pictures are off, and every error adds to the
# distance. So the floor falls with N. Small clean sets come out *farther* from the training pictures than large noisy ones.
#
# Two rules follow. **Never compare distances that were taken with different N**, or with different features. And print the
# floor beside each distance, measured at the same N.

# %% [markdown]
# ## 2. The Frechet distance
#
# How much does it cost to carry one heap of sand into the shape of another, if carrying a grain over a length $d$ costs
# $d^2$? For two Gaussians on a line the cheapest way is to stretch and shift, and the price is
# $(m_1-m_2)^2 + (s_1-s_2)^2$.
#
# With several features the means are vectors and the spreads are covariance matrices. Write
# $(s_1-s_2)^2 = s_1^2 + s_2^2 - 2 s_1 s_2$, and each term has its matrix:
#
# $$|\mu_1-\mu_2|^2 + \mathrm{tr}\,C_1 + \mathrm{tr}\,C_2 - 2\,\mathrm{tr}\,(C_1C_2)^{1/2}$$
#
# The trace of a matrix root is the sum of the roots of its eigenvalues. $C_1C_2$ has the eigenvalues of
# $C_1^{1/2}C_2C_1^{1/2}$, which is symmetric and has none below 0.

# %%
def our_frechet(a, b):
    a, b = a.double(), b.double()  # (N, F)
    one, two = torch.cov(a.T), torch.cov(b.T)  # (F, F)
    inner = torch.linalg.eigvals(one @ two).real.clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + one.trace() + two.trace() - 2 * inner


there, ceiling = known_f[:N], unseen_f[:N]  # (N, 64) each; all is compared with the first from here on
assert torch.allclose(our_frechet(there, ceiling), torch.tensor(distances.frechet(there, ceiling)).double(), rtol=1e-6)
print(f"ours {our_frechet(there, ceiling):.4f}, the library's {distances.frechet(there, ceiling):.4f}")

# %% [markdown]
# Is it right, or are both wrong in the same way? A closed form can tell. The next cell builds points whose mean and
# spread are exactly known: two on each axis, at equal distances from the mean.
#
# Outside code should agree, too. `torchmetrics` wants a module that gives features. By default it would load Inception, a
# network for photographs. We hand it ours.

# %%
def on_axes(mean, spread):
    reach = (len(mean) - 0.5) ** 0.5 * torch.diag(spread)  # so that the variance, over 2F - 1, is spread squared
    return torch.cat([mean + reach, mean - reach])  # (2F, F)


mean = torch.randn(2, 16, generator=g, dtype=torch.float64)
spread = 0.5 + torch.rand(2, 16, generator=g, dtype=torch.float64)
points = [on_axes(*pair) for pair in zip(mean, spread, strict=True)]
closed = (mean.diff(dim=0) ** 2 + spread.diff(dim=0) ** 2).sum().item()
variances = (mean.diff(dim=0) ** 2 + (spread**2).diff(dim=0) ** 2).sum().item()
print(f"closed form {closed:.6f}, ours {our_frechet(*points):.6f}; with variances for spreads {variances:.6f}")


class Features(torch.nn.Module):
    num_features = 64

    def forward(self, x):
        return net.features(x)  # (B, 64)


outside = FrechetInceptionDistance(feature=Features())
outside.update(known[:N], real=True)
outside.update(unseen[:N], real=False)
assert torch.allclose(outside.compute().double(), our_frechet(there, ceiling), rtol=1e-3)
print(f"torchmetrics {outside.compute():.4f}, ours {our_frechet(there, ceiling):.4f}")

# %% [markdown]
# Much code takes `sqrtm` of the product itself. With fewer pictures than features the product is singular: some
# eigenvalues are 0, and rounding pushes a few just below.
#
# **Predict.** What is the square root of a number just below 0, and where does it go in the distance?

# %%
few = [torch.cov(part[:40].double().T) for part in (there, ceiling)]  # 40 pictures, 64 features
lowest = torch.linalg.eigvals(few[0] @ few[1])
print(f"40 pictures: {int((lowest.real < 0).sum())} of 64 eigenvalues lie below 0; lowest {lowest.real.min():.1e}")
print(f"their roots hold an imaginary part of up to {lowest.sqrt().imag.abs().max():.1e}")
full = [torch.cov(part.double().T) for part in (there, ceiling)]
root = sqrtm((full[0] @ full[1]).numpy())
print(f"{N} pictures: the trace of sqrtm {root.trace().real:.4f}, from eigenvalues {torch.linalg.eigvals(full[0] @ full[1]).real.sqrt().sum():.4f}")

# %% [markdown]
# A complex root is an error of rounding, not a fact about the pictures. The library takes the eigenvalues of the symmetric
# product and cuts them off at 0, so nothing complex can arise.
#
# ## 3. KID: compare pairs
#
# The Frechet distance looks at mean and covariance only. KID compares all pairs through a kernel,
# $k(x,y)=(x\cdot y/F+1)^3$, which tells how alike two feature vectors are. Take the mean likeness within each set, and
# subtract twice the mean likeness across.
#
# Within a set a vector must not meet itself. Such pairs are more alike than any pair of different pictures, and they
# would push the result up. So the diagonal is left out.
#
# **Predict.** Then KID has no bias: real against real is 0 *on average*. What follows for single values?

# %%
def our_kid(a, b, keep=0):  # keep=1 keeps the diagonal
    one, two, across = ((x.double() @ y.double().T / 64 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))  # (N, N) each
    within = [(k.sum() - (1 - keep) * k.trace()) / (len(k) * (len(k) - 1 + keep)) for k in (one, two)]
    return (sum(within) - 2 * across.mean()).item()


assert abs(our_kid(there, ceiling) - distances.kid(there, ceiling)) < 1e-9
assert abs(our_kid(there, ceiling) - poly_mmd(there.double(), ceiling.double()).item()) < 1e-6  # torchmetrics
pairs = [(known_f[p[:N]], known_f[p[N:]]) for p in (torch.randperm(2 * N, generator=g) for _ in range(8))]
print(*(f"diagonal {word} {[round(our_kid(*p, keep), 2) for p in pairs]}" for keep, word in enumerate(("left out", "kept    "))), sep="\n")

# %% [markdown]
# The unbiased values scatter around 0, some below. A KID below 0 is no mistake: it says "not told from real". With the
# diagonal kept, all are pushed up by nearly the same amount, and that amount depends on N.

# %% [markdown]
# ## 4. Precision, recall, coverage
#
# One number cannot say *what* is wrong. Fakes can be poor, or there can be too few kinds of them. Give each vector a ball
# that reaches to its fifth neighbour in its own set. All balls of a set together mark where that set lives.
#
# **Precision** is the share of fakes that lie in any real ball: are they plausible? **Recall** is the share of real
# pictures in any fake ball: is everything drawn? **Coverage** is the share of real balls that hold a fake.
#
# **Predict.** One fake lies far away from all others. Its ball is huge. Which of the three does it flatter?

# %%
def our_three(real, fake, k=5):
    def reach(x):
        return torch.cdist(x, x).sort(1).values[:, k]  # (N,); number 0 is the vector itself

    across = torch.cdist(real, fake)  # (N, M)
    precision = (across <= reach(real)[:, None]).any(0).float().mean()
    recall = (across <= reach(fake)).any(1).float().mean()
    return precision, recall, (across.min(1).values <= reach(real)).float().mean()


ours, library = our_three(there, ceiling), distances.precision_recall(there, ceiling)
assert torch.allclose(torch.stack(ours), torch.tensor(library))
swapped = distances.precision_recall(ceiling, there)
assert abs(swapped.precision - library.recall) < 1e-6 and abs(swapped.recall - library.precision) < 1e-6
print("real against real:", {name: round(value, 3) for name, value in library._asdict().items()})


def measured(found, right=None):
    row = {"Frechet distance": distances.frechet(there, found), "KID": distances.kid(there, found)}
    row |= distances.precision_recall(there, found)._asdict()
    return row if right is None else row | {"label accuracy": right.float().mean().item()}

# %% [markdown]
# Recall is flattered: real pictures fall into that huge ball. Coverage draws its balls around real pictures only, so it is
# not. Swap the two sets, and precision and recall change places. A swap is easily overlooked.
#
# A perfect generator does not get 1 for precision or recall, as the line shows. That line is the ceiling.

# %% [markdown]
# ## 5. Which measure sees which damage?
#
# Now real pictures are damaged in six ways. All sets have N pictures. Five start from unseen pictures. Of the repeated
# ones only one in twenty is new. The sixth set copies training pictures, from the very set that all are compared with.

# %%
x, y = unseen[:N], unseen_labels[:N]  # (N, 1, 32, 32), (N,)


def blur(x):
    return F.avg_pool2d(x, 7, 1, 3, count_include_pad=False)


kept = (y < 8).nonzero()[:, 0]
some = kept[torch.randint(len(kept), (N,), generator=g)]
few, copied = torch.randint(N // 20, (N,), generator=g), torch.randint(N, (N,), generator=g)
every_other = (torch.arange(N) % 2 == 0).view(-1, 1, 1, 1)
sets = {
    "real, unseen": (x, y),
    "blurred": (blur(x), y),
    "noisy": ((x + 0.5 * torch.randn(x.shape, generator=g)).clamp(-1, 1), y),
    "every other one pure noise": (torch.where(every_other, 2 * torch.rand(x.shape, generator=g) - 1, x), y),
    "no 8 and no 9": (x[some], y[some]),
    "few pictures, repeated": (x[few], y[few]),
    "copies of training pictures": (known[copied], known_labels[copied]),
}
strip = torch.stack([part[:8] for part, _ in sets.values()])  # (7, 8, 1, 32, 32)
plots.caption_sheet(strip.expand(-1, -1, 3, -1, -1), list(sets), title=f"damaged on purpose: {test.title}")

# %% [markdown]
# When does a measure *see* a damage? Eight random sets of real unseen pictures give a range for each measure. We widen it
# by its own width at both ends. A value worse than all of that counts as seen.
#
# The last column is the *label accuracy*: the share of pictures that an independent classifier reads as the label they
# should have.
#
# **Predict.** Draw the table: six damages, six measures. Which damage does precision miss, and which does recall? Is there
# a damage that no measure sees?

# %%
LOWER = ["Frechet distance", "KID"]
unseen_right = net.read(unseen) == unseen_labels
draws = [torch.randperm(2 * N, generator=g)[:N] for _ in range(8)]
rounds = [measured(unseen_f[d], unseen_right[d]) for d in draws]
usual = {name: plots_measures.usual_range([row[name] for row in rounds]) for name in rounds[0]}
results = {name: measured(net.features(part), net.read(part) == labels) for name, (part, labels) in sets.items()}
plots_measures.table(results, usual, lower_is_better=LOWER, rule_after=["real, unseen"], title=f"{N} pictures a set: {test.title}")

# %%
for name, row in results.items():
    blind = [m for m, v in row.items() if not plots_measures.sees(v, usual[m], higher_is_better=m not in LOWER)]
    print(f"{name:28} not seen by: {', '.join(blind) or 'nobody'}")

# %% [markdown]
# Read the table by columns. With MNIST the *Frechet distance* and *KID* notice five of the six, but they do not say what is
# wrong. *Precision* asks whether a picture is plausible. Missing classes pass, or nearly: every single picture is real.
# For repeated pictures it rests on a few originals, so chance can move it. *Recall* asks for variety, and is about 0 where
# few pictures are repeated. But it lets pure noise pass: the real half of that set still reaches everywhere. *Label
# accuracy* hardly asks for beauty and never for variety. With fewer pictures the ranges are wider, and less is seen.
#
# Then read the last row. **None of the five measures of sets sees the copies.** Most even prefer copies to new real
# pictures, because they are compared with the very pictures that were copied.

# %% [markdown]
# ## 6. Are they copies?
#
# A copy lies very near to a training picture. How near is too near? Real, unseen pictures have near neighbours, too. So
# compare two distances: to the nearest training picture, and to the nearest picture of an equally large set that was
# *not* trained on. For a new picture, either may be nearer. For a copy the first is much smaller.
#
# We plant copies among unseen pictures. Noise lies on top of them, so that a search for equal pixels finds nothing. A
# picture is flagged where the first distance is at most half of the second.
#
# **Predict.** Will all planted copies be flagged? And how many of the unseen pictures, by mistake? Then the copies are
# moved by one pixel, right and down.

# %%
planted = (known[: N // 8] + 0.05 * torch.randn(known[: N // 8].shape, generator=g)).clamp(-1, 1)
moved = torch.roll(known[: N // 8], (1, 1), (2, 3))


def audit(part, space=lambda x: x.flatten(1)):
    shelves = space(known[:N]), space(unseen[N:])  # equally many pictures; (N, 1024) for pixels
    return tuple(distances.nearest(space(part), shelf)[0] for shelf in shelves)


def flagged(pair):
    return pair[0] <= 0.5 * pair[1]


audits = {"unseen": audit(x), "planted copies": audit(planted), "copies, moved": audit(moved)}
for name, pair in audits.items():
    print(f"{name:15} median ratio {(pair[0] / pair[1]).median():.2f}, flagged {int(flagged(pair).sum())} of {len(pair[0])}")
far = audit(moved, net.features)
print(f"copies, moved, in features: median ratio {(far[0] / far[1]).median():.2f}, flagged {int(flagged(far).sum())}")
plots_measures.neighbours(audits, title=f"distances in pixels: {train.title}")

# %% [markdown]
# All planted copies lie left of the line, and the unseen pictures scatter around the dashed one. So the audit works for
# copies that sit where the original sat.
#
# The moved copies pass, or most do. In pixels a digit that moved by one dot is about as far away as another digit. Features
# help little. An audit finds the kinds of copies that its distance knows, and its silence proves little.

# %% [markdown]
# ## 7. How sure is a number?
#
# Other pictures of the same source would have given another number. The *bootstrap* asks how much other: draw n of the
# n results with replacement, compute the number again, and repeat. The middle 95 % are the interval.
#
# **Predict.** The blurred pictures get a little noise on top. Are they read less well now? Both sets show the *same*
# digits. Should the two be resampled together, with the same rows, or each by itself? Which interval is wider?

# %%
def bootstrap(results, rounds=2000):
    rows = torch.randint(len(results), (rounds, len(results)), generator=g)  # with replacement
    low, high = results.float()[rows].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return results.float().mean().item(), low, high


soft = (net.read(blur(x)) == y).float()  # (N,): 1 where read rightly
worse = (net.read((blur(x) + 0.1 * torch.randn(x.shape, generator=g)).clamp(-1, 1)) == y).float()
a, b = (torch.randint(N, (2000, N), generator=g) for _ in range(2))
apart = (soft[a].mean(1) - worse[b].mean(1)).quantile(torch.tensor([0.025, 0.975]))
hits, paired = int(soft.sum()), bootstrap(soft - worse)
shares = {
    "blurred, bootstrap": bootstrap(soft),
    "blurred, Wilson": (hits / N, *wilson(hits, N)),
    "lost by noise, same rows": paired,
    "lost by noise, apart": (paired[0], *apart.tolist()),
}
plots_measures.intervals(shares, title=f"label accuracy of {N} pictures, 95 %", label="share, or difference of shares")

# %%
perfect = torch.ones(50)
print("50 of 50 right: bootstrap", [round(v, 3) for v in bootstrap(perfect)[1:]], " Wilson", [round(v, 3) for v in wilson(50, 50)])

# %% [markdown]
# Less well? If the interval of the same rows holds 0, this run cannot tell.
#
# For a share the bootstrap and Wilson's formula nearly agree. For a difference of paired results Wilson's does
# not apply. Keep pairs together: a digit that is hard to read is hard in both sets, and that part cancels. Resampled
# apart, they bring their luck twice: the interval is wider.
#
# The last line is a warning. Where all results are equal, resampling can only repeat them, and the bootstrap claims to be
# certain. Wilson does not.

# %% [markdown]
# ## 8. Right, or only pretty?
#
# A model that is told *what* to draw can draw well and draw the wrong thing. So shuffle the labels among real pictures.
#
# **Predict.** What happens to the Frechet distance, and what to the label accuracy? For captions, the *judge* of this
# course reads shape, colour, size and place. What does it say to swapped captions, to noise, and to one drawing repeated
# with its own caption?

# %%
for word, labels in {"as they are": y, "shuffled": y[torch.randperm(N, generator=g)]}.items():
    print(f"labels {word:11}: Frechet distance {distances.frechet(there, ceiling):.4f}, label accuracy {(net.read(x) == labels).float().mean():.3f}")
scenes = world.sample_scenes(300, runtime.generator(SEED))
drawn, said, judge = world.draw(scenes), scenes.labels, load(Judge, "judge")  # (300, 3, 32, 32), (300, 8)
shaken, first = (drawn + 0.1 * torch.randn(drawn.shape, generator=g)).clamp(-1, 1), torch.zeros(300, dtype=torch.long)
cases = {"own": (drawn, said), "swapped": (drawn, said.roll(1, 0)), "noise": (shaken, said), "one drawing": (drawn[first], said[first])}
judged = {name: metrics.caption_accuracy(judge, *pair)["all"] for name, pair in cases.items()}
print("judge, all right:", ", ".join(f"{name} {share:.3f}" for name, share in judged.items()))

# %% [markdown]
# The Frechet distance takes pictures only: labels do not enter it. The classifier and the judge ask which label belongs to
# which picture, and nothing else. The judge hardly minds noise, nor that one drawing comes 300 times. So a model with
# captions needs both kinds of measure. Both readers must be *independent*: a network that took part in the training would
# praise what it has taught.

# %% [markdown]
# ## 9. The generator of lesson 04
#
# Now the shipped generator of lesson 04, which has learned MNIST, beside its untrained twin as the floor and real pictures
# as the ceiling. The last column is the audit: the share of pictures flagged as copies.
#
# **Predict.** Which measures tell the trained generator from real pictures?

# %%
if "no MNIST" in test.title:
    print("MNIST is not here. The generator draws MNIST's digits and is held against another set: expect it far away.")
G = load(gan.Generator, "gan")
with torch.random.fork_rng(devices=[]):
    torch.manual_seed(SEED)
    untrained = gan.Generator(**G.hparams).eval()
drawn = {name: gan.draw(model, N, runtime.generator(SEED)) for name, model in {"untrained G": untrained, "G of lesson 04": G}.items()}
results |= {name: measured(net.features(part)) for name, part in drawn.items()}
parts = {name: part for name, (part, _) in sets.items()} | drawn
for name, part in parts.items():
    results[name]["flagged as copies"] = flagged(audit(part)).float().mean().item()
halves = [flagged(audits["unseen"])[torch.randperm(N, generator=g)[: N // 2]].float().mean().item() for _ in range(8)]
usual["flagged as copies"] = plots_measures.usual_range(halves)
lines = ["real, unseen", "copies of training pictures"]
lower = [*LOWER, "flagged as copies"]
plots_measures.table(results, usual, lower_is_better=lower, rule_after=lines, title=f"what each measure sees, with {N} pictures a set: {test.title}")

# %%
rows = torch.stack([x[:9], drawn["G of lesson 04"][:9], drawn["untrained G"][:9]])  # (3, 9, 1, 32, 32)
plots.caption_sheet(rows.expand(-1, -1, 3, -1, -1), ["real, unseen", "G of lesson 04", "untrained G"], text_width=130, title=f"real: {test.title}; G has learned MNIST")

# %% [markdown]
# With MNIST the trained generator lies between its floor and its ceiling, far nearer to the ceiling, and not at it. The audit
# flags hardly more of its pictures than of real ones. And with the audit beside the other measures, each of the six damages
# is seen by one column at least. So report the whole row.

# %% [markdown]
# ## What was shown
#
# The Frechet distance agrees with a closed form. Real pictures lie below every damaged set but the copies, which it does not
# see. The audit finds all planted copies and flags at most 2 % of unseen pictures. The cell fails if this run says otherwise.

# %%
assert abs(our_frechet(*points) - closed) < 1e-4 and abs(distances.frechet(*points) - closed) < 1e-4
assert abs(variances - closed) > 0.01, "a distance of variances should miss the closed form"
name = "Frechet distance"
real_worst = max(row[name] for row in rounds)
for damage in ("blurred", "noisy", "every other one pure noise", "no 8 and no 9", "few pictures, repeated"):
    assert results[damage][name] > real_worst, f"{damage} is not told from real pictures"
assert results["copies of training pictures"][name] < usual[name][1], "the Frechet distance should not see copies"
line = floor["training, unseen"]
assert median(line[0]) > median(line[-1]) and median(line[0]) > median(floor["training, noisy"][-1])
assert flagged(audits["planted copies"]).all(), "a planted copy was missed"
assert flagged(audits["unseen"]).float().mean() <= 0.02, "too many unseen pictures are flagged"
for damage in list(sets)[1:]:
    seen = [plots_measures.sees(v, usual[m], higher_is_better=m not in lower) for m, v in results[damage].items()]
    assert any(seen), f"no column sees: {damage}"
width = {key: row[2] - row[1] for key, row in shares.items()}
assert width["lost by noise, same rows"] < width["lost by noise, apart"]
assert judged["own"] > 0.9 and judged["swapped"] < 0.1
if "no MNIST" not in test.title:
    assert real_worst < results["G of lesson 04"][name] < 0.25 * results["untrained G"][name]
print(f"real at most {real_worst:.1f}; copies {results['copies of training pictures'][name]:.1f}; G {results['G of lesson 04'][name]:.1f}")

# %% [markdown]
# ## What this does not show
#
# - That these features see what people see. They have learned to read digits, so they may ignore what reading does not
#   need. For photographs other features are used, and distances from different features cannot be compared.
# - That a small distance means a good picture. It is a statement about sets.
# - That there are no copies where the audit is silent. It finds neither moved nor mirrored copies in pixels.
# - How the table looks for weaker damages. Each measure has a strength below which it sees nothing.

# %% [markdown]
# ## Exercises
#
# 1. Weaken blur and noise step by step. At which strength does each measure stop to see them?
# 2. Compare the copies with *other* training pictures, `known_f[N:]`, instead of `there`. What is left of their lead?
# 3. Make the audit find moved copies: try all shifts by one pixel, and keep the smallest distance.
# 4. Add one far outlier to the fakes, then twenty. Follow recall and coverage.
#
# The graded exercises of this lesson are in `exercises/05_measuring.ipynb`.
