# %% [markdown]
# # 06 · Positions
#
# > **Minutes.** 1 to run, about 85 to read and try.
# >
# > **You need** attention and its masks ([notebook 04](04_attention.ipynb)), heads
# > ([notebook 05](05_heads.ipynb)), and for one section complex numbers.
# >
# > **Afterwards you can** show that attention does not know the order of the words, tell a model in four ways where its
# > words stand, and say why some of these ways are learned sooner than others.
# >
# > **The documents.** D4 §2.1.9:
# > “Transformer是一种基于自注意力机制的神经网络结构，由Vaswani等人于2017年提出。”
# > (the Transformer is a neural network built on self-attention, proposed by Vaswani and others in 2017). How it knows the
# > order of the words, no document says.
# >
# > **Words.** A [nat](GLOSSARY.md#words-that-the-notebooks-use) is the unit of a loss, and a
# > [logit](GLOSSARY.md#words-that-the-notebooks-use) is a score before the softmax; these and D4, F21, `agree`, `claim` and
# > `FAST` are explained in [notebook 01](01_learning_from_data.ipynb).
#
# Letters: $T$ words (as queries), $S$ words (as keys), $C$ the width of the model, $H$ heads, $D$ the size of a head,
# $B$ sentences in a batch, $t$ and $s$ the positions of a query and of a key, $\omega$ a frequency.

# %%
import numpy as np
import torch
from torch import nn

from minilm.formulas import attention, positions
from minilm.formulas.cross_entropy import softmax
from minilm.layers import attention as library_attention, positions as library_positions
from minilm.viz import interactive, plots, schematics
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # products as small as ours are faster without a second thread


