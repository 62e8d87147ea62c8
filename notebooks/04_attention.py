# %% [markdown]
# # 04 · Attention
#
# After this notebook you can write attention from memory, mask it without leaks, differentiate it with a pencil, and
# say what a heat map of it shows and what it does not. You need NumPy, school calculus and notebook 02's way of
# checking a gradient. The notebook runs in well under a minute.
#
# Letters: $T$ queries (the words that look), $S$ keys (the words that are looked at), $D$ the size of a head, $H$
# heads, $C = H·D$ the width of the model, $B$ sentences in a batch.

# %%
from collections import Counter

import numpy as np
import torch

from minilm.formulas import attention as by_hand, positions
from minilm.layers import attention as library
from minilm.viz import plots
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
rng = np.random.default_rng(0)

# %% [markdown]
# ## Query, key, value  (F18 · D4 §2.1.5, §2.1.10)
# The document calls self-attention (自注意力) the core of the Transformer and describes it in one sentence: for each
# position, compute weights over the other positions and focus on them. It prints no formula. It means this one
# (Vaswani et al., 2017, §3.2.1):
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V$$
#
# for queries $Q\ [T, D]$, keys $K\ [S, D]$ and values $V\ [S, D_v]$; the result is $[T, D_v]$.
#
# Read it as a soft dictionary. Every word asks a question (its **query**), carries a label that says what it can
# answer (its **key**), and has something to hand over (its **value**). A query is compared with all keys. The better
# a key matches, the more of that word's value comes back.
#
# Here is an attention written by hand, small enough to follow with a finger. Each word is a row of $X\ [T, C]$, with
# six features.

# %%
rows = [  # article, adjective, noun, verb; small, red
    ("the", [1, 0, 0, 0, 0, 0]),
    ("small", [0, 1, 0, 0, 1, 0]),
    ("red", [0, 1, 0, 0, 0, 1]),
    ("ball", [0, 0, 1, 0, 0, 0]),
    ("rolls", [0, 0, 0, 1, 0, 0]),
]
words, X = [word for word, _ in rows], np.array([features for _, features in rows], dtype=float)
W_Q, W_K, W_V = np.zeros((6, 2)), np.zeros((6, 2)), np.zeros((6, 2))
strength = 6  # of the questions
W_Q[2, 0] = strength  # a noun asks for adjectives …
W_K[1, 0] = 1  # … and an adjective says that it is one
W_Q[[0, 1, 3], 1] = strength  # articles, adjectives and verbs ask for their noun
W_K[2, 1] = 1
W_V[4, 0] = W_V[5, 1] = 1  # what is handed over: smallness, redness

# %% [markdown]
# These four lines compute attention, with the shape next to each line:

# %%
Q, K, V = X @ W_Q, X @ W_K, X @ W_V  # [T, C] @ [C, D] = [T, D], three times
Z = Q @ K.T / np.sqrt(Q.shape[-1])  # [T, D] @ [D, S] = [T, S]: each query times each key
E = np.exp(Z - Z.max(axis=-1, keepdims=True))
A = E / E.sum(axis=-1, keepdims=True)  # [T, S]: softmax over the keys, so each row sums to 1
Y = A @ V  # [T, S] @ [S, Dv] = [T, Dv]

for word, before, after in zip(words, X[:, 4:], Y.round(2)):
    print(f"(small, red) of the word {word:5}: before attention {before} and after it {after}")

# %%
picture, axes = panels(1, 2, height=3.6)
for axis, what, title in ((axes[0], Z, "Scores Q Kᵀ / √D"), (axes[1], A, "Weights: each row sums to 1")):
    axis.imshow(what, cmap="Blues", vmin=0)
    for (t, s), entry in np.ndenumerate(what):
        colour = "white" if entry > what.max() / 2 else "black"
        axis.text(s, t, f"{entry:.2f}", ha="center", va="center", color=colour, fontsize=10)
    axis.set(title=title, xlabel="the word that is looked at (key)", ylabel="the word that looks (query)")
    axis.set_xticks(range(len(words)), words, rotation=30)
    axis.set_yticks(range(len(words)), words)
picture

# %%
nouns, verbs = X[:, 2] == 1, X[:, 3] == 1
claim("Before attention the noun knows of neither small nor red.", X[nouns, 4:] == 0)
claim(
    "After it the noun carries nearly half of each, and the verb almost nothing.",
    (Y[nouns] > 0.45).all() and Y[verbs].max(initial=0) < 0.05,
)

# %% [markdown]
# In its own row of $X$, *ball* knew nothing of *small* and *red*; now it carries half of each. Nobody told it where
# these words stand: it found them by what they are.
#
# Here we chose $W^Q, W^K, W^V$ with a pencil. In a model they are learned, and nothing in the formula decides what a
# head will ask for.
#
# The same four lines stand in `minilm/formulas/attention.py` (NumPy) and `minilm/layers/attention.py` (PyTorch), for
# any sizes:

