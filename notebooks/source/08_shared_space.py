# %% [markdown]
# # 08 · One space for text and images
#
# A sentence is a row of words, a picture a grid of pixels. Nothing in one looks like anything in the other. In this
# lesson two networks learn to send both into one space of 64 numbers, so that a picture and a sentence that is true of it
# land close together. Lessons 09 to 12 stand on this space.

# %% [markdown]
# ## What you will be able to do
#
# - turn captions in two languages into numbers, and say what padding must not do
# - write the contrastive loss, and say why a caption can be true of several pictures
# - train two towers in about a minute and measure them by retrieval
# - name what such a space is good at, and where it is weak
#
# **Before this lesson:** lesson 00 (the world). **Time:** the next cell prints what was measured.

# %% tags=["parameters"]
PROFILE = "auto"  # quick, cpu, gpu; auto chooses
SEED = 0

# %%
import random

import torch
from mmcourse import encoders, plots, runtime, world
from mmcourse.checkpoint import load
from mmcourse.data import caption_batch, caption_set, vocabulary
from mmcourse.encoders import Space, align, contrastive, recall_at

profile = runtime.pick_profile(PROFILE)
device = runtime.pick_device() if profile == "gpu" else "cpu"
config = encoders.PROFILES[profile]
for name, row in runtime.results("lessons")["lessons"].get("08_shared_space", {}).items():
    print(f"profile {name}: {row['minutes']:.1f} minutes on {row['cpu']}, {row['cores']} cores")

# %% [markdown]
# ## 1. Words become numbers
#
# A *vocabulary* gives each word a number. 0 is kept for padding, because sentences differ in length and a batch must be a
# rectangle. 1 stands for a word that is not known.

# %%
words = vocabulary()
texts = ["a small red circle", "a large blue star above a green ring", "红色的圆形在左边"]
ids = words.tokenize(texts, length=10)
print(len(words), "words")
print(ids)

# %% [markdown]
# Chinese is written without spaces. `split_words` takes the longest known word that fits, then goes on behind it.
#
# **Predict.** What happens with a word that the model never saw? An error, a guess, or nothing at all?

# %%
from mmcourse.text import UnknownWords, split_words

print(split_words("红色的圆形在左边", words.index))
for text in ("a crimson circle", "红色的三角", ""):
    try:
        words.tokenize([text])
    except (UnknownWords, ValueError) as error:
        print("-", error)

# %% [markdown]
# An unknown word is named, and the nearest known ones are offered. A model that silently drops "crimson" would draw a
# circle of any colour and seem to be wrong. The cause would be hard to find, because nothing failed.

# %% [markdown]
# ## 2. The text tower
#
# Each word becomes a vector. A recurrent network (a GRU) reads these from the front to the back and keeps a state of 96
# numbers; a second one reads from the back to the front. So "red" is read together with what it stands before, and order
# counts. At the end one vector a sentence is needed: we take, for each number, its maximum over the words. This has a trap.
#
# **Predict.** We pad the same sentence to length 6 and to length 20. Does the plain maximum over all positions change?

# %%
torch.manual_seed(SEED)
embed, gru = torch.nn.Embedding(len(words), 96), torch.nn.GRU(96, 32, batch_first=True)
short, long = words.tokenize(texts[:1], length=6), words.tokenize(texts[:1], length=20)


def masked_max(x, keep):
    return x.masked_fill(~keep[..., None], -2.0).amax(1)  # (B, C); a GRU's numbers lie between -1 and 1


with torch.no_grad():
    x, y = gru(embed(short))[0], gru(embed(long))[0]  # (1, 6, 32) and (1, 20, 32)
print(f"plain maximum: moves by {(x.amax(1) - y.amax(1)).abs().max():.3f}", end=", ")
print(f"masked: by {(masked_max(x, short > 0) - masked_max(y, long > 0)).abs().max():.3f}")

# %% [markdown]
# The plain maximum depends on how much padding there is, so a sentence would move when its neighbour in the batch is longer.
# The masked one does not. The library's `TextTower` uses it, and starts the second reading at the last real word.

# %%
space = Space(words=len(words), **config.size)
with torch.no_grad():
    a, b = space.text(short), space.text(long)
assert torch.allclose(a, b, atol=1e-5) and torch.allclose(a.norm(dim=1), torch.ones(1), atol=1e-5)
print("the same sentence, padded or not:", (a - b).abs().max().item())

# %% [markdown]
# Both towers end in vectors of length 1. The inner product of two such vectors is their cosine: 1 for the same direction,
# 0 for directions that have nothing in common.
#
# The image tower is a small convolutional network. It first folds every 2 x 2 pixels into channels, so that its
# convolutions run on 16 x 16 and 8 x 8 grids, where a CPU is fast. It ends in 64 numbers as well. Nothing is shared between
# the towers but the space they point into. That is what makes the idea extend: in lesson 12 a third tower, for sound, will
# join the same space, and nothing that was built on it has to change.

# %% [markdown]
# ## 3. The loss: find your partner
#
# Take a batch of pictures and one true caption for each. Every picture should be closer to its own caption than to the
# others'. That is a choice among B captions, so its loss is a cross-entropy over a row of similarities. The same is asked
# of every caption, over the columns. This is InfoNCE in both directions, as in CLIP.

