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
# Letters: $S$ a set of parts, $L$ the loss in nats, $d(S)$ what the parts $S$ are worth, $h$ a head, $f$ the difference
# of two logits, $x$ and $x'$ two texts, $h_\ell(t)$ the hidden state at place $t$ behind block $\ell$.
#
# D2 has the two words in its title and describes both views without deciding between them. It can be decided, for one
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
# If each part simply adds its share, both are 1. That is what reductionism means, written as a formula. Before we ask a
# model, here are three machines that are easy to see through.

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
    """The two sums over single parts, as shares of what all parts are worth. `loss` takes the parts that are gone."""
    whole, nothing = loss([]), loss(parts)
    out = sum(loss([part]) - whole for part in parts)
    put_in = sum(nothing - loss([other for other in parts if other != part]) for part in parts)
    return out / (nothing - whole), put_in / (nothing - whole)


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
# `shares(lambda gone: 2 * (len(gone) > 1), ["A", "B", "C"])`. What do the two sums say?
#
# <details><summary>Answers</summary>
#
# 1. Both are 0: nobody is missed alone, and nobody can do anything alone. So neither sum is “the” worth of the parts, and
#    a 0 in one of them does not mean that the parts do nothing.
#
#    ```text
#    (0.0, 0.0)
#    ```
#
# </details>
#
# ## A head that says nothing new  (F36 · D2 §1.2)
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
# How does one take a head out? Its answers go side by side with those of the other heads into the matrix $W^O$. Writing 0
# there would hand the rest of the model something that it has never seen. The mean is fairer: the head still says what it
# says on average, only not anything about *this* text.
#
# $$\text{head}_h(t) \leftarrow m_h, \qquad m_h = \frac1N \sum_t \text{head}_h(t)$$

# %%
heads, D = every_head(model), 16  # (layer, head), counted from 0; the size of a head
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
# Will the two *layers* look like a sum, a chain or spare parts? And the four heads of layer 2 among themselves?
#
# <details><summary>Answer</summary>
#
# The layers form a chain: what the second looks for, the first has to write. Both sums say so, *out* near 2 and *in* near
# 0. The heads of layer 2 get the same and have learned nearly the same, so that they stand in for one another.
#
# </details>

# %%
whole, nothing = loss_of(model), loss_without(heads)
worth = {head: loss_without([head]) - whole for head in heads}
by_layer = [[head for head in heads if head[0] == layer] for layer in (0, 1)]


def loss_without_layers(gone):
    return loss_without([head for layer in gone for head in by_layer[layer]])


sums = {
    "two layers": shares(loss_without_layers, [0, 1]),
    "all eight heads": shares(loss_without, heads),
    "the four of layer 2": shares(loss_without, by_layer[1]),
}
print(f"with all heads {whole:.2f} nats, without any {nothing:.2f}")
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
    claim(
        "The heads of layer 2 are spare parts: one at a time, less than 0.7 of the four.",
        sums["the four of layer 2"][0] < 0.7,
    )
    claim("They bring more when put back one at a time than they cost.", sums["the four of layer 2"][1] > 1)

# %% [markdown]
# Both views of D2 are right, one floor apart: inside layer 2, the heads could be counted singly, and would be counted too
# low; between the layers, no counting of single parts finds what the two do together. The number for all eight heads mixes
# both and looks harmless. Sums over parts need the right parts.
#
# **What to try.** Take the heads out by zero: print `loss_without(heads)` and the loss of
# `with without(model, heads): print(loss_of(model))`. · Give each layer a single head: set `heads=4` to `heads=1` and
# `D = 16` to `D = 64`, and print `np.round(shares(loss_without, heads), 2)`. What do the two sums say now?
#
# <details><summary>Answers</summary>
#
# 1. Here it makes little difference, because both say nothing about the text. For single heads it often does: 0 is
#    something that the rest of the model has never been given.
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
# ## Exchanged activations  (F36 · D2 §1.2)
# What a part is worth does not say what it does. For that, take two texts $x$ and $x'$ that differ in little and get
# different answers. Run the model on $x$, but put the hidden state that $x'$ has at one place, behind one block, into it.
# (Hidden states and whatever else a model computes for a text are its *activations*.)
#
# $$h_\ell(t) \leftarrow h'_\ell(t), \qquad \text{share} = \frac{f(\text{patched}) - f(x)}{f(x') - f(x)}$$
#
# $f$ is the logit of what is said of $x'$ minus that of what is said of $x$. A share of 1: what makes the difference is
# here, and all of it. The rows below say “after a comes b” and “after c comes d”, and end with a. In $x'$, a and c are
# exchanged where they first stand. So the answer changes from b to d, although b, d and the last place are the same.

# %%
p, i, k = 12, 4, 8  # a stands at place i and b behind it, c at k and d behind it
rng = np.random.default_rng(9)
orders = torch.from_numpy(np.stack([rng.permutation(symbols)[:p] for _ in range(64)]))
x = torch.cat([orders, orders[:, : i + 1]], dim=1)  # ends with a, which comes a second time
x_prime = x.clone()
x_prime[:, [i, k]] = x[:, [k, i]]
b, d = orders[:, i + 1], orders[:, k + 1]
groups = {"a and c": [i, k], "b and d": [i + 1, k + 1], "the last": [x.size(1) - 1]}
blocks = model.encoder.stack.layers