# %%
B, T, S, D, Dv = 2, 5, 7, 4, 3
q, k, v = rng.normal(size=(B, T, D)), rng.normal(size=(B, S, D)), rng.normal(size=(B, S, Dv))
scores = q @ k.swapaxes(1, 2) / np.sqrt(D)
weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
agree("four lines and minilm.formulas", weights @ v, by_hand.attention(q, k, v))
tensors = [torch.from_numpy(a) for a in (q, k, v)]
agree("four lines and minilm.layers  ", weights @ v, library.attention(*tensors)[0])

# %% [markdown]
# **Wrong, then right.** With $T = S$, a softmax along the wrong axis runs without an error. Then the *columns* sum to
# 1: every word is looked at just as much as every other, and the weights of some queries add up to far less than 1.

# %%
wrong = E / E.sum(axis=0)  # over the queries
print("sum of the weights of each query, wrong:", wrong.sum(axis=1).round(2))
print("                                  right:", A.sum(axis=1).round(2))
claim("Right, the weights of every query sum to 1.", np.allclose(A.sum(axis=1), 1))
claim(
    "Wrong, one query gets less than 0.7 and another more than 2.",
    wrong.sum(axis=1).min() < 0.7 and wrong.sum(axis=1).max() > 2,
)

# %% [markdown]
# **What to try.** Set `strength` to 1 and to 60: how sharp is the choice? Let verbs ask for adjectives too,
# `W_Q[3, 0] = strength`. Add a second noun, the row `("floor", [0, 0, 1, 0, 0, 0]),` below *rolls*: what does *rolls*
# get?

# %% [markdown]
# ## Why √D?  (F18 · D4 §2.1.5)
# Two random vectors with $D$ entries of variance 1 have a dot product of variance $D$, because it is a sum of $D$
# products, each of variance 1. Without the root, the scores of a head of size 64 are spread eight times too widely, and
# one key takes all the weight. Then the softmax passes hardly any gradient back: the slope of each weight with respect
# to its own score is $A_s(1 - A_s)$, which is 0 both where $A_s$ is 0 and where it is 1.

# %%
sizes, n, S = np.array([4, 16, 64, 256, 1024]), 200 if FAST else 2000, 16
sigma = 1  # the standard deviation of the entries of q and k
spread, largest, slope = {}, {}, {}
for D in sizes:
    q, k = rng.normal(scale=sigma, size=(n, D)), rng.normal(scale=sigma, size=(n, S, D))
    raw = np.einsum("nd,nsd->ns", q, k)  # n queries, each with S keys
    dA = rng.normal(size=raw.shape)  # a random gradient that arrives at the weights
    for name, scores in (("without", raw), ("with √D", raw / np.sqrt(D))):
        A = np.exp(scores - scores.max(axis=1, keepdims=True))
        A /= A.sum(axis=1, keepdims=True)
        spread[D, name], largest[D, name] = scores.var(), A.max(axis=1).mean()
        slope[D, name] = np.linalg.norm(by_hand.softmax_gradient(A, dA), axis=1).mean()
    print(
        f"D = {D:4}   variance of the scores: {spread[D, 'without']:7.1f} without √D, {spread[D, 'with √D']:.2f} with it"
    )

# %%
picture, axes = panels(1, 2)
for name, colour in zip(("without", "with √D"), plots.COLOURS[1::-1]):
    axes[0].plot(sizes, [largest[D, name] for D in sizes], "o-", color=colour, label=name)
    axes[1].plot(sizes, [slope[D, name] for D in sizes], "o-", color=colour, label=name)
axes[0].axhline(1 / S, color=plots.GREY, ls=":")
axes[0].text(sizes[0], 1 / S + 0.02, "all keys equal", color=plots.GREY)
axes[0].set(xscale="log", ylim=(0, 1.05), xlabel="D", title=f"Largest of {S} weights (mean)")
axes[1].set(xscale="log", yscale="log", xlabel="D", title="Gradient of the scores (mean norm)")
for axis in axes:
    axis.set_xticks(sizes, sizes)
    axis.minorticks_off()
axes[1].set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
axes[0].legend(loc=(0.55, 0.35))
axes[1].legend()
picture

# %%
end = sizes[-1]
lost = slope[end, "with √D"] / slope[end, "without"]
print(f"at D = {end} the gradient that reaches the scores is {lost:.0f} times smaller without the root")
claim("Without the root the variance is D.", [abs(spread[D, "without"] / D - 1) < 0.2 for D in sizes])
claim("With it the variance is 1.", [abs(spread[D, "with √D"] - 1) < 0.2 for D in sizes])
claim(f"Without the root, one key takes more than 90 % at D = {end}.", largest[end, "without"] > 0.9)
claim("With it the largest weight stays below 35 %.", [largest[D, "with √D"] < 0.35 for D in sizes])
claim("The gradient is more than three times smaller without the root.", lost > 3)

