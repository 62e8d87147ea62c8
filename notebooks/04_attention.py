# %% [markdown]
# # 04 · Attention
#
# > **Minutes.** 1 to run, about 80 to read and try.
# >
# > **You need** matrix products in NumPy, and the softmax and the way to check a gradient of
# > [notebook 02](02_gradients.ipynb).
# >
# > **Afterwards you can** write attention from memory, say why its scores are divided by √D, mask it without leaks, and
# > differentiate it with a pencil.
# >
# > **The documents.** D4 §2.1.10:
# > “注意力机制（Attention Mechanism）是指在神经网络中通过计算权重，将输入序列中的不同位置聚焦到特定的位置。”
# > (attention means that a neural network computes weights and with them focuses the different positions of the input on
# > certain positions).
# >
# > **Words.** D4, F18, `agree`, `claim` and `FAST` are explained in
# > [notebook 01](01_learning_from_data.ipynb) and in the [glossary](GLOSSARY.md#words-that-the-notebooks-use).
#
# Letters: $T$ queries (the words that look), $S$ keys (the words that are looked at), $D$ the size of a query and of a
# key, $C$ the features of a word, $B$ sentences in a batch.

# %%
import numpy as np
import torch

from minilm.formulas import attention as by_hand
from minilm.layers import attention as library
from minilm.viz import interactive, plots, schematics
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
rng = np.random.default_rng(0)

# %% [markdown]
# ## An average that chooses  (F18 · D4 §2.1.10)
# Attention is a weighted average. Before there are any words in it, look at it with plain numbers. You have $S$ numbers,
# the **values** $v_s$, and each of them was measured at a place on a line, its **key** $k_s$. Somebody comes with a
# **query** $q$, another place on the line, and asks what the value would be there. There are two simple answers: the
# average of all values (a network that does this has *average pooling*), or the one value whose key is nearest.
# Attention lies between the two. The nearer a key is to the query, the more weight its value gets:
#
# $$y = \sum_s A_s v_s, \qquad A_s = \mathrm{softmax}_s\Big({-\frac{(q - k_s)^2}{2 w^2}}\Big) .$$
#
# The softmax (notebook 02) turns any scores into weights that are positive and sum to 1. (To divide the scores by their
# sum would not do: scores may be negative, and their sum may be 0.) The width $w$ says how far "near" reaches.
#
# In statistics this is called kernel regression (Nadaraya, 1964, and Watson, 1964). Nothing is trained in it. The weights
# may fall in other ways, too, for example as a window in which all keys count the same and outside of which none counts.
# And if the values are rows with a 1 in the column of a class, the average says how much of each class is near.

# %%
draw = np.random.default_rng(4)
keys = draw.uniform(0, 6, size=30)  # S places on a line
values = np.sin(keys) + 0.2 * draw.normal(size=30)  # what was measured there


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))  # the largest exponent is 0: nothing overflows
    return e / e.sum(axis=-1, keepdims=True)


def look_up(queries, width):
    """Queries [T] → results [T]: averages of the values, weighted by how near their keys are."""
    scores = -((queries[:, None] - keys) ** 2) / (2 * width**2)  # [T, S]
    return softmax(scores) @ values  # [T, S] @ [S] = [T]


# %% [markdown]
# **Predict first.** What does `look_up` return if the width is very small, and if it is very large?
#
# <details><summary>Answer</summary>
#
# With a very small width the nearest key takes all the weight, and its value comes back, as from a dictionary. With a
# very large width all keys count the same, and the average of all values comes back, whatever the query is.
#
# </details>

# %%
queries = np.linspace(0, 6, 200)
picture, axis = panels(width=8)
axis.plot(keys, values, "o", color=plots.GREY, label="values, at their keys")
for width, colour in zip((0.02, 0.4, 20), plots.COLOURS):
    axis.plot(queries, look_up(queries, width), color=colour, label=f"w = {width}")
axis.set(title="What comes back for each query", xlabel="query", ylabel="result")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
picture

