# %% [markdown]
# # 28 · Taking it apart
#
# > **Minutes.** 1 to run, about 45 to read and try.
# >
# > **You need** [notebook 05](05_heads.ipynb) for the heads, [notebook 13](13_fine_tuning.ipynb) for a model that tells
# > sentiment, and [notebook 26](26_an_ability_appears.ipynb) for the model that repeats.
# >
# > **Afterwards you can** take parts out of a model and say what they are worth, tell a chain from a spare part by two
# > sums, and follow an answer through the layers by putting the activations of one text into the run of another.
# >
# > **The documents.** D2 §1.2: “认为复杂的系统行为可以通过对个体元素的分析来理解” (reductionism: complex behaviour can be understood
# > by analysing the single elements) · D2 §1.2: “认为复杂系统的整体行为不能简单地由其个体元素的行为解释” (emergence: the behaviour
# > of the whole cannot simply be explained by that of its elements)
# >
# > **Words.** [nat, token and logit](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `claim` and `agree`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F36](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $S$ a set of parts, $L$ the loss in nats, $d(S)$ what the parts $S$ are worth, $p$ a period, $w_t$ the symbol at
# place $t$, $m_h$ the mean answer of head $h$ over $N$ places, $u, v, w, z$ four symbols, $f$ the difference of two logits,
# $x$ and $x'$ two texts, $s_\ell(t)$ the hidden state at place $t$ behind block $\ell$.
#
# D2 has the two words in its title and describes both views without deciding between them. They can be tested, for one
# model and one ability at a time. Take the parts out one by one, and then all at once: if the whole is the sum of its
# parts, both come to the same. This notebook does so with two models, and they answer differently.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch

from minilm import (
    GPT,
    Bert,
    Budget,
    Classifier,
    LearningRate,
    Optimisation,
    TextHeadConfig,
    TextTask,
    TrainingRun,
    initialise,
)
from minilm.examples.batching import Batch, Dataset
from minilm.models.config import TransformerConfig
from minilm.models.gpt import GPTConfig, learning_rate_scales
from minilm.models.initialisation import warm_start
from minilm.text import corpus
from minilm.text.tokenizer import train_wordpiece
from minilm.text.word_vectors import local_and_document_vectors
from minilm.training import ablation
from minilm.training.ablation import every_head, skipping, without
from minilm.training.inference import logits_of
from minilm.training.objectives import CausalLM
from minilm.training.patching import Swap, Texts, moved
from minilm.training.supervised import Recipe, fit
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, INK
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# ## Three machines of two parts  (F36 · D2 §1.2)
# What a set of parts is worth is what the loss rises by when they are gone:
#
# $$d(S) = L(\text{without } S) - L$$
#
# With it, there are two ways to add up the parts. Take them out one at a time, or take all of them out and put them back
# one at a time:
#
# $$\text{out} = \frac{\sum_i d(\{i\})}{d(\text{all})}, \qquad
# \text{in} = \frac{\sum_i \big(d(\text{all}) - d(\text{all but } i)\big)}{d(\text{all})}$$
#
# In the second sum, each term is what a part brings when it alone is put back. If each part simply adds its share, both are
# 1. That is what reductionism means, written as a formula. Before we ask a model, here are three machines that are easy to
# see through.

# %%
schematics.parts_and_whole()

# %% [markdown]
# **Predict first.** Work out both sums for the chain and for the spare part, with the $d$ of the picture. On which side of
# 1 do they fall?
#
# <details><summary>Answer</summary>
#
# In the chain, each part alone costs everything, so *out* is 4/2 = 2; and a part that is put back alone brings nothing, so
# *in* is 0. With the spare part it is the other way round: *out* is 0 and *in* is 2. The two sums therefore tell a chain
# (parts that work only together) from spare parts (parts that stand in for one another).
#
# </details>


# %%
def shares(loss, parts):
    """The two sums over single parts, as shares of d(all). `loss(gone)` is the loss without the parts `gone`."""
    L = loss([])

    def d(gone):
        return loss(gone) - L

    every = d(parts) or np.nan  # nothing is a share of nothing
    out = sum(d([part]) for part in parts)
    put_in = sum(every - d([other for other in parts if other != part]) for part in parts)
    return out / every, put_in / every