# %% [markdown]
# **Wrong, then right.** Dividing by $D$ instead of $\sqrt D$ is an error in the other direction: the variance falls
# to $1/D$, all weights become nearly equal, and attention is a plain average. Also, $D$ is the size of a *head*: with
# $H$ heads, $\sqrt{C}$ is too large by a factor of $\sqrt H$, a mistake that no test with one head can see.

# %%
q, k = rng.normal(scale=sigma, size=(n, 64)), rng.normal(scale=sigma, size=(n, S, 64))
too_small = np.einsum("nd,nsd->ns", q, k) / 64
A = np.exp(too_small) / np.exp(too_small).sum(axis=1, keepdims=True)
largest_mean = A.max(axis=1).mean()
print(f"divided by D = 64: the largest of {S} weights is {largest_mean:.3f} on average; if all were equal: {1 / S:.3f}")
claim("The largest weight is less than 1.4 times an equal share.", largest_mean < 1.4 / S)

# %% [markdown]
# **What to try.** Let the entries of $q$ and $k$ have variance 4, `sigma = 2`: which root would you need? Take 256 keys
# instead of 16, `S = 256`.
#
# **Exercise.** `minilm exercise start attention`

# %% [markdown]
# ## Masks: padding and the future  (F18 · D4 §2.1.5)
# Two kinds of keys must not be looked at. The sentences of a batch are filled up to one length, and the filling is
# not language: the **padding mask** hides it. And a model that predicts the next word must not see that word:
# the **causal mask** hides it. In this project a mask is boolean, and *True means "may be looked at"*. PyTorch's own
# `nn.MultiheadAttention` means the opposite, so always say which one you use.
#
# A masked key gets the score $-\infty$ *before* the softmax, so the rest of the row still sums to 1.


# %%
def masked_attention(q, k, v, may_attend):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])  # [.., T, S]
    scores = np.where(may_attend, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ v


lengths = [6, 4]  # words in each sentence
T = max(lengths)
causal = np.tril(np.ones((T, T), dtype=bool))  # [T, T]: query t sees keys 0 … t
attention_mask = np.arange(T) < np.array(lengths)[:, None]  # [B, S]: True for words, False for padding
padding = attention_mask[:, None, :]  # [B, 1, S]: the same for every query
q, k, v = (rng.normal(size=(len(lengths), T, 4)) for _ in range(3))
both = causal & padding  # [B, T, S]
agree("masked by hand and minilm.formulas", masked_attention(q, k, v, both), by_hand.attention(q, k, v, both))
tensors, mask = [torch.from_numpy(a) for a in (q, k, v)], torch.from_numpy(both)
agree("masked by hand and minilm.layers  ", masked_attention(q, k, v, both), library.attention(*tensors, mask)[0])
agree("the causal mask of the library", causal, library.causal_mask(T))
agree("the padding mask of minilm.formulas", padding, by_hand.padding_mask(attention_mask))

# %% [markdown]
# One test finds a leak whatever the code looks like: **change what must not be seen, and look whether anything
# moves.** (Here we test the words up to t = 2. Do it for every t, and you find all leaks.)


# %%
def leak(attend, t=2):
    """How far the outputs up to t move when we change the words after t: 0 if nothing leaks."""
    k_, v_ = k.copy(), v.copy()
    k_[:, t + 1 :] += 1
    v_[:, t + 1 :] += 1
    return np.abs(attend(q, k_, v_) - attend(q, k, v))[:, : t + 1].max()


without_mask, with_mask = leak(by_hand.attention), leak(lambda *x: by_hand.attention(*x, causal))
print(f"no mask at all: {without_mask:.3f}   with the causal mask: {with_mask}")
claim("Without a mask the future leaks.", without_mask > 0.1)
claim("With the causal mask nothing leaks.", with_mask == 0)

# %% [markdown]
# **Wrong, then right.** Here are five ways to do it wrong. The first applies the mask *after* the softmax: the rows no
# longer sum to 1, and the hidden words are still in the denominator, so the remaining weights depend on them.

# %%
Z = q @ k.swapaxes(1, 2) / np.sqrt(4)
softmax = lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)  # noqa: E731
right = by_hand.attention_weights(q, k, causal)[0]
after = (softmax(Z) * causal)[0]
inverted = by_hand.attention_weights(q, k, ~causal)[0]
zero = softmax(np.where(causal, Z, 0))[0]  # a score of 0 does not hide a word: exp(0) = 1
strict = by_hand.attention_weights(q, k, np.tril(causal, -1))[0]
print("row sums with the mask after the softmax:", after.sum(axis=1).round(2))
through = leak(lambda q, k, v: softmax(q @ k.swapaxes(1, 2) / 2) * causal @ v)
print(f"and it leaks: the outputs move by {through:.3f}")