@torch.no_grad()
def f(ids):
    """The logit of d minus the logit of b at the last place, in the mean over the rows."""
    z = model(ids)[:, -1]
    n = torch.arange(len(z))
    return float((z[n, d] - z[n, b]).mean())


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

    def put(h):
        h = h.clone()
        h[:, places] = there[:, places]
        return h

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


class AtTheEnd(torch.nn.Module):
    """The logits of the last place alone: what the library reads, too."""

    def __init__(self):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, ids, segments):
        return model(ids)[:, -1]


swap = Swap(Texts(x, 0 * x), Texts(x_prime, 0 * x), torch.stack([d, b], dim=1))
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
    claim("At first, everything lies in a and c.", carried["a and c"][0] > 0.99)
    claim(
        "Behind block 1 it lies in b and d: nine tenths.", carried["b and d"][1] > 0.9 and carried["a and c"][1] < 0.1
    )
    claim("Behind block 2 the last place has it.", carried["the last"][2] > 0.99)

# %% [markdown]
# That is the chain, seen at work. Block 1 writes into b “a stood before me”, block 2 carries it to the last place. Behind
# block 1 the places of a and c may be exchanged at will, and nobody notices. What a part does is as definite as what it is
# worth, and it says more.
#
# **What to try.** Exchange b and d in place of a and c: set `x_prime[:, [i, k]] = x[:, [k, i]]` to
# `x_prime[:, [i + 1, k + 1]] = x[:, [k + 1, i + 1]]`. Which group carries the answer now, and how long?
#
# <details><summary>Answers</summary>
#
# 1. Their own places, until block 2 fetches it. They need nothing from block 1 for that, since what they are is what is to
#    be said; what block 1 writes there is only how to find them.
#
#    ```text
#    a and c     0.00   0.00   0.00
#    b and d     1.00   1.00   0.00
#    the last    0.00  -0.00   1.00
#    ```
#
# </details>

# %% [markdown]
# ## An ability without a place  (F36 · D0 §1.2)
# The second model tells whether a sentence of a film review is positive. It starts from word vectors and learns from 2,500
# sentences.

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
# Here the points of accuracy are counted, not the nats: without its heads, the model is not only wrong more often but also
# less sure, and its loss mixes the two.
#
# **Predict first.** Which pattern will the eight heads of this model show: sum, chain or spare parts?
#
# <details><summary>Answer</summary>
#
# Spare parts. The tone of a sentence lies in many of its words, and many heads gather it. One of them more or less makes
# no difference, and so the single ones add up to much less than all of them.
#
# </details>

# %%
reader_means = ablation.head_means(reader, reference)


def accuracy_without(gone):
    with without(reader, gone, reader_means):
        return accuracy()


full, none = accuracy(), accuracy_without(every_head(reader))
points = [100 * (full - accuracy_without([head])) for head in every_head(reader)]
print("one head at a time:", *(f"{lost:.1f}" for lost in points), f"· added {sum(points):.1f} points")
print(f"all at once: {100 * (full - none):.1f} points")
for gone in ([0], [1], [0, 1]):
    with skipping(reader, gone):
        print(f"block{'s' * (len(gone) > 1)} {' and '.join(str(i + 1) for i in gone)} skipped: {accuracy():.1%} right")
if not FAST:
    claim("No head alone costs a third of what all cost.", max(points) < 100 * (full - none) / 3)
    claim(
        "All at once cost more than 8 points, and at least 1.5 times what the single ones add up to.",
        100 * (full - none) > max(8, 1.5 * sum(points)),
    )

# %% [markdown]
# Without any head, this model is hardly better than guessing, and yet the single heads do not add up to that by far. Whoever
# tests heads one at a time will think that it needs little attention. Whoever tests the model of the rows so will find a
# head or two that matter, and miss what they work for.
#
# **The real models.** `minilm emergence reduction` does all this with the pretrained models of both quickstarts. Whether B
# follows A (next sentence) is nearly all *one* head, the fourth of layer 1, which looks for the same token elsewhere: without
# it, the accuracy falls to guessing, and the loss rises by more than without all twelve heads. Names in a newspaper are the
# opposite: without heads not one is found, and yet the twelve heads, taken out singly, add up to 4 to 17 % of the whole. The
# lab's page has the figures and the predictions that failed, which are most of them:
# [Reduction](../minilm/experiments/README.md#reduction-is-a-model-the-sum-of-its-parts).

# %% [markdown]
# ## In five lines
# 1. What parts are worth is the loss without them minus the loss with them: $d(S) = L(\text{without } S) - L$.
# 2. Two sums over single parts, taken out and put back, tell a sum (1, 1) from a chain (2, 0) and a spare part (0, 2).
# 3. In a model that repeats, the layers are a chain, and the heads of the second layer spare parts of one another.
# 4. Exchanged activations show where an answer is: in the pair, then behind it, then at the end.
# 5. Sentiment has no place. Tested one at a time, the heads seem to matter little; taken together, they are everything.
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