machines = {
    "sum": lambda gone: len(gone),
    "chain": lambda gone: 2 * (len(gone) > 0),  # one missing part is enough to break it
    "spare": lambda gone: 2 * (len(gone) == 2),  # one part is enough to run it
}
for name, machine in machines.items():
    out, put_in = shares(machine, ["A", "B"])
    print(f"{name:5}  out {out:.0f}   in {put_in:.0f}")

# %% [markdown]
# **What to try.** Build a machine of three parts that needs any two of them: print
# `shares(lambda gone: 2 * (len(gone) > 1), ["A", "B", "C"])`. What do the two sums say? · Put a chain of A and B beside a spare
# pair, C and D: print `shares(lambda gone: 2 * bool({"A", "B"} & {*gone}) + 2 * ({"C", "D"} <= {*gone}), ["A", "B", "C", "D"])`.
#
# <details><summary>Answers</summary>
#
# 1. Both are 0: no part is missed alone, and no part can do anything alone. So neither sum is “the” worth of the parts, and
#    a 0 in one of them does not mean that the parts do nothing.
#
#    ```text
#    (0.0, 0.0)
#    ```
#
# 2. Exactly 1 and 1, as for a sum: the chain is counted twice when parts are taken out, the spare pair when they are put
#    back. So a sum gives 1 and 1, but 1 and 1 do not prove a sum.
#
#    ```text
#    (1.0, 1.0)
#    ```
#
# </details>
#
# ## How to take out a head  (F36 · D2 §1.2)
# The first model is the one of notebook 26. Its rows repeat after a random period $p$, $w_t = w_{t-p}$, and it says the next
# symbol. Two layers of four heads learn to look up what followed last time.

# %%
symbols, T = 32, 32
steps = 12 if FAST else 600


def sequences(count, rng):
    """Rows [count, T], and their periods [count]."""
    periods = rng.integers(4, 17, size=count)
    orders = rng.permuted(np.tile(np.arange(symbols), (count, 1)), axis=1)
    ids = np.take_along_axis(orders, np.arange(T)[None] % periods[:, None], axis=1)
    return torch.from_numpy(ids), torch.from_numpy(periods)


model = GPT(GPTConfig(symbols, width=64, layers=2, heads=4, feed_forward=256, max_length=T))
initialise(model, "fan-in", torch.Generator().manual_seed(0))
how = Optimisation(
    LearningRate(2e-3, 0.05, "constant"), muon_learning_rate=0.02, scales=learning_rate_scales(model.config)
)
run = TrainingRun(
    model,
    CausalLM(),
    lambda step: Batch(sequences(32, np.random.default_rng((0, 2, step)))[0]),
    Budget(steps=steps),
    how,
)
run.train(bar=False)

rows, periods = sequences(200, np.random.default_rng(1))
can_be_known = torch.arange(1, T)[None] > periods[:, None]  # is the next symbol a repetition?


@torch.no_grad()
def loss_of(model):
    """The loss on what repeats, in nats."""
    log_p = model.eval()(rows[:, :-1]).log_softmax(dim=-1)
    return -float(log_p.gather(-1, rows[:, 1:, None])[..., 0][can_be_known].mean())


print(f"loss on what repeats {loss_of(model):.3f} nats; guessing costs {np.log(symbols):.2f}")

# %% [markdown]
# Taking out a part is called an *ablation*. How do you take out a head? Its answers go side by side with those of the other
# heads into the matrix $W^O$. Writing 0 there would hand the rest of the model something that it has never seen. The mean
# is a value that it knows: the head still says what it says on average, but nothing about *this* text.
#
# $$\text{head}_h(t) \leftarrow m_h, \qquad m_h = \frac1N \sum_t \text{head}_h(t)$$

# %% [markdown]
# PyTorch lets you hang a function on a layer. It is called a *hook*, runs whenever the layer runs, and may replace what goes
# into the layer (`forward_pre_hook`) or what comes out of it (`forward_hook`). `layer.output` is $W^O$, so what goes into it
# are the answers of the heads, side by side. `replace(number)` below makes a hook for the layer of this number.

# %%
heads, D = every_head(model), 16  # (layer, head), counted from 0; the size of a head is the width, 64, over 4 heads
layers = [block.attention for block in model.encoder.stack.layers]
others = sequences(200, np.random.default_rng(5))[0]  # the means are taken over other rows than the loss

caught = []
hooks = [layer.output.register_forward_pre_hook(lambda module, given: caught.append(given[0])) for layer in layers]
with torch.no_grad():
    model(others)