def by_machine(function, arrays, upstream):
    """The gradients that PyTorch finds for the same function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return torch.autograd.grad(function(*tensors), tensors, torch.as_tensor(upstream))


# %% [markdown]
# ## Attention does not know the order of the words  (F21 · D4 §2.1.9)
# Look at the formula again, $\mathrm{softmax}(QK^\top/\sqrt D)\,V$ with $Q$, $K$ and $V$ computed from the rows of $X$:
# nothing in it says where a word stands. Put the rows of $X$ into another order, by a matrix $P$ (a *permutation*: one
# 1 in each row and column, so $P^\top P = 1$). Then the scores $Z = QK^\top/\sqrt D$ become $PZP^\top$, the weights
# $PAP^\top$, and the result $PAP^\top PV = PAV$: every word gets **the very same vector**, in its new place. Attention
# is *permutation-equivariant*. To attention, "dog bites man" and "man bites dog" are the same.
#
# **Predict first.** Does *dog* get the same vector in both sentences?
#
# <details><summary>Answer</summary>
#
# Yes, exactly the same: it asks the same question of the same three words, and a sum does not depend on the order of its
# terms.
#
# </details>

# %%
C, H = 12, 3
layer = library_attention.MultiHeadAttention(C, H).double()  # notebook 05 …
with torch.no_grad():
    for parameter in layer.parameters():  # … with random weights
        parameter.copy_(torch.tensor(rng.normal(size=parameter.shape) / np.sqrt(C)))
order = np.array([2, 1, 0])  # man bites dog
sentence = rng.normal(size=(1, 3, C))  # dog bites man, as random vectors
attend = lambda x: layer(torch.tensor(x))[0].detach().numpy()  # noqa: E731
agree("shuffle, then attend = attend, then shuffle", attend(sentence[:, order]), attend(sentence)[:, order])

places = positions.sinusoids(3, C + C % 2)[:, :C]  # F21, the next section
apart = np.abs(attend(sentence[:, order] + places) - attend(sentence + places)[:, order]).max()
print(f"with positions added, the two sentences differ by {apart:.2f}")
claim("With positions, the order counts.", apart > 0.1)

# %% [markdown]
# **Wrong, then right.** "So a Transformer without positions is a bag of words", a model that knows which words occur
# but not in which order. Not with a causal mask: the first word sees one word, the second word sees two, and this
# number of visible words *is* a position.

# %%
causal = attention.causal_mask(3)
W_qkv, W_O = layer.to_qkv.weight.detach().numpy(), layer.output.weight.detach().numpy()
b_qkv, b_O = layer.to_qkv.bias.detach().numpy(), layer.output.bias.detach().numpy()
masked = lambda x, mask: attention.fused_self_attention(x, W_qkv, b_qkv, W_O, b_O, H, mask)  # noqa: E731
apart = np.abs(masked(sentence[:, order], causal) - masked(sentence, causal)[:, order]).max()
print(f"without positions but with a causal mask, the sentences differ by {apart:.2f}")
claim("With a causal mask, the order counts.", apart > 0.1)

# %% [markdown]
# **What to try.** Predict, then run: shuffle the mask along with the words,
# `masked(sentence[:, order], causal[order][:, order])`. Is attention equivariant again?
#
# <details><summary>Answers</summary>
#
# 1. Yes, up to rounding. If the mask moves along with the words, every word sees the same words as before. What
#    breaks the symmetry is a mask that belongs to the places and not to the words.
#
#    ```text
#    np.float64(1.1102230246251565e-15)
#    ```
#
# </details>

# %% [markdown]
# ## Where a word stands  (F21 · D4 §2.1.9)
# The document names the Transformer (D4 §2.1.9), but does not say how it knows the order of the words. Attention alone
# does not know it. There are four common ways to tell it. Two of them add something to the vectors of the words, one
# adds something to the scores, and one turns queries and keys. They are the next four sections.

# %%
schematics.positions()

# %% [markdown]
# In the first way, each position gets a vector of its own, which is added to the vector of the word. The first
# Transformer used waves:
#
# $$PE(t, 2i) = \sin(t\,\omega_i), \qquad PE(t, 2i+1) = \cos(t\,\omega_i), \qquad \omega_i = 10000^{-2i/C}, \qquad PE\ [T, C].$$
#
# Each pair (sine, cosine) is the hand of a clock. The first hand goes round in $2\pi$ words, the last in tens of
# thousands, and each is slower than the one before it by the same factor. Together they tell the time, like seconds,
# minutes and hours. (A binary counter works in the same way: its last digit changes at every step, the digit before it
# at every second step, the next at every fourth. Waves are its smooth form.)
#
# Why are they *added*, and not appended as further features? Appending is possible, but it makes every vector wider.
# After the addition, a matrix can still tell the two apart as long as words and positions lie in different directions,
# and training can arrange that. Their sizes must fit, though: the first Transformer multiplied the vectors of its words
# by $\sqrt C$ before it added the waves, and BERT normalises the sum instead.

# %%
T, C, base = 64, 32, 10000.0
omega = base ** (-np.arange(0, C, 2) / C)  # [C/2]
angle = np.arange(T)[:, None] * omega  # [T, C/2]
PE = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(T, C)  # pairs side by side
agree("by hand and minilm.formulas", PE, positions.sinusoids(T, C))
agree("by hand and minilm.layers  ", PE, library_positions.sinusoids(T, C), atol=1e-6)  # single precision there
turns = 2 * np.pi / omega  # the number of words until each hand has gone round once
print(f"words until a hand has gone round: {turns[0]:.1f} for the first one, {turns[-1]:,.0f} for the last one")

# %% [markdown]
# Why *pairs*? Because of what a head can do with them. The dot product of two positions depends only on their
# distance, and it is largest at distance 0:
#
# $$PE(t) · PE(s) = \sum_i \sin t\omega_i \sin s\omega_i + \cos t\omega_i \cos s\omega_i = \sum_i \cos\big((t - s)\,\omega_i\big).$$
#
# Moving on by $\delta$ words turns each hand by the same angle, wherever you start, so one matrix $M\ [C, C]$ does it
# for every $t$: along its diagonal stand $C/2$ rotations, each of size [2, 2]. A head that wants "the word on the left"
# only needs such a matrix in its queries.

# %%
products = PE @ PE.T  # [T, T]
t, s = np.indices((T, T))
agree("dot products are cosines of the distance", products, positions.dot_product(t - s, C))
M = positions.turn(-1, C)  # [C, C]: it turns each pair of features back by its angle ω
agree("M moves every position one word back", PE[1:] @ M.T, PE[:-1])

# %%
picture, axes = panels(1, 3, width=11, height=3.2)
image = axes[0].imshow(PE.T, cmap="Blues", aspect="auto")
picture.colorbar(image, ax=axes[0], label="PE")
axes[0].set(title=f"PE: a clock with {len(omega)} hands", xlabel="position t", ylabel="feature")
axes[1].imshow(products, cmap="Blues")
axes[1].set(title="PE(t) · PE(s)", xlabel="position s", ylabel="position t")
middle = T // 2
axes[2].plot(np.arange(T) - middle, products[middle], color=plots.COLOURS[0])
axes[2].set(
    title=f"PE(t) · PE(s) for t = {middle}", xlabel="distance s − t", ylim=(min(0, products[middle].min()), None)
)
picture

# %%
claim(
    "The first hand goes round in fewer than 7 words, the last in tens of thousands.",
    turns[0] < 7 and 10_000 < turns[-1] < 100_000,
)
claim("The dot product is largest at distance 0.", products.argmax(axis=1) == np.arange(T))

# %% [markdown]
# **Wrong, then right.** The exponent belongs to the *pair*: it is $2\lfloor j/2 \rfloor$ for column $j$. With $j$
# itself, the sine and cosine of a pair run at two speeds, and the dot product no longer depends on the distance
# alone. The picture of the table looks the same, but a test on one diagonal of the dot products shows the difference.

# %%
column = np.arange(C)
wrong_angle = np.arange(T)[:, None] * base ** (-column / C)  # column j, not 2·(j // 2)
wrong = np.where(column % 2, np.cos(wrong_angle), np.sin(wrong_angle))
ranges = {}
for name, table in (("right", PE), ("wrong", wrong)):
    neighbours = (table[1:] * table[:-1]).sum(axis=1)  # t and t − 1, for every t
    print(f"{name}: dot products of neighbouring positions from {neighbours.min():.2f} to {neighbours.max():.2f}")
    ranges[name] = np.ptp(neighbours)
claim(
    "Only the right table gives all neighbours the same dot product.", ranges["right"] < 1e-9 and ranges["wrong"] > 0.5
)

# %% [markdown]
# **What to try.** Set `base` to 100: how far do the dot products fall at distance 30, `products[0, 30]`? Which distance
# has the smallest dot product, `products[0].argmin()`?
#
# <details><summary>Answers</summary>
#
# 1. From 16 to little more than 1; with the base 10000 it is still 7.6. With the base 100 even the slowest hand goes
#    round in 471 words, so at distance 30 most hands have turned away from each other.
#
#    ```text
#    1.1738595694956984
#    ```
# 2. Not the largest one, 63. A sum of cosines falls, but not steadily: at this distance more hands point the other
#    way than at any other.
#
#    ```text
#    53
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start sinusoids`

# %% [markdown]
# ## A table that is learned  (F21 · D4 §2.1.9)
# BERT has a table $P\ [T_{\max}, C]$, one row for each of the $T_{\max}$ positions that a text may have, and learns it,
# just like the table of the words. Such a table is called an *embedding table*. For translation, Vaswani et al. (2017)
# found a learned table and waves about equally good. But a table ends at its last row: a longer text has no vector
# there. Waves go on for ever, and that is why the first Transformer took them. (That a position *has* a vector does not
# mean that the model can use it: in training it never saw this one.)
#
# The forward computation is a lookup, $Y = P[\mathrm{index}]$. It is the product of *one-hot* rows with $P$: row $n$ is 0
# except for a 1 at $\mathrm{index}_n$. So in the backward computation, each row of $P$ gets the **sum** of the gradients
# from all the places that looked it up:
#
# $$\frac{\partial L}{\partial P_v} = \sum_{n\,:\,\mathrm{index}_n = v} dY_n .$$

# %%
P, index = rng.normal(size=(6, 4)), np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 0, 1]])  # B = 3 rows of T = 4
dY = rng.normal(size=(*index.shape, P.shape[1]))
onehot = np.eye(len(P))[index]  # [B, T, 6]
dP = np.einsum("btv,btc->vc", onehot, dY)
agree("one-hot rows and minilm.formulas", dP, positions.look_up_gradient(P, index, dY))
agree("by hand and by autograd", dP, by_machine(lambda p: nn.functional.embedding(torch.tensor(index), p), [P], dY)[0])

# %% [markdown]
# **Wrong, then right.** In NumPy, `gradient[index] += dY` reads, adds, then writes. Where an index occurs twice, the
# last write wins and the others are lost. `np.add.at` adds them all. With positions, *every* index repeats, once for
# each sentence of the batch.

# %%
forgets = np.zeros_like(P)
forgets[index] += dY
added = np.zeros_like(P)
np.add.at(added, index, dY)
agree("np.add.at", added, dP)
right, looked_up = np.isclose(forgets, dP).all(axis=1), np.unique(index)
print(f"rows that were looked up: {looked_up}; of these, right with +=: {looked_up[right[looked_up]]}")
claim("With +=, none of them gets its whole gradient.", ~right[looked_up])
claim("The other rows get none.", np.delete(dP, looked_up, axis=0) == 0)

# %% [markdown]
# **What to try.** Print `dP`: which rows of a position table never learn anything if all training texts are short? Make
# the third text a later piece, `[2, 3, 4, 5]`: which rows learn now, and which of them are right with `+=`?
#
# <details><summary>Answers</summary>
#
# 1. Rows 4 and 5: no text has a word there, so they get the gradient 0 and stay at their random start. If all
#    training texts are short, this happens to all late positions, and the model fails at the first long text.
#
#    ```text
#    [ 0.          0.          0.          0.        ]
#    ```
# 2. Now row 5 learns as well, and rows 4 and 5, which occur once each, are right even with `+=`: nothing is
#    overwritten where an index occurs only once.
#
#    ```text
#    rows that were looked up: [0 1 2 3 4 5]; of these, right with +=: [4 5]
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start embedding`

# %% [markdown]
# ## A bias by relative position  (F21 · D4 §2.1.9)
# Waves and tables say where a word *stands*. But what a head wants to know is how far away another word *is*: "one to
# the left" is the same wish at the beginning of a text and at its end. So nothing is added to the vectors any more.
# Instead, each of the $H$ heads has one learned number per distance, which it adds to its scores (Raffel et al., 2020).

# %%
schematics.relative_bias()

# %% [markdown]
# In formulas, for head $h$, query $t$ and key $s$:
#
# $$Z_{hts} = \frac{q_t · k_s}{\sqrt D} + b_{hts}, \qquad b_{hts} = \mathrm{table}[\mathrm{bucket}(s - t),\, h], \qquad
# \mathrm{table}\ [32, H] .$$
#
# Near distances have a *bucket* each. Far ones share buckets that grow, because nobody needs to tell 57 from 58. With
# $n = |s - t|$ and $E = 8$, which is a quarter of the buckets,
#
# $$\mathrm{bucket} = \begin{cases} n & n < E \\
# \min\big(E + \lfloor E \log(n/E) / \log(128/E) \rfloor,\ 2E - 1\big) & n \ge E \end{cases}
# \qquad \text{and } 2E \text{ more if } s > t .$$

# %%
draw = np.random.default_rng(21)
buckets, farthest, H = 32, 128, 4


def bucket(offset):
    n, E = np.abs(offset), buckets // 4
    growth = E * np.log(np.maximum(n, 1) / E) / np.log(farthest / E)
    far = np.minimum(E + np.floor(growth + 1e-9).astype(int), 2 * E - 1)  # a log may be a hair too small: 1e-9
    return np.where(n < E, n, far) + 2 * E * (offset > 0)


offset = np.arange(-150, 151)  # s − t
agree("buckets, by hand and minilm.formulas", bucket(offset), positions.bucket(offset, buckets, farthest))
agree(
    "buckets, by hand and minilm.layers  ",
    bucket(offset),
    library_positions.bucket(torch.tensor(offset), buckets, farthest),
)
T, table = 40, draw.normal(size=(buckets, H))
t, s = np.indices((T, T))
b = np.moveaxis(table[bucket(s - t)], -1, 0)  # [H, T, S]
layer = library_positions.RelativeBias(H, buckets, farthest).double()
layer.table.data = torch.tensor(table)
agree("bias, by hand and minilm.formulas", b, positions.relative_bias(table, T, T, farthest))
agree("bias, by hand and minilm.layers  ", b, layer(T, T)[0])

# %% [markdown]
# The gradient is that of a lookup once more: each entry of the table gets the **sum** over all pairs $(t, s)$ in its
# bucket, in all texts of the batch.

# %%
dZ = draw.normal(size=(3, H, T, T))  # of a batch of 3
d_table = np.stack([dZ[:, :, bucket(s - t) == i].sum(axis=(0, 2)) for i in range(buckets)])  # [32, H]
agree("by hand and minilm.formulas", d_table, positions.relative_bias_gradient(table, T, T, dZ, farthest))
layer(T, T).backward(torch.tensor(dZ.sum(axis=0, keepdims=True)))
agree("by hand and by autograd    ", d_table, layer.table.grad)

# %%
picture, (left, right) = panels(1, 2, width=10, height=3.5, width_ratios=(1.5, 1))
left.step(offset, bucket(offset), where="mid", color=plots.COLOURS[0])
left.set(title="The bucket of each distance", xlabel="distance s − t", ylabel="bucket")
left.annotate("before the query", (-75, 18), ha="center", fontsize=11)
left.annotate("after the query", (75, 12), ha="center", fontsize=11)
right.imshow(bucket(s - t) % 2 + 3 * (s > t), cmap="Blues", vmin=-1)  # neighbouring buckets differ in shade
right.set(title=f"Each stripe is a bucket ({T} words)", xlabel="position s", ylabel="position t")
picture

# %%
both = np.intersect1d(bucket(offset[offset > 0]), bucket(offset[offset <= 0]))
claim("No bucket holds distances of both directions.", both.size == 0)
E = buckets // 4
claim("The nearest distances have a bucket each.", np.unique(bucket(np.arange(1 - E, E))).size == 2 * E - 1)
claim("All distances beyond 90 share the last one.", bucket(offset[offset < -90]) == bucket(-150))

# %% [markdown]
# What does such a bias do to a head? We take ten words with random queries and keys. The head starts as the first head
# of every model of this library does: its bias is 4 at distance −1 and 0 everywhere else.

# %%
words = "the plot is thin , but the cast is great".split()
T, D = len(words), 16
t, s = np.indices((T, T))
q, k = draw.normal(size=(2, T, D))
scores_of_words = q @ k.T / np.sqrt(D)  # [T, S]
head_bias = np.zeros(buckets)
head_bias[bucket(np.array(-1))] = 4
b = head_bias[bucket(s - t)]  # [T, S]
before, after = softmax(scores_of_words), softmax(scores_of_words + b)

# %%
picture, axes = panels(1, 4, width=12, height=3.4)
shown = {
    "q · k / √D": (scores_of_words, -4, 4),
    "… its softmax": (before, 0, 1),
    "q · k / √D + b": (scores_of_words + b, -4, 4),
    "… its softmax ": (after, 0, 1),
}
for axis, (title, (values, least, most)) in zip(axes, shown.items()):
    axis.imshow(values, cmap="Blues", vmin=least, vmax=most)
    axis.set(title=title, xlabel="key")
    axis.set_xticks(range(T), words, rotation=90, fontsize=9)
    axis.set_yticks(range(T), words if axis is axes[0] else [], fontsize=9)
axes[0].set_ylabel("query")
picture

# %%
to_the_left = {"without": before[t - s == 1], "with": after[t - s == 1]}
print({which: f"{weights.mean():.0%}" for which, weights in to_the_left.items()}, "of the weight goes one to the left")
odds = (after[1:, 0] / after[1:, -1]) / (before[1:, 0] / before[1:, -1])  # the first word against the last
agree("A bias multiplies the weight, against a word without one, by e^b", odds, np.exp(b[1:, 0] - b[1:, -1]))
claim(
    "Without the bias, less than a quarter of the weight goes to the word on the left.",
    to_the_left["without"].mean() < 0.25,
)
claim("With it, more than 60 % on average.", to_the_left["with"].mean() > 0.6)
claim("But not the same for every word.", np.ptp(to_the_left["with"]) > 0.1)

# %% [markdown]
# (The darker, the larger: the scores go from −4 to 4, the weights from 0 to 1.) So a bias is an opinion that a head has
# before it has read a word. Adding 4 to a score multiplies the odds, the weight of this word against that of another
# one, by $e^4 \approx 55$, and a key that fits the query very well can still win.
#
# A bias may have other shapes than a peak. The next picture takes one that falls in a straight line on both sides of a
# centre, and shows the attention that it makes of random scores. (In Jupyter, it has sliders if `ipywidgets` is
# installed: move the centre, then make the bias stronger.)

# %%
interactive.bias_and_attention()

# %% [markdown]
# **Shift invariance.** We put ten words at the beginning of a text, and the same ten words further to the right. Do
# they attend to one another as before?
#
# **Predict first.** In which of three cases do the weights stay as they are: a learned table, waves, a bias?
#
# <details><summary>Answer</summary>
#
# Only with a bias. A learned table has other rows further to the right, so that was to be expected. But with waves,
# too, the weights change, although the dot product of two waves depends on their distance alone; the text below the
# numbers says why.
#
# </details>

# %%
x = draw.normal(size=(T, D))
W_Q, W_K = draw.normal(size=(2, D, D)) / np.sqrt(D)
learned, waves = draw.normal(size=(100, D)), positions.sinusoids(100, D)


def weights_at(start, kind):
    """The weights [T, T] of the ten words when the first one stands at position `start`."""
    here = start + np.arange(T)
    moved = x + {"a learned table": learned, "waves": waves}[kind][here] if kind != "a bias" else x
    Z = (moved @ W_Q.T) @ (moved @ W_K.T).T / np.sqrt(D)
    return softmax(Z + table[bucket(here - here[:, None]), 0] if kind == "a bias" else Z)


shift = {}
for kind in ("a learned table", "waves", "a bias"):
    shift[kind] = [np.abs(weights_at(start, kind) - weights_at(0, kind)).max() for start in (1, 20, 80)]
    print(f"{kind:16} largest change of a weight, moved by 1, 20, 80 words: {np.round(shift[kind], 3)}")
claim("With a bias, nothing changes.", np.array(shift["a bias"]) == 0)
claim("With a table, and with waves, some weights change by more than 0.1.",
      [max(shift["a learned table"]) > 0.1, max(shift["waves"]) > 0.1])  # fmt: skip

# %% [markdown]
# The waves are a surprise: was it not the *distance* that counted? In $PE(t) · PE(s)$ it is. But a head multiplies by
# $W^Q$ and $W^K$, and it sees the sum of word and wave; in $(x_t + PE(t))\,M\,(x_s + PE(s))^\top$ three of the four terms
# depend on where the text begins. A model has to learn to ignore that. With a bias there is nothing to ignore, and a
# text may even be longer than any in training.
#
# **Wrong, then right.** A distance has a direction. With $\mathrm{bucket}(|s - t|)$ the code looks tidier and half of the
# table is enough, but the head cannot tell left from right: its preference for the word before is one for the word
# after as well.

# %%
without_sign = softmax(scores_of_words + head_bias[bucket(-np.abs(s - t))])
for what, weights in (("s − t", after), ("|s − t|", without_sign)):
    print(f"{what:7} to the left {weights[t - s == 1].mean():.0%}, to the right {weights[s - t == 1].mean():.0%}")
claim("Without the sign, the right side gets more than a third.", without_sign[s - t == 1].mean() > 0.33)
claim("With it, less than a tenth.", after[s - t == 1].mean() < 0.1)

# %% [markdown]
# **What to try.** Set `farthest = 32`: which distances share the last bucket now? Give the head a peak of 8 instead of 4,
# `head_bias[bucket(np.array(-1))] = 8`: can a word still win against it? Let it look two words ahead,
# `head_bias[bucket(np.array(2))] = 4`: what do the last two words do?
#
# <details><summary>Answers</summary>
#
# 1. The buckets now grow faster: the last one begins at distance 27 and holds everything beyond. The longest
#    distances were in one bucket before, too.
#
#    ```text
#    ✓ All distances beyond 90 share the last one.
#    ```
# 2. Hardly ever. The odds grow from $e^4 \approx 55$ to $e^8 \approx 2981$, and no score of these random words is
#    large enough to make up for that.
#
#    ```text
#    {'without': '8%', 'with': '99%'} of the weight goes one to the left
#    ```
# 3. For the last two words there is nothing two places further on. Their row of the bias is all 0, so they look
#    where their own scores lead them. And one to the left gets less than without any bias, because the weights of a
#    row sum to 1.
#
#    ```text
#    {'without': '8%', 'with': '4%'} of the weight goes one to the left
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start relative_bucket`

# %% [markdown]
# ## Rotary positions  (F21 · D4 §2.1.9)
# Most large language models of today use a fourth way (Su et al., 2021): they *turn* each query and each key by an angle
# that grows with its position. Take the features in pairs, feature $j$ with feature $j + D/2$, and read each pair as one
# complex number. Then to turn it is to multiply:
#
# $$\tilde q_j = q_j\, e^{\mathrm i\, t\omega_j}, \qquad \tilde k_j = k_j\, e^{\mathrm i\, s\omega_j}, \qquad
# \omega_j = 10000^{-2j/D} .$$
#
# Why does the score depend on $s - t$ alone? The dot product of two vectors is the real part of $\sum_j \bar q_j k_j$,
# and there the two turns meet. One goes back by $t\omega_j$ (because of the bar), the other forward by $s\omega_j$:
#
# $$\tilde q · \tilde k = \mathrm{Re} \sum_j \overline{q_j\, e^{\mathrm i\, t\omega_j}}\; k_j\, e^{\mathrm i\, s\omega_j}
# = \mathrm{Re} \sum_j \bar q_j k_j\; e^{\mathrm i\, (s - t)\,\omega_j} .$$
#
# Nothing is added, nothing is learned, and no vector changes its length. Values are not turned.

# %%
D, base = 16, 10000.0
q, k = draw.normal(size=(2, D))  # one query and one key
omega = base ** (-np.arange(0, D, 2) / D)  # [D/2]


def rotated(x, m):
    """x [D], turned to position m."""
    turned = (x[: D // 2] + 1j * x[D // 2 :]) * np.exp(1j * m * omega)
    return np.concatenate([turned.real, turned.imag])


places = np.arange(60)
Q, K = (np.stack([rotated(x, m) for m in places]) for x in (q, k))  # [T, D], the same vector at every position
agree("by hand and minilm.formulas", Q, positions.rotate(np.tile(q, (60, 1)), places, base))
row = torch.tensor(np.tile(q, (1, 1, 60, 1)))  # [B, H, T, D]
agree("by hand and minilm.layers  ", Q, library_positions.rotate(row, torch.tensor(places[None]), base)[0, 0])
score = Q @ K.T  # [T, S]
one_sum = ((q[: D // 2] - 1j * q[D // 2 :]) * (k[: D // 2] + 1j * k[D // 2 :]) * np.exp(1j * 7 * omega)).real.sum()
agree("all scores at distance 7 and the sum of above", np.diag(score, 7), np.full(53, one_sum))

# %%
picture, axes = panels(1, 3, width=11.5, height=3.6)
for (at_t, at_s), style in (((0, 2), "-"), ((3, 5), "--")):
    for (x, m, name), colour in zip(((q, at_t, "q at t"), (k, at_s, "k at s")), plots.COLOURS):
        pair = rotated(x, m)[[0, D // 2]]  # the fastest pair
        axes[0].plot([0, pair[0]], [0, pair[1]], style, color=colour, marker="o", markevery=[1])
        outwards = dict(ha="left" if pair[0] > 0 else "right", va="bottom" if pair[1] > 0 else "top")
        axes[0].annotate(f"  {name} = {m}  ", pair, color=colour, fontsize=10, **outwards)
reach = 1.5 * max(np.hypot(*x[[0, D // 2]]) for x in (q, k))
axes[0].set(xlabel="first of the two", ylabel="second of the two")
axes[0].set(title="The first pair of features", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
axes[1].imshow(score, cmap="Blues")
axes[1].set(title="The score of the same q and k", xlabel="position s", ylabel="position t")
for start, colour in zip((0, 25, 50), plots.COLOURS):
    axes[2].plot(places - start, score[start], "-", color=colour, label=f"t = {start}", lw=6 - start / 12)
axes[2].set(title="… is a function of the distance", xlabel="distance s − t", ylabel="score")
axes[2].set(ylim=(1.1 * score.min(), score.max() + 0.25 * np.ptp(score)))  # room for the legend
axes[2].legend(fontsize=9, loc="upper left", ncols=3)
picture

# %%
along = [np.diag(score, distance) for distance in range(-59, 60)]
claim("Each diagonal holds one number.", [np.ptp(values) < 1e-9 for values in along])
claim("No vector has changed its length.", np.abs(np.linalg.norm(Q, axis=1) - np.linalg.norm(q)) < 1e-9)

# %% [markdown]
# In the picture on the left, both arrows have moved on by three words from the solid to the dashed ones, and the angle
# between them is the same. There is no table here in which a number could say "one to the left". A head has to learn a
# query and a key whose sum of waves has its peak there, with the matrices $W^Q$ and $W^K$.
#
# **Wrong, then right.** Which features make a pair? Here it is $j$ and $j + D/2$; the paper takes neighbours, $2j$ and
# $2j + 1$. Both are rotary positions, and a model that is trained with one is as good as with the other. But weights that
# were trained with one and run with the other give no error, only wrong scores. This is a common mistake when weights
# are copied from one program to another. The repair is to sort the rows of $W^Q$ and $W^K$ in the other order.

# %%
order = np.arange(D).reshape(D // 2, 2).T.ravel()  # 0, 2, 4, …, 1, 3, 5, …


def rotated_in_neighbours(x, m):
    return rotated(x[order], m)[np.argsort(order)]


other = np.array([[rotated_in_neighbours(q, t) @ rotated_in_neighbours(k, s) for s in places] for t in places])
print(f"score at distance 7: {np.diag(score, 7)[0]:.2f} with j and j + D/2, {np.diag(other, 7)[0]:.2f} with neighbours")
claim("It depends on the distance alone, too.", [np.ptp(np.diag(other, n)) < 1e-9 for n in range(-59, 60)])
claim("But it is another function of the distance.", np.abs(other - score).max() > 1)
sorted_score = np.array([[rotated(q[order], t) @ rotated(k[order], s) for s in places] for t in places])
agree("with sorted features", sorted_score, other)

# %% [markdown]
# **What to try.** Let the key be the query, `k = q` above the line of `omega`: where is the score largest now, and
# which picture of this notebook does the curve remind you of? Turn the keys backwards, `K = np.stack([rotated(k, -m)
# for m in places])` above the line of `score`: along which lines of the picture does it stay the same now? Set `base =
# 4.0`: what becomes of the slow waves?
#
# <details><summary>Answers</summary>
#
# 1. At distance 0: there no pair is turned apart, and each pair adds the square of its length. The curve looks like
#    that of the dot products of the waves, because for $q = k$ it is the same sum of cosines, with other heights.
#
#    ```text
#    score at distance 7: 11.96 with j and j + D/2, 12.61 with neighbours
#    ```
# 2. Then the angles add up, and the score depends on $s + t$: it stays the same along the *other* diagonals, from
#    the lower left to the upper right. Such a head could not tell a near word from a far one.
#
#    ```text
#    no longer equal: all scores at distance 7 and the sum of above: they differ by 9.1e+00, more than 1e-10
#    ```
# 3. There are none any more. With the base 4 the slowest pair turns by $4^{-14/16} \approx 0.3$ per word and goes
#    round in about 21 words, so the score of a pair of words comes back at larger distances, and the head cannot
#    tell them apart.
#
#    ```text
#    score at distance 7: 3.22 with j and j + D/2, -7.32 with neighbours
#    ```
#
# </details>

# %% [markdown]
# ## Why a table starts on a plateau  (F21 · D4 §2.1.9)
# How soon does a model make use of its positions? The task is the one of notebook 05: name the word on the left. One
# block is enough for this (a block is attention and what goes with it, notebook 07), and texts of 64 words make it hard
# to find. Four models of one block differ only in how they know the order of the words:
#
# * *a learned table*, BERT's way. It even starts from the waves (`minilm/models/wave_start.py`);
# * *rotary positions*;
# * *a bias that starts at 0*;
# * *a bias with peaks*: the heads start with a 4 at the distances −1, +1, −2 and +2 (`minilm/models/bert_start.py`).
#
# In the code, `fan-in` stands for random weights that keep the size of what goes through them, and `neighbours` for a
# start that this project builds (notebook 07 compares them). The labels are those of notebook 05: the word on the left.
#
# **Predict first.** Which of the four leaves the plateau first, and which last?
#
# <details><summary>Answer</summary>
#
# The bias with peaks has no plateau at all: one head already looks to the left, and only the rest is to be learned.
# Next come rotary positions, then the bias from 0, and last the table.
#
# </details>

# %%
from minilm import AdamW, BertForPretraining, TransformerConfig, cross_entropy, initialise
from minilm.training.optimizer import clip_gradients, parameter_groups  # notebooks 09 and 01


def batch(draw, T=16):
    """Random words; the label of each place is the word on its left, which only attention can bring."""
    ids = torch.randint(32, (16, T), generator=draw)
    wanted = torch.full_like(ids, -100)
    wanted[:, 1:] = ids[:, :-1]
    return ids, wanted


def one_block(kind, scheme, T):
    config = TransformerConfig(32, 32, layers=1, heads=4, feed_forward=64, max_length=T, positions=kind)
    torch.manual_seed(0)
    model = BertForPretraining(config)
    initialise(model, scheme, torch.Generator().manual_seed(0))
    return model


def loss_on(model, draw, T):
    ids, wanted = batch(draw, T)
    return cross_entropy(model(ids).mlm_logits, wanted).value


def learn(kind, scheme, T=64, steps=20 if FAST else 300, learning_rate=3e-3):
    model, draw, losses = one_block(kind, scheme, T), torch.Generator().manual_seed(0), []
    optimizer = AdamW(parameter_groups(model))
    for _ in range(steps):
        loss = loss_on(model, draw, T)
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step(learning_rate)
        losses.append(loss.item())
    return np.array(losses)


kinds = {
    "a learned table": ("learned", "fan-in"),
    "rotary positions": ("rotary", "fan-in"),
    "a bias that starts at 0": ("relative", "fan-in"),
    "a bias with peaks": ("relative", "neighbours"),
}
found = {name: learn(*how) for name, how in kinds.items()}

# %%
picture, axis = panels(1, 1, width=9.5, height=3.6)
for (name, curve), colour in zip(found.items(), plots.COLOURS):
    axis.plot(curve, color=colour, label=name, lw=1.6)
axis.axhline(np.log(32), color=plots.GREY, ls=":", label="guessing: log 32")
axis.set(title="One block, 64 words: name the word on the left", xlabel="step", ylabel="loss (nats)", ylim=(0, 4))
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
picture

# %%
starts = {name: int(np.argmax(np.append(curve, 0) < 3.3)) for name, curve in found.items()}  # first step below 3.3
print("the loss falls below 3.3 at step", starts)
if not FAST:
    claim("The table stays on its plateau for more than 150 steps.", starts["a learned table"] > 150)
    claim("A bias at 0 is sooner, but has not finished at the end.",
          [starts["a bias that starts at 0"] < starts["a learned table"], found["a bias that starts at 0"][-1] > 0.5])  # fmt: skip
    claim("A bias with peaks has no plateau: it is below 3.3 within 25 steps.", starts["a bias with peaks"] < 25)

# %% [markdown]
# Where does the plateau come from? With a table, "one to the left" is a *product* of things that all have to be
# learned: $P_t W_Q^\top W_K P_s^\top$ must be large for the 63 pairs $(t, t-1)$ and small for all others, and as long
# as one factor is random, the gradient of the others points in a random direction. Adam (notebook 01) follows a
# direction only if one batch after the other names it. So we ask 24 batches, before any training, and compare their
# gradients by the cosine of the angle between them: 1 means the same direction, 0 a right angle.


# %%
def agreement(kind, scheme, T=64):
    """The mean cosine of the gradients of two batches: of the bias at distance −1, or of the table."""
    model, draw, gradients = one_block(kind, scheme, T), torch.Generator().manual_seed(1), []
    for _ in range(4 if FAST else 24):
        model.zero_grad()
        loss_on(model, draw, T).backward()
        if kind == "relative":
            gradients.append(model.encoder.stack.relative_bias.table.grad[1])  # bucket 1 [H]
        else:
            gradients.append(model.encoder.embeddings.positions.weight.grad.flatten())  # [T · C]
        gradients[-1] = gradients[-1].clone() / gradients[-1].norm()
    cosines = torch.stack(gradients) @ torch.stack(gradients).T
    return cosines[~torch.eye(len(cosines), dtype=torch.bool)].mean().item()


agreed = {name: agreement(*how) for name, how in kinds.items() if how[0] != "rotary"}
print("mean cosine of the gradients of two batches:", {name: round(value, 2) for name, value in agreed.items()})
claim("Two batches hardly agree about the table.", agreed["a learned table"] < 0.2)
if not FAST:
    claim("About the bias at −1 they do, and most of all if it has a peak.",
          [agreed["a bias that starts at 0"] > 0.7, agreed["a bias with peaks"] > agreed["a bias that starts at 0"]])  # fmt: skip

# %% [markdown]
# A row of the table hears only of its own place, 16 words in each batch. The entry of the bias at −1 is the sum over all
# 63 pairs of neighbours in all 16 texts, so the noise cancels.
#
# **Wrong, then right.** "So a bias learns faster than a table." From 0 it does not: it leaves earlier, but then it climbs
# slowly, and the table overtakes it. Adam moves each number by about the learning rate per step, so from 0 to 4 takes a
# bias more than a thousand steps, while a table moves thousands of numbers at once. The advantage is another one: what a
# head should prefer is *one number*, which we can write down before training. That is the peak. Training hardly
# moves it (notebook 12 draws it before and after). The model does not find it but uses it, from the first step on, and in
# every layer, because all layers share the bias.
#
# Learned positions can be started in this way, too, and then they have no plateau either (try it below). But the start is
# a construction of waves and rotations that occupies part of each vector, and it reaches only the first layer.

# %% [markdown]
# **What to try.** Give the table the start of `neighbours` as well, `("learned", "neighbours")` in `kinds`: where is
# the plateau now? Start it from BERT's small weights, `("learned", "published")`: does it arrive at all? Use shorter
# texts, `T=16` in `learn`: how much shorter does the plateau become?
#
# <details><summary>Answers</summary>
#
# 1. It is gone: two heads find the neighbours from the first step on, because queries and keys are built from the
#    waves that the table starts with.
#
#    ```text
#    the loss falls below 3.3 at step {'a learned table': 7, 'rotary positions': 49
#    ```
# 2. No: 300 stands for "not within the 300 steps". At a width of 32 the weights of BERT give scores that are all
#    nearly 0 (notebook 07), and the gradient that could change that is small as well.
#
#    ```text
#    the loss falls below 3.3 at step {'a learned table': 300, 'rotary positions': 49
#    ```
# 3. Much shorter: only 15 pairs of neighbours have to be told from the others, and each row of the table occurs as
#    often as before.
#
#    ```text
#    the loss falls below 3.3 at step {'a learned table': 92, 'rotary positions': 35
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
#
# 1. Without positions and without a causal mask, attention gives a word the same vector wherever it stands.
# 2. Waves and learned tables add a vector to each word; it says where the word stands, and heads must learn to compare
#    two places.
# 3. A bias by relative position adds one number per head and distance to the scores; moving the text changes nothing.
# 4. Rotary positions turn queries and keys by an angle, so that the score depends on the distance alone, without any
#    parameter.
# 5. A table waits on a plateau, because two batches hardly agree about it; a bias that starts with a peak does not have
#    to be found.
#
# **Where to read on.**
#
# * Vaswani and others, 2017, *Attention Is All You Need*, §3.5: the waves (arXiv:1706.03762)
# * Shaw, Uszkoreit and Vaswani, 2018, *Self-Attention with Relative Position Representations* (arXiv:1803.02155)
# * Raffel and others, 2020, *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer*: the
#   bias in buckets (arXiv:1910.10683)
# * Su and others, 2021, *RoFormer: Enhanced Transformer with Rotary Position Embedding* (arXiv:2104.09864)
# * Press, Smith and Lewis, 2022, *Train Short, Test Long*: a bias without a table (arXiv:2108.12409)
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `embedding` | 25 | medium |
# | `sinusoids` | 25 | medium |
# | `relative_bucket` | 30 | medium |
