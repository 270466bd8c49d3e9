# %% [markdown]
# # 02 · The sick-GAN clinic
#
# A GAN can fail without any error message. The loop runs, the losses look calm, and the pictures are worthless. Here we
# make four GANs sick on purpose, each in its own way. We learn to tell them apart by their numbers, and cure each by one
# change.

# %% [markdown]
# ## What you will be able to do
#
# - say what a loss curve can tell you and what it cannot
# - count covered modes and good samples, and say why you need both
# - recognise four ways to fail by D's logits, D's accuracy and the modes
# - diagnose a run from its log alone, and know where the rules end
# - cure a run by one change, and test the cure on more than one seed
#
# **Before this lesson:** lesson 01 (the game in two dimensions). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import functools
import math
import statistics
import tempfile

import torch
from mmcourse import plots, runtime
from mmcourse.clinic import CURES, HEALTHY, PATIENTS, Clinic, charts, logit_size, usual
from mmcourse.plots_ring import rings
from mmcourse.ring import MODES, NEAR, SPREAD, Log, centres, change, duel, networks, record, ring

profile = runtime.pick_profile(PROFILE)
ROUNDS, EVERY, SEEDS = {"quick": (600, 20, 1), "cpu": (2000, 50, 4), "gpu": (2500, 50, 8)}[profile]
for name, row in runtime.results("lessons")["lessons"].get("02_clinic", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. What loss is normal?
#
# Nobody asks a more common question about GANs. Theory has an answer. If G draws exactly the real distribution, D cannot
# tell real from fake. Its best logit is 0 everywhere. Then its loss is $2\,\mathrm{softplus}(0) = 2\ln 2$, G's is $\ln 2$,
# and D is right on one half of the samples.
#
# We play two runs on the ring of eight Gaussians. They differ in a single setting. `record` looks at a run every few
# rounds and writes a row of numbers.

# %%
@functools.cache
def played(settings):
    return record(settings, every=EVERY)  # its log, and its last round


healthy = change(HEALTHY, {"steps": ROUNDS, "seed": SEED})
sick = {name: change(settings, {"steps": ROUNDS, "seed": SEED}) for name, settings in PATIENTS.items()}
two = {"run 1": sick["wandering"], "run 2": healthy}
print(f"2 ln 2 = {2 * math.log(2):.3f}, ln 2 = {math.log(2):.3f}")
charts({name: played(settings)[0] for name, settings in two.items()}, bands=["losses"])

# %% [markdown]
# **Predict.** The dashed line is 2 ln 2, the dotted one ln 2. In run 1 each loss lies on its line. In run 2 D's lies below
# its line, and G's mostly above. Which run draws all eight Gaussians?

# %%
real = ring(2000, runtime.generator(1))
clouds = {name: played(settings)[1].points() for name, settings in two.items()}
rings(clouds, real=real, columns=2, title="what the two runs draw, and the real points")

# %% [markdown]
# Run 1 has the losses of the theory and is worthless. Run 2 does not have them and is healthy. At the best G, the loss of
# the best D is 2 ln 2. The reverse is false: a D that has fallen behind has the same loss, because it cannot tell either.
#
# So no value of a loss is normal by itself. The two losses say who leads at this moment. They do not say how well G
# draws.

# %% [markdown]
# ## 2. Two numbers that do
#
# On the ring the truth is known, so we can count. A point belongs to the nearest centre. It is *good* if it lies within
# three standard deviations of it. From that we take two numbers: how many Gaussians hold at least one percent of all
# points, and which share of the points is good.
#
# **Predict.** Three clouds: all points at one centre; points strewn evenly over the whole square; real points. What are
# the two numbers of each?

# %%
def shares(points):
    distance, nearest = torch.cdist(points, centres()).min(dim=1)  # both (N,)
    good = distance <= NEAR * SPREAD
    return torch.bincount(nearest[good], minlength=MODES) / len(points)  # (8,)


def modes_covered(points):
    return int((shares(points) >= 0.01).sum())


def good_share(points):
    return shares(points).sum().item()


from mmcourse import ring as library

even = 6 * torch.rand(20000, 2, generator=runtime.generator(2)) - 3
one = centres()[:1] + SPREAD * torch.randn(2000, 2, generator=runtime.generator(3))
G, D = networks(healthy)
with torch.no_grad():
    untrained = G(torch.randn(2000, healthy.z, generator=runtime.generator(4)))  # (2000, 2)
for name, points in {"one centre": one, "even": even, "untrained G": untrained, "real": real, **clouds}.items():
    assert modes_covered(points) == library.modes_covered(points)
    assert abs(good_share(points) - library.good_share(points)) < 1e-6
    touched = int((shares(points) > 0).sum())
    print(f"{name:12} {modes_covered(points)} modes covered, {touched} touched, {good_share(points):6.1%} good")

# %% [markdown]
# The cloud at one centre is nearly all good and covers one mode: good samples say nothing about variety. The even cloud
# touches all eight and covers none, which is why the threshold is there. The untrained G is the floor, the real points
# are the ceiling. Neither number alone is enough.

# %% [markdown]
# ## 3. Four broken runs
#
# Each patient has the same networks and the same data as the healthy run. The next cell says what was changed.

# %%
for name, settings in sick.items():
    print(f"{name:9}", {k: getattr(settings, k) for k in ("game", "lr_g", "lr_d") if getattr(settings, k) != getattr(healthy, k)})
print("healthy  ", {k: getattr(healthy, k) for k in ("game", "lr_g", "lr_d", "penalty")})

# %% [markdown]
# **Predict.** Two of them have a D that moves much faster than G, one a D that is much slower, and one plays the Wasserstein
# game with nothing that keeps D's slopes small. What will each cloud look like? Draw four sketches before you run the
# cell.

# %%
runs = {"healthy": healthy, **sick}
logs = {name: played(settings)[0] for name, settings in runs.items()}
panels = {}
for name in sick:
    points = played(sick[name])[1].points()
    panels[f"{name}: {modes_covered(points)} modes, {good_share(points):.0%} good"] = points
rings(panels, real=real, title="four broken runs, and the real points behind them")

# %% [markdown]
# - *Won*: D is so far ahead that G gets no direction. The fakes lie where they started.
# - *Stuck*: G has found one or two modes and stays. What it draws there becomes better and better.
# - *Wandering* and *runaway*: the fakes are in no particular place. This picture is one moment. The next one shows the
#   wanderer four times, a few rounds apart.

# %%
moments, walk = [ROUNDS // 2 + 30 * k for k in range(4)], {}
for now in duel(sick["wandering"]):
    if now.number in moments:
        walk[f"round {now.number}"] = now.points()
    if now.number == moments[-1]:
        break
rings(walk, real=real, title="the wanderer, every 30 rounds")

# %% [markdown]
# All fakes move together. D learns where they are, slowly; G leaves long before D is there. People call this mode
# collapse. It is a chase rather than a place.

# %% [markdown]
# ## 4. The signs
#
# A learner at home has no ring to look at, but has the log. Here are the five logs side by side.
#
# **Predict.** Which row tells *won* from *stuck*? Which one tells *wandering* from *runaway*?

# %%
charts(logs, title="five logs: one healthy, four sick")

# %% [markdown]
# Read it row by row.
#
# - *Losses.* The winner's are the flattest: both are 0. The wanderer's are calm, too: they lie on the levels of a D that
#   cannot tell. The winner plays the minimax game and the runaway the Wasserstein game, which have other levels. So no
#   number can be compared between games. The runaway's D has losses of both signs.
# - *Logits.* They stay small in the healthy run and in the wanderer. The winner's lie far on both sides of 0. The
#   runaway's drift away together: in the Wasserstein game only their difference matters, and nothing holds it.
# - *Accuracy.* The winner is always right. Stuck: D is right nearly always, except on the fakes in the mode that G has
#   found. The wanderer's swings to both sides of one half, which a healthy run does not.
# - *Modes and good share.* They say that a run is sick. They do not say why.
#
# Now the rules. A single row jumps, so we take medians. The start of a run is always strange, so we look at the second
# half of the rows. First: is the run sick at all? Then: is D ahead? Last: how large are the logits?

# %%
def median(log, column):
    values = log.column(column)
    return statistics.median(values[len(values) // 2 :])


def size(log):
    pairs = zip(log.column("real_logit"), log.column("fake_logit"), strict=True)
    values = [(abs(on_real) + abs(on_fake)) / 2 for on_real, on_fake in pairs]
    return statistics.median(values[len(values) // 2 :])


def diagnose(log):
    if median(log, "modes") >= 3:
        return "healthy" if median(log, "modes") >= 7 else "unfinished"
    if median(log, "accuracy") >= 0.8:
        return "won" if median(log, "accuracy") >= 0.98 else "stuck"
    return "runaway" if size(log) >= 1 else "wandering"


# %%
from mmcourse import clinic

print("truth      diagnosis   modes  accuracy   size   loss of D")
for name, log in logs.items():
    assert diagnose(log) == clinic.diagnose(log) and size(log) == logit_size(log)
    numbers = f"{usual(log, 'modes'):5.1f} {usual(log, 'accuracy'):9.2f} {logit_size(log):6.2f} {usual(log, 'd'):11.2f}"
    print(f"{name:10} {diagnose(log):10} {numbers}")
found = {name: diagnose(log) for name, log in logs.items()}

# %% [markdown]
# No loss occurs in the rules. Look at the last column alone: could you have sorted the runs by it?

# %% [markdown]
# ## 5. The ward
#
# A log can be saved, sent to somebody else and read again. What is read is what was written.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = logs["stuck"].save(f"{folder}/stuck.json")
    print(f"{path.stat().st_size / 1000:.1f} kB, first row:", Log.load(path).rows[0])
    assert Log.load(path).rows == logs["stuck"].rows

# %% [markdown]
# Six more patients lie in the ward. You have not seen their settings. They were played elsewhere, and their logs are in
# `results/clinic_logs.json`.
#
# **Predict.** Write down six diagnoses, A to F. Use the rules, and your eyes.

# %%
stored = runtime.results("clinic_logs")
ward = {name: Log(found["settings"], found["rows"]) for name, found in stored["ward"].items()}
charts(ward, title="the ward: six logs without a name")

# %%
known = ("game", "lr_g", "lr_d", "penalty")
for name, log in ward.items():
    print(f"{name}: {diagnose(log):10}", {k: log.settings[k] for k in known})

# %% [markdown]
# Look at B's good share: nearly every sample is good, and seven modes are missing. That is why we count both.
#
# The last one is a trap. Patient F has equal learning rates. Nothing is wrong with it but that both are very small: after all
# its rounds it has hardly begun. The rules know six names and must choose one. They call it a wanderer.
#
# Look at its curves again. They are smooth, and a wanderer's accuracy swings. A rule is a summary of the cases that its
# author has seen. Look at the curves as well.

# %% [markdown]
# ## 6. One change each
#
# A cure changes one thing. Who changes two never learns which of them helped. The diagnosis says where to look:
#
# - wandering: D is too slow, so D gets G's learning rate
# - won and stuck: G is too slow, so G gets D's learning rate
# - runaway: D's slopes have no limit, so R1 gives them one (lesson 03 derives it)
#
# **Predict.** Which of the four will not reach seven modes?

# %%
cured = {name: change(sick[name], CURES[name]) for name in sick}
panels = {}
for name in cured:
    points = played(cured[name])[1].points()
    panels[f"{name}, {', '.join(f'{k} = {v}' for k, v in CURES[name].items())}"] = points
    before, after = played(sick[name])[0], played(cured[name])[0]
    modes = f"{usual(before, 'modes'):4.1f} -> {usual(after, 'modes'):3.1f} modes"
    print(f"{name:10} {modes}, {usual(before, 'good'):5.1%} -> {usual(after, 'good'):5.1%} good")
print(f"untrained G  {modes_covered(untrained)} modes, {good_share(untrained):.1%} good")
print(f"real points  {modes_covered(real)} modes, {good_share(real):.1%} good")
rings(panels, real=real, title="the same four after one change")

# %% [markdown]
# Textbooks have another cure for the winner. Its G plays the minimax game, whose gradient vanishes when D is sure. They
# say: take the non-saturating loss.
#
# **Predict.** We change only the game, and leave the learning rates. How many modes?

# %%
textbook = change(sick["won"], {"game": "non_saturating"})
log, last = played(textbook)
print(f"{usual(log, 'modes')} modes, {usual(log, 'good'):.0%} good; the rules say: {diagnose(log)}")
rings({"minimax (won)": played(sick["won"])[1].points(), "non-saturating": last.points()}, real=real, columns=2)

# %% [markdown]
# The fakes move now. That much of the cure works. But D is still much faster, and at most half of the modes come of it. One
# fault had hidden another.

# %% [markdown]
# ## 7. How many seeds?
#
# One run is an anecdote. The table holds eight seeds of the wanderer for each of seven treatments, played for this
# lesson. A number is the median of the covered modes over the second half of a run.
#
# **Predict.** How many seeds will be enough to choose a cure: two, four or eight?

# %%
cures = stored["cures"]
matrix = torch.tensor(list(cures.values()))  # (treatments, seeds)
columns = [f"seed {seed}" for seed in range(matrix.shape[1])]
for name, row in cures.items():
    cured_on = [sum(modes >= 7 for modes in row[:n]) for n in (2, 4, len(row))]
    print(f"{name:22} at least 7 modes on {cured_on[0]} of 2, {cured_on[1]} of 4, {cured_on[2]} of {len(row)} seeds")
plots.similarity_matrix(matrix, list(cures), columns, low=0, high=MODES, number="g", label="modes covered")

# %% [markdown]
# Read the rows, not the cells. The last row says *cured* to those who try four seeds, and no longer to those who try eight.
# R1 and the relativistic game are no bad tools, and lesson 03 shows what they are for. But here D was too slow, and only
# what makes D faster helps on every seed.

# %% [markdown]
# ## 8. Your own bench
#
# In JupyterLab the next cell shows the knobs. Set them, press Start, and watch the ring. Stop ends the run. Can you find a
# fifth illness? Can you cure the wanderer without touching D's learning rate?

# %%
bench = Clinic(change(sick["wandering"], {"steps": 200 if profile == "quick" else 2000}))
bench.show()

# %% [markdown]
# ## What was shown
#
# Four settings make a GAN sick, each in its own way, and the rules name all four. One change cures each. The next cell
# plays both sides once more for every seed of this profile, and fails if this run says otherwise.

# %%
print("modes:     sick        cured   (one number a seed)")
for name in sick:
    pair = []
    for settings in (sick[name], cured[name]):
        seeds = [change(settings, {"seed": SEED + k}) for k in range(SEEDS)]
        pair.append([usual(played(each)[0], "modes") for each in seeds])
    print(f"{name:10} {pair[0]}  {pair[1]}")
    assert max(pair[0]) <= 2, "a patient is not sick"
    assert min(pair[1]) >= 7, "a cure failed"
assert found == {name: name for name in logs}, "a diagnosis is wrong"
assert usual(played(textbook)[0], "modes") <= 4, "the textbook's cure worked after all"

# %% [markdown]
# ## What this does not show
#
# - The thresholds of the rules belong to this ring. In a picture GAN, modes cannot be counted like this. Lesson 05
#   measures what takes their place.
# - The signs of D carry over in kind, not in number: who leads, whether the logits grow, whether anything moves.
# - An equal pace is a cure here, where G and D are of one size. It is no law.
# - A median over half a run forgives short relapses. Look at the modes of a cured run row by row, and you may find one.

# %% [markdown]
# ## Exercises
#
# The graded exercises of this lesson are in `exercises/02_clinic.ipynb`. Some ideas without points:
#
# 1. Find the ratio of the two learning rates at which a healthy run becomes a wanderer. Is it the same on three seeds?
# 2. Add a rule for patient F. Does it leave the other diagnoses as they are?
# 3. Set both first `betas` of Adam to 0.9, then to 0.99. Which sign changes first?
# 4. Cure the runaway with `wgan-gp` instead of `r1`. How many rounds does it need to reach seven modes?