# %%
found = look_up(queries, 0.4)
print(
    f"values from {values.min():.2f} to {values.max():.2f}; results for w = 0.4 from {found.min():.2f} to {found.max():.2f}"
)
claim("With a tiny width, a query at a key gets the value of this key.", np.abs(look_up(keys, 1e-4) - values) < 1e-6)
claim("With a huge width, every query gets the average.", np.abs(look_up(queries, 1e3) - values.mean()) < 1e-3)
within = (found > values.min() - 1e-9) & (found < values.max() + 1e-9)
claim("An average never leaves the range of its values.", within)

# %% [markdown]
# Two steps lead from here to the Transformer. The **first** is a simpler score. Multiply the square out:
#
# $$-\tfrac12 \lVert q - k \rVert^2 = q · k - \tfrac12 \lVert q \rVert^2 - \tfrac12 \lVert k \rVert^2 .$$
#
# The middle term is the same for all keys of a query, so the softmax does not notice it. If all keys have the same
# length, the last term is the same, too (in a model, layer norm brings the vectors from which keys are made to one
# length, notebook 07). The dot product $q · k$ remains: it compares two vectors of any size, and one matrix product
# compares all queries with all keys.

# %%
q, k = (np.stack([np.cos(a), np.sin(a)], axis=-1) for a in (draw.uniform(0, 6, size=4), draw.uniform(0, 6, size=7)))
squares = ((q[:, None] - k) ** 2).sum(axis=-1)  # [T, S]; q and k lie on a circle: all have length 1
agree("weights by distance and by dot product", softmax(-squares / 2), softmax(q @ k.T))

# %% [markdown]
# The **second** step is that queries, keys and values are not given. A model computes all three from the vectors of the
# words, by matrices that it learns. That is the next section. It can learn them because the choice is soft. *Hard*
# attention takes the best key alone (Mnih and others, 2014), but such a choice has no gradient, so it must be trained by
# trial and reward.
#
# **What to try.** Give all values the same number, `values = np.full(30, 2.0)` below their line: what can attention
# return now? Ask outside the keys as well, `queries = np.linspace(-3, 9, 200)`: what comes back where there are none?
#
# <details><summary>Answers</summary>
#
# 1. Only 2: the weights of every query sum to 1, so the average of equal numbers is that number, whatever the
#    weights are.
#
#    ```text
#    values from 2.00 to 2.00; results for w = 0.4 from 2.00 to 2.00
#    ```
# 2. Beyond the last key, the curves of the small widths become flat: the outermost keys are the nearest ones,
#    however far away they are, and the weights must still sum to 1. Attention cannot say "nothing fits".
#
#    ```text
#    ✓ An average never leaves the range of its values.
#    ```
#
# </details>

# %% [markdown]
# ## Query, key, value  (F18 · D4 §2.1.5, §2.1.10)
# The document calls self-attention (自注意力) the core of the Transformer and describes it in one sentence: for each
# position, compute weights over the other positions and focus on them. For one word, *sat* in "the cat sat down", this is
# what happens, with $D$ numbers in each query, key and value:

# %%
schematics.attention_one_query()

# %% [markdown]
# The document prints no formula. It means this one, for all words at once (Vaswani et al., 2017, §3.2.1):
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V$$
#
# for queries $Q\ [T, D]$, keys $K\ [S, D]$ and values $V\ [S, D_v]$; the result is $[T, D_v]$.
#
# Read it as a soft dictionary. Every word asks a question (its **query**), carries a label that says what it can
# answer (its **key**), and has something to hand over (its **value**). A query is compared with all keys. The better
# a key matches, the more of that word's value comes back. What a query gets is often called its *context vector*.
#
# The numbers before the softmax are the **scores**, those after it the **attention weights**. Do not confuse these with
# the weights of a model, its parameters: those are learned and then stay, while attention weights are computed anew for
# each text.
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
# First a single query, the one of *ball*, one step after the other:

# %%
noun = words.index("ball")
q_noun = X[noun] @ W_Q  # [D]: what the noun asks
scores = (X @ W_K) @ q_noun / np.sqrt(len(q_noun))  # [S]: how well each key fits; √D is explained below
weights = softmax(scores)  # [S]: the same as shares of 1
result = weights @ (X @ W_V)  # [Dv]: the values, weighted
for word, score, weight in zip(words, scores, weights):
    print(f"{word:6} score {score:5.2f}   weight {weight:.2f}")
print("what ball gets (small, red):", result.round(2))

# %% [markdown]
# The same for all queries at once is a few products of matrices:

# %%
schematics.attention_matrix()

# %% [markdown]
# It takes four lines, with the shape next to each line. (The mask comes later; here every word may look at every word.)
#
# **Predict first.** *Rolls* asks for its noun. Will it know, after attention, that the ball is small and red?
#
# <details><summary>Answer</summary>
#
# No. It looks at *ball*, but it gets the value of *ball*, which was computed from the row of *ball* alone, and this row
# knows of neither. A second layer of attention could hand it on: by then the vector of *ball* carries both.
#
# </details>

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
        colour = "white" if entry > 0.6 * what.max() else "black"
        axis.text(s, t, f"{entry:.2f}", ha="center", va="center", color=colour, fontsize=10)
    axis.set(title=title, xlabel="the word that is looked at (key)", ylabel="the word that looks (query)")
    axis.set_xticks(range(len(words)), words, rotation=30)
    axis.set_yticks(range(len(words)), words)
picture

# %%
nouns, verbs = X[:, 2] == 1, X[:, 3] == 1
agree("the row of the noun, and the single query", Y[noun], result)
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
# word will ask for.
#
# Why are there matrices at all? Without them, queries, keys and values are the words themselves, $Q = K = V = X$:

# %%
bare = softmax(X @ X.T / np.sqrt(X.shape[-1]))  # [T, S]
for word in ("small", "ball"):
    row = bare[words.index(word)]
    print(f"{word:5} looks at", ", ".join(f"{other} {weight:.2f}" for other, weight in zip(words, row)))
claim("Without matrices, ball looks at its adjectives no more than at the article.", np.ptp(bare[noun, :3]) < 1e-9)
claim("And a score is the same in both directions.", X @ X.T == (X @ X.T).T)

# %% [markdown]
# A word now looks for words that are like it, and most of all at itself. *Small* and *red* find each other, but a noun
# is not like an adjective, so *ball* finds nothing. $W^Q$ and $W^K$ let a word look for something other than what it is
# itself, and $W^V$ lets it hand over something other than what it was found by.
#
# Here queries, keys and values all come from the same words, so $T = S$. This is **self**-attention (or
# *intra*-attention). In **cross**-attention, the queries come from one text and the keys and values from another, as when
# a translation looks at its original (notebook 05). That is why there are two letters.
#
# None of the matrices knows how many words there are: the same ones serve a text of five words and one of five thousand.
# And every word reaches every other word in one step. A recurrence needs up to $T$ steps for this, and a convolution,
# which sees $k$ neighbours at a time, about $T/k$ layers. The price of attention is that there are $T · S$ scores;
# notebook 10 measures both.
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
#
# <details><summary>Answers</summary>
#
# 1. With 1 the weights are soft: the ball gets a little more of what its adjectives are, and all other words get
#    almost as much. With 60 the softmax chooses, and nothing is left for the others. A larger query asks the same
#    question more sharply.
#
#    ```text
#    (small, red) of the word ball : before attention [0. 0.] and after it [0.29 0.29]
#    (small, red) of the word ball : before attention [0. 0.] and after it [0.5 0.5]
#    ```
# 2. Now *rolls* asks two questions at once. Three keys fit equally well, the noun and both adjectives, so it gets a
#    third of each adjective.
#
#    ```text
#    (small, red) of the word rolls: before attention [0. 0.] and after it [0.33 0.33]
#    ```
# 3. Still nothing. It now looks at both nouns with half of its weight each, and the values of both are empty.
#    *Floor* itself becomes small and red like *ball*: it asks the same question, and nothing here says which noun an
#    adjective belongs to.
#
#    ```text
#    (small, red) of the word rolls: before attention [0. 0.] and after it [0.01 0.01]
#    (small, red) of the word floor: before attention [0. 0.] and after it [0.49 0.49]
#    ```
#
# </details>