# %%
titles = ("Right", "After the softmax", "Filled with 0", "Inverted", "Diagonal hidden")
picture, axes = panels(1, 5, width=11, height=2.7)
for axis, weights, title in zip(axes, (right, after, zero, inverted, strict), titles):
    axis.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    axis.set(title=title, xlabel="key")
    axis.set_xticks(range(T))
    axis.set_yticks(range(T), [f"{row:.1f}" for row in weights.sum(axis=1)])
axes[0].set_ylabel("row sum of each query")
picture

# %%
claim("With the mask after the softmax, one row sums to less than 0.5.", after.sum(axis=1).min() < 0.5)
claim("It leaks.", through > 0.01)

# %% [markdown]
# *Filled with 0* sums to 1 and looks healthy, but it shows the future. *Inverted* sees nothing but the future, and
# its last word sees nothing. *Diagonal hidden* takes the word itself away: its first query sees nothing at all. That
# last case needs a decision. The softmax of a row of $-\infty$ is $0/0$, which is NaN, and after one step all weights
# of the model are NaN. In this project **a query that sees nothing gets zeros**.
#
# The fifth way is common: *adding* $-10^9$ instead of setting $-\infty$. It never gives NaN. But a fully masked row
# then silently becomes an average over *everything that was forbidden*. And half precision cannot hold $-10^9$: its
# largest number is 65504.

# %%
nothing = np.zeros((1, T), dtype=bool)
added = torch.softmax(torch.tensor(Z[0, :1]).float() + torch.tensor(-1e9) * torch.tensor(~nothing), dim=-1).numpy()
ours = by_hand.attention_weights(q[:1, :1], k[:1], nothing)
print("weights of a query that may see nothing: with −1e9", added.round(2)[0], " ours:", ours[0, 0])
claim(
    "With −1e9 every forbidden key gets the same weight; ours gets zeros.",
    np.allclose(added, 1 / T) and (ours == 0).all(),
)
half = torch.tensor(-1e9).half().item()
claim(f"−1e9 in half precision is {half}.", half == -np.inf and torch.finfo(torch.float16).max == 65504)

# %% [markdown]
# **What to try.** Transpose the causal mask by `causal = causal.T` below its line: does the leak test find it? Mask the
# *queries* of the padding too, `both = both & padding.swapaxes(1, 2)`: does anything that counts change in
# `by_hand.attention(q, k, v, both)`? (A row without any key is $0/0$ in our own function.) Swap the lengths of the two
# sentences, `lengths = [4, 6]`.
#
# **Exercises.** `minilm exercise start padding_mask` · `causal_mask`

# %% [markdown]
# ## The gradient by hand  (F18 · D4 §2.1.5)
# We go backwards through three steps: $Y = AV$, $A = \mathrm{softmax}(Z)$, $Z = QK^\top/\sqrt D$. For a product, the
# rule is "the upstream gradient times the other factor":
#
# $$dV = A^\top dY, \qquad dA = dY\,V^\top, \qquad dQ = dZ\,K/\sqrt D, \qquad dK = dZ^\top Q/\sqrt D .$$
#
# Take the softmax slowly. Since $A_j = e^{Z_j}/\sum_i e^{Z_i}$, the score $Z_s$ stands in the numerator of $A_s$ *and
# in the denominator of every weight*: $\partial A_j/\partial Z_s = A_j(\mathbb 1[j = s] - A_s)$. Sum over $j$ with
# the upstream gradient:
#
# $$dZ_s = A_s\Big(dA_s - \underbrace{\textstyle\sum_j dA_j A_j}_{\text{the row sum}}\Big) .$$

# %%
T, S, D, Dv = 5, 7, 4, 3
q, k, v, dY = (rng.normal(size=size) for size in ((T, D), (S, D), (S, Dv), (T, Dv)))
may = rng.random((T, S)) < 0.7
may[:, 0] = True  # every query sees something …
may[1] = False  # … except one
A = by_hand.attention_weights(q, k, may)
dV, dA = A.T @ dY, dY @ v.T  # [S, Dv], [T, S]
row_sum = (dA * A).sum(axis=-1, keepdims=True)  # [T, 1]
dZ = A * (dA - row_sum)  # where the mask forbids, A = 0, so dZ = 0
dQ, dK = dZ @ k / np.sqrt(D), dZ.T @ q / np.sqrt(D)