# %%
g, rng = runtime.generator(SEED), random.Random(SEED)
pictures, true, false, positive, *_ = caption_batch(8, g, rng, words, leave_out=0.5)
with torch.no_grad():
    logits = space.similarity(space.image(pictures), space.text(true))  # (8, 8)
own = torch.arange(8)
plain = (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2
assert torch.allclose(contrastive(logits, torch.eye(8, dtype=torch.bool)), plain)
print(f"loss of untrained towers {plain:.3f}; guessing among 8 gives {torch.log(torch.tensor(8.0)):.3f}")

# %% [markdown]
# **Predict.** Short captions repeat. "A red thing" can be true of several pictures in a batch. What does the plain loss
# teach about the other red things?

# %%
print(positive.int())
print("captions that are true of more than one picture:", int((positive.sum(0) > 1).sum()))

# %% [markdown]
# Every 1 off the diagonal is a pair that the plain loss would push apart although it belongs together. In a large set of
# photographs nobody can list these pairs, and one hopes that they are rare. Here they are common, because captions are
# short. The world knows the truth, so we can do better: for each row, the *whole* probability of all true partners should
# be high. It does not matter how this probability is shared out among them.

# %%
rows = logits.logsumexp(1) - logits.masked_fill(~positive, float("-inf")).logsumexp(1)
columns = logits.logsumexp(0) - logits.masked_fill(~positive, float("-inf")).logsumexp(0)
several = (rows.mean() + columns.mean()) / 2
assert torch.allclose(contrastive(logits, positive), several)
print(f"one partner each {plain:.3f}, all true partners {several:.3f}")

# %% [markdown]
# A last help. Most wrong captions in a batch are wrong in many ways, and colour alone tells them apart. So each picture
# also meets its own caption with **one fact changed**. These hard negatives force the towers to look at every fact.
# They enter as one more column for each row, in the direction from picture to text. No caption is changed into a held-out
# pair: a pair that training may not show must not be called false either, or the towers would learn that it never fits.

# %%
spoken = caption_set(4, seed=4)
hard = world.contradict(spoken.labels, spoken.statements, g)
for caption, changed in zip(spoken.captions, world.captions(hard, random.Random(1)), strict=True):
    print(f"{caption}   ->   {changed}")

# %% [markdown]
# ## 4. Training
#
# Retrieval can be won without grammar: a tower that only lists which words occur finds most captions. Two things keep ours
# from stopping there. Many scenes in a batch have a *partner*, the same two things with their colours, shapes or sizes
# exchanged. And one linear *reader*, shared by both towers, must find the facts in every vector: what stands left, what
# right. It is used in training only. Outside of a drawn world nobody has such facts for free.
#
# **Predict.** The temperature is learned as well: similarities are multiplied by a number that starts at 10. Will it rise
# or fall while the towers improve?

# %%
def retrieval(space, n=100, split="train"):
    asked = caption_set(n, split=split, seed=21, leave_out=0.0)
    with torch.no_grad():
        image = space.image(world.draw(world.place(asked.labels, runtime.generator(3))))
        text = space.text(words.tokenize(asked.captions))
    return image @ text.T, world.satisfied_pairs(asked.labels, asked.statements)


untrained = recall_at(*retrieval(space))
before, _ = retrieval(space, 8)

# %%
from mmcourse.widgets import progress

torch.manual_seed(SEED)
space, losses, scales = Space(words=len(words), **config.size).to(device), [], []
for _, loss in progress(align(space, lambda: caption_batch(config.batch, g, rng, words), config), total=config.steps, label="two towers"):
    losses.append(loss)
    scales.append(space.log_scale.exp().item())
trained = recall_at(*retrieval(space.cpu()))
print(f"temperature factor {scales[0]:.1f} -> {scales[-1]:.1f}; recall@1 of 100: {untrained:.2f} -> {trained:.2f}")

# %%
plots.curves({"contrastive loss": losses}, title="from guessing to knowing", reference={"guessing": losses[0]})

# %% [markdown]
# While the towers are unsure, a small factor keeps the loss soft. The better they get, the larger a factor pays.
#
# In the `quick` profile this was only the beginning, and from here on we look at the shipped space. In the other profiles
# we look at yours.

# %%
shown = load(Space, "space") if profile == "quick" else space.eval()
after, truth = retrieval(shown, 8)
labels = caption_set(8, seed=21, leave_out=0.0).captions
numbered = [f"picture {i + 1}" for i in range(8)]
plots.similarity_matrix(before, numbered, labels, low=-1, high=1, title="before training")

# %%
plots.similarity_matrix(after, numbered, labels, low=-1, high=1, title="after training")

# %% [markdown]
# Both squares have the same scale of colours. Before training all pictures look alike to the towers. Afterwards the
# diagonal stands out. Look at the brightest squares beside it: which facts do those pairs share?
#
# A cosine of 0 is not "wrong", and 1 is not needed. Only the order within a row and within a column counts for the loss, and
# for the retrieval that comes next.

# %% [markdown]
# ## 5. Measure it: retrieval
#
# Recall@1 asks: of n distinct captions, is the one nearest to a picture true of it? Guessing gets 1/n. We ask it for
# compositions that training has seen, and for captions with a colour-shape pair that it never saw.
#
# **Predict.** How much lower will the second figure be?

# %%
report = encoders.space_report(shown, words)
figures = {k.replace("_", " "): v for k, v in report.items() if "picture" in k}
for name, value in figures.items():
    print(f"{name:26} {value:.3f}")
plots.bars(figures, floor=report["floor"], ceiling=1.0, floor_label="guessing", ceiling_label="perfect", label="recall@1")

# %% [markdown]
# ## 6. What the space knows
#
# Retrieval is one figure for everything at once. It does not tell *which* facts are known. If the space knows a fact, a
# *linear* reader should find it there. We fit one for each fact on pictures of a single thing (least squares, no network)
# and try it on fresh ones.

# %%
def probe(column, classes, n=1500):
    labels = world.sample_labels(2 * n, runtime.generator(8), objects=(1,))
    with torch.no_grad():
        x = shown.image(world.draw(world.place(labels, runtime.generator(9))))
    x = torch.cat([x, torch.ones(2 * n, 1)], dim=1)  # (2n, 65)
    target = torch.nn.functional.one_hot(labels[:, column], classes).float()
    weights = torch.linalg.lstsq(x[:n], target[:n]).solution
    return (x[n:] @ weights).argmax(1).eq(labels[n:, column]).float().mean().item()


probes = {"shape": probe(1, 6), "colour": probe(2, 8), "size": probe(3, 2), "place": probe(7, 7)}
plots.bars(probes, floor={"shape": 1 / 6, "colour": 1 / 8, "size": 1 / 2, "place": 1 / 5}, floor_label="guessing", ceiling=1.0, ceiling_label="perfect")

# %% [markdown]
# ## 7. Who is left of whom?
#
# Two sentences can use the very same words: "a red circle left of a blue square" and "a blue square left of a red circle".
# A model that only counts words cannot tell them apart. `binding` asks for this: of a picture's caption and the same
# caption with the two things exchanged, which is nearer? Guessing gets one half.
#
# **Predict.** Can ours? And which pair will be closer, these two, or an English sentence and its Chinese translation?

# %%
four = ["a red circle left of a blue square", "a blue square left of a red circle", "红色的圆形在蓝色的正方形左边", "a blue circle left of a red square"]
with torch.no_grad():
    t = shown.text(words.tokenize(four))
print({k: round(v, 3) for k, v in report.items() if "binding" in k})
plots.similarity_matrix(t @ t.T, four, four)

# %%
def translated(space):
    labels = world.sample_labels(200, runtime.generator(5), objects=(2,))
    other = world.exchange(labels, runtime.generator(6))
    keep = ~world.satisfied(labels, other)
    said = [(labels, "en"), (labels, "zh"), (other, "en")]
    texts = [[world.say(row, lang, rng, plain=True) for row in x[keep].tolist()] for x, lang in said]
    with torch.no_grad():
        en, zh, exchanged = (space.text(words.tokenize(t)) for t in texts)
    return ((en * zh).sum(1) > (en * exchanged).sum(1)).float().mean().item()


print(f"translation nearer than exchanged words: here {translated(shown):.2f}, shipped space {translated(load(Space, 'space')):.2f}")

# %% [markdown]
# No loss compares two sentences. Languages meet only through the pictures that both describe, so their agreement comes
# late. A space that finds its pictures well can still put a sentence nearer to its own exchanged words than to its
# translation. The shipped space was trained about five times as long as the `cpu` profile allows.

# %% [markdown]
# ## What was shown
#
# Two small towers, trained from nothing on drawn scenes, meet in one space: a picture finds its caption among many, in two
# languages, also for compositions that training never held. Word order counts. The cell fails if this run says otherwise.

# %%
assert trained > untrained + 0.03, "a short training must improve on its start"
assert report["held_out_picture_to_text"] >= 0.5, "held-out captions are found too rarely"
assert report["held_out_binding"] >= 0.7, "the space reads bags of words"
print(f"recall@1 over {report['n']} held-out captions: {report['held_out_picture_to_text']:.2f}, guessing {report['floor']:.3f}")

# %% [markdown]
# ## What this does not show
#
# - Retrieval among 500 says nothing about 500,000. The more captions there are, the closer the nearest wrong one lies.
# - The captions come from a grammar. Sentences that people write freely hold words and turns that this space never met.
# - Near in this space means alike in *these* facts. The background's shade is in no caption, so the space may ignore it.

# %% [markdown]
# ## Exercises
#
# 1. Write `tokenize` and `masked_max` yourself; test them with two paddings of the same sentence.
# 2. Write `info_nce` in both directions. What does the loss become when one direction is left out?
# 3. Train without the reader (`reading=0` in the config). Which falls, retrieval or binding?
# 4. Train without the multi-positive targets, with `leave_out=0.5`. Which captions drift away from their pictures?
# 5. Write `recall_at_k` and draw it for k = 1 to 20.