# %% [markdown]
# ## Why √D?  (F18 · D4 §2.1.5)
# Two random vectors with $D$ entries of variance 1 have a dot product of variance $D$, because it is a sum of $D$
# products, each of variance 1. Without the root, the scores of a head of size 64 are spread eight times too widely, and
# one key takes all the weight. Then the softmax passes hardly any gradient back: the slope of each weight with respect
# to its own score is $A_s(1 - A_s)$, which is 0 both where $A_s$ is 0 and where it is 1.
#
# **Predict first.** With the root, what happens to the gradient that reaches the scores when $D$ grows from 4 to 1024?
# And without it?
#
# <details><summary>Answer</summary>
#
# With the root it stays the same, because the scores have the same spread at every $D$. Without it, it shrinks, and at
# $D = 1024$ it is several times smaller.
#
# </details>

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
# Here is one row of scores to play with: the same query and keys, with and without the root, and a *temperature* $\tau$
# by which both are divided. (In Jupyter, the picture has sliders if `ipywidgets` is installed. Move $D$ first.)

# %%
interactive.temperature_and_root()

# %% [markdown]
# **Wrong, then right.** Dividing by $D$ instead of $\sqrt D$ is an error in the other direction: the variance falls to
# $1/D$, all weights become nearly equal, and attention is a plain average. And $D$ is the size of a query, not the
# width $C$ of the model. A model has several attentions side by side, $H$ *heads* of the size $D = C/H$ (notebook 05).
# With $\sqrt{C}$, the root is too large by a factor of $\sqrt H$, a mistake that no test with one head can see.

# %%
q, k = rng.normal(scale=sigma, size=(n, 64)), rng.normal(scale=sigma, size=(n, S, 64))
too_small = np.einsum("nd,nsd->ns", q, k) / 64
A = np.exp(too_small) / np.exp(too_small).sum(axis=1, keepdims=True)
largest_mean = A.max(axis=1).mean()
print(f"divided by D = 64: the largest of {S} weights is {largest_mean:.3f} on average; if all were equal: {1 / S:.3f}")
claim("The largest weight is less than 1.4 times an equal share.", largest_mean < 1.4 / S)

# %% [markdown]
# **Other scores.** The first attention for translation (Bahdanau, Cho and Bengio, 2015) had no dot product. Its score
# was a small network that reads a query and a key side by side, $Z_{ts} = w · \tanh(W_q q_t + W_k k_s)$, called
# *additive* attention. It needs no root, because tanh keeps its numbers small, and it takes queries and keys of
# different sizes. (So does a dot product with a matrix in between, $q_t · M k_s$. Each head has such a matrix: in
# $XW^Q (XW^K)^\top = X\,(W^Q {W^K}^\top)\,X^\top$ it stands in the brackets.) But additive attention must store a whole
# layer of numbers for each pair of a query and a key. The dot product stores one number for each pair, and it is a plain
# product of matrices, which computers do fastest of all. Without the root it is worse than additive attention if $D$ is
# large; with it, it is about as good (Vaswani et al., 2017, §3.2.1). So it won.

# %%
T, A = 3, 8  # A units in the small network
some_q, some_k = draw.normal(size=(T, 4)), draw.normal(size=(S, 6))  # of different sizes
W_q, W_k, w = draw.normal(size=(4, A)), draw.normal(size=(6, A)), draw.normal(size=A)
layer = np.tanh((some_q @ W_q)[:, None] + some_k @ W_k)  # [T, 1, A] + [S, A] = [T, S, A]
additive = layer @ w  # [T, S]
print(f"additive attention stores {layer.size} numbers to get {additive.size} scores")

