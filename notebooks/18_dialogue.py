# %% [markdown]
# # 18 · Dialogue
#
# > **Minutes.** 1 to run, about 55 to read and try.
# >
# > **You need** [notebook 11](11_language_models.ipynb) for language models and their perplexity, and the conversations of
# > the package `chitchat-dataset` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** turn conversations into rows in which only the answers count, train a model that answers, find
# > three mistakes of a published program by their symptoms, and say what the history of a conversation is worth.
# >
# > **The documents.** D2 §4.2.3: “为新的对话示例” (a new example of a dialogue) · D2 §5.2: “保留下一轮的输入”
# > (keep the input of the next round) · D3 §3.4: “通过上下文理解，进行多轮对话和自然语言交互” (by understanding the
# > context, hold conversations of several turns) · D4 §3.4.7: “模型能够学习对话历史，生成符合语境的回复” (the model
# > learns the history of the dialogue and writes replies that fit it)
# >
# > **Words.** [nat, logit and perplexity](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F29](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $o_m$ conversation number $m$, $M$ conversations, $w_t$ token number $t$ of a row of $T$ tokens, $B$ rows in
# a batch, $V$ tokens in the vocabulary, $z$ logits, $h$ turns of history.
#
# A model that continues a text does not answer yet. What has to change? Surprisingly little: two new tokens that say
# who speaks, and a decision about which words count.

# %%
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from minilm.examples.dialogue import (
    Conversations,
    DialogueWindows,
    answer_labels,
    answers,
    as_text,
    drawn,
    every_answer,
    fit_history,
    prompt_for,
)
from minilm.formulas import language_models as formulas
from minilm.formulas.kneser_ney import KneserNey
from minilm.jobs.pretrain import PretrainOptions, build, prepare_for
from minilm.models.generation import generate
from minilm.text.corpus import documents
from minilm.text.dialogues import Roles
from minilm.training.diversity import distinct_n
from minilm.training.losses import cross_entropy
from minilm.training.objectives import CausalLM
from minilm.training.run import TrainingRun
from minilm.training.writing import never_written
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
folder = TemporaryDirectory()

# %% [markdown]
# ## A conversation is a row of tokens  (F29 · D2 §4.2.3)
# The corpus `chitchat` holds conversations of students who wrote to each other in a browser. What one person writes
# before the other one answers is a *turn*. We take some of the conversations and look at the beginning of one.

# %%
conversations = list(islice(documents("chitchat"), 60 if FAST else 900))
for number, turn in enumerate(conversations[3][:6]):
    print("AB"[number % 2], "·", turn)
turns = np.array([len(each) for each in conversations])
print(
    f"{len(conversations)} conversations, {turns.sum():,} turns; half of the conversations have {np.median(turns):.0f} or more"
)

# %% [markdown]
# For a language model (语言模型) all of this is one row of tokens. Two new tokens say who speaks: `[USER]` and
# `[MODEL]`. They are *special* tokens, which nobody can type: if a message contains the letters "[MODEL]", they stay
# letters. Otherwise, a user could put words into the model's mouth. Every turn ends with `[SEP]`.
#
# Which of the two people is the model? Both may be: we read each conversation twice, once from each side.

# %%
text = Path(folder.name) / "chat.txt"
text.write_text("\n\n".join("\n".join(turns) for turns in conversations), encoding="utf-8")
settings = PretrainOptions(
    corpus=str(text), architecture="gpt", steps=1, vocab_size=1200, width=64, layers=2, length=64, batch=16,
    learning_rate=4e-3, held_out=20 if FAST else 180, cache=Path(folder.name), progress=False,
)  # fmt: skip
prepared = prepare_for(settings, lambda line: None)
roles = Roles(prepared.tokenizer, add=True)
tokenizer, V = roles.tokenizer, roles.tokenizer.size
said = ["hi!", "hello, how are you?", "fine", "do you like tea?"]
row = [tokenizer.begin]
for number, words in enumerate(tokenizer.ids(said)):
    row += roles.turn(words, model=number % 2 == 1)
