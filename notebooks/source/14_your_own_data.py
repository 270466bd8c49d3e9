# %% [markdown]
# # 14 · Your own data, and responsibility
#
# So far the course made its own pictures and knew the truth about each. Now pictures and names come from other people:
# emojis, drawn by type designers, named in English and Chinese by a committee. In their place you can put a folder of
# your own. Whoever trains on the work of others owes some answers. This lesson measures them.
#
# ## What you will be able to do
#
# - check a folder of captioned pictures before a training meets its faults
# - read words that no grammar lists, and train a GAN on a few hundred pictures
# - measure whether a picture is the one that was asked for, by an encoder that no loss saw
# - audit a model for memorised pictures and for attributes that come unasked
# - write a model card from measurements, and mark what the model draws
#
# **Before this lesson:** lessons 05, 08 and 09. **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import torch
from IPython.display import Markdown, display
from mmcourse import augment, captioned, folders, own_data, plots, plots_pairs, retrieval, ring, runtime, watermark
from mmcourse.checkpoint import load
from mmcourse.distances import nearest
from mmcourse.emojis import SMALL
from mmcourse.finder import Finder, disturb
from mmcourse.layers import Trunk, linear
from mmcourse.losses import GAMES, r1
from mmcourse.subwords import Subwords
from mmcourse.text2image import Generator
from mmcourse.train import play
from mmcourse.widgets import LivePanel, progress
from torch.nn import functional as F

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
for name, row in runtime.results("lessons")["lessons"].get("14_your_own_data", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. Bring a folder
#
# A captioned folder holds pictures and a table, `captions.csv`, with the columns `file` and `caption`, and `language`
# and `split` where wanted. We write a small one, and half of it is bad on purpose.
#
# **Predict.** Which of the seven lines at the end will be complained about?

# %%
found = own_data.emojis_or_drawings(None if profile == "gpu" else SMALL, seed=SEED)
some, said = found.pictures[::60], found.names["en"][::60]
place = own_data.write_folder(tempfile.mkdtemp(), some, [(f"{i}.png", name, "en", "train") for i, name in enumerate(said)])
whole = (place / "0.png").read_bytes()
(place / "cut.png").write_bytes(whole[: len(whole) // 2])  # an upload that broke off
(place / "again.png").write_bytes(whole)  # a copy under another name
(place / "words.png").write_text("I am no picture")
bad = ["cut.png,half of it", "again.png,a copy", "words.png,text", "1.png,", "O.png,not there", "2.png,big, red, round, old", "3.png,a second caption"]
with (place / "captions.csv").open("a") as file:
    file.write("\n".join(bad) + "\n")
report = folders.check(place)
print(str(report).replace(str(place), "the folder"))
folder = folders.CaptionedFolder(place)
assert len(folder) == report.usable == len(some) + 1  # a second caption is no fault
print(found.about)
print(len(found), "pictures in this lesson,", int(found.held_out.sum()), "of them held out")

# %% [markdown]
# Six of the seven. Each finding says what to do, and what is right is loaded at once. So no training stops in the
# middle of an epoch.
#
# ## 2. The pictures and names of other people
#
# The cell has also loaded this lesson's set. Where no emoji font is installed, it says so, and a folder of the world's
# drawings takes the emojis' place. Names compose: "woman firefighter: dark skin tone". Of each occupation and gender
# one tone is held out, and of each colour but red one object (the orange heart, the green circle, ...). Training shows
# neither their picture nor their name.
#
# **Predict.** From which seen pictures could a model learn to draw one that is framed below?

# %%
rows, columns, at = own_data.composed(found)
plots_pairs.compositions(found.pictures[at], rows, columns, found.held_out[at])

# %% [markdown]
# From its row and from its column: each part of the name is seen in other company.
#
# ## 3. Words that no grammar knows
#
# The world has a list of all its words. Here there are thousands, and new ones may come. *Byte-pair encoding* (Sennrich
# and others, 2016) starts from characters. Again and again it merges the two neighbours that are met most often.

# %%
few = ["red heart", "red circle", "green heart", "green square", "blue heart"]
words = [[*word[:-1], word[-1] + "</w>"] for name in few for word in name.split()]  # </w> ends a word
merges = []
for _ in range(8):
    counts = Counter(pair for word in words for pair in itertools.pairwise(word))
    merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))  # of equally frequent pairs the first
    for word in words:
        for i in reversed(range(len(word) - 1)):
            if (word[i], *word[i + 1 : i + 2]) == merges[-1]:
                word[i : i + 2] = [word[i] + word[i + 1]]
assert Subwords.learn(few).merges[:8] == merges
print(["+".join(pair) for pair in merges])
print(words[0], words[1])

# %% [markdown]
# **Predict.** We learn pieces from the seen names alone. How many characters of held-out names will be unknown? How is
# a word cut that stands in no name?

# %%
captions = list(zip(*found.names.values(), strict=True))  # (English, Chinese) of each picture
pairs, recipe = captioned.Pairs(found.pictures, captions, found.held_out), captioned.PROFILES[profile]
pieces = pairs.vocabulary(recipe.space.words)
rare = found.held_out.nonzero()[:, 0].tolist()
unknown = [sign for i in rare for name in captions[i] for sign in pieces.unknown(name)]
print(len(pieces), "pieces; unknown in held-out names:", len(unknown))
print(*(pieces.pieces(name) for name in (*captions[rare[0]], "a violet astronomer")), sep="\n")

# %% [markdown]
# None. A new word falls into smaller pieces, at worst into letters. So it can be read. Whether it is understood is
# another question.
#
# ## 4. Little data
#
# D sees the same few pictures again and again. Suppose that G were perfect: what it draws is as real as the real
# pictures. We call 40 real pictures "real" and 40 others "drawn".
#
# **Predict.** There is nothing to tell apart. How many of the 80 will a D get right after 120 steps?

# %%
def by_heart(changes, g):
    shown, real = found.pictures[torch.randperm(len(found), generator=g)[:80]], (torch.arange(80) < 40).float()
    torch.manual_seed(SEED)
    D = torch.nn.Sequential(Trunk(width=8, features=32), linear(32, 1))
    opt, right = torch.optim.Adam(D.parameters(), lr=2e-3), []
    for step in range(120):
        loss = F.binary_cross_entropy_with_logits(D(augment.augment(shown, g, changes=changes))[:, 0], real)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 5 == 4:
            right.append(((D(shown)[:, 0] > 0) == (real > 0)).float().mean().item())
    return right


hearts = {name: by_heart(changes, runtime.generator(SEED)) for name, changes in (("as they are", ()), ("changed each time", augment.CHANGES))}
plots.curves({"step": list(range(5, 121, 5)), **hearts}, smooth=0, label="share right", title="what D gets right where nothing can be told")

# %% [markdown]
# All of them: it has learned the pictures by heart. What such a D tells G is about 80 pictures, and not about what
# makes a picture real. When each picture comes changed in another way each time, learning by heart takes longer.
#
# The changes must let a *gradient* through, since G learns through them as well (Zhao and others, 2020). Here are two
# of the three: colour, and a shift.

# %%
x, g = found.pictures[:6], runtime.generator(7)
brighter, richer, stronger = (torch.rand(6, 1, 1, 1, generator=g) for _ in range(3))
lit = x + brighter - 0.5
rich = lit.mean(1, keepdim=True) + 2 * richer * (lit - lit.mean(1, keepdim=True))  # away from grey: saturation
middle = rich.mean((1, 2, 3), keepdim=True)
changed = middle + (0.5 + stronger) * (rich - middle)  # away from the mean: contrast
assert torch.allclose(changed, augment.colour(x, runtime.generator(7)), atol=1e-5)

# %%
g = runtime.generator(8)
down, right = (torch.randint(-4, 5, (6, 1), generator=g).flatten().tolist() for _ in range(2))
room = F.pad(x, (4, 4, 4, 4))  # four pixels of 0 on each side
moved = torch.stack([room[i, :, 4 - down[i] : 36 - down[i], 4 - right[i] : 36 - right[i]] for i in range(6)])
assert torch.equal(moved, augment.shift(x, runtime.generator(8)))
rows = [x, changed.clamp(-1, 1), moved, augment.cut(x, runtime.generator(9))]
plots.caption_sheet(torch.stack(rows), ["as it is", "colour", "shift", "cut"], text_width=70)

# %%
weights = torch.randn(x.shape, generator=runtime.generator(1), dtype=torch.double)
score = lambda y: (weights * augment.augment(y, runtime.generator(5))).sum()  # noqa: E731  the same changes each time
y, nudge = x.double().requires_grad_(), torch.zeros(x.shape, dtype=torch.double)
nudge[1, 0, 12, 20] = 1e-4
(slope,) = torch.autograd.grad(score(y), y)
measured = (score(y + nudge) - score(y - nudge)) / 2e-4
print(f"one pixel's slope: by autograd {slope[1, 0, 12, 20]:.6f}, by nudging the pixel {measured:.6f}")
assert torch.isclose(slope[1, 0, 12, 20], measured, rtol=1e-4, atol=1e-6)

# %% [markdown]
# The gradient passes.
#
# **Predict.** It seems natural to change real pictures alone, as one does for a classifier. What would G learn? Here is
# a game of points: the real ones lie about .05 around one place, and the change moves a point by up to 1 each way.

# %%
def spread(on_real, on_fake, g):
    G, D = ring.networks(ring.Duel(width=32, z=2, seed=SEED))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.0, 0.9)) for net in (G, D))
    for _ in range(300):
        real = on_real(0.05 * torch.randn(128, 2, generator=g), g)
        fake = on_fake(G(torch.randn(128, 2, generator=g)), g)
        loss = GAMES["relativistic"].d(D(real), D(fake.detach())) + r1(D, real, 1.0)
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        GAMES["relativistic"].g(D(real).detach(), D(fake)).backward()
        opt_g.step()
    return G(torch.randn(1000, 2, generator=g)).std(0).mean().item()