for hook in hooks:
    hook.remove()
means = [side_by_side.mean(dim=(0, 1)) for side_by_side in caught]  # of all heads of a layer: [H·D]


def by_hand(gone):
    """The loss with the means of the heads `gone` in place of their answers."""

    def replace(number):
        def hook(module, given):
            side_by_side = given[0].clone()  # [B, T, H·D]
            for layer, h in gone:
                if layer == number:
                    side_by_side[..., D * h : D * h + D] = means[number][D * h : D * h + D]
            return (side_by_side,)

        return hook

    hooks = [layer.output.register_forward_pre_hook(replace(number)) for number, layer in enumerate(layers)]
    found = loss_of(model)
    for hook in hooks:
        hook.remove()
    return found


def loss_without(gone):
    """The same from the library."""
    with without(model, gone, means):
        return loss_of(model)


dataset = Dataset({"input_ids": others.tolist()}, {"input_ids": 0}, list(range(len(others))))
for mine, from_library in zip(means, ablation.head_means(model, dataset), strict=True):
    agree("the means of a layer", mine, from_library, atol=1e-5)
two = [heads[0], heads[-1]]
agree("a loss without two heads", by_hand(two), loss_without(two), atol=1e-6)

# %% [markdown]
# ## A chain of spare parts  (F36 · D2 §1.2)
# **Predict first.** The heads of layer 1 tell each place which symbol stands before it, and those of layer 2 look for it.
# Will the two *layers* look like a sum, a chain or spare parts? And the four heads of layer 2 among themselves? Give numbers.
#
# <details><summary>Answer</summary>
#
# The layers form a chain: what the second looks for, the first has to write. Both sums say so, *out* near 2 and *in* near
# 0. The four heads of layer 2 lie between a sum, with 1 and 1, and four spare parts, with 0 and 4: *out* is about a half,
# and *in* a little above 1. They share the work unequally, and stand in for one another in part.
#
# </details>

# %%
with_all, without_any = loss_of(model), loss_without(heads)
worth = {head: loss_without([head]) - with_all for head in heads}
by_layer = [[head for head in heads if head[0] == layer] for layer in (0, 1)]


def loss_without_layers(gone):
    return loss_without([head for layer in gone for head in by_layer[layer]])


sums = {
    "two layers": shares(loss_without_layers, [0, 1]),
    "all eight heads": shares(loss_without, heads),
    "the four of layer 2": shares(loss_without, by_layer[1]),
}
print(f"with all heads {with_all:.2f} nats, without any {without_any:.2f}")
for name, (out, put_in) in sums.items():
    print(f"{name:20} out {out:5.2f}   in {put_in:5.2f}")

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.6)
grid = np.array([[worth[layer, h] for h in range(model.config.heads)] for layer in (0, 1)])
left.imshow(grid, cmap="PuOr_r", vmin=-abs(grid).max(), vmax=abs(grid).max(), aspect="auto")
for (layer, h), value in np.ndenumerate(grid):
    left.text(h, layer, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 * grid.max() else INK)
left.set(title="What one head is worth (nats)", xticks=range(grid.shape[1]), yticks=(0, 1), xlabel="head")
left.set_xticklabels(range(1, grid.shape[1] + 1))
left.set_yticklabels(["layer 1", "layer 2"])
left.grid(False)
for number, what in enumerate(("out", "in")):
    at = np.arange(len(sums)) + 0.2 * (2 * number - 1)
    right.bar(at, [both[number] for both in sums.values()], 0.38, color=COLOURS[number], label=what)
right.axhline(1, color=INK, lw=1)
right.set(title="Two sums, as shares of the whole", xticks=range(len(sums)))
right.set_xticklabels([name.replace(" of", "\nof").replace(" heads", "\nheads") for name in sums])
right.legend()
picture

# %%
if not FAST:
    claim("The layers are a chain: singly they cost more than 1.5 times the whole.", sums["two layers"][0] > 1.5)
    claim("Put back alone, a layer brings nothing: less than a tenth.", sums["two layers"][1] < 0.1)
    four_out, four_in = sums["the four of layer 2"]
    claim("The heads of layer 2 stand in for one another in part: out is less than 0.7.", four_out < 0.7)
    claim("Put back one at a time, they bring more than the four together.", four_in > 1)