print(" ".join(tokenizer.tokens(row)))
typed = tokenizer.ids(["[MODEL] i am the model"])[0]
print("typed by a user:", " ".join(tokenizer.tokens(typed)))
claim("What is typed never becomes a role.", not {roles.user, roles.model} & set(typed))

# %% [markdown]
# ## Only the answers count  (F29 · D2 §4.2.3)
# D2 prints, for dialogue (对话), the same kind of risk as for pretraining, over new examples $o_m$:
#
# $$\min_\theta \frac1M \sum_{m=1}^{M} \ell(h_{new}(o_m); \theta)$$
#
# As it stands, $\ell$ has no target. For a model that answers, the target is the answer:
#
# $$L = -\frac1N \sum_{t\,:\,w_{t+1} \text{ belongs to an answer}} \log \text{softmax}(z_t)(w_{t+1})$$
#
# The model reads everything, and is asked only for its own words. In code, the labels repeat the tokens of the
# answers and have −100 everywhere else.

# %%
schematics.conversation_labels()

# %%
ids = np.array(row)
begins = np.isin(ids, (roles.user, roles.model))
last = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))  # where the turn of each token began
labels = np.where((ids[last] == roles.model) & ~begins, ids, -100)
agree("the labels", labels, answer_labels(ids, roles.user, roles.model))
print("counted:", " ".join(tokenizer.tokens(labels[labels != -100])))

# %% [markdown]
# The role is not counted, because it is always given: whoever asks for an answer writes it. The `[SEP]` at the end of
# an answer *is* counted: only so does a model learn to stop.
#
# **Predict first.** The rows below begin with at most half a row of history and go on as long as there is room.
# About which share of their tokens counts? And which share would it be, if each answer had a row of its own, with eight
# turns of history before it?
#
# <details><summary>Answer</summary>
#
# A little less than half: turns of both people are about equally long, and the roles and the first turn do not count.
# With a row for each answer it would be a good third, because a long history is read for a single answer. That is why
# our rows go on after the first answer.
#
# </details>

# %%
windows = DialogueWindows(prepared.train, roles, settings.length, settings.batch, seed=0, history=8)
first = [windows[step] for step in range(5 if FAST else 60)]
share = sum(int((batch.labels != -100).sum()) for batch in first) / sum(batch.tokens for batch in first)
held_out = Conversations(prepared.held_out, roles, settings.length)
half = len(held_out) // 2
asked = drawn(held_out, range(half, len(held_out)), 40 if FAST else 500, seed=1)  # answers of unseen conversations
test = answers(held_out, asked, history=8)
alone = sum(int((batch.labels != -100).sum()) for batch in test) / sum(batch.tokens for batch in test)
print(f"counted in our rows: {share:.0%}; if every answer had a row of its own: {alone:.0%}")
claim("Our rows use more of what they read.", share > alone)

# %% [markdown]
# The loss is that of the objective `CausalLM`, which shifts the labels by one. We check it against the formula, on a
# model that has learned nothing yet.

# %%
fresh = build(settings, prepared, further=2).double().eval()
batch = first[0]
with torch.no_grad():
    z = fresh(batch.input_ids, batch.attention_mask).numpy()
is_answer = batch.labels.numpy() != -100
agree("L", CausalLM().loss(fresh, batch).value.detach(), formulas.dialogue_loss(z, batch.input_ids.numpy(), is_answer))
print(f"loss of an untrained model: {CausalLM().measure(fresh, test)['loss']:.2f} nats; log V = {np.log(V):.2f}")