move, keep = (lambda p, g: p + 2 * torch.rand(p.shape, generator=g) - 1), (lambda p, g: p)
ways = {"neither changed": (keep, keep), "both changed": (move, move), "only real changed": (move, keep)}
spreads = {name: spread(*way, runtime.generator(SEED)) for name, way in ways.items()}
print("spread of what G makes:", {name: f"{value:.2f}" for name, value in spreads.items()})

# %% [markdown]
# G learns the changes: its points spread as far as the *changed* real ones. With pictures it would draw them cut and
# discoloured. So D sees everything through changes, real and drawn alike (`augment.Augmented`).
#
# ## 5. A space, and the game
#
# First the space of lesson 08, anew for these names: a picture and its captions in both languages shall find each
# other.

# %%
torch.manual_seed(SEED)
space = captioned.PairSpace(words=pieces.to_dict(), text_width=recipe.space.text_width)
for _, loss in progress(captioned.align_pairs(space.to(device), pairs, recipe.space), total=recipe.space.steps, label="space"):
    pass
with torch.no_grad():
    likeness = space.cpu().encode([c[0] for c in captions]) @ torch.cat([space.image(p) for p in found.pictures.split(500)]).T
own = likeness.argmax(1) == torch.arange(len(found))
print(f"English names whose own picture is the nearest: seen {own[~found.held_out].float().mean():.0%}, held out {own[found.held_out].float().mean():.0%}")