# %% [markdown]
# So neither view of D2 describes this model completely. Inside layer 2, adding up single heads gives too little, because each
# is partly replaced by the others. Between the layers, it counts everything twice, because each layer is useless without
# the other. For all eight heads, *out* mixes the two cases and shows neither. Before you add up parts, ask which parts.
#
# **What to try.** Take the heads out by zero: print `loss_without(heads)` and the loss of
# `with without(model, heads): print(loss_of(model))`. · Give each layer of the GPT a single head: set `heads=4` to `heads=1` and
# `D = 16` to `D = 64`, and print `np.round(shares(loss_without, heads), 2)`. What do the two sums say now?
#
# <details><summary>Answers</summary>
#
# 1. Here it makes little difference, and zero even costs a little less. The lab had predicted that zero does more harm to
#    single heads, and that failed as well. The mean is still the safer choice.
#
#    ```text
#    3.58
#    3.52
#    ```
# 2. Two heads, two layers, and nothing to stand in for either: a chain, and nothing else. Put back alone, a head is worth
#    less than nothing, because the model is then sure of wrong symbols.
#
#    ```text
#    [ 2.24 -0.24]
#    ```
#
# </details>

# %% [markdown]
# ## Exchanged activations: activation patching  (F36 · D2 §1.2)
# What a part is worth does not say what it does. For that, take two texts $x$ and $x'$ that differ in little and get
# different answers. Run the model on $x$, but put the hidden state that $x'$ has at one place, behind one block, into it.
# (Hidden states and whatever else a model computes for a text are its *activations*.)
#
# $$s_\ell(t) \leftarrow s'_\ell(t), \qquad \text{share} = \frac{f(\text{patched}) - f(x)}{f(x') - f(x)}$$
#
# $f$ is the logit of what is said of $x'$ minus that of what is said of $x$. A share of 1 means that these places carry the
# whole difference, and 0 that they carry none of it. The rows below say “after u comes v” and “after w comes z”, and end
# with u. In $x'$, u and w are exchanged where they first stand. So the answer changes from v to z, although v, z and the
# last place are the same.

# %%
p, i, k = 12, 4, 8  # u stands at place i and v behind it, w at k and z behind it
rng = np.random.default_rng(9)
orders = torch.from_numpy(np.stack([rng.permutation(symbols)[:p] for _ in range(64)]))
x = torch.cat([orders, orders[:, : i + 1]], dim=1)  # ends with u, which comes a second time
x_prime = x.clone()
x_prime[:, [i, k]] = x[:, [k, i]]
v, z = orders[:, i + 1], orders[:, k + 1]
groups = {"u and w": [i, k], "v and z": [i + 1, k + 1], "the last": [x.size(1) - 1]}
print("x ", *x[0].tolist())
print("x′", *x_prime[0].tolist())

# %%
blocks = model.encoder.stack.layers


@torch.no_grad()
def f(ids):
    """The logit of z minus the logit of v at the last place, in the mean over the rows."""
    logits = model(ids)[:, -1]
    n = torch.arange(len(logits))
    return float((logits[n, z] - logits[n, v]).mean())


@torch.no_grad()
def states(ids):
    """The hidden states in front of the first block, and behind each."""
    found = []
    hooks = [block.register_forward_pre_hook(lambda module, given: found.append(given[0])) for block in blocks]
    hooks.append(blocks[-1].register_forward_hook(lambda module, given, out: found.append(out[0])))
    model(ids)
    for hook in hooks:
        hook.remove()
    return found


def patched(level, places):
    """The share that the states of x′ at these places carry."""
    there = states(x_prime)[level]

    def put(s):
        s = s.clone()
        s[:, places] = there[:, places]
        return s

    if level < len(blocks):
        hook = blocks[level].register_forward_pre_hook(lambda module, given: (put(given[0]), *given[1:]))
    else:
        hook = blocks[-1].register_forward_hook(lambda module, given, out: (put(out[0]), *out[1:]))
    found = f(x)
    hook.remove()
    return (found - f(x)) / (f(x_prime) - f(x))


carried = {name: [patched(level, places) for level in range(3)] for name, places in groups.items()}
for name, found in carried.items():
    print(f"{name:10}", "  ".join(f"{share:5.2f}" for share in found))

# %% [markdown]
# A check with the library, which you may skip. `0 * x` are the numbers of the segments, all 0.