# %% [markdown]
# **What to try.** Let the history begin with at most one turn, `history=1` in `windows`. How does the share that
# counts change? · Ask what the loss would count if the roles were exchanged: `answer_labels(ids, roles.model, roles.user)`.
#
# <details><summary>Answers</summary>
#
# 1. Hardly: from 45 to 46 %. With one turn of history, a row is a message and its answer, and both are about equally
#    long. So a longer history costs nothing in our rows, because its answers count as well.
#
#    ```text
#    counted in our rows: 46%; if every answer had a row of its own: 37%
#    ```
# 2. The words of the user, each with the `[SEP]` after it: the other half of the conversation. This is how the same row
#    is read from the other side.
#
#    ```text
#    counted: hi ! [SEP] fine [SEP]
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start answer_labels`
#
# ## As D2 trains it  (F29 · D2 §5.2)
# The program of D2 §5.2 makes three mistakes with these rows ([notebook 15](15_the_documents_programs.ipynb) takes the
# whole program apart): it shifts the labels, and its model shifts them again; it pads every row to the same length and
# counts the padding; and it gives the model no mask. First the two that change the loss. Each gets a model of its own,
# with the same start, the same rows and the same number of steps.

# %%
steps = 12 if FAST else 250


def trained(objective, roles=roles, prepared=prepared, settings=settings, history=8):
    """A small GPT after `steps` steps of one objective."""
    model = build(settings, prepared, further=2)
    rows = DialogueWindows(prepared.train, roles, settings.length, settings.batch, seed=0, history=history)
    run = TrainingRun(model, objective, rows.__getitem__, PretrainOptions(steps=steps).budget, settings.optimisation)
    run.train(bar=False)
    return model.eval()


class ShiftedTwice(CausalLM):
    """D2 gives the model `ids[:, :-1]` and `ids[:, 1:]`, and the model compares its row t with the label at t + 1."""

    def loss(self, model, batch):
        ids, labels = batch.input_ids[:, :-1], batch.labels[:, 1:]
        return cross_entropy(model(ids)[:, :-1], labels[:, 1:])


class PaddingCounts(CausalLM):
    """Every row is padded to 128 tokens with the token that ends a turn, and every token counts."""

    longest = 128

    def loss(self, model, batch):
        room = (0, self.longest - batch.input_ids.size(1))
        ids = (
            batch.input_ids if batch.attention_mask is None else batch.input_ids.masked_fill(~batch.attention_mask, END)
        )
        ids = torch.nn.functional.pad(ids, room, value=END)
        return cross_entropy(model(ids[:, :-1]), ids[:, 1:])


END = tokenizer.end

# %% [markdown]
# **Predict first.** Each program prints the loss that it minimises. Which of the three prints the lowest one? And which
# of the three models predicts the next word of an answer worst?
#
# <details><summary>Answer</summary>
#
# The one that counts padding prints by far the lowest loss, because padding after padding is easy to guess. As a model
# it is about as good as the right one, here even a little better: it learns from the user's messages too, and after so
# few steps every word helps. The one that shifts twice is worst: it has never been asked for the *next* word.
#
# </details>

# %%
objectives = {"right": CausalLM(), "shifted twice": ShiftedTwice(), "padding counts": PaddingCounts()}
models = {name: trained(objective) for name, objective in objectives.items()}
with torch.no_grad():
    printed = {
        name: np.mean([float(o.loss(models[name], batch).value) for batch in test]) for name, o in objectives.items()
    }
honest = {name: CausalLM().measure(model, test)["loss"] for name, model in models.items()}
everyone = windows.conversations
all_answers = as_text(everyone, every_answer(everyone, range(len(everyone))))  # one behind the other
counted = KneserNey(all_answers, V, 2, roles.model)  # it remembers one token
bigram = -np.log(counted.probabilities(as_text(held_out, asked))).mean()
for name in models:
    print(f"{name:15} prints {printed[name]:.2f} nats, is {honest[name]:.2f} nats per token of an answer")
print(f"counting pairs of words (Kneser–Ney): {bigram:.2f} nats")

# %%
picture, axis = panels(1, 1, width=7.5)
places = np.arange(len(models))
axis.bar(places - 0.2, printed.values(), 0.38, color=COLOURS[5], label="what the program prints")
axis.bar(places + 0.2, honest.values(), 0.38, color=COLOURS[0], label="what it is, per token of an answer")
axis.axhline(bigram, color=GREY, ls=":", lw=1.5, label="counting pairs of words")
axis.set_xticks(places, list(models))
axis.set(title="A low number is not a good model", ylabel="nats per token", ylim=(0, 1.45 * max(honest.values())))
axis.legend(loc="upper left", ncols=1)
picture

# %%
if not FAST:
    claim("Shifted twice, the model is more than half a nat worse.", honest["shifted twice"] > honest["right"] + 0.5)
    claim("Counting pairs beats it by more than a nat.", bigram < honest["shifted twice"] - 1)
    claim("Padding prints less than half of the truth.", printed["padding counts"] < honest["padding counts"] / 2)

# %% [markdown]
# Counting pairs of words beats all three: they have trained for a few seconds. That is no fault of the right one, and
# time repairs it; time does not repair the one that shifts twice.

# %% [markdown]
# **Wrong, then right.** "A missing mask must be as bad." It depends on where the padding stands. *Behind* the text it
# does no harm at all: a causal model never looks to the right, so no token of the text sees the padding. *In front* of
# the text, where it stands when several conversations are continued at once, every token sees it.

# %%
model = build(settings, prepared, further=2).double().eval()
ids = torch.tensor([row])
behind, in_front = (torch.nn.functional.pad(ids, room, value=END) for room in ((0, 5), (5, 0)))
hidden = torch.arange(in_front.size(1))[None] >= 5  # the mask: False for padding
with torch.no_grad():
    z = model(ids)
    off = {
        "behind, no mask": (model(behind)[:, : len(row)] - z).abs().max(),
        "in front, no mask": (model(in_front)[:, 5:] - z).abs().max(),
        "in front, with mask": (model(in_front, hidden)[:, 5:] - z).abs().max(),
    }
for name, difference in off.items():
    print(f"{name:20} largest difference of a logit: {float(difference):.1e}")
claim("Behind the text, padding without a mask changes nothing.", float(off["behind, no mask"]) < 1e-9)
claim("In front of it, it changes the logits.", float(off["in front, no mask"]) > 0.01)
claim("With a mask, it does not.", float(off["in front, with mask"]) < 1e-9)

# %% [markdown]
# **What to try.** Pad to 512 tokens as D2 does, and print the loss of the same model on the first rows:
# `PaddingCounts.longest = 512`, then `print(PaddingCounts().loss(models["padding counts"], test[0]).value)`. · Let the
# model that shifts twice answer: `print(tokenizer.text(generate(models["shifted twice"], [row[:17]], 12, 0)[0].ids))`.
#
# <details><summary>Answers</summary>
#
# 1. It falls to 0.2 nats, although the model is the same: these rows are almost all padding. You can print as low a
#    loss as you like, if only the rows are long enough.
#
#    ```text
#    0.19941073656082153
#    ```
# 2. Nonsense: after each word, it writes what should come one word later. It has learned something, but not to write.
#
#    ```text
#    ' ' a a? i m to to to to
#    ```
#
# </details>
#
# ## What the history is worth  (F29 · D4 §3.4.7)
# In small talk, an answer depends on the message before it, a little on the one before that, and hardly on what was said
# ten turns ago. To *see* what history does, we build a world in which it decides: somebody says a name, and later asks
# for it.