# %%
def by_machine(function, arrays, upstream):
    """The gradients that PyTorch finds for the same function."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return torch.autograd.grad(function(*tensors), tensors, torch.as_tensor(upstream))


machine = by_machine(lambda *x: library.attention(*x, torch.tensor(may))[0], (q, k, v), dY)
for name, ours, theirs, page in zip("QKV", (dQ, dK, dV), machine, by_hand.attention_gradient(q, k, v, may, dY)):
    agree(f"d{name} by hand and by autograd", ours, theirs)
    agree(f"d{name} by hand and in minilm.formulas", ours, page)
claim("A query that sees nothing learns nothing, and there is no NaN.", dQ[1] == 0)

# %% [markdown]
# **Wrong, then right.** Forget the row sum, as if each weight had a denominator of its own. To see the mistake, add 10
# to all values. Each $Y$ grows by 10, no matter which word is looked at, so the 10 says nothing about where to look,
# and $dZ$ must not change. Without the row sum it becomes many times larger, and most of it comes from the 10.

# %%
offset = dY @ (v + 10).T
right = by_hand.softmax_gradient(A, offset)
forgotten = A * offset
agree("dZ with 10 added to all values", right, dZ)
times = np.linalg.norm(forgotten) / np.linalg.norm(right)
print(f"without the row sum the gradient of the scores is {times:.0f} times too large")
claim("It is more than five times too large.", times > 5)

# %% [markdown]
# **What to try.** Let `dY` and `v` be all ones, `dY, v = np.ones_like(dY), np.ones_like(v)` below their line: why is
# every gradient except $dV$ zero? (This is why a gradient test never uses a plain sum.)
#
# **Exercise.** `minilm exercise start attention_gradient`

# %% [markdown]
# ## Many heads, one product  (F19 · D4 §2.1.9)
# One softmax finds one kind of thing at a time. The document names multi-head attention (多头自注意力): $H$ small
# attentions side by side, each with its own queries,
#
# $$\mathrm{MultiHead}(X) = \mathrm{Concat}(\mathrm{head}_1, …, \mathrm{head}_H)\,W^O,$$
# $$\mathrm{head}_i = \mathrm{Attention}(XW_i^Q, XW_i^K, XW_i^V),$$
#
# with $W_i^Q, W_i^K, W_i^V\ [C, D]$, $W^O\ [C, C]$ and $C = H·D$. Together they cost as much as one large head. As
# printed, these are $3H$ small products. In practice everybody computes one large product, because column block $i$
# of $X\,[W_1 … W_H]$ *is* $XW_i$.

# %%
B, T, H, D = 2, 5, 3, 4
C = H * D
X, W_O = rng.normal(size=(B, T, C)), rng.normal(size=(C, C))
W_Q, W_K, W_V = (rng.normal(size=(H, C, D)) / np.sqrt(C) for _ in range(3))
heads = [by_hand.attention(X @ W_Q[i], X @ W_K[i], X @ W_V[i]) for i in range(H)]  # each [B, T, D]
printed = np.concatenate(heads, axis=-1) @ W_O  # [B, T, C]

# %%
W = np.concatenate([np.concatenate(list(W), axis=1) for W in (W_Q, W_K, W_V)], axis=1)  # [C, 3C]: all 3·H side by side
qkv = (X @ W).reshape(B, T, 3, H, D)  # one product, then cut
q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # each [B, H, T, D]: the heads beside the batch
fused = by_hand.attention(q, k, v).transpose(0, 2, 1, 3).reshape(B, T, C) @ W_O  # [B, T, H, D] → [B, T, C]
agree("3·H small products and one large product", printed, fused)
agree("as printed, and minilm.formulas", printed, by_hand.multi_head_attention(X, X, X, W_Q, W_K, W_V, W_O))

layer = library.MultiHeadAttention(C, H).double()
with torch.no_grad():
    layer.to_qkv.weight.copy_(torch.tensor(W.T))  # nn.Linear stores the transpose
    layer.output.weight.copy_(torch.tensor(W_O.T))
    layer.to_qkv.bias.zero_(), layer.output.bias.zero_()
agree("as printed, and minilm.layers", printed, layer(torch.tensor(X))[0])

# %% [markdown]
# The gradients agree as well: the gradients of the small matrices, stacked, are the gradient of the large one. $X$ is
# query, key and value at once, so its three gradients add up.

# %%
dY = rng.normal(size=(B, T, C))
dQ, dK, dV, dW_Q, dW_K, dW_V, dW_O = by_hand.multi_head_attention_gradient(X, X, X, W_Q, W_K, W_V, W_O, None, dY)
bias = np.zeros(3 * C), np.zeros(C)
dX, dW, *_ = by_hand.fused_self_attention_gradient(X, W.T, bias[0], W_O.T, bias[1], H, None, dY)
agree("dX: of the large product, and the sum of three", dX, dQ + dK + dV)
agree("dW: of the large product, and the small ones stacked", dW, by_hand.stack_heads(dW_Q, dW_K, dW_V))
x = torch.tensor(X, requires_grad=True)
theirs = torch.autograd.grad(layer(x)[0], (x, layer.to_qkv.weight), torch.tensor(dY))
agree("dX by hand and by autograd", dX, theirs[0])
agree("dW by hand and by autograd", dW, theirs[1])

# %% [markdown]
# **Wrong, then right.** If you cut $[B, T, C]$ straight into $[B, H, T, D]$ by `reshape`, without the transpose, the
# shape is right and the content is wrong. Then a "head" holds the vectors of a few neighbouring words instead of a
# part of every word, and words in one head never meet words in another.

# %%
straight = lambda x: x.reshape(B, H, T, D)  # noqa: E731  wrong
large = straight(X @ W[:, :C]), straight(X @ W[:, C : 2 * C]), straight(X @ W[:, 2 * C :])
mixed = by_hand.attention(*large).reshape(B, T, C) @ W_O
moved = X.copy()
moved[:, -1] += 1  # change the last word: which words notice?
large_ = [straight(moved @ W[:, i * C : (i + 1) * C]) for i in range(3)]
reached = np.abs(by_hand.attention(*large_).reshape(B, T, C) @ W_O - mixed).max(axis=(0, 2)) > 1e-9
print("right shape:", mixed.shape == printed.shape, "  largest error:", np.abs(mixed - printed).max().round(1))
print("words that change when the last word changes:", np.flatnonzero(reached), "of", list(range(T)))
claim(
    "The shape is right, and the error is larger than 1.",
    mixed.shape == printed.shape and np.abs(mixed - printed).max() > 1,
)
claim("The first word does not notice the last one.", reached[-1] and not reached[0])

# %% [markdown]
# **What to try.** In a copy of $W^O$, `pruned = W_O.copy()`, set the block that belongs to the first head to zero by
# `pruned[:D] = 0`: how far is `np.concatenate(heads, axis=-1) @ pruned` from `printed`? Count the parameters of
# `library.MultiHeadAttention(C, H)` for $H$ = 1, 3, 12 with the same $C$.
#
# **Exercise.** `minilm exercise start heads`

# %% [markdown]
# ## The same numbers from a faster kernel  (F18 · D4 §2.1.5)
# The readable function stores $[B, H, T, S]$ weights. For twelve heads on a text of 4096 words, that is 805 MB in
# single precision, for one layer of one text. PyTorch's kernel goes through the keys in blocks and never stores the
# weights. In `minilm/layers/attention.py` it is called `fused_attention`, and the layer uses it whenever you do not
# ask for the weights. It is equal in value *and* gradient, even for a query that sees nothing.

# %%
T, S = 5, 7
q, k, v, dY = (rng.normal(size=(2, 3, n, 4)) for n in (T, S, S, T))
may = torch.tensor(rng.random((2, 1, T, S)) < 0.5)
may[1, 0, T // 2] = False
readable = lambda *x: library.attention(*x, may)[0]  # noqa: E731
kernel = lambda *x: library.fused_attention(*x, may)  # noqa: E731
tensors = [torch.tensor(a) for a in (q, k, v)]
agree("readable and kernel", readable(*tensors), kernel(*tensors))
for name, ours, theirs in zip("QKV", by_machine(readable, (q, k, v), dY), by_machine(kernel, (q, k, v), dY)):
    agree(f"d{name}, readable and kernel", ours, theirs)
claim("Twelve heads, 4096 words and four bytes per weight make 805 MB.", round(12 * 4096**2 * 4 / 1e6) == 805)

# %% [markdown]
# **Wrong, then right.** "They differ in the seventh digit, so one of them is wrong." In single precision two right
# answers can differ, because sums are taken in a different order. Compute both again in double precision: rounding
# shrinks by nine digits, while a bug stays where it was.

# %%
single = [tensor.float() for tensor in tensors]
apart = [(readable(*x) - kernel(*x)).abs().max().item() for x in (single, tensors)]
print(f"readable and kernel differ by {apart[0]:.0e} in single precision, by {apart[1]:.0e} in double")
claim("In double precision hardly anything is left of the difference.", apart[0] < 1e-5 and apart[1] < 1e-13)

# %% [markdown]
# **What to try.** Set `T, S` to `64, 64` and to `2048, 2048`, and time both functions in a new cell,
# `%timeit readable(*tensors)` and `%timeit kernel(*tensors)`. Set `layer.fused = False` and time
# `layer(torch.tensor(X))` before and after: what does the layer use now?

# %% [markdown]
# ## Attention does not know the order of the words  (F21 · D4 §2.1.9)
# Look at the formula again: nothing in it says where a word stands. Shuffle the rows of $X$ by a permutation $P$.
# Then the scores are $PZP^\top$, the weights $PAP^\top$, and the result $PAP^\top PV = PAV$: every word gets **the
# very same vector**, in its new place. Attention is *permutation-equivariant*. To attention, "dog bites man" and "man
# bites dog" are the same.

# %%
order = np.array([2, 1, 0])  # man bites dog
sentence = rng.normal(size=(1, 3, C))  # dog bites man, as random vectors
attend = lambda x: layer(torch.tensor(x))[0].detach().numpy()  # noqa: E731
agree("shuffle, then attend = attend, then shuffle", attend(sentence[:, order]), attend(sentence)[:, order])

places = positions.sinusoids(3, C + C % 2)[:, :C]  # F21, the next notebook
apart = np.abs(attend(sentence[:, order] + places) - attend(sentence + places)[:, order]).max()
print(f"with positions added, the two sentences differ by {apart:.2f}")
claim("With positions, the order counts.", apart > 0.1)

# %% [markdown]
# **Wrong, then right.** "So a Transformer without positions is a bag of words." Not with a causal mask: the first
# word sees one word, the second word sees two, and this number of visible words *is* a position.

# %%
causal = by_hand.causal_mask(3)
W_all, zeros = layer.to_qkv.weight.detach().numpy(), np.zeros(3 * C)
masked = lambda x, mask: by_hand.fused_self_attention(x, W_all, zeros, W_O.T, zeros[:C], H, mask)  # noqa: E731
apart = np.abs(masked(sentence[:, order], causal) - masked(sentence, causal)[:, order]).max()
print(f"without positions but with a causal mask, the sentences differ by {apart:.2f}")
claim("With a causal mask, the order counts.", apart > 0.1)

# %% [markdown]
# **What to try.** Predict, then run: shuffle the mask along with the words,
# `masked(sentence[:, order], causal[order][:, order])`. Is attention equivariant again?

# %% [markdown]
# ## Looking at real attention  (F18, F19 · D4 §2.1.9)
# Now we train a model on real text: 8,530 sentences about films, which `minilm.text.corpus` reads from a package. The
# model has one block with four heads. We use the first 24 words of each sentence and a vocabulary of the commonest
# words, 2,000 in all with five special tokens (every other word is `[UNK]`).

# %%
from minilm import AdamW, BertForPretraining, TransformerConfig, cross_entropy, initialise
from minilm.examples.masked_lm import mask_tokens
from minilm.text.corpus import labelled
from minilm.training.optimizer import parameter_groups

sentences = [example.text.split() for example in labelled("rotten-tomatoes")]
claim("There are 8,530 sentences.", len(sentences) == 8530)
common = [word for word, _ in Counter(word for words in sentences for word in words).most_common(1995)]
names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *common]
number = {name: i for i, name in enumerate(names)}
T, V = 24, len(names)
ids = torch.zeros(len(sentences), T, dtype=torch.long)  # 0 is [PAD]
for i, words in enumerate(sentences):
    ids[i, : len(words)] = torch.tensor([number.get(word, 1) for word in words[:T]])
train, held_out = ids[500:], ids[:500][(ids[:500] != 0).all(dim=1)]  # held out: sentences that fill all 24 places

# %% [markdown]
# First we look at the attention of a model that has learned nothing, from two kinds of start. One is the usual random
# weights (`fan-in`). The other is a start that this project *builds* (`neighbours`,
# `minilm/models/initialisation.py`): two heads of the first layer begin by looking one word to the left and one word
# to the right, and the others look at words like their own. So we know beforehand what such a map should look like,
# and we can test how we read it.


# %%
def model_from(scheme):
    model = BertForPretraining(TransformerConfig(V, width=64, layers=1, heads=4, feed_forward=128, max_length=T))
    initialise(model, scheme, torch.Generator().manual_seed(0))
    return model


def maps(model, ids):
    with torch.no_grad():
        return model.encoder(ids, None, ids != 0, need_weights=True).attentions[0].numpy()  # [B, H, T, T]


words = "the plot is thin , but the cast is a delight .".split()[:T]
sentence = torch.tensor([[number.get(word, 1) for word in words]])  # 1 is [UNK]
built = maps(model_from("neighbours"), sentence)[0]  # [H, T, T]
left, right = built[0].diagonal(-1).mean(), built[1].diagonal(1).mean()
print(f"head 1 gives {left:.0%} to the word on its left, head 2 gives {right:.0%} to the word on its right")

# %%
plots.attention_maps(words, [built], title="Built, not learned: two heads look left and right, two at similar words")

# %%
claim("Heads 1 and 2 give more than 60 % to the neighbours that they were built for.", left > 0.6 and right > 0.6)

# %% [markdown]
# The map looks as it was built: heads 1 and 2 show a stripe beside the diagonal, and in heads 3 and 4 the second *the*
# and the second *is* look at the first.
#
# Next come two models that **learn**, both from `fan-in`. One gets a task that only attention can do: *name the word
# on your left*. The other gets masked words, BERT's own task (notebook 09), where many things help a little. We watch
# two values: the loss, and the weight on the word to the left, in the head that looks left the most.


# %%
def word_on_the_left(batch, draw):
    labels = torch.full_like(batch, -100)  # −100: this label does not count
    labels[:, 1:] = batch[:, :-1]
    return batch, labels.masked_fill(batch == 0, -100)


def masked_words(batch, draw):
    return mask_tokens(batch, [0, 1, 2, 3, 4], mask_id=4, vocab_size=V, generator=draw, mask_rate=0.15)


def looks_left(model):
    """Mean weight on the word to the left, over held-out sentences, of the head where it is largest."""
    return maps(model, held_out).diagonal(-1, 2, 3).mean(axis=(0, 2)).max()  # [B, H, T, T] → [B, H, T − 1] → [H] → 1


# %%
def learn(model, task, steps):
    draw, history = torch.Generator().manual_seed(1), []
    optimizer = AdamW(parameter_groups(model, weight_decay=0.01))
    for step in range(steps):
        batch = train[torch.randint(len(train), (32,), generator=draw)]
        shown, labels = task(batch, draw)
        wanted = (labels.flatten() != -100).nonzero().flatten()
        logits = model(shown, None, batch != 0, wanted).mlm_logits
        loss = cross_entropy(logits, labels.flatten()[wanted]).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(5e-3 * min(1, step / 50) * (1 - step / steps))  # warm-up, then linearly down to 0
        if step % 10 == 0:
            history.append((step, loss.item(), looks_left(model)))
    return np.array(history)


left_model, masked_model = model_from("fan-in"), model_from("fan-in")
steps = 20 if FAST else 300
histories = {
    "word on the left": learn(left_model, word_on_the_left, steps),
    "masked words": learn(masked_model, masked_words, steps),
}

# %%
picture, axes = panels(1, 2)
for (name, history), colour in zip(histories.items(), plots.COLOURS):
    axes[0].plot(history[:, 0], history[:, 1], color=colour, label=name)
    axes[1].plot(history[:, 0], history[:, 2], color=colour, label=name)
axes[0].set(title="Loss (nats: natural logarithms)", xlabel="step", ylim=(0, None))
axes[1].set(title="Weight on the word to the left", xlabel="step", ylim=(0, 1))
axes[0].legend()
picture

# %%
left, masked = histories["word on the left"], histories["masked words"]
print(
    f"weight on the word to the left: {left[0, 2]:.2f} at first, {left[-1, 2]:.2f} at the end; masked words: {masked[-1, 2]:.2f}"
)
if not FAST:
    claim(
        "The first model begins without looking left and ends with more than 90 %.",
        left[0, 2] < 0.1 and left[-1, 2] > 0.9,
    )
    claim("The model of masked words does not look left.", masked[-1, 2] < 0.1)
    looks = left[:, 2] > 0.5  # more than elsewhere
    jump = looks.argmax()  # the first time
    fallen = left[max(0, jump - 5), 1] - left[min(len(left) - 1, jump + 5), 1]
    claim("The loss falls by more than 1.5 nats in the hundred steps around that jump.", looks.any() and fallen > 1.5)

# %%
plots.attention_maps(words, [maps(left_model, sentence)[0]], title="Learned: name the word on the left")

# %% [markdown]
# The loss waits on a plateau while all heads look everywhere, and it falls when they find the word on the left: what
# a head *looks at* and what the model *can do* change together. A heat map can hardly come closer to an explanation,
# because here nothing but attention could have solved the task. (The first word has no left neighbour; its row means
# nothing.)
#
# Masked words, in as many steps, produce no stripe: the word on the left still gets about one part in 24, its share if
# every word got the same weight. You could tell any story about such a map; resist the temptation. This is also why
# this project builds a start: heads that must first find the neighbours learn little else in the meantime. The command
# `minilm bench initialisation` measures this over minutes instead of seconds.
#
# **Wrong, then right.** A large weight is not the same as a large effect, because what arrives is weight
# times *value*. Take the values away and keep the weights: the map stays as it was, but the right answers are gone.
# Read maps together with an intervention like this one.


# %%
def right_answers(model):
    shown, labels = word_on_the_left(held_out, None)
    with torch.no_grad():
        logits = model(shown).mlm_logits  # [B, T, V]
    return (logits.argmax(dim=-1) == labels)[:, 1:].float().mean().item()


before, map_before = right_answers(left_model), maps(left_model, sentence)
with torch.no_grad():
    W_qkv = left_model.encoder.stack.layers[0].attention.to_qkv.weight
    W_qkv[len(W_qkv) * 2 // 3 :] = 0  # the last third is W^V: no value is handed over any more
after, map_after = right_answers(left_model), maps(left_model, sentence)
agree("the map before and after the change", map_before, map_after)
print(f"right answers: {before:.0%} before, {after:.0%} after")
if not FAST:
    claim("Without values, most of the right answers are gone.", before > 0.8 and after < 0.2)

# %% [markdown]
# **What to try.** Change the task to "the word two places to the left", `labels[:, 2:] = batch[:, :-2]`, or to "the
# first word", `labels[:, 1:] = batch[:, :1]`. Take the positions away, with the line
# `left_model.encoder.embeddings.positions.weight.requires_grad_(False).zero_()` before training: what does the loss do,
# and why? Train for masked words ten times as long, `10 * steps`.