# %%
class AtTheEnd(torch.nn.Module):
    """The logits of the last place alone: what the library reads, too."""

    def __init__(self):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, ids, segments):
        return model(ids)[:, -1]


swap = Swap(Texts(x, 0 * x), Texts(x_prime, 0 * x), torch.stack([z, v], dim=1))
masks = [torch.zeros_like(x, dtype=torch.bool).index_fill(1, torch.tensor(places), True) for places in groups.values()]
shifts, gap = moved(AtTheEnd(), swap, masks)  # [levels, groups, rows], [rows]
agree("the shares", np.array([*carried.values()]).T, shifts.sum(axis=2) / gap.sum(), atol=1e-4)

# %%
picture, axis = panels(1, 1, width=7, height=3.4)
for number, (name, found) in enumerate(carried.items()):
    axis.plot(range(3), found, marker="os^"[number], color=COLOURS[number], label=name)
axis.set(title="Where the answer is", xticks=range(3), ylabel="share that is carried", ylim=(-0.1, 1.1))
axis.set_xticklabels(["embeddings", "behind block 1", "behind block 2"])
axis.legend()
picture

# %%
if not FAST:
    claim("At first, everything lies in u and w.", carried["u and w"][0] > 0.99)
    claim(
        "Behind block 1 it lies in v and z: nine tenths.", carried["v and z"][1] > 0.9 and carried["u and w"][1] < 0.1
    )
    claim("Behind block 2 the last place has it.", carried["the last"][2] > 0.99)

# %% [markdown]
# That is the chain, seen at work. Block 1 writes into v “u stood before me”, and block 2 carries it to the last place. Behind
# block 1, exchanging the states of u and w changes nothing. So patching shows what a part does, which its worth alone does
# not.
#
# **What to try.** Exchange v and z in place of u and w: set `x_prime[:, [i, k]] = x[:, [k, i]]` to
# `x_prime[:, [i + 1, k + 1]] = x[:, [k + 1, i + 1]]`. Which group carries the answer now, and how long?
#
# <details><summary>Answers</summary>
#
# 1. Their own places, until block 2 fetches it. They need nothing from block 1 for that, since the symbol at that place is
#    itself the answer; what block 1 writes there is only how to find it.
#
#    ```text
#    u and w     0.00   0.00   0.00
#    v and z     1.00   1.00   0.00
#    the last    0.00  -0.00   1.00
#    ```
#
# </details>

# %% [markdown]
# ## Many heads, none of them needed alone  (F36 · D0 §1.2)
# The second model tells whether a sentence of a film review is positive. It starts from word vectors and learns from 2,500
# sentences. (`local_and_document_vectors` counts word vectors, as in notebook 03, and `warm_start` puts them into the table.)

# %%
TASK, C, LENGTH = TextTask(("negative", "positive")), 64, 64
rng = np.random.default_rng(0)
reviews = corpus.labelled("imdb")
texts = [reviews[i].text for i in rng.permutation(len(reviews))[: 200 if FAST else 2000]]
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "reviews.txt").write_text("\n".join(texts), encoding="utf-8")
    tokenizer = train_wordpiece([Path(folder) / "reviews.txt"], vocab_size=1500 if FAST else 5000)
ids = tokenizer.ids(texts)
borders = np.cumsum([0, *map(len, ids)])
vectors = local_and_document_vectors(np.concatenate(ids), borders, tokenizer.size, C, seed=0)

sentences = corpus.labelled("rotten-tomatoes")
order = rng.permutation(len(sentences))
parts = np.split(order, [100, 150, 250] if FAST else [1000, 1200, 3700])[:3]
test, reference, known = (TASK.encode([sentences[i] for i in part], tokenizer, LENGTH, truncate=True) for part in parts)

config = TransformerConfig(tokenizer.size, C, layers=2, heads=4, feed_forward=2 * C, max_length=LENGTH, dropout=0.1)
reader = Classifier(Bert(config), TextHeadConfig(TASK.labels, 0.1))
initialise(reader, "fan-in", torch.Generator().manual_seed(0))
warm_start(reader.encoder.token_table, vectors)
fit(reader, known, Recipe(epochs=1 if FAST else 3, batch=32, learning_rate=1.5e-3), seed=0, bar=False)


def accuracy():
    return (np.stack(logits_of(reader, test)).argmax(axis=1) == np.array(test.labels)).mean()


print(f"{accuracy():.1%} of {len(test):,} new sentences right")