# %%
names = "anna ben carla david emma finn greta henry".split()


def conversation(rng):
    name = rng.choice(names)
    return [f"hello, i am {name}", "hi! nice to meet you", "who am i?", f"you are {name}"]


print("\n".join(conversation(np.random.default_rng(1))))

# %% [markdown]
# **Predict first.** There are 8 names, all equally likely. A model that reads only the last message, "who am i?", has
# to guess the name. What is its loss at the name, in nats? And what is it with the whole history?
#
# <details><summary>Answer</summary>
#
# Without the history it is $\log 8 = 2.08$ nats: no model can do better, however large it is. With the history it comes
# close to 0, because the name was said.
#
# </details>

# %%
rng = np.random.default_rng(0)
small = Path(folder.name) / "small.txt"
small.write_text("\n\n".join("\n".join(conversation(rng)) for _ in range(60 if FAST else 600)), encoding="utf-8")
little = PretrainOptions(
    corpus=str(small), architecture="gpt", steps=1, vocab_size=150, width=48, heads=4, layers=1, length=32, batch=16,
    learning_rate=1e-2, word_vectors=False, held_out=10 if FAST else 60, cache=Path(folder.name), progress=False,
)  # fmt: skip
world = prepare_for(little, lambda line: None)
their = Roles(world.tokenizer, add=True)
unseen = Conversations(world.held_out, their, little.length)