# %% [markdown]
# Here each caption has *one* picture, so G may be told it. During a warm-up the squared distance to it is the only
# loss. Then the game begins, with D behind its changes; the distance keeps a part of its weight.
#
# **Predict.** What do pictures look like that were learned by distance alone?

# %%
G, D, sample, extra, config = captioned.prepare(space, pairs, recipe, seed=SEED, device=device)
shown = pairs.seen[:: len(pairs.seen) // 8][:8].tolist()
asked, z = [captions[i][0] for i in shown], torch.randn(8, config.z, generator=runtime.generator(2))


def away(G):
    g = runtime.generator(3)
    parts = {"seen": pairs.seen[:: max(1, len(pairs.seen) // 200)].tolist(), "held out": rare}
    return {k: 100 * F.mse_loss(captioned.PairPainter(space, G).draw([captions[i][0] for i in at], g), found.pictures[at]).item() for k, at in parts.items()}


start = away(G)
for _ in progress(captioned.warm_up(G, sample, recipe, seed=SEED), total=recipe.warm_up, label="warm-up"):
    pass
warm = away(G)
plots.grid(torch.cat([found.pictures[shown], captioned.PairPainter(space, G).draw(asked, z=z)]), title="the truth, and what was learned by distance alone")

# %%
panel = LivePanel(config.steps, samples=lambda state: captioned.PairPainter(space, state.ema).draw(asked, z=z), measure=lambda state: away(state.ema))
for step in panel(play(G, D, sample, config, extra=extra)):
    pass
end = away(step.state.ema)
print("distance to the truth, in hundredths:", {k: f"{start[k]:.1f} -> {warm[k]:.1f} -> {end[k]:.1f}" for k in start})

# %% [markdown]
# After the few steps of `quick` they are blurred and nearly alike: where G is unsure, the mean of all possibilities has
# the least distance. After the many of `cpu` each is nearly its picture, a little mottled: distance alone learns by
# heart.
#
# `quick` has only had a taste. From here on it uses the shipped model, which learned all emojis but the held-out ones.
# The other profiles use what you have just trained.

# %%
shipped = profile == "quick" and found.kind == "emojis"
G = step.state.ema
if profile == "quick" and not shipped:
    print("Without the font there is no shipped model: what follows shows the taste alone, and is near chance.")
if shipped:
    found, space, G = own_data.emojis_or_drawings(), load(captioned.PairSpace, "emoji_space"), load(Generator, "emoji")
finder, painter, names = load(Finder, "emoji_finder"), captioned.PairPainter(space, G), found.names
seen, held = ((found.held_out == out).nonzero()[:, 0] for out in (False, True))
ask = lambda at, k=0: painter.draw([names["en"][i] for i in at.tolist()], runtime.generator(k))  # noqa: E731
some = held[:: len(held) // 8][:8]
sheet = torch.stack([found.pictures[some], ask(some, 1), ask(some, 2), ask(some, 3)], 1)
plots.caption_sheet(sheet, [names["en"][i] for i in some], columns=["truth", "drawn", "drawn", "drawn"], title="compositions that no training showed")

# %% [markdown]
# The columns differ little: with one picture a caption, the noise z has next to nothing to decide.
#
# ## 6. Is it the right one?
#
# No judge knows the facts of an emoji. But there is a true picture among thousands. A drawing is right if the true one
# is the *nearest* of all (R@1), or among the five nearest (R@5). Nearest for a `Finder`: it learned to know pictures
# again after shifts, zooms and noise. It never saw a caption, and no loss of G ever saw it. Some emojis are equal pixel
# for pixel, such as the flags of Norway and of Bouvet Island; either counts.
#
# **Predict.** Seen or held out, English or Chinese: which of the four will be best, and which worst?

# %%
shelf = finder.vectors(found.pictures)  # (N, 128)
kinds, kind = torch.unique(found.same, return_inverse=True)  # equal pictures are of one kind
each = torch.zeros(len(kinds), shelf.shape[1]).index_copy(0, kind, shelf)  # one vector a kind
vectors = finder.vectors(ask(held))
top = (vectors @ each.T).topk(5).indices  # (B, 5)
right = top == kind[held][:, None]
told = retrieval.found_at(vectors, shelf, held, found.same)
assert abs(told["r1"] - right[:, 0].float().mean()) < 1e-6 and abs(told["r5"] - right.any(1).float().mean()) < 1e-6

# %%
torch.manual_seed(SEED)
fresh = captioned.PairPainter(space, Generator(**G.hparams))  # untrained
n, kinds_asked = 300 if profile == "quick" else 1000, ("model", "no_text", "untrained")
table = retrieval.measure_pairs(painter.draw, painter.draw_blank, fresh.draw, finder, found.pictures, names, found.held_out, found.same, n=n, seed=SEED)
for split, language in itertools.product(("seen", "held_out"), names):
    print(f"{split:8} {language}", {k: f"R@1 {table[split][language][k]['r1']:.1%}, R@5 {table[split][language][k]['r5']:.1%}" for k in kinds_asked})
stored = runtime.results("emoji_cpu")["summary"]
ways = {name: f"{stored[name]['held_out']['en']['r1']['median']:.1%}" for name in ("after_warm_up", "game", "game_bare")}
print("cpu profile, median of three seeds, held out, en, R@1:", ways)
print(f"ceiling: seen {table['seen']['ceiling']['r1']:.1%}, held out {table['held_out']['ceiling']['r1']:.1%}; chance {1 / len(kinds):.2%}")
shares = {f"{split.replace('_', ' ')}, {k}": table[split][k]["model"]["r1"] for split in ("seen", "held_out") for k in names}
plots.bars(shares, floor=table["seen"]["en"]["no_text"]["r1"], floor_label="no text", ceiling=table["seen"]["ceiling"]["r1"], title="the true picture is the nearest of all")

# %% [markdown]
# The ceiling is the true pictures themselves, a little disturbed. Without text hardly any is right. What was seen comes
# out best. Held-out compositions are harder and still far above chance: parts were put together. On the sheet above
# people compose better than colours, which come out mottled or wrong. Languages need not compose alike: 农妇, a woman
# farmer, does not hold 农民, the farmer.
#
# The stored runs add a caution: after the warm-up alone, or with D left bare, the right picture is found about as
# often. So neither the game nor its changes made R@1. What they do change shows in the next section.
#
# ## 7. Has it learned pictures by heart?
#
# Asked by name for a picture that it was trained on, it *should* draw that picture. For a held-out name a training
# picture is always wrong. So we lay the nearest training picture beside each drawing.
#
# **Predict.** What share of drawings will be near-copies of a training picture: for seen names, for held-out ones?

# %%
train = shelf[seen]
some = torch.cat([seen[:: len(seen) // 4][:4], held[:: len(held) // 4][:4]])
drawn = ask(some, 4)
_, which = nearest(finder.vectors(drawn), train)
said = [f"{names['en'][i]} ({'held out' if found.held_out[i] else 'seen'})" for i in some]
plots.caption_sheet(torch.stack([drawn, found.pictures[seen[which]]], 1), said, columns=["drawn", "nearest seen"])

# %%
limit = table["copy_limit"]  # 95 % of pictures lie nearer than this to themselves after a mild change
planted = disturb(found.pictures[seen[:100]], runtime.generator(5), strength=0.2)  # a hundred copies, hardly changed
copies = {f"drawn, {s.replace('_', ' ')}": table[s]["en"]["model"]["near_copies"] for s in ("seen", "held_out")}
copies |= {"real, held out": retrieval.near_copies(shelf[held], train, limit), "planted copies": retrieval.near_copies(finder.vectors(planted), train, limit)}
away_from = {name: nearest(finder.vectors(ask(at[:300], 5)), train)[0].median().item() for name, at in (("seen", seen), ("held out", held))}
print(f"limit {limit:.2f}; median distance of drawings to the nearest training picture:", {k: f"{v:.2f}" for k, v in away_from.items()})
runs = runtime.results("emoji_cpu")["runs"]
parts = {way: sorted(run[way]["seen"]["en"]["model"]["near_copies"]["share"] for run in runs)[len(runs) // 2] for way in ways}
print("300 pictures, cpu profile, median of three seeds, drawn, seen:", {way: f"{part:.0%}" for way, part in parts.items()})
plots.bars({name: row["share"] for name, row in copies.items()}, label="share of near-copies", title="as near to a training picture as a mild change takes it")

# %% [markdown]
# The planted copies are found, so the audit is not blind. The third bar is the control of the second: real pictures
# that no training saw. A near-copy at this strict limit is a picture that nobody would tell from its model. The other
# drawings of seen names are rougher, but you know the picture again, and so does the finder: that is what R@1 of seen
# names counts.
#
# Few pictures invite memorising. In the stored runs on 300 pictures about a third of the drawings of seen names are
# near-copies. With D left bare, or after the warm-up alone, there are clearly more: D behind its changes holds copying
# back, though it does not end it. With the whole set the share is not smaller: the shipped model was held to the truth
# more strongly, and for longer.
#
# ## 8. What comes unasked
#
# "Firefighter" names no gender and no tone, but a picture has to show some.
#
# **Predict.** The training set holds genders and tones in nearly equal numbers. Will the drawings of bare names be as
# balanced?

# %%
crowd = own_data.crowd_of(found)
there = finder.vectors(crowd.pictures)
ties = {"training set": crowd.traits[crowd.trained].mean(0)}
for name, said in crowd.asked.items():
    vectors = finder.vectors(painter.draw(said * 20, runtime.generator(6)))  # twenty drawings of each
    ties[name] = crowd.traits[nearest(vectors, there)[1]].mean(0)  # read by the nearest real picture
for word in ("nurse", "boss", "worker", "护士"):
    back = nearest(finder.vectors(painter.draw([word] * 20, runtime.generator(6))), shelf)[1].tolist()
    print(word, "is drawn as", Counter(names["en"][i] for i in back).most_common(2))
plots.similarity_matrix(torch.stack(list(ties.values())), list(ties), crowd.columns, label="share", number=".0%", low=0, high=1)

# %% [markdown]
# Not at all. With one picture a caption, the model answers a caption in nearly one way, whatever the noise. In the
# whole set a bare name belongs to a yellow person, so that is what comes. Where no picture bears the name, as for
# "(job): skin tone", the model picks, and picks nearly the same for all jobs. In our `cpu` run, in which hardly any
# bare name was seen, it drew mostly one tone, and men far more often than women. Balanced data does not make balanced
# answers. And a word that stands in no name is drawn as something else: the model has no way to say that it does not
# know.
#
# Among emojis this looks odd. Where people are meant, it decides who is shown as a firefighter: nobody took that
# decision, and each picture repeats it.
#
# ## 9. A model card
#
# Whoever gets a model should get with it what it is, what it was made from, how good it is, and what it must not be
# used for (Mitchell and others, 2019). The figures come from the tables above; none is typed by hand.

# %%
emojis = found.kind == "emojis"
about = {
    "What": f"A GAN of {sum(p.numel() for p in G.parameters()):,} weights. It draws 32x32 pixels from a name, in {' and '.join(names)}.",
    "Data": f"{len(seen):,} pictures; {len(held)} compositions held out. " + ("Emojis drawn from an installed font, names from the package emoji." if emojis else "Drawings of the course's world."),
    "Licence": "Weights: MIT, as the course. " + ("Pictures: the font's (Noto: SIL Open Font License 1.1); names: BSD." if emojis else "Pictures: the course's."),
    "Limits": "One run, one font, 32 pixels. Words outside the names are read piece by piece and seldom understood. Nearness to one true picture was measured, not beauty. Traits were read by the nearest real picture.",
    "Not for": "Pictures of real persons. Guessing anybody's gender, skin tone or work. Drawings passed off as the font's, or as a person's. Any use in which a wrong picture does harm.",
}
told = {name: dict(zip(crowd.columns, shares.tolist(), strict=True)) for name, shares in ties.items()}
text = own_data.model_card("Small pictures from their names", about, table, copies, told)
runtime.write_whole(Path(tempfile.mkdtemp()) / "CARD.md", text.encode())
display(Markdown(text))

# %% [markdown]
# ## 10. A mark that can be found again
#
# Who meets a drawing later should be able to tell that a model made it. We add a pattern that is too faint to be seen:
# one secret sign, plus or minus, for each pixel. The detector multiplies a picture's fine structure by the same signs
# and sums. In an unmarked picture the signs are as good as coin tosses: the sum over its standard deviation, z, has
# mean 0 and variance 1. In a marked one *each* pixel adds a little (spread spectrum; Cox and others, 1997).

# %%
key, strength = "lesson 14", 2 * 10 ** (-36 / 20)  # 36 dB in a range that is 2 wide
signs = watermark.pattern(key)  # (32, 32) of -1 and 1, bits of a hash of the key
clean = ask(seen[:: max(1, len(seen) // 300)], 7)
marked = (clean + strength * signs).clamp(-1, 1)
assert torch.allclose(marked, watermark.mark(clean, key))
rest = watermark.fine(marked).flatten(1)  # each pixel less the mean around it, strong edges limited
z = rest @ signs.flatten() / rest.norm(dim=1)
assert torch.allclose(z, watermark.z_score(marked, key), atol=1e-4)
psnr = 10 * torch.log10(4 / (marked - clean).square().mean((1, 2, 3)))
plots.caption_sheet(torch.stack([clean[:6], marked[:6], (10 * (marked - clean)[:6]).clamp(-1, 1)]), ["drawn", "marked", "ten times the difference"], text_width=110)

# %% [markdown]
# **Predict.** A picture counts as marked if its z is above what chance exceeds once in a thousand. Real pictures and
# unmarked drawings, 1,000 keys: how often is one accused falsely? And under the worst of the keys?

# %%
limit_z = watermark.threshold(1e-3)
keys = torch.stack([watermark.pattern(f"key {k}").flatten() for k in range(1000)])
unmarked = {"real": found.pictures[seen[:: max(1, len(seen) // 300)]], "drawn": clean}
blank = {kind: F.normalize(watermark.fine(x).flatten(1), dim=1) @ keys.T for kind, x in unmarked.items()}  # (B, 1000)
accused = {kind: (z0 > limit_z).float() for kind, z0 in blank.items()}
print(f"PSNR at least {psnr.min():.1f} dB; limit {limit_z:.2f}, in theory {watermark.false_alarm(limit_z):.2%} accused")
print({kind: f"{hits.mean():.3%} accused, under the worst key {hits.mean(0).max():.1%}" for kind, hits in accused.items()})
plots_pairs.scores({"real, unmarked": blank["real"].flatten(), "drawn, unmarked": blank["drawn"].flatten(), "drawn, marked": z}, limit_z)

# %% [markdown]
# Over all keys count and theory agree, for both kinds. Under one key they need not: emojis resemble each other, so if
# one is accused, its likes are too. Before anybody is accused, the very key in use must be checked.
#
# **Predict.** Which of these break the mark: noise, JPEG, a whitened border, a shift by one pixel, a crop, a mirror?

# %%
shifted = F.pad(marked, (1, 0, 0, 0), mode="replicate")[..., :32]
after = {"as it is": marked, "noise of .1": (marked + 0.1 * torch.randn(marked.shape, generator=runtime.generator(9))).clamp(-1, 1)}
after |= {f"JPEG {q}": watermark.jpeg(marked, q) for q in (90, 75, 50)}
after |= {"border whitened": F.pad(marked[..., 6:-6, 6:-6], (6, 6, 6, 6), value=1.0), "shift by a pixel": shifted}
after |= {"cropped, enlarged": F.interpolate(marked[..., 2:-2, 2:-2], 32, mode="bilinear"), "mirror": marked.flip(-1)}
rates = {name: (watermark.z_score(x, key) > limit_z).float().mean().item() for name, x in after.items()}
rates["shift, nine looks"] = (watermark.z_score(shifted, key, reach=1) > watermark.threshold(1e-3, looks=9)).float().mean().item()
plots.bars(rates, label="share found", title="marked drawings that are found, at one false alarm in a thousand")

# %% [markdown]
# Noise, mild JPEG and a lost border leave enough pixels that agree. With emojis, stronger JPEG drops the fine
# structure, where the mark is. Crop and mirror break it. A shift by one pixel lays each sign beside its pixel, and
# nothing is left. A detector that looks at nine places finds it again, at a higher limit: nine looks are nine chances
# for a false alarm. Such a mark helps honest people. It stops nobody who wants to be rid of it.
#
# ## What was shown
#
# The cell below fails if this run says otherwise.

# %%
assert hearts["as they are"][-1] > 0.95 > hearts["changed each time"][-1] and spreads["only real changed"] > 5 * spreads["both changed"]
assert not unknown and max(warm["seen"], end["seen"]) < start["seen"] and copies["planted copies"]["share"] > 0.9
assert psnr.min() >= 36 and rates["as it is"] > 0.95 and max(hits.mean() for hits in accused.values()) < 0.003
for split in ("seen", "held_out"):
    assert table[split]["en"]["no_text"]["r1"] < 0.05 and table[split]["ceiling"]["r1"] > 0.9
if shipped:
    assert table["seen"]["en"]["model"]["r1"] > 0.5 and table["held_out"]["en"]["model"]["r1"] > 0.2
print({k: f"{v:.1%}" for k, v in shares.items()})

# %% [markdown]
# ## What this does not show
#
# - Emojis have one style and a white ground. Photographs with sentences need far more pictures and larger networks.
# - The finder is a network. What is nearest for it may be wrong for you: look at the sheets, too.
# - Three traits were counted, since they are known here. Others are there and were not looked for.
# - Where no near-copy is found, something may still have been learned by heart.
#
# ## Exercises
#
# 1. Put your own folder in the place of `found`: `own_data.from_folder(folders.CaptionedFolder("path"))`.
# 2. Train with `changes=()` in the recipe. Which of the two distances in the panel suffers?
# 3. Double the mark's strength. What does it cost in PSNR, and which JPEG quality does it survive then?
#
# The graded exercises of this lesson are in `exercises/14_your_own_data.ipynb`.
#
# ## Before you publish
#
# The pictures belong to somebody: ask for a licence, and keep it with the model. Who is in a picture has a say as well;
# consent to be photographed is not consent to be learned. What the data ties together the model ties together, and what
# the data leaves open the model decides, so count it before others meet it. Mark what is drawn, and say that it is
# marked.