# %% [markdown]
# **What to try.** Let the entries of $q$ and $k$ have variance 4, `sigma = 2`: which root would you need? Take 256 keys
# instead of 16, `S = 256`.
#
# <details><summary>Answers</summary>
#
# 1. Each product of two entries now has variance 4 · 4 = 16, and so the scores have variance 16 D. You would need
#    $\sqrt{16 D} = 4\sqrt D$. The root in the formula is right only as long as queries and keys have variance 1,
#    which is what the start of training and layer norm (notebook 07) take care of.
#
#    ```text
#    D =   64   variance of the scores:  1031.5 without √D, 16.12 with it
#    no longer true: With it the largest weight stays below 35 %.
#    ```
# 2. The variances stay what they were, because they do not depend on the number of keys. Without the root, one key
#    still takes nearly everything. With it, the weight is shared among sixteen times as many keys, so each weight is
#    small, and so is the gradient that each score gets: the root does not help against that.
#
#    ```text
#    no longer true: The gradient is more than three times smaller without the root.
#    divided by D = 64: the largest of 256 weights is 0.006 on average; if all were equal: 0.004
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start attention`

# %% [markdown]
# ## Masks: padding and the future  (F18 · D4 §2.1.5)
# Two kinds of keys must not be looked at. The sentences of a batch are filled up to one length, and the filling is
# not language: the **padding mask** hides it. And a model that predicts the next word must not see that word:
# the **causal mask** hides it. (A word may look at itself, because its answer is one place further on: position $t$
# predicts word $t + 1$, notebook 11.) In this project a mask is boolean, and *True means "may be looked at"*. PyTorch's
# own `nn.MultiheadAttention` means the opposite, so always say which one you use.
#
# A masked key gets the score $-\infty$ *before* the softmax, so the rest of the row still sums to 1. Its own score was
# computed for nothing. That is still faster than to leave it out, because a large product without exceptions suits a
# computer, and a graphics card above all, better than a question before each number.

# %%
schematics.masks()


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
#
# **Predict first.** With the causal mask, how far do the outputs up to t move when the later words change?
#
# <details><summary>Answer</summary>
#
# Not at all, not even in the last bit: a weight of exactly 0 multiplies whatever stands there. A small number instead
# of 0 would be a leak.
#
# </details>


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
    axis.set_xticks(range(T), range(1, T + 1))
    axis.set_yticks(range(T), [f"{row:.1f}" for row in weights.sum(axis=1)])
axes[0].set_ylabel("row sum of each query")
picture

# %%
claim("With the mask after the softmax, one row sums to less than 0.5.", after.sum(axis=1).min() < 0.5)
claim("It leaks.", through > 0.01)

# %% [markdown]
# Can you save the first one by dividing each row by its sum afterwards? On paper, yes: what the hidden words added to
# the denominator cancels. In a computer, not always. If the score of a hidden word is larger than the others by 800,
# the visible weights are rounded to zero before you divide, and 0/0 is left. With $-\infty$ before the softmax this
# cannot happen.

# %%
again = after / after.sum(axis=1, keepdims=True)
agree("after the softmax, then divided by the row sums", again, right)
large = softmax(np.array([0.0, 1.0, 800.0])) * np.array([1, 1, 0])  # the third word is hidden
claim("With a score of 800 in the hidden word, nothing is left to divide.", large.sum() == 0)

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
# <details><summary>Answers</summary>
#
# 1. At once: a query now sees only itself and what comes *after* it, so the outputs move as soon as the later words
#    change.
#
#    ```text
#    no longer true: With the causal mask nothing leaks.
#    ```
# 2. No word changes, not even in the last bit; only the outputs at the padding do, and nobody reads them. So the
#    queries of the padding need no mask, and most programs do not have one.
#
#    ```text
#    change of a word 0.0, of padding
#    ```
# 3. Nothing of what is claimed: each sentence has its own row in the mask, so it does not matter which of the two is
#    the short one.
#
#    ```text
#    masked by hand and minilm.formulas: equal to the last bit
#    ```
#
# </details>
#
# **Exercises.** `minilm exercise start padding_mask` · `causal_mask`

