# %% [markdown]
# # 12 · The documents' programs, and what went wrong in them
# All five documents come with a program, and none of them runs as printed. Their mistakes are ones that everybody
# makes. Here each is made again in a few lines of our own, run, measured and mended: an import that is gone, a list
# that eats itself, labels shifted twice, padding that counts, tags that drift, sentences padded to full length, a
# softmax taken twice, results for tasks that the data does not have. You need notebooks 08 and 11 for the metrics and
# the language models; it runs in well under a minute, and without the library `transformers` that the programs use.

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

from minilm.examples.batching import batches_of_like_length
from minilm.formulas import attention, cost, language_models, lstm_model, metrics, optimizers
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.plots import COLOURS
from minilm.teaching import FAST, agree, panels
from minilm.text.corpus import documents, labelled, tagged
from minilm.text.tokenizer import Tokenizer, train_wordpiece
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW

rng = np.random.default_rng(0)

# %% [markdown]
# ## An import that is gone  (F03 · D0 §5.2, D3 §5.2, D4 §5.2)
# D0, D3 and D4 take the optimizer AdamW from `transformers`. That library dropped it in favour of PyTorch's own. Let
# us ask for it.

# %%
warnings.filterwarnings("ignore", message="IProgress not found")  # about progress bars in notebooks, not about us
try:
    from transformers import AdamW as TheirAdamW

    print(f"an old version: {TheirAdamW.__name__} is still there")
except ImportError as error:
    print(f"{type(error).__name__}: {str(error).split(' (')[0]}")

# %% [markdown]
# Either the name is gone, or (if you read "No module named") the package is not installed here, which this project
# does not mind. D3 adds a mistake of its own: it *uses* the name some lines above the import, and D2 uses it with no
# import at all (and three other names with it). Python reads from top to bottom:

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
# What to use instead: `torch.optim.AdamW`, or the one of this project, which is five lines. With $g$ the gradient of
# $\theta$ (same shape), running means $m$ of $g$ and $v$ of $g^2$, rate $\eta$ and decay $\lambda$:
#
# $$\theta \leftarrow \theta - \eta\lambda\theta, \qquad m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
# v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
# \qquad \theta \leftarrow \theta - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}$$

# %%
start, gradients = rng.normal(size=5), rng.normal(size=(20, 5))
rate, decay, b1, b2, eps = 0.01, 0.1, 0.9, 0.999, 1e-8
theta, m, v = start.copy(), np.zeros(5), np.zeros(5)
for t, g in enumerate(gradients, start=1):
    theta = theta - rate * decay * theta
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    theta = theta - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

page, m, v = start, np.zeros(5), np.zeros(5)
ours = torch.tensor(start, requires_grad=True)
optimizer = AdamW([{"params": [ours], "weight_decay": decay}])
for t, g in enumerate(gradients, start=1):
    page, m, v = optimizers.adamw_step(page, g, m, v, t, rate, decay)
    ours.grad = torch.tensor(g)
    optimizer.step(rate)
agree("minilm.formulas.optimizers.adamw_step", page, theta)
agree("minilm.training.optimizer.AdamW", ours, theta)

# %% [markdown]
# **Wrong, then right.** Exchange the import and nothing else, and the program runs, and is another program: the old
# AdamW had decay 0 unless told otherwise, PyTorch's has 0.01. A weight that no gradient holds shrinks by
# $1 - \eta\lambda$ a step. At the documents' rate of $2 \cdot 10^{-5}$ that is nothing; at a rate for training from
# scratch it is not.

# %%
default = inspect.signature(torch.optim.AdamW).parameters["weight_decay"].default
for eta, steps in ((2e-5, 3_000), (1e-3, 30_000)):
    print(f"rate {eta:g}, {steps:,} steps: {(1 - eta * default) ** steps:.4f} of the weight is left")
assert default == 0.01 and (1 - 2e-5 * default) ** 3_000 > 0.999 and (1 - 1e-3 * default) ** 30_000 < 0.75

# %% [markdown]
# **What to try.** Write the decay into every call, whatever the default. · Set $\lambda$ to 0 above: to which
# optimizer of the library is it equal now?
#
# ## A list that eats itself, and a loss that is None  (F08 · D3 §5.2.4)
# The models of `transformers` return a loss only if they are given labels. D3's evaluation calls the model without,
# and adds up the loss; its training does the same. And inside the loop the *list* `labels`, in which answers are to
# be collected, is overwritten by the labels of the batch. The same in small, with the rule of the model in five
# lines:


# %%
class Output(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor | None


def model(x, labels=None):
    return Output(x, None if labels is None else cross_entropy(x, labels).value)  # the logits are given: enough here


y_all = torch.tensor([0, 1, 1, 0, 1])
x_all = 2.0 * F.one_hot(y_all[[0, 1, 2, 3, 0]], 2) - 1.0  # logits; the last is wrong
batches = [(x_all[:2], y_all[:2]), (x_all[2:4], y_all[2:4]), (x_all[4:], y_all[4:])]  # the last one is smaller


def evaluate(batches, give_labels):
    total, predictions, labels = 0.0, [], []
    for x, labels in batches:  # the list is gone
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
# First the loss is `None`; mend that, and the next line falls. These errors at least are loud. Were the labels of a
# batch a Python list, nothing would be heard at all:

# %%
labels = []
for labels in ([0, 1], [1, 0], [1]):
    labels.append(labels)
print(labels, "- the last batch, with itself inside")
assert len(labels) == 2 and labels[1] is labels

# %% [markdown]
# **Wrong, then right.** Two names, labels given. And one thing more, which D0 and D4 do as well: the mean over
# *batches* is not the mean over examples when the last batch is smaller. The risk (F01) is a mean over examples, so a
# loss must say over how many it was taken: `minilm.training.losses.cross_entropy` returns both.


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
assert abs(of_batches - mean) > 0.05

# %% [markdown]
# **What to try.** Which sizes of batches make the two means equal? · D3 prints five falling losses under this
# program. Which line of it would have had to run?
#
# ## Shifted twice  (F23, F29 · D2 §5.2)
# A language model (语言模型) guesses word $t + 1$ from the words up to $t$; D2 trains one on dialogues. Its model moves
# the labels by one *itself*, and D2 has moved them already: row $t$ of the logits $z$ $[B, T, V]$ meets word $t + 2$.
#
# $$L = -\frac1N \sum_t \log \text{softmax}(z_t)(w_{t+1}) \qquad \text{becomes} \qquad
# -\frac1N \sum_t \log \text{softmax}(z_t)(w_{t+2})$$
#
# Nothing fails. The loss falls, a little less far. To see it in exact numbers take film reviews, letter by letter,
# and a model that knows the last letter only: the best such model is a table of counts.

# %%
ALPHABET = " abcdefghijklmnopqrstuvwxyz"
reviews = list(itertools.islice(documents("imdb"), 150 if FAST else 1000))
text = " ".join(sentence for document in reviews for sentence in document).lower()
text = re.sub(r"[^a-z]+", " ", text)
w = np.array([ALPHABET.index(letter) for letter in text])
V, seen, new = len(ALPHABET), w[: len(w) * 9 // 10], w[len(w) * 9 // 10 :]
print(f"{len(w):,} letters, of {V} kinds")


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
    """The rule of the model: it moves the labels by one itself."""
    return float(-z[np.arange(len(z) - 1), labels[1:]].mean())


right, twice = table(seen, 1), table(seen, 2)  # what training on either loss arrives at
once = model_loss(right[new], new)
agree("minilm.formulas.language_models.causal_loss", once, language_models.causal_loss(right[new][None], new[None]))
reported = model_loss(twice[new[:-1]], new[1:])  # inputs w₁ … w_{T−1}, labels w₂ … w_T, and then moved again
truly = model_loss(twice[new], new)
print(f"shifted once: {once:.2f} nats a letter. Shifted twice: reports {reported:.2f}, is in truth {truly:.2f}")
by_frequency = -np.log(np.bincount(seen, minlength=V) / len(seen))[new].mean()
print(f"knowing nothing but how frequent each letter is: {by_frequency:.2f}")
assert once < 2.45 and 2.55 < reported < by_frequency and truly > by_frequency + 0.2

# %% [markdown]
# The program reports a loss that looks like a slightly weak model. As a model of the *next* letter it is worse than
# one that knows nothing but how frequent each letter is. Let both write; for the eye's sake they see up to four
# letters now.


# %%
def writer(ahead):
    """What followed each run of one to four letters."""
    followers = {}
    for memory, t in itertools.product((1, 2, 3, 4), range(100_000)):
        followers.setdefault(text[t : t + memory], []).append(text[t + memory + ahead - 1])
    return followers


for ahead in (1, 2):
    followers, line = writer(ahead), "the "
    for _ in range(70):
        known = next(line[-m:] for m in (4, 3, 2, 1) if line[-m:] in followers)
        line += followers[known][rng.integers(len(followers[known]))]
    print(f"{'shifted once ' if ahead == 1 else 'shifted twice'}: {line}")

# %% [markdown]
# **Wrong, then right.** One place moves the labels, and says so. In this library it is the caller
# (`LSTMLanguageModel` returns logits and knows no labels); in `transformers` it is the model, and labels are simply
# the inputs.
#
# **What to try.** Shift three times: is the loss higher still? Why does it stop rising?
#
# ## Padding that counts  (F23, F29 · D2 §5.2)
# D2 fills every text up to 512 tokens and gives all of them as labels. Padding after padding is easy to guess. Single
# sentences on films, with a letter of its own for padding:

# %%
films = [example.text for example in labelled("rotten-tomatoes")]
sentences = [re.sub(r"[^a-z]+", " ", film.lower()) for film in films[: 200 if FAST else 1000]]
PAD, length = V, 512
padded = np.full((len(sentences), length), PAD)
for row, sentence in zip(padded, sentences):
    row[: len(sentence)] = [ALPHABET.index(letter) for letter in sentence[:length]]
real = padded != PAD
n = language_models.bigram_counts(padded.ravel(), V + 1)
z = np.log(language_models.bigram_probabilities(n, k=0.1))[padded]  # [B, T, V + 1]
counted = language_models.causal_loss(z, padded)
left_out = language_models.causal_loss(z, padded, real)
print(f"{1 - real.mean():.0%} is padding. Loss with it {counted:.2f}, without {left_out:.2f} nats;", end=" ")
print(f"perplexity {np.exp(counted):.1f} instead of {np.exp(left_out):.1f}")
assert (~real).mean() > 0.7 and counted < 0.35 * left_out

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
axis.set(title="More padding, “better” model", xlabel="filled up to", ylabel="loss (nats)", ylim=(0, 2.9))
axis.legend(loc="lower left")
picture

# %% [markdown]
# The same sentences, the same kind of model: the number says how long the padding is. And most of the gradient is
# spent on it. At the start, when every guess is $1/V$, each position pulls about equally:

# %%
flat = np.zeros((8, length, V + 1))
pull = np.abs(language_models.causal_loss_gradient(flat, padded[:8])).sum(axis=2)[:, :-1]  # row t guesses t + 1
share = pull[~real[:8, 1:]].sum() / pull.sum()
print(f"{share:.0%} of the first gradient teaches the model to write padding")
assert share > 0.6

# %% [markdown]
# **Wrong, then right.** What does not count gets the label −100 (`minilm.training.losses`) or is masked
# (`causal_loss(z, w, real)`). In a dialogue (F29) the question is left out in the same way: it is read, not guessed.

# %%
marked = torch.tensor(np.where(real, padded, -100))[:, 1:]  # the labels of rows 1 … T − 1
agree("minilm.training.losses.cross_entropy", cross_entropy(torch.tensor(z[:, :-1]), marked).value, left_out)

# %% [markdown]
# **What to try.** Mask by `padded == PAD` where padding and the end of a text share one letter, as in GPT-2's
# vocabulary: what is never learnt then?
#
# ## A checkpoint that does not exist, and a dialogue that is a table  (F29 · D2 §5.2, §5.4)
# D2 loads a model called `gpt3`. The weights of GPT-3 were never published; it could be reached through its makers'
# service alone. A name is no file, and the time to find out is before the run. This library says so in a sentence:

# %%
try:
    Tokenizer.load("gpt3")
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# Then D2 shows the result of its "dialogue": precision, recall and F1 for persons, places and organisations. Here are
# its lines as data; three checks need no model.

# %%
D2_TABLE = [("B-PER", 0.923, 0.915, 0.920), ("I-PER", 0.922, 0.920, 0.920), ("O", 0.925, 0.923, 0.923),
            ("B-LOC", 0.916, 0.916, 0.916), ("I-LOC", 0.916, 0.916, 0.916), ("B-MISC", 0.913, 0.913, 0.913),
            ("I-MISC", 0.913, 0.913, 0.913), ("O", 0.919, 0.919, 0.919)]  # fmt: skip
support, total = 2300, 2300  # of every row; and of the whole, as printed
names = [name for name, *_ in D2_TABLE]
ranges = [metrics.f1_range(P, R) for _, P, R, _ in D2_TABLE]
impossible = [name for (name, *_, F1), (low, high) in zip(D2_TABLE, ranges) if not low <= F1 <= high]
print("rows that stand twice:", {name for name in names if names.count(name) > 1})
print(f"{len(names)} rows of {support} make {len(names) * support:,}, printed total {total:,}")
print("F1 that P and R rule out:", impossible)
assert names.count("O") == 2 and len(names) * support != total and "B-PER" in impossible

# %% [markdown]
# **Wrong, then right.** A dialogue has no tags. What can be measured is how well the *answer* was foreseen: F29, the
# loss over the answer's words alone, or its perplexity. With the letters' table from above:

# %%
question, answer = "did you like the film ", "yes it was a very good film"
dialogue = np.array([ALPHABET.index(letter) for letter in question + answer])
is_answer = np.arange(len(dialogue)) >= len(question)
loss = language_models.dialogue_loss(right[dialogue][None], dialogue[None], is_answer[None])
by_hand = -np.mean([right[a, b] for a, b in itertools.pairwise(dialogue)][len(question) - 1 :])
agree("F29, the answer's letters alone", loss, by_hand)
print(f"perplexity of the answer: {np.exp(loss):.1f} letters")

# %% [markdown]
# **What to try.** Give the table an answer that does not fit the question. Why does it not mind, and what would?
#
# ## Tags that drift  (F30, F31 · D4 §5.2)
# D4 has one tag for each *word*. It hands the text to a tokenizer that begins with [CLS] and cuts words into pieces,
# and then gives the $n$-th tag to the $n$-th *piece*. After the first word that is cut, every tag sits on the wrong
# word, and [CLS] has shifted all of them by one before that. A real sentence, and the library's WordPiece:

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "reviews.txt"
    file.write_text("\n".join(s for document in reviews for s in document), encoding="utf-8")
    tokenizer = train_wordpiece([file], vocab_size=4000)

words = "To top it all off , Danny Pino playing Desi Arnaz is horrible .".split()  # from one of the reviews
tags = ["B-PER" if word in ("Danny", "Desi") else "I-PER" if word in ("Pino", "Arnaz") else "O" for word in words]


def pieces_and_tags(words, tags):
    """Pieces with [CLS] and [SEP], the word each belongs to (None: to none), the tags as D4 deals them, and the true ones."""
    encoding = tokenizer.backend.encode(words, is_pretokenized=True, add_special_tokens=True)
    dealt = (tags + ["O"] * len(encoding.tokens))[: len(encoding.tokens)]  # the n-th tag to the n-th piece, O behind
    true = ["-" if word is None else tags[word] for word in encoding.word_ids]
    return encoding.tokens, encoding.word_ids, dealt, true


pieces, word_ids, dealt, true = pieces_and_tags(words, tags)
print(" ".join(f"{piece}/{tag}" for piece, tag in zip(pieces, dealt)))
assert [p for p, tag in zip(pieces, dealt) if tag != "O"] != [p for p, tag in zip(pieces, true) if tag not in "O-"]

# %%
picture, axis = panels(width=11, height=2.3)
colour = {"O": "#F0F0F0", "-": "white", "B-PER": COLOURS[0], "I-PER": COLOURS[5]}
for x, (piece, *pair) in enumerate(zip(pieces, true, dealt)):
    for level, tag in enumerate(pair):
        axis.broken_barh([(x, 0.94)], (0.05 - level, 0.9), color=colour[tag])
    axis.text(x + 0.5, 1.15, piece, ha="left", va="bottom", rotation=45, fontsize=10)
axis.set(
    xlim=(0, len(pieces)),
    ylim=(-1, 1),
    xticks=[],
    xlabel="dark: first word of a name · light: its further words · grey: O",
)
axis.set_yticks([0.5, -0.5], ["tag of its word", "tag that D4 deals"])
picture

# %% [markdown]
# How bad is it over many sentences? For counting, any tags of words will do; take a plain rule: a word with a capital
# inside a sentence is a name (B, or I after another).


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
print(f"{len(some):,} sentences; of the words of names {kept / names_seen:.0%} still carry their tag")
assert kept / names_seen < 0.15

# %% [markdown]
# The model is trained on these labels, and judged by them as well. Nothing falls over, and hardly a name keeps its
# tag.
#
# **Wrong, then right.** Ask the tokenizer which word a piece belongs to. The first piece of a word carries its tag,
# all other pieces carry −100 and do not count:

# %%
mended = 0
for words, tags in some:
    pieces, word_ids, _, true = pieces_and_tags(words, tags)
    labels = [-100] * len(pieces)
    for i, word in enumerate(word_ids):
        if word is not None and word != word_ids[i - 1]:
            labels[i] = "OBI".index(tags[word])
    assert ["OBI"[label] for label in labels if label != -100] == tags  # every word once, with its own tag
    ids = [tokenizer.backend.token_to_id(piece) for piece, label in zip(pieces, labels) if label != -100]
    mended += ids == tokenizer.ids_of_words([words])[0]
print(f"{mended:,} of {len(some):,} sentences: the pieces that carry a tag are those of Tokenizer.ids_of_words")
assert mended == len(some)

# %% [markdown]
# **What to try.** Give the tag to *every* piece of its word (I- for the further ones) and count with −100 as before:
# which of the two has more labels to learn from?
#
# **Exercise.** `minilm exercise start subword_tags`
#
# ## Padding called O  (F30 · D4 §5.2, §5.4)
# D4 fills each sentence up to 128 and labels the padding `O`, so it is trained on, and counted when the tagger is
# judged. Take the *People's Daily* and a tagger that has never found a name in its life:

# %%
lines = [line.tags[:128] for line in tagged("peoples-daily")[: 1000 if FAST else 5000]]
is_O = np.zeros((len(lines), 128), dtype=bool)
is_real = np.zeros((len(lines), 128), dtype=bool)
for row, (tags, mask) in enumerate(zip(lines, is_real)):
    mask[: len(tags)] = True
    is_O[row, : len(tags)] = [tag == "O" for tag in tags]
accuracy_real = is_O[is_real].mean()
accuracy_padded = (is_O | ~is_real).mean()  # padding: labelled O, called O, "right"
print(f"accuracy of saying O: {accuracy_real:.3f} over characters, {accuracy_padded:.3f} with the padding")
print(f"{1 - is_real.mean():.0%} of all places are padding")
assert accuracy_padded > accuracy_real + 0.02 and 0.3 < is_real.mean() < 0.7

# %% [markdown]
# Characters of a newspaper fill about half of such a row. The English sentences of CoNLL-2003 do not: its test set
# has 46,435 tokens in 3,684 sentences (so its authors say), thirteen to the sentence. What padding to 128 does to
# *any* tagger there:

# %%
tokens, count, entities = 46_435, 3_684, 46_435 - 38_323
pads = count * 128 - tokens
picture, axis = panels(width=6.5)
share = np.linspace(0, 1, 50)  # of the words of names that are tagged right; every O is right
axis.plot(
    share, (tokens - entities * (1 - share) + pads) / (tokens + pads), color=COLOURS[1], label="padding counted as O"
)
axis.plot(share, (tokens - entities * (1 - share)) / tokens, color=COLOURS[0], label="tokens only")
axis.plot(share, share, color=COLOURS[7], ls=":", label="words of names only")
axis.set(
    title="Accuracy of a tagger that finds a share of the names", xlabel="share of the words of names it tags right"
)
axis.legend(loc="lower right")
picture

# %%
nothing_found = (tokens - entities + pads) / (tokens + pads)
print(f"finds nothing: {nothing_found:.3f} right, with the padding")
assert nothing_found > 0.98 and pads / (pads + tokens) > 0.9
assert 46_435 % 128 != 0

# %% [markdown]
# A tagger that finds nothing is 98 % right. One more thing follows. D4's program gives *every* sentence exactly 128
# tags (it cuts the predictions to the length of the labels, which is 128 as well), so its report must count a
# multiple of 128. The printed report counts 46,435, which is none: it cannot have come from this program. Two more
# reasons:

# %%
tag2id = {tag: i for i, tag in enumerate("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())}  # the tags the program knows
print("in the report, unknown to the program:", [row.name for row in metrics.D4_TABLE if row.name not in tag2id])
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
# **Wrong, then right.** Padding gets −100 in training and is taken out before judging; sentences go to
# `metrics.entity_counts` (or seqeval), which is made for lists of tags and counts whole names. Notebook 11 does so.
#
# **What to try.** At which share of found names do the two curves of the picture differ by less than 0.01?
#
# ## Every sentence at full length  (F22 · D0 §5.2)
# D0 fills every example up to 128 tokens. The attention mask keeps the answer right, and the bill is paid all the
# same. First the answer: with a mask over the padding, the real words come out as if alone.

# %%
T, S, D = 5, 12, 8
Q, K, U = (rng.normal(size=(S, D)) for _ in range(3))
may_attend = np.arange(S)[None, :] < T  # nobody looks at padding
agree(
    "attention with 7 positions of padding",
    attention.attention(Q, K, U, may_attend)[:T],
    attention.attention(Q[:T], K[:T], U[:T]),
)

# %% [markdown]
# Now the bill, in multiplications, for a block of width $C$ on $T$ tokens: four projections of $T C^2$, scores and
# weighted sum of $T^2 C$ each, and a feed-forward layer four times as wide, twice $4 T C^2$:
#
# $$\text{cost}(T) = 12\, T C^2 + 2\, T^2 C$$

# %%
C, L = 768, 12  # BERT-base, as D0 uses it
lengths = np.array([len(ids) + 2 for ids in tokenizer.ids(films[: 1600 if FAST else None])])


def multiplications(T):
    return L * (12 * T * C**2 + 2 * T**2 * C)


agree(
    "minilm.formulas.cost, and the feed-forward layer",
    L * (cost.attention_cost(128, C, projections=True) + 8 * 128 * C**2),
    multiplications(128),
)
tokens = lengths.sum()
print(f"tokens: {128 * len(lengths):,} instead of {tokens:,}, {128 * len(lengths) / tokens:.1f} times as many")
assert lengths.max() <= 128 and 128 * len(lengths) > 3 * tokens

# %%
shuffled = np.array_split(rng.permutation(len(lengths)), len(lengths) // 16)  # batches of 16, as D0's
alike = batches_of_like_length(lengths, 16, rng)
needed = multiplications(lengths.astype(float)).sum()
bill = {"all to 128": len(lengths) * multiplications(128) / needed}
for name, batches in {"longest of the batch": shuffled, "batches of like length": alike}.items():
    bill[name] = sum(len(b) * multiplications(float(lengths[b].max())) for b in batches) / needed
bill["no padding at all"] = 1.0
for name, ratio in bill.items():
    print(f"{name:>22}: {ratio:.2f} times the work that is needed")
assert bill["all to 128"] > 3 and bill["longest of the batch"] > 1.5 and bill["batches of like length"] < 1.05

# %%
picture, (left, right_axis) = panels(1, 2, width_ratios=(1, 1.1))
left.hist(lengths, bins=np.arange(0, 130, 4), color=COLOURS[0])
left.axvline(128, color=COLOURS[1])
left.text(125, left.get_ylim()[1] * 0.9, "filled up\nto here", ha="right", va="top", color=COLOURS[1])
left.set(title="Tokens of a sentence on a film", xlabel="tokens", ylabel="sentences")
ratios = list(bill.values())
right_axis.barh(range(4), ratios, color=[COLOURS[1], COLOURS[4], COLOURS[2], COLOURS[0]], height=0.6)
for i, ratio in enumerate(ratios):
    right_axis.text(ratio + 0.08, i, f"{ratio:.2f}", va="center")
right_axis.set(title="Work, in units of what is needed", xlim=(0, max(ratios) * 1.15))
right_axis.set_yticks(range(4), list(bill))
right_axis.invert_yaxis()
picture

# %% [markdown]
# **Wrong, then right.** Fill up to the longest of the *batch*, not of the world, and put sentences of like length
# together: the line is `batches_of_like_length` in `minilm/examples/batching.py`, and what is left over is under five
# in a hundred.
#
# **What to try.** Batches of 128 instead of 16: which of the bars grow?
#
# ## A program for another task: shapes, and a softmax taken twice  (F17 · D1 §5.2)
# D1's program is Embedding(1000, 64) → LSTM(128) → LSTM(128) → Dense(1000, softmax) on texts of 50 words. The sizes
# fit together. Count the numbers in it: an LSTM from $I$ to $H$ has four gates, each with $W_x$ $[H, I]$, $W_h$
# $[H, H]$ and $b$ $[H]$.

# %%
V, E, H = 1000, 64, 128
by_hand = V * E + 4 * H * (E + H + 1) + 4 * H * (H + H + 1) + V * (H + 1)
page = sum(np.prod(shape) for shape in lstm_model.lstm_model_shapes(V, E, H).values())
ours = sum(p.numel() for p in LSTMLanguageModel(LSTMConfig()).parameters())
print(f"{by_hand:,} by hand, {page:,} on the page of formulas, {ours:,} in minilm/models/lstm.py")
assert by_hand == page == ours == 423_400

# %% [markdown]
# But look at what comes out. The second LSTM returns its last state alone, so 50 words lead to *one* distribution
# $[N, 1000]$. D1's own formulas (§4) sum over all $t$, and its example (§4.3) is translation.
#
# | what D1 says | what its program fits |
# |---|---|
# | predict a word at every $t$ (F10, F11) | no: one word for each text, after the 50th |
# | translate a sentence (§4.3) | no: there is one word of output |
# | the next word after 50 words | yes, with labels as one-hot rows $[N, 1000]$ |
# | labels as numbers $[N]$ | no: the loss it names wants one-hot rows |
# | a text of fewer than 50 words | no: padding is read as if it were words |
#
# The last line, run: the state after the last word, and the state after padding.

# %%
generator = torch.Generator().manual_seed(0)
lstm = LSTMLanguageModel(LSTMConfig(), generator)
ids = torch.randint(1, V, (1, 12), generator=generator)
filled = F.pad(ids, (0, 50 - 12))  # zeros behind
with torch.no_grad():
    alone, blind, masked = (lstm.encode(i, r)[1] for i, r in ((ids, None), (filled, None), (filled, filled != 0)))
print(f"reading on through padding turns the state: cosine {float(F.cosine_similarity(alone, blind)):.2f}")
agree("with `real` the state is that of the text alone", masked, alone, atol=1e-6)
assert float(F.cosine_similarity(alone, blind)) < 0.7

# %% [markdown]
# And the softmax. Keras' loss takes *probabilities*, so there the program is right. PyTorch's `cross_entropy` takes
# *logits* and applies the softmax itself. Who carries D1's model over with its softmax applies it twice. The second
# one sees numbers between 0 and 1, and even a perfect answer, 1 against 999 zeros, becomes
#
# $$-\log \frac{e^1}{e^1 + 999\, e^0} = \log\left(1 + \frac{999}{e}\right) = 5.91 \text{ nats},
# \qquad \text{against } \log 1000 = 6.91 \text{ for blind guessing.}$$

# %%
z = torch.zeros(41, V, dtype=torch.float64)
z[:, 0] = torch.linspace(0, 20, 41, dtype=torch.float64)  # surer and surer of word 0, which is right
z.requires_grad_()
answer = torch.zeros(41, dtype=torch.int64)
losses, slopes = {}, {}
for name, logits in {"softmax in the loss": z, "softmax in the model as well": z.softmax(dim=1)}.items():
    loss = F.cross_entropy(logits, answer, reduction="none")
    (slope,) = torch.autograd.grad(loss.sum(), z)
    losses[name], slopes[name] = loss.detach().numpy(), slope[:, 0].abs().numpy()
floor = np.log(1 + 999 / np.e)
agree("the second softmax's floor", losses["softmax in the model as well"][-1], floor, atol=1e-4)
at_start = slopes["softmax in the loss"][0] / slopes["softmax in the model as well"][0]
print(f"at the start the gradient is {at_start:,.0f} times smaller")
assert 5.90 < floor < 5.92 and at_start > 900

# %%
picture, (left, right_axis) = panels(1, 2)
for i, name in enumerate(losses):
    left.plot(z[:, 0].detach(), losses[name], color=COLOURS[i], label=name)
    right_axis.semilogy(z[:, 0].detach(), slopes[name], color=COLOURS[i])
right_axis.yaxis.set_major_formatter(lambda size, _: f"{size:g}")
left.axhline(floor, color="grey", ls=":")
left.set(
    title="Loss: the second softmax has a floor", xlabel="logit of the right word", ylabel="nats", ylim=(-0.3, 9.5)
)
left.legend(loc="upper right", fontsize=10)
right_axis.set(
    title="... and hardly a slope to start from", xlabel="logit of the right word", ylabel="size of the gradient"
)
picture

# %% [markdown]
# **Wrong, then right.** The model returns logits; the loss takes the logarithm of the softmax in one step. So do
# `LSTMLanguageModel` and `minilm.training.losses.cross_entropy`.
#
# **What to try.** With 2 classes the floor is $\log(1 + 1/e)$. Does a classifier with two softmaxes still learn?
# Which number would make you suspicious?
#
# ## Results for tasks that the data does not have  (F30 · D0 §5.4, D2 §5.4)
# D0 reports 0.92 on "the binary classification data of CoNLL-2003", D2 an F1 of 91.9 % on "the dialogues of
# CoNLL-2003". That data set has newspaper sentences, each word with a part of speech, a chunk and an entity tag. It
# has no label for a text, and nobody speaks in it. A program that reads its data by name finds out at once:

# %%
conll_2003 = {"words", "part of speech", "chunk", "entity"}
needed = {
    "D0: text classification": {"words", "label of the text"},
    "D2: dialogue": {"question", "answer"},
    "D4: entities": {"words", "entity"},
}
for task, columns in needed.items():
    missing = sorted(columns - conll_2003)
    print(f"{task:>24}: {'can be run' if not missing else 'lacks ' + ', '.join(missing)}")
assert [bool(columns - conll_2003) for columns in needed.values()] == [True, True, False]

# %% [markdown]
# The files of this project are read so: `minilm.text.corpus.labelled` asks for its columns, and the sentence of the
# error names those that are there.

# %%
try:
    labelled("peoples-daily")
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# **Wrong, then right.** A result needs four things: the data by a name that one can look up, the number of examples,
# the metric with its average, and a line to beat. 0.92 is poor where 93 % have one label.
#
# ## Who did what, and when: a checked table  (D1 §8.3, D4 §1.1)
# Dates and names are facts like others. Each row: what the document says, what is so, and where to look it up. An
# arXiv number begins with year and month, so the cell can check the dates.


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
    Fact("D4 §1.1.2", "BERT: in the same year as GPT-2", "in October, before it", "NAACL 2019", 2018, "1810.04805"),
    Fact("D4 §1.1.1", "perceptron, multilayer: Hinton, 1989", "perceptron: Rosenblatt", "Psychol. Review 65", 1958),
    Fact(
        "D4 §1.1.1", "back-propagation: Rumelhart, McClelland, 1992", "Rumelhart, Hinton, Williams", "Nature 323", 1986
    ),
    Fact("D4 §1.1.1", "deep convolution: Hinton, 2010", "Fukushima (LeCun 1989: trained)", "Biol. Cybern. 36", 1980),
    Fact("D4 §1.1.1", "its breakthrough in images: 2010", "Krizhevsky, Sutskever, Hinton", "NIPS 2012", 2012),
    Fact("D4 §1.1.1", "recurrence: Kim, 2013", "Elman", "Cognitive Science 14", 1990),
    Fact("D4 §1.1.1", "... and in speech", "Graves, Mohamed, Hinton", "ICASSP 2013", 2013, "1303.5778"),
    Fact("D4 §1.1.1", "(what Kim wrote)", "convolution for sentences", "EMNLP 2014", 2014, "1408.5882"),
    Fact("D4 §1.1.1", "Transformer: Vaswani et al., 2017", "so it is", "NIPS 2017", 2017, "1706.03762"),
]
for fact in FACTS:
    print(f"{fact.where:>9} | {fact.said:<45} | {fact.year}: {fact.so:<31} | {fact.source} {fact.arxiv}")
    assert not fact.arxiv or 2000 + int(fact.arxiv[:2]) == fact.year

# %% [markdown]
# **What to try.** Look up one row yourself; correct us where we are wrong. · Take a program of your own and ask it
# the questions of this page: what counts in the mean, what was shifted, what was cut, and would it have told you?