# %% [markdown]
# Here we count points of accuracy instead of nats. Without its heads the model is wrong more often, but also less sure, and
# in the lab's model the loss hardly rises for this reason while the accuracy falls.
#
# **Predict first.** Which pattern will the eight heads of this model show: sum, chain or spare parts? And the two blocks?
#
# <details><summary>Answer</summary>
#
# By *out*, the heads look like spare parts: the single ones add up to about half of what all cost. The tone of a sentence
# lies in many of its words, and many heads gather it. The two blocks do not: skipped one at a time, they cost more than
# together. The pattern depends on what you call a part.
#
# </details>

# %%
reader_means = ablation.head_means(reader, reference)


def points_without(heads_gone=(), blocks_gone=()):
    """The points of accuracy that are missing, from 100, without some heads or blocks."""
    with without(reader, heads_gone, reader_means), skipping(reader, blocks_gone):
        return 100 * (1 - accuracy())


def points_without_blocks(gone):
    return points_without(blocks_gone=gone)


its_heads, everything = every_head(reader), points_without()
points = [points_without([head]) - everything for head in its_heads]
all_heads = points_without(its_heads) - everything
print("one head at a time:", *(f"{lost:.1f}" for lost in points), f"· added {sum(points):.1f} points")
print(f"all at once: {all_heads:.1f} points")
of_heads, of_blocks = shares(points_without, its_heads), shares(points_without_blocks, [0, 1])
for name, (out, put_in) in {"eight heads": of_heads, "two blocks": of_blocks}.items():
    print(f"{name:12} out {out:5.2f}   in {put_in:5.2f}")
if not FAST:
    claim("No head alone costs a third of what all cost.", max(points) < all_heads / 3)
    claim("All at once cost more than 8 points, and at least 1.5 times what the single ones add up to.",
          all_heads > max(8, 1.5 * sum(points)))  # fmt: skip
    claim("The blocks cost more singly than together.", of_blocks[0] > 1)

# %% [markdown]
# Without any head, this model is hardly better than guessing, and yet the single heads do not add up to that by far. If you
# test heads one at a time, you will conclude that this model needs little attention. If you test the repeating model that
# way, you will find a head or two that matter, but not that the two layers need each other.
#
# **The real models.** `minilm emergence reduction` does all this with the pretrained models of both quickstarts. Whether B
# follows A (next sentence) depends, by the loss, on *one* head, the fourth of layer 1. The start of pretraining built it to
# look for the same token elsewhere. Without it, the loss rises by 1.6 to 9.9 times as much as without all twelve heads, and the
# accuracy falls to between 0.36 and 0.65 (0.5 is guessing). Names in a newspaper are the opposite: without heads, not one
# is found, and yet the rises of the loss without single heads add up to only 4 to 17 % of the whole. Counted by F1, they add
# up to 48 to 99 %: what parts seem to be worth depends on the ruler ([notebook 27](27_sharp_or_smooth.ipynb)). The lab's page
# has the figures and the predictions that failed, which are most of them:
# [Reduction](../minilm/experiments/README.md#reduction-is-a-model-the-sum-of-its-parts).

# %% [markdown]
# ## In five lines
# 1. What parts are worth is the loss without them minus the loss with them: $d(S) = L(\text{without } S) - L$.
# 2. Two sums over single parts, taken out and put back, are both 1 for a sum. For a chain of $n$ parts they are $n$ and 0, for
#    $n$ spare parts 0 and $n$, and real models lie in between.
# 3. In a model that repeats, the layers are a chain, and the heads of the second layer partly stand in for one another.
# 4. Exchanged activations show where an answer is: first at u and w, then at v and z, then at the last place.
# 5. In the sentiment model no head alone costs a third of what all cost, and without all of them it guesses. That says what
#    this trained model uses, and not what the task needs: a bag of words has no heads.
#
# **Where to read on.** Michel, Levy and Neubig (2019), *Are sixteen heads really better than one?*, arXiv:1905.10650 · Vig
# and others (2020), *Causal mediation analysis for interpreting neural NLP*, arXiv:2004.12265 · McGrath and others (2023),
# *The hydra effect*, arXiv:2307.15771 · `minilm emergence reduction`
#
# **Exercises.** This notebook has none of its own; these three are what it takes apart.
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `causal_mask` | 10 | easy |
# | `heads` | 30 | medium |
# | `cross_entropy` | 25 | medium |