# %% [markdown]
# ## The gradient by hand  (F18 · D4 §2.1.5)
# We go backwards through three steps: $Y = AV$, $A = \mathrm{softmax}(Z)$, $Z = QK^\top/\sqrt D$. Write $dY$ for the
# gradient of the loss with respect to $Y$ (the *upstream* gradient: it arrives from above), $dA$ for that with respect
# to $A$, and so on. For a product, the rule is "the upstream gradient times the other factor":
#
# $$dV = A^\top dY, \qquad dA = dY\,V^\top, \qquad dQ = dZ\,K/\sqrt D, \qquad dK = dZ^\top Q/\sqrt D .$$
#
# Take the softmax slowly. Since $A_j = e^{Z_j}/\sum_i e^{Z_i}$, the score $Z_s$ stands in the numerator of $A_s$ *and
# in the denominator of every weight*: $\partial A_j/\partial Z_s = A_j(\mathbb 1[j = s] - A_s)$, where $\mathbb 1[j =
# s]$ is 1 if $j = s$ and 0 otherwise. Sum over $j$ with the upstream gradient:
#
# $$dZ_s = A_s\Big(dA_s - \underbrace{\textstyle\sum_j dA_j A_j}_{\text{the row sum}}\Big) .$$
#
# The row sum is a mean, weighted by $A$, and so statistics has a name for what a query learns from: $\partial y/\partial
# q$ is the *covariance* of values and keys under the weights $A$, divided by $\sqrt D$. Where all the weight lies on one
# key, or all values are the same, it is 0.

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
y, k_mean = A[0] @ v, A[0] @ k  # the first query: means under its weights
covariance = (A[0][:, None] * (v - y)).T @ (k - k_mean)  # [Dv, S] @ [S, D] = [Dv, D]
agree("dQ of the first query, from the covariance", dY[0] @ covariance / np.sqrt(D), dQ[0])
print("largest entries:", *(f"d{name} {np.abs(ours).max():.2f}" for name, ours in zip("QKV", (dQ, dK, dV))))
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
# <details><summary>Answers</summary>
#
# 1. If all values are the same, it makes no difference where a query looks, so $dQ = dK = 0$; only $dV$, the column
#    sums of the weights, is left. The gradient of a plain sum would not notice a wrong $dQ$.
#
#    ```text
#    largest entries: dQ 0.00 dK 0.00 dV
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start attention_gradient`

# %% [markdown]
# ## In five lines
#
# 1. Attention is a weighted average of values; the weights come from a softmax over how well each key fits the query.
# 2. In self-attention, queries, keys and values are all computed from the same words, by three matrices that are
#    learned.
# 3. Scores are divided by √D, D the size of a query: otherwise they spread like √D, one key takes everything, and the
#    gradient dies.
# 4. A mask sets forbidden scores to −∞ before the softmax; to find a leak, change what must not be seen and look
#    whether anything moves.
# 5. The gradient of the softmax subtracts the row sum: what is added to all values alike does not tell a query where to
#    look.
#
# **Where to read on.**
#
# * Vaswani, Shazeer, Parmar and others, 2017, *Attention Is All You Need*, §3.2 (arXiv:1706.03762)
# * Bahdanau, Cho and Bengio, 2015, *Neural Machine Translation by Jointly Learning to Align and Translate*: the first
#   attention of this kind (arXiv:1409.0473)
# * Graves, 2013, *Generating Sequences With Recurrent Neural Networks*, §5: a pen that follows the letters of a text
#   (arXiv:1308.0850)
# * Zhang, Lipton, Li and Smola, *Dive into Deep Learning*, the chapter on attention mechanisms
# * Weng, 2018, *Attention? Attention!*: a page on the history and the family of attentions
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---|---|
# | `attention` | 30 | medium |
# | `padding_mask` | 15 | easy |
# | `causal_mask` | 10 | easy |
# | `attention_gradient` | 45 | hard |