def loss_at_the_name(model, history):
    """−log P of the last word of each answer "you are …", in nats: the mean."""
    total = []
    for i in range(len(unseen)):
        ids, _ = unseen.answer(i, 3, history)
        with torch.no_grad():
            z = model(torch.tensor([ids]))[0, -3]  # the row that is asked for the last word; [SEP] comes after it
        total.append(-float(z.log_softmax(-1)[ids[-2]]))
    return float(np.mean(total))


learned = {history: trained(CausalLM(), their, world, little, history) for history in (1, 8)}
worth = {history: loss_at_the_name(model, history) for history, model in learned.items()}
guessing, turns_of = np.log(len(names)), {1: "1 turn", 8: "8 turns"}
for history, loss in worth.items():
    print(f"the name after {turns_of[history]} of history: {loss:.2f} nats; guessing costs {guessing:.2f}")

# %%
picture, axis = panels(1, 1, width=6.5)
axis.bar(range(2), worth.values(), 0.5, color=COLOURS[0])
axis.axhline(guessing, color=GREY, ls=":", lw=1.5)
axis.annotate("guessing", (1.2, guessing), (0, 5), textcoords="offset points", color=GREY, ha="right")
axis.set_xticks(range(2), [f"{turns_of[h]} of history" for h in learned])
axis.set(title="What was said can be repeated, if it was read", ylabel="nats at the name", ylim=(0, 2.8))
picture

# %%
if not FAST:
    claim("Without the history, the name costs what guessing costs.", abs(worth[1] - guessing) < 0.3)
    claim("With it, less than a fifth of that.", worth[8] < guessing / 5)

# %% [markdown]
# In real small talk the effect is smaller, but it is there: [the table](../minilm/experiments/README.md) of
# `minilm dialogue` compares a GPT that reads eight turns with one that reads none, and with a bigram model and an LSTM
# that were given the same minutes.
#
# A model reads only as many tokens as it was trained for, so a long conversation does not fit. Which part do we leave
# out? The oldest turns, and always whole ones: half a sentence would look like a whole one.

# %%
spoken = [roles.turn(words, model=number % 2 == 1) for number, words in enumerate(tokenizer.ids(said))]
for room in (40, 14, 8):
    kept = fit_history(spoken, room)
    print(f"{room:2} tokens:", " ".join(tokenizer.tokens(token for turn in kept for token in turn)))
claim("What is kept is the end of the conversation.", [fit_history(spoken, 14)[-1] == spoken[-1]])

# %% [markdown]
# **What to try.** Give the world sixteen names instead of eight: write `names = names + [name + "a" for name in names]`
# below the line of the names. What does guessing cost now? · Let the model that has learned with the whole history read
# only the last message: `loss_at_the_name(learned[8], 1)`.
#
# <details><summary>Answers</summary>
#
# 1. $\log 16 = 2.77$ nats, 0.69 more: twice as many names cost one more yes-or-no question. In these 250 steps, the
#    model has not found out that it can look the name up, so the history does not help yet.
#
#    ```text
#    the name after 8 turns of history: 2.80 nats; guessing costs 2.77
#    no longer true: With it, less than a fifth of that.
#    ```
# 2. It is much worse than guessing: the model has learned to copy a name, finds none, and is sure of something wrong.
#    A model that may get only a part of the history has to be trained with parts.
#
#    ```text
#    4.491342519720395
#    ```
#
# </details>
#
# ## How varied is what it says?  (F29)
# Perplexity says how well a model predicts what people answered. It does not say what the model answers itself. The
# likeliest answer to almost everything is a short "yeah": it fits nearly everywhere. *distinct-n* finds this out: the
# number of different runs of $n$ tokens, divided by the number of all runs, over all answers.
#
# $$\text{distinct-}n = \frac{\text{number of different } n\text{-grams}}{\text{number of } n\text{-grams}}$$

# %%
chosen = asked[:20] if FAST else asked[:120]
prompts = [prompt_for(roles, held_out.before(i, t, 8), 40)[0] for i, t in chosen]
said_by = {"people": [[w for w in held_out.turn(i, t, True)[1:] if w != END] for i, t in chosen]}
for temperature in (0.0, 0.7, 1.0):
    written = generate(
        models["right"], prompts, 24, temperature, seed=0, stop={END}, banned=never_written(models["right"], tokenizer)
    )
    said_by[f"temperature {temperature:g}"] = [[w for w in text.ids if w != END] for text in written]
for who, texts in said_by.items():
    pairs_of = [tuple(text[i : i + 2]) for text in texts for i in range(len(text) - 1)]
    if pairs_of:
        agree(f"distinct-2, {who}", len(set(pairs_of)) / len(pairs_of), distinct_n(texts, 2))
    answers_said = [tokenizer.text(text) for text in texts]
    commonest = max(answers_said, key=answers_said.count)
    print(f"{who:15} distinct-1 {distinct_n(texts, 1):.2f}, distinct-2 {distinct_n(texts, 2):.2f}; "
          f"{answers_said.count(commonest)} × {commonest[:40]!r}")  # fmt: skip

# %% [markdown]
# Temperature 0 looks safe and is the dullest choice: most of the conversations get one of a few answers. Higher
# temperatures are more varied, and wrong more often. No number of this kind says whether an answer makes *sense*; for
# that, people have to read it. Read some:

# %%
for (i, t), *given in list(zip(chosen, *said_by.values()))[:4]:
    print("message:", tokenizer.text(held_out.turn(i, t - 1, False))[-90:])
    for who, words in zip(said_by, given):
        print(f"    {who:15} {tokenizer.text(words)[:80]}")
if not FAST:
    claim(
        "Greedy answers are the least varied.",
        distinct_n(said_by["temperature 0"], 2) < distinct_n(said_by["people"], 2),
    )

# %% [markdown]
# This model is tiny, and it has read for some seconds. `minilm dialogue` trains one for some minutes, and `minilm chat`
# lets you talk to it. It says at the beginning how small it is: it has learned how people chat, not what is true.
#
# **What to try.** Keep only the 20 likeliest tokens at temperature 1: write `generate(models["right"], prompts, 24, temperature,
# 20, seed=0, …)`. Does it become more or less varied? · Measure distinct-2 on the first 20 answers alone,
# `distinct_n(said_by["people"][:20], 2)`. Why is it higher than on all of them?
#
# <details><summary>Answers</summary>
#
# 1. Less varied at both temperatures: the rare words can no longer be drawn. At temperature 1, distinct-2 falls from
#    0.90 to 0.51.
#
#    ```text
#    temperature 1   distinct-1 0.11, distinct-2 0.51; 1 × ',, it know the part of a cane?'
#    ```
# 2. 0.94 instead of 0.85: the more people have written, the more pairs have been used before. So compare distinct-n only
#    between equally many answers.
#
#    ```text
#    0.9407665505226481
#    ```
#
# </details>
#
# **Exercise.** `minilm exercise start distinct`

# %% [markdown]
# ## In five lines
# 1. A conversation is a row of tokens with two roles that nobody can type; each turn ends with a token of its own.
# 2. Only the answers have labels, their end included; the objective shifts them, once.
# 3. Shifted twice, a model loses to counting pairs; padding in the loss prints a number that says nothing about answers.
# 4. A missing mask is harmless behind a text and harmful in front of it.
# 5. History helps where the answer depends on it; greedy answers are safe and dull, which distinct-n shows.
#
# **Where to read on.** Vinyals and Le (2015), *A neural conversational model*, arXiv:1506.05869 · Li et al. (2016), *A
# diversity-promoting objective function for neural conversation models*, arXiv:1510.03055 · Wolf et al. (2019),
# *TransferTransfo*, arXiv:1901.08149 · Zhang et al. (2020), *DialoGPT*, arXiv:1911.00536
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `answer_labels` | 20 | easy |
# | `distinct` | 20 | easy |
